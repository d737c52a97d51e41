//! The data of a region, or of bare memory: a file of its own beside the segment that has the name.
//!
//! It is called after that one's id (see [`sockets`](super::sockets)), is there before the name is, and goes with it. Its mode is the
//! one that was chosen, so that the kernel keeps those who may only read from writing; the segment itself holds the rows of readers and members, and
//! whoever may do either writes there.
//!
//! Of a region in place the data is in a file of its own, its *home*, `~data~` and a number; the other file says which one. It moves to another home
//! where that is needed (`holding::moving`); whoever moves it has the lock on the directory while both have names.
//!
//! **What if it dies here?** As for the sockets: whoever makes it has a lock on the directory, and gc takes away what belongs to nothing.

use super::entry::{self, Plan};
use super::name::Name;
use super::segment::{Id, Segment};
use super::sockets::{DATA, called};
use super::{Domain, access, failed, no_memory};
use crate::error::Error;
use crate::os::map::Map;
use crate::os::{Errno, door, file};
use crate::queue::layout::Kind;
use crate::versions::in_place::Place;
use crate::versions::layout;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

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
    fill: impl FnOnce(&Segment, &Map) -> Result<(), Error>,
) -> Result<(Segment, Map), Error> {
    let _making = domain.hold_making()?;
    entry::create_with(domain, name, plan, |segment| {
        let (fd, map) = segment.make_file(plan.mode, plan.group, extent)?;
        segment.name_file(&fd, DATA)?;
        fill(segment, &map).inspect_err(|_| segment.take_sockets())?;
        Ok(map)
    })
}

/// The number of a home that is called so.
pub(super) fn home_of(what: &str) -> Option<u32> {
    let number = u32::from_str_radix(what.strip_prefix(DATA)?.strip_prefix('~')?, 16).ok()?;
    (home_called(number) == what).then_some(number)
}

fn home_called(number: u32) -> String {
    format!("{DATA}~{number:x}")
}

/// Where the data of a region in place is, as the file says that stands beside its segment.
fn place_in(path: &Path) -> Option<Place> {
    let fd = file::open_to_look_at(path).ok()?;
    let flags = file::read_word(fd.as_fd(), layout::FLAGS_AT).ok()?;
    let place = file::read_word(fd.as_fd(), layout::PLACE_AT).ok()?;
    layout::says_in_place(flags).then_some(Place(place))
}

impl Segment {
    fn data_path(&self) -> PathBuf {
        self.domain.path().join(called(self.id(), DATA))
    }

    /// A file that has no name yet, mapped.
    fn make_file(&self, mode: u32, group: Option<u32>, extent: &Extent<'_>) -> Result<(OwnedFd, Map), Error> {
        let directory = self.domain.path();
        let wanted: u64 = extent.first.iter().map(|(_, length)| length).sum();
        let trouble = |errno| match errno {
            Errno::NOSPC | Errno::DQUOT | Errno::NOMEM | Errno::FBIG => no_memory(wanted, directory, errno),
            _ => failed("to create a file in", directory, errno),
        };
        let length = usize::try_from(extent.total).map_err(|_| trouble(Errno::FBIG))?;
        if !file::has_room(directory, wanted) {
            return Err(trouble(Errno::NOSPC)); // and nobody else is without memory until we have found out
        }
        let fd = file::make_nameless(directory, extent.total, 0).map_err(trouble)?;
        file::permit(fd.as_fd(), access::data_mode(mode), group)
            .map_err(|errno| failed("to make files for that group in", directory, errno))?;
        let map = Map::new(fd.as_fd(), length).map_err(trouble)?;
        for &(at, length) in extent.first {
            if let Err(errno) = file::reserve(fd.as_fd(), at, length) {
                drop((fd, map)); // what it had is there again, and told as such
                return Err(trouble(errno));
            }
        }
        Ok((fd, map))
    }

    fn name_file(&self, fd: &OwnedFd, what: &str) -> Result<(), Error> {
        let path = self.domain.path().join(called(self.id(), what));
        file::publish(fd.as_fd(), &path).map_err(|errno| failed("to create", &path, errno))
    }

