//! Processes that name each other: joining a domain, and what a process has there.
//!
//! A process that joins has a segment under its name, of which it is the owner: that it lives, and which life of it this is, others
//! see by that (`domain::party`). What is sent there are *notes*: the number of a link in which something has come. Who
//! waits for anybody (`inbox`) asks for a note in each link that it found empty, and waits for notes.
//!
//! All links of a process are kept here, so that there is one for each pair, whatever handles there are.
//!
//! Beside the segment is a socket: who has a link of the kernel strategy with this process connects there (`strategy::kernel::post`).
//!
//! **What if it dies here?** Others see that it is gone and put its segment away, and the socket's name with it; its links: see
//! `strategy::shared::link`, `strategy::kernel::link`.

use crate::companion::Companion;
use crate::domain::Domain;
use crate::domain::member;
use crate::domain::name::Name;
use crate::domain::party::{Parties, Party};
use crate::domain::segment::Id;
use crate::domain::{cleanup, failed};
use crate::error::{Error, LONG_FOR_A_PROCESS};
use crate::inbox::Inbox;
use crate::link::{Link, LinkOptions};
use crate::mailbox::{Common, Mailbox, Options};
use crate::message::Message;
use crate::monitor::Monitor;
use crate::queue::layout::{Kind, MAX_MEMBER_NAME, OWNER, SENDER};
use crate::receiver::Receiver;
use crate::strategy::kernel::post::Post;
use crate::strategy::shared::attach::Opened;
use crate::strategy::shared::attach::Wish;
use crate::strategy::shared::outlet::Outlet;
use crate::strategy::{self, Inlet, shared};
use std::collections::HashMap;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// Notes have at most so many bytes; more links than that are never ready at one time.
const NOTES: u64 = 64 << 20;
/// Notes for which there is memory at once.
const FIRST_NOTES: u64 = 64;

/// A process in a domain, under a name that nobody else has there while it lives.
///
/// Processes that joined have [links](Link) with each other, one for each two, and receive from [anybody](Inbox). The last clone that is
/// dropped, of this, its links and its inbox, leaves: others are told so, as they are told of a death.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-process-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// use tubepost::Process;
///
/// let alice = Process::options().domain(&domain).join("alice")?;
/// let bob = Process::options().domain(&domain).join("bob")?; // as a rule in another process
///
/// let to_bob = alice.link::<str>("bob")?;
/// to_bob.send("good morning")?;
///
/// let to_alice = bob.link::<str>("alice")?;
/// assert_eq!(to_alice.recv()?, "good morning");
/// # drop((alice, bob, to_bob, to_alice));
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Process {
    pub(crate) joined: Arc<Joined>,
}

/// The choices to make before a process joins.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-process-options-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// let alice = tubepost::Process::options().domain(&domain).join("alice")?;
/// let again = tubepost::Process::options().domain(&domain).join("alice");
/// assert!(matches!(again, Err(tubepost::Error::Joined { .. })));
/// # drop(alice);
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), tubepost::Error>(())
/// ```
#[must_use]
#[derive(Clone, Debug)]
pub struct ProcessOptions {
    common: Common,
    mode: u32,
    group: Option<u32>,
}

impl ProcessOptions {
    /// What the links of this process have of it.
    pub(crate) fn pass_on<M: Message + ?Sized>(&self, options: &mut Options<M>) {
        options.mode = self.mode;
        options.group = self.group;
        options.common.spin = self.common.spin;
    }

    /// Where the names are; by default in [`Domain::open_default`].
    pub fn domain(mut self, domain: &Domain) -> Self {
        self.common.domain = Some(domain.clone());
        self
    }

    /// How long a blocking call polls before it sleeps: 30 µs by default.
    pub fn spin(mut self, spin: Duration) -> Self {
        self.common.spin = spin;
        self
    }

    /// Whose processes it may have links with: `0o600`, the default, only those of its own user; with `0o660` those of its group
    /// too. Others need a domain that lets them in, see [`Domain::open`].
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// The group that [`mode`](Self::mode) speaks of; by default the process's own, or the domain's if it has the setgid bit.
    pub fn group(mut self, gid: u32) -> Self {
        self.group = Some(gid);
        self
    }

