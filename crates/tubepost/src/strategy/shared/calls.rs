//! Calls: a sender that waits for the answer to its message, and a receiver that answers.
//!
//! The protocol, and what if somebody dies, is in `queue::calls`.
//!
//! **Looking away.** Each look at a cell takes its line from who is about to answer there, and who polls looks all the time. So a caller that
//! polls does not look before most of the last answers had come: it counts moments, and goes by what they were. That is a microsecond at
//! most; where answers take longer it makes no difference.

use super::inlet::Inlet;
use super::outlet::Outlet;
use super::pending::Wait;
use super::taken::InHand;
use super::tasks::{failed, for_room, now};
use super::{Attachment, too_long};
use crate::error::{Closed, Error, Fate};
use crate::memory::payload::Unfit;
use crate::queue::calls::{Address, Answering, Outcome, Pending, SHORT, Unwanted};
use crate::queue::chunks::NoChunk;
use crate::queue::layout::{CALL_CELL, CALLS};
use crate::queue::mapped::Lent;
use crate::queue::slots::{Member, Place};
use crate::strategy::{Refusal, not_ours};
use crate::sync::wait::{Bell, pass_a_moment, poll_finely};
use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Instant;

/// Who calls looks away for at most so many moments: about a microsecond.
const LONGEST_AWAY: u32 = 256;
/// It is counted in quarters of a moment.
const QUARTERS: u32 = 4;
/// Why a call came back without an answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The question was not sent, or no answer came by the deadline.
    Refused(Refusal),
    /// The mailbox was closed after the question was sent.
    Closed(Closed, Fate),
    /// The question was consumed, and not answered.
    Dropped,
}

impl From<Error> for Unanswered {
    fn from(error: Error) -> Unanswered {
        Unanswered::Refused(error.into())
    }
}

impl From<Refusal> for Unanswered {
    fn from(refusal: Refusal) -> Unanswered {
        match refusal {
            Refusal::Closed(closed) => Unanswered::Closed(closed, Fate::NotCollected),
            other => Unanswered::Refused(other),
        }
    }
}

/// A call under way. Whatever ends it early (a panic, for example), its cell is free then.
struct UnderWay<'a> {
    at: &'a Attachment,
    call: Pending,
    over: bool,
}

impl UnderWay<'_> {
    fn is_settled(&self) -> bool {
        self.at.segment.calls.is_settled(&self.call)
    }

    /// Nobody is to answer any more. `false`: somebody has.
    fn give_up(&mut self) -> bool {
        self.over = self.at.segment.calls.give_up(&self.call);
        self.over
    }

    /// Reads the answer.
    #[inline]
    fn read<R>(mut self, read: impl FnOnce(&Lent<'_>) -> R) -> Option<R> {
        let segment = &self.at.segment;
        let outcome = segment.calls.outcome(&self.call, &segment.chunks);
        let (answer, chunk) = match &outcome {
            Outcome::Answered(payload, chunk) => (Some(read(payload)), *chunk),
            Outcome::Dropped => (None, None),
        };
        segment.calls.end(&self.call, chunk);
        self.over = true;
        answer
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if self.over || !self.at.segment.is_ours() || self.give_up() {
            return;
        }
        let segment = &self.at.segment;
        let chunk = match segment.calls.outcome(&self.call, &segment.chunks) {
            Outcome::Answered(_, chunk) => chunk,
            Outcome::Dropped => None,
        };
        segment.calls.end(&self.call, chunk);
    }
}

