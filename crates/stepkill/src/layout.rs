//! A mailbox's file as docs/format.md describes it, beside the library: where everything is, and which rows, chunks and
//! cells are somebody's.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const PAGE: u64 = 4096;
pub const ROW: u64 = 128;
pub const ENTRY: u64 = 128;
/// How many chunks of a class were ever used, four bytes for each class.
const EVER_AT: u64 = 0x180;
/// How many cells were ever used, where nothing waits.
const CELLS_AT: u64 = 0x280;
pub const CELL: u64 = 256;
/// How many offers were made, where nothing waits.
const OFFERS_AT: u64 = 0x288;
/// What a cell says that its receiver keeps, and does not wait in.
const OWN: u64 = 1;
/// What a cell says whose receiver was given a chunk.
const GIVEN: u64 = 3;
/// 0, or where messages are answered: 1 + the longest answer.
const ANSWERS_AT: u64 = 0x78;
/// How many cells for calls were ever used.
const CALLS_AT: u64 = 0x2C0;
pub const CALL: u64 = 64;
/// What a call's cell says whose answer is there, and not read.
const ANSWERED: u64 = 4;
/// The flag of messages in files.
const FILED: u64 = 32;
/// The class of segments.
const SEGMENTS: u64 = 25;

/// Where everything is.
#[derive(Debug)]
pub struct Layout {
    pub capacity: u64,
    pub claims: u64,
    pub takes: u64,
    pub slots: u64,
    pub stride: u64,
    pub rows: u64,
    /// Where receivers wait, where nothing else does.
    pub cells: u64,
    /// Where calls are under way, where messages are answered; else 0.
    pub calls: u64,
    pub classes: Vec<Class>,
    /// Where it is unbounded.
    pub segments: Option<Segments>,
}

/// Where places are that come and go.
#[derive(Debug)]
pub struct Segments {
    /// Their entries; their parts are elsewhere.
    pub class: Class,
    /// Where the directory is, and of how many words.
    pub directory: u64,
    pub epochs: u64,
    /// So many places each has, …
    pub places: u64,
    /// … and so many indices.
    pub spacing: u64,
}

/// Chunks of one length.
#[derive(Debug)]
pub struct Class {
    pub size: u64,
    pub number: u64,
    pub entries: u64,
    pub chunks: u64,
}

impl Layout {
    /// Of a mailbox whose header is as it should be; `word` reads it.
    pub fn of(word: impl Fn(u64) -> u64) -> Layout {
        let (capacity, longest, align, flags, format) =
            (word(0x28), word(0x30), word(0x38), word(0x40), word(0x48));
        let (ceiling, answers) = (word(0x58), word(ANSWERS_AT));
        let variable = flags & 1 != 0;
        if capacity == u64::MAX {
            return Layout::endless(&word);
        }
        let in_line = if capacity == 0 {
            0
        } else if longest <= 4096 {
            longest
        } else {
            240 * u64::from(variable)
        };
        let payload = if !variable && longest <= 4096 && capacity > 0 { align.max(8) } else { 16 };
        let stride = (payload + in_line).next_multiple_of(64);
        let claims = (0x400 + format).next_multiple_of(64);
        if flags & FILED != 0 {
            return Layout::of_files(claims, stride);
        }
        // Where nothing waits there is one place that stays empty, and 64 bytes of numbers.
        let places = capacity.max(1);
        let numbers = if capacity == 0 { 64 } else { 0 };
        let takes = (claims + 8 * places).next_multiple_of(64);
        let slots = (takes + 8 * places).next_multiple_of(64);
        let rows = (slots + places * stride + numbers).next_multiple_of(PAGE);
        let cells = rows + 65_536 * ROW;
        let mut end = cells + if capacity == 0 { 65_536 * CELL } else { 0 };
        let calls = if answers == 0 { 0 } else { end };
        end += if answers == 0 { 0 } else { 65_536 * CALL };
        let mut classes = Vec::new();
        for class in 0..25 {
            let size = 64 << class;
            let spare = ((1 << 26) / size).clamp(64, 4096);
            let number = (capacity + spare).min(2 * ceiling / size + 1);
            classes.push(Class { size, number, entries: end, chunks: 0 });
            end = (end + number * ENTRY).next_multiple_of(PAGE);
            if size >= longest.max(answers) {
                break;
            }
        }
        for class in &mut classes {
            class.chunks = end;
            end = (end + class.number * class.size).next_multiple_of(PAGE);
        }
        Layout { capacity, claims, takes, slots, stride, rows, cells, calls, classes, segments: None }
    }

