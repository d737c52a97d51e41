//! What a handle may be ready for: a receiver, that there is something to receive; a sender, that there is room. Or
//! that a call has something else to say: that it is closed.
//!
//! For those who wait for several handles, or for a descriptor, and then try for themselves.

use super::Attachment;
use super::inlet::Inlet;
use super::outlet::Outlet;
use crate::sync::doors::{MESSAGES, ROOM};
use crate::sync::wait::Bell;
use std::sync::Arc;
use std::time::Duration;

/// One handle, for what it is there for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End<'a> {
    In(&'a Inlet),
    Out(&'a Outlet),
}

impl<'a> End<'a> {
    pub(crate) fn at(self) -> &'a Arc<Attachment> {
        match self {
            End::In(inlet) => &inlet.at,
            End::Out(outlet) => &outlet.at,
        }
    }

    pub(crate) fn reason(self) -> u32 {
        match self {
            End::In(_) => MESSAGES,
            End::Out(_) => ROOM,
        }
    }

    pub(crate) fn bell(self) -> Bell<'a> {
        match self {
            End::In(inlet) => inlet.at.segment.messages(),
            End::Out(outlet) => outlet.at.segment.room(),
        }
    }

    /// Whether a call would not wait, as it seems. In a forked child it says so at once.
    pub(crate) fn is_ready(self) -> bool {
        !self.at().segment.is_ours()
            || match self {
                End::In(inlet) => inlet.may_take(),
                End::Out(outlet) => outlet.may_send(),
            }
    }

    /// What is done before a wait: how long that may be at most; nothing, if a call would not wait.
    pub(crate) fn look(self) -> Option<Duration> {
        match self {
            End::In(inlet) => inlet.look_before_waiting().ok(),
            End::Out(outlet) => outlet.look_before_waiting().ok(),
        }
    }

    /// Who leaves after a sleep, and may have been the one that a message woke, wakes another for it.
    pub(crate) fn pass_on(self) {
        if let End::In(inlet) = self
            && inlet.at.segment.is_ours()
            && inlet.may_take()
        {
            inlet.at.segment.messages().wake();
        }
    }
}
