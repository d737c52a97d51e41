//! A campaign: all subjects, each recorded once and then killed, or stopped, at all points that are wanted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::faults;
use crate::judge::WAYS;
use crate::operations::{self, Pair};
use crate::scene::{LONG_WATCH, Scene, Watchdog};
use crate::sleepers;
use crate::subject::{self, First, Subject};
use crate::symbols;
use crate::trace;
use crate::walk::{self, Kind, Point, Recording};
use crate::world::{Came, Operation};

/// How often a walk that went astray is tried again.
const TRIES: u32 = 3;
/// An operation of more instructions is long: it opens files, or looks through a whole mailbox, and each of its points costs a fifth of a second.
const LONG: usize = 20_000;
/// The second one of two meets more than it would alone, but not in its system calls.
const CALLS_OF_PAIRS: usize = 12;

/// What is done at which points.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// Every instruction, not only those where shared state changes.
    pub every: bool,
    pub kill: bool,
    /// Also stopped, at each point, or each second one …; 0: at none.
    pub stops: usize,
    /// System calls fail, and nothing else happens.
    pub faults: bool,
    /// Also two processes, one after the other, and others that sleep meanwhile.
    pub pairs: bool,
    /// Of the points where the first of two dies, so many at most.
    pub firsts: usize,
    /// Of all that is not one operation killed by itself only one of so many parts: 1 of 3 is (1, 3).
    pub part: Option<(usize, usize)>,
    /// As far as a violation that says this.
    pub until: Option<&'static str>,
    /// Of the changes of a long operation each second one, if it is 2, …; 0: all.
    pub of_long: usize,
    /// Of system calls that change nothing, so many at most; of those of the second one of two four times as many, but no more than a dozen, which is what 0 means.
    pub calls: usize,
    /// In how many ways survivors go about it at each point of what is not one of two; 0: only of such.
    pub ways: u32,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Totals {
    pub operations: AtomicU64,
    pub pairs: AtomicU64,
    pub instructions: AtomicU64,
    pub points: AtomicU64,
    pub kills: AtomicU64,
    pub stops: AtomicU64,
    pub sleeps: AtomicU64,
    pub lockstep: AtomicU64,
    pub faults: AtomicU64,
    pub messages: AtomicU64,
    pub adrift: AtomicU64,
    pub violations: AtomicU64,
    /// What was told of them.
    told: Mutex<Vec<String>>,
}

impl Totals {
    fn is_enough(&self, plan: Plan) -> bool {
        let told = self.told.lock().expect("nobody panics in there");
        plan.until.is_some_and(|text| told.iter().any(|told| told.contains(text)))
    }
}

/// What is done with one operation, or two.
#[derive(Clone, Copy)]
pub enum Job {
    One(Operation),
    Two(Pair),
    Heir(Pair),
    Sleeper(Operation),
}

impl Job {
    pub fn name(&self) -> String {
        match self {
            Job::One(operation) | Job::Sleeper(operation) => operation.name.into(),
            Job::Two(pair) => subject::name_of_pair(pair.second.name, pair.first.name, false),
            Job::Heir(pair) => subject::name_of_pair(pair.second.name, pair.first.name, true),
        }
    }

    pub fn run(&self, plan: Plan, totals: &Totals, dog: &Watchdog) {
        match *self {
            Job::One(operation) => {
                totals.operations.fetch_add(1, Relaxed);
                all_points(&Subject { operation, first: None }, plan, totals, dog);
            }
            Job::Two(pair) => {
                totals.pairs.fetch_add(1, Relaxed);
                let calls = if plan.calls > 0 { CALLS_OF_PAIRS.min(4 * plan.calls) } else { CALLS_OF_PAIRS };
                let plan = Plan { stops: 0, ways: 1, calls, ..plan };
                pair_of(&pair, false, plan, totals, dog);
            }
            Job::Heir(pair) => {
                totals.pairs.fetch_add(1, Relaxed);
                // Killed it leaves what anybody leaves; alive it must not be taken for the dead one.
                pair_of(&pair, true, Plan { kill: false, calls: 1, ..plan }, totals, dog);
            }
            Job::Sleeper(operation) => {
                totals.operations.fetch_add(1, Relaxed);
                sleepers::try_one(operation, totals, dog);
            }
        }
    }
}

/// All jobs of a plan.
pub fn jobs(plan: Plan) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    if plan.pairs {
        jobs.extend(operations::pairs().into_iter().map(Job::Two));
        jobs.extend(operations::heirs().into_iter().map(Job::Heir));
        jobs.extend(sleepers::ALL.iter().map(|(operation, _)| Job::Sleeper(*operation)));
    }
    if plan.ways > 0 {
        jobs.extend(operations::all().into_iter().map(Job::One));
    }
    jobs
}

