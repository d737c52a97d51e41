//! Every shared byte of a mailbox in memory: offsets and sizes, no transfer of data.
//!
//! ```text
//! 0x000  identity   written before the segment has a name, never changed
//! 0x080  life       OPEN or RETIRED; the number of messages never collected
//! 0x0C0  bells      who pays the fence; who sleeps for messages, for room, for the end
//! 0x100  tail       a hint for senders
//! 0x140  head       how far receivers have got
//! 0x180  chunks     how much memory there is for what does not fit a slot
//! 0x240  segments   of an unbounded mailbox
//! 0x280  meeting    capacity zero: who waits, who offers
//! 0x2C0  calls      how many cells for calls were ever used
//! 0x300  sockets    of the kernel strategy: what its owner counts
//! 0x340  region     of a region: how many rows its readers ever had
//! 0x380  log        of a mailbox that is kept in files: how far things have got there
//! 0x400  format     text: what the messages are
//!        claims     capacity × 8 bytes
//!        takes      capacity × 8 bytes
//!        slots      capacity × stride bytes: state word, then the payload or where it is
//!        numbers    of capacity zero only: what counts
//!        rows       one per member, 128 bytes each; memory is taken when they are
//!        cells      of capacity zero only: one per receiver that waits; likewise
//!        calls      where messages are answered: one cell per call under way; likewise
//!        readers    of a region: one row per reader, 128 bytes each; likewise
//!        entries    one per chunk, 128 bytes each, class by class; likewise
//!        chunks     the payloads that don't fit a slot, class by class; likewise
//! ```
//!
//! In an unbounded mailbox claims, takes and slots come last, and are sparse; see [`areas`](super::areas).
//!
//! `docs/format.md` tells the same for those who don't read Rust. A change here is a new
//! [`VERSION`].

use super::areas::{Areas, UNBOUNDED, segment_bytes, usual_places};
use super::handoff::{CELLS, WHICH_BITS};
use crate::error::Error;
use std::mem::{align_of, offset_of, size_of};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

mod possible;
mod words;

/// The first eight bytes of every tubepost segment.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"tubepost");
/// The version of everything in `docs/format.md`.
pub(crate) const VERSION: u32 = 8;

/// `kind`: a mailbox …
const MAILBOX: u32 = 1;
/// … a process that joined, which is rung by what is sent there …
const PROCESS: u32 = 2;
/// … or one direction of a link between two of them …
const LINK: u32 = 3;
/// … or a region …
const REGION: u32 = 4;
/// … or bare memory.
const BARE: u32 = 5;

/// `flags`: messages are of variable length.
const VARIABLE: u64 = 1;
/// `flags`: owned by a process; else by the system.
const PROCESS_OWNED: u64 = 2;
/// `flags`: of a link that has this direction only.
const ONE_WAY: u64 = 4;

/// `flags`: messages don't travel through this memory, but by the kernel's sockets.
const BY_KERNEL: u64 = 8;
/// `flags`: but by areas that each sender has with the owner; also has [`BY_KERNEL`], for its sockets.
const SEALED: u64 = 16;

