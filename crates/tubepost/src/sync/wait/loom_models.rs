//! Models of waking under loom: every interleaving of a few threads, and every value that
//! the language's memory model lets a load return.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p tubepost --release --lib loom
//! ```
//!
//! A sleep in a model has no end of its own (`sync::modelled`), so a wake-up that gets lost
//! is a deadlock. Publishers fence from the start: loom has no barrier on other processors.

use super::*;
use crate::sync::atomic::AtomicU64;
use loom::thread;
use std::sync::Arc;

/// What is waited for, and the bell.
struct Desk {
    messages: AtomicU64,
    word: AtomicU32,
    fence: AtomicU32,
    /// Says NONE for good, to publishers who must not fence.
    none: AtomicU32,
}

impl Desk {
    fn new(fence: u32) -> Arc<Desk> {
        Arc::new(Desk {
            messages: AtomicU64::new(0),
            word: AtomicU32::new(0),
            fence: AtomicU32::new(fence),
            none: AtomicU32::new(NONE),
        })
    }

    fn bell(&self) -> Bell<'_> {
        Bell::new(&self.word, &self.fence, Wakes::All)
    }

    /// Adds a message; the number of messages is all there is to it.
    fn publish(&self) {
        self.messages.fetch_add(1, Ordering::Release);
    }

    fn send(&self) {
        self.publish();
        self.bell().ring(&Quiet::default());
    }

    fn holds(&self, messages: u64) -> Option<()> {
        (self.messages.load(Ordering::Acquire) >= messages).then_some(())
    }

    /// Takes a message if there is one.
    fn take(&self) -> Option<()> {
        let relaxed = Ordering::Relaxed;
        let mut seen = self.messages.load(Ordering::Acquire);
        while seen > 0 {
            match self.messages.compare_exchange(seen, seen - 1, Ordering::AcqRel, relaxed) {
                Ok(_) => return Some(()),
                Err(now) => seen = now,
            }
        }
        None
    }

    /// Waits, for as long as it takes.
    fn wait(&self, attempt: impl FnMut() -> Option<()>) {
        let done = self.bell().wait(None, attempt, || Ok(SLICE));
        assert_eq!(done, Some(()));
    }
}

/// Runs a model with at most `preemptions` switches away from a thread that could go on.
fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

fn spawn(desk: &Arc<Desk>, act: impl FnOnce(&Desk) + 'static) -> thread::JoinHandle<()> {
    let desk = Arc::clone(desk);
    thread::spawn(move || act(&desk))
}

#[test]
fn one_publisher_wakes_one_sleeper() {
    for fence in [SET, PINNED] {
        check(4, move || {
            let desk = Desk::new(fence);
            let publisher = spawn(&desk, Desk::send);
            desk.wait(|| desk.holds(1));
            publisher.join().unwrap();
        });
    }
}

#[test]
fn one_publisher_wakes_a_sleeper_again_and_again() {
    check(3, || {
        let desk = Desk::new(SET);
        let publisher = spawn(&desk, |desk| {
            let quiet = Quiet::default();
            for _ in 0..2 {
                desk.publish();
                desk.bell().ring(&quiet);
            }
        });
        desk.wait(|| desk.take());
        desk.wait(|| desk.take());
        publisher.join().unwrap();
    });
}

#[test]
fn two_publishers_wake_one_sleeper() {
    for fence in [SET, PINNED] {
        check(3, move || {
            let desk = Desk::new(fence);
            let publishers = [spawn(&desk, Desk::send), spawn(&desk, Desk::send)];
            desk.wait(|| desk.holds(2));
            publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
        });
    }
}

#[test]
fn a_message_for_each_of_two_sleepers() {
    check(2, || {
        let desk = Desk::new(SET);
        let publishers = [spawn(&desk, Desk::send), spawn(&desk, Desk::send)];
        let sleeper = spawn(&desk, |desk| desk.wait(|| desk.take()));
        desk.wait(|| desk.take());
        sleeper.join().unwrap();
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
        assert_eq!(desk.holds(1), None);
    });
}

/// `wake`, by somebody who dies before its system call.
fn wake_and_die(bell: Bell<'_>) {
    let word = bell.word.load(Ordering::SeqCst);
    if word & ASLEEP != 0 {
        let awake = (word & !ASLEEP).wrapping_add(2);
        let _ = bell.word.compare_exchange(word, awake, Ordering::SeqCst, Ordering::SeqCst);
    }
}

/// A publisher dies at some point of waking; after its death the others are woken by `by`.
fn death_of_a_publisher(by: fn(Bell<'_>)) {
    check(3, move || {
        let desk = Desk::new(SET);
        let sleeper = spawn(&desk, |desk| desk.wait(|| desk.holds(1)));
        let publisher = spawn(&desk, |desk| {
            desk.publish();
            fence(Ordering::SeqCst);
            wake_and_die(desk.bell());
        });
        publisher.join().unwrap();
        by(desk.bell());
        sleeper.join().unwrap();
    });
}

#[test]
fn an_alarm_wakes_whom_the_dead_was_to_wake() {
    death_of_a_publisher(|bell| bell.alarm());
}

#[test]
fn an_alarm_meets_a_message() {
    check(3, || {
        let desk = Desk::new(PINNED);
        let publisher = spawn(&desk, Desk::send);
        let watch = spawn(&desk, |desk| desk.bell().alarm());
        desk.wait(|| desk.holds(1));
        publisher.join().unwrap();
        watch.join().unwrap();
    });
}

/// Planted: an alarm that believes the word.
#[test]
#[should_panic(expected = "deadlock")]
fn alarm_that_believes_the_word() {
    death_of_a_publisher(|bell| bell.wake());
}

/// Planted: the sleeper takes it that publishers fence, and this one does not.
#[test]
#[should_panic(expected = "deadlock")]
fn publisher_without_a_fence() {
    check(3, || {
        let desk = Desk::new(SET);
        let publisher = spawn(&desk, |desk| {
            desk.publish();
            Bell::new(&desk.word, &desk.none, Wakes::All).ring(&Quiet::default());
        });
        desk.wait(|| desk.holds(1));
        publisher.join().unwrap();
    });
}

/// Planted: a sleeper that looks, says that it sleeps, and sleeps.
#[test]
#[should_panic(expected = "deadlock")]
fn sleeper_that_does_not_look_again() {
    check(3, || {
        let desk = Desk::new(SET);
        let publisher = spawn(&desk, Desk::send);
        while desk.holds(1).is_none() {
            let asleep = desk.bell().register();
            kernel::sleep(&desk.word, asleep, SLICE);
        }
        publisher.join().unwrap();
    });
}

/// Planted: a sleeper that sleeps on whatever the word says now.
#[test]
#[should_panic(expected = "deadlock")]
fn sleeper_that_reads_the_word_anew() {
    check(3, || {
        let desk = Desk::new(SET);
        let publisher = spawn(&desk, Desk::send);
        desk.bell().register();
        while desk.holds(1).is_none() {
            kernel::sleep(&desk.word, desk.word.load(Ordering::SeqCst), SLICE);
        }
        publisher.join().unwrap();
    });
}
