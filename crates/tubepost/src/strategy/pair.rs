//! The ends of a pair: those of a link, of which nobody else can come to know.

use super::kernel::room;
use super::shared::attach::Wish;
use super::shared::link::{Insists, agree_on_link};
use super::{Inlet, Outlet, kernel, shared};
use crate::domain::entry::Plan;
use crate::domain::pair::{self, Half};
use crate::error::Error;
use std::os::fd::OwnedFd;

/// What one direction of a pair is to be.
pub(crate) struct Way<'a> {
    pub(crate) wish: Wish<'a>,
    pub(crate) plan: &'a Plan<'a>,
}

/// Makes a pair: both ends here, and the other one.
pub(crate) fn make(there: &Way<'_>, back: &Way<'_>) -> Result<(Outlet, Inlet, OwnedFd), Error> {
    let room = |plan: &Plan<'_>| {
        let choice = &plan.geometry.choice;
        room::wanted(choice.max_message, choice.capacity)
    };
    let (halves, other) = pair::make(there.wish.name, there.plan, back.plan, room)?;
    let (outlet, inlet) = ends(halves, &there.wish)?;
    Ok((outlet, inlet, other))
}

/// Takes the other end of a pair.
pub(crate) fn take(
    socket: OwnedFd,
    there: &Way<'_>,
    back: &Way<'_>,
    insists: Insists,
) -> Result<(Outlet, Inlet), Error> {
    let halves = pair::take(socket, there.wish.name, there.wish.member)?;
    for (way, half) in [there, back].into_iter().zip(&halves) {
        agree_on_link(&way.wish, way.plan, insists, &half.segment)?;
    }
    ends(halves, &there.wish)
}

fn ends([there, back]: [Half; 2], wish: &Wish<'_>) -> Result<(Outlet, Inlet), Error> {
    if there.line.is_some() {
        let outlet = kernel::outlet::Outlet::of_pair(there, wish.member, wish.spin)?;
        let inlet = kernel::inlet::Inlet::of_pair(back, wish.spin)?;
        return Ok((Outlet::Kernel(outlet), Inlet::Kernel(Box::new(inlet))));
    }
    let (outlet, inlet) = shared::pair::ends(there.segment, back.segment, wish.spin);
    Ok((Outlet::Shared(outlet), Inlet::Shared(inlet)))
}
