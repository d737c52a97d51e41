//! A sender that waits until its message was collected, or takes it back.
//!
//! It sleeps where senders wait for room: a message that was collected is a place that became free.
//! The protocol is in `queue::collected`.

use super::Attachment;
use super::outlet::Outlet;
use crate::domain::segment::Segment;
use crate::error::{Closed, Error, Fate};
use crate::queue::chunks::Ticket;
use crate::queue::collected::Withdrawal;
use crate::queue::layout::{KEEPS, ROWS};
use crate::queue::mapped::Letter;
use crate::queue::slots::{Member, Place};
use crate::strategy::Refusal;
use crate::sync::wait::poll;
use std::sync::atomic::Ordering::Acquire;
use std::time::{Duration, Instant};

/// Why a message was not collected.
#[derive(Debug)]
pub(crate) enum Uncollected {
    /// As a send that does not wait; but at a deadline it was withdrawn.
    Refused(Refusal),
    /// The mailbox was closed meanwhile.
    Closed(Closed, Fate),
}

impl From<Error> for Uncollected {
    fn from(error: Error) -> Uncollected {
        Uncollected::Refused(error.into())
    }
}

impl From<Uncollected> for Refusal {
    fn from(uncollected: Uncollected) -> Refusal {
        match uncollected {
            Uncollected::Refused(refusal) => refusal,
            Uncollected::Closed(closed, _) => Refusal::Closed(closed),
        }
    }
}

impl From<Refusal> for Uncollected {
    fn from(refusal: Refusal) -> Uncollected {
        match refusal {
            Refusal::Closed(closed) => Uncollected::Closed(closed, Fate::NotCollected),
            other => Uncollected::Refused(other),
        }
    }
}

/// A receiver that took a message has it copied within this time, unless it is stopped, or keeps it in hand in its
/// slot for want of memory.
const COPYING: Duration = Duration::from_millis(100);

/// What was withdrawn is of no use any more.
pub(super) fn free_withdrawn(segment: &Segment, chunk: Ticket) {
    segment.chunks.swap_if(chunk, |linked| linked.freed());
}

impl Outlet {
    /// Sends, and waits until a receiver has the message.
    #[inline]
    pub(crate) fn send_collected(&self, bytes: &[u8], deadline: Option<Instant>) -> Result<(), Uncollected> {
        let place = self.post_by::<true>(bytes, deadline)?;
        self.until_collected(place, deadline, free_withdrawn)
    }

    /// Waits until the message at this place, which was just sent, is collected. If it is withdrawn, what becomes of the chunk it
    /// is in, if it is in one, is up to `chunk`.
    #[inline]
    pub(super) fn until_collected(
        &self,
        place: Place,
        deadline: Option<Instant>,
        chunk: impl FnMut(&Segment, Ticket),
    ) -> Result<(), Uncollected> {
        let at = &*self.at;
        if at.segment.handoff.is_some() {
            return Ok(()); // who took it has it
        }
        let over = || at.is_over(place);
        if poll(at.spin(), deadline, over) {
            at.spun_well();
            return Ok(());
        }
        self.await_collection(place, deadline, chunk)
    }

    #[cold]
    fn await_collection(
        &self,
        place: Place,
        deadline: Option<Instant>,
        chunk: impl FnMut(&Segment, Ticket),
    ) -> Result<(), Uncollected> {
        let at = &self.at;
        let collected = at.segment.room().wait(
            deadline,
            || at.is_over(place).then_some(Ok(())),
            || at.look_for_end().map_err(Err),
        );
        match collected {
            Some(Ok(())) => Ok(()),
            Some(Err(Refusal::Closed(closed))) => self.fate(place, closed),
            Some(Err(other)) => Err(other.into()),
            None => self.withdraw(place, chunk),
        }
    }

