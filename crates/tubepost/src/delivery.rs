//! Messages in hand: received, and consumed only when they are accepted.
//!
//! One that does not fit its place lies in a chunk, and is looked at there if nobody but our own user's processes can write to
//! the mailbox: taking a message of a megabyte then costs what taking one of a kilobyte does. Every other message
//! is copied when it is taken, so that nobody changes it while it is looked at.

use crate::domain::member::Peer;
use crate::error::{Error, RecvError, RecvTimeoutError, TryRecvError};
use crate::message::Message;
use crate::queue::calls::Address;
use crate::queue::in_place::InPlace;
use crate::receiver::{Receiver, after, blocking, limited, trying};
use crate::strategy::{Arrival, Hand, Inlet, Refusal, With};
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
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
    pub(crate) inlet: Arc<Inlet>,
    pub(crate) hand: Option<Hand>,
    /// Where its answer goes, if it is a question.
    pub(crate) address: Address,
    message: Body<M>,
    seq: u64,
    sender: OnceLock<Box<Peer>>,
    redelivered: u32,
    _of: PhantomData<fn() -> Box<M>>,
}

/// Where the message is.
enum Body<M: Message + ?Sized> {
    /// In memory that is shared, in the hand of this receiver. Dropped before that is let go of.
    InPlace(InPlace<M::Held>),
    /// In a box, so that a large one does not go by way of the stack with each delivery.
    Copied(Box<M::Received>),
}

impl<M: Message + ?Sized> Delivery<M> {
    /// Consumes the message: nobody gets it any more. A question is left without an answer, and its caller is told.
    ///
    /// # Errors
    ///
    /// [`Error::HoldExpired`] if this receiver has a `hold_max`, it was held for longer, and another waited for it: then
    /// it was delivered again. [`Error::NotHeld`] if it was not in this receiver's hand any more;
    /// [`Error::Forked`] in a forked child.
    #[inline]
    pub fn accept(mut self) -> Result<(), Error> {
        match self.hand.take() {
            Some(hand) if M::ANSWER.is_some() => self.inlet.accept_unanswered(hand, self.address),
            Some(hand) => self.inlet.accept(hand),
            None => Ok(()),
        }
    }

    /// Consumes the message as one that nobody can do anything with: it is never delivered again. It goes to the
    /// receiver's dead letters, if it has any ([`dead_letter`](crate::ReceiverOptions::dead_letter)), else nowhere; either is
    /// counted in [`Stat`](crate::Stat).
    ///
    /// This never waits. While there is no room in the dead letters the message stays in the mailbox, for receivers that
    /// have such to move.
    ///
    /// # Errors
    ///
    /// As for [`accept`](Self::accept).
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-reject-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use tubepost::{Mailbox, Receiver, Sender};
    ///
    /// let options = Mailbox::<str>::options().domain(&domain);
    /// options.create("jobs")?;
    /// options.create("dead")?;
    /// let worker = Receiver::<str>::options().domain(&domain).dead_letter("dead").open("jobs")?;
    /// Sender::<str>::options().domain(&domain).open("jobs")?.send("resize 7.txt")?;
    ///
    /// worker.take()?.reject()?; // no picture
    /// assert!(worker.is_empty());
    /// assert_eq!(domain.stat("jobs")?.dead_letters, 1);
    /// assert_eq!(Receiver::<str>::options().domain(&domain).open("dead")?.recv()?, "resize 7.txt");
    /// # domain.remove("jobs")?;
    /// # domain.remove("dead")?;
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reject(mut self) -> Result<(), Error> {
        let Some(mut hand) = self.hand.take() else { return Ok(()) };
        if M::ANSWER.is_some() {
            hand = self.inlet.tell_unanswered(hand, self.address)?;
        }
        self.inlet.reject(hand)
    }

    /// Its place in the order of the mailbox; it never repeats.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Who sent it.
    pub fn sender(&self) -> &Peer {
        self.sender.get_or_init(|| {
            Box::new(match self.hand {
                Some(hand) => self.inlet.sender_of(hand),
                None => Peer { pid: 0, name: String::new() },
            })
        })
    }

    /// The descriptors that came with it ([`Sender::send_with`](crate::Sender::send_with)). They are yours; a message that is given back after that comes
    /// again without them.
    pub fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        self.hand.map_or_else(Vec::new, |hand| self.inlet.take_descriptors(hand))
    }

    /// How often it was delivered before; 255 stands for that and more.
    pub fn redelivered(&self) -> u32 {
        self.redelivered
    }
}

impl<M: Message + ?Sized> Deref for Delivery<M> {
    type Target = M::Held;

    #[inline]
    fn deref(&self) -> &M::Held {
        match &self.message {
            Body::InPlace(message) => message,
            Body::Copied(message) => M::held(message),
        }
    }
}

impl<M: Message + ?Sized> Drop for Delivery<M> {
    #[inline]
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
            .field("sender", self.sender())
            .field("redelivered", &self.redelivered)
            .finish()
    }
}

/// Takes it in hand.
pub(crate) struct ToHold<'a, M: ?Sized>(pub(crate) &'a Arc<Inlet>, pub(crate) PhantomData<fn() -> Box<M>>);

impl<M: Message + ?Sized> With for ToHold<'_, M> {
    type Result = Delivery<M>;
    const HOLDS: bool = true;

    #[inline(always)]
    fn message<A: Arrival>(&mut self, mut taken: A) -> Result<Delivery<M>, Refusal> {
        if !taken.claim() {
            return Err(Refusal::Waiting);
        }
        let address = if M::ANSWER.is_some() { taken.address() } else { Address::NOBODY };
        if M::ANSWER.is_some() {
            taken.fetch_for_answer(address);
        }
        let (seq, redelivered) = (taken.position(), taken.redelivered());
        let seen = if M::VIEWED && taken.is_in_place() { taken.in_place(M::view) } else { None };
        let in_place = seen.is_some();
        let message = match seen {
            Some(seen) => seen.map(Body::InPlace),
            None => M::receive_boxed(taken.payload()).map(Body::Copied),
        };
        let message = match message {
            Ok(message) => message,
            Err(unfit) => return Err(taken.unfit(unfit)),
        };
        // What stays in this hand has its sender's name with it. (To find out costs more than all the rest.)
        let sender = OnceLock::new();
        if !in_place && taken.may_be_lost() {
            let _ = sender.set(Box::new(taken.sender()));
        }
        let hand = Some(taken.hold(in_place)?);
        Ok(Delivery {
            inlet: Arc::clone(self.0),
            hand,
            address,
            message,
            seq,
            sender,
            redelivered,
            _of: PhantomData,
        })
    }
}

impl<M: Message + ?Sized> Receiver<M> {
    /// Takes the next message in hand, waiting for it as long as it takes.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Self::recv).
    #[inline]
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
