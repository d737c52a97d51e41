//! The credit of one way of a pair that the kernel copies, as one end has it: a pipe without a name.
//!
//! Who receives puts tokens in, and nobody else; who sends has the end where they are taken out, each as an open file of its own.
//! So the sender can't put back what it could not use: that it keeps, in a counter of the kernel's
//! that is readable as long as there is any, for other threads may be waiting.
//!
//! **What if it dies here?** All of it goes, and the way with it.

use crate::os::{Errno, tokens};
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

/// One end's part of the credit.
#[derive(Debug)]
pub(crate) struct Purse {
    pipe: Arc<OwnedFd>,
    /// The sender's.
    kept: Option<Kept>,
}

/// What was taken, and not used: so many, and a counter that is to say as much.
#[derive(Debug)]
struct Kept {
    counter: OwnedFd,
    number: AtomicU64,
}

impl Purse {
    pub(super) fn new(pipe: OwnedFd, sends: bool) -> Result<Purse, Errno> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK | EventfdFlags::SEMAPHORE;
        let keeps = || Ok::<_, Errno>(Kept { counter: eventfd(0, flags)?, number: AtomicU64::new(0) });
        Ok(Purse { pipe: Arc::new(pipe), kept: sends.then(keeps).transpose()? })
    }

    pub(crate) fn pipe(&self) -> &Arc<OwnedFd> {
        &self.pipe
    }

    /// Keeps a token for the next time.
    pub(crate) fn keep(&self) {
        if let Some(kept) = &self.kept {
            kept.number.fetch_add(1, SeqCst);
            // Where the system refuses this nobody is woken, and who waits looks once a second.
            let _ = rustix::io::write(&kept.counter, &1u64.to_ne_bytes());
        }
    }

    /// Takes one that was kept, if there is any.
    pub(crate) fn take_kept(&self) -> bool {
        let Some(kept) = self.kept.as_ref().filter(|kept| kept.number.load(Relaxed) > 0) else {
            return false;
        };
        let taken = kept.number.fetch_update(Relaxed, Relaxed, |number| number.checked_sub(1)).is_ok();
        if taken {
            let _ = rustix::io::read(&kept.counter, &mut [0; 8][..]); // it may count less
        }
        taken
    }

    /// Whether there is any. If not, the counter says so too.
    pub(crate) fn has_kept(&self) -> bool {
        let Some(kept) = &self.kept else { return false };
        let any = || kept.number.load(SeqCst) > 0;
        any() || {
            let _ = rustix::io::read(&kept.counter, &mut [0; 8][..]); // it may have counted more
            any()
        }
    }

    /// Readable when there is any.
    pub(crate) fn counter(&self) -> Option<BorrowedFd<'_>> {
        self.kept.as_ref().map(|kept| kept.counter.as_fd())
    }

    /// How many messages may be sent now.
    pub(crate) fn count(&self) -> u64 {
        tokens::count(&*self.pipe) + self.kept.as_ref().map_or(0, |kept| kept.number.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_taken_again_and_nothing_else() {
        let (taken, put) = tokens::unnamed(4).expect("descriptors are left");
        assert!(tokens::is_unnamed(taken.as_fd(), true) && !tokens::is_unnamed(taken.as_fd(), false));
        assert!(tokens::is_unnamed(put.as_fd(), false) && !tokens::is_unnamed(put.as_fd(), true));
        tokens::put(put.as_fd(), 7).expect("there is room");
        assert!(tokens::put(taken.as_fd(), 8).is_err(), "who takes can't put");
        let (purse, other) = (Purse::new(taken, true), Purse::new(put, false));
        let (purse, other) = (purse.expect("descriptors are left"), other.expect("descriptors are left"));
        assert!(!purse.take_kept() && purse.count() == 1 && other.count() == 1);
        purse.keep();
        assert_eq!((purse.count(), other.count()), (2, 1));
        assert!(purse.take_kept() && !purse.take_kept());
        other.keep();
        assert!(!other.take_kept() && other.count() == 1);
        // Nobody takes any more.
        drop(purse);
        tokens::put(other.pipe().as_fd(), 8).expect("there is room");
        assert_eq!(other.count(), 2);
    }
}
