//! Who comes to the desk and goes: connections that are accepted, kept, heard of and dropped.
//!
//! At one time each connection that has anything is looked into once, and its first message is laid on the desk. Where no connection
//! can be accepted, for want of a descriptor or for there being too many, one is tried when another one goes, and once a second.
//!
//! **Whoever only connects** and hangs up, again and again, keeps the queue of those who wait to be accepted from ever being empty. So only
//! [a few](packet::AT_ONCE) are accepted between two looks at the connections that are there. That there is nothing, or none that comes before what there is, is
//! said when nobody waits in that queue, or when so many were accepted in a row as can wait there, or for [so long](IN_A_ROW). From then on, until the
//! queue is empty once, nobody looks further than those few (a *storm*), and what is in a connection that was not accepted so far may come later
//! than what was sent after it. Who is about to wait while somebody may be in that queue looks again at once.

use super::desk::{Desk, EVENTS, LISTENER, NUDGE};
use super::line::Line;
use super::post::Pigeonhole;
use crate::domain::access;
use crate::domain::segment::Segment;
use crate::os::{Errno, clock, packet};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::process::geteuid;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// So long, in nanoseconds, connections are accepted in a row before anything is said of what there is.
pub(super) const IN_A_ROW: u64 = 50_000_000;

impl Desk {
    /// Connections come in there.
    pub(super) fn receive_at(&mut self, hole: Arc<Pigeonhole>) {
        self.hole = Some(hole);
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
            self.put_token(segment);
        }
        // Others can have taken no token.
        self.suspicious |= line.trusted && self.capacity > 0 && self.given.is_none();
        if let Some(hole) = &self.hole {
            hole.was_hung_up();
        }
        self.hear_again();
    }

    /// Has a look at all that has anything.
    #[cold]
    pub(super) fn look_around(&mut self, segment: &Segment) {
        self.take_in(segment, false);
        // Whether somebody is left the set tells only if there is.
        let mut accepted = self.expects_more();
        if accepted {
            self.accept(packet::AT_ONCE, segment);
        }
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
                    LISTENER if accepted => {}
                    LISTENER => {
                        accepted = true;
                        self.accept(packet::AT_ONCE, segment);
                    }
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

    /// Whether connections may wait to be accepted.
    pub(super) fn expects_more(&self) -> bool {
        self.in_a_row > 0
    }

    /// Whether to accept more before anything is said of what there is.
    pub(super) fn looks_further(&self) -> bool {
        match &self.hole {
            Some(hole) => hole.looks_further(),
            None => (1..packet::MOST_WAITING).contains(&self.in_a_row) && clock::coarse() < self.row_ends,
        }
    }

    /// One more was accepted.
    pub(super) fn one_more(&mut self) {
        if self.in_a_row == 0 {
            self.row_ends = clock::coarse() + IN_A_ROW;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
    }

    /// Accepts so many of those who wait for that, and takes the first message of each.
    pub(super) fn accept(&mut self, most: u32, segment: &Segment) {
        for _ in 0..most {
            let Some(listener) = &self.sockets.listener else {
                self.take_in(segment, true);
                return self.accept_given(most, segment);
            };
            let socket = match packet::accept(listener.as_fd()) {
                Ok(socket) => socket,
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(errno) => {
                    self.in_a_row = 0;
                    if matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) {
                        // They wait, and their messages with them, until there is a descriptor.
                        self.deaf = true;
                        self.listen(false);
                    }
                    return;
                }
            };
            self.one_more();
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
    pub(super) fn admit(&mut self, line: Line, segment: &Segment) {
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
        // That the other end is gone would be told without being asked for.
        match &self.given {
            Some(given) if wanted => drop(epoll::add(&self.epoll, given.socket(), data, flags)),
            Some(given) => drop(epoll::delete(&self.epoll, given.socket())),
            None => {}
        }
    }
}
