//! Independent readers of a mailbox that is kept in files.

use crate::domain::Domain;
use crate::domain::name::Name;
use crate::error::{Error, RecvError, RecvTimeoutError, TryRecvError};
use crate::mailbox::Common;
use crate::message::{Buffer, Message};
use crate::receiver::{ByValue, Envelope, InEnvelope, IntoBuffer, after, blocking, limited, trying};
use crate::strategy::file::cursor::{self, From};
use crate::strategy::shared::attach::{Opened, attach};
use crate::strategy::shared::tasks::for_messages;
use crate::strategy::{self, file};
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An independent reader of a mailbox that is kept in [files](crate::File): it sees every message that is there, whoever else receives it, in order.
///
/// Its place has a name and outlives it: who opens the same name later goes on there. A message counts as read when it was handed out.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-cursor-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// # let files = std::path::PathBuf::from(format!("/dev/shm/tubepost-doc-cursor-files-{}", std::process::id()));
/// use tubepost::{Cursor, File, From, Mailbox, Sender};
///
/// Mailbox::<u64>::options().domain(&domain).strategy(File { dir: Some(files), ..File::default() }).create("trades")?;
/// let out = Sender::<u64>::options().domain(&domain).open("trades")?;
/// (1..4).try_for_each(|price| out.send(price))?;
///
/// let audit = Cursor::<u64>::options().domain(&domain).from(From::Start).open("trades", "audit")?;
/// assert_eq!(audit.try_iter().collect::<Vec<_>>(), [1, 2, 3]);
/// let late = Cursor::<u64>::options().domain(&domain).from(From::Seq(2)).open("trades", "late")?;
/// assert_eq!(late.recv()?, 3);
/// # drop((out, audit, late));
/// # domain.remove("trades")?;
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Cursor<M: Message + ?Sized> {
    cursor: Arc<cursor::Cursor>,
    _of: PhantomData<fn() -> Box<M>>,
}

/// The choices for a [`Cursor`].
///
/// ```
/// let options = tubepost::Cursor::<str>::options().from(tubepost::From::End).member("audit");
/// ```
#[must_use]
#[derive(Debug)]
pub struct CursorOptions<M: Message + ?Sized> {
    common: Common,
    from: Option<From>,
    _of: PhantomData<fn(Box<M>)>,
}

impl<M: Message + ?Sized> CursorOptions<M> {
    /// Where to begin, also if the name has a place already. By default there, or else at the start.
    pub fn from(mut self, from: From) -> Self {
        self.from = Some(from);
        self
    }

    /// What variable-length messages are; see [`Options::format`](crate::Options::format).
    pub fn format(mut self, label: impl Into<String>) -> Self {
        self.common.label = Some(label.into());
        self
    }

    /// Where the mailbox's name lives; by default in [`Domain::open_default`].
    pub fn domain(mut self, domain: &Domain) -> Self {
        self.common.domain = Some(domain.clone());
        self
    }

    /// What this process is called in errors and listings.
    pub fn member(mut self, name: impl Into<String>) -> Self {
        self.common.member = Some(name.into());
        self
    }

    /// How long a blocking call polls before it sleeps.
    pub fn spin(mut self, spin: Duration) -> Self {
        self.common.spin = spin;
        self
    }

    /// Opens the place called `cursor` in this mailbox.
    ///
    /// # Errors
    ///
    /// As for [`Receiver::open`](crate::Receiver::open); [`Error::BadOption`] if the mailbox is not kept in files, [`Error::LogRefused`] if another process reads by
    /// this name; [`Error::BadName`] if the cursor's is none.
    pub fn open(&self, name: &str, cursor: &str) -> Result<Cursor<M>, Error> {
        let (name, cursor) = (Name::new(name)?, Name::new(cursor)?);
        let format = self.common.format::<M>()?;
        let domain = self.common.domain()?;
        let wish = self.common.wish(&domain, &name, &format)?;
        let opened = match attach(&wish, true) {
            Err(Error::NoSuchName { .. }) if file::awake(&wish)? => attach(&wish, true)?,
            done => done?,
        };
        let at = match opened {
            Opened::Here(at) if at.segment.geometry.choice.filed => at,
            _ => {
                return Err(Error::BadOption {
                    what: "a cursor",
                    given: format!("one in {:?}, which is not kept in files", name.as_str()),
                    allowed: "only in a mailbox of the file strategy; create it with that".into(),
                });
            }
        };
        let cursor = Arc::new(cursor::Cursor::open(at, &cursor.file(), self.from)?);
        Ok(Cursor { cursor, _of: PhantomData })
    }
}

