//! What the dead leave, and how it is put away.
//!
//! A mailbox whose owner is dead is *buried* by whoever meets it: closed, so that nobody
//! can send into the void; its uncollected messages counted, once for all; everybody who
//! waits woken; its name taken away. Each step may be repeated, by any number of processes at
//! once, and any of them may die in it.

use super::Domain;
use super::doorway::Called;
use super::entry;
use super::member::{self, NoRow};
use super::name::Name;
use super::party;
use super::segment::Segment;
use super::sockets::open_to_look_at;
use super::stat::Listed;
use crate::error::{Closed, Error};
use crate::queue::layout::{Kind, ROWS, SENDER};
use crate::queue::slots::Member;
use crate::strategy::shared::attach::spell;
use std::os::fd::{AsFd, OwnedFd};
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
    /// How many bytes of memory nobody needed and were given back.
    pub bytes: u64,
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
        let (doors, sockets) = (self.doors(), self.sockets());
        let mut ids = Some(Vec::new());
        for (known, Listed { name, stat }) in self.list_named()? {
            match &stat {
                Ok(stat) => ids.iter_mut().for_each(|ids| ids.push(stat.id)),
                Err(_) => ids = None, // it may be any of them
            }
            let outcome = match (stat, known) {
                (Ok(_), Some(known)) => self.clean(&known, &doors, &mut swept),
                (Ok(_), None) => Ok(()),
                (Err(error), _) => Err(error),
            };
            match outcome {
                Ok(()) | Err(Error::NoSuchName { .. }) => {}
                Err(error) => swept.left_alone.push((name, error)),
            }
        }
        self.take_doors_of_no_mailbox(&doors, ids.as_deref());
        self.take_sockets_of_no_mailbox(sockets, ids.as_deref());
        Ok(swept)
    }

    fn clean(&self, name: &Name, doors: &[Called], swept: &mut Swept) -> Result<(), Error> {
        let (opened, segment) = match entry::open(self, name) {
            Err(denied @ Error::Denied { .. }) => {
                // One of which we may see the entry only is nothing to us as long as it is used.
                let segment = open_to_look_at(self, name).map_err(|_| denied)?;
                return if segment.is_over() { Err(segment.denied("to remove")) } else { Ok(()) };
            }
            opened => opened?,
        };
        if segment.is_over() {
            bury(&segment)?;
            swept.removed.push(name.to_string());
            return Ok(());
        }
        if segment.parties().is_some() {
            // Its rows are no members'. Of a sender that is gone, what it sent stays for who receives.
            segment.take_doors_of_who_left(doors);
            if segment.is_dead(SENDER) && (segment.is_empty_for_sure() || planted!(UnreceivedSwept)) {
                finish(&segment);
                put_away(&segment)?;
                swept.removed.push(name.to_string());
            }
            return Ok(());
        }
        if segment.geometry.choice.kernel {
            return Ok(()); // nobody is a member there but the owner
        }
        if segment.geometry.choice.filed {
            segment.set_log(super::log::join(&segment)?);
        }
        if let Some(fd) = segment.descriptor() {
            let used = segment.header().tail.rows.load(Acquire);
            let put_in_order = |member| segment.put_in_order(member);
            let rows = member::sweep_dead(fd.as_fd(), &segment.rows, put_in_order, used);
            swept.rows += rows.map_err(|errno| super::failed("to sweep", &segment.path(), errno))?;
        }
        segment.take_doors_of_who_left(doors);
        segment.give_back();
        segment.look_no_more(opened.as_fd());
        swept.bytes += trim(&segment)?;
        Ok(())
    }
}

/// Closes the queue for good and says what was never collected: the same for everyone.
///
/// Whoever is about to publish at this moment, and lives, counts as having been accepted.
pub(crate) fn finish(segment: &Segment) -> Closed {
    finish_by(segment, || segment.close_for_good())
}

/// The same for whoever can tell the number better.
pub(crate) fn finish_by(segment: &Segment, close: impl FnOnce() -> u64) -> Closed {
    let word = &segment.header().life.uncollected;
    if !segment.map.is_writable() {
        let counted = segment.to_write().map(|segment| finish(&segment));
        return counted.unwrap_or(Closed { uncollected: word.load(Acquire).saturating_sub(1) });
    }
    let mut counted = word.load(Acquire);
    if counted == 0 {
        let messages = close();
        counted = match word.compare_exchange(0, messages + 1, AcqRel, Acquire) {
            Ok(_) => messages + 1,
            Err(other) => other,
        };
        segment.tell_news();
    }
    Closed { uncollected: counted.wrapping_sub(1) }
}

/// Puts a mailbox away that is over. An error: its name is still there, because another
/// process is at it and does not finish, or because it is not ours to remove.
pub(crate) fn bury(segment: &Segment) -> Result<(), Error> {
    if !segment.map.is_writable() {
        return match segment.to_write() {
            Some(segment) => bury(&segment),
            None => Err(segment.denied("to remove")),
        };
    }
    let log = segment.log_to_take_away()?;
    finish(segment);
    if let Some(log) = log {
        log.store.destroy()?;
    }
    segment.retire(|| segment.is_over())
}

