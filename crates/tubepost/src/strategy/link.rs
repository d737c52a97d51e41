//! The ends of a link, whichever strategy it has: what the first one said, who comes second takes.

use super::kernel::link::Sending;
use super::kernel::post::Post;
use super::shared::attach::Wish;
use super::shared::link::{Insists, agree_on_link};
use super::{Inlet, Outlet, kernel, shared};
use crate::domain::entry::{self, Linked, Plan};
use crate::domain::name::Name;
use crate::domain::party::Introductions;
use crate::domain::{Domain, cleanup};
use crate::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// Makes one direction of a link, or comes to it.
fn come_to(
    wish: &Wish<'_>,
    plan: &Plan<'_>,
    ends: &Introductions<'_>,
    insists: Insists,
) -> Result<Linked, Error> {
    let linked = entry::link(wish.domain, wish.name, plan, ends)?;
    if !linked.made {
        agree_on_link(wish, plan, insists, &linked.segment)?;
    }
    Ok(linked)
}

/// What was made can't be used: then nobody is to find it, for what is in its pipe went when we closed that.
#[cold]
fn in_vain(wish: &Wish<'_>) {
    if let Ok(segment) = entry::open(wish.domain, wish.name).map(|(_, segment)| segment) {
        let _ = cleanup::put_away(&segment); // its name is of no other link, ever
    }
}

impl Outlet {
    /// The sending end of a direction of a link, made if it is not there. Whether it was made.
    pub(crate) fn link(
        wish: &Wish<'_>,
        plan: &Plan<'_>,
        ends: &Introductions<'_>,
        insists: Insists,
        sending: &Sending<'_>,
    ) -> Result<(Outlet, bool), Error> {
        let linked = come_to(wish, plan, ends, insists)?;
        let made = linked.made;
        if linked.segment.geometry.choice.kernel {
            let outlet = kernel::outlet::Outlet::of_link(linked, sending).inspect_err(|_| {
                if made {
                    in_vain(wish)
                }
            });
            return Ok((Outlet::Kernel(outlet?), made));
        }
        let outlet = shared::outlet::Outlet::at_link(linked.segment, wish.spin);
        Ok((Outlet::Shared(outlet), made))
    }
}

impl Outlet {
    /// The sending process leaves the link: nothing can be sent by it from now on, whatever handles there are.
    pub(crate) fn stop_sending(&self) {
        match self {
            Outlet::Shared(outlet) => outlet.at.stop_sending(),
            Outlet::Kernel(outlet) => outlet.stop_sending(),
            Outlet::File(_) | Outlet::HandedOn(_) => unreachable!("a link is not kept in files"),
        }
    }
}

impl Inlet {
    /// The receiving end of a direction of a link, made if it is not there. Whether it was made.
    pub(crate) fn link(
        wish: &Wish<'_>,
        plan: &Plan<'_>,
        ends: &Introductions<'_>,
        insists: Insists,
        post: &Arc<Post>,
    ) -> Result<(Inlet, bool), Error> {
        let linked = come_to(wish, plan, ends, insists)?;
        let made = linked.made;
        let inlet = Inlet::of(linked, wish.spin, post).inspect_err(|_| {
            if made {
                in_vain(wish)
            }
        });
        Ok((inlet?, made))
    }

    /// The receiving end of what somebody else has made, whatever it is.
    pub(crate) fn of_made_link(
        domain: &Domain,
        name: &Name,
        spin: Duration,
        post: &Arc<Post>,
    ) -> Result<Inlet, Error> {
        Inlet::of(Linked::open(domain, name)?, spin, post)
    }

    fn of(linked: Linked, spin: Duration, post: &Arc<Post>) -> Result<Inlet, Error> {
        if linked.segment.geometry.choice.kernel {
            return Ok(Inlet::Kernel(Box::new(kernel::inlet::Inlet::of_link(linked, spin, post)?)));
        }
        Ok(Inlet::Shared(shared::inlet::Inlet::at_link(linked.segment, spin)))
    }

    /// Ends a link that was found empty if nobody is there to send more; else this end will be told when that comes to
    /// pass.
    pub(crate) fn end_if_deserted(&self) -> bool {
        match self {
            Inlet::Shared(inlet) => inlet.end_if_deserted(),
            Inlet::Kernel(inlet) => inlet.end_if_deserted(),
            Inlet::File(_) => unreachable!("a link is not kept in files"),
        }
    }
}
