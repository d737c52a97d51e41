//! Arbitrary files of a log, opened as a mailbox and used. For a test, and for `cargo fuzz`, whose target includes this file.
//!
//! Arbitrary bytes are no log and would be refused at once. So the input is a list of changes to a real one, in which messages are in all states:
//!
//! ```text
//! byte 0     who comes; bit 6: while the mailbox is in use, bit 7: the check sum of the header is made right again
//! then, per change: a byte says which file and what of it, two bytes which word, a byte what kind of value, eight bytes
//! ```
//!
//! Whoever comes gets what was sent, whole, or an error; and nothing goes on for ever.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tubepost::{Cursor, Domain, Entry, Error, File, From, Journal, Mailbox, Receiver, Sender, TryRecvError};

/// Where marks begin, and records of the first file, which has a mebibyte of them (docs/format.md).
const MARKS_AT: usize = 4096;
const RECORDS_AT: usize = MARKS_AT + (1 << 20) / 32 * 8;
const MESSAGES: u64 = 24;
/// More than there are: then it does not end.
const MANY: usize = 1000;
/// What a call may take; a sanitizer makes it several times slower, and a machine may stand still.
const SLACK: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_micros(200);

/// Every byte of a letter says which one it is.
fn letter(number: u64) -> Vec<u8> {
    let mut letter = vec![number as u8; 16 + (number * 7 % 200) as usize];
    letter[..8].copy_from_slice(&number.to_le_bytes());
    letter
}

fn was_sent(bytes: &[u8]) -> bool {
    let number = bytes.get(..8).map(|word| u64::from_le_bytes(word.try_into().expect("eight")));
    bytes == b"more" || number.is_some_and(|number| number < MESSAGES && bytes == letter(number))
}

/// A domain, and a log that was used.
pub struct Stage {
    domain: Domain,
    directory: PathBuf,
    files: BTreeMap<String, Vec<u8>>,
    /// Where words of the file of records are that mean something.
    words: Vec<usize>,
}

impl Stage {
    /// In a domain with nothing else in it.
    pub fn new(domain: &Domain, directory: &Path) -> Stage {
        let mut stage = Stage {
            domain: domain.clone(),
            directory: directory.into(),
            files: BTreeMap::new(),
            words: Vec::new(),
        };
        stage.create().expect("a fresh directory");
        {
            let (out, inbox) = (stage.sender().expect("it exists"), stage.receiver().expect("it exists"));
            let audit = Cursor::<[u8]>::options().domain(domain).open("box", "audit").expect("it exists");
            (0..MESSAGES).for_each(|number| out.send(&letter(number)).expect("room"));
            (0..5).for_each(|_| drop(inbox.recv().expect("it was sent")));
            let held = [(); 3].map(|()| inbox.take().expect("it was sent"));
            audit.recv().expect("it was sent");
            let [back, accepted, taken] = held;
            drop(back);
            accepted.accept().expect("in hand");
            stage.keep();
            drop(taken);
        }
        stage.forget();
        stage
    }

    fn keep(&mut self) {
        for entry in fs::read_dir(&self.directory).expect("ours").flatten() {
            let name = entry.file_name().into_string().expect("ours");
            self.files.insert(name, fs::read(entry.path()).expect("ours"));
        }
        let log = &self.files[LOG];
        self.words = (0..log.len()).step_by(8).filter(|at| log[*at..*at + 8] != [0; 8]).collect();
    }

    fn create(&self) -> Result<tubepost::Id, Error> {
        let file = File { dir: Some(self.directory.clone()), ..File::default() };
        Mailbox::<[u8]>::options().domain(&self.domain).max_message(4096).strategy(file).create("box")
    }

    fn sender(&self) -> Result<Sender<[u8]>, Error> {
        Sender::<[u8]>::options().domain(&self.domain).open("box")
    }

    fn receiver(&self) -> Result<Receiver<[u8]>, Error> {
        Receiver::<[u8]>::options().domain(&self.domain).open("box")
    }

    /// As after a restart.
    fn forget(&self) {
        for entry in fs::read_dir(self.domain.path()).into_iter().flatten().flatten() {
            let _ = fs::remove_file(entry.path());
        }
    }

    /// Writes the files down, changed, and has them used.
    pub fn play(&self, input: &[u8]) {
        let [who, changes @ ..] = input else { return };
        let _ = fs::remove_dir_all(&self.directory);
        fs::create_dir_all(&self.directory).expect("ours");
        let mut files = self.files.clone();
        for change in changes.chunks_exact(12) {
            self.change(&mut files, change);
        }
        if who & 0x80 != 0 {
            let log = files.get_mut(LOG).expect("it is there");
            let check = crc32c(&log[16..64]).to_le_bytes();
            log[12..16].copy_from_slice(&check);
            log.copy_within(..64, 0x800);
        }
        let put = |files: &BTreeMap<String, Vec<u8>>| {
            files.iter().for_each(|(name, bytes)| fs::write(self.directory.join(name), bytes).expect("ours"));
        };
        if who & 0x40 == 0 {
            put(&files);
            self.come(who & 0x3F);
        } else {
            // They change under the hands of those who have them open.
            put(&self.files);
            let inbox = self.create().and_then(|_| self.receiver());
            put(&files);
            inbox.iter().for_each(receive);
            self.come(who & 0x3F);
        }
        self.forget();
    }

