//! A receiver's end: of a mailbox that this process owns, or one of many of a mailbox that
//! the system owns.
//!
//! The owner is alone: its threads take turns, and its head is a number of its own. Receivers that
//! compete take each message by a CAS in the ledger of takes, and each has a cursor of its own.

use super::attach::{Opened, Wish, attach};
use super::handoff::Met;
use super::overdue::Seen;
use super::rules::Rules;
use super::taken::Taken;
use super::{Attachment, Pace, Stuck, closed};
use crate::domain::cleanup;
use crate::domain::entry::{self, Plan};
use crate::error::{Closed, Error};
use crate::os::{Errno, cpu};
use crate::queue::about::About;
use crate::queue::chunks::{Chunk, NoChunk, Ticket};
use crate::queue::in_hand;
use crate::queue::layout::{ENTRY, KEEPS, OWNER};
use crate::queue::slots::{Head, Member, Place};
use crate::queue::takes::{Take, Taking, note_skip};
use crate::strategy::{Refusal, With, not_ours};
use crate::sync::sole::{Held, Sole};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// A receiver that competes moves the shared hint once in so many positions …
const HINT_EVERY: u64 = 64;
/// … and the hint of what is free again once in so many.
const UNFREED_EVERY: u64 = 1024;

/// A receiver's end: one per handle, shared by the threads of its process.
#[derive(Debug)]
pub(crate) struct Inlet {
    pub(crate) at: Arc<Attachment>,
    /// The owner's threads, one at a time; nothing where receivers compete, and where nothing waits.
    pub(super) sole: Option<Sole>,
    closed: AtomicBool,
    /// The next position to receive. An owner's copy in shared memory is for others to read; where
    /// receivers compete it is a hint.
    pub(super) head: AtomicU64,
    /// The head when the queue was last found empty.
    pub(super) empty_at: AtomicU64,
    /// The head, when it is not published.
    pub(super) stuck: Stuck,
    /// The shared count of news when this end looked last. Once it is closed it never looks again, so
    /// that there are always news.
    news: AtomicU32,
    /// What was found given back when all was looked through, the oldest last.
    returned: Mutex<Vec<Ticket>>,
    /// The other receivers were watched when the shared count was this.
    pub(super) joined: AtomicU32,
    pub(super) pace: Pace,
    /// The coarse clock when the dead were last looked after, and the head then.
    pub(super) looked: AtomicU64,
    pub(super) idle_at: AtomicU64,
    pub(super) met: Met,
    pub(super) rules: Rules,
    /// Whether nobody else's processes can write here: then what is in hand may be read where it is.
    pub(super) trusts: bool,
    /// What others hold for so long only.
    pub(super) seen: Mutex<Vec<Seen>>,
    /// There is no room for dead letters before the coarse clock says this.
    pub(super) full_until: AtomicU64,
}

impl Inlet {
    /// Creates a mailbox that this process owns.
    pub(crate) fn own(wish: &Wish<'_>, plan: &Plan<'_>) -> Result<Inlet, Error> {
        let reachable = cpu::register_for_barriers();
        let segment = entry::create(wish.domain, wish.name, plan)?;
        let at = Attachment::new(segment, OWNER, wish.spin);
        // Where nothing waits each thread meets a sender of its own.
        let sole = at.segment.handoff.is_none().then(|| Sole::new(reachable));
        Ok(Inlet::new(at, sole, 0))
    }

    /// Becomes one of the receivers of a mailbox that the system owns.
    pub(crate) fn open(wish: &Wish<'_>) -> Result<Inlet, Error> {
        let Opened::Here(at) = attach(wish, true)? else { return Err(impossible_here(wish)) };
        // What was left by one who died before is what comes first.
        at.segment.give_back();
        let untaken = at.segment.untaken();
        Ok(Inlet::new(at, None, untaken))
    }

    /// Of a link of which this process has the receiving end.
    pub(super) fn of_link(at: Arc<Attachment>) -> Inlet {
        let sole = at.segment.handoff.is_none().then(|| Sole::new(cpu::register_for_barriers()));
        let head = at.segment.header().head.position.load(Acquire);
        Inlet::new(at, sole, head)
    }