/// Runs all of it, on all processors, and gives the totals.
pub fn run(plan: Plan, only: Option<&str>) -> Arc<Totals> {
    let totals = Arc::new(Totals::default());
    let mut jobs = jobs(plan);
    jobs.retain(|job| only.is_none_or(|only| job.name().contains(only)));
    let mut at = 0;
    jobs.retain(|job| {
        at += 1;
        plan.kill && matches!(job, Job::One(_)) || is_in(plan.part, at)
    });
    let jobs = Arc::new(Mutex::new(jobs));
    let dog = Watchdog::start();
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let workers: Vec<_> = (0..processors)
        .map(|_| {
            let (totals, jobs, dog) = (Arc::clone(&totals), Arc::clone(&jobs), dog.clone());
            std::thread::spawn(move || {
                trace::stay_on(NEXT.fetch_add(1, Relaxed));
                loop {
                    let job = jobs.lock().expect("nobody panics in there").pop();
                    let Some(job) = job else { return };
                    job.run(plan, &totals, &dog);
                }
            })
        })
        .collect();
    for worker in workers {
        if worker.join().is_err() {
            totals.violations.fetch_add(1, Relaxed);
        }
    }
    totals
}

/// Whether the one at this place of a row is in a part: of three parts the second one has each third, from the second one on.
pub fn is_in(part: Option<(usize, usize)>, at: usize) -> bool {
    part.is_none_or(|(part, of)| at % of == part % of)
}

/// The second operation after each change that the first one made; or when that was settled.
fn pair_of(pair: &Pair, settled: bool, plan: Plan, totals: &Totals, dog: &Watchdog) {
    let alone = Subject { operation: pair.first, first: None };
    // Many begin with the same one, which takes as long to record as all that comes after it.
    static FIRSTS: Mutex<BTreeMap<&str, Arc<Recording>>> = Mutex::new(BTreeMap::new());
    let known = FIRSTS.lock().expect("nobody panics in there").get(alone.operation.name).cloned();
    let recording = match known.map_or_else(|| record(&alone, dog).map(Arc::new), Ok) {
        Ok(recording) => recording,
        Err(why) => return violated(totals, &alone.name(), "recording", &why),
    };
    let known = Arc::clone(&recording);
    FIRSTS.lock().expect("nobody panics in there").insert(alone.operation.name, known);
    let changes = recording.points.iter().filter(|point| matches!(point.kind, Kind::Change | Kind::Done));
    let firsts = apart(changes);
    for point in some_of(&firsts, plan.firsts) {
        let first =
            First { operation: pair.first, recording: Arc::clone(&recording), point: *point, settled };
        all_points(&Subject { operation: pair.second, first: Some(first) }, plan, totals, dog);
        if totals.is_enough(plan) {
            return;
        }
    }
}

/// Of many points that come before the same instruction, in the copy of a payload say, only the first and the last.
fn apart<'a>(points: impl Iterator<Item = &'a Point>) -> Vec<&'a Point> {
    let points: Vec<&Point> = points.collect();
    let outer = |at: &usize| {
        let same = |other: &&Point| other.address == points[*at].address;
        !points[..*at].iter().any(&same) || !points[*at + 1..].iter().any(&same)
    };
    (0..points.len()).filter(outer).map(|at| points[at]).collect()
}

/// So many of them, all over, with the first and the last.
fn some_of<'a>(points: &[&'a Point], most: usize) -> impl Iterator<Item = &'a Point> {
    let number = points.len().min(most);
    (0..number).map(move |at| points[at * (points.len() - 1) / (number - 1).max(1)])
}

/// Records a subject all the way through.
pub fn record(subject: &Subject, dog: &Watchdog) -> Result<Recording, String> {
    let mut scene = Scene::new(subject, 0, dog)?;
    let mut tracee = scene.walker()?;
    let pid = tracee.pid();
    let recording = dog.watch(pid, LONG_WATCH, || walk::record(&mut tracee, &scene.directory))??;
    let came = scene.go_on(&mut tracee, true)?;
    match came {
        Came::Refused(why) if subject.first.is_none() && !subject.operation.is_in_vain() => {
            Err(format!("it does not work: {why}"))
        }
        _ => Ok(recording),
    }
}

