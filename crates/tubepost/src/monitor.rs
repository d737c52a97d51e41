//! Being told when a process is gone.

use crate::domain::name::Name;
use crate::error::Error;
use crate::process::Joined;
use crate::sender::Sender;
use crate::strategy::Outlet;
use std::sync::atomic::Ordering::Acquire;
use std::time::Duration;

/// How a process came to be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum End {
    /// It left in an orderly way.
    Left,
    /// It died.
    Died,
    /// It was not there when it was asked about, and nothing tells what became of it.
    NotThere,
}

/// Tells once, and only once, that a process is gone, also if it was gone already: see [`Process::monitor`](crate::Process::monitor).
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-monitor-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// use std::time::Duration;
/// use tubepost::{End, Process};
///
/// let alice = Process::options().domain(&domain).join("alice")?;
/// let bob = Process::options().domain(&domain).join("bob")?; // as a rule in another process
/// let mut monitor = alice.monitor("bob")?;
/// assert_eq!(monitor.wait_timeout(Duration::ZERO)?, None, "it lives");
/// drop(bob);
/// assert_eq!(monitor.wait()?, Some(End::Left));
/// assert_eq!(monitor.wait()?, None, "that was told");
/// # drop((alice, monitor));
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), tubepost::Error>(())
/// ```
#[derive(Debug)]
pub struct Monitor {
    /// Where it would be rung; nothing: it was gone before.
    at: Option<Sender<u64>>,
    /// What there is to tell about one that was gone before.
    before: End,
    told: bool,
}

impl Monitor {
    pub(crate) fn of(joined: &Joined, peer: &Name) -> Result<Monitor, Error> {
        joined.ours()?;
        let (at, before) = match joined.ring_at(peer) {
            Ok(at) => (Some(Sender::new(Outlet::Shared(at))), End::NotThere),
            Err(Error::OwnerGone { .. }) => (None, End::Died),
            Err(Error::NoSuchName { .. }) => (None, End::NotThere),
            Err(other) => return Err(other),
        };
        Ok(Monitor { at, before, told: false })
    }

    /// Waits until the process is gone. Nothing: that was told.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`], [`Error::Os`].
    pub fn wait(&mut self) -> Result<Option<End>, Error> {
        if let Some(at) = self.untold() {
            at.closed()?;
        }
        Ok(self.tell())
    }

    /// The same, at most for so long. Nothing: it was told, or the process lives.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<End>, Error> {
        if let Some(at) = self.untold()
            && at.closed_timeout(timeout)?.is_none()
        {
            return Ok(None);
        }
        Ok(self.tell())
    }

    /// [`wait`](Self::wait) for a task.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait).
    pub async fn wait_async(&mut self) -> Result<Option<End>, Error> {
        if let Some(at) = self.untold() {
            at.closed_async().await?;
        }
        Ok(self.tell())
    }

    fn untold(&self) -> Option<&Sender<u64>> {
        self.at.as_ref().filter(|_| !self.told)
    }

    fn tell(&mut self) -> Option<End> {
        if std::mem::replace(&mut self.told, true) {
            return None;
        }
        let Some(at) = &self.at else { return Some(self.before) };
        let left = at.outlet().segment().header().life.left.load(Acquire) != 0;
        Some(if left { End::Left } else { End::Died })
    }
}
