//! A process stops sending by a link while its threads send: whatever a call was told is what the other process gets.

use std::sync::Barrier;
use std::time::Duration;

use futures_executor::block_on;
use tubepost::{Link, LinkOptions, Process, RecvTimeoutError, SendError, SendTimeoutError, Strategy};

use crate::stage::{Dice, PATIENCE, Place, spin_for};

const THREADS: u64 = 3;
/// Of the longest message; a chunk is needed for it.
const LONG: usize = 5_000;

fn join(place: &Place, name: &str) -> Process {
    Process::options().domain(place.domain()).join(name).expect("a free name in a fresh domain")
}

/// Which thread sent it, and which of its messages it is; long or short.
fn letter(thread: u64, number: u64, long: bool) -> Vec<u8> {
    let mut letter = [thread.to_ne_bytes(), number.to_ne_bytes()].concat();
    if long {
        letter.resize(LONG, 0);
    }
    letter
}

fn read(letter: &[u8]) -> (usize, u64) {
    let word = |at: usize| u64::from_ne_bytes(*letter[at..].first_chunk().expect("long enough"));
    (word(0) as usize, word(8))
}

/// Sends until it is refused; how many were accepted. What was too late is sent again: it must not come twice.
fn stream(out: &Link<[u8]>, thread: u64, round: u64) -> u64 {
    let mut accepted = 0;
    for time in 0_u64.. {
        let letter = letter(thread, accepted, (thread + accepted + round).is_multiple_of(3));
        let patience = if time % 2 == 0 { PATIENCE } else { Duration::from_millis(50) };
        let sent = match (thread + round) % 3 {
            0 => block_on(out.sender().send_async(&letter)).map_err(|error| match error {
                SendError::Closed(..) => None,
                other => Some(other.to_string()),
            }),
            _ => match out.send_timeout(&letter, patience) {
                Ok(()) => Ok(()),
                Err(SendTimeoutError::Timeout(_)) if time % 2 == 1 => continue,
                Err(SendTimeoutError::Closed(..)) => Err(None),
                Err(other) => Err(Some(other.to_string())),
            },
        };
        match sent {
            Ok(()) => accepted += 1,
            Err(None) => return accepted,
            Err(Some(error)) => panic!("{error}"),
        }
    }
    unreachable!("it ends")
}

/// Threads with the same handle, and with clones, send; then this process stops sending. Each message was received, or its
/// sender told `Closed`.
fn stops_while_threads_send(there: &Link<[u8]>, here: &Link<[u8]>, round: u64) {
    ends_while_threads_send(there, here, round, || there.stop_sending().expect("our own"));
    std::thread::scope(|scope| {
        scope.spawn(|| here.send(b"the other way is as it was").expect("it lives"));
        assert_eq!(there.recv_timeout(PATIENCE).expect("it lives"), b"the other way is as it was");
    });
}

fn ends_while_threads_send(there: &Link<[u8]>, here: &Link<[u8]>, round: u64, end: impl FnOnce()) {
    let start = Barrier::new(THREADS as usize + 2);
    let (accepted, received) = std::thread::scope(|scope| {
        let sending: Vec<_> = (0..THREADS)
            .map(|thread| {
                let start = &start;
                let clone = there.clone();
                scope.spawn(move || {
                    start.wait();
                    stream(if thread == 0 { there } else { &clone }, thread, round)
                })
            })
            .collect();
        let receiving = scope.spawn(|| {
            start.wait();
            let mut next = [0; THREADS as usize];
            loop {
                match here.recv_timeout(PATIENCE) {
                    Ok(letter) => {
                        let (thread, number) = read(&letter);
                        assert_eq!(number, next[thread], "in the order of its thread");
                        next[thread] += 1;
                    }
                    Err(RecvTimeoutError::Closed(closed)) => {
                        assert_eq!(closed.uncollected, 0);
                        return next;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
        });
        let mut dice = Dice::new(round);
        start.wait();
        spin_for(Duration::from_micros(dice.below(400)));
        end();
        let accepted: Vec<u64> = sending.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        (accepted, receiving.join().expect("no panic"))
    });
    assert_eq!(accepted, received, "round {round}: accepted, and received");
    assert!(here.try_recv().is_err_and(|error| error.is_closed()), "nothing comes after that");
    assert!(there.try_send(&letter(0, 0, false)).is_err_and(|error| error.is_closed()));
}

fn by_names(options: &LinkOptions<[u8]>, rounds: u64) {
    for round in 0..rounds {
        let place = Place::new();
        let (alice, bob) = (join(&place, "alice"), join(&place, "bob"));
        let there = options.open(&alice, "bob").expect("bob is there");
        let here = options.open(&bob, "alice").expect("alice is there");
        stops_while_threads_send(&there, &here, round);
    }
}

fn options(strategy: Strategy) -> LinkOptions<[u8]> {
    Link::options().strategy(strategy).max_message(LONG as u64)
}

#[test]
fn of_a_link_with_few_places() {
    by_names(&options(Strategy::Shared).bounded(4), 60);
}

#[test]
fn of_a_link_with_many_places() {
    by_names(&options(Strategy::Shared).bounded(256), 60);
}

#[test]
fn of_a_link_without_a_capacity() {
    by_names(&options(Strategy::Shared).unbounded(), 60);
}

/// The same where the process leaves altogether.
#[test]
fn of_a_process_that_leaves() {
    leaves(4);
}

fn leaves(capacity: u64) {
    for round in 0..60 {
        let strategy = if round < 30 { Strategy::Shared } else { Strategy::Kernel };
        let place = Place::new();
        let (alice, bob) = (join(&place, "alice"), join(&place, "bob"));
        let options = options(strategy).bounded(capacity);
        let there = options.open(&alice, "bob").expect("bob is there");
        let here = options.open(&bob, "alice").expect("alice is there");
        ends_while_threads_send(&there, &here, round, || alice.leave());
    }
}

#[test]
fn of_a_link_where_nothing_waits() {
    by_names(&options(Strategy::Shared).bounded(0), 60);
}

#[test]
fn of_a_process_that_leaves_where_nothing_waits() {
    leaves(0);
}

#[test]
fn of_a_link_by_the_kernel() {
    by_names(&options(Strategy::Kernel).bounded(4), 60);
}

#[test]
fn of_a_link_by_the_kernel_where_nothing_waits() {
    by_names(&options(Strategy::Kernel).bounded(0), 60);
}

fn of_pairs(options: &LinkOptions<[u8]>) {
    for round in 0..60 {
        let (there, here) = options.pair().expect("there is memory");
        stops_while_threads_send(&there, &here.here().expect("nobody took it"), round);
    }
}

#[test]
fn of_a_pair() {
    of_pairs(&options(Strategy::Shared).bounded(4));
}

#[test]
fn of_a_pair_where_nothing_waits() {
    of_pairs(&options(Strategy::Shared).bounded(0));
}

#[test]
fn of_a_pair_by_the_kernel() {
    of_pairs(&options(Strategy::Kernel).bounded(4));
}

#[test]
fn of_a_pair_by_the_kernel_where_nothing_waits() {
    of_pairs(&options(Strategy::Kernel).bounded(0));
}