    /// Where messages are in files: one place that stays empty, and the rows.
    fn of_files(claims: u64, stride: u64) -> Layout {
        let (takes, slots) = (claims + 64, claims + 128);
        let rows = (slots + stride).next_multiple_of(PAGE);
        let cells = rows + 65_536 * ROW;
        Layout {
            capacity: 1,
            claims,
            takes,
            slots,
            stride,
            rows,
            cells,
            calls: 0,
            classes: Vec::new(),
            segments: None,
        }
    }

    /// How many positions further the same place means another.
    pub fn ring(&self) -> u64 {
        self.segments.as_ref().map_or(self.capacity, |segments| segments.places)
    }

    /// The same without a capacity: what is in segments comes last.
    fn endless(word: impl Fn(u64) -> u64) -> Layout {
        let (longest, align, flags, format) = (word(0x30), word(0x38), word(0x40), word(0x48));
        let (ceiling, answers, places) = (word(0x58), word(ANSWERS_AT), word(0x240));
        let variable = flags & 1 != 0;
        let stride = if variable {
            16 + longest.min(240)
        } else if longest > 4096 {
            16
        } else {
            align.max(8) + longest
        };
        let stride = stride.next_multiple_of(64);
        let rows = (0x400 + format).next_multiple_of(64).next_multiple_of(PAGE);
        let cells = rows + 65_536 * ROW;
        let calls = if answers == 0 { 0 } else { cells };
        let directory = cells + if answers == 0 { 0 } else { 65_536 * CALL };
        let bytes = 2 * (8 * places).next_multiple_of(PAGE) + (places * stride).next_multiple_of(PAGE);
        let segments = (ceiling / bytes + 2).min((1 << 24) - 1);
        let spacing = places.max(512);
        let epochs = segments.next_power_of_two().max(512);
        let entries = (directory + 8 * epochs).next_multiple_of(PAGE);
        let mut end = (entries + (segments - 1) * ENTRY).next_multiple_of(PAGE);
        let mut classes = Vec::new();
        for class in 0..25 {
            let size = 64 << class;
            let number = (2 * ceiling / size + 1).min(1 << 28);
            classes.push(Class { size, number, entries: end, chunks: 0 });
            end = (end + number * ENTRY).next_multiple_of(PAGE);
            if size >= longest.max(answers) {
                break;
            }
        }
        for class in &mut classes {
            class.chunks = end;
            end = (end + class.number * class.size).next_multiple_of(PAGE);
        }
        let takes = end + segments * spacing * 8;
        let slots = takes + segments * spacing * 8;
        let class = Class { size: bytes, number: segments - 1, entries, chunks: 0 };
        let segments = Some(Segments { class, directory, epochs, places, spacing });
        let (capacity, claims) = (u64::MAX, end);
        Layout { capacity, claims, takes, slots, stride, rows, cells, calls, classes, segments }
    }
}

/// What is in use in a mailbox.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Rows that are not clean, and the processes that they name.
    pub rows: Vec<(u64, u64)>,
    /// Chunks that are not free.
    pub chunks: Vec<Chunk>,
    /// So many segments are in the directory.
    pub appended: usize,
    /// Words of cells that are not free.
    pub cells: Vec<u64>,
    /// Words of calls' cells that are not free, and which chunk the answer is in.
    pub calls: Vec<(u64, Option<u64>)>,
}

impl Used {
    /// Whether no chunk is used but for segments that wait for the next messages.
    pub fn has_no_chunks(&self) -> bool {
        self.chunks.iter().all(Chunk::is_last_segment) && self.chunks.len() <= self.appended
    }

    /// None is in use but by receivers of this process that live, and keep theirs: one each.
    pub fn has_no_cells(&self, me: u64) -> bool {
        let keeper = |word: &u64| (word >> 16 & 7 == OWN).then_some((word & 0xffff, me));
        let keepers: Vec<_> = self.cells.iter().map(keeper).collect();
        let lives = |at: usize| {
            keepers[at].is_some_and(|row| self.rows.contains(&row)) && !keepers[..at].contains(&keepers[at])
        };
        (0..keepers.len()).all(lives) && self.calls.is_empty()
    }

    /// Whether this chunk is an answer that its caller has not read.
    pub fn answers(&self, chunk: &Chunk) -> bool {
        let which = chunk.class << 32 | chunk.index;
        self.calls.iter().any(|(word, in_chunk)| word >> 16 & 7 == ANSWERED && *in_chunk == Some(which))
    }

    /// Whether a cell names this chunk: it was given to who waits there.
    pub fn gives(&self, chunk: &Chunk) -> bool {
        let which = chunk.class << 12 | chunk.index;
        self.cells.iter().any(|word| word >> 16 & 7 == GIVEN && word >> 19 & 0x1_ffff == which)
    }
}

