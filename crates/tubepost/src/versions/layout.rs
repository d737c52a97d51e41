//! Every shared byte of a region's data file.
//!
//! ```text
//! 0x0000  identity   written before the region has a name, never changed
//! 0x0080  current    who holds it, which buffer is present
//! 0x0100  seats      how many there ever were; the last turn that somebody claimed
//! 0x1000  heads      one for each buffer, 64 bytes each: its version, what is known of it
//! 0x2000  seats      one for each writer, 128 bytes each; memory is taken when they are
//! 0xA000  changes    one for each buffer, 1024 bytes each: what the last versions changed; likewise
//! 0x1A000 buffers    64 of the same length, each on a cache line or, from a page on, on a page; likewise
//! ```
//!
//! In place ([`IN_PLACE`]) it ends behind the seats, and where heads would be are notes of readers ([`Reading`]): the data is in a file of its own ([`home`](super::home)), and at
//! 0x0088 it says in which.
//!
//! Whoever may write the data can write here; whoever may only read it has it mapped for reading. The rows of readers are elsewhere, in the
//! segment that has the region's name, for each reader writes its own.
//!
//! `docs/format.md` tells the same for those who don't read Rust.

use super::in_place::Place;
use super::notes::Note;
use super::words::{BUFFERS, Current, SEATS};
use crate::error::Error;
use std::mem::{offset_of, size_of};
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed},
};
use std::time::Duration;

/// The first eight bytes of a region's data.
const MAGIC: u64 = u64::from_le_bytes(*b"tubedata");
/// The version of all this.
const VERSION: u32 = 1;

/// In the flags: there is one copy of the data.
const IN_PLACE: u32 = 1;

/// Data of this length or longer lies on pages of its own.
const PAGED: u64 = 4096;
const PAGE: u64 = 4096;
/// Of data of this length or longer it is told what each version changed.
pub(crate) const TOLD_FROM: u64 = 8192;
/// The strictest alignment of data.
pub(crate) const MAX_ALIGN: u64 = 64;
/// The most bytes of data.
pub(crate) const MAX_LENGTH: u64 = 1 << 40;

/// The word that ends with the flags, and the one that says where the data is; for those who have it not mapped.
pub(crate) const FLAGS_AT: u64 = 8;
pub(crate) const PLACE_AT: u64 = 0x88;

const HEADS_AT: u64 = 0x1000;
const SEATS_AT: u64 = 0x2000;
const CHANGES_AT: u64 = SEATS_AT + (SEATS * size_of::<Seat>()) as u64;
const DATA_AT: u64 = CHANGES_AT + (BUFFERS * size_of::<Changes>()) as u64;

/// The head of the data file. All atomics: another process may write anything at any time.
#[repr(C, align(64))]
pub(crate) struct Head {
    magic: AtomicU64,
    version: AtomicU32,
    flags: AtomicU32,
    id: [AtomicU64; 2],
    length: AtomicU64,
    align: AtomicU64,
    /// In nanoseconds.
    lease: AtomicU64,
    total: AtomicU64,
    pub(crate) present: Present,
    pub(crate) coming: Coming,
}

/// The one word that decides.
#[repr(C, align(128))]
pub(crate) struct Present {
    pub(crate) current: AtomicU64,
    /// In place: where the data is.
    pub(crate) place: AtomicU64,
}

/// Who comes to write.
#[repr(C, align(128))]
pub(crate) struct Coming {
    /// Seats from this one on were never taken. Only grows.
    pub(crate) seats: AtomicU64,
    /// The last turn that was claimed.
    pub(crate) turn: AtomicU64,
}

/// What is known of one buffer. Written by who edits it.
#[repr(C, align(64))]
pub(crate) struct BufferHead {
    /// The version that is in it, if it was committed.
    pub(crate) version: AtomicU64,
    /// The version that all of it is; 0: not known.
    pub(crate) whole: AtomicU64,
    /// Whether it has memory: 0, or [`BACKED`], or [`PARTLY_BACKED`].
    pub(crate) backed: AtomicU64,
}

/// All of it has memory.
pub(crate) const BACKED: u64 = 1;
/// Some of it may have: somebody reserves it, or gives it back, or died of that.
pub(crate) const PARTLY_BACKED: u64 = 2;

