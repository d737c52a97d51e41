//! What a handle may be ready for: a receiver, that there is something to receive; a sender, that there is room. Or
//! that a call has something else to say: that it is closed.
//!
//! For those who wait for several handles, or for a descriptor, and then try for themselves.

use super::Attachment;
use super::handed_on::HandedOn;
use super::inlet::Inlet;
use super::outlet::Outlet;
use crate::strategy::{self, file, kernel};
use crate::sync::doors::{MESSAGES, ROOM};
use crate::sync::wait::Bell;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

/// One handle, for what it is there for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End<'a> {
    In(&'a Inlet),
    Out(&'a Outlet),
    /// Those of the kernel strategy have a descriptor, and nothing else to wait at.
    KernelIn(&'a kernel::inlet::Inlet),
    KernelOut(&'a kernel::outlet::Outlet),
    FileIn(&'a file::inlet::Inlet),
    FileOut(&'a file::outlet::Outlet),
    HandedOn(&'a HandedOn),
    Cursor(&'a file::cursor::Cursor),
}

impl<'a> End<'a> {
    pub(crate) fn inlet(inlet: &'a strategy::Inlet) -> End<'a> {
        match inlet {
            strategy::Inlet::Shared(inlet) => End::In(inlet),
            strategy::Inlet::Kernel(inlet) => End::KernelIn(inlet),
            strategy::Inlet::File(inlet) => End::FileIn(inlet),
        }
    }

    pub(crate) fn outlet(outlet: &'a strategy::Outlet) -> End<'a> {
        match outlet {
            strategy::Outlet::Shared(outlet) => End::Out(outlet),
            strategy::Outlet::Kernel(outlet) => End::KernelOut(outlet),
            strategy::Outlet::File(outlet) => End::FileOut(outlet),
            strategy::Outlet::HandedOn(outlet) => End::HandedOn(outlet),
        }
    }

    /// Of those that share memory.
    pub(crate) fn at(self) -> Option<&'a Arc<Attachment>> {
        match self {
            End::In(inlet) => Some(&inlet.at),
            End::Out(outlet) => Some(&outlet.at),
            End::FileIn(inlet) => Some(&inlet.at),
            End::FileOut(outlet) => Some(&outlet.at),
            End::HandedOn(outlet) => Some(&outlet.0.at),
            End::Cursor(cursor) => Some(&cursor.at),
            End::KernelIn(_) | End::KernelOut(_) => None,
        }
    }

    /// A descriptor that is readable when it may be ready; of those that share none.
    pub(crate) fn descriptor(self) -> Option<BorrowedFd<'a>> {
        match self {
            End::In(_)
            | End::Out(_)
            | End::FileIn(_)
            | End::FileOut(_)
            | End::HandedOn(_)
            | End::Cursor(_) => None,
            End::KernelIn(inlet) => Some(inlet.descriptor()),
            End::KernelOut(outlet) => outlet.descriptor().ok(),
        }
    }

    pub(crate) fn spin(self) -> Duration {
        self.at().map(|at| at.spin()).unwrap_or_default()
    }

    pub(crate) fn reason(self) -> u32 {
        match self {
            End::In(_) | End::KernelIn(_) | End::FileIn(_) | End::Cursor(_) => MESSAGES,
            End::Out(_) | End::KernelOut(_) | End::FileOut(_) | End::HandedOn(_) => ROOM,
        }
    }

    pub(crate) fn bell(self) -> Option<Bell<'a>> {
        match self {
            End::In(inlet) => Some(inlet.at.segment.messages()),
            End::Out(outlet) => Some(outlet.at.segment.room()),
            End::FileIn(inlet) => Some(inlet.at.segment.messages()),
            End::FileOut(outlet) => Some(outlet.at.segment.room()),
            End::HandedOn(outlet) => Some(outlet.0.at.segment.room()),
            End::Cursor(cursor) => Some(cursor.at.segment.messages()),
            End::KernelIn(_) | End::KernelOut(_) => None,
        }
    }

    /// Whether a call would not wait, as it seems. In a forked child it says so at once.
    pub(crate) fn is_ready(self) -> bool {
        match self {
            End::In(inlet) => !inlet.at.segment.is_ours() || inlet.may_take(),
            End::Out(outlet) => !outlet.at.segment.is_ours() || outlet.may_send(),
            End::KernelIn(inlet) => inlet.may_take(),
            End::KernelOut(outlet) => outlet.may_send(),
            End::FileIn(inlet) => !inlet.at.segment.is_ours() || inlet.may_take(),
            End::FileOut(outlet) => !outlet.at.segment.is_ours() || outlet.may_send(),
            // Nobody waits here to receive.
            End::HandedOn(outlet) => !outlet.0.at.segment.is_ours() || outlet.0.at.segment.is_closed(),
            End::Cursor(cursor) => !cursor.at.segment.is_ours() || cursor.may_take(),
        }
    }

    /// What is done before a wait: how long that may be at most; nothing, if a call would not wait.
    pub(crate) fn look(self) -> Option<Duration> {
        match self {
            End::In(inlet) => inlet.look_before_waiting().ok(),
            End::Out(outlet) => outlet.look_before_waiting().ok(),
            End::KernelIn(inlet) => inlet.look_before_waiting().ok(),
            End::KernelOut(outlet) => outlet.look_before_waiting().ok(),
            End::FileIn(inlet) => inlet.look_before_waiting().ok(),
            End::FileOut(outlet) => outlet.look_before_waiting().ok(),
            End::HandedOn(outlet) => outlet.0.at.look_for_end().ok(),
            End::Cursor(cursor) => cursor.look_before_waiting().ok(),
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
