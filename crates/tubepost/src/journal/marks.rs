//! Who receives which message: the marks, one word for each record, beside the records.
//!
//! ```text
//! take        walk from a hint to the first committed record whose mark is FRESH
//!             CAS FRESH -> (TAKEN, life, me)
//! consume     CAS (TAKEN, life, me) -> DONE
//! give back   CAS (TAKEN, …) -> (BACK, deliveries + 1)         by its holder, or by anybody once that one is dead or late
//! take again  CAS (BACK, n) -> (TAKEN, n, life, me)
//! ```
//!
//! Each step is a CAS from the exact word that was read, so exactly one of holder, thief and undertaker wins. A mark of another life is a dead one's.
//!
//! Messages are taken in the order of their records: a take needs all before it not FRESH. What is BACK is older than all that is FRESH, and goes first.
//!
//! **What if it dies here?** Taken and not consumed: whoever looks after the dead gives it back, once, with a count. A mark is in the file, and outlives the machine's
//! running, as far as it came to the disk.

use super::file::LogFile;
use super::words::{Mark, Spot};
use crate::queue::slots::Member;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// The hint for those who receive is moved once in so many records.
const HINT_EVERY: u32 = 64;

/// A holder of messages, in one life of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) life: u32,
    pub(crate) member: Member,
}

impl LogFile {
    #[inline]
    fn swap(&self, index: u32, from: Mark, to: Mark) -> bool {
        let Some(word) = self.mark(index) else { return false };
        word.compare_exchange(from.bits(), to.bits(), AcqRel, Relaxed).is_ok()
    }

    /// Takes a message that nobody took, or that came back. Gives its mark from then on.
    #[inline]
    pub(crate) fn take(&self, index: u32, seen: Mark, me: Holder) -> Option<Mark> {
        let mine = Mark::taken(seen.before(), me.life, me.member);
        ((seen.is_fresh() || seen.is_back()) && self.swap(index, seen, mine)).then_some(mine)
    }

    /// Receivers need not look before this place any more.
    #[inline]
    pub(crate) fn note_taken(&self, next: Spot) {
        if next.index.is_multiple_of(HINT_EVERY) {
            self.hints().taken.fetch_max(next.bits(), Relaxed);
        }
    }

    /// Consumes what has this mark. `false`: it is not this holder's any more.
    #[inline]
    pub(crate) fn consume(&self, index: u32, held: Mark) -> bool {
        let done = self.swap(index, held, Mark::DONE);
        if done {
            self.note_done(index);
        }
        done
    }

    /// Nobody is to receive it any more. `false`: somebody did.
    pub(crate) fn withdraw(&self, index: u32) -> bool {
        let withdrawn = self.swap(index, Mark::FRESH, Mark::PASSED);
        if withdrawn {
            self.note_done(index);
        }
        withdrawn
    }

    /// Moves the count of those that are done from the first on.
    #[inline]
    pub(crate) fn note_done(&self, index: u32) {
        let hint = &self.hints().done;
        let mut done = hint.load(Relaxed);
        if done != u64::from(index) {
            return;
        }
        while done < u64::from(self.most()) && self.mark_at(done as u32).is_done() {
            done += 1;
        }
        hint.fetch_max(done, Release);
        // One that was done just behind this one, meanwhile, found the hint too low.
        if self.mark_at(done as u32).is_done() && done < u64::from(self.most()) {
            self.note_done(done as u32);
        }
    }

    /// Whether everything in a file that has ended was received, as far as is known.
    #[inline]
    pub(crate) fn is_finished(&self) -> bool {
        let ended = self.ended.load(Relaxed);
        ended != u32::MAX && self.done() >= ended
    }

    /// The first record that is not done, as far as is known.
    pub(crate) fn done(&self) -> u32 {
        let most = u64::from(self.most());
        let mut done = self.hints().done.load(Acquire).min(most);
        while done < most && self.mark_at(done as u32).is_done() {
            done += 1;
        }
        done as u32
    }

    /// Gives back what has this mark.
    pub(crate) fn give_back(&self, index: u32, held: Mark) -> bool {
        self.swap(index, held, held.back())
    }

    /// Takes a message that nobody took.
    #[inline]
    pub(crate) fn take_fresh(&self, index: u32, me: Holder) -> Option<Mark> {
        let seen = self.mark_at(index);
        if seen != Mark::FRESH {
            return self.take_unreadable(index, seen, me);
        }
        let mine = Mark::taken(0, me.life, me.member);
        self.swap(index, Mark::FRESH, mine).then_some(mine)
    }

