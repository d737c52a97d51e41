//! Many messages in one call.

use crate::error::{Error, RecvError, RecvTimeoutError, TryRecvError};
use crate::memory::payload::{Payload, Unfit};
use crate::message::Message;
use crate::receiver::{Receiver, after, blocking, limited, trying};
use crate::sender::Sender;
use crate::strategy::shared::batch::{Batch, Collect, Patience, RUN};
use crate::strategy::{Outlet, Refusal};
use std::fmt;
use std::time::{Duration, Instant};

/// Why not all messages of a batch were sent: the first ones were, and why the others were not.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-send-many-error-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// use std::time::Duration;
/// use tubepost::{Mailbox, Sender};
///
/// let inbox = Mailbox::<u64>::options().domain(&domain).bounded(3).own("numbers")?;
/// let out = Sender::<u64>::options().domain(&domain).open("numbers")?;
/// let numbers = [1, 2, 3, 4, 5];
/// let error = out.send_many_timeout(&numbers, Duration::from_millis(1)).unwrap_err();
/// assert!(error.is_timeout());
/// assert_eq!(numbers[error.sent..], [4, 5]);
/// # drop(inbox);
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendManyError {
    /// So many of the first messages were accepted.
    pub sent: usize,
    /// Why the one after them was not: [`Error::Closed`], [`Error::TimedOut`], or something else.
    pub error: Error,
}

impl SendManyError {
    /// Whether the mailbox is closed.
    pub fn is_closed(&self) -> bool {
        matches!(self.error, Error::Closed(_))
    }

    /// Whether no place became free in time.
    pub fn is_timeout(&self) -> bool {
        self.error == Error::TimedOut
    }
}

impl fmt::Display for SendManyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sent {
            0 => write!(f, "no message was sent: {}", self.error),
            1 => write!(f, "only the first message was sent: {}", self.error),
            sent => write!(f, "only the first {sent} messages were sent: {}", self.error),
        }
    }
}

impl std::error::Error for SendManyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<SendManyError> for Error {
    fn from(error: SendManyError) -> Error {
        error.error
    }
}

