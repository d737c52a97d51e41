//! Where those connect who have a link with this process: one socket for all its links.
//!
//! Who connects says at once for which link ([`packet`](super::packet)), and may send. Any thread that looks accepts
//! all who wait for that, and
//! puts each into its link's *pigeonhole*, which is looked into by whoever receives there. As soon as anybody waits,
//! the process's watch thread does that,
//! and nobody else needs to: so what a receiver waits at is its own link's descriptor, and costs the same however many
//! links there are.
//!
//! A few are accepted at a time, as by the owner of a mailbox ([`comers`](super::comers)), and by the same rule: whoever
//! connects again and again keeps neither the
//! watch thread nor a receiver from what else they have to do.
//!
//! **Whom to believe.** A link's name says who sends. Who connects has to be that process, by the kernel's word: of the
//! same user as the segment of the
//! process, and with its number, where numbers mean the same. What is for no link of ours, or from somebody else, is
//! shut and counted.
//!
//! **Before there is a pigeonhole** (this process has not opened the link), a connection is kept if the link's entry is
//! there, and its messages with it.
//! An inbox is told by a note.
//!
//! **What if it dies here?** The socket goes, and all that was not accepted: who connected is hung up.

use super::comers::IN_A_ROW;
use super::packet::{Head, Kind, LONGEST_NAME};
use crate::domain::entry;
use crate::domain::name::Name;
use crate::domain::party::{Identity, Parties, Party};
use crate::domain::segment::Segment;
use crate::os::packet::{self, HEAD, Who};
use crate::os::{Errno, clock};
use crate::queue::layout::Kind as Thing;
use crate::strategy::shared::Attachment;
use crate::sync::watch::{self, Bereaved, Visit, Visited};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use std::collections::HashMap;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// Another user has at most so many connections that did not say what they are for, or that nobody asked for so far.
const MOST_IDLE: usize = 64;
const EVENTS: usize = 64;
/// A death that was told can't be confirmed for at most so long, in nanoseconds: the kernel is still at it.
const GRIEF: u64 = 100_000_000;

const LISTENER: u64 = 0;

/// A connection that said what it is for.
#[derive(Debug)]
pub(super) struct Came {
    pub(super) socket: OwnedFd,
    pub(super) who: Who,
    pub(super) name: String,
    link: u64,
}

/// Who may send by a link, by the kernel's word.
impl Identity {
    fn is(&self, who: &Who) -> bool {
        who.user == self.user && self.pid.is_none_or(|pid| who.pid == pid)
    }
}

/// Which process sends by a link. One that is gone made it itself, or was known before.
fn sender_of(link: &Segment) -> Option<Identity> {
    let sender = &link.parties()?.sender;
    let gone = || Identity { user: link.belongs_to().0, pid: None };
    Some(sender.identity(&link.domain).unwrap_or_else(gone))
}

/// What came for one link.
#[derive(Debug)]
pub(crate) struct Pigeonhole {
    link: u64,
    sender: Identity,
    post: Arc<Post>,
    came: Mutex<Vec<Came>>,
    any: AtomicBool,
    /// Readable: look again.
    nudge: OwnedFd,
    /// The coarse clock until when a death that was told may be confirmed, and one that a connection only hints at.
    grief: AtomicU64,
    hint: AtomicU64,
}

impl Pigeonhole {
    /// That of this link; what came for it already is in it.
    pub(super) fn at(post: &Arc<Post>, link: &Segment, nudge: OwnedFd) -> Option<Arc<Pigeonhole>> {
        let hole = Arc::new(Pigeonhole {
            link: link.id().words()[0],
            sender: sender_of(link)?,
            post: Arc::clone(post),
            came: Mutex::default(),
            any: AtomicBool::new(false),
            nudge,
            grief: AtomicU64::new(0),
            hint: AtomicU64::new(0),
        });
        let mut state = post.state();
        state.holes.insert(link.name.clone(), Arc::downgrade(&hole));
        for came in state.unclaimed.remove(&link.name).into_iter().flatten() {
            post.hand(&hole, came);
        }
        drop(state);
        Some(hole)
    }

