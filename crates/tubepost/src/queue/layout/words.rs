//! The shared words: what stands where in the head of a segment, in rows, entries and cells.

use super::*;

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
    /// 0, or the shortest time in milliseconds for which a receiver that came may hold a message others wait for;
    /// see `queue::fencing`. A hint: it only gets less.
    pub(crate) shortest_hold: AtomicU64,
    /// Messages that were moved to dead letters, and those that came back too often, or were rejected, and went
    /// nowhere.
    pub(crate) dead_letters: AtomicU64,
    pub(crate) discarded: AtomicU64,
    /// 0, or where messages are answered: 1 + the longest answer.
    pub(crate) answers: AtomicU64,
    pub(crate) life: Life,
    pub(crate) bells: Bells,
    pub(crate) tail: Tail,
    pub(crate) head: Head,
    pub(crate) chunks: ChunkMemory,
    pub(crate) segments: SegmentWords,
    pub(crate) meeting: Meeting,
    /// Cells for calls from this one on were never used. Only grows.
    pub(crate) calls: AtomicU32,
    pub(crate) sockets: Sockets,
    pub(crate) region: RegionWords,
    pub(crate) log: LogWords,
}

/// Of a mailbox that is kept in files; see `domain::log`.
#[repr(C, align(64))]
pub(crate) struct LogWords {
    /// How often the log was opened when nobody used it.
    pub(crate) life: AtomicU64,
    /// All messages before this one were taken. A hint, moved by `fetch_max` only.
    pub(crate) taken: AtomicU64,
    /// … and those before so many bytes of the log.
    pub(crate) taken_bytes: AtomicU64,
    /// All messages before this one are on the disk. Moved by `fetch_max` only.
    pub(crate) durable: AtomicU64,
    /// 0, or who is bringing them there: a hint.
    pub(crate) syncing: AtomicU64,
    /// 0, or the error of a write that failed: nothing can be sent any more.
    pub(crate) failed: AtomicU64,
    /// How many messages the last sync brought there, and how long it took: a hint (`strategy::file::durable`).
    pub(crate) group: AtomicU64,
}

/// Of the kernel strategy: what its owner counts, and nobody else writes.
#[repr(C, align(64))]
pub(crate) struct Sockets {
    /// Messages received.
    pub(crate) received: AtomicU64,
    /// Messages in hand.
    pub(crate) held: AtomicU64,
    /// Messages that were given back, and wait in the owner's memory.
    pub(crate) back: AtomicU64,
    /// Connections that were shut because of what came by them.
    pub(crate) shut: AtomicU64,
    /// 1: somebody closes it. (Also written by whoever does.)
    pub(crate) closing: AtomicU64,
    /// Of the sealed strategy: messages that waited when the owner last looked at all.
    pub(crate) waiting: AtomicU64,
    /// Tokens that it could not put in so far.
    pub(crate) owed: AtomicU64,
}

/// Of a region: its readers. What else there is of it is in a file of its own; see `versions::layout`.
#[repr(C, align(64))]
pub(crate) struct RegionWords {
    /// Rows of readers from this one on were never taken. Only grows.
    pub(crate) readers: AtomicU64,
}

