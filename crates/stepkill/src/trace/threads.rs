//! The other threads of a process that is traced: of the library's, the one that watches out for deaths.
//!
//! They are traced as well, from their first instruction on, or one of them would meet a breakpoint that was meant for the
//! thread that is walked, and end the process. While that one is walked they stand still, as all of a process does that is
//! stopped; before its operation, and when it goes on to its end, they run. No breakpoint is anywhere then.

use std::io::Error;

/// How long one may take to come to rest.
const LOOKS: u32 = 1_000_000;

/// All but the first thread of a process.
#[derive(Debug, Default)]
pub(super) struct Threads {
    all: Vec<i32>,
    /// They stand still, and so does each that comes.
    held: bool,
}

impl Threads {
    /// One has ended, or stopped: before it does anything, or for a signal, which is nothing to it.
    pub fn heard_of(&mut self, thread: i32, status: i32) {
        if !libc::WIFSTOPPED(status) {
            self.all.retain(|other| *other != thread);
            return;
        }
        if !self.all.contains(&thread) {
            self.all.push(thread);
        }
        if !self.held {
            go_on(thread);
        }
    }

    /// Has all of them stand still: where they sleep, for there they have no lock that somebody else waits for.
    pub fn hold(&mut self, pid: i32) {
        if std::mem::replace(&mut self.held, true) {
            return;
        }
        self.all.retain(|thread| {
            for _ in 0..LOOKS {
                if sleeps(pid, *thread) {
                    break;
                }
                std::thread::yield_now();
            }
            // SAFETY: takes numbers only; a thread that is traced keeps its number until its tracer hears of its end.
            unsafe { libc::syscall(libc::SYS_tgkill, pid, *thread, libc::SIGSTOP) };
            wait(*thread).is_some()
        });
    }

    /// Lets them run, and each that comes.
    pub fn release(&mut self) {
        if std::mem::take(&mut self.held) {
            self.all.iter().for_each(|thread| go_on(*thread));
        }
    }
}

/// Waits until it stops; nothing: it is over.
fn wait(thread: i32) -> Option<()> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is ours for the length of the call.
        let done = unsafe { libc::waitpid(thread, &mut status, libc::__WALL) };
        if done == thread {
            return libc::WIFSTOPPED(status).then_some(());
        }
        if Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            return None;
        }
    }
}

fn go_on(thread: i32) {
    // SAFETY: the request touches no memory of ours. (That one was killed meanwhile is no mistake.)
    unsafe { libc::ptrace(libc::PTRACE_CONT, thread, 0usize, 0usize) };
}

fn sleeps(pid: i32, thread: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| !rest.starts_with('R'))
}
