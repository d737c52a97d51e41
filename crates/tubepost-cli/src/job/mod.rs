//! Commands that are run for messages: each a child of this process, the message its standard input.
//!
//! What a command prints is read no further than an answer can be long; who prints more is killed.
//!
//! Told to end, they get SIGTERM, and those that don't listen within [`PATIENCE`] SIGKILL: their messages go to
//! somebody else, who must not do at the same time what they still do.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

mod input;
mod program;

pub use program::check;

use crate::cli::CommandLine;
use crate::exit::Failure;

/// How long a command may go on after it was told to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// The commands that run now.
#[derive(Default)]
pub struct Jobs {
    running: Mutex<Running>,
    /// One has ended.
    ended: Condvar,
}

#[derive(Default)]
struct Running {
    /// Of each that was started and not waited for.
    pidfds: Vec<(u32, OwnedFd)>,
    /// They were told to end: no more is started.
    ending: bool,
}

/// How a command ended: well, or in what words.
pub type Outcome = Result<(), String>;

impl Jobs {
    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the command on a message. Nothing: it was told to end, or not even started for that.
    pub fn run(&self, command: CommandLine<'_>, message: &[u8]) -> Result<Option<Outcome>, Failure> {
        let Some(child) = self.start(command, message, Stdio::inherit())? else { return Ok(None) };
        self.wait(command, child)
    }

    /// The same; and what it prints, which is at most `longest` bytes.
    pub fn print(
        &self,
        command: CommandLine<'_>,
        message: &[u8],
        longest: u64,
    ) -> Result<Option<Result<Vec<u8>, String>>, Failure> {
        let Some(mut child) = self.start(command, message, Stdio::piped())? else { return Ok(None) };
        let mut printed = Vec::new();
        let output = child.stdout.take().map(|output| output.take(longest.saturating_add(1)));
        let read = output.map_or(Ok(0), |mut output| output.read_to_end(&mut printed));
        let length = printed.len();
        let too_long = length as u64 > longest;
        if too_long || read.is_err() {
            let _ = child.kill(); // it may have ended by itself
        }
        let Some(outcome) = self.wait(command, child)? else { return Ok(None) };
        read.map_err(|error| Failure::failed(format!("{command} lost its output: {error}")))?;
        if too_long {
            let why = format!(
                "{command} printed {length} or more bytes, and was killed: an answer has at most {longest} here"
            );
            return Ok(Some(Err(why)));
        }
        Ok(Some(outcome.map(|()| printed)))
    }

    /// Nothing: it is time to end.
    fn start(
        &self,
        command: CommandLine<'_>,
        message: &[u8],
        output: Stdio,
    ) -> Result<Option<Child>, Failure> {
        let [program, arguments @ ..] = command.0 else { return Ok(None) };
        let length = message.len();
        let input: File = input::of(message).map_err(|error| {
            Failure::failed(format!("no memory for the standard input of {command}, {length} bytes: {error}"))
        })?;
        let mut running = self.running(); // held, so that who ends them knows them all
        if running.ending {
            return Ok(None);
        }
        let child = Command::new(program).args(arguments).stdin(input).stdout(output).spawn();
        let mut child = child.map_err(|error| {
            let found = error.kind() == ErrorKind::NotFound && check(command).is_ok();
            let hint =
                if found { "; what is missing is what its first line, or its loader, names" } else { "" };
            Failure::failed(format!("{command} could not be started: {error}{hint}"))
        })?;
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(pidfd) => running.pidfds.push((child.id(), pidfd)),
            Err(errno) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Failure::failed(format!("{command} could not be watched: {errno}")));
            }
        }
        Ok(Some(child))
    }

    fn wait(&self, command: CommandLine<'_>, mut child: Child) -> Result<Option<Outcome>, Failure> {
        let status = child.wait();
        let mut running = self.running();
        running.pidfds.retain(|(id, _)| *id != child.id());
        self.ended.notify_all();
        if running.ending {
            return Ok(None);
        }
        drop(running);
        let status = status.map_err(|error| Failure::failed(format!("{command} was lost: {error}")))?;
        Ok(Some(if status.success() { Ok(()) } else { Err(format!("{command} {}", how(status))) }))
    }

    /// Tells all of them to end, and starts no more; comes back when they have.
    pub fn end(&self) {
        let told = Instant::now();
        let mut running = self.running();
        running.ending = true;
        running.tell(Signal::TERM);
        while !running.pidfds.is_empty() {
            let left = PATIENCE.saturating_sub(told.elapsed());
            if left.is_zero() {
                running.tell(Signal::KILL);
                return;
            }
            running = self.ended.wait_timeout(running, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Running {
    fn tell(&self, signal: Signal) {
        for (_, pidfd) in &self.pidfds {
            let _ = pidfd_send_signal(pidfd, signal); // it may have ended by itself
        }
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => format!("ended: {status}"),
    }
}
