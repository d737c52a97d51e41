//! Atomics, and the kernel's part in waiting, for the model checker.
//!
//! **Loads that hide loads.** Loom runs a store before another thread's load of the same word
//! only if that load was the last access before the store. A load by the storing thread
//! itself, as in every "look, then publish", hides it, and the most interesting orders are
//! never met (a known gap of loom 0.7). So each word has a *mark* that every load writes
//! first: two who write are never hidden from each other. Nobody reads a mark, so it orders
//! nothing.
//!
//! A futex is a word and a queue of sleepers; comparing the word and joining the queue are
//! one step, because the kernel does both under one lock. So it is here: the lock is
//! loom's, each word has a queue of its own, and all of it lasts as long as one execution.
//!
//! **One order of all.** Loom takes `SeqCst` accesses for such that acquire and release, and then two who each write
//! one word and read the other's may both read what was there before. The language forbids that. A model of what
//! relies on it runs [`in_one_order`]: there a fence comes with each write that is `SeqCst`, as it does on every machine
//! that has a locked instruction for it.
//!
//! **No time passes.** A sleep lasts until somebody wakes it, however short it was meant to
//! be: a lost wake-up, which outside would cost a slice, is a deadlock here, and loom
//! reports it. Nobody wakes without a reason either, which the real kernel may do: that
//! would only hide what is looked for.
//!
//! **No barrier on other processors.** Loom has none, so models begin with a fence word
//! that says SET or PINNED. The protocol that gets there is modelled with store buffers, in
//! `tests/models/waiting.rs`.

pub(crate) use loom::sync::atomic::{Ordering, fence};

use loom::sync::atomic as real;
use loom::sync::{Condvar, Mutex};
use std::cell::Cell;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

thread_local! {
    static ONE_ORDER: Cell<bool> = const { Cell::new(false) };
}

/// Runs models in which all that is `SeqCst` has one order. (All threads of a model are one of the system's.)
pub(crate) fn in_one_order(models: impl FnOnce()) {
    struct Over;
    impl Drop for Over {
        fn drop(&mut self) {
            ONE_ORDER.set(false);
        }
    }
    let _over = Over; // also when one fails
    ONE_ORDER.set(true);
    models();
}

/// Something was written in this order.
fn written(order: Ordering) {
    if order == Ordering::SeqCst && ONE_ORDER.get() {
        fence(order);
    }
}

macro_rules! marked {
    ($name:ident, $int:ty) => {
        /// Loom's atomic, and the mark of its loads.
        #[derive(Debug)]
        pub(crate) struct $name {
            word: real::$name,
            mark: real::AtomicU32,
        }

        impl $name {
            pub(crate) fn new(value: $int) -> $name {
                $name { word: real::$name::new(value), mark: real::AtomicU32::new(0) }
            }

            pub(crate) fn load(&self, order: Ordering) -> $int {
                self.mark.store(0, Ordering::Relaxed);
                self.word.load(order)
            }

            pub(crate) fn store(&self, value: $int, order: Ordering) {
                self.word.store(value, order);
                written(order);
            }

            #[allow(dead_code)] // not for each width
            pub(crate) fn swap(&self, value: $int, order: Ordering) -> $int {
                let before = self.word.swap(value, order);
                written(order);
                before
            }

            pub(crate) fn fetch_add(&self, value: $int, order: Ordering) -> $int {
                let before = self.word.fetch_add(value, order);
                written(order);
                before
            }

            pub(crate) fn fetch_max(&self, value: $int, order: Ordering) -> $int {
                let before = self.word.fetch_max(value, order);
                written(order);
                before
            }

            pub(crate) fn compare_exchange(
                &self,
                from: $int,
                to: $int,
                order: Ordering,
                failed: Ordering,
            ) -> Result<$int, $int> {
                let swapped = self.word.compare_exchange(from, to, order, failed);
                if swapped.is_ok() {
                    written(order);
                }
                swapped
            }
        }
    };
}

marked!(AtomicU32, u32);
marked!(AtomicU64, u64);

/// The queues of sleepers, by the address of their word, and how many nobody woke yet.
type Queues = Vec<(usize, Arc<Condvar>, u32)>;

loom::lazy_static! {
    static ref QUEUES: Mutex<Queues> = Mutex::new(Queues::new());
}

fn address(word: &AtomicU32) -> usize {
    std::ptr::from_ref(word).addr()
}

/// Sleeps while `word` is `expected`, until somebody wakes it.
pub(crate) fn sleep(word: &AtomicU32, expected: u32, longest: Duration) {
    if longest.is_zero() {
        return;
    }
    let mut queues = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
    if word.load(Ordering::SeqCst) != expected {
        return;
    }
    if queues.iter().all(|(of, ..)| *of != address(word)) {
        queues.push((address(word), Arc::new(Condvar::new()), 0));
    }
    let known = queues.iter_mut().find(|(of, ..)| *of == address(word));
    let (_, queue, sleepers) = known.expect("just put there");
    *sleepers += 1;
    let queue = Arc::clone(queue);
    drop(queue.wait(queues));
}

/// Wakes everybody who sleeps on `word`.
pub(crate) fn wake_all(word: &AtomicU32) {
    let mut queues = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, queue, sleepers)) = queues.iter_mut().find(|(of, ..)| *of == address(word)) {
        *sleepers = 0;
        queue.notify_all();
    }
}

/// Wakes one who sleeps on `word`; whether there was one.
pub(crate) fn wake_one(word: &AtomicU32) -> bool {
    let mut queues = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
    match queues.iter_mut().find(|(of, ..)| *of == address(word)) {
        Some((_, queue, sleepers)) if *sleepers > 0 => {
            *sleepers -= 1;
            queue.notify_one();
            true
        }
        _ => false,
    }
}

/// There is none in a model; see the module's text.
pub(crate) fn barrier_everywhere() -> bool {
    panic!("a model began with a fence word that asks for a barrier on every CPU")
}
