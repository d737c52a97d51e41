//! What stands beside a mailbox of the kernel strategy: the socket that senders connect to, and the pipe with the credit.
//! Beside a direction of a link there is the pipe; the socket is that of the receiving process, one for all its links, and stands beside its segment.
//!
//! Both are called after the mailbox's id, as no mailbox can be: `~`, the id, `~post` or `~credit`. They are there before the
//! mailbox has its name, and go with it. A gc that ran just between would take them for those of none: so whoever makes them has a
//! shared lock on the domain's directory until the mailbox has its name, and gc takes such away only with the exclusive lock.
//!
//! The pipe is for processes of the owner's user (and those who may do everything): it holds one token for each message that may be
//! sent now. Each token is a number that is greater than those before. So as long as anybody has it open, it also tells how many messages were never
//! collected: those whose token is not there.
//!
//! The pipe of a link is there for both ends, whoever made it: for other users than its maker's if the link's mode lets them in.
//! They can spoil what is theirs.
//!
//! The socket of a process comes after its name, so that nobody needs a lock to join: who is faster than that comes again.
//!
//! **Closing.** `closing` is set, then the tokens are counted; a sender looks at `closing` after it took one. So whoever sends after the
//! count is refused. Then [`END`] is put in, which whoever takes it puts back: it wakes all who wait for a token.
//!
//! **What if it dies here?** Making: the lock goes, and the names are swept by gc. Closing: whoever comes next counts again.

use super::entry::{self, Plan};
use super::name::Name;
use super::purse::Purse;
use super::segment::{Id, Segment};
use super::{Domain, access, data, failed};
use crate::error::Error;
use crate::os::map::Map;
use crate::os::{Errno, door, file, lock, packet, tokens};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::time::Duration;

/// No number of a message: the mailbox is closed.
pub(crate) const END: u64 = u64::MAX;

const POST: &str = "post";
const CREDIT: &str = "credit";
/// Of a region, and of bare memory; see `data`.
pub(super) const DATA: &str = "data";
/// Of a mailbox that is kept in files; see `log`.
pub(super) const LOG: &str = "log";
/// How often, a millisecond apart, to try for the lock of the directory.
const TRIES: u32 = 100;

/// What an owner has, beside the entry.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// Nothing: of a link, it is the process's.
    pub(crate) listener: Option<OwnedFd>,
    /// Not of the sealed strategy, where the areas tell how much waits.
    pub(crate) credit: Option<Arc<OwnedFd>>,
}

impl Sockets {
    /// How many tokens there are.
    pub(crate) fn tokens(&self) -> u64 {
        self.credit.as_ref().map_or(0, tokens::count)
    }

    pub(crate) fn take_token(&self) -> Result<u64, Errno> {
        self.credit.as_ref().map_or(Err(Errno::AGAIN), |credit| tokens::take(credit.as_fd()))
    }

    /// There is room for more than all; but the system may refuse it.
    #[inline]
    pub(crate) fn put_token(&self, token: u64) -> Result<(), Errno> {
        self.credit.as_ref().map_or(Ok(()), |credit| tokens::put(credit.as_fd(), token))
    }
}

pub(super) fn called(id: Id, what: &str) -> String {
    format!("~{id}~{what}")
}

/// The id of the mailbox beside which a file stands that is called so.
fn beside(file: &str) -> Option<&str> {
    let (id, what) = file.strip_prefix('~')?.split_once('~')?;
    let known = [POST, CREDIT, DATA, LOG].contains(&what) || data::home_of(what).is_some();
    (id.len() == 32 && known).then_some(id)
}

/// Whether a file is no thing of its own.
pub(super) fn is_beside(file: &str) -> bool {
    beside(file).is_some()
}

/// Builds a segment and what stands beside it, and gives it its name.
pub(crate) fn create_with_sockets(
    domain: &Domain,
    name: &Name,
    plan: &Plan<'_>,
) -> Result<(Segment, Sockets), Error> {
    let _making = domain.hold_making()?;
    entry::create_with(domain, name, plan, |segment| segment.make_sockets(plan.group))
}

/// Opens what the name means now, if it is of the kernel strategy, for reading only: its senders share no memory with anybody.
pub(crate) fn open_to_look_at(domain: &Domain, name: &Name) -> Result<Segment, Error> {
    let (_, segment) = entry::open_as(domain, name, file::open_to_look_at, Map::to_look_at)?;
    if segment.geometry.choice.kernel {
        return Ok(segment);
    }
    Err(segment.denied("to open"))
}

impl Segment {
    /// Makes both for a mailbox that has no name so far. Who may send may connect.
    pub(crate) fn make_sockets(&self, group: Option<u32>) -> Result<Sockets, Error> {
        let credit = match self.geometry.choice.sealed {
            true => Ok(None),
            false => self.make_credit().map(|credit| Some(Arc::new(credit))),
        };
        let made = credit.and_then(|credit| Ok(Sockets { listener: Some(self.make_post(group)?), credit }));
        let trouble = |errno| failed("to make a socket and a pipe in", self.domain.path(), errno);
        made.inspect_err(|_| self.take_sockets()).map_err(trouble)
    }

    /// The pipe of a link that has no name so far.
    pub(super) fn make_links_credit(&self, group: Option<u32>) -> Result<OwnedFd, Error> {
        let mode = access::file_mode(self.mode());
        let pipe = self.domain.path().join(called(self.id(), CREDIT));
        let made = self.make_credit().and_then(|credit| tokens::permit(&pipe, mode, group).map(|()| credit));
        let trouble = |errno| failed("to make a pipe in", self.domain.path(), errno);
        made.inspect_err(|_| self.take_sockets()).map_err(trouble)
    }

