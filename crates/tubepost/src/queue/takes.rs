//! Many receivers of one bounded queue: each message goes to exactly one of them.
//!
//! Beside the ledger of claims there is one of *takes*, word i for slot i:
//!
//! ```text
//! takes    | 0 | 1 | 2 | …     (turn + 1, withdrawn?, closed?, deliveries before, member)     zero: never taken
//!
//! take     walk from a hint to the first position p whose take word is of an older turn
//!          slot FREE(turn): nothing there        turn beyond mine: skipped, walk on
//!          FULL(turn): CAS the take word -> (turn, 0, me)
//!          read the payload (or move it, see `chunks`)
//!          state = FREE(turn + 1)
//! ```
//!
//! Invariants, beside those of `slots`:
//! 5. A message is first delivered after all before it: a take needs all before it taken or
//!    skipped.
//! 6. FULL(turn) leaves only by the taker that the take word names, while it lives.
//! 7. A take word of one turn changes only by CAS from the exact word: (turn, c, dead) ->
//!    (turn, c + 1, nobody) -> (turn, c + 1, me). The count makes each of them unlike all others.
//!
//! **What if it dies here?** A receiver that dies between its take and FREE leaves
//! (turn, c, dead) on a FULL slot. Anybody may *give it back*: read the word, ask whether its
//! member is dead, CAS it to (turn, c + 1, nobody). Only a receiver takes it again, marked with
//! the count. A sender that needs the slot waits for that: the message is waiting, not lost.
//! A living one that can't use what it took puts it back in the same way, counted as well: if the word
//! came again, whoever saw it before a death could rob the next one in the same row.
//! What the dead one copied into a chunk of its own is freed first; see `super::in_hand`.
//!
//! **Skipped positions** are counted, for how many were received is told as how many were
//! passed less those. Whoever walks over one first writes (count + 1, its position + 1) by CAS,
//! if the position written there is not beyond it already: exactly once, whoever dies when.
//!
//! **Closing** sets the closed bit in the first older take word, so nobody takes from then on;
//! and in each word that says "nobody" on a FULL slot, so nobody takes those again. What is
//! then neither taken nor skipped was never collected; nor were those of "nobody" that are closed: one
//! that is given back later may still be taken again.

use super::slots::{Member, Place, Slots, State, Words};
use crate::sync::atomic::{AtomicU64, Ordering};

const TURN_SHIFT: u32 = 26;
const WITHDRAWN: u64 = 1 << 25;
const CLOSED: u64 = 1 << 24;
const COUNT_SHIFT: u32 = 16;
const COUNT: u64 = 0xFF;
const MEMBER: u64 = 0xFFFF;

/// The word of a place that is nowhere, in turn 0: it is over …
pub(super) const TAKEN_BEFORE: u64 = 2 << TURN_SHIFT;
/// … or, in turn 1, will never be.
pub(super) const NEVER_TAKEN: u64 = CLOSED;
/// The member of a take that was given back.
const NOBODY: Member = 0;

/// A word of the ledger of takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Take(u64);

impl Take {
    #[inline]
    pub(super) fn new(turn: u64, before: u8, member: Member) -> Take {
        Take(turn.wrapping_add(1) << TURN_SHIFT | u64::from(before) << COUNT_SHIFT | u64::from(member))
    }

    /// How many turns it is ahead of `turn`: 0 means taken in just this turn.
    #[inline]
    pub(super) fn ahead_of(self, turn: u64) -> i64 {
        let turns = (self.0 >> TURN_SHIFT).wrapping_sub(turn.wrapping_add(1));
        (turns << TURN_SHIFT) as i64 >> TURN_SHIFT
    }

    #[inline]
    pub(super) fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    fn closed(self) -> Take {
        Take(self.0 | CLOSED)
    }

    /// By its own sender, so that nobody receives it.
    pub(super) fn withdrawn(self) -> Take {
        Take(self.0 | WITHDRAWN)
    }

    #[inline]
    pub(super) fn is_withdrawn(self) -> bool {
        self.0 & WITHDRAWN != 0
    }

    pub(crate) fn member(self) -> Member {
        (self.0 & MEMBER) as Member
    }

