//! A reader's side: asking for the present version, and keeping it. See the [module's text](super).

use super::words::{Buffer, Current, Row};
use crate::sync::atomic::{AtomicU64, Ordering::*};

/// Pins the present version in this row, which is the caller's and idle.
#[inline(always)]
pub(crate) fn pin(current: &AtomicU64, row: &AtomicU64) -> Buffer {
    let present = Current(current.load(SeqCst));
    row.swap(Row::pinned(present).0, SeqCst);
    // Whoever will take this buffer has to commit another one first, and sees this row after that.
    match Current(current.load(SeqCst)).buffer() == present.buffer() {
        true => present.buffer(),
        false => ask(current, row),
    }
}

/// The same in a bounded number of steps, whatever writers do. Each turn more than one is owed to a writer that was
/// fenced and answered all the same, which each of them does once.
#[inline(never)]
fn ask(current: &AtomicU64, row: &AtomicU64) -> Buffer {
    loop {
        row.swap(Row::ASKING.0, SeqCst);
        let present = Current(current.load(SeqCst));
        let pinned = Row::pinned(present);
        match row.compare_exchange(Row::ASKING.0, pinned.0, AcqRel, Acquire) {
            Ok(_) => return present.buffer(),
            Err(given) => {
                if let Some(buffer) = Row(given).buffer()
                    && Row(given).is_as_new_as(present)
                {
                    return buffer;
                }
            }
        }
    }
}

/// Lets go of what is pinned there.
#[inline(always)]
pub(crate) fn let_go(row: &AtomicU64) {
    row.store(Row::IDLE.0, Release);
}