/// A chunk that is not free.
#[derive(Debug, PartialEq, Eq)]
pub struct Chunk {
    pub class: u64,
    pub index: u64,
    pub purpose: u64,
    pub member: u64,
}

impl Chunk {
    /// A segment that waits for the next messages, and is nobody's.
    pub fn is_last_segment(&self) -> bool {
        const LINKED: u64 = 2;
        (self.class, self.purpose, self.member) == (SEGMENTS, LINKED, 0)
    }
}

/// So many rows and chunks are looked at beyond the marks of those that were ever used: whoever uses one
/// and dies has to have moved the mark before.
const BEYOND: u64 = 16;

/// The id of the mailbox, as the library spells it.
pub fn id(path: &Path) -> Option<String> {
    let file = File::open(path).ok()?;
    let mut words = [[0; 8]; 2];
    file.read_exact_at(&mut words[0], 0x18).ok()?;
    file.read_exact_at(&mut words[1], 0x20).ok()?;
    let [one, two] = words.map(u64::from_ne_bytes);
    Some(format!("{one:016x}{two:016x}"))
}

/// Whether the mailbox is closed or retired, and has this name still.
pub fn is_over(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let mut words = [[0; 8]; 2];
    words.iter_mut().zip([0x80, 0x88]).all(|(word, at)| file.read_exact_at(word, at).is_ok())
        && words.map(u64::from_le_bytes) != [1, 0]
}

/// What changes whenever somebody asks: how often a place was claimed; where nothing waits, how many offers were made.
pub fn asked(file: &File) -> u64 {
    let word = |at| word(file, at);
    let layout = Layout::of(word);
    let claims = |first: u64, number: u64| {
        (first..first + number).map(|place| word(layout.claims + 8 * place) >> 19).sum::<u64>()
    };
    match &layout.segments {
        Some(segments) => {
            let ever = word(EVER_AT + SEGMENTS / 2 * 8) >> 32;
            (1..=ever).map(|segment| claims(segment * segments.spacing, segments.places)).sum()
        }
        None if layout.capacity == 0 => word(OFFERS_AT),
        None => claims(0, layout.capacity),
    }
}

/// Whether what somebody asked who gave up at once was sent, where it was that before. (Where nothing waits, it was not
/// if it had to be offered; without a capacity it always is.)
pub fn was_sent(file: &File, before: u64) -> bool {
    let capacity = word(file, 0x28);
    capacity == u64::MAX || (capacity == 0) == (asked(file) == before)
}

/// What is beyond the end or was never written is zero.
fn word(file: &File, at: u64) -> u64 {
    let mut bytes = [0; 8];
    let _ = file.read_exact_at(&mut bytes, at);
    u64::from_le_bytes(bytes)
}

/// Reads it all.
pub fn used(path: &Path) -> Result<Used, String> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let word = |at| word(&file, at);
    let layout = Layout::of(word);
    let mut used = Used::default();
    let rows = (1..word(0x108).max(2) + BEYOND).map(|row| (row, layout.rows + ROW * row));
    let not_clean = rows.filter(|(_, at)| word(*at) & 3 != 0);
    used.rows.extend(not_clean.map(|(row, at)| (row, word(at + 16))));
    if layout.capacity == 0 {
        let cells = (0..(word(CELLS_AT) & 0xffff_ffff) + BEYOND).map(|cell| word(layout.cells + CELL * cell));
        used.cells.extend(cells.filter(|word| word >> 16 & 7 != 0));
    }
    if layout.calls > 0 {
        let calls = (0..(word(CALLS_AT) & 0xffff_ffff) + BEYOND).map(|call| layout.calls + CALL * call);
        let in_chunk = |at: u64| (word(at + 24) >> 31 & 1 == 1).then(|| word(at + 32));
        used.calls.extend(calls.filter(|at| word(*at) >> 16 & 7 != 0).map(|at| (word(at), in_chunk(at))));
    }
    if let Some(segments) = &layout.segments {
        let words = (0..segments.epochs).map(|epoch| word(segments.directory + 8 * epoch));
        used.appended = words.filter(|word| word & 0xff_ffff != 0).count();
    }
    let segments = layout.segments.iter().map(|segments| (SEGMENTS, &segments.class));
    for (kind, class) in (0..).zip(&layout.classes).chain(segments) {
        let ever = (word(EVER_AT + kind / 2 * 8) >> (32 * (kind % 2))) & 0xffff_ffff;
        for index in 0..(ever + BEYOND).min(class.number) {
            let chunk = word(class.entries + ENTRY * index);
            let (purpose, member) = (chunk >> 16 & 7, chunk & 0xffff);
            if purpose != 0 {
                used.chunks.push(Chunk { class: kind, index, purpose, member });
            }
        }
    }
    Ok(used)
}
