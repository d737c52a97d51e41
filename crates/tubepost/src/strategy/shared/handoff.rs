//! Capacity zero: a sender and a receiver meet. When to look, when to wait; the protocol is in `queue::handoff`.
//!
//! A sender that finds nobody waiting polls for somebody, and only then offers its message and sleeps: until then it
//! writes nothing that others read. A receiver waits in a cell from the start, and polls that. So two that poll need
//! one line, of the cell, where a short message is too, and nobody is asked whether he lives; a receiver that takes an
//! offer asks.
//!
//! That line goes to and fro once for each message. A receiver that polls therefore *keeps* its cell until its thread
//! comes back: freeing it and taking it again is a locked instruction between two stores, by which a sender that polls
//! would get the line in between.
//!
//! A receiver sleeps at its cell, a sender at its chunk: whoever takes part wakes just the one he met.

use super::closed;
use super::inlet::Inlet;
use super::outlet::Outlet;
use super::taken::Taken;
use crate::error::Error;
use crate::memory::payload;
use crate::os::Errno;
use crate::queue::about;
use crate::queue::cells::Mapped;
use crate::queue::chunks::{Chunk, NoChunk, Use};
use crate::queue::handoff::{Handoff, Left, SEATS, Seat, Which};
use crate::queue::layout::{IN_CELL, PAGE};
use crate::queue::slots::Place;
use crate::strategy::{Refusal, allow, not_ours};
use crate::sync::sole::thread;
use crate::sync::wait::poll;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};
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
    /// The thread that keeps a cell, or 0; the cell, and its word. Both are only that thread's.
    keeper: AtomicUsize,
    kept: AtomicU32,
    word: AtomicU64,
    /// When it had found all offers taken, so many had been made.
    offers: AtomicU64,
}

