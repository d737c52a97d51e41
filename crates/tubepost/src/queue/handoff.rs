//! Capacity zero: a message goes from a sender that waits to a receiver that waits, and lies nowhere in between.
//!
//! Each receiver that waits has a *cell*, and its word decides. A short message is written to the cell itself, so that
//! one cache line goes to and fro; another is in a chunk, as one that fits no slot.
//!
//! ```text
//! chunk   OWN(sender) ──> LINKED(sender) ──> HELD(receiver)            as in `chunks`; LINKED: offered
//! cell    (generation, phase, receiver, chunk or giver or count)
//!         FREE | OWN | WAITING | GIVEN(chunk) | GIVING(giver) | HERE(count) | BACK(count) | BURIED
//!
//! send     sees a cell WAITING, short: CAS to GIVING(me); writes; CAS to HERE          sent
//!              lost: the receiver has left, the cell is OWN(me): frees it, looks for another one
//!          longer: CAS to GIVEN(chunk)                    sent; then CAS the chunk OWN -> HELD(receiver)
//!          none: a try says so; else LINKED, count the offer; wakes who is WAITING by now; waits until the chunk
//!          is LINKED no more: sent          at a deadline CAS LINKED -> OWN: withdrawn; lost: sent
//! receive  takes what was given back, else the oldest offer of somebody alive: CAS LINKED -> HELD(me)
//!          none: cell FREE -> OWN -> WAITING; looks at the count of offers again
//!          HERE: reads; OWN: consumed; counts it; frees the cell
//!          GIVEN(chunk): the chunk OWN -> HELD(me), unless the sender did; frees the cell; reads
//!          an offer, a deadline: CAS WAITING -> OWN, frees the cell; or CAS GIVING(giver) -> OWN(giver), who may still
//!          write there and frees it when he is done; lost: it was given something
//! ```
//!
//! What is HERE and not just consumed moves to a chunk of the receiver's: OWN(me), a copy; the cell GIVEN(chunk); the
//! chunk HELD(me); the cell is free. So does what is BACK, which any receiver takes on by a CAS to HERE(me); then the
//! chunk is RETURNED.
//!
//! Where both have posted only the receiver matches. One of them sees the other, for each posts, fences, and looks
//! again: who counts an offer after a receiver has looked at the count sees that one's cell.
//!
//! The longest waiting receiver is served first (`arrival`), and the oldest offer (its number is in its chunk), so none
//! starves. Numbers are of one count, and never repeat. There is no word that counts them: the next one is greater than
//! all there are, in the cells and in a word for those of no cell, and says in which cell it was given; there only one
//! at a time gives numbers. A message has one that was taken after both had come and before either goes: they rise for
//! each sender and for each receiver. A sender that polls has offered nothing yet: it asks for cells only, and what
//! receivers have read stays in their caches.
//!
//! Invariants:
//! 1. A chunk that a cell names is OWN by its giver or HELD by the cell's member, so nobody else uses it.
//! 2. A send is done when, and only when, a receiver is bound to take the message, or has it.
//! 3. The generation grows with each FREE -> OWN -> WAITING: whoever finds the word of a cell again as it was has not
//!    missed anything.
//! 4. Who writes to a cell's payload is named by its word as GIVING, or as OWN if its receiver left: so nobody else has
//!    the cell meanwhile.
//!
//! **What if it dies here?** In this order, each a CAS from the word that was read, by any number of processes at once
//! ([`Handoff::clear`], then `cells::put_in_order`): a cell OWN or WAITING of a dead one is freed. GIVING(dead):
//! nothing was sent, the cell is WAITING as it was; freed, if its receiver is dead too. GIVING to a dead one:
//! OWN(giver), who finds that he was not fast enough. HERE for a dead one: BACK, nobody's, delivered once more than
//! before, until a receiver takes it in; putting in order needs no memory for that, and taking in may wait until there
//! is some. GIVEN: its chunk, if OWN, becomes HELD(the dead one), *then* the cell is freed, *then* HELD of a dead one,
//! named by no cell, becomes RETURNED. OWN of a dead one that no cell names, and LINKED of a dead one, is freed: who
//! dies offering has sent nothing. That is why a receiver asks whether an offerer lives before it takes the offer; and
//! why senders poll before they offer, not after: asking costs more than a message.
//!
//! **Who leaves a link** and lives is not dead here, as long as it offers anything. Its threads give and offer under a
//! lock of their process's, and none does so once it has left. Who leaves has that lock, takes back all that is offered,
//! CAS LINKED -> OWN; lost: sent; and notes what it took back, for its threads and tasks. Were an offer freed for them
//! they could not tell that from its being received. So a receiver may take it although its sender left, until that one
//! took it back.
//!
//! **Closing** says so first, then takes all cells that are WAITING away (WAITING -> OWN; the receiver frees them),
//! then counts, and what is BACK becomes BURIED. Who posts later sees that it is closed. Offers are not counted: their
//! senders are told.
//!
//! The models are in `tests/models/handoff.rs` and `tests/models/given_here.rs`.

