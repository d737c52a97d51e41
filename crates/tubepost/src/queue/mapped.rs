//! The words of the queue in a mapped segment.
//!
//! Invariant: `claims` and `takes` are valid for `indices` words and `slots` for `indices` strides,
//! for as long as the mapping lives; all are aligned to a cache line. [`Mapped::new`] checks it
//! against the length of the mapping, and everything else takes an index below `indices`: the capacity,
//! or what the segments of an unbounded queue make up.

use super::areas::{NEVER, OVER};
use super::chunks::Ticket;
use super::directory::Directory;
use super::layout::{CHUNK_AT, Geometry, IN_CHUNK, LENGTH_AT};
use super::slots::{self, Lies, Place, Words};
use super::takes;
use crate::memory::copy;
use crate::memory::payload::Payload;
use crate::os::map::Map;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Mapped {
    claims: *const AtomicU64,
    takes: *const AtomicU64,
    slots: *mut u8,
    indices: usize,
    stride: usize,
    payload_at: usize,
    has_length: bool,
    in_line: usize,
    /// From this length on …
    fits_from: usize,
    /// … so many lengths fit a slot: of a plain type only its own, and none where nothing waits.
    fits: usize,
    max_message: usize,
    /// How many slots ahead a sender fetches, and how many lines of that slot.
    ahead: usize,
    lines: usize,
    /// Where segments are, if the queue is unbounded.
    directory: Option<Directory>,
    _map: Arc<Map>,
}

