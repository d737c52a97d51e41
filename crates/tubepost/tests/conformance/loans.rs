//! Loans: messages that are written, and read, where they are.

use std::future::Future;
use std::os::unix::fs::MetadataExt;
use std::task::{Context, Waker};
use std::time::Duration;

use tubepost::{Domain, Error, Fate, Loan, Mailbox, SendCollectedError, Sender, TryRecvError, TrySendError};

use crate::executors::{Executor, on_every_executor};
use crate::letters::pattern;
use crate::rows::{Owned, needless, on_every_row, on_every_row_with_room, on_every_row_without_room, open};
use crate::stage::{Child, Cue, PATIENCE, Place, Role, thread_id, until_asleep};

pub const ROLES: &[Role] = &[("loaner", loaner)];

/// Takes a loan when told its length, and keeps it; the arguments are domain and name.
fn loaner(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let out = Sender::<[u8]>::options().domain(&domain).open(cue.arg(1)).expect("it exists");
    let mut all = Vec::new();
    loop {
        let length = cue.hear().parse().expect("a length");
        let loan = out.loan(length);
        cue.say(if loan.is_ok() { "ok" } else { "refused" });
        all.extend(loan);
    }
}

fn fill(mut loan: Loan<[u8]>, seed: u64) -> Loan<[u8]> {
    let length = loan.len();
    loan.copy_from_slice(&pattern(length, seed));
    loan
}

/// Whether this address is in the mailbox's own memory, and not in the process's.
fn is_shared<T: ?Sized>(place: &Place, at: &T) -> bool {
    let at = std::ptr::from_ref(at).cast::<u8>() as usize;
    let inode = std::fs::metadata(place.file("box")).expect("it is there").ino().to_string();
    let maps = std::fs::read_to_string("/proc/self/maps").expect("proc");
    maps.lines().filter(|line| line.split_whitespace().nth(4) == Some(&inode)).any(|line| {
        let (from, to) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
        let number = |hex| usize::from_str_radix(hex, 16).expect("an address");
        (number(from)..number(to)).contains(&at)
    })
}

#[test]
fn what_is_written_is_what_is_read() {
    on_every_row_with_room(|row| {
        let shares = row.shares_memory("what_is_written_is_what_is_read: where a loan is");
        let place = Place::new();
        let inbox = row.own::<[u8]>(&place, "box");
        let out = open::<[u8]>(&place, "box");
        for (seed, length) in [0, 1, 24, 240, 241, 4096, 5000, 100_000, 1 << 20].into_iter().enumerate() {
            for way in 0..3 {
                let loan = fill(out.loan(length).expect("there is memory"), seed as u64);
                assert!(is_shared(&place, &*loan) == shares || length == 0);
                loan.try_send().expect("a free place");
                assert_eq!(inbox.len(), 1);
                match way {
                    0 => assert!(inbox.try_recv().expect("a message") == pattern(length, seed as u64)),
                    1 => {
                        let mut buffer = vec![0; length];
                        assert_eq!(inbox.try_recv_into(&mut buffer[..]).expect("a message"), length);
                        assert!(buffer == pattern(length, seed as u64));
                    }
                    _ => {
                        let delivery = inbox.try_take().expect("a message");
                        assert!(*delivery == pattern(length, seed as u64)[..]);
                        assert!(is_shared(&place, &*delivery) == shares || length == 0, "it was copied");
                        assert_eq!(delivery.sender().pid, std::process::id());
                        delivery.accept().expect("it is in hand");
                    }
                }
            }
        }
        // Among others, in one order; also when the sender that lent them is gone.
        let loans: Vec<_> = (0..3).map(|at| fill(out.loan(700).expect("there is memory"), at)).collect();
        drop(out);
        let out = open::<[u8]>(&place, "box");
        for (at, loan) in loans.into_iter().enumerate() {
            loan.send_timeout(PATIENCE).expect("a free place");
            assert!(inbox.recv().expect("a message") == pattern(700, at as u64));
            out.send(b"between").expect("a free place");
            assert_eq!(inbox.recv().as_deref(), Ok(&b"between"[..]));
        }
        place.domain().gc().expect("our own domain");
        let stat = place.domain().stat("box").expect("it lives");
        assert_eq!((stat.depth, stat.held, needless(&stat)), (0, 0, 0));
    });
}

