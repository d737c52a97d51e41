//! The sending end.

use crate::domain::Domain;
use crate::domain::name::Name;
use crate::domain::segment::Id;
use crate::domain::stat::Stat;
use crate::error::{Closed, Error, SendCollectedError, SendError, SendTimeoutError, TrySendError};
use crate::mailbox::Common;
use crate::message::{Message, with_bytes};
use crate::strategy::shared::collected::Uncollected;
use crate::strategy::{Outlet, Refusal};
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Sends to a mailbox that another process, or the system, owns.
///
/// A sender can't receive. It may be shared by threads, and cloned: clones are the same
/// member. If the owner goes, or the mailbox is removed, every call says so, with how many messages were
/// never collected.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-sender-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// use tubepost::{Mailbox, Sender, TrySendError};
///
/// let inbox = Mailbox::<str>::options().domain(&domain).bounded(1).own("notes")?;
/// let out = Sender::<str>::options().domain(&domain).open("notes")?;
/// out.send("first")?;
/// assert_eq!(out.try_send("second"), Err(TrySendError::Full("second")));
/// assert_eq!(inbox.recv()?, "first");
/// # drop(inbox);
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Sender<M: Message + ?Sized> {
    pub(crate) outlet: Outlet,
    /// The same for loans, which may be sent when this is gone.
    loans: OnceLock<Arc<Outlet>>,
    _of: PhantomData<fn(Box<M>)>,
}

impl<M: Message + ?Sized> Clone for Sender<M> {
    fn clone(&self) -> Self {
        Sender { outlet: self.outlet.clone(), loans: OnceLock::new(), _of: PhantomData }
    }
}

/// The choices before a mailbox is opened for sending.
///
/// ```
/// let options = tubepost::Sender::<[u8]>::options().format("jobs/v2").member("planner");
/// ```
#[must_use]
#[derive(Debug)]
pub struct SenderOptions<M: Message + ?Sized> {
    pub(crate) common: Common,
    _of: PhantomData<fn(Box<M>)>,
}

impl<M: Message + ?Sized> Clone for SenderOptions<M> {
    fn clone(&self) -> Self {
        SenderOptions { common: self.common.clone(), _of: PhantomData }
    }
}

impl<M: Message + ?Sized> SenderOptions<M> {
    /// What variable-length messages are, in the words that the owner used.
    pub fn format(mut self, label: impl Into<String>) -> Self {
        self.common.label = Some(label.into());
        self
    }

    /// Where the name lives; by default in [`Domain::open_default`].
    pub fn domain(mut self, domain: &Domain) -> Self {
        self.common.domain = Some(domain.clone());
        self
    }

    /// What receivers see as the sender's name, at most 64 bytes; by default the program's.
    pub fn member(mut self, name: impl Into<String>) -> Self {
        self.common.member = Some(name.into());
        self
    }

    /// How long a blocking call polls before it sleeps: 30 µs by default.
    pub fn spin(mut self, spin: Duration) -> Self {
        self.common.spin = spin;
        self
    }

    /// Opens the mailbox with this name. Where senders have connections (kernel and sealed strategies), and as many as can be wait for the owner to accept them, this waits
    /// for a second.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchName`], or [`Error::OwnerGone`] if its owner is dead;
    /// [`Error::Crowded`] if no other connection can wait; [`Error::WrongFormat`] if it carries something else, [`Error::WrongVersion`],
    /// [`Error::Damaged`]; [`Error::TooManyMembers`]; [`Error::BadName`],
    /// [`Error::BadOption`]; errors of [`Domain::open`].
    pub fn open(&self, name: &str) -> Result<Sender<M>, Error> {
        let name = Name::new(name)?;
        let format = self.common.format::<M>()?;
        let domain = self.common.domain()?;
        let outlet = Outlet::open(&self.common.wish(&domain, &name, &format)?)?;
        Ok(Sender::new(outlet))
    }
}

impl<M: Message + ?Sized> Sender<M> {
    pub(crate) fn new(outlet: Outlet) -> Self {
        Sender { outlet, loans: OnceLock::new(), _of: PhantomData }
    }

    pub(crate) fn outlet(&self) -> &Outlet {
        &self.outlet
    }

    /// Opens a mailbox of the default domain; [`options`](Self::options) for everything else.
    ///
    /// # Errors
    ///
    /// As for [`SenderOptions::open`].
    ///
    /// ```
    /// match tubepost::Sender::<u64>::open("nobody-owns-this") {
    ///     Err(tubepost::Error::NoSuchName { .. }) => {}
    ///     other => panic!("{other:?}"),
    /// }
    /// ```
    pub fn open(name: &str) -> Result<Sender<M>, Error> {
        Self::options().open(name)
    }

