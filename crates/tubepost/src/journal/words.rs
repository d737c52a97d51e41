//! What the words of a log say: the control word of a record, the mark of a message, a place in a file. Nothing but numbers.

use crate::queue::slots::Member;

/// Bytes that a record is a multiple of, and is aligned to.
pub(crate) const UNIT: u64 = 8;

const UNITS: u64 = (1 << 28) - 1;
const STATE_SHIFT: u32 = 28;
const STATE: u64 = 3 << STATE_SHIFT;
const REST_SHIFT: u32 = 30;
const REST: u64 = 7;
const TAG_SHIFT: u32 = 33;
const TAG: u64 = 0xFFFF;
const CHECK_SHIFT: u32 = 49;

const CLAIMED: u64 = 1 << STATE_SHIFT;
const COMMITTED: u64 = 2 << STATE_SHIFT;
const SKIPPED: u64 = 3 << STATE_SHIFT;

/// The first word of a record: (units of 8 bytes, CLAIMED or COMMITTED or SKIPPED, bytes that fill the last unit, who claims it, check). Zero: nothing is there.
/// No units, COMMITTED: the file ends here; SKIPPED: the log is closed.
///
/// The check is over all else and the record's number, so that a length is never believed that nobody wrote there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Control(u64);

/// What a control word says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Says {
    /// Nobody has claimed it.
    Nothing,
    /// A record of so many units is being written.
    Claimed { units: u64, by: Member },
    /// A message: units of its record, how many bytes of the last one are no part of it, and who sent it, as long as that one is known.
    Message { units: u64, rest: u64, by: Member },
    /// So many units are nobody's: whoever claimed them is dead.
    Skipped { units: u64 },
    /// The log goes on in another file.
    End,
    /// It is closed: nobody appends any more.
    Closed,
    /// What no process wrote.
    Rubbish,
}

impl Control {
    pub(crate) const NOTHING: Control = Control(0);

    fn new(fields: u64, number: u64) -> Control {
        Control(fields | check(fields, number) << CHECK_SHIFT)
    }

    #[inline]
    pub(crate) fn claimed(units: u64, rest: u64, by: Member, number: u64) -> Control {
        Control::new(units & UNITS | CLAIMED | rest << REST_SHIFT | u64::from(by) << TAG_SHIFT, number)
    }

    #[inline]
    pub(crate) fn committed(units: u64, rest: u64, by: Member, number: u64) -> Control {
        Control::new(units & UNITS | COMMITTED | rest << REST_SHIFT | u64::from(by) << TAG_SHIFT, number)
    }

    pub(crate) fn skipped(units: u64, number: u64) -> Control {
        Control::new(units & UNITS | SKIPPED, number)
    }

    pub(crate) fn end(number: u64) -> Control {
        Control::new(COMMITTED, number)
    }

    pub(crate) fn closed(number: u64) -> Control {
        Control::new(SKIPPED, number)
    }

    pub(crate) fn of(bits: u64) -> Control {
        Control(bits)
    }

    #[inline]
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// What it says of the record of this number.
    #[inline]
    pub(crate) fn says(self, number: u64) -> Says {
        if self.0 == 0 {
            return Says::Nothing;
        }
        let fields = self.0 & !(u64::MAX << CHECK_SHIFT);
        if self.0 >> CHECK_SHIFT != check(fields, number) {
            return Says::Rubbish;
        }
        let (units, rest) = (self.0 & UNITS, self.0 >> REST_SHIFT & REST);
        let by = (self.0 >> TAG_SHIFT & TAG) as Member;
        match self.0 & STATE {
            COMMITTED if units == 0 => Says::End,
            SKIPPED if units == 0 => Says::Closed,
            _ if units == 0 => Says::Rubbish,
            CLAIMED => Says::Claimed { units, by },
            COMMITTED => Says::Message { units, rest, by },
            SKIPPED => Says::Skipped { units },
            _ => Says::Rubbish,
        }
    }
}

