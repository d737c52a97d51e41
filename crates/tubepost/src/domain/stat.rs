//! What exists, told to people and programs.

use super::contents::Count;
use super::entry;
use super::name::Name;
use super::segment::{Id, Segment};
use super::{Domain, doorway, failed, log, sockets};
use crate::error::Error;
use crate::format::{Format, STANDS_FOR};
use crate::holding::{bare, stat::RegionStat};
use crate::journal::described::Fsync;
use crate::os::Errno;
use crate::queue::{layout, sealed};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;

/// What kind of thing a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A mailbox.
    Mailbox,
    /// A process that joined.
    Process,
    /// One direction of a link between two processes.
    Link,
    /// A region: shared data. See [`Region`](crate::Region).
    Region,
    /// A segment: bare memory. See [`Segment`](crate::Segment).
    Segment,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Mailbox => "mailbox",
            Kind::Process => "process",
            Kind::Link => "link",
            Kind::Region => "region",
            Kind::Segment => "segment",
        })
    }
}

/// How the messages of a mailbox travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// Through memory that sender and receiver share.
    Shared,
    /// The kernel copies them: sender and receiver share no memory.
    Kernel,
    /// Through memory that each sender shares with the owner alone, and that only one of both can write to.
    Sealed,
    /// They are in files, and outlive their processes. See [`File`](crate::File).
    File,
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Strategy::Shared => "shared",
            Strategy::Kernel => "kernel",
            Strategy::Sealed => "sealed",
            Strategy::File => "file",
        })
    }
}

/// Who a mailbox belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OwnerKind {
    /// A process: the mailbox ends with it.
    Process,
    /// The system: the mailbox stays until it is removed.
    System,
}

impl fmt::Display for OwnerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OwnerKind::Process => "process",
            OwnerKind::System => "system",
        })
    }
}

/// The owner of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Process or system.
    pub kind: OwnerKind,
    /// The process that owns it, if one does.
    pub pid: Option<u32>,
    /// The name it gave itself.
    pub name: String,
    /// Whether it lives; the system always does.
    pub alive: bool,
}

/// Everything there is to know about a mailbox at one moment; or about a process, a link, a region or a segment.
///
/// What is said of messages is zero, or nothing, where there are none.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-stat-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// let inbox = tubepost::Mailbox::<[u8]>::options().domain(&domain).bounded(16).own("jobs")?;
/// let stat = inbox.stat()?;
/// assert_eq!((stat.capacity, stat.depth, stat.owner.alive), (Some(16), 0, true));
/// # drop(inbox);
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), tubepost::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its id, never used again.
    pub id: Id,
    /// How its messages travel.
    pub strategy: Strategy,
    /// Who owns it.
    pub owner: Owner,
    /// Of a region or a segment: how many bytes of data it has; 0 if it is over, and that can't be told.
    pub size: Option<u64>,
    /// Of a region: the rest of what is to be known of one.
    pub region: Option<RegionStat>,
    /// Of a mailbox that is kept in files: the rest of what is to be known of one.
    pub log: Option<LogStat>,
    /// How many messages can wait, if that is limited.
    pub capacity: Option<u64>,
    /// How many wait now.
    pub depth: u64,
    /// How many were taken and not accepted yet.
    pub held: u64,
    /// The longest message in bytes.
    pub max_message: u64,
    /// What it carries, as a whole: for those who hand its messages on ([`Opaque`](crate::Opaque)).
    pub carries: Format,
    /// Where the mailbox is for which this one stands: see [`Options::stands_for`](crate::Options::stands_for).
    pub stands_for: Option<String>,
    /// The label of variable-length messages, or the description of the fixed type.
    pub format: String,
    /// Whether messages are of variable length.
    pub variable: bool,
    /// Where messages are answered: the same of the answers.
    pub answer: Option<String>,
    /// Who may receive or read (r), and send or write (w), as permission bits for owner, group and others.
    pub mode: u32,
    /// How many messages were accepted so far.
    pub sent: u64,
    /// How many were received so far; with those that were moved or discarded.
    pub received: u64,
    /// How many were moved to dead letters, by receivers that have such …
    pub dead_letters: u64,
    /// … and how many came back too often, or were rejected, and went nowhere.
    pub discarded: u64,
    /// Of the kernel strategy, how many connections were shut for what came by them, or for being too many of one user.
    pub shut: u64,
    /// How many bytes of memory it occupies.
    pub bytes: u64,
    /// How many of those are for messages that don't fit their places, or are in hand; where the capacity has no limit, for
    /// all …
    pub chunk_bytes: u64,
    /// … and how many of these hold no message now: free, or longer than what is in it. What is in
    /// use has at most twice its message's length, or a page.
    pub chunk_waste: u64,
    /// The most that `chunk_bytes` can become; of the kernel strategy, how many bytes the kernel holds before they are
    /// received; of the sealed strategy, how many bytes each sender's area has.
    pub ceiling: u64,
}

