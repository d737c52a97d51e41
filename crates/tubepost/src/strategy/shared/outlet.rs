//! A sender's end.

use super::attach::{Opened, Wish, attach};
use super::{A_WHILE, Attachment, Pace, Stuck, back_off, closed};
use crate::error::{Closed, Error};
use crate::queue::about;
use crate::queue::chunks::{Chunk, Use};
use crate::queue::slots::{Place, Refused, Unpublished, Words};
use crate::strategy::{Refusal, allow, not_ours};
use crate::sync::wait::poll;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

/// A sender moves the shared hint once in so many positions.
pub(super) const HINT_EVERY: u64 = 64;

/// A sender's end.
#[derive(Debug)]
pub(crate) struct Outlet {
    pub(crate) at: Arc<Attachment>,
    /// Where to begin looking for the next free position. A hint: threads may share it.
    pub(super) cursor: AtomicU64,
    /// The cursor when the queue was last found full.
    full_at: AtomicU64,
    pace: Pace,
    /// The owner's progress at the last look at the clock.
    progress: AtomicU64,
    /// The oldest place, when it holds the queue full without being published.
    stuck: Stuck,
}

impl Clone for Outlet {
    fn clone(&self) -> Outlet {
        Outlet::new(Arc::clone(&self.at), self.cursor.load(Relaxed))
    }
}

impl Outlet {
    fn new(at: Arc<Attachment>, cursor: u64) -> Outlet {
        Outlet {
            at,
            cursor: AtomicU64::new(cursor),
            full_at: AtomicU64::new(cursor),
            pace: Pace::default(),
            progress: AtomicU64::new(0),
            stuck: Stuck::new(),
        }
    }

    pub(crate) fn open(wish: &Wish<'_>) -> Result<Opened<Outlet>, Error> {
        let Opened::Here(at) = attach(wish, false)? else { return Ok(Opened::Elsewhere) };
        let cursor = at.segment.header().tail.hint.load(Acquire);
        Ok(Opened::Here(Outlet::new(at, cursor)))
    }

    /// Of a link of which this process has the sending end.
    pub(super) fn of_link(at: Arc<Attachment>) -> Outlet {
        let cursor = at.segment.header().tail.hint.load(Acquire);
        Outlet::new(at, cursor)
    }

    /// Sends if there is room now.
    #[inline]
    pub(crate) fn try_send(&self, bytes: &[u8]) -> Result<(), Refusal> {
        self.post::<false>(bytes).map(drop)
    }

    /// The same, and where it is now. `AWAITED`: the sender waits until it is collected.
    #[inline(always)]
    pub(super) fn post<const AWAITED: bool>(&self, bytes: &[u8]) -> Result<Place, Refusal> {
        let at = &*self.at;
        if !at.segment.is_ours() {
            return Err(not_ours(&at.segment));
        }
        self.look_at_clock()?;
        self.post_unasked::<AWAITED>(bytes)
    }

    /// The same, by one who knows that this is its process, and need not know whether the owner lives.
    #[inline(always)]
    pub(super) fn post_unasked<const AWAITED: bool>(&self, bytes: &[u8]) -> Result<Place, Refusal> {
        let at = &*self.at;
        if !at.segment.slots.words.fits(bytes.len()) {
            return self.post_chunk::<AWAITED>(bytes);
        }
        if let Some(sole) = &at.alone {
            if at.segment.geometry.areas.is_some() {
                return self.post_in_turn::<AWAITED>(bytes);
            }
            return self.post_alone::<AWAITED>(sole, bytes);
        }
        match self.claim_next() {
            Some(place) => Ok(self.put::<AWAITED>(place, bytes)),
            None => Ok(self.put::<AWAITED>(self.claim_later()?, bytes)),
        }
    }

    /// Writes a message to a claimed place, and publishes it.
    #[inline(always)]
    pub(super) fn put<const AWAITED: bool>(&self, place: Place, bytes: &[u8]) -> Place {
        let words = &self.at.segment.slots.words;
        planted!(PublishBeforeCopy => {
            self.publish::<AWAITED>(place);
            words.write(place, bytes);
            return place;
        });
        words.write(place, bytes);
        self.publish::<AWAITED>(place);
        place
    }

