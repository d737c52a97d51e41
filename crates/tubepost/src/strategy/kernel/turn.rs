//! One order: which message is next.
//!
//! Each is for a token, a number greater than those before. A token that somebody could not use was put back, and says no more when it was
//! taken ([`ANY`]). Who sends for one says after which of its own tokens that was, and that it is the first one after that, or the second, and so
//! on: so the messages of one sender have their order, by whatever connections they go.
//!
//! ```text
//! sender                                          turn of its message
//!   takes 5                                         5
//!   takes one that was put back                     the first after 5
//!   another one                                     the second after 5
//!   takes 9                                         9
//! ```
//!
//! The owner knows which token it expects, and how many below that are still somewhere (*late*). If none is, the one that is expected is the next
//! one, wherever it was found. Else what there is decides: the first of all that was found, when one look at every connection more
//! has found nothing that comes before it. One look is not enough: the kernel tells of connections one after the other, and of one that has just
//! got something, maybe, earlier than of one that had it before.
//!
//! **What is counted is how many, not which.** A message for a token that was put back counts for one of those that are late. If its token was not below what is
//! expected, another one that is late is covered by that. So there is no counting until all are expected that the pipe had then.

use super::desk::{Desk, Fresh, MOMENT, Next};
use super::packet::ANY;
use crate::domain::segment::Segment;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// After so many messages in a row from one connection the others are looked at.
const STREAK: u32 = 64;
/// A sender counts so far (by bits) what it sends for tokens that were put back, after one that was not.
const AFTER: u32 = 16;

/// When a message's turn is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    pub(super) token: u64,
    /// 0: it is for this token. Else it is the so many-th of its sender's after that.
    pub(super) after: u32,
}

impl Turn {
    pub(super) fn of(token: u64) -> Turn {
        Turn { token, after: 0 }
    }
}

/// The last turn of a sender, in one word.
#[derive(Debug, Default)]
pub(super) struct Turns(AtomicU64);

impl Turns {
    /// That of a message for this token.
    #[inline]
    pub(super) fn next(&self, token: u64) -> Turn {
        if token != ANY {
            self.0.fetch_max(token << AFTER, Relaxed);
            return Turn::of(token);
        }
        let next = self.0.fetch_add(1, Relaxed).wrapping_add(1);
        Turn { token: next >> AFTER, after: ((next & ((1 << AFTER) - 1)) as u32).max(1) }
    }
}

/// What the owner knows of the order.
#[derive(Debug)]
pub(super) struct Order {
    expected: u64,
    /// So many tokens below that are still somewhere: whose message may come, and is to come before what is behind it. Less than none: tokens that will
    /// never come by their numbers, for they were granted, put back, or taken out.
    late: i64,
    /// Until this one is expected `late` may be too few.
    uncertain: u64,
    streak: u32,
}

impl Order {
    pub(super) fn new() -> Order {
        Order { expected: 0, late: 0, uncertain: 0, streak: 0 }
    }

    /// Whether the one that is expected is the next one.
    #[inline]
    fn is_certain(&self) -> bool {
        self.late <= 0 && self.expected >= self.uncertain
    }

    /// Of what was sent for a token that was put back there may be another one before it.
    #[inline]
    fn expects(&self, turn: Turn) -> bool {
        turn.after == 0 && turn.token <= self.expected
    }

    /// `put_in`: the token that is put in next.
    #[inline]
    fn came(&mut self, turn: Turn, put_in: u64) {
        if turn.after > 0 {
            self.comes_otherwise(put_in);
        } else if (self.expected..ANY).contains(&turn.token) {
            let skipped = i64::try_from(turn.token - self.expected).unwrap_or(i64::MAX);
            self.late = self.late.saturating_add(skipped);
            self.expected = turn.token + 1;
        } else {
            self.late -= 1;
        }
    }

    /// So many are somewhere again.
    pub(super) fn come_again(&mut self, number: u64) {
        self.late += number as i64;
    }

    /// A token below this one will not come by its number.
    #[cold]
    pub(super) fn comes_otherwise(&mut self, below: u64) {
        self.late -= 1;
        self.uncertain = self.uncertain.max(below);
    }

    /// All that were missing were replaced.
    pub(super) fn forget_late(&mut self) {
        self.late = 0;
    }
}

