//! Kills a process at every instruction of an operation that others could notice, and lets a survivor look at
//! what is left. docs/stepkill.md tells how it works and how to add an operation.

mod access;
mod asking;
mod campaign;
mod dead_letters;
mod endings;
mod faults;
mod filed;
mod guardian;
mod held;
mod hostile;
mod judge;
mod layout;
mod ledger;
mod letters;
mod linked;
mod lockstep;
mod mail;
mod meeting;
mod operations;
mod paired;
mod planted;
mod power;
mod regional;
mod scene;
mod sleepers;
mod soak;
mod standstill;
mod subject;
mod symbols;
mod trace;
mod two;
mod view;
mod walk;
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use campaign::{Plan, Totals};
use subject::{First, Subject};

/// So many disks for each moment at which the power may go.
const DISKS: u32 = 10;

const QUICK: Plan = Plan {
    kill: true,
    pairs: true,
    firsts: 1,
    calls: 2,
    ways: 1,
    stops: 24,
    of_long: 3,
    every: false,
    faults: false,
    part: None,
    until: None,
};

const USAGE: &str = "\
stepkill changes [OPERATION]   every point where shared state changes: killed, and stopped
stepkill quick [OPERATION]     the same, with fewer calls, stops, pairs and ways
stepkill quick --part K/N      one of N parts of its pairs, heirs and twos; also faults --part K/N
stepkill pairs [OPERATION]     two that die one after the other: every point of the first
stepkill full [OPERATION]      every instruction: killed
stepkill one OPERATION STEP [WAY]        one of these kills again
stepkill one-stop OPERATION STEP [WAY]   one of these stops again
stepkill two [OPERATION]       two processes at one time, moved by turns: killed, and stopped
stepkill one-two FIRST,SECOND SCHEDULE MOVES THEN [WAY]   one of these again
stepkill faults [OPERATION]    every system call fails, in every way that it may
stepkill one-fault OPERATION STEP ERRNO  one of these failures again
stepkill power [OPERATION]     the power is lost at every change of what is in files
stepkill soak --minutes N      processes killed and stopped at random moments
stepkill planted               whether errors that were planted in the library are found
stepkill hostile --writes N [--seed S]   rubbish written into every word while others use it
stepkill list                  the operations";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // What it starts itself is watched with it; a part has scenes of its own.
    let own = [
        "judge", "walker", "soaked", "asker", "mortal", "victim", "guardian", "list", "help", "--help", "-h",
    ];
    if words.first().is_some_and(|word| !own.contains(word)) {
        guardian::start();
    }
    match words[..] {
        ["guardian", pid] => {
            guardian::play(number(pid));
            ExitCode::SUCCESS
        }
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        ["judge", kind, domain, way] => {
            let case = subject::case(kind).expect("a kind");
            let play = match case.world {
                world::World { linked: Some(_), .. } => linked::play,
                world::World { paired: Some(_), .. } => paired::play,
                world::World { region: Some(_), .. } => regional::play,
                _ => judge::play,
            };
            play(domain, case, number(way));
            ExitCode::SUCCESS
        }
        ["walker", operation, domain, tag, kind] => {
            let operation = operations::find(operation).expect("an operation");
            let world = subject::case(kind).expect("a kind").world;
            world::Walker::play(&operation, world, domain, number(tag) as u8);
            ExitCode::SUCCESS
        }
        ["asker", domain, number, length] => {
            asking::play(domain, crate::number(number), crate::number(length) as usize);
            ExitCode::SUCCESS
        }
        ["mortal", domain, name, peer] => {
            linked::mortal::play(domain, name, peer);
            ExitCode::SUCCESS
        }
        ["planted"] => planted::run(),
        ["part", kind, name, processor] => planted::part(kind, name, number(processor) as usize),
        ["soaked", directory, part, own] => {
            soak::play(directory, part, number(own));
            ExitCode::SUCCESS
        }
        ["soak", "--minutes", minutes] => {
            let (begin, totals) = (Instant::now(), Arc::new(Totals::default()));
            let minutes = u64::from(number(some(minutes)));
            soak::run(std::time::Duration::from_secs(60 * minutes), &totals);
            tell("soak", &totals, &[], begin)
        }
        ["victim", directory, part, own, seed] => {
            hostile::play(directory, part, number(own), long_number(seed));
            ExitCode::SUCCESS
        }
        ["hostile", "--writes", writes] => hostile(long_number(some(writes)), None),
        ["hostile", "--writes", writes, "--seed", seed] => {
            hostile(long_number(some(writes)), Some(long_number(seed)))
        }
        ["list"] => {
            let all = campaign::jobs(Plan { pairs: true, ways: 1, ..Plan::default() });
            all.iter().rev().for_each(|job| println!("{}", job.name()));
            operations::all_together().iter().for_each(|it| println!("{}", it.name()));
            ExitCode::SUCCESS
        }
        ["quick", "--part", part] => campaign("quick", Plan { part: Some(part_of(part)), ..QUICK }, None),
        ["faults", "--part", part] => campaign(
            "faults",
            Plan { faults: true, ways: 1, part: Some(part_of(part)), ..Plan::default() },
            None,
        ),
        [sort @ ("quick" | "changes"), ref only @ ..] if only.len() < 2 => {
            let plan = match (sort, only) {
                ("quick", []) => QUICK,
                // More of what was asked for by name.
                ("quick", _) => Plan { calls: 6, stops: 4, of_long: 1, ..QUICK },
                _ => Plan { firsts: 6, calls: 1000, ways: 2, stops: 1, of_long: 1, ..QUICK },
            };
            campaign(sort, plan, only.first().copied())
        }
        ["pairs", ref only @ ..] if only.len() < 2 => {
            let plan = Plan { kill: true, pairs: true, firsts: usize::MAX, ..Plan::default() };
            campaign("pairs", plan, only.first().copied())
        }
        ["two", ref only @ ..] if only.len() < 2 => {
            check_name("two", None, only.first().copied());
            trace::fix_addresses();
            let (begin, totals) = (Instant::now(), Arc::new(Totals::default()));
            two::run(two::COMPLETE, only.first().copied(), None, &totals);
            tell("two", &totals, &[], begin)
        }
        ["one-two", name, schedule, moves, then, ref way @ ..] if way.len() < 2 => alone(|| {
            two::again(name, schedule, number(moves) as usize, then, way.first().map(|way| way_of(way)))
        }),
        ["full", ref only @ ..] if only.len() < 2 => {
            let plan = Plan { every: true, kill: true, calls: 1000, ways: 1, ..Plan::default() };
            campaign("full", plan, only.first().copied())
        }
        ["faults", ref only @ ..] if only.len() < 2 => {
            let plan = Plan { faults: true, ways: 1, ..Plan::default() };
            campaign("faults", plan, only.first().copied())
        }
        ["power", ref only @ ..] if only.len() < 2 => {
            let only = only.first().copied();
            trace::fix_addresses();
            let (begin, totals) = (Instant::now(), Arc::new(Totals::default()));
            let disks = power::run(only, DISKS, &totals);
            if disks == 0 {
                mistaken("no operation of that name brings anything to the disk; see stepkill list");
            }
            tell("power", &totals, &[("disks", disks)], begin)
        }
        ["one-fault", name, step, errno] => {
            alone(|| faults::again(name, number(step) as usize, i64::from(number(errno))))
        }
        ["one", name, step] => again(name, number(step), None, false),
        ["one", name, step, way] => again(name, number(step), Some(way_of(way)), false),
        ["one-stop", name, step] => again(name, number(step), None, true),
        ["one-stop", name, step, way] => again(name, number(step), Some(way_of(way)), true),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn number(word: &str) -> u32 {
    u32::try_from(long_number(word)).unwrap_or_else(|_| no_number(word))
}

fn long_number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|_| no_number(word))
}