    /// Takes a message of which nobody knows any more who received it: perhaps once more.
    fn take_unreadable(&self, index: u32, seen: Mark, me: Holder) -> Option<Mark> {
        let mine = Mark::taken(1, me.life, me.member);
        (seen.is_rubbish() && self.swap(index, seen, mine)).then_some(mine)
    }

    /// Puts the mark of a record right that nobody wrote. Whether it was such a one. The caller has the log alone.
    pub(crate) fn put_right(&self, index: u32, is_message: bool) -> bool {
        let rubbish = self.mark_at(index).is_rubbish();
        if rubbish && let Some(mark) = self.mark(index) {
            let right = if is_message { Mark::FRESH.back() } else { Mark::PASSED };
            mark.store(right.bits(), Relaxed);
        }
        rubbish
    }

    /// Places beside messages that nobody wrote so.
    pub(crate) fn damaged_beside(&self) -> u64 {
        let marks = (0..self.tail().index).filter(|index| self.mark_at(*index).is_rubbish()).count() as u64;
        marks + u64::from(self.has_damaged_identity())
    }

    /// The message of this record is no message any more. The caller has the log alone.
    pub(crate) fn give_up(&self, index: u32, mark: Mark) {
        if let Some(word) = self.mark(index) {
            word.store(mark.bits(), Relaxed);
        }
    }

    /// Says that somebody is told that this message is lost. `false`: it is not, or was told before.
    pub(crate) fn tell_lost(&self, index: u32) -> bool {
        let told = self.swap(index, Mark::LOST, Mark::TOLD);
        if told {
            self.note_done(index);
        }
        told
    }

    /// Marks that are not done, of those that somebody took: all before the first FRESH one.
    fn touched(&self) -> impl Iterator<Item = (u32, Mark)> {
        let marks = (self.done()..self.most()).map(|index| (index, self.mark_at(index)));
        marks.take_while(|(_, mark)| !mark.is_fresh()).filter(|(_, mark)| !mark.is_done())
    }

    /// What is in somebody's hand.
    pub(crate) fn in_hand(&self) -> impl Iterator<Item = (u32, Mark)> {
        self.touched().filter(|(_, mark)| mark.taker().is_some())
    }

    /// Gives back all that the dead have in hand; says how much is back and waits to be taken again.
    pub(crate) fn give_back_of_the_dead(&self, mut is_dead: impl FnMut(Holder) -> bool) -> u64 {
        let mut back = 0;
        for (index, seen) in self.touched() {
            let dead = seen.taker().is_some_and(|(life, member)| is_dead(Holder { life, member }));
            back += u64::from(seen.is_back() || dead && self.give_back(index, seen));
        }
        back
    }

    /// Gives back what has this mark, for the dead letters only.
    pub(crate) fn give_back_rejected(&self, index: u32, held: Mark) -> bool {
        self.swap(index, held, held.rejected())
    }

    /// The first message that came back and is wanted.
    pub(crate) fn find_back(&self, wanted: impl Fn(Mark) -> bool) -> Option<(u32, Mark)> {
        self.touched().find(|(_, mark)| mark.is_back() && wanted(*mark))
    }

    /// Nobody receives any more what waits before this record. Gives how many messages that are, now and before in this life.
    pub(crate) fn bury(&self, to: u32, life: u32) -> u64 {
        let (mut buried, mark) = (0, Mark::buried(life));
        for index in 0..to.min(self.most()) {
            loop {
                let seen = self.mark_at(index);
                if seen == Mark::LOST {
                    self.tell_lost(index);
                    break;
                }
                let waits = seen.is_fresh() || seen.is_back();
                if !waits || self.swap(index, seen, mark) {
                    buried += u64::from(waits || seen == mark);
                    break;
                } // else somebody was just taking it, or burying it
            }
        }
        buried
    }

    /// Whether nobody received some of it because the log was closed in this life: that is still to be counted.
    pub(crate) fn has_buried(&self, life: u32) -> bool {
        let mark = Mark::buried(life);
        (0..self.most())
            .map(|index| self.mark_at(index))
            .take_while(|seen| !seen.is_fresh())
            .any(|seen| seen == mark)
    }

    /// How many of the records before this one are FRESH, in hand, and back; and how many nobody received.
    pub(crate) fn count(&self, to: u32) -> [u64; 4] {
        let mut counts = [0; 4];
        for index in 0..to {
            let mark = self.mark_at(index);
            let kind = match mark {
                Mark::DONE => continue,
                Mark::PASSED | Mark::LOST | Mark::TOLD => 3,
                _ if mark.is_buried() => 3,
                _ if mark.is_fresh() => 0,
                _ if mark.is_back() => 2,
                _ => 1,
            };
            counts[kind] += 1;
        }
        counts
    }
}
