//! A task that waits: it tries; it arms the door, and looks again; then it is woken, and tries again.
//!
//! Nothing here knows what is tried. What is done before a sleep of a thread's is done before a task waits, too: to look
//! after the dead, and to have those watched who might die. **Dropped** means gone: whatever was tried came to nothing, and the
//! last one who waits at a door disarms it.

use super::Attachment;
use super::door::Ticket;
use super::offer::Offer;
use super::tasks::Collection;
use crate::error::Error;
use crate::strategy::kernel;
use crate::sync::wait::SLICE;
use crate::sync::watch;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Who meets something to do so often in a row lets others go first.
const TRIES: u32 = 8;

/// What one task waits for. (Most calls need not wait: then this is to cost them next to nothing.)
#[derive(Debug)]
pub(crate) struct Wait {
    reason: u32,
    waiting: Option<Box<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    ticket: Option<Ticket>,
    /// Where nothing waits: the message that this task offers meanwhile.
    offer: Option<Offer>,
    /// On the kernel strategy, instead of either.
    here: Option<kernel::waiting::Ticket>,
    collection: Option<kernel::collected::Collection>,
    /// What stands for a mailbox elsewhere where nothing waits: the message that was sent.
    handed_on: Option<Box<Collection>>,
}

impl Wait {
    #[inline(always)]
    pub(crate) fn new(reason: u32) -> Wait {
        Wait { reason, waiting: None }
    }

    /// Whether this task offers a message.
    pub(super) fn offers(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.offer.is_some())
    }

    pub(super) fn take_offer(&mut self) -> Option<Offer> {
        self.waiting.as_mut()?.offer.take()
    }

    pub(super) fn keep_offer(&mut self, offer: Offer) {
        self.now_waiting().offer = Some(offer);
    }

    pub(in crate::strategy) fn ticket_here(&mut self) -> &mut Option<kernel::waiting::Ticket> {
        &mut self.now_waiting().here
    }

    pub(in crate::strategy) fn collection_here(&mut self) -> &mut Option<kernel::collected::Collection> {
        &mut self.now_waiting().collection
    }

    pub(super) fn handed_on(&mut self) -> &mut Option<Box<Collection>> {
        &mut self.now_waiting().handed_on
    }

    fn now_waiting(&mut self) -> &mut Waiting {
        let nothing = || Waiting { ticket: None, offer: None, here: None, collection: None, handed_on: None };
        self.waiting.get_or_insert_with(|| Box::new(nothing()))
    }

    /// Waits until `attempt`, which came to nothing a moment ago, gives something. `look` is asked before each wait, as by
    /// [`Bell::wait`](crate::sync::wait::Bell::wait); `failed` says what it is that one can't wait.
    pub(crate) fn poll<R>(
        &mut self,
        at: &Arc<Attachment>,
        context: &mut Context<'_>,
        mut attempt: impl FnMut() -> Option<R>,
        mut look: impl FnMut() -> Result<Duration, R>,
        failed: impl FnOnce(Error) -> R,
    ) -> Poll<R> {
        if let Err(error) = self.enter(at, context) {
            self.leave();
            return Poll::Ready(failed(error));
        }
        for _ in 0..TRIES {
            at.arm(self.reason);
            match attempt().map_or_else(&mut look, Err) {
                Err(done) => {
                    self.leave();
                    return Poll::Ready(done);
                }
                Ok(Duration::ZERO) => {}
                Ok(longest) => {
                    if longest < SLICE {
                        watch::tick_first_in(longest);
                    }
                    return Poll::Pending;
                }
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// It waits no more.
    #[inline]
    pub(crate) fn leave(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            waiting.ticket = None;
            waiting.here = None;
        }
    }

    fn enter(&mut self, at: &Arc<Attachment>, context: &Context<'_>) -> Result<(), Error> {
        let reason = self.reason;
        let waiting = self.now_waiting();
        let done = match &waiting.ticket {
            Some(ticket) => ticket.renew(context.waker()),
            None => at.door()?.enter(context.waker(), reason).map(|ticket| waiting.ticket = Some(ticket)),
        };
        done.map_err(|errno| {
            crate::domain::failed("to have this task woken by a socket for", &at.segment.path(), errno)
        })
    }
}
