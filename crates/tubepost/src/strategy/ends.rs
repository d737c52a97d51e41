//! The two ends of a mailbox, whichever strategy it has: one branch, then the strategy's own.
//!
//! What only memory that is shared can do is asked of [`Outlet::shared`] and [`Inlet::shared`], which say so where there is none.

use super::Refusal;
use super::arrival::{Hand, With};
use super::file;
use super::kernel;
use super::shared;
use super::shared::attach::{Opened, Wish};
use super::shared::batch::{Batch, Collect, Patience};
use super::shared::collected::Uncollected;
use super::shared::handed_on::HandedOn;
use super::shared::pending::Wait;
use super::shared::rules::Rules;
use crate::domain::entry::Plan;
use crate::domain::member::Peer;
use crate::domain::segment::{Id, Segment};
use crate::domain::stat::Stat;
use crate::error::{Closed, Error};
use crate::queue::calls::Address;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

/// A sender's end.
#[derive(Clone, Debug)]
pub(crate) enum Outlet {
    Shared(shared::outlet::Outlet),
    Kernel(kernel::outlet::Outlet),
    File(Box<file::outlet::Outlet>),
    /// What stands for a mailbox elsewhere where nothing waits.
    HandedOn(Box<HandedOn>),
}

/// A receiver's end.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "shared memory's is reached without a step more, and has no room to spare for the other"
)]
pub(crate) enum Inlet {
    Shared(shared::inlet::Inlet),
    Kernel(Box<kernel::inlet::Inlet>),
    File(Box<file::inlet::Inlet>),
}

#[cold]
fn only_shared(what: &'static str) -> Error {
    Error::BadOption {
        what,
        given: "of a mailbox of the kernel, the sealed or the file strategy".into(),
        allowed: "only of the shared strategy; own the mailbox, or set up the link, with that".into(),
    }
}

impl Outlet {
    pub(crate) fn open(wish: &Wish<'_>) -> Result<Outlet, Error> {
        match shared::outlet::Outlet::open(wish) {
            Ok(Opened::Here(outlet)) if outlet.at.segment.geometry.choice.filed => {
                Ok(Outlet::File(Box::new(file::outlet::Outlet::of(outlet.at, wish.member)?)))
            }
            Ok(Opened::Here(outlet)) if outlet.at.segment.geometry.choice.handed_on => {
                Ok(Outlet::HandedOn(Box::new(HandedOn(outlet))))
            }
            Ok(Opened::Here(outlet)) => Ok(Outlet::Shared(outlet)),
            Err(Error::NoSuchName { .. }) if file::awake(wish)? => Outlet::open(wish),
            Ok(Opened::Elsewhere) => kernel::outlet::Outlet::open(wish).map(Outlet::Kernel),
            // It need not be writable for us.
            Err(denied @ Error::Denied { .. }) => match kernel::outlet::Outlet::open(wish) {
                Err(Error::Denied { .. }) => Err(denied),
                done => done.map(Outlet::Kernel),
            },
            Err(error) => Err(error),
        }
    }

    /// Where it is shared memory.
    #[inline]
    pub(crate) fn shared(&self, what: &'static str) -> Result<&shared::outlet::Outlet, Error> {
        match self {
            Outlet::Shared(outlet) => Ok(outlet),
            Outlet::HandedOn(outlet) => Ok(&outlet.0),
            Outlet::Kernel(_) | Outlet::File(_) => Err(only_shared(what)),
        }
    }

    /// What is of the kernel strategy for sure.
    pub(crate) fn kernel(&self) -> &kernel::outlet::Outlet {
        match self {
            Outlet::Kernel(outlet) => outlet,
            Outlet::Shared(_) | Outlet::File(_) | Outlet::HandedOn(_) => {
                unreachable!("what shares memory has a door")
            }
        }
    }

    /// What a lease is of.
    #[inline]
    pub(crate) fn lender(&self) -> &shared::outlet::Outlet {
        match self {
            Outlet::Shared(outlet) => outlet,
            Outlet::HandedOn(outlet) => &outlet.0,
            Outlet::Kernel(_) | Outlet::File(_) => unreachable!("only shared memory is lent"),
        }
    }

