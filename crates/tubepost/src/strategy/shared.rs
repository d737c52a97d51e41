//! The shared strategy: a queue in memory that all members map.
//!
//! [`Outlet`] is a sender's end, [`Inlet`] the owner's. Both are thin: the queue's algorithm
//! is in `queue::slots`, sleeping in `sync::wait`, death in `domain::member`. What is decided
//! here is *when to look*:
//!
//! - **Is the owner dead?** A sender that blocks has its process watch the owner and is told.
//!   One that never blocks looks at a coarse clock on each call (3 ns) and, when it has
//!   ticked, at the owner's progress; without progress, or after a pause, it asks the kernel.
//!   A sender that streams (more than [`DENSE`] messages in one tick) looks at the clock only
//!   every [`STRIDE`] messages.
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

use super::Refusal;
use crate::domain::entry::{self, Plan, Segment};
use crate::domain::member::{self, NoRow, Peer};
use crate::domain::name::Name;
use crate::domain::stat::{self, Stat};
use crate::domain::{Domain, cleanup, failed};
use crate::error::{Closed, Error};
use crate::format::Format;
use crate::memory::payload::Unfit;
use crate::os::cpu::Company;
use crate::os::{clock, cpu, pid};
use crate::queue::layout::{Geometry, OWNER, ROWS};
use crate::queue::mapped::SlotPayload;
use crate::queue::slots::{Head, Member, Place, Refused, Unpublished, Words};
use crate::sync::sole::{Held, Sole};
use crate::sync::wait::{Bell, Quiet, SLICE};
use crate::sync::watch::{self, Bereaved};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Messages in one tick of the coarse clock from which a sender counts as streaming.
const DENSE: u32 = 64;
/// A streaming sender looks at the clock every so many messages.
const STRIDE: u32 = 16;
/// The owner's progress proves that it lives if both looks lie within this many nanoseconds.
const PROGRESS: u64 = 12_000_000;
/// The most pauses in a back-off.
const PAUSES: u64 = 16;
/// A sender moves the shared hint once in so many positions.
const HINT_EVERY: u64 = 64;
/// After a death was told that can't be confirmed yet (the kernel is still at it): so many
/// looks, a millisecond apart.
const GRIEF: u32 = 100;
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
    fn look_for_owner(self: &Arc<Self>, slept: &mut bool) -> Result<Duration, Refusal> {
        // Watched, told of nothing and not asleep for a whole slice: it lives.
        let told = self.grief.load(Acquire) > 0;
        let sure = self.watches_owner.load(Relaxed) && !told && !*slept;
        *slept = true;
        if !sure {
            if self.segment.is_ownerless() {
                return Err(Refusal::Closed(self.buried()));
            }
            if !self.watches_owner.load(Relaxed) && self.watch(OWNER) {
                self.watches_owner.store(true, Relaxed);
            }
        }
        Ok(self.patience())
    }

    #[cold]
    fn buried(&self) -> Closed {
        let closed = cleanup::finish(&self.segment);
        cleanup::bury(&self.segment);
        closed
    }

    /// Looks at a place that is claimed but not published, and skips it if its claimant died.
    fn recover(self: &Arc<Self>, place: Place) -> Unpublished {
        let found = self.segment.slots.recover(place, |member| self.segment.is_dead(member));
        match found {
            Unpublished::Pending(member) => {
                self.watch(member);
            }
            Unpublished::Recovered => self.room().wake(),
            Unpublished::Unclaimed => {}
        }
        found
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
            member::leave(&self.segment.rows, self.member, self.segment.tail());
        }
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
            let row = member::register(fd.as_fd(), &segment.rows, &introduction, head, || segment.tail());
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
        // Most probably it is being written this instant: ask the kernel only if the clock
        // ticks meanwhile.
        let now = clock::coarse();
        if self.tick.swap(now, Relaxed) == now {
            return false;
        }
        self.at.recover(oldest) == Unpublished::Recovered
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
        if moved && since <= PROGRESS && self.at.grief.load(Acquire) == 0 {
            return Ok(());
        }
        if self.at.segment.is_ownerless() {
            return Err(Refusal::Closed(self.at.buried()));
        }
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
        let at = &self.at;
        let spin = at.spin();
        if !spin.is_zero() {
            let cursor = self.cursor.load(Relaxed);
            back_off(cursor.wrapping_sub(self.full_at.swap(cursor, Relaxed)));
        }
        let (mut slept, mut asleep) = (false, false);
        let done = at.room().wait(
            spin,
            deadline,
            || match self.try_send(bytes) {
                Err(Refusal::Waiting) => None,
                done => Some(done),
            },
            || {
                asleep = true;
                let patience = at.look_for_owner(&mut slept).map_err(Err)?;
                let refused = at.segment.slots.place(self.cursor.load(Relaxed));
                if let Some(oldest) = at.segment.slots.before(refused)
                    && at.recover(oldest) == Unpublished::Recovered
                {
                    return Ok(Duration::ZERO);
                }
                Ok(patience)
            },
        );
        if !asleep {
            at.spun_well();
        }
        done.unwrap_or(Err(Refusal::Waiting))
    }

    /// Waits until the mailbox is closed, at most until the deadline.
    pub(crate) fn closed(&self, deadline: Option<Instant>) -> Result<Closed, Refusal> {
        let at = &self.at;
        if !at.segment.is_ours() {
            return Err(forked());
        }
        let mut slept = true; // so that the first look asks the kernel
        let done = at.end().wait(
            Duration::ZERO,
            deadline,
            || self.is_marked_closed().then(|| Ok(cleanup::finish(&at.segment))),
            || match at.look_for_owner(&mut slept) {
                Err(Refusal::Closed(closed)) => Err(Ok(closed)),
                Err(other) => Err(Err(other)),
                Ok(patience) => Ok(patience),
            },
        );
        done.unwrap_or(Err(Refusal::Waiting))
    }

    fn is_marked_closed(&self) -> bool {
        let life = &self.at.segment.header().life;
        life.uncollected.load(Acquire) != 0 || self.at.segment.is_retired()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.at.segment.is_ours() && (self.is_marked_closed() || self.at.segment.is_ownerless())
    }
}

