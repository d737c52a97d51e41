//! Capacity zero: a message goes from a sender that waits to a receiver that waits, and lies nowhere in between.
//!
//! The message is in a chunk, as one that fits no slot. Each receiver that waits has a *cell*, and its
//! word decides:
//!
//! ```text
//! chunk   OWN(sender) ──> LINKED(sender) ──> HELD(receiver)            as in `chunks`; LINKED: offered
//! cell    (generation, chunk, FREE | OWN | WAITING | GIVEN, member)
//!
//! send     sees a cell WAITING: CAS to GIVEN(chunk)       sent; then CAS the chunk OWN -> HELD(receiver)
//!          none: a try says so; else LINKED, count the offer; wakes who is WAITING by now; waits until the chunk
//!          is LINKED no more: sent          at a deadline CAS LINKED -> OWN: withdrawn; lost: sent
//! receive  takes what was given back, else the oldest offer of somebody alive: CAS LINKED -> HELD(me)
//!          none: cell FREE -> OWN -> WAITING; looks at the count of offers again
//!          GIVEN(chunk): the chunk OWN -> HELD(me), unless the sender did; frees the cell; reads
//!          an offer, a deadline: CAS WAITING -> OWN, frees the cell; lost: it was given something
//! ```
//!
//! Where both have posted only the receiver matches. One of them sees the other, for each posts, fences, and looks
//! again: who counts an offer after a receiver has looked at the count sees that one's cell.
//!
//! The longest waiting receiver is served first (`arrival`), and the oldest offer (its number is in its chunk), so none
//! starves. Numbers are of one count. A message has one that was taken after both had come and before either goes: they rise for
//! each sender and for each receiver. A sender that polls has offered nothing yet: it asks for cells only, and what receivers have read stays in
//! their caches.
//!
//! Invariants:
//! 1. A chunk that a cell names is OWN by its giver or HELD by the cell's member, so nobody else uses it.
//! 2. A send is done when, and only when, a receiver is bound to take the message, or has it.
//! 3. The generation grows with each FREE -> OWN: whoever finds the word of a cell again as it was has not missed anything.
//!
//! **What if it dies here?** In this order, each a CAS from the word that was read, by any number of processes at once
//! ([`Handoff::clear`], then `cells::put_in_order`): a cell OWN or WAITING of a dead one is freed. GIVEN: its chunk, if OWN, becomes
//! HELD(the dead one), *then* the cell is freed, *then* HELD of a dead one, named by no cell, becomes RETURNED.
//! OWN of a dead one that no cell names, and LINKED of a dead one, is freed: who dies offering has sent nothing. That is why a
//! receiver asks whether an offerer lives before it takes the offer; and why senders poll before they offer, not after: asking costs
//! more than a message.
//!
//! **Closing** says so first, then takes all cells that are WAITING away (WAITING -> OWN; the receiver frees them), then
//! counts. Who posts later sees that it is closed. Offers are not counted: their senders are told.
//!
//! The model is in `tests/models/handoff.rs`.

use super::slots::Member;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Receivers that can wait at one time.
pub(crate) const CELLS: u32 = 1 << 16;

/// Which chunk: class and index.
pub(crate) type Which = u32;

const PHASE_SHIFT: u32 = 16;
const WHICH_SHIFT: u32 = 18;
/// Bits for a chunk.
pub(crate) const WHICH_BITS: u32 = 17;
const GENERATION_SHIFT: u32 = WHICH_SHIFT + WHICH_BITS;
const MEMBER: u64 = 0xFFFF;

/// How often a step is tried again that others were faster in: more often than they can be, unless somebody writes rubbish.
const TRIES: u32 = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Free,
    Own,
    Waiting,
    Given,
}

