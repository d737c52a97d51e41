//! Mailboxes that are kept in files: what outlives processes and restarts, what is damaged, who reads besides, what goes when.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tubepost::{
    Cursor, Delivery, Domain, Error, File, From, Fsync, Journal, Mailbox, Receiver, Retain, Sender,
    TryRecvError,
};

use crate::letters::pattern;
use crate::stage::{Child, Cue, PATIENCE, Place, Role, eventually};

pub const ROLES: &[Role] = &[
    ("filed sender", send_on),
    ("filed worker", work_on),
    ("filed reader", read_on),
    ("filed holder", hold_on),
];

pub fn file(directory: &Path) -> File {
    File { dir: Some(directory.into()), ..File::default() }
}

pub fn create(domain: &Domain, file: File) {
    Mailbox::<[u8]>::options().domain(domain).strategy(file).create("box").expect("it can be made");
}

pub fn sender(domain: &Domain) -> Sender<[u8]> {
    Sender::<[u8]>::options().domain(domain).open("box").expect("it exists")
}

pub fn receiver(domain: &Domain) -> Receiver<[u8]> {
    Receiver::<[u8]>::options().domain(domain).open("box").expect("it exists")
}

fn cursor(domain: &Domain, name: &str) -> Cursor<[u8]> {
    Cursor::<[u8]>::options().domain(domain).open("box", name).expect("a free name")
}

/// What a restart of the machine leaves of a domain.
pub fn restart(place: &Place) {
    for file in place.files() {
        std::fs::remove_file(place.path().join(file)).expect("ours");
    }
}

/// The only file with records.
pub fn only_file(directory: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|it| it == "log"))
        .collect();
    assert_eq!(files.len(), 1);
    files.remove(0)
}

/// Where these bytes are in a file.
pub fn find(path: &Path, bytes: &[u8]) -> u64 {
    let all = std::fs::read(path).expect("readable");
    all.windows(bytes.len()).position(|window| window == bytes).expect("it is there") as u64
}

