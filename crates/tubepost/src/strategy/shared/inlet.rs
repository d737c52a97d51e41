//! A receiver's end: of a mailbox that this process owns, or one of many of a mailbox that
//! the system owns.
//!
//! The owner is alone: its threads take turns, and its head is a number of its own. Receivers that
//! compete take each message by a CAS in the ledger of takes, and each has a cursor of its own.

use super::attach::{Wish, attach};
use super::taken::Taken;
use super::{Attachment, Stuck, back_off, closed, forked};
use crate::domain::cleanup;
use crate::domain::entry::{self, Plan};
use crate::error::{Closed, Error};
use crate::os::{clock, cpu};
use crate::queue::in_hand;
use crate::queue::layout::OWNER;
use crate::queue::slots::{Head, Member, Place, Unpublished};
use crate::queue::takes::{Taking, note_skip};
use crate::strategy::Refusal;
use crate::sync::sole::{Held, Sole};
use crate::sync::wait::{SLICE, poll};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

/// A receiver that competes moves the shared hint once in so many positions …
const HINT_EVERY: u64 = 64;
/// … and looks at the clock once in so many messages: is it time to look after the dead?
const LOOK_EVERY: u64 = 1024;

/// A receiver's end: one per handle, shared by the threads of its process.
#[derive(Debug)]
pub(crate) struct Inlet {
    pub(crate) at: Arc<Attachment>,
    /// The owner's threads, one at a time; nothing where receivers compete.
    sole: Option<Sole>,
    closed: AtomicBool,
    /// The next position to receive. An owner's copy in shared memory is for others to read; where
    /// receivers compete it is a hint.
    head: AtomicU64,
    /// The head when the queue was last found empty.
    empty_at: AtomicU64,
    /// The head, when it is not published.
    stuck: Stuck,
    /// What was given back was looked for when the shared count was this.
    returned: AtomicU32,
    /// The other receivers were watched when the shared count was this.
    joined: AtomicU32,
    /// The coarse clock when the dead were last looked after, and the head then.
    looked: AtomicU64,
    idle_at: AtomicU64,
}

impl Inlet {
    /// Creates a mailbox that this process owns.
    pub(crate) fn own(wish: &Wish<'_>, plan: &Plan<'_>) -> Result<Inlet, Error> {
        let reachable = cpu::register_for_barriers();
        let segment = entry::create(wish.domain, wish.name, plan)?;
        let at = Attachment::new(segment, OWNER, wish.spin);
        Ok(Inlet::new(at, Some(Sole::new(reachable)), 0))
    }

    /// Becomes one of the receivers of a mailbox that the system owns.
    pub(crate) fn open(wish: &Wish<'_>) -> Result<Inlet, Error> {
        let at = attach(wish, true)?;
        let untaken = at.segment.untaken();
        Ok(Inlet::new(at, None, untaken))
    }

    fn new(at: Arc<Attachment>, sole: Option<Sole>, head: u64) -> Inlet {
        Inlet {
            at,
            sole,
            closed: AtomicBool::new(false),
            head: AtomicU64::new(head),
            empty_at: AtomicU64::new(0),
            stuck: Stuck::new(),
            // Not as it is now: a first look at what was given back before we came.
            returned: AtomicU32::new(0),
            joined: AtomicU32::new(0),
            looked: AtomicU64::new(0),
            idle_at: AtomicU64::new(u64::MAX),
        }
    }

    /// Whether this is one of many receivers, of a mailbox that no process owns.
    pub(super) fn competes(&self) -> bool {
        self.sole.is_none()
    }

