//! Promises to hold a message for so long only: who is late is fenced off if somebody waits, and nothing is done twice (P5).

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tubepost::{Domain, Error, Mailbox, Receiver, RecvTimeoutError, Sender};

use crate::letters::pattern;
use crate::rows::{Owned, Row, needless, on_every_row, on_every_row_of_the_system, open, receive};
use crate::stage::{Child, Cue, PATIENCE, Place, Role, eventually, until_asleep};

pub const ROLES: &[Role] = &[("late holder", holder)];

const SHORT: Duration = Duration::from_millis(30);
const LONG: Duration = Duration::from_secs(3600);

/// In line, in a chunk, in a long one.
const LENGTHS: [usize; 3] = [20, 700, 100_000];

/// Receives with a promise; the arguments are domain, name, and the promise in milliseconds.
fn holder(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let longest = Duration::from_millis(cue.number(2));
    let inbox =
        Receiver::<[u8]>::options().domain(&domain).hold_max(longest).open(cue.arg(1)).expect("it exists");
    let mut held = None;
    cue.say("ready");
    loop {
        match &*cue.hear() {
            "take" => {
                let delivery = inbox.take_timeout(PATIENCE).expect("a message");
                cue.say(format!("{} {}", delivery.len(), delivery.redelivered()));
                held = Some(delivery);
            }
            "read" => {
                cue.say(held.as_ref().expect("in hand").iter().map(|byte| u64::from(*byte)).sum::<u64>())
            }
            "accept" => cue.say(match held.take().expect("in hand").accept() {
                Ok(()) => "ok",
                Err(Error::HoldExpired { .. }) => "expired",
                Err(other) => panic!("{other}"),
            }),
            other => panic!("a holder does not know {other:?}"),
        }
    }
}

fn sum(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>().to_string()
}

/// A receiver of the row's mailbox with a promise.
fn promising(row: &Row, place: &Place, longest: Duration) -> Receiver<[u8]> {
    match row.owned {
        Owned::ByProcess => row.options(place.domain()).hold_max(longest).own("box").expect("a free name"),
        Owned::BySystem => {
            row.options::<[u8]>(place.domain()).create("box").expect("a free name");
            Receiver::options().domain(place.domain()).hold_max(longest).open("box").expect("it exists")
        }
    }
}

fn nothing_is_left(place: &Place) {
    place.domain().gc().expect("our own domain");
    let stat = place.domain().stat("box").expect("it lives");
    assert_eq!((stat.depth, stat.held, needless(&stat), stat.sent), (0, 0, 0, stat.received));
}

/// Who sends, until it is done.
struct Posted(Option<JoinHandle<()>>);

impl Drop for Posted {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take().filter(|_| !std::thread::panicking()) {
            sender.join().expect("somebody took it");
        }
    }
}

/// Sends: at once where there is room, else as soon as somebody receives.
#[must_use = "it waits for a receiver where nothing else does"]
fn post(out: &Sender<[u8]>, message: &[u8]) -> Posted {
    if out.capacity() != Some(0) {
        out.try_send(message).expect("a free place");
        return Posted(None);
    }
    let (out, message) = (out.clone(), message.to_vec());
    Posted(Some(std::thread::spawn(move || out.send_timeout(&message, PATIENCE).expect("a receiver"))))
}

