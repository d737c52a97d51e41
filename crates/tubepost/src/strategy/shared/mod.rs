//! The shared strategy: a queue in memory that all members map.
//!
//! [`outlet`] is a sender's end, [`endless`] what it does where there is no capacity, [`inlet`] a receiver's end, [`handoff`] both of capacity zero; here is what both have in common. All are thin: the queue's
//! algorithm is in `queue::slots` and `queue::takes`, sleeping in `sync::wait`, death in `domain::member`. What is
//! decided here is *when to look*:
//!
//! - **Is the owner dead?** A sender that blocks has its process watch the owner and is told.
//!   One that never blocks looks at a coarse clock on each call (3 ns) and, when it has
//!   ticked, at the owner's progress; without progress, or after a pause, it asks the kernel.
//!   A sender that streams (more than `DENSE` messages in one tick) looks at the clock only
//!   every `STRIDE` messages.
//! - **Is the claimant at the head dead?** Looked at before every sleep, and by `try_` calls
//!   when the clock has ticked.
//! - **Did a receiver die with a message?** Receivers that sleep have their processes watch one another.
//!   Besides, every receiver looks once a second, however busy or idle it is.
//! - **Is there memory that nobody needs?** Looked at by a receiver that has waited for a second.
//!
//! **Back off.** An end that has caught up with the other, after a run of messages, pauses in
//! proportion to that run (at most [`PAUSES`]) before it looks again. Otherwise the two fight
//! for every line: in a stream this is worth a factor of three, and for one message at a time
//! it costs nothing, for then there is no run.
//!
//! **Looking closely.** After that a receiver looks without a pause for a few hundred nanoseconds
//! (`sync::wait`): the answer to what was just sent comes in that time, and a pause takes half as
//! long as a cache line's way.
//!
//! **What if it dies here?** An outlet: see `queue::slots` and `queue::chunks`. An inlet that owns the mailbox:
//! the kernel lets go of its lock, and whoever notices buries the mailbox (`domain::cleanup`). One
//! that competes: see `queue::takes` and `queue::in_hand`.

mod alone;
pub(crate) mod attach;
pub(crate) mod batch;
pub(crate) mod calls;
mod closing;
pub(crate) mod collected;
pub(crate) mod door;
pub(crate) mod end;
mod endless;
pub(crate) mod handed_on;
mod handoff;
mod idle;
pub(crate) mod inlet;
pub(crate) mod link;
pub(crate) mod loaned;
mod numbered;
mod offer;
pub(crate) mod outlet;
mod overdue;
pub(crate) mod pair;
pub(crate) mod pending;
#[cfg(feature = "tokio")]
mod reactor;
pub(crate) mod rules;
pub(crate) mod several;
pub(crate) mod taken;
pub(crate) mod tasks;
mod unwanted;

