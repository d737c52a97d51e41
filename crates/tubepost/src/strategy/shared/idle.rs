//! What a receiver does while there is nothing to receive: look after the dead, poll, sleep.

use super::back_off;
use super::closed;
use super::inlet::Inlet;
use crate::os::clock;
use crate::queue::slots::{Head, Place, Unpublished};
use crate::strategy::Refusal;
use crate::sync::sole::Sole;
use crate::sync::wait::{SLICE, poll, poll_closely};
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::{Duration, Instant};

impl Inlet {
    /// Looks, when the clock has ticked, whether a dead claimant holds the head back, and now and then
    /// whether a dead receiver had something.
    #[inline]
    pub(super) fn more_after_a_look(&self) -> bool {
        let recovered = self.stuck.for_a_while(self.head.load(Relaxed))
            && self.recover_head(|place| self.at.recover(place) == Unpublished::Recovered);
        recovered || self.competes() && self.look_after_the_dead()
    }

    /// Gives back what dead receivers had taken, if it is time to look. Whether there was something.
    #[cold]
    pub(super) fn look_after_the_dead(&self) -> bool {
        let time = self.time_to_look();
        self.at.patience();
        if !time {
            return false;
        }
        self.put_all_away();
        self.at.segment.give_back() > 0 || self.fence_in_passing()
    }

    /// Once a second, and when somebody died.
    fn time_to_look(&self) -> bool {
        let now = clock::coarse();
        let due = now.wrapping_sub(self.looked.load(Relaxed)) >= SLICE.as_nanos() as u64;
        if due {
            self.looked.store(now, Relaxed);
        }
        due || self.at.grief.load(Acquire) > 0
    }

    /// Skips the dead at the head, by `recover`.
    #[cold]
    fn recover_head(&self, recover: impl Fn(Place) -> bool) -> bool {
        let mut recovered = false;
        loop {
            let (segment, slots) = (&self.at.segment, &self.at.segment.slots);
            let held_back = || match slots.head(self.head.load(Relaxed)) {
                Head::Empty(place) => Some(place),
                Head::Message(place, _) if slots.is_withdrawn(place) => Some(place),
                _ => None,
            };
            let Some(place) = segment.visiting(held_back) else { return recovered };
            if !recover(place) {
                return recovered;
            }
            recovered = true;
            // Walk over it, so that several in a row are dealt with at once.
            let _held = self.sole.as_ref().map(Sole::hold);
            let head = self.head.load(Relaxed);
            if segment.visiting(|| slots.head(head)) != Head::Skipped {
                return recovered;
            }
            if self.competes() {
                return recovered; // the next take walks over it
            }
            self.skip(head);
        }
    }

    /// Looks for a message again and again for a while. `false`: there is none yet.
    #[inline(never)]
    pub(super) fn poll(&self, deadline: Option<Instant>) -> bool {
        let at = &*self.at;
        let spin = at.spin();
        if spin.is_zero() || self.is_at_withdrawn() {
            return false;
        }
        let head = self.head.load(Relaxed);
        back_off(head.wrapping_sub(self.empty_at.swap(head, Relaxed)));
        let over = || at.segment.is_closed() || self.has_news();
        let ready = if at.segment.geometry.areas.is_some() {
            // A place that is not yet there comes elsewhere, and none may be looked at for long.
            let has_come = || at.segment.slots.gate(head).has_come();
            poll(spin, deadline, || at.segment.visiting(has_come) || over())
        } else {
            let gate = at.segment.slots.gate(head);
            let ready = poll_closely(spin, deadline, || gate.has_come() || over());
            self.fetch_letter(at.segment.slots.place(head));
            ready
        };
        if ready {
            at.spun_well();
        }
        ready
    }

    /// Asks the processor to fetch, all at once, what receiving a message that seems to be there will touch if it is in a
    /// chunk: nothing that is read here is relied on.
    #[inline]
    fn fetch_letter(&self, place: Place) {
        let segment = &self.at.segment;
        if let Some((ticket, length)) = segment.slots.words.ticket(place) {
            segment.slots.words.fetch(place.index);
            segment.chunks.fetch(ticket, length);
        }
    }

    /// Sleeps until there seems to be a message, or the mailbox is closed.
    #[cold]
    pub(super) fn sleep(&self, deadline: Option<Instant>) -> Result<(), Refusal> {
        let at = &self.at;
        let done = at.segment.messages().wait(
            deadline,
            || self.may_take().then_some(Ok(())),
            || self.look_before_waiting().map_err(Err),
        );
        done.unwrap_or(Err(Refusal::Waiting))
    }

    /// What a receiver does before it waits: says how long that may be at most, or that it is over.
    pub(crate) fn look_before_waiting(&self) -> Result<Duration, Refusal> {
        let at = &self.at;
        // Somebody else ended it, or took the name away.
        if at.segment.is_closed() || at.lost_its_name() {
            return Err(closed(&at.segment));
        }
        let more = self.recover_head(|place| at.recover_or_watch(place)) || self.look_at_others();
        if more {
            return Ok(Duration::ZERO);
        }
        if at.watch_sender() && !self.may_take() {
            return Err(self.deserted());
        }
        let patience = at.patience();
        Ok(self.fence_overdue().map_or(patience, |next| next.min(patience)))
    }

    /// What a receiver does before it sleeps, besides looking at the head: watch out for the deaths of
    /// the others, and give memory back that nobody needs. Whether something went back to the queue.
    pub(super) fn look_at_others(&self) -> bool {
        let at = &self.at;
        let joined = at.segment.header().bells.joined.load(Acquire);
        if self.competes() && self.joined.swap(joined, Relaxed) != joined {
            at.watch_receivers();
        }
        if !self.time_to_look() {
            return false;
        }
        let head = self.head.load(Relaxed);
        if self.idle_at.swap(head, Relaxed) == head {
            at.trim(); // nothing came for a second
        }
        self.put_all_away();
        self.competes() && at.segment.give_back() > 0
    }

    /// Whether there seems to be something to be received, or told.
    #[inline]
    pub(crate) fn may_take(&self) -> bool {
        let segment = &self.at.segment;
        let there = match &segment.handoff {
            Some(handoff) => self.has_offers(handoff) && segment.chunks.all().any(|chunk| chunk.is_offered()),
            None => {
                let head = segment.visiting(|| segment.slots.head(self.head.load(Relaxed)));
                !matches!(head, Head::Empty(_)) && !self.is_at_withdrawn()
            }
        };
        there || segment.is_closed() || self.has_news()
    }

    /// An owner can't walk past what was withdrawn before it is free.
    fn is_at_withdrawn(&self) -> bool {
        let slots = &self.at.segment.slots;
        let _visit = self.at.segment.visit();
        let head = slots.head(self.head.load(Relaxed));
        !self.competes()
            && matches!(head, Head::Message(place, state) if state.is_awaited() && slots.is_withdrawn(place))
    }
}
