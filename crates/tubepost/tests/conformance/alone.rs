//! A link's sender claims its places by itself: its threads do not get in each other's way, nor who closes in theirs.

use std::sync::Barrier;

use tubepost::{Link, Process, SendError, TryRecvError};

use crate::stage::Place;

fn join(place: &Place, name: &str) -> Process {
    Process::options().domain(place.domain()).join(name).expect("a free name in a fresh domain")
}

/// Sends numbers until it is told that the link is closed; how many were accepted, and how many are said to be never received.
fn stream(out: &Link<u64>, from: u64) -> (u64, u64) {
    let mut accepted = 0;
    loop {
        match out.send(from + accepted) {
            Ok(()) => accepted += 1,
            Err(SendError::Closed(_, closed)) => return (accepted, closed.uncollected),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn who_leaves_while_the_other_sends_accounts_for_every_message() {
    const OTHERS: u64 = 1 << 32;
    for (round, threads) in (0..400).zip([1, 2, 3, 1].into_iter().cycle()) {
        let place = Place::new();
        let (alice, bob) = (join(&place, "alice"), join(&place, "bob"));
        let there: Link<u64> = Link::options().bounded(4).open(&alice, "bob").expect("bob is there");
        let here: Link<u64> = Link::options().open(&bob, "alice").expect("alice is there");
        let start = Barrier::new(threads as usize + 1);
        std::thread::scope(|scope| {
            let sending: Vec<_> = (0..threads)
                .map(|thread| {
                    let (there, start) = (&there, &start);
                    scope.spawn(move || {
                        start.wait();
                        stream(there, thread * OTHERS)
                    })
                })
                .collect();
            start.wait();
            let (mut received, mut next) = (0, [0, OTHERS, 2 * OTHERS]);
            for _ in 0..round % 50 {
                match here.try_recv() {
                    Ok(number) => {
                        let its = &mut next[(number / OTHERS) as usize];
                        assert_eq!(number, *its, "in the order of its thread");
                        (received, *its) = (received + 1, *its + 1);
                    }
                    Err(TryRecvError::Empty) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            bob.leave();
            let told: Vec<_> = sending.into_iter().map(|thread| thread.join().expect("no panic")).collect();
            let accepted: u64 = told.iter().map(|(accepted, _)| accepted).sum();
            for (_, uncollected) in told {
                assert_eq!(received + uncollected, accepted, "round {round}, {threads} threads");
            }
        });
    }
}
