//! Capacity zero: a message that is offered by a task, which does not wait for it as a thread does.
//!
//! The protocol is in `queue::handoff`. **What if it dies here?** What the dead offer is free: they have sent nothing.

use super::Attachment;
use super::outlet::Outlet;
use crate::queue::cells::Mapped;
use crate::queue::chunks::{Chunk, Ticket, Use, Word};
use crate::queue::handoff::Handoff;
use crate::strategy::Refusal;
use std::sync::Arc;

/// A message that is offered by a task. Dropped: it was taken, or never will be.
#[derive(Debug)]
pub(crate) struct Offer {
    at: Arc<Attachment>,
    ticket: Ticket,
    word: Word,
    /// What becomes of its chunk when it is taken back.
    in_vain: Use,
}

impl Offer {
    fn linked(&self) -> Option<Chunk<'_>> {
        let chunk = self.at.segment.chunks.find(self.ticket);
        chunk.filter(|chunk| chunk.word == self.word)
    }

    /// Whether a receiver has it.
    pub(super) fn is_taken(&self) -> bool {
        self.linked().is_none()
    }

    /// Takes it back. `false`: somebody took it.
    pub(super) fn withdraw(&self) -> bool {
        self.linked().is_some_and(|chunk| {
            let back = match self.in_vain {
                Use::Own => chunk.word.to(Use::Own, self.at.member),
                _ => chunk.word.freed(),
            };
            chunk.swap(back).is_some()
        })
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if self.at.segment.is_mapped_here() {
            self.withdraw();
        }
    }
}

impl Outlet {
    /// Offers a message, and does not wait until it is taken.
    pub(super) fn offer(&self, handoff: &Handoff<Mapped>, bytes: &[u8]) -> Result<Offer, Refusal> {
        Ok(self.offer_filled(handoff, self.fill(bytes)?, Use::Free))
    }

    /// The same with a chunk that is ours, and is put to that use if nobody takes it.
    pub(super) fn offer_filled(&self, handoff: &Handoff<Mapped>, chunk: Chunk<'_>, in_vain: Use) -> Offer {
        let linked = self.post_offer(handoff, chunk);
        Offer { at: Arc::clone(&self.at), ticket: linked.ticket(), word: linked.word, in_vain }
    }
}
