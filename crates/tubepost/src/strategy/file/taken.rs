//! A message between the log and its receiver: consumed, kept in hand, or put back; and what becomes of those that nobody wants, or are held for too long.
//!
//! A message in hand is one whose mark says so; what the receiver has is a copy. So a late holder is fenced by one CAS, and loses nothing but the message.
//!
//! Messages for the dead letters are sent there first, and consumed second. If there is no room they go back, marked, and are tried again.
//!
//! **What if it dies here?** What is in hand comes back; so the dead letters may have one twice.

use super::inlet::Inlet;
use super::{At, Member};
use crate::domain::member::Peer;
use crate::error::Error;
use crate::journal::letter::Letter;
use crate::journal::marks::Holder;
use crate::journal::words::{Mark, Says};
use crate::memory::payload::{self, Unfit};
use crate::os::clock;
use crate::queue::calls::Address;
use crate::queue::in_place::{InPlace, View};
use crate::queue::layout::HOLD_SHIFT;
use crate::strategy::{Arrival, Hand, Refusal};
use crate::sync::wait::SLICE;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::{Duration, Instant};

/// So long nothing is sent to dead letters that had no room.
const A_BREAK: u64 = 100_000_000;
/// Nobody looks more often for what is held too long.
const SHORTEST: Duration = Duration::from_millis(1);

/// A message in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(super) number: u64,
    pub(super) mark: Mark,
}

/// What another holds, and since when this receiver knows.
#[derive(Debug)]
pub(super) struct Seen {
    number: u64,
    mark: Mark,
    since: Instant,
}

/// A message that was taken.
pub(crate) struct Taken<'a> {
    inlet: &'a Inlet,
    mark: Mark,
    letter: Letter<At>,
}

impl<'a> Taken<'a> {
    pub(super) fn new(inlet: &'a Inlet, mark: Mark, letter: Letter<At>) -> Taken<'a> {
        Taken { inlet, mark, letter }
    }

    fn at(&self) -> &At {
        &self.letter.file
    }

    fn held(&self) -> Held {
        Held { number: self.at().number(), mark: self.mark }
    }
}

impl Arrival for Taken<'_> {
    type Payload = Letter<At>;

    #[inline]
    fn payload(&self) -> &Letter<At> {
        &self.letter
    }

    fn position(&self) -> u64 {
        self.at().number()
    }

    fn redelivered(&self) -> u32 {
        self.mark.before().into()
    }

    fn sender(&self) -> Peer {
        self.inlet.who_sent(&self.letter.whole)
    }

    fn may_be_lost(&self) -> bool {
        true // who sent it is known from the file, which may be gone when somebody asks
    }

    fn fetch_for_answer(&self, _: Address) {}

    fn address(&self) -> Address {
        Address::NOBODY
    }

    fn leave_unanswered(&self) {}

    #[inline]
    fn consume(self) -> bool {
        let At { file, spot } = self.at();
        let done = file.consume(spot.index, self.mark);
        if done {
            self.inlet.after_consumed(file);
        }
        done
    }

    fn is_in_place(&self) -> bool {
        false
    }

    fn in_place<H: ?Sized>(&self, _: View<H>) -> Option<Result<InPlace<H>, Unfit>> {
        None
    }

    fn hold(self, _: bool) -> Result<Hand, Refusal> {
        Ok(Hand::Filed(self.held()))
    }

    #[cold]
    fn unfit(self, unfit: Unfit) -> Refusal {
        let error = match unfit {
            Unfit::TooShort { length, room } => {
                self.inlet.give_back(self.held());
                return Error::TooLong { length: length as u64, max: room as u64 }.into();
            }
            Unfit::NotText => Error::BadText,
            Unfit::NotDecodable { length, why } => Error::NotDecodable { length: length as u64, why },
            Unfit::WrongLength { .. } => Error::Damaged {
                name: self.inlet.segment().name.to_string(),
                what: "a message has an impossible length; it was dropped".into(),
            },
        };
        if self.inlet.rules.dead_letters.is_some() {
            self.inlet.put_away(self, true);
        } else {
            self.consume();
        }
        error.into()
    }
}

impl Inlet {
    /// The place of a message in hand, if its file is there.
    fn at_of(&self, held: Held) -> Option<At> {
        let file = self.log.file_of(held.number).ok()?;
        let index = u32::try_from(held.number.checked_sub(file.first)?).ok()?;
        let spot = crate::journal::words::Spot { units: 0, index };
        Some(At { file, spot })
    }

    fn no_longer(&self) -> Error {
        let name = self.segment().name.to_string();
        match self.rules.longest_hold {
            0 => Error::NotHeld { name },
            longest => Error::HoldExpired { name, longest: Duration::from_millis(longest) },
        }
    }

    /// Ends a message in hand: it is consumed.
    pub(crate) fn accept(&self, held: Held) -> Result<(), Error> {
        if !self.segment().is_ours() {
            return Err(Error::Forked);
        }
        let Some(at) = self.at_of(held) else { return Err(self.no_longer()) };
        if !at.file.consume(at.spot.index, held.mark) {
            return Err(self.no_longer());
        }
        self.after_consumed(&at.file);
        Ok(())
    }