    /// The choices before a mailbox is opened.
    pub fn options() -> SenderOptions<M> {
        SenderOptions { common: Common::default(), _of: PhantomData }
    }

    /// What sends its loans.
    pub(crate) fn loans(&self) -> &Arc<Outlet> {
        self.loans.get_or_init(|| Arc::new(self.outlet.clone()))
    }

    /// Sends, waiting for room as long as it takes.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] when the owner is gone; the message comes back.
    #[inline]
    pub fn send<'a>(&self, message: M::Sent<'a>) -> Result<(), SendError<M::Sent<'a>>> {
        match with_bytes::<M, _, _>(&message, |bytes| self.outlet.send(bytes, None)) {
            Ok(()) => Ok(()),
            Err(Refusal::Closed(closed)) => Err(SendError::Closed(message, closed)),
            Err(Refusal::Failed(error)) => Err(SendError::Failed(message, *error)),
            Err(Refusal::Waiting) => unreachable!("a wait without a deadline does not end early"),
        }
    }

    /// Sends if there is room now.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] if not; [`TrySendError::Closed`] when the owner is gone. The
    /// message comes back.
    #[inline]
    pub fn try_send<'a>(&self, message: M::Sent<'a>) -> Result<(), TrySendError<M::Sent<'a>>> {
        match with_bytes::<M, _, _>(&message, |bytes| self.outlet.try_send(bytes)) {
            Ok(()) => Ok(()),
            Err(Refusal::Waiting) => Err(TrySendError::Full(message)),
            Err(Refusal::Closed(closed)) => Err(TrySendError::Closed(message, closed)),
            Err(Refusal::Failed(error)) => Err(TrySendError::Failed(message, *error)),
        }
    }

    /// Sends, waiting for room for at most so long.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError::Timeout`] if none came; [`SendTimeoutError::Closed`] when the
    /// owner is gone. The message comes back.
    #[inline]
    pub fn send_timeout<'a>(
        &self,
        message: M::Sent<'a>,
        timeout: Duration,
    ) -> Result<(), SendTimeoutError<M::Sent<'a>>> {
        // A time too far away to be told is no limit.
        self.send_until(message, Instant::now().checked_add(timeout))
    }

    /// Sends, waiting for room until then at most.
    ///
    /// # Errors
    ///
    /// As for [`send_timeout`](Self::send_timeout).
    #[inline]
    pub fn send_deadline<'a>(
        &self,
        message: M::Sent<'a>,
        deadline: Instant,
    ) -> Result<(), SendTimeoutError<M::Sent<'a>>> {
        self.send_until(message, Some(deadline))
    }

    #[inline]
    fn send_until<'a>(
        &self,
        message: M::Sent<'a>,
        deadline: Option<Instant>,
    ) -> Result<(), SendTimeoutError<M::Sent<'a>>> {
        match with_bytes::<M, _, _>(&message, |bytes| self.outlet.send(bytes, deadline)) {
            Ok(()) => Ok(()),
            Err(Refusal::Waiting) => Err(SendTimeoutError::Timeout(message)),
            Err(Refusal::Closed(closed)) => Err(SendTimeoutError::Closed(message, closed)),
            Err(Refusal::Failed(error)) => Err(SendTimeoutError::Failed(message, *error)),
        }
    }

    /// Sends, and waits until a receiver has the message, as long as it takes.
    ///
    /// # Errors
    ///
    /// [`SendCollectedError::Closed`] when the owner is gone, with what is known of the message.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-collected-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// let inbox = tubepost::Mailbox::<u64>::options().domain(&domain).own("readings")?;
    /// let out = tubepost::Sender::<u64>::options().domain(&domain).open("readings")?;
    /// let receiver = std::thread::spawn(move || inbox.recv());
    /// out.send_collected(7)?;
    /// assert_eq!(receiver.join().unwrap()?, 7);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn send_collected<'a>(&self, message: M::Sent<'a>) -> Result<(), SendCollectedError<M::Sent<'a>>> {
        self.send_collected_until(message, None)
    }

    /// Sends, and waits until a receiver has the message, for at most so long. After that it is
    /// withdrawn: as if it had never been sent.
    ///
    /// # Errors
    ///
    /// [`SendCollectedError::Timeout`] if nobody received it;
    /// [`SendCollectedError::Closed`] when the owner is gone. The message comes back. [`Error::Underway`] if a receiver hands it on
    /// ([`keep_places`](crate::ReceiverOptions::keep_places)) and can't say so far.
    #[inline]
    pub fn send_collected_timeout<'a>(
        &self,
        message: M::Sent<'a>,
        timeout: Duration,
    ) -> Result<(), SendCollectedError<M::Sent<'a>>> {
        self.send_collected_until(message, Instant::now().checked_add(timeout))
    }

    /// Sends, and waits until a receiver has the message, until then at most.
    ///
    /// # Errors
    ///
    /// As for [`send_collected_timeout`](Self::send_collected_timeout).
    #[inline]
    pub fn send_collected_deadline<'a>(
        &self,
        message: M::Sent<'a>,
        deadline: Instant,
    ) -> Result<(), SendCollectedError<M::Sent<'a>>> {
        self.send_collected_until(message, Some(deadline))
    }

    #[inline]
    fn send_collected_until<'a>(
        &self,
        message: M::Sent<'a>,
        deadline: Option<Instant>,
    ) -> Result<(), SendCollectedError<M::Sent<'a>>> {
        match with_bytes::<M, _, _>(&message, |bytes| self.outlet.send_collected(bytes, deadline)) {
            Ok(()) => Ok(()),
            Err(Uncollected::Closed(closed, fate)) => Err(SendCollectedError::Closed(message, closed, fate)),
            Err(Uncollected::Refused(Refusal::Failed(error))) => {
                Err(SendCollectedError::Failed(message, *error))
            }
            Err(Uncollected::Refused(_)) => Err(SendCollectedError::Timeout(message)),
        }
    }

    /// Waits until the mailbox is closed: its owner closed it, ended or was killed.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`] in a forked child.
    pub fn closed(&self) -> Result<Closed, Error> {
        match self.closed_by(None) {
            Ok(Some(closed)) => Ok(closed),
            Ok(None) => unreachable!("a wait without a deadline does not end early"),
            Err(error) => Err(error),
        }
    }

    /// As [`closed`](Self::closed), for at most so long; `None` if it is still open then.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`] in a forked child.
    pub fn closed_timeout(&self, timeout: Duration) -> Result<Option<Closed>, Error> {
        self.closed_by(Instant::now().checked_add(timeout))
    }

    /// As [`closed`](Self::closed), until then at most; `None` if it is still open then.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`] in a forked child.
    pub fn closed_deadline(&self, deadline: Instant) -> Result<Option<Closed>, Error> {
        self.closed_by(Some(deadline))
    }

    fn closed_by(&self, deadline: Option<Instant>) -> Result<Option<Closed>, Error> {
        match self.outlet.closed(deadline) {
            Ok(closed) | Err(Refusal::Closed(closed)) => Ok(Some(closed)),
            Err(Refusal::Waiting) => Ok(None),
            Err(Refusal::Failed(error)) => Err(*error),
        }
    }

    /// Brings to the disk all that was sent to a mailbox that is kept in [files](crate::File), by whomever, before this call. Of any other there is
    /// nothing to be done.
    ///
    /// # Errors
    ///
    /// [`Error::LogFailed`] if it can't be brought there; [`Error::Closed`]; [`Error::Forked`].
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-flush-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// # let files = std::path::PathBuf::from(format!("/dev/shm/tubepost-doc-flush-files-{}", std::process::id()));
    /// use tubepost::{File, Mailbox, Sender};
    ///
    /// Mailbox::<u64>::options().domain(&domain).strategy(File { dir: Some(files), ..File::default() }).create("steps")?;
    /// let out = Sender::<u64>::options().domain(&domain).open("steps")?;
    /// (0..100).try_for_each(|step| out.send(step))?;
    /// out.flush()?;
    /// # drop(out);
    /// # domain.remove("steps")?;
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush(&self) -> Result<(), Error> {
        match self.outlet.flush() {
            Ok(()) => Ok(()),
            Err(Refusal::Closed(closed)) => Err(closed.into()),
            Err(Refusal::Failed(error)) => Err(*error),
            Err(Refusal::Waiting) => unreachable!("a sync does not end early"),
        }
    }

    /// Whether the mailbox is closed now. Asks the kernel whether the owner lives (3 µs).
    pub fn is_closed(&self) -> bool {
        self.outlet.is_closed()
    }

    /// How many messages wait. Takes time in proportion to that number.
    pub fn len(&self) -> usize {
        self.outlet.length() as usize
    }

    /// How many messages can wait; nothing if that has no limit.
    pub fn capacity(&self) -> Option<usize> {
        self.outlet.segment().geometry.capacity().map(|capacity| capacity as usize)
    }

    /// Whether no message waits.
    pub fn is_empty(&self) -> bool {
        self.outlet.length() == 0
    }

    /// Whether all places are taken; never, if the capacity has no limit.
    pub fn is_full(&self) -> bool {
        self.outlet.is_full()
    }

    /// The mailbox's id, never used again.
    pub fn id(&self) -> Id {
        self.outlet.id()
    }

    /// The mailbox's name.
    pub fn name(&self) -> &str {
        self.outlet.segment().name.as_str()
    }

    /// Everything there is to know about the mailbox now.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`] in a forked child.
    pub fn stat(&self) -> Result<Stat, Error> {
        self.outlet.stat()
    }
}