#[test]
fn plain_types_small_and_large() {
    on_every_row_with_room(|row| {
        let shares = row.shares_memory("plain_types_small_and_large: where a loan is");
        let place = Place::new();
        let inbox = row.own::<[u64; 3]>(&place, "box");
        let out = open::<[u64; 3]>(&place, "box");
        let mut loan = out.loan().expect("there is memory");
        assert_eq!(*loan, [0; 3]);
        *loan = [1, 2, 3];
        loan.send().expect("a free place");
        assert_eq!(inbox.recv(), Ok([1, 2, 3]));
        drop(out.loan().expect("there is memory"));
        assert!(inbox.is_empty());

        let place = Place::new();
        let inbox = row.own::<[u64; 131_072]>(&place, "box");
        let out = open::<[u64; 131_072]>(&place, "box");
        for round in 0..5 {
            let mut loan = out.loan().expect("there is memory");
            (loan[0], loan[131_071]) = (round, !round);
            assert!(is_shared(&place, &*loan) == shares);
            loan.send().expect("a free place");
            let delivery = inbox.take().expect("a message");
            assert_eq!((delivery[0], delivery[131_071]), (round, !round));
            assert!(is_shared(&place, &*delivery) == shares, "it was copied");
            delivery.accept().expect("it is in hand");
        }
    });
}

#[test]
fn tasks_send_what_they_were_lent() {
    on_every_row(|row| {
        let place = Place::new();
        let inbox = row.own::<[u8]>(&place, "box");
        let out = open::<[u8]>(&place, "box");
        on_every_executor(|executor| {
            for (seed, length) in [0, 1, 240, 5000, 100_000].into_iter().enumerate() {
                let loan = fill(out.loan(length).expect("there is memory"), seed as u64);
                let both = async { futures_util::join!(loan.send_async(), inbox.recv_async()) };
                let (sent, received) = executor.run(both);
                sent.expect("it was received");
                assert!(received.expect("it was sent") == pattern(length, seed as u64));
            }
        });
        // Dropped in the middle, also while it is offered, it was not sent, and its memory is free.
        if row.capacity().is_some() {
            let n = row.n();
            (0..n).for_each(|at| out.try_send(&pattern(9, at)).expect("a free place"));
            let mut sending = Box::pin(fill(out.loan(900).expect("there is memory"), 7).send_async());
            let mut context = Context::from_waker(Waker::noop());
            assert!(sending.as_mut().poll(&mut context).is_pending());
            drop(sending);
            (0..n).for_each(|at| assert_eq!(inbox.try_recv(), Ok(pattern(9, at))));
            assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
        }
        // Where the mailbox ends, the loan comes back whole.
        let loan = fill(out.loan(900).expect("there is memory"), 8);
        match row.owned {
            Owned::ByProcess => assert_eq!(inbox.close().expect("ours").uncollected, 0),
            Owned::BySystem => assert_eq!(place.domain().remove("box").expect("ours").uncollected, 0),
        }
        let error = Executor::Plain.run(loan.send_async()).expect_err("it is closed");
        assert!(error.is_closed());
        let loan = error.into_inner();
        assert!(*loan == pattern(900, 8)[..]);
        drop(loan);
    });
}

