//! Loans: a sender writes its message where the receiver will read it.
//!
//! A loan is a chunk that is its sender's OWN for as long as the sender likes. Sending it is what sending a long message is
//! after the copy: a claim, LINKED, published. If that does not work out it is OWN still. What was sent and is then withdrawn
//! becomes OWN again, in the next sequence, so that its word has never been seen before.
//!
//! **What if it dies here?** As any sender does: OWN(dead) is free, a message that was published is one.

use super::collected::Uncollected;
use super::offer::Offer;
use super::outlet::Outlet;
use super::{closed, too_long};
use crate::error::Error;
use crate::queue::cells::Mapped;
use crate::queue::chunks::{Chunk, Ticket, Use, Word};
use crate::queue::handoff::Handoff;
use crate::queue::in_place::Writable;
use crate::queue::slots::Place;
use crate::strategy::{Refusal, not_ours};
use std::time::Instant;

/// A chunk that a sender has, and what it sees in it.
#[derive(Debug)]
pub(crate) struct Lease<H: ?Sized> {
    which: u64,
    word: Word,
    length: usize,
    pub(crate) message: Writable<H>,
}

impl<H: ?Sized> Lease<H> {
    fn ticket(&self) -> Ticket {
        Ticket { which: self.which, sequence: self.word.sequence() }
    }
}

impl Outlet {
    /// Whether a message may be in a chunk however short it is.
    pub(crate) fn may_lend(&self) -> bool {
        self.at.segment.geometry.has_length
    }

    /// Takes memory for a message of so many bytes, and sees in it what `view` does.
    #[inline]
    pub(crate) fn lend<H: ?Sized>(
        &self,
        length: usize,
        view: fn(&mut [u8]) -> Option<&mut H>,
    ) -> Result<Lease<H>, Refusal> {
        self.may_lend_so_much(length)?;
        let (at, wanted) = (&*self.at, length as u64);
        let chunk = match at.with_memory(|| at.segment.chunks.take_next(wanted, at.member)) {
            Ok(chunk) => chunk,
            Err(why) => return Err(at.no_memory(wanted, &why).into()),
        };
        match chunk.writable(wanted, view) {
            Some(message) => Ok(Lease { which: chunk.ticket().which, word: chunk.word, length, message }),
            None => {
                chunk.release();
                Err(at.damaged("a chunk has no memory that says it has").into())
            }
        }
    }

    /// Whether a message of so many bytes could be sent if there is room.
    #[inline]
    pub(crate) fn may_lend_so_much(&self, length: usize) -> Result<(), Refusal> {
        let segment = &self.at.segment;
        if !segment.is_ours() {
            return Err(not_ours(segment));
        }
        let max = segment.geometry.choice.max_message;
        if length as u64 > max {
            return Err(too_long(length as u64, max));
        }
        if segment.is_closed() { Err(closed(segment)) } else { Ok(()) }
    }

    #[inline]
    fn own<H: ?Sized>(&self, lease: &Lease<H>) -> Option<Chunk<'_>> {
        self.at.segment.chunks.find(lease.ticket()).filter(|chunk| chunk.word == lease.word)
    }

    /// The memory of a message that was not sent is free.
    #[inline]
    pub(crate) fn end_lease<H: ?Sized>(&self, lease: &Lease<H>) {
        if self.at.segment.is_ours()
            && let Some(chunk) = self.own(lease)
        {
            chunk.release();
        }
    }

    #[inline]
    fn post_lease<const AWAITED: bool, H: ?Sized>(&self, lease: &Lease<H>) -> Result<Place, Refusal> {
        if !self.at.segment.is_ours() {
            return Err(not_ours(&self.at.segment));
        }
        self.look_at_clock()?;
        match self.own(lease) {
            Some(chunk) => self.post_filled::<AWAITED>(chunk, lease.length),
            None => Err(self.at.damaged("a loan is not its sender's any more").into()),
        }
    }

    /// Sends it if there is room now.
    #[inline]
    pub(crate) fn try_send_lease<H: ?Sized>(&self, lease: &Lease<H>) -> Result<(), Refusal> {
        self.post_lease::<false, H>(lease).map(drop)
    }

    /// Where nothing waits: offers it, and does not wait until it is taken. It was tried to be sent before, and so is signed.
    pub(super) fn offer_lease<H: ?Sized>(
        &self,
        handoff: &Handoff<Mapped>,
        lease: &Lease<H>,
    ) -> Result<Offer, Refusal> {
        match self.own(lease) {
            Some(chunk) => self.offer_filled(handoff, chunk, Use::Own),
            None => Err(self.at.damaged("a loan is not its sender's any more").into()),
        }
    }

    /// Sends it, waiting for room until the deadline.
    #[inline]
    pub(crate) fn send_lease<H: ?Sized>(
        &self,
        lease: &Lease<H>,
        deadline: Option<Instant>,
    ) -> Result<(), Refusal> {
        self.post_lease_by::<false, H>(lease, deadline).map(drop)
    }

    #[inline]
    fn post_lease_by<const AWAITED: bool, H: ?Sized>(
        &self,
        lease: &Lease<H>,
        deadline: Option<Instant>,
    ) -> Result<Place, Refusal> {
        match self.post_lease::<AWAITED, H>(lease) {
            Err(Refusal::Waiting) => match (&self.at.segment.handoff, self.own(lease)) {
                (Some(handoff), Some(chunk)) => self.meet_filled(handoff, chunk, deadline),
                _ => self.wait_for_room(deadline, || self.post_lease::<AWAITED, H>(lease)),
            },
            done => done,
        }
    }

    /// Sends it, and waits until a receiver has it. Whether it is the sender's again is in what comes back.
    pub(crate) fn send_lease_collected<H: ?Sized>(
        &self,
        lease: &mut Lease<H>,
        deadline: Option<Instant>,
    ) -> Result<(), (Uncollected, Whose)> {
        let place = match self.post_lease_by::<true, H>(lease, deadline) {
            Ok(place) => place,
            Err(refusal) => return Err((refusal.into(), Whose::Senders)),
        };
        let (chunks, me) = (&self.at.segment.chunks, self.at.member);
        let again = |word: Word| word.taken(me);
        let mut mine = None;
        let done = self.until_collected(place, deadline, |_, ticket| mine = chunks.swap_if(ticket, again));
        let Err(uncollected) = done else { return Ok(()) };
        // In a mailbox that was closed nobody takes what was not taken.
        if let Uncollected::Closed(_, crate::error::Fate::NotCollected) = uncollected {
            mine = mine.or_else(|| chunks.swap_if(lease.ticket(), again));
        }
        match mine.filter(|chunk| chunk.word.kind() == Some(Use::Own)) {
            Some(chunk) => {
                lease.word = chunk.word;
                Err((uncollected, Whose::Senders))
            }
            None => Err((uncollected, Whose::Unknown)),
        }
    }

    /// What can be read of a message that may be a receiver's by now.
    pub(crate) fn copy_of<H: ?Sized>(&self, lease: &Lease<H>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let chunk = self.at.segment.chunks.find(lease.ticket());
        if let Some(payload) = chunk.and_then(|chunk| chunk.payload(lease.length as u64)) {
            crate::memory::payload::replace(&payload, &mut bytes);
        }
        bytes.resize(lease.length, 0);
        bytes
    }
}

/// Whose the memory of a loan is that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Senders,
    Unknown,
}

impl super::Attachment {
    #[cold]
    fn damaged(&self, what: &str) -> Error {
        Error::Damaged { name: self.segment.name.to_string(), what: what.into() }
    }
}
