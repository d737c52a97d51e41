//! Processes on one machine exchange messages through named mailboxes in shared memory.
//!
//! A [`Mailbox`] is owned by a process, which alone receives from it, or by the system: then it stays
//! until it is removed, and any number of processes share the work of receiving. It is as fast as a cache line moves between two CPUs, and safe when any process is killed at any
//! instruction. There is no daemon.
//!
//! ```
//! # let dir = format!("/dev/shm/tubepost-doc-tour-{}", std::process::id());
//! # let domain = tubepost::Domain::open(&dir)?;
//! use std::time::Duration;
//! use tubepost::{Mailbox, Message, Sender};
//!
//! #[derive(Message, Clone, Copy, Debug, PartialEq)]
//! #[repr(C)]
//! struct Reading {
//!     sensor: u32,
//!     celsius: f32,
//! }
//!
//! // The owner. (`domain` is only here to keep this example to itself.)
//! let inbox = Mailbox::<Reading>::options().domain(&domain).bounded(64).own("readings")?;
//!
//! // Anybody else, in another process.
//! let out = Sender::<Reading>::options().domain(&domain).member("roof").open("readings")?;
//! out.send(Reading { sensor: 7, celsius: 21.5 })?;
//! out.send_timeout(Reading { sensor: 8, celsius: 19.0 }, Duration::from_secs(1))?;
//!
//! // The owner again.
//! let envelope = inbox.recv_envelope()?;
//! assert_eq!((envelope.message.sensor, &*envelope.sender.name), (7, "roof"));
//!
//! // It ends the mailbox; a process that dies ends its mailboxes too.
//! assert_eq!(inbox.close()?.uncollected, 1);
//! assert_eq!(out.closed()?.uncollected, 1);
//! # std::fs::remove_dir(&dir).unwrap();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to look
//!
//! - **Messages**: plain types by `#[derive(`[`Message`]`)]`, by value; `[u8]` and `str` with a
//!   length of their own. [`Format`] is what both sides agree on.
//!   With the feature `serde`, `Encoded` carries any type that serde knows.
//! - **Sending**: [`Sender`] has `send`, `try_send`, `send_timeout`, `send_deadline`; an
//!   unsent message comes back in the error. [`Sender::closed`] waits for the owner's end.
//! - **Receiving**: [`Receiver`] has `recv`, `try_recv`, `recv_timeout`, `recv_deadline`, each
//!   also into a buffer of one's own and with an [`Envelope`]; iterators. [`Receiver::take`] gives a
//!   [`Delivery`], which is consumed only when it is accepted.
//! - **Many at once**: [`Sender::send_many`] and [`Receiver::recv_many`] pay once for what messages share.
//! - **Tasks**: each call that waits has an `_async` form, for any executor; dropped, it has done nothing.
//! - **Event loops**: [`Receiver::doorbell`] and [`Sender::doorbell`] give a descriptor that is readable when there is something to do.
//!   **Several mailboxes at once**: [`Select`].
//! - **Processes that one starts**: [`pair`](pair()) is a [`Link`] without a name; [`Hand`] gives the other end to a child process, also to
//!   one in a sandbox, and [`inherited`] takes it there.
//! - **Work for several processes**: [`Options::create`], then [`Receiver::open`] in each.
//! - **What exists**: a [`Domain`] lists it, tells about it, and cleans up after the dead.
//! - **What goes wrong**: [`Error`] says what to do.
//!
//! Names and meanings are those of `crossbeam-channel` where they agree. They differ in this:
//! a mailbox does not close when the last sender goes, because others may come; its end is
//! its owner's, or its removal, and the error [`Closed`] says how many messages were never collected.
//!
//! # Strategies
//!
//! Messages go through memory that both share, or are copied by the kernel ([`Options::strategy`]), for peers that don't trust each other. Then
//! descriptors may travel with them: [`Sender::send_with`].
//!
//! # What it costs
//!
//! A blocking call polls for 30 µs before it sleeps ([`Options::spin`]). A process that waits
//! for another's death, or as a task, has one thread for all of them; one that never waits has none. No
//! descriptor is kept per mailbox, but one for each handle that a task or an event loop ever waited with. Attaching is ten times cheaper before the process has
//! several threads, because the kernel then registers it for memory barriers at once.

//!
//! # Features
//!
//! None is on by default, and none is needed for tasks.
//!
//! - `futures`: `Receiver::stream` and `Sender::sink`, for the combinators of the `futures` crates.
//! - `tokio`: in a tokio runtime (with its I/O enabled) its reactor wakes tasks; else a thread of the process does, which
//!   takes longer.

#![cfg_attr(loom, allow(dead_code, unused_imports))]

#[macro_use]
mod planted;

mod error;
mod format;
mod memory;
mod message;
#[cfg(not(loom))]
mod os;
mod peer;
mod queue;
mod sync;
mod versions;

