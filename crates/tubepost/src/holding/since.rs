//! Since when somebody keeps others waiting: who holds, who reads in place, who is at the head of the queue, who goes on editing what it lost.
//!
//! The first one who is kept waiting notes it beside the seats ([`Note`]), and all go by that: ten who wait for a tenth of a lease each have waited for
//! a lease. What a handle once saw it remembers itself, whatever becomes of the note.
//!
//! Notes are in the data file: who may only read goes by them, and can't write any. Where the clock is of no use to others (`os::clock`) there
//! are none, and each goes by its own.

use super::Hold;
use crate::os::clock;
use crate::versions::in_place::Place;
use crate::versions::notes::Note;
use crate::versions::turns::RESPONSE;
use crate::versions::words::{Current, Row};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// In a note: that the owner of the seat is at the head, and nobody holds; which turn, since which hold. (A hold's number is below 2^49.)
const HEAD: u64 = 1 << 63;
/// … that it may edit what was taken from it; in which home.
const EDITOR: u64 = 1 << 62;

impl Hold {
    /// Since when that is waited for: as noted, or else from now on.
    fn since(&self, note: Note<'_>, of: u64) -> Instant {
        let age = clock::everywhere().map_or(0, |now| {
            let clock = || clock::everywhere().unwrap_or(now);
            match self.is_writable() {
                true => note.age_from_now_on(of, clock),
                false => note.age(of, clock).unwrap_or(0),
            }
        });
        let now = Instant::now(); // behind that: nobody has less time for how long we took
        now.checked_sub(Duration::from_nanos(age)).unwrap_or(now)
    }

    /// For how long it has been known of a hold that somebody waits, and how long its lease is.
    pub(super) fn kept_by(&self, held: Current) -> (Duration, Duration) {
        let words = self.data.seat(held.seat());
        let longest = self.longest_lease();
        // In place: who waits for readers fences them when theirs has run out.
        let waits = self.in_place && !held.is_touched();
        let lease = if waits { longest.saturating_add(RESPONSE) } else { words.lease_within(longest) };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match *seen {
            Some((hold, since)) if hold == held.hold() => since,
            _ => {
                let since = self.since(words.note(), held.hold());
                *seen = Some((held.hold(), since));
                since
            }
        };
        (since.elapsed(), lease)
    }

    /// Since when nobody has held what who is at the head, in this seat, waits for.
    pub(super) fn head_since(&self, head: usize, turn: u64, free: Current) -> Instant {
        let of = HEAD | (turn & 0x7FFF_FFFF) << 32 | free.hold() & 0xFFFF_FFFF;
        self.since(self.data.seat(head).note(), of)
    }

    /// Since when a writer waits for one that reads.
    pub(super) fn reader_since(&self, (row, says): (usize, Row)) -> Instant {
        self.since(self.data.note_of_reader(row), says.0)
    }

    /// Since when somebody who repairs waits for one who may edit there.
    pub(super) fn editor_since(&self, seat: usize, place: Place) -> Instant {
        self.since(self.data.seat(seat).note(), EDITOR | u64::from(place.home()))
    }
}
