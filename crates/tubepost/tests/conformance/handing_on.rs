//! What those who hand on other processes' messages rely on: places that are kept, messages of types that they don't know, and numbers by which
//! they ask what became of a message.

use std::collections::VecDeque;
use std::time::Duration;

use tubepost::{
    Delivery, Domain, Error, Format, Mailbox, Message, Opaque, Receiver, SendCollectedError, Sender,
    Strategy, TryRecvError, TrySendError,
};

use crate::letters::pattern;
use crate::rows::{Row, on_every_row_of_the_system_with_room, on_every_row_with_room, open, receive};
use crate::stage::{Child, Cue, PATIENCE, Place, Role};

pub const ROLES: &[Role] = &[("carrier", carrier), ("courier", courier)];

/// In line, in a chunk shorter than a page, in a longer one.
const LENGTHS: [usize; 4] = [0, 100, 700, 100_000];

fn keeping(domain: &Domain) -> Receiver<[u8]> {
    Receiver::<[u8]>::options().domain(domain).keep_places().open("box").expect("it exists")
}

/// Takes so many in hand, says so, and waits for its end.
fn carrier(cue: &mut Cue) {
    let inbox = keeping(&Domain::open(cue.arg(0)).expect("the test's domain"));
    let hand: Vec<Delivery<[u8]>> =
        (0..cue.number(1)).map(|_| inbox.take_timeout(PATIENCE).expect("a message")).collect();
    cue.say(format!("has {}", hand.len()));
    cue.hear();
}

/// Sends what it is told to, under this name, until its end.
fn courier(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let out = Sender::<u64>::options().domain(&domain).member(cue.arg(1)).open("box").expect("it exists");
    loop {
        let message = cue.hear().parse().expect("a number");
        let number = futures_executor::block_on(out.send_numbered_async(message)).expect("a free place");
        cue.say(number.expect("there are numbers"));
    }
}

/// What somebody sent who was killed is told as long as its place was not used again, collected or not.
#[test]
fn what_a_dead_courier_sent_is_told() {
    on_every_row_with_room(|row| {
        if !row.shares_memory("numbers of messages") || row.n() < 2 {
            return;
        }
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let out = open::<u64>(&place, "box");
        let by = |name: &str, from| place.domain().sent_by("box", name, from).expect("it is there");
        for round in 0..5 {
            let name = format!("courier {round}");
            let mut child = Child::start("courier", &[&place.arg(), &name]);
            let from = out.next_number().expect("there are numbers");
            assert_eq!(by(&name, from), None);
            let mut numbers = [0; 2];
            for number in &mut numbers {
                *number = child.ask(round).parse().expect("a number");
            }
            child.kill();
            assert_eq!((by(&name, from), by(&name, numbers[0] + 1)), (Some(numbers[0]), Some(numbers[1])));
            assert_eq!((by(&name, numbers[1] + 1), by("another", from)), (None, None));
            assert_eq!((inbox.try_recv(), inbox.try_recv()), (Ok(round), Ok(round)));
            assert_eq!((by(&name, from), by(&name, numbers[0] + 1)), (Some(numbers[0]), Some(numbers[1])));
        }
    });
}

/// In files a message in hand has no place anyway.
fn on_every_row_that_keeps(test: impl Fn(&Row, u64)) {
    on_every_row_of_the_system_with_room(|row| {
        if row.shares_memory("places that are kept") {
            test(row, row.n());
        }
    });
}

#[test]
fn what_is_in_hand_keeps_its_place_if_that_was_asked_for() {
    on_every_row_that_keeps(|row, n| {
        let place = Place::new();
        row.options::<[u8]>(place.domain()).create("box").expect("a free name");
        let (inbox, out) = (keeping(place.domain()), open::<[u8]>(&place, "box"));
        for length in LENGTHS {
            let sent = |k: u64| pattern(length, k);
            (0..n).for_each(|k| out.try_send(&sent(k)).expect("a free place"));
            let mut hand: VecDeque<_> =
                (0..n).map(|_| inbox.take_timeout(PATIENCE).expect("a message")).collect();
            assert!(inbox.try_take().is_err());
            assert_eq!(place.domain().stat("box").map(|stat| (stat.depth, stat.held)), Ok((0, n)));
            for k in 0..n {
                if row.is_limited("that it is full") {
                    assert_eq!(out.try_send(&sent(k)), Err(TrySendError::Full(&sent(k)[..])));
                }
                let delivery = hand.pop_front().expect("n in hand");
                assert_eq!((&*delivery, delivery.redelivered()), (&sent(k)[..], 0));
                delivery.accept().expect("it is in hand");
                out.try_send(&sent(k)).expect("one place is free");
            }
            (0..n).for_each(|k| assert_eq!(inbox.try_recv(), Ok(sent(k))));
            assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
            let stat = place.domain().stat("box").expect("it stays");
            assert_eq!((stat.depth, stat.held, stat.sent), (0, 0, stat.received));
        }
    });
}

