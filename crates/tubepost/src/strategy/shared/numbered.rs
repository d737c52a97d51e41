//! Sending by number: a sender is told the place of its message in the order of the mailbox, and may ask, then or much later, whether it was
//! collected; also one that was opened after the first one died.
//!
//! The slot is the acknowledgement, as for a synchronous send (`queue::collected`): the message is collected once its state is beyond that turn. But the
//! message is not an awaited one: nobody withdraws it.

use super::outlet::Outlet;
use super::pending::Wait;
use super::tasks::{failed, now};
use crate::queue::slots::Place;
use crate::strategy::{Refusal, not_ours};
use std::task::{Context, Poll};

impl Outlet {
    /// Whether messages have a place of their own before they are collected.
    pub(crate) fn numbers(&self) -> bool {
        self.at.segment.handoff.is_none()
    }

    /// Sends if there is room now, and says where.
    pub(crate) fn try_send_numbered(&self, bytes: &[u8]) -> Result<u64, Refusal> {
        self.post::<false>(bytes).map(|place: Place| place.position)
    }

    /// Sends when there is room, and says where.
    pub(crate) fn poll_send_numbered(
        &self,
        wait: &mut Wait,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<u64, Refusal>> {
        let attempt = || now(self.try_send_numbered(bytes));
        if let Some(done) = attempt() {
            wait.leave();
            return Poll::Ready(done);
        }
        wait.poll(&self.at, context, attempt, || self.look_before_waiting().map_err(Err), failed)
    }

    /// Whether the message with this number was collected, or skipped; also if the mailbox is closed.
    pub(crate) fn is_collected(&self, number: u64) -> bool {
        let segment = &self.at.segment;
        segment.is_ours() && segment.visiting(|| segment.slots.is_over(segment.slots.place(number)))
    }

    /// Comes back when the message with this number was collected; an error: the mailbox was closed before.
    pub(crate) fn poll_collected(
        &self,
        wait: &mut Wait,
        context: &mut Context<'_>,
        number: u64,
    ) -> Poll<Result<(), Refusal>> {
        let at = &self.at;
        if !at.segment.is_ours() {
            return Poll::Ready(Err(not_ours(&at.segment)));
        }
        let collected = || self.is_collected(number).then_some(Ok(()));
        if let Some(done) = collected() {
            wait.leave();
            return Poll::Ready(done);
        }
        wait.poll(at, context, collected, || at.look_for_end().map_err(Err), failed)
    }
}