/// Fifteen bits that depend on all of both.
#[inline]
fn check(fields: u64, number: u64) -> u64 {
    let mixed = (fields ^ number.rotate_left(31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> CHECK_SHIFT
}

const MARK_SHIFT: u32 = 62;
const MARK_CHECK_SHIFT: u32 = 49;
const MARK_CHECK: u64 = 0x1FFF;
/// Of what is BACK: it is for the dead letters only.
const REJECTED: u64 = 1 << 48;
const COUNT_SHIFT: u32 = 40;
const COUNT: u64 = 0xFF;
const LIFE_SHIFT: u32 = 16;
/// Lives are counted so far, and then from 1 on again.
pub(crate) const LIFE: u32 = 0xFF_FFFF;

const TAKEN: u64 = 1;
const BACK: u64 = 2;
const DONE: u64 = 3;
/// In the place of a holder.
const BURIED: u64 = 2;

/// What became of a message: nothing yet, or (TAKEN, deliveries before, life, by whom), (BACK, deliveries before), (DONE, 1 if nobody received it, (2, life) if the log was closed before, 3 or 4 if
/// it is lost: damaged, which receivers were not told so far, or were), each with thirteen bits of check. A
/// life is the time for which the same processes use the log, from one opening of it to the next: who took something in another one is dead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark(u64);

impl Mark {
    pub(crate) const FRESH: Mark = Mark(0);
    pub(crate) const DONE: Mark = Mark::checked(DONE << MARK_SHIFT);
    /// Done, though nobody received it: withdrawn, or no message.
    pub(crate) const PASSED: Mark = Mark::checked(DONE << MARK_SHIFT | 1);
    /// Damaged, and given up when the log was put in order. Not done: somebody who receives is to be told.
    pub(crate) const LOST: Mark = Mark::checked(3);
    /// The same, and somebody was told.
    pub(crate) const TOLD: Mark = Mark::checked(DONE << MARK_SHIFT | 4);

    const fn checked(fields: u64) -> Mark {
        Mark(fields | mark_check(fields))
    }

    /// Whether nobody wrote that.
    #[inline]
    pub(crate) fn is_rubbish(self) -> bool {
        self != Mark::FRESH && Mark::checked(self.0 & !(MARK_CHECK << MARK_CHECK_SHIFT)) != self
    }

    /// Whether it is of a message that was damaged.
    #[inline]
    pub(crate) fn is_lost(self) -> bool {
        self == Mark::LOST || self == Mark::TOLD
    }

    pub(crate) fn of(bits: u64) -> Mark {
        Mark(bits)
    }

    #[inline]
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) fn taken(before: u8, life: u32, by: Member) -> Mark {
        let who = u64::from(life & LIFE) << LIFE_SHIFT | u64::from(by);
        Mark::checked(TAKEN << MARK_SHIFT | u64::from(before) << COUNT_SHIFT | who)
    }

    /// Done, for the log was closed in this life before anybody received it.
    pub(crate) fn buried(life: u32) -> Mark {
        Mark::checked(DONE << MARK_SHIFT | u64::from(life & LIFE) << LIFE_SHIFT | BURIED)
    }

    pub(crate) fn is_buried(self) -> bool {
        self.is_done() && self.0 & 0xFFFF == BURIED
    }

    /// Delivered once more, and nobody's now.
    pub(crate) fn back(self) -> Mark {
        Mark::checked(self.back_fields())
    }

    fn back_fields(self) -> u64 {
        BACK << MARK_SHIFT | u64::from(self.before().saturating_add(1)) << COUNT_SHIFT
    }

    /// The same, for the dead letters only.
    pub(crate) fn rejected(self) -> Mark {
        Mark::checked(self.back_fields() | REJECTED)
    }

    pub(crate) fn is_rejected(self) -> bool {
        self.is_back() && self.0 & REJECTED != 0
    }

    #[inline]
    pub(crate) fn is_fresh(self) -> bool {
        self.0 >> MARK_SHIFT == 0
    }

    #[inline]
    pub(crate) fn is_back(self) -> bool {
        self.0 >> MARK_SHIFT == BACK
    }

    #[inline]
    pub(crate) fn is_done(self) -> bool {
        self.0 >> MARK_SHIFT == DONE
    }

    /// Who has it in hand: in which life, and by what number.
    #[inline]
    pub(crate) fn taker(self) -> Option<(u32, Member)> {
        let who = ((self.0 >> LIFE_SHIFT) as u32 & LIFE, self.0 as Member);
        (self.0 >> MARK_SHIFT == TAKEN).then_some(who)
    }

    /// How often it was delivered before.
    #[inline]
    pub(crate) fn before(self) -> u8 {
        (self.0 >> COUNT_SHIFT & COUNT) as u8
    }
}

/// Thirteen bits that depend on all the others.
#[inline]
const fn mark_check(fields: u64) -> u64 {
    let mixed = fields.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed >> 51 & MARK_CHECK) << MARK_CHECK_SHIFT
}

