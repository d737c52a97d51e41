//! Mailboxes without a capacity: as much as there is memory for, and what then; memory that comes and goes under
//! those who use it, and under one who stands still.

use std::time::{Duration, Instant};

use tubepost::{
    Domain, Error, Mailbox, Message, Options, Receiver, SendError, SendTimeoutError, Sender, TrySendError,
};

use crate::citizen::pattern;
use crate::memory::{fill, no_memory, occupied, on_a_small_file_system, small};
use crate::stage::{
    Child, Cue, Dice, PATIENCE, Place, Role, Walk, eventually, go_on_from_there, mark, skip, spin_for,
    thread_id, walk,
};

pub const ROLES: &[Role] = &[
    ("brimful", brimful),
    ("closer", closer),
    ("current", current),
    ("half-appended", appender),
    ("stander", stander),
];

const MIB: u64 = 1 << 20;
/// What stays of an empty mailbox when all memory was given back: the segment where the next message goes, the first pages
/// of tables, and a word for each segment there ever was.
const LEFT: u64 = 400 << 10;

fn endless<M: Message + ?Sized>(domain: &Domain) -> Options<M> {
    Mailbox::<M>::options().domain(domain).unbounded()
}

/// A fresh mailbox, owned by this process or by the system.
fn made<M: Message + ?Sized>(options: &Options<M>, domain: &Domain, owned: bool) -> (Receiver<M>, Sender<M>) {
    let inbox = if owned {
        options.own("box").expect("a free name")
    } else {
        options.create("box").expect("a free name");
        Receiver::options().domain(domain).open("box").expect("it exists")
    };
    (inbox, Sender::options().domain(domain).open("box").expect("it exists"))
}

/// The file system is full to the last page, again and again: every send says so and has its message back, what
/// was accepted comes, and there is room again when it is gone.
fn brimful(cue: &mut Cue) {
    let Some(domain) = small(cue, "4m") else { return };
    for owned in [true, false] {
        let (inbox, out) = made::<[u8]>(&endless(&domain), &domain, owned);
        let letter = |at: u64| pattern(if at.is_multiple_of(50) { 400 } else { (at % 200) as usize + 8 });
        for lap in 0..3 {
            let mut sent = 0;
            let error = loop {
                match out.try_send(&letter(sent)) {
                    Ok(()) => sent += 1,
                    Err(TrySendError::Failed(message, error)) => {
                        assert_eq!(message, letter(sent), "the message comes back");
                        break error;
                    }
                    Err(other) => panic!("{other:?}"),
                }
            };
            assert!(sent > 5000, "{sent} in lap {lap}");
            // Nobody set a ceiling: it is the file system that is full.
            assert!(matches!(error, Error::NoMemory { .. }), "{error}");
            fill(&domain);
            // Nobody waits for memory.
            let begin = Instant::now();
            let long = pattern(5000);
            match (out.send_timeout(&long, PATIENCE), out.send(&long)) {
                (Err(SendTimeoutError::Failed(..)), Err(SendError::Failed(..))) => {}
                other => panic!("{other:?}"),
            }
            assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
            assert_eq!(inbox.len() as u64, sent);
            domain.stat("box").expect("looking needs no memory");
            for at in 0..sent {
                assert!(inbox.try_recv().as_deref() == Ok(&letter(at)[..]), "message {at} of {sent}");
            }
            // What they had serves others, though no page can be had from the system.
            (0..sent / 2).for_each(|at| out.try_send(&letter(at)).expect("what the others had"));
            (0..sent / 2).for_each(|at| assert!(inbox.try_recv().as_deref() == Ok(&letter(at)[..])));
            assert!(inbox.is_empty());
            assert!(domain.gc().expect("it can be swept").bytes > MIB);
            assert!(occupied(&domain, "box") < LEFT, "{} bytes in lap {lap}", occupied(&domain, "box"));
            std::fs::remove_file(domain.path().join("..filler")).expect("our own");
        }
        drop(inbox);
        if !owned {
            domain.remove("box").expect("it is ours");
        }
        // One that is fresh, when nothing is left.
        let (inbox, out) = made::<u64>(&endless(&domain), &domain, owned);
        fill(&domain);
        let Err(TrySendError::Failed(7, error)) = out.try_send(7) else { panic!("no memory") };
        no_memory(&error, domain.path(), 64 << 10);
        assert!(inbox.try_recv().is_err_and(|error| error.is_empty()));
        let closed = if owned { inbox.close() } else { domain.remove("box") };
        assert_eq!(closed.expect("closing needs no memory").uncollected, 0);
        assert!(matches!(out.try_send(7), Err(TrySendError::Closed(7, _))));
        std::fs::remove_file(domain.path().join("..filler")).expect("our own");
    }
    cue.say("done");
}