/// A cell's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    fn phase(self) -> Phase {
        [Phase::Free, Phase::Own, Phase::Waiting, Phase::Given][(self.0 >> PHASE_SHIFT & 3) as usize]
    }

    pub(crate) fn member(self) -> Member {
        (self.0 & MEMBER) as Member
    }

    fn which(self) -> Which {
        (self.0 >> WHICH_SHIFT) as Which & ((1 << WHICH_BITS) - 1)
    }

    fn to(self, phase: Phase, which: Which, member: Member) -> Word {
        let generation = self.0 >> GENERATION_SHIFT << GENERATION_SHIFT;
        Word(generation | u64::from(which) << WHICH_SHIFT | (phase as u64) << PHASE_SHIFT | u64::from(member))
    }

    fn taken(self, me: Member) -> Word {
        Word(self.0.wrapping_add(1 << GENERATION_SHIFT)).to(Phase::Own, 0, me)
    }

    fn freed(self) -> Word {
        self.to(Phase::Free, 0, 0)
    }

    fn own(self) -> Word {
        self.to(Phase::Own, 0, self.member())
    }
}

/// The words of the cells, wherever they are. An index is below [`CELLS`] and was made [`sure`](Cells::sure) of.
pub(crate) trait Cells {
    /// Cells from this one on were never used. Only grows.
    fn used(&self) -> &AtomicU32;
    /// How many offers were made so far.
    fn offers(&self) -> &AtomicU64;
    /// 1: closed.
    fn closed(&self) -> &AtomicU32;
    /// Whether this one is memory.
    fn sure(&self, index: u32) -> bool;
    fn word(&self, index: u32) -> &AtomicU64;
    /// The number of the receiver that waits there.
    fn arrival(&self, index: u32) -> &AtomicU64;
}

/// What chunks say of a message that a cell names, wherever they are.
pub(crate) trait Given {
    /// If the chunk is OWN it becomes this member's, HELD, provided that `still` holds after it was read.
    /// `false`: another was faster, look again.
    fn bind(&self, which: Which, to: Member, still: impl Fn() -> bool) -> bool;
}

/// A cell, as it was when its word was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    pub(crate) index: u32,
    word: Word,
}

impl Seat {
    /// Whose it is.
    pub(crate) fn member(&self) -> Member {
        self.word.member()
    }
}

/// What became of a receiver's cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// It is the receiver's to free.
    Mine,
    /// It was given this.
    Given(Which),
}

/// The algorithm, over borrowed words.
#[derive(Debug)]
pub(crate) struct Handoff<C> {
    pub(crate) cells: C,
}

impl<C: Cells> Handoff<C> {
    pub(crate) fn new(cells: C) -> Handoff<C> {
        Handoff { cells }
    }

    fn used(&self) -> u32 {
        self.cells.used().load(Ordering::Acquire).min(CELLS)
    }

    fn read(&self, index: u32) -> Seat {
        Seat { index, word: Word(self.cells.word(index).load(Ordering::Acquire)) }
    }

    fn swap(&self, seat: Seat, to: Word) -> Result<Seat, Seat> {
        let word = self.cells.word(seat.index);
        match word.compare_exchange(seat.word.0, to.0, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(Seat { word: to, ..seat }),
            Err(now) => Err(Seat { word: Word(now), ..seat }),
        }
    }

    /// All that were ever used, as far as they can be looked at.
    fn all(&self) -> impl Iterator<Item = Seat> {
        (0..self.used()).filter(|index| self.cells.sure(*index)).map(|index| self.read(index))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.cells.closed().load(Ordering::Acquire) != 0
    }

    /// Takes a free cell, this one if possible. Nothing: all are taken, or there is no memory.
    pub(crate) fn sit(&self, near: u32, me: Member) -> Option<Seat> {
        let used = self.used();
        for index in std::iter::once(near.min(used)).chain(0..used).chain(used..CELLS) {
            if index == CELLS || !self.cells.sure(index) {
                return None;
            }
            let seat = self.read(index);
            if seat.word.phase() != Phase::Free {
                continue;
            }
            if index >= used {
                self.cells.used().fetch_max(index + 1, Ordering::AcqRel);
            }
            if let Ok(mine) = self.swap(seat, seat.word.taken(me)) {
                return Some(mine);
            }
        }
        None
    }

