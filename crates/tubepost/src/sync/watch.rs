//! Deaths of other processes, told at once to those who wait.
//!
//! A process that blocks starts one thread, once, which sleeps in `epoll` on a pidfd for
//! each process that somebody here depends on (the owner of a full mailbox, the claimant at
//! the head). When one ends, the thread tells everybody who asked about it. A process that
//! never blocks has no such thread and notices deaths when it looks.
//!
//! **What if it cannot?** No descriptors, no threads, a peer in another pid namespace: then
//! nobody is told, and waiters find out by themselves within [`super::wait::SLICE`].
//!
//! **After a fork** the child has neither the thread nor the list; it starts its own when it
//! first blocks.

use crate::os::{Errno, fork, pid, thread};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};

/// Somebody who wants to hear of a death.
pub(crate) trait Bereaved: Send + Sync {
    /// The process has ended; what it held it holds no more.
    fn process_died(&self, pid: u32);
}

struct Peer {
    pidfd: OwnedFd,
    told: Vec<Weak<dyn Bereaved>>,
}

struct Watch {
    epoch: u64,
    epoll: Arc<OwnedFd>,
    peers: HashMap<u32, Peer>,
}

static WATCH: Mutex<Option<Watch>> = Mutex::new(None);

/// Tells `who` when process `pid` ends. `still` is asked once the process is pinned down:
/// whether it is the one that is meant, and not another that got its number.
///
/// `false`: it cannot be watched, or is gone already; look for yourself from time to time.
pub(crate) fn watch(pid: u32, who: Weak<dyn Bereaved>, still: impl FnOnce() -> bool) -> bool {
    let Some(mut watch) = patiently() else { return false };
    let Ok(epoch) = fork::epoch() else { return false };
    if watch.as_ref().is_none_or(|watch| watch.epoch != epoch) {
        match start(epoch) {
            Some(fresh) => *watch = Some(fresh),
            None => return false,
        }
    }
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

/// The list, but no wait for ever: in a forked child the lock may be held by a thread that
/// the child does not have.
fn patiently() -> Option<MutexGuard<'static, Option<Watch>>> {
    for _ in 0..1000 {
        match WATCH.try_lock() {
            Ok(watch) => return Some(watch),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    None
}

fn start(epoch: u64) -> Option<Watch> {
    let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC).ok()?);
    let for_thread = Arc::clone(&epoll);
    thread::spawn_quietly("tubepost-watch", move || run(epoch, &for_thread)).ok()?;
    Some(Watch { epoch, epoll, peers: HashMap::new() })
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
            let pid = event.data.u64() as u32;
            let told = {
                let mut watch = WATCH.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(watch) = watch.as_mut().filter(|watch| watch.epoch == epoch) else { return };
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
        }
    }
    let mut watch = WATCH.lock().unwrap_or_else(PoisonError::into_inner);
    if watch.as_ref().is_some_and(|watch| watch.epoch == epoch) {
        *watch = None;
    }
}