thread_local! {
    /// A question and where its answer goes. Kept, so that a call allocates nothing.
    static LETTER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Attachment {
    /// Lets who answers have the cell for as long as most answers took lately.
    #[inline]
    fn look_away(&self) {
        for _ in 0..self.away.load(Relaxed) / QUARTERS {
            pass_a_moment();
        }
    }

    /// An answer was there so many moments after that. If it was there already, a quarter of a moment less is right next time; else
    /// one more, or several: so four of five answers are there when they are looked for.
    #[inline]
    fn looked(&self, moments: u32) {
        let away = self.away.load(Relaxed);
        let more = away + QUARTERS + moments.min(LONGEST_AWAY) / 8 * QUARTERS;
        let next = if moments == 0 { away.saturating_sub(1) } else { more.min(LONGEST_AWAY * QUARTERS) };
        self.away.store(next, Relaxed);
    }
}

impl Outlet {
    /// Sends a question and waits for the answer, which `read` makes something of.
    #[inline]
    pub(crate) fn call<R>(
        &self,
        question: &[u8],
        deadline: Option<Instant>,
        read: impl FnOnce(&Lent<'_>) -> R,
    ) -> Result<R, Unanswered> {
        let at = &*self.at;
        let (place, mut under_way) = LETTER.with_borrow_mut(|letter| {
            let under_way = self.begin_call(question, letter)?;
            Ok::<_, Unanswered>((self.post_by::<false>(letter, deadline)?, under_way))
        })?;
        let spin = at.spin();
        if !spin.is_zero() {
            at.look_away();
        }
        let looks = Cell::new(0);
        let settled = || {
            looks.set(looks.get() + 1);
            under_way.is_settled()
        };
        if poll_finely(spin, deadline, settled) {
            at.looked(looks.get() - 1);
            at.spun_well();
        } else {
            self.await_answer(&mut under_way, place, deadline)?;
        }
        under_way.read(read).ok_or(Unanswered::Dropped)
    }

    /// Has a cell for the answer, and makes a letter of the question.
    #[inline(always)]
    fn begin_call(&self, question: &[u8], letter: &mut Vec<u8>) -> Result<UnderWay<'_>, Refusal> {
        let at = &*self.at;
        let segment = &at.segment;
        if !segment.is_ours() {
            return Err(not_ours(segment));
        }
        let (length, longest) = (question.len() as u64, segment.geometry.choice.longest());
        if length > longest {
            return Err(too_long(length, longest));
        }
        let call = segment.calls.begin(at.member).map_err(|why| match why {
            Some(errno) => at.no_memory(CALL_CELL, &NoChunk::Os(errno)).into(),
            None => self.no_cell(),
        })?;
        letter.clear();
        letter.extend_from_slice(question);
        letter.extend_from_slice(&segment.calls.address(&call).to_bytes());
        Ok(UnderWay { at, call, over: false })
    }

    /// Sleeps until the call is settled. An error: it will not be.
    #[cold]
    fn await_answer(
        &self,
        under_way: &mut UnderWay<'_>,
        place: Place,
        deadline: Option<Instant>,
    ) -> Result<(), Unanswered> {
        let at = &self.at;
        let calls = &at.segment.calls;
        let Some(bell) = calls.wait_at(&under_way.call) else { return Err(self.no_cell().into()) };
        let done = bell.wait(
            deadline,
            || under_way.is_settled().then_some(Ok(())),
            || at.look_for_end().map_err(Err),
        );
        let refusal = match done {
            Some(Ok(())) => return Ok(()),
            Some(Err(refusal)) => refusal,
            None => Refusal::Waiting,
        };
        // Not given up: it was answered just now.
        if under_way.give_up() { Err(self.unanswered(refusal, Some(place))) } else { Ok(()) }
    }

    /// What that means for a question that was sent, and is there if it was not collected. (Where nothing waits, what was
    /// sent was.)
    #[cold]
    fn unanswered(&self, refusal: Refusal, place: Option<Place>) -> Unanswered {
        let at = &self.at;
        let Refusal::Closed(closed) = refusal else { return refusal.into() };
        let place = place.filter(|_| at.segment.handoff.is_none());
        let there = place.is_some_and(|place| !at.is_over(place) && !at.may_have_gone(place));
        Unanswered::Closed(closed, if there { Fate::NotCollected } else { Fate::Unknown })
    }

    /// An answer makes no message.
    #[cold]
    pub(crate) fn bad_answer(&self, unfit: Unfit) -> Error {
        match unfit {
            Unfit::NotText => Error::BadText,
            Unfit::NotDecodable { length, why } => Error::NotDecodable { length: length as u64, why },
            Unfit::TooShort { .. } | Unfit::WrongLength { .. } => Error::Damaged {
                name: self.at.segment.name.to_string(),
                what: "an answer has an impossible length".into(),
            },
        }
    }

    #[cold]
    fn no_cell(&self) -> Refusal {
        Error::TooManyCalls { name: self.at.segment.name.to_string(), max: CALLS as u32 }.into()
    }
}

/// A call of a task's. Dropped before it is over, nobody is to answer any more.
pub(crate) struct Asking<'a> {
    outlet: &'a Outlet,
    wait: Wait,
    letter: Vec<u8>,
    under_way: Option<UnderWay<'a>>,
    /// Sent; and where to, if it can be looked for there.
    sent: Option<Option<Place>>,
}

