//! Every shared byte of a mailbox in memory: offsets and sizes, no transfer of data.
//!
//! ```text
//! 0x000  identity   written before the segment has a name, never changed
//! 0x080  life       OPEN or RETIRED; the number of messages never collected
//! 0x0C0  bells      who pays the fence; who sleeps for messages, for room, for the end
//! 0x100  tail       a hint for senders
//! 0x140  head       how far receivers have got
//! 0x180  chunks     how much memory there is for what does not fit a slot
//! 0x400  format     text: what the messages are
//!        claims     capacity × 8 bytes
//!        takes      capacity × 8 bytes
//!        slots      capacity × stride bytes: state word, then the payload or where it is
//!        rows       one per member, 128 bytes each; memory is taken when they are
//!        entries    one per chunk, 128 bytes each, class by class; likewise
//!        chunks     the payloads that don't fit a slot, class by class; likewise
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
pub(crate) const VERSION: u32 = 4;

/// `kind`: a mailbox.
pub(crate) const MAILBOX: u32 = 1;

/// `flags`: messages are of variable length.
const VARIABLE: u64 = 1;
/// `flags`: owned by a process; else by the system.
const PROCESS_OWNED: u64 = 2;

/// `life`: in use.
pub(crate) const OPEN: u64 = 1;
/// `life`: ended for good; whoever opened it meanwhile opens by name again.
pub(crate) const RETIRED: u64 = 2;

/// The most places a mailbox can have.
pub const MAX_CAPACITY: u64 = 1 << 24;
/// The longest message in bytes.
pub const MAX_MESSAGE: u64 = 1 << 30;
/// Where no message is longer than this, all fit their slots …
pub(crate) const MAX_IN_LINE: u64 = 4096;
/// … and elsewhere those that are not longer than this.
const MIXED_IN_LINE: u64 = 240;
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
/// … unless they are in a chunk: then these two words say in which.
pub(crate) const CHUNK_AT: u64 = 16;
/// In the length word: the payload is in a chunk.
pub(crate) const IN_CHUNK: u32 = 1 << 31;

/// The smallest chunk; each class has chunks twice as long as the one before.
pub(crate) const LEAST_CHUNK: u64 = 64;
/// Classes of chunks: 64 bytes to 1 GiB.
pub(crate) const MAX_CLASSES: usize = 25;
/// Chunks of each class beyond the capacity, for what is in hand or on its way into the queue: at most so
/// many …
const SPARE_CHUNKS: u64 = 4096;
/// … of large ones no more than make up so many bytes …
const SPARE_BYTES: u64 = 64 << 20;
/// … but at least these.
const LEAST_SPARE: u64 = 64;
/// The most memory that chunks can have.
pub(crate) const MAX_CEILING: u64 = 256 << 30;
/// Bytes of an entry.
pub(crate) const ENTRY: u64 = size_of::<Entry>() as u64;

pub(crate) const PAGE: u64 = 4096;
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
    /// The most memory that chunks may have.
    pub(crate) ceiling: AtomicU64,
    pub(crate) life: Life,
    pub(crate) bells: Bells,
    pub(crate) tail: Tail,
    pub(crate) head: Head,
    pub(crate) chunks: ChunkMemory,
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
    /// Counts the times that something went back to the queue, or it was closed: receivers look then.
    pub(crate) news: AtomicU32,
    /// Counts the receivers that came: others watch out for their deaths.
    pub(crate) joined: AtomicU32,
    /// For which reasons some door may be armed; see `sync::doors`.
    pub(crate) doors: AtomicU32,
}

/// How far things have got.
#[repr(C, align(64))]
pub(crate) struct Tail {
    /// A position that was claimed, not long ago. Moved by `fetch_max` only.
    pub(crate) hint: AtomicU64,
    /// Rows from this one on were never taken. Moved by `fetch_max` only.
    pub(crate) rows: AtomicU64,
}

/// How far receivers have got.
#[repr(C, align(64))]
pub(crate) struct Head {
    /// Owned by a process: the next position to receive, written by the owner. Else: all before it
    /// were freed; a hint, moved by `fetch_max` only.
    pub(crate) position: AtomicU64,
    /// Positions passed that held no message; see `queue::takes`.
    pub(crate) skips: AtomicU64,
    /// Positions before this one were taken. A hint, moved by `fetch_max` only. (Owned by a process: 0, or 1 + the
    /// first position that may still be in a slot though head has passed it; written by the owner.)
    pub(crate) taken: AtomicU64,
}

