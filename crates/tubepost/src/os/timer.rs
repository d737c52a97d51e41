//! A descriptor that becomes readable when time has passed.

use super::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// One that never does, for now.
pub(crate) fn new() -> Result<OwnedFd, Errno> {
    timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)
}

/// Readable after `first`, and then again and again after `every`. Zero: never (again).
pub(crate) fn set(timer: impl AsFd, first: Duration, every: Duration) {
    let spec = |time: Duration| Timespec {
        tv_sec: time.as_secs().min(1 << 30) as i64,
        tv_nsec: time.subsec_nanos().into(),
    };
    let times = Itimerspec { it_value: spec(first), it_interval: spec(every) };
    let _ = timerfd_settime(timer, TimerfdTimerFlags::empty(), &times);
}

/// Not readable until the next time.
pub(crate) fn clear(timer: impl AsFd) {
    let _ = rustix::io::read(timer, &mut [0; 8][..]);
}
