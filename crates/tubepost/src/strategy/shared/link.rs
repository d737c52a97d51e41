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
use crate::domain::entry::Plan;
use crate::domain::failed;
use crate::domain::segment::Segment;
use crate::error::Error;
use crate::queue::chunks::{Ticket, Use};
use crate::queue::layout::{Geometry, Kind, OWNER, SENDER};
use crate::strategy::Refusal;
use crate::sync::sole::Sole;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// What the one who opens a link insists on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Insists {
    pub(crate) capacity: bool,
    pub(crate) max_message: bool,
    pub(crate) strategy: bool,
}

/// Whether it is what is wanted: who comes second has to want the same. That nobody receives there any more is no
/// matter: then there may be something to receive from the other way, and who sends is told.
pub(crate) fn agree_on_link(
    wish: &Wish<'_>,
    plan: &Plan<'_>,
    insists: Insists,
    segment: &Segment,
) -> Result<(), Error> {
    let (theirs, ours) = (&segment.geometry, &plan.geometry);
    let chosen = [
        (true, ways as fn(&Geometry) -> String),
        (insists.strategy, strategy),
        (insists.capacity, capacity),
        (insists.max_message, longest),
    ];
    let spelt = chosen.iter().filter(|(insists, _)| *insists).map(|(_, spell)| (spell(theirs), spell(ours)));
    let (theirs, ours): (Vec<_>, Vec<_>) = spelt.filter(|(theirs, ours)| theirs != ours).unzip();
    if !theirs.is_empty() {
        let (name, theirs, ours) = (wish.name.to_string(), theirs.join(", ").into(), ours.join(", ").into());
        return Err(Error::WrongChoice { name, theirs, ours });
    }
    agree_on_format(wish, segment)
}

fn ways(of: &Geometry) -> String {
    if of.choice.kind == (Kind::Link { one_way: true }) { "one way only" } else { "both ways" }.into()
}

fn strategy(of: &Geometry) -> String {
    if of.choice.kernel { "the kernel strategy" } else { "the shared strategy" }.into()
}

fn capacity(of: &Geometry) -> String {
    of.capacity().map_or("unbounded".into(), |n| format!("capacity {n}"))
}

fn longest(of: &Geometry) -> String {
    format!("messages of at most {} bytes", of.choice.longest())
}

impl Outlet {
    /// Sends a note, without asking whether its receiver lives: to a dead one it does no harm.
    pub(crate) fn note(&self, note: u64) {
        if self.at.segment.is_ours() {
            // Closed, or without memory: who waits looks once a second.
            let _ = self.post_unasked::<false>(&note.to_ne_bytes());
        }
    }

    /// The sending end of a direction of a link.
    pub(crate) fn at_link(segment: Segment, spin: Duration) -> Outlet {
        Outlet::of_link(Attachment::new(segment, SENDER, spin))
    }
}

impl Inlet {
    /// The receiving end of a direction of a link.
    pub(crate) fn at_link(segment: Segment, spin: Duration) -> Inlet {
        Inlet::of_link(Attachment::new(segment, OWNER, spin))
    }

    /// A process joins: where it is sent notes.
    pub(crate) fn join(wish: &Wish<'_>, plan: &Plan<'_>) -> Result<(Inlet, OwnedFd), Error> {
        let inlet = Inlet::own(wish, plan)?;
        let segment = &inlet.at.segment;
        let post = segment.make_post(plan.group).map_err(|errno| {
            let _ = inlet.close(); // it has not joined
            failed("to make a socket in", wish.domain.path(), errno)
        })?;
        Ok((inlet, post))
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
        self.segment.sender_has_left()
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

    /// The same, and nothing can be sent from now on. Who has claimed a place has published by then, and who has not is
    /// refused: see `alone`. Where nothing waits, what is offered is taken back, or it was received: see `queue::handoff`.
    pub(crate) fn stop_sending(&self) {
        let alone = self.alone.as_ref().map(Sole::hold);
        if !self.segment.is_ours() {
            return;
        }
        self.shut_door();
        self.leave_link();
        self.segment.disown();
        self.take_back();
        drop(alone);
        self.segment.wake_all(); // also who waits for room here
        self.wake_tasks();
    }

    /// What is offered and not taken is its sender's again. Done before this process may be taken for a dead one, whose offers
    /// anybody frees. The lock is held: so these are all.
    fn take_back(&self) {
        if self.segment.handoff.is_none() {
            return;
        }
        let offers = self.segment.chunks.all();
        let offers =
            offers.filter(|it| it.word.kind() == Some(Use::Linked) && it.word.member() == self.member);
        let back = offers.filter_map(|offer| offer.swap(offer.word.to(Use::Own, self.member)));
        let told = back.map(|chunk| {
            self.segment.bell_of_offer(chunk.entry).alarm();
            chunk.ticket()
        });
        let _ = self.taken_back.set(told.collect());
    }

    /// Whether this was taken back: nobody received it.
    pub(super) fn took_back(&self, offer: Ticket) -> bool {
        let Some(sole) = &self.alone else { return false };
        let _held = sole.hold(); // somebody may just be at it
        self.taken_back.get().is_some_and(|all| all.contains(&offer))
    }

    /// Of a link's sender, which has just left it: the receiver is to see.
    pub(super) fn tell_deserted(&self) {
        if self.member == SENDER && self.segment.is_link() {
            self.segment.tell_news();
        }
    }
}
