//! A writer's side: acquiring, fencing, choosing a buffer, committing. See the [module's text](super).

use super::words::{Buffer, Current, Editing, Row};
use crate::sync::atomic::{AtomicU64, Ordering::*};

/// The words that a writer looks at.
pub(crate) trait Words {
    fn current(&self) -> &AtomicU64;
    /// How many rows readers ever had; those that can't be looked at are `None`.
    fn rows(&self) -> usize;
    fn row(&self, row: usize) -> Option<&AtomicU64>;
    /// How many seats writers ever had.
    fn seats(&self) -> usize;
    fn editing(&self, seat: usize) -> &AtomicU64;
}

/// Guesses, before it acquires, which buffer nobody will use.
#[inline(always)]
pub(crate) fn guess(words: &impl Words, seat: usize, hold: Current, buffer: Buffer) {
    // Who sees this, and not that it left, sees all the same what it wrote to the buffer before.
    words.editing(seat).store(Editing::new(hold, buffer).0, Release);
}

/// What it guessed.
#[inline(always)]
pub(crate) fn guessed(words: &impl Words, mine: Current) -> Option<Buffer> {
    Editing(words.editing(mine.seat()).load(Relaxed)).buffer()
}

/// Acquires what nobody holds, or fences who holds it: if `seen` is still what is there. Gives what is there from now on.
#[inline(always)]
pub(crate) fn acquire(words: &impl Words, seen: Current, seat: usize) -> Option<Current> {
    let mine = seen.held_by(seat);
    let swapped = words.current().compare_exchange(seen.0, mine.0, SeqCst, SeqCst);
    swapped.is_ok().then_some(mine)
}

/// A bit for each buffer that somebody uses, once every reader that asks has its answer.
#[inline(always)]
pub(crate) fn used(words: &impl Words, mine: Current) -> u64 {
    let mut used = mine.buffer().bit();
    for number in 0..words.rows() {
        let Some(row) = words.row(number) else { continue };
        let mut says = Row(row.load(SeqCst));
        if says == Row::ASKING {
            let answer = Row::pinned(mine);
            says = match row.compare_exchange(says.0, answer.0, SeqCst, SeqCst) {
                Ok(_) => answer,
                Err(now) => Row(now),
            };
        }
        used |= says.buffer().map_or(0, Buffer::bit);
    }
    for seat in (0..words.seats()).filter(|seat| *seat != mine.seat()) {
        let edited = Editing(words.editing(seat).load(SeqCst)).buffer();
        used |= edited.map_or(0, Buffer::bit);
    }
    used
}

/// Says that the writer edits this buffer, which nobody uses. `false`: it was fenced, and has nothing.
#[inline(always)]
pub(crate) fn take(words: &impl Words, mine: Current, buffer: Buffer) -> bool {
    words.editing(mine.seat()).swap(Editing::new(mine, buffer).0, SeqCst);
    if words.current().load(SeqCst) == mine.0 || planted!(BufferUnlooked) {
        return true;
    }
    leave(words, mine.seat());
    false
}

/// The writer edits nothing any more.
#[inline(always)]
pub(crate) fn leave(words: &impl Words, seat: usize) {
    words.editing(seat).store(Editing::NOTHING.0, Release);
}

/// Makes this buffer the present version, and lets go; or, with the present one, only lets go. `false`: it was fenced before.
#[inline(always)]
pub(crate) fn let_go(words: &impl Words, mine: Current, buffer: Buffer) -> bool {
    words.current().compare_exchange(mine.0, mine.let_go(buffer).0, SeqCst, SeqCst).is_ok()
}

/// Begins the same hold anew, so that all of its lease lies ahead. Nothing: it was fenced before.
pub(crate) fn begin_anew(words: &impl Words, mine: Current) -> Option<Current> {
    acquire(words, mine, mine.seat())
}
