//! Pairs: links that have no name, between a process and one that it starts.

use crate::domain::Domain;
use crate::domain::name::Name;
use crate::error::Error;
use crate::link::{Link, LinkOptions};
use crate::mailbox::Options;
use crate::message::Message;
use crate::os::handing::{self, Known};
use crate::queue::layout::Kind;
use crate::strategy::pair::{self, Way};
use std::collections::HashSet;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// What a pair is called in errors where it was given no name.
const PAIR: &str = "pair";
/// The environment says by variables of this name, and those that begin with it and `_`, what was handed to a process.
const VARIABLE: &str = "TUBEPOST_PAIR";

/// A link without a name: this process has one end, and gives the other one, `Endpoint`, to a process that it starts.
///
/// Nobody else can come to it: there is no name, no domain, no file. The other process needs none either, so it may be in a sandbox. For what
/// the pair is to be, see [`Link::options`] and [`LinkOptions::pair`].
///
/// ```
/// use tubepost::{Endpoint, Link};
///
/// let (host, plugin): (Link<str, u64>, Endpoint<u64, str>) = tubepost::pair()?;
/// // As a rule the other end is in another process: see `Hand`.
/// let plugin = plugin.here()?;
/// host.send("how many?")?;
/// assert_eq!(plugin.recv()?, "how many?");
/// plugin.send(7)?;
/// assert_eq!(host.recv()?, 7);
///
/// drop(plugin);
/// assert!(host.send("and now?").is_err_and(|error| error.is_closed()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Error::BadOption`] if a message of these types needs a label; [`Error::Os`] if descriptors or memory are short.
#[expect(clippy::type_complexity, reason = "two ends, each of the type that it is used as")]
pub fn pair<M: Message + ?Sized, R: Message + ?Sized>() -> Result<(Link<M, R>, Endpoint<R, M>), Error> {
    Link::options().pair()
}

/// Takes the end of a pair that the process was handed which started this one: see [`Hand`].
///
/// Take it before other processes are started from here: until then a program that is started from here has a copy of the
/// descriptor. For what this end insists on, and for labels, see [`LinkOptions::inherited`].
///
/// ```
/// let nothing = tubepost::inherited::<u64, str>();
/// assert!(matches!(nothing, Err(tubepost::Error::NotHanded { .. })));
/// ```
///
/// # Errors
///
/// [`Error::NotHanded`] if nothing was handed, or it was taken already; [`Error::WrongFormat`], with both sides, if the pair carries something
/// else: then it is closed.
pub fn inherited<M: Message + ?Sized, R: Message + ?Sized>() -> Result<Link<M, R>, Error> {
    Link::options().inherited()
}

/// The same, of several that were handed under names.
///
/// ```
/// let nothing = tubepost::inherited_as::<u64, str>("control");
/// assert!(nothing.is_err_and(|error| error.to_string().contains("control")));
/// ```
///
/// # Errors
///
/// As for [`inherited`].
pub fn inherited_as<M: Message + ?Sized, R: Message + ?Sized>(name: &str) -> Result<Link<M, R>, Error> {
    Link::options().inherited_as(name)
}

/// The other end of a [pair](pair()), before somebody has it: `M` goes from there, `R` comes there.
///
/// Dropped, it is as if the process that should have had it were dead. It keeps one descriptor, which carries all there is of it.
///
/// ```
/// let (host, plugin) = tubepost::pair::<str, u64>()?;
/// drop(plugin);
/// assert!(host.recv().is_err());
/// # Ok::<(), tubepost::Error>(())
/// ```
#[must_use = "dropped, it ends the pair"]
pub struct Endpoint<M: Message + ?Sized, R: Message + ?Sized = M> {
    socket: OwnedFd,
    options: LinkOptions<M, R>,
}

impl<M: Message + ?Sized, R: Message + ?Sized> fmt::Debug for Endpoint<M, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("descriptor", &self.socket).finish_non_exhaustive()
    }
}

