//! How the two ends of a pair find each other: there is no directory, and maybe no file system, where they could look.
//!
//! Between them is a connection, the *bond*, of which each process has one end and nobody else any. By it goes first, from
//! the end that made the pair, all that the other one needs (`pair`). Then it serves three ends:
//!
//! - **Being told of the other's end.** When nobody is at the other end any more it hangs up: the watch thread tells
//!   those who wait, and they ask whether the other one is dead. That is a verdict of the locks
//!   (`member`), never of the bond: a forked child may have a copy of that, and keep it. Then one looks once a second.
//! - **Lines.** Where the kernel copies the messages, one that is awaited goes by a line of its own (`strategy::kernel::collected`): who sends makes it,
//!   and sends its other end by the bond, before the message. Who receives takes it from there when it can; till then it lies there, with what came by it.
//! - **Being rung.** Who waits for a descriptor makes a door, a pair of sockets, keeps one and sends a copy of the other by the bond before it
//!   says that it waits. Who finds that somebody waits takes in what has come by the bond, and rings by that.
//!
//! **What if it dies here?** All of these are open files: they go with the process. A door whose copy was not taken in
//! goes with the bond.
//!
//! What comes by the bond is the other end's word, and may be anything: a descriptor from there is only ever sent a byte by, without waiting.

use super::failed;
use super::purse::Purse;
use crate::error::Error;
use crate::os::{Errno, clock, door, fork, handing, packet};
use crate::queue::layout::{OWNER, SENDER};
use crate::queue::slots::Member;
use crate::sync::wait::SLICE;
use crate::sync::watch::{self, Bereaved, Visit, Visited};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// At each end one way leads there and one back.
const WAYS: usize = 2;
/// More packets than this, while one looks, are rubbish.
const TRIES: u32 = 16;

/// What goes by a bond; each word is a number of this version of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// All that an end needs, with the descriptors.
    Pair,
    /// A copy of what rings the door of this member of this way.
    Door { way: usize, member: Member },
    /// One end of one more line of this way.
    Line { way: usize },
}

/// So that nothing else is taken for it.
const MARK: u64 = u64::from_le_bytes(*b"tubepair");

impl Said {
    pub(super) fn head(self) -> [u8; packet::HEAD] {
        let [kind, about] = match self {
            Said::Pair => [1, 0],
            Said::Door { way, member } => [2, (way as u64) << 16 | u64::from(member)],
            Said::Line { way } => [3, (way as u64) << 16],
        };
        let mut head = [0; packet::HEAD];
        for (eight, word) in head.as_chunks_mut().0.iter_mut().zip([MARK, kind, about]) {
            *eight = u64::to_le_bytes(word);
        }
        head
    }

    pub(super) fn of(head: &[u8; packet::HEAD]) -> Option<Said> {
        let words = head.as_chunks().0.iter().map(|eight| u64::from_le_bytes(*eight));
        match words.collect::<Vec<u64>>()[..] {
            [MARK, 1, 0] => Some(Said::Pair),
            [MARK, 2, about] => {
                let (way, member) = ((about >> 16) as usize, (about & 0xffff) as Member);
                (way < WAYS && matches!(member, OWNER | SENDER)).then_some(Said::Door { way, member })
            }
            [MARK, 3, about] => {
                let way = (about >> 16) as usize;
                (way < WAYS && about & 0xffff == 0).then_some(Said::Line { way })
            }
            _ => None,
        }
    }
}

/// Receives a packet with what comes with it. Nothing: the other end is gone.
pub(super) fn hear(
    socket: BorrowedFd<'_>,
    descriptors: &mut Vec<OwnedFd>,
) -> Result<Option<Option<Said>>, Errno> {
    let mut head = [0; packet::HEAD];
    let came = packet::receive(socket, &mut head, &mut Vec::new(), 0, Some(descriptors))?;
    match came.length {
        0 => Ok(None),
        packet::HEAD if !came.cut && !came.lost => Ok(Some(Said::of(&head))),
        _ => Ok(Some(None)),
    }
}

/// This process's end of the connection between the ends of a pair.
#[derive(Debug)]
pub(crate) struct Bond {
    socket: OwnedFd,
    /// Whether the pair was made here.
    maker: bool,
    epoch: u64,
    bells: Mutex<[Bells; WAYS]>,
    told: Mutex<Vec<Weak<dyn Told>>>,
    visit: Mutex<Option<Visit>>,
    hung_up: AtomicBool,
}

/// What rings the doors of who receives by a way, and who sends.
#[derive(Debug, Default)]
struct Bells {
    receiver: Option<OwnedFd>,
    sender: Option<OwnedFd>,
}

