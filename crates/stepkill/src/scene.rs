//! One scene: a fresh domain, a survivor, and processes that are walked. Whoever hangs in it is killed, and that
//! is told.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::filed;
use crate::held;
use crate::ledger::FIRST_TAG;
use crate::lockstep::Player;
use crate::planted;
use crate::subject::Subject;
use crate::trace::{PARENT, Stop, Tracee};
use crate::walk::{Point, Recording};
use crate::world::{self, BOX, Came, Owner};

/// Nothing takes as long as this, also on a busy machine.
pub const WATCH: Duration = Duration::from_secs(20);
/// A walk of every instruction may.
pub const LONG_WATCH: Duration = Duration::from_secs(300);

/// In milliseconds, and of one length: how long somebody waits for another one that is walked, …
const PATIENCE: &str = "0100";
/// … and that step by step.
const SLOW_PATIENCE: &str = "2000";

/// Kills who takes too long.
#[derive(Clone, Default)]
pub struct Watchdog(Arc<Mutex<Vec<Watched>>>);

/// A process, until when it has time, and whether it was killed for taking longer.
type Watched = (u32, Instant, Arc<AtomicBool>);

impl Watchdog {
    pub fn start() -> Watchdog {
        let dog = Watchdog::default();
        let watched = Arc::clone(&dog.0);
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_millis(100));
                let mut watched = watched.lock().expect("nobody panics in there");
                watched.retain(|(pid, deadline, struck)| {
                    let late = Instant::now() > *deadline;
                    if late && let Some(pid) = rustix::process::Pid::from_raw(*pid as i32) {
                        struck.store(true, Ordering::Release);
                        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                    }
                    !late
                });
            }
        });
        dog
    }

    /// Watches a process while something is done with it. It is not waited for meanwhile but by its end.
    pub fn watch<R>(&self, pid: u32, patience: Duration, act: impl FnOnce() -> R) -> Result<R, String> {
        let struck = Arc::new(AtomicBool::new(false));
        let entry = (pid, Instant::now() + patience, Arc::clone(&struck));
        self.0.lock().expect("nobody panics in there").push(entry);
        let done = act();
        self.0.lock().expect("nobody panics in there").retain(|(other, _, _)| *other != pid);
        if struck.load(Ordering::Acquire) {
            Err(format!("a hang of more than {patience:?}"))
        } else {
            Ok(done)
        }
    }
}

/// See above.
pub struct Scene<'a> {
    subject: &'a Subject,
    kind: String,
    dog: &'a Watchdog,
    pub directory: PathBuf,
    /// No system call failed: all that was locked could be unlocked.
    pub sound: bool,
    /// Who is walked goes step by step, and has to be more patient for that.
    pub slow: bool,
    judge: Child,
    to_judge: ChildStdin,
    from_judge: BufReader<ChildStdout>,
}

