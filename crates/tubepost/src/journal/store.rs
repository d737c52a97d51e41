//! The directory of a log: what the log is, its files, and who uses it.
//!
//! ```text
//! mailbox                     what was chosen, in lines of text with a check sum; never changed
//! 00000000000000000000.log    records, from this number on; one such file after the other
//! NAME.cursor                 how far an independent reader is
//! life                        how often it was opened, and by what it is in use
//! ```
//!
//! All who use a log have a shared lock on its directory, by a descriptor that they keep. Who opens it when nobody does takes the lock alone, puts the log in order
//! (`recovery`), and begins a new life. A life has one meeting place in memory, a mailbox's segment in a domain, which `life` names: so one log is never
//! in use by two of them, whatever its directory is called.
//!
//! Files are reached by the directory's descriptor, so a directory that is moved stays in use.
//!
//! **What if it dies here?** Making: without `mailbox` it is no log, and is made again; who comes second finds it there. Each file is whole when it has its name. Taking it
//! away: nobody receives from a log that was closed, whatever is left of it; `mailbox` goes last, so what is there is always a log or nothing.

use super::described::{Described, Fsync};
use super::file::{self, LogFile, Wanted};
use super::{place, senders, trouble};
use crate::error::Error;
use crate::os::{Errno, file as disk, lock};
use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What describes it.
const MAILBOX: &str = "mailbox";
/// What is added to the name of a file that could not be read.
pub(super) const ASIDE: &str = ".damaged";
/// What says by what it is in use.
const LIFE: &str = "life";
/// The first file has so many bytes of records, …
const LEAST_BYTES: u64 = 1 << 20;
/// … each one after it twice as many, up to these.
const MOST_BYTES: u64 = 64 << 20;
const PAGE: u64 = 4096;
/// How often, a millisecond apart, to try for the lock of one who is just putting it in order.
const TRIES: u32 = 2000;

/// How often who wants it alone tries, a millisecond apart.
const MOMENT: u32 = 50;

/// A log's directory, open.
#[derive(Debug)]
pub(crate) struct Store {
    directory: OwnedFd,
    /// How it is reached, and what people call it.
    reach: PathBuf,
    pub(crate) path: PathBuf,
    pub(crate) described: Described,
    writes: bool,
}

/// By what a log is in use.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Life {
    /// How often it was opened when nobody used it.
    pub(crate) number: u32,
    /// Since when the machine runs, in the kernel's words.
    pub(crate) boot: String,
    pub(crate) id: [u64; 2],
    pub(crate) domain: String,
    pub(crate) name: String,
}

/// Whether there is a log in this directory.
pub(crate) fn is_there(path: &Path) -> bool {
    disk::facts_at(&path.join(MAILBOX)).is_ok_and(|facts| facts.is_file)
}

impl Store {
    /// Makes a log in a directory that holds none, or opens the one that is there.
    pub(crate) fn create(path: &Path, described: impl FnOnce() -> Described) -> Result<Store, Error> {
        if !is_there(path) {
            let described = described();
            refuse_others_disks(path)?;
            let made = make_directories(path)?;
            let directory = disk::open_directory(path).map_err(|errno| trouble("to open", path, errno))?;
            make_room(path)?;
            let text = described.spell();
            let mode = directory_mode(described.mode);
            // Of a directory that was there nobody loses a right.
            let before =
                if made { 0 } else { disk::facts(directory.as_fd()).map_or(0, |facts| facts.mode & 0o7777) };
            disk::permit(directory.as_fd(), mode | before, described.group)
                .map_err(|errno| trouble("to say who may use", path, errno))?;
            let fd = small_file(path, &text, described.mode, described.group, true);
            match fd.and_then(|fd| disk::publish(fd.as_fd(), &path.join(MAILBOX))) {
                Ok(()) | Err(Errno::EXIST) => {} // another was faster: it is as that one says
                Err(errno) => return Err(trouble("to describe the log in", path, errno)),
            }
            disk::sync(directory.as_fd()).map_err(|errno| trouble("to sync", path, errno))?;
        }
        Store::open(path, true)
    }

