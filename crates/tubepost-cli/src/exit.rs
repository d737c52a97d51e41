//! Exit codes, and the one line on standard error that goes with them. Every error of the library becomes
//! an exit code here and nowhere else.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done; also when nobody reads our output any more |
//! | 1 | failed |
//! | 2 | usage: an option, a name |
//! | 3 | would wait, or waited too long |
//! | 4 | no such name, or its owner is dead |
//! | 5 | closed: the owner went while the mailbox was in use, or it was removed; the other end of a link died |
//! | 6 | a region was held for longer than the lease |
//! | 130, 143 | interrupted, terminated |

use std::fmt::Display;
use std::io;

use tubepost::{
    CallError, Closed, Error, Fate, RecvError, RecvTimeoutError, SendCollectedError, SendError,
    SendTimeoutError, TryRecvError, TrySendError,
};

/// Why the command ends, when it does not end well: an exit code, and what is said about it.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    fn new(code: u8, text: impl Display) -> Self {
        Self { code, text: text.to_string() }
    }

    /// 1: it did not work.
    pub fn failed(text: impl Display) -> Self {
        Self::new(1, text)
    }

    /// 1: standard input has more than fits; no more of it was read than tells that.
    pub fn too_long(what: impl Display, longest: u64) -> Self {
        Self::failed(format!("{what}, on standard input, does not fit: at most {longest} bytes do here"))
    }

    /// 3: a send where nothing waits, and nobody waited to receive, now or in time.
    pub fn nobody_receives(in_time: bool) -> Self {
        would_wait(if in_time { NOBODY_CAME } else { NOBODY_WAITS })
    }

    /// 3: of a link, no room came in time.
    pub fn link_stayed_full() -> Self {
        would_wait(LINK_FULL)
    }

    /// 5: of a link, who was to receive is gone.
    pub fn link_closed(closed: Closed) -> Self {
        let never = match closed.uncollected {
            0 => "every message was collected".to_string(),
            1 => "1 message was never collected".to_string(),
            n => format!("{n} messages were never collected"),
        };
        Self::new(5, format_args!("the link is closed: the process that receives is gone; {never}"))
    }

    /// 2: it was asked for in a way that cannot be.
    pub fn usage(text: impl Display) -> Self {
        Self::new(2, text)
    }

    /// 5: a process that was talked with died.
    pub fn died(pid: u32) -> Self {
        Self::new(5, format_args!("it died (process {pid}); what it sent before was received"))
    }

    /// 3: others wrote to a region all the time.
    pub fn not_our_turn() -> Self {
        would_wait(NOT_OUR_TURN)
    }

    /// 3: of a region in place, a writer was late, and we may only read.
    pub fn held_for_too_long() -> Self {
        would_wait(HELD_TOO_LONG)
    }

    /// 3: of a region in place, who could still write to it did not let go in time.
    pub fn still_poisoned() -> Self {
        would_wait(STILL_POISONED)
    }

    /// 6: a version was kept for longer than the lease after there was a newer one.
    pub fn kept_too_long(version: u64, lease: std::time::Duration) -> Self {
        Self::new(
            6,
            format_args!(
                "there is a newer version than {version}, which was kept for longer than the lease of {lease:?}; it \
                 stayed as it was"
            ),
        )
    }

    /// An end that was asked for and needs no words.
    pub fn quiet(code: u8) -> Self {
        Self::new(code, "")
    }

    /// The same, said about something.
    pub fn about(self, what: impl Display) -> Self {
        if self.text.is_empty() { self } else { Self { text: format!("{what}: {}", self.text), ..self } }
    }

    /// The same, and something to know besides.
    pub fn noting(self, what: impl Display) -> Self {
        if self.text.is_empty() { self } else { Self { text: format!("{}; {what}", self.text), ..self } }
    }

    pub fn code(&self) -> u8 {
        self.code
    }

    /// Says it, in one line.
    pub fn report(&self) {
        if !self.text.is_empty() {
            complain(&self.text);
        }
    }
}

/// One line on standard error. Whatever names and labels contain, it moves no cursor and stays a line.
pub fn complain(text: impl Display) {
    eprintln!("tubepost: {}", printable(&text.to_string()));
}

/// The text with control characters written out.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error {
            Error::BadName { .. } | Error::BadOption { .. } => 2,
            Error::WouldWait | Error::TimedOut | Error::Crowded { .. } | Error::Underway { .. } => 3,
            Error::NoSuchName { .. } | Error::OwnerGone { .. } => 4,
            Error::Closed(_) | Error::Ended { .. } => 5,
            Error::LeaseExpired { .. } => 6,
            _ => 1,
        };
        Self::new(code, error)
    }
}

