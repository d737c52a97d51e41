//! Sending by number: what a sender that hands on somebody else's messages has to know of each.

use crate::error::{Error, SendError, TrySendError};
use crate::message::{Message, with_bytes};
use crate::sender::Sender;
use crate::strategy::shared::tasks;
use crate::strategy::{Outlet, Refusal};
use std::future::poll_fn;

impl<M: Message + ?Sized> Sender<M> {
    /// [`send_async`](Self::send_async) that says which number the message has: the `seq` that its receiver
    /// sees ([`Envelope`](crate::Envelope)). By this number one asks later whether it was collected. Nothing, where messages have no number before they are
    /// received: where nothing waits, on the kernel and the sealed strategy, and in files.
    ///
    /// # Errors
    ///
    /// As for [`send_async`](Self::send_async).
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-numbered-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// let inbox = tubepost::Mailbox::<u64>::options().domain(&domain).own("numbers")?;
    /// let out = tubepost::Sender::<u64>::options().domain(&domain).open("numbers")?;
    /// # futures_executor::block_on(async {
    /// let number = out.send_numbered_async(7).await?.unwrap();
    /// assert!(!out.is_collected(number));
    /// assert_eq!(inbox.recv_envelope()?.seq, number);
    /// out.collected_async(number).await?;
    /// assert!(out.is_collected(number));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # drop((out, inbox));
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn send_numbered_async<'a>(
        &self,
        message: M::Sent<'a>,
    ) -> Result<Option<u64>, SendError<M::Sent<'a>>> {
        let Outlet::Shared(outlet) = self.outlet() else {
            return self.send_async(message).await.map(|()| None);
        };
        if !outlet.numbers() {
            return self.send_async(message).await.map(|()| None);
        }
        let (mut wait, mut desk) = (tasks::for_room(), M::Desk::default());
        if let Err(error) = M::prepare(&message, &mut desk) {
            return Err(SendError::Failed(message, error));
        }
        let send = |context: &mut std::task::Context<'_>| {
            outlet.poll_send_numbered(&mut wait, context, M::bytes(&message, &desk, 0))
        };
        match poll_fn(send).await {
            Ok(number) => Ok(Some(number)),
            Err(Refusal::Closed(closed)) => Err(SendError::Closed(message, closed)),
            Err(Refusal::Failed(error)) => Err(SendError::Failed(message, *error)),
            Err(Refusal::Waiting) => unreachable!("a task waits instead"),
        }
    }

    /// [`try_send`](Self::try_send) that says which number the message has, as [`send_numbered_async`](Self::send_numbered_async) does.
    ///
    /// # Errors
    ///
    /// As for [`try_send`](Self::try_send).
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-try-numbered-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// let inbox = tubepost::Mailbox::<u64>::options().domain(&domain).bounded(1).own("numbers")?;
    /// let out = tubepost::Sender::<u64>::options().domain(&domain).open("numbers")?;
    /// let number = out.try_send_numbered(7).unwrap();
    /// assert!(out.try_send_numbered(8).is_err());
    /// assert_eq!(Some(inbox.recv_envelope()?.seq), number);
    /// # drop((out, inbox));
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), tubepost::Error>(())
    /// ```
    pub fn try_send_numbered<'a>(
        &self,
        message: M::Sent<'a>,
    ) -> Result<Option<u64>, TrySendError<M::Sent<'a>>> {
        let outlet = match self.outlet() {
            Outlet::Shared(outlet) if outlet.numbers() => outlet,
            _ => return self.try_send(message).map(|()| None),
        };
        match with_bytes::<M, _, _>(&message, |bytes| outlet.try_send_numbered(bytes)) {
            Ok(number) => Ok(Some(number)),
            Err(Refusal::Waiting) => Err(TrySendError::Full(message)),
            Err(Refusal::Closed(closed)) => Err(TrySendError::Closed(message, closed)),
            Err(Refusal::Failed(error)) => Err(TrySendError::Failed(message, *error)),
        }
    }

    /// The number that the next message will have, or one after it. Nothing, where they have no number.
    pub fn next_number(&self) -> Option<u64> {
        match self.outlet() {
            Outlet::Shared(outlet) if outlet.numbers() => Some(outlet.at.segment.tail()),
            Outlet::Shared(_) | Outlet::Kernel(_) | Outlet::File(_) | Outlet::HandedOn(_) => None,
        }
    }

    /// Whether the message with this number was collected: also one that another handle sent, or that of a process that died. Where messages have no number,
    /// this says yes.
    pub fn is_collected(&self, number: u64) -> bool {
        match self.outlet() {
            Outlet::Shared(outlet) => !outlet.numbers() || outlet.is_collected(number),
            Outlet::Kernel(_) | Outlet::File(_) | Outlet::HandedOn(_) => true,
        }
    }

    /// Waits, as a task, until the message with this number is collected.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if the mailbox was closed before; [`Error::Os`] if it has to wait and there are no descriptors left.
    pub async fn collected_async(&self, number: u64) -> Result<(), Error> {
        let Outlet::Shared(outlet) = self.outlet() else { return Ok(()) };
        if !outlet.numbers() {
            return Ok(());
        }
        let mut wait = tasks::for_room();
        match poll_fn(|context| outlet.poll_collected(&mut wait, context, number)).await {
            Ok(()) => Ok(()),
            Err(Refusal::Closed(closed)) => Err(closed.into()),
            Err(Refusal::Failed(error)) => Err(*error),
            Err(Refusal::Waiting) => unreachable!("a task waits instead"),
        }
    }
}
