//! Loans: messages written where their receiver will read them.
//!
//! `send` copies a message into shared memory. A loan is that memory, lent to the sender first: what it writes there is the message. With
//! [`take`](crate::Receiver::take) at the other end, which looks at it in the same place, a message of a hundred
//! megabytes costs what one of a kilobyte does.

use crate::error::{Error, SendCollectedError, SendError, SendTimeoutError, TrySendError};
use crate::memory::payload;
use crate::memory::plain::{self, Plain};
use crate::message::Message;
use crate::sender::Sender;
use crate::strategy::shared::collected::Uncollected;
use crate::strategy::shared::loaned::{Lease, Whose};
use crate::strategy::shared::tasks;
use crate::strategy::{Outlet, Refusal};
use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// A message that is not sent yet, in memory that the mailbox lent: [`Sender::loan`].
///
/// Write it, then [`send`](Self::send) it. One that is dropped gives the memory back, as does the death of its process. It may
/// outlive its [`Sender`], which is a member of the mailbox as long.
///
/// Before it is written **it has some bytes or other**: of earlier messages of this mailbox, or zeros.
///
/// Where a message can't be anywhere but in its place in the queue (of a type with at most 4096 bytes), and on the kernel strategy, a loan
/// is memory of the process, zeroed, and copied when it is sent.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-loan-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// use tubepost::{Mailbox, Sender};
///
/// let inbox = Mailbox::<[u8]>::options().domain(&domain).max_message(4 << 20).own("frames")?;
/// let out = Sender::<[u8]>::options().domain(&domain).open("frames")?;
///
/// let mut frame = out.loan(2 << 20)?;
/// frame.fill(7);
/// frame[0] = 1;
/// frame.send()?;
///
/// let frame = inbox.take()?; // where it was written
/// assert_eq!((frame.len(), frame[0], frame[1]), (2 << 20, 1, 7));
/// frame.accept()?;
/// # drop(inbox);
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a loan is a message once it is sent"]
pub struct Loan<M: Message + ?Sized> {
    outlet: Arc<Outlet>,
    body: Body<M>,
    kind: &'static Kind<M::Held>,
}

/// How a message and its bytes become each other.
struct Kind<H: ?Sized> {
    bytes: fn(&H) -> &[u8],
    message: fn(Vec<u8>) -> Box<H>,
}

enum Body<M: Message + ?Sized> {
    Lent(Lease<M::Held>),
    /// Memory of the process.
    Private(Box<M::Held>),
    /// It was sent.
    Sent,
}

impl Kind<[u8]> {
    const BYTES: &'static Self = &Kind { bytes: |message| message, message: Vec::into_boxed_slice };
}

impl<T: Plain> Kind<T> {
    const PLAIN: &'static Self = &Kind {
        bytes: plain::bytes_of,
        message: |bytes| {
            let mut message = plain::zeroed();
            payload::overwrite(&bytes[..], &mut *message);
            message
        },
    };
}

fn failed(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Failed(error) => *error,
        Refusal::Closed(closed) => Error::Closed(closed),
        Refusal::Waiting => Error::WouldWait,
    }
}

impl Sender<[u8]> {
    /// Memory for a message of so many bytes, to be written where its receiver will read it. They are some bytes or other
    /// before that.
    ///
    /// Where a mailbox lets other users in, their processes can write to it at any time, whatever this one expects there.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`]; [`Error::AtCeiling`], [`Error::NoMemory`], [`Error::TooManyMessages`] if there is no memory
    /// for it; [`Error::Closed`] when the owner is gone; [`Error::Forked`] in a forked child.
    #[inline]
    pub fn loan(&self, length: usize) -> Result<Loan<[u8]>, Error> {
        let outlet = Arc::clone(self.loans());
        let body = match &*outlet {
            Outlet::Shared(outlet) => Body::Lent(outlet.lend(length, |bytes| Some(bytes)).map_err(failed)?),
            Outlet::Kernel(outlet) => {
                outlet.may_lend_so_much(length).map_err(failed)?;
                Body::Private(vec![0; length].into_boxed_slice())
            }
            Outlet::File(outlet) => {
                outlet.may_lend_so_much(length).map_err(failed)?;
                Body::Private(vec![0; length].into_boxed_slice())
            }
            Outlet::HandedOn(outlet) => {
                outlet.may_lend_so_much(length).map_err(failed)?;
                Body::Private(vec![0; length].into_boxed_slice())
            }
        };
        Ok(Loan { outlet, body, kind: Kind::BYTES })
    }
}