/// The owner's end: one per mailbox, shared by the owner's threads.
#[derive(Debug)]
pub(crate) struct Inlet {
    pub(crate) at: Arc<Attachment>,
    sole: Sole,
    closed: AtomicBool,
    /// The next position to receive. The copy in shared memory is for others to read.
    head: AtomicU64,
    skipped: AtomicU64,
    /// The head when the queue was last found empty.
    empty_at: AtomicU64,
    /// The coarse clock when a `try_` call last looked at an unpublished head.
    tick: AtomicU64,
}

/// The message at the head, to be read and [`consume`](Self::consume)d; dropped, it stays.
/// Nobody else receives meanwhile.
pub(crate) struct Taken<'a> {
    inlet: &'a Inlet,
    held: Held<'a>,
    place: Place,
    member: Member,
    pub(crate) payload: SlotPayload<'a>,
}

impl Taken<'_> {
    pub(crate) fn position(&self) -> u64 {
        self.place.position
    }

    pub(crate) fn sender(&self) -> Peer {
        let row = self.inlet.at.segment.rows.get(self.member);
        row.map_or_else(|_| Peer { pid: 0, name: String::new() }, member::peer)
    }

    /// The message was read: its place is free.
    #[inline]
    pub(crate) fn consume(self) {
        let at = &*self.inlet.at;
        at.segment.slots.free(self.place);
        self.inlet.move_head(self.place.position);
        drop(self.held);
        at.room().ring(&at.quiet);
    }

    /// The bytes make no message, for this reason. What doesn't fit the buffer stays.
    #[cold]
    pub(crate) fn unfit(self, unfit: Unfit) -> Refusal {
        let error = match unfit {
            Unfit::TooShort { length, room } => return too_long(length as u64, room as u64),
            Unfit::NotText => Error::BadText,
            Unfit::WrongLength { .. } => self.inlet.impossible_length(),
        };
        self.consume();
        error.into()
    }
}

impl Inlet {
    pub(crate) fn own(wish: &Wish<'_>, geometry: Geometry, format: &str) -> Result<Inlet, Error> {
        let plan = Plan { geometry, format, mode: 0o600, owner: wish.member };
        let reachable = cpu::register_for_barriers();
        let segment = entry::create(wish.domain, wish.name, &plan)?;
        Ok(Inlet {
            at: Attachment::new(segment, OWNER, wish.spin),
            sole: Sole::new(reachable),
            closed: AtomicBool::new(false),
            head: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            empty_at: AtomicU64::new(0),
            tick: AtomicU64::new(0),
        })
    }