/// One line of [`Domain::list`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name; the file's, if that is no name.
    pub name: String,
    /// What is known of it, or why it can't be read.
    pub stat: Result<Stat, Error>,
}

impl Domain {
    /// What a name stands for.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchName`]; [`Error::OwnerGone`] if what is there was left by a dead
    /// process; [`Error::Damaged`], [`Error::WrongVersion`] if it can't be read.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-stat2-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// assert!(matches!(domain.stat("nobody"), Err(tubepost::Error::NoSuchName { .. })));
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), tubepost::Error>(())
    /// ```
    pub fn stat(&self, name: &str) -> Result<Stat, Error> {
        let name = &self.called(name)?[0];
        let stat = match self.look(name) {
            // It may be kept in files, and nobody has opened it so far.
            Err(Error::NoSuchName { .. }) if crate::strategy::file::awake_in(self, name, "stat")? => {
                self.look(name)?
            }
            done => done?,
        };
        if stat.owner.alive {
            Ok(stat)
        } else {
            Err(Error::OwnerGone { name: name.to_string(), pid: stat.owner.pid.unwrap_or(0) })
        }
    }

    /// The number of the first message, from number `from` on, that was sent by a sender which called itself so
    /// ([`SenderOptions::member`](crate::SenderOptions::member)): also of one that died, and also if it was collected since. For those who send on behalf of somebody else and
    /// were killed: whether what was under way was sent. Nothing: there is none, or that can't be told any more, for as many messages as there are places were sent
    /// since, or others came after the sender and its place among them was used again. Nor can it be told where messages have no
    /// [number](crate::Sender::send_numbered_async).
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchName`], [`Error::Damaged`], [`Error::WrongVersion`], [`Error::Denied`] if it can't be looked at.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-sent-by-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// let inbox = tubepost::Mailbox::<u64>::options().domain(&domain).own("numbers")?;
    /// let out = tubepost::Sender::<u64>::options().domain(&domain).member("courier 7").open("numbers")?;
    /// let from = out.next_number().unwrap();
    /// assert_eq!(domain.sent_by("numbers", "courier 7", from)?, None);
    /// out.send(1)?;
    /// inbox.recv()?;
    /// assert_eq!(domain.sent_by("numbers", "courier 7", from)?, Some(from));
    /// # drop(inbox);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sent_by(&self, mailbox: &str, member: &str, from: u64) -> Result<Option<u64>, Error> {
        let (_, segment) = entry::open(self, &Name::new(mailbox)?)?;
        Ok(segment.sent_by(member, from))
    }

    /// What is called so, as people know it. Links are called as who sends, `~`, who receives: there may be some of
    /// earlier lives, that of the living is the first one.
    pub(super) fn called(&self, name: &str) -> Result<Vec<Name>, Error> {
        if !Name::may_be_of_link(name) {
            return Ok(vec![Name::new(name)?]);
        }
        let files = std::fs::read_dir(self.path()).into_iter().flatten().flatten();
        let links = files.filter_map(|file| Name::of_link_file(&file.file_name().to_string_lossy()));
        let mut links: Vec<Name> = links.filter(|link| link.as_str() == name).collect();
        if links.is_empty() {
            return Err(Error::NoSuchName {
                name: name.into(),
                domain: self.path().into(),
                wanted: "a link",
            });
        }
        links.sort_by_key(|link| !self.look(link).is_ok_and(|stat| stat.owner.alive));
        Ok(links)
    }

    /// Everything that exists, sorted by name: what a dead process left too, and files that
    /// can't be read with the reason.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] or [`Error::Os`] if the directory can't be read.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-list-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// assert!(domain.list()?.is_empty());
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), tubepost::Error>(())
    /// ```
    pub fn list(&self) -> Result<Vec<Listed>, Error> {
        for name in log::asleep(self) {
            // If that can't be, it is told to who opens it.
            let _ = crate::strategy::file::awake_in(self, &name, "list");
        }
        Ok(self.list_named()?.into_iter().map(|(_, listed)| listed).collect())
    }

    /// The same, with the names that files have.
    pub(super) fn list_named(&self) -> Result<Vec<(Option<Name>, Listed)>, Error> {
        let trouble = |error: std::io::Error| {
            failed("to list", self.path(), Errno::from_io_error(&error).unwrap_or(Errno::IO))
        };
        let mut all = Vec::new();
        for entry in std::fs::read_dir(self.path()).map_err(trouble)? {
            let file = entry.map_err(trouble)?.file_name();
            let file = file.to_string_lossy();
            if doorway::Called::by(&file).is_some() || sockets::is_beside(&file) {
                continue; // a member's, not a thing of its own
            }
            let known = Name::of_file(&file).or_else(|| Name::of_link_file(&file));
            let (name, stat) = match &known {
                Some(name) => (name.to_string(), self.look(name)),
                None => {
                    let what = "no tubepost file is called so".to_string();
                    (file.to_string(), Err(Error::Damaged { name: file.to_string(), what }))
                }
            };
            // What vanished while we looked is not there.
            if !matches!(stat, Err(Error::NoSuchName { .. })) {
                all.push((known, Listed { name, stat }));
            }
        }
        all.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        Ok(all)
    }

    fn look(&self, name: &Name) -> Result<Stat, Error> {
        match entry::open(self, name) {
            Ok((_, segment)) => of(&segment),
            // Who may send by way of the kernel may look.
            Err(denied @ Error::Denied { .. }) => {
                sockets::open_to_look_at(self, name).and_then(|segment| of(&segment)).map_err(|_| denied)
            }
            Err(error) => Err(error),
        }
    }
}