#[cfg(not(loom))]
mod batch;
#[cfg(not(loom))]
mod call;
#[cfg(all(test, not(loom)))]
mod clock_steps;
#[cfg(not(loom))]
mod companion;
#[cfg(all(test, not(loom)))]
mod counted_alike;
#[cfg(not(loom))]
mod cursor;
#[cfg(not(loom))]
mod delivery;
#[cfg(not(loom))]
mod descriptors;
#[cfg(not(loom))]
mod domain;
#[cfg(not(loom))]
mod doorbell;
#[cfg(feature = "serde")]
mod encoded;
#[cfg(not(loom))]
mod files;
#[cfg(not(loom))]
mod handling;
#[cfg(not(loom))]
mod holding;
#[cfg(not(loom))]
mod inbox;
#[cfg(not(loom))]
mod inspect;
#[cfg(not(loom))]
mod journal;
#[cfg(not(loom))]
mod link;
#[cfg(not(loom))]
mod loan;
#[cfg(not(loom))]
mod mailbox;
#[cfg(not(loom))]
mod monitor;
#[cfg(not(loom))]
mod numbered;
#[cfg(not(loom))]
mod opaque;
#[cfg(not(loom))]
mod pair;
#[cfg(not(loom))]
mod process;
#[cfg(not(loom))]
mod receiver;
#[cfg(not(loom))]
mod region;
#[cfg(not(loom))]
mod segment;
#[cfg(not(loom))]
mod select;
#[cfg(not(loom))]
mod sender;
#[cfg(not(loom))]
mod stand_in;
#[cfg(not(loom))]
mod strategy;
#[cfg(all(feature = "futures", not(loom)))]
mod stream;
#[cfg(not(loom))]
mod table;
#[cfg(not(loom))]
mod tasks;
#[cfg(not(loom))]
mod unbounded;

/// The errors that are planted in this build.
#[cfg(planted)]
#[doc(hidden)]
pub use planted::names as __planted;

pub use error::{
    CallError, Closed, Error, Fate, RecvError, RecvTimeoutError, SendCollectedError, SendError,
    SendTimeoutError, TryRecvError, TrySendError, Whose,
};
pub use format::Format;
pub use memory::data::Data;
pub use memory::plain::Plain;
pub use message::{Buffer, Message};
pub use tubepost_derive::Message;

#[cfg(not(loom))]
pub use batch::SendManyError;
#[cfg(not(loom))]
pub use call::Call;
#[cfg(not(loom))]
pub use cursor::{Cursor, CursorOptions};
#[cfg(not(loom))]
pub use delivery::Delivery;
#[cfg(not(loom))]
pub use domain::{
    Domain,
    cleanup::Swept,
    segment::Id,
    stat::{CursorStat, Kind, Listed, LogStat, Owner, OwnerKind, Stat, Strategy},
};
#[cfg(not(loom))]
pub use doorbell::Doorbell;
#[cfg(feature = "serde")]
pub use encoded::Encoded;
#[cfg(not(loom))]
pub use files::{File, How, Retain};
#[cfg(not(loom))]
pub use holding::stat::{RegionStat, RegionWriter};
#[cfg(not(loom))]
pub use inbox::Inbox;
#[cfg(not(loom))]
pub use inspect::{Entries, Entry, Journal, Standing, Verified};
#[cfg(not(loom))]
pub use journal::{described::Fsync, recovery::Recovered};
#[cfg(not(loom))]
pub use link::{Link, LinkOptions};
#[cfg(not(loom))]
pub use loan::Loan;
#[cfg(not(loom))]
pub use mailbox::{Mailbox, Options};
#[cfg(not(loom))]
pub use monitor::{End, Monitor};
#[cfg(not(loom))]
pub use opaque::Opaque;
#[cfg(not(loom))]
pub use pair::{Endpoint, Hand, Handing, inherited, inherited_as, pair};
pub use peer::Peer;
#[cfg(not(loom))]
pub use process::{Process, ProcessOptions};
#[cfg(not(loom))]
pub use receiver::{Envelope, IntoIter, Iter, Receiver, ReceiverOptions, TryIter};
#[cfg(not(loom))]
pub use region::{Reading, Region, RegionDoorbell, RegionOptions, Writing};
#[cfg(not(loom))]
pub use segment::{Segment, SegmentOptions};
#[cfg(not(loom))]
pub use select::{ReadyTimeoutError, Select, TryReadyError};
#[cfg(not(loom))]
pub use sender::{Sender, SenderOptions};
#[cfg(not(loom))]
pub use stand_in::Carried;
#[cfg(not(loom))]
pub use strategy::file::cursor::From;
#[cfg(all(feature = "futures", not(loom)))]
pub use stream::{ReceiverStream, SenderSink};
#[cfg(not(loom))]
pub use table::{Table, TableEntry, TableOptions, TableReading, TableWriting};

/// What `#[derive(Message)]` generates code against; not part of the API.
#[doc(hidden)]
pub mod __private {
    pub use crate::memory::payload::{Payload, Unfit};
    pub use crate::memory::plain::{ALIGN_MAX, MessageIsCopy, Plain, SIZE_MAX, must_be_copy};
    pub use crate::memory::shape::{Field, Shape};
}

// So that the crate itself can derive: the macro names `::tubepost`.
#[cfg(any(test, not(loom)))]
extern crate self as tubepost;
