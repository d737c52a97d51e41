//! Pairs: making one, taking its other end, sending, receiving, dropping.

use std::time::Duration;

use tubepost::Link;

use super::{LARGE, NONE, SMALL};
use crate::paired::{self, hand_over, handed};
use crate::world::{Came, Effects, Made, Operation, Owner, Paired, Walker, World};

const ADDS: Effects = Effects { adds: 1, ..NONE };
const RECEIVES: Effects = Effects { removes: 1, ..NONE };
const ENDS: Effects = Effects { ends: true, ..NONE };

const HANDED: World =
    World { owner: Owner::Walker, paired: Some(Paired { made: Made::Handed, kernel: false }), ..SMALL };
const NOT: World = World { waiting: 0, paired: Some(Paired { made: Made::Not, kernel: false }), ..HANDED };
const TAKEN: World = World { paired: Some(Paired { made: Made::Taken, kernel: false }), ..HANDED };
const CHUNKED: World = World { longest: LARGE.longest, length: LARGE.length, ..TAKEN };
const BY_WALKER: World = World { paired: Some(Paired { made: Made::ByWalker, kernel: false }), ..HANDED };
const KERNEL_NOT: World =
    World { waiting: 0, paired: Some(Paired { made: Made::Not, kernel: true }), ..HANDED };
const KERNEL_HANDED: World = World { paired: Some(Paired { made: Made::Handed, kernel: true }), ..HANDED };
const KERNEL_TAKEN: World = World { paired: Some(Paired { made: Made::Taken, kernel: true }), ..HANDED };
const KERNEL_BY_WALKER: World =
    World { paired: Some(Paired { made: Made::ByWalker, kernel: true }), ..HANDED };

pub const ALL: &[Operation] = &[
    Operation { name: "pair-make", world: NOT, walk: make, effects: ENDS },
    Operation { name: "pair-take", world: HANDED, walk: take, effects: NONE },
    Operation { name: "pair-send", world: TAKEN, walk: send, effects: ADDS },
    Operation { name: "pair-send-chunked", world: CHUNKED, walk: send, effects: ADDS },
    Operation { name: "pair-send-by-maker", world: BY_WALKER, walk: send, effects: ADDS },
    Operation { name: "pair-recv", world: TAKEN, walk: recv, effects: RECEIVES },
    Operation { name: "pair-recv-chunked", world: CHUNKED, walk: recv, effects: RECEIVES },
    Operation { name: "pair-recv-by-maker", world: BY_WALKER, walk: recv, effects: RECEIVES },
    Operation { name: "pair-drop", world: TAKEN, walk: drop_it, effects: ENDS },
    Operation { name: "pair-drop-by-maker", world: BY_WALKER, walk: drop_it, effects: ENDS },
    Operation { name: "pair-kernel-make", world: KERNEL_NOT, walk: make, effects: ENDS },
    Operation { name: "pair-kernel-take", world: KERNEL_HANDED, walk: take, effects: NONE },
    Operation { name: "pair-kernel-send", world: KERNEL_TAKEN, walk: send, effects: ADDS },
    Operation { name: "pair-kernel-send-by-maker", world: KERNEL_BY_WALKER, walk: send, effects: ADDS },
    Operation { name: "pair-kernel-recv", world: KERNEL_TAKEN, walk: recv, effects: RECEIVES },
    Operation { name: "pair-kernel-recv-by-maker", world: KERNEL_BY_WALKER, walk: recv, effects: RECEIVES },
    Operation { name: "pair-kernel-drop", world: KERNEL_TAKEN, walk: drop_it, effects: ENDS },
    Operation { name: "pair-kernel-drop-by-maker", world: KERNEL_BY_WALKER, walk: drop_it, effects: ENDS },
];

const SHORTLY: Duration = Duration::from_millis(20);

/// The walker's end, when the survivor has sent what is to wait.
fn begin(walker: &Walker) -> Link<[u8]> {
    let options = paired::options(&walker.world);
    let link = match walker.world.paired.expect("it is about pairs").made {
        Made::ByWalker => {
            let (link, other) = options.pair().expect("there is memory");
            hand_over(walker.domain.path(), other.into());
            link
        }
        _ => options.from_descriptor(handed(walker.domain.path())).expect("nobody took it"),
    };
    walker.ready();
    link
}

/// Both ends go again: nothing of it is left, wherever that failed.
fn make(walker: &Walker) {
    let options = paired::options(&walker.world);
    walker.ready();
    walker.act(|| {
        drop(options.pair()?);
        Ok(Came::Done)
    })
}

fn take(walker: &Walker) {
    let (options, descriptor) = (paired::options(&walker.world), handed(walker.domain.path()));
    walker.ready();
    walker.act(|| {
        std::mem::forget(options.from_descriptor(descriptor)?);
        Ok(Came::Done)
    })
}

fn send(walker: &Walker) {
    let (link, letter) = (begin(walker), walker.letter(walker.world.length));
    walker.act(|| {
        link.send_timeout(&letter, SHORTLY)?;
        Ok(Came::Done)
    })
}

fn recv(walker: &Walker) {
    let link = begin(walker);
    walker.act(|| Ok(Came::got(&link.recv_timeout(SHORTLY)?)))
}

fn drop_it(walker: &Walker) {
    let link = begin(walker);
    walker.act(|| {
        drop(link);
        Ok(Came::Done)
    })
}