/// No message is lost with a carrier that is killed, nor is their order; each is marked. Also those that it had not accepted and dropped.
#[test]
fn what_a_dead_carrier_had_comes_back_in_order() {
    on_every_row_that_keeps(|row, n| {
        for length in LENGTHS {
            let place = Place::new();
            row.options::<[u8]>(place.domain()).create("box").expect("a free name");
            let out = open::<[u8]>(&place, "box");
            (0..n).for_each(|k| out.try_send(&pattern(length, k)).expect("a free place"));
            let taken = n.div_ceil(2);
            let mut child = Child::start("carrier", &[&place.arg(), &taken.to_string()]);
            child.expect(&format!("has {taken}"));
            child.kill();

            let inbox = keeping(place.domain());
            let hand: Vec<_> = (0..n).map(|_| inbox.take_timeout(PATIENCE).expect("a message")).collect();
            for (k, delivery) in hand.iter().enumerate() {
                assert_eq!(**delivery, pattern(length, k as u64)[..]);
                assert_eq!(delivery.redelivered(), u32::from((k as u64) < taken));
            }
            drop(hand);
            for k in 0..n {
                let again = inbox.try_take().expect("it is back");
                assert_eq!(*again, pattern(length, k)[..]);
                again.accept().expect("it is in hand");
            }
            let stat = place.domain().stat("box").expect("it stays");
            assert_eq!((stat.depth, stat.held, stat.sent), (0, 0, stat.received));
        }
    });
}

/// It is collected when it is accepted, not before.
#[test]
fn a_synchronous_send_waits_until_what_keeps_its_place_is_accepted() {
    on_every_row_that_keeps(|row, _| {
        let place = Place::new();
        row.options::<[u8]>(place.domain()).create("box").expect("a free name");
        let (inbox, out) = (keeping(place.domain()), open::<[u8]>(&place, "box"));
        let sender = std::thread::spawn(move || out.send_collected(b"a letter").map_err(|e| e.to_string()));
        let letter = inbox.take_timeout(PATIENCE).expect("a message");
        // It would be back within microseconds.
        std::thread::sleep(Duration::from_millis(30));
        assert!(!sender.is_finished());
        letter.accept().expect("it is in hand");
        assert_eq!(sender.join().expect("no panic"), Ok(()));
    });
}

/// At a deadline it is neither withdrawn nor said to be collected, whether the carrier lives or died; if the carrier has not come for it, it is withdrawn.
#[test]
fn a_deadline_passes_while_the_message_is_on_its_way() {
    on_every_row_that_keeps(|row, _| {
        let place = Place::new();
        row.options::<[u8]>(place.domain()).create("box").expect("a free name");
        let out = open::<[u8]>(&place, "box");
        let send = || out.send_collected_timeout(b"a letter", Duration::from_millis(300));
        let on_its_way = |told: &Result<(), SendCollectedError<&[u8]>>| {
            matches!(told, Err(SendCollectedError::Failed(_, Error::Underway { .. })))
        };
        let inbox = keeping(place.domain());
        assert_eq!(send(), Err(SendCollectedError::Timeout(&b"a letter"[..])));
        std::thread::scope(|scope| {
            let sending = scope.spawn(send);
            let letter = inbox.take_timeout(PATIENCE).expect("a message");
            let told = sending.join().expect("no panic");
            assert!(on_its_way(&told), "{told:?}");
            letter.accept().expect("it was not withdrawn");
        });
        drop(inbox);
        std::thread::scope(|scope| {
            let mut child = Child::start("carrier", &[&place.arg(), "1"]);
            let sending = scope.spawn(send);
            child.expect("has 1");
            child.kill();
            let told = sending.join().expect("no panic");
            assert!(on_its_way(&told), "{told:?}");
        });
        assert_eq!(keeping(place.domain()).take_timeout(PATIENCE).map(|letter| letter.redelivered()), Ok(1));
    });
}

#[derive(Message, Clone, Copy, Debug, PartialEq)]
#[repr(C)]
struct Reading {
    sensor: u32,
    celsius: f32,
}

