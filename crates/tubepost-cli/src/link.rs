//! `tubepost link`: what comes on standard input goes to another process, what that one sends to standard output.
//!
//! Two threads: one sends (`lines`), this one receives. At the end of standard input it stops sending; it ends when the
//! other process ends, or when that one has stopped sending too. Then it tells what was not sent, and what was never
//! received.

use std::io::Write;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use tubepost::{Domain, End, Process, TryRecvError};

use crate::cli::Link as Args;
use crate::ending::{Ending, Reason};
use crate::exit::{Failure, complain};
use crate::label;
use crate::lines::Lines;
use crate::output;
use crate::show::plural;

/// Somebody who waits without an end waits so long.
const FOR_EVER: Duration = Duration::from_secs(u64::MAX);

type Link = tubepost::Link<[u8]>;

pub fn run(domain: &Domain, args: &Args) -> Result<(), Failure> {
    let ending = Ending::install()?;
    let process = Process::options().domain(domain).join(&args.me)?;
    let told = Arc::new(OnceLock::new());
    leave_when_told(ending, &process, &told);
    let outcome = talk(&process, args);
    process.leave();
    match told.get() {
        Some(reason) => Err(Failure::quiet(Reason::code(*reason))),
        None => outcome.map_err(|failure| failure.about(&args.peer)),
    }
}

/// At a signal the process leaves, and others are told so; what it waits for comes back with that.
pub fn leave_when_told(ending: Ending, process: &Process, told: &Arc<OnceLock<Reason>>) {
    let (process, told) = (process.clone(), Arc::clone(told));
    ending.watch(true, move |reason| {
        let _ = told.set(reason);
        process.leave();
        std::process::exit(reason.code().into());
    });
}

/// What may come to an end.
enum Over {
    Input,
    /// The other one receives nothing more.
    WayThere,
    Peer(Option<End>),
}

/// A process that leaves closes its links before it is gone: so long it has for that.
const LEAVING: Duration = Duration::from_secs(1);

fn talk(process: &Process, args: &Args) -> Result<(), Failure> {
    let options = match args.strategy {
        Some(strategy) => Link::options().strategy(strategy.into()),
        None => Link::options(),
    };
    let patience = args.timeout.unwrap_or(FOR_EVER);
    let link = label::agree(process, &args.peer, args.format.as_deref(), options, |options| {
        options.connect(process, &args.peer, patience)
    })?;
    let mut monitor = process.monitor(&args.peer)?;
    let (tell, over) = mpsc::channel();
    let (sending, input_over) = (link.clone(), tell.clone());
    let lines = Arc::new(Lines::default());
    let input = Arc::clone(&lines);
    std::thread::spawn(move || {
        let over = if input.send_to(&sending) { Over::Input } else { Over::WayThere };
        if let Err(error) = sending.stop_sending() {
            complain(error);
        }
        let _ = input_over.send(over); // nobody hears it who is at an end
    });
    receive_lines(&link)?;
    // Nothing more comes: that one stopped sending, or is gone.
    if let Some(end) = monitor.wait_timeout(Duration::ZERO)? {
        return how_it_ended(Some(end), &link, in_vain(&link, &lines));
    }
    std::thread::spawn(move || {
        let end = monitor.wait().unwrap_or(None);
        let _ = tell.send(Over::Peer(end)); // as above
    });
    let end = match over.recv() {
        Ok(Over::Peer(end)) => Some(end),
        Ok(Over::Input) if !has_more_to_receive(process, &link) => None,
        Ok(Over::Input | Over::WayThere) => match over.recv_timeout(LEAVING) {
            Ok(Over::Peer(end)) => Some(end),
            _ => None, // what waits there it may receive yet
        },
        Err(_) => None,
    };
    match (end, in_vain(&link, &lines)) {
        (Some(end), in_vain) => how_it_ended(end, &link, in_vain),
        (None, Some(in_vain)) => {
            complain(format_args!("{}: it receives no more; {in_vain}", args.peer));
            Ok(())
        }
        (None, None) => Ok(()),
    }
}

/// Whether the other process has not received all that was sent, as far as it is known.
fn has_more_to_receive(process: &Process, link: &Link) -> bool {
    let way_there = format!("{}~{}", process.name(), link.peer().name);
    let waits = process.domain().stat(&way_there).is_ok_and(|stat| stat.depth > 0);
    waits || uncollected(link) > 0
}

/// What it will never receive.
fn uncollected(link: &Link) -> u64 {
    let closed = link.sender().closed_timeout(Duration::ZERO).ok().flatten();
    closed.map_or(0, |closed| closed.uncollected)
}

/// What was not sent, and what was and is not received by anybody.
fn in_vain(link: &Link, lines: &Lines) -> Option<String> {
    let unsent = lines.unsent(); // first: it settles what is just being sent
    let uncollected = uncollected(link);
    let were = if uncollected == 1 { "was" } else { "were" };
    let uncollected = (uncollected > 0)
        .then(|| format!("{} sent before {were} never received", plural(uncollected, "line")));
    let both: Vec<String> = uncollected.into_iter().chain(unsent).collect();
    (!both.is_empty()).then(|| both.join("; "))
}

fn how_it_ended(end: Option<End>, link: &Link, in_vain: Option<String>) -> Result<(), Failure> {
    let left = match end {
        Some(End::Left) => true,
        Some(End::NotThere) | None => link.peer_has_left(),
        _ => false,
    };
    match (left, in_vain) {
        (true, None) => Ok(()),
        (true, Some(in_vain)) => {
            complain(format_args!("{}: it ended; {in_vain}", link.peer().name));
            Ok(())
        }
        (false, None) => Err(Failure::died(link.peer().pid)),
        (false, Some(in_vain)) => Err(Failure::died(link.peer().pid).noting(in_vain)),
    }
}

/// Until nothing more comes.
fn receive_lines(link: &Link) -> Result<(), Failure> {
    let mut out = output::buffered()?;
    loop {
        let line = match link.try_recv() {
            Err(TryRecvError::Empty) => {
                out.flush()?; // nothing more for now
                link.recv().map_err(TryRecvError::from)
            }
            done => done,
        };
        match line {
            Ok(line) => {
                out.write_all(&line)?;
                out.write_all(b"\n")?;
            }
            Err(TryRecvError::Closed(_)) => return Ok(out.flush()?),
            Err(other) => return Err(other.into()),
        }
    }
}
