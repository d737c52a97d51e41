//! A look at the messages of a mailbox that is kept in files: all that is there, whether it is in use or not; and repairing what is damaged.

use crate::domain::Domain;
use crate::domain::access::{Right, permits};
use crate::domain::log;
use crate::domain::name::Name;
use crate::error::{Error, Whose};
use crate::journal::file::LogFile;
use crate::journal::letter::Letter;
use crate::journal::records::Found;
use crate::journal::recovery::Recovered;
use crate::journal::store::Store;
use crate::journal::words::Spot;
use crate::memory::payload::replace;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Acquire;
use std::time::{Duration, SystemTime};

/// The messages of a mailbox that is kept in [files](crate::File), as they lie there.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-journal-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// # let files = std::path::PathBuf::from(format!("/dev/shm/tubepost-doc-journal-files-{}", std::process::id()));
/// use tubepost::{Entry, File, Journal, Mailbox, Sender};
///
/// Mailbox::<str>::options().domain(&domain).strategy(File { dir: Some(files), ..File::default() }).create("orders")?;
/// Sender::<str>::options().domain(&domain).open("orders")?.send("one of these")?;
///
/// let journal = Journal::of(&domain, "orders")?;
/// assert!(journal.verify()?.is_sound());
/// let Some(Ok(Entry::Sent { seq: 0, bytes, .. })) = journal.entries(0)?.next() else { panic!("it is there") };
/// assert_eq!(bytes, b"one of these");
/// # drop(journal);
/// # domain.remove("orders")?;
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Journal {
    store: Store,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Standing {
    /// It waits to be delivered.
    Waits,
    /// A receiver has it in hand, or had when it died.
    InHand,
    /// It was delivered, and came back: it waits to be delivered again.
    Back,
    /// It was received.
    Received,
    /// Its sender took it back.
    Withdrawn,
}

/// One record of a [`Journal`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entry {
    /// A message.
    Sent {
        /// Its number.
        seq: u64,
        /// When it was sent.
        time: SystemTime,
        /// The process that sent it.
        pid: u32,
        /// What became of it.
        standing: Standing,
        /// How often it was delivered before.
        redelivered: u32,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// No message: its sender died before it was complete, or is just writing it.
    Unfinished {
        /// Its number.
        seq: u64,
    },
    /// Messages whose bytes are not what was written.
    Damaged {
        /// The number of the first.
        from: u64,
        /// The number of the last.
        to: u64,
    },
}

/// What [`Journal::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Files.
    pub files: u64,
    /// Whole messages, received or not.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many of them wait to be received, again or for the first time.
    pub waiting: u64,
    /// Records without a message: their senders died.
    pub unfinished: u64,
    /// Numbers of messages that are damaged, also those that were given up when the mailbox was opened: from … to …, both included.
    pub damaged: Vec<(u64, u64)>,
    /// Places beside messages that are damaged: what a file says of itself, or who received a message.
    pub beside: u64,
    /// Files that could not be read when the mailbox was opened, and were set aside.
    pub set_aside: Vec<PathBuf>,
    /// The number of the next message.
    pub next: u64,
}

impl Verified {
    /// Whether everything is as it was written.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.beside == 0 && self.set_aside.is_empty()
    }
}

impl Journal {
    /// The messages of this mailbox.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchName`] if there is none that is kept in files; [`Error::BadName`]; [`Error::Damaged`] if what describes it is not readable; [`Error::Denied`].
    pub fn of(domain: &Domain, name: &str) -> Result<Journal, Error> {
        Journal::open(log::directory(domain, &Name::new(name)?)?)
    }

    /// The messages in this directory.
    ///
    /// # Errors
    ///
    /// As for [`of`](Self::of).
    pub fn open(directory: impl AsRef<Path>) -> Result<Journal, Error> {
        Ok(Journal { store: Store::open(directory.as_ref(), false)? })
    }

