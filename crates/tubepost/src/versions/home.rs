//! The home of a region in place: the file that has its data, and the words that tell its versions.
//!
//! ```text
//! 0x0000  identity   written before it has a name, never changed
//! 0x0080  versions   one for each side, on a cache line each
//! 0x1000  data       all of it memory from the start
//! ```
//!
//! Where one who was fenced may still write to it, the data moves to another home ([`in_place`](super::in_place)). So nothing here decides
//! anything: whoever was fenced writes to words that nobody looks at any more.

use super::layout::Shape;
use super::words::Buffer;
use crate::os::map::Map;
use std::mem::offset_of;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// The first eight bytes.
const MAGIC: u64 = u64::from_le_bytes(*b"tubehome");
/// The version of all this.
const VERSION: u32 = 1;
/// Where the data is.
const DATA_AT: u64 = 0x1000;
const PAGE: u64 = 4096;

/// All atomics: another process may write anything at any time.
#[repr(C, align(64))]
struct Head {
    magic: AtomicU64,
    version: AtomicU32,
    number: AtomicU32,
    id: [AtomicU64; 2],
    length: AtomicU64,
    sides: [Side; 2],
}

#[repr(C, align(64))]
struct Side {
    version: AtomicU64,
}

const _: () = assert!(offset_of!(Head, sides) == 0x40 && size_of::<Head>() as u64 <= DATA_AT);

/// A home, mapped.
///
/// Invariant: the mapping has as many bytes as [`Home::total`] says for `length`.
#[derive(Debug)]
pub(crate) struct Home {
    map: Map,
    number: u32,
    length: usize,
}

impl Home {
    /// How long its file is.
    pub(crate) fn total(length: u64) -> u64 {
        DATA_AT + length.next_multiple_of(PAGE)
    }

    /// Bytes that any has.
    pub(crate) fn least() -> usize {
        DATA_AT as usize
    }

    /// Makes one of a fresh mapping, which nobody else has: zeros, of which these are the versions.
    pub(crate) fn describe(map: Map, id: [u64; 2], number: u32, length: u64, versions: [u64; 2]) -> Home {
        assert!(map.length() as u64 == Home::total(length));
        let home = Home { map, number, length: length as usize };
        let head = home.head();
        head.version.store(VERSION, Relaxed);
        head.number.store(number, Relaxed);
        head.id[0].store(id[0], Relaxed);
        head.id[1].store(id[1], Relaxed);
        head.length.store(length, Relaxed);
        head.sides[0].version.store(versions[0], Relaxed);
        head.sides[1].version.store(versions[1], Relaxed);
        head.magic.store(MAGIC, Relaxed);
        home
    }

    /// One that is there, if it is what it should be. Every number is read once and checked before it is used.
    pub(crate) fn read(map: Map, id: [u64; 2], number: u32, shape: &Shape) -> Result<Home, String> {
        if map.length() as u64 != Home::total(shape.length) {
            return Err(format!("its data has {} bytes, which are not so many as it says", map.length()));
        }
        let home = Home { map, number, length: shape.length as usize };
        let head = home.head();
        let magic = head.magic.load(Relaxed);
        if magic != MAGIC {
            return Err(format!("its data begins with {magic:#018x}, not with \"tubehome\""));
        }
        let found = head.version.load(Relaxed);
        if found != VERSION {
            return Err(format!("its data is of version {found}, not {VERSION}"));
        }
        let same = head.number.load(Relaxed) == number && head.length.load(Relaxed) == shape.length;
        if [0, 1].map(|word: usize| head.id[word].load(Relaxed)) != id || !same {
            return Err("its data is another's".into());
        }
        Ok(home)
    }

    fn head(&self) -> &Head {
        // SAFETY: the mapping is longer, page-aligned, and lives as long as the borrow; atomics only.
        unsafe { &*self.map.start().as_ptr().cast() }
    }

    #[inline]
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// The version of one side.
    #[inline]
    pub(crate) fn version(&self, side: Buffer) -> &AtomicU64 {
        &self.head().sides[side.index() & 1].version
    }

    /// Those of both.
    pub(crate) fn versions(&self) -> [u64; 2] {
        [0, 1].map(|side: usize| self.head().sides[side].version.load(Relaxed))
    }

    /// Where the data is: as many bytes as the region has.
    #[inline]
    pub(crate) fn data(&self) -> *mut u8 {
        // SAFETY: within the mapping, as `total` says.
        unsafe { self.map.start().as_ptr().add(DATA_AT as usize) }
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }
}
