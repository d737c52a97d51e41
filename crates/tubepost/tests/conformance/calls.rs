//! The calls mean what they mean in crossbeam-channel (P6): `try_` never waits, a deadline in the past still
//! tries once, what could not be sent comes back, and every wait ends when what it waits for comes.

use std::time::{Duration, Instant};

use tubepost::{Receiver, RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};

use crate::cast::{A_MOMENT, outcome, set_waiting, start_owner, start_user};
use crate::rows::{Row, on_every_row, on_every_row_of_a_process, on_every_row_with_room, open};
use crate::stage::{PATIENCE, Place, thread_id, until_asleep};

fn fill(row: &Row, out: &tubepost::Sender<u64>) {
    (0..row.n()).for_each(|at| out.try_send(at).expect("a free place"));
}

fn long_ago() -> Instant {
    Instant::now().checked_sub(Duration::from_secs(1)).expect("the machine runs for longer than that")
}

#[test]
fn a_full_mailbox_hands_the_message_back() {
    on_every_row(|row| {
        if !row.is_limited("a_full_mailbox_hands_the_message_back") {
            return;
        }
        let place = Place::new();
        let _inbox = row.own::<u64>(&place, "calls");
        let out = open::<u64>(&place, "calls");
        fill(row, &out);
        let full = out.try_send(5).expect_err("it is full");
        assert_eq!(full, TrySendError::Full(5));
        assert!(full.is_full() && !full.is_closed() && !full.is_disconnected());
        assert_eq!(full.into_inner(), 5);
        let timeout = out.send_timeout(6, Duration::ZERO).expect_err("it is full");
        assert_eq!(timeout, SendTimeoutError::Timeout(6));
        assert!(timeout.is_timeout() && !timeout.is_closed() && !timeout.is_disconnected());
        assert_eq!(timeout.into_inner(), 6);
        assert_eq!(out.send_deadline(7, long_ago()), Err(SendTimeoutError::Timeout(7)));
    });
}

#[test]
fn an_empty_mailbox_says_so() {
    on_every_row(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "calls");
        assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
        assert!(TryRecvError::Empty.is_empty() && !TryRecvError::Empty.is_closed());
        assert_eq!(inbox.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
        assert!(RecvTimeoutError::Timeout.is_timeout() && !RecvTimeoutError::Timeout.is_disconnected());
        assert_eq!(inbox.recv_deadline(long_ago()), Err(RecvTimeoutError::Timeout));
        let mut into = 9;
        assert_eq!(inbox.try_recv_into(&mut into), Err(TryRecvError::Empty));
        assert_eq!(inbox.recv_into_timeout(&mut into, Duration::ZERO), Err(RecvTimeoutError::Timeout));
        assert_eq!(inbox.recv_into_deadline(&mut into, long_ago()), Err(RecvTimeoutError::Timeout));
        assert_eq!(into, 9, "an untouched buffer");
        assert!(inbox.try_recv_envelope().is_err_and(|error| error.is_empty()));
        assert!(inbox.recv_envelope_timeout(Duration::ZERO).is_err_and(|error| error.is_timeout()));
        assert!(inbox.recv_envelope_deadline(long_ago()).is_err_and(|error| error.is_timeout()));
        assert_eq!(inbox.try_iter().next(), None);
    });
}

#[test]
fn a_past_deadline_still_tries_once() {
    // Not where nothing waits: it sends first and receives later.
    on_every_row_with_room(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "calls");
        let out = open::<u64>(&place, "calls");
        let mut into = 0;
        out.send_timeout(1, Duration::ZERO).expect("a free place");
        assert_eq!(inbox.recv_timeout(Duration::ZERO), Ok(1));
        out.send_deadline(2, long_ago()).expect("a free place");
        assert_eq!(inbox.recv_deadline(long_ago()), Ok(2));
        out.send_deadline(3, long_ago()).expect("a free place");
        assert_eq!(inbox.recv_into_timeout(&mut into, Duration::ZERO), Ok(8));
        out.send_deadline(4, long_ago()).expect("a free place");
        assert_eq!((into, inbox.recv_into_deadline(&mut into, long_ago())), (3, Ok(8)));
        assert_eq!(into, 4);
        out.send_deadline(5, long_ago()).expect("a free place");
        assert_eq!(inbox.recv_envelope_timeout(Duration::ZERO).expect("it was sent").message, 5);
        out.send_deadline(6, long_ago()).expect("a free place");
        assert_eq!(inbox.recv_envelope_deadline(long_ago()).expect("it was sent").message, 6);
    });
}

