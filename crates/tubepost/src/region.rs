//! Shared data: making a region, reading it, writing it.

mod guards;
mod in_place;
mod tasks;

use crate::domain::Domain;
use crate::domain::access::{PRIVATE, check_data_mode};
use crate::domain::entry::Plan;
use crate::domain::name::Name;
use crate::domain::segment::Id;
use crate::domain::stat::Stat;
use crate::error::Error;
use crate::format::Format;
use crate::holding::Hold;
use crate::holding::shown::Shown;
use crate::holding::writing::Patience;
use crate::mailbox::Common;
use crate::memory::data::Data;
use crate::queue::layout::{Geometry, Kind, MAX_FORMAT};
use crate::strategy::shared::attach::Wish;
use crate::versions::layout::Shape;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use guards::{Reading, Writing};
pub use tasks::RegionDoorbell;

/// How long a writer may hold a region while others wait, unless told otherwise.
const LEASE: Duration = Duration::from_secs(1);

/// Data that several processes read and write in shared memory.
///
/// Readers always have a whole version, the newest there was when they came, for as long as they like, and wait for nobody. One writer at a time
/// makes the next version, beside those that are being read; nobody sees it before it is committed. Writers take turns in the order in
/// which they came. One that holds the region for longer than its lease while another waits loses it: its commit fails, and nothing was
/// changed. A process that dies takes nothing along: the data is the last version that was committed.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-region-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// use tubepost::{Message, Region};
///
/// #[derive(Message, Clone, Copy, Debug, PartialEq)]
/// #[repr(C)]
/// struct Pose {
///     x: f64,
///     y: f64,
/// }
///
/// let pose = Region::<Pose>::options().domain(&domain).create("pose")?;
/// pose.set(&Pose { x: 1.0, y: 2.0 })?;
///
/// // In any other process of the same user:
/// let theirs = Region::<Pose>::options().domain(&domain).open("pose")?;
/// assert_eq!(theirs.read()?.x, 1.0);
/// theirs.update(|pose| pose.y += 1.0)?;
///
/// assert_eq!(pose.get()?, Pose { x: 1.0, y: 3.0 });
/// # drop((pose, theirs));
/// # domain.remove("pose")?;
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), tubepost::Error>(())
/// ```
#[derive(Debug)]
pub struct Region<D: Data + ?Sized> {
    hold: Arc<Hold>,
    _of: PhantomData<fn() -> Box<D>>,
}

impl<D: Data + ?Sized> Clone for Region<D> {
    fn clone(&self) -> Self {
        Region { hold: Arc::clone(&self.hold), _of: PhantomData }
    }
}

/// The choices to make before a region exists, or is opened.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-region-options-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// use std::time::Duration;
/// use tubepost::Region;
///
/// let map = Region::<[u8]>::options().domain(&domain).size(1 << 20).lease_max(Duration::from_millis(50)).own("map")?;
/// assert_eq!(map.len(), 1 << 20);
/// # drop(map);
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), tubepost::Error>(())
/// ```
#[must_use]
pub struct RegionOptions<D: Data + ?Sized> {
    common: Common,
    /// Of what is built on a region of bytes.
    format: Option<Format>,
    size: Option<u64>,
    lease: Duration,
    in_place: bool,
    mode: u32,
    group: Option<u32>,
    /// What the first version begins with, of what is built on a region of bytes.
    begins: Vec<u8>,
    _of: PhantomData<fn() -> Box<D>>,
}

impl<D: Data + ?Sized> std::fmt::Debug for RegionOptions<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegionOptions")
            .field("size", &self.size)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

impl<D: Data + ?Sized> RegionOptions<D> {
    /// Where the name lives; by default in [`Domain::open_default`].
    pub fn domain(mut self, domain: &Domain) -> Self {
        self.common.domain = Some(domain.clone());
        self
    }

    /// What this process is called in errors and listings, at most 64 bytes; by default as the program is.
    pub fn member(mut self, name: impl Into<String>) -> Self {
        self.common.member = Some(name.into());
        self
    }

    /// What the bytes mean, for regions of `[u8]`: all who open it must say the same.
    pub fn format(mut self, label: impl Into<String>) -> Self {
        self.common.label = Some(label.into());
        self
    }

    /// How many bytes of data there are, for a region of `[u8]`.
    pub fn size(mut self, bytes: u64) -> Self {
        self.size = Some(bytes);
        self
    }

    /// For how long a writer may hold it while others wait, at most: 1 second by default. It begins when one who waits first sees the hold; nobody is
    /// disturbed whom nobody waits for.
    pub fn lease_max(mut self, longest: Duration) -> Self {
        self.lease = longest;
        self
    }

    /// Who may read (r) and write (w), as permission bits for owner, group and others: 0600 by default.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// The group that the mode is about, by number.
    pub fn group(mut self, group: u32) -> Self {
        self.group = Some(group);
        self
    }

    /// How long a call that waits polls before it sleeps: 30 µs by default.
    pub fn spin(mut self, spin: Duration) -> Self {
        self.common.spin = spin;
        self
    }

