//! All lanes of an owner: those that are looked at, in turn, and those whose senders tell when there is something.
//!
//! A lane where something is found again and again is looked at in memory. One that stays empty while others don't is left to sleep: its sender sends a note,
//! by which `epoll` finds it. Before the owner sleeps, all are. So a receive costs what is ready, and not how many there are.
//!
//! **Nothing is overlooked.** Who finds nothing and does not look again by itself leaves all lanes asleep, each looked at once more after a fence. So does
//! whoever leaves the desk while others sleep: or there is something, and it nudges them.

use super::desk::{Desk, Fresh, Next};
use super::lane::{Found, Lane};
use super::line::Heard;
use super::packet::{ANY, Head, Kind};
use super::turn::Turn;
use crate::domain::segment::Segment;
use crate::memory::packet::Body;
use crate::os::{Errno, packet, sealed};
use crate::queue::sealed::{Posted, Progress, Shape};
use rustix::event::epoll;
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::fence;

/// So often the lanes are looked at before the descriptors are.
const ROUNDS: u32 = 64;
/// So often a lane has nothing while others have before it is left to sleep.
const MISSES: u32 = 64;
/// Packets taken from a connection at a time.
const PACKETS: u32 = 4;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Lanes {
    shape: Shape,
    awake: Vec<Lane>,
    asleep: HashMap<u64, Lane>,
    /// Whose turn it is, and who had the last message.
    next: usize,
    rounds: u32,
    /// Connections for which there was no descriptor or no memory so far.
    pub(super) deferred: Vec<u64>,
}

impl Lanes {
    pub(super) fn new(shape: Shape) -> Lanes {
        let (awake, asleep, deferred) = (Vec::new(), HashMap::new(), Vec::new());
        Lanes { shape, awake, asleep, next: 0, rounds: 0, deferred }
    }

    /// Where the lane of a connection is.
    #[inline]
    fn lane(&mut self, number: u64) -> Option<&mut Lane> {
        let last = self.next.checked_sub(1).unwrap_or(self.awake.len().saturating_sub(1));
        if self.awake.get(last).is_some_and(|lane| lane.number == number) {
            return self.awake.get_mut(last);
        }
        match self.awake.iter().position(|lane| lane.number == number) {
            Some(at) => self.awake.get_mut(at),
            None => self.asleep.get_mut(&number),
        }
    }

    fn wake(&mut self, number: u64) {
        if let Some(mut lane) = self.asleep.remove(&number) {
            lane.wake();
            self.awake.push(lane);
        }
    }

    fn remove(&mut self, number: u64) {
        self.asleep.remove(&number);
        if let Some(at) = self.awake.iter().position(|lane| lane.number == number) {
            self.awake.swap_remove(at);
            self.next = 0;
        }
        self.deferred.retain(|it| *it != number);
    }

    /// Leaves those at and after `from` that have nothing to sleep. `false`: some has something.
    fn leave(&mut self, mut chosen: impl FnMut(&Lane) -> bool) -> bool {
        if self.awake.is_empty() {
            return true;
        }
        let all = std::mem::take(&mut self.awake);
        let (mut leave, keep): (Vec<Lane>, Vec<Lane>) = all.into_iter().partition(|lane| chosen(lane));
        self.awake = keep;
        self.next = 0;
        leave.iter_mut().for_each(Lane::sleep);
        fence(SeqCst);
        let mut idle = true;
        for mut lane in leave {
            if lane.is_ready() {
                idle = false;
                lane.wake();
                self.awake.push(lane);
            } else {
                self.asleep.insert(lane.number, lane);
            }
        }
        idle
    }

    fn all(&self) -> impl Iterator<Item = &Lane> {
        self.awake.iter().chain(self.asleep.values())
    }

    pub(super) fn waiting(&self) -> u64 {
        self.all().map(Lane::waiting).sum()
    }