impl<M: Message + ?Sized> Cursor<M> {
    /// Opens the place called `cursor`, or makes it at the start.
    ///
    /// # Errors
    ///
    /// As for [`CursorOptions::open`].
    ///
    /// ```no_run
    /// let audit = tubepost::Cursor::<str>::open("orders", "audit")?;
    /// # Ok::<(), tubepost::Error>(())
    /// ```
    pub fn open(name: &str, cursor: &str) -> Result<Cursor<M>, Error> {
        Self::options().open(name, cursor)
    }

    /// The choices to make before opening one.
    ///
    /// ```
    /// let options = tubepost::Cursor::<u64>::options();
    /// ```
    pub fn options() -> CursorOptions<M> {
        CursorOptions { common: Common::default(), from: None, _of: PhantomData }
    }

    /// Reads the next message, waiting for it.
    ///
    /// # Errors
    ///
    /// As for [`Receiver::recv`](crate::Receiver::recv); [`Error::DamagedMessages`] once for each damage: the next call goes on behind it.
    pub fn recv(&self) -> Result<M::Received, RecvError> {
        blocking(self.cursor.recv(None, ByValue::<M>(PhantomData)))
    }

    /// Reads the next message if there is one now.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Self::recv), or that there is none.
    pub fn try_recv(&self) -> Result<M::Received, TryRecvError> {
        trying(self.cursor.try_recv(ByValue::<M>(PhantomData)))
    }

    /// Reads the next message, waiting for it for so long.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Self::recv), or that there was none in time.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<M::Received, RecvTimeoutError> {
        limited(self.cursor.recv(after(timeout), ByValue::<M>(PhantomData)))
    }

    /// Reads the next message, waiting for it until then.
    ///
    /// # Errors
    ///
    /// As for [`recv_timeout`](Self::recv_timeout).
    pub fn recv_deadline(&self, deadline: Instant) -> Result<M::Received, RecvTimeoutError> {
        limited(self.cursor.recv(Some(deadline), ByValue::<M>(PhantomData)))
    }

    /// As [`recv`](Self::recv), with the message's number and sender.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_envelope(&self) -> Result<Envelope<M>, RecvError> {
        blocking(self.cursor.recv(None, InEnvelope::<M>(PhantomData)))
    }

    /// As [`try_recv`](Self::try_recv), with the message's number and sender.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_recv_envelope(&self) -> Result<Envelope<M>, TryRecvError> {
        trying(self.cursor.try_recv(InEnvelope::<M>(PhantomData)))
    }

    /// As [`recv_timeout`](Self::recv_timeout), with the message's number and sender.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_envelope_timeout(&self, timeout: Duration) -> Result<Envelope<M>, RecvTimeoutError> {
        limited(self.cursor.recv(after(timeout), InEnvelope::<M>(PhantomData)))
    }

    /// As [`try_recv`](Self::try_recv), into a buffer of the caller's; see [`Receiver::recv_into`](crate::Receiver::recv_into).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_recv_into<B: Buffer<M> + ?Sized>(&self, buffer: &mut B) -> Result<usize, TryRecvError> {
        trying(self.cursor.try_recv(IntoBuffer::<M, B>(buffer, PhantomData)))
    }

    /// As [`recv`](Self::recv), into a buffer of the caller's.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_into<B: Buffer<M> + ?Sized>(&self, buffer: &mut B) -> Result<usize, RecvError> {
        blocking(self.cursor.recv(None, IntoBuffer::<M, B>(buffer, PhantomData)))
    }

    /// As [`recv`](Self::recv), for tasks.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn recv_async(&self) -> Result<M::Received, RecvError> {
        let mut wait = for_messages();
        let mut with = ByValue::<M>(PhantomData);
        blocking(poll_fn(|context| self.cursor.poll_recv(&mut wait, context, &mut with)).await)
    }

    /// All messages that are there now.
    pub fn try_iter(&self) -> impl Iterator<Item = M::Received> + '_ {
        std::iter::from_fn(|| self.try_recv().ok())
    }

    /// All messages, waiting for each, until the mailbox is closed.
    pub fn iter(&self) -> impl Iterator<Item = M::Received> + '_ {
        std::iter::from_fn(|| self.recv().ok())
    }

    /// Nothing is read by it any more: calls that wait, in other threads, say that it is closed. Its place stays.
    pub fn close(&self) {
        self.cursor.close();
    }

    /// The number of the message that is next.
    pub fn next_seq(&self) -> u64 {
        self.cursor.next()
    }

    /// For [`Doorbell`](crate::Doorbell).
    pub(crate) fn inner(&self) -> &Arc<strategy::file::cursor::Cursor> {
        &self.cursor
    }
}
