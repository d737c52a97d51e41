//! Mailboxes that are kept in files: what can be chosen, and how one is made.

use crate::domain::segment::Id;
use crate::domain::stat::Strategy;
use crate::error::Error;
use crate::journal::described::{Described, Fsync, Keep};
use crate::mailbox::Options;
use crate::message::Message;
use crate::strategy::file;
use crate::strategy::shared::attach::Wish;
use std::path::PathBuf;
use std::time::Duration;

/// Messages are in files: they outlive their processes, and the machine's running.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-file-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// # let files = std::path::PathBuf::from(format!("/dev/shm/tubepost-doc-file-files-{}", std::process::id()));
/// use tubepost::{File, Fsync, Mailbox, Receiver, Sender};
///
/// let file = File { dir: Some(files), fsync: Some(Fsync::Each), ..File::default() };
/// Mailbox::<str>::options().domain(&domain).strategy(file).create("orders")?;
/// Sender::<str>::options().domain(&domain).open("orders")?.send("two of these")?; // it is on the disk now
/// assert_eq!(Receiver::<str>::options().domain(&domain).open("orders")?.recv()?, "two of these");
/// # domain.remove("orders")?;
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// What is left out is, of a mailbox that is there already, as it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// Its own directory, which is made if it does not exist. By default one under the user's state directory (`$XDG_STATE_HOME`, or `~/.local/state`), by
    /// the names of the domain and the mailbox: there [`Sender::open`](crate::Sender::open) and [`Receiver::open`](crate::Receiver::open) find it, also after the machine was
    /// started anew. Of another directory, [`create`](Options::create) opens it again.
    pub dir: Option<PathBuf>,
    /// When messages are brought to the disk. By default [`Fsync::Never`]: no process that dies takes anything along, but the power may.
    pub fsync: Option<Fsync>,
    /// What is kept for others to read that was received. By default nothing but what some cursor still has to read.
    pub retain: Option<Retain>,
    /// So many bytes may wait, headers included; then senders wait. Beside a number of messages, or without one.
    pub max_bytes: Option<u64>,
}

/// How long messages stay that were received, for [cursors](crate::Cursor) that come later: as long as any of these says. Files are taken away as wholes, so
/// some more is kept. What nobody received, or a named cursor has still to read, stays in any case.
///
/// ```
/// use std::time::Duration;
/// use tubepost::Retain;
///
/// let a_day = Retain { age: Some(Duration::from_secs(24 * 60 * 60)), ..Retain::default() };
/// assert_ne!(a_day, Retain::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retain {
    /// The last so many.
    pub messages: Option<u64>,
    /// The last so many bytes.
    pub bytes: Option<u64>,
    /// Those that were sent within so long, by the system's clock; of a file its last message counts.
    pub age: Option<Duration>,
}

/// How messages are to travel: a [`Strategy`], or a [`File`] with its choices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct How {
    pub(crate) strategy: Strategy,
    pub(crate) file: File,
}

impl From<Strategy> for How {
    fn from(strategy: Strategy) -> How {
        How { strategy, file: File::default() }
    }
}

impl From<File> for How {
    fn from(file: File) -> How {
        How { strategy: Strategy::File, file }
    }
}

impl<M: Message + ?Sized> Options<M> {
    /// Makes a mailbox that is kept in files, or opens the one that is there.
    pub(crate) fn create_in_files(
        &self,
        wish: &Wish<'_>,
        planned: &crate::domain::entry::Plan<'_>,
        file: &File,
    ) -> Result<Id, Error> {
        let choice = planned.geometry.choice;
        let directory = match &file.dir {
            // The one that is there is called what it is called without links; who follows one later may come elsewhere.
            Some(directory) => std::fs::canonicalize(directory)
                .or_else(|_| std::path::absolute(directory))
                .map_err(|error| Error::BadOption {
                what: "the directory",
                given: format!("{directory:?}"),
                allowed: error.to_string(),
            })?,
            None => file::usual_directory(wish.domain, wish.name)?,
        };
        let retain = file.retain.unwrap_or_default();
        let keep = Keep { messages: retain.messages, bytes: retain.bytes, age: retain.age };
        let capacity = if self.chosen { choice.capacity } else { crate::queue::areas::UNBOUNDED };
        let described = || Described {
            id: file::fresh_id(),
            capacity,
            most_bytes: file.max_bytes,
            max_message: choice.max_message,
            align: choice.align,
            variable: choice.variable,
            mode: self.mode,
            group: self.group,
            fsync: file.fsync.unwrap_or(Fsync::Never),
            keep,
            format: planned.format.into(),
        };
        let agrees = |theirs: &Described| {
            let differs = |what, given: String, theirs: String| {
                let allowed = format!(
                    "{theirs}, as the mailbox in {} has it; leave it out, or remove that",
                    directory.display()
                );
                Err(Error::BadOption { what, given, allowed })
            };
            let spell = |capacity: u64| match capacity {
                crate::queue::areas::UNBOUNDED => "unbounded".to_string(),
                bounded => bounded.to_string(),
            };
            if self.chosen && theirs.capacity != capacity {
                return differs("the capacity", spell(capacity), spell(theirs.capacity));
            }
            if self.max_message.is_some() && theirs.max_message != choice.max_message {
                return differs(
                    "max_message",
                    choice.max_message.to_string(),
                    theirs.max_message.to_string(),
                );
            }
            if let Some(fsync) = file.fsync.filter(|fsync| *fsync != theirs.fsync) {
                return differs("fsync", fsync.to_string(), theirs.fsync.to_string());
            }
            if file.retain.is_some() && keep != theirs.keep {
                return differs("what is retained", keep.to_string(), theirs.keep.to_string());
            }
            if file.max_bytes.is_some() && file.max_bytes != theirs.most_bytes {
                let spell = |bytes: Option<u64>| bytes.map_or("none".into(), |bytes| bytes.to_string());
                return differs("max_bytes", spell(file.max_bytes), spell(theirs.most_bytes));
            }
            Ok(())
        };
        file::create(wish, &directory, described, agrees)
    }

    /// Whether a mailbox can be kept in files that is to be like this.
    pub(crate) fn fits_files(
        &self,
        kind: crate::queue::layout::Kind,
        owned: bool,
        answered: bool,
    ) -> Result<(), Error> {
        let refused = |given: &str, allowed: &str| {
            Err(Error::BadOption { what: "the strategy", given: given.into(), allowed: allowed.into() })
        };
        if kind != crate::queue::layout::Kind::Mailbox {
            return refused("file for a link", "shared or kernel there; messages in files are for mailboxes");
        }
        if owned {
            return refused(
                "file for a mailbox that a process owns",
                "this one where the system owns it, by `create`: it would end with the process else",
            );
        }
        if answered {
            return refused(
                "file where messages are answered",
                "shared there: nobody waits for an answer after a restart",
            );
        }
        if self.capacity == Some(0) && self.chosen {
            return Err(Error::BadOption {
                what: "the capacity",
                given: "0 in files".into(),
                allowed: "at least 1, or unbounded there; where nothing is kept, shared memory will do"
                    .into(),
            });
        }
        Ok(())
    }
}
