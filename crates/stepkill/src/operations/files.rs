//! Messages in files: sending, to the next file and to the disk, receiving, independent readers, taking files away, putting a log in order.

use std::time::Duration;

use tubepost::{Cursor, From, Fsync};

use super::receiving::{self, RECEIVES, RECEIVES_MANY, TAKES, TAKES_TWICE};
use super::sending::{self, ADDS, ADDS_MANY, WITHDRAWS};
use super::{MANY, NONE, SMALL, existing};
use crate::filed::{AUDIT, HALF};
use crate::world::{BOX, Came, Effects, Filed, Operation, Owner, Stored, Walker, World};

const fn kept(fsync: Fsync, before: Stored) -> World {
    World { filed: Some(Filed { fsync, before, read: 0 }), ..SMALL }
}

pub(super) const FILES: World = kept(Fsync::Never, Stored::Fresh);
const EACH: World = kept(Fsync::Each, Stored::Fresh);
/// Until somebody asks for it, or goes.
const LATER: World = kept(Fsync::Every(Duration::from_secs(3600)), Stored::Fresh);
const FULL: World = World { waiting: 3, ..FILES };
const EMPTY: World = World { waiting: 0, ..FILES };
const SEVERAL: World = World { capacity: MANY.capacity, waiting: MANY.waiting, ..FILES };
/// The first file is full.
const LONG: World = World { longest: HALF as u64, length: HALF, ..FILES };
const LONG_EACH: World = World { longest: HALF as u64, length: HALF, ..EACH };
/// The third message is in the second file.
const LONG_FULL: World = World { waiting: 3, ..LONG };
const PASSED: World = World { longest: HALF as u64, ..kept(Fsync::Never, Stored::Passed) };
const PASSED_EACH: World = World { longest: HALF as u64, ..kept(Fsync::Each, Stored::Passed) };
const READ: World =
    World { filed: Some(Filed { fsync: Fsync::Never, before: Stored::Fresh, read: 1 }), ..SMALL };
const NOT_EACH: World = World { owner: Owner::Nobody, waiting: 0, ..EACH };
const ASLEEP: World = kept(Fsync::Never, Stored::Asleep);
const ASLEEP_EACH: World = kept(Fsync::Each, Stored::Asleep);

/// One was accepted before, and one stays in hand.
const ACCEPTS_TWO: Effects = Effects { removes: 2, takes: 3, ..NONE };

pub const ALL: &[Operation] = &[
    Operation { name: "file-send", world: FILES, walk: sending::send, effects: ADDS },
    Operation { name: "file-send-first", world: EMPTY, walk: sending::send, effects: ADDS },
    Operation { name: "file-send-each", world: EACH, walk: sending::send, effects: ADDS },
    Operation { name: "file-send-in-vain", world: FULL, walk: sending::send, effects: ADDS },
    Operation { name: "file-send-many", world: SEVERAL, walk: sending::send_many, effects: ADDS_MANY },
    Operation { name: "file-send-next", world: LONG, walk: sending::send, effects: ADDS },
    Operation { name: "file-send-next-each", world: LONG_EACH, walk: sending::send, effects: ADDS },
    Operation { name: "file-collect-in-vain", world: FILES, walk: sending::collect, effects: WITHDRAWS },
    Operation { name: "file-recv", world: FILES, walk: receiving::recv, effects: RECEIVES },
    Operation { name: "file-recv-many", world: SEVERAL, walk: receiving::recv_many, effects: RECEIVES_MANY },
    Operation { name: "file-recv-passed", world: PASSED, walk: receiving::recv, effects: RECEIVES },
    Operation { name: "file-recv-passed-each", world: PASSED_EACH, walk: receiving::recv, effects: RECEIVES },
    Operation { name: "file-take", world: FILES, walk: receiving::take, effects: TAKES },
    Operation { name: "file-take-again", world: FILES, walk: receiving::take_again, effects: TAKES_TWICE },
    Operation { name: "file-accept", world: FILES, walk: receiving::accept, effects: RECEIVES },
    Operation { name: "file-accept-last", world: LONG_FULL, walk: accept_last, effects: ACCEPTS_TWO },
    Operation { name: "file-give-back", world: FILES, walk: receiving::give_back, effects: TAKES },
    Operation { name: "file-cursor-open", world: FILES, walk: open_cursor, effects: NONE },
    Operation { name: "file-cursor-read", world: READ, walk: read_by_cursor, effects: NONE },
    Operation { name: "file-flush", world: LATER, walk: flush, effects: ADDS },
    Operation { name: "file-leave-sender", world: LATER, walk: leave_sender, effects: ADDS },
    Operation { name: "file-open-sender", world: FILES, walk: existing::open_sender, effects: NONE },
    Operation { name: "file-open-receiver", world: FILES, walk: existing::open_receiver, effects: NONE },
    Operation { name: "file-create-each", world: NOT_EACH, walk: existing::create, effects: existing::ENDS },
    Operation { name: "file-reopen-each", world: ASLEEP_EACH, walk: existing::create, effects: NONE },
    Operation { name: "file-remove", world: FILES, walk: existing::remove, effects: existing::ENDS },
];

/// After others have died.
pub const REOPEN: Operation =
    Operation { name: "file-reopen", world: ASLEEP, walk: existing::create, effects: NONE };

/// The last one of a file of which all else was received: it goes.
fn accept_last(walker: &Walker) {
    let inbox = walker.receiver().expect("it exists");
    let first = inbox.take().expect("a message waits");
    let second = inbox.take().expect("a message waits");
    std::mem::forget(inbox.take().expect("a message waits"));
    second.accept().expect("it is ours");
    walker.act(|| first.accept().map(|()| Came::Done))
}

fn cursor(walker: &Walker) -> Result<Cursor<[u8]>, tubepost::Error> {
    Cursor::options().domain(&walker.domain).from(From::Start).open(BOX, AUDIT)
}

fn open_cursor(walker: &Walker) {
    walker.act(|| {
        std::mem::forget(cursor(walker)?);
        Ok(Came::Done)
    })
}

fn read_by_cursor(walker: &Walker) {
    let audit = cursor(walker).expect("nobody reads by it");
    walker.act(|| {
        let letter = audit.try_recv()?;
        Ok(crate::letters::read(&letter).map_or_else(Came::Refused, |_| Came::Done))
    })
}

/// What was sent before, and is not on the disk.
fn flush(walker: &Walker) {
    let out = walker.sender().expect("it exists");
    out.send(&walker.letter(24)).expect("a place");
    walker.act(|| out.flush().map(|()| Came::Done))
}

fn leave_sender(walker: &Walker) {
    let out = walker.sender().expect("it exists");
    out.send(&walker.letter(24)).expect("a place");
    walker.act(|| {
        drop(out);
        Ok(Came::Done)
    })
}
