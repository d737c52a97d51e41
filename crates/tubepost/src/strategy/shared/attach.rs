//! Coming in: how a process becomes a member of a mailbox that exists.

use super::Attachment;
use crate::domain::access::Right;
use crate::domain::entry;
use crate::domain::name::Name;
use crate::domain::segment::Segment;
use crate::domain::{Domain, cleanup};
use crate::error::Error;
use crate::format::Format;
use crate::queue::layout::Kind;
use std::sync::Arc;
use std::sync::atomic::Ordering::AcqRel;
use std::time::{Duration, Instant};

/// What a sender, a receiver or a creator wants of a mailbox.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'a> {
    pub(crate) domain: &'a Domain,
    /// A mailbox, or a process.
    pub(crate) kind: Kind,
    pub(crate) name: &'a Name,
    pub(crate) format: &'a Format,
    pub(crate) member: &'a str,
    pub(crate) spin: Duration,
    /// How long to wait for a place among those whose connections are not accepted so far.
    pub(crate) patience: Duration,
}

/// How often a name that changes hands just now is looked up again …
const TRIES: u32 = 100;
/// … and for how long: where many want to run, each time the others go first.
const PATIENCE: Duration = Duration::from_millis(100);

/// What was opened.
pub(crate) enum Opened<A> {
    Here(A),
    /// It is alive and carries what is wished for, but not through shared memory.
    Elsewhere,
}

/// Opens what the name means and becomes a member of it.
pub(crate) fn attach(wish: &Wish<'_>, receives: bool) -> Result<Opened<Arc<Attachment>>, Error> {
    let name = || wish.name.to_string();
    let (mut left, begin) = (None, Instant::now());
    for _ in 0..TRIES {
        let (fd, segment) = entry::open(wish.domain, wish.name).map_err(|error| match error {
            Error::NoSuchName { .. } => nothing(wish),
            other => other,
        })?;
        if segment.is_retired() {
            left = Some(segment);
            if begin.elapsed() > PATIENCE {
                break;
            }
            std::thread::yield_now();
            continue;
        }
        agree(wish, &segment)?;
        let right = if receives { Right::Receive } else { Right::Send };
        if !segment.permits(right) {
            return Err(segment.denied(right.doing(wish.kind.is_data())));
        }
        if receives && segment.geometry.choice.owned && !wish.kind.is_data() {
            let owner = segment.owner();
            let is = spell(wish.kind);
            return Err(Error::Owned { name: name(), is, owner: owner.name.into(), pid: owner.pid });
        }
        if segment.geometry.choice.kernel {
            return Ok(Opened::Elsewhere);
        }
        if segment.geometry.choice.filed {
            // Before: whoever enters may have to put in order what a dead one left there.
            segment.set_log(crate::domain::log::join(&segment)?);
        }
        let member = cleanup::enter(&fd, &segment, wish.member, receives)?;
        let at = Attachment::new(segment, member, wish.spin);
        if at.segment.is_retired() {
            continue; // it ended while we came in
        }
        if receives {
            // Others who sleep are to watch out for our death.
            at.segment.header().bells.joined.fetch_add(1, AcqRel);
            at.segment.messages().alarm();
        }
        return Ok(Opened::Here(at));
    }
    // It is over and has its name still: who retired it died before taking that away, or it is not ours to.
    Err(match left.inspect(|segment| drop(cleanup::bury(segment))) {
        Some(segment) if segment.geometry.choice.owned => {
            Error::OwnerGone { name: name(), pid: segment.owner().pid }
        }
        _ => nothing(wish),
    })
}

/// Whether it is alive and carries what is wished for.
pub(crate) fn agree(wish: &Wish<'_>, segment: &Segment) -> Result<(), Error> {
    let name = || wish.name.to_string();
    let theirs = theirs(wish, segment)?;
    if segment.is_over() {
        let _ = cleanup::bury(segment); // it may not be ours to remove
        return Err(if segment.geometry.choice.owned {
            Error::OwnerGone { name: name(), pid: segment.owner().pid }
        } else {
            nothing(wish)
        });
    }
    carries(wish, &theirs)
}

/// There is nothing of that name.
fn nothing(wish: &Wish<'_>) -> Error {
    let (name, domain) = (wish.name.to_string(), wish.domain.path().into());
    Error::NoSuchName { name, domain, wanted: spell(wish.kind) }
}

/// Whether it carries what is wished for, alive or not.
pub(super) fn agree_on_format(wish: &Wish<'_>, segment: &Segment) -> Result<(), Error> {
    carries(wish, &theirs(wish, segment)?)
}

/// What it carries, if it is of the right kind.
fn theirs(wish: &Wish<'_>, segment: &Segment) -> Result<Format, Error> {
    let name = || wish.name.to_string();
    if segment.geometry.choice.kind != wish.kind {
        let is = spell(segment.geometry.choice.kind);
        return Err(Error::WrongKind { name: name(), is, wanted: spell(wish.kind) });
    }
    let theirs = String::from_utf8_lossy(&segment.format()).into_owned();
    Format::decode(segment.geometry.choice.variable, &theirs)
        .map_err(|what| Error::Damaged { name: name(), what })
}

fn carries(wish: &Wish<'_>, theirs: &Format) -> Result<(), Error> {
    if *theirs == *wish.format {
        return Ok(());
    }
    let (theirs, ours) = (theirs.to_string(), wish.format.to_string());
    Err(Error::WrongFormat { name: wish.name.to_string(), theirs, ours })
}

/// What people call it.
pub(crate) fn spell(kind: Kind) -> &'static str {
    match kind {
        Kind::Mailbox => "a mailbox",
        Kind::Process => "a process",
        Kind::Link { one_way: false } => "a link",
        Kind::Link { one_way: true } => "a one-way link",
        Kind::Region => "a region",
        Kind::Bare => "a segment",
    }
}
