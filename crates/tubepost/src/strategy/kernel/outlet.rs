//! A sender's end: a connection to the owner, and a view of the entry.

use super::connection::{Call, Connection, introduce_with};
use super::packet::{ANY, Head, Kind, LONGEST_NAME};
use super::posting::{Posting, found};
use super::room;
use crate::domain::access::Right;
use crate::domain::name::Name;
use crate::domain::segment::Segment;
use crate::domain::sockets;
use crate::domain::stat::{self, Stat};
use crate::domain::{failed, no_memory};
use crate::error::{Closed, Error};
use crate::os::{Errno, packet};
use crate::queue::sealed::Shape;
use crate::strategy::shared::attach::{Wish, agree};
use crate::strategy::shared::batch::{Batch, Patience};
use crate::strategy::shared::pending::Wait;
use crate::strategy::{Refusal, allow, not_ours};
use crate::sync::wait::poll;
use rustix::event::{PollFd, PollFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// How often to look up a name that changes hands just now.
const TRIES: u32 = 100;

/// A sender's end.
#[derive(Clone, Debug)]
pub(crate) struct Outlet {
    at: Arc<Connection>,
}

/// As many connections wait to be accepted as can.
pub(super) fn crowded(name: &Name) -> Error {
    Error::Crowded { name: name.to_string(), waiting: packet::most_waiting() }
}

impl Outlet {
    pub(crate) fn open(wish: &Wish<'_>) -> Result<Outlet, Error> {
        for _ in 0..TRIES {
            let segment = sockets::open_to_look_at(wish.domain, wish.name)?;
            if segment.is_retired() {
                std::thread::yield_now();
                continue;
            }
            agree(wish, &segment)?;
            if !segment.permits(Right::Send) {
                return Err(segment.denied(Right::Send.doing(false)));
            }
            let path = segment.path();
            let trouble = |errno| failed("to connect to the owner of", &path, errno);
            let mut end = wish.member.len().min(LONGEST_NAME);
            while !wish.member.is_char_boundary(end) {
                end -= 1;
            }
            let name = &wish.member[..end];
            let choice = &segment.geometry.choice;
            let made = choice.sealed.then(|| Shape::of(choice)).map(|shape| {
                Posting::new(shape).map_err(|errno| match errno {
                    Errno::NOSPC | Errno::NOMEM | Errno::FBIG => {
                        no_memory(shape.posted() as u64, wish.domain.path(), errno)
                    }
                    errno => failed("to make an area for a sender of", &path, errno),
                })
            });
            let (posting, area) = made.transpose()?.unzip();
            let room = match &posting {
                Some(_) => 0,
                None => room::wanted(choice.max_message, choice.capacity),
            };
            let call = Call::owner(&segment);
            let area = area.as_ref().map(AsFd::as_fd);
            let socket = match introduce_with(&segment, &call, room, name, area, wish.patience) {
                Ok(socket) => socket,
                // It ended while we came in, or is about to.
                Err(Errno::NOENT | Errno::CONNREFUSED | Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
                Err(Errno::AGAIN) => return Err(crowded(wish.name)),
                Err(errno) => return Err(trouble(errno)),
            };
            let credit = match segment.credit() {
                _ if posting.is_some() => None,
                Ok(credit) => Some(credit),
                Err(Errno::ACCESS | Errno::PERM) => None,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(trouble(errno)),
            };
            let mut connection = Connection::new(segment, socket, credit, name, wish.spin, call);
            connection.posting = posting;
            return Ok(Outlet::by(connection));
        }
        Err(Error::Busy { name: wish.name.to_string() })
    }

    pub(super) fn by(connection: Connection) -> Outlet {
        Outlet { at: Arc::new(connection) }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.at
    }

    pub(crate) fn segment(&self) -> &Segment {
        &self.at.segment
    }

    /// Whether a message of so many bytes may be sent, and this is not a forked child.
    #[inline]
    pub(crate) fn may_send_so_much(&self, length: usize) -> Result<(), Refusal> {
        let segment = &self.at.segment;
        if !segment.is_ours() {
            return Err(not_ours(segment));
        }
        Ok(allow(&segment.geometry.choice, length as u64)?)
    }

    /// The same, and it is not closed.
    pub(crate) fn may_lend_so_much(&self, length: usize) -> Result<(), Refusal> {
        self.may_send_so_much(length)?;
        if self.is_closed() { Err(Refusal::Closed(self.at.buried())) } else { Ok(()) }
    }

    /// Sends if there is room now.
    #[inline]
    pub(crate) fn try_send(&self, bytes: &[u8]) -> Result<(), Refusal> {
        self.may_send_so_much(bytes.len())?;
        if self.at.meets() {
            return self.meet(bytes, &[], Patience::None);
        }
        match &self.at.posting {
            Some(posting) => posting.try_send(&self.at, bytes),
            None => self.post(bytes, &[]),
        }
    }

    /// Sends by the connection if there is room now.
    #[inline]
    fn post(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Refusal> {
        let token = self.may_post()?;
        self.post_for(token, &self.at.socket, Kind::Message, bytes, descriptors)
    }

    /// A token, if there is one now.
    #[inline]
    pub(super) fn may_post(&self) -> Result<u64, Refusal> {
        let at = &*self.at;
        let token = if at.meets() { Some(ANY) } else { at.take_token()? };
        let Some(token) = token else { return Err(at.full()) };
        if at.segment.is_closing() {
            at.put_back(token);
            return Err(Refusal::Closed(at.buried()));
        }
        Ok(token)
    }

    /// Sends by this connection, for this token.
    #[inline]
    pub(super) fn post_for(
        &self,
        token: u64,
        line: &OwnedFd,
        kind: Kind,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), Refusal> {
        let at = &*self.at;
        let (length, turn) = (bytes.len() as u32, at.turns.next(token));
        let number = descriptors.len() as u64;
        let head = Head { kind, length, token: turn.token, descriptors: number, after: turn.after };
        match packet::send(line.as_fd(), &head.encode(), bytes, descriptors) {
            Ok(()) => Ok(()),
            Err(errno) => Err(at.unsent(token, errno)),
        }
    }

    /// Sends with descriptors, of which the owner gets copies.
    pub(crate) fn send_with(
        &self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        patience: Patience,
    ) -> Result<(), Refusal> {
        self.may_send_so_much(bytes.len())?;
        if self.at.posting.is_some() {
            return Err(Error::BadOption {
                what: "descriptors with a message",
                given: "of a mailbox of the sealed strategy".into(),
                allowed: "only of the kernel strategy; own the mailbox with that".into(),
            }
            .into());
        }
        if descriptors.len() > packet::MOST_DESCRIPTORS {
            return Err(Error::BadOption {
                what: "the number of descriptors with a message",
                given: descriptors.len().to_string(),
                allowed: format!("at most {}; send several messages", packet::MOST_DESCRIPTORS),
            }
            .into());
        }
        if self.at.meets() {
            return self.meet(bytes, descriptors, patience);
        }
        let post = || self.post(bytes, descriptors);
        match (post(), patience) {
            (Err(Refusal::Waiting), Patience::Until(deadline)) => self.wait_for_room(deadline, post),
            (done, _) => done,
        }
    }

    /// Sends, waiting for room until the deadline.
    #[inline]
    pub(crate) fn send(&self, bytes: &[u8], deadline: Option<Instant>) -> Result<(), Refusal> {
        if let Some(posting) = &self.at.posting {
            self.may_send_so_much(bytes.len())?;
            return posting.send(&self.at, bytes, deadline);
        }
        if self.at.meets() {
            self.may_send_so_much(bytes.len())?;
            return self.meet(bytes, &[], Patience::Until(deadline));
        }
        match self.try_send(bytes) {
            Err(Refusal::Waiting) => self.wait_for_room(deadline, || self.try_send(bytes)),
            done => done,
        }
    }

    /// Tries again and again, as long as there is no room, until the deadline.
    #[cold]
    pub(super) fn wait_for_room<R>(
        &self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut() -> Result<R, Refusal>,
    ) -> Result<R, Refusal> {
        let at = &*self.at;
        loop {
            let spin = at.spin();
            while !spin.is_zero() && poll(spin, deadline, || at.has_token()) {
                match attempt() {
                    Err(Refusal::Waiting) if at.is_writable() => {}
                    Err(Refusal::Waiting) => break,
                    done => return done,
                }
            }
            let longest = at.look()?;
            let left =
                deadline.map_or(longest, |end| end.saturating_duration_since(Instant::now()).min(longest));
            at.sleep(left);
            match attempt() {
                Err(Refusal::Waiting) if deadline.is_some_and(|end| Instant::now() >= end) => {
                    return Err(Refusal::Waiting);
                }
                Err(Refusal::Waiting) => {}
                done => return done,
            }
        }
    }

    /// Sends all for which there is room, or will be in time. `Waiting`: not all.
    pub(crate) fn send_batch<'s>(
        &self,
        batch: &mut Batch<impl Fn(usize) -> &'s [u8]>,
        patience: Patience,
    ) -> Result<(), Refusal> {
        while batch.sent < batch.count {
            let bytes = (batch.bytes)(batch.sent);
            match patience {
                Patience::None => self.try_send(bytes)?,
                Patience::Until(deadline) => self.send(bytes, deadline)?,
            }
            batch.sent += 1;
        }
        Ok(())
    }

    /// Sends when there is room.
    pub(crate) fn poll_send(
        &self,
        wait: &mut Wait,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<(), Refusal>> {
        if self.at.meets() {
            return self.poll_meet(wait, context, bytes);
        }
        let attempt = || found(self.try_send(bytes));
        if let Some(done) = attempt() {
            wait.leave();
            return Poll::Ready(done);
        }
        self.poll_at_descriptor(wait, context, attempt)
    }

    /// Comes back when the mailbox is closed.
    pub(crate) fn poll_closed(
        &self,
        wait: &mut Wait,
        context: &mut Context<'_>,
    ) -> Poll<Result<Closed, Refusal>> {
        let segment = &self.at.segment;
        if !segment.is_ours() {
            return Poll::Ready(Err(not_ours(segment)));
        }
        let over = || segment.is_closed().then(|| Ok(self.at.buried()));
        if let Some(closed) = over() {
            wait.leave();
            return Poll::Ready(closed);
        }
        self.poll_at_descriptor(wait, context, over)
    }

    pub(super) fn poll_at_descriptor<R>(
        &self,
        wait: &mut Wait,
        context: &mut Context<'_>,
        mut attempt: impl FnMut() -> Option<Result<R, Refusal>>,
    ) -> Poll<Result<R, Refusal>> {
        let at = (self.descriptor()?, &*self.at.segment.path());
        let attempt = || match &self.at.posting {
            Some(posting) => posting.attempt(&self.at, &mut attempt),
            None => attempt(),
        };
        self.at.waiters.poll(wait, at, context, attempt, || self.at.look())
    }

    /// Waits until the mailbox is closed, at most until the deadline.
    pub(crate) fn closed(&self, deadline: Option<Instant>) -> Result<Closed, Refusal> {
        let at = &*self.at;
        if !at.segment.is_ours() {
            return Err(not_ours(&at.segment));
        }
        loop {
            let longest = match at.look() {
                Ok(longest) => longest,
                Err(Refusal::Closed(closed)) => return Ok(closed),
                Err(other) => return Err(other),
            };
            let left =
                deadline.map_or(longest, |end| end.saturating_duration_since(Instant::now()).min(longest));
            if left.is_zero() {
                return Err(Refusal::Waiting);
            }
            let mut polled = vec![PollFd::new(&at.socket, PollFlags::RDHUP)];
            polled.extend(at.death().map(|death| PollFd::from_borrowed_fd(death, PollFlags::IN)));
            at.poll(&mut polled, left);
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        let at = &*self.at;
        if !at.segment.is_ours() {
            return at.segment.is_disowned();
        }
        let over = at.segment.is_closed() || at.segment.is_closing() || at.segment.is_over();
        if over {
            at.buried(); // so that every later call says the same
        }
        over
    }

    pub(crate) fn length(&self) -> u64 {
        let at = &*self.at;
        if !at.segment.is_ours() || at.meets() {
            return 0;
        }
        if let Some(posting) = &at.posting {
            return posting.waiting(at);
        }
        if at.is_a_strangers() {
            return at.segment.count().waiting;
        }
        let capacity = at.segment.geometry.choice.capacity;
        let words = &at.segment.header().sockets;
        let free = at.tokens().saturating_add(words.owed.load(Acquire));
        capacity.saturating_sub(free).saturating_add(words.back.load(Acquire))
    }

    pub(crate) fn is_full(&self) -> bool {
        let at = &*self.at;
        at.segment.is_ours()
            && !at.posting.as_ref().map_or_else(|| at.has_token(), |posting| posting.has_room(at))
    }

    pub(crate) fn stat(&self) -> Result<Stat, Error> {
        let at = &*self.at;
        if !at.segment.is_ours() && !at.segment.is_disowned() {
            return Err(Error::Forked);
        }
        let mut stat = stat::of(&at.segment)?;
        if let Some(posting) = &at.posting {
            // What is told in the entry may be old.
            let more = posting.waiting(at).saturating_sub(stat.depth);
            stat.depth += more;
            stat.sent = stat.sent.saturating_add(more);
        }
        Ok(stat)
    }

    /// Whether there seems to be room, or the mailbox is closed. In a forked child it says so at once.
    pub(crate) fn may_send(&self) -> bool {
        let at = &*self.at;
        if !at.segment.is_ours() || at.segment.is_closing() || at.segment.is_closed() {
            return true;
        }
        at.posting.as_ref().map_or_else(|| at.has_token(), |posting| posting.has_room_or_tells(at))
    }

    /// What is done before a wait: how long that may be at most.
    pub(crate) fn look_before_waiting(&self) -> Result<Duration, Refusal> {
        self.at.look()
    }

    /// A descriptor that is readable when there may be room, or it is over.
    pub(crate) fn descriptor(&self) -> Result<BorrowedFd<'_>, Error> {
        let at = &*self.at;
        if let Some(known) = at.descriptor.get() {
            return Ok(known.as_fd());
        }
        let made = at.make_descriptor().map_err(|errno| failed("to wait for", &at.segment.path(), errno))?;
        Ok(at.descriptor.get_or_init(|| made).as_fd())
    }
}
