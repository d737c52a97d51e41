//! Sleeping on a word of shared memory, or on several, and waking those who do.

use super::Errno;
use rustix::thread::futex::{Flags, Timespec, Wait, WaitFlags, WaitPtr, WaitvFlags, wait, waitv, wake};
use rustix::time::{ClockId, clock_gettime};
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

/// Words that one can sleep on at one time.
pub(crate) const WORDS: usize = 128;

/// Sleeps while each word is as expected; else as [`sleep`]. `false`: these are too many, or the system can't (Linux
/// before 5.16).
pub(crate) fn sleep_on_any<'a>(
    words: impl ExactSizeIterator<Item = (&'a AtomicU32, u32)>,
    longest: Duration,
) -> bool {
    if words.len() > WORDS {
        return false;
    }
    let all: Vec<Wait> = words
        .map(|(word, expected)| {
            let mut one = Wait::new();
            one.val = expected.into();
            one.uaddr = WaitPtr::new(word.as_ptr().cast());
            one.flags = WaitFlags::SIZE_U32;
            one
        })
        .collect();
    let now = clock_gettime(ClockId::Monotonic);
    let nanos = now.tv_nsec + i64::from(longest.subsec_nanos());
    let seconds = now.tv_sec + longest.as_secs().min(1 << 30) as i64 + nanos / 1_000_000_000;
    let until = Timespec { tv_sec: seconds, tv_nsec: nanos % 1_000_000_000 };
    waitv(&all, WaitvFlags::empty(), Some(&until), ClockId::Monotonic) != Err(Errno::NOSYS)
}