    pub(super) fn skip_withdrawn(&mut self) {
        self.awake.iter_mut().chain(self.asleep.values_mut()).for_each(Lane::skip_withdrawn);
    }

    pub(super) fn is_full(&self) -> bool {
        self.all().any(Lane::is_full)
    }

    /// The message that was taken last from this connection is in the caller's hand.
    #[inline]
    pub(super) fn consume(&mut self, number: u64) {
        if let Some(lane) = self.lane(number) {
            lane.consume();
        }
    }

    pub(super) fn claim(&mut self, number: u64, position: u64) -> bool {
        self.lane(number).is_none_or(|lane| lane.claim(position))
    }

    /// Ends all, and says how many were never consumed.
    pub(super) fn close(&mut self) -> u64 {
        let mut all: Vec<Lane> = std::mem::take(&mut self.awake);
        all.extend(self.asleep.drain().map(|(_, lane)| lane));
        all.iter_mut().map(Lane::close).sum()
    }
}

impl Desk {
    /// The next message by any lane. `closely`: whoever asks looks again at once.
    #[inline]
    pub(super) fn take_from_lanes(&mut self, segment: &Segment, closely: bool) -> Option<Next> {
        if let Some((_, fresh)) = self.here.pop_first() {
            return Some(Next::Fresh(fresh));
        }
        let lanes = self.lanes.as_mut()?;
        lanes.rounds += 1;
        if lanes.rounds < ROUNDS {
            let found = self.go_round(segment);
            if found.is_some() || closely {
                return found;
            }
        }
        self.lanes.as_mut()?.rounds = 0;
        loop {
            self.look_around(segment);
            self.tell_waiting(segment);
            let found = self.go_round(segment);
            if found.is_some() || !self.looks_further() {
                return found;
            }
        }
    }

    /// Says how many wait, for those who only look.
    fn tell_waiting(&self, segment: &Segment) {
        if let Some(lanes) = &self.lanes {
            let waiting = lanes.awake.iter().map(Lane::waiting).sum(); // in those asleep there is nothing
            segment.header().sockets.waiting.store(waiting, Relaxed);
        }
    }

    /// Looks into each lane that is awake, until there is a message.
    #[inline]
    fn go_round(&mut self, segment: &Segment) -> Option<Next> {
        let lanes = self.lanes.as_mut()?;
        let number = lanes.awake.len();
        let mut missed = 0;
        let mut finished = Vec::new();
        let mut found = None;
        for _ in 0..number {
            let at = if lanes.next < number { lanes.next } else { 0 };
            lanes.next = at + 1;
            let lane = &mut lanes.awake[at];
            match lane.take(&mut self.room) {
                Found::Nothing => {
                    lane.misses += 1;
                    missed += 1;
                }
                Found::Message { position, awaited } => {
                    lane.misses = 0;
                    let body = Body::Here(std::mem::take(&mut self.room));
                    let (line, token, descriptors) = (lane.number, position, Vec::new());
                    found =
                        Some(Fresh { line, turn: Turn::of(token), awaited, body, descriptors, lost: false });
                    break;
                }
                Found::Over => finished.push(lane.number),
                Found::Rubbish => {
                    segment.header().sockets.shut.fetch_add(1, Relaxed);
                    finished.push(lane.number);
                }
            }
        }
        match &found {
            // Nobody has anything: that says nothing of any.
            None => lanes.awake.iter_mut().for_each(|lane| lane.misses = 0),
            Some(_) if missed > 0 && lanes.awake.iter().any(|lane| lane.misses > MISSES) => {
                self.leave_tired();
            }
            Some(_) => {}
        }
        for number in finished {
            self.drop_line(number, segment);
        }
        found.map(Next::Fresh)
    }

    #[cold]
    fn leave_tired(&mut self) {
        if let Some(lanes) = &mut self.lanes {
            lanes.leave(|lane| lane.misses > MISSES);
        }
    }

