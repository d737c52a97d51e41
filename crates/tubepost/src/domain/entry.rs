//! What exists: segments and their names.
//!
//! A segment is built whole in a file without a name, its owner's row locked and filled in,
//! and then linked: nothing half-made ever has a name. A name passes from a dead owner's
//! segment to a new one in two steps, each of which anybody may repeat:
//!
//! ```text
//! retire   lock byte 0 of the segment that the name means
//!          look again: does the name still mean it? is the owner still dead?
//!          life = RETIRED, wake everybody, unlink the name, unlock
//! link     the new segment; somebody was faster: start over
//! ```
//!
//! Only the holder of the lock on byte 0 of the very segment that the name means may unlink
//! the name, so two takers can't remove each other's new segment. Who opens a segment by
//! name and finds it RETIRED opens by name again.
//!
//! A link between two processes is in two segments, one each way, of which either end makes what the other did not make yet;
//! their names are of no other link, ever (`party`).
//!
//! **What if it dies here?** Before the link: the nameless file vanishes with its maker.
//! Holding byte 0: the lock goes with it and the next one does the same again, because the
//! name is still there: taking it away is the last step.

use super::access;
use super::member;
use super::name::Name;
use super::party::{Introductions, introduction};
use super::segment::{Id, Segment};
use super::visits;
use super::{Domain, cleanup, failed, no_memory};
use crate::error::Error;
use crate::os::{Errno, file, map::Map};
use crate::queue::layout::{Geometry, Header, OWNER, SENDER};
use crate::queue::rows;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::Ordering::Release;

/// How often, a millisecond apart, to try for that lock before saying that somebody is busy.
const TRIES: u32 = 100;

/// What a new segment is to be.
pub(crate) struct Plan<'a> {
    pub(crate) geometry: Geometry,
    pub(crate) format: &'a str,
    pub(crate) mode: u32,
    pub(crate) group: Option<u32>,
    /// What its creator is called.
    pub(crate) member: &'a str,
    /// Its id, where it had one before.
    pub(crate) id: Option<[u64; 2]>,
}

/// Builds a segment and gives it its name. If it is owned by a process, this is the one.
pub(crate) fn create(domain: &Domain, name: &Name, plan: &Plan<'_>) -> Result<Segment, Error> {
    create_with(domain, name, plan, |_| Ok(())).map(|(segment, ())| segment)
}

/// Builds a segment, does what is to be done before it has a name, and gives it that.
pub(super) fn create_with<R>(
    domain: &Domain,
    name: &Name,
    plan: &Plan<'_>,
    before: impl FnOnce(&Segment) -> Result<R, Error>,
) -> Result<(Segment, R), Error> {
    let path = domain.file(name);
    // First, so that a dead one's memory is free before a new one's is wanted.
    make_way(domain, name)?;
    let (fd, segment) = build(domain, name, plan, None)?;
    let made = before(&segment)?;
    let publish = || {
        for _ in 0..TRIES {
            match file::publish(fd.as_fd(), &path) {
                Ok(()) => return Ok(()), // the descriptor closes; the mapping keeps the lock
                Err(Errno::EXIST) => make_way(domain, name)?,
                Err(errno) => return Err(failed("to create", &path, errno)),
            }
        }
        Err(Error::Busy { name: name.to_string() })
    };
    match publish() {
        Ok(()) => Ok((segment, made)),
        Err(error) => {
            if segment.geometry.has_files() {
                segment.take_sockets();
            }
            Err(error)
        }
    }
}

/// A direction of a link.
pub(crate) struct Linked {
    pub(crate) segment: Segment,
    /// Of the kernel strategy, the pipe beside it; nothing if it is over.
    pub(crate) credit: Option<OwnedFd>,
    pub(crate) made: bool,
}

impl Linked {
    /// What is there.
    pub(crate) fn open(domain: &Domain, name: &Name) -> Result<Linked, Error> {
        let (_, segment) = open(domain, name)?;
        let credit = match segment.geometry.choice.kernel {
            true => match segment.credit() {
                Ok(credit) => Some(credit),
                Err(Errno::NOENT) => None,
                Err(errno) => return Err(failed("to open the credit of", &segment.path(), errno)),
            },
            false => None,
        };
        Ok(Linked { segment, credit, made: false })
    }
}

