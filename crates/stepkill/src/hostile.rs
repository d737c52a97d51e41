//! Hostile memory: somebody who may write to mailboxes writes rubbish into every word of them, while others use them.
//!
//! This process is the attacker. The victims (`hostile/victims.rs`) are processes that send, receive, own, replace and
//! clean up mailboxes of several kinds (`hostile/boxes.rs`), over and over; some are killed, so that
//! others have dead ones to put in order. Whatever stands in the memory, a victim's calls must come back in time,
//! with a result or an error: a panic, a signal, a hang, memory beyond reason, or a message that can't be
//! is a violation. That messages are lost, doubled or invented is none.

mod attack;
mod boxes;
pub mod dice;
mod grounds;
mod mapping;
mod victims;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use attack::{Prey, Strays};
use dice::Dice;
use victims::PARTS;

pub use victims::play;

use crate::campaign::Totals;
use crate::scene::{self, Watchdog};

/// A victim says something at least this often, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// With so many violations the run ends.
const ENOUGH: u64 = 5;
/// One of the victims is killed about so often.
const KILL_EVERY: Duration = Duration::from_millis(60);

/// What the attacker and those who mind the victims share.
struct Run {
    directory: String,
    seed: u64,
    totals: Arc<Totals>,
    prey: Mutex<Vec<Prey>>,
    strays: Mutex<Strays>,
    /// How often which call had which outcome.
    tally: Mutex<BTreeMap<(String, String), u64>>,
    over: AtomicBool,
    started: AtomicU64,
}

/// A process that plays a part, as long as it may be killed.
type Stage = Arc<Mutex<Option<(Child, bool)>>>;

/// Writes so often, and says what else is to be told of it.
pub fn run(writes: u64, seed: u64, totals: &Arc<Totals>) -> Vec<(String, u64)> {
    let directory = format!("/dev/shm/stepkill-{:08}-hostile", std::process::id());
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir(&directory).expect("a directory of our own");
    let domain = Path::new(&directory).join("domain");
    tubepost::Domain::open(&domain).expect("a domain of our own");
    let prey = boxes::ALL.iter().map(|kind| Prey::new(kind, domain.join(kind.name)));
    let regions = grounds::ALL.iter();
    let regions = regions.flat_map(|it| Prey::of_region(&it.kind, &domain.join(it.kind.name)));
    let prey = prey.chain(regions).collect();
    let run = Run {
        directory: directory.clone(),
        seed,
        totals: Arc::clone(totals),
        prey: Mutex::new(prey),
        strays: Mutex::default(),
        tally: Mutex::default(),
        over: AtomicBool::new(false),
        started: AtomicU64::new(0),
    };
    let dog = Watchdog::start();
    let mut done = (0, 0);
    std::thread::scope(|scope| {
        let parts = PARTS.iter().flat_map(|(part, number)| (0..*number).map(move |_| *part));
        let stages: Vec<Stage> = parts
            .map(|part| {
                let (stage, run, dog) = (Stage::default(), &run, &dog);
                let mine = Arc::clone(&stage);
                scope.spawn(move || run.mind(part, &mine, dog));
                stage
            })
            .collect();
        done = run.attack(writes, &stages);
        run.over.store(true, Relaxed);
    });
    let _ = std::fs::remove_dir_all(&directory);
    let tally = run.tally.into_inner().expect("nobody panics in there");
    told(&tally);
    let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
    for ((_, word), count) in &tally {
        *outcomes.entry(word.to_lowercase()).or_default() += count;
    }
    let mut numbers = vec![("writes".into(), done.0), ("mailboxes".into(), done.1), ("seed".into(), seed)];
    numbers.extend(outcomes);
    numbers
}

/// The processes that play just now.
fn pids(stages: &[Stage]) -> Vec<u32> {
    let pid =
        |stage: &Stage| stage.lock().expect("nobody panics in there").as_ref().map(|(child, _)| child.id());
    stages.iter().filter_map(pid).collect()
}

/// Which calls came to what, on stderr.
fn told(tally: &BTreeMap<(String, String), u64>) {
    let mut calls: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for ((what, word), count) in tally {
        calls.entry(what).or_default().push(format!("{word} {count}"));
    }
    calls.iter().for_each(|(what, words)| eprintln!("{what}: {}", words.join(", ")));
}

