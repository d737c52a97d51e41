//! Processors: how many this thread may use, and making all of them see each other's stores.

use super::{clock, fork};
use rustix::thread::{MembarrierCommand, membarrier, sched_getaffinity};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Whether spinning can help: somebody else can run meanwhile only if there are two CPUs.
///
/// The answer is remembered for a tenth of a second, so that asking costs nothing when a
/// process sleeps and wakes a hundred thousand times a second.
pub(crate) fn can_spin() -> bool {
    static ANSWER: AtomicU64 = AtomicU64::new(0);
    let now = clock::coarse_ms() / 100 + 1;
    let known = ANSWER.load(Relaxed);
    if known >> 1 == now {
        return known & 1 == 1;
    }
    let several = sched_getaffinity(None).map_or(true, |set| set.count() > 1);
    ANSWER.store(now << 1 | u64::from(several), Relaxed);
    several
}

/// Lets [`barrier_everywhere`] reach this process. Cheap (2 µs) while it has one thread.
pub(crate) fn register_for_barriers() -> bool {
    // Remembered per process: a forked child registers for itself.
    static REGISTERED_IN: AtomicU64 = AtomicU64::new(0);
    let epoch = fork::epoch();
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
