//! Capacity zero: a sender and a receiver meet. When to look, when to wait; the protocol is in `queue::handoff`.
//!
//! A sender that finds nobody waiting polls for somebody, and only then offers its message and sleeps: until then it
//! writes nothing that others read. A receiver waits in a cell from the start, and polls that. So two that poll need a line for the
//! cell and one for the message, and nobody is asked whether he lives; a receiver that takes an offer asks.
//!
//! A receiver sleeps at its cell, a sender at its chunk: whoever takes part wakes just the one he met.

use super::inlet::Inlet;
use super::outlet::Outlet;
use super::taken::Taken;
use super::{Attachment, closed, too_long};
use crate::error::Error;
use crate::os::Errno;
use crate::queue::about;
use crate::queue::cells::Mapped;
use crate::queue::chunks::{Chunk, NoChunk, Ticket, Use, Word};
use crate::queue::handoff::{CELLS, Handoff, Left, Seat, Which};
use crate::queue::layout::PAGE;
use crate::queue::slots::Place;
use crate::strategy::Refusal;
use crate::sync::wait::poll;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Instant;

/// A sender that polls and finds others faster so often offers its message, and has its turn.
const OVERTAKEN: u32 = 8;
/// Who finds others faster so often for nothing has met rubbish.
const LOOKS: u32 = 100;

/// What a receiver remembers.
#[derive(Debug, Default)]
pub(super) struct Met {
    /// The cell that it had last.
    near: AtomicU32,
    /// When it had found all offers taken, so many had been made.
    offers: AtomicU64,
}

impl Outlet {
    /// Sends if a receiver waits now.
    pub(super) fn hand_over(&self, handoff: &Handoff<Mapped>, bytes: &[u8]) -> Result<Place, Refusal> {
        let segment = &self.at.segment;
        let (length, max) = (bytes.len() as u64, segment.geometry.choice.max_message);
        if length > max {
            return Err(too_long(length, max));
        }
        if handoff.is_closed() {
            return Err(closed(segment));
        }
        handoff.fetch();
        segment.chunks.fetch_last(length);
        if handoff.waiting().next().is_none() {
            return Err(Refusal::Waiting);
        }
        let chunk = self.fill(bytes)?;
        let done = self.hand_over_filled(handoff, chunk);
        if done.is_err() {
            chunk.release();
        }
        done
    }

    /// The same with a chunk that is ours, and stays that otherwise.
    pub(super) fn hand_over_filled(
        &self,
        handoff: &Handoff<Mapped>,
        chunk: Chunk<'_>,
    ) -> Result<Place, Refusal> {
        if handoff.is_closed() {
            return Err(closed(&self.at.segment));
        }
        if self.give(handoff, chunk) { Ok(self.sent()) } else { Err(Refusal::Waiting) }
    }

    /// Sends, waiting for a receiver until the deadline.
    pub(super) fn meet(
        &self,
        handoff: &Handoff<Mapped>,
        bytes: &[u8],
        deadline: Option<Instant>,
    ) -> Result<Place, Refusal> {
        let chunk = self.fill(bytes)?;
        let done = self.meet_filled(handoff, chunk, deadline);
        if done.is_err() {
            chunk.release();
        }
        done
    }

    /// The same with a chunk that is ours, and is that again otherwise.
    pub(super) fn meet_filled(
        &self,
        handoff: &Handoff<Mapped>,
        chunk: Chunk<'_>,
        deadline: Option<Instant>,
    ) -> Result<Place, Refusal> {
        let at = &self.at;
        let over = || handoff.is_closed() || at.segment.is_closed();
        for _ in 0..OVERTAKEN {
            if self.give(handoff, chunk) {
                return Ok(self.sent());
            }
            if !poll(at.spin(), deadline, || handoff.waiting().next().is_some() || over()) {
                break;
            }
            at.spun_well();
        }
        let linked = self.post_offer(handoff, chunk);
        let done = at.segment.bell_of_offer(linked.entry).wait(
            deadline,
            || match linked.is_as_it_was() {
                false => Some(Ok(())),
                true => over().then(|| Err(closed(&at.segment))),
            },
            || at.look_for_owner().map_err(Err),
        );
        let why = match done {
            Some(Ok(())) => return Ok(self.sent()),
            Some(Err(refusal)) => refusal,
            None => Refusal::Waiting,
        };
        match linked.swap(linked.word.to(Use::Own, at.member)) {
            Some(_) => Err(why),
            None => Ok(self.sent()), // somebody took it after all
        }
    }

