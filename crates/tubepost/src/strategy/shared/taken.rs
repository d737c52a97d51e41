//! A message between the queue and its receiver: taken, and then consumed, kept in hand, or put back.

use super::inlet::Inlet;
use super::too_long;
use crate::domain::member::{self, Peer};
use crate::error::Error;
use crate::memory::payload::{self, Payload, Unfit};
use crate::os::Errno;
use crate::queue::about;
use crate::queue::calls::Address;
use crate::queue::chunks::{Chunk, NoChunk, Ticket, Use, Word};
use crate::queue::fencing;
use crate::queue::handoff::Seat;
use crate::queue::in_hand::{self, Origin};
use crate::queue::in_place::{InPlace, View};
use crate::queue::mapped::{Lent, Letter};
use crate::queue::slots::{Member, Place};
use crate::queue::takes::Take;
use crate::strategy::Refusal;
use crate::sync::sole::Held;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// A message that was taken. An owner's other threads wait until it was dealt with.
pub(crate) struct Taken<'a> {
    inlet: &'a Inlet,
    held: Option<Held<'a>>,
    /// Its place, if it is (also) in a slot …
    place: Option<Place>,
    /// … and its chunk, if it is in one …
    chunk: Option<Chunk<'a>>,
    /// … or its cell.
    cell: Option<Seat>,
    sender: Member,
    before: u8,
    pub(crate) payload: Lent<'a>,
}

/// A message in hand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum InHand {
    /// Which chunk, and its word.
    Chunk(Ticket, Word),
    /// It is still in its slot, and occupies that place: there was no memory for a copy, or this receiver keeps places.
    Slot(Place, Take),
}

