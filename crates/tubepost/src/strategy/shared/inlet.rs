//! The owner's end.

use super::{Attachment, Stuck, Wish, back_off, closed, forked, too_long};
use crate::domain::cleanup;
use crate::domain::entry::{self, Plan};
use crate::domain::member::{self, Peer};
use crate::error::{Closed, Error};
use crate::memory::payload::Unfit;
use crate::os::cpu;
use crate::queue::layout::{Geometry, OWNER};
use crate::queue::mapped::SlotPayload;
use crate::queue::slots::{Head, Member, Place, Unpublished};
use crate::strategy::Refusal;
use crate::sync::sole::{Held, Sole};
use crate::sync::wait::poll;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

/// The owner's end: one per mailbox, shared by the owner's threads.
#[derive(Debug)]
pub(crate) struct Inlet {
    pub(crate) at: Arc<Attachment>,
    sole: Sole,
    closed: AtomicBool,
    /// The next position to receive. The copy in shared memory is for others to read.
    head: AtomicU64,
    skipped: AtomicU64,
    /// The head when the queue was last found empty.
    empty_at: AtomicU64,
    /// The head, when it is not published.
    stuck: Stuck,
}

/// The message at the head, to be read and [`consume`](Self::consume)d; dropped, it stays.
/// Nobody else receives meanwhile.
pub(crate) struct Taken<'a> {
    inlet: &'a Inlet,
    held: Held<'a>,
    place: Place,
    member: Member,
    pub(crate) payload: SlotPayload<'a>,
}

impl Taken<'_> {
    pub(crate) fn position(&self) -> u64 {
        self.place.position
    }

    pub(crate) fn sender(&self) -> Peer {
        let row = self.inlet.at.segment.rows.get(self.member);
        row.map_or_else(|_| Peer { pid: 0, name: String::new() }, member::peer)
    }

    /// The message was read: its place is free.
    #[inline]
    pub(crate) fn consume(self) {
        let at = &*self.inlet.at;
        at.segment.slots.free(self.place);
        self.inlet.move_head(self.place.position);
        drop(self.held);
        at.room().ring(&at.quiet);
    }

    /// The bytes make no message, for this reason. What doesn't fit the buffer stays.
    #[cold]
    pub(crate) fn unfit(self, unfit: Unfit) -> Refusal {
        let error = match unfit {
            Unfit::TooShort { length, room } => return too_long(length as u64, room as u64),
            Unfit::NotText => Error::BadText,
            Unfit::WrongLength { .. } => self.inlet.impossible_length(),
        };
        self.consume();
        error.into()
    }
}

impl Inlet {
    pub(crate) fn own(wish: &Wish<'_>, geometry: Geometry, format: &str) -> Result<Inlet, Error> {
        let plan = Plan { geometry, format, mode: 0o600, owner: wish.member };
        let reachable = cpu::register_for_barriers();
        let segment = entry::create(wish.domain, wish.name, &plan)?;
        Ok(Inlet {
            at: Attachment::new(segment, OWNER, wish.spin),
            sole: Sole::new(reachable),
            closed: AtomicBool::new(false),
            head: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            empty_at: AtomicU64::new(0),
            stuck: Stuck::new(),
        })
    }

