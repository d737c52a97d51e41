//! An independent reader: it sees every message, whoever else receives, from a place of its own, which has a name and is kept beside the log.
//!
//! It takes nothing from the queue. Its place moves behind a message once that was handed out.
//!
//! **What if it dies here?** See `journal::place`.

use super::{At, Member};
use crate::domain::cleanup;
use crate::domain::log::Log;
use crate::domain::member::Peer;
use crate::error::{Closed, Error};
use crate::journal::file::LogFile;
use crate::journal::letter::Letter;
use crate::journal::place::Place;
use crate::journal::records::Found;
use crate::journal::store;
use crate::journal::words::{Says, Spot};
use crate::memory::payload::Unfit;
use crate::queue::calls::Address;
use crate::queue::in_place::{InPlace, View};
use crate::strategy::shared::Attachment;
use crate::strategy::shared::pending::Wait;
use crate::strategy::{Arrival, Hand, Refusal, With, not_ours};
use crate::sync::wait::poll;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

/// Where an independent reader begins that has no place yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum From {
    /// With the oldest message that is there.
    Start,
    /// Behind the newest one.
    End,
    /// With the message of this number, or the next one that is there.
    Seq(u64),
    /// With the first one that was sent at this time or later, by the system's clock as it was set then; up to one of its ticks (1 to 10 ms) earlier.
    Time(SystemTime),
}

/// An independent reader.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub(crate) at: Arc<Attachment>,
    log: Arc<Log>,
    place: Place,
    reader: Mutex<At>,
    closed: AtomicBool,
}

impl Member for Cursor {
    fn at(&self) -> &Arc<Attachment> {
        &self.at
    }

    fn log(&self) -> &Arc<Log> {
        &self.log
    }
}

impl Cursor {
    /// Opens the place of this name; if there is none, it begins where `from` says. If `moves`, it begins there in any case.
    pub(crate) fn open(at: Arc<Attachment>, name: &str, from: Option<From>) -> Result<Cursor, Error> {
        let Some(log) = at.segment.log().map(Arc::clone) else { return Err(Error::Forked) };
        let begin = from.map(|from| find(&log, from)).transpose()?;
        let first = || begin.map_or_else(|| find(&log, From::Start), Ok);
        let (place, next) = Place::open(&log.store, name, first)?;
        let next = match begin {
            Some(begin) => {
                place.set(begin)?;
                begin
            }
            None => next,
        };
        let file = log.file_of(next)?;
        let spot = file.find(next.saturating_sub(file.first) as u32);
        Ok(Cursor { at, log, place, reader: Mutex::new(At { file, spot }), closed: AtomicBool::new(false) })
    }

    fn reader(&self) -> MutexGuard<'_, At> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is read by it any more; whoever waits is told.
    pub(crate) fn close(&self) {
        self.closed.store(true, Release);
        if self.segment().is_ours() {
            self.segment().messages().alarm();
        }
    }

    /// The number of the message that is next.
    pub(crate) fn next(&self) -> u64 {
        self.reader().number()
    }

    /// Takes the next message, if there is one now.
    fn take(&self) -> Result<Passing<'_>, Refusal> {
        let segment = self.segment();
        if !segment.is_ours() {
            return Err(not_ours(segment));
        }
        self.is_sound()?;
        if self.closed.load(Acquire) {
            return Err(Refusal::Closed(Closed { uncollected: 0 }));
        }
        let mut reader = self.reader();
        loop {
            let At { file, spot } = &mut *reader;
            let here = *spot;
            match file.says(here) {
                Says::Message { units, rest, by } => match file.read(here, units, rest, by) {
                    Some(whole) => {
                        let after = here.after(units);
                        return Ok(Passing {
                            cursor: self,
                            letter: Letter { file: Reader(reader), whole },
                            after,
                        });
                    }
                    None => {
                        self.is_there(file)?;
                        *spot = here.after(units);
                        return Err(self.passed_damage(file.number(here), file.number(here)));
                    }
                },
                Says::Skipped { units } => {
                    *spot = here.after(units);
                    if file.mark_at(here.index).is_lost() {
                        while let Says::Skipped { units } = file.says(*spot)
                            && file.mark_at(spot.index).is_lost()
                        {
                            *spot = spot.after(units);
                        }
                        let (from, to) = (file.number(here), file.number(*spot) - 1);
                        return Err(self.passed_damage(from, to));
                    }
                }
                Says::Claimed { .. } if file.skip(here, |member| segment.is_dead(member)) => {}
                Says::Closed => return Err(Refusal::Closed(cleanup::finish(segment))),
                Says::Claimed { .. } | Says::Nothing => {
                    self.is_there(file)?;
                    return if segment.is_closed() {
                        Err(Refusal::Closed(cleanup::finish(segment)))
                    } else {
                        Err(Refusal::Waiting)
                    };
                }
                Says::End => match self.or_closed(self.log.file_from(file.number(here)))? {
                    Some(next) if next.first > file.first => {
                        *reader = At { file: next, spot: Spot::default() }
                    }
                    _ if segment.is_closed() => return Err(Refusal::Closed(cleanup::finish(segment))),
                    _ => return Err(Refusal::Waiting),
                },
                Says::Rubbish => {
                    self.is_there(file)?;
                    let from = file.number(here);
                    let Some((next, spot, to)) = self.or_closed(self.log.beyond(file, here))? else {
                        return Err(Refusal::Waiting);
                    };
                    *reader = At { file: next, spot };
                    return Err(self.passed_damage(from, to));
                }
            }
        }
    }

    #[cold]
    fn passed_damage(&self, from: u64, to: u64) -> Refusal {
        match self.place.set(to + 1) {
            Ok(()) => Error::DamagedMessages { path: self.log.store.path.clone(), from, to }.into(),
            Err(error) => error.into(),
        }
    }

    pub(crate) fn try_recv<W: With>(&self, mut with: W) -> Result<W::Result, Refusal> {
        with.message(self.take()?)
    }

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
        let mut attempt = || match self.take() {
            Err(Refusal::Waiting) => None,
            Err(other) => Some(Err(other)),
            Ok(taken) => Some(with.message(taken)),
        };
        if let Some(done) = attempt() {
            wait.leave();
            return Poll::Ready(done);
        }
        let look = || self.look_before_waiting().map_err(Err);
        wait.poll(&self.at, context, attempt, look, |error| Err(error.into()))
    }

    /// Whether there seems to be something to be read, or told.
    pub(crate) fn may_take(&self) -> bool {
        let At { file, spot } = &*self.reader();
        let there = match file.says(*spot) {
            Says::Nothing | Says::Claimed { .. } => false,
            Says::End => self.log.file_from(file.number(*spot)).is_ok_and(|next| {
                next.is_some_and(|next| {
                    next.first > file.first && !matches!(next.says(Spot::default()), Says::Nothing)
                })
            }),
            Says::Rubbish => self.log.beyond(file, *spot).is_ok_and(|there| there.is_some()),
            _ => true,
        };
        there || self.closed.load(Acquire) || self.segment().is_closed() || self.is_sound().is_err()
    }

    pub(crate) fn look_before_waiting(&self) -> Result<Duration, Refusal> {
        self.is_sound()?;
        if self.at.lost_its_name() {
            return Err(Refusal::Closed(cleanup::finish(self.segment())));
        }
        let At { file, spot } = self.reader().clone();
        if let Says::Claimed { by, .. } = file.says(spot)
            && !self.at.watch(by)
            && file.skip(spot, |member| self.segment().is_dead(member))
        {
            return Ok(Duration::ZERO);
        }
        Ok(self.at.patience())
    }
}

