//! Waiting for a descriptor, and ringing those who do.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tubepost::Error;

use super::receiving::{OWNER_RECEIVES, RECEIVES};
use super::sending::{self, ADDS};
use super::{NONE, SMALL};
use crate::world::{Came, Operation, Owner, Walker, World};

const EMPTY: World = World { waiting: 0, ..SMALL };
const FULL: World = World { waiting: 3, ..SMALL };
const OWN_FULL: World = World { owner: Owner::Walker, ..FULL };

pub const ALL: &[Operation] = &[
    Operation { name: "wait-at-door", world: EMPTY, walk: wait_at_door, effects: NONE },
    Operation { name: "wait-at-door-for-room", world: FULL, walk: wait_for_room, effects: NONE },
    Operation { name: "wait-at-door-again", world: EMPTY, walk: wait_again, effects: NONE },
    Operation { name: "leave-door", world: EMPTY, walk: leave_door, effects: NONE },
    Operation { name: "task-in-vain", world: EMPTY, walk: task_in_vain, effects: RECEIVES },
    Operation { name: "ring", world: EMPTY, walk: ring, effects: ADDS },
    Operation { name: "ring-for-room", world: OWN_FULL, walk: ring_for_room, effects: OWNER_RECEIVES },
];

/// From nothing to an armed door.
fn wait_at_door(walker: &Walker) {
    let inbox = walker.receiver().expect("it exists");
    walker.act(|| {
        // It waits for as long as this process lives.
        std::mem::forget(inbox.doorbell()?);
        Ok(Came::Done)
    })
}

fn wait_for_room(walker: &Walker) {
    let out = walker.sender().expect("it exists");
    walker.act(|| {
        std::mem::forget(out.doorbell()?);
        Ok(Came::Done)
    })
}

fn wait_again(walker: &Walker) {
    let inbox = walker.receiver().expect("it exists");
    let bell = inbox.doorbell().expect("descriptors are left");
    walker.act(|| bell.clear().map(|_| Came::Done))
}

/// The socket goes with the handle.
fn leave_door(walker: &Walker) {
    let inbox = walker.receiver().expect("it exists");
    let bell = inbox.doorbell().expect("descriptors are left");
    walker.act(|| {
        drop((bell, inbox));
        Ok(Came::Done)
    })
}

/// Waits once, and is dropped.
fn task_in_vain(walker: &Walker) {
    let inbox = walker.receiver().expect("it exists");
    walker.act(|| {
        let waiting = pin!(inbox.recv_async()).poll(&mut Context::from_waker(Waker::noop()));
        match waiting {
            Poll::Ready(received) => Ok(Came::got(&received?)),
            Poll::Pending => Err(Error::TimedOut),
        }
    })
}

/// An owner receives, and rings a sender: itself, of all.
fn ring_for_room(walker: &Walker) {
    let inbox = walker.own();
    let out = walker.sender().expect("it exists");
    std::mem::forget(out.doorbell().expect("descriptors are left"));
    walker.act(|| Ok(Came::got(&inbox.recv()?)))
}

/// Itself, of all.
fn ring(walker: &Walker) {
    let inbox = walker.receiver().expect("it exists");
    std::mem::forget(inbox.doorbell().expect("descriptors are left"));
    sending::send(walker);
}
