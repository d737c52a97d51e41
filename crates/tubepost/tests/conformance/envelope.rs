//! What comes with a message, and what is known about a mailbox: the sender is who it is, an id is never
//! used again, `stat` and `list` say what is.

use std::collections::HashSet;

use tubepost::{Kind, Mailbox, OwnerKind, Sender};

use crate::cast::start_owner;
use crate::rows::{
    on_every_row_of_a_process, on_every_row_of_a_process_with_room, on_every_row_with_room, open,
};
use crate::stage::{Child, Place};

#[test]
fn the_sender_is_named() {
    // Not where nothing waits: it sends first and receives later.
    on_every_row_with_room(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "post");
        let mut last_seq = None;
        for name in ["alice", "bob", "carol.3", "alice"] {
            let mut user = Child::start("user", &[&place.arg(), "post", name]);
            user.say("open");
            user.expect("open");
            for message in 0..3 {
                assert_eq!(user.ask(format!("try {message}")), "ok");
                let envelope = inbox.recv_envelope().expect("it was sent");
                assert_eq!(envelope.message, message);
                assert_eq!((envelope.sender.pid, envelope.sender.name.as_str()), (user.pid(), name));
                assert_eq!(envelope.redelivered, 0);
                assert!(
                    last_seq.is_none_or(|last| envelope.seq > last),
                    "{} after {last_seq:?}",
                    envelope.seq
                );
                last_seq = Some(envelope.seq);
            }
        }
    });
}

/// A message keeps its sender's name also when that one is gone and its row may serve another.
#[test]
fn the_sender_is_named_after_it_went() {
    // Not where nothing waits: it sends first and receives later.
    on_every_row_with_room(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "post");
        let mut went = Vec::new();
        for at in 0..row.n().min(5) {
            let name = format!("sender-{at}");
            let mut user = Child::start("user", &[&place.arg(), "post", &name]);
            user.say("open");
            user.expect("open");
            assert_eq!(user.ask(format!("try {at}")), "ok");
            went.push((user.pid(), name));
            if at % 2 == 0 {
                user.finish();
            } else {
                user.kill();
            }
        }
        for (at, (pid, name)) in went.into_iter().enumerate() {
            let envelope = inbox.recv_envelope().expect("it was accepted");
            assert_eq!((envelope.message, envelope.sender.pid, envelope.sender.name), (at as u64, pid, name));
        }
    });
}

#[test]
fn variable_messages_have_envelopes_too() {
    let place = Place::new();
    let inbox = crate::rows::ROWS[1].own::<str>(&place, "post");
    let out =
        Sender::<str>::options().domain(place.domain()).member("alice").open("post").expect("it exists");
    out.send("hello").expect("the owner lives");
    let envelope = inbox.recv_envelope().expect("it was sent");
    assert_eq!((envelope.message.as_str(), envelope.sender.name.as_str()), ("hello", "alice"));
    assert_eq!(envelope.sender.pid, std::process::id());
}

#[test]
fn an_id_is_never_used_again() {
    on_every_row_of_a_process(|row| {
        let place = Place::new();
        let mut seen = HashSet::new();
        for _ in 0..40 {
            let inbox = row.own::<u64>(&place, "same/name");
            let out = open::<u64>(&place, "same/name");
            assert_eq!(inbox.id(), out.id());
            let id = inbox.id().to_string();
            assert!(id.len() == 32 && id.bytes().all(|it| it.is_ascii_hexdigit()), "{id}");
            assert!(seen.insert(id), "an id came twice");
        }
    });
}

#[test]
fn stat_says_what_is() {
    // Not where nothing waits: it sends first and receives later.
    on_every_row_of_a_process_with_room(|row| {
        let place = Place::new();
        let inbox = row.receiver(row.options::<u64>(place.domain()).member("the owner"), &place, "a/b");
        let out = open::<u64>(&place, "a/b");
        assert_eq!((inbox.name(), out.name()), ("a/b", "a/b"));
        for at in 0..row.n() {
            out.try_send(at).expect("a free place");
        }
        inbox.recv().expect("a message");
        for stat in [inbox.stat(), out.stat(), place.domain().stat("a/b")] {
            let stat = stat.expect("it lives");
            assert_eq!((stat.kind, stat.name.as_str(), stat.strategy), (Kind::Mailbox, "a/b", row.strategy));
            assert_eq!(stat.id, inbox.id());
            assert_eq!((stat.owner.kind, stat.owner.pid), (OwnerKind::Process, Some(std::process::id())));
            assert_eq!((stat.owner.name.as_str(), stat.owner.alive), ("the owner", true));
            assert_eq!((stat.capacity, stat.depth, stat.held), (row.capacity(), row.n() - 1, 0));
            assert_eq!((stat.sent, stat.received), (row.n(), 1));
            assert_eq!((stat.max_message, stat.variable), (8, false));
            assert_eq!(stat.mode & 0o777, 0o600);
            assert!(stat.bytes >= 8 * row.n(), "{} bytes", stat.bytes);
            assert_eq!(
                (stat.kind.to_string(), stat.owner.kind.to_string()),
                ("mailbox".into(), "process".into())
            );
        }
    });
}

#[test]
fn stat_of_variable_messages() {
    let place = Place::new();
    let _inbox = Mailbox::<[u8]>::options()
        .domain(place.domain())
        .max_message(100)
        .format("csv")
        .own("x")
        .expect("free");
    let stat = place.domain().stat("x").expect("it lives");
    assert_eq!(
        (stat.format.as_str(), stat.variable, stat.max_message, stat.capacity),
        ("csv", true, 100, Some(1024))
    );
}

#[test]
fn list_says_all_that_exists() {
    on_every_row_of_a_process(|row| {
        let place = Place::new();
        assert!(place.domain().list().expect("our own domain").is_empty());
        let _here = row.own::<u64>(&place, "here");
        let there = start_owner(&place, "there/far", row);
        let mut listed: Vec<(String, Option<u32>)> = place
            .domain()
            .list()
            .expect("our own domain")
            .into_iter()
            .map(|it| (it.name, it.stat.expect("nothing is damaged").owner.pid))
            .collect();
        listed.sort();
        let expected =
            [("here".to_owned(), Some(std::process::id())), ("there/far".to_owned(), Some(there.pid()))];
        assert_eq!(listed, expected);
    });
}

/// What an owner left when it was killed stays until the next one or `gc` sweeps it.
#[test]
fn gc_sweeps_what_the_dead_left() {
    on_every_row_of_a_process(|row| {
        let place = Place::new();
        let alive = row.own::<u64>(&place, "alive");
        let mut dead = start_owner(&place, "dead", row);
        dead.kill();
        let stat = place.domain().stat("dead");
        if let Ok(stat) = &stat {
            assert!(!stat.owner.alive, "{stat:?}");
        }
        let swept = place.domain().gc().expect("our own domain");
        assert_eq!(swept.removed, ["dead"]);
        assert_eq!(swept.left_alone, []);
        let left: Vec<String> =
            place.domain().list().expect("our own domain").into_iter().map(|it| it.name).collect();
        assert_eq!(left, ["alive"]);
        assert!(!place.file("dead").exists() && place.file("alive").exists());
        drop(alive);
        place.domain().gc().expect("our own domain");
        assert!(place.files().len() <= 3, "an empty domain holds {:?}", place.files());
    });
}