/// What there is to know of a mailbox that is kept in [files](crate::File), besides.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogStat {
    /// Where the files are.
    pub directory: PathBuf,
    /// How many there are, and how many bytes of the disk they occupy.
    pub files: u64,
    /// As said.
    pub bytes: u64,
    /// When messages are brought to the disk.
    pub fsync: Fsync,
    /// How many bytes may wait, if that is limited.
    pub max_bytes: Option<u64>,
    /// The number of the oldest message that is there.
    pub first: u64,
    /// The number of the next message.
    pub next: u64,
    /// All messages before this one are known to be on the disk.
    pub durable: u64,
    /// Named places of independent readers.
    pub cursors: Vec<CursorStat>,
}

/// The place of an independent reader; see [`Cursor`](crate::Cursor).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CursorStat {
    /// What it is called.
    pub name: String,
    /// The number of the message that it reads next.
    pub next: u64,
    /// How many messages it has still to read.
    pub lag: u64,
}

/// What is known of the log of a mailbox, if it can be read.
fn log_of(segment: &Segment) -> Option<LogStat> {
    let log = segment.look_at_log()?;
    let (_, next) = log.count().ok()?;
    let files = log.store.files().ok()?;
    let described = &log.store.described;
    let places = log.store.places().unwrap_or_default();
    let cursors =
        places.into_iter().map(|(name, at)| CursorStat { name, next: at, lag: next.saturating_sub(at) });
    Some(LogStat {
        directory: log.store.path.clone(),
        files: files.len() as u64,
        bytes: log.store.occupies(),
        fsync: described.fsync,
        max_bytes: described.most_bytes,
        first: files.first().copied().unwrap_or(0),
        next,
        durable: segment.header().log.durable.load(Relaxed).min(next),
        cursors: cursors.collect(),
    })
}

