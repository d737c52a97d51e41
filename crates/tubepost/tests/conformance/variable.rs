//! Variable-length messages: every length arrives whole, a longer one is refused with both numbers and
//! handed back, and a buffer that is too small loses nothing.

use tubepost::{Error, RecvError, SendError, TryRecvError, TrySendError};

use crate::letters::pattern;
use crate::rows::{on_every_row_with_room, open};
use crate::stage::Place;

/// Around every border that a slot, a line or a page could have.
fn lengths(max: usize) -> Vec<usize> {
    let borders = [8, 16, 32, 48, 56, 64, 120, 128, 256, 1000, 1024, 2048, 4032, 4088, 4096];
    let mut all: Vec<usize> = (0..=9).collect();
    for border in borders {
        all.extend(border.max(9) - 9..=border + 9);
    }
    all.retain(|length| *length <= max);
    all.sort_unstable();
    all.dedup();
    all
}

#[test]
fn bytes_of_every_length() {
    // Not where nothing waits: it sends first and receives later, see `rendezvous`.
    on_every_row_with_room(|row| {
        let place = Place::new();
        let inbox = row.own::<[u8]>(&place, "bytes");
        let out = open::<[u8]>(&place, "bytes");
        for length in lengths(4096) {
            let sent = pattern(length, length as u64);
            out.try_send(&sent).expect("a free place");
            assert_eq!(inbox.try_recv().as_ref(), Ok(&sent), "of {length} bytes");
        }
    });
}

#[test]
fn every_single_length_once() {
    let place = Place::new();
    let inbox = crate::rows::ROWS[2].own::<[u8]>(&place, "bytes");
    let out = open::<[u8]>(&place, "bytes");
    for length in 0..=4096 {
        let sent = pattern(length, 3);
        out.try_send(&sent).expect("a free place");
        assert_eq!(inbox.try_recv().as_ref(), Ok(&sent), "of {length} bytes");
    }
}

#[test]
fn text_of_every_length() {
    // Not where nothing waits: it sends first and receives later, see `rendezvous`.
    on_every_row_with_room(|row| {
        let place = Place::new();
        let inbox = row.own::<str>(&place, "text");
        let out = open::<str>(&place, "text");
        for length in lengths(4096) {
            // Characters of one to four bytes, filled up with x to the length.
            let mut sent = "añ✓🦀".repeat(length / 10);
            sent.push_str(&"x".repeat(length - sent.len()));
            let sent = sent.as_str();
            out.try_send(sent).expect("a free place");
            assert_eq!(inbox.try_recv().as_deref(), Ok(sent), "of {length} bytes");
        }
    });
}

#[test]
fn too_long_is_refused_with_both_numbers_and_comes_back() {
    // Not where nothing waits: it sends first and receives later, see `rendezvous`.
    on_every_row_with_room(|row| {
        let place = Place::new();
        for max in [1_u64, 8, 9, 55, 56, 57, 1000, 4095, 4096] {
            let name = format!("max-{max}");
            let inbox = row.receiver(row.options::<[u8]>(place.domain()).max_message(max), &place, &name);
            let out = open::<[u8]>(&place, &name);
            let fits = pattern(max as usize, 1);
            out.try_send(&fits).expect("exactly as long as allowed");
            assert_eq!(inbox.try_recv(), Ok(fits));
            for length in [max + 1, max + 4096, 1 << 20] {
                let long = pattern(length as usize, 2);
                let too_long = |error: &Error| match error {
                    Error::TooLong { length: given, max: allowed, .. } => {
                        assert_eq!((*given, *allowed), (length, max));
                        let text = error.to_string();
                        let both = text.contains(&length.to_string()) && text.contains(&max.to_string());
                        assert!(both, "{text:?} shows {length} and {max}");
                    }
                    other => panic!("not too long but {other}"),
                };
                match out.try_send(&long) {
                    Err(TrySendError::Failed(back, error)) if back == long => too_long(&error),
                    other => panic!("{other:?}"),
                }
                match out.send(&long) {
                    Err(SendError::Failed(back, error)) if back == long => too_long(&error),
                    other => panic!("{other:?}"),
                }
            }
            assert!(inbox.is_empty(), "nothing of it went in");
        }
    });
}

