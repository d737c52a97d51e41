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
//! Where the system refuses that the place stays taken until the next message, or the next wait: then it is put in.
//! Where the capacity is zero there are no tokens in messages: they are numbered as they are found here.
//!
//! [`strangers`](super::strangers) has what is different for those who can't open the pipe.

use super::lanes::Lanes;
use super::line::{Found, Line};
use super::packet::{Head, Kind};
use super::post::Pigeonhole;
use super::turn::{Order, Turn};
use crate::domain::bond::Lines;
use crate::domain::member::Peer;
use crate::domain::segment::Segment;
use crate::domain::sockets::Sockets;
use crate::memory::packet::Body;
use crate::os::{Errno, packet, tokens};
use crate::queue::sealed::Shape;
use rustix::event::epoll;
use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;
use std::time::{Duration, Instant};

/// Tokens that are missing for so long without any message belonged to somebody who hung up.
pub(crate) const MOMENT: Duration = Duration::from_millis(30);
/// Events taken at a time.
pub(super) const EVENTS: usize = 64;

/// Numbers of what is waited for; those of lines are greater.
pub(super) const LISTENER: u64 = 0;
pub(super) const NUDGE: u64 = 1;
pub(super) const FIRST_LINE: u64 = 2;

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
    pub(super) turn: Turn,
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
    pub(super) here: BTreeMap<(Turn, u64), Fresh>,
    /// The connection that had the last message, which one is next, and the token of the next to put in.
    pub(super) current: u64,
    pub(super) order: Order,
    pub(super) next_token: u64,
    pub(super) next_line: u64,
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
    pub(super) suspicious: bool,
    pub(super) missing_since: Option<Instant>,
    /// So many were put in instead of missing ones, which may still come.
    pub(super) replaced: u64,
    /// So many are to be put in; the system refused it.
    owed: u64,
    /// No connection can be accepted for want of a descriptor.
    pub(super) deaf: bool,
    /// So many were accepted since nobody waited for that, and the coarse clock until when nothing is said of what there is.
    pub(super) in_a_row: u32,
    pub(super) row_ends: u64,
    /// Of a link: where its connections come in.
    pub(super) hole: Option<Arc<Pigeonhole>>,
    /// Of a link: whether its tokens tell anything. Not if nobody had them any more.
    tells: bool,
    /// Of a pair: where its connections come in. Nobody else comes, and no token goes but with the pair.
    pub(super) given: Option<Lines>,
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
            order: Order::new(),
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
            owed: 0,
            deaf: false,
            in_a_row: 0,
            row_ends: 0,
            hole: None,
            tells,
            given: None,
        })
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
                    self.grant(number, segment);
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
        let turn = match self.capacity {
            0 => Turn::of(self.number()),
            _ => Turn { token: head.token, after: head.after },
        };
        let lost = !body.is_there() && head.descriptors > descriptors.len() as u64;
        Some(Fresh { line: number, turn, awaited: head.kind == Kind::Awaited, body, descriptors, lost })
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

    /// Tells the sender of a message that it is collected. `false`: it was withdrawn, and its token with it.
    pub(super) fn claim(&mut self, fresh: &mut Fresh, segment: &Segment) -> bool {
        if let Some(lanes) = &mut self.lanes {
            return lanes.claim(fresh.line, fresh.turn.token);
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
        self.order.come_again(u64::from(withdrawn && line.trusted && !meets)); // its token does
        self.drop_line(fresh.line, segment);
        if ours_to_put_in {
            self.put_token(segment);
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
    pub(super) fn received(&mut self, fresh: &Fresh, segment: &Segment) {
        if let Some(lanes) = &mut self.lanes {
            return lanes.consume(fresh.line);
        }
        if self.capacity == 0 {
            return;
        }
        self.put_token(segment);
        if let Some(line) = self.lines.get(&fresh.line)
            && !line.trusted
        {
            self.grant_to(line.who.user, segment);
        }
    }

    #[inline]
    pub(super) fn put_token(&mut self, segment: &Segment) {
        if self.owed == 0 && self.sockets.put_token(self.next_token).is_ok() {
            self.next_token += 1;
            return;
        }
        self.owed += 1;
        self.put_what_is_owed(segment);
    }

    /// Puts in the tokens of places that are free, as far as the system lets it. What it refuses is tried again with
    /// the next one, and before a wait; whoever counts what waits is told.
    #[cold]
    pub(super) fn put_what_is_owed(&mut self, segment: &Segment) {
        while self.owed > 0 && self.sockets.put_token(self.next_token).is_ok() {
            self.owed -= 1;
            self.next_token += 1;
        }
        segment.header().sockets.owed.store(self.owed, Release);
    }

    /// Tokens of no message: in the pipe, granted, or to be put in.
    fn free(&self) -> u64 {
        self.sockets.tokens() + self.granted() + self.owed
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
        let fresh =
            if self.tells { self.capacity.saturating_sub(self.free()) } else { self.here.len() as u64 };
        fresh + (self.back.len() + self.shelf.len()) as u64
    }

    pub(super) fn is_full(&self) -> bool {
        match &self.lanes {
            Some(lanes) => lanes.is_full(),
            None => self.tells && self.free() == 0,
        }
    }

    /// Whether something lies here that no descriptor tells of.
    pub(super) fn has_any(&self) -> bool {
        !self.here.is_empty() || !self.back.is_empty()
    }

    /// There was nothing, however one looked. Puts in the tokens that somebody took along. How long to wait at most.
    #[cold]
    pub(super) fn idle(&mut self, longest: Duration, segment: &Segment) -> Duration {
        if self.lanes.is_some() {
            return longest;
        }
        self.put_what_is_owed(segment);
        let longest = if self.owed > 0 { MOMENT.min(longest) } else { longest };
        self.grant_all(segment);
        if self.capacity == 0 {
            return longest;
        }
        if !self.suspicious && self.replaced == 0 {
            return longest;
        }
        let there = self.free();
        if there > self.capacity {
            // Others may be taking them meanwhile.
            let too_many = (self.capacity..there).map_while(|_| self.sockets.take_token().ok());
            let taken = too_many.count() as u64;
            (0..taken).for_each(|_| self.order.comes_otherwise(self.next_token));
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
        (there..self.capacity).for_each(|_| self.put_token(segment));
        self.replaced += self.capacity - there;
        self.missing_since = None;
        self.order.forget_late();
        longest // still suspicious: whose token it was may come back with it
    }

    /// Takes no more, hangs up, and counts what was never received.
    pub(super) fn close(&mut self, segment: &Segment) -> u64 {
        // Whoever has a token was connected before.
        self.accept(packet::MOST_WAITING, segment);
        self.put_what_is_owed(segment); // what is missing then was never collected
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
