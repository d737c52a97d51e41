//! Messages in hand: taken by a receiver, not accepted yet; and what becomes of them when it dies.
//!
//! A message in hand is a chunk that is HELD: the one its sender filled, or a copy of what was
//! in line. Its slot is free, so a slow or stopped worker holds back nobody. Accepting it frees
//! the chunk; giving it back makes it RETURNED, one delivery more, for any receiver to hold again.
//!
//! If there is no memory for a copy the message is in hand in its slot: its take word names the holder, and its
//! place is free only when it is accepted. A process that owns the mailbox writes the take word then, and its
//! head goes on.
//!
//! Two things may know a message while it is being taken: its slot and its chunk. Which is
//! the truth?
//!
//! - A payload that its sender put into a chunk: the chunk. LINKED: it is in the slot. HELD or
//!   RETURNED: the slot, if it is still full, is only to be freed. FREE: it was consumed.
//! - A payload in line: the slot while it is full, then the copy.
//!
//! **What if it dies here?** Everything a dead one had goes back, in this order, by [`reclaim`] and then
//! `Slots::give_back`: first its chunks (copies whose slot is still full are freed, other
//! messages in hand become RETURNED), then its takes. So nobody takes on a slot of which a copy
//! could still go back as well. (Who can't find out a second time that it is dead, for want of a descriptor,
//! finds the copy still HELD, and leaves the take alone.) Any number of processes may do this at once, and die in it: each step is
//! a CAS from an exact word, after asking whether its member is dead.

use super::about::{self, About};
use super::chunks::{Chunk, Chunks, NoChunk, Ticket, Use};
use super::fencing::{self, Terms};
use super::layout::Row;
use super::slots::{Member, Slots, Words};
use std::sync::atomic::Ordering::Relaxed;

/// Where a message in hand comes from.
pub(crate) struct Origin<'a> {
    pub(crate) position: u64,
    /// How often it was delivered before.
    pub(crate) before: u8,
    pub(crate) sender: Option<(Member, &'a Row)>,
}

/// Takes a copy of a message that is in line into the hand of `me`. Its slot is to be freed after.
#[inline]
pub(crate) fn hold_copy<'a>(
    chunks: &'a Chunks,
    bytes: &[u8],
    origin: &Origin<'_>,
    terms: Terms,
    me: Member,
) -> Result<Chunk<'a>, NoChunk> {
    let chunk = chunks.take_again(bytes.len() as u64, me)?;
    chunk.write(bytes);
    chunk.entry.position.store(origin.position, Relaxed);
    // The sender's row may be another's by the time that somebody asks who sent it.
    about::sign(chunk.entry, origin.sender, true);
    about::held_by(chunk.entry, me);
    fencing::promise(&chunk, terms);
    Ok(chunk.becomes(chunk.word.delivered(origin.before).to(Use::Held, me)))
}

/// Takes a LINKED chunk into the hand of `me`. Its slot is to be freed after.
#[inline]
pub(crate) fn hold(chunk: Chunk<'_>, before: u8, terms: Terms, me: Member) -> Option<Chunk<'_>> {
    about::held_by(chunk.entry, me);
    fencing::promise(&chunk, terms);
    chunk.swap(chunk.word.delivered(before).to(Use::Held, me))
}

/// Says how a chunk is held that is in hand again.
pub(crate) fn keep(chunk: &Chunk<'_>, terms: Terms, me: Member) {
    about::held_by(chunk.entry, me);
    fencing::promise(chunk, terms);
}

/// Takes on a message that was given back and is `wanted`. `known` are those that an earlier look found, the oldest
/// last: only when none of them is left all chunks are looked through again.
pub(crate) fn hold_again<'a>(
    chunks: &'a Chunks,
    known: &mut Vec<Ticket>,
    me: Member,
    wanted: impl Fn(&Chunk<'_>) -> bool,
) -> Option<Chunk<'a>> {
    let is_back = |chunk: &Chunk<'_>| chunk.word.kind() == Some(Use::Returned) && wanted(chunk);
    loop {
        while let Some(ticket) = known.pop() {
            let back = chunks.find(ticket).filter(is_back);
            if let Some(mine) = back.and_then(|chunk| chunk.swap(chunk.word.to(Use::Held, me))) {
                return Some(mine);
            } // else another was faster
        }
        let mut back: Vec<(u64, Ticket)> = chunks
            .all()
            .filter(is_back)
            .map(|chunk| (chunk.entry.position.load(Relaxed), chunk.ticket()))
            .collect();
        if back.is_empty() {
            return None;
        }
        back.sort_unstable_by_key(|(position, _)| std::cmp::Reverse(*position));
        known.extend(back.into_iter().map(|(_, ticket)| ticket));
    }
}

