//! Receiving, sending, and waiting for a collection or the end, for tasks: what blocks a thread elsewhere is `Pending`
//! here.

use super::collected::{Uncollected, free_withdrawn};
use super::inlet::Inlet;
use super::loaned::Lease;
use super::outlet::Outlet;
use super::pending::Wait;
use crate::error::{Closed, Error};
use crate::queue::slots::Place;
use crate::strategy::{Refusal, With, not_ours};
use crate::sync::doors::{END, MESSAGES, ROOM};
use std::task::{Context, Poll, ready};

/// A wait for messages, for room, for the end.
pub(crate) fn for_messages() -> Wait {
    Wait::new(MESSAGES)
}

pub(crate) fn for_room() -> Wait {
    Wait::new(ROOM)
}

pub(crate) fn for_end() -> Wait {
    Wait::new(END)
}

/// What a try came to, unless it would have to wait.
pub(super) fn now<R>(done: Result<R, Refusal>) -> Option<Result<R, Refusal>> {
    if matches!(done, Err(Refusal::Waiting)) { None } else { Some(done) }
}

pub(super) fn failed<R>(error: Error) -> Result<R, Refusal> {
    Err(error.into())
}

impl Inlet {
    /// The next message needs more than the quick way, or there is none.
    #[inline(never)]
    fn poll_slowly<W: With>(
        &self,
        wait: &mut Wait,
        context: &mut Context<'_>,
        with: &mut W,
    ) -> Poll<Result<W::Result, Refusal>> {
        let mut attempt = || now(self.try_slowly(with));
        match attempt() {
            Some(done) => {
                wait.leave();
                Poll::Ready(done)
            }
            None => wait.poll(&self.at, context, attempt, || self.look_before_waiting().map_err(Err), failed),
        }
    }

    /// Takes the next message, and does this with it, when there is one.
    #[inline(always)]
    pub(crate) fn poll_recv<W: With>(
        &self,
        wait: &mut Wait,
        context: &mut Context<'_>,
        with: &mut W,
    ) -> Poll<Result<W::Result, Refusal>> {
        match self.try_quickly(with) {
            Some(done) => {
                wait.leave();
                Poll::Ready(done)
            }
            None => self.poll_slowly(wait, context, with),
        }
    }
}