    fn new(at: Arc<Attachment>, sole: Option<Sole>, head: u64) -> Inlet {
        let trusts = at.segment.is_ours_alone();
        Inlet {
            at,
            sole,
            closed: AtomicBool::new(false),
            head: AtomicU64::new(head),
            empty_at: AtomicU64::new(0),
            stuck: Stuck::new(),
            // Not as it is now: a first look at what was given back before we came.
            news: AtomicU32::new(0),
            returned: Mutex::new(Vec::new()),
            joined: AtomicU32::new(0),
            pace: Pace::default(),
            looked: AtomicU64::new(0),
            idle_at: AtomicU64::new(u64::MAX),
            met: Met::default(),
            rules: Rules::default(),
            trusts,
            seen: Mutex::new(Vec::new()),
            full_until: AtomicU64::new(0),
        }
    }

    /// The same, with rules of its own.
    pub(crate) fn obeying(mut self, rules: Rules) -> Inlet {
        self.rules = rules;
        if self.rules.keeps_places
            && let Ok(row) = self.at.segment.rows.get(self.at.member)
        {
            row.role.fetch_or(KEEPS, Release);
        }
        self.promise();
        self
    }

    /// Whether this is one of many receivers: of a mailbox that no process owns, or where nothing waits.
    pub(super) fn competes(&self) -> bool {
        self.sole.is_none()
    }

