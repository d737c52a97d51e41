//! How far an independent reader is: a small file beside the log, with a name.
//!
//! ```text
//! 0x00  "tubecur\0", id of the log
//! 0x18  the number of the next message to be read
//! ```
//!
//! One process at a time reads by a name: it has a lock on the file, for as long as it has it open. The number is written after a message was handed out, so
//! one that was being handed out at a death comes again.
//!
//! **What if it dies here?** The lock goes, the number stays. A number beyond the end of the log (the power was lost, and the log is shorter now) is set back when the log is
//! put in order, before anybody appends.

use super::store::{Store, file_mode};
use super::trouble;
use crate::error::Error;
use crate::os::fault::Guard;
use crate::os::map::Map;
use crate::os::{Errno, file as disk, lock};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

const MAGIC: u64 = u64::from_le_bytes(*b"tubecur\0");
pub(super) const SUFFIX: &str = ".cursor";
const LENGTH: usize = 32;
const NEXT_AT: usize = 0x18;
/// What is mapped of it.
const PAGE: usize = 4096;

/// A named place in a log.
#[derive(Debug)]
pub(crate) struct Place {
    // In this order: it is guarded for as long as it is mapped.
    map: Map,
    guard: Guard,
    /// Whose lock says that somebody reads by it.
    _fd: OwnedFd,
    path: PathBuf,
}

/// What a file is called that has the place of this name.
fn called(name: &str) -> String {
    format!("{name}{SUFFIX}")
}

fn bytes(id: [u64; 2], next: u64) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    for (at, word) in [MAGIC, id[0], id[1], next].iter().enumerate() {
        bytes[at * 8..at * 8 + 8].copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

fn read(fd: &OwnedFd, id: [u64; 2]) -> Result<u64, Errno> {
    let mut found = [0; LENGTH];
    disk::read_at(fd.as_fd(), &mut found, 0)?;
    let (words, _) = found.as_chunks::<8>();
    let next = u64::from_le_bytes(words[3]);
    if found[..24] == bytes(id, 0)[..24] { Ok(next) } else { Err(Errno::ILSEQ) }
}

impl Place {
    /// Opens the place of this name, or makes it, at what `first` says. An error: another process reads by it.
    pub(crate) fn open(
        store: &Store,
        name: &str,
        first: impl FnOnce() -> Result<u64, Error>,
    ) -> Result<(Place, u64), Error> {
        let most = 255 - SUFFIX.len();
        if name.len() > most {
            let (given, allowed) = (format!("{} bytes long", name.len()), format!("at most {most} bytes"));
            return Err(Error::BadOption { what: "the name of a cursor", given, allowed });
        }
        let (path, reach) = (store.path.join(called(name)), store.reach(&called(name)));
        let failed = |errno| match errno {
            Errno::ILSEQ => {
                Error::Damaged { name: path.display().to_string(), what: "it is no place in this log".into() }
            }
            errno => trouble("to open", &path, errno),
        };
        let id = store.described.id;
        if disk::facts_at(&reach).is_err() {
            let fd = disk::make_nameless(&store.reach(""), 0, 0).map_err(failed)?;
            disk::write_at(fd.as_fd(), &bytes(id, first()?), 0).map_err(failed)?;
            disk::permit(fd.as_fd(), file_mode(store.described.mode), store.described.group)
                .map_err(failed)?;
            match disk::publish(fd.as_fd(), &reach) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        let fd = disk::open_file(&reach).map_err(failed)?;
        if !lock::try_lock(fd.as_fd(), 0).map_err(failed)? {
            return Err(store.refused(format!(
                "another process reads by the cursor {name:?}; use another name, or end it"
            )));
        }
        let next = read(&fd, id).map_err(failed)?;
        Ok((Place::map(fd, path)?, next))
    }

    fn map(fd: OwnedFd, path: PathBuf) -> Result<Place, Error> {
        let map = Map::new(fd.as_fd(), PAGE).map_err(|errno| trouble("to map", &path, errno))?;
        let guard = Guard::over(map.start().as_ptr() as usize, PAGE);
        Ok(Place { map, guard, _fd: fd, path })
    }

    /// Writes down which message is to be read next.
    #[inline]
    pub(crate) fn set(&self, next: u64) -> Result<(), Error> {
        // SAFETY: invariant 1 of `records`: in the page that is mapped, and aligned; atomics only.
        let word = unsafe { &*self.map.start().as_ptr().add(NEXT_AT).cast::<AtomicU64>() };
        word.store(next, Relaxed);
        if self.guard.is_lost() { Err(trouble("to write", &self.path, Errno::IO)) } else { Ok(()) }
    }
}

impl Store {
    /// All named places, and the number of the next message of each.
    pub(crate) fn places(&self) -> Result<Vec<(String, u64)>, Error> {
        let mut places = Vec::new();
        for file in self.names()? {
            let Some(name) = file.strip_suffix(SUFFIX) else { continue };
            let fd = match disk::open_to_look_at(&self.reach(&file)) {
                Ok(fd) => fd,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(trouble("to open", &self.path.join(&file), errno)),
            };
            if let Ok(next) = read(&fd, self.described.id) {
                places.push((name.to_owned(), next));
            }
        }
        places.sort();
        Ok(places)
    }

    /// No place is beyond the end. For who has the log alone.
    pub(crate) fn clamp_places(&self, end: u64) -> Result<(), Error> {
        for (name, next) in self.places()? {
            if next > end {
                let (path, file) = (self.path.join(called(&name)), self.reach(&called(&name)));
                let fd = disk::open_file(&file).map_err(|errno| trouble("to open", &path, errno))?;
                Place::map(fd, path)?.set(end)?;
            }
        }
        Ok(())
    }
}
