//! Memory that runs out in the middle, and memory that is given back. The small file system is a tmpfs of the
//! role's own, in a mount namespace: 64 MiB, as Docker gives a container.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use tubepost::{
    Domain, Error, Mailbox, Receiver, SendError, SendTimeoutError, Sender, TryRecvError, TrySendError,
};

use crate::citizen::{dialogue, pattern};
use crate::stage::{Child, Cue, PATIENCE, Place, Role, eventually, skip};

pub const ROLES: &[Role] = &[("docker", docker), ("cramped", cramped), ("shared-out", shared_out)];

const MIB: u64 = 1 << 20;
/// What bookkeeping may stay when memory was given back: entries of chunks, rows of members.
const BOOKKEEPING: u64 = 64 << 10;
/// Nothing that fails for want of memory waits for anything.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Plays a role on a small file system of its own; its first argument is where.
pub fn on_a_small_file_system(test: &str, role: &str) {
    let path = Place::unused();
    std::fs::create_dir(&path).expect("fresh");
    match Child::start_in_namespace(role, &[path.to_str().expect("our own path")]) {
        Err(why) => skip(test, &why),
        Ok(mut child) => match child.hear().strip_prefix("skip ") {
            Some(why) => skip(test, why),
            None => child.finish(),
        },
    }
    std::fs::remove_dir(&path).expect("nothing was written outside the namespace");
}

/// The domain on a fresh tmpfs of this size, or says why there is none.
pub fn small(cue: &Cue, size: &str) -> Option<Domain> {
    match crate::stage::mount_tmpfs(cue.arg(0), &format!("size={size},mode=0700")) {
        Ok(()) => Some(Domain::open(cue.arg(0)).expect("a fresh directory of our own")),
        Err(error) => {
            cue.say(format!("skip cannot mount a tmpfs here: {error}"));
            None
        }
    }
}

fn sender(domain: &Domain, name: &str) -> Sender<[u8]> {
    Sender::options().domain(domain).open(name).expect("it exists")
}

fn receiver(domain: &Domain, name: &str) -> Receiver<[u8]> {
    Receiver::options().domain(domain).open(name).expect("it exists")
}

/// What the file really occupies.
pub fn occupied(domain: &Domain, name: &str) -> u64 {
    std::fs::metadata(domain.path().join(name)).expect("it is there").blocks() * 512
}

/// Message `at`, a MiB that no other message is.
fn large(at: u64) -> Vec<u8> {
    let mut bytes = pattern(MIB as usize);
    bytes[..8].copy_from_slice(&at.to_le_bytes());
    bytes
}

/// Fills what is left of the file system, to the last page.
pub fn fill(domain: &Domain) {
    let full = std::fs::write(domain.path().join("..filler"), vec![1; 70 << 20]);
    assert!(full.is_err(), "full now");
}

#[track_caller]
pub fn no_memory(error: &Error, at: &Path, wanted_at_least: u64) {
    let text = error.to_string();
    let Error::NoMemory { wanted, available, path } = error else { panic!("{error:?}") };
    assert!(*wanted >= wanted_at_least && *available < *wanted, "{text}");
    assert!(path.starts_with(at), "{text}");
    assert!(text.contains(&wanted.to_string()) && text.contains(&available.to_string()), "{text}");
}

