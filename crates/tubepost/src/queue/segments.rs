//! Segments of an unbounded queue: how they come, how they go, and whose they are meanwhile.
//!
//! A segment has m places, and is a chunk of a class of its own: its word says what it is used for, its entry for which
//! epoch, and the directory has it while that epoch lasts.
//!
//! ```text
//! append   whoever needs the epoch, or will soon, and reads in the directory that (older, 0) is still there:
//!          FREE -> OWN(me), with memory: there or from the system, or an error and nothing happened
//!          state = FREE(epoch) in all places        claims and takes are of earlier epochs already
//!          CAS the directory: (older, 0) -> (epoch, segment)        lost: OWN -> FREE
//!          OWN(me) -> LINKED
//! retire   all places of the epoch are free again, and receivers have walked over them:
//!          CAS the directory: (epoch, segment) -> (epoch, 0)
//!          LINKED -> FREE
//! trim     FREE -> OWN(me); nobody looks (`domain::visits`) -> its memory is the system's; OWN(me) -> FREE
//! ```
//!
//! Invariants, beside those of `slots`, `takes` and `chunks`:
//! 1. An epoch is in the directory with one segment, once, and then never again: the word only grows. So one reading of it
//!    says both that the epoch is to come and what the CAS starts from.
//! 2. A segment that is FREE is in no word of the directory.
//! 3. What is in the directory has memory: it came before, and goes only from a segment that is OWN, and was FREE.
//! 4. No word of a segment is ever what it was, but by trimming, which makes them zero. Whoever found a segment in the
//!    directory may look at it, and try to CAS, as late as he likes, unless it was trimmed: only trimming waits for those who look.
//!
//! Several may append one epoch at a time: one wins. A claimed place, a message that waits or is in hand in its place
//! keeps its epoch, and that keeps its segment: who has a place needs no other protection.
//!
//! **What if it dies here?** OWN(dead): the directory says whether it had been appended: then the segment becomes LINKED,
//! else FREE. LINKED, but not in the directory: it was retired; it becomes FREE. Both by CAS from the exact word, by
//! whoever looks after the dead; any number may. One that died in trimming had taken the memory from `backed` first, so
//! that it is asked for again. *Stopped* in appending it holds back nobody: others append another segment.
//!
//! **In order.** Usually the oldest epochs go first, before a sender takes a segment for a new one: so it gets back the
//! one that was read last, which is in caches still. One receiver that stands still with a message in its place keeps
//! one segment; those after it go when memory is wanted, or nothing comes.
//!
//! **Skipped positions** are counted by who walks over them, so an epoch stays until all takes are beyond it.

use super::chunks::{Chunk, Chunks, NoChunk, Use};
use super::directory::Directory;
use super::mapped::Mapped;
use super::slots::{Member, Slots, State, Words};
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The segments of a mapped mailbox.
pub(crate) struct Segments<'a> {
    slots: &'a Slots<Mapped>,
    chunks: &'a Chunks,
    directory: &'a Directory,
    shift: u32,
}