    pub(crate) fn segment(&self) -> &Segment {
        match self {
            Outlet::Shared(outlet) => &outlet.at.segment,
            Outlet::Kernel(outlet) => outlet.segment(),
            Outlet::File(outlet) => &outlet.at.segment,
            Outlet::HandedOn(outlet) => &outlet.0.at.segment,
        }
    }

    #[inline]
    pub(crate) fn try_send(&self, bytes: &[u8]) -> Result<(), Refusal> {
        match self {
            Outlet::Shared(outlet) => outlet.try_send(bytes),
            Outlet::Kernel(outlet) => outlet.try_send(bytes),
            Outlet::File(outlet) => outlet.try_send(bytes),
            Outlet::HandedOn(outlet) => outlet.try_send(bytes),
        }
    }

    #[inline(always)]
    pub(crate) fn send(&self, bytes: &[u8], deadline: Option<Instant>) -> Result<(), Refusal> {
        match self {
            Outlet::Shared(outlet) => outlet.send(bytes, deadline),
            Outlet::Kernel(outlet) => outlet.send(bytes, deadline),
            Outlet::File(outlet) => outlet.send(bytes, deadline),
            Outlet::HandedOn(outlet) => outlet.send(bytes, deadline),
        }
    }

    /// Sends with descriptors.
    pub(crate) fn send_with(
        &self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        patience: Patience,
    ) -> Result<(), Refusal> {
        match self {
            Outlet::Kernel(outlet) => outlet.send_with(bytes, descriptors, patience),
            Outlet::Shared(_) | Outlet::File(_) | Outlet::HandedOn(_) => Err(Error::BadOption {
                what: "descriptors with a message",
                given: "of a mailbox of another strategy".into(),
                allowed: "only of the kernel strategy; own the mailbox, or set up the link, with that".into(),
            }
            .into()),
        }
    }

    #[inline]
    pub(crate) fn send_collected(&self, bytes: &[u8], deadline: Option<Instant>) -> Result<(), Uncollected> {
        match self {
            Outlet::Shared(outlet) => outlet.send_collected(bytes, deadline),
            Outlet::Kernel(outlet) => outlet.send_collected(bytes, deadline),
            Outlet::File(outlet) => outlet.send_collected(bytes, deadline),
            Outlet::HandedOn(outlet) => outlet.send_collected(bytes, deadline),
        }
    }

