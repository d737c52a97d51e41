//! A receiver as a stream of messages, a sender as a sink for them: for the combinators of the `futures` crates.

use crate::error::{Error, SendError};
use crate::message::Message;
use crate::receiver::{ByValue, Receiver};
use crate::sender::Sender;
use crate::strategy::Refusal;
use crate::strategy::shared::pending::Wait;
use crate::strategy::shared::tasks;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The messages of a mailbox, as they come, until it is closed: [`Receiver::iter`] for tasks.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-stream-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// use futures_util::StreamExt;
///
/// let inbox = tubepost::Mailbox::<u64>::options().domain(&domain).own("numbers")?;
/// let out = tubepost::Sender::<u64>::options().domain(&domain).open("numbers")?;
/// for number in 1..=3 {
///     out.send(number)?;
/// }
/// # futures_executor::block_on(async {
/// let sums = inbox.stream().scan(0, |sum, number| {
///     *sum += number;
///     std::future::ready(Some(*sum))
/// });
/// assert_eq!(sums.take(3).collect::<Vec<_>>().await, [1, 3, 6]);
/// # });
/// # drop(inbox);
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a stream does nothing unless it is polled"]
pub struct ReceiverStream<M: Message + ?Sized> {
    receiver: Receiver<M>,
    wait: Wait,
}

impl<M: Message + ?Sized> fmt::Debug for ReceiverStream<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiverStream").field("name", &self.receiver.name()).finish_non_exhaustive()
    }
}

impl<M: Message + ?Sized> futures_core::Stream for ReceiverStream<M> {
    type Item = M::Received;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<M::Received>> {
        let ReceiverStream { receiver, wait } = self.get_mut();
        receiver.inlet().poll_recv(wait, context, &mut ByValue::<M>(PhantomData)).map(Result::ok)
    }
}

impl<M: Message + ?Sized> Receiver<M> {
    /// Receives until the mailbox is closed. The stream is a clone of this receiver.
    pub fn stream(&self) -> ReceiverStream<M> {
        self.clone().into_stream()
    }

    /// Receives until the mailbox is closed.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-into-stream-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use futures_util::StreamExt;
    ///
    /// let inbox = tubepost::Mailbox::<str>::options().domain(&domain).own("notes")?;
    /// let out = tubepost::Sender::<str>::options().domain(&domain).open("notes")?;
    /// out.send("first")?;
    /// let mut notes = inbox.into_stream();
    /// assert_eq!(futures_executor::block_on(notes.next()).as_deref(), Some("first"));
    /// # drop(notes);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_stream(self) -> ReceiverStream<M> {
        ReceiverStream { receiver: self, wait: tasks::for_messages() }
    }
}

/// Sends what it is given, when there is room. It takes one message before that is sent: flush it, as a sink is; what is dropped
/// with it was not sent.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-sink-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// use futures_util::SinkExt;
///
/// let inbox = tubepost::Mailbox::<str>::options().domain(&domain).own("notes")?;
/// let out = tubepost::Sender::<str>::options().domain(&domain).open("notes")?;
/// let mut sink = out.into_sink();
/// futures_executor::block_on(sink.send(String::from("first")))?;
/// assert_eq!(inbox.recv()?, "first");
/// # drop((sink, inbox));
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a sink does nothing unless it is polled"]
pub struct SenderSink<M: Message + ?Sized> {
    sender: Sender<M>,
    wait: Wait,
    unsent: Option<M::Received>,
}

impl<M: Message + ?Sized> fmt::Debug for SenderSink<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unsent = self.unsent.is_some();
        f.debug_struct("SenderSink")
            .field("name", &self.sender.name())
            .field("unsent", &unsent)
            .finish_non_exhaustive()
    }
}

// A message is never pinned.
impl<M: Message + ?Sized> Unpin for SenderSink<M> {}

impl<M: Message + ?Sized> SenderSink<M> {
    /// Sends what there is to be sent.
    fn poll_unsent(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        let Some(message) = &self.unsent else { return Poll::Ready(Ok(())) };
        let Some(sent) = M::sent_of(message) else { return Poll::Ready(Err(no_question().into())) };
        let mut desk = M::Desk::default();
        if let Err(error) = M::prepare(&sent, &mut desk) {
            return Poll::Ready(Err(error.into()));
        }
        self.sender.outlet().poll_send(&mut self.wait, context, M::bytes(&sent, &desk, 0))
    }
}

#[cold]
fn no_question() -> Error {
    let allowed = "call instead: a question has an answer".to_string();
    Error::BadOption { what: "what a sink sends", given: "a question".into(), allowed }
}

impl<M: Message + ?Sized> futures_sink::Sink<M::Received> for SenderSink<M> {
    /// The message that could not be sent comes back.
    type Error = SendError<M::Received>;

    fn poll_ready(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_flush(context)
    }

    fn start_send(self: Pin<&mut Self>, message: M::Received) -> Result<(), Self::Error> {
        let this = self.get_mut();
        assert!(this.unsent.is_none(), "a sink takes a message only when it has said that it is ready");
        this.unsent = Some(message);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let this = self.get_mut();
        let done = ready!(this.poll_unsent(context));
        let Some(message) = this.unsent.take() else { return Poll::Ready(Ok(())) };
        Poll::Ready(match done {
            Ok(()) => Ok(()),
            Err(Refusal::Closed(closed)) => Err(SendError::Closed(message, closed)),
            Err(Refusal::Failed(error)) => Err(SendError::Failed(message, *error)),
            Err(Refusal::Waiting) => unreachable!("a task waits instead"),
        })
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_flush(context)
    }
}

impl<M: Message + ?Sized> Sender<M> {
    /// A sink for messages of one's own. It is a clone of this sender.
    pub fn sink(&self) -> SenderSink<M> {
        self.clone().into_sink()
    }

    /// A sink for messages of one's own.
    pub fn into_sink(self) -> SenderSink<M> {
        SenderSink { sender: self, wait: tasks::for_room(), unsent: None }
    }
}
