//! Taking old files away: those whose messages were all received, that no named reader still has to read, and that are not to be kept for longer.
//!
//! Only whole files go, the oldest first, so a little more is kept than was asked for. Never does a message go that nobody received.
//!
//! **What if it dies here?** The file is there, or it is not; whoever comes next goes on.

use crate::domain::log::Log;
use crate::domain::segment::Segment;
use crate::journal::described::Keep;
use crate::journal::file::{LogFile, called};
use crate::journal::store::now;
use crate::journal::words::{Says, UNIT};
use std::sync::Arc;

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
    for file in old {
        let Some((behind, behind_bytes)) = finished(file) else { return };
        let read = places.iter().all(|(_, next)| *next >= behind);
        if !read || !may_go(&log.store.described.keep, file, end - behind, bytes - behind_bytes) {
            return;
        }
        if log.store.remove(&called(file.first)).is_err() {
            return;
        }
        log.forget_before(behind);
        segment.header().log.taken.fetch_max(behind, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Where a file ends of which everything was received: the number behind its last record, and bytes of the log up to there.
fn finished(file: &LogFile) -> Option<(u64, u64)> {
    let tail = file.tail();
    let ended = file.says(tail) == Says::End && file.done() >= tail.index;
    ended.then(|| (file.number(tail), file.begins + u64::from(tail.units) * UNIT))
}

/// Whether what is in a file need not be kept for its own sake, when so many messages and bytes are behind it.
fn may_go(keep: &Keep, file: &LogFile, messages: u64, bytes: u64) -> bool {
    let old_enough = keep.age.is_none_or(|age| now().saturating_sub(newest_in(file)) > age.as_nanos() as u64);
    let enough = keep.messages.is_none_or(|most| messages >= most);
    let enough_bytes = keep.bytes.is_none_or(|most| bytes >= most);
    old_enough && enough && enough_bytes
}

/// When the last message of a file was sent, nearly: when the file was made at least.
fn newest_in(file: &LogFile) -> u64 {
    use crate::journal::records::Found;
    use crate::journal::words::Spot;
    use std::sync::atomic::Ordering::Acquire;
    let mut spot = Spot::of(file.hints().tail.load(Acquire));
    let mut newest = file.made;
    loop {
        if let Found::Message(whole, ..) = file.look(spot) {
            newest = newest.max(whole.about.time);
        }
        match file.step(spot) {
            Some(next) => spot = next,
            None => return newest,
        }
    }
}
