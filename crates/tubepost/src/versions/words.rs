//! What the words say: who holds it, what is pinned, what is edited.
//!
//! A hold has a number of 49 bits that goes up by one with each, so none comes again while anybody
//! remembers it: at twenty million a second that takes eleven months of standing still.

/// So many buffers there are.
pub(crate) const BUFFERS: usize = 64;
/// So many writers can have a seat at one time.
pub(crate) const SEATS: usize = 256;

const HOLD_BITS: u32 = 49;
const HELD: u64 = 1;
const BUFFER_SHIFT: u32 = 1;
const BUFFER: u64 = BUFFERS as u64 - 1;
const SEAT_SHIFT: u32 = 7;
const SEAT: u64 = SEATS as u64 - 1;
const HOLD_SHIFT: u32 = 15;

/// A buffer's number: always below [`BUFFERS`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Buffer(u64);

impl Buffer {
    #[inline]
    pub(crate) fn of(bits: u64) -> Buffer {
        Buffer(bits & BUFFER)
    }
    #[inline]
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
    #[inline]
    pub(crate) fn bit(self) -> u64 {
        1 << self.0
    }
}

/// How far hold `a` is ahead of hold `b`.
#[inline]
fn ahead(a: u64, b: u64) -> i64 {
    (a.wrapping_sub(b) << (64 - HOLD_BITS)) as i64
}

/// (hold, seat, buffer, held?).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Current(pub(crate) u64);

impl Current {
    /// The first version is in buffer 0.
    pub(crate) const FIRST: Current = Current(1 << HOLD_SHIFT);

    #[inline]
    pub(crate) fn hold(self) -> u64 {
        self.0 >> HOLD_SHIFT
    }
    #[inline]
    pub(crate) fn seat(self) -> usize {
        (self.0 >> SEAT_SHIFT & SEAT) as usize
    }
    #[inline]
    pub(crate) fn buffer(self) -> Buffer {
        Buffer::of(self.0 >> BUFFER_SHIFT)
    }
    #[inline]
    pub(crate) fn is_held(self) -> bool {
        self.0 & HELD != 0
    }
    /// Whether what was present then is so now, and was all the while.
    #[inline]
    pub(crate) fn is_of_the_same_version(self, then: Current) -> bool {
        // Acquired since, or let go without a commit.
        let acquired = self == then.held_by(self.seat()) && !then.is_held();
        self == then || acquired || then.is_held() && self == then.let_go(then.buffer())
    }
    /// The next hold, by the writer that has this seat.
    #[inline]
    pub(crate) fn held_by(self, seat: usize) -> Current {
        let hold = self.hold().wrapping_add(1) << HOLD_SHIFT;
        Current(hold | (seat as u64 & SEAT) << SEAT_SHIFT | self.0 & (BUFFER << BUFFER_SHIFT) | HELD)
    }
    /// Let go, with this buffer as the present one.
    #[inline]
    pub(crate) fn let_go(self, buffer: Buffer) -> Current {
        let rest = self.0 & !(BUFFER << BUFFER_SHIFT | HELD);
        Current(rest | buffer.0 << BUFFER_SHIFT)
    }
}

/// What a reader's row says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Row(pub(crate) u64);

impl Row {
    pub(crate) const IDLE: Row = Row(0);
    pub(crate) const ASKING: Row = Row(1);
    const PINNED: u64 = 2;
    const READING: u64 = 3;
    const TAG: u64 = 3;
    /// In place: a writer takes no account of it any more.
    pub(crate) const FENCED: Row = Row(7);

    /// What is present now.
    #[inline]
    pub(crate) fn pinned(current: Current) -> Row {
        Row(current.hold() << 8 | (current.buffer().index() as u64) << 2 | Self::PINNED)
    }
    #[inline]
    pub(crate) fn buffer(self) -> Option<Buffer> {
        (self.0 & Self::TAG == Self::PINNED).then(|| Buffer::of(self.0 >> 2))
    }
    /// In place: reads, for this reader's n-th time.
    #[inline]
    pub(crate) fn reading(n: u64) -> Row {
        Row(n << 8 | Self::READING)
    }
    #[inline]
    pub(crate) fn is_reading(self) -> bool {
        self.0 & Self::TAG == Self::READING && self != Row::FENCED
    }
    /// Whether this is not older than what was present then.
    #[inline]
    pub(crate) fn is_as_new_as(self, current: Current) -> bool {
        ahead(self.0 >> 8, current.hold()) >= 0
    }
}

/// What a writer says it edits: nothing, or (hold, buffer).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Editing(pub(crate) u64);

impl Editing {
    pub(crate) const NOTHING: Editing = Editing(0);

    #[inline]
    pub(crate) fn new(current: Current, buffer: Buffer) -> Editing {
        Editing(current.hold() << 7 | buffer.0 << 1 | 1)
    }
    /// In place: the data, in the home of this number.
    #[inline]
    pub(crate) fn at_home(number: u32) -> Editing {
        Editing(u64::from(number) << 1 | 1)
    }
    #[inline]
    pub(crate) fn buffer(self) -> Option<Buffer> {
        (self.0 & 1 != 0).then(|| Buffer::of(self.0 >> 1))
    }
    /// Whether it began before what was present then.
    pub(crate) fn is_older_than(self, current: Current) -> bool {
        ahead(self.0 >> 7, current.hold()) < 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_word_says_what_was_put_into_it() {
        let mut current = Current::FIRST;
        for seat in [0, 1, 255] {
            let before = current;
            current = current.held_by(seat);
            assert_eq!((current.seat(), current.is_held(), current.buffer()), (seat, true, before.buffer()));
            assert_eq!(current.hold(), before.hold() + 1);
            current = current.let_go(Buffer(63));
            assert_eq!((current.seat(), current.is_held(), current.buffer().index()), (seat, false, 63));
            assert_eq!(Row::pinned(current).buffer(), Some(Buffer(63)));
            assert!(Row::pinned(current).is_as_new_as(current));
            assert!(!Row::pinned(before).is_as_new_as(current) && Row::pinned(current).is_as_new_as(before));
            assert_eq!(Editing::new(current, Buffer(5)).buffer(), Some(Buffer(5)));
            assert!(Editing::new(before, Buffer(5)).is_older_than(current));
            assert!(!Editing::new(current, Buffer(5)).is_older_than(current));
        }
    }

    #[test]
    fn the_number_of_a_hold_goes_round() {
        let last = Current(u64::MAX << HOLD_SHIFT);
        let first = last.held_by(3);
        assert_eq!(first.hold(), 0);
        assert!(Row::pinned(first).is_as_new_as(last) && !Row::pinned(last).is_as_new_as(first));
    }
}
