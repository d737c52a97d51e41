//! Data of which there is one copy: readers copy it and ask whether the copy is good; a writer edits it where it lies.
//!
//! ```text
//! current       (hold, seat, side, touched?, held?): who may edit; touched: somebody began to, and has not committed
//! place         (home, attempt): which file has the data, and the last one who was about to repair it
//! rows          one for each reader: idle, reading, or fenced
//! editing       in each writer's seat: to which home it may write
//! homes         each with the data, and two versions, of which `side` says which one counts
//! ```
//!
//! *Reading*. Wait until nobody holds; whose holder is late or dead may be let go in its place, by CAS. Touched, and
//! nobody holds: poisoned. Row = reading, by a swap. Look at `current` again: held, or touched: row = idle, from the
//! start. Look at `place`. Copy. CAS row → idle: the copy is good. Failed: fenced, and the copy worthless. *Quickly*,
//! for short data: look at `current`, and at `place`; copy; look at `current` again: not held, not touched, and the same.
//!
//! *Writing*. Acquire as ever; touched stays what it was: then it is poisoned, let go. Wait until all who are reading
//! have done: those who are dead or late are fenced, by CAS. `editing` = the home. CAS `current` → (hold + 1, my seat,
//! same side, touched, held). Edit. The other side's version = this one's + 1. CAS `current` → (same hold, my seat,
//! other side, untouched, not held): committed, or the lease has expired. `editing` = nothing.
//!
//! *Repairing*. Acquire; untouched: it is sound, let go. CAS `place` → (home, attempt + 1). Somebody else's seat says
//! that it edits that home: let go, wait until it does not, or its owner is dead and it is swept, and come again.
//! `editing` = the home; look at `current` again: if it changed, give up. Edit; commit as above.
//!
//! *Moving*, where somebody who was fenced goes on editing for too long. Having announced, look at `current` again: if it
//! changed, give up. Copy the home to a file that has no name. `editing` = the attempt. Name the file after that. CAS
//! `place`: (home, attempt) → (attempt, attempt). Failed: somebody else has announced; take the name away, come again.
//! Take the old home's name away. Look at `current` again: if it changed, give up. Edit; commit as above.
//!
//! # Invariants
//! 1. Whoever writes to the data has `touched` set after it acquired, and nobody takes it back but by a commit of the
//!    same hold, or its holder, who has written nothing.
//! 2. The seat of whoever may write to it says so, and where.
//! 3. A reader whose row was reading from before it last looked at `current` until its CAS has copied what nobody
//!    wrote to: who acquires later sees the row.
//! 4. While it is not touched the data is what was committed as the version that counts.
//! 5. `place` names another home only while it is touched: whoever repairs has announced before it commits, and so nobody
//!    moves the data who was about to before that.
//!
//! # What if it dies here?
//! - a writer before it touches: nothing has changed. Behind that, and before its commit: poisoned. Behind that:
//!   committed.
//! - one who repairs: still poisoned. One who moves the data: there, or not; a file that nobody needs may be left.
//! - a reader: fenced by the next writer that sees that it is dead.
//!
//! A writer that is stopped, and fenced, may still write to its home when it goes on; so nobody repairs there before it
//! has let go, or is dead.
//!
//! All of it is checked exhaustively in `tests/models/in_place.rs`, and with its orderings in `loom_models`.

#[cfg(all(test, loom))]
mod loom_models;

use super::words::{Buffer, Current, Editing, Row};
use super::writers::{self, Words};
use crate::sync::atomic::{AtomicU64, Ordering::*, fence};

const TOUCHED: u64 = 1;

/// Where the data is, and the last attempt to repair it: its number is that of the home to which it may move the data.
/// (None comes again within four thousand million attempts.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place(pub(crate) u64);

impl Place {
    pub(crate) const FIRST: Place = Place::new(1, 1);

