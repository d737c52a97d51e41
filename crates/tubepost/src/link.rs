//! Links: two processes that send to each other, and nobody else.

use crate::companion::Companion;
use crate::domain::cleanup;
use crate::domain::member::{self, Peer};
use crate::domain::party::Parties;
use crate::domain::segment::Segment;
use crate::domain::stat::Strategy;
use crate::error::{
    Error, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
use crate::mailbox::{Mailbox, Options};
use crate::message::Message;
use crate::os::arrivals::Arrivals;
use crate::process::{Joined, Process, name_of_process};
use crate::queue::layout::{Kind, SENDER};
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::strategy::kernel::link::Sending;
use crate::strategy::shared::link::{Insists, agree_on_link};
use crate::strategy::{Inlet, Outlet};
use crate::sync::wait::SLICE;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The link between this process and another one: `M` goes there, `R` comes back.
///
/// There is one for each two processes, set up by whichever uses it first; that one says what it is. Each way it is a queue of its own, with
/// all that a mailbox has: [`sender`](Self::sender) and [`receiver`](Self::receiver) are its ends, the calls here are the most usual of theirs.
/// When the other process is gone, `send` says so at once, and `recv` when everything was received.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-link-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// use tubepost::{Link, Process};
///
/// let alice = Process::options().domain(&domain).join("alice")?;
/// let bob = Process::options().domain(&domain).join("bob")?; // as a rule in another process
///
/// let questions: Link<str, u64> = Link::options().bounded(16).open(&alice, "bob")?;
/// let answers: Link<u64, str> = Link::options().open(&bob, "alice")?;
/// questions.send("how many?")?;
/// assert_eq!(answers.recv()?, "how many?");
/// answers.send(7)?;
/// assert_eq!(questions.recv()?, 7);
///
/// drop((bob, answers));
/// assert!(questions.send("and now?").is_err_and(|error| error.is_closed()));
/// # drop((alice, questions));
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Link<M: Message + ?Sized, R: Message + ?Sized = M> {
    sender: Sender<M>,
    receiver: Receiver<R>,
    between: Between,
}

/// Who is at the ends of a link.
#[derive(Clone, Debug)]
enum Between {
    /// Processes that joined; this one does not leave as long as it has links.
    Named { companion: Arc<Companion>, joined: Arc<Joined> },
    /// A pair's: what the other one says of itself, once it did.
    Nameless(OnceLock<Peer>),
}

/// So soon it is tried again where somebody was busy for as long as one waits for that.
const A_MOMENT: Duration = Duration::from_millis(10);

/// What is known of a process that did not take its end of a pair so far.
static NOBODY: Peer = Peer { pid: 0, name: String::new() };

/// The choices to make before a link exists; who comes second may leave them out, or has to choose the same.
///
/// ```
/// let options = tubepost::Link::<str>::options().bounded(16).max_message(512);
/// ```
#[must_use]
#[derive(Debug)]
pub struct LinkOptions<M: Message + ?Sized, R: Message + ?Sized = M> {
    there: Options<M>,
    back: Options<R>,
    insists: Insists,
}

impl<M: Message + ?Sized, R: Message + ?Sized> Clone for LinkOptions<M, R> {
    fn clone(&self) -> Self {
        LinkOptions { there: self.there.clone(), back: self.back.clone(), insists: self.insists }
    }
}

impl<M: Message + ?Sized, R: Message + ?Sized> LinkOptions<M, R> {
    fn both(
        self,
        there: impl FnOnce(Options<M>) -> Options<M>,
        back: impl FnOnce(Options<R>) -> Options<R>,
    ) -> Self {
        LinkOptions { there: there(self.there), back: back(self.back), insists: self.insists }
    }

    /// How messages travel, both ways; see [`Options::strategy`]. Like all that is chosen here, the first one to use the link decides.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-link-strategy-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use tubepost::{Link, Process, Strategy};
    ///
    /// let alice = Process::options().domain(&domain).join("alice")?;
    /// let bob = Process::options().domain(&domain).join("bob")?; // as a rule in another process
    /// let questions = Link::<str>::options().strategy(Strategy::Kernel).bounded(8).open(&alice, "bob")?;
    /// questions.send("by sealed envelope")?;
    /// let answers = bob.link::<str>("alice")?; // whatever it is
    /// assert_eq!(answers.recv()?, "by sealed envelope");
    /// assert!(Link::<str>::options().strategy(Strategy::Shared).open(&bob, "alice").is_err());
    /// # drop((alice, bob, questions, answers));
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.insists.strategy = true;
        self.both(|there| there.strategy(strategy), |back| back.strategy(strategy))
    }

    /// So many messages can wait, each way; see [`Options::bounded`].
    pub fn bounded(mut self, capacity: u64) -> Self {
        self.insists.capacity = true;
        self.both(|there| there.bounded(capacity), |back| back.bounded(capacity))
    }

    /// A send never waits; see [`Options::unbounded`].
    pub fn unbounded(mut self) -> Self {
        self.insists.capacity = true;
        self.both(Options::unbounded, Options::unbounded)
    }

    /// The longest variable-length message in bytes; see [`Options::max_message`].
    pub fn max_message(mut self, bytes: u64) -> Self {
        self.insists.max_message = true;
        if M::FIXED.is_none() {
            self.there = self.there.max_message(bytes);
        }
        if R::FIXED.is_none() {
            self.back = self.back.max_message(bytes);
        }
        self
    }

    /// How long a blocking call polls before it sleeps, where this is for a [pair](crate::pair()): 30 µs by default. (Links between processes
    /// that joined have what their process has.)
    pub fn spin(self, spin: Duration) -> Self {
        self.both(|there| there.spin(spin), |back| back.spin(spin))
    }

    /// What variable-length messages are, in a few words: the other end has to say the same.
    pub fn format(self, label: impl Into<String>) -> Self {
        let label = label.into();
        let same = label.clone();
        self.both(
            |there| if M::FIXED.is_none() { there.format(label) } else { there },
            |back| if R::FIXED.is_none() { back.format(same) } else { back },
        )
    }

    /// The link with that process, which is set up if it is not there yet. If it is gone, and messages from it wait, the link that there was; where there
    /// is an [inbox](crate::Process::inbox) they wait for that.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchName`] or [`Error::OwnerGone`] if no process is called so now ([`connect`](Self::connect) waits for it);
    /// [`Error::WrongKind`] if a mailbox is; [`Error::WrongFormat`] if the link carries something else,
    /// [`Error::WrongChoice`] if it was set up otherwise than is chosen here; [`Error::BadName`]; as for
    /// [`Options::own`].
    pub fn open(&self, process: &Process, peer: &str) -> Result<Link<M, R>, Error> {
        process.open(self, &name_of_process(peer)?)
    }

    /// The same, and waits for that process to join, and while it or another one is busy: at most for so long.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-connect-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use std::time::Duration;
    /// use tubepost::{Error, Link, Process};
    ///
    /// let alice = Process::options().domain(&domain).join("alice")?;
    /// let nobody = Link::<str>::options().connect(&alice, "bob", Duration::from_millis(1));
    /// assert!(matches!(nobody, Err(Error::NoSuchName { .. })));
    /// # drop(alice);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Error>(())
    /// ```
    pub fn connect(&self, process: &Process, peer: &str, timeout: Duration) -> Result<Link<M, R>, Error> {
        let deadline = Instant::now().checked_add(timeout);
        self.when_there(process, peer, deadline, || self.open(process, peer))
    }

    /// Tries again whenever a name has come, as long as there is no such process, and a moment later if somebody was just busy.
    fn when_there<T>(
        &self,
        process: &Process,
        peer: &str,
        deadline: Option<Instant>,
        attempt: impl Fn() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let absent = |done: &Result<T, Error>| matches!(done, Err(Error::NoSuchName { name, .. } | Error::OwnerGone { name, .. }) if name == peer);
        let busy = |done: &Result<T, Error>| matches!(done, Err(Error::Busy { .. } | Error::Crowded { .. }));
        let first = attempt();
        if !absent(&first) && !busy(&first) {
            return first;
        }
        self.check(&process.joined)?;
        let arrivals = Arrivals::at(process.domain().path()).ok();
        loop {
            let done = attempt();
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if !absent(&done) && !busy(&done) || left.is_some_and(|left| left.is_zero()) {
                return done;
            }
            // Nothing tells that nobody is busy any more.
            let slice = if busy(&done) { A_MOMENT } else { SLICE };
            let longest = left.map_or(slice, |left| left.min(slice));
            match &arrivals {
                Some(arrivals) => arrivals.wait(longest),
                // Without a descriptor there is only looking again.
                None => std::thread::sleep(longest.min(Duration::from_millis(10))),
            }
        }
    }

    /// The sending end of a link that leads only there.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub fn one_way_to(&self, process: &Process, peer: &str) -> Result<Sender<M>, Error> {
        let companion = process.joined.companion(&name_of_process(peer)?)?;
        self.none_back(&process.joined, &companion, false)?;
        let (outlet, _) = self.way_there(&process.joined, &companion, true)?;
        Ok(Sender::new(outlet))
    }

    /// The receiving end of a link that leads only here.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-one-way-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// use tubepost::{Link, Process};
    ///
    /// let alice = Process::options().domain(&domain).join("alice")?;
    /// let bob = Process::options().domain(&domain).join("bob")?; // as a rule in another process
    /// let out = Link::<u64>::options().one_way_to(&alice, "bob")?;
    /// let readings = Link::<u64>::options().one_way_from(&bob, "alice")?;
    /// out.send(7)?;
    /// assert_eq!(readings.recv()?, 7);
    /// assert!(bob.link::<u64>("alice").is_err(), "it leads the other way only");
    /// # drop((alice, bob, out, readings));
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn one_way_from(&self, process: &Process, peer: &str) -> Result<Receiver<R>, Error> {
        let companion = process.joined.companion(&name_of_process(peer)?)?;
        self.none_back(&process.joined, &companion, true)?;
        let (inlet, _) = self.way_back(&process.joined, &companion, true)?;
        Ok(Receiver::of(inlet))
    }

    /// Both ways, the same one first whoever begins: that decides, and what it is the other one becomes.
    pub(crate) fn set_up(&self, process: &Process, companion: Arc<Companion>) -> Result<Link<M, R>, Error> {
        let joined = Arc::clone(&process.joined);
        let like = |first: &Segment| self.like(first);
        let (outlet, inlet) = if joined.me.name < companion.peer.name {
            let (outlet, made) = self.way_there(&joined, &companion, false)?;
            let back = like(outlet.segment()).way_back(&joined, &companion, false).inspect_err(|_| {
                if made {
                    made_in_vain(outlet.segment());
                }
            });
            (outlet, back?.0)
        } else {
            let (inlet, made) = self.way_back(&joined, &companion, false)?;
            let there = like(inlet.segment()).way_there(&joined, &companion, false).inspect_err(|_| {
                if made {
                    made_in_vain(inlet.segment());
                }
            });
            (there?.0, inlet)
        };
        let between = Between::Named { companion, joined };
        Ok(Link { sender: Sender::new(outlet), receiver: Receiver::of(inlet), between })
    }

    /// The choices for the way there and the way back.
    pub(crate) fn ways(&self) -> (&Options<M>, &Options<R>) {
        (&self.there, &self.back)
    }

    /// The same, as the other end sees it.
    pub(crate) fn mirrored(&self) -> LinkOptions<R, M> {
        LinkOptions { there: self.back.clone(), back: self.there.clone(), insists: self.insists }
    }

    pub(crate) fn insists(&self) -> Insists {
        self.insists
    }

    /// What the second way is to be, if it is not there: what the first one is, where nothing else was chosen.
    /// Whoever made that one may not have come to the second one.
    fn like(&self, first: &Segment) -> Self {
        let (choice, mut like) = (&first.geometry.choice, self.clone());
        if !self.insists.strategy && choice.kernel {
            like = like.strategy(Strategy::Kernel);
        }
        // The kernel may not hold as many of what is longer.
        let lengths = [M::FIXED, R::FIXED].map(|fixed| fixed.map_or(0, |(size, _)| size as u64));
        let alike = M::FIXED.is_some() == R::FIXED.is_some();
        let fits = !choice.kernel || alike && lengths.iter().all(|length| *length <= choice.longest());
        if !self.insists.capacity && fits {
            like = match first.geometry.capacity() {
                Some(capacity) => like.bounded(capacity),
                None => like.unbounded(),
            };
        }
        if !self.insists.max_message && choice.variable {
            like = like.max_message(choice.longest());
        }
        like.insists = self.insists;
        like
    }

    /// Whether a link can be so, whoever is at the other end.
    fn check(&self, joined: &Joined) -> Result<(), Error> {
        let (kind, name) = (Kind::Link { one_way: false }, &joined.me.name);
        planned(&self.there, joined).plan_as(kind, name, true, |_, _| Ok(()))?;
        planned(&self.back, joined).plan_as(kind, name, true, |_, _| Ok(()))
    }

    /// The way there, made if it is not there. Whether it was made.
    fn way_there(
        &self,
        joined: &Joined,
        companion: &Companion,
        one_way: bool,
    ) -> Result<(Outlet, bool), Error> {
        let name = Parties::name(&joined.me, &companion.peer);
        let options = planned(&self.there, joined);
        options.plan_as(Kind::Link { one_way }, &name, true, |wish, plan| {
            let _one_at_a_time = joined.companions();
            if let Some(outlet) = companion.out.get() {
                agree_on_link(wish, plan, self.insists, outlet.segment())?;
                return Ok((outlet.clone(), false));
            }
            let post = companion.rung.get().map(|rung| rung.at.segment.id());
            let sending = Sending { me: &joined.me, post, spin: wish.spin };
            let ends = companion.ends(&joined.me, true);
            let (outlet, made) = Outlet::link(wish, plan, &ends, self.insists, &sending)?;
            companion.ring_by(&outlet);
            if outlet.segment().is_over() {
                let _ = cleanup::bury(outlet.segment()); // nobody is there any more
            }
            let _ = companion.out.set(outlet.clone());
            companion.join_ways();
            Ok((outlet, made))
        })
    }

    /// The way back, likewise.
    fn way_back(
        &self,
        joined: &Joined,
        companion: &Arc<Companion>,
        one_way: bool,
    ) -> Result<(Arc<Inlet>, bool), Error> {
        let name = Parties::name(&companion.peer, &joined.me);
        let options = planned(&self.back, joined);
        options.plan_as(Kind::Link { one_way }, &name, true, |wish, plan| {
            let _one_at_a_time = joined.companions();
            if let Some(inlet) = companion.back.get() {
                agree_on_link(wish, plan, self.insists, inlet.segment())?;
                return Ok((Arc::clone(inlet), false));
            }
            let ends = companion.ends(&joined.me, false);
            let (inlet, made) = Inlet::link(wish, plan, &ends, self.insists, &joined.post)?;
            let inlet = Arc::new(inlet);
            let _ = companion.back.set(Arc::clone(&inlet));
            joined.note(companion);
            companion.join_ways();
            Ok((inlet, made))
        })
    }

    /// A link that leads one way can't lead the other way too.
    fn none_back(&self, joined: &Joined, companion: &Companion, there: bool) -> Result<(), Error> {
        let (me, peer) = (&joined.me, &companion.peer);
        let other = if there { Parties::name(me, peer) } else { Parties::name(peer, me) };
        if crate::os::file::facts_at(&joined.domain.file(&other)).is_err() {
            return Ok(());
        }
        let (theirs, ours) = ("a way back".into(), "one way only".into());
        Err(Error::WrongChoice { name: other.to_string(), theirs, ours })
    }
}