    /// Makes a region that stays until it is removed ([`Domain::remove`]), all of zeros, in version 1.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`], [`Error::Owned`] if the name is taken; [`Error::BadName`], [`Error::BadOption`]; [`Error::NoMemory`] if its data does not
    /// fit; [`Error::Denied`].
    pub fn create(&self, name: &str) -> Result<Region<D>, Error> {
        self.make(name, false)
    }

    /// The same, for as long as this process has it.
    ///
    /// # Errors
    ///
    /// As for [`create`](Self::create).
    pub fn own(&self, name: &str) -> Result<Region<D>, Error> {
        self.make(name, true)
    }

    /// Opens one that exists, to read and to write.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchName`], [`Error::OwnerGone`]; [`Error::WrongKind`], [`Error::WrongFormat`] if it is something else; [`Error::Denied`] if it is not for
    /// us.
    pub fn open(&self, name: &str) -> Result<Region<D>, Error> {
        self.attach(name, true)
    }

    /// Opens one that exists, to read only.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub fn open_to_read(&self, name: &str) -> Result<Region<D>, Error> {
        self.attach(name, false)
    }

    /// What its bytes are, where that is no label.
    pub(crate) fn formatted(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// What its first version begins with.
    pub(crate) fn beginning_with(mut self, bytes: &[u8]) -> Self {
        self.begins = bytes.to_vec();
        self
    }

    fn format_of(&self) -> Result<Format, Error> {
        if let Some(format) = &self.format {
            return Ok(format.clone());
        }
        D::format(self.common.label.as_deref()).map_err(|allowed| Error::BadOption {
            what: "the format",
            given: format!("{:?}", self.common.label.as_deref().unwrap_or_default()),
            allowed,
        })
    }

    fn attach(&self, name: &str, writes: bool) -> Result<Region<D>, Error> {
        let (domain, name, format) = (self.common.domain()?, Name::new(name)?, self.format_of()?);
        let wish = Wish { kind: Kind::Region, ..self.common.wish(&domain, &name, &format)? };
        let hold = Hold::open(&wish, writes)?;
        if let Some((size, align)) = D::FIXED
            && (hold.length() != size || hold.alignment() < align)
        {
            let what = format!("it has {} bytes of data, where its format says {size}", hold.length());
            return Err(Error::Damaged { name: name.to_string(), what });
        }
        Ok(Region { hold: Arc::new(hold), _of: PhantomData })
    }

    fn make(&self, name: &str, owned: bool) -> Result<Region<D>, Error> {
        let impossible = |given: &str, allowed: &str| Error::BadOption {
            what: "the size of a region",
            given: given.into(),
            allowed: allowed.into(),
        };
        let (length, align) = match (D::FIXED, self.size) {
            (Some((size, align)), None) => (size as u64, align as u64),
            (None, Some(size)) => (size, 64),
            (Some(_), Some(given)) => {
                return Err(impossible(&given.to_string(), "what its type has; leave size out"));
            }
            (None, None) => return Err(impossible("left out", "chosen, by size, for a region of [u8]")),
        };
        check_data_mode(self.mode)?;
        let (domain, name, format) = (self.common.domain()?, Name::new(name)?, self.format_of()?);
        let text = format.encode();
        if text.len() as u64 > MAX_FORMAT {
            return Err(Error::BadOption {
                what: "the description of the data's type",
                given: format!("{} bytes long", text.len()),
                allowed: format!("at most {MAX_FORMAT} bytes; use arrays instead of many fields"),
            });
        }
        let geometry = Geometry::of_data(Kind::Region, format.is_variable(), owned, &text)?;
        let wish = Wish { kind: Kind::Region, ..self.common.wish(&domain, &name, &format)? };
        let plan = Plan {
            geometry,
            format: &text,
            mode: self.mode,
            group: self.group,
            member: wish.member,
            id: None,
        };
        let lease = u64::try_from(self.lease.as_nanos()).unwrap_or(u64::MAX);
        let hold = Hold::create(
            &wish,
            &plan,
            Shape { length, align, lease, in_place: self.in_place },
            &self.begins,
        )?;
        Ok(Region { hold: Arc::new(hold), _of: PhantomData })
    }
}

impl<D: Data + ?Sized> Region<D> {
    /// The choices to make; each has a default.
    ///
    /// ```
    /// let options = tubepost::Region::<u64>::options().mode(0o640);
    /// ```
    pub fn options() -> RegionOptions<D> {
        RegionOptions {
            common: Common::default(),
            format: None,
            size: None,
            lease: LEASE,
            in_place: false,
            begins: Vec::new(),
            mode: PRIVATE,
            group: None,
            _of: PhantomData,
        }
    }

