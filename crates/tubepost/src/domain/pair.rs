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
//! Where the kernel copies the messages the segment is small and holds none: an entry, with format, numbers and rows. Of each direction
//! there are two more then, of which each end has its own and nobody else has any:
//!
//! ```text
//! line     an end of the connection by which the messages go
//! credit   a pipe with the tokens: the reading end, if it sends; one to write by, and read, if it receives (`purse`)
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
use super::purse::Purse;
use super::segment::Segment;
use super::{Domain, NOWHERE, failed};
use crate::error::Error;
use crate::os::map::Map;
use crate::os::{Errno, file, handing, lock, memfd, packet, tokens};
use crate::queue::layout::{Kind, OWNER, SENDER};
use crate::queue::slots::Member;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;

/// The members of who made the pair, by ways; the other end has the others.
const MAKERS: [Member; 2] = [SENDER, OWNER];
const OTHERS: [Member; 2] = [OWNER, SENDER];
/// Room for so many tokens more than there are.
const SPARE: usize = 64;

fn trouble(errno: Errno) -> Error {
    failed("to make", Path::new(NOWHERE), errno)
}

/// One direction, as one end has it.
pub(crate) struct Half {
    pub(crate) segment: Segment,
    /// By which the messages go, where the kernel copies them.
    pub(crate) line: Option<OwnedFd>,
}

/// Makes a pair: the directions of this end, there and back, and the other end. So much is to be under way by a line.
pub(crate) fn make(
    name: &Name,
    there: &Plan<'_>,
    back: &Plan<'_>,
    room: impl Fn(&Plan<'_>) -> u64,
) -> Result<([Half; 2], OwnedFd), Error> {
    let (socket, other) = packet::pair().map_err(trouble)?;
    let other = handing::out_of_the_way(other).map_err(trouble)?;
    let bond = Bond::new(socket, true)?;
    let (there, theirs) = way(&bond, 0, name, there, &room).map_err(trouble)?;
    let (back, more) = way(&bond, 1, name, back, &room).map_err(trouble)?;
    let all: Vec<BorrowedFd<'_>> = theirs.iter().chain(&more).map(AsFd::as_fd).collect();
    packet::send(bond.socket(), &Said::Pair.head(), &[], &all).map_err(trouble)?;
    Ok(([there, back], other))
}

/// One direction, and what the other end holds of it.
fn way(
    bond: &Arc<Bond>,
    way: usize,
    name: &Name,
    plan: &Plan<'_>,
    room: impl Fn(&Plan<'_>) -> u64,
) -> Result<(Half, Vec<OwnedFd>), Errno> {
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
    planted!(EndKept => std::mem::forget(other.try_clone()));
    let mut theirs = vec![other, asked.try_clone().map_err(|_| Errno::MFILE)?];
    let (mut line, mut purse) = (None, None);
    if plan.geometry.choice.kernel {
        let (sending, receiving) = packet::pair()?;
        packet::widen(sending.as_fd(), room(plan));
        let capacity = plan.geometry.choice.capacity;
        let (taken, put) = tokens::unnamed(capacity as usize + SPARE)?;
        (0..capacity).try_for_each(|token| tokens::put(put.as_fd(), token))?;
        let sends = MAKERS[way] == SENDER;
        let mut ends = [(sending, taken), (receiving, put)];
        if !sends {
            ends.reverse();
        }
        let [(own_line, own_credit), (their_line, their_credit)] = ends;
        (line, purse) = (Some(own_line), Some(Purse::new(own_credit, sends)?));
        theirs.extend([their_line, their_credit]);
    }
    segment.bound = Some(Bound::new(bond, way, asked, purse));
    Ok((Half { segment, line }, theirs))
}

/// Takes the other end, which nobody took so far: the directions of this end, there and back.
pub(crate) fn take(socket: OwnedFd, name: &Name, me: &str) -> Result<[Half; 2], Error> {
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
    let more = descriptors.split_off(descriptors.len() / 2);
    let bond = Bond::new(socket, false)?;
    let back = taken(&bond, 0, name, descriptors, me)?;
    let there = taken(&bond, 1, name, more, me)?;
    if back.line.is_some() != there.line.is_some() {
        return Err(wrong("its ways are of two strategies"));
    }
    Ok([there, back])
}

/// One direction that was made elsewhere.
fn taken(
    bond: &Arc<Bond>,
    way: usize,
    name: &Name,
    mut descriptors: Vec<OwnedFd>,
    me: &str,
) -> Result<Half, Error> {
    let wrong = |why: &str| Error::NotHanded { name: name.to_string(), why: why.into() };
    let member = OTHERS[way];
    let kernels = (descriptors.len() == 4).then(|| descriptors.pop().zip(descriptors.pop())).flatten();
    let Ok([held, asked]) = <[OwnedFd; 2]>::try_from(descriptors) else {
        return Err(wrong("what came is not what a pair consists of"));
    };
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
    if choice.kind != (Kind::Link { one_way: false }) || choice.kernel != kernels.is_some() || choice.sealed {
        return Err(wrong("it is no way of a pair"));
    }
    let (mut line, mut purse) = (None, None);
    if let Some((credit, connection)) = kernels {
        let sends = member == SENDER;
        if !handing::is_connection(&connection) || !tokens::is_unnamed(credit.as_fd(), sends) {
            return Err(wrong("its messages go by no connection and no pipe"));
        }
        let trouble = |errno| failed("to take over", Path::new(NOWHERE), errno);
        (line, purse) = (Some(connection), Some(Purse::new(credit, sends).map_err(trouble)?));
    }
    planted!(DescriptorLeft => std::mem::forget(asked.try_clone()));
    segment.bound = Some(Bound::new(bond, way, asked, purse));
    let row = segment.rows.get(member).map_err(|errno| failed("to read", Path::new(NOWHERE), errno))?;
    member::introduce_end(row, &introduction(me, member == OWNER));
    Ok(Half { segment, line })
}