    /// Joins under this name, of at most 64 bytes. That of a dead process is taken over.
    ///
    /// # Errors
    ///
    /// [`Error::Joined`] if a living process is called so; [`Error::Owned`], [`Error::Exists`] if a mailbox is;
    /// [`Error::BadName`]; as for [`Options::own`](crate::Options::own).
    pub fn join(&self, name: &str) -> Result<Process, Error> {
        let name = name_of_process(name)?;
        let mut options = Mailbox::<u64>::options().unbounded().ceiling(NOTES).member(name.as_str());
        self.pass_on(&mut options);
        options.places = FIRST_NOTES;
        options.common.domain.clone_from(&self.common.domain);
        let (notes, listener) = options.plan_as(Kind::Process, &name, true, shared::inlet::Inlet::join)?;
        let domain = notes.at.segment.domain.clone();
        let me = Party::new(&name, notes.at.segment.id());
        let post = Post::new(&notes.at, &me, listener).map_err(|errno| {
            let _ = notes.close(); // it has not joined
            failed("to get a descriptor for the links of", &domain.file(&name), errno)
        })?;
        let joined = Joined {
            domain,
            me,
            post,
            options: self.clone(),
            notes: Receiver::new(strategy::Inlet::Shared(notes)),
            companions: Mutex::default(),
            noted: Mutex::default(),
            inboxes: AtomicUsize::new(0),
            own: OnceLock::new(),
        };
        Ok(Process { joined: Arc::new(joined) })
    }
}

/// What a process may be called.
pub(crate) fn name_of_process(name: &str) -> Result<Name, Error> {
    let name = Name::new(name)?;
    if name.as_str().len() > MAX_MEMBER_NAME {
        return Err(Error::BadName { name: name.to_string(), why: LONG_FOR_A_PROCESS });
    }
    Ok(name)
}

impl Process {
    /// Joins the default domain under this name.
    ///
    /// # Errors
    ///
    /// As for [`ProcessOptions::join`].
    pub fn join(name: &str) -> Result<Process, Error> {
        Process::options().join(name)
    }

    /// The choices to make before a process joins.
    pub fn options() -> ProcessOptions {
        ProcessOptions { common: Common::default(), mode: 0o600, group: None }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        self.joined.me.name.as_str()
    }

    /// Where it joined.
    pub fn domain(&self) -> &Domain {
        &self.joined.domain
    }

    /// The link with that process, which is set up if it is not there yet. For what it is to be, see [`Link::options`].
    ///
    /// # Errors
    ///
    /// As for [`LinkOptions::open`].
    pub fn link<M: Message + ?Sized>(&self, peer: &str) -> Result<Link<M>, Error> {
        Link::options().open(self, peer)
    }

    /// Receives from any process that has a link with this one, or will have.
    ///
    /// # Errors
    ///
    /// [`Error::BadOption`] if a message of this type needs a label: then see [`Inbox::labelled`].
    pub fn inbox<M: Message + ?Sized>(&self) -> Result<Inbox<M>, Error> {
        Inbox::new(self, None)
    }

    /// Tells when that process is gone.
    ///
    /// # Errors
    ///
    /// [`Error::BadName`]; [`Error::WrongKind`] if something else is called so; [`Error::Denied`], [`Error::Os`].
    pub fn monitor(&self, peer: &str) -> Result<Monitor, Error> {
        Monitor::of(&self.joined, &name_of_process(peer)?)
    }

    /// Leaves, whatever handles there are still: its links and its inbox are closed, the name is free.
    pub fn leave(&self) {
        self.joined.leave();
    }

    /// Sets up a link with the choices of `options`; see there.
    pub(crate) fn open<M: Message + ?Sized, R: Message + ?Sized>(
        &self,
        options: &LinkOptions<M, R>,
        peer: &Name,
    ) -> Result<Link<M, R>, Error> {
        let companion = self.joined.companion(peer)?;
        options.set_up(self, companion)
    }
}

