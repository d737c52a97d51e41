//! A region's words and buffers where they are mapped.
//!
//! Invariant: the mapping has [`Layout::total`] bytes, which [`Mapped::new`] checks; all areas lie in it, and everything else takes an
//! index that is below the number of what there is.

use super::layout::{BufferHead, Changes, Head, Layout, READINGS, Reading, Seat};
use super::notes::Note;
use super::words::{BUFFERS, Buffer, SEATS};
use super::writers::Words;
use crate::memory::copy;
use crate::os::{Errno, map::Map};
use crate::queue::layout::{READER, READERS, Reader};
use crate::queue::rows::Pages;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The data file.
#[derive(Debug)]
pub(crate) struct Mapped {
    head: *const Head,
    map: Arc<Map>,
    pub(crate) layout: Layout,
}

// SAFETY: the pointer leads into a mapping that `map` keeps; all access is atomic, by the copy routine, or by the protocol.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    pub(crate) fn new(map: Map, layout: Layout) -> Mapped {
        assert!(map.length() as u64 == layout.total);
        let head = map.start().as_ptr().cast_const().cast();
        Mapped { head, map: Arc::new(map), layout }
    }

    /// The head of the data file in a mapping that is long enough.
    pub(crate) fn head_of(map: &Map) -> &Head {
        assert!(map.length() >= Layout::least());
        // SAFETY: as just asserted, and page-aligned; it lives as long as the borrow, and is atomics only.
        unsafe { &*map.start().as_ptr().cast() }
    }

    /// The first version is whole: it begins with these bytes, and zeros follow. For who makes it, before it has a name.
    pub(crate) fn begin(map: &Map, layout: &Layout, bytes: &[u8]) {
        let at = layout.data_at(0) as usize;
        assert!(map.length() >= Layout::least() && at + bytes.len() <= map.length());
        assert!(bytes.len() as u64 <= layout.shape.length);
        // SAFETY: within the mapping, as just asserted, and nobody else has it.
        unsafe { copy::write(map.start().as_ptr().add(at), bytes) };
        // SAFETY: the head of buffer 0 lies in the mapping, as just asserted; atomics only.
        let head = unsafe { &*map.start().as_ptr().add(Layout::heads_at() as usize).cast::<BufferHead>() };
        for word in [&head.version, &head.whole, &head.backed] {
            word.store(1, Relaxed);
        }
    }

    #[inline(always)]
    pub(crate) fn head(&self) -> &Head {
        // SAFETY: the mapping begins with it, is page-aligned, and `map` keeps it; it is atomics only.
        unsafe { &*self.head }
    }

    #[inline(always)]
    pub(crate) fn buffer_head(&self, buffer: Buffer) -> &BufferHead {
        // SAFETY: there are as many heads as numbers of buffers, all in the mapping; atomics only.
        unsafe { &*self.at(Layout::heads_at()).cast::<BufferHead>().add(buffer.index()) }
    }

    /// In place: where it is noted of a row's reader that somebody waits.
    pub(crate) fn note_of_reader(&self, row: usize) -> Note<'_> {
        // SAFETY: they are where heads would be, all in the mapping, and the index is below their number; atomics only.
        unsafe { &*self.at(Layout::heads_at()).cast::<Reading>().add(row % READINGS) }.note()
    }

    /// A seat below [`SEATS`]. Those that somebody ever had have memory.
    #[inline(always)]
    pub(crate) fn seat(&self, seat: usize) -> &Seat {
        assert!(seat < SEATS);
        // SAFETY: as just asserted, in the mapping; atomics only.
        unsafe { &*self.at(Layout::seats_at()).cast::<Seat>().add(seat) }
    }

    #[inline]
    pub(crate) fn changes(&self, buffer: Buffer) -> &Changes {
        // SAFETY: as for the heads.
        unsafe { &*self.at(Layout::changes_at()).cast::<Changes>().add(buffer.index()) }
    }

    /// Where a buffer's bytes are: `layout.shape.length` of them.
    #[inline(always)]
    pub(crate) fn data(&self, buffer: Buffer) -> *mut u8 {
        self.at(self.layout.data_at(buffer.index()))
    }

    #[inline(always)]
    fn at(&self, offset: u64) -> *mut u8 {
        // SAFETY: offsets come from the layout, whose areas all lie in the mapping.
        unsafe { self.head.cast_mut().cast::<u8>().add(offset as usize) }
    }

    #[inline]
    pub(crate) fn is_writable(&self) -> bool {
        self.map.is_writable()
    }

    /// Makes sure that a seat is memory.
    pub(crate) fn back_seat(&self, seat: usize) -> Result<(), Errno> {
        assert!(seat < SEATS);
        self.map.reserve(Layout::page_of_seat(seat) as usize, 4096)
    }

    /// Makes sure that a buffer, and what is told of it, is memory.
    pub(crate) fn back(&self, buffer: Buffer) -> Result<(), Errno> {
        let (at, length) = self.layout.pages_of(buffer.index());
        self.map.reserve(Layout::page_of_changes(buffer.index()) as usize, 4096)?;
        self.map.reserve(at as usize, length as usize)
    }

    /// Gives a buffer's memory back, which the caller edits.
    pub(crate) fn give_back(&self, buffer: Buffer) {
        if self.layout.is_paged() {
            let (at, length) = self.layout.pages_of(buffer.index());
            self.map.give_back(at as usize, length as usize);
        }
    }

    #[inline(always)]
    pub(crate) fn seats(&self) -> usize {
        (self.head().coming.seats.load(Relaxed) as usize).min(SEATS)
    }
}

