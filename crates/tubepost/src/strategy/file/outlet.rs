//! A sender's end: appending to the log, waiting for room, for the disk, or for the message to be collected.

use super::{At, Member, durable};
use crate::domain::cleanup;
use crate::domain::log::Log;
use crate::domain::stat::{self, Stat};
use crate::error::{Closed, Error, Fate};
use crate::journal::described::Fsync;
use crate::journal::file::{LogFile, called};
use crate::journal::records::Claim;
use crate::journal::store;
use crate::journal::words::{Says, Spot, UNIT};
use crate::journal::{self, file::HEAD};
use crate::os::Errno;
use crate::queue::areas::UNBOUNDED;
use crate::strategy::shared::Attachment;
use crate::strategy::shared::batch::{Batch, Patience};
use crate::strategy::shared::collected::Uncollected;
use crate::strategy::shared::pending::Wait;
use crate::strategy::{Refusal, allow, not_ours};
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// A sender's end.
#[derive(Debug)]
pub(crate) struct Outlet {
    pub(crate) at: Arc<Attachment>,
    pub(super) log: Arc<Log>,
    writer: Mutex<At>,
    pid: u32,
    /// Its number among the log's senders.
    sender: crate::queue::slots::Member,
    /// Whether this process has a thread that brings to the disk what it sends.
    flushes: Arc<Flushing>,
}

/// The last one of a process to go brings to the disk what its thread would have.
#[derive(Debug)]
struct Flushing {
    at: Arc<Attachment>,
    log: Arc<Log>,
    started: std::sync::Once,
}

impl Drop for Flushing {
    fn drop(&mut self) {
        durable::at_the_end(&self.at.segment, &self.log);
    }
}

impl Clone for Outlet {
    fn clone(&self) -> Outlet {
        let writer = self.writer().clone();
        Outlet {
            at: Arc::clone(&self.at),
            log: Arc::clone(&self.log),
            writer: Mutex::new(writer),
            pid: self.pid,
            sender: self.sender,
            flushes: Arc::clone(&self.flushes),
        }
    }
}

impl Member for Outlet {
    fn at(&self) -> &Arc<Attachment> {
        &self.at
    }

    fn log(&self) -> &Arc<Log> {
        &self.log
    }
}

/// Of what was sent its number.
#[inline]
fn number(file: &Arc<LogFile>, spot: Spot) -> u64 {
    file.number(spot)
}

/// Of what was sent its place.
fn place(file: &Arc<LogFile>, spot: Spot) -> At {
    At { file: Arc::clone(file), spot }
}

impl Outlet {
    pub(crate) fn of(at: Arc<Attachment>, name: &str) -> Result<Outlet, Error> {
        let Some(log) = at.segment.log().map(Arc::clone) else { return Err(Error::Forked) };
        let sender = log.store.number_of(name)?;
        let file = log.newest()?;
        let spot = file.tail();
        let writer = Mutex::new(At { file, spot });
        let flushes =
            Flushing { at: Arc::clone(&at), log: Arc::clone(&log), started: std::sync::Once::new() };
        Ok(Outlet { at, log, writer, pid: std::process::id(), sender, flushes: Arc::new(flushes) })
    }

    fn writer(&self) -> MutexGuard<'_, At> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends if there is room now, and is on the disk then if that was chosen.
    pub(crate) fn try_send(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let number = self.post(bytes, number)?;
        durable::after_send(self, number)
    }

    /// Whether a message of this length could be sent at all.
    #[inline]
    pub(crate) fn may_lend_so_much(&self, length: usize) -> Result<(), Refusal> {
        let segment = &self.at.segment;
        if !segment.is_ours() {
            return Err(not_ours(segment));
        }
        allow(&segment.geometry.choice, length as u64)?;
        self.is_sound()?;
        if segment.is_closed() {
            return Err(Refusal::Closed(cleanup::finish(segment)));
        }
        Ok(())
    }

