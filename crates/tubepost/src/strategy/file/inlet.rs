//! A receiver's end: taking the next message, or one that came back, and waiting.

use super::taken::Taken;
use super::{At, Member};
use crate::domain::cleanup;
use crate::domain::log::Log;
use crate::domain::stat::{self, Stat};
use crate::error::{Closed, Error};
use crate::journal::file::LogFile;
use crate::journal::letter::Letter;
use crate::journal::words::{Says, UNIT};
use crate::os::clock;
use crate::queue::layout::{HOLD_SHIFT, RECEIVES};
use crate::strategy::shared::Attachment;
use crate::strategy::shared::batch::Collect;
use crate::strategy::shared::pending::Wait;
use crate::strategy::shared::rules::Rules;
use crate::strategy::{Arrival, Refusal, With, not_ours};
use crate::sync::wait::{SLICE, poll};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Where it stands is told to all once in so many messages.
const HINT_EVERY: u64 = 64;

/// A receiver's end.
#[derive(Debug)]
pub(crate) struct Inlet {
    pub(crate) at: Arc<Attachment>,
    pub(super) log: Arc<Log>,
    reader: Mutex<At>,
    pub(super) rules: Rules,
    /// The count of news that was looked at.
    news: AtomicU32,
    /// The count of receivers that came.
    joined: AtomicU32,
    closed: AtomicBool,
    /// The coarse clock when it last looked after the dead.
    looked: AtomicU64,
    /// Until then the dead letters are not tried again.
    pub(super) full_until: AtomicU64,
    /// What others hold, and since when it is known.
    pub(super) seen: Mutex<Vec<super::taken::Seen>>,
}

impl Member for Inlet {
    fn at(&self) -> &Arc<Attachment> {
        &self.at
    }

    fn log(&self) -> &Arc<Log> {
        &self.log
    }
}

impl Inlet {
    pub(crate) fn of(at: Arc<Attachment>, rules: Rules) -> Result<Inlet, Error> {
        let Some(log) = at.segment.log().map(Arc::clone) else { return Err(Error::Forked) };
        let number = at.segment.header().log.taken.load(Acquire);
        let file = log.file_of(number)?;
        let spot = file.taken();
        if rules.longest_hold > 0
            && let Ok(row) = at.segment.rows.get(at.member())
        {
            row.role.store(RECEIVES | rules.longest_hold << HOLD_SHIFT, Release);
            at.segment.promise(rules.longest_hold);
        }
        let news = AtomicU32::new(at.segment.header().bells.news.load(Acquire));
        let inlet = Inlet {
            log,
            reader: Mutex::new(At { file, spot }),
            rules,
            news,
            joined: AtomicU32::new(0),
            closed: AtomicBool::new(false),
            looked: AtomicU64::new(0),
            full_until: AtomicU64::new(0),
            seen: Mutex::default(),
            at,
        };
        inlet.look_after_the_dead(); // those of other lives, too
        Ok(inlet)
    }

