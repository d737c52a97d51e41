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

/// Writes all of it at this place.
pub(crate) fn write_at(fd: BorrowedFd<'_>, mut bytes: &[u8], mut at: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(fd, bytes, at) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(written) => {
                bytes = &bytes[written..];
                at += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(())
}

/// Reads so many bytes from this place, or fails.
pub(crate) fn read_at(fd: BorrowedFd<'_>, bytes: &mut [u8], at: u64) -> Result<(), Errno> {
    let mut have = 0;
    while have < bytes.len() {
        match rustix::io::pread(fd, &mut bytes[have..], at + have as u64) {
            Ok(0) => return Err(Errno::IO),
            Ok(read) => have += read,
            Err(Errno::INTR) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(())
}

/// Brings a file, or the names in a directory, to the disk.
pub(crate) fn sync(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::fs::fsync(fd)
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
    if !has_room(directory, reserved) {
        return Err(Errno::NOSPC);
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

/// Makes a symbolic link.
pub(crate) fn make_link(to: &Path, path: &Path) -> Result<(), Errno> {
    rustix::fs::symlink(to, path)
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

/// Whether the file system of `path` can give so many bytes, as far as it says.
pub(crate) fn has_room(path: &Path, wanted: u64) -> bool {
    rustix::fs::statvfs(path).map_or(true, |fs| {
        let limited = fs.f_blocks > 0;
        !limited || fs.f_bavail.saturating_mul(fs.f_frsize) >= wanted
    })
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

/// What kind of network file system this is on, if it is on one.
pub(crate) fn network(path: &Path) -> Option<&'static str> {
    const KINDS: [(u64, &str); 12] = [
        (0x6969, "NFS"),
        (0x517B, "SMB"),
        (0xFF53_4D42, "CIFS"),
        (0xFE53_4D42, "SMB2"),
        (0x0102_1997, "9P"),
        (0x6573_5546, "FUSE"),
        (0x00C3_6400, "Ceph"),
        (0x5346_414F, "AFS"),
        (0x7375_7245, "Coda"),
        (0x0BD0_0BD0, "Lustre"),
        (0x7461_636F, "OCFS2"),
        (0x0116_1970, "GFS2"),
    ];
    // What is not there yet will be where its parent is.
    let there = path.ancestors().find_map(|path| rustix::fs::statfs(path).ok())?;
    let kind = there.f_type as u64 & 0xFFFF_FFFF;
    KINDS.iter().find(|(number, _)| *number == kind).map(|(_, name)| *name)
}

/// A second, separate description of the same file, if the system has a way to it.
pub(crate) fn open_again(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let own = format!("/proc/self/fd/{}", fd.as_raw_fd());
    openat(rustix::fs::CWD, own, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}