#[test]
fn text_too_long_comes_back() {
    let place = Place::new();
    let inbox =
        crate::rows::ROWS[0].options::<str>(place.domain()).max_message(5).own("t").expect("a free name");
    let out = open::<str>(&place, "t");
    match out.try_send("sechs!") {
        Err(TrySendError::Failed("sechs!", Error::TooLong { .. })) => {}
        other => panic!("{other:?}"),
    }
    out.try_send("fünf").expect("five bytes");
    assert_eq!(inbox.recv().as_deref(), Ok("fünf"));
}

#[test]
fn recv_into_every_buffer() {
    // Not where nothing waits: it sends first and receives later, see `rendezvous`.
    on_every_row_with_room(|row| {
        let place = Place::new();
        let inbox = row.own::<[u8]>(&place, "into");
        let out = open::<[u8]>(&place, "into");
        for length in [0, 1, 7, 8, 9, 48, 56, 57, 4095, 4096] {
            let sent = pattern(length, 4);
            // A slice with room to spare keeps what is behind the message.
            out.try_send(&sent).expect("a free place");
            let mut slice = vec![0xee; length + 3];
            assert_eq!(inbox.recv_into(&mut slice[..]), Ok(length));
            assert_eq!(slice[..length], sent[..]);
            assert_eq!(slice[length..], [0xee; 3]);
            // One that fits to the byte.
            out.try_send(&sent).expect("a free place");
            let mut slice = vec![0xee; length];
            assert_eq!(inbox.try_recv_into(&mut slice[..]), Ok(length));
            assert_eq!(slice, sent);
            // A vector grows or shrinks to the message.
            for mut vector in [Vec::new(), vec![9; 10], vec![9; 5000]] {
                out.try_send(&sent).expect("a free place");
                assert_eq!(inbox.recv_into(&mut vector), Ok(length));
                assert_eq!(vector, sent);
            }
        }
    });
}

#[test]
fn recv_into_text() {
    let place = Place::new();
    let inbox = crate::rows::ROWS[0].own::<str>(&place, "into");
    let out = open::<str>(&place, "into");
    for sent in ["", "a", "grüße", "🦀"] {
        out.try_send(sent).expect("a free place");
        let mut text = String::from("before");
        assert_eq!(inbox.recv_into(&mut text), Ok(sent.len()));
        assert_eq!(text, sent);
    }
}

#[test]
fn a_buffer_too_small_loses_nothing() {
    // Not where nothing waits: it sends first and receives later, see `rendezvous`.
    on_every_row_with_room(|row| {
        let place = Place::new();
        let inbox = row.own::<[u8]>(&place, "small");
        let out = open::<[u8]>(&place, "small");
        let sent = pattern(100, 5);
        out.try_send(&sent).expect("a free place");
        for size in [0, 1, 99] {
            let mut slice = vec![0; size];
            let refused = |error: Error| match error {
                Error::TooLong { length, max, .. } => assert_eq!((length, max), (100, size as u64)),
                other => panic!("not too long but {other}"),
            };
            match inbox.recv_into(&mut slice[..]) {
                Err(RecvError::Failed(error)) => refused(error),
                other => panic!("{other:?}"),
            }
            match inbox.try_recv_into(&mut slice[..]) {
                Err(TryRecvError::Failed(error)) => refused(error),
                other => panic!("{other:?}"),
            }
            assert_eq!(inbox.len(), 1, "it stays");
        }
        let mut enough = vec![0; 100];
        assert_eq!(inbox.try_recv_into(&mut enough[..]), Ok(100));
        assert_eq!(enough, sent);
        assert!(inbox.is_empty());
        // The place is whole: the ring goes on.
        for at in 0..2 * row.n() {
            out.try_send(&pattern(9, at)).expect("a free place");
            assert_eq!(inbox.try_recv(), Ok(pattern(9, at)));
        }
    });
}
