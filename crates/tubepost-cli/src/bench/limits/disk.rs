//! A file that messages are written to, one behind the other, by a store to its memory, or by a write and a sync for each.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// As many bytes as one round may write.
const LENGTH: usize = 512 << 20;

/// A fresh file, with its space on the disk, of which no page is mapped yet.
pub struct Appended {
    base: *mut u8,
    at: usize,
}

impl Appended {
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        fallocate(&file, FallocateFlags::empty(), 0, LENGTH as u64)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address the kernel chooses replaces nothing.
        let base = unsafe { mmap(std::ptr::null_mut(), LENGTH, access, MapFlags::SHARED, &file, 0)? };
        Ok(Self { base: base.cast(), at: 0 })
    }

    /// `false`: there is no more room.
    #[inline(always)]
    pub fn append(&mut self, message: &[u8]) -> bool {
        if self.at + message.len() > LENGTH {
            return false;
        }
        // SAFETY: within the mapping, as just asked, which is this one's alone.
        unsafe { std::ptr::copy_nonoverlapping(message.as_ptr(), self.base.add(self.at), message.len()) };
        std::hint::black_box(self.base);
        self.at += message.len();
        true
    }
}

impl Drop for Appended {
    fn drop(&mut self) {
        // SAFETY: mapped by `create` with this length; nobody borrows from it.
        let _ = unsafe { munmap(self.base.cast(), LENGTH) };
    }
}

/// A file that grows by a write, and is synced.
pub struct Synced(File);

impl Synced {
    pub fn create(path: &Path) -> io::Result<Self> {
        OpenOptions::new().append(true).create_new(true).open(path).map(Self)
    }

    pub fn append(&mut self, message: &[u8]) -> io::Result<()> {
        self.0.write_all(message)?;
        self.0.sync_data()
    }
}