    /// Takes the next message if there is one.
    #[inline(always)]
    fn take(&self) -> Result<Taken<'_>, Refusal> {
        let at = &*self.at;
        if !at.segment.is_ours() {
            return Err(forked());
        }
        let held = self.sole.hold();
        if self.closed.load(Relaxed) {
            return Err(closed(&at.segment));
        }
        let slots = &at.segment.slots;
        loop {
            let head = self.head.load(Relaxed);
            match slots.head(head) {
                Head::Message(place, state) => {
                    let Some(payload) = slots.words.payload(place) else {
                        slots.free(place);
                        self.move_head(head);
                        return Err(self.impossible_length().into());
                    };
                    return Ok(Taken { inlet: self, held, place, member: state.member(), payload });
                }
                Head::Skipped => self.skip(head),
                Head::Empty(_) => return Err(Refusal::Waiting),
            }
        }
    }

    #[cold]
    fn impossible_length(&self) -> Error {
        Error::Damaged {
            name: self.at.segment.name.to_string(),
            what: "a message has an impossible length; it was dropped".into(),
        }
    }

    /// Walks over a place whose claimant died. The caller holds the lock.
    #[cold]
    fn skip(&self, head: u64) {
        let skipped = self.skipped.load(Relaxed) + 1;
        self.skipped.store(skipped, Relaxed);
        self.at.segment.header().head.skipped.store(skipped, Relaxed);
        self.move_head(head);
    }

    #[inline]
    fn move_head(&self, head: u64) {
        self.head.store(head + 1, Relaxed);
        self.at.segment.header().head.position.store(head + 1, Release);
    }

    /// Takes the next message if there is one now.
    #[inline(always)]
    pub(crate) fn try_recv(&self) -> Result<Taken<'_>, Refusal> {
        loop {
            match self.take() {
                Err(Refusal::Waiting) if self.head_was_recovered() => {}
                done => return done,
            }
        }
    }

    /// Looks whether a dead claimant holds the head back, when the clock has ticked.
    #[inline]
    fn head_was_recovered(&self) -> bool {
        self.stuck.for_a_while(self.head.load(Relaxed))
            && self.recover_head(|place| self.at.recover(place) == Unpublished::Recovered)
    }

    /// Skips the dead at the head, by `recover`.
    #[cold]
    fn recover_head(&self, recover: impl Fn(Place) -> bool) -> bool {
        let mut recovered = false;
        loop {
            let slots = &self.at.segment.slots;
            match slots.head(self.head.load(Relaxed)) {
                Head::Empty(place) if recover(place) => recovered = true,
                _ => return recovered,
            }
            // Walk over it, so that several in a row are dealt with at once.
            let _held = self.sole.hold();
            let head = self.head.load(Relaxed);
            if slots.head(head) == Head::Skipped {
                self.skip(head);
            }
        }
    }

    /// Takes the next message, waiting for it until the deadline.
    #[inline(always)]
    pub(crate) fn recv(&self, deadline: Option<Instant>) -> Result<Taken<'_>, Refusal> {
        loop {
            match self.take() {
                Err(Refusal::Waiting) if self.poll(deadline) => {}
                Err(Refusal::Waiting) => self.sleep(deadline)?,
                done => return done,
            }
        }
    }

    /// Looks for a message again and again for a while. `false`: there is none yet.
    #[inline(never)]
    fn poll(&self, deadline: Option<Instant>) -> bool {
        let at = &*self.at;
        let spin = at.spin();
        if spin.is_zero() {
            return false;
        }
        let head = self.head.load(Relaxed);
        back_off(head.wrapping_sub(self.empty_at.swap(head, Relaxed)));
        let gate = at.segment.slots.gate(head);
        let ready = poll(spin, deadline, || !gate.is_free() || self.closed.load(Relaxed));
        if ready {
            at.spun_well();
        }
        ready
    }

    /// Sleeps until there seems to be a message, or the mailbox is closed.
    #[cold]
    fn sleep(&self, deadline: Option<Instant>) -> Result<(), Refusal> {
        let at = &self.at;
        let done = at.messages().wait(
            deadline,
            || self.may_take().then_some(Ok(())),
            || {
                // Somebody else ended it, or took the name away.
                if at.is_marked_closed() || at.lost_its_name() {
                    return Err(Err(closed(&at.segment)));
                }
                Ok(if self.recover_head(|place| at.recover_or_watch(place)) {
                    Duration::ZERO
                } else {
                    at.patience()
                })
            },
        );
        done.unwrap_or(Err(Refusal::Waiting))
    }

    #[inline]
    fn may_take(&self) -> bool {
        let head = self.at.segment.slots.head(self.head.load(Relaxed));
        !matches!(head, Head::Empty(_)) || self.closed.load(Relaxed)
    }

    /// Ends the mailbox: nothing is received from now on, nobody can send, the name is free.
    pub(crate) fn close(&self) -> Result<Closed, Error> {
        if !self.at.segment.is_ours() {
            return Err(Error::Forked);
        }
        let segment = &self.at.segment;
        let closed = {
            let _held = self.sole.hold();
            self.closed.store(true, Relaxed);
            cleanup::finish(segment)
        };
        segment.mark_retired();
        segment.wake_all();
        segment.retire(|| true);
        Ok(closed)
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        let _ = self.close();
    }
}
