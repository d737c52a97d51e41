//! The calls that wait, for tasks, and a descriptor for event loops. What [`tasks`](crate::tasks) says of mailboxes holds here too: dropped is cancelled.

use super::{Reading, Region, Writing};
use crate::domain;
use crate::error::Error;
use crate::holding::Hold;
use crate::holding::tasks::{Change, Copying, Turn};
use crate::memory::data::Data;
use crate::os::fork;
use crate::strategy::shared::door::Lent;
use crate::sync::doors::MESSAGES;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

impl<D: Data + ?Sized> Region<D> {
    /// [`wait_for_change`](Self::wait_for_change) for a task.
    ///
    /// # Errors
    ///
    /// As for [`wait_for_change`](Self::wait_for_change); [`Error::Os`] if it has to wait and there are no descriptors left.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-change-async-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// let counter = tubepost::Region::<u64>::options().domain(&domain).own("counter")?;
    /// # futures_executor::block_on(async {
    /// let seen = counter.version()?;
    /// let edit = async { counter.update(|counter| *counter += 1) }; // in any process
    /// let (news, edited) = futures_util::join!(counter.wait_for_change_async(seen), edit);
    /// assert_eq!((news?, edited?), (seen + 1, seen + 1));
    /// # Ok::<(), tubepost::Error>(())
    /// # })?;
    /// # drop(counter);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), tubepost::Error>(())
    /// ```
    pub async fn wait_for_change_async(&self, since: u64) -> Result<u64, Error> {
        let mut change = Change::after(&self.hold, since);
        poll_fn(|context| change.poll(context)).await
    }

    /// [`read`](Self::read) for a task: [in place](crate::RegionOptions::in_place) it waits while somebody writes, or waits to; else there is nothing to wait for.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read); [`Error::Os`] if it has to wait and there are no descriptors left.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-read-async-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use std::time::Duration;
    ///
    /// let board = tubepost::Region::<[u8]>::options().domain(&domain).size(16).in_place().own("board")?;
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let mut writing = board.write_async().await?;
    /// let late = tokio::time::timeout(Duration::from_millis(1), board.read_async()).await;
    /// assert!(late.is_err(), "somebody writes");
    /// writing[..5].copy_from_slice(b"hello");
    /// writing.commit()?;
    /// assert_eq!(&board.read_async().await?[..5], b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # drop(board);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn read_async(&self) -> Result<Reading<'_, D>, Error> {
        let mut copying = Copying::of(&self.hold);
        poll_fn(|context| copying.poll(context, || self.try_read())).await
    }

    /// [`write`](Self::write) for a task. Dropped before it is done, it gives up its turn. A task that waits has to be polled when it
    /// is woken: who does not come within 10 ms when it is its turn, is passed.
    ///
    /// What it gives holds the region, as any [`Writing`]: a lease goes on while its task waits for something else.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write); [`Error::Os`] if it has to wait and there are no descriptors left.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-write-async-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use std::time::Duration;
    ///
    /// let board = tubepost::Region::<[u8]>::options().domain(&domain).size(16).own("board")?;
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let mut writing = board.write_async().await?;
    /// let late = tokio::time::timeout(Duration::from_millis(1), board.write_async()).await;
    /// assert!(late.is_err(), "it was not its turn");
    /// writing[..5].copy_from_slice(b"hello");
    /// writing.commit()?;
    /// assert_eq!(&board.write_async().await?[..5], b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # drop(board);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn write_async(&self) -> Result<Writing<'_, D>, Error> {
        let mut turn = Turn::at(&self.hold);
        let edits = poll_fn(|context| turn.poll(context)).await?;
        Ok(Writing { edits, _of: PhantomData })
    }

    /// [`update`](Self::update) for a task. Dropped before it is done, it has changed nothing.
    ///
    /// # Errors
    ///
    /// As for [`write_async`](Self::write_async), and [`commit`](Writing::commit).
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-update-async-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// let counter = tubepost::Region::<u64>::options().domain(&domain).own("counter")?;
    /// # futures_executor::block_on(async {
    /// assert_eq!(counter.update_async(|counter| *counter += 1).await?, 2);
    /// # Ok::<(), tubepost::Error>(())
    /// # })?;
    /// assert_eq!(counter.get()?, 1);
    /// # drop(counter);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), tubepost::Error>(())
    /// ```
    pub async fn update_async(&self, edit: impl FnOnce(&mut D)) -> Result<u64, Error> {
        let mut writing = self.write_async().await?;
        edit(&mut writing);
        writing.commit()
    }

    /// A descriptor that is readable when there may be a version after this one.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if there are no descriptors left; [`Error::Forked`] in a forked child.
    pub fn doorbell(&self, since: u64) -> Result<RegionDoorbell, Error> {
        let segment = &self.hold.at.segment;
        if !segment.is_ours() {
            return Err(Error::Forked);
        }
        let lent = self.hold.at.door()?.lend(MESSAGES);
        let epoch =
            fork::epoch().map_err(|errno| domain::failed("to get a page for", &segment.path(), errno))?;
        let bell = RegionDoorbell { lent, hold: Arc::clone(&self.hold), epoch };
        // It may have been rung for one before; and it begins armed.
        bell.clear(since)?;
        Ok(bell)
    }
}

/// A descriptor that is readable when a region may have a new version: for `poll`, `epoll`, mio, tokio's `AsyncFd`. Or when there is something
/// else to be told: that it is over, or in place that it is poisoned.
///
/// Nothing is to be read from it. When it is readable: read the region, and then [`clear`](Self::clear) it with the version that you have seen. Else it is as
/// a mailbox's [`Doorbell`](crate::Doorbell), which tells the contract. It counts as a clone of its region.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-region-doorbell-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// use rustix::event::{PollFd, PollFlags, poll};
///
/// let counter = tubepost::Region::<u64>::options().domain(&domain).own("counter")?;
/// let mut seen = counter.version()?;
/// let bell = counter.doorbell(seen)?;
/// for number in 1..4 {
///     counter.update(|counter| *counter += 1)?; // in any process
///     poll(&mut [PollFd::new(&bell, PollFlags::IN)], None)?;
///     let news = counter.read()?;
///     assert_eq!((*news, news.version()), (number, seen + 1));
///     seen = news.version();
///     assert!(!bell.clear(seen)?, "there is nothing newer");
/// }
/// # drop((bell, counter));
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RegionDoorbell {
    lent: Lent,
    hold: Arc<Hold>,
    epoch: u64,
}

impl RegionDoorbell {
    /// Makes the descriptor unreadable until there may be a version after this one. `true`: there is one already, so the descriptor
    /// stays readable.
    ///
    /// # Errors
    ///
    /// As for [`Doorbell::clear`](crate::Doorbell::clear).
    pub fn clear(&self, since: u64) -> Result<bool, Error> {
        if !fork::is_current(self.epoch) {
            return Err(Error::Forked);
        }
        let hold = &self.hold;
        let told = || !hold.look_before_waiting().is_ok_and(|longest| !longest.is_zero());
        self.lent.clear(&hold.at, || hold.changed(since).is_some() || told())
    }
}

impl AsFd for RegionDoorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lent.door.socket()
    }
}

impl AsRawFd for RegionDoorbell {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
