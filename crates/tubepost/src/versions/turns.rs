//! Who writes next: in the order in which they came.
//!
//! Who has to wait takes a number, writes it into its seat, and is at the head of the queue when no seat has a smaller one. Only the head
//! acquires; but the head that does not respond, while nobody holds or when who holds is late, is passed by the next after a while, the next by
//! the one after in twice that, and so on. A number is of a seat that lives, or that of one that died, which is swept.
//!
//! **What if it dies here?** Having taken a number, and not written it: nobody waits for a number. At the head: whoever sees that it is dead
//! sweeps its seat; who does not see it passes it. Having acquired, with its number: who holds comes before nobody.

use super::mapped::Mapped;
use super::words::Current;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

/// How long the head may take to respond.
pub(crate) const RESPONSE: Duration = Duration::from_millis(10);

/// Who comes before a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Before {
    /// How many.
    pub(crate) number: u32,
    /// The first of them.
    pub(crate) head: Option<usize>,
}

impl Mapped {
    /// Takes a number.
    pub(crate) fn queue_up(&self, seat: usize) {
        let turn = self.head().coming.turn.fetch_add(1, SeqCst).wrapping_add(1);
        self.seat(seat).turn.store(turn, SeqCst);
    }

    /// Waits no longer.
    pub(crate) fn leave_queue(&self, seat: usize) {
        self.seat(seat).turn.store(0, SeqCst);
    }

    /// Who comes before this seat; or before anybody who comes now. Who holds does not wait, though its seat may have a number for a moment
    /// yet.
    #[inline]
    pub(crate) fn before(&self, seat: usize, seen: Current) -> Before {
        let own = self.seat(seat).turn.load(Relaxed);
        self.before_turn(if own == 0 { u64::MAX } else { own }, Some(seat), seen)
    }

    /// All who wait.
    pub(crate) fn all_who_wait(&self, seen: Current) -> Before {
        self.before_turn(u64::MAX, None, seen)
    }

    #[inline]
    fn before_turn(&self, own: u64, seat: Option<usize>, seen: Current) -> Before {
        let holds = |other| seen.is_held() && seen.seat() == other;
        let (mut number, mut head, mut least) = (0, None, own);
        for other in 0..self.seats() {
            let turn = self.seat(other).turn.load(SeqCst);
            if turn != 0 && turn < own && Some(other) != seat && !holds(other) {
                number += 1;
                if turn < least {
                    (least, head) = (turn, Some(other));
                }
            }
        }
        Before { number, head }
    }

    /// Whether anybody waits.
    #[inline(always)]
    pub(crate) fn anybody_waits(&self) -> bool {
        (0..self.seats()).any(|seat| self.seat(seat).turn.load(SeqCst) != 0)
    }
}
