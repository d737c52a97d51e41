//! `tubepost inbox`: what any process sends to this one, a line each; of a message of several lines each, so that nobody can write a line in
//! another one's name.

use std::io::Write;
use std::sync::{Arc, OnceLock};

use tubepost::{Domain, Envelope, Inbox, Opaque, Process, RecvTimeoutError, TryRecvError};

use crate::cli;
use crate::ending::{Ending, Reason};
use crate::exit::{Failure, complain};
use crate::link::leave_when_told;
use crate::output;

pub fn run(domain: &Domain, args: &cli::Inbox) -> Result<(), Failure> {
    let ending = Ending::install()?;
    let process = Process::options().domain(domain).join(&args.me)?;
    let told = Arc::new(OnceLock::new());
    leave_when_told(ending, &process, &told);
    let outcome = print_all(&process, args);
    process.leave();
    match told.get() {
        Some(reason) => Err(Failure::quiet(Reason::code(*reason))),
        None => outcome.map_err(|failure| failure.about(&args.me)),
    }
}

fn print_all(process: &Process, args: &cli::Inbox) -> Result<(), Failure> {
    let inbox: Inbox<Opaque> = process.inbox()?;
    let mut out = output::buffered()?;
    let mut received = 0;
    while args.count != Some(received) {
        let next = match inbox.try_recv() {
            Err(TryRecvError::Empty) => {
                out.flush()?; // nothing more for now
                match args.timeout {
                    Some(timeout) => inbox.recv_timeout(timeout),
                    None => inbox.recv().map_err(RecvTimeoutError::from),
                }
            }
            Ok(envelope) => Ok(envelope),
            Err(TryRecvError::Failed(error)) => Err(RecvTimeoutError::Failed(error)),
            Err(TryRecvError::Closed(closed)) => Err(RecvTimeoutError::Closed(closed)),
        };
        match next {
            Ok(envelope) => {
                write(&mut out, &envelope)?;
                received += 1;
            }
            // One that speaks otherwise is no reason not to hear the others.
            Err(RecvTimeoutError::Failed(error @ tubepost::Error::WrongFormat { .. })) => complain(error),
            Err(other) => {
                out.flush()?;
                return Err(other.into());
            }
        }
    }
    Ok(out.flush()?)
}

/// The sender, a tab, the text.
fn write(out: &mut impl Write, envelope: &Envelope<Opaque>) -> Result<(), Failure> {
    for line in envelope.message.split(|byte| *byte == b'\n') {
        write!(out, "{}\t", envelope.sender.name)?;
        out.write_all(line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}
