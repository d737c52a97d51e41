//! The ends of a link: each way it is a queue between two processes, with one row for each.
//!
//! It is the queue of a mailbox that a process owns, but for this: either process may have made it; who lives is
//! asked of the processes, not of the segment (`domain::party`); and a receiver whose sender is gone is told, when
//! it has received everything.
//!
//! **What if it dies here?** A sender: what it published is received, then the link is over. A receiver: as
//! any owner. Whoever notices puts the segment away; of two that died `gc` does, or nobody needs to: their names come never
//! again.

use super::attach::{Wish, agree_on_format};
use super::inlet::Inlet;
use super::outlet::Outlet;
use super::{Attachment, GRIEF, Pace, closed};
use crate::domain::cleanup;
use crate::domain::entry::{self, Plan};
use crate::domain::name::Name;
use crate::domain::party::Introductions;
use crate::domain::segment::Segment;
use crate::domain::{Domain, member};
use crate::error::Error;
use crate::queue::layout::{Kind, OWNER, SENDER};
use crate::queue::slots::Member;
use crate::strategy::Refusal;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// What the one who opens a link insists on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Insists {
    pub(crate) capacity: bool,
    pub(crate) max_message: bool,
}

/// Makes one direction of a link, or comes to it. Whether it was made.
fn attach(
    wish: &Wish<'_>,
    plan: &Plan<'_>,
    ends: &Introductions<'_>,
    insists: Insists,
    member: Member,
) -> Result<(Arc<Attachment>, bool), Error> {
    let (segment, made) = entry::link(wish.domain, wish.name, plan, ends)?;
    if !made {
        agree_on_link(wish, plan, insists, &segment)?;
    }
    Ok((Attachment::new(segment, member, wish.spin), made))
}

/// Whether it is what is wanted: who comes second has to want the same. That nobody receives there any more is no
/// matter: then there may be something to receive from the other way, and who sends is told.
pub(crate) fn agree_on_link(
    wish: &Wish<'_>,
    plan: &Plan<'_>,
    insists: Insists,
    segment: &Segment,
) -> Result<(), Error> {
    let (theirs, ours) = (&segment.geometry.choice, &plan.geometry.choice);
    let same = theirs.kind == ours.kind
        && (theirs.capacity == ours.capacity || !insists.capacity)
        && (theirs.max_message == ours.max_message || !insists.max_message);
    if !same {
        let [theirs, ours] = [segment.geometry, plan.geometry].map(|geometry| {
            let ways =
                if geometry.choice.kind == (Kind::Link { one_way: true }) { "one way" } else { "two ways" };
            let capacity = geometry.capacity().map_or("unbounded".into(), |n| format!("capacity {n}"));
            format!("messages of at most {} bytes, {capacity}, {ways}", geometry.choice.longest())
        });
        return Err(Error::WrongFormat { name: wish.name.to_string(), theirs, ours });
    }
    agree_on_format(wish, segment)
}

impl Outlet {
    /// Sends a note, without asking whether its receiver lives: to a dead one it does no harm.
    pub(crate) fn note(&self, note: u64) {
        if self.at.segment.is_ours() {
            // Closed, or without memory: who waits looks once a second.
            let _ = self.post_unasked::<false>(&note.to_ne_bytes());
        }
    }

    /// The sending end of a direction of a link, made if it is not there.
    pub(crate) fn link(
        wish: &Wish<'_>,
        plan: &Plan<'_>,
        ends: &Introductions<'_>,
        insists: Insists,
    ) -> Result<(Outlet, bool), Error> {
        let (at, made) = attach(wish, plan, ends, insists, SENDER)?;
        Ok((Outlet::of_link(at), made))
    }
}

impl Inlet {
    /// The receiving end of a direction of a link, made if it is not there.
    pub(crate) fn link(
        wish: &Wish<'_>,
        plan: &Plan<'_>,
        ends: &Introductions<'_>,
        insists: Insists,
    ) -> Result<(Inlet, bool), Error> {
        let (at, made) = attach(wish, plan, ends, insists, OWNER)?;
        Ok((Inlet::of_link(at), made))
    }

    /// The receiving end of what somebody else has made, whatever it is.
    pub(crate) fn of_made_link(domain: &Domain, name: &Name, spin: Duration) -> Result<Inlet, Error> {
        let (_, segment) = entry::open(domain, name)?;
        Ok(Inlet::of_link(Attachment::new(segment, OWNER, spin)))
    }

    /// What a receiver that never waits is told where nothing is there.
    #[cold]
    pub(super) fn empty_or_deserted(&self) -> Refusal {
        let at = &self.at;
        let deserted = at.segment.is_link()
            && (at.has_left() || at.may_be_deserted(&self.pace))
            && at.segment.is_dead(SENDER)
            && !self.may_take();
        if deserted { self.deserted() } else { Refusal::Waiting }
    }

    /// Ends a link that was found empty if nobody is there to send more; else this end will be told when that comes
    /// to pass.
    pub(crate) fn end_if_deserted(&self) -> bool {
        let deserted = self.at.watch_sender() && !self.may_take();
        if deserted {
            self.deserted();
        }
        deserted
    }

    /// Everything was received, and nobody is there to send more.
    #[cold]
    pub(super) fn deserted(&self) -> Refusal {
        let told = closed(&self.at.segment);
        if let Some(other) = self.at.other_way.get().and_then(Weak::upgrade) {
            other.grief.store(GRIEF, Release);
        }
        let _ = cleanup::put_away(&self.at.segment); // it may not be ours to remove
        told
    }
}

impl Attachment {
    /// Of a link: whether the sending process left it in an orderly way.
    pub(crate) fn has_left(&self) -> bool {
        self.segment.rows.get(SENDER).is_ok_and(|row| !member::is_active(row))
    }

    /// Whether a receiver that found nothing should ask whether its sender lives: if it was told of a death, or has
    /// nobody to tell it and the clock has ticked.
    fn may_be_deserted(&self, pace: &Pace) -> bool {
        let grief = self.grief.load(Relaxed) > 0;
        grief || !self.watches_owner.load(Relaxed) && pace.ticked(false).is_some()
    }

    /// Of a link's receiver, before it sleeps: whether there is nobody to wait for. Else it will be told.
    pub(super) fn watch_sender(self: &Arc<Self>) -> bool {
        if !self.segment.is_link() {
            return false;
        }
        if self.has_left() {
            return true;
        }
        if let Some(bound) = self.segment.bound()
            && !bound.is_due()
            && self.grief.load(Relaxed) == 0
        {
            return false;
        }
        let watched = self.watches_owner.load(Relaxed);
        if !watched && self.watch(SENDER) {
            self.watches_owner.store(true, Relaxed);
        }
        // Where it can't be watched, once a second, at each sleep's end, is often enough.
        (!watched || self.grief.load(Relaxed) > 0) && self.segment.is_dead(SENDER)
    }

    /// Has the way there look for who receives when the way back finds that nobody sends any more.
    pub(crate) fn tells(&self, way_there: &Arc<Attachment>) {
        let _ = self.other_way.set(Arc::downgrade(way_there));
    }

    /// The sending process leaves this link, whatever handles there are still.
    pub(crate) fn leave_link(&self) {
        self.segment.leave(self.member);
        self.tell_deserted();
    }

    /// Of a link's sender, which has just left it: the receiver is to see.
    pub(super) fn tell_deserted(&self) {
        if self.member == SENDER && self.segment.is_link() {
            self.segment.tell_news();
        }
    }
}