impl<M: Message + ?Sized, R: Message + ?Sized> Endpoint<M, R> {
    /// Takes it in this process: for another thread, or a test.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if descriptors or memory are short.
    pub fn here(self) -> Result<Link<M, R>, Error> {
        self.options.take(self.socket, PAIR)
    }
}

/// The descriptor, to be sent to a process by other means than [`Hand`]: that takes it by [`LinkOptions::from_descriptor`].
///
/// ```
/// use std::os::fd::OwnedFd;
///
/// let (host, plugin) = tubepost::pair::<str, u64>()?;
/// let descriptor: OwnedFd = plugin.into(); // sent with a message, say
/// let plugin = tubepost::Link::<u64, str>::options().from_descriptor(descriptor)?;
/// plugin.send(7)?;
/// assert_eq!(host.recv()?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl<M: Message + ?Sized, R: Message + ?Sized> From<Endpoint<M, R>> for OwnedFd {
    fn from(endpoint: Endpoint<M, R>) -> OwnedFd {
        endpoint.socket
    }
}

impl<M: Message + ?Sized, R: Message + ?Sized> LinkOptions<M, R> {
    /// As [`pair`](pair()), of this kind.
    ///
    /// # Errors
    ///
    /// As there; [`Error::BadOption`] also for the kernel strategy without a capacity.
    ///
    /// ```
    /// let (host, plugin) = tubepost::Link::<str>::options().bounded(16).pair()?;
    /// let plugin = plugin.here()?;
    /// (0..16).try_for_each(|_| host.try_send("one of sixteen"))?;
    /// assert!(host.try_send("one more").is_err_and(|error| error.is_full()));
    /// # drop(plugin);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Where the kernel copies the messages, open files go with them:
    ///
    /// ```
    /// use std::os::fd::AsFd;
    /// use tubepost::{Link, Strategy};
    ///
    /// let (host, plugin) = Link::<str>::options().strategy(Strategy::Kernel).bounded(16).pair()?;
    /// let plugin = plugin.here()?;
    /// host.sender().send_with("read this", &[std::io::stdin().as_fd()])?;
    /// let mut delivery = plugin.receiver().take()?;
    /// assert_eq!(delivery.take_descriptors().len(), 1);
    /// delivery.accept()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[expect(clippy::type_complexity, reason = "two ends, each of the type that it is used as")]
    pub fn pair(&self) -> Result<(Link<M, R>, Endpoint<R, M>), Error> {
        let name = Name::of_pair(PAIR);
        let (outlet, inlet, socket) = self.both_ways(&name, pair::make)?;
        Ok((Link::of_pair(outlet, inlet), Endpoint { socket, options: self.mirrored() }))
    }

    /// As [`inherited`]; what is chosen here has to be what was chosen where the pair was made.
    ///
    /// # Errors
    ///
    /// As there; [`Error::WrongChoice`] if something else was chosen there.
    pub fn inherited(&self) -> Result<Link<M, R>, Error> {
        self.take(handed(VARIABLE, PAIR)?, PAIR)
    }

    /// As [`inherited_as`], likewise.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn inherited_as(&self, name: &str) -> Result<Link<M, R>, Error> {
        self.take(handed(&variable(name)?, name)?, name)
    }

    /// Takes the end of a pair of which this is the descriptor, as a process was sent it that was not started with it.
    ///
    /// # Errors
    ///
    /// As for [`inherited`].
    pub fn from_descriptor(&self, descriptor: OwnedFd) -> Result<Link<M, R>, Error> {
        self.take(descriptor, PAIR)
    }

    fn take(&self, socket: OwnedFd, called: &str) -> Result<Link<M, R>, Error> {
        let name = Name::of_pair(called);
        let insists = self.insists();
        let (outlet, inlet) =
            self.both_ways(&name, |there, back| pair::take(socket, there, back, insists))?;
        Ok(Link::of_pair(outlet, inlet))
    }

    /// Checks the choices for both ways, and does with them what is to be done.
    fn both_ways<T>(
        &self,
        name: &Name,
        act: impl FnOnce(&Way<'_>, &Way<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (there, back) = self.ways();
        let (there, back) = (without_domain(there), without_domain(back));
        let kind = Kind::Link { one_way: false };
        there.plan_as(kind, name, true, |wish, plan| {
            let there = Way { wish: *wish, plan };
            back.plan_as(kind, name, true, |wish, plan| act(&there, &Way { wish: *wish, plan }))
        })
    }
}

