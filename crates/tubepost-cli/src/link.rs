//! `tubepost link`: what comes on standard input goes to another process, what that one sends to standard output.
//!
//! Two threads: one sends, this one receives. At the end of standard input it stops sending; it ends when the other process ends, or when
//! that one has stopped sending too.

use std::io::{BufRead, Write};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use tubepost::{Domain, End, Process, TryRecvError};

use crate::cli::Link;
use crate::ending::{Ending, Reason};
use crate::exit::{Failure, complain};
use crate::output;

/// Somebody who waits without an end waits so long.
const FOR_EVER: Duration = Duration::from_secs(u64::MAX);

type Lines = tubepost::Link<[u8]>;

pub fn run(domain: &Domain, args: &Link) -> Result<(), Failure> {
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
    Peer(Option<End>),
}

fn talk(process: &Process, args: &Link) -> Result<(), Failure> {
    let options = match args.strategy {
        Some(strategy) => Lines::options().strategy(strategy.into()),
        None => Lines::options(),
    };
    let link = options.connect(process, &args.peer, args.timeout.unwrap_or(FOR_EVER))?;
    let mut monitor = process.monitor(&args.peer)?;
    let (tell, over) = mpsc::channel();
    let (sending, input_over) = (link.clone(), tell.clone());
    std::thread::spawn(move || {
        if let Err(failure) = send_lines(&sending) {
            complain(failure);
        }
        if let Err(error) = sending.stop_sending() {
            complain(error);
        }
        let _ = input_over.send(Over::Input); // nobody hears it who is at an end
    });
    receive_lines(&link)?;
    // Nothing more comes: that one stopped sending, or is gone.
    if let Some(end) = monitor.wait_timeout(Duration::ZERO)? {
        return how_it_ended(Some(end), &link);
    }
    std::thread::spawn(move || {
        let end = monitor.wait().unwrap_or(None);
        let _ = tell.send(Over::Peer(end)); // as above
    });
    match over.recv() {
        Ok(Over::Peer(end)) => how_it_ended(end, &link),
        Ok(Over::Input) | Err(_) => Ok(()),
    }
}

fn how_it_ended(end: Option<End>, link: &Lines) -> Result<(), Failure> {
    match end {
        Some(End::Left) => Ok(()),
        Some(End::NotThere) | None if link.peer_has_left() => Ok(()),
        _ => Err(Failure::died(link.peer().pid)),
    }
}

/// Until nothing more comes.
fn receive_lines(link: &Lines) -> Result<(), Failure> {
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

/// That nobody is there to receive it is told by the other thread.
fn send_lines(link: &Lines) -> Result<(), String> {
    let mut input = output::input().map_err(|_| "no standard input".to_string())?;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = input.read_until(b'\n', &mut line).map_err(|e| format!("standard input: {e}"))?;
        if read == 0 {
            return Ok(());
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        match link.send(&line) {
            Err(error) if error.is_closed() => return Ok(()),
            Err(error) => complain(format_args!("a line was not sent: {error}")),
            Ok(()) => {}
        }
    }
}
