//! A sender's end.

use super::{A_WHILE, Attachment, Stuck, Wish, back_off, closed, forked, too_long};
use crate::domain::entry;
use crate::domain::member::{self, NoRow};
use crate::domain::{cleanup, failed};
use crate::error::{Closed, Error};
use crate::format::Format;
use crate::os::clock;
use crate::queue::layout::ROWS;
use crate::queue::slots::{Place, Refused, Unpublished, Words};
use crate::strategy::Refusal;
use crate::sync::wait::poll;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

/// Messages in one tick of the coarse clock from which a sender counts as streaming.
const DENSE: u32 = 64;
/// A streaming sender looks at the clock every so many messages.
const STRIDE: u32 = 16;
/// A sender moves the shared hint once in so many positions.
const HINT_EVERY: u64 = 64;

/// A sender's end.
#[derive(Debug)]
pub(crate) struct Outlet {
    pub(crate) at: Arc<Attachment>,
    /// Where to begin looking for the next free position. A hint: threads may share it.
    cursor: AtomicU64,
    /// The cursor when the queue was last found full.
    full_at: AtomicU64,
    /// The coarse clock at the last look, and the owner's progress then.
    tick: AtomicU64,
    progress: AtomicU64,
    /// Messages sent in this tick, and to be sent without a look at the clock.
    dense: AtomicU32,
    unlooked: AtomicU32,
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
            tick: AtomicU64::new(0),
            progress: AtomicU64::new(0),
            dense: AtomicU32::new(0),
            unlooked: AtomicU32::new(0),
            stuck: Stuck::new(),
        }
    }

    pub(crate) fn open(wish: &Wish<'_>) -> Result<Outlet, Error> {
        let name = || wish.name.to_string();
        for _ in 0..100 {
            let (fd, segment) = entry::open(wish.domain, wish.name)?;
            if segment.is_retired() {
                std::thread::yield_now();
                continue;
            }
            let theirs = String::from_utf8_lossy(&segment.format()).into_owned();
            let theirs = Format::decode(segment.geometry.variable, &theirs)
                .map_err(|what| Error::Damaged { name: name(), what })?;
            if segment.is_ownerless() {
                let pid = segment.owner().pid;
                cleanup::bury(&segment);
                return Err(Error::OwnerGone { name: name(), pid });
            }
            if theirs != *wish.format {
                return Err(Error::WrongFormat {
                    name: name(),
                    theirs: theirs.to_string(),
                    ours: wish.format.to_string(),
                });
            }
            let header = segment.header();
            let head = || header.head.position.load(Acquire);
            let introduction = entry::introduction(wish.member);
            let named = |member| segment.named_until(member);
            let used = &header.tail.rows;
            let row = member::register(fd.as_fd(), &segment.rows, &introduction, head, named, used);
            let member = row.map_err(|why| match why {
                NoRow::AllTaken => Error::TooManyMembers { name: name(), max: ROWS as u32 - 2 },
                NoRow::Os(errno) => failed("to become a member of", &segment.path(), errno),
            })?;
            let cursor = header.tail.hint.load(Acquire);
            let at = Attachment::new(segment, member, wish.spin);
            if at.segment.is_retired() {
                continue; // it ended while we came in
            }
            return Ok(Outlet::new(at, cursor));
        }
        Err(Error::NoSuchName { name: name(), domain: wish.domain.path().into() })
    }

    /// Sends if there is room now.
    #[inline]
    pub(crate) fn try_send(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let at = &*self.at;
        if !at.segment.is_ours() {
            return Err(forked());
        }
        if bytes.len() as u64 > at.segment.geometry.max_message {
            return Err(too_long(bytes.len() as u64, at.segment.geometry.max_message));
        }
        self.look_at_clock()?;
        let slots = &at.segment.slots;
        loop {
            match slots.claim(self.cursor.load(Relaxed), at.member) {
                Ok(place) => {
                    slots.words.write(place, bytes);
                    slots.publish(place, at.member);
                    self.cursor.store(place.position + 1, Relaxed);
                    if place.position.is_multiple_of(HINT_EVERY) {
                        at.segment.header().tail.hint.fetch_max(place.position, Release);
                    }
                    at.messages().ring(&at.quiet);
                    slots.words.fetch_after(place.index);
                    return Ok(());
                }
                Err(Refused::Full(place)) if !self.make_room(place) => return Err(Refusal::Waiting),
                Err(Refused::Full(_)) => {}
                Err(Refused::Closed(_)) => return Err(closed(&at.segment)),
            }
        }
    }

    /// The queue is full unless the oldest place was claimed by somebody who died.
    #[cold]
    fn make_room(&self, refused: Place) -> bool {
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
    fn look_at_clock(&self) -> Result<(), Refusal> {
        let unlooked = self.unlooked.load(Relaxed);
        if unlooked > 0 && self.at.grief.load(Relaxed) == 0 {
            self.unlooked.store(unlooked - 1, Relaxed);
            return Ok(());
        }
        let now = clock::coarse();
        if now == self.tick.load(Relaxed) && self.at.grief.load(Relaxed) == 0 {
            let dense = self.dense.load(Relaxed);
            if dense > DENSE {
                self.unlooked.store(STRIDE - 1, Relaxed);
            } else {
                self.dense.store(dense + 1, Relaxed);
            }
            return Ok(());
        }
        self.look_at_owner(now)
    }

    #[cold]
    fn look_at_owner(&self, now: u64) -> Result<(), Refusal> {
        self.dense.store(0, Relaxed);
        let since = now.wrapping_sub(self.tick.swap(now, Relaxed));
        let head = self.at.segment.header().head.position.load(Acquire);
        let moved = self.progress.swap(head, Relaxed) != head;
        if moved && since <= A_WHILE && self.at.grief.load(Acquire) == 0 {
            return Ok(());
        }
        if self.at.segment.is_ownerless() {
            return Err(Refusal::Closed(self.at.buried()));
        }
        self.at.patience();
        Ok(())
    }

    /// Sends, waiting for room until the deadline.
    #[inline]
    pub(crate) fn send(&self, bytes: &[u8], deadline: Option<Instant>) -> Result<(), Refusal> {
        match self.try_send(bytes) {
            Err(Refusal::Waiting) => self.send_later(bytes, deadline),
            done => done,
        }
    }

    #[cold]
    fn send_later(&self, bytes: &[u8], deadline: Option<Instant>) -> Result<(), Refusal> {
        while self.poll(deadline) {
            match self.try_send(bytes) {
                Err(Refusal::Waiting) => {} // another was faster
                done => return done,
            }
        }
        let at = &self.at;
        let done = at.room().wait(
            deadline,
            || match self.try_send(bytes) {
                Err(Refusal::Waiting) => None,
                done => Some(done),
            },
            || {
                let patience = at.look_for_owner().map_err(Err)?;
                let refused = at.segment.slots.place(self.cursor.load(Relaxed));
                if let Some(oldest) = at.segment.slots.before(refused)
                    && at.recover_or_watch(oldest)
                {
                    return Ok(Duration::ZERO);
                }
                Ok(patience)
            },
        );
        done.unwrap_or(Err(Refusal::Waiting))
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
        let ready = poll(spin, deadline, || gate.is_free() || at.is_marked_closed());
        if ready {
            at.spun_well();
        }
        ready
    }

    /// Waits until the mailbox is closed, at most until the deadline.
    pub(crate) fn closed(&self, deadline: Option<Instant>) -> Result<Closed, Refusal> {
        let at = &self.at;
        if !at.segment.is_ours() {
            return Err(forked());
        }
        let done = at.end().wait(
            deadline,
            || at.is_marked_closed().then(|| Ok(cleanup::finish(&at.segment))),
            || match at.look_for_owner() {
                Err(Refusal::Closed(closed)) => Err(Ok(closed)),
                Err(other) => Err(Err(other)),
                Ok(patience) => Ok(patience),
            },
        );
        done.unwrap_or(Err(Refusal::Waiting))
    }

    pub(crate) fn is_closed(&self) -> bool {
        let at = &self.at;
        if !at.segment.is_ours() {
            return false;
        }
        if at.is_marked_closed() {
            return true;
        }
        let gone = at.segment.is_ownerless();
        if gone {
            at.buried(); // so that every later call says the same
        }
        gone
    }
}