impl From<Closed> for Failure {
    fn from(closed: Closed) -> Self {
        Self::new(5, closed)
    }
}

fn would_wait(why: &str) -> Failure {
    Failure::new(3, why)
}

const FULL: &str = "the mailbox is full; try again later, or let it wait with --timeout";
const NO_ROOM: &str = "the mailbox stayed full for as long as --timeout allows, as if nobody received";
const LINK_FULL: &str =
    "the link stayed full for as long as --timeout allows, as if that process did not receive";
const NOBODY_WAITS: &str = "nobody is waiting to receive, and a mailbox of capacity 0 keeps no messages; start a \
     receiver, or wait for one with --timeout";
const NOBODY_CAME: &str =
    "nobody came to receive within --timeout, and a mailbox of capacity 0 keeps no messages";
const NOT_OUR_TURN: &str =
    "it was others' turn to write for as long as --timeout allows; nothing was changed";
const HELD_TOO_LONG: &str = "a writer has held it for longer than its lease, and who only reads can't take it from that one; nothing was \
     read; try again, or end that writer";
const STILL_POISONED: &str = "it is poisoned, and could not be repaired within --timeout: a writer that was late may write to it still; give it \
     longer than another lease_max, or end that writer";
const UNCOLLECTED: &str = "nobody received the message within --timeout; it was withdrawn";
const NOT_COLLECTED: &str = "the message was not received";
const UNKNOWN: &str = "whether the message was received is not known";
const NO_ANSWER: &str = "no answer came within --timeout";
const EMPTY: &str = "no message is waiting; try again later, or let it wait with --timeout";
const NO_MESSAGE: &str = "no message came within --timeout";

impl<S> From<SendError<S>> for Failure {
    fn from(error: SendError<S>) -> Self {
        match error {
            SendError::Closed(_, closed) => closed.into(),
            SendError::Failed(_, error) => error.into(),
        }
    }
}

impl<S> From<TrySendError<S>> for Failure {
    fn from(error: TrySendError<S>) -> Self {
        match error {
            TrySendError::Full(_) => would_wait(FULL),
            TrySendError::Closed(_, closed) => closed.into(),
            TrySendError::Failed(_, error) => error.into(),
        }
    }
}

impl<S> From<SendTimeoutError<S>> for Failure {
    fn from(error: SendTimeoutError<S>) -> Self {
        match error {
            SendTimeoutError::Timeout(_) => would_wait(NO_ROOM),
            SendTimeoutError::Closed(_, closed) => closed.into(),
            SendTimeoutError::Failed(_, error) => error.into(),
        }
    }
}

impl<S> From<SendCollectedError<S>> for Failure {
    fn from(error: SendCollectedError<S>) -> Self {
        match error {
            SendCollectedError::Timeout(_) => would_wait(UNCOLLECTED),
            SendCollectedError::Closed(_, closed, fate) => {
                let failure = Failure::from(closed);
                match fate {
                    Fate::NotCollected => failure.noting(NOT_COLLECTED),
                    Fate::Unknown => failure.noting(UNKNOWN),
                }
            }
            SendCollectedError::Failed(_, error) => error.into(),
        }
    }
}

impl<S> From<CallError<S>> for Failure {
    fn from(error: CallError<S>) -> Self {
        match error {
            CallError::Timeout(_) => would_wait(NO_ANSWER),
            CallError::Unanswered(_) => Error::Unanswered.into(),
            CallError::Closed(_, closed, fate) => {
                let failure = Failure::from(closed);
                match fate {
                    Fate::NotCollected => failure.noting("the question was not received"),
                    Fate::Unknown => failure.noting("the question was received, and not answered"),
                }
            }
            CallError::Failed(_, error) => error.into(),
        }
    }
}

impl From<RecvError> for Failure {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Closed(closed) => closed.into(),
            RecvError::Failed(error) => error.into(),
        }
    }
}

impl From<TryRecvError> for Failure {
    fn from(error: TryRecvError) -> Self {
        match error {
            TryRecvError::Empty => would_wait(EMPTY),
            TryRecvError::Closed(closed) => closed.into(),
            TryRecvError::Failed(error) => error.into(),
        }
    }
}

impl From<RecvTimeoutError> for Failure {
    fn from(error: RecvTimeoutError) -> Self {
        match error {
            RecvTimeoutError::Timeout => would_wait(NO_MESSAGE),
            RecvTimeoutError::Closed(closed) => closed.into(),
            RecvTimeoutError::Failed(error) => error.into(),
        }
    }
}

/// What writing to standard output may come to: a reader who went away has had enough.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::quiet(0),
            _ => Self::failed(format!("standard output: {error}")),
        }
    }
}
