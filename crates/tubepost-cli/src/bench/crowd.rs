//! Two senders and two receivers of one mailbox at once, a process and a CPU each.
//!
//! The near process is one of the senders. Messages are not checked for their order here, for each
//! receiver sees only its share; each ends at one of the two `STOP`s. The figure is what both
//! receivers got per second.

use super::far::{Far, Near};
use super::job::{Job, Part, lap};
use super::mailbox::{Input, Numbered, Output};
use super::measure::{Found, Measured, pour, share};
use super::work::Bench;
use crate::exit::Failure;

/// Parts of the far processes, in the order of their CPUs.
const PARTS: [Part; 3] = [Part::Receiver, Part::Receiver, Part::Sender];

/// The near side of a round.
pub fn near<T: Numbered>(bench: &Bench, job: &Job, fars: &mut [Far], cpus: &[usize]) -> Measured<Found> {
    // It receives nothing itself: it is there so that the mailbox is, until all are through.
    let _mailbox = Input::<T>::ping(&bench.domain, job.what, job.mode)?;
    for ((far, part), &cpu) in fars.iter_mut().zip(PARTS).zip(&cpus[1..]) {
        far.begin(&Job { part, cpu, ..*job })?;
        far.ready()?;
    }
    pour(Output::<T>::ping(&bench.domain, job.mode)?, job.time, lap(job.bytes))?;
    let mut rate = 0.0;
    // The senders' end first: a receiver that ended earlier leaves room for nobody.
    for far in fars.iter_mut().rev() {
        rate += far.done()?.and_then(|found| found.msgs_per_s).unwrap_or(0.0);
    }
    if rate == 0.0 {
        return Err(Failure::failed("the receivers of a stream took no figure"));
    }
    Ok(Found { latency_ns: None, msgs_per_s: Some(rate) })
}

/// The far side of it.
pub fn far<T: Numbered>(bench: &Bench, job: &Job, near: &mut Near) -> Measured<()> {
    match job.part {
        Part::Receiver => {
            let input = Input::<T>::also(&bench.domain, job.mode)?;
            near.ready()?;
            let found = share(input, job.time)?;
            near.done(Some(found))
        }
        Part::Sender => {
            let output = Output::<T>::ping(&bench.domain, job.mode)?;
            near.ready()?;
            pour(output, job.time, lap(job.bytes))?;
            near.done(None)
        }
        Part::Whole => Err(Failure::failed("nobody has that part among several")),
    }
}
