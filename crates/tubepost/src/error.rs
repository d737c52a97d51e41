//! Every way a call can fail.
//!
//! Calls on the hot path have a small enum each, named as in `crossbeam-channel`: what
//! stopped the call, with the unsent message handed back. Everything that is not part of
//! normal operation is one type, [`Error`]; its text says what was wrong, what was
//! expected and what to do.

mod advice;
mod calls;

pub use advice::Whose;
pub use calls::{
    CallError, Fate, RecvError, RecvTimeoutError, SendCollectedError, SendError, SendTimeoutError,
    TryRecvError, TrySendError,
};

pub(crate) use advice::LONG_FOR_A_PROCESS;
use advice::{absent, another_kind, denied, names, no_name, numbers, owned};
use std::fmt;
use std::path::PathBuf;

/// The mailbox is closed: its owner closed it, ended or was killed, or it was removed.
///
/// ```
/// let closed = tubepost::Closed { uncollected: 3 };
/// assert!(closed.to_string().contains("3 messages"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Closed {
    /// How many accepted messages nobody collected. Everyone is told the same number.
    pub uncollected: u64,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.uncollected {
            0 => f.write_str(
                "closed: the owner, or the process at the other end, is gone, or it was removed; every message was collected",
            ),
            1 => f.write_str(
                "closed: the owner, or the process at the other end, is gone, or it was removed; 1 message was never collected",
            ),
            n => write!(
                f,
                "closed: the owner, or the process at the other end, is gone, or it was removed; {n} messages were never collected"
            ),
        }
    }
}

impl std::error::Error for Closed {}

