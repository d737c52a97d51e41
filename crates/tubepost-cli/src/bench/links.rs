//! Links, and an inbox for many of them.

use std::hint::black_box;
use std::os::fd::{AsFd, OwnedFd};

use tubepost::{Domain, Inbox, Link, LinkOptions, Mailbox, Process, Receiver, Sender, Strategy};

use super::job::{Mode, What, places};
use super::mailbox::{Ends, Input, Numbered, Output, spin};
use super::measure::{Exchange, Measured};
use crate::exit::Failure;

pub const NEAR: &str = "bench/near";
pub const FAR: &str = "bench/far";

/// A process of a benchmark, joined.
pub fn join(domain: &Domain, name: &str, mode: Mode) -> Measured<Process> {
    Ok(Process::options().domain(domain).spin(spin(mode)).join(name)?)
}

/// Both ends that this process has of its link with another one.
pub fn ends<T: Numbered>(me: &Process, peer: &str, what: What) -> Measured<Ends<T>> {
    let strategy = if what == What::KernelLink { Strategy::Kernel } else { Strategy::Shared };
    let options: LinkOptions<T::Of> = Link::options().strategy(strategy);
    let options = options.bounded(places(T::BYTES)).max_message(T::BYTES);
    Ok(ends_of(&options.open(me, peer)?))
}

/// What a pair can carry.
fn of_pair<T: Numbered>(mode: Mode) -> LinkOptions<T::Of> {
    let options = Link::options().bounded(places(T::BYTES)).spin(spin(mode));
    options.max_message(T::BYTES)
}

fn ends_of<T: Numbered>(link: &Link<T::Of>) -> Ends<T> {
    Ends(Output::of(link.sender().clone()), Input::of(link.receiver().clone()))
}

/// Makes a pair, and sends the far process the other end.
pub fn give_end<T: Numbered>(domain: &Domain, mode: Mode) -> Measured<Ends<T>> {
    let (link, endpoint) = of_pair::<T>(mode).pair()?;
    let endpoint = OwnedFd::from(endpoint);
    Sender::<u64>::options().domain(domain).open(FAR)?.send_with(0, &[endpoint.as_fd()])?;
    Ok(ends_of(&link))
}

/// Where the other end comes.
pub fn place_for_end(domain: &Domain) -> Measured<Receiver<u64>> {
    Ok(Mailbox::options().domain(domain).strategy(Strategy::Kernel).bounded(1).own(FAR)?)
}

/// Takes it.
pub fn take_end<T: Numbered>(place: &Receiver<u64>, mode: Mode) -> Measured<Ends<T>> {
    let descriptor = place.recv_envelope()?.descriptors.pop();
    let descriptor = descriptor.ok_or_else(|| Failure::failed("an end of a pair got lost"))?;
    Ok(ends_of(&of_pair::<T>(mode).from_descriptor(descriptor)?))
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
