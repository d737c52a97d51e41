//! What is in a mailbox: how much waits and is in hand, and what the dead left in it.

use super::member;
use super::segment::Segment;
use crate::queue::chunks::{Chunk, NoChunk, Use};
use crate::queue::layout::Kind;
use crate::queue::mapped::Letter;
use crate::queue::segments::Segments;
use crate::queue::slots::{Member, Place};
use crate::queue::{cells, in_hand, takes};
use crate::sync::wait::Bell;
use std::sync::atomic::Ordering::{AcqRel, Acquire, SeqCst};
use std::sync::atomic::compiler_fence;

/// How many messages there are, and where.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    /// To be delivered, or delivered again.
    pub(crate) waiting: u64,
    /// Taken and not accepted yet.
    pub(crate) held: u64,
    /// Received for good.
    pub(crate) received: u64,
}

impl Segment {
    /// Where the next claim will be, found from the hint.
    pub(crate) fn tail(&self) -> u64 {
        let _visit = self.visit();
        self.slots.tail(self.header().tail.hint.load(Acquire)).0
    }

    /// The first position that nobody received or took yet.
    pub(crate) fn untaken(&self) -> u64 {
        let _visit = self.visit();
        let head = &self.header().head;
        if self.geometry.choice.owned {
            return head.position.load(Acquire);
        }
        let (untaken, _) = self.slots.untaken(head.taken.load(Acquire), &head.skips);
        head.taken.fetch_max(untaken, AcqRel);
        untaken
    }

    /// The first position whose place is not free again.
    pub(crate) fn unfreed(&self) -> u64 {
        let _visit = self.visit();
        let head = &self.header().head;
        let known = head.position.load(Acquire);
        if self.geometry.choice.owned {
            // What its owner has in hand in a slot is behind its head.
            return match head.taken.load(Acquire) {
                0 => known,
                first => self.slots.unfreed(first - 1, known),
            };
        }
        let unfreed = self.slots.unfreed(known, self.tail());
        head.position.fetch_max(unfreed, AcqRel);
        unfreed
    }

    /// The first message from `from` on of a member with this name, whether it lives or not.
    pub(crate) fn sent_by(&self, name: &str, from: u64) -> Option<u64> {
        let choice = &self.geometry.choice;
        if choice.kernel || choice.filed || self.handoff.is_some() {
            return None;
        }
        let _visit = self.visit();
        let (tail, head) = (self.tail(), &self.header().head);
        let walked = choice.owned.then(|| head.position.load(Acquire));
        let theirs = |member| self.rows.get(member).is_ok_and(|row| member::peer(row).name == name);
        self.slots.published_by(from, tail, walked, &head.skips, theirs)
    }

    /// How many messages wait to be delivered, or delivered again.
    pub(crate) fn waiting(&self) -> u64 {
        if self.geometry.choice.filed {
            return self.count().waiting;
        }
        let _visit = self.visit();
        let (unfreed, untaken) = (self.unfreed(), self.untaken());
        self.fresh(untaken) + self.back(unfreed, untaken)
    }

    /// How many of them were never delivered.
    fn fresh(&self, untaken: u64) -> u64 {
        self.slots.count(untaken, self.tail(), |member| self.is_dead(member))
    }

    /// How many of them were given back.
    fn back(&self, unfreed: u64, untaken: u64) -> u64 {
        let in_cells = self.handoff.as_ref().map_or(0, |handoff| handoff.back().count() as u64);
        in_cells + in_hand::count(&self.chunks, Use::Returned) + self.given_back(unfreed, untaken, |_| true)
    }

    /// How many messages were given back in slots, of those that are closed or not, as `wanted` says. If
    /// the dead one had consumed it, or moved it into its hand, only the slot is left to be freed.
    fn given_back(&self, unfreed: u64, untaken: u64, wanted: impl Fn(bool) -> bool) -> u64 {
        let given = self.slots.given_back(unfreed, untaken);
        given.filter(|(place, closed)| wanted(*closed) && self.is_there(*place)).count() as u64
    }

    /// Whether the message of a full slot is there still: not if its chunk was consumed, or is in hand.
    fn is_there(&self, place: Place) -> bool {
        match self.slots.words.letter(place) {
            Some(Letter::InLine(_)) => true,
            Some(Letter::InChunk(ticket, _)) => match self.chunks.look_up(ticket) {
                Ok(chunk) => chunk.is_some_and(|chunk| chunk.word.kind() == Some(Use::Linked)),
                Err(_) => true, // nothing says that it is not
            },
            None => false,
        }
    }