    /// How often it was delivered before.
    #[inline]
    pub(crate) fn before(self) -> u8 {
        (self.0 >> COUNT_SHIFT & COUNT) as u8
    }

    pub(super) fn was_given_back(self) -> bool {
        self.member() == NOBODY
    }

    /// The same turn, held by another, or by nobody: delivered once more.
    fn given_back(self) -> Take {
        let before = self.before().saturating_add(1);
        Take(self.0 & !(COUNT << COUNT_SHIFT) & !MEMBER | u64::from(before) << COUNT_SHIFT)
    }

    pub(super) fn of(self, member: Member) -> Take {
        Take(self.0 & !MEMBER | u64::from(member))
    }
}

/// What a receiver found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taking {
    /// A message that is this receiver's now; `free` it after reading.
    Message(Place, State),
    /// Nothing is published there (yet).
    Empty(Place),
    /// Nobody takes anything any more.
    Closed,
}

impl<W: Words> Slots<W> {
    #[inline]
    pub(super) fn take_at(&self, place: Place) -> Take {
        Take(self.words.take(place.index).load(Ordering::Acquire))
    }

    pub(super) fn swap_take(&self, place: Place, from: Take, to: Take) -> bool {
        let word = self.words.take(place.index);
        planted!(TakeByPlainStore => { word.store(to.0, Ordering::Release); return true });
        word.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// The usual case in a straight line: takes the message at `from` if that is the next one, published,
    /// and `wanted`.
    #[inline(always)]
    pub(crate) fn take_if(
        &self,
        from: u64,
        me: Member,
        wanted: impl FnOnce(Place) -> bool,
    ) -> Option<(Place, State)> {
        let place = self.place(from);
        let seen = self.take_at(place);
        if seen.ahead_of(place.turn) >= 0 || seen.is_closed() {
            return None;
        }
        let state = self.state_at(place);
        let there = state.is_full() && state.ahead_of(place.turn) == 0;
        (there && wanted(place) && self.swap_take(place, seen, Take::new(place.turn, 0, me)))
            .then_some((place, state))
    }

    /// Takes this very message, which is published and follows one that was taken; not if another was faster.
    #[inline]
    pub(super) fn take_this(&self, place: Place, me: Member) -> bool {
        let seen = self.take_at(place);
        let fresh = seen.ahead_of(place.turn) < 0 && !seen.is_closed();
        fresh && self.swap_take(place, seen, Take::new(place.turn, 0, me))
    }

    /// Takes the next message at or after `from`, a position that was once the next one or
    /// is before it. Positions without a message that it passes are noted in `skips`. A walk that
    /// rubbish in the ledger would make endless ends as [`Taking::Empty`].
    pub(crate) fn take(&self, from: u64, me: Member, skips: &AtomicU64) -> Taking {
        let mut position = from;
        let mut steps = self.longest_walk();
        loop {
            let place = self.place(position);
            let seen = self.take_at(place);
            let state = self.state_at(place);
            let ahead = seen.ahead_of(place.turn);
            steps -= 1;
            if steps == 0 {
                return Taking::Empty(place);
            }
            if ahead >= 0 {
                position = self.walk_over(place, seen, skips);
            } else if seen.is_closed() {
                return Taking::Closed;
            } else if state.is_full() && state.ahead_of(place.turn) == 0 {
                if self.swap_take(place, seen, Take::new(place.turn, 0, me)) {
                    return Taking::Message(place, state);
                }
            } else if state.ahead_of(place.turn) <= 0 {
                return Taking::Empty(place);
            } else if self.take_at(place) == seen {
                // Its turn is over and nobody took it: its claimant died.
                note_skip(skips, position);
                position = position.wrapping_add(1);
            } // else taken and freed between the two looks
        }
    }

    /// The next position to look at after one whose take word is of its turn or a later one. A take says that
    /// all before it were taken or skipped; a withdrawal only says so of all that its slot had before.
    #[inline]
    fn walk_over(&self, place: Place, seen: Take, skips: &AtomicU64) -> u64 {
        let ahead = seen.ahead_of(place.turn);
        if !seen.is_withdrawn() {
            return self.walk_on(place, ahead);
        }
        if ahead == 0 {
            note_skip(skips, place.position);
        } else if let Some(shift) = self.segments() {
            // What its slot had before may have been any epoch since this one; this one is over.
            return self.after_epoch(place.position, shift);
        }
        self.walk_on(place, (ahead - 1).max(0))
    }

    /// The first position at or after `from` that nobody took, and whether it is closed there. Positions
    /// without a message that it passes are noted in `skips`: whoever begins there passes them too.
    pub(crate) fn untaken(&self, from: u64, skips: &AtomicU64) -> (u64, bool) {
        self.untaken_within(&mut self.longest_walk(), from, skips)
    }

    /// The same in so many steps, of which those that it took are taken away.
    fn untaken_within(&self, steps: &mut u64, from: u64, skips: &AtomicU64) -> (u64, bool) {
        let mut position = from;
        while *steps > 0 {
            *steps -= 1;
            let place = self.place(position);
            let seen = self.take_at(place);
            let ahead = seen.ahead_of(place.turn);
            if ahead >= 0 {
                position = self.walk_over(place, seen, skips);
            } else if !seen.is_closed()
                && self.state_at(place).ahead_of(place.turn) > 0
                && self.take_at(place) == seen
            {
                note_skip(skips, position);
                position = position.wrapping_add(1);
            } else if seen.is_closed() || self.take_at(place) == seen {
                return (position, seen.is_closed());
            }
        }
        (position, false)
    }

    /// The first position at or after `from` that was not freed; `tail` if all were.
    pub(crate) fn unfreed(&self, from: u64, tail: u64) -> u64 {
        let freed = |place: &Place| self.state_at(*place).ahead_of(place.turn) > 0;
        self.between(from, tail).find(|place| !freed(place)).map_or(tail, |place| place.position)
    }

    /// Takes on a message at `place` that a dead one had taken and somebody gave back.
    fn take_again(&self, place: Place, me: Member, wanted: impl Fn(u8) -> bool) -> Option<(State, u8)> {
        let seen = self.take_at(place);
        let mine = seen.ahead_of(place.turn) == 0 && seen.was_given_back() && !seen.is_closed();
        let mine = mine && wanted(seen.before());
        let state = self.state_at(place);
        let there = state.is_full() && state.ahead_of(place.turn) == 0;
        (mine && there && self.swap_take(place, seen, seen.of(me))).then(|| (state, seen.before()))
    }

    /// Takes one of those from `head` to `untaken` that a dead one had taken and somebody
    /// gave back, of those that were delivered as often before as is `wanted`. Also says how often that is.
    pub(crate) fn take_any_again(
        &self,
        head: u64,
        untaken: u64,
        me: Member,
        wanted: impl Fn(u8) -> bool,
    ) -> Option<(Place, State, u8)> {
        self.between(head, untaken).find_map(|place| {
            self.take_again(place, me, &wanted).map(|(state, before)| (place, state, before))
        })
    }

    /// The take word of a place that is this member's.
    pub(crate) fn taken_by(&self, place: Place, me: Member) -> Option<Take> {
        let seen = self.take_at(place);
        (seen.ahead_of(place.turn) == 0 && seen.member() == me && self.holds_message(place)).then_some(seen)
    }

    /// Writes that a sole receiver has taken a place, which it otherwise need not.
    pub(crate) fn note_taken(&self, place: Place, before: u8, me: Member) {
        self.words.take(place.index).store(Take::new(place.turn, before, me).0, Ordering::Release);
    }

    /// Gives back a place whose take word is this, of a living member of this process.
    pub(crate) fn give_back_one(&self, place: Place, taken: Take) -> bool {
        self.swap_take(place, taken, taken.given_back())
    }

    /// Puts a message back that this receiver took and did not read.
    pub(crate) fn put_back(&self, place: Place) {
        let seen = self.take_at(place);
        self.swap_take(place, seen, seen.given_back());
    }

    /// Gives back what dead ones had taken of the positions from `head` to `untaken`. Before
    /// each of them `first` is called, and says whether it may: see `in_hand`.
    pub(crate) fn give_back(
        &self,
        head: u64,
        untaken: u64,
        mut dead: impl FnMut(Member) -> bool,
        mut first: impl FnMut(Member, Place) -> bool,
    ) {
        for place in self.between(head, untaken) {
            let seen = self.take_at(place);
            let taken = seen.ahead_of(place.turn) == 0 && !seen.was_given_back();
            if !taken || !self.holds_message(place) {
                continue;
            }
            if seen.is_withdrawn() {
                self.recover(place, &mut dead);
            } else if dead(seen.member()) && first(seen.member(), place) {
                self.swap_take(place, seen, seen.given_back());
            }
        }
    }

    /// Who has taken messages from `head` to `untaken` and not freed them yet.
    pub(crate) fn takers(&self, head: u64, untaken: u64) -> impl Iterator<Item = Member> {
        self.between(head, untaken).filter_map(|place| {
            let seen = self.take_at(place);
            let holds = seen.ahead_of(place.turn) == 0 && self.holds_message(place);
            (holds && !seen.was_given_back() && !seen.is_withdrawn()).then(|| seen.member())
        })
    }

    /// Where, from `head` to `untaken`, something was given back, and whether that is closed: then nobody
    /// takes it again.
    pub(crate) fn given_back(&self, head: u64, untaken: u64) -> impl Iterator<Item = (Place, bool)> {
        self.between(head, untaken).filter_map(|place| {
            let seen = self.take_at(place);
            let back = seen.ahead_of(place.turn) == 0 && seen.was_given_back();
            (back && self.holds_message(place)).then(|| (place, seen.is_closed()))
        })
    }

    /// Lets nobody take anything from now on, neither what was never taken nor what was given
    /// back. Gives the first position that nobody took.
    pub(crate) fn close_takes(&self, head: u64, from: u64, skips: &AtomicU64) -> u64 {
        let mut position = from;
        let mut steps = 2 * self.longest_walk();
        while steps > 0 {
            let (untaken, closed) = self.untaken_within(&mut steps, position, skips);
            position = untaken;
            if closed {
                break;
            }
            let place = self.place(untaken);
            let seen = self.take_at(place);
            if let Some(shift) = self.segments()
                && self.is_not_yet(place)
            {
                if self.words.close(untaken >> shift) {
                    break;
                }
            } else if seen.ahead_of(place.turn) < 0 && self.swap_take(place, seen, seen.closed()) {
                break;
            }
        }
        self.close_given_back(head, position);
        position
    }

    /// Lets nobody take what was given back.
    pub(crate) fn close_given_back(&self, head: u64, untaken: u64) {
        for place in self.between(head, untaken) {
            let seen = self.take_at(place);
            if seen.ahead_of(place.turn) == 0 && seen.was_given_back() && self.holds_message(place) {
                self.swap_take(place, seen, seen.closed());
            }
        }
    }
}

/// Bits for the position in a word that counts skips.
const SKIP_SHIFT: u32 = 44;
const SKIP_POSITION: u64 = (1 << SKIP_SHIFT) - 1;

/// Notes that a position held no message, unless somebody did.
#[cold]
pub(crate) fn note_skip(skips: &AtomicU64, position: u64) {
    planted!(SkipCountedByEach => { skips.fetch_add(1 << SKIP_SHIFT, Ordering::AcqRel); return });
    let next = position.wrapping_add(1) & SKIP_POSITION;
    let mut seen = skips.load(Ordering::Acquire);
    loop {
        let behind = next.wrapping_sub(seen & SKIP_POSITION) & SKIP_POSITION;
        if behind == 0 || behind > SKIP_POSITION / 2 {
            return;
        }
        let noted = ((seen >> SKIP_SHIFT) + 1) << SKIP_SHIFT | next;
        match skips.compare_exchange(seen, noted, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return,
            Err(now) => seen = now,
        }
    }
}

/// Whether this is the last position that was noted.
pub(super) fn last_skipped(skips: &AtomicU64, position: u64) -> bool {
    skips.load(Ordering::Acquire) & SKIP_POSITION == position.wrapping_add(1) & SKIP_POSITION
}

/// How many positions were noted.
pub(crate) fn skipped(skips: &AtomicU64) -> u64 {
    skips.load(Ordering::Acquire) >> SKIP_SHIFT
}
