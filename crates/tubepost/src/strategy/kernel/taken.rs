//! A message between its connection and its receiver: consumed, kept in hand, or put back.

use super::desk::{Desk, Fresh, Letter, Next};
use super::inlet::Inlet;
use crate::domain::member::{self, Peer};
use crate::domain::segment::Segment;
use crate::error::Error;
use crate::memory::packet::Body;
use crate::memory::payload::Unfit;
use crate::queue::calls::Address;
use crate::queue::in_place::{InPlace, View};
use crate::queue::layout::SENDER;
use crate::strategy::{Arrival, Hand, Refusal};
use std::os::fd::OwnedFd;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering::Relaxed;

/// A message that was taken. The owner's other threads wait until it was dealt with.
pub(super) struct Taken<'a> {
    inlet: &'a Inlet,
    desk: MutexGuard<'a, Desk>,
    /// Nothing once it was dealt with.
    next: Option<Next>,
}

impl<'a> Taken<'a> {
    pub(super) fn new(inlet: &'a Inlet, desk: MutexGuard<'a, Desk>, next: Next) -> Taken<'a> {
        Taken { inlet, desk, next: Some(next) }
    }

    /// It is in the caller's hand.
    #[inline]
    fn leave(mut self, keep: impl FnOnce(&mut Desk, Letter) -> Option<u64>) -> Option<u64> {
        let segment = self.inlet.segment();
        let desk = &mut *self.desk;
        let letter = match self.next.take()? {
            Next::Back(letter) => letter,
            Next::Fresh(fresh) => {
                segment.one_less_waits();
                desk.deliver(fresh, nobody(), u32::MAX, segment)
            }
        };
        let kept = keep(desk, letter);
        if kept.is_none() {
            segment.header().sockets.received.fetch_add(1, Relaxed);
        }
        kept
    }

    /// Who is at the other end of a connection; of a pair, by its own word, for the kernel knows who made it.
    fn sender_by(&self, line: u64) -> Peer {
        let segment = self.inlet.segment();
        match segment.bound().and_then(|_| segment.rows.get(SENDER).ok()) {
            Some(row) => member::peer(row),
            None => self.desk.sender(line),
        }
    }

    /// What came by a connection has a sender, and stays with its owner from now on.
    fn is_delivered(&mut self) {
        self.next = match self.next.take() {
            Some(Next::Fresh(fresh)) => {
                let segment = self.inlet.segment();
                segment.one_less_waits();
                let (sender, user) = (self.sender_by(fresh.line), self.desk.user(fresh.line));
                Some(Next::Back(self.desk.deliver(fresh, sender, user, segment)))
            }
            other => other,
        };
    }
}

impl Desk {
    /// A message is in the caller's hand.
    #[inline]
    fn deliver(&mut self, fresh: Fresh, sender: Peer, user: u32, segment: &Segment) -> Letter {
        self.received(&fresh, segment);
        self.seq += 1;
        let seq = self.seq - 1;
        Letter { body: fresh.body, descriptors: fresh.descriptors, seq, sender, user, before: 0 }
    }
}

fn nobody() -> Peer {
    Peer { pid: 0, name: String::new() }
}

impl Drop for Taken<'_> {
    /// It was not dealt with: it stays, as if it had not been taken.
    fn drop(&mut self) {
        match self.next.take() {
            Some(Next::Fresh(fresh)) if fresh.body.is_gone() => {
                self.desk.received(&fresh, self.inlet.segment())
            }
            Some(Next::Fresh(fresh)) => self.desk.put_back(fresh),
            Some(Next::Back(letter)) => {
                self.desk.back.insert(letter.seq, letter);
                self.desk.tell_back(self.inlet.segment());
            }
            None => {}
        }
        self.inlet.pass_on(&mut self.desk);
    }
}