    /// Offers a chunk of ours. Who waits takes it; who offers only wakes him.
    fn post_offer<'a>(&self, handoff: &Handoff<Mapped>, chunk: Chunk<'a>) -> Chunk<'a> {
        let at = &*self.at;
        chunk.entry.position.store(handoff.next(), Relaxed);
        let linked = chunk.becomes(chunk.word.to(Use::Linked, at.member));
        handoff.offered();
        handoff.waiting().for_each(|seat| handoff.bell(seat.index).ring(&at.quiet));
        at.segment.messages().ring(&at.quiet); // who waits for several, or as a task
        linked
    }

    /// Offers a message, and does not wait until it is taken.
    pub(super) fn offer(&self, handoff: &Handoff<Mapped>, bytes: &[u8]) -> Result<Offer, Refusal> {
        Ok(self.offer_filled(handoff, self.fill(bytes)?, Use::Free))
    }

    /// The same with a chunk that is ours, and is put to that use if nobody takes it.
    pub(super) fn offer_filled(&self, handoff: &Handoff<Mapped>, chunk: Chunk<'_>, in_vain: Use) -> Offer {
        let linked = self.post_offer(handoff, chunk);
        Offer { at: Arc::clone(&self.at), ticket: linked.ticket(), word: linked.word, in_vain }
    }

    /// Where it is: with its receiver.
    fn sent(&self) -> Place {
        self.at.segment.slots.place(0)
    }

    /// A chunk of ours with the message in it.
    fn fill(&self, bytes: &[u8]) -> Result<Chunk<'_>, Refusal> {
        let at = &*self.at;
        let segment = &at.segment;
        let length = bytes.len() as u64;
        let chunk = match at.with_memory(|| segment.chunks.take(length, at.member)) {
            Ok(chunk) => chunk,
            Err(why) => return Err(at.no_memory(length, &why).into()),
        };
        chunk.write(bytes);
        let me = segment.rows.get(at.member).ok().map(|row| (at.member, row));
        about::sign(chunk.entry, me, false);
        Ok(chunk)
    }

    /// Gives a chunk of ours to who has waited longest. `false`: nobody does.
    fn give(&self, handoff: &Handoff<Mapped>, chunk: Chunk<'_>) -> bool {
        let at = &*self.at;
        for _ in 0..LOOKS {
            let Some(seat) = handoff.longest_waiting() else { break };
            // After that one came and before it goes: so the numbers are in order for both.
            chunk.entry.position.store(handoff.next(), Relaxed);
            if handoff.give(seat, chunk.which()) {
                chunk.swap(chunk.word.to(Use::Held, seat.member())); // else it did that itself
                planted!(WakeUpForgotten => return true);
                handoff.bell(seat.index).ring(&at.quiet);
                return true;
            }
        }
        false
    }
}

/// A message that is offered by a task. Dropped: it was taken, or never will be.
#[derive(Debug)]
pub(crate) struct Offer {
    at: Arc<Attachment>,
    ticket: Ticket,
    word: Word,
    /// What becomes of its chunk when it is taken back.
    in_vain: Use,
}

impl Offer {
    fn linked(&self) -> Option<Chunk<'_>> {
        let chunk = self.at.segment.chunks.find(self.ticket);
        chunk.filter(|chunk| chunk.word == self.word)
    }

    /// Whether a receiver has it.
    pub(super) fn is_taken(&self) -> bool {
        self.linked().is_none()
    }

    /// Takes it back. `false`: somebody took it.
    pub(super) fn withdraw(&self) -> bool {
        self.linked().is_some_and(|chunk| {
            let back = match self.in_vain {
                Use::Own => chunk.word.to(Use::Own, self.at.member),
                _ => chunk.word.freed(),
            };
            chunk.swap(back).is_some()
        })
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if self.at.segment.is_ours() {
            self.withdraw();
        }
    }
}

impl Inlet {
    /// Whether there are offers that this receiver has not looked at.
    pub(super) fn has_offers(&self, handoff: &Handoff<Mapped>) -> bool {
        handoff.offers() != self.met.offers.load(Relaxed)
    }

