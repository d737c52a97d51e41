//! What a chunk says about its message: who sent it, who holds it, what is special about it.
//!
//! One word has all that changes with each message. The sender's name is in a cache line of its own that neither end
//! touches while one sender uses a chunk again and again: `author` says whose name stands there, by the member's row and
//! the row's generation, which together never mean another. It is 0 while the name is being written, so whoever
//! dies in that leaves a name that is nobody's.
//!
//! The word is written by who has the chunk as OWN, then by who has taken the slot that names it, then by who
//! HELD names.

use super::layout::{Entry, Row, Signature};
use super::slots::Member;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::atomic::fence;

const PID: u64 = 0xFFFF_FFFF;
const NAME_SHIFT: u32 = 32;
const NAME: u64 = 0xFF;
/// The message was in line, this is a copy.
const COPIED: u64 = 1 << 40;
/// It is for the dead letters, and for nobody else.
const REJECTED: u64 = 1 << 41;
const HOLDER_SHIFT: u32 = 48;

/// The word, as it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About(u64);

impl About {
    pub(crate) fn of(entry: &Entry) -> About {
        About(entry.about.load(Relaxed))
    }

    pub(crate) fn of_cell(signature: &Signature) -> About {
        About(signature.about.load(Relaxed))
    }

    pub(crate) fn pid(self) -> u32 {
        (self.0 & PID) as u32
    }

    pub(crate) fn name_length(self) -> usize {
        (self.0 >> NAME_SHIFT & NAME) as usize
    }

    pub(crate) fn is_copy(self) -> bool {
        self.0 & COPIED != 0
    }

    pub(crate) fn is_rejected(self) -> bool {
        self.0 & REJECTED != 0
    }

    /// Who held it last.
    pub(crate) fn holder(self) -> Member {
        (self.0 >> HOLDER_SHIFT) as Member
    }
}

/// Says who sent it, and whether it is a copy. The chunk is the caller's OWN.
#[inline]
pub(crate) fn sign(entry: &Entry, sender: Option<(Member, &Row)>, copied: bool) {
    let copied = if copied { COPIED } else { 0 };
    let Some((member, row)) = sender else {
        entry.author.store(0, Relaxed);
        entry.about.store(copied, Relaxed);
        return;
    };
    let (pid, length) = (row.pid.load(Relaxed) & PID, row.name_length.load(Relaxed) & NAME);
    entry.about.store(pid | length << NAME_SHIFT | copied, Relaxed);
    let author = author_of(member, row);
    if entry.author.load(Relaxed) != author {
        write_name(entry, author, &row.name);
    }
}

fn author_of(member: Member, row: &Row) -> u64 {
    (row.word.load(Relaxed) >> 2) << 16 | u64::from(member)
}

/// Says who sends what is in a cell. The caller has the right to give something there.
#[inline(always)]
pub(crate) fn sign_cell(signature: &Signature, sender: Option<(Member, &Row)>) {
    let author = sender.map_or(0, |(member, row)| author_of(member, row));
    if author == 0 || signature.author.load(Relaxed) != author {
        sign_again(signature, author, sender.map(|(_, row)| row));
    }
}

#[cold]
fn sign_again(signature: &Signature, author: u64, row: Option<&Row>) {
    signature.author.store(0, Relaxed);
    fence(Release);
    let Some(row) = row else { return signature.about.store(0, Relaxed) };
    let (pid, length) = (row.pid.load(Relaxed) & PID, row.name_length.load(Relaxed) & NAME);
    signature.about.store(pid | length << NAME_SHIFT, Relaxed);
    for (to, from) in signature.name.iter().zip(&row.name) {
        to.store(from.load(Relaxed), Relaxed);
    }
    signature.author.store(author, Release);
}

/// Says of a chunk, which is the caller's OWN, what a cell says of the message.
pub(crate) fn copy_signature(to: &Entry, from: &Signature) {
    to.about.store(from.about.load(Relaxed), Relaxed);
    write_name(to, from.author.load(Relaxed), &from.name);
}

#[cold]
fn write_name(entry: &Entry, author: u64, name: &[std::sync::atomic::AtomicU64; 8]) {
    entry.author.store(0, Relaxed);
    fence(Release);
    for (to, from) in entry.sender_name.iter().zip(name) {
        to.store(from.load(Relaxed), Relaxed);
    }
    entry.author.store(author, Release);
}

/// Copies what is said about one message to a copy of it, which is the caller's OWN.
pub(super) fn copy(to: &Entry, from: &Entry) {
    let same = PID | NAME << NAME_SHIFT | REJECTED;
    to.about.store(from.about.load(Relaxed) & same, Relaxed);
    write_name(to, from.author.load(Relaxed), &from.sender_name);
}

/// Says who holds it.
#[inline]
pub(super) fn held_by(entry: &Entry, me: Member) {
    let about = entry.about.load(Relaxed) & ((1 << HOLDER_SHIFT) - 1);
    entry.about.store(about | u64::from(me) << HOLDER_SHIFT, Relaxed);
}

/// Says that nobody shall get it any more but the dead letters. The caller holds it.
pub(crate) fn reject(entry: &Entry) {
    entry.about.store(entry.about.load(Relaxed) | REJECTED, Relaxed);
}