    pub(crate) fn count(&self) -> Count {
        if self.geometry.choice.kernel {
            return self.count_outside();
        }
        if self.geometry.choice.filed {
            return self.count_in_files();
        }
        let _visit = self.visit();
        let (unfreed, untaken) = (self.unfreed(), self.untaken());
        let back = self.back(unfreed, untaken);
        let waiting = self.fresh(untaken) + back;
        let in_slots = self.slots.takers(unfreed, untaken).count() as u64;
        let in_cells = self.handoff.as_ref().map_or(0, |handoff| handoff.count_here());
        let held = in_hand::count_held(&self.chunks) + in_slots + in_cells;
        let passed = untaken.saturating_sub(takes::skipped(&self.header().head.skips));
        let received = match &self.handoff {
            Some(handoff) => handoff.received(),
            None => passed.saturating_sub(back + held),
        };
        Count { waiting, held, received }
    }

    /// Of the file strategy: closes the log for all, and says what was never collected.
    fn close_files(&self) -> u64 {
        let log = self.log().map(std::sync::Arc::clone).or_else(|| self.open_log(true).ok());
        let closed = log.map(|log| log.close(|holder| self.has_lost(holder)));
        closed.and_then(Result::ok).unwrap_or_else(|| self.count().waiting)
    }

    /// Of the file strategy: the marks tell.
    fn count_in_files(&self) -> Count {
        let counted = self.look_at_log().and_then(|log| log.count().ok());
        let ([fresh, held, back, passed], next) = counted.unwrap_or_default();
        Count { waiting: fresh + back, held, received: next.saturating_sub(fresh + held + back + passed) }
    }

    /// Of the kernel strategy: its owner counts, and the tokens tell what waits.
    fn count_outside(&self) -> Count {
        let words = &self.header().sockets;
        let seen = if self.geometry.choice.sealed { words.waiting.load(Acquire) } else { 0 };
        let waiting = self.waiting_outside().saturating_add(seen).saturating_add(words.back.load(Acquire));
        Count { waiting, held: words.held.load(Acquire), received: words.received.load(Acquire) }
    }

    /// Puts everything in order that names a member who is dead, except messages that wait. Gives the
    /// position up to which those may name it.
    pub(crate) fn put_in_order(&self, member: Member) -> u64 {
        self.give_back_what(|other| other == member && self.is_dead(other));
        if !planted!(DoorKept) {
            self.take_door(member);
        }
        self.named_until(member)
    }

    /// The position up to which messages and claims may name this member.
    pub(super) fn named_until(&self, member: Member) -> u64 {
        if let Some(log) = self.log() {
            // What its guards held that were forgotten.
            log.give_back(|holder| self.has_lost(holder) || holder.member == member);
            return 0;
        }
        let _visit = self.visit();
        self.slots.claimed_until(member, self.unfreed(), self.tail())
    }

    /// Gives back what dead receivers had taken, and frees what dead senders did not use; says how many
    /// messages wait to be taken again. (Not only those that went back now: who gave one back may have died
    /// before it told anybody.)
    pub(crate) fn give_back(&self) -> u64 {
        let given = self.give_back_what(|member| self.has_gone(member));
        // Also those behind one that somebody keeps by standing still.
        self.retire_segments();
        given
    }

    fn give_back_what(&self, dead: impl Fn(Member) -> bool) -> u64 {
        let _visit = self.visit();
        if let Some(segments) = self.segments() {
            segments.reclaim(&dead);
        }
        if let Some(log) = self.log() {
            log.skip_dead(&dead);
            return log.give_back(|holder| self.has_lost(holder) || dead(holder.member));
        }
        self.calls.clear(&self.chunks, &dead);
        let named = |chunk: &Chunk<'_>| self.calls.names(chunk);
        if let Some(handoff) = &self.handoff {
            let given = cells::put_in_order(handoff, &self.chunks, dead, named);
            if given > 0 {
                self.tell_news();
            }
            return given;
        }
        let mut given = in_hand::reclaim(&self.slots, &self.chunks, &dead, named);
        let first = |member, place: Place| {
            in_hand::reclaim(&self.slots, &self.chunks, &dead, named);
            !in_hand::has_copy(&self.chunks, member, place.position)
        };
        let (unfreed, untaken) = (self.unfreed(), self.untaken());
        self.slots.give_back(unfreed, untaken, &dead, first);
        let open = self.slots.given_back(unfreed, untaken).filter(|(_, closed)| !closed);
        given += open.count() as u64;
        if given > 0 {
            self.tell_news();
        }
        given
    }