#[test]
fn a_loan_offered_in_vain_is_its_senders_again() {
    on_every_row_without_room(|row| {
        let place = Place::new();
        let inbox = row.own::<[u8]>(&place, "box");
        let out = open::<[u8]>(&place, "box");
        let mut sending = Box::pin(fill(out.loan(900).expect("there is memory"), 7).send_async());
        assert!(sending.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        match row.owned {
            Owned::ByProcess => assert_eq!(inbox.close().expect("ours").uncollected, 0),
            Owned::BySystem => assert_eq!(place.domain().remove("box").expect("ours").uncollected, 0),
        }
        let error = Executor::Plain.run(sending).expect_err("nobody took it");
        assert!(error.is_closed() && *error.into_inner() == pattern(900, 7)[..]);
    });
}

#[test]
fn an_unsent_loan_comes_back_whole() {
    on_every_row_with_room(|row| {
        if !row.is_limited("an_unsent_loan_comes_back_whole") {
            return;
        }
        let place = Place::new();
        let inbox = row.own::<[u8]>(&place, "box");
        let out = open::<[u8]>(&place, "box");
        for at in 0..row.n() {
            out.try_send(&pattern(9, at)).expect("a free place");
        }
        let loan = fill(out.loan(900).expect("there is memory"), 7);
        let Err(TrySendError::Full(loan)) = loan.try_send() else { panic!("it is full") };
        let error = loan.send_timeout(Duration::from_millis(1)).expect_err("it is full");
        assert!(error.is_timeout());
        let error =
            error.into_inner().send_collected_timeout(Duration::from_millis(1)).expect_err("it is full");
        let loan = error.into_inner();
        assert!(*loan == pattern(900, 7)[..]);
        for at in 0..row.n() {
            assert_eq!(inbox.try_recv(), Ok(pattern(9, at)));
        }
        // Sent, withdrawn, and sent again.
        let error = loan.send_collected_timeout(Duration::from_millis(1)).expect_err("nobody receives");
        assert!(error.is_timeout() && inbox.is_empty());
        let mut loan = error.into_inner();
        assert!(*loan == pattern(900, 7)[..]);
        loan[0] = 1;
        std::thread::scope(|scope| {
            let receiver = scope.spawn(|| inbox.recv().expect("a message"));
            loan.send_collected().expect("it lives");
            assert_eq!(receiver.join().expect("no panic")[0], 1);
        });
        let loan = fill(out.loan(900).expect("there is memory"), 8);
        match row.owned {
            Owned::ByProcess => assert_eq!(inbox.close().expect("ours").uncollected, 0),
            Owned::BySystem => assert_eq!(place.domain().remove("box").expect("ours").uncollected, 0),
        }
        let error = loan.send().expect_err("it is closed");
        assert!(error.is_closed());
        assert!(*error.into_inner() == pattern(900, 8)[..]);
        assert!(matches!(out.loan(1), Err(Error::Closed(_))));
    });
}

#[test]
fn closed_while_it_waits_to_be_collected() {
    on_every_row_with_room(|row| {
        let place = Place::new();
        let inbox = row.own::<[u8]>(&place, "box");
        let out = open::<[u8]>(&place, "box");
        let loan = fill(out.loan(900).expect("there is memory"), 7);
        let error = std::thread::scope(|scope| {
            let (sayer, who) = std::sync::mpsc::channel();
            let waiting = scope.spawn(move || {
                sayer.send(thread_id()).expect("the test listens");
                loan.send_collected().expect_err("it is closed")
            });
            until_asleep(std::process::id(), who.recv().expect("it says who it is"));
            assert_eq!(inbox.len(), 1);
            let closed = match row.owned {
                Owned::ByProcess => inbox.close().expect("ours"),
                Owned::BySystem => place.domain().remove("box").expect("ours"),
            };
            assert_eq!(closed.uncollected, 1);
            waiting.join().expect("no panic")
        });
        let SendCollectedError::Closed(loan, closed, fate) = error else { panic!("{error:?}") };
        assert_eq!((closed.uncollected, fate), (1, Fate::NotCollected));
        assert!(*loan == pattern(900, 7)[..]);
    });
}

#[test]
fn limits_are_those_of_messages() {
    on_every_row_with_room(|row| {
        if !row.shares_memory("limits_are_those_of_messages") {
            return;
        }
        if !row.is_limited("limits_are_those_of_messages") {
            return;
        }
        let place = Place::new();
        let options = row.options::<[u8]>(place.domain()).max_message(100_000).ceiling(131_072);
        let _inbox = row.receiver(options, &place, "box");
        let out = open::<[u8]>(&place, "box");
        match out.loan(100_001) {
            Err(Error::TooLong { length, max }) => assert_eq!((length, max), (100_001, 100_000)),
            other => panic!("{other:?}"),
        }
        let first = out.loan(100_000).expect("there is memory for one");
        assert!(matches!(out.loan(100_000), Err(Error::AtCeiling { .. })));
        drop(first);
        for _ in 0..100 {
            drop(out.loan(100_000).expect("what is dropped is free"));
        }
    });
}

/// It was called the ceiling, of which there was plenty.
#[test]
fn what_is_short_is_said() {
    let place = Place::new();
    let options = Mailbox::<[u8]>::options().domain(place.domain()).bounded(4).max_message(8192);
    let _inbox = options.own("box").expect("a free name");
    let out = open::<[u8]>(&place, "box");
    let mut lent = Vec::new();
    let error = loop {
        match out.loan(5000) {
            Ok(loan) => lent.push(loan),
            Err(error) => break error,
        }
    };
    let max = lent.len() as u64;
    assert_eq!(error, Error::TooManyMessages { length: 5000, longest: 8192, max });
    for number in [5000, 8192, max] {
        assert!(error.to_string().contains(&number.to_string()), "{error}");
    }
    lent.pop();
    drop(out.loan(5000).expect("there is one again"));
}

#[test]
fn what_was_lent_to_the_dead_comes_back() {
    on_every_row_with_room(|row| {
        if !row.shares_memory("what_was_lent_to_the_dead_comes_back") {
            return;
        }
        if !row.is_limited("what_was_lent_to_the_dead_comes_back") {
            return;
        }
        let place = Place::new();
        let options = row.options::<[u8]>(place.domain()).max_message(100_000).ceiling(131_072);
        let inbox = row.receiver(options, &place, "box");
        let out = open::<[u8]>(&place, "box");
        for _ in 0..3 {
            let mut loaner = Child::start("loaner", &[&place.arg(), "box"]);
            assert_eq!(loaner.ask("100000"), "ok");
            assert!(matches!(out.loan(100_000), Err(Error::AtCeiling { .. })));
            loaner.stop();
            assert!(matches!(out.loan(100_000), Err(Error::AtCeiling { .. })), "stopped is not dead");
            loaner.kill();
            let loan = fill(out.loan(100_000).expect("the dead have nothing"), 1);
            loan.try_send().expect("a free place");
            assert!(inbox.try_recv().expect("a message") == pattern(100_000, 1));
        }
        let mut loaner = Child::start("loaner", &[&place.arg(), "box"]);
        assert_eq!(loaner.ask("100000"), "ok");
        loaner.kill();
        place.domain().gc().expect("our own domain");
        assert_eq!(place.domain().stat("box").expect("it lives").chunk_bytes, 0);
    });
}

/// Where other users' processes may write, what is read is a copy.
#[test]
fn what_others_may_write_is_copied() {
    let place = Place::new();
    Mailbox::<[u8]>::options().domain(place.domain()).mode(0o660).create("box").expect("a free name");
    let inbox = crate::rows::receive::<[u8]>(&place, "box");
    let out = open::<[u8]>(&place, "box");
    fill(out.loan(100_000).expect("there is memory"), 1).send().expect("a free place");
    let delivery = inbox.take().expect("a message");
    assert!(*delivery == pattern(100_000, 1)[..] && !is_shared(&place, &*delivery));
    delivery.accept().expect("it is in hand");
}