    fn make_credit(&self) -> Result<OwnedFd, Errno> {
        let capacity = self.geometry.choice.capacity;
        let pipe = self.domain.path().join(called(self.id(), CREDIT));
        // Room for END, and for what is put back.
        let credit = tokens::make(&pipe, capacity as usize + 64)?;
        (0..capacity).try_for_each(|token| tokens::put(credit.as_fd(), token))?;
        Ok(credit)
    }

    /// The socket that those connect to who may send.
    pub(crate) fn make_post(&self, group: Option<u32>) -> Result<OwnedFd, Errno> {
        let senders = access::socket_mode(self.mode());
        packet::offer(self.domain.path(), &called(self.id(), POST), senders, group)
    }

    /// Takes both names away.
    pub(crate) fn take_sockets(&self) {
        self.take_homes();
        for what in [POST, CREDIT, DATA, LOG] {
            door::remove(self.domain.path(), &called(self.id(), what));
        }
    }

    /// A connection to the owner of this mailbox, or to the process that has a segment of this id. Where too many wait for one there this waits for so long.
    pub(crate) fn connect_to(&self, id: Id, patience: Duration) -> Result<OwnedFd, Errno> {
        packet::reach(self.domain.path(), &called(id, POST), patience)
    }

    /// The credit, if it is for us.
    pub(crate) fn credit(&self) -> Result<OwnedFd, Errno> {
        tokens::join(&self.domain.path().join(called(self.id(), CREDIT)))
    }

    /// How many messages wait, as far as can be told to all: those whose tokens are not there, nor are to be put in.
    pub(crate) fn waiting_outside(&self) -> u64 {
        if self.geometry.choice.sealed {
            return 0; // each sender knows its own
        }
        let capacity = self.geometry.choice.capacity;
        let tokens = match &self.bound {
            Some(bound) => bound.purse().map(Purse::count),
            None => self.credit().ok().filter(|pipe| tokens::is_the_same(pipe.as_fd())).map(tokens::count),
        };
        let owed = self.header().sockets.owed.load(Acquire);
        tokens.map_or(0, |there| capacity.saturating_sub(there.saturating_add(owed)))
    }

    /// Whether nothing waits in a direction of a link. Of one that nobody has open there is no telling.
    pub(super) fn is_empty_for_sure(&self) -> bool {
        if !self.geometry.choice.kernel {
            return self.waiting() == 0;
        }
        let known = self.credit().is_ok_and(|pipe| tokens::is_the_same(pipe.as_fd()));
        known && self.count().waiting == 0
    }

    /// A message that waited, of the sealed strategy, was taken: for those who only look. Only the owner writes there.
    #[inline]
    pub(crate) fn one_less_waits(&self) {
        if self.geometry.choice.sealed {
            let word = &self.header().sockets.waiting;
            word.store(word.load(Relaxed).saturating_sub(1), Relaxed);
        }
    }

    /// Whether somebody has begun to close it.
    pub(crate) fn is_closing(&self) -> bool {
        self.header().sockets.closing.load(SeqCst) != 0
    }

    /// Closes it for senders.
    pub(crate) fn close_outside(&self) {
        self.header().sockets.closing.store(1, SeqCst);
    }

    /// What was never collected, of a mailbox that is closing.
    pub(super) fn uncollected_outside(&self) -> u64 {
        let words = &self.header().sockets;
        self.waiting_outside() + words.held.load(Acquire) + words.back.load(Acquire)
    }

    /// Has whoever waits for anything here look again.
    pub(super) fn wake_outside(&self) {
        if self.bound.is_some() {
            return; // their connection was hung up
        }
        if self.is_closed()
            && let Ok(credit) = self.credit()
        {
            let _ = tokens::put(credit.as_fd(), END); // it may be full of them
        }
        if self.parties().is_none() {
            drop(self.connect_to(self.id(), Duration::ZERO)); // the owner hears that
        }
    }
}

impl Domain {
    /// Keeps gc from what is made before its mailbox has a name. Nothing: somebody holds it who does not go on.
    pub(super) fn hold_making(&self) -> Result<OwnedFd, Error> {
        let trouble = |errno| failed("to open", self.path(), errno);
        let directory = file::open_directory(self.path()).map_err(trouble)?;
        for _ in 0..TRIES {
            if lock::try_share(directory.as_fd()).map_err(trouble)? {
                return Ok(directory);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(Error::Busy { name: self.path().display().to_string() })
    }

    /// What stands beside mailboxes, while nobody makes such.
    pub(super) fn sockets(&self) -> Option<(OwnedFd, Vec<String>)> {
        let directory = file::open_directory(self.path()).ok()?;
        if !matches!(lock::try_alone(directory.as_fd()), Ok(true)) {
            return None;
        }
        let files = std::fs::read_dir(self.path()).into_iter().flatten().flatten();
        let files = files.map(|file| file.file_name().to_string_lossy().into_owned());
        Some((directory, files.filter(|file| is_beside(file)).collect()))
    }

    /// Takes away what stands beside none of these.
    pub(super) fn take_sockets_of_no_mailbox(
        &self,
        found: Option<(OwnedFd, Vec<String>)>,
        ids: Option<&[Id]>,
    ) {
        let (Some((_lock, files)), Some(ids)) = (found, ids) else { return };
        for file in files {
            let of = ids.iter().find(|id| Some(id.to_string().as_str()) == beside(&file));
            if of.is_none_or(|id| self.is_no_home(*id, &file)) {
                door::remove(self.path(), &file);
            }
        }
    }
}
