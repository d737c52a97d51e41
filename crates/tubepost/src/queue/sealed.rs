//! Two areas for each sender, of which each process writes one: what the sender posted, and how far the owner came.
//!
//! ```text
//! posted: the sender writes                      progress: the owner writes
//! 0x0000  published   how many messages           0x000  consumed   how many are in a caller's hand, or were skipped
//! 0x0040  wants       the sender waits for        0x040  asleep     the owner waits for the sender: which time that is;
//!                     progress: which time that is          0: it does not
//! 0x1000  records, as a ring                      0x080  taking     how many are taken, or were about to be
//!                                                 0x0c0  ended      1 + how many were published when it was closed
//!                                                 0x100  a bit for each place: 1, the awaited message there was skipped
//! ```
//!
//! A record is a word (length, and flags above it: 1 awaited, 2 withdrawn) and the bytes, up to the next multiple of 8. A record that meets the
//! ring's end goes on at its beginning; its word never does. Where a record begins both sides know from those before.
//!
//! **Of what the other one writes** each word is read once and checked; the bytes are copied before they are looked at. The mapping of the other's
//! area is for reading, and can't become shorter or get a hole (`os::sealed`). So whatever it writes gives rubbish messages, or is found out.
//!
//! Invariants: `Posted::map` is as long as [`Shape::posted`] says, [`Progress::map`] as [`Shape::progress`]; `ring` is a multiple of 8, and every
//! offset into it is a multiple of 8 below it.

#![allow(unsafe_code)]

use super::layout::Choice;
use crate::memory::copy;
use crate::os::map::Map;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

const PAGE: u64 = 4096;
/// Bytes of a record's word.
const WORD: u64 = 8;

const PUBLISHED: usize = 0;
const WANTS: usize = 0x40;
const RING: usize = PAGE as usize;

const CONSUMED: usize = 0;
const ASLEEP: usize = 0x40;
const TAKING: usize = 0x80;
const ENDED: usize = 0xc0;
const SKIPPED: usize = 0x100;

const AWAITED: u64 = 1 << 32;
const WITHDRAWN: u64 = 2 << 32;

/// How large both are, as the mailbox's numbers have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// How many messages wait.
    pub(crate) places: u64,
    pub(crate) longest: usize,
    /// Messages are shorter as well.
    pub(crate) variable: bool,
    ring: usize,
}

impl Shape {
    pub(crate) fn of(choice: &Choice) -> Shape {
        let longest = Shape::record(choice.max_message as usize) as u64;
        let all = choice.capacity.saturating_mul(longest);
        let ring = all.min(choice.ceiling.max(longest)).next_multiple_of(PAGE);
        Shape {
            places: choice.capacity,
            longest: choice.max_message as usize,
            variable: choice.variable,
            ring: ring as usize,
        }
    }

    /// Bytes of the sender's area.
    pub(crate) fn posted(&self) -> usize {
        RING + self.ring
    }

    /// Bytes of the owner's area.
    pub(crate) fn progress(&self) -> usize {
        (SKIPPED + self.places.div_ceil(64) as usize * 8).next_multiple_of(PAGE as usize)
    }

    /// Bytes of the ring.
    pub(crate) fn ring(&self) -> usize {
        self.ring
    }

    /// Bytes of the ring that a message of so many bytes takes.
    #[inline]
    pub(crate) fn record(length: usize) -> usize {
        (WORD as usize + length).next_multiple_of(WORD as usize)
    }

    /// Where the next record begins.
    #[inline]
    pub(crate) fn after(&self, at: usize, length: usize) -> usize {
        let next = at + Shape::record(length);
        if next < self.ring { next } else { next - self.ring }
    }
}

/// What a record says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) length: usize,
    pub(crate) awaited: bool,
    pub(crate) withdrawn: bool,
}

/// A sender's area, from either side.
#[derive(Debug)]
pub(crate) struct Posted {
    map: Map,
    ring: usize,
}

/// The owner's.
#[derive(Debug)]
pub(crate) struct Progress {
    map: Map,
    places: u64,
}

#[inline]
fn word(map: &Map, at: usize) -> &AtomicU64 {
    debug_assert!(at.is_multiple_of(8) && at + 8 <= map.length());
    // SAFETY: callers here take offsets within the area (invariants), multiples of 8; a mapping begins on a page.
    unsafe { &*map.start().as_ptr().add(at).cast::<AtomicU64>() }
}

impl Posted {
    pub(crate) fn new(map: Map, shape: &Shape) -> Posted {
        assert!(map.length() == shape.posted() && shape.ring.is_multiple_of(8) && shape.ring > 0);
        Posted { map, ring: shape.ring }
    }

    #[inline]
    pub(crate) fn published(&self) -> u64 {
        word(&self.map, PUBLISHED).load(Acquire)
    }

    pub(crate) fn wants(&self) -> u64 {
        word(&self.map, WANTS).load(Relaxed)
    }

    /// What a record there says.
    #[inline]
    pub(crate) fn record(&self, at: usize) -> Record {
        assert!(at < self.ring && at.is_multiple_of(8));
        let said = word(&self.map, RING + at).load(Relaxed);
        Record {
            // What has other flags becomes too long.
            length: usize::try_from(said & !(AWAITED | WITHDRAWN)).unwrap_or(usize::MAX),
            awaited: said & AWAITED != 0,
            withdrawn: said & WITHDRAWN != 0,
        }
    }

