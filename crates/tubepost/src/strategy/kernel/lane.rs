//! A connection of the sealed strategy as its owner sees it: the sender's area, which it reads, and its own, which it writes.
//!
//! ```text
//! owner                                              sender
//!   reads published, checks it                         writes a record
//!   reads a record's word, checks it                   publishes it, fence
//!   copies the bytes                                   the owner is asleep (another time than it was told)? sends a note
//!   awaited: taking = p + 1, fence; withdrawn?           decides, skips it
//!   gives it to the caller
//!   consumed = p + 1, fence
//!   the sender wants progress (another time …)? sends a note
//! before it sleeps:                                  before it sleeps:
//!   asleep = a number, fence, looks again              wants = a number, fence, looks again
//! ```
//!
//! Each time has a number, so neither is told twice, and who tells more often than it was asked is found out.
//!
//! **A withdrawal** is decided by the owner. The sender says that it wants a message back, makes a fence, and reads `taking`: not there yet, then the
//! owner will read that it is wanted back. Else either may be: the sender waits until the message is consumed and reads what the owner decided.
//!
//! **What if it dies here?** The sender: what it published is received, the rest never was. Who hangs up publishes no more: what another process that has
//! its area does later nobody looks at. The owner: what is not consumed was in nobody's hand, and each sender counts its own.

use super::packet::{ANY, Head, Kind};
use crate::os::packet;
use crate::queue::sealed::{Posted, Progress, Shape};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{Ordering::SeqCst, fence};

/// See the module's text.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) number: u64,
    socket: Arc<OwnedFd>,
    shape: Shape,
    posted: Posted,
    progress: Progress,
    /// As it was seen last.
    published: u64,
    /// How many were copied, and where the next one is.
    taken: u64,
    at: usize,
    /// The one that was copied last, and how many are consumed.
    last_at: usize,
    consumed: u64,
    /// How often the owner slept, how many notes came, and what the sender wanted when it was told last.
    sleeps: u64,
    notes: u64,
    told: u64,
    /// Nothing more is published than that.
    end: Option<u64>,
    /// How often in a row there was nothing while there was something elsewhere.
    pub(super) misses: u32,
}

/// What is in a lane.
pub(super) enum Found {
    Nothing,
    /// A message, whose bytes are in the room that was given.
    Message {
        position: u64,
        awaited: bool,
    },
    /// It was hung up, and everything was taken.
    Over,
    /// Its sender does not keep the protocol.
    Rubbish,
}

impl Lane {
    pub(super) fn new(
        number: u64,
        socket: Arc<OwnedFd>,
        shape: Shape,
        posted: Posted,
        progress: Progress,
    ) -> Lane {
        Lane {
            number,
            socket,
            shape,
            posted,
            progress,
            published: 0,
            taken: 0,
            at: 0,
            last_at: 0,
            consumed: 0,
            sleeps: 0,
            notes: 0,
            told: 0,
            end: None,
            misses: 0,
        }
    }

    /// How many are published, if that can be.
    fn look(&self) -> Option<u64> {
        let published = self.end.unwrap_or_else(|| self.posted.published());
        (published >= self.published && published - self.consumed <= self.shape.places).then_some(published)
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> u64 {
        self.look().unwrap_or(self.published).saturating_sub(self.consumed)
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting() >= self.shape.places
    }

    /// Takes the next message.
    #[inline]
    pub(super) fn take(&mut self, room: &mut Vec<u8>) -> Found {
        if self.taken == self.published {
            match self.look() {
                None => return Found::Rubbish,
                Some(published) if published > self.taken => self.published = published,
                Some(_) if self.end.is_some() => return Found::Over,
                Some(_) => return Found::Nothing,
            }
        }
        let record = self.posted.record(self.at);
        let longest = self.shape.longest;
        if record.length > longest || !self.shape.variable && record.length != longest {
            return Found::Rubbish;
        }
        self.posted.read(self.at, record.length, room);
        self.last_at = self.at;
        self.at = self.shape.after(self.at, record.length);
        self.taken += 1;
        Found::Message { position: self.taken - 1, awaited: record.awaited }
    }

    /// Passes what was withdrawn and is next.
    pub(super) fn skip_withdrawn(&mut self) {
        while self.taken == self.consumed
            && let Some(published) = self.look().filter(|published| *published > self.taken)
        {
            let record = self.posted.record(self.at);
            if !record.awaited || !record.withdrawn || record.length > self.shape.longest {
                return;
            }
            self.published = published;
            self.last_at = self.at;
            self.at = self.shape.after(self.at, record.length);
            self.taken += 1;
            if self.claim(self.taken - 1) {
                self.consume(); // it changed its mind, against the protocol
            }
        }
    }

    /// Whether the message that was taken last, which is awaited, is for the caller; else it is consumed, for its sender has it back.
    pub(super) fn claim(&mut self, position: u64) -> bool {
        self.progress.take(position + 1);
        fence(SeqCst);
        let withdrawn = self.posted.record(self.last_at).withdrawn;
        self.progress.decide(position, withdrawn);
        if withdrawn {
            self.consume();
        }
        !withdrawn
    }

    /// The message that was taken last is in the caller's hand.
    #[inline]
    pub(super) fn consume(&mut self) {
        self.consumed += 1;
        self.progress.consume(self.consumed);
        fence(SeqCst);
        let wants = self.posted.wants();
        if wants != self.told {
            self.told = wants;
            self.say();
        }
    }

    #[cold]
    fn say(&self) {
        let head = Head { kind: Kind::Note, length: 0, token: ANY, descriptors: 0, after: 0 };
        // One who does not listen does not hear it, and looks by itself.
        let _ = packet::send(self.socket.as_fd(), &head.encode(), &[], &[]);
    }

    /// The owner is about to sleep, and looks once more after a fence.
    pub(super) fn sleep(&mut self) {
        self.sleeps += 1;
        self.progress.sleep(self.sleeps);
    }

    /// The owner looks by itself from now on.
    pub(super) fn wake(&mut self) {
        self.misses = 0;
        self.progress.sleep(0);
    }

    /// Whether there is something to do.
    pub(super) fn is_ready(&self) -> bool {
        self.taken < self.published || self.end.is_some() || self.look() != Some(self.taken)
    }

    /// A note came. `false`: it was not asked for.
    pub(super) fn note(&mut self) -> bool {
        self.notes += 1;
        self.notes <= self.sleeps
    }

    /// The sender is gone: what it published so far is all.
    pub(super) fn hung_up(&mut self) {
        if self.end.is_none() {
            self.end = Some(self.look().unwrap_or(self.published));
        }
    }

    /// Ends it, and says how many were never consumed, without those that were withdrawn.
    pub(super) fn close(&mut self) -> u64 {
        let published = self.look().unwrap_or(self.published);
        self.progress.take(published);
        fence(SeqCst);
        let mut count = published - self.consumed;
        let mut at = if self.taken > self.consumed { self.last_at } else { self.at };
        for _ in self.consumed..published {
            let record = self.posted.record(at);
            if record.length > self.shape.longest {
                break;
            }
            count -= u64::from(record.withdrawn);
            at = self.shape.after(at, record.length);
        }
        self.progress.end(published);
        self.say(); // it is hung up then as well
        count
    }
}
