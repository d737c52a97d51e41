//! Waiting for one's turn to write, and writing.
//!
//! Who finds nobody holding and nobody waiting acquires at once. Everybody else takes a number, and acquires when it is at the head of the queue and
//! nobody holds, or who holds is dead, or late. A head that does not respond is passed (`versions::turns`).
//!
//! A hold begins once its buffer was had: if bringing that up to date took a while the writer begins anew, so that all of its lease lies
//! ahead. One that was fenced before that comes again.

use super::Hold;
use crate::domain::{failed, no_memory};
use crate::error::Error;
use crate::os::{Errno, clock};
use crate::sync::wait::{SLICE, poll};
use crate::versions::contents::Edited;
use crate::versions::home::Home;
use crate::versions::layout::member_of;
use crate::versions::turns::{Before, RESPONSE};
use crate::versions::words::{BUFFERS, Buffer, Current, Editing as Says, Row};
use crate::versions::writers;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

/// Bringing so many bytes up to date takes a while.
const LONG: u64 = 64 << 10;
/// A buffer's memory is given back when it was not needed for so many versions.
const UNNEEDED: u64 = 8;

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    None,
    Until(Instant),
    Endless,
}

/// Who is at the head of the queue, by its turn, and since when nobody has held that it could wait for.
pub(super) type Unheld = Cell<Option<(u64, Instant)>>;

/// A hold, and the buffer that it may edit.
pub(crate) type Had = (Current, Buffer);

/// What is edited, and by whom.
#[derive(Debug)]
pub(crate) struct Editing<'a> {
    pub(super) hold: &'a Hold,
    pub(super) mine: Current,
    pub(super) buffer: Buffer,
    pub(crate) edited: Edited,
    /// In place: where the data is.
    pub(super) home: Option<Arc<Home>>,
}

impl Hold {
    /// Becomes the one writer, if nobody writes or waits to, and all that it needs is within reach.
    #[inline(always)]
    pub(super) fn edit_quickly(&self, overwrite: bool) -> Option<Had> {
        let seat = self.sole.hold_quickly().and_then(|_alone| self.seat.take())?;
        let mine = self.acquire_quickly(seat);
        let Some(mine) = mine else {
            self.put_seat(seat);
            return None;
        };
        match self.have_guessed(mine, overwrite) {
            Some(buffer) => Some((mine, buffer)),
            None => self.have_another(mine, overwrite),
        }
    }