    /// Takes the next message if there is one.
    #[inline(always)]
    fn take(&self) -> Result<Taken<'_>, Refusal> {
        let at = &*self.at;
        if !at.segment.is_ours() {
            return Err(forked());
        }
        let held = self.sole.hold();
        if self.closed.load(Relaxed) {
            return Err(closed(&at.segment));
        }
        let slots = &at.segment.slots;
        loop {
            let head = self.head.load(Relaxed);
            match slots.head(head) {
                Head::Message(place, state) => {
                    let Some(payload) = slots.words.payload(place) else {
                        slots.free(place);
                        self.move_head(head);
                        return Err(self.impossible_length().into());
                    };
                    return Ok(Taken { inlet: self, held, place, member: state.member(), payload });
                }
                Head::Skipped => self.skip(head),
                Head::Empty(_) => return Err(Refusal::Waiting),
            }
        }
    }

    #[cold]
    fn impossible_length(&self) -> Error {
        Error::Damaged {
            name: self.at.segment.name.to_string(),
            what: "a message has an impossible length; it was dropped".into(),
        }
    }

    /// Walks over a place whose claimant died. The caller holds the lock.
    #[cold]
    fn skip(&self, head: u64) {
        let skipped = self.skipped.load(Relaxed) + 1;
        self.skipped.store(skipped, Relaxed);
        self.at.segment.header().head.skipped.store(skipped, Relaxed);
        self.move_head(head);
    }

    #[inline]
    fn move_head(&self, head: u64) {
        self.head.store(head + 1, Relaxed);
        self.at.segment.header().head.position.store(head + 1, Release);
    }

    /// Takes the next message if there is one now.
    #[inline(always)]
    pub(crate) fn try_recv(&self) -> Result<Taken<'_>, Refusal> {
        loop {
            match self.take() {
                Err(Refusal::Waiting) if self.head_was_recovered() => {}
                done => return done,
            }
        }
    }

    /// Looks whether a dead claimant holds the head back, when the clock has ticked.
    #[inline]
    fn head_was_recovered(&self) -> bool {
        let now = clock::coarse();
        if self.tick.load(Relaxed) == now {
            return false;
        }
        self.tick.store(now, Relaxed);
        self.recover_head()
    }

    #[cold]
    fn recover_head(&self) -> bool {
        let mut recovered = false;
        loop {
            let slots = &self.at.segment.slots;
            match slots.head(self.head.load(Relaxed)) {
                Head::Empty(place) if self.at.recover(place) == Unpublished::Recovered => recovered = true,
                _ => return recovered,
            }
            // Walk over it, so that several in a row are dealt with at once.
            let _held = self.sole.hold();
            let head = self.head.load(Relaxed);
            if slots.head(head) == Head::Skipped {
                self.skip(head);
            }
        }
    }

    /// Takes the next message, waiting for it until the deadline.
    #[inline(always)]
    pub(crate) fn recv(&self, deadline: Option<Instant>) -> Result<Taken<'_>, Refusal> {
        loop {
            match self.take() {
                Err(Refusal::Waiting) => self.wait_for_message(deadline)?,
                done => return done,
            }
        }
    }

    /// Waits until there seems to be a message, or the mailbox is closed.
    #[cold]
    fn wait_for_message(&self, deadline: Option<Instant>) -> Result<(), Refusal> {
        let at = &self.at;
        let spin = at.spin();
        if !spin.is_zero() {
            let head = self.head.load(Relaxed);
            back_off(head.wrapping_sub(self.empty_at.swap(head, Relaxed)));
        }
        let mut asleep = false;
        let done = at.messages().wait(
            spin,
            deadline,
            || self.may_take().then_some(()),
            || {
                asleep = true;
                Ok(if self.recover_head() { Duration::ZERO } else { at.patience() })
            },
        );
        if !asleep {
            at.spun_well();
        }
        done.ok_or(Refusal::Waiting)
    }

    #[inline]
    fn may_take(&self) -> bool {
        let head = self.at.segment.slots.head(self.head.load(Relaxed));
        !matches!(head, Head::Empty(_)) || self.closed.load(Relaxed)
    }

    /// Ends the mailbox: nothing is received from now on, nobody can send, the name is free.
    pub(crate) fn close(&self) -> Result<Closed, Error> {
        if !self.at.segment.is_ours() {
            return Err(Error::Forked);
        }
        let segment = &self.at.segment;
        let closed = {
            let _held = self.sole.hold();
            self.closed.store(true, Relaxed);
            cleanup::finish(segment)
        };
        segment.mark_retired();
        segment.wake_all();
        segment.retire(|| true);
        Ok(closed)
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        let _ = self.close();
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
