//! Messages that don't fit a place: memory comes when they do, and goes when nobody needs it.

use std::time::Duration;

use tubepost::{Error, Mailbox, Message, Receiver, Sender, TrySendError};

use crate::letters::pattern;
use crate::rows::{ROWS, on_every_row, on_every_row_with_room, open};
use crate::stage::{PATIENCE, Place, eventually};

/// Around every border that a chunk or a page could have.
fn lengths() -> Vec<usize> {
    let mut all = vec![0, 1, 100_000, 999_999];
    for shift in 6..=20 {
        let border = 1_usize << shift;
        all.extend([border - 1, border, border + 1]);
        all.push(border + border / 2);
    }
    all.extend([239, 240, 241, 4095, 4096, 4097, 8191, 8193]);
    all.retain(|length| *length <= 1 << 20);
    all
}

#[test]
fn every_length_up_to_a_megabyte() {
    // Not where nothing waits: it sends first and receives later, see `rendezvous`.
    on_every_row_with_room(|row| {
        let place = Place::new();
        let inbox = row.own::<[u8]>(&place, "box");
        let out = open::<[u8]>(&place, "box");
        for length in lengths() {
            let sent = pattern(length, length as u64);
            out.try_send(&sent).expect("a free place");
            // Word by word, as the suite's own patterns are slow to compare one by one.
            assert!(inbox.try_recv().as_ref() == Ok(&sent), "of {length} bytes");
        }
    });
}

#[test]
fn the_default_is_a_megabyte() {
    let place = Place::new();
    let inbox = ROWS[2].own::<[u8]>(&place, "box");
    let out = open::<[u8]>(&place, "box");
    assert_eq!(inbox.stat().expect("it lives").max_message, 1 << 20);
    let long = vec![1; (1 << 20) + 1];
    match out.try_send(&long) {
        Err(TrySendError::Failed(back, Error::TooLong { length, max })) => {
            assert_eq!((back, length, max), (&long[..], (1 << 20) + 1, 1 << 20));
        }
        other => panic!("{other:?}"),
    }
    assert!(inbox.is_empty());
}

/// A mailbox for large messages costs little until they come.
#[test]
fn memory_comes_with_the_messages() {
    let place = Place::new();
    let options = Mailbox::<[u8]>::options().domain(place.domain()).bounded(1024).max_message(1 << 20);
    options.create("box").expect("a free name");
    let bytes = || place.domain().stat("box").expect("it stays").bytes;
    assert!(bytes() <= 1 << 20, "{} bytes before any message", bytes());
    let before = bytes();
    let out = open::<[u8]>(&place, "box");
    let inbox = Receiver::<[u8]>::options().domain(place.domain()).open("box").expect("it exists");
    for _ in 0..10 {
        out.try_send(&[7; 500_000]).expect("a free place");
    }
    let stat = place.domain().stat("box").expect("it stays");
    assert!(stat.bytes >= before + 5_000_000 && stat.bytes < before + 10_000_000, "{}", stat.bytes);
    // What is in use has at most twice its message's length.
    assert!(stat.chunk_waste <= 5_000_000, "{}", stat.chunk_waste);
    while inbox.try_recv().is_ok() {}
    let given = place.domain().gc().expect("our own domain").bytes;
    assert!(given >= 5_000_000, "{given} bytes were given back");
    assert!(bytes() < before + (1 << 18), "{} bytes are left", bytes());
    // It serves again.
    out.try_send(&[8; 500_000]).expect("a free place");
    assert_eq!(inbox.try_recv(), Ok(vec![8; 500_000]));
}

/// A receiver that waits gives back what nobody needs.
#[test]
fn memory_goes_when_nothing_comes() {
    // Not where nothing waits: it sends first and receives later.
    on_every_row_with_room(|row| {
        if !row.shares_memory("memory_goes_when_nothing_comes") {
            return;
        }
        if row.n() != 7 {
            return; // it takes seconds
        }
        let place = Place::new();
        let inbox = row.own::<[u8]>(&place, "box");
        let out = open::<[u8]>(&place, "box");
        let bytes = || place.domain().stat("box").expect("it lives").chunk_bytes;
        out.try_send(&[1; 1 << 20]).expect("a free place");
        assert_eq!(inbox.recv_timeout(PATIENCE), Ok(vec![1; 1 << 20]));
        assert!(bytes() >= 1 << 20);
        let idle = std::thread::spawn(move || inbox.recv());
        eventually("the memory was given back", || bytes() == 0);
        out.try_send(b"end").expect("a free place");
        assert_eq!(idle.join().expect("no panic").as_deref(), Ok(&b"end"[..]));
    });
}