    /// The deadline came first: takes the message back, unless somebody is just receiving it.
    #[cold]
    pub(super) fn withdraw(
        &self,
        place: Place,
        mut chunk: impl FnMut(&Segment, Ticket),
    ) -> Result<(), Uncollected> {
        let at = &self.at;
        let segment = &at.segment;
        segment.untaken();
        let mut withdrawal = at.withdraw(place);
        let kept = matches!(withdrawal, Withdrawal::With(_) | Withdrawal::Collected) && at.has_keepers();
        if let Withdrawal::With(_) = withdrawal
            && !kept
        {
            // Who is just copying it may find that its buffer is too short.
            let decided = || at.taker(place).is_none().then_some(());
            let end = Instant::now().checked_add(COPYING);
            segment.room().wait(end, decided, || Ok(at.patience()));
            withdrawal = at.withdraw(place);
        }
        if let Withdrawal::With(receiver) = withdrawal
            && segment.is_dead(receiver)
        {
            if segment.is_over() {
                return self.fate(place, at.buried());
            }
            segment.give_back();
            withdrawal = at.withdraw(place);
        }
        match withdrawal {
            Withdrawal::Mine => {}
            // It is not where it could be withdrawn, but not collected either: its receiver hands it on.
            Withdrawal::Collected | Withdrawal::With(_) if kept && !at.is_over(place) => {
                return Err(Error::Underway { name: segment.name.to_string() }.into());
            }
            Withdrawal::Collected | Withdrawal::With(_) => return Ok(()),
            Withdrawal::Closed => return self.fate(place, at.buried()),
        }
        let letter = segment.slots.words.letter(place);
        segment.slots.free(place);
        if let Some(Letter::InChunk(ticket, _)) = letter {
            chunk(segment, ticket);
        }
        // The place is free, and an owner that waits at it can go on.
        segment.ring_for_room(&at.quiet);
        segment.ring_for_message(&at.quiet);
        if segment.is_closed() {
            return Err(Uncollected::Closed(at.buried(), Fate::NotCollected));
        }
        Err(Uncollected::Refused(Refusal::Waiting))
    }

    /// What became of the message in a mailbox that was closed.
    #[cold]
    pub(super) fn fate(&self, place: Place, closed: Closed) -> Result<(), Uncollected> {
        if self.at.is_over(place) {
            return Ok(());
        }
        let fate = if self.at.may_have_gone(place) { Fate::Unknown } else { Fate::NotCollected };
        Err(Uncollected::Closed(closed, fate))
    }
}

/// What became of a message that was published at this place. The place may be over, and its segment others' or nobody's.
impl Attachment {
    pub(super) fn is_over(&self, place: Place) -> bool {
        let slots = &self.segment.slots;
        self.segment.visiting(|| slots.is_over(slots.place(place.position)))
    }

    pub(super) fn taker(&self, place: Place) -> Option<Member> {
        let slots = &self.segment.slots;
        self.segment.visiting(|| slots.taker(slots.place(place.position)))
    }

    /// Whether the message that was published at this place, and is not over, may have been received all the same: somebody has it in hand; or had, and hands messages
    /// on to where it may be.
    pub(super) fn may_have_gone(&self, place: Place) -> bool {
        let slots = &self.segment.slots;
        let given_back = || self.segment.visiting(|| slots.was_given_back(slots.place(place.position)));
        self.taker(place).is_some() || self.has_keepers() && given_back()
    }

    /// Whether some receiver keeps places, or did: rows are the dead's until they are used again.
    fn has_keepers(&self) -> bool {
        let used = self.segment.header().tail.rows.load(Acquire).min(ROWS);
        let keeps =
            |member| self.segment.rows.get(member).is_ok_and(|row| row.role.load(Acquire) & KEEPS != 0);
        !self.segment.geometry.choice.owned && (0..used).any(|member| keeps(member as Member))
    }

    fn withdraw(&self, place: Place) -> Withdrawal {
        let (slots, competing) = (&self.segment.slots, !self.segment.geometry.choice.owned);
        self.segment.visiting(|| slots.withdraw(slots.place(place.position), self.member, competing))
    }
}