/// How it ended.
#[repr(C, align(64))]
pub(crate) struct Life {
    /// [`OPEN`], then [`RETIRED`].
    pub(crate) state: AtomicU64,
    /// 0 until somebody has counted, then 1 + the messages never collected.
    pub(crate) uncollected: AtomicU64,
    /// Of a process that joined: 1, it left in an orderly way.
    pub(crate) left: AtomicU64,
    /// Of a link with a capacity: 0 until it is closed, then 1 + its tail.
    pub(crate) end: AtomicU64,
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
    /// Of a link with a capacity: not 0 if somebody closes it. Its sender looks here after each message.
    pub(crate) ending: AtomicU32,
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

/// Of an unbounded mailbox; see `queue::directory`.
#[repr(C, align(64))]
pub(crate) struct SegmentWords {
    /// Places in each segment; 0: it is bounded. Never changed.
    pub(crate) places: AtomicU64,
    /// All epochs before this one are over. A hint, moved by `fetch_max` only.
    pub(crate) first: AtomicU64,
    /// The segment that was freed last. A hint: its memory may still be in the caches.
    pub(crate) recent: AtomicU64,
}

/// What is known of one chunk; see `queue::chunks`.
#[repr(C, align(128))]
pub(crate) struct Entry {
    pub(crate) word: AtomicU64,
    /// So many bytes from its beginning are memory.
    pub(crate) backed: AtomicU64,
    pub(crate) length: AtomicU32,
    /// Capacity zero: where the sender sleeps that offers this.
    pub(crate) bell: AtomicU32,
    /// The position of the message.
    pub(crate) position: AtomicU64,
    /// The sender's process id and the length of its name; whether it is a copy; whether it was rejected; who
    /// holds it. See `queue::about`.
    pub(crate) about: AtomicU64,
    /// For how long at most it is held, if others wait for it; see `queue::fencing`.
    pub(crate) terms: AtomicU64,
    /// While it is OWN: so many bytes are to become memory, or were a moment ago. While it is HELD: 0, or whose copy
    /// it is; see `queue::fencing`.
    pub(crate) wanted: AtomicU64,
    /// Which member's name follows.
    pub(crate) author: AtomicU64,
    // The rest is another cache line, which is written when the author changes, and read when somebody asks.
    pub(crate) sender_name: [AtomicU64; 8],
}

/// One call under way; see `queue::calls`.
#[repr(C, align(64))]
pub(crate) struct CallCell {
    pub(crate) word: AtomicU64,
    /// Tells it from all other calls that ever had this cell.
    pub(crate) number: AtomicU64,
    /// Whose it is.
    pub(crate) caller: AtomicU32,
    /// Where that one sleeps.
    pub(crate) bell: AtomicU32,
    /// Of the answer.
    pub(crate) length: AtomicU32,
    /// The answer, or which chunk it is in.
    pub(crate) answer: [AtomicU64; 4],
}

/// Bytes of a cell for a call.
pub(crate) const CALL_CELL: u64 = size_of::<CallCell>() as u64;
/// Capacity zero: one line, read by everybody, written when a receiver waits in a fresh cell, and when a sender sleeps; see
/// `queue::handoff`.
#[repr(C, align(64))]
pub(crate) struct Meeting {
    /// Cells from this one on were never used. Only grows.
    pub(crate) cells: AtomicU32,
    /// 1: closed.
    pub(crate) closed: AtomicU32,
    /// How many offers were made so far.
    pub(crate) offers: AtomicU64,
}

/// Capacity zero: what counts.
#[repr(C, align(64))]
pub(crate) struct Numbers {
    /// The last number that is of no cell: of an offer, or a message.
    pub(crate) last: AtomicU64,
    /// How many messages were received that were in chunks.
    pub(crate) received: AtomicU64,
}

/// Capacity zero: where one receiver waits, and short messages are given to it; see `queue::handoff`.
#[repr(C, align(256))]
pub(crate) struct Cell {
    pub(crate) word: AtomicU64,
    /// Who came first is served first; then that of the message.
    pub(crate) number: AtomicU64,
    /// How many messages were received that were given here.
    pub(crate) received: AtomicU64,
    /// Where it sleeps.
    pub(crate) bell: AtomicU32,
    /// Of the message.
    pub(crate) length: AtomicU32,
    pub(crate) payload: [AtomicU64; 4],
    // The rest is other cache lines, which are written when the author changes, and read when somebody asks.
    pub(crate) signature: Signature,
}

/// Who sent what is in a cell; see `queue::about`.
#[repr(C, align(64))]
pub(crate) struct Signature {
    /// Which member's name follows.
    pub(crate) author: AtomicU64,
    /// Its process id and the length of its name.
    pub(crate) about: AtomicU64,
    pub(crate) name: [AtomicU64; 8],
}

/// The longest message that is given in a cell.
pub(crate) const IN_CELL: usize = size_of::<[AtomicU64; 4]>();

/// Bytes of a cell.
pub(crate) const CELL: u64 = size_of::<Cell>() as u64;

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
    /// Odd while the member may look into segments; see `domain::visits`.
    pub(crate) visiting: AtomicU64,
    /// Whether its member waits for a descriptor; see `sync::doors`.
    pub(crate) door: AtomicU64,
}

