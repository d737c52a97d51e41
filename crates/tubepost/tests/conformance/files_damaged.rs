//! Messages in files that are not as they were written: what is damaged is told, and everything else is there.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tubepost::{Cursor, Domain, Error, File, From, Fsync, Journal, Mailbox, TryRecvError, TrySendError};

use crate::files::{create, file, find, only_file, receiver, restart, sender};
use crate::letters::pattern;
use crate::stage::Place;

#[test]
fn what_is_damaged_is_told_and_passed_over() {
    for wakes in [false, true] {
        let place = Place::new();
        let directory = Place::files_of(place.domain());
        create(place.domain(), file(&directory));
        let out = sender(place.domain());
        for number in 0..9 {
            out.send(&pattern(200, number)).expect("room");
        }
        let path = only_file(&directory);
        let at = find(&path, &pattern(200, 4));
        let disk = std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("ours");
        disk.write_all_at(&[pattern(200, 4)[50] ^ 1], at + 50).expect("ours");
        // And one of which not even the length is known.
        disk.write_all_at(&[0xA5; 8], find(&path, &pattern(200, 6)) - 32).expect("ours");
        let journal = Journal::open(&directory).expect("it is there");
        let found = journal.verify().expect("it is readable");
        assert_eq!((found.damaged, found.messages, found.next), (vec![(4, 4), (6, 6)], 7, 9));
        if wakes {
            drop(out);
            restart(&place);
            create(place.domain(), file(&directory));
            let found = place.domain().recovered("box").expect("it exists").expect("damage is told");
            assert_eq!((found.damaged.as_slice(), found.next), ([(4, 4), (6, 6)].as_slice(), 9));
        }
        let inbox = receiver(place.domain());
        let (mut numbers, mut told) = (Vec::new(), Vec::new());
        loop {
            match inbox.try_recv_envelope() {
                Ok(envelope) => {
                    assert_eq!(envelope.message, pattern(200, envelope.seq));
                    numbers.push(envelope.seq);
                }
                Err(TryRecvError::Failed(Error::DamagedMessages { from, to, .. })) => told.push((from, to)),
                Err(TryRecvError::Empty) => break,
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(numbers, [0, 1, 2, 3, 5, 7, 8]);
        assert_eq!(told, [(4, 4), (6, 6)], "each once, whoever opened it first");
        // It stays known, until somebody repairs it.
        let audit = Cursor::<[u8]>::options()
            .domain(place.domain())
            .from(From::Seq(4))
            .open("box", "audit")
            .expect("room");
        match audit.try_recv() {
            Err(TryRecvError::Failed(Error::DamagedMessages { from: 4, to: 4, .. })) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(journal.verify().expect("it is readable").damaged, [(4, 4), (6, 6)]);
        drop(audit);
        sender(place.domain()).send(b"it goes on").expect("room");
        assert_eq!(inbox.recv().expect("it was sent"), b"it goes on");
    }
}

#[test]
fn damage_is_given_up_by_repairing() {
    let place = Place::new();
    let directory = Place::files_of(place.domain());
    create(place.domain(), file(&directory));
    let out = sender(place.domain());
    for number in 0..5 {
        out.send(&pattern(100, number)).expect("room");
    }
    let path = only_file(&directory);
    let disk = std::fs::OpenOptions::new().write(true).open(&path).expect("ours");
    disk.write_all_at(&[0xFF; 4], find(&path, &pattern(100, 2)) + 7).expect("ours");
    let journal = Journal::open(&directory).expect("it is there");
    match journal.repair() {
        Err(Error::LogRefused { .. }) => {} // it is in use
        other => panic!("{other:?}"),
    }
    drop(out);
    assert_eq!(journal.repair().expect("nobody uses it").damaged, [(2, 2)]);
    assert!(journal.verify().expect("it is readable").is_sound());
    let inbox = receiver(place.domain());
    let all: Vec<Vec<u8>> = inbox.try_iter().collect();
    assert_eq!(all, [0, 1, 3, 4].map(|number| pattern(100, number)));
}

/// Some messages, and then nobody uses them any more. Where their file is.
fn left_alone(place: &Place, directory: &Path, messages: u64) -> PathBuf {
    create(place.domain(), file(directory));
    let out = sender(place.domain());
    for number in 0..messages {
        out.send(&pattern(100, number)).expect("room");
    }
    drop(out);
    restart(place);
    only_file(directory)
}

fn write_to(path: &Path, at: u64, bytes: &[u8]) {
    let disk = std::fs::OpenOptions::new().write(true).open(path).expect("ours");
    disk.write_all_at(bytes, at).expect("ours");
}

/// What a receiver gets, and what it is told is damaged.
fn all(domain: &Domain) -> (Vec<u64>, Vec<(u64, u64)>) {
    let inbox = receiver(domain);
    let (mut numbers, mut told) = (Vec::new(), Vec::new());
    loop {
        match inbox.try_recv_envelope() {
            Ok(envelope) => numbers.push(envelope.seq),
            Err(TryRecvError::Failed(Error::DamagedMessages { from, to, .. })) => told.push((from, to)),
            Err(TryRecvError::Empty) => return (numbers, told),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_a_file_says_of_itself_is_there_twice() {
    let place = Place::new();
    let directory = Place::files_of(place.domain());
    for at in [0, 8, 16, 24, 32, 40, 48, 56] {
        let path = left_alone(&place, &directory, 5);
        for (at, which) in [(at, "the first"), (0x800 + at, "the other")] {
            write_to(&path, at, &[0xA5]);
            let journal = Journal::open(&directory).expect("it is there");
            assert_eq!(journal.verify().expect("it is readable").beside, 1, "byte {at}, {which}");
            create(place.domain(), file(&directory));
            let found = place.domain().recovered("box").expect("it exists").expect("it is told");
            assert_eq!((found.beside, found.damaged.len(), found.next), (1, 0, 5), "byte {at}, {which}");
            assert!(journal.verify().expect("it is readable").is_sound());
            restart(&place);
        }
        create(place.domain(), file(&directory));
        assert_eq!(all(place.domain()), ((0..5).collect(), vec![]), "byte {at}");
        place.domain().remove("box").expect("nobody uses it");
    }
}

#[test]
fn a_file_of_which_nothing_can_be_read_is_set_aside_and_its_numbers_are_not_given_again() {
    let place = Place::new();
    let directory = Place::files_of(place.domain());
    let path = left_alone(&place, &directory, 5);
    write_to(&path, 3, &[0xA5]);
    write_to(&path, 0x803, &[0xA5]);
    create(place.domain(), file(&directory));
    let found = place.domain().recovered("box").expect("it exists").expect("it is told");
    let aside = path.with_extension("log.damaged");
    assert_eq!(found.set_aside, std::slice::from_ref(&aside));
    let (from, to) = found.damaged[0];
    assert!(from == 0 && to >= 4 && found.next == to + 1, "{found:?}");
    sender(place.domain()).send(b"it goes on").expect("room");
    let inbox = receiver(place.domain());
    assert_eq!(inbox.recv_envelope().expect("it was sent").seq, found.next);
    let journal = Journal::open(&directory).expect("it is there");
    assert_eq!(journal.verify().expect("it is readable").set_aside, std::slice::from_ref(&aside));
    std::fs::remove_file(aside).expect("ours");
    assert!(journal.verify().expect("it is readable").is_sound());
}

#[test]
fn what_lies_before_the_cut_is_there() {
    let place = Place::new();
    let directory = Place::files_of(place.domain());
    let path = left_alone(&place, &directory, 200);
    let cut = find(&path, &pattern(100, 150)) + 50;
    std::fs::OpenOptions::new().write(true).open(&path).expect("ours").set_len(cut).expect("ours");
    create(place.domain(), file(&directory));
    let found = place.domain().recovered("box").expect("it exists").expect("it is told");
    assert!(found.cut > 0 && found.next == 151, "{found:?}");
    assert_eq!(found.damaged, [(150, 191)], "as far as it was noted how many there were");
    assert_eq!(all(place.domain()), ((0..150).collect(), vec![(150, 150)]));
    sender(place.domain()).send(b"it goes on").expect("room");
    assert_eq!(receiver(place.domain()).recv().expect("it was sent"), b"it goes on");
}

#[test]
fn a_message_of_which_nobody_knows_who_received_it_comes_again() {
    let place = Place::new();
    let directory = Place::files_of(place.domain());
    for wakes in [false, true] {
        create(place.domain(), file(&directory));
        let out = sender(place.domain());
        for number in 0..5 {
            out.send(&pattern(100, number)).expect("room");
        }
        let path = only_file(&directory);
        if wakes {
            drop(out);
            restart(&place);
        }
        write_to(&path, 4096 + 8, &[0xA5]);
        write_to(&path, 4096 + 16 + 7, &[0xC0]); // as if it was done
        let journal = Journal::open(&directory).expect("it is there");
        assert_eq!(journal.verify().expect("it is readable").beside, 2);
        create(place.domain(), file(&directory));
        let inbox = receiver(place.domain());
        let mut came: Vec<_> = std::iter::from_fn(|| inbox.try_recv_envelope().ok())
            .map(|envelope| (envelope.seq, envelope.redelivered))
            .collect();
        came.sort();
        assert_eq!(came, [(0, 0), (1, 1), (2, 1), (3, 0), (4, 0)]);
        assert!(journal.verify().expect("it is readable").is_sound());
        drop(inbox);
        place.domain().remove("box").expect("nobody uses it");
    }
}

/// Records that end where the file does have nothing behind them that would have to come to the disk.
#[test]
fn records_that_fill_a_file_to_its_last_byte() {
    for fsync in [Fsync::Each, Fsync::Every(std::time::Duration::from_millis(1))] {
        let place = Place::new();
        let directory = Place::files_of(place.domain());
        create(place.domain(), File { fsync: Some(fsync), ..file(&directory) });
        let out = sender(place.domain());
        for number in 0..2100 {
            out.send(&pattern(992, number)).expect("room"); // with 32 bytes more, 1024 fill the first file
        }
        out.flush().expect("it comes to the disk");
        let stat = place.domain().stat("box").expect("it exists");
        assert_eq!(stat.log.expect("it has a log").durable, 2100);
        let inbox = receiver(place.domain());
        for number in 0..2100 {
            assert_eq!(inbox.recv().expect("it was sent"), pattern(992, number));
        }
    }
}

#[test]
fn a_directory_with_something_else_in_it_is_refused() {
    let place = Place::new();
    let directory = Place::files_of(place.domain());
    std::fs::create_dir(&directory).expect("ours");
    std::fs::write(directory.join("thesis.tex"), "precious").expect("ours");
    let modes = || std::fs::metadata(&directory).expect("it is there").permissions();
    let before = modes();
    let made = || {
        Mailbox::<[u8]>::options().domain(place.domain()).mode(0o666).strategy(file(&directory)).create("box")
    };
    match made() {
        Err(Error::LogRefused { why, .. }) => assert!(why.contains("thesis.tex"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(modes(), before);
    // What comes later is left alone as well.
    std::fs::remove_file(directory.join("thesis.tex")).expect("ours");
    made().expect("it is empty");
    std::fs::write(directory.join("notes"), "also precious").expect("ours");
    std::fs::create_dir(directory.join("more")).expect("ours");
    sender(place.domain()).send(b"a message").expect("room");
    place.domain().remove("box").expect("nobody uses it");
    let mut left: Vec<_> = std::fs::read_dir(&directory)
        .expect("it is there")
        .map(|entry| entry.expect("a name").file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["more", "notes"]);
}

#[test]
fn a_log_without_what_describes_it_is_not_begun_anew() {
    let place = Place::new();
    let directory = Place::files_of(place.domain());
    let path = left_alone(&place, &directory, 5);
    let (mailbox, elsewhere) = (directory.join("mailbox"), directory.with_extension("mailbox"));
    std::fs::rename(&mailbox, &elsewhere).expect("ours");
    let made = || Mailbox::<[u8]>::options().domain(place.domain()).strategy(file(&directory)).create("box");
    match made() {
        Err(Error::LogRefused { why, .. }) => assert!(why.contains("\"mailbox\""), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(path.exists());
    std::fs::rename(&elsewhere, &mailbox).expect("ours");
    made().expect("it is whole again");
    assert_eq!(all(place.domain()).0.len(), 5);
}

#[test]
fn a_mailbox_whose_directory_is_gone_can_be_removed() {
    let place = Place::new();
    let directory = Place::files_of(place.domain());
    let moved = directory.with_extension("moved");
    create(place.domain(), file(&directory));
    sender(place.domain()).send(b"a message").expect("room");
    std::fs::rename(&directory, &moved).expect("ours");
    place.domain().remove("box").expect("nobody uses it");
    // What was moved is opened where it is now.
    create(place.domain(), file(&moved));
    assert_eq!(receiver(place.domain()).try_recv().expect("it is there"), b"a message");
    std::fs::remove_dir_all(&moved).expect("ours");
    place.domain().remove("box").expect("nobody uses it");
    create(place.domain(), file(&directory));
}

/// A file that is cut off under a mapping is an error, and no signal.
#[test]
fn a_file_that_is_cut_off_is_an_error() {
    let place = Place::new();
    let directory = Place::files_of(place.domain());
    create(place.domain(), file(&directory));
    let (out, inbox) = (sender(place.domain()), receiver(place.domain()));
    for number in 0..3 {
        out.send(&pattern(100, number)).expect("room");
    }
    assert_eq!(inbox.recv().expect("the first"), pattern(100, 0));
    let path = only_file(&directory);
    std::fs::OpenOptions::new().write(true).open(&path).expect("ours").set_len(4096).expect("ours");
    let failed = |error: &Error| matches!(error, Error::LogFailed { .. });
    match out.try_send(b"into nowhere") {
        Err(TrySendError::Failed(_, error)) if failed(&error) => {}
        other => panic!("{other:?}"),
    }
    match inbox.try_recv() {
        Err(TryRecvError::Failed(error)) if failed(&error) => {}
        other => panic!("{other:?}"),
    }
}
