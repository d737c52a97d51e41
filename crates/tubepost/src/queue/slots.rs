//! The bounded queue: exactly n places, many senders, and one receiver or (`super::takes`) many.
//!
//! Prior art: a ring of slots with a turn in each (Vyukov's bounded queue, crossbeam's
//! array flavour), whose claim word is moved out of the slot into a dense *ledger* that the
//! receiver does not poll, and names the claimant.
//!
//! A position is a full 64-bit number that never repeats; it means slot `position % n` in
//! turn `position / n`. Positions are claimed strictly one after the other.
//!
//! ```text
//! claims   | 0 | 1 | 2 | …        word i: (turn + 1, closed?, member)     zero: never claimed
//! slots    | state payload | …     state:  (turn, FREE or FULL, awaited?, member)    zero: FREE(0)
//!
//! send     walk from a hint to the first position p whose claim word is of an older turn
//!          slot must be FREE(turn), else full        closed bit: closed
//!          CAS the claim word -> (turn + 1, me)      the claim says who, in one store
//!          write the payload
//!          state = FULL(turn, me)                    published
//! receive  state at head: FREE(turn) -> nothing there     beyond my turn -> skipped, walk on
//!          FULL(turn) -> read the payload, state = FREE(turn + 1), head + 1
//! ```
//!
//! A slot's state is changed by one party at a time: FREE(turn) by the claimant of this
//! turn or whoever skips it for being dead, FULL(turn) by the receiver.
//!
//! Invariants:
//! 1. The claimed positions are 0..tail, without gaps: a claim needs all before it.
//! 2. FULL(turn) is stored only by the claimant of that turn, after the whole payload.
//! 3. Claims are at most n ahead of head: a claim needs the slot FREE in its turn.
//! 4. Between the claim and FULL only the claimant touches the payload; between FULL and
//!    FREE(turn + 1) only the receiver does.
//!
//! **Order of memory.** FULL is stored with release and loaded with acquire, so the payload
//! is seen whole; FREE(turn + 1) likewise, so the next writer's stores come after the last
//! reader's loads. The claim's CAS orders nothing that matters to the payload.
//!
//! **What if it dies here?**
//! - before the claim: nothing happened.
//! - between claim and FULL: the claim names the dead. Whoever needs that slot reads the
//!   claim word, *then* asks whether the claimant is dead, then CASes FREE(turn) ->
//!   FREE(turn + 1): skipped. The receiver does so at head, a sender that finds the queue
//!   full does so too (the slot it needs is the oldest one). Any number may try; the turn
//!   lets exactly one succeed, and none if the claimant was alive after all and published.
//! - a sole receiver, anywhere: it is the owner, so the mailbox ends; see `strategy::shared`.
//! - one of many receivers: see `super::takes`.
//!
//! **Closing** sets the closed bit in the claim word at tail, so nobody can claim from then
//! on: the word is not what a sender's CAS expects.
//!
//! **Unbounded** it is the same algorithm: n is then the number of places in a segment, and only *where* the places of a
//! turn are changes, see `directory`. It is never full; what looks so to a sender is a segment that is not yet there.

use super::areas::{Areas, NOT_YET, OVER};
use crate::sync::atomic::{AtomicU64, Ordering};
pub(crate) use places::Lies;
use places::Ring;

mod places;

/// A row in the table of members; 0 is nobody.
pub(crate) type Member = u16;

const TURN_SHIFT: u32 = 19;
/// Its sender waits until it is collected, and may withdraw it.
const AWAITED: u64 = 1 << 18;
const FULL: u64 = 1 << 17;
const CLOSED: u64 = 1 << 16;
const MEMBER: u64 = 0xFFFF;

/// The words of a place that is nowhere, in turn 0: it is over …
pub(super) const CLAIMED_BEFORE: u64 = 2 << TURN_SHIFT;
pub(super) const FREED_BEFORE: u64 = 1 << TURN_SHIFT;
/// … or, in turn 1, will never be. (One that is not yet there has zeros, and is free in no turn that anybody looks for.)
pub(super) const NEVER_CLAIMED: u64 = CLOSED;

/// How far turn `a` (as stored: modulo 2^45) is ahead of turn `b`.
#[inline]
fn ahead(a: u64, b: u64) -> i64 {
    (a.wrapping_sub(b) << TURN_SHIFT) as i64 >> TURN_SHIFT
}

