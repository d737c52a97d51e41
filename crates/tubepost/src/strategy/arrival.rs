//! A message on its way out, whichever strategy brought it, and what is done with it.

use super::Refusal;
use super::shared::taken::{InHand, Taken};
use crate::domain::member::Peer;
use crate::memory::payload::{Payload, Unfit};
use crate::queue::calls::Address;
use crate::queue::in_place::{InPlace, View};
use crate::queue::mapped::Lent;
use std::os::fd::OwnedFd;

/// What is done with a message. (A trait of its own and no closure, so that all of it can be told to
/// be inlined: a message that goes by way of the stack takes twice as long.)
pub(crate) trait With {
    type Result;
    /// It stays in hand.
    const HOLDS: bool = false;
    fn message<A: Arrival>(&mut self, taken: A) -> Result<Self::Result, Refusal>;
}

/// A message in hand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hand {
    Shared(InHand),
    /// Its number among those in this owner's hand.
    Kernel(u64),
    /// Its number in the log, and its mark.
    Filed(super::file::taken::Held),
}

/// A message that was taken: it is consumed, kept in hand, or no message at all.
pub(crate) trait Arrival: Sized {
    type Payload: Payload + ?Sized;

    /// It is this receiver's for good, if its sender does not want it back. Before it is read.
    #[inline(always)]
    fn claim(&mut self) -> bool {
        true
    }
    fn payload(&self) -> &Self::Payload;
    fn position(&self) -> u64;
    /// How often it was delivered before.
    fn redelivered(&self) -> u32;
    fn sender(&self) -> Peer;
    /// Whether it may be taken out of this receiver's hand: then what is with it, too.
    fn may_be_lost(&self) -> bool;
    /// Asks the processor for what an answer will write.
    fn fetch_for_answer(&self, address: Address);
    /// Where the answer goes, if this is a question.
    fn address(&self) -> Address;
    /// A question is received without being answered: its caller is told.
    fn leave_unanswered(&self);
    /// The message was read. Says whether it was this receiver's still.
    fn consume(self) -> bool;
    /// The descriptors that came with it.
    #[inline(always)]
    fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        Vec::new()
    }
    /// Whether it can be looked at where it is, as long as it is in hand.
    fn is_in_place(&self) -> bool;
    fn in_place<H: ?Sized>(&self, view: View<H>) -> Option<Result<InPlace<H>, Unfit>>;
    /// Keeps the message in hand until it is accepted or given back. `in_place`: it is read where it is.
    fn hold(self, in_place: bool) -> Result<Hand, Refusal>;
    /// The bytes make no message, for this reason. What doesn't fit the buffer stays.
    fn unfit(self, unfit: Unfit) -> Refusal;
}

impl<'a> Arrival for Taken<'a> {
    type Payload = Lent<'a>;

    #[inline(always)]
    fn payload(&self) -> &Lent<'a> {
        &self.payload
    }

    #[inline(always)]
    fn position(&self) -> u64 {
        Taken::position(self)
    }

    #[inline(always)]
    fn redelivered(&self) -> u32 {
        Taken::redelivered(self)
    }

    #[inline(always)]
    fn sender(&self) -> Peer {
        Taken::sender(self)
    }

    #[inline(always)]
    fn may_be_lost(&self) -> bool {
        Taken::may_be_lost(self)
    }

    #[inline(always)]
    fn fetch_for_answer(&self, address: Address) {
        Taken::fetch_for_answer(self, address);
    }

    #[inline(always)]
    fn address(&self) -> Address {
        Taken::address(self)
    }

    #[inline(always)]
    fn leave_unanswered(&self) {
        Taken::leave_unanswered(self);
    }

    #[inline(always)]
    fn consume(self) -> bool {
        Taken::consume(self)
    }

    #[inline(always)]
    fn is_in_place(&self) -> bool {
        Taken::is_in_place(self)
    }

    #[inline(always)]
    fn in_place<H: ?Sized>(&self, view: View<H>) -> Option<Result<InPlace<H>, Unfit>> {
        Taken::in_place(self, view)
    }

    #[inline(always)]
    fn hold(self, in_place: bool) -> Result<Hand, Refusal> {
        Taken::hold(self, in_place).map(Hand::Shared)
    }

    #[inline(always)]
    fn unfit(self, unfit: Unfit) -> Refusal {
        Taken::unfit(self, unfit)
    }
}