/// Of a region: one reader.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Reader {
    /// Whose it is: 0, or (generation, member).
    pub(crate) owner: AtomicU64,
    /// What it pins; see `versions::words`.
    pub(crate) word: AtomicU64,
    /// What it pinned when a writer first found that it is not the present version any more, and when that was.
    pub(crate) noticed: AtomicU64,
    pub(crate) since: AtomicU64,
    /// In place: how long it may take to read while a writer waits, in nanoseconds.
    pub(crate) lease: AtomicU64,
}

/// Rows for readers.
pub(crate) const READERS: u64 = 1 << 16;
/// Bytes of one.
pub(crate) const READER: u64 = size_of::<Reader>() as u64;

/// `role`: a receiver of a mailbox that is kept in files says here for how long it may hold a message at most, in milliseconds.
pub(crate) const HOLD_SHIFT: u32 = 8;
/// `role`: a sender, or somebody who cleans up.
pub(crate) const SENDS: u64 = 0;
/// `role`: a receiver.
pub(crate) const RECEIVES: u64 = 1;
/// `role`, besides: what this receiver has in hand keeps its place, and was collected only when it is accepted.
pub(crate) const KEEPS: u64 = 2;

/// The longest member name in bytes.
pub(crate) const MAX_MEMBER_NAME: usize = 64;

const _: () = {
    assert!(offset_of!(Header, version) == 0x08 && offset_of!(Header, total) == 0x10);
    assert!(offset_of!(Header, id) == 0x18 && offset_of!(Header, capacity) == 0x28);
    assert!(offset_of!(Header, mode) == 0x50 && offset_of!(Header, shortest_hold) == 0x60);
    assert!(offset_of!(Entry, sender_name) == 64);
    assert!(offset_of!(Header, life) == 0x80 && offset_of!(Header, bells) == 0xC0);
    assert!(offset_of!(Header, ceiling) == 0x58 && offset_of!(Header, chunks) == 0x180);
    assert!(offset_of!(Header, tail) == 0x100 && offset_of!(Header, head) == 0x140);
    assert!(offset_of!(Header, answers) == 0x78 && offset_of!(Header, calls) == 0x2C0);
    assert!(size_of::<Header>() == 0x3C0 && FORMAT_AT >= 0x3C0 && offset_of!(Header, sockets) == 0x300);
    assert!(offset_of!(Header, log) == 0x380 && offset_of!(LogWords, failed) == 0x28);
    assert!(offset_of!(Header, region) == 0x340 && READER == 128 && offset_of!(Reader, word) == 8);
    assert!(CALL_CELL == 64 && offset_of!(CallCell, answer) == 32);
    assert!(offset_of!(Header, meeting) == 0x280 && offset_of!(Meeting, offers) == 8);
    assert!(size_of::<Numbers>() == 64 && offset_of!(Numbers, received) == 8);
    assert!(CELL == 256 && offset_of!(Cell, bell) == 24 && offset_of!(Entry, bell) == 20);
    assert!(offset_of!(Cell, payload) == 32 && offset_of!(Cell, signature) == 64 && IN_CELL == 32);
    assert!(SPARE_CHUNKS << 5 == 1 << WHICH_BITS && MAX_CLASSES <= 1 << 5);
    assert!(offset_of!(Header, segments) == 0x240 && offset_of!(Row, visiting) == 112);
    assert!(offset_of!(Bells, doors) == 24 && offset_of!(Row, door) == 120);
    assert!(size_of::<Row>() == 128 && align_of::<Row>() <= PAGE as usize);
    assert!(size_of::<Entry>() == 128 && LEAST_CHUNK << (MAX_CLASSES - 1) == MAX_MESSAGE);
    assert!(PAGE.is_multiple_of(ROW) && ROWS == u16::MAX as u64 + 1);
    assert!(VARIABLE_PAYLOAD_AT >= LENGTH_AT + 8);
};