impl<'a> Scene<'a> {
    /// A domain, and a survivor who has prepared it.
    pub fn new(subject: &'a Subject, way: u32, dog: &'a Watchdog) -> Result<Scene<'a>, String> {
        let mut scene = Scene::empty(subject, subject.kind(), way, dog)?;
        scene.ask("prepare")?;
        Ok(scene)
    }

    /// The same for two of this name, of which the first one is the subject.
    pub fn of_two(
        subject: &'a Subject,
        name: String,
        way: u32,
        dog: &'a Watchdog,
    ) -> Result<Scene<'a>, String> {
        let two = format!("two {name}");
        let mut scene = Scene::empty(subject, name, way, dog)?;
        scene.ask(&two)?;
        scene.ask("prepare")?;
        Ok(scene)
    }

    fn empty(subject: &'a Subject, kind: String, way: u32, dog: &'a Watchdog) -> Result<Scene<'a>, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // All names are of one length, so that all walks are.
        let name = format!("/dev/shm/stepkill-{:08}-{count:08}", std::process::id());
        let mut command = again(&["judge", &kind, &name, &way.to_string()]);
        let mut judge = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(told)?;
        let to_judge = judge.stdin.take().expect("piped");
        let from_judge = BufReader::new(judge.stdout.take().expect("piped"));
        Ok(Scene {
            subject,
            kind,
            dog,
            directory: name.into(),
            sound: true,
            slow: false,
            judge,
            to_judge,
            from_judge,
        })
    }

    /// Whether threads of the survivor wait for somebody all the time. While others are walked they have to stand still,
    /// or they would do something, too.
    fn has_parties(&self) -> bool {
        self.subject.world().has_parties()
    }

    /// Has the survivor stand still, or go on.
    fn hold_judge(&self, signal: Signal) -> Result<(), String> {
        let pid = Pid::from_child(&self.judge);
        kill_process(pid, signal).map_err(|errno| errno.to_string())?;
        if signal != Signal::STOP {
            return Ok(());
        }
        let end = Instant::now() + WATCH;
        loop {
            let threads = std::fs::read_dir(format!("/proc/{}/task", self.judge.id())).map_err(told)?;
            let stands = |thread: std::fs::DirEntry| {
                let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
                stat.rsplit(") ").next().is_none_or(|rest| rest.starts_with(['T', 'Z']) || rest.is_empty())
            };
            if threads.flatten().all(stands) {
                return Ok(());
            }
            if Instant::now() > end {
                return Err("the survivor does not stand still".into());
            }
            std::thread::yield_now();
        }
    }

    /// Tells the survivor something; an error says what is wrong then.
    pub fn ask(&mut self, line: &str) -> Result<(), String> {
        if !self.has_parties() {
            return self.ask_awake(line);
        }
        self.hold_judge(Signal::CONT)?;
        self.ask_awake(line)?;
        self.hold_judge(Signal::STOP)
    }

    fn ask_awake(&mut self, line: &str) -> Result<(), String> {
        let mut answer = String::new();
        let (to, from) = (&mut self.to_judge, &mut self.from_judge);
        let talk = || writeln!(to, "{line}").and_then(|()| from.read_line(&mut answer));
        let done = self.dog.watch(self.judge.id(), WATCH, talk);
        done.map_err(|hang| format!("{hang} of the survivor, told “{line}”"))?.map_err(told)?;
        match answer.trim_end() {
            "fine" => Ok(()),
            "" => Err(format!("the survivor died, told “{line}”")),
            wrong => Err(format!("{} (told “{line}”)", wrong.trim_start_matches("wrong: "))),
        }
    }

    /// Starts a walker, and has it come to its first mark.
    fn start(&mut self, operation: &str, tag: u8, owner: Owner) -> Result<Tracee, String> {
        let directory = self.directory.to_str().expect("a plain name").to_owned();
        let arguments = ["walker", operation, &directory, &tag.to_string(), &self.kind];
        let patience = if self.slow { SLOW_PATIENCE } else { PATIENCE };
        let mut command = again(&arguments);
        command.env(world::PATIENCE, patience);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
        let child = command.spawn().map_err(told)?;
        let mut tracee = self.dog.watch(child.id(), WATCH, || Tracee::of(child))??;
        if owner == Owner::Walker {
            self.ask("fill")?;
            let stop = self.dog.watch(tracee.pid(), WATCH, || tracee.run())?;
            if stop != Stop::Mark {
                return Err(format!("{stop:?} before the operation"));
            }
        }
        tracee.hold_others();
        Ok(tracee)
    }

    /// The process that dies first, where there is one, and then the one that matters, at its first mark.
    pub fn walker(&mut self) -> Result<Tracee, String> {
        let subject = self.subject;
        let owner = subject.world().owner;
        let Some(first) = &subject.first else { return self.start(subject.operation.name, 2, owner) };
        let mut tracee = self.first(first.operation.name)?;
        self.go_to(&first.recording, &first.point, &mut tracee)?;
        tracee.kill();
        drop(tracee);
        if first.settled {
            self.ask("settle")?;
        }
        if filed::is_asleep(&subject.operation.world) {
            self.ask("restart")?;
        }
        self.start(subject.operation.name, 3, Owner::Nobody)
    }

    /// Only the one that dies first.
    pub fn first(&mut self, name: &str) -> Result<Tracee, String> {
        self.start(name, 2, self.subject.world().owner)
    }

    /// Two processes, both at their first marks, with breakpoints at what is known to touch something.
    pub fn two(&mut self, second: &str, known: &BTreeSet<u64>) -> Result<[Player; 2], String> {
        let directory = self.directory.to_str().expect("a plain name").to_owned();
        let first = self.start(self.subject.operation.name, FIRST_TAG, self.subject.world().owner)?;
        let second = self.start(second, FIRST_TAG + 1, Owner::Nobody)?;
        Ok([Player::new(first, &directory, known)?, Player::new(second, &directory, known)?])
    }

    pub fn go_to(&mut self, way: &Recording, point: &Point, tracee: &mut Tracee) -> Result<bool, String> {
        let directory: &Path = &self.directory;
        self.dog.watch(tracee.pid(), WATCH, || way.go_to(point, tracee, directory))?
    }

    /// Lets it go on to its second mark, and says how many descriptors of the domain it has then.
    pub fn run_to_the_mark(&mut self, tracee: &mut Tracee) -> Result<usize, String> {
        let stop = self.dog.watch(tracee.pid(), WATCH, || tracee.run_all())?;
        if stop != Stop::Mark {
            return Err(format!("{stop:?} on the way to the end"));
        }
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", tracee.pid())).map_err(told)?.flatten();
        let links = descriptors.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        let ours =
            |link: &PathBuf| link.starts_with(&self.directory) || filed::is_file_of(&self.directory, link);
        Ok(links.filter(ours).count())
    }

    /// Lets it go on from where it stands, to its end; what came of its operation.
    pub fn go_on(&mut self, tracee: &mut Tracee, at_the_mark: bool) -> Result<Came, String> {
        let mut said = String::new();
        let (path, sound) = (self.directory.join(BOX), self.sound);
        let regional = self.subject.world().region.is_some();
        let ends = self.subject.world().paired.is_some() && self.subject.operation.effects.ends;
        self.dog.watch(tracee.pid(), WATCH, || {
            let stop = if at_the_mark { Stop::Mark } else { tracee.run_all() };
            if stop != Stop::Mark {
                return Err(format!("{stop:?} when it went on"));
            }
            match File::open(&path) {
                // A region has no chunks.
                Ok(file) if sound && regional => held::no_lock(&file)?,
                Ok(_) if sound => held::nothing(&path, tracee.pid())?,
                _ => {}
            }
            if ends {
                held::no_end(tracee.pid(), std::process::id())?;
            }
            tracee.let_go();
            let mut out = tracee.child().stdout.take().expect("piped");
            out.read_to_string(&mut said).map_err(told)?;
            tracee.kill();
            Ok(())
        })??;
        let came = Came::parse(&said).ok_or_else(|| format!("the walker went on and said “{said}”"))?;
        match &came {
            Came::Refused(why) if sound && self.subject.first.is_none() && is_the_systems(why) => {
                Err(format!("no system call failed, and it was refused {why}"))
            }
            _ => Ok(came),
        }
    }
}

/// Whether that is said of a system call that failed.
fn is_the_systems(why: &str) -> bool {
    ["Os {", "NoMemory", "DiskFull", "LogFailed"].iter().any(|it| why.starts_with(it))
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        let _ = self.judge.kill();
        let _ = self.judge.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
        let _ = std::fs::remove_dir_all(filed::log_of(&self.directory));
    }
}

/// This program, started again, with the same error planted in it, if there is one.
pub fn again(arguments: &[&str]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    // Of one length, so that all walks are.
    command.args(arguments).env_clear().env(PARENT, format!("{:08}", std::process::id()));
    if let Some(error) = std::env::var_os(planted::CHOICE) {
        command.env(planted::CHOICE, error);
    }
    command
}

fn told(error: std::io::Error) -> String {
    error.to_string()
}
