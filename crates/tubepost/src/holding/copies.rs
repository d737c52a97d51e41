//! Reading data of which there is one copy: a copy of one's own, of which nobody wrote to anything meanwhile. The
//! protocol is in `versions::in_place`.
//!
//! Who finds somebody holding, or waiting to, waits; and lets go in the place of a holder that is dead or late, if it
//! may write. Where it may only read it can't: then it says that this takes too long.

use super::Hold;
use super::writing::{Patience, Unheld};
use crate::error::Error;
use crate::memory::copy;
use crate::queue::layout::Reader;
use crate::sync::wait::{SLICE, poll};
use crate::versions::home::Home;
use crate::versions::in_place;
use crate::versions::turns::RESPONSE;
use crate::versions::words::{Current, Row};
use crate::versions::writers;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::fence;
use std::time::Duration;

/// So many bytes are copied on the chance that nobody comes meanwhile.
const SHORT: usize = 4096;

/// Why one does not read now.
enum Kept {
    /// For so long nothing but an event will change that.
    For(Duration),
    Refused(Error),
}

/// Copies some bytes, and gives the number of what was seen.
fn copy_some(home: &Home, seen: Current, from: usize, to: &mut [MaybeUninit<u8>]) -> u64 {
    let length = home.length();
    assert!(from <= length && to.len() <= length - from);
    let version = home.version(seen.side()).load(Acquire);
    // SAFETY: within the data, as just asserted.
    unsafe { copy::read(home.data().add(from), to) };
    version
}

impl Hold {
    /// Copies some bytes of one version, and gives its number. All of them are written to, but in an error.
    #[cold]
    pub(super) fn copy_in_place(
        &self,
        from: usize,
        to: &mut [MaybeUninit<u8>],
        patience: Patience,
        lease: Option<Duration>,
    ) -> Result<u64, Error> {
        self.usable()?;
        let (own, may) = (lease.is_some(), self.lease(lease)?);
        if to.len() <= SHORT
            && let Some(version) = self.copy_if_sound(from, to)
        {
            return Ok(version);
        }
        let row = self.take_row()?;
        let copied = self.row(row).and_then(|reader| {
            reader.lease.store(may, Release);
            loop {
                if let Some(version) = self.copy_by(reader, from, to, patience)? {
                    return Ok(version);
                }
                if own {
                    return Err(Error::LeaseExpired { name: self.name(), lease: Duration::from_nanos(may) });
                }
            }
        });
        self.put_row(row);
        copied
    }

    /// The same for all of them, which are zeros in an error.
    #[cold]
    pub(super) fn copy_in_place_or_zeros(&self, to: &mut [MaybeUninit<u8>]) -> Result<(), Error> {
        let copied = self.copy_in_place(0, to, Patience::Endless, None);
        if copied.is_err() {
            to.fill(MaybeUninit::new(0));
        }
        copied.map(|_| ())
    }

    /// Copies what is sound, if nobody comes meanwhile.
    fn copy_if_sound(&self, from: usize, to: &mut [MaybeUninit<u8>]) -> Option<u64> {
        let seen = self.present();
        if seen.is_held() || seen.is_touched() {
            return None;
        }
        let version = self.at_home(|home| copy_some(home, seen, from, to))?;
        fence(Acquire);
        // Nobody has acquired since, so nobody wrote there, nor did it move (`versions::in_place`, 1, 5).
        (self.present() == seen).then_some(version)
    }

    /// Copies it while writers wait. Nothing: one of them did not.
    fn copy_by(
        &self,
        reader: &Reader,
        from: usize,
        to: &mut [MaybeUninit<u8>],
        patience: Patience,
    ) -> Result<Option<u64>, Error> {
        let reading = Row::reading(self.readings.fetch_add(1, Relaxed));
        let seen = self.enter(reader, reading, patience)?;
        // Behind that: it stays there while nobody fences us.
        let copied = self.home().map(|home| copy_some(&home, seen, from, to));
        let good = in_place::leave(&reader.word, reading);
        self.tell(false);
        if good { copied.map(Some) } else { Ok(None) }
    }