    /// Takes the next message if it is there and in line, and there is nothing else to look at: the way that
    /// has to be short. An owner that wants it in hand takes one that is in a chunk as well. Here and below, `COMPETES` is
    /// [`competes`](Self::competes), known to the compiler.
    #[inline(always)]
    fn quick<const COMPETES: bool, W: With>(&self) -> Option<Taken<'_>> {
        let segment = &self.at.segment;
        let slots = &segment.slots;
        if !segment.is_ours() {
            return None;
        }
        if COMPETES {
            if self.has_news() {
                return None;
            }
            let mut payload = None;
            let in_line = |place| {
                payload = slots.words.in_line(place);
                payload.is_some()
            };
            let take = || slots.take_if(self.head.load(Relaxed), self.at.member, in_line);
            let (place, state) = segment.visiting(take)?;
            self.took(place);
            return Some(Taken::in_line(self, None, place, state.member(), payload?));
        }
        let held = self.sole.as_ref()?.hold();
        if self.has_news() {
            return None;
        }
        // An owner's next message keeps its segment, whatever others do.
        let (place, state) = segment.visiting(|| slots.message(self.head.load(Relaxed)))?;
        if state.is_awaited() && !slots.take_awaited(place, self.at.member) {
            return None;
        }
        match slots.words.in_line(place) {
            Some(payload) => Some(Taken::in_line(self, Some(held), place, state.member(), payload)),
            None if W::HOLDS => {
                let taken = Taken::of_slot(self, place, state.member(), 0).ok()??;
                Some(taken.behind(held))
            }
            None => None,
        }
    }

    /// Takes the next message if there is one, whatever way it has to be taken.
    #[inline(never)]
    pub(super) fn take(&self) -> Result<Taken<'_>, Refusal> {
        if !self.at.segment.is_ours() {
            return Err(not_ours(&self.at.segment));
        }
        loop {
            match &self.sole {
                Some(sole) => {
                    let held = sole.hold();
                    if !self.has_news() {
                        return self.take_head(held);
                    }
                }
                None if !self.has_news() => return self.compete(),
                None => {}
            }
            if let Some(taken) = self.look_at_news()? {
                return Ok(taken);
            }
        }
    }

    #[inline(always)]
    pub(super) fn has_news(&self) -> bool {
        self.at.segment.header().bells.news.load(Acquire) != self.news.load(Relaxed)
    }

    /// The owner's way.
    fn take_head<'a>(&'a self, held: Held<'a>) -> Result<Taken<'a>, Refusal> {
        let slots = &self.at.segment.slots;
        // Not for ever: rubbish may say that all that will ever come was skipped.
        for _ in 0..slots.longest_walk() {
            let head = self.head.load(Relaxed);
            match self.at.segment.visiting(|| slots.head(head)) {
                Head::Message(place, state) => {
                    if state.is_awaited() && !slots.take_awaited(place, self.at.member) {
                        return Err(Refusal::Waiting); // withdrawn: its sender is about to free it
                    }
                    return self.open_letter(Some(held), place, state.member(), 0);
                }
                Head::Skipped => self.skip(head),
                Head::Empty(_) => break,
            }
        }
        Err(Refusal::Waiting)
    }

    /// One of many receivers' way.
    fn compete(&self) -> Result<Taken<'_>, Refusal> {
        let at = &*self.at;
        if let Some(handoff) = &at.segment.handoff {
            return self.take_offer(handoff);
        }
        let skips = &at.segment.header().head.skips;
        loop {
            let take = || at.segment.slots.take(self.from(), at.member, skips);
            match at.segment.visiting(take) {
                Taking::Message(place, state) => {
                    self.took(place);
                    match self.open_letter(None, place, state.member(), 0) {
                        Err(Refusal::Waiting) => {} // it was consumed already
                        done => return done,
                    }
                }
                Taking::Empty(place) => {
                    self.head.store(place.position, Relaxed);
                    return Err(Refusal::Waiting);
                }
                Taking::Closed => return Err(closed(&at.segment)),
            }
        }
    }

    /// Where one of many begins looking: others may have gone on far without it.
    fn from(&self) -> u64 {
        let head = self.head.load(Relaxed);
        if self.at.segment.geometry.areas.is_none() {
            return head;
        }
        head.max(self.at.segment.header().head.taken.load(Acquire))
    }

    /// Moves this receiver's head, and now and then does what is to be done now and then.
    #[inline(always)]
    pub(super) fn took(&self, place: Place) {
        self.head.store(place.position.wrapping_add(1), Relaxed);
        if place.position.is_multiple_of(HINT_EVERY) {
            self.at.segment.header().head.taken.fetch_max(place.position, Release);
            if place.position.is_multiple_of(UNFREED_EVERY) {
                self.at.segment.unfreed(); // moves the hint, so that nobody has far to walk from it
            }
        }
        self.now_and_then();
    }

    /// Looks after the dead, if the clock has ticked.
    #[inline(always)]
    pub(super) fn now_and_then(&self) {
        if self.pace.ticked(self.at.grief.load(Relaxed) > 0).is_some() {
            self.look_after_the_dead();
        }
    }

    /// What was taken, to be read. `Waiting`: a dead one had consumed it already; its place is free now.
    fn open_letter<'a>(
        &'a self,
        held: Option<Held<'a>>,
        place: Place,
        sender: Member,
        before: u8,
    ) -> Result<Taken<'a>, Refusal> {
        let taken = match Taken::of_slot(self, place, sender, before) {
            Ok(taken) => taken,
            Err(errno) => return Err(self.can_not_look(place, errno).into()),
        };
        match (taken, held) {
            (Some(taken), Some(held)) => Ok(taken.behind(held)),
            (Some(taken), None) => Ok(taken),
            (None, held) => {
                self.free(place);
                drop(held);
                self.tell_freed(place);
                if before > 0 { Err(Refusal::Waiting) } else { Err(self.impossible().into()) }
            }
        }
    }

    /// A message stays where it is: there is no memory to look at its chunk.
    #[cold]
    fn can_not_look(&self, place: Place, errno: Errno) -> Error {
        self.leave_there(place);
        self.at.no_memory(ENTRY, &NoChunk::Os(errno))
    }

    /// A message that was taken stays in its slot, as if it had not been.
    #[cold]
    pub(super) fn leave_there(&self, place: Place) {
        let segment = &self.at.segment;
        if self.competes() || self.is_behind(place) {
            segment.slots.put_back(place);
            segment.tell_news();
        } else if segment.slots.taken_by(place, self.at.member).is_some() {
            segment.slots.put_back(place); // awaited; an owner's head was not moved
            segment.ring_for_room(&self.at.quiet);
        }
    }

    /// Is it closed? (What comes back then, nobody gets any more.) Else takes one of the messages that
    /// were given back, if there is one.
    #[cold]
    fn look_at_news(&self) -> Result<Option<Taken<'_>>, Refusal> {
        let segment = &self.at.segment;
        let count = segment.header().bells.news.load(Acquire);
        if self.closed.load(Acquire) || segment.is_closed() {
            return Err(self.ended());
        }
        let (unfreed, untaken) = (segment.unfreed(), segment.untaken());
        let rules = &self.rules;
        let wanted = |before| !rules.is_worn(before) || self.may_put_away();
        let again = || segment.slots.take_any_again(unfreed, untaken, self.at.member, wanted);
        while let Some((place, state, before)) = segment.visiting(again) {
            match self.open_letter(None, place, state.member(), before) {
                Err(Refusal::Waiting) => {}
                Ok(taken) if rules.is_worn(before) => drop(self.put_away(taken, false)),
                done => return done.map(Some),
            }
        }
        self.take_in();
        let mut known = self.returned.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted =
            |chunk: &Chunk<'_>| !rules.is_worn(chunk.word.before()) && !About::of(chunk.entry).is_rejected();
        if let Some(chunk) = in_hand::hold_again(&segment.chunks, &mut known, self.at.member, wanted) {
            return Taken::of_chunk(self, chunk).map(Some);
        }
        drop(known);
        self.put_all_away();
        self.news.store(count, Relaxed);
        Ok(None)
    }

    #[cold]
    pub(super) fn impossible(&self) -> Error {
        Error::Damaged {
            name: self.at.segment.name.to_string(),
            what: "a message has an impossible length or place; it was dropped".into(),
        }
    }

    /// Walks over a place whose claimant died. The caller holds the lock.
    #[cold]
    pub(super) fn skip(&self, head: u64) {
        note_skip(&self.at.segment.header().head.skips, head);
        self.move_head(head);
    }

    #[inline]
    fn move_head(&self, head: u64) {
        let next = head.wrapping_add(1);
        self.head.store(next, Relaxed);
        self.at.segment.header().head.position.store(next, Release);
    }

    /// A message was read, or moved: its place is free. The owner holds the lock.
    #[inline(always)]
    pub(super) fn free(&self, place: Place) {
        self.at.segment.slots.free(place);
        if self.competes() {
            return;
        }
        if self.is_behind(place) {
            self.forget_slots();
        } else {
            self.move_head(place.position);
        }
    }

    /// An owner's last message in hand in a slot is gone: nobody needs to look behind its head any more.
    #[cold]
    fn forget_slots(&self) {
        let _held = self.sole.as_ref().map(Sole::hold);
        let header = &self.at.segment.header().head;
        if self.at.segment.unfreed() == header.position.load(Relaxed) {
            header.taken.store(0, Release);
        }
    }

    /// Whether an owner's head has passed this place: it was in hand, in its slot.
    #[inline(always)]
    pub(super) fn is_behind(&self, place: Place) -> bool {
        place.position != self.head.load(Relaxed)
    }

    /// Keeps a message in hand in its slot. An owner, which holds its lock, writes that down as if it had
    /// competed, and goes on behind it.
    #[cold]
    pub(super) fn hold_in_slot(&self, place: Place, before: u8) -> Option<Take> {
        let segment = &self.at.segment;
        if !self.competes() && !self.is_behind(place) {
            let first = &segment.header().head.taken;
            let unfreed = segment.unfreed(); // this one, or another in hand before it
            segment.slots.note_taken(place, before, self.at.member);
            first.store(unfreed.min(place.position).wrapping_add(1), Release);
            self.move_head(place.position);
        }
        segment.slots.taken_by(place, self.at.member)
    }

    /// Wakes senders who wait for the place that was freed, and another receiver if there is more.
    #[inline(always)]
    pub(super) fn tell_freed(&self, place: Place) {
        let at = &*self.at;
        at.segment.ring_for_room(&at.quiet);
        if self.competes() && at.segment.messages().has_sleepers() {
            let next = place.position.wrapping_add(1);
            if at.segment.visiting(|| at.segment.slots.gate(next).has_come()) {
                at.segment.messages().wake();
            }
        }
    }

    /// Takes the next message if there is one now, and does this with it.
    #[inline(always)]
    pub(crate) fn try_recv<W: With>(&self, mut with: W) -> Result<W::Result, Refusal> {
        match self.try_quickly(&mut with) {
            Some(done) => done,
            None => self.try_slowly(&mut with),
        }
    }

    /// The same, if the next message is one that needs no more than that.
    #[inline(always)]
    pub(crate) fn try_quickly<W: With>(&self, with: &mut W) -> Option<Result<W::Result, Refusal>> {
        let taken = if self.competes() { self.quick::<true, W>()? } else { self.quick::<false, W>()? };
        Some(with.message(taken))
    }

    #[inline(never)]
    pub(super) fn try_slowly<W: With>(&self, with: &mut W) -> Result<W::Result, Refusal> {
        loop {
            match self.take() {
                Err(Refusal::Waiting) if self.more_after_a_look() => {}
                Err(Refusal::Waiting) => return Err(self.empty_or_deserted()),
                done => return with.message(done?),
            }
        }
    }

    /// Takes the next message, waiting for it until the deadline, and does this with it.
    #[inline(always)]
    pub(crate) fn recv<W: With>(&self, deadline: Option<Instant>, with: W) -> Result<W::Result, Refusal> {
        if self.competes() {
            self.next::<true, W>(deadline, with)
        } else {
            self.next::<false, W>(deadline, with)
        }
    }

    #[inline(always)]
    fn next<const COMPETES: bool, W: With>(
        &self,
        deadline: Option<Instant>,
        mut with: W,
    ) -> Result<W::Result, Refusal> {
        if COMPETES && let Some(handoff) = &self.at.segment.handoff {
            return match self.quickly_met(handoff, deadline) {
                Ok(taken) => with.message(taken),
                Err(posted) => self.slowly(with, self.meet(handoff, deadline, posted)?),
            };
        }
        loop {
            if let Some(taken) = self.quick::<COMPETES, W>() {
                return with.message(taken);
            }
            if let Some(taken) = self.wait(deadline)? {
                return self.slowly(with, taken);
            }
        }
    }

    #[inline(never)]
    fn slowly<W: With>(&self, mut with: W, taken: Taken<'_>) -> Result<W::Result, Refusal> {
        with.message(taken)
    }

    /// Takes a message that needs more than the quick way, or waits for one. Nothing: the quick way may
    /// succeed now.
    #[inline(never)]
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Result<Option<Taken<'_>>, Refusal> {
        if let Some(handoff) = &self.at.segment.handoff {
            return self.meet(handoff, deadline, None).map(Some);
        }
        match self.take() {
            Err(Refusal::Waiting) if self.poll(deadline) => Ok(None),
            Err(Refusal::Waiting) => {
                self.sleep(deadline)?;
                // There seemed to be something. Whoever loses every race, or meets rubbish that only
                // looks like a message, must not try for ever.
                let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
                if late { self.take().map(Some) } else { Ok(None) }
            }
            done => done.map(Some),
        }
    }

    /// What calls say once this end was closed.
    #[cold]
    fn ended(&self) -> Refusal {
        if !self.at.segment.geometry.choice.owned && !self.at.segment.is_closed() {
            return Refusal::Closed(Closed { uncollected: self.at.segment.waiting() });
        }
        closed(&self.at.segment)
    }

    /// Ends a mailbox that this process owns: nothing is received from now on, nobody can send,
    /// the name is free. Where receivers compete it ends only this one.
    pub(crate) fn close(&self) -> Result<Closed, Error> {
        let segment = &self.at.segment;
        if !segment.is_ours() {
            return Err(Error::Forked);
        }
        if !segment.geometry.choice.owned {
            self.closed.store(true, Release);
            segment.tell_news();
            return Ok(Closed { uncollected: segment.waiting() });
        }
        let closed = {
            let _held = self.sole.as_ref().map(Sole::hold);
            self.closed.store(true, Release);
            cleanup::finish(segment)
        };
        segment.mark_retired();
        segment.wake_all();
        let _ = segment.retire(|| true); // if another is at it: it does the same
        Ok(closed)
    }
}

/// Where a process does not own it, it is not of another strategy.
#[cold]
fn impossible_here(wish: &Wish<'_>) -> Error {
    Error::Damaged {
        name: wish.name.to_string(),
        what: "the system owns it, and it is not of the shared strategy".into(),
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.forget_cell();
        if self.at.segment.geometry.choice.owned {
            let _ = self.close();
        }
    }
}
