//! A link's sender claims its places by itself: its threads do not get in each other's way, nor who closes in theirs.

use std::sync::Barrier;

use tubepost::{Domain, Link, Process, SendError, TryRecvError, TrySendError};

use crate::stage::{Child, Cue, Place, Role, Walk, go_on_from_there, mark, skip, thread_id, walk};

pub const ROLES: &[Role] = &[("lone", lone)];

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

/// Joins, sends twice, the second time between two marks, and says what became of that; then how many are said to be never
/// received. The argument is the domain.
fn lone(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let me = Process::options().domain(&domain).join("alice").expect("a free name");
    let out = Link::<u64>::options().bounded(4).open(&me, "bob").expect("bob is there");
    out.send(1).expect("there is room");
    cue.say(thread_id());
    assert_eq!(cue.hear(), "go");
    mark();
    let sent = out.try_send(2);
    mark();
    cue.say(if sent.is_ok() { "accepted" } else { "refused" });
    assert_eq!(cue.hear(), "and now?");
    match out.try_send(3) {
        Err(TrySendError::Closed(_, closed)) => cue.say(closed.uncollected),
        other => cue.say(format!("{other:?}")),
    }
    cue.hear();
}

/// It stands still after so many instructions of its second send, the receiver leaves, and it goes on. Whether that message was
/// accepted; nothing if it was done before.
fn left_by_its_receiver_after(steps: u64) -> Result<Option<bool>, String> {
    let place = Place::new();
    let bob = join(&place, "bob");
    let mut sender = Child::start("lone", &[&place.arg()]);
    let thread = sender.hear().parse().expect("a thread");
    let here = bob.link::<u64>("alice").expect("she is there");
    assert_eq!(here.try_recv(), Ok(1));
    let through = matches!(walk(&mut sender, thread, steps)?, Walk::Through(_));
    bob.leave();
    if !through {
        go_on_from_there(thread);
    }
    let accepted = match &*sender.hear() {
        "accepted" => true,
        "refused" => false,
        other => panic!("{other}"),
    };
    let counted = sender.ask("and now?");
    let all = if accepted { "1" } else { "0" };
    assert_eq!(counted, all, "after {steps} instructions: what was never received, accepted: {accepted}");
    Ok((!through).then_some(accepted))
}

/// Its receiver leaves when it stands still just before its claim, or anywhere else: what it is told is what is counted.
#[test]
fn whose_receiver_leaves_in_mid_send_is_told_what_is_counted() {
    const AROUND: u64 = 40;
    let result = (|| {
        // Between the last instruction after which it is refused, and the next one, it claims.
        let (mut refused, mut accepted) = (0_u64, 1 << 16);
        while accepted - refused > 1 {
            let steps = refused.midpoint(accepted);
            match left_by_its_receiver_after(steps)? {
                Some(false) => refused = steps,
                Some(true) | None => accepted = steps,
            }
        }
        // Two walks are not of quite the same length.
        let mut all = Vec::new();
        for steps in refused.saturating_sub(AROUND)..refused + AROUND {
            all.push(left_by_its_receiver_after(steps)?);
        }
        assert!(all.contains(&Some(false)) && all.contains(&Some(true)), "{all:?}");
        Ok(())
    })();
    if let Err(why) = result {
        let why: String = why;
        skip("whose_receiver_leaves_in_mid_send_is_told_what_is_counted", &why);
    }
}
