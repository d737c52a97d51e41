//! The ends of a pair: those of a link, of which nobody else can come to know.

use super::Attachment;
use super::attach::Wish;
use super::inlet::Inlet;
use super::link::{Insists, agree_on_link};
use super::outlet::Outlet;
use crate::domain::entry::Plan;
use crate::domain::pair;
use crate::domain::segment::Segment;
use crate::error::Error;
use crate::queue::layout::{OWNER, SENDER};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// What one direction of a pair is to be.
pub(crate) struct Way<'a> {
    pub(crate) wish: Wish<'a>,
    pub(crate) plan: &'a Plan<'a>,
}

/// Makes a pair: both ends here, and the other one.
pub(crate) fn make(there: &Way<'_>, back: &Way<'_>) -> Result<(Outlet, Inlet, OwnedFd), Error> {
    if there.plan.geometry.choice.kernel {
        return Err(Error::BadOption {
            what: "the strategy",
            given: "kernel for a pair".into(),
            allowed:
                "shared: so far only links with a name and mailboxes that a process owns travel by the kernel"
                    .into(),
        });
    }
    let (segments, other) = pair::make(there.wish.name, there.plan, back.plan)?;
    let (outlet, inlet) = ends(segments, there.wish.spin);
    Ok((outlet, inlet, other))
}

/// Takes the other end of a pair.
pub(crate) fn take(
    socket: OwnedFd,
    there: &Way<'_>,
    back: &Way<'_>,
    insists: Insists,
) -> Result<(Outlet, Inlet), Error> {
    let segments = pair::take(socket, there.wish.name, there.wish.member)?;
    for (way, segment) in [there, back].into_iter().zip(&segments) {
        agree_on_link(&way.wish, way.plan, insists, segment)?;
    }
    Ok(ends(segments, there.wish.spin))
}

fn ends([there, back]: [Segment; 2], spin: Duration) -> (Outlet, Inlet) {
    let outlet = Outlet::of_link(Attachment::new(there, SENDER, spin));
    let inlet = Inlet::of_link(Attachment::new(back, OWNER, spin));
    inlet.at.tells(&outlet.at);
    (outlet, inlet)
}
