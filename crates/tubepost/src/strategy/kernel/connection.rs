//! A connection as its sender sees it: the credit, whether there is room, whether anybody is there.

use super::packet::{ANY, Head, Kind, NO_GRANTS};
use super::posting::Posting;
use super::room;
use super::turn::Turns;
use super::waiting::Waiters;
use crate::domain::cleanup;
use crate::domain::failed;
use crate::domain::purse::Purse;
use crate::domain::segment::{Id, Segment};
use crate::domain::sockets::END;
use crate::error::{Closed, Error};
use crate::os::cpu::{self, Company};
use crate::os::{Errno, clock, packet, pid, tokens};
use crate::queue::layout::OWNER;
use crate::strategy::{Refusal, not_ours};
use crate::sync::wait::SLICE;
use rustix::event::{PollFd, PollFlags, Timespec, epoll};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// How often, a millisecond apart, to look for what the kernel is just about to tell: that the owner is dead.
const GRIEF: u32 = 100;
/// Packets of an owner's that are taken away at one look.
pub(super) const MOST_HEARD: u32 = 1000;

/// A connection as its sender sees it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) segment: Segment,
    pub(super) socket: OwnedFd,
    /// Of the sealed strategy: the areas.
    pub(super) posting: Option<Posting>,
    /// The pipe, if it is for us …
    pub(super) credit: Option<OwnedFd>,
    /// So many tokens of it that could not be used, and that the system would not take back: they are used next.
    pub(super) kept: AtomicU64,
    /// … else the tokens that the owner sent, and how many there are.
    pub(super) granted: Mutex<Vec<u64>>,
    pub(super) grants: AtomicUsize,
    /// When the last message's turn is.
    pub(super) turns: Turns,
    pub(super) spin: Duration,
    /// Readable when the owner's process has ended; nothing if that can't be had.
    pub(super) death: OnceLock<Option<OwnedFd>>,
    /// Readable when there may be something to do.
    pub(super) descriptor: OnceLock<OwnedFd>,
    /// Tasks that wait for that.
    pub(super) waiters: Waiters,
    /// Connections for messages that are awaited; see `collected`.
    pub(super) spare_lines: Mutex<Vec<OwnedFd>>,
    /// What this sender is called.
    pub(super) name: String,
    /// The coarse clock when the kernel was last asked about the owner.
    pub(super) looked: AtomicU64,
    pub(super) call: Call,
}

/// Where to connect to, and what to say there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    /// Whose socket it is: the mailbox's, or, of a link, the receiving process's.
    pub(super) post: Id,
    pub(super) kind: Kind,
    pub(super) token: u64,
    /// Of a link, which one.
    pub(super) link: u64,
}

impl Call {
    /// To the owner of a mailbox.
    pub(super) fn owner(of: &Segment) -> Call {
        Call { post: of.id(), kind: Kind::Hello, token: ANY, link: 0 }
    }
}

/// Connects to the owner, and says who that is.
pub(super) fn introduce(
    segment: &Segment,
    call: &Call,
    room: u64,
    name: &str,
    patience: Duration,
) -> Result<OwnedFd, Errno> {
    introduce_with(segment, call, room, name, None, patience)
}

/// The same with the sender's area, where it has one.
pub(super) fn introduce_with(
    segment: &Segment,
    call: &Call,
    room: u64,
    name: &str,
    area: Option<BorrowedFd<'_>>,
    patience: Duration,
) -> Result<OwnedFd, Errno> {
    let socket = segment.connect_to(call.post, patience)?;
    packet::widen(socket.as_fd(), room);
    let (kind, length) = (call.kind, name.len() as u32);
    let hello = Head {
        kind,
        length,
        token: call.token,
        descriptors: call.link + u64::from(area.is_some()),
        after: 0,
    };
    packet::send(socket.as_fd(), &hello.encode(), name.as_bytes(), area.as_slice())?;
    Ok(socket)
}