    /// Takes the next message if there is one.
    #[inline(always)]
    fn take(&self) -> Result<Taken<'_>, Refusal> {
        let at = &*self.at;
        if !at.segment.is_ours() {
            return Err(forked());
        }
        if self.closed.load(Relaxed) {
            return Err(self.ended());
        }
        if at.segment.header().bells.returned.load(Acquire) != self.returned.load(Relaxed)
            && let Some(taken) = self.take_again()?
        {
            return Ok(taken);
        }
        match &self.sole {
            Some(sole) => self.take_head(sole),
            None => self.compete(),
        }
    }

    /// The owner's way.
    #[inline(always)]
    fn take_head<'a>(&'a self, sole: &'a Sole) -> Result<Taken<'a>, Refusal> {
        let at = &*self.at;
        let held = sole.hold();
        if self.closed.load(Relaxed) || at.segment.is_closed() {
            return Err(closed(&at.segment));
        }
        let slots = &at.segment.slots;
        loop {
            let head = self.head.load(Relaxed);
            match slots.head(head) {
                Head::Message(place, state) => {
                    return self.open_letter(Some(held), place, state.member(), 0);
                }
                Head::Skipped => self.skip(head),
                Head::Empty(_) => return Err(Refusal::Waiting),
            }
        }
    }

    /// One of many receivers' way.
    #[inline(always)]
    fn compete(&self) -> Result<Taken<'_>, Refusal> {
        let at = &*self.at;
        let header = at.segment.header();
        loop {
            let head = self.head.load(Relaxed);
            match at.segment.slots.take(head, at.member, &header.head.skips) {
                Taking::Message(place, state) => {
                    self.head.store(place.position + 1, Relaxed);
                    if place.position.is_multiple_of(HINT_EVERY) {
                        header.head.taken.fetch_max(place.position, Release);
                        if place.position.is_multiple_of(LOOK_EVERY) {
                            self.look_after_the_dead();
                        }
                    }
                    match self.open_letter(None, place, state.member(), 0) {
                        Err(Refusal::Waiting) => {} // it was consumed already
                        done => return done,
                    }
                }
                Taking::Empty(place) => {
                    self.head.store(place.position, Relaxed);
                    return Err(Refusal::Waiting);
                }
                Taking::Closed => return Err(closed(&at.segment)),
            }
        }
    }

    /// What was taken, to be read. `Waiting`: a dead one had consumed it already; its place is free now.
    #[inline(always)]
    fn open_letter<'a>(
        &'a self,
        held: Option<Held<'a>>,
        place: Place,
        sender: Member,
        before: u8,
    ) -> Result<Taken<'a>, Refusal> {
        match (Taken::of_slot(self, place, sender, before), held) {
            (Some(taken), Some(held)) => Ok(taken.behind(held)),
            (Some(taken), None) => Ok(taken),
            (None, held) => {
                self.free(place);
                drop(held);
                self.tell_freed(place);
                if before > 0 { Err(Refusal::Waiting) } else { Err(self.impossible().into()) }
            }
        }
    }

    /// Takes one of the messages that were given back.
    #[cold]
    fn take_again(&self) -> Result<Option<Taken<'_>>, Refusal> {
        let segment = &self.at.segment;
        let count = segment.header().bells.returned.load(Acquire);
        if self.competes() {
            let (unfreed, untaken) = (segment.unfreed(), segment.untaken());
            while let Some((place, state, before)) =
                segment.slots.take_any_again(unfreed, untaken, self.at.member)
            {
                match self.open_letter(None, place, state.member(), before) {
                    Err(Refusal::Waiting) => {}
                    done => return done.map(Some),
                }
            }
        }
        if let Some(chunk) = in_hand::hold_again(&segment.chunks, self.at.member) {
            return Taken::of_chunk(self, chunk).map(Some);
        }
        self.returned.store(count, Relaxed);
        Ok(None)
    }

    #[cold]
    pub(super) fn impossible(&self) -> Error {
        Error::Damaged {
            name: self.at.segment.name.to_string(),
            what: "a message has an impossible length or place; it was dropped".into(),
        }
    }

    /// Walks over a place whose claimant died. The caller holds the lock.
    #[cold]
    fn skip(&self, head: u64) {
        note_skip(&self.at.segment.header().head.skips, head);
        self.move_head(head);
    }

    #[inline]
    fn move_head(&self, head: u64) {
        self.head.store(head + 1, Relaxed);
        self.at.segment.header().head.position.store(head + 1, Release);
    }

    /// A message was read, or moved: its place is free. The owner holds the lock.
    #[inline(always)]
    pub(super) fn free(&self, place: Place) {
        self.at.segment.slots.free(place);
        if !self.competes() {
            self.move_head(place.position);
        }
    }

    /// Wakes senders who wait for the place that was freed, and another receiver if there is more.
    #[inline(always)]
    pub(super) fn tell_freed(&self, place: Place) {
        let at = &*self.at;
        at.segment.room().ring(&at.quiet);
        if self.competes() && at.segment.messages().has_sleepers() {
            let next = at.segment.slots.gate(place.position + 1);
            if !next.is_free() {
                at.segment.messages().wake();
            }
        }
    }

    /// Takes the next message if there is one now.
    #[inline(always)]
    pub(crate) fn try_recv(&self) -> Result<Taken<'_>, Refusal> {
        loop {
            match self.take() {
                Err(Refusal::Waiting) if self.more_after_a_look() => {}
                done => return done,
            }
        }
    }

    /// Looks, when the clock has ticked, whether a dead claimant holds the head back, and now and then
    /// whether a dead receiver had something.
    #[inline]
    fn more_after_a_look(&self) -> bool {
        let recovered = self.stuck.for_a_while(self.head.load(Relaxed))
            && self.recover_head(|place| self.at.recover(place) == Unpublished::Recovered);
        recovered || self.competes() && self.look_after_the_dead()
    }

    /// Gives back what dead receivers had taken, if it is time to look. Whether there was something.
    #[cold]
    fn look_after_the_dead(&self) -> bool {
        self.time_to_look() && self.at.segment.give_back() > 0
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
            let slots = &self.at.segment.slots;
            match slots.head(self.head.load(Relaxed)) {
                Head::Empty(place) if recover(place) => recovered = true,
                _ => return recovered,
            }
            // Walk over it, so that several in a row are dealt with at once.
            let _held = self.sole.as_ref().map(Sole::hold);
            let head = self.head.load(Relaxed);
            if slots.head(head) != Head::Skipped {
                return recovered;
            }
            if self.competes() {
                return recovered; // the next take walks over it
            }
            self.skip(head);
        }
    }

    /// Takes the next message, waiting for it until the deadline.
    #[inline(always)]
    pub(crate) fn recv(&self, deadline: Option<Instant>) -> Result<Taken<'_>, Refusal> {
        loop {
            match self.take() {
                Err(Refusal::Waiting) if self.poll(deadline) => {}
                Err(Refusal::Waiting) => self.sleep(deadline)?,
                done => return done,
            }
        }
    }

    /// Looks for a message again and again for a while. `false`: there is none yet.
    #[inline(never)]
    fn poll(&self, deadline: Option<Instant>) -> bool {
        let at = &*self.at;
        let spin = at.spin();
        if spin.is_zero() {
            return false;
        }
        let head = self.head.load(Relaxed);
        back_off(head.wrapping_sub(self.empty_at.swap(head, Relaxed)));
        let gate = at.segment.slots.gate(head);
        let returned = &at.segment.header().bells.returned;
        let over = || {
            self.closed.load(Relaxed)
                || at.segment.is_closed()
                || returned.load(Relaxed) != self.returned.load(Relaxed)
        };
        let ready = poll(spin, deadline, || !gate.is_free() || over());
        if ready {
            at.spun_well();
        }
        ready
    }

    /// Sleeps until there seems to be a message, or the mailbox is closed.
    #[cold]
    fn sleep(&self, deadline: Option<Instant>) -> Result<(), Refusal> {
        let at = &self.at;
        let done = at.segment.messages().wait(
            deadline,
            || self.may_take().then_some(Ok(())),
            || {
                if self.closed.load(Relaxed) {
                    return Err(Err(self.ended()));
                }
                // Somebody else ended it, or took the name away.
                if at.segment.is_closed() || at.lost_its_name() {
                    return Err(Err(closed(&at.segment)));
                }
                let more = self.recover_head(|place| at.recover_or_watch(place)) || self.look_at_others();
                Ok(if more { Duration::ZERO } else { at.patience() })
            },
        );
        done.unwrap_or(Err(Refusal::Waiting))
    }

    /// What a receiver does before it sleeps, besides looking at the head: watch out for the deaths of
    /// the others, and give memory back that nobody needs. Whether something went back to the queue.
    fn look_at_others(&self) -> bool {
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
        self.competes() && at.segment.give_back() > 0
    }

    #[inline]
    fn may_take(&self) -> bool {
        let segment = &self.at.segment;
        let head = segment.slots.head(self.head.load(Relaxed));
        !matches!(head, Head::Empty(_))
            || segment.is_closed()
            || self.closed.load(Relaxed)
            || segment.header().bells.returned.load(Acquire) != self.returned.load(Relaxed)
    }

    /// What calls say once this end was closed.
    #[cold]
    fn ended(&self) -> Refusal {
        if self.competes() && !self.at.segment.is_closed() {
            return Refusal::Closed(Closed { uncollected: self.at.segment.waiting() });
        }
        closed(&self.at.segment)
    }

    /// Ends a mailbox that this process owns: nothing is received from now on, nobody can send,
    /// the name is free. Where receivers compete it ends only this one.
    pub(crate) fn close(&self) -> Result<Closed, Error> {
        let segment = &self.at.segment;
        if !segment.is_ours() {
            return Err(Error::Forked);
        }
        let Some(sole) = &self.sole else {
            self.closed.store(true, Relaxed);
            segment.messages().alarm();
            return Ok(Closed { uncollected: segment.waiting() });
        };
        let closed = {
            let _held = sole.hold();
            self.closed.store(true, Relaxed);
            cleanup::finish(segment)
        };
        segment.mark_retired();
        segment.wake_all();
        let _ = segment.retire(|| true); // if another is at it: it does the same
        Ok(closed)
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        if !self.competes() {
            let _ = self.close();
        }
    }
}
