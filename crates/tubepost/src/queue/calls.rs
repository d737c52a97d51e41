//! Calls: messages whose senders wait for an answer.
//!
//! Each call under way has a *cell*, which its caller takes before it sends the question. The question ends with where
//! the cell is, and its number ([`Address`]), so that the answer finds its caller. The cell's word decides:
//!
//! ```text
//! word   (generation, FREE | OWN | CALLING | ANSWERING | ANSWERED | DROPPED | ABANDONED, member)
//!
//! call     FREE -> OWN(me), a number of its own -> CALLING(me); sends the question; waits until it is ANSWERED or DROPPED
//!          frees what the answer is in, then the cell
//! reply    CALLING, of that number -> ANSWERING(me); writes the answer; -> ANSWERED; then consumes the question
//! consumed without an answer: CALLING -> DROPPED
//! give up  CALLING -> FREE; ANSWERING(other) -> ABANDONED(other): that one frees the cell when it is done
//! ```
//!
//! A short answer lies in the cell itself, which is one cache line. A longer one lies in a chunk, which stays OWN of who answered
//! as long as the cell names it.
//!
//! **One line.** A caller polls its cell, so who answers may have the line for a moment only. It asks for it, to write, when the
//! question comes into its hand, and again when it is about to take the right to answer: not to read it first and to ask again
//! for writing it. From there to ANSWERED there is nothing but the answer's own stores.
//!
//! Invariants:
//! 1. The number, and who calls, are written in OWN only; the answer in ANSWERING only, by the member that the word names.
//! 2. A chunk that an ANSWERED cell names is freed before the cell is, and by nobody but who frees the cell.
//! 3. The generation grows with each FREE -> OWN and each ANSWERING -> CALLING, so no word ever repeats.
//!
//! **What if it dies here?** ([`Calls::clear`]; any number may do it at once, and die in it: each step is a CAS from the word that was read.)
//! - The caller: OWN, CALLING and DROPPED become FREE. ANSWERED: its chunk is freed, then the cell. ANSWERING(alive): ABANDONED, as if it
//!   had given up; its row is not another's before. Who replies later finds another number, or no call: nobody waits.
//! - Who answers, in ANSWERING: back to CALLING, for its question goes back to the queue and another may answer. In ABANDONED: FREE. Before
//!   ANSWERED its chunk is OWN of a dead one, which no cell names, and is freed as any other. After ANSWERED the question comes again
//!   and nobody waits for its answer.
//!
//! One that is *stopped* in ANSWERING keeps the question from others until it goes on, or dies. Callers' deadlines hold all the same.
//!
//! Only who has the question in hand, and can't be fenced off any more (`super::fencing`), comes here; so a cell that is found ANSWERING is one
//! of a dead one.

use super::chunks::{Chunk, Chunks, Ticket, Use};
use super::layout::{ADDRESS, CALL_CELL, CALLS, CallCell, Geometry, PAGE};
use super::mapped::{Lent, fetch_for_writing};
use super::rows::HeaderOf;
use super::slots::Member;
use crate::memory::copy;
use crate::os::Errno;
use crate::os::map::Map;
use crate::sync::wait::{Bell, Wakes};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// The longest answer that its cell holds.
pub(crate) const SHORT: usize = 32;
/// In a cell's length: the answer is in a chunk.
const IN_CHUNK: u32 = 1 << 31;

const PHASE_SHIFT: u32 = 16;
const GENERATION_SHIFT: u32 = 19;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
enum Phase {
    Free = 0,
    Own = 1,
    Calling = 2,
    Answering = 3,
    Answered = 4,
    Dropped = 5,
    Abandoned = 6,
}

/// A cell's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word(u64);

impl Word {
    /// `None`: nobody ever wrote that.
    fn phase(self) -> Option<Phase> {
        use Phase::{Abandoned, Answered, Answering, Calling, Dropped, Free, Own};
        const ALL: [Phase; 7] = [Free, Own, Calling, Answering, Answered, Dropped, Abandoned];
        ALL.get((self.0 >> PHASE_SHIFT & 7) as usize).copied()
    }

