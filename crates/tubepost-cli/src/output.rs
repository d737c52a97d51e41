//! Standard output and input: what was asked for and nothing else, in pieces as large as they come.
//!
//! Either may have been handed to us as one that does not wait, by a program that shares it: then we wait.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Result as IoResult, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};

use crate::exit::Failure;

/// A file that waits where it is told that it would have to.
pub struct Patient(File);

impl Patient {
    fn patiently<R>(
        &mut self,
        flags: PollFlags,
        mut act: impl FnMut(&mut File) -> IoResult<R>,
    ) -> IoResult<R> {
        loop {
            match act(&mut self.0) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let _ = poll(&mut [PollFd::new(&self.0, flags)], None);
                }
                done => return done,
            }
        }
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> IoResult<usize> {
        self.patiently(PollFlags::OUT, |file| file.write(bytes))
    }

    fn flush(&mut self) -> IoResult<()> {
        self.0.flush()
    }
}

impl Read for Patient {
    fn read(&mut self, bytes: &mut [u8]) -> IoResult<usize> {
        self.patiently(PollFlags::IN, |file| file.read(bytes))
    }
}

/// Standard output without the standard library's flush at every newline.
pub fn buffered() -> Result<BufWriter<Patient>, Failure> {
    let stdout = std::io::stdout().as_fd().try_clone_to_owned()?;
    Ok(BufWriter::with_capacity(1 << 16, Patient(stdout.into())))
}

/// Standard input.
pub fn input() -> Result<BufReader<Patient>, Failure> {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned()?;
    Ok(BufReader::with_capacity(1 << 16, Patient(stdin.into())))
}

/// Prints all of it at once.
pub fn print(bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut out = buffered()?;
    out.write_all(bytes.as_ref())?;
    Ok(out.flush()?)
}

/// Prints it as indented JSON.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(value).map_err(Failure::failed)?;
    text.push('\n');
    print(text)
}
