//! The file strategy: messages are in files, and outlive the processes and, by choice, the loss of power.
//!
//! The log itself is [`journal`](crate::journal); who is a member, who sleeps, and where things stand is in the mailbox's segment in memory, as for any
//! mailbox ([`domain::log`](crate::domain::log)). Here is what a sender does ([`outlet`]), a receiver ([`inlet`], [`taken`]), what brings messages to
//! the disk ([`durable`]), and what takes old ones away ([`keep`]); [`cursor`] is an independent reader.
//!
//! **Sending** is a claim by one CAS, a copy, a store. **Receiving** is a CAS in the mark of the message, and another when it is consumed. Nobody waits for another but
//! by sleeping, at the same bells as everywhere.
//!
//! **What if it dies here?** See `journal::records` and `journal::marks`: a dead one's claim is skipped by whoever comes there, what it had in hand goes back when somebody
//! looks after the dead, as in `shared`.
//!
//! **When something fails**, a write, a sync, or a page of a file that is not there any more, the whole mailbox says so from then on, until all have closed it and it is opened
//! again: what was not brought to the disk then nobody knows.

pub(crate) mod cursor;
pub(crate) mod durable;
pub(crate) mod inlet;
pub(crate) mod keep;
pub(crate) mod outlet;
pub(crate) mod taken;

use super::Refusal;
use super::shared::Attachment;
use super::shared::attach::Wish;
use crate::domain::Domain;
use crate::domain::cleanup;
use crate::domain::entry::Plan;
use crate::domain::log::{self, Log};
pub(crate) use crate::domain::log::{fresh_id, usual_directory};
use crate::domain::member::Peer;
use crate::domain::name::Name;
use crate::domain::segment::{Id, Segment};
use crate::error::Error;
use crate::format::Format;
use crate::journal::described::Described;
use crate::journal::file::LogFile;
use crate::journal::letter::Whole;
use crate::journal::marks::Holder;
use crate::journal::store::{self, Store};
use crate::journal::words::Spot;
use crate::os::Errno;
use crate::queue::areas::UNBOUNDED;
use crate::queue::layout::{Choice, Geometry, Kind, usual_ceiling};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

/// How often, a millisecond apart, to look for a mailbox that another process is just opening.
const TRIES: u32 = 20;

/// A place in a log, and the file that it is in.
#[derive(Clone, Debug)]
pub(crate) struct At {
    pub(super) file: Arc<LogFile>,
    pub(super) spot: Spot,
}

impl AsRef<LogFile> for At {
    #[inline]
    fn as_ref(&self) -> &LogFile {
        &self.file
    }
}

impl At {
    #[inline]
    pub(super) fn number(&self) -> u64 {
        self.file.number(self.spot)
    }
}

/// Makes a mailbox that the system owns, or opens the one that is in this directory. Gives its id.
pub(crate) fn create(
    wish: &Wish<'_>,
    directory: &Path,
    describe: impl FnOnce() -> Described,
    agrees: impl FnOnce(&Described) -> Result<(), Error>,
) -> Result<Id, Error> {
    if let Ok((_, segment)) = crate::domain::entry::open(wish.domain, wish.name)
        && !segment.is_over()
        && in_use(wish.domain, wish.name, directory).is_none()
    {
        return Err(Error::Exists { name: wish.name.to_string() });
    }
    let store = Store::create(directory, describe)?;
    let theirs = format(&store.described, directory)?;
    if theirs != *wish.format {
        let (theirs, ours) = (theirs.to_string(), wish.format.to_string());
        return Err(Error::WrongFormat { name: wish.name.to_string(), theirs, ours });
    }
    agrees(&store.described)?;
    if let Some(id) = in_use(wish.domain, wish.name, directory) {
        return Ok(id);
    }
    match start(wish.domain, wish.name, wish.member, store) {
        Ok(id) => Ok(id),
        Err(error @ (Error::Exists { .. } | Error::LogRefused { .. })) => {
            in_use_soon(wish.domain, wish.name, directory).ok_or(error)
        }
        Err(other) => Err(other),
    }
}

/// The mailbox of this name, if it is kept in this very directory.
fn in_use(domain: &Domain, name: &Name, directory: &Path) -> Option<Id> {
    let (_, segment) = crate::domain::entry::open(domain, name).ok()?;
    let inode = |path: &Path| {
        std::fs::metadata(path).ok().map(|facts| {
            use std::os::unix::fs::MetadataExt;
            (facts.dev(), facts.ino())
        })
    };
    let filed = segment.geometry.choice.filed && !segment.is_over();
    (filed && inode(&segment.log_path().ok()?)? == inode(directory)?).then(|| segment.id())
}