/// A cache line.
const LINE: usize = 64;
/// A message of so many bytes is written in two pieces.
const MANY_LINES: usize = 3 * LINE;
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
        let indices = geometry.indices() as usize;
        let (claims_at, slots_at) = (geometry.claims_at as usize, geometry.slots_at as usize);
        let takes_at = geometry.takes_at as usize;
        assert!(claims_at % 64 == 0 && slots_at % 64 == 0 && geometry.stride.is_multiple_of(64));
        assert!(takes_at.is_multiple_of(64) && claims_at + indices * 8 <= takes_at);
        assert!(takes_at + indices * 8 <= slots_at);
        assert!(geometry.payload_at + geometry.in_line <= geometry.stride);
        assert!(!geometry.has_length || CHUNK_AT + 16 <= geometry.stride);
        assert!(slots_at + indices * geometry.stride as usize <= map.length());
        let start = map.start().as_ptr();
        let lines = geometry.stride as usize / LINE;
        Mapped {
            ahead: (LINES_AHEAD / lines).max(2).min(indices - 1),
            lines: lines.min(LINES_OF_SLOT),
            // SAFETY: the offsets lie within the mapping, as just asserted.
            claims: unsafe { start.add(claims_at) }.cast(),
            // SAFETY: as above.
            takes: unsafe { start.add(takes_at) }.cast(),
            // SAFETY: as above.
            slots: unsafe { start.add(slots_at) },
            indices,
            stride: geometry.stride as usize,
            payload_at: geometry.payload_at as usize,
            has_length: geometry.has_length,
            in_line: geometry.in_line as usize,
            fits_from: if geometry.choice.variable { 0 } else { geometry.choice.max_message as usize },
            fits: match geometry.choice.capacity {
                0 => 0,
                _ if geometry.choice.variable => geometry.in_line as usize + 1,
                _ => (geometry.choice.max_message <= geometry.in_line).into(),
            },
            max_message: geometry.choice.max_message as usize,
            directory: geometry.areas.map(|areas| Directory::new(Arc::clone(&map), areas)),
            _map: map,
        }
    }

    /// Writes what stands for places that are nowhere. For the creator of an unbounded queue.
    pub(crate) fn set_nowhere(&self) {
        let set = |index, [claim, take, state]: [u64; 3]| {
            self.claim(index).store(claim, Ordering::Relaxed);
            self.take(index).store(take, Ordering::Relaxed);
            self.state(index).store(state, Ordering::Relaxed);
        };
        set(OVER, [slots::CLAIMED_BEFORE, takes::TAKEN_BEFORE, slots::FREED_BEFORE]);
        set(NEVER, [slots::NEVER_CLAIMED, takes::NEVER_TAKEN, 0]);
    }

    /// Where segments are, if the queue is unbounded.
    pub(super) fn directory(&self) -> Option<&Directory> {
        self.directory.as_ref()
    }

    #[inline]
    fn slot(&self, index: usize) -> *mut u8 {
        debug_assert!(index < self.indices);
        // SAFETY: `index` is below `indices` (invariant); a `Place` never has another.
        unsafe { self.slots.add(index * self.stride) }
    }

    #[inline]
    fn length_word(&self, index: usize) -> &AtomicU32 {
        // SAFETY: every slot has its state word and 8 more bytes (`layout` checks it).
        unsafe { &*self.slot(index).add(LENGTH_AT as usize).cast::<AtomicU32>() }
    }

    /// The two words that name a chunk.
    #[inline]
    fn ticket_words(&self, index: usize) -> &[AtomicU64; 2] {
        debug_assert!(self.has_length);
        // SAFETY: slots that have a length have room for both (`new` checks it), aligned to 8.
        unsafe { &*self.slot(index).add(CHUNK_AT as usize).cast::<[AtomicU64; 2]>() }
    }

    /// Whether a message of this length goes into its slot, and not into a chunk.
    #[inline]
    pub(crate) fn fits(&self, length: usize) -> bool {
        length.wrapping_sub(self.fits_from) < self.fits
    }

    /// Asks the processor to fetch, for writing, the state of a slot, which is about to be written.
    #[inline(always)]
    pub(crate) fn fetch(&self, index: usize) {
        fetch_for_writing(self.slot(index));
    }

    /// Writes the payload of a place that was claimed; it [`fits`](Self::fits). What is in the line of the state word, which
    /// a receiver that waits looks at all the time, comes last: that line would be taken away and fetched again meanwhile.
    #[inline(always)]
    pub(crate) fn write(&self, place: Place, bytes: &[u8]) {
        assert!(bytes.len() <= self.in_line);
        let beside_state = LINE.saturating_sub(self.payload_at);
        let first = if bytes.len() < MANY_LINES { bytes.len() } else { beside_state };
        // SAFETY: payload_at + in_line is at most the stride (`new` checks it), and no split is behind the end.
        let payload = unsafe { self.slot(place.index).add(self.payload_at) };
        let (bytes, rest) = bytes.split_at(first);
        if !rest.is_empty() {
            // SAFETY: as above.
            unsafe { copy::write(payload.add(first), rest) }
        }
        if self.has_length {
            self.length_word(place.index).store((bytes.len() + rest.len()) as u32, Ordering::Relaxed);
        }
        // SAFETY: as above.
        unsafe { copy::write(payload, bytes) }
    }

    /// Writes into a place that was claimed where its payload is.
    #[inline]
    pub(crate) fn write_ticket(&self, place: Place, length: usize, ticket: Ticket) {
        assert!(self.has_length && length <= self.max_message);
        self.length_word(place.index).store(length as u32 | IN_CHUNK, Ordering::Relaxed);
        let [which, sequence] = self.ticket_words(place.index);
        which.store(ticket.which, Ordering::Relaxed);
        sequence.store(ticket.sequence, Ordering::Relaxed);
    }

    /// The payload at a place, if it is there and not in a chunk.
    #[inline(always)]
    pub(crate) fn in_line(&self, place: Place) -> Option<Lent<'_>> {
        let length = if self.has_length {
            self.length_word(place.index).load(Ordering::Relaxed) as usize
        } else {
            self.in_line
        };
        // SAFETY: payload_at + in_line is at most the stride (`new` checks it).
        let lend = || unsafe { Lent::new(self.slot(place.index).add(self.payload_at), length) };
        // (What is in a chunk has a bit in this word that makes it too long.)
        (length <= self.in_line).then(lend)
    }

    /// What is at a place that was taken. `None`: its length is impossible.
    #[inline]
    pub(crate) fn letter(&self, place: Place) -> Option<Letter<'_>> {
        match self.ticket(place) {
            Some((ticket, length)) => {
                (length <= self.max_message as u64).then_some(Letter::InChunk(ticket, length))
            }
            None => self.in_line(place).map(Letter::InLine),
        }
    }

    /// Which chunk is named at a place, and how long its message is, whatever that is: for who checks it, or who only fetches.
    #[inline]
    pub(crate) fn ticket(&self, place: Place) -> Option<(Ticket, u64)> {
        if !self.has_length {
            return None;
        }
        let word = self.length_word(place.index).load(Ordering::Relaxed);
        let [which, sequence] = self.ticket_words(place.index);
        let ticket =
            || Ticket { which: which.load(Ordering::Relaxed), sequence: sequence.load(Ordering::Relaxed) };
        (word & IN_CHUNK != 0).then(|| (ticket(), u64::from(word & !IN_CHUNK)))
    }
}