    fn reader(&self) -> MutexGuard<'_, At> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_news(&self) -> bool {
        self.segment().header().bells.news.load(Acquire) != self.news.load(Relaxed)
    }

    /// Takes the next message, if there is one now.
    fn take(&self) -> Result<Taken<'_>, Refusal> {
        let segment = self.segment();
        if !segment.is_ours() {
            return Err(not_ours(segment));
        }
        self.is_sound()?;
        if self.has_news()
            && let Some(taken) = self.look_at_news()?
        {
            return Ok(taken);
        }
        let mut reader = self.reader();
        loop {
            let At { file, spot } = &mut *reader;
            let index = spot.index;
            match file.says(*spot) {
                Says::Message { units, rest, by } => {
                    let here = *spot;
                    let mine = file.take_fresh(index, self.holder());
                    let Some(mark) = mine else {
                        *spot = here.after(units);
                        continue;
                    };
                    *spot = here.after(units);
                    file.note_taken(*spot);
                    let number = file.number(here);
                    let now_and_then = number.is_multiple_of(HINT_EVERY);
                    if now_and_then {
                        self.note_taken(number, file.begins + u64::from(here.units) * UNIT);
                    }
                    let file = Arc::clone(file);
                    drop(reader);
                    segment.ring_for_room(self.at.quiet());
                    if (now_and_then || self.at.grieves()) && self.time_to_look() {
                        self.look_after_the_dead();
                    }
                    if segment.messages().has_sleepers() && self.is_more() {
                        segment.messages().wake();
                    }
                    return match file.read(here, units, rest, by) {
                        Some(whole) => {
                            let letter = Letter { file: At { file, spot: here }, whole };
                            Ok(Taken::new(self, mark, letter))
                        }
                        None => {
                            self.is_there(&file)?;
                            file.consume(index, mark);
                            self.after_consumed(&file);
                            Err(self.damaged(number, number))
                        }
                    };
                }
                Says::Skipped { units } => {
                    let (from, lost) = (file.number(*spot), file.tell_lost(index));
                    file.pass(index);
                    *spot = spot.after(units);
                    if lost {
                        let mut to = from;
                        while let Says::Skipped { units } = file.says(*spot)
                            && file.tell_lost(spot.index)
                        {
                            to = file.number(*spot);
                            *spot = spot.after(units);
                        }
                        return Err(self.damaged(from, to));
                    }
                }
                // Who closed it may have died before it said so.
                Says::Closed => return Err(Refusal::Closed(cleanup::finish(segment))),
                Says::Claimed { .. } => return Err(self.nothing_now()),
                Says::Nothing => {
                    self.is_there(file)?;
                    return Err(self.nothing_now());
                }
                Says::End => match self.or_closed(self.log.file_from(file.number(*spot)))? {
                    Some(next) if next.first > file.first => {
                        file.ended.store(index, Relaxed);
                        if file.is_finished() {
                            super::keep::take_away(segment, &self.log);
                        }
                        self.log.forget_before(
                            self.or_closed(self.log.store.files())?.first().copied().unwrap_or(0),
                        );
                        let spot = next.taken(); // beyond files that others have emptied
                        *reader = At { file: next, spot };
                    }
                    _ => return Err(self.nothing_now()),
                },
                Says::Rubbish => {
                    self.is_there(file)?;
                    let (here, from) = (*spot, file.number(*spot));
                    let Some((next, spot, to)) = self.or_closed(self.log.beyond(file, here))? else {
                        return Err(self.nothing_now());
                    };
                    (here.index..file.most().min((to + 1 - file.first) as u32))
                        .for_each(|index| file.pass(index));
                    *reader = At { file: next, spot };
                    return Err(self.damaged(from, to));
                }
            }
        }
    }

    #[cold]
    fn damaged(&self, from: u64, to: u64) -> Refusal {
        Error::DamagedMessages { path: self.log.store.path.clone(), from, to }.into()
    }

    pub(super) fn note_taken(&self, number: u64, bytes: u64) {
        let words = &self.segment().header().log;
        words.taken.fetch_max(number, Relaxed);
        words.taken_bytes.fetch_max(bytes, Relaxed);
    }

    /// Something came back, or it is closed.
    #[cold]
    fn look_at_news(&self) -> Result<Option<Taken<'_>>, Refusal> {
        let segment = self.segment();
        let count = segment.header().bells.news.load(Acquire);
        if self.closed.load(Acquire) || segment.is_closed() {
            return Err(self.ended());
        }
        for file in self.or_closed(self.log.all())? {
            while let Some((index, seen)) = file.find_back(|mark| self.wants(mark)) {
                let Some(mark) = file.take(index, seen, self.holder()) else { continue };
                let spot = file.find(index);
                let whole = match file.says(spot) {
                    Says::Message { units, rest, by } if spot.index == index => {
                        file.read(spot, units, rest, by)
                    }
                    _ => None,
                };
                let number = file.number(spot);
                let Some(whole) = whole else {
                    self.is_there(&file)?;
                    file.consume(index, mark);
                    return Err(self.damaged(number, number));
                };
                let letter = Letter { file: At { file: Arc::clone(&file), spot }, whole };
                let taken = Taken::new(self, mark, letter);
                if self.has_to_go(seen) {
                    self.put_away(taken, seen.is_rejected());
                } else {
                    return Ok(Some(taken));
                }
            }
        }
        self.news.store(count, Relaxed);
        Ok(None)
    }

    /// There is nothing to be taken, and if it is over there never will be.
    fn nothing_now(&self) -> Refusal {
        if self.closed.load(Acquire) || self.segment().is_closed() { self.ended() } else { Refusal::Waiting }
    }

    #[cold]
    fn ended(&self) -> Refusal {
        let segment = self.segment();
        if segment.is_closed() {
            return Refusal::Closed(cleanup::finish(segment));
        }
        Refusal::Closed(Closed { uncollected: segment.waiting() })
    }

    /// Takes the next message if there is one now, and does this with it.
    pub(crate) fn try_recv<W: With>(&self, mut with: W) -> Result<W::Result, Refusal> {
        self.try_with(&mut with)
    }

    fn try_with<W: With>(&self, with: &mut W) -> Result<W::Result, Refusal> {
        loop {
            match self.take() {
                Err(Refusal::Waiting) if self.more_after_a_look() => {}
                Err(Refusal::Waiting) => return Err(Refusal::Waiting),
                done => return with.message(done?),
            }
        }
    }

    /// Takes the next message, waiting for it until the deadline, and does this with it.
    pub(crate) fn recv<W: With>(&self, deadline: Option<Instant>, mut with: W) -> Result<W::Result, Refusal> {
        loop {
            match self.take() {
                Err(Refusal::Waiting) => {}
                done => return with.message(done?),
            }
            if poll(self.at.spin(), deadline, || self.may_take()) {
                self.at.spun_well();
                continue;
            }
            let done = self.segment().messages().wait(
                deadline,
                || self.may_take().then_some(Ok(())),
                || self.look_before_waiting().map_err(Err),
            );
            match done {
                Some(done) => done?,
                None => return with.message(self.take()?),
            }
        }
    }

    pub(crate) fn poll_recv<W: With>(
        &self,
        wait: &mut Wait,
        context: &mut Context<'_>,
        with: &mut W,
    ) -> Poll<Result<W::Result, Refusal>> {
        let mut attempt = || match self.try_with(with) {
            Err(Refusal::Waiting) => None,
            done => Some(done),
        };
        if let Some(done) = attempt() {
            wait.leave();
            return Poll::Ready(done);
        }
        let look = || self.look_before_waiting().map_err(Err);
        wait.poll(&self.at, context, attempt, look, |error| Err(error.into()))
    }

    pub(crate) fn try_recv_batch(&self, into: &mut impl Collect, most: usize) -> Result<usize, Refusal> {
        loop {
            match self.gather(into, most)? {
                0 if self.more_after_a_look() => {}
                0 => return Err(Refusal::Waiting),
                number => return Ok(number),
            }
        }
    }

    pub(crate) fn recv_batch(
        &self,
        deadline: Option<Instant>,
        into: &mut impl Collect,
        most: usize,
    ) -> Result<usize, Refusal> {
        self.recv(deadline, Into(into))?;
        Ok(1 + self.gather(into, most - 1)?)
    }

    fn gather(&self, into: &mut impl Collect, most: usize) -> Result<usize, Refusal> {
        let mut number = 0;
        while number < most {
            match self.take() {
                Ok(taken) => Into(into).message(taken)?,
                Err(Refusal::Waiting) => break,
                Err(_) if number > 0 => break, // it is told by the next call
                Err(other) => return Err(other),
            }
            number += 1;
        }
        Ok(number)
    }

    /// Looks after the dead, now and then. Whether there may be something now.
    fn more_after_a_look(&self) -> bool {
        self.time_to_look() && self.look_after_the_dead()
    }

    fn time_to_look(&self) -> bool {
        let now = clock::coarse();
        let due = now.wrapping_sub(self.looked.load(Relaxed)) >= SLICE.as_nanos() as u64;
        if due {
            self.looked.store(now, Relaxed);
        }
        due || self.at.grieves()
    }

    /// Makes an end of what the dead claimed, and gives back what they had in hand.
    #[cold]
    fn look_after_the_dead(&self) -> bool {
        let segment = self.segment();
        self.at.patience();
        let skipped = self.skip_the_dead();
        let back = self.log.give_back(|holder| segment.has_lost(holder)) > 0;
        if back {
            segment.tell_news();
        }
        skipped || back
    }

    /// Whether the record that is next was claimed by a dead one, and is skipped now.
    fn skip_the_dead(&self) -> bool {
        let segment = self.segment();
        let At { file, spot } = self.reader().clone();
        file.skip(spot, |member| segment.is_dead(member))
    }

    /// What a receiver does before it waits: says how long that may be at most, or that it is over.
    pub(crate) fn look_before_waiting(&self) -> Result<Duration, Refusal> {
        let (at, segment) = (&self.at, self.segment());
        self.is_sound()?;
        if segment.is_closed() || at.lost_its_name() {
            return Err(Refusal::Closed(cleanup::finish(segment)));
        }
        let joined = segment.header().bells.joined.load(Acquire);
        if self.joined.swap(joined, Relaxed) != joined {
            at.watch_receivers();
        }
        let At { file, spot } = self.reader().clone();
        if let Says::Claimed { by, .. } = file.says(spot)
            && (self.skip_the_dead() || !at.watch(by) && self.skip_the_dead())
        {
            return Ok(Duration::ZERO);
        }
        if self.time_to_look() && self.look_after_the_dead() {
            return Ok(Duration::ZERO);
        }
        let patience = at.patience();
        Ok(self.fence_overdue().map_or(patience, |next| next.min(patience)))
    }

    /// Whether there seems to be something to be received, or told.
    pub(crate) fn may_take(&self) -> bool {
        let segment = self.segment();
        self.has_news() || segment.is_closed() || self.is_sound().is_err() || self.is_more()
    }

    /// Whether there seems to be a message that nobody took.
    fn is_more(&self) -> bool {
        let At { file, spot } = &*self.reader();
        match file.says(*spot) {
            Says::Nothing | Says::Claimed { .. } => false,
            Says::End => self.log.file_from(file.number(*spot)).is_ok_and(|next| {
                next.is_some_and(|next| {
                    next.first > file.first && !matches!(next.says(next.taken()), Says::Nothing)
                })
            }),
            Says::Rubbish => self.log.beyond(file, *spot).is_ok_and(|there| there.is_some()),
            _ => true,
        }
    }

    pub(crate) fn close(&self) -> Result<Closed, Error> {
        let segment = self.segment();
        if !segment.is_ours() {
            return Err(Error::Forked);
        }
        self.closed.store(true, Release);
        segment.tell_news();
        Ok(Closed { uncollected: segment.waiting() })
    }

    pub(crate) fn length(&self) -> u64 {
        if self.segment().is_ours() { self.segment().waiting() } else { 0 }
    }

    pub(crate) fn is_full(&self) -> bool {
        let capacity = self.segment().geometry.capacity();
        capacity.is_some_and(|capacity| self.length() >= capacity)
    }

    pub(crate) fn stat(&self) -> Result<Stat, Error> {
        if self.segment().is_ours() { stat::of(self.segment()) } else { Err(Error::Forked) }
    }

    /// A message was consumed; if it was the last one of its file, that may go.
    #[inline]
    pub(super) fn after_consumed(&self, file: &LogFile) {
        if file.is_finished() {
            super::keep::take_away(self.segment(), &self.log);
        }
    }
}

/// Into a batch.
struct Into<'a, C>(&'a mut C);

impl<C: Collect> With for Into<'_, C> {
    type Result = ();

    fn message<A: Arrival>(&mut self, taken: A) -> Result<(), Refusal> {
        match self.0.add(taken.payload()) {
            Ok(()) => {
                taken.consume();
                Ok(())
            }
            Err(unfit) => Err(taken.unfit(unfit)),
        }
    }
}