    /// Appends a message. It is there for all who receive. Gives `what` is asked of it.
    #[inline]
    fn post<T>(&self, bytes: &[u8], what: fn(&Arc<LogFile>, Spot) -> T) -> Result<T, Refusal> {
        self.may_lend_so_much(bytes.len())?;
        let (at, segment) = (&*self.at, &self.at.segment);
        let extent = extent(bytes.len() as u64);
        let mut writer = self.writer();
        loop {
            let At { file, spot } = &mut *writer;
            match file.claim(spot, extent, at.member(), |number, begins| {
                self.has_room(number, begins + extent.0 * UNIT)
            }) {
                Ok(Claim::Here(there)) => {
                    let about = crate::journal::file::About {
                        number: file.number(there),
                        time: store::now(),
                        pid: self.pid,
                    };
                    file.write(there.units, &about, bytes);
                    file.commit(there, extent, self.sender);
                    self.is_there(file)?;
                    segment.ring_for_message(at.quiet());
                    return Ok(what(file, there));
                }
                Ok(Claim::Ended(end)) => {
                    let next = self.or_closed(self.log.make_next(file, end))?;
                    if segment.is_closed() {
                        // All was counted by then, and may have been taken away before this file was made.
                        drop(writer);
                        self.or_closed(self.log.store.remove(&called(next.first)))?;
                        return Err(Refusal::Closed(cleanup::finish(segment)));
                    }
                    let spot = next.tail();
                    *writer = At { file: next, spot };
                    self.log.forget_before(writer.file.first);
                    super::keep::take_away(segment, &self.log);
                }
                Ok(Claim::Refused(_)) => return Err(Refusal::Waiting),
                Ok(Claim::Closed) => {
                    drop(writer);
                    return Err(Refusal::Closed(cleanup::finish(segment)));
                }
                Ok(Claim::Rubbish(there)) => match file.resume(there) {
                    Some(next) => *spot = next,
                    None => return Err(self.fail(Errno::ILSEQ)),
                },
                Err(Errno::NOSPC | Errno::DQUOT) => return Err(self.log.store.full(4096).into()),
                // Nothing was written so far.
                Err(errno @ (Errno::NOMEM | Errno::AGAIN | Errno::INTR)) => {
                    return Err(journal::trouble("to have space for a message in", &file.path, errno).into());
                }
                Err(errno) => return Err(self.fail(errno)),
            }
        }
    }

    /// Whether there is room for the message of this number, which ends so many bytes into the log.
    #[inline]
    fn has_room(&self, number: u64, end: u64) -> bool {
        let described = &self.log.store.described;
        let unbounded = described.capacity == UNBOUNDED && described.most_bytes.is_none();
        unbounded || self.has_room_of(number, end)
    }

    fn has_room_of(&self, number: u64, end: u64) -> bool {
        let (described, words) = (&self.log.store.described, &self.segment().header().log);
        let fits = || {
            let (taken, bytes) = (words.taken.load(Acquire), words.taken_bytes.load(Acquire));
            let messages =
                described.capacity == UNBOUNDED || number.saturating_sub(taken) < described.capacity;
            // One is always let in, however long.
            let bytes =
                described.most_bytes.is_none_or(|most| number == taken || end.saturating_sub(bytes) <= most);
            messages && bytes
        };
        fits() || {
            self.find_taken();
            fits()
        }
    }

    /// Finds out what was taken, beyond what the hint says. What a dead sender claimed there is skipped.
    #[cold]
    fn find_taken(&self) {
        let (segment, words) = (self.segment(), &self.segment().header().log);
        let number = words.taken.load(Acquire);
        let Ok(mut file) = self.log.file_of(number) else { return };
        let mut spot = file.find(number.saturating_sub(file.first) as u32);
        spot = spot.max(file.taken()); // that one outlives restarts
        loop {
            loop {
                let waits =
                    file.mark_at(spot.index).is_fresh() && !matches!(file.says(spot), Says::Skipped { .. });
                if waits && !file.skip(spot, |member| segment.is_dead(member)) {
                    break;
                }
                match file.step(spot).or_else(|| file.resume_if_rubbish(spot)) {
                    Some(next) => spot = next,
                    None => break,
                }
            }
            words.taken.fetch_max(file.number(spot), Relaxed);
            words.taken_bytes.fetch_max(file.begins + u64::from(spot.units) * UNIT, Relaxed);
            match self.log.file_from(file.number(spot)) {
                Ok(Some(next)) if file.says(spot) == Says::End && next.first > file.first => {
                    (file, spot) = (next, Spot::default());
                }
                _ => return,
            }
        }
    }

