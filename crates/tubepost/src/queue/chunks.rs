//! Chunks: memory for payloads that don't fit a slot, and for messages in hand.
//!
//! Chunks come in classes, each twice as long as the one before; a payload goes into the smallest
//! that holds it. A chunk has memory only as far as a payload needed it so far: what
//! is in use has at most twice the payload's length, and not more than a page beyond it where chunks are longer than a
//! page and fresh. Memory of free chunks is given back when nobody needs it ([`Chunks::trim`]).
//!
//! Each chunk has a word (sequence, deliveries before, kind, member):
//!
//! ```text
//! FREE ──> OWN(sender) ──> LINKED(sender) ──> FREE                  sent and received
//!   │                          └──────> HELD(receiver) ──> FREE     taken and accepted
//!   └────> OWN(receiver) ─────────────> HELD(receiver)              a copy of what was in line
//!                                         ├──> RETURNED ──> HELD(another)   given back
//!                                         │       └──> BURIED       never collected: the mailbox is closed
//!                                         └──> FENCED ──> FREE      held too long, a copy is RETURNED
//! ```
//!
//! - A sender takes a chunk before it claims a place, so that it neither waits nor fails between
//!   claim and publication; LINKED, with the position, comes between the two. The slot then
//!   says which chunk, and in which sequence.
//! - A chunk is consumed first, the slot freed second. Who takes over a dead one's take and
//!   finds the chunk no longer LINKED in that sequence knows that it was consumed, or is in
//!   hand: only the slot is left to be freed.
//! - The sequence grows with each FREE -> OWN, with each giving back, and where a promise ends (`super::fencing`), so no word
//!   ever repeats: every change is a CAS from the exact word, except by the living member that
//!   the word names as OWN.
//!
//! The segments of an unbounded queue are chunks of a class of their own, of which [`segments`](super::segments) tells;
//! only memory and the ceiling are the same for all.
//!
//! How they come by memory, and lose it, is in `memory`.
//!
//! **What if it dies here?** OWN(dead) is free. LINKED(dead) is garbage once its position is
//! neither published nor can be any more. HELD(dead) goes back, see `super::in_hand`. Before a row is taken
//! again, all chunks that name it are put in order. Died between `backed = 0` and giving the pages back: they
//! are given back by the next thorough trim, or used again.

use super::areas::Areas;
use super::handoff::{WHICH_BITS, Which};
use super::layout::{CLASSES, Class, ENTRY, Entry, Geometry, MAX_CLASSES, PAGE, SEGMENTS, class_of};
use super::mapped::{Lent, fetch_for_reading, fetch_for_writing};
use super::rows::HeaderOf;
use super::slots::Member;
use crate::memory::copy;
use crate::os::{Errno, map::Map};
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

mod memory;

const KIND_SHIFT: u32 = 16;
const COUNT_SHIFT: u32 = 19;
const SEQUENCE_SHIFT: u32 = 27;
const MEMBER: u64 = 0xFFFF;

/// After so many, a handle looks for free chunks from the first one on again: what was used a moment
/// ago is still in the caches …
const REWIND: u32 = 16;
/// … and for chunks as long as these always: then moving the payload costs more than looking.
const LONG: u64 = 16 << 10;
/// … unless more than so many are in use.
const LONG_LOOK: u64 = 256;

/// Who writes in place takes turns with so many chunks at least: the lines of the one that was received last come
/// back while the next is on its way …
const IN_TURN: u64 = 2;
/// … where that is not too much memory.
const LONGEST_IN_TURN: u64 = 1 << 20;

/// Where a cell names a chunk, so many bits are its index; five are its class.
const INDEX_BITS: u32 = WHICH_BITS - 5;

/// What a chunk is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Use {
    Free = 0,
    Own = 1,
    Linked = 2,
    Held = 3,
    Returned = 4,
    Buried = 5,
    Fenced = 6,
}

/// In `wanted` of a chunk that is HELD: it is a copy of a chunk of the same class, made to be delivered instead; see
/// `super::fencing`.
pub(super) const INSTEAD: u64 = 1 << 63;

