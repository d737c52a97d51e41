//! The receiving end.

use crate::domain::Domain;
use crate::domain::member::Peer;
use crate::domain::name::Name;
use crate::domain::segment::Id;
use crate::domain::stat::Stat;
use crate::error::{Closed, Error, RecvError, RecvTimeoutError, TryRecvError};
use crate::handling::Handling;
use crate::mailbox::Common;
use crate::memory::payload::{Payload, Unfit};
use crate::message::{Buffer, Message};
use crate::strategy::{Arrival, Inlet, Refusal, With};
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Receives from a mailbox: one that this process owns ([`Options::own`](crate::Options::own)), or,
/// as one of any number of receivers, one that the system owns ([`open`](Self::open)).
///
/// It can't send. It may be shared by threads, and cloned. When the last clone of an owner's goes, or
/// the process ends in whatever way, the mailbox is closed and its name is free. Where
/// receivers compete, each message goes to exactly one of them, in one order; what a
/// process had received only in part when it died goes to another, marked.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-receiver-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// use std::time::Duration;
/// use tubepost::{Mailbox, RecvTimeoutError, Sender};
///
/// let inbox = Mailbox::<u64>::options().domain(&domain).own("numbers")?;
/// let out = Sender::<u64>::options().domain(&domain).open("numbers")?;
/// for number in 1..=3 {
///     out.send(number)?;
/// }
/// assert_eq!(inbox.try_iter().sum::<u64>(), 6);
/// assert_eq!(inbox.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
///
/// out.send(4)?;
/// assert_eq!(inbox.close()?.uncollected, 1);
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Receiver<M: Message + ?Sized> {
    inlet: Arc<Inlet>,
    _of: PhantomData<fn() -> Box<M>>,
}

impl<M: Message + ?Sized> Clone for Receiver<M> {
    fn clone(&self) -> Self {
        Receiver { inlet: Arc::clone(&self.inlet), _of: PhantomData }
    }
}

/// The choices before a mailbox that the system owns is opened for receiving.
///
/// ```
/// let options = tubepost::Receiver::<[u8]>::options().format("jobs/v2").member("worker-3");
/// ```
#[must_use]
#[derive(Debug)]
pub struct ReceiverOptions<M: Message + ?Sized> {
    pub(crate) common: Common,
    pub(crate) handling: Handling,
    _of: PhantomData<fn() -> Box<M>>,
}

impl<M: Message + ?Sized> Clone for ReceiverOptions<M> {
    fn clone(&self) -> Self {
        ReceiverOptions { common: self.common.clone(), handling: self.handling.clone(), _of: PhantomData }
    }
}

impl<M: Message + ?Sized> ReceiverOptions<M> {
    /// What variable-length messages are, in the words that the creator used.
    pub fn format(mut self, label: impl Into<String>) -> Self {
        self.common.label = Some(label.into());
        self
    }

    /// Where the name lives; by default in [`Domain::open_default`].
    pub fn domain(mut self, domain: &Domain) -> Self {
        self.common.domain = Some(domain.clone());
        self
    }

    /// What this process is called in listings, at most 64 bytes; by default as the program is.
    pub fn member(mut self, name: impl Into<String>) -> Self {
        self.common.member = Some(name.into());
        self
    }

    /// How long a blocking call polls before it sleeps: 30 µs by default.
    pub fn spin(mut self, spin: Duration) -> Self {
        self.common.spin = spin;
        self
    }

    /// Opens the mailbox with this name, which the system owns.
    ///
    /// # Errors
    ///
    /// [`Error::Owned`] if a process owns it, and which; [`Error::Denied`] if its mode does not let us
    /// receive; [`Error::BadOption`], [`Error::NoSuchName`] or [`Error::WrongFormat`] for dead letters that can't be; else as for
    /// [`SenderOptions::open`](crate::SenderOptions::open).
    pub fn open(&self, name: &str) -> Result<Receiver<M>, Error> {
        let name = Name::new(name)?;
        let format = self.common.format::<M>()?;
        let domain = self.common.domain()?;
        let wish = self.common.wish(&domain, &name, &format)?;
        let inlet = Inlet::open(&wish, |longest| self.handling.rules(&wish, longest))?;
        Ok(Receiver::new(inlet))
    }
}

