//! A sender that waits until its message was collected, or takes it back.
//!
//! Each such message goes by a connection that has no other one meanwhile. The owner says "collected" by that connection before it has the message.
//!
//! ```text
//! sender                                    owner
//!   send                                      takes it out of the connection
//!   wait for "collected"                      says "collected": it has the message
//!   in time: it was
//!   too late: say "withdraw"
//!   shut the way back                         can't: is there "withdraw"? then it drops the message
//!   "collected" is there: it was              there is not: the sender is dead, and has sent
//!   it is not: it is withdrawn, and the token put back
//! ```
//!
//! The kernel decides which came first, so the owner may stand still meanwhile, or be busy. The token of somebody who can't open the pipe the owner puts back
//! itself, when it finds the message withdrawn.
//!
//! **What if it dies here?** The sender: it has sent, unless it said "withdraw"; then its token is one that is missing. The owner: its way is shut, and what it had
//! said is still there to be read. If it did not say "collected", it never had the message.

use super::connection::Connection;
use super::outlet::Outlet;
use super::packet::{Head, Kind};
use super::posting::{Awaited, Back, Posting, found};
use super::waiting::Waiters;
use crate::error::{Error, Fate};
use crate::os::{Errno, packet};
use crate::strategy::Refusal;
use crate::strategy::shared::batch::Patience;
use crate::strategy::shared::collected::Uncollected;
use crate::strategy::shared::pending::Wait;
use crate::strategy::shared::tasks;
use crate::sync::wait::poll;
use rustix::event::{PollFd, PollFlags};
use rustix::net::{Shutdown, shutdown};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::PoisonError;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// A handle keeps at most so many connections for the next time.
const SPARE: usize = 4;

impl Outlet {
    /// Sends, and waits until the owner has the message.
    pub(crate) fn send_collected(&self, bytes: &[u8], deadline: Option<Instant>) -> Result<(), Uncollected> {
        let at = self.connection();
        self.may_send_so_much(bytes.len())?;
        if let Some(posting) = &at.posting {
            return posting.send_collected(at, bytes, deadline);
        }
        if at.meets() {
            return self.meet(bytes, &[], Patience::Until(deadline)).map_err(Uncollected::from);
        }
        self.send_awaited(bytes, &[], deadline)
    }

    /// Sends by a line of its own, which it gives, if there is room now. Nothing: the other end of the pair has to take lines first that it was given.
    fn post_awaited(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<Option<OwnedFd>, Refusal> {
        let at = self.connection();
        // First: who has a line has a message for it, so that no line is in the way of another one.
        let token = self.may_post()?;
        match at.spare_line() {
            Ok(line) => self.post_for(token, &line, Kind::Awaited, bytes, descriptors).map(|()| Some(line)),
            Err(refusal) => {
                at.put_back(token);
                match refusal {
                    Refusal::Waiting => Ok(None),
                    other => Err(other),
                }
            }
        }
    }

    /// The same with descriptors, and where nothing waits.
    pub(super) fn send_awaited(
        &self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        deadline: Option<Instant>,
    ) -> Result<(), Uncollected> {
        let at = self.connection();
        let post = || self.post_awaited(bytes, descriptors);
        let line = loop {
            let posted = match post() {
                Err(Refusal::Waiting) => self.wait_for_room(deadline, post)?,
                done => done?,
            };
            match posted {
                Some(line) => break line,
                None => at.wait_for_line(deadline)?,
            }
        };
        let spin = at.spin();
        let is_told = || super::connection::is_readable(line.as_fd());
        if spin.is_zero() || !poll(spin, deadline, is_told) {
            match at.sleep_until_told(&line, deadline) {
                Ok(()) => {}
                Err(why) => return at.give_up(&line, why),
            }
        }
        if is_collected(&line) {
            at.keep_line(line);
            return Ok(());
        }
        Err(at.never_collected())
    }
}

/// A message of a task's. Dropped: it was collected, or is withdrawn.
#[derive(Debug)]
pub(crate) struct Collection {
    outlet: Outlet,
    room: Wait,
    told: Wait,
    waiters: Waiters,
    /// By which it was sent.
    line: Option<OwnedFd>,
    /// Of the sealed strategy, instead.
    awaited: Option<Awaited>,
}

impl Collection {
    pub(crate) fn by(outlet: &Outlet) -> Collection {
        let (room, told) = (tasks::for_room(), tasks::for_room());
        Collection {
            outlet: outlet.clone(),
            room,
            told,
            waiters: Waiters::default(),
            line: None,
            awaited: None,
        }
    }