/// A chunk's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    /// `None`: nobody ever wrote that.
    pub(crate) fn kind(self) -> Option<Use> {
        const ALL: [Use; 7] =
            [Use::Free, Use::Own, Use::Linked, Use::Held, Use::Returned, Use::Buried, Use::Fenced];
        ALL.get((self.0 >> KIND_SHIFT & 7) as usize).copied()
    }

    pub(crate) fn member(self) -> Member {
        (self.0 & MEMBER) as Member
    }

    /// How often its message was delivered before.
    pub(crate) fn before(self) -> u8 {
        (self.0 >> COUNT_SHIFT & 0xFF) as u8
    }

    pub(crate) fn sequence(self) -> u64 {
        self.0 >> SEQUENCE_SHIFT
    }

    pub(super) fn new(sequence: u64, before: u8, kind: Use, member: Member) -> Word {
        let kind = (kind as u64) << KIND_SHIFT;
        Word(sequence << SEQUENCE_SHIFT | u64::from(before) << COUNT_SHIFT | kind | u64::from(member))
    }

    /// The same chunk in another use.
    pub(crate) fn to(self, kind: Use, member: Member) -> Word {
        Word::new(self.sequence(), self.before(), kind, member)
    }

    /// Given back: delivered once more than before. In a new sequence, for the count may be at its end.
    pub(crate) fn given_back(self) -> Word {
        Word::new(self.sequence().wrapping_add(1), self.before().saturating_add(1), Use::Returned, 0)
    }

    /// In the same hand, in a new sequence: what was promised for the one before means nothing any more.
    pub(crate) fn held_on(self) -> Word {
        Word::new(self.sequence().wrapping_add(1), self.before(), Use::Held, self.member())
    }

    /// The same message, of which a slot says how often it was delivered before.
    pub(crate) fn delivered(self, before: u8) -> Word {
        Word::new(self.sequence(), before, self.kind().unwrap_or(Use::Free), self.member())
    }

    pub(crate) fn taken(self, me: Member) -> Word {
        Word::new(self.sequence().wrapping_add(1), 0, Use::Own, me)
    }

    pub(crate) fn freed(self) -> Word {
        Word::new(self.sequence(), 0, Use::Free, 0)
    }
}

/// Which chunk, in which sequence: as it stands in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) which: u64,
    pub(crate) sequence: u64,
}

/// A chunk of a mapped segment, as it was when its word was read.
#[derive(Clone, Copy)]
pub(crate) struct Chunk<'a> {
    pub(crate) entry: &'a Entry,
    pub(crate) word: Word,
    pub(super) chunks: &'a Chunks,
    pub(super) kind: usize,
    pub(super) index: u64,
}

/// Why there is no chunk.
#[derive(Debug)]
pub(crate) enum NoChunk {
    /// All that the ceiling allows have memory.
    AtCeiling,
    /// As many as there can be of its class, of so many bytes each, are in use.
    AllInUse { number: u64, size: u64 },
    /// The system has no memory, or something else is wrong with it.
    Os(Errno),
}

/// All chunks of a segment.
#[derive(Debug)]
pub(crate) struct Chunks {
    pub(super) map: Arc<Map>,
    header: HeaderOf,
    classes: [Class; CLASSES],
    ceiling: u64,
    /// Nothing waits: what a handle had last is most probably free again, and it takes that.
    again: bool,
    /// Where the parts of segments are.
    segments: Option<(Areas, [u64; 3])>,
    /// By class: this process made sure that so many entries are memory …
    sure: [AtomicU64; CLASSES],
    /// … found all before this one in use, a moment ago …
    low: [AtomicU32; CLASSES],
    /// … and took so many.
    taken: [AtomicU32; CLASSES],
}