    /// What came since. `all`: whoever waits at the socket is to be accepted first, in any case.
    pub(super) fn take(&self, all: bool) -> Vec<Came> {
        if all {
            self.post.look_at_all();
        } else if !self.post.is_attended() || self.post.looks_further() {
            self.post.look();
        }
        if !self.any.swap(false, AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.came.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn nudge(&self) {
        let _ = rustix::io::write(&self.nudge, &1u64.to_ne_bytes()); // a full one is readable
    }

    /// Whether to accept more before anything is said of what came.
    pub(super) fn looks_further(&self) -> bool {
        self.post.looks_further()
    }

    /// A connection was hung up: maybe nobody is there any more.
    pub(super) fn was_hung_up(&self) {
        self.hint.store(clock::coarse() + GRIEF, Relaxed);
    }

    /// Whether a death was told, and is not confirmed.
    pub(super) fn grieves(&self) -> bool {
        let until = self.grief.load(Acquire);
        until != 0 && clock::coarse() < until
    }

    /// Whether a connection was hung up just now.
    pub(super) fn is_hinted(&self) -> bool {
        let until = self.hint.load(Relaxed);
        until != 0 && clock::coarse() < until
    }
}

impl Bereaved for Pigeonhole {
    fn process_died(&self, _pid: u32) {
        if self.post.is_ours() {
            self.grief.store(clock::coarse() + GRIEF, Release);
            self.nudge();
        }
    }
}

/// Called with a link for which somebody came, and which nobody has opened here.
struct Herald(Box<dyn Fn(u64) + Send + Sync>);

impl fmt::Debug for Herald {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Herald")
    }
}

#[derive(Debug, Default)]
struct State {
    /// Those who did not say so far what they are for, by the number that they have in the `epoll` set.
    shy: HashMap<u64, (OwnedFd, Who)>,
    next: u64,
    /// What came for links that nobody has opened here.
    unclaimed: HashMap<Name, Vec<Came>>,
    holes: HashMap<Name, Weak<Pigeonhole>>,
    closed: bool,
}

/// What a connection said first.
enum Said {
    Nothing,
    Link { from: Party, link: u64, name: String },
    Rubbish,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Post {
    /// The process's segment.
    at: Arc<Attachment>,
    me: Party,
    listener: OwnedFd,
    epoll: OwnedFd,
    state: Mutex<State>,
    visit: Mutex<Option<Visit>>,
    attended: AtomicBool,
    herald: OnceLock<Herald>,
    /// So many were accepted; and since nobody waited for that.
    accepted: AtomicU64,
    in_a_row: AtomicU32,
    row_ends: AtomicU64,
}

impl Post {
    /// That of the process that has this segment.
    pub(crate) fn new(at: &Arc<Attachment>, me: &Party, listener: OwnedFd) -> Result<Arc<Post>, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        Ok(Arc::new(Post {
            at: Arc::clone(at),
            me: me.clone(),
            listener,
            epoll,
            state: Mutex::new(State { next: LISTENER + 1, ..State::default() }),
            visit: Mutex::new(None),
            attended: AtomicBool::new(false),
            herald: OnceLock::new(),
            accepted: AtomicU64::new(0),
            in_a_row: AtomicU32::new(0),
            row_ends: AtomicU64::new(0),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_ours(&self) -> bool {
        self.at.segment.is_ours()
    }

    /// Has the watch thread accept from now on, if it can.
    pub(crate) fn attend(self: &Arc<Self>) {
        if self.is_attended() {
            return;
        }
        let mut known = self.visit.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_some() {
            return;
        }
        let weak: Weak<Post> = Arc::downgrade(self);
        if let Ok(visit) = watch::attend(weak) {
            *known = Some(visit);
            let listens = watch::listen(visit, self.epoll.as_fd()).is_ok();
            self.attended.store(listens, Release);
        }
    }

    pub(super) fn is_attended(&self) -> bool {
        self.attended.load(Acquire)
    }

    /// Has this called for each link that somebody uses, and nobody has opened here.
    pub(crate) fn set_herald(&self, herald: impl Fn(u64) + Send + Sync + 'static) {
        let _ = self.herald.set(Herald(Box::new(herald)));
    }

    /// So many connections were accepted so far.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Acquire)
    }

    /// Whether to accept more before anything is said of what came.
    pub(super) fn looks_further(&self) -> bool {
        let in_a_row = self.in_a_row.load(Acquire);
        (1..packet::MOST_WAITING).contains(&in_a_row) && clock::coarse() < self.row_ends.load(Acquire)
    }

    /// Accepts all who wait for that now.
    fn look_at_all(&self) {
        let begin = self.accepted();
        while !self.look() && self.in_a_row.load(Acquire) > 0 {
            if self.accepted() - begin >= packet::MOST_WAITING.into() {
                return;
            }
        }
    }

    /// Accepts some of those who wait for that. `false`: some may be left, for there were too many, or no descriptors.
    pub(super) fn look(&self) -> bool {
        if !self.is_ours() {
            return true;
        }
        let mut unknown = Vec::new();
        let complete = self.look_at(&mut self.state(), &mut unknown);
        // Not under the lock.
        if let Some(Herald(tell)) = self.herald.get() {
            unknown.into_iter().for_each(tell);
        }
        complete
    }

    fn look_at(&self, state: &mut State, unknown: &mut Vec<u64>) -> bool {
        // Whether somebody is left the set tells only if there is.
        let mut accepted = self.in_a_row.load(Acquire) > 0;
        let mut complete = !accepted || self.accept(packet::AT_ONCE, state, unknown);
        let mut events = Vec::with_capacity(EVENTS);
        for _ in 0..=state.shy.len() / EVENTS + 1 {
            events.clear();
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&now)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return false,
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER if accepted => {}
                    LISTENER => {
                        accepted = true;
                        complete = self.accept(packet::AT_ONCE, state, unknown);
                    }
                    number => {
                        if let Some((socket, who)) = state.shy.remove(&number) {
                            let _ = epoll::delete(&self.epoll, &socket);
                            self.hear(state, socket, who, unknown);
                        }
                    }
                }
            }
            if events.len() < EVENTS {
                return complete;
            }
        }
        complete
    }