#[test]
fn what_was_accepted_is_there_after_a_restart() {
    let place = Place::new();
    let directory = Place::files_of(place.domain());
    create(place.domain(), file(&directory));
    let (out, inbox) = (sender(place.domain()), receiver(place.domain()));
    for number in 0..10 {
        out.send(&pattern(100, number)).expect("room");
    }
    assert_eq!(inbox.recv().expect("the first"), pattern(100, 0));
    // Whoever has it in hand is gone with the machine.
    let mut holder = Child::start("filed holder", &[&place.arg()]);
    holder.expect("has it");
    holder.kill();
    drop((out, inbox));
    restart(&place);
    create(place.domain(), file(&directory));
    assert!(place.domain().recovered("box").expect("it exists").is_none(), "nothing was lost");
    let inbox = receiver(place.domain());
    let stat = inbox.stat().expect("it lives");
    assert_eq!((stat.depth, stat.held, stat.received), (9, 0, 1));
    let again = inbox.take().expect("the second");
    assert_eq!((&*again, again.redelivered(), again.seq()), (&*pattern(100, 1), 1, 1));
    again.accept().expect("in hand");
    for number in 2..10 {
        assert_eq!(inbox.recv().expect("all others"), pattern(100, number));
    }
    assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn what_is_left_out_is_as_it_was_and_what_differs_is_refused() {
    let place = Place::new();
    let directory = Place::files_of(place.domain());
    let options = Mailbox::<[u8]>::options().domain(place.domain());
    let id = options
        .clone()
        .bounded(3)
        .max_message(50)
        .strategy(File { fsync: Some(Fsync::Each), ..file(&directory) })
        .create("box")
        .expect("it can be made");
    let again = options.clone().strategy(file(&directory)).create("box").expect("it is there");
    restart(&place);
    assert_eq!(options.clone().strategy(file(&directory)).create("box").expect("it is opened"), id);
    assert_eq!(again, id);
    let stat = place.domain().stat("box").expect("it exists");
    assert_eq!((stat.capacity, stat.max_message, stat.id), (Some(3), 50, id));
    assert_eq!(stat.log.expect("in files").fsync, Fsync::Each);
    let differing = [
        options.clone().bounded(4).strategy(file(&directory)),
        options.clone().max_message(51).strategy(file(&directory)),
        options.clone().strategy(File { fsync: Some(Fsync::Never), ..file(&directory) }),
        options.clone().format("other").strategy(file(&directory)),
    ];
    for other in differing {
        match other.create("box") {
            Err(Error::BadOption { .. } | Error::WrongFormat { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    // One directory is in use by one name.
    match options.strategy(file(&directory)).create("other") {
        Err(Error::LogRefused { why, .. }) => assert!(why.contains("\"box\""), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_log_of_another_version_is_refused_and_left_alone() {
    let place = Place::new();
    let directory = Place::files_of(place.domain());
    create(place.domain(), file(&directory));
    sender(place.domain()).send(b"of this version").expect("room");
    restart(&place);
    let described = directory.join("mailbox");
    let ours = std::fs::read_to_string(&described).expect("it describes the log");
    assert!(ours.starts_with("tubepost log 2\n"), "as docs/format.md says: {ours}");
    std::fs::write(&described, ours.replace("tubepost log 2", "tubepost log 1")).expect("ours");
    let options = Mailbox::<[u8]>::options().domain(place.domain()).strategy(file(&directory));
    let opened = [options.create("box").err(), Journal::open(&directory).err()];
    for error in opened {
        assert!(
            matches!(error, Some(Error::WrongVersion { found: 1, supported: 2, .. })),
            "a log of another version: {error:?}"
        );
    }
    std::fs::write(&described, ours).expect("ours");
    create(place.domain(), file(&directory));
    assert_eq!(receiver(place.domain()).recv().expect("it is there"), b"of this version");
}

#[test]
fn readers_beside_the_queue_see_everything() {
    let place = Place::new();
    let directory = Place::files_of(place.domain());
    create(place.domain(), file(&directory));
    let (out, inbox) = (sender(place.domain()), receiver(place.domain()));
    let audit = cursor(place.domain(), "audit");
    for number in 0..3 {
        out.send(&pattern(10, number)).expect("room");
        assert_eq!(inbox.recv().expect("it was sent"), pattern(10, number));
    }
    assert_eq!(audit.recv().expect("the first"), pattern(10, 0));
    assert_eq!(audit.recv_envelope().expect("the second").seq, 1);
    let busy = Cursor::<[u8]>::options().domain(place.domain()).open("box", "audit");
    assert!(matches!(busy, Err(Error::LogRefused { .. })), "{busy:?}");
    drop(audit);
    let stat = place.domain().stat("box").expect("it exists").log.expect("in files");
    assert_eq!((stat.cursors.len(), stat.cursors[0].next, stat.cursors[0].lag), (1, 2, 1));
    // It goes on where it was, also after a restart.
    drop((out, inbox));
    restart(&place);
    create(place.domain(), file(&directory));
    let audit = cursor(place.domain(), "audit");
    assert_eq!(audit.recv().expect("the third"), pattern(10, 2));
    assert_eq!(audit.try_recv(), Err(TryRecvError::Empty));
    let from = |name: &str, from| {
        let options = Cursor::<[u8]>::options().domain(place.domain()).from(from);
        options.open("box", name).expect("a free name").next_seq()
    };
    let later = std::time::SystemTime::now() + Duration::from_secs(10);
    assert_eq!([from("a", From::Start), from("a", From::End), from("a", From::Seq(2))], [0, 3, 2]);
    assert_eq!([from("b", From::Time(std::time::UNIX_EPOCH)), from("b", From::Time(later))], [0, 3]);
    // One that waits is woken.
    let waits = std::thread::spawn(move || audit.recv());
    sender(place.domain()).send(b"for all").expect("room");
    assert_eq!(waits.join().expect("no panic").expect("it was sent"), b"for all");
}

/// Messages of a megabyte: a file has some tens of them.
#[test]
fn what_everybody_has_read_goes() {
    let place = Place::new();
    let directory = Place::files_of(place.domain());
    let retain = Retain { messages: Some(20), ..Retain::default() };
    create(place.domain(), File { retain: Some(retain), ..file(&directory) });
    let (out, inbox, audit) =
        (sender(place.domain()), receiver(place.domain()), cursor(place.domain(), "audit"));
    let letter = vec![7; 1 << 20];
    let files = || place.domain().stat("box").expect("it exists").log.expect("in files").files;
    let stream = |number: u32, reads: bool| {
        for _ in 0..number {
            out.send(&letter).expect("room");
            assert_eq!(inbox.recv().expect("it was sent").len(), letter.len());
            if reads {
                assert_eq!(audit.recv().expect("it was sent").len(), letter.len());
            }
        }
    };
    stream(100, false);
    let kept = files();
    assert!(kept >= 3, "{kept} files: one has still to read all of them");
    assert_eq!(audit.try_iter().count(), 100);
    stream(70, true);
    let stat = place.domain().stat("box").expect("it exists").log.expect("in files");
    assert!(stat.first > 0 && stat.first <= 150, "the first is {}: twenty are kept", stat.first);
    let late = Cursor::<[u8]>::options().domain(place.domain()).from(From::Start).open("box", "late");
    assert_eq!(late.expect("a free name").try_iter().count() as u64, 170 - stat.first);
}

#[test]
fn bytes_are_a_limit_too() {
    let place = Place::new();
    let directory = Place::files_of(place.domain());
    create(place.domain(), File { max_bytes: Some(1000), ..file(&directory) });
    let (out, inbox) = (sender(place.domain()), receiver(place.domain()));
    let fill = || (0..100).take_while(|_| out.try_send(&[1; 68]).is_ok()).count();
    assert_eq!(fill(), 9, "each has 104 bytes: with its header, and a multiple of 8");
    (0..4).for_each(|_| drop(inbox.recv().expect("it is there")));
    assert_eq!(fill(), 4);
    // One that waits is let in when there is room.
    std::thread::scope(|scope| {
        let sends = scope.spawn(|| out.send(&[2; 68]));
        assert_eq!(inbox.recv().expect("it is there"), [1; 68]);
        sends.join().expect("no panic").expect("room");
    });
}

#[test]
fn each_send_is_on_the_disk() {
    let place = Place::new();
    let directory = std::env::temp_dir().join(format!("tubepost-test-each-{}", std::process::id()));
    create(place.domain(), File { fsync: Some(Fsync::Each), ..file(&directory) });
    std::thread::scope(|scope| {
        for number in 0..4 {
            let out = sender(place.domain());
            scope.spawn(move || (0..25).for_each(|_| out.send(&pattern(64, number)).expect("room")));
        }
    });
    let stat = || place.domain().stat("box").expect("it exists").log.expect("in files");
    assert_eq!((stat().next, stat().durable), (100, 100));
    assert_eq!(receiver(place.domain()).try_iter().count(), 100);
    place.domain().remove("box").expect("ours");
    assert!(!directory.exists(), "nothing is left");
    // When it is asked for.
    create(place.domain(), File { dir: Some(directory.clone()), ..File::default() });
    let out = sender(place.domain());
    (0..10).for_each(|number| out.send(&pattern(64, number)).expect("room"));
    assert_eq!((stat().next, stat().durable), (10, 0));
    out.flush().expect("a disk");
    assert_eq!(stat().durable, 10);
    drop(out);
    place.domain().remove("box").expect("ours");
    // Every so often.
    create(place.domain(), File { fsync: Some(Fsync::Every(Duration::from_millis(5))), ..file(&directory) });
    let out = sender(place.domain());
    out.send(b"soon").expect("room");
    eventually("it is on the disk", || stat().durable == 1);
    drop(out);
    place.domain().remove("box").expect("ours");
}

#[test]
fn a_directory_that_is_moved_stays_in_use() {
    let place = Place::new();
    let (directory, elsewhere) = (Place::files_of(place.domain()), Place::files_of(place.domain()));
    create(place.domain(), file(&directory));
    let (out, inbox) = (sender(place.domain()), receiver(place.domain()));
    out.send(b"before").expect("room");
    std::fs::rename(&directory, &elsewhere).expect("ours");
    // More than the file that it has open holds.
    for number in 0..100 {
        out.send(&pattern(60_000, number)).expect("room");
    }
    assert_eq!(inbox.recv().expect("it was sent"), b"before");
    for number in 0..100 {
        assert_eq!(inbox.recv().expect("it was sent"), pattern(60_000, number));
    }
    drop((out, inbox));
    restart(&place);
    create(place.domain(), file(&elsewhere));
    sender(place.domain()).send(b"after").expect("room");
    assert_eq!(receiver(place.domain()).try_iter().collect::<Vec<_>>(), [b"after"]);
}

fn domain_of(cue: &Cue) -> Domain {
    Domain::open(cue.arg(0)).expect("the test's domain")
}

/// Sends numbers until it is killed, and says each that was accepted.
fn send_on(cue: &mut Cue) {
    let out = sender(&domain_of(cue));
    for number in 0u64.. {
        let mut letter = pattern((number % 300) as usize + 16, number);
        letter[..8].copy_from_slice(&number.to_le_bytes());
        letter[8..16].copy_from_slice(&u64::from(std::process::id()).to_le_bytes());
        out.send(&letter).expect("room");
        cue.say(number);
    }
}

/// Whose message it is, which, and how often it was delivered before.
fn told(delivery: &Delivery<[u8]>) -> String {
    let word = |at: usize| u64::from_le_bytes(delivery[at..at + 8].try_into().expect("eight bytes"));
    format!("{} {} {}", word(8), word(0), delivery.redelivered())
}

/// Says which messages it gets, and accepts them, until it is killed.
fn work_on(cue: &mut Cue) {
    let inbox = receiver(&domain_of(cue));
    while let Ok(delivery) = inbox.take() {
        cue.say(told(&delivery));
        delivery.accept().expect("in hand");
    }
}

/// Has a message in hand until it is killed.
fn hold_on(cue: &mut Cue) {
    let inbox = receiver(&domain_of(cue));
    let _delivery = inbox.take().expect("a message");
    cue.say("has it");
    cue.hear();
}

/// Reads everything by a cursor, and says how many in the end.
fn read_on(cue: &mut Cue) {
    let audit = cursor(&domain_of(cue), "audit");
    let mut count = 0;
    while audit.recv_timeout(PATIENCE).is_ok_and(|letter| letter != b"the end") {
        count += 1;
    }
    cue.say(count);
}

#[test]
fn senders_and_workers_are_killed_and_the_books_balance() {
    let place = Place::new();
    let directory = Place::files_of(place.domain());
    create(place.domain(), file(&directory));
    let mut audit = Child::start("filed reader", &[&place.arg()]);
    let end = Instant::now() + Duration::from_secs(2); // so long the storm lasts
    let over = AtomicBool::new(false);
    let (mut sent, mut accepted) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        let storm = |role: &'static str| {
            let (place, over) = (&place, &over);
            scope.spawn(move || {
                let mut said = Vec::new();
                for round in 0u64.. {
                    let mut child = Child::start(role, &[&place.arg()]);
                    let pid = u64::from(child.pid());
                    // Some of what it says, and then the kill: it dies anywhere in the next one.
                    let mut last = Vec::new();
                    for _ in 0..round % 40 + 1 {
                        match child.hear_or_end() {
                            Ok(line) => last.push(line),
                            Err(_) => break, // a worker that finds nothing
                        }
                    }
                    child.kill();
                    while let Ok(line) = child.hear_or_end() {
                        last.push(line);
                    }
                    said.extend(last.into_iter().map(|line| (pid, line)));
                    if over.load(Relaxed) {
                        return said;
                    }
                }
                said
            })
        };
        let (first, second, worker) = (storm("filed sender"), storm("filed sender"), storm("filed worker"));
        while Instant::now() < end {
            // Waits for nothing: so long the storm lasts.
            std::thread::sleep(Duration::from_millis(10));
        }
        over.store(true, Relaxed);
        for (pid, line) in [first, second].into_iter().flat_map(|storm| storm.join().expect("no panic")) {
            sent.push(format!("{pid} {line}"));
        }
        accepted.extend(worker.join().expect("no panic").into_iter().map(|(_, line)| line));
    });
    let inbox = receiver(place.domain());
    while let Ok(delivery) = inbox.take_timeout(Duration::from_millis(1500)) {
        accepted.push(told(&delivery));
        delivery.accept().expect("in hand");
    }
    // How often each was delivered, and whether all but the first time it was marked so.
    let mut got: HashMap<&str, Vec<&str>> = HashMap::new();
    for line in &accepted {
        let (which, before) = line.rsplit_once(' ').expect("three words");
        got.entry(which).or_default().push(before);
    }
    for one in &sent {
        assert!(got.contains_key(one.as_str()), "{one} was accepted, and is lost");
    }
    for (which, times) in &got {
        let unmarked = times.iter().filter(|before| **before == "0").count();
        assert!(unmarked <= 1, "{which} came {unmarked} times as if for the first time");
    }
    sender(place.domain()).send(b"the end").expect("room");
    assert_eq!(audit.hear(), got.len().to_string(), "who reads besides saw each once");
}