    /// What is edited by who has that.
    #[inline(always)]
    pub(super) fn editing_of(&self, (mine, buffer): Had, overwrite: bool) -> Editing<'_> {
        Editing { hold: self, mine, buffer, edited: Edited::new(overwrite), home: None }
    }

    /// As it holds already. Nothing: then it does not any more, and whoever asks again is told why.
    #[inline(never)]
    fn have_another(&self, mine: Current, overwrite: bool) -> Option<Had> {
        let had = self.have_buffer(mine, overwrite).ok().flatten();
        if had.is_none() {
            self.put_seat(mine.seat());
        }
        had
    }

    #[inline(always)]
    fn acquire_quickly(&self, seat: usize) -> Option<Current> {
        let (words, seen) = (self.both(), self.present());
        let own = self.data.seat(seat).lease.load(Relaxed) == self.data.layout.shape.lease;
        if !own || seen.is_held() || self.data.anybody_waits() {
            return None;
        }
        writers::guess(&words, seat, seen, Buffer::of(self.guess.load(Relaxed)));
        let mine = writers::acquire(&words, seen, seat);
        if mine.is_none() {
            writers::leave(&words, seat);
        }
        mine
    }

    /// The buffer that was guessed, up to date, if nobody uses it, and it has memory, and that takes no while.
    #[inline(always)]
    fn have_guessed(&self, mine: Current, overwrite: bool) -> Option<Buffer> {
        let words = self.both();
        let used = writers::used(&words, mine);
        let buffer = writers::guessed(&words, mine).filter(|guess| used & guess.bit() == 0)?;
        let quick = used == mine.buffer().bit() && self.data.layout.is_quick();
        if !quick || !self.data.is_backed(buffer) {
            return None;
        }
        match overwrite {
            true => self.data.overwrite(buffer),
            false => self.data.copy_all(buffer, mine.buffer()),
        }
        Some(buffer)
    }

    /// Becomes the one writer. Of what is there to be edited it has a copy; or, if all of it is to be overwritten, anything.
    pub(crate) fn edit(
        &self,
        patience: Patience,
        lease: Option<Duration>,
        overwrite: bool,
    ) -> Result<Editing<'_>, Error> {
        let seat = self.come(lease)?;
        if self.in_place {
            let edited = self.edit_in_place(seat, patience, overwrite);
            return edited.inspect_err(|_| self.put_seat(seat));
        }
        loop {
            let had = self.acquire(seat, patience).and_then(|mine| self.have_buffer(mine, overwrite));
            match had {
                Ok(Some(had)) => return Ok(self.editing_of(had, overwrite)),
                Ok(None) => {} // fenced before it had anything
                Err(error) => {
                    self.put_seat(seat);
                    return Err(error);
                }
            }
        }
    }

    /// A seat for one who comes to write, and holds for so long at most.
    pub(super) fn come(&self, lease: Option<Duration>) -> Result<usize, Error> {
        self.usable()?;
        if !self.is_writable() {
            return Err(self.at.segment.denied("to write"));
        }
        let lease = self.lease(lease)?;
        let seat = self.take_seat()?;
        let words = self.data.seat(seat);
        if words.lease.load(Relaxed) != lease {
            words.lease.store(lease, Release);
        }
        Ok(seat)
    }

    /// What a hold is for: its buffer, up to date. Nothing: it was fenced before.
    pub(super) fn begin(&self, mine: Current) -> Result<Option<Editing<'_>>, Error> {
        let had = self.have_buffer(mine, false)?;
        Ok(had.map(|had| self.editing_of(had, false)))
    }

    /// A lease in nanoseconds: this one, or the longest there is.
    pub(super) fn lease(&self, chosen: Option<Duration>) -> Result<u64, Error> {
        let longest = self.data.layout.shape.lease;
        match chosen {
            None => Ok(longest),
            Some(lease) if lease.is_zero() || lease.as_nanos() > longest.into() => Err(Error::BadOption {
                what: "the lease",
                given: format!("{lease:?}"),
                allowed: format!("at most {:?}, the longest of this region", self.longest_lease()),
            }),
            Some(lease) => Ok(lease.as_nanos() as u64),
        }
    }

    pub(crate) fn longest_lease(&self) -> Duration {
        Duration::from_nanos(self.data.layout.shape.lease)
    }

    #[inline]
    pub(super) fn acquire(&self, seat: usize, patience: Patience) -> Result<Current, Error> {
        let (words, seen) = (self.both(), self.present());
        if !seen.is_held() && !self.data.anybody_waits() {
            if !self.in_place {
                writers::guess(&words, seat, seen, Buffer::of(self.guess.load(Relaxed)));
            }
            if let Some(mine) = writers::acquire(&words, seen, seat) {
                return Ok(mine);
            }
            writers::leave(&words, seat);
        }
        self.acquire_in_turn(seat, patience)
    }

    #[cold]
    fn acquire_in_turn(&self, seat: usize, patience: Patience) -> Result<Current, Error> {
        let deadline = match patience {
            Patience::Endless => None,
            Patience::Until(deadline) => Some(deadline),
            Patience::None => {
                // As one who has just come, and does not stay; but who looks again when a dead one was swept.
                let unheld = Cell::new(None);
                let tries = [self.time_to_ask(), false].into_iter();
                let mut tried = tries.map(|asks| self.look(seat, &unheld, asks));
                let stays = |tried: &Result<Current, Duration>| *tried != Err(Duration::ZERO);
                return tried.find(stays).and_then(Result::ok).ok_or(Error::WouldWait);
            }
        };
        self.data.queue_up(seat);
        let unheld = Cell::new(None);
        let acquired = self.wait_for_turn(seat, deadline, &unheld);
        self.data.leave_queue(seat);
        if acquired.is_err() {
            self.tell(false); // the next one may be at the head
        }
        acquired
    }

    fn wait_for_turn(
        &self,
        seat: usize,
        deadline: Option<Instant>,
        unheld: &Unheld,
    ) -> Result<Current, Error> {
        let polled = Cell::new(None);
        poll(self.at.spin(), deadline, || {
            polled.set(self.look(seat, unheld, false).ok());
            polled.get().is_some()
        });
        if let Some(mine) = polled.get() {
            return Ok(mine);
        }
        let longest = Cell::new(SLICE);
        let waited = self.at.segment.room().wait(
            deadline,
            || self.try_in_turn(seat, unheld, &longest),
            || self.before_a_sleep(seat, &longest).map_err(Err),
        );
        waited.unwrap_or(Err(Error::TimedOut))
    }

    /// Acquires if it is our turn; else it is noted for how long nothing but an event will change that.
    pub(super) fn try_in_turn(
        &self,
        seat: usize,
        unheld: &Unheld,
        longest: &Cell<Duration>,
    ) -> Option<Result<Current, Error>> {
        self.look(seat, unheld, true).map(Ok).map_err(|at_most| longest.set(at_most)).ok()
    }

    /// Has this process told of who might die; for how long one may sleep.
    pub(super) fn before_a_sleep(&self, seat: usize, longest: &Cell<Duration>) -> Result<Duration, Error> {
        let patience = self.may_sleep()?;
        let told = self.watch_who_is_before(self.data.before(seat, self.present()));
        Ok(if told { longest.get().min(patience) } else { Duration::ZERO })
    }

    /// Has this process told of the deaths of who holds, and of who is at the head. `false`: one of them is dead already.
    pub(super) fn watch_who_is_before(&self, before: Before) -> bool {
        let seen = self.present();
        let holder = seen.is_held().then(|| seen.seat());
        let seats = holder.into_iter().chain(before.head);
        seats.map(|seat| self.data.seat(seat).owner.load(Acquire)).all(|owner| self.watch(owner))
    }

    /// Has this process told of the death of who is named so. `false`: it is dead already.
    pub(super) fn watch(&self, owner: u64) -> bool {
        owner == 0 || owner == self.tag || self.at.watch(member_of(owner)) || !self.is_gone(owner)
    }

    /// Whether the clock has ticked since anybody here asked the kernel who lives.
    pub(super) fn time_to_ask(&self) -> bool {
        let now = clock::coarse();
        self.asked.swap(now, Relaxed) != now
    }

    /// Acquires if it is our turn; else says for how long nothing but an event will change that. `asks`: also the kernel, who lives.
    fn look(&self, seat: usize, unheld: &Unheld, asks: bool) -> Result<Current, Duration> {
        self.data.come_back(seat);
        let seen = self.present();
        let before = self.data.before(seat, seen);
        if seen.is_held() {
            unheld.set(None);
            let (elapsed, lease) = self.kept_by(seen);
            // So long the head may take to respond, and all who come before us.
            let left = (lease + RESPONSE * before.number).saturating_sub(elapsed);
            if left.is_zero() || asks && before.number == 0 && self.holder_is_gone(seen) {
                self.pass_for_good(before, seen);
                return writers::acquire(&self.both(), seen, seat).ok_or(Duration::ZERO);
            }
            return Err(if asks && self.sweep_head(before) { Duration::ZERO } else { left.min(SLICE) });
        }
        if before.number > 0 {
            self.pass(before, seen, unheld, asks)?;
        }
        writers::acquire(&self.both(), seen, seat).ok_or(Duration::ZERO)
    }

    /// Whether who holds is dead or gone.
    pub(super) fn holder_is_gone(&self, held: Current) -> bool {
        let holder = self.data.seat(held.seat()).owner.load(Acquire);
        holder != 0 && holder != self.tag && self.is_gone(holder)
    }

    /// Takes the seat of who is at the head, and dead. Who may only read can't.
    fn sweep_head(&self, before: Before) -> bool {
        self.is_writable() && before.head.is_some_and(|head| self.free_seat_of_the_dead(head))
    }

    /// While nobody holds: passes those who wait, if they don't respond; else says for how long nothing but an event
    /// will change that.
    pub(super) fn pass(
        &self,
        before: Before,
        seen: Current,
        unheld: &Unheld,
        asks: bool,
    ) -> Result<(), Duration> {
        if asks && self.sweep_head(before) {
            return Err(Duration::ZERO);
        }
        let gone = |head| self.is_gone(self.data.seat(head).owner.load(Acquire));
        if asks && !self.is_writable() && before.number == 1 && before.head.is_some_and(gone) {
            return Ok(());
        }
        let Some(head) = before.head else { return Ok(()) };
        let turn = self.data.seat(head).turn.load(Acquire);
        let since = match unheld.get() {
            Some((same, since)) if same == turn => since,
            _ => {
                let since = self.head_since(head, turn, seen);
                unheld.set(Some((turn, since)));
                since
            }
        };
        let left = (RESPONSE * before.number).saturating_sub(since.elapsed());
        if !left.is_zero() {
            return Err(left);
        }
        self.pass_for_good(before, seen);
        Ok(())
    }

    /// Those who come before and do not respond are waited for no longer, here nor by others.
    fn pass_for_good(&self, before: Before, seen: Current) {
        match before.number {
            0 => {}
            _ if self.is_writable() => self.data.pass_all_up_to(before.last, seen),
            _ => _ = self.passed.fetch_max(before.last, Relaxed),
        }
    }

    /// All who wait, but those who were passed here.
    pub(super) fn all_who_wait(&self, seen: Current) -> Before {
        self.data.all_who_wait(self.passed.load(Relaxed), seen)
    }

    /// Chooses a buffer and brings it up to date. Nothing: fenced.
    #[inline]
    fn have_buffer(&self, mine: Current, overwrite: bool) -> Result<Option<Had>, Error> {
        let words = self.both();
        let mut used = writers::used(&words, mine);
        let mut guessed = writers::guessed(&words, mine).filter(|guess| used & guess.bit() == 0);
        if used != mine.buffer().bit() {
            // What the dead keep is not kept any longer than it takes to see that.
            let stays = self.notice(mine) | self.others_edit(mine);
            if (stays && self.time_to_ask() || used == u64::MAX) && self.sweep() {
                used = writers::used(&words, mine);
            }
        }
        if used == u64::MAX {
            writers::leave(&words, mine.seat());
            let holders = self.holders(mine);
            self.let_go_of(mine);
            let holders = holders.into_iter().map(|(owner, _)| self.peer(owner)).collect();
            return Err(Error::TooManyVersions { name: self.name(), max: BUFFERS as u32, holders });
        }
        if self.data.layout.is_paged() {
            let version = self.data.buffer_head(mine.buffer()).version.load(Acquire);
            if version.is_multiple_of(UNNEEDED) {
                self.give_back(mine, used, version);
                guessed = None; // that word was needed
            }
        }
        let buffer = match guessed {
            Some(guess) => guess,
            None => {
                let buffer = Buffer::of(u64::from((!used).trailing_zeros()));
                if !writers::take(&words, mine, buffer) {
                    return Ok(None);
                }
                buffer
            }
        };
        let slow = !self.data.is_backed(buffer);
        if let Err(errno) = self.data.take_memory(buffer) {
            writers::leave(&words, mine.seat());
            self.let_go_of(mine);
            return Err(self.without_memory(errno));
        }
        let copied = match overwrite {
            true => {
                self.data.overwrite(buffer);
                0
            }
            false => self.data.bring_up_to_date(buffer, mine.buffer()),
        };
        if !slow && copied < LONG {
            return Ok(Some((mine, buffer)));
        }
        let anew = writers::begin_anew(&words, mine);
        if anew.is_none() {
            writers::leave(&words, mine.seat());
        }
        Ok(anew.map(|mine| (mine, buffer)))
    }

    #[cold]
    fn without_memory(&self, errno: Errno) -> Error {
        let path = self.at.segment.path();
        match errno {
            Errno::NOSPC | Errno::NOMEM | Errno::DQUOT => {
                no_memory(self.data.layout.room, self.at.segment.domain.path(), errno)
            }
            _ => failed("to write", &path, errno),
        }
    }

    #[cold]
    pub(super) fn let_go_of(&self, mine: Current) {
        writers::let_go(&self.both(), mine, mine.buffer());
        self.tell(false);
    }

    /// Notes which readers have what is not the newest version any more. Whether one of them had been noted before.
    #[cold]
    fn notice(&self, mine: Current) -> bool {
        let mut stays = false;
        for row in 0..self.readers.number() {
            let Ok(row) = self.readers.get(row) else { continue };
            let says = row.word.load(Acquire);
            let old = Row(says).buffer().is_some_and(|buffer| buffer != mine.buffer());
            if old && row.noticed.load(Relaxed) == says {
                stays = true;
            } else if old {
                row.since.store(clock::coarse_everywhere(), Relaxed);
                row.noticed.store(says, Release);
            }
        }
        stays
    }

    /// Whether anybody else says that he edits: who was fenced, or is dead.
    fn others_edit(&self, mine: Current) -> bool {
        let others = (0..self.data.seats()).filter(|seat| *seat != mine.seat());
        others.map(|seat| self.data.seat(seat).editing.load(Acquire)).any(|says| says != Says::NOTHING.0)
    }

    /// Gives back memory that was not needed for some versions. The caller holds, and edits nothing so far.
    #[cold]
    fn give_back(&self, mine: Current, used: u64, version: u64) {
        for number in (0..BUFFERS as u64).map(Buffer::of).filter(|number| used & number.bit() == 0) {
            let head = self.data.buffer_head(number);
            let needed = version.wrapping_sub(head.version.load(Acquire)) < UNNEEDED;
            if head.backed.load(Acquire) == 0 || needed {
                continue;
            }
            if !writers::take(&self.both(), mine, number) {
                return;
            }
            self.data.lose_memory(number);
        }
    }
}

