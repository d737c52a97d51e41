//! The calls that wait, for tasks: futures that any executor can run.
//!
//! **Dropped is cancelled**, whenever it happens: no message is lost, and none is sent later. A deadline is the runtime's
//! own, as in `tokio::time::timeout`.
//!
//! A call that need not wait does what its `try_` form does, and costs as much. One that has to wait makes a socket for its handle, once
//! (`strategy::shared::door`), and is woken by the process's watch thread; with the feature `tokio`, in a tokio
//! runtime, by its reactor.

use crate::call::Call;
use crate::delivery::{Delivery, ToHold};
use crate::error::{CallError, Closed, Error, RecvError, SendCollectedError, SendError};
use crate::message::{Buffer, Message};
use crate::receiver::{ByValue, Envelope, InEnvelope, IntoBuffer, Receiver, blocking};
use crate::sender::Sender;
use crate::strategy::shared::calls::Asking;
use crate::strategy::shared::collected::Uncollected;
use crate::strategy::shared::pending::Wait;
use crate::strategy::shared::tasks;
use crate::strategy::{CALLS, Collection, Inlet, Refusal, With};
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Waits for a message, and does this with it. (By hand and not `async`, so that it is inlined: a message that is there costs
/// half as much.)
struct Receiving<'a, W> {
    inlet: &'a Inlet,
    wait: Wait,
    with: W,
}

impl<'a, W> Receiving<'a, W> {
    #[inline(always)]
    fn by(inlet: &'a Inlet, with: W) -> Receiving<'a, W> {
        Receiving { inlet, wait: tasks::for_messages(), with }
    }
}

// What was received is never pinned, nor is what receives it.
impl<W> Unpin for Receiving<'_, W> {}

impl<W: With> Future for Receiving<'_, W> {
    type Output = Result<W::Result, RecvError>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.inlet.poll_recv(&mut this.wait, context, &mut this.with).map(blocking)
    }
}

impl<M: Message + ?Sized> Receiver<M> {
    /// [`recv`](Self::recv) for a task.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Self::recv); [`Error::Os`] if it has to wait and there are no descriptors left.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-recv-async-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use std::time::Duration;
    ///
    /// let readings = tubepost::Mailbox::<u64>::options().domain(&domain).own("readings")?;
    /// let orders = tubepost::Mailbox::<str>::options().domain(&domain).own("orders")?;
    /// let out = tubepost::Sender::<str>::options().domain(&domain).open("orders")?;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// out.send_async("stop").await?;
    /// // Of several mailboxes, whichever is first. The other call is dropped, and no message with it.
    /// tokio::select! {
    ///     reading = readings.recv_async() => println!("{}", reading?),
    ///     order = orders.recv_async() => assert_eq!(order?, "stop"),
    /// }
    /// let late = tokio::time::timeout(Duration::from_millis(1), orders.recv_async()).await;
    /// assert!(late.is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # drop((readings, orders));
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn recv_async(&self) -> impl Future<Output = Result<M::Received, RecvError>> {
        Receiving::by(self.inlet(), ByValue::<M>(PhantomData))
    }

    /// [`recv_into`](Self::recv_into) for a task.
    ///
    /// # Errors
    ///
    /// As for [`recv_into`](Self::recv_into) and [`recv_async`](Self::recv_async).
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-recv-into-async-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// let inbox = tubepost::Mailbox::<[u8]>::options().domain(&domain).own("bytes")?;
    /// let out = tubepost::Sender::<[u8]>::options().domain(&domain).open("bytes")?;
    /// # futures_executor::block_on(async {
    /// out.send_async(b"seven").await?;
    /// let mut buffer = [0; 64];
    /// let length = inbox.recv_into_async(&mut buffer).await?;
    /// assert_eq!(&buffer[..length], b"seven");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # drop(inbox);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn recv_into_async<B: Buffer<M> + ?Sized>(
        &self,
        buffer: &mut B,
    ) -> impl Future<Output = Result<usize, RecvError>> {
        Receiving::by(self.inlet(), IntoBuffer::<M, B>(buffer, PhantomData))
    }

    /// [`recv_envelope`](Self::recv_envelope) for a task.
    ///
    /// # Errors
    ///
    /// As for [`recv_async`](Self::recv_async).
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-envelope-async-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// let inbox = tubepost::Mailbox::<u64>::options().domain(&domain).own("numbers")?;
    /// let out = tubepost::Sender::<u64>::options().domain(&domain).open("numbers")?;
    /// # futures_executor::block_on(async {
    /// out.send_async(7).await?;
    /// let envelope = inbox.recv_envelope_async().await?;
    /// assert_eq!((envelope.message, envelope.sender.pid), (7, std::process::id()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # drop(inbox);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_envelope_async(&self) -> impl Future<Output = Result<Envelope<M>, RecvError>> {
        Receiving::by(self.inlet(), InEnvelope::<M>(PhantomData))
    }

    /// [`take`](Self::take) for a task.
    ///
    /// # Errors
    ///
    /// As for [`recv_async`](Self::recv_async).
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-take-async-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// let inbox = tubepost::Mailbox::<str>::options().domain(&domain).own("jobs")?;
    /// let out = tubepost::Sender::<str>::options().domain(&domain).open("jobs")?;
    /// # futures_executor::block_on(async {
    /// out.send_async("resize 7.png").await?;
    /// let job = inbox.take_async().await?;
    /// assert_eq!(&*job, "resize 7.png");
    /// job.accept()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # drop(inbox);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn take_async(&self) -> impl Future<Output = Result<Delivery<M>, RecvError>> {
        Receiving::by(self.inlet(), ToHold::<M>(self.inlet(), PhantomData))
    }
}

