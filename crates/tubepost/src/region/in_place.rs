//! Regions of which there is one copy, and the calls that read either kind.

use super::{Reading, Region, RegionOptions};
use crate::error::Error;
use crate::holding::writing::Patience;
use crate::memory::data::Data;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

impl<D: Data + ?Sized> RegionOptions<D> {
    /// For data that is too large to be kept twice: there is one copy of it, which a writer edits where it lies,
    /// alone, while nobody reads. Who opens such a region need not say so.
    ///
    /// | | versions (the default) | in place |
    /// |---|---|---|
    /// | memory | 2 copies, and one for each older version that somebody reads | 1 copy; each reader has its own of what it reads |
    /// | a reader waits | never | for a writer that holds or waits, each for at most its lease; writers that never pause keep readers out |
    /// | [`read`](Region::read) | lends the data where it lies | copies all of it; [`read_at`](Region::read_at) copies a part |
    /// | a writer waits | for the writers before it | and for those who are reading, each for at most its lease |
    /// | a commit costs | as much as was changed, copied once | nothing for the data |
    /// | a [`Writing`](crate::Writing) that is dropped | changed nothing | has changed it, if it was lent to be edited: **poisoned** |
    /// | a writer that is killed, or late | changed nothing | may have changed half of it: **poisoned** |
    ///
    /// Both give readers whole versions only, and let nobody, alive, stopped or dead, hold up others for longer than
    /// the lease; but a region that is poisoned can neither be read nor written ([`Error::Poisoned`]) until somebody
    /// [`repair`](Region::repair)s it.
    ///
    /// A reader that may not write, and waits for a writer that is late, can't take the region from it: after the
    /// lease it is told [`Error::TimedOut`].
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-in-place-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use tubepost::{Error, Region};
    ///
    /// let map = Region::<[u8]>::options().domain(&domain).size(1 << 20).in_place().own("map")?;
    /// map.update(|map| map[7] = 1)?;
    ///
    /// let mut half_done = map.write()?;
    /// half_done[7] = 2;
    /// drop(half_done); // as if its process had been killed
    ///
    /// assert!(matches!(map.read(), Err(Error::Poisoned { .. })));
    /// map.repair(|map| map.fill(0))?;
    /// assert_eq!(map.read()?[7], 0);
    /// # drop(map);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), tubepost::Error>(())
    /// ```
    pub fn in_place(mut self) -> Self {
        self.in_place = true;
        self
    }
}

impl<D: Data + ?Sized> Region<D> {
    pub(super) fn read_within(
        &self,
        patience: Patience,
        lease: Option<Duration>,
    ) -> Result<Reading<'_, D>, Error> {
        Ok(Reading { shown: self.hold.show(patience, lease)?, _of: PhantomData })
    }

    /// As [`read`](Self::read), if nobody has to be waited for. (That is so always, but [in
    /// place](RegionOptions::in_place).)
    ///
    /// # Errors
    ///
    /// [`Error::WouldWait`]; else as for [`read`](Self::read).
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-try-read-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// let counter = tubepost::Region::<u64>::options().domain(&domain).in_place().own("counter")?;
    /// let writing = counter.write()?;
    /// assert!(matches!(counter.try_read(), Err(tubepost::Error::WouldWait)));
    /// drop(writing); // nothing was edited
    /// assert_eq!(*counter.try_read()?, 0);
    /// # drop(counter);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), tubepost::Error>(())
    /// ```
    pub fn try_read(&self) -> Result<Reading<'_, D>, Error> {
        self.read_within(Patience::None, None)
    }

    /// The same, waiting no longer than this.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`]; else as for [`read`](Self::read).
    pub fn read_timeout(&self, timeout: Duration) -> Result<Reading<'_, D>, Error> {
        let deadline = Instant::now().checked_add(timeout);
        self.read_within(deadline.map_or(Patience::Endless, Patience::Until), None)
    }

    /// The same, waiting no longer than until then.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`]; else as for [`read`](Self::read).
    pub fn read_deadline(&self, deadline: Instant) -> Result<Reading<'_, D>, Error> {
        self.read_within(Patience::Until(deadline), None)
    }

    /// As [`read`](Self::read), with a lease of one's own, not longer than [`lease_max`](RegionOptions::lease_max):
    /// what [`Reading::is_expired`] goes by; and in place how long a writer waits while this copies, before it is
    /// told that it took too long.
    ///
    /// # Errors
    ///
    /// [`Error::BadOption`] for a lease that is longer; in place [`Error::LeaseExpired`]; else as for
    /// [`read`](Self::read).
    pub fn read_for(&self, lease: Duration) -> Result<Reading<'_, D>, Error> {
        self.read_within(Patience::Endless, Some(lease))
    }

    /// Copies as many bytes as fit, from there on, all of one version, and gives its number.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    ///
    /// # Panics
    ///
    /// If there are no such bytes.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-read-at-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// let board = tubepost::Region::<[u8]>::options().domain(&domain).size(16).own("board")?;
    /// board.update(|board| board[..5].copy_from_slice(b"hello"))?;
    /// let mut some = [0; 3];
    /// assert_eq!(board.read_at(1, &mut some)?, 2);
    /// assert_eq!(&some, b"ell");
    /// # drop(board);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), tubepost::Error>(())
    /// ```
    pub fn read_at(&self, offset: usize, into: &mut [u8]) -> Result<u64, Error> {
        self.hold.copy_some(offset, into)
    }

    /// Whether there is one copy of the data, which is edited [in place](RegionOptions::in_place).
    pub fn is_in_place(&self) -> bool {
        self.hold.in_place
    }

    /// Makes what is poisoned sound again: lends the data as it was left, to be put right, commits it, and gives the
    /// number of the new version. Where it is sound, as a region that is not [in place](RegionOptions::in_place)
    /// always is, nothing is done, and its version's number is given.
    ///
    /// A writer that was late, and has not let go, could still write to the data. It has as long as the lease to do so;
    /// then the data is moved to a fresh file, which takes as much memory once more until everybody who has the old one
    /// has moved over, and what that writer writes nobody sees. (Only a process of the user whose region it is can move
    /// it: others wait until that writer has let go, or is dead.)
    ///
    /// # Errors
    ///
    /// [`Error::LeaseExpired`] if it took too long while another waited: it is poisoned still. [`Error::NoMemory`] if
    /// there is none to move it. Else as for [`write`](Self::write).
    pub fn repair(&self, repair: impl FnOnce(&mut D)) -> Result<u64, Error> {
        self.repair_within(Patience::Endless, repair)
    }

    /// The same, waiting no longer than this.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`]; else as for [`repair`](Self::repair).
    pub fn repair_timeout(&self, timeout: Duration, repair: impl FnOnce(&mut D)) -> Result<u64, Error> {
        let deadline = Instant::now().checked_add(timeout);
        self.repair_within(deadline.map_or(Patience::Endless, Patience::Until), repair)
    }

    fn repair_within(&self, patience: Patience, repair: impl FnOnce(&mut D)) -> Result<u64, Error> {
        match self.hold.edits_to_repair(patience)? {
            None => self.version(),
            Some(mut edits) => {
                repair(edits.view_mut());
                edits.commit()
            }
        }
    }
}
