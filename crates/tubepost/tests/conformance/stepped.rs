//! Killed at a chosen instruction (P1): a role is walked one instruction at a time into a call and killed
//! there. The instructions are spread over the whole call, so that those few between two stores are met too,
//! where a kill at a random moment hardly ever lands.

use tubepost::{Closed, Domain, Error, Mailbox, RecvTimeoutError, Sender, TrySendError};

use crate::cast::{outcome, set_waiting, start_user};
use crate::rows::{Row, on_every_row, open};
use crate::stage::{
    Child, Cue, Dice, PATIENCE, Place, Role, Walk, eventually, kill_there, mark, skip, thread_id, walk,
};

pub const ROLES: &[Role] = &[("walker", walker)];

/// A step costs 20 µs on a slow machine and a call takes thousands: this many kills in each, on each row.
fn kills(call: &str) -> u64 {
    match call {
        "send" => 24,
        "recv" => 12,
        "close" => 6,
        _ => 10,
    }
}

/// Makes one call between two marks; the arguments are domain, row and the call.
fn walker(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let sender = || Sender::<u64>::options().domain(&domain).open("box");
    let between_marks = |call: &mut dyn FnMut()| {
        cue.say(thread_id());
        assert_eq!(cue.hear(), "go");
        mark();
        call();
        mark();
        cue.say("through");
        cue.hear();
    };
    match cue.arg(2) {
        "send" => {
            let out = sender().expect("it exists");
            out.try_send(1).expect("a free place");
            between_marks(&mut || out.send(2).expect("a free place"));
        }
        "open" => between_marks(&mut || drop(sender().expect("it exists"))),
        "own" => {
            let options = Row::of(cue, 1).options::<u64>(&domain);
            between_marks(&mut || std::mem::forget(options.own("box").expect("a free name")));
        }
        call => {
            let inbox = Row::of(cue, 1).options::<u64>(&domain).own("box").expect("a free name");
            cue.say("own");
            assert_eq!(cue.hear(), "go on");
            match call {
                "recv" => between_marks(&mut || drop(inbox.recv())),
                "close" => between_marks(&mut || drop(inbox.close())),
                other => panic!("what is {other}?"),
            }
        }
    }
}

/// Walks a role into its call and kills it there, at instructions all over it. `before` prepares
/// each time, `after` looks at what is left.
fn walks<T>(
    row: &Row,
    call: &str,
    mut before: impl FnMut(&Place) -> T,
    mut after: impl FnMut(&Place, T, &mut Child),
) {
    let start = |place: &Place, prepared: &mut dyn FnMut(&mut Child)| -> (Child, u32) {
        let mut child = Child::start("walker", &[&place.arg(), &row.arg(), call]);
        prepared(&mut child);
        let thread = child.hear().parse().expect("a thread");
        (child, thread)
    };
    // Once all the way, to know how long the way is.
    let mut dice = Dice::new(row.n());
    let mut whole = None;
    let kills = kills(call);
    for kill in 0..=kills {
        let place = Place::new();
        let mut prepared = None;
        if call == "send" || call == "open" || call == "own" {
            prepared = Some(before(&place));
        }
        let (mut child, thread) = start(&place, &mut |child| {
            if prepared.is_none() {
                child.expect("own");
                prepared = Some(before(&place));
                child.say("go on");
            }
        });
        let steps =
            whole.map_or(u64::MAX, |whole| whole * (kill - 1) / kills + dice.below(1 + whole / kills));
        match walk(&mut child, thread, steps) {
            Ok(Walk::Through(steps)) => {
                child.expect("through");
                whole.get_or_insert(steps);
                child.kill();
            }
            Ok(Walk::Stands) => kill_there(&mut child, thread),
            Err(why) => return skip(call, &why),
        }
        after(&place, prepared.expect("prepared by now"), &mut child);
    }
    println!("{row}: killed at {kills} of {} instructions of {call}", whole.unwrap_or(0));
}

