//! Processes of other users than the owner's: what they may have of a mailbox, and how they get it.
//!
//! They can't open the pipe, so the owner takes tokens out of it for them, one at a time for each sender, and says
//! which by its connection (a *grant*). A message of theirs is for a token that was granted to its user and was not
//! used so far, by whichever of that user's connections: an awaited message goes by one of its own, which asks for no
//! tokens.
//!
//! **Limits**, for each user:
//! - [`MOST_LINES`] connections;
//! - tokens: a quarter of the places, at least one, of what was granted and what lies on the desk;
//! - bytes in the owner's memory: no more tokens while what is there of this user's messages, on the desk or in hand,
//!   is [that much](Desk::most_bytes) or more: the longest message, or a quarter of what n of the longest have,
//!   whichever is more. So with what was granted before it is at most twice that;
//! - bytes in its connections: the same, for more can't have been granted. Those of who has more there are shut.
//!   (They are memory that the kernel charges to the sender's own sockets.)
//!
//! Where the capacity is zero nothing is granted. Each connection has one message at most, and of this user none is
//! read while the longest or more lies on the desk.
//!
//! **What if it dies here?** Its connections are hung up. The token of one goes back into the pipe when everything
//! was read that may have been sent for it: what came by the user's other connections.

use super::desk::Desk;
use super::line::Line;
use super::packet::{Kind, LONGEST_NAME};
use crate::domain::segment::Segment;
use crate::domain::sockets::END;
use crate::memory::payload::Payload;
use crate::os::packet;
use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;

/// A user has at most so many connections.
const MOST_LINES: usize = 64;
/// Of n places a user has at most this part.
const SHARE: u64 = 4;

impl Desk {
    fn lines_of(&self, user: u32) -> impl Iterator<Item = &Line> {
        self.lines.values().filter(move |line| line.who.user == user)
    }

    pub(super) fn has_enough_lines(&self, user: u32) -> bool {
        self.lines_of(user).count() >= MOST_LINES
    }

    /// How many bytes of a user may lie on the desk and in hand before it gets no more tokens, and in its connections.
    fn most_bytes(&self) -> u64 {
        let longest = self.longest as u64;
        longest.max(longest * self.capacity / SHARE).max(1)
    }

    /// How many bytes of a user's messages lie on the desk.
    fn bytes_here(&self, user: u32) -> u64 {
        let theirs = self.here.values().filter(|it| self.user(it.line) == user);
        theirs.map(|it| it.body.len() as u64).sum()
    }

    /// How many are in hand, or were given back.
    fn bytes_in_hand(&self, user: u32) -> u64 {
        let all = self.held.values().chain(self.back.values()).chain(&self.shelf);
        all.filter(|letter| letter.user == user).map(|letter| letter.body.len() as u64).sum()
    }

    /// Where nothing is granted: whether this connection is left alone until what is here of its user was received.
    pub(super) fn has_enough_of(&self, number: u64) -> bool {
        if self.capacity > 0 {
            return false;
        }
        let line = self.lines.get(&number).filter(|line| !line.trusted);
        line.is_some_and(|line| self.bytes_here(line.who.user) >= self.most_bytes())
    }

    /// Whether a message by this connection may be sent for this token: it is used up then.
    pub(super) fn may_a_stranger_send(&mut self, number: u64, token: u64) -> bool {
        let Some(user) = self.lines.get(&number).map(|line| line.who.user) else { return false };
        let mut theirs = self.lines.values_mut().filter(|line| line.who.user == user);
        let used = theirs.find(|line| line.granted == Some(token)).and_then(|line| line.granted.take());
        self.order.come_again(u64::from(used.is_some()));
        used.is_some()
    }

    /// Tokens that were granted and not used.
    pub(super) fn granted(&self) -> u64 {
        self.lines.values().filter(|line| line.granted.is_some()).count() as u64
    }

