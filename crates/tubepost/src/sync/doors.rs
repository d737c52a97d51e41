//! Waking those who don't sleep on a word: a task, an event loop, anybody who waits for a descriptor.
//!
//! Each handle has a *door* in shared memory, a word (sequence, is there one, armed for which reasons), and outside
//! of it something that can be rung, whoever rings. One word, *doors*, says for which reasons some door may be armed
//! (sequence, reasons).
//!
//! ```text
//! who waits                                   publisher
//!   door: CAS -> (seq + 1, armed)               publish; look whether somebody sleeps (see `wait`)
//!   doors: CAS -> (seq + 1, some are)           wake the sleepers; look at `doors`: none -> done
//!   register at the bell, as a sleeper          each door that is armed: CAS -> not armed, ring it
//!   look again; then wait to be rung            doors: CAS -> none, from what was seen before the walk
//! ```
//!
//! **Publishers pay nothing more.** Who waits so says "asleep" at the bell as any sleeper does, and publishers look
//! at nothing else.
//!
//! **No lost wake-up.** The door and `doors` are written before "asleep" is, or is found there, and who waits
//! looks again after that, fences being in order (`wait`): a publisher that it does not see sees
//! all three words. `doors` is cleared only as it was seen before the walk: whoever armed before that was met
//! in the walk, whoever armed since has changed it.
//!
//! **All of them.** Whatever the bell wakes, one sleeper or all, all doors that are armed for its reason are rung. So nobody who
//! was rung needs to pass it on, also if it lost interest: a dropped task owes nothing.
//!
//! **What if it dies here?** Who waits: its door stays armed, and is rung once in vain. A publisher, between taking
//! "asleep" away and ringing: then a door is armed and nobody looks at it. So who waits arms anew and looks
//! again once a [slice](super::wait::SLICE), and when a death is told.

use super::atomic::{AtomicU32, AtomicU64, Ordering};

/// Reasons to wait; in both words.
pub(crate) const MESSAGES: u32 = 1;
pub(crate) const ROOM: u32 = 2;
pub(crate) const END: u32 = 4;
/// Not at a door: whoever publishes a message calls the herald.
pub(crate) const HERALD: u32 = 8;
const REASONS: u32 = MESSAGES | ROOM | END | HERALD;
/// In a door: there is, or was a moment ago, something to be rung.
const THERE: u64 = 8;
/// One in a door's sequence.
const ONE: u64 = 16;

/// More changes than this, while one looks, are rubbish.
const TRIES: u32 = 1000;

/// Arms a door. Register at the bell after this, and then look again.
pub(crate) fn arm(door: &AtomicU64, doors: &AtomicU32, reason: u32) {
    change(door, |seen| seen.wrapping_add(ONE) | u64::from(reason));
    arm_some(doors, reason);
}

/// Says that some may be armed for this, or that the herald is to be called.
pub(crate) fn arm_some(doors: &AtomicU32, reason: u32) {
    let mut seen = doors.load(Ordering::SeqCst);
    loop {
        let some = seen.wrapping_add(REASONS + 1) | reason;
        match doors.compare_exchange(seen, some, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => return,
            Err(now) => seen = now,
        }
    }
}

/// Nobody waits there for this any more.
pub(crate) fn disarm(door: &AtomicU64, reason: u32) {
    change(door, |seen| seen & !u64::from(reason));
}

/// A new member's door: not there, not armed, and not as any before it.
pub(crate) fn renew(door: &AtomicU64) {
    change(door, |seen| seen.wrapping_add(ONE) & !(ONE - 1));
}

/// There is about to be something that can be rung.
pub(crate) fn build(door: &AtomicU64) {
    change(door, |seen| seen | THERE);
}

/// Whether there is, or was a moment ago, something that can be rung.
pub(crate) fn is_there(door: &AtomicU64) -> bool {
    door.load(Ordering::SeqCst) & THERE != 0
}

fn change(door: &AtomicU64, to: impl Fn(u64) -> u64) {
    let mut seen = door.load(Ordering::SeqCst);
    for _ in 0..TRIES {
        match door.compare_exchange(seen, to(seen), Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => return,
            Err(now) => seen = now,
        }
    }
}

/// What `doors` says, if some door may be armed for this.
pub(crate) fn some(doors: &AtomicU32, reason: u32) -> Option<u32> {
    let seen = doors.load(Ordering::SeqCst);
    (seen & reason != 0).then_some(seen)
}

/// All doors that were armed when `doors` said `seen` have been rung.
pub(crate) fn none_left(doors: &AtomicU32, seen: u32, reason: u32) {
    let _ = doors.compare_exchange(seen, seen & !reason, Ordering::SeqCst, Ordering::Relaxed);
}

/// Whether it is ours to call the herald.
pub(crate) fn take_herald(doors: &AtomicU32) -> bool {
    let mut seen = doors.load(Ordering::SeqCst);
    for _ in 0..TRIES {
        if seen & HERALD == 0 {
            return false;
        }
        match doors.compare_exchange(seen, seen & !HERALD, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => return true,
            Err(now) => seen = now,
        }
    }
    true // once too often does no harm
}

/// What a door says, if it is armed for this.
pub(crate) fn armed(door: &AtomicU64, reason: u32) -> Option<u64> {
    let seen = door.load(Ordering::SeqCst);
    (seen & u64::from(reason) != 0).then_some(seen)
}

/// Whether it is ours to ring: nobody changed it since it was `seen`.
pub(crate) fn take(door: &AtomicU64, seen: u64, reason: u32) -> bool {
    let rung = seen & !u64::from(reason);
    door.compare_exchange(seen, rung, Ordering::SeqCst, Ordering::Relaxed).is_ok()
}

#[cfg(all(test, loom))]
mod loom_models;