#[test]
fn a_full_file_system_is_an_error() {
    on_a_small_file_system("a_full_file_system_is_an_error", "brimful");
}

/// Once a mailbox that was closed in full memory, at a position for whose word in the directory there was none, was closed
/// for those only who were told: a sender heard of the memory, and could send again when there was some.
fn closer(cue: &mut Cue) {
    const EPOCHS_OF_A_PAGE: u64 = 512;
    let Some(domain) = small(cue, "4m") else { return };
    for owned in [true, false] {
        for sent in [0, 1, EPOCHS_OF_A_PAGE - 1, EPOCHS_OF_A_PAGE, EPOCHS_OF_A_PAGE + 1] {
            let (inbox, out) =
                made::<u64>(&endless(&domain).segments_of(1).ceiling(64 * MIB), &domain, owned);
            for at in 0..sent {
                out.try_send(at).expect("there is memory");
                assert_eq!(inbox.try_recv(), Ok(at));
            }
            fill(&domain);
            let closed = if owned { inbox.close() } else { domain.remove("box") };
            assert_eq!(closed.expect("closing needs no memory").uncollected, 0);
            // Not only the first call, which asks whether there is anybody, for its last one was long ago.
            let late = || {
                for _ in 0..20 {
                    assert!(matches!(out.try_send(7), Err(TrySendError::Closed(7, _))), "after {sent}");
                }
            };
            late();
            std::fs::remove_file(domain.path().join("..filler")).expect("our own");
            late();
        }
    }
    cue.say("done");
}

#[test]
fn closing_needs_no_memory() {
    on_a_small_file_system("closing_needs_no_memory", "closer");
}

/// The ceiling is about all that waits; below it nothing waits for anything.
#[test]
fn a_ceiling_for_everything() {
    for owned in [true, false] {
        let place = Place::new();
        let options = endless::<u64>(place.domain()).ceiling(MIB);
        let (inbox, out) = made(&options, place.domain(), owned);
        for _ in 0..3 {
            let mut sent = 0;
            let error = loop {
                match out.send_timeout(sent, PATIENCE) {
                    Ok(()) => sent += 1,
                    Err(SendTimeoutError::Failed(message, error)) => {
                        assert_eq!(message, sent, "the message comes back");
                        break error;
                    }
                    Err(other) => panic!("{other:?}"),
                }
            };
            assert!((12_000..13_200).contains(&sent), "{sent} of 80 bytes in a MiB");
            match error {
                Error::AtCeiling { wanted, used, ceiling } => {
                    assert!(wanted + used > ceiling && used <= ceiling && ceiling == MIB, "{wanted} {used}");
                }
                other => panic!("{other}"),
            }
            assert!(place.domain().stat("box").expect("it lives").chunk_bytes <= MIB);
            assert!(inbox.try_iter().eq(0..sent));
        }
    }
}

