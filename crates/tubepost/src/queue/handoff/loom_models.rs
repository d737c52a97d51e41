//! Models of capacity zero under loom; how they are run, and what they show, is told in `slots::loom_models`.
//!
//! A chunk is a word here: (use, member), and a payload that loom watches.

use super::*;
use loom::cell::UnsafeCell;
use loom::thread;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

const FREE: u64 = 0;
const OWN: u64 = 1;
const HELD: u64 = 3;
/// The only receiver that is not a second one.
const ME: Member = 1;

fn word(to: u64, member: Member) -> u64 {
    to << 16 | u64::from(member)
}

/// Two cells and two chunks.
struct Heap {
    used: AtomicU32,
    offers: AtomicU64,
    closed: AtomicU32,
    words: [AtomicU64; 2],
    last: AtomicU64,
    numbers: [AtomicU64; 2],
    /// What is written in cells.
    here: [UnsafeCell<u64>; 2],
    chunks: [AtomicU64; 2],
    payloads: [UnsafeCell<u64>; 2],
}

// SAFETY: this is what is tested; loom checks every access to a payload.
unsafe impl Sync for Heap {}

impl Cells for Heap {
    fn used(&self) -> &AtomicU32 {
        &self.used
    }
    fn offers(&self) -> &AtomicU64 {
        &self.offers
    }
    fn closed(&self) -> &AtomicU32 {
        &self.closed
    }
    fn sure(&self, index: u32) -> bool {
        index < 2
    }
    fn word(&self, index: u32) -> &AtomicU64 {
        &self.words[index as usize]
    }
    fn number(&self, index: u32) -> &AtomicU64 {
        &self.numbers[index as usize]
    }
    fn last(&self) -> &AtomicU64 {
        &self.last
    }
}

impl Given for Heap {
    fn bind(&self, which: Which, to: Member, still: impl Fn() -> bool) -> bool {
        let chunk = &self.chunks[which as usize];
        let seen = chunk.load(Ordering::Acquire);
        let swap =
            || chunk.compare_exchange(seen, word(HELD, to), Ordering::AcqRel, Ordering::Relaxed).is_ok();
        still() && (seen >> 16 != OWN || swap())
    }
}

impl Heap {
    fn fill(&self, which: Which, me: Member, payload: u64) {
        self.chunks[which as usize].store(word(OWN, me), Ordering::Relaxed);
        // SAFETY: loom checks that nobody else touches it meanwhile.
        self.payloads[which as usize].with_mut(|cell| unsafe { *cell = payload });
    }

    fn read(&self, which: Which) -> u64 {
        // SAFETY: loom checks that nobody writes it meanwhile.
        self.payloads[which as usize].with(|cell| unsafe { *cell })
    }
}

fn meeting() -> Arc<Handoff<Heap>> {
    Arc::new(Handoff::new(Heap {
        used: AtomicU32::new(0),
        offers: AtomicU64::new(0),
        closed: AtomicU32::new(0),
        words: std::array::from_fn(|_| AtomicU64::new(0)),
        last: AtomicU64::new(0),
        numbers: std::array::from_fn(|_| AtomicU64::new(0)),
        here: std::array::from_fn(|_| UnsafeCell::new(0)),
        chunks: std::array::from_fn(|_| AtomicU64::new(FREE)),
        payloads: std::array::from_fn(|_| UnsafeCell::new(0)),
    }))
}

/// Runs a model, and gives all the outcomes it met.
fn check<R: Ord + Send + 'static>(model: impl Fn() -> R + Send + Sync + 'static) -> BTreeSet<R> {
    let met = Arc::new(Mutex::new(BTreeSet::new()));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check({
        let met = Arc::clone(&met);
        move || {
            let outcome = model();
            met.lock().unwrap().insert(outcome);
        }
    });
    std::mem::take(&mut *met.lock().unwrap())
}

/// A sender of this chunk tries once.
fn try_send(handoff: &Handoff<Heap>, which: Which) -> bool {
    let me = 10 + which as Member;
    handoff.cells.fill(which, me, u64::from(me));
    while let Some(seat) = handoff.longest_waiting() {
        if handoff.give(seat, which) {
            let (from, to) = (word(OWN, me), word(HELD, seat.member()));
            let chunk = &handoff.cells.chunks[which as usize];
            let _ = chunk.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed);
            return true;
        }
    }
    false
}

/// A sender gives this in a cell, once.
fn try_give(handoff: &Handoff<Heap>, me: Member) -> bool {
    let Some(giving) = handoff.longest_waiting().and_then(|seat| handoff.begin(seat, me)) else {
        return false;
    };
    handoff.cells.number(giving.index).store(handoff.number_in(giving.index), Ordering::Relaxed);
    // SAFETY: loom checks that nobody else touches it meanwhile.
    handoff.cells.here[giving.index as usize].with_mut(|cell| unsafe { *cell = me.into() });
    handoff.finish(giving)
}

/// It was given this: the payload.
fn take(handoff: &Handoff<Heap>, seat: Seat, which: Which) -> u64 {
    assert!(
        handoff.cells.bind(which, seat.member(), || true) || {
            // Its giver was faster.
            handoff.cells.chunks[which as usize].load(Ordering::Acquire) == word(HELD, seat.member())
        }
    );
    handoff.free(seat);
    handoff.cells.read(which)
}

