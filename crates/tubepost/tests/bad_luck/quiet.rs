//! What a quiet process does not do: a spinning exchange makes no system call, a wait takes no CPU time (P6),
//! a mailbox holds no descriptor, and 1024 slots of 8 bytes fit 256 KiB.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use tubepost::{Domain, Mailbox, Receiver, Sender};

use crate::stage::{
    Child, Cue, PATIENCE, Place, Role, descriptors, exit_raw, refuse_system_calls, refused_calls, thread_id,
    ticks_of, until_asleep, write_raw,
};

pub const ROLES: &[Role] = &[("monk", monk), ("sleeper", sleeper), ("hoarder", hoarder)];

const WARM_UP: u64 = 1000;
const EXCHANGES: u64 = 100_000;
/// An exchange that takes so long was held up: one of the two was off the processor …
const HELD_UP: Duration = Duration::from_millis(1);
/// … and for so many exchanges after that it may be noticed.
const NOTICED: u64 = 64;

/// Answers every number with the next, while every system call is refused and counted; the argument is the
/// domain. A call is a broken vow unless the exchange was held up: after that it may ask whether
/// the other still lives.
fn monk(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let inbox = Mailbox::<u64>::options().domain(&domain).bounded(7).own("to-monk").expect("a free name");
    let out = Sender::<u64>::options().domain(&domain).open("from-monk").expect("the test owns it");
    cue.say("ready");
    for _ in 0..WARM_UP {
        answer(&inbox, &out);
    }
    refuse_system_calls();
    let (mut held_up, mut broken, mut excused_until) = (0u64, 0u64, 0);
    let mut last = Instant::now();
    for number in 0..EXCHANGES {
        let before = refused_calls();
        answer(&inbox, &out);
        let now = Instant::now();
        if now - last >= HELD_UP {
            held_up += 1;
            excused_until = number + NOTICED;
        }
        last = now;
        broken += u64::from(refused_calls() > before && number >= excused_until);
    }
    write_raw(format!("\n@@ broken {broken} held-up {held_up}\n").as_bytes());
    exit_raw();
}

fn answer(inbox: &Receiver<u64>, out: &Sender<u64>) {
    let number = loop {
        match inbox.try_recv() {
            Ok(number) => break number,
            Err(error) if error.is_empty() => std::hint::spin_loop(),
            // A panic would call the system, which is what it deserves.
            Err(error) => panic!("{error}"),
        }
    };
    while out.try_send(number + 1).is_err_and(|error| error.is_full()) {
        std::hint::spin_loop();
    }
}

#[test]
fn a_spinning_exchange_makes_no_system_call() {
    let place = Place::new();
    let inbox =
        Mailbox::<u64>::options().domain(place.domain()).bounded(7).own("from-monk").expect("a free name");
    let mut monk = Child::start("monk", &[&place.arg()]);
    monk.expect("ready");
    let out = Sender::<u64>::options().domain(place.domain()).open("to-monk").expect("it exists");
    for number in 0..WARM_UP + EXCHANGES {
        out.try_send(number).expect("one at a time");
        let start = Instant::now();
        let answer = loop {
            match inbox.try_recv() {
                Ok(answer) => break answer,
                Err(error) => assert!(error.is_empty(), "{error}"),
            }
            assert!(start.elapsed() < PATIENCE, "the monk hangs");
            std::hint::spin_loop();
        };
        assert_eq!(answer, number + 1);
    }
    let vow = monk.hear();
    println!("{vow} of {EXCHANGES} exchanges");
    assert!(vow.starts_with("broken 0 "), "{vow}");
}

/// Waits in the call that it is told; the argument is the domain.
fn sleeper(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let call = cue.arg(1).to_owned();
    let inbox = Mailbox::<u64>::options().domain(&domain).bounded(1).own(&call).expect("a free name");
    let out = Sender::<u64>::options().domain(&domain).open(&call).expect("it exists");
    if call.starts_with("send") {
        out.send(1).expect("it lives");
    }
    cue.say(thread_id());
    match call.as_str() {
        "recv" => drop(inbox.recv()),
        "recv_timeout" => drop(inbox.recv_timeout(PATIENCE)),
        "send" => drop(out.send(2)),
        "send_timeout" => drop(out.send_timeout(2, PATIENCE)),
        "closed" => drop(out.closed()),
        other => panic!("what is {other}?"),
    }
    cue.say("woke up");
}

#[test]
fn waiting_takes_no_cpu_time() {
    let place = Place::new();
    let mut sleepers: Vec<(&str, Child)> = ["recv", "recv_timeout", "send", "send_timeout", "closed"]
        .map(|call| {
            let mut child = Child::start("sleeper", &[&place.arg(), call]);
            let thread = child.hear().parse().expect("a thread");
            until_asleep(child.pid(), thread);
            (call, child)
        })
        .into();
    let before: Vec<u64> = sleepers.iter().map(|(_, child)| ticks_of(child.pid())).collect();
    // The one wait in these tests that is for time: the time is what is measured.
    std::thread::sleep(Duration::from_secs(2));
    for ((call, child), before) in sleepers.iter_mut().zip(before) {
        let grown = ticks_of(child.pid()) - before;
        println!("two seconds in {call} took {grown} ticks");
        assert!(grown <= 2, "two seconds in {call} took {grown} ticks");
        assert_eq!(child.hear_now(), None, "{call} returned");
    }
}

/// Opens a hundred mailboxes on both sides and counts; the argument is the domain.
fn hoarder(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let open = |at: u32| {
        let name = format!("box/{at}");
        let inbox = Mailbox::<u64>::options().domain(&domain).own(&name).expect("a free name");
        let out = Sender::<u64>::options().domain(&domain).open(&name).expect("it exists");
        out.try_send(1).expect("a free place");
        assert_eq!(inbox.try_recv(), Ok(1));
        (inbox, out)
    };
    // The first may open what all share.
    let first = open(0);
    let before = descriptors();
    let all: Vec<_> = (1..=100).map(open).collect();
    let after = descriptors();
    assert_eq!(after, before, "100 mailboxes, owned and opened, hold descriptors");
    for (inbox, out) in all.iter().chain([&first]) {
        out.try_send(2).expect("a free place");
        assert_eq!(inbox.try_recv(), Ok(2));
    }
    drop((all, first));
    assert!(descriptors() <= before, "closing opened some");
    cue.say("done");
}

#[test]
fn a_mailbox_holds_no_descriptor() {
    let place = Place::new();
    let mut hoarder = Child::start("hoarder", &[&place.arg()]);
    hoarder.expect("done");
    hoarder.finish();
}

#[test]
fn a_thousand_slots_are_small() {
    let place = Place::new();
    let inbox =
        Mailbox::<u64>::options().domain(place.domain()).bounded(1024).own("box").expect("a free name");
    let most = 256 << 10;
    let bytes = inbox.stat().expect("it lives").bytes;
    assert!(bytes <= most, "stat says {bytes} bytes");
    let file = std::fs::metadata(place.file("box")).expect("it lies there");
    assert!(file.blocks() * 512 <= most, "{} bytes of memory", file.blocks() * 512);
    assert!(file.blocks() * 512 >= 1024 * 8, "memory is reserved before use");
    // Using it all takes no more.
    let out = Sender::<u64>::options().domain(place.domain()).open("box").expect("it exists");
    (0..1024).for_each(|at| out.try_send(at).expect("a free place"));
    let used = std::fs::metadata(place.file("box")).expect("it lies there").blocks();
    assert_eq!(used, file.blocks(), "no page came later");
}