/// `flags`: but are in files.
const FILED: u64 = 32;
/// `flags`: it stands for a mailbox elsewhere where nothing waits: who sends waits until its message was collected there.
const HANDED_ON: u64 = 64;
/// So many who send may wait for that at one time, each in a place of its own; more wait for one.
pub(crate) const HANDED_ON_PLACES: u64 = 256;

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
/// Of a link, the row of who sends; its owner is who receives.
pub(crate) const SENDER: u16 = 2;
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
/// Classes of chunks for payloads: 64 bytes to 1 GiB.
pub(crate) const MAX_CLASSES: usize = 25;
/// The class of the segments of an unbounded mailbox.
pub(crate) const SEGMENTS: usize = MAX_CLASSES;
/// All classes.
pub(crate) const CLASSES: usize = MAX_CLASSES + 1;
/// Chunks of each class beyond the capacity, for what is in hand or on its way into the queue: at most so
/// many …
const SPARE_CHUNKS: u64 = 4096;
/// … of large ones no more than make up so many bytes …
const SPARE_BYTES: u64 = 64 << 20;
/// … but at least these.
const LEAST_SPARE: u64 = 64;
/// The most memory that chunks can have.
pub(crate) const MAX_CEILING: u64 = 256 << 30;
/// Bytes at the end of a message that say where its answer goes.
pub(crate) const ADDRESS: u64 = 16;
/// Calls that can be under way at one time.
pub(crate) const CALLS: u64 = 1 << 16;
/// Where a segment's id is.
pub(crate) const ID_AT: u64 = offset_of!(Header, id) as u64;
/// Bytes of an entry.
pub(crate) const ENTRY: u64 = size_of::<Entry>() as u64;

pub(crate) const PAGE: u64 = 4096;
/// The rows that have memory from the start: one page.
const FIRST_ROWS: u64 = PAGE;

pub(crate) use possible::check_capacity;
use possible::possible;
pub(crate) use words::*;

/// What a segment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Mailbox,
    Process,
    Link { one_way: bool },
    Region,
    Bare,
}

impl Kind {
    fn of(kind: u32, flags: u64) -> Option<Kind> {
        let one_way = flags & ONE_WAY != 0;
        match kind {
            LINK => Some(Kind::Link { one_way }),
            MAILBOX if !one_way => Some(Kind::Mailbox),
            PROCESS if !one_way => Some(Kind::Process),
            REGION if !one_way => Some(Kind::Region),
            BARE if !one_way => Some(Kind::Bare),
            _ => None,
        }
    }

    fn word(self) -> u32 {
        match self {
            Kind::Mailbox => MAILBOX,
            Kind::Process => PROCESS,
            Kind::Link { .. } => LINK,
            Kind::Region => REGION,
            Kind::Bare => BARE,
        }
    }

    /// Whether nothing is sent there: what it is for is in a file of its own, beside it.
    pub(crate) fn is_data(self) -> bool {
        matches!(self, Kind::Region | Kind::Bare)
    }

    /// Whether it may have files beside it.
    pub(crate) fn has_files(self) -> bool {
        self == Kind::Process || self.is_data()
    }

    fn flags(self) -> u64 {
        if self == (Kind::Link { one_way: true }) { ONE_WAY } else { 0 }
    }
}

/// What the creator chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) kind: Kind,
    /// [`UNBOUNDED`], or so many.
    pub(crate) capacity: u64,
    /// Places in each segment, if it is unbounded; 0 else, or if the creator leaves that to us.
    pub(crate) places: u64,
    pub(crate) max_message: u64,
    pub(crate) align: u64,
    pub(crate) variable: bool,
    /// Owned by a process; else by the system.
    pub(crate) owned: bool,
    /// Messages don't travel through this memory: it only tells of the mailbox.
    pub(crate) kernel: bool,
    /// … and they go by areas of their own: see `queue::sealed`.
    pub(crate) sealed: bool,
    /// They are in files: this memory tells of the mailbox, and who waits there.
    pub(crate) filed: bool,
    /// It has places, but nothing waits in them without its sender: see `strategy::shared::handed_on`.
    pub(crate) handed_on: bool,
    pub(crate) format_length: u64,
    /// The most memory that chunks may have.
    pub(crate) ceiling: u64,
    /// 0, or where messages are answered: 1 + the longest answer.
    pub(crate) answers: u64,
}

impl Choice {
    /// Of what has the name of data, which is elsewhere.
    fn of_data(kind: Kind, variable: bool, owned: bool, format_length: u64) -> Choice {
        Choice {
            kind,
            capacity: 1,
            places: 0,
            max_message: 0,
            align: 1,
            variable,
            owned,
            kernel: false,
            sealed: false,
            filed: false,
            handed_on: false,
            format_length,
            ceiling: LEAST_CHUNK,
            answers: 0,
        }
    }

