//! Receiving from anybody: from all processes that have a link with this one.
//!
//! A list says in which links there may be something; they take turns. A link that was found empty is *armed*: for the next message in
//! it its sender sends a note (`process`), and is in the list again. So a wait costs what is ready, however many
//! links there are. Of the kernel strategy nobody but this process's watch thread sends that note, when the link's descriptor
//! is readable: the sender shares no memory with anybody for that.
//!
//! **Nothing is missed.** Whoever finds a link empty takes it off the list, arms it, and looks once more. That a
//! sender died is told by a note too, by this process to itself; who died before it was watched may have left
//! something, so it is looked once more when that was asked. Where that can't be told, a sender that was killed
//! between its message and its note is missed until the next look at all links: once a second, while somebody waits.

use crate::companion::Companion;
use crate::delivery::Delivery;
use crate::doorbell::Doorbell;
use crate::error::{Closed, Error, RecvError, RecvTimeoutError, TryRecvError};
use crate::format::Format;
use crate::message::Message;
use crate::process::{Joined, Process};
use crate::receiver::{Envelope, Receiver, after};
use crate::sync::wait::SLICE;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::atomic::Ordering::{AcqRel, SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

/// So many notes are read before links are looked at.
const NOTES: u32 = 4096;

/// Receives from all processes that have a link with this one, or will have: see [`Process::inbox`].
///
/// An [`Envelope`] says who sent its message. Links take turns; each process's messages come in its order. What is received
/// here is what [`Link::recv`](crate::Link::recv) would receive: use one or the other for a link. A process has one inbox; all clones
/// of it are one. A link whose messages are of another format gives an error, once, and is left alone.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-inbox-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// use tubepost::Process;
///
/// let alice = Process::options().domain(&domain).join("alice")?;
/// let inbox = alice.inbox::<str>()?;
///
/// let bob = Process::options().domain(&domain).join("bob")?; // as a rule in another process
/// bob.link::<str>("alice")?.send("good morning")?;
///
/// let envelope = inbox.recv()?;
/// assert_eq!((envelope.sender.name.as_str(), envelope.message.as_str()), ("bob", "good morning"));
/// # drop((alice, bob, inbox));
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Inbox<M: Message + ?Sized> {
    list: Arc<List>,
    _of: PhantomData<fn() -> Box<M>>,
}

impl<M: Message + ?Sized> Clone for Inbox<M> {
    fn clone(&self) -> Self {
        Inbox { list: Arc::clone(&self.list), _of: PhantomData }
    }
}

/// In which links there may be something.
#[derive(Debug)]
struct List {
    joined: Arc<Joined>,
    /// Nothing: any, of messages that have lengths of their own.
    format: Option<Format>,
    ready: Mutex<VecDeque<Ready>>,
    looked: Mutex<Instant>,
}

impl Drop for List {
    fn drop(&mut self) {
        // Another inbox finds them when it next looks at all.
        self.ready().iter().for_each(|ready| ready.companion.listed.store(false, SeqCst));
        self.joined.inboxes.fetch_sub(1, AcqRel);
    }
}

/// A link in the list.
#[derive(Clone, Debug)]
struct Ready {
    companion: Arc<Companion>,
    /// Its messages are of the right format.
    fits: bool,
}

impl List {
    fn ready(&self) -> MutexGuard<'_, VecDeque<Ready>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a link on the list, if it is not there.
    fn put(&self, companion: &Arc<Companion>, fits: bool) {
        if companion.back.get().is_some() && !companion.listed.swap(true, SeqCst) {
            self.ready().push_back(Ready { companion: Arc::clone(companion), fits });
        }
    }

    /// Puts all links on the list, those too that were set up unnoticed.
    fn put_all(&self) {
        self.joined.discover();
        let companions: Vec<_> = self.joined.companions().values().cloned().collect();
        companions.iter().for_each(|companion| self.put(companion, false));
    }

    /// Puts all on the list if that was not done for a while.
    fn put_all_again(&self) {
        let due = {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            let due = looked.elapsed() >= SLICE;
            if due {
                *looked = Instant::now();
            }
            due
        };
        if due {
            self.put_all();
        }
    }

    /// Puts on the list what notes speak of.
    fn read_notes(&self) -> Result<(), TryRecvError> {
        // Not for ever, whatever others write there.
        for _ in 0..NOTES {
            match self.joined.notes.try_recv() {
                Ok(note) => self.noted(note),
                Err(TryRecvError::Empty) => return Ok(()),
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    fn noted(&self, note: u64) {
        if let Some(companion) = self.joined.noted(note) {
            self.put(&companion, false);
        }
    }

    /// Whether the messages of a link are what is wanted.
    fn agree(&self, ready: &Ready) -> Result<(), Error> {
        let Some(inlet) = ready.companion.back.get().filter(|_| !ready.fits) else { return Ok(()) };
        let segment = inlet.segment();
        let text = String::from_utf8_lossy(&segment.format()).into_owned();
        let name = || segment.name.to_string();
        let theirs = Format::decode(segment.geometry.choice.variable, &text)
            .map_err(|what| Error::Damaged { name: name(), what })?;
        let right = self.format.as_ref().map_or(theirs.is_variable(), |ours| theirs == *ours);
        if right {
            return Ok(());
        }
        let ours = self.format.as_ref().map_or("bytes of any label".into(), Format::to_string);
        Err(Error::WrongFormat { name: name(), theirs: theirs.to_string(), ours })
    }

    /// Tries one link after the other until there is something in one.
    fn next<M: Message + ?Sized, T>(
        &self,
        attempt: impl Fn(&Receiver<M>) -> Result<T, TryRecvError>,
    ) -> Result<T, TryRecvError> {
        self.joined.ours().map_err(TryRecvError::Failed)?;
        loop {
            let Some(ready) = self.ready().pop_front() else {
                self.read_notes()?;
                if self.ready().is_empty() {
                    return Err(TryRecvError::Empty);
                }
                continue;
            };
            let Some(inlet) = ready.companion.back.get() else { continue };
            if let Err(error) = self.agree(&ready) {
                return Err(TryRecvError::Failed(error)); // it stays marked as listed: it is left alone
            }
            let receiver = Receiver::<M>::of(Arc::clone(inlet));
            let mut done = attempt(&receiver);
            if matches!(done, Err(TryRecvError::Empty)) {
                ready.companion.listed.store(false, SeqCst);
                self.joined.hear_of(inlet);
                done = attempt(&receiver);
                if matches!(done, Err(TryRecvError::Empty)) {
                    if inlet.end_if_deserted() {
                        self.joined.forget(&ready.companion);
                    } else {
                        // Of one that died before it was watched nobody tells: this may be the last it sent.
                        done = attempt(&receiver);
                    }
                }
                if done.is_ok() {
                    self.put(&ready.companion, true);
                    return done;
                }
            }
            match done {
                Ok(done) => {
                    self.ready().push_back(Ready { companion: ready.companion, fits: true });
                    return Ok(done);
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Closed(_)) => self.joined.forget(&ready.companion),
                Err(failed) => {
                    self.put(&ready.companion, true);
                    return Err(failed);
                }
            }
        }
    }

    /// The same, waiting until the deadline.
    fn wait<M: Message + ?Sized, T>(
        &self,
        deadline: Option<Instant>,
        attempt: impl Fn(&Receiver<M>) -> Result<T, TryRecvError>,
    ) -> Result<T, RecvTimeoutError> {
        loop {
            match self.next(&attempt) {
                Ok(done) => return Ok(done),
                Err(TryRecvError::Closed(closed)) => return Err(RecvTimeoutError::Closed(closed)),
                Err(TryRecvError::Failed(error)) => return Err(RecvTimeoutError::Failed(error)),
                Err(TryRecvError::Empty) => {}
            }
            let now = Instant::now();
            if deadline.is_some_and(|end| end <= now) {
                return Err(RecvTimeoutError::Timeout); // also where notes come without end
            }
            let slice = now + SLICE;
            match self.joined.notes.recv_deadline(deadline.map_or(slice, |deadline| deadline.min(slice))) {
                Ok(note) => self.noted(note),
                Err(RecvTimeoutError::Timeout) => self.put_all_again(),
                Err(other) => return Err(other),
            }
        }
    }
}

fn endless<T>(done: Result<T, RecvTimeoutError>) -> Result<T, RecvError> {
    done.map_err(|error| match error {
        RecvTimeoutError::Closed(closed) => RecvError::Closed(closed),
        RecvTimeoutError::Failed(error) => RecvError::Failed(error),
        RecvTimeoutError::Timeout => unreachable!("a wait without a deadline does not end early"),
    })
}

impl<M: Message + ?Sized> Inbox<M> {
    pub(crate) fn new(process: &Process, label: Option<&str>) -> Result<Self, Error> {
        process.joined.ours()?;
        let format = M::format(label).map_err(|allowed| Error::BadOption {
            what: "the format",
            given: format!("{:?}", label.unwrap_or_default()),
            allowed,
        })?;
        let list = List {
            joined: Arc::clone(&process.joined),
            format: (!M::OPAQUE).then_some(format),
            ready: Mutex::default(),
            looked: Mutex::new(Instant::now()),
        };
        list.joined.inboxes.fetch_add(1, AcqRel);
        list.joined.hear_of_newcomers();
        list.joined.discover();
        // Those too that an inbox before left alone, being of another format, or lost when it was dropped.
        list.joined.companions().values().for_each(|companion| companion.listed.store(false, SeqCst));
        list.put_all();
        Ok(Inbox { list: Arc::new(list), _of: PhantomData })
    }

    /// The inbox of this process, for messages with this label; see [`Options::format`](crate::Options::format).
    ///
    /// # Errors
    ///
    /// [`Error::BadOption`] if messages of this type have no label.
    pub fn labelled(process: &Process, label: &str) -> Result<Self, Error> {
        Self::new(process, Some(label))
    }

    /// Waits for a message from anybody.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`] when this process has left; [`RecvError::Failed`] with [`Error::WrongFormat`], once for each link of another
    /// format, and as for [`Receiver::recv`].
    pub fn recv(&self) -> Result<Envelope<M>, RecvError> {
        endless(self.list.wait(None, Receiver::<M>::try_recv_envelope))
    }

    /// A message from anybody, if there is one now.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if not; as for [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<Envelope<M>, TryRecvError> {
        self.list.next(Receiver::<M>::try_recv_envelope)
    }

    /// Waits for a message from anybody, at most for so long.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`]; as for [`recv`](Self::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Envelope<M>, RecvTimeoutError> {
        self.list.wait(after(timeout), Receiver::<M>::try_recv_envelope)
    }

    /// Waits for a message from anybody, at most until then.
    ///
    /// # Errors
    ///
    /// As for [`recv_timeout`](Self::recv_timeout).
    pub fn recv_deadline(&self, deadline: Instant) -> Result<Envelope<M>, RecvTimeoutError> {
        self.list.wait(Some(deadline), Receiver::<M>::try_recv_envelope)
    }

    /// Waits for a message from anybody and takes it in hand; see [`Receiver::take`].
    ///
    /// # Errors
    ///
    /// As for [`recv`](Self::recv).
    pub fn take(&self) -> Result<Delivery<M>, RecvError> {
        endless(self.list.wait(None, Receiver::<M>::try_take))
    }

    /// The same, if there is one now.
    ///
    /// # Errors
    ///
    /// As for [`try_recv`](Self::try_recv).
    pub fn try_take(&self) -> Result<Delivery<M>, TryRecvError> {
        self.list.next(Receiver::<M>::try_take)
    }

    /// The same, at most for so long.
    ///
    /// # Errors
    ///
    /// As for [`recv_timeout`](Self::recv_timeout).
    pub fn take_timeout(&self, timeout: Duration) -> Result<Delivery<M>, RecvTimeoutError> {
        self.list.wait(after(timeout), Receiver::<M>::try_take)
    }

    /// [`recv`](Self::recv) for a task. Dropped before it is done, it has taken nothing.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Self::recv) and [`Receiver::recv_async`].
    pub async fn recv_async(&self) -> Result<Envelope<M>, RecvError> {
        self.wait_async(Receiver::<M>::try_recv_envelope).await
    }

    /// [`take`](Self::take) for a task.
    ///
    /// # Errors
    ///
    /// As for [`recv_async`](Self::recv_async).
    pub async fn take_async(&self) -> Result<Delivery<M>, RecvError> {
        self.wait_async(Receiver::<M>::try_take).await
    }

    async fn wait_async<T>(
        &self,
        attempt: impl Fn(&Receiver<M>) -> Result<T, TryRecvError>,
    ) -> Result<T, RecvError> {
        loop {
            match self.list.next(&attempt) {
                Ok(done) => return Ok(done),
                Err(TryRecvError::Closed(closed)) => return Err(RecvError::Closed(closed)),
                Err(TryRecvError::Failed(error)) => return Err(RecvError::Failed(error)),
                Err(TryRecvError::Empty) => {}
            }
            let mut note = pin!(self.list.joined.notes.recv_async());
            // It is polled at least once a second.
            let noted = poll_fn(|context| match note.as_mut().poll(context) {
                Poll::Ready(note) => Poll::Ready(note.map(|note| self.list.noted(note))),
                Poll::Pending => {
                    self.list.put_all_again();
                    if self.list.ready().is_empty() { Poll::Pending } else { Poll::Ready(Ok(())) }
                }
            });
            noted.await?;
        }
    }

    /// A descriptor that is readable when there may be something; see [`Receiver::doorbell`]. Receive until it is empty before you clear
    /// it.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn doorbell(&self) -> Result<Doorbell, Error> {
        self.list.joined.notes.doorbell()
    }

    /// Everything that comes, from anybody, until this process has left.
    pub fn iter(&self) -> impl Iterator<Item = Result<Envelope<M>, Error>> {
        std::iter::from_fn(|| match self.recv() {
            Ok(envelope) => Some(Ok(envelope)),
            Err(RecvError::Closed(Closed { .. })) => None,
            Err(RecvError::Failed(error)) => Some(Err(error)),
        })
    }
}
