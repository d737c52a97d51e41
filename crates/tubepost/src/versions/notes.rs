//! Notes: since when somebody is waited for, so that all who wait for the same go by the first one's clock, however short each one's patience is.
//!
//! ```text
//! of       what is waited for: a number that means nothing else, as that of a hold does
//! since    when that was first seen: nanoseconds of a clock that all processes share
//! ```
//!
//! *To look*: load `of`; another: there is no note. Load `since`, then the clock: that is how long it is noted.
//! *To note*: load `since`, then the clock; CAS `since` → the time, or do both again. Then `of` = what is waited for.
//!
//! # Invariants
//! 1. `since` only grows, for whoever changes it read its clock after it had loaded what it changes.
//! 2. Where `of` names something, `since` is not before somebody saw that: who wrote `of` had changed `since` before, having seen it, and since then
//!    it only grew. So nobody has less time than was promised.
//!
//! One who stood still between two steps of noting may move `since` forward, or have `of` name what is over by now; then the next one notes
//! anew, and who is waited for has some time more: once for each that stood still so. Whoever waits on remembers what it saw itself.
//!
//! **What if it dies here?** Between the two: there is no note of this, and the next one writes it.
//!
//! Whoever may write there may write anything: what is in the future is no note. So notes are kept where only those write who might
//! take what is waited for at once.
//!
//! Checked with its orderings in `loom_models` below.

use crate::sync::atomic::{AtomicU64, Ordering::*};

/// A note's two words.
#[derive(Clone, Copy)]
pub(crate) struct Note<'a> {
    pub(crate) of: &'a AtomicU64,
    pub(crate) since: &'a AtomicU64,
}

impl Note<'_> {
    /// For how long it has been noted that this is waited for. Nothing: it is not.
    pub(crate) fn age(&self, of: u64, clock: impl Fn() -> u64) -> Option<u64> {
        if self.of.load(Acquire) != of {
            return None;
        }
        let since = self.since.load(Acquire);
        clock().checked_sub(since)
    }

    /// The same; from now on, if it was not.
    pub(crate) fn age_from_now_on(&self, of: u64, clock: impl Fn() -> u64) -> u64 {
        self.age(of, &clock).unwrap_or_else(|| {
            self.write(of, clock);
            0
        })
    }

    #[cold]
    fn write(&self, of: u64, clock: impl Fn() -> u64) {
        let mut seen = self.since.load(Acquire);
        loop {
            match self.since.compare_exchange(seen, clock(), AcqRel, Acquire) {
                Ok(_) => break self.of.store(of, Release),
                Err(now) => seen = now,
            }
        }
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use super::Note;
    use crate::sync::atomic::{AtomicU64, Ordering::*};
    use crate::sync::modelled::in_one_order;
    use loom::thread;
    use std::cell::Cell;
    use std::sync::Arc;

    /// A clock that all share, what is held, and since when that is so.
    struct World {
        clock: AtomicU64,
        hold: AtomicU64,
        begun: [AtomicU64; 3],
        of: AtomicU64,
        since: AtomicU64,
    }

    impl World {
        fn now(&self) -> u64 {
            self.clock.fetch_add(1, SeqCst)
        }

        /// Waits for what is held, since no earlier than it was; tells for how long.
        fn wait(&self) -> u64 {
            let hold = self.hold.load(SeqCst);
            let (note, last) = (Note { of: &self.of, since: &self.since }, Cell::new(0));
            let clock = || {
                last.set(self.now());
                last.get()
            };
            let age = note.age_from_now_on(hold, clock);
            let (since, begun) = (last.get() - age, self.begun[hold as usize].load(SeqCst));
            assert!(since >= begun, "hold {hold} is said to be older than it is: {since}, {begun}");
            age
        }
    }

    /// Who comes late, having seen an older hold, takes no time from the newer one; and who comes later goes by what the first one noted.
    #[test]
    fn nobody_has_less_than_was_promised() {
        let shared = Arc::new(std::sync::Mutex::new(false));
        let seen = Arc::clone(&shared);
        in_one_order(move || {
            let mut builder = loom::model::Builder::new();
            builder.preemption_bound = builder.preemption_bound.or(Some(2));
            builder.check(move || {
                let begun = [1, 2, 3].map(AtomicU64::new);
                let (clock, hold) = (AtomicU64::new(4), AtomicU64::new(1));
                let (of, since) = (AtomicU64::new(0), AtomicU64::new(0));
                let world = Arc::new(World { clock, hold, begun, of, since });
                let waits = [(); 2].map(|()| {
                    let world = Arc::clone(&world);
                    thread::spawn(move || world.wait())
                });
                world.begun[2].store(world.now(), SeqCst);
                world.hold.store(2, SeqCst);
                let last = world.wait();
                waits.into_iter().for_each(|wait| assert!(wait.join().is_ok()));
                *seen.lock().unwrap() |= last > 0;
            });
        });
        assert!(*shared.lock().unwrap(), "nobody goes by what another noted");
    }
}
