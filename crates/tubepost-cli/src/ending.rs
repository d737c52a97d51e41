//! Being told to end: SIGINT, SIGTERM, and a reader of our output that went away.
//!
//! The handlers are in place before anything exists that would have to be cleaned up; the thread that
//! acts on them starts later, because attaching to a mailbox is far cheaper while a process has one
//! thread. Whoever is told twice ends at once.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use crate::exit::Failure;

/// Why it is time to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Interrupted,
    Terminated,
    /// Nobody reads what we print.
    PipeClosed,
}

impl Reason {
    pub fn code(self) -> u8 {
        match self {
            Self::Interrupted => 130,
            Self::Terminated => 143,
            Self::PipeClosed => 0,
        }
    }
}

/// The handlers, installed.
pub struct Ending {
    interrupt: UnixStream,
    terminate: UnixStream,
}

impl Ending {
    /// From now on SIGINT and SIGTERM are kept for `watch`.
    pub fn install() -> Result<Self, Failure> {
        let listen = |signal| -> io::Result<UnixStream> {
            let (told, teller) = UnixStream::pair()?;
            pipe::register(signal, teller)?;
            Ok(told)
        };
        let trouble = |e| Failure::failed(format!("could not prepare for signals: {e}"));
        Ok(Self { interrupt: listen(SIGINT).map_err(trouble)?, terminate: listen(SIGTERM).map_err(trouble)? })
    }

    /// Starts the thread that calls `act` once there is a reason. Whether the process ends then is up to
    /// `act`; if it still lives at a second signal it ends there and then.
    ///
    /// `output`: also watch whether somebody still reads our standard output.
    pub fn watch(self, output: bool, act: impl FnOnce(Reason) + Send + 'static) {
        std::thread::spawn(move || {
            act(self.wait(output));
            std::process::exit(self.wait(false).code().into());
        });
    }

    fn wait(&self, output: bool) -> Reason {
        let stdout = io::stdout();
        loop {
            let mut watched = vec![
                PollFd::new(&self.interrupt, PollFlags::IN),
                PollFd::new(&self.terminate, PollFlags::IN),
            ];
            if output {
                // No flags asked for: only the error of a pipe without a reader is reported.
                watched.push(PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::empty()));
            }
            match poll(&mut watched, None) {
                Ok(_) | Err(Errno::INTR) => {}
                // Nothing left to wait with: leave the signals to their second coming.
                Err(_) => loop {
                    std::thread::sleep(Duration::from_secs(3600));
                },
            }
            let told: Vec<bool> = watched.iter().map(|fd| !fd.revents().is_empty()).collect();
            if told[0] {
                take_byte(&self.interrupt);
                return Reason::Interrupted;
            }
            if told[1] {
                take_byte(&self.terminate);
                return Reason::Terminated;
            }
            if told.get(2) == Some(&true) {
                return Reason::PipeClosed;
            }
        }
    }
}

fn take_byte(mut told: &UnixStream) {
    let _ = told.read(&mut [0]);
}
