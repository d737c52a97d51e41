//! Shared memory with a name, for protocols of one's own. (What has a name in a domain, mailboxes too, is a segment in `domain::segment`;
//! this is the one that has nothing else.)

use crate::domain::Domain;
use crate::domain::access::{PRIVATE, check_data_mode};
use crate::domain::entry::Plan;
use crate::domain::name::Name;
use crate::domain::segment::Id;
use crate::domain::stat::{self, Owner, Stat};
use crate::error::Error;
use crate::format::Format;
use crate::holding::bare::Bare;
use crate::mailbox::Common;
use crate::queue::layout::{Geometry, Kind};
use crate::strategy::shared::attach::Wish;
use std::sync::Arc;

/// Named shared memory with permissions, a size, an owner and liveness, and nothing else: for those who bring their own protocol.
///
/// Nothing here says who may touch which byte when: whoever reads or writes through [`as_ptr`](Self::as_ptr) does so in `unsafe` code, with rules that all
/// who open it keep, atomics as a rule. A [`Region`](crate::Region) has such rules, and a [`Mailbox`](crate::Mailbox) others.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-segment-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
/// use tubepost::Segment;
///
/// fn counter(memory: &Segment) -> &AtomicU64 {
///     assert!(memory.is_writable() && memory.len() >= 8);
///     // SAFETY: so many bytes are there as long as the borrow lasts, aligned to a page; all who open it use them as this.
///     unsafe { AtomicU64::from_ptr(memory.as_ptr().cast()) }
/// }
///
/// let ours = Segment::options().domain(&domain).format("counter/v1").size(8).own("tickets")?;
/// // In any other process of the same user:
/// let theirs = Segment::options().domain(&domain).format("counter/v1").open("tickets")?;
/// counter(&theirs).fetch_add(1, Relaxed);
/// assert_eq!(counter(&ours).load(Relaxed), 1);
///
/// assert!(!theirs.is_over());
/// drop(ours);
/// assert!(theirs.is_over());
/// # drop(theirs);
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), tubepost::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Segment {
    bare: Arc<Bare>,
}

/// The choices to make before a segment exists, or is opened.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-segment-options-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// use tubepost::Segment;
///
/// let made = Segment::options().domain(&domain).size(100_000).mode(0o640).create("frames")?;
/// assert_eq!(made.len(), 100_000);
/// drop(made); // it stays
/// assert!(!Segment::options().domain(&domain).open_to_read("frames")?.is_writable());
/// # domain.remove("frames")?;
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), tubepost::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct SegmentOptions {
    common: Common,
    size: Option<u64>,
    mode: u32,
    group: Option<u32>,
}

impl std::fmt::Debug for SegmentOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentOptions").field("size", &self.size).finish_non_exhaustive()
    }
}

impl SegmentOptions {
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

    /// What the bytes mean, and by which rules they are used: all who open it must say the same.
    pub fn format(mut self, label: impl Into<String>) -> Self {
        self.common.label = Some(label.into());
        self
    }

    /// How many bytes there are. They are zeros, and all of them are memory, from the start.
    pub fn size(mut self, bytes: u64) -> Self {
        self.size = Some(bytes);
        self
    }

    /// Who may read (r) and write (w), as permission bits for owner, group and others: 0600 by default. The kernel sees to it.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// The group that the mode is about, by number.
    pub fn group(mut self, group: u32) -> Self {
        self.group = Some(group);
        self
    }

    /// Makes one that stays until it is removed ([`Domain::remove`]).
    ///
    /// # Errors
    ///
    /// [`Error::Exists`], [`Error::Owned`] if the name is taken; [`Error::BadName`], [`Error::BadOption`]; [`Error::NoMemory`] if it does not fit;
    /// [`Error::Denied`].
    pub fn create(&self, name: &str) -> Result<Segment, Error> {
        self.make(name, false)
    }

