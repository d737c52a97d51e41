//! A segment: an object of a domain, mapped; what it is, who waits at it, and whether it is over.

use super::access::{self, Right};
use super::bond::Bound;
use super::entry;
use super::log::Log;
use super::member;
use super::name::Name;
use super::party::Parties;
use super::visits::Visits;
use super::{Domain, available};
use crate::error::Error;
use crate::os::{Errno, file, fork, lock, map::Map};
use crate::queue::calls::Calls;
use crate::queue::cells;
use crate::queue::chunks::Chunks;
use crate::queue::handoff::Handoff;
use crate::queue::layout::{Geometry, Header, Kind, OWNER, RETIRED, SENDER};
use crate::queue::mapped::Mapped;
use crate::queue::rows::{self, HeaderOf, Rows};
use crate::queue::slots::{Member, Slots};
use crate::sync::doors;
use crate::sync::wait::{Bell, Quiet, Wakes};
use crate::versions::mapped::Readers;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The byte whose lock permits unlinking the name.
const NAME_BYTE: u64 = 0;
/// How often, a millisecond apart, to try for that lock before saying that somebody is busy.
const TRIES: u32 = 100;
/// The epoch of no process.
const NOBODYS: u64 = u64::MAX;

/// The id of a mailbox: never used again, even by another of the same name.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-id-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// let options = tubepost::Mailbox::<u64>::options().domain(&domain);
/// let first = options.clone().own("readings")?.id();
/// let second = options.own("readings")?.id();
/// assert_ne!(first, second);
/// assert_eq!(first.to_string().len(), 32);
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), tubepost::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id([u64; 2]);

impl Id {
    pub(super) fn of(words: [u64; 2]) -> Id {
        Id(words)
    }

    /// As bytes, for a key of a [`Table`](crate::Table) that tells of mailboxes.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-id-bytes-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// let inbox = tubepost::Mailbox::<u64>::options().domain(&domain).own("numbers")?;
    /// let number = u128::from_be_bytes(inbox.id().to_bytes());
    /// assert_eq!(inbox.id().to_string(), format!("{number:032x}"));
    /// # drop(inbox);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), tubepost::Error>(())
    /// ```
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.0[0]) << 64 | u128::from(self.0[1])).to_be_bytes()
    }

    pub(crate) fn words(self) -> [u64; 2] {
        self.0
    }

    pub(super) fn fresh() -> Id {
        let mut bytes = [0; 16];
        let mut have = 0;
        while have < 16 {
            let flags = rustix::rand::GetRandomFlags::empty();
            have += rustix::rand::getrandom(&mut bytes[have..], flags).unwrap_or(0);
        }
        let (words, _) = bytes.as_chunks::<8>();
        Id([u64::from_ne_bytes(words[0]), u64::from_ne_bytes(words[1])])
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.0[0], self.0[1])
    }
}

/// See [`Segment::set_herald`].
struct Herald(Box<dyn Fn() + Send + Sync>);

impl fmt::Debug for Herald {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Herald")
    }
}

/// An object of a domain, mapped.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) domain: Domain,
    pub(crate) name: Name,
    pub(crate) geometry: Geometry,
    pub(crate) slots: Slots<Mapped>,
    pub(crate) chunks: Chunks,
    pub(crate) calls: Calls,
    /// Of capacity zero only.
    pub(crate) handoff: Option<Handoff<cells::Mapped>>,
    pub(crate) rows: Rows,
    /// A member's of an unbounded mailbox; see `visits`.
    pub(super) visits: OnceLock<Visits>,
    /// The byte that a looker has.
    pub(super) looks: Option<u64>,
    /// Of a link: who is at its ends.
    parties: Option<Parties>,
    /// Of a pair: how its ends find each other.
    pub(super) bound: Option<Bound>,
    /// Of a link: tells its receiver that something has come, if that one asked for it.
    herald: OnceLock<Herald>,
    /// A member's of a mailbox that is kept in files.
    pub(super) log: OnceLock<Arc<Log>>,
    pub(super) facts: file::Facts,
    pub(super) map: Arc<Map>,
    header: HeaderOf,
    id: Id,
    /// Of the process that mapped it; [`NOBODYS`] once that one has done with it.
    epoch: AtomicU64,
}