fn without_domain<M: Message + ?Sized>(options: &Options<M>) -> Options<M> {
    options.clone().domain(&Domain::nowhere())
}

/// The variable that tells of what was handed under a name.
fn variable(name: &str) -> Result<String, Error> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=64).contains(&name.len()) && name.chars().all(fine) {
        return Ok(format!("{VARIABLE}_{name}"));
    }
    Err(Error::BadOption {
        what: "the name under which an end is handed",
        given: format!("{name:?}"),
        allowed: "1 to 64 letters, digits, '.', '_' and '-'".into(),
    })
}

fn spelt(known: Known) -> String {
    format!("{}:{}", known.number, known.inode)
}

fn understood(text: &str) -> Option<Known> {
    let (number, inode) = text.split_once(':')?;
    Some(Known { number: number.parse().ok()?, inode: inode.parse().ok()? })
}

/// What was handed to this process, by this variable's word; once.
fn handed(variable: &str, name: &str) -> Result<OwnedFd, Error> {
    static TAKEN: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let wrong = |why: &str| Error::NotHanded { name: name.into(), why: why.into() };
    let known = |text: &std::ffi::OsStr| understood(text.to_str()?);
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = taken.get_or_insert_with(|| {
        // Now that this process looks for the first time: those that it takes later are not for others either.
        let of_pairs = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(VARIABLE.as_bytes());
        let all = std::env::vars_os().filter(|(name, _)| of_pairs(name));
        all.filter_map(|(_, text)| known(&text)).for_each(handing::keep);
        HashSet::new()
    });
    if taken.contains(variable) {
        return Err(wrong("it was taken already"));
    }
    let Some(text) = std::env::var_os(variable) else {
        return Err(wrong("the process was handed nothing"));
    };
    let descriptor = known(&text).and_then(handing::take_over).ok_or_else(|| {
        wrong("what the environment tells of was handed to another process, from which this one was started")
    })?;
    taken.insert(variable.into());
    Ok(descriptor)
}

/// Hands ends of [pairs](pair()) to a process that is about to be started.
///
/// ```
/// use std::process::{Command, Stdio};
/// use tubepost::Hand;
///
/// let (host, plugin) = tubepost::pair::<str, u64>()?;
/// # let end = ["-c", "exit 0"];
/// let mut running = Command::new("sh").args(end).hand(plugin)?.spawn()?;
/// // There: `let host = tubepost::inherited::<u64, str>()?;`. This one ends without a word.
/// assert!(host.recv().is_err_and(|error| error.is_closed()));
/// running.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Hand {
    /// Has the process that is started have this end of a pair, which it takes by [`inherited`].
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if the system does not tell which descriptor it is.
    fn hand<M: Message + ?Sized, R: Message + ?Sized>(
        &mut self,
        endpoint: Endpoint<M, R>,
    ) -> Result<Handing<'_>, Error>;

    /// The same under a name, of which there may be several: that process takes it by [`inherited_as`].
    ///
    /// # Errors
    ///
    /// [`Error::BadOption`] for a name that is none, or is used twice; as for [`hand`](Self::hand).
    fn hand_as<M: Message + ?Sized, R: Message + ?Sized>(
        &mut self,
        name: &str,
        endpoint: Endpoint<M, R>,
    ) -> Result<Handing<'_>, Error>;
}

