//! The other processes of the tour, and their end: each by itself, or all at once when the tour is
//! interrupted. Then they go before the domain does, so that none of them trips over that.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use clap::ValueEnum;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{PART, Part};
use crate::exit::Failure;
use crate::second;

/// Everything that was started. A pidfd never means another process, even when this one is gone.
#[derive(Clone, Default)]
pub struct Others(Arc<Mutex<Vec<OwnedFd>>>);

impl Others {
    pub fn start(&self, part: Part, directory: &Path) -> Result<Other, Failure> {
        let trouble =
            |e: std::io::Error| Failure::failed(format!("another process of the tour did not start: {e}"));
        let name = part.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let child = second::command(PART, &[OsStr::new(&name), directory.as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let other = Other(child.map_err(trouble)?);
        all.push(pidfd_open(Pid::from_child(&other.0), PidfdFlags::empty()).map_err(|e| trouble(e.into()))?);
        Ok(other)
    }

    /// Kills all of them, does what remains to be done, and ends this process. None is started meanwhile.
    pub fn end_with(&self, last: impl FnOnce(), code: u8) -> ! {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for other in all.iter() {
            let _ = pidfd_send_signal(other, Signal::KILL);
            while let Err(rustix::io::Errno::INTR) = poll(&mut [PollFd::new(other, PollFlags::IN)], None) {}
        }
        last();
        std::process::exit(code.into())
    }
}

/// Another process of the tour, gone at the latest when this is dropped.
pub struct Other(Child);

impl Other {
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Kills it and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Waits until it has ended by itself.
    pub fn finish(&mut self, who: &str) -> Result<(), Failure> {
        let status = self.0.wait().map_err(|e| Failure::failed(format!("{who}: {e}")))?;
        if status.success() { Ok(()) } else { Err(Failure::failed(format!("{who} ended with {status}"))) }
    }

    /// Waits until it says that it is ready.
    pub fn ready(&mut self) -> Result<(), Failure> {
        let mut line = String::new();
        let output = self.0.stdout.take();
        let said = output.map(|output| BufReader::new(output).read_line(&mut line));
        match said {
            Some(Ok(_)) if line == "ready\n" => Ok(()),
            _ => Err(Failure::failed("another process of the tour did not get ready")),
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.kill();
    }
}