    /// A home that has no name yet, mapped.
    pub(crate) fn make_home(&self, group: Option<u32>, extent: &Extent<'_>) -> Result<(OwnedFd, Map), Error> {
        self.make_file(self.mode(), group, extent)
    }

    /// Of a region that has no name yet.
    pub(crate) fn name_first_home(&self, fd: &OwnedFd, number: u32) -> Result<(), Error> {
        self.name_file(fd, &home_called(number))
    }

    /// Names a home, and takes the other one's name away, or its own, whether it `is_moved` to this one.
    pub(crate) fn move_home(
        &self,
        fd: &OwnedFd,
        old: u32,
        new: u32,
        is_moved: impl FnOnce() -> bool,
    ) -> Result<bool, Error> {
        let _making = self.domain.hold_making()?;
        self.name_file(fd, &home_called(new))?;
        let moved = is_moved();
        self.take_home(if moved { old } else { new });
        if self.is_retired() {
            self.take_home(new); // who took the others may not have seen it
        }
        Ok(moved)
    }

    fn take_home(&self, number: u32) {
        door::remove(self.domain.path(), &called(self.id(), &home_called(number)));
    }

    /// Takes away those that there may be; the others are swept by gc.
    pub(super) fn take_homes(&self) {
        if self.geometry.choice.kind == Kind::Region
            && let Some(place) = place_in(&self.data_path())
        {
            self.take_home(place.home());
            self.take_home(place.attempt());
        }
    }

    /// Whether it is for us to make files beside it, as whoever made it did.
    pub(crate) fn is_for_us_to_make(&self) -> bool {
        access::is_our_user(self.belongs_to().0) && file::may_write(self.domain.path())
    }

    /// A home, open for writing or for reading, and how long it is. `NoSuchName`: it is none any more.
    pub(crate) fn open_home(&self, number: u32, writes: bool) -> Result<(OwnedFd, u64), Error> {
        self.open_file(&self.domain.path().join(called(self.id(), &home_called(number))), writes)
    }

    /// The data, open for writing or for reading, and how long it is. `NoSuchName`: this is over.
    pub(crate) fn open_data(&self, writes: bool) -> Result<(OwnedFd, u64), Error> {
        self.open_file(&self.data_path(), writes)
    }

    fn open_file(&self, path: &Path, writes: bool) -> Result<(OwnedFd, u64), Error> {
        let open = if writes { file::open_file } else { file::open_to_look_at };
        let fd = match open(path) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => {
                let domain = self.domain.path().into();
                return Err(Error::NoSuchName { name: self.name.to_string(), domain, wanted: "anything" });
            }
            Err(errno) => return Err(failed(if writes { "to write" } else { "to read" }, path, errno)),
        };
        let facts = file::facts(&fd).map_err(|errno| failed("to inspect", path, errno))?;
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
        let path = self.data_path();
        let home = place_in(&path)
            .map(|place| self.domain.path().join(called(self.id(), &home_called(place.home()))));
        let all = home.into_iter().chain([path]);
        all.map(|path| file::facts_at(&path).map_or(0, |facts| facts.occupied)).sum()
    }
}

impl Domain {
    /// Whether this file is called a home of the region that has this id, and is none, while nobody makes such.
    pub(super) fn is_no_home(&self, id: Id, file: &str) -> bool {
        let prefix = called(id, "");
        let Some(number) = file.strip_prefix(&prefix).and_then(home_of) else { return false };
        place_in(&self.path().join(called(id, DATA))).is_some_and(|place| place.home() != number)
    }
}

#[cfg(test)]
mod tests {
    use super::{home_called, home_of};

    #[test]
    fn a_home_is_called_after_its_number() {
        for number in [1, 0x1f, u32::MAX] {
            assert_eq!(home_of(&home_called(number)), Some(number));
        }
        for other in
            ["data", "data~", "data~0x1", "data~01", "data~+1", "data~1~", "data~100000000", "credit~1"]
        {
            assert_eq!(home_of(other), None, "{other}");
        }
    }
}
