//! A sender's end: a connection to the owner, and a view of the entry.

use super::packet::{ANY, Head, Kind, LONGEST_NAME};
use super::room;
use super::waiting::Waiters;
use crate::domain::access::Right;
use crate::domain::cleanup;
use crate::domain::entry::Segment;
use crate::domain::failed;
use crate::domain::sockets::{self, END};
use crate::domain::stat::{self, Stat};
use crate::error::{Closed, Error};
use crate::os::cpu::{self, Company};
use crate::os::{Errno, clock, packet, pid, tokens};
use crate::queue::layout::OWNER;
use crate::strategy::Refusal;
use crate::strategy::shared::attach::{Wish, agree};
use crate::strategy::shared::batch::{Batch, Patience};
use crate::strategy::shared::pending::Wait;
use crate::sync::wait::{SLICE, poll};
use rustix::event::{PollFd, PollFlags, Timespec, epoll};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// How often, a millisecond apart, to look for what the kernel is just about to tell: that the owner is dead.
const GRIEF: u32 = 100;
/// How often to look up a name that changes hands just now.
const TRIES: u32 = 100;

/// A sender's end.
#[derive(Clone, Debug)]
pub(crate) struct Outlet {
    at: Arc<Connection>,
}

/// A connection as its sender sees it.
#[derive(Debug)]
pub(super) struct Connection {
    segment: Segment,
    pub(super) socket: OwnedFd,
    /// The pipe, if it is for us …
    credit: Option<OwnedFd>,
    /// … else the tokens that the owner sent, and how many there are.
    granted: Mutex<Vec<u64>>,
    grants: AtomicUsize,
    spin: Duration,
    /// Readable when the owner's process has ended; nothing if that can't be had.
    death: OnceLock<Option<OwnedFd>>,
    /// Readable when there may be something to do.
    descriptor: OnceLock<OwnedFd>,
    /// Tasks that wait for that.
    waiters: Waiters,
    /// Connections for messages that are awaited; see `collected`.
    pub(super) spare_lines: Mutex<Vec<OwnedFd>>,
    /// What this sender is called.
    name: String,
    /// The coarse clock when the kernel was last asked about the owner.
    looked: AtomicU64,
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
                return Err(Error::Denied { doing: Right::Send.doing(), path: segment.path() });
            }
            let path = segment.path();
            let trouble = |errno| failed("to connect to the owner of", &path, errno);
            let mut end = wish.member.len().min(LONGEST_NAME);
            while !wish.member.is_char_boundary(end) {
                end -= 1;
            }
            let name = &wish.member[..end];
            let choice = &segment.geometry.choice;
            let room = room::wanted(choice.max_message, choice.capacity);
            let socket = match introduce(&segment, room, name) {
                Ok(socket) => socket,
                // It ended while we came in, or is about to.
                Err(Errno::NOENT | Errno::CONNREFUSED | Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
                Err(Errno::AGAIN) => return Err(Error::Busy { name: wish.name.to_string() }),
                Err(errno) => return Err(trouble(errno)),
            };
            let credit = match segment.credit() {
                Ok(credit) => Some(credit),
                Err(Errno::ACCESS | Errno::PERM) => None,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(trouble(errno)),
            };
            return Ok(Outlet {
                at: Arc::new(Connection {
                    segment,
                    socket,
                    credit,
                    granted: Mutex::new(Vec::new()),
                    grants: AtomicUsize::new(0),
                    spin: wish.spin,
                    death: OnceLock::new(),
                    descriptor: OnceLock::new(),
                    waiters: Waiters::default(),
                    spare_lines: Mutex::default(),
                    name: name.into(),
                    looked: AtomicU64::new(0),
                }),
            });
        }
        Err(Error::Busy { name: wish.name.to_string() })
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
            return Err(Error::Forked.into());
        }
        let (length, max) = (length as u64, segment.geometry.choice.max_message);
        if length > max { Err(Error::TooLong { length, max }.into()) } else { Ok(()) }
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
        self.post_by(&self.at.socket, Kind::Message, bytes, &[])
    }

    /// Sends by this connection if there is room now.
    #[inline]
    pub(super) fn post_by(
        &self,
        line: &OwnedFd,
        kind: Kind,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), Refusal> {
        let at = &*self.at;
        let Some(token) = at.take_token()? else { return Err(at.full()) };
        if at.segment.is_closing() {
            at.put_back(token);
            return Err(Refusal::Closed(at.buried()));
        }
        let head = Head { kind, length: bytes.len() as u32, token, descriptors: descriptors.len() as u64 };
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
        if descriptors.len() > packet::MOST_DESCRIPTORS {
            return Err(Error::BadOption {
                what: "the number of descriptors with a message",
                given: descriptors.len().to_string(),
                allowed: format!("at most {}; send several messages", packet::MOST_DESCRIPTORS),
            }
            .into());
        }
        let post = || self.post_by(&self.at.socket, Kind::Message, bytes, descriptors);
        match (post(), patience) {
            (Err(Refusal::Waiting), Patience::Until(deadline)) => self.wait_for_room(deadline, post),
            (done, _) => done,
        }
    }

    /// Sends, waiting for room until the deadline.
    #[inline]
    pub(crate) fn send(&self, bytes: &[u8], deadline: Option<Instant>) -> Result<(), Refusal> {
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
        let attempt = || match self.try_send(bytes) {
            Err(Refusal::Waiting) => None,
            done => Some(done),
        };
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
            return Poll::Ready(Err(Error::Forked.into()));
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
        attempt: impl FnMut() -> Option<Result<R, Refusal>>,
    ) -> Poll<Result<R, Refusal>> {
        let at = (self.descriptor()?, &*self.at.segment.path());
        self.at.waiters.poll(wait, at, context, attempt, || self.at.look())
    }

    /// Waits until the mailbox is closed, at most until the deadline.
    pub(crate) fn closed(&self, deadline: Option<Instant>) -> Result<Closed, Refusal> {
        let at = &*self.at;
        if !at.segment.is_ours() {
            return Err(Error::Forked.into());
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
            return false;
        }
        let over = at.segment.is_closed() || at.segment.is_closing() || at.segment.is_over();
        if over {
            at.buried(); // so that every later call says the same
        }
        over
    }

    pub(crate) fn length(&self) -> u64 {
        let at = &*self.at;
        if !at.segment.is_ours() {
            return 0;
        }
        let Some(credit) = &at.credit else { return at.segment.count().waiting };
        let capacity = at.segment.geometry.choice.capacity;
        capacity.saturating_sub(tokens::count(credit)) + at.segment.header().sockets.back.load(Acquire)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.at.segment.is_ours() && !self.at.has_token()
    }

    pub(crate) fn stat(&self) -> Result<Stat, Error> {
        if self.at.segment.is_ours() { stat::of(&self.at.segment) } else { Err(Error::Forked) }
    }

    /// Whether there seems to be room, or the mailbox is closed. In a forked child it says so at once.
    pub(crate) fn may_send(&self) -> bool {
        let at = &*self.at;
        !at.segment.is_ours() || at.segment.is_closing() || at.segment.is_closed() || at.has_token()
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

/// Connects to the owner, and says who that is.
fn introduce(segment: &Segment, room: u64, name: &str) -> Result<OwnedFd, Errno> {
    let socket = segment.connect()?;
    packet::widen(socket.as_fd(), room);
    let hello = Head { kind: Kind::Hello, length: name.len() as u32, token: ANY, descriptors: 0 };
    packet::send(socket.as_fd(), &hello.encode(), name.as_bytes(), &[])?;
    Ok(socket)
}

/// What is missing on this strategy.
#[cold]
pub(super) fn not_offered(what: &'static str) -> Error {
    Error::BadOption {
        what,
        given: "of a mailbox of the kernel strategy".into(),
        allowed: "only of the shared strategy so far".into(),
    }
}

impl Connection {
    /// Whether it is of a user who can't open the pipe.
    pub(super) fn is_a_strangers(&self) -> bool {
        self.credit.is_none()
    }

    /// One more connection to the owner.
    pub(super) fn another_line(&self) -> Result<OwnedFd, Errno> {
        introduce(&self.segment, room::wanted(self.segment.geometry.choice.max_message, 1), &self.name)
    }

    #[cold]
    pub(super) fn trouble(&self, doing: &'static str, errno: Errno) -> Refusal {
        failed(doing, &self.segment.path(), errno).into()
    }

    pub(super) fn spin(&self) -> Duration {
        if cpu::company() == Company::Likely { self.spin } else { Duration::ZERO }
    }

    /// A token, if there is one.
    #[inline]
    fn take_token(&self) -> Result<Option<u64>, Refusal> {
        let Some(credit) = &self.credit else { return Ok(self.take_grant()) };
        match tokens::take(credit.as_fd()) {
            Ok(END) => {
                let _ = tokens::put(credit.as_fd(), END);
                Err(Refusal::Closed(self.buried()))
            }
            Ok(token) => Ok(Some(token)),
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(failed("to read the credit of", &self.segment.path(), errno).into()),
        }
    }

    /// The same of who can't open the pipe.
    #[cold]
    fn take_grant(&self) -> Option<u64> {
        let mut granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut head, mut rest) = ([0; packet::HEAD], Vec::new());
        while let Ok(came) = packet::receive(self.socket.as_fd(), &mut head, &mut rest, 0, None) {
            match Head::decode(&head, came.length) {
                Some(head) if head.kind == Kind::Grant => granted.push(head.token),
                Some(_) => {}
                None => break,
            }
        }
        let token = (!granted.is_empty()).then(|| granted.remove(0));
        self.grants.store(granted.len(), Relaxed);
        token
    }

    pub(super) fn put_back(&self, token: u64) {
        match &self.credit {
            Some(credit) => drop(tokens::put(credit.as_fd(), ANY)),
            None => {
                self.granted.lock().unwrap_or_else(PoisonError::into_inner).insert(0, token);
                self.grants.fetch_add(1, Relaxed);
            }
        }
    }

    /// Whether there seems to be a token, or the end.
    fn has_token(&self) -> bool {
        match &self.credit {
            Some(credit) => tokens::count(credit) > 0,
            None => self.grants.load(Relaxed) > 0 || self.is_ready(PollFlags::IN),
        }
    }

    fn is_ready(&self, flags: PollFlags) -> bool {
        let mut polled = [PollFd::new(&self.socket, flags)];
        matches!(rustix::event::poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1))
    }

    fn is_writable(&self) -> bool {
        self.is_ready(PollFlags::OUT)
    }

    /// There is no token; or there is nobody any more to put one in.
    #[cold]
    fn full(&self) -> Refusal {
        if self.is_ready(PollFlags::RDHUP) { self.hung_up() } else { Refusal::Waiting }
    }

    /// A message was not sent.
    #[cold]
    fn unsent(&self, token: u64, errno: Errno) -> Refusal {
        self.put_back(token);
        match errno {
            Errno::AGAIN => Refusal::Waiting,
            Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN => self.hung_up(),
            errno => failed("to send to the owner of", &self.segment.path(), errno).into(),
        }
    }

    /// The owner hung up: it is dead or closed the mailbox, or it wants nothing more from here.
    #[cold]
    pub(super) fn hung_up(&self) -> Refusal {
        for _ in 0..GRIEF {
            if self.segment.is_closed() || self.segment.is_closing() || self.segment.is_over() {
                return Refusal::Closed(self.buried());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Error::HungUp { name: self.segment.name.to_string() }.into()
    }

    /// It is over: how many were never collected. Whoever may write there buries it.
    #[cold]
    fn buried(&self) -> Closed {
        let segment = &self.segment;
        for _ in 0..GRIEF {
            let counted = segment.header().life.uncollected.load(Acquire);
            if segment.is_over() {
                let _ = cleanup::bury(segment); // it may not be ours to remove
            }
            if counted != 0 {
                return Closed { uncollected: counted - 1 };
            }
            std::thread::sleep(Duration::from_millis(1)); // whoever closes it is just counting
        }
        cleanup::finish(segment)
    }

    /// Is there still somebody to wait for? Says how long one may sleep.
    pub(super) fn look(&self) -> Result<Duration, Refusal> {
        if self.segment.is_closed() || self.segment.is_closing() {
            return Err(Refusal::Closed(self.buried()));
        }
        if self.is_ready(PollFlags::RDHUP) {
            return Err(self.hung_up());
        }
        let now = clock::coarse();
        if now.wrapping_sub(self.looked.load(Relaxed)) >= SLICE.as_nanos() as u64 {
            self.looked.store(now, Relaxed);
            if self.segment.is_over() {
                return Err(Refusal::Closed(self.buried()));
            }
        }
        if self.death().is_some_and(|death| is_readable(death)) {
            // The kernel tells of its end before it lets go of its lock.
            return if self.segment.is_over() { Err(Refusal::Closed(self.buried())) } else { Ok(SOON) };
        }
        Ok(SLICE)
    }

    pub(super) fn death(&self) -> Option<BorrowedFd<'_>> {
        let open = || {
            let row = self.segment.rows.get(OWNER).ok()?;
            let here = pid::means_here(row.namespace.load(Relaxed));
            let fd = if here { pid::watch(row.pid.load(Relaxed) as u32).ok()? } else { return None };
            Some(fd) // if it is of another process by now, the owner is dead, and who looks is told
        };
        self.death.get_or_init(open).as_ref().map(AsFd::as_fd)
    }

    /// Sleeps until there may be room, for at most so long.
    fn sleep(&self, longest: Duration) {
        let mut polled = Vec::with_capacity(3);
        match &self.credit {
            Some(credit) if self.is_writable() => {
                polled.push(PollFd::new(&self.socket, PollFlags::RDHUP));
                polled.push(PollFd::new(credit, PollFlags::IN));
            }
            Some(_) => polled.push(PollFd::new(&self.socket, PollFlags::OUT)),
            None => polled.push(PollFd::new(&self.socket, PollFlags::IN | PollFlags::RDHUP)),
        }
        polled.extend(self.death().map(|death| PollFd::from_borrowed_fd(death, PollFlags::IN)));
        self.poll(&mut polled, longest);
    }

    pub(super) fn poll(&self, polled: &mut [PollFd<'_>], longest: Duration) {
        let time = Timespec { tv_sec: longest.as_secs() as i64, tv_nsec: longest.subsec_nanos().into() };
        let _ = rustix::event::poll(polled, Some(&time)); // too early does no harm
    }

    fn make_descriptor(&self) -> Result<OwnedFd, Errno> {
        let made = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let add = |fd: BorrowedFd<'_>, flags| epoll::add(&made, fd, epoll::EventData::new_u64(0), flags);
        match &self.credit {
            Some(credit) => {
                add(credit.as_fd(), epoll::EventFlags::IN)?;
                add(self.socket.as_fd(), epoll::EventFlags::RDHUP)?;
            }
            None => add(self.socket.as_fd(), epoll::EventFlags::IN | epoll::EventFlags::RDHUP)?,
        }
        if let Some(death) = self.death() {
            add(death, epoll::EventFlags::IN)?;
        }
        Ok(made)
    }
}

/// A death was told that can't be confirmed yet.
const SOON: Duration = Duration::from_millis(1);

pub(super) fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    matches!(rustix::event::poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1))
}