/// One way of two is there, and the other one is something else: that was refused. Who came to this one meanwhile is
/// told that it is over.
fn made_in_vain(segment: &Segment) {
    cleanup::finish(segment);
    let _ = cleanup::put_away(segment);
}

/// The choices for one way, with those of the process.
fn planned<M: Message + ?Sized>(options: &Options<M>, joined: &Joined) -> Options<M> {
    let mut planned = options.clone().domain(&joined.domain).member(joined.me.name.as_str());
    joined.options.pass_on(&mut planned);
    planned
}

impl<M: Message + ?Sized, R: Message + ?Sized> Link<M, R> {
    /// The choices to make before a link exists.
    pub fn options() -> LinkOptions<M, R> {
        LinkOptions { there: Mailbox::options(), back: Mailbox::options(), insists: Insists::default() }
    }

    /// An end of a pair.
    pub(crate) fn of_pair(outlet: Outlet, inlet: Inlet) -> Link<M, R> {
        Link {
            sender: Sender::new(outlet),
            receiver: Receiver::of(Arc::new(inlet)),
            between: Between::Nameless(OnceLock::new()),
        }
    }

    /// The process at the other end. (Of a [pair](crate::pair()) it has the pid 0 and no name until somebody takes that end.)
    pub fn peer(&self) -> &Peer {
        match &self.between {
            Between::Named { companion, .. } => &companion.is,
            Between::Nameless(known) => known.get().unwrap_or_else(|| {
                let segment = self.receiver.inlet().segment();
                let row = if segment.is_ours() { segment.rows.get(SENDER).ok() } else { None };
                match row.map(member::peer).filter(|peer| peer.pid != 0) {
                    Some(peer) => known.get_or_init(|| peer),
                    None => &NOBODY,
                }
            }),
        }
    }

