//! Mailboxes without a capacity: segments come, go, and their memory with them.

use std::time::Duration;

use super::existing::{self, ENDS};
use super::receiving::{self, OWNER_RECEIVES, RECEIVES, TAKES};
use super::sending::{self, ADDS};
use super::{LARGE, NONE, SMALL};
use crate::world::{Came, Effects, Operation, Owner, Walker, World};

/// Two messages fill a segment: the next one needs another.
const AT_BORDER: World = World { segments: 2, ..SMALL };
const AT_BORDER_OWNED: World = World { owner: Owner::Judge, ..AT_BORDER };
const AT_BORDER_LARGE: World = World { segments: 2, ..LARGE };
const OWN: World = World { owner: Owner::Walker, ..AT_BORDER };
/// Nothing was ever sent: there is no segment.
const EMPTY: World = World { waiting: 0, ..AT_BORDER };
/// Each message has a segment of its own.
const SINGLE: World = World { segments: 1, waiting: 0, ..SMALL };
const AFTER_ONE: Effects = Effects { passed: 1, ..NONE };
const ADDS_AFTER_TWO: Effects = Effects { passed: 2, ..ADDS };
const WITHDRAWS: Effects = Effects { withdraws: true, ..ADDS };

pub const ALL: &[Operation] = &[
    Operation { name: "send-append", world: AT_BORDER, walk: sending::send, effects: ADDS },
    Operation { name: "send-append-to-owner", world: AT_BORDER_OWNED, walk: sending::send, effects: ADDS },
    Operation { name: "send-append-first", world: EMPTY, walk: sending::send, effects: ADDS },
    Operation {
        name: "send-append-chunked",
        world: AT_BORDER_LARGE,
        walk: sending::send_chunked,
        effects: ADDS,
    },
    Operation { name: "send-retire", world: AT_BORDER, walk: send_retire, effects: ADDS_AFTER_TWO },
    Operation { name: "recv-segments", world: AT_BORDER, walk: receiving::recv, effects: RECEIVES },
    Operation { name: "take-segments", world: AT_BORDER, walk: receiving::take, effects: TAKES },
    Operation { name: "own-recv-segments", world: OWN, walk: receiving::own_recv, effects: OWNER_RECEIVES },
    Operation { name: "collect-in-vain-segments", world: AT_BORDER, walk: collect, effects: WITHDRAWS },
    Operation { name: "gc-segments", world: SINGLE, walk: gc_segments, effects: AFTER_ONE },
    Operation { name: "open-sender-segments", world: AT_BORDER, walk: existing::open_sender, effects: NONE },
    Operation { name: "close-at-border", world: OWN, walk: existing::close, effects: ENDS },
    Operation { name: "remove-at-border", world: AT_BORDER, walk: existing::remove, effects: ENDS },
];

/// The first segment is free before a third one is needed.
fn send_retire(walker: &Walker) {
    let (out, inbox) = (walker.sender().expect("it exists"), walker.receiver().expect("it exists"));
    for _ in 0..2 {
        let first = inbox.recv().expect("a message waits");
        out.send(&first).expect("there is memory");
    }
    let letter = walker.letter(24);
    walker.act(|| Ok(out.try_send(&letter).map(|()| Came::Done)?))
}

fn collect(walker: &Walker) {
    let out = walker.sender().expect("it exists");
    let letter = walker.letter(24);
    walker.act(|| Ok(out.send_collected_timeout(&letter, Duration::from_millis(20)).map(|()| Came::Done)?))
}

/// A segment whose message was received is free, and its memory goes.
fn gc_segments(walker: &Walker) {
    let (out, inbox) = (walker.sender().expect("it exists"), walker.receiver().expect("it exists"));
    out.send(&walker.letter(24)).expect("there is memory");
    inbox.recv().expect("a message waits");
    walker.act(|| walker.domain.gc().map(|_| Came::Done))
}
