//! Records, one behind the other in a file: claimed, written, committed; walked over by everybody.
//!
//! ```text
//! append   walk from a hint to the first control word that is zero
//!          CAS it 0 -> CLAIMED(length, me)           who, and how long, in one store
//!          write the record, then store COMMITTED    published
//!          it does not fit any more: CAS 0 -> END, and go on in the next file
//! ```
//!
//! Invariants:
//! 1. Whatever is touched lies in the mapping: places and lengths that come from the file are checked first.
//! 2. A control word leaves zero by CAS only, and CLAIMED by a store of its living claimant, or by CAS from that very word once that one is dead.
//! 3. Before a record is claimed all before it are claimed, so records are numbered as they lie.
//! 4. A message is complete before COMMITTED, and never changes afterwards.
//!
//! **What if it dies here?** Before the claim: nothing happened. Between claim and COMMITTED: the word says how long and whose it is, and whoever needs to know what is
//! there asks whether that one is dead, and makes it SKIPPED, which holds no message. Between END and the next file: whoever comes next makes that.

use super::file::LogFile;
use super::letter::Whole;
use super::words::{Control, Mark, Says, Spot};
use crate::os::Errno;
use crate::queue::slots::Member;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// The hint for those who append is moved once in so many records.
const HINT_EVERY: u32 = 64;

/// What a claim came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is the caller's to write.
    Here(Spot),
    /// The file ends here.
    Ended(Spot),
    /// The record of this place may not be claimed now, says the caller.
    Refused(Spot),
    /// The log is closed.
    Closed,
    /// What is here no process wrote.
    Rubbish(Spot),
}

/// What stands at a place.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found {
    /// A message, and units of its record.
    Message(Whole, u64),
    /// No message: its writer died.
    Skipped(u64),
    /// A message that is not what was written.
    Damaged,
    /// Being written.
    Claimed,
    Nothing,
    End,
    Closed,
    Rubbish,
}

impl LogFile {
    /// The number of the record at this place.
    #[inline]
    pub(crate) fn number(&self, spot: Spot) -> u64 {
        self.first + u64::from(spot.index)
    }

    /// What the control word at a place says, and whether it is possible in this file.
    #[inline]
    pub(crate) fn says(&self, spot: Spot) -> Says {
        let says = self.control_at(spot.units).says(self.number(spot));
        match says {
            Says::Claimed { units, .. } | Says::Message { units, .. } | Says::Skipped { units }
                if units > u64::from(self.units - spot.units) =>
            {
                Says::Rubbish
            }
            Says::Nothing if spot.units >= self.units => Says::End,
            says => says,
        }
    }

    /// The place behind the record at this one, whatever that is; nothing if none is there.
    #[inline]
    pub(crate) fn step(&self, spot: Spot) -> Option<Spot> {
        match self.says(spot) {
            Says::Claimed { units, .. } | Says::Message { units, .. } | Says::Skipped { units } => {
                Some(spot.after(units))
            }
            _ => None,
        }
    }

    /// Claims a record of so many units behind all that are claimed, beginning to look at `from`, which moves along. `may` says whether the one of this
    /// number, which begins so many bytes into the log, may be claimed.
    pub(crate) fn claim(
        &self,
        from: &mut Spot,
        (units, rest): (u64, u64),
        me: Member,
        mut may: impl FnMut(u64, u64) -> bool,
    ) -> Result<Claim, Errno> {
        loop {
            let (spot, number) = (*from, self.number(*from));
            match self.says(spot) {
                Says::Nothing => {}
                Says::End => return Ok(Claim::Ended(spot)),
                Says::Closed => return Ok(Claim::Closed),
                Says::Rubbish => return Ok(Claim::Rubbish(spot)),
                Says::Claimed { units, .. } | Says::Message { units, .. } | Says::Skipped { units } => {
                    *from = spot.after(units);
                    continue;
                }
            }
            let Some(word) = self.control(spot.units) else { return Ok(Claim::Ended(spot)) };
            let swap = |to: Control| word.compare_exchange(0, to.bits(), AcqRel, Acquire).is_ok();
            if units > u64::from(self.units - spot.units) || spot.index >= self.most() {
                if swap(Control::end(number)) {
                    return Ok(Claim::Ended(spot));
                }
            } else if !may(number, self.begins + u64::from(spot.units) * super::words::UNIT) {
                return Ok(Claim::Refused(spot));
            } else {
                self.prepare(spot)?;
                if swap(Control::claimed(units, rest, me, number)) {
                    *from = spot.after(units);
                    self.touch_ahead(spot.units, units);
                    if spot.index.is_multiple_of(HINT_EVERY) {
                        self.hints().tail.fetch_max(spot.bits(), Relaxed);
                    }
                    return Ok(Claim::Here(spot));
                }
            }
        }
    }

