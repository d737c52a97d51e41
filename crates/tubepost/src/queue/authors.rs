//! Which message somebody sent who is dead: told by the ledger of claims, as long as the place was not used again.
//!
//! A claim says whose it is. What it came to is told by the slot: it holds the message; or it is over, for it was collected, or for its claimant died
//! before publishing and it was skipped. Where receivers compete a collected one was taken. A sole receiver walks over both; what it has not walked over can only be
//! skipped, and of what it skipped the last one is noted (`takes::note_skip`).
//!
//! Nothing is written here: who looks changes nothing, whenever it dies. What it is told may be too old where the receiver is between two steps: freeing
//! a place, and moving its head.

use super::slots::{Member, Place, Slots, Words};
use super::takes::last_skipped;
use crate::sync::atomic::AtomicU64;

impl<W: Words> Slots<W> {
    /// The first position from `from` to `tail` with a message, collected or not, of one of these members. `walked`: where a sole receiver
    /// is; nothing where receivers compete.
    pub(crate) fn published_by(
        &self,
        from: u64,
        tail: u64,
        walked: Option<u64>,
        skips: &AtomicU64,
        theirs: impl Fn(Member) -> bool,
    ) -> Option<u64> {
        let published = |place: &Place| {
            self.claimant(*place).is_some_and(&theirs)
                && (self.holds_message(*place) && !self.is_withdrawn(*place)
                    || self.is_over(*place) && self.was_received(*place, walked, skips))
        };
        self.between(from, tail).find(published).map(|place| place.position)
    }

    fn was_received(&self, place: Place, walked: Option<u64>, skips: &AtomicU64) -> bool {
        match walked {
            Some(head) => place.position < head && !last_skipped(skips, place.position),
            None => {
                let take = self.take_at(place);
                take.ahead_of(place.turn) == 0 && !take.is_withdrawn()
            }
        }
    }
}
