//! `tubepost link`: what comes on standard input goes to another process, what that one sends to standard output.
//!
//! Two threads: one sends, this one receives. The other process's end is this one's; the end of standard input is not.

use std::io::{BufRead, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tubepost::{Domain, Process, TryRecvError};

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

fn talk(process: &Process, args: &Link) -> Result<(), Failure> {
    let options = match args.strategy {
        Some(strategy) => Lines::options().strategy(strategy.into()),
        None => Lines::options(),
    };
    let link = options.connect(process, &args.peer, args.timeout.unwrap_or(FOR_EVER))?;
    let sending = link.clone();
    std::thread::spawn(move || {
        if let Err(failure) = send_lines(&sending) {
            complain(failure);
        }
    });
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
            Err(TryRecvError::Closed(_)) => {
                out.flush()?;
                return if link.peer_has_left() { Ok(()) } else { Err(Failure::died(link.peer().pid)) };
            }
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
