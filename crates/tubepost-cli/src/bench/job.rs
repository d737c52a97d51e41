//! One round of one row, as the near process asks the far one for it, and the words that name it.

use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What is measured: the library, a limit of the machine, or something to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Owned by the process that receives.
    Mailbox,
    /// Owned by the system: receivers compete.
    SystemMailbox,
    /// Owned by the process that receives, without a capacity.
    Unbounded,
    /// Capacity zero, from the call of a sender to its return.
    Rendezvous,
    /// Owned by the process that receives, copied by the kernel.
    KernelMailbox,
    SealedMailbox,
    /// Owned by the system, kept in files, not synced.
    FileMailbox,
    /// Many in one call, at both ends.
    Batch,
    /// Written and read where it is: only its first and last bytes.
    Loan,
    /// Received by a task of tokio.
    Async,
    /// Received by a task, and by a thread, when it is there already.
    AsyncReady,
    RecvReady,
    /// A mailbox, from the call of a sender that waits until its message is collected to its return.
    Collected,
    /// A question and its answer.
    Call,
    /// Between two processes that name each other.
    Link,
    /// The same, copied by the kernel.
    KernelLink,
    /// Between two processes that have no name for each other.
    Pair,
    /// Sent to, and received by, a process with so many links.
    #[value(name = "inbox-1")]
    #[serde(rename = "inbox-1")]
    Inbox1,
    #[value(name = "inbox-10")]
    #[serde(rename = "inbox-10")]
    Inbox10,
    #[value(name = "inbox-100")]
    #[serde(rename = "inbox-100")]
    Inbox100,
    #[value(name = "inbox-1000")]
    #[serde(rename = "inbox-1000")]
    Inbox1000,
    /// One version of a region, looked at where it lies; copied; made.
    RegionRead,
    RegionGet,
    RegionWrite,
    /// A few bytes changed in a large one.
    #[value(name = "region-range-1m")]
    #[serde(rename = "region-range-1m")]
    RegionRange1m,
    #[value(name = "region-range-256m")]
    #[serde(rename = "region-range-256m")]
    RegionRange256m,
    /// One that is edited in place: copied; edited.
    InPlaceGet,
    InPlaceWrite,
    RwlockRead,
    RwlockWrite,
    SeqlockRead,
    /// Kept in files: sent; sent, and on the disk; the same by eight at one time; read again by a cursor.
    FileAppend,
    FileEach,
    #[value(name = "file-each-of-8")]
    #[serde(rename = "file-each-of-8")]
    FileEachOf8,
    FileReplay,
    MmapAppend,
    Fdatasync,
    CacheLine,
    Copy,
    /// A copy within one process.
    Memcpy,
    Ring,
    /// The ring, whose two ends look at one flag for so many messages.
    RingBatch,
    Futex,
    Pipe,
    UnixSocket,
    /// A Unix socket that keeps packets apart, as the kernel strategy has it.
    Packets,
}

impl What {
    /// About appending to files: whatever the length.
    pub fn is_in_files(self) -> bool {
        use What::{Fdatasync, FileAppend, FileEach, FileEachOf8, FileReplay, MmapAppend};
        matches!(self, FileAppend | FileEach | FileEachOf8 | FileReplay | MmapAppend | Fdatasync)
    }

    /// Of an inbox: how many links it has.
    pub fn links(self) -> usize {
        match self {
            Self::Inbox10 => 10,
            Self::Inbox100 => 100,
            Self::Inbox1000 => 1000,
            _ => 1,
        }
    }
}

/// Which figure is taken of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    Latency,
    Stream,
}

/// How the processes wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    Spin,
    Block,
}

/// Where they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Each on a CPU of its own, the machine as it is.
    TwoCores,
    /// The same, with idle CPUs asked to poll instead of to sleep.
    IdlePoll,
    /// Both on one CPU.
    OneCore,
    /// Two senders and two receivers, each on a CPU of its own.
    FourCores,
}

/// What a far process does in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// All of the far side.
    Whole,
    /// Of several: see `crowd`.
    Receiver,
    Sender,
}

/// The word for a value, as it stands in the JSON and on the command line.
pub fn word<V: ValueEnum>(value: V) -> String {
    value.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default()
}

/// The lengths that are measured.
pub const LENGTHS: [u64; 7] = [8, 56, 64, 1024, 4096, 64 << 10, 1 << 20];

/// How many messages of a length there is room for, in mailboxes and in the ring: of small ones as many as a
/// mailbox has places by default, of large ones as many as stay in a cache.
pub const fn places(bytes: u64) -> u64 {
    match bytes {
        0..=1024 => 1024,
        1025..=65536 => 32,
        _ => 4,
    }
}

/// How many messages go in one batch.
pub const BATCH: usize = 32;

/// How many messages go by between two looks at the clock: a lap of small ones.
pub fn lap(bytes: u64) -> u64 {
    ((1 << 20) / bytes.max(1)).clamp(8, 1024)
}

/// One round.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Job {
    pub what: What,
    pub part: Part,
    pub measure: Measure,
    pub mode: Mode,
    pub place: Place,
    pub bytes: u64,
    /// The CPU of the far process.
    pub cpu: usize,
    pub time: Duration,
    /// How long the near process stays away before each round trip, so that the far one sleeps soundly.
    pub rest: Duration,
}
