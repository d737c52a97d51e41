//! A stopped process is not a dead one (P2): nothing closes, nothing is lost, and others go on.

use std::time::Duration;

use tubepost::{Domain, SendTimeoutError, Sender, TrySendError};

use crate::cast::{A_MOMENT, start_owner};
use crate::letters::Stamp;
use crate::order::Ledger;
use crate::rows::{on_every_row, on_every_row_of_a_process_with_room, on_every_row_with_room, open};
use crate::stage::{Child, Cue, Dice, PATIENCE, Place, Role, spin_for};

pub const ROLES: &[Role] = &[("river", river)];

#[test]
fn a_stopped_owner_closes_nothing() {
    // Not where nothing waits: it sends first and receives later, see `rendezvous`.
    on_every_row_of_a_process_with_room(|row| {
        let place = Place::new();
        let mut owner = start_owner(&place, "box", row);
        let out = open::<u64>(&place, "box");
        owner.stop();
        for at in 0..row.n() {
            assert_eq!(out.try_send(at), Ok(()), "a stopped owner's mailbox takes n");
        }
        if row.is_limited("a_stopped_owner_closes_nothing: one more than fit") {
            assert_eq!(out.try_send(7), Err(TrySendError::Full(7)));
            assert_eq!(out.send_timeout(7, A_MOMENT), Err(SendTimeoutError::Timeout(7)));
        }
        assert_eq!(out.closed_timeout(A_MOMENT), Ok(None));
        assert!(!out.is_closed());
        assert!(place.domain().stat("box").expect("it exists").owner.alive);
        assert!(
            tubepost::Sender::<u64>::options().domain(place.domain()).open("box").is_ok(),
            "it can be opened"
        );
        match row.options::<u64>(place.domain()).own("box") {
            Err(tubepost::Error::Owned { .. }) => {}
            other => panic!("the name of a stopped owner is taken: {:?}", other.map(|_| ())),
        }
        assert!(place.domain().gc().expect("our own domain").removed.is_empty());
        owner.go_on();
        let all: Vec<String> = (0..row.n()).map(|at| at.to_string()).collect();
        assert_eq!(owner.ask(format!("take {}", row.n())), format!("took {}", all.join(" ")));
        assert_eq!(out.send_timeout(8, PATIENCE), Ok(()));
        assert_eq!(owner.ask("take 1"), "took 8");
    });
}

/// The owner is stopped at random moments of a stream: nothing is lost, doubled or out of order.
#[test]
fn an_owner_stopped_at_random_moments_loses_nothing() {
    on_every_row(|row| {
        let place = Place::new();
        let mut owner = start_owner(&place, "box", row);
        let out = open::<u64>(&place, "box");
        let mut dice = Dice::new(row.n());
        let count = 3_000;
        owner.say(format!("take {count}"));
        let sender =
            std::thread::spawn(move || (0..count).for_each(|at| out.send(at).expect("the owner lives")));
        while !sender.is_finished() {
            spin_for(Duration::from_micros(dice.below(400)));
            owner.stop();
            // Waits for nothing: so long it shall stand still.
            std::thread::sleep(Duration::from_micros(dice.below(400)));
            owner.go_on();
        }
        sender.join().expect("all were sent");
        let all: Vec<String> = (0..count).map(|at| at.to_string()).collect();
        owner.expect(&format!("took {}", all.join(" ")));
    });
}

/// Sends stamps until told to stop; the arguments are domain and name.
fn river(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let out = Sender::<Stamp>::options().domain(&domain).open(cue.arg(1)).expect("it exists");
    let enough = std::sync::atomic::AtomicBool::new(false);
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    cue.say("ready");
    let mut count = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(cue.hear(), "enough");
            enough.store(true, relaxed);
        });
        while !enough.load(relaxed) {
            out.send(Stamp::new(std::process::id(), 0, count)).expect("the owner lives");
            count += 1;
        }
    });
    cue.say(count);
}

/// A sender is stopped at random moments. Stopped between claim and publication it holds back what is behind
/// it, as stated; then the others' deadlines still work. Everywhere else the others go on; at the end
/// everything has arrived, in order, once.
#[test]
fn a_stopped_sender_holds_up_others_hardly_ever() {
    const STOPS: u64 = 25;
    // Not where nothing waits: one thread can't send and receive.
    on_every_row_with_room(|row| {
        let place = Place::new();
        let inbox = row.own::<Stamp>(&place, "box");
        let own = open::<Stamp>(&place, "box");
        let mut river = Child::start("river", &[&place.arg(), "box"]);
        river.expect("ready");
        let mut ledger = Ledger::default();
        let (mut dice, mut held_up, mut sent) = (Dice::new(row.n()), 0, 0);
        for _ in 0..STOPS {
            for _ in 0..dice.below(300) {
                ledger.enter(&inbox.recv_timeout(PATIENCE).expect("a message soon"));
            }
            spin_for(Duration::from_micros(dice.below(50)));
            river.stop();
            // What it published is taken; then ours goes through, unless the stopped one holds a place before it.
            loop {
                match inbox.try_recv() {
                    Ok(stamp) => ledger.enter(&stamp),
                    Err(error) if error.is_empty() => break,
                    Err(error) => panic!("{error}"),
                }
            }
            match own.send_timeout(Stamp::new(1, 0, sent), A_MOMENT) {
                Ok(()) => {
                    sent += 1;
                    match inbox.recv_timeout(A_MOMENT) {
                        Ok(stamp) => ledger.enter(&stamp),
                        Err(error) if error.is_timeout() => held_up += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
                Err(SendTimeoutError::Timeout(_)) => held_up += 1,
                Err(error) => panic!("{error}"),
            }
            river.go_on();
        }
        // The river goes on until it hears us; the mailbox must not stay full meanwhile.
        river.say("enough");
        let total: u64 = loop {
            if let Some(line) = river.hear_now() {
                break line.parse().expect("a number");
            }
            if let Ok(stamp) = inbox.recv_timeout(A_MOMENT) {
                ledger.enter(&stamp);
            }
        };
        while let Ok(stamp) = inbox.try_recv() {
            ledger.enter(&stamp);
        }
        assert_eq!(ledger.from(river.pid()), total, "all of the stopped one's");
        assert_eq!(ledger.from(1), sent, "all of ours");
        println!("{row}: held up in {held_up} of {STOPS} stops");
        assert!(held_up * 2 < STOPS, "held up in {held_up} of {STOPS} stops");
    });
}