    /// Sends, waiting for room until the deadline.
    pub(crate) fn send(&self, bytes: &[u8], deadline: Option<Instant>) -> Result<(), Refusal> {
        let number = self.post_by(bytes, deadline, number)?;
        durable::after_send(self, number)
    }

    #[inline]
    fn post_by<T>(
        &self,
        bytes: &[u8],
        deadline: Option<Instant>,
        what: fn(&Arc<LogFile>, Spot) -> T,
    ) -> Result<T, Refusal> {
        match self.post(bytes, what) {
            Err(Refusal::Waiting) => {}
            done => return done,
        }
        let attempt = || match self.post(bytes, what) {
            Err(Refusal::Waiting) => None,
            done => Some(done),
        };
        let done = self.segment().room().wait(deadline, attempt, || self.look_before_waiting().map_err(Err));
        done.unwrap_or(Err(Refusal::Waiting))
    }

    /// What a sender does before it waits for room: says how long that may be at most, or that it is over.
    pub(crate) fn look_before_waiting(&self) -> Result<Duration, Refusal> {
        self.is_sound()?;
        self.at.look_for_end()
    }

    /// Whether there seems to be room, or something else to be said.
    pub(crate) fn may_send(&self) -> bool {
        let segment = self.segment();
        if segment.is_closed() || self.is_sound().is_err() {
            return true;
        }
        let writer = self.writer();
        let mut spot = writer.spot;
        while let Some(next) = writer.file.step(spot) {
            spot = next;
        }
        let begins = writer.file.begins + u64::from(spot.units) * UNIT;
        writer.file.says(spot) == Says::End || self.has_room(writer.file.number(spot), begins + HEAD)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.segment().is_ours() && !self.may_send()
    }

    /// Sends, and waits until a receiver has the message.
    pub(crate) fn send_collected(&self, bytes: &[u8], deadline: Option<Instant>) -> Result<(), Uncollected> {
        let sent = self.post_by(bytes, deadline, place)?;
        durable::after_send(self, sent.number())?;
        let collected = self.segment().room().wait(
            deadline,
            || is_taken(&sent).then_some(Ok(())),
            || self.look_before_waiting().map_err(Err),
        );
        match collected {
            Some(Ok(())) => Ok(()),
            Some(Err(Refusal::Closed(closed))) => fate(&sent, closed),
            Some(Err(other)) => Err(other.into()),
            None => withdraw(&sent),
        }
    }

