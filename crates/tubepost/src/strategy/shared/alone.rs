//! Sending where nobody else sends: in a link with a capacity, its sender claims by a plain store.
//!
//! The claim says the same as any other, so all that reads claims is as it is. But a store, unlike a CAS, succeeds
//! also where the queue was closed just before. So here is a word more, and one look at it for each message, in a line that
//! is read anyway:
//!
//! ```text
//! sender, its threads one at a time        who closes, of whatever process
//!   claim = (turn + 1, me)   plain           closing = 1
//!   payload, state = FULL    plain           a barrier on every CPU (`Bell::everybody_sees`)
//!   look whether one has to fence; do it     set the closed bit at tail, as ever
//!   closing = 0: sent                        end: CAS 0 -> tail; the first one's is the tail for everybody
//!   else end: CAS 0 -> behind this message   count what is before `end`
//!        sent if that is before `end`
//! ```
//!
//! Who finds `closing` = 0 looked before the barrier, so its claim is seen by whoever closes. Who finds 1 is told by `end`, which
//! is decided once, whether its message counts. If it does not, nobody looks at it: there is an end before it.
//! Of several threads the favoured one does this (`sync::sole`); what else claims, a batch, a chunk, another thread, holds the same lock, looks at `closing`
//! first, and then claims by CAS: what a plain store has overwritten it can't miss, for whoever overwrote it saw
//! `closing` before it let go of the lock.
//!
//! The lock is held until what was claimed is published, also where there is no capacity, and where nothing waits until it is given or offered. So who
//! has it and says that nothing more is sent
//! (`Attachment::stop_sending`) has all messages before that; who comes later finds that said, and is refused.
//!
//! **What if it dies here?** The sender: as after any claim. Whoever closes: the next one does the same; what was decided stays.

use super::outlet::Outlet;
use super::{Attachment, closed};
use crate::queue::slots::Place;
use crate::strategy::{Refusal, not_ours};
use crate::sync::sole::{Held, Sole};
use std::sync::atomic::Ordering::Relaxed;

impl Outlet {
    /// Sends a message that fits a place, if there is one now.
    #[inline(always)]
    pub(super) fn post_alone<const AWAITED: bool>(
        &self,
        sole: &Sole,
        bytes: &[u8],
    ) -> Result<Place, Refusal> {
        let at = &*self.at;
        let Some(held) = sole.hold_quickly() else { return self.post_in_turn::<AWAITED>(bytes) };
        let Some(place) = at.segment.slots.claim_alone(self.cursor.load(Relaxed), at.member) else {
            drop(held);
            return self.post_in_turn::<AWAITED>(bytes);
        };
        self.put::<AWAITED>(place, bytes);
        if at.segment.is_ending() {
            return at.sent_at_the_end(place);
        }
        Ok(place)
    }

    /// The same, one thread at a time: there is no room, others send too, the first message, or a link without a capacity.
    #[inline(never)]
    pub(super) fn post_in_turn<const AWAITED: bool>(&self, bytes: &[u8]) -> Result<Place, Refusal> {
        let _held = self.hold_claims()?;
        let place = self.claim_next().map_or_else(|| self.claim_later(), Ok)?;
        Ok(self.put::<AWAITED>(place, bytes))
    }

    /// Held, in a link, from before a claim until it is published, or while something is given or offered: others may claim by a store, or say
    /// that nothing more is sent.
    #[inline]
    pub(super) fn hold_claims(&self) -> Result<Option<Held<'_>>, Refusal> {
        let at = &*self.at;
        let Some(sole) = &at.alone else { return Ok(None) };
        let held = sole.hold();
        if at.segment.is_ending() {
            drop(held);
            return Err(closed(&at.segment));
        }
        if !at.segment.is_ours() {
            drop(held);
            return Err(not_ours(&at.segment));
        }
        Ok(Some(held))
    }
}

impl Attachment {
    /// A message was published while somebody closed.
    #[cold]
    fn sent_at_the_end(&self, place: Place) -> Result<Place, Refusal> {
        if self.segment.ends_behind(place.position) { Ok(place) } else { Err(closed(&self.segment)) }
    }
}
