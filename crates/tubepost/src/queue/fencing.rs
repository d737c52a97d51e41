//! Messages that are held too long: fenced off, and delivered again.
//!
//! A receiver may promise to hold no message for longer than so long if others wait for it. The promise stands beside
//! the word of each chunk that it holds: in `terms`, with the sequence of that holding, so that what an earlier holder promised
//! means nothing. A *waiting* receiver that sees such a chunk notes by its own clock when it first did; when it is due it
//! fences the holder off. So nobody looks at a clock in order to take or to accept a message, whoever is late is disturbed only if
//! somebody waits, and clocks of other processes (in other time namespaces) don't matter.
//!
//! A holder that has a copy of its own needs nothing of the chunk:
//!
//! ```text
//! HELD(holder) ──CAS──> RETURNED, in the next sequence
//! ```
//!
//! One that reads in place must not have the message changed under its eyes. There the waiter makes a copy that names what it is
//! a copy of, and one CAS decides:
//!
//! ```text
//! the copy      OWN(waiter) ──> HELD(waiter), instead = the old one ──────────> instead = 0 ──> RETURNED
//! the old one   HELD(holder) ────────────────── CAS ──> FENCED(1, waiter) ──CAS──> FENCED(0, holder) ──> FREE
//! ```
//!
//! - A copy that names what it stands for *counts* only if that is FENCED(1) by the very member that HELD names; else it is
//!   garbage. So of any number of waiters one wins, and a holder that accepts in time wins over them all.
//! - FENCED(1) becomes FENCED(0) only after its copy does not name it any more: so the old chunk is not used again while
//!   somebody could still ask it whether the copy counts. Anybody may do these two steps (*settle*); the holder does
//!   when it is done before the waiter went on.
//! - FENCED(0) is memory that its holder may still read. The holder frees it when it accepts, which is refused, or drops it; for
//!   a dead one anybody does.
//! - Whether a copy of a dead one counts is told by the old chunk, and then by a second look at the name: it is gone if the copy
//!   was settled between the two.
//! - RETURNED never names another: the name goes first.
//!
//! A copy of what was in line is not fenced while its slot is full still: that may go back as well (`super::in_hand`).
//!
//! **Beyond fencing.** Who answers a question must not be overtaken between the first word that its caller sees and the last: else the caller
//! has the answer of who lost the question, and who holds it now is told that nobody waits. So it *holds on* first: one CAS from its word
//! to the next sequence, in the same hand.
//!
//! ```text
//! HELD(holder), a promise in this sequence ──CAS──> HELD(holder), in the next sequence: no promise
//! ```
//!
//! Fencing is a CAS from the same word: one of the two wins. Who lost the question can't say anything to the caller; who has held on can't lose
//! it, and does nothing but the few steps of answering. (One that is stopped in these keeps the question until it goes on, or dies.)
//!
//! **What if it dies here?** The waiter, before the CAS: its copy does not count, and is freed. After it: the copy
//! counts, and is RETURNED as what any dead one held. The holder, also one that has held on, is a dead one as any other; FENCED(dead) is freed. Who settles: each step is a CAS from
//! an exact word.

use super::about::{self, About};
use super::chunks::{Chunk, Chunks, INSTEAD, NoChunk, Ticket, Use, Word};
use super::slots::{Member, Slots, Words};
use crate::memory::payload;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

const IN_PLACE: u64 = 1 << 39;
/// The longest promise, in milliseconds: half a century.
const LONGEST: u64 = IN_PLACE - 1;
const TAG_SHIFT: u32 = 40;
const INDEX_SHIFT: u32 = 37;

/// How a message is held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Its holder reads it where it is.
    pub(crate) in_place: bool,
    /// Not longer than so many milliseconds if others wait for it; 0: as long as it likes.
    pub(crate) longest: u64,
}

/// A time as it stands in [`Terms`]: never shorter.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    let whole = time.as_nanos().div_ceil(1_000_000);
    u64::try_from(whole).unwrap_or(u64::MAX).min(LONGEST)
}

/// Says how a chunk is held that is, or will be in this sequence, the caller's.
#[inline]
pub(super) fn promise(chunk: &Chunk<'_>, terms: Terms) {
    let in_place = if terms.in_place { IN_PLACE } else { 0 };
    let tag = chunk.word.sequence() << TAG_SHIFT;
    let word = if terms.longest == 0 { 0 } else { tag | in_place | terms.longest.min(LONGEST) };
    chunk.entry.terms.store(word, Release);
}

/// How a chunk is held that was seen HELD, if it is not for as long as one likes.
pub(crate) fn terms(chunk: &Chunk<'_>) -> Option<Terms> {
    let word = chunk.entry.terms.load(Acquire);
    let (longest, same) =
        (word & LONGEST, word >> TAG_SHIFT == chunk.word.sequence() << TAG_SHIFT >> TAG_SHIFT);
    (chunk.word.kind() == Some(Use::Held) && longest > 0 && same)
        .then_some(Terms { in_place: word & IN_PLACE != 0, longest })
}

/// FENCED(1): its copy may still name it.
fn unsettled(of: Word, waiter: Member) -> Word {
    Word::new(of.sequence(), 1, Use::Fenced, waiter)
}

/// FENCED(0).
fn settled(of: Word, holder: Member) -> Word {
    Word::new(of.sequence(), 0, Use::Fenced, holder)
}