/// A wait lasts until its deadline, not less, and not much more.
#[test]
fn deadlines_are_kept() {
    on_every_row(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "calls");
        let out = open::<u64>(&place, "calls");
        let lasts = |what: &str, wait: &mut dyn FnMut()| {
            let start = Instant::now();
            wait();
            let took = start.elapsed();
            assert!(took >= A_MOMENT, "{what} gave up after {took:?}");
            assert!(took < A_MOMENT + Duration::from_secs(5), "{what} gave up after {took:?}");
        };
        lasts("recv_timeout", &mut || {
            assert_eq!(inbox.recv_timeout(A_MOMENT), Err(RecvTimeoutError::Timeout));
        });
        lasts("recv_deadline", &mut || {
            assert_eq!(inbox.recv_deadline(Instant::now() + A_MOMENT), Err(RecvTimeoutError::Timeout));
        });
        fill(row, &out);
        if row.is_limited("deadlines_are_kept: those of sends") {
            lasts("send_timeout", &mut || {
                assert_eq!(out.send_timeout(7, A_MOMENT), Err(SendTimeoutError::Timeout(7)));
            });
            lasts("send_deadline", &mut || {
                let deadline = Instant::now() + A_MOMENT;
                assert_eq!(out.send_deadline(7, deadline), Err(SendTimeoutError::Timeout(7)));
            });
        }
        lasts("closed_timeout", &mut || assert_eq!(out.closed_timeout(A_MOMENT), Ok(None)));
        lasts("closed_deadline", &mut || {
            assert_eq!(out.closed_deadline(Instant::now() + A_MOMENT), Ok(None))
        });
        assert!(!out.is_closed());
        assert_eq!(inbox.len() as u64, row.n(), "what timed out is not in there");
    });
}

/// As long as anybody can say is as good as no deadline.
#[test]
fn an_endless_timeout_is_no_error() {
    let place = Place::new();
    let inbox = crate::rows::ROWS[0].own::<u64>(&place, "calls");
    let out = open::<u64>(&place, "calls");
    assert_eq!(out.send_timeout(1, Duration::MAX), Ok(()));
    assert_eq!(inbox.recv_timeout(Duration::MAX), Ok(1));
    let waiter = {
        let inbox = inbox.clone();
        std::thread::spawn(move || inbox.recv_timeout(Duration::MAX))
    };
    out.send_timeout(2, Duration::MAX).expect("room soon");
    assert_eq!(waiter.join().expect("no panic"), Ok(2));
    let mut into = 0;
    out.send(3).expect("room");
    assert_eq!(inbox.recv_into_timeout(&mut into, Duration::MAX), Ok(8));
    let closed = inbox.close();
    assert_eq!(out.closed_timeout(Duration::MAX), closed.map(Some));
}

/// Each waiting call of the receiver is asleep when the message comes, and gets it.
#[test]
fn every_waiting_receive_wakes() {
    type Wait = (&'static str, fn(&Receiver<u64>) -> u64);
    const WAITS: &[Wait] = &[
        ("recv", |inbox| inbox.recv().expect("a message")),
        ("recv_timeout", |inbox| inbox.recv_timeout(PATIENCE).expect("a message")),
        ("recv_deadline", |inbox| inbox.recv_deadline(Instant::now() + PATIENCE).expect("a message")),
        ("recv_into", |inbox| into(|at| inbox.recv_into(at).is_ok())),
        ("recv_into_timeout", |inbox| into(|at| inbox.recv_into_timeout(at, PATIENCE).is_ok())),
        ("recv_into_deadline", |inbox| {
            into(|at| inbox.recv_into_deadline(at, Instant::now() + PATIENCE).is_ok())
        }),
        ("recv_envelope", |inbox| inbox.recv_envelope().expect("a message").message),
        ("recv_envelope_timeout", |inbox| inbox.recv_envelope_timeout(PATIENCE).expect("a message").message),
        ("recv_envelope_deadline", |inbox| {
            inbox.recv_envelope_deadline(Instant::now() + PATIENCE).expect("a message").message
        }),
        ("iter", |inbox| inbox.iter().next().expect("a message")),
    ];
    fn into(receive: impl FnOnce(&mut u64) -> bool) -> u64 {
        let mut at = 0;
        assert!(receive(&mut at), "a message");
        at
    }
    on_every_row(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "calls");
        let mut user = start_user(&place, "calls");
        for (at, (name, wait)) in WAITS.iter().enumerate() {
            let (tell, told) = std::sync::mpsc::channel();
            let waiter = {
                let inbox = inbox.clone();
                std::thread::spawn(move || {
                    tell.send(thread_id()).expect("the test listens");
                    wait(&inbox)
                })
            };
            until_asleep(std::process::id(), told.recv().expect("a thread"));
            assert_eq!(user.ask(format!("try {at}")), "ok");
            assert_eq!(waiter.join().expect("no panic"), at as u64, "{name}");
        }
    });
}