    /// It is for the dead letters, or for nobody.
    pub(crate) fn reject(&self, held: Held) -> Result<(), Error> {
        if self.rules.dead_letters.is_none() {
            return self.accept(held).inspect(|()| {
                self.segment().header().discarded.fetch_add(1, Relaxed);
            });
        }
        if !self.segment().is_ours() {
            return Err(Error::Forked);
        }
        let at = self.at_of(held).filter(|at| at.file.mark_at(at.spot.index) == held.mark);
        let Some(mut at) = at else { return Err(self.no_longer()) };
        at.spot = at.file.find(at.spot.index);
        let Says::Message { units, rest, by } = at.file.says(at.spot) else { return Err(self.no_longer()) };
        match at.file.read(at.spot, units, rest, by) {
            Some(whole) => self.put_away(Taken::new(self, held.mark, Letter { file: at, whole }), true),
            None => drop(at.file.consume(at.spot.index, held.mark)),
        }
        Ok(())
    }

    /// Another receiver gets it.
    pub(crate) fn give_back(&self, held: Held) {
        if !self.segment().is_ours() {
            return;
        }
        if let Some(at) = self.at_of(held)
            && at.file.give_back(at.spot.index, held.mark)
        {
            self.segment().tell_news();
        }
    }

    /// Who sent a message that is in hand.
    pub(crate) fn sender_of(&self, held: Held) -> Peer {
        let nobody = Peer { pid: 0, name: String::new() };
        let Some(mut at) = self.at_of(held).filter(|_| self.segment().is_ours()) else { return nobody };
        at.spot = at.file.find(at.spot.index);
        match at.file.says(at.spot) {
            Says::Message { units, rest, by } => {
                at.file.read(at.spot, units, rest, by).map_or(nobody, |whole| self.who_sent(&whole))
            }
            _ => nobody,
        }
    }

    pub(super) fn may_put_away(&self) -> bool {
        let some = self.rules.max_redeliveries.is_some() || self.rules.dead_letters.is_some();
        some && clock::coarse() >= self.full_until.load(Relaxed)
    }

    /// Whether a message that came back is for nobody, or for the dead letters.
    pub(super) fn has_to_go(&self, mark: Mark) -> bool {
        self.rules.is_worn(mark.before()) || self.rules.dead_letters.is_some() && mark.is_rejected()
    }

    /// Whether this receiver takes a message that came back, to deliver it or to put it away.
    pub(super) fn wants(&self, mark: Mark) -> bool {
        if self.has_to_go(mark) { self.may_put_away() } else { !mark.is_rejected() }
    }

    /// Sends a message in hand to the dead letters, if there are such, and consumes it.
    #[cold]
    pub(super) fn put_away(&self, taken: Taken<'_>, rejected: bool) {
        let header = self.segment().header();
        let Some(letters) = &self.rules.dead_letters else {
            header.discarded.fetch_add(1, Relaxed);
            taken.consume();
            return;
        };
        let mut bytes = Vec::new();
        payload::replace(&taken.letter, &mut bytes);
        if letters.try_send(&bytes).is_ok() {
            header.dead_letters.fetch_add(1, Relaxed);
            taken.consume();
            return;
        }
        self.full_until.store(clock::coarse() + A_BREAK, Relaxed);
        let (file, index) = (&taken.at().file, taken.at().spot.index);
        let back = match rejected {
            true => file.give_back_rejected(index, taken.mark),
            false => file.give_back(index, taken.mark),
        };
        if back {
            self.segment().tell_news();
        }
    }

    /// Takes out of others' hands what they hold for longer than they promised, if it is known for that long. Says when to look again.
    #[cold]
    pub(super) fn fence_overdue(&self) -> Option<Duration> {
        let segment = self.segment();
        let shortest = segment.header().shortest_hold.load(Acquire);
        if shortest == 0 {
            return None;
        }
        let promised = |holder: Holder| {
            let row = segment.rows.get(holder.member).ok().filter(|_| holder.life == self.log.life);
            row.map_or(0, |row| row.role.load(Acquire) >> HOLD_SHIFT)
        };
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, mut still, mut back) = (Instant::now(), Vec::new(), false);
        let mut next = Duration::from_millis(shortest / 4).min(SLICE);
        for file in self.log.all().unwrap_or_default() {
            for (index, mark) in file.in_hand() {
                let longest = mark.taker().map_or(0, |(life, member)| promised(Holder { life, member }));
                if longest == 0 {
                    continue;
                }
                let number = file.first + u64::from(index);
                let known = all.iter().find(|seen| seen.number == number && seen.mark == mark);
                let since = known.map_or(now, |seen| seen.since);
                let left = Duration::from_millis(longest).saturating_sub(now.duration_since(since));
                if left.is_zero() {
                    back |= file.give_back(index, mark);
                } else {
                    next = next.min(left);
                    still.push(Seen { number, mark, since });
                }
            }
        }
        *all = still;
        drop(all);
        if back {
            segment.tell_news();
            return Some(Duration::ZERO);
        }
        Some(next.max(SHORTEST))
    }
}