impl Chunks {
    pub(crate) fn new(map: Arc<Map>, geometry: &Geometry) -> Chunks {
        for class in &geometry.classes {
            assert!(class.entries_at.is_multiple_of(PAGE) && class.chunks_at.is_multiple_of(PAGE));
            assert!(class.entries_at + class.number * ENTRY <= map.length() as u64);
        }
        for class in &geometry.classes[..MAX_CLASSES] {
            assert!(class.chunks_at + class.number * class.size <= map.length() as u64);
        }
        Chunks {
            header: HeaderOf::new(Arc::clone(&map)),
            map,
            classes: geometry.classes,
            ceiling: geometry.choice.ceiling,
            again: geometry.choice.capacity == 0,
            segments: geometry.areas.map(|areas| (areas, geometry.begins())),
            sure: std::array::from_fn(|_| AtomicU64::new(0)),
            low: std::array::from_fn(|_| AtomicU32::new(0)),
            taken: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }

    /// The entry of a chunk, or an error if there is no memory for it.
    #[inline(always)]
    fn entry(&self, kind: usize, index: u64) -> Result<&Entry, Errno> {
        let class = &self.classes[kind];
        assert!(index < class.number);
        if index >= self.sure[kind].load(Relaxed) {
            self.make_sure(kind, index)?;
        }
        let at = (class.entries_at + index * ENTRY) as usize;
        // SAFETY: below the number of its class, whose entries lie within the mapping (`new`); an
        // entry is atomics only, its page is memory, and entries are aligned to their size.
        Ok(unsafe { &*self.map.start().as_ptr().add(at).cast::<Entry>() })
    }

    #[cold]
    fn make_sure(&self, kind: usize, index: u64) -> Result<(), Errno> {
        let known = self.sure[kind].load(Relaxed) * ENTRY / PAGE * PAGE;
        let until = ((index + 1) * ENTRY).next_multiple_of(PAGE);
        let at = self.classes[kind].entries_at + known;
        self.map.reserve(at as usize, (until - known) as usize)?;
        self.sure[kind].fetch_max(until / ENTRY, Relaxed);
        Ok(())
    }

    #[inline(always)]
    pub(super) fn chunk(&self, kind: usize, index: u64) -> Result<Chunk<'_>, Errno> {
        let entry = self.entry(kind, index)?;
        Ok(Chunk { entry, word: Word(entry.word.load(Acquire)), chunks: self, kind, index })
    }