    /// A payload that does not fit a slot: everything that may fail comes before the claim.
    #[cold]
    fn post_chunk<const AWAITED: bool>(&self, bytes: &[u8]) -> Result<Place, Refusal> {
        let at = &*self.at;
        if let Some(handoff) = &at.segment.handoff {
            return self.hand_over(handoff, bytes);
        }
        let length = bytes.len() as u64;
        allow(&at.segment.geometry.choice, length)?;
        // Don't copy a megabyte only to find that there is no room, or nobody to send to.
        if at.segment.geometry.areas.is_some() {
            self.look_in_segments()?;
        } else {
            match at.segment.slots.look(self.cursor.load(Relaxed)) {
                Err(Refused::Closed(_)) => return Err(closed(&at.segment)),
                Err(Refused::Full(place)) if !self.make_room(place) => return Err(Refusal::Waiting),
                _ => {}
            }
        }
        let chunk = match at.with_memory(|| at.segment.chunks.take(length, at.member)) {
            Ok(chunk) => chunk,
            Err(why) => return Err(at.no_memory(length, &why).into()),
        };
        chunk.write(bytes);
        let sent = self.post_filled::<AWAITED>(chunk, bytes.len());
        if sent.is_err() {
            chunk.release();
        }
        sent
    }

    /// Sends what was written to a chunk that is this member's OWN, and stays that if there is no room.
    #[inline]
    pub(super) fn post_filled<const AWAITED: bool>(
        &self,
        chunk: Chunk<'_>,
        length: usize,
    ) -> Result<Place, Refusal> {
        let at = &*self.at;
        let me = at.segment.rows.get(at.member).ok().map(|row| (at.member, row));
        about::sign(chunk.entry, me, false);
        if let Some(handoff) = &at.segment.handoff {
            return self.hand_over_filled(handoff, chunk);
        }
        let _held = self.hold_claims()?;
        let place = self.claim_next().map_or_else(|| self.claim_later(), Ok)?;
        chunk.entry.position.store(place.position, Relaxed);
        planted!(PublishBeforeLink => {
            at.segment.slots.words.write_ticket(place, length, chunk.ticket());
            self.publish::<AWAITED>(place);
            chunk.becomes(chunk.word.to(Use::Linked, at.member));
            return Ok(place);
        });
        let linked = chunk.becomes(chunk.word.to(Use::Linked, at.member));
        at.segment.slots.words.write_ticket(place, length, linked.ticket());
        self.publish::<AWAITED>(place);
        Ok(place)
    }

    /// Claims the place behind that of the last message, where nobody else did since.
    #[inline(always)]
    pub(super) fn claim_next(&self) -> Option<Place> {
        let segment = &self.at.segment;
        if segment.geometry.areas.is_some() {
            return self.claim_next_in_segments();
        }
        segment.slots.claim_next(self.cursor.load(Relaxed), self.at.member)
    }

    #[inline(never)]
    pub(super) fn claim_later(&self) -> Result<Place, Refusal> {
        let at = &*self.at;
        if at.segment.geometry.areas.is_some() {
            return self.claim_in_segments();
        }
        loop {
            match at.segment.slots.claim(self.cursor.load(Relaxed), at.member) {
                Ok(place) => return Ok(place),
                Err(Refused::Full(place)) if !self.make_room(place) => return Err(Refusal::Waiting),
                Err(Refused::Full(_)) => {}
                Err(Refused::Closed(_)) => return Err(closed(&at.segment)),
            }
        }
    }

    /// Publishes what was written to a claimed place, and wakes who waits for it.
    #[inline(always)]
    fn publish<const AWAITED: bool>(&self, place: Place) {
        let at = &*self.at;
        let slots = &at.segment.slots;
        if AWAITED {
            slots.publish_awaited(place, at.member);
        } else {
            slots.publish(place, at.member);
        }
        self.cursor.store(place.position.wrapping_add(1), Relaxed);
        if place.position.is_multiple_of(HINT_EVERY) {
            at.segment.header().tail.hint.fetch_max(place.position, Release);
            self.look_ahead(place.position);
        }
        planted!(WakeUpForgotten => return);
        at.segment.ring_for_message(&at.quiet);
        slots.words.fetch_after(place.index);
    }

    /// The queue is full unless the oldest place was claimed by somebody who died.
    #[cold]
    pub(super) fn make_room(&self, refused: Place) -> bool {
        self.cursor.store(refused.position, Relaxed);
        let slots = &self.at.segment.slots;
        let Some(oldest) = slots.before(refused) else { return false };
        if slots.is_published(oldest) {
            return false;
        }
        self.stuck.for_a_while(oldest.position) && self.at.recover(oldest) == Unpublished::Recovered
    }

    /// Notices the owner's death without a system call for most messages.
    #[inline]
    pub(super) fn look_at_clock(&self) -> Result<(), Refusal> {
        match self.pace.ticked(self.at.grief.load(Relaxed) > 0) {
            None => Ok(()),
            Some(since) => self.look_at_owner(since),
        }
    }

