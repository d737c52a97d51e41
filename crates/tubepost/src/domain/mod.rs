//! Domains: directories of everything that exists.
//!
//! A domain is a directory on a file system in memory that belongs to one user. Every
//! object is one file in it, whole from the moment it has a name. No descriptor of it is
//! kept: it is reached by path, and what is found is compared with what is meant.

pub(crate) mod access;
pub(crate) mod bond;
pub(crate) mod cleanup;
pub(crate) mod contents;
pub(crate) mod data;
pub(crate) mod doorway;
pub(crate) mod entry;
pub(crate) mod log;
pub(crate) mod meeting;
pub(crate) mod member;
pub(crate) mod name;
pub(crate) mod pair;
pub(crate) mod party;
pub(crate) mod purse;
pub(crate) mod segment;
pub(crate) mod sockets;
pub(crate) mod stat;
pub(crate) mod visits;

use crate::error::Error;
use crate::os::{Errno, file, lock, map::Map, memfd};
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory of everything that exists: the name space that mailboxes live in.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-domain-{}", std::process::id());
/// let domain = tubepost::Domain::open(&dir)?;
/// let inbox = tubepost::Mailbox::<u64>::options().domain(&domain).own("readings")?;
/// assert_eq!(domain.stat("readings")?.capacity, Some(1024));
/// # drop(inbox);
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), tubepost::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Domain {
    path: Arc<Path>,
}

impl Domain {
    /// The user's domain: what the environment variable `TUBEPOST_DOMAIN` says (a name or a
    /// path), else a directory of the user's own on `/dev/shm`.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    ///
    /// ```
    /// let domain = tubepost::Domain::open_default()?;
    /// println!("{}", domain.path().display());
    /// # Ok::<(), tubepost::Error>(())
    /// ```
    pub fn open_default() -> Result<Domain, Error> {
        match std::env::var_os("TUBEPOST_DOMAIN") {
            Some(chosen) if !chosen.is_empty() => Domain::open(chosen),
            _ => Domain::open_at(&default_path(), false),
        }
    }

    /// The domain with this name or, if there is a `/` in it, this path. It is created, for
    /// its user alone, if it doesn't exist.
    ///
    /// A directory that was shared on purpose, for a group, is one with the sticky bit, so that
    /// nobody takes away another's names: `chgrp GROUP DIR; chmod 3770 DIR`. Name it by its path.
    ///
    /// # Errors
    ///
    /// [`Error::BadName`] for a name that is none, [`Error::DomainRefused`] for a directory
    /// of somebody else's that is not shared so, one that others may write to, or one on a file system that
    /// can't tell who is alive; [`Error::Denied`], [`Error::Os`].
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-open-{}", std::process::id());
    /// let domain = tubepost::Domain::open(&dir)?;
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), tubepost::Error>(())
    /// ```
    pub fn open(name_or_path: impl AsRef<OsStr>) -> Result<Domain, Error> {
        let given = name_or_path.as_ref();
        if given.as_encoded_bytes().contains(&b'/') {
            return Domain::open_at(Path::new(given), true);
        }
        let name = name::Name::new(&given.to_string_lossy())?;
        let mut path = default_path().into_os_string();
        path.push(".");
        path.push(name.as_str());
        Domain::open_at(Path::new(&path), false)
    }

    /// Whether it is the user's own, which nobody had to choose.
    pub(crate) fn is_usual(&self) -> bool {
        *self.path == *default_path()
    }

    /// The domain at this path, if there is one.
    pub(crate) fn there(path: &Path) -> Option<Domain> {
        path.is_dir().then(|| Domain { path: path.into() })
    }

    /// Where it is.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-path-{}", std::process::id());
    /// assert_eq!(tubepost::Domain::open(&dir)?.path(), std::path::Path::new(&dir));
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), tubepost::Error>(())
    /// ```
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn open_at(path: &Path, chosen: bool) -> Result<Domain, Error> {
        // Relative to where we are now, not to where we may have gone by the next call.
        let path = std::path::absolute(path)
            .map_err(|error| failed("to find", path, Errno::from_io_error(&error).unwrap_or(Errno::INVAL)))?;
        // Without a trailing slash, which would make the system follow a symbolic link.
        let path = &*path.components().collect::<PathBuf>();
        let refused = |why: &str| Error::DomainRefused { path: path.into(), why: why.into() };
        match file::make_directory(path) {
            Ok(()) | Err(Errno::EXIST) => {}
            // A read-only parent does not matter if the directory is there.
            Err(errno) if file::facts_at(path).is_err() => return Err(failed("to create", path, errno)),
            Err(_) => {}
        }
        let directory = match file::open_directory(path) {
            Ok(directory) => directory,
            Err(Errno::LOOP) => return Err(refused("it is a symbolic link; name the directory itself")),
            Err(Errno::NOTDIR) if file::facts_at(path).is_ok_and(|facts| facts.is_link) => {
                return Err(refused("it is a symbolic link; name the directory itself"));
            }
            Err(Errno::NOTDIR) => {
                return Err(refused("it is not a directory; name a directory, or none to be created"));
            }
            Err(errno) => return Err(failed("to open", path, errno)),
        };
        let facts = file::facts(&directory).map_err(|errno| failed("to inspect", path, errno))?;
        access::check_domain(path, &facts, chosen)?;
        debug_assert!(facts.is_directory);
        if !file::is_memory(directory.as_fd()) {
            locks_outlive_descriptors(path)?;
        }
        Ok(Domain { path: path.into() })
    }

    /// What stands for a domain where there is none: nothing is looked for in it.
    pub(crate) fn nowhere() -> Domain {
        Domain { path: Path::new(NOWHERE).into() }
    }

    fn is_nowhere(&self) -> bool {
        self.path.as_os_str() == NOWHERE
    }

    /// How much memory its file system has; 0 if that has no limit.
    pub(crate) fn memory(&self) -> u64 {
        if self.is_nowhere() { memfd::memory().map_or(0, |(all, _)| all) } else { file::size(&self.path) }
    }

    /// The file that an object of this name is, if it exists.
    pub(crate) fn file(&self, name: &name::Name) -> PathBuf {
        self.path.join(name.file())
    }
}

