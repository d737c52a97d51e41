//! Reading and writing a region: who has which row and seat, whose turn it is, and for how long.
//!
//! The protocol is in `versions`. What is decided here is *when*: [`writing`] waits for its turn and fences who is late or dead,
//! [`places`] gives rows and seats to guards, and takes them from the dead, [`reading`] is one version pinned. Of data that is
//! kept once, [`in_place`] is for those who write and repair, [`copies`] for those who read, [`moving`] for where it is. [`changes`] waits for a version, [`tasks`] for
//! that and for a turn without a thread.
//!
//! **Leases.** Nobody looks at a clock in order to hold. The first one who waits notes when it saw a hold ([`since`]), and all who wait fence the holder when
//! that is longer ago than the holder's lease; so a holder nobody waits for is not disturbed, and no hold is ever shorter than its lease, and none longer
//! for those who wait for less. A reader holds up nobody, for its version stays beside the next one.
//!
//! **What if it dies here?** See `versions`; a row or a seat of a dead one is taken by whoever needs one, or finds no buffer free.

//! # Safety
//!
//! `unsafe` is allowed in this folder: a guard lends out the bytes of its buffer.
#![allow(unsafe_code)]

pub(crate) mod bare;
mod changes;
mod copies;
pub(crate) mod edits;
mod in_place;
mod moving;
mod own;
pub(crate) mod places;
pub(crate) mod reading;
pub(crate) mod shown;
mod since;
pub(crate) mod stat;
pub(crate) mod tasks;
pub(crate) mod writing;

use crate::domain::cleanup;
use crate::domain::data::{self, Extent};
use crate::domain::entry::Plan;
use crate::domain::member::{self, Peer};
use crate::domain::segment::Segment;
use crate::error::Error;
use crate::os::map::Map;
use crate::os::{clock, cpu};
use crate::queue::layout::OWNER;
use crate::strategy::shared::Attachment;
use crate::strategy::shared::attach::{Opened, Wish, attach};
use crate::sync::sole::Sole;
use crate::sync::wait::Quiet;
use crate::versions::home::Home;
use crate::versions::layout::{Layout, Shape, is_generation, member_of, tag};
use crate::versions::mapped::{Both, Mapped, Readers};
use crate::versions::words::Current;
use places::Favourite;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// An open region: one per handle, shared by the threads of its process.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) at: Arc<Attachment>,
    pub(crate) data: Mapped,
    readers: Readers,
    /// Who this is, in rows and seats.
    tag: u64,
    /// Nobody but processes of our user can write there.
    pub(crate) trusts: bool,
    /// There is one copy of the data.
    pub(crate) in_place: bool,
    /// Data is lent where it lies, and nobody has to be waited for to look at it.
    lends: bool,
    /// It ends with a process that is not this one.
    looks_for_owner: bool,
    /// Of a region that a process owns: the coarse clock when it was last asked whether that one lives.
    looked: AtomicU64,
    /// The coarse clock when somebody who does not wait last asked who lives.
    asked: AtomicU64,
    /// The threads of this process that take the favourite row or seat, one at a time.
    sole: Sole,
    row: Favourite,
    seat: Favourite,
    /// Rows and seats that this handle has, and nobody uses.
    spare_rows: Mutex<Vec<usize>>,
    spare_seats: Mutex<Vec<usize>>,
    /// All of both that it has.
    all: Mutex<places::All>,
    /// The hold that somebody here was last kept waiting by, and since when.
    seen: Mutex<Option<(u64, Instant)>>,
    /// Which buffer a writer will most probably find free.
    guess: AtomicU64,
    /// In place, of who may only read: the last turn of those that it passed.
    passed: AtomicU64,
    /// In place: where the data was when it was last needed.
    home: Mutex<Option<Arc<Home>>>,
    /// In place: the number of the next reading, which begins with the time, so that none in this row had it before.
    readings: AtomicU64,
    quiet: Quiet,
    closed: AtomicBool,
}

