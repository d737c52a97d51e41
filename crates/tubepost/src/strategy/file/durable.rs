//! Bringing messages to the disk: when was chosen with the mailbox.
//!
//! *Each*: a send returns when its message is durable. Concurrent senders share a sync: one leads, and brings there what all have committed; the others sleep
//! until it has, or one of them leads the next.
//!
//! ```text
//! durable > my number: done
//! CAS syncing 0 -> me           I lead; another does, and has for longer than it takes: I take that over
//! wait for as many as last time an eighth of the time that the last sync took, and no longer
//! walk from `durable` to the first record that is neither committed nor skipped
//! sync every file on that way, and the names of files if they are not yet
//! durable = that number (fetch_max); syncing = 0; wake all
//! ```
//!
//! Those whom a sync woke are about to send their next message. Without that short wait the first of them would lead a sync for itself alone, and all others wait for
//! that and then share one: half as many messages to each sync as there are senders.
//!
//! *Every so often*: a thread of each process that sends does it, as long as there is something to do.
//!
//! **What if it dies here?** Who leads and dies, or is stopped, is only a hint's worth: nobody waits for it for longer than [`PATIENCE`]. A claim whose
//! sender is dead is skipped on the way; one whose sender is stopped in the few steps between claim and commit holds back what is durable behind it.

use super::outlet::Outlet;
use super::{At, Member};
use crate::domain::log::Log;
use crate::domain::segment::Segment;
use crate::error::Error;
use crate::journal::described::Fsync;
use crate::journal::file::LogFile;
use crate::journal::words::{Says, Spot};
use crate::os::Errno;
use crate::strategy::Refusal;
use crate::strategy::shared::Attachment;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// So long one who waits believes that another brings it to the disk.
const PATIENCE: Duration = Duration::from_millis(20);

/// What is to be done once the message of this number was appended.
#[inline]
pub(super) fn after_send(outlet: &Outlet, number: u64) -> Result<(), Refusal> {
    match outlet.fsync() {
        Fsync::Never => Ok(()),
        Fsync::Each => until(outlet, number + 1),
        Fsync::Every(time) => {
            outlet.sync_within(time);
            Ok(())
        }
    }
}

/// Comes back when all messages before this one are on the disk.
pub(super) fn until(who: &impl Member, number: u64) -> Result<(), Refusal> {
    let segment = who.segment();
    let words = &segment.header().log;
    let me = u64::from(who.at().member());
    let done = || words.durable.load(Acquire) >= number;
    let mut since = Instant::now();
    loop {
        who.is_sound()?;
        if done() {
            return Ok(());
        }
        let leader = words.syncing.load(Acquire);
        let late = since.elapsed() > PATIENCE; // it is stopped, or dead, or the disk is slow: it can be done twice
        if (leader == 0 || late) && words.syncing.compare_exchange(leader, me, AcqRel, Acquire).is_ok() {
            let synced = gather(segment, who.log()).and_then(|()| sync(segment, who.log()));
            words.syncing.store(0, Release);
            segment.room().wake();
            synced.map_err(|errno| who.fail(errno))?;
            since = Instant::now();
            if !done() {
                // Somebody is just writing before us.
                std::thread::yield_now();
            }
            continue;
        }
        if late {
            since = Instant::now(); // another was faster
        }
        let free = || (done() || words.syncing.load(Acquire) == 0).then_some(Ok::<(), Refusal>(()));
        let until = Some(Instant::now() + PATIENCE);
        if let Some(done) = segment.room().wait(until, free, || Ok(PATIENCE)) {
            done?;
        }
    }
}

/// What the last sync did.
#[derive(Clone, Copy)]
struct Group {
    messages: u16,
    took: Duration,
}

impl Group {
    fn of(word: u64) -> Group {
        Group { messages: word as u16, took: Duration::from_micros(word >> 16) }
    }

    fn word(self) -> u64 {
        (self.took.as_micros() as u64) << 16 | u64::from(self.messages)
    }
}

/// Waits for company: as many as there were last time, for a small part of what the sync will take.
fn gather(segment: &Segment, log: &Arc<Log>) -> Result<(), Errno> {
    let last = Group::of(segment.header().log.group.load(Relaxed));
    let At { file, spot: begin } = first_not_durable(segment, log)?;
    let (since, long) = (Instant::now(), (last.took / 8).min(PATIENCE / 2));
    let mut spot = begin;
    loop {
        spot = walk(segment, &file, spot);
        let enough = spot.index - begin.index >= u32::from(last.messages);
        if enough || file.says(spot) == Says::End || since.elapsed() >= long {
            return Ok(());
        }
        std::thread::yield_now();
    }
}