    /// Publishes a record that was claimed and written.
    #[inline]
    pub(crate) fn commit(&self, spot: Spot, (units, rest): (u64, u64), sender: Member) {
        let committed = Control::committed(units, rest, sender, self.number(spot));
        if let Some(word) = self.control(spot.units) {
            word.store(committed.bits(), Release);
        }
    }

    /// Nobody appends from now on, if nobody was faster.
    pub(crate) fn close(&self, end: Spot) -> bool {
        let closed = Control::closed(self.number(end));
        let word = self.control(end.units);
        word.is_some_and(|word| word.compare_exchange(0, closed.bits(), AcqRel, Relaxed).is_ok())
    }

    /// A record whose claimant is dead holds no message. Whether it was so.
    pub(crate) fn skip(&self, spot: Spot, is_dead: impl FnOnce(Member) -> bool) -> bool {
        let (seen, number) = (self.control_at(spot.units), self.number(spot));
        let Says::Claimed { units, by } = seen.says(number) else { return false };
        let skipped = Control::skipped(units, number);
        let word = self.control(spot.units);
        let done = is_dead(by)
            && word.is_some_and(|word| {
                word.compare_exchange(seen.bits(), skipped.bits(), AcqRel, Relaxed).is_ok()
            });
        if done {
            self.pass(spot.index);
        }
        done
    }

    /// Nobody is to receive what is not there.
    pub(crate) fn pass(&self, index: u32) {
        if let Some(mark) = self.mark(index) {
            let _ = mark.compare_exchange(Mark::FRESH.bits(), Mark::PASSED.bits(), AcqRel, Relaxed);
        }
    }

    /// What stands at a place.
    pub(crate) fn look(&self, spot: Spot) -> Found {
        match self.says(spot) {
            Says::Nothing => Found::Nothing,
            Says::End => Found::End,
            Says::Closed => Found::Closed,
            Says::Rubbish => Found::Rubbish,
            Says::Claimed { .. } => Found::Claimed,
            Says::Skipped { units } => Found::Skipped(units),
            Says::Message { units, rest, by } => match self.read(spot, units, rest, by) {
                Some(whole) => Found::Message(whole, units),
                None => Found::Damaged,
            },
        }
    }

    /// The next place behind `spot`, where there is rubbish, at which a whole message is.
    pub(crate) fn resume(&self, spot: Spot) -> Option<Spot> {
        (spot.units.saturating_add(1)..self.units).find_map(|at| {
            let control = self.control_at(at);
            if control == Control::NOTHING {
                return None;
            }
            let number = self.stored_number(at)?;
            let index = u32::try_from(number.checked_sub(self.first)?).ok()?;
            let there = Spot { units: at, index };
            let whole = index > spot.index && index < self.most();
            (whole && matches!(self.look(there), Found::Message(..))).then_some(there)
        })
    }

    /// Where what is appended ends now.
    pub(crate) fn tail(&self) -> Spot {
        let mut spot = Spot::of(self.hints().tail.load(Relaxed));
        if self.number_is_wrong(spot) {
            spot = Spot::default();
        }
        while let Some(next) = self.step(spot) {
            spot = next;
        }
        spot
    }

    /// Where the next one would be appended, beyond what no process wrote. Nothing: there is such up to the end.
    pub(crate) fn end_beyond_rubbish(&self) -> Option<Spot> {
        let mut spot = self.tail();
        loop {
            match self.step(spot) {
                Some(next) => spot = next,
                None if matches!(self.says(spot), Says::Rubbish) => spot = self.resume(spot)?,
                None => return Some(spot),
            }
        }
    }

    /// Before this place no mark is fresh, as far as is known.
    pub(crate) fn taken(&self) -> Spot {
        let known = Spot::of(self.hints().taken.load(Acquire));
        if self.number_is_wrong(known) { Spot::default() } else { known }
    }

    /// A hint that somebody spoiled leads to no record.
    fn number_is_wrong(&self, spot: Spot) -> bool {
        spot.units > self.units || spot.index > self.most() || matches!(self.says(spot), Says::Rubbish)
    }

    /// The place of the record of this index, which has been claimed; else where claimed ones end.
    pub(crate) fn find(&self, index: u32) -> Spot {
        let mut spot = Spot::default();
        for hint in [&self.hints().tail, &self.hints().taken] {
            let known = Spot::of(hint.load(Acquire));
            if known.index <= index && known > spot && !self.number_is_wrong(known) {
                spot = known;
            }
        }
        while spot.index < index
            && let Some(next) = self.step(spot).or_else(|| self.resume_if_rubbish(spot))
        {
            spot = next;
        }
        spot
    }

    /// Where one goes on who can't walk over what is at `spot`.
    pub(crate) fn resume_if_rubbish(&self, spot: Spot) -> Option<Spot> {
        if matches!(self.says(spot), Says::Rubbish) { self.resume(spot) } else { None }
    }
}
