//! Where members who wait for a descriptor are rung: sockets in the domain's directory.
//!
//! A handle that ever waits so has a datagram socket, bound to a name in the directory that no mailbox can have:
//! `~`, the mailbox's id, and row and generation of the member. The generation keeps who was about to ring a dead
//! one from ringing its heir. When to ring is in `sync::doors`; what is sent says nothing.
//!
//! **Whose is it?** Its member's, as long as that one lives: what the locks say of the member, they say of its
//! socket. Its door says so before there is one. The name is taken away by its handle when that goes; of the dead, with the rest of what they had before
//! their row is free, or by whoever rings in vain, or with the mailbox's name. Of one who left, and could not take it (the system had no memory),
//! by who has its row next, or by `gc`: as long as a row is a member's, it is of no other generation. What is left when a mailbox is
//! gone, because somebody died just then, is seen by `gc`: its id is that of no mailbox in the directory. Ids never
//! come again, so this can't be a new one's.
//!
//! **What if it dies here?** See above: each of these may be done by anybody, any number of times.
//!
//! Of a pair, which has no directory, the other end has a copy of the socket to ring by (`bond`).
//!
//! Who can't ring, for want of a descriptor or of permission, leaves it: who waits looks once a second.

use super::segment::{Id, Segment};
use super::{Domain, access, failed, member};
use crate::error::Error;
use crate::os::{Errno, door};
use crate::queue::layout::{OWNER, ROWS};
use crate::queue::slots::Member;
use crate::sync::doors;
use crate::sync::wait::Doors;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Acquire;

/// A door that changes more often than this while somebody looks is rubbish.
const TRIES: u32 = 100;

/// What a member's socket is called after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Called {
    id: String,
    member: Member,
    generation: u64,
}

impl Called {
    fn name(&self) -> String {
        format!("~{}~{:x}~{:x}", self.id, self.member, self.generation)
    }

    /// What a file is called after, if it is called so.
    pub(crate) fn by(file: &str) -> Option<Called> {
        let mut parts = file.strip_prefix('~')?.split('~');
        let id = parts.next().filter(|id| id.len() == 32)?.to_owned();
        let member = Member::from_str_radix(parts.next()?, 16).ok()?;
        let generation = u64::from_str_radix(parts.next()?, 16).ok()?;
        let called = Called { id, member, generation };
        (called.name() == file).then_some(called)
    }
}

impl Segment {
    fn called(&self, member: Member) -> Option<Called> {
        let generation = member::generation(self.rows.get(member).ok()?);
        Some(Called { id: self.id().to_string(), member, generation })
    }

    /// Whether others than its user may use it.
    fn is_shared(&self) -> bool {
        access::file_mode(self.mode()) & 0o077 != 0
    }

    /// A socket for this process's own member.
    pub(crate) fn open_door(&self, member: Member) -> Result<OwnedFd, Error> {
        let directory = self.domain.path();
        let called = self.called(member).ok_or(Errno::NOMEM);
        self.rows.get(member).into_iter().for_each(|row| doors::build(&row.door));
        called
            .and_then(|called| match self.bound() {
                Some(bound) => bound.open_door(member),
                None => door::open(directory, &called.name(), self.is_shared()),
            })
            .map_err(|errno| failed("to make a socket to be woken by in", directory, errno))
    }

    /// Takes away what a member is rung by.
    pub(crate) fn take_door(&self, member: Member) {
        if let Some(bound) = self.bound() {
            return bound.take_door(member);
        }
        if let Ok(row) = self.rows.get(member)
            && doors::is_there(&row.door)
            && let Some(called) = self.called(member)
        {
            door::remove(self.domain.path(), &called.name());
        }
    }

    /// Says that the member waits for this reason, at its door. It looks again after this.
    pub(crate) fn arm_door(&self, member: Member, reason: u32) {
        let Ok(row) = self.rows.get(member) else { return };
        doors::arm(&row.door, &self.header().bells.doors, reason);
        let bell = match reason {
            doors::MESSAGES => self.messages(),
            doors::ROOM => self.room(),
            _ => self.end(),
        };
        bell.register();
    }

    /// Says that the herald is to be called for the next message. Look again after this.
    pub(crate) fn arm_herald(&self) {
        doors::arm_some(&self.header().bells.doors, doors::HERALD);
        self.messages().register();
    }

