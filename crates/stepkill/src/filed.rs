//! The survivor beside a mailbox whose messages are in files: what is the same there the judge looks at; here is what is not.
//!
//! The files are in a directory beside the domain. The first one is made here, as docs/format.md has it, so that it is small. Before the operation they are as a world says ([`Stored`]). After it the survivor
//! - puts a log in order that nobody has open: whatever a process left that died in doing that, all that was accepted is there;
//! - finds a log that failed refused to everybody, closes it, and has it again with all that was accepted;
//! - reads what an independent reader had not read yet, in order: who is dead does not keep that name, who stands still does;
//! - leaves no file.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tubepost::{Cursor, Domain, Error, Fsync, TryRecvError};

use crate::judge::{Judge, SHORT, timely};
use crate::ledger::Outcome;
use crate::letters::{self, JUDGE};
use crate::mail::{Inbox, NotSent};
use crate::world::{BOX, Came, Filed, Owner, Stored, World};

/// The name of the one independent reader.
pub const AUDIT: &str = "audit";
/// Two messages of this length fill the first file: there is no room for one more, however short.
pub const HALF: usize = RECORDS as usize / 2 - 16 - HEAD;
/// Bytes of a record before its message, of a file before its marks, and of its records (docs/format.md).
const HEAD: usize = 32;
const MARKS_AT: u64 = 4096;
const RECORDS: u64 = 16384;
/// Where records begin in the first file.
const RECORDS_AT: u64 = MARKS_AT + RECORDS / HEAD as u64 * 8;
/// A mark that says that somebody has a message in hand.
const TAKEN: u64 = checked(1 << 62 | 1 << 16 | 2);

/// Where messages are that are kept in files.
pub fn log_of(domain: &Path) -> PathBuf {
    let mut name = domain.as_os_str().to_owned();
    name.push(",log");
    name.into()
}

/// Whether this is one of the files there, by whatever name, that nobody keeps open. (A handle keeps the directory, and a cursor its place.)
pub fn is_file_of(domain: &Path, path: &Path) -> bool {
    let log = log_of(domain);
    path.starts_with(&log) && path != log && path.extension().is_none_or(|it| it != "cursor")
}

/// The choice of it.
pub fn kept(domain: &Domain, how: Filed) -> tubepost::File {
    tubepost::File { dir: Some(log_of(domain.path())), fsync: Some(how.fsync), ..Default::default() }
}

/// Whether it is an operation on what nobody has open.
pub fn is_asleep(world: &World) -> bool {
    world.filed.is_some_and(|how| how.before == Stored::Asleep)
}

/// No file of it is left.
pub fn is_gone(domain: &Domain) {
    let log = log_of(domain.path());
    let left: Vec<_> = fs::read_dir(&log).into_iter().flatten().flatten().map(|it| it.file_name()).collect();
    assert!(!log.exists(), "left of the log: {left:?}");
}

impl Judge {
    pub fn prepare_files(&mut self) {
        if self.world.owner == Owner::Nobody {
            return;
        }
        Inbox::create(&self.domain, &self.world).expect("a free name");
        make_first_file(&log_of(self.domain.path()));
        (self.out, self.inbox) = (Some(self.open()), Some(self.join()));
        if self.world.filed.is_some_and(|how| how.before == Stored::Passed) {
            self.pass_a_file();
        } else {
            self.send_what_waits();
        }
        if is_asleep(&self.world) {
            self.fall_asleep_in_files();
            spoil_the_end(&log_of(self.domain.path()), &self.world);
        }
    }

    /// All of the first file was received, but nobody has looked beyond its end who could take it away.
    fn pass_a_file(&mut self) {
        let (out, inbox) = (self.open(), self.join());
        for number in [100, 101] {
            out.try_send(&letters::write((JUDGE, number), HALF)).expect("room");
        }
        inbox.plain().recv().expect("it is there");
        let second = inbox.plain().take().expect("it is there");
        self.settled = 2;
        self.send_what_waits();
        second.accept().expect("it is ours");
    }

    /// Nobody has it open, and of the domain there is nothing, as after a restart.
    pub fn fall_asleep_in_files(&mut self) {
        (self.out, self.inbox) = (None, None);
        for entry in fs::read_dir(self.domain.path()).expect("our own").flatten() {
            fs::remove_file(entry.path()).expect("our own");
        }
    }

    /// Puts it in order, if nobody did, and opens it.
    fn wake_up(&mut self) {
        Inbox::create(&self.domain, &self.world).expect("whatever is in the directory, it can be had");
        (self.out, self.inbox) = (Some(self.open()), Some(self.join()));
    }

    /// Deadlines hold, and nobody is taken for dead; where each message has to be on the disk nobody sends, for who stands still may
    /// have claimed the record before (docs/limits.md).
    pub fn meanwhile_in_files(&mut self) {
        if self.out.is_none() {
            return self.meanwhile_it_is_opened();
        }
        let sends = self.world.filed.is_some_and(|how| how.fsync != Fsync::Each);
        if self.has_a_reader() {
            // Its place is made, and it may not have come there yet.
            let audit = timely(SHORT, || Cursor::<[u8]>::options().domain(&self.domain).open(BOX, AUDIT));
            assert!(
                matches!(audit, Ok(_) | Err(Error::LogRefused { .. })),
                "its place is in use, and another one is told {audit:?}"
            );
        }
        match self.way % 3 {
            0 => while self.receive(SHORT) {},
            1 if sends => self.send_until_full(SHORT),
            _ => {}
        }
        self.bustle();
        while self.receive(SHORT) {}
        if sends {
            self.send(SHORT);
        }
        self.bustle();
    }

