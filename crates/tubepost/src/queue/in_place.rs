//! Payloads looked at, and written, where they are: in their chunks.
//!
//! The invariants:
//! - A chunk that is HELD is neither written nor used again by anybody who keeps the protocol until its holder frees it or
//!   gives it back; if the holder is fenced off, not before it lets go of it (`super::fencing`). So its bytes may be
//!   referred to, where nobody else can write to the file: whoever asks for that has made sure (`domain::access`). A mailbox that lets
//!   other users in is no such place: its messages are copied.
//! - A chunk that is OWN is its owner's alone, who may write to it.
//!
//! - A reference lives no longer than the value here that gave it; the chunk goes on when that is no more; and who has such a value has the
//!   handle, and so the mapping, for longer. (Not each value by itself: to count takes longer than to look.)
//!
//! Chunks are aligned to 64, at least as strictly as any message. A forked child has no such mapping: it must not look.

use super::chunks::Chunk;
use crate::memory::payload::Unfit;
use crate::os::fork;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// A view of the payload of a chunk that its holder has in hand.
#[derive(Debug)]
pub(crate) struct InPlace<H: ?Sized> {
    at: NonNull<H>,
    /// The process that mapped it.
    epoch: u64,
}

// SAFETY: it is a shared reference in effect.
unsafe impl<H: ?Sized + Sync> Send for InPlace<H> {}
// SAFETY: as above.
unsafe impl<H: ?Sized + Sync> Sync for InPlace<H> {}

impl<H: ?Sized> Deref for InPlace<H> {
    type Target = H;

    #[inline]
    fn deref(&self) -> &H {
        assert!(fork::is_current(self.epoch), "a delivery can't be read in a forked child; copy it before");
        // SAFETY: made of a reference into the mapping, which is there as long (module's text); nobody writes there (module's text).
        unsafe { self.at.as_ref() }
    }
}

/// What sees a message in its bytes.
pub(crate) type View<H> = fn(&[u8]) -> Result<&H, Unfit>;

/// The payload of a chunk that its owner has taken, to be written.
#[derive(Debug)]
pub(crate) struct Writable<H: ?Sized> {
    at: NonNull<H>,
    /// The process that mapped it.
    epoch: u64,
}

// SAFETY: it is an exclusive reference in effect.
unsafe impl<H: ?Sized + Send> Send for Writable<H> {}
// SAFETY: as above.
unsafe impl<H: ?Sized + Sync> Sync for Writable<H> {}

impl<H: ?Sized> Deref for Writable<H> {
    type Target = H;

    #[inline]
    fn deref(&self) -> &H {
        assert!(fork::is_current(self.epoch), "a loan can't be read in a forked child");
        // SAFETY: made of a reference into the mapping, which is there as long (module's text); the chunk is ours (module's text).
        unsafe { self.at.as_ref() }
    }
}

impl<H: ?Sized> DerefMut for Writable<H> {
    #[inline]
    fn deref_mut(&mut self) -> &mut H {
        assert!(fork::is_current(self.epoch), "a loan can't be written in a forked child");
        // SAFETY: as above; borrowed mutably.
        unsafe { self.at.as_mut() }
    }
}

impl Chunk<'_> {
    /// Looks at the first `length` bytes, which the caller has taken or holds, and of which it knows that nobody else writes
    /// them. Nothing: there are not so many.
    #[inline]
    pub(crate) fn in_place<H: ?Sized>(
        &self,
        length: u64,
        view: View<H>,
    ) -> Option<Result<InPlace<H>, Unfit>> {
        self.payload(length)?;
        // SAFETY: within the chunk and memory (`payload`), which lies within the mapping; nobody writes (module's text).
        let bytes = unsafe { std::slice::from_raw_parts(self.start(), length as usize) };
        Some(view(bytes).map(|seen| InPlace { at: NonNull::from(seen), epoch: self.chunks.map.epoch() }))
    }

    /// The first `length` bytes, to be written. The chunk is the caller's OWN and was taken for that length; one of these
    /// is made of it at a time. Nothing: they are not what `view` wants.
    #[inline]
    pub(crate) fn writable<H: ?Sized>(
        &self,
        length: u64,
        view: fn(&mut [u8]) -> Option<&mut H>,
    ) -> Option<Writable<H>> {
        self.payload(length)?;
        self.entry.length.store(length as u32, std::sync::atomic::Ordering::Relaxed);
        let start = self.start();
        super::mapped::fetch_for_writing(start);
        super::mapped::fetch_for_writing(start.wrapping_add(length.saturating_sub(1) as usize));
        // SAFETY: within the chunk and memory (`payload`), which lies within the mapping; all of it initialised, as pages
        // of files are; nobody else writes or reads (module's text).
        let bytes = unsafe { std::slice::from_raw_parts_mut(start, length as usize) };
        view(bytes).map(|seen| Writable { at: NonNull::from(seen), epoch: self.chunks.map.epoch() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_place_goes_where_its_message_may_go() {
        fn both<T: Send + Sync>() {}
        both::<InPlace<[u8]>>();
        both::<Writable<[u64; 4]>>();
    }
}
