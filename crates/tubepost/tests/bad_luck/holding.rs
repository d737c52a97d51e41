//! Messages that somebody holds for ever, or is stopped with: nobody else waits for them.

use std::time::Duration;

use tubepost::{Mailbox, Receiver, Sender, TrySendError};

use crate::citizen::{dialogue, pattern};
use crate::stage::{Child, Place};

const PLACES: u64 = 4;

/// Three hands full, of messages in line and of long ones, and the queue goes round many times.
#[test]
fn what_is_held_holds_up_nobody() {
    for owned in [false, true] {
        let place = Place::new();
        let options = Mailbox::<[u8]>::options().domain(place.domain()).bounded(PLACES);
        let mut holder = Child::start("citizen", &[&place.arg()]);
        let out = || Sender::<[u8]>::options().domain(place.domain()).open("box").expect("it exists");
        let round = |out: &Sender<[u8]>, inbox: &dyn Fn() -> Vec<u8>| {
            for lap in 0..40 {
                for at in 0..PLACES as usize {
                    let length = if at % 2 == 0 { 20 + lap } else { 30_000 + lap };
                    out.try_send(&pattern(length)).expect("all places are free");
                }
                assert!(matches!(out.try_send(b"x"), Err(TrySendError::Full(_))));
                for at in 0..PLACES as usize {
                    let length = if at % 2 == 0 { 20 + lap } else { 30_000 + lap };
                    assert!(inbox() == pattern(length), "lap {lap}, message {at}");
                }
            }
        };
        if owned {
            // An owner that holds some itself.
            let inbox = options.own("box").expect("a free name");
            let out = out();
            out.try_send(b"held").expect("a free place");
            out.try_send(&pattern(50_000)).expect("a free place");
            let held = [inbox.try_take().expect("a message"), inbox.try_take().expect("a message")];
            round(&out, &|| inbox.try_recv().expect("a message"));
            assert_eq!(inbox.stat().expect("ours").held, 2);
            assert!(*held[0] == *b"held" && *held[1] == pattern(50_000));
            held.into_iter().for_each(|it| it.accept().expect("it is ours"));
            assert_eq!(inbox.stat().expect("ours").held, 0);
            continue;
        }
        options.create("box").expect("a free name");
        let out = out();
        dialogue(&mut holder, &[("receiver box", "ok")]);
        for what in ["a", "*50000", "b", "*700000"] {
            dialogue(&mut holder, &[("sender box", "ok"), (&format!("send box 0 {what}"), "ok")]);
            dialogue(&mut holder, &[("take box 0", &format!("ok {what} 0"))]);
        }
        // It stands still with all of them in hand.
        holder.stop();
        let inbox = Receiver::<[u8]>::options().domain(place.domain()).open("box").expect("it exists");
        round(&out, &|| inbox.try_recv().expect("a message"));
        round(&out, &|| {
            let delivery = inbox.try_take().expect("a message");
            assert_eq!(delivery.redelivered(), 0);
            let message = delivery.to_vec();
            delivery.accept().expect("it is ours");
            message
        });
        // Nobody takes it for dead, whoever looks, however long.
        place.domain().gc().expect("our own");
        assert!(inbox.recv_timeout(Duration::from_millis(1300)).is_err(), "what it holds is its own");
        let stat = place.domain().stat("box").expect("it is there");
        assert_eq!((stat.held, stat.depth), (4, 0));
        holder.go_on();
        dialogue(&mut holder, &[("accept", "ok"), ("accept", "ok")]);
        // Two were accepted; with its end the other two go to whoever is there.
        holder.kill();
        let mut left: Vec<_> = (0..2)
            .map(|_| inbox.recv_envelope_timeout(Duration::from_secs(3)).expect("redelivered"))
            .collect();
        left.sort_by_key(|it| it.seq);
        assert!(left[0].message == *b"b" && left[1].message == pattern(700_000));
        assert!(left.iter().all(|it| it.redelivered == 1));
        assert!(inbox.try_recv().is_err());
        round(&out, &|| inbox.try_recv().expect("a message"));
    }
}

/// The same message again and again: each who dies with it leaves it to the next, with its count.
#[test]
fn one_message_outlives_many() {
    let place = Place::new();
    let options = Mailbox::<[u8]>::options().domain(place.domain()).bounded(PLACES);
    options.create("box").expect("a free name");
    let out = Sender::<[u8]>::options().domain(place.domain()).open("box").expect("it exists");
    out.send(b"deadly").expect("it lives");
    out.send(&pattern(9000)).expect("it lives");
    for round in 0..12 {
        let mut victim = Child::start("citizen", &[&place.arg()]);
        assert_eq!(victim.ask("receiver box"), "ok");
        let mut got = [victim.ask("take box 3000"), victim.ask("take box 3000")];
        got.sort();
        assert_eq!(got, [format!("ok *9000 {round}"), format!("ok deadly {round}")]);
        victim.kill();
    }
    let inbox = Receiver::<[u8]>::options().domain(place.domain()).open("box").expect("it exists");
    for _ in 0..2 {
        let delivery = inbox.take_timeout(Duration::from_secs(3)).expect("it is still there");
        assert_eq!(delivery.redelivered(), 12);
        delivery.accept().expect("it is ours");
    }
    assert!(inbox.try_recv().is_err());
    assert_eq!(place.domain().stat("box").expect("it is there").received, 2);
}