/// The points of a recording that are tried. Of system calls that change nothing not more than so many, all over it:
/// some operations look for the same thing a hundred times.
fn wanted(recording: &Recording, plan: Plan) -> impl Iterator<Item = &Point> {
    let calls = recording.points.iter().filter(|point| point.kind == Kind::Call).count();
    let every = calls.div_ceil(plan.calls).max(1);
    let of_long = if recording.instructions() > LONG { plan.of_long.max(1) } else { 1 };
    let (mut call, mut change) = (0, 0);
    let before = apart(recording.points.iter().filter(|point| point.kind == Kind::Write));
    recording.points.iter().filter(move |point| match point.kind {
        Kind::Plain => plan.every,
        // Killed there it leaves what it leaves after the change before.
        Kind::Write => plan.every || plan.stops > 0 && before.iter().any(|other| other.step == point.step),
        Kind::Call => {
            call += 1;
            plan.every || call % every == 0
        }
        Kind::Change => {
            change += 1;
            change % of_long == 0
        }
        Kind::Done => true,
    })
}

fn all_points(subject: &Subject, plan: Plan, totals: &Totals, dog: &Watchdog) {
    let begin = Instant::now();
    let recording = match record(subject, dog) {
        Ok(recording) => recording,
        Err(why) => return violated(totals, &subject.name(), "recording", &why),
    };
    totals.instructions.fetch_add(recording.instructions() as u64, Relaxed);
    if plan.faults {
        return faults::all_of(subject, &recording, totals, dog);
    }
    let (mut points, mut changes, mut adrift) = (0, 0, 0);
    for (at, point) in wanted(&recording, plan).enumerate() {
        points += 1;
        changes = changes.max(point.changes);
        for turn in 0..plan.ways {
            let way = (at as u32 + turn) % WAYS;
            if plan.kill && (plan.every || point.kind != Kind::Write) {
                totals.kills.fetch_add(1, Relaxed);
                adrift += u64::from(!try_one(subject, &recording, point, way, false, totals, dog));
            }
        }
        if plan.stops > 0 && at % plan.stops == 0 {
            // What is looked for may show in few of the ways.
            let ways = if plan.until.is_some() { plan.ways } else { 1 };
            for turn in 0..ways {
                totals.stops.fetch_add(1, Relaxed);
                let way = (at as u32 + turn) % WAYS;
                adrift += u64::from(!try_one(subject, &recording, point, way, true, totals, dog));
            }
        }
        if totals.is_enough(plan) {
            break;
        }
    }
    totals.points.fetch_add(points, Relaxed);
    totals.adrift.fetch_add(adrift, Relaxed);
    eprintln!(
        "{:<36} {:>6} instructions {changes:>4} changes {points:>5} points {adrift:>3} adrift {:>6.1} s",
        subject.name(),
        recording.instructions(),
        begin.elapsed().as_secs_f64()
    );
}

/// Kills or stops it there; whether it got there.
fn try_one(
    subject: &Subject,
    recording: &Recording,
    point: &Point,
    way: u32,
    stop: bool,
    totals: &Totals,
    dog: &Watchdog,
) -> bool {
    for _ in 0..TRIES {
        let mut maps = String::new();
        match one(subject, recording, point, way, stop, dog, &mut maps) {
            Ok(true) => return true,
            Ok(false) => {}
            Err(why) => {
                let verb = if stop { "one-stop" } else { "one" };
                let place = symbols::name(&maps, point.address);
                let at = format!("{:?} {} at {place}", point.kind, point.step);
                let how = format!("{why}\n    stepkill {verb} {} {} {way}", subject.name(), point.step);
                violated(totals, &subject.name(), &at, &how);
                return true;
            }
        }
    }
    false
}

/// Walks a fresh process to a point, kills or stops it, and lets the survivor check. `false`: it came elsewhere,
/// and all was well there, too.
pub fn one(
    subject: &Subject,
    recording: &Recording,
    point: &Point,
    way: u32,
    stop: bool,
    dog: &Watchdog,
    maps: &mut String,
) -> Result<bool, String> {
    let mut scene = Scene::new(subject, way, dog)?;
    let mut tracee = scene.walker()?;
    let there = scene.go_to(recording, point, &mut tracee)?;
    let done = point.kind == Kind::Done;
    // What the second one of two could do depends on where the first one died.
    let achieved = done && there && !subject.operation.is_in_vain() && subject.first.is_none();
    if there {
        *maps = symbols::maps(tracee.pid());
    }
    if !stop {
        tracee.kill();
        drop(tracee);
        scene.ask(if achieved { "killed when done" } else { "killed" })?;
        return Ok(there);
    }
    scene.ask("during")?;
    if !there {
        return Ok(false);
    }
    let came = scene.go_on(&mut tracee, done)?;
    scene.ask(&format!("went on: {came}"))?;
    Ok(true)
}

pub fn violated(totals: &Totals, subject: &str, place: &str, what: &str) {
    totals.violations.fetch_add(1, Relaxed);
    eprintln!("VIOLATION {subject}, {place}: {what}");
    totals.told.lock().expect("nobody panics in there").push(what.into());
}
