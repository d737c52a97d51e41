//! Rows and seats: who has which.
//!
//! A guard that reads has a row of its own, one that writes a seat. A handle keeps those it had, one of each within reach of its first thread.
//! Whose they are is told by a member's tag, so a dead one's are free to take as soon as anybody asks:
//!
//! ```text
//! a row    owner: dead one's tag → mine; then idle
//! a seat   if it holds the region: let go, by CAS; owner: dead one's tag → mine; edits nothing, waits for nothing
//! ```
//!
//! **What if it dies here?** Whoever takes one is its owner then, and dead: the next one does the same.

use super::{Hold, locked};
use crate::domain::failed;
use crate::error::Error;
use crate::queue::layout::{READERS, Reader};
use crate::versions::words::{Buffer, Current, Editing, Row, SEATS};
use crate::versions::writers;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize};

/// Which rows and seats a handle has.
#[derive(Debug, Default)]
pub(super) struct All {
    rows: Vec<usize>,
    seats: Vec<usize>,
}

/// One that the first thread reaches without a lock.
#[derive(Debug, Default)]
pub(super) struct Favourite {
    /// 0, or one more than which it is.
    which: AtomicUsize,
    used: AtomicBool,
}

impl Favourite {
    /// Takes it, if nobody uses it. The caller is alone.
    #[inline(always)]
    pub(super) fn take(&self) -> Option<usize> {
        let which = self.which.load(Relaxed).checked_sub(1)?;
        if self.used.load(Acquire) {
            return None;
        }
        self.used.store(true, Relaxed);
        Some(which)
    }

    /// Whether it was this one, which is free from now on.
    #[inline(always)]
    pub(super) fn put(&self, which: usize) -> bool {
        let is = self.which.load(Relaxed) == which + 1;
        if is {
            self.used.store(false, Release);
        }
        is
    }

    /// This one is it from now on, and used, if there was none. The caller is alone.
    fn become_of(&self, which: usize) {
        if self.which.load(Relaxed) == 0 {
            self.used.store(true, Relaxed);
            self.which.store(which + 1, Relaxed);
        }
    }
}

impl Hold {
    /// A row for one guard, idle.
    pub(super) fn take_row(&self) -> Result<usize, Error> {
        {
            let _alone = self.sole.hold();
            if let Some(row) = self.row.take() {
                return Ok(row);
            }
        }
        if let Some(row) = locked(&self.spare_rows).pop() {
            return Ok(row);
        }
        let row = self.new_row()?;
        locked(&self.all).rows.push(row);
        let _alone = self.sole.hold();
        self.row.become_of(row);
        Ok(row)
    }

    /// The guard is done with it.
    #[inline(always)]
    pub(super) fn put_row(&self, row: usize) {
        if !self.row.put(row) {
            self.put_other_row(row);
        }
    }

    #[cold]
    fn put_other_row(&self, row: usize) {
        locked(&self.spare_rows).push(row);
    }

    /// One that this handle has.
    #[inline(always)]
    pub(super) fn row_at(&self, row: usize) -> Option<&Reader> {
        self.readers.get(row).ok()
    }

    pub(super) fn row(&self, row: usize) -> Result<&Reader, Error> {
        self.readers.get(row).map_err(|errno| failed("to read", &self.at.segment.path(), errno))
    }

    fn new_row(&self) -> Result<usize, Error> {
        let used = self.readers.number();
        let mine = |row: usize, from: u64| {
            let row = self.row(row)?;
            let taken = row.owner.compare_exchange(from, self.tag, SeqCst, Relaxed).is_ok();
            if taken {
                row.word.store(Row::IDLE.0, SeqCst);
            }
            Ok::<_, Error>(taken)
        };
        for row in 0..used {
            if self.row(row)?.owner.load(Acquire) == 0 && mine(row, 0)? {
                return Ok(row);
            }
        }
        // Of those that may be dead not too many are asked after, as long as there are fresh ones.
        let few = if used < READERS as usize { 16 } else { used };
        for row in (0..used).take(few) {
            let owner = self.row(row)?.owner.load(Acquire);
            if owner != 0 && owner != self.tag && self.is_gone(owner) && mine(row, owner)? {
                return Ok(row);
            }
        }
        for row in used..READERS as usize {
            if mine(row, 0)? {
                self.readers.used().fetch_max(row as u64 + 1, SeqCst);
                return Ok(row);
            }
        }
        Err(Error::TooManyReaders { name: self.name(), max: READERS as u32 })
    }

