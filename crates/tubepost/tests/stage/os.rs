//! The few system calls that the tests need, each behind a safe name, and what /proc says of a process.
#![allow(unsafe_code)]

use std::time::Duration;

pub use super::place::files_in;

/// Nanoseconds on the clock that all processes share.
pub fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

pub fn thread_id() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get() as u32
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub fn signal(pid: u32, signal: i32) {
    // SAFETY: kill takes numbers only; the pid is that of a child not yet waited for, so it is still that child's.
    let done = unsafe { libc::kill(pid as i32, signal) };
    assert_eq!(done, 0, "signal {signal} to {pid}");
}

/// A role that is to outlive who started it, after all.
pub fn outlive_parent() {
    // SAFETY: as below.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0) };
}

/// Has no file system any more: the root is this directory, which is to be empty.
pub fn leave_files_behind(directory: &str) -> std::io::Result<()> {
    std::os::unix::fs::chroot(directory)?;
    std::env::set_current_dir("/")
}

/// From here on this thread, and those that it starts, can open nothing and make no connection.
pub fn refuse_opening() {
    let refused = [
        libc::SYS_open,
        libc::SYS_openat,
        libc::SYS_openat2,
        libc::SYS_creat,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_statfs,
        libc::SYS_execve,
    ];
    let op = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut filter = vec![op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for call in refused {
        filter.push(op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, call as u32, 0, 1));
        filter.push(op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0, 0));
    }
    filter.push(op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0));
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: plain structures, valid for the length of each call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let done = libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program);
        assert_eq!(done, 0, "seccomp filter: {}", std::io::Error::last_os_error());
    }
}

/// A role does not outlive the test thread that started it.
pub fn die_with_parent() {
    // SAFETY: PR_SET_PDEATHSIG takes a number and touches no memory of ours.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// System calls that this thread tried to make since [`refuse_system_calls`].
pub fn refused_calls() -> u64 {
    REFUSED.load(std::sync::atomic::Ordering::Relaxed)
}

static REFUSED: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

extern "C" fn refuse(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    REFUSED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    // SAFETY: the kernel hands the handler the interrupted thread's registers.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    context.uc_mcontext.gregs[libc::REG_RAX as usize] = -i64::from(libc::ENOSYS);
}

/// From here on this thread may write, exit, and free memory; any other system call is counted and fails.
pub fn refuse_system_calls() {
    const NUMBER: u32 = 0; // where the filter finds the call's number
    let allowed =
        [libc::SYS_write, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_rt_sigreturn, libc::SYS_munmap];
    let op = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut filter = vec![op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, NUMBER, 0, 0)];
    for call in allowed {
        filter.push(op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, call as u32, 0, 1));
        filter.push(op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0));
    }
    filter.push(op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_TRAP, 0, 0));
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: plain structures, valid for the length of each call; the handler is async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = refuse as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(libc::SIGSYS, &action, std::ptr::null_mut()), 0);
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let done = libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program);
        assert_eq!(done, 0, "seccomp filter: {}", std::io::Error::last_os_error());
    }
}

/// Ends the process, by a call that the filter allows.
pub fn exit_raw() -> ! {
    // SAFETY: the process leaves for good.
    unsafe { libc::_exit(0) }
}

/// Writes to stdout with nothing but `write`, as the filter demands.
pub fn write_raw(bytes: &[u8]) {
    // SAFETY: stdout stays open for the life of the process, the bytes are ours for the length of the call.
    let out = unsafe { std::os::fd::BorrowedFd::borrow_raw(1) };
    let _ = rustix::io::write(out, bytes);
}

/// Forks; the child runs `play` and leaves by `_exit`, with 0 if it did not panic. Returns the child's pid.
pub fn fork(play: impl FnOnce()) -> u32 {
    // SAFETY: the child runs in the copy of this thread alone; the other thread of this process, libtest's
    // main one, waits for us and holds no lock that the child needs (glibc takes care of malloc's).
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            let well = std::panic::catch_unwind(std::panic::AssertUnwindSafe(play)).is_ok();
            // SAFETY: ends the process without running what belongs to the parent.
            unsafe { libc::_exit(i32::from(!well)) }
        }
        pid => pid as u32,
    }
}