/// A place in a file: how far into its records, in units, and how many records are before it. One word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Spot {
    pub(crate) units: u32,
    pub(crate) index: u32,
}

impl Spot {
    pub(crate) fn of(bits: u64) -> Spot {
        Spot { units: (bits >> 32) as u32, index: bits as u32 }
    }

    #[inline]
    pub(crate) fn bits(self) -> u64 {
        u64::from(self.units) << 32 | u64::from(self.index)
    }

    /// Behind a record.
    #[inline]
    pub(crate) fn after(self, units: u64) -> Spot {
        Spot { units: self.units.wrapping_add(units as u32), index: self.index.wrapping_add(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_word_says_what_was_put_in() {
        for number in [0, 1, 77, u64::MAX] {
            for (units, rest, by) in [(4, 0, 2), (5, 7, 65_535), (1 << 27, 1, 9)] {
                assert_eq!(
                    Control::claimed(units, rest, by, number).says(number),
                    Says::Claimed { units, by }
                );
                assert_eq!(
                    Control::committed(units, rest, by, number).says(number),
                    Says::Message { units, rest, by }
                );
                assert_eq!(Control::skipped(units, number).says(number), Says::Skipped { units });
                assert_eq!(Control::committed(units, rest, by, number).says(number ^ 1), Says::Rubbish);
            }
            assert_eq!(Control::end(number).says(number), Says::End);
            assert_eq!(Control::closed(number).says(number), Says::Closed);
        }
        assert_eq!(Control::NOTHING.says(5), Says::Nothing);
    }

    #[test]
    fn rubbish_is_found_by_the_check() {
        let good = Control::committed(12, 3, 2, 1000).bits();
        let wrong = (0..64).filter(|bit| !matches!(Control::of(good ^ 1 << bit).says(1000), Says::Rubbish));
        assert_eq!(wrong.count(), 0, "one bit that is wrong is found");
        let found = (1..100_000u64)
            .filter(|seed| {
                let bits = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17);
                !matches!(Control::of(bits).says(1000), Says::Rubbish)
            })
            .count();
        assert!(found < 40, "{found} of 100,000 arbitrary words pass; about 3 are to");
    }

    #[test]
    fn a_mark_says_who_and_how_often() {
        let taken = Mark::taken(3, LIFE, 0xFFFF);
        assert_eq!((taken.taker(), taken.before()), (Some((LIFE, 0xFFFF)), 3));
        let back = taken.back();
        assert!(back.is_back() && !back.is_done() && !back.is_fresh() && back.taker().is_none());
        assert_eq!((back.before(), Mark::taken(255, 1, 1).back().before()), (4, 255));
        assert!(Mark::DONE.is_done() && Mark::FRESH.is_fresh() && Mark::DONE.taker().is_none());
    }

    #[test]
    fn a_mark_that_nobody_wrote_is_found_by_the_check() {
        let all = [
            Mark::FRESH,
            Mark::DONE,
            Mark::PASSED,
            Mark::buried(7),
            Mark::LOST,
            Mark::TOLD,
            Mark::taken(0, 1, 2),
            Mark::taken(1, 1, 2).back(),
            Mark::taken(1, 1, 2).rejected(),
        ];
        for mark in all {
            assert!(!mark.is_rubbish(), "{mark:?}");
            for bit in 0..64 {
                assert!(Mark::of(mark.bits() ^ 1 << bit).is_rubbish(), "{mark:?}, bit {bit}");
            }
        }
    }

    #[test]
    fn spots_are_in_order() {
        let spot = Spot { units: 7, index: 2 };
        assert_eq!(Spot::of(spot.bits()), spot);
        assert!(spot.after(4) > spot && spot.after(4).bits() > spot.bits());
    }
}