    /// From now on it waits there. The caller looks at everything again, after this.
    pub(crate) fn post(&self, seat: Seat, arrival: u64) -> Seat {
        self.cells.arrival(seat.index).store(arrival, Ordering::Relaxed);
        let word = seat.word.to(Phase::Waiting, 0, seat.member());
        self.cells.word(seat.index).store(word.0, Ordering::Release);
        fence(Ordering::SeqCst);
        Seat { word, ..seat }
    }

    /// Whether it waits there still.
    #[inline]
    pub(crate) fn waits(&self, seat: &Seat) -> bool {
        self.cells.word(seat.index).load(Ordering::Acquire) == seat.word.0
    }

    /// It waits no longer.
    pub(crate) fn stand_up(&self, seat: Seat) -> Left {
        let now =
            if self.waits(&seat) { self.swap(seat, seat.word.own()) } else { Err(self.read(seat.index)) };
        match now {
            Err(now) if now.word.phase() == Phase::Given => Left::Given(now.word.which()),
            _ => Left::Mine, // by this, or by who closed
        }
    }

    /// Frees a cell of the caller, who has bound what it was given there.
    pub(crate) fn free(&self, seat: Seat) {
        self.cells.word(seat.index).store(seat.word.freed().0, Ordering::Release);
    }

    /// Who has waited longest.
    #[inline]
    pub(crate) fn longest_waiting(&self) -> Option<Seat> {
        let waiting = self.waiting();
        waiting.min_by_key(|seat| self.cells.arrival(seat.index).load(Ordering::Relaxed))
    }

    /// All who wait.
    #[inline]
    pub(crate) fn waiting(&self) -> impl Iterator<Item = Seat> {
        self.all().filter(|seat| seat.word.phase() == Phase::Waiting)
    }

    /// All that are somebody's.
    pub(crate) fn taken(&self) -> impl Iterator<Item = Seat> {
        self.all().filter(|seat| seat.word.phase() != Phase::Free)
    }

    /// Gives who waits there a chunk of the caller's. `false`: it does not any more.
    #[inline]
    pub(crate) fn give(&self, seat: Seat, which: Which) -> bool {
        self.swap(seat, seat.word.to(Phase::Given, which, seat.member())).is_ok()
    }

    /// An offer was made: LINKED. The caller wakes all who are waiting, after this.
    pub(crate) fn offered(&self) {
        self.cells.offers().fetch_add(1, Ordering::AcqRel);
        fence(Ordering::SeqCst);
    }

    /// How many offers were made so far: without a new one there is nothing to look for.
    #[inline]
    pub(crate) fn offers(&self) -> u64 {
        self.cells.offers().load(Ordering::Acquire)
    }

    /// Whether a cell names this chunk.
    pub(crate) fn names(&self, which: Which) -> bool {
        // What can't be looked at might.
        (0..self.used()).any(|index| {
            let seat = self.cells.sure(index).then(|| self.read(index));
            seat.is_none_or(|seat| seat.word.phase() == Phase::Given && seat.word.which() == which)
        })
    }

    /// Nobody is given anything from now on, but who posts in this very moment, and lives.
    pub(crate) fn close(&self) {
        self.cells.closed().store(1, Ordering::Release);
        fence(Ordering::SeqCst);
        for seat in self.waiting() {
            let _ = self.swap(seat, seat.word.own()); // else it left, or was given something
        }
    }

    /// Frees the cells of the dead: what they were given is theirs before.
    pub(crate) fn clear(&self, given: &impl Given, dead: impl Fn(Member) -> bool) {
        for mut seat in self.all() {
            for _ in 0..TRIES {
                let phase = seat.word.phase();
                if phase == Phase::Free || !dead(seat.member()) {
                    break;
                }
                let still = || self.waits(&seat);
                let bound = phase != Phase::Given || given.bind(seat.word.which(), seat.member(), still);
                match bound.then(|| self.swap(seat, seat.word.freed())) {
                    Some(Ok(_)) => break,
                    Some(Err(now)) => seat = now,
                    None => seat = self.read(seat.index),
                }
            }
        }
    }
}

#[cfg(all(test, loom))]
mod loom_models;
