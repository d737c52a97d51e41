//! The shared strategy: a queue in memory that all members map.
//!
//! [`outlet`] is a sender's end, [`inlet`] the owner's; here is what both have in common. All are thin: the queue's algorithm
//! is in `queue::slots`, sleeping in `sync::wait`, death in `domain::member`. What is decided
//! here is *when to look*:
//!
//! - **Is the owner dead?** A sender that blocks has its process watch the owner and is told.
//!   One that never blocks looks at a coarse clock on each call (3 ns) and, when it has
//!   ticked, at the owner's progress; without progress, or after a pause, it asks the kernel.
//!   A sender that streams (more than `DENSE` messages in one tick) looks at the clock only
//!   every `STRIDE` messages.
//! - **Is the claimant at the head dead?** Looked at before every sleep, and by `try_` calls
//!   when the clock has ticked.
//!
//! **Back off.** An end that has caught up with the other, after a run of messages, pauses in
//! proportion to that run (at most [`PAUSES`]) before it looks again. Otherwise the two fight
//! for every line: in a stream this is worth a factor of three, and for one message at a time
//! it costs nothing, for then there is no run.
//!
//! **What if it dies here?** An outlet: see `queue::slots`. An inlet: the kernel lets go of
//! its lock, and whoever notices buries the mailbox (`domain::cleanup`).

pub(crate) mod inlet;
pub(crate) mod outlet;

use super::Refusal;
use crate::domain::entry::Segment;
use crate::domain::member;
use crate::domain::name::Name;
use crate::domain::stat::{self, Stat};
use crate::domain::{Domain, cleanup};
use crate::error::{Closed, Error};
use crate::format::Format;
use crate::os::cpu::Company;
use crate::os::{clock, cpu, pid};
use crate::queue::layout::OWNER;
use crate::queue::slots::{Member, Place, Unpublished};
use crate::sync::wait::{Bell, Quiet, SLICE};
use crate::sync::watch::{self, Bereaved};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The most pauses in a back-off.
const PAUSES: u64 = 16;
/// After a death was told that can't be confirmed yet (the kernel is still at it): so many
/// looks, a millisecond apart.
const GRIEF: u32 = 100;
/// More than a tick of the coarse clock, in nanoseconds: nobody who runs takes so long.
const A_WHILE: u64 = 12_000_000;
/// Polling that failed so often in a row is given up …
const IN_VAIN: u32 = 4;
/// … until so many waits have passed.
const TRY_AGAIN: u32 = 256;

/// A handle's part in a segment: a row, and what it heard of deaths.
#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) segment: Segment,
    member: Member,
    spin: Duration,
    quiet: Quiet,
    /// Looks still to be taken because somebody died.
    grief: AtomicU32,
    watches_owner: AtomicBool,
    /// The coarse clock when a waiting sender last asked the kernel about the owner.
    looked: AtomicU64,
    /// Waits since polling last helped.
    vain: AtomicU32,
}

impl Bereaved for Attachment {
    fn process_died(&self, _pid: u32) {
        if self.segment.is_ours() {
            self.grief.store(GRIEF, Release);
            self.segment.wake_all();
        }
    }
}

impl Attachment {
    fn new(segment: Segment, member: Member, spin: Duration) -> Arc<Attachment> {
        if !cpu::register_for_barriers() {
            Bell::pin(&segment.header().bells.fence);
        }
        Arc::new(Attachment {
            segment,
            member,
            spin,
            quiet: Quiet::default(),
            grief: AtomicU32::new(0),
            watches_owner: AtomicBool::new(false),
            looked: AtomicU64::new(0),
            vain: AtomicU32::new(0),
        })
    }