    /// Another one stands still that opens it: it is had, or refused with the reason, soon.
    pub fn meanwhile_it_is_opened(&self) {
        match timely(SHORT, || Inbox::create(&self.domain, &self.world)) {
            Ok(()) | Err(Error::LogRefused { .. } | Error::Busy { .. }) => {}
            Err(error) => panic!("who opens it as well is told {error:?}"),
        }
        self.domain.gc().expect("our own domain");
    }

    pub fn after_in_files(&mut self, outcomes: &[Outcome]) {
        let failed = outcomes
            .iter()
            .any(|it| matches!(it, Outcome::WentOn(Came::Refused(why)) if why.starts_with("LogFailed")));
        if failed {
            self.it_failed();
        }
        if self.effects.ends {
            return;
        }
        if self.out.is_none() {
            self.wake_up();
        }
        self.read_on(outcomes);
    }

    /// Everybody is told, until all have closed it; then it is as good as before.
    fn it_failed(&mut self) {
        let is_it = |error: &Error| assert!(matches!(error, Error::LogFailed { .. }), "it failed: {error:?}");
        if let (Some(out), Some(inbox)) = (&self.out, &self.inbox) {
            match out.plain().try_send(b"more") {
                Err(tubepost::TrySendError::Failed(_, error)) => is_it(&error),
                other => panic!("a log that failed is sent to: {other:?}"),
            }
            match inbox.plain().try_recv() {
                Err(TryRecvError::Failed(error)) => is_it(&error),
                other => panic!("a log that failed is received from: {other:?}"),
            }
            assert!(matches!(out.try_send(b"more"), Err(NotSent::Failed(_))));
        }
        (self.out, self.inbox) = (None, None);
        if !self.effects.ends {
            self.wake_up();
        }
    }

    fn has_a_reader(&self) -> bool {
        log_of(self.domain.path()).join(format!("{AUDIT}.cursor")).exists()
    }

    /// What an independent reader finds that comes in the place of the one who is dead.
    fn read_on(&mut self, outcomes: &[Outcome]) {
        if !self.has_a_reader() {
            return;
        }
        let audit = Cursor::<[u8]>::options().domain(&self.domain).open(BOX, AUDIT);
        let audit = audit.unwrap_or_else(|error| panic!("a dead one's place is refused: {error}"));
        let mut numbers = Vec::new();
        loop {
            match audit.try_recv() {
                Ok(letter) => match letters::read(&letter) {
                    Ok((JUDGE, number)) => numbers.push(number),
                    Ok(_) => {}
                    Err(why) => panic!("{why}"),
                },
                Err(TryRecvError::Empty) => break,
                Err(error) => panic!("an independent reader is refused: {error:?}"),
            }
        }
        let next = numbers.first().copied().unwrap_or(self.ledger.next());
        let whole = numbers.iter().copied().eq(next..self.ledger.next());
        assert!(whole, "an independent reader finds {numbers:?} of {}", self.ledger.next());
        let done = matches!(outcomes, [Outcome::Done | Outcome::WentOn(Came::Done)]);
        let read = self.world.filed.map_or(0, |how| how.read);
        assert!(next <= read && (!done || next == read), "it goes on at {next}: {outcomes:?}");
    }
}

/// A small one, before the library makes a large one.
fn make_first_file(log: &Path) {
    let text = fs::read_to_string(log.join("mailbox")).expect("it was just made");
    let id = text.lines().find_map(|line| line.strip_prefix("id ")).expect("it has one");
    let half = |digits| u64::from_str_radix(digits, 16).expect("digits");
    let fields = [half(&id[..16]), half(&id[16..]), 0, 0, RECORDS, 0].map(u64::to_le_bytes).concat();
    let mut bytes = b"tubelog\0".to_vec();
    bytes.extend(2_u32.to_le_bytes());
    bytes.extend(crc32c(&fields).to_le_bytes());
    bytes.extend(fields);
    bytes.resize((RECORDS_AT + RECORDS) as usize, 0);
    bytes.copy_within(..64, 0x800); // it is there twice
    fs::write(log.join(format!("{:020}.log", 0)), bytes).expect("our own");
}

/// A mark with its check.
const fn checked(fields: u64) -> u64 {
    let mixed = fields.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    fields | (mixed >> 51 & 0x1FFF) << 49
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| sum >> 1 ^ if sum & 1 == 1 { 0x82F6_3B78 } else { 0 })
    })
}

/// What was not finished behind the last message: something that looks like one further on, and a mark.
fn spoil_the_end(log: &Path, world: &World) {
    let path = log.join(format!("{:020}.log", 0));
    let file = OpenOptions::new().read(true).write(true).open(path).expect("the first one");
    let record = (HEAD + world.length).next_multiple_of(8);
    let end = RECORDS_AT + record as u64 * u64::from(world.waiting);
    let mut bytes = vec![0; record];
    file.read_exact_at(&mut bytes, end - record as u64).expect("the last message");
    file.write_all_at(&bytes, end + 104).expect("our own");
    file.write_all_at(&TAKEN.to_le_bytes(), MARKS_AT + 8 * u64::from(world.waiting)).expect("our own");
}