fn first_not_durable(segment: &Segment, log: &Arc<Log>) -> Result<At, Errno> {
    let from = segment.header().log.durable.load(Acquire);
    let file = log.file_of(from).map_err(errno)?;
    let known = Spot::of(file.hints().durable.load(Acquire));
    let index = from.saturating_sub(file.first) as u32;
    let spot = if known.index == index { known } else { file.find(index) };
    Ok(At { file, spot })
}

fn errno(error: Error) -> Errno {
    match error {
        Error::Os { errno, .. } => Errno::from_raw_os_error(errno),
        Error::DiskFull { .. } => Errno::NOSPC,
        _ => Errno::IO,
    }
}

/// Brings all that is committed to the disk, and says how far that is.
fn sync(segment: &Segment, log: &Arc<Log>) -> Result<(), Errno> {
    let words = &segment.header().log;
    let (from, since) = (words.durable.load(Acquire), Instant::now());
    bring_there(segment, log)?;
    let messages = words.durable.load(Acquire).saturating_sub(from).min(u16::MAX.into()) as u16;
    words.group.store(Group { messages, took: since.elapsed() }.word(), Relaxed);
    Ok(())
}

fn bring_there(segment: &Segment, log: &Arc<Log>) -> Result<(), Errno> {
    let words = &segment.header().log;
    let mut at = first_not_durable(segment, log)?;
    loop {
        let begin = at.spot;
        let end = walk(segment, &at.file, begin);
        if end > begin || at.file.hints().named.load(Acquire) == 0 {
            at.file.sync(begin.units, end.units)?;
        }
        if at.file.is_lost() {
            return Err(Errno::IO);
        }
        if at.file.hints().named.load(Acquire) == 0 {
            log.store.sync_names().map_err(errno)?;
            at.file.hints().named.store(1, Release);
        }
        at.file.hints().durable.fetch_max(end.bits(), Relaxed);
        words.durable.fetch_max(at.file.number(end), AcqRel);
        if at.file.says(end) != Says::End {
            return Ok(());
        }
        // What says so has to be there before the next file's records are.
        at.file.sync(end.units, end.units + 1)?;
        at.file.sync_head()?;
        let next = log.file_from(at.file.number(end)).map_err(errno)?;
        match next.filter(|next| next.first > at.file.first) {
            Some(file) => at = At { file, spot: Spot::default() },
            None => return Ok(()),
        }
    }
}

/// The first record that is neither committed nor skipped.
fn walk(segment: &Segment, file: &LogFile, from: Spot) -> Spot {
    let mut spot = from;
    loop {
        match file.says(spot) {
            Says::Message { units, .. } | Says::Skipped { units } => spot = spot.after(units),
            Says::Claimed { .. } if file.skip(spot, |member| segment.is_dead(member)) => {}
            Says::Rubbish => match file.resume(spot) {
                Some(next) => spot = next,
                None => return spot,
            },
            _ => return spot,
        }
    }
}

/// Starts the thread of a process that brings to the disk, every so often, what it sends. It ends with the handles.
pub(super) fn start(at: &Arc<Attachment>, log: &Arc<Log>, every: Duration) -> std::io::Result<()> {
    let (at, log) = (Arc::downgrade(at), Arc::downgrade(log));
    let thread = std::thread::Builder::new().name("tubepost-sync".into());
    thread.spawn(move || while bring(&at, &log, every) {}).map(drop)
}

/// Once. `false`: there is nobody any more who sends, or it fails.
fn bring(at: &Weak<Attachment>, log: &Weak<Log>, every: Duration) -> bool {
    std::thread::sleep(every); // that is what was chosen
    let (Some(at), Some(log)) = (at.upgrade(), log.upgrade()) else { return false };
    if !at.segment.is_ours() {
        return false;
    }
    let done = sync(&at.segment, &log);
    if let Err(errno) = done {
        let word = &at.segment.header().log.failed;
        let _ = word.compare_exchange(0, errno.raw_os_error() as u64, AcqRel, Relaxed);
        at.segment.wake_all();
    }
    done.is_ok()
}

/// The last one of a process to go brings there what its thread would have.
pub(super) fn at_the_end(segment: &Segment, log: &Arc<Log>) {
    if segment.is_ours() && matches!(log.store.described.fsync, Fsync::Every(_)) {
        let _ = sync(segment, log);
    }
}
