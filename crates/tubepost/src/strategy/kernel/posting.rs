//! A sender's end of the sealed strategy: its area, which it writes, and the owner's, which it reads; see [`super::lane`].
//!
//! Threads of a handle, and its clones, take turns at one area. The owner's is sent when the owner accepts the connection. Until then nothing is consumed, so
//! nothing has to be known of it.
//!
//! **Who waits.** A note by the socket wakes one. Of several threads that wait one, the *leader*, waits at the socket; it takes the note away and wakes the
//! others. While there is a leader nobody else takes notes away. Where there is none, whoever takes one away wakes all: threads, tasks and who waits at the descriptor.
//!
//! **The end.** A sender looks at `closing` after it published, with a fence between; the owner sets it before it counts. So either the message is counted, or its
//! sender sees that it may not be, and reads up to where the owner counted. Of an owner that died each sender counts what it has not consumed.
//!
//! **What if it dies here?** Before it is published a message is nobody's; after that it is sent. The owner: the kernel hangs up.

use super::connection::{Connection, MOST_HEARD};
use super::packet::{ANY, Head, Kind};
use crate::domain::failed;
use crate::error::{Closed, Error};
use crate::os::{Errno, clock, packet, sealed};
use crate::queue::sealed::{Posted, Progress, Shape};
use crate::strategy::Refusal;
use crate::sync::wait::poll;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use std::cell::Cell;
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU8, AtomicU64, fence};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// So long a sender waits for what the owner is just about to say, unless that one is stopped.
const A_WHILE: Duration = Duration::from_millis(100);

/// What became of an awaited message.
const WAITS: u8 = 0;
const COLLECTED: u8 = 1;
const SKIPPED: u8 = 2;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Posting {
    shape: Shape,
    posted: Posted,
    hand: Mutex<Hand>,
    turn: Condvar,
    /// Readable while somebody who waits at the descriptor should look.
    bell: OnceLock<OwnedFd>,
    /// The coarse clock when the socket was last asked whether anybody is there.
    looked: AtomicU64,
}

#[derive(Debug)]
struct Hand {
    progress: Option<Progress>,
    published: u64,
    /// As it was seen last.
    consumed: u64,
    /// Where the next record goes, and how many bytes of the ring are free.
    at: usize,
    free: usize,
    /// What is published and not consumed.
    records: VecDeque<Sent>,
    /// Which sleep of the owner's it was told of, how often the sender waited, and whether it will be told of the last time.
    told: u64,
    wants: u64,
    armed: bool,
    led: bool,
    /// How often notes were taken away.
    turns: u64,
    /// There was no descriptor for the owner's area.
    starved: bool,
}

#[derive(Debug)]
struct Sent {
    at: usize,
    length: usize,
    fate: Option<Arc<AtomicU8>>,
    withdrawn: bool,
}

/// A message that its sender waits for.
#[derive(Debug)]
pub(super) struct Awaited {
    position: u64,
    fate: Arc<AtomicU8>,
}

/// How it went with a message.
enum Went {
    Well,
    NoRoom,
    Badly(Error),
    /// It is published, and somebody closes the mailbox.
    Late(u64),
}

/// A message wanted back.
pub(super) enum Back {
    Withdrawn,
    Collected,
    /// The owner stands still while it takes it, or skips it.
    Unknown,
}

impl Hand {
    /// Reads how far the owner is.
    #[inline]
    fn advance(&mut self, at: &Connection) -> Result<(), Error> {
        let Some(progress) = &self.progress else { return Ok(()) };
        let consumed = progress.consumed();
        if consumed < self.consumed || consumed > self.published {
            let name = at.segment.name.to_string();
            return Err(Error::Damaged { name, what: "its owner claims to have what was not sent".into() });
        }
        while self.consumed < consumed {
            if let Some(sent) = self.records.pop_front() {
                self.free += Shape::record(sent.length);
                if let Some(fate) = sent.fate {
                    fate.store(if progress.is_skipped(self.consumed) { SKIPPED } else { COLLECTED }, Release);
                }
            }
            self.consumed += 1;
        }
        Ok(())
    }

    #[inline]
    fn has_room(&self, shape: &Shape, length: usize) -> bool {
        self.published - self.consumed < shape.places && Shape::record(length) <= self.free
    }
}

impl Posting {
    /// Makes an area, and gives what is to be sent to the owner.
    pub(super) fn new(shape: Shape) -> Result<(Posting, OwnedFd), Errno> {
        let (fd, map) = sealed::make(shape.posted())?;
        let hand = Hand {
            progress: None,
            published: 0,
            consumed: 0,
            at: 0,
            free: shape.ring(),
            records: VecDeque::new(),
            told: 0,
            wants: 0,
            armed: false,
            led: false,
            turns: 0,
            starved: false,
        };
        let posting = Posting {
            shape,
            posted: Posted::new(map, &shape),
            hand: Mutex::new(hand),
            turn: Condvar::new(),
            bell: OnceLock::new(),
            looked: AtomicU64::new(clock::coarse()),
        };
        Ok((posting, fd))
    }

