//! Receiving for good, taking in hand, accepting and giving back; by an owner and among receivers who compete.

use std::time::Duration;

use tubepost::Receiver;

use super::{LARGE, MANY, NONE, SMALL};
use crate::world::{Came, Effects, Operation, Owner, Walker, World};

pub(super) const RECEIVES: Effects = Effects { removes: 1, takes: 1, ..NONE };
pub(super) const TAKES: Effects = Effects { takes: 1, ..NONE };
pub(super) const TAKES_TWICE: Effects = Effects { takes: 2, ..NONE };
const OWN: World = World { owner: Owner::Walker, ..SMALL };
const OWN_LARGE: World = World { owner: Owner::Walker, ..LARGE };
pub(super) const OWNER_RECEIVES: Effects = Effects { ends: true, ..RECEIVES };
pub(super) const RECEIVES_MANY: Effects = Effects { removes: 3, takes: 3, ..NONE };
const OWNER_RECEIVES_MANY: Effects = Effects { ends: true, ..RECEIVES_MANY };
const MANY_LARGE: World = World { capacity: MANY.capacity, waiting: 3, ..LARGE };
const OWN_MANY: World = World { owner: Owner::Walker, ..MANY };
pub(super) const OWNER_TAKES: Effects = Effects { ends: true, ..TAKES };

pub const ALL: &[Operation] = &[
    Operation { name: "recv", world: SMALL, walk: recv, effects: RECEIVES },
    Operation { name: "recv-chunked", world: LARGE, walk: recv, effects: RECEIVES },
    Operation { name: "take", world: SMALL, walk: take, effects: TAKES },
    Operation { name: "take-chunked", world: LARGE, walk: take, effects: TAKES },
    Operation { name: "take-short", world: SHORT, walk: take, effects: TAKES },
    Operation { name: "accept", world: SMALL, walk: accept, effects: RECEIVES },
    Operation { name: "accept-chunked", world: LARGE, walk: accept, effects: RECEIVES },
    Operation { name: "give-back", world: SMALL, walk: give_back, effects: TAKES },
    Operation { name: "give-back-chunked", world: LARGE, walk: give_back, effects: TAKES },
    Operation { name: "take-again", world: SMALL, walk: take_again, effects: TAKES_TWICE },
    Operation { name: "take-worn-chunk", world: WORN, walk: take, effects: TAKES },
    Operation { name: "take-in-slot", world: SCARCE, walk: take_second, effects: TAKES_TWICE },
    Operation { name: "give-back-in-slot", world: SCARCE, walk: give_second_back, effects: TAKES_TWICE },
    Operation { name: "leave", world: SMALL, walk: leave, effects: NONE },
    Operation { name: "recv-in-vain", world: EMPTY, walk: recv, effects: RECEIVES },
    Operation { name: "recv-many", world: MANY, walk: recv_many, effects: RECEIVES_MANY },
    Operation { name: "recv-many-chunked", world: MANY_LARGE, walk: recv_many, effects: RECEIVES_MANY },
    Operation { name: "own-recv-many", world: OWN_MANY, walk: own_recv_many, effects: OWNER_RECEIVES_MANY },
    Operation { name: "own-recv", world: OWN, walk: own_recv, effects: OWNER_RECEIVES },
    Operation { name: "own-recv-chunked", world: OWN_LARGE, walk: own_recv, effects: OWNER_RECEIVES },
    Operation { name: "own-take", world: OWN, walk: own_take, effects: OWNER_TAKES },
    Operation { name: "own-take-chunked", world: OWN_LARGE, walk: own_take, effects: OWNER_TAKES },
    Operation { name: "own-accept", world: OWN_LARGE, walk: own_accept, effects: OWNER_RECEIVES },
    Operation { name: "own-give-back", world: OWN_LARGE, walk: own_give_back, effects: OWNER_TAKES },
    Operation { name: "own-take-in-slot", world: OWN_SCARCE, walk: own_take_second, effects: OWNER_TAKES },
    Operation {
        name: "own-accept-in-slot",
        world: OWN_SCARCE,
        walk: own_accept_second,
        effects: OWNER_RECEIVES,
    },
];

