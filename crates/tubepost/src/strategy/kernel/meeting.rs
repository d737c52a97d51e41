//! Capacity zero: a send is done when its receiver says that it has the message.
//!
//! Nothing is stored, so every message is an awaited one ([`collected`](super::collected)): it goes by a connection
//! of its own, without a token, and the sender waits for "collected", or withdraws it.
//!
//! ```text
//! send                              try_send                              a thread that receives
//!                                     a token? else nobody waits            puts a token in, looks, sleeps
//!   sends it, awaited                 sends it, awaited                     takes it out of the connection
//!   waits for "collected"             the same, for at most 100 ms          says "collected"; it has the message
//!   too late: withdraws               withdraws: nobody waits               takes its token out, if it is there still
//! ```
//!
//! **Tokens are a hint** here: there is at most one for each thread that waits to receive. Who takes one and tries in
//! vain does not put it back; the receiver does, before it sleeps again. What counts is who was first at the
//! connection, the owner's "collected" or the sender's withdrawal, and the kernel decides that. So whoever stands
//! still with a token, or while a token of its is there, keeps nobody beyond a deadline.
//!
//! **Two senders and one who waits.** One gets the token. If the other comes without one (it may wait) and is faster,
//! the first one's message is not taken: it is withdrawn 100 ms later, and that try found nobody.
//!
//! **What if it dies here?** A sender with a token: the receiver puts another one in before it sleeps again, within a
//! second. A sender whose message was not taken: it has sent nothing; the owner can't say "collected" any more, and
//! drops it. The owner: what it did not say "collected" to was not sent, and does not count.

use super::collected::Collection;
use super::connection::Connection;
use super::outlet::Outlet;
use super::packet::ANY;
use crate::domain::sockets::END;
use crate::os::tokens;
use crate::strategy::Refusal;
use crate::strategy::shared::batch::Patience;
use crate::strategy::shared::pending::Wait;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// A receiver that waits has taken a message within this time, unless it is stopped.
const TAKING: Duration = Duration::from_millis(100);

/// The owner's threads that wait to receive.
#[derive(Debug)]
pub(super) struct Meeting {
    waiting: Mutex<u64>,
    credit: Arc<OwnedFd>,
}

/// A thread that waits, until this is dropped.
pub(super) struct Present<'a>(&'a Meeting);

impl Meeting {
    pub(super) fn by(credit: &Arc<OwnedFd>) -> Meeting {
        Meeting { waiting: Mutex::new(0), credit: Arc::clone(credit) }
    }

    pub(super) fn come(&self) -> Present<'_> {
        let mut waiting = self.waiting();
        *waiting += 1;
        self.settle(*waiting);
        Present(self)
    }

    fn waiting(&self) -> MutexGuard<'_, u64> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As many tokens as there are threads that wait. Senders only take them.
    fn settle(&self, waiting: u64) {
        let credit = self.credit.as_fd();
        let there = tokens::count(credit);
        for _ in there..waiting {
            let _ = tokens::put(credit, ANY); // without room for all of them there are enough
        }
        for _ in waiting..there {
            if let Ok(END) = tokens::take(credit) {
                let _ = tokens::put(credit, END);
                return;
            }
        }
    }
}

impl Present<'_> {
    /// Puts a token in if a sender took it and came to nothing.
    pub(super) fn renew(&self) {
        self.0.settle(*self.0.waiting());
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        *waiting -= 1;
        self.0.settle(*waiting);
    }
}

impl Connection {
    /// Whether nothing is stored: sender and receiver meet.
    #[inline]
    pub(super) fn meets(&self) -> bool {
        self.segment.geometry.choice.capacity == 0
    }
}

impl Outlet {
    /// Sends when a receiver takes it, in time.
    pub(super) fn meet(
        &self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        patience: Patience,
    ) -> Result<(), Refusal> {
        let deadline = match patience {
            Patience::Until(deadline) if deadline.is_none_or(|end| Instant::now() < end) => deadline,
            Patience::Until(_) | Patience::None => {
                let at = self.connection();
                if at.take_token()?.is_none() {
                    return Err(at.full());
                }
                Instant::now().checked_add(TAKING)
            }
        };
        self.send_awaited(bytes, descriptors, deadline).map_err(Refusal::from)
    }

    /// The same by a task, which offers the message meanwhile.
    pub(super) fn poll_meet(
        &self,
        wait: &mut Wait,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<(), Refusal>> {
        let offer = wait.collection_here();
        let done = ready!(offer.get_or_insert_with(|| Collection::by(self)).poll(context, bytes));
        *offer = None;
        Poll::Ready(done.map_err(Refusal::from))
    }
}
