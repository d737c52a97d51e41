//! Who writes next: in the order in which they came.
//!
//! Who has to wait takes a number, writes it into its seat, and is at the head of the queue when no seat has a smaller one. Only the head
//! acquires; but the head that does not respond, while nobody holds or when who holds is late, is passed by the next after a while, the next by
//! the one after in twice that, and so on. Its number is marked then, and nobody waits for it any more: not at the next hold either. Who finds its own
//! number marked takes the mark away, and comes first again. A number is of a seat that lives, or that of one that died, which is swept.
//!
//! Who may only read can't mark it; its handle remembers up to which number all were passed.
//!
//! **What if it dies here?** Having taken a number, and not written it: nobody waits for a number. At the head: whoever sees that it is dead
//! sweeps its seat; who does not see it passes it. Having acquired, with its number: who holds comes before nobody.

use super::mapped::Mapped;
use super::words::Current;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

/// How long the head may take to respond.
pub(crate) const RESPONSE: Duration = Duration::from_millis(10);

/// In a seat's turn: nobody waits for its owner.
const PASSED: u64 = 1 << 63;

/// Whether others wait for one whose seat says this.
#[inline(always)]
fn comes(turn: u64) -> bool {
    turn != 0 && turn & PASSED == 0
}

/// Who comes before a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Before {
    /// How many.
    pub(crate) number: u32,
    /// The first of them.
    pub(crate) head: Option<usize>,
    /// The turn of the last one.
    pub(crate) last: u64,
}

impl Mapped {
    /// Takes a number.
    pub(crate) fn queue_up(&self, seat: usize) {
        let turn = self.head().coming.turn.fetch_add(1, SeqCst).wrapping_add(1);
        self.seat(seat).turn.store(turn & !PASSED, SeqCst);
    }

    /// Waits no longer.
    pub(crate) fn leave_queue(&self, seat: usize) {
        self.seat(seat).turn.store(0, SeqCst);
    }

    /// Was passed, and is there: comes where it came before.
    #[inline]
    pub(crate) fn come_back(&self, seat: usize) {
        let word = &self.seat(seat).turn;
        let turn = word.load(Relaxed);
        if turn & PASSED != 0 {
            let _ = word.compare_exchange(turn, turn & !PASSED, SeqCst, Relaxed); // else it was swept
        }
    }

    /// Those whose turn comes up to this one, and who do not respond, are waited for no longer.
    #[cold]
    pub(crate) fn pass_all_up_to(&self, last: u64, seen: Current) {
        for seat in 0..self.seats() {
            let word = &self.seat(seat).turn;
            let turn = word.load(SeqCst);
            if comes(turn) && turn <= last && !(seen.is_held() && seen.seat() == seat) {
                let _ = word.compare_exchange(turn, turn | PASSED, SeqCst, Relaxed); // else it responds
            }
        }
    }

    /// Who comes before this seat; or before anybody who comes now. Who holds does not wait, though its seat may have a number for a moment
    /// yet.
    #[inline]
    pub(crate) fn before(&self, seat: usize, seen: Current) -> Before {
        let own = self.seat(seat).turn.load(Relaxed) & !PASSED;
        self.between(0, if own == 0 { u64::MAX } else { own }, Some(seat), seen)
    }

    /// All who wait with a turn after this one.
    pub(crate) fn all_who_wait(&self, after: u64, seen: Current) -> Before {
        self.between(after, u64::MAX, None, seen)
    }

    #[inline]
    fn between(&self, after: u64, own: u64, seat: Option<usize>, seen: Current) -> Before {
        let holds = |other| seen.is_held() && seen.seat() == other;
        let (mut before, mut least) = (Before { number: 0, head: None, last: 0 }, own);
        for other in 0..self.seats() {
            let turn = self.seat(other).turn.load(SeqCst);
            if comes(turn) && after < turn && turn < own && Some(other) != seat && !holds(other) {
                before.number += 1;
                before.last = before.last.max(turn);
                if turn < least {
                    (least, before.head) = (turn, Some(other));
                }
            }
        }
        before
    }

    /// Whether anybody waits.
    #[inline(always)]
    pub(crate) fn anybody_waits(&self) -> bool {
        (0..self.seats()).any(|seat| comes(self.seat(seat).turn.load(SeqCst)))
    }
}
