//! Waiting for several mailboxes at once.

use std::thread::scope;
use std::time::{Duration, Instant};

use tubepost::{Mailbox, ReadyTimeoutError, Receiver, Select, TryReadyError};

use crate::cast::{start_owner, start_user};
use crate::rows::{
    on_every_row, on_every_row_of_a_process, on_every_row_of_the_system, on_every_row_without_room, open,
    receive,
};
use crate::stage::{PATIENCE, Place, until_asleep};
use crate::tasks::promptly;

#[test]
fn other_processes_make_one_of_several_ready() {
    on_every_row(|row| {
        if !row.is_limited("other_processes_make_one_of_several_ready") {
            return;
        }
        let place = Place::new();
        let boxes: Vec<Receiver<u64>> = (0..3).map(|at| row.own(&place, &at.to_string())).collect();
        let mut users: Vec<_> = (0..3).map(|at| start_user(&place, &at.to_string())).collect();
        let mut select = Select::new();
        let numbers: Vec<usize> = boxes.iter().map(|inbox| select.recv(inbox)).collect();
        assert_eq!(numbers, [0, 1, 2]);
        assert_eq!(select.try_ready(), Err(TryReadyError));
        promptly(|round| {
            let at = round as usize % 3;
            users[at].say(format!("try {round}"));
            assert_eq!(select.ready(), at);
            assert_eq!(boxes[at].try_recv(), Ok(round));
            users[at].expect("ok");
        });
        let moment = Duration::from_millis(2);
        assert_eq!(select.ready_timeout(moment), Err(ReadyTimeoutError));
        assert_eq!(select.ready_deadline(Instant::now() + moment), Err(ReadyTimeoutError));
    });
}

#[test]
fn room_and_messages() {
    on_every_row(|row| {
        if !row.is_limited("room_and_messages") {
            return;
        }
        let place = Place::new();
        let (full, empty) = (row.own::<u64>(&place, "full"), row.own::<str>(&place, "empty"));
        let (out, other) = (open::<u64>(&place, "full"), open::<str>(&place, "empty"));
        let mut select = Select::new();
        let (room, message) = (select.send(&out), select.recv(&empty));
        (0..row.n()).for_each(|number| {
            assert_eq!(select.ready(), room);
            out.try_send(number).expect("room");
        });
        assert_eq!(select.try_ready(), Err(TryReadyError));
        promptly(|round| {
            scope(|scope| {
                if round % 2 == 0 {
                    scope.spawn(|| full.recv());
                    assert_eq!(select.ready(), room);
                    out.try_send(round).expect("room");
                } else {
                    scope.spawn(|| other.send("word"));
                    assert_eq!(select.ready(), message);
                    assert_eq!(empty.try_recv().as_deref(), Ok("word"));
                }
            });
        });
    });
}

#[test]
fn each_that_is_ready_has_its_turn() {
    const TIMES: usize = 300;
    let place = Place::new();
    let options = Mailbox::<u64>::options().domain(place.domain());
    let boxes: Vec<Receiver<u64>> =
        (0..3).map(|at| options.own(&at.to_string()).expect("a fresh domain")).collect();
    for at in 0..3 {
        let out = open::<u64>(&place, &at.to_string());
        (0..TIMES as u64).for_each(|number| out.try_send(number).expect("room"));
    }
    let mut select = Select::new();
    for inbox in &boxes {
        select.recv(inbox);
    }
    let mut counts = [0; 3];
    for _ in 0..TIMES {
        let at = select.ready();
        boxes[at].try_recv().expect("it said so");
        counts[at] += 1;
    }
    assert_eq!(counts, [TIMES / 3; 3]);
    select.remove(1);
    for _ in 0..TIMES {
        let at = select.ready();
        assert_ne!(at, 1, "it was removed");
        boxes[at].try_recv().expect("it said so");
    }
}

#[test]
fn a_mailbox_that_ends_is_ready() {
    on_every_row_of_a_process(|row| {
        if !row.is_limited("a_mailbox_that_ends_is_ready") {
            return;
        }
        let place = Place::new();
        let mut owner = start_owner(&place, "box", row);
        let inbox = row.own::<u64>(&place, "other");
        let out = open::<u64>(&place, "box");
        (0..row.n()).for_each(|number| out.try_send(number).expect("room"));
        let mut select = Select::new();
        let (message, room) = (select.recv(&inbox), select.send(&out));
        scope(|scope| {
            scope.spawn(|| owner.strike());
            assert_eq!(select.ready(), room);
        });
        assert!(out.try_send(7).is_err_and(|error| error.is_closed()));
        select.remove(room);
        let other = inbox.clone();
        scope(|scope| {
            scope.spawn(|| other.close());
            assert_eq!(select.ready(), message);
        });
    });
}

