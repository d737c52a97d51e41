//! Many messages in one call, which pay once for what they share.
//!
//! **Sending.** A run of places is claimed, payload after payload is written and published; then the bell is rung, the cursor and the hint
//! are moved, and the slots of as many messages more are fetched: once. A message that needs a chunk goes by itself, in its turn: it is long enough to pay
//! for that. Only what is free is claimed; who has more waits for room, and what was sent by then is sent.
//!
//! **Receiving.** An owner holds its lock once for a run and reads message by message, freeing each place and moving its head, as ever: stores that
//! nobody waits for. Receivers that compete take a run, then read. Room is told of once. What is no plain message in line (one in a
//! chunk, one that was given back, one whose sender waits) is received by itself.
//!
//! **What if it dies here?** See `queue::runs`. An owner's head is never more than one place behind, as with single messages.

use super::closed;
use super::inlet::Inlet;
use super::outlet::Outlet;
use super::taken::Taken;
use crate::memory::payload::{Payload, Unfit};
use crate::queue::mapped::Lent;
pub(crate) use crate::queue::runs::RUN;
use crate::queue::runs::Run;
use crate::queue::slots::{Head, Place, Refused, Words};
use crate::strategy::{Refusal, not_ours};
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Instant;

/// Messages to be sent, of which the first ones were.
pub(crate) struct Batch<F> {
    /// The bytes of each.
    pub(crate) bytes: F,
    pub(crate) count: usize,
    pub(crate) sent: usize,
}

/// How long to wait for room.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    None,
    Until(Option<Instant>),
}

impl<'s, F: Fn(usize) -> &'s [u8]> Batch<F> {
    /// How many of those that come next fit their places: at most a run.
    #[inline]
    fn in_line(&self, fits: impl Fn(usize) -> bool) -> usize {
        let next = self.sent..self.count.min(self.sent + RUN);
        next.take_while(|at| fits((self.bytes)(*at).len())).count()
    }
}

impl Outlet {
    /// Sends all for which there is room, or will be in time. `Waiting`: not all.
    #[inline]
    pub(crate) fn send_batch<'s>(
        &self,
        batch: &mut Batch<impl Fn(usize) -> &'s [u8]>,
        patience: Patience,
    ) -> Result<(), Refusal> {
        while batch.sent < batch.count {
            if let Patience::Until(deadline) = patience
                && self.at.segment.handoff.is_some()
            {
                self.send((batch.bytes)(batch.sent), deadline)?; // each meets its receiver
                batch.sent += 1;
                continue;
            }
            match (self.post_run(batch), patience) {
                (Err(Refusal::Waiting), Patience::Until(deadline)) => {
                    self.wait_for_room(deadline, || self.post_run(batch))?;
                }
                (done, _) => done?,
            }
        }
        Ok(())
    }

    /// Sends some of those that come next, at least one.
    #[inline]
    fn post_run<'s>(&self, batch: &mut Batch<impl Fn(usize) -> &'s [u8]>) -> Result<(), Refusal> {
        let at = &*self.at;
        let slots = &at.segment.slots;
        if !at.segment.is_ours() {
            return Err(not_ours(&at.segment));
        }
        let most = batch.in_line(|length| slots.words.fits(length));
        if most == 0 {
            self.try_send((batch.bytes)(batch.sent))?;
            batch.sent += 1;
            return Ok(());
        }
        self.look_at_clock()?;
        let _held = self.hold_claims()?;
        let run = loop {
            if at.segment.geometry.areas.is_some() {
                break self.claim_run_in_segments(most)?;
            }
            match slots.claim_run(self.cursor.load(Relaxed), most, at.member) {
                Ok(run) => break run,
                Err(Refused::Full(place)) if !self.make_room(place) => return Err(Refusal::Waiting),
                Err(Refused::Full(_)) => {}
                Err(Refused::Closed(_)) => return Err(closed(&at.segment)),
            }
        };
        planted!(RunPublishedFirst => for place in slots.places(run) {
            slots.publish(place, at.member);
        });
        for (place, message) in slots.places(run).zip(batch.sent..) {
            slots.words.write(place, (batch.bytes)(message));
            slots.publish(place, at.member);
        }
        self.published(run);
        batch.sent += run.length;
        Ok(())
    }

    /// Does once what is done after each publication.
    #[inline]
    fn published(&self, run: Run) {
        let at = &*self.at;
        let end = run.first.position.wrapping_add(run.length as u64);
        self.cursor.store(end, Relaxed);
        if let Some(position) = noted(run) {
            at.segment.header().tail.hint.fetch_max(position, Release);
            self.look_ahead(position);
        }
        at.segment.ring_for_message(&at.quiet);
        let slots = &at.segment.slots;
        if at.segment.geometry.areas.is_some() {
            slots.words.fetch_after(slots.place(end.wrapping_sub(1)).index);
        } else {
            // Most probably a run as long comes next.
            let next = Run { first: slots.place(end), length: run.length };
            slots.places(next).for_each(|place| slots.words.fetch(place.index));
        }
    }
}

/// The position in a run at which a shared hint is moved.
#[inline]
fn noted(run: Run) -> Option<u64> {
    let (first, length) = (run.first.position, run.length as u64);
    let position = first.next_multiple_of(super::outlet::HINT_EVERY);
    (position.wrapping_sub(first) < length).then_some(position)
}

/// Where the messages of a batch go.
pub(crate) trait Collect {
    /// Adds one. What is no message is left out, and why.
    fn add<P: Payload + ?Sized>(&mut self, payload: &P) -> Result<(), Unfit>;
}

