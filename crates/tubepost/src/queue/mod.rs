//! The queues, over memory that others may write to, and the layout of that memory.
//!
//! # Safety
//!
//! `unsafe` is allowed in this folder: turning checked offsets into references.
#![allow(unsafe_code)]

#[cfg(not(loom))]
pub(crate) mod about;
pub(crate) mod areas;
#[cfg(not(loom))]
mod authors;
#[cfg(not(loom))]
pub(crate) mod calls;
#[cfg(not(loom))]
pub(crate) mod cells;
#[cfg(not(loom))]
pub(crate) mod chunks;
pub(crate) mod collected;
#[cfg(not(loom))]
pub(crate) mod directory;
#[cfg(not(loom))]
pub(crate) mod fencing;
pub(crate) mod handoff;
#[cfg(not(loom))]
pub(crate) mod in_hand;
#[cfg(not(loom))]
pub(crate) mod in_place;
#[cfg(not(loom))]
pub(crate) mod layout;
#[cfg(not(loom))]
pub(crate) mod mapped;
#[cfg(not(loom))]
pub(crate) mod rows;
pub(crate) mod runs;
#[cfg(not(loom))]
pub(crate) mod sealed;
#[cfg(not(loom))]
pub(crate) mod segments;
pub(crate) mod slots;
pub(crate) mod takes;
