//! For comparison: the same exchanges through a pipe and through Unix sockets: of bytes, and of packets.
//!
//! One system call per message and side, as any program would do it. Blocking is the kernel's own way of
//! waiting; spinning asks again and again with `O_NONBLOCK`.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::net::sockopt::{set_socket_send_buffer_size, set_socket_send_buffer_size_force};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, socket_with,
};

use super::job::places;
use super::measure::{Drain, Echo, Exchange, Measured, Source};
use crate::exit::Failure;

/// A way in and a way out for messages of `N` bytes.
pub struct Kernel<R, W, const N: usize> {
    input: R,
    output: W,
}

pub type Pipe<const N: usize> = Kernel<File, File, N>;
pub type Packets<const N: usize> = Kernel<File, File, N>;
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

    pub fn listen_for_packets(&self) -> Measured<OwnedFd> {
        let listener = packets()?;
        let address = SocketAddrUnix::new(&self.ping).map_err(|e| trouble(e.into()))?;
        bind(&listener, &address).and_then(|()| listen(&listener, 1)).map_err(|e| trouble(e.into()))?;
        Ok(listener)
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

/// A socket for packets.
fn packets() -> Measured<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|e| trouble(e.into()))
}

impl<const N: usize> Packets<N> {
    pub fn near_by_packets(listener: &OwnedFd, spin: bool) -> Measured<Self> {
        let socket = accept_with(listener, SocketFlags::CLOEXEC).map_err(|e| trouble(e.into()))?;
        Self::by_packets(socket, spin)
    }

    pub fn far_by_packets(names: &Names, spin: bool) -> Measured<Self> {
        let socket = packets()?;
        let address = SocketAddrUnix::new(&names.ping).map_err(|e| trouble(e.into()))?;
        connect(&socket, &address).map_err(|e| trouble(e.into()))?;
        Self::by_packets(socket, spin)
    }

    /// With room for as many as a mailbox has places, if the system lets us.
    fn by_packets(socket: OwnedFd, spin: bool) -> Measured<Self> {
        let room = places(N as u64) as usize * (2 * N + 1024);
        if set_socket_send_buffer_size_force(&socket, room).is_err() {
            let _ = set_socket_send_buffer_size(&socket, room); // then as many as it lets us
        }
        let input = File::from(socket.try_clone().map_err(trouble)?);
        Self { input, output: File::from(socket) }.waiting(spin)
    }
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