    fn hand(&self) -> MutexGuard<'_, Hand> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends if there is room now.
    #[inline]
    pub(super) fn try_send(&self, at: &Connection, bytes: &[u8]) -> Result<(), Refusal> {
        self.post(at, bytes, None)
    }

    #[inline]
    fn post(&self, at: &Connection, bytes: &[u8], awaited: Option<&mut Awaited>) -> Result<(), Refusal> {
        let now = clock::coarse();
        if self.looked.load(Relaxed) != now {
            self.looked.store(now, Relaxed);
            if at.is_ready(PollFlags::RDHUP) {
                return Err(at.hung_up());
            }
        }
        if at.segment.is_closing() {
            return Err(Refusal::Closed(at.buried()));
        }
        let went = self.post_in(&mut self.hand(), at, bytes, awaited);
        match went {
            Went::Well => Ok(()),
            Went::NoRoom => Err(at.full()),
            Went::Badly(error) => Err(error.into()),
            Went::Late(position) => self.late(at, position),
        }
    }

    #[inline]
    fn post_in(&self, hand: &mut Hand, at: &Connection, bytes: &[u8], awaited: Option<&mut Awaited>) -> Went {
        if hand.progress.is_none() && !hand.led {
            self.hear(hand, at);
        }
        if !hand.has_room(&self.shape, bytes.len()) {
            if let Err(error) = hand.advance(at) {
                return Went::Badly(error);
            }
            if !hand.has_room(&self.shape, bytes.len()) {
                if hand.starved {
                    let doing = "to get a descriptor for what is sent by the owner of";
                    return Went::Badly(failed(doing, &at.segment.path(), Errno::MFILE));
                }
                return Went::NoRoom;
            }
        }
        let (place, position) = (hand.at, hand.published);
        self.posted.write(place, bytes, awaited.is_some());
        let fate = awaited.map(|awaited| {
            awaited.position = position;
            Arc::clone(&awaited.fate)
        });
        hand.records.push_back(Sent { at: place, length: bytes.len(), fate, withdrawn: false });
        hand.at = self.shape.after(place, bytes.len());
        hand.free -= Shape::record(bytes.len());
        hand.published += 1;
        self.posted.publish(hand.published);
        fence(SeqCst);
        if let Some(progress) = &hand.progress {
            let asleep = progress.asleep();
            if asleep != 0 && asleep != hand.told {
                hand.told = asleep;
                self.say(at);
            }
        }
        if at.segment.is_closing() { Went::Late(position) } else { Went::Well }
    }

    #[cold]
    fn say(&self, at: &Connection) {
        let head = Head { kind: Kind::Note, length: 0, token: ANY, descriptors: 0, after: 0 };
        let _ = packet::send(at.socket.as_fd(), &head.encode(), &[], &[]); // nobody is there, or has to be told
    }

