//! How many messages of which length the kernel holds for a sender, before its receiver takes any.
//!
//! What is under way counts against the sender's connection, with what the kernel needs to keep it: so much is asked of the kernel, by sending a
//! packet to oneself. A mailbox for which there would not be enough is refused, with what would do.

use super::packet::LONGEST_NAME;
use crate::error::Error;
use crate::os::packet;
use crate::queue::layout::MAX_CAPACITY as MOST_SHARED;
use std::os::fd::AsFd;

/// How many messages wait unless told otherwise, if so many can …
const CAPACITY: u64 = 1024;
/// … and the longest of variable length.
const LONGEST: u64 = 64 << 10;
/// Where a capacity was chosen, the longest is at most and at least so long.
const USUAL: u64 = 1 << 20;
const LEAST: u64 = 1 << 10;
/// More tokens than this a user's pipe does not hold everywhere.
const MOST: u64 = 1 << 16;

/// What fits of messages that are at most so long.
struct Room {
    each: u64,
    all: u64,
}

impl Room {
    fn of(longest: u64, wanted: u64) -> Result<Room, Error> {
        let each = usize::try_from(longest).ok().and_then(|longest| packet::footprint(longest).ok());
        let Some(each) = each else {
            let most =
                (0..24).rev().map(|bits| 1u64 << bits).find(|it| packet::footprint(*it as usize).is_ok());
            return Err(Error::BadOption {
                what: "max_message of the kernel strategy",
                given: longest.to_string(),
                allowed: format!(
                    "about {} bytes at most here; own it with the shared strategy",
                    most.unwrap_or(0)
                ),
            });
        };
        let hello = packet::footprint(LONGEST_NAME).unwrap_or(4096);
        let socket = packet::scratch().map_err(|errno| Error::Os {
            doing: "to make a socket in",
            path: "/".into(),
            errno: errno.raw_os_error(),
        })?;
        let all = packet::widen(socket.as_fd(), needed(each, hello, wanted)).saturating_sub(hello);
        Ok(Room { each, all })
    }

    /// How many wait: the kernel takes one more as long as there is any room.
    fn holds(&self) -> u64 {
        self.all / self.each
    }
}

fn needed(each: u64, hello: u64, number: u64) -> u64 {
    each.saturating_mul(number).saturating_add(hello + 4096)
}

/// The longest message of variable length, where none was chosen: as elsewhere, if there is room for so many.
pub(crate) fn longest(capacity: Option<u64>) -> u64 {
    let Some(capacity) = capacity else { return LONGEST };
    let fits = |longest: &u64| {
        Room::of(*longest, capacity.clamp(1, MOST)).is_ok_and(|room| room.holds() >= capacity.max(1))
    };
    let lengths = std::iter::successors(Some(USUAL), |longest| (*longest > LEAST).then_some(longest / 2));
    lengths.into_iter().find(fits).unwrap_or(LEAST)
}

/// How much a sender asks for, for its connection.
pub(crate) fn wanted(longest: u64, capacity: u64) -> u64 {
    let each = packet::footprint(longest as usize).unwrap_or(longest.saturating_mul(2).saturating_add(4096));
    let hello = packet::footprint(LONGEST_NAME).unwrap_or(4096);
    needed(each, hello, capacity.max(1))
}

/// The capacity: as `given`, if there is room for it, or what there is room for.
pub(crate) fn capacity(given: Option<u64>, longest: u64) -> Result<u64, Error> {
    let wanted = given.unwrap_or(CAPACITY);
    if wanted > MOST {
        return Err(Error::BadOption {
            what: "the capacity of the kernel strategy",
            given: wanted.to_string(),
            allowed: format!(
                "at most {MOST}, however short messages are; more wait on the shared strategy: up to {MOST_SHARED}, or \
                 any number (unbounded)"
            ),
        });
    }
    let holds = Room::of(longest, wanted.clamp(1, MOST))?.holds().min(MOST);
    match given {
        None => Ok(CAPACITY.min(holds.max(1))),
        Some(given) if given <= holds => Ok(given),
        Some(given) => Err(Error::BadOption {
            what: "the capacity of the kernel strategy",
            given: given.to_string(),
            allowed: format!(
                "at most {holds} messages of {longest} bytes, for a sender's socket buffer holds no more here; \
                 choose a shorter max_message, have net.core.wmem_max raised, or own it with the shared strategy"
            ),
        }),
    }
}