    pub(crate) fn answered(&self) -> bool {
        self.answers > 0
    }

    /// The longest that goes into a chunk.
    fn longest_chunk(&self) -> u64 {
        self.max_message.max(self.answers)
    }

    /// The longest message, without what says where its answer goes.
    pub(crate) fn longest(&self) -> u64 {
        if self.answered() { self.max_message.saturating_sub(ADDRESS) } else { self.max_message }
    }
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
    /// Capacity zero: its numbers and its cells.
    pub(crate) numbers_at: u64,
    pub(crate) cells_at: u64,
    pub(crate) rows_at: u64,
    pub(crate) calls_at: u64,
    /// Of a region: the rows of its readers.
    pub(crate) readers_at: u64,
    pub(crate) classes: [Class; CLASSES],
    /// Where segments are, if it is unbounded.
    pub(crate) areas: Option<Areas>,
    pub(crate) total: u64,
}

impl Geometry {
    /// Lays out what has the name of data, which is elsewhere.
    pub(crate) fn of_data(kind: Kind, variable: bool, owned: bool, format: &str) -> Result<Geometry, Error> {
        Geometry::new(Choice::of_data(kind, variable, owned, format.len() as u64))
    }

    /// Lays a mailbox out, or says which choice is not possible.
    pub(crate) fn new(choice: Choice) -> Result<Geometry, Error> {
        possible(&choice)?;
        let Choice { capacity, max_message, align, variable, format_length, ceiling, .. } = choice;
        let (rendezvous, unbounded) = (capacity == 0, capacity == UNBOUNDED);
        let in_line = match max_message {
            _ if rendezvous => 0,
            _ if variable && unbounded => max_message.min(MIXED_IN_LINE),
            0..=MAX_IN_LINE => max_message,
            _ if variable => MIXED_IN_LINE,
            _ => 0,
        };
        let has_length = variable || in_line < max_message || rendezvous;
        let payload_at = if has_length { VARIABLE_PAYLOAD_AT } else { align.max(8) };
        let stride = (payload_at + in_line).next_multiple_of(64);
        let claims_at = (FORMAT_AT + format_length).next_multiple_of(64);
        let mut geometry = Geometry {
            choice,
            in_line,
            has_length,
            stride,
            payload_at,
            claims_at,
            takes_at: 0,
            slots_at: 0,
            numbers_at: 0,
            cells_at: 0,
            calls_at: 0,
            readers_at: 0,
            rows_at: claims_at.next_multiple_of(PAGE),
            classes: [Class::default(); CLASSES],
            areas: None,
            total: 0,
        };
        if choice.kernel || choice.filed || choice.kind.is_data() {
            geometry.in_line = 0;
            geometry.lay_out_entry();
            return Ok(geometry);
        }
        if unbounded {
            geometry.lay_out_unbounded()?;
            return Ok(geometry);
        }
        // Where nothing waits there is one place that stays empty.
        let places = capacity.max(1);
        geometry.takes_at = (claims_at + places * 8).next_multiple_of(64);
        geometry.slots_at = (geometry.takes_at + places * 8).next_multiple_of(64);
        geometry.numbers_at = geometry.slots_at + places * stride;
        let numbers = if rendezvous { size_of::<Numbers>() as u64 } else { 0 };
        geometry.rows_at = (geometry.numbers_at + numbers).next_multiple_of(PAGE);
        // What is in a chunk is longer than half of it, so this many fill the ceiling.
        let number = |size| (capacity + spare(size)).min(2 * ceiling / size + 1);
        let cells_end = geometry.lay_out_cells();
        geometry.total = geometry.lay_out_chunks(cells_end, number);
        Ok(geometry)
    }

