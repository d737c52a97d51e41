//! Memory that processes share, and what may stand in it.
//!
//! `plain` says which types survive the trip, `shape` describes their layout in words, `payload`
//! copies their bytes out of a queue. This folder knows nothing of mailboxes and messages.

pub mod payload;
pub mod plain;
pub mod shape;
