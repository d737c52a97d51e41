//! Shared mappings that a forked child does not get.

use super::{Errno, fork};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

/// A file mapped for reading and writing, shared with other processes.
#[derive(Debug)]
pub(crate) struct Map {
    start: NonNull<u8>,
    length: usize,
    epoch: u64,
    writable: bool,
}

// SAFETY: a mapping is memory that any thread may use; what is in it is only ever reached
// through atomics and the copy routines of `memory::copy`.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    /// Maps the first `length` bytes of the file.
    pub(crate) fn new(fd: BorrowedFd<'_>, length: usize) -> Result<Map, Errno> {
        Map::with(fd, length, ProtFlags::READ | ProtFlags::WRITE)
    }

    /// The same for reading only: whoever writes to it ends.
    pub(crate) fn to_look_at(fd: BorrowedFd<'_>, length: usize) -> Result<Map, Errno> {
        Map::with(fd, length, ProtFlags::READ)
    }

    fn with(fd: BorrowedFd<'_>, length: usize, access: ProtFlags) -> Result<Map, Errno> {
        let epoch = fork::epoch()?;
        // SAFETY: the kernel chooses an address where nothing is.
        let start = unsafe { mmap(std::ptr::null_mut(), length, access, MapFlags::SHARED, fd, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(Errno::NOMEM)?;
        let map = Map { start, length, epoch, writable: access.contains(ProtFlags::WRITE) };
        // SAFETY: our own fresh mapping.
        unsafe { madvise(start.as_ptr().cast(), length, Advice::LinuxDontFork) }?;
        Ok(map)
    }

    #[inline]
    pub(crate) fn is_writable(&self) -> bool {
        self.writable
    }

    /// Makes sure that these bytes are memory, so that touching them cannot be a SIGBUS.
    /// `Err` means that the file system is full.
    pub(crate) fn reserve(&self, from: usize, length: usize) -> Result<(), Errno> {
        assert!(from.is_multiple_of(4096) && from <= self.length && length <= self.length - from);
        // SAFETY: within our own mapping; populating changes no content.
        unsafe {
            let at = self.start.as_ptr().add(from);
            let populate = if self.writable { Advice::LinuxPopulateWrite } else { Advice::LinuxPopulateRead };
            madvise(at.cast(), length, populate)
        }
        .map_err(|errno| if errno == Errno::FAULT { Errno::NOSPC } else { errno })
    }

    /// Brings these bytes to the disk, where the file is on one.
    pub(crate) fn sync(&self, from: usize, length: usize) -> Result<(), Errno> {
        assert!(from.is_multiple_of(4096) && from <= self.length && length <= self.length - from);
        // SAFETY: within our own mapping; nothing is changed.
        unsafe {
            let at = self.start.as_ptr().add(from);
            rustix::mm::msync(at.cast(), length, rustix::mm::MsyncFlags::SYNC)
        }
    }

    /// Gives the memory of these bytes back to the system; they read as zeros from then on.
    pub(crate) fn give_back(&self, from: usize, length: usize) {
        assert!(from.is_multiple_of(4096) && from <= self.length && length <= self.length - from);
        // SAFETY: within our own mapping, of which all access is atomic or by the copy routines.
        let _ = unsafe { madvise(self.start.as_ptr().add(from).cast(), length, Advice::LinuxRemove) };
    }

    #[inline]
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    #[inline]
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// The process that made the mapping; see `os::fork`.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // In a forked child the range is not mapped, or is something else's by now.
        if fork::is_current(self.epoch) {
            // SAFETY: ours, and nothing borrows from it any more.
            let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
        }
    }
}