    /// Where messages travel elsewhere: one place that stays empty, and the rows.
    fn lay_out_entry(&mut self) {
        self.takes_at = (self.claims_at + 8).next_multiple_of(64);
        self.slots_at = (self.takes_at + 8).next_multiple_of(64);
        self.numbers_at = self.slots_at + self.stride;
        self.rows_at = self.numbers_at.next_multiple_of(PAGE);
        self.readers_at = self.lay_out_cells();
        let readers = if self.choice.kind == Kind::Region { READERS * READER } else { 0 };
        self.total = self.readers_at + readers;
    }

    /// The cells behind the rows: of receivers that wait, of calls; gives their end.
    fn lay_out_cells(&mut self) -> u64 {
        self.cells_at = self.rows_at + ROWS * ROW;
        let rendezvous = self.choice.capacity == 0 && !self.choice.kernel;
        self.calls_at = self.cells_at + if rendezvous { u64::from(CELLS) * CELL } else { 0 };
        self.calls_at + if self.choice.answered() { CALLS * CALL_CELL } else { 0 }
    }

    /// Entries and chunks of payloads from `at` on; gives their end.
    fn lay_out_chunks(&mut self, at: u64, number: impl Fn(u64) -> u64) -> u64 {
        let mut end = at;
        let kinds = class_of(self.choice.longest_chunk()) + 1;
        for (kind, class) in self.classes.iter_mut().enumerate().take(kinds) {
            class.size = LEAST_CHUNK << kind;
            class.number = number(class.size);
            class.entries_at = end;
            end = (end + class.number * ENTRY).next_multiple_of(PAGE);
        }
        for class in self.classes.iter_mut().take(kinds) {
            class.chunks_at = end;
            end = (end + class.number * class.size).next_multiple_of(PAGE);
        }
        end
    }

    fn lay_out_unbounded(&mut self) -> Result<(), Error> {
        let Choice { ceiling, places, .. } = self.choice;
        let places = if places == 0 { usual_places(self.stride) } else { places };
        let least =
            segment_bytes(places, self.stride) + (LEAST_CHUNK << class_of(self.choice.longest_chunk()));
        if ceiling < least {
            let allowed = format!("at least {least} bytes, for the first messages and one of the longest");
            return Err(Error::BadOption { what: "the ceiling", given: ceiling.to_string(), allowed });
        }
        self.choice.places = places;
        let cells_end = self.lay_out_cells();
        let areas = Areas::new(places, self.stride, ceiling, cells_end);
        let (number, entries_at) = (areas.segments - 1, areas.directory_end());
        self.classes[SEGMENTS] = Class { size: areas.bytes, number, entries_at, chunks_at: 0 };
        let end = (entries_at + number * ENTRY).next_multiple_of(PAGE);
        self.claims_at = self.lay_out_chunks(end, |size| Areas::chunks(size, ceiling));
        [self.takes_at, self.slots_at, self.total] = areas.lay_out(self.claims_at);
        self.areas = Some(areas);
        Ok(())
    }

    /// Where claims, takes and slots begin.
    pub(crate) fn begins(&self) -> [u64; 3] {
        [self.claims_at, self.takes_at, self.slots_at]
    }

    /// How many indices places have: the capacity, where there is one.
    pub(crate) fn indices(&self) -> u64 {
        self.areas.map_or(self.places(), |areas| areas.indices())
    }

    /// How many places there are, where they don't come and go.
    pub(crate) fn places(&self) -> u64 {
        if self.choice.kernel || self.choice.filed { 1 } else { self.choice.capacity.max(1) }
    }

    /// Whether something stands beside it that goes with its name.
    pub(crate) fn has_files(&self) -> bool {
        self.choice.kernel || self.choice.filed || self.choice.kind.has_files()
    }

    /// How many messages can wait, if that is limited.
    pub(crate) fn capacity(&self) -> Option<u64> {
        match self.choice.handed_on {
            true => Some(0),
            false => (self.choice.capacity != UNBOUNDED).then_some(self.choice.capacity),
        }
    }

