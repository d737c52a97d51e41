//! One version, to look at: lent, or, of data that is kept once, copied.

use super::Hold;
use super::own::Own;
use super::reading::Lent;
use super::writing::Patience;
use crate::error::Error;
use crate::memory::data::Data;
use std::mem::MaybeUninit;
use std::time::Duration;

/// See the module's text.
#[derive(Debug)]
pub(crate) enum Shown<'a> {
    Lent(Lent<'a>),
    Apart(Box<Apart<'a>>),
}

/// What is rarer, so that the other needs no more memory.
#[derive(Debug)]
pub(crate) enum Apart<'a> {
    /// For a lease of one's own, in nanoseconds.
    For(Lent<'a>, u64),
    /// With the number of the version.
    Copied(Own, u64),
}

impl Hold {
    /// The newest version, whichever way.
    #[inline(never)]
    pub(crate) fn show(&self, patience: Patience, lease: Option<Duration>) -> Result<Shown<'_>, Error> {
        if self.in_place {
            return self.show_copy(patience, lease);
        }
        let lent = self.lend()?;
        Ok(match lease {
            None => Shown::Lent(lent),
            Some(_) => Shown::Apart(Box::new(Apart::For(lent, self.lease(lease)?))),
        })
    }

    fn show_copy(&self, patience: Patience, lease: Option<Duration>) -> Result<Shown<'_>, Error> {
        let mut copied = Ok(0);
        let own = Own::of(self.length(), |to| copied = self.copy_in_place(0, to, patience, lease));
        copied.map(|version| Shown::Apart(Box::new(Apart::Copied(own, version))))
    }

    /// Copies some bytes of one version, and gives its number.
    pub(crate) fn copy_some(&self, from: usize, to: &mut [u8]) -> Result<u64, Error> {
        assert!(
            from <= self.length() && to.len() <= self.length() - from,
            "{} bytes from {from} on, of a region that has {}",
            to.len(),
            self.length()
        );
        // SAFETY: bytes that are written to are bytes; nothing else is.
        let to: &mut [MaybeUninit<u8>] = unsafe { &mut *(std::ptr::from_mut(to) as *mut [MaybeUninit<u8>]) };
        if self.in_place {
            return self.copy_in_place(from, to, Patience::Endless, None);
        }
        let pinned = self.pin()?;
        pinned.copy(from, to);
        Ok(pinned.version())
    }
}

impl Shown<'_> {
    #[inline(always)]
    pub(crate) fn view<D: Data + ?Sized>(&self) -> &D {
        match self {
            Shown::Lent(lent) => lent.view(),
            Shown::Apart(apart) => apart.view(),
        }
    }

    pub(crate) fn version(&self) -> u64 {
        match self {
            Shown::Lent(lent) => lent.version(),
            Shown::Apart(apart) => match &**apart {
                Apart::For(lent, _) => lent.version(),
                Apart::Copied(_, version) => *version,
            },
        }
    }

    pub(crate) fn is_expired(&self) -> bool {
        match self {
            Shown::Lent(lent) => lent.is_expired(),
            Shown::Apart(apart) => match &**apart {
                Apart::For(lent, lease) => lent.is_expired_after(*lease),
                Apart::Copied(..) => false,
            },
        }
    }
}

impl Apart<'_> {
    #[inline(never)]
    fn view<D: Data + ?Sized>(&self) -> &D {
        match self {
            Apart::For(lent, _) => lent.view(),
            // SAFETY: all of the copy, which is this one's, and aligned as any data is.
            Apart::Copied(own, _) => unsafe { D::at(own.start(), own.bytes().len()) },
        }
    }
}