    /// The end of this process to send by, with all that a sender has.
    pub fn sender(&self) -> &Sender<M> {
        &self.sender
    }

    /// The end of this process to receive by, with all that a receiver has.
    pub fn receiver(&self) -> &Receiver<R> {
        &self.receiver
    }

    /// Whether the other process left this link in an orderly way, and did not die.
    pub fn peer_has_left(&self) -> bool {
        let segment = self.receiver.inlet().segment();
        match &self.between {
            // It says so in the link, if it had opened its end, and where it had joined.
            Between::Named { companion, joined } => {
                joined.ours().is_ok() && (segment.sender_has_left() || companion.has_left())
            }
            Between::Nameless(_) => segment.is_ours() && segment.sender_has_left(),
        }
    }

    /// Sends nothing more by this link: the other process receives what was sent, and is told `Closed` then. What it sends
    /// still comes. What is sent here from now on, by whatever handle, is refused as closed. Other threads may be sending: each of their
    /// messages is received, or refused as closed.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`] in a forked child.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-stop-sending-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// # use tubepost::{Link, Process};
    /// # let alice = Process::options().domain(&domain).join("alice")?;
    /// # let bob = Process::options().domain(&domain).join("bob")?;
    /// let to_bob = alice.link::<str>("bob")?;
    /// let to_alice = bob.link::<str>("alice")?;
    /// to_bob.send("the last word")?;
    /// to_bob.stop_sending()?;
    /// assert_eq!(to_alice.recv()?, "the last word");
    /// assert!(to_alice.recv().is_err_and(|error| error.is_closed()));
    /// to_alice.send("so you think")?;
    /// assert_eq!(to_bob.recv()?, "so you think");
    /// assert!(to_bob.send("but").is_err_and(|error| error.is_closed()));
    /// # drop((alice, bob, to_bob, to_alice));
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop_sending(&self) -> Result<(), Error> {
        let outlet = self.sender.outlet();
        if !outlet.segment().is_ours() && !outlet.segment().is_disowned() {
            return Err(Error::Forked);
        }
        outlet.stop_sending();
        Ok(())
    }