/// Where that is which has no name, as people are told. (No domain: their paths are absolute.)
pub(crate) const NOWHERE: &str = "the memory of a pair";

fn default_path() -> PathBuf {
    format!("/dev/shm/tubepost-{}", rustix::process::geteuid().as_raw()).into()
}

/// What is wanted at least where memory is wanted at all.
const PAGE: u64 = 4096;

/// How much memory there is yet where this is.
pub(crate) fn available(path: &Path) -> u64 {
    match path.as_os_str() == NOWHERE {
        true => memfd::memory().map_or(0, |(_, left)| left),
        false => file::available(path),
    }
}

/// Says how much memory was wanted and what there is, if that is what the system said.
pub(crate) fn no_memory(wanted: u64, path: &Path, errno: Errno) -> Error {
    match errno {
        Errno::NOSPC | Errno::DQUOT | Errno::NOMEM | Errno::FBIG | Errno::FAULT => {
            let available = available(path);
            if available >= wanted {
                // Something else is short; the system's own words say more than two numbers that fit.
                let doing = match errno {
                    Errno::NOSPC => "to get memory (are there inodes left?) in",
                    Errno::NOMEM => "to get addresses (see `ulimit -v`) for",
                    Errno::FBIG => "to make a file as long as the mailbox could become (see `ulimit -f`) in",
                    _ => "to get memory in",
                };
                return Error::Os { doing, path: path.into(), errno: errno.raw_os_error() };
            }
            Error::NoMemory { wanted, available, path: path.into() }
        }
        _ => failed("to get memory in", path, errno),
    }
}

/// Turns what the system said into an error that tells what was tried on what.
pub(crate) fn failed(doing: &'static str, path: &Path, errno: Errno) -> Error {
    let path: PathBuf = path.into();
    match errno {
        Errno::ACCESS | Errno::PERM | Errno::ROFS => Error::Denied { doing, path, whose: None },
        Errno::NOSPC | Errno::DQUOT | Errno::NOMEM => no_memory(PAGE, &path, errno),
        _ => Error::Os { doing, path, errno: errno.raw_os_error() },
    }
}

/// Who is alive is told by locks that live as long as a mapping. Some file systems
/// (overlayfs) drop them when the descriptor is closed: no domain can be there.
fn locks_outlive_descriptors(path: &Path) -> Result<(), Error> {
    let os = |errno| failed("to test the file system of", path, errno);
    let unfit = |why: &str| Error::DomainRefused {
        path: path.into(),
        why: format!("{why}; use a directory on a tmpfs such as /dev/shm"),
    };
    let held = match file::make_nameless(path, 4096, 4096) {
        Ok(held) => held,
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
            return Err(unfit("its file system has no nameless files"));
        }
        Err(errno) => return Err(os(errno)),
    };
    let other = file::open_again(held.as_fd()).map_err(os)?;
    lock::try_lock(held.as_fd(), 0).map_err(os)?;
    let map = Map::new(held.as_fd(), 4096).map_err(os)?;
    drop(held);
    let outlived = lock::is_locked(other.as_fd(), 0).map_err(os)?;
    drop(map);
    if outlived { Ok(()) } else { Err(unfit("its file system forgets locks when a file is closed")) }
}