    const fn new(home: u32, attempt: u32) -> Place {
        Place((home as u64) << 32 | attempt as u64)
    }
    #[inline]
    pub(crate) fn home(self) -> u32 {
        (self.0 >> 32) as u32
    }
    pub(crate) fn attempt(self) -> u32 {
        self.0 as u32
    }
}

impl Current {
    fn bits(self) -> u64 {
        self.buffer().index() as u64
    }
    /// Whether somebody has begun to edit, and has not committed.
    pub(crate) fn is_touched(self) -> bool {
        self.bits() & TOUCHED != 0
    }
    /// Which head has the version that counts.
    pub(crate) fn side(self) -> Buffer {
        Buffer::of(self.bits() >> 1 & 1)
    }
    /// Which one does not.
    pub(crate) fn other_side(self) -> Buffer {
        Buffer::of(self.bits() >> 1 & 1 ^ 1)
    }
    /// The same holder's next hold, in which it edits.
    fn touched(self) -> Current {
        self.let_go(Buffer::of(self.bits() | TOUCHED)).held_by(self.seat())
    }
    /// Let go, as it was before it was touched.
    fn untouched(self) -> Current {
        self.let_go(Buffer::of(self.bits() & !TOUCHED))
    }
    /// Let go, with the other side's version.
    fn committed(self) -> Current {
        self.let_go(Buffer::of((self.other_side().index() as u64) << 1))
    }
}

/// Says that the row's owner reads. Nothing: somebody holds, or has touched it.
pub(crate) fn enter(current: &AtomicU64, row: &AtomicU64, reading: Row) -> Option<Current> {
    row.swap(reading.0, SeqCst);
    let seen = Current(current.load(SeqCst));
    if !seen.is_held() && !seen.is_touched() {
        return Some(seen);
    }
    row.store(Row::IDLE.0, Release);
    None
}

/// The same though somebody holds who died before it touched anything, if that one is still the last one to have come.
pub(crate) fn enter_behind(current: &AtomicU64, row: &AtomicU64, reading: Row, dead: Current) -> bool {
    row.swap(reading.0, SeqCst);
    let same = Current(current.load(SeqCst)) == dead;
    if !same {
        row.store(Row::IDLE.0, Release);
    }
    same
}

/// Has copied. `false`: a writer did not wait, and the copy is worthless.
pub(crate) fn leave(row: &AtomicU64, reading: Row) -> bool {
    let good = row.compare_exchange(reading.0, Row::IDLE.0, AcqRel, Acquire).is_ok();
    if !good {
        row.store(Row::IDLE.0, Release);
    }
    good
}

/// Who is reading. Those who come later see that somebody holds.
pub(crate) fn who_reads(words: &impl Words) -> Vec<(usize, Row)> {
    let reads = |number: usize| {
        let says = Row(words.row(number)?.load(SeqCst));
        says.is_reading().then_some((number, says))
    };
    (0..words.rows()).filter_map(reads).collect()
}

/// Whether that one still does.
pub(crate) fn still_reads(words: &impl Words, (number, says): (usize, Row)) -> bool {
    words.row(number).is_some_and(|row| row.load(SeqCst) == says.0)
}

/// Waits for that one no longer.
pub(crate) fn fence_reader(words: &impl Words, (number, says): (usize, Row)) {
    if let Some(row) = words.row(number) {
        let _ = row.compare_exchange(says.0, Row::FENCED.0, SeqCst, SeqCst); // else it has done
    }
}

/// Begins to edit, in a new hold, now that nobody reads. Nothing: fenced before.
pub(crate) fn touch(words: &impl Words, mine: Current, home: u32) -> Option<Current> {
    mark(words, mine.seat(), home);
    planted!(BegunUntold => return Some(mine));
    let touched = mine.touched();
    if words.current().compare_exchange(mine.0, touched.0, SeqCst, SeqCst).is_ok() {
        fence(Release); // who copied quickly, and has something of what comes now, sees that it is touched
        return Some(touched);
    }
    writers::leave(words, mine.seat());
    None
}