    /// Says that it reads, as soon as it may.
    fn enter(&self, reader: &Reader, reading: Row, patience: Patience) -> Result<Current, Error> {
        let unheld = Cell::new(None);
        let look = |asks| self.look_to_read(reader, reading, &unheld, asks);
        let deadline = match patience {
            Patience::Endless => None,
            Patience::Until(deadline) => Some(deadline),
            Patience::None => {
                return look(self.time_to_ask()).map_err(|kept| match kept {
                    Kept::For(_) => Error::WouldWait,
                    Kept::Refused(error) => error,
                });
            }
        };
        let polled = Cell::new(None);
        let decided = |asks| match look(asks) {
            Ok(seen) => Ok(Ok(seen)),
            Err(Kept::Refused(error)) => Ok(Err(error)),
            Err(Kept::For(at_most)) => Err(at_most),
        };
        poll(self.at.spin(), deadline, || {
            let done = decided(false).ok();
            let is = done.is_some();
            polled.set(done);
            is
        });
        if let Some(done) = polled.take() {
            return done;
        }
        let longest = Cell::new(SLICE);
        let waited = self.at.segment.room().wait(
            deadline,
            || decided(true).map_err(|at_most| longest.set(at_most)).ok(),
            || {
                let patience = self.may_sleep().map_err(Err)?;
                let told = self.watch_who_is_before(self.all_who_wait(self.present()));
                Ok(if told { longest.get().min(patience) } else { Duration::ZERO })
            },
        );
        waited.unwrap_or(Err(Error::TimedOut))
    }

    /// Has this process told of who might die; for how long one may sleep who looks anew each time.
    pub(super) fn before_a_sleep_to_read(&self) -> Result<Duration, Error> {
        let (patience, seen) = (self.may_sleep()?, self.present());
        let left = match seen.is_held() {
            true => {
                let (elapsed, lease) = self.kept_by(seen);
                lease.saturating_sub(elapsed)
            }
            false => RESPONSE,
        };
        let told = self.watch_who_is_before(self.all_who_wait(seen));
        Ok(if told { left.min(SLICE).min(patience) } else { Duration::ZERO })
    }

    /// Begins to read, if nobody holds, and nobody waits to write.
    fn look_to_read(
        &self,
        reader: &Reader,
        reading: Row,
        unheld: &Unheld,
        asks: bool,
    ) -> Result<Current, Kept> {
        let seen = self.present();
        if seen.is_held() {
            unheld.set(None);
            return self.look_at_holder(seen, reader, reading, asks);
        }
        if seen.is_touched() {
            return Err(Kept::Refused(self.poisoned()));
        }
        let waiting = self.all_who_wait(seen);
        if waiting.number > 0 {
            self.pass(waiting, seen, unheld, asks).map_err(Kept::For)?;
        }
        self.try_to_enter(reader, reading)
    }

    fn try_to_enter(&self, reader: &Reader, reading: Row) -> Result<Current, Kept> {
        in_place::enter(self.current(), &reader.word, reading).ok_or_else(|| {
            self.tell(false); // a writer may have seen the row
            Kept::For(Duration::ZERO)
        })
    }

    /// While somebody holds: waits, but for who is late or dead.
    fn look_at_holder(
        &self,
        seen: Current,
        reader: &Reader,
        reading: Row,
        asks: bool,
    ) -> Result<Current, Kept> {
        let (elapsed, lease) = self.kept_by(seen);
        let (late, dead) = (elapsed >= lease, asks && self.holder_is_gone(seen));
        if !late && !dead {
            return Err(Kept::For((lease - elapsed).min(SLICE)));
        }
        if self.is_writable() {
            writers::let_go(&self.both(), seen, seen.buffer());
            self.tell(true);
            return match seen.is_touched() {
                true => Err(Kept::For(Duration::ZERO)),
                false => self.try_to_enter(reader, reading),
            };
        }
        if !dead {
            return Err(Kept::Refused(Error::TimedOut));
        }
        if seen.is_touched() {
            return Err(Kept::Refused(self.poisoned()));
        }
        match in_place::enter_behind(self.current(), &reader.word, reading, seen) {
            true => Ok(seen),
            false => Err(Kept::For(Duration::ZERO)),
        }
    }
}