impl Arrival for Taken<'_> {
    type Payload = Body;

    #[inline]
    fn claim(&mut self) -> bool {
        let Some(Next::Fresh(fresh)) = &mut self.next else { return true };
        if std::mem::take(&mut fresh.awaited) && !self.desk.claim(fresh, self.inlet.segment()) {
            self.next = None;
            return false;
        }
        true
    }

    #[inline]
    fn payload(&self) -> &Body {
        const NONE: &Body = &Body::Here(Vec::new());
        match &self.next {
            Some(Next::Fresh(fresh)) => &fresh.body,
            Some(Next::Back(letter)) => &letter.body,
            None => NONE,
        }
    }

    fn position(&self) -> u64 {
        match &self.next {
            Some(Next::Back(letter)) => letter.seq,
            _ => self.desk.seq,
        }
    }

    fn redelivered(&self) -> u32 {
        match &self.next {
            Some(Next::Back(letter)) => letter.before.into(),
            _ => 0,
        }
    }

    fn sender(&self) -> Peer {
        match &self.next {
            Some(Next::Fresh(fresh)) => self.sender_by(fresh.line),
            Some(Next::Back(letter)) => letter.sender.clone(),
            None => nobody(),
        }
    }

    fn may_be_lost(&self) -> bool {
        false
    }

    fn fetch_for_answer(&self, _: Address) {}

    fn address(&self) -> Address {
        Address::NOBODY
    }

    fn leave_unanswered(&self) {}

    #[inline]
    fn consume(self) -> bool {
        self.leave(|desk, letter| {
            if let Body::Here(bytes) = letter.body {
                desk.room = bytes; // for the next one
            }
            None
        });
        true
    }

    fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        match &mut self.next {
            Some(Next::Fresh(fresh)) => std::mem::take(&mut fresh.descriptors),
            Some(Next::Back(letter)) => std::mem::take(&mut letter.descriptors),
            None => Vec::new(),
        }
    }

    fn is_in_place(&self) -> bool {
        false
    }

    fn in_place<H: ?Sized>(&self, _: View<H>) -> Option<Result<InPlace<H>, Unfit>> {
        None
    }

    fn hold(mut self, _: bool) -> Result<Hand, Refusal> {
        self.is_delivered();
        let segment = self.inlet.segment();
        let kept = self.leave(|desk, letter| {
            let number = desk.next_hand;
            desk.next_hand += 1;
            desk.held.insert(number, letter);
            desk.tell_back(segment);
            Some(number)
        });
        Ok(Hand::Kernel(kept.expect("it was just kept")))
    }

    #[cold]
    fn unfit(mut self, unfit: Unfit) -> Refusal {
        let error = match unfit {
            // It stays. (One that comes again counts as delivered.)
            Unfit::TooShort { length, room } => {
                // Where nothing waits it was taken from its sender all the same.
                if self.inlet.meets() {
                    if !self.claim() {
                        return Refusal::Waiting;
                    }
                    if let Some(Next::Fresh(fresh)) = &mut self.next {
                        fresh.body.fetch();
                    }
                    self.is_delivered();
                }
                if let Some(Next::Back(letter)) = &mut self.next {
                    letter.before = letter.before.saturating_add(1);
                }
                return Error::TooLong { length: length as u64, max: room as u64 }.into();
            }
            Unfit::NotText => Error::BadText,
            Unfit::NotDecodable { length, why } => Error::NotDecodable { length: length as u64, why },
            Unfit::WrongLength { .. } => Error::Damaged {
                name: self.inlet.segment().name.to_string(),
                what: "a message has an impossible length; it was dropped".into(),
            },
        };
        let inlet = self.inlet;
        if inlet.dead_letters().is_some() {
            self.is_delivered();
            let mut put = None;
            self.leave(|_, letter| {
                put = Some(letter);
                Some(0) // it is counted where it goes
            });
            if let Some(letter) = put {
                inlet.put_away(letter);
            }
            return error.into();
        }
        self.consume();
        error.into()
    }
}

impl Inlet {
    /// Ends a message in hand: it is consumed.
    pub(crate) fn accept(&self, number: u64) -> Result<(), Error> {
        let segment = self.segment();
        if !segment.is_ours() {
            return Err(Error::Forked);
        }
        let mut desk = self.desk();
        let found = desk.held.remove(&number);
        desk.tell_back(segment);
        match found {
            Some(_) => {
                segment.header().sockets.received.fetch_add(1, Relaxed);
                Ok(())
            }
            None => Err(Error::NotHeld { name: segment.name.to_string() }),
        }
    }

    /// Ends a message in hand: nobody gets it again.
    pub(crate) fn reject(&self, number: u64) -> Result<(), Error> {
        let segment = self.segment();
        if !segment.is_ours() {
            return Err(Error::Forked);
        }
        let letter = {
            let mut desk = self.desk();
            let found = desk.held.remove(&number);
            desk.tell_back(segment);
            found.ok_or_else(|| Error::NotHeld { name: segment.name.to_string() })?
        };
        self.put_away(letter);
        Ok(())
    }

    /// Gives a message in hand back to the queue.
    pub(crate) fn give_back(&self, number: u64) {
        let segment = self.segment();
        if !segment.is_ours() {
            return;
        }
        let mut desk = self.desk();
        if let Some(mut letter) = desk.held.remove(&number) {
            letter.before = letter.before.saturating_add(1);
            if !self.is_over() {
                desk.back.insert(letter.seq, letter);
            }
        }
        desk.tell_back(segment);
        self.pass_on(&mut desk);
    }

    /// The descriptors of a message in hand, which it has no more then.
    pub(crate) fn take_descriptors(&self, number: u64) -> Vec<OwnedFd> {
        if !self.segment().is_ours() {
            return Vec::new();
        }
        self.desk()
            .held
            .get_mut(&number)
            .map_or_else(Vec::new, |letter| std::mem::take(&mut letter.descriptors))
    }

    pub(crate) fn sender_of(&self, number: u64) -> Peer {
        if !self.segment().is_ours() {
            return nobody();
        }
        self.desk().held.get(&number).map_or_else(nobody, |letter| letter.sender.clone())
    }

    /// Moves a message to the dead letters, or away. If there is no room there it waits, for nobody else.
    #[cold]
    pub(super) fn put_away(&self, letter: Letter) {
        let header = self.segment().header();
        let Some(letters) = self.dead_letters() else {
            header.discarded.fetch_add(1, Relaxed);
            header.sockets.received.fetch_add(1, Relaxed);
            return;
        };
        if letters.try_send(letter.body.bytes()).is_ok() {
            header.dead_letters.fetch_add(1, Relaxed);
            header.sockets.received.fetch_add(1, Relaxed);
            return;
        }
        self.no_room_for_dead_letters();
        let mut desk = self.desk();
        desk.shelf.push(letter);
        desk.tell_back(self.segment());
    }
}
