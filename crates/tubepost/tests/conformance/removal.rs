//! A mailbox that the system owns is removed: closed for everybody, who are told the same number (P4).

use std::time::{Duration, Instant};

use tubepost::{Closed, Error, RecvError, SendError, Sender, TryRecvError};

use crate::cast::{outcome, set_waiting, start_owner, start_user};
use crate::letters::Stamp;
use crate::notes::{Notes, Way, start_worker};
use crate::rows::{ROWS, on_every_row_of_the_system, open, receive};
use crate::stage::{Child, Dice, PATIENCE, Place, spin_for};

/// Senders blocked for room and for the end, idle ones, and receivers.
#[test]
fn everyone_is_told_the_same_number() {
    on_every_row_of_the_system(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let out = open::<u64>(&place, "box");
        (0..row.n()).for_each(|at| out.try_send(at).expect("a free place"));
        let waits = ["closed", "send 1", "send_for 2"];
        let limited = row.is_limited("everyone_is_told_the_same_number: those who wait for room");
        let mut users: Vec<Child> = waits[..if limited { 3 } else { 1 }]
            .iter()
            .map(|line| {
                let mut user = start_user(&place, "box");
                set_waiting(&mut user, line);
                user
            })
            .collect();
        let mut idle = start_user(&place, "box");
        let closed = place.domain().remove("box").expect("it is ours");
        assert_eq!(closed.uncollected, row.n());
        let told = format!("closed {}", row.n());
        for user in &mut users {
            assert_eq!(outcome(user).0, told);
        }
        assert_eq!(idle.ask("try 3"), told);
        assert_eq!(inbox.try_recv(), Err(TryRecvError::Closed(closed)), "nothing is received any more");
        assert_eq!(inbox.recv(), Err(RecvError::Closed(closed)));
        assert_eq!(out.closed_timeout(PATIENCE), Ok(Some(closed)));
        assert!(!place.file("box").exists());
        // The name can be had again at once.
        row.options::<u64>(place.domain()).create("box").expect("a free name");
        assert!(place.domain().remove("box").is_ok());
        match place.domain().remove("box") {
            Err(Error::NoSuchName { .. }) => {}
            other => panic!("{other:?}"),
        }
    });
}

/// Receivers that sleep in other processes return.
#[test]
fn sleeping_receivers_are_told() {
    on_every_row_of_the_system(|row| {
        let place = Place::new();
        row.options::<Stamp>(place.domain()).create("box").expect("a free name");
        let notes = Notes::new(&place);
        let mut workers: Vec<Child> =
            [Way::Recv, Way::Take].iter().map(|way| start_worker(&place, &notes, *way)).collect();
        spin_for(Duration::from_millis(1));
        let start = Instant::now();
        let closed = place.domain().remove("box").expect("it is ours");
        for worker in &mut workers {
            worker.expect(&closed.to_string());
        }
        assert!(start.elapsed() < Duration::from_secs(5), "told after {:?}", start.elapsed());
    });
}

/// In the middle of a stream with several senders and receivers: what was accepted was received, or is
/// counted, and nothing is both.
#[test]
fn the_number_is_right_in_the_middle_of_a_stream() {
    on_every_row_of_the_system(|row| {
        for round in 0..6 {
            let place = Place::new();
            row.options::<u64>(place.domain()).create("box").expect("a free name");
            let receivers = [receive::<u64>(&place, "box"), receive::<u64>(&place, "box")];
            let senders = [open::<u64>(&place, "box"), open::<u64>(&place, "box")];
            let senders = senders.map(|out| {
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
            let receivers = receivers.map(|inbox| {
                std::thread::spawn(move || {
                    let mut received = 0;
                    loop {
                        match inbox.recv() {
                            Ok(_) => received += 1,
                            Err(RecvError::Closed(closed)) => return (received, closed),
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            });
            spin_for(Duration::from_micros(Dice::new(round ^ row.n() << 8).below(3000)));
            let closed = place.domain().remove("box").expect("it is ours");
            let sent = senders.map(|sender| sender.join().expect("no panic"));
            let received = receivers.map(|receiver| receiver.join().expect("no panic"));
            for (_, told) in sent.iter().chain(&received) {
                assert_eq!(*told, closed);
            }
            let (sent, received) = (sent[0].0 + sent[1].0, received[0].0 + received[1].0);
            assert_eq!(sent, received + closed.uncollected, "round {round}");
        }
    });
}

/// What is in hand when the mailbox is removed is neither lost nor counted: its holder may still accept it.
/// What had been given back is counted.
#[test]
fn messages_in_hand_are_not_counted() {
    on_every_row_of_the_system(|row| {
        if row.n() < 7 {
            return;
        }
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let out = open::<u64>(&place, "box");
        (0..4).for_each(|at| out.try_send(at).expect("a free place"));
        let kept = inbox.take().expect("a message");
        let dropped = inbox.take().expect("a message");
        drop(inbox.take().expect("a message"));
        let closed = place.domain().remove("box").expect("it is ours");
        assert_eq!(closed, Closed { uncollected: 2 }, "the one given back, and the one never taken");
        kept.accept().expect("it was in hand");
        drop(dropped);
        assert_eq!(inbox.try_recv(), Err(TryRecvError::Closed(closed)));
    });
}

/// A living owner's mailbox is removed only by force; then its owner is told.
#[test]
fn a_mailbox_of_a_living_process_is_removed_only_by_force() {
    let place = Place::new();
    let mut owner = start_owner(&place, "box", &ROWS[1]);
    let out = open::<u64>(&place, "box");
    match place.domain().remove("box") {
        Err(Error::Owned { pid, .. }) => assert_eq!(pid, owner.pid()),
        other => panic!("{other:?}"),
    }
    out.try_send(1).expect("it is open");
    assert_eq!(owner.ask("take 1"), "took 1");
    set_waiting(&mut owner, "wait");
    let closed = place.domain().remove_owned("box").expect("it is our user's");
    owner.expect("closed 0");
    assert_eq!(out.closed_timeout(PATIENCE), Ok(Some(closed)));
    match Sender::<u64>::options().domain(place.domain()).open("box") {
        Err(Error::NoSuchName { .. }) => {}
        other => panic!("{:?}", other.map(|_| ())),
    }
    // A dead one's needs no force.
    let mut owner = start_owner(&place, "box", &ROWS[1]);
    owner.kill();
    place.domain().remove("box").expect("its owner is dead");
    assert!(!place.file("box").exists());
}