    /// Sends when there is room, and comes back when it was collected.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<(), Uncollected>> {
        if self.outlet.connection().posting.is_some() {
            self.outlet.may_send_so_much(bytes.len())?;
            return self.poll_sealed(context, bytes);
        }
        let (outlet, at) = (&self.outlet, self.outlet.connection());
        if !outlet.segment().is_mapped_here() {
            return Poll::Ready(Err(Error::Forked.into()));
        }
        if self.line.is_none() {
            outlet.may_send_so_much(bytes.len())?;
            let attempt = || match outlet.post_awaited(bytes, &[]) {
                Ok(None) | Err(Refusal::Waiting) => None,
                done => Some(done),
            };
            self.line = match attempt() {
                Some(done) => done?,
                None => ready!(outlet.poll_at_descriptor(&mut self.room, context, attempt))?,
            };
        }
        let Some(line) = &self.line else { return Poll::Pending };
        let is_told = || super::connection::is_readable(line.as_fd()).then_some(Ok(()));
        let path = outlet.segment().path();
        let done = match is_told() {
            Some(done) => done,
            None => {
                ready!(
                    self.waiters.poll(&mut self.told, (line.as_fd(), &path), context, is_told, || at.look())
                )
            }
        };
        self.told.leave();
        let done = match done {
            Ok(()) if is_collected(line) => Ok(()),
            Ok(()) => Err(at.never_collected()),
            Err(why) => at.give_up(line, why),
        };
        self.line = None;
        Poll::Ready(done)
    }
}

impl Drop for Collection {
    fn drop(&mut self) {
        let at = self.outlet.connection();
        if let (Some(posting), Some(awaited)) = (&at.posting, &self.awaited)
            && self.outlet.segment().is_ours()
        {
            posting.withdraw(at, awaited); // collected, withdrawn, or it is closed
        }
        if self.outlet.segment().is_mapped_here()
            && let Some(line) = &self.line
        {
            let _ = self.outlet.connection().withdraw(line); // collected, withdrawn, or it is closed
        }
    }
}

impl Collection {
    /// The same, of the sealed strategy.
    fn poll_sealed(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<(), Uncollected>> {
        let outlet = self.outlet.clone();
        let at = outlet.connection();
        let Some(posting) = &at.posting else { return Poll::Pending };
        if self.awaited.is_none() {
            let attempt = || found(posting.try_send_awaited(at, bytes));
            self.awaited = Some(match attempt() {
                Some(done) => done?,
                None => ready!(outlet.poll_at_descriptor(&mut self.room, context, attempt))?,
            });
        }
        let Some(awaited) = &self.awaited else { return Poll::Pending };
        let decided = || posting.is_collected(at, awaited);
        let done = match decided() {
            Some(done) => done,
            None => ready!(outlet.poll_at_descriptor(&mut self.told, context, decided)),
        };
        self.told.leave();
        let done = match (done, decided()) {
            (Ok(true), _) | (_, Some(Ok(true))) => Ok(()),
            (Ok(false), _) => Err(Uncollected::Refused(Refusal::Waiting)),
            (Err(Refusal::Closed(closed)), _) => Err(Uncollected::Closed(closed, Fate::NotCollected)),
            (Err(other), _) => match posting.withdraw(at, awaited) {
                Back::Collected => Ok(()),
                Back::Withdrawn | Back::Unknown => Err(other.into()),
            },
        };
        self.awaited = None;
        Poll::Ready(done)
    }
}

impl Posting {
    /// Sends, and waits until the owner has the message.
    fn send_collected(
        &self,
        at: &Connection,
        bytes: &[u8],
        deadline: Option<Instant>,
    ) -> Result<(), Uncollected> {
        let awaited = match self.try_send_awaited(at, bytes) {
            Err(Refusal::Waiting) => self.wait(at, deadline, || found(self.try_send_awaited(at, bytes)))?,
            done => done?,
        };
        match self.wait(at, deadline, || self.is_collected(at, &awaited)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Uncollected::Refused(Refusal::Waiting)),
            Err(Refusal::Closed(closed)) => Err(Uncollected::Closed(closed, Fate::NotCollected)),
            Err(Refusal::Waiting) => match self.withdraw(at, &awaited) {
                Back::Collected => Ok(()),
                Back::Withdrawn => Err(Uncollected::Refused(Refusal::Waiting)),
                Back::Unknown => Err(Error::Busy { name: at.segment.name.to_string() }.into()),
            },
            Err(other) => Err(other.into()),
        }
    }
}