/// The word in front of each payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct State(u64);

impl State {
    #[inline]
    pub(super) fn free(turn: u64) -> State {
        State(turn << TURN_SHIFT)
    }
    #[inline]
    fn full(turn: u64, member: Member) -> State {
        State(turn << TURN_SHIFT | FULL | u64::from(member))
    }
    #[inline]
    fn awaited(self) -> State {
        State(self.0 | AWAITED)
    }
    #[inline]
    pub(super) fn bits(self) -> u64 {
        self.0
    }
    #[inline]
    pub(super) fn is_full(self) -> bool {
        self.0 & FULL != 0
    }
    /// Whether its sender may withdraw it: then also a sole receiver has to take it by CAS.
    #[inline]
    pub(crate) fn is_awaited(self) -> bool {
        self.0 & AWAITED != 0
    }
    /// How many turns this state is ahead of `turn`.
    #[inline]
    pub(super) fn ahead_of(self, turn: u64) -> i64 {
        ahead(self.0 >> TURN_SHIFT, turn)
    }
    #[inline]
    pub(crate) fn member(self) -> Member {
        (self.0 & MEMBER) as Member
    }
}

/// A word of the ledger of claims.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Claim(u64);

impl Claim {
    #[inline]
    fn new(turn: u64, member: Member) -> Claim {
        Claim(turn.wrapping_add(1) << TURN_SHIFT | u64::from(member))
    }
    /// How many turns this claim is ahead of `turn`: 0 means claimed in just this turn.
    #[inline]
    fn ahead_of(self, turn: u64) -> i64 {
        ahead(self.0 >> TURN_SHIFT, turn.wrapping_add(1))
    }
    #[inline]
    fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }
    #[inline]
    fn closed(self) -> Claim {
        Claim(self.0 | CLOSED)
    }
    #[inline]
    fn member(self) -> Member {
        (self.0 & MEMBER) as Member
    }
}

/// The words of the queue, wherever they are.
pub(crate) trait Words {
    /// The claim word of slot `index`, which is below the capacity.
    fn claim(&self, index: usize) -> &AtomicU64;
    /// The take word of slot `index`, which is below the capacity.
    fn take(&self, index: usize) -> &AtomicU64;
    /// The state word of slot `index`, which is below the capacity.
    fn state(&self, index: usize) -> &AtomicU64;
    /// Asks the processor to fetch, for writing, what will be written soon after this slot.
    fn fetch_after(&self, index: usize);

    /// Where the places of an epoch are. This and the next two are for an unbounded queue.
    fn lies(&self, _epoch: u64) -> Lies {
        Lies::NotYet
    }
    /// The same, if they are somewhere.
    fn lie(&self, _epoch: u64) -> Option<usize> {
        None
    }
    /// An epoch before which all are over.
    fn first(&self) -> u64 {
        0
    }
    /// Lets nobody append this epoch. `false`: somebody did.
    fn close(&self, _epoch: u64) -> bool {
        true
    }
}

/// A position, and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) position: u64,
    pub(crate) index: usize,
    pub(super) turn: u64,
}

/// Why no place could be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// All n places are taken; this is the one that has to become free.
    Full(Place),
    /// Closed at this position.
    Closed(Place),
}

/// What is at the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// A message; `free` it after reading.
    Message(Place, State),
    /// Nothing is published there (yet).
    Empty(Place),
    /// The claimant died and was skipped: go on with the next position.
    Skipped,
}

/// The state of one slot, as one compares it again and again.
pub(crate) struct Gate<'a> {
    word: &'a AtomicU64,
    free: State,
}

impl Gate<'_> {
    /// Whether it is free in its turn: nothing is published there, and a sender may claim it.
    #[inline]
    pub(crate) fn is_free(&self) -> bool {
        self.word.load(Ordering::Acquire) == self.free.0
    }

    /// Whether a receiver has something to do there: a message of its turn, or a later turn. What is left of an
    /// earlier turn is another's, who took it and has not freed it yet.
    #[inline]
    pub(crate) fn has_come(&self) -> bool {
        let state = State(self.word.load(Ordering::Acquire));
        state != self.free && state.ahead_of(self.free.0 >> TURN_SHIFT) >= 0
    }
}