#[test]
fn loom_who_offers_and_who_waits_see_one_another() {
    let met = check(|| {
        let handoff = meeting();
        let sender = {
            let handoff = Arc::clone(&handoff);
            thread::spawn(move || {
                handoff.offered();
                handoff.waiting().next().is_some()
            })
        };
        let seat = handoff.sit(0, ME).unwrap();
        handoff.post(seat, 0);
        let seen = handoff.offers() > 0;
        (seen, sender.join().unwrap())
    });
    assert_eq!(met, BTreeSet::from([(false, true), (true, false), (true, true)]));
}

#[test]
fn loom_of_two_senders_one_meets_a_receiver_that_may_leave() {
    let met = check(|| {
        let handoff = meeting();
        let senders = [0, 1].map(|which| {
            let handoff = Arc::clone(&handoff);
            thread::spawn(move || try_send(&handoff, which))
        });
        let seat = handoff.sit(0, ME).unwrap();
        let seat = handoff.post(seat, 0);
        let got = match handoff.stand_up(seat) {
            Left::Given(which) => Some(take(&handoff, seat, which)),
            Left::Mine => {
                handoff.free(seat);
                None
            }
            left => unreachable!("nobody gives anything there: {left:?}"),
        };
        let sent = senders.map(|sender| sender.join().unwrap());
        match got {
            None => assert_eq!(sent, [false, false]),
            Some(message) => assert_eq!(sent, [message == 10, message == 11]),
        }
        assert!(handoff.taken().next().is_none(), "the cell is free");
        got
    });
    assert_eq!(met, BTreeSet::from([None, Some(10), Some(11)]));
}

#[test]
fn loom_who_died_waiting_has_what_it_was_given_whoever_looks() {
    let met = check(|| {
        let handoff = meeting();
        let seat = handoff.sit(0, ME).unwrap();
        handoff.post(seat, 0); // and it dies
        let sender = {
            let handoff = Arc::clone(&handoff);
            thread::spawn(move || try_send(&handoff, 0))
        };
        let tidier = {
            let handoff = Arc::clone(&handoff);
            thread::spawn(move || handoff.clear(&handoff.cells, |member| member == ME))
        };
        handoff.clear(&handoff.cells, |member| member == ME);
        let sent = sender.join().unwrap();
        tidier.join().unwrap();
        assert!(handoff.taken().next().is_none(), "the cell is free");
        let chunk = handoff.cells.chunks[0].load(Ordering::Acquire);
        assert_eq!(chunk, if sent { word(HELD, ME) } else { word(OWN, 10) });
        sent
    });
    assert_eq!(met, BTreeSet::from([false, true]));
}

#[test]
fn loom_who_closes_takes_the_cell_away_or_is_seen() {
    let met = check(|| {
        let handoff = meeting();
        let closer = {
            let handoff = Arc::clone(&handoff);
            thread::spawn(move || handoff.close())
        };
        let seat = handoff.sit(0, ME).unwrap();
        let seat = handoff.post(seat, 0);
        let seen = handoff.is_closed();
        closer.join().unwrap();
        (seen, handoff.waits(&seat))
    });
    assert_eq!(met, BTreeSet::from([(false, false), (true, false), (true, true)]));
}

#[test]
fn loom_who_leaves_while_something_is_given_has_it_or_not_and_the_cell_is_whole() {
    let met = check(|| {
        let handoff = meeting();
        let senders = [10, 11].map(|me| {
            let handoff = Arc::clone(&handoff);
            thread::spawn(move || try_give(&handoff, me))
        });
        let mut got = Vec::new();
        // Twice: the second time in a cell that nobody writes to any more.
        for _ in 0..2 {
            let seat = handoff.sit(0, ME).unwrap();
            let seat = handoff.post(seat, handoff.number_in(seat.index));
            match handoff.stand_up(seat) {
                Left::Here(here) => {
                    // SAFETY: loom checks that nobody writes it meanwhile.
                    got.push(handoff.cells.here[here.index as usize].with(|cell| unsafe { *cell }));
                    handoff.free(here);
                }
                Left::Mine => handoff.free(seat),
                Left::Lost => {}
                Left::Given(which) => unreachable!("nobody has chunk {which}"),
            }
        }
        let sent = senders.map(|sender| sender.join().unwrap());
        assert!(handoff.taken().next().is_none(), "the cells are free");
        got.sort_unstable();
        let expected: Vec<u64> =
            [10, 11].into_iter().zip(sent).filter(|(_, sent)| *sent).map(|(me, _)| me).collect();
        assert_eq!(got, expected);
        got
    });
    assert!(met.contains(&vec![]) && met.contains(&vec![10]) && met.contains(&vec![11]));
}

#[test]
fn loom_who_died_waiting_leaves_what_it_was_given_there_or_nothing() {
    let met = check(|| {
        let handoff = meeting();
        let seat = handoff.sit(0, ME).unwrap();
        handoff.post(seat, 0); // and it dies
        let sender = {
            let handoff = Arc::clone(&handoff);
            thread::spawn(move || try_give(&handoff, 10))
        };
        let tidier = {
            let handoff = Arc::clone(&handoff);
            thread::spawn(move || handoff.clear(&handoff.cells, |member| member == ME))
        };
        handoff.clear(&handoff.cells, |member| member == ME);
        let sent = sender.join().unwrap();
        tidier.join().unwrap();
        let back = handoff.clear(&handoff.cells, |member| member == ME);
        assert_eq!(back, u64::from(sent));
        assert_eq!(handoff.taken().count() as u64, back, "but for that all cells are free");
        sent
    });
    assert_eq!(met, BTreeSet::from([false, true]));
}
