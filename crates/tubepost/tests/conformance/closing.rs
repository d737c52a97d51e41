//! However the owner goes, by close, by drop, by exit or by SIGKILL, every user is told at once, blocked or
//! not, in whichever call, and told the same number of messages that nobody collected; and the name is free (P4).

use std::sync::Barrier;
use std::time::{Duration, Instant};

use tubepost::{
    Closed, Mailbox, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Strategy, TryRecvError,
    TrySendError,
};

use crate::cast::{outcome, set_waiting, start_owner, start_user};
use crate::rows::{Row, on_every_row_of_a_process, on_every_row_of_a_process_with_room, open};
use crate::stage::{Child, Dice, PATIENCE, Place, eventually, now_ns, thread_id, until_asleep};

/// The four ways an owner goes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Close,
    Drop,
    Exit,
    Kill,
}

const ENDS: [End; 4] = [End::Close, End::Drop, End::Exit, End::Kill];

impl End {
    fn come(self, owner: &mut Child) -> u64 {
        let when = now_ns();
        match self {
            End::Close => owner.say("close"),
            End::Drop => owner.say("drop"),
            End::Exit => owner.say("exit"),
            End::Kill => owner.strike(),
        }
        when
    }
}

/// Users in five processes, blocked in every call that waits or idle, and this process: all told the same.
#[test]
fn everyone_is_told_the_same_number() {
    on_every_row_of_a_process(|row| {
        if !row.shares_places("everyone_is_told_the_same_number") {
            return;
        }
        for end in ENDS {
            let place = Place::new();
            let mut owner = start_owner(&place, "box", row);
            let out = open::<u64>(&place, "box");
            // Fill, let the owner take some, fill again.
            (0..row.n()).for_each(|at| out.try_send(at).expect("a free place"));
            let taken = row.n() / 2;
            owner.ask(format!("take {taken}"));
            (0..taken).for_each(|at| out.try_send(at).expect("a free place"));
            let told = format!("closed {}", row.n());

            let waits = ["closed", "send 1", "send_for 2"];
            let limited = row.is_limited("everyone_is_told_the_same_number: those who wait for room");
            let mut waiting: Vec<Child> = waits[..if limited { 3 } else { 1 }]
                .iter()
                .map(|line| {
                    let mut user = start_user(&place, "box");
                    set_waiting(&mut user, line);
                    user
                })
                .collect();
            let mut idle = start_user(&place, "box");
            end.come(&mut owner);
            for user in &mut waiting {
                assert_eq!(outcome(user).0, told, "{end:?}");
            }
            if end == End::Close {
                owner.expect(&told);
            }
            // Later calls, at once, in every process.
            for user in waiting.iter_mut().chain([&mut idle]) {
                assert_eq!(user.ask("try 1"), told, "{end:?}");
            }
            assert_eq!(out.closed_timeout(PATIENCE), Ok(Some(Closed { uncollected: row.n() })));
            closed_at_once(&out, row.n());
        }
    });
}

fn closed_at_once(out: &tubepost::Sender<u64>, uncollected: u64) {
    let closed = Closed { uncollected };
    let start = Instant::now();
    assert_eq!(out.try_send(1), Err(TrySendError::Closed(1, closed)));
    assert_eq!(out.send(2), Err(SendError::Closed(2, closed)));
    assert_eq!(out.send_timeout(3, PATIENCE), Err(SendTimeoutError::Closed(3, closed)));
    assert_eq!(out.send_deadline(4, Instant::now() + PATIENCE), Err(SendTimeoutError::Closed(4, closed)));
    assert_eq!(out.closed(), Ok(closed));
    assert_eq!(out.closed_deadline(Instant::now()), Ok(Some(closed)));
    assert!(out.is_closed());
    let error = out.try_send(1).expect_err("it is closed");
    assert!(error.is_closed() && error.is_disconnected() && !error.is_full());
    assert!(error.to_string().contains(&uncollected.to_string()) || uncollected == 0, "{error}");
    assert!(start.elapsed() < Duration::from_secs(1), "later calls do not wait: {:?}", start.elapsed());
}

/// A user that only polls is told too, without any call that waits.
#[test]
fn a_user_that_only_polls_is_told() {
    // Not where nothing waits: its message waits when the owner goes.
    on_every_row_of_a_process_with_room(|row| {
        for end in ENDS {
            let place = Place::new();
            let mut owner = start_owner(&place, "box", row);
            let out = open::<u64>(&place, "box");
            out.try_send(1).expect("a free place");
            end.come(&mut owner);
            eventually("is_closed", || out.is_closed());
            closed_at_once(&out, 1);
        }
    });
}