/// What stands at a position that is not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unpublished {
    /// Nobody claimed it.
    Unclaimed,
    /// Somebody who lives is about to publish, or has just done so.
    Pending(Member),
    /// Its claimant was dead; it is skipped now.
    Recovered,
}

/// The queue: an algorithm over borrowed words.
#[derive(Debug)]
pub(crate) struct Slots<W> {
    pub(crate) words: W,
    /// Places of a ring, or of a segment.
    pub(super) capacity: u64,
    ring: Ring,
    /// See [`longest_walk`](Self::longest_walk).
    longest: u64,
    /// In segments: so many epochs can be in use at one time.
    epochs: u64,
}

impl<W: Words> Slots<W> {
    pub(crate) fn new(words: W, capacity: u64) -> Slots<W> {
        assert!(capacity > 0);
        let power = capacity.is_power_of_two();
        let ring = if power { Ring::Shift(capacity.trailing_zeros()) } else { Ring::Divide };
        Slots { words, capacity, ring, longest: capacity.saturating_mul(2) + 1024, epochs: 0 }
    }

    /// An unbounded queue, in segments.
    pub(crate) fn in_segments(words: W, areas: &Areas) -> Slots<W> {
        let (ring, longest) = (Ring::Segments(areas.shift), areas.longest_walk());
        Slots { words, capacity: areas.places(), ring, longest, epochs: areas.epochs }
    }

    #[inline]
    fn claim_at(&self, place: Place) -> Claim {
        Claim(self.words.claim(place.index).load(Ordering::Acquire))
    }

    #[inline]
    pub(super) fn state_at(&self, place: Place) -> State {
        State(self.words.state(place.index).load(Ordering::Acquire))
    }

    /// Who claimed this position, if that can still be told.
    pub(super) fn claimant(&self, place: Place) -> Option<Member> {
        let claim = self.claim_at(place);
        (claim.ahead_of(place.turn) == 0).then(|| claim.member())
    }

    /// The position after the one at `place`, which somebody claimed `ahead` turns later.
    #[inline]
    pub(super) fn walk_on(&self, place: Place, ahead: i64) -> u64 {
        if let Some(shift) = self.segments()
            && place.index == OVER
        {
            return self.after_epoch(place.position, shift);
        }
        (ahead as u64).wrapping_mul(self.capacity).wrapping_add(place.position).wrapping_add(1)
    }

    /// Claims this very position, if it is the next one and its place is free: the usual case, in a straight line.
    #[inline(always)]
    pub(crate) fn claim_next(&self, position: u64, me: Member) -> Option<Place> {
        let place = self.place(position);
        self.claim_very(place, me).then_some(place)
    }

    /// The same of a queue in segments, where this position's is there.
    #[inline(always)]
    pub(crate) fn claim_next_in_segments(&self, position: u64, me: Member) -> Option<Place> {
        let place = self.place_that_is_there(position)?;
        self.claim_very(place, me).then_some(place)
    }

    /// Claims this very place, if it is the next one and free.
    #[inline(always)]
    fn claim_very(&self, place: Place, me: Member) -> bool {
        let seen = self.claim_at(place);
        self.is_next(place, seen) && self.try_claim(place, seen, me)
    }

    /// Whether this place, of which the ledger says that, is the next one, and free.
    #[inline(always)]
    fn is_next(&self, place: Place, seen: Claim) -> bool {
        seen.ahead_of(place.turn) < 0 && !seen.is_closed() && self.state_at(place) == State::free(place.turn)
    }

    /// Claims the next position at or after `from`, a position that was once tail or less.
    #[inline]
    pub(crate) fn claim(&self, from: u64, me: Member) -> Result<Place, Refused> {
        self.claim_next(from, me).map_or_else(|| self.walk(from, me), Ok)
    }

    /// Whether a place could be claimed now, and which.
    pub(crate) fn look(&self, from: u64) -> Result<Place, Refused> {
        self.walk_and(from, |_, _| true)
    }

    #[cold]
    fn walk(&self, from: u64, me: Member) -> Result<Place, Refused> {
        self.walk_and(from, |place, seen| self.try_claim(place, seen, me))
    }

