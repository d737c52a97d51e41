//! Pairs: two ends that have no name anywhere. Who made one has one end, and gives the other away as one descriptor.
//!
//! A pair is a link's two segments, one each way, each in a file of memory without a name whose length is sealed, and a connection between
//! the ends (`bond`). All of it is built whole where it is made. The other end is one end of that connection, in which lies, as the
//! first packet, what its process needs: of each segment two descriptors.
//!
//! ```text
//! held     a description by which the byte of that end's row is locked: who maps the segment from it, and closes it, lives as
//!          long as the lock does (`member`)
//! asked    one by which nobody locks anything: to ask by whether the other end's byte is locked
//! ```
//!
//! All descriptions are opened where the pair is made, by way of /proc; the process that takes the other end needs no file system at
//! all. It checks what it got: sealed files, locked as they should be, and segments like any other that is opened. Then it says in
//! its rows who it is; till then they say nobody.
//!
//! **Is it dead?** An end that was taken: when its mapping is gone. One that was not: when nobody has the
//! descriptor any more; for the kernel closes what lies in a connection that nobody can receive from. So an end that was dropped, a program that
//! could not be started, and one that ended without a look at what it was given are dead ends like any other.
//!
//! **What if it dies here?** Who makes: nobody has anything yet, or the other end finds its mate dead. Who takes: the packet is taken by
//! one; with it the locks go.

use super::bond::{Bond, Bound, Said, hear};
use super::entry::{self, Plan};
use super::member::{self, Introduction};
use super::name::Name;
use super::party::{Introductions, introduction};
use super::segment::Segment;
use super::{Domain, NOWHERE, failed};
use crate::error::Error;
use crate::os::map::Map;
use crate::os::{Errno, file, handing, lock, memfd, packet};
use crate::queue::layout::{Kind, OWNER, SENDER};
use crate::queue::slots::Member;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;

/// The members of who made the pair, by ways; the other end has the others.
const MAKERS: [Member; 2] = [SENDER, OWNER];
const OTHERS: [Member; 2] = [OWNER, SENDER];

fn trouble(errno: Errno) -> Error {
    failed("to make", Path::new(NOWHERE), errno)
}

/// Makes a pair: the segments of this end, there and back, and the other end.
pub(crate) fn make(name: &Name, there: &Plan<'_>, back: &Plan<'_>) -> Result<([Segment; 2], OwnedFd), Error> {
    let (socket, other) = packet::pair().map_err(trouble)?;
    let other = handing::out_of_the_way(other).map_err(trouble)?;
    let bond = Bond::new(socket, true)?;
    let (there, there_held) = way(&bond, 0, name, there).map_err(trouble)?;
    let (back, back_held) = way(&bond, 1, name, back).map_err(trouble)?;
    let asked = |segment: &Segment| segment.descriptor().ok_or(Errno::MFILE);
    let asked = [asked(&there).map_err(trouble)?, asked(&back).map_err(trouble)?];
    let all = [there_held.as_fd(), asked[0].as_fd(), back_held.as_fd(), asked[1].as_fd()];
    packet::send(bond.socket(), &Said::Pair.head(), &[], &all).map_err(trouble)?;
    Ok(([there, back], other))
}

/// One direction, and what the other end holds of it.
fn way(bond: &Arc<Bond>, way: usize, name: &Name, plan: &Plan<'_>) -> Result<(Segment, OwnedFd), Errno> {
    let asked = memfd::make(plan.geometry.total, plan.geometry.reserved())?;
    let holding = |member: Member| {
        let held = file::open_again(asked.as_fd())?;
        if lock::try_lock(held.as_fd(), member.into())? { Ok(held) } else { Err(Errno::AGAIN) }
    };
    let (own, other) = (holding(MAKERS[way])?, holding(OTHERS[way])?);
    let mut segment = entry::fill(own.as_fd(), &Domain::nowhere(), name, plan)?;
    let mine = |receives| introduction(plan.member, receives);
    let nobody = |receives| Introduction { pid: 0, namespace: 0, name: "", receives };
    let ends = match MAKERS[way] {
        OWNER => Introductions { receiver: mine(true), sender: nobody(false) },
        _ => Introductions { receiver: nobody(true), sender: mine(false) },
    };
    member::register_ends(&segment.rows, &ends)?;
    segment.header().tail.rows.store(u64::from(SENDER) + 1, Release);
    segment.bound = Some(Bound::new(bond, way, asked));
    Ok((segment, other))
}

/// Takes the other end, which nobody took so far: the segments of this end, there and back.
pub(crate) fn take(socket: OwnedFd, name: &Name, me: &str) -> Result<[Segment; 2], Error> {
    let wrong = |why: &str| Error::NotHanded { name: name.to_string(), why: why.into() };
    if !handing::is_connection(&socket) {
        return Err(wrong("the descriptor is no end of a pair"));
    }
    let mut descriptors = Vec::new();
    match hear(socket.as_fd(), &mut descriptors) {
        Ok(Some(Some(Said::Pair))) => {}
        Ok(Some(_)) if descriptors.is_empty() => {
            return Err(wrong("what came is not what a pair consists of"));
        }
        Ok(Some(_)) => {
            return Err(wrong("what came is not what a pair consists of, or descriptors are short here"));
        }
        Ok(None) | Err(Errno::AGAIN) => return Err(wrong("it was taken already")),
        Err(errno) => return Err(failed("to take over", Path::new(NOWHERE), errno)),
    }
    let Ok([first, first_asked, second, second_asked]) = <[OwnedFd; 4]>::try_from(descriptors) else {
        return Err(wrong("what came is not what a pair consists of"));
    };
    let bond = Bond::new(socket, false)?;
    let back = taken(&bond, 0, name, first, first_asked, me)?;
    let there = taken(&bond, 1, name, second, second_asked, me)?;
    Ok([there, back])
}

/// One direction that was made elsewhere.
fn taken(
    bond: &Arc<Bond>,
    way: usize,
    name: &Name,
    held: OwnedFd,
    asked: OwnedFd,
    me: &str,
) -> Result<Segment, Error> {
    let wrong = |why: &str| Error::NotHanded { name: name.to_string(), why: why.into() };
    let member = OTHERS[way];
    let inode = |fd: &OwnedFd| file::facts(fd).map(|facts| facts.inode).ok();
    if !memfd::is_sealed(&held) || !memfd::is_sealed(&asked) || inode(&held) != inode(&asked) {
        return Err(wrong("it is no sealed memory"));
    }
    if lock::is_locked(held.as_fd(), member.into()) != Ok(false)
        || lock::is_locked(asked.as_fd(), member.into()) != Ok(true)
    {
        return Err(wrong("it is not locked for this end"));
    }
    let mut segment = entry::read(held.as_fd(), &Domain::nowhere(), name, Map::new)?;
    let choice = &segment.geometry.choice;
    if choice.kind != (Kind::Link { one_way: false }) || choice.kernel {
        return Err(wrong("it is no way of a pair"));
    }
    segment.bound = Some(Bound::new(bond, way, asked));
    let row = segment.rows.get(member).map_err(|errno| failed("to read", Path::new(NOWHERE), errno))?;
    member::introduce_end(row, &introduction(me, member == OWNER));
    Ok(segment)
}