/// A process that joined; it leaves when this is dropped.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) domain: Domain,
    pub(crate) me: Party,
    pub(crate) options: ProcessOptions,
    pub(crate) notes: Receiver<u64>,
    /// Where those connect who have a link of the kernel strategy with it.
    pub(crate) post: Arc<Post>,
    /// All its links, by the name of what comes in.
    companions: Mutex<HashMap<Name, Arc<Companion>>>,
    /// The same, by what notes call them.
    noted: Mutex<HashMap<u64, Weak<Companion>>>,
    /// How many inboxes there are.
    pub(crate) inboxes: AtomicUsize,
    /// For notes to oneself.
    own: OnceLock<Outlet>,
}

/// By which number notes speak of a link.
pub(crate) fn note_of(id: Id) -> u64 {
    id.words()[0]
}

impl Joined {
    /// In a forked child there is nothing of this: what its parent had mapped is not there.
    pub(crate) fn ours(&self) -> Result<(), Error> {
        if self.notes.inlet().segment().is_ours() { Ok(()) } else { Err(Error::Forked) }
    }

    pub(crate) fn companions(&self) -> MutexGuard<'_, HashMap<Name, Arc<Companion>>> {
        self.companions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a process wants that opens another's place for notes.
    pub(crate) fn ring_at(&self, peer: &Name) -> Result<Outlet, Error> {
        let common = Common {
            domain: None,
            label: None,
            format: None,
            member: Some(self.me.name.as_str().into()),
            spin: self.options.common.spin,
        };
        let format = common.format::<u64>()?;
        let wish = common.wish(&self.domain, peer, &format)?;
        match Outlet::open(&Wish { kind: Kind::Process, ..wish })? {
            Opened::Here(outlet) => Ok(outlet),
            Opened::Elsewhere => {
                let (name, domain) = (peer.to_string(), self.domain.path().into());
                Err(Error::NoSuchName { name, domain, wanted: "a process" })
            }
        }
    }

    /// What there is in common with a living process, or one that is gone and left messages for us.
    pub(crate) fn companion(&self, peer: &Name) -> Result<Arc<Companion>, Error> {
        self.ours()?;
        if *peer == self.me.name {
            return Err(Error::BadOption {
                what: "the other end of a link",
                given: format!("{:?}, this process itself", peer.as_str()),
                allowed: "a link is between two processes".into(),
            });
        }
        let known = self
            .companions()
            .values()
            .find(|companion| companion.peer.name == *peer && companion.lives())
            .cloned();
        if let Some(companion) = known {
            return Ok(companion);
        }
        let rung = match self.ring_at(peer) {
            Err(gone @ (Error::NoSuchName { .. } | Error::OwnerGone { .. })) => {
                return self.left_behind(peer).ok_or(gone);
            }
            rung => rung?,
        };
        let party = Party::new(peer, rung.at.segment.id());
        let namespace = rung.at.segment.rows.get(OWNER).map_or(0, |row| row.namespace.load(Relaxed));
        let (is, rung) = (rung.at.segment.owner(), OnceLock::from(rung));
        let key = Parties::name(&party, &self.me);
        let mut companions = self.companions();
        if let Some(companion) = companions.get(&key) {
            let _ = rung.into_inner().map(|rung| companion.rung.set(rung));
            return Ok(Arc::clone(companion));
        }
        let companion = Companion {
            peer: party,
            is,
            namespace,
            rung,
            out: OnceLock::new(),
            back: OnceLock::new(),
            listed: AtomicBool::new(false),
        };
        let companion = Arc::new(companion);
        companions.retain(|_, companion| {
            companion.rung.get().is_none_or(|rung| !rung.at.segment.is_closed()) || companion.has_back()
        });
        companions.insert(key, Arc::clone(&companion));
        Ok(companion)
    }

    /// What one that is gone by now sent us before, and nobody has received. It is an inbox's, where there is one.
    fn left_behind(&self, peer: &Name) -> Option<Arc<Companion>> {
        if self.inboxes.load(Acquire) > 0 {
            return None;
        }
        self.discover();
        let of_it =
            |companion: &&Arc<Companion>| companion.peer.name == *peer && companion.has_sent_something();
        self.companions().values().find(of_it).cloned()
    }