    /// Walks to the first place that is free to claim, and on until `claim` says that it did. A walk that
    /// rubbish in the ledger would make endless ends as [`Refused::Full`].
    fn walk_and(&self, from: u64, claim: impl Fn(Place, Claim) -> bool) -> Result<Place, Refused> {
        let mut position = from;
        let mut steps = self.longest_walk();
        loop {
            let place = self.place(position);
            let seen = self.claim_at(place);
            let ahead = seen.ahead_of(place.turn);
            steps -= 1;
            if ahead >= 0 {
                position = self.walk_on(place, ahead);
            } else if seen.is_closed() {
                return Err(Refused::Closed(place));
            } else if self.state_at(place) != State::free(place.turn) {
                if self.claim_at(place) == seen {
                    return Err(Refused::Full(place));
                } // else claimed between the two looks
            } else if claim(place, seen) {
                return Ok(place);
            }
            if steps == 0 {
                return Err(Refused::Full(place));
            }
        }
    }

    /// In so many steps a walk along the ring comes to its end, unless rubbish leads it round and round. Every
    /// call is held to a few times this number in all: walks within walks would take for ever where there are
    /// many places.
    pub(crate) fn longest_walk(&self) -> u64 {
        self.longest
    }

    /// Claims this very place, which is free and follows one that was claimed; not if another was faster.
    #[inline]
    pub(super) fn claim_this(&self, place: Place, me: Member) -> bool {
        let seen = self.claim_at(place);
        seen.ahead_of(place.turn) < 0 && !seen.is_closed() && self.try_claim(place, seen, me)
    }

    /// Claims this very position, if it is the next one and free, by a plain store: nobody else may be claiming here.
    #[inline(always)]
    pub(crate) fn claim_alone(&self, position: u64, me: Member) -> Option<Place> {
        let place = self.place(position);
        let free = self.is_next(place, self.claim_at(place));
        if free {
            let mine = Claim::new(place.turn, me);
            self.words.claim(place.index).store(mine.0, Ordering::Release);
        }
        free.then_some(place)
    }

