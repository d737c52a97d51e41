//! Messages whose sender waits until they are collected, and may withdraw them.
//!
//! The slot is the acknowledgement: once its state is beyond the message's turn somebody has
//! received it. A sender that won't wait any longer takes its own message back:
//!
//! ```text
//! send       as ever, but state = FULL(turn, awaited, me)
//! collected  state beyond my turn
//! withdraw   CAS the take word: an older turn -> (turn, withdrawn, me)
//!            won:  state = FREE(turn + 1); nobody receives it
//!            lost: somebody is just receiving it, so it is collected
//! receive    of an awaited message also a sole receiver CASes the take word first
//! ```
//!
//! Where receivers compete, one that was taken and given back stays: it counts as collected. A sole receiver
//! that can't use it (its buffer is too short) has not walked past it, and it can be withdrawn.
//!
//! So the take word decides, as it does between receivers, and exactly one of sender and receivers has the
//! message. A position that was withdrawn is a skipped one: who walks over it says so in the count of skips.
//! A take word that is written out of order hides what was in that slot a turn ago from those who walk: so the sender
//! walks over all that first. (All before it is over by then, or it could not have claimed its place.)
//!
//! **What if it dies here?** A sender that waits has published: its message stays. One that dies between
//! its take and FREE leaves a full slot that is withdrawn: nobody receives it, and whoever looks after the dead
//! frees the slot as one that was claimed and never published. One that is *stopped* there holds back a sole
//! receiver, who must not walk past a slot that is not free; others' deadlines still work.
//!
//! **Closing** counts what is withdrawn as not there.

use super::slots::{Member, Place, Slots, Words};
use super::takes::Take;

/// What came of withdrawing a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Withdrawal {
    /// Nobody receives it; its slot is the caller's to free.
    Mine,
    /// It was received.
    Collected,
    /// This receiver is just receiving it, or died in that.
    With(Member),
    /// Nobody takes anything any more.
    Closed,
}

impl<W: Words> Slots<W> {
    /// Takes a message back whose sender is `me`. The caller has just walked to the first untaken position.
    pub(crate) fn withdraw(&self, place: Place, me: Member, competing: bool) -> Withdrawal {
        loop {
            let seen = self.take_at(place);
            let ahead = seen.ahead_of(place.turn);
            let given_back = ahead == 0 && seen.was_given_back();
            if self.is_over(place) || ahead > 0 || given_back && competing {
                return Withdrawal::Collected;
            }
            if ahead == 0 && !given_back {
                return Withdrawal::With(seen.member());
            }
            if seen.is_closed() {
                return Withdrawal::Closed;
            }
            if self.swap_take(place, seen, Take::new(place.turn, 0, me).withdrawn()) {
                return Withdrawal::Mine;
            }
        }
    }

    /// Takes an awaited message as a sole receiver. `false`: it was withdrawn.
    #[inline]
    pub(crate) fn take_awaited(&self, place: Place, me: Member) -> bool {
        let seen = self.take_at(place);
        let fresh = seen.ahead_of(place.turn) < 0;
        fresh && self.swap_take(place, seen, Take::new(place.turn, 0, me)) || self.take_put_back(place, me)
    }

    /// One that this receiver took before and did not use.
    #[cold]
    fn take_put_back(&self, place: Place, me: Member) -> bool {
        let seen = self.take_at(place);
        if seen.ahead_of(place.turn) != 0 || seen.is_withdrawn() {
            return false;
        }
        seen.member() == me || seen.was_given_back() && self.swap_take(place, seen, seen.of(me))
    }

    /// Whether a sender took its message at `place` back.
    pub(crate) fn is_withdrawn(&self, place: Place) -> bool {
        let seen = self.take_at(place);
        seen.is_withdrawn() && seen.ahead_of(place.turn) == 0
    }

    /// Who is receiving the message at `place`, if it is not received yet.
    pub(crate) fn taker(&self, place: Place) -> Option<Member> {
        let seen = self.take_at(place);
        let taken = seen.ahead_of(place.turn) == 0 && !seen.was_given_back() && !seen.is_withdrawn();
        (taken && !self.is_over(place)).then(|| seen.member())
    }

    /// Whether some receiver had the message in hand that was published at this place, and gave it back.
    pub(crate) fn was_given_back(&self, place: Place) -> bool {
        let seen = self.take_at(place);
        seen.ahead_of(place.turn) == 0 && seen.was_given_back()
    }
}
