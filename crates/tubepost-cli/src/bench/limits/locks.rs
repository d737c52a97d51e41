//! Data shared without a library: under a lock of the C library that processes share, and with a sequence.
//!
//! The lock is `pthread_rwlock_t`, made so that writers come before readers that come later; else a writer beside a busy reader may never get
//! it. The sequence is the classical one: a writer makes it odd, writes, makes it even; a reader that saw it odd, or changed, reads again. Neither survives the death of
//! a writer.

use std::cell::UnsafeCell;
use std::hint::black_box;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::fence;

use super::memory::Shared;

/// Where the lock is, the data that it is for, the sequence, and the data that it is for.
const LOCK: usize = 0;
const LOCKED: usize = 256;
const SEQUENCE: usize = 512;
const SEQUENCED: usize = 640;
/// Words of data: 64 bytes.
pub const WORDS: usize = 8;

unsafe extern "C" {
    /// Not in the `libc` crate.
    fn pthread_rwlockattr_setkind_np(attributes: *mut libc::pthread_rwlockattr_t, kind: i32) -> i32;
}
const PREFER_WRITER: i32 = 2;

/// The lock, and what it is for.
pub struct Locked<'a>(&'a Shared);

impl<'a> Locked<'a> {
    /// Makes it. Nobody uses it yet.
    pub fn create(shared: &'a Shared) -> Self {
        let made = Self(shared);
        // SAFETY: memory of both processes, zeroed or an old lock that nobody uses; long enough and aligned.
        unsafe {
            let mut attributes = std::mem::zeroed();
            libc::pthread_rwlockattr_init(&mut attributes);
            libc::pthread_rwlockattr_setpshared(&mut attributes, libc::PTHREAD_PROCESS_SHARED);
            pthread_rwlockattr_setkind_np(&mut attributes, PREFER_WRITER);
            libc::pthread_rwlock_init(made.lock(), &attributes);
        }
        made
    }

    pub fn open(shared: &'a Shared) -> Self {
        Self(shared)
    }

    fn lock(&self) -> *mut libc::pthread_rwlock_t {
        self.0.payload(LOCK, size_of::<UnsafeCell<libc::pthread_rwlock_t>>()).cast()
    }

    #[inline(always)]
    pub fn read(&self) -> [u64; WORDS] {
        // SAFETY: a lock that was made, in memory that lives as long as `self`.
        unsafe { libc::pthread_rwlock_rdlock(self.lock()) };
        let data = load(self.0, LOCKED);
        // SAFETY: as above; it is held.
        unsafe { libc::pthread_rwlock_unlock(self.lock()) };
        data
    }

    #[inline(always)]
    pub fn write(&self, number: u64) {
        // SAFETY: as above.
        unsafe { libc::pthread_rwlock_wrlock(self.lock()) };
        store(self.0, LOCKED, number);
        // SAFETY: as above; it is held.
        unsafe { libc::pthread_rwlock_unlock(self.lock()) };
    }
}

/// The sequence, and what it is for.
pub struct Sequenced<'a>(pub &'a Shared);

impl Sequenced<'_> {
    #[inline(always)]
    pub fn read(&self) -> [u64; WORDS] {
        loop {
            let before = self.0.word(SEQUENCE).load(Acquire);
            let data = load(self.0, SEQUENCED);
            fence(Acquire);
            if before & 1 == 0 && self.0.word(SEQUENCE).load(Relaxed) == before {
                return data;
            }
        }
    }

    #[inline(always)]
    pub fn write(&self, number: u64) {
        let before = self.0.word(SEQUENCE).load(Relaxed);
        self.0.word(SEQUENCE).store(before + 1, Relaxed);
        fence(Release);
        store(self.0, SEQUENCED, number);
        self.0.word(SEQUENCE).store(before + 2, Release);
    }
}

#[inline(always)]
fn load(shared: &Shared, at: usize) -> [u64; WORDS] {
    black_box(std::array::from_fn(|word| shared.word(at + word * 8).load(Relaxed)))
}

#[inline(always)]
fn store(shared: &Shared, at: usize, number: u64) {
    (0..WORDS).for_each(|word| shared.word(at + word * 8).store(number, Relaxed));
}
