//! Messages that nobody wants: rejected, delivered too often, no messages at all. To the dead letters, or away.

use std::time::Duration;

use tubepost::{Error, Mailbox, Receiver, RecvError, Sender, TryRecvError};

use crate::letters::pattern;
use crate::rows::{Owned, Row, on_every_row_with_room, open, receive};
use crate::stage::{Child, PATIENCE, Place, eventually};

/// In line, in a chunk, in a long one.
const LENGTHS: [usize; 4] = [0, 100, 700, 100_000];

/// A receiver of the row's mailbox that delivers again so often, and its dead letters, if it has such.
fn worker(
    row: &Row,
    place: &Place,
    most: Option<u32>,
    dead: Option<u64>,
) -> (Receiver<[u8]>, Option<Receiver<[u8]>>) {
    let dead = dead.map(|places| {
        let options = Mailbox::<[u8]>::options().domain(place.domain()).bounded(places);
        options.create("dead").expect("a free name");
        receive(place, "dead")
    });
    let inbox = match row.owned {
        Owned::ByProcess => {
            let options = row.options::<[u8]>(place.domain());
            let options = most.into_iter().fold(options, |options, most| options.max_redeliveries(most));
            let options = dead.iter().fold(options, |options, _| options.dead_letter("dead"));
            options.own("box").expect("a free name")
        }
        Owned::BySystem => {
            row.options::<[u8]>(place.domain()).create("box").expect("a free name");
            let options = Receiver::<[u8]>::options().domain(place.domain());
            let options = most.into_iter().fold(options, |options, most| options.max_redeliveries(most));
            let options = dead.iter().fold(options, |options, _| options.dead_letter("dead"));
            options.open("box").expect("it exists")
        }
    };
    (inbox, dead)
}

/// What the mailbox has: waiting, held, moved and discarded.
fn counts(place: &Place) -> (u64, u64, u64, u64) {
    let stat = place.domain().stat("box").expect("it lives");
    assert_eq!(stat.sent, stat.received + stat.depth + stat.held);
    (stat.depth, stat.held, stat.dead_letters, stat.discarded)
}

#[test]
fn rejected_never_comes_again() {
    on_every_row_with_room(|row| {
        for letters in [None, Some(8)] {
            let place = Place::new();
            let (inbox, dead) = worker(row, &place, None, letters);
            let out = open::<[u8]>(&place, "box");
            for (round, length) in (1..).zip(LENGTHS) {
                let sent = pattern(length, round);
                out.try_send(&sent).expect("a free place");
                inbox.take().expect("a message").reject().expect("it is in hand");
                assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
                match &dead {
                    Some(dead) => assert_eq!(dead.try_recv(), Ok(sent)),
                    None => assert_eq!(counts(&place), (0, 0, 0, round)),
                }
            }
            let moved = if letters.is_some() { (0, 0, 4, 0) } else { (0, 0, 0, 4) };
            assert_eq!(counts(&place), moved);
        }
    });
}

#[test]
fn n_redeliveries_are_n_plus_one_deliveries() {
    on_every_row_with_room(|row| {
        for (most, letters) in [(0, None), (1, Some(8)), (3, None), (3, Some(8))] {
            let place = Place::new();
            let (inbox, dead) = worker(row, &place, Some(most), letters);
            let out = open::<[u8]>(&place, "box");
            for length in LENGTHS {
                let sent = pattern(length, 5);
                out.try_send(&sent).expect("a free place");
                for before in 0..=most {
                    let delivery = inbox.try_take().expect("it comes again");
                    assert_eq!(delivery.redelivered(), before);
                    assert!(*delivery == sent[..]);
                }
                // By whatever way one receives.
                out.try_send(b"another").expect("a free place");
                assert_eq!(inbox.try_recv().as_deref(), Ok(&b"another"[..]));
                assert!(inbox.try_take().is_err() && inbox.try_recv_envelope().is_err());
                if let Some(dead) = &dead {
                    assert_eq!(dead.try_recv(), Ok(sent));
                    assert!(dead.try_recv().is_err(), "once");
                }
            }
            let moved = if letters.is_some() { (0, 0, 4, 0) } else { (0, 0, 0, 4) };
            assert_eq!(counts(&place), moved);
        }
    });
}

