//! Sending: in line and in a chunk, to an owner and to receivers who compete.

use std::time::Duration;

use super::{LARGE, MANY, NONE, SMALL};
use crate::world::{Came, Effects, Operation, Owner, Walker, World};

pub(super) const ADDS: Effects = Effects { adds: 1, ..NONE };
const ADDS_AFTER_TWO: Effects = Effects { passed: 2, ..ADDS };

pub const ALL: &[Operation] = &[
    Operation { name: "send", world: SMALL, walk: send, effects: ADDS },
    Operation { name: "send-to-owner", world: OWNED, walk: send, effects: ADDS },
    Operation { name: "send-first", world: World { waiting: 0, ..OWNED }, walk: send, effects: ADDS },
    Operation { name: "send-to-one-place", world: ONE, walk: send, effects: ADDS },
    Operation { name: "send-chunked", world: LARGE, walk: send_chunked, effects: ADDS },
    Operation { name: "send-chunked-to-owner", world: LARGE_OWNED, walk: send_chunked, effects: ADDS },
    Operation { name: "send-second-chunk", world: LARGE, walk: send_second_chunk, effects: ADDS_AFTER_TWO },
    Operation { name: "send-to-full", world: FULL, walk: send_to_full, effects: ADDS },
    Operation { name: "send-in-vain", world: World { waiting: 3, ..SMALL }, walk: send, effects: ADDS },
    Operation { name: "send-in-vain-to-owner", world: FULL_OWNED, walk: send, effects: ADDS },
    Operation { name: "send-many", world: MANY, walk: send_many, effects: ADDS_MANY },
    Operation { name: "send-many-to-owner", world: MANY_OWNED, walk: send_many, effects: ADDS_MANY },
    Operation { name: "send-many-mixed", world: MANY_LARGE, walk: send_many_mixed, effects: ADDS_MANY },
    Operation { name: "collect-in-vain", world: SMALL, walk: collect, effects: WITHDRAWS },
    Operation { name: "collect-in-vain-by-owner", world: OWNED, walk: collect, effects: WITHDRAWS },
    Operation { name: "collect-in-vain-chunked", world: LARGE, walk: collect_chunked, effects: WITHDRAWS },
    Operation { name: "collect", world: EMPTY, walk: collect, effects: WITHDRAWS },
];

pub(super) const ADDS_MANY: Effects = Effects { adds: 3, ..NONE };
const MANY_OWNED: World = World { owner: Owner::Judge, ..MANY };
const MANY_LARGE: World = World { capacity: MANY.capacity, ..LARGE };

pub(super) const WITHDRAWS: Effects = Effects { withdraws: true, ..ADDS };
const EMPTY: World = World { waiting: 0, ..SMALL };

const OWNED: World = World { owner: Owner::Judge, ..SMALL };
const LARGE_OWNED: World = World { owner: Owner::Judge, ..LARGE };
const ONE: World = World { capacity: 1, waiting: 0, ..OWNED };
const FULL: World = World { waiting: 3, ..LARGE };
const FULL_OWNED: World = World { waiting: 3, ..OWNED };

pub(super) fn send(walker: &Walker) {
    let out = walker.sender().expect("it exists");
    let letter = walker.letter(24);
    walker.act(|| Ok(out.send_timeout(&letter, Duration::from_millis(20)).map(|()| Came::Done)?))
}

pub(super) fn send_chunked(walker: &Walker) {
    let out = walker.sender().expect("it exists");
    let letter = walker.letter(900);
    walker.act(|| Ok(out.send_timeout(&letter, Duration::from_millis(20)).map(|()| Came::Done)?))
}

fn send_all(walker: &Walker, lengths: &[usize]) {
    let out = walker.sender().expect("it exists");
    let letters = walker.letters(lengths);
    let letters: Vec<&[u8]> = letters.iter().map(Vec::as_slice).collect();
    walker.act(|| match out.send_many_timeout(&letters, Duration::from_millis(20)) {
        Err(error) if error.is_timeout() && error.sent > 0 => Ok(Came::Sent(error.sent as u32)),
        done => Ok(done.map(|()| Came::Done)?),
    })
}

/// One run.
pub(super) fn send_many(walker: &Walker) {
    send_all(walker, &[24, 25, 26]);
}

/// The second one needs a chunk.
fn send_many_mixed(walker: &Walker) {
    send_all(walker, &[24, 900, 26]);
}

/// Nobody receives it, alone.
pub(super) fn collect(walker: &Walker) {
    let out = walker.sender().expect("it exists");
    let letter = walker.letter(24);
    walker.act(|| Ok(out.send_collected_timeout(&letter, Duration::from_millis(20)).map(|()| Came::Done)?))
}

fn collect_chunked(walker: &Walker) {
    let out = walker.sender().expect("it exists");
    let letter = walker.letter(900);
    walker.act(|| Ok(out.send_collected_timeout(&letter, Duration::from_millis(20)).map(|()| Came::Done)?))
}

/// In the place of the first message, with a chunk that was used before.
fn send_second_chunk(walker: &Walker) {
    let out = walker.sender().expect("it exists");
    let inbox = walker.receiver().expect("it exists");
    let first = inbox.recv().expect("a message waits");
    out.send(&first).expect("a place");
    let second = inbox.recv().expect("a message waits");
    out.send(&second).expect("a place");
    let letter = walker.letter(900);
    walker.act(|| Ok(out.try_send(&letter).map(|()| Came::Done)?))
}

/// No place is free: the chunk that was filled already goes back.
fn send_to_full(walker: &Walker) {
    let out = walker.sender().expect("it exists");
    let letter = walker.letter(900);
    walker.act(|| Ok(out.try_send(&letter).map(|()| Came::Done)?))
}
