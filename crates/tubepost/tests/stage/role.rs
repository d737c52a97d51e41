//! Real processes: this test binary, started again in a role.
//!
//! Each test binary has `#[test] fn role() { stage::enter(&[…]) }`, which passes at once in a normal run.
//! With `TUBEPOST_TEST_ROLE` set it plays that role and leaves. libtest's own words on stdout are told
//! from a role's by the mark that each line of a role begins with.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::{PATIENCE, os};

const ROLE: &str = "TUBEPOST_TEST_ROLE";
const ARGS: &str = "TUBEPOST_TEST_ROLE_ARGS";
const BETWEEN_ARGS: &str = "\u{1f}";
const MARK: &str = "@@ ";

/// A name and what a process of that role does.
pub type Role = (&'static str, fn(&mut Cue));

/// Plays the role that this process was started for, if it was.
pub fn enter(roles: &[&[Role]]) {
    let Ok(name) = std::env::var(ROLE) else { return };
    let args = std::env::var(ARGS).expect("a role has arguments, maybe none");
    let (_, play) = roles.iter().copied().flatten().find(|(it, _)| *it == name).expect("a known role");
    os::die_with_parent();
    let args =
        if args.is_empty() { Vec::new() } else { args.split(BETWEEN_ARGS).map(str::to_owned).collect() };
    play(&mut Cue { args });
    std::process::exit(0);
}

/// What a role has in hand: its arguments and the line to the test.
pub struct Cue {
    args: Vec<String>,
}

impl Cue {
    pub fn arg(&self, at: usize) -> &str {
        &self.args[at]
    }

    /// The arguments from there on, if there are just so many.
    pub fn rest<const N: usize>(&self, from: usize) -> Option<[&str; N]> {
        let rest: Vec<&str> = self.args.get(from..)?.iter().map(String::as_str).collect();
        rest.try_into().ok()
    }

    pub fn number(&self, at: usize) -> u64 {
        self.args[at].parse().expect("a number")
    }

    pub fn say(&self, line: impl std::fmt::Display) {
        let mut out = std::io::stdout().lock();
        // libtest may have left half a line.
        writeln!(out, "\n{MARK}{line}").and_then(|()| out.flush()).expect("the test listens");
    }

    /// The next line from the test; a test that is gone ends the role.
    pub fn hear(&self) -> String {
        let mut line = String::new();
        match std::io::stdin().lock().read_line(&mut line) {
            Ok(0) | Err(_) => std::process::exit(0),
            Ok(_) => line.trim_end().to_owned(),
        }
    }
}

/// A process in a role, killed when dropped.
pub struct Child {
    role: String,
    process: std::process::Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl Child {
    pub fn start(role: &str, args: &[&str]) -> Child {
        Child::start_by(Command::new(exe()), role, args)
    }

    /// Inside a mount namespace of its own where it may mount; `Err` says why there can be none.
    pub fn start_in_namespace(role: &str, args: &[&str]) -> Result<Child, String> {
        Child::start_within(&["-m"], role, args)
    }

    /// Inside new namespaces, as `unshare` makes them by these flags, if need be as root of a new user
    /// namespace; `Err` says why there can be none. Killing it kills all in there.
    pub fn start_within(flags: &[&str], role: &str, args: &[&str]) -> Result<Child, String> {
        for user in [&[][..], &["-U", "-r"][..]] {
            let flags = [user, flags].concat();
            let mut probe = Command::new("unshare");
            probe.args(&flags).arg("true").stdout(Stdio::null()).stderr(Stdio::null());
            if probe.status().is_ok_and(|status| status.success()) {
                let mut command = Command::new("unshare");
                command.args(&flags).arg(exe());
                return Ok(Child::start_by(command, role, args));
            }
        }
        Err(format!(
            "no namespaces to be had by `unshare {}`, neither as root nor as a user",
            flags.join(" ")
        ))
    }

    /// As another user, in another group, and behind a program that starts others.
    pub fn start_as(user: &str, group: &str, before: &[&str], role: &str, args: &[&str]) -> Child {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", user, "--regid", group, "--clear-groups"]).args(before).arg(exe());
        Child::start_by(command, role, args)
    }

    /// Inside the namespaces of another process, as `nsenter` enters them by these flags.
    pub fn start_beside(pid: u32, flags: &[&str], role: &str, args: &[&str]) -> Child {
        let mut command = Command::new("nsenter");
        command.args(["-t", &pid.to_string()]).args(flags).arg(exe());
        Child::start_by(command, role, args)
    }

    /// By whatever starts a command with what else it is to have.
    pub fn start_handing(
        role: &str,
        args: &[&str],
        spawn: impl FnOnce(&mut Command) -> std::io::Result<std::process::Child>,
    ) -> Child {
        Child::start_through(Command::new(exe()), role, args, spawn)
    }

    /// By the same, what it says being said by this process; who started this one hears it, also later on.
    pub fn start_with_our_voice(
        role: &str,
        spawn: impl FnOnce(&mut Command) -> std::io::Result<std::process::Child>,
    ) -> std::process::Child {
        let mut command = Command::new(exe());
        command.args(["--exact", "role", "--nocapture"]).env(ROLE, role).env(ARGS, "");
        spawn(command.stdin(Stdio::null())).expect("this binary can be started again")
    }

    fn start_by(command: Command, role: &str, args: &[&str]) -> Child {
        Child::start_through(command, role, args, Command::spawn)
    }

    fn start_through(
        mut command: Command,
        role: &str,
        args: &[&str],
        spawn: impl FnOnce(&mut Command) -> std::io::Result<std::process::Child>,
    ) -> Child {
        command
            .args(["--exact", "role", "--nocapture"])
            .env(ROLE, role)
            .env(ARGS, args.join(BETWEEN_ARGS))
            .env_remove("TUBEPOST_DOMAIN")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = spawn(&mut command).expect("this binary can be started again");
        let stdout = BufReader::new(process.stdout.take().expect("piped"));
        let (sayer, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if let Some(line) = line.strip_prefix(MARK) {
                    let _ = sayer.send(line.to_owned());
                }
            }
        });
        let stdin = process.stdin.take();
        Child { role: role.to_owned(), process, stdin, lines }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn say(&mut self, line: impl std::fmt::Display) {
        let stdin = self.stdin.as_mut().expect("open until finish");
        if let Err(error) = writeln!(stdin, "{line}").and_then(|()| stdin.flush()) {
            panic!("the {} (pid {}) does not listen: {error}", self.role, self.process.id());
        }
    }

    /// The next line of the role.
    #[track_caller]
    pub fn hear(&mut self) -> String {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("the {} (pid {}) hangs", self.role, self.pid()),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = self.status();
                panic!("the {} (pid {}) ended without a word: {status:?}", self.role, self.pid())
            }
        }
    }

    /// The next line, unless the role ended without one.
    #[track_caller]
    pub fn hear_or_end(&mut self) -> Result<String, Option<ExitStatus>> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Ok(line),
            Err(mpsc::RecvTimeoutError::Timeout) => Err(None),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(self.status()),
        }
    }

    /// A line if there is one by now.
    pub fn hear_now(&mut self) -> Option<String> {
        self.lines.try_recv().ok()
    }

    #[track_caller]
    pub fn expect(&mut self, line: &str) {
        assert_eq!(self.hear(), line, "from the {}", self.role);
    }

    #[track_caller]
    pub fn ask(&mut self, line: impl std::fmt::Display) -> String {
        self.say(line);
        self.hear()
    }

    pub fn kill(&mut self) {
        self.process.kill().expect("our own child");
        self.process.wait().expect("our own child");
    }

    /// Whether it has ended; does not wait.
    pub fn is_dead(&mut self) -> bool {
        self.process.try_wait().expect("our own child").is_some()
    }

    /// SIGKILL without waiting for the end.
    pub fn strike(&mut self) {
        self.process.kill().expect("our own child");
    }

    /// Stops it, and returns when it stands still.
    pub fn stop(&self) {
        os::signal(self.pid(), libc::SIGSTOP);
        super::eventually("the process is stopped", || {
            matches!(os::state_of(self.pid(), self.pid()), Some('T' | 'Z'))
        });
    }

    pub fn go_on(&self) {
        os::signal(self.pid(), libc::SIGCONT);
    }

    /// Lets it end by itself, and expects that all went well for it.
    #[track_caller]
    pub fn finish(mut self) {
        drop(self.stdin.take());
        match self.status() {
            Some(status) => assert!(status.success(), "the {} failed: {status:?}", self.role),
            None => panic!("the {} (pid {}) does not end", self.role, self.pid()),
        }
    }

    fn status(&mut self) -> Option<ExitStatus> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.process.try_wait().expect("our own child") {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn exe() -> std::path::PathBuf {
    std::env::current_exe().expect("our own binary")
}
