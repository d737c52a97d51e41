//! Capacity zero: a send is done when a receiver takes the message, and nothing lies in between.

use std::sync::mpsc;
use std::time::Duration;

use tubepost::{
    Domain, Receiver, RecvTimeoutError, SendCollectedError, SendTimeoutError, Sender, TryRecvError,
    TrySendError,
};

use crate::cast::{A_MOMENT, outcome, set_waiting, start_owner, start_user};
use crate::letters::pattern;
use crate::rows::{on_every_row_without_room, open};
use crate::stage::{PATIENCE, Place, eventually, thread_id, until_asleep};

/// A thread that waits for one message and sleeps by now.
fn sleeper<R: Send + 'static>(
    inbox: &Receiver<u64>,
    wait: impl FnOnce(&Receiver<u64>) -> R + Send + 'static,
) -> std::thread::JoinHandle<R> {
    let (tell, told) = mpsc::channel();
    let inbox = inbox.clone();
    let waiter = std::thread::spawn(move || {
        tell.send(thread_id()).expect("the test listens");
        wait(&inbox)
    });
    until_asleep(std::process::id(), told.recv().expect("a thread"));
    waiter
}

#[test]
fn trying_needs_somebody_who_waits() {
    on_every_row_without_room(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let out = open::<u64>(&place, "box");
        for _ in 0..3 {
            assert_eq!(out.try_send(1), Err(TrySendError::Full(1)));
            assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
        }
        let waiter = sleeper(&inbox, |inbox| inbox.recv());
        assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty), "who waits to receive sends nothing");
        assert_eq!(out.try_send(2), Ok(()));
        assert_eq!(waiter.join().expect("no panic"), Ok(2));
        assert_eq!(out.try_send(3), Err(TrySendError::Full(3)), "it waits no more");
        let mut user = start_user(&place, "box");
        set_waiting(&mut user, "send 4");
        assert_eq!(out.try_send(5), Err(TrySendError::Full(5)), "who waits to send receives nothing");
        assert_eq!(inbox.try_recv(), Ok(4));
        assert_eq!(outcome(&mut user).0, "ok");
        assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
    });
}

#[test]
fn len_and_its_kin_of_nothing() {
    on_every_row_without_room(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let out = open::<u64>(&place, "box");
        let as_ever = || {
            assert_eq!(
                (inbox.len(), inbox.is_empty(), inbox.is_full(), inbox.capacity()),
                (0, true, true, Some(0))
            );
            assert_eq!((out.len(), out.is_empty(), out.is_full(), out.capacity()), (0, true, true, Some(0)));
        };
        as_ever();
        let mut user = start_user(&place, "box");
        set_waiting(&mut user, "send 4");
        as_ever();
        drop(inbox.take().expect("it is offered"));
        as_ever();
        assert_eq!(outcome(&mut user).0, "ok");
        let stat = out.stat().expect("ours");
        assert_eq!((stat.capacity, stat.depth, stat.held, stat.sent, stat.received), (Some(0), 1, 0, 1, 0));
        assert_eq!(inbox.recv(), Ok(4));
        let stat = out.stat().expect("ours");
        assert_eq!((stat.depth, stat.held, stat.sent, stat.received), (0, 0, 1, 1));
    });
}

/// What was given back may lie there, and comes first.
#[test]
fn given_back_comes_before_what_is_offered() {
    on_every_row_without_room(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let (mut first, mut second) = (start_user(&place, "box"), start_user(&place, "box"));
        set_waiting(&mut first, "send 1");
        let delivery = inbox.take().expect("it is offered");
        assert_eq!(outcome(&mut first).0, "ok");
        assert_eq!((*delivery, delivery.redelivered(), delivery.sender().pid), (1, 0, first.pid()));
        set_waiting(&mut second, "send 2");
        drop(delivery);
        let again = inbox.try_recv_envelope().expect("it is back");
        assert_eq!((again.message, again.redelivered, again.sender.pid), (1, 1, first.pid()));
        assert_eq!(inbox.try_recv(), Ok(2));
        assert_eq!(outcome(&mut second).0, "ok");
        if !row.binds_who_waits("given_back_comes_before_what_is_offered: to two who sleep") {
            return;
        }
        // And to one who sleeps.
        let waiter = sleeper(&inbox, |inbox| inbox.recv_envelope_timeout(PATIENCE));
        set_waiting(&mut first, "closed");
        let taker = sleeper(&inbox, |inbox| drop(inbox.take_timeout(PATIENCE).expect("a message")));
        let out = open::<u64>(&place, "box");
        out.send(3).expect("two wait");
        out.send(4).expect("one waits");
        let (envelope, ()) =
            (waiter.join().expect("no panic").expect("a message"), taker.join().expect("no panic"));
        assert_eq!(envelope.message, 3, "the longest waiting is served first");
        assert_eq!(inbox.try_recv_envelope().expect("it is back").redelivered, 1);
    });
}

