//! Too much asked, too little there: absurd options, a full file system, no descriptors.

use std::fs::File;
use std::os::fd::AsRawFd;

use tubepost::{
    Domain, Error, Link, Mailbox, Options, Process, Receiver, RecvTimeoutError, Sender, Strategy,
};

use crate::stage::{
    Child, Cue, PATIENCE, Place, Role, descriptors, files_in, limit_files, mount_tmpfs, skip,
};

pub const ROLES: &[Role] = &[("full", full), ("no-files", no_files)];

#[track_caller]
fn bad_option<T>(place: &Place, result: Result<T, Error>, given: u64) {
    match result.map(|_| ()) {
        Err(error @ Error::BadOption { .. }) => {
            assert!(error.to_string().contains(&given.to_string()), "{error} says {given}");
        }
        other => panic!("{given} is absurd, but {other:?}"),
    }
    assert!(!place.file("box").exists(), "half-made");
}

#[test]
fn absurd_capacities_are_refused() {
    let place = Place::new();
    for n in [(1 << 24) + 1, 1 << 32, 1 << 63, u64::MAX] {
        bad_option(&place, Mailbox::<u64>::options().domain(place.domain()).bounded(n).own("box"), n);
        bad_option(&place, Mailbox::<[u8]>::options().domain(place.domain()).bounded(n).own("box"), n);
    }
}

#[test]
fn absurd_lengths_are_refused() {
    let place = Place::new();
    for max in [(1 << 30) + 1, 1 << 32, u64::MAX] {
        bad_option(
            &place,
            Mailbox::<[u8]>::options().domain(place.domain()).max_message(max).own("box"),
            max,
        );
        bad_option(&place, Mailbox::<str>::options().domain(place.domain()).max_message(max).own("box"), max);
    }
}

/// The same where the kernel, or an area of each sender, has to hold them: there is no memory for the attempt.
#[test]
fn absurd_lengths_are_refused_before_anything_is_tried() {
    let place = Place::new();
    for max in [5 << 20, 1 << 30, 1 << 40, 1 << 62, u64::MAX >> 1, u64::MAX - 7, u64::MAX] {
        let options = || Mailbox::<[u8]>::options().domain(place.domain()).max_message(max);
        bad_option(&place, options().strategy(Strategy::Kernel).own("box"), max);
        bad_option(&place, options().strategy(Strategy::Kernel).bounded(4).own("box"), max);
        let link = || Link::<[u8]>::options().strategy(Strategy::Kernel).max_message(max);
        bad_option(&place, link().pair(), max);
        if max > 1 << 30 {
            bad_option(&place, options().strategy(Strategy::Sealed).own("box"), max);
        }
        let join = |name| Process::options().domain(place.domain()).join(name).expect("a free name");
        let (ann, _ben) = (join("ann"), join("ben"));
        bad_option(&place, link().open(&ann, "ben"), max);
    }
}

/// The longest message that is allowed can be agreed upon; memory is wanted when it comes.
#[test]
fn the_longest_message() {
    let place = Place::new();
    let inbox = Mailbox::<[u8]>::options().domain(place.domain()).max_message(1 << 30).own("box");
    let inbox = inbox.expect("allowed");
    let stat = inbox.stat().expect("ours");
    assert_eq!((stat.max_message, stat.chunk_bytes), (1 << 30, 0));
    assert!(stat.bytes < 1 << 20, "{} bytes before a message came", stat.bytes);
    let out = Sender::<[u8]>::options().domain(place.domain()).open("box").expect("it exists");
    out.send(b"short").expect("it lives");
    assert_eq!(inbox.recv().as_deref(), Ok(&b"short"[..]));
}

#[test]
fn absurd_ceilings_and_modes_are_refused() {
    let place = Place::new();
    let options = || Mailbox::<[u8]>::options().domain(place.domain()).max_message(100_000);
    for ceiling in [0, 1, 100_000, 131_071, (256 << 30) + 1, u64::MAX] {
        bad_option(&place, options().ceiling(ceiling).own("box"), ceiling);
        bad_option(&place, options().ceiling(ceiling).create("box"), ceiling);
    }
    for mode in [0, 0o400, 0o066, 0o700, 0o4600, u32::MAX] {
        match options().mode(mode).create("box") {
            Err(error @ Error::BadOption { .. }) => {
                assert!(error.to_string().contains(&format!("{mode:04o}")), "{error} says {mode:04o}");
            }
            other => panic!("{mode:o} is absurd, but {other:?}"),
        }
    }
    assert!(place.files().is_empty(), "half-made");
}

