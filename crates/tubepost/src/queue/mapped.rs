//! The words of the bounded queue in a mapped segment.
//!
//! Invariant: `claims` is valid for `capacity` words and `slots` for `capacity` strides, for
//! as long as the mapping lives; both are aligned to a cache line. [`Mapped::new`] checks it
//! against the length of the mapping, and everything else takes an index below `capacity`.

use super::layout::Geometry;
use super::slots::{Place, Words};
use crate::memory::copy;
use crate::memory::payload::Payload;
use crate::os::map::Map;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Mapped {
    claims: *const AtomicU64,
    slots: *mut u8,
    capacity: usize,
    stride: usize,
    payload_at: usize,
    variable: bool,
    max_message: usize,
    /// How many slots ahead a sender fetches, and how many lines of that slot.
    ahead: usize,
    lines: usize,
    _map: Arc<Map>,
}

/// A cache line.
const LINE: usize = 64;
/// A sender fetches about so many lines ahead of the one it writes …
const LINES_AHEAD: usize = 8;
/// … but no more of one slot than these.
const LINES_OF_SLOT: usize = 20;

// SAFETY: the pointers lead into a mapping that `_map` keeps; all access is atomic or by
// the copy routine, under the queue's protocol.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    pub(crate) fn new(map: Arc<Map>, geometry: &Geometry) -> Mapped {
        let capacity = geometry.capacity as usize;
        let (claims_at, slots_at) = (geometry.claims_at as usize, geometry.slots_at as usize);
        assert!(claims_at % 64 == 0 && slots_at % 64 == 0 && geometry.stride.is_multiple_of(64));
        assert!(claims_at + capacity * 8 <= slots_at);
        assert!(slots_at + capacity * geometry.stride as usize <= map.length());
        let start = map.start().as_ptr();
        let lines = geometry.stride as usize / LINE;
        Mapped {
            ahead: (LINES_AHEAD / lines).max(2).min(capacity - 1),
            lines: lines.min(LINES_OF_SLOT),
            // SAFETY: both offsets lie within the mapping, as just asserted.
            claims: unsafe { start.add(claims_at) }.cast(),
            // SAFETY: as above.
            slots: unsafe { start.add(slots_at) },
            capacity,
            stride: geometry.stride as usize,
            payload_at: geometry.payload_at as usize,
            variable: geometry.variable,
            max_message: geometry.max_message as usize,
            _map: map,
        }
    }

    #[inline]
    fn slot(&self, index: usize) -> *mut u8 {
        debug_assert!(index < self.capacity);
        // SAFETY: `index` is below the capacity (invariant); a `Place` never has another.
        unsafe { self.slots.add(index * self.stride) }
    }

    #[inline]
    fn length_word(&self, index: usize) -> &AtomicU32 {
        // SAFETY: every slot has its state word and 8 more bytes (`layout` checks it).
        unsafe { &*self.slot(index).add(8).cast::<AtomicU32>() }
    }

    /// Writes the payload of a place that was claimed.
    #[inline]
    pub(crate) fn write(&self, place: Place, bytes: &[u8]) {
        assert!(bytes.len() <= self.max_message);
        if self.variable {
            self.length_word(place.index).store(bytes.len() as u32, Ordering::Relaxed);
        }
        // SAFETY: payload_at + max_message is at most the stride (`layout` checks it).
        unsafe { copy::write(self.slot(place.index).add(self.payload_at), bytes) }
    }

    /// The payload at a place that was taken. `None`: its length is impossible.
    #[inline]
    pub(crate) fn payload(&self, place: Place) -> Option<SlotPayload<'_>> {
        let length = if self.variable {
            self.length_word(place.index).load(Ordering::Relaxed) as usize
        } else {
            self.max_message
        };
        (length <= self.max_message).then_some(SlotPayload { words: self, index: place.index, length })
    }
}

impl Words for Mapped {
    #[inline]
    fn claim(&self, index: usize) -> &AtomicU64 {
        debug_assert!(index < self.capacity);
        // SAFETY: below the capacity (invariant).
        unsafe { &*self.claims.add(index) }
    }

    #[inline]
    fn state(&self, index: usize) -> &AtomicU64 {
        // SAFETY: a slot begins with its state word, aligned to 64.
        unsafe { &*self.slot(index).cast::<AtomicU64>() }
    }

    #[inline]
    fn fetch_after(&self, index: usize) {
        let mut ahead = index + self.ahead;
        if ahead >= self.capacity {
            ahead -= self.capacity;
        }
        let slot = self.slot(ahead);
        for line in 0..self.lines {
            fetch_for_writing(slot.wrapping_add(line * LINE));
        }
    }
}

/// A prefetch has no effect but on caches, whatever the address.
#[inline(always)]
fn fetch_for_writing(at: *mut u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: as said.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = at;
}

/// A payload that can be copied out.
pub(crate) struct SlotPayload<'a> {
    words: &'a Mapped,
    index: usize,
    length: usize,
}

// SAFETY: `copy_to` initialises all of `to`, by `copy::read`.
unsafe impl Payload for SlotPayload<'_> {
    #[inline]
    fn len(&self) -> usize {
        self.length
    }

    #[inline]
    fn copy_to(&self, to: &mut [MaybeUninit<u8>]) {
        assert!(to.len() <= self.length);
        // SAFETY: the payload lies within its slot: `length` is at most max_message.
        unsafe { copy::read(self.words.slot(self.index).add(self.words.payload_at), to) }
    }
}