    fn member(self) -> Member {
        self.0 as Member
    }

    fn to(self, phase: Phase, member: Member) -> Word {
        let generation = self.0 >> GENERATION_SHIFT << GENERATION_SHIFT;
        Word(generation | (phase as u64) << PHASE_SHIFT | u64::from(member))
    }

    fn next(self) -> Word {
        Word(self.0.wrapping_add(1 << GENERATION_SHIFT))
    }
}

/// Where an answer goes, as it stands at the end of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    index: u32,
    number: u64,
}

impl Address {
    /// Bytes of it.
    pub(crate) const BYTES: usize = ADDRESS as usize;
    /// Where nobody waits.
    pub(crate) const NOBODY: Address = Address { index: u32::MAX, number: 0 };

    pub(crate) fn to_bytes(self) -> [u8; Address::BYTES] {
        let mut bytes = [0; Address::BYTES];
        bytes[..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.index.to_le_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: [u8; Address::BYTES]) -> Address {
        let (number, rest) = bytes.split_at(8);
        let number = u64::from_le_bytes(number.try_into().expect("eight bytes"));
        Address { index: u32::from_le_bytes(rest[..4].try_into().expect("four bytes")), number }
    }
}

/// A call under way, for its caller.
#[derive(Debug)]
pub(crate) struct Pending {
    index: u32,
    calling: Word,
}

/// What came of a call.
pub(crate) enum Outcome<'a> {
    /// The answer, and the chunk it is in.
    Answered(Lent<'a>, Option<Chunk<'a>>),
    /// The question was consumed without one.
    Dropped,
}

/// Why there is no answering a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwanted {
    /// Nobody waits for it any more.
    Gone,
    /// This member is just answering it.
    By(Member),
}

/// The right to answer a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answering {
    index: u32,
    word: Word,
}

/// The cells of a mapped mailbox.
#[derive(Debug)]
pub(crate) struct Calls {
    map: Arc<Map>,
    header: HeaderOf,
    at: usize,
    number: u32,
    /// This process made sure that all cells before this one are memory.
    sure: AtomicU32,
    /// The cell that this handle had last: it is in its caches.
    near: AtomicU32,
}

impl Calls {
    pub(crate) fn new(map: Arc<Map>, geometry: &Geometry) -> Calls {
        let number = if geometry.choice.answered() { CALLS } else { 0 };
        assert!(
            geometry.calls_at.is_multiple_of(PAGE)
                && geometry.calls_at + number * CALL_CELL <= map.length() as u64
        );
        Calls {
            header: HeaderOf::new(Arc::clone(&map)),
            at: geometry.calls_at as usize,
            map,
            number: number as u32,
            sure: AtomicU32::new(0),
            near: AtomicU32::new(0),
        }
    }

    /// A cell; nothing if there is none of that number, or no memory for it.
    #[inline]
    fn cell(&self, index: u32) -> Option<&CallCell> {
        if index >= self.sure.load(Relaxed) {
            self.make_sure(index).ok()?;
        }
        // SAFETY: of the table, which lies within the mapping (`new`); its page is memory (`sure`), and cells are
        // aligned to their size; atomics only.
        Some(unsafe { &*self.map.start().as_ptr().add(self.at).cast::<CallCell>().add(index as usize) })
    }

    /// An error: there is no memory for this cell; or, without a number, no such cell.
    #[cold]
    fn make_sure(&self, index: u32) -> Result<(), Option<Errno>> {
        if index >= self.number {
            return Err(None);
        }
        let known = u64::from(self.sure.load(Relaxed)) * CALL_CELL / PAGE * PAGE;
        let until = (u64::from(index + 1) * CALL_CELL).next_multiple_of(PAGE);
        self.map.reserve(self.at + known as usize, (until - known) as usize)?;
        self.sure.fetch_max((until / CALL_CELL) as u32, Relaxed);
        Ok(())
    }

