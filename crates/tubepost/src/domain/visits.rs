//! Who looks into the segments of an unbounded mailbox, so that their memory is not taken away under his eyes.
//!
//! A segment that is free may be looked at still, by whoever found it in the directory and was slow: that does no harm,
//! for no word of it means again what it meant (`queue::segments`). Where its *memory* was given back the words are zeros
//! that do; and looking at what is no memory may be a SIGBUS. So looking is a *visit*, and who gives memory back:
//!
//! ```text
//! visitor                                   who trims
//!   visiting + 1: odd (a plain store)         takes free segments: the directory leads to none of them
//!   look at the directory                     a barrier on every CPU (or, where one is out of reach, some time)
//!   look at places                            any word odd? it has to change soon, or its member to be dead
//!   visiting + 1: even                        any lock of a looker? likewise
//!                                             gives the memory back, or else leaves it as it is
//! ```
//!
//! After the barrier either the visitor's word is seen, or the visitor sees a directory that leads him to none of these. Where
//! somebody is stopped in a visit, nothing is trimmed until he goes on: no error, only memory that is kept.
//!
//! The word is in the member's row, and plain stores suffice because only one thread writes it: threads that share a handle
//! take turns. A visit is short. It does not comprise the use of a place that one has claimed or taken: such a place
//! keeps its segment. Nothing is waited for in a visit, but for its own turn.
//!
//! **Lookers.** Who is no member looks too: to list, to sweep, to remove, or because it is about to become one. It holds a lock
//! on a byte of the file as long as it has the mailbox open. That needs no row, so no memory, and leaves nothing behind.
//! (A visitor could do the same, for a system call each time.) Who joins and sweeps a row holds the lock for that.
//!
//! **What if it dies here?** Then it looks no more: the words of the dead don't count, and the kernel lets go of locks.

use super::segment::Segment;
use crate::os::{Errno, cpu, lock};
use crate::queue::layout::{ROWS, Row};
use crate::queue::rows::RowOf;
use crate::queue::slots::Member;
use crate::sync::sole::{self, Held, Sole};
use crate::sync::wait::Bell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU64, AtomicUsize, compiler_fence};
use std::time::{Duration, Instant};

/// Lookers have the bytes from this one on, as many as there are rows. (Before them are those of who joins.)
const LOOKERS_AT: u64 = 2 * ROWS;
/// So long a visit may take before he who wants to trim gives up.
const SOON: Duration = Duration::from_millis(5);

/// The visits of one handle.
#[derive(Debug)]
pub(super) struct Visits {
    member: Member,
    /// Its row. Nothing, which is not to be, where that is no memory: then nobody trims.
    row: Option<RowOf>,
    turns: Sole,
    /// The thread that is inside, if there may be another visit within.
    inside: AtomicUsize,
}

/// Until it is dropped, what the directory leads to is memory.
#[must_use]
pub(crate) struct Visit<'a>(Option<(&'a Visits, Inside<'a>)>);

impl Drop for Visit<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some((visits, _)) = &self.0 {
            visits.inside.store(0, Relaxed);
        }
    }
}

/// The same.
#[must_use]
pub(crate) struct Inside<'a> {
    word: &'a AtomicU64,
    odd: u64,
    _turn: Held<'a>,
}

impl<'a> Inside<'a> {
    #[inline(always)]
    fn new(word: &'a AtomicU64, turn: Held<'a>) -> Inside<'a> {
        let odd = word.load(Relaxed) | 1;
        word.store(odd, Relaxed);
        compiler_fence(SeqCst);
        Inside { word, odd, _turn: turn }
    }
}

impl Drop for Inside<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.word.store(self.odd.wrapping_add(1), Release);
    }
}

impl Visits {
    pub(super) fn new(member: Member, row: Option<RowOf>) -> Visits {
        let turns = Sole::new(cpu::register_for_barriers());
        Visits { member, row, turns, inside: AtomicUsize::new(0) }
    }

    #[inline]
    fn enter(&self) -> Visit<'_> {
        let here = sole::thread();
        let Some(row) = self.row.as_ref().filter(|_| self.inside.load(Relaxed) != here) else {
            return Visit(None);
        };
        let turn = self.turns.hold();
        self.inside.store(here, Relaxed);
        Visit(Some((self, Inside::new(&row.visiting, turn))))
    }
}

