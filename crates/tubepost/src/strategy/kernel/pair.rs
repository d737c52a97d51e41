//! The ends of a pair of which the kernel copies the messages.
//!
//! Nobody connects: the connection of each way is there from the start (`domain::pair`). When it was hung up and everything was received,
//! nobody can send any more, whoever lives.
//!
//! A message that is awaited ([`collected`](super::collected)), as all are where the capacity is zero, has a line of its own. Its sender makes that,
//! and gives its other end to the receiving process by the bond between the two (`domain::bond`). There it lies, and the message in it, until
//! the owner accepts it, as a connection lies that was not accepted at a socket with a name. So also what was sent so by one who is dead is received:
//! the owner looks there before it says that nobody sends any more.
//!
//! ```text
//! sender                                  owner
//!   make a line                             the bond is readable: take the line out of it, the message out of the line
//!   give its other end by the bond          the way's own connection is hung up:
//!   send by it, wait for "collected"          take all lines out of the bond; nothing came by any: the way is over
//! ```
//!
//! An owner has at most [`MOST_LINES`], and takes no more until one is hung up. A bond holds some hundred; whoever finds it full waits.
//!
//! **What if it dies here?** A sender between making a line and giving it away: nobody has the other end. One that gave it and sent nothing:
//! it is hung up. The owner: what lies in the bond is gone, and each line with it; who waits at one is hung up.

use super::connection::{Call, Connection};
use super::desk::{Desk, FIRST_LINE};
use super::inlet::Inlet;
use super::line::Line;
use super::link::Way;
use super::outlet::Outlet;
use super::packet::Kind;
use super::room;
use crate::domain::bond::Bound;
use crate::domain::pair::Half;
use crate::domain::segment::Segment;
use crate::domain::{NOWHERE, failed};
use crate::error::Error;
use crate::os::packet::Who;
use crate::os::{Errno, packet};
use crate::strategy::Refusal;
use rustix::event::{PollFd, PollFlags};
use rustix::process::geteuid;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// An owner has at most so many lines at one time.
const MOST_LINES: usize = 64;

impl Inlet {
    /// The receiving end of a pair.
    pub(crate) fn of_pair(half: Half, spin: std::time::Duration) -> Result<Inlet, Error> {
        let (Some(line), Some(purse)) = (half.line, half.segment.bound().and_then(Bound::purse)) else {
            unreachable!("a pair of the kernel strategy has both")
        };
        let credit = Arc::clone(purse.pipe());
        Inlet::with_way(half.segment, spin, credit, |segment, _, desk| {
            desk.receive_by(line, segment);
            Some(Way::of_pair())
        })
    }
}

impl Outlet {
    /// The sending end of a pair.
    pub(crate) fn of_pair(half: Half, name: &str, spin: std::time::Duration) -> Result<Outlet, Error> {
        let (Some(line), Some(purse)) = (half.line, half.segment.bound().and_then(Bound::purse)) else {
            unreachable!("a pair of the kernel strategy has both")
        };
        let credit = rustix::io::fcntl_dupfd_cloexec(&**purse.pipe(), 0)
            .map_err(|errno| failed("to make", Path::new(NOWHERE), errno))?;
        let call = Call { post: half.segment.id(), kind: Kind::Link, token: 0, link: 0 };
        Ok(Outlet::by(Connection::new(half.segment, line, Some(credit), name, spin, call)))
    }
}

impl Desk {
    /// Messages come by this connection, and such as come by the bond.
    fn receive_by(&mut self, line: OwnedFd, segment: &Segment) {
        self.given = segment.bound().map(Bound::lines);
        self.admit_mate(line, segment);
        self.listen(true);
    }

    fn admit_mate(&mut self, line: OwnedFd, segment: &Segment) {
        let who = Who { pid: 0, user: geteuid().as_raw(), groups: Vec::new() };
        self.admit(Line::new(line, who, true).called(String::new()), segment);
    }

    /// Whether nobody can send anything any more, but for what lies in the bond.
    pub(super) fn is_deserted(&self) -> bool {
        self.given.is_some() && !self.lines.contains_key(&FIRST_LINE)
    }

    /// Accepts so many of the lines that lie in the bond.
    pub(super) fn accept_given(&mut self, most: u32, segment: &Segment) {
        for _ in 0..most {
            let Some(given) = &self.given else { return };
            let line = match self.lines.len() < MOST_LINES {
                true => given.take(),
                false => Err(Errno::MFILE),
            };
            if let Ok(Some(line)) = line {
                self.one_more();
                self.admit_mate(line, segment);
                continue;
            }
            self.in_a_row = 0;
            match line {
                Err(Errno::AGAIN) => {}
                Ok(_) => self.listen(false), // the other end is gone
                Err(_) => {
                    self.deaf = true;
                    self.listen(false);
                }
            }
            return;
        }
    }
}

impl Connection {
    /// A line of its own for a message.
    pub(super) fn give_line(&self, bound: &Bound) -> Result<OwnedFd, Errno> {
        let (line, other) = packet::pair()?;
        packet::widen(
            std::os::fd::AsFd::as_fd(&line),
            room::wanted(self.segment.geometry.choice.max_message, 1),
        );
        bound.lines().give(other)?;
        Ok(line)
    }

    /// Waits until the other end has taken lines that it was given, so that there is room for one more.
    pub(super) fn wait_for_bond(&self, deadline: Option<Instant>) -> Result<(), Refusal> {
        let Some(lines) = self.segment.bound().map(Bound::lines) else { return Ok(()) };
        let longest = self.look()?;
        let left = deadline.map_or(longest, |end| end.saturating_duration_since(Instant::now()).min(longest));
        if left.is_zero() {
            return Err(Refusal::Waiting);
        }
        let mut polled = [
            PollFd::new(&self.socket, PollFlags::RDHUP),
            PollFd::from_borrowed_fd(lines.socket(), PollFlags::OUT),
        ];
        self.poll(&mut polled, left);
        Ok(())
    }
}