/// They wait for room there, and nobody waits for them.
#[test]
fn full_dead_letters_block_nobody() {
    on_every_row_with_room(|row| {
        if row.n() != 7 && row.n() != 10 {
            return; // each letter waits for its turn, a second
        }
        let place = Place::new();
        let (inbox, dead) = worker(row, &place, Some(0), Some(1));
        let dead = dead.expect("just made");
        let out = open::<[u8]>(&place, "box");
        open::<[u8]>(&place, "dead").try_send(b"full").expect("one place");
        for (at, length) in (0..).zip(LENGTHS) {
            out.try_send(&pattern(length, at)).expect("a free place");
            let delivery = inbox.take().expect("a message");
            if at % 2 == 0 {
                drop(delivery)
            } else {
                delivery.reject().expect("it is in hand")
            }
            assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
        }
        assert_eq!(counts(&place), (4, 0, 0, 0));
        // All places are free, and the rest goes on.
        for lap in 0..2 * row.n() {
            out.try_send(&pattern(300, lap)).expect("a free place");
            assert_eq!(inbox.try_recv(), Ok(pattern(300, lap)));
        }
        assert!(inbox.take_timeout(Duration::from_millis(20)).is_err(), "not delivered here");
        assert_eq!(dead.try_recv().as_deref(), Ok(&b"full"[..]));
        // As room comes they go there, in whatever order, while somebody waits.
        let mut came: Vec<Vec<u8>> = Vec::new();
        eventually("all were moved", || {
            assert!(inbox.recv_timeout(Duration::from_millis(10)).is_err(), "not delivered here");
            came.extend(dead.try_recv());
            came.len() == LENGTHS.len()
        });
        came.sort_unstable_by_key(Vec::len);
        for (at, length) in (0..).zip(LENGTHS) {
            assert!(came[at as usize] == pattern(length, at));
        }
        assert_eq!(counts(&place), (0, 0, 4, 0));
    });
}

/// Who has no such rule gets what came back often, but never what was rejected.
#[test]
fn the_rules_are_each_receivers_own() {
    let place = Place::new();
    Mailbox::<[u8]>::options().domain(place.domain()).create("box").expect("a free name");
    Mailbox::<[u8]>::options().domain(place.domain()).bounded(1).create("dead").expect("a free name");
    let options = Receiver::<[u8]>::options().domain(place.domain());
    let strict = options.clone().max_redeliveries(0).dead_letter("dead").open("box").expect("it exists");
    let lenient = options.open("box").expect("it exists");
    let out = open::<[u8]>(&place, "box");
    open::<[u8]>(&place, "dead").try_send(b"full").expect("one place");
    out.try_send(&pattern(700, 1)).expect("a free place");
    out.try_send(&pattern(700, 2)).expect("a free place");
    drop(strict.take().expect("a message"));
    assert!(strict.take().expect("the other one").reject().is_ok());
    assert!(strict.try_recv().is_err());
    let again = lenient.recv_envelope_timeout(PATIENCE).expect("it came back");
    assert!(again.message == pattern(700, 1));
    assert!(lenient.recv_timeout(Duration::from_millis(20)).is_err(), "rejected is rejected");
}

