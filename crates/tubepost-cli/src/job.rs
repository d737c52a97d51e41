//! Commands that are run for messages: each a child of this process, the message its standard input.
//!
//! Told to end, they get SIGTERM, and those that don't listen within [`PATIENCE`] SIGKILL: their messages go to
//! somebody else, who must not do at the same time what they still do.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

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
        let Some(mut child) = self.start(command, Stdio::inherit())? else { return Ok(None) };
        let written = write(&mut child, message);
        self.wait(command, child, written)
    }

    /// The same; and what it prints.
    pub fn print(
        &self,
        command: CommandLine<'_>,
        message: &[u8],
    ) -> Result<Option<Result<Vec<u8>, String>>, Failure> {
        let Some(mut child) = self.start(command, Stdio::piped())? else { return Ok(None) };
        let mut printed = Vec::new();
        let output = child.stdout.take();
        // At the same time: it may print before it has read all.
        let done = std::thread::scope(|scope| {
            let writer = scope.spawn(|| write(&mut child, message));
            let read = output.map_or(Ok(0), |mut output| output.read_to_end(&mut printed));
            let written = writer.join().unwrap_or_else(|_| Err(io::Error::other("its thread failed")));
            written.and(read.map(drop))
        });
        let outcome = self.wait(command, child, done)?;
        Ok(outcome.map(|outcome| outcome.map(|()| printed)))
    }

    /// Nothing: it is time to end.
    fn start(&self, command: CommandLine<'_>, output: Stdio) -> Result<Option<Child>, Failure> {
        let mut running = self.running(); // held, so that who ends them knows them all
        if running.ending {
            return Ok(None);
        }
        let [program, arguments @ ..] = command.0 else { return Ok(None) };
        let child = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(output).spawn();
        let mut child = child.map_err(|error| {
            let missing = error.kind() == ErrorKind::NotFound;
            let hint = if missing { "; is it installed, and on the PATH?" } else { "" };
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

    fn wait(
        &self,
        command: CommandLine<'_>,
        mut child: Child,
        piped: io::Result<()>,
    ) -> Result<Option<Outcome>, Failure> {
        let status = child.wait();
        let mut running = self.running();
        running.pidfds.retain(|(id, _)| *id != child.id());
        self.ended.notify_all();
        if running.ending {
            return Ok(None);
        }
        drop(running);
        piped.map_err(|error| Failure::failed(format!("{command} lost its input or output: {error}")))?;
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

/// Gives it the message. What it does not want to read is its own affair.
fn write(child: &mut Child, message: &[u8]) -> io::Result<()> {
    let Some(mut input) = child.stdin.take() else { return Ok(()) };
    match input.write_all(message) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => format!("ended: {status}"),
    }
}