    /// A chunk that another one names, if there can be such a one.
    pub(super) fn old(&self, kind: usize, index: u64) -> Option<Chunk<'_>> {
        (index < self.used(kind)).then(|| self.chunk(kind, index).ok()).flatten()
    }

    /// How many chunks of a class were ever used.
    fn used(&self, kind: usize) -> u64 {
        u64::from(self.header.chunks.used[kind].load(Acquire)).min(self.classes[kind].number)
    }

    /// All chunks for payloads that were ever used.
    pub(crate) fn all(&self) -> impl Iterator<Item = Chunk<'_>> {
        (0..MAX_CLASSES).flat_map(move |kind| self.of_class(kind))
    }

    /// All segments that were ever used.
    pub(super) fn segments(&self) -> impl Iterator<Item = Chunk<'_>> {
        self.of_class(SEGMENTS)
    }

    fn of_class(&self, kind: usize) -> impl Iterator<Item = Chunk<'_>> {
        (0..self.used(kind)).filter_map(move |index| self.chunk(kind, index).ok())
    }

    fn everything(&self) -> impl Iterator<Item = Chunk<'_>> {
        self.all().chain(self.segments())
    }

    /// The segment of this number, 1 or more.
    pub(super) fn segment(&self, number: u64) -> Option<Chunk<'_>> {
        let index = number.checked_sub(1).filter(|index| *index < self.used(SEGMENTS))?;
        self.chunk(SEGMENTS, index).ok()
    }

    /// Takes a segment, backed by memory: `recent` if that is free.
    pub(super) fn take_segment(&self, recent: u64, me: Member) -> Result<Chunk<'_>, NoChunk> {
        let chunk = match self.segment(recent).and_then(|chunk| chunk.try_take(me)) {
            Some(chunk) => chunk,
            None => self.take_any(SEGMENTS, me)?,
        };
        chunk.backed_for(self.classes[SEGMENTS].size)
    }

    /// The chunk that a slot names, if it is one and in that sequence still. An error: it can't be looked at,
    /// for want of memory.
    #[inline(always)]
    pub(crate) fn look_up(&self, ticket: Ticket) -> Result<Option<Chunk<'_>>, Errno> {
        let (kind, index) = ((ticket.which >> 32) as usize, ticket.which & 0xFFFF_FFFF);
        if kind >= MAX_CLASSES || index >= self.classes[kind].number {
            return Ok(None);
        }
        let chunk = self.chunk(kind, index)?;
        Ok((chunk.word.sequence() == ticket.sequence).then_some(chunk))
    }

    /// Asks the processor to fetch, for writing, the chunk that was had last for such a message.
    pub(crate) fn fetch_last(&self, length: u64) {
        let kind = class_of(length);
        let last = u64::from(self.low[kind].load(Relaxed)).wrapping_sub(1);
        // Only what this process made sure of: looking at the rest takes a system call.
        if last < self.sure[kind].load(Relaxed)
            && let Ok(chunk) = self.chunk(kind, last)
        {
            fetch_for_writing(std::ptr::from_ref(chunk.entry).cast_mut().cast());
            fetch_for_writing(chunk.start());
        }
    }

    /// The chunk that a cell names; see `super::handoff`.
    #[inline]
    pub(crate) fn named(&self, which: Which) -> Option<Chunk<'_>> {
        let (kind, index) = ((which >> INDEX_BITS) as usize, u64::from(which & ((1 << INDEX_BITS) - 1)));
        let there = self.classes.get(kind).is_some_and(|class| index < class.number);
        there.then(|| self.chunk(kind, index).ok()).flatten()
    }

    /// Asks the processor to fetch what a receiver will look at next: the entry, which it will write, and the ends of the
    /// payload. All at once, and not one after the other.
    #[inline]
    pub(crate) fn fetch(&self, ticket: Ticket, length: u64) {
        let (kind, index) = ((ticket.which >> 32) as usize, ticket.which & 0xFFFF_FFFF);
        let Some(class) = self.classes.get(kind) else { return };
        let start = self.map.start().as_ptr();
        let chunk =
            start.wrapping_add((class.chunks_at.wrapping_add(index.wrapping_mul(class.size))) as usize);
        fetch_for_writing(start.wrapping_add((class.entries_at.wrapping_add(index * ENTRY)) as usize));
        fetch_for_reading(chunk);
        fetch_for_reading(chunk.wrapping_add(length.saturating_sub(1) as usize));
    }

    /// The same chunk for who had it already: it was looked at before.
    #[inline(always)]
    pub(crate) fn find(&self, ticket: Ticket) -> Option<Chunk<'_>> {
        self.look_up(ticket).ok().flatten()
    }

    /// Puts a chunk that is LINKED in this sequence still to another use.
    pub(crate) fn swap_if(&self, ticket: Ticket, to: impl FnOnce(Word) -> Word) -> Option<Chunk<'_>> {
        let linked = self.find(ticket).filter(|chunk| chunk.word.kind() == Some(Use::Linked))?;
        linked.swap(to(linked.word))
    }

    /// Takes a chunk for `length` bytes, backed by memory.
    pub(crate) fn take(&self, length: u64, me: Member) -> Result<Chunk<'_>, NoChunk> {
        let kind = class_of(length);
        self.take_any(kind, me)?.backed_for(length)
    }

    /// The same for what none but this process is going to look at: the one that was had last, if that is free again,
    /// is in its caches.
    #[inline]
    pub(crate) fn take_again(&self, length: u64, me: Member) -> Result<Chunk<'_>, NoChunk> {
        let kind = class_of(length);
        let last = u64::from(self.low[kind].load(Relaxed)).wrapping_sub(1);
        if last < self.sure[kind].load(Relaxed)
            && let Ok(chunk) = self.chunk(kind, last)
            && chunk.entry.backed.load(Relaxed) >= length
            && chunk.entry.wanted.load(Relaxed) == 0
            && let Some(mine) = chunk.try_take(me)
        {
            return mine.backed_for(length);
        }
        self.take(length, me)
    }

    /// The same for a payload of which the caller will not write every byte: the one that is free for longest, and not what is
    /// in the caches still, since to look for that would take longer. What comes next is fetched meanwhile.
    #[inline]
    pub(crate) fn take_next(&self, length: u64, me: Member) -> Result<Chunk<'_>, NoChunk> {
        let kind = class_of(length);
        let class = self.classes[kind];
        let used = self.used(kind);
        if used < IN_TURN
            && length <= LONGEST_IN_TURN
            && let Some(mine) = self.take_fresh(kind, used, length, me)
        {
            return Ok(mine);
        }
        let from = u64::from(self.low[kind].load(Relaxed));
        let from = if from < used { from } else { 0 };
        for index in (from..used).chain(0..from) {
            let chunk = self.chunk(kind, index).map_err(NoChunk::Os)?;
            if chunk.entry.backed.load(Relaxed) < length {
                continue;
            }
            if let Some(mine) = chunk.try_take(me) {
                mine.forget_copy();
                let next = if index + 1 < used { index + 1 } else { 0 };
                self.low[kind].store(next as u32, Relaxed);
                let start = self.map.start().as_ptr();
                let payload = (class.chunks_at + next * class.size) as usize;
                fetch_for_writing(start.wrapping_add((class.entries_at + next * ENTRY) as usize));
                fetch_for_writing(start.wrapping_add(payload));
                fetch_for_writing(start.wrapping_add(payload + length.saturating_sub(1) as usize));
                return mine.backed_for(length);
            }
        }
        self.low[kind].store(used as u32, Relaxed);
        self.take(length, me)
    }

    /// Takes the first one that was never used, if there is memory for it.
    #[cold]
    fn take_fresh(&self, kind: usize, used: u64, length: u64, me: Member) -> Option<Chunk<'_>> {
        let chunk = (used < self.classes[kind].number).then(|| self.chunk(kind, used).ok()).flatten()?;
        self.header.chunks.used[kind].fetch_max(used as u32 + 1, AcqRel);
        let mine = chunk.try_take(me)?;
        mine.forget_copy();
        mine.backed_for(length).ok()
    }

    fn take_any(&self, kind: usize, me: Member) -> Result<Chunk<'_>, NoChunk> {
        let (used, number) = (self.used(kind), self.classes[kind].number);
        let low = u64::from(self.low[kind].load(Relaxed)).min(used);
        // Not so often that looking through what is in use costs much.
        let often = self.classes[kind].size >= LONG && low < LONG_LOOK;
        // (Not by a locked instruction: if a thread's is lost that does no harm.)
        let since = self.taken[kind].load(Relaxed);
        self.taken[kind].store(since.wrapping_add(1), Relaxed);
        let rewind = often || u64::from(since) >= u64::from(REWIND).max(low / 8);
        if rewind {
            self.taken[kind].store(0, Relaxed);
        }
        // A fresh one, if none is free further on; what is free before comes with the next rewind.
        let (from, then, last) = match (self.again, if rewind { 0 } else { low }) {
            (true, _) => (low.saturating_sub(1), 0..low.saturating_sub(1), used..number),
            (false, from) => (from, used..number, 0..from),
        };
        for index in (from..used).chain(then).chain(last) {
            let chunk = self.chunk(kind, index).map_err(NoChunk::Os)?;
            if index >= used {
                self.header.chunks.used[kind].fetch_max(index as u32 + 1, AcqRel);
            }
            if let Some(mine) = chunk.try_take(me) {
                self.low[kind].store(index as u32 + 1, Relaxed);
                mine.forget_copy();
                return Ok(mine);
            }
        }
        match kind {
            SEGMENTS => Err(NoChunk::AtCeiling), // their number is what the ceiling allows
            _ => Err(NoChunk::AllInUse { number, size: self.classes[kind].size }),
        }
    }
}