/// Each worker dies with it: the next one has it, until nobody has.
#[test]
fn what_kills_its_workers_is_put_away() {
    let place = Place::new();
    let row = Row { owned: Owned::BySystem, ..crate::rows::ROWS[0] };
    let (inbox, dead) = worker(&row, &place, Some(2), Some(8));
    let out = open::<[u8]>(&place, "box");
    for length in LENGTHS {
        out.try_send(&pattern(length, 1)).expect("a free place");
        for before in 0..3 {
            let mut victim = Child::start("late holder", &[&place.arg(), "box", "3600000"]);
            victim.expect("ready");
            assert_eq!(victim.ask("take"), format!("{length} {before}"));
            victim.kill();
        }
        assert!(inbox.recv_timeout(Duration::from_millis(1500)).is_err(), "delivered a fourth time");
        assert_eq!(dead.as_ref().expect("just made").try_recv(), Ok(pattern(length, 1)));
    }
    assert_eq!(counts(&place), (0, 0, 4, 0));
}

#[test]
fn what_is_no_text_goes_there_too() {
    on_every_row_with_room(|row| {
        let place = Place::new();
        Mailbox::<str>::options().domain(place.domain()).create("dead").expect("a free name");
        let inbox: Receiver<str> = match row.owned {
            Owned::ByProcess => {
                row.options(place.domain()).dead_letter("dead").own("box").expect("a free name")
            }
            Owned::BySystem => {
                row.options::<str>(place.domain()).create("box").expect("a free name");
                Receiver::options().domain(place.domain()).dead_letter("dead").open("box").expect("it exists")
            }
        };
        let out =
            Sender::<[u8]>::options().domain(place.domain()).format("str").open("box").expect("it exists");
        let dead =
            Receiver::<[u8]>::options().domain(place.domain()).format("str").open("dead").expect("it exists");
        for length in [3, 700, 100_000] {
            for take in [false, true] {
                let bytes = vec![0xFF; length];
                out.try_send(&bytes).expect("a free place");
                out.send_timeout(b"text", Duration::from_millis(1)).ok();
                let error = if take {
                    inbox.take().map(drop).unwrap_err()
                } else {
                    inbox.recv().map(drop).unwrap_err()
                };
                assert_eq!(error, RecvError::Failed(Error::BadText));
                assert_eq!(dead.try_recv(), Ok(bytes));
                let _ = inbox.try_recv();
                assert!(inbox.is_empty());
            }
        }
        assert_eq!(counts(&place).2, 6);
    });
}

#[test]
fn dead_letters_are_looked_at_when_the_receiver_is_opened() {
    on_every_row_with_room(|row| {
        let place = Place::new();
        let domain = place.domain();
        if row.owned == Owned::BySystem {
            row.options::<[u8]>(domain).create("box").expect("a free name");
        }
        let open = |name: &str| match row.owned {
            Owned::ByProcess => row.options::<[u8]>(domain).dead_letter(name).own("box"),
            Owned::BySystem => Receiver::<[u8]>::options().domain(domain).dead_letter(name).open("box"),
        };
        let options = Mailbox::<[u8]>::options().domain(domain);
        options.clone().format("else").create("else").expect("a free name");
        options.clone().max_message(1000).create("short").expect("a free name");
        options.create("dead").expect("a free name");
        assert!(matches!(open("nobody"), Err(Error::NoSuchName { name, .. }) if name == "nobody"));
        assert!(matches!(open("a//b"), Err(Error::BadName { .. })));
        assert!(matches!(open("else"), Err(Error::WrongFormat { name, .. }) if name == "else"));
        assert!(matches!(open("short"), Err(Error::BadOption { what: "the dead letters", .. })));
        assert!(matches!(open("box"), Err(Error::BadOption { what: "the dead letters", .. })));
        let inbox = open("dead").expect("as it should be");
        // Removed and made again it is found again.
        let out = crate::rows::open::<[u8]>(&place, "box");
        for _ in 0..2 {
            out.try_send(b"x").expect("a free place");
            inbox.take().expect("a message").reject().expect("it is in hand");
            assert_eq!(domain.remove("dead").expect("ours").uncollected, 1);
            Mailbox::<[u8]>::options().domain(domain).create("dead").expect("a free name");
        }
        assert_eq!(counts(&place), (0, 0, 2, 0));
    });
}