impl Editing<'_> {
    /// Where its bytes are, as many as the region has: this one's alone until it is dropped.
    #[inline(always)]
    pub(crate) fn data(&self) -> *mut u8 {
        match &self.home {
            None => self.hold.data.data(self.buffer),
            Some(home) => home.data(),
        }
    }

    /// The version that it is based on.
    #[inline]
    pub(crate) fn base(&self) -> u64 {
        match &self.home {
            None => self.hold.data.buffer_head(self.mine.buffer()).version.load(Acquire),
            Some(home) => home.version(self.mine.side()).load(Acquire),
        }
    }

    /// What its holder is told of that.
    #[cold]
    pub(crate) fn has_expired(&self) -> Error {
        let lease = self.hold.data.seat(self.mine.seat()).lease.load(Relaxed);
        Error::LeaseExpired { name: self.hold.name(), lease: Duration::from_nanos(lease) }
    }

    /// Whether it was fenced, and can't be committed any more.
    #[inline]
    pub(crate) fn is_expired(&self) -> bool {
        self.hold.present() != self.mine
    }

    /// Lets go without a commit.
    #[cold]
    fn undo(&self) {
        match self.hold.in_place {
            true => self.let_go_in_place(),
            false => self.hold.let_go_of(self.mine),
        }
    }

    /// Makes it the newest version, and gives that one's number; nothing, if it was fenced. It is dropped next.
    #[inline(always)]
    pub(crate) fn commit(&self) -> Option<u64> {
        let hold = self.hold;
        if hold.in_place {
            return self.commit_in_place();
        }
        let version = hold.data.describe(self.buffer, self.mine.buffer(), &self.edited);
        planted!(WholeTooSoon => hold.data.is_whole(self.buffer, version));
        let committed = writers::let_go(&hold.both(), self.mine, self.buffer);
        if !committed {
            return None;
        }
        hold.data.is_whole(self.buffer, version);
        hold.guess.store(self.mine.buffer().index() as u64, Relaxed);
        hold.tell(true);
        Some(version)
    }
}

impl Drop for Editing<'_> {
    /// Lets go; what was not committed never was, but in place.
    #[inline(always)]
    fn drop(&mut self) {
        let hold = self.hold;
        if !hold.at.segment.is_ours() {
            return;
        }
        writers::leave(&hold.both(), self.mine.seat());
        let present = hold.present();
        if present == self.mine || hold.in_place {
            self.undo();
        }
        hold.put_seat(self.mine.seat());
    }
}
