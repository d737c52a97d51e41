//! Messages in hand: consumed only when they are accepted, and back in the queue whatever else happens (P5).

use tubepost::{Receiver, Sender, TryRecvError, TrySendError};

use crate::letters::pattern;
use crate::rows::{Owned, Row, on_every_row, on_every_row_with_room, open};
use crate::stage::{PATIENCE, Place};

fn mailbox(row: &Row) -> (Place, Receiver<[u8]>, Sender<[u8]>) {
    let place = Place::new();
    let inbox = row.own::<[u8]>(&place, "box");
    let out = open::<[u8]>(&place, "box");
    (place, inbox, out)
}

/// In line, in a chunk shorter than a page, in a longer one.
const LENGTHS: [usize; 4] = [0, 100, 700, 100_000];

#[test]
fn accepted_is_consumed() {
    // Not where nothing waits: it sends first and receives later.
    on_every_row_with_room(|row| {
        let (place, inbox, out) = mailbox(row);
        for length in LENGTHS {
            let sent = pattern(length, 1);
            out.try_send(&sent).expect("a free place");
            let delivery = inbox.take_timeout(PATIENCE).expect("a message");
            assert_eq!(*delivery, sent[..]);
            assert_eq!((delivery.redelivered(), delivery.sender().pid), (0, std::process::id()));
            let stat = place.domain().stat("box").expect("it lives");
            assert_eq!((stat.depth, stat.held), (0, 1));
            delivery.accept().expect("it is in hand");
            assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
            let stat = place.domain().stat("box").expect("it lives");
            assert_eq!((stat.depth, stat.held, stat.sent), (0, 0, stat.received));
        }
    });
}

#[test]
fn dropped_comes_back_marked_and_before_all_others() {
    // Not where nothing waits: it sends first and receives later.
    on_every_row_with_room(|row| {
        let (_place, inbox, out) = mailbox(row);
        for length in LENGTHS {
            let sent = pattern(length, 2);
            out.try_send(&sent).expect("a free place");
            let first = inbox.take().expect("a message");
            let seq = first.seq();
            out.try_send(b"later").expect("its place is free");
            drop(first);
            assert_eq!(inbox.len(), 2);
            for times in 1..=3 {
                let again = inbox.try_take().expect("it is back");
                assert_eq!(*again, sent[..]);
                assert_eq!((again.seq(), again.redelivered()), (seq, times));
                assert_eq!(again.sender().pid, std::process::id());
            }
            // By any way to receive.
            let envelope = inbox.try_recv_envelope().expect("it is back");
            assert_eq!((envelope.message, envelope.seq, envelope.redelivered), (sent, seq, 4));
            assert_eq!(inbox.try_recv().as_deref(), Ok(&b"later"[..]));
            assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
        }
    });
}

#[test]
fn a_panic_gives_it_back() {
    // Not where nothing waits: it sends first and receives later.
    on_every_row_with_room(|row| {
        let (_place, inbox, out) = mailbox(row);
        out.try_send(b"work").expect("a free place");
        let worker = inbox.clone();
        let panicked = std::thread::spawn(move || {
            let _job = worker.take().expect("a message");
            std::panic::resume_unwind(Box::new("the work failed"));
        });
        assert!(panicked.join().is_err());
        let again = inbox.try_take().expect("it is back");
        assert_eq!((&*again, again.redelivered()), (&b"work"[..], 1));
        again.accept().expect("it is in hand");
    });
}

/// Many are held at once, for ever: each occupies nobody's place, and the mailbox goes on.
#[test]
fn what_is_in_hand_takes_nobody_s_place() {
    // Not where nothing waits: it sends first and receives later.
    on_every_row_with_room(|row| {
        let (place, inbox, out) = mailbox(row);
        let mut held = Vec::new();
        for at in 0..20_u8 {
            out.try_send(&[at; 300]).expect("a free place");
            held.push(inbox.try_take().expect("a message"));
        }
        assert_eq!(place.domain().stat("box").expect("it lives").held, 20);
        for at in 0..row.n() {
            out.try_send(&pattern(9, at)).expect("all places are free");
        }
        if row.is_limited("what_is_in_hand_takes_nobody_s_place: one more than fit") {
            assert_eq!(out.try_send(b"one more"), Err(TrySendError::Full(&b"one more"[..])));
            assert!(inbox.is_full());
        }
        for at in 0..row.n() {
            assert_eq!(inbox.try_recv(), Ok(pattern(9, at)));
        }
        // Given back in any order they come back in theirs.
        let seqs: Vec<u64> = held.iter().map(|delivery| delivery.seq()).collect();
        held.reverse();
        drop(held);
        let again: Vec<_> = std::iter::from_fn(|| inbox.try_recv_envelope().ok()).collect();
        assert_eq!(again.iter().map(|envelope| envelope.seq).collect::<Vec<_>>(), seqs);
        assert!(again.iter().all(|envelope| envelope.redelivered == 1));
    });
}

