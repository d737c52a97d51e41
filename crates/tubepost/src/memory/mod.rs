//! Memory that processes share, and what may stand in it.
//!
//! `plain` says which types survive the trip, `shape` describes their layout in words, `payload`
//! makes values of bytes that a queue lends, `data` lends what lies in a region, `copy` moves those bytes, `packet` has those that a socket brought. This folder knows nothing of
//! mailboxes and messages.

#[cfg(not(loom))]
pub(crate) mod copy;
pub mod data;
#[cfg(not(loom))]
pub(crate) mod packet;
pub mod payload;
pub mod plain;
pub mod shape;
