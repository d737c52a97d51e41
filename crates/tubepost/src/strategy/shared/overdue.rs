//! Messages that others hold for longer than they promised, and this receiver waits for: it fences the holders off. The protocol is in
//! `queue::fencing`.
//!
//! Each receiver notes for itself when it first saw a message in that hand, so it is never sooner than promised. It looks
//! before each sleep, and sleeps no longer than a quarter of the shortest promise that was ever made in this mailbox, or until one that
//! it has seen is due. Where one of many sleepers is woken for a message, each of the others looks by itself in this way.

use super::inlet::Inlet;
use crate::queue::chunks::{Ticket, Word};
use crate::queue::fencing::{self, Terms};
use crate::sync::wait::SLICE;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Acquire;
use std::time::{Duration, Instant};

/// A message in another's hand.
#[derive(Debug)]
pub(super) struct Seen {
    ticket: Ticket,
    word: Word,
    /// When it was seen there first.
    since: Instant,
}

/// The shortest sleep because of a promise.
const SHORTEST: Duration = Duration::from_millis(1);
/// Until one is tried again that could not be fenced off.
const RETRY: Duration = Duration::from_millis(100);

impl Inlet {
    /// Lets all know how long this receiver holds a message at most.
    pub(super) fn promise(&self) {
        if self.rules.longest_hold > 0 {
            self.at.segment.promise(self.rules.longest_hold);
        }
    }

    /// How this receiver holds a message.
    #[inline]
    pub(super) fn terms(&self, in_place: bool) -> Terms {
        Terms { in_place, longest: self.rules.longest_hold }
    }

    /// Fences off whoever has held a message for too long. Gives the time until it is to be looked again, zero if something is
    /// back; nothing if nobody promised anything.
    #[cold]
    pub(super) fn fence_overdue(&self) -> Option<Duration> {
        let segment = &self.at.segment;
        let shortest = segment.header().shortest_hold.load(Acquire);
        if shortest == 0 {
            return None;
        }
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let mut next = Duration::from_millis(shortest / 4).min(SLICE);
        let mut still = Vec::new();
        let mut back = false;
        for chunk in segment.chunks.all() {
            let Some(terms) = fencing::terms(&chunk) else { continue };
            let (ticket, word) = (chunk.ticket(), chunk.word);
            let seen = all.iter().find(|seen| seen.ticket == ticket && seen.word == word);
            let since = seen.map_or(now, |seen| seen.since);
            let left = Duration::from_millis(terms.longest).saturating_sub(now.duration_since(since));
            if left.is_zero() {
                back |= self.fence_off(ticket, word);
            }
            // It is tried again if it could not be.
            next = next.min(if left.is_zero() { RETRY } else { left });
            still.push(Seen { ticket, word, since });
        }
        *all = still;
        drop(all);
        if back {
            segment.tell_news();
            return Some(Duration::ZERO);
        }
        Some(next.max(SHORTEST))
    }

    /// Without memory for a copy the message stays where it is.
    fn fence_off(&self, ticket: Ticket, word: Word) -> bool {
        let (segment, me) = (&self.at.segment, self.at.member);
        for _ in 0..2 {
            let Some(held) = segment.chunks.find(ticket).filter(|chunk| chunk.word == word) else {
                return false;
            };
            match segment.visiting(|| fencing::fence(&segment.slots, &segment.chunks, held, me)) {
                Ok(back) => return back,
                Err(_) => {
                    segment.give_back();
                    segment.chunks.trim(me, false);
                }
            }
        }
        false
    }

    /// The same, of a receiver that never waits: now and then.
    #[cold]
    pub(super) fn fence_in_passing(&self) -> bool {
        self.fence_overdue().is_some_and(|next| next.is_zero())
    }
}