    fn accept(&self, most: u32, state: &mut State, unknown: &mut Vec<u64>) -> bool {
        for _ in 0..most {
            let socket = match packet::accept(self.listener.as_fd()) {
                Ok(socket) => socket,
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(errno) => {
                    self.in_a_row.store(0, Release);
                    return !matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS);
                }
            };
            // Whoever accepts has the lock.
            self.accepted.store(self.accepted() + 1, Release);
            let in_a_row = self.in_a_row.load(Acquire);
            if in_a_row == 0 {
                self.row_ends.store(clock::coarse() + IN_A_ROW, Release);
            }
            self.in_a_row.store(in_a_row.saturating_add(1), Release);
            if let Ok(who) = packet::who(socket.as_fd()) {
                self.hear(state, socket, who, unknown);
            }
        }
        false
    }

    /// Hears what a connection is for, or has it wait until it says so.
    fn hear(&self, state: &mut State, socket: OwnedFd, who: Who, unknown: &mut Vec<u64>) {
        match said(&socket) {
            Said::Nothing => {
                let theirs = state.shy.values().filter(|(_, other)| other.user == who.user).count();
                let number = state.next;
                let data = epoll::EventData::new_u64(number);
                if self.is_foreign(&who) && theirs >= MOST_IDLE {
                    return self.refuse(&socket);
                }
                // No memory: as if it had not been accepted.
                if epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN).is_ok() {
                    state.next += 1;
                    state.shy.insert(number, (socket, who));
                }
            }
            Said::Link { from, link, name } => {
                let called = Parties::name(&from, &self.me);
                let came = Came { socket, who, name, link };
                if let Some(hole) = state.holes.get(&called).and_then(Weak::upgrade) {
                    return self.hand(&hole, came);
                }
                let theirs = state.unclaimed.values().flatten().filter(|it| it.who.user == came.who.user);
                let too_many = self.is_foreign(&came.who) && theirs.count() >= MOST_IDLE;
                if state.closed || too_many || !self.is_for_us(&called, &came) {
                    return self.refuse(&came.socket);
                }
                state.unclaimed.entry(called).or_default().push(came);
                unknown.push(link);
            }
            Said::Rubbish => self.refuse(&socket),
        }
    }

    fn is_foreign(&self, who: &Who) -> bool {
        ![0, self.at.segment.belongs_to().0].contains(&who.user)
    }

    /// Whether there is such a link, and who came is who sends by it.
    fn is_for_us(&self, called: &Name, came: &Came) -> bool {
        let Ok((_, link)) = entry::open(&self.at.segment.domain, called) else { return false };
        let choice = &link.geometry.choice;
        choice.kernel
            && matches!(choice.kind, Thing::Link { .. })
            && link.id().words()[0] == came.link
            && sender_of(&link).is_some_and(|sender| sender.is(&came.who))
    }

    fn hand(&self, hole: &Pigeonhole, came: Came) {
        if hole.link != came.link || !hole.sender.is(&came.who) {
            return self.refuse(&came.socket);
        }
        hole.came.lock().unwrap_or_else(PoisonError::into_inner).push(came);
        hole.any.store(true, Release);
        hole.nudge();
    }

    fn refuse(&self, socket: &OwnedFd) {
        self.at.segment.header().sockets.shut.fetch_add(1, Relaxed);
        packet::shut(socket.as_fd());
    }

    /// A link is over.
    pub(super) fn forget(&self, link: &Name, hole: &Arc<Pigeonhole>) {
        let mut state = self.state();
        if state.holes.get(link).is_some_and(|known| known.as_ptr() == Arc::as_ptr(hole)) {
            state.holes.remove(link);
        }
    }

    /// The process leaves: nobody comes any more, and who waits is told.
    pub(crate) fn close(&self) {
        packet::shut(self.listener.as_fd());
        let mut state = self.state();
        state.closed = true;
        self.accept(packet::MOST_WAITING, &mut state, &mut Vec::new());
        state.shy.clear();
        state.unclaimed.clear();
    }
}