impl Connection {
    pub(super) fn new(
        segment: Segment,
        socket: OwnedFd,
        credit: Option<OwnedFd>,
        name: &str,
        spin: Duration,
        call: Call,
    ) -> Connection {
        Connection {
            segment,
            socket,
            credit,
            kept: AtomicU64::new(0),
            granted: Mutex::new(Vec::new()),
            grants: AtomicUsize::new(0),
            turns: Turns::default(),
            spin,
            death: OnceLock::new(),
            descriptor: OnceLock::new(),
            waiters: Waiters::default(),
            spare_lines: Mutex::default(),
            name: name.into(),
            looked: AtomicU64::new(0),
            posting: None,
            call,
        }
    }

    /// Whether it is of a user who can't open the pipe.
    pub(super) fn is_a_strangers(&self) -> bool {
        self.credit.is_none()
    }

    /// One more connection to the owner. Where too many wait for one this waits for so long.
    pub(super) fn another_line(&self, patience: Duration) -> Result<OwnedFd, Errno> {
        if let Some(bound) = self.segment.bound() {
            return self.give_line(bound);
        }
        let room = room::wanted(self.segment.geometry.choice.max_message, 1);
        let mut call = self.call;
        if call.kind == Kind::Hello {
            call.token = NO_GRANTS;
        }
        introduce(&self.segment, &call, room, &self.name, patience)
    }

    /// No more is sent from here.
    pub(super) fn hang_up(&self) {
        packet::shut(self.socket.as_fd());
    }

    #[cold]
    pub(super) fn trouble(&self, doing: &'static str, errno: Errno) -> Refusal {
        failed(doing, &self.segment.path(), errno).into()
    }

    pub(super) fn spin(&self) -> Duration {
        match cpu::company() {
            Company::Likely => self.spin,
            // What is in memory comes without the kernel's help.
            Company::Unsure if self.posting.is_some() => self.spin,
            _ => Duration::ZERO,
        }
    }

    /// A token, if there is one.
    #[inline]
    pub(super) fn take_token(&self) -> Result<Option<u64>, Refusal> {
        let Some(credit) = &self.credit else { return Ok(self.take_grant()) };
        // First: as long as the owner misses it, it looks into all that is there.
        if self.take_kept() || self.purse().is_some_and(Purse::take_kept) {
            return Ok(Some(ANY));
        }
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
    pub(super) fn take_grant(&self) -> Option<u64> {
        let mut granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut head, mut rest) = ([0; packet::HEAD], Vec::new());
        // What comes when there are some may stay where it is; and nobody has this go on for ever.
        for _ in 0..MOST_HEARD {
            if !granted.is_empty() {
                break;
            }
            let came = packet::receive(self.socket.as_fd(), &mut head, &mut rest, 0, None);
            let Ok(came) = came else { break };
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
        if self.meets() {
            return;
        }
        match &self.credit {
            Some(_) if self.purse().is_some() => self.purse().into_iter().for_each(Purse::keep),
            Some(_) => {
                self.kept.fetch_add(1, Relaxed);
                self.put_back_what_is_kept();
            }
            None => {
                self.granted.lock().unwrap_or_else(PoisonError::into_inner).insert(0, token);
                self.grants.fetch_add(1, Relaxed);
            }
        }
    }

    /// As far as the system lets it. What it refuses is tried again before a wait.
    pub(super) fn put_back_what_is_kept(&self) {
        let Some(credit) = &self.credit else { return };
        while self.take_kept() {
            if tokens::put(credit.as_fd(), ANY).is_err() {
                self.kept.fetch_add(1, Relaxed);
                return;
            }
        }
    }

    #[inline]
    fn take_kept(&self) -> bool {
        self.kept.load(Relaxed) > 0
            && self.kept.fetch_update(Relaxed, Relaxed, |number| number.checked_sub(1)).is_ok()
    }

    /// Whether there seems to be a token, or the end.
    pub(super) fn has_token(&self) -> bool {
        match &self.credit {
            Some(_) => self.tokens() > 0,
            None => self.grants.load(Relaxed) > 0 || self.is_ready(PollFlags::IN),
        }
    }

    /// Of who can take from the pipe: how many there are.
    pub(super) fn tokens(&self) -> u64 {
        match self.purse() {
            Some(purse) => purse.count(),
            None => self.credit.as_ref().map_or(0, tokens::count) + self.kept.load(Relaxed),
        }
    }

    /// Of a pair: where what is not used is kept.
    fn purse(&self) -> Option<&Purse> {
        self.segment.bound()?.purse()
    }

    pub(super) fn is_ready(&self, flags: PollFlags) -> bool {
        let mut polled = [PollFd::new(&self.socket, flags)];
        matches!(rustix::event::poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1))
    }

