//! A mailbox's file mapped by somebody who knows nothing of it but where its words are.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::Error;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustix::mm::{MapFlags, MremapFlags, ProtFlags, mmap, mremap, munmap};

/// The whole file, as it was long when it was mapped.
pub struct Mapping {
    start: NonNull<u8>,
    length: u64,
}

// SAFETY: a mapping is memory that any thread may use, and what is in it is only reached through atomics.
unsafe impl Send for Mapping {}

impl Mapping {
    pub fn of(file: &File) -> Result<Mapping, Error> {
        let length = file.metadata()?.len();
        let (all, both) = (length as usize, ProtFlags::READ | ProtFlags::WRITE);
        // SAFETY: the kernel chooses an address where nothing is.
        let start = unsafe { mmap(std::ptr::null_mut(), all, both, MapFlags::SHARED, file, 0) }?;
        Ok(Mapping { start: NonNull::new(start.cast()).ok_or(Error::other("mapped at zero"))?, length })
    }

    /// What this process has mapped there for writing, once more.
    pub fn doubled(from: usize, length: usize) -> Result<Mapping, Error> {
        let old = std::ptr::without_provenance_mut(from);
        // SAFETY: of a shared mapping, a length of 0 makes another one of the same memory, at an address where nothing is; the old one stays.
        let start = unsafe { mremap(old, 0, length, MremapFlags::MAYMOVE) }?;
        let start = NonNull::new(start.cast()).ok_or(Error::other("mapped at zero"))?;
        Ok(Mapping { start, length: length as u64 })
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    /// The word at an offset, which is rounded down to a word's.
    fn word(&self, at: u64) -> &AtomicU64 {
        assert!(at < self.length & !7, "{at:#x} is beyond {:#x}", self.length);
        // SAFETY: within the mapping, as just asserted, and aligned; any bytes are an atomic word. The file
        // never gets shorter.
        unsafe { &*self.start.as_ptr().add(at as usize & !7).cast::<AtomicU64>() }
    }

    pub fn read(&self, at: u64) -> u64 {
        self.word(at).load(Relaxed)
    }

    pub fn write(&self, at: u64, value: u64) {
        self.word(at).store(value, Relaxed);
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: ours, and nothing borrows from it any more.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length as usize) };
    }
}
