//! Further processes of our own, for the tour and the benchmark: this program again, with a verb that
//! is not for users.
//!
//! They never outlive the process that started them, however that one ends: the kernel sees to it.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use crate::exit::Failure;

/// This program with `verb` and `arguments`, ready to be started. It belongs to a process group of its own,
/// so that an interrupt from the terminal reaches only us, who clean up.
pub fn command(verb: &str, arguments: &[&OsStr]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg(verb).args(arguments).arg(std::process::id().to_string()).process_group(0);
    command
}

/// The first thing such a process does: from now on it dies with its parent.
pub fn end_with_parent(parent: u32) -> Result<(), Failure> {
    let trouble = |e| Failure::failed(format!("could not tie this process to the one that started it: {e}"));
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(trouble)?;
    // It may have died just before; then there is nobody to tell.
    let now = getppid().map(|pid| Pid::as_raw_nonzero(pid).get());
    if now != i32::try_from(parent).ok() {
        return Err(Failure::quiet(1));
    }
    Ok(())
}