/// Takes away the name of what was finished, as nobody needs it any more.
pub(crate) fn put_away(segment: &Segment) -> Result<(), Error> {
    segment.retire(|| true)
}

/// Gives the memory of free chunks back. Whoever owns chunks, even for a moment, is a member: it
/// may die meanwhile.
fn trim(segment: &Segment) -> Result<u64, Error> {
    if segment.header().chunks.used.iter().all(|used| used.load(Acquire) == 0) {
        return Ok(0);
    }
    // A mapping of its own, for it carries the lock.
    let (fd, own) = entry::open(&segment.domain, &segment.name)?;
    let member = enter(&fd, &own, "gc", false)?;
    let given = own.chunks.trim(member, true) + own.trim_segments(member, true);
    own.leave(member);
    Ok(given)
}

/// Makes the process a member of a segment that was opened as `fd`.
pub(crate) fn enter(fd: &OwnedFd, segment: &Segment, member: &str, receives: bool) -> Result<Member, Error> {
    let joined = member::register(
        fd.as_fd(),
        &segment.rows,
        &party::introduction(member, receives),
        || segment.unfreed(),
        |member| segment.put_in_order(member),
        |member| segment.take_door(member),
        &segment.header().tail.rows,
    )
    .map_err(|why| match why {
        NoRow::AllTaken => Error::TooManyMembers { name: segment.name.to_string(), max: ROWS as u32 - 2 },
        NoRow::Os(errno) => super::failed("to become a member of", &segment.path(), errno),
    });
    if let Ok(member) = joined {
        segment.becomes(member, fd.as_fd());
    }
    joined
}

impl Domain {
    /// Removes a mailbox, a region or a segment that the system owns, or what a dead process left (its mailbox, the name under which it
    /// joined, a link by which it was to receive): it is closed for everybody who uses it. Gives the number of
    /// messages that nobody collected.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchName`]; [`Error::Owned`] if a living process owns it (see
    /// [`remove_owned`](Self::remove_owned)); [`Error::Joined`] if one is called so; [`Error::Linked`] if one
    /// receives by this link; [`Error::Denied`] if it is not yours to remove.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-remove-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// tubepost::Mailbox::<str>::options().domain(&domain).create("notes")?;
    /// tubepost::Sender::<str>::options().domain(&domain).open("notes")?.send("never read")?;
    /// assert_eq!(domain.remove("notes")?.uncollected, 1);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove(&self, name: &str) -> Result<Closed, Error> {
        self.remove_if(name, |_| false)
    }

    /// As [`remove`](Self::remove), also a mailbox, a region or a segment that a living process owns. That process is told
    /// that it is closed when it next receives, or uses it.
    ///
    /// # Errors
    ///
    /// As for [`remove`](Self::remove), [`Error::Owned`] excepted.
    pub fn remove_owned(&self, name: &str) -> Result<Closed, Error> {
        self.remove_if(name, |kind| kind == Kind::Mailbox || kind.is_data())
    }

    /// Also what a living process has, if it is of such a kind.
    fn remove_if(&self, name: &str, also: impl Fn(Kind) -> bool) -> Result<Closed, Error> {
        let mut uncollected = 0;
        if let Ok(name) = Name::new(name)
            && matches!(entry::open(self, &name), Err(Error::NoSuchName { .. }))
            && let Some(waited) = super::log::remove_asleep(self, &name)?
        {
            return Ok(Closed { uncollected: waited });
        }
        // One name means several links only if all but one are over; that one is the last.
        for name in self.called(name)?.iter().rev() {
            let segment = match entry::open(self, name) {
                Err(denied @ Error::Denied { .. }) => {
                    return Err(
                        open_to_look_at(self, name).map_or(denied, |segment| segment.denied("to remove"))
                    );
                }
                opened => opened?.1,
            };
            let choice = &segment.geometry.choice;
            if choice.owned && !also(choice.kind) && !segment.is_over() {
                return Err(in_use(&segment));
            }
            if !segment.may_be_removed() {
                return Err(segment.denied("to remove"));
            }
            // A log that can't be opened is not closed.
            let log = segment.log_to_take_away()?;
            let closed = finish(&segment);
            if choice.kind != Kind::Process {
                uncollected += closed.uncollected; // notes are no messages
            }
            if let Some(log) = log {
                log.store.destroy()?; // who dies in it leaves the name, by which the next one goes on
            }
            segment.retire(|| true)?;
        }
        Ok(Closed { uncollected })
    }
}

/// A living process has it.
pub(super) fn in_use(segment: &Segment) -> Error {
    let (name, member::Peer { name: owner, pid }) = (segment.name.to_string(), segment.owner());
    match segment.geometry.choice.kind {
        kind @ (Kind::Mailbox | Kind::Region | Kind::Bare) => {
            Error::Owned { name, is: spell(kind), owner: owner.into(), pid }
        }
        Kind::Process => Error::Joined { name, pid },
        Kind::Link { .. } => Error::Linked { name, receiver: owner, pid },
    }
}
