//! Mailboxes: making one, and what both ends have in common.

use crate::domain::Domain;
use crate::domain::access::{PRIVATE, check_mode};
use crate::domain::entry::{self, Plan};
use crate::domain::name::Name;
use crate::domain::segment::Id;
use crate::domain::stat::Strategy;
use crate::error::Error;
use crate::files::How;
use crate::format::Format;
use crate::handling::Handling;
use crate::message::Message;
use crate::queue::areas::UNBOUNDED;
use crate::queue::layout::{
    ADDRESS, Choice, Geometry, HANDED_ON_PLACES, Kind, MAX_FORMAT, MAX_MEMBER_NAME, check_capacity,
    usual_ceiling,
};
use crate::receiver::Receiver;
use crate::strategy::Inlet;
use crate::strategy::kernel::room;
use crate::strategy::shared::attach::Wish;
use std::marker::PhantomData;
use std::time::Duration;

/// How many messages a mailbox holds unless told otherwise.
const CAPACITY: u64 = 1024;
/// The longest message of variable length, unless told otherwise.
const LONGEST: u64 = 1 << 20;
/// How many messages of each sender wait on the sealed strategy, at most …
const MOST_SEALED: u64 = 1 << 16;
/// … and how many bytes a sender's messages have that wait, unless told otherwise, or one needs more.
const AREA: u64 = 1 << 20;
/// How long a blocking call polls before it sleeps, unless told otherwise. Waking a sleeper
/// costs 2 to 50 µs; polling about as long as that never costs more than twice the best.
const SPIN: Duration = Duration::from_micros(30);

/// A queue of messages with a name.
///
/// There is no value of this type; it is where a mailbox begins: [`Mailbox::options`], then
/// [`Options::own`], for one that this process receives from, or [`Options::create`], for one that
/// stays until it is removed and that anybody permitted receives from, by
/// [`Receiver::open`](crate::Receiver::open). Others send with [`Sender`](crate::Sender).
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-mailbox-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// use tubepost::{Mailbox, Message, Sender};
///
/// #[derive(Message, Clone, Copy, Debug, PartialEq)]
/// #[repr(C)]
/// struct Reading {
///     sensor: u32,
///     celsius: f32,
/// }
///
/// let inbox = Mailbox::<Reading>::options().domain(&domain).bounded(64).own("readings")?;
///
/// // In any other process of the same user:
/// let out = Sender::<Reading>::options().domain(&domain).open("readings")?;
/// out.send(Reading { sensor: 7, celsius: 21.5 })?;
///
/// assert_eq!(inbox.recv()?, Reading { sensor: 7, celsius: 21.5 });
/// # drop(inbox);
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Mailbox<M: Message + ?Sized> {
    never: std::convert::Infallible,
    _of: PhantomData<fn() -> Box<M>>,
}

impl<M: Message + ?Sized> Mailbox<M> {
    /// The choices to make before a mailbox exists; each has a default.
    ///
    /// ```
    /// let options = tubepost::Mailbox::<[u8]>::options().bounded(16).max_message(512);
    /// ```
    pub fn options() -> Options<M> {
        Options {
            common: Common::default(),
            capacity: Some(CAPACITY),
            chosen: false,
            how: Strategy::Shared.into(),
            places: 0,
            max_message: None,
            ceiling: None,
            mode: PRIVATE,
            group: None,
            handling: Handling::default(),
            stands_for: None,
            _of: PhantomData,
        }
    }
}

impl<M: Message + ?Sized> std::fmt::Debug for Mailbox<M> {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.never {}
    }
}

/// The choices to make before a mailbox exists.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-options-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// let jobs = tubepost::Mailbox::<[u8]>::options()
///     .domain(&domain)
///     .bounded(100)
///     .max_message(2000)
///     .format("jobs/v2")
///     .own("jobs")?;
/// assert_eq!(jobs.capacity(), Some(100));
/// # drop(jobs);
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), tubepost::Error>(())
/// ```
#[must_use]
pub struct Options<M: Message + ?Sized> {
    pub(crate) common: Common,
    /// Nothing: it is unbounded.
    pub(crate) capacity: Option<u64>,
    /// Whether somebody chose that.
    pub(crate) chosen: bool,
    how: How,
    /// Places of a segment, if it is unbounded; 0 leaves that to the library.
    pub(crate) places: u64,
    pub(crate) max_message: Option<u64>,
    ceiling: Option<u64>,
    pub(crate) mode: u32,
    pub(crate) group: Option<u32>,
    pub(crate) handling: Handling,
    /// Where the mailbox is for which this one stands.
    pub(crate) stands_for: Option<String>,
    _of: PhantomData<fn() -> Box<M>>,
}

