//! Deaths of other processes, and descriptors that become readable, told at once to those who wait.
//!
//! A process that blocks starts one thread, once, which sleeps in `epoll` on a pidfd for
//! each process that somebody here depends on (the owner of a full mailbox, the claimant at
//! the head). When one ends, the thread tells everybody who asked about it. A process that
//! never blocks has no such thread and notices deaths when it looks.
//!
//! Who waits without a thread of its own ([`Visited`]) is visited by this one: when its descriptor becomes readable,
//! if it wants that, and once a [slice](super::wait::SLICE), as long as it waits, for nobody waits longer than that
//! without looking again.
//!
//! **What if it cannot?** No descriptors, no threads, a peer in another pid namespace: then
//! nobody is told, and waiters find out by themselves within [`super::wait::SLICE`].
//!
//! **After a fork** the child has neither the thread nor the list; it starts its own when it
//! first blocks.

use super::wait::SLICE;
use crate::os::{Errno, fork, pid, thread, timer};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use std::collections::HashMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

/// Somebody who wants to hear of a death.
pub(crate) trait Bereaved: Send + Sync {
    /// The process has ended; what it held it holds no more.
    fn process_died(&self, pid: u32);
}

/// Somebody who waits without a thread.
pub(crate) trait Visited: Send + Sync {
    /// The descriptor has become readable, or nobody is at its other end any more.
    fn is_readable(&self);
    /// It is time to look again. Whether anybody waits there.
    fn look_again(&self) -> bool;
    /// Whether anybody waits there.
    fn waits(&self) -> bool;
}

/// One who is visited; the number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Visit {
    epoch: u64,
    number: u64,
}

/// Smaller numbers in the epoll set are processes.
const FIRST_VISIT: u64 = 1 << 32;
const TIMER: u64 = u64::MAX;

/// Whether the timer is set.
static TICKS: AtomicBool = AtomicBool::new(false);

struct Peer {
    pidfd: OwnedFd,
    told: Vec<Weak<dyn Bereaved>>,
}

struct Watch {
    epoch: u64,
    epoll: Arc<OwnedFd>,
    peers: HashMap<u32, Peer>,
    visited: HashMap<u64, Weak<dyn Visited>>,
    visits: u64,
    timer: OwnedFd,
    /// When somebody wants to look again first, if that is sooner than all do.
    soon: Option<Instant>,
}

static WATCH: Mutex<Option<Watch>> = Mutex::new(None);

/// Tells `who` when process `pid` ends. `still` is asked once the process is pinned down:
/// whether it is the one that is meant, and not another that got its number.
///
/// `false`: it cannot be watched, or is gone already; look for yourself from time to time.
pub(crate) fn watch(pid: u32, who: Weak<dyn Bereaved>, still: impl FnOnce() -> bool) -> bool {
    let Ok(mut watch) = ours() else { return false };
    let Some(watch) = watch.as_mut() else { return false };
    if let Some(peer) = watch.peers.get_mut(&pid) {
        if !still() {
            return false;
        }
        peer.told.retain(|other| other.strong_count() > 0);
        if !peer.told.iter().any(|other| other.ptr_eq(&who)) {
            peer.told.push(who);
        }
        return true;
    }
    let Ok(pidfd) = pid::watch(pid) else { return false };
    if !still() {
        return false;
    }
    let data = epoll::EventData::new_u64(pid.into());
    if epoll::add(&watch.epoll, &pidfd, data, epoll::EventFlags::IN).is_err() {
        return false;
    }
    watch.peers.insert(pid, Peer { pidfd, told: vec![who] });
    true
}

/// Has `who` visited from now on, once a slice while it waits.
pub(crate) fn attend(who: Weak<dyn Visited>) -> Result<Visit, Errno> {
    let mut watch = ours()?;
    let watch = watch.as_mut().ok_or(Errno::AGAIN)?;
    let number = watch.visits;
    watch.visits += 1;
    watch.visited.insert(number, who);
    Ok(Visit { epoch: watch.epoch, number })
}

/// Has it visited also whenever this descriptor becomes readable.
pub(crate) fn listen(visit: Visit, fd: BorrowedFd<'_>) -> Result<(), Errno> {
    listen_for(visit, fd, epoll::EventFlags::IN)
}

