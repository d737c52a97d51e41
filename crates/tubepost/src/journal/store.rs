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

use super::file::{self, LogFile, VERSION, Wanted};
use super::trouble;
use crate::error::Error;
use crate::os::{Errno, file as disk, lock};
use std::fmt::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What describes it.
const MAILBOX: &str = "mailbox";
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

/// When what was sent is brought to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fsync {
    /// When the system likes to: it survives every process, but not the loss of power.
    Never,
    /// At the latest after this time.
    Every(Duration),
    /// Before a send returns.
    Each,
}

impl std::fmt::Display for Fsync {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fsync::Never => f.write_str("never"),
            Fsync::Each => f.write_str("each"),
            Fsync::Every(time) => write!(f, "every {time:?}"),
        }
    }
}

/// How long messages stay that were received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Keep {
    /// So many …
    pub(crate) messages: Option<u64>,
    /// … or so many bytes …
    pub(crate) bytes: Option<u64>,
    /// … or for so long.
    pub(crate) age: Option<Duration>,
}

/// What a log was chosen to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) id: [u64; 2],
    /// `u64::MAX`: unbounded.
    pub(crate) capacity: u64,
    /// The most bytes that may wait.
    pub(crate) most_bytes: Option<u64>,
    pub(crate) max_message: u64,
    pub(crate) align: u64,
    pub(crate) variable: bool,
    pub(crate) mode: u32,
    pub(crate) group: Option<u32>,
    pub(crate) fsync: Fsync,
    pub(crate) keep: Keep,
    pub(crate) format: String,
}

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

impl Described {
    fn spell(&self) -> String {
        let mut text = format!("tubepost log {VERSION}\n");
        let number = |value: Option<u64>| value.map_or("none".into(), |value| value.to_string());
        let fsync = match self.fsync {
            Fsync::Never => "never".into(),
            Fsync::Each => "each".into(),
            Fsync::Every(time) => time.as_nanos().to_string(),
        };
        let age = self.keep.age.map(|age| age.as_nanos() as u64);
        let _ = write!(
            text,
            "id {:016x}{:016x}\ncapacity {}\nbytes {}\nmax_message {}\nalign {}\nvariable {}\nmode {:o}\ngroup {}\n\
             fsync {fsync}\nkeep_messages {}\nkeep_bytes {}\nkeep_age {}\nformat {:?}\n",
            self.id[0],
            self.id[1],
            self.capacity,
            number(self.most_bytes),
            self.max_message,
            self.align,
            self.variable,
            self.mode,
            number(self.group.map(u64::from)),
            number(self.keep.messages),
            number(self.keep.bytes),
            number(age),
            self.format,
        );
        let check = crc32fast::hash(text.as_bytes());
        let _ = writeln!(text, "check {check:08x}");
        text
    }

    fn parse(text: &str, path: &Path) -> Result<Described, Error> {
        let damaged = |what: &str| Error::Damaged { name: path.display().to_string(), what: what.into() };
        let mut lines = text.lines();
        let head = lines.next().unwrap_or_default();
        let version = head.strip_prefix("tubepost log ").ok_or_else(|| damaged("it describes no log"))?;
        let found = version.parse().map_err(|_| damaged("it describes no log"))?;
        if found != VERSION {
            return Err(Error::WrongVersion { name: path.display().to_string(), found, supported: VERSION });
        }
        let (body, check) = text.rsplit_once("check ").ok_or_else(|| damaged("it has no check sum"))?;
        if u32::from_str_radix(check.trim_end(), 16) != Ok(crc32fast::hash(body.as_bytes())) {
            return Err(damaged("it has another check sum than it says"));
        }
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.ok_or_else(|| damaged(&format!("it does not say {name:?}")))
        };
        let bad = |name: &str| damaged(&format!("what it says of {name:?} is no value"));
        let number = |name: &str| field(name)?.parse::<u64>().map_err(|_| bad(name));
        let optional = |name: &str| match field(name)? {
            "none" => Ok(None),
            given => given.parse::<u64>().map(Some).map_err(|_| bad(name)),
        };
        let id = field("id")?;
        let half = |text: Option<&str>| text.and_then(|text| u64::from_str_radix(text, 16).ok());
        let id = half(id.get(..16)).zip(half(id.get(16..))).ok_or_else(|| bad("id"))?;
        let fsync = match field("fsync")? {
            "never" => Fsync::Never,
            "each" => Fsync::Each,
            _ => Fsync::Every(Duration::from_nanos(number("fsync")?)),
        };
        Ok(Described {
            id: [id.0, id.1],
            capacity: number("capacity")?,
            most_bytes: optional("bytes")?,
            max_message: number("max_message")?,
            align: number("align")?,
            variable: field("variable")? == "true",
            mode: u32::from_str_radix(field("mode")?, 8).map_err(|_| bad("mode"))?,
            group: optional("group")?.map(|group| group as u32),
            fsync,
            keep: Keep {
                messages: optional("keep_messages")?,
                bytes: optional("keep_bytes")?,
                age: optional("keep_age")?.map(Duration::from_nanos),
            },
            format: unquote(field("format")?).ok_or_else(|| bad("format"))?,
        })
    }
}

