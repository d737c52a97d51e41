//! Directories and files of a domain: made whole or not at all, never through a symlink.

use super::Errno;
use rustix::fs::{
    Access, AtFlags, FallocateFlags, FileType, Gid, Mode, OFlags, accessat, fallocate, fchmod, fchown, fstat,
    ftruncate, linkat, mkdir, open, openat, statat, unlink,
};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// What tells one file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inode {
    device: u64,
    number: u64,
}

/// What `fstat` says, as far as anybody here asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) inode: Inode,
    pub(crate) length: u64,
    /// Bytes of memory or disk that the file really occupies.
    pub(crate) occupied: u64,
    pub(crate) owner: u32,
    pub(crate) group: u32,
    pub(crate) mode: u32,
    pub(crate) is_file: bool,
    pub(crate) is_directory: bool,
    pub(crate) is_link: bool,
}

impl From<rustix::fs::Stat> for Facts {
    fn from(stat: rustix::fs::Stat) -> Facts {
        let kind = FileType::from_raw_mode(stat.st_mode);
        Facts {
            inode: Inode { device: stat.st_dev, number: stat.st_ino },
            length: u64::try_from(stat.st_size).unwrap_or(0),
            occupied: u64::try_from(stat.st_blocks).unwrap_or(0) * 512,
            owner: stat.st_uid,
            group: stat.st_gid,
            mode: stat.st_mode & 0o7777,
            is_file: kind == FileType::RegularFile,
            is_directory: kind == FileType::Directory,
            is_link: kind == FileType::Symlink,
        }
    }
}

pub(crate) fn facts(fd: impl AsFd) -> Result<Facts, Errno> {
    fstat(fd).map(Facts::from)
}

/// What a name stands for now, symlinks not followed.
pub(crate) fn facts_at(path: &Path) -> Result<Facts, Errno> {
    statat(rustix::fs::CWD, path, AtFlags::SYMLINK_NOFOLLOW).map(Facts::from)
}

pub(crate) fn make_directory(path: &Path) -> Result<(), Errno> {
    mkdir(path, Mode::RWXU)
}

pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open(path, flags, Mode::empty())
}

/// Opens an existing file for reading and writing.
pub(crate) fn open_file(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    open(path, flags, Mode::empty())
}

/// The word at this place of a file.
pub(crate) fn read_word(fd: BorrowedFd<'_>, at: u64) -> Result<u64, Errno> {
    let mut bytes = [0; 8];
    match rustix::io::pread(fd, &mut bytes, at)? {
        8 => Ok(u64::from_ne_bytes(bytes)),
        _ => Err(Errno::IO),
    }
}

/// Opens an existing file for reading.
pub(crate) fn open_to_look_at(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    open(path, flags, Mode::empty())
}

/// Opens an existing file for reading and writing, or, if that is not permitted and `may_look`, for reading.
pub(crate) fn open_or_look_at(path: &Path, may_look: bool) -> Result<OwnedFd, Errno> {
    match open_file(path) {
        Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) if may_look => open_to_look_at(path),
        opened => opened,
    }
}

/// Whether a file is longer than this process may make one: the system would end us by a signal.
pub(super) fn is_beyond_limit(length: u64) -> bool {
    rustix::process::getrlimit(rustix::process::Resource::Fsize).current.is_some_and(|most| length > most)
}

/// A file of `length` bytes in `directory` that has no name yet; the first `reserved` bytes
/// are backed by memory. It vanishes with its last user unless [`publish`]ed.
pub(crate) fn make_nameless(directory: &Path, length: u64, reserved: u64) -> Result<OwnedFd, Errno> {
    if is_beyond_limit(length) {
        return Err(Errno::FBIG);
    }
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let fd = open(directory, flags, Mode::RUSR | Mode::WUSR)?;
    ftruncate(&fd, length)?;
    reserve(fd.as_fd(), 0, reserved)?;
    Ok(fd)
}

/// Says who may use the file.
pub(crate) fn permit(fd: BorrowedFd<'_>, mode: u32, group: Option<u32>) -> Result<(), Errno> {
    if let Some(group) = group {
        fchown(fd, None, Some(Gid::from_raw(group)))?;
    }
    fchmod(fd, Mode::from_raw_mode(mode))
}

/// Backs a part of the file with memory, or fails with `NOSPC`.
pub(crate) fn reserve(fd: BorrowedFd<'_>, from: u64, length: u64) -> Result<(), Errno> {
    // In pieces: some kernels give all of a call's memory back when a signal comes, and in a process with
    // a timer one always does.
    const PIECE: u64 = 4 << 20;
    let mut at = from;
    while at < from + length {
        let piece = PIECE.min(from + length - at);
        match fallocate(fd, FallocateFlags::empty(), at, piece) {
            Err(Errno::INTR) => {}
            Err(other) => return Err(other),
            Ok(()) => at += piece,
        }
    }
    Ok(())
}

/// Gives a nameless file its name, in one step. `EXIST`: the name is taken.
pub(crate) fn publish(fd: BorrowedFd<'_>, path: &Path) -> Result<(), Errno> {
    let own = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let cwd = rustix::fs::CWD;
    match linkat(cwd, &own, cwd, path, AtFlags::SYMLINK_FOLLOW) {
        // Without /proc there is a second way, for those whom the kernel lets.
        Err(Errno::NOENT) if facts_at(Path::new("/proc/self/fd")).is_err() => {
            linkat(fd, "", cwd, path, AtFlags::EMPTY_PATH)
        }
        other => other,
    }
}

pub(crate) fn remove(path: &Path) -> Result<(), Errno> {
    unlink(path)
}

/// Whether names in this directory are ours to change, as far as the system says.
pub(crate) fn may_write(directory: &Path) -> bool {
    let access = Access::WRITE_OK | Access::EXEC_OK;
    let may = accessat(rustix::fs::CWD, directory, access, AtFlags::EACCESS);
    !matches!(may, Err(Errno::ACCESS | Errno::PERM | Errno::ROFS))
}

/// Bytes that the file system of `path` has in all; 0 if it has no limit.
pub(crate) fn size(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(0, |fs| fs.f_blocks.saturating_mul(fs.f_frsize))
}

/// Bytes that the file system of `path` can still give.
pub(crate) fn available(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize))
}

/// Whether the directory lies in memory (tmpfs).
pub(crate) fn is_memory(directory: BorrowedFd<'_>) -> bool {
    const TMPFS: i64 = 0x0102_1994;
    rustix::fs::fstatfs(directory).is_ok_and(|fs| fs.f_type == TMPFS)
}

/// A second, separate description of the same file, if the system has a way to it.
pub(crate) fn open_again(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let own = format!("/proc/self/fd/{}", fd.as_raw_fd());
    openat(rustix::fs::CWD, own, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}
