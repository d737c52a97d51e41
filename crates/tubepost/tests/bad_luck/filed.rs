//! Messages in files: a disk that is full, and rubbish anywhere in the files.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tubepost::{
    Cursor, Domain, Entry, Error, File, From, Journal, Mailbox, Receiver, Sender, TryRecvError, TrySendError,
};

use crate::logs::Stage;
use crate::memory::{fill, on_a_small_file_system, small};
use crate::stage::{Cue, Dice, Place, Role};

pub const ROLES: &[Role] = &[("file-cramped", cramped)];

fn create(domain: &Domain, directory: &Path) -> Result<tubepost::Id, Error> {
    let file = File { dir: Some(directory.into()), ..File::default() };
    Mailbox::<[u8]>::options().domain(domain).max_message(100_000).strategy(file).create("box")
}

fn sender(domain: &Domain) -> Sender<[u8]> {
    Sender::<[u8]>::options().domain(domain).open("box").expect("it exists")
}

fn receiver(domain: &Domain) -> Receiver<[u8]> {
    Receiver::<[u8]>::options().domain(domain).open("box").expect("it exists")
}

/// Every byte of a letter says which one it is.
fn letter(number: u64) -> Vec<u8> {
    let mut letter = vec![number as u8; 1000 + number as usize % 3000];
    letter[..8].copy_from_slice(&number.to_le_bytes());
    letter
}

fn number_of(letter: &[u8]) -> Option<u64> {
    let number = u64::from_le_bytes(letter.get(..8)?.try_into().ok()?);
    (number < 100_000 && letter == self::letter(number)).then_some(number)
}

/// A mailbox on a disk that is full.
fn cramped(cue: &mut Cue) {
    let Some(domain) = small(cue, "16m") else { return };
    let directory = domain.path().join("..files");
    create(&domain, &directory).expect("there is room");
    let (out, inbox) = (sender(&domain), receiver(&domain));
    let (mut sent, mut received) = (0, 0);
    for lap in 0..3 {
        let other = domain.path().join("..other");
        fs::write(&other, vec![1; 2 << 20]).expect("there is room");
        let error = loop {
            match out.try_send(&letter(sent)) {
                Ok(()) => sent += 1,
                Err(TrySendError::Failed(message, error)) => {
                    assert!(message == letter(sent), "the message comes back");
                    break error;
                }
                Err(other) => panic!("{other:?}"),
            }
            assert!(sent < 100_000, "16 MiB don't hold so many");
        };
        let Error::DiskFull { wanted, .. } = &error else { panic!("{error:?}") };
        assert!(*wanted > 0 && error.to_string().contains("no space on the disk"), "{error}");
        assert!(sent > 1000, "{sent} in lap {lap}");
        fill(&domain);
        for _ in 0..20 {
            assert!(matches!(out.try_send(&letter(sent)), Err(TrySendError::Failed(..))));
        }
        // Nothing is torn, and what is received makes room.
        while let Ok(message) = inbox.try_recv() {
            assert_eq!(number_of(&message), Some(received));
            received += 1;
        }
        assert_eq!(received, sent);
        fs::remove_file(domain.path().join("..filler")).expect("our own");
        fs::remove_file(other).expect("our own");
        out.send(&letter(sent)).expect("there is room again");
        sent += 1;
    }
    assert!(Journal::open(&directory).expect("it is there").verify().expect("readable").is_sound());
    cue.say("done");
}

#[test]
fn a_disk_that_is_full() {
    on_a_small_file_system("a_disk_that_is_full", "file-cramped");
}

/// Where a mailbox with some messages is, none of which anybody has open.
fn filled(place: &Place, directory: &Path, messages: u64) {
    create(place.domain(), directory).expect("it can be made");
    let (out, inbox) = (sender(place.domain()), receiver(place.domain()));
    for number in 0..messages {
        out.send(&letter(number)).expect("room");
    }
    for number in 0..messages / 4 {
        assert_eq!(number_of(&inbox.recv().expect("it is there")), Some(number));
    }
}