/// What `{:?}` made of a text.
fn unquote(quoted: &str) -> Option<String> {
    let mut rest = quoted.strip_prefix('"')?.strip_suffix('"')?.chars();
    let mut text = String::new();
    while let Some(it) = rest.next() {
        let plain = match it {
            '\\' => match rest.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                '0' => '\0',
                'u' => {
                    let digits: String = rest.by_ref().skip(1).take_while(|it| *it != '}').collect();
                    char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
                }
                other => other,
            },
            other => other,
        };
        text.push(plain);
    }
    Some(text)
}

impl Store {
    /// Makes a log in a directory that holds none, or opens the one that is there.
    pub(crate) fn create(path: &Path, described: impl FnOnce() -> Described) -> Result<Store, Error> {
        if !is_there(path) {
            let described = described();
            make_directories(path)?;
            refuse_others_disks(path)?;
            let directory = disk::open_directory(path).map_err(|errno| trouble("to open", path, errno))?;
            let text = described.spell();
            let mode = directory_mode(described.mode);
            disk::permit(directory.as_fd(), mode, described.group)
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

    /// What is in the directory.
    pub(crate) fn names(&self) -> Result<Vec<String>, Error> {
        let failed = |error: std::io::Error| {
            trouble("to read", &self.path, Errno::from_io_error(&error).unwrap_or(Errno::IO))
        };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.reach).map_err(failed)? {
            names.extend(entry.map_err(failed)?.file_name().into_string());
        }
        Ok(names)
    }

    /// The file whose first record has this number. Nothing: there is none.
    pub(crate) fn file(&self, first: u64) -> Result<Option<LogFile>, Error> {
        match LogFile::open((&self.reach, &self.path), first, self.described.id, self.writes) {
            Ok(found) => Ok(Some(found)),
            Err(Error::Os { errno, .. }) if errno == Errno::NOENT.raw_os_error() => Ok(None),
            Err(other) => Err(other),
        }
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

    /// Takes a log away that was closed, with all that is in it.
    pub(crate) fn destroy(&self) -> Result<(), Error> {
        let mut names = self.names()?;
        names.sort_unstable(); // the oldest file first
        names.retain(|name| name != MAILBOX);
        for name in names {
            self.remove(&name)?;
        }
        self.remove(MAILBOX)?; // from now on it is no log
        match std::fs::remove_dir(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => Ok(()),
            _ => Ok(()), // it may have been moved
        }
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

/// The time, in nanoseconds since 1970.
#[inline]
pub(crate) fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
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

fn make_directories(path: &Path) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)
            .map_err(|error| trouble("to make", parent, Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
    }
    match disk::make_directory(path) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(trouble("to make", path, errno)),
    }
    let Some(parent) = path.parent() else { return Ok(()) };
    let synced = disk::open_directory(parent).and_then(|parent| disk::sync(parent.as_fd()));
    synced.map_err(|errno| trouble("to sync", parent, errno))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_described_is_read_again() {
        let described = Described {
            id: [7, u64::MAX],
            capacity: 12,
            most_bytes: Some(1 << 30),
            max_message: 4096,
            align: 1,
            variable: true,
            mode: 0o640,
            group: Some(100),
            fsync: Fsync::Every(Duration::from_millis(10)),
            keep: Keep { messages: Some(5), bytes: None, age: Some(Duration::from_secs(60)) },
            format: "text \"of\" two\nlines\t\u{7}check 1 \\".into(),
        };
        let text = described.spell();
        assert_eq!(Described::parse(&text, Path::new("x")).expect("it was just spelled"), described);
        let wrong = text.replace("capacity 12", "capacity 13");
        assert!(Described::parse(&wrong, Path::new("x")).is_err());
    }
}
