//! Capacity zero: waking those who wait for one another.

use super::segment::Segment;
use crate::queue::chunks::Use;
use crate::sync::wait::{Bell, Wakes};

impl Segment {
    /// Where a sender sleeps whose offer is in this chunk.
    pub(crate) fn bell_of_offer<'a>(&'a self, entry: &'a crate::queue::layout::Entry) -> Bell<'a> {
        Bell::new(&entry.bell, &self.header().bells.fence, Wakes::All)
    }

    /// Wakes all receivers that wait to be given something.
    pub(super) fn wake_receivers(&self) {
        if let Some(handoff) = &self.handoff {
            handoff.taken().for_each(|seat| handoff.bell(seat.index).alarm());
        }
    }

    /// Wakes all who wait for one another.
    pub(super) fn wake_who_meets(&self) {
        if self.handoff.is_some() {
            self.wake_receivers();
            let offers = self.chunks.all().filter(|chunk| chunk.word.kind() == Some(Use::Linked));
            offers.for_each(|chunk| self.bell_of_offer(chunk.entry).alarm());
        }
    }
}
