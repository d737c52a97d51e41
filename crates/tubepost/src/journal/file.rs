//! One file of a log: a header, the marks, the records; mapped, every number checked.
//!
//! ```text
//! 0x0000  identity   written before the file has a name, never changed; with a check sum
//! 0x0080  hints      how far records are written, consumed, and on the disk
//! 0x0800  identity   once more
//! 0x1000  marks      8 bytes for each record there may be: who has it, or that it is done. A hole until records come
//!         records    32 bytes of header, then the message, up to a multiple of 8
//! ```
//!
//! A record: control word, check sum and the writer's process number, its number in the log, the time, the message. The check sum ([`letter`](super::letter)) is over all
//! of that but the control word, and begins with the log's id, so no bytes of another log or another place are ever taken for it.
//!
//! Records, and the marks for them, are space on the disk before anybody writes there. What can't be read, or was cut off, is zeros here and
//! [lost](LogFile::is_lost).

use super::words::{Control, Mark, Spot, UNIT};
use super::{letter, trouble};
use crate::error::Error;
use crate::memory::copy;
use crate::os::fault::Guard;
use crate::os::map::Map;
use crate::os::{Errno, file};
use std::mem::{MaybeUninit, offset_of, size_of};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicU32, AtomicU64};

/// The first eight bytes.
const MAGIC: u64 = u64::from_le_bytes(*b"tubelog\0");
/// The version of all this, and of the file that describes the log.
pub(crate) const VERSION: u32 = 2;
/// Where marks begin.
const MARKS_AT: u64 = 0x1000;
/// Bytes of a record before its message.
pub(crate) const HEAD: u64 = 32;
/// Marks whose space is reserved at one time: a page of them.
pub(crate) const MARKS: u32 = 512;
/// Space is touched ahead in steps of so many bytes.
const AHEAD: u64 = 256 << 10;
const PAGE: u64 = 4096;
/// A file is named so, after the number of its first record.
const SUFFIX: &str = ".log";

#[repr(C)]
struct Identity {
    magic: AtomicU64,
    version: AtomicU32,
    check: AtomicU32,
    id: [AtomicU64; 2],
    /// The number of its first record.
    first: AtomicU64,
    /// Bytes of records in all files before it.
    begins: AtomicU64,
    /// Bytes of records in this one.
    bytes: AtomicU64,
    /// When it was made, in nanoseconds since 1970.
    made: AtomicU64,
}

/// What changes. All [`Spot`]s, and hints: each is right, or behind.
#[repr(C)]
pub(crate) struct Hints {
    /// Records before are claimed.
    pub(crate) tail: AtomicU64,
    _1: [u64; 7],
    /// Marks before are not fresh.
    pub(crate) taken: AtomicU64,
    /// So many marks from the first on are done.
    pub(crate) done: AtomicU64,
    _2: [u64; 6],
    /// Records before are on the disk.
    pub(crate) durable: AtomicU64,
    /// 1: so is the name of the file.
    pub(crate) named: AtomicU64,
}

const HINTS_AT: usize = 0x80;
/// Where the identity stands once more, in case that the first sector is damaged.
const COPY_AT: usize = 0x800;
const _: () = assert!(offset_of!(Identity, made) == 0x38 && size_of::<Identity>() <= HINTS_AT);
const _: () = assert!(HINTS_AT + size_of::<Hints>() <= COPY_AT);

/// What is said with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) number: u64,
    /// When it was sent, in nanoseconds since 1970.
    pub(crate) time: u64,
    pub(crate) pid: u32,
}

/// A file of a log, mapped.
#[derive(Debug)]
pub(crate) struct LogFile {
    // In this order: it is guarded for as long as it is mapped.
    map: Map,
    guard: Guard,
    pub(crate) first: u64,
    pub(crate) begins: u64,
    pub(crate) made: u64,
    /// Records, in units.
    pub(crate) units: u32,
    records_at: usize,
    /// Where check sums begin, which depends on the log.
    pub(super) seed: u32,
    pub(crate) path: PathBuf,
    /// Of its two identities one is damaged: where the other one is.
    sound: Option<usize>,
    /// How many records it has, once it is known where it ends; else `u32::MAX`.
    pub(crate) ended: AtomicU32,
}

