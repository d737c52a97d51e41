//! What a run leaves in `/dev/shm` is put away when it has ended, whatever way it ended: by itself, by Ctrl-C, by `kill -9`.
//!
//! The guardian is a process of its own, in a group of its own, which Ctrl-C does not reach. It reads from a pipe into
//! which nobody writes. The run and all processes that it starts have the other end, so its end says that
//! none of them is left who could make anything any more.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::io::{FdFlags, fcntl_setfd};

/// Has this process and its children watched. It is called before any of them is started.
pub fn start() {
    let pid = std::process::id().to_string();
    let mut command = Command::new("/proc/self/exe");
    command.args(["guardian", &pid]).process_group(0).stdin(Stdio::piped());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let guardian = command.spawn().expect("this program can be started again");
    let pipe = guardian.stdin.as_ref().expect("piped");
    fcntl_setfd(pipe, FdFlags::empty()).expect("a descriptor of our own");
    // It outlives us, and the pipe is open as long as we live.
    std::mem::forget(guardian);
}

/// Waits for the end of process `pid` and its children, and puts away what they left.
pub fn play(pid: u32) {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    let ours = format!("stepkill-{pid:08}-");
    for entry in std::fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&ours) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
