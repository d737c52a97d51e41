//! Readiness by descriptor: mailboxes in somebody else's event loop.

use crate::domain;
use crate::domain::segment::Segment;
use crate::error::Error;
use crate::message::Message;
use crate::os::fork;
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::strategy::shared::door::Lent;
use crate::strategy::shared::end::End;
use crate::strategy::{Inlet, Outlet};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

/// A descriptor that is readable when a mailbox may be ready: for `poll`, `epoll`, mio, tokio's `AsyncFd`.
///
/// Of a receiver, it is readable when there may be a message, or the mailbox is closed; of a sender, when there may be
/// room, or the mailbox is closed. (Wait for it to be *readable* in both cases.) Nothing is to be read from it.
///
/// **The contract** is that of any descriptor that an event loop looks at by its level. When it is readable: try as often as you
/// like, then [`clear`](Self::clear). If there may still be something, it stays readable, and `clear` says so. Who looks by
/// edges tries until there is nothing, and goes on while `clear` says that there is something.
///
/// It becomes readable once a second also if nothing happened, so that somebody looks after the dead who were to ring.
///
/// It counts as a clone of its handle: a mailbox that this process owns is closed when that is dropped too. All doorbells of a handle
/// are one: cleared together. Making one takes a descriptor, and a name in the domain until the handle is dropped.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-doorbell-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// use rustix::event::{PollFd, PollFlags, poll};
///
/// let inbox = tubepost::Mailbox::<u64>::options().domain(&domain).own("numbers")?;
/// let out = tubepost::Sender::<u64>::options().domain(&domain).open("numbers")?;
/// let bell = inbox.doorbell()?;
/// assert!(!bell.clear()?, "nothing is there yet");
///
/// out.send(7)?;
/// poll(&mut [PollFd::new(&bell, PollFlags::IN)], None)?;
/// assert_eq!(inbox.try_recv()?, 7);
/// assert!(!bell.clear()?);
/// # drop((bell, inbox));
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Doorbell {
    /// Nothing: what it is of has a descriptor of its own.
    lent: Option<Lent>,
    of: Handle,
    epoch: u64,
}

#[derive(Debug)]
enum Handle {
    Receiver(Arc<Inlet>),
    Sender(Outlet),
    Cursor(Arc<crate::strategy::file::cursor::Cursor>),
}

impl Handle {
    fn end(&self) -> End<'_> {
        match self {
            Handle::Receiver(inlet) => End::inlet(inlet),
            Handle::Sender(outlet) => End::outlet(outlet),
            Handle::Cursor(cursor) => End::Cursor(cursor),
        }
    }
}

impl Handle {
    fn segment(&self) -> &Segment {
        match self {
            Handle::Receiver(inlet) => inlet.segment(),
            Handle::Sender(outlet) => outlet.segment(),
            Handle::Cursor(cursor) => &cursor.at.segment,
        }
    }
}

impl Doorbell {
    fn new(of: Handle) -> Result<Doorbell, Error> {
        let end = of.end();
        let segment = of.segment();
        if !segment.is_ours() {
            return Err(Error::Forked);
        }
        let lent = match end.at() {
            Some(at) => Some(at.door()?.lend(end.reason())),
            None => None,
        };
        if let Handle::Sender(Outlet::Kernel(outlet)) = &of {
            outlet.descriptor()?;
        }
        let epoch =
            fork::epoch().map_err(|errno| domain::failed("to get a page for", &segment.path(), errno))?;
        let bell = Doorbell { lent, of, epoch };
        // It may have been rung for one before; and it begins armed.
        bell.clear()?;
        Ok(bell)
    }

    /// Makes the descriptor unreadable until the mailbox may be ready again. `true`: it may be now, so the descriptor stays
    /// readable.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`] in a forked child; [`Error::Os`] if the system has no descriptor left to say by that it is
    /// ready. It becomes readable within a second all the same.
    pub fn clear(&self) -> Result<bool, Error> {
        if !fork::is_current(self.epoch) {
            return Err(Error::Forked);
        }
        let end = self.of.end();
        let is_ready = || end.is_ready() || end.look().is_none_or(|longest| longest.is_zero());
        match (&self.lent, end.at()) {
            (Some(lent), Some(at)) => lent.clear(at, is_ready),
            _ => Ok(is_ready()),
        }
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match (&self.lent, &self.of) {
            (Some(lent), _) => lent.door.socket(),
            (None, Handle::Receiver(inlet)) => inlet.kernel().descriptor(),
            (None, Handle::Cursor(_)) => unreachable!("what has a door was lent it"),
            (None, Handle::Sender(outlet)) => outlet.kernel().descriptor().expect("made before the bell was"),
        }
    }
}

impl AsRawFd for Doorbell {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<M: Message + ?Sized> Receiver<M> {
    /// A descriptor that is readable when there may be something to receive. (A receiver is none itself: it has none until it is
    /// asked for, and then there may be none left.)
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if there are no descriptors left; [`Error::Forked`] in a forked child.
    pub fn doorbell(&self) -> Result<Doorbell, Error> {
        Doorbell::new(Handle::Receiver(Arc::clone(self.inlet())))
    }
}

impl<M: Message + ?Sized> Sender<M> {
    /// A descriptor that is readable when there may be room.
    ///
    /// # Errors
    ///
    /// As for [`Receiver::doorbell`].
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-doorbell-of-sender-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// # use rustix::event::{PollFd, PollFlags, poll};
    /// let inbox = tubepost::Mailbox::<u64>::options().domain(&domain).bounded(1).own("numbers")?;
    /// let out = tubepost::Sender::<u64>::options().domain(&domain).open("numbers")?;
    /// let bell = out.doorbell()?;
    /// out.send(7)?;
    /// assert!(!bell.clear()?, "it is full");
    /// inbox.recv()?;
    /// poll(&mut [PollFd::new(&bell, PollFlags::IN)], None)?;
    /// out.try_send(8)?;
    /// # drop((bell, out, inbox));
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn doorbell(&self) -> Result<Doorbell, Error> {
        Doorbell::new(Handle::Sender(self.outlet().clone()))
    }
}

impl<M: Message + ?Sized> crate::cursor::Cursor<M> {
    /// A descriptor that is readable when there may be a message to read; see [`Receiver::doorbell`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn doorbell(&self) -> Result<Doorbell, Error> {
        Doorbell::new(Handle::Cursor(Arc::clone(self.inner())))
    }
}