impl Hand for Command {
    fn hand<M: Message + ?Sized, R: Message + ?Sized>(
        &mut self,
        endpoint: Endpoint<M, R>,
    ) -> Result<Handing<'_>, Error> {
        Handing::new(self).hand(endpoint)
    }

    fn hand_as<M: Message + ?Sized, R: Message + ?Sized>(
        &mut self,
        name: &str,
        endpoint: Endpoint<M, R>,
    ) -> Result<Handing<'_>, Error> {
        Handing::new(self).hand_as(name, endpoint)
    }
}

/// A command with what the process is to be handed that it [starts](Self::spawn).
///
/// Dropped before that, the ends are dropped. The command itself hands out nothing: what it starts without this has none of them.
///
/// ```
/// use std::process::Command;
/// use tubepost::Hand;
///
/// let (control, controlled) = tubepost::pair::<str, u64>()?;
/// let (data, filled) = tubepost::Link::<[u8]>::options().max_message(1 << 16).pair()?;
/// let mut command = Command::new("true");
/// let mut running = command.hand_as("control", controlled)?.hand_as("data", filled)?.spawn()?;
/// running.wait()?;
/// assert!(control.recv().is_err() && data.recv().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "it has to be spawned"]
pub struct Handing<'a> {
    command: &'a mut Command,
    handed: Vec<(String, OwnedFd)>,
    armed: Arc<AtomicBool>,
}

impl<'a> Handing<'a> {
    fn new(command: &'a mut Command) -> Handing<'a> {
        Handing { command, handed: Vec::new(), armed: Arc::new(AtomicBool::new(true)) }
    }

    /// As [`Hand::hand`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn hand<M: Message + ?Sized, R: Message + ?Sized>(
        self,
        endpoint: Endpoint<M, R>,
    ) -> Result<Handing<'a>, Error> {
        self.add(VARIABLE.into(), endpoint.socket)
    }

    /// As [`Hand::hand_as`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn hand_as<M: Message + ?Sized, R: Message + ?Sized>(
        self,
        name: &str,
        endpoint: Endpoint<M, R>,
    ) -> Result<Handing<'a>, Error> {
        let variable = variable(name)?;
        self.add(variable, endpoint.socket)
    }

    fn add(mut self, variable: String, socket: OwnedFd) -> Result<Handing<'a>, Error> {
        if self.handed.iter().any(|(known, _)| *known == variable) {
            return Err(Error::BadOption {
                what: "the name under which an end is handed",
                given: format!("{variable:?} twice"),
                allowed: "another name for each of several; see `Hand::hand_as`".into(),
            });
        }
        let known = handing::known(socket.as_fd()).map_err(|errno| {
            crate::domain::failed("to inspect", std::path::Path::new(crate::domain::NOWHERE), errno)
        })?;
        self.command.env(&variable, spelt(known));
        handing::leave_open(self.command, socket.as_raw_fd(), Arc::clone(&self.armed));
        self.handed.push((variable, socket));
        Ok(self)
    }

    /// Starts the process. It has the ends from then on, and this one has no more of them, also if it could not be started.
    ///
    /// # Errors
    ///
    /// As for [`Command::spawn`].
    pub fn spawn(self) -> io::Result<Child> {
        self.spawn_by(Command::spawn)
    }

    /// Starts the process in another way, by [`Command::output`], say, or by what an executor has for that. This process has the ends until that
    /// comes back.
    ///
    /// # Errors
    ///
    /// What that gives.
    ///
    /// ```
    /// use std::process::Command;
    /// use tubepost::Hand;
    ///
    /// let (host, plugin) = tubepost::pair::<str, u64>()?;
    /// let ended = Command::new("true").hand(plugin)?.spawn_by(Command::status)?;
    /// assert!(ended.success() && host.recv().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spawn_by<T>(self, start: impl FnOnce(&mut Command) -> io::Result<T>) -> io::Result<T> {
        start(self.command)
    }
}

impl Drop for Handing<'_> {
    fn drop(&mut self) {
        self.armed.store(false, Relaxed);
        for (variable, _) in &self.handed {
            self.command.env_remove(variable);
        }
    }
}