impl<M: Message + ?Sized> Clone for Options<M> {
    fn clone(&self) -> Self {
        Options {
            common: self.common.clone(),
            handling: self.handling.clone(),
            how: self.how.clone(),
            stands_for: self.stands_for.clone(),
            ..*self
        }
    }
}

impl<M: Message + ?Sized> std::fmt::Debug for Options<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("capacity", &self.capacity)
            .field("max_message", &self.max_message)
            .field("ceiling", &self.ceiling)
            .field("mode", &format_args!("{:04o}", self.mode))
            .field("group", &self.group)
            .field("common", &self.common)
            .finish()
    }
}

impl<M: Message + ?Sized> Options<M> {
    /// Exactly so many messages can wait: 0 to 2^24, 1024 by default.
    ///
    /// With 0 none does: a send is done when a receiver takes the message. `try_send` succeeds only if one is waiting for it,
    /// `try_recv` only if a sender is. Waiting is what a thread does in `recv` or `take`. A task that waits in `recv_async` is woken by a
    /// sender that waits, and only then comes for the message: for a `try_send`, or a `send_timeout` of no time, it does not wait. Two
    /// [`Select`](crate::Select)s, one with a receiver and one with a sender, never meet.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-bounded-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use tubepost::{Mailbox, Sender};
    ///
    /// let inbox = Mailbox::<u64>::options().domain(&domain).bounded(0).own("hand-to-hand")?;
    /// let out = Sender::<u64>::options().domain(&domain).open("hand-to-hand")?;
    /// assert!(out.try_send(7).is_err_and(|error| error.is_full()));
    /// assert!(inbox.is_empty() && inbox.is_full() && inbox.capacity() == Some(0));
    ///
    /// let receiver = std::thread::spawn(move || inbox.recv());
    /// out.send(7)?; // comes back when it was taken
    /// assert_eq!(receiver.join().unwrap()?, 7);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bounded(mut self, capacity: u64) -> Self {
        self.capacity = Some(capacity);
        self.chosen = true;
        self
    }

    /// How messages travel: through memory that both share, by default; or the kernel copies them.
    ///
    /// With [`Strategy::Kernel`] the peers share no memory: one that goes wrong, or means harm, spoils nothing but its own connection. That costs system calls. It is for
    /// mailboxes that a process [owns](Self::own), with a capacity. So much has to fit a socket's buffer: if nothing is chosen, messages of up to
    /// 64 KiB, and as many as fit, at most 1024. Senders find out by themselves.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-strategy-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use tubepost::{Mailbox, Sender, Strategy};
    ///
    /// let inbox = Mailbox::<str>::options().domain(&domain).strategy(Strategy::Kernel).bounded(8).own("letters")?;
    /// let out = Sender::<str>::options().domain(&domain).open("letters")?;
    /// out.send("by sealed envelope")?;
    /// assert_eq!(inbox.recv()?, "by sealed envelope");
    /// # drop(inbox);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// With [`Strategy::Sealed`] each sender has memory with the owner that nobody else sees, and that only it writes to. A hostile one spoils nothing but its own
    /// messages, and there is no system call for each. `n` is for each sender ([`Sender`](crate::Sender) with its clones): as many messages wait as their bytes fit
    /// [`ceiling`](Self::ceiling), which is allocated for each, 1 MiB by default. Else as with the kernel's; senders are received from in turn.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-strategy-sealed-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use tubepost::{Mailbox, Sender, Strategy};
    ///
    /// let inbox = Mailbox::<u64>::options().domain(&domain).strategy(Strategy::Sealed).bounded(2).own("votes")?;
    /// let [ann, ben] = [(); 2].map(|()| Sender::<u64>::options().domain(&domain).open("votes").unwrap());
    /// (0..2).try_for_each(|_| ann.try_send(1))?;
    /// assert!(ann.try_send(1).is_err_and(|error| error.is_full()));
    /// ben.try_send(2)?; // its places are its own
    /// assert_eq!([inbox.recv()?, inbox.recv()?, inbox.recv()?].iter().sum::<u64>(), 4);
    /// # drop(inbox);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// With a [`File`](crate::File) they are in files, and outlive their processes.
    pub fn strategy(mut self, how: impl Into<How>) -> Self {
        self.how = how.into();
        self
    }

    /// The longest variable-length message in bytes: at most 1 GiB, 1 MiB by default. Where it is at
    /// most 4096, every message has its place from the start. Else those longer than 240 bytes
    /// get memory when they come.
    pub fn max_message(mut self, bytes: u64) -> Self {
        self.max_message = Some(bytes);
        self
    }

    /// The most memory in bytes that messages may have which don't fit their places; in an
    /// [unbounded](Self::unbounded) mailbox, all messages. By default as much as could ever wait, and at most what the
    /// file system has, or 256 GiB.
    pub fn ceiling(mut self, bytes: u64) -> Self {
        self.ceiling = Some(bytes);
        self
    }

    /// Who may send (w) and receive (r), as permission bits for owner, group and others: `0o600`, the
    /// default, is nobody else; with `0o620` the group may send, with `0o660` also receive. Others need
    /// a domain that lets them in, see [`Domain::open`].
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// The group that [`mode`](Self::mode) speaks of; by default the creator's, or the domain's if it
    /// has the setgid bit.
    pub fn group(mut self, gid: u32) -> Self {
        self.group = Some(gid);
        self
    }

    /// What variable-length messages are, in a few words: senders have to say the same.
    pub fn format(mut self, label: impl Into<String>) -> Self {
        self.common.label = Some(label.into());
        self
    }

    /// Where the name lives; by default in [`Domain::open_default`].
    pub fn domain(mut self, domain: &Domain) -> Self {
        self.common.domain = Some(domain.clone());
        self
    }

    /// What this process is called in errors and listings, at most 64 bytes; by default as
    /// the program is.
    pub fn member(mut self, name: impl Into<String>) -> Self {
        self.common.member = Some(name.into());
        self
    }

    /// How long a blocking call polls before it sleeps: 30 µs by default; zero saves the
    /// processor, more saves the wake-up.
    pub fn spin(mut self, spin: Duration) -> Self {
        self.common.spin = spin;
        self
    }

    /// Creates the mailbox under this name. This process owns it: it alone receives, and
    /// the mailbox ends when the last clone of the receiver does, or the process.
    ///
    /// The name of a dead owner's mailbox is taken over.
    ///
    /// # Errors
    ///
    /// [`Error::Owned`] if a living process owns the name, [`Error::Exists`] if the system does; [`Error::BadName`],
    /// [`Error::BadOption`] for what can't be; [`Error::NoMemory`] if the file system that
    /// holds the domain is full; [`Error::Damaged`] or [`Error::WrongVersion`] if something
    /// unknown has the name; errors of [`Domain::open`].
    pub fn own(&self, name: &str) -> Result<Receiver<M>, Error> {
        let inlet = self.plan(name, true, |wish, plan| {
            let rules = self.handling.rules(wish, plan.geometry.choice.max_message)?;
            Inlet::own(wish, plan, rules)
        })?;
        Ok(Receiver::new(inlet))
    }

    /// Creates the mailbox under this name. The system owns it: it stays, whoever comes and goes, until
    /// it is removed by [`Domain::remove`] or the machine restarts. Any number of processes send to it
    /// and receive from it. Gives its id.
    ///
    /// # Errors
    ///
    /// As for [`own`](Self::own).
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-create-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use tubepost::{Mailbox, Receiver, Sender};
    ///
    /// Mailbox::<u64>::options().domain(&domain).bounded(100).create("numbers")?;
    /// Sender::<u64>::options().domain(&domain).open("numbers")?.send(7)?;
    /// let receiver = Receiver::<u64>::options().domain(&domain).open("numbers")?;
    /// assert_eq!(receiver.recv()?, 7);
    /// # domain.remove("numbers")?;
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create(&self, name: &str) -> Result<Id, Error> {
        self.handling.none_here()?;
        self.plan(name, false, |wish, plan| match plan.geometry.choice.filed {
            true => self.create_in_files(wish, plan, &self.how.file),
            false => Ok(entry::create(wish.domain, wish.name, plan)?.id()),
        })
    }

    /// How many messages wait on the kernel strategy, if what was chosen is possible there.
    fn kernels_capacity(&self, kind: Kind, owned: bool, answered: bool, longest: u64) -> Result<u64, Error> {
        let (strategy, sealed) = (self.how.strategy, self.how.strategy == Strategy::Sealed);
        let refused = |what, given: &str, allowed: &str| {
            Err(Error::BadOption {
                what,
                given: given.replace("kernel", &strategy.to_string()),
                allowed: allowed.into(),
            })
        };
        const WHAT: &str = "the strategy";
        if sealed && kind != Kind::Mailbox {
            return refused(WHAT, "sealed for a link", "shared or kernel there");
        }
        if !owned {
            return refused(
                WHAT,
                "kernel for a mailbox of the system",
                "this one where a process owns it, for its sockets end with it; else shared",
            );
        }
        if answered {
            return refused(WHAT, "kernel where messages are answered", "shared there");
        }
        if self.handling.promises() {
            return refused(
                "hold_max",
                "one on the kernel strategy",
                "only on the shared strategy, where several receive",
            );
        }
        match self.capacity {
            None => refused(
                "the capacity",
                "unbounded on the kernel strategy",
                "a number, for there is only so much room; unbounded is on the shared strategy",
            ),
            Some(0) if !sealed => room::capacity(Some(1), longest).map(|_| 0), // one that waits to be taken
            Some(0) => {
                refused("the capacity", "0 on the kernel strategy", "at least 1 there; 0 is on the others")
            }
            Some(given) if sealed && given > MOST_SEALED => Err(Error::BadOption {
                what: "the capacity of the sealed strategy",
                given: given.to_string(),
                allowed: format!(
                    "at most {MOST_SEALED} messages of each sender; more wait on the shared strategy"
                ),
            }),
            Some(given) if sealed => Ok(given),
            given => room::capacity(given.filter(|_| self.chosen), longest),
        }
    }

    /// Checks the choices and does with them what is to be done.
    fn plan<R>(
        &self,
        name: &str,
        owned: bool,
        act: impl FnOnce(&Wish<'_>, &Plan<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        self.plan_as(Kind::Mailbox, &Name::new(name)?, owned, act)
    }

    /// The same for what has queues and is no mailbox.
    pub(crate) fn plan_as<R>(
        &self,
        kind: Kind,
        name: &Name,
        owned: bool,
        act: impl FnOnce(&Wish<'_>, &Plan<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let strategy = self.how.strategy;
        let (sealed, filed) = (strategy == Strategy::Sealed, strategy == Strategy::File);
        let kernel = sealed || strategy == Strategy::Kernel;
        let usual = || match strategy {
            Strategy::Shared | Strategy::Sealed | Strategy::File => LONGEST,
            Strategy::Kernel => room::longest(self.capacity.filter(|_| self.chosen)),
        };
        let format = self.common.format::<M>()?;
        let (max_message, align) = match M::FIXED.or_else(|| format.fixed()) {
            Some((size, align)) => {
                if let Some(given) = self.max_message {
                    let allowed =
                        format!("this type has a fixed length of {size} bytes; leave max_message out");
                    let given = given.to_string();
                    return Err(Error::BadOption { what: "max_message", given, allowed });
                }
                (size as u64, align as u64)
            }
            None => (self.max_message.unwrap_or_else(usual), 1),
        };
        // At the end of a question there is where its answer goes.
        let end = if M::ANSWER.is_some() { ADDRESS } else { 0 };
        let fixed = format.answer().and_then(Format::fixed).map(|(size, _)| size);
        let answers =
            M::ANSWER.map_or(0, |of_type| 1 + of_type.or(fixed).map_or(max_message, |size| size as u64));
        let max_message = max_message.saturating_add(end);
        check_capacity(self.capacity)?;
        check_mode(self.mode)?;
        let text = self.described(&format)?;
        if text.len() as u64 > MAX_FORMAT {
            return Err(Error::BadOption {
                what: "the description of the message type",
                given: format!("{} bytes long", text.len()),
                allowed: format!("at most {MAX_FORMAT} bytes; use arrays instead of many fields"),
            });
        }
        let domain = self.common.domain()?;
        if filed {
            self.fits_files(kind, owned, M::ANSWER.is_some())?;
        }
        let handed_on = self.stands_for.is_some() && !owned && !filed && self.capacity == Some(0);
        let capacity = match kernel {
            true => self.kernels_capacity(kind, owned, M::ANSWER.is_some(), max_message)?,
            false if filed && !self.chosen => UNBOUNDED,
            false if handed_on => HANDED_ON_PLACES,
            false => self.capacity.unwrap_or(UNBOUNDED),
        };
        let usual = || match strategy {
            Strategy::Sealed => AREA.max(max_message.checked_next_power_of_two().unwrap_or(u64::MAX)),
            _ => usual_ceiling(capacity, max_message.max(answers), domain.memory()),
        };
        let geometry = Geometry::new(Choice {
            kind,
            capacity,
            places: self.places,
            max_message,
            align,
            variable: format.is_variable(),
            owned,
            kernel,
            sealed,
            filed,
            handed_on,
            format_length: text.len() as u64,
            ceiling: self.ceiling.unwrap_or_else(usual),
            answers,
        })?;
        let wish = Wish { kind, ..self.common.wish(&domain, name, &format)? };
        let plan = Plan {
            geometry,
            format: &text,
            mode: self.mode,
            group: self.group,
            member: wish.member,
            id: None,
        };
        act(&wish, &plan)
    }
}

/// So long who opens a mailbox waits for a place among those whose connections are not accepted so far.
const A_PLACE_IN_THE_QUEUE: Duration = Duration::from_secs(1);

/// The choices that creators, senders and receivers have in common.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub(crate) domain: Option<Domain>,
    pub(crate) label: Option<String>,
    /// Instead of what the type says: of messages whose type is not known here.
    pub(crate) format: Option<Format>,
    pub(crate) member: Option<String>,
    pub(crate) spin: Duration,
}

