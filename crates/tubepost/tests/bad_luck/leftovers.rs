//! What must not pile up or be waited for in vain: rows of those who came and went, memory that only looking
//! at a mailbox would take, the death of an owner that nobody has a descriptor to ask about, a name removed
//! by hand.

use std::time::Duration;

use tubepost::{Domain, Mailbox, RecvTimeoutError, SendTimeoutError, Sender, TrySendError};

use crate::stage::{Child, Cue, PATIENCE, Place, Role, descriptors, eventually, limit_files};

pub const ROLES: &[Role] = &[("idle-owner", idle_owner), ("penniless", penniless)];

/// A shell loop that tried a full mailbox again and again used up its table of members: whoever left was
/// taken to be named up to the tail, and as long as one message waited no row was ever free again.
#[test]
fn who_comes_in_vain_leaves_no_row_behind() {
    let place = Place::new();
    let inbox = Mailbox::<u64>::options().domain(place.domain()).bounded(1).own("box").expect("a free name");
    let first = Sender::<u64>::options().domain(place.domain()).open("box").expect("it exists");
    first.send(1).expect("room");
    let before = inbox.stat().expect("ours").bytes;
    for _ in 0..500 {
        let out = Sender::<u64>::options().domain(place.domain()).open("box").expect("it exists");
        assert_eq!(out.try_send(2), Err(TrySendError::Full(2)));
    }
    assert_eq!(inbox.stat().expect("ours").bytes, before);
    drop(first);
    // Who is named by a message that waits keeps its row until that is received.
    let other =
        Sender::<u64>::options().domain(place.domain()).member("other").open("box").expect("it exists");
    let envelope = inbox.recv_envelope().expect("a message");
    assert_ne!(envelope.sender.name, "other");
    drop(other);
}

#[test]
fn looking_takes_no_memory() {
    let place = Place::new();
    let inbox = Mailbox::<u64>::options().domain(place.domain()).bounded(8).own("box").expect("a free name");
    let _out = Sender::<u64>::options().domain(place.domain()).open("box").expect("it exists");
    let before = inbox.stat().expect("ours").bytes;
    place.domain().gc().expect("nothing is wrong");
    place.domain().list().expect("nothing is wrong");
    assert_eq!(inbox.stat().expect("ours").bytes, before);
}

/// Owns "box" and does nothing with it; the argument is the domain.
fn idle_owner(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let _inbox = Mailbox::<u64>::options().domain(&domain).bounded(1).own("box").expect("a free name");
    cue.say("here");
    cue.hear();
}

/// Waits for room in "box" with no descriptor to spare; the argument is the domain.
fn penniless(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let out = Sender::<u64>::options().domain(&domain).open("box").expect("it exists");
    out.send(1).expect("room");
    limit_files(0);
    assert!(descriptors_are_out(), "the limit holds");
    cue.say("waiting");
    match out.send_timeout(2, PATIENCE) {
        Err(SendTimeoutError::Closed(2, closed)) => cue.say(format!("closed {}", closed.uncollected)),
        other => cue.say(format!("{other:?}")),
    }
}

fn descriptors_are_out() -> bool {
    std::fs::File::open("/dev/null").is_err()
}

#[test]
fn the_death_of_an_owner_is_noticed_without_descriptors() {
    let place = Place::new();
    let mut owner = Child::start("idle-owner", &[&place.arg()]);
    owner.expect("here");
    let mut sender = Child::start("penniless", &[&place.arg()]);
    sender.expect("waiting");
    owner.kill();
    eventually("it is buried or reaped", || owner.is_dead());
    assert_eq!(sender.hear(), "closed 1");
    sender.finish();
    assert!(descriptors() > 0);
}

#[test]
fn an_owner_whose_name_was_removed_is_told() {
    let place = Place::new();
    let inbox = Mailbox::<u64>::options().domain(place.domain()).own("box").expect("a free name");
    std::fs::remove_file(place.domain().path().join("box")).expect("it is there");
    match inbox.recv_timeout(PATIENCE) {
        Err(RecvTimeoutError::Closed(closed)) => assert_eq!(closed.uncollected, 0),
        other => panic!("{other:?}"),
    }
    assert!(inbox.recv_timeout(Duration::ZERO).is_err());
}
