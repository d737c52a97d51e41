//! What is in a buffer, and how it is brought up to date.
//!
//! A buffer that is *whole* at version v has all of v. To make it the present version w, only what the versions from v + 1 to w
//! changed has to be copied, if that is told: the present buffer's changes say, newest last, which bytes each version changed, and after which
//! version nothing is left out. Small data is copied whole.
//!
//! Who edits a buffer first says that it is not whole, and says that it is only after its commit. So a buffer of one who was fenced, or died, is
//! never built upon; and what is told of changes becomes true with the commit of the buffer it stands beside.

use super::layout::{BACKED, Changes, MOST_CHANGES, PARTLY_BACKED, TOLD_FROM};
use super::mapped::Mapped;
use super::words::Buffer;
use crate::memory::copy;
use crate::os::Errno;
use std::ops::Range;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// What an editor changed.
#[derive(Debug)]
pub(crate) enum Edited {
    Nothing,
    All,
    /// These bytes. (In a box, so that this is short.)
    #[allow(clippy::box_collection, reason = "who changes everything, as most do, has one word for it")]
    Ranges(Box<Vec<Range<u64>>>),
}

impl Edited {
    #[inline(always)]
    pub(crate) fn new(all: bool) -> Edited {
        if all { Edited::All } else { Edited::Nothing }
    }

    /// More was, or will be, changed.
    pub(crate) fn add(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        if let Edited::Nothing = self {
            *self = Edited::Ranges(Box::default());
        }
        let Edited::Ranges(ranges) = self else { return };
        // Those that follow one another are one.
        if let Some(last) = ranges.last_mut()
            && range.start <= last.end
            && last.start <= range.end
        {
            *last = last.start.min(range.start)..last.end.max(range.end);
            return;
        }
        ranges.push(range);
        if ranges.len() > MOST_CHANGES / 2 {
            *self = Edited::All;
        }
    }

    /// Whether nothing was.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self, Edited::Nothing)
    }

    /// Anything may have been changed.
    #[inline(always)]
    pub(crate) fn add_all(&mut self) {
        *self = Edited::All;
    }
}

impl Mapped {
    fn is_told(&self) -> bool {
        self.layout.shape.length >= TOLD_FROM
    }

    /// Whether all of a buffer has memory.
    #[inline(always)]
    pub(crate) fn is_backed(&self, buffer: Buffer) -> bool {
        self.buffer_head(buffer).backed.load(Acquire) == BACKED
    }

    /// Makes sure that a buffer has memory. The caller edits it.
    #[inline]
    pub(crate) fn take_memory(&self, buffer: Buffer) -> Result<(), Errno> {
        let head = self.buffer_head(buffer);
        if head.backed.load(Acquire) != BACKED {
            // Some of it has memory from here on: so much is given back, if the rest can't be had, or we die.
            head.backed.store(PARTLY_BACKED, Release);
            self.back(buffer).inspect_err(|_| self.lose_memory(buffer))?;
            head.backed.store(BACKED, Release);
        }
        Ok(())
    }

    /// Gives its memory back. The caller edits it.
    pub(crate) fn lose_memory(&self, buffer: Buffer) {
        let head = self.buffer_head(buffer);
        head.whole.store(0, Release);
        head.backed.store(PARTLY_BACKED, Release);
        self.give_back(buffer);
        head.backed.store(0, Release);
    }

    /// Makes a buffer the same as the present one; tells how many bytes that took. The caller edits it.
    #[inline]
    pub(crate) fn bring_up_to_date(&self, buffer: Buffer, present: Buffer) -> u64 {
        let head = self.buffer_head(buffer);
        let whole = head.whole.load(Acquire);
        head.whole.store(0, Release);
        let length = self.layout.shape.length;
        if !self.is_told() || !self.copy_changes(buffer, present, whole) {
            self.copy(buffer, present, 0..length);
            return length;
        }
        0
    }

    /// The same for data so short that it is copied whole.
    #[inline(always)]
    pub(crate) fn copy_all(&self, buffer: Buffer, present: Buffer) {
        self.overwrite(buffer);
        // SAFETY: both are so long, for they lie that far apart.
        unsafe { copy::lines(self.data(buffer), self.data(present), self.layout.room as usize) }
    }

    /// Nothing of it will be kept.
    #[inline(always)]
    pub(crate) fn overwrite(&self, buffer: Buffer) {
        self.buffer_head(buffer).whole.store(0, Release);
    }

    /// Copies what was changed since `whole`, if that is told.
    fn copy_changes(&self, to: Buffer, from: Buffer, whole: u64) -> bool {
        let told = self.changes(from);
        let present = self.buffer_head(from).version.load(Acquire);
        if whole == 0 || whole > present || told.after.load(Acquire) > whole {
            return false;
        }
        for change in newest(told) {
            if change.0 > whole {
                self.copy(to, from, change.1..change.2);
            }
        }
        true
    }

    /// Copies these bytes, as far as there are such.
    #[inline]
    fn copy(&self, to: Buffer, from: Buffer, range: Range<u64>) {
        let to_end = range.end.min(self.layout.shape.length);
        let Some(length) = to_end.checked_sub(range.start).filter(|length| *length > 0) else { return };
        let start = range.start as usize;
        // SAFETY: both ranges lie in their buffers, as just checked.
        unsafe { copy::across(self.data(to).add(start), self.data(from).add(start), length as usize) }
    }

    /// Says which version a buffer will be, and what was changed. The caller edits it, and commits it next.
    #[inline(always)]
    pub(crate) fn describe(&self, buffer: Buffer, present: Buffer, edited: &Edited) -> u64 {
        let version = self.buffer_head(present).version.load(Acquire).wrapping_add(1);
        self.buffer_head(buffer).version.store(version, Release);
        if self.is_told() {
            self.tell_changes(buffer, present, version, edited);
        }
        version
    }

    #[cold]
    fn tell_changes(&self, buffer: Buffer, present: Buffer, version: u64, edited: &Edited) {
        let (before, now) = (self.changes(present), self.changes(buffer));
        if let Edited::All = edited {
            now.after.store(version, Relaxed);
            now.number.store(0, Release);
            return;
        }
        let mut after = before.after.load(Acquire);
        let mut all: Vec<_> = newest(before).collect();
        if let Edited::Ranges(ranges) = edited {
            all.extend(ranges.iter().map(|range| (version, range.start, range.end)));
        }
        // What is left out is left out of all older versions.
        let surplus = all.len().saturating_sub(MOST_CHANGES);
        if let Some(last) = all[..surplus].last() {
            after = after.max(last.0);
        }
        for (word, change) in now.changes.iter().zip(&all[surplus..]) {
            word.version.store(change.0, Relaxed);
            word.from.store(change.1, Relaxed);
            word.to.store(change.2, Relaxed);
        }
        now.after.store(after, Relaxed);
        now.number.store((all.len() - surplus) as u64, Release);
    }

    /// A buffer was committed: all of it is that version.
    #[inline(always)]
    pub(crate) fn is_whole(&self, buffer: Buffer, version: u64) {
        self.buffer_head(buffer).whole.store(version, Release);
    }
}

/// What is told, the oldest first.
fn newest(told: &Changes) -> impl Iterator<Item = (u64, u64, u64)> {
    let number = (told.number.load(Acquire) as usize).min(MOST_CHANGES);
    let read = |word: &super::layout::Change| {
        (word.version.load(Relaxed), word.from.load(Relaxed), word.to.load(Relaxed))
    };
    told.changes[..number].iter().map(read)
}