/// Asked late, and when others have the row of who sent it.
#[test]
fn what_is_in_hand_names_a_sender_who_is_gone() {
    on_every_row_with_room(|row| {
        let place = Place::new();
        let inbox = row.receiver(row.options::<[u8]>(place.domain()), &place, "box");
        let open = |name| Sender::<[u8]>::options().domain(place.domain()).member(name).open("box");
        for length in LENGTHS {
            open("first").expect("it exists").try_send(&pattern(length, 1)).expect("a free place");
            let delivery = inbox.take().expect("a message");
            let second = open("second").expect("it exists");
            second.try_send(b"another").expect("its place is free");
            assert_eq!(delivery.sender().name, "first");
            delivery.accept().expect("it is in hand");
            assert_eq!(inbox.take().expect("a message").sender().name, "second");
            assert_eq!(inbox.recv().as_deref(), Ok(&b"another"[..]));
        }
    });
}

/// Memory may be used up by the very messages that wait. Then what is taken keeps its place meanwhile.
#[test]
fn without_memory_it_keeps_its_place() {
    on_every_row(|row| {
        if !row.shares_memory("without_memory_it_keeps_its_place") {
            return;
        }
        if row.n() < 3 || !row.is_limited("without_memory_it_keeps_its_place: a ceiling for long ones only") {
            return;
        }
        let place = Place::new();
        let options = row.options::<[u8]>(place.domain()).max_message(100_000).ceiling(131_072);
        let inbox = row.receiver(options, &place, "box");
        let out = open::<[u8]>(&place, "box");
        let long = pattern(100_000, 8);
        for round in 0..3 {
            out.try_send(b"first").expect("a free place");
            out.try_send(b"second").expect("a free place");
            out.try_send(&long).expect("there is memory for one");
            assert!(out.try_send(&long).is_err(), "and for one only");
            let first = inbox.try_take().expect("a message");
            let second = inbox.try_take().expect("a message");
            let third = inbox.try_take().expect("a message");
            assert_eq!((&*first, &*second), (&b"first"[..], &b"second"[..]));
            assert_eq!(second.sender().pid, std::process::id());
            assert!(*third == long[..]);
            let stat = place.domain().stat("box").expect("it lives");
            assert_eq!((stat.depth, stat.held, stat.sent - stat.received), (0, 3, 3));
            // Given back from its place it comes again, marked; accepted it is gone.
            drop(second);
            first.accept().expect("it is in hand");
            let again = inbox.try_take().expect("it is back");
            assert_eq!((&*again, again.redelivered()), (&b"second"[..], 1));
            again.accept().expect("it is in hand");
            assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
            if round == 1 {
                drop(third);
                assert!(inbox.try_recv().as_deref() == Ok(&long[..]));
            } else {
                third.accept().expect("it is in hand");
            }
            // And the ring goes round.
            for at in 0..2 * row.n() {
                out.try_send(&pattern(9, at)).expect("a free place");
                assert_eq!(inbox.try_recv(), Ok(pattern(9, at)));
            }
            let stat = place.domain().stat("box").expect("it lives");
            assert_eq!((stat.depth, stat.held, stat.sent), (0, 0, stat.received));
        }
    });
}

/// A buffer too small leaves the message to the next call, in hand or not.
#[test]
fn what_does_not_fit_stays() {
    // Not where nothing waits: it sends first and receives later.
    on_every_row_with_room(|row| {
        let (_place, inbox, out) = mailbox(row);
        for length in [100, 5_000] {
            let sent = pattern(length, 6);
            out.try_send(&sent).expect("a free place");
            assert!(inbox.try_recv_into(&mut [0; 99][..]).is_err());
            drop(inbox.try_take().expect("it stayed"));
            assert!(inbox.try_recv_into(&mut [0; 99][..]).is_err());
            assert_eq!(inbox.len(), 1);
            let envelope = inbox.try_recv_envelope().expect("it stayed");
            // A message that was taken and did not fit counts as delivered; an owner only looked at it.
            let times = if row.owned == Owned::ByProcess { 2 } else { 3 };
            assert_eq!((envelope.message, envelope.redelivered), (sent, times));
        }
    });
}
