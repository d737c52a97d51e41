//! The ends of a direction of a link, of which the kernel copies the messages.
//!
//! It is a mailbox with one sender, but for this: either process may have made the entry and the pipe; the socket that
//! the sender connects to is
//! that of the receiving process ([`post`](super::post)); who lives is asked of the processes (`domain::party`); and a
//! receiver whose sender is gone is
//! told, when it has received everything.
//!
//! ```text
//! the sender is gone?   it has left, or its process is dead; nothing that it does comes after that
//!                       accept all who wait at the post, or as many as can have waited then: what it sent is in one of these connections
//!                       nothing is there: the link is over
//! ```
//!
//! [`pair`](super::pair) has what is different where there is no name.
//!
//! When to ask: it says that it left; its death was told; a connection was hung up; or nobody could tell, and the clock
//! has ticked.
//!
//! **What if it dies here?** A sender between entry and connection: its death is told, and nothing came. One that
//! nobody opened the link for: the pipe is open
//! nowhere then, and new: its tokens tell nothing more, and nobody needs them. A receiver: its sockets go, and whoever
//! is connected, or about to be, hears that;
//! the missing tokens are what was never collected.

use super::connection::{Call, Connection, introduce};
use super::inlet::Inlet;
use super::outlet::{Outlet, crowded};
use super::packet::Kind;
use super::post::{Pigeonhole, Post};
use super::room;
use crate::domain::entry::Linked;
use crate::domain::failed;
use crate::domain::party::Party;
use crate::domain::segment::{Id, Segment};
use crate::error::Error;
use crate::os::{Errno, clock, fork, packet, pid};
use crate::queue::layout::SENDER;
use crate::strategy::Refusal;
use crate::sync::watch::{self, Visit, Visited};
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// How often, a millisecond apart, to try to connect to a process that lives, as it seems.
const TRIES: u32 = 100;
/// How long to wait for a place among those who wait to be accepted: other links of this process wait meanwhile.
const PATIENCE: Duration = Duration::from_millis(100);
/// How soon to look again for a death that was told.
const SOON: Duration = Duration::from_millis(1);

/// What the receiving end of a link has, and that of a mailbox has not.
#[derive(Debug)]
pub(super) struct Way {
    /// Where its connections come in; nothing, of a pair.
    comes_in: Option<(Arc<Post>, Arc<Pigeonhole>)>,
    /// Whether the sender's death will be told.
    watched: AtomicBool,
    /// The coarse clock at the last look at a sender whose death nobody tells.
    looked: AtomicU64,
    /// How many connections the post had accepted when the sender was found to be gone.
    gone_since: OnceLock<u64>,
    told: OnceLock<Arc<Told>>,
}

/// Who is told once when there may be something.
struct Told {
    descriptor: OwnedFd,
    visit: OnceLock<Visit>,
    tell: Box<dyn Fn() + Send + Sync>,
    epoch: u64,
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told")
    }
}

impl Visited for Told {
    fn is_readable(&self) {
        (self.tell)();
    }

    fn look_again(&self) -> bool {
        false
    }

    fn waits(&self) -> bool {
        false
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Some(visit) = self.visit.get()
            && fork::is_current(self.epoch)
        {
            watch::part(*visit, self.descriptor.as_fd());
        }
    }
}

impl Way {
    pub(super) fn new(post: &Arc<Post>, hole: Arc<Pigeonhole>) -> Way {
        Way {
            comes_in: Some((Arc::clone(post), hole)),
            watched: AtomicBool::new(false),
            looked: AtomicU64::new(0),
            gone_since: OnceLock::new(),
            told: OnceLock::new(),
        }
    }

    /// That of a pair: its only connection tells of the sender's end.
    pub(super) fn of_pair() -> Way {
        Way {
            comes_in: None,
            watched: AtomicBool::new(true),
            looked: AtomicU64::new(0),
            gone_since: OnceLock::new(),
            told: OnceLock::new(),
        }
    }

    /// The sender is gone. Accepts who waits. `false`: of those who waited when that was found some may be left.
    fn has_all(&self) -> bool {
        let Some((post, _)) = &self.comes_in else { return true };
        let since = *self.gone_since.get_or_init(|| post.accepted());
        post.look() || post.accepted() - since >= packet::MOST_WAITING.into()
    }

    /// Whether that is not over.
    fn wants_all(&self) -> bool {
        self.gone_since.get().is_some()
    }