/// Puts the chunks of the dead in order. Says how many messages are back and wait to be held again.
/// `named`: whether what is OWN is an answer that its caller is to read.
pub(crate) fn reclaim<W: Words>(
    slots: &Slots<W>,
    chunks: &Chunks,
    dead: impl Fn(Member) -> bool,
    named: impl Fn(&Chunk<'_>) -> bool,
) -> u64 {
    let mut returned = 0;
    for chunk in chunks.all() {
        let word = chunk.word;
        let member = word.member();
        let place = || slots.place(chunk.entry.position.load(Relaxed));
        match word.kind() {
            Some(Use::Own) if dead(member) && !named(&chunk) => {
                chunk.swap(word.freed());
            }
            Some(Use::Linked) if dead(member) => {
                let place = place();
                slots.recover(place, &dead);
                if slots.is_over(place) || planted!(ChunkFreedWhileLinked) {
                    chunk.swap(word.freed());
                }
            }
            Some(Use::Held) if dead(member) => {
                let copied = About::of(chunk.entry).is_copy() && slots.holds_message(place());
                if copied && !planted!(CopyReturned) {
                    chunk.swap(word.freed());
                } else {
                    returned += u64::from(return_held(chunks, chunk));
                }
            }
            Some(Use::Fenced) => fencing::reclaim(chunks, chunk, &dead),
            Some(Use::Returned) => returned += 1,
            _ => {}
        }
    }
    returned
}

/// Gives back what a dead one held, or frees it if it stands for nothing. Says whether it is back.
pub(super) fn return_held(chunks: &Chunks, held: Chunk<'_>) -> bool {
    if !fencing::counts(chunks, &held) {
        held.swap(held.word.freed());
        return false;
    }
    fencing::before_return(&held);
    held.swap(held.word.given_back()).is_some()
}

/// Whether a member has a copy of the message at this position in hand.
pub(crate) fn has_copy(chunks: &Chunks, member: Member, position: u64) -> bool {
    chunks.all().any(|chunk| {
        let held = chunk.word.kind() == Some(Use::Held) && chunk.word.member() == member;
        held && About::of(chunk.entry).is_copy() && chunk.entry.position.load(Relaxed) == position
    })
}

/// Lets nobody take on what was given back: the mailbox is closed.
pub(crate) fn bury_returned(chunks: &Chunks) {
    for chunk in chunks.all() {
        if chunk.word.kind() == Some(Use::Returned) {
            chunk.swap(chunk.word.to(Use::Buried, 0));
        }
    }
}

/// How many messages in hand are in chunks.
pub(crate) fn count_held(chunks: &Chunks) -> u64 {
    let held = chunks.all().filter(|chunk| chunk.word.kind() == Some(Use::Held));
    held.filter(|chunk| fencing::counts(chunks, chunk)).count() as u64
}

/// How many chunks are put to this use.
pub(crate) fn count(chunks: &Chunks, kind: Use) -> u64 {
    chunks.all().filter(|chunk| chunk.word.kind() == Some(kind)).count() as u64
}