/// The same, at once if it is readable now: who was told of that has not come to the end of what there is.
pub(crate) fn listen_again(visit: Visit, fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut watch = ours()?;
    let watch = watch.as_mut().filter(|watch| watch.epoch == visit.epoch).ok_or(Errno::AGAIN)?;
    let data = epoll::EventData::new_u64(visit.number);
    epoll::modify(&watch.epoll, fd, data, epoll::EventFlags::IN | epoll::EventFlags::ET)
}

/// Has it visited also when nobody is at the other end of this connection any more.
pub(crate) fn listen_for_end(visit: Visit, fd: BorrowedFd<'_>) -> Result<(), Errno> {
    listen_for(visit, fd, epoll::EventFlags::RDHUP)
}

fn listen_for(visit: Visit, fd: BorrowedFd<'_>, what: epoll::EventFlags) -> Result<(), Errno> {
    let mut watch = ours()?;
    let watch = watch.as_mut().filter(|watch| watch.epoch == visit.epoch).ok_or(Errno::AGAIN)?;
    let data = epoll::EventData::new_u64(visit.number);
    epoll::add(&watch.epoll, fd, data, what | epoll::EventFlags::ET)
}

/// Has it visited once, as soon as this descriptor is readable.
pub(crate) fn listen_once(visit: Visit, fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut watch = ours()?;
    let watch = watch.as_mut().filter(|watch| watch.epoch == visit.epoch).ok_or(Errno::AGAIN)?;
    let (data, flags) =
        (epoll::EventData::new_u64(visit.number), epoll::EventFlags::IN | epoll::EventFlags::ONESHOT);
    match epoll::modify(&watch.epoll, fd, data, flags) {
        Err(Errno::NOENT) => epoll::add(&watch.epoll, fd, data, flags),
        done => done,
    }
}

/// It is visited no more; the descriptor is about to be closed.
pub(crate) fn part(visit: Visit, fd: BorrowedFd<'_>) {
    if let Some(mut watch) = patiently()
        && let Some(watch) = watch.as_mut().filter(|watch| watch.epoch == visit.epoch)
    {
        watch.visited.remove(&visit.number);
        let _ = epoll::delete(&watch.epoll, fd); // it may never have been there
    }
}

/// Somebody who is visited waits from now on.
pub(crate) fn tick() {
    if !TICKS.load(SeqCst) {
        tick_first_in(SLICE);
    }
}

/// Somebody waits who wants to look again soon.
#[cold]
pub(crate) fn tick_first_in(first: Duration) {
    if let Ok(mut watch) = ours()
        && let Some(watch) = watch.as_mut()
    {
        let at = Instant::now() + first;
        if watch.soon.is_some_and(|soon| soon <= at) {
            return; // all look again then, and whoever has to wait on comes back
        }
        watch.soon = Some(at);
        TICKS.store(true, SeqCst);
        timer::set(&watch.timer, first, SLICE);
    }
}

/// This process's watch; it is started if need be.
fn ours() -> Result<MutexGuard<'static, Option<Watch>>, Errno> {
    let mut watch = patiently().ok_or(Errno::AGAIN)?;
    let epoch = fork::epoch()?;
    if watch.as_ref().is_none_or(|watch| watch.epoch != epoch) {
        *watch = Some(start(epoch)?);
        TICKS.store(false, SeqCst);
    }
    Ok(watch)
}

/// The process of which a thread had the list last, by its epoch.
static HOLDER: AtomicU64 = AtomicU64::new(0);

/// How long one waits for another thread of this process to be done with the list.
const PATIENCE: Duration = Duration::from_secs(1);
/// And how often one looks where it may be held by a thread that is not there: the child of a fork has the lock as it was.
const LOOKS: u32 = 1000;

/// The list, but no wait for ever. As soon as a thread of this process has had it no other can be in the way: who has it is only slow.
fn patiently() -> Option<MutexGuard<'static, Option<Watch>>> {
    let epoch = fork::epoch().ok()?;
    let (mut looks, mut begin) = (0, None);
    loop {
        match WATCH.try_lock() {
            Ok(watch) => {
                HOLDER.store(epoch, SeqCst);
                return Some(watch);
            }
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if looks < LOOKS => {
                looks += 1;
                std::thread::yield_now();
            }
            Err(TryLockError::WouldBlock) => {
                let begin = begin.get_or_insert_with(Instant::now);
                if HOLDER.load(SeqCst) != epoch || begin.elapsed() > PATIENCE {
                    return None;
                }
                std::thread::sleep(Duration::from_micros(100)); // it may be stopped, or its turn is over
            }
        }
    }
}

