//! Interprocess communication, complete.

#![cfg_attr(loom, allow(dead_code, unused_imports))]

mod error;
mod format;
mod memory;
mod message;
#[cfg(not(loom))]
mod os;
mod queue;
mod sync;

#[cfg(not(loom))]
mod domain;
#[cfg(not(loom))]
mod mailbox;
#[cfg(not(loom))]
mod receiver;
#[cfg(not(loom))]
mod sender;
#[cfg(not(loom))]
mod strategy;

pub use error::{
    Closed, Error, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
pub use format::Format;
pub use memory::plain::Plain;
pub use message::{Buffer, Message};
pub use tubepost_derive::Message;

#[cfg(not(loom))]
pub use domain::{
    Domain,
    cleanup::Swept,
    entry::Id,
    member::Peer,
    stat::{Kind, Listed, Owner, OwnerKind, Stat, Strategy},
};
#[cfg(not(loom))]
pub use mailbox::{Mailbox, Options};
#[cfg(not(loom))]
pub use receiver::{Envelope, IntoIter, Iter, Receiver, TryIter};
#[cfg(not(loom))]
pub use sender::{Sender, SenderOptions};

/// What `#[derive(Message)]` generates code against; not part of the API.
#[doc(hidden)]
pub mod __private {
    pub use crate::memory::payload::{Payload, Unfit};
    pub use crate::memory::plain::{ALIGN_MAX, MessageIsCopy, Plain, SIZE_MAX, must_be_copy};
    pub use crate::memory::shape::{Field, Shape};
}

// So that the crate's own tests can derive: the macro names `::tubepost`.
#[cfg(test)]
extern crate self as tubepost;