    /// The same, for as long as this process has it: when it drops the last clone, or ends, it is over for everybody.
    ///
    /// # Errors
    ///
    /// As for [`create`](Self::create).
    pub fn own(&self, name: &str) -> Result<Segment, Error> {
        self.make(name, true)
    }

    /// Opens one that exists, to read and to write.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchName`], [`Error::OwnerGone`]; [`Error::WrongKind`], [`Error::WrongFormat`] if it is something else; [`Error::Denied`] if it is not
    /// for us.
    pub fn open(&self, name: &str) -> Result<Segment, Error> {
        self.attach(name, true)
    }

    /// Opens one that exists, to read only.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub fn open_to_read(&self, name: &str) -> Result<Segment, Error> {
        self.attach(name, false)
    }

    fn format_of(&self) -> Result<Format, Error> {
        let label = self.common.label.as_deref().unwrap_or_default();
        Format::labelled(label).map_err(|allowed| Error::BadOption {
            what: "the format",
            given: format!("{label:?}"),
            allowed,
        })
    }

    fn attach(&self, name: &str, writes: bool) -> Result<Segment, Error> {
        let (domain, name, format) = (self.common.domain()?, Name::new(name)?, self.format_of()?);
        let wish = Wish { kind: Kind::Bare, ..self.common.wish(&domain, &name, &format)? };
        Ok(Segment { bare: Arc::new(Bare::open(&wish, writes)?) })
    }

    fn make(&self, name: &str, owned: bool) -> Result<Segment, Error> {
        let size = self.size.ok_or_else(|| Error::BadOption {
            what: "the size of a segment",
            given: "left out".into(),
            allowed: "chosen, by size".into(),
        })?;
        check_data_mode(self.mode)?;
        let (domain, name, format) = (self.common.domain()?, Name::new(name)?, self.format_of()?);
        let text = format.encode();
        let geometry = Geometry::of_data(Kind::Bare, format.is_variable(), owned, &text)?;
        let wish = Wish { kind: Kind::Bare, ..self.common.wish(&domain, &name, &format)? };
        let plan = Plan {
            geometry,
            format: &text,
            mode: self.mode,
            group: self.group,
            member: wish.member,
            id: None,
        };
        Ok(Segment { bare: Arc::new(Bare::create(&wish, &plan, size)?) })
    }
}

impl Segment {
    /// The choices to make; each but the size has a default.
    ///
    /// ```
    /// let options = tubepost::Segment::options().size(4096).mode(0o640);
    /// ```
    pub fn options() -> SegmentOptions {
        SegmentOptions { common: Common::default(), size: None, mode: PRIVATE, group: None }
    }

    /// Where its bytes are: [`len`](Self::len) of them, at the beginning of a page, until the last clone of this is dropped. What was opened to read
    /// ends the process that writes to it. In a forked child nothing is there.
    ///
    /// Any process that may write to it may do so at any time: to Rust these bytes are as if another thread wrote them, so they are for atomics, or
    /// for what some rule of your own keeps apart. It is over for others too when its owner goes; the bytes stay where they are.
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
        self.bare.start()
    }

    /// How many bytes there are.
    #[allow(clippy::len_without_is_empty, reason = "no segment is empty")]
    #[inline]
    pub fn len(&self) -> usize {
        self.bare.length()
    }

    /// Whether it was made, or opened to write, here.
    pub fn is_writable(&self) -> bool {
        self.bare.is_writable()
    }

    /// Who owns it, and whether that one lives.
    pub fn owner(&self) -> Owner {
        stat::owner(&self.bare.at.segment)
    }

    /// Whether it is over: the process that owns it ended or was killed, or it was removed. Asks the kernel each time, in a microsecond or two.
    pub fn is_over(&self) -> bool {
        self.bare.is_over()
    }

    /// The id of this segment: never used again, even by another of the same name.
    pub fn id(&self) -> Id {
        self.bare.at.segment.id()
    }

    /// Everything there is to know about it now.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] if it is over; [`Error::Forked`].
    pub fn stat(&self) -> Result<Stat, Error> {
        self.bare.stat()
    }
}
