//! The directory of an unbounded queue: which segment holds which epoch.
//!
//! Positions are those of the bounded queue. An *epoch* is m of them in a row, m being the places of a segment, and a power
//! of two; position p is offset p mod m of epoch p div m, and its turn is its epoch. While an epoch lasts a segment holds
//! its places; before and after, that segment holds others, always of earlier and of later epochs. So no word of a
//! place ever repeats, whatever becomes of its segment: who looks at it with an old position finds it over, and the
//! formula that leads him on along a ring is good here too, with m for the capacity.
//!
//! ```text
//! word of epoch e: directory[e mod D] = (epoch + 1, closed?, segment)          zero: nothing was ever here
//!
//! (older, 0) ──append──> (e + 1, segment) ──retire──> (e + 1, 0)               each by CAS, so each once
//! ```
//!
//! - An epoch is appended when all before it are, and retired when all its places are free again.
//! - The word of a later epoch takes the place of (e + 1, 0) only. Epochs in use are therefore less than D apart.
//! - An epoch that is not yet there looks like a full ring to a sender, who appends it, and like an empty one to a
//!   receiver; one that is over, like places that all were received. [`areas`](super::areas) has places for that: they have
//!   memory always, and nothing writes to them.
//!
//! **Closing** at an epoch that is not yet there sets the closed bit in the word that would have to change; the claim
//! word that else has that bit does not exist, and may never.
//!
//! Memory: the directory has memory by pages; whoever looks makes sure of them first. If there is none to be had
//! nothing was ever written there. Who appends an epoch sees to it that the next one's word is memory too: closing there must
//! not fail for want of it.

use super::areas::Areas;
use super::rows::HeaderOf;
use super::slots::Lies;
use crate::os::{Errno, map::Map};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

const EPOCH_SHIFT: u32 = 25;
const CLOSED: u64 = 1 << 24;
const SEGMENT: u64 = CLOSED - 1;
const PAGE: usize = 4096;
/// Words of a page.
const PER_PAGE: u64 = PAGE as u64 / 8;

/// A word of the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry(u64);

impl Entry {
    fn new(epoch: u64, segment: u64) -> Entry {
        Entry(epoch.wrapping_add(1) << EPOCH_SHIFT | segment)
    }

    /// How many epochs it is ahead of this one.
    fn ahead_of(self, epoch: u64) -> i64 {
        (self.0 >> EPOCH_SHIFT).wrapping_sub(epoch.wrapping_add(1)).wrapping_shl(EPOCH_SHIFT) as i64
            >> EPOCH_SHIFT
    }

    pub(super) fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    /// The segment that holds the epoch; 0: it is over.
    fn segment(self) -> u64 {
        self.0 & SEGMENT
    }

    /// Whether it is this epoch's, or a later one's.
    pub(super) fn is_of(self, epoch: u64) -> bool {
        self.ahead_of(epoch) >= 0
    }