fn start(epoch: u64) -> Result<Watch, Errno> {
    let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
    let timer = timer::new()?;
    epoll::add(&epoll, &timer, epoll::EventData::new_u64(TIMER), epoll::EventFlags::IN)?;
    let for_thread = Arc::clone(&epoll);
    thread::spawn_quietly("tubepost-watch", move || run(epoch, &for_thread))
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))?;
    let (peers, visited) = (HashMap::new(), HashMap::new());
    Ok(Watch { epoch, epoll, peers, visited, visits: FIRST_VISIT, timer, soon: None })
}

fn run(epoch: u64, epoll: &OwnedFd) {
    let mut events = Vec::with_capacity(16);
    loop {
        events.clear();
        match epoll::wait(epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => break, // somebody closed our descriptor: start anew at the next need
        }
        for event in &events {
            let known = match event.data.u64() {
                TIMER => look_again(epoch),
                number if number >= FIRST_VISIT => is_readable(epoch, number),
                pid => has_ended(epoch, pid as u32),
            };
            if known.is_none() {
                return;
            }
        }
    }
    if let Some(mut watch) = locked(epoch) {
        *watch = None;
    }
}

/// The list, if it is still the one of this thread.
fn locked(epoch: u64) -> Option<MutexGuard<'static, Option<Watch>>> {
    let watch = WATCH.lock().unwrap_or_else(PoisonError::into_inner);
    watch.as_ref().is_some_and(|watch| watch.epoch == epoch).then_some(watch)
}

fn has_ended(epoch: u64, pid: u32) -> Option<()> {
    let told = {
        let mut watch = locked(epoch)?;
        let watch = watch.as_mut()?;
        watch.peers.remove(&pid).map(|peer| {
            let _ = epoll::delete(&watch.epoll, &peer.pidfd);
            peer.told
        })
    };
    for who in told.into_iter().flatten() {
        if let Some(who) = who.upgrade() {
            who.process_died(pid);
        }
    }
    Some(())
}

fn is_readable(epoch: u64, number: u64) -> Option<()> {
    let who = locked(epoch)?.as_ref()?.visited.get(&number).and_then(Weak::upgrade);
    if let Some(who) = who {
        who.is_readable();
    }
    Some(())
}

fn look_again(epoch: u64) -> Option<()> {
    let all: Vec<_> = {
        let mut watch = locked(epoch)?;
        let watch = watch.as_mut()?;
        timer::clear(&watch.timer);
        watch.soon = None;
        watch.visited.values().filter_map(Weak::upgrade).collect()
    };
    let mut waits = false;
    for who in &all {
        waits |= who.look_again();
    }
    if waits {
        return Some(());
    }
    let late: Vec<_>; // let go of when the list is free: what goes with them may want it
    let mut watch = locked(epoch)?;
    let watch = watch.as_mut()?;
    TICKS.store(false, SeqCst);
    // Whoever began to wait before that, and found the timer set.
    late = watch.visited.values().filter_map(Weak::upgrade).collect();
    let waits = late.iter().any(|who| who.waits());
    TICKS.store(waits, SeqCst);
    if !waits {
        watch.soon = None;
    }
    if watch.soon.is_none() {
        let every = if waits { SLICE } else { Duration::ZERO };
        timer::set(&watch.timer, every, every);
    }
    Some(())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    struct Nobody;

    impl Visited for Nobody {
        fn is_readable(&self) {}

        fn look_again(&self) -> bool {
            false
        }

        fn waits(&self) -> bool {
            false
        }
    }

    #[test]
    fn a_thread_that_has_the_list_for_long_costs_the_others_time_and_no_error() {
        let held = ours().expect("there are descriptors");
        let other = std::thread::spawn(|| {
            let nobody: Arc<dyn Visited> = Arc::new(Nobody);
            attend(Arc::downgrade(&nobody))
        });
        std::thread::sleep(Duration::from_millis(100)); // so long its turn may be over on a machine that is busy
        assert!(!other.is_finished(), "it waits");
        drop(held);
        assert!(other.join().expect("no panic").is_ok());
    }
}