    fn messages(&self) -> Bell<'_> {
        let bells = &self.segment.header().bells;
        Bell::new(&bells.messages, &bells.fence)
    }

    fn room(&self) -> Bell<'_> {
        let bells = &self.segment.header().bells;
        Bell::new(&bells.room, &bells.fence)
    }

    fn end(&self) -> Bell<'_> {
        let bells = &self.segment.header().bells;
        Bell::new(&bells.end, &bells.fence)
    }

    /// How long to poll before sleeping. Not at all with one processor; and where this thread
    /// is bound to one and polling was in vain a few times, the other end is most probably
    /// bound to the same: then only now and then.
    fn spin(&self) -> Duration {
        if self.spin.is_zero() {
            return Duration::ZERO;
        }
        match cpu::company() {
            Company::Likely => self.spin,
            Company::Alone => Duration::ZERO,
            Company::Unsure => {
                let vain = self.vain.load(Relaxed);
                self.vain.store(if vain >= TRY_AGAIN { 0 } else { vain + 1 }, Relaxed);
                if vain < IN_VAIN { self.spin } else { Duration::ZERO }
            }
        }
    }

    /// The wait was over before it came to sleeping.
    fn spun_well(&self) {
        if self.vain.load(Relaxed) != 0 {
            self.vain.store(0, Relaxed);
        }
    }

    /// Asks to be told when the member's process ends.
    fn watch(self: &Arc<Self>, member: Member) -> bool {
        let Ok(row) = self.segment.rows.get(member) else { return false };
        let pid = row.pid.load(Relaxed) as u32;
        let weak: Weak<Attachment> = Arc::downgrade(self);
        row.namespace.load(Relaxed) == pid::namespace()
            && watch::watch(pid, weak, || !self.segment.is_dead(member))
    }

    /// How long a sleep may be: short while a death is being confirmed.
    fn patience(&self) -> Duration {
        let left = self.grief.load(Acquire);
        if left == 0 {
            return SLICE;
        }
        self.grief.store(left - 1, Relaxed);
        Duration::from_millis(1)
    }

    /// What a sender does before it sleeps: is there still an owner to wait for?
    fn look_for_owner(self: &Arc<Self>) -> Result<Duration, Refusal> {
        let now = clock::coarse();
        let since = now.wrapping_sub(self.looked.load(Relaxed));
        if self.grief.load(Acquire) > 0 || since >= SLICE.as_nanos() as u64 {
            self.looked.store(now, Relaxed);
            if self.segment.is_ownerless() {
                return Err(Refusal::Closed(self.buried()));
            }
            if !self.watches_owner.load(Relaxed) {
                if self.watch(OWNER) {
                    self.watches_owner.store(true, Relaxed);
                } else if self.segment.is_ownerless() {
                    return Err(Refusal::Closed(self.buried())); // it died between the two
                }
            }
        }
        Ok(self.patience())
    }

    /// What an owner does before it sleeps, once a second: can anybody still find it?
    fn lost_its_name(&self) -> bool {
        let now = clock::coarse();
        if now.wrapping_sub(self.looked.load(Relaxed)) < SLICE.as_nanos() as u64 {
            return false;
        }
        self.looked.store(now, Relaxed);
        self.segment.is_nameless()
    }

    #[cold]
    fn buried(&self) -> Closed {
        let closed = cleanup::finish(&self.segment);
        cleanup::bury(&self.segment);
        closed
    }

    /// Looks at a place that is claimed but not published, and skips it if its claimant died.
    fn recover(&self, place: Place) -> Unpublished {
        let found = self.segment.slots.recover(place, |member| self.segment.is_dead(member));
        if found == Unpublished::Recovered {
            self.room().wake();
        }
        found
    }

    /// The same before a sleep: whoever is about to publish there is watched meanwhile.
    fn recover_or_watch(self: &Arc<Self>, place: Place) -> bool {
        match self.recover(place) {
            Unpublished::Pending(member) => {
                !self.watch(member) && self.recover(place) == Unpublished::Recovered
            }
            found => found == Unpublished::Recovered,
        }
    }

    /// Whether somebody closed it, for whatever reason.
    fn is_marked_closed(&self) -> bool {
        self.segment.header().life.uncollected.load(Acquire) != 0 || self.segment.is_retired()
    }

    /// How many messages wait; none, as far as a forked child can tell.
    pub(crate) fn length(&self) -> u64 {
        if !self.segment.is_ours() {
            return 0;
        }
        let head = self.segment.header().head.position.load(Acquire);
        self.segment.slots.count(head, self.segment.tail(), |member| self.segment.is_dead(member))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.taken() == 0 || self.length() == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.taken() >= self.segment.geometry.capacity
    }

    /// Places that are taken: by messages, by claims, by the dead.
    fn taken(&self) -> u64 {
        if !self.segment.is_ours() {
            return 0;
        }
        let head = self.segment.header().head.position.load(Acquire);
        self.segment.tail().wrapping_sub(head)
    }

    pub(crate) fn stat(&self) -> Result<Stat, Error> {
        if self.segment.is_ours() { stat::of(&self.segment) } else { Err(Error::Forked) }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if self.segment.is_ours() {
            let named_until = self.segment.named_until(self.member);
            member::leave(&self.segment.rows, self.member, named_until);
        }
    }
}

/// Notices, without asking the kernel, that a place stays unpublished. Most are just being
/// written; one that was so [`A_WHILE`] ago may have been claimed by somebody who died.
#[derive(Debug)]
struct Stuck {
    position: AtomicU64,
    /// The coarse clock when it was first found so, and when this was last told.
    since: AtomicU64,
    told: AtomicU64,
}

impl Stuck {
    fn new() -> Stuck {
        Stuck { position: AtomicU64::new(u64::MAX), since: AtomicU64::new(0), told: AtomicU64::new(0) }
    }

    /// Whether this position was found unpublished some time ago already; at most once a tick.
    #[inline]
    fn for_a_while(&self, position: u64) -> bool {
        let now = clock::coarse();
        if self.position.load(Relaxed) != position {
            self.position.store(position, Relaxed);
            self.since.store(now, Relaxed);
            return false;
        }
        now.wrapping_sub(self.since.load(Relaxed)) > A_WHILE && self.told.swap(now, Relaxed) != now
    }
}

/// What a sender or an owner wants of a mailbox.
pub(crate) struct Wish<'a> {
    pub(crate) domain: &'a Domain,
    pub(crate) name: &'a Name,
    pub(crate) format: &'a Format,
    pub(crate) member: &'a str,
    pub(crate) spin: Duration,
}

#[cold]
fn closed(segment: &Segment) -> Refusal {
    Refusal::Closed(cleanup::finish(segment))
}

#[cold]
fn too_long(length: u64, max: u64) -> Refusal {
    Error::TooLong { length, max }.into()
}

#[cold]
fn forked() -> Refusal {
    Error::Forked.into()
}

/// Lets the other end get ahead; see the module's text.
#[inline]
fn back_off(run: u64) {
    if run > 1 {
        for _ in 0..run.min(PAUSES) {
            std::hint::spin_loop();
        }
    }
}