/// A million wait, and are received in their order; then their memory goes: to the next ones, by `gc`, and
/// when a receiver waits in vain.
#[test]
fn a_million() {
    const MANY: u64 = 1_000_000;
    for owned in [true, false] {
        let place = Place::new();
        let (inbox, out) = made(&endless::<u64>(place.domain()), place.domain(), owned);
        let fresh = occupied(place.domain(), "box");
        assert!(fresh < 64 << 10, "{fresh} bytes of an empty one");
        for at in 0..MANY {
            out.try_send(at).expect("there is memory");
        }
        assert_eq!((inbox.len() as u64, inbox.is_full()), (MANY, false));
        let full = occupied(place.domain(), "box");
        assert!((80 * MANY..90 * MANY).contains(&full), "{full} bytes for a million");
        for at in 0..MANY {
            assert_eq!(inbox.try_recv(), Ok(at));
        }
        // They serve the next ones.
        for at in 0..MANY / 2 {
            out.try_send(at).expect("there is memory");
        }
        assert!(occupied(place.domain(), "box") <= full + (64 << 10));
        assert!(inbox.try_iter().eq(0..MANY / 2));
        let swept = place.domain().gc().expect("our own domain");
        assert!(swept.bytes > 70 * MANY && swept.left_alone.is_empty(), "{swept:?}");
        let left = occupied(place.domain(), "box");
        assert!(left < LEFT, "{left} bytes after gc");
        let stat = place.domain().stat("box").expect("it lives");
        assert_eq!((stat.capacity, stat.depth, stat.received), (None, 0, MANY + MANY / 2));

        for at in 0..MANY / 10 {
            out.try_send(at).expect("there is memory");
        }
        assert!(inbox.try_iter().eq(0..MANY / 10));
        assert!(occupied(place.domain(), "box") > 7 * MIB);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| inbox.recv_timeout(PATIENCE));
            let begin = Instant::now();
            eventually("the receiver gave it back", || occupied(place.domain(), "box") < LEFT);
            assert!(begin.elapsed() < Duration::from_millis(3500), "only after {:?}", begin.elapsed());
            out.try_send(7).expect("there is memory");
            assert_eq!(waiting.join().expect("no panic"), Ok(7));
        });
    }
}

/// Sends its numbers as fast as it can, and says how many it did; at the ceiling it tries again.
fn current(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let out = Sender::<[u64; 2]>::options().domain(&domain).open("box").expect("it exists");
    cue.say("ready");
    for at in 0..cue.number(1) {
        while let Err(error) = out.try_send([1, at]) {
            assert!(matches!(error, TrySendError::Failed(_, Error::AtCeiling { .. })), "{error}");
            std::thread::yield_now();
        }
    }
    cue.say("sent");
}

/// A sender is stopped wherever it happens to be, perhaps with a segment under its eyes; others send past it, all is
/// received, and memory is given back; then it goes on. It must find nothing there that it could use.
#[test]
fn a_stopped_sender_meets_no_hole() {
    const STOPS: u64 = 400;
    const TRIMS: u64 = 40;
    const NUMBERS: u64 = 30_000_000;
    for owned in [true, false] {
        let place = Place::new();
        let options = endless::<[u64; 2]>(place.domain()).segments_of(4).ceiling(MIB);
        let (inbox, out) = made(&options, place.domain(), owned);
        let mut river = Child::start("current", &[&place.arg(), &NUMBERS.to_string()]);
        river.expect("ready");
        let (mut dice, mut next, mut stops, mut trims) = (Dice::new(owned.into()), [0, 0], 0, 0);
        let mut enter = |[who, at]: [u64; 2]| {
            assert_eq!(at, next[who as usize], "the next one of {who}");
            next[who as usize] += 1;
        };
        let mut own = 0;
        // (Where it is stopped with a segment under its eyes nothing is trimmed.)
        while stops < STOPS || trims < TRIMS {
            stops += 1;
            assert!(stops < 100 * STOPS, "{trims} trims only, of {} of the other's", next[1]);
            for _ in 0..dice.below(60) {
                enter(inbox.recv_timeout(PATIENCE).expect("a message soon"));
            }
            spin_for(Duration::from_nanos(dice.below(20_000)));
            river.stop();
            for _ in 0..12 {
                while out.try_send([0, own]).is_err() {
                    enter(inbox.try_recv().expect("it is full of messages"));
                }
                own += 1;
            }
            while let Ok(message) = inbox.try_recv() {
                enter(message);
            }
            trims += u64::from(place.domain().gc().expect("our own domain").bytes > 0);
            river.go_on();
        }
        river.kill();
        eventually("all was received", || {
            inbox.try_iter().for_each(&mut enter);
            inbox.is_empty()
        });
        assert_eq!(next[0], own, "all of ours");
        assert!(next[1] > stops, "{} of the other's", next[1]);
    }
}

