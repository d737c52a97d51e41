//! One version, pinned: it stays as it is until this is dropped.

use super::Hold;
use super::own::Own;
use crate::error::Error;
use crate::memory::copy;
use crate::memory::data::Data;
use crate::os::clock;
use crate::queue::layout::Reader;
use crate::versions::readers;
use crate::versions::words::Buffer;
use std::mem::MaybeUninit;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Pinned<'a> {
    hold: &'a Hold,
    row: usize,
    reader: &'a Reader,
    buffer: Buffer,
}

impl Hold {
    /// Pins the newest version, if there is nothing to be told, and a row within reach.
    #[inline(always)]
    fn pin_quickly(&self) -> Option<Pinned<'_>> {
        if !self.is_usable() {
            return None;
        }
        let row = self.sole.hold_quickly().and_then(|_alone| self.row.take())?;
        let Some(reader) = self.row_at(row) else {
            self.row.put(row);
            return None;
        };
        let buffer = readers::pin(self.current(), &reader.word);
        Some(Pinned { hold: self, row, reader, buffer })
    }

    /// Pins the newest version.
    #[inline(never)]
    pub(crate) fn pin(&self) -> Result<Pinned<'_>, Error> {
        self.usable()?;
        let row = self.take_row()?;
        let reader = self.row(row).inspect_err(|_| self.put_row(row))?;
        let buffer = readers::pin(self.current(), &reader.word);
        Ok(Pinned { hold: self, row, reader, buffer })
    }

    /// Copies the first bytes of the newest version, if nobody commits meanwhile.
    #[inline(always)]
    pub(crate) fn copy_if_quiet(&self, from: usize, to: &mut [MaybeUninit<u8>]) -> bool {
        assert!(from <= self.length() && to.len() <= self.length() - from);
        let seen = self.present();
        // SAFETY: within the buffer, as just asserted.
        unsafe { copy::read(self.data.data(seen.buffer()).add(from), to) };
        std::sync::atomic::fence(Acquire);
        // Present all the while: nobody who keeps the protocol wrote there.
        self.present().is_of_the_same_version(seen)
    }

    /// How many bytes of data there are.
    #[inline(always)]
    pub(crate) fn length(&self) -> usize {
        self.data.layout.shape.length as usize
    }
}

impl Pinned<'_> {
    /// Where its bytes are, as many as the region has.
    #[inline(always)]
    pub(crate) fn data(&self) -> *const u8 {
        self.hold.data.data(self.buffer)
    }

    #[inline]
    pub(crate) fn version(&self) -> u64 {
        self.hold.data.buffer_head(self.buffer).version.load(Acquire)
    }

    /// Copies some of its bytes.
    pub(crate) fn copy(&self, from: usize, to: &mut [MaybeUninit<u8>]) {
        let length = self.hold.length();
        assert!(from <= length && to.len() <= length - from);
        // SAFETY: within the buffer, as just asserted.
        unsafe { copy::read(self.data().add(from), to) }
    }

    /// Whether there is a newer version, and that was known for longer than the lease: to a writer that met this one,
    /// or to who asks here.
    pub(crate) fn is_expired(&self, lease: u64) -> bool {
        let (says, now) = (self.reader.word.load(Relaxed), clock::coarse_everywhere());
        if self.reader.noticed.load(Acquire) == says {
            return now.wrapping_sub(self.reader.since.load(Relaxed)) >= lease;
        }
        if self.hold.present().buffer() != self.buffer {
            self.reader.since.store(now, Relaxed);
            self.reader.noticed.store(says, Release);
        }
        false
    }
}

impl Drop for Pinned<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.hold.at.segment.is_ours() {
            readers::let_go(&self.reader.word);
            self.hold.put_row(self.row);
        }
    }
}

/// One version, to look at: where it lies, or, where another user could write to that, a copy of it.
#[derive(Debug)]
pub(crate) struct Lent<'a> {
    pinned: Pinned<'a>,
    own: Option<Box<Own>>,
}

impl Hold {
    /// Lends the newest version where it lies, if there is nothing to be told or done. (Without a way for errors, which are long and
    /// would be moved about.)
    #[inline(always)]
    pub(crate) fn lend_quickly(&self) -> Option<Lent<'_>> {
        if !self.lends {
            return None;
        }
        self.pin_quickly().map(|pinned| Lent { pinned, own: None })
    }

    /// Lends the newest version.
    #[inline(never)]
    pub(crate) fn lend(&self) -> Result<Lent<'_>, Error> {
        let pinned = self.pin()?;
        let copied = || Box::new(Own::of(self.length(), |to| pinned.copy(0, to)));
        let own = (!self.trusts).then(copied);
        Ok(Lent { pinned, own })
    }

    /// Copies the newest version.
    #[inline(always)]
    pub(crate) fn copy_newest(&self, to: &mut [MaybeUninit<u8>]) -> Result<(), Error> {
        if self.in_place {
            return self.copy_in_place_or_zeros(to);
        }
        if self.copy_if_quiet(0, to) {
            return Ok(());
        }
        self.pin().map(|pinned| pinned.copy(0, to))
    }
}

impl Lent<'_> {
    #[inline(always)]
    pub(crate) fn view<D: Data + ?Sized>(&self) -> &D {
        let length = self.pinned.hold.length();
        let bytes = self.own.as_ref().map_or_else(|| self.pinned.data(), |own| own.start());
        // SAFETY: all of the buffer, or of the copy. Nobody writes to what is pinned (`versions`, 3): no other user's process can, or it is a copy.
        unsafe { D::at(bytes, length) }
    }

    pub(crate) fn version(&self) -> u64 {
        self.pinned.version()
    }

    pub(crate) fn is_expired(&self) -> bool {
        self.is_expired_after(self.pinned.hold.data.layout.shape.lease)
    }

    /// With a lease of so many nanoseconds.
    pub(crate) fn is_expired_after(&self, lease: u64) -> bool {
        self.pinned.is_expired(lease)
    }
}
