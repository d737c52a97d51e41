//! Datagram sockets with a name in a directory: somebody can be told to wake up through any of them.
//!
//! A path may be longer than a socket's address: then it goes by way of a descriptor of the directory.

use super::{Errno, file};
use rustix::fs::{Mode, OFlags, chmod};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, recv, sendto,
    socket_with, socketpair,
};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, TryLockError};

/// A socket that is called so, for its user alone or for everybody who may search the directory.
pub(crate) fn open(directory: &Path, name: &str, for_all: bool) -> Result<OwnedFd, Errno> {
    let socket = nameless()?;
    at(directory, name, |address| bind(&socket, address))?;
    let mode = if for_all { 0o666 } else { 0o600 };
    match chmod(directory.join(name), Mode::from_raw_mode(mode)) {
        Ok(()) => Ok(socket),
        Err(errno) => {
            remove(directory, name);
            Err(errno)
        }
    }
}

/// Takes the name away, if it is there and ours to take. Whoever sweeps comes by what could not be taken.
pub(crate) fn remove(directory: &Path, name: &str) {
    let _ = file::remove(&directory.join(name));
}

/// Makes the socket of this name readable. Never waits; one that is full was told already. Where others may
/// make names in the directory (`shared`), a symbolic link is not followed.
pub(crate) fn ring(directory: &Path, name: &str, shared: bool) -> Result<(), Errno> {
    if shared {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let socket = rustix::fs::open(directory.join(name), flags, Mode::empty())?;
        return ring_at(Path::new("/proc/self/fd"), &socket.as_raw_fd().to_string());
    }
    ring_at(directory, name)
}

fn ring_at(directory: &Path, name: &str) -> Result<(), Errno> {
    at(directory, name, |address| {
        let mut sender = match SENDER.try_lock() {
            Ok(sender) => sender,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Busy, maybe for ever: a thread that a forked child does not have may hold it.
            Err(TryLockError::WouldBlock) => return full_is_told(send(&nameless()?, address)),
        };
        if let Some(socket) = &*sender {
            match send(socket, address) {
                // It is full, or what we sent to others who don't read has filled ours; or ours was closed.
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::BADF | Errno::NOTSOCK) => {}
                done => return done,
            }
        }
        let fresh = nameless()?;
        let done = send(&fresh, address);
        *sender = Some(fresh);
        full_is_told(done)
    })
}

/// The socket that this process sends from.
static SENDER: Mutex<Option<OwnedFd>> = Mutex::new(None);

fn send(socket: &OwnedFd, address: &SocketAddrUnix) -> Result<(), Errno> {
    sendto(socket, &[1], SendFlags::DONTWAIT | SendFlags::NOSIGNAL, address).map(drop)
}

fn full_is_told(done: Result<(), Errno>) -> Result<(), Errno> {
    if done == Err(Errno::AGAIN) { Ok(()) } else { done }
}

/// More datagrams wait in no socket, unless the system was told to allow more (`net.unix.max_dgram_qlen`).
const MOST_WAITING: u32 = 4096;

/// Makes the socket unreadable until it is rung again. Whether it was readable.
///
/// Not for ever: somebody may ring as fast as this reads. What is left then was rung meanwhile, and is told of.
pub(crate) fn drain(socket: BorrowedFd<'_>) -> bool {
    let mut was = false;
    let mut byte = [0; 1];
    for _ in 0..MOST_WAITING {
        match recv(socket, &mut byte[..], RecvFlags::DONTWAIT) {
            Ok(_) => was = true,
            Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    was
}

/// A socket that nobody can find by a name, and the one by which it is rung.
pub(crate) fn unnamed() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (door, bell) = socketpair(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    Ok((door, bell))
}

/// Makes readable what this rings. Never waits; one that is full was told already.
pub(crate) fn ring_by(bell: BorrowedFd<'_>) -> Result<(), Errno> {
    full_is_told(rustix::net::send(bell, &[1], SendFlags::DONTWAIT | SendFlags::NOSIGNAL).map(drop))
}

fn nameless() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
}

pub(super) fn at<R>(
    directory: &Path,
    name: &str,
    act: impl FnOnce(&SocketAddrUnix) -> Result<R, Errno>,
) -> Result<R, Errno> {
    match SocketAddrUnix::new(directory.join(name)) {
        Err(Errno::NAMETOOLONG) => {
            let directory = file::open_directory(directory)?;
            let path = format!("/proc/self/fd/{}/{name}", directory.as_fd().as_raw_fd());
            act(&SocketAddrUnix::new(path)?)
        }
        address => act(&address?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a directory is called for this test, of a length beyond what a socket's address holds or not.
    fn directory(length: usize) -> std::path::PathBuf {
        let path = format!("/dev/shm/tubepost-door-{}-{:-<length$}", std::process::id(), "");
        std::fs::create_dir(&path).expect("a fresh directory");
        path.into()
    }

    #[test]
    fn a_door_is_rung_by_its_name_however_long_the_path() {
        for (length, shared) in [(1, false), (3, true), (200, false), (201, true)] {
            let directory = directory(length);
            let socket = open(&directory, "~door", false).expect("descriptors are left");
            assert!(!drain(socket.as_fd()), "nobody rang");
            for _ in 0..100 {
                ring(&directory, "~door", shared).expect("a full one was told");
            }
            assert!(drain(socket.as_fd()) && !drain(socket.as_fd()));
            std::os::unix::fs::symlink("~door", directory.join("~link")).expect("a fresh name");
            assert_eq!(ring(&directory, "~link", true), Err(Errno::CONNREFUSED));
            assert!(!drain(socket.as_fd()), "a link is not followed");
            remove(&directory, "~link");
            drop(socket);
            assert_eq!(ring(&directory, "~door", shared), Err(Errno::CONNREFUSED));
            remove(&directory, "~door");
            assert_eq!(ring(&directory, "~door", shared), Err(Errno::NOENT));
            std::fs::remove_dir(&directory).expect("it is empty");
        }
    }

    #[test]
    fn who_does_not_read_keeps_nobody_else_from_being_rung() {
        // What one socket may have sent and unread is some two hundred datagrams.
        let directory = directory(2);
        let name = |at: u32| format!("~door{at}");
        let deaf: Vec<OwnedFd> =
            (0..600).map(|at| open(&directory, &name(at), false).expect("descriptors are left")).collect();
        for at in 0..600 {
            ring(&directory, &name(at), false).expect("it is rung");
        }
        for (at, socket) in (0..).zip(&deaf) {
            assert!(drain(socket.as_fd()), "door {at} was not rung");
        }
        std::fs::remove_dir_all(&directory).expect("ours");
    }
}