/// A message with what is known about it.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-envelope-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// let inbox = tubepost::Mailbox::<u64>::options().domain(&domain).own("numbers")?;
/// let out = tubepost::Sender::<u64>::options().domain(&domain).open("numbers")?;
/// out.send(7)?;
/// let envelope = inbox.recv_envelope()?;
/// println!("{} from process {}", envelope.message, envelope.sender.pid);
/// assert_eq!((envelope.seq, envelope.redelivered), (0, 0));
/// # drop(inbox);
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Envelope<M: Message + ?Sized> {
    /// The message.
    pub message: M::Received,
    /// Its place in the order of the mailbox; it never repeats, and skips where a sender died.
    pub seq: u64,
    /// Who sent it.
    pub sender: Peer,
    /// How often it was delivered before.
    pub redelivered: u32,
    /// The descriptors that came with it ([`Sender::send_with`](crate::Sender::send_with)): open files, sockets, memory. They are yours.
    pub descriptors: Vec<OwnedFd>,
}

impl<M: Message + ?Sized> std::fmt::Debug for Envelope<M>
where
    M::Received: std::fmt::Debug,
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Envelope")
            .field("message", &self.message)
            .field("seq", &self.seq)
            .field("sender", &self.sender)
            .field("redelivered", &self.redelivered)
            .finish()
    }
}

/// Makes a message of what was taken.
pub(crate) struct ByValue<M: ?Sized>(pub(crate) PhantomData<fn() -> Box<M>>);

impl<M: Message + ?Sized> With for ByValue<M> {
    type Result = M::Received;

    #[inline(always)]
    fn message<A: Arrival>(&mut self, mut taken: A) -> Result<M::Received, Refusal> {
        if !taken.claim() {
            return Err(Refusal::Waiting);
        }
        match M::receive(taken.payload()) {
            Ok(message) => {
                if M::ANSWER.is_some() {
                    taken.leave_unanswered();
                }
                taken.consume();
                Ok(message)
            }
            Err(unfit) => Err(taken.unfit(unfit)),
        }
    }
}

/// The same, with what is known about it.
pub(crate) struct InEnvelope<M: ?Sized>(pub(crate) PhantomData<fn() -> Box<M>>);

impl<M: Message + ?Sized> With for InEnvelope<M> {
    type Result = Envelope<M>;

    fn message<A: Arrival>(&mut self, mut taken: A) -> Result<Envelope<M>, Refusal> {
        let (seq, sender, redelivered) = (taken.position(), taken.sender(), taken.redelivered());
        let descriptors = taken.take_descriptors();
        let message = ByValue::<M>(PhantomData).message(taken)?;
        Ok(Envelope { message, seq, sender, redelivered, descriptors })
    }
}

/// Copies it into a buffer.
pub(crate) struct IntoBuffer<'a, M: ?Sized, B: ?Sized>(
    pub(crate) &'a mut B,
    pub(crate) PhantomData<fn() -> Box<M>>,
);

impl<M: Message + ?Sized, B: Buffer<M> + ?Sized> With for IntoBuffer<'_, M, B> {
    type Result = usize;

    #[inline(always)]
    fn message<A: Arrival>(&mut self, mut taken: A) -> Result<usize, Refusal> {
        let (length, room) = (taken.payload().len(), self.0.room());
        if length > room {
            return Err(taken.unfit(Unfit::TooShort { length, room }));
        }
        if !taken.claim() {
            return Err(Refusal::Waiting);
        }
        match self.0.fill_from(taken.payload()) {
            Ok(length) => {
                taken.consume();
                Ok(length)
            }
            Err(unfit) => Err(taken.unfit(unfit)),
        }
    }
}

#[inline(always)]
pub(crate) fn blocking<R>(done: Result<R, Refusal>) -> Result<R, RecvError> {
    done.map_err(|refusal| match refusal {
        Refusal::Closed(closed) => RecvError::Closed(closed),
        Refusal::Failed(error) => RecvError::Failed(*error),
        Refusal::Waiting => unreachable!("a wait without a deadline does not end early"),
    })
}

pub(crate) fn trying<R>(done: Result<R, Refusal>) -> Result<R, TryRecvError> {
    done.map_err(|refusal| match refusal {
        Refusal::Waiting => TryRecvError::Empty,
        Refusal::Closed(closed) => TryRecvError::Closed(closed),
        Refusal::Failed(error) => TryRecvError::Failed(*error),
    })
}

pub(crate) fn limited<R>(done: Result<R, Refusal>) -> Result<R, RecvTimeoutError> {
    done.map_err(|refusal| match refusal {
        Refusal::Waiting => RecvTimeoutError::Timeout,
        Refusal::Closed(closed) => RecvTimeoutError::Closed(closed),
        Refusal::Failed(error) => RecvTimeoutError::Failed(*error),
    })
}

