//! Processes as the kernel names them.

use super::Errno;
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};
use std::os::fd::OwnedFd;

/// This process's id, in its own pid namespace.
pub(crate) fn own() -> u32 {
    getpid().as_raw_nonzero().get() as u32
}

/// The pid namespace this process lives in; 0 if unknown.
pub(crate) fn namespace() -> u64 {
    rustix::fs::stat("/proc/self/ns/pid").map_or(0, |stat| stat.st_ino)
}

/// A descriptor that becomes readable when the process ends.
pub(crate) fn watch(pid: u32) -> Result<OwnedFd, Errno> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    pidfd_open(pid, PidfdFlags::empty())
}