    pub(crate) fn send_batch<'s>(
        &self,
        batch: &mut Batch<impl Fn(usize) -> &'s [u8]>,
        patience: Patience,
    ) -> Result<(), Refusal> {
        let (mut last, mut done) = (None, Ok(()));
        while batch.sent < batch.count && done.is_ok() {
            let bytes = (batch.bytes)(batch.sent);
            let sent = match patience {
                Patience::None => self.post(bytes, number),
                Patience::Until(deadline) => self.post_by(bytes, deadline, number),
            };
            done = sent.map(|sent| {
                last = Some(sent);
                batch.sent += 1;
            });
        }
        // One sync for all of them.
        if let Some(sent) = last {
            durable::after_send(self, sent)?;
        }
        done
    }

    pub(crate) fn poll_send(
        &self,
        wait: &mut Wait,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<(), Refusal>> {
        let attempt = || match self.try_send(bytes) {
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

    pub(crate) fn closed(&self, deadline: Option<Instant>) -> Result<Closed, Refusal> {
        self.at.until_closed(deadline)
    }

    pub(crate) fn poll_closed(
        &self,
        wait: &mut Wait,
        context: &mut Context<'_>,
    ) -> Poll<Result<Closed, Refusal>> {
        self.at.poll_until_closed(wait, context)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.at.is_closed()
    }

    pub(crate) fn length(&self) -> u64 {
        if self.segment().is_ours() { self.segment().waiting() } else { 0 }
    }

    pub(crate) fn stat(&self) -> Result<Stat, Error> {
        if self.segment().is_ours() { stat::of(self.segment()) } else { Err(Error::Forked) }
    }

    /// Brings all that was sent before to the disk.
    pub(crate) fn flush(&self) -> Result<(), Refusal> {
        if !self.segment().is_ours() {
            return Err(not_ours(self.segment()));
        }
        let end = {
            let mut writer = self.writer();
            while let Some(next) = writer.file.step(writer.spot) {
                writer.spot = next;
            }
            writer.number()
        };
        durable::until(self, end)
    }

    /// Has what was sent brought to the disk within this time.
    #[inline]
    pub(super) fn sync_within(&self, time: Duration) {
        self.flushes.started.call_once(|| {
            // Without a thread it is done when the handle is dropped, or by others.
            let _ = durable::start(&self.at, &self.log, time);
        });
    }

    /// What is brought to the disk when.
    pub(super) fn fsync(&self) -> Fsync {
        self.log.store.described.fsync
    }
}

/// How many units the record of a message has, and how many bytes of the last one are no part of it.
#[inline]
fn extent(length: u64) -> (u64, u64) {
    let bytes = (HEAD + length).next_multiple_of(UNIT);
    (bytes / UNIT, bytes - HEAD - length)
}

fn is_taken(sent: &At) -> bool {
    let mark = sent.file.mark_at(sent.spot.index);
    !mark.is_fresh() && !mark.is_buried()
}

/// The deadline came first: nobody is to receive it, unless somebody just did.
fn withdraw(sent: &At) -> Result<(), Uncollected> {
    match sent.file.withdraw(sent.spot.index) {
        false if is_taken(sent) => Ok(()),
        _ => Err(Uncollected::Refused(Refusal::Waiting)),
    }
}

/// It was closed meanwhile.
fn fate(sent: &At, closed: Closed) -> Result<(), Uncollected> {
    withdraw(sent).map_err(|_| Uncollected::Closed(closed, Fate::NotCollected))
}

/// A message that its sender waits for to be collected. Dropped: it was collected, or is withdrawn.
pub(crate) struct Collection<'a> {
    outlet: &'a Outlet,
    wait: Wait,
    sent: Option<At>,
}

impl<'a> Collection<'a> {
    pub(crate) fn by(outlet: &'a Outlet) -> Collection<'a> {
        Collection { outlet, wait: crate::strategy::shared::tasks::for_room(), sent: None }
    }

    /// Sends when there is room, and comes back when it was collected.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<(), Uncollected>> {
        let outlet = self.outlet;
        if self.sent.is_none() {
            let attempt = || match outlet.post(bytes, place) {
                Err(Refusal::Waiting) => None,
                done => Some(done),
            };
            let posted = match attempt() {
                Some(posted) => posted,
                None => {
                    let (wait, look) = (&mut self.wait, || outlet.look_before_waiting().map_err(Err));
                    ready!(wait.poll(&outlet.at, context, attempt, look, |error| Err(error.into())))
                }
            };
            let sent = posted?;
            durable::after_send(outlet, sent.number())?;
            self.sent = Some(sent);
        }
        let Some(sent) = &self.sent else { return Poll::Ready(Ok(())) };
        let taken = || is_taken(sent).then_some(Ok(()));
        let done: Result<(), Refusal> = match taken() {
            Some(done) => {
                self.wait.leave();
                done
            }
            None => {
                let look = || outlet.look_before_waiting().map_err(Err);
                ready!(self.wait.poll(&outlet.at, context, taken, look, |error| Err(error.into())))
            }
        };
        let sent = self.sent.take();
        Poll::Ready(match (done, sent) {
            (Ok(()), _) | (_, None) => Ok(()),
            (Err(Refusal::Closed(closed)), Some(sent)) => fate(&sent, closed),
            (Err(other), Some(sent)) => withdraw(&sent).and(Err(Uncollected::Refused(other))),
        })
    }
}

impl Drop for Collection<'_> {
    fn drop(&mut self) {
        if let Some(sent) = self.sent.take()
            && self.outlet.segment().is_ours()
        {
            let _ = withdraw(&sent);
        }
    }
}
