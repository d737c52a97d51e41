//! Kills at a chosen instruction, or at a chosen system call: ptrace walks a role step by step between two marks that it sets.
#![allow(unsafe_code)]

use std::io::Error;

use super::{Child, thread_id};

/// Between two of these a role is walked.
pub fn mark() {
    // SAFETY: a signal to this very thread; its default is to end the process, unless a tracer takes it away.
    let done = unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), thread_id(), libc::SIGUSR1) };
    assert_eq!(done, 0, "a signal to oneself");
}

/// Where a walk ended.
#[derive(Debug, PartialEq)]
pub enum Walk {
    /// After so many instructions, as told. The role stands still.
    Stands,
    /// At the second mark, after so many. The role runs on.
    Through(u64),
}

/// Walks a thread of a role that is about to set its first mark once it hears `go`: at most `steps`
/// instructions. `Err`: this system does not let us.
pub fn walk(child: &mut Child, thread: u32, steps: u64) -> Result<Walk, String> {
    walk_by(libc::PTRACE_SINGLESTEP, child, thread, steps)
}

/// The same; each system call is two steps: it stands just before it, then just behind it.
pub fn walk_calls(child: &mut Child, thread: u32, steps: u64) -> Result<Walk, String> {
    walk_by(libc::PTRACE_SYSCALL, child, thread, steps)
}

fn walk_by(request: libc::c_uint, child: &mut Child, thread: u32, steps: u64) -> Result<Walk, String> {
    // The role waits for a line from us, so that it is seized before its first mark.
    ptrace(libc::PTRACE_SEIZE, thread, 0).map_err(|error| format!("ptrace: {error}"))?;
    child.say("go");
    assert_eq!(next_stop(thread), libc::SIGUSR1, "the first mark");
    for step in 0..steps {
        ptrace(request, thread, 0).expect("it stands still");
        match next_stop(thread) {
            libc::SIGTRAP => {}
            libc::SIGUSR1 => {
                ptrace(libc::PTRACE_DETACH, thread, 0).expect("it stands still");
                return Ok(Walk::Through(step));
            }
            // Whatever else was meant for it, SIGCHLD say, it shall have.
            other => ptrace(request, thread, other).expect("it stands still"),
        }
    }
    Ok(Walk::Stands)
}

/// Lets a role go on that stands still where it was walked to, up to its second mark and beyond.
pub fn go_on_from_there(thread: u32) {
    let mut signal = 0;
    loop {
        ptrace(libc::PTRACE_CONT, thread, signal).expect("it stands still");
        signal = match next_stop(thread) {
            libc::SIGUSR1 => break,
            libc::SIGTRAP => 0,
            other => other,
        };
    }
    ptrace(libc::PTRACE_DETACH, thread, 0).expect("it stands still");
}

/// Kills a role that stands still where it was walked to.
pub fn kill_there(child: &mut Child, thread: u32) {
    child.strike();
    // The tracer has to see its end, or nobody else does.
    // SAFETY: no status is asked for.
    let done = unsafe { libc::waitpid(thread as i32, std::ptr::null_mut(), libc::__WALL) };
    assert_eq!(done, thread as i32, "waitpid: {}", Error::last_os_error());
    child.kill();
}

fn ptrace(request: libc::c_uint, thread: u32, data: i32) -> Result<(), Error> {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: none of the requests used here reads or writes memory of ours; `data` is a signal or 0.
    let done = unsafe { libc::ptrace(request, thread as i32, nothing, i64::from(data)) };
    if done == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

/// The signal that the thread stopped for.
fn next_stop(thread: u32) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is ours for the length of the call.
    let done = unsafe { libc::waitpid(thread as i32, &mut status, libc::__WALL) };
    assert_eq!(done, thread as i32, "waitpid: {}", Error::last_os_error());
    assert!(libc::WIFSTOPPED(status), "the role ended with {status:#x} while it was walked");
    libc::WSTOPSIG(status)
}