    /// The bytes that must be memory before the segment is used.
    pub(crate) fn reserved(&self) -> u64 {
        self.rows_at + FIRST_ROWS
    }

    /// Writes the identity of a new segment.
    pub(crate) fn describe(&self, header: &Header, id: [u64; 2], mode: u32) {
        let choice = &self.choice;
        let kernel = if choice.kernel { BY_KERNEL } else { 0 } | if choice.sealed { SEALED } else { 0 };
        let kernel = kernel | if choice.filed { FILED } else { 0 };
        let kernel = kernel | if choice.handed_on { HANDED_ON } else { 0 };
        let owned = if choice.owned { PROCESS_OWNED } else { 0 };
        let flags = if choice.variable { VARIABLE } else { 0 } | owned | choice.kind.flags() | kernel;
        header.version.store(VERSION, Relaxed);
        header.kind.store(choice.kind.word(), Relaxed);
        header.total.store(self.total, Relaxed);
        header.id[0].store(id[0], Relaxed);
        header.id[1].store(id[1], Relaxed);
        header.capacity.store(choice.capacity, Relaxed);
        header.segments.places.store(choice.places, Relaxed);
        header.max_message.store(choice.max_message, Relaxed);
        header.align.store(choice.align, Relaxed);
        header.flags.store(flags, Relaxed);
        header.format_length.store(choice.format_length, Relaxed);
        header.mode.store(mode.into(), Relaxed);
        header.ceiling.store(choice.ceiling, Relaxed);
        header.answers.store(choice.answers, Relaxed);
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
        let (number, flags) = (header.kind.load(Relaxed), header.flags.load(Relaxed));
        if !(MAILBOX..=BARE).contains(&number) {
            return Err(damaged(format!("it is of kind {number}, of which nothing is known here")));
        }
        // By the kernel go those of mailboxes that processes own, and of links.
        let has_sockets = [MAILBOX, LINK].contains(&number) && flags & PROCESS_OWNED != 0;
        let by_kernel = flags & BY_KERNEL == 0 || has_sockets;
        let sealed = flags & SEALED == 0 || number == MAILBOX && flags & BY_KERNEL != 0;
        let filed = flags & FILED == 0 || number == MAILBOX && flags & (PROCESS_OWNED | BY_KERNEL) == 0;
        let handed_on = flags & HANDED_ON == 0
            || number == MAILBOX
                && flags & (PROCESS_OWNED | BY_KERNEL | FILED) == 0
                && header.capacity.load(Relaxed) == HANDED_ON_PLACES;
        let known = flags & !(VARIABLE | PROCESS_OWNED | ONE_WAY | BY_KERNEL | SEALED | FILED | HANDED_ON)
            == 0
            && sealed
            && filed
            && handed_on;
        let Some(kind) = Kind::of(number, flags).filter(|_| known && by_kernel) else {
            return Err(damaged(format!("it has flags {flags:#x}, which mean nothing here")));
        };
        let geometry = Geometry::new(Choice {
            kind,
            capacity: header.capacity.load(Relaxed),
            places: header.segments.places.load(Relaxed),
            max_message: header.max_message.load(Relaxed),
            align: header.align.load(Relaxed),
            variable: flags & VARIABLE != 0,
            owned: flags & PROCESS_OWNED != 0,
            kernel: flags & BY_KERNEL != 0,
            sealed: flags & SEALED != 0,
            filed: flags & FILED != 0,
            handed_on: flags & HANDED_ON != 0,
            format_length: header.format_length.load(Relaxed),
            ceiling: header.ceiling.load(Relaxed),
            answers: header.answers.load(Relaxed),
        })
        .map_err(|error| damaged(error.to_string()))?;
        let Choice { variable, owned, format_length, .. } = geometry.choice;
        if kind.is_data() && geometry.choice != Choice::of_data(kind, variable, owned, format_length) {
            return Err(damaged("it has data, and says that messages wait there".into()));
        }
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

#[cfg(test)]
mod tests;