/// As `stat` tells it, which may be all that one has.
fn told(place: &Place) -> Format {
    let stat = place.domain().stat("box").expect("it lives");
    Format::decode(stat.variable, &stat.format).expect("a format")
}

#[test]
fn messages_of_an_unknown_type_are_those_of_the_type() {
    on_every_row_with_room(|row| {
        let place = Place::new();
        let inbox = row.own::<Reading>(&place, "box");
        let opaque = Sender::<Opaque>::options().domain(place.domain()).carrying(told(&place));
        let out = opaque.open("box").expect("the same format");
        let bytes = [&7u32.to_ne_bytes()[..], &21.5f32.to_ne_bytes()].concat();
        for wrong in [&bytes[..7], &[], &[0; 9]] {
            match out.try_send(wrong) {
                Err(TrySendError::Failed(_, Error::WrongLength { length, expected: 8 })) if length < 8 => {}
                Err(TrySendError::Failed(_, Error::TooLong { length: 9, max: 8 })) => {}
                other => panic!("{wrong:?}: {other:?}"),
            }
        }
        out.try_send(&bytes).expect("a free place");
        assert_eq!(inbox.try_recv(), Ok(Reading { sensor: 7, celsius: 21.5 }));

        // And another format is refused as ever, with both sides.
        let other = Sender::<Opaque>::options().domain(place.domain()).carrying(Format::of::<u64>());
        let error = other.open("box").expect_err("another format").to_string();
        assert!(error.contains("sensor") && error.contains("u64"), "{error}");
    });
}

#[test]
fn what_is_created_of_an_unknown_type_is_opened_by_those_who_know_it() {
    on_every_row_with_room(|row| {
        for format in [Format::of::<Reading>(), Format::labelled("readings/v2").expect("a label")] {
            let place = Place::new();
            let options = row.options::<Opaque>(place.domain()).carrying(format.clone());
            match row.owned {
                crate::rows::Owned::ByProcess => drop(options.own("box").expect("a free name")),
                crate::rows::Owned::BySystem => {
                    options.create("box").expect("a free name");
                    assert_eq!(told(&place), format);
                    let domain = place.domain();
                    if format.is_variable() {
                        let out = Sender::<[u8]>::options().domain(domain).format("readings/v2").open("box");
                        out.expect("the same format").try_send(b"7").expect("a free place");
                    } else {
                        let (out, inbox) =
                            (open::<Reading>(&place, "box"), receive::<Reading>(&place, "box"));
                        let reading = Reading { sensor: 7, celsius: 21.5 };
                        out.try_send(reading).expect("a free place");
                        assert_eq!(inbox.try_recv(), Ok(reading));
                    }
                }
            }
        }
    });
    // What is no message, or is answered, can't be had so.
    for (variable, text) in [(false, "Reading { } (8 bytes, align 3)"), (false, "x"), (true, "a\u{1f}vb")] {
        let format = Format::decode(variable, text).expect("a text that may be one");
        let place = Place::new();
        let made = Mailbox::<Opaque>::options().domain(place.domain()).carrying(format).create("box");
        assert!(matches!(made, Err(Error::BadOption { what: "the format", .. })), "{text:?}: {made:?}");
    }
}

/// A number tells what became of a message, to whoever has it: also when who sent it is gone.
#[test]
fn a_number_says_whether_its_message_was_collected() {
    on_every_row_with_room(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let out = open::<u64>(&place, "box");
        let send = |k| futures_executor::block_on(out.send_numbered_async(k)).expect("a free place");
        for k in 0..5 {
            let Some(number) = send(k) else {
                assert_ne!(row.strategy, Strategy::Shared);
                return;
            };
            let other = open::<u64>(&place, "box");
            assert!(!out.is_collected(number) && !other.is_collected(number));
            let waiting = {
                let out = out.clone();
                std::thread::spawn(move || futures_executor::block_on(out.collected_async(number)))
            };
            let envelope = inbox.recv_envelope().expect("a message");
            assert_eq!((envelope.message, envelope.seq), (k, number));
            assert_eq!(waiting.join().expect("no panic"), Ok(()));
            assert!(out.is_collected(number) && other.is_collected(number));
        }
        let number = send(7).expect("as before");
        drop(inbox);
        place.domain().remove("box").ok();
        assert!(matches!(futures_executor::block_on(out.collected_async(number)), Err(Error::Closed { .. })));
        assert!(!out.is_collected(number));
    });
}
