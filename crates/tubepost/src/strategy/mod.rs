//! How messages travel. One module per strategy, and the contract that all of them keep.
//!
//! - A strategy moves bytes; it knows nothing of types. What it lends to a receiver is a
//!   [`Payload`](crate::memory::payload::Payload) that is copied out once.
//! - `try_` never sleeps (but where nothing is stored and the kernel copies: while a receiver that said it waits is
//!   to take the message, for 100 ms at most). Everything else sleeps only in `sync::wait`, ends at its deadline,
//!   at close and at the owner's death, and never lets EINTR out.
//! - No lock that another process may hold is ever waited for without a bound.
//! - Nothing that may block, allocate or run a caller's code happens between a claim and its
//!   publication.
//! - A handle used after `fork` in the child gives `Error::Forked` and touches nothing.

mod arrival;
mod ends;
pub(crate) mod file;
pub(crate) mod kernel;
mod link;
pub(crate) mod pair;
pub(crate) mod shared;

pub(crate) use arrival::{Arrival, Hand, With};
pub(crate) use ends::{CALLS, Collection, Inlet, Outlet};

use crate::domain::cleanup;
use crate::domain::segment::Segment;
use crate::error::{Closed, Error};
use crate::queue::layout::Choice;

/// Why a strategy did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// No room, no message; after a wait: the deadline came first.
    Waiting,
    /// The mailbox is closed.
    Closed(Closed),
    /// Something else is wrong. In a box, so that the usual outcomes stay small.
    Failed(Box<Error>),
}

impl From<Error> for Refusal {
    #[cold]
    fn from(error: Error) -> Refusal {
        Refusal::Failed(Box::new(error))
    }
}

/// Whether there can be a message of so many bytes: at most the longest, and of a plain type exactly its own.
#[inline]
pub(crate) fn allow(choice: &Choice, length: u64) -> Result<(), Error> {
    let longest = choice.max_message;
    if length > longest {
        return Err(Error::TooLong { length, max: longest });
    }
    if length < longest && !choice.variable {
        return Err(Error::WrongLength { length, expected: longest });
    }
    Ok(())
}

/// It is another process's; or this one stopped sending by it.
#[cold]
pub(crate) fn not_ours(segment: &Segment) -> Refusal {
    if segment.is_disowned() {
        // What was sent before is the receiver's, and only what it never collects is told.
        let is_over = segment.is_mapped_here() && (segment.is_closed() || segment.is_over());
        return Refusal::Closed(if is_over { cleanup::finish(segment) } else { Closed { uncollected: 0 } });
    }
    Error::Forked.into()
}