    /// Copies a record's bytes.
    #[inline]
    pub(crate) fn read(&self, at: usize, length: usize, into: &mut Vec<u8>) {
        let (from, first) = self.pieces(at, length);
        into.clear();
        into.reserve_exact(length);
        let room = &mut into.spare_capacity_mut()[..length];
        let (one, two) = room.split_at_mut(first);
        let ring = self.map.start().as_ptr().wrapping_add(RING);
        // SAFETY: both pieces are in the ring (`pieces`), which the mapping has (invariant); `copy::read` initialises all of them.
        unsafe {
            copy::read(ring.add(from), one);
            if !two.is_empty() {
                copy::read(ring, two);
            }
            into.set_len(length);
        }
    }

    /// Where the bytes of a record there begin, and how many of them come before the ring's end.
    #[inline]
    fn pieces(&self, at: usize, length: usize) -> (usize, usize) {
        assert!(at < self.ring && Shape::record(length) <= self.ring);
        let from = at + WORD as usize;
        if from >= self.ring { (0, length) } else { (from, length.min(self.ring - from)) }
    }

    /// Writes a record, for its sender. There is room.
    #[inline]
    pub(crate) fn write(&self, at: usize, bytes: &[u8], awaited: bool) {
        assert!(self.map.is_writable());
        let (from, first) = self.pieces(at, bytes.len());
        let flags = if awaited { AWAITED } else { 0 };
        word(&self.map, RING + at).store(bytes.len() as u64 | flags, Relaxed);
        let (one, two) = bytes.split_at(first);
        let ring = self.map.start().as_ptr().wrapping_add(RING);
        // SAFETY: as in `read`; and the mapping is for writing.
        unsafe {
            copy::write(ring.add(from), one);
            if !two.is_empty() {
                copy::write(ring, two);
            }
        }
    }

    /// So many messages are published.
    #[inline]
    pub(crate) fn publish(&self, number: u64) {
        assert!(self.map.is_writable());
        word(&self.map, PUBLISHED).store(number, Release);
    }

    /// Says that an awaited message is wanted back.
    pub(crate) fn withdraw(&self, at: usize, length: usize) {
        assert!(self.map.is_writable() && at < self.ring && at.is_multiple_of(8));
        word(&self.map, RING + at).store(length as u64 | AWAITED | WITHDRAWN, Relaxed);
    }

    /// Says that its sender waits for progress.
    pub(crate) fn want(&self, time: u64) {
        assert!(self.map.is_writable());
        word(&self.map, WANTS).store(time, Relaxed);
    }
}

impl Progress {
    pub(crate) fn new(map: Map, shape: &Shape) -> Progress {
        assert!(map.length() == shape.progress());
        Progress { map, places: shape.places }
    }

    #[inline]
    fn store(&self, at: usize, value: u64) {
        assert!(self.map.is_writable());
        word(&self.map, at).store(value, Release);
    }

    #[inline]
    pub(crate) fn consumed(&self) -> u64 {
        word(&self.map, CONSUMED).load(Acquire)
    }

    #[inline]
    pub(crate) fn asleep(&self) -> u64 {
        word(&self.map, ASLEEP).load(Relaxed)
    }

    pub(crate) fn taking(&self) -> u64 {
        word(&self.map, TAKING).load(Acquire)
    }

    pub(crate) fn ended(&self) -> u64 {
        word(&self.map, ENDED).load(Acquire)
    }

    /// Where the bit of a message is.
    fn bit(&self, position: u64) -> (usize, u64) {
        let place = position % self.places;
        (SKIPPED + (place / 64) as usize * 8, 1 << (place % 64))
    }

    /// Whether the awaited message at this position, which is consumed, was skipped.
    pub(crate) fn is_skipped(&self, position: u64) -> bool {
        let (at, bit) = self.bit(position);
        word(&self.map, at).load(Relaxed) & bit != 0
    }

    #[inline]
    pub(crate) fn consume(&self, number: u64) {
        self.store(CONSUMED, number);
    }

    pub(crate) fn sleep(&self, time: u64) {
        self.store(ASLEEP, time);
    }

    pub(crate) fn take(&self, number: u64) {
        self.store(TAKING, number);
    }

    pub(crate) fn end(&self, published: u64) {
        self.store(ENDED, 1 + published);
    }

    /// Says what became of an awaited message, before it counts as consumed.
    pub(crate) fn decide(&self, position: u64, skipped: bool) {
        let (at, bit) = self.bit(position);
        let bits = word(&self.map, at).load(Relaxed);
        self.store(at, if skipped { bits | bit } else { bits & !bit });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::sealed;
    use std::os::fd::AsFd;

    #[test]
    fn records_of_every_length_arrive_whole_around_the_end_of_the_ring() {
        let shape = Shape { places: 4, longest: 1500, variable: true, ring: 4096 };
        let (fd, map) = sealed::make(shape.posted()).expect("there is memory");
        let theirs = Posted::new(sealed::view(fd.as_fd(), shape.posted()).expect("it is sealed"), &shape);
        let (ours, mut at, mut back) = (Posted::new(map, &shape), 0, Vec::new());
        for length in (0..1500).chain((0..1500).rev()) {
            let bytes: Vec<u8> = (0..length).map(|it| (it * 7 + length) as u8).collect();
            ours.write(at, &bytes, length % 2 == 0);
            let record = theirs.record(at);
            assert_eq!(record, Record { length, awaited: length % 2 == 0, withdrawn: false });
            theirs.read(at, length, &mut back);
            assert_eq!(back, bytes);
            at = shape.after(at, length);
        }
    }

    #[test]
    fn bits_of_places_do_not_touch_each_other() {
        let shape = Shape { places: 70, longest: 8, variable: false, ring: 4096 };
        let (_, map) = sealed::make(shape.progress()).expect("there is memory");
        let progress = Progress::new(map, &shape);
        for position in 0..300 {
            progress.decide(position, position % 3 == 0);
            for before in position.saturating_sub(69)..=position {
                assert_eq!(progress.is_skipped(before), before % 3 == 0);
            }
        }
    }
}