/// Whether the owner said so.
fn is_collected(line: &OwnedFd) -> bool {
    let (mut head, mut rest) = ([0; packet::HEAD], Vec::new());
    loop {
        match packet::receive(line.as_fd(), &mut head, &mut rest, 0, None) {
            Err(Errno::CONNRESET) => {}
            Err(_) => return false,
            Ok(came) => match Head::decode(&head, came.length) {
                Some(head) if head.kind == Kind::Collected => return true,
                Some(_) => {}
                None => return false,
            },
        }
    }
}

impl Connection {
    /// A connection without a message.
    pub(super) fn spare_line(&self) -> Result<OwnedFd, Refusal> {
        let spare = self.spare().pop();
        match spare {
            Some(line) => Ok(line),
            None => match self.another_line(Duration::ZERO) {
                Ok(line) => Ok(line),
                Err(Errno::NOENT | Errno::CONNREFUSED | Errno::PIPE | Errno::CONNRESET) => {
                    Err(self.hung_up())
                }
                // As many wait to be accepted as can; of a pair, what was given waits.
                Err(Errno::AGAIN) => Err(Refusal::Waiting),
                Err(errno) => Err(self.trouble("to connect to the owner of", errno)),
            },
        }
    }

    /// Waits for a connection for a message, and keeps it.
    #[cold]
    fn wait_for_line(&self, deadline: Option<Instant>) -> Result<(), Refusal> {
        if self.segment.bound().is_some() {
            return self.wait_for_bond(deadline);
        }
        let longest = self.look()?;
        let left = deadline.map_or(longest, |end| end.saturating_duration_since(Instant::now()).min(longest));
        match self.another_line(left) {
            Ok(line) => self.keep_line(line),
            Err(_) if left.is_zero() => return Err(Refusal::Waiting),
            Err(_) => {} // who tries again is told
        }
        Ok(())
    }

    fn spare(&self) -> std::sync::MutexGuard<'_, Vec<OwnedFd>> {
        self.spare_lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_line(&self, line: OwnedFd) {
        let mut spare = self.spare();
        if spare.len() < SPARE {
            spare.push(line);
        }
    }

    /// It was hung up instead.
    #[cold]
    fn never_collected(&self) -> Uncollected {
        match self.hung_up() {
            Refusal::Closed(closed) => Uncollected::Closed(closed, Fate::NotCollected),
            other => other.into(),
        }
    }

    /// Sleeps until the owner says something, or hangs up.
    fn sleep_until_told(&self, line: &OwnedFd, deadline: Option<Instant>) -> Result<(), Refusal> {
        loop {
            if super::connection::is_readable(line.as_fd()) {
                return Ok(());
            }
            let longest = self.look()?;
            let left =
                deadline.map_or(longest, |end| end.saturating_duration_since(Instant::now()).min(longest));
            if left.is_zero() {
                return Err(Refusal::Waiting);
            }
            let mut polled = vec![PollFd::new(line, PollFlags::IN | PollFlags::RDHUP)];
            polled.push(PollFd::new(&self.socket, PollFlags::RDHUP));
            polled.extend(self.death().map(|death| PollFd::from_borrowed_fd(death, PollFlags::IN)));
            self.poll(&mut polled, left);
        }
    }

    /// It is waited for no longer, for that reason; the owner may have it by now.
    #[cold]
    fn give_up(&self, line: &OwnedFd, why: Refusal) -> Result<(), Uncollected> {
        let closed = match why {
            // Whoever receives there goes on: it must not be collected later.
            Refusal::Closed(closed) if self.segment.is_disowned() => {
                return self.withdraw(line).map_err(|_| Uncollected::Closed(closed, Fate::NotCollected));
            }
            Refusal::Closed(closed) => Uncollected::Closed(closed, Fate::NotCollected),
            why => return self.withdraw(line).map_err(|_| why.into()),
        };
        if is_collected(line) { Ok(()) } else { Err(closed) }
    }

    /// The deadline came first: takes the message back, unless the owner has it.
    #[cold]
    fn withdraw(&self, line: &OwnedFd) -> Result<(), Uncollected> {
        let head =
            Head { kind: Kind::Withdraw, length: 0, token: super::packet::ANY, descriptors: 0, after: 0 };
        let _ = packet::send(line.as_fd(), &head.encode(), &[], &[]); // nor this
        let _ = shutdown(line, Shutdown::Read); // it fails where nobody is there any more
        if is_collected(line) {
            return Ok(());
        }
        if !self.is_a_strangers() {
            self.put_back(super::packet::ANY);
        }
        Err(Uncollected::Refused(Refusal::Waiting))
    }
}
