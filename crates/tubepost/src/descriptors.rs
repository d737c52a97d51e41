//! Descriptors that travel with messages: on the kernel strategy, which copies them as it copies bytes.

use crate::error::{SendError, SendTimeoutError, TrySendError};
use crate::message::{Message, with_bytes};
use crate::receiver::after;
use crate::sender::Sender;
use crate::strategy::Refusal;
use crate::strategy::shared::batch::Patience;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

impl<M: Message + ?Sized> Sender<M> {
    /// Sends a message with up to 64 descriptors: open files, sockets, memory. Its receiver gets copies, as by `dup`, in the
    /// [`Envelope`](crate::Envelope) or by [`Delivery::take_descriptors`](crate::Delivery::take_descriptors); what it does not look at is closed.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send); [`Error::BadOption`](crate::Error::BadOption) on the shared strategy, or if they are too many;
    /// [`Error::Os`](crate::Error::Os) if too many of this user's are under way. A receiver that has no room for them
    /// gets an error instead of the message.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-descriptors-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use std::io::Read;
    /// use std::os::fd::AsFd;
    /// use tubepost::{Mailbox, Sender, Strategy};
    ///
    /// let inbox = Mailbox::<str>::options().domain(&domain).strategy(Strategy::Kernel).bounded(8).own("files")?;
    /// let out = Sender::<str>::options().domain(&domain).open("files")?;
    /// let (mut reader, writer) = std::io::pipe()?;
    /// out.send_with("a pipe", &[writer.as_fd()])?;
    /// drop(writer);
    ///
    /// let mut envelope = inbox.recv_envelope()?;
    /// assert_eq!(envelope.message, "a pipe");
    /// std::io::Write::write_all(&mut std::fs::File::from(envelope.descriptors.remove(0)), b"through it")?;
    /// let mut came = String::new();
    /// reader.read_to_string(&mut came)?;
    /// assert_eq!(came, "through it");
    /// # drop(inbox);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_with<'a>(
        &self,
        message: M::Sent<'a>,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), SendError<M::Sent<'a>>> {
        match self.post_with(&message, descriptors, Patience::Until(None)) {
            Ok(()) => Ok(()),
            Err(Refusal::Closed(closed)) => Err(SendError::Closed(message, closed)),
            Err(Refusal::Failed(error)) => Err(SendError::Failed(message, *error)),
            Err(Refusal::Waiting) => unreachable!("a wait without a deadline does not end early"),
        }
    }

    /// [`send_with`](Self::send_with) that does not wait.
    ///
    /// # Errors
    ///
    /// As for [`send_with`](Self::send_with); [`TrySendError::Full`] if there is no room.
    pub fn try_send_with<'a>(
        &self,
        message: M::Sent<'a>,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), TrySendError<M::Sent<'a>>> {
        match self.post_with(&message, descriptors, Patience::None) {
            Ok(()) => Ok(()),
            Err(Refusal::Waiting) => Err(TrySendError::Full(message)),
            Err(Refusal::Closed(closed)) => Err(TrySendError::Closed(message, closed)),
            Err(Refusal::Failed(error)) => Err(TrySendError::Failed(message, *error)),
        }
    }

    /// [`send_with`](Self::send_with) that waits for at most so long.
    ///
    /// # Errors
    ///
    /// As for [`send_with`](Self::send_with); [`SendTimeoutError::Timeout`] if no place became free in time.
    pub fn send_with_timeout<'a>(
        &self,
        message: M::Sent<'a>,
        descriptors: &[BorrowedFd<'_>],
        timeout: Duration,
    ) -> Result<(), SendTimeoutError<M::Sent<'a>>> {
        let deadline: Option<Instant> = after(timeout);
        match self.post_with(&message, descriptors, Patience::Until(deadline)) {
            Ok(()) => Ok(()),
            Err(Refusal::Waiting) => Err(SendTimeoutError::Timeout(message)),
            Err(Refusal::Closed(closed)) => Err(SendTimeoutError::Closed(message, closed)),
            Err(Refusal::Failed(error)) => Err(SendTimeoutError::Failed(message, *error)),
        }
    }

    fn post_with(
        &self,
        message: &M::Sent<'_>,
        descriptors: &[BorrowedFd<'_>],
        patience: Patience,
    ) -> Result<(), Refusal> {
        with_bytes::<M, _, _>(message, |bytes| self.outlet.send_with(bytes, descriptors, patience))
    }
}