/// Where nothing waits, receivers sleep in cells, and looked after the dead only: who waited there waited for ever.
#[test]
fn who_is_late_is_fenced_off_and_told() {
    on_every_row(|row| {
        if !row.shares_memory("who_is_late_is_fenced_off_and_told") {
            return;
        }
        let place = Place::new();
        let inbox = promising(row, &place, SHORT);
        let out = open::<[u8]>(&place, "box");
        for length in LENGTHS {
            let sent = pattern(length, 1);
            let _posted = post(&out, &sent);
            let begin = Instant::now();
            let late = inbox.take().expect("a message");
            // Its own threads count as others.
            let again = inbox.take_timeout(PATIENCE).expect("it comes again");
            assert!(begin.elapsed() >= SHORT, "sooner than promised");
            assert_eq!((again.seq(), again.redelivered(), again.sender()), (late.seq(), 1, late.sender()));
            assert!(*again == sent[..]);
            again.accept().expect("it is in hand");
            // What the late one reads is nobody else's, however much goes through the mailbox.
            for round in 0..50 {
                let _posted = post(&out, &pattern(length, 2 + round));
                assert!(inbox.recv_timeout(PATIENCE).expect("a message") == pattern(length, 2 + round));
            }
            assert!(*late == sent[..]);
            match late.accept() {
                Err(Error::HoldExpired { name, longest }) => assert_eq!((&*name, longest), ("box", SHORT)),
                other => panic!("accepted too late: {other:?}"),
            }
        }
        nothing_is_left(&place);
    });
}

#[test]
fn who_is_late_and_drops_it_gives_nothing_back() {
    on_every_row(|row| {
        if !row.shares_memory("who_is_late_and_drops_it_gives_nothing_back") {
            return;
        }
        let place = Place::new();
        let inbox = promising(row, &place, SHORT);
        let out = open::<[u8]>(&place, "box");
        for length in LENGTHS {
            let _posted = post(&out, &pattern(length, 1));
            let late = inbox.take().expect("a message");
            let again = inbox.take_timeout(PATIENCE).expect("it comes again");
            drop(late);
            assert!(inbox.try_recv().is_err());
            again.accept().expect("it is in hand");
            assert!(inbox.try_recv().is_err());
        }
        nothing_is_left(&place);
    });
}

#[test]
fn who_is_late_and_nobody_waits_is_not_disturbed() {
    on_every_row(|row| {
        if !row.shares_memory("who_is_late_and_nobody_waits_is_not_disturbed") {
            return;
        }
        let place = Place::new();
        let inbox = promising(row, &place, Duration::from_millis(1));
        let out = open::<[u8]>(&place, "box");
        for length in LENGTHS {
            let _posted = post(&out, &pattern(length, 1));
            let late = inbox.take().expect("a message");
            let end = Instant::now() + Duration::from_millis(5);
            while Instant::now() < end {
                assert_eq!(inbox.len(), 0);
            }
            late.accept().expect("nobody waited");
        }
        nothing_is_left(&place);
    });
}