    /// Where the files are.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.store.path.clone()
    }

    /// All records from the one of this number on, in order. Those that come meanwhile may be among them.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] to who may not receive; [`Error::Os`] if the directory can't be read.
    pub fn entries(&self, from: u64) -> Result<Entries<'_>, Error> {
        self.may_receive()?;
        self.walk(from)
    }

    fn may_receive(&self) -> Result<(), Error> {
        let path = &self.store.path;
        let facts = self.store.facts()?;
        let mode = self.store.described.mode;
        if permits(mode, facts.owner, facts.group, Right::Receive) {
            return Ok(());
        }
        let name = self.store.life().name;
        let whose = Box::new(Whose { name, user: facts.owner, group: facts.group, mode });
        Err(Error::Denied { doing: Right::Receive.doing(false), path: path.clone(), whose: Some(whose) })
    }

    fn walk(&self, from: u64) -> Result<Entries<'_>, Error> {
        let files = self.store.files()?;
        let begin = files.iter().rposition(|first| *first <= from).unwrap_or(0);
        Ok(Entries { store: &self.store, files: files[begin..].iter().copied().collect(), at: None, from })
    }

    /// Looks at every record.
    ///
    /// # Errors
    ///
    /// As for [`entries`](Self::entries).
    pub fn verify(&self) -> Result<Verified, Error> {
        let mut found = Verified { files: self.store.files()?.len() as u64, ..Verified::default() };
        for entry in self.walk(0)? {
            match entry? {
                Entry::Sent { seq, standing, bytes, .. } => {
                    found.messages += 1;
                    found.bytes += bytes.len() as u64;
                    found.waiting += u64::from(matches!(standing, Standing::Waits | Standing::Back));
                    found.next = seq + 1;
                }
                Entry::Unfinished { seq } => {
                    found.unfinished += 1;
                    found.next = seq + 1;
                }
                Entry::Damaged { from, to } => {
                    match found.damaged.last_mut() {
                        Some((_, last)) if *last + 1 == from => *last = to,
                        _ => found.damaged.push((from, to)),
                    }
                    found.next = to + 1;
                }
            }
        }
        for first in self.store.files()? {
            if let Ok(Some(file)) = self.store.file(first) {
                found.beside += file.damaged_beside();
            }
        }
        found.set_aside = self.store.set_aside()?;
        Ok(found)
    }

    /// Puts in order what nobody uses: damaged messages are given up, and what is behind the last whole one is cut off.
    ///
    /// # Errors
    ///
    /// [`Error::LogRefused`] if a process uses it; [`Error::DiskFull`], [`Error::Os`].
    pub fn repair(&self) -> Result<Recovered, Error> {
        log::repair(&self.store.path)
    }
}

/// The records of a [`Journal`], one after the other.
#[derive(Debug)]
pub struct Entries<'a> {
    store: &'a Store,
    files: VecDeque<u64>,
    at: Option<(LogFile, Spot)>,
    from: u64,
}

impl Entries<'_> {
    fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        loop {
            let Some((file, spot)) = &mut self.at else {
                let Some(first) = self.files.pop_front() else { return Ok(None) };
                match self.store.file(first) {
                    Ok(file) => self.at = file.map(|file| (file, Spot::default())),
                    Err(Error::Damaged { .. }) => {
                        let to = self.files.front().map_or(first, |next| next - 1);
                        return Ok(Some(Entry::Damaged { from: first, to }));
                    }
                    Err(other) => return Err(other),
                }
                continue;
            };
            let here = *spot;
            let seq = file.number(here);
            let found = file.look(here);
            if file.is_lost() {
                return Err(file.lost());
            }
            let entry = match found {
                Found::Message(whole, units) => {
                    *spot = here.after(units);
                    let (about, mut bytes) = (whole.about, Vec::new());
                    replace(&Letter { file: &*file, whole }, &mut bytes);
                    let mark = file.mark_at(here.index);
                    let standing = match mark {
                        _ if mark.is_fresh() => Standing::Waits,
                        _ if mark.is_back() => Standing::Back,
                        _ if mark.taker().is_some() => Standing::InHand,
                        crate::journal::words::Mark::PASSED => Standing::Withdrawn,
                        _ => Standing::Received,
                    };
                    let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(about.time);
                    Entry::Sent {
                        seq,
                        time,
                        pid: about.pid,
                        standing,
                        redelivered: mark.before().into(),
                        bytes,
                    }
                }
                Found::Skipped(units) => {
                    *spot = here.after(units);
                    match file.mark_at(here.index).is_lost() {
                        true => Entry::Damaged { from: seq, to: seq },
                        false => Entry::Unfinished { seq },
                    }
                }
                Found::Claimed => {
                    *spot = file.step(here).unwrap_or(here.after(1));
                    Entry::Unfinished { seq }
                }
                Found::Damaged => {
                    *spot = file.step(here).unwrap_or(here.after(1));
                    Entry::Damaged { from: seq, to: seq }
                }
                Found::End => {
                    self.at = None;
                    match self.files.front() {
                        Some(next) if *next > seq => Entry::Damaged { from: seq, to: *next - 1 }, // a file is missing
                        _ => continue,
                    }
                }
                Found::Nothing | Found::Rubbish | Found::Closed => {
                    let resumed = if here.units < file.units { file.resume(here) } else { None };
                    let behind = matches!(found, Found::Rubbish);
                    let known = Spot::of(file.hints().tail.load(Acquire)).units > here.units;
                    match (resumed, self.files.front()) {
                        (Some(next), _) => {
                            let to = file.number(next) - 1;
                            *spot = next;
                            Entry::Damaged { from: seq, to }
                        }
                        (None, next) => {
                            let to = next.map_or(seq, |next| next.saturating_sub(1));
                            let damaged = behind || known || next.is_some_and(|next| *next > seq);
                            self.at = None;
                            if !damaged {
                                continue;
                            }
                            Entry::Damaged { from: seq, to: to.max(seq) }
                        }
                    }
                }
            };
            if seq >= self.from || matches!(entry, Entry::Damaged { to, .. } if to >= self.from) {
                return Ok(Some(entry));
            }
        }
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Result<Entry, Error>> {
        self.next_entry().transpose()
    }
}