impl Outlet {
    /// Sends when there is room.
    #[inline]
    pub(crate) fn poll_send(
        &self,
        wait: &mut Wait,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<(), Refusal>> {
        if wait.offers() {
            return self.poll_offer(wait, context);
        }
        match self.try_send(bytes) {
            Err(Refusal::Waiting) => self.poll_room(wait, context, bytes),
            done => {
                wait.leave();
                Poll::Ready(done)
            }
        }
    }

    #[cold]
    fn poll_room(
        &self,
        wait: &mut Wait,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<(), Refusal>> {
        if let Some(handoff) = &self.at.segment.handoff {
            wait.keep_offer(self.offer(handoff, bytes)?);
            return self.poll_offer(wait, context);
        }
        let look = || self.look_before_waiting().map_err(Err);
        wait.poll(&self.at, context, || now(self.try_send(bytes)), look, failed)
    }

    /// Sends what was lent when there is room.
    pub(crate) fn poll_lease<H: ?Sized>(
        &self,
        wait: &mut Wait,
        context: &mut Context<'_>,
        lease: &Lease<H>,
    ) -> Poll<Result<(), Refusal>> {
        if wait.offers() {
            return self.poll_offer(wait, context);
        }
        match self.try_send_lease(lease) {
            Err(Refusal::Waiting) => {}
            done => {
                wait.leave();
                return Poll::Ready(done);
            }
        }
        if let Some(handoff) = &self.at.segment.handoff {
            wait.keep_offer(self.offer_lease(handoff, lease)?);
            return self.poll_offer(wait, context);
        }
        let look = || self.look_before_waiting().map_err(Err);
        wait.poll(&self.at, context, || now(self.try_send_lease(lease)), look, failed)
    }

    /// Where nothing waits: comes back when somebody took what this task offers.
    #[cold]
    fn poll_offer(&self, wait: &mut Wait, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        let at = &self.at;
        if !at.segment.is_mapped_here() {
            return Poll::Ready(Err(Error::Forked.into()));
        }
        let Some(offer) = wait.take_offer() else { return Poll::Ready(Ok(())) };
        let stopped = || at.segment.is_disowned().then(|| Err(not_ours(&at.segment)));
        let taken = || offer.is_taken().then_some(Ok(())).or_else(stopped);
        let look = || at.look_for_end().map_err(Err);
        let polled = match taken() {
            Some(done) => {
                wait.leave();
                Poll::Ready(done)
            }
            None => wait.poll(at, context, taken, look, failed),
        };
        match polled {
            Poll::Pending => {
                wait.keep_offer(offer);
                Poll::Pending
            }
            Poll::Ready(Err(why)) if offer.withdraw() => Poll::Ready(Err(why)),
            Poll::Ready(_) => Poll::Ready(Ok(())), // somebody has it, whatever else happened
        }
    }

    /// Comes back when the mailbox is closed.
    pub(crate) fn poll_closed(
        &self,
        wait: &mut Wait,
        context: &mut Context<'_>,
    ) -> Poll<Result<Closed, Refusal>> {
        self.at.poll_until_closed(wait, context)
    }
}

/// A message that its sender waits for to be collected. Dropped: it was collected, or is withdrawn.
#[derive(Debug)]
pub(crate) struct Collection {
    outlet: Outlet,
    wait: Wait,
    sent: Option<Place>,
}

impl Collection {
    pub(crate) fn by(outlet: Outlet) -> Collection {
        Collection { outlet, wait: for_room(), sent: None }
    }

    /// Sends when there is room, and comes back when it was collected.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<(), Uncollected>> {
        let outlet = &self.outlet;
        let place = match self.sent {
            Some(place) => place,
            // Where nothing waits, who took it has it.
            None if outlet.at.segment.handoff.is_some() => {
                return outlet.poll_send(&mut self.wait, context, bytes).map_err(Uncollected::from);
            }
            None => {
                let attempt = || now(outlet.post::<true>(bytes));
                let posted = match attempt() {
                    Some(posted) => posted,
                    None => {
                        let look = || outlet.look_before_waiting().map_err(Err);
                        ready!(self.wait.poll(&outlet.at, context, attempt, look, failed))
                    }
                };
                *self.sent.insert(posted?)
            }
        };
        let done = ready!(self.poll_collected(context, place));
        self.sent = None;
        let outlet = &self.outlet;
        Poll::Ready(match done {
            Ok(()) => Ok(()),
            Err(Refusal::Closed(closed)) => outlet.fate(place, closed),
            // It can't be waited for, so it must not be collected later.
            Err(Refusal::Failed(error)) if outlet.at.segment.is_ours() => {
                match outlet.withdraw(place, free_withdrawn) {
                    Err(Uncollected::Refused(Refusal::Waiting)) => {
                        Err(Uncollected::Refused(Refusal::Failed(error)))
                    }
                    other => other,
                }
            }
            Err(other) => Err(Uncollected::Refused(other)),
        })
    }

    fn poll_collected(&mut self, context: &mut Context<'_>, place: Place) -> Poll<Result<(), Refusal>> {
        let at = &self.outlet.at;
        if !at.segment.is_ours() {
            return Poll::Ready(Err(not_ours(&at.segment)));
        }
        let over = || at.is_over(place).then_some(Ok(()));
        if let Some(collected) = over() {
            self.wait.leave();
            return Poll::Ready(collected);
        }
        let look = || at.look_for_end().map_err(Err);
        self.wait.poll(at, context, over, look, failed)
    }
}

impl Drop for Collection {
    fn drop(&mut self) {
        if let Some(place) = self.sent.take()
            && self.outlet.at.segment.is_ours()
        {
            let _ = self.outlet.withdraw(place, free_withdrawn); // collected, withdrawn, or the mailbox is closed
        }
    }
}
