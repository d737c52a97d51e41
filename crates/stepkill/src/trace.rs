//! What the kernel lets a tracer do with a process: step it, run it up to an address, kill it, let it go.
//!
//! A traced process asks for it itself ([`be_traced`]) and sets marks, which are signals to itself that only
//! its tracer sees. All of this is done by the very thread that started it, for such is ptrace.
#![allow(unsafe_code)]

mod threads;

use std::io::Error;
use std::process::Child;

use threads::Threads;

/// What a traced process stopped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A step was done, or a breakpoint met.
    Trap,
    /// It set a mark.
    Mark,
    /// It was about to get this other signal.
    Signal(i32),
    /// It ended, with this status.
    Ended(i32),
}

/// From here on processes that are started have everything at the same addresses.
pub fn fix_addresses() {
    // SAFETY: takes and returns numbers only.
    let done = unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) };
    assert!(done != -1, "personality: {}", Error::last_os_error());
}

/// This thread, and what it starts, runs on one processor: so stepping costs a fifth.
pub fn stay_on(processor: usize) {
    // SAFETY: a plain structure of bits, zero is an empty set, and it is ours for the length of the calls.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(processor % libc::CPU_SETSIZE as usize, &mut set);
        // A processor that we may not have is no reason to fail; it takes longer then.
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
}

/// What says who started a process.
pub const PARENT: &str = "STEPKILL_PARENT";

/// This process does not outlive the thread that started it.
pub fn die_with_parent() {
    // SAFETY: takes a number and touches no memory of ours.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // It may have died before: then nothing would ever tell.
    let parent = std::env::var(PARENT).ok().and_then(|pid| pid.parse().ok());
    if parent.is_some_and(|pid: u32| pid != std::os::unix::process::parent_id()) {
        std::process::exit(1);
    }
}

/// Makes whoever started this process its tracer, and waits until that one is.
pub fn be_traced() {
    // SAFETY: no memory is involved.
    let done = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
    assert!(done != -1, "ptrace: {}", Error::last_os_error());
    mark();
}

/// Between two of these it is walked.
pub fn mark() {
    // SAFETY: a signal to this very thread; its tracer takes it away.
    unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), libc::gettid(), libc::SIGUSR1) };
}

/// A process that this thread traces.
#[derive(Debug)]
pub struct Tracee {
    pid: i32,
    child: Child,
    /// Nothing of it is left.
    ended: bool,
    /// It was told to go one step, and did not come back from that yet.
    under_way: bool,
    /// How it was told to go on last.
    request: libc::c_uint,
    threads: Threads,
}

impl Tracee {
    /// Waits for the first mark of a process that asked to be traced, and is a group of its own.
    pub fn of(child: Child) -> Result<Tracee, String> {
        let (pid, request, threads) = (child.id() as i32, libc::PTRACE_CONT, Threads::default());
        let mut tracee = Tracee { pid, child, ended: false, under_way: false, request, threads };
        let mut first = tracee.next_stop();
        if first == Stop::Mark {
            let options = libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACECLONE;
            tracee.ask(libc::PTRACE_SETOPTIONS, 0, options as usize);
            first = tracee.run();
        }
        if first != Stop::Mark {
            return Err(format!("it came to no mark: {first:?}"));
        }
        Ok(tracee)
    }

    /// From here on it is walked: no other thread of it does anything …
    pub fn hold_others(&mut self) {
        self.threads.hold(self.pid);
    }

    /// … until all of it is to go on. There must be no breakpoints.
    pub fn run_all(&mut self) -> Stop {
        self.threads.release();
        self.run()
    }

