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

/// Two positions that are published in any order and taken in theirs, by receivers of whom one is woken.
struct Row {
    published: [AtomicU64; 2],
    taken: AtomicU64,
    word: AtomicU32,
    fence: AtomicU32,
}

impl Row {
    fn new() -> Arc<Row> {
        Arc::new(Row {
            published: [AtomicU64::new(0), AtomicU64::new(0)],
            taken: AtomicU64::new(0),
            word: AtomicU32::new(0),
            fence: AtomicU32::new(SET),
        })
    }

    fn bell(&self) -> Bell<'_> {
        Bell::new(&self.word, &self.fence, Wakes::One)
    }

    fn is_published(&self, position: u64) -> bool {
        self.published.get(position as usize).is_some_and(|word| word.load(Ordering::Acquire) != 0)
    }

    fn publish(&self, position: usize) {
        self.published[position].store(1, Ordering::Release);
    }

    /// Takes the next one if it is published.
    fn take(&self) -> Option<u64> {
        let next = self.taken.load(Ordering::Acquire);
        let swap = || self.taken.compare_exchange(next, next + 1, Ordering::AcqRel, Ordering::Relaxed);
        (self.is_published(next) && swap().is_ok()).then_some(next)
    }

    /// Receives one, waiting for it, and passes the wake on.
    fn receive(&self, pass: fn(&Row, u64)) {
        let position = self.bell().wait(None, || self.take(), || Ok(SLICE)).unwrap();
        pass(self, position);
    }

    /// As a receiver that has freed a place: it told those who wait for room first, which fences.
    fn pass_on(&self, position: u64) {
        fence(Ordering::SeqCst);
        if self.bell().has_sleepers() && self.is_published(position + 1) {
            self.bell().wake();
        }
    }
}

fn spawn_on(row: &Arc<Row>, act: impl FnOnce(&Row) + 'static) -> thread::JoinHandle<()> {
    let row = Arc::clone(row);
    thread::spawn(move || act(&row))
}

/// Two publish, two receive one each.
fn one_of_two(preemptions: usize, ring: fn(Bell<'_>), pass: fn(&Row, u64)) {
    check(preemptions, move || {
        let row = Row::new();
        let threads = [
            spawn_on(&row, move |row| row.receive(pass)),
            spawn_on(&row, move |row| {
                row.publish(1);
                ring(row.bell());
            }),
            spawn_on(&row, move |row| {
                row.publish(0);
                ring(row.bell());
            }),
        ];
        row.receive(pass);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

fn ring(bell: Bell<'_>) {
    bell.ring(&Quiet::default());
}

/// As [`Bell::wake`], where somebody sleeps.
fn ring_by(bell: Bell<'_>, otherwise: fn(Bell<'_>, u32)) {
    fence(Ordering::SeqCst);
    let word = bell.word.load(Ordering::Acquire);
    if word & ASLEEP != 0 && !kernel::wake_one(bell.word) {
        otherwise(bell, word);
    }
}

#[test]
fn one_of_two_is_woken_and_passes_it_on() {
    one_of_two(2, ring, Row::pass_on);
}

/// Planted: nobody passes it on. Whoever is woken for the second position before the first is there
/// sleeps again, and the first wakes only one.
#[test]
#[should_panic(expected = "deadlock")]
fn a_wake_that_is_not_passed_on() {
    one_of_two(2, ring, |_, _| ());
}

/// Planted: who finds nobody in the kernel's queue leaves the word as it is.
#[test]
#[should_panic(expected = "deadlock")]
fn a_sleeper_that_is_not_there_yet() {
    one_of_two(2, |bell| ring_by(bell, |_, _| ()), Row::pass_on);
}

/// Planted: or changes the word, and wakes nobody.
#[test]
#[should_panic(expected = "deadlock")]
fn a_sleeper_that_was_just_in_time() {
    one_of_two(
        2,
        |bell| {
            ring_by(bell, |bell, word| {
                let awake = (word & !ASLEEP).wrapping_add(2);
                let _ = bell.word.compare_exchange(word, awake, Ordering::SeqCst, Ordering::SeqCst);
            });
        },
        Row::pass_on,
    );
}