    fn used(&self) -> u32 {
        self.header.calls.load(Acquire).min(self.number)
    }

    fn all(&self) -> impl Iterator<Item = &CallCell> {
        (0..self.used()).filter_map(|index| self.cell(index))
    }

    /// Where the caller sleeps whose cell this is.
    fn bell<'a>(&'a self, cell: &'a CallCell) -> Bell<'a> {
        Bell::new(&cell.bell, &self.header.bells.fence, Wakes::All)
    }

    /// Begins a call: takes a cell. An error: there is no memory for one; or, without a number, as many calls as there can be are
    /// under way.
    #[inline]
    pub(crate) fn begin(&self, me: Member) -> Result<Pending, Option<Errno>> {
        let near = self.near.load(Relaxed);
        if near < self.used()
            && let Some(call) = self.begin_in(near, me)
        {
            return Ok(call);
        }
        self.begin_anywhere(me)
    }

    /// Takes this very cell, if it is free.
    #[inline]
    fn begin_in(&self, index: u32, me: Member) -> Option<Pending> {
        let cell = self.cell(index)?;
        let seen = Word(cell.word.load(Acquire));
        let own = seen.next().to(Phase::Own, me);
        if seen.phase() != Some(Phase::Free) || !swap(cell, seen, own) {
            return None;
        }
        let calling = own.to(Phase::Calling, me);
        cell.number.store(calling.0, Relaxed);
        cell.caller.store(me.into(), Relaxed);
        cell.word.store(calling.0, Release);
        Some(Pending { index, calling })
    }

    #[cold]
    fn begin_anywhere(&self, me: Member) -> Result<Pending, Option<Errno>> {
        let used = self.used();
        for index in 0..self.number {
            let Some(cell) = self.cell(index) else {
                self.make_sure(index)?;
                continue; // there is memory by now
            };
            let seen = Word(cell.word.load(Acquire));
            if seen.phase() != Some(Phase::Free) {
                continue;
            }
            if index >= used {
                self.header.calls.fetch_max(index + 1, AcqRel);
            }
            if let Some(call) = self.begin_in(index, me) {
                self.near.store(index, Relaxed);
                return Ok(call);
            }
        }
        Err(None)
    }

    /// Where the answer to a call is to go.
    #[inline]
    pub(crate) fn address(&self, call: &Pending) -> Address {
        Address { index: call.index, number: call.calling.0 }
    }