/// One writer's.
#[repr(C, align(128))]
pub(crate) struct Seat {
    /// Whose it is: 0, or (generation, member); see [`tag`].
    pub(crate) owner: AtomicU64,
    /// 0, or whose turn comes before whose; see [`turns`](super::turns).
    pub(crate) turn: AtomicU64,
    /// How long it may hold while others wait, in nanoseconds.
    pub(crate) lease: AtomicU64,
    pub(crate) editing: AtomicU64,
    /// What its owner keeps others waiting for, and since when: a [`Note`].
    waited_for: AtomicU64,
    since: AtomicU64,
}

impl Seat {
    pub(crate) fn note(&self) -> Note<'_> {
        Note { of: &self.waited_for, since: &self.since }
    }

    /// Its lease, where none is longer than that.
    pub(crate) fn lease_within(&self, longest: Duration) -> Duration {
        match self.lease.load(Acquire) {
            0 => longest,
            lease => Duration::from_nanos(lease).min(longest),
        }
    }
}

/// In place, where buffers have no heads: a reader's note. Those of all rows that leave the same rest when divided by how many there are share one.
#[repr(C)]
pub(crate) struct Reading {
    of: AtomicU64,
    since: AtomicU64,
}

impl Reading {
    pub(crate) fn note(&self) -> Note<'_> {
        Note { of: &self.of, since: &self.since }
    }
}

/// So many of them there are.
pub(crate) const READINGS: usize = BUFFERS * size_of::<BufferHead>() / size_of::<Reading>();

/// What the versions that led to a buffer changed, as far as told.
#[repr(C, align(64))]
pub(crate) struct Changes {
    /// Of all versions after this one it is told here what they changed.
    pub(crate) after: AtomicU64,
    pub(crate) number: AtomicU64,
    pub(crate) changes: [Change; MOST_CHANGES],
}

/// So many are told.
pub(crate) const MOST_CHANGES: usize = 42;

/// Bytes `from..to` changed in `version`.
#[repr(C)]
pub(crate) struct Change {
    pub(crate) version: AtomicU64,
    pub(crate) from: AtomicU64,
    pub(crate) to: AtomicU64,
}

const _: () = {
    assert!(offset_of!(Head, length) == 0x20 && offset_of!(Head, total) == 0x38);
    assert!(offset_of!(Head, present) == 0x80 && offset_of!(Head, coming) == 0x100);
    assert!(size_of::<Head>() as u64 <= HEADS_AT && size_of::<BufferHead>() == 64);
    assert!(HEADS_AT + BUFFERS as u64 * 64 == SEATS_AT && size_of::<Seat>() == 128);
    assert!(size_of::<Changes>() == 1024 && CHANGES_AT == 0xA000 && DATA_AT == 0x1A000);
};

/// Names a member for as long as anybody remembers it: a row and its generation.
pub(crate) fn tag(member: u16, generation: u64) -> u64 {
    generation << 16 | u64::from(member)
}

/// The row in a tag.
pub(crate) fn member_of(tag: u64) -> u16 {
    (tag & 0xFFFF) as u16
}

/// Whether it is this generation of the row.
pub(crate) fn is_generation(tag: u64, generation: u64) -> bool {
    tag >> 16 == generation & (u64::MAX >> 16)
}

/// What the creator chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) length: u64,
    pub(crate) align: u64,
    /// In nanoseconds.
    pub(crate) lease: u64,
    /// There is one copy of the data.
    pub(crate) in_place: bool,
}

/// Where everything is, derived from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) shape: Shape,
    /// How long a buffer is.
    pub(crate) room: u64,
    pub(crate) total: u64,
}

/// Whether the word at [`FLAGS_AT`] says that it is in place.
pub(crate) fn says_in_place(word: u64) -> bool {
    word.to_ne_bytes()[4..] == IN_PLACE.to_ne_bytes()
}

impl Layout {
    /// Lays a region out, or says which choice is not possible.
    pub(crate) fn new(shape: Shape) -> Result<Layout, Error> {
        let impossible =
            |what, given: String, allowed: String| Err(Error::BadOption { what, given, allowed });
        let Shape { length, align, lease, in_place } = shape;
        if length == 0 || length > MAX_LENGTH {
            let allowed = format!("1 to {MAX_LENGTH} bytes (1 TiB)");
            return impossible("the size of a region", length.to_string(), allowed);
        }
        if !align.is_power_of_two() || align > MAX_ALIGN {
            let allowed = format!("a power of two, at most {MAX_ALIGN}");
            return impossible("the alignment", align.to_string(), allowed);
        }
        if lease == 0 {
            return impossible("the longest lease", "0".into(), "more than no time".into());
        }
        let room = length.next_multiple_of(if length < PAGED { 64 } else { PAGE });
        let total = if in_place { CHANGES_AT } else { DATA_AT + BUFFERS as u64 * room };
        Ok(Layout { shape, room, total: total.next_multiple_of(PAGE) })
    }

