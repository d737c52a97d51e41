//! Locks on single bytes of a file that belong to an open file description (OFD locks).
//!
//! Such a lock lives as long as the description does, and a mapping keeps the description
//! alive after the descriptor is closed. The kernel lets go of it when the process dies in
//! whatever way, and at no other time: that is how members know of each other's death.

use super::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};

fn request(kind: libc::c_int, byte: u64, length: u64) -> libc::flock {
    // SAFETY: flock is plain integers, for which zero is a value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = byte as libc::off_t;
    lock.l_len = length as libc::off_t;
    lock
}

fn fcntl(fd: BorrowedFd<'_>, command: libc::c_int, lock: &mut libc::flock) -> Result<(), Errno> {
    loop {
        // SAFETY: the descriptor is open while it is borrowed; `lock` is a valid flock.
        let done = unsafe { libc::fcntl(fd.as_raw_fd(), command, std::ptr::from_mut(lock)) };
        if done != -1 {
            return Ok(());
        }
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        if errno != libc::EINTR {
            return Err(Errno::from_raw_os_error(errno));
        }
    }
}

/// Takes the lock on `byte` if nobody else has it.
pub(crate) fn try_lock(fd: BorrowedFd<'_>, byte: u64) -> Result<bool, Errno> {
    match fcntl(fd, libc::F_OFD_SETLK, &mut request(libc::F_WRLCK, byte, 1)) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(other) => Err(other),
    }
}

/// Gives the lock on `byte` back.
pub(crate) fn unlock(fd: BorrowedFd<'_>, byte: u64) {
    let _ = fcntl(fd, libc::F_OFD_SETLK, &mut request(libc::F_UNLCK, byte, 1));
}

/// Whether another description holds the lock on `byte`.
pub(crate) fn is_locked(fd: BorrowedFd<'_>, byte: u64) -> Result<bool, Errno> {
    is_any_locked(fd, byte, 1)
}

/// The same for any of so many bytes.
pub(crate) fn is_any_locked(fd: BorrowedFd<'_>, from: u64, length: u64) -> Result<bool, Errno> {
    let mut lock = request(libc::F_WRLCK, from, length);
    fcntl(fd, libc::F_OFD_GETLK, &mut lock)?;
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

/// Takes a lock on a whole directory that others may have too, or none may have. It goes with the descriptor.
pub(crate) fn try_share(directory: BorrowedFd<'_>) -> Result<bool, Errno> {
    try_flock(directory, rustix::fs::FlockOperation::NonBlockingLockShared)
}

/// Takes it alone.
pub(crate) fn try_alone(directory: BorrowedFd<'_>) -> Result<bool, Errno> {
    try_flock(directory, rustix::fs::FlockOperation::NonBlockingLockExclusive)
}

fn try_flock(directory: BorrowedFd<'_>, operation: rustix::fs::FlockOperation) -> Result<bool, Errno> {
    match rustix::fs::flock(directory, operation) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN | Errno::INTR) => Ok(false),
        Err(other) => Err(other),
    }
}