/// The same; another process may be just about to give it its name.
fn in_use_soon(domain: &Domain, name: &Name, directory: &Path) -> Option<Id> {
    (0..TRIES).find_map(|at| {
        if at > 0 {
            std::thread::sleep(std::time::Duration::from_millis(1)); // until that one has
        }
        in_use(domain, name, directory)
    })
}

fn format(described: &Described, directory: &Path) -> Result<Format, Error> {
    Format::decode(described.variable, &described.format)
        .map_err(|what| Error::Damaged { name: directory.display().to_string(), what })
}

/// Puts a log in order that nobody uses, and gives it its segment.
fn start(domain: &Domain, name: &Name, member: &str, store: Store) -> Result<Id, Error> {
    let described = store.described.clone();
    let geometry = Geometry::new(Choice {
        kind: Kind::Mailbox,
        capacity: described.capacity,
        places: 0,
        max_message: described.max_message,
        align: described.align,
        variable: described.variable,
        owned: false,
        kernel: false,
        sealed: false,
        filed: true,
        handed_on: false,
        format_length: described.format.len() as u64,
        ceiling: usual_ceiling(
            if described.capacity == UNBOUNDED { 1 } else { described.capacity },
            described.max_message,
            0,
        ),
        answers: 0,
    })?;
    let plan = Plan {
        geometry,
        format: &described.format,
        mode: described.mode,
        group: described.group,
        member,
        id: Some(described.id),
    };
    log::begin(domain, name, &plan, store)
}

/// A mailbox of this name that is in its usual directory, and that nobody uses so far: it is put in order. `false`: there is none.
pub(crate) fn awake(wish: &Wish<'_>) -> Result<bool, Error> {
    if wish.kind == Kind::Mailbox { awake_in(wish.domain, wish.name, wish.member) } else { Ok(false) }
}

/// The same for who wants nothing of it but that it is there.
pub(crate) fn awake_in(domain: &Domain, name: &Name, member: &str) -> Result<bool, Error> {
    let Ok(directory) = usual_directory(domain, name) else { return Ok(false) };
    if !store::is_there(&directory) {
        return Ok(false);
    }
    let store = Store::open(&directory, true)?;
    match start(domain, name, member, store) {
        // Another was faster.
        Err(Error::Exists { .. } | Error::LogRefused { .. })
            if in_use_soon(domain, name, &directory).is_some() =>
        {
            Ok(true)
        }
        done => done.map(|_| true),
    }
}

/// What both ends have in common.
pub(super) trait Member {
    fn at(&self) -> &Arc<Attachment>;
    fn log(&self) -> &Arc<Log>;

    fn segment(&self) -> &Segment {
        &self.at().segment
    }

    fn holder(&self) -> Holder {
        Holder { life: self.log().life, member: self.at().member() }
    }

    /// Who sent a message.
    fn who_sent(&self, whole: &Whole) -> Peer {
        Peer { pid: whole.about.pid, name: self.log().name_of(whole.by) }
    }

    /// What the log says; if it was closed meanwhile, its files may be gone, and that is no error.
    fn or_closed<R>(&self, found: Result<R, Error>) -> Result<R, Refusal> {
        found.map_err(|error| match self.segment().is_closed() {
            true => Refusal::Closed(cleanup::finish(self.segment())),
            false => error.into(),
        })
    }

    /// Whether nothing has failed so far.
    fn is_sound(&self) -> Result<(), Refusal> {
        match self.segment().header().log.failed.load(Acquire) {
            0 => Ok(()),
            errno => Err(self.failed(errno)),
        }
    }

    #[cold]
    fn failed(&self, errno: u64) -> Refusal {
        Error::LogFailed { path: self.log().store.path.clone(), errno: errno as i32 }.into()
    }

    /// From now on nobody relies on it.
    #[cold]
    fn fail(&self, errno: Errno) -> Refusal {
        let errno = errno.raw_os_error() as u64;
        let word = &self.segment().header().log.failed;
        let first = word.compare_exchange(0, errno, AcqRel, Acquire).err().unwrap_or(errno);
        self.segment().wake_all();
        self.failed(first)
    }

    /// What was just done in this file was done there.
    fn is_there(&self, file: &LogFile) -> Result<(), Refusal> {
        if file.is_lost() { Err(self.fail(Errno::IO)) } else { Ok(()) }
    }
}