/// "2/3"
fn part_of(word: &str) -> (usize, usize) {
    let (part, of) = word.split_once('/').unwrap_or_else(|| no_number(word));
    (number(part) as usize, number(some(of)) as usize)
}

fn no_number(word: &str) -> ! {
    mistaken(&format!("“{word}” is not a number here\n{USAGE}"))
}

/// What was asked for is not there: nothing was tried, so that is neither success nor a violation.
fn mistaken(why: &str) -> ! {
    eprintln!("{why}");
    std::process::exit(2)
}

/// A number of things to be done; none is no run.
fn some(word: &str) -> &str {
    if word.parse() == Ok(0_u64) { mistaken("0 is nothing to be done") } else { word }
}

fn way_of(word: &str) -> u32 {
    let way = number(word);
    if way < judge::WAYS { way } else { mistaken(&format!("the ways are 0 to {}", judge::WAYS - 1)) }
}

/// Nothing by that name: a run that does nothing must not look as if all were well.
fn check_name(command: &str, plan: Option<Plan>, only: Option<&str>) {
    let Some(only) = only else { return };
    let mut names: Vec<String> =
        plan.map_or(Vec::new(), |plan| campaign::jobs(plan).iter().map(campaign::Job::name).collect());
    if plan.is_none_or(|plan| plan.pairs && plan.ways > 0) {
        names.extend(operations::all_together().iter().map(operations::Together::name));
    }
    if !names.iter().any(|name| name.contains(only)) {
        mistaken(&format!("nothing that {command} tries has “{only}” in its name; see stepkill list"));
    }
}