impl<'a> Segments<'a> {
    /// Nothing: the queue is bounded.
    pub(crate) fn of(slots: &'a Slots<Mapped>, chunks: &'a Chunks) -> Option<Segments<'a>> {
        let (directory, shift) = (slots.words.directory()?, slots.segments()?);
        Some(Segments { slots, chunks, directory, shift })
    }

    pub(crate) fn epoch(&self, position: u64) -> u64 {
        position >> self.shift
    }

    /// Whether the segment of a position is still to be appended.
    pub(crate) fn is_missing(&self, position: u64) -> bool {
        self.slots.is_not_yet(self.slots.place(position))
    }

    /// Appends the segment of this position, unless somebody did. The epoch before it is there, or was.
    #[cold]
    pub(crate) fn append(&self, position: u64, me: Member) -> Result<(), NoChunk> {
        let epoch = self.epoch(position);
        let before = self.directory.before(epoch).map_err(NoChunk::Os)?;
        if before.is_of(epoch) || before.is_closed() {
            return Ok(()); // somebody appended it, and it may be over already; or it never will be
        }
        if !before.may_go() {
            return Err(NoChunk::AtCeiling); // an epoch as far back as the directory reaches is in use still
        }
        // Closing at the next one is to need no memory.
        self.directory.before(epoch.wrapping_add(1)).map_err(NoChunk::Os)?;
        let chunk = self.chunks.take_segment(self.directory.recent().load(Relaxed), me)?;
        let number = chunk.number();
        chunk.entry.position.store(epoch, Relaxed);
        let first = (number << self.directory.areas.spacing) as usize;
        for index in first..first + self.directory.areas.places() as usize {
            self.slots.words.state(index).store(State::free(epoch).bits(), Relaxed);
        }
        let again = planted!(EpochAppendedAgain).then(|| self.directory.before(epoch).ok()).flatten();
        let before = again.filter(|now| now.may_go()).unwrap_or(before);
        if self.directory.append(epoch, before, number) {
            let linked = chunk.becomes(chunk.word.to(Use::Linked, 0));
            if self.directory.segment(epoch) != Some(number) {
                self.free(linked); // retired already, by somebody who found it OWN
            }
        } else {
            self.directory.recent().store(number, Relaxed);
            chunk.release();
        }
        Ok(())
    }

    /// Retires the epochs whose places before this position were all freed, and walked over.
    pub(crate) fn retire_before(&self, position: u64) {
        // No more than there can be, however rubbish the two are.
        let first = self.directory.first();
        for epoch in (first..self.epoch(position)).take(self.directory.areas.epochs as usize) {
            self.retire(epoch);
            self.directory.note_first(epoch + 1);
        }
    }

    fn retire(&self, epoch: u64) {
        let Some(number) = self.directory.segment(epoch) else { return };
        if self.directory.retire(epoch, number)
            && let Some(chunk) = self.chunks.segment(number)
            && chunk.word.kind() == Some(Use::Linked)
            && chunk.entry.position.load(Acquire) == epoch
        {
            self.free(chunk);
        }
    }

    /// A segment that is LINKED, and in the directory no more.
    fn free(&self, chunk: Chunk<'_>) {
        let number = chunk.number();
        if chunk.swap(chunk.word.freed()).is_some() {
            self.directory.recent().store(number, Release);
        }
    }

    /// Retires all epochs before `walked`, a position that all takes are beyond, of which every place was freed,
    /// whatever became of those before.
    pub(crate) fn retire_all(&self, walked: u64) {
        for chunk in self.chunks.segments() {
            let epoch = chunk.entry.position.load(Acquire);
            let mine = self.directory.segment(epoch) == Some(chunk.number());
            if mine && epoch < self.epoch(walked) && self.is_over(epoch) {
                self.retire(epoch);
            }
        }
    }

    fn is_over(&self, epoch: u64) -> bool {
        let first = epoch << self.shift;
        (first..first + self.directory.areas.places()).all(|at| self.slots.is_over(self.slots.place(at)))
    }

    /// Puts segments in order that the dead were about to append, to retire or to trim.
    pub(crate) fn reclaim(&self, dead: impl Fn(Member) -> bool) {
        for chunk in self.chunks.segments() {
            let word = chunk.word;
            let there = || self.directory.segment(chunk.entry.position.load(Acquire)) == Some(chunk.number());
            match word.kind() {
                Some(Use::Own) if dead(word.member()) => {
                    let to = if there() { word.to(Use::Linked, 0) } else { word.freed() };
                    chunk.swap(to);
                }
                Some(Use::Linked) if !there() && !planted!(RetiredKept) => self.free(chunk),
                _ => {}
            }
        }
    }

    /// Gives the memory of free segments back to the system; says how much that was. `unseen` says that nobody looks
    /// into what was free when it was asked. Thorough: also what is not known to be memory.
    pub(crate) fn trim(&self, me: Member, thorough: bool, unseen: impl FnOnce() -> bool) -> u64 {
        let worth = |chunk: &Chunk<'_>| thorough || chunk.entry.backed.load(Acquire) > 0;
        let mine: Vec<_> =
            self.chunks.segments().filter(worth).filter_map(|chunk| chunk.try_take(me)).collect();
        let trims = !mine.is_empty() && unseen();
        let given = mine.iter().map(|chunk| if trims { self.chunks.trim_segment(chunk) } else { 0 }).sum();
        mine.into_iter().for_each(Chunk::release);
        given
    }
}