    pub(super) fn is_writable(&self) -> bool {
        self.is_ready(PollFlags::OUT)
    }

    /// There is no token; or there is nobody any more to put one in.
    #[cold]
    pub(super) fn full(&self) -> Refusal {
        if self.is_ready(PollFlags::RDHUP) { self.hung_up() } else { Refusal::Waiting }
    }

    /// A message was not sent.
    #[cold]
    pub(super) fn unsent(&self, token: u64, errno: Errno) -> Refusal {
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
            if self.segment.is_disowned() {
                return not_ours(&self.segment); // it was hung up here
            }
            if self.segment.is_closed() || self.segment.is_closing() || self.segment.is_over() {
                return Refusal::Closed(self.buried());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Error::HungUp { name: self.segment.name.to_string() }.into()
    }

    /// It is over: how many were never collected. Whoever may write there buries it.
    #[cold]
    pub(super) fn buried(&self) -> Closed {
        let closed = self.buried_for_all();
        self.posting.as_ref().map_or(closed, |posting| posting.told(self, closed))
    }

    fn buried_for_all(&self) -> Closed {
        let segment = &self.segment;
        // What waits in areas only their two sides can count: none of others is to do it instead of the owner.
        let grief = if self.posting.is_some() { 10 * GRIEF } else { GRIEF };
        for _ in 0..grief {
            let counted = segment.header().life.uncollected.load(Acquire);
            if segment.is_over() {
                let _ = cleanup::bury(segment); // it may not be ours to remove
            }
            if counted != 0 {
                return Closed { uncollected: counted - 1 };
            }
            std::thread::sleep(Duration::from_millis(1)); // whoever closes it is just counting
        }
        if self.posting.is_some() && !segment.is_over() {
            return Closed { uncollected: 0 }; // it is stopped
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
            // Of a pair the row is the other end's word, and the connection tells as much.
            let row = self.segment.rows.get(OWNER).ok().filter(|_| self.segment.bound().is_none())?;
            let here = pid::means_here(row.namespace.load(Relaxed));
            let fd = if here { pid::watch(row.pid.load(Relaxed) as u32).ok()? } else { return None };
            Some(fd) // if it is of another process by now, the owner is dead, and who looks is told
        };
        self.death.get_or_init(open).as_ref().map(AsFd::as_fd)
    }

    /// Sleeps until there may be room, for at most so long.
    pub(super) fn sleep(&self, longest: Duration) {
        self.put_back_what_is_kept();
        if self.purse().is_some_and(Purse::has_kept) {
            return;
        }
        let mut polled = Vec::with_capacity(3);
        match &self.credit {
            Some(credit) if self.is_writable() => {
                polled.push(PollFd::new(&self.socket, PollFlags::RDHUP));
                polled.push(PollFd::new(credit, PollFlags::IN));
                let kept = self.purse().and_then(Purse::counter);
                polled.extend(kept.map(|kept| PollFd::from_borrowed_fd(kept, PollFlags::IN)));
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

    pub(super) fn make_descriptor(&self) -> Result<OwnedFd, Errno> {
        let made = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let add = |fd: BorrowedFd<'_>, flags| epoll::add(&made, fd, epoll::EventData::new_u64(0), flags);
        match &self.credit {
            Some(credit) => {
                add(credit.as_fd(), epoll::EventFlags::IN)?;
                if let Some(kept) = self.purse().and_then(Purse::counter) {
                    add(kept, epoll::EventFlags::IN)?;
                }
                add(self.socket.as_fd(), epoll::EventFlags::RDHUP)?;
            }
            None => add(self.socket.as_fd(), epoll::EventFlags::IN | epoll::EventFlags::RDHUP)?,
        }
        if let Some(posting) = &self.posting {
            add(posting.bell()?.as_fd(), epoll::EventFlags::IN)?;
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