/// Nor does it take any other call than `try_send`; whatever that accepted meanwhile is counted.
#[test]
fn a_user_that_only_sends_is_told() {
    on_every_row_of_a_process(|row| {
        for end in ENDS {
            let place = Place::new();
            let mut owner = start_owner(&place, "box", row);
            let out = open::<u64>(&place, "box");
            let mut accepted = 0;
            end.come(&mut owner);
            let mut told = None;
            eventually("try_send is told", || {
                match out.try_send(accepted) {
                    Ok(()) => accepted += 1,
                    Err(TrySendError::Full(_)) => {}
                    Err(TrySendError::Closed(_, closed)) => told = Some(closed),
                    Err(error) => panic!("{error}"),
                }
                told.is_some()
            });
            assert_eq!(told.map(|closed| closed.uncollected), Some(accepted), "{end:?}");
            closed_at_once(&out, accepted);
        }
    });
}

/// The owner's own threads: those who wait get the same number, and later calls of every clone too.
#[test]
fn clones_of_the_receiver_are_told() {
    on_every_row_of_a_process(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let (tell, told) = std::sync::mpsc::channel();
                let inbox = inbox.clone();
                let waiter = std::thread::spawn(move || {
                    tell.send(thread_id()).expect("the test listens");
                    inbox.recv()
                });
                until_asleep(std::process::id(), told.recv().expect("a thread"));
                waiter
            })
            .collect();
        let closed = inbox.close().expect("its own mailbox");
        assert_eq!(closed.uncollected, 0);
        for waiter in waiters {
            assert_eq!(waiter.join().expect("no panic"), Err(RecvError::Closed(closed)));
        }
        assert_eq!(inbox.try_recv(), Err(TryRecvError::Closed(closed)));
        assert_eq!(inbox.recv(), Err(RecvError::Closed(closed)));
        assert_eq!(inbox.recv_timeout(PATIENCE), Err(RecvTimeoutError::Closed(closed)));
        assert_eq!(inbox.recv_into(&mut 0), Err(RecvError::Closed(closed)));
        assert_eq!(inbox.close(), Ok(closed), "closing again says the same");
        assert_eq!(inbox.iter().next(), None);
    });
}

/// A mailbox lives as long as any clone of its receiver, and no longer.
#[test]
fn the_last_clone_closes() {
    // Not where nothing waits: its message waits when the owner goes.
    on_every_row_of_a_process_with_room(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let out = open::<u64>(&place, "box");
        let other = inbox.clone();
        drop(inbox);
        assert!(!out.is_closed());
        out.try_send(1).expect("a free place");
        assert_eq!(other.recv(), Ok(1));
        out.try_send(2).expect("a free place");
        drop(other);
        assert!(out.is_closed());
        closed_at_once(&out, 1);
    });
}