impl<'a> Chunk<'a> {
    pub(crate) fn size(&self) -> u64 {
        self.chunks.classes[self.kind].size
    }

    /// Capacity zero: whether a sender that waits offers it.
    pub(crate) fn is_offered(&self) -> bool {
        self.word.kind() == Some(Use::Linked)
    }

    /// How long its message is.
    pub(crate) fn length(&self) -> u64 {
        self.entry.length.load(Relaxed).into()
    }

    pub(crate) fn ticket(&self) -> Ticket {
        Ticket { which: (self.kind as u64) << 32 | self.index, sequence: self.word.sequence() }
    }

    /// How a cell names it; see `super::handoff`.
    #[inline]
    pub(crate) fn which(&self) -> Which {
        (self.kind as Which) << INDEX_BITS | self.index as Which
    }

    /// Takes on what a cell gave this member, if its giver has not made it his. Nothing: it is another's.
    pub(crate) fn bind(self, me: Member) -> Option<Chunk<'a>> {
        let taken_on = match self.word.kind()? {
            Use::Own => self.swap(self.word.to(Use::Held, me)).unwrap_or_else(|| self.now()),
            _ => self,
        };
        let mine = taken_on.word.kind() == Some(Use::Held) && taken_on.word.member() == me;
        mine.then_some(taken_on)
    }

    /// Whether its word is still the one that was read.
    #[inline]
    pub(crate) fn is_as_it_was(&self) -> bool {
        self.entry.word.load(Acquire) == self.word.0
    }

    /// The same chunk, as it is now.
    pub(crate) fn now(self) -> Chunk<'a> {
        Chunk { word: Word(self.entry.word.load(Acquire)), ..self }
    }

    /// Puts the chunk to another use, if its word is still the one that was read.
    #[inline]
    pub(crate) fn swap(self, to: Word) -> Option<Chunk<'a>> {
        let done = self.entry.word.compare_exchange(self.word.0, to.0, AcqRel, Relaxed);
        done.is_ok().then_some(Chunk { word: to, ..self })
    }

    #[inline]
    pub(super) fn try_take(self, me: Member) -> Option<Chunk<'a>> {
        (self.word.kind() == Some(Use::Free)).then(|| self.swap(self.word.taken(me))).flatten()
    }

    /// It was taken; it may have been a copy that came to nothing.
    #[inline]
    fn forget_copy(&self) {
        if self.entry.wanted.load(Relaxed) != 0 {
            self.entry.wanted.store(0, Relaxed);
        }
    }

    /// Puts a chunk that is this member's OWN to another use.
    #[inline]
    pub(crate) fn becomes(self, word: Word) -> Chunk<'a> {
        debug_assert!(self.word.kind() == Some(Use::Own));
        self.entry.word.store(word.0, Release);
        Chunk { word, ..self }
    }

    /// Frees a chunk that is this member's OWN; or was: one who left is taken for dead in the end, whatever its threads still do.
    pub(crate) fn release(self) {
        self.swap(self.word.freed());
    }

    /// The number of a segment.
    pub(super) fn number(&self) -> u64 {
        self.index + 1
    }

    fn at(&self) -> u64 {
        let class = &self.chunks.classes[self.kind];
        class.chunks_at + self.index * class.size
    }

    pub(super) fn start(&self) -> *mut u8 {
        // SAFETY: the chunk lies within the mapping (`Chunks::new`, and `index` below the number).
        unsafe { self.chunks.map.start().as_ptr().add(self.at() as usize) }
    }

    /// Writes the payload. The chunk is this member's OWN and was taken for that length.
    #[inline]
    pub(crate) fn write(&self, bytes: &[u8]) {
        assert!(bytes.len() as u64 <= self.size());
        self.entry.length.store(bytes.len() as u32, Relaxed);
        // SAFETY: within the chunk, which lies within the mapping.
        unsafe { copy::write(self.start(), bytes) }
    }

    /// Its first `length` bytes. `None`: it is shorter, or they are not all memory.
    #[inline]
    pub(crate) fn payload(&self, length: u64) -> Option<Lent<'a>> {
        let there = length <= self.size() && length <= self.entry.backed.load(Relaxed);
        // SAFETY: within the chunk, which lies within the mapping, and that lives as long as `Chunks`.
        there.then(|| unsafe { Lent::new(self.start(), length as usize) })
    }
}