/// What can go wrong outside the normal course of sending and receiving.
///
/// ```
/// let error = tubepost::Sender::<u64>::open("no//such").unwrap_err();
/// assert!(matches!(error, tubepost::Error::BadName { .. }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name is not one that a thing can have.
    #[error("{}", no_name(name, why))]
    BadName {
        /// The name as given.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nothing of this name exists in the domain.
    #[error("{}", absent(name, domain, wanted))]
    NoSuchName {
        /// The name that was looked for.
        name: String,
        /// Where it was looked for.
        domain: PathBuf,
        /// What was looked for; "anything", if all that has a name would have done.
        wanted: &'static str,
    },
    /// The name exists, but the process that owned it is dead.
    #[error(
        "the owner of {name:?}, process {pid}, is gone; start it again, or remove what it left with `tubepost gc`"
    )]
    OwnerGone {
        /// The name.
        name: String,
        /// The process that owned it.
        pid: u32,
    },
    /// The name is taken by something that the system owns.
    #[error("{name:?} exists already; open it, choose another name, or remove it with `tubepost rm`")]
    Exists {
        /// The name.
        name: String,
    },
    /// A living process owns it: nobody else creates or removes it, or receives from it.
    #[error("{}", owned(name, is, owner, *pid))]
    Owned {
        /// The name.
        name: String,
        /// What it is.
        is: &'static str,
        /// The owner's member name.
        owner: Box<str>,
        /// The owner's process id.
        pid: u32,
    },
    /// A living process has joined under this name.
    #[error(
        "{name:?} is what process {pid} is called, and it lives; choose another name, or end that process"
    )]
    Joined {
        /// The name.
        name: String,
        /// The process.
        pid: u32,
    },
    /// A living process receives by this link, which goes with its processes only.
    #[error(
        "{name:?} is one way of a link, by which process {pid} ({receiver}) receives, and that lives; it goes with its \
         processes: end one of them"
    )]
    Linked {
        /// The name.
        name: String,
        /// The receiving process's member name.
        receiver: String,
        /// The receiving process.
        pid: u32,
    },
    /// The name stands for something else.
    #[error("{}", another_kind(name, is, wanted))]
    WrongKind {
        /// The name.
        name: String,
        /// What it is.
        is: &'static str,
        /// What it was to be.
        wanted: &'static str,
    },
    /// Both sides disagree about what a message, or the data, is.
    #[error("{name:?} carries {theirs}, but this side wants {ours}; both sides have to name the same format")]
    WrongFormat {
        /// The name.
        name: String,
        /// What the mailbox carries.
        theirs: String,
        /// What the caller asked for.
        ours: String,
    },
    /// A link was set up otherwise than this side chose.
    #[error(
        "{name:?} was set up with {theirs}, but this side chose {ours}; leave that choice out here, or choose what the \
         other side has"
    )]
    WrongChoice {
        /// The name.
        name: String,
        /// What the link has, of what differs.
        theirs: Box<str>,
        /// What the caller chose instead.
        ours: Box<str>,
    },
    /// The shared memory was laid out by an incompatible version of tubepost.
    #[error(
        "{name:?} has format version {found}, this program speaks version {supported}; \
         use the same version of tubepost on both sides"
    )]
    WrongVersion {
        /// The name.
        name: String,
        /// The version found.
        found: u32,
        /// The version that this library speaks.
        supported: u32,
    },
    /// The shared memory does not hold what it must hold.
    #[error("{name:?} is damaged or no tubepost object: {what}; if nobody uses it, remove the file")]
    Damaged {
        /// The name.
        name: String,
        /// What was found and what was expected.
        what: String,
    },
    /// A message or a buffer has the wrong length.
    #[error("a message of {length} bytes does not fit: at most {max} bytes do here")]
    TooLong {
        /// The message's length in bytes.
        length: u64,
        /// The longest possible in bytes.
        max: u64,
    },
    /// A message does not have the length that all messages of this mailbox have.
    #[error(
        "a message of this mailbox has exactly {expected} bytes, this one has {length}; send the bytes of the type that \
         its format names"
    )]
    WrongLength {
        /// The message's length in bytes.
        length: u64,
        /// What it has to be.
        expected: u64,
    },
    /// A message that should have been text is not valid UTF-8. It was consumed.
    #[error("a message is not valid UTF-8; receive it as [u8], or have the sender send text")]
    BadText,
    /// A message can't be encoded. It was not sent.
    #[error("a message can't be encoded as postcard: {why}; see what its type does when it is serialized")]
    NotEncodable {
        /// What is wrong.
        why: &'static str,
    },
    /// What was received is no encoding of the type that was expected. It was consumed.
    #[error(
        "a message of {length} bytes is not the expected type, encoded as postcard: {why}; both sides have to mean the \
         same type by the same format, so give it a new label when it changes"
    )]
    NotDecodable {
        /// How many bytes it has.
        length: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// An option has a value that is not possible.
    #[error("{what} cannot be {given}: {allowed}")]
    BadOption {
        /// Which option.
        what: &'static str,
        /// The value given.
        given: String,
        /// What is possible.
        allowed: String,
    },
    /// The kernel does not permit it.
    #[error("{}", denied(doing, path, whose.as_deref()))]
    Denied {
        /// What was tried, as in "to open".
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What has a name there and was asked for, if it was that.
        whose: Option<Box<Whose>>,
    },
    /// The directory is not one that a domain may live in.
    #[error("{} cannot be used as a domain: {why}", path.display())]
    DomainRefused {
        /// The directory.
        path: PathBuf,
        /// Why not, and what to do.
        why: String,
    },
    /// The file system that holds the domain is full.
    #[error(
        "no memory: {wanted} bytes were wanted in {}, {available} are available; free some, choose a smaller \
         size or capacity, or shorter messages, or a domain on a larger file system", path.display()
    )]
    NoMemory {
        /// How many bytes were wanted.
        wanted: u64,
        /// How many the file system still has.
        available: u64,
        /// Where.
        path: PathBuf,
    },
    /// The disk that a mailbox is kept on is full. Nothing was sent; what is there stays.
    #[error(
        "no space on the disk: {wanted} bytes were wanted in {}, {available} are available; make room, or receive some \
         messages, and try again", path.display()
    )]
    DiskFull {
        /// How many bytes were wanted.
        wanted: u64,
        /// How many the file system still has.
        available: u64,
        /// Where.
        path: PathBuf,
    },
    /// A directory can't be used for the messages of a mailbox.
    #[error("the messages in {} cannot be used: {why}", path.display())]
    LogRefused {
        /// The directory.
        path: PathBuf,
        /// Why not, and what to do.
        why: String,
    },
    /// Something could not be written to the disk, or read from it: what is there now nobody knows for sure.
    #[error(
        "the messages in {} can't be relied on since a write, a sync or a read failed ({}): close the mailbox in all \
         processes and open it again, which puts them in order", path.display(), std::io::Error::from_raw_os_error(*errno)
    )]
    LogFailed {
        /// The directory.
        path: PathBuf,
        /// The system's error number.
        errno: i32,
    },
    /// Messages are damaged: their bytes on the disk are not what was written. They are passed over; those before and after are received.
    #[error(
        "{} damaged in the log in {}, and passed over; see `tubepost journal verify`", numbers(*from, *to), path.display()
    )]
    DamagedMessages {
        /// The directory.
        path: PathBuf,
        /// The number of the first.
        from: u64,
        /// The number of the last.
        to: u64,
    },
    /// Messages that don't fit their places have as much memory as the mailbox's ceiling allows.
    #[error(
        "no memory for a message of {wanted} bytes: the mailbox's ceiling is {ceiling} bytes, {used} are in use; \
         receive some messages first, or create it with a higher ceiling"
    )]
    AtCeiling {
        /// How many bytes were wanted.
        wanted: u64,
        /// How many are in use.
        used: u64,
        /// The most there may be.
        ceiling: u64,
    },
    /// As many messages of about this length as there can be at one time are lent, wait, or are in somebody's hand.
    #[error(
        "no room for a message of {length} bytes: {max} in memory for up to {longest} bytes each, as many as this mailbox \
         can have at one time, are lent, wait, or are in hand; send, receive or accept some of them first, or create it \
         with a larger capacity"
    )]
    TooManyMessages {
        /// The message's length in bytes.
        length: u64,
        /// The longest that such memory is for.
        longest: u64,
        /// The most there can be.
        max: u64,
    },
    /// The message is no longer in this receiver's hand.
    #[error("this message of {name:?} is no longer held here: another receiver has it, or had it")]
    NotHeld {
        /// The mailbox.
        name: String,
    },
    /// Nobody waits for this answer: the caller gave up, or is dead.
    #[error(
        "nobody waits for this answer from {name:?} any more: the caller gave up, or ended; ask `is_awaited` before long work"
    )]
    NotAwaited {
        /// The mailbox.
        name: String,
    },
    /// The time is over, and the receiver hands the message on: it can't be withdrawn, and whether it is collected is not known so far.
    #[error(
        "a message in {name:?} is on its way, and not known to be collected; it can't be withdrawn: allow for more time, or ask \
         its receiver"
    )]
    Underway {
        /// The mailbox.
        name: String,
    },
    /// The question was consumed without an answer; as for [`Closed`](Self::Closed).
    #[error("the question was received, and not answered")]
    Unanswered,
    /// As many calls as there can be are under way in this mailbox, or there is no memory for one more.
    #[error(
        "there can be {max} calls to {name:?} under way at one time, if there is memory for them; wait for some answers first"
    )]
    TooManyCalls {
        /// The mailbox.
        name: String,
        /// The most there can be.
        max: u32,
    },
    /// The message was held for longer than this receiver promised (`hold_max`), and another waited for it.
    #[error(
        "this message of {name:?} was held for more than {longest:?}, the receiver's hold_max, while another waited: it was \
         delivered again, and what came of it here counts for nothing; work faster, split the work, or choose a longer hold_max"
    )]
    HoldExpired {
        /// The mailbox.
        name: String,
        /// The longest time.
        longest: std::time::Duration,
    },
    /// A region is over: its owner is gone, or it was removed.
    #[error("{name:?} is over: its owner is gone, or it was removed; open it again, if there is one again")]
    Ended {
        /// The region.
        name: String,
    },
    /// A region was held, or in place read, for longer than the lease while another waited.
    #[error(
        "{name:?} was held for longer than the lease of {lease:?} while another waited: nothing was committed (in place, it is to \
         be repaired), or read; do the work before, split it, or use a region with a longer lease_max"
    )]
    LeaseExpired {
        /// The region.
        name: String,
        /// How long it was.
        lease: std::time::Duration,
    },
    /// A region of which there is one copy was left half edited.
    #[error(
        "{name:?} is poisoned: a writer was killed, was late, or gave up in the middle of editing it in place; whoever may write to it can \
         repair it, by `tubepost region repair`, or `Region::repair` in a program"
    )]
    Poisoned {
        /// The region.
        name: String,
    },
    /// A region has another version than the one that a commit was meant for.
    #[error(
        "{name:?} has version {found}, not {expected}: somebody changed it; read it again, and decide anew"
    )]
    Changed {
        /// The region.
        name: String,
        /// The version that was expected.
        expected: u64,
        /// The version there is.
        found: u64,
    },
    /// Every buffer of a region is used, by readers of older versions and writers that were fenced.
    #[error(
        "all {max} versions of {name:?} are in use, by {}: nothing can be written until one of them lets go, or ends",
        names(holders)
    )]
    TooManyVersions {
        /// The region.
        name: String,
        /// The most there can be.
        max: u32,
        /// Who uses them.
        holders: Vec<crate::peer::Peer>,
    },
    /// A table has as many entries as it can have.
    #[error(
        "{name:?} has {capacity} entries, as many as it can have; remove some, or make one with a larger capacity"
    )]
    TableFull {
        /// The table.
        name: String,
        /// The most there can be.
        capacity: u64,
    },
    /// As many readers as there can be read a region at this moment.
    #[error("{max} readers read {name:?} at this moment, as many as there can be; drop some guards first")]
    TooManyReaders {
        /// The region.
        name: String,
        /// The most there can be.
        max: u32,
    },
    /// As many writers as there can be write to a region, or wait to.
    #[error("{max} writers write to {name:?} or wait to, as many as there can be; let some go first")]
    TooManyWriters {
        /// The region.
        name: String,
        /// The most there can be.
        max: u32,
    },
    /// All rows for members of this mailbox are taken.
    #[error("{name:?} already has {max} members; close some handles first")]
    TooManyMembers {
        /// The name.
        name: String,
        /// The most there can be.
        max: u32,
    },
    /// The handle belongs to the process from which this one was forked.
    #[error("this handle belongs to the parent process; open it again after fork()")]
    Forked,
    /// Another process is just creating or removing this name and does not finish (it may be stopped).
    #[error("another process is busy creating or removing {name:?}; try again")]
    Busy {
        /// The name.
        name: String,
    },
    /// As many connections wait to be accepted as can (kernel and sealed strategies, and links of the kernel strategy), and did so for as long as the call waits for that: of a mailbox
    /// a second, of a link 100 ms, unless it has a deadline. The owner, or the process, is stopped or busy, or somebody connects faster than it accepts.
    #[error(
        "{name:?} has {waiting} connections that it did not accept so far, and no more can wait: it is stopped or busy, or somebody connects faster than it accepts; try again"
    )]
    Crowded {
        /// The name of the mailbox, or of the process.
        name: String,
        /// How many wait.
        waiting: u64,
    },
    /// The mailbox is closed. Calls have enums of their own for this; it is what they become
    /// in a function that returns this type.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// No room or no message now, from a `try_` call, as for [`Closed`](Self::Closed); or another writes to a region.
    #[error("this would have to wait: there is no room, or no message, or it is another's turn")]
    WouldWait,
    /// No room, no message, no turn to write, or no change in time; as for [`Closed`](Self::Closed).
    #[error(
        "this would have to wait longer: there is no room, no message, no change, or it is another's turn"
    )]
    TimedOut,
    /// The owner shut the connection by which this handle sends, and goes on: it has as many connections as it takes of one user, or took what came
    /// by this one for rubbish.
    #[error(
        "the owner of {name:?} hung up on this handle; it may have too many connections of this user: close some, then open it again"
    )]
    HungUp {
        /// The mailbox.
        name: String,
    },
    /// This process was handed no end of a pair under this name, or it can't be taken.
    #[error(
        "no end of a pair called {name:?} can be taken here: {why}; a parent process hands one to a child by `Hand::hand` of the \
         command that it starts, and the child takes it once"
    )]
    NotHanded {
        /// The name under which it was looked for.
        name: String,
        /// What was found instead.
        why: String,
    },
    /// The system refused something it usually grants.
    #[error("{doing} {} failed: {}", path.display(), std::io::Error::from_raw_os_error(*errno))]
    Os {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's error number.
        errno: i32,
    },
}