    #[inline]
    pub(crate) fn send_batch<'s>(
        &self,
        batch: &mut Batch<impl Fn(usize) -> &'s [u8]>,
        patience: Patience,
    ) -> Result<(), Refusal> {
        match self {
            Outlet::Shared(outlet) => outlet.send_batch(batch, patience),
            Outlet::Kernel(outlet) => outlet.send_batch(batch, patience),
            Outlet::File(outlet) => outlet.send_batch(batch, patience),
            Outlet::HandedOn(outlet) => outlet.send_batch(batch, patience),
        }
    }

    #[inline]
    pub(crate) fn poll_send(
        &self,
        wait: &mut Wait,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<(), Refusal>> {
        match self {
            Outlet::Shared(outlet) => outlet.poll_send(wait, context, bytes),
            Outlet::Kernel(outlet) => outlet.poll_send(wait, context, bytes),
            Outlet::File(outlet) => outlet.poll_send(wait, context, bytes),
            Outlet::HandedOn(outlet) => outlet.poll_send(wait, context, bytes),
        }
    }

    pub(crate) fn poll_closed(
        &self,
        wait: &mut Wait,
        context: &mut Context<'_>,
    ) -> Poll<Result<Closed, Refusal>> {
        match self {
            Outlet::Shared(outlet) => outlet.poll_closed(wait, context),
            Outlet::Kernel(outlet) => outlet.poll_closed(wait, context),
            Outlet::File(outlet) => outlet.poll_closed(wait, context),
            Outlet::HandedOn(outlet) => outlet.0.poll_closed(wait, context),
        }
    }

    pub(crate) fn closed(&self, deadline: Option<Instant>) -> Result<Closed, Refusal> {
        match self {
            Outlet::Shared(outlet) => outlet.closed(deadline),
            Outlet::Kernel(outlet) => outlet.closed(deadline),
            Outlet::File(outlet) => outlet.closed(deadline),
            Outlet::HandedOn(outlet) => outlet.0.closed(deadline),
        }
    }

    /// Brings to the disk what was sent, where it is kept there.
    pub(crate) fn flush(&self) -> Result<(), Refusal> {
        match self {
            Outlet::File(outlet) => outlet.flush(),
            Outlet::Shared(_) | Outlet::Kernel(_) | Outlet::HandedOn(_) => Ok(()),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Outlet::Shared(outlet) => outlet.is_closed(),
            Outlet::Kernel(outlet) => outlet.is_closed(),
            Outlet::File(outlet) => outlet.is_closed(),
            Outlet::HandedOn(outlet) => outlet.0.is_closed(),
        }
    }

    pub(crate) fn length(&self) -> u64 {
        match self {
            Outlet::Shared(outlet) => outlet.at.length(),
            Outlet::Kernel(outlet) => outlet.length(),
            Outlet::File(outlet) => outlet.length(),
            Outlet::HandedOn(_) => 0, // as where nothing waits
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        match self {
            Outlet::Shared(outlet) => outlet.at.is_full(),
            Outlet::Kernel(outlet) => outlet.is_full(),
            Outlet::File(outlet) => outlet.is_full(),
            Outlet::HandedOn(_) => true,
        }
    }

    pub(crate) fn id(&self) -> Id {
        self.segment().id()
    }

    pub(crate) fn stat(&self) -> Result<Stat, Error> {
        match self {
            Outlet::Shared(outlet) => outlet.at.stat(),
            Outlet::Kernel(outlet) => outlet.stat(),
            Outlet::File(outlet) => outlet.stat(),
            Outlet::HandedOn(outlet) => outlet.0.at.stat(),
        }
    }
}

impl Inlet {
    /// Opens a mailbox that the system owns.
    pub(crate) fn open(
        wish: &Wish<'_>,
        rules: impl FnOnce(u64) -> Result<Rules, Error>,
    ) -> Result<Inlet, Error> {
        let inlet = match shared::inlet::Inlet::open(wish) {
            Err(Error::NoSuchName { .. }) if file::awake(wish)? => shared::inlet::Inlet::open(wish)?,
            done => done?,
        };
        let rules = rules(inlet.at.segment.geometry.choice.max_message)?;
        if inlet.at.segment.geometry.choice.filed {
            return Ok(Inlet::File(Box::new(file::inlet::Inlet::of(Arc::clone(&inlet.at), rules)?)));
        }
        Ok(Inlet::Shared(inlet.obeying(rules)))
    }

    /// Creates a mailbox that this process owns.
    pub(crate) fn own(wish: &Wish<'_>, plan: &Plan<'_>, rules: Rules) -> Result<Inlet, Error> {
        if plan.geometry.choice.kernel {
            return Ok(Inlet::Kernel(Box::new(kernel::inlet::Inlet::own(wish, plan, rules)?)));
        }
        Ok(Inlet::Shared(shared::inlet::Inlet::own(wish, plan)?.obeying(rules)))
    }

    /// What is of the kernel strategy for sure.
    pub(crate) fn kernel(&self) -> &kernel::inlet::Inlet {
        match self {
            Inlet::Kernel(inlet) => inlet,
            Inlet::Shared(_) | Inlet::File(_) => unreachable!("what shares memory has a door"),
        }
    }

    /// Where it is shared memory.
    #[inline]
    pub(crate) fn shared(&self, what: &'static str) -> Result<&shared::inlet::Inlet, Error> {
        match self {
            Inlet::Shared(inlet) => Ok(inlet),
            Inlet::Kernel(_) | Inlet::File(_) => Err(only_shared(what)),
        }
    }

    pub(crate) fn segment(&self) -> &Segment {
        match self {
            Inlet::Shared(inlet) => &inlet.at.segment,
            Inlet::Kernel(inlet) => inlet.segment(),
            Inlet::File(inlet) => &inlet.at.segment,
        }
    }

    #[inline(always)]
    pub(crate) fn try_recv<W: With>(&self, with: W) -> Result<W::Result, Refusal> {
        match self {
            Inlet::Shared(inlet) => inlet.try_recv(with),
            Inlet::Kernel(inlet) => inlet.try_recv(with),
            Inlet::File(inlet) => inlet.try_recv(with),
        }
    }

    #[inline(always)]
    pub(crate) fn recv<W: With>(&self, deadline: Option<Instant>, with: W) -> Result<W::Result, Refusal> {
        match self {
            Inlet::Shared(inlet) => inlet.recv(deadline, with),
            Inlet::Kernel(inlet) => inlet.recv(deadline, with),
            Inlet::File(inlet) => inlet.recv(deadline, with),
        }
    }

    #[inline(always)]
    pub(crate) fn poll_recv<W: With>(
        &self,
        wait: &mut Wait,
        context: &mut Context<'_>,
        with: &mut W,
    ) -> Poll<Result<W::Result, Refusal>> {
        match self {
            Inlet::Shared(inlet) => inlet.poll_recv(wait, context, with),
            Inlet::Kernel(inlet) => inlet.poll_recv(wait, context, with),
            Inlet::File(inlet) => inlet.poll_recv(wait, context, with),
        }
    }

    #[inline]
    pub(crate) fn try_recv_batch(&self, into: &mut impl Collect, most: usize) -> Result<usize, Refusal> {
        match self {
            Inlet::Shared(inlet) => inlet.try_recv_batch(into, most),
            Inlet::Kernel(inlet) => inlet.try_recv_batch(into, most),
            Inlet::File(inlet) => inlet.try_recv_batch(into, most),
        }
    }

    #[inline]
    pub(crate) fn recv_batch(
        &self,
        deadline: Option<Instant>,
        into: &mut impl Collect,
        most: usize,
    ) -> Result<usize, Refusal> {
        match self {
            Inlet::Shared(inlet) => inlet.recv_batch(deadline, into, most),
            Inlet::Kernel(inlet) => inlet.recv_batch(deadline, into, most),
            Inlet::File(inlet) => inlet.recv_batch(deadline, into, most),
        }
    }

    pub(crate) fn close(&self) -> Result<Closed, Error> {
        match self {
            Inlet::Shared(inlet) => inlet.close(),
            Inlet::Kernel(inlet) => inlet.close(),
            Inlet::File(inlet) => inlet.close(),
        }
    }

    pub(crate) fn length(&self) -> u64 {
        match self {
            Inlet::Shared(inlet) => inlet.at.length(),
            Inlet::Kernel(inlet) => inlet.length(),
            Inlet::File(inlet) => inlet.length(),
        }
    }

    /// Whether anything waits; of a link whose sender is gone too, where `length` may not know.
    pub(crate) fn has_any(&self) -> bool {
        match self {
            Inlet::Kernel(inlet) => inlet.has_any(),
            _ => self.length() > 0,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        match self {
            Inlet::Shared(inlet) => inlet.at.is_full(),
            Inlet::Kernel(inlet) => inlet.is_full(),
            Inlet::File(inlet) => inlet.is_full(),
        }
    }

    pub(crate) fn id(&self) -> Id {
        self.segment().id()
    }

    pub(crate) fn stat(&self) -> Result<Stat, Error> {
        match self {
            Inlet::Shared(inlet) => inlet.at.stat(),
            Inlet::Kernel(inlet) => inlet.stat(),
            Inlet::File(inlet) => inlet.stat(),
        }
    }

    #[inline]
    pub(crate) fn accept(&self, hand: Hand) -> Result<(), Error> {
        match (self, hand) {
            (Inlet::Shared(inlet), Hand::Shared(hand)) => inlet.accept(hand),
            (Inlet::Kernel(inlet), Hand::Kernel(number)) => inlet.accept(number),
            (Inlet::File(inlet), Hand::Filed(held)) => inlet.accept(held),
            _ => unreachable!("{ANOTHERS}"),
        }
    }

    pub(crate) fn reject(&self, hand: Hand) -> Result<(), Error> {
        match (self, hand) {
            (Inlet::Shared(inlet), Hand::Shared(hand)) => inlet.reject(hand),
            (Inlet::Kernel(inlet), Hand::Kernel(number)) => inlet.reject(number),
            (Inlet::File(inlet), Hand::Filed(held)) => inlet.reject(held),
            _ => unreachable!("{ANOTHERS}"),
        }
    }

    #[inline]
    pub(crate) fn give_back(&self, hand: Hand) {
        match (self, hand) {
            (Inlet::Shared(inlet), Hand::Shared(hand)) => inlet.give_back(hand),
            (Inlet::Kernel(inlet), Hand::Kernel(number)) => inlet.give_back(number),
            (Inlet::File(inlet), Hand::Filed(held)) => inlet.give_back(held),
            _ => unreachable!("{ANOTHERS}"),
        }
    }

    /// The descriptors of a message in hand, which it has no more then.
    pub(crate) fn take_descriptors(&self, hand: Hand) -> Vec<OwnedFd> {
        match (self, hand) {
            (Inlet::Kernel(inlet), Hand::Kernel(number)) => inlet.take_descriptors(number),
            _ => Vec::new(),
        }
    }

    pub(crate) fn sender_of(&self, hand: Hand) -> Peer {
        match (self, hand) {
            (Inlet::Shared(inlet), Hand::Shared(hand)) => inlet.sender_of(hand),
            (Inlet::Kernel(inlet), Hand::Kernel(number)) => inlet.sender_of(number),
            (Inlet::File(inlet), Hand::Filed(held)) => inlet.sender_of(held),
            _ => unreachable!("{ANOTHERS}"),
        }
    }

    /// Consumes a question in hand that is not answered.
    pub(crate) fn accept_unanswered(&self, hand: Hand, address: Address) -> Result<(), Error> {
        match (self.shared(CALLS)?, hand) {
            (inlet, Hand::Shared(hand)) => inlet.accept_unanswered(hand, address),
            _ => unreachable!("{ANOTHERS}"),
        }
    }

    /// A question in hand is not going to be answered: its caller is told.
    pub(crate) fn tell_unanswered(&self, hand: Hand, address: Address) -> Result<Hand, Error> {
        match (self.shared(CALLS)?, hand) {
            (inlet, Hand::Shared(hand)) => inlet.tell_unanswered(hand, address).map(Hand::Shared),
            _ => unreachable!("{ANOTHERS}"),
        }
    }

    #[inline]
    pub(crate) fn reply(&self, hand: Hand, address: Address, answer: &[u8]) -> Result<(), Error> {
        match (self.shared(CALLS)?, hand) {
            (inlet, Hand::Shared(hand)) => inlet.reply(hand, address, answer),
            _ => unreachable!("{ANOTHERS}"),
        }
    }

    pub(crate) fn is_awaited(&self, address: Address) -> bool {
        matches!(self, Inlet::Shared(inlet) if inlet.is_awaited(address))
    }
}

/// A message of a task's that waits to be collected. Dropped: it was collected, or is withdrawn.
pub(crate) enum Collection<'a> {
    Shared(shared::tasks::Collection),
    Kernel(kernel::collected::Collection),
    File(file::outlet::Collection<'a>),
}

impl<'a> Collection<'a> {
    pub(crate) fn by(outlet: &'a Outlet) -> Collection<'a> {
        match outlet {
            Outlet::Shared(outlet) => Collection::Shared(shared::tasks::Collection::by(outlet.clone())),
            Outlet::HandedOn(outlet) => Collection::Shared(shared::tasks::Collection::by(outlet.0.clone())),
            Outlet::Kernel(outlet) => Collection::Kernel(kernel::collected::Collection::by(outlet)),
            Outlet::File(outlet) => Collection::File(file::outlet::Collection::by(outlet)),
        }
    }

    pub(crate) fn poll(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<(), Uncollected>> {
        match self {
            Collection::Shared(collection) => collection.poll(context, bytes),
            Collection::Kernel(collection) => collection.poll(context, bytes),
            Collection::File(collection) => collection.poll(context, bytes),
        }
    }
}

/// What is not there so far on the kernel strategy.
pub(crate) const CALLS: &str = "calls";
const ANOTHERS: &str = "a message in hand is its own inlet's";