/// Opens the direction of a link that has this name, or makes it.
pub(crate) fn link(
    domain: &Domain,
    name: &Name,
    plan: &Plan<'_>,
    ends: &Introductions<'_>,
) -> Result<Linked, Error> {
    let mut built = None;
    for _ in 0..TRIES {
        match Linked::open(domain, name) {
            Ok(there) if there.segment.is_retired() => cleanup::bury(&there.segment)?,
            Ok(there) => return Ok(there),
            Err(Error::NoSuchName { .. }) => {}
            Err(other) => return Err(other),
        }
        let unpublished = match built.take() {
            Some(built) => built,
            None => Unpublished::build(domain, name, plan, ends)?,
        };
        let path = domain.file(name);
        match file::publish(unpublished.fd.as_fd(), &path) {
            Ok(()) => {
                let linked = unpublished.published();
                planted!(NamedBeforeEnds => let _ = member::register_ends(&linked.segment.rows, ends););
                return Ok(linked);
            }
            Err(Errno::EXIST) => built = Some(unpublished),
            Err(errno) => return Err(failed("to create", &path, errno)),
        }
    }
    Err(Error::Busy { name: name.to_string() })
}

/// A direction of a link that has no name so far.
struct Unpublished {
    fd: OwnedFd,
    /// Nothing once it has a name.
    linked: Option<Linked>,
    _making: Option<OwnedFd>,
}

impl Unpublished {
    fn build(
        domain: &Domain,
        name: &Name,
        plan: &Plan<'_>,
        ends: &Introductions<'_>,
    ) -> Result<Unpublished, Error> {
        let kernel = plan.geometry.choice.kernel;
        let making = kernel.then(|| domain.hold_making()).transpose()?;
        let (fd, segment) = build(domain, name, plan, Some(ends))?;
        let credit = kernel.then(|| segment.make_links_credit(plan.group)).transpose()?;
        let linked = Linked { segment, credit, made: true };
        Ok(Unpublished { fd, linked: Some(linked), _making: making })
    }

    fn published(mut self) -> Linked {
        self.linked.take().expect("it is taken here only")
    }
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        if let Some(linked) = &self.linked
            && linked.credit.is_some()
        {
            linked.segment.take_sockets();
        }
    }
}

/// Buries what a dead owner left under the name; an error if a living one has it.
fn make_way(domain: &Domain, name: &Name) -> Result<(), Error> {
    match open(domain, name) {
        Ok((_, old)) if old.is_over() => cleanup::bury(&old),
        Ok((_, old)) if old.geometry.choice.owned => Err(cleanup::in_use(&old)),
        Ok(_) => Err(Error::Exists { name: name.to_string() }),
        Err(Error::NoSuchName { .. }) => Ok(()),
        Err(other) => Err(other),
    }
}

fn build(
    domain: &Domain,
    name: &Name,
    plan: &Plan<'_>,
    ends: Option<&Introductions<'_>>,
) -> Result<(OwnedFd, Segment), Error> {
    let directory = domain.path();
    let geometry = plan.geometry;
    let trouble = |errno| match errno {
        Errno::NOSPC | Errno::DQUOT | Errno::NOMEM | Errno::FBIG => {
            no_memory(geometry.reserved(), directory, errno)
        }
        _ => failed("to create a file in", directory, errno),
    };
    let fd = file::make_nameless(directory, geometry.total, geometry.reserved()).map_err(trouble)?;
    // Of a link both ends count in it.
    let mode = if geometry.choice.kernel && ends.is_none() { access::entry_mode } else { access::file_mode };
    file::permit(fd.as_fd(), mode(plan.mode), plan.group)
        .map_err(|errno| failed("to make files for that group in", directory, errno))?;
    let segment = fill(fd.as_fd(), domain, name, plan).map_err(trouble)?;
    if let Some(ends) = ends {
        if !planted!(NamedBeforeEnds) {
            member::register_ends(&segment.rows, ends).map_err(trouble)?;
        }
        segment.header().tail.rows.store(u64::from(SENDER) + 1, Release);
        segment.arm_herald(); // whoever receives does not know of it yet
    } else if geometry.choice.owned {
        let introduction = introduction(plan.member, true);
        member::register_owner(fd.as_fd(), &segment.rows, &introduction).map_err(trouble)?;
        segment.becomes(OWNER, fd.as_fd());
    }
    Ok((fd, segment))
}

