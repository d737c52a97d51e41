//! One piece of shared memory that both processes of the benchmark map.
//!
//! It is a file on the same tmpfs as a domain, reserved before use and populated at once, so that the
//! limits stand on the same kind of pages as a mailbox and meet no page fault while the clock runs.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Room for the largest ring: four slots of 1 MiB with their flag, and to spare.
const LENGTH: usize = 6 << 20;

/// Both processes' view of the same memory.
pub struct Shared {
    base: NonNull<u8>,
}

impl Shared {
    /// Creates the file and maps it.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        fallocate(&file, FallocateFlags::empty(), 0, LENGTH as u64)?;
        Self::map(&file)
    }

    /// Maps what the other process created.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::map(&OpenOptions::new().read(true).write(true).open(path)?)
    }

    fn map(file: &File) -> io::Result<Self> {
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: a new mapping at an address the kernel chooses replaces nothing.
        let base = unsafe {
            mmap(std::ptr::null_mut(), LENGTH, ProtFlags::READ | ProtFlags::WRITE, flags, file, 0)?
        };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { base })
    }

    /// Sets everything to zero; called while the other process is not using it.
    pub fn clear(&self) {
        // SAFETY: the mapping is LENGTH bytes long and lives as long as `self`.
        unsafe { self.base.as_ptr().write_bytes(0, LENGTH) }
    }

    /// The 64-bit word at `offset`.
    #[inline(always)]
    pub fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= LENGTH);
        // SAFETY: aligned and inside the mapping (just checked); flags are only ever used as atomics.
        unsafe { &*self.base.as_ptr().add(offset).cast() }
    }

    /// The 32-bit word at `offset`.
    #[inline(always)]
    pub fn half_word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= LENGTH);
        // SAFETY: as for `word`.
        unsafe { &*self.base.as_ptr().add(offset).cast() }
    }

    /// Where `len` bytes of payload at `offset` lie.
    #[inline(always)]
    pub fn payload(&self, offset: usize, len: usize) -> *mut u8 {
        assert!(offset + len <= LENGTH);
        // SAFETY: inside the mapping (just checked).
        unsafe { self.base.as_ptr().add(offset) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length; whoever borrowed from it is gone.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), LENGTH) };
    }
}