impl Outlet {
    /// Sends if a receiver waits now.
    pub(super) fn hand_over(&self, handoff: &Handoff<Mapped>, bytes: &[u8]) -> Result<Place, Refusal> {
        let segment = &self.at.segment;
        let length = bytes.len() as u64;
        allow(&segment.geometry.choice, length)?;
        if handoff.is_closed() {
            return Err(closed(segment));
        }
        if bytes.len() <= IN_CELL {
            return if self.give_here_now(handoff, bytes) { Ok(self.sent()) } else { Err(Refusal::Waiting) };
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
        if self.give(handoff, chunk)? { Ok(self.sent()) } else { Err(Refusal::Waiting) }
    }

    /// Sends, waiting for a receiver until the deadline.
    pub(super) fn meet(
        &self,
        handoff: &Handoff<Mapped>,
        bytes: &[u8],
        deadline: Option<Instant>,
    ) -> Result<Place, Refusal> {
        if bytes.len() > IN_CELL {
            let chunk = self.fill(bytes)?;
            let done = self.meet_filled(handoff, chunk, deadline);
            if done.is_err() {
                chunk.release();
            }
            return done;
        }
        if self.seek(handoff, deadline, || Ok(self.give_here(handoff, bytes)))? {
            return Ok(self.sent());
        }
        let chunk = self.fill(bytes)?;
        let done = self.wait_with_offer(handoff, chunk, deadline);
        if done.is_err() {
            chunk.release();
        }
        done
    }

    /// Polls for a receiver, to `give` it something. `false`: there is none.
    #[inline(always)]
    fn seek(
        &self,
        handoff: &Handoff<Mapped>,
        deadline: Option<Instant>,
        give: impl Fn() -> Result<bool, Refusal>,
    ) -> Result<bool, Refusal> {
        let at = &self.at;
        for _ in 0..OVERTAKEN {
            if give()? {
                return Ok(true);
            }
            if !poll(at.spin(), deadline, || handoff.waiting().next().is_some() || self.is_over(handoff)) {
                return Ok(false);
            }
            at.spun_well();
        }
        Ok(false)
    }

    fn is_over(&self, handoff: &Handoff<Mapped>) -> bool {
        let segment = &self.at.segment;
        handoff.is_closed() || segment.is_closed() || segment.is_disowned()
    }

    #[cold]
    fn over(&self) -> Refusal {
        let segment = &self.at.segment;
        if segment.is_disowned() { not_ours(segment) } else { closed(segment) }
    }

    /// The same with a chunk that is ours, and is that again otherwise.
    pub(super) fn meet_filled(
        &self,
        handoff: &Handoff<Mapped>,
        chunk: Chunk<'_>,
        deadline: Option<Instant>,
    ) -> Result<Place, Refusal> {
        if self.seek(handoff, deadline, || self.give(handoff, chunk))? {
            return Ok(self.sent());
        }
        self.wait_with_offer(handoff, chunk, deadline)
    }

    /// Offers a chunk that is ours, and waits until it is taken. It is ours again otherwise.
    fn wait_with_offer(
        &self,
        handoff: &Handoff<Mapped>,
        chunk: Chunk<'_>,
        deadline: Option<Instant>,
    ) -> Result<Place, Refusal> {
        let at = &self.at;
        let linked = self.post_offer(handoff, chunk)?;
        let taken_back = || at.took_back(linked.ticket());
        let done = at.segment.bell_of_offer(linked.entry).wait(
            deadline,
            || match linked.is_as_it_was() {
                false => Some(Ok(())),
                true => self.is_over(handoff).then(|| Err(self.over())),
            },
            || at.look_for_owner().map_err(Err),
        );
        let why = match done {
            Some(Ok(())) if taken_back() => return Err(self.over()),
            Some(Ok(())) => return Ok(self.sent()),
            Some(Err(refusal)) => refusal,
            None => Refusal::Waiting,
        };
        match linked.swap(linked.word.to(Use::Own, at.member)) {
            Some(_) => Err(why),
            None if taken_back() => Err(self.over()),
            None => Ok(self.sent()), // somebody took it after all
        }
    }

    /// Offers a chunk of ours. Who waits takes it; who offers only wakes him.
    pub(super) fn post_offer<'a>(
        &self,
        handoff: &Handoff<Mapped>,
        chunk: Chunk<'a>,
    ) -> Result<Chunk<'a>, Refusal> {
        let at = &*self.at;
        let held = self.hold_claims()?;
        chunk.entry.position.store(handoff.draw(), Relaxed);
        let linked = chunk.becomes(chunk.word.to(Use::Linked, at.member));
        drop(held);
        handoff.offered();
        handoff.expecting().for_each(|seat| handoff.bell(seat.index).ring(&at.quiet));
        at.segment.ring_for_message(&at.quiet); // who waits for several, or as a task
        Ok(linked)
    }

    /// Where it is: with its receiver.
    fn sent(&self) -> Place {
        self.at.segment.slots.place(0)
    }

    /// A chunk of ours with the message in it.
    pub(super) fn fill(&self, bytes: &[u8]) -> Result<Chunk<'_>, Refusal> {
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

    /// Gives a short message to who has waited longest, in its cell. `false`: nobody does.
    #[inline(always)]
    fn give_here(&self, handoff: &Handoff<Mapped>, bytes: &[u8]) -> bool {
        let at = &*self.at;
        for _ in 0..LOOKS {
            let Some(seat) = handoff.longest_waiting() else { break };
            let Some(giving) = handoff.begin(seat, at.member) else { continue };
            handoff.write(giving, bytes, at.segment.rows.get(at.member).ok().map(|row| (at.member, row)));
            if handoff.finish(giving) {
                planted!(WakeUpForgotten => return true);
                handoff.bell(giving.index).ring(&at.quiet);
                return true;
            } // else it left meanwhile
        }
        false
    }

    /// The same, also if who died was about to give something to the only one who waits.
    fn give_here_now(&self, handoff: &Handoff<Mapped>, bytes: &[u8]) -> bool {
        if self.give_here(handoff, bytes) {
            return true;
        }
        let segment = &self.at.segment;
        let mut givers = handoff.expecting().filter_map(|seat| seat.giver());
        if !givers.any(|giver| segment.has_gone(giver)) {
            return false;
        }
        segment.give_back();
        self.give_here(handoff, bytes)
    }

    /// Gives a chunk of ours to who has waited longest. `false`: nobody does.
    fn give(&self, handoff: &Handoff<Mapped>, chunk: Chunk<'_>) -> Result<bool, Refusal> {
        let at = &*self.at;
        let _held = self.hold_claims()?;
        for _ in 0..LOOKS {
            let Some(seat) = handoff.longest_waiting() else { break };
            // After that one came and before it goes: so the numbers are in order for both.
            chunk.entry.position.store(handoff.draw(), Relaxed);
            if handoff.give(seat, chunk.which()) {
                chunk.swap(chunk.word.to(Use::Held, seat.member())); // else it did that itself
                planted!(WakeUpForgotten => return Ok(true));
                handoff.bell(seat.index).ring(&at.quiet);
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Inlet {
    /// Whether there are offers that this receiver has not looked at.
    pub(super) fn has_offers(&self, handoff: &Handoff<Mapped>) -> bool {
        handoff.offers() != self.met.offers.load(Relaxed)
    }

    /// Waits for a sender, polling, where there is nothing else to look at: the way that has to be short. Nothing: more
    /// is to be looked at, by who waits in this cell.
    #[inline(always)]
    pub(super) fn quickly_met<'a>(
        &'a self,
        handoff: &'a Handoff<Mapped>,
        deadline: Option<Instant>,
    ) -> Result<Taken<'a>, Option<Seat>> {
        let at = &*self.at;
        let more = || self.has_news() || self.has_offers(handoff) || handoff.is_closed();
        if at.spin.is_zero() || !at.segment.is_ours() || more() {
            return Err(None);
        }
        let Some(seat) = self.kept(handoff) else { return Err(None) };
        let seat = handoff.post(seat, handoff.number_in(seat.index));
        self.now_and_then();
        at.segment.ring_for_room(&at.quiet); // who waits for several, or as a task
        if !poll(at.spin(), deadline, || !handoff.waits(&seat) || more()) {
            return Err(Some(seat));
        }
        at.spun_well();
        let here = handoff.here(&seat).ok_or(Some(seat))?;
        let payload = handoff.payload(here).ok_or(Some(seat))?;
        Ok(Taken::in_cell(self, here, payload))
    }

    /// The cell that this thread keeps, or will.
    #[inline(always)]
    fn kept(&self, handoff: &Handoff<Mapped>) -> Option<Seat> {
        let met = &self.met;
        if met.keeper.load(Relaxed) != thread() {
            return self.keep(handoff);
        }
        let word = met.word.load(Relaxed);
        met.word.store(0, Relaxed);
        (word != 0).then(|| Seat::kept(met.kept.load(Relaxed), word)) // else it is in use, further up
    }

    #[cold]
    fn keep(&self, handoff: &Handoff<Mapped>) -> Option<Seat> {
        self.met.keeper.compare_exchange(0, thread(), Acquire, Relaxed).ok()?;
        let seat = handoff.sit(self.met.near.load(Relaxed), self.at.member);
        match seat {
            Some(seat) => self.met.near.store(seat.index, Relaxed),
            None => self.met.keeper.store(0, Release),
        }
        seat
    }

    /// A cell is this receiver's, and empty: now it is free, but for the one that its keeper comes back to.
    #[inline(always)]
    fn leave_cell(&self, handoff: &Handoff<Mapped>, seat: Seat) {
        let met = &self.met;
        if met.keeper.load(Relaxed) != thread() || met.word.load(Relaxed) != 0 {
            return handoff.free(seat);
        }
        met.kept.store(seat.index, Relaxed);
        met.word.store(seat.bits(), Relaxed);
    }

    /// A cell is another's.
    #[cold]
    fn lost_cell(&self) {
        let met = &self.met;
        if met.keeper.load(Relaxed) == thread() && met.word.load(Relaxed) == 0 {
            met.keeper.store(0, Release);
        }
    }

    /// Frees the cell that is kept. Nobody uses this end any more.
    pub(super) fn forget_cell(&self) {
        let (Some(handoff), met) = (&self.at.segment.handoff, &self.met) else { return };
        let word = met.word.load(Acquire);
        if word != 0 && self.at.segment.is_ours() {
            handoff.free(Seat::kept(met.kept.load(Relaxed), word));
        }
    }

    /// Receives, waiting for a sender until the deadline; `posted`: in this cell, where it waits already.
    pub(super) fn meet<'a>(
        &'a self,
        handoff: &'a Handoff<Mapped>,
        deadline: Option<Instant>,
        mut posted: Option<Seat>,
    ) -> Result<Taken<'a>, Refusal> {
        let mut arrival = posted.as_ref().map(|seat| handoff.number(seat));
        loop {
            let seat = match posted.take() {
                Some(seat) => seat,
                None => {
                    match self.take() {
                        Err(Refusal::Waiting) => {}
                        done => return done,
                    }
                    let kept = if self.at.spin.is_zero() { None } else { self.kept(handoff) };
                    let seat = kept.map_or_else(|| self.sit(handoff), Ok)?;
                    let arrival = *arrival.get_or_insert_with(|| handoff.number_in(seat.index));
                    let seat = handoff.post(seat, arrival);
                    self.at.segment.ring_for_room(&self.at.quiet); // who waits for several, or as a task
                    seat
                }
            };
            let done = self.wait_there(handoff, &seat, deadline);
            match handoff.stand_up(seat) {
                Left::Given(which) => return self.given(handoff, seat, which),
                Left::Here(here) => return self.given_here(handoff, here),
                Left::Mine => self.leave_cell(handoff, handoff.empty(seat)),
                Left::Lost => self.lost_cell(),
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
        if segment.header().meeting.cells.load(Acquire) >= SEATS {
            return Error::TooManyMembers { name: segment.name.to_string(), max: SEATS };
        }
        self.at.no_memory(PAGE, &NoChunk::Os(Errno::NOSPC))
    }

    /// What was given to us in a cell: ours, before the cell is free.
    fn given(&self, handoff: &Handoff<Mapped>, seat: Seat, which: Which) -> Result<Taken<'_>, Refusal> {
        let at = &self.at;
        let chunk = at.segment.chunks.named(which).and_then(|chunk| chunk.bind(at.member));
        self.leave_cell(handoff, handoff.empty(seat));
        self.now_and_then();
        match chunk {
            Some(chunk) => Taken::of_chunk(self, chunk),
            None => Err(self.impossible().into()),
        }
    }

    /// What was given to us is in our cell.
    fn given_here<'a>(&'a self, handoff: &'a Handoff<Mapped>, here: Seat) -> Result<Taken<'a>, Refusal> {
        self.now_and_then();
        match handoff.payload(here) {
            Some(payload) => Ok(Taken::in_cell(self, here, payload)),
            None => {
                self.leave_cell(handoff, handoff.empty(here));
                Err(self.impossible().into())
            }
        }
    }

    /// What was given in a cell of ours is consumed.
    #[inline(always)]
    pub(super) fn consumed(&self, here: Seat) {
        if let Some(handoff) = &self.at.segment.handoff {
            // First it is consumed, then counted: who dies in between has at most not counted it.
            let seat = handoff.empty(here);
            handoff.count_received(seat);
            self.leave_cell(handoff, seat);
        }
    }

    /// What was given in a cell of ours goes back, and stays there until somebody takes it in.
    #[cold]
    pub(super) fn give_back_in_cell(&self, here: Seat) {
        if let Some(handoff) = &self.at.segment.handoff {
            handoff.give_back(here);
            self.lost_cell();
            self.at.segment.tell_news();
        }
    }

    /// Moves what is in a cell of ours to a chunk, in our hand.
    #[cold]
    pub(super) fn move_to_chunk(&self, here: Seat) -> Result<Chunk<'_>, Refusal> {
        let at = &*self.at;
        let segment = &at.segment;
        let Some(handoff) = &segment.handoff else { return Err(self.impossible().into()) };
        let mut bytes = Vec::new();
        payload::replace(&handoff.payload(here).ok_or_else(|| self.impossible())?, &mut bytes);
        let length = bytes.len() as u64;
        let chunk = match at.with_memory(|| segment.chunks.take(length, at.member)) {
            Ok(chunk) => chunk,
            Err(why) => return Err(at.no_memory(length, &why).into()),
        };
        chunk.write(&bytes);
        chunk.entry.position.store(handoff.number(&here), Relaxed);
        about::copy_signature(chunk.entry, handoff.signature(here));
        let mine = chunk.becomes(chunk.word.delivered(here.before()));
        let seat = handoff.name(here, mine.which());
        let held = mine.becomes(mine.word.to(Use::Held, at.member));
        self.leave_cell(handoff, handoff.empty(seat));
        Ok(held)
    }

    /// Takes what went back in cells into chunks, where all that went back waits.
    #[cold]
    pub(super) fn take_in(&self) {
        let Some(handoff) = &self.at.segment.handoff else { return };
        for back in handoff.back() {
            let Some(here) = handoff.take_on(back, self.at.member) else { continue };
            match self.move_to_chunk(here) {
                Ok(held) => drop(held.swap(held.word.to(Use::Returned, 0))),
                Err(_) => handoff.put_down(here), // until there is memory
            }
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
            if segment.has_gone(oldest.word.member()) {
                oldest.swap(oldest.word.freed()); // who dies offering has sent nothing; who only left takes it back
                continue;
            }
            // Before its sender goes on to the next one.
            let number = handoff.draw();
            if let Some(mine) = oldest.swap(oldest.word.to(Use::Held, at.member)) {
                segment.bell_of_offer(mine.entry).ring(&at.quiet);
                segment.ring_for_room(&at.quiet); // if it is a task that offered
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