/// Memory for payloads that don't fit a slot; see `queue::chunks`.
#[repr(C, align(64))]
pub(crate) struct ChunkMemory {
    /// Chunks from this one on were never used, by class. Only grows.
    pub(crate) used: [AtomicU32; 32],
    /// Bytes that chunks have; never less than they really have.
    pub(crate) backed: AtomicU64,
}

/// What is known of one chunk; see `queue::chunks`.
#[repr(C, align(128))]
pub(crate) struct Entry {
    pub(crate) word: AtomicU64,
    /// So many bytes from its beginning are memory.
    pub(crate) backed: AtomicU64,
    pub(crate) length: AtomicU64,
    /// The position of the message.
    pub(crate) position: AtomicU64,
    /// 1: the message was in line, this is a copy.
    pub(crate) copied: AtomicU64,
    pub(crate) sender_pid: AtomicU64,
    pub(crate) sender_name_length: AtomicU64,
    pub(crate) sender_name: [AtomicU64; 8],
    /// While it is OWN: so many bytes are to become memory, or were a moment ago.
    pub(crate) wanted: AtomicU64,
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
    /// [`SENDS`] or [`RECEIVES`].
    pub(crate) role: AtomicU64,
    _112: AtomicU64,
    /// Whether its member waits for a descriptor; see `sync::doors`.
    pub(crate) door: AtomicU64,
}

/// `role`: a sender, or somebody who cleans up.
pub(crate) const SENDS: u64 = 0;
/// `role`: a receiver.
pub(crate) const RECEIVES: u64 = 1;

/// The longest member name in bytes.
pub(crate) const MAX_MEMBER_NAME: usize = 64;

const _: () = {
    assert!(offset_of!(Header, version) == 0x08 && offset_of!(Header, total) == 0x10);
    assert!(offset_of!(Header, id) == 0x18 && offset_of!(Header, capacity) == 0x28);
    assert!(offset_of!(Header, mode) == 0x50);
    assert!(offset_of!(Header, life) == 0x80 && offset_of!(Header, bells) == 0xC0);
    assert!(offset_of!(Header, ceiling) == 0x58 && offset_of!(Header, chunks) == 0x180);
    assert!(offset_of!(Header, tail) == 0x100 && offset_of!(Header, head) == 0x140);
    assert!(size_of::<Header>() == 0x240 && FORMAT_AT >= 0x240);
    assert!(offset_of!(Bells, doors) == 24 && offset_of!(Row, door) == 120);
    assert!(size_of::<Row>() == 128 && align_of::<Row>() <= PAGE as usize);
    assert!(size_of::<Entry>() == 128 && LEAST_CHUNK << (MAX_CLASSES - 1) == MAX_MESSAGE);
    assert!(PAGE.is_multiple_of(ROW) && ROWS == u16::MAX as u64 + 1);
    assert!(VARIABLE_PAYLOAD_AT >= LENGTH_AT + 8);
};

/// What the creator chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) capacity: u64,
    pub(crate) max_message: u64,
    pub(crate) align: u64,
    pub(crate) variable: bool,
    /// Owned by a process; else by the system.
    pub(crate) owned: bool,
    pub(crate) format_length: u64,
    /// The most memory that chunks may have.
    pub(crate) ceiling: u64,
}

/// Chunks of one length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) size: u64,
    pub(crate) number: u64,
    pub(crate) entries_at: u64,
    pub(crate) chunks_at: u64,
}

/// Where everything is, derived from the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) choice: Choice,
    /// The longest message that its slot holds.
    pub(crate) in_line: u64,
    /// Whether a slot has a length word.
    pub(crate) has_length: bool,
    pub(crate) stride: u64,
    pub(crate) payload_at: u64,
    pub(crate) claims_at: u64,
    pub(crate) takes_at: u64,
    pub(crate) slots_at: u64,
    pub(crate) rows_at: u64,
    pub(crate) classes: [Class; MAX_CLASSES],
    pub(crate) total: u64,
}

