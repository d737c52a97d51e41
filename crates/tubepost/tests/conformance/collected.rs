//! Sends that wait until the message was collected: they return when a receiver has it, and at a deadline it was
//! either collected or withdrawn, never both and never neither.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tubepost::{SendCollectedError, TryRecvError};

use crate::cast::{outcome, set_waiting, start_owner, start_user};
use crate::letters::pattern;
use crate::rows::{
    Row, on_every_row, on_every_row_of_a_process_with_room, on_every_row_of_the_system_with_room,
    on_every_row_with_room, open, receive,
};
use crate::stage::{PATIENCE, Place, eventually};

const SHORT: Duration = Duration::from_millis(5);

#[test]
fn synchronous_send_and_synchronous_receive() {
    on_every_row(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let mut user = start_user(&place, "box");
        set_waiting(&mut user, "collect 7");
        assert_eq!(inbox.recv(), Ok(7));
        assert_eq!(outcome(&mut user).0, "ok");
        // And where the receiver was first.
        let receiver = std::thread::spawn(move || inbox.recv());
        user.say("collect 8");
        user.hear();
        assert_eq!(outcome(&mut user).0, "ok");
        assert_eq!(receiver.join().expect("it returns"), Ok(8));
    });
}

#[test]
fn synchronous_send_and_asynchronous_receive() {
    on_every_row(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
        let mut user = start_user(&place, "box");
        set_waiting(&mut user, "collect 7");
        assert_eq!(inbox.try_recv(), Ok(7));
        assert_eq!(outcome(&mut user).0, "ok");
    });
}

#[test]
fn asynchronous_send_and_synchronous_receive() {
    on_every_row(|row| {
        let place = Place::new();
        let mut owner = start_owner(&place, "box", row);
        set_waiting(&mut owner, "wait");
        open::<u64>(&place, "box").try_send(7).expect("a free place");
        owner.expect("got 7");
    });
}

#[test]
fn asynchronous_send_and_asynchronous_receive() {
    // Not where nothing waits: one of two has to wait.
    on_every_row_with_room(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        open::<u64>(&place, "box").try_send(7).expect("a free place");
        assert_eq!(inbox.try_recv(), Ok(7));
    });
}

#[test]
fn what_nobody_collects_is_withdrawn() {
    // Not where nothing waits: it sends first and receives later.
    on_every_row_with_room(|row| {
        let place = Place::new();
        let inbox = row.own::<[u8]>(&place, "box");
        let (out, other) = (open::<[u8]>(&place, "box"), open::<[u8]>(&place, "box"));
        // In line, and in a chunk; before others, behind others, and behind some that were withdrawn.
        for (lap, length) in [10, 5000, 30, 20_000].into_iter().enumerate() {
            let mut sent = Vec::new();
            for at in 0..row.n().min(20) {
                let message = pattern(length, at);
                let before = out.stat().expect("ours");
                if at % 3 == lap as u64 % 3 {
                    let back = out.send_collected_timeout(&message, SHORT).expect_err("nobody receives");
                    assert!(back.is_timeout() && back.to_string().contains("nobody received it"), "{back}");
                    assert_eq!(back.into_inner(), &message[..]);
                    let after = out.stat().expect("ours");
                    assert_eq!((after.depth, after.sent), (before.depth, before.sent), "as before");
                } else if other.try_send(&message).is_ok() {
                    sent.push(message); // else what was withdrawn still takes its place
                }
            }
            assert_eq!(inbox.len(), sent.len());
            for message in &sent {
                assert_eq!(inbox.try_recv().as_ref(), Ok(message));
            }
            assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
        }
        let stat = inbox.stat().expect("ours");
        assert_eq!((stat.depth, stat.held, stat.sent), (0, 0, stat.received));
        (0..row.n()).for_each(|at| out.try_send(&pattern(9, at)).expect("all places are free"));
        if row.is_limited("one more than fit, after withdrawals") {
            assert!(out.try_send(b"no").is_err_and(|error| error.is_full()));
        }
    });
}

#[test]
fn what_is_taken_in_hand_is_collected() {
    on_every_row(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let mut user = start_user(&place, "box");
        set_waiting(&mut user, "collect 7");
        let delivery = inbox.take().expect("it waits");
        assert_eq!(outcome(&mut user).0, "ok");
        drop(delivery);
        let again = inbox.recv_envelope().expect("given back");
        assert_eq!((again.message, again.redelivered), (7, 1));
    });
}

