//! A sender's end of what stands for a mailbox elsewhere where nothing waits (capacity zero): who sends waits until its message was collected there.
//!
//! There are places, for as many as send at one time, and who hands messages on keeps each until it arrived
//! ([`keep_places`](crate::ReceiverOptions::keep_places)). So each send is one that waits for collection (`collected`), and at a deadline its message is
//! withdrawn, or under way. Whether somebody receives there just now nobody knows here: a `try_send` would wait, always.
//!
//! **What if it dies here?** As for any sender that waits for collection: what it sent may still be collected.

use super::batch::{Batch, Patience};
use super::collected::Uncollected;
use super::outlet::Outlet;
use super::pending::Wait;
use super::tasks::Collection;
use crate::strategy::{Refusal, allow, not_ours};
use std::task::{Context, Poll, ready};
use std::time::Instant;

/// The sender's end.
#[derive(Clone, Debug)]
pub(crate) struct HandedOn(pub(crate) Outlet);

impl HandedOn {
    /// Nobody waits here to receive.
    pub(crate) fn try_send(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let at = &self.0.at;
        if !at.segment.is_ours() {
            return Err(not_ours(&at.segment));
        }
        allow(&at.segment.geometry.choice, bytes.len() as u64)?;
        at.look_for_end()?;
        Err(Refusal::Waiting)
    }

    pub(crate) fn send(&self, bytes: &[u8], deadline: Option<Instant>) -> Result<(), Refusal> {
        self.0.send_collected(bytes, deadline).map_err(Refusal::from)
    }

    pub(crate) fn send_collected(&self, bytes: &[u8], deadline: Option<Instant>) -> Result<(), Uncollected> {
        self.0.send_collected(bytes, deadline)
    }

    /// Each is collected before the next one is sent.
    pub(crate) fn send_batch<'s>(
        &self,
        batch: &mut Batch<impl Fn(usize) -> &'s [u8]>,
        patience: Patience,
    ) -> Result<(), Refusal> {
        while batch.sent < batch.count {
            let bytes = (batch.bytes)(batch.sent);
            match patience {
                Patience::None => self.try_send(bytes)?,
                Patience::Until(deadline) => self.send(bytes, deadline)?,
            }
            batch.sent += 1;
        }
        Ok(())
    }

    /// By a task. Dropped before it is done, the message was collected, or is withdrawn.
    pub(crate) fn poll_send(
        &self,
        wait: &mut Wait,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<(), Refusal>> {
        let sent = wait.handed_on();
        let done =
            ready!(sent.get_or_insert_with(|| Collection::by(self.0.clone()).into()).poll(context, bytes));
        *sent = None;
        Poll::Ready(done.map_err(Refusal::from))
    }

    /// How long its messages may be, for who writes them elsewhere first.
    pub(crate) fn may_lend_so_much(&self, length: usize) -> Result<(), Refusal> {
        Ok(allow(&self.0.at.segment.geometry.choice, length as u64)?)
    }
}
