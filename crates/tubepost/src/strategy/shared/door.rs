//! A handle's door, as its own process has it: the socket that others ring, and who waits for it to be rung.
//!
//! It is made when somebody first waits so on the handle. Two kinds wait at it: tasks, by their wakers; and users of the
//! descriptor, who have it in an event loop of their own. When it is rung the process's watch thread wakes the
//! tasks, or, in a tokio runtime, that one's reactor (`reactor`): all of them, as a bell wakes all its
//! sleepers. They try, and wait again.
//!
//! They listen for edges, and read what was rung. Where somebody uses the descriptor they ring it anew after that, for him
//! to read: left as it was it would fill, and one that is full has no edges any more.
//!
//! Once a second, as long as somebody waits, all are woken, to arm anew and look again (`sync::doors` says why).
//!
//! **What if it dies here?** See `domain::doorway`.

use super::Attachment;
#[cfg(feature = "tokio")]
use super::reactor::Reactors;
use crate::error::Error;
use crate::os::{self, Errno, fork};
use crate::sync::watch::{self, Visit, Visited};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Waker;

/// Where a handle has its door, once it needs one.
#[derive(Debug, Default)]
pub(super) struct Doorway {
    door: OnceLock<Arc<Door>>,
    making: Mutex<()>,
}

/// A door; see the module's text.
pub(crate) struct Door {
    pub(super) socket: OwnedFd,
    at: Weak<Attachment>,
    epoch: u64,
    visit: OnceLock<Visit>,
    waiting: Mutex<Waiting>,
    /// How many wait, tasks and users of the descriptor; and how many of those.
    number: AtomicU32,
    descriptors: AtomicU32,
    /// The next edge is one's own.
    put_back: AtomicBool,
    #[cfg(feature = "tokio")]
    pub(super) reactors: Reactors,
}

#[derive(Default)]
struct Waiting {
    tasks: Vec<Task>,
    next: u64,
    /// The watch listens.
    by_thread: bool,
}

struct Task {
    number: u64,
    reason: u32,
    waker: Waker,
}

/// A task that waits at a door, until this is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    door: Arc<Door>,
    number: u64,
    reason: u32,
}

/// A use of the descriptor, until this is dropped.
#[derive(Debug)]
pub(crate) struct Lent {
    pub(crate) door: Arc<Door>,
    reason: u32,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Attachment {
    /// This handle's door; it is made if there is none yet.
    pub(crate) fn door(self: &Arc<Self>) -> Result<&Arc<Door>, Error> {
        if let Some(door) = self.doorway.door.get() {
            return Ok(door);
        }
        let _making = self.doorway.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(door) = self.doorway.door.get() {
            return Ok(door);
        }
        let door = Arc::new(Door {
            socket: self.segment.open_door(self.member)?,
            at: Arc::downgrade(self),
            epoch: fork::epoch().map_err(|errno| self.no_watch(errno))?,
            visit: OnceLock::new(),
            waiting: Mutex::default(),
            number: AtomicU32::new(0),
            descriptors: AtomicU32::new(0),
            put_back: AtomicBool::new(false),
            #[cfg(feature = "tokio")]
            reactors: Reactors::default(),
        });
        let visited: Arc<dyn Visited> = Arc::clone(&door) as _;
        match watch::attend(Arc::downgrade(&visited)) {
            Ok(visit) => drop(door.visit.set(visit)),
            Err(errno) => {
                self.segment.take_door(self.member);
                return Err(self.no_watch(errno));
            }
        }
        Ok(self.doorway.door.get_or_init(|| door))
    }

    fn no_watch(&self, errno: Errno) -> Error {
        crate::domain::failed("to start the thread that wakes who waits for", &self.segment.path(), errno)
    }

    /// Says that somebody waits for this at the door. Look again after it.
    pub(crate) fn arm(&self, reason: u32) {
        self.segment.arm_door(self.member, reason);
    }

    /// Makes the door readable.
    pub(crate) fn ring_door(&self) -> Result<(), Error> {
        self.segment.ring_door(self.member)
    }

    /// Has the tasks that wait here look again, without their being rung.
    pub(super) fn wake_tasks(&self) {
        if let Some(door) = self.doorway.door.get() {
            door.wake_tasks();
        }
    }

    /// The handle goes, and its door with it.
    pub(super) fn shut_door(&self) {
        if let Some(door) = self.doorway.door.get() {
            self.segment.take_door(self.member);
            #[cfg(feature = "tokio")]
            door.reactors.stop();
            if let Some(visit) = door.visit.get() {
                watch::part(*visit, door.socket.as_fd());
            }
        }
    }
}

impl Door {
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a task woken whenever this is rung.
    pub(crate) fn enter(self: &Arc<Self>, waker: &Waker, reason: u32) -> Result<Ticket, Errno> {
        self.listen()?;
        let number = {
            let mut waiting = self.waiting();
            waiting.next += 1;
            let number = waiting.next;
            waiting.tasks.push(Task { number, reason, waker: waker.clone() });
            number
        };
        self.one_more();
        Ok(Ticket { door: Arc::clone(self), number, reason })
    }

