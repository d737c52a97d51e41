//! Memory that is a file without a name, of a length that nobody can change any more.

use super::{Errno, file};
use rustix::fs::{
    MemfdFlags, Mode, SealFlags, fchmod, fcntl_add_seals, fcntl_get_seals, ftruncate, memfd_create,
};
use std::os::fd::{AsFd, OwnedFd};

/// What no user of it can do, nor undo.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// A file of `length` bytes, of which the first `reserved` are backed by memory.
pub(crate) fn make(length: u64, reserved: u64) -> Result<OwnedFd, Errno> {
    if file::is_beyond_limit(length) {
        return Err(Errno::FBIG);
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = match memfd_create("tubepost", flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create("tubepost", flags)?, // before Linux 6.3
        made => made?,
    };
    fchmod(&fd, Mode::RUSR | Mode::WUSR)?;
    ftruncate(&fd, length)?;
    file::reserve(fd.as_fd(), 0, reserved)?;
    fcntl_add_seals(&fd, SEALS)?;
    Ok(fd)
}

/// How many bytes there could be in such files at all, and how many more there can be now, as far as the system says.
pub(crate) fn memory() -> Option<(u64, u64)> {
    // SAFETY: sysinfo is numbers, for which zero is a value; the kernel writes there and nowhere else.
    let info = unsafe {
        let mut info: libc::sysinfo = std::mem::zeroed();
        (libc::sysinfo(&raw mut info) == 0).then_some(info)
    }?;
    let unit = u64::from(info.mem_unit);
    Some((
        info.totalram.saturating_mul(unit),
        info.freeram.saturating_add(info.bufferram).saturating_mul(unit),
    ))
}

/// Whether its length is what it is for good. (Of what is no such file: no.)
pub(crate) fn is_sealed(fd: impl AsFd) -> bool {
    fcntl_get_seals(fd).is_ok_and(|seals| seals.contains(SEALS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::FallocateFlags;

    #[test]
    fn nobody_changes_its_length() {
        let fd = make(3 * 4096, 4096).expect("three pages");
        assert!(is_sealed(&fd));
        assert_eq!(ftruncate(&fd, 4096), Err(Errno::PERM));
        assert_eq!(ftruncate(&fd, 4 * 4096), Err(Errno::PERM));
        assert_eq!(fcntl_add_seals(&fd, SealFlags::WRITE), Err(Errno::PERM));
        // What is inside may get memory, and lose it.
        file::reserve(fd.as_fd(), 4096, 4096).expect("a page");
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&fd, hole, 4096, 4096).expect("inside");
        let again = file::open_again(fd.as_fd()).expect("/proc");
        assert!(is_sealed(&again) && file::facts(&again).expect("open").length == 3 * 4096);
    }

    #[test]
    fn other_files_are_not_sealed() {
        let open =
            memfd_create("open", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("a descriptor");
        assert!(!is_sealed(&open));
        fcntl_add_seals(&open, SealFlags::SHRINK).expect("it may be sealed");
        assert!(!is_sealed(&open), "one seal is not all");
        assert!(!is_sealed(std::io::stdin()));
    }
}