impl<M: Message + ?Sized> Sender<M> {
    /// [`send`](Self::send) for a task. Dropped before it is done, the message was not sent.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send); [`Error::Os`] if it has to wait and there are no descriptors left.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-send-async-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// let inbox = tubepost::Mailbox::<u64>::options().domain(&domain).bounded(1).own("numbers")?;
    /// let out = tubepost::Sender::<u64>::options().domain(&domain).open("numbers")?;
    /// # futures_executor::block_on(async {
    /// out.send_async(7).await?;
    /// let (sent, received) = futures_util::join!(out.send_async(8), inbox.recv_async());
    /// sent?;
    /// assert_eq!((received?, inbox.recv_async().await?), (7, 8));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # drop((out, inbox));
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn send_async<'a>(&self, message: M::Sent<'a>) -> Result<(), SendError<M::Sent<'a>>> {
        let (outlet, mut wait, mut desk) = (self.outlet(), tasks::for_room(), M::Desk::default());
        if let Err(error) = M::prepare(&message, &mut desk) {
            return Err(SendError::Failed(message, error));
        }
        match poll_fn(|context| outlet.poll_send(&mut wait, context, M::bytes(&message, &desk, 0))).await {
            Ok(()) => Ok(()),
            Err(Refusal::Closed(closed)) => Err(SendError::Closed(message, closed)),
            Err(Refusal::Failed(error)) => Err(SendError::Failed(message, *error)),
            Err(Refusal::Waiting) => unreachable!("a task waits instead"),
        }
    }

    /// [`send_collected`](Self::send_collected) for a task. Dropped before it is done, the message was collected all the
    /// same, or is withdrawn: nobody gets it later. (If a receiver is just copying it, that is waited for, up to 100 ms.)
    ///
    /// # Errors
    ///
    /// As for [`send_collected`](Self::send_collected) and [`send_async`](Self::send_async).
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-collected-async-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// let inbox = tubepost::Mailbox::<u64>::options().domain(&domain).own("numbers")?;
    /// let out = tubepost::Sender::<u64>::options().domain(&domain).open("numbers")?;
    /// # futures_executor::block_on(async {
    /// let (sent, received) = futures_util::join!(out.send_collected_async(7), inbox.recv_async());
    /// sent?;
    /// assert_eq!(received?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # drop((out, inbox));
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn send_collected_async<'a>(
        &self,
        message: M::Sent<'a>,
    ) -> Result<(), SendCollectedError<M::Sent<'a>>> {
        let (mut collection, mut desk) = (Collection::by(self.outlet()), M::Desk::default());
        if let Err(error) = M::prepare(&message, &mut desk) {
            return Err(SendCollectedError::Failed(message, error));
        }
        match poll_fn(|context| collection.poll(context, M::bytes(&message, &desk, 0))).await {
            Ok(()) => Ok(()),
            Err(Uncollected::Closed(closed, fate)) => Err(SendCollectedError::Closed(message, closed, fate)),
            Err(Uncollected::Refused(Refusal::Failed(error))) => {
                Err(SendCollectedError::Failed(message, *error))
            }
            Err(Uncollected::Refused(_)) => unreachable!("a task waits instead"),
        }
    }

    /// [`closed`](Self::closed) for a task.
    ///
    /// # Errors
    ///
    /// As for [`closed`](Self::closed); [`Error::Os`] if it has to wait and there are no descriptors left.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-closed-async-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// let inbox = tubepost::Mailbox::<u64>::options().domain(&domain).own("numbers")?;
    /// let out = tubepost::Sender::<u64>::options().domain(&domain).open("numbers")?;
    /// let owner = std::thread::spawn(move || drop(inbox));
    /// assert_eq!(futures_executor::block_on(out.closed_async())?.uncollected, 0);
    /// # owner.join().unwrap();
    /// # drop(out);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn closed_async(&self) -> Result<Closed, Error> {
        let (outlet, mut wait) = (self.outlet(), tasks::for_end());
        match poll_fn(|context| outlet.poll_closed(&mut wait, context)).await {
            Ok(closed) | Err(Refusal::Closed(closed)) => Ok(closed),
            Err(Refusal::Failed(error)) => Err(*error),
            Err(Refusal::Waiting) => unreachable!("a task waits instead"),
        }
    }
}