impl Run {
    /// Writes, and kills now and then; gives the number of writes, and of mailboxes that were written to.
    fn attack(&self, writes: u64, stages: &[Stage]) -> (u64, u64) {
        let (mut dice, domain) = (Dice::new(self.seed), Path::new(&self.directory).join("domain"));
        let (mut written, mut mailboxes, mut killed) = (0, 0, Instant::now());
        while written < writes && !self.is_enough() {
            {
                let mut prey = self.prey.lock().expect("nobody panics in there");
                let mut strays = self.strays.lock().expect("nobody panics in there");
                let stray = dice.below(4) == 0;
                let victims = if stray { pids(stages) } else { Vec::new() };
                let stray = if stray { strays.one(&domain, &victims, &mut dice) } else { None };
                let (one, fresh) = match stray {
                    Some(stray) => stray,
                    None => {
                        let count = prey.len() as u64;
                        let one = &mut prey[dice.below(count) as usize];
                        let fresh = one.look();
                        (one, fresh)
                    }
                };
                mailboxes += u64::from(fresh);
                let (burst, pause) = match dice.below(4) {
                    0 => (200, 0),
                    1 => (40, 0),
                    2 => (8, 0),
                    _ => (20, 20),
                };
                let count = (1 + dice.below(burst)).min(writes - written);
                written += one.write(&mut dice, count, Duration::from_micros(pause));
            }
            std::thread::sleep(Duration::from_micros(dice.below(2000)));
            // As many writes as calls, or fewer, also where a sanitizer slows the victims down.
            while self.totals.operations.load(Relaxed) < written && !self.is_enough() {
                std::thread::sleep(Duration::from_micros(200));
            }
            if killed.elapsed() > KILL_EVERY {
                killed = Instant::now();
                let stage = &stages[dice.below(stages.len() as u64) as usize];
                if let Some((child, expected)) = &mut *stage.lock().expect("nobody panics in there") {
                    *expected = true;
                    let _ = child.kill();
                    self.totals.kills.fetch_add(1, Relaxed);
                }
            }
        }
        (written, mailboxes)
    }

    fn is_enough(&self) -> bool {
        self.totals.violations.load(Relaxed) >= ENOUGH
    }

    /// Has a part played by one process after the other, and listens to them.
    fn mind(&self, part: &str, stage: &Stage, dog: &Watchdog) {
        while !self.over.load(Relaxed) {
            let own = self.started.fetch_add(1, Relaxed);
            let seed = Dice::new(self.seed ^ own << 32).roll();
            let arguments = ["victim", &self.directory, part, &own.to_string(), &seed.to_string()];
            let mut command = scene::again(&arguments);
            if let Some(options) = std::env::var_os("ASAN_OPTIONS") {
                command.env("ASAN_OPTIONS", options);
            }
            let mut child = command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("this program can be started again");
            let pid = child.id();
            let mut to_victim = child.stdin.take();
            let from_victim = BufReader::new(child.stdout.take().expect("piped"));
            *stage.lock().expect("nobody panics in there") = Some((child, false));
            let heard = self.listen(from_victim, &mut to_victim, (pid, part, own), dog);
            let (mut child, expected) =
                stage.lock().expect("nobody panics in there").take().expect("it was put there");
            let _ = heard.is_err().then(|| child.kill());
            let status = child.wait().expect("our own child");
            match heard {
                Err(why) => self.violated(part, own, &why),
                Ok(false) if !expected => self.violated(part, own, &format!("it ended by itself: {status}")),
                Ok(_) => {}
            }
            let _ = std::fs::remove_file(victims::note_path(&self.directory, own as u32));
        }
    }

    /// Until it has ended: whether in good order. An error: it hangs.
    fn listen(
        &self,
        mut from: impl BufRead,
        to: &mut Option<ChildStdin>,
        (pid, part, own): (u32, &str, u64),
        dog: &Watchdog,
    ) -> Result<bool, String> {
        loop {
            if self.over.load(Relaxed) {
                drop(to.take());
            }
            let mut line = String::new();
            let read = dog.watch(pid, PATIENCE, || from.read_line(&mut line));
            if read?.map_err(|error| error.to_string())? == 0 {
                return Ok(false);
            }
            let line = line.trim_end();
            if line == "end" {
                return Ok(true);
            } else if let Some(why) = line.strip_prefix("violation ") {
                self.violated(part, own, why);
            } else if let Some(did) = line.strip_prefix("did") {
                let words: Vec<&str> = did.split_whitespace().collect();
                let mut tally = self.tally.lock().expect("nobody panics in there");
                for three in words.chunks_exact(3) {
                    let count: u64 = three[2].parse().map_err(|_| format!("it said “{line}”"))?;
                    self.totals.operations.fetch_add(count, Relaxed);
                    *tally.entry((three[0].into(), three[1].into())).or_default() += count;
                }
            } // else its last line, of which only a part was written
        }
    }

    fn violated(&self, part: &str, own: u64, why: &str) {
        let note = std::fs::read_to_string(victims::note_path(&self.directory, own as u32));
        let note = note.unwrap_or_default();
        self.totals.violations.fetch_add(1, Relaxed);
        eprintln!("VIOLATION hostile, seed {}, a process that was to {part}: {why}", self.seed);
        eprintln!("  it was in: {}", note.trim_end());
        for prey in self.prey.lock().expect("nobody panics in there").iter() {
            if note.contains(prey.kind.name) || why.contains(prey.kind.name) {
                eprintln!("  last writes to {}: {}", prey.kind.name, prey.told());
            }
        }
        if note.contains(boxes::LINKS.name) {
            eprintln!("  last writes to {}", self.strays.lock().expect("nobody panics in there").told());
        }
    }
}