use self::door::Doorway;
use super::Refusal;
use crate::domain::cleanup;
use crate::domain::member;
use crate::domain::segment::Segment;
use crate::domain::stat::{self, Stat};
use crate::error::{Closed, Error};
use crate::os::cpu::Company;
use crate::os::{clock, cpu, pid};
use crate::queue::chunks::Ticket;
use crate::queue::layout::{OWNER, RECEIVES, ROWS, SENDER};
use crate::queue::runs::{RUN, Run};
use crate::queue::slots::{Member, Place, Unpublished};
use crate::sync::sole::Sole;
use crate::sync::wait::{Bell, Quiet, SLICE};
use crate::sync::watch::{self, Bereaved};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// Calls in one tick of the coarse clock from which they count as a stream.
const DENSE: u32 = 64;
/// In a stream the clock is looked at every so many calls.
const STRIDE: u32 = 16;
/// The most pauses in a back-off.
const PAUSES: u64 = 16;
/// After a death was told that can't be confirmed yet (the kernel is still at it): so many
/// looks, a millisecond apart.
const GRIEF: u32 = 100;
/// More than a tick of the coarse clock, in nanoseconds: nobody who runs takes so long.
const A_WHILE: u64 = 12_000_000;
/// A receiver watches at most so many others; it hears of the rest within a second.
const WATCHED: u32 = 64;
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
    /// Quarters of pauses for which a call does not look for its answer; see `calls`.
    away: AtomicU32,
    /// For those who wait for a descriptor.
    doorway: Doorway,
    /// Of a link's way back: the way there.
    other_way: OnceLock<Weak<Attachment>>,
    /// Of a link's way there: its threads, one at a time; see `alone`.
    alone: Option<Sole>,
    /// What its threads and tasks offered when it stopped sending, and nobody had taken.
    taken_back: OnceLock<Vec<Ticket>>,
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
    pub(crate) fn new(segment: Segment, member: Member, spin: Duration) -> Arc<Attachment> {
        let reachable = cpu::register_for_barriers();
        if !reachable {
            Bell::pin(&segment.header().bells.fence);
        }
        let sends_alone = member == SENDER && segment.is_link();
        Arc::new(Attachment {
            alone: sends_alone.then(|| Sole::new(reachable)),
            taken_back: OnceLock::new(),
            segment,
            member,
            spin,
            quiet: Quiet::default(),
            grief: AtomicU32::new(0),
            watches_owner: AtomicBool::new(false),
            looked: AtomicU64::new(0),
            vain: AtomicU32::new(0),
            away: AtomicU32::new(0),
            doorway: Doorway::default(),
            other_way: OnceLock::new(),
        })
    }

    /// The row of this handle.
    pub(crate) fn member(&self) -> Member {
        self.member
    }

    /// How long to poll before sleeping. Not at all with one processor; and where this thread
    /// is bound to one and polling was in vain a few times, the other end is most probably
    /// bound to the same: then only now and then.
    pub(crate) fn spin(&self) -> Duration {
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
    pub(crate) fn spun_well(&self) {
        if self.vain.load(Relaxed) != 0 {
            self.vain.store(0, Relaxed);
        }
    }

    /// Asks to be told when the member's process ends.
    pub(crate) fn watch(self: &Arc<Self>, member: Member) -> bool {
        let Ok(row) = self.segment.rows.get(member) else { return false };
        let pid = row.pid.load(Relaxed) as u32;
        let weak: Weak<Attachment> = Arc::downgrade(self);
        if let Some(bound) = self.segment.bound() {
            bound.tell(weak.clone());
        }
        pid::means_here(row.namespace.load(Relaxed))
            && watch::watch(pid, weak, || !self.segment.is_dead(member))
    }

    /// Gives the memory of free chunks back.
    #[cold]
    fn trim(&self) {
        if self.segment.header().chunks.backed.load(Relaxed) > 0 {
            self.segment.chunks.trim(self.member, false);
            self.segment.trim_segments(self.member, false);
        }
    }

    /// Has this process watch the other receivers, whose messages would come back here.
    pub(crate) fn watch_receivers(self: &Arc<Self>) {
        let used = self.segment.header().tail.rows.load(Acquire).min(ROWS);
        let mut left = WATCHED;
        for member in u64::from(OWNER) + 1..used {
            let member = member as Member;
            let Ok(row) = self.segment.rows.get(member) else { return };
            let other = member != self.member && row.role.load(Relaxed) & RECEIVES != 0;
            if other && member::is_active(row) && left > 0 {
                left -= 1;
                self.watch(member);
            }
        }
    }

    /// What this handle met of sleepers.
    #[inline]
    pub(crate) fn quiet(&self) -> &Quiet {
        &self.quiet
    }

    /// Whether somebody died of whom that can't be confirmed yet.
    pub(crate) fn grieves(&self) -> bool {
        self.grief.load(Acquire) > 0
    }

    /// How long a sleep may be: short while a death is being confirmed.
    pub(crate) fn patience(&self) -> Duration {
        let left = self.grief.load(Acquire);
        if left == 0 {
            return SLICE;
        }
        self.grief.store(left - 1, Relaxed);
        Duration::from_millis(1)
    }

    /// As [`look_for_owner`](Self::look_for_owner), for one that waits for what was sent.
    pub(crate) fn look_for_end(self: &Arc<Self>) -> Result<Duration, Refusal> {
        if self.segment.is_closed() { Err(closed(&self.segment)) } else { self.look_for_owner() }
    }

    /// What a sender does before it sleeps: is there still somebody to wait for?
    pub(crate) fn look_for_owner(self: &Arc<Self>) -> Result<Duration, Refusal> {
        let now = clock::coarse();
        let since = now.wrapping_sub(self.looked.load(Relaxed));
        if self.grief.load(Acquire) > 0 || since >= SLICE.as_nanos() as u64 {
            self.looked.store(now, Relaxed);
            if self.segment.is_over() {
                return Err(Refusal::Closed(self.buried()));
            }
            if self.segment.geometry.choice.owned && !self.watches_owner.load(Relaxed) {
                if self.watch(OWNER) {
                    self.watches_owner.store(true, Relaxed);
                } else if self.segment.is_over() {
                    return Err(Refusal::Closed(self.buried())); // it died between the two
                }
            }
        }
        Ok(self.patience())
    }

    /// Looked at before a sleep, once a second: can anybody still find it?
    pub(crate) fn lost_its_name(&self) -> bool {
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
        let _ = cleanup::bury(&self.segment); // it may not be ours to remove
        closed
    }

    /// Looks at a place that is claimed but not published, and skips it if its claimant died.
    fn recover(&self, place: Place) -> Unpublished {
        let _visit = self.segment.visit();
        let place = self.segment.slots.place(place.position); // that may be elsewhere by now
        let found = self.segment.slots.recover(place, |member| {
            planted!(TimeoutForDeath => if crate::planted::waited_long_for(place.position) { return true });
            self.segment.is_dead(member)
        });
        if found == Unpublished::Recovered {
            self.recover_behind(place);
            self.segment.room().wake();
        }
        found
    }

    /// Who died may have claimed several, one after the other: whoever would have to find out about each of them in
    /// turn might take long.
    #[cold]
    fn recover_behind(&self, place: Place) {
        let slots = &self.segment.slots;
        let run = Run { first: slots.next(place), length: RUN - 1 };
        let dead = |member| self.segment.is_dead(member);
        slots.places(run).take_while(|next| slots.recover(*next, dead) == Unpublished::Recovered).count();
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

    /// How many messages wait; none, as far as a forked child can tell.
    pub(crate) fn length(&self) -> u64 {
        // Where nothing waits, what was given back does not either.
        if !self.segment.is_ours() || self.segment.handoff.is_some() || self.segment.geometry.choice.handed_on
        {
            return 0;
        }
        self.segment.waiting()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.segment.geometry.capacity().is_some_and(|capacity| self.taken() >= capacity)
    }

    /// Places that are taken: by messages, by claims, by the dead.
    fn taken(&self) -> u64 {
        if !self.segment.is_ours() {
            return 0;
        }
        let unfreed = self.segment.unfreed();
        self.segment.tail().wrapping_sub(unfreed)
    }

    pub(crate) fn stat(&self) -> Result<Stat, Error> {
        if self.segment.is_ours() || self.segment.is_disowned() {
            stat::of(&self.segment)
        } else {
            Err(Error::Forked)
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if self.segment.is_ours() {
            self.shut_door();
            self.segment.leave(self.member);
            self.tell_deserted();
        }
    }
}

/// When a call looks at the clock: each one, but where they stream, only every [`STRIDE`]th.
#[derive(Debug, Default)]
struct Pace {
    /// The coarse clock at the last look.
    tick: AtomicU64,
    /// Calls in this tick, and calls to come without a look.
    dense: AtomicU32,
    unlooked: AtomicU32,
}

impl Pace {
    /// How much time has passed since this was last told, if the clock has ticked, or if it is `pressing`.
    #[inline]
    fn ticked(&self, pressing: bool) -> Option<u64> {
        let unlooked = self.unlooked.load(Relaxed);
        if unlooked > 0 && !pressing {
            self.unlooked.store(unlooked - 1, Relaxed);
            return None;
        }
        let now = clock::coarse();
        if now == self.tick.load(Relaxed) && !pressing {
            let dense = self.dense.load(Relaxed);
            if dense > DENSE {
                self.unlooked.store(STRIDE - 1, Relaxed);
            } else {
                self.dense.store(dense + 1, Relaxed);
            }
            return None;
        }
        self.dense.store(0, Relaxed);
        Some(now.wrapping_sub(self.tick.swap(now, Relaxed)))
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

#[cold]
fn closed(segment: &Segment) -> Refusal {
    Refusal::Closed(cleanup::finish(segment))
}

#[cold]
fn too_long(length: u64, max: u64) -> Refusal {
    Error::TooLong { length, max }.into()
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