impl Geometry {
    /// Lays a mailbox out, or says which choice is not possible.
    pub(crate) fn new(choice: Choice) -> Result<Geometry, Error> {
        possible(&choice)?;
        let Choice { capacity, max_message, align, variable, format_length, ceiling, .. } = choice;
        let in_line = match max_message {
            0..=MAX_IN_LINE => max_message,
            _ if variable => MIXED_IN_LINE,
            _ => 0,
        };
        let has_length = variable || in_line < max_message;
        let payload_at = if has_length { VARIABLE_PAYLOAD_AT } else { align.max(8) };
        let stride = (payload_at + in_line).next_multiple_of(64);
        let claims_at = (FORMAT_AT + format_length).next_multiple_of(64);
        let takes_at = (claims_at + capacity * 8).next_multiple_of(64);
        let slots_at = (takes_at + capacity * 8).next_multiple_of(64);
        let rows_at = (slots_at + capacity * stride).next_multiple_of(PAGE);
        let mut end = rows_at + ROWS * ROW;
        let mut classes = [Class::default(); MAX_CLASSES];
        let kinds = class_of(max_message) + 1;
        for (kind, class) in classes.iter_mut().enumerate().take(kinds) {
            class.size = LEAST_CHUNK << kind;
            // What is in a chunk is longer than half of it, so this many fill the ceiling.
            class.number = (capacity + spare(class.size)).min(2 * ceiling / class.size + 1);
            class.entries_at = end;
            end = (end + class.number * ENTRY).next_multiple_of(PAGE);
        }
        for class in classes.iter_mut().take(kinds) {
            class.chunks_at = end;
            end = (end + class.number * class.size).next_multiple_of(PAGE);
        }
        Ok(Geometry {
            choice,
            in_line,
            has_length,
            stride,
            payload_at,
            claims_at,
            takes_at,
            slots_at,
            rows_at,
            classes,
            total: end,
        })
    }

    /// The bytes that must be memory before the segment is used.
    pub(crate) fn reserved(&self) -> u64 {
        self.rows_at + FIRST_ROWS
    }

