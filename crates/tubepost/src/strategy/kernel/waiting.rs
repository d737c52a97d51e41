//! Tasks that wait at a descriptor which an end has anyway: the process's watch thread wakes them all when there is something, and once a second.
//!
//! A task is noted before it tries for the last time, and the watch listens for edges: what comes after that try is one.

use crate::domain::failed;
use crate::error::Error;
use crate::os::{Errno, fork};
use crate::strategy::Refusal;
use crate::strategy::shared::pending::Wait;
use crate::sync::wait::SLICE;
use crate::sync::watch::{self, Visit, Visited};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Who meets something to do so often in a row lets others go first.
const TRIES: u32 = 8;

/// Those who wait at one end.
#[derive(Debug, Default)]
pub(super) struct Waiters(OnceLock<Arc<All>>);

#[derive(Debug)]
struct All {
    descriptor: OwnedFd,
    visit: OnceLock<Visit>,
    tasks: Mutex<Vec<(u64, Waker)>>,
    next: Mutex<u64>,
    number: AtomicU32,
    epoch: u64,
}

/// A task that waits, until this is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    all: Arc<All>,
    number: u64,
}

impl Waiters {
    /// How many tasks wait.
    pub(super) fn number(&self) -> u32 {
        self.0.get().map_or(0, |all| all.number.load(SeqCst))
    }

    /// Has them all look again.
    pub(super) fn wake_all(&self) {
        if let Some(all) = self.0.get()
            && all.number.load(SeqCst) > 0
        {
            all.wake();
        }
    }

    fn all(&self, descriptor: BorrowedFd<'_>) -> Result<&Arc<All>, Errno> {
        if let Some(all) = self.0.get() {
            return Ok(all);
        }
        let all = Arc::new(All {
            descriptor: rustix::io::fcntl_dupfd_cloexec(descriptor, 0)?,
            visit: OnceLock::new(),
            tasks: Mutex::default(),
            next: Mutex::default(),
            number: AtomicU32::new(0),
            epoch: fork::epoch()?,
        });
        let weak: Weak<All> = Arc::downgrade(&all);
        let visit = watch::attend(weak)?;
        let _ = all.visit.set(visit);
        watch::listen(visit, all.descriptor.as_fd())?;
        Ok(self.0.get_or_init(|| all)) // that of another thread who was faster does as well
    }

    fn enter(&self, descriptor: BorrowedFd<'_>, waker: &Waker) -> Result<Ticket, Errno> {
        let all = self.all(descriptor)?;
        let number = {
            let mut next = all.next.lock().unwrap_or_else(PoisonError::into_inner);
            *next += 1;
            *next
        };
        all.tasks().push((number, waker.clone()));
        all.number.fetch_add(1, SeqCst);
        watch::tick();
        Ok(Ticket { all: Arc::clone(all), number })
    }

    /// Waits until `attempt`, which came to nothing a moment ago, gives something. `look` is asked before each wait: for how long that
    /// may be, or what there is to say.
    pub(super) fn poll<R>(
        &self,
        wait: &mut Wait,
        at: (BorrowedFd<'_>, &Path),
        context: &mut Context<'_>,
        mut attempt: impl FnMut() -> Option<Result<R, Refusal>>,
        mut look: impl FnMut() -> Result<Duration, Refusal>,
    ) -> Poll<Result<R, Refusal>> {
        let ticket = wait.ticket_here();
        let entered = match ticket {
            Some(ticket) => {
                ticket.renew(context.waker());
                Ok(())
            }
            None => self.enter(at.0, context.waker()).map(|entered| *ticket = Some(entered)),
        };
        if let Err(errno) = entered {
            let error: Error = failed("to have this task woken for", at.1, errno);
            return Poll::Ready(Err(error.into()));
        }
        for _ in 0..TRIES {
            let done = match attempt() {
                None => match look() {
                    Ok(Duration::ZERO) => continue,
                    Ok(longest) => {
                        if longest < SLICE {
                            watch::tick_first_in(longest);
                        }
                        return Poll::Pending;
                    }
                    Err(refusal) => Err(refusal),
                },
                Some(done) => done,
            };
            wait.leave();
            return Poll::Ready(done);
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl All {
    fn tasks(&self) -> MutexGuard<'_, Vec<(u64, Waker)>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // Not under the lock: a waker may do anything.
        let wakers: Vec<Waker> = self.tasks().iter().map(|(_, waker)| waker.clone()).collect();
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Visited for All {
    fn is_readable(&self) {
        self.wake();
    }

    fn look_again(&self) -> bool {
        self.wake();
        self.waits()
    }

    fn waits(&self) -> bool {
        self.number.load(SeqCst) > 0
    }
}

impl Drop for All {
    fn drop(&mut self) {
        if let Some(visit) = self.visit.get()
            && fork::is_current(self.epoch)
        {
            watch::part(*visit, self.descriptor.as_fd());
        }
    }
}

impl Ticket {
    /// Another task may wait by it now.
    fn renew(&self, waker: &Waker) {
        if let Some((_, known)) = self.all.tasks().iter_mut().find(|(number, _)| *number == self.number) {
            known.clone_from(waker);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !fork::is_current(self.all.epoch) {
            return; // the lock may be held by a thread that a forked child does not have
        }
        let task = {
            let mut tasks = self.all.tasks();
            let at = tasks.iter().position(|(number, _)| *number == self.number);
            at.map(|at| tasks.swap_remove(at))
        };
        drop(task); // not under the lock: a waker may do anything
        self.all.number.fetch_sub(1, SeqCst);
    }
}