/// Waits for a forked child and says whether it left with 0.
pub fn wait_for(pid: u32) -> bool {
    let mut well = false;
    super::eventually("the forked child ends", || {
        let mut status = 0;
        // SAFETY: `status` is ours for the length of the call.
        let done = unsafe { libc::waitpid(pid as i32, &mut status, libc::WNOHANG) };
        assert!(done >= 0, "waitpid {pid}: {}", std::io::Error::last_os_error());
        well = status == 0;
        done != 0
    });
    well
}

/// Sets the soft limit of open files, and returns the one before.
pub fn limit_files(soft: u64) -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(soft), maximum: before.maximum })
        .expect("a lower limit");
    before.current.unwrap_or(1 << 20)
}

/// Becomes another user for good, in all threads.
pub fn become_user(id: u32) {
    become_member(id, id);
}

/// Becomes a user who is in this group and in no other, for good, in all threads.
pub fn become_member(user: u32, group: u32) {
    // SAFETY: these take numbers; glibc changes every thread.
    let done = unsafe { libc::setgroups(0, std::ptr::null()) | libc::setgid(group) | libc::setuid(user) };
    assert_eq!(done, 0, "become user {user} of {group}: {}", std::io::Error::last_os_error());
}

pub fn mount_tmpfs(at: &str, options: &str) -> std::io::Result<()> {
    mount("tmpfs", at, "tmpfs", 0, options)
}

/// Makes what is at one path appear at another too, for this mount namespace.
pub fn mount_again(from: &str, at: &str) -> std::io::Result<()> {
    mount(from, at, "", libc::MS_BIND, "")
}

/// Makes what is there readable and no more, for this mount namespace.
pub fn mount_read_only(at: &str) -> std::io::Result<()> {
    mount_again(at, at)?;
    mount(at, at, "", libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY, "")
}

pub fn mount(what: &str, at: &str, kind: &str, flags: libc::c_ulong, options: &str) -> std::io::Result<()> {
    let text = |it: &str| std::ffi::CString::new(it).expect("no NUL");
    let (what, at, kind, options) = (text(what), text(at), text(kind), text(options));
    // SAFETY: all pointers are to NUL-terminated strings that live until after the call.
    let done =
        unsafe { libc::mount(what.as_ptr(), at.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast()) };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// What a thread does, in ps's letters: S sleeps, R runs, T is stopped; `None` if there is no such thread.
pub fn state_of(pid: u32, tid: u32) -> Option<char> {
    stat_fields(&format!("/proc/{pid}/task/{tid}/stat"))?.first()?.chars().next()
}

/// Waits until a thread that said it would wait does, in the kernel.
#[track_caller]
pub fn until_asleep(pid: u32, tid: u32) {
    super::eventually("the thread sleeps", || state_of(pid, tid) == Some('S'));
}

/// User and system time of a process, in ticks.
pub fn ticks_of(pid: u32) -> u64 {
    let fields = stat_fields(&format!("/proc/{pid}/stat")).expect("it runs");
    fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
}

/// The fields after the command's name, which may hold anything.
fn stat_fields(path: &str) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text[text.rfind(')')? + 1..].split_whitespace().map(str::to_owned).collect())
}

/// How many descriptors this process has open.
pub fn descriptors() -> usize {
    // The listing itself holds one.
    std::fs::read_dir("/proc/self/fd").expect("/proc").count() - 1
}

/// Burns about this long without giving the processor away, for moments too short to sleep.
pub fn spin_for(time: Duration) {
    let end = std::time::Instant::now() + time;
    while std::time::Instant::now() < end {
        std::hint::spin_loop();
    }
}
