//! A pipe that holds numbers: whoever may read from it takes them, one after the other, each once. It has a name, and who may open it
//! takes and puts; or none, and two ends.
//!
//! What is in it stays there as long as anybody has it open, and goes with the last one.

use super::Errno;
use rustix::fs::{FileType, Gid, Mode, OFlags, chmod, chown, fcntl_getfl, mknodat, open};
use rustix::io::{ioctl_fionread, read, write};
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Bytes of a token.
const TOKEN: usize = 8;
/// What the kernel gives a pipe of which nobody says more; ours have more or less.
const USUAL: usize = 64 << 10;

/// Makes a pipe for so many tokens.
pub(crate) fn make(path: &Path, tokens: usize) -> Result<OwnedFd, Errno> {
    mknodat(rustix::fs::CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    let made = join(path).and_then(|pipe| fcntl_setpipe_size(&pipe, size_for(tokens)).map(|_| pipe));
    if made.is_err() {
        let _ = super::file::remove(path);
    }
    made
}

fn size_for(tokens: usize) -> usize {
    let size = (tokens * TOKEN).next_power_of_two().max(8192);
    if size == USUAL { 2 * USUAL } else { size }
}

/// One without a name: where to take, and where to put. (There one could take as well: what is put where nobody can take ends the process,
/// by SIGPIPE.)
pub(crate) fn unnamed(tokens: usize) -> Result<(OwnedFd, OwnedFd), Errno> {
    let (taken, put) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    fcntl_setpipe_size(&put, size_for(tokens))?;
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let both = open(format!("/proc/self/fd/{}", put.as_raw_fd()), flags, Mode::empty())?;
    Ok((taken, both))
}

/// Whether one can take there, or put, and does not wait.
pub(crate) fn is_unnamed(pipe: BorrowedFd<'_>, takes: bool) -> bool {
    let mode = if takes { OFlags::RDONLY } else { OFlags::RDWR };
    let is_pipe =
        rustix::fs::fstat(pipe).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
    let flags = fcntl_getfl(pipe).unwrap_or(OFlags::RDWR);
    is_pipe && flags & OFlags::RWMODE == mode && flags.contains(OFlags::NONBLOCK)
}

/// Lets others in than those of its user.
pub(crate) fn permit(path: &Path, mode: u32, group: Option<u32>) -> Result<(), Errno> {
    if let Some(group) = group {
        chown(path, None, Some(Gid::from_raw(group)))?;
    }
    chmod(path, Mode::from_raw_mode(mode))
}

/// Opens a pipe that may be there.
pub(crate) fn join(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let pipe = open(path, flags, Mode::empty())?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&pipe)?.st_mode);
    if kind == FileType::Fifo { Ok(pipe) } else { Err(Errno::INVAL) }
}

/// Whether it is as it was made, and not a new one because nobody had it open any more.
pub(crate) fn is_the_same(pipe: BorrowedFd<'_>) -> bool {
    fcntl_getpipe_size(pipe).is_ok_and(|size| size != USUAL)
}

/// Takes a token. `AGAIN`: there is none.
#[inline]
pub(crate) fn take(pipe: BorrowedFd<'_>) -> Result<u64, Errno> {
    let mut token = [0; TOKEN];
    loop {
        match read(pipe, &mut token) {
            Ok(TOKEN) => return Ok(u64::from_ne_bytes(token)),
            Ok(_) => return Err(Errno::AGAIN), // rubbish; only those who are trusted can write there
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Puts a token in.
#[inline]
pub(crate) fn put(pipe: BorrowedFd<'_>, token: u64) -> Result<(), Errno> {
    loop {
        match write(pipe, &token.to_ne_bytes()) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// How many there are.
pub(crate) fn count(pipe: impl AsFd) -> u64 {
    ioctl_fionread(pipe).unwrap_or(0) / TOKEN as u64
}