    /// The newest version, to look at where it lies, for as long as one likes. Waits for nobody. (But see
    /// [`in_place`](RegionOptions::in_place).)
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] if it is over; [`Error::TooManyReaders`]; [`Error::Forked`]; in place [`Error::Poisoned`].
    #[inline(always)]
    pub fn read(&self) -> Result<Reading<'_, D>, Error> {
        match self.hold.lend_quickly() {
            Some(lent) => Ok(Reading { shown: Shown::Lent(lent), _of: PhantomData }),
            None => self.read_within(Patience::Endless, None),
        }
    }

    /// A copy of the newest version. For small data this is quicker than [`read`](Self::read).
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    #[inline(always)]
    pub fn get(&self) -> Result<D::Owned, Error> {
        self.hold.usable()?;
        let (hold, mut trouble) = (&*self.hold, None);
        let copy = D::owned(hold.length(), |to| trouble = hold.copy_newest(to).err());
        trouble.map_or(Ok(copy), Err)
    }

    /// Replaces all of the data, and gives the number of the new version.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write), and [`commit`](Writing::commit).
    pub fn set(&self, data: &D) -> Result<u64, Error> {
        self.hold.set(data.as_data())
    }

    /// Becomes the one writer, as soon as it is its turn, and lends the newest version to be edited.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] if it was opened to read only; [`Error::NoMemory`]; [`Error::TooManyVersions`] if readers keep so many versions that there
    /// is no place for another; [`Error::Ended`], [`Error::Forked`]; in place [`Error::Poisoned`].
    #[inline]
    pub fn write(&self) -> Result<Writing<'_, D>, Error> {
        if let Some(had) = self.hold.edits_quickly() {
            return Ok(Writing { edits: self.hold.edits_what_it_had(had), _of: PhantomData });
        }
        self.write_within(Patience::Endless, None)
    }

    /// The same, if nobody writes or waits to.
    ///
    /// # Errors
    ///
    /// [`Error::WouldWait`]; else as for [`write`](Self::write).
    #[inline]
    pub fn try_write(&self) -> Result<Writing<'_, D>, Error> {
        if let Some(had) = self.hold.edits_quickly() {
            return Ok(Writing { edits: self.hold.edits_what_it_had(had), _of: PhantomData });
        }
        self.write_within(Patience::None, None)
    }

    /// The same, waiting no longer than this.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`]; else as for [`write`](Self::write).
    pub fn write_timeout(&self, timeout: Duration) -> Result<Writing<'_, D>, Error> {
        let deadline = Instant::now().checked_add(timeout);
        self.write_within(deadline.map_or(Patience::Endless, Patience::Until), None)
    }

    /// The same, waiting no longer than until then.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`]; else as for [`write`](Self::write).
    pub fn write_deadline(&self, deadline: Instant) -> Result<Writing<'_, D>, Error> {
        self.write_within(Patience::Until(deadline), None)
    }

    /// As [`write`](Self::write), with a lease of one's own, not longer than [`lease_max`](RegionOptions::lease_max).
    ///
    /// # Errors
    ///
    /// [`Error::BadOption`] for a lease that is longer; else as for [`write`](Self::write).
    pub fn write_for(&self, lease: Duration) -> Result<Writing<'_, D>, Error> {
        self.write_within(Patience::Endless, Some(lease))
    }

    fn write_within(&self, patience: Patience, lease: Option<Duration>) -> Result<Writing<'_, D>, Error> {
        Ok(Writing { edits: self.hold.edits(patience, lease)?, _of: PhantomData })
    }

    /// Edits the newest version, commits it, and gives its number.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write), and [`commit`](Writing::commit).
    #[inline]
    pub fn update(&self, edit: impl FnOnce(&mut D)) -> Result<u64, Error> {
        let mut writing = self.write()?;
        edit(&mut writing);
        writing.commit()
    }

    /// The number of the newest version. The first one, of zeros, is 1.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    pub fn version(&self) -> Result<u64, Error> {
        self.hold.version()
    }

    /// Waits until there is a version after this one, and gives the newest one's number.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-change-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// let counter = tubepost::Region::<u64>::options().domain(&domain).own("counter")?;
    /// let seen = counter.version()?;
    /// counter.update(|counter| *counter += 1)?; // in any process
    /// assert_eq!(counter.wait_for_change(seen)?, seen + 1);
    /// # drop(counter);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), tubepost::Error>(())
    /// ```
    pub fn wait_for_change(&self, since: u64) -> Result<u64, Error> {
        self.hold.wait_for_change(since, None)
    }

    /// The same, for no longer than this.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`]; else as for [`read`](Self::read).
    pub fn wait_for_change_timeout(&self, since: u64, timeout: Duration) -> Result<u64, Error> {
        self.hold.wait_for_change(since, Instant::now().checked_add(timeout))
    }

    /// How many bytes of data there are.
    #[allow(clippy::len_without_is_empty, reason = "no region is empty")]
    pub fn len(&self) -> usize {
        self.hold.length()
    }

    pub(crate) fn name(&self) -> String {
        self.hold.at.segment.name.to_string()
    }

    /// The longest lease there is here.
    pub fn lease_max(&self) -> Duration {
        self.hold.longest_lease()
    }

    /// Everything there is to know about it now; see [`Stat::region`](crate::Stat::region).
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    pub fn stat(&self) -> Result<Stat, Error> {
        self.hold.stat()
    }

    /// The id of this region: never used again, even by another of the same name.
    pub fn id(&self) -> Id {
        self.hold.at.segment.id()
    }
}
