//! One message's command.

use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tubepost::Delivery;

use crate::cli::CommandLine;
use crate::exit::{Failure, complain};

/// The commands that run now. Each is a child of this process, its standard input the message.
#[derive(Default)]
pub struct Jobs(Mutex<Running>);

#[derive(Default)]
struct Running {
    /// Of each that was started and not waited for.
    pidfds: Vec<(u32, OwnedFd)>,
    /// They were told to end: no more is started.
    ending: bool,
}

impl Jobs {
    fn running(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the command on a message, which is consumed if that goes well. Says whether it did.
    pub fn run(
        &self,
        name: &str,
        command: CommandLine<'_>,
        message: Delivery<[u8]>,
    ) -> Result<bool, Failure> {
        let Some(mut child) = self.start(command)? else { return Ok(false) };
        let written = child.stdin.take().map_or(Ok(()), |mut input| input.write_all(&message));
        let status = child.wait();
        self.running().pidfds.retain(|(id, _)| *id != child.id());
        match written {
            // What it does not want to read is its own affair.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                return Err(Failure::failed(format!("a message could not be written to {command}: {error}")));
            }
            _ => {}
        }
        let status = status.map_err(|error| Failure::failed(format!("{command} was lost: {error}")))?;
        if self.running().ending {
            return Ok(false); // it ended because it was told to
        }
        let seq = message.seq();
        if !status.success() {
            drop(message);
            complain(format_args!("{name}: message {seq} goes back: {command} {}", how(status)));
            return Ok(false);
        }
        match message.accept() {
            Ok(()) => Ok(true),
            Err(error) => {
                complain(format_args!("{name}: message {seq}: {error}"));
                Ok(false)
            }
        }
    }

    /// Nothing: it is time to end.
    fn start(&self, command: CommandLine<'_>) -> Result<Option<Child>, Failure> {
        let mut running = self.running(); // held, so that who ends them knows them all
        if running.ending {
            return Ok(None);
        }
        let child = Command::new(&command.0[0]).args(&command.0[1..]).stdin(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| {
            let hint =
                if error.kind() == ErrorKind::NotFound { "; is it installed, and on the PATH?" } else { "" };
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

    /// Tells all of them to end, and starts no more.
    pub fn end(&self, signal: Signal) {
        let mut running = self.running();
        running.ending = true;
        for (_, pidfd) in &running.pidfds {
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