/// Messages of a MiB into 64 MiB, in a mailbox that could hold 1024 of them.
fn docker(cue: &mut Cue) {
    let Some(domain) = small(cue, "64m") else { return };
    Mailbox::<[u8]>::options().domain(&domain).create("box").expect("64 MiB are plenty for an empty one");
    let fresh = occupied(&domain, "box");
    let (out, inbox) = (sender(&domain, "box"), receiver(&domain, "box"));
    for lap in 0..3 {
        let mut sent = 0;
        let error = loop {
            match out.try_send(&large(sent)) {
                Ok(()) => sent += 1,
                Err(TrySendError::Failed(message, error)) => {
                    assert!(message == large(sent), "the message comes back");
                    break error;
                }
                Err(other) => panic!("{other:?}"),
            }
        };
        assert!((55..64).contains(&sent), "{sent} of a MiB each in 64 MiB");
        no_memory(&error, domain.path(), MIB);
        // Waiting would not help, so nobody waits; and again and again it takes no more than it gives back.
        let begin = Instant::now();
        for _ in 0..20 {
            match out.send_timeout(&large(sent), PATIENCE) {
                Err(SendTimeoutError::Failed(_, error)) => no_memory(&error, domain.path(), MIB),
                other => panic!("{other:?}"),
            }
        }
        let Err(SendError::Failed(_, error)) = out.send(&large(sent)) else { panic!("it is full") };
        no_memory(&error, domain.path(), MIB);
        assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
        // Full to the last page: what has its place in line goes on.
        fill(&domain);
        out.try_send(b"in line").expect("its place is memory already");
        // One in hand has its copy in a chunk: there is none, so it stays where it is.
        assert!(inbox.try_recv().as_deref() == Ok(&large(0)), "the first, whole");
        out.try_send(&large(sent)).expect("the first one's memory");
        for at in 1..sent {
            let delivery = inbox.try_take().expect("taking what lies in a chunk needs no memory");
            assert!(*delivery == large(at), "message {at}, whole");
            delivery.accept().expect("it is ours");
        }
        assert_eq!(inbox.try_recv().as_deref(), Ok(&b"in line"[..]));
        assert!(inbox.try_recv().as_deref() == Ok(&large(sent)), "the last, whole");
        assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
        // Nobody needs that memory now.
        let swept = domain.gc().expect("it can be swept");
        // The filler is no mailbox, which gc says.
        assert_eq!(swept.left_alone.len(), 1, "{:?}", swept.left_alone);
        assert_eq!(swept.bytes, sent * MIB, "lap {lap}");
        let left = occupied(&domain, "box");
        assert!(left <= fresh + BOOKKEEPING, "{left} bytes left of {fresh}");
        std::fs::remove_file(domain.path().join("..filler")).expect("our own");
    }
    cue.say("done");
}

#[test]
fn sixty_four_mebibytes_and_no_more() {
    on_a_small_file_system("sixty_four_mebibytes_and_no_more", "docker");
}

/// All the smaller ways to want memory when there is none.
fn cramped(cue: &mut Cue) {
    let Some(domain) = small(cue, "1m") else { return };
    let options = || Mailbox::<[u8]>::options().domain(&domain).bounded(64).max_message(100_000);
    options().create("box").expect("what fits");
    let mailbox = options().own("mine").expect("what fits");
    let (out, inbox) = (sender(&domain, "box"), receiver(&domain, "box"));
    let mine = sender(&domain, "mine");
    (0..3).for_each(|at| out.try_send(&[at]).expect("a place"));
    (0..3).for_each(|at| mine.try_send(&[at]).expect("a place"));
    fill(&domain);
    for name in ["new", "other"] {
        for made in [options().create(name).map(|_| ()), options().own(name).map(|_| ())] {
            no_memory(&made.expect_err("full"), domain.path(), 64 * 256);
            assert!(!domain.path().join(name).exists(), "half-made");
        }
    }
    // What is taken into one's hand would be copied: there is no memory, so it keeps its place meanwhile.
    for owned in [false, true] {
        let inbox = if owned { &mailbox } else { &inbox };
        let mut held: Vec<_> = (0..3).map(|_| inbox.try_take().expect("it needs none")).collect();
        assert!(held.iter().map(|it| it[0]).eq(0..3));
        let stat = inbox.stat().expect("it is there");
        assert_eq!((stat.depth, stat.held, stat.chunk_bytes), (0, 3, 0));
        held.remove(1).accept().expect("it is in hand");
        drop(held);
        assert_eq!(inbox.len(), 2);
        let got: Vec<_> = std::iter::from_fn(|| inbox.try_recv_envelope().ok()).collect();
        assert!(got.iter().map(|it| (&it.message[..], it.redelivered)).eq([(&[0][..], 1), (&[2], 1)]));
        for (length, class) in [(241, 4096), (5000, 4096), (100_000, 4096)] {
            let out = if owned { &mine } else { &out };
            let Err(TrySendError::Failed(_, error)) = out.try_send(&vec![1; length]) else {
                panic!("{length} bytes without memory")
            };
            no_memory(&error, domain.path(), length.min(class) as u64);
        }
    }
    // Members: 32 have their rows from the start, others need a page. Never a signal.
    let opened = |n: usize| -> Vec<Result<Sender<[u8]>, Error>> {
        (0..n).map(|_| Sender::options().domain(&domain).open("box")).collect()
    };
    let many = opened(100);
    let (came, refused): (Vec<_>, Vec<_>) = many.into_iter().partition(Result::is_ok);
    assert!(came.len() >= 25 && refused.len() >= 60, "{} came", came.len());
    refused.into_iter().for_each(|it| no_memory(&it.map(|_| ()).expect_err("refused"), domain.path(), 1));
    came.iter().flatten().for_each(|out| out.try_send(b"x").expect("a place"));
    (0..came.len()).for_each(|_| assert_eq!(inbox.try_recv().as_deref(), Ok(&b"x"[..])));
    domain.list().expect("looking needs no memory");
    domain.gc().expect("sweeping needs no memory");
    // There is room again.
    std::fs::remove_file(domain.path().join("..filler")).expect("our own");
    let more = opened(100);
    assert!(more.iter().all(Result::is_ok));
    for (out, inbox) in [(&out, &inbox), (&mine, &mailbox)] {
        out.try_send(b"hand").expect("a place");
        let delivery = inbox.try_take().expect("there is memory");
        assert_eq!((&*delivery, delivery.redelivered()), (&b"hand"[..], 0));
        delivery.accept().expect("it is ours");
        out.try_send(&pattern(100_000)).expect("there is memory");
        assert!(inbox.try_recv().as_deref() == Ok(&pattern(100_000)));
    }
    cue.say("done");
}