    #[cold]
    fn look_at_owner(&self, since: u64) -> Result<(), Refusal> {
        let head = self.at.segment.header().head.position.load(Acquire);
        let moved = self.progress.swap(head, Relaxed) != head;
        if moved && since <= A_WHILE && self.at.grief.load(Acquire) == 0 {
            return Ok(());
        }
        if self.at.segment.is_over() {
            return Err(Refusal::Closed(self.at.buried()));
        }
        self.at.patience();
        Ok(())
    }

    /// Sends, waiting for room until the deadline.
    #[inline(always)]
    pub(crate) fn send(&self, bytes: &[u8], deadline: Option<Instant>) -> Result<(), Refusal> {
        match self.post::<false>(bytes) {
            Ok(_) => Ok(()),
            Err(refusal) => self.send_later(refusal, bytes, deadline),
        }
    }

    #[cold]
    fn send_later(&self, refusal: Refusal, bytes: &[u8], deadline: Option<Instant>) -> Result<(), Refusal> {
        let Refusal::Waiting = refusal else { return Err(refusal) };
        self.post_later::<false>(bytes, deadline).map(drop)
    }

    /// The same, and where it is now.
    #[inline(always)]
    pub(super) fn post_by<const AWAITED: bool>(
        &self,
        bytes: &[u8],
        deadline: Option<Instant>,
    ) -> Result<Place, Refusal> {
        match self.post::<AWAITED>(bytes) {
            Err(Refusal::Waiting) => self.post_later::<AWAITED>(bytes, deadline),
            done => done,
        }
    }

    #[cold]
    fn post_later<const AWAITED: bool>(
        &self,
        bytes: &[u8],
        deadline: Option<Instant>,
    ) -> Result<Place, Refusal> {
        match &self.at.segment.handoff {
            Some(handoff) => self.meet(handoff, bytes, deadline),
            None => self.wait_for_room(deadline, || self.post::<AWAITED>(bytes)),
        }
    }

    /// Tries again and again, as long as there is no room, until the deadline.
    #[cold]
    pub(super) fn wait_for_room<R>(
        &self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut() -> Result<R, Refusal>,
    ) -> Result<R, Refusal> {
        while self.poll(deadline) {
            match attempt() {
                Err(Refusal::Waiting) => {} // another was faster
                done => return done,
            }
        }
        let at = &self.at;
        let done = at.segment.room().wait(
            deadline,
            || match attempt() {
                Err(Refusal::Waiting) => None,
                done => Some(done),
            },
            || self.look_before_waiting().map_err(Err),
        );
        done.unwrap_or(Err(Refusal::Waiting))
    }

    /// What a sender does before it waits for room: says how long that may be at most, or that it is over.
    pub(crate) fn look_before_waiting(&self) -> Result<Duration, Refusal> {
        let at = &self.at;
        let patience = at.look_for_owner()?;
        let refused = at.segment.slots.place(self.cursor.load(Relaxed));
        if let Some(oldest) = at.segment.slots.before(refused)
            && at.recover_or_watch(oldest)
        {
            return Ok(Duration::ZERO);
        }
        Ok(patience)
    }

    /// Whether there seems to be room, or the mailbox is closed.
    pub(crate) fn may_send(&self) -> bool {
        let segment = &self.at.segment;
        let room = match &segment.handoff {
            Some(handoff) => handoff.waiting().next().is_some(),
            None if segment.geometry.areas.is_some() => true,
            None => !matches!(segment.slots.look(self.cursor.load(Relaxed)), Err(Refused::Full(_))),
        };
        room || segment.is_closed()
    }

    /// Looks for room again and again for a while. `false`: there is none yet.
    fn poll(&self, deadline: Option<Instant>) -> bool {
        let at = &*self.at;
        let spin = at.spin();
        if spin.is_zero() {
            return false;
        }
        let cursor = self.cursor.load(Relaxed);
        back_off(cursor.wrapping_sub(self.full_at.swap(cursor, Relaxed)));
        let gate = at.segment.slots.gate(cursor);
        let ready = poll(spin, deadline, || gate.is_free() || at.segment.is_closed());
        if ready {
            at.spun_well();
        }
        ready
    }

    /// Waits until the mailbox is closed, at most until the deadline.
    pub(crate) fn closed(&self, deadline: Option<Instant>) -> Result<Closed, Refusal> {
        self.at.until_closed(deadline)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.at.is_closed()
    }
}
