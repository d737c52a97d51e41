//! Who dies while it cleans up after one that died: for each of these first operations, the second ones that
//! then meet what it left. Taking over a dead one's name is "own" after any death of an owner.

use super::{LARGE, NONE, SMALL};
use crate::world::{Came, Effects, Operation, Walker};

const ENDS: Effects = Effects { ends: true, ..NONE };

/// First, and what comes second. (Opening what is retired but has its name still looks a hundred times, a million
/// instructions: not here.)
pub const ALL: &[(&str, &[&str])] = &[
    ("send", &["recv", "take", "send", "gc", "open-sender", "open-receiver", "remove"]),
    ("send-many", &["recv", "recv-many", "send-many", "gc", "open-sender"]),
    ("recv-many", &["recv-many", "recv", "gc", "open-receiver"]),
    ("own-recv-many", &["own", "gc"]),
    ("send-to-one-place", &["send", "gc", "open-sender"]),
    ("send-chunked", &["recv", "gc", "open-sender", "send-chunked", "remove"]),
    ("recv", &["recv", "gc", "open-receiver", "take"]),
    ("recv-chunked", &["recv", "gc", "open-receiver"]),
    ("take", &["recv", "take", "gc", "open-sender", "remove"]),
    ("take-chunked", &["recv", "take", "gc", "open-receiver", "remove"]),
    ("accept", &["recv", "gc"]),
    ("give-back", &["recv", "take", "gc", "open-receiver"]),
    ("take-fencing", &["recv", "gc", "open-receiver"]),
    ("reject-chunked", &["recv", "gc"]),
    ("dead-letter-chunked", &["recv", "gc"]),
    ("loan", &["recv", "gc", "send-chunked"]),
    ("gc-chunked", &["gc", "recv"]),
    ("open-sender", &["open-sender", "gc"]),
    ("own-recv", &["own", "gc", "open-dead", "stat-dead", "remove-dead"]),
    ("own-take-chunked", &["own", "gc", "open-dead"]),
    ("own-give-back", &["own", "gc"]),
    ("close-chunked", &["own", "gc", "remove-dead"]),
    ("own", &["own", "gc", "create"]),
    ("meet-send", &["meet-send", "gc", "open-sender", "remove-dead"]),
    ("meet-send-chunked", &["meet-send", "gc"]),
    ("meet-send-in-vain", &["meet-recv", "gc", "open-sender", "open-receiver"]),
    ("meet-recv", &["meet-recv", "meet-send", "gc", "open-receiver"]),
    ("meet-recv-in-vain", &["meet-send", "meet-recv", "gc", "open-sender", "remove-dead"]),
    ("meet-take", &["meet-take", "gc", "open-receiver", "remove-dead"]),
    ("meet-give-back", &["meet-recv", "gc"]),
    ("meet-own-recv", &["own", "gc", "open-dead"]),
    ("create", &["remove-dead"]),
    ("remove-chunked", &["remove-dead", "gc"]),
    ("send-append", &["recv", "send", "gc", "open-sender", "remove"]),
    ("send-retire", &["recv", "send", "gc"]),
    ("gc-segments", &["gc", "send"]),
    ("call-first", &["call-answer-long", "call-gc"]),
    ("call-reply-long", &["call-answer", "call-gc"]),
    ("wait-at-door", &["gc", "open-receiver", "remove", "send"]),
    ("file-send", &["recv", "send", "file-reopen"]),
    ("file-send-next", &["recv", "send", "file-reopen"]),
    ("file-send-each", &["send"]),
    ("file-take", &["recv", "take", "file-reopen"]),
    ("file-accept-last", &["recv"]),
    ("file-create-each", &["file-create-each"]),
    ("file-reopen", &["file-reopen"]),
    ("file-remove", &["file-create-each", "remove-dead"]),
    ("region-write", &["region-write", "region-set", "region-open", "region-gc", "region-read-first"]),
    ("region-write-parts", &["region-write-parts", "region-gc"]),
    ("region-read", &["region-read-first", "region-open", "region-gc"]),
    ("region-fence", &["region-fence"]),
    ("region-in-place-write", &["region-in-place-repair", "region-in-place-write-first", "region-gc"]),
    ("region-in-place-repair", &["region-in-place-repair"]),
    ("region-in-place-copy", &["region-in-place-write-parts"]),
];

/// First, and its heir, in a mailbox like the first one's. Only of such that are mentioned in what others look at.
pub const HEIRS: &[(&str, &str)] = &[
    ("send", "send"),
    ("send-to-owner", "send-to-owner"),
    ("send", "take"),
    ("send-many", "recv-many"),
    ("take", "take"),
    ("file-send", "file-take"),
    ("take-chunked", "send-chunked"),
    ("meet-send-in-vain", "meet-send-in-vain"),
    ("meet-recv-in-vain", "meet-send-in-vain"),
];

/// What need not succeed where somebody died before.
pub const ONLY_PAIRS: &[Operation] = &[
    Operation { name: "open-dead", world: SMALL, walk: open_dead, effects: ENDS },
    Operation { name: "stat-dead", world: SMALL, walk: stat_dead, effects: ENDS },
    Operation { name: "remove-dead", world: LARGE, walk: remove_dead, effects: ENDS },
    super::in_place::COPY,
    super::files::REOPEN,
];

fn open_dead(walker: &Walker) {
    walker.act(|| {
        std::mem::forget(walker.sender());
        Ok(Came::Done)
    })
}

fn stat_dead(walker: &Walker) {
    walker.act(|| {
        drop(walker.domain.list());
        Ok(Came::Done)
    })
}

fn remove_dead(walker: &Walker) {
    walker.act(|| {
        drop(walker.domain.remove(crate::world::BOX));
        Ok(Came::Done)
    })
}