#[test]
fn every_want_of_memory_is_an_error() {
    on_a_small_file_system("every_want_of_memory_is_an_error", "cramped");
}

/// Four processes send as fast as they can into a file system that is full most of the time, two receive, one
/// of each is killed: what is accepted arrives, once and whole.
fn shared_out(cue: &mut Cue) {
    let Some(domain) = small(cue, "4m") else { return };
    let path = cue.arg(0);
    let options = Mailbox::<[u8]>::options().domain(&domain).bounded(64);
    options.create("box").expect("what fits");
    let mut senders: Vec<Child> = (0..4).map(|_| Child::start("citizen", &[path])).collect();
    let mut receivers: Vec<Child> = (0..2).map(|_| Child::start("citizen", &[path])).collect();
    senders.iter_mut().for_each(|it| dialogue(it, &[("sender box", "ok")]));
    receivers.iter_mut().for_each(|it| dialogue(it, &[("receiver box", "ok")]));
    let lengths = [700_000, 300_000, 90_000, 5_000];
    let (mut accepted, mut refused, mut received) = ([0; 4], 0, [0; 4]);
    for round in 0..60 {
        senders.iter_mut().zip(lengths).for_each(|(it, length)| it.say(format!("try box *{length}")));
        for (at, it) in senders.iter_mut().enumerate() {
            match it.hear().as_str() {
                "ok" => accepted[at] += 1,
                // As much as the file system has is the ceiling, if nobody said another.
                "NoMemory" | "AtCeiling" => refused += 1,
                "WouldWait" => {}
                other => panic!("{other}"),
            }
        }
        if round % 4 == 3 {
            // Each answer is checked for being whole by who received it.
            for _ in 0..3 {
                receivers.iter_mut().for_each(|it| it.say("recv box 0"));
                for it in &mut receivers {
                    count(&it.hear(), &lengths, &mut received);
                }
            }
        }
    }
    while count(&receivers[0].ask("recv box 0"), &lengths, &mut received) {}
    assert_eq!(received, accepted);
    assert!(refused > 10, "it was full {refused} times");
    let swept = domain.gc().expect("it can be swept");
    assert!(swept.bytes > 0 && swept.left_alone.is_empty(), "{swept:?}");
    assert!(domain.stat("box").expect("it is there").chunk_bytes == 0);
    cue.say("done");
}

fn count(answer: &str, lengths: &[u64; 4], received: &mut [u64; 4]) -> bool {
    if answer == "TimedOut" {
        return false;
    }
    let length = answer.strip_prefix("ok *").and_then(|it| it.split(' ').next()).expect("a message");
    let at = lengths.iter().position(|it| it.to_string() == length).expect("one that was sent");
    received[at] += 1;
    true
}

#[test]
fn several_senders_share_what_there_is() {
    on_a_small_file_system("several_senders_share_what_there_is", "shared-out");
}

