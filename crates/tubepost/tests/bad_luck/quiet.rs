//! What a quiet process does not do: a spinning exchange makes no system call, a wait takes no CPU time (P6),
//! a mailbox holds no descriptor, and 1024 slots of 8 bytes fit 256 KiB.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use tubepost::{Domain, Mailbox, Receiver, Sender};

use crate::stage::{
    Child, Cue, PATIENCE, Place, Role, descriptors, exit_thread, forbid_system_calls, state_of,
    take_processor, thread_id, ticks_of, until_asleep, write_raw,
};

pub const ROLES: &[Role] = &[("monk", monk), ("sleeper", sleeper), ("hoarder", hoarder)];

const WARM_UP: u64 = 1000;
const EXCHANGES: u64 = 100_000;

/// Answers every number with the next, under a vow that any system call breaks; the argument is the domain.
fn monk(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let inbox = Mailbox::<u64>::options().domain(&domain).bounded(7).own("to-monk").expect("a free name");
    let out = Sender::<u64>::options().domain(&domain).open("from-monk").expect("the test owns it");
    cue.say(thread_id());
    take_processor(0);
    for _ in 0..WARM_UP {
        answer(&inbox, &out);
    }
    forbid_system_calls();
    for _ in 0..EXCHANGES {
        answer(&inbox, &out);
    }
    write_raw(b"\n@@ kept the vow\n");
    exit_thread();
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

/// Whether the monk came through, or how many exchanges it managed.
fn exchange_with_a_monk() -> Result<(), u64> {
    let place = Place::new();
    let inbox =
        Mailbox::<u64>::options().domain(place.domain()).bounded(7).own("from-monk").expect("a free name");
    let mut monk = Child::start("monk", &[&place.arg()]);
    let thread: u32 = monk.hear().parse().expect("a thread");
    let out = Sender::<u64>::options().domain(place.domain()).open("to-monk").expect("it exists");
    let pid = monk.pid();
    let partner = std::thread::spawn(move || {
        take_processor(1);
        for number in 0..WARM_UP + EXCHANGES {
            out.try_send(number).expect("one at a time");
            let start = Instant::now();
            loop {
                match inbox.try_recv() {
                    Ok(answer) => break assert_eq!(answer, number + 1),
                    Err(error) => assert!(error.is_empty(), "{error}"),
                }
                std::hint::spin_loop();
                if start.elapsed() > Duration::from_millis(100) {
                    // Do not keep the processor from whoever is needed now.
                    std::thread::sleep(Duration::from_millis(1));
                    if matches!(state_of(pid, thread), None | Some('Z')) {
                        return Err(number);
                    }
                    assert!(start.elapsed() < PATIENCE, "the monk hangs");
                }
            }
        }
        Ok(())
    });
    let done = partner.join().expect("no panic");
    if done.is_ok() {
        monk.expect("kept the vow");
    }
    done
}

/// Under seccomp's strict mode the kernel kills whoever makes another call than read, write and exit. Who was
/// off the processor for some milliseconds may ask the kernel whether the other still lives, so both have a
/// processor to themselves where that is permitted, and several attempts tell a habit from an accident.
#[test]
fn a_spinning_exchange_makes_no_system_call() {
    let alone = std::thread::spawn(|| take_processor(1)).join().expect("no panic");
    let (attempts, accidents) = if alone { (12, 2) } else { (20, 19) };
    let broken: Vec<u64> = (0..attempts).filter_map(|_| exchange_with_a_monk().err()).collect();
    println!("{} of {attempts} attempts with a system call, after {broken:?} exchanges", broken.len());
    assert!(broken.len() <= accidents, "system calls in {} of {attempts} attempts", broken.len());
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
