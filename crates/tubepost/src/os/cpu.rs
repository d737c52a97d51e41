//! Processors: how many this thread may use, and making all of them see each other's stores.

use super::{clock, fork};
use rustix::thread::{MembarrierCommand, membarrier, sched_getaffinity};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How likely it is that somebody else gets to run while this thread spins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Company {
    /// There is one processor: never.
    Alone,
    /// This thread is bound to one of several: the other may be bound to the same.
    Unsure,
    /// This thread may use several, so the other may too.
    Likely,
}

/// Who can run while this thread spins.
///
/// The answer is remembered for a tenth of a second, so that asking costs nothing when a
/// process sleeps and wakes a hundred thousand times a second.
pub(crate) fn company() -> Company {
    const ALL: [Company; 3] = [Company::Alone, Company::Unsure, Company::Likely];
    static ANSWER: AtomicU64 = AtomicU64::new(0);
    let now = clock::coarse() / 100_000_000 + 1;
    let known = ANSWER.load(Relaxed);
    if known >> 2 == now {
        return ALL[(known & 3).min(2) as usize];
    }
    let mine = sched_getaffinity(None).map_or(2, |set| set.count());
    let answer = if mine > 1 { 2 } else { u64::from(online() > 1) };
    ANSWER.store(now << 2 | answer, Relaxed);
    ALL[answer as usize]
}

/// Processors that run.
fn online() -> usize {
    // SAFETY: takes a number and gives a number.
    let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(online).unwrap_or(1)
}

/// Lets [`barrier_everywhere`] reach this process. Cheap (2 µs) while it has one thread.
pub(crate) fn register_for_barriers() -> bool {
    // Remembered per process: a forked child registers for itself.
    static REGISTERED_IN: AtomicU64 = AtomicU64::new(0);
    let Ok(epoch) = fork::epoch() else { return false };
    if REGISTERED_IN.load(Relaxed) == epoch {
        return true;
    }
    let done = !cfg!(miri) && membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok();
    if done {
        REGISTERED_IN.store(epoch, Relaxed);
    }
    done
}

/// A full memory barrier on every thread that runs in any registered process.
pub(crate) fn barrier_everywhere() -> bool {
    membarrier(MembarrierCommand::GlobalExpedited).is_ok()
}
