//! `tubepost bench`: the library against what the machine can do at all, in one run.
//!
//! Two real processes, each on a CPU of its own where there are two. `plan` says which rows there are,
//! `work` what either side does for each, `measure` how it is timed, `limits` what it is held against.

mod batch;
mod calls;
mod crowd;
mod far;
mod files;
mod job;
mod kernel;
mod limits;
mod links;
mod machine;
mod mailbox;
mod measure;
mod plan;
mod regions;
mod row;
mod table;
mod task;
mod work;

use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use self::far::{Far, Near};
use self::job::{Mode, Place};
use self::machine::{IdlePoll, Machine, pin};
use self::measure::{Found, Measured};
use self::plan::{CROWD, Entry, Filter, Group};
use self::row::Row;
use self::work::Bench;
use crate::ending::Ending;
use crate::exit::{Failure, complain};
use crate::output::{print, print_json};
use crate::scratch::Scratch;

/// The verb of the far process.
pub const FAR: &str = "bench-far";

/// How often and how long. Many short rounds beat few long ones: processors and virtual machines change
/// pace every few hundred milliseconds, and a limit and its subject should meet the same one. Only where
/// processes sleep a round must last longer, to have enough messages in it.
#[derive(Clone, Copy)]
struct Effort {
    rounds: Rounds,
    spin: Duration,
    block: Duration,
}

/// How many rounds count, in groups that spin and in groups that sleep.
#[derive(Clone, Copy, Debug, Serialize)]
struct Rounds {
    spin: usize,
    block: usize,
}

const QUICK: Effort = Effort {
    rounds: Rounds { spin: 27, block: 9 },
    spin: Duration::from_millis(12),
    block: Duration::from_millis(50),
};
/// A quick run ends rounds early when it took so long …
const QUICK_LIMIT: Duration = Duration::from_secs(33);
/// … but no group has fewer than these.
const ROUNDS_AT_LEAST: usize = 9;
const FULL: Effort = Effort {
    rounds: Rounds { spin: 51, block: 15 },
    spin: Duration::from_millis(30),
    block: Duration::from_millis(150),
};

#[derive(Serialize)]
struct Report<'a> {
    machine: &'a Machine,
    rows: &'a [Row],
}

/// Runs the rows that `words` ask for and prints them.
pub fn run(words: &[String], quick: bool, json: bool) -> Result<(), Failure> {
    let effort = if quick { QUICK } else { FULL };
    let filter = Filter::new(words)?;
    let mut machine = Machine::look(effort.rounds, quick)?;
    let mut groups = filter.apply(plan::groups(machine.pinned.len()));
    if machine.pinned.len() < 2 {
        machine.notes.push("there is one CPU to run on: rows that spin or need two are left out".to_string());
    }
    if (2..CROWD).contains(&machine.pinned.len()) {
        let cpus = machine.pinned.len();
        machine.notes.push(format!(
            "two senders and two receivers need {CROWD} CPUs to spin on, there are {cpus}: those rows are left out"
        ));
    }
    if groups.iter().any(|group| group.place == Place::IdlePoll) && IdlePoll::hold().is_none() {
        groups.retain(|group| group.place != Place::IdlePoll);
        machine.notes.push("/dev/cpu_dma_latency may not be opened: idle-poll rows are left out".to_string());
    }
    if groups.is_empty() {
        let what = words.join(" ");
        return Err(Failure::usage(format!(
            "no row is all of {what:?} on this machine; see `tubepost bench --help`"
        )));
    }

    let ending = Ending::install()?;
    let scratch = Scratch::new("bench")?;
    let remove_scratch = scratch.remover();
    let bench = Bench::create(scratch.path())?;
    let spawn = || {
        Far::spawn(scratch.path(), {
            let remove_scratch = remove_scratch.clone();
            move || {
                complain("another process of the benchmark ended too early; run it again");
                remove_scratch();
                std::process::exit(1);
            }
        })
    };
    let crowd = groups.iter().any(|group| group.place == Place::FourCores);
    let mut fars = (1..if crowd { CROWD } else { 2 }).map(|_| spawn()).collect::<Measured<Vec<Far>>>()?;
    ending.watch(false, move |reason| {
        // The far process dies with this one.
        remove_scratch();
        std::process::exit(reason.code().into());
    });

    let out = std::io::stdout();
    let bars = out.is_terminal();
    if !json {
        print(table::heading(&machine))?;
    }
    let mut all = Vec::new();
    let begin = Instant::now();
    let mut fewer = false;
    for (at, group) in groups.iter().enumerate() {
        // Each group has its share of the time, and what those before it left over.
        let until = quick.then(|| begin + QUICK_LIMIT.mul_f64((at + 1) as f64 / groups.len() as f64));
        let rounds = measure_group(&bench, &mut fars, group, &effort, &machine.pinned, until)?;
        let wanted = if group.mode == Mode::Spin { effort.rounds.spin } else { effort.rounds.block };
        fewer |= rounds.len() < wanted;
        let rows = row::rows(&group.entries, &rounds);
        if !json {
            print(table::group(group.title, &rows, bars))?;
        }
        all.extend(rows);
    }
    if fewer {
        let note = "the machine was busy with something else: fewer rounds than planned".to_string();
        if !json {
            complain(&note);
        }
        machine.notes.push(note);
    }
    if json {
        print_json(&Report { machine: &machine, rows: &all })?;
    }
    Ok(())
}

/// All rounds of a group: first one that is thrown away, then those that count.
fn measure_group(
    bench: &Bench,
    fars: &mut [Far],
    group: &Group,
    effort: &Effort,
    cpus: &[usize],
    until: Option<Instant>,
) -> Measured<Vec<Vec<Found>>> {
    let _idle_poll = if group.place == Place::IdlePoll { IdlePoll::hold() } else { None };
    let (near_cpu, far_cpu) = match group.place {
        Place::OneCore => (cpus[0], cpus[0]),
        Place::TwoCores | Place::IdlePoll | Place::FourCores => (cpus[0], cpus[1]),
    };
    pin(near_cpu)?;
    let (rounds, time) = match group.mode {
        Mode::Spin => (effort.rounds.spin, effort.spin),
        Mode::Block => (effort.rounds.block, effort.block),
    };
    let progress = std::io::stderr().is_terminal();
    let one_round = |round: usize, fars: &mut [Far]| {
        if progress {
            eprint!("\r\x1b[K{}: round {round} of {rounds}", group.title);
        }
        let time = if round == 0 { time / 4 } else { time };
        let mut row = |entry: &Entry| {
            let job = entry.job(far_cpu, time);
            if entry.each > 1 { bench.crowd(&job, fars, cpus) } else { bench.near(&job, &mut fars[0]) }
        };
        group.entries.iter().map(&mut row).collect::<Measured<Vec<Found>>>()
    };
    one_round(0, fars)?;
    let mut found = Vec::new();
    for round in 1..=rounds {
        let late = until.is_some_and(|until| Instant::now() > until);
        if late && round > ROUNDS_AT_LEAST {
            break;
        }
        found.push(one_round(round, fars)?);
    }
    if progress {
        eprint!("\r\x1b[K");
    }
    Ok(found)
}

/// The far process's whole life.
pub fn far(directory: &Path, parent: u32) -> Result<(), Failure> {
    let mut near = Near::attach(parent)?;
    let bench = Bench::open(directory)?;
    while let Some(job) = near.next()? {
        bench.far(&job, &mut near)?;
    }
    Ok(())
}
