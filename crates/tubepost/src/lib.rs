//! Interprocess communication.

mod format;
mod memory;
mod message;

pub use format::Format;
pub use memory::plain::Plain;
pub use message::{Buffer, Message};
pub use tubepost_derive::Message;

/// What `#[derive(Message)]` generates code against; not part of the API.
#[doc(hidden)]
pub mod __private {
    pub use crate::memory::payload::Payload;
    pub use crate::memory::plain::{ALIGN_MAX, MessageIsCopy, Plain, SIZE_MAX, must_be_copy};
    pub use crate::memory::shape::{Field, Shape};
    pub use crate::message::Unfit;
}

// So that the crate's own tests can derive: the macro names `::tubepost`.
#[cfg(test)]
extern crate self as tubepost;