/// Who was woken for a message and only looks leaves it to another, who sleeps.
#[test]
fn who_leaves_passes_it_on() {
    on_every_row_of_the_system(|row| {
        if !row.is_limited("who_leaves_passes_it_on") {
            return;
        }
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let other = receive::<u64>(&place, "box");
        let out = open::<u64>(&place, "box");
        let (tell, hear) = std::sync::mpsc::channel();
        let asleep = || until_asleep(std::process::id(), hear.recv_timeout(PATIENCE).expect("a thread"));
        promptly(|round| {
            scope(|scope| {
                // The first one that sleeps is the first one that is woken.
                let (inbox, say) = (&inbox, tell.clone());
                let looks = scope.spawn(move || {
                    let mut select = Select::new();
                    select.recv(inbox);
                    say.send(crate::stage::thread_id()).expect("the test lives");
                    select.ready()
                });
                asleep();
                let (other, say) = (&other, tell.clone());
                let takes = scope.spawn(move || {
                    say.send(crate::stage::thread_id()).expect("the test lives");
                    other.recv()
                });
                asleep();
                out.send(round).expect("room");
                assert_eq!(takes.join().expect("no panic"), Ok(round));
                // It may have come too late to see it.
                out.send(round).expect("room");
                assert_eq!(looks.join().expect("no panic"), 0);
                assert_eq!(inbox.recv(), Ok(round));
            });
        });
    });
}

/// The kernel sleeps on 128 words at most.
#[test]
fn more_mailboxes_than_the_kernel_sleeps_on() {
    const BOXES: usize = 150;
    let place = Place::new();
    let options = Mailbox::<u64>::options().domain(place.domain()).bounded(2);
    let boxes: Vec<Receiver<u64>> =
        (0..BOXES).map(|at| options.own(&at.to_string()).expect("a fresh domain")).collect();
    let outs: Vec<_> = (0..BOXES).map(|at| open::<u64>(&place, &at.to_string())).collect();
    let mut select = Select::new();
    for inbox in &boxes {
        select.recv(inbox);
    }
    promptly(|round| {
        let at = (round as usize * 37) % BOXES;
        scope(|scope| {
            scope.spawn(|| outs[at].send(round));
            assert_eq!(select.ready(), at);
        });
        assert_eq!(boxes[at].try_recv(), Ok(round));
    });
}

#[test]
#[should_panic = "would wait for ever"]
fn nothing_to_wait_for() {
    Select::new().ready();
}

/// Where nothing waits, one is ready when somebody waits at the other end.
#[test]
fn where_nothing_waits_who_waits_makes_it_ready() {
    on_every_row_without_room(|row| {
        let place = Place::new();
        let (one, two) = (row.own::<u64>(&place, "one"), row.own::<u64>(&place, "two"));
        let (to_one, to_two) = (open::<u64>(&place, "one"), open::<u64>(&place, "two"));
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| to_two.send(7));
            let mut select = Select::new();
            let (first, second) = (select.recv(&one), select.recv(&two));
            assert_ne!(first, second);
            assert_eq!(select.ready_timeout(PATIENCE), Ok(second));
            assert_eq!(two.try_recv(), Ok(7));
            assert_eq!(sender.join().expect("it returns"), Ok(()));
            assert!(select.try_ready().is_err());

            let receiver = scope.spawn(|| one.recv());
            let mut select = Select::new();
            let (first, _) = (select.send(&to_one), select.send(&to_two));
            assert_eq!(select.ready_timeout(PATIENCE), Ok(first));
            assert_eq!(to_one.try_send(8), Ok(()));
            assert_eq!(receiver.join().expect("it returns"), Ok(8));
        });
    });
}

/// Without a limit there is always room, and one is ready when something is there.
#[test]
fn without_a_limit_there_is_always_room() {
    on_every_row(|row| {
        if row.capacity().is_some() {
            return;
        }
        let place = Place::new();
        let (one, two) = (row.own::<u64>(&place, "one"), row.own::<u64>(&place, "two"));
        let to_two = open::<u64>(&place, "two");
        let mut user = start_user(&place, "two");
        for lap in 0..20 {
            let mut select = Select::new();
            let second = (select.recv(&one), select.recv(&two)).1;
            assert!(select.try_ready().is_err());
            user.say(format!("try {lap}"));
            assert_eq!(select.ready_timeout(PATIENCE), Ok(second));
            assert_eq!(two.try_recv(), Ok(lap));
            user.expect("ok");
            let mut select = Select::new();
            assert_eq!((select.send(&to_two), select.try_ready()), (0, Ok(0)));
        }
    });
}
