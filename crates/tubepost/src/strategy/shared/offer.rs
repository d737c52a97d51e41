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
        self.linked().is_none() && !self.at.took_back(self.ticket)
    }

    /// Takes it back. `false`: somebody took it.
    pub(super) fn withdraw(&self) -> bool {
        let own = self.word.to(Use::Own, self.at.member);
        let back = if self.in_vain == Use::Own { own } else { self.word.freed() };
        if self.linked().and_then(|chunk| chunk.swap(back)).is_some() {
            return true;
        }
        let taken_back = self.at.took_back(self.ticket);
        if taken_back
            && self.in_vain != Use::Own
            && let Some(chunk) = self.at.segment.chunks.find(self.ticket).filter(|chunk| chunk.word == own)
        {
            chunk.release();
        }
        taken_back
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
        let chunk = self.fill(bytes)?;
        self.offer_filled(handoff, chunk, Use::Free).inspect_err(|_| chunk.release())
    }

    /// The same with a chunk that is ours, and is put to that use if nobody takes it. Where it can't be offered it is ours still.
    pub(super) fn offer_filled(
        &self,
        handoff: &Handoff<Mapped>,
        chunk: Chunk<'_>,
        in_vain: Use,
    ) -> Result<Offer, Refusal> {
        let linked = self.post_offer(handoff, chunk)?;
        Ok(Offer { at: Arc::clone(&self.at), ticket: linked.ticket(), word: linked.word, in_vain })
    }
}