/// What came of a run that was received.
struct Read {
    length: usize,
    /// Nothing is behind it now.
    last: bool,
}

impl Inlet {
    /// Receives as many as there are now: at least one, at most `most`.
    #[inline]
    pub(crate) fn try_recv_batch(&self, into: &mut impl Collect, most: usize) -> Result<usize, Refusal> {
        loop {
            match self.gather(into, most) {
                Err(Refusal::Waiting) if self.more_after_a_look() => {}
                done => return done,
            }
        }
    }

    /// Receives as many as there are, waiting for the first one until the deadline.
    #[inline]
    pub(crate) fn recv_batch(
        &self,
        deadline: Option<Instant>,
        into: &mut impl Collect,
        most: usize,
    ) -> Result<usize, Refusal> {
        loop {
            match self.gather(into, most) {
                Err(Refusal::Waiting) => {}
                done => return done,
            }
            if let Some(taken) = self.wait(deadline)? {
                return self.add(into, taken).map(|()| 1);
            }
        }
    }

    /// Run after run until nothing is there. An error is told at once, what was received before it is received; but that it is
    /// closed only who got nothing hears: it will be so the next time.
    #[inline]
    fn gather(&self, into: &mut impl Collect, most: usize) -> Result<usize, Refusal> {
        let mut got = 0;
        while got < most {
            let left = (most - got).min(RUN);
            let read = if self.competes() { self.take_run(into, left)? } else { self.read_run(into, left)? };
            got += read.length;
            if read.last && got > 0 {
                break;
            }
            if read.length > 0 {
                continue;
            }
            match self.take() {
                Ok(taken) => self.add(into, taken)?,
                Err(Refusal::Waiting | Refusal::Closed(_)) if got > 0 => break,
                Err(refusal) => return Err(refusal),
            }
            got += 1;
        }
        Ok(got)
    }

    fn add(&self, into: &mut impl Collect, taken: Taken<'_>) -> Result<(), Refusal> {
        if let Err(unfit) = into.add(&taken.payload) {
            return Err(taken.unfit(unfit));
        }
        taken.consume();
        Ok(())
    }

    /// An owner's way: what is in line at its head.
    #[inline]
    fn read_run(&self, into: &mut impl Collect, most: usize) -> Result<Read, Refusal> {
        let segment = &self.at.segment;
        let slots = &segment.slots;
        let mut read = Read { length: 0, last: false };
        let Some(sole) = self.sole.as_ref().filter(|_| segment.is_ours()) else { return Ok(read) };
        let held = sole.hold();
        if self.has_news() {
            return Ok(read);
        }
        let mut place = slots.place(self.head.load(Relaxed));
        while read.length < most {
            match segment.visiting(|| slots.head_at(slots.again(place))) {
                Head::Message(there, state) if !state.is_awaited() => {
                    let Some(payload) = slots.words.in_line(there) else { break };
                    if let Err(unfit) = into.add(&payload) {
                        let taken = Taken::in_line(self, Some(held), there, state.member(), payload);
                        return Err(taken.unfit(unfit)); // and tells of all that is free
                    }
                    self.free(there);
                    place = slots.next(there);
                    read.length += 1;
                }
                Head::Empty(_) => {
                    read.last = true;
                    break;
                }
                Head::Message(..) | Head::Skipped => break,
            }
        }
        drop(held);
        if read.length > 0 {
            segment.ring_for_room(&self.at.quiet);
        }
        Ok(read)
    }

    /// One of many receivers' way.
    #[inline]
    fn take_run(&self, into: &mut impl Collect, most: usize) -> Result<Read, Refusal> {
        let segment = &self.at.segment;
        let slots = &segment.slots;
        if !segment.is_ours() || self.has_news() {
            return Ok(Read { length: 0, last: false });
        }
        let head = self.head.load(Relaxed);
        let in_line = |place| slots.words.in_line(place).is_some();
        let taken = segment.visiting(|| slots.take_run(head, most, self.at.member, in_line));
        let Some(run) = taken else {
            let last = segment.visiting(|| !slots.gate(head).has_come());
            return Ok(Read { length: 0, last });
        };
        let end = run.first.position.wrapping_add(run.length as u64);
        let last = slots.place(end.wrapping_sub(1));
        self.took(noted(run).map_or(last, |position| slots.place(position)));
        self.head.store(end, Relaxed);
        planted!(RunFreedFirst => for place in slots.places(run) {
            slots.free(place);
        });
        let mut failed = None;
        for place in slots.places(run) {
            match slots.words.in_line(place).map(|payload| (payload, into.add(&payload))) {
                Some((_, Ok(()))) => slots.free(place),
                Some((payload, Err(unfit))) => {
                    let refusal = self.unfit_in_line(place, payload, unfit);
                    failed.get_or_insert(refusal);
                }
                None => {
                    slots.free(place);
                    failed.get_or_insert_with(|| self.impossible().into());
                }
            }
        }
        self.tell_freed(last);
        failed.map_or(Ok(Read { length: run.length, last: false }), Err)
    }

    #[cold]
    fn unfit_in_line(&self, place: Place, payload: Lent<'_>, unfit: Unfit) -> Refusal {
        let sender = match self.at.segment.slots.head_at(place) {
            Head::Message(_, state) => state.member(),
            _ => 0,
        };
        Taken::in_line(self, None, place, sender, payload).unfit(unfit)
    }
}