    #[inline]
    fn try_claim(&self, place: Place, seen: Claim, me: Member) -> bool {
        let mine = Claim::new(place.turn, if planted!(ClaimWithoutOwner) { 0 } else { me });
        let word = self.words.claim(place.index);
        planted!(TailByPlainStore => { word.store(mine.0, Ordering::Release); return true });
        word.compare_exchange(seen.0, mine.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Publishes a claimed place whose payload is written.
    #[inline]
    pub(crate) fn publish(&self, place: Place, me: Member) {
        self.words.state(place.index).store(State::full(place.turn, me).0, Ordering::Release);
    }

    /// The same, of a message whose sender waits until it is collected; see `super::collected`.
    #[inline]
    pub(crate) fn publish_awaited(&self, place: Place, me: Member) {
        let state = State::full(place.turn, me).awaited();
        self.words.state(place.index).store(state.0, Ordering::Release);
    }

    /// The message at the head, if there is one. Only the receiver moves it.
    #[inline(always)]
    pub(crate) fn message(&self, position: u64) -> Option<(Place, State)> {
        let place = self.place(position);
        let state = self.state_at(place);
        (state.is_full() && state.ahead_of(place.turn) == 0).then_some((place, state))
    }

    /// Looks at the head.
    #[inline]
    pub(crate) fn head(&self, position: u64) -> Head {
        self.head_at(self.place(position))
    }

    /// The same of a place.
    #[inline]
    pub(crate) fn head_at(&self, place: Place) -> Head {
        let state = self.state_at(place);
        if state == State::free(place.turn) {
            Head::Empty(place)
        } else if state.is_full() && state.ahead_of(place.turn) == 0 {
            Head::Message(place, state)
        } else if state.ahead_of(place.turn) > 0 {
            Head::Skipped
        } else {
            Head::Empty(place) // no state we ever wrote: wait for something sensible
        }
    }

    /// Frees the place of a message that was read.
    #[inline]
    pub(crate) fn free(&self, place: Place) {
        let next = State::free(place.turn.wrapping_add(1));
        self.words.state(place.index).store(next.0, Ordering::Release);
    }

    /// Who sent the message at a place that is full.
    pub(crate) fn sender(&self, place: Place) -> Member {
        self.state_at(place).member()
    }

    /// Looks at a position that is not published, and skips it if its claimant is dead.
    pub(crate) fn recover(&self, place: Place, dead: impl FnOnce(Member) -> bool) -> Unpublished {
        let claim = self.claim_at(place);
        if claim.ahead_of(place.turn) != 0 {
            return Unpublished::Unclaimed;
        }
        let member = claim.member();
        let from = self.state_at(place);
        // What is withdrawn has to be of this turn: by now the place may have been freed, and hold the next message.
        let nothing_there =
            from == State::free(place.turn) || from.ahead_of(place.turn) == 0 && self.is_withdrawn(place);
        if !nothing_there || !dead(member) {
            return Unpublished::Pending(member);
        }
        if self.free_instead_of(place, from) {
            Unpublished::Recovered
        } else {
            Unpublished::Pending(member) // published before it died, or skipped by another
        }
    }

    /// Frees a place on behalf of a dead one, if its state is still this.
    pub(super) fn free_instead_of(&self, place: Place, from: State) -> bool {
        let to = State::free(place.turn.wrapping_add(1));
        let word = self.words.state(place.index);
        word.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// The state of the slot of this position, to be polled.
    #[inline]
    pub(crate) fn gate(&self, position: u64) -> Gate<'_> {
        let place = self.place(position);
        Gate { word: self.words.state(place.index), free: State::free(place.turn) }
    }

    /// Whether a message was published at `place`, or freed since.
    pub(crate) fn is_published(&self, place: Place) -> bool {
        self.state_at(place) != State::free(place.turn)
    }

    /// Whether this position is behind everybody: received, or skipped.
    #[inline]
    pub(crate) fn is_over(&self, place: Place) -> bool {
        self.state_at(place).ahead_of(place.turn) > 0
    }

    pub(crate) fn holds_message(&self, place: Place) -> bool {
        let state = self.state_at(place);
        state.is_full() && state.ahead_of(place.turn) == 0
    }

    /// The position that a sender was refused at `place` for: the same slot, one turn ago.
    pub(crate) fn before(&self, place: Place) -> Option<Place> {
        if self.segments().is_some() {
            return None;
        }
        place.position.checked_sub(self.capacity).map(|position| self.place(position))
    }

    /// The first unclaimed position at or after `from`, and whether the queue is closed there.
    pub(crate) fn tail(&self, from: u64) -> (u64, bool) {
        let mut position = from;
        for _ in 0..self.longest_walk() {
            let place = self.place(position);
            let seen = self.claim_at(place);
            let ahead = seen.ahead_of(place.turn);
            if ahead < 0 {
                return (position, seen.is_closed());
            }
            position = self.walk_on(place, ahead);
        }
        (position, false)
    }

    /// Closes the queue at tail: no claim succeeds from now on. Gives the tail.
    pub(crate) fn close(&self, from: u64) -> u64 {
        let mut position = from;
        for _ in 0..2 * self.longest_walk() {
            let place = self.place(position);
            let seen = self.claim_at(place);
            let ahead = seen.ahead_of(place.turn);
            if ahead >= 0 {
                position = self.walk_on(place, ahead);
                continue;
            }
            if let Some(shift) = self.segments()
                && place.index == NOT_YET
            {
                if self.words.close(position >> shift) {
                    break;
                }
                continue;
            }
            let (word, closed) = (self.words.claim(place.index), seen.closed());
            if seen.is_closed()
                || word.compare_exchange(seen.0, closed.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            {
                break;
            }
        }
        position
    }

    /// The position after the last one from head to tail that is claimed by `member`; 0 if none is.
    pub(crate) fn claimed_until(&self, member: Member, head: u64, tail: u64) -> u64 {
        let mut claimed = self.between(head, tail).rev().filter(|place| {
            let claim = self.claim_at(*place);
            claim.member() == member && claim.ahead_of(place.turn) == 0
        });
        claimed.next().map_or(0, |last| last.position.wrapping_add(1))
    }

    /// How many of the positions from head to tail hold a message, published or about to be.
    /// Claims of the dead are skipped for good on the way.
    pub(crate) fn count(&self, head: u64, tail: u64, mut dead: impl FnMut(Member) -> bool) -> u64 {
        let there = |place: &Place| {
            if self.holds_message(*place) && !self.is_withdrawn(*place) {
                return true;
            }
            let claimed = self.recover(*place, &mut dead);
            // A second look: it may have published between the first and its death.
            let pending = matches!(claimed, Unpublished::Pending(_)) && !self.is_over(*place);
            pending && !self.is_withdrawn(*place)
        };
        self.between(head, tail).filter(there).count() as u64
    }
}

#[cfg(all(test, loom))]
mod loom_models;