    /// Writes the identity of a new segment.
    pub(crate) fn describe(&self, header: &Header, id: [u64; 2], mode: u32) {
        let choice = &self.choice;
        let flags = if choice.variable { VARIABLE } else { 0 } | if choice.owned { PROCESS_OWNED } else { 0 };
        header.version.store(VERSION, Relaxed);
        header.kind.store(MAILBOX, Relaxed);
        header.total.store(self.total, Relaxed);
        header.id[0].store(id[0], Relaxed);
        header.id[1].store(id[1], Relaxed);
        header.capacity.store(choice.capacity, Relaxed);
        header.max_message.store(choice.max_message, Relaxed);
        header.align.store(choice.align, Relaxed);
        header.flags.store(flags, Relaxed);
        header.format_length.store(choice.format_length, Relaxed);
        header.mode.store(mode.into(), Relaxed);
        header.ceiling.store(choice.ceiling, Relaxed);
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
        if flags & !(VARIABLE | PROCESS_OWNED) != 0 {
            return Err(damaged(format!("it has flags {flags:#x}, which mean nothing here")));
        }
        let geometry = Geometry::new(Choice {
            capacity: header.capacity.load(Relaxed),
            max_message: header.max_message.load(Relaxed),
            align: header.align.load(Relaxed),
            variable: flags & VARIABLE != 0,
            owned: flags & PROCESS_OWNED != 0,
            format_length: header.format_length.load(Relaxed),
            ceiling: header.ceiling.load(Relaxed),
        })
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

/// The class of chunks that a message of so many bytes goes into.
#[inline]
pub(crate) fn class_of(length: u64) -> usize {
    (length.max(LEAST_CHUNK).next_power_of_two() / LEAST_CHUNK).trailing_zeros() as usize
}

/// How many chunks of a class there are beyond the capacity.
fn spare(size: u64) -> u64 {
    (SPARE_BYTES / size).clamp(LEAST_SPARE, SPARE_CHUNKS)
}

/// What chunks may have at most if nobody says: all that could ever wait, unless the file
/// system, of `memory` bytes, is smaller anyway.
pub(crate) fn usual_ceiling(capacity: u64, max_message: u64, memory: u64) -> u64 {
    let largest = LEAST_CHUNK << class_of(max_message.min(MAX_MESSAGE));
    let all = capacity.saturating_add(spare(largest)).saturating_mul(largest);
    all.min(if memory == 0 { MAX_CEILING } else { memory }).min(MAX_CEILING).max(largest)
}

fn possible(choice: &Choice) -> Result<(), Error> {
    let impossible =
        |what, given: u64, allowed: String| Err(Error::BadOption { what, given: given.to_string(), allowed });
    let Choice { capacity, max_message, align, format_length, ceiling, .. } = *choice;
    if !(1..=MAX_CAPACITY).contains(&capacity) {
        return impossible("the capacity", capacity, format!("1 to {MAX_CAPACITY} messages"));
    }
    if max_message > MAX_MESSAGE {
        return impossible(
            "the longest message",
            max_message,
            format!("at most {MAX_MESSAGE} bytes (1 GiB)"),
        );
    }
    if !align.is_power_of_two() || align > MAX_ALIGN {
        return impossible("the alignment", align, format!("a power of two, at most {MAX_ALIGN}"));
    }
    if format_length > MAX_FORMAT {
        return impossible("the length of the format", format_length, format!("at most {MAX_FORMAT} bytes"));
    }
    let least = LEAST_CHUNK << class_of(max_message);
    if !(least..=MAX_CEILING).contains(&ceiling) {
        let allowed =
            format!("at least {least} bytes, for one message of {max_message}, at most {MAX_CEILING}");
        return impossible("the ceiling", ceiling, allowed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lay_out(
        capacity: u64,
        max_message: u64,
        align: u64,
        variable: bool,
        format_length: u64,
    ) -> Result<Geometry, Error> {
        let ceiling = usual_ceiling(capacity, max_message, 1 << 40);
        Geometry::new(Choice { capacity, max_message, align, variable, owned: true, format_length, ceiling })
    }

    #[test]
    fn a_thousand_small_slots_are_small() {
        let geometry = lay_out(1024, 8, 8, false, 100).unwrap();
        assert_eq!(geometry.stride, 64);
        assert!(geometry.reserved() <= 256 << 10);
    }

    #[test]
    fn a_thousand_places_for_large_messages_are_small_until_they_come() {
        assert!(lay_out(1024, 1 << 20, 1, true, 100).unwrap().reserved() <= 1 << 20);
        assert!(lay_out(1024, 1 << 20, 1, false, 100).unwrap().reserved() <= 256 << 10);
    }

    #[test]
    fn one_line_carries_56_bytes() {
        assert_eq!(lay_out(4, 56, 8, false, 0).unwrap().stride, 64);
        assert_eq!(lay_out(4, 57, 1, false, 0).unwrap().stride, 128);
        assert_eq!(lay_out(4, 48, 1, true, 0).unwrap().stride, 64);
    }

    #[test]
    fn the_largest_of_everything_does_not_overflow() {
        let geometry = lay_out(MAX_CAPACITY, MAX_MESSAGE, MAX_ALIGN, true, MAX_FORMAT).unwrap();
        assert!(geometry.total < 1 << 44);
        assert!(lay_out(MAX_CAPACITY, MAX_IN_LINE, MAX_ALIGN, true, MAX_FORMAT).unwrap().total < 1 << 44);
        assert!(lay_out(MAX_CAPACITY + 1, 0, 1, true, 0).is_err());
        assert!(lay_out(0, 0, 1, true, 0).is_err());
        assert!(lay_out(1, u64::MAX, 1, true, 0).is_err());
        assert!(lay_out(1, 1, 3, true, 0).is_err());
    }

    #[test]
    fn a_message_goes_into_the_smallest_chunk_that_holds_it() {
        for (length, class) in [(0, 0), (1, 0), (64, 0), (65, 1), (128, 1), (129, 2), (MAX_MESSAGE, 24)] {
            assert_eq!(class_of(length), class, "{length}");
        }
        let geometry = lay_out(16, 100_000, 1, true, 0).unwrap();
        let class = geometry.classes[class_of(100_000)];
        assert_eq!((class.size, geometry.classes[class_of(100_000) + 1].size), (131_072, 0));
        assert!(class.number >= 16 && class.chunks_at.is_multiple_of(PAGE));
    }
}