    /// A message was published while somebody closes the mailbox: whether it was counted.
    #[cold]
    fn late(&self, at: &Connection, position: u64) -> Result<(), Refusal> {
        let end = Instant::now() + A_WHILE;
        loop {
            let hung_up = at.is_ready(PollFlags::RDHUP);
            let mut hand = self.hand();
            if !hand.led {
                self.hear(&mut hand, at);
            }
            if let Some(progress) = &hand.progress {
                let ended = progress.ended();
                if progress.consumed() > position || ended > position + 1 {
                    return Ok(());
                }
                if ended != 0 {
                    break;
                }
            }
            if hung_up || Instant::now() >= end {
                // Nobody counts it.
                if let Some(last) = hand.records.back_mut() {
                    last.withdrawn = true;
                }
                break;
            }
            drop(hand);
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(Refusal::Closed(at.buried()))
    }

    /// Takes away what came by the socket. Whether there was anything; then who waits has to be [told](Self::tell).
    fn hear(&self, hand: &mut Hand, at: &Connection) -> bool {
        let (mut head, mut rest, socket) = ([0; packet::HEAD], Vec::new(), at.socket.as_fd());
        let mut any = false;
        // Not for ever: an owner may send as fast as this hears.
        for _ in 0..MOST_HEARD {
            let mut descriptors = Vec::new();
            if hand.progress.is_none() {
                // What comes after this look is for the next one: its descriptor is not here.
                match packet::peek_whole(socket, &mut head, &mut rest, 0, &mut descriptors) {
                    Ok(came) if came.length > 0 => hand.starved = came.lost,
                    Err(Errno::CONNRESET) => continue,
                    _ => break,
                }
                if hand.starved {
                    break;
                }
            }
            let came = match packet::receive(socket, &mut head, &mut rest, 0, None) {
                Ok(came) if came.length > 0 => came,
                Err(Errno::CONNRESET) => continue,
                _ => break,
            };
            any = true;
            match Head::decode(&head, came.length).map(|head| head.kind) {
                Some(Kind::Area) if hand.progress.is_none() => {
                    let area = descriptors.pop();
                    let map = area.map(|area| sealed::view(area.as_fd(), self.shape.progress()));
                    match map {
                        Some(Ok(map)) => hand.progress = Some(Progress::new(map, &self.shape)),
                        // Without it nothing goes on here.
                        _ => packet::shut(socket),
                    }
                }
                Some(Kind::Note) => hand.armed = false,
                _ => {}
            }
        }
        hand.turns += u64::from(any);
        any
    }

    /// Has all look again who wait.
    fn tell(&self, at: &Connection) {
        self.turn.notify_all();
        at.waiters.wake_all();
        self.ring();
    }

    fn ring(&self) {
        if let Some(bell) = self.bell.get() {
            let _ = rustix::io::write(bell, &1u64.to_ne_bytes()); // a full one is readable
        }
    }

    /// Has the owner send a note when it goes on; who calls it looks again then. Gives how often notes were taken away.
    fn arm(&self, at: &Connection) -> u64 {
        let (told, turns) = {
            let mut hand = self.hand();
            let told = !hand.led && self.hear(&mut hand, at);
            if !hand.armed {
                hand.armed = true;
                hand.wants += 1;
                self.posted.want(hand.wants);
            }
            fence(SeqCst);
            (told, hand.turns)
        };
        if told {
            self.tell(at);
        }
        turns
    }

    /// Tries again and again, as long as that gives nothing, until the deadline.
    #[cold]
    pub(super) fn wait<R>(
        &self,
        at: &Connection,
        deadline: Option<Instant>,
        mut attempt: impl FnMut() -> Option<Result<R, Refusal>>,
    ) -> Result<R, Refusal> {
        loop {
            let spin = at.spin();
            let (found, trying) = (Cell::new(None), Cell::new(Some(&mut attempt)));
            let look = || {
                let Some(attempt) = trying.take() else { return true };
                let done = (*attempt)();
                trying.set(Some(attempt));
                let any = done.is_some();
                found.set(done);
                any
            };
            if !spin.is_zero()
                && poll(spin, deadline, look)
                && let Some(done) = found.into_inner()
            {
                return done;
            }
            let longest = match at.look() {
                Ok(longest) => longest,
                // It may be there all the same.
                Err(refusal) => return attempt().unwrap_or(Err(refusal)),
            };
            let turns = self.arm(at);
            if let Some(done) = attempt() {
                return done;
            }
            let left =
                deadline.map_or(longest, |end| end.saturating_duration_since(Instant::now()).min(longest));
            if left.is_zero() {
                return Err(Refusal::Waiting);
            }
            self.sleep(at, turns, left);
        }
    }

    /// Sleeps until the owner goes on, unless notes were taken away since.
    fn sleep(&self, at: &Connection, turns: u64, longest: Duration) {
        let mut hand = self.hand();
        if hand.turns != turns {
            return;
        }
        if hand.led {
            drop(self.turn.wait_timeout(hand, longest));
            return;
        }
        hand.led = true;
        let starved = hand.starved;
        drop(hand);
        let flags = if starved { PollFlags::RDHUP } else { PollFlags::IN | PollFlags::RDHUP };
        let mut polled = vec![PollFd::new(&at.socket, flags)];
        polled.extend(at.death().map(|death| PollFd::from_borrowed_fd(death, PollFlags::IN)));
        at.poll(&mut polled, if starved { longest.min(A_WHILE) } else { longest });
        {
            let mut hand = self.hand();
            hand.led = false;
            self.hear(&mut hand, at);
            hand.turns += 1;
        }
        self.tell(at);
    }

    /// Sends, waiting for room until the deadline.
    #[inline]
    pub(super) fn send(
        &self,
        at: &Connection,
        bytes: &[u8],
        deadline: Option<Instant>,
    ) -> Result<(), Refusal> {
        match self.try_send(at, bytes) {
            Err(Refusal::Waiting) => self.wait(at, deadline, || found(self.try_send(at, bytes))),
            done => done,
        }
    }

    /// One try of a task that waits, and will be woken.
    pub(super) fn attempt<R>(
        &self,
        at: &Connection,
        mut attempt: impl FnMut() -> Option<Result<R, Refusal>>,
    ) -> Option<Result<R, Refusal>> {
        attempt().or_else(|| {
            self.arm(at);
            attempt()
        })
    }

    /// Sends a message that is awaited, if there is room now.
    pub(super) fn try_send_awaited(&self, at: &Connection, bytes: &[u8]) -> Result<Awaited, Refusal> {
        let mut awaited = Awaited { position: 0, fate: Arc::new(AtomicU8::new(WAITS)) };
        self.post(at, bytes, Some(&mut awaited))?;
        Ok(awaited)
    }

    /// Whether a message was collected, if that is decided. (One that is not wanted back is never skipped.)
    pub(super) fn is_collected(&self, at: &Connection, awaited: &Awaited) -> Option<Result<bool, Refusal>> {
        if awaited.fate.load(Acquire) == WAITS {
            let mut hand = self.hand();
            if hand.progress.is_none() && !hand.led {
                self.hear(&mut hand, at);
            }
            if let Err(error) = hand.advance(at) {
                return Some(Err(error.into()));
            }
        }
        match awaited.fate.load(Acquire) {
            WAITS => None,
            fate => Some(Ok(fate == COLLECTED)),
        }
    }

    /// Takes a message back, unless the owner has it.
    #[cold]
    pub(super) fn withdraw(&self, at: &Connection, awaited: &Awaited) -> Back {
        let is_taking = {
            let mut hand = self.hand();
            let _ = hand.advance(at); // who finds it damaged says so elsewhere
            let consumed = hand.consumed;
            let place = awaited.position.checked_sub(consumed).map(|place| place as usize);
            if let Some(sent) = place.and_then(|place| hand.records.get_mut(place)) {
                sent.withdrawn = true;
                self.posted.withdraw(sent.at, sent.length);
            }
            fence(SeqCst);
            if hand.progress.is_none() && !hand.led {
                self.hear(&mut hand, at);
            }
            hand.progress.as_ref().is_some_and(|progress| progress.taking() > awaited.position)
        };
        match awaited.fate.load(Acquire) {
            COLLECTED => return Back::Collected,
            SKIPPED => return Back::Withdrawn,
            _ if !is_taking => return Back::Withdrawn,
            _ => {}
        }
        let decided = self.wait(at, Some(Instant::now() + A_WHILE), || self.is_collected(at, awaited));
        match decided {
            Ok(true) => Back::Collected,
            Ok(false) => Back::Withdrawn,
            // Who is gone had it in nobody's hand.
            Err(Refusal::Closed(_)) => Back::Withdrawn,
            Err(_) => Back::Unknown,
        }
    }

    /// What was never consumed, if its owner died and so can't say.
    pub(super) fn told(&self, at: &Connection, closed: Closed) -> Closed {
        let mut hand = self.hand();
        if !hand.led {
            self.hear(&mut hand, at);
        }
        let _ = hand.advance(at); // then as far as is known
        if hand.progress.as_ref().is_some_and(|progress| progress.ended() != 0) {
            return closed;
        }
        let ours = hand.records.iter().filter(|sent| !sent.withdrawn).count() as u64;
        Closed { uncollected: closed.uncollected.saturating_add(ours) }
    }

    /// How many messages of this sender wait.
    pub(super) fn waiting(&self, at: &Connection) -> u64 {
        let mut hand = self.hand();
        if hand.progress.is_none() && !hand.led {
            self.hear(&mut hand, at);
        }
        let _ = hand.advance(at); // then as far as is known
        hand.records.iter().filter(|sent| !sent.withdrawn).count() as u64
    }

    /// Whether there is room for any message.
    pub(super) fn has_room(&self, at: &Connection) -> bool {
        let mut hand = self.hand();
        if hand.progress.is_none() && !hand.led {
            self.hear(&mut hand, at);
        }
        hand.advance(at).is_err() || hand.has_room(&self.shape, self.shape.longest)
    }

    /// The same for who waits at the descriptor, which is readable then and otherwise when there is.
    pub(super) fn has_room_or_tells(&self, at: &Connection) -> bool {
        if let Some(bell) = self.bell.get() {
            let _ = rustix::io::read(bell, &mut [0; 8][..]);
        }
        let room = self.has_room(at) || {
            self.arm(at);
            self.has_room(at)
        };
        if room {
            self.ring();
        }
        room
    }

    /// What else the descriptor of a sender tells of.
    pub(super) fn bell(&self) -> Result<&OwnedFd, Errno> {
        if let Some(bell) = self.bell.get() {
            return Ok(bell);
        }
        let made = eventfd(1, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(self.bell.get_or_init(|| made))
    }
}

/// What was done, unless it has to wait.
pub(super) fn found<R>(done: Result<R, Refusal>) -> Option<Result<R, Refusal>> {
    match done {
        Err(Refusal::Waiting) => None,
        done => Some(done),
    }
}
