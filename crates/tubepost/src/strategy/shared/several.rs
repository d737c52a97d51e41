//! A thread that waits for several handles at once.
//!
//! ```text
//! register at the bell of each     as any sleeper does: publishers fence from now on
//! look at each                     ready: leave
//! look after the dead, for each
//! sleep on all words at once       futex_waitv; at most a slice
//! look at each …
//! ```
//!
//! **Passing it on.** Where receivers compete, a message wakes one sleeper, and that may have been this one, at one
//! bell or at several at once. It says only which handle is ready: whether the caller takes that message, or any, nobody
//! knows. So whoever leaves after a sleep wakes another for each message that is still there.
//!
//! **More words than the kernel sleeps on** (128), or none at a time (before Linux 5.16): then each handle has its door
//! (`door`), and all are polled. A handle for which there is no descriptor left is looked at every millisecond.
//!
//! **Where no memory is shared** a handle has a descriptor anyway: then all are polled, too.
//!
//! **What if it dies here?** As of any sleeper: see `sync::wait`. Woken for a message and killed before it passes that
//! on, another finds the message within a second.

use super::Attachment;
use super::door::Lent;
use super::end::End;
use crate::os;
use crate::sync::wait::{SLICE, poll, sleep_at};
use rustix::event::{PollFd, PollFlags, Timespec};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long to sleep if one of them can't wake us.
const OFTEN: Duration = Duration::from_millis(1);

/// Handles to wait for, and which of them was ready last.
#[derive(Debug, Default)]
pub(crate) struct Several<'a> {
    /// Nothing, where one was removed: the others keep their numbers.
    ends: Vec<Option<End<'a>>>,
    after: usize,
}

impl<'a> Several<'a> {
    /// The number of the new one.
    pub(crate) fn add(&mut self, end: End<'a>) -> usize {
        self.ends.push(Some(end));
        self.ends.len() - 1
    }

    /// Whether there was one of this number.
    pub(crate) fn remove(&mut self, number: usize) -> bool {
        self.ends.get_mut(number).is_some_and(|end| end.take().is_some())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    fn all(&self) -> impl Iterator<Item = End<'a>> {
        self.ends.iter().flatten().copied()
    }

    /// The next one that is ready, after the one that was last.
    pub(crate) fn ready_now(&mut self) -> Option<usize> {
        let number = self.look()?;
        self.after = number + 1;
        Some(number)
    }

    fn look(&self) -> Option<usize> {
        let number = self.ends.len();
        let is_ready = |at: &usize| self.ends[*at].is_some_and(End::is_ready);
        (0..number).map(|step| (self.after + step) % number).find(is_ready)
    }

    /// The next one that is ready, waiting for it until the deadline.
    pub(crate) fn ready(&mut self, deadline: Option<Instant>) -> Option<usize> {
        if let Some(number) = self.ready_now() {
            return Some(number);
        }
        let spin = self.all().map(End::spin).max().unwrap_or_default();
        if !poll(spin, deadline, || self.look().is_some()) {
            self.sleep(deadline);
        }
        self.ready_now()
    }

    /// Sleeps until one seems to be ready, or has something else to say.
    fn sleep(&mut self, deadline: Option<Instant>) {
        let mut slept = false;
        loop {
            let bells: Vec<_> =
                self.all().filter_map(End::bell).map(|bell| (bell, bell.register())).collect();
            let all_share = bells.len() == self.all().count();
            let mut longest = SLICE;
            let over = self.look().is_some()
                || self.all().any(|end| {
                    let patience = end.look();
                    longest = longest.min(patience.unwrap_or_default());
                    patience.is_none()
                });
            let left = deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()));
            if over || left.is_zero() {
                break;
            }
            longest = longest.min(left);
            if !longest.is_zero() {
                slept = true;
                if !all_share || !sleep_at(&bells, longest) {
                    self.sleep_at_doors(longest);
                }
            }
            if self.look().is_some() {
                break;
            }
        }
        if slept {
            self.all().for_each(End::pass_on);
        }
    }

    fn sleep_at_doors(&self, mut longest: Duration) {
        let mut lent: Vec<(&Arc<Attachment>, End<'a>, Lent)> = Vec::new();
        let mut descriptors = Vec::new();
        for end in self.all() {
            let Some(at) = end.at() else {
                match end.descriptor() {
                    Some(descriptor) => descriptors.push(descriptor),
                    None => longest = longest.min(OFTEN),
                }
                continue;
            };
            match at.door() {
                Ok(door) => {
                    lent.push((at, end, door.lend(end.reason())));
                    os::door::drain(door.socket());
                    at.arm(end.reason());
                }
                Err(_) => longest = longest.min(OFTEN),
            }
        }
        if self.look().is_none() {
            let mut polled: Vec<PollFd<'_>> =
                lent.iter().map(|(.., lent)| PollFd::new(&lent.door.socket, PollFlags::IN)).collect();
            polled.extend(descriptors.into_iter().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            let time = Timespec { tv_sec: longest.as_secs() as i64, tv_nsec: longest.subsec_nanos().into() };
            let _ = rustix::event::poll(&mut polled, Some(&time)); // too early does no harm
        }
        // Others may have the same descriptor in an event loop, and we have read from it.
        for (at, end, lent) in lent {
            let door = Arc::clone(&lent.door);
            drop(lent);
            if door.is_lent() && end.is_ready() {
                let _ = at.ring_door(); // else they look within a second
            }
        }
    }
}