/// A time too far away to be told is no limit.
pub(crate) fn after(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

impl<M: Message + ?Sized> Receiver<M> {
    pub(crate) fn new(inlet: Inlet) -> Self {
        Self::of(Arc::new(inlet))
    }

    pub(crate) fn of(inlet: Arc<Inlet>) -> Self {
        Receiver { inlet, _of: PhantomData }
    }

    pub(crate) fn inlet(&self) -> &Arc<Inlet> {
        &self.inlet
    }

    /// Opens a mailbox that the system owns, of the default domain; [`options`](Self::options) for
    /// everything else.
    ///
    /// # Errors
    ///
    /// As for [`ReceiverOptions::open`].
    ///
    /// ```
    /// match tubepost::Receiver::<u64>::open("nobody-created-this") {
    ///     Err(tubepost::Error::NoSuchName { .. }) => {}
    ///     other => panic!("{other:?}"),
    /// }
    /// ```
    pub fn open(name: &str) -> Result<Receiver<M>, Error> {
        Self::options().open(name)
    }

    /// The choices before a mailbox that the system owns is opened.
    pub fn options() -> ReceiverOptions<M> {
        ReceiverOptions { common: Common::default(), handling: Handling::default(), _of: PhantomData }
    }

    /// Receives the next message, waiting for it as long as it takes.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`] after [`close`](Self::close).
    #[inline]
    pub fn recv(&self) -> Result<M::Received, RecvError> {
        blocking(self.inlet.recv(None, ByValue::<M>(PhantomData)))
    }

    /// Receives the next message if there is one now.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if there is none; [`TryRecvError::Closed`] after
    /// [`close`](Self::close).
    #[inline]
    pub fn try_recv(&self) -> Result<M::Received, TryRecvError> {
        trying(self.inlet.try_recv(ByValue::<M>(PhantomData)))
    }

    /// Receives the next message, waiting for it for at most so long.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] if none came; [`RecvTimeoutError::Closed`] after
    /// [`close`](Self::close).
    #[inline]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<M::Received, RecvTimeoutError> {
        limited(self.inlet.recv(after(timeout), ByValue::<M>(PhantomData)))
    }

    /// Receives the next message, waiting for it until then at most.
    ///
    /// # Errors
    ///
    /// As for [`recv_timeout`](Self::recv_timeout).
    #[inline]
    pub fn recv_deadline(&self, deadline: Instant) -> Result<M::Received, RecvTimeoutError> {
        limited(self.inlet.recv(Some(deadline), ByValue::<M>(PhantomData)))
    }

    /// Receives into a buffer of the caller's own: a value for plain types; a slice or a
    /// `Vec` for bytes; a `String` for text. Gives the message's length in bytes.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Self::recv); [`Error::TooLong`] if it does not fit: it stays. (Where receivers
    /// compete it counts as delivered.)
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-into-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// let inbox = tubepost::Mailbox::<[u8]>::options().domain(&domain).own("bytes")?;
    /// let out = tubepost::Sender::<[u8]>::options().domain(&domain).open("bytes")?;
    /// out.send(b"seven by seven")?;
    /// let mut buffer = [0; 64];
    /// let length = inbox.recv_into(&mut buffer)?;
    /// assert_eq!(&buffer[..length], b"seven by seven");
    /// # drop(inbox);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn recv_into<B: Buffer<M> + ?Sized>(&self, buffer: &mut B) -> Result<usize, RecvError> {
        blocking(self.inlet.recv(None, IntoBuffer::<M, B>(buffer, PhantomData)))
    }

    /// [`recv_into`](Self::recv_into) that does not wait.
    ///
    /// # Errors
    ///
    /// As for [`try_recv`](Self::try_recv); [`Error::TooLong`] if it does not fit: it stays.
    #[inline]
    pub fn try_recv_into<B: Buffer<M> + ?Sized>(&self, buffer: &mut B) -> Result<usize, TryRecvError> {
        trying(self.inlet.try_recv(IntoBuffer::<M, B>(buffer, PhantomData)))
    }

    /// [`recv_into`](Self::recv_into) that waits for at most so long.
    ///
    /// # Errors
    ///
    /// As for [`recv_timeout`](Self::recv_timeout); [`Error::TooLong`] if it does not fit: it
    /// stays.
    #[inline]
    pub fn recv_into_timeout<B: Buffer<M> + ?Sized>(
        &self,
        buffer: &mut B,
        timeout: Duration,
    ) -> Result<usize, RecvTimeoutError> {
        limited(self.inlet.recv(after(timeout), IntoBuffer::<M, B>(buffer, PhantomData)))
    }

    /// [`recv_into`](Self::recv_into) that waits until then at most.
    ///
    /// # Errors
    ///
    /// As for [`recv_into_timeout`](Self::recv_into_timeout).
    #[inline]
    pub fn recv_into_deadline<B: Buffer<M> + ?Sized>(
        &self,
        buffer: &mut B,
        deadline: Instant,
    ) -> Result<usize, RecvTimeoutError> {
        limited(self.inlet.recv(Some(deadline), IntoBuffer::<M, B>(buffer, PhantomData)))
    }

    /// Receives the next message and who sent it.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Self::recv).
    pub fn recv_envelope(&self) -> Result<Envelope<M>, RecvError> {
        blocking(self.inlet.recv(None, InEnvelope::<M>(PhantomData)))
    }

    /// [`recv_envelope`](Self::recv_envelope) that does not wait.
    ///
    /// # Errors
    ///
    /// As for [`try_recv`](Self::try_recv).
    pub fn try_recv_envelope(&self) -> Result<Envelope<M>, TryRecvError> {
        trying(self.inlet.try_recv(InEnvelope::<M>(PhantomData)))
    }

    /// [`recv_envelope`](Self::recv_envelope) that waits for at most so long.
    ///
    /// # Errors
    ///
    /// As for [`recv_timeout`](Self::recv_timeout).
    pub fn recv_envelope_timeout(&self, timeout: Duration) -> Result<Envelope<M>, RecvTimeoutError> {
        limited(self.inlet.recv(after(timeout), InEnvelope::<M>(PhantomData)))
    }

    /// [`recv_envelope`](Self::recv_envelope) that waits until then at most.
    ///
    /// # Errors
    ///
    /// As for [`recv_timeout`](Self::recv_timeout).
    pub fn recv_envelope_deadline(&self, deadline: Instant) -> Result<Envelope<M>, RecvTimeoutError> {
        limited(self.inlet.recv(Some(deadline), InEnvelope::<M>(PhantomData)))
    }

    /// Receives until the mailbox is closed.
    pub fn iter(&self) -> Iter<'_, M> {
        Iter { receiver: self }
    }

    /// Receives what there is now.
    pub fn try_iter(&self) -> TryIter<'_, M> {
        TryIter { receiver: self }
    }

    /// Ends a mailbox that this process owns for all its users, and says how many messages were never
    /// collected. One that the system owns stays, with what is in it: only this receiver and its clones end
    /// (see [`Domain::remove`]).
    ///
    /// # Errors
    ///
    /// [`Error::Forked`] in a forked child.
    pub fn close(&self) -> Result<Closed, Error> {
        self.inlet.close()
    }

    /// How many messages wait. Takes time in proportion to that number.
    pub fn len(&self) -> usize {
        self.inlet.length() as usize
    }

    /// How many messages can wait; nothing if that has no limit.
    pub fn capacity(&self) -> Option<usize> {
        self.inlet.segment().geometry.capacity().map(|capacity| capacity as usize)
    }

    /// Whether no message waits.
    pub fn is_empty(&self) -> bool {
        self.inlet.length() == 0
    }

    /// Whether all places are taken; never, if the capacity has no limit.
    pub fn is_full(&self) -> bool {
        self.inlet.is_full()
    }

    /// The mailbox's id, never used again.
    pub fn id(&self) -> Id {
        self.inlet.id()
    }

    /// The mailbox's name.
    pub fn name(&self) -> &str {
        self.inlet.segment().name.as_str()
    }

    /// Everything there is to know about the mailbox now.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`] in a forked child.
    pub fn stat(&self) -> Result<Stat, Error> {
        self.inlet.stat()
    }
}