    fn attend(&self) {
        self.comes_in.iter().for_each(|(post, _)| post.attend());
    }

    /// Whether somebody who does not sleep here is to be told when there is something.
    pub(super) fn is_told(&self) -> bool {
        self.told.get().is_some()
    }

    /// Whether a nudge is there to stay for now.
    pub(super) fn grieves(&self) -> bool {
        self.comes_in.as_ref().is_some_and(|(_, hole)| hole.grieves())
    }

    fn is_hinted(&self) -> bool {
        self.comes_in.as_ref().is_some_and(|(_, hole)| hole.is_hinted())
    }

    /// Whether to ask if the sender lives.
    fn suspects(&self, segment: &Segment, deserted: bool) -> bool {
        if deserted || segment.sender_has_left() || self.grieves() || self.wants_all() {
            return true;
        }
        if let Some(bound) = segment.bound() {
            return bound.is_due(); // who was forked from the sender may have the connection too
        }
        if self.watched.load(Relaxed) && !self.is_hinted() {
            return false;
        }
        let now = clock::coarse();
        self.looked.swap(now, Relaxed) != now
    }

    /// Has the sender's death told, if that can be.
    fn watch_sender(&self, segment: &Segment) {
        if self.watched.load(Relaxed) {
            return;
        }
        let Ok(row) = segment.rows.get(SENDER) else { return };
        let Some((_, hole)) = &self.comes_in else { return };
        let weak: Weak<Pigeonhole> = Arc::downgrade(hole);
        if pid::means_here(row.namespace.load(Relaxed))
            && watch::watch(row.pid.load(Relaxed) as u32, weak, || !segment.is_dead(SENDER))
        {
            self.watched.store(true, Relaxed);
        }
    }

    pub(super) fn forget(&self, segment: &Segment) {
        if let Some((post, hole)) = &self.comes_in {
            post.forget(&segment.name, hole);
        }
    }
}

impl Inlet {
    /// The receiving end of a link that is there.
    pub(crate) fn of_link(linked: Linked, spin: Duration, post: &Arc<Post>) -> Result<Inlet, Error> {
        let Linked { segment, credit, .. } = linked;
        let Some(credit) = credit else {
            let domain = segment.domain.path().into();
            return Err(Error::NoSuchName { name: segment.name.to_string(), domain, wanted: "a link" });
        };
        Inlet::with_way(segment, spin, Arc::new(credit), |segment, nudge, desk| {
            let hole = Pigeonhole::at(post, segment, nudge)?;
            desk.receive_at(Arc::clone(&hole));
            Some(Way::new(post, hole))
        })
    }

    /// Nothing is there. Is somebody who may send? Says that there is, or comes back to look again.
    #[inline]
    pub(super) fn nothing(&self, deserted: bool) -> Result<(), Refusal> {
        match &self.way {
            Some(way) if way.suspects(self.segment(), deserted) => self.ask_for_sender(way),
            _ => Err(Refusal::Waiting),
        }
    }

    #[cold]
    fn ask_for_sender(&self, way: &Way) -> Result<(), Refusal> {
        // Where not all could be accepted, what it sent may wait still.
        let gone = self.desk().is_deserted() || self.segment().is_dead(SENDER);
        if !gone || !way.has_all() {
            return Err(Refusal::Waiting);
        }
        let any = {
            let mut desk = self.desk();
            desk.look_around(self.segment());
            while !desk.has_any() && desk.looks_further() {
                desk.look_around(self.segment());
            }
            // Where not all could be accepted, something may wait still.
            match desk.has_any() {
                false if desk.deaf => return Err(Refusal::Waiting),
                any => any,
            }
        };
        if any {
            return Ok(());
        }
        self.close()?;
        Err(self.ended())
    }

    /// What a link's receiver does before it waits: how long that may be at most.
    #[cold]
    pub(super) fn look_after_sender(&self, way: &Way, again: bool) -> Result<Duration, Refusal> {
        way.attend();
        if again && let Some((post, _)) = &way.comes_in {
            post.look();
        }
        let watched = way.watched.load(Relaxed);
        way.watch_sender(self.segment());
        // Once a second in any case: one that leaves by another handle than this link's tells nobody.
        let deserted = self.desk().is_deserted();
        if again || !watched || way.suspects(self.segment(), deserted) {
            match self.ask_for_sender(way) {
                Ok(()) => return Ok(Duration::ZERO),
                Err(Refusal::Waiting) => {}
                Err(other) => return Err(other),
            }
        }
        let soon = way.grieves() || way.is_hinted() || way.wants_all();
        Ok(if soon { SOON } else { Duration::MAX })
    }