/// Sends one message after another, each between two marks.
fn stander(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let out = Sender::<[u64; 2]>::options().domain(&domain).open("box").expect("it exists");
    let mut at = 0;
    while cue.hear() == "next" {
        cue.say(thread_id());
        assert_eq!(cue.hear(), "go");
        mark();
        let sent = out.try_send([1, at]);
        mark();
        cue.say(format!("{sent:?}"));
        at += 1;
    }
}

/// The same at chosen instructions, all through one send: where it was about to claim is memory of nobody by then, which
/// reads as zeros like a place that nobody ever claimed.
#[test]
fn a_sender_that_stands_still_meets_no_hole() {
    const WALKS: u64 = 150;
    for owned in [true, false] {
        let place = Place::new();
        let (inbox, out) = made(&endless::<[u64; 2]>(place.domain()).segments_of(4), place.domain(), owned);
        let mut child = Child::start("stander", &[&place.arg()]);
        let (mut whole, mut kept) = (u64::MAX, 0);
        for round in 0..WALKS + 2 {
            child.say("next");
            let thread = child.hear().parse().expect("a thread");
            // For what only the first call does is no part of it.
            let steps = if round < 2 { u64::MAX } else { (round - 2) * whole / WALKS };
            let stands = match walk(&mut child, thread, steps) {
                Err(why) => return skip("a_sender_that_stands_still_meets_no_hole", &why),
                Ok(Walk::Through(all)) => {
                    whole = all;
                    false
                }
                Ok(Walk::Stands) => true,
            };
            let mut came = Vec::new();
            // Nothing is received meanwhile, so that the last segment is a fresh one, nobody's before.
            (0..12).for_each(|at| out.try_send([0, at]).expect("there is memory"));
            came.extend(inbox.try_iter());
            let swept = place.domain().gc().expect("our own domain");
            kept += u64::from(stands && swept.bytes == 0);
            if stands {
                go_on_from_there(thread);
            }
            child.expect("Ok(())");
            eventually("all was received", || {
                came.extend(inbox.try_iter());
                came.len() >= 13
            });
            let its = came.iter().filter(|[who, _]| *who == 1).map(|[_, at]| *at);
            assert!(its.eq([round]), "after {steps} instructions of {whole}: {came:?}");
            let ours = came.iter().filter(|[who, _]| *who == 0).map(|[_, at]| *at);
            assert!(ours.eq(0..12), "after {steps} instructions of {whole}: {came:?}");
            assert!(inbox.is_empty());
        }
        println!("nothing was trimmed while it stood in a visit, or had a claim, {kept} times in {WALKS}");
        assert!((1..WALKS).contains(&kept), "{kept} times");
        child.finish();
    }
}

/// Appends segments, one with each fourth message.
fn appender(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let out = Sender::<[u64; 2]>::options().domain(&domain).open("box").expect("it exists");
    cue.say("ready");
    let mut at = 0;
    loop {
        at += u64::from(out.try_send([1, at]).is_ok());
    }
}

/// Senders that append all the time are killed: no segment stays theirs.
#[test]
fn killed_appenders_leave_no_segment() {
    for owned in [true, false] {
        let place = Place::new();
        let options = endless::<[u64; 2]>(place.domain()).segments_of(1).ceiling(MIB);
        let (inbox, out) = made(&options, place.domain(), owned);
        let mut dice = Dice::new(9 + u64::from(owned));
        for _ in 0..60 {
            let mut child = Child::start("half-appended", &[&place.arg()]);
            child.expect("ready");
            spin_for(Duration::from_micros(dice.below(300)));
            child.kill();
            eventually("all was received", || {
                inbox.try_iter().for_each(drop);
                inbox.is_empty()
            });
        }
        place.domain().gc().expect("our own domain");
        let left = place.domain().stat("box").expect("it lives");
        // The last one is in use still, or none.
        assert!(left.chunk_bytes <= 3 * 4096, "{left:?}");
        for lap in 0..3 {
            let mut sent = 0;
            while out.try_send([0, sent]).is_ok() {
                sent += 1;
            }
            assert!((80..=86).contains(&sent), "{sent} segments of three pages in a MiB, in lap {lap}");
            assert!(inbox.try_iter().eq((0..sent).map(|at| [0, at])));
        }
    }
}
