//! Messages in hand: received, and consumed only when they are accepted.

use crate::domain::member::Peer;
use crate::error::{Error, RecvError, RecvTimeoutError, TryRecvError};
use crate::message::Message;
use crate::receiver::{Receiver, after, blocking, limited, trying};
use crate::strategy::Refusal;
use crate::strategy::shared::inlet::Inlet;
use crate::strategy::shared::taken::{InHand, Taken, With};
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A message in hand.
///
/// It counts as received only once it is [`accept`](Self::accept)ed. Until then its
/// place in the queue is free for others (unless there is no memory to keep it elsewhere), but the message is not lost whatever happens: if the delivery is
/// dropped (by an early return, or a panic) or the process dies, the message goes back to the
/// queue, and is delivered again with [`redelivered`](Self::redelivered) one higher.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-delivery-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// use tubepost::{Mailbox, Receiver, Sender};
///
/// Mailbox::<str>::options().domain(&domain).create("jobs")?;
/// let out = Sender::<str>::options().domain(&domain).open("jobs")?;
/// let worker = Receiver::<str>::options().domain(&domain).open("jobs")?;
///
/// out.send("resize 7.png")?;
/// let job = worker.take()?;
/// assert_eq!(&*job, "resize 7.png");
/// drop(job); // not accepted
///
/// let again = worker.take()?;
/// assert_eq!((&*again, again.redelivered()), ("resize 7.png", 1));
/// again.accept()?;
/// assert!(worker.is_empty());
/// # domain.remove("jobs")?;
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a delivery that is dropped goes back to the queue; accept it"]
pub struct Delivery<M: Message + ?Sized> {
    inlet: Arc<Inlet>,
    hand: Option<InHand>,
    message: M::Received,
    seq: u64,
    sender: Peer,
    redelivered: u32,
    _of: PhantomData<fn() -> Box<M>>,
}

impl<M: Message + ?Sized> Delivery<M> {
    /// Consumes the message: nobody gets it any more.
    ///
    /// # Errors
    ///
    /// [`Error::NotHeld`] if it was not in this receiver's hand any more;
    /// [`Error::Forked`] in a forked child.
    pub fn accept(mut self) -> Result<(), Error> {
        match self.hand.take() {
            Some(hand) => self.inlet.accept(hand),
            None => Ok(()),
        }
    }

    /// Its place in the order of the mailbox; it never repeats.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Who sent it.
    pub fn sender(&self) -> &Peer {
        &self.sender
    }

    /// How often it was delivered before; 255 stands for that and more.
    pub fn redelivered(&self) -> u32 {
        self.redelivered
    }
}

impl<M: Message + ?Sized> Deref for Delivery<M> {
    type Target = M::Held;

    fn deref(&self) -> &M::Held {
        M::held(&self.message)
    }
}

impl<M: Message + ?Sized> Drop for Delivery<M> {
    fn drop(&mut self) {
        if let Some(hand) = self.hand.take() {
            self.inlet.give_back(hand);
        }
    }
}

impl<M: Message + ?Sized> std::fmt::Debug for Delivery<M>
where
    M::Held: std::fmt::Debug,
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("message", &&**self)
            .field("seq", &self.seq)
            .field("sender", &self.sender)
            .field("redelivered", &self.redelivered)
            .finish()
    }
}

/// Takes it in hand.
pub(crate) struct ToHold<'a, M: ?Sized>(pub(crate) &'a Arc<Inlet>, pub(crate) PhantomData<fn() -> Box<M>>);

impl<M: Message + ?Sized> With for ToHold<'_, M> {
    type Result = Delivery<M>;

    fn message(self, taken: Taken<'_>) -> Result<Delivery<M>, Refusal> {
        let (seq, sender, redelivered) = (taken.position(), taken.sender(), taken.redelivered());
        let message = match M::receive(&taken.payload) {
            Ok(message) => message,
            Err(unfit) => return Err(taken.unfit(unfit)),
        };
        let hand = Some(taken.hold()?);
        Ok(Delivery { inlet: Arc::clone(self.0), hand, message, seq, sender, redelivered, _of: PhantomData })
    }
}

impl<M: Message + ?Sized> Receiver<M> {
    /// Takes the next message in hand, waiting for it as long as it takes.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Self::recv).
    pub fn take(&self) -> Result<Delivery<M>, RecvError> {
        blocking(self.inlet().recv(None, ToHold::<M>(self.inlet(), PhantomData)))
    }

    /// [`take`](Self::take) that does not wait.
    ///
    /// # Errors
    ///
    /// As for [`try_recv`](Self::try_recv) and [`take`](Self::take).
    pub fn try_take(&self) -> Result<Delivery<M>, TryRecvError> {
        trying(self.inlet().try_recv(ToHold::<M>(self.inlet(), PhantomData)))
    }

    /// [`take`](Self::take) that waits for at most so long.
    ///
    /// # Errors
    ///
    /// As for [`recv_timeout`](Self::recv_timeout) and [`take`](Self::take).
    pub fn take_timeout(&self, timeout: Duration) -> Result<Delivery<M>, RecvTimeoutError> {
        limited(self.inlet().recv(after(timeout), ToHold::<M>(self.inlet(), PhantomData)))
    }

    /// [`take`](Self::take) that waits until then at most.
    ///
    /// # Errors
    ///
    /// As for [`take_timeout`](Self::take_timeout).
    pub fn take_deadline(&self, deadline: Instant) -> Result<Delivery<M>, RecvTimeoutError> {
        limited(self.inlet().recv(Some(deadline), ToHold::<M>(self.inlet(), PhantomData)))
    }
}