impl<T: Plain> Sender<T> {
    /// Memory for a message, to be written where its receiver will read it. It has some value or other before that.
    ///
    /// # Errors
    ///
    /// [`Error::AtCeiling`], [`Error::NoMemory`], [`Error::TooManyMessages`] if there is no memory for it;
    /// [`Error::Closed`] when the owner is gone; [`Error::Forked`] in a forked child.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-loan-plain-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use tubepost::{Mailbox, Sender};
    ///
    /// let inbox = Mailbox::<[f32; 10_000]>::options().domain(&domain).own("samples")?;
    /// let out = Sender::<[f32; 10_000]>::options().domain(&domain).open("samples")?;
    /// let mut samples = out.loan()?;
    /// for (at, sample) in samples.iter_mut().enumerate() {
    ///     *sample = at as f32;
    /// }
    /// samples.send()?;
    /// assert_eq!(inbox.take()?[9_999], 9_999.0);
    /// # drop(inbox);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn loan(&self) -> Result<Loan<T>, Error> {
        let outlet = Arc::clone(self.loans());
        let body = match &*outlet {
            Outlet::Shared(outlet) if outlet.may_lend() => {
                Body::Lent(outlet.lend(size_of::<T>(), plain::value_in_mut).map_err(failed)?)
            }
            Outlet::Shared(outlet) => {
                outlet.may_lend_so_much(size_of::<T>()).map_err(failed)?;
                Body::Private(plain::zeroed())
            }
            Outlet::Kernel(outlet) => {
                outlet.may_lend_so_much(size_of::<T>()).map_err(failed)?;
                Body::Private(plain::zeroed())
            }
            Outlet::File(outlet) => {
                outlet.may_lend_so_much(size_of::<T>()).map_err(failed)?;
                Body::Private(plain::zeroed())
            }
            Outlet::HandedOn(outlet) => {
                outlet.may_lend_so_much(size_of::<T>()).map_err(failed)?;
                Body::Private(plain::zeroed())
            }
        };
        Ok(Loan { outlet, body, kind: Kind::PLAIN })
    }
}

impl<M: Message + ?Sized> Loan<M> {
    #[inline]
    fn post(&self, deadline: Option<Instant>) -> Result<(), Refusal> {
        match &self.body {
            Body::Lent(lease) => self.outlet.lender().send_lease(lease, deadline),
            Body::Private(message) => self.outlet.send((self.kind.bytes)(message), deadline),
            Body::Sent => Ok(()),
        }
    }