    pub fn pid(&self) -> u32 {
        self.pid as u32
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// One instruction, or one system call.
    pub fn step(&mut self) -> Stop {
        self.through_other_signals(libc::PTRACE_SINGLESTEP)
    }

    /// The same, but `None` if it sleeps in a system call: it is under way still, and may be asked again.
    pub fn step_unless_it_sleeps(&mut self) -> Option<Stop> {
        if !self.under_way {
            self.resume(libc::PTRACE_SINGLESTEP, 0);
            self.under_way = true;
        }
        let mut asleep = false;
        loop {
            match self.stop_if_any(libc::WNOHANG) {
                None if asleep => return None,
                // It may have stopped since it was looked at; and it may need this very processor.
                None => {
                    std::thread::yield_now();
                    asleep = self.sleeps();
                }
                Some(Stop::Signal(other)) => self.resume(libc::PTRACE_SINGLESTEP, other),
                Some(stop) => {
                    self.under_way = false;
                    return Some(stop);
                }
            }
        }
    }

    /// Whether it waits for something; not whether it waits for a processor.
    fn sleeps(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
    }

    /// As far as something happens.
    pub fn run(&mut self) -> Stop {
        self.through_other_signals(libc::PTRACE_CONT)
    }

    fn through_other_signals(&mut self, request: libc::c_uint) -> Stop {
        let mut signal = 0;
        if std::mem::take(&mut self.under_way) {
            match self.next_stop() {
                Stop::Signal(other) => signal = other,
                Stop::Trap if request == libc::PTRACE_CONT => {}
                stop => return stop,
            }
        }
        loop {
            self.resume(request, signal);
            match self.next_stop() {
                Stop::Signal(other) => signal = other,
                stop => return stop,
            }
        }
    }

    /// Has it go on in this way, with a signal that it was about to get.
    fn resume(&mut self, request: libc::c_uint, signal: i32) {
        self.request = request;
        self.ask(request, 0, signal as usize);
    }

    /// Lets it go on untraced from where it stands.
    pub fn let_go(&mut self) {
        self.threads.release();
        self.ask(libc::PTRACE_DETACH, 0, 0);
    }

    /// Kills it where it stands.
    pub fn kill(&mut self) {
        if !self.ended {
            // SAFETY: takes numbers only; it was not waited for yet, so the pid is still its own.
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
        }
        while !self.ended {
            self.next_stop();
        }
    }

    pub fn registers(&self) -> libc::user_regs_struct {
        // SAFETY: all bits zero are registers.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        // SAFETY: the structure is the one that the request fills, and ours for the length of the call.
        let done = unsafe { libc::ptrace(libc::PTRACE_GETREGS, self.pid, 0usize, &raw mut registers) };
        assert!(done != -1, "ptrace: {}", Error::last_os_error());
        registers
    }

    pub fn set_registers(&self, registers: &libc::user_regs_struct) {
        // SAFETY: the request reads the structure, which is ours for the length of the call.
        let done = unsafe { libc::ptrace(libc::PTRACE_SETREGS, self.pid, 0usize, &raw const *registers) };
        assert!(done != -1, "ptrace: {}", Error::last_os_error());
    }

    /// Eight bytes of its memory.
    pub fn peek(&self, at: u64) -> Option<u64> {
        // SAFETY: the C library's wrapper returns the word; it reads no memory of ours.
        let word = unsafe {
            *libc::__errno_location() = 0;
            libc::ptrace(libc::PTRACE_PEEKTEXT, self.pid, at as usize, 0usize)
        };
        (Error::last_os_error().raw_os_error() == Some(0)).then_some(word as u64)
    }

    pub fn poke(&self, at: u64, word: u64) {
        self.ask(libc::PTRACE_POKETEXT, at as usize, word as usize);
    }

    fn ask(&self, request: libc::c_uint, at: usize, data: usize) {
        // SAFETY: none of the requests that come here read or write memory of this process.
        let done = unsafe { libc::ptrace(request, self.pid, at, data) };
        assert!(done != -1, "ptrace {request} of {}: {}", self.pid, Error::last_os_error());
    }

    fn next_stop(&mut self) -> Stop {
        self.stop_if_any(0).expect("it is waited for")
    }

    /// `None`: nothing happened yet, and the options say not to wait.
    fn stop_if_any(&mut self, options: libc::c_int) -> Option<Stop> {
        let mut status = 0;
        loop {
            // SAFETY: `status` is ours for the length of the call.
            let done = unsafe { libc::waitpid(-self.pid, &mut status, libc::__WALL | options) };
            if done == self.pid && status >> 8 == libc::SIGTRAP | libc::PTRACE_EVENT_CLONE << 8 {
                self.ask(self.request, 0, 0); // the thread itself says that it is there
                continue;
            }
            if done == self.pid {
                break;
            }
            if done > 0 {
                self.threads.heard_of(done, status);
                continue;
            }
            if done == 0 {
                return None;
            }
            let error = Error::last_os_error();
            assert!(error.raw_os_error() == Some(libc::EINTR), "waitpid {}: {error}", self.pid);
        }
        Some(self.told(status))
    }

    fn told(&mut self, status: libc::c_int) -> Stop {
        if !libc::WIFSTOPPED(status) {
            self.ended = true;
            return Stop::Ended(status);
        }
        match libc::WSTOPSIG(status) {
            libc::SIGTRAP => Stop::Trap,
            libc::SIGUSR1 => Stop::Mark,
            other => Stop::Signal(other),
        }
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        self.kill();
    }
}