impl AsRef<LogFile> for LogFile {
    fn as_ref(&self) -> &LogFile {
        self
    }
}

/// How a file of so many bytes of records is laid out.
#[derive(Clone, Copy, Debug)]
struct Shape {
    records_at: u64,
    total: u64,
}

impl Shape {
    fn of(bytes: u64) -> Option<Shape> {
        let possible = bytes.is_multiple_of(PAGE) && bytes > 0 && bytes / UNIT <= u64::from(u32::MAX);
        let records_at = MARKS_AT + (bytes / HEAD * 8).next_multiple_of(PAGE);
        possible.then(|| Shape { records_at, total: records_at + bytes })
    }
}

/// What a file is called whose first record has this number.
pub(crate) fn called(first: u64) -> String {
    format!("{first:020}{SUFFIX}")
}

/// The number of the first record of a file that is called so.
pub(crate) fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    (digits.len() == 20 && digits.bytes().all(|it| it.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// Whose log it is: where check sums begin.
fn seed(id: [u64; 2]) -> u32 {
    sum(&id)
}

/// What a new file is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) id: [u64; 2],
    pub(crate) first: u64,
    pub(crate) begins: u64,
    /// Bytes of records.
    pub(crate) bytes: u64,
    pub(crate) made: u64,
    pub(crate) mode: u32,
    pub(crate) group: Option<u32>,
    /// Whether it has to be on the disk before it has a name.
    pub(crate) durable: bool,
}

impl LogFile {
    /// Makes a file, if there is none of this name yet. `false`: somebody else made it.
    pub(crate) fn create(directory: &Path, wanted: &Wanted) -> Result<bool, Errno> {
        let shape = Shape::of(wanted.bytes).ok_or(Errno::FBIG)?;
        let fd = file::make_nameless(directory, shape.total, MARKS_AT + PAGE)?;
        file::reserve(fd.as_fd(), shape.records_at, wanted.bytes)?;
        file::permit(fd.as_fd(), wanted.mode, wanted.group)?;
        let fields = [wanted.id[0], wanted.id[1], wanted.first, wanted.begins, wanted.bytes, wanted.made];
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(&MAGIC.to_le_bytes());
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&sum(&fields).to_le_bytes());
        fields.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
        file::write_at(fd.as_fd(), &bytes, 0)?;
        file::write_at(fd.as_fd(), &bytes, COPY_AT as u64)?;
        if wanted.durable {
            file::sync(fd.as_fd())?;
        }
        match file::publish(fd.as_fd(), &directory.join(called(wanted.first))) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Maps a file, to write to it or to look.
    ///
    /// A directory has a way by which it is reached, and a name by which people know it.
    pub(crate) fn open(
        (reach, known): (&Path, &Path),
        first: u64,
        id: [u64; 2],
        writes: bool,
    ) -> Result<LogFile, Error> {
        let path = known.join(called(first));
        let open = if writes { file::open_file } else { file::open_to_look_at };
        let fd = open(&reach.join(called(first))).map_err(|errno| trouble("to open", &path, errno))?;
        LogFile::map(fd.as_fd(), path, first, id, writes)
    }

    fn map(
        fd: BorrowedFd<'_>,
        path: PathBuf,
        first: u64,
        id: [u64; 2],
        writes: bool,
    ) -> Result<LogFile, Error> {
        let damaged = |what: String| Error::Damaged { name: path.display().to_string(), what };
        let facts = file::facts(fd).map_err(|errno| trouble("to inspect", &path, errno))?;
        if !facts.is_file || facts.length < MARKS_AT {
            return Err(damaged(format!("it has only {} bytes", facts.length)));
        }
        let (fields, sound) = identity(fd, &path, first, id)?;
        let shape = Shape::of(fields[4]).filter(|shape| shape.total == facts.length);
        let Some(shape) = shape else {
            let (length, records) = (facts.length, fields[4]);
            return Err(damaged(format!(
                "it has {length} bytes, which is not for {records} bytes of records"
            )));
        };
        let length = usize::try_from(shape.total).map_err(|_| damaged("it is larger than memory".into()))?;
        let map = if writes { Map::new(fd, length) } else { Map::to_look_at(fd, length) };
        let map = map.map_err(|errno| trouble("to map", &path, errno))?;
        let guard = Guard::over(map.start().as_ptr() as usize, length);
        Ok(LogFile {
            guard,
            first,
            begins: fields[3],
            made: fields[5],
            units: (fields[4] / UNIT) as u32,
            sound,
            records_at: shape.records_at as usize,
            seed: seed(id),
            ended: AtomicU32::new(u32::MAX),
            path,
            map,
        })
    }

    /// Makes both identities the same again. Whether one was damaged. The caller has the log alone.
    pub(crate) fn put_identity_right(&self) -> bool {
        let Some(sound) = self.sound else { return false };
        for at in (0..size_of::<Identity>()).step_by(8) {
            let word = self.word(sound + at).load(Relaxed);
            self.word(COPY_AT - sound + at).store(word, Relaxed);
        }
        true
    }

    pub(crate) fn has_damaged_identity(&self) -> bool {
        self.sound.is_some()
    }

    /// Gives a file that was cut off its length again; the rest of it is zeros. Gives how many bytes were missing. The caller has the log alone.
    pub(crate) fn lengthen(reach: &Path, path: &Path, first: u64, id: [u64; 2]) -> Result<u64, Error> {
        let failed = |errno| trouble("to lengthen", path, errno);
        let fd = file::open_file(&reach.join(called(first))).map_err(failed)?;
        let length = file::facts(&fd).map_err(failed)?.length;
        let (fields, _) = identity(fd.as_fd(), path, first, id)?;
        let Some(shape) = Shape::of(fields[4]).filter(|shape| length < shape.total) else { return Ok(0) };
        rustix::fs::ftruncate(&fd, shape.total).map_err(failed)?;
        file::reserve(fd.as_fd(), shape.records_at, fields[4]).map_err(failed)?;
        Ok(shape.total - length)
    }

    /// Whether some of it could not be read: nothing that was seen since is to be believed.
    #[inline]
    pub(crate) fn is_lost(&self) -> bool {
        self.guard.is_lost()
    }

    pub(crate) fn lost(&self) -> Error {
        trouble("to read", &self.path, Errno::IO)
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.map.is_writable()
    }

    #[inline]
    pub(super) fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(8) && at + 8 <= self.map.length());
        // SAFETY: invariant 1: within the mapping and aligned, as just asserted; atomics only, and it lives as long as the borrow.
        unsafe { &*self.map.start().as_ptr().add(at).cast() }
    }

    pub(crate) fn hints(&self) -> &Hints {
        assert!(self.map.length() >= MARKS_AT as usize);
        // SAFETY: invariant 1: in the first page, which every file has; atomics only.
        unsafe { &*self.map.start().as_ptr().add(HINTS_AT).cast() }
    }

    /// The control word at this place. `None`: the file ends before.
    #[inline]
    pub(crate) fn control(&self, at: u32) -> Option<&AtomicU64> {
        (at < self.units).then(|| self.word(self.start_of(at)))
    }

    #[inline]
    pub(crate) fn control_at(&self, at: u32) -> Control {
        self.control(at).map_or(Control::NOTHING, |word| Control::of(word.load(Acquire)))
    }

    /// The number that a record at this place says it has.
    pub(crate) fn stored_number(&self, at: u32) -> Option<u64> {
        let head = (HEAD / UNIT) as u32;
        let there = u64::from(at) + u64::from(head) <= u64::from(self.units);
        there.then(|| self.word(self.start_of(at) + 16).load(Relaxed))
    }

    /// When the record at this place says that it was sent.
    pub(crate) fn stored_time(&self, at: u32) -> Option<u64> {
        let head = (HEAD / UNIT) as u32;
        let there = u64::from(at) + u64::from(head) <= u64::from(self.units);
        there.then(|| self.word(self.start_of(at) + 24).load(Relaxed))
    }

    /// The most records there can be.
    pub(crate) fn most(&self) -> u32 {
        self.units / (HEAD / UNIT) as u32
    }

    /// The mark of a record. `None`: there is no such record.
    #[inline]
    pub(crate) fn mark(&self, index: u32) -> Option<&AtomicU64> {
        (index < self.most()).then(|| self.word(MARKS_AT as usize + index as usize * 8))
    }

    #[inline]
    pub(crate) fn mark_at(&self, index: u32) -> Mark {
        self.mark(index).map_or(Mark::DONE, |word| Mark::of(word.load(Acquire)))
    }

    /// Makes sure that there is space for the mark of a record, which is about to be claimed.
    #[inline]
    pub(crate) fn prepare(&self, spot: Spot) -> Result<(), Errno> {
        if spot.index.is_multiple_of(MARKS) { self.prepare_marks(spot.index) } else { Ok(()) }
    }

    /// Touches the space behind a record that was claimed, once in so many bytes: page by page it takes longer.
    #[inline]
    pub(crate) fn touch_ahead(&self, at: u32, units: u64) {
        const STEP: u64 = AHEAD / UNIT;
        let (from, to) = (u64::from(at) / STEP, (u64::from(at) + units) / STEP);
        if from != to || at == 0 {
            self.touch((to * STEP) as usize);
        }
    }

    #[cold]
    fn prepare_marks(&self, index: u32) -> Result<(), Errno> {
        let at = (MARKS_AT as usize + index as usize * 8).min(self.records_at - PAGE as usize);
        self.map.reserve(at, PAGE as usize)
    }

    #[cold]
    fn touch(&self, units: usize) {
        let step = AHEAD as usize;
        let at = self.records_at + (units * UNIT as usize).next_multiple_of(step);
        if at < self.map.length() {
            // If that fails, it is touched when it is written.
            let _ = self.map.reserve(at, step.min(self.map.length() - at));
        }
    }

    /// Where the record at this place begins in the mapping.
    #[inline]
    pub(super) fn start_of(&self, at: u32) -> usize {
        self.records_at + at as usize * UNIT as usize
    }

    /// Writes a record at a place that was claimed for it, and is in the file as a whole.
    #[inline]
    pub(crate) fn write(&self, at: u32, about: &About, message: &[u8]) {
        let start = self.start_of(at);
        let end = start + HEAD as usize + message.len();
        assert!(end <= self.map.length());
        let check = letter::sum_of(self.seed, about, message);
        self.word(start + 8).store(u64::from(check) | u64::from(about.pid) << 32, Relaxed);
        self.word(start + 16).store(about.number, Relaxed);
        self.word(start + 24).store(about.time, Relaxed);
        // SAFETY: invariant 1: within the mapping, as asserted.
        unsafe { copy::write(self.map.start().as_ptr().add(start + HEAD as usize), message) };
    }

    /// Copies from the mapping.
    #[inline]
    pub(super) fn copy_out(&self, from: usize, to: &mut [MaybeUninit<u8>]) {
        assert!(from <= self.map.length() && to.len() <= self.map.length() - from);
        // SAFETY: invariant 1: within the mapping, as asserted.
        unsafe { copy::read(self.map.start().as_ptr().add(from), to) }
    }

    /// Brings records up to this place, and all that changed before, to the disk.
    pub(crate) fn sync(&self, from: u32, to: u32) -> Result<(), Errno> {
        let page = |at: usize| at & !(PAGE as usize - 1);
        let begin = page(self.records_at + from as usize * UNIT as usize);
        let end = (self.records_at + to as usize * UNIT as usize).min(self.map.length());
        if begin >= end {
            return Ok(()); // records fill the file to its last byte: nothing stands behind them
        }
        self.map.sync(begin, end.next_multiple_of(PAGE as usize) - begin)
    }

    /// Brings what the header says to the disk.
    pub(crate) fn sync_head(&self) -> Result<(), Errno> {
        self.map.sync(0, PAGE as usize)
    }

    /// Brings the whole file to the disk.
    pub(crate) fn sync_all(&self) -> Result<(), Errno> {
        self.map.sync(0, self.map.length())
    }

    /// Has the system take for changed what is between two places: the records, their marks, the header.
    pub(crate) fn write_again(&self, from: Spot, to: Spot) {
        let records = |spot: Spot| self.records_at + spot.units as usize * UNIT as usize;
        let marks = |spot: Spot| MARKS_AT as usize + spot.index as usize * 8;
        let parts = [(HINTS_AT, HINTS_AT + 1), (marks(from), marks(to)), (records(from), records(to))];
        for (from, to) in parts {
            for at in (from & !(PAGE as usize - 1)..to.min(self.map.length())).step_by(PAGE as usize) {
                let word = self.word(at);
                // Not a load and a store, which a compiler may leave out.
                let seen = word.load(Relaxed);
                let _ = word.compare_exchange(seen, seen, Relaxed, Relaxed);
            }
        }
    }

    /// Makes everything from this place on as if nobody had ever written there. Gives how many bytes somebody had.
    pub(crate) fn wipe(&self, from: Spot) -> u64 {
        let begin = self.records_at + from.units as usize * UNIT as usize;
        let wiped = self.zero(begin, self.map.length());
        self.zero(MARKS_AT as usize + from.index as usize * 8, self.records_at);
        wiped
    }

    /// Gives how many bytes up to the last that was not zero.
    fn zero(&self, from: usize, to: usize) -> u64 {
        let mut last = from;
        for at in (from..to).step_by(8) {
            let word = self.word(at);
            // What was never written is not to become pages.
            if word.load(Relaxed) != 0 {
                word.store(0, Relaxed);
                last = at + 8;
            }
        }
        (last - from) as u64
    }
}