use super::slots::Member;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Cells.
pub(crate) const CELLS: u32 = 1 << 16;
/// Receivers that can wait at one time.
pub(crate) const SEATS: u32 = CELLS - 1;

/// In a number these bits say which cell it is of; that of no receiver stands for none.
const OF_CELL: u32 = 16;
const OF_NONE: u32 = SEATS;

/// Which chunk: class and index.
pub(crate) type Which = u32;

const PHASE_SHIFT: u32 = 16;
const PHASES: u64 = 7;
const WHICH_SHIFT: u32 = 19;
/// Bits for a chunk.
pub(crate) const WHICH_BITS: u32 = 17;
const GENERATION_SHIFT: u32 = WHICH_SHIFT + WHICH_BITS;
const MEMBER: u64 = 0xFFFF;

/// How often a step is tried again that others were faster in: more often than they can be, unless somebody writes
/// rubbish.
const TRIES: u32 = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Free,
    Own,
    Waiting,
    Given,
    Giving,
    Here,
    Back,
    Buried,
}

/// As they stand in a word.
const PHASE: [Phase; 8] = [
    Phase::Free,
    Phase::Own,
    Phase::Waiting,
    Phase::Given,
    Phase::Giving,
    Phase::Here,
    Phase::Back,
    Phase::Buried,
];

/// A cell's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    #[inline]
    fn phase(self) -> Phase {
        PHASE[(self.0 >> PHASE_SHIFT & PHASES) as usize]
    }

    pub(crate) fn member(self) -> Member {
        (self.0 & MEMBER) as Member
    }

    fn which(self) -> Which {
        (self.0 >> WHICH_SHIFT) as Which & ((1 << WHICH_BITS) - 1)
    }

    /// Who is giving something here.
    fn giver(self) -> Member {
        self.which() as Member
    }

    /// How often what is here was delivered before.
    fn before(self) -> u8 {
        self.which() as u8
    }

    /// Whether `now` is the same cell while somebody is giving something there.
    #[inline]
    fn is_being_given(self, now: Word) -> bool {
        now.phase() == Phase::Giving && now.to(Phase::Waiting, 0, now.member()) == self
    }

    #[inline]
    fn to(self, phase: Phase, which: Which, member: Member) -> Word {
        let generation = self.0 >> GENERATION_SHIFT << GENERATION_SHIFT;
        Word(generation | u64::from(which) << WHICH_SHIFT | (phase as u64) << PHASE_SHIFT | u64::from(member))
    }

    /// The next generation.
    #[inline]
    fn next(self) -> Word {
        Word(self.0.wrapping_add(1 << GENERATION_SHIFT))
    }

    fn taken(self, me: Member) -> Word {
        self.next().to(Phase::Own, 0, me)
    }

    fn freed(self) -> Word {
        self.to(Phase::Free, 0, 0)
    }

    fn own(self) -> Word {
        self.to(Phase::Own, 0, self.member())
    }

    /// What is here goes back: delivered once more than before.
    fn given_back(self) -> Word {
        self.to(Phase::Back, self.before().saturating_add(1).into(), 0)
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
    /// The number of the receiver that waits there, then of the message that it was given there.
    fn number(&self, index: u32) -> &AtomicU64;
    /// The last number that is of no cell.
    fn last(&self) -> &AtomicU64;
}

/// What chunks say of a message that a cell names, wherever they are.
pub(crate) trait Given {
    /// If the chunk is OWN it becomes this member's, HELD, provided that `still` holds after it was read.
    /// `false`: another was faster, look again.
    fn bind(&self, which: Which, to: Member, still: impl Fn() -> bool) -> bool;
}

/// A cell, as it was when its word was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) index: u32,
    word: Word,
}

impl Seat {
    /// Whose it is.
    pub(crate) fn member(&self) -> Member {
        self.word.member()
    }

