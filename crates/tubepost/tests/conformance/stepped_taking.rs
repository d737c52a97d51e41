//! Killed at a chosen instruction, where many receive: in taking, holding, accepting and giving back, in
//! sending what does not fit a place, in creating and removing. Afterwards everything that was accepted is
//! received once, or again with a mark; all places are free; and no memory is left that nobody needs.

use tubepost::{Domain, Error, Receiver, Sender, TrySendError};

use crate::letters::pattern;
use crate::rows::{ROWS, Row, on_every_row_of_the_system, open, receive};
use crate::stage::{Child, Place, eventually};
use crate::stepped::{all_over, walks};

/// What a walker can be told to do here.
pub const CALLS: &[&str] =
    &["compete", "take", "take large", "accept", "give back", "send large", "join", "create", "remove", "gc"];

/// A message that needs a chunk.
const LARGE: usize = 5_000;

/// The walker's part.
pub fn make(call: &str, domain: &Domain, row: &Row, between_marks: impl Fn(&mut dyn FnMut())) {
    let join = || Receiver::<[u8]>::options().domain(domain).open("box").expect("it exists");
    match call {
        "compete" => {
            let inbox = join();
            between_marks(&mut || drop(inbox.recv().expect("a message")));
        }
        "take" | "take large" => {
            let inbox = join();
            between_marks(&mut || std::mem::forget(inbox.take().expect("a message")));
        }
        "accept" => {
            let inbox = join();
            let mut delivery = Some(inbox.take().expect("a message"));
            between_marks(&mut || delivery.take().expect("once").accept().expect("it is in hand"));
        }
        "give back" => {
            let inbox = join();
            let mut delivery = Some(inbox.take().expect("a message"));
            between_marks(&mut || drop(delivery.take()));
        }
        "send large" => {
            let out = Sender::<[u8]>::options().domain(domain).open("box").expect("it exists");
            let message = pattern(LARGE, 77);
            between_marks(&mut || out.try_send(&message).expect("a free place"));
        }
        "join" => between_marks(&mut || drop(join())),
        "create" => {
            let options = row.options::<[u8]>(domain);
            between_marks(&mut || _ = options.create("box").expect("a free name"));
        }
        "remove" => between_marks(&mut || _ = domain.remove("box").expect("it is ours")),
        "gc" => between_marks(&mut || drop(domain.gc().expect("our own domain"))),
        other => panic!("what is {other}?"),
    }
}

/// A step costs 20 µs on a slow machine, so not on all of them.
fn on_two_rows(test: impl Fn(&Row)) {
    on_every_row_of_the_system(|row| {
        if row.steps_like_another() {
            return;
        }
        if matches!(row.n(), 1 | 7) {
            test(row);
        }
    });
}

/// A mailbox with messages 0.. in it, of this length and more, but for `free` places.
fn filled(row: &Row, place: &Place, length: usize, free: u64) -> (Sender<[u8]>, Vec<Vec<u8>>) {
    row.options::<[u8]>(place.domain()).create("box").expect("a free name");
    let out = open::<[u8]>(place, "box");
    let sent: Vec<Vec<u8>> =
        (0..row.n().min(20) - free).map(|at| pattern(length + at as usize, at)).collect();
    sent.iter().for_each(|message| out.try_send(message).expect("a free place"));
    (out, sent)
}

/// Receives all there is, until nothing waits or is in anybody's hand: messages with how often they were
/// delivered before.
fn drain(place: &Place) -> Vec<(Vec<u8>, u32)> {
    let inbox = receive::<[u8]>(place, "box");
    let mut all = Vec::new();
    eventually("everything was received", || {
        while let Ok(envelope) = inbox.try_recv_envelope() {
            all.push((envelope.message, envelope.redelivered));
        }
        let stat = place.domain().stat("box").expect("it stays");
        stat.depth == 0 && stat.held == 0
    });
    let stat = place.domain().stat("box").expect("it stays");
    assert_eq!(stat.sent, stat.received);
    all
}

/// All places are free, and after `gc` no memory is left.
fn as_new(row: &Row, place: &Place) {
    let (out, inbox) = (open::<[u8]>(place, "box"), receive::<[u8]>(place, "box"));
    for lap in 0..2 {
        (0..row.n()).for_each(|at| out.try_send(&pattern(300, at)).expect("all places are free"));
        assert_eq!(out.try_send(b"no"), Err(TrySendError::Full(&b"no"[..])), "lap {lap}");
        (0..row.n()).for_each(|at| assert_eq!(inbox.try_recv(), Ok(pattern(300, at)), "lap {lap}"));
    }
    drop((out, inbox));
    place.domain().gc().expect("our own domain");
    let stat = place.domain().stat("box").expect("it stays");
    assert_eq!((stat.chunk_bytes, stat.chunk_waste, stat.depth, stat.held), (0, 0, 0, 0));
}

