//! The table of members in a mapped segment: bounds and memory, no protocol.
//!
//! The table is sparse: memory for a page of rows is taken when one of them is first
//! touched. Touching a page that isn't there while the file system is full would be a
//! SIGBUS, so each process makes sure of a page once before it looks at it.

use super::layout::{Geometry, Header, ROW, ROWS, Row};
use super::slots::Member;
use crate::os::{Errno, map::Map};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const PAGE: usize = 4096;

/// A sparse area of a mapping, of which this process makes sure page by page.
#[derive(Debug)]
pub(crate) struct Pages {
    map: Arc<Map>,
    at: usize,
    length: usize,
    /// A bit for each page that this process made sure of.
    sure: Box<[AtomicU64]>,
}

impl Pages {
    pub(crate) fn new(map: Arc<Map>, at: usize, length: usize) -> Pages {
        assert!(at.is_multiple_of(PAGE) && at.checked_add(length).is_some_and(|end| end <= map.length()));
        let sure = (0..length.div_ceil(PAGE).div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Pages { map, at, length, sure }
    }

    /// Its creator made sure of the first page.
    fn has_first(self) -> Pages {
        self.sure[0].store(1, Ordering::Relaxed);
        self
    }

    /// Where this byte of it is, and the rest of its page, which is memory; or an error if there is none for it.
    #[inline]
    pub(crate) fn at(&self, offset: usize) -> Result<*const u8, Errno> {
        assert!(offset < self.length);
        let page = offset / PAGE;
        if self.sure[page / 64].load(Ordering::Relaxed) >> (page % 64) & 1 == 0 {
            self.make_sure(page)?;
        }
        // SAFETY: within the area, which lies within the mapping (`new`).
        Ok(unsafe { self.map.start().as_ptr().add(self.at + offset) })
    }

    #[cold]
    fn make_sure(&self, page: usize) -> Result<(), Errno> {
        self.map.reserve(self.at + page * PAGE, PAGE)?;
        self.sure[page / 64].fetch_or(1 << (page % 64), Ordering::Relaxed);
        Ok(())
    }
}

/// The rows of one segment.
#[derive(Debug)]
pub(crate) struct Rows {
    pages: Pages,
}

impl Rows {
    pub(crate) fn new(map: Arc<Map>, geometry: &Geometry) -> Rows {
        // The creator reserved the first page.
        Rows { pages: Pages::new(map, geometry.rows_at as usize, (ROWS * ROW) as usize).has_first() }
    }

    /// The row of a member, or an error if there is no memory for it.
    #[inline]
    pub(crate) fn get(&self, member: Member) -> Result<&Row, Errno> {
        let at = self.pages.at(usize::from(member) * ROW as usize)?;
        // SAFETY: any u16 is a row of the table; a row is atomics only, its page is memory, and rows are aligned to their size.
        Ok(unsafe { &*at.cast::<Row>() })
    }

    /// The same, for who comes back to it often.
    pub(crate) fn at(&self, member: Member) -> Result<RowOf, Errno> {
        Ok(RowOf { row: self.get(member)?, _map: Arc::clone(&self.pages.map) })
    }
}

/// The head of a mapped segment.
#[inline]
pub(crate) fn header(map: &Map) -> &Header {
    assert!(map.length() >= size_of::<Header>());
    // SAFETY: the mapping is longer than a header, page-aligned, and lives as long as the
    // borrow; the header is atomics only.
    unsafe { &*map.start().as_ptr().cast::<Header>() }
}

/// The same, one step nearer than through the mapping.
#[derive(Debug)]
pub(crate) struct HeaderOf {
    header: *const Header,
    _map: Arc<Map>,
}

// SAFETY: it leads to atomics in a mapping that `_map` keeps.
unsafe impl Send for HeaderOf {}
// SAFETY: as above.
unsafe impl Sync for HeaderOf {}

impl HeaderOf {
    pub(crate) fn new(map: Arc<Map>) -> HeaderOf {
        HeaderOf { header: header(&map), _map: map }
    }
}

impl std::ops::Deref for HeaderOf {
    type Target = Header;

    #[inline]
    fn deref(&self) -> &Header {
        // SAFETY: `new` checked the range, and `_map` keeps the mapping.
        unsafe { &*self.header }
    }
}

/// One row, one step nearer than through the table.
#[derive(Debug)]
pub(crate) struct RowOf {
    row: *const Row,
    _map: Arc<Map>,
}

// SAFETY: it leads to atomics in a mapping that `_map` keeps.
unsafe impl Send for RowOf {}
// SAFETY: as above.
unsafe impl Sync for RowOf {}

impl std::ops::Deref for RowOf {
    type Target = Row;

    #[inline]
    fn deref(&self) -> &Row {
        // SAFETY: `Rows::at` found it, and `_map` keeps the mapping.
        unsafe { &*self.row }
    }
}

/// The text that describes the messages.
pub(crate) fn format(map: &Map, geometry: &Geometry) -> Vec<u8> {
    let length = geometry.choice.format_length as usize;
    let at = super::layout::FORMAT_AT as usize;
    assert!(at + length <= map.length());
    let mut text: Vec<u8> = Vec::with_capacity(length);
    // SAFETY: within the mapping, as just asserted; `read` initialises all `length` bytes.
    unsafe {
        crate::memory::copy::read(map.start().as_ptr().add(at), &mut text.spare_capacity_mut()[..length]);
        text.set_len(length);
    }
    text
}

/// Writes that text into a segment that has no name yet.
pub(crate) fn set_format(map: &Map, geometry: &Geometry, text: &[u8]) {
    let at = super::layout::FORMAT_AT as usize;
    assert!(text.len() as u64 == geometry.choice.format_length && at + text.len() <= map.length());
    // SAFETY: within the mapping, as just asserted.
    unsafe { crate::memory::copy::write(map.start().as_ptr().add(at), text) }
}