#[test]
fn deadlines_leave_nothing() {
    on_every_row_without_room(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let out = open::<u64>(&place, "box");
        for wait in [Duration::ZERO, A_MOMENT] {
            assert_eq!(out.send_timeout(1, wait), Err(SendTimeoutError::Timeout(1)));
            let collected = out.send_collected_timeout(2, wait);
            assert!(matches!(collected, Err(SendCollectedError::Timeout(2))), "{collected:?}");
            assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
            assert_eq!(inbox.recv_timeout(wait), Err(RecvTimeoutError::Timeout));
            assert!(inbox.take_timeout(wait).is_err());
            assert_eq!(out.try_send(3), Err(TrySendError::Full(3)));
        }
        let stat = out.stat().expect("ours");
        assert_eq!((stat.depth, stat.held, stat.sent, stat.received), (0, 0, 0, 0));
        assert_eq!(place.domain().gc().expect("ours").rows, 0);
    });
}

/// The oldest offer is served first, and the longest waiting receiver.
#[test]
fn first_come_first_served() {
    on_every_row_without_room(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let mut users: Vec<_> = (0..4).map(|_| start_user(&place, "box")).collect();
        for (at, user) in users.iter_mut().enumerate() {
            set_waiting(user, &format!("send {at}"));
        }
        for at in 0..4 {
            assert_eq!(inbox.recv(), Ok(at));
        }
        users.iter_mut().for_each(|user| assert_eq!(outcome(user).0, "ok"));
        if !row.binds_who_waits("first_come_first_served: receivers") {
            return;
        }
        let waiters: Vec<_> = (0..4).map(|_| sleeper(&inbox, |inbox| inbox.recv())).collect();
        for at in 0..4 {
            assert_eq!(users[0].ask(format!("try {at}")), "ok");
        }
        for (at, waiter) in waiters.into_iter().enumerate() {
            assert_eq!(waiter.join().expect("no panic"), Ok(at as u64));
        }
    });
}

/// Who dies offering has sent nothing.
#[test]
fn a_sender_killed_while_it_offers() {
    on_every_row_without_room(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        for round in 0..10 {
            let (mut user, mut other) = (start_user(&place, "box"), start_user(&place, "box"));
            set_waiting(&mut user, if round % 2 == 0 { "send 7" } else { "collect 7" });
            if round % 3 == 0 {
                set_waiting(&mut other, "send 8");
            }
            user.kill();
            if round % 3 == 0 {
                assert_eq!(inbox.recv(), Ok(8));
            }
            assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
        }
        place.domain().gc().expect("ours");
        let stat = inbox.stat().expect("ours");
        assert_eq!((stat.depth, stat.held, stat.sent, stat.chunk_bytes), (0, 0, 4, 0));
    });
}