    /// [`send`](Self::send) for a task. Dropped before it is done, nothing was sent, and the memory goes back.
    ///
    /// # Errors
    ///
    /// As for [`Sender::send_async`]; the loan comes back.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-loan-async-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use tubepost::{Mailbox, Sender};
    ///
    /// let inbox = Mailbox::<[u8]>::options().domain(&domain).own("frames")?;
    /// let out = Sender::<[u8]>::options().domain(&domain).open("frames")?;
    /// # futures_executor::block_on(async {
    /// let mut frame = out.loan(640 * 480)?;
    /// frame.fill(128);
    /// frame.send_async().await?;
    /// assert_eq!(inbox.take_async().await?.len(), 640 * 480);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # drop(inbox);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn send_async(self) -> Result<(), SendError<Loan<M>>> {
        let mut wait = tasks::for_room(); // dropped before the loan: what was offered in vain is that again
        let sent = poll_fn(|context| match &self.body {
            Body::Lent(lease) => self.outlet.lender().poll_lease(&mut wait, context, lease),
            Body::Private(message) => self.outlet.poll_send(&mut wait, context, (self.kind.bytes)(message)),
            Body::Sent => Poll::Ready(Ok(())),
        })
        .await;
        drop(wait);
        match sent {
            Ok(()) => {
                self.sent();
                Ok(())
            }
            Err(Refusal::Closed(closed)) => Err(SendError::Closed(self, closed)),
            Err(Refusal::Failed(error)) => Err(SendError::Failed(self, *error)),
            Err(Refusal::Waiting) => unreachable!("a task waits instead"),
        }
    }

    /// It is not the sender's any more.
    #[inline]
    fn sent(mut self) {
        self.body = Body::Sent;
    }

    /// Sends it, waiting for room as long as it takes.
    ///
    /// # Errors
    ///
    /// As for [`Sender::send`]; the loan comes back.
    #[inline]
    pub fn send(self) -> Result<(), SendError<Loan<M>>> {
        match self.post(None) {
            Ok(()) => {
                self.sent();
                Ok(())
            }
            Err(Refusal::Closed(closed)) => Err(SendError::Closed(self, closed)),
            Err(Refusal::Failed(error)) => Err(SendError::Failed(self, *error)),
            Err(Refusal::Waiting) => unreachable!("a wait without a deadline does not end early"),
        }
    }

    /// Sends it if there is room now.
    ///
    /// # Errors
    ///
    /// As for [`Sender::try_send`]; the loan comes back.
    #[inline]
    pub fn try_send(self) -> Result<(), TrySendError<Loan<M>>> {
        let sent = match &self.body {
            Body::Lent(lease) => self.outlet.lender().try_send_lease(lease),
            Body::Private(message) => self.outlet.try_send((self.kind.bytes)(message)),
            Body::Sent => Ok(()),
        };
        match sent {
            Ok(()) => {
                self.sent();
                Ok(())
            }
            Err(Refusal::Waiting) => Err(TrySendError::Full(self)),
            Err(Refusal::Closed(closed)) => Err(TrySendError::Closed(self, closed)),
            Err(Refusal::Failed(error)) => Err(TrySendError::Failed(self, *error)),
        }
    }

    /// Sends it, waiting for room for at most so long.
    ///
    /// # Errors
    ///
    /// As for [`Sender::send_timeout`]; the loan comes back.
    pub fn send_timeout(self, timeout: Duration) -> Result<(), SendTimeoutError<Loan<M>>> {
        self.send_until(Instant::now().checked_add(timeout))
    }

    /// Sends it, waiting for room until then at most.
    ///
    /// # Errors
    ///
    /// As for [`Sender::send_deadline`]; the loan comes back.
    pub fn send_deadline(self, deadline: Instant) -> Result<(), SendTimeoutError<Loan<M>>> {
        self.send_until(Some(deadline))
    }

    fn send_until(self, deadline: Option<Instant>) -> Result<(), SendTimeoutError<Loan<M>>> {
        match self.post(deadline) {
            Ok(()) => {
                self.sent();
                Ok(())
            }
            Err(Refusal::Waiting) => Err(SendTimeoutError::Timeout(self)),
            Err(Refusal::Closed(closed)) => Err(SendTimeoutError::Closed(self, closed)),
            Err(Refusal::Failed(error)) => Err(SendTimeoutError::Failed(self, *error)),
        }
    }
}