/// Senders in two processes sleep on a full mailbox; each place that becomes free lets one of them in.
#[test]
fn every_waiting_send_wakes() {
    on_every_row(|row| {
        if !row.is_limited("every_waiting_send_wakes") || !row.shares_places("every_waiting_send_wakes") {
            return;
        }
        let place = Place::new();
        let mut owner = start_owner(&place, "calls", row);
        let out = open::<u64>(&place, "calls");
        fill(row, &out);
        let (mut first, mut second) = (start_user(&place, "calls"), start_user(&place, "calls"));
        set_waiting(&mut first, "send 1000001");
        set_waiting(&mut second, "send_for 1000002");
        // All that were sent, the two who waited last and in any order.
        let taken = owner.ask(format!("take {}", row.n() + 2));
        let mut taken: Vec<u64> =
            taken.split_whitespace().skip(1).map(|it| it.parse().expect("a number")).collect();
        taken[row.n() as usize..].sort_unstable();
        let expected: Vec<u64> = (0..row.n()).chain([1_000_001, 1_000_002]).collect();
        assert_eq!(taken, expected);
        assert_eq!(outcome(&mut first).0, "ok");
        assert_eq!(outcome(&mut second).0, "ok");
    });
}

#[test]
fn try_iter_takes_what_is_there() {
    // Not where nothing waits: it sends first and receives later.
    on_every_row_with_room(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "calls");
        let out = open::<u64>(&place, "calls");
        fill(row, &out);
        assert_eq!(inbox.try_iter().collect::<Vec<u64>>(), (0..row.n()).collect::<Vec<u64>>());
        assert_eq!(inbox.try_iter().next(), None, "and does not wait for more");
        out.try_send(9).expect("a free place");
        for (at, message) in (&inbox).into_iter().take(1).enumerate() {
            assert_eq!((at, message), (0, 9));
        }
    });
}

/// The iterator ends when the mailbox is closed.
#[test]
fn iter_ends_at_close() {
    on_every_row_of_a_process(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "calls");
        let (tell, told) = std::sync::mpsc::channel();
        let waiter = {
            let inbox = inbox.clone();
            std::thread::spawn(move || {
                tell.send(thread_id()).expect("the test listens");
                inbox.into_iter().count()
            })
        };
        until_asleep(std::process::id(), told.recv().expect("a thread"));
        inbox.close().expect("its own mailbox");
        assert_eq!(waiter.join().expect("no panic"), 0);
    });
}

/// `spin` changes what waiting costs, never what it does.
#[test]
fn any_spin_waits_the_same() {
    for spin in [Duration::ZERO, Duration::from_micros(5), Duration::from_millis(20)] {
        let place = Place::new();
        let row = &crate::rows::ROWS[1];
        let inbox = row.receiver(row.options::<u64>(place.domain()).spin(spin), &place, "spin");
        let out = tubepost::Sender::<u64>::options()
            .domain(place.domain())
            .spin(spin)
            .open("spin")
            .expect("it exists");
        assert_eq!(inbox.recv_timeout(A_MOMENT), Err(RecvTimeoutError::Timeout));
        let sender = std::thread::spawn(move || {
            (0..200).for_each(|at| out.send(at).expect("the owner lives"));
            out.closed()
        });
        for at in 0..200 {
            assert_eq!(inbox.recv(), Ok(at));
        }
        let closed = inbox.close();
        assert_eq!(sender.join().expect("no panic"), closed);
    }
}

#[test]
fn endpoints_can_be_shared() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    fn sent<T: Send + std::fmt::Debug>() {}
    shared::<tubepost::Sender<u64>>();
    shared::<tubepost::Sender<[u8]>>();
    shared::<Receiver<u64>>();
    shared::<Receiver<str>>();
    sent::<tubepost::Error>();
    sent::<TrySendError<u64>>();
}
