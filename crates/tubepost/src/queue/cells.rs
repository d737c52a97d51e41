//! The cells of a mapped mailbox of capacity zero: bounds and memory; and its chunks, as far as cells name them.
//!
//! The table is sparse, as that of the members: a process makes sure of a page before it looks at it.

use super::chunks::{Chunk, Chunks, Use};
use super::handoff::{CELLS, Cells, Given, Handoff, Seat, Which};
use super::layout::{CELL, Cell, Geometry, IN_CELL, Meeting, Numbers, PAGE, Row, Signature};
use super::mapped::{Lent, fetch_for_writing};
use super::rows::HeaderOf;
use super::slots::Member;
use super::{about, fencing, in_hand};
use crate::memory::copy;
use crate::os::map::Map;
use crate::sync::wait::{Bell, Wakes};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicU32, AtomicU64};

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Mapped {
    map: Arc<Map>,
    header: HeaderOf,
    numbers_at: usize,
    cells_at: usize,
    /// This process made sure of all cells before this one.
    sure: AtomicU32,
}

impl Handoff<Mapped> {
    pub(crate) fn mapped(map: Arc<Map>, geometry: &Geometry) -> Handoff<Mapped> {
        let (numbers_at, cells_at) = (geometry.numbers_at as usize, geometry.cells_at as usize);
        assert!(numbers_at.is_multiple_of(64) && cells_at.is_multiple_of(PAGE as usize));
        assert!(numbers_at + size_of::<Numbers>() <= geometry.rows_at as usize);
        assert!(cells_at + CELLS as usize * CELL as usize <= map.length());
        let header = HeaderOf::new(Arc::clone(&map));
        Handoff::new(Mapped { map, header, numbers_at, cells_at, sure: AtomicU32::new(0) })
    }

    /// What counts.
    #[inline]
    pub(crate) fn numbers(&self) -> &Numbers {
        // SAFETY: within the mapping, in what is memory from the start, and aligned (`mapped`); atomics only.
        unsafe { &*self.cells.map.start().as_ptr().add(self.cells.numbers_at).cast::<Numbers>() }
    }

    /// Asks the processor to fetch, for writing, the cell that is the first one asked for.
    pub(crate) fn fetch(&self) {
        if self.cells.sure.load(Relaxed) > 0 {
            fetch_for_writing(std::ptr::from_ref(self.cells.cell(0)).cast_mut().cast());
        }
    }

    /// Writes a message to a cell that the caller has the right to give something in; it is not longer than [`IN_CELL`].
    #[inline(always)]
    pub(crate) fn write(&self, giving: Seat, bytes: &[u8], me: Option<(Member, &Row)>) {
        assert!(bytes.len() <= IN_CELL);
        let cell = self.cells.cell(giving.index);
        about::sign_cell(&cell.signature, me);
        cell.number.store(self.number_in(giving.index), Relaxed);
        cell.length.store(bytes.len() as u32, Relaxed);
        // SAFETY: as long as the payload of a cell, which is shared memory (`cell`).
        unsafe { copy::write(cell.payload.as_ptr().cast_mut().cast(), bytes) }
    }

    /// What was given in a cell. Nothing: its length is impossible.
    #[inline(always)]
    pub(crate) fn payload(&self, here: Seat) -> Option<Lent<'_>> {
        let cell = self.cells.cell(here.index);
        let length = cell.length.load(Relaxed) as usize;
        // SAFETY: within the payload of a cell, which lies within the mapping (`cell`).
        (length <= IN_CELL).then(|| unsafe { Lent::new(cell.payload.as_ptr().cast(), length) })
    }

    /// What was given in a cell of the caller's is received.
    #[inline(always)]
    pub(crate) fn count_received(&self, here: Seat) {
        let received = &self.cells.cell(here.index).received;
        received.store(received.load(Relaxed).wrapping_add(1), Relaxed); // whoever has the cell is alone
    }

    /// How many messages were received.
    pub(crate) fn received(&self) -> u64 {
        let cells = (0..self.cells.used().load(Acquire).min(CELLS)).filter(|index| self.cells.sure(*index));
        let here = cells.map(|index| self.cells.cell(index).received.load(Acquire));
        here.fold(self.numbers().received.load(Acquire), u64::wrapping_add)
    }

    /// Who sent what is in a cell.
    pub(crate) fn signature(&self, here: Seat) -> &Signature {
        &self.cells.cell(here.index).signature
    }

    /// Where the receiver sleeps that has this cell.
    pub(crate) fn bell(&self, index: u32) -> Bell<'_> {
        Bell::new(&self.cells.cell(index).bell, &self.cells.header.bells.fence, Wakes::All)
    }
}

