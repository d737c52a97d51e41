//! The data of a region, or of bare memory: a file of its own beside the segment that has the name.
//!
//! It is called after that one's id (see [`sockets`](super::sockets)), is there before the name is, and goes with it. Its mode is the
//! one that was chosen, so that the kernel keeps those who may only read from writing; the segment itself holds the rows of readers and members, and
//! whoever may do either writes there.
//!
//! **What if it dies here?** As for the sockets: whoever makes it has a lock on the directory, and gc takes away what belongs to nothing.

use super::entry::{self, Plan};
use super::name::Name;
use super::segment::Segment;
use super::sockets::{DATA, called};
use super::{Domain, access, failed, no_memory};
use crate::error::Error;
use crate::os::map::Map;
use crate::os::{Errno, file};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// What its file is to be: how long, and which parts of it are memory from the start.
pub(crate) struct Extent<'a> {
    pub(crate) total: u64,
    pub(crate) first: &'a [(u64, u64)],
}

/// Builds a segment and its data, which `fill` describes, and gives it its name.
pub(crate) fn create_with_data(
    domain: &Domain,
    name: &Name,
    plan: &Plan<'_>,
    extent: &Extent<'_>,
    fill: impl FnOnce(&Segment, &Map),
) -> Result<(Segment, Map), Error> {
    let _making = domain.hold_making()?;
    entry::create_with(domain, name, plan, |segment| {
        let map = segment.make_data(plan, extent)?;
        fill(segment, &map);
        Ok(map)
    })
}

impl Segment {
    fn data_path(&self) -> PathBuf {
        self.domain.path().join(called(self.id(), DATA))
    }

    fn make_data(&self, plan: &Plan<'_>, extent: &Extent<'_>) -> Result<Map, Error> {
        let directory = self.domain.path();
        let wanted: u64 = extent.first.iter().map(|(_, length)| length).sum();
        let trouble = |errno| match errno {
            Errno::NOSPC | Errno::DQUOT | Errno::NOMEM | Errno::FBIG => no_memory(wanted, directory, errno),
            _ => failed("to create a file in", directory, errno),
        };
        let length = usize::try_from(extent.total).map_err(|_| trouble(Errno::FBIG))?;
        let fd = file::make_nameless(directory, extent.total, 0).map_err(trouble)?;
        file::permit(fd.as_fd(), access::data_mode(plan.mode), plan.group)
            .map_err(|errno| failed("to make files for that group in", directory, errno))?;
        let map = Map::new(fd.as_fd(), length).map_err(trouble)?;
        for &(at, length) in extent.first {
            file::reserve(fd.as_fd(), at, length).map_err(trouble)?;
        }
        file::publish(fd.as_fd(), &self.data_path()).map_err(trouble)?;
        Ok(map)
    }

    /// The data, open for writing or for reading, and how long it is. `NoSuchName`: this is over.
    pub(crate) fn open_data(&self, writes: bool) -> Result<(OwnedFd, u64), Error> {
        let path = self.data_path();
        let open = if writes { file::open_file } else { file::open_to_look_at };
        let fd = match open(&path) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => {
                let domain = self.domain.path().into();
                return Err(Error::NoSuchName { name: self.name.to_string(), domain, wanted: "anything" });
            }
            Err(errno) => return Err(failed(if writes { "to write" } else { "to read" }, &path, errno)),
        };
        let facts = file::facts(&fd).map_err(|errno| failed("to inspect", &path, errno))?;
        if !facts.is_file || facts.owner != self.belongs_to().0 {
            let what = "its data is another's".into();
            return Err(Error::Damaged { name: self.name.to_string(), what });
        }
        Ok((fd, facts.length))
    }

    /// How many bytes of memory the data occupies, if there is such.
    pub(crate) fn data_occupies(&self) -> u64 {
        if !self.geometry.choice.kind.is_data() {
            return 0;
        }
        file::facts_at(&self.data_path()).map_or(0, |facts| facts.occupied)
    }
}