/// How a copy names this chunk. (Of the sequence only the lower bits: a name is looked at long before they are all used.)
fn name_of(chunk: &Chunk<'_>) -> u64 {
    INSTEAD | chunk.index << INDEX_SHIFT | chunk.word.sequence()
}

/// Fences off whoever holds this chunk, which is past its [`terms`]; says whether the message is back. `me` is a waiting receiver,
/// which does one of these at a time.
pub(crate) fn fence<W: Words>(
    slots: &Slots<W>,
    chunks: &Chunks,
    held: Chunk<'_>,
    me: Member,
) -> Result<bool, NoChunk> {
    let Some(terms) = terms(&held) else { return Ok(false) };
    let position = held.entry.position.load(Relaxed);
    if About::of(held.entry).is_copy() && slots.holds_message(slots.place(position)) {
        return Ok(false);
    }
    if !terms.in_place {
        return Ok(held.swap(held.word.given_back()).is_some());
    }
    let length = held.length();
    let Some(payload) = held.payload(length) else { return Ok(false) };
    let mut bytes = Vec::new();
    payload::replace(&payload, &mut bytes);
    let copy = chunks.take(length, me)?;
    if copy.kind != held.kind {
        copy.release(); // rubbish: the length has changed since it was sent
        return Ok(false);
    }
    copy.write(&bytes);
    copy.entry.position.store(position, Relaxed);
    about::copy(copy.entry, held.entry);
    copy.entry.terms.store(0, Relaxed);
    copy.entry.wanted.store(name_of(&held), Relaxed);
    let copy = copy.becomes(copy.word.delivered(held.word.before()).to(Use::Held, me));
    let Some(fenced) = held.swap(unsettled(held.word, me)) else {
        copy.swap(copy.word.freed());
        return Ok(false);
    };
    forget(&copy, name_of(&fenced));
    fenced.swap(settled(fenced.word, About::of(fenced.entry).holder()));
    Ok(copy.swap(copy.word.given_back()).is_some())
}

/// Its holder can't be fenced off any more. Nothing: it was.
pub(crate) fn hold_on(held: Chunk<'_>) -> Option<Chunk<'_>> {
    held.swap(held.word.held_on())
}

/// A copy does not name the old chunk any more.
fn forget(copy: &Chunk<'_>, name: u64) {
    let _ = copy.entry.wanted.compare_exchange(name, 0, AcqRel, Relaxed);
}

/// Makes FENCED(1) FENCED(0).
fn settle(chunks: &Chunks, fenced: Chunk<'_>) {
    let (name, waiter) = (name_of(&fenced), fenced.word.member());
    for copy in chunks.all() {
        let its = copy.word.kind() == Some(Use::Held) && copy.word.member() == waiter;
        if its && copy.kind == fenced.kind && copy.entry.wanted.load(Acquire) == name {
            forget(&copy, name);
        }
    }
    fenced.swap(settled(fenced.word, About::of(fenced.entry).holder()));
}

/// Whether a chunk that is HELD is a message: not if it is a copy, and what it was to stand for was not fenced. If the member
/// that it names is dead that is final, and the chunk names nothing any more when it counts.
pub(super) fn counts(chunks: &Chunks, held: &Chunk<'_>) -> bool {
    let name = held.entry.wanted.load(Acquire);
    if name & INSTEAD == 0 || planted!(CopyCounts) {
        return true;
    }
    let (index, sequence) = ((name & !INSTEAD) >> INDEX_SHIFT, name & ((1 << INDEX_SHIFT) - 1));
    let fenced = chunks.old(held.kind, index).is_some_and(|old| {
        old.word.sequence() == sequence && old.word == unsettled(old.word, held.word.member())
    });
    if fenced {
        return true;
    }
    held.entry.wanted.load(Acquire) != name
}

/// Before what counts is RETURNED on behalf of a dead one.
pub(super) fn before_return(held: &Chunk<'_>) {
    let name = held.entry.wanted.load(Acquire);
    if name & INSTEAD != 0 {
        forget(held, name);
    }
}

/// Puts a FENCED chunk in order if one whom it names is dead.
pub(super) fn reclaim(chunks: &Chunks, fenced: Chunk<'_>, dead: &impl Fn(Member) -> bool) {
    let mut fenced = fenced;
    if fenced.word.before() == 1 {
        if !dead(fenced.word.member()) && !dead(About::of(fenced.entry).holder()) {
            return;
        }
        settle(chunks, fenced);
        match chunks.find(fenced.ticket()) {
            Some(now) if now.word.kind() == Some(Use::Fenced) && now.word.before() == 0 => fenced = now,
            _ => return,
        }
    }
    if dead(fenced.word.member()) && !planted!(FencedKept) {
        fenced.swap(fenced.word.freed());
    }
}

/// A holder is done with a chunk that is not HELD by it any more; says whether it was fenced off.
pub(crate) fn let_go(chunks: &Chunks, ticket: Ticket, me: Member) -> bool {
    let fenced = |chunk: &Chunk<'_>| chunk.word.kind() == Some(Use::Fenced);
    let Some(mut chunk) = chunks.find(ticket).filter(fenced) else { return false };
    if chunk.word.before() == 1 && About::of(chunk.entry).holder() == me {
        settle(chunks, chunk);
        match chunks.find(ticket).filter(fenced) {
            Some(now) => chunk = now,
            None => return false,
        }
    }
    chunk.word == settled(chunk.word, me) && chunk.swap(chunk.word.freed()).is_some()
}