/// A promise is the holder's: others may hold for as long as they like, and wait in vain.
#[test]
fn without_a_promise_nobody_is_late() {
    on_every_row_of_the_system(|row| {
        let place = Place::new();
        let promising = promising(row, &place, Duration::from_millis(1));
        let other = receive::<[u8]>(&place, "box");
        let out = open::<[u8]>(&place, "box");
        for length in LENGTHS {
            let _posted = post(&out, &pattern(length, 1));
            // The chunk of the second one was held with a promise before.
            drop(promising.take().expect("a message"));
            let held = other.take().expect("it is back");
            assert!(matches!(promising.take_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
            held.accept().expect("it is in hand");
        }
    });
}

#[test]
fn a_stopped_holder_is_fenced_off() {
    on_every_row_of_the_system(|row| {
        let place = Place::new();
        row.options::<[u8]>(place.domain()).create("box").expect("a free name");
        let (inbox, out) = (receive::<[u8]>(&place, "box"), open::<[u8]>(&place, "box"));
        for length in LENGTHS {
            let mut holder = Child::start("late holder", &[&place.arg(), "box", "50"]);
            holder.expect("ready");
            let sent = pattern(length, 3);
            let _posted = post(&out, &sent);
            assert_eq!(holder.ask("take"), format!("{length} 0"));
            holder.stop();
            let again = inbox.take_timeout(PATIENCE).expect("it comes again");
            assert!(*again == sent[..] && again.redelivered() == 1);
            again.accept().expect("it is in hand");
            for round in 0..20 {
                let _posted = post(&out, &pattern(length, round));
                assert!(inbox.recv_timeout(PATIENCE).expect("a message") == pattern(length, round));
            }
            holder.go_on();
            assert_eq!(holder.ask("read"), sum(&sent), "what it reads was written to");
            assert_eq!(holder.ask("accept"), "expired");
            // Killed with what it is fenced off from, it leaves nothing.
            let _posted = post(&out, &sent);
            assert_eq!(holder.ask("take"), format!("{length} 0"));
            holder.stop();
            inbox.take_timeout(PATIENCE).expect("it comes again").accept().expect("it is in hand");
            holder.kill();
        }
        drop(inbox);
        nothing_is_left(&place);
    });
}

/// One of many is woken for a message, and each of the others sleeps: it is found all the same.
#[test]
fn some_sleeper_sees_to_it() {
    let place = Place::new();
    Mailbox::<[u8]>::options().domain(place.domain()).create("box").expect("a free name");
    let out = open::<[u8]>(&place, "box");
    let mut holders: Vec<Child> = (0..5)
        .map(|_| {
            let mut holder = Child::start("late holder", &[&place.arg(), "box", "100"]);
            holder.expect("ready");
            holder
        })
        .collect();
    for holder in &mut holders {
        holder.say("take");
        until_asleep(holder.pid(), holder.pid());
    }
    out.try_send(&pattern(5000, 1)).expect("a free place");
    let mut got = Vec::new();
    let mut next = |holders: &mut Vec<Child>| {
        let mut at = None;
        eventually("one of them has it", || {
            at = holders.iter_mut().enumerate().find_map(|(at, it)| it.hear_now().map(|line| (at, line)));
            at.is_some()
        });
        let (at, line) = at.expect("just found");
        got.push(line);
        holders.swap_remove(at)
    };
    let first = next(&mut holders);
    first.stop();
    let second = next(&mut holders);
    second.stop();
    let mut third = next(&mut holders);
    assert_eq!(got, ["5000 0", "5000 1", "5000 2"]);
    assert_eq!(third.ask("accept"), "ok");
    for mut late in [first, second] {
        late.go_on();
        assert_eq!(late.ask("read"), sum(&pattern(5000, 1)));
        assert_eq!(late.ask("accept"), "expired");
    }
}

/// Those who share a mailbox with other users read copies: there is nothing to protect from reuse.
#[test]
fn where_others_may_write_it_is_the_same() {
    let place = Place::new();
    let options = Mailbox::<[u8]>::options().domain(place.domain()).mode(0o660);
    options.create("box").expect("a free name");
    let inbox =
        Receiver::<[u8]>::options().domain(place.domain()).hold_max(SHORT).open("box").expect("it exists");
    let out = open::<[u8]>(&place, "box");
    for length in LENGTHS {
        out.try_send(&pattern(length, 1)).expect("a free place");
        let late = inbox.take().expect("a message");
        let again = inbox.take_timeout(PATIENCE).expect("it comes again");
        again.accept().expect("it is in hand");
        assert!(*late == pattern(length, 1)[..]);
        assert!(matches!(late.accept(), Err(Error::HoldExpired { .. })));
    }
    nothing_is_left(&place);
}

/// Without memory for a copy nobody is fenced off; when there is some, he is.
#[test]
fn without_memory_it_waits() {
    let place = Place::new();
    let options = Mailbox::<[u8]>::options().domain(place.domain()).max_message(100_000).ceiling(200_000);
    options.create("box").expect("a free name");
    let options = Receiver::<[u8]>::options().domain(place.domain());
    let slow = options.clone().hold_max(Duration::from_millis(1)).open("box").expect("it exists");
    let other = options.open("box").expect("it exists");
    let out = open::<[u8]>(&place, "box");
    out.try_send(&pattern(90_000, 1)).expect("a free place");
    let late = slow.take().expect("a message");
    out.try_send(&pattern(90_000, 2)).expect("a free place");
    let second = other.take().expect("a message");
    assert!(matches!(other.take_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
    second.accept().expect("it is in hand");
    let again = other.take_timeout(PATIENCE).expect("it comes again");
    assert!(*again == pattern(90_000, 1)[..] && again.redelivered() == 1 && *late == *again);
    again.accept().expect("it is in hand");
    drop(late);
    nothing_is_left(&place);
}

/// Holders that are late every now and then: each message is accepted exactly once.
#[test]
fn accepted_once_however_late() {
    const MESSAGES: u32 = 400;
    for length in [20, 6000] {
        for owned in [false, true] {
            let place = Place::new();
            let options = Mailbox::<[u8]>::options().domain(place.domain());
            let longest = Duration::from_millis(1);
            let inboxes: Vec<Receiver<[u8]>> = if owned {
                vec![options.hold_max(longest).own("box").expect("a free name"); 4]
            } else {
                options.create("box").expect("a free name");
                let options = Receiver::<[u8]>::options().domain(place.domain()).hold_max(longest);
                (0..4).map(|_| options.open("box").expect("it exists")).collect()
            };
            let out = open::<[u8]>(&place, "box");
            let accepted: Vec<AtomicU32> = (0..MESSAGES).map(|_| AtomicU32::new(0)).collect();
            let (mut expired, late) = (AtomicU32::new(0), AtomicU32::new(0));
            let one_stays = AtomicBool::new(false);
            std::thread::scope(|scope| {
                for inbox in &inboxes {
                    scope.spawn(|| {
                        loop {
                            let Ok(delivery) = inbox.take_timeout(Duration::from_millis(1500)) else {
                                return;
                            };
                            let number = u32::from_le_bytes(delivery[..4].try_into().expect("four bytes"));
                            let turn = late.fetch_add(1, Ordering::Relaxed) % 16;
                            if turn == 0 && !one_stays.swap(true, Ordering::Relaxed) {
                                // Holds it until another has accepted it. One at a time, so that others wait.
                                let given_up = Instant::now() + PATIENCE;
                                let mine = &accepted[number as usize];
                                while mine.load(Ordering::Relaxed) == 0 && Instant::now() < given_up {
                                    std::thread::sleep(longest); // between two looks at that
                                }
                                one_stays.store(false, Ordering::Relaxed);
                            } else if turn < 4 {
                                let end =
                                    Instant::now() + longest + Duration::from_micros(u64::from(turn) * 100);
                                while Instant::now() < end {}
                            }
                            assert!(delivery[4..].iter().all(|byte| *byte == number as u8));
                            match delivery.accept() {
                                Ok(()) => accepted[number as usize].fetch_add(1, Ordering::Relaxed),
                                Err(Error::HoldExpired { .. }) => expired.fetch_add(1, Ordering::Relaxed),
                                Err(other) => panic!("{other}"),
                            };
                        }
                    });
                }
                for number in 0..MESSAGES {
                    let mut message = vec![number as u8; length];
                    message[..4].copy_from_slice(&number.to_le_bytes());
                    out.send(&message).expect("it lives");
                    if number % 8 == 0 {
                        // Receivers are to have nothing to do meanwhile: only where one waits is a late one fenced off.
                        std::thread::sleep(longest);
                    }
                }
            });
            for (number, times) in accepted.iter().enumerate() {
                assert_eq!(times.load(Ordering::Relaxed), 1, "message {number} of {length} bytes");
            }
            assert!(*expired.get_mut() > 0, "nobody was late");
            nothing_is_left(&place);
        }
    }
}

#[test]
fn promises_that_make_no_sense_are_refused() {
    let place = Place::new();
    let options = Mailbox::<[u8]>::options().domain(place.domain());
    for error in [
        options.clone().hold_max(Duration::ZERO).own("box").expect_err("no time at all"),
        options.clone().hold_max(SHORT).create("box").expect_err("a mailbox holds nothing"),
        options.clone().max_redeliveries(255).own("box").expect_err("it can't be counted"),
        options.clone().max_redeliveries(3).create("box").expect_err("a mailbox delivers nothing"),
    ] {
        assert!(matches!(error, Error::BadOption { .. }), "{error}");
    }
    let inbox =
        options.max_redeliveries(254).hold_max(LONG * 24 * 365 * 100).own("box").expect("both are possible");
    drop(inbox);
}
