//! Every shared byte of a mailbox in memory: offsets and sizes, no transfer of data.
//!
//! ```text
//! 0x000  identity   written before the segment has a name, never changed
//! 0x080  life       OPEN or RETIRED; the number of messages never collected
//! 0x0C0  bells      who pays the fence; who sleeps for messages, for room, for the end
//! 0x100  tail       a hint for senders
//! 0x140  head       the receiver's
//! 0x400  format     text: what the messages are
//!        claims     capacity × 8 bytes
//!        slots      capacity × stride bytes: state word, length word (variable), payload
//!        rows       one per member, 128 bytes each; memory is taken when they are
//! ```
//!
//! `docs/format.md` tells the same for those who don't read Rust. A change here is a new
//! [`VERSION`].

use crate::error::Error;
use std::mem::{align_of, offset_of, size_of};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// The first eight bytes of every tubepost segment.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"tubepost");
/// The version of everything in `docs/format.md`.
pub(crate) const VERSION: u32 = 1;

/// `kind`: a mailbox.
pub(crate) const MAILBOX: u32 = 1;

/// `flags`: messages are of variable length.
const VARIABLE: u64 = 1;
/// `flags`: owned by a process (always, so far).
const PROCESS_OWNED: u64 = 2;

/// `life`: in use.
pub(crate) const OPEN: u64 = 1;
/// `life`: ended for good; whoever opened it meanwhile opens by name again.
pub(crate) const RETIRED: u64 = 2;

/// The most places a mailbox can have.
pub const MAX_CAPACITY: u64 = 1 << 24;
/// The longest message that fits a slot, in bytes.
pub const MAX_IN_LINE: u64 = 4096;
/// The strictest alignment of a fixed-length message.
pub(crate) const MAX_ALIGN: u64 = 64;
/// The longest description of a message format, in bytes.
pub(crate) const MAX_FORMAT: u64 = 64 << 10;
/// Where the format's text begins.
pub(crate) const FORMAT_AT: u64 = 0x400;
/// Rows in the table of members; row 0 is nobody, row 1 the owner.
pub(crate) const ROWS: u64 = 1 << 16;
/// The owner's row.
pub(crate) const OWNER: u16 = 1;
/// Bytes of a row.
pub(crate) const ROW: u64 = size_of::<Row>() as u64;
/// A variable-length message's length stands here in its slot.
pub(crate) const LENGTH_AT: u64 = 8;
/// … and its bytes begin here.
const VARIABLE_PAYLOAD_AT: u64 = 16;

const PAGE: u64 = 4096;
/// The rows that have memory from the start: one page.
const FIRST_ROWS: u64 = PAGE;

/// The head of a segment. All atomics: another process may write anything at any time.
#[repr(C, align(64))]
pub(crate) struct Header {
    pub(crate) magic: AtomicU64,
    pub(crate) version: AtomicU32,
    pub(crate) kind: AtomicU32,
    pub(crate) total: AtomicU64,
    pub(crate) id: [AtomicU64; 2],
    pub(crate) capacity: AtomicU64,
    pub(crate) max_message: AtomicU64,
    pub(crate) align: AtomicU64,
    pub(crate) flags: AtomicU64,
    pub(crate) format_length: AtomicU64,
    pub(crate) mode: AtomicU64,
    pub(crate) life: Life,
    pub(crate) bells: Bells,
    pub(crate) tail: Tail,
    pub(crate) head: Head,
}

/// How it ended.
#[repr(C, align(64))]
pub(crate) struct Life {
    /// [`OPEN`], then [`RETIRED`].
    pub(crate) state: AtomicU64,
    /// 0 until somebody has counted, then 1 + the messages never collected.
    pub(crate) uncollected: AtomicU64,
}

/// Who sleeps; see `sync::wait`. One line, read by everybody, written when somebody sleeps.
#[repr(C, align(64))]
pub(crate) struct Bells {
    pub(crate) fence: AtomicU32,
    pub(crate) messages: AtomicU32,
    pub(crate) room: AtomicU32,
    pub(crate) end: AtomicU32,
}

