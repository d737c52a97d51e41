//! Open files that a child process gets although all of ours are closed where another program begins.
//!
//! They are left open in that child alone, by itself, between fork and exec: in this process they are closed on
//! exec all the time, so that no other child that is started meanwhile has them.

use super::Errno;
use rustix::fs::{FileType, fstat};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::net::{AddressFamily, SocketType, sockopt};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Below it are those that a child has as its standard input, output and errors.
const FIRST: RawFd = 3;

/// What a handed descriptor is known by: its number, and which socket it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) number: RawFd,
    pub(crate) inode: u64,
}

/// The same file by a number that no child has other use for.
pub(crate) fn out_of_the_way(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    if fd.as_raw_fd() >= FIRST { Ok(fd) } else { fcntl_dupfd_cloexec(&fd, FIRST) }
}

pub(crate) fn known(fd: BorrowedFd<'_>) -> Result<Known, Errno> {
    Ok(Known { number: fd.as_raw_fd(), inode: fstat(fd)?.st_ino })
}

/// Leaves the descriptor open in what the command starts, as long as `armed`: then it has to be open here.
pub(crate) fn leave_open(command: &mut Command, number: RawFd, armed: Arc<AtomicBool>) {
    let leave = move || {
        if armed.load(Relaxed) {
            // SAFETY: it is open here as long as `armed`, and so in the child that was forked from here.
            fcntl_setfd(unsafe { BorrowedFd::borrow_raw(number) }, FdFlags::empty())?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec this reads a flag and makes one system call: it takes no lock, no memory.
    unsafe { command.pre_exec(leave) };
}

/// Has no program that this process starts get it.
pub(crate) fn keep(known: Known) {
    if is_there(known) {
        // SAFETY: it is open, as was just seen; should it be closed now, this is an error of the call's.
        let _ = fcntl_setfd(unsafe { BorrowedFd::borrow_raw(known.number) }, FdFlags::CLOEXEC);
    }
}

/// Takes over what was left open for this process. Nothing: what has this number is not that, or not open. For each at
/// most once.
pub(crate) fn take_over(known: Known) -> Option<OwnedFd> {
    if !is_there(known) {
        return None;
    }
    keep(known);
    // SAFETY: it is the socket that was left open for this process: nobody else here knows of it, and the caller takes it once.
    Some(unsafe { OwnedFd::from_raw_fd(known.number) })
}

fn is_there(known: Known) -> bool {
    if known.number < FIRST {
        return false;
    }
    // SAFETY: for these calls only; of a number that is not open they say so.
    let fd = unsafe { BorrowedFd::borrow_raw(known.number) };
    fstat(fd).is_ok_and(|stat| {
        stat.st_ino == known.inode && FileType::from_raw_mode(stat.st_mode) == FileType::Socket
    }) && is_connection(fd)
}

/// Whether it is a socket of the kind that pairs have.
pub(crate) fn is_connection(fd: impl AsFd) -> bool {
    let fd = fd.as_fd();
    sockopt::socket_domain(fd) == Ok(AddressFamily::UNIX)
        && sockopt::socket_type(fd) == Ok(SocketType::SEQPACKET)
}