    /// Receives, waiting for a sender until the deadline.
    pub(super) fn meet(
        &self,
        handoff: &Handoff<Mapped>,
        deadline: Option<Instant>,
    ) -> Result<Taken<'_>, Refusal> {
        let mut arrival = None;
        loop {
            match self.take() {
                Err(Refusal::Waiting) => {}
                done => return done,
            }
            let seat = self.sit(handoff)?;
            let seat = handoff.post(seat, *arrival.get_or_insert_with(|| handoff.next()));
            self.at.segment.room().ring(&self.at.quiet); // who waits for several, or as a task
            let done = self.wait_there(handoff, &seat, deadline);
            match handoff.stand_up(seat) {
                Left::Given(which) => return self.given(handoff, seat, which),
                Left::Mine => handoff.free(seat),
            }
            match done {
                Some(Ok(())) if deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
                Some(Err(refusal)) => return Err(refusal),
                _ => return self.take(),
            }
        }
    }

    /// Waits in a cell until there is something to look at.
    fn wait_there(
        &self,
        handoff: &Handoff<Mapped>,
        seat: &Seat,
        deadline: Option<Instant>,
    ) -> Option<Result<(), Refusal>> {
        let at = &self.at;
        let look =
            || !handoff.waits(seat) || self.has_news() || self.has_offers(handoff) || handoff.is_closed();
        if look() {
            return Some(Ok(()));
        }
        if poll(at.spin(), deadline, look) {
            at.spun_well();
            return Some(Ok(()));
        }
        handoff.bell(seat.index).wait(
            deadline,
            || look().then_some(Ok(())),
            || self.look_before_waiting().map_err(Err),
        )
    }

    /// A cell of ours; those of the dead are free once somebody looked after them.
    fn sit(&self, handoff: &Handoff<Mapped>) -> Result<Seat, Error> {
        let at = &self.at;
        let try_one = || handoff.sit(self.met.near.load(Relaxed), at.member);
        let seat = try_one().or_else(|| {
            at.segment.give_back();
            try_one()
        });
        let Some(seat) = seat else { return Err(self.no_cell()) };
        self.met.near.store(seat.index, Relaxed);
        Ok(seat)
    }

    #[cold]
    fn no_cell(&self) -> Error {
        let segment = &self.at.segment;
        if segment.header().meeting.cells.load(Acquire) >= CELLS {
            return Error::TooManyMembers { name: segment.name.to_string(), max: CELLS };
        }
        self.at.no_memory(PAGE, &NoChunk::Os(Errno::NOSPC))
    }

    /// What was given to us in a cell: ours, before the cell is free.
    fn given(&self, handoff: &Handoff<Mapped>, seat: Seat, which: Which) -> Result<Taken<'_>, Refusal> {
        let at = &self.at;
        let chunk = at.segment.chunks.named(which).and_then(|chunk| chunk.bind(at.member));
        handoff.free(seat);
        self.now_and_then();
        match chunk {
            Some(chunk) => Taken::of_chunk(self, chunk),
            None => Err(self.impossible().into()),
        }
    }

    /// Takes the oldest offer of somebody who lives, if there is one.
    pub(super) fn take_offer(&self, handoff: &Handoff<Mapped>) -> Result<Taken<'_>, Refusal> {
        let at = &self.at;
        let segment = &at.segment;
        if handoff.is_closed() {
            return Err(closed(segment));
        }
        let made = handoff.offers();
        if !self.has_offers(handoff) {
            return Err(Refusal::Waiting);
        }
        for _ in 0..LOOKS {
            let offers = segment.chunks.all().filter(|chunk| chunk.word.kind() == Some(Use::Linked));
            let Some(oldest) = offers.min_by_key(|chunk| chunk.entry.position.load(Relaxed)) else {
                self.met.offers.store(made, Relaxed);
                return Err(Refusal::Waiting);
            };
            if segment.is_dead(oldest.word.member()) {
                oldest.swap(oldest.word.freed()); // who dies offering has sent nothing
                continue;
            }
            // Before its sender goes on to the next one.
            let number = handoff.next();
            if let Some(mine) = oldest.swap(oldest.word.to(Use::Held, at.member)) {
                segment.bell_of_offer(mine.entry).ring(&at.quiet);
                segment.room().ring(&at.quiet); // if it is a task that offered
                mine.entry.position.store(number, Relaxed);
                self.now_and_then();
                return Taken::of_chunk(self, mine);
            } // else another was faster
        }
        Err(Refusal::Waiting)
    }

    /// A message was consumed.
    pub(super) fn count_received(&self) {
        if let Some(handoff) = &self.at.segment.handoff {
            handoff.numbers().received.fetch_add(1, AcqRel);
        }
    }
}
