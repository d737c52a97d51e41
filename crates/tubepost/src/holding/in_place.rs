//! Editing and repairing data of which there is one copy. The protocol is in `versions::in_place`.
//!
//! Who has acquired waits for those who are reading, each for no longer than its lease, which begins when the writer
//! first sees it; then its own hold begins anew.

use super::Hold;
use super::edits::Edits;
use super::writing::{Editing, Patience};
use crate::error::Error;
use crate::sync::wait::{SLICE, poll};
use crate::versions::contents::Edited;
use crate::versions::in_place;
use crate::versions::words::{Buffer, Current, Row};
use crate::versions::writers;
use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

impl Hold {
    #[cold]
    pub(super) fn poisoned(&self) -> Error {
        Error::Poisoned { name: self.name() }
    }

    /// Becomes the one writer, whom no reader sees.
    #[cold]
    pub(super) fn edit_in_place(
        &self,
        seat: usize,
        patience: Patience,
        overwrite: bool,
    ) -> Result<Editing<'_>, Error> {
        loop {
            let mine = self.acquire(seat, patience)?;
            if mine.is_touched() {
                self.leave_poisoned(mine);
                return Err(self.poisoned());
            }
            if let Err(error) = self.wait_for_readers(mine, patience) {
                self.let_go_of(mine);
                return Err(error);
            }
            if let Some(mine) = in_place::touch(&self.both(), mine) {
                return Ok(self.editing(mine, overwrite));
            }
        }
    }

    fn editing(&self, mine: Current, all: bool) -> Editing<'_> {
        Editing { hold: self, mine, buffer: Buffer::of(0), edited: Edited::new(all) }
    }

    /// Lets go of what is not sound, and tells all who wait.
    fn leave_poisoned(&self, mine: Current) {
        writers::let_go(&self.both(), mine, mine.buffer());
        self.tell(true);
    }

    /// Waits until nobody reads. (Or until another holds, which the next step will see.)
    fn wait_for_readers(&self, mine: Current, patience: Patience) -> Result<(), Error> {
        let reading = in_place::who_reads(&self.both());
        if reading.is_empty() {
            return Ok(());
        }
        let (since, reading) = (Instant::now(), RefCell::new(reading));
        let look = |asks| self.look_at_readers(&mut reading.borrow_mut(), since, asks);
        let deadline = match patience {
            Patience::Endless => None,
            Patience::Until(deadline) => Some(deadline),
            Patience::None => return look(self.time_to_ask()).map_err(|_| Error::WouldWait),
        };
        if poll(self.at.spin(), deadline, || look(false).is_ok()) {
            return Ok(());
        }
        let longest = Cell::new(SLICE);
        let waited = self.at.segment.room().wait(
            deadline,
            || match look(true) {
                Ok(()) => Some(Ok(())),
                Err(_) if self.present() != mine => Some(Ok(())),
                Err(at_most) => {
                    longest.set(at_most);
                    None
                }
            },
            || {
                let patience = self.may_sleep().map_err(Err)?;
                let told = reading.borrow().iter().all(|(row, _)| self.watch(self.owner_of_row(*row)));
                Ok(if told { longest.get().min(patience) } else { Duration::ZERO })
            },
        );
        waited.unwrap_or(Err(Error::TimedOut))
    }

    fn owner_of_row(&self, row: usize) -> u64 {
        self.row_at(row).map_or(0, |row| row.owner.load(Acquire))
    }

    /// Keeps those who read still; who is late or dead is fenced. Some are left: for how long nothing but an event
    /// will change that.
    fn look_at_readers(
        &self,
        reading: &mut Vec<(usize, Row)>,
        since: Instant,
        asks: bool,
    ) -> Result<(), Duration> {
        let (words, elapsed) = (self.both(), since.elapsed());
        let mut least = SLICE;
        reading.retain(|reader| {
            if !in_place::still_reads(&words, *reader) {
                return false;
            }
            let left = self.lease_of_row(reader.0).saturating_sub(elapsed);
            let owner = self.owner_of_row(reader.0);
            let dead = || asks && owner != 0 && owner != self.tag && self.is_gone(owner);
            if left.is_zero() || dead() {
                in_place::fence_reader(&words, *reader);
                return false;
            }
            least = least.min(left);
            true
        });
        if reading.is_empty() { Ok(()) } else { Err(least) }
    }

    /// How long a reader may take: what it says, within what there is.
    fn lease_of_row(&self, row: usize) -> Duration {
        let longest = self.data.layout.shape.lease;
        let says = self.row_at(row).map_or(0, |row| row.lease.load(Acquire));
        Duration::from_nanos(if says == 0 { longest } else { says.min(longest) })
    }

    /// The version that counts.
    #[cold]
    pub(super) fn version_in_place(&self) -> Result<u64, Error> {
        loop {
            let seen = self.present();
            if seen.is_touched() && !seen.is_held() {
                return Err(self.poisoned());
            }
            let version = self.data.buffer_head(seen.side()).version.load(Acquire);
            // That head is written to only while the other one counts.
            if self.present().side() == seen.side() {
                return Ok(version);
            }
        }
    }

    /// Becomes the one who repairs it. Nothing: it is sound.
    #[cold]
    pub(crate) fn edits_to_repair(&self, patience: Patience) -> Result<Option<Edits<'_>>, Error> {
        self.usable()?;
        if !self.is_writable() {
            return Err(self.at.segment.denied("to write"));
        }
        let seat = self.take_seat()?;
        self.data.seat(seat).lease.store(self.lease(None)?, Release);
        match self.acquire_to_repair(seat, patience) {
            Ok(Some(mine)) => Ok(Some(self.lend_to_edit(self.editing(mine, true)))),
            other => {
                self.put_seat(seat);
                other.map(|_| None)
            }
        }
    }

    fn acquire_to_repair(&self, seat: usize, patience: Patience) -> Result<Option<Current>, Error> {
        if !self.in_place {
            return Ok(None);
        }
        loop {
            let mine = self.acquire(seat, patience)?;
            if !mine.is_touched() {
                self.let_go_of(mine);
                return Ok(None);
            }
            if in_place::who_edits(&self.both(), seat).next().is_some() && !planted!(RepairedBeside) {
                self.leave_poisoned(mine);
                self.wait_for_editors(seat, patience)?;
            } else if writers::take(&self.both(), mine, mine.buffer()) {
                return Ok(Some(mine));
            }
        }
    }

    /// Waits until nobody can write to the data any more: until all who were fenced have let go, or are dead.
    fn wait_for_editors(&self, seat: usize, patience: Patience) -> Result<(), Error> {
        let deadline = match patience {
            Patience::Endless => None,
            Patience::Until(deadline) => Some(deadline),
            Patience::None => return Err(Error::WouldWait),
        };
        let nobody = || {
            let words = self.both();
            let mut edit = in_place::who_edits(&words, seat);
            edit.all(|other| self.free_seat_of_the_dead(other))
        };
        let waited = self.at.segment.room().wait(
            deadline,
            || nobody().then_some(Ok(())),
            || {
                let patience = self.may_sleep().map_err(Err)?;
                let words = self.both();
                let mut edit = in_place::who_edits(&words, seat);
                let told = edit.all(|other| self.watch(self.data.seat(other).owner.load(Acquire)));
                Ok(if told { patience } else { Duration::ZERO })
            },
        );
        waited.unwrap_or(Err(Error::TimedOut))
    }
}

impl Editing<'_> {
    /// Makes it the version that counts, and gives its number; or itself, if it was fenced.
    #[cold]
    pub(super) fn commit_in_place(self) -> Result<u64, Self> {
        let hold = self.hold;
        let version = self.base().wrapping_add(1);
        hold.data.buffer_head(self.mine.other_side()).version.store(version, Release);
        if !in_place::commit(&hold.both(), self.mine) {
            return Err(self);
        }
        hold.tell(true);
        Ok(version)
    }

    /// Lets go: of what was lent to be edited, as it is; else of what is sound. It edits no more.
    pub(super) fn let_go_in_place(&self) {
        let words = self.hold.both();
        match self.edited.is_nothing() {
            true => in_place::put_back(&words, self.mine),
            false => _ = writers::let_go(&words, self.mine, self.mine.buffer()),
        }
        self.hold.tell(true);
    }
}
