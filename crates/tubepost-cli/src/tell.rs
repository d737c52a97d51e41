//! `tubepost tell`: joins, sends to a process that has joined, leaves.

use std::os::unix::ffi::OsStrExt;

use tubepost::{Domain, Link, Process, SendTimeoutError};

use crate::cli::Tell;
use crate::ending::Ending;
use crate::exit::Failure;
use crate::label;

pub fn run(domain: &Domain, args: &Tell) -> Result<(), Failure> {
    let ending = Ending::install()?;
    let process = Process::options().domain(domain).join(&args.me)?;
    let leaving = process.clone();
    ending.watch(false, move |reason| {
        leaving.leave();
        std::process::exit(reason.code().into());
    });
    let outcome = tell(&process, args);
    process.leave();
    outcome
}

fn tell(process: &Process, args: &Tell) -> Result<(), Failure> {
    let link = label::agree(process, &args.peer, args.format.as_deref(), Link::options(), |options| {
        options.open(process, &args.peer)
    })?;
    for (sent, text) in args.text.iter().enumerate() {
        send(&link, args, text.as_bytes()).map_err(|failure| {
            let failure = failure.about(&args.peer);
            if sent > 0 { failure.noting(format_args!("messages sent before: {sent}")) } else { failure }
        })?;
    }
    Ok(())
}

fn send(link: &Link<[u8]>, args: &Tell, message: &[u8]) -> Result<(), Failure> {
    let sent = match args.timeout {
        Some(timeout) => link.send_timeout(message, timeout),
        None => link.send(message).map_err(SendTimeoutError::from),
    };
    sent.map_err(|error| match error {
        SendTimeoutError::Timeout(_) => Failure::link_stayed_full(),
        SendTimeoutError::Closed(_, closed) => Failure::link_closed(closed),
        SendTimeoutError::Failed(_, error) => error.into(),
    })
}