fn label_or_text(format: &Format) -> String {
    format.label().map_or_else(|| format.to_string(), str::to_owned)
}

/// Who owns it.
pub(crate) fn owner(segment: &Segment) -> Owner {
    let alive = !segment.is_over();
    if segment.geometry.choice.owned {
        let owner = segment.owner();
        Owner { kind: OwnerKind::Process, pid: Some(owner.pid), name: owner.name, alive }
    } else {
        Owner { kind: OwnerKind::System, pid: None, name: String::new(), alive }
    }
}

/// What is known of a mapped mailbox, or whatever it is.
pub(crate) fn of(segment: &Segment) -> Result<Stat, Error> {
    match segment.geometry.choice.kind {
        layout::Kind::Region => match RegionStat::of(segment) {
            Ok((size, region)) => with(segment, Some(size), Some(region)),
            Err(error) => without_data(segment, error),
        },
        layout::Kind::Bare => match bare::size(segment) {
            Ok(size) => with(segment, Some(size), None),
            Err(error) => without_data(segment, error),
        },
        _ => with(segment, None, None),
    }
}

/// What is known if its data can't be read.
fn without_data(segment: &Segment, error: Error) -> Result<Stat, Error> {
    match error {
        error if segment.is_over() => match error {
            Error::NoSuchName { .. } if segment.is_nameless() => Err(error),
            _ => with(segment, Some(0), None), // to be put away, whatever is left of it
        },
        Error::NoSuchName { name, .. } => Err(Error::Damaged { name, what: "its data is gone".into() }),
        other => Err(other),
    }
}

/// The same with what is known of its data.
pub(crate) fn with(segment: &Segment, size: Option<u64>, region: Option<RegionStat>) -> Result<Stat, Error> {
    let choice = &segment.geometry.choice;
    let text = String::from_utf8_lossy(&segment.format()).into_owned();
    let format = Format::decode(choice.variable, &text)
        .map_err(|what| Error::Damaged { name: segment.name.to_string(), what })?;
    let is_data = choice.kind.is_data();
    let count = if is_data { Count::default() } else { segment.count() };
    let facts = segment.facts_now();
    let chunk_bytes = segment.chunks.backed();
    Ok(Stat {
        kind: match choice.kind {
            layout::Kind::Mailbox => Kind::Mailbox,
            layout::Kind::Process => Kind::Process,
            layout::Kind::Link { .. } => Kind::Link,
            layout::Kind::Region => Kind::Region,
            layout::Kind::Bare => Kind::Segment,
        },
        name: segment.name.to_string(),
        id: segment.id(),
        strategy: match (choice.sealed, choice.kernel) {
            _ if choice.filed => Strategy::File,
            (true, _) => Strategy::Sealed,
            (false, true) => Strategy::Kernel,
            (false, false) => Strategy::Shared,
        },
        owner: owner(segment),
        size,
        region,
        log: log_of(segment),
        capacity: segment.geometry.capacity().filter(|_| !is_data),
        depth: count.waiting,
        held: count.held,
        max_message: choice.longest(),
        format: label_or_text(format.question()),
        answer: format.answer().map(label_or_text),
        stands_for: text.split_once(STANDS_FOR).map(|(_, host)| host.to_owned()),
        carries: format,
        variable: choice.variable,
        mode: segment.mode(),
        // Not more than 2^64, whatever somebody wrote there.
        sent: count.received.saturating_add(count.waiting).saturating_add(count.held),
        received: count.received,
        dead_letters: segment.header().dead_letters.load(Relaxed),
        discarded: segment.header().discarded.load(Relaxed),
        shut: segment.header().sockets.shut.load(Relaxed),
        bytes: facts.map_or(segment.geometry.reserved(), |facts| facts.occupied) + segment.data_occupies(),
        chunk_bytes,
        chunk_waste: chunk_bytes.saturating_sub(segment.chunks.occupied()),
        ceiling: if is_data {
            0
        } else if choice.sealed {
            sealed::Shape::of(choice).posted() as u64
        } else if choice.filed {
            0 // as much as the disk has
        } else if choice.kernel {
            choice.capacity.saturating_mul(choice.longest())
        } else {
            choice.ceiling
        },
    })
}