    /// Frees what dead readers pin and dead writers edit. Whether there was any.
    #[cold]
    pub(super) fn sweep(&self) -> bool {
        let mut swept = false;
        for row in 0..self.readers.number() {
            let Ok(row) = self.readers.get(row) else { continue };
            let owner = row.owner.load(Acquire);
            if owner == 0
                || owner == self.tag
                || row.word.load(Acquire) == Row::IDLE.0
                || !self.is_gone(owner)
            {
                continue;
            }
            if row.owner.compare_exchange(owner, self.tag, SeqCst, Relaxed).is_ok() {
                row.word.store(Row::IDLE.0, SeqCst);
                row.owner.store(0, Release);
                swept = true;
            }
        }
        let edits = |seat: &usize| self.data.seat(*seat).editing.load(Acquire) != Editing::NOTHING.0;
        for seat in (0..self.data.seats()).filter(edits) {
            swept |= self.free_seat_of_the_dead(seat);
        }
        swept
    }

    /// Takes a dead one's seat.
    fn sweep_seat(&self, seat: usize) -> bool {
        let words = self.data.seat(seat);
        let owner = words.owner.load(Acquire);
        if owner == 0 || owner == self.tag || !self.is_gone(owner) {
            return false;
        }
        let seen = self.present();
        if seen.is_held() && seen.seat() == seat {
            // Its owner was seen dead after it acquired, or it is another's by now: then this is not what is there.
            if words.owner.load(SeqCst) != owner || !writers::let_go(&self.both(), seen, seen.buffer()) {
                return false;
            }
            self.tell(false);
        }
        let taken = words.owner.compare_exchange(owner, self.tag, SeqCst, Relaxed).is_ok();
        if taken {
            words.turn.store(0, SeqCst);
            words.editing.store(Editing::NOTHING.0, SeqCst);
        }
        taken
    }

    /// Takes a dead one's seat, and frees it. `false`: it is nobody's who is dead.
    pub(super) fn free_seat_of_the_dead(&self, seat: usize) -> bool {
        let swept = self.sweep_seat(seat);
        if swept {
            self.data.seat(seat).owner.store(0, Release);
        }
        swept
    }

    /// A seat for one guard.
    pub(super) fn take_seat(&self) -> Result<usize, Error> {
        {
            let _alone = self.sole.hold();
            if let Some(seat) = self.seat.take() {
                return Ok(seat);
            }
        }
        if let Some(seat) = locked(&self.spare_seats).pop() {
            return Ok(seat);
        }
        let seat = self.new_seat()?;
        locked(&self.all).seats.push(seat);
        let _alone = self.sole.hold();
        self.seat.become_of(seat);
        Ok(seat)
    }

    #[inline]
    pub(super) fn put_seat(&self, seat: usize) {
        if !self.seat.put(seat) {
            self.put_other_seat(seat);
        }
    }

    #[cold]
    fn put_other_seat(&self, seat: usize) {
        locked(&self.spare_seats).push(seat);
    }

    fn new_seat(&self) -> Result<usize, Error> {
        let used = self.data.seats();
        let trouble = |errno| failed("to write", &self.at.segment.path(), errno);
        for seat in 0..used {
            if self.data.seat(seat).owner.compare_exchange(0, self.tag, AcqRel, Relaxed).is_ok()
                || self.sweep_seat(seat)
            {
                return Ok(seat);
            }
        }
        for seat in used..SEATS {
            self.data.back_seat(seat).map_err(trouble)?;
            if self.data.seat(seat).owner.compare_exchange(0, self.tag, AcqRel, Relaxed).is_ok() {
                self.data.head().coming.seats.fetch_max(seat as u64 + 1, SeqCst);
                return Ok(seat);
            }
        }
        Err(Error::TooManyWriters { name: self.name(), max: SEATS as u32 })
    }

    /// Who uses a buffer that is not the present one.
    pub(super) fn holders(&self, present: Current) -> Vec<(u64, Buffer)> {
        let mut holders = Vec::new();
        for row in 0..self.readers.number() {
            let Ok(row) = self.readers.get(row) else { continue };
            if let Some(buffer) = Row(row.word.load(Acquire)).buffer()
                && buffer != present.buffer()
            {
                holders.push((row.owner.load(Acquire), buffer));
            }
        }
        for seat in 0..self.data.seats() {
            let words = self.data.seat(seat);
            if let Some(buffer) = Editing(words.editing.load(Acquire)).buffer()
                && !(present.is_held() && present.seat() == seat)
                && buffer != present.buffer()
            {
                holders.push((words.owner.load(Acquire), buffer));
            }
        }
        holders
    }

    /// Gives back all that this handle has. No guard is left, but such as were forgotten.
    pub(super) fn leave_places(&self) {
        let all = std::mem::take(&mut *locked(&self.all));
        for row in all.rows {
            if let Ok(row) = self.readers.get(row) {
                row.word.store(Row::IDLE.0, Release);
                row.owner.store(0, Release);
            }
        }
        for seat in all.seats {
            let words = self.data.seat(seat);
            let seen = self.present();
            if seen.is_held() && seen.seat() == seat && writers::let_go(&self.both(), seen, seen.buffer()) {
                self.tell(false);
            }
            words.turn.store(0, SeqCst);
            words.editing.store(Editing::NOTHING.0, Release);
            words.owner.store(0, Release);
        }
    }
}
