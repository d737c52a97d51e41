//! The bytes of a message that came by a socket: in memory; or still there, if they are many, to be copied to where they belong and nowhere else.
//!
//! # Safety
//!
//! One promise is made here: that of [`Payload`], to initialise all that it is given.

#![allow(unsafe_code)]

use super::payload::Payload;
use crate::os::packet;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// See the module's text.
#[derive(Debug)]
pub(crate) enum Body {
    Here(Vec<u8>),
    There {
        socket: Arc<OwnedFd>,
        length: usize,
        /// It was copied: it is there no more.
        gone: Cell<bool>,
    },
}

impl Body {
    pub(crate) fn there(socket: &Arc<OwnedFd>, length: usize) -> Body {
        Body::There { socket: Arc::clone(socket), length, gone: Cell::new(false) }
    }

    /// Whether it is in its socket still.
    pub(crate) fn is_there(&self) -> bool {
        matches!(self, Body::There { gone, .. } if !gone.get())
    }

    /// Whether it was copied from its socket, and is nowhere else.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Body::There { gone, .. } if gone.get())
    }

    /// Takes it out of its socket.
    pub(crate) fn fetch(&mut self) {
        if self.is_there() {
            let mut bytes = Vec::new();
            super::payload::replace(self, &mut bytes);
            *self = Body::Here(bytes);
        }
    }

    /// The bytes, if they are here.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Body::Here(bytes) => bytes,
            Body::There { .. } => &[],
        }
    }
}

// SAFETY: either way all of `dst` is initialised: by a copy of initialised bytes; by `receive_there`, which promises it; or with zeros.
unsafe impl Payload for Body {
    #[inline]
    fn len(&self) -> usize {
        match self {
            Body::Here(bytes) => bytes.len(),
            Body::There { length, .. } => *length,
        }
    }

    #[inline]
    fn copy_to(&self, dst: &mut [MaybeUninit<u8>]) {
        match self {
            Body::Here(bytes) => Payload::copy_to(&bytes[..], dst),
            Body::There { socket, length, gone } => {
                if !gone.replace(true) && dst.len() == *length {
                    packet::receive_there(socket.as_fd(), dst);
                } else {
                    dst.fill(MaybeUninit::new(0)); // nobody asks twice, or for less
                }
            }
        }
    }
}
