//! Waiting, watching and excluding: what lets processes and threads take turns.
//!
//! Atomics and the kernel's sleep are reached through this module by the queues and by
//! [`wait`] and [`sole`], so that a model checker can stand in for both (`--cfg loom`).
//!
//! # Safety
//!
//! `unsafe` is allowed in this folder.
#![allow(unsafe_code)]

pub(crate) mod doors;
pub(crate) mod sole;
pub(crate) mod wait;
#[cfg(not(loom))]
pub(crate) mod watch;

/// The atomics of the real machine, or the model checker's.
pub(crate) mod atomic {
    #[cfg(loom)]
    pub(crate) use super::modelled::{AtomicU32, AtomicU64, Ordering, fence};
    #[cfg(not(loom))]
    pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
}

/// The kernel's part in waiting, or the model checker's.
pub(crate) mod kernel {
    #[cfg(loom)]
    pub(crate) use super::modelled::{barrier_everywhere, sleep, wake_all, wake_one};
    #[cfg(not(loom))]
    pub(crate) use crate::os::cpu::barrier_everywhere;
    #[cfg(not(loom))]
    pub(crate) use crate::os::futex::{sleep, sleep_on_any, wake_all, wake_one};
}

#[cfg(loom)]
pub(crate) mod modelled;