    /// Opens the log in a directory, to use it or to look.
    pub(crate) fn open(path: &Path, writes: bool) -> Result<Store, Error> {
        refuse_others_disks(path)?;
        let directory = disk::open_directory(path).map_err(|errno| trouble("to open", path, errno))?;
        let by_descriptor: PathBuf = format!("/proc/self/fd/{}", directory.as_raw_fd()).into();
        let reach = if by_descriptor.exists() { by_descriptor } else { path.into() };
        let text = std::fs::read_to_string(reach.join(MAILBOX)).map_err(|error| {
            trouble("to read what the log is in", path, Errno::from_io_error(&error).unwrap_or(Errno::IO))
        })?;
        let described = Described::parse(&text, &path.join(MAILBOX))?;
        Ok(Store { directory, reach, path: path.into(), described, writes })
    }

    /// One of those who use it, which keeps others from putting it in order. An error: one does so, and does not finish.
    pub(crate) fn share(&self) -> Result<(), Error> {
        for _ in 0..TRIES {
            let shared = lock::try_share(self.directory.as_fd());
            if shared.map_err(|errno| trouble("to lock", &self.path, errno))? {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1)); // until it is its turn
        }
        Err(self.refused("another process puts it in order and does not finish".into()))
    }

    /// The only one who uses it.
    pub(crate) fn have_alone(&self) -> Result<(), Error> {
        for _ in 0..MOMENT {
            let taken = lock::try_alone(self.directory.as_fd());
            if taken.map_err(|errno| trouble("to lock", &self.path, errno))? {
                return Ok(());
            }
            // A process that is just being started has the descriptors of who starts it, until it runs its own program.
            std::thread::sleep(Duration::from_millis(1));
        }
        let life = self.life();
        let why = if life.name.is_empty() {
            "another process uses it".into()
        } else {
            format!("it is in use as {:?} in the domain {}", life.name, life.domain)
        };
        Err(self.refused(why))
    }

    pub(crate) fn refused(&self, why: String) -> Error {
        Error::LogRefused { path: self.path.clone(), why }
    }

    /// By what it was used last.
    pub(crate) fn life(&self) -> Life {
        let text = std::fs::read_to_string(self.reach.join(LIFE)).unwrap_or_default();
        let field = |name: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            found.unwrap_or_default().to_owned()
        };
        let half = |text: Option<&str>| text.and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0);
        let id = field("id");
        Life {
            number: field("number").parse().unwrap_or(0),
            boot: field("boot"),
            id: [half(id.get(..16)), half(id.get(16..))],
            domain: field("domain"),
            name: field("name"),
        }
    }

    /// Says by what it is used from now on. For who has it alone.
    pub(crate) fn begin_life(&self, life: &Life) -> Result<(), Error> {
        let Life { number, boot, id, domain, name } = life;
        let [high, low] = id;
        let text =
            format!("number {number}\nboot {boot}\nid {high:016x}{low:016x}\ndomain {domain}\nname {name}\n");
        let (mode, group) = (self.described.mode, self.described.group);
        let failed = |errno| trouble("to write in", &self.path, errno);
        let durable = self.described.fsync != Fsync::Never;
        let fd = small_file(&self.reach(""), &text, mode, group, durable).map_err(failed)?;
        // A name can't be given to it where one is; so it gets another, which replaces that.
        let (new, path) = (self.reach(&format!("{LIFE}.new")), self.reach(LIFE));
        let _ = disk::remove(&new);
        disk::publish(fd.as_fd(), &new).map_err(failed)?;
        rustix::fs::rename(&new, &path).map_err(failed)?;
        if durable { self.sync_names() } else { Ok(()) }
    }

    /// The numbers of the first records of all files, in order.
    pub(crate) fn files(&self) -> Result<Vec<u64>, Error> {
        let mut all: Vec<u64> = self.names()?.iter().filter_map(|name| file::first_of(name)).collect();
        all.sort_unstable();
        Ok(all)
    }

    /// Files that could not be read, and were set aside.
    pub(crate) fn set_aside(&self) -> Result<Vec<PathBuf>, Error> {
        let mut all = self.names()?;
        all.retain(|name| name.strip_suffix(ASIDE).is_some_and(|name| file::first_of(name).is_some()));
        Ok(all.iter().map(|name| self.path.join(name)).collect())
    }

    /// Whose it is.
    pub(crate) fn facts(&self) -> Result<disk::Facts, Error> {
        disk::facts_at(&self.reach(MAILBOX)).map_err(|errno| trouble("to inspect", &self.path, errno))
    }

    /// What is in the directory.
    pub(crate) fn names(&self) -> Result<Vec<String>, Error> {
        names_in(&self.reach).map_err(|errno| trouble("to read", &self.path, errno))
    }

    /// The file whose first record has this number. Nothing: there is none.
    pub(crate) fn file(&self, first: u64) -> Result<Option<LogFile>, Error> {
        match LogFile::open((&self.reach, &self.path), first, self.described.id, self.writes) {
            Ok(found) => Ok(Some(found)),
            Err(Error::Os { errno, .. }) if errno == Errno::NOENT.raw_os_error() => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Gives a file that was cut off its length again; see [`LogFile::lengthen`].
    pub(crate) fn lengthen(&self, first: u64) -> Result<u64, Error> {
        LogFile::lengthen(&self.reach, &self.path.join(file::called(first)), first, self.described.id)
    }

    /// The file that follows one which ended before the record of this number: the one that begins there, or, where that is gone, the next.
    pub(crate) fn file_from(&self, number: u64) -> Result<Option<LogFile>, Error> {
        if let Some(file) = self.file(number)? {
            return Ok(Some(file));
        }
        match self.files()?.into_iter().find(|first| *first >= number) {
            Some(first) => self.file(first),
            None => Ok(None),
        }
    }

    /// Makes the file that begins with this record, if nobody else did, and opens it. `begins`: bytes of records before; `longest`: what has to fit;
    /// `before`: bytes of the file before it.
    pub(crate) fn make(&self, first: u64, begins: u64, longest: u64, before: u64) -> Result<LogFile, Error> {
        let least = (longest + file::HEAD + 8).next_multiple_of(PAGE);
        let mut bytes = (before * 2).clamp(LEAST_BYTES, MOST_BYTES).max(least);
        let durable = self.described.fsync != Fsync::Never;
        loop {
            let wanted = Wanted {
                id: self.described.id,
                first,
                begins,
                bytes,
                made: now(),
                mode: file_mode(self.described.mode),
                group: self.described.group,
                durable,
            };
            match LogFile::create(&self.reach, &wanted) {
                Ok(made) => {
                    if made && durable {
                        self.sync_names()?;
                    }
                    let missing = || trouble("to open", &self.path.join(file::called(first)), Errno::NOENT);
                    return self.file(first)?.ok_or_else(missing);
                }
                // A disk that is nearly full has room for less.
                Err(Errno::NOSPC | Errno::DQUOT) if bytes / 2 >= least.max(4 * PAGE) => {
                    bytes = (bytes / 2).next_multiple_of(PAGE);
                }
                Err(Errno::NOSPC | Errno::DQUOT) => return Err(self.full(bytes)),
                Err(errno) => return Err(trouble("to make a file in", &self.path, errno)),
            }
        }
    }

    pub(crate) fn full(&self, wanted: u64) -> Error {
        Error::DiskFull { wanted, available: disk::available(&self.path), path: self.path.clone() }
    }

    /// Brings the names of the files to the disk.
    pub(crate) fn sync_names(&self) -> Result<(), Error> {
        disk::sync(self.directory.as_fd()).map_err(|errno| trouble("to sync", &self.path, errno))
    }

    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        match disk::remove(&self.reach.join(name)) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(trouble("to remove a file of", &self.path, errno)),
        }
    }

    /// Takes a log away that was closed, with all that is in it, and the directory if nothing else is there.
    pub(crate) fn destroy(&self) -> Result<(), Error> {
        let mut names = self.names()?;
        names.sort_unstable(); // the oldest file first
        for name in names.iter().filter(|name| is_of_a_log(name) && *name != MAILBOX) {
            self.remove(name)?;
        }
        self.remove(MAILBOX)?; // from now on it is no log
        let _ = std::fs::remove_dir(&self.path); // it may have been moved
        Ok(())
    }

    pub(crate) fn reach(&self, name: &str) -> PathBuf {
        self.reach.join(name)
    }

    /// Bytes on the disk.
    pub(crate) fn occupies(&self) -> u64 {
        let names = self.names().unwrap_or_default();
        names
            .iter()
            .filter_map(|name| disk::facts_at(&self.reach.join(name)).ok())
            .map(|facts| facts.occupied)
            .sum()
    }
}