    /// Who is giving something there, if somebody is.
    pub(crate) fn giver(&self) -> Option<Member> {
        (self.word.phase() == Phase::Giving).then(|| self.word.giver())
    }

    /// One that its receiver had before, with the word that it left there.
    #[inline]
    pub(crate) fn kept(index: u32, word: u64) -> Seat {
        Seat { index, word: Word(word) }
    }

    /// Its word.
    #[inline]
    pub(crate) fn bits(&self) -> u64 {
        self.word.0
    }

    /// How often what is there was delivered before.
    pub(crate) fn before(&self) -> u8 {
        self.word.before()
    }
}

/// What became of a receiver's cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// It is the receiver's to free.
    Mine,
    /// It was given this.
    Given(Which),
    /// What it was given is there.
    Here(Seat),
    /// It is its giver's to free, who is not done.
    Lost,
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
            if index >= SEATS || !self.cells.sure(index) {
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

    /// The last number of all.
    #[inline]
    fn latest(&self) -> u64 {
        let cells = (0..self.used()).filter(|index| self.cells.sure(*index));
        let numbers = cells.map(|index| self.cells.number(index).load(Ordering::Relaxed));
        numbers.fold(self.cells.last().load(Ordering::Acquire), u64::max)
    }

    /// A number after all that there are, for the only one who gives such numbers in this cell.
    #[inline]
    pub(crate) fn number_in(&self, index: u32) -> u64 {
        (self.latest() >> OF_CELL).wrapping_add(1) << OF_CELL | u64::from(index)
    }

    /// One that is of no cell.
    pub(crate) fn draw(&self) -> u64 {
        let last = self.cells.last();
        let mut number = 0;
        for _ in 0..TRIES {
            let seen = last.load(Ordering::Acquire);
            number = self.number_in(OF_NONE);
            if last.compare_exchange(seen, number, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                break;
            }
        }
        number
    }

    /// The number of the message that is there, or of its receiver.
    pub(crate) fn number(&self, seat: &Seat) -> u64 {
        self.cells.number(seat.index).load(Ordering::Relaxed)
    }

    /// From now on it waits there. The caller looks at everything again, after this.
    #[inline(always)]
    pub(crate) fn post(&self, seat: Seat, arrival: u64) -> Seat {
        let number = self.cells.number(seat.index);
        let before = number.load(Ordering::Relaxed);
        if arrival < before {
            self.cells.last().fetch_max(before, Ordering::AcqRel); // so that nobody has it again
        }
        number.store(arrival, Ordering::Relaxed);
        let word = seat.word.next().to(Phase::Waiting, 0, seat.member());
        self.cells.word(seat.index).store(word.0, Ordering::Release);
        fence(Ordering::SeqCst);
        Seat { word, ..seat }
    }

    /// Whether it waits there still.
    #[inline]
    pub(crate) fn waits(&self, seat: &Seat) -> bool {
        let now = Word(self.cells.word(seat.index).load(Ordering::Acquire));
        now == seat.word || seat.word.is_being_given(now)
    }

    /// Whether what it was given is there.
    #[inline]
    pub(crate) fn here(&self, seat: &Seat) -> Option<Seat> {
        let here = Seat { word: seat.word.to(Phase::Here, 0, seat.member()), ..*seat };
        (self.read(seat.index) == here).then_some(here)
    }

    /// It waits no longer.
    pub(crate) fn stand_up(&self, seat: Seat) -> Left {
        let mut now = self.read(seat.index);
        for _ in 0..TRIES {
            let (left, to) = match now.word.phase() {
                Phase::Waiting => (Left::Mine, now.word.own()),
                Phase::Giving => (Left::Lost, now.word.to(Phase::Own, 0, now.word.giver())),
                Phase::Given => return Left::Given(now.word.which()),
                Phase::Here => return Left::Here(now),
                _ => return Left::Mine, // by who closed
            };
            match self.swap(now, to) {
                Ok(_) => return left,
                Err(changed) => now = changed,
            }
        }
        Left::Lost
    }

    /// What was given there was read, or moved elsewhere: the cell is the receiver's again.
    #[inline]
    pub(crate) fn empty(&self, seat: Seat) -> Seat {
        let word = seat.word.own();
        self.cells.word(seat.index).store(word.0, Ordering::Release);
        Seat { word, ..seat }
    }

    /// What is there goes back.
    pub(crate) fn give_back(&self, here: Seat) {
        self.cells.word(here.index).store(here.word.given_back().0, Ordering::Release);
    }

    /// The same, if nobody got it.
    pub(crate) fn put_down(&self, here: Seat) {
        let word = here.word.to(Phase::Back, here.word.which(), 0);
        self.cells.word(here.index).store(word.0, Ordering::Release);
    }

    /// What is there is in this chunk, which is the receiver's OWN.
    pub(crate) fn name(&self, here: Seat, which: Which) -> Seat {
        let word = here.word.to(Phase::Given, which, here.member());
        self.cells.word(here.index).store(word.0, Ordering::Release);
        Seat { word, ..here }
    }

    /// What went back, and nobody took on.
    pub(crate) fn back(&self) -> impl Iterator<Item = Seat> {
        self.all().filter(|seat| seat.word.phase() == Phase::Back)
    }

    /// Takes on what went back.
    pub(crate) fn take_on(&self, back: Seat, me: Member) -> Option<Seat> {
        self.swap(back, back.word.to(Phase::Here, back.word.which(), me)).ok()
    }

    /// Lets nobody take on what went back; says how much that is in all.
    pub(crate) fn bury(&self) -> u64 {
        self.back().for_each(|seat| {
            let _ = self.swap(seat, seat.word.to(Phase::Buried, 0, 0)); // else another did, or took it
        });
        self.all().filter(|seat| seat.word.phase() == Phase::Buried).count() as u64
    }

    /// How many messages are in the hand of receivers who have just been given them.
    pub(crate) fn count_here(&self) -> u64 {
        self.all().filter(|seat| seat.word.phase() == Phase::Here).count() as u64
    }

    /// Frees a cell of the caller, who has bound what it was given there.
    pub(crate) fn free(&self, seat: Seat) {
        self.cells.word(seat.index).store(seat.word.freed().0, Ordering::Release);
    }

    /// Who has waited longest.
    #[inline]
    pub(crate) fn longest_waiting(&self) -> Option<Seat> {
        let waiting = self.waiting();
        waiting.min_by_key(|seat| self.number(seat))
    }

    /// All who wait.
    #[inline]
    pub(crate) fn waiting(&self) -> impl Iterator<Item = Seat> {
        self.all().filter(|seat| seat.word.phase() == Phase::Waiting)
    }

    /// All where somebody is about to be given something, or waits for that.
    pub(crate) fn expecting(&self) -> impl Iterator<Item = Seat> {
        self.all().filter(|seat| matches!(seat.word.phase(), Phase::Waiting | Phase::Giving))
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

    /// Takes the right to give who waits there something: to write to the cell.
    #[inline]
    pub(crate) fn begin(&self, seat: Seat, me: Member) -> Option<Seat> {
        self.swap(seat, seat.word.to(Phase::Giving, me.into(), seat.member())).ok()
    }

    /// It is written. `false`: the receiver left meanwhile, or died, and has not got it; the cell is free.
    #[inline]
    pub(crate) fn finish(&self, giving: Seat) -> bool {
        match self.swap(giving, giving.word.to(Phase::Here, 0, giving.member())) {
            Ok(_) => true,
            Err(now) => {
                let giver = giving.word.giver();
                if now.word == giving.word.to(Phase::Own, 0, giver) {
                    self.free(now);
                }
                false
            }
        }
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

    /// Puts the cells of the dead in order: what they were given is theirs before, or goes back. Says how much is back.
    pub(crate) fn clear(&self, given: &impl Given, dead: impl Fn(Member) -> bool) -> u64 {
        for mut seat in self.all() {
            for _ in 0..TRIES {
                let word = seat.word;
                let to = match word.phase() {
                    Phase::Free | Phase::Back | Phase::Buried => break,
                    Phase::Giving => match (dead(word.giver()), dead(word.member())) {
                        (true, false) => word.to(Phase::Waiting, 0, word.member()),
                        (true, true) => word.freed(),
                        (false, true) => word.to(Phase::Own, 0, word.giver()),
                        (false, false) => break,
                    },
                    _ if !dead(word.member()) => break,
                    Phase::Here => word.given_back(),
                    Phase::Given if !given.bind(word.which(), word.member(), || self.is_still(&seat)) => {
                        seat = self.read(seat.index);
                        continue;
                    }
                    _ => word.freed(),
                };
                match self.swap(seat, to) {
                    Ok(_) => break,
                    Err(now) => seat = now,
                }
            }
        }
        self.back().count() as u64
    }

    fn is_still(&self, seat: &Seat) -> bool {
        self.read(seat.index) == *seat
    }
}

#[cfg(all(test, loom))]
mod loom_models;
