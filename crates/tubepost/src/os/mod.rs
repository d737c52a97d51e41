//! The operating system, thinly: what Linux offers, as safe functions with rustix's errors.
//!
//! Nothing here knows what a mailbox is. What other systems would need goes here too.
//!
//! # Safety
//!
//! `unsafe` is allowed in this folder: mappings, and the few calls that rustix does not
//! offer (open-file-description locks, signal masks).
#![allow(unsafe_code)]

#[cfg(not(loom))]
pub(crate) mod arrivals;
pub(crate) mod clock;
pub(crate) mod cpu;
pub(crate) mod door;
pub(crate) mod fault;
pub(crate) mod file;
pub(crate) mod fork;
pub(crate) mod futex;
pub(crate) mod handing;
pub(crate) mod lock;
pub(crate) mod map;
pub(crate) mod memfd;
pub(crate) mod packet;
pub(crate) mod pid;
pub(crate) mod sealed;
pub(crate) mod thread;
pub(crate) mod timer;
pub(crate) mod tokens;

pub(crate) use rustix::io::Errno;
