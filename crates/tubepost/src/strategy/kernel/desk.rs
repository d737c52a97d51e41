//! What the owner has on its desk: connections, what it took from them too early, what was given back.
//!
//! ```text
//! take    what was given back
//!         the first of what lies here, if it is the one that is expected, and none before it is late
//!         the next one of the connection that had the last one, likewise
//!         look around: accept; one message of each connection that has any and none here
//!         the first of what lies here
//! ```
//!
//! So of each connection at most one message lies here. It still waits as it did in its connection: its token is put in when it is given to the caller.
//! Where the capacity is zero there are no tokens in messages: they are numbered as they are found here.
//!
//! [`strangers`](super::strangers) has what is different for those who can't open the pipe.

use super::lanes::Lanes;
use super::line::{Found, Line};
use super::packet::{ANY, Head, Kind};
use super::post::Pigeonhole;
use crate::domain::access;
use crate::domain::member::Peer;
use crate::domain::segment::Segment;
use crate::domain::sockets::Sockets;
use crate::memory::packet::Body;
use crate::os::packet::Who;
use crate::os::{Errno, packet, tokens};
use crate::queue::sealed::Shape;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::process::geteuid;
use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::{Duration, Instant};

/// Tokens that are missing for so long without any message belonged to somebody who hung up.
pub(crate) const MOMENT: Duration = Duration::from_millis(30);
/// After so many messages in a row from one connection the others are looked at.
const STREAK: u32 = 64;
/// So many connections are accepted in one go: as many as can wait for that.
const MOST_ACCEPTED: u32 = 4096;
/// Events taken at a time.
const EVENTS: usize = 64;

/// Numbers of what is waited for; those of lines are greater.
const LISTENER: u64 = 0;
const NUDGE: u64 = 1;
const FIRST_LINE: u64 = 2;

/// A message in the owner's memory.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) body: Body,
    pub(super) descriptors: Vec<OwnedFd>,
    pub(super) seq: u64,
    pub(super) sender: Peer,
    pub(super) user: u32,
    pub(super) before: u8,
}

/// One that came from a connection, and is not in the caller's hand so far.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) line: u64,
    pub(super) token: u64,
    pub(super) awaited: bool,
    pub(super) body: Body,
    pub(super) descriptors: Vec<OwnedFd>,
    /// There was no room for all its descriptors in this process.
    pub(super) lost: bool,
}

/// What comes next.
pub(super) enum Next {
    Fresh(Fresh),
    Back(Letter),
}

#[derive(Debug)]
pub(super) struct Desk {
    pub(super) sockets: Sockets,
    pub(super) epoll: OwnedFd,
    pub(super) lines: HashMap<u64, Line>,
    /// Of the sealed strategy: where its messages come by.
    pub(super) lanes: Option<Lanes>,
    /// Messages that were taken out of their connections, in their order.
    pub(super) here: BTreeMap<(u64, u64), Fresh>,
    /// The connection that had the last message, the token of the next one, and of the next to put in.
    current: u64,
    expected: u64,
    /// So many tokens below that are still somewhere: whose message may come, and is to come before what is behind it. Less than none: tokens that will
    /// never come by their numbers, for they were granted, put back, or taken out.
    pub(super) late: i64,
    streak: u32,
    next_token: u64,
    next_line: u64,
    pub(super) seq: u64,
    /// Memory for the next message.
    pub(super) room: Vec<u8>,
    /// What was given back, by its number: the oldest comes first.
    pub(super) back: BTreeMap<u64, Letter>,
    /// Only for the dead letters, where there was no room.
    pub(super) shelf: Vec<Letter>,
    pub(super) held: HashMap<u64, Letter>,
    pub(super) next_hand: u64,
    pub(super) longest: usize,
    pub(super) capacity: u64,
    /// A connection was hung up, or tokens went elsewhere; and since when they are missing.
    suspicious: bool,
    missing_since: Option<Instant>,
    /// So many were put in instead of missing ones, which may still come.
    replaced: u64,
    /// No connection can be accepted for want of a descriptor.
    pub(super) deaf: bool,
    /// Of a link: where its connections come in.
    hole: Option<Arc<Pigeonhole>>,
    /// Of a link: whether its tokens tell anything. Not if nobody had them any more.
    tells: bool,
    /// Of a pair: nobody else comes, and no token goes but with the pair.
    of_pair: bool,
}