impl<'a> Taken<'a> {
    /// What is in line at a place that was taken.
    #[inline(always)]
    pub(super) fn in_line(
        inlet: &'a Inlet,
        held: Option<Held<'a>>,
        place: Place,
        sender: Member,
        payload: Lent<'a>,
    ) -> Taken<'a> {
        Taken { inlet, held, place: Some(place), chunk: None, cell: None, sender, before: 0, payload }
    }

    /// What is at a place that was taken. Nothing: it is not there any more, or was never sensible. An error: it
    /// can't be looked at, for want of memory.
    #[inline(always)]
    pub(super) fn of_slot(
        inlet: &'a Inlet,
        place: Place,
        sender: Member,
        before: u8,
    ) -> Result<Option<Taken<'a>>, Errno> {
        let segment = &inlet.at.segment;
        let (payload, chunk) = match segment.slots.words.letter(place) {
            Some(Letter::InLine(payload)) => (Some(payload), None),
            Some(Letter::InChunk(ticket, length)) => {
                segment.chunks.fetch(ticket, length);
                let linked = |chunk: &Chunk<'_>| chunk.word.kind() == Some(Use::Linked);
                let chunk = segment.chunks.look_up(ticket)?.filter(linked);
                (chunk.and_then(|chunk| chunk.payload(length)), chunk)
            }
            None => (None, None),
        };
        let taken = |payload| {
            let place = Some(place);
            Taken { inlet, held: None, place, chunk, cell: None, sender, before, payload }
        };
        Ok(payload.map(taken))
    }

    /// A message that was given back and is in this receiver's hand now.
    pub(super) fn of_chunk(inlet: &'a Inlet, chunk: Chunk<'a>) -> Result<Taken<'a>, Refusal> {
        let length = chunk.length();
        let possible = length <= inlet.at.segment.geometry.choice.max_message;
        let Some(payload) = chunk.payload(length).filter(|_| possible) else {
            chunk.swap(chunk.word.freed());
            return Err(inlet.impossible().into());
        };
        let before = chunk.word.before();
        let chunk = Some(chunk);
        Ok(Taken { inlet, held: None, place: None, chunk, cell: None, sender: 0, before, payload })
    }

    /// What was given in a cell.
    #[inline(always)]
    pub(super) fn in_cell(inlet: &'a Inlet, here: Seat, payload: Lent<'a>) -> Taken<'a> {
        let cell = Some(here);
        Taken { inlet, held: None, place: None, chunk: None, cell, sender: 0, before: here.before(), payload }
    }

    /// Keeps an owner's other threads out.
    #[inline(always)]
    pub(super) fn behind(mut self, held: Held<'a>) -> Taken<'a> {
        self.held = Some(held);
        self
    }

    pub(crate) fn position(&self) -> u64 {
        match (self.place, self.chunk) {
            (Some(place), _) => place.position,
            (None, Some(chunk)) => chunk.entry.position.load(Relaxed),
            (None, None) => {
                let handoff = self.inlet.at.segment.handoff.as_ref();
                handoff.zip(self.cell).map_or(0, |(handoff, here)| handoff.number(&here))
            }
        }
    }

    /// How often it was delivered before.
    pub(crate) fn redelivered(&self) -> u32 {
        self.before.into()
    }

    pub(crate) fn sender(&self) -> Peer {
        match (self.chunk, self.cell, &self.inlet.at.segment.handoff) {
            (Some(chunk), ..) if self.place.is_none() => member::sender(chunk.entry),
            (_, Some(here), Some(handoff)) => member::sender_in_cell(handoff.signature(here)),
            _ => {
                let row = self.inlet.at.segment.rows.get(self.sender);
                row.map_or_else(|_| Peer { pid: 0, name: String::new() }, member::peer)
            }
        }
    }

    /// Whether it may be taken out of this receiver's hand: then what is with it, too.
    #[inline]
    pub(crate) fn may_be_lost(&self) -> bool {
        self.inlet.rules.longest_hold > 0
    }

    /// Asks the processor to fetch, for writing, what is going to be written when a question is in hand, and answered.
    #[inline(always)]
    pub(crate) fn fetch_for_answer(&self, address: Address) {
        let segment = &self.inlet.at.segment;
        if let Some(place) = self.place {
            segment.slots.words.fetch(place.index);
        }
        segment.calls.fetch(address);
    }

    /// Where the answer goes, if this is a question.
    #[inline]
    pub(crate) fn address(&self) -> Address {
        self.payload.split_end().map_or(Address::NOBODY, |(_, end)| Address::from_bytes(end))
    }

    /// A question is received without being answered: its caller is told, unless another is just answering it.
    #[cold]
    pub(crate) fn leave_unanswered(&self) {
        let _ = self.inlet.leave_unanswered(self.address());
    }

    /// The message was read: its place and its chunk are free. Says whether it was this receiver's still.
    #[inline(always)]
    pub(crate) fn consume(self) -> bool {
        if let Some(here) = self.cell {
            self.inlet.consumed(here);
            return true;
        }
        let freed = self.chunk.is_none_or(|chunk| chunk.swap(chunk.word.freed()).is_some());
        let mine = freed || self.place.is_some();
        if self.chunk.is_some() && mine {
            self.inlet.count_received();
        }
        self.let_go();
        mine
    }

    /// Whether it can be looked at where it is, as long as it is in hand.
    #[inline]
    pub(crate) fn is_in_place(&self) -> bool {
        self.chunk.is_some() && self.inlet.trusts
    }

    /// A look at it where it is.
    #[inline]
    pub(crate) fn in_place<H: ?Sized>(&self, view: View<H>) -> Option<Result<InPlace<H>, Unfit>> {
        self.chunk.as_ref()?.in_place(self.payload.len() as u64, view)
    }

    /// A message in hand is for the dead letters only.
    pub(super) fn mark_rejected(&self) {
        if let (None, Some(chunk)) = (self.place, self.chunk) {
            about::reject(chunk.entry);
        }
    }

    /// The message is not in its slot any more.
    #[inline(always)]
    fn let_go(self) {
        let Taken { inlet, held, place, .. } = self;
        let Some(place) = place else { return };
        inlet.free(place);
        drop(held);
        inlet.tell_freed(place);
    }

    /// Keeps the message in hand until it is accepted or given back. `in_place`: it is read where it is.
    #[inline(always)]
    pub(crate) fn hold(self, in_place: bool) -> Result<InHand, Refusal> {
        let at = &self.inlet.at;
        let Some(place) = self.place else {
            let chunk = match (self.chunk, self.cell) {
                (Some(chunk), _) => chunk,
                (None, Some(here)) => self.inlet.move_to_chunk(here).inspect_err(|_| {
                    self.inlet.give_back_in_cell(here);
                })?,
                (None, None) => return Err(self.inlet.impossible().into()),
            };
            in_hand::keep(&chunk, self.inlet.terms(in_place), at.member);
            return Ok(InHand::Chunk(chunk.ticket(), chunk.word));
        };
        if self.inlet.rules.keeps_places {
            let taken = self.inlet.hold_in_slot(place, self.before);
            return Ok(InHand::Slot(place, taken.ok_or_else(|| self.inlet.impossible())?));
        }
        let chunks = &at.segment.chunks;
        let held = match self.chunk {
            Some(chunk) => in_hand::hold(chunk, self.before, self.inlet.terms(in_place), at.member)
                .ok_or_else(|| self.inlet.impossible())?,
            None => {
                let terms = self.inlet.terms(false);
                let origin = Origin {
                    position: place.position,
                    before: self.before,
                    sender: at.segment.rows.get(self.sender).ok().map(|row| (self.sender, row)),
                };
                let copy = |bytes: &[u8]| {
                    at.with_memory(|| in_hand::hold_copy(chunks, bytes, &origin, terms, at.member))
                };
                match payload::with_copy(&self.payload, copy) {
                    Ok(chunk) => chunk,
                    // Memory may be short because of what waits: it must not keep it waiting.
                    Err(_) => {
                        let taken = self.inlet.hold_in_slot(place, self.before);
                        return Ok(InHand::Slot(place, taken.ok_or_else(|| self.inlet.impossible())?));
                    }
                }
            }
        };
        let hand = InHand::Chunk(held.ticket(), held.word);
        self.let_go();
        Ok(hand)
    }

    /// It stays in the queue, as if it had not been taken.
    #[cold]
    fn put_back(self) {
        match (self.place, self.chunk) {
            (Some(place), _) => self.inlet.leave_there(place),
            (None, Some(chunk)) => {
                chunk.swap(chunk.word.given_back());
                self.inlet.at.segment.tell_news();
            }
            (None, None) => self.cell.into_iter().for_each(|here| self.inlet.give_back_in_cell(here)),
        }
    }

    /// The bytes make no message, for this reason. What doesn't fit the buffer stays.
    #[cold]
    pub(crate) fn unfit(self, unfit: Unfit) -> Refusal {
        let error = match unfit {
            Unfit::TooShort { length, room } => {
                self.put_back();
                return too_long(length as u64, room as u64);
            }
            Unfit::NotText => Error::BadText,
            Unfit::NotDecodable { length, why } => Error::NotDecodable { length: length as u64, why },
            Unfit::WrongLength { .. } => self.inlet.impossible(),
        };
        if self.inlet.rules.dead_letters.is_some() {
            self.inlet.put_away(self, true);
            return error.into();
        }
        if self.inlet.at.segment.geometry.choice.answered() {
            self.leave_unanswered();
        }
        self.consume();
        error.into()
    }
}

