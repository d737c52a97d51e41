//! Exactly n messages wait, never more, never fewer, over any number of laps (P9).

use tubepost::TrySendError;

use crate::rows::{on_every_row, on_every_row_with_room, open};
use crate::stage::{Dice, Place};

#[test]
fn exactly_n() {
    on_every_row(|row| {
        if !row.is_limited("exactly_n") {
            return;
        }
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "n");
        let out = open::<u64>(&place, "n");
        let n = row.n();
        for at in 0..n {
            assert_eq!(out.try_send(at), Ok(()), "place {at} of {n} is free");
        }
        assert_eq!(out.try_send(77), Err(TrySendError::Full(77)), "the one beyond n");
        assert_eq!(inbox.try_recv(), Ok(0));
        assert_eq!(out.try_send(n), Ok(()), "a place for the one that left");
        assert_eq!(out.try_send(77), Err(TrySendError::Full(77)), "and for one only");
        for at in 1..=n {
            assert_eq!(inbox.try_recv(), Ok(at));
        }
        assert!(inbox.try_recv().is_err_and(|error| error.is_empty()));
    });
}

/// A second sender finds the same places taken; each has its own idea of where the end is.
#[test]
fn exactly_n_from_two_senders() {
    on_every_row(|row| {
        if !row.shares_places("exactly_n_from_two_senders") || !row.is_limited("exactly_n_from_two_senders") {
            return;
        }
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "n");
        let outs = [open::<u64>(&place, "n"), open::<u64>(&place, "n")];
        for lap in 0..5 {
            for at in 0..row.n() {
                assert_eq!(outs[((at + lap) % 2) as usize].try_send(at), Ok(()));
            }
            for out in &outs {
                assert_eq!(out.try_send(77), Err(TrySendError::Full(77)));
            }
            for at in 0..row.n() {
                assert_eq!(inbox.try_recv(), Ok(at), "lap {lap}");
            }
        }
    });
}

/// Positions are not indices: n that is no power of two must not show, however often the ring goes round.
#[test]
fn many_laps_at_every_fill() {
    // Not where nothing waits: it sends first and receives later.
    on_every_row_with_room(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "laps");
        let out = open::<u64>(&place, "laps");
        let (mut sent, mut received) = (0, 0);
        let mut dice = Dice::new(row.n());
        let laps = if row.n() > 100 { 20 } else { 300 };
        let limit = row.capacity().unwrap_or(u64::MAX);
        while received < laps * row.n() {
            for _ in 0..dice.below(row.n() + 1) {
                match out.try_send(sent) {
                    Ok(()) => sent += 1,
                    Err(error) => {
                        assert_eq!(error, TrySendError::Full(sent));
                        assert_eq!(sent - received, limit, "full means full");
                    }
                }
            }
            for _ in 0..dice.below(row.n() + 1) {
                match inbox.try_recv() {
                    Ok(message) => {
                        assert_eq!(message, received);
                        received += 1;
                    }
                    Err(error) => {
                        assert!(error.is_empty(), "{error}");
                        assert_eq!(sent, received, "empty means empty");
                    }
                }
            }
            assert_eq!(inbox.len() as u64, sent - received);
        }
    });
}

#[test]
fn len_and_its_kin() {
    on_every_row(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "len");
        let out = open::<u64>(&place, "len");
        let n = row.n() as usize;
        let both = |len: usize| {
            assert_eq!((inbox.len(), out.len()), (len, len));
            assert_eq!((inbox.is_empty(), out.is_empty()), (len == 0, len == 0), "is_empty at {len}");
            let capacity = row.capacity().map(|n| n as usize);
            let full = capacity == Some(len);
            assert_eq!((inbox.is_full(), out.is_full()), (full, full), "is_full at {len}");
            assert_eq!((inbox.capacity(), out.capacity()), (capacity, capacity));
        };
        both(0);
        for at in 0..n {
            out.try_send(at as u64).expect("a free place");
            both(at + 1);
        }
        if row.is_limited("len_and_its_kin: one more than fit") {
            assert!(out.try_send(0).is_err());
        }
        both(n);
        for left in (0..n).rev() {
            inbox.try_recv().expect("a message");
            both(left);
        }
        assert!(inbox.try_recv().is_err());
        both(0);
    });
}

#[test]
fn the_default_is_1024() {
    let place = Place::new();
    let inbox =
        tubepost::Mailbox::<u64>::options().domain(place.domain()).own("default").expect("a free name");
    assert_eq!(inbox.capacity(), Some(1024));
}
