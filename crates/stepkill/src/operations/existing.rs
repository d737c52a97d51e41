//! Coming, going, and names: create, own, open, close, remove, gc.

use super::{LARGE, NONE, NOTHING, SMALL};
use crate::world::{BOX, Came, Effects, Operation, Owner, Walker, World};

pub(super) const ENDS: Effects = Effects { ends: true, ..NONE };
const OWN: World = World { owner: Owner::Walker, ..SMALL };

pub const ALL: &[Operation] = &[
    Operation { name: "create", world: NOTHING, walk: create, effects: ENDS },
    Operation { name: "own", world: NOTHING, walk: own, effects: ENDS },
    Operation { name: "open-sender", world: SMALL, walk: open_sender, effects: NONE },
    Operation { name: "open-sender-to-owner", world: OWNED, walk: open_sender, effects: NONE },
    Operation { name: "open-receiver", world: SMALL, walk: open_receiver, effects: NONE },
    Operation { name: "leave-sender", world: LARGE, walk: leave_sender, effects: NONE },
    Operation { name: "close", world: OWN, walk: close, effects: ENDS },
    Operation { name: "close-chunked", world: OWN_LARGE, walk: close, effects: ENDS },
    Operation { name: "remove", world: SMALL, walk: remove, effects: ENDS },
    Operation { name: "remove-chunked", world: LARGE, walk: remove, effects: ENDS },
    Operation { name: "gc", world: SMALL, walk: gc, effects: NONE },
    Operation { name: "gc-chunked", world: LARGE, walk: gc, effects: NONE },
    Operation { name: "gc-memory", world: EMPTY, walk: gc_memory, effects: AFTER_ONE },
];

const EMPTY: World = World { waiting: 0, ..SMALL };
const AFTER_ONE: Effects = Effects { passed: 1, ..NONE };
const OWNED: World = World { owner: Owner::Judge, ..SMALL };
const OWN_LARGE: World = World { owner: Owner::Walker, ..LARGE };

pub(super) fn create(walker: &Walker) {
    let options = walker.options::<[u8]>();
    walker.act(|| options.create(BOX).map(|_| Came::Done))
}

fn own(walker: &Walker) {
    let options = walker.options::<[u8]>();
    walker.act(|| {
        std::mem::forget(options.own(BOX)?);
        Ok(Came::Done)
    })
}

pub(super) fn open_sender(walker: &Walker) {
    walker.act(|| {
        std::mem::forget(walker.sender()?);
        Ok(Came::Done)
    })
}

pub(super) fn open_receiver(walker: &Walker) {
    walker.act(|| {
        std::mem::forget(walker.receiver()?);
        Ok(Came::Done)
    })
}

fn leave_sender(walker: &Walker) {
    let out = walker.sender().expect("it exists");
    walker.act(|| {
        drop(out);
        Ok(Came::Done)
    })
}

pub(super) fn close(walker: &Walker) {
    let inbox = walker.own();
    walker.act(|| inbox.close().map(|_| Came::Done))
}

pub(super) fn remove(walker: &Walker) {
    walker.act(|| walker.domain.remove(BOX).map(|_| Came::Done))
}

pub(super) fn gc(walker: &Walker) {
    walker.act(|| walker.domain.gc().map(|_| Came::Done))
}

/// Where a message was in hand, in a chunk that shares a page with many that were never used.
fn gc_memory(walker: &Walker) {
    let (out, inbox) = (walker.sender().expect("it exists"), walker.receiver().expect("it exists"));
    out.send(&walker.letter(24)).expect("a place");
    inbox.take().expect("a message waits").accept().expect("it is ours");
    walker.act(|| walker.domain.gc().map(|_| Came::Done))
}