impl Words for Mapped {
    #[inline]
    fn claim(&self, index: usize) -> &AtomicU64 {
        debug_assert!(index < self.indices);
        // SAFETY: below `indices` (invariant).
        unsafe { &*self.claims.add(index) }
    }

    #[inline]
    fn take(&self, index: usize) -> &AtomicU64 {
        debug_assert!(index < self.indices);
        // SAFETY: below `indices` (invariant).
        unsafe { &*self.takes.add(index) }
    }

    #[inline]
    fn state(&self, index: usize) -> &AtomicU64 {
        // SAFETY: a slot begins with its state word, aligned to 64.
        unsafe { &*self.slot(index).cast::<AtomicU64>() }
    }

    #[inline]
    fn fetch_after(&self, index: usize) {
        let mut ahead = index + self.ahead;
        if ahead >= self.indices {
            ahead -= self.indices;
        }
        let slot = self.slot(ahead);
        for line in 0..self.lines {
            fetch_for_writing(slot.wrapping_add(line * LINE));
        }
    }

    #[inline]
    fn lies(&self, epoch: u64) -> Lies {
        self.directory.as_ref().map_or(Lies::NotYet, |directory| directory.lies(epoch))
    }

    #[inline(always)]
    fn lie(&self, epoch: u64) -> Option<usize> {
        self.directory.as_ref()?.lie(epoch)
    }

    fn first(&self) -> u64 {
        self.directory.as_ref().map_or(0, Directory::first)
    }

    fn close(&self, epoch: u64) -> bool {
        self.directory.as_ref().is_none_or(|directory| directory.close(epoch))
    }
}

/// A prefetch has no effect but on caches, whatever the address.
#[inline(always)]
pub(super) fn fetch_for_writing(at: *mut u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: as said.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = at;
}

/// The same, for reading.
#[inline(always)]
pub(super) fn fetch_for_reading(at: *mut u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: as said.
    unsafe {
        std::arch::asm!("prefetcht0 [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = at;
}

/// What is in a slot.
pub(crate) enum Letter<'a> {
    /// The payload itself.
    InLine(Lent<'a>),
    /// The chunk where it is, and its length.
    InChunk(Ticket, u64),
}

/// Bytes of shared memory that can be copied out.
#[derive(Clone, Copy)]
pub(crate) struct Lent<'a> {
    at: *const u8,
    length: usize,
    _of: PhantomData<&'a [AtomicU64]>,
}

impl<'a> Lent<'a> {
    /// # Safety
    ///
    /// `at` is valid for `length` bytes of shared memory as long as `'a`.
    #[inline]
    pub(super) unsafe fn new(at: *const u8, length: usize) -> Lent<'a> {
        Lent { at, length, _of: PhantomData }
    }
}

impl<'a> Lent<'a> {
    /// The same without the last `N` bytes, and these; nothing if there are fewer.
    #[inline]
    pub(crate) fn split_end<const N: usize>(self) -> Option<(Lent<'a>, [u8; N])> {
        let length = self.length.checked_sub(N)?;
        let mut end = [0; N];
        // SAFETY: the last `N` bytes, as just found; what is initialised may be taken for what need not be.
        unsafe { copy::read(self.at.add(length), &mut *(&raw mut end).cast::<[MaybeUninit<u8>; N]>()) };
        Some((Lent { length, ..self }, end))
    }
}

// SAFETY: `copy_to` initialises all of `to`, by `copy::read`.
unsafe impl Payload for Lent<'_> {
    #[inline]
    fn len(&self) -> usize {
        self.length
    }

    #[inline]
    fn copy_to(&self, to: &mut [MaybeUninit<u8>]) {
        assert!(to.len() <= self.length);
        // SAFETY: valid for `length` bytes (`new`).
        unsafe { copy::read(self.at, to) }
    }
}
