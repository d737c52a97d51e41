//! Sleeping on a word of shared memory, and waking those who do.

use rustix::thread::futex::{Flags, Timespec, wait, wake};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Sleeps while `word` is `expected`, for at most `longest`. Returns early for any reason,
/// a signal included: callers look again at what they wait for.
pub(crate) fn sleep(word: &AtomicU32, expected: u32, longest: Duration) {
    let longest =
        Timespec { tv_sec: longest.as_secs().min(1 << 30) as i64, tv_nsec: longest.subsec_nanos().into() };
    let _ = wait(word, Flags::empty(), expected, Some(&longest));
}

/// Wakes the one who has slept longest on `word`; whether there was one.
pub(crate) fn wake_one(word: &AtomicU32) -> bool {
    wake(word, Flags::empty(), 1).is_ok_and(|woken| woken > 0)
}

/// Wakes everybody who sleeps on `word`, in whatever process.
pub(crate) fn wake_all(word: &AtomicU32) {
    let _ = wake(word, Flags::empty(), i32::MAX as u32);
}