/// The largest capacity that is allowed can be had, or memory is what is missing.
#[test]
fn the_largest_capacity() {
    let place = Place::new();
    match Mailbox::<u64>::options().domain(place.domain()).bounded(1 << 24).own("box") {
        Ok(inbox) => {
            assert_eq!(inbox.capacity(), Some(1 << 24));
            let out = Sender::<u64>::options().domain(place.domain()).open("box").expect("it exists");
            out.send(1).expect("it lives");
            assert_eq!(inbox.recv(), Ok(1));
        }
        Err(Error::NoMemory { wanted, .. }) => assert!(wanted > 1 << 24),
        Err(other) => panic!("{other}"),
    }
}

/// A domain on a file system of 512 KiB; the argument is where to mount it.
fn full(cue: &mut Cue) {
    let path = cue.arg(0);
    if let Err(error) = mount_tmpfs(path, "size=512k,mode=0700") {
        cue.say(format!("skip cannot mount a tmpfs here: {error}"));
        return;
    }
    let domain = Domain::open(path).expect("a fresh directory of our own");
    // Where no message is longer than that, each place has its memory from the start.
    let own = |name: &str, n: u64| {
        Mailbox::<[u8]>::options().domain(&domain).bounded(n).max_message(4096).own(name)
    };
    let before = files_in(path.as_ref());
    let mut last = 0;
    for n in [200, 1024, 1 << 16, 1 << 24] {
        match own("big", n).map(|_| ()) {
            Err(error @ Error::NoMemory { .. }) => {
                let text = error.to_string();
                let Error::NoMemory { wanted, path: place, .. } = error else { unreachable!() };
                assert!(wanted > n * 4096 && wanted > last, "{wanted} bytes for {n} messages");
                assert!(place.starts_with(path), "{}", place.display());
                assert!(text.contains(&wanted.to_string()), "{text}");
                last = wanted;
            }
            other => panic!("{n} × 4096 bytes in 512 KiB: {other:?}"),
        }
        assert_eq!(files_in(path.as_ref()), before, "half-made");
    }
    // It takes no more than it gave back: the same, again and again, and then what fits.
    for _ in 0..50 {
        assert!(own("big", 1024).is_err());
    }
    let small = own("small", 20).expect("what fits");
    // Fill the rest to the last byte. Everything in use goes on: its memory was reserved.
    let filler = std::fs::write(format!("{path}/filler"), vec![1; 512 << 10]);
    assert!(filler.is_err(), "full now");
    assert!(matches!(own("tiny", 1).map(|_| ()), Err(Error::NoMemory { .. })));
    let out = Sender::<[u8]>::options().domain(&domain).open("small").expect("opening needs no memory");
    for lap in 0..3 {
        (0..20).for_each(|_| out.try_send(&[lap; 4096]).expect("a free place"));
        (0..20).for_each(|_| assert_eq!(small.try_recv(), Ok(vec![lap; 4096])));
    }
    std::fs::remove_file(format!("{path}/filler")).expect("our own");
    own("tiny", 1).expect("room again");
    cue.say("done");
}

#[test]
fn a_full_file_system_is_an_error() {
    let path = Place::unused();
    std::fs::create_dir(&path).expect("fresh");
    let arg = path.to_str().expect("our own path");
    match Child::start_in_namespace("full", &[arg]) {
        Err(why) => skip("a_full_file_system_is_an_error", &why),
        Ok(mut full) => match full.hear().strip_prefix("skip ") {
            Some(why) => skip("a_full_file_system_is_an_error", why),
            None => full.finish(),
        },
    }
    std::fs::remove_dir(&path).expect("nothing was written outside the namespace");
}