    /// Ends a link that was found empty if nobody is there to send more.
    pub(crate) fn end_if_deserted(&self) -> bool {
        // It was tried just now, and asked if there was a reason.
        if let Some(way) = &self.way
            && !way.watched.load(Relaxed)
        {
            let _ = self.ask_for_sender(way); // there may be something: it was told to say so
        }
        self.is_over()
    }

    /// Has this called, once, when there may be something. Look again after this.
    pub(crate) fn tell(&self, tell: impl Fn() + Send + Sync + 'static) {
        let Some(way) = &self.way else { return };
        way.attend();
        way.watch_sender(self.segment());
        let make = || -> Result<Arc<Told>, Errno> {
            let told = Arc::new(Told {
                descriptor: rustix::io::fcntl_dupfd_cloexec(self.descriptor(), 0)?,
                visit: OnceLock::new(),
                tell: Box::new(tell),
                epoch: fork::epoch()?,
            });
            let weak: Weak<Told> = Arc::downgrade(&told);
            let _ = told.visit.set(watch::attend(weak)?);
            Ok(told)
        };
        if way.told.get().is_none()
            && let Ok(told) = make()
        {
            let _ = way.told.set(told); // that of another thread who was faster does as well
        }
        self.clear_nudge();
        // Without it, who waits looks once a second.
        if let Some(told) = way.told.get()
            && let Some(visit) = told.visit.get()
        {
            let _ = watch::listen_once(*visit, told.descriptor.as_fd());
        }
    }
}

/// Who is on the way, as far as a hello tells.
pub(crate) struct Sending<'a> {
    pub(crate) me: &'a Party,
    /// The id of the receiving process's segment; nothing: it is gone.
    pub(crate) post: Option<Id>,
    pub(crate) spin: Duration,
}

impl Outlet {
    /// The sending end of a link that is there.
    pub(crate) fn of_link(linked: Linked, sending: &Sending<'_>) -> Result<Outlet, Error> {
        let Linked { segment, credit, .. } = linked;
        let choice = &segment.geometry.choice;
        let call = Call {
            post: sending.post.unwrap_or(segment.id()),
            kind: Kind::Link,
            token: sending.me.life(),
            link: segment.id().words()[0],
        };
        let room = room::wanted(choice.max_message, choice.capacity);
        let name = sending.me.name.as_str();
        for _ in 0..TRIES {
            let done = match sending.post {
                Some(_) => introduce(&segment, &call, room, name, PATIENCE),
                None => Err(Errno::NOENT),
            };
            let socket = match done {
                Ok(socket) => socket,
                Err(Errno::NOENT | Errno::CONNREFUSED | Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => {
                    if !segment.is_closed() && !segment.is_over() {
                        std::thread::sleep(Duration::from_millis(1)); // it has just joined, or is about to leave
                        continue;
                    }
                    // One that is connected to nobody says so to whoever sends.
                    packet::scratch()
                        .map_err(|errno| failed("to make a socket for", &segment.path(), errno))?
                }
                Err(Errno::AGAIN) => {
                    return Err(crowded(
                        segment.parties().map_or(&segment.name, |parties| &parties.receiver.name),
                    ));
                }
                Err(errno) => return Err(failed("to connect to the receiver of", &segment.path(), errno)),
            };
            let connection = Connection::new(segment, socket, credit, name, sending.spin, call);
            return Ok(Outlet::by(connection));
        }
        Err(Error::Busy { name: segment.name.to_string() })
    }

    /// The sending process leaves this link, whatever handles there are still.
    pub(crate) fn leave_link(&self) {
        let at = self.connection();
        at.leave_link();
        at.hang_up();
    }
}

impl Outlet {
    /// The same, and nothing can be sent from now on.
    pub(crate) fn stop_sending(&self) {
        if self.segment().is_ours() {
            self.leave_link();
            self.segment().disown();
        }
    }
}

impl Connection {
    /// Of a link: says that no more is sent.
    pub(super) fn leave_link(&self) {
        if self.segment.is_link() && self.segment.is_ours() {
            self.segment.leave(SENDER);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.leave_link();
    }
}
