//! Who is at the ends of a link, and whether they live.
//!
//! A process that joins a domain has a segment there under its name, whose owner it is: the kernel keeps that
//! lock as long as the process lives (`member`), and the segment's id tells this life from all others under the
//! same name. A link is between two such lives. Its own segments have no locks: their file's name says whose they
//! are, *from*, *to* and a tag that begins the ids of both, and who is asked about is found there.
//!
//! Row OWNER of a link's segment is the receiving process's, row SENDER the sending one's. Both are filled in by whoever
//! makes the segment, before it has a name. A row that is CLEAN has left this link; of one that is ACTIVE the
//! process's segment is asked: gone, another one's, or its owner's byte unlocked, and it is dead.
//!
//! **What if it dies here?** There is nothing to do half: a verdict is looked up anew each time.

use super::Domain;
use super::entry;
use super::member::{self, Introduction};
use super::name::Name;
use super::segment::Id;
use crate::os::file::{self, Inode};
use crate::os::{Errno, lock, pid};
use crate::queue::layout::{ID_AT, OWNER, SENDER};
use crate::queue::rows::Rows;
use crate::queue::slots::Member;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::Relaxed;

/// How much of an id is in a tag, in hexadecimal digits.
const DIGITS: usize = 12;

/// One process's life in a domain.
#[derive(Clone, Debug)]
pub(crate) struct Party {
    pub(crate) name: Name,
    /// How its segment's id begins.
    life: String,
    /// Its segment's file, once it was found.
    inode: OnceLock<Inode>,
}

/// Who a process is by the kernel's word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) user: u32,
    /// If that can be known.
    pub(crate) pid: Option<u32>,
}

/// Both ends of one direction of a link.
#[derive(Clone, Debug)]
pub(crate) struct Parties {
    pub(crate) receiver: Party,
    pub(crate) sender: Party,
}

impl Party {
    pub(crate) fn new(name: &Name, id: Id) -> Party {
        Party { name: name.clone(), life: id.to_string()[..DIGITS].into(), inode: OnceLock::new() }
    }

    fn named(name: Name, life: &str) -> Party {
        Party { name, life: life.into(), inode: OnceLock::new() }
    }

    /// Whether it is the same life of the same process.
    pub(crate) fn is(&self, other: &Party) -> bool {
        self.name == other.name && self.life == other.life
    }

    /// What tells its life from others, as a number …
    pub(crate) fn life(&self) -> u64 {
        u64::from_str_radix(&self.life, 16).unwrap_or(0)
    }

    /// … and whose life has that number.
    pub(crate) fn of_life(name: Name, life: u64) -> Party {
        let digits = format!("{:0DIGITS$x}", life & ((1 << (4 * DIGITS)) - 1));
        Party::named(name, &digits)
    }

    /// Who it is by the kernel's word: its user, and its number where that means the same there as here. Nothing: it is over.
    pub(crate) fn identity(&self, domain: &Domain) -> Option<Identity> {
        let (_, segment) = entry::open(domain, &self.name).ok()?;
        let row = segment.rows.get(OWNER).ok()?;
        let here = pid::means_here(row.namespace.load(Relaxed));
        let (user, pid) = (segment.belongs_to().0, here.then(|| row.pid.load(Relaxed) as u32));
        self.is(&Party::new(&self.name, segment.id())).then_some(Identity { user, pid })
    }

    /// Whether it is over. Nothing: the system would not say.
    pub(crate) fn is_gone(&self, domain: &Domain) -> Option<bool> {
        let fd = match file::open_file(&domain.file(&self.name)) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Some(true),
            Err(_) => return None,
        };
        let inode = file::facts(&fd).ok()?.inode;
        match self.inode.get() {
            _ if planted!(LifeUnchecked) => {}
            Some(known) if *known != inode => return Some(true),
            Some(_) => {}
            None => {
                let words = [ID_AT, ID_AT + 8].map(|at| file::read_word(fd.as_fd(), at));
                let [Ok(first), Ok(second)] = words else { return None };
                if !Id::of([first, second]).to_string().starts_with(&self.life) {
                    return Some(true);
                }
                let _ = self.inode.set(inode);
            }
        }
        lock::is_locked(fd.as_fd(), OWNER.into()).ok().map(|lives| !lives)
    }
}

impl Parties {
    /// The ends of the link with this name.
    pub(crate) fn of(name: &Name) -> Option<Parties> {
        let (from, to, tag) = name.link()?;
        let (sender, receiver) = tag.split_at_checked(DIGITS)?;
        Some(Parties { receiver: Party::named(to, receiver), sender: Party::named(from, sender) })
    }

    /// What the link is called.
    pub(crate) fn name(from: &Party, to: &Party) -> Name {
        Name::of_link(&from.name, &to.name, &format!("{}{}", from.life, to.life))
    }

    fn party(&self, member: Member) -> Option<&Party> {
        match member {
            OWNER => Some(&self.receiver),
            SENDER => Some(&self.sender),
            _ => None,
        }
    }

    /// Whether the one with this row is known to be dead or gone; nobody else is at a link.
    pub(crate) fn is_dead(&self, domain: &Domain, rows: &Rows, member: Member) -> bool {
        let left = rows.get(member).is_ok_and(|row| !member::is_active(row));
        left || self.has_gone(domain, rows, member)
    }

    /// The same, but for who only left the link.
    pub(crate) fn has_gone(&self, domain: &Domain, rows: &Rows, member: Member) -> bool {
        let Ok(row) = rows.get(member) else { return false };
        let Some(party) = self.party(member) else { return true };
        party.is_gone(domain).unwrap_or_else(|| member::has_no_process(row))
    }
}

/// What is to be said in a link's rows of who receives and who sends.
pub(crate) struct Introductions<'a> {
    pub(crate) receiver: Introduction<'a>,
    pub(crate) sender: Introduction<'a>,
}

/// What this process would say of itself.
pub(crate) fn introduction(name: &str, receives: bool) -> Introduction<'_> {
    Introduction { pid: pid::own(), namespace: pid::namespace(), name, receives }
}
