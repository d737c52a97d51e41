//! A scene: a fresh domain, the command run in it, and waiting for what must come.
//!
//! Nothing here sleeps and hopes. What is waited for is a condition, an output or the end of a process,
//! with a deadline far beyond what it ever takes.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::Value;

/// Whoever waits so long finds that something is broken.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A domain for one test, removed at its end.
pub struct Scene {
    pub domain: PathBuf,
}

impl Scene {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let domain = PathBuf::from(format!("/dev/shm/tubepost-test.{}.{count}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&domain).expect("a fresh directory on /dev/shm");
        Self { domain }
    }

    /// The command in this domain.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = bare(args);
        command.env("TUBEPOST_DOMAIN", &self.domain);
        command
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[&str]) -> Ended {
        self.start(args).end()
    }

    /// Runs it with `input` on its standard input.
    pub fn feed(&self, args: &[&str], input: &[u8]) -> Ended {
        let mut running = Running::start(self.command(args).stdin(Stdio::piped()));
        // Whether it reads all of it is its own affair.
        let _ = running.input().write_all(input);
        running.close_input();
        running.end()
    }

    pub fn start(&self, args: &[&str]) -> Running {
        Running::start(&mut self.command(args))
    }

    /// Starts it with a standard input to write to.
    pub fn start_fed(&self, args: &[&str]) -> Running {
        Running::start(self.command(args).stdin(Stdio::piped()))
    }

    /// Starts `recv NAME --own …` and waits until the mailbox exists.
    pub fn own(&self, name: &str, options: &[&str]) -> Running {
        let mut running = self.start(&[&["recv", name, "--own"], options].concat());
        until("the mailbox exists", || {
            assert!(running.is_running(), "recv ended early: {}", running.complaints());
            self.find(name).is_some()
        });
        running
    }

    /// Starts `recv NAME …`, of a mailbox that the system owns, and waits until it is at work.
    pub fn receive(&self, name: &str, options: &[&str]) -> Running {
        let running = self.start(&[&["recv", name], options].concat());
        until("it receives", || is_at_work(running.pid()));
        running
    }

    /// Makes a mailbox that the system owns.
    pub fn create(&self, name: &str, options: &[&str]) {
        self.run(&[&["create", name], options].concat()).code(0).prints("").quietly();
    }

    /// What `ls --json` shows.
    pub fn list(&self) -> Vec<Value> {
        let ended = self.run(&["ls", "--json"]).code(0);
        let Ok(Value::Array(rows)) = serde_json::from_slice(&ended.stdout) else {
            panic!("ls --json is one array, not {}", ended.text())
        };
        rows
    }

    /// What `ls --json` shows of one mailbox.
    pub fn find(&self, name: &str) -> Option<Value> {
        self.list().into_iter().find(|row| row["name"] == name)
    }

    /// Waits until so many messages are waiting in a mailbox.
    pub fn until_waiting(&self, name: &str, depth: u64) {
        until("the messages are waiting", || self.find(name).is_some_and(|row| row["depth"] == depth));
    }

    /// Everything in the domain, as files.
    pub fn files(&self) -> Vec<String> {
        let names = std::fs::read_dir(&self.domain)
            .expect("the domain")
            .map(|entry| entry.expect("a file").file_name());
        names.map(|name| name.to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.domain);
    }
}

/// The command in no particular domain.
pub fn bare(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tubepost"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("TUBEPOST_DOMAIN");
    command
}

/// Whether a sender or receiver has opened its mailbox: only then it starts its second thread, which heeds
/// signals.
pub fn is_at_work(pid: u32) -> bool {
    std::fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|threads| threads.count() > 1)
}

/// Whether it has opened its mailbox and sleeps: a sender does when there is no room, or nobody collects.
pub fn waits(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    is_at_work(pid) && state == Some('S')
}

/// Says that a test could not run here; where nothing may be skipped it fails.
pub fn skip(test: &str, why: &str) {
    assert!(std::env::var_os("TUBEPOST_TESTS_NO_SKIP").is_none(), "{test} cannot run here: {why}");
    // Straight to the descriptor: libtest would swallow a println of a passing test.
    let _ = writeln!(std::io::stdout().lock(), "SKIP {test}: {why}");
}

/// Waits for a condition. Asking usually runs a process, which takes a while by itself.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "it never came to this: {what}");
        std::thread::yield_now();
    }
}

/// A process of the scene, killed at the latest when the test ends.
pub struct Running {
    child: Child,
    input: Option<ChildStdin>,
    output: Option<BufReader<ChildStdout>>,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the command starts");
        let (input, output) = (child.stdin.take(), child.stdout.take().map(BufReader::new));
        Self { child, input, output }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn input(&mut self) -> &mut ChildStdin {
        self.input.as_mut().expect("an open standard input")
    }

