//! Editing and repairing data of which there is one copy. The protocol is in `versions::in_place`.
//!
//! Who has acquired waits for those who are reading, each for no longer than its lease, which begins when a writer
//! first sees it; then its own hold begins anew.

use super::Hold;
use super::edits::Edits;
use super::writing::{Editing, Patience};
use crate::error::Error;
use crate::sync::wait::{SLICE, poll};
use crate::versions::contents::Edited;
use crate::versions::home::Home;
use crate::versions::in_place::{self, Place};
use crate::versions::words::{Buffer, Current, Row};
use crate::versions::writers;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

/// Who was reading when a writer came, does so still, and since when writers wait for that one.
pub(super) struct Readers {
    left: RefCell<Vec<((usize, Row), Instant)>>,
}

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
            let readers = self.who_is_to_finish(mine)?;
            if let Err(error) = self.wait_for_readers(mine, &readers, patience) {
                self.let_go_of(mine);
                return Err(error);
            }
            if let Some(editing) = self.begin_in_place(mine, overwrite)? {
                return Ok(editing);
            }
        }
    }

    /// Those who are reading what one holds now; it is let go if it is poisoned.
    pub(super) fn who_is_to_finish(&self, mine: Current) -> Result<Readers, Error> {
        if mine.is_touched() {
            self.leave_poisoned(mine);
            return Err(self.poisoned());
        }
        let left = in_place::who_reads(&self.both()).into_iter();
        let left = left.map(|reader| (reader, self.reader_since(reader))).collect();
        Ok(Readers { left: RefCell::new(left) })
    }

    /// What a hold is for, now that nobody reads. Nothing: it was fenced before.
    pub(super) fn begin_in_place(&self, mine: Current, all: bool) -> Result<Option<Editing<'_>>, Error> {
        // It does not move before it is touched.
        let home = self.home().inspect_err(|_| self.let_go_of(mine))?;
        let mine = in_place::touch(&self.both(), mine, home.number());
        Ok(mine.map(|mine| self.editing(mine, home, all)))
    }

    fn editing(&self, mine: Current, home: Arc<Home>, all: bool) -> Editing<'_> {
        Editing { hold: self, mine, buffer: Buffer::of(0), edited: Edited::new(all), home: Some(home) }
    }

    /// Lets go of what is not sound, and tells all who wait.
    pub(super) fn leave_poisoned(&self, mine: Current) {
        writers::let_go(&self.both(), mine, mine.buffer());
        self.tell(true);
    }

    /// Waits until nobody reads. (Or until another holds, which the next step will see.)
    fn wait_for_readers(&self, mine: Current, readers: &Readers, patience: Patience) -> Result<(), Error> {
        if readers.left.borrow().is_empty() {
            return Ok(());
        }
        let deadline = match patience {
            Patience::Endless => None,
            Patience::Until(deadline) => Some(deadline),
            Patience::None => {
                let finished = self.look_at_readers(readers, self.time_to_ask());
                return finished.map_err(|_| Error::WouldWait);
            }
        };
        if poll(self.at.spin(), deadline, || self.look_at_readers(readers, false).is_ok()) {
            return Ok(());
        }
        let longest = Cell::new(SLICE);
        let waited = self.at.segment.room().wait(
            deadline,
            || self.have_finished(mine, readers, &longest),
            || self.before_a_sleep_for(readers, &longest).map_err(Err),
        );
        waited.unwrap_or(Err(Error::TimedOut))
    }

    /// Whether nobody reads any more, or another holds; else it is noted for how long nothing but an event will change that.
    pub(super) fn have_finished(
        &self,
        mine: Current,
        readers: &Readers,
        longest: &Cell<Duration>,
    ) -> Option<Result<(), Error>> {
        match self.look_at_readers(readers, true) {
            Err(at_most) if self.present() == mine => {
                longest.set(at_most);
                None
            }
            _ => Some(Ok(())),
        }
    }

    /// Has this process told of who might die; for how long one may sleep.
    pub(super) fn before_a_sleep_for(
        &self,
        readers: &Readers,
        longest: &Cell<Duration>,
    ) -> Result<Duration, Error> {
        let patience = self.may_sleep()?;
        let told = readers.left.borrow().iter().all(|((row, _), _)| self.watch(self.owner_of_row(*row)));
        Ok(if told { longest.get().min(patience) } else { Duration::ZERO })
    }

    fn owner_of_row(&self, row: usize) -> u64 {
        self.row_at(row).map_or(0, |row| row.owner.load(Acquire))
    }

    /// Keeps those who read still; who is late or dead is fenced. Some are left: for how long nothing but an event
    /// will change that.
    fn look_at_readers(&self, readers: &Readers, asks: bool) -> Result<(), Duration> {
        let words = self.both();
        let (mut least, mut left) = (SLICE, readers.left.borrow_mut());
        left.retain(|(reader, since)| {
            if !in_place::still_reads(&words, *reader) {
                return false;
            }
            let left = self.lease_of_row(reader.0).saturating_sub(since.elapsed());
            let owner = self.owner_of_row(reader.0);
            let dead = || asks && owner != 0 && owner != self.tag && self.is_gone(owner);
            if left.is_zero() || dead() {
                in_place::fence_reader(&words, *reader);
                return false;
            }
            least = least.min(left);
            true
        });
        if left.is_empty() { Ok(()) } else { Err(least) }
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
            let version = self.home()?.version(seen.side()).load(Acquire);
            // That one is written to only while the other one counts.
            if self.present().side() == seen.side() {
                return Ok(version);
            }
        }
    }

    /// Becomes the one who repairs it. Nothing: it is sound.
    #[cold]
    pub(crate) fn edits_to_repair(&self, patience: Patience) -> Result<Option<Edits<'_>>, Error> {
        let seat = self.come(None)?;
        match self.acquire_to_repair(seat, patience) {
            Ok(Some((mine, home))) => Ok(Some(self.lend_to_edit(self.editing(mine, home, true)))),
            other => {
                self.put_seat(seat);
                other.map(|_| None)
            }
        }
    }

    fn acquire_to_repair(
        &self,
        seat: usize,
        patience: Patience,
    ) -> Result<Option<(Current, Arc<Home>)>, Error> {
        if !self.in_place {
            return Ok(None);
        }
        let mut since = None;
        loop {
            let mine = self.acquire(seat, patience)?;
            if !mine.is_touched() {
                self.let_go_of(mine);
                return Ok(None);
            }
            let place = self.announce();
            let words = self.both();
            let editors = in_place::who_edits(&words, seat, place.home());
            let latest = editors.map(|other| self.editor_since(other, place)).max();
            let latest = latest.filter(|_| !planted!(RepairedBeside));
            let until = latest.map(|latest| *since.get_or_insert(latest) + self.longest_lease());
            if let Some(until) = until
                && !(until <= Instant::now() && self.may_move())
            {
                self.leave_poisoned(mine);
                self.wait_for_editors((seat, place), patience, until)?;
                continue;
            }
            let begun =
                if until.is_some() { self.move_out(mine, place) } else { self.repair_there(mine, place) };
            if let Some(begun) = begun? {
                return Ok(Some(begun));
            }
        }
    }

    /// Waits until nobody can write to the data there any more: until all who were fenced have let go, or are dead; or
    /// until then, if it could be moved.
    fn wait_for_editors(
        &self,
        (seat, place): (usize, Place),
        patience: Patience,
        until: Instant,
    ) -> Result<(), Error> {
        let deadline = match patience {
            Patience::Endless => None,
            Patience::Until(deadline) => Some(deadline),
            Patience::None => return Err(Error::WouldWait),
        };
        let nobody = || {
            let words = self.both();
            let mut edit = in_place::who_edits(&words, seat, place.home());
            edit.all(|other| self.free_seat_of_the_dead(other))
        };
        let left = || match self.may_move() {
            true => until.saturating_duration_since(Instant::now()),
            false => SLICE,
        };
        let waited = self.at.segment.room().wait(
            deadline,
            || (nobody() || left().is_zero()).then_some(Ok(())),
            || {
                let patience = self.may_sleep().map_err(Err)?.min(left());
                let words = self.both();
                let mut edit = in_place::who_edits(&words, seat, place.home());
                let told = edit.all(|other| self.watch(self.data.seat(other).owner.load(Acquire)));
                Ok(if told { patience } else { Duration::ZERO })
            },
        );
        waited.unwrap_or(Err(Error::TimedOut))
    }
}

impl Editing<'_> {
    /// Makes it the version that counts, and gives its number; nothing, if it was fenced.
    #[cold]
    pub(super) fn commit_in_place(&self) -> Option<u64> {
        let hold = self.hold;
        let version = self.base().wrapping_add(1);
        if let Some(home) = &self.home {
            home.version(self.mine.other_side()).store(version, Release);
        }
        if !in_place::commit(&hold.both(), self.mine) {
            return None;
        }
        hold.tell(true);
        Some(version)
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
