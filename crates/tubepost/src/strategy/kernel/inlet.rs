//! The owner's end: its threads take turns at the desk, and sleep in `epoll` while they don't.
//!
//! What lies on the desk no socket tells of. So whoever leaves the desk with something on it, while others sleep, nudges them by an
//! eventfd; who wakes takes the nudge away before it looks, and nudges the next one. The same descriptor of `epoll` is what an event loop is given.

use super::desk::{Desk, Next};
use super::link::Way;
use super::meeting::{Meeting, Present};
use super::taken::Taken;
use super::waiting::Waiters;
use crate::domain::cleanup;
use crate::domain::entry::Plan;
use crate::domain::segment::Segment;
use crate::domain::sockets::Sockets;
use crate::domain::stat::{self, Stat};
use crate::domain::{failed, sockets};
use crate::error::{Closed, Error};
use crate::os::cpu::{self, Company};
use crate::os::{Errno, clock};
use crate::strategy::shared::attach::Wish;
use crate::strategy::shared::batch::Collect;
use crate::strategy::shared::pending::Wait;
use crate::strategy::shared::rules::{DeadLetters, Rules};
use crate::strategy::{Arrival, Refusal, With};
use crate::sync::wait::{SLICE, poll};
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// After there was no room for dead letters they are not tried again for so long, in nanoseconds.
const A_BREAK: u64 = 100_000_000;

/// The owner's end.
#[derive(Debug)]
pub(crate) struct Inlet {
    segment: Segment,
    spin: Duration,
    rules: Rules,
    desk: Mutex<Desk>,
    epoll: OwnedFd,
    nudge: OwnedFd,
    /// Threads that sleep, or are about to.
    sleepers: AtomicU32,
    /// Tasks that wait.
    waiters: Waiters,
    /// Where nothing is stored.
    meeting: Option<Meeting>,
    /// Somebody may wait at the descriptor, at any time.
    watched: AtomicBool,
    closed: AtomicBool,
    /// The coarse clock when the name was last looked for, and before which dead letters are not tried.
    looked: AtomicU64,
    full_until: AtomicU64,
    /// Of a link.
    pub(super) way: Option<Way>,
}

const DESCRIPTORS: &str = "to get a descriptor to receive by, for";

/// What an owner's threads wait at.
struct Descriptors {
    epoll: OwnedFd,
    nudge: OwnedFd,
}

impl Descriptors {
    /// The second one is the desk's.
    fn new() -> Result<(Descriptors, OwnedFd), Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let for_desk = rustix::io::fcntl_dupfd_cloexec(&epoll, 0)?;
        let nudge = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok((Descriptors { epoll, nudge }, for_desk))
    }
}

impl Inlet {
    /// Creates a mailbox that this process owns.
    pub(crate) fn own(wish: &Wish<'_>, plan: &Plan<'_>, rules: Rules) -> Result<Inlet, Error> {
        let trouble = |errno| failed(DESCRIPTORS, wish.domain.path(), errno);
        let (descriptors, for_desk) = Descriptors::new().map_err(trouble)?;
        let (segment, sockets) = sockets::create_with_sockets(wish.domain, wish.name, plan)?;
        let desk = match Desk::new(sockets, for_desk, descriptors.nudge.as_fd(), &segment) {
            Ok(desk) => desk,
            Err(errno) => {
                let _ = segment.retire(|| true); // nobody can have sent anything that is lost with it
                return Err(trouble(errno));
            }
        };
        Ok(Inlet::new(segment, wish.spin, rules, desk, descriptors, None))
    }

    /// The receiving end of a link, with what `way` gives for it.
    pub(super) fn with_way(
        segment: Segment,
        spin: Duration,
        credit: Arc<OwnedFd>,
        way: impl FnOnce(&Segment, OwnedFd, &mut Desk) -> Option<Way>,
    ) -> Result<Inlet, Error> {
        let path = segment.path();
        let trouble = |errno| failed(DESCRIPTORS, &path, errno);
        let (descriptors, for_desk) = Descriptors::new().map_err(trouble)?;
        let nudge = rustix::io::fcntl_dupfd_cloexec(&descriptors.nudge, 0).map_err(trouble)?;
        let sockets = Sockets { listener: None, credit: Some(credit) };
        let mut desk = Desk::new(sockets, for_desk, descriptors.nudge.as_fd(), &segment).map_err(trouble)?;
        let Some(way) = way(&segment, nudge, &mut desk) else {
            return Err(Error::Damaged { name: segment.name.to_string(), what: "it is no link".into() });
        };
        Ok(Inlet::new(segment, spin, Rules::default(), desk, descriptors, Some(way)))
    }