impl Bells {
    fn of(&mut self, member: Member) -> &mut Option<OwnedFd> {
        if member == OWNER { &mut self.receiver } else { &mut self.sender }
    }
}

/// Who wants to hear of the other's end.
pub(crate) trait Told: Bereaved + std::fmt::Debug {}
impl<T: Bereaved + std::fmt::Debug> Told for T {}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bond {
    pub(super) fn new(socket: OwnedFd, maker: bool) -> Result<Arc<Bond>, Error> {
        let epoch = fork::epoch().map_err(|errno| failed("to make", Path::new(super::NOWHERE), errno))?;
        Ok(Arc::new(Bond {
            socket,
            maker,
            epoch,
            bells: Mutex::default(),
            told: Mutex::default(),
            visit: Mutex::default(),
            hung_up: AtomicBool::new(false),
        }))
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Has `who` told when nobody is at the other end any more.
    fn tell(self: &Arc<Self>, who: Weak<dyn Told>) {
        {
            let mut told = locked(&self.told);
            if told.iter().any(|other| other.ptr_eq(&who)) {
                return;
            }
            told.retain(|other| other.strong_count() > 0);
            told.push(who.clone());
        }
        self.listen();
        if self.hung_up.load(Acquire)
            && let Some(who) = who.upgrade()
        {
            who.process_died(0);
        }
    }

    /// Where that can't be had, everybody looks once a second.
    fn listen(self: &Arc<Self>) {
        let mut visit = locked(&self.visit);
        if visit.is_some() {
            return;
        }
        let visited: Arc<dyn Visited> = Arc::clone(self) as _;
        if let Ok(attended) = watch::attend(Arc::downgrade(&visited)) {
            match watch::listen_for_end(attended, self.socket()) {
                Ok(()) => *visit = Some(attended),
                Err(_) => watch::part(attended, self.socket()),
            }
        }
    }

    /// Takes in what rings the other's doors.
    fn take_in(&self, bells: &mut [Bells; WAYS]) {
        for _ in 0..TRIES {
            if self.take_in_one(bells) != Ok(true) {
                return;
            }
        }
    }

    /// The same, of one packet. `false`: the other end is gone.
    fn take_in_one(&self, bells: &mut [Bells; WAYS]) -> Result<bool, Errno> {
        let mut descriptors = Vec::new();
        match hear(self.socket(), &mut descriptors)? {
            Some(Some(Said::Door { way, member })) if (member == OWNER) == (self.maker == (way == 0)) => {
                if let (Some(bell), []) = (descriptors.pop(), &descriptors[..]) {
                    *bells[way].of(member) = Some(bell);
                }
            }
            Some(_) => {}
            None => return Ok(false),
        }
        Ok(true)
    }
}

/// The lines of one way of a pair that go by its bond, besides the one that is there from the start.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    bond: Arc<Bond>,
    way: usize,
}

impl Lines {
    /// Readable when there may be one, or the other end is gone; writable when one may be sent.
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.bond.socket()
    }

    /// Gives the other process one. `AGAIN`: it has not taken those that it was given before.
    pub(crate) fn give(&self, line: OwnedFd) -> Result<(), Errno> {
        packet::send(self.bond.socket(), &Said::Line { way: self.way }.head(), &[], &[line.as_fd()])
    }

    /// Takes the next one. `AGAIN`: there is none; nothing: nobody is there who could give one. Where there is no descriptor for
    /// it, it stays.
    pub(crate) fn take(&self) -> Result<Option<OwnedFd>, Errno> {
        let mut bells = locked(&self.bond.bells); // one at a time
        let (mut head, mut rest, mut descriptors) = ([0; packet::HEAD], Vec::new(), Vec::new());
        for _ in 0..TRIES {
            descriptors.clear();
            let socket = self.bond.socket();
            match packet::peek_whole(socket, &mut head, &mut rest, 0, &mut descriptors) {
                Ok(came) if came.length == 0 => return Ok(None),
                Ok(came) => {
                    let said = (came.length == packet::HEAD).then(|| Said::of(&head)).flatten();
                    if said != Some(Said::Line { way: self.way }) {
                        self.bond.take_in_one(&mut bells)?;
                        continue;
                    }
                    if came.lost && descriptors.is_empty() {
                        return Err(Errno::MFILE);
                    }
                    packet::receive(socket, &mut head, &mut rest, 0, None)?;
                    if let (Some(line), []) = (descriptors.pop(), &descriptors[..])
                        && handing::is_connection(&line)
                    {
                        return Ok(Some(line));
                    }
                }
                Err(Errno::CONNRESET) => {} // what was sent before is still there
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::AGAIN)
    }
}