    /// The same: who has which.
    pub(super) fn all_granted(&self) -> HashSet<(u32, u64)> {
        self.lines.values().filter_map(|line| line.granted.map(|token| (line.who.user, token))).collect()
    }

    /// A connection goes. What came by others for its token came before, and has to be read as long as that is known.
    pub(super) fn read_what_its_token_is_for(&mut self, number: u64, segment: &Segment) {
        let Some(line) = self.lines.get_mut(&number).filter(|line| line.granted.is_some()) else { return };
        line.kept = true; // it is read no more
        let user = line.who.user;
        let theirs = self.lines.iter().filter(|(_, line)| line.who.user == user && !line.kept);
        let others: Vec<u64> = theirs.map(|(number, _)| *number).collect();
        for other in others {
            if let Some(fresh) = self.read(other, segment) {
                self.keep(fresh);
            }
        }
    }

    /// Gives a connection a token, if it asks for one, has none, and its user not more than its share.
    #[cold]
    pub(super) fn grant(&mut self, number: u64, segment: &Segment) {
        let Some(line) = self.lines.get(&number) else { return };
        if self.capacity == 0 || !line.asks || line.granted.is_some() {
            return;
        }
        let user = line.who.user;
        let granted = self.lines_of(user).filter(|line| line.granted.is_some()).count();
        let unread = self.here.values().filter(|it| self.user(it.line) == user).count();
        if (granted + unread) as u64 >= (self.capacity / SHARE).max(1)
            || self.bytes_here(user) + self.bytes_in_hand(user) >= self.most_bytes()
        {
            return;
        }
        let Ok(token) = self.sockets.take_token() else { return };
        if token == END {
            let _ = self.sockets.put_token(END); // who waits for it looks once a second
            return;
        }
        let said = line.say(Kind::Grant, token);
        match self.lines.get_mut(&number) {
            Some(line) if said => {
                line.granted = Some(token);
                self.order.comes_otherwise(token + 1); // nobody waits for what a stranger does with it
            }
            _ => self.put_token(segment),
        }
    }

    /// Gives a token to whoever asks for one, of this user's.
    pub(super) fn grant_to(&mut self, user: u32, segment: &Segment) {
        self.grant_where(segment, |line| line.who.user == user);
    }

    fn grant_where(&mut self, segment: &Segment, wanted: impl Fn(&Line) -> bool) {
        let needy = |line: &Line| line.asks && line.granted.is_none() && wanted(line);
        let needy: Vec<u64> =
            self.lines.iter().filter(|(_, line)| needy(line)).map(|(number, _)| *number).collect();
        needy.into_iter().for_each(|number| self.grant(number, segment));
    }

    /// Gives tokens to all who ask for one.
    pub(super) fn grant_all(&mut self, segment: &Segment) {
        self.grant_where(segment, |_| true);
    }

    /// Shuts the connections of whoever has more in them than can be for tokens.
    #[cold]
    pub(super) fn shut_the_greedy(&mut self, segment: &Segment) {
        let mut all: HashMap<u32, u64> = HashMap::new();
        let mut full = Vec::new();
        for (number, line) in self.lines.iter().filter(|(_, line)| !line.trusted) {
            let bytes = packet::waiting(line.socket.as_fd());
            if bytes > 0 {
                *all.entry(line.who.user).or_default() += bytes;
                full.push((*number, bytes, line.who.user));
            }
        }
        // Each connection may have the head of a message, a hello and a withdrawal more.
        let besides = (3 * packet::HEAD + LONGEST_NAME) as u64;
        let (alone, together) = match self.capacity {
            0 => (self.most_bytes() + besides, u64::MAX),
            _ => (u64::MAX, self.most_bytes() + MOST_LINES as u64 * besides),
        };
        full.retain(|(_, bytes, user)| *bytes > alone || all.get(user).is_some_and(|all| *all > together));
        full.into_iter().for_each(|(number, ..)| self.shut(number, segment));
    }
}