/// How far things have got.
#[repr(C, align(64))]
pub(crate) struct Tail {
    /// A position that was claimed, not long ago. Moved by `fetch_max` only.
    pub(crate) hint: AtomicU64,
    /// Rows from this one on were never taken. Moved by `fetch_max` only.
    pub(crate) rows: AtomicU64,
}

/// Written by the receiver only.
#[repr(C, align(64))]
pub(crate) struct Head {
    /// The next position to receive.
    pub(crate) position: AtomicU64,
    /// Positions passed that held no message: their claimants died.
    pub(crate) skipped: AtomicU64,
}

/// One member: a handle of some process.
#[repr(C, align(128))]
pub(crate) struct Row {
    /// (generation, phase); see `domain::member`.
    pub(crate) word: AtomicU64,
    /// Positions before this may still be named after a member that left.
    pub(crate) left_at: AtomicU64,
    pub(crate) pid: AtomicU64,
    /// The pid namespace in which `pid` means something.
    pub(crate) namespace: AtomicU64,
    pub(crate) name_length: AtomicU64,
    pub(crate) name: [AtomicU64; 8],
}

/// The longest member name in bytes.
pub(crate) const MAX_MEMBER_NAME: usize = 64;

const _: () = {
    assert!(offset_of!(Header, version) == 0x08 && offset_of!(Header, total) == 0x10);
    assert!(offset_of!(Header, id) == 0x18 && offset_of!(Header, capacity) == 0x28);
    assert!(offset_of!(Header, mode) == 0x50);
    assert!(offset_of!(Header, life) == 0x80 && offset_of!(Header, bells) == 0xC0);
    assert!(offset_of!(Header, tail) == 0x100 && offset_of!(Header, head) == 0x140);
    assert!(size_of::<Header>() == 0x180 && FORMAT_AT >= 0x180);
    assert!(size_of::<Row>() == 128 && align_of::<Row>() <= PAGE as usize);
    assert!(PAGE.is_multiple_of(ROW) && ROWS == u16::MAX as u64 + 1);
    assert!(VARIABLE_PAYLOAD_AT >= LENGTH_AT + 8);
};

/// Where everything is, derived from what the creator chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) capacity: u64,
    pub(crate) max_message: u64,
    pub(crate) align: u64,
    pub(crate) variable: bool,
    pub(crate) format_length: u64,
    pub(crate) stride: u64,
    pub(crate) payload_at: u64,
    pub(crate) claims_at: u64,
    pub(crate) slots_at: u64,
    pub(crate) rows_at: u64,
    pub(crate) total: u64,
}

impl Geometry {
    /// Lays a mailbox out, or says which choice is not possible.
    pub(crate) fn new(
        capacity: u64,
        max_message: u64,
        align: u64,
        variable: bool,
        format_length: u64,
    ) -> Result<Geometry, Error> {
        let impossible = |what, given: u64, allowed: String| {
            Err(Error::BadOption { what, given: given.to_string(), allowed })
        };
        if !(1..=MAX_CAPACITY).contains(&capacity) {
            return impossible("the capacity", capacity, format!("1 to {MAX_CAPACITY} messages"));
        }
        if max_message > MAX_IN_LINE {
            return impossible("the longest message", max_message, format!("at most {MAX_IN_LINE} bytes"));
        }
        if !align.is_power_of_two() || align > MAX_ALIGN {
            return impossible("the alignment", align, format!("a power of two, at most {MAX_ALIGN}"));
        }
        if format_length > MAX_FORMAT {
            return impossible(
                "the length of the format",
                format_length,
                format!("at most {MAX_FORMAT} bytes"),
            );
        }
        let payload_at = if variable { VARIABLE_PAYLOAD_AT } else { align.max(8) };
        let stride = (payload_at + max_message).next_multiple_of(64);
        let claims_at = (FORMAT_AT + format_length).next_multiple_of(64);
        let slots_at = (claims_at + capacity * 8).next_multiple_of(64);
        let rows_at = (slots_at + capacity * stride).next_multiple_of(PAGE);
        let total = rows_at + ROWS * ROW;
        Ok(Geometry {
            capacity,
            max_message,
            align,
            variable,
            format_length,
            stride,
            payload_at,
            claims_at,
            slots_at,
            rows_at,
            total,
        })
    }

