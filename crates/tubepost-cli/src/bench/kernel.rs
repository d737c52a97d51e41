//! For comparison: the same exchanges through a pipe and through a Unix socket.
//!
//! One system call per message and side, as any program would do it. Blocking is the kernel's own way of
//! waiting; spinning asks again and again with `O_NONBLOCK`.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

use super::measure::{Drain, Echo, Exchange, Measured, Source};
use crate::exit::Failure;

/// A way in and a way out for messages of `N` bytes.
pub struct Kernel<R, W, const N: usize> {
    input: R,
    output: W,
}

pub type Pipe<const N: usize> = Kernel<File, File, N>;
pub type Socket<const N: usize> = Kernel<UnixStream, UnixStream, N>;

/// The two names one conversation goes by; removed when the near side is done with it.
pub struct Names {
    ping: PathBuf,
    pong: PathBuf,
}

impl Names {
    pub fn in_directory(directory: &Path) -> Self {
        Self { ping: directory.join("bench-ping"), pong: directory.join("bench-pong") }
    }

    pub fn make_pipes(&self) -> Measured<()> {
        let make = |path: &Path| mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0);
        make(&self.ping).and_then(|()| make(&self.pong)).map_err(|e| trouble(e.into()))
    }

    pub fn listen(&self) -> Measured<UnixListener> {
        UnixListener::bind(&self.ping).map_err(trouble)
    }

    pub fn remove(&self) {
        let _ = std::fs::remove_file(&self.ping);
        let _ = std::fs::remove_file(&self.pong);
    }
}

impl<const N: usize> Pipe<N> {
    /// Opening waits for the other side, so both must open in the same order.
    pub fn near(names: &Names, spin: bool) -> Measured<Self> {
        let output = open(OpenOptions::new().write(true), &names.ping)?;
        let input = open(OpenOptions::new().read(true), &names.pong)?;
        Self { input, output }.waiting(spin)
    }

    pub fn far(names: &Names, spin: bool) -> Measured<Self> {
        let input = open(OpenOptions::new().read(true), &names.ping)?;
        let output = open(OpenOptions::new().write(true), &names.pong)?;
        Self { input, output }.waiting(spin)
    }
}

fn open(options: &mut OpenOptions, path: &Path) -> Measured<File> {
    options.custom_flags(OFlags::CLOEXEC.bits() as i32).open(path).map_err(trouble)
}

impl<const N: usize> Socket<N> {
    pub fn near(listener: &UnixListener, spin: bool) -> Measured<Self> {
        let (stream, _) = listener.accept().map_err(trouble)?;
        Self::over(stream, spin)
    }

    pub fn far(names: &Names, spin: bool) -> Measured<Self> {
        Self::over(UnixStream::connect(&names.ping).map_err(trouble)?, spin)
    }

    fn over(stream: UnixStream, spin: bool) -> Measured<Self> {
        let output = stream.try_clone().map_err(trouble)?;
        Self { input: stream, output }.waiting(spin)
    }
}

impl<R: Read + AsFd, W: Write + AsFd, const N: usize> Kernel<R, W, N> {
    fn waiting(self, spin: bool) -> Measured<Self> {
        let set = |fd: BorrowedFd<'_>| {
            let flags = rustix::fs::fcntl_getfl(fd)?;
            rustix::fs::fcntl_setfl(
                fd,
                if spin { flags | OFlags::NONBLOCK } else { flags - OFlags::NONBLOCK },
            )
        };
        set(self.input.as_fd()).and_then(|()| set(self.output.as_fd())).map_err(|e| trouble(e.into()))?;
        Ok(self)
    }

    fn send(&mut self, seq: u64) -> Measured<()> {
        let mut message = [0; N];
        message[..8].copy_from_slice(&seq.to_ne_bytes());
        let mut done = 0;
        while done < N {
            done += progress(self.output.write(&message[done..]))?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Measured<u64> {
        let mut message = [0; N];
        let mut done = 0;
        while done < N {
            done += progress(self.input.read(&mut message[done..]))?;
        }
        Ok(u64::from_ne_bytes(message[..8].try_into().expect("eight bytes")))
    }
}

/// How far a call came: not at all if it would have had to wait.
fn progress(call: io::Result<usize>) -> Measured<usize> {
    match call {
        Ok(0) => Err(Failure::failed("the other process of the benchmark went away")),
        Ok(bytes) => Ok(bytes),
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            std::hint::spin_loop();
            Ok(0)
        }
        Err(e) => Err(trouble(e)),
    }
}

fn trouble(e: io::Error) -> Failure {
    Failure::failed(format!("pipe or socket for comparison: {e}"))
}

impl<R: Read + AsFd, W: Write + AsFd, const N: usize> Exchange for Kernel<R, W, N> {
    fn exchange(&mut self, seq: u64) -> Measured<u64> {
        self.send(seq)?;
        self.receive()
    }
}

impl<R: Read + AsFd, W: Write + AsFd, const N: usize> Echo for Kernel<R, W, N> {
    fn take(&mut self, _last: u64) -> Measured<u64> {
        self.receive()
    }

    fn answer(&mut self, seq: u64) -> Measured<()> {
        self.send(seq)
    }
}

impl<R: Read + AsFd, W: Write + AsFd, const N: usize> Source for Kernel<R, W, N> {
    fn put(&mut self, seq: u64) -> Measured<()> {
        self.send(seq)
    }
}

impl<R: Read + AsFd, W: Write + AsFd, const N: usize> Drain for Kernel<R, W, N> {
    fn get(&mut self) -> Measured<u64> {
        self.receive()
    }
}
