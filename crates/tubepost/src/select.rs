//! Waiting for several mailboxes at once.

use crate::message::Message;
use crate::receiver::{Receiver, after};
use crate::sender::Sender;
use crate::strategy::shared::end::End;
use crate::strategy::shared::several::Several;
use std::fmt;
use std::time::{Duration, Instant};

/// Waits until one of several mailboxes is ready: a receiver to receive from, a sender to send by.
///
/// Words and meanings are those of `crossbeam-channel`'s `Select`, as far as they go: *ready* is a hint. Another thread or process may be
/// faster, so try, and wait again if that would have to wait. A mailbox that is closed is ready: the call says so. If several are
/// ready, each has its turn.
///
/// Where the capacity is zero, a receiver is ready when a sender waits in `send`, and a sender when a receiver waits in `recv` or `take`. Who waits
/// here does neither: so two `Select`s, one at each end of such a mailbox, never meet. One of the two has to wait in the call itself, or the
/// mailbox to have a capacity.
///
/// Tasks have `select!` instead, over [`recv_async`](Receiver::recv_async) and its kin.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-select-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// use tubepost::{Mailbox, Select, Sender};
///
/// let readings = Mailbox::<u64>::options().domain(&domain).own("readings")?;
/// let orders = Mailbox::<str>::options().domain(&domain).own("orders")?;
/// Sender::<str>::options().domain(&domain).open("orders")?.send("stop")?;
///
/// let mut select = Select::new();
/// let reading = select.recv(&readings);
/// let order = select.recv(&orders);
/// loop {
///     match select.ready() {
///         it if it == reading => println!("{:?}", readings.try_recv()),
///         it if it == order => break assert_eq!(orders.try_recv()?, "stop"),
///         _ => unreachable!(),
///     }
/// }
/// # drop((readings, orders));
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Select<'a> {
    several: Several<'a>,
}

/// What [`Select::try_ready`] says when none is ready.
///
/// ```
/// assert_eq!(tubepost::Select::new().try_ready(), Err(tubepost::TryReadyError));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TryReadyError;

/// What [`Select::ready_timeout`] says when none was ready in time.
///
/// ```
/// use std::time::Duration;
/// let mut none = tubepost::Select::new();
/// assert_eq!(none.ready_timeout(Duration::from_millis(1)), Err(tubepost::ReadyTimeoutError));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReadyTimeoutError;

impl fmt::Display for TryReadyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("none of the mailboxes is ready now")
    }
}

impl fmt::Display for ReadyTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("none of the mailboxes was ready in time")
    }
}

impl std::error::Error for TryReadyError {}
impl std::error::Error for ReadyTimeoutError {}

impl<'a> Select<'a> {
    /// Waits for nothing yet.
    ///
    /// ```
    /// let select = tubepost::Select::new();
    /// ```
    pub fn new() -> Select<'a> {
        Select::default()
    }

    /// Waits for messages there, too. Gives the number by which this receiver is told to be ready: 0 for the first handle, and so on.
    pub fn recv<M: Message + ?Sized>(&mut self, receiver: &'a Receiver<M>) -> usize {
        self.several.add(End::inlet(receiver.inlet()))
    }

    /// Waits for room there, too. Gives the number by which this sender is told to be ready.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-select-send-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// # use tubepost::{Mailbox, Select, Sender, TryReadyError};
    /// let inbox = Mailbox::<u64>::options().domain(&domain).bounded(1).own("numbers")?;
    /// let out = Sender::<u64>::options().domain(&domain).open("numbers")?;
    /// let mut select = Select::new();
    /// let room = select.send(&out);
    /// assert_eq!(select.ready(), room);
    /// out.send(7)?;
    /// assert_eq!(select.try_ready(), Err(TryReadyError));
    /// # drop((out, inbox));
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send<M: Message + ?Sized>(&mut self, sender: &'a Sender<M>) -> usize {
        self.several.add(End::outlet(sender.outlet()))
    }

    /// Waits no more for the handle of this number. The others keep theirs.
    ///
    /// # Panics
    ///
    /// If there is none of this number.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-select-remove-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// # use tubepost::{Mailbox, Select, Sender, TryReadyError};
    /// let inbox = Mailbox::<u64>::options().domain(&domain).own("numbers")?;
    /// Sender::<u64>::options().domain(&domain).open("numbers")?.send(7)?;
    /// let mut select = Select::new();
    /// let it = select.recv(&inbox);
    /// assert_eq!(select.try_ready(), Ok(it));
    /// select.remove(it);
    /// assert_eq!(select.try_ready(), Err(TryReadyError));
    /// # drop(inbox);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove(&mut self, index: usize) {
        assert!(
            self.several.remove(index),
            "no handle of a `Select` has the number {index}, or not any more"
        );
    }

    /// The number of a handle that is ready now.
    ///
    /// # Errors
    ///
    /// [`TryReadyError`] if none is.
    pub fn try_ready(&mut self) -> Result<usize, TryReadyError> {
        self.several.ready_now().ok_or(TryReadyError)
    }

    /// The number of a handle that is ready, waiting for one as long as it takes.
    ///
    /// # Panics
    ///
    /// If there is no handle to wait for.
    pub fn ready(&mut self) -> usize {
        assert!(
            !self.several.is_empty(),
            "a `Select` without a handle would wait for ever; add one by `recv` or `send`"
        );
        loop {
            if let Some(number) = self.several.ready(None) {
                return number;
            }
        }
    }

    /// The number of a handle that is ready, waiting for one for at most so long.
    ///
    /// # Errors
    ///
    /// [`ReadyTimeoutError`] if none was.
    pub fn ready_timeout(&mut self, timeout: Duration) -> Result<usize, ReadyTimeoutError> {
        self.ready_until(after(timeout))
    }

    /// The number of a handle that is ready, waiting for one until then at most.
    ///
    /// # Errors
    ///
    /// [`ReadyTimeoutError`] if none was.
    pub fn ready_deadline(&mut self, deadline: Instant) -> Result<usize, ReadyTimeoutError> {
        self.ready_until(Some(deadline))
    }

    fn ready_until(&mut self, deadline: Option<Instant>) -> Result<usize, ReadyTimeoutError> {
        loop {
            if let Some(number) = self.several.ready(deadline) {
                return Ok(number);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(ReadyTimeoutError);
            }
        }
    }
}