impl Hold {
    /// Makes a region, which this process may own. Its first version begins with these bytes (none, in place), and zeros follow.
    pub(crate) fn create(
        wish: &Wish<'_>,
        plan: &Plan<'_>,
        shape: Shape,
        bytes: &[u8],
    ) -> Result<Hold, Error> {
        let layout = Layout::new(shape)?;
        let first = layout.first();
        let extent = Extent { total: layout.total, first: &first };
        cpu::register_for_barriers();
        let fill = |segment: &Segment, map: &Map| {
            layout.describe(Mapped::head_of(map), segment.id().words());
            if layout.shape.in_place {
                return moving::settle(segment, &layout.shape, plan.group);
            }
            Mapped::begin(map, &layout, bytes);
            Ok(())
        };
        let (segment, map) = data::create_with_data(wish.domain, wish.name, plan, &extent, fill)?;
        let data = Mapped::new(map, layout);
        if plan.geometry.choice.owned {
            return Hold::new(Attachment::new(segment, OWNER, wish.spin), data);
        }
        drop((segment, data));
        Hold::open(wish, true)
    }

    /// Opens one for reading, or for both.
    pub(crate) fn open(wish: &Wish<'_>, writes: bool) -> Result<Hold, Error> {
        let opened = attach(wish, !writes)?;
        let Opened::Here(at) = opened else {
            return Err(Error::Damaged { name: wish.name.to_string(), what: "it is no region".into() });
        };
        let data = data_of(&at.segment, writes)?;
        Hold::new(at, data)
    }

    fn new(at: Arc<Attachment>, data: Mapped) -> Result<Hold, Error> {
        let row = at.segment.rows.get(at.member());
        let row = row.map_err(|errno| crate::domain::failed("to read", &at.segment.path(), errno))?;
        let tag = tag(at.member(), member::generation(row));
        let readers = at.segment.readers();
        let (trusts, in_place) = (at.segment.is_ours_alone(), data.layout.shape.in_place);
        Ok(Hold {
            trusts,
            in_place,
            lends: trusts && !in_place,
            looks_for_owner: at.segment.geometry.choice.owned && at.member() != OWNER,
            readers,
            data,
            tag,
            looked: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            sole: Sole::new(cpu::register_for_barriers()),
            row: Favourite::default(),
            seat: Favourite::default(),
            spare_rows: Mutex::default(),
            spare_seats: Mutex::default(),
            all: Mutex::default(),
            seen: Mutex::default(),
            guess: AtomicU64::new(1),
            passed: AtomicU64::new(0),
            home: Mutex::default(),
            readings: AtomicU64::new(clock::everywhere().unwrap_or_else(clock::coarse_everywhere)),
            quiet: Quiet::default(),
            closed: AtomicBool::new(false),
            at,
        })
    }

