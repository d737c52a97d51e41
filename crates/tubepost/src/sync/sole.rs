//! One thread of this process at a time, and nearly free for the thread that always comes.
//!
//! The owner of a mailbox is one process but may receive from several threads. An ordinary
//! lock costs a locked instruction per message, which waits for the stores before it: in a
//! stream that halves the rate. So the lock is biased: the first thread that comes has it
//! by writing `busy`, a plain store, as long as nobody else ever comes.
//!
//! ```text
//! the favoured thread                    any other thread, once
//!   busy = 1 (plain)                       wait for the slow way in
//!   revoked? -> busy = 0, the slow way     revoked = 1
//!   … work …                               a barrier on every CPU of this process
//!   busy = 0 (plain)                       wait until busy is 0, then work
//! ```
//!
//! After the barrier either the favoured thread's `busy` is visible to the revoker, or the
//! favoured thread sees `revoked`. From then on everybody comes the slow way, for good.
//!
//! **What if it dies here?** All of this is one process's memory: it dies whole.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, compiler_fence};
use std::sync::{Condvar, Mutex, PoisonError};

/// The lock. See the module's text.
#[derive(Debug)]
pub(crate) struct Sole {
    favoured: AtomicUsize,
    busy: AtomicBool,
    revoked: AtomicBool,
    /// Whether somebody is inside who came the slow way.
    taken: Mutex<bool>,
    left: Condvar,
}

/// Held while working; gives the lock back when dropped.
#[must_use]
pub(crate) struct Held<'a> {
    sole: &'a Sole,
    /// Came the slow way. (A flag, and not the mutex's guard, so that all of this fits a
    /// register on the fast way.)
    slow: bool,
}

thread_local! {
    static HERE: u8 = const { 0 };
}

/// A number that no other living thread has: the address of a variable of its own.
#[inline]
pub(crate) fn thread() -> usize {
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

impl Sole {
    /// `reachable`: barriers reach this process, so one thread may be favoured.
    pub(crate) fn new(reachable: bool) -> Sole {
        Sole {
            favoured: AtomicUsize::new(0),
            busy: AtomicBool::new(false),
            revoked: AtomicBool::new(!reachable),
            taken: Mutex::new(false),
            left: Condvar::new(),
        }
    }

    /// Waits for its turn. Never call it again before the guard is dropped.
    #[inline]
    pub(crate) fn hold(&self) -> Held<'_> {
        if self.favoured.load(Ordering::Relaxed) == thread() && self.enter() {
            return Held { sole: self, slow: false };
        }
        self.hold_slowly()
    }

    /// The same, if this is the favoured thread and nobody else ever came.
    #[inline(always)]
    pub(crate) fn hold_quickly(&self) -> Option<Held<'_>> {
        let mine = self.favoured.load(Ordering::Relaxed) == thread() && self.enter();
        mine.then(|| Held { sole: self, slow: false })
    }

    #[inline]
    fn enter(&self) -> bool {
        self.busy.store(true, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        if !self.revoked.load(Ordering::Acquire) {
            return true;
        }
        self.busy.store(false, Ordering::Release);
        false
    }

    #[cold]
    fn hold_slowly(&self) -> Held<'_> {
        if !self.revoked.load(Ordering::Acquire) {
            let (here, relaxed) = (thread(), Ordering::Relaxed);
            if self.favoured.compare_exchange(0, here, Ordering::AcqRel, relaxed).is_ok() && self.enter() {
                return Held { sole: self, slow: false };
            }
        }
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = self.left.wait_while(taken, |taken| *taken);
        *taken.unwrap_or_else(PoisonError::into_inner) = true;
        if !self.revoked.load(Ordering::Relaxed) {
            self.revoked.store(true, Ordering::SeqCst);
            while !super::kernel::barrier_everywhere() {
                std::thread::yield_now(); // it worked when the process registered
            }
        }
        while self.busy.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        Held { sole: self, slow: true }
    }
}

impl Sole {
    #[cold]
    fn leave_slowly(&self) {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.left.notify_one();
    }
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.slow {
            self.sole.leave_slowly();
        } else {
            self.sole.busy.store(false, Ordering::Release);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::cell::UnsafeCell;

    struct Counter(UnsafeCell<u64>);
    // SAFETY: only touched under the lock that is being tested.
    unsafe impl Sync for Counter {}

    #[test]
    fn several_threads_never_meet_inside() {
        let reachable = crate::os::cpu::register_for_barriers();
        for round in 0..if cfg!(miri) { 2 } else { 50 } {
            let sole = Sole::new(reachable && round % 2 == 0);
            let counter = Counter(UnsafeCell::new(0));
            let (sole, counter) = (&sole, &counter);
            let each = if cfg!(miri) { 20 } else { 2000 };
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(move || {
                        for _ in 0..each {
                            let _held = sole.hold();
                            let at = counter.0.get();
                            // SAFETY: the lock is held.
                            unsafe { at.write_volatile(at.read_volatile() + 1) };
                        }
                    });
                }
            });
            // SAFETY: the threads are gone.
            assert_eq!(unsafe { *counter.0.get() }, 3 * each);
        }
    }
}
