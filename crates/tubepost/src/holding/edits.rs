//! What a writer edits: its buffer, where that lies, or, where another user could write to it, a copy that goes there with the commit.

use super::Hold;
use super::own::Own;
use super::writing::{Editing, Patience};
use crate::error::Error;
use crate::memory::copy;
use crate::memory::data::Data;
use std::ops::{Bound, Range, RangeBounds};
use std::time::Duration;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Edits<'a> {
    hold: &'a Hold,
    editing: Editing<'a>,
    own: Option<Own>,
}

impl Hold {
    /// Becomes the one writer; all of what is there will be overwritten, or it is lent to be edited.
    pub(crate) fn edits(
        &self,
        patience: Patience,
        lease: Option<Duration>,
        all: bool,
    ) -> Result<Edits<'_>, Error> {
        if !self.is_writable() {
            return Err(Error::Denied { doing: "to write", path: self.at.segment.path() });
        }
        let editing = self.edit(patience, lease, all)?;
        // SAFETY: all of the buffer, which is this writer's.
        let copied = |to: &mut _| unsafe { copy::read(editing.data(), to) };
        let own = if self.trusts || all { None } else { Some(Own::of(self.length(), copied)) };
        Ok(Edits { hold: self, editing, own })
    }
}

impl Edits<'_> {
    #[inline(always)]
    pub(crate) fn view<D: Data + ?Sized>(&self) -> &D {
        let bytes = self.own.as_ref().map_or_else(|| self.editing.data().cast_const(), Own::start);
        // SAFETY: all of the buffer, or of the copy. Nobody else writes there (`versions`, 1): no other user's process can, or it is a copy.
        unsafe { D::at(bytes, self.hold.length()) }
    }

    #[inline(always)]
    pub(crate) fn view_mut<D: Data + ?Sized>(&mut self) -> &mut D {
        self.editing.edited.add_all();
        let bytes = self.start();
        // SAFETY: as for `view`; nobody reads there before it is committed.
        unsafe { D::at_mut(bytes, self.hold.length()) }
    }

    fn start(&mut self) -> *mut u8 {
        match &mut self.own {
            Some(own) => own.start_mut(),
            None => self.editing.data(),
        }
    }

    pub(crate) fn range_mut(&mut self, range: impl RangeBounds<usize>) -> &mut [u8] {
        let range = checked(&range, self.hold.length());
        self.editing.edited.add(range.start as u64..range.end as u64);
        let start = self.start();
        // SAFETY: within the buffer or the copy, as just checked; else as for `view_mut`.
        unsafe { std::slice::from_raw_parts_mut(start.add(range.start), range.len()) }
    }

    /// Writes all of it.
    pub(crate) fn overwrite(&mut self, data: &[u8]) -> Result<(), Error> {
        let length = self.hold.length();
        if data.len() != length {
            return Err(Error::BadOption {
                what: "the data for this region",
                given: format!("{} bytes long", data.len()),
                allowed: format!("{length} bytes, as many as it has"),
            });
        }
        // SAFETY: all of the buffer, which is this writer's.
        unsafe { copy::write(self.editing.data(), data) };
        Ok(())
    }

    pub(crate) fn base(&self) -> u64 {
        self.editing.base()
    }

    pub(crate) fn is_expired(&self) -> bool {
        self.editing.is_expired()
    }

    pub(crate) fn name(&self) -> String {
        self.hold.at.segment.name.to_string()
    }

    pub(crate) fn commit(self) -> Result<u64, Error> {
        let Edits { hold, editing, own } = self;
        if let Some(own) = own {
            // SAFETY: all of the buffer, which is this writer's.
            unsafe { copy::write(editing.data(), own.bytes()) };
        }
        let lease = editing.lease();
        editing.commit().ok_or_else(|| Error::LeaseExpired { name: hold.at.segment.name.to_string(), lease })
    }
}

/// A range of so many bytes.
fn checked(range: &impl RangeBounds<usize>, length: usize) -> Range<usize> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last + 1,
        Bound::Excluded(end) => *end,
        Bound::Unbounded => length,
    };
    assert!(start <= end && end <= length, "bytes {start}..{end} of a region that has {length}");
    start..end
}
