//! Bare memory: a file beside the segment that has the name, as a region's data is, with nothing in it but what its users agree on.
//!
//! ```text
//! 0x0000  identity   written before it has a name, never changed
//! 0x1000  data       as many bytes as were chosen, all of them memory from the start
//! ```
//!
//! Who opens it becomes a member, so the owner's life and end are told as those of anything else. What is in the data is never looked at.
//!
//! **What if it dies here?** Making it: see `domain::data`. Later: its owner's end is acted upon by whoever asks ([`Bare::is_over`]).

use super::{end, map_of};
use crate::domain::cleanup;
use crate::domain::data::{self, Extent};
use crate::domain::entry::Plan;
use crate::domain::segment::Segment;
use crate::domain::stat::{self, Stat};
use crate::error::Error;
use crate::os::map::Map;
use crate::queue::layout::OWNER;
use crate::strategy::shared::Attachment;
use crate::strategy::shared::attach::{Opened, Wish, attach};
use std::mem::offset_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// The first eight bytes.
const MAGIC: u64 = u64::from_le_bytes(*b"tubebare");
/// The version of all this.
const VERSION: u32 = 1;
/// Where the data is.
const DATA_AT: u64 = 0x1000;
const PAGE: u64 = 4096;
/// The most bytes of data.
const MAX_LENGTH: u64 = 1 << 40;

/// All atomics: another process may write anything at any time.
#[repr(C)]
struct Identity {
    magic: AtomicU64,
    version: AtomicU32,
    flags: AtomicU32,
    id: [AtomicU64; 2],
    length: AtomicU64,
}

const _: () = assert!(offset_of!(Identity, length) == 0x20 && size_of::<Identity>() as u64 <= DATA_AT);

/// An open segment.
#[derive(Debug)]
pub(crate) struct Bare {
    pub(crate) at: Arc<Attachment>,
    map: Map,
    length: usize,
}

/// How long its file is.
fn total(length: u64) -> u64 {
    DATA_AT + length.next_multiple_of(PAGE)
}

fn identity(map: &Map) -> &Identity {
    assert!(map.length() as u64 >= DATA_AT);
    // SAFETY: as just asserted, and page-aligned; it lives as long as the borrow, and is atomics only.
    unsafe { &*map.start().as_ptr().cast() }
}

fn describe(map: &Map, id: [u64; 2], length: u64) {
    let identity = identity(map);
    identity.version.store(VERSION, Relaxed);
    identity.id[0].store(id[0], Relaxed);
    identity.id[1].store(id[1], Relaxed);
    identity.length.store(length, Relaxed);
    identity.magic.store(MAGIC, Relaxed);
}

/// How many bytes of data there are. Every number is read once and checked before it is used.
fn read(map: &Map, segment: &Segment, file: u64) -> Result<u64, Error> {
    let damaged = |what: String| Error::Damaged { name: segment.name.to_string(), what };
    let identity = identity(map);
    let magic = identity.magic.load(Relaxed);
    if magic != MAGIC {
        return Err(damaged(format!("its memory begins with {magic:#018x}, not with \"tubebare\"")));
    }
    let found = identity.version.load(Relaxed);
    if found != VERSION {
        return Err(Error::WrongVersion { name: segment.name.to_string(), found, supported: VERSION });
    }
    let id = [0, 1].map(|word: usize| identity.id[word].load(Relaxed));
    if id != segment.id().words() || identity.flags.load(Relaxed) != 0 {
        return Err(damaged("its memory is another's".into()));
    }
    let length = identity.length.load(Relaxed);
    if length == 0 || length > MAX_LENGTH || total(length) != file {
        return Err(damaged(format!(
            "it has a file of {file} bytes, but describes {length} bytes of memory"
        )));
    }
    Ok(length)
}

/// How many bytes of data one has that is not open.
pub(crate) fn size(segment: &Segment) -> Result<u64, Error> {
    let (map, file) = map_of(segment, segment.open_data(false)?, false, DATA_AT as usize)?;
    read(&map, segment, file)
}

impl Bare {
    /// Makes one, which this process may own.
    pub(crate) fn create(wish: &Wish<'_>, plan: &Plan<'_>, length: u64) -> Result<Bare, Error> {
        if length == 0 || length > MAX_LENGTH {
            return Err(Error::BadOption {
                what: "the size of a segment",
                given: length.to_string(),
                allowed: format!("1 to {MAX_LENGTH} bytes (1 TiB)"),
            });
        }
        let total = total(length);
        let extent = Extent { total, first: &[(0, total)] };
        let fill = |segment: &Segment, map: &Map| {
            describe(map, segment.id().words(), length);
            Ok(())
        };
        let (segment, map) = data::create_with_data(wish.domain, wish.name, plan, &extent, fill)?;
        if plan.geometry.choice.owned {
            let at = Attachment::new(segment, OWNER, wish.spin);
            return Ok(Bare { at, map, length: length as usize });
        }
        drop((segment, map));
        Bare::open(wish, true)
    }

    /// Opens one for reading, or for both.
    pub(crate) fn open(wish: &Wish<'_>, writes: bool) -> Result<Bare, Error> {
        let Opened::Here(at) = attach(wish, !writes)? else {
            let what = "it is no segment".into();
            return Err(Error::Damaged { name: wish.name.to_string(), what });
        };
        let (map, file) = map_of(&at.segment, at.segment.open_data(writes)?, writes, DATA_AT as usize)?;
        let length = read(&map, &at.segment, file)? as usize;
        Ok(Bare { at, map, length })
    }

    /// Where its bytes are.
    #[inline]
    pub(crate) fn start(&self) -> *mut u8 {
        // SAFETY: the data begins within the mapping: its file has as many bytes as `total` says, which was checked.
        unsafe { self.map.start().as_ptr().add(DATA_AT as usize) }
    }

    #[inline]
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.map.is_writable()
    }

    /// Whether it is over: its owner is gone, or it was removed. Puts it away then.
    pub(crate) fn is_over(&self) -> bool {
        let segment = &self.at.segment;
        if !segment.is_ours() || segment.is_retired() {
            return true;
        }
        let over = segment.is_over();
        if over {
            let _ = cleanup::bury(segment); // it may not be ours to remove
        }
        over
    }

    pub(crate) fn stat(&self) -> Result<Stat, Error> {
        if !self.at.segment.is_ours() {
            return Err(Error::Forked);
        }
        if self.is_over() {
            return Err(Error::Ended { name: self.at.segment.name.to_string() });
        }
        stat::with(&self.at.segment, Some(self.length as u64), None)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        end(&self.at);
    }
}