    fn new(
        segment: Segment,
        spin: Duration,
        rules: Rules,
        desk: Desk,
        Descriptors { epoll, nudge }: Descriptors,
        way: Option<Way>,
    ) -> Inlet {
        let meets = segment.geometry.choice.capacity == 0;
        let meeting = desk.sockets.credit.as_ref().filter(|_| meets).map(Meeting::by);
        Inlet {
            segment,
            spin,
            rules,
            desk: Mutex::new(desk),
            epoll,
            nudge,
            sleepers: AtomicU32::new(0),
            waiters: Waiters::default(),
            meeting,
            watched: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            looked: AtomicU64::new(clock::coarse()),
            full_until: AtomicU64::new(0),
            way,
        }
    }

    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, and all who connected are known.
    fn desk_now(&self) -> MutexGuard<'_, Desk> {
        let mut desk = self.desk();
        desk.know_all(&self.segment);
        desk
    }

    pub(super) fn dead_letters(&self) -> Option<&DeadLetters> {
        self.rules.dead_letters.as_ref()
    }

    /// Whether nothing is stored: sender and receiver meet.
    pub(super) fn meets(&self) -> bool {
        self.meeting.is_some()
    }

    pub(super) fn is_over(&self) -> bool {
        self.closed.load(Acquire) || self.segment.is_closing() || self.segment.is_closed()
    }

    #[cold]
    pub(super) fn ended(&self) -> Refusal {
        let _turn = self.desk(); // who just closes it counts
        Refusal::Closed(cleanup::finish(&self.segment))
    }

    /// Takes the next message if there is one.
    #[inline]
    fn take(&self) -> Result<Taken<'_>, Refusal> {
        self.take_to(true, false)
    }

    /// The same; `twice`: its bytes are needed more than once, so they have to be here; `closely`: whoever asks looks again at once.
    #[inline]
    fn take_to(&self, twice: bool, closely: bool) -> Result<Taken<'_>, Refusal> {
        if !self.segment.is_ours() {
            return Err(Error::Forked.into());
        }
        loop {
            if self.is_over() {
                return Err(self.ended());
            }
            let mut desk = self.desk();
            let letter = match desk.take(&self.segment, closely) {
                None if !closely && desk.looks_itself() && self.others_wait() && !desk.leave_lanes() => {
                    continue;
                }
                None => {
                    let deserted = desk.is_deserted();
                    drop(desk);
                    self.nothing(deserted)?;
                    continue;
                }
                Some(Next::Back(letter)) if self.rules.is_worn(letter.before) => letter,
                Some(Next::Fresh(fresh)) if fresh.lost => {
                    // It is consumed: what it lost nobody has any more.
                    desk.received(&fresh, &self.segment);
                    self.segment.header().sockets.received.fetch_add(1, Relaxed);
                    let doing = "to receive the descriptors of a message of";
                    return Err(failed(doing, &self.segment.path(), Errno::MFILE).into());
                }
                Some(mut next) => {
                    if let Next::Fresh(fresh) = &mut next
                        && (twice || self.rules.dead_letters.is_some())
                    {
                        fresh.body.fetch();
                    }
                    return Ok(Taken::new(self, desk, next));
                }
            };
            drop(desk);
            self.put_away(letter);
        }
    }

    /// Takes the next message if there is one now, and does this with it.
    #[inline]
    pub(crate) fn try_recv<W: With>(&self, mut with: W) -> Result<W::Result, Refusal> {
        loop {
            match with.message(self.take_to(W::HOLDS, false)?) {
                Err(Refusal::Waiting) => {} // its sender took it back
                done => return done,
            }
        }
    }

    /// Takes the next message, waiting for it until the deadline, and does this with it.
    #[inline]
    pub(crate) fn recv<W: With>(&self, deadline: Option<Instant>, mut with: W) -> Result<W::Result, Refusal> {
        loop {
            match with.message(self.next(deadline, W::HOLDS)?) {
                Err(Refusal::Waiting) => {} // its sender took it back
                done => return done,
            }
        }
    }

    fn next(&self, deadline: Option<Instant>, twice: bool) -> Result<Taken<'_>, Refusal> {
        let mut present = None;
        loop {
            match self.take_to(twice, false) {
                Err(Refusal::Waiting) => {}
                done => return done,
            }
            if let Some(present) = &present {
                Present::renew(present);
            } else {
                present = self.meeting.as_ref().map(Meeting::come);
            }
            let spin = match cpu::company() {
                Company::Likely => self.spin,
                // What is in memory comes without the kernel's help.
                Company::Unsure if self.segment.geometry.choice.sealed => self.spin,
                _ => Duration::ZERO,
            };
            let found = Cell::new(None);
            let look = || match self.take_to(twice, true) {
                Err(Refusal::Waiting) => false,
                done => {
                    found.set(Some(done));
                    true
                }
            };
            if !spin.is_zero() && poll(spin, deadline, look) {
                return found.into_inner().unwrap_or(Err(Refusal::Waiting));
            }
            self.sleepers.fetch_add(1, SeqCst);
            let done = self.sleep(deadline, twice);
            self.sleepers.fetch_sub(1, SeqCst);
            match done {
                Err(Refusal::Waiting) => {}
                done => return done,
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return self.take_to(twice, false);
            }
        }
    }

    /// Sleeps until there may be a message, unless there is one now.
    #[cold]
    fn sleep(&self, deadline: Option<Instant>, twice: bool) -> Result<Taken<'_>, Refusal> {
        self.clear_nudge();
        match self.take_to(twice, false) {
            Err(Refusal::Waiting) => {}
            done => return done,
        }
        let longest = self.look_before_waiting()?;
        let left = deadline.map_or(longest, |end| end.saturating_duration_since(Instant::now()).min(longest));
        if !left.is_zero() {
            let mut events = Vec::with_capacity(1);
            let time = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            // Too early does no harm.
            let _ = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&time));
        }
        Err(Refusal::Waiting)
    }

    /// What is done before a wait: how long that may be at most.
    pub(crate) fn look_before_waiting(&self) -> Result<Duration, Refusal> {
        if !self.segment.is_ours() {
            return Err(Error::Forked.into());
        }
        if self.is_over() {
            return Err(self.ended());
        }
        let now = clock::coarse();
        let again = now.wrapping_sub(self.looked.load(Relaxed)) >= SLICE.as_nanos() as u64;
        if again {
            self.looked.store(now, Relaxed);
            self.desk().hear_again();
            if self.segment.is_nameless() {
                self.close()?;
                return Err(self.ended());
            }
        }
        self.put_all_away();
        let longest = {
            let mut desk = self.desk();
            desk.shut_the_greedy(&self.segment);
            let longest = desk.idle(SLICE, &self.segment);
            if desk.expects_more() { Duration::ZERO } else { longest }
        };
        Ok(match &self.way {
            Some(way) => self.look_after_sender(way, again)?.min(longest),
            None => longest,
        })
    }

    /// Tries again to put away what is only for the dead letters.
    fn put_all_away(&self) {
        if clock::coarse() < self.full_until.load(Relaxed) {
            return;
        }
        let shelf = std::mem::take(&mut self.desk().shelf);
        if shelf.is_empty() {
            return;
        }
        for letter in shelf {
            self.put_away(letter);
        }
        self.desk().tell_back(&self.segment);
    }

    pub(super) fn no_room_for_dead_letters(&self) {
        self.full_until.store(clock::coarse() + A_BREAK, Relaxed);
    }

    /// Whoever leaves the desk, and something on it, wakes another one.
    #[inline]
    pub(super) fn pass_on(&self, desk: &mut Desk) {
        let any = desk.has_any();
        if (any || desk.looks_itself()) && self.others_wait() && (any || !desk.leave_lanes()) {
            self.nudge();
        }
    }

    /// Whether somebody waits who does not look by himself.
    #[inline]
    fn others_wait(&self) -> bool {
        self.sleepers.load(SeqCst) > 0
            || self.waiters.number() > 0
            || self.watched.load(SeqCst)
            || self.way.as_ref().is_some_and(Way::is_told)
    }

    fn nudge(&self) {
        let _ = rustix::io::write(&self.nudge, &1u64.to_ne_bytes()); // a full one is readable
    }

    pub(super) fn clear_nudge(&self) {
        let stays = self.closed.load(SeqCst) || self.way.as_ref().is_some_and(Way::grieves);
        if !stays {
            let _ = rustix::io::read(&self.nudge, &mut [0; 8][..]);
        }
    }

    pub(crate) fn try_recv_batch(&self, into: &mut impl Collect, most: usize) -> Result<usize, Refusal> {
        match self.gather(into, most)? {
            0 => Err(self.take().err().unwrap_or(Refusal::Waiting)),
            number => Ok(number),
        }
    }

    pub(crate) fn recv_batch(
        &self,
        deadline: Option<Instant>,
        into: &mut impl Collect,
        most: usize,
    ) -> Result<usize, Refusal> {
        let mut taken = self.next(deadline, false)?;
        while !taken.claim() {
            drop(taken);
            taken = self.next(deadline, false)?;
        }
        self.add(into, taken)?;
        Ok(1 + self.gather(into, most - 1)?)
    }

    fn add(&self, into: &mut impl Collect, taken: Taken<'_>) -> Result<(), Refusal> {
        match into.add(taken.payload()) {
            Ok(()) => {
                taken.consume();
                Ok(())
            }
            Err(unfit) => Err(taken.unfit(unfit)),
        }
    }

    /// Those that are there now. That it is closed is told the next time.
    fn gather(&self, into: &mut impl Collect, most: usize) -> Result<usize, Refusal> {
        let mut number = 0;
        while number < most {
            let Ok(mut taken) = self.take_to(false, false) else { break };
            if taken.claim() {
                self.add(into, taken)?;
                number += 1;
            }
        }
        Ok(number)
    }

    pub(crate) fn poll_recv<W: With>(
        &self,
        wait: &mut Wait,
        context: &mut Context<'_>,
        with: &mut W,
    ) -> Poll<Result<W::Result, Refusal>> {
        let mut attempt = || match self.take_to(W::HOLDS, false) {
            Err(Refusal::Waiting) => None,
            Err(other) => Some(Err(other)),
            Ok(taken) => match with.message(taken) {
                Err(Refusal::Waiting) => None,
                done => Some(done),
            },
        };
        if let Some(done) = attempt() {
            wait.leave();
            return Poll::Ready(done);
        }
        let at = (self.epoll.as_fd(), &*self.segment.path());
        self.waiters.poll(wait, at, context, attempt, || self.look_before_waiting())
    }

    /// How many messages wait.
    pub(crate) fn length(&self) -> u64 {
        if self.segment.is_ours() && self.meeting.is_none() { self.desk_now().waiting() } else { 0 }
    }

    /// Whether there is something to receive.
    pub(crate) fn has_any(&self) -> bool {
        if !self.segment.is_ours() || self.is_over() {
            return false;
        }
        let mut desk = self.desk();
        desk.look_around(&self.segment);
        while !desk.has_any() && desk.looks_further() {
            desk.look_around(&self.segment);
        }
        desk.has_any()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.segment.is_ours() && self.desk_now().is_full()
    }

    pub(crate) fn stat(&self) -> Result<Stat, Error> {
        if !self.segment.is_ours() {
            return Err(Error::Forked);
        }
        let mut stat = stat::of(&self.segment)?;
        if self.meeting.is_none() {
            // What is told in the entry may be old; and a token that was granted is no message so far.
            let waiting = self.desk_now().waiting();
            stat.sent = (stat.sent - stat.depth).saturating_add(waiting);
            stat.depth = waiting;
        }
        Ok(stat)
    }

    /// A descriptor that is readable when there may be something to receive.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        if self.segment.geometry.choice.sealed {
            self.watched.store(true, SeqCst);
        }
        self.epoll.as_fd()
    }

    /// Whether there is something to receive, or it is over. In a forked child it says so at once.
    pub(crate) fn may_take(&self) -> bool {
        if !self.segment.is_ours() || self.is_over() {
            return true;
        }
        self.clear_nudge();
        let mut desk = self.desk();
        let any = loop {
            desk.look_around(&self.segment);
            let any = desk.has_any() || !desk.leave_lanes();
            if any || !desk.looks_further() {
                break any;
            }
        };
        desk.shut_the_greedy(&self.segment);
        let (deserted, more) = (desk.is_deserted(), desk.expects_more());
        drop(desk);
        if any || more {
            self.nudge(); // it may be told of what comes only
        }
        any || !matches!(self.nothing(deserted), Err(Refusal::Waiting))
    }

    /// Ends the mailbox: nothing is received from now on, nobody can send, the name is free.
    pub(crate) fn close(&self) -> Result<Closed, Error> {
        let segment = &self.segment;
        if !segment.is_ours() {
            return Err(Error::Forked);
        }
        let mut desk = self.desk();
        if self.closed.swap(true, SeqCst) {
            drop(desk);
            let closed = cleanup::finish(segment);
            // The other thread may not have come to it, and we may be about to end.
            let _ = segment.retire(|| true);
            return Ok(closed);
        }
        segment.close_outside();
        let count = desk.close(segment);
        let closed = cleanup::finish_by(segment, || count);
        drop(desk);
        self.nudge(); // for good
        if let Some(way) = &self.way {
            way.forget(segment);
        }
        segment.mark_retired();
        segment.wake_all();
        let _ = segment.retire(|| true); // if another is at it: it does the same
        Ok(closed)
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        let _ = self.close();
    }
}