/// The system's clock by ticks, as messages have it: it may be set back, or far ahead.
const CLOCK: ClockId = ClockId::RealtimeCoarse;

/// By so much a test sets the clock.
#[cfg(test)]
pub(crate) static STEPPED: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// The time, in nanoseconds since 1970.
#[inline]
pub(crate) fn now() -> u64 {
    let now = nanoseconds(clock_gettime(CLOCK));
    #[cfg(test)]
    let now = now.wrapping_add(STEPPED.load(std::sync::atomic::Ordering::Relaxed));
    now
}

/// What is sent at a time may have one that is less by so much.
pub(crate) fn tick() -> u64 {
    nanoseconds(clock_getres(CLOCK))
}

#[inline]
fn nanoseconds(time: Timespec) -> u64 {
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// Who may read or write files in it may pass the directory.
fn directory_mode(mode: u32) -> u32 {
    let one = |bits: u32| if bits == 0 { 0 } else { 7 };
    0o700 | one(mode >> 3 & 7) << 3 | one(mode & 7)
}

/// Whoever may send or receive writes in the files: records, or marks.
pub(crate) fn file_mode(mode: u32) -> u32 {
    let one = |bits: u32| if bits & 6 == 0 { 0 } else { 6 };
    0o600 | one(mode >> 3) << 3 | one(mode)
}

/// What a log calls its files.
fn is_of_a_log(name: &str) -> bool {
    let name = name.strip_suffix(".new").unwrap_or(name);
    let log = name.strip_suffix(ASIDE).unwrap_or(name);
    [MAILBOX, LIFE, senders::NAMES].contains(&name)
        || file::first_of(log).is_some()
        || name.ends_with(place::SUFFIX)
}

fn names_in(directory: &Path) -> Result<Vec<String>, Errno> {
    let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(errno)? {
        names.push(entry.map_err(errno)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// A log has its directory for itself: what else is there is not to be mixed with it, nor removed one day.
fn make_room(path: &Path) -> Result<(), Error> {
    let failed = |errno| trouble("to look into", path, errno);
    let refused = |why| Err(Error::LogRefused { path: path.into(), why });
    let mut names = names_in(path).map_err(failed)?;
    names.sort();
    if let Some(other) = names.iter().find(|name| !is_of_a_log(name)) {
        return refused(format!(
            "something else is there already ({other:?}); name a directory of its own, which will be made"
        ));
    }
    if let Some(log) = names.iter().find(|name| file::first_of(name).is_some()) {
        return refused(format!(
            "it holds messages ({log:?}) and not the file {MAILBOX:?}, which says what they are; put that back, or remove them"
        ));
    }
    Ok(())
}

/// Whether it was made just now.
fn make_directories(path: &Path) -> Result<bool, Error> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)
            .map_err(|error| trouble("to make", parent, Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
    }
    let made = match disk::make_directory(path) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(errno) => return Err(trouble("to make", path, errno)),
    };
    let Some(parent) = path.parent() else { return Ok(made) };
    let synced = disk::open_directory(parent).and_then(|parent| disk::sync(parent.as_fd()));
    synced.map_err(|errno| trouble("to sync", parent, errno)).map(|()| made)
}

/// File systems that other machines write to as well: what is mapped here would not be what is there.
fn refuse_others_disks(path: &Path) -> Result<(), Error> {
    let Some(kind) = disk::network(path) else { return Ok(()) };
    let why = format!(
        "it is on a network file system ({kind}), where memory is not shared between machines and locks are not \
         reliable; choose a directory on a disk of this machine"
    );
    Err(Error::LogRefused { path: path.into(), why })
}

/// A small file that has no name yet.
fn small_file(
    directory: &Path,
    text: &str,
    mode: u32,
    group: Option<u32>,
    durable: bool,
) -> Result<OwnedFd, Errno> {
    let fd = disk::make_nameless(directory, 0, 0)?;
    disk::write_at(fd.as_fd(), text.as_bytes(), 0)?;
    disk::permit(fd.as_fd(), file_mode(mode), group)?;
    if durable {
        disk::sync(fd.as_fd())?;
    }
    Ok(fd)
}