    #[inline(always)]
    fn both(&self) -> Both<'_> {
        Both { data: &self.data, readers: &self.readers }
    }

    #[inline(always)]
    fn current(&self) -> &AtomicU64 {
        &self.data.head().present.current
    }

    /// What is present.
    #[inline(always)]
    fn present(&self) -> Current {
        Current(self.current().load(SeqCst))
    }

    /// Whether it may be used: this is the process that opened it, and it is not over.
    #[inline(always)]
    pub(crate) fn usable(&self) -> Result<(), Error> {
        let segment = &self.at.segment;
        if !segment.is_ours() {
            return Err(Error::Forked);
        }
        if segment.is_retired() || self.closed.load(Relaxed) {
            return Err(self.over());
        }
        if self.looks_for_owner { self.look_for_owner() } else { Ok(()) }
    }

    /// Whether it may be used, as far as can be told at once.
    #[inline(always)]
    fn is_usable(&self) -> bool {
        let segment = &self.at.segment;
        segment.is_ours() && !segment.is_retired() && !self.looks_for_owner && !self.closed.load(Relaxed)
    }

    /// Asks, when the clock has ticked, whether the owner lives.
    #[inline]
    fn look_for_owner(&self) -> Result<(), Error> {
        let now = clock::coarse();
        if self.looked.swap(now, Relaxed) == now {
            return Ok(());
        }
        self.check_owner()
    }

    /// Has this process told of the owner's death, for one who is about to sleep; for how long it may.
    fn may_sleep(&self) -> Result<Duration, Error> {
        self.usable()?;
        let told = !self.looks_for_owner || self.at.watch(OWNER);
        if !told {
            self.check_owner()?;
        }
        Ok(self.at.patience())
    }

    #[cold]
    fn check_owner(&self) -> Result<(), Error> {
        if !self.at.segment.is_over() {
            return Ok(());
        }
        let _ = cleanup::bury(&self.at.segment); // it may not be ours to remove
        Err(self.over())
    }

    #[cold]
    fn over(&self) -> Error {
        cleanup::finish(&self.at.segment);
        Error::Ended { name: self.name() }
    }

    /// Ends it for everybody, if this process owns it.
    pub(crate) fn close(&self) {
        if self.at.segment.is_ours() && self.at.member() == OWNER && self.at.segment.geometry.choice.owned {
            self.closed.store(true, Relaxed);
            end(&self.at);
        }
    }

    /// How strictly its data is aligned.
    pub(crate) fn alignment(&self) -> usize {
        self.data.layout.shape.align as usize
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.data.is_writable()
    }

    fn name(&self) -> String {
        self.at.segment.name.to_string()
    }

    fn is_gone(&self, named: u64) -> bool {
        is_gone(&self.at.segment, named)
    }

    fn peer(&self, named: u64) -> Peer {
        peer(&self.at.segment, named)
    }

    /// The newest version's number.
    pub(crate) fn version(&self) -> Result<u64, Error> {
        self.usable()?;
        if self.in_place {
            return self.version_in_place();
        }
        let seen = self.present();
        let version = self.data.buffer_head(seen.buffer()).version.load(Acquire);
        if self.present() == seen {
            return Ok(version); // it was present all the while
        }
        Ok(self.pin()?.version())
    }

    /// Wakes whoever waits for a change, or for a turn. The caller has just let go.
    #[inline(always)]
    fn tell(&self, changed: bool) {
        if changed {
            self.at.segment.ring_for_message(&self.quiet);
        }
        self.at.segment.ring_for_room(&self.quiet);
    }
}

/// Maps a file beside a segment, which has so many bytes at least, so many of them memory.
fn map_of(
    segment: &Segment,
    (fd, length): (OwnedFd, u64),
    writes: bool,
    least: usize,
) -> Result<(Map, u64), Error> {
    let damaged = |what: &str| Error::Damaged { name: segment.name.to_string(), what: what.into() };
    let size = usize::try_from(length).map_err(|_| damaged("its data is longer than memory"))?;
    if size < least {
        return Err(damaged("its data is too short"));
    }
    let failed = |errno| crate::domain::failed("to map", &segment.path(), errno);
    let map = if writes { Map::new(fd.as_fd(), size) } else { Map::to_look_at(fd.as_fd(), size) };
    let map = map.map_err(failed)?;
    map.reserve(0, least).map_err(failed)?;
    Ok((map, length))
}

/// A region's data.
fn data_of(segment: &Segment, writes: bool) -> Result<Mapped, Error> {
    let (map, length) = map_of(segment, segment.open_data(writes)?, writes, Layout::least())?;
    let name = segment.name.as_str();
    let layout = Layout::read(Mapped::head_of(&map), name, segment.id().words(), length)?;
    Ok(Mapped::new(map, layout))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether whoever is named so is dead or gone.
fn is_gone(segment: &Segment, named: u64) -> bool {
    let member = member_of(named);
    let Ok(row) = segment.rows.get(member) else { return false };
    let is = || is_generation(named, member::generation(row));
    !is() || segment.is_dead(member) || !is()
}

/// Who is named so.
fn peer(segment: &Segment, named: u64) -> Peer {
    let row = segment.rows.get(member_of(named));
    row.map_or(Peer { pid: 0, name: String::new() }, member::peer)
}

/// Ends it for everybody, if this process owns it.
fn end(at: &Attachment) {
    let segment = &at.segment;
    if segment.is_ours() && at.member() == OWNER && segment.geometry.choice.owned {
        cleanup::finish(segment);
        let _ = cleanup::put_away(segment);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.at.segment.is_ours() {
            self.leave_places();
            self.close();
        }
    }
}