/// Lives with no descriptor to spare; the argument is the domain.
fn no_files(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let options = || -> Options<u64> { Mailbox::<u64>::options().domain(&domain) };
    let ready = options().own("ready").expect("a free name");
    // Of one that the system owns a sender, a receiver, and one with a message in hand.
    let long = Mailbox::<[u8]>::options().domain(&domain).bounded(4);
    long.create("long").expect("a free name");
    let long_out = Sender::<[u8]>::options().domain(&domain).open("long").expect("it exists");
    let open_long = || Receiver::<[u8]>::options().domain(&domain).open("long");
    let (inbox, other) = (open_long().expect("it exists"), open_long().expect("it exists"));
    long_out.send(&[7; 50_000]).expect("it lives");
    let hand = inbox.take().expect("a message");
    let out = Sender::<u64>::options().domain(&domain).open("ready").expect("it exists");
    // The limit is about numbers: none below the highest may be free.
    let mut fillers = vec![File::open("/dev/null").expect("there is one")];
    while (fillers[fillers.len() - 1].as_raw_fd() as usize) < descriptors() - 1 {
        fillers.push(File::open("/dev/null").expect("there is one"));
    }
    let open_now = descriptors() as u64;
    for spare in 0..4 {
        let before = limit_files(open_now + spare);
        // Either it needs no more than there is, or it says what is missing.
        for (what, result) in [
            ("own", options().own("box").map(|_| ())),
            ("open", Sender::<u64>::options().domain(&domain).open("ready").map(|_| ())),
            ("receive", open_long().map(|_| ())),
            ("create", long.create("new").map(|_| ())),
            ("remove", domain.remove("new").map(|_| ())),
            ("stat", domain.stat("ready").map(|_| ())),
            ("list", domain.list().map(|_| ())),
            ("gc", domain.gc().map(|_| ())),
            ("domain", Domain::open(cue.arg(0)).map(|_| ())),
        ] {
            match result {
                Ok(()) => assert!(spare > 0 || what == "domain", "{what} without a descriptor"),
                Err(Error::Os { errno: libc::EMFILE, .. }) => {}
                Err(Error::NoSuchName { .. }) if what == "remove" => {}
                Err(Error::Exists { .. }) if what == "create" => {}
                Err(other) => panic!("{what} with {spare} descriptors: {other:?}"),
            }
        }
        // What is open goes on, waiting too.
        out.try_send(spare).expect("a free place");
        assert_eq!(ready.try_recv(), Ok(spare));
        match ready.recv_timeout(std::time::Duration::from_millis(5)) {
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Failed(Error::Os { errno: libc::EMFILE, .. })) => {}
            other => panic!("waiting without descriptors: {other:?}"),
        }
        for length in [10, 3000, 90_000 + spare as usize] {
            long_out.try_send(&vec![length as u8; length]).expect("a free place");
            let delivery = other.take_timeout(PATIENCE).expect("it was sent");
            assert!(*delivery == vec![length as u8; length] && delivery.redelivered() == 0);
            delivery.accept().expect("it is ours");
        }
        // What a living one has in hand is not taken for a dead one's, however little can be found out.
        match other.recv_timeout(std::time::Duration::from_millis(1100)) {
            Err(RecvTimeoutError::Timeout) => {}
            more => panic!("waiting without descriptors: {more:?}"),
        }
        limit_files(before);
    }
    assert!(*hand == [7; 50_000]);
    hand.accept().expect("it is ours");
    // With descriptors again, everything is as if nothing had been.
    let inbox = options().own("box").expect("a free name, nothing half-made");
    let out = Sender::<u64>::options().domain(&domain).open("box").expect("it exists");
    let sender = std::thread::spawn(move || out.send_timeout(5, PATIENCE).map(|()| out.closed()));
    assert_eq!(inbox.recv_timeout(PATIENCE), Ok(5));
    let closed = inbox.close();
    assert_eq!(sender.join().expect("no panic"), Ok(closed));
    cue.say("done");
}

#[test]
fn without_descriptors() {
    let place = Place::new();
    let mut child = Child::start("no-files", &[&place.arg()]);
    child.expect("done");
    child.finish();
}
