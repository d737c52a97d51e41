//! Models under loom of readers and writers, with what they really do to `current`, rows and seats. The data is two
//! words, written and read without any order of their own.

use super::readers::{let_go, pin};
use super::words::{Buffer, Current};
use super::writers::{self, Words};
use crate::sync::atomic::{AtomicU64, Ordering::*};
use crate::sync::modelled::in_one_order;
use loom::thread::{self, JoinHandle};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

const BUFFERS: u64 = 4;
const ROWS: usize = 2;
const SEATS: usize = 2;

struct Region {
    current: AtomicU64,
    rows: [AtomicU64; ROWS],
    editing: [AtomicU64; SEATS],
    data: [[AtomicU64; 2]; BUFFERS as usize],
}

impl Words for Region {
    fn current(&self) -> &AtomicU64 {
        &self.current
    }
    fn rows(&self) -> usize {
        ROWS
    }
    fn row(&self, row: usize) -> Option<&AtomicU64> {
        Some(&self.rows[row])
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
            rows: std::array::from_fn(|_| zero()),
            editing: std::array::from_fn(|_| zero()),
            data: std::array::from_fn(|_| [zero(), zero()]),
        })
    }

    /// Reads the newest version, which stays whole meanwhile; gives its number.
    fn read(&self, row: usize) -> u64 {
        let words = &self.data[pin(&self.current, &self.rows[row]).index()];
        let [first, second] = [0, 1].map(|word: usize| words[word].load(Relaxed));
        let again = words[0].load(Relaxed);
        let_go(&self.rows[row]);
        assert!(first == second && first == again, "torn: {first} {second} {again}");
        first
    }

    /// Makes the next version; gives its number, unless it was fenced, or another holds who is not late.
    fn write(&self, seat: usize, fences: bool) -> Option<u64> {
        let seen = Current(self.current.load(SeqCst));
        if seen.is_held() && !fences {
            return None;
        }
        writers::guess(self, seat, seen, Buffer::of(u64::from(seen.buffer() != Buffer::of(1))));
        let Some(mine) = writers::acquire(self, seen, seat) else {
            writers::leave(self, seat);
            return None;
        };
        let used = writers::used(self, mine);
        let free = |buffer: &Buffer| used & buffer.bit() == 0;
        let buffer = match writers::guessed(self, mine).filter(free) {
            Some(guess) => guess,
            None => {
                let buffer = (0..BUFFERS).map(Buffer::of).find(free).expect("there are more than are used");
                if !writers::take(self, mine, buffer) {
                    return None;
                }
                buffer
            }
        };
        let version = self.data[mine.buffer().index()][0].load(Relaxed) + 1;
        self.data[buffer.index()].iter().for_each(|word| word.store(version, Relaxed));
        let committed = writers::let_go(self, mine, buffer);
        writers::leave(self, seat);
        committed.then_some(version)
    }
}

/// Runs a model with at most `preemptions` switches away from a thread that could go on, or as many as
/// LOOM_MAX_PREEMPTIONS says; all the outcomes it met.
fn check<R: Ord + Send + 'static>(
    preemptions: usize,
    model: impl Fn() -> R + Send + Sync + 'static,
) -> BTreeSet<R> {
    let met = Arc::new(Mutex::new(BTreeSet::new()));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    let noted = Arc::clone(&met);
    in_one_order(|| {
        builder.check(move || {
            let outcome = model();
            noted.lock().unwrap().insert(outcome);
        });
    });
    std::mem::take(&mut *met.lock().unwrap())
}

fn spawn<R: 'static>(region: &Arc<Region>, act: impl FnOnce(&Region) -> R + 'static) -> JoinHandle<R> {
    let region = Arc::clone(region);
    thread::spawn(move || act(&region))
}

/// One writes three times, so that what was pinned first is wanted for the third version.
#[test]
fn a_reader_and_a_writer() {
    let met = check(5, || {
        let region = Region::new();
        let writer = spawn(&region, |region| (0..3).for_each(|_| assert!(region.write(0, false).is_some())));
        let (first, second) = (region.read(0), region.read(0));
        assert!(first <= second, "{second} after {first}");
        writer.join().unwrap();
        assert_eq!(region.read(0), 3);
        (first, second)
    });
    assert!(met.contains(&(0, 0)) && met.contains(&(0, 3)) && met.contains(&(1, 2)), "{met:?}");
}

/// Two readers, who take what they find or are answered, by one who writes all the while.
#[test]
fn two_readers_and_a_writer() {
    let met = check(3, || {
        let region = Region::new();
        let writer = spawn(&region, |region| (0..3).for_each(|_| assert!(region.write(0, false).is_some())));
        let other = spawn(&region, |region| region.read(1));
        let mine = region.read(0);
        writer.join().unwrap();
        (mine, other.join().unwrap())
    });
    assert!(met.contains(&(0, 2)) && met.contains(&(3, 0)), "{met:?}");
}

/// Two writers of whom each may fence the other one at any time: of one version exactly one is committed.
#[test]
fn two_writers_fence_each_other() {
    let met = check(5, || {
        let region = Region::new();
        let other = spawn(&region, |region| [region.write(1, true), region.write(1, true)]);
        let mine = [region.write(0, true), region.write(0, true)];
        let theirs = other.join().unwrap();
        let mut all: Vec<u64> = mine.iter().chain(&theirs).copied().flatten().collect();
        all.sort_unstable();
        assert!(all.iter().copied().eq(1..=all.len() as u64), "{all:?}");
        assert_eq!(region.read(0), all.len() as u64);
        all.len()
    });
    assert!(met.contains(&4) && met.contains(&3), "{met:?}");
}

/// And one who reads what they make.
#[test]
fn a_reader_between_two_writers() {
    let met = check(3, || {
        let region = Region::new();
        let other = spawn(&region, |region| region.write(1, true));
        let reader = spawn(&region, |region| {
            let (first, second) = (region.read(0), region.read(0));
            assert!(first <= second, "{second} after {first}");
            second
        });
        let mine = [region.write(0, true), region.write(0, true)];
        let theirs = other.join().unwrap();
        let committed = mine.iter().chain([&theirs]).flatten().count() as u64;
        assert_eq!(region.read(1), committed);
        (reader.join().unwrap(), committed)
    });
    assert!(met.contains(&(0, 3)) && met.contains(&(3, 3)), "{met:?}");
}