impl<M: Message + ?Sized> Loan<M> {
    /// Sends it, and waits until a receiver has the message, as long as it takes.
    ///
    /// # Errors
    ///
    /// As for [`Sender::send_collected`]; the loan comes back. If the mailbox was closed while a receiver was just at
    /// it ([`Fate::Unknown`](crate::Fate::Unknown)), it is a copy of what could be read still.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-loan-collected-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use std::time::Duration;
    /// use tubepost::{Mailbox, Sender};
    ///
    /// let inbox = Mailbox::<[u8]>::options().domain(&domain).own("frames")?;
    /// let out = Sender::<[u8]>::options().domain(&domain).open("frames")?;
    /// let mut frame = out.loan(3)?;
    /// frame.copy_from_slice(b"one");
    /// let error = frame.send_collected_timeout(Duration::from_millis(1)).unwrap_err();
    /// assert!(error.is_timeout() && inbox.is_empty());
    /// assert_eq!(&*error.into_inner(), b"one"); // withdrawn
    /// # drop(inbox);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_collected(self) -> Result<(), SendCollectedError<Loan<M>>> {
        self.send_collected_until(None)
    }

    /// Sends it, and waits until a receiver has the message, for at most so long. After that it is withdrawn.
    ///
    /// # Errors
    ///
    /// As for [`Sender::send_collected_timeout`]; the loan comes back.
    pub fn send_collected_timeout(self, timeout: Duration) -> Result<(), SendCollectedError<Loan<M>>> {
        self.send_collected_until(Instant::now().checked_add(timeout))
    }

    /// Sends it, and waits until a receiver has the message, until then at most. After that it is withdrawn.
    ///
    /// # Errors
    ///
    /// As for [`Sender::send_collected_deadline`]; the loan comes back.
    pub fn send_collected_deadline(self, deadline: Instant) -> Result<(), SendCollectedError<Loan<M>>> {
        self.send_collected_until(Some(deadline))
    }

    fn send_collected_until(mut self, deadline: Option<Instant>) -> Result<(), SendCollectedError<Loan<M>>> {
        let done = match &mut self.body {
            Body::Lent(lease) => self.outlet.lender().send_lease_collected(lease, deadline),
            Body::Private(message) => {
                let done = self.outlet.send_collected((self.kind.bytes)(message), deadline);
                done.map_err(|why| (why, Whose::Senders))
            }
            Body::Sent => Ok(()),
        };
        let Err((why, whose)) = done else {
            self.sent();
            return Ok(());
        };
        if let (Whose::Unknown, Body::Lent(lease)) = (whose, &self.body) {
            let bytes = self.outlet.lender().copy_of(lease);
            self.body = Body::Private((self.kind.message)(bytes));
        }
        Err(match why {
            Uncollected::Closed(closed, fate) => SendCollectedError::Closed(self, closed, fate),
            Uncollected::Refused(Refusal::Failed(error)) => SendCollectedError::Failed(self, *error),
            Uncollected::Refused(_) => SendCollectedError::Timeout(self),
        })
    }
}

impl<M: Message + ?Sized> Deref for Loan<M> {
    type Target = M::Held;

    #[inline]
    fn deref(&self) -> &M::Held {
        match &self.body {
            Body::Lent(lease) => &lease.message,
            Body::Private(message) => message,
            Body::Sent => unreachable!("who sends a loan has it no more"),
        }
    }
}

impl<M: Message + ?Sized> DerefMut for Loan<M> {
    #[inline]
    fn deref_mut(&mut self) -> &mut M::Held {
        match &mut self.body {
            Body::Lent(lease) => &mut lease.message,
            Body::Private(message) => message,
            Body::Sent => unreachable!("who sends a loan has it no more"),
        }
    }
}

impl<M: Message + ?Sized> Drop for Loan<M> {
    #[inline]
    fn drop(&mut self) {
        if let Body::Lent(lease) = &self.body {
            self.outlet.lender().end_lease(lease);
        }
    }
}

impl<M: Message + ?Sized> std::fmt::Debug for Loan<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loan").field("mailbox", &self.outlet.segment().name.as_str()).finish_non_exhaustive()
    }
}