    /// The bytes that must be memory before the segment is used.
    pub(crate) fn reserved(&self) -> u64 {
        self.rows_at + FIRST_ROWS
    }

    /// Writes the identity of a new segment.
    pub(crate) fn describe(&self, header: &Header, id: [u64; 2], mode: u32) {
        let flags = if self.variable { VARIABLE } else { 0 } | PROCESS_OWNED;
        header.version.store(VERSION, Relaxed);
        header.kind.store(MAILBOX, Relaxed);
        header.total.store(self.total, Relaxed);
        header.id[0].store(id[0], Relaxed);
        header.id[1].store(id[1], Relaxed);
        header.capacity.store(self.capacity, Relaxed);
        header.max_message.store(self.max_message, Relaxed);
        header.align.store(self.align, Relaxed);
        header.flags.store(flags, Relaxed);
        header.format_length.store(self.format_length, Relaxed);
        header.mode.store(mode.into(), Relaxed);
        header.life.state.store(OPEN, Relaxed);
        header.magic.store(MAGIC, Relaxed);
    }

    /// Reads the identity of a segment whose file has `length` bytes, of which `occupied`
    /// are memory. Every number is read once and checked before it is used.
    pub(crate) fn read(header: &Header, name: &str, length: u64, occupied: u64) -> Result<Geometry, Error> {
        let damaged = |what: String| Error::Damaged { name: name.into(), what };
        let magic = header.magic.load(Relaxed);
        if magic != MAGIC {
            return Err(damaged(format!("it begins with {magic:#018x}, not with \"tubepost\"")));
        }
        let found = header.version.load(Relaxed);
        if found != VERSION {
            return Err(Error::WrongVersion { name: name.into(), found, supported: VERSION });
        }
        let kind = header.kind.load(Relaxed);
        if kind != MAILBOX {
            return Err(damaged(format!("it is of kind {kind}, not a mailbox ({MAILBOX})")));
        }
        let flags = header.flags.load(Relaxed);
        if flags & !(VARIABLE | PROCESS_OWNED) != 0 || flags & PROCESS_OWNED == 0 {
            return Err(damaged(format!("it has flags {flags:#x}, which mean nothing here")));
        }
        let geometry = Geometry::new(
            header.capacity.load(Relaxed),
            header.max_message.load(Relaxed),
            header.align.load(Relaxed),
            flags & VARIABLE != 0,
            header.format_length.load(Relaxed),
        )
        .map_err(|error| damaged(error.to_string()))?;
        let total = header.total.load(Relaxed);
        if total != geometry.total || length != total {
            return Err(damaged(format!(
                "it has {length} bytes and claims {total}, but what it describes takes {}",
                geometry.total
            )));
        }
        if occupied < geometry.reserved() {
            return Err(damaged(format!(
                "only {occupied} of its first {} bytes are in memory",
                geometry.reserved()
            )));
        }
        Ok(geometry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_small_slots_are_small() {
        let geometry = Geometry::new(1024, 8, 8, false, 100).unwrap();
        assert_eq!(geometry.stride, 64);
        assert!(geometry.reserved() <= 256 << 10);
    }

    #[test]
    fn one_line_carries_56_bytes() {
        assert_eq!(Geometry::new(4, 56, 8, false, 0).unwrap().stride, 64);
        assert_eq!(Geometry::new(4, 57, 1, false, 0).unwrap().stride, 128);
        assert_eq!(Geometry::new(4, 48, 1, true, 0).unwrap().stride, 64);
    }

    #[test]
    fn the_largest_of_everything_does_not_overflow() {
        let geometry = Geometry::new(MAX_CAPACITY, MAX_IN_LINE, MAX_ALIGN, true, MAX_FORMAT).unwrap();
        assert!(geometry.total < 1 << 40);
        assert!(Geometry::new(MAX_CAPACITY + 1, 0, 1, true, 0).is_err());
        assert!(Geometry::new(0, 0, 1, true, 0).is_err());
        assert!(Geometry::new(1, u64::MAX, 1, true, 0).is_err());
        assert!(Geometry::new(1, 1, 3, true, 0).is_err());
    }
}
