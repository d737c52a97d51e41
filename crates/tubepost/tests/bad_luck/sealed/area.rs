//! A sender's area as docs/format.md tells it, made by somebody who means harm.
#![allow(unsafe_code)]

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create,
};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

pub const SEALS: SealFlags =
    SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::FUTURE_WRITE).union(SealFlags::SEAL);

/// A file in memory of so many bytes, of which the first ones are allocated, with these seals.
pub fn file(length: usize, allocated: usize, seals: SealFlags, flags: MemfdFlags) -> Option<OwnedFd> {
    let fd = memfd_create("area", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | flags).ok()?;
    ftruncate(&fd, length as u64).ok()?;
    if allocated > 0 {
        fallocate(&fd, FallocateFlags::empty(), 0, allocated as u64).ok()?;
    }
    fcntl_add_seals(&fd, seals).ok()?;
    Some(fd)
}

/// One as it should be, mapped for writing.
pub struct Area {
    pub fd: OwnedFd,
    at: *mut u8,
    length: usize,
}

// SAFETY: the mapping is reached by atomics only.
unsafe impl Send for Area {}
// SAFETY: as above.
unsafe impl Sync for Area {}

impl Area {
    pub fn new(length: usize) -> Area {
        let fd = file(length, length, SealFlags::empty(), MemfdFlags::empty()).expect("there is memory");
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let at = unsafe {
            let access = ProtFlags::READ | ProtFlags::WRITE;
            mmap(std::ptr::null_mut(), length, access, MapFlags::SHARED, &fd, 0).expect("there are addresses")
        };
        fcntl_add_seals(&fd, SEALS).expect("it is our own");
        Area { fd, at: at.cast(), length }
    }

    pub fn store(&self, at: usize, value: u64) {
        assert!(at.is_multiple_of(8) && at + 8 <= self.length);
        // SAFETY: within our own mapping, aligned.
        unsafe { &*self.at.add(at).cast::<AtomicU64>() }.store(value, SeqCst);
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: our own mapping, of which nothing is borrowed.
        let _ = unsafe { munmap(self.at.cast(), self.length) };
    }
}

/// Whether this file can be mapped for writing.
pub fn is_writable(fd: &OwnedFd) -> bool {
    // SAFETY: a new mapping, at an address that the kernel chooses; nothing is done with it.
    unsafe {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        mmap(std::ptr::null_mut(), 4096, access, MapFlags::SHARED, fd, 0).is_ok()
    }
}