    /// Its standard input, to be written to by another thread.
    pub fn take_input(&mut self) -> ChildStdin {
        self.input.take().expect("an open standard input")
    }

    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// Closes our end of its standard output.
    pub fn close_output(&mut self) {
        self.output = None;
    }

    /// The next line it prints; it must be there soon, while the process goes on.
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        let output = self.output.as_mut().expect("an open standard output");
        while line.last() != Some(&b'\n') {
            if output.buffer().is_empty() {
                let readable = wait_for(output.get_ref(), PollFlags::IN);
                assert!(readable, "no line came; so far {:?}", String::from_utf8_lossy(&line));
            }
            let more = output.fill_buf().expect("its output");
            assert!(
                !more.is_empty(),
                "it ended in the middle of a line: {:?}",
                String::from_utf8_lossy(&line)
            );
            let length = more.iter().position(|&byte| byte == b'\n').map_or(more.len(), |at| at + 1);
            line.extend_from_slice(&more[..length]);
            output.consume(length);
        }
        line.pop();
        String::from_utf8(line).expect("text")
    }

    /// Everything more that a process printed which was killed.
    pub fn rest(&mut self) -> String {
        let mut text = String::new();
        self.output.as_mut().expect("an open standard output").read_to_string(&mut text).expect("text");
        text
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_none()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it can be signalled");
    }

    /// What it said on standard error, for a process that has ended.
    pub fn complaints(&mut self) -> String {
        let mut text = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            let _ = stderr.read_to_string(&mut text);
        }
        text
    }

    /// Waits for its end without reading its output.
    pub fn wait(&mut self) -> i32 {
        let pidfd = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()).expect("a pidfd");
        assert!(wait_for(&pidfd, PollFlags::IN), "it does not end");
        code(self.child.wait().expect("its end"))
    }

    /// Reads all it prints and waits for its end.
    pub fn end(mut self) -> Ended {
        self.close_input();
        let pid = Pid::from_child(&self.child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("a pidfd");
        let (done, watched) = std::sync::mpsc::channel::<()>();
        // Reading blocks: a process that never ends is killed so that the test does.
        let guard = std::thread::spawn(move || {
            let ended = wait_for(&pidfd, PollFlags::IN);
            let stuck = !ended && watched.try_recv().is_err();
            if stuck {
                let _ = kill_process(pid, Signal::KILL);
            }
            stuck
        });
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let complaints = self.child.stderr.take();
        std::thread::scope(|scope| {
            scope.spawn(|| complaints.map(|mut pipe| pipe.read_to_end(&mut stderr)));
            self.output.take().map(|mut pipe| pipe.read_to_end(&mut stdout))
        });
        let status = self.child.wait().expect("its end");
        let _ = done.send(());
        assert!(!guard.join().expect("the guard"), "it does not end");
        Ended { output: Output { status, stdout: stdout.clone(), stderr: stderr.clone() }, stdout }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for(fd: impl std::os::fd::AsFd, what: PollFlags) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left =
            Timespec::try_from(deadline.saturating_duration_since(Instant::now())).expect("a short time");
        match poll(&mut [PollFd::new(&fd, what)], Some(&left)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => panic!("poll: {e}"),
        }
    }
}

fn code(status: std::process::ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| panic!("it ended by {status}, not by itself"))
}

/// What a process said, and how it ended.
pub struct Ended {
    output: Output,
    pub stdout: Vec<u8>,
}

impl Ended {
    /// Whether it ended with 0.
    pub fn is_well(&self) -> bool {
        self.output.status.success()
    }

    /// Insists on an exit code.
    #[track_caller]
    pub fn code(self, expected: i32) -> Self {
        let found = code(self.output.status);
        assert_eq!(found, expected, "exit code; stdout {:?}, stderr {:?}", self.text(), self.complaint());
        self
    }

    /// Insists on what is on standard output.
    #[track_caller]
    pub fn prints(self, expected: impl AsRef<[u8]>) -> Self {
        let (found, expected) =
            (String::from_utf8_lossy(&self.stdout), String::from_utf8_lossy(expected.as_ref()));
        assert_eq!(found, expected, "standard output; stderr {:?}", self.complaint());
        self
    }

    /// Insists on one line on standard error, with all of this in it.
    #[track_caller]
    pub fn complains(self, of: &[&str]) -> Self {
        let text = self.complaint();
        assert!(
            text.starts_with("tubepost: ") && text.lines().count() == 1,
            "one line of complaint, not {text:?}"
        );
        for part in of {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
        self
    }

    /// Insists on silence on standard error.
    #[track_caller]
    pub fn quietly(self) -> Self {
        assert_eq!(self.complaint(), "", "nothing on standard error");
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|e| panic!("{e} in {}", self.text()))
    }
}

/// The names of an object's fields, in order.
pub fn fields(object: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = object.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// A file with some content.
pub fn plant(path: &Path, content: &[u8]) {
    std::fs::write(path, content).expect("a planted file");
}
