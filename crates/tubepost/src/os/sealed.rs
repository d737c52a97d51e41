//! Memory that one process writes and another one can only read, and that neither can take away.
//!
//! A nameless file in memory (`memfd`), all of it allocated, mapped by who makes it for writing, then sealed: its length is fixed, and nobody
//! gets to write to it any more but through mappings that were there before. (That holds for the calls that make holes as well: the kernel
//! refuses them.) Whoever is given its descriptor asks the kernel for all that before it maps the file: then no access to it can fail.

use super::map::Map;
use super::{Errno, file};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, ftruncate, memfd_create};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What the kernel has to say of it. (That the seals are the last ones matters to nobody: none can be taken away.)
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::FUTURE_WRITE);

/// Makes such a file, and maps it for writing. `NOSPC`, `NOMEM`: there is no memory.
pub(crate) fn make(length: usize) -> Result<(OwnedFd, Map), Errno> {
    // Past this limit the system would end us by a signal.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
    if limit.is_some_and(|most| length as u64 > most) {
        return Err(Errno::FBIG);
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = match memfd_create("tubepost", flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create("tubepost", flags)?, // before Linux 6.3
        made => made?,
    };
    ftruncate(&fd, length as u64)?;
    file::reserve(fd.as_fd(), 0, length as u64)?;
    let map = Map::new(fd.as_fd(), length)?;
    fcntl_add_seals(&fd, SEALS | SealFlags::SEAL)?;
    Ok((fd, map))
}

/// Maps one that somebody else made, for reading. `BADMSG`: it is none, or not of this length.
pub(crate) fn view(fd: BorrowedFd<'_>, length: usize) -> Result<Map, Errno> {
    let sound = file::is_memory(fd)
        && fcntl_get_seals(fd).is_ok_and(|seals| seals.contains(SEALS))
        && file::facts(fd).is_ok_and(|facts| {
            facts.is_file && facts.length == length as u64 && facts.occupied >= length as u64
        });
    if sound { Map::to_look_at(fd, length) } else { Err(Errno::BADMSG) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap};

    const LENGTH: usize = 16384;

    #[test]
    fn what_is_made_can_be_viewed_and_nobody_else_gets_to_write_to_it() {
        let (fd, ours) = make(LENGTH).expect("there is memory");
        let theirs = view(fd.as_fd(), LENGTH).expect("it is sealed");
        assert!(ours.is_writable() && !theirs.is_writable());
        let shared = |access| {
            // SAFETY: a new mapping, at an address that the kernel chooses.
            unsafe { mmap(std::ptr::null_mut(), LENGTH, access, MapFlags::SHARED, &fd, 0) }
        };
        assert_eq!(shared(ProtFlags::READ | ProtFlags::WRITE).err(), Some(Errno::PERM));
        let read_only = shared(ProtFlags::READ).expect("anybody may look");
        // SAFETY: our own mapping, which nobody uses.
        let made_writable =
            unsafe { rustix::mm::mprotect(read_only, LENGTH, rustix::mm::MprotectFlags::WRITE) };
        assert_eq!(made_writable.err(), Some(Errno::ACCESS));
        assert_eq!(rustix::io::pwrite(&fd, &[1], 0).err(), Some(Errno::PERM));
        let again = file::open_again(fd.as_fd()).expect("it is ours");
        assert_eq!(rustix::io::pwrite(&again, &[1], 0).err(), Some(Errno::PERM));
        assert!(Map::new(again.as_fd(), LENGTH).is_err());
    }

    /// Neither by its descriptor nor by the mapping that may still write: else who reads it would meet a hole.
    #[test]
    fn nobody_makes_a_hole_into_it_or_makes_it_shorter() {
        let (fd, ours) = make(LENGTH).expect("there is memory");
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        assert_eq!(fallocate(&fd, hole, 0, 4096).err(), Some(Errno::PERM));
        // SAFETY: our own mapping, which nobody uses.
        let removed = unsafe { madvise(ours.start().as_ptr().cast(), 4096, Advice::LinuxRemove) };
        assert_eq!(removed.err(), Some(Errno::PERM));
        for length in [0, 4096, 2 * LENGTH] {
            assert_eq!(ftruncate(&fd, length as u64).err(), Some(Errno::PERM));
        }
        assert_eq!(file::facts(&fd).expect("it is open").occupied, LENGTH as u64);
    }

    #[test]
    fn what_is_not_so_is_not_mapped() {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let refused = |fd: &OwnedFd| view(fd.as_fd(), LENGTH).err() == Some(Errno::BADMSG);
        let sized = |flags| {
            let fd = memfd_create("test", flags).ok()?;
            let length = if flags.contains(MemfdFlags::HUGETLB) { 2 << 20 } else { LENGTH };
            ftruncate(&fd, length as u64).ok()?;
            Some(fd)
        };
        let fd = sized(flags).expect("there are memfds");
        file::reserve(fd.as_fd(), 0, LENGTH as u64).expect("there is memory");
        assert!(refused(&fd), "no seals");
        for seals in [SealFlags::SHRINK | SealFlags::GROW, SealFlags::SHRINK | SealFlags::FUTURE_WRITE] {
            let fd = sized(flags).expect("there are memfds");
            file::reserve(fd.as_fd(), 0, LENGTH as u64).expect("there is memory");
            fcntl_add_seals(&fd, seals).expect("they can be set");
            assert!(refused(&fd), "{seals:?} only");
        }
        let holes = sized(flags).expect("there are memfds");
        file::reserve(holes.as_fd(), 0, LENGTH as u64 - 4096).expect("there is memory");
        fcntl_add_seals(&holes, SEALS).expect("they can be set");
        assert!(refused(&holes), "it has a hole");
        for length in [LENGTH - 4096, LENGTH + 4096] {
            assert!(refused(&make(length).expect("there is memory").0), "{length} bytes");
        }
        if let Some(huge) =
            sized(flags | MemfdFlags::HUGETLB).filter(|huge| fcntl_add_seals(huge, SEALS).is_ok())
        {
            assert!(refused(&huge), "huge pages");
        }
        let zeros = std::fs::File::open("/dev/zero").expect("there is one");
        assert!(refused(&zeros.into()), "a device");
        assert!(refused(&rustix::pipe::pipe().expect("a pipe").0), "a pipe");
    }
}