impl Desk {
    /// The next message, if there is one. `closely`: whoever asks looks again at once.
    #[inline]
    pub(super) fn take(&mut self, segment: &Segment, closely: bool) -> Option<Next> {
        if let Some((_, letter)) = self.back.pop_first() {
            self.tell_back(segment);
            return Some(Next::Back(letter));
        }
        if self.lanes.is_some() {
            return self.take_from_lanes(segment, closely);
        }
        let in_turn = self.order.is_certain() && self.order.streak < STREAK;
        self.order.streak += 1;
        if in_turn && self.first().is_some_and(|turn| self.order.expects(turn)) {
            return self.first_here();
        }
        // Where nobody waits in a queue each sender has its turn.
        if in_turn
            && self.capacity > 0
            && let Some(fresh) = self.read(self.current, segment)
        {
            if self.order.expects(fresh.turn) {
                return Some(Next::Fresh(self.came(fresh)));
            }
            self.keep(fresh);
        }
        self.order.streak = 0;
        self.look_for_first(segment);
        let first = self.first_here();
        if first.is_none() && (self.suspicious || self.replaced > 0) {
            self.idle(MOMENT, segment);
        }
        first
    }

    /// Looks around until the first one here is the first of all.
    #[cold]
    fn look_for_first(&mut self, segment: &Segment) {
        let mut before = None;
        loop {
            self.look_around(segment);
            let first = self.first();
            let is_next = |first| self.order.is_certain() && self.order.expects(first);
            if first.is_some_and(|first| is_next(first) || self.capacity == 0) {
                return;
            }
            if (first.is_none() || before == first) && !self.looks_further() {
                return;
            }
            before = first;
        }
    }

    /// The turn of the first one here.
    fn first(&self) -> Option<Turn> {
        self.here.first_key_value().map(|((turn, _), _)| *turn)
    }

    fn first_here(&mut self) -> Option<Next> {
        let (_, fresh) = self.here.pop_first()?;
        if let Some(line) = self.lines.get_mut(&fresh.line) {
            line.kept = false;
        }
        Some(Next::Fresh(self.came(fresh)))
    }

    /// It is this one's turn.
    #[inline]
    fn came(&mut self, fresh: Fresh) -> Fresh {
        self.current = fresh.line;
        self.order.came(fresh.turn, self.next_token);
        self.missing_since = None;
        fresh
    }

    /// Has it lie here until its turn comes, as if it had not been taken.
    pub(super) fn keep(&mut self, fresh: Fresh) {
        if let Some(line) = self.lines.get_mut(&fresh.line) {
            line.kept = true;
        }
        self.here.insert((fresh.turn, fresh.line), fresh);
    }

    /// One that was taken stays: it is the next one.
    pub(super) fn put_back(&mut self, fresh: Fresh) {
        self.order.come_again(1);
        self.keep(fresh);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_senders_turns_are_in_its_order() {
        let turns = Turns::default();
        let taken = [0, ANY, 3, ANY, ANY, 7, ANY, 8].map(|token| turns.next(token));
        assert!(taken.is_sorted_by(|one, next| one < next), "{taken:?}");
        let all: Vec<(u64, u32)> = taken.iter().map(|turn| (turn.token, turn.after)).collect();
        assert_eq!(all, [(0, 0), (0, 1), (3, 0), (3, 1), (3, 2), (7, 0), (7, 1), (8, 0)]);
    }

    #[test]
    fn who_came_for_a_token_that_was_put_back_is_not_counted_for_another() {
        // 1 is put back, and 0 is still somewhere.
        let mut order = Order::new();
        order.came(Turn { token: 0, after: 1 }, 3);
        order.came(Turn::of(2), 4);
        assert!(!order.is_certain() && order.expects(Turn::of(0)) && !order.expects(Turn::of(4)));
        order.came(Turn::of(0), 5);
        assert!(order.is_certain() && order.expects(Turn::of(3)));
        // Of those that are expected next one is sent as another one.
        order.came(Turn { token: 2, after: 1 }, 6);
        assert!(!order.is_certain());
        for token in [4, 5, 3] {
            order.came(Turn::of(token), 7);
        }
        assert!(order.expects(Turn::of(6)));
    }
}
