//! Taking old files away: those whose messages were all received, that no named reader still has to read, and that are not to be kept for longer.
//!
//! Only whole files go, the oldest first, so a little more is kept than was asked for. Never does a message go that nobody received.
//!
//! **What if it dies here?** The file is there, or it is not; whoever comes next goes on.

use crate::domain::log::Log;
use crate::domain::segment::Segment;
use crate::journal::described::Keep;
use crate::journal::file::{LogFile, called};
use crate::journal::records::Found;
use crate::journal::store::now;
use crate::journal::words::{Says, Spot, UNIT};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

/// Takes away what is to go.
#[cold]
pub(super) fn take_away(segment: &Segment, log: &Arc<Log>) {
    let Ok(files) = log.all() else { return };
    let Some((newest, old)) = files.split_last() else { return };
    let Ok(places) = log.store.places() else { return };
    let (end, bytes) = {
        let tail = newest.tail();
        (newest.number(tail), newest.begins + u64::from(tail.units) * UNIT)
    };
    for (at, file) in old.iter().enumerate() {
        let Some((behind, behind_bytes)) = finished(file) else { return };
        let read = places.iter().all(|(_, next)| *next >= behind);
        if !read || !may_go(&log.store.described.keep, &files[at..], end - behind, bytes - behind_bytes) {
            return;
        }
        // Whoever closes the log counts what he finds: all are to find the same.
        if file.has_buried(log.life) || log.store.remove(&called(file.first)).is_err() {
            return;
        }
        log.forget_before(behind);
        segment.header().log.taken.fetch_max(behind, Relaxed);
    }
}

/// Where a file ends of which everything was received: the number behind its last record, and bytes of the log up to there.
fn finished(file: &LogFile) -> Option<(u64, u64)> {
    let tail = file.tail();
    let ended = file.says(tail) == Says::End && file.done() >= tail.index;
    ended.then(|| (file.number(tail), file.begins + u64::from(tail.units) * UNIT))
}

/// Whether what is in the first of these files need not be kept for its own sake, when so many messages and bytes are behind it.
fn may_go(keep: &Keep, files: &[Arc<LogFile>], messages: u64, bytes: u64) -> bool {
    let old_enough = keep.age.is_none_or(|age| {
        let now = now();
        sent_by(files, now).is_some_and(|sent| now - sent > age.as_nanos() as u64)
    });
    let enough = keep.messages.is_none_or(|most| messages >= most);
    let enough_bytes = keep.bytes.is_none_or(|most| bytes >= most);
    old_enough && enough && enough_bytes
}

/// A time by which all of the first of these files was sent: that of its last message. If that is still to come the clock was set back; then the first one behind it
/// that has come: else it would be kept for as long as the clock was wrong.
fn sent_by(files: &[Arc<LogFile>], now: u64) -> Option<u64> {
    let times = files.iter().enumerate().flat_map(|(at, file)| {
        let made = (at > 0).then_some(file.made);
        [made, last_in(file, now)]
    });
    times.flatten().find(|time| *time <= now)
}

/// When the last message of a file was sent. `None`: that is not known, or still to come.
fn last_in(file: &LogFile, now: u64) -> Option<u64> {
    let mut spot = Spot::of(file.hints().tail.load(Acquire));
    let mut last = None;
    loop {
        if let Found::Message(whole, ..) = file.look(spot)
            && whole.about.time <= now
        {
            last = last.max(Some(whole.about.time));
        }
        match file.step(spot) {
            Some(next) => spot = next,
            None => return last,
        }
    }
}