/// A sender killed in `send`: its message is there whole or not at all, and every place serves again, whoever
/// looks for it: a receiver that sleeps or polls, a sender that sleeps or polls.
#[test]
fn in_send() {
    let round = std::cell::Cell::new(0);
    on_every_row(|row| {
        if row.n() == 1 {
            return; // one place is not enough for the one before and this one
        }
        walks(
            row,
            "send",
            |place| row.own::<u64>(place, "box"),
            |place, inbox, _| {
                let out = open::<u64>(place, "box");
                assert_eq!(inbox.try_recv(), Ok(1), "what was sent before");
                let there = inbox.len() == 1;
                if there {
                    assert_eq!(inbox.try_recv(), Ok(2));
                }
                round.set(round.get() + 1);
                match round.get() % 4 {
                    0 => {
                        out.send_timeout(3, PATIENCE).expect("room soon");
                        assert_eq!(inbox.recv_timeout(PATIENCE), Ok(3), "a receiver that sleeps finds it");
                    }
                    1 => {
                        out.send_timeout(3, PATIENCE).expect("room soon");
                        eventually("a receiver that polls finds it", || inbox.try_recv() == Ok(3));
                    }
                    sleeps => {
                        for at in 0..row.n() {
                            if sleeps == 2 {
                                out.send_timeout(at, PATIENCE).expect("a sender that sleeps has n places");
                            } else {
                                eventually("a sender that polls has n places", || out.try_send(at).is_ok());
                            }
                        }
                        assert_eq!(inbox.len() as u64, row.n());
                        (0..row.n()).for_each(|at| assert_eq!(inbox.recv_timeout(PATIENCE), Ok(at)));
                    }
                }
                // And once round, with nothing left of it.
                (0..row.n()).for_each(|at| out.try_send(at).expect("all places are free"));
                assert_eq!(out.try_send(9), Err(TrySendError::Full(9)));
                (0..row.n()).for_each(|at| assert_eq!(inbox.try_recv(), Ok(at)));
            },
        );
    });
}

/// A process killed in `open` leaves nothing that disturbs the mailbox or its other users.
#[test]
fn in_open() {
    let row = &crate::rows::ROWS[2];
    walks(
        row,
        "open",
        |place| row.own::<u64>(place, "box"),
        |place, inbox, _| {
            let out = open::<u64>(place, "box");
            (0..row.n()).for_each(|at| out.try_send(at).expect("all places are free"));
            (0..row.n()).for_each(|at| assert_eq!(inbox.try_recv(), Ok(at)));
            assert_eq!(inbox.close(), Ok(Closed { uncollected: 0 }));
            assert_eq!(out.closed_timeout(PATIENCE), Ok(Some(Closed { uncollected: 0 })));
            assert_eq!(
                row.own::<u64>(place, "box").recv_timeout(std::time::Duration::ZERO),
                Err(RecvTimeoutError::Timeout)
            );
        },
    );
}

/// A process killed in `own`: nobody sees half a mailbox, and the name can be had.
#[test]
fn in_own() {
    let row = &crate::rows::ROWS[2];
    walks(
        row,
        "own",
        |_| (),
        |place, (), child| {
            match Sender::<u64>::options().domain(place.domain()).open("box") {
                Err(Error::NoSuchName { .. }) => {}
                Err(Error::OwnerGone { pid, .. }) => assert_eq!(pid, child.pid()),
                other => panic!("{:?}", other.map(|_| ())),
            }
            let inbox = row.own::<u64>(place, "box");
            let out = open::<u64>(place, "box");
            (0..row.n()).for_each(|at| out.try_send(at).expect("all places are free"));
            drop(inbox);
            assert_eq!(out.closed_timeout(PATIENCE), Ok(Some(Closed { uncollected: row.n() })));
            place.domain().gc().expect("our own domain");
            assert!(place.files().len() <= 3, "it left {:?}", place.files());
        },
    );
}

/// An owner killed in `recv` or `close`: everyone is told the same number, which is what was in there or one
/// less, and the name is free.
#[test]
fn in_recv_and_close() {
    on_every_row(|row| {
        for call in ["recv", "close"] {
            if call == "close" && row.n() > 10 {
                continue; // counting what is left takes too many steps
            }
            walks(
                row,
                call,
                |place| {
                    let out = open::<u64>(place, "box");
                    (0..row.n()).for_each(|at| out.try_send(at).expect("a free place"));
                    let mut user = start_user(place, "box");
                    set_waiting(&mut user, "closed");
                    (out, user)
                },
                |place, (out, mut user), _| {
                    let closed = out.closed_timeout(PATIENCE).expect("our own handle").expect("it is told");
                    let least = if call == "recv" { row.n() - 1 } else { row.n() };
                    assert!((least..=row.n()).contains(&closed.uncollected), "{closed:?} of {}", row.n());
                    assert_eq!(outcome(&mut user).0, format!("closed {}", closed.uncollected));
                    assert_eq!(out.try_send(1), Err(TrySendError::Closed(1, closed)));
                    let again = Mailbox::<u64>::options().domain(place.domain()).own("box");
                    again.expect("the name is free");
                },
            );
        }
    });
}