    /// Where the caller sleeps.
    pub(crate) fn wait_at(&self, call: &Pending) -> Option<Bell<'_>> {
        self.cell(call.index).map(|cell| self.bell(cell))
    }

    /// Whether the caller has something to do.
    #[inline]
    pub(crate) fn is_settled(&self, call: &Pending) -> bool {
        self.cell(call.index).is_none_or(|cell| {
            let phase = Word(cell.word.load(Acquire)).phase();
            phase != Some(Phase::Calling) && phase != Some(Phase::Answering)
        })
    }

    /// What came of a call that is settled. The caller then [`end`](Self::end)s it.
    #[inline]
    pub(crate) fn outcome<'a>(&'a self, call: &Pending, chunks: &'a Chunks) -> Outcome<'a> {
        let Some(cell) = self.cell(call.index) else { return Outcome::Dropped };
        if Word(cell.word.load(Acquire)).phase() != Some(Phase::Answered) {
            return Outcome::Dropped;
        }
        let length = cell.length.load(Relaxed);
        if length & IN_CHUNK != 0 {
            let chunk = chunks.find(ticket(cell)).filter(|chunk| chunk.word.kind() == Some(Use::Own));
            let payload = chunk.and_then(|chunk| chunk.payload((length & !IN_CHUNK).into()));
            return payload.map_or(Outcome::Dropped, |payload| Outcome::Answered(payload, chunk));
        }
        if length as usize > SHORT {
            return Outcome::Dropped; // rubbish
        }
        // SAFETY: `SHORT` bytes of the cell, which lies within the mapping as long as `self`.
        let payload = unsafe { Lent::new(cell.answer.as_ptr().cast(), length as usize) };
        Outcome::Answered(payload, None)
    }

    /// Ends a call that is settled, and whose answer was read.
    #[inline]
    pub(crate) fn end(&self, call: &Pending, chunk: Option<Chunk<'_>>) {
        if let Some(chunk) = chunk {
            chunk.swap(chunk.word.freed());
        }
        if let Some(cell) = self.cell(call.index) {
            let seen = Word(cell.word.load(Relaxed)); // settled: nobody else changes it
            cell.word.store(seen.to(Phase::Free, 0).0, Release);
        }
    }

    /// Gives up a call. `false`: it is settled by now.
    pub(crate) fn give_up(&self, call: &Pending) -> bool {
        let Some(cell) = self.cell(call.index) else { return true };
        loop {
            let seen = Word(cell.word.load(Acquire));
            let to = match seen.phase() {
                Some(Phase::Calling) => seen.to(Phase::Free, 0),
                Some(Phase::Answering) => seen.to(Phase::Abandoned, seen.member()),
                _ => return false,
            };
            if swap(cell, seen, to) {
                return true;
            }
        }
    }

    /// The cell of an address, and its word, if its call is under way.
    #[inline]
    fn wanted(&self, address: Address) -> Option<(&CallCell, Word)> {
        let cell = self.cell(address.index)?;
        let seen = Word(cell.word.load(Acquire));
        let under_way = matches!(seen.phase(), Some(Phase::Calling | Phase::Answering));
        let same = cell.number.load(Relaxed) == address.number || planted!(NumberUnchecked);
        (under_way && same).then_some((cell, seen))
    }

    /// Asks the processor to fetch, for writing, where this answer goes.
    #[inline]
    pub(crate) fn fetch(&self, address: Address) {
        if address.index < self.sure.load(Relaxed)
            && let Some(cell) = self.cell(address.index)
        {
            fetch_for_writing(std::ptr::from_ref(cell).cast_mut().cast());
        }
    }

    /// Whether somebody waits for this answer.
    pub(crate) fn is_awaited(&self, address: Address) -> bool {
        self.wanted(address).is_some()
    }

    /// Takes the right to answer.
    #[inline(always)]
    pub(crate) fn begin_answer(&self, address: Address, me: Member) -> Result<Answering, Unwanted> {
        self.fetch(address);
        loop {
            let (cell, seen) = self.wanted(address).ok_or(Unwanted::Gone)?;
            if seen.phase() == Some(Phase::Answering) {
                return Err(Unwanted::By(seen.member()));
            }
            let word = seen.to(Phase::Answering, me);
            if swap(cell, seen, word) {
                return Ok(Answering { index: address.index, word });
            }
        }
    }

    /// Writes a short answer; says whether the caller still waits.
    #[inline(always)]
    pub(crate) fn answer(&self, right: Answering, bytes: &[u8]) -> Option<Bell<'_>> {
        assert!(bytes.len() <= SHORT);
        let cell = self.cell(right.index)?;
        cell.length.store(bytes.len() as u32, Relaxed);
        // SAFETY: `SHORT` bytes of the cell, which only this member writes to (invariant 1).
        unsafe { copy::write(cell.answer.as_ptr() as *mut u8, bytes) };
        self.answered(cell, right)
    }

    /// The answer is in a chunk, which is OWN of this member. If the caller does not wait any more it is freed.
    pub(crate) fn answer_in(&self, right: Answering, chunk: Chunk<'_>) -> Option<Bell<'_>> {
        let cell = self.cell(right.index)?;
        let length = chunk.length() as u32;
        cell.length.store(length | IN_CHUNK, Relaxed);
        let ticket = chunk.ticket();
        cell.answer[0].store(ticket.which, Relaxed);
        cell.answer[1].store(ticket.sequence, Relaxed);
        let told = self.answered(cell, right);
        if told.is_none() {
            chunk.release();
        }
        told
    }

    #[inline]
    fn answered<'a>(&'a self, cell: &'a CallCell, right: Answering) -> Option<Bell<'a>> {
        let caller = cell.caller.load(Relaxed) as Member;
        if swap(cell, right.word, right.word.to(Phase::Answered, caller)) {
            return Some(self.bell(cell));
        }
        // Abandoned: the cell is ours to free.
        let abandoned = right.word.to(Phase::Abandoned, right.word.member());
        swap(cell, abandoned, abandoned.to(Phase::Free, 0));
        None
    }

    /// The question is consumed without an answer. Gives the bell of who is to be told.
    pub(crate) fn drop_call(&self, address: Address) -> Result<Bell<'_>, Unwanted> {
        loop {
            let (cell, seen) = self.wanted(address).ok_or(Unwanted::Gone)?;
            if seen.phase() == Some(Phase::Answering) {
                return Err(Unwanted::By(seen.member()));
            }
            if swap(cell, seen, seen.to(Phase::Dropped, seen.member())) {
                return Ok(self.bell(cell));
            }
        }
    }

    /// Puts in order what the dead had: none of their rows is in a cell then, but in that of somebody who still answers.
    pub(crate) fn clear(&self, chunks: &Chunks, dead: impl Fn(Member) -> bool) {
        for cell in self.all() {
            while self.clear_one(cell, chunks, &dead) && !planted!(CallerInCell) {}
        }
    }

    /// One step with a cell, or another's was faster. `false`: nothing is left to do.
    fn clear_one(&self, cell: &CallCell, chunks: &Chunks, dead: impl Fn(Member) -> bool) -> bool {
        let seen = Word(cell.word.load(Acquire));
        let caller = cell.caller.load(Relaxed) as Member;
        let member = seen.member();
        let to = match seen.phase() {
            Some(Phase::Own | Phase::Calling | Phase::Dropped | Phase::Abandoned) if dead(member) => {
                seen.to(Phase::Free, 0)
            }
            Some(Phase::Answered) if dead(member) => {
                self.free_answer(cell, seen, chunks);
                seen.to(Phase::Free, 0)
            }
            Some(Phase::Answering) if dead(member) => seen.next().to(Phase::Calling, caller),
            // Its row may be another's by the time that this is answered.
            Some(Phase::Answering) if dead(caller) && !planted!(CallerInCell) => {
                seen.to(Phase::Abandoned, member)
            }
            _ => return false,
        };
        swap(cell, seen, to);
        true
    }

    /// Frees the chunk of an answer that nobody is going to read.
    fn free_answer(&self, cell: &CallCell, seen: Word, chunks: &Chunks) {
        let (length, ticket) = (cell.length.load(Relaxed), ticket(cell));
        let named = length & IN_CHUNK != 0 && cell.word.load(Acquire) == seen.0;
        let Some(chunk) = chunks.find(ticket).filter(|_| named) else { return };
        if chunk.word.kind() == Some(Use::Own) {
            chunk.swap(chunk.word.freed());
        }
    }

    /// Whether a cell names this chunk as its answer. Asked after the death of who answered.
    pub(crate) fn names(&self, chunk: &Chunk<'_>) -> bool {
        let wanted = chunk.ticket();
        self.all().any(|cell| {
            let seen = Word(cell.word.load(Acquire));
            let in_chunk = cell.length.load(Relaxed) & IN_CHUNK != 0;
            seen.phase() == Some(Phase::Answered)
                && in_chunk
                && ticket(cell) == wanted
                && !planted!(AnswerFreed)
        })
    }

    /// Wakes all callers: the mailbox is closed.
    #[cold]
    pub(crate) fn alarm(&self) {
        for cell in self.all() {
            self.bell(cell).alarm();
        }
    }
}

fn ticket(cell: &CallCell) -> Ticket {
    Ticket { which: cell.answer[0].load(Relaxed), sequence: cell.answer[1].load(Relaxed) }
}

fn swap(cell: &CallCell, from: Word, to: Word) -> bool {
    cell.word.compare_exchange(from.0, to.0, AcqRel, Acquire).is_ok()
}
