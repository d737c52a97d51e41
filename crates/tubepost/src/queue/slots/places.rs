//! From a position to where it lies: in a ring, or in segments.

use super::super::areas::{NEVER, NOT_YET, OVER};
use super::{Place, Slots, Words};

/// Where the places of an epoch are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lies {
    /// From this index on.
    At(usize),
    /// Nobody appended it so far.
    NotYet,
    /// All of them were freed.
    Over,
    /// The queue is closed before it.
    Never,
}

/// How positions become places.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ring {
    /// The capacity is this power of two.
    Shift(u32),
    Divide,
    /// In segments of two to this power.
    Segments(u32),
}

impl<W: Words> Slots<W> {
    /// log2 of the places of a segment.
    #[inline]
    pub(in crate::queue) fn segments(&self) -> Option<u32> {
        match self.ring {
            Ring::Segments(shift) => Some(shift),
            _ => None,
        }
    }

    #[inline(always)]
    pub(crate) fn place(&self, position: u64) -> Place {
        let (turn, index) = match self.ring {
            Ring::Shift(shift) => (position >> shift, (position & (self.capacity - 1)) as usize),
            _ => self.turn_and_index(position),
        };
        Place { position, index, turn }
    }

    /// What most queues need is a part of each send and receive; the rest is here. (It returns numbers, for registers: a place that
    /// has an address stays in memory on the short way too.)
    #[inline(never)]
    fn turn_and_index(&self, position: u64) -> (u64, usize) {
        match self.ring {
            Ring::Segments(shift) => {
                let place = self.place_in_segments(position, shift);
                (place.turn, place.index)
            }
            _ => (position / self.capacity, (position % self.capacity) as usize),
        }
    }

    /// The place of a position in segments, if its segment is there.
    #[inline(always)]
    pub(super) fn place_that_is_there(&self, position: u64) -> Option<Place> {
        let Ring::Segments(shift) = self.ring else { return None };
        let turn = position >> shift;
        let first = self.words.lie(turn)?;
        Some(Place { position, index: first + (position & (self.capacity - 1)) as usize, turn })
    }

    /// The same place, wherever its position is by now.
    #[inline]
    pub(crate) fn again(&self, place: Place) -> Place {
        if self.segments().is_some() { self.place(place.position) } else { place }
    }

    /// The place after this one.
    #[inline]
    pub(crate) fn next(&self, place: Place) -> Place {
        let position = place.position.wrapping_add(1);
        if self.segments().is_some() {
            self.place(position)
        } else if place.index + 1 == self.capacity as usize {
            Place { position, index: 0, turn: place.turn.wrapping_add(1) }
        } else {
            Place { position, index: place.index + 1, turn: place.turn }
        }
    }

    #[inline]
    fn place_in_segments(&self, position: u64, shift: u32) -> Place {
        let (epoch, offset) = (position >> shift, position & (self.capacity - 1));
        match self.words.lies(epoch) {
            Lies::At(first) => Place { position, index: first + offset as usize, turn: epoch },
            Lies::NotYet => Place { position, index: NOT_YET, turn: 1 },
            Lies::Over => Place { position, index: OVER, turn: 0 },
            Lies::Never => Place { position, index: NEVER, turn: 1 },
        }
    }

    /// Whether the segment of this place has still to be appended.
    pub(crate) fn is_not_yet(&self, place: Place) -> bool {
        place.index == NOT_YET && self.segments().is_some()
    }

    /// The first position after the epoch of this one; later, if those after it are over too.
    pub(in crate::queue) fn after_epoch(&self, position: u64, shift: u32) -> u64 {
        (position >> shift).wrapping_add(1).max(self.words.first()) << shift
    }

    /// The places from head to tail; however rubbish the two are, not more than there can be: where they are in segments,
    /// in so many last epochs. Not those of epochs that are over, or not yet there. (Positions never come round there: a
    /// head beyond its tail is rubbish, and there is nothing in between.)
    pub(in crate::queue) fn between(&self, head: u64, tail: u64) -> impl DoubleEndedIterator<Item = Place> {
        let shift = self.segments();
        let (most, within) =
            if shift.is_some() { (self.epochs, self.capacity - 1) } else { (self.capacity, 0) };
        let waiting = tail.wrapping_sub(head);
        let head = if waiting > most && shift.is_none() { tail.wrapping_sub(most) } else { head };
        let pieces = match shift {
            Some(shift) if head < tail => ((tail - 1) >> shift) - (head >> shift) + 1,
            Some(_) => 0,
            None => 1,
        };
        let piece = move |at: u64| {
            let Some(shift) = shift else { return (head, tail.wrapping_sub(head)) };
            let epoch = (head >> shift) + at;
            let there = matches!(self.words.lies(epoch), Lies::At(_));
            let first = epoch << shift;
            let (from, last) = (head.max(first), (tail - 1).min(first | within));
            (from, if there { last - from + 1 } else { 0 })
        };
        (0..pieces.min(most))
            .rev()
            .map(move |back| pieces - 1 - back)
            .map(piece)
            .flat_map(move |(from, length)| (0..length).map(move |at| self.place(from.wrapping_add(at))))
    }
}