/// Chunks of 256 bytes that were copies before.
const WORN: World = World { length: 250, worn: true, ..LARGE };
/// There is memory for one copy only: what is taken after that stays in its slot.
const SCARCE: World = World { ceiling: Some(64), ..SMALL };
const OWN_SCARCE: World = World { owner: Owner::Walker, waiting: 3, ..SCARCE };

/// Nothing waits, so it sleeps.
const EMPTY: World = World { waiting: 0, ..SMALL };
/// In line, in a mailbox where longer ones have chunks.
const SHORT: World = World { length: 24, ..LARGE };

const SHORTLY: Duration = Duration::from_millis(20);

fn join(walker: &Walker) -> Receiver<[u8]> {
    walker.receiver().expect("it exists")
}

fn receive(walker: &Walker, inbox: &Receiver<[u8]>) {
    walker.act(|| Ok(Came::got(&inbox.recv_timeout(SHORTLY)?)))
}

fn receive_many(walker: &Walker, inbox: &Receiver<[u8]>) {
    let mut letters = Vec::new();
    walker.act(|| {
        inbox.recv_many_timeout(&mut letters, 3, SHORTLY)?;
        Ok(Came::got_many(&letters))
    })
}

fn take_from(walker: &Walker, inbox: &Receiver<[u8]>) {
    walker.act(|| {
        let delivery = inbox.take_timeout(SHORTLY)?;
        // It stays in hand for as long as this process lives.
        std::mem::forget(delivery);
        Ok(Came::Done)
    })
}

fn accept_from(walker: &Walker, inbox: &Receiver<[u8]>) {
    let delivery = inbox.take().expect("a message waits");
    walker.act(|| delivery.accept().map(|()| Came::Done))
}

fn give_back_to(walker: &Walker, inbox: &Receiver<[u8]>) {
    let delivery = inbox.take().expect("a message waits");
    walker.act(|| {
        drop(delivery);
        Ok(Came::Done)
    })
}

pub(super) fn recv(walker: &Walker) {
    receive(walker, &join(walker));
}

pub(super) fn recv_many(walker: &Walker) {
    receive_many(walker, &join(walker));
}

fn own_recv_many(walker: &Walker) {
    receive_many(walker, &walker.own());
}

pub(super) fn take(walker: &Walker) {
    take_from(walker, &join(walker));
}

pub(super) fn accept(walker: &Walker) {
    accept_from(walker, &join(walker));
}

pub(super) fn give_back(walker: &Walker) {
    give_back_to(walker, &join(walker));
}

/// What was given back.
pub(super) fn take_again(walker: &Walker) {
    let inbox = join(walker);
    drop(inbox.take().expect("a message waits"));
    take_from(walker, &inbox);
}

fn leave(walker: &Walker) {
    let inbox = join(walker);
    walker.act(|| {
        drop(inbox);
        Ok(Came::Done)
    })
}

/// The first one is a copy, and there is no memory for a second one.
fn take_second(walker: &Walker) {
    let inbox = join(walker);
    std::mem::forget(inbox.take().expect("a message waits"));
    take_from(walker, &inbox);
}

fn give_second_back(walker: &Walker) {
    let inbox = join(walker);
    std::mem::forget(inbox.take().expect("a message waits"));
    give_back_to(walker, &inbox);
}

fn own_take_second(walker: &Walker) {
    let inbox = walker.own();
    std::mem::forget(inbox.take().expect("a message waits"));
    take_from(walker, &inbox);
}

/// The third one stays in its slot.
fn own_accept_second(walker: &Walker) {
    let inbox = walker.own();
    std::mem::forget(inbox.take().expect("a message waits"));
    let second = inbox.take().expect("a message waits");
    std::mem::forget(inbox.take().expect("a message waits"));
    walker.act(|| second.accept().map(|()| Came::Done))
}

pub(super) fn own_recv(walker: &Walker) {
    receive(walker, &walker.own());
}

pub(super) fn own_take(walker: &Walker) {
    take_from(walker, &walker.own());
}

fn own_accept(walker: &Walker) {
    accept_from(walker, &walker.own());
}

fn own_give_back(walker: &Walker) {
    give_back_to(walker, &walker.own());
}
