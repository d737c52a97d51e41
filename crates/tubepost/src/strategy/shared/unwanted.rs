//! Messages that nobody wants: rejected, delivered too often, or no messages at all. They go to the dead letters, or nowhere.
//!
//! A message is sent to the dead letters first, and consumed second, by a receiver that has it in hand. That never waits: if there
//! is no room the message goes back, nobody is told, and it is looked at again after [`A_BREAK`], at the latest
//! within the second in which receivers look after the dead. Meanwhile it is delivered to nobody who has such a rule, and is in
//! nobody's way: in a chunk, if there is memory for one.
//!
//! What is rejected is marked so before anything else: whatever happens then, only the dead letters get it.
//!
//! **What if it dies here?** Between sending and consuming: the message comes back as what any dead one held, and is moved
//! once more. So the dead letters may have it twice.

use super::inlet::Inlet;
use super::taken::{InHand, Taken};
use crate::error::Error;
use crate::memory::payload;
use crate::os::clock;
use crate::queue::about;
use crate::queue::calls::Address;
use crate::queue::chunks::Use;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// After dead letters found no room, in nanoseconds.
const A_BREAK: u64 = 100_000_000;

impl Inlet {
    /// Whether to try at all: not a moment after there was no room.
    pub(super) fn may_put_away(&self) -> bool {
        let rules = &self.rules;
        rules.put_away() && clock::coarse() >= self.full_until.load(Relaxed)
    }

    /// Puts a message away that was taken. If that can't be now it goes back quietly, and is for nobody else if it was
    /// `rejected`.
    #[cold]
    pub(super) fn put_away(&self, taken: Taken<'_>, rejected: bool) -> Put {
        let header = self.at.segment.header();
        let done = |count: &AtomicU64, consumed: bool| {
            if !consumed {
                return Put::Nowhere;
            }
            count.fetch_add(1, Relaxed);
            Put::Away
        };
        if self.at.segment.geometry.choice.answered() {
            taken.leave_unanswered();
        }
        let Some(letters) = &self.rules.dead_letters else {
            return done(&header.discarded, taken.consume());
        };
        if rejected {
            taken.mark_rejected();
        }
        let mut bytes = Vec::new();
        payload::replace(&taken.payload, &mut bytes);
        if self.at.segment.geometry.choice.answered() {
            // Who waits here does not wait there.
            let question = bytes.len().saturating_sub(Address::BYTES);
            bytes.truncate(question);
            bytes.extend_from_slice(&Address::NOBODY.to_bytes());
        }
        if letters.try_send(&bytes).is_ok() {
            return done(&header.dead_letters, taken.consume());
        }
        self.full_until.store(clock::coarse() + A_BREAK, Relaxed);
        self.shelve(taken, rejected)
    }

    /// Puts it where it is in nobody's way, and tells nobody.
    fn shelve(&self, taken: Taken<'_>, rejected: bool) -> Put {
        let segment = &self.at.segment;
        let back = match taken.hold(false) {
            Ok(InHand::Chunk(ticket, word)) => {
                let chunk = segment.chunks.find(ticket).filter(|chunk| chunk.word == word);
                chunk.is_some_and(|chunk| {
                    if rejected {
                        about::reject(chunk.entry);
                    }
                    chunk.swap(chunk.word.given_back()).is_some()
                })
            }
            Ok(InHand::Slot(place, take)) => segment.slots.give_back_one(place, take),
            Err(_) => true, // it is damaged, and gone
        };
        if back { Put::Back } else { Put::Nowhere }
    }

    /// Puts away what was given back and is to go.
    #[cold]
    pub(super) fn put_all_away(&self) {
        if !self.may_put_away() {
            return;
        }
        let segment = &self.at.segment;
        for chunk in segment.chunks.all() {
            if chunk.word.kind() != Some(Use::Returned) || !self.rules.has_to_go(&chunk) {
                continue;
            }
            let Some(mine) = chunk.swap(chunk.word.to(Use::Held, self.at.member)) else { continue };
            let rejected = about::About::of(mine.entry).is_rejected();
            if let Ok(taken) = Taken::of_chunk(self, mine)
                && self.put_away(taken, rejected) == Put::Back
            {
                return;
            }
        }
    }

    /// Ends a message in hand: nobody gets it again.
    pub(crate) fn reject(&self, hand: InHand) -> Result<(), Error> {
        let segment = &self.at.segment;
        if self.rules.dead_letters.is_none() || !segment.is_ours() {
            return self.accept(hand).inspect(|()| {
                segment.header().discarded.fetch_add(1, Relaxed);
            });
        }
        let taken = match hand {
            InHand::Chunk(ticket, word) => {
                let chunk = segment.chunks.find(ticket).filter(|chunk| chunk.word == word);
                chunk.and_then(|chunk| Taken::of_chunk(self, chunk).ok())
            }
            InHand::Slot(place, take) => {
                let ours = segment.slots.taken_by(place, self.at.member) == Some(take);
                let taken = ours.then(|| Taken::of_slot(self, place, self.at.member, take.before()));
                taken.and_then(Result::ok).flatten()
            }
        };
        match taken.map(|taken| self.put_away(taken, true)) {
            Some(Put::Away | Put::Back) => Ok(()),
            // It was fenced off, now or before.
            Some(Put::Nowhere) | None => Err(self.no_longer(hand)),
        }
    }
}

/// Where a message was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// To the dead letters, or away for good.
    Away,
    /// There is no room: it waits for that.
    Back,
    /// It was another's by then.
    Nowhere,
}