/// A receiver is killed while it waits, and with a message that it was given while it stood still: the first leaves
/// nothing, the second its message, which another one gets, marked, or which is counted.
#[test]
fn a_receiver_killed_while_it_waits() {
    on_every_row_without_room(|row| {
        // Without being bound it is given nothing while it stands still: see `stopped_is_not_dead`.
        let binds = row.binds_who_waits("a_receiver_killed_while_it_waits: with a message");
        for given in [false, true].into_iter().take(1 + usize::from(binds)) {
            let place = Place::new();
            let mut owner = start_owner(&place, "box", row);
            let mut user = start_user(&place, "box");
            set_waiting(&mut owner, "wait");
            if given {
                owner.stop();
                assert_eq!(user.ask("try 7"), "ok");
            }
            owner.kill();
            match row.owned {
                crate::rows::Owned::ByProcess => {
                    user.ask("closed"); // which thread waits
                    let told = format!("closed {}", u64::from(given));
                    assert_eq!((outcome(&mut user).0, user.ask("try 8")), (told.clone(), told));
                }
                crate::rows::Owned::BySystem => {
                    let inbox = crate::rows::receive::<u64>(&place, "box");
                    if given {
                        let back = inbox.try_recv_envelope().expect("it is back");
                        assert_eq!((back.message, back.redelivered), (7, 1));
                    }
                    assert_eq!(user.ask("try 8"), "full");
                    assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
                    set_waiting(&mut user, "send 9");
                    assert_eq!(inbox.recv(), Ok(9));
                    assert_eq!(outcome(&mut user).0, "ok");
                }
            }
        }
    });
}

/// Two receivers sleep; what one of them was given and died with comes to the other one by itself.
#[test]
fn a_dead_one_s_message_wakes_who_waits() {
    let row = crate::rows::ROWS.iter().find(|row| row.n() == 0 && row.owned == crate::rows::Owned::BySystem);
    let row = row.expect("a row of the table");
    let place = Place::new();
    let mut owner = start_owner(&place, "box", row);
    let mut user = start_user(&place, "box");
    set_waiting(&mut owner, "wait");
    let inbox = crate::rows::receive::<u64>(&place, "box");
    let waiter = sleeper(&inbox, |inbox| inbox.recv_envelope_timeout(PATIENCE));
    owner.stop();
    assert_eq!(user.ask("try 7"), "ok");
    owner.kill();
    let back = waiter.join().expect("no panic").expect("it is back");
    assert_eq!((back.message, back.redelivered), (7, 1));
}

/// Stopped, it is neither dead nor gone: it may be given one message, and it offers one.
#[test]
fn stopped_is_not_dead() {
    on_every_row_without_room(|row| {
        let place = Place::new();
        let mut owner = start_owner(&place, "box", row);
        let (mut user, mut other) = (start_user(&place, "box"), start_user(&place, "box"));
        set_waiting(&mut owner, "wait");
        owner.stop();
        let first = if row.binds_who_waits("stopped_is_not_dead: with a message") {
            assert_eq!(user.ask("try 1"), "ok");
            assert_eq!(user.ask("try 2"), "full");
            set_waiting(&mut user, "send 3");
            "got 1"
        } else {
            // It has none until it says so.
            assert_eq!((user.ask("try 1"), user.ask("try 2")), ("full".into(), "full".into()));
            set_waiting(&mut other, "send 2");
            "got 2"
        };
        assert_eq!(place.domain().gc().expect("ours").rows, 0);
        owner.go_on();
        owner.expect(first);
        if first == "got 2" {
            assert_eq!(outcome(&mut other).0, "ok");
            set_waiting(&mut user, "send 3");
        }
        user.stop();
        assert_eq!(owner.ask("take 1"), "took 3", "a stopped one's offer stands");
        set_waiting(&mut other, "send 4");
        assert_eq!(owner.ask("take 1"), "took 4");
        assert_eq!(outcome(&mut other).0, "ok");
        user.go_on();
        assert_eq!(outcome(&mut user).0, "ok");
    });
}

/// However it ends, who offers is told, and its message was not sent.
#[test]
fn an_offer_is_not_counted_at_the_end() {
    on_every_row_without_room(|row| {
        let place = Place::new();
        let mut owner = start_owner(&place, "box", row);
        let (mut user, mut other) = (start_user(&place, "box"), start_user(&place, "box"));
        set_waiting(&mut user, "send 1");
        set_waiting(&mut other, "collect 2");
        match row.owned {
            crate::rows::Owned::ByProcess => owner.kill(),
            crate::rows::Owned::BySystem => {
                assert_eq!(place.domain().remove("box").expect("ours").uncollected, 0);
            }
        }
        assert_eq!(outcome(&mut user).0, "closed 0");
        assert_eq!(outcome(&mut other).0, "closed 0 NotCollected");
    });
}