    /// The segments of an unbounded mailbox.
    pub(crate) fn segments(&self) -> Option<Segments<'_>> {
        Segments::of(&self.slots, &self.chunks)
    }

    /// Appends the segment of this position, if nobody did so far; before that it frees those at the other end.
    #[cold]
    pub(crate) fn append(&self, position: u64, me: Member) -> Result<(), NoChunk> {
        let _visit = self.visit();
        let Some(segments) = self.segments().filter(|segments| segments.is_missing(position)) else {
            return Ok(());
        };
        segments.retire_before(self.unfreed().min(self.untaken()));
        segments.append(position, me)
    }

    /// Frees the segments that nobody needs.
    pub(crate) fn retire_segments(&self) {
        let _visit = self.visit();
        if let Some(segments) = self.segments() {
            let (unfreed, untaken) = (self.unfreed(), self.untaken());
            segments.retire_before(unfreed.min(untaken));
            segments.retire_all(untaken);
        }
    }

    /// Says that something went back to the queue, or that it is closed, to receivers who look and who sleep.
    pub(crate) fn tell_news(&self) {
        self.header().bells.news.fetch_add(1, AcqRel);
        self.messages().alarm();
        self.wake_receivers();
    }

    /// Whether a claim here may be a plain store; see `strategy::shared::alone`.
    pub(crate) fn has_one_sender(&self) -> bool {
        let choice = &self.geometry.choice;
        let ring = self.geometry.areas.is_none() && choice.capacity > 0 && !choice.kernel;
        ring && matches!(choice.kind, Kind::Link { .. })
    }

    /// Whether somebody closes it. The caller has just published, and found out whether it has to fence.
    #[inline(always)]
    pub(crate) fn is_ending(&self) -> bool {
        compiler_fence(SeqCst);
        self.header().bells.ending.load(Acquire) != 0
    }

    /// Whether it ends behind this position, the last one that its only sender has claimed.
    pub(crate) fn ends_behind(&self, position: u64) -> bool {
        self.decide_end(position.wrapping_add(1)) > position
    }

    /// The tail, for everybody, of a link that is closed: what is first said to be.
    fn decide_end(&self, tail: u64) -> u64 {
        let decided = self.header().life.end.compare_exchange(0, tail.wrapping_add(1), AcqRel, Acquire);
        decided.map_or_else(|end| end.wrapping_sub(1), |_| tail)
    }

    /// Closes the queue for senders. Gives the tail.
    fn close_slots(&self) -> u64 {
        let header = self.header();
        let close = || self.slots.close(header.tail.hint.load(Acquire));
        if !self.has_one_sender() {
            return close();
        }
        header.bells.ending.store(1, SeqCst);
        Bell::everybody_sees(&header.bells.fence);
        self.decide_end(close())
    }

    /// Closes the queue for senders and receivers, and says what was never collected.
    pub(super) fn close_for_good(&self) -> u64 {
        if self.geometry.choice.kernel {
            self.close_outside();
            return self.uncollected_outside();
        }
        if self.geometry.choice.filed {
            return self.close_files();
        }
        let _visit = self.visit();
        if let Some(handoff) = &self.handoff {
            handoff.close();
            self.give_back();
            in_hand::bury_returned(&self.chunks);
            return in_hand::count(&self.chunks, Use::Buried) + handoff.bury();
        }
        let header = self.header();
        let tail = self.close_slots();
        let dead = |member| self.is_dead(member);
        self.give_back();
        let unfreed = self.unfreed();
        let untaken = if self.geometry.choice.owned {
            let head = header.head.position.load(Acquire);
            self.slots.close_given_back(unfreed, head);
            // It may have died between its chunk and its slot: then the chunk tells what became of the message.
            let place = self.slots.place(head);
            let moved = head < tail && self.slots.holds_message(place) && !self.is_there(place);
            head.wrapping_add(u64::from(moved && !planted!(OwnerCountedTwice)))
        } else {
            self.slots.close_takes(unfreed, header.head.taken.load(Acquire), &header.head.skips)
        };
        // Only what is closed: the rest may still be taken again.
        let mut uncollected = self.given_back(unfreed, untaken, |closed| closed);
        planted!(BurialCountedOnce => {
            uncollected += in_hand::count(&self.chunks, Use::Returned);
            in_hand::bury_returned(&self.chunks);
            return uncollected + self.slots.count(untaken, tail, dead);
        });
        in_hand::bury_returned(&self.chunks);
        uncollected += in_hand::count(&self.chunks, Use::Buried);
        uncollected + self.slots.count(untaken, tail, dead)
    }
}
