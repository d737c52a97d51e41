//! `tubepost tell`: joins, sends to a process that has joined, leaves.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use tubepost::{Domain, Process};

use crate::ending::Ending;
use crate::exit::Failure;

pub fn run(domain: &Domain, me: &str, peer: &str, text: &[OsString]) -> Result<(), Failure> {
    let ending = Ending::install()?;
    let process = Process::options().domain(domain).join(me)?;
    let leaving = process.clone();
    ending.watch(false, move |reason| {
        leaving.leave();
        std::process::exit(reason.code().into());
    });
    let outcome = tell(&process, peer, text);
    process.leave();
    outcome
}

fn tell(process: &Process, peer: &str, text: &[OsString]) -> Result<(), Failure> {
    let link = process.link::<[u8]>(peer)?;
    for text in text {
        link.send(text.as_bytes()).map_err(|error| Failure::from(error).about(peer))?;
    }
    Ok(())
}
