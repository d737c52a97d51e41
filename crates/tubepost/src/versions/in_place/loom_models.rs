//! Models under loom of copies beside a writer, with what they really do to `current`, rows and seats. The data is two
//! words, written and read without any order of their own; the version that counts is theirs.

use super::*;
use crate::sync::modelled::in_one_order;
use crate::versions::writers::acquire;
use loom::thread::{self, JoinHandle};
use std::sync::Arc;

const SEATS: usize = 2;
const HOME: u32 = 1;

struct Region {
    current: AtomicU64,
    row: AtomicU64,
    editing: [AtomicU64; SEATS],
    data: [AtomicU64; 2],
}

impl Words for Region {
    fn current(&self) -> &AtomicU64 {
        &self.current
    }
    fn rows(&self) -> usize {
        1
    }
    fn row(&self, _row: usize) -> Option<&AtomicU64> {
        Some(&self.row)
    }
    fn seats(&self) -> usize {
        SEATS
    }
    fn editing(&self, seat: usize) -> &AtomicU64 {
        &self.editing[seat]
    }
}

impl Region {
    fn new() -> Arc<Region> {
        let zero = || AtomicU64::new(0);
        Arc::new(Region {
            current: AtomicU64::new(Current::FIRST.0),
            row: zero(),
            editing: std::array::from_fn(|_| zero()),
            data: std::array::from_fn(|_| zero()),
        })
    }

    fn seen(&self) -> Current {
        Current(self.current.load(SeqCst))
    }

    fn copy(&self) -> u64 {
        let [first, second] = [0, 1].map(|word: usize| self.data[word].load(Relaxed));
        if first == second { first } else { u64::MAX }
    }

    /// A copy that is good.
    fn read(&self, number: u64) -> Option<u64> {
        let reading = Row::reading(number);
        enter(&self.current, &self.row, reading)?;
        let copy = self.copy();
        leave(&self.row, reading).then(|| self.whole(copy))
    }

    fn read_quickly(&self) -> Option<u64> {
        let seen = self.seen();
        if seen.is_held() || seen.is_touched() {
            return None;
        }
        let copy = self.copy();
        fence(Acquire);
        (self.seen() == seen).then(|| self.whole(copy))
    }

    fn whole(&self, copy: u64) -> u64 {
        assert!(copy != u64::MAX, "torn");
        copy
    }

    /// Adds one, if nobody holds, or may be fenced, and nothing is poisoned. A reader is fenced, or else awaited.
    fn write(&self, seat: usize, fences: bool) -> bool {
        let seen = self.seen();
        if seen.is_held() && !fences {
            return false;
        }
        let Some(mine) = acquire(self, seen, seat) else { return false };
        if mine.is_touched() {
            writers::let_go(self, mine, mine.buffer());
            return false;
        }
        for reader in who_reads(self) {
            if fences {
                fence_reader(self, reader);
            }
            while still_reads(self, reader) {
                thread::yield_now();
            }
        }
        let Some(mine) = touch(self, mine, HOME) else { return false };
        let next = self.data[0].load(Relaxed) + 1;
        self.data.iter().for_each(|word| word.store(next, Relaxed));
        let committed = commit(self, mine);
        writers::leave(self, seat);
        committed
    }

    /// Adds one to what is poisoned, once nobody edits.
    fn repair(&self, seat: usize) -> bool {
        let seen = self.seen();
        let Some(mine) = acquire(self, seen, seat) else { return false };
        if !mine.is_touched() || who_edits(self, seat, HOME).next().is_some() {
            writers::let_go(self, mine, mine.buffer());
            return false;
        }
        if !begin_repair(self, mine, HOME) {
            return false;
        }
        let next = self.data[1].load(Relaxed) + 1;
        self.data.iter().for_each(|word| word.store(next, Relaxed));
        let committed = commit(self, mine);
        writers::leave(self, seat);
        committed
    }
}

/// Runs a model with at most `preemptions` switches away from a thread that could go on, or as many as
/// LOOM_MAX_PREEMPTIONS says.
fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.check(model);
}

fn spawn<R: 'static>(region: &Arc<Region>, act: impl FnOnce(&Region) -> R + 'static) -> JoinHandle<R> {
    let region = Arc::clone(region);
    thread::spawn(move || act(&region))
}

#[test]
fn a_reader_is_awaited() {
    in_one_order(|| {
        check(5, || {
            let region = Region::new();
            let writer = spawn(&region, |region| [region.write(0, false), region.write(0, false)]);
            let (first, second) = (region.read(1), region.read(2));
            assert!(first.is_none() || second.is_none() || first <= second, "{second:?} after {first:?}");
            assert_eq!(writer.join().unwrap(), [true; 2]);
            assert_eq!(region.read(3), Some(2));
        })
    });
}

#[test]
fn a_reader_is_fenced() {
    in_one_order(|| {
        check(5, || {
            let region = Region::new();
            let writer = spawn(&region, |region| [region.write(0, true), region.write(0, true)]);
            region.read(1);
            region.read(2);
            assert_eq!(writer.join().unwrap(), [true; 2]);
        })
    });
}

/// Of one word only: in no order with others, so that all that its fences are for is looked for.
#[test]
fn a_reader_is_quick() {
    check(5, || {
        let region = Region::new();
        let writer = spawn(&region, |region| [region.write(0, false), region.write(0, false)]);
        let (first, second) = (region.read_quickly(), region.read_quickly());
        assert!(first.is_none() || second.is_none() || first <= second, "{second:?} after {first:?}");
        assert_eq!(writer.join().unwrap(), [true; 2]);
        assert_eq!(region.read_quickly(), Some(2));
    });
}

/// One may fence the other one at any time, and whoever is poisoned is repaired.
#[test]
fn what_was_fenced_is_repaired() {
    in_one_order(|| {
        check(4, || {
            let region = Region::new();
            let other = spawn(&region, |region| region.write(1, true));
            let reader = spawn(&region, |region| _ = (region.read_quickly(), region.read(1)));
            let mine = region.write(0, true) || region.repair(0);
            reader.join().unwrap();
            let theirs = other.join().unwrap();
            let seen = region.seen();
            if seen.is_touched() && !seen.is_held() {
                assert!(region.repair(0), "nobody edits any more");
            }
            if let Some(value) = region.read_quickly() {
                assert!(value >= u64::from(mine) + u64::from(theirs), "{value}");
            }
        })
    });
}