    /// As [`Sender::send`].
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub fn send<'a>(&self, message: M::Sent<'a>) -> Result<(), SendError<M::Sent<'a>>> {
        self.sender.send(message)
    }

    /// As [`Sender::try_send`].
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub fn try_send<'a>(&self, message: M::Sent<'a>) -> Result<(), TrySendError<M::Sent<'a>>> {
        self.sender.try_send(message)
    }

    /// As [`Sender::send_timeout`].
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub fn send_timeout<'a>(
        &self,
        message: M::Sent<'a>,
        timeout: Duration,
    ) -> Result<(), SendTimeoutError<M::Sent<'a>>> {
        self.sender.send_timeout(message, timeout)
    }

    /// As [`Receiver::recv`].
    ///
    /// # Errors
    ///
    /// As there; [`RecvError::Closed`] also when the other process is gone, and all it sent was received.
    #[inline]
    pub fn recv(&self) -> Result<R::Received, RecvError> {
        self.receiver.recv()
    }

    /// As [`Receiver::try_recv`].
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub fn try_recv(&self) -> Result<R::Received, TryRecvError> {
        self.receiver.try_recv()
    }

    /// As [`Receiver::recv_timeout`].
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<R::Received, RecvTimeoutError> {
        self.receiver.recv_timeout(timeout)
    }
}

impl<M: Message + ?Sized, R: Message + ?Sized> Clone for Link<M, R> {
    fn clone(&self) -> Self {
        Link { sender: self.sender.clone(), receiver: self.receiver.clone(), between: self.between.clone() }
    }
}
