//! What somebody sleeps for, and has to be woken by.

use super::files::FILES;
use super::meeting::NOBODY;
use super::receiving::{self, RECEIVES, TAKES};
use super::sending::{self, ADDS, ADDS_MANY};
use super::{LARGE, MANY, SMALL, existing};
use crate::sleepers::For;
use crate::world::{Operation, Owner, World};

const EMPTY: World = World { waiting: 0, ..SMALL };
const EMPTY_OWNED: World = World { owner: Owner::Judge, ..EMPTY };
const EMPTY_LARGE: World = World { waiting: 0, ..LARGE };
const FULL: World = World { waiting: 3, ..SMALL };
const ROOMY: World = World { waiting: 0, ..MANY };
const LAST: World = World { waiting: 1, ..SMALL };
const OWN_EMPTY: World = World { owner: Owner::Walker, ..EMPTY };
const OWN: World = World { owner: Owner::Walker, ..SMALL };

pub const ALL: &[(Operation, For)] = &[
    (Operation { name: "awaited-send", world: EMPTY, walk: sending::send, effects: ADDS }, For::Message),
    (
        Operation { name: "awaited-send-to-owner", world: EMPTY_OWNED, walk: sending::send, effects: ADDS },
        For::Message,
    ),
    (
        Operation {
            name: "awaited-send-chunked",
            world: EMPTY_LARGE,
            walk: sending::send_chunked,
            effects: ADDS,
        },
        For::Message,
    ),
    (Operation { name: "awaited-send-at-door", world: EMPTY, walk: sending::send, effects: ADDS }, For::Door),
    (
        Operation {
            name: "awaited-send-to-owners-door",
            world: EMPTY_OWNED,
            walk: sending::send,
            effects: ADDS,
        },
        For::Door,
    ),
    (
        Operation { name: "awaited-recv-at-door", world: FULL, walk: receiving::recv, effects: RECEIVES },
        For::DoorForRoom,
    ),
    (
        Operation { name: "awaited-give-back", world: LAST, walk: receiving::give_back, effects: TAKES },
        For::Message,
    ),
    (
        Operation { name: "awaited-send-many", world: ROOMY, walk: sending::send_many, effects: ADDS_MANY },
        For::Message,
    ),
    (
        Operation {
            name: "awaited-recv-many",
            world: FULL,
            walk: receiving::recv_many,
            effects: receiving::RECEIVES_MANY,
        },
        For::Room,
    ),
    (Operation { name: "awaited-recv", world: FULL, walk: receiving::recv, effects: RECEIVES }, For::Room),
    (
        Operation {
            name: "awaited-recv-of-collected",
            world: EMPTY,
            walk: receiving::recv,
            effects: RECEIVES,
        },
        For::Collection,
    ),
    (
        Operation { name: "awaited-take-of-collected", world: EMPTY, walk: receiving::take, effects: TAKES },
        For::Collection,
    ),
    (
        Operation {
            name: "awaited-owner-of-collected",
            world: OWN_EMPTY,
            walk: receiving::own_recv,
            effects: receiving::OWNER_RECEIVES,
        },
        For::Collection,
    ),
    (Operation { name: "awaited-take", world: FULL, walk: receiving::take, effects: TAKES }, For::Room),
    (
        Operation { name: "awaited-meet-send", world: NOBODY, walk: sending::send, effects: ADDS },
        For::Message,
    ),
    (
        Operation { name: "awaited-meet-recv", world: NOBODY, walk: receiving::recv, effects: RECEIVES },
        For::Room,
    ),
    (
        Operation { name: "awaited-meet-take", world: NOBODY, walk: receiving::take, effects: TAKES },
        For::Collection,
    ),
    (
        Operation {
            name: "awaited-file-send",
            world: World { waiting: 0, ..FILES },
            walk: sending::send,
            effects: ADDS,
        },
        For::Message,
    ),
    (
        Operation {
            name: "awaited-file-recv",
            world: World { waiting: 3, ..FILES },
            walk: receiving::recv,
            effects: RECEIVES,
        },
        For::Room,
    ),
    (
        Operation {
            name: "awaited-file-take-of-collected",
            world: World { waiting: 0, ..FILES },
            walk: receiving::take,
            effects: TAKES,
        },
        For::Collection,
    ),
    (
        Operation {
            name: "awaited-file-remove",
            world: FILES,
            walk: existing::remove,
            effects: existing::ENDS,
        },
        For::End,
    ),
    (
        Operation { name: "awaited-close", world: OWN, walk: existing::close, effects: existing::ENDS },
        For::End,
    ),
    (
        Operation { name: "awaited-remove", world: SMALL, walk: existing::remove, effects: existing::ENDS },
        For::End,
    ),
];