/// Hears what a connection says first.
fn said(socket: &OwnedFd) -> Said {
    let (mut head, mut rest, mut descriptors) = ([0; HEAD], Vec::new(), Vec::new());
    let came = loop {
        match packet::receive(socket.as_fd(), &mut head, &mut rest, LONGEST_NAME, Some(&mut descriptors)) {
            Ok(came) => break came,
            Err(Errno::AGAIN) => return Said::Nothing,
            Err(Errno::CONNRESET) => {} // it went with something unread: what it sent before is still there
            Err(_) => return Said::Rubbish,
        }
    };
    let whole = !came.cut && !came.lost && descriptors.is_empty();
    let Some(head) = Head::decode(&head, came.length).filter(|head| whole && head.kind == Kind::Link) else {
        return Said::Rubbish;
    };
    let name = String::from_utf8(rest).ok();
    match name.and_then(|name| Some((Name::new(&name).ok()?, name))) {
        Some((from, name)) => {
            Said::Link { from: Party::of_life(from, head.token), link: head.descriptors, name }
        }
        None => Said::Rubbish,
    }
}

impl Visited for Post {
    fn is_readable(&self) {
        while !self.look() && self.in_a_row.load(Acquire) > 0 {
            // Those of others first.
            let visit = *self.visit.lock().unwrap_or_else(PoisonError::into_inner);
            if visit.is_some_and(|visit| watch::listen_again(visit, self.epoll.as_fd()).is_ok()) {
                return;
            }
        }
    }

    fn look_again(&self) -> bool {
        if self.is_ours() {
            self.is_readable();
            let domain = &self.at.segment.domain;
            let is_there = |link: &Name| crate::os::file::facts_at(&domain.file(link)).is_ok();
            self.state().unclaimed.retain(|link, _| is_there(link));
        }
        false
    }

    fn waits(&self) -> bool {
        false
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        let visit = *self.visit.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(visit) = visit
            && self.is_ours()
        {
            watch::part(visit, self.epoll.as_fd());
        }
    }
}