    /// Whether a later epoch may take its place.
    pub(super) fn may_go(self) -> bool {
        self.segment() == 0 && !self.is_closed()
    }
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Directory {
    words: *const AtomicU64,
    pub(super) areas: Areas,
    header: HeaderOf,
    map: Arc<Map>,
    /// A bit for each page that this process made sure of.
    sure: Box<[AtomicU64]>,
}

// SAFETY: it leads to atomics in a mapping that `map` keeps.
unsafe impl Send for Directory {}
// SAFETY: as above.
unsafe impl Sync for Directory {}

impl Directory {
    pub(super) fn new(map: Arc<Map>, areas: Areas) -> Directory {
        let at = areas.directory_at as usize;
        assert!(at.is_multiple_of(PAGE) && areas.epochs.is_power_of_two());
        assert!(areas.epochs >= PER_PAGE && areas.directory_end() <= map.length() as u64);
        let pages = areas.epochs / PER_PAGE;
        Directory {
            // SAFETY: within the mapping, as just asserted.
            words: unsafe { map.start().as_ptr().add(at) }.cast(),
            areas,
            header: HeaderOf::new(Arc::clone(&map)),
            sure: (0..pages.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            map,
        }
    }

    #[inline]
    fn word(&self, epoch: u64) -> Result<&AtomicU64, Errno> {
        let at = epoch & (self.areas.epochs - 1);
        let page = at / PER_PAGE;
        if self.sure[(page / 64) as usize].load(Relaxed) >> (page % 64) & 1 == 0 {
            self.make_sure(page)?;
        }
        // SAFETY: below the number of words, which lie within the mapping (`new`); its page is memory.
        Ok(unsafe { &*self.words.add(at as usize) })
    }

    #[cold]
    fn make_sure(&self, page: u64) -> Result<(), Errno> {
        self.map.reserve(self.areas.directory_at as usize + page as usize * PAGE, PAGE)?;
        self.sure[(page / 64) as usize].fetch_or(1 << (page % 64), Relaxed);
        Ok(())
    }

    /// Where the places of an epoch begin, if it is there: as it usually is.
    #[inline(always)]
    pub(super) fn lie(&self, epoch: u64) -> Option<usize> {
        let segment = self.word(epoch).ok()?.load(Acquire).wrapping_sub(Entry::new(epoch, 0).0);
        let there = segment.wrapping_sub(1) < self.areas.segments - 1;
        there.then_some((segment << self.areas.spacing) as usize)
    }

    /// Where the places of an epoch are.
    #[inline]
    pub(super) fn lies(&self, epoch: u64) -> Lies {
        self.lie(epoch).map_or_else(|| self.lies_not_so_simply(epoch), Lies::At)
    }

    #[cold]
    fn lies_not_so_simply(&self, epoch: u64) -> Lies {
        let Ok(word) = self.word(epoch) else { return Lies::NotYet };
        let found = Entry(word.load(Acquire));
        match found.ahead_of(epoch) {
            0 if (1..self.areas.segments).contains(&found.segment()) => {
                Lies::At((found.segment() << self.areas.spacing) as usize)
            }
            0.. => Lies::Over,
            _ if found.is_closed() => Lies::Never,
            _ => Lies::NotYet,
        }
    }

    /// The segment that holds an epoch.
    pub(super) fn segment(&self, epoch: u64) -> Option<u64> {
        match self.lies(epoch) {
            Lies::At(index) => Some(index as u64 >> self.areas.spacing),
            _ => None,
        }
    }

    /// What stands where an epoch is to be appended.
    pub(super) fn before(&self, epoch: u64) -> Result<Entry, Errno> {
        Ok(Entry(self.word(epoch)?.load(Acquire)))
    }

    /// Appends an epoch, if what stood there still does.
    pub(super) fn append(&self, epoch: u64, before: Entry, segment: u64) -> bool {
        self.swap(epoch, before, Entry::new(epoch, segment))
    }

    /// Says that an epoch is over which this segment held.
    pub(super) fn retire(&self, epoch: u64, segment: u64) -> bool {
        let Ok(seen) = self.before(epoch) else { return false };
        let held = seen.ahead_of(epoch) == 0 && seen.segment() == segment;
        held && self.swap(epoch, seen, Entry(seen.0 & !SEGMENT))
    }

    /// Lets nobody append this epoch. `false`: somebody did.
    pub(super) fn close(&self, epoch: u64) -> bool {
        loop {
            let Ok(seen) = self.before(epoch) else { return true }; // nor can anybody else write there
            if seen.is_of(epoch) {
                return false;
            }
            if seen.is_closed() || self.swap(epoch, seen, Entry(seen.0 | CLOSED)) {
                return true;
            }
        }
    }

    fn swap(&self, epoch: u64, from: Entry, to: Entry) -> bool {
        let Ok(word) = self.word(epoch) else { return false };
        word.compare_exchange(from.0, to.0, AcqRel, Relaxed).is_ok()
    }

    /// All epochs before this one are over.
    #[inline]
    pub(super) fn first(&self) -> u64 {
        self.header.segments.first.load(Acquire)
    }

    pub(super) fn note_first(&self, epoch: u64) {
        self.header.segments.first.fetch_max(epoch, AcqRel);
    }

    /// The segment that was freed last.
    pub(super) fn recent(&self) -> &AtomicU64 {
        &self.header.segments.recent
    }
}