fn hostile(writes: u64, seed: Option<u64>) -> ExitCode {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = seed.unwrap_or_else(|| now.map_or(0, |it| u64::from(it.subsec_nanos())));
    let (begin, totals) = (Instant::now(), Arc::new(Totals::default()));
    let more = hostile::run(writes, seed, &totals);
    let more: Vec<(&str, u64)> = more.iter().map(|(name, number)| (name.as_str(), *number)).collect();
    tell("hostile", &totals, &more, begin)
}

fn campaign(command: &str, plan: Plan, only: Option<&str>) -> ExitCode {
    check_name(command, Some(plan), only);
    trace::fix_addresses();
    let begin = Instant::now();
    let totals = campaign::run(plan, only);
    if plan.pairs && plan.ways > 0 {
        two::run(two::SAMPLE, only, plan.part, &totals);
    }
    tell(command, &totals, &[], begin)
}

/// `first` are numbers that only this command has.
fn tell(command: &str, totals: &Totals, first: &[(&str, u64)], begin: Instant) -> ExitCode {
    let Totals {
        operations,
        pairs,
        instructions,
        points,
        kills,
        stops,
        sleeps,
        lockstep,
        faults,
        messages,
        adrift,
        violations,
        ..
    } = totals;
    let numbers = [
        ("operations", operations),
        ("pairs", pairs),
        ("instructions", instructions),
        ("points", points),
        ("kills", kills),
        ("stops", stops),
        ("sleeps", sleeps),
        ("lockstep", lockstep),
        ("faults", faults),
        ("messages", messages),
        ("adrift", adrift),
        ("violations", violations),
    ];
    let numbers = numbers.map(|(name, number)| (name, number.load(Relaxed)));
    let numbers: String =
        first.iter().chain(&numbers).map(|(name, number)| format!("\"{name}\": {number}, ")).collect();
    println!("{{\"command\": \"{command}\", {numbers}\"seconds\": {:.1}}}", begin.elapsed().as_secs_f64());
    if violations.load(Relaxed) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One point again, all ways unless told which; `name` is as a violation tells it.
fn again(name: &str, step: u32, way: Option<u32>, stop: bool) -> ExitCode {
    alone(|| try_again(name, step as usize, way, stop))
}

fn alone(act: impl FnOnce() -> Result<(), String>) -> ExitCode {
    trace::fix_addresses();
    trace::stay_on(0);
    match act() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("VIOLATION {why}");
            ExitCode::FAILURE
        }
    }
}

fn try_again(name: &str, step: usize, way: Option<u32>, stop: bool) -> Result<(), String> {
    let dog = scene::Watchdog::start();
    let (second, first) = subject::split(name)
        .map_or((name, None), |(second, first, settled)| (second, Some((first, settled))));
    let operation = operations::find(second).unwrap_or_else(|| unknown(second));
    let first = match first {
        None => None,
        Some((first, settled)) => {
            let (first, at) = first
                .split_once('@')
                .unwrap_or_else(|| mistaken("after what point? name it OPERATION+FIRST@STEP"));
            let operation = operations::find(first).unwrap_or_else(|| unknown(first));
            let recording = campaign::record(&Subject { operation, first: None }, &dog)?;
            let point = *point(&recording, number(at) as usize);
            Some(First { operation, recording: Arc::new(recording), point, settled })
        }
    };
    let subject = Subject { operation, first };
    let recording = campaign::record(&subject, &dog)?;
    let point = point(&recording, step);
    let ways = way.map_or(0..judge::WAYS, |way| way..way + 1);
    for way in ways {
        let mut maps = String::new();
        let there = campaign::one(&subject, &recording, point, way, stop, &dog, &mut maps);
        let place = symbols::name(&maps, point.address);
        let there = there.map_err(|why| format!("{name} {step} {way}, at {place}: {why}"))?;
        eprintln!("way {way}: {} {place}", if there { "fine, at" } else { "came elsewhere" });
    }
    Ok(())
}

fn unknown(name: &str) -> ! {
    mistaken(&format!("no operation is called {name}; see stepkill list"))
}

fn point(recording: &walk::Recording, step: usize) -> &walk::Point {
    let points = &recording.points;
    let none = || mistaken(&format!("it has {} points, and none after {step} instructions", points.len()));
    points.iter().find(|point| point.step == step).unwrap_or_else(none)
}