/// The rows of readers, in the segment that has the region's name.
#[derive(Debug)]
pub(crate) struct Readers {
    pages: Pages,
    used: *const AtomicU64,
}

// SAFETY: it leads into a mapping that `pages` keeps; atomics only.
unsafe impl Send for Readers {}
// SAFETY: as above.
unsafe impl Sync for Readers {}

impl Readers {
    /// `used` is a word in the same mapping.
    pub(crate) fn new(map: Arc<Map>, at: u64, used: &AtomicU64) -> Readers {
        Readers { pages: Pages::new(map, at as usize, (READERS * READER) as usize), used }
    }

    /// Rows from this one on were never taken.
    #[inline(always)]
    pub(crate) fn used(&self) -> &AtomicU64 {
        // SAFETY: in the mapping that `pages` keeps.
        unsafe { &*self.used }
    }

    /// How many rows were ever taken.
    #[inline(always)]
    pub(crate) fn number(&self) -> usize {
        self.used().load(std::sync::atomic::Ordering::SeqCst).min(READERS) as usize
    }

    #[inline(always)]
    pub(crate) fn get(&self, row: usize) -> Result<&Reader, Errno> {
        assert!(row < READERS as usize);
        let at = self.pages.at(row * READER as usize)?;
        // SAFETY: a row within the area, whose page is memory; atomics only.
        Ok(unsafe { &*at.cast::<Reader>() })
    }
}

/// Both, as a writer sees them.
#[derive(Clone, Copy)]
pub(crate) struct Both<'a> {
    pub(crate) data: &'a Mapped,
    pub(crate) readers: &'a Readers,
}

impl Words for Both<'_> {
    #[inline(always)]
    fn current(&self) -> &AtomicU64 {
        &self.data.head().present.current
    }
    #[inline(always)]
    fn rows(&self) -> usize {
        self.readers.number()
    }
    #[inline(always)]
    fn row(&self, row: usize) -> Option<&AtomicU64> {
        // One that can't be looked at for want of memory has none, so nobody reads there.
        self.readers.get(row).ok().map(|row| &row.word)
    }
    #[inline(always)]
    fn seats(&self) -> usize {
        self.data.seats()
    }
    #[inline(always)]
    fn editing(&self, seat: usize) -> &AtomicU64 {
        &self.data.seat(seat).editing
    }
}

const _: () = assert!(BUFFERS <= u64::BITS as usize);