    /// Somebody has to hear it when this is rung: the reactor of the runtime that we are in, or the watch.
    fn listen(self: &Arc<Self>) -> Result<(), Errno> {
        #[cfg(feature = "tokio")]
        if self.listen_in_runtime()? {
            return Ok(());
        }
        let mut waiting = self.waiting();
        if !waiting.by_thread {
            let visit = self.visit.get().ok_or(Errno::AGAIN)?;
            watch::listen(*visit, self.socket())?;
            waiting.by_thread = true;
        }
        Ok(())
    }

    fn one_more(&self) {
        self.number.fetch_add(1, SeqCst);
        watch::tick();
    }

    /// Lends the descriptor to somebody who has an event loop of his own.
    pub(crate) fn lend(self: &Arc<Self>, reason: u32) -> Lent {
        self.descriptors.fetch_add(1, SeqCst);
        self.one_more();
        Lent { door: Arc::clone(self), reason }
    }

    /// Whether somebody has the descriptor in an event loop of his own.
    pub(crate) fn is_lent(&self) -> bool {
        self.descriptors.load(SeqCst) > 0
    }

    pub(super) fn wake_tasks(&self) {
        // Not under the lock: a waker may do anything.
        let wakers: Vec<Waker> = self.waiting().tasks.iter().map(|task| task.waker.clone()).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// It was rung.
    pub(super) fn rung(&self) {
        if !self.put_back.swap(false, SeqCst) {
            os::door::drain(self.socket());
            if self.is_lent()
                && let Some(at) = self.at.upgrade()
            {
                self.put_back.store(true, SeqCst);
                if at.ring_door().is_err() {
                    self.put_back.store(false, SeqCst); // it is tried again in a second
                }
            }
        }
        self.wake_tasks();
    }

    /// One who waited for this is gone.
    fn one_less(&self, reason: u32, descriptors: u32) {
        self.number.fetch_sub(1, SeqCst);
        if descriptors == 0
            && !self.waiting().tasks.iter().any(|task| task.reason == reason)
            && let Some(at) = self.at.upgrade()
        {
            at.segment.disarm_door(at.member, reason);
        }
    }
}

impl Visited for Door {
    fn is_readable(&self) {
        self.rung();
    }

    fn look_again(&self) -> bool {
        self.wake_tasks();
        if self.is_lent()
            && let Some(at) = self.at.upgrade()
        {
            let _ = at.ring_door(); // it is tried again in a second
        }
        self.waits()
    }

    fn waits(&self) -> bool {
        self.number.load(SeqCst) > 0
    }
}

impl Ticket {
    /// Another task may wait by it now.
    pub(crate) fn renew(&self, waker: &Waker) -> Result<(), Errno> {
        self.door.listen()?;
        let mut waiting = self.door.waiting();
        if let Some(task) = waiting.tasks.iter_mut().find(|task| task.number == self.number) {
            task.waker.clone_from(waker);
        }
        Ok(())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !fork::is_current(self.door.epoch) {
            return; // the lock may be held by a thread that a forked child does not have
        }
        let task = {
            let mut waiting = self.door.waiting();
            let at = waiting.tasks.iter().position(|task| task.number == self.number);
            at.map(|at| waiting.tasks.swap_remove(at))
        };
        drop(task); // not under the lock: a waker may do anything
        self.door.one_less(self.reason, self.door.descriptors.load(Relaxed));
    }
}

impl Lent {
    /// Makes the descriptor unreadable until it is rung, unless that would be in vain: `true`, it is ready already.
    pub(crate) fn clear(&self, at: &Attachment, is_ready: impl FnOnce() -> bool) -> Result<bool, Error> {
        os::door::drain(self.door.socket());
        at.arm(self.reason);
        let ready = is_ready();
        if ready {
            at.ring_door()?;
        }
        Ok(ready)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !fork::is_current(self.door.epoch) {
            return;
        }
        let others = self.door.descriptors.fetch_sub(1, SeqCst) - 1;
        self.door.one_less(self.reason, others);
        if others == 0 {
            self.door.rung(); // what was left for him to read, the tasks have to hear of
        }
    }
}