#[test]
fn a_ceiling_is_an_error_at_once() {
    let place = Place::new();
    let options = || Mailbox::<[u8]>::options().domain(place.domain()).ceiling(4 * MIB);
    options().create("box").expect("a free name");
    let (out, inbox) = (sender(place.domain(), "box"), receiver(place.domain(), "box"));
    for _ in 0..3 {
        (0..4).for_each(|at| out.try_send(&large(at)).expect("below the ceiling"));
        let begin = Instant::now();
        for _ in 0..20 {
            match out.send_timeout(&large(4), PATIENCE) {
                Err(SendTimeoutError::Failed(message, error @ Error::AtCeiling { .. })) => {
                    assert!(message == large(4), "the message comes back");
                    let text = error.to_string();
                    let Error::AtCeiling { wanted, used, ceiling } = error else { unreachable!() };
                    assert_eq!((wanted, used, ceiling), (MIB, 4 * MIB, 4 * MIB));
                    assert!(text.contains(&MIB.to_string()) && text.contains(&ceiling.to_string()), "{text}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(begin.elapsed() < AT_ONCE);
        // A ceiling is about messages that don't fit their places.
        out.try_send(b"in line").expect("its place is its own");
        let held = inbox.try_take().expect("a message");
        assert!(*held == large(0));
        assert!(matches!(out.try_send(&large(4)), Err(TrySendError::Failed(_, Error::AtCeiling { .. }))));
        held.accept().expect("it is ours");
        out.try_send(&large(4)).expect("room for one more");
        (1..4).for_each(|at| assert!(inbox.try_recv().as_deref() == Ok(&large(at))));
        assert_eq!(inbox.try_recv().as_deref(), Ok(&b"in line"[..]));
        assert!(inbox.try_recv().as_deref() == Ok(&large(4)));
        // What long ones had serves shorter ones, and the other way round.
        (0..64).for_each(|at| out.try_send(&pattern(30_000 + at)).expect("the ceiling allows 128 of them"));
        (0..64).for_each(|at| assert!(inbox.try_recv().as_deref() == Ok(&pattern(30_000 + at))));
    }
    assert!(place.domain().stat("box").expect("it is there").chunk_bytes <= 4 * MIB);
}

/// Bytes are what counts, also for messages that are just beyond a power of two.
#[test]
fn a_ceiling_can_be_reached_with_any_length() {
    let place = Place::new();
    let options = Mailbox::<[u8]>::options().domain(place.domain()).ceiling(4 * MIB);
    options.create("box").expect("a free name");
    let (out, inbox) = (sender(place.domain(), "box"), receiver(place.domain(), "box"));
    let length = (MIB / 2 + 1) as usize;
    let sent = (0..9).take_while(|_| out.try_send(&pattern(length)).is_ok()).count();
    assert_eq!(sent, 7, "each takes half a MiB and a page");
    match out.try_send(&pattern(length)) {
        Err(TrySendError::Failed(_, Error::AtCeiling { wanted, used, ceiling })) => {
            assert!(used + wanted.next_multiple_of(4096) > ceiling, "{wanted} + {used} of {ceiling}");
        }
        other => panic!("{other:?}"),
    }
    // Others have what is left.
    out.try_send(&pattern(1000)).expect("there is memory");
    (0..sent).for_each(|_| assert!(inbox.try_recv().as_deref() == Ok(&pattern(length))));
    assert!(inbox.try_recv().as_deref() == Ok(&pattern(1000)));
}

/// A receiver that waits in vain gives back what the last burst took; so does gc, whoever owns the mailbox.
#[test]
fn a_burst_leaves_no_memory_behind() {
    for owned in [false, true] {
        let place = Place::new();
        let options = Mailbox::<[u8]>::options().domain(place.domain());
        let inbox = if owned {
            options.own("box").expect("a free name")
        } else {
            options.create("box").expect("a free name");
            receiver(place.domain(), "box")
        };
        let out = sender(place.domain(), "box");
        let fresh = occupied(place.domain(), "box");
        let chunk_bytes = || place.domain().stat("box").expect("it is there").chunk_bytes;
        let burst = || {
            (0..20).for_each(|at| out.try_send(&large(at)).expect("there is memory"));
            (0..20).for_each(|at| out.try_send(&pattern(1000 + at)).expect("there is memory"));
            assert!(occupied(place.domain(), "box") >= 20 * MIB && chunk_bytes() >= 20 * MIB);
            (0..20).for_each(|at| assert!(inbox.try_recv().as_deref() == Ok(&large(at))));
            (0..20).for_each(|at| assert!(inbox.try_recv().as_deref() == Ok(&pattern(1000 + at as usize))));
        };
        burst();
        assert!(occupied(place.domain(), "box") >= 20 * MIB, "kept for the next messages");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| inbox.recv_timeout(PATIENCE));
            let begin = Instant::now();
            eventually("the receiver gave it back", || chunk_bytes() == 0);
            let took = begin.elapsed();
            assert!(took < Duration::from_millis(3500), "only after {took:?}");
            out.try_send(b"wake up").expect("a place");
            assert_eq!(waiting.join().expect("no panic").as_deref(), Ok(&b"wake up"[..]));
        });
        let left = occupied(place.domain(), "box");
        assert!(left <= fresh + BOOKKEEPING, "{left} bytes left of {fresh}");
        burst();
        assert!(place.domain().gc().expect("it can be swept").bytes >= 20 * MIB);
        let left = occupied(place.domain(), "box");
        assert!(chunk_bytes() == 0 && left <= fresh + BOOKKEEPING, "{left} bytes left of {fresh}");
        // Again nothing: nobody gives anything twice.
        assert_eq!(place.domain().gc().expect("it can be swept").bytes, 0);
    }
}
