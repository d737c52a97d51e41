//! Killed at a chosen instruction (P1): a role is walked one instruction at a time into a call and killed
//! there. The instructions are spread over the whole call, so that those few between two stores are met too,
//! where a kill at a random moment hardly ever lands.
//!
//! `stepkill` kills at all points where something changes, of all operations in shared memory and in files. What it does
//! not know is here: the kernel and the sealed strategy, and one row that it knows, for whoever has no `stepkill` at hand.

use std::time::{Duration, Instant};

use tubepost::{Domain, Mailbox, Sender, TrySendError};

use crate::batches;
use crate::cast::{outcome, set_waiting, start_user};
use crate::rows::{Row, on_every_row_of_a_process_with_room, on_every_row_with_room, open};
use crate::stage::{
    Child, Cue, Dice, PATIENCE, Place, Role, Walk, eventually, kill_there, mark, skip, thread_id, walk,
};

pub const ROLES: &[Role] = &[("walker", walker)];

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
        call if batches::CALLS.contains(&call) => batches::make(call, &domain, between_marks),
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

/// Instructions all over the call. A step costs 20 µs on a slow machine and a call takes thousands.
pub fn all_over(kills: u64) -> impl FnMut(u64) -> Option<u64> {
    let (mut dice, mut kill) = (Dice::new(kills), 0);
    move |whole| {
        kill += 1;
        (kill <= kills).then(|| whole * (kill - 1) / kills + dice.below(1 + whole / kills))
    }
}

/// Walks a role into its call and kills it there, after as many instructions as `next` says, which is told how
/// many the whole call has. `before` prepares each time, `after` looks at what is left.
pub fn walks<T>(
    row: &Row,
    call: &str,
    mut next: impl FnMut(u64) -> Option<u64>,
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
    let (mut whole, mut kills) = (None, 0);
    while let Some(steps) = whole.map_or(Some(u64::MAX), &mut next) {
        let place = Place::new();
        let mut prepared = None;
        if !["recv", "close"].contains(&call) {
            prepared = Some(before(&place));
        }
        let (mut child, thread) = start(&place, &mut |child| {
            if prepared.is_none() {
                child.expect("own");
                prepared = Some(before(&place));
                child.say("go on");
            }
        });
        match walk(&mut child, thread, steps) {
            Ok(Walk::Through(steps)) => {
                child.expect("through");
                whole.get_or_insert(steps);
                child.kill();
            }
            Ok(Walk::Stands) => {
                kill_there(&mut child, thread);
                kills += 1;
            }
            Err(why) => return skip(call, &why),
        }
        after(&place, prepared.expect("prepared by now"), &mut child);
    }
    println!("{row}: killed at {kills} of {} instructions of {call}", whole.unwrap_or(0));
}

/// A sender killed in `send`: its message is there whole or not at all, and every place serves again, whoever
/// looks for it: a receiver that sleeps or polls, a sender that sleeps or polls. Most kills are just before
/// publication, where the place is claimed.
#[test]
fn in_send() {
    const BISECTIONS: u32 = 13;
    const BEFORE_PUBLICATION: u32 = 16;
    let holes = std::cell::Cell::new(0);
    on_every_row_with_room(|row| {
        if !row.is_stepped() {
            return;
        }
        let mut dice = Dice::new(row.n());
        let round = std::cell::Cell::new(0);
        // After so many instructions it was not published yet; after so many it was.
        let bounds = std::cell::Cell::new((0_u64, u64::MAX));
        let asked = std::cell::Cell::new(0);
        let next = |whole: u64| {
            let (not_yet, published) = bounds.get();
            if round.get() > BISECTIONS + BEFORE_PUBLICATION {
                return None;
            }
            let published = published.min(whole);
            asked.set(if round.get() <= BISECTIONS {
                not_yet.midpoint(published)
            } else {
                not_yet.saturating_sub(dice.below(40))
            });
            Some(asked.get())
        };
        walks(
            row,
            "send",
            next,
            |place| row.own::<u64>(place, "box"),
            |place, inbox, _| {
                let out = open::<u64>(place, "box");
                assert_eq!(inbox.try_recv(), Ok(1), "what was sent before");
                // Whoever counts recovers too, so nobody counts from here.
                round.set(round.get() + 1);
                let mut numbers = Vec::new();
                // Where there is no limit no sender needs the dead one's place; and by the kernel only an owner that receives gives it back.
                let by_senders =
                    row.capacity().is_some() && row.shares_memory("in_send: who sends gives a place back");
                match round.get() % if by_senders { 4 } else { 2 } {
                    0 => {
                        out.send_timeout(3, PATIENCE).expect("room soon");
                        while numbers.last() != Some(&3) {
                            let next = inbox.recv_envelope_timeout(PATIENCE).expect("a receiver that sleeps");
                            numbers.push(next.message);
                            holes.set(holes.get() + next.seq - numbers.len() as u64);
                        }
                    }
                    1 => {
                        out.send_timeout(3, PATIENCE).expect("room soon");
                        eventually("a receiver that polls finds it", || {
                            numbers.extend(inbox.try_recv());
                            numbers.last() == Some(&3)
                        });
                    }
                    sleeps => {
                        // Nobody receives meanwhile: all places but that of a message that is there are free.
                        let patience = Duration::from_millis(100);
                        let polls = || {
                            let end = Instant::now() + patience;
                            while Instant::now() < end {
                                if out.try_send(3).is_ok() {
                                    return true;
                                }
                            }
                            false
                        };
                        let send =
                            || if sleeps == 2 { out.send_timeout(3, patience).is_ok() } else { polls() };
                        let sent = (0..row.n()).filter(|_| send()).count() as u64;
                        numbers = inbox.try_iter().collect();
                        let there = u64::from(numbers[0] == 2);
                        assert_eq!(
                            sent,
                            row.n() - there,
                            "a sender that {}",
                            if sleeps == 2 { "sleeps" } else { "polls" }
                        );
                        numbers.dedup();
                    }
                }
                let there = numbers[0] == 2;
                assert_eq!(numbers, if there { vec![2, 3] } else { vec![3] });
                let (not_yet, published) = bounds.get();
                if round.get() > 1 && round.get() <= BISECTIONS + 1 {
                    bounds.set(if there { (not_yet, asked.get()) } else { (asked.get(), published) });
                }
                if !row.shares_memory("in_send: at once") {
                    // An owner that has found nothing for a while gives a dead one's place back.
                    eventually("the dead one's place is free", || {
                        inbox.try_recv().is_err() && out.is_empty()
                    });
                }
                // And once round, with nothing left of it.
                (0..row.n()).for_each(|at| out.try_send(at).expect("all places are free"));
                if row.capacity().is_some() {
                    assert_eq!(out.try_send(9), Err(TrySendError::Full(9)));
                }
                (0..row.n()).for_each(|at| assert_eq!(inbox.try_recv(), Ok(at)));
            },
        );
    });
    println!(
        "{} of those whose numbers were looked at were killed between claim and publication",
        holes.get()
    );
}

/// An owner killed in `recv` or `close`: everyone is told the same number, which is what was in there or one
/// less, and the name is free.
#[test]
fn in_recv_and_close() {
    on_every_row_of_a_process_with_room(|row| {
        if !row.is_stepped() || !row.shares_places("in_recv_and_close") {
            return;
        }
        for call in ["recv", "close"] {
            walks(
                row,
                call,
                all_over(if call == "recv" { 12 } else { 6 }),
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