impl Desk {
    pub(super) fn new(
        sockets: Sockets,
        epoll: OwnedFd,
        nudge: BorrowedFd<'_>,
        segment: &Segment,
    ) -> Result<Desk, Errno> {
        let choice = &segment.geometry.choice;
        let add = |fd: BorrowedFd<'_>, number| {
            epoll::add(&epoll, fd, epoll::EventData::new_u64(number), epoll::EventFlags::IN)
        };
        if let Some(listener) = &sockets.listener {
            add(listener.as_fd(), LISTENER)?;
        }
        add(nudge, NUDGE)?;
        let tells = sockets.listener.is_some()
            || sockets.credit.as_ref().is_some_and(|credit| tokens::is_the_same(credit.as_fd()));
        Ok(Desk {
            sockets,
            epoll,
            lines: HashMap::new(),
            lanes: choice.sealed.then(|| Lanes::new(Shape::of(choice))),
            here: BTreeMap::new(),
            current: FIRST_LINE,
            expected: 0,
            late: 0,
            streak: 0,
            next_token: choice.capacity,
            next_line: FIRST_LINE,
            seq: 0,
            room: Vec::new(),
            back: BTreeMap::new(),
            shelf: Vec::new(),
            held: HashMap::new(),
            next_hand: 0,
            longest: choice.max_message as usize,
            capacity: choice.capacity,
            suspicious: false,
            missing_since: None,
            replaced: 0,
            deaf: false,
            hole: None,
            tells,
            of_pair: false,
        })
    }

    /// Connections come in there.
    pub(super) fn receive_at(&mut self, hole: Arc<Pigeonhole>) {
        self.hole = Some(hole);
    }

    /// All messages come by this connection.
    pub(super) fn receive_by(&mut self, line: OwnedFd, segment: &Segment) {
        self.of_pair = true;
        let who = Who { pid: 0, user: geteuid().as_raw(), groups: Vec::new() };
        self.admit(Line::new(line, who, true).called(String::new()), segment);
    }

    /// Whether nobody can send anything any more.
    pub(super) fn is_deserted(&self) -> bool {
        self.of_pair && self.lines.is_empty()
    }

    /// The next message, if there is one. `closely`: whoever asks looks again at once.
    #[inline]
    pub(super) fn take(&mut self, segment: &Segment, closely: bool) -> Option<Next> {
        if let Some((_, letter)) = self.back.pop_first() {
            self.tell_back(segment);
            return Some(Next::Back(letter));
        }
        if self.lanes.is_some() {
            return self.take_from_lanes(segment, closely);
        }
        let in_turn = self.late <= 0 && self.streak < STREAK;
        self.streak += 1;
        if in_turn && self.here.first_key_value().is_some_and(|((token, _), _)| *token <= self.expected) {
            return self.first_here();
        }
        // Where nobody waits in a queue each sender has its turn.
        if in_turn
            && self.capacity > 0
            && let Some(fresh) = self.read(self.current, segment)
        {
            if fresh.token <= self.expected {
                return Some(Next::Fresh(self.came(fresh)));
            }
            self.keep(fresh);
        }
        self.streak = 0;
        self.look_around(segment);
        let first = self.first_here();
        if first.is_none() && (self.suspicious || self.replaced > 0) {
            self.idle(MOMENT);
        }
        first
    }

    fn first_here(&mut self) -> Option<Next> {
        let (_, fresh) = self.here.pop_first()?;
        if let Some(line) = self.lines.get_mut(&fresh.line) {
            line.kept = false;
        }
        Some(Next::Fresh(self.came(fresh)))
    }

    /// It is this one's turn.
    #[inline]
    fn came(&mut self, fresh: Fresh) -> Fresh {
        self.current = fresh.line;
        if (self.expected..ANY).contains(&fresh.token) {
            let skipped = i64::try_from(fresh.token - self.expected).unwrap_or(i64::MAX);
            self.late = self.late.saturating_add(skipped);
            self.expected = fresh.token + 1;
        } else {
            self.late -= 1;
        }
        self.missing_since = None;
        fresh
    }

    /// Has it lie here until its turn comes, as if it had not been taken.
    pub(super) fn keep(&mut self, fresh: Fresh) {
        if let Some(line) = self.lines.get_mut(&fresh.line) {
            line.kept = true;
        }
        // Whose token was put back before is the next one: what its sender sent later by another connection may be here too.
        let turn = if fresh.token == ANY { self.expected } else { fresh.token };
        self.here.insert((turn, fresh.line), fresh);
    }

    /// One that was taken stays: it is the next one.
    pub(super) fn put_back(&mut self, fresh: Fresh) {
        self.late += 1; // it comes again
        self.keep(fresh);
    }

    /// The next message of a connection of which none lies here.
    #[inline]
    pub(super) fn read(&mut self, number: u64, segment: &Segment) -> Option<Fresh> {
        let line = self.lines.get_mut(&number).filter(|line| !line.kept)?;
        let mut descriptors = Vec::new();
        let (head, body) = match line.read(&mut self.room, &mut descriptors, self.longest) {
            Found::Message(head) => (head, Body::Here(std::mem::take(&mut self.room))),
            Found::Long(head) => (head, Body::there(&line.socket, head.length as usize)),
            Found::Nothing | Found::Withdraw => {
                // Withdrawn is what was collected before.
                if line.asks {
                    self.grant(number);
                }
                return None;
            }
            Found::HungUp => {
                self.drop_line(number, segment);
                return None;
            }
            Found::Rubbish => {
                self.shut(number, segment);
                return None;
            }
        };
        if (!line.trusted || self.capacity == 0) && !self.may_send(number, head) {
            self.shut(number, segment);
            return None;
        }
        let token = if self.capacity > 0 { head.token } else { self.number() };
        let lost = !body.is_there() && head.descriptors > descriptors.len() as u64;
        Some(Fresh { line: number, token, awaited: head.kind == Kind::Awaited, body, descriptors, lost })
    }

    /// Where messages have no tokens: the order in which they are found.
    fn number(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    /// Whether a message may be sent so: where nothing waits, only such as are awaited; of a stranger, for a token that it was given.
    #[cold]
    fn may_send(&mut self, number: u64, head: Head) -> bool {
        if self.capacity == 0 {
            head.kind == Kind::Awaited
        } else {
            self.may_a_stranger_send(number, head.token)
        }
    }

    /// What comes by it is not what should.
    #[cold]
    pub(super) fn shut(&mut self, number: u64, segment: &Segment) {
        segment.header().sockets.shut.fetch_add(1, Relaxed);
        self.drop_line(number, segment);
    }

    pub(super) fn drop_line(&mut self, number: u64, segment: &Segment) {
        self.read_what_its_token_is_for(number, segment);
        self.remove_lane(number);
        let Some(line) = self.lines.remove(&number) else { return };
        packet::shut(line.socket.as_fd());
        let _ = epoll::delete(&self.epoll, &line.socket);
        if line.granted.is_some() {
            self.put_token();
        }
        self.suspicious = self.capacity > 0 && !self.of_pair;
        if let Some(hole) = &self.hole {
            hole.was_hung_up();
        }
        self.hear_again();
    }

    /// Has a look at all that has anything.
    #[cold]
    pub(super) fn look_around(&mut self, segment: &Segment) {
        self.take_in(segment, false);
        let mut events = Vec::with_capacity(EVENTS);
        for _ in 0..=self.lines.len() / EVENTS + 1 {
            events.clear();
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&now)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return,
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept(segment),
                    NUDGE => {}
                    number if self.lanes.is_some() => self.hear(number, segment),
                    number => {
                        if self.has_enough_of(number) {
                            continue;
                        }
                        if let Some(fresh) = self.read(number, segment) {
                            self.keep(fresh);
                        }
                    }
                }
            }
            if events.len() < EVENTS {
                return;
            }
        }
    }

    /// Accepts all who wait for that, and takes the first message of each.
    pub(super) fn accept(&mut self, segment: &Segment) {
        // Not for ever: somebody may connect as fast as this accepts.
        for _ in 0..MOST_ACCEPTED {
            let Some(listener) = &self.sockets.listener else { return self.take_in(segment, true) };
            let socket = match packet::accept(listener.as_fd()) {
                Ok(socket) => socket,
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => {
                    // They wait, and their messages with them, until there is a descriptor.
                    self.deaf = true;
                    self.listen(false);
                    return;
                }
                Err(_) => return,
            };
            let Ok(who) = packet::who(socket.as_fd()) else { continue };
            let (owner, group) = segment.belongs_to();
            let trusted = [0, geteuid().as_raw()].contains(&who.user);
            if !access::lets_send(segment.mode(), owner, group, who.user, &who.groups)
                || !trusted && self.has_enough_lines(who.user)
            {
                segment.header().sockets.shut.fetch_add(1, Relaxed);
                packet::shut(socket.as_fd());
                continue;
            }
            self.admit(Line::new(socket, who, trusted), segment);
        }
    }

    /// Takes in what came by the process's socket. `all`: also what waits there still.
    fn take_in(&mut self, segment: &Segment, all: bool) {
        let Some(hole) = &self.hole else { return };
        for came in hole.take(all) {
            // Who may send by this link can open the pipe.
            self.admit(Line::new(came.socket, came.who, true).called(came.name), segment);
        }
    }

    /// Takes its first message.
    fn admit(&mut self, line: Line, segment: &Segment) {
        let number = self.next_line;
        let data = epoll::EventData::new_u64(number);
        if epoll::add(&self.epoll, &line.socket, data, epoll::EventFlags::IN).is_err() {
            return; // no memory: as if it had not been accepted
        }
        self.next_line += 1;
        self.lines.insert(number, line);
        if self.lanes.is_some() {
            self.hear(number, segment);
            return;
        }
        if self.has_enough_of(number) {
            return;
        }
        if let Some(fresh) = self.read(number, segment) {
            self.keep(fresh);
        }
    }

    /// Tries again to accept what could not be, for want of descriptors.
    pub(super) fn hear_again(&mut self) {
        if std::mem::take(&mut self.deaf) {
            self.listen(true);
            self.hear_deferred();
        }
    }

    /// Whether to hear of new connections.
    pub(super) fn listen(&mut self, wanted: bool) {
        let flags = if wanted { epoll::EventFlags::IN } else { epoll::EventFlags::empty() };
        let data = epoll::EventData::new_u64(LISTENER);
        if let Some(listener) = &self.sockets.listener {
            let _ = epoll::modify(&self.epoll, listener, data, flags);
        }
    }

    /// Tells the sender of a message that it is collected. `false`: it was withdrawn, and its token with it.
    pub(super) fn claim(&mut self, fresh: &mut Fresh, segment: &Segment) -> bool {
        if let Some(lanes) = &mut self.lanes {
            return lanes.claim(fresh.line, fresh.token);
        }
        let meets = self.capacity == 0;
        let Some(line) = self.lines.get_mut(&fresh.line) else { return !meets };
        if line.say(Kind::Collected, 0) {
            return true;
        }
        fresh.body.fetch(); // what follows is behind it
        // Who wants it back said so before it stopped listening. Else it is dead, and has sent; but not where it takes two to send.
        let withdrawn = matches!(line.read(&mut Vec::new(), &mut Vec::new(), self.longest), Found::Withdraw);
        let ours_to_put_in = withdrawn && !line.trusted && !meets;
        self.late += i64::from(withdrawn && line.trusted && !meets); // its token comes again
        self.drop_line(fresh.line, segment);
        if ours_to_put_in {
            self.put_token();
        }
        !withdrawn && !meets
    }

    /// Who sent it.
    pub(super) fn sender(&self, line: u64) -> Peer {
        self.lines.get(&line).map_or(Peer { pid: 0, name: String::new() }, Line::peer)
    }

    /// The same, by the kernel's word.
    pub(super) fn user(&self, line: u64) -> u32 {
        self.lines.get(&line).map_or(u32::MAX, |line| line.who.user)
    }

    /// A message is in the caller's hand: another one may be sent.
    #[inline]
    pub(super) fn received(&mut self, fresh: &Fresh) {
        if let Some(lanes) = &mut self.lanes {
            return lanes.consume(fresh.line);
        }
        if self.capacity == 0 {
            return;
        }
        self.put_token();
        if let Some(line) = self.lines.get(&fresh.line)
            && !line.trusted
        {
            self.grant_to(line.who.user);
        }
    }

    #[inline]
    pub(super) fn put_token(&mut self) {
        self.sockets.put_token(self.next_token);
        self.next_token += 1;
    }

    pub(super) fn tell_back(&self, segment: &Segment) {
        let words = &segment.header().sockets;
        words.back.store((self.back.len() + self.shelf.len()) as u64, Release);
        words.held.store(self.held.len() as u64, Release);
    }

    /// How many messages wait.
    pub(super) fn waiting(&self) -> u64 {
        if let Some(lanes) = &self.lanes {
            return lanes.waiting() + (self.back.len() + self.shelf.len()) as u64;
        }
        let given = self.sockets.tokens() + self.granted();
        let fresh = if self.tells { self.capacity.saturating_sub(given) } else { self.here.len() as u64 };
        fresh + (self.back.len() + self.shelf.len()) as u64
    }

    pub(super) fn is_full(&self) -> bool {
        match &self.lanes {
            Some(lanes) => lanes.is_full(),
            None => self.tells && self.sockets.tokens() + self.granted() == 0,
        }
    }

    /// Whether something lies here that no descriptor tells of.
    pub(super) fn has_any(&self) -> bool {
        !self.here.is_empty() || !self.back.is_empty()
    }

    /// There was nothing, however one looked. Puts in the tokens that somebody took along. How long to wait at most.
    #[cold]
    pub(super) fn idle(&mut self, longest: Duration) -> Duration {
        if self.lanes.is_some() {
            return longest;
        }
        self.grant_all();
        if self.capacity == 0 {
            return longest;
        }
        if !self.suspicious && self.replaced == 0 {
            return longest;
        }
        let there = self.sockets.tokens() + self.granted();
        if there > self.capacity {
            // Others may be taking them meanwhile.
            let too_many = (self.capacity..there).map_while(|_| self.sockets.take_token().ok());
            let taken = too_many.count() as u64;
            self.late -= taken as i64;
            self.replaced = self.replaced.saturating_sub(taken);
        }
        if there >= self.capacity {
            self.suspicious = false;
            self.missing_since = None;
            return longest;
        }
        let since = *self.missing_since.get_or_insert_with(Instant::now);
        let left = MOMENT.saturating_sub(since.elapsed());
        if !left.is_zero() {
            return left.min(longest);
        }
        (there..self.capacity).for_each(|_| self.put_token());
        self.replaced += self.capacity - there;
        self.missing_since = None;
        self.late = 0;
        longest // still suspicious: whose token it was may come back with it
    }

    /// Takes no more, hangs up, and counts what was never received.
    pub(super) fn close(&mut self, segment: &Segment) -> u64 {
        // Whoever has a token was connected before.
        self.accept(segment);
        let mut count = (self.back.len() + self.shelf.len()) as u64;
        let mut granted = self.all_granted();
        count += self.lanes.as_mut().map_or(0, Lanes::close);
        for (number, line) in &mut self.lines {
            if self.lanes.is_some() {
                packet::shut(line.socket.as_fd());
                continue;
            }
            packet::shut(line.socket.as_fd());
            if self.capacity == 0 {
                continue; // what nobody took was not sent
            }
            let here = self.here.values().filter(|it| it.line == *number && !it.body.is_there());
            count += here.count() as u64;
            loop {
                match line.read(&mut self.room, &mut Vec::new(), self.longest) {
                    Found::Message(head) if line.trusted || granted.remove(&(line.who.user, head.token)) => {
                        count += 1;
                    }
                    Found::Long(_) => line.receive_normally(),
                    Found::Withdraw => count = count.saturating_sub(1),
                    Found::Message(_) | Found::Nothing | Found::HungUp | Found::Rubbish => break,
                }
            }
        }
        self.lines.clear();
        self.here.clear();
        self.back.clear();
        self.shelf.clear();
        count
    }
}