impl Segment {
    pub(super) fn new(
        domain: &Domain,
        name: &Name,
        facts: file::Facts,
        map: Map,
        geometry: Geometry,
    ) -> Segment {
        let map = Arc::new(map);
        let header = HeaderOf::new(Arc::clone(&map));
        Segment {
            id: Id([0, 1].map(|word: usize| header.id[word].load(Acquire))),
            domain: domain.clone(),
            name: name.clone(),
            slots: slots(Mapped::new(Arc::clone(&map), &geometry), &geometry),
            handoff: (geometry.choice.capacity == 0 && !geometry.choice.kernel)
                .then(|| Handoff::mapped(Arc::clone(&map), &geometry)),
            chunks: Chunks::new(Arc::clone(&map), &geometry),
            calls: Calls::new(Arc::clone(&map), &geometry),
            rows: Rows::new(Arc::clone(&map), &geometry),
            visits: OnceLock::new(),
            looks: None,
            parties: matches!(geometry.choice.kind, Kind::Link { .. }).then(|| Parties::of(name)).flatten(),
            bound: None,
            herald: OnceLock::new(),
            log: OnceLock::new(),
            geometry,
            epoch: AtomicU64::new(map.epoch()),
            header,
            facts,
            map,
        }
    }

    #[inline]
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// Whether this is the process that mapped it, and not a forked child.
    #[inline]
    pub(crate) fn is_ours(&self) -> bool {
        fork::is_current(self.epoch.load(Relaxed))
    }

    /// This process uses it no more, whatever handles there are.
    pub(crate) fn disown(&self) {
        self.epoch.store(NOBODYS, Relaxed);
    }

    /// Whether it was [disowned](Self::disown).
    pub(crate) fn is_disowned(&self) -> bool {
        self.epoch.load(Relaxed) == NOBODYS
    }

    /// Whether this is the process that mapped it, whatever it still does with it.
    pub(crate) fn is_mapped_here(&self) -> bool {
        fork::is_current(self.map.epoch())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.domain.file(&self.name)
    }

    pub(crate) fn id(&self) -> Id {
        self.id
    }

    /// If this ceiling is no limit, for its file system has no more than that: how much that still has.
    pub(crate) fn memory_below(&self, ceiling: u64) -> Option<u64> {
        let all = self.domain.memory();
        (all > 0 && all <= ceiling).then(|| available(self.domain.path()))
    }

    /// The text that describes the messages.
    pub(crate) fn format(&self) -> Vec<u8> {
        rows::format(&self.map, &self.geometry)
    }

    /// Whether somebody closed it, for whatever reason.
    pub(crate) fn is_closed(&self) -> bool {
        self.header().life.uncollected.load(Acquire) != 0 || self.is_retired()
    }

    #[inline]
    pub(crate) fn is_retired(&self) -> bool {
        self.header().life.state.load(Acquire) == RETIRED
    }

    /// Says for good that this is over. For its owner; others [`retire`](Self::retire) it.
    pub(crate) fn mark_retired(&self) {
        self.header().life.state.store(RETIRED, Release);
    }