impl Default for Common {
    fn default() -> Common {
        Common { domain: None, label: None, format: None, member: None, spin: SPIN }
    }
}

impl Common {
    pub(crate) fn domain(&self) -> Result<Domain, Error> {
        self.domain.clone().map_or_else(Domain::open_default, Ok)
    }

    pub(crate) fn format<M: Message + ?Sized>(&self) -> Result<Format, Error> {
        if let Some(given) = self.given_format::<M>() {
            return given;
        }
        M::format(self.label.as_deref()).map_err(|allowed| Error::BadOption {
            what: "the format",
            given: format!("{:?}", self.label.as_deref().unwrap_or_default()),
            allowed,
        })
    }

    pub(crate) fn wish<'a>(
        &'a self,
        domain: &'a Domain,
        name: &'a Name,
        format: &'a Format,
    ) -> Result<Wish<'a>, Error> {
        let member = match &self.member {
            Some(member) => member,
            None => program(),
        };
        if self.member.is_some() && (member.len() > MAX_MEMBER_NAME || member.chars().any(char::is_control)) {
            return Err(Error::BadOption {
                what: "the member name",
                given: format!("{member:?}"),
                allowed: format!("at most {MAX_MEMBER_NAME} bytes without control characters"),
            });
        }
        let (kind, spin, patience) = (Kind::Mailbox, self.spin, A_PLACE_IN_THE_QUEUE);
        Ok(Wish { domain, kind, name, format, member, spin, patience })
    }
}

/// What this program is called.
fn program() -> &'static str {
    static PROGRAM: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    PROGRAM.get_or_init(|| {
        let path = std::env::args_os().next().unwrap_or_default();
        let file = std::path::Path::new(&path).file_name().unwrap_or_default();
        file.to_string_lossy().chars().filter(|c| !c.is_control()).collect()
    })
}