impl Mapped {
    fn meeting(&self) -> &Meeting {
        &self.header.meeting
    }

    #[inline]
    fn cell(&self, index: u32) -> &Cell {
        assert!(index < self.sure.load(Relaxed));
        // SAFETY: of the table, which lies within the mapping (`mapped`); its page is memory (`sure`), and cells are
        // aligned to their size; atomics only.
        unsafe { &*self.map.start().as_ptr().add(self.cells_at).cast::<Cell>().add(index as usize) }
    }

    #[cold]
    fn make_sure(&self, index: u32) -> bool {
        let known = u64::from(self.sure.load(Relaxed)) * CELL / PAGE * PAGE;
        let until = (u64::from(index + 1) * CELL).next_multiple_of(PAGE);
        let done = self.map.reserve(self.cells_at + known as usize, (until - known) as usize).is_ok();
        if done {
            self.sure.fetch_max((until / CELL) as u32, Relaxed);
        }
        done
    }
}

impl Cells for Mapped {
    #[inline]
    fn used(&self) -> &AtomicU32 {
        &self.meeting().cells
    }

    #[inline]
    fn offers(&self) -> &AtomicU64 {
        &self.meeting().offers
    }

    #[inline]
    fn closed(&self) -> &AtomicU32 {
        &self.meeting().closed
    }

    #[inline]
    fn sure(&self, index: u32) -> bool {
        index < self.sure.load(Relaxed) || index < CELLS && self.make_sure(index)
    }

    #[inline]
    fn word(&self, index: u32) -> &AtomicU64 {
        &self.cell(index).word
    }

    #[inline]
    fn number(&self, index: u32) -> &AtomicU64 {
        &self.cell(index).number
    }

    #[inline]
    fn last(&self) -> &AtomicU64 {
        // SAFETY: within the mapping, in what is memory from the start, and aligned (`mapped`); atomics only.
        unsafe { &(*self.map.start().as_ptr().add(self.numbers_at).cast::<Numbers>()).last }
    }
}

impl Given for Chunks {
    fn bind(&self, which: Which, to: Member, still: impl Fn() -> bool) -> bool {
        let Some(chunk) = self.named(which) else { return true }; // rubbish: there is nothing to be had
        // The cell as it was says that the chunk was not another's yet when its word was read.
        still() && (chunk.word.kind() != Some(Use::Own) || chunk.swap(chunk.word.to(Use::Held, to)).is_some())
    }
}

/// Puts in order what the dead had. Says how many messages are back and wait to be held again.
/// `named`: whether what is OWN is an answer that its caller is to read.
pub(crate) fn put_in_order(
    handoff: &Handoff<Mapped>,
    chunks: &Chunks,
    dead: impl Fn(Member) -> bool,
    named: impl Fn(&Chunk<'_>) -> bool,
) -> u64 {
    let mut returned = handoff.clear(chunks, &dead);
    for chunk in chunks.all() {
        let word = chunk.word;
        match word.kind() {
            Some(Use::Linked) if dead(word.member()) => {
                chunk.swap(word.freed());
            }
            // Whether a cell names it is asked after its giver's death.
            Some(Use::Own)
                if dead(word.member())
                    && (planted!(GivenChunkFreed) || !handoff.names(chunk.which()))
                    && !named(&chunk) =>
            {
                chunk.swap(word.freed());
            }
            Some(Use::Held) if dead(word.member()) && !handoff.names(chunk.which()) => {
                returned += u64::from(in_hand::return_held(chunks, chunk));
            }
            Some(Use::Fenced) => fencing::reclaim(chunks, chunk, &dead),
            Some(Use::Returned) => returned += 1,
            _ => {}
        }
    }
    returned
}