    /// Leaves all lanes asleep. `false`: there is something.
    pub(super) fn leave_lanes(&mut self) -> bool {
        self.lanes.as_mut().is_none_or(|lanes| lanes.leave(|_| true))
    }

    /// Has all be known that there is: for who asks how much that is.
    pub(super) fn know_all(&mut self, segment: &Segment) {
        if self.lanes.is_some() {
            self.look_around(segment);
            if self.expects_more() {
                self.accept(packet::MOST_WAITING, segment);
            }
        }
        if let Some(lanes) = &mut self.lanes {
            lanes.skip_withdrawn();
        }
    }

    /// Whether some lane is looked at that no descriptor tells of.
    pub(super) fn looks_itself(&self) -> bool {
        self.lanes.as_ref().is_some_and(|lanes| !lanes.awake.is_empty())
    }

    /// Hears what came by a connection.
    pub(super) fn hear(&mut self, number: u64, segment: &Segment) {
        for _ in 0..PACKETS {
            let (Some(line), Some(lanes)) = (self.lines.get_mut(&number), &mut self.lanes) else { return };
            let heard = match line.hear() {
                Heard::Area(area, name) => match new_lane(number, line, &lanes.shape, &area) {
                    Ok(lane) => {
                        line.introduced(name);
                        lanes.awake.push(lane);
                        continue;
                    }
                    Err(Errno::BADMSG) => Heard::Rubbish,
                    Err(_) => Heard::NoRoom,
                },
                Heard::Note => {
                    lanes.wake(number);
                    if lanes.lane(number).is_some_and(Lane::note) {
                        continue;
                    }
                    Heard::Rubbish
                }
                other => other,
            };
            match heard {
                Heard::HungUp => match lanes.lane(number) {
                    Some(lane) => {
                        lane.hung_up();
                        lanes.wake(number);
                        let _ = epoll::delete(&self.epoll, &line.socket);
                        packet::shut(line.socket.as_fd());
                    }
                    None => self.drop_line(number, segment),
                },
                Heard::Rubbish => {
                    self.shut(number, segment);
                }
                Heard::NoRoom => {
                    // It stays where it is until there is a descriptor, or memory.
                    let _ = epoll::delete(&self.epoll, &line.socket);
                    lanes.deferred.push(number);
                    self.deaf = true;
                    self.listen(false);
                }
                Heard::Nothing | Heard::Area(..) | Heard::Note => {}
            }
            return;
        }
    }

    /// Tries again what could not be for want of something.
    pub(super) fn hear_deferred(&mut self) {
        let Some(lanes) = &mut self.lanes else { return };
        for number in std::mem::take(&mut lanes.deferred) {
            if let Some(line) = self.lines.get(&number) {
                let data = epoll::EventData::new_u64(number);
                let _ = epoll::add(&self.epoll, &line.socket, data, epoll::EventFlags::IN);
            }
        }
    }

    pub(super) fn remove_lane(&mut self, number: u64) {
        if let Some(lanes) = &mut self.lanes {
            lanes.remove(number);
        }
    }
}

/// Makes the owner's area for a sender, and sends it. `BADMSG`: the sender's is not as it has to be.
fn new_lane(
    number: u64,
    line: &super::line::Line,
    shape: &Shape,
    area: &std::os::fd::OwnedFd,
) -> Result<Lane, Errno> {
    let posted = Posted::new(sealed::view(area.as_fd(), shape.posted())?, shape);
    let (fd, map) = sealed::make(shape.progress())?;
    let head = Head { kind: Kind::Area, length: 0, token: ANY, descriptors: 1, after: 0 };
    match packet::send(line.socket.as_fd(), &head.encode(), &[], &[fd.as_fd()]) {
        // Who is gone needs none.
        Ok(()) | Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => {}
        Err(errno) => return Err(errno),
    }
    fence(SeqCst);
    let progress = Progress::new(map, shape);
    Ok(Lane::new(number, Arc::clone(&line.socket), *shape, posted, progress))
}
