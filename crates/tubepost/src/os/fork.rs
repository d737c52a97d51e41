//! Is this still the process that opened the handle?
//!
//! A forked child has none of the parent's mappings (they are marked so), so a handle used
//! there would touch memory that isn't. One word in a page that the kernel wipes in the
//! child tells: reading it is the whole cost per call.

use super::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(std::ptr::null_mut());

/// A number that names this process and no ancestor or descendant of it.
/// An error: there is no memory to tell by, not even a page.
pub(crate) fn epoch() -> Result<u64, Errno> {
    let word = page()?;
    let known = word.load(Ordering::Acquire);
    if known != 0 {
        return Ok(known);
    }
    let fresh = fresh();
    Ok(match word.compare_exchange(0, fresh, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => fresh,
        Err(other) => other,
    })
}

/// Whether `epoch` was taken in this very process.
#[inline]
pub(crate) fn is_current(epoch: u64) -> bool {
    let page = PAGE.load(Ordering::Relaxed);
    // SAFETY: whoever has an epoch has been through `page()`, which left a pointer to a
    // page that is never unmapped; in a forked child it is there too, wiped.
    !page.is_null() && unsafe { &*page }.load(Ordering::Relaxed) == epoch
}

fn fresh() -> u64 {
    let mut bytes = [0; 8];
    loop {
        let got = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
        let number = u64::from_ne_bytes(bytes);
        if got == Ok(8) && number != 0 {
            return number;
        }
    }
}

#[cold]
fn make_page() -> Result<*mut AtomicU64, Errno> {
    // SAFETY: a new private anonymous page, at an address that the kernel chooses.
    let page = unsafe {
        mmap_anonymous(std::ptr::null_mut(), 4096, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
    }?;
    // SAFETY: the page is ours. Without this advice (Linux before 4.14) a forked child
    // would be taken for its parent; the library asks for 5.14 anyway.
    let _ = unsafe { madvise(page, 4096, Advice::LinuxWipeOnFork) };
    Ok(page.cast())
}

fn page() -> Result<&'static AtomicU64, Errno> {
    let mut page = PAGE.load(Ordering::Acquire);
    if page.is_null() {
        let made = make_page()?;
        page = match PAGE.compare_exchange(page, made, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => made,
            Err(other) => other, // another thread was first; our page is wasted once
        };
    }
    // SAFETY: never unmapped; zeroed memory is a valid AtomicU64.
    Ok(unsafe { &*page })
}