impl<'a> Asking<'a> {
    pub(crate) fn by(outlet: &'a Outlet) -> Asking<'a> {
        Asking { outlet, wait: for_room(), letter: Vec::new(), under_way: None, sent: None }
    }

    /// Whether the question was sent.
    pub(crate) fn is_sent(&self) -> bool {
        self.sent.is_some()
    }

    /// Sends the question when there is room, and comes back with what `read` made of the answer.
    pub(crate) fn poll<R>(
        &mut self,
        context: &mut Context<'_>,
        question: &[u8],
        read: impl FnOnce(&Lent<'_>) -> R,
    ) -> Poll<Result<R, Unanswered>> {
        if !self.outlet.at.segment.is_ours() {
            return Poll::Ready(Err(not_ours(&self.outlet.at.segment).into()));
        }
        if self.under_way.is_none() {
            self.under_way = Some(self.outlet.begin_call(question, &mut self.letter)?);
        }
        let place = match self.sent {
            Some(place) => place,
            None => {
                let place = ready!(self.poll_sent(context))?;
                *self.sent.insert(place)
            }
        };
        let done = ready!(self.poll_settled(context));
        let Some(mut under_way) = self.under_way.take() else { return Poll::Ready(Err(Unanswered::Dropped)) };
        if let Err(refusal) = done
            && under_way.give_up()
        {
            return Poll::Ready(Err(self.outlet.unanswered(refusal, place)));
        }
        Poll::Ready(under_way.read(read).ok_or(Unanswered::Dropped))
    }

    fn poll_sent(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Place>, Refusal>> {
        let (outlet, letter) = (self.outlet, &self.letter);
        if outlet.at.segment.handoff.is_some() {
            return outlet.poll_send(&mut self.wait, context, letter).map_ok(|()| None);
        }
        let attempt = || now(outlet.post::<false>(letter));
        let posted = match attempt() {
            Some(posted) => posted,
            None => {
                let look = || outlet.look_before_waiting().map_err(Err);
                ready!(self.wait.poll(&outlet.at, context, attempt, look, failed))
            }
        };
        Poll::Ready(posted.map(Some))
    }

    /// It waits for what is rung when there is room: who answers rings that, too.
    fn poll_settled(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        let (at, under_way) = (&self.outlet.at, &self.under_way);
        let settled = || under_way.as_ref().is_none_or(UnderWay::is_settled).then_some(Ok(()));
        if let Some(done) = settled() {
            self.wait.leave();
            return Poll::Ready(done);
        }
        self.wait.poll(at, context, settled, || at.look_for_end().map_err(Err), failed)
    }
}

impl Inlet {
    /// Whether somebody waits for this answer.
    pub(crate) fn is_awaited(&self, address: Address) -> bool {
        self.at.segment.is_ours() && self.at.segment.calls.is_awaited(address)
    }

    /// Answers a question in hand, which is consumed then. An error: nobody got the answer. The question is consumed
    /// if that is because nobody waits, or no such answer can be; else it goes back to the queue, or is another's already.
    pub(crate) fn reply(&self, hand: InHand, address: Address, answer: &[u8]) -> Result<(), Error> {
        let segment = &self.at.segment;
        if !segment.is_ours() {
            return Err(Error::Forked);
        }
        let hand = self.hold_on(hand)?;
        match self.answer(address, answer) {
            Ok(Some(bell)) => {
                self.tell_caller(&bell);
                self.accept(hand)
            }
            Ok(None) => {
                self.accept(hand)?;
                Err(Error::NotAwaited { name: segment.name.to_string() })
            }
            Err(error @ Error::TooLong { .. }) => {
                self.accept_unanswered(hand, address)?; // it would be as long the next time
                Err(error)
            }
            Err(error) => {
                self.give_back(hand);
                Err(error)
            }
        }
    }

    /// Consumes a question in hand that is not answered.
    #[cold]
    pub(crate) fn accept_unanswered(&self, hand: InHand, address: Address) -> Result<(), Error> {
        let hand = self.tell_unanswered(hand, address)?;
        self.accept(hand)
    }

    /// A question in hand is not going to be answered: its caller is told. An error: another has it, or is just answering it.
    #[cold]
    pub(crate) fn tell_unanswered(&self, hand: InHand, address: Address) -> Result<InHand, Error> {
        if !self.at.segment.is_ours() {
            return Err(Error::Forked);
        }
        let hand = self.hold_on(hand)?;
        match self.leave_unanswered(address) {
            Ok(()) => Ok(hand),
            Err(error) => {
                self.give_back(hand);
                Err(error)
            }
        }
    }

    /// Writes an answer for its caller, who is to be told. Nothing: nobody waits for it.
    #[inline(always)]
    fn answer(&self, address: Address, answer: &[u8]) -> Result<Option<Bell<'_>>, Error> {
        let at = &*self.at;
        let segment = &at.segment;
        let longest = segment.geometry.choice.answers.saturating_sub(1);
        if answer.len() as u64 > longest {
            return Err(Error::TooLong { length: answer.len() as u64, max: longest });
        }
        if answer.len() <= SHORT {
            let right = self.right_to_answer(address)?;
            return Ok(right.and_then(|right| segment.calls.answer(right, answer)));
        }
        if !segment.calls.is_awaited(address) {
            return Ok(None);
        }
        let length = answer.len() as u64;
        let chunk = at.with_memory(|| segment.chunks.take(length, at.member));
        let chunk = chunk.map_err(|why| at.no_memory(length, &why))?;
        chunk.write(answer);
        match self.right_to_answer(address) {
            Ok(Some(right)) => Ok(segment.calls.answer_in(right, chunk)),
            other => {
                chunk.release();
                other.map(|_| None)
            }
        }
    }

    #[inline(always)]
    fn right_to_answer(&self, address: Address) -> Result<Option<Answering>, Error> {
        let at = &self.at;
        self.despite_the_dead(|| at.segment.calls.begin_answer(address, at.member))
    }

    /// A question is consumed without an answer: its caller is told. An error: another is just answering it.
    #[cold]
    pub(crate) fn leave_unanswered(&self, address: Address) -> Result<(), Error> {
        let calls = &self.at.segment.calls;
        if let Some(bell) = self.despite_the_dead(|| calls.drop_call(address))? {
            self.tell_caller(&bell);
        }
        Ok(())
    }

    /// A caller may be a thread, or a task.
    #[inline]
    fn tell_caller(&self, bell: &Bell<'_>) {
        bell.ring(&self.at.quiet);
        self.at.segment.ring_for_room(&self.at.quiet);
    }

    /// Does something with a call that may have been left by one who died answering it. Nothing: nobody waits.
    #[inline(always)]
    fn despite_the_dead<R>(&self, act: impl Fn() -> Result<R, Unwanted>) -> Result<Option<R>, Error> {
        match act() {
            Ok(done) => Ok(Some(done)),
            Err(Unwanted::Gone) => Ok(None),
            Err(Unwanted::By(other)) => self.after_another(other, act),
        }
    }

    /// Another was just answering.
    #[cold]
    fn after_another<R>(
        &self,
        other: Member,
        act: impl Fn() -> Result<R, Unwanted>,
    ) -> Result<Option<R>, Error> {
        let segment = &self.at.segment;
        let busy = || Err(Error::Busy { name: segment.name.to_string() });
        if !segment.is_dead(other) {
            return busy();
        }
        segment.give_back();
        match act() {
            Ok(done) => Ok(Some(done)),
            Err(Unwanted::Gone) => Ok(None),
            Err(Unwanted::By(_)) => busy(),
        }
    }
}