impl Inlet {
    /// Ends a message in hand: it is consumed.
    #[inline]
    pub(crate) fn accept(&self, hand: InHand) -> Result<(), Error> {
        let segment = &self.at.segment;
        if !segment.is_ours() {
            return Err(Error::Forked);
        }
        let accepted = match hand {
            InHand::Chunk(ticket, word) => {
                let chunk = segment.chunks.find(ticket).filter(|chunk| chunk.word == word);
                let ours = chunk.and_then(|chunk| chunk.swap(chunk.word.freed())).is_some();
                if ours {
                    self.count_received();
                }
                ours
            }
            InHand::Slot(place, taken) => {
                let ours = segment.slots.taken_by(place, self.at.member) == Some(taken);
                if ours {
                    if let Some(Letter::InChunk(ticket, _)) = segment.slots.words.letter(place) {
                        segment.chunks.swap_if(ticket, |linked| linked.freed()); // first, as by `consume`
                    }
                    self.free(place);
                    self.tell_freed(place);
                }
                ours
            }
        };
        if accepted { Ok(()) } else { Err(self.no_longer(hand)) }
    }

    /// From here on nobody else gets it, also if this receiver has promised not to hold it for long: for a few steps, not for
    /// work. An error: another has it.
    #[inline]
    pub(super) fn hold_on(&self, hand: InHand) -> Result<InHand, Error> {
        match hand {
            InHand::Chunk(ticket, word) if self.rules.longest_hold > 0 => {
                let chunk = self.at.segment.chunks.find(ticket).filter(|chunk| chunk.word == word);
                let held = chunk.and_then(fencing::hold_on).ok_or_else(|| self.no_longer(hand))?;
                Ok(InHand::Chunk(held.ticket(), held.word))
            }
            _ => Ok(hand),
        }
    }