/// A message that is being handed out; the place moves behind it when that is done.
struct Passing<'a> {
    cursor: &'a Cursor,
    letter: Letter<Reader<'a>>,
    after: Spot,
}

/// Nobody else reads by the cursor meanwhile.
struct Reader<'a>(MutexGuard<'a, At>);

impl AsRef<LogFile> for Reader<'_> {
    #[inline]
    fn as_ref(&self) -> &LogFile {
        &self.0.file
    }
}

impl<'a> Arrival for Passing<'a> {
    type Payload = Letter<Reader<'a>>;

    #[inline]
    fn payload(&self) -> &Letter<Reader<'a>> {
        &self.letter
    }

    fn position(&self) -> u64 {
        self.letter.whole.about.number
    }

    fn redelivered(&self) -> u32 {
        0
    }

    fn sender(&self) -> Peer {
        self.cursor.who_sent(&self.letter.whole)
    }

    fn may_be_lost(&self) -> bool {
        true
    }

    fn fetch_for_answer(&self, _: Address) {}

    fn address(&self) -> Address {
        Address::NOBODY
    }

    fn leave_unanswered(&self) {}

    #[inline]
    fn consume(mut self) -> bool {
        self.letter.file.0.spot = self.after;
        self.cursor.place.set(self.letter.whole.about.number + 1).is_ok()
    }

    fn is_in_place(&self) -> bool {
        false
    }

    fn in_place<H: ?Sized>(&self, _: View<H>) -> Option<Result<InPlace<H>, Unfit>> {
        None
    }

    fn hold(self, _: bool) -> Result<Hand, Refusal> {
        unreachable!("an independent reader takes nothing into its hand")
    }

    fn unfit(self, unfit: Unfit) -> Refusal {
        let error = match unfit {
            Unfit::TooShort { length, room } => {
                return Error::TooLong { length: length as u64, max: room as u64 }.into();
            }
            Unfit::NotText => Error::BadText,
            Unfit::NotDecodable { length, why } => Error::NotDecodable { length: length as u64, why },
            Unfit::WrongLength { length, expected } => Error::Damaged {
                name: self.cursor.segment().name.to_string(),
                what: format!("a message has {length} bytes, and not {expected}"),
            },
        };
        self.consume();
        error.into()
    }
}

/// The number of the message that `from` means.
fn find(log: &Log, from: From) -> Result<u64, Error> {
    let newest = || log.newest().map(|file| file.number(file.tail()));
    Ok(match from {
        From::Start => log.oldest()?.first,
        From::End => newest()?,
        From::Seq(number) => number.clamp(log.oldest()?.first, newest()?),
        From::Time(time) => {
            let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
            let since = since.saturating_sub(store::tick());
            // No file is passed over for when it was made: the clock may have been set meanwhile.
            match log.all()?.iter().find_map(|file| first_since(file, since)) {
                Some(number) => number,
                None => newest()?,
            }
        }
    })
}

fn first_since(file: &LogFile, since: u64) -> Option<u64> {
    let mut spot = Spot::default();
    loop {
        // Most are passed without being read.
        if file.stored_time(spot.units).is_some_and(|time| time >= since)
            && let Found::Message(whole, ..) = file.look(spot)
        {
            return Some(whole.about.number);
        }
        spot = file.step(spot).or_else(|| file.resume_if_rubbish(spot))?;
    }
}