impl<M: Message + ?Sized> Sender<M> {
    /// Sends all of these in this order, waiting for room as long as it takes. Other senders' messages may come
    /// between them. They are accepted one after the other, not all or none.
    ///
    /// Up to 64 are published at a time, which for short messages costs a fraction of as many sends.
    ///
    /// # Errors
    ///
    /// What was wrong, and how many were sent before: mostly [`Error::Closed`], when the owner is gone.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-send-many-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// let inbox = tubepost::Mailbox::<str>::options().domain(&domain).own("words")?;
    /// let out = tubepost::Sender::<str>::options().domain(&domain).open("words")?;
    /// out.send_many(&["many", "at", "once"])?;
    /// let mut words = Vec::new();
    /// assert_eq!(inbox.recv_many(&mut words, 100)?, 3);
    /// assert_eq!(words, ["many", "at", "once"]);
    /// # drop(inbox);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn send_many(&self, messages: &[M::Sent<'_>]) -> Result<(), SendManyError> {
        self.send_many_until(messages, None)
    }

    /// Sends as many of the first ones as there is room for now, and says how many.
    ///
    /// # Errors
    ///
    /// As for [`send_many`](Self::send_many); that there is no room is none.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-try-send-many-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// let inbox = tubepost::Mailbox::<u64>::options().domain(&domain).bounded(3).own("numbers")?;
    /// let out = tubepost::Sender::<u64>::options().domain(&domain).open("numbers")?;
    /// assert_eq!(out.try_send_many(&[1, 2])?, 2);
    /// assert_eq!(out.try_send_many(&[3, 4])?, 1);
    /// assert_eq!(out.try_send_many(&[4])?, 0);
    /// # drop(inbox);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_send_many(&self, messages: &[M::Sent<'_>]) -> Result<usize, SendManyError> {
        match send_each::<M>(&self.outlet, messages, Patience::None) {
            Ok(()) => Ok(messages.len()),
            Err((sent, Refusal::Waiting)) => Ok(sent),
            Err((sent, refusal)) => Err(failed(sent, refusal)),
        }
    }

    /// Sends all of these, waiting for room for at most so long in all.
    ///
    /// # Errors
    ///
    /// As for [`send_many`](Self::send_many); [`Error::TimedOut`] if not enough places became free in time.
    #[inline]
    pub fn send_many_timeout(
        &self,
        messages: &[M::Sent<'_>],
        timeout: Duration,
    ) -> Result<(), SendManyError> {
        self.send_many_until(messages, after(timeout))
    }

    /// Sends all of these, waiting for room until then at most.
    ///
    /// # Errors
    ///
    /// As for [`send_many_timeout`](Self::send_many_timeout).
    #[inline]
    pub fn send_many_deadline(
        &self,
        messages: &[M::Sent<'_>],
        deadline: Instant,
    ) -> Result<(), SendManyError> {
        self.send_many_until(messages, Some(deadline))
    }

    #[inline]
    fn send_many_until(
        &self,
        messages: &[M::Sent<'_>],
        deadline: Option<Instant>,
    ) -> Result<(), SendManyError> {
        let sent = send_each::<M>(&self.outlet, messages, Patience::Until(deadline));
        sent.map_err(|(sent, refusal)| failed(sent, refusal))
    }
}

/// Sends run after run: what has to be encoded is encoded before any of its run is sent. An error comes with how many were sent.
#[inline]
fn send_each<M: Message + ?Sized>(
    outlet: &Outlet,
    messages: &[M::Sent<'_>],
    patience: Patience,
) -> Result<(), (usize, Refusal)> {
    let mut sent = 0;
    for run in messages.chunks(RUN) {
        let mut desk = M::Desk::default();
        let bad = run.iter().enumerate().find_map(|(at, message)| {
            let prepared = M::prepare(message, &mut desk);
            prepared.err().map(|error| (at, error))
        });
        let (count, bad) = bad.map_or((run.len(), None), |(at, error)| (at, Some(error)));
        let mut batch = Batch { bytes: |at: usize| M::bytes(&run[at], &desk, at), count, sent: 0 };
        let done = outlet.send_batch(&mut batch, patience);
        sent += batch.sent;
        done.map_err(|refusal| (sent, refusal))?;
        if let Some(error) = bad {
            return Err((sent, error.into()));
        }
    }
    Ok(())
}

#[cold]
fn failed(sent: usize, refusal: Refusal) -> SendManyError {
    let error = match refusal {
        Refusal::Waiting => Error::TimedOut,
        Refusal::Closed(closed) => Error::Closed(closed),
        Refusal::Failed(error) => *error,
    };
    SendManyError { sent, error }
}

/// At the end of a vector.
struct ToVec<'a, M: Message + ?Sized>(&'a mut Vec<M::Received>);

impl<M: Message + ?Sized> Collect for ToVec<'_, M> {
    #[inline(always)]
    fn add<P: Payload + ?Sized>(&mut self, payload: &P) -> Result<(), Unfit> {
        self.0.push(M::receive(payload)?);
        Ok(())
    }
}

impl<M: Message + ?Sized> Receiver<M> {
    /// Receives as many messages as there are, but at most `max`, and adds them to `into`, in order. If there is none it waits
    /// for the first one, as long as it takes. Says how many they are: none only if `max` is 0.
    ///
    /// As after [`recv`](Self::recv) nobody gets them any more: if this process dies, what it had received and not dealt with
    /// is lost. [`take`](Self::take) is for what must not be.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Self::recv). What was received before an error is in `into`; where one message of several is no message
    /// (not valid UTF-8, say), it is left out.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-recv-many-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// let inbox = tubepost::Mailbox::<u64>::options().domain(&domain).own("numbers")?;
    /// let out = tubepost::Sender::<u64>::options().domain(&domain).open("numbers")?;
    /// out.send_many(&[1, 2, 3])?;
    /// let mut numbers = Vec::with_capacity(2);
    /// assert_eq!(inbox.recv_many(&mut numbers, 2)?, 2);
    /// assert_eq!(inbox.recv_many(&mut numbers, 2)?, 1);
    /// assert_eq!(numbers, [1, 2, 3]);
    /// # drop(inbox);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn recv_many(&self, into: &mut Vec<M::Received>, max: usize) -> Result<usize, RecvError> {
        blocking(self.recv_many_until(into, max, None))
    }

    /// [`recv_many`](Self::recv_many) that does not wait.
    ///
    /// # Errors
    ///
    /// As for [`recv_many`](Self::recv_many); [`TryRecvError::Empty`] if there is none.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-try-recv-many-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// let inbox = tubepost::Mailbox::<u64>::options().domain(&domain).own("numbers")?;
    /// let mut numbers = Vec::new();
    /// assert_eq!(inbox.try_recv_many(&mut numbers, 10), Err(tubepost::TryRecvError::Empty));
    /// # drop(inbox);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_recv_many(&self, into: &mut Vec<M::Received>, max: usize) -> Result<usize, TryRecvError> {
        if max == 0 {
            return Ok(0);
        }
        trying(self.inlet().try_recv_batch(&mut ToVec::<M>(into), max))
    }

    /// [`recv_many`](Self::recv_many) that waits for the first one for at most so long.
    ///
    /// # Errors
    ///
    /// As for [`recv_many`](Self::recv_many); [`RecvTimeoutError::Timeout`] if none came.
    #[inline]
    pub fn recv_many_timeout(
        &self,
        into: &mut Vec<M::Received>,
        max: usize,
        timeout: Duration,
    ) -> Result<usize, RecvTimeoutError> {
        limited(self.recv_many_until(into, max, after(timeout)))
    }

    /// [`recv_many`](Self::recv_many) that waits for the first one until then at most.
    ///
    /// # Errors
    ///
    /// As for [`recv_many_timeout`](Self::recv_many_timeout).
    #[inline]
    pub fn recv_many_deadline(
        &self,
        into: &mut Vec<M::Received>,
        max: usize,
        deadline: Instant,
    ) -> Result<usize, RecvTimeoutError> {
        limited(self.recv_many_until(into, max, Some(deadline)))
    }

    #[inline]
    fn recv_many_until(
        &self,
        into: &mut Vec<M::Received>,
        max: usize,
        deadline: Option<Instant>,
    ) -> Result<usize, Refusal> {
        if max == 0 {
            return Ok(0);
        }
        self.inlet().recv_batch(deadline, &mut ToVec::<M>(into), max)
    }
}