impl Visited for Bond {
    fn is_readable(&self) {
        self.hung_up.store(true, Release);
        let told: Vec<_> = locked(&self.told).iter().filter_map(Weak::upgrade).collect();
        for who in told {
            who.process_died(0);
        }
    }

    fn look_again(&self) -> bool {
        false
    }

    fn waits(&self) -> bool {
        false
    }
}

impl Drop for Bond {
    fn drop(&mut self) {
        if fork::is_current(self.epoch)
            && let Some(visit) = locked(&self.visit).take()
        {
            watch::part(visit, self.socket.as_fd());
        }
    }
}

/// What a segment has of it.
#[derive(Debug)]
pub(crate) struct Bound {
    bond: Arc<Bond>,
    /// 0 leads from who made the pair, 1 to it.
    way: usize,
    /// A description of the segment's file by which nobody has locked anything: the kernel is asked by it who has.
    asked: OwnedFd,
    /// The coarse clock when somebody who is told of the other's end asked all the same.
    asked_at: AtomicU64,
    /// Where the kernel copies the messages.
    purse: Option<Purse>,
}

impl Bound {
    pub(super) fn new(bond: &Arc<Bond>, way: usize, asked: OwnedFd, purse: Option<Purse>) -> Bound {
        Bound { bond: Arc::clone(bond), way, asked, asked_at: AtomicU64::new(0), purse }
    }

    /// Where the kernel copies the messages: the credit.
    pub(crate) fn purse(&self) -> Option<&Purse> {
        self.purse.as_ref()
    }

    /// Of this way.
    pub(crate) fn lines(&self) -> Lines {
        Lines { bond: Arc::clone(&self.bond), way: self.way }
    }

    pub(super) fn asked(&self) -> BorrowedFd<'_> {
        self.asked.as_fd()
    }

    /// The same, to be closed when it is done with.
    pub(super) fn descriptor(&self) -> Option<OwnedFd> {
        self.asked.try_clone().ok()
    }

    /// Has `who` told when nobody is at the other end any more.
    pub(crate) fn tell(&self, who: Weak<dyn Told>) {
        self.bond.tell(who);
    }

    /// Whether it is time to ask for oneself, which is to be done once a second.
    pub(crate) fn is_due(&self) -> bool {
        let now = clock::coarse();
        let due = now.wrapping_sub(self.asked_at.load(Relaxed)) >= SLICE.as_nanos() as u64;
        if due {
            self.asked_at.store(now, Relaxed);
        }
        due
    }

    /// A door for this process's own member; the other end is sent what it can be rung by. Where that is not possible, who
    /// waits there looks once a second.
    pub(super) fn open_door(&self, member: Member) -> Result<OwnedFd, Errno> {
        let (door, bell) = door::unnamed()?;
        let said = Said::Door { way: self.way, member };
        let _ = packet::send(self.bond.socket(), &said.head(), &[], &[bell.as_fd()]);
        *locked(&self.bond.bells)[self.way].of(member) = Some(bell);
        Ok(door)
    }

    pub(super) fn take_door(&self, member: Member) {
        *locked(&self.bond.bells)[self.way].of(member) = None;
    }

    /// Rings a member's door. `NOENT`: nobody said how.
    pub(super) fn ring(&self, member: Member) -> Result<(), Errno> {
        let mut bells = locked(&self.bond.bells);
        if bells[self.way].of(member).is_none() {
            self.bond.take_in(&mut bells);
        }
        let bell = bells[self.way].of(member).as_ref().ok_or(Errno::NOENT)?;
        door::ring_by(bell.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood_and_nothing_else() {
        let doors = [(0, OWNER), (0, SENDER), (1, OWNER), (1, SENDER)];
        let all = doors.map(|(way, member)| Said::Door { way, member });
        for said in all.into_iter().chain([Said::Pair, Said::Line { way: 0 }, Said::Line { way: 1 }]) {
            assert_eq!(Said::of(&said.head()), Some(said));
            let head = said.head();
            for at in [0, 7, 8, 15, 23] {
                let mut other = head;
                other[at] ^= 0x40;
                assert_eq!(Said::of(&other), None, "{said:?} with byte {at} changed");
            }
        }
        let wrong = [Said::Door { way: 2, member: OWNER }, Said::Door { way: 0, member: 3 }];
        for wrong in wrong.into_iter().chain([Said::Line { way: 2 }]) {
            assert_eq!(Said::of(&wrong.head()), None);
        }
    }
}