/// The first message may be gone, if the killed one had received it, or marked; the others are as sent.
#[track_caller]
fn all_but_maybe_the_first(got: &[(Vec<u8>, u32)], sent: &[Vec<u8>], may_be_gone: bool) {
    let gone = got.len() + 1 == sent.len();
    assert!(got.len() == sent.len() || may_be_gone && gone, "{} of {} came", got.len(), sent.len());
    let mut got = got.to_vec();
    // What the dead one had taken comes again after those that were taken before anybody noticed.
    got.sort_by_key(|(message, _)| sent.iter().position(|it| it == message));
    let expected = if gone { &sent[1..] } else { sent };
    for (at, ((message, before), expected)) in got.iter().zip(expected).enumerate() {
        assert!(message == expected, "message {at} is another");
        assert!(*before <= u32::from(at == 0 && !gone), "message {at} came {before} times before");
    }
}

fn in_taking(call: &str, length: usize, kills: u64, may_be_gone: bool) {
    on_two_rows(|row| {
        let at = std::cell::Cell::new(0);
        walks(
            row,
            call,
            all_over(kills),
            |place| filled(row, place, length, 0),
            |place, (_out, sent), child: &mut Child| {
                assert!(child.is_dead());
                at.set(at.get() + 1);
                if at.get() % 2 == 0 {
                    place.domain().gc().expect("our own domain");
                }
                all_but_maybe_the_first(&drain(place), &sent, may_be_gone);
                as_new(row, place);
            },
        );
    });
}

#[test]
fn in_recv() {
    in_taking("compete", 9, 12, true);
    in_taking("compete", LARGE, 12, true);
}

#[test]
fn in_take() {
    in_taking("take", 9, 14, false);
    in_taking("take large", LARGE, 14, false);
}

/// Memory is used up by what waits: what is taken stays in its place.
#[test]
fn in_take_without_memory() {
    let row = &ROWS[8];
    walks(
        row,
        "take",
        all_over(16),
        |place| {
            let options = row.options::<[u8]>(place.domain()).max_message(100_000).ceiling(131_072);
            options.create("box").expect("a free name");
            let out = open::<[u8]>(place, "box");
            let sent = vec![pattern(9, 0), pattern(10, 1), pattern(100_000, 2)];
            sent.iter().for_each(|message| out.try_send(message).expect("a free place"));
            (out, sent)
        },
        |place, (_out, sent), _| {
            all_but_maybe_the_first(&drain(place), &sent, false);
            as_new(row, place);
        },
    );
}

#[test]
fn in_accept() {
    in_taking("accept", 9, 8, true);
    in_taking("accept", LARGE, 8, true);
}

#[test]
fn in_giving_back() {
    in_taking("give back", 9, 10, false);
}

#[test]
fn in_sending_what_does_not_fit() {
    on_two_rows(|row| {
        if row.n() == 1 {
            return;
        }
        walks(
            row,
            "send large",
            all_over(20),
            |place| filled(row, place, 300, 1),
            |place, (_out, mut sent), _| {
                let got = drain(place);
                if got.len() > sent.len() {
                    sent.push(pattern(LARGE, 77));
                }
                assert!(got.iter().map(|(message, _)| message).eq(&sent));
                assert!(got.iter().all(|(_, before)| *before == 0));
                as_new(row, place);
            },
        );
    });
}

#[test]
fn in_join_and_gc() {
    let row = &ROWS[7];
    for call in ["join", "gc"] {
        walks(
            row,
            call,
            all_over(12),
            |place| filled(row, place, LARGE, 0),
            |place, (_out, sent), _| {
                all_but_maybe_the_first(&drain(place), &sent, false);
                as_new(row, place);
            },
        );
    }
}

#[test]
fn in_create_and_remove() {
    let row = &ROWS[7];
    walks(
        row,
        "create",
        all_over(12),
        |_| (),
        |place, (), _| {
            match row.options::<[u8]>(place.domain()).create("box") {
                Ok(_) | Err(Error::Exists { .. }) => {}
                Err(other) => panic!("{other}"),
            }
            as_new(row, place);
            place.domain().remove("box").expect("it is ours");
            assert!(place.files().is_empty(), "{:?}", place.files());
        },
    );
    walks(
        row,
        "remove",
        all_over(16),
        |place| filled(row, place, LARGE, 0),
        |place, (out, sent), _| {
            // Half removed is removed by the next one who comes.
            match place.domain().remove("box") {
                Ok(closed) => assert_eq!(closed.uncollected, sent.len() as u64),
                Err(Error::NoSuchName { .. }) => {}
                Err(other) => panic!("{other}"),
            }
            match out.try_send(b"late") {
                Err(TrySendError::Closed(_, closed)) => assert_eq!(closed.uncollected, sent.len() as u64),
                other => panic!("{other:?}"),
            }
            row.options::<[u8]>(place.domain()).create("box").expect("the name is free");
            as_new(row, place);
        },
    );
}