/// What a file says that it is, in the one place or the other; and where, if the other one is damaged.
fn identity(
    fd: BorrowedFd<'_>,
    path: &Path,
    first: u64,
    id: [u64; 2],
) -> Result<([u64; 6], Option<usize>), Error> {
    let read = |at: usize| {
        let mut bytes = [0; size_of::<Identity>()];
        file::read_at(fd, &mut bytes, at as u64).map_err(|errno| trouble("to read", path, errno))?;
        let (words, _) = bytes.as_chunks::<8>();
        let word = |at: usize| u64::from_le_bytes(words[at]);
        let damaged = |what: String| Error::Damaged { name: path.display().to_string(), what };
        if word(0) != MAGIC {
            return Err(damaged(format!("it begins with {:#018x}, not with \"tubelog\"", word(0))));
        }
        let fields = [word(2), word(3), word(4), word(5), word(6), word(7)];
        if (word(1) >> 32) as u32 != sum(&fields) {
            return Err(damaged("its header has another check sum than it says".into()));
        }
        let found = word(1) as u32;
        if found != VERSION {
            return Err(Error::WrongVersion { name: path.display().to_string(), found, supported: VERSION });
        }
        if fields[..2] != id || fields[2] != first {
            return Err(damaged("it is of another log, or another part of this one".into()));
        }
        Ok(fields)
    };
    match (read(0), read(COPY_AT)) {
        (Ok(fields), Ok(copy)) if fields == copy => Ok((fields, None)),
        (Ok(fields), _) => Ok((fields, Some(0))),
        (Err(_), Ok(fields)) => Ok((fields, Some(COPY_AT))),
        (Err(error), Err(_)) => Err(error),
    }
}

fn sum(fields: &[u64]) -> u32 {
    fields.iter().fold(0, |sum, word| crc32c::crc32c_append(sum, &word.to_le_bytes()))
}