#[test]
fn a_buffer_that_is_too_small_leaves_it_with_its_sender() {
    // Not where nothing waits: who takes it has it, and its sender goes on.
    on_every_row_of_a_process_with_room(|row| {
        let place = Place::new();
        let inbox = row.own::<[u8]>(&place, "box");
        let out = open::<[u8]>(&place, "box");
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| out.send_collected_timeout(b"eight...", 20 * SHORT).is_err());
            let mut into = [0; 3];
            eventually("it was looked at", || match inbox.try_recv_into(&mut into[..]) {
                Err(TryRecvError::Empty) => false,
                other => other.is_err_and(|error| error.to_string().contains("8 bytes")),
            });
            assert!(sender.join().expect("it returns"), "it was withdrawn");
        });
        assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
    });
}

#[test]
fn the_owner_goes_before_it_is_collected() {
    // Not where nothing waits: an offer was not sent, see `rendezvous`.
    on_every_row_of_a_process_with_room(|row| {
        let place = Place::new();
        for closes in [false, true] {
            let mut owner = start_owner(&place, "box", row);
            let mut user = start_user(&place, "box");
            set_waiting(&mut user, "collect 7");
            if closes {
                owner.say("close");
                owner.expect("closed 1");
            } else {
                owner.kill();
            }
            assert_eq!(outcome(&mut user).0, "closed 1 NotCollected");
        }
    });
}

#[test]
fn it_is_removed_before_it_is_collected() {
    // Not where nothing waits: an offer was not sent, see `rendezvous`.
    on_every_row_of_the_system_with_room(|row| {
        let place = Place::new();
        let _inbox = row.own::<u64>(&place, "box");
        let mut user = start_user(&place, "box");
        set_waiting(&mut user, "collect 7");
        assert_eq!(place.domain().remove("box").expect("ours").uncollected, 1);
        assert_eq!(outcome(&mut user).0, "closed 1 NotCollected");
    });
}

#[test]
fn a_sender_that_dies_waiting_has_sent() {
    // Not where nothing waits: who dies offering has sent nothing, see `rendezvous`.
    on_every_row_with_room(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let mut user = start_user(&place, "box");
        set_waiting(&mut user, "collect 7");
        user.kill();
        assert_eq!(inbox.recv_timeout(PATIENCE), Ok(7));
        assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
    });
}

/// Deadlines that come just when messages are received: each was collected, once, or came back.
#[test]
fn collected_or_withdrawn_never_both() {
    on_every_row(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let inboxes = match row.owned {
            crate::rows::Owned::ByProcess => vec![inbox],
            crate::rows::Owned::BySystem => vec![inbox, receive(&place, "box")],
        };
        let done = AtomicBool::new(false);
        let (collected, got) = std::thread::scope(|scope| {
            let senders: Vec<_> = (0..2_u64)
                .map(|sender| {
                    let out = open::<u64>(&place, "box");
                    scope.spawn(move || {
                        let mut collected = BTreeSet::new();
                        for at in 0..300_u64 {
                            let message = sender << 32 | at;
                            let patience = Duration::from_micros(at % 150);
                            match out.send_collected_timeout(message, patience) {
                                Ok(()) => _ = collected.insert(message),
                                Err(SendCollectedError::Timeout(back)) => assert_eq!(back, message),
                                Err(other) => panic!("{other}"),
                            }
                        }
                        collected
                    })
                })
                .collect();
            let receivers: Vec<_> = inboxes
                .iter()
                .map(|inbox| {
                    scope.spawn(|| {
                        let mut got = Vec::new();
                        while !done.load(Relaxed) {
                            got.extend(inbox.recv_timeout(Duration::from_micros(50)).ok());
                        }
                        got
                    })
                })
                .collect();
            let collected: BTreeSet<u64> =
                senders.into_iter().flat_map(|sender| sender.join().expect("it returns")).collect();
            done.store(true, Relaxed);
            let got: Vec<u64> =
                receivers.into_iter().flat_map(|inbox| inbox.join().expect("it returns")).collect();
            (collected, got)
        });
        let once: BTreeSet<u64> = got.iter().copied().collect();
        assert_eq!(once.len(), got.len(), "nothing comes twice");
        assert_eq!(once, collected);
        let stat = inboxes[0].stat().expect("ours");
        assert_eq!((stat.depth, stat.held, stat.received), (0, 0, got.len() as u64));
    });
}

/// A row is as good as new after deadlines that nobody met.
#[test]
fn withdrawing_for_ever_wears_nothing_out() {
    on_every_row(|row: &Row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let out = open::<u64>(&place, "box");
        for at in 0..3 * row.n().min(100) {
            assert!(out.send_collected_timeout(at, Duration::ZERO).is_err_and(|error| error.is_timeout()));
            assert_eq!((inbox.len(), inbox.try_recv()), (0, Err(TryRecvError::Empty)));
        }
    });
}