/// Whatever is written into the files: what is received was sent, in order, and nothing but errors comes of it.
#[test]
fn rubbish_anywhere_in_the_files() {
    const MESSAGES: u64 = 40;
    let place = Place::new();
    let directory = Place::files_of(place.domain());
    let (mut whole, mut fewer, mut refused) = (0, 0, 0);
    for round in 0..300u64 {
        filled(&place, &directory, MESSAGES);
        let mut dice = Dice::new(round);
        let awake = dice.below(2) == 0;
        let names = ["00000000000000000000.log", "mailbox", "life", "senders"];
        // Mostly the records and their marks.
        let name = if dice.below(8) > 0 { names[0] } else { names[dice.below(4) as usize] };
        let path = directory.join(name);
        let length = fs::metadata(&path).expect("it is there").len();
        let file = fs::OpenOptions::new().write(true).open(&path).expect("ours");
        for _ in 0..=dice.below(6) {
            let records = 4096 + (1 << 20) / 32 * 8;
            let at = match dice.below(4) {
                0 => dice.below(512.min(length)),
                1 if length > 8192 => 4096 + dice.below(MESSAGES * 8),
                _ if length > records => records + dice.below(MESSAGES * 2600),
                _ => dice.below(length),
            };
            let rubbish: Vec<u8> = (0..=dice.below(40))
                .map(|_| [0, 1, 0xFF, dice.below(256) as u8][dice.below(4) as usize])
                .collect();
            file.write_all_at(&rubbish, at).expect("ours");
        }
        if !awake {
            for file in place.files() {
                fs::remove_file(place.path().join(file)).expect("ours");
            }
        }
        let opened = create(place.domain(), &directory).and_then(|_| {
            let options = Receiver::<[u8]>::options().domain(place.domain());
            options.open("box")
        });
        match opened {
            Ok(inbox) => {
                let (mut last, mut count) = (None, 0);
                loop {
                    match inbox.try_recv() {
                        Ok(message) => {
                            let number = number_of(&message).expect("it was sent");
                            let behind = last.is_none_or(|last| number > last);
                            assert!(behind || count < 2 * MESSAGES, "round {round}: {number} after {last:?}");
                            last = Some(number);
                            count += 1;
                        }
                        Err(TryRecvError::Empty) => break,
                        Err(TryRecvError::Failed(Error::DamagedMessages { .. })) => {}
                        Err(TryRecvError::Failed(_)) => break,
                        Err(TryRecvError::Closed(_)) => break,
                    }
                    assert!(count < 1000, "round {round}: it does not end");
                }
                if count == MESSAGES - MESSAGES / 4 {
                    whole += 1
                } else {
                    fewer += 1
                }
                let _ = Sender::<[u8]>::options()
                    .domain(place.domain())
                    .open("box")
                    .map(|out| out.try_send(b"more"));
                let options = Cursor::<[u8]>::options().domain(place.domain()).from(From::Start);
                if let Ok(audit) = options.open("box", "audit") {
                    for _ in 0..200 {
                        match audit.try_recv() {
                            Ok(message) => assert!(message == b"more" || number_of(&message).is_some()),
                            Err(TryRecvError::Failed(Error::DamagedMessages { .. })) => {}
                            Err(_) => break,
                        }
                    }
                }
            }
            Err(_) => refused += 1,
        }
        if let Ok(journal) = Journal::open(&directory) {
            for entry in journal.entries(0).into_iter().flatten().take(500).map_while(Result::ok) {
                if let Entry::Sent { bytes, .. } = entry {
                    assert!(bytes == b"more" || number_of(&bytes).is_some(), "round {round}");
                }
            }
            let _ = journal.repair();
        }
        let _ = place.domain().remove("box");
        for file in place.files() {
            fs::remove_file(place.path().join(file)).expect("ours");
        }
        let _ = fs::remove_dir_all(&directory);
    }
    assert!(whole > 20 && fewer > 20, "{whole} whole, {fewer} with less, {refused} refused");
}

/// Arbitrary changes to the files of a log, whoever comes then. What `cargo fuzz run logs` does with inputs of its own choice.
#[test]
fn arbitrary_files_harm_nobody() {
    let place = Place::new();
    let stage = Stage::new(place.domain(), &Place::files_of(place.domain()));
    let mut dice = Dice::new(8);
    let mut input = Vec::new();
    for round in 0..250 {
        if dice.below(3) > 0 || round == 0 {
            let changes = dice.below(6) as usize;
            input = dice.bytes(1 + 12 * changes);
        }
        // Or the one before, changed a little.
        for _ in 0..dice.below(4) {
            let at = dice.below(input.len() as u64) as usize;
            input[at] = dice.roll() as u8;
        }
        stage.play(&input);
    }
}