impl Segment {
    /// Begins a visit. Of a bounded mailbox, of a looker, and within another one of the same thread: nothing happens.
    #[inline]
    pub(crate) fn visit(&self) -> Visit<'_> {
        self.visits.get().map_or(Visit(None), Visits::enter)
    }

    /// Does this in a visit. (With one branch, where the mailbox is bounded.)
    #[inline(always)]
    pub(crate) fn visiting<R>(&self, look: impl FnOnce() -> R) -> R {
        match self.visits.get() {
            None => look(),
            Some(visits) => {
                let _visit = visits.enter();
                look()
            }
        }
    }

    /// Begins a visit where no other one of this thread is around it or within, if that takes no waiting: in few
    /// stores, for the way that has to be short. (No closure that the compiler might call.)
    #[inline(always)]
    pub(crate) fn visit_shortly(&self) -> Option<Inside<'_>> {
        let visits = self.visits.get()?;
        let row = visits.row.as_ref()?;
        debug_assert!(visits.inside.load(Relaxed) != sole::thread());
        Some(Inside::new(&row.visiting, visits.turns.hold_quickly()?))
    }

    /// Becomes a member: from now on it visits, and is no looker.
    pub(super) fn becomes(&self, member: Member, fd: BorrowedFd<'_>) {
        if self.geometry.areas.is_none() {
            return;
        }
        let visits = self.visits.get_or_init(|| Visits::new(member, self.rows.at(member).ok()));
        if !cpu::register_for_barriers() {
            Bell::pin(&self.header().bells.fence);
        }
        debug_assert!(visits.member == member);
        self.look_no_more(fd);
    }

    /// Gives up what a looker holds. `fd` is the descriptor that the mapping came from.
    pub(super) fn look_no_more(&self, fd: BorrowedFd<'_>) {
        if let Some(byte) = self.looks {
            lock::unlock(fd, byte);
        }
    }

    /// Gives the memory of segments that nobody needs back. The caller is a member.
    pub(crate) fn trim_segments(&self, me: Member, thorough: bool) -> u64 {
        let (Some(segments), Some(visits)) = (self.segments(), self.visits.get()) else { return 0 };
        if visits.inside.load(Relaxed) == sole::thread() {
            return 0; // whoever looks himself must not
        }
        self.retire_segments();
        // So that none of this handle's threads visits.
        let _turn = visits.turns.hold();
        segments.trim(me, thorough, || self.is_unseen(me))
    }

    /// Whether nobody looks any more into what was free when this was called.
    fn is_unseen(&self, me: Member) -> bool {
        Bell::everybody_sees(&self.header().bells.fence);
        let Some(fd) = self.descriptor() else { return false };
        let end = Instant::now() + SOON;
        let used = self.header().tail.rows.load(Acquire).min(ROWS);
        (1..used).all(|member| member as Member == me || self.has_left(member as Member, end))
            && by(end, || !are_lookers(&fd))
    }

    /// Whether a member is in no visit that it was in at first.
    fn has_left(&self, member: Member, end: Instant) -> bool {
        let Ok(row) = self.rows.get(member) else { return false };
        let first = row.visiting.load(Acquire);
        first & 1 == 0 || by(end, || row.visiting.load(Acquire) != first) || self.is_dead(member)
    }
}

/// Asks again until that time.
fn by(end: Instant, mut done: impl FnMut() -> bool) -> bool {
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::yield_now();
    }
}

/// Whether somebody looks who is no member, or joins.
fn are_lookers(fd: &OwnedFd) -> bool {
    let (first, end) = (ROWS, LOOKERS_AT + ROWS);
    !matches!(lock::is_any_locked(fd.as_fd(), first, end - first), Ok(false))
}

/// Becomes a looker; which byte says so.
pub(super) fn look(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    // Anywhere: most probably nobody else is there.
    let first = (std::ptr::from_ref(&fd).addr() as u64 / 16) ^ (u64::from(std::process::id()) << 4);
    for at in 0..ROWS {
        let byte = LOOKERS_AT + first.wrapping_add(at) % ROWS;
        if lock::try_lock(fd, byte)? {
            return Ok(byte);
        }
    }
    Err(Errno::AGAIN)
}

/// A row that a new member takes says that it is in no visit, whatever its last one was in when it died.
pub(super) fn begin(row: &Row) {
    let word = &row.visiting;
    word.store(word.load(Relaxed).wrapping_add(1) & !1, Release);
}