    pub(crate) fn disarm_door(&self, member: Member, reason: u32) {
        if let Ok(row) = self.rows.get(member) {
            doors::disarm(&row.door, reason);
        }
    }

    /// Rings one's own door.
    pub(crate) fn ring_door(&self, member: Member) -> Result<(), Error> {
        let called = self.called(member).ok_or(Errno::NOMEM);
        called
            .and_then(|called| self.ring_at(member, &called))
            .map_err(|errno| failed("to ring a socket in", self.domain.path(), errno))
    }

    fn ring_at(&self, member: Member, called: &Called) -> Result<(), Errno> {
        match self.bound() {
            Some(bound) => bound.ring(member),
            None => door::ring(self.domain.path(), &called.name(), self.is_shared()),
        }
    }

    /// Members that there may be.
    fn members(&self) -> impl Iterator<Item = Member> {
        let used = self.header().tail.rows.load(Acquire).clamp(u64::from(OWNER) + 1, ROWS);
        (u64::from(OWNER)..used).map(|member| member as Member)
    }

    /// Takes those away that were there a moment ago, of this mailbox's members, and whose members have left since.
    pub(crate) fn take_doors_of_who_left(&self, doors: &[Called]) {
        let id = self.id().to_string();
        for called in doors.iter().filter(|called| called.id == id) {
            let Ok(row) = self.rows.get(called.member) else { continue };
            if member::generation(row) != called.generation || !member::is_active(row) {
                door::remove(self.domain.path(), &called.name());
            }
        }
    }

    /// Before the mailbox loses its name, by which one can tell who is dead.
    pub(crate) fn take_doors_of_the_dead(&self) {
        for member in self.members() {
            let there = self.rows.get(member).is_ok_and(|row| doors::is_there(&row.door));
            if there && self.is_dead(member) {
                self.take_door(member);
            }
        }
    }

    fn ring_if_armed(&self, member: Member, reason: u32) {
        let Ok(row) = self.rows.get(member) else { return };
        for _ in 0..TRIES {
            let Some(seen) = doors::armed(&row.door, reason) else { return };
            // Before it is taken: then this is who armed it.
            let Some(called) = self.called(member) else { return };
            if doors::take(&row.door, seen, reason) {
                let rung = self.ring_at(member, &called);
                if self.bound().is_none() && rung == Err(Errno::CONNREFUSED) && self.is_dead(member) {
                    door::remove(self.domain.path(), &called.name());
                }
                return;
            }
        }
    }
}

impl Doors for Segment {
    #[cold]
    fn ring(&self, reason: u32) {
        let word = &self.header().bells.doors;
        if reason == doors::MESSAGES
            && let Some(herald) = self.herald()
            && doors::take_herald(word)
            && !planted!(NoteForgotten)
        {
            herald();
        }
        let Some(seen) = doors::some(word, reason) else { return };
        for member in self.members() {
            self.ring_if_armed(member, reason);
        }
        doors::none_left(word, seen, reason);
    }
}

impl Domain {
    /// What is called as a member's socket.
    pub(crate) fn doors(&self) -> Vec<Called> {
        let files = std::fs::read_dir(self.path()).into_iter().flatten().flatten();
        files.filter_map(|file| Called::by(&file.file_name().to_string_lossy())).collect()
    }

    /// Takes those away that were there before `ids` were read and are of none of them.
    pub(crate) fn take_doors_of_no_mailbox(&self, doors: &[Called], ids: Option<&[Id]>) {
        let Some(ids) = ids else { return };
        for called in doors {
            if !ids.iter().any(|id| id.to_string() == called.id) {
                door::remove(self.path(), &called.name());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Called;
    use crate::domain::name::Name;

    #[test]
    fn what_is_called_so_is_no_mailbox() {
        let called = Called { id: "0123456789abcdef".repeat(2), member: 0xfffe, generation: u64::MAX >> 2 };
        let name = called.name();
        assert!(name.len() <= 60, "it fits an address beside a descriptor's path: {name}");
        assert_eq!((Called::by(&name), Name::of_file(&name)), (Some(called), None));
        for other in ["~", "a", "~0~1~2", &name[1..], &format!("{name}~"), &format!("{name}~1")] {
            assert_eq!(Called::by(other), None, "{other}");
        }
    }
}