    /// A message is not in hand any more: it was held for too long, or this can't be. If it was read where it is, its memory
    /// is free from now on.
    #[cold]
    pub(super) fn no_longer(&self, hand: InHand) -> Error {
        let segment = &self.at.segment;
        if let InHand::Chunk(ticket, _) = hand {
            fencing::let_go(&segment.chunks, ticket, self.at.member);
        }
        let name = segment.name.to_string();
        match self.rules.longest_hold {
            0 => Error::NotHeld { name },
            longest => Error::HoldExpired { name, longest: Duration::from_millis(longest) },
        }
    }

    /// Who sent a message that is in hand.
    pub(crate) fn sender_of(&self, hand: InHand) -> Peer {
        let segment = &self.at.segment;
        let found = match hand {
            _ if !segment.is_ours() => None,
            InHand::Chunk(ticket, _) => segment.chunks.find(ticket).map(|chunk| member::sender(chunk.entry)),
            // Its place is not free, so the row that it names is no other's yet.
            InHand::Slot(place, _) => segment.rows.get(segment.slots.sender(place)).ok().map(member::peer),
        };
        found.unwrap_or(Peer { pid: 0, name: String::new() })
    }

    /// Gives a message in hand back to the queue: another receiver gets it.
    pub(crate) fn give_back(&self, hand: InHand) {
        let segment = &self.at.segment;
        if !segment.is_ours() {
            return;
        }
        let given = match hand {
            InHand::Chunk(ticket, word) => {
                let chunk = segment.chunks.find(ticket).filter(|chunk| chunk.word == word);
                chunk.and_then(|chunk| chunk.swap(chunk.word.given_back())).is_some()
            }
            InHand::Slot(place, taken) => segment.slots.give_back_one(place, taken),
        };
        if given {
            segment.tell_news();
        } else {
            self.no_longer(hand);
        }
    }
}

impl super::Attachment {
    /// Tries for memory again once what is free, or the dead had, was given back.
    #[inline]
    pub(super) fn with_memory<'a>(
        &self,
        take: impl Fn() -> Result<Chunk<'a>, NoChunk>,
    ) -> Result<Chunk<'a>, NoChunk> {
        let first = take();
        if first.is_ok() { first } else { self.with_memory_again(take) }
    }

    #[cold]
    fn with_memory_again<'a>(
        &self,
        take: impl Fn() -> Result<Chunk<'a>, NoChunk>,
    ) -> Result<Chunk<'a>, NoChunk> {
        let segment = &self.segment;
        segment.give_back();
        segment.chunks.trim(self.member, false);
        segment.trim_segments(self.member, false);
        take()
    }

    /// Says how much was wanted and what there is.
    #[cold]
    pub(super) fn no_memory(&self, wanted: u64, why: &NoChunk) -> Error {
        let segment = &self.segment;
        match why {
            NoChunk::AllInUse { number, size } => {
                Error::TooManyMessages { length: wanted, longest: *size, max: *number }
            }
            NoChunk::AtCeiling => {
                let (used, ceiling) = (segment.chunks.backed(), segment.geometry.choice.ceiling);
                match segment.memory_below(ceiling) {
                    Some(available) => Error::NoMemory { wanted, available, path: segment.path() },
                    None => Error::AtCeiling { wanted, used, ceiling },
                }
            }
            NoChunk::Os(errno) => crate::domain::no_memory(wanted, &segment.path(), *errno),
        }
    }
}