/// See [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, M: Message + ?Sized> {
    receiver: &'a Receiver<M>,
}

impl<M: Message + ?Sized> Iterator for Iter<'_, M> {
    type Item = M::Received;

    fn next(&mut self) -> Option<M::Received> {
        self.receiver.recv().ok()
    }
}

/// See [`Receiver::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, M: Message + ?Sized> {
    receiver: &'a Receiver<M>,
}

impl<M: Message + ?Sized> Iterator for TryIter<'_, M> {
    type Item = M::Received;

    fn next(&mut self) -> Option<M::Received> {
        self.receiver.try_recv().ok()
    }
}

/// A receiver that is iterated over by value.
#[derive(Debug)]
pub struct IntoIter<M: Message + ?Sized> {
    receiver: Receiver<M>,
}

impl<M: Message + ?Sized> Iterator for IntoIter<M> {
    type Item = M::Received;

    fn next(&mut self) -> Option<M::Received> {
        self.receiver.recv().ok()
    }
}

impl<'a, M: Message + ?Sized> IntoIterator for &'a Receiver<M> {
    type Item = M::Received;
    type IntoIter = Iter<'a, M>;

    fn into_iter(self) -> Iter<'a, M> {
        self.iter()
    }
}

impl<M: Message + ?Sized> IntoIterator for Receiver<M> {
    type Item = M::Received;
    type IntoIter = IntoIter<M>;

    fn into_iter(self) -> IntoIter<M> {
        IntoIter { receiver: self }
    }
}