/// Many senders and receivers in many threads: all pair up, each message once, and nobody starves.
#[test]
fn many_pair_up_and_none_starves() {
    const SENDERS: u64 = 4;
    const EACH: u64 = 400;
    on_every_row_without_room(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let path = place.arg();
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let domain = Domain::open(&path).expect("the test's domain");
                let out = Sender::<u64>::options().domain(&domain).open("box").expect("it exists");
                std::thread::spawn(move || {
                    for at in 0..EACH {
                        out.send_timeout(sender * EACH + at, PATIENCE).expect("its turn comes");
                    }
                })
            })
            .collect();
        let share = SENDERS * EACH / 4;
        let receivers: Vec<_> = (0..4)
            .map(|_| {
                let inbox = match row.owned {
                    crate::rows::Owned::ByProcess => inbox.clone(),
                    crate::rows::Owned::BySystem => crate::rows::receive(&place, "box"),
                };
                std::thread::spawn(move || {
                    let receive = |_| inbox.recv_timeout(PATIENCE).expect("its turn comes");
                    (0..share).map(receive).collect::<Vec<u64>>()
                })
            })
            .collect();
        let mut all = Vec::new();
        for receiver in receivers {
            let got = receiver.join().expect("no panic");
            for sender in 0..SENDERS {
                assert!(got.iter().filter(|it| *it / EACH == sender).is_sorted(), "as they were sent");
            }
            all.extend(got);
        }
        senders.into_iter().for_each(|sender| sender.join().expect("no panic"));
        all.sort_unstable();
        assert!(all.iter().copied().eq(0..SENDERS * EACH), "each once");
        let stat = inbox.stat().expect("ours");
        assert_eq!(
            (stat.depth, stat.held, stat.sent, stat.received),
            (0, 0, all.len() as u64, all.len() as u64)
        );
        eventually("no chunk is in use", || {
            place.domain().gc().is_ok() && inbox.stat().expect("ours").chunk_bytes == 0
        });
    });
}

/// Every length and a plain type arrive whole, whoever comes first; too long is refused, and what does not fit a buffer
/// stays.
#[test]
fn every_length_arrives_whole() {
    const LONGEST: usize = 1 << 20;
    on_every_row_without_room(|row| {
        let place = Place::new();
        let inbox = row.own::<[u8]>(&place, "box");
        let out = open::<[u8]>(&place, "box");
        for length in [0, 1, 8, 63, 64, 65, 240, 241, 4095, 4096, 4097, 100_000, LONGEST] {
            let letter = pattern(length, 3);
            for receive in [
                |inbox: &Receiver<[u8]>| inbox.recv().expect("a message"),
                |inbox: &Receiver<[u8]>| {
                    let delivery = inbox.take().expect("a message");
                    let message = delivery.to_vec();
                    delivery.accept().expect("it is in hand");
                    message
                },
            ] {
                std::thread::scope(|scope| {
                    let sender = scope.spawn(|| out.send(&letter));
                    assert!(receive(&inbox) == letter, "{length} bytes");
                    assert!(sender.join().expect("no panic").is_ok());
                });
            }
            std::thread::scope(|scope| {
                let sender = scope.spawn(|| out.send_timeout(&letter, PATIENCE).is_ok());
                let mut into = vec![0; length.saturating_sub(1)];
                match inbox.recv_into_timeout(&mut into[..], PATIENCE) {
                    Ok(0) => assert_eq!(length, 0),
                    other => {
                        assert!(other.is_err_and(|error| error.to_string().contains(&length.to_string())))
                    }
                }
                assert!(sender.join().expect("no panic"));
                let back = inbox.try_recv();
                assert!(length == 0 && back.is_err() || back.as_deref() == Ok(&letter[..]), "{length} bytes");
            });
        }
        let long = pattern(LONGEST + 1, 3);
        assert!(out.try_send(&long).is_err_and(|error| error.to_string().contains("1048577")));
        let numbers = row.own::<[u32; 700]>(&place, "numbers");
        let out = open::<[u32; 700]>(&place, "numbers");
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| out.send([7; 700]).is_ok());
            assert_eq!(numbers.recv(), Ok([7; 700]));
            assert!(sender.join().expect("no panic"));
        });
    });
}