/// Makes a segment of a file of which nobody else knows so far. Nobody is a member of it yet.
pub(super) fn fill(
    fd: BorrowedFd<'_>,
    domain: &Domain,
    name: &Name,
    plan: &Plan<'_>,
) -> Result<Segment, Errno> {
    let geometry = plan.geometry;
    let facts = file::facts(fd)?;
    let map = Map::new(fd, geometry.total as usize)?;
    reserve_first(&map, &geometry)?;
    rows::set_format(&map, &geometry, plan.format.as_bytes());
    let id = plan.id.unwrap_or_else(|| Id::fresh().words());
    geometry.describe(rows::header(&map), id, plan.mode);
    let segment = Segment::new(domain, name, facts, map, geometry);
    if geometry.areas.is_some() {
        segment.slots.words.set_nowhere();
    }
    Ok(segment)
}

/// Makes sure of what has memory from the start in an unbounded mailbox, and is not at its beginning.
fn reserve_first(map: &Map, geometry: &Geometry) -> Result<(), Errno> {
    let pieces = geometry.areas.map(|areas| areas.first(geometry.begins()));
    pieces.into_iter().flatten().try_for_each(|(at, length)| map.reserve(at as usize, length as usize))
}

/// Opens what the name means now, and checks that it is what it should be. The descriptor
/// is the one that the mapping came from: a lock on it lives as long as the segment.
pub(crate) fn open(domain: &Domain, name: &Name) -> Result<(OwnedFd, Segment), Error> {
    open_as(domain, name, file::open_file, Map::new)
}

/// The same, opened and mapped in this way.
pub(super) fn open_as(
    domain: &Domain,
    name: &Name,
    open: impl FnOnce(&Path) -> Result<OwnedFd, Errno>,
    map: impl FnOnce(BorrowedFd<'_>, usize) -> Result<Map, Errno>,
) -> Result<(OwnedFd, Segment), Error> {
    let path = domain.file(name);
    let damaged = |what: &str| Error::Damaged { name: name.to_string(), what: what.into() };
    let fd = match open(&path) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => {
            let wanted = if name.link().is_some() { "a link" } else { "anything" };
            return Err(Error::NoSuchName { name: name.to_string(), domain: domain.path().into(), wanted });
        }
        Err(Errno::LOOP) => return Err(damaged("it is a symbolic link")),
        Err(Errno::ISDIR | Errno::NXIO) => return Err(damaged("it is not a regular file")),
        Err(errno) => return Err(access::refused("to open", name, &path, errno)),
    };
    let segment = read(fd.as_fd(), domain, name, map)?;
    Ok((fd, segment))
}

/// The segment in an open file, checked, mapped in this way.
pub(super) fn read(
    fd: BorrowedFd<'_>,
    domain: &Domain,
    name: &Name,
    map: impl FnOnce(BorrowedFd<'_>, usize) -> Result<Map, Errno>,
) -> Result<Segment, Error> {
    let path = domain.file(name);
    let damaged = |what: &str| Error::Damaged { name: name.to_string(), what: what.into() };
    let facts = file::facts(fd).map_err(|errno| failed("to inspect", &path, errno))?;
    if !facts.is_file {
        return Err(damaged("it is not a regular file"));
    }
    if facts.length < size_of::<Header>() as u64 || facts.occupied == 0 {
        return Err(damaged(&format!("it has only {} bytes", facts.length.min(facts.occupied))));
    }
    let length = usize::try_from(facts.length).map_err(|_| damaged("it is larger than memory"))?;
    let map = map(fd, length).map_err(|errno| failed("to map", &path, errno))?;
    // The first page may be a hole, and the file system full.
    map.reserve(0, length.min(4096)).map_err(|errno| failed("to read", &path, errno))?;
    let geometry = Geometry::read(rows::header(&map), name.as_str(), facts.length, facts.occupied)?;
    reserve_first(&map, &geometry).map_err(|errno| failed("to read", &path, errno))?;
    let mut segment = Segment::new(domain, name, facts, map, geometry);
    if geometry.areas.is_some() {
        let byte = visits::look(fd).map_err(|errno| failed("to look into", &path, errno))?;
        segment.looks = Some(byte);
    }
    Ok(segment)
}