/// Says in which home one may write from now on.
pub(crate) fn mark(words: &impl Words, seat: usize, home: u32) {
    words.editing(seat).swap(Editing::at_home(home).0, SeqCst);
}

/// Seats whose owners may write to the data in this home; this one's not.
pub(crate) fn who_edits(words: &impl Words, but: usize, home: u32) -> impl Iterator<Item = usize> {
    let edits = move |seat: &usize| words.editing(*seat).load(SeqCst) == Editing::at_home(home).0;
    (0..words.seats()).filter(move |seat| *seat != but).filter(edits)
}

/// Says that one is about to repair what it holds: nobody who said so before moves the data any more.
pub(crate) fn announce(place: &AtomicU64) -> Place {
    let mut seen = Place(place.load(SeqCst));
    loop {
        let attempt = seen.attempt().wrapping_add(1);
        let mine = Place::new(seen.home(), attempt);
        match place.compare_exchange(seen.0, mine.0, SeqCst, SeqCst) {
            Ok(_) => return mine,
            Err(now) => seen = Place(now),
        }
    }
}

/// Begins to repair what it holds, in this home, where nobody else edits. `false`: fenced before.
pub(crate) fn begin_repair(words: &impl Words, mine: Current, home: u32) -> bool {
    mark(words, mine.seat(), home);
    if words.current().load(SeqCst) == mine.0 {
        return true;
    }
    writers::leave(words, mine.seat());
    false
}

/// Moves the data to the home that has the number of this attempt. `false`: somebody has announced since.
pub(crate) fn move_to(place: &AtomicU64, mine: Place) -> bool {
    let moved = Place::new(mine.attempt(), mine.attempt());
    place.compare_exchange(mine.0, moved.0, SeqCst, SeqCst).is_ok()
}

/// Makes what was edited the version of the other side, and lets go. `false`: it was fenced before.
pub(crate) fn commit(words: &impl Words, mine: Current) -> bool {
    words.current().compare_exchange(mine.0, mine.committed().0, SeqCst, SeqCst).is_ok()
}

/// Lets go of what was touched, and not written to.
pub(crate) fn put_back(words: &impl Words, mine: Current) {
    let _ = words.current().compare_exchange(mine.0, mine.untouched().0, SeqCst, SeqCst); // else it was fenced
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_commit_changes_sides() {
        let first = Current::FIRST;
        let mine = first.held_by(3);
        assert!(!first.is_touched() && !mine.is_touched() && mine.side() == first.side());
        let touched = mine.touched();
        assert!(touched.is_touched() && touched.is_held() && touched.seat() == 3);
        assert_eq!((touched.hold(), touched.side()), (mine.hold() + 1, mine.side()));
        let (committed, untouched) = (touched.committed(), touched.untouched());
        assert!(!committed.is_held() && !committed.is_touched() && committed.side() == mine.other_side());
        assert!(!untouched.is_held() && !untouched.is_touched() && untouched.side() == mine.side());
        // Whoever fences takes over what was touched.
        assert!(touched.held_by(4).is_touched() && touched.let_go(touched.buffer()).is_touched());
        assert!(
            Row::reading(5).is_reading() && !Row::FENCED.is_reading() && Row::reading(5).buffer().is_none()
        );
        assert!(
            !Row::IDLE.is_reading() && !Row::pinned(touched).is_reading() && Row::FENCED.buffer().is_none()
        );
    }

    #[test]
    fn the_last_one_who_announced_moves_it() {
        let place = AtomicU64::new(Place::FIRST.0);
        let (first, second) = (announce(&place), announce(&place));
        assert_eq!((first.home(), first.attempt(), second.home(), second.attempt()), (1, 2, 1, 3));
        assert!(!move_to(&place, first) && move_to(&place, second) && !move_to(&place, second));
        let third = announce(&place);
        assert_eq!((third.home(), third.attempt()), (3, 4));
        assert_ne!(Editing::at_home(3), Editing::at_home(4));
        assert_ne!(Editing::at_home(u32::MAX), Editing::NOTHING);
    }
}