impl<Q: Message + ?Sized, A: Message + ?Sized> Sender<Call<Q, A>> {
    /// [`call`](Self::call) for a task. Dropped before it is done, who replies is told that nobody waits; the question may still be
    /// in the queue.
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call) and [`send_async`](Self::send_async).
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-call-async-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use tubepost::{Call, Mailbox, Sender};
    ///
    /// let questions = Mailbox::<Call<u64, u64>>::options().domain(&domain).own("squares")?;
    /// let ask = Sender::<Call<u64, u64>>::options().domain(&domain).open("squares")?;
    /// let serve = async {
    ///     for _ in 0..2 {
    ///         let question = questions.take_async().await?;
    ///         let square = *question * *question;
    ///         question.reply(square)?;
    ///     }
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// };
    /// let (served, of_7, of_9) =
    ///     futures_executor::block_on(async { futures_util::join!(serve, ask.call_async(7), ask.call_async(9)) });
    /// served?;
    /// assert_eq!((of_7?, of_9?), (49, 81));
    /// # drop((ask, questions));
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn call_async<'a>(&self, question: Q::Sent<'a>) -> Result<A::Received, CallError<Q::Sent<'a>>> {
        self.call_noted_async(question, || {}).await
    }

    /// [`call_async`](Self::call_async) that says when the question is in the mailbox, by calling `sent` at once. For those who ask on behalf of somebody else, and
    /// have to know what was asked if they are killed. Where nothing waits it is when a receiver has it.
    ///
    /// # Errors
    ///
    /// As for [`call_async`](Self::call_async).
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-call-noted-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use tubepost::{Call, Mailbox, Sender};
    ///
    /// let questions = Mailbox::<Call<u64, u64>>::options().domain(&domain).own("squares")?;
    /// let ask = Sender::<Call<u64, u64>>::options().domain(&domain).open("squares")?;
    /// let serve = async {
    ///     let question = questions.take_async().await?;
    ///     let square = *question * *question;
    ///     question.reply(square)?;
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// };
    /// let mut sent = false;
    /// let call = ask.call_noted_async(7, || sent = true);
    /// let (served, answer) = futures_executor::block_on(async { futures_util::join!(serve, call) });
    /// served?;
    /// assert_eq!(answer?, 49);
    /// assert!(sent);
    /// # drop((ask, questions));
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn call_noted_async<'a>(
        &self,
        question: Q::Sent<'a>,
        sent: impl FnOnce(),
    ) -> Result<A::Received, CallError<Q::Sent<'a>>> {
        let mut sent = Some(sent);
        let outlet = match self.outlet().shared(CALLS) {
            Ok(outlet) => outlet,
            Err(error) => return Err(CallError::Failed(question, error)),
        };
        let (mut asking, mut desk) = (Asking::by(outlet), Q::Desk::default());
        if let Err(error) = Q::prepare(&question, &mut desk) {
            return Err(CallError::Failed(question, error));
        }
        let ask = |context: &mut Context<'_>| {
            let done = asking.poll(context, Q::bytes(&question, &desk, 0), |answer| A::receive(answer));
            if asking.is_sent()
                && let Some(sent) = sent.take()
            {
                sent();
            }
            done
        };
        let done = poll_fn(ask).await;
        self.answered(done, question)
    }
}
