//! What is told of a region: its version, who writes and reads, what is set aside.
//!
//! Who looks needs no right to write, and no place among the members: the words are read where they are, and nothing is written.

use super::{Hold, data_of, is_gone, moving, peer};
use crate::domain::member::Peer;
use crate::domain::segment::Segment;
use crate::domain::stat::{self, Stat};
use crate::error::Error;
use crate::os::clock;
use crate::versions::home::Home;
use crate::versions::in_place::Place;
use crate::versions::mapped::{Mapped, Readers};
use crate::versions::words::{Buffer, Current, Editing, Row};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, SeqCst};
use std::time::Duration;

/// How often to look again for a version that is present while its number is read.
const TRIES: u32 = 64;

/// What there is to know about a region at one moment, beside what is known of everything.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-region-stat-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// let region = tubepost::Region::<u64>::options().domain(&domain).own("counter")?;
/// let before = region.read()?;
/// region.set(&7)?;
/// let stat = domain.stat("counter")?;
/// assert_eq!(stat.size, Some(8));
/// let about = stat.region.unwrap();
/// assert_eq!((about.version, about.readers, about.readers_behind), (2, 1, 1));
/// assert_eq!((about.set_aside, about.writer), (1, None));
/// # drop(before);
/// # drop(region);
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), tubepost::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegionStat {
    /// The number of the newest version.
    pub version: u64,
    /// Whether there is one copy of the data, which is edited [in place](crate::RegionOptions::in_place) …
    pub in_place: bool,
    /// … and somebody has left that half edited: nobody reads or writes it before it is [repaired](crate::Region::repair).
    pub poisoned: bool,
    /// The longest lease of a writer.
    pub lease_max: Duration,
    /// Who writes now.
    pub writer: Option<RegionWriter>,
    /// How many wait to write.
    pub writers_waiting: u32,
    /// How many versions are lent to readers at this moment; those of a dead one too, until somebody needs the memory …
    pub readers: u32,
    /// … and how many of those are not the newest one.
    pub readers_behind: u32,
    /// How many buffers are set aside: older versions that are read, and what late writers edit still.
    pub set_aside: u32,
    /// How many bytes of memory the data occupies, in all versions; [`Stat::bytes`](crate::Stat::bytes) has the rest too.
    pub data_bytes: u64,
}

/// Who writes to a region.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegionWriter {
    /// The process.
    pub who: Peer,
    /// Whether it lives. The next writer takes over from one that does not.
    pub alive: bool,
    /// How long it may write once somebody waits.
    pub lease: Duration,
    /// For how long somebody has waited, if anybody does.
    pub waited_for: Option<Duration>,
}

impl RegionStat {
    /// What is known of a region that is not open, and how many bytes of data it has.
    pub(crate) fn of(segment: &Segment) -> Result<(u64, RegionStat), Error> {
        let data = data_of(segment, false)?;
        let shape = &data.layout.shape;
        let home = || {
            let number = Place(data.head().present.place.load(Acquire)).home();
            moving::find(segment, number, shape, false).map(Arc::new)
        };
        // It may move just now; where it is gone for good there is nothing to tell.
        let home = if shape.in_place { Some(home().or_else(|_| home())?) } else { None };
        let told = tell(segment, &data, home.as_deref(), &segment.readers());
        Ok((data.layout.shape.length, told))
    }
}

impl Hold {
    pub(crate) fn stat(&self) -> Result<Stat, Error> {
        self.usable()?;
        let home = if self.in_place { Some(self.home()?) } else { None };
        let region = tell(&self.at.segment, &self.data, home.as_deref(), &self.readers);
        stat::with(&self.at.segment, Some(self.data.layout.shape.length), Some(region))
    }
}

/// What is present, and its version's number; while many are committed, one of those.
fn newest(data: &Mapped, home: Option<&Home>) -> (Current, u64) {
    let load = || Current(data.head().present.current.load(SeqCst));
    let version = |seen: Current| match home {
        Some(home) => home.version(seen.side()).load(Acquire),
        None => data.buffer_head(seen.buffer()).version.load(Acquire),
    };
    let mut seen = load();
    for _ in 0..TRIES {
        let number = version(seen);
        match load() {
            same if same == seen => return (seen, number),
            other => seen = other,
        }
    }
    (seen, version(seen))
}

fn tell(segment: &Segment, data: &Mapped, home: Option<&Home>, readers: &Readers) -> RegionStat {
    let ((seen, version), in_place) = (newest(data, home), home.is_some());
    let (mut all, mut behind, mut aside) = (0, 0, 0);
    for row in 0..readers.number() {
        let Ok(row) = readers.get(row) else { continue };
        let says = Row(row.word.load(Acquire));
        all += u32::from(says.is_reading());
        let Some(buffer) = says.buffer() else { continue };
        all += 1;
        if buffer != seen.buffer() && !says.is_as_new_as(seen) {
            behind += 1;
            aside |= buffer.bit();
        }
    }
    let mut waiting = 0;
    for seat in (0..data.seats()).filter(|seat| data.back_seat(*seat).is_ok()) {
        let words = data.seat(seat);
        let waits = words.turn.load(Acquire) != 0 && !(seen.is_held() && seen.seat() == seat);
        let owner = words.owner.load(Acquire);
        waiting += u32::from(waits && owner != 0 && !is_gone(segment, owner)); // a dead one's seat is swept by who comes next
        let editing = Editing(words.editing.load(Acquire));
        // Not who holds it, nor who comes to.
        if !in_place && editing.is_older_than(seen) && !(seen.is_held() && seen.seat() == seat) {
            aside |= editing.buffer().filter(|buffer| *buffer != seen.buffer()).map_or(0, Buffer::bit);
        }
    }
    RegionStat {
        version,
        in_place,
        poisoned: in_place && seen.is_touched() && !seen.is_held(),
        lease_max: Duration::from_nanos(data.layout.shape.lease),
        writer: writer(segment, data, seen),
        writers_waiting: waiting,
        readers: all,
        readers_behind: behind,
        set_aside: aside.count_ones(),
        data_bytes: segment.data_occupies(),
    }
}

/// Who holds it.
fn writer(segment: &Segment, data: &Mapped, seen: Current) -> Option<RegionWriter> {
    if !seen.is_held() || data.back_seat(seen.seat()).is_err() {
        return None;
    }
    let words = data.seat(seen.seat());
    let owner = words.owner.load(Acquire);
    let clock = || clock::everywhere().unwrap_or_else(clock::coarse_everywhere);
    Some(RegionWriter {
        who: peer(segment, owner),
        alive: !is_gone(segment, owner),
        lease: words.lease_within(Duration::from_nanos(data.layout.shape.lease)),
        waited_for: words.note().age(seen.hold(), clock).map(Duration::from_nanos),
    })
}
