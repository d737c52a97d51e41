//! What the dead leave, and how it is put away.
//!
//! A mailbox whose owner is dead is *buried* by whoever meets it: closed, so that nobody
//! can send into the void; its uncollected messages counted, once for all; everybody who
//! waits woken; its name taken away. Each step may be repeated, by any number of processes at
//! once, and any of them may die in it.

use super::entry::{self, Segment};
use super::name::Name;
use super::stat::Listed;
use super::{Domain, member};
use crate::error::{Closed, Error};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

/// What [`Domain::gc`] did.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-gc-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// let swept = domain.gc()?;
/// assert!(swept.removed.is_empty() && swept.left_alone.is_empty());
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), tubepost::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// Names of mailboxes that were removed: their owners are dead.
    pub removed: Vec<String>,
    /// How many rows of dead members were made free in mailboxes that live.
    pub rows: u64,
    /// Files that could not be understood or cleaned, and why. They were left alone.
    pub left_alone: Vec<(String, Error)>,
}

impl Domain {
    /// Puts away what the dead left. Nothing of a living or stopped process is touched.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] or [`Error::Os`] if the directory can't be read. Trouble with single
    /// objects is told in [`Swept::left_alone`].
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-gc2-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// for name in domain.gc()?.removed {
    ///     println!("removed {name}");
    /// }
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), tubepost::Error>(())
    /// ```
    pub fn gc(&self) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        for Listed { name, stat } in self.list()? {
            let outcome = match stat {
                Ok(_) => self.clean(&name, &mut swept),
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) | Err(Error::NoSuchName { .. }) => {}
                Err(error) => swept.left_alone.push((name, error)),
            }
        }
        Ok(swept)
    }

    fn clean(&self, name: &str, swept: &mut Swept) -> Result<(), Error> {
        let (_, segment) = entry::open(self, &Name::new(name)?)?;
        if segment.is_ownerless() {
            if !bury(&segment) {
                return Err(Error::Busy { name: name.into() });
            }
            swept.removed.push(name.into());
            return Ok(());
        }
        if let Some(fd) = segment.descriptor() {
            let used = segment.header().tail.rows.load(Acquire);
            let named = |member| segment.named_until(member);
            let rows = member::sweep_dead(fd.as_fd(), &segment.rows, named, used);
            swept.rows += rows.map_err(|errno| super::failed("to sweep", &segment.path(), errno))?;
        }
        Ok(())
    }
}

/// Closes the queue for good and says what was never collected: the same for everyone.
///
/// Whoever is about to publish at this moment, and lives, counts as having been accepted.
pub(crate) fn finish(segment: &Segment) -> Closed {
    let header = segment.header();
    let tail = segment.slots.close(header.tail.hint.load(Acquire));
    let word = &header.life.uncollected;
    let mut counted = word.load(Acquire);
    if counted == 0 {
        let head = header.head.position.load(Acquire);
        let messages = segment.slots.count(head, tail, |member| segment.is_dead(member));
        counted = match word.compare_exchange(0, messages + 1, AcqRel, Acquire) {
            Ok(_) => messages + 1,
            Err(other) => other,
        };
    }
    Closed { uncollected: counted.wrapping_sub(1) }
}

/// Puts a mailbox without an owner away. `false`: its name is still there, because another
/// process is at it and does not finish.
pub(crate) fn bury(segment: &Segment) -> bool {
    finish(segment);
    segment.retire(|| segment.is_ownerless())
}
