//! Links, and an inbox for many of them.

use std::hint::black_box;

use tubepost::{Domain, Inbox, Link, LinkOptions, Process};

use super::job::{Mode, places};
use super::mailbox::{Ends, Input, Numbered, Output, spin};
use super::measure::{Exchange, Measured};

pub const NEAR: &str = "bench/near";
pub const FAR: &str = "bench/far";

/// A process of a benchmark, joined.
pub fn join(domain: &Domain, name: &str, mode: Mode) -> Measured<Process> {
    Ok(Process::options().domain(domain).spin(spin(mode)).join(name)?)
}

/// Both ends that this process has of its link with another one.
pub fn ends<T: Numbered>(me: &Process, peer: &str) -> Measured<Ends<T>> {
    let options: LinkOptions<T::Of> = Link::options().bounded(places(T::BYTES)).max_message(T::BYTES);
    let link = options.open(me, peer)?;
    Ok(Ends(Output::of(link.sender().clone()), Input::of(link.receiver().clone())))
}

/// One process that has links with many, of which one sends: all in this process.
pub struct Crowd {
    inbox: Inbox<u64>,
    links: Vec<Link<u64>>,
    // Both leave when these go.
    _processes: Vec<Process>,
}

impl Crowd {
    pub fn of(domain: &Domain, number: usize) -> Measured<Self> {
        let monitor = join(domain, NEAR, Mode::Spin)?;
        let inbox = monitor.inbox()?;
        let mut processes = vec![monitor];
        let mut links = Vec::new();
        for n in 0..number {
            let sensor = join(domain, &format!("{FAR}-{n}"), Mode::Spin)?;
            links.push(Link::options().bounded(16).open(&sensor, NEAR)?);
            processes.push(sensor);
        }
        Ok(Self { inbox, links, _processes: processes })
    }
}

impl Exchange for Crowd {
    #[inline(always)]
    fn exchange(&mut self, seq: u64) -> Measured<u64> {
        self.links[0].send(black_box(seq))?;
        Ok(self.inbox.recv()?.message)
    }
}