/// More than the ceiling allows is an error that says so, the message comes back, and smaller ones go on.
#[test]
fn the_ceiling_is_kept() {
    on_every_row(|row| {
        if !row.shares_memory("the_ceiling_is_kept") {
            return;
        }
        if row.n() < 7 || !row.is_limited("the_ceiling_is_kept, by long ones alone") {
            return;
        }
        let place = Place::new();
        let options = row.options::<[u8]>(place.domain()).max_message(100_000).ceiling(300_000);
        let inbox = row.receiver(options, &place, "box");
        let out = open::<[u8]>(&place, "box");
        let message = pattern(100_000, 1);
        let mut accepted = 0;
        let error = loop {
            match out.try_send(&message) {
                Ok(()) => accepted += 1,
                Err(TrySendError::Failed(back, error)) => {
                    assert_eq!(back, message);
                    break error;
                }
                Err(other) => panic!("{other:?}"),
            }
        };
        assert_eq!(accepted, 2, "a third has no room beside two, of 25 pages each, in 300,000 bytes");
        match error {
            Error::AtCeiling { wanted, used, ceiling } => {
                assert_eq!((wanted, used, ceiling), (100_000, 2 * 102_400, 300_000));
            }
            other => panic!("{other}"),
        }
        out.try_send(b"small").expect("it needs no chunk");
        for _ in 0..20 {
            assert!(inbox.recv_timeout(PATIENCE).is_ok());
            if inbox.len() == 1 {
                out.try_send(&message).expect("there is room again");
            }
        }
        let too_low = row.options::<[u8]>(place.domain()).max_message(100_000).ceiling(100_000);
        match too_low.own("other") {
            Err(Error::BadOption { what: "the ceiling", .. }) => {}
            other => panic!("{:?}", other.map(|_| ())),
        }
    });
}

/// However many senders reach it at once, and whatever is given back meanwhile.
#[test]
fn the_ceiling_is_kept_by_many_at_once() {
    const CEILING: u64 = 4 << 20;
    let place = Place::new();
    let options = Mailbox::<[u8]>::options().domain(place.domain()).bounded(64).ceiling(CEILING);
    options.create("box").expect("a free name");
    let receive = || Receiver::<[u8]>::options().domain(place.domain()).open("box").expect("it exists");
    let end = std::time::Instant::now() + Duration::from_millis(700);
    std::thread::scope(|scope| {
        for thread in 0..4_usize {
            let out = open::<[u8]>(&place, "box");
            scope.spawn(move || {
                let message = vec![1; 200_000 + thread * 150_000];
                while std::time::Instant::now() < end {
                    match out.try_send(&message) {
                        Ok(()) | Err(TrySendError::Full(_)) => {}
                        Err(TrySendError::Failed(_, Error::AtCeiling { .. })) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
            });
        }
        let inbox = receive();
        scope.spawn(move || {
            while std::time::Instant::now() < end {
                let _ = inbox.try_recv();
            }
        });
        while std::time::Instant::now() < end {
            place.domain().gc().expect("our own domain");
        }
    });
    let stat = place.domain().stat("box").expect("it stays");
    assert!(stat.chunk_bytes <= CEILING, "{} bytes", stat.chunk_bytes);
    let inbox = receive();
    while inbox.try_recv().is_ok() {}
    place.domain().gc().expect("our own domain");
    assert_eq!(place.domain().stat("box").expect("it stays").chunk_bytes, 0);
}

/// All of a capacity's worth of large messages wait at once, of all lengths.
#[test]
fn a_full_mailbox_of_large_messages() {
    // Not where nothing waits: it sends first and receives later.
    on_every_row_with_room(|row| {
        let place = Place::new();
        let inbox = row.own::<[u8]>(&place, "box");
        let out = open::<[u8]>(&place, "box");
        for lap in 0..3 {
            let n = row.n().min(200);
            for at in 0..n {
                out.try_send(&pattern((at as usize * 371 + lap) % 20_000, at)).expect("a free place");
            }
            for at in 0..n {
                let expected = pattern((at as usize * 371 + lap) % 20_000, at);
                assert!(inbox.try_recv().as_ref() == Ok(&expected), "message {at} of lap {lap}");
            }
        }
    });
}

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Image {
    number: u64,
    pixels: [[u32; 512]; 511],
    rest: [u32; 510],
}

/// A plain type of a megabyte, by value: it goes through the stack, of which a thread should have enough.
#[test]
fn a_plain_type_of_a_megabyte() {
    const { assert!(size_of::<Image>() == 1 << 20) };
    let act = || {
        // Not where nothing waits: it sends first and receives later.
        on_every_row_with_room(|row| {
            let place = Place::new();
            let inbox = row.own::<Image>(&place, "box");
            let out = Sender::<Image>::options().domain(place.domain()).open("box").expect("it exists");
            let mut image = Image { number: 0, pixels: [[3; 512]; 511], rest: [5; 510] };
            for number in 0..3 {
                image.number = number;
                image.pixels[100][200] = number as u32;
                assert!(out.send_timeout(image, Duration::from_secs(1)).is_ok());
                let got = inbox.recv_timeout(PATIENCE).expect("a message");
                assert_eq!((got.number, got.pixels[100][200], got.rest[509]), (number, number as u32, 5));
            }
        });
    };
    std::thread::Builder::new().stack_size(64 << 20).spawn(act).expect("a thread").join().expect("no panic");
}
