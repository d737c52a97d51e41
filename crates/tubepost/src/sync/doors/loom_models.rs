//! Models of doors under loom, as those of waking (`sync::wait::loom_models`): a ring that gets lost is a deadlock.
//!
//! A socket is a word here that says whether it was rung; who waits for it sleeps on that.

use super::*;
use crate::sync::kernel;
use crate::sync::wait::{Bell, Doors, Quiet, SLICE, Wakes};
use loom::thread;
use std::sync::Arc;

/// A fence word that says SET: publishers fence.
const SET: u32 = 2;

struct Yard {
    messages: AtomicU64,
    word: AtomicU32,
    fence: AtomicU32,
    doors: AtomicU32,
    door: [AtomicU64; 2],
    rung: [AtomicU32; 2],
    /// Of those two so many are walked along.
    number: usize,
    /// Whether the herald told somebody.
    note: AtomicU32,
}

impl Doors for Yard {
    fn ring(&self, reason: u32) {
        if take_herald(&self.doors) {
            self.note.store(1, Ordering::SeqCst);
            kernel::wake_all(&self.note);
        }
        let Some(seen) = some(&self.doors, reason) else { return };
        for (door, rung) in self.door.iter().zip(&self.rung).take(self.number) {
            while let Some(seen) = armed(door, reason) {
                if take(door, seen, reason) {
                    rung.store(1, Ordering::SeqCst);
                    kernel::wake_all(rung);
                    break;
                }
            }
        }
        none_left(&self.doors, seen, reason);
    }
}

impl Yard {
    fn new(number: usize) -> Arc<Yard> {
        Arc::new(Yard {
            messages: AtomicU64::new(0),
            word: AtomicU32::new(0),
            fence: AtomicU32::new(SET),
            doors: AtomicU32::new(0),
            door: [AtomicU64::new(0), AtomicU64::new(0)],
            rung: [AtomicU32::new(0), AtomicU32::new(0)],
            number,
            note: AtomicU32::new(0),
        })
    }

    fn bell(&self) -> Bell<'_> {
        Bell::new(&self.word, &self.fence, Wakes::All).and(self, MESSAGES)
    }

    fn send(&self) {
        self.messages.fetch_add(1, Ordering::Release);
        self.bell().ring(&Quiet::default());
    }

    fn take(&self) -> bool {
        let mut seen = self.messages.load(Ordering::Acquire);
        while seen > 0 {
            match self.messages.compare_exchange(seen, seen - 1, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Takes one, waiting at a door; how it gets ready for that.
    fn receive(&self, at: usize, prepare: fn(&Yard, usize) -> bool) {
        while !self.take() {
            if prepare(self, at) {
                return;
            }
            kernel::sleep(&self.rung[at], 0, SLICE);
            self.rung[at].store(0, Ordering::SeqCst);
        }
    }
}

/// Two publishers, one message each, and one who waits for notes of them, having asked for each by the herald.
fn wait_for_notes(prepare: fn(&Yard) -> bool) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let yard = Yard::new(0);
        let publishers = [(), ()].map(|()| {
            let yard = Arc::clone(&yard);
            thread::spawn(move || yard.send())
        });
        for _ in 0..2 {
            while !yard.take() {
                if prepare(&yard) {
                    break;
                }
                kernel::sleep(&yard.note, 0, SLICE);
                yard.note.store(0, Ordering::SeqCst);
            }
        }
        publishers.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn the_herald_is_called_for_whoever_asked_before() {
    wait_for_notes(|yard| {
        arm_some(&yard.doors, HERALD);
        yard.bell().register();
        yard.take()
    });
}

/// Planted: who asked for the herald does not look again.
#[test]
#[should_panic(expected = "deadlock")]
fn no_second_look_after_asking_for_the_herald() {
    wait_for_notes(|yard| {
        arm_some(&yard.doors, HERALD);
        yard.bell().register();
        false
    });
}

/// Planted: it says "asleep" before it asks for the herald, and looks in between.
#[test]
#[should_panic(expected = "deadlock")]
fn a_herald_that_is_asked_for_too_late() {
    wait_for_notes(|yard| {
        yard.bell().register();
        let took = yard.take();
        arm_some(&yard.doors, HERALD);
        took
    });
}

/// As it is to be. Whether it took one.
fn arm_and_look(yard: &Yard, at: usize) -> bool {
    arm(&yard.door[at], &yard.doors, MESSAGES);
    yard.bell().register();
    yard.take()
}

/// At most so many switches away from a thread that could go on; so many publish one message each; so many each take one, the first of them here.
fn meet(preemptions: usize, publishers: usize, number: usize, prepare: fn(&Yard, usize) -> bool) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(move || {
        let yard = Yard::new(number);
        let mut threads = Vec::new();
        for _ in 0..publishers {
            let yard = Arc::clone(&yard);
            threads.push(thread::spawn(move || yard.send()));
        }
        for at in 1..number {
            let yard = Arc::clone(&yard);
            threads.push(thread::spawn(move || yard.receive(at, prepare)));
        }
        for _ in number - 1..publishers {
            yard.receive(0, prepare);
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn one_publisher_rings_one_door() {
    meet(3, 1, 1, arm_and_look);
}

#[test]
fn two_publishers_ring_one_door_again() {
    meet(3, 2, 1, arm_and_look);
}

/// Planted: who waits does not look again.
#[test]
#[should_panic(expected = "deadlock")]
fn no_second_look() {
    meet(3, 1, 1, |yard, at| {
        arm(&yard.door[at], &yard.doors, MESSAGES);
        yard.bell().register();
        false
    });
}

/// Planted: it registers as a sleeper before its door is armed, and looks in between.
#[test]
#[should_panic(expected = "deadlock")]
fn a_door_that_is_armed_too_late() {
    meet(3, 1, 1, |yard, at| {
        yard.bell().register();
        let took = yard.take();
        arm(&yard.door[at], &yard.doors, MESSAGES);
        took
    });
}
