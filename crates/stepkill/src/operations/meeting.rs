//! Where nothing waits: who sends and who receives meet, or do not.

use super::{NONE, SMALL, existing, receiving, sending};
use crate::world::{Came, Operation, Owner, Walker, World};

use existing::ENDS;
use receiving::{OWNER_RECEIVES, OWNER_TAKES, RECEIVES, TAKES, TAKES_TWICE};
use sending::{ADDS, WITHDRAWS};

/// Nobody waits.
pub(super) const NOBODY: World = World { capacity: 0, waiting: 0, ..SMALL };
/// Somebody waits to receive.
const READY: World = World { ready: 1, ..NOBODY };
/// Somebody offers a message.
const OFFER: World = World { waiting: 1, ..NOBODY };
const READY_LARGE: World = World { longest: 10_000, ..READY };
const READY_OWNER: World = World { owner: Owner::Judge, ..READY };
const OWN: World = World { owner: Owner::Walker, ..OFFER };

pub const ALL: &[Operation] = &[
    Operation { name: "meet-send", world: READY, walk: sending::send, effects: ADDS },
    Operation { name: "meet-send-chunked", world: READY_LARGE, walk: sending::send_chunked, effects: ADDS },
    Operation { name: "meet-send-to-owner", world: READY_OWNER, walk: sending::send, effects: ADDS },
    Operation { name: "meet-try-send", world: READY, walk: try_send, effects: ADDS },
    Operation { name: "meet-send-in-vain", world: NOBODY, walk: sending::send, effects: ADDS },
    Operation { name: "meet-try-send-in-vain", world: NOBODY, walk: try_send, effects: ADDS },
    Operation { name: "meet-collect", world: READY, walk: sending::collect, effects: WITHDRAWS },
    Operation { name: "meet-recv", world: OFFER, walk: receiving::recv, effects: RECEIVES },
    Operation { name: "meet-try-recv", world: OFFER, walk: try_recv, effects: RECEIVES },
    Operation { name: "meet-recv-in-vain", world: NOBODY, walk: receiving::recv, effects: RECEIVES },
    Operation { name: "meet-take", world: OFFER, walk: receiving::take, effects: TAKES },
    Operation { name: "meet-take-in-vain", world: NOBODY, walk: receiving::take, effects: TAKES },
    Operation { name: "meet-accept", world: OFFER, walk: receiving::accept, effects: RECEIVES },
    Operation { name: "meet-give-back", world: OFFER, walk: receiving::give_back, effects: TAKES },
    Operation { name: "meet-take-again", world: OFFER, walk: receiving::take_again, effects: TAKES_TWICE },
    Operation { name: "meet-own-recv", world: OWN, walk: receiving::own_recv, effects: OWNER_RECEIVES },
    Operation { name: "meet-own-take", world: OWN, walk: receiving::own_take, effects: OWNER_TAKES },
    Operation { name: "meet-close", world: OWN, walk: existing::close, effects: ENDS },
    Operation { name: "meet-remove", world: OFFER, walk: existing::remove, effects: ENDS },
    Operation { name: "meet-remove-ready", world: READY, walk: existing::remove, effects: ENDS },
    Operation { name: "meet-gc", world: OFFER, walk: existing::gc, effects: NONE },
];

fn try_send(walker: &Walker) {
    let out = walker.sender().expect("it exists");
    let letter = walker.letter(24);
    walker.act(|| Ok(out.try_send(&letter).map(|()| Came::Done)?))
}

fn try_recv(walker: &Walker) {
    let inbox = walker.receiver().expect("it exists");
    walker.act(|| Ok(Came::got(&inbox.try_recv()?)))
}