    /// Bytes that must be memory from the start: `(at, length)`.
    pub(crate) fn first(&self) -> [(u64, u64); 2] {
        [(0, SEATS_AT), if self.shape.in_place { (0, 0) } else { self.pages_of(0) }]
    }

    /// Bytes that any data has.
    pub(crate) fn least() -> usize {
        SEATS_AT as usize
    }

    /// Where a buffer is.
    pub(crate) fn data_at(&self, buffer: usize) -> u64 {
        DATA_AT + buffer as u64 * self.room
    }

    /// The pages that a buffer touches: `(at, length)`.
    pub(crate) fn pages_of(&self, buffer: usize) -> (u64, u64) {
        let (from, to) = (self.data_at(buffer), self.data_at(buffer) + self.room);
        let from = from / PAGE * PAGE;
        (from, to.next_multiple_of(PAGE) - from)
    }

    /// Whether copying all of it takes no while, and no memory is given back.
    #[inline(always)]
    pub(crate) fn is_quick(&self) -> bool {
        self.shape.length < PAGED
    }

    /// Whether a buffer's memory can be given back: it has pages of its own.
    pub(crate) fn is_paged(&self) -> bool {
        self.room.is_multiple_of(PAGE) && !self.shape.in_place
    }

    /// The page that a seat is on.
    pub(crate) fn page_of_seat(seat: usize) -> u64 {
        (SEATS_AT + (seat * size_of::<Seat>()) as u64) / PAGE * PAGE
    }

    /// The page that a buffer's changes are on.
    pub(crate) fn page_of_changes(buffer: usize) -> u64 {
        (CHANGES_AT + (buffer * size_of::<Changes>()) as u64) / PAGE * PAGE
    }

    pub(crate) fn heads_at() -> u64 {
        HEADS_AT
    }
    pub(crate) fn seats_at() -> u64 {
        SEATS_AT
    }
    pub(crate) fn changes_at() -> u64 {
        CHANGES_AT
    }

    /// Writes the identity of a new region, of which version 1 is zeros in buffer 0.
    pub(crate) fn describe(&self, head: &Head, id: [u64; 2]) {
        head.version.store(VERSION, Relaxed);
        head.flags.store(if self.shape.in_place { IN_PLACE } else { 0 }, Relaxed);
        head.id[0].store(id[0], Relaxed);
        head.id[1].store(id[1], Relaxed);
        head.length.store(self.shape.length, Relaxed);
        head.align.store(self.shape.align, Relaxed);
        head.lease.store(self.shape.lease, Relaxed);
        head.total.store(self.total, Relaxed);
        head.present.current.store(Current::FIRST.0, Relaxed);
        head.present.place.store(if self.shape.in_place { Place::FIRST.0 } else { 0 }, Relaxed);
        head.magic.store(MAGIC, Relaxed);
    }

    /// Reads the identity of the data of a region that has this id, in a file of so many bytes. Every number is read once and
    /// checked before it is used.
    pub(crate) fn read(head: &Head, name: &str, id: [u64; 2], length: u64) -> Result<Layout, Error> {
        let damaged = |what: String| Error::Damaged { name: name.into(), what };
        let magic = head.magic.load(Relaxed);
        if magic != MAGIC {
            return Err(damaged(format!("its data begins with {magic:#018x}, not with \"tubedata\"")));
        }
        let found = head.version.load(Relaxed);
        if found != VERSION {
            return Err(Error::WrongVersion { name: name.into(), found, supported: VERSION });
        }
        let flags = head.flags.load(Relaxed);
        if [0, 1].map(|word: usize| head.id[word].load(Relaxed)) != id || flags & !IN_PLACE != 0 {
            return Err(damaged("its data is another's".into()));
        }
        let shape = Shape {
            length: head.length.load(Relaxed),
            align: head.align.load(Relaxed),
            lease: head.lease.load(Relaxed),
            in_place: flags & IN_PLACE != 0,
        };
        let layout = Layout::new(shape).map_err(|error| damaged(error.to_string()))?;
        if head.total.load(Relaxed) != layout.total || length != layout.total {
            let expected = layout.total;
            return Err(damaged(format!(
                "its data has {length} bytes, but what it describes takes {expected}"
            )));
        }
        Ok(layout)
    }
}
