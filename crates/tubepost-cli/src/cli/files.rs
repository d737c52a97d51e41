//! What `tubepost create` understands of mailboxes that are kept in files, and `tubepost journal`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand, ValueEnum};
use tubepost::Fsync;

use crate::quantity::{duration, size};

/// How the messages of a mailbox of the system are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kept {
    Shared,
    File,
}

#[derive(Debug, Args)]
pub struct InFiles {
    /// How messages are kept: in shared memory, or in files, which outlive the machine's running [default: shared]
    #[arg(long, value_enum, value_name = "shared|file")]
    pub strategy: Option<Kept>,
    /// The directory of the files, this mailbox's own; if it holds one already, that is opened again
    /// [default: by name, below $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "D")]
    pub dir: Option<PathBuf>,
    /// When messages are brought to the disk: never of ourselves; each, before its send returns; or at
    /// the latest after so long [default: never]
    #[arg(long, value_name = "never|DUR|each", value_parser = fsync)]
    pub fsync: Option<Fsync>,
    /// Keep what was received for cursors that come later: the last 1000 (messages), 10MiB, or 1h; may be
    /// given for each. Or cursors: nothing but what one that has a place has still to read [default]
    #[arg(long, value_name = "N|SIZE|DUR|cursors", value_parser = retained)]
    pub retain: Vec<Retained>,
    /// So many bytes may wait, then senders wait [default: as many as the disk has]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_bytes: Option<u64>,
}

/// What is kept though it was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retained {
    Messages(u64),
    Bytes(u64),
    Age(Duration),
    Cursors,
}

/// `never`, `each`, `10ms`.
fn fsync(text: &str) -> Result<Fsync, String> {
    match text {
        "never" => Ok(Fsync::Never),
        "each" => Ok(Fsync::Each),
        time => match duration(time) {
            Ok(time) if !time.is_zero() => Ok(Fsync::Every(time)),
            _ => Err("expected never, each, or a time, such as 10ms or 1s".into()),
        },
    }
}

/// `1000`, `10MiB`, `1h`; or `count=1000`, `bytes=10MiB`, `age=1h`; or `cursors`.
fn retained(text: &str) -> Result<Retained, String> {
    let wrong = || {
        "expected a number of messages, such as 1000, of bytes, such as 10MiB, a time, such as 1h, or cursors"
            .to_string()
    };
    let (what, value) = text.split_once('=').unwrap_or(("", text));
    let digits = value.bytes().all(|it| it.is_ascii_digit()) && !value.is_empty();
    match what {
        "" if text == "cursors" => Ok(Retained::Cursors),
        "" | "count" | "messages" if digits => value.parse().map(Retained::Messages).map_err(|_| wrong()),
        "" => match (size(value), duration(value)) {
            (Ok(bytes), _) => Ok(Retained::Bytes(bytes)),
            (_, Ok(age)) => Ok(Retained::Age(age)),
            _ => Err(wrong()),
        },
        "bytes" => size(value).map(Retained::Bytes),
        "age" => duration(value).map(Retained::Age),
        _ => Err(wrong()),
    }
}

/// `start`, `end`, `1200`, `2026-11-22T10:00:00Z`, `5m` (ago).
pub fn from(text: &str) -> Result<tubepost::From, String> {
    let ago = |time| SystemTime::now().checked_sub(time).unwrap_or(SystemTime::UNIX_EPOCH);
    match text {
        "start" => Ok(tubepost::From::Start),
        "end" => Ok(tubepost::From::End),
        number if !number.is_empty() && number.bytes().all(|it| it.is_ascii_digit()) => {
            number.parse().map(tubepost::From::Seq).map_err(|_| "that number is too large".into())
        }
        time => humantime::parse_rfc3339_weak(time)
            .or_else(|_| duration(time).map(ago))
            .map(tubepost::From::Time)
            .map_err(|_| {
                "expected start, end, the number of a message, a time such as 2026-11-22T10:00:00Z, or how long ago, such as 5m".into()
            }),
    }
}

#[derive(Debug, Subcommand)]
pub enum Journal {
    /// Look at every message of a mailbox that is kept in files; exit code 1 if one is damaged
    Verify {
        /// The mailbox
        name: String,
    },
    /// Print what is there: number, time, sender, what became of it, and the text, with tabs between
    Dump {
        /// The mailbox
        name: String,
        /// Begin with the message of this number
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        from: u64,
        /// A line of JSON for each
        #[arg(long)]
        json: bool,
    },
    /// Give up what is damaged, and cut off what is behind the last whole message; nobody may be using it
    Repair {
        /// The mailbox
        name: String,
    },
}