    /// Those who wait for messages.
    #[inline]
    pub(crate) fn messages(&self) -> Bell<'_> {
        let bells = &self.header().bells;
        let choice = &self.geometry.choice;
        // In files there are independent readers, too.
        let wakes =
            if choice.owned || choice.filed || choice.kind.is_data() { Wakes::All } else { Wakes::One };
        Bell::new(&bells.messages, &bells.fence, wakes).and(self, doors::MESSAGES)
    }

    /// Those who wait for room.
    #[inline]
    pub(crate) fn room(&self) -> Bell<'_> {
        let bells = &self.header().bells;
        Bell::new(&bells.room, &bells.fence, Wakes::All).and(self, doors::ROOM)
    }

    /// Wakes those who wait for messages, if any. The caller has just published one.
    #[inline(always)]
    pub(crate) fn ring_for_message(&self, quiet: &Quiet) {
        if !Bell::is_quiet(&self.header().bells.messages, &self.header().bells.fence) {
            self.ring_loudly(Self::messages, quiet);
        }
    }

    /// Wakes those who wait for room, if any. The caller has just freed a place.
    #[inline(always)]
    pub(crate) fn ring_for_room(&self, quiet: &Quiet) {
        if !Bell::is_quiet(&self.header().bells.room, &self.header().bells.fence) {
            self.ring_loudly(Self::room, quiet);
        }
    }

    #[inline(never)]
    fn ring_loudly<'a>(&'a self, bell: fn(&'a Segment) -> Bell<'a>, quiet: &Quiet) {
        bell(self).ring(quiet);
    }

    /// Those who wait for the end.
    pub(crate) fn end(&self) -> Bell<'_> {
        let bells = &self.header().bells;
        Bell::new(&bells.end, &bells.fence, Wakes::All).and(self, doors::END)
    }

    /// Wakes everybody who waits for anything here.
    pub(crate) fn wake_all(&self) {
        for bell in [self.messages(), self.room(), self.end()] {
            bell.alarm();
        }
        self.calls.alarm();
        self.wake_who_meets();
        if self.geometry.choice.kernel {
            self.wake_outside();
        }
    }

    /// This very object, mapped for more than looking, if we may.
    pub(super) fn to_write(&self) -> Option<Segment> {
        let (_, segment) = entry::open(&self.domain, &self.name).ok()?;
        (segment.facts.inode == self.facts.inode).then_some(segment)
    }

    /// A new descriptor of this very object, by its name.
    fn reopen(&self) -> Reopened {
        if let Some(bound) = &self.bound {
            return bound.descriptor().map_or(Reopened::Unknown, Reopened::Here);
        }
        let fd = match file::open_or_look_at(&self.path(), self.geometry.choice.kernel) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Reopened::Nameless,
            Err(_) => return Reopened::Unknown,
        };
        match file::facts(&fd) {
            Ok(facts) if facts.inode == self.facts.inode => Reopened::Here(fd),
            Ok(_) => Reopened::Nameless,
            Err(_) => Reopened::Unknown,
        }
    }

    /// A descriptor whose locks go when it is closed, which those of the mapping's don't.
    pub(crate) fn descriptor(&self) -> Option<OwnedFd> {
        match self.reopen() {
            Reopened::Here(fd) => Some(fd),
            Reopened::Nameless | Reopened::Unknown => None,
        }
    }

    /// Whether the member is known to be dead or gone.
    pub(crate) fn is_dead(&self, member: Member) -> bool {
        if let Some(bound) = &self.bound {
            return member::is_dead(&self.rows, member, || Some(bound.asked()));
        }
        if let Some(parties) = &self.parties {
            return parties.is_dead(&self.domain, &self.rows, member);
        }
        member::is_dead(&self.rows, member, || self.descriptor())
    }

    /// Whether nobody is there who acts for that member. Who left a link has threads, maybe, that find out about it just now, and
    /// what they have is theirs to put away; so there it is the process that is asked about, whatever its row says.
    pub(crate) fn has_gone(&self, member: Member) -> bool {
        if let Some(bound) = &self.bound {
            return member::has_gone(&self.rows, member, bound.asked());
        }
        if let Some(parties) = &self.parties {
            return parties.has_gone(&self.domain, &self.rows, member);
        }
        self.is_dead(member)
    }

    /// Whether it is over: retired, closed, its name taken away, or the process that owns it dead.
    pub(crate) fn is_over(&self) -> bool {
        if self.is_retired() || !self.geometry.choice.owned && self.is_closed() {
            return true;
        }
        if self.bound.is_some() {
            return self.is_dead(OWNER);
        }
        match self.reopen() {
            found if !self.geometry.choice.owned => matches!(found, Reopened::Nameless),
            Reopened::Here(_) if self.parties.is_some() => self.is_dead(OWNER),
            Reopened::Here(fd) => member::is_dead(&self.rows, OWNER, || Some(fd)),
            Reopened::Nameless => true,
            Reopened::Unknown => self.is_dead(OWNER),
        }
    }

    /// Whether it is a direction of a link, with two ends.
    pub(crate) fn is_link(&self) -> bool {
        self.parties.is_some() || self.bound.is_some()
    }

    /// Of a pair: how its ends find each other.
    pub(crate) fn bound(&self) -> Option<&Bound> {
        self.bound.as_ref()
    }

    /// What the system says of its file now.
    pub(super) fn facts_now(&self) -> Option<file::Facts> {
        match &self.bound {
            Some(bound) => file::facts(bound.asked()).ok(),
            None => file::facts_at(&self.path()).ok(),
        }
    }

    /// Of a link: whether the sending process left it in an orderly way.
    pub(crate) fn sender_has_left(&self) -> bool {
        self.rows.get(SENDER).is_ok_and(|row| !member::is_active(row))
    }

    /// Of a link with a name: who is at its ends.
    pub(crate) fn parties(&self) -> Option<&Parties> {
        self.parties.as_ref()
    }

    /// Has this called when something has come for a receiver who asked to be told.
    pub(crate) fn set_herald(&self, herald: impl Fn() + Send + Sync + 'static) {
        let _ = self.herald.set(Herald(Box::new(herald)));
    }

    pub(crate) fn herald(&self) -> Option<&(dyn Fn() + Send + Sync)> {
        self.herald.get().map(|Herald(tell)| &**tell)
    }

    /// What the process that owns it says of itself.
    pub(crate) fn owner(&self) -> member::Peer {
        self.rows.get(OWNER).map_or(member::Peer { pid: 0, name: String::new() }, member::peer)
    }

    /// Whether the name was taken away, or means something else by now.
    pub(crate) fn is_nameless(&self) -> bool {
        matches!(self.reopen(), Reopened::Nameless)
    }

    /// Lets all know that some receiver holds a message for so many milliseconds at most.
    pub(crate) fn promise(&self, longest: u64) {
        let shorter = |known: u64| (known == 0 || known > longest).then_some(longest);
        let _ = self.header().shortest_hold.fetch_update(AcqRel, Acquire, shorter);
    }

    /// A member leaves in an orderly way.
    pub(crate) fn leave(&self, member: Member) {
        let named_until = self.named_until(member);
        member::leave(&self.rows, member, named_until);
    }

    /// The rows of a region's readers.
    pub(crate) fn readers(&self) -> Readers {
        Readers::new(Arc::clone(&self.map), self.geometry.readers_at, &self.header().region.readers)
    }

    /// The user and the group that its file belongs to.
    pub(crate) fn belongs_to(&self) -> (u32, u32) {
        (self.facts.owner, self.facts.group)
    }

    /// Who may do what, as it was chosen.
    pub(crate) fn mode(&self) -> u32 {
        self.header().mode.load(Acquire) as u32 & 0o7777
    }

    /// Whether it lets us send or receive.
    pub(crate) fn permits(&self, right: Right) -> bool {
        access::permits(self.mode(), self.facts.owner, self.facts.group, right)
    }

    /// Whether only processes of our own user can write to it. (Of a pair nobody knows: a child may have become another's.)
    pub(crate) fn is_ours_alone(&self) -> bool {
        if self.bound.is_some() {
            return false;
        }
        file::facts_at(self.domain.path())
            .is_ok_and(|directory| access::is_ours_alone(&self.facts, &directory))
    }

    /// Whether the kernel would let us take its name away.
    pub(crate) fn may_be_removed(&self) -> bool {
        let path = self.domain.path();
        file::facts_at(path).is_ok_and(|directory| access::may_remove(&self.facts, path, &directory))
    }

    /// Takes the name away, if it still means this object and `agreed` still holds when
    /// nobody else can be doing the same. An error: another is at it and does not finish, or we
    /// may not.
    pub(crate) fn retire(&self, agreed: impl Fn() -> bool) -> Result<(), Error> {
        if self.bound.is_some() {
            // No name to take away, nobody to do it twice.
            if agreed() {
                self.mark_retired();
                self.wake_all();
            }
            return Ok(());
        }
        for _ in 0..TRIES {
            let found = self.reopen();
            if matches!(found, Reopened::Nameless) {
                return Ok(());
            }
            if let Reopened::Here(fd) = &found
                && matches!(lock::try_lock(fd.as_fd(), NAME_BYTE), Ok(true))
            {
                let path = self.path();
                let refused = |errno| Err(access::refused("to remove", &self.name, &path, errno));
                let still = match file::facts_at(&path) {
                    Ok(facts) => facts.inode == self.facts.inode,
                    Err(Errno::NOENT) => false,
                    Err(errno) => return refused(errno),
                };
                if still && agreed() {
                    self.mark_retired();
                    self.wake_all();
                    self.take_doors_of_the_dead();
                    if self.geometry.has_files() {
                        self.take_sockets();
                    }
                    match file::remove(&path) {
                        Ok(()) | Err(Errno::NOENT) => {}
                        Err(errno) => return refused(errno),
                    }
                }
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(Error::Busy { name: self.name.to_string() })
    }
}

fn slots(words: Mapped, geometry: &Geometry) -> Slots<Mapped> {
    match geometry.areas {
        Some(areas) => Slots::in_segments(words, &areas),
        None => Slots::new(words, geometry.places()),
    }
}

/// What was found where an object should be.
enum Reopened {
    /// It is there.
    Here(OwnedFd),
    /// Its name is gone, or another's by now.
    Nameless,
    /// The system would not say (no descriptors left, for example).
    Unknown,
}