/// While many processes send at full speed the owner closes: what was accepted was received or is counted.
#[test]
fn the_number_is_right_in_the_middle_of_a_stream() {
    on_every_row_of_a_process(|row| {
        for round in 0..3 {
            let place = Place::new();
            let inbox = row.own::<u64>(&place, "box");
            let outs = [open::<u64>(&place, "box"), open::<u64>(&place, "box")];
            let senders = outs.map(|out| {
                std::thread::spawn(move || {
                    let mut accepted = 0;
                    loop {
                        match out.send(accepted) {
                            Ok(()) => accepted += 1,
                            Err(SendError::Closed(_, closed)) => return (accepted, closed),
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            });
            let received = Dice::new(round ^ row.n()).below(2000);
            for _ in 0..received {
                inbox.recv_timeout(PATIENCE).expect("a message soon");
            }
            let closed = inbox.close().expect("its own mailbox");
            let ends = senders.map(|sender| sender.join().expect("no panic"));
            assert_eq!((ends[0].1, ends[1].1), (closed, closed));
            assert_eq!(ends[0].0 + ends[1].0, received + closed.uncollected, "round {round}");
        }
    });
}

/// Over a hundred kills, and how soon two blocked processes return. The figure is printed; what is asserted
/// is so generous that only a missing wake-up fails it.
#[test]
fn notice_of_a_kill_comes_soon() {
    const KILLS_PER_ROW: usize = 20;
    let mut notices = Vec::new();
    let mut dice = Dice::new(4);
    let samples = std::cell::RefCell::new(&mut notices);
    let dice = std::cell::RefCell::new(&mut dice);
    on_every_row_of_a_process(|row: &Row| {
        if !row.shares_places("notice_of_a_kill_comes_soon") {
            return;
        }
        let place = Place::new();
        let limited = row.is_limited("notice_of_a_kill_comes_soon: to one who waits for room");
        let first = if limited { "send 1" } else { "closed" };
        let mut users = [(first, start_unopened(&place)), ("closed", start_unopened(&place))];
        for _ in 0..KILLS_PER_ROW {
            let mut owner = start_owner(&place, "box", row);
            let out = open::<u64>(&place, "box");
            (0..row.n()).for_each(|at| out.try_send(at).expect("a free place"));
            for (line, user) in &mut users {
                assert_eq!(user.ask("open"), "open");
                set_waiting(user, line);
            }
            // Not always at the same point of whatever the sleepers do once in a while.
            std::thread::sleep(Duration::from_micros(dice.borrow_mut().below(5000)));
            let when = now_ns();
            owner.strike();
            for (_, user) in &mut users {
                let (told, at) = outcome(user);
                assert_eq!(told, format!("closed {}", row.n()));
                let notice = Duration::from_nanos(at - when);
                assert!(notice < Duration::from_secs(1), "told after {notice:?}");
                samples.borrow_mut().push(notice);
            }
        }
    });
    notices.sort_unstable();
    let quantile = |q: f64| notices[((notices.len() - 1) as f64 * q) as usize];
    println!(
        "notice of a SIGKILL over {} waits: p50 {:?}, p90 {:?}, p99 {:?}, worst {:?}",
        notices.len(),
        quantile(0.5),
        quantile(0.9),
        quantile(0.99),
        quantile(1.0),
    );
}

fn start_unopened(place: &Place) -> Child {
    Child::start("user", &[&place.arg(), "box", "user"])
}

/// However the last owner went, the name is free at once, and what it left is swept by the next.
#[test]
fn the_name_is_free_at_once() {
    // Not where nothing waits: its message waits when the owner goes.
    on_every_row_of_a_process_with_room(|row| {
        let place = Place::new();
        for end in ENDS {
            for _ in 0..5 {
                let mut owner = start_owner(&place, "box", row);
                let old = open::<u64>(&place, "box");
                old.try_send(1).expect("a free place");
                end.come(&mut owner);
                match end {
                    // Not before the owner itself says that it is done.
                    End::Close => owner.expect("closed 1"),
                    End::Drop => owner.expect("dropped"),
                    End::Exit => owner.finish(),
                    End::Kill => owner.kill(),
                }
                let inbox = row.own::<u64>(&place, "box");
                let new = open::<u64>(&place, "box");
                assert_ne!(old.id(), new.id());
                assert_eq!(new.try_send(2), Ok(()));
                assert_eq!(old.try_send(3), Err(TrySendError::Closed(3, Closed { uncollected: 1 })));
                assert_eq!(inbox.try_recv(), Ok(2), "nothing of the old one");
                assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
            }
        }
        let files = place.files();
        drop(row.own::<u64>(&place, "box"));
        assert!(files.len() <= 4, "the dead left {files:?}");
    });
}

/// The last user of a mailbox is killed while it sleeps in there; the owner sees nothing of it.
#[test]
fn users_come_and_go() {
    // Not where nothing waits: it sends first and receives later.
    on_every_row_of_a_process_with_room(|row| {
        let place = Place::new();
        let mut owner = start_owner(&place, "box", row);
        for at in 0..10_u64 {
            let mut user = start_user(&place, "box");
            assert_eq!(user.ask(format!("try {at}")), "ok");
            set_waiting(&mut user, "closed");
            user.kill();
            assert_eq!(owner.ask("take 1"), format!("took {at}"));
        }
        assert_eq!(owner.ask("close"), "closed 0");
    });
}

/// The process may end as soon as either thread comes back.
#[test]
fn whichever_thread_closes_it_leaves_no_name_behind() {
    for strategy in [Strategy::Shared, Strategy::Kernel, Strategy::Sealed] {
        let place = Place::new();
        for _ in 0..100 {
            let options = Mailbox::<u64>::options().domain(place.domain()).strategy(strategy).bounded(1);
            let (inbox, start) = (options.own("box").expect("a free name"), Barrier::new(2));
            let close = || {
                start.wait();
                inbox.close().expect("it is ours");
                !place.file("box").exists()
            };
            let gone = std::thread::scope(|scope| {
                let both = [scope.spawn(close), scope.spawn(close)];
                both.map(|thread| thread.join().expect("no panic"))
            });
            assert_eq!(gone, [true; 2], "{strategy}");
        }
    }
}
