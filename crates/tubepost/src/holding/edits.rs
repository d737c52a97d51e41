//! What a writer edits: its buffer, where that lies, or, where another user could write to it, a copy that goes there with the commit.

use super::Hold;
use super::own::Own;
use super::writing::{Editing, Had, Patience};
use crate::error::Error;
use crate::memory::copy;
use crate::memory::data::Data;
use std::ops::{Bound, Range, RangeBounds};
use std::time::Duration;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Edits<'a> {
    editing: Editing<'a>,
    own: Option<Box<Own>>,
}

impl Hold {
    /// Becomes the one writer, if nobody else writes, and there is nothing to be told or done. What it edits is put together where it will stay:
    /// moving that through memory costs as much as a locked instruction.
    #[inline(always)]
    pub(crate) fn edits_quickly(&self) -> Option<Had> {
        if !self.lends || !self.is_usable() || !self.is_writable() {
            return None;
        }
        self.edit_quickly(false)
    }

    #[inline(always)]
    pub(crate) fn edits_what_it_had(&self, had: Had) -> Edits<'_> {
        Edits { editing: self.editing_of(had, false), own: None }
    }

    /// Becomes the one writer.
    #[inline(never)]
    pub(crate) fn edits(&self, patience: Patience, lease: Option<Duration>) -> Result<Edits<'_>, Error> {
        Ok(self.lend_to_edit(self.edit(patience, lease, false)?))
    }

    pub(super) fn lend_to_edit<'a>(&'a self, editing: Editing<'a>) -> Edits<'a> {
        // SAFETY: all of the buffer, which is this writer's.
        let copied = |to: &mut _| unsafe { copy::read(editing.data(), to) };
        let own = (!self.trusts).then(|| Box::new(Own::of(self.length(), copied)));
        Edits { editing, own }
    }

    /// Replaces all of it.
    #[inline]
    pub(crate) fn set(&self, data: &[u8]) -> Result<u64, Error> {
        let quick = !self.in_place && self.is_usable() && self.is_writable() && data.len() == self.length();
        let editing = match quick.then(|| self.edit_quickly(true)).flatten() {
            Some(had) => self.editing_of(had, true),
            None => {
                self.check_length(data.len())?;
                self.edit(Patience::Endless, None, true)?
            }
        };
        // SAFETY: all of the buffer, which is this writer's.
        unsafe { copy::write(editing.data(), data) };
        commit(&editing)
    }

    #[cold]
    fn check_length(&self, given: usize) -> Result<(), Error> {
        let length = self.length();
        if given == length {
            return Ok(());
        }
        Err(Error::BadOption {
            what: "the data for this region",
            given: format!("{given} bytes long"),
            allowed: format!("{length} bytes, as many as it has"),
        })
    }
}

impl Edits<'_> {
    #[inline(always)]
    pub(crate) fn view<D: Data + ?Sized>(&self) -> &D {
        let bytes = self.own.as_ref().map_or_else(|| self.editing.data().cast_const(), |own| own.start());
        // SAFETY: all of the buffer, or of the copy. Nobody else writes there (`versions`, 1): no other user's process can, or it is a copy.
        unsafe { D::at(bytes, self.editing.hold.length()) }
    }

    #[inline(always)]
    pub(crate) fn view_mut<D: Data + ?Sized>(&mut self) -> &mut D {
        if self.lends_data() {
            self.editing.edited.add_all();
        }
        let bytes = self.start();
        // SAFETY: as for `view`; nobody reads there before it is committed.
        unsafe { D::at_mut(bytes, self.editing.hold.length()) }
    }

    /// Whether to lend is to edit: in place a copy is not the data.
    #[inline(always)]
    fn lends_data(&self) -> bool {
        self.own.is_none() || !self.editing.hold.in_place
    }

    #[inline(always)]
    fn start(&mut self) -> *mut u8 {
        match &mut self.own {
            Some(own) => own.start_mut(),
            None => self.editing.data(),
        }
    }

    pub(crate) fn range_mut(&mut self, range: impl RangeBounds<usize>) -> &mut [u8] {
        let range = checked(&range, self.editing.hold.length());
        if self.lends_data() {
            self.editing.edited.add(range.start as u64..range.end as u64);
        }
        let start = self.start();
        // SAFETY: within the buffer or the copy, as just checked; else as for `view_mut`.
        unsafe { std::slice::from_raw_parts_mut(start.add(range.start), range.len()) }
    }

    pub(crate) fn base(&self) -> u64 {
        self.editing.base()
    }

    pub(crate) fn is_expired(&self) -> bool {
        self.editing.is_expired()
    }

    pub(crate) fn name(&self) -> String {
        self.editing.hold.at.segment.name.to_string()
    }

    #[inline(always)]
    pub(crate) fn commit(self) -> Result<u64, Error> {
        if let Some(own) = &self.own {
            // SAFETY: all of the buffer, which is this writer's.
            unsafe { copy::write(self.editing.data(), own.bytes()) };
        }
        commit(&self.editing)
    }
}

#[inline(always)]
fn commit(editing: &Editing<'_>) -> Result<u64, Error> {
    editing.hold.usable()?; // what is over has no newer version
    editing.commit().ok_or_else(|| editing.has_expired())
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
