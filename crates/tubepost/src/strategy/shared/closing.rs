//! Waiting for the end of a mailbox, by those who send there.

use super::Attachment;
use super::pending::Wait;
use super::tasks::failed;
use crate::domain::cleanup;
use crate::error::Closed;
use crate::strategy::{Refusal, not_ours};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

impl Attachment {
    /// Waits until the mailbox is closed, at most until the deadline.
    pub(crate) fn until_closed(self: &Arc<Self>, deadline: Option<Instant>) -> Result<Closed, Refusal> {
        if !self.segment.is_ours() {
            return Err(not_ours(&self.segment));
        }
        let done = self.segment.end().wait(
            deadline,
            || self.segment.is_closed().then(|| Ok(cleanup::finish(&self.segment))),
            || match self.look_for_owner() {
                Err(Refusal::Closed(closed)) => Err(Ok(closed)),
                Err(other) => Err(Err(other)),
                Ok(patience) => Ok(patience),
            },
        );
        done.unwrap_or(Err(Refusal::Waiting))
    }

    /// The same for a task.
    pub(crate) fn poll_until_closed(
        self: &Arc<Self>,
        wait: &mut Wait,
        context: &mut Context<'_>,
    ) -> Poll<Result<Closed, Refusal>> {
        if !self.segment.is_ours() {
            return Poll::Ready(Err(not_ours(&self.segment)));
        }
        let over = || self.segment.is_closed().then(|| Ok(cleanup::finish(&self.segment)));
        if let Some(closed) = over() {
            wait.leave();
            return Poll::Ready(closed);
        }
        wait.poll(self, context, over, || self.look_for_owner().map_err(Err), failed)
    }

    /// Whether it is closed, or its owner is gone.
    pub(crate) fn is_closed(&self) -> bool {
        if !self.segment.is_ours() {
            return self.segment.is_disowned();
        }
        if self.segment.is_closed() {
            return true;
        }
        let gone = self.segment.is_over();
        if gone {
            self.buried(); // so that every later call says the same
        }
        gone
    }
}
