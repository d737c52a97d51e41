//! What is read, and what is edited, as long as somebody has it.

use crate::error::Error;
use crate::holding::edits::Edits;
use crate::holding::shown::Shown;
use crate::memory::data::Data;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, RangeBounds};

/// One version of the data of a region, which stays as it is until this is dropped.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-reading-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// let region = tubepost::Region::<u64>::options().domain(&domain).own("counter")?;
/// let before = region.read()?;
/// region.set(&7)?;
/// assert_eq!((*before, before.version()), (0, 1));
/// assert_eq!(*region.read()?, 7);
/// # drop(before);
/// # drop(region);
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), tubepost::Error>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct Reading<'a, D: Data + ?Sized> {
    pub(super) shown: Shown<'a>,
    pub(super) _of: PhantomData<&'a D>,
}

impl<D: Data + ?Sized> Reading<'_, D> {
    /// Its number.
    pub fn version(&self) -> u64 {
        self.shown.version()
    }

    /// Whether it was known for longer than the lease, to a writer or to who asked here, that there is a newer version:
    /// it is time to read again. This one stays whole all the same. (Never of a copy that was read in place: it holds
    /// up nobody.)
    pub fn is_expired(&self) -> bool {
        self.shown.is_expired()
    }
}

impl<D: Data + ?Sized> Deref for Reading<'_, D> {
    type Target = D;

    #[inline(always)]
    fn deref(&self) -> &D {
        self.shown.view()
    }
}

/// The next version of the data of a region: nobody sees it before it is committed, and if it is dropped, nobody ever does. (In place it
/// is the data itself: see [`RegionOptions::in_place`](crate::RegionOptions::in_place).)
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-writing-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// let region = tubepost::Region::<[u8]>::options().domain(&domain).size(16).own("board")?;
/// let mut board = region.write()?;
/// board[..5].copy_from_slice(b"hello");
/// assert_eq!(region.read()?[0], 0);
/// assert_eq!(board.commit()?, 2);
/// assert_eq!(&region.read()?[..5], b"hello");
/// # drop(region);
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), tubepost::Error>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct Writing<'a, D: Data + ?Sized> {
    pub(super) edits: Edits<'a>,
    pub(super) _of: PhantomData<&'a mut D>,
}

impl<D: Data + ?Sized> Writing<'_, D> {
    /// The number of the version that is edited.
    pub fn version(&self) -> u64 {
        self.edits.base()
    }

    /// Whether the lease has run out, and another has become the writer: a commit will fail.
    pub fn is_expired(&self) -> bool {
        self.edits.is_expired()
    }

    /// Makes it the newest version, and gives its number.
    ///
    /// # Errors
    ///
    /// [`Error::LeaseExpired`] if it was held for too long while another waited; [`Error::Ended`] if the region was removed meanwhile, or its owner
    /// went: nothing was changed. [`Error::Forked`].
    #[inline]
    pub fn commit(self) -> Result<u64, Error> {
        self.edits.commit()
    }

    /// The same, if what was edited is this version.
    ///
    /// # Errors
    ///
    /// [`Error::Changed`] if it is another one; [`Error::LeaseExpired`].
    pub fn commit_if(self, version: u64) -> Result<u64, Error> {
        let found = self.version();
        if found != version {
            return Err(Error::Changed { name: self.edits.name(), expected: version, found });
        }
        self.commit()
    }

    /// Only these bytes, to be edited: what a commit costs follows from how many were lent so, and not from how many there are.
    ///
    /// # Panics
    ///
    /// If there are no such bytes.
    pub fn range_mut(&mut self, range: impl RangeBounds<usize>) -> &mut [u8] {
        self.edits.range_mut(range)
    }
}

impl<D: Data + ?Sized> Deref for Writing<'_, D> {
    type Target = D;

    #[inline(always)]
    fn deref(&self) -> &D {
        self.edits.view()
    }
}

impl<D: Data + ?Sized> DerefMut for Writing<'_, D> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut D {
        self.edits.view_mut()
    }
}