    fn change(&self, files: &mut BTreeMap<String, Vec<u8>>, change: &[u8]) {
        let which = usize::from(u16::from_le_bytes([change[1], change[2]]));
        let value = u64::from_le_bytes(change[4..].try_into().expect("eight"));
        let (name, at) = match change[0] % 8 {
            0..=2 => (LOG, self.words[which % self.words.len()]),
            3 => (LOG, which % 32 * 8),
            4 => (LOG, MARKS_AT + which % 40 * 8),
            5 => (LOG, RECORDS_AT + which % 800 * 8),
            other => {
                let small = [["mailbox", "senders"], ["life", "audit.cursor"]][usize::from(other - 6)];
                (small[which % 2], which / 2)
            }
        };
        let Some(bytes) = files.get_mut(name) else { return };
        let at = at % bytes.len().max(1);
        let mut now = [0; 8];
        let length = bytes.len().saturating_sub(at).min(8);
        now[..length].copy_from_slice(&bytes[at..at + length]);
        let now = u64::from_le_bytes(now);
        let other = RECORDS_AT + value as usize % 800 * 8;
        let new = match change[3] % 8 {
            0 => value,
            1 => now ^ 1 << (value % 64),
            2 => now.wrapping_add(value % 64).wrapping_sub(32),
            3 => 0,
            4 => u64::MAX - value % 16,
            5 => now & !0xFFFF_FFFF | value & 0xFFFF_FFFF,
            // As it is elsewhere.
            6 if name == LOG => u64::from_le_bytes(bytes[other..other + 8].try_into().expect("eight")),
            _ => now.rotate_left(value as u32 % 64),
        };
        bytes[at..at + length].copy_from_slice(&new.to_le_bytes()[..length]);
        if change[3] & 0x80 != 0 && name != LOG {
            bytes.truncate(at);
        } else if change[3] == 0x7F {
            bytes.truncate(value as usize % (bytes.len() + 1));
        }
    }

    /// Everybody who may come, in an order that begins with this one.
    fn come(&self, who: u8) {
        for step in 0..3 {
            match (who / 5 * step + who) % 5 {
                0 => timely("receiving", || {
                    self.create().and_then(|_| self.receiver()).iter().for_each(receive);
                }),
                1 => timely("sending", || {
                    let Ok(out) = self.create().and_then(|_| self.sender()) else { return };
                    for _ in 0..3 {
                        let _ = out.try_send(b"more");
                    }
                    let _ = (out.flush(), out.send_timeout(&letter(3), SHORT), out.stat());
                }),
                2 => timely("reading", || self.read()),
                3 => timely("looking", || self.look()),
                _ => timely("gc and removal", || {
                    let _ = (self.domain.list(), self.domain.gc(), self.domain.remove("box"));
                }),
            }
        }
    }

    fn read(&self) {
        let options = || Cursor::<[u8]>::options().domain(&self.domain);
        for options in [options(), options().from(From::Start)] {
            let Ok(audit) = self.create().and_then(|_| options.open("box", "audit")) else { continue };
            ends(|| match audit.try_recv() {
                Ok(message) => {
                    assert!(was_sent(&message), "it was not sent: {message:?}");
                    Some(())
                }
                Err(TryRecvError::Failed(Error::DamagedMessages { .. })) => Some(()),
                Err(_) => None,
            });
        }
    }

    fn look(&self) {
        let Ok(journal) = Journal::open(&self.directory) else { return };
        let _ = journal.verify();
        let mut entries = journal.entries(0).into_iter().flatten();
        ends(|| match entries.next()? {
            Ok(Entry::Sent { bytes, .. }) => {
                assert!(was_sent(&bytes), "it was not sent: {bytes:?}");
                Some(())
            }
            other => other.ok().map(drop),
        });
        let _ = journal.repair();
        let _ = journal.verify();
    }
}

const LOG: &str = "00000000000000000000.log";

fn receive(inbox: &Receiver<[u8]>) {
    let _ = inbox.try_take().map(|delivery| assert!(was_sent(&delivery), "it was not sent"));
    ends(|| match inbox.try_recv() {
        Ok(message) => {
            assert!(was_sent(&message), "it was not sent: {message:?}");
            Some(())
        }
        Err(TryRecvError::Failed(Error::DamagedMessages { .. })) => Some(()),
        Err(_) => None,
    });
    let _ = (inbox.recv_timeout(SHORT), inbox.stat());
}

fn ends(mut next: impl FnMut() -> Option<()>) {
    let count = (0..MANY).take_while(|_| next().is_some()).count();
    assert!(count < MANY, "it does not end");
}

fn timely(what: &str, act: impl FnOnce()) {
    let begin = Instant::now();
    act();
    assert!(begin.elapsed() < SLACK, "{what} took {:?}", begin.elapsed());
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| sum >> 1 ^ if sum & 1 == 1 { 0x82F6_3B78 } else { 0 })
    })
}