    /// Finds links that others have set up.
    pub(crate) fn discover(&self) {
        let files = std::fs::read_dir(self.domain.path()).into_iter().flatten().flatten();
        for file in files {
            let Some(name) = Name::of_link_file(&file.file_name().to_string_lossy()) else { continue };
            let Some(parties) = Parties::of(&name).filter(|parties| parties.receiver.is(&self.me)) else {
                continue;
            };
            let mut companions = self.companions();
            if companions.get(&name).is_some_and(|companion| companion.back.get().is_some()) {
                continue;
            }
            // What can't be opened now is found again in a second.
            let spin = self.options.common.spin;
            let Ok(inlet) = Inlet::of_made_link(&self.domain, &name, spin, &self.post) else { continue };
            let row = inlet.segment().rows.get(SENDER);
            let Ok((namespace, is)) = row.map(|row| (row.namespace.load(Acquire), member::peer(row))) else {
                continue;
            };
            let companion = companions.entry(name).or_insert_with(|| {
                Arc::new(Companion {
                    peer: parties.sender,
                    is,
                    namespace,
                    rung: OnceLock::new(),
                    out: OnceLock::new(),
                    back: OnceLock::new(),
                    listed: AtomicBool::new(false),
                })
            });
            let _ = companion.back.set(Arc::new(inlet));
            self.note(companion);
        }
    }

    /// By what this process sends notes to itself.
    fn own(&self) -> Option<Outlet> {
        if self.own.get().is_none()
            && let Ok(own) = self.ring_at(&self.me.name)
        {
            let _ = self.own.set(own);
        }
        self.own.get().cloned()
    }

    /// Has this process told by a note when there is something in a link that was found empty, or its sender dies. Look again after this.
    pub(crate) fn hear_of(&self, back: &Inlet) {
        let (segment, note) = (back.segment(), note_of(back.id()));
        match back {
            Inlet::Shared(_) => {
                if segment.herald().is_none()
                    && let Some(own) = self.own()
                {
                    segment.set_herald(move || own.note(note));
                }
                segment.arm_herald();
            }
            Inlet::Kernel(inlet) => {
                if let Some(own) = self.own() {
                    inlet.tell(move || own.note(note));
                }
            }
            Inlet::File(_) => unreachable!("a link is not kept in files"),
        }
    }

    /// Has this process told by a note of links that others use first.
    pub(crate) fn hear_of_newcomers(&self) {
        if let Some(own) = self.own() {
            self.post.set_herald(move |link| own.note(link));
            self.post.attend();
        }
    }

    fn by_note(&self) -> MutexGuard<'_, HashMap<u64, Weak<Companion>>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has notes of what comes in found.
    pub(crate) fn note(&self, companion: &Arc<Companion>) {
        if let Some(back) = companion.back.get() {
            let mut noted = self.by_note();
            noted.retain(|_, companion| companion.strong_count() > 0);
            noted.insert(note_of(back.id()), Arc::downgrade(companion));
        }
    }

    /// The link that a note speaks of.
    pub(crate) fn noted(&self, note: u64) -> Option<Arc<Companion>> {
        let find = || self.by_note().get(&note).and_then(Weak::upgrade);
        find().or_else(|| {
            self.discover();
            find()
        })
    }

    /// A link that is over is none any more.
    pub(crate) fn forget(&self, companion: &Companion) {
        self.companions().remove(&Parties::name(&companion.peer, &self.me));
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Joined {
    /// Ends all links, and what the name stands for.
    fn leave(&self) {
        let notes = self.notes.inlet().segment();
        if !notes.is_ours() {
            return;
        }
        notes.header().life.left.store(1, std::sync::atomic::Ordering::Release);
        for companion in self.companions().values() {
            if let Some(out) = companion.out.get() {
                out.stop_sending();
                if out.segment().is_over() {
                    let _ = cleanup::bury(out.segment()); // who received is gone; it may not be ours to remove
                }
            }
            if let Some(back) = companion.back.get() {
                let _ = back.close();
            }
        }
        self.post.close();
        let _ = self.notes.close();
    }
}
