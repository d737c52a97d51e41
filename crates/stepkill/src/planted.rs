//! Whether all of this would find an error: the library has a list of planted ones (its `planted.rs`), of which one at a
//! time is there, and the part of the campaigns that is meant to find it has to, by what is wrong with
//! it and nothing else. Without any of them the same parts find nothing.
//!
//! A build for that is made with `--cfg planted`; a program that is none builds one, and that runs instead.

use std::collections::BTreeSet;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::campaign::{self, Job, Plan, Totals, violated};
use crate::scene::Watchdog;
use crate::trace;

/// What says which error is there.
pub const CHOICE: &str = "TUBEPOST_PLANTED";

/// What is meant to find an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Kills(&'static str),
    Stops(&'static str),
    Sleeps(&'static str),
}
use Part::{Kills, Sleeps, Stops};

/// An error, what is meant to find it, and what that says.
type Planted = (&'static str, Part, &'static str);

const ALL: &[Planted] = &[
    ("publish-before-copy", Kills("send"), "torn"),
    ("claim-without-owner", Stops("send"), ROBBED),
    ("verdict-remembered", Stops("send~send"), ROBBED),
    ("tail-by-plain-store", Stops("send"), ROBBED),
    ("take-by-plain-store", Stops("recv"), "never came"),
    ("chunk-freed-while-linked", Kills("send-chunked"), "a receive was refused"),
    ("wake-up-forgotten", Sleeps("awaited-send"), "nobody woke"),
    ("burial-counted-once", Kills("gc+own-give-back"), "told 1, and it is 2"),
    ("skip-counted-by-each", Kills("send"), "are said to be received"),
    ("timeout-for-death", Stops("send"), ROBBED),
    ("trim-beyond-used", Kills("gc-memory"), "chunks are in use"),
    ("owner-counted-twice", Kills("own-take-chunked"), "told 3, and it is 2"),
    ("copy-returned", Kills("take"), "doubled"),
    ("row-not-swept", Kills("take"), "1 in hand"),
    ("publish-before-link", Kills("send-chunked"), "a receive was refused"),
    ("given-chunk-freed", Kills("gc+meet-send-chunked"), "nobody gave it anything"),
    ("number-unchecked", Stops("call"), "has the answer to"),
    ("answer-freed", Kills("call-reply-long"), "was told: Unanswered"),
    ("caller-in-cell", Stops("call-reply-to-dead"), "chunks are in use"),
    ("epoch-appended-again", Stops("send-append"), ROBBED),
    ("retired-kept", Kills("send-retire"), "chunks are in use"),
    ("copy-counts", Kills("take-fencing"), "doubled"),
    ("fenced-kept", Kills("take-fencing"), "chunks are in use"),
    ("run-published-first", Kills("send-many"), "torn"),
    ("run-freed-first", Stops("recv-many"), "doubled"),
    ("door-not-rung", Sleeps("awaited-send-at-door"), "nobody woke"),
    ("door-kept", Kills("wait-at-door"), "left in the domain"),
    ("note-forgotten", Stops("link-inbox-in-vain"), "sent to it, and it was told"),
    ("life-unchecked", Stops("link-join-dead"), "the link is not over"),
    ("unreceived-swept", Kills("link-gc"), "it left something"),
    ("named-before-ends", Stops("link-make"), "gc removed"),
    ("end-kept", Kills("pair-send"), "the link is not over"),
    ("descriptor-left", Stops("pair-drop"), "of an end that is gone"),
    ("buffer-unlooked", Stops("region-write-first"), "torn"),
    ("whole-too-soon", Kills("region-write-parts"), "torn"),
    ("begun-untold", Kills("region-in-place-write"), "torn"),
    ("repaired-beside", Stops("region-in-place-write"), "torn"),
];

/// What the ledger says where somebody lived, published, and was robbed of it.
const ROBBED: &str = "of the walker's messages came [], 1 were accepted";
/// How many points are system calls that change nothing, at most: enough for errors that are no riddles.
const CALLS: usize = 12;

/// Finds all of them.
pub fn run() -> ExitCode {
    if cfg!(planted) { find_all() } else { build_and_run() }
}

fn build_and_run() -> ExitCode {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--release", "-p", "stepkill"]).current_dir(root);
    build.env("RUSTFLAGS", "--cfg planted").env("CARGO_TARGET_DIR", "target/planted");
    let run = |command: &mut Command| match command.status() {
        Ok(status) if status.success() => true,
        Ok(_) => false,
        Err(error) => {
            eprintln!("{}: {error}", command.get_program().display());
            false
        }
    };
    let done = run(&mut build)
        && run(Command::new(format!("{root}/target/planted/release/stepkill")).arg("planted"));
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What became of a part with an error, or without.
struct Found {
    kills: u64,
    stops: u64,
    sleeps: u64,
    /// The violation that was expected, or else the first one.
    violation: Option<String>,
}

fn find_all() -> ExitCode {
    let (begin, totals) = (Instant::now(), Arc::new(Totals::default()));
    check_names();
    let sound: BTreeSet<Part> = ALL.iter().map(|(_, part, _)| *part).collect();
    let mut jobs: Vec<(Option<Planted>, Part)> = sound.into_iter().map(|part| (None, part)).collect();
    jobs.extend(ALL.iter().rev().map(|planted| (Some(*planted), planted.1)));
    let jobs = Arc::new(Mutex::new(jobs));
    let caught = Arc::new(Mutex::new(0_u64));
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let workers: Vec<_> = (0..processors)
        .map(|processor| {
            let (totals, jobs, caught) = (Arc::clone(&totals), Arc::clone(&jobs), Arc::clone(&caught));
            std::thread::spawn(move || {
                loop {
                    let job = jobs.lock().expect("nobody panics in there").pop();
                    let Some((planted, part)) = job else { return };
                    let found = look(planted, part, processor);
                    *caught.lock().expect("nobody panics in there") +=
                        u64::from(judge(planted, part, found, &totals));
                }
            })
        })
        .collect();
    for worker in workers {
        if worker.join().is_err() {
            totals.violations.fetch_add(1, Relaxed);
        }
    }
    let caught = *caught.lock().expect("nobody panics in there");
    crate::tell("planted", &totals, &[("planted", ALL.len() as u64), ("caught", caught)], begin)
}

/// Says what came of one; whether the error was caught.
fn judge(planted: Option<Planted>, part: Part, found: Result<Found, String>, totals: &Totals) -> bool {
    let name = planted.map_or("nothing planted", |(error, ..)| error);
    let found = match found {
        Ok(found) => found,
        Err(why) => {
            violated(totals, name, &format!("{part:?}"), &why);
            return false;
        }
    };
    totals.kills.fetch_add(found.kills, Relaxed);
    totals.stops.fetch_add(found.stops, Relaxed);
    totals.sleeps.fetch_add(found.sleeps, Relaxed);
    let Found { kills, stops, sleeps, violation } = found;
    let effort = format!("{kills} kills, {stops} stops, {sleeps} sleeps");
    match (planted, violation) {
        (Some((.., expected)), Some(what)) if what.contains(expected) => {
            let what = what.split("; Ledger").next().unwrap_or_default();
            eprintln!("{name:<26} {part:?}, after {effort}: {what}");
            return true;
        }
        (Some((.., expected)), Some(what)) => {
            violated(totals, name, &format!("{part:?}"), &format!("not “{expected}” was found, but {what}"));
        }
        (Some(_), None) => violated(totals, name, &format!("{part:?}"), &format!("not found by {effort}")),
        (None, Some(what)) => violated(totals, name, &format!("{part:?}"), &what),
        (None, None) => eprintln!("{name:<26} {part:?}: nothing found by {effort}"),
    }
    false
}

/// What the library knows is what is tried.
#[cfg(planted)]
fn check_names() {
    let known: BTreeSet<&str> = tubepost::__planted().collect();
    let tried: BTreeSet<&str> = ALL.iter().map(|(error, ..)| *error).collect();
    assert_eq!(known, tried, "the library's errors, and those that are looked for");
}

#[cfg(not(planted))]
fn check_names() {}

/// Has a process of its own run a part with this error, up to the violation that is expected.
fn look(planted: Option<Planted>, part: Part, processor: usize) -> Result<Found, String> {
    let (kind, name) = match part {
        Kills(name) => ("kills", name),
        Stops(name) => ("stops", name),
        Sleeps(name) => ("sleeps", name),
    };
    let mut command = Command::new("/proc/self/exe");
    command.args(["part", kind, name, &processor.to_string()]).env_remove(CHOICE).stdin(Stdio::null());
    if let Some((error, ..)) = planted {
        command.env(CHOICE, error);
    }
    let output = command.output().map_err(|error| error.to_string())?;
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let number = |name: &str| -> Option<u64> {
        let rest = said.split_once(&format!("\"{name}\": "))?.1;
        rest.split([',', '}']).next()?.parse().ok()
    };
    let numbers = || Some((number("kills")?, number("stops")?, number("sleeps")?, number("violations")?));
    let (kills, stops, sleeps, violations) =
        numbers().ok_or_else(|| format!("it ended with {}: {told}", output.status))?;
    let all: Vec<&str> = told.split("VIOLATION ").skip(1).filter_map(|what| what.lines().next()).collect();
    let expected = planted.and_then(|(.., expected)| all.iter().find(|what| what.contains(expected)));
    let violation = expected.or(all.first()).map(|what| (*what).to_owned());
    if violation.is_some() != (violations > 0) {
        return Err(format!("{violations} violations: {told}"));
    }
    Ok(Found { kills, stops, sleeps, violation })
}

/// Runs one part, up to the violation that is expected.
pub fn part(kind: &str, name: &str, processor: usize) -> ExitCode {
    let (begin, totals) = (Instant::now(), Arc::new(Totals::default()));
    trace::fix_addresses();
    trace::stay_on(processor);
    let (kill, stops) = (kind == "kills", usize::from(kind == "stops"));
    // A library that is broken may show it in several ways; without an error any is too many.
    let chosen = std::env::var(CHOICE).unwrap_or_default();
    let expected = ALL.iter().find(|(error, ..)| *error == chosen).map_or("", |(.., expected)| *expected);
    let plan = Plan {
        kill,
        stops,
        pairs: true,
        firsts: usize::MAX,
        until: Some(expected),
        calls: CALLS,
        ways: 2,
        ..Plan::default()
    };
    let job = campaign::jobs(plan).into_iter().find(|job| job.name() == name);
    let Some(job) = job.filter(|job| matches!(job, Job::Sleeper(_)) == (kind == "sleeps")) else {
        eprintln!("there are no {kind} of {name}");
        return ExitCode::from(2);
    };
    job.run(plan, &totals, &Watchdog::start());
    crate::tell("part", &totals, &[], begin)
}
