//! Processes as the kernel names them.

use super::Errno;
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open, test_kill_process};
use std::os::fd::OwnedFd;

/// This process's id, in its own pid namespace.
pub(crate) fn own() -> u32 {
    getpid().as_raw_nonzero().get() as u32
}

/// The pid namespace this process lives in; 0 if unknown.
pub(crate) fn namespace() -> u64 {
    rustix::fs::stat("/proc/self/ns/pid").map_or(0, |stat| stat.st_ino)
}

/// Whether pids of that namespace are pids here. If either is unknown, they are not.
pub(crate) fn means_here(namespace_of_pid: u64) -> bool {
    namespace_of_pid != 0 && namespace_of_pid == namespace()
}

/// Whether there is no process of this number. (A zombie still is one.)
pub(crate) fn is_gone(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
}

/// A descriptor that becomes readable when the process ends.
pub(crate) fn watch(pid: u32) -> Result<OwnedFd, Errno> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    pidfd_open(pid, PidfdFlags::empty())
}
