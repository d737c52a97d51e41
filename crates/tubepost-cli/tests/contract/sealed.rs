//! The sealed strategy, by the command: senders that are not trusted, each with places of its own.

use rustix::process::Signal;

use crate::ends::nothing_is_left;
use crate::scene::{Scene, is_at_work, until};

fn own<'a>(options: &[&'a str]) -> Vec<&'a str> {
    [&["--strategy", "sealed"], options].concat()
}

#[test]
fn each_sender_has_places_of_its_own_and_all_of_it_is_received() {
    let scene = Scene::new();
    let owner = scene.own("votes", &own(&["--capacity", "2", "--count", "4"]));
    owner.signal(Signal::STOP);
    // Not even a stopped owner is waited for as long as there is room.
    for text in ["a", "b"] {
        scene.run(&["send", "votes", "--no-wait", text, text]).code(0).quietly();
    }
    let full = scene.run(&["send", "votes", "--no-wait", "c", "c", "c"]);
    full.code(3).complains(&["votes", "full", "messages sent before: 2"]);
    owner.signal(Signal::CONT);
    let ended = owner.end().code(0).quietly();
    assert_eq!(ended.text().lines().count(), 4, "{}", ended.text());
    nothing_is_left(&scene);
}

#[test]
fn it_is_shown_with_what_each_sender_has_and_how_many_were_shut() {
    let scene = Scene::new();
    let mut owner = scene.own("votes", &own(&["--capacity", "7", "--max-message", "100"]));
    scene.run(&["send", "votes", "--collected", "--timeout", "10s", "yes", "no"]).code(0).quietly();
    assert_eq!((owner.line(), owner.line()), ("yes".into(), "no".into()));
    let row = scene.run(&["stat", "votes", "--json"]).code(0).quietly().json();
    assert_eq!([&row["strategy"], &row["kind"]], ["sealed", "mailbox"]);
    assert_eq!([&row["capacity"], &row["max_message"], &row["received"], &row["shut"]], [7, 100, 2, 0]);
    assert_eq!(scene.list(), [row]);
    let text = scene.run(&["stat", "votes"]).code(0).quietly().text();
    for part in ["sealed memory with each sender", "shut      0 connections", "8,192 bytes with each sender"]
    {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    owner.signal(Signal::TERM);
    owner.end().code(143).quietly();
    nothing_is_left(&scene);
}

#[test]
fn senders_are_told_of_the_owners_death_and_who_comes_later_too() {
    let scene = Scene::new();
    let owner = scene.own("votes", &own(&["--capacity", "2"]));
    owner.signal(Signal::STOP);
    let waits = scene.start(&["send", "votes", "a", "b", "c"]);
    let collected = scene.start(&["send", "votes", "--collected", "d"]);
    let idle = scene.start_fed(&["send", "votes"]);
    for running in [&waits, &collected] {
        until("it waits", || crate::scene::waits(running.pid()));
    }
    until("it is at work", || is_at_work(idle.pid()));
    owner.signal(Signal::KILL);
    waits.end().code(5).prints("").complains(&["votes", "2 messages were never collected", "sent before: 2"]);
    collected.end().code(5).prints("").complains(&["votes", "closed"]);
    let mut idle = idle;
    assert_eq!(idle.wait(), 5, "even though nothing came on its input");
    scene.run(&["send", "votes", "x"]).code(4).prints("").complains(&["votes"]);
    scene.run(&["stat", "votes"]).code(4);
    owner.end();
    // The name can be had again.
    let again = scene.own("votes", &own(&["--count", "1"]));
    scene.run(&["send", "votes", "x"]).code(0);
    again.end().code(0).prints("x\n");
    nothing_is_left(&scene);
}

#[test]
fn what_it_is_not_for_is_refused_with_what_is() {
    let scene = Scene::new();
    for (options, about) in [
        (&["--capacity", "0"][..], "at least 1"),
        (&["--capacity", "unbounded"], "shared"),
        (&["--capacity", "65537"], "65536 messages of each sender"),
        (&["--capacity", "65537"], "shared"),
        (&["--mode", "400"], "0620"),
    ] {
        let args = [&["recv", "votes", "--own"], &own(options)[..]].concat();
        scene.run(&args).code(2).prints("").complains(&[about]);
    }
    let args = ["recv", "votes", "--own", "--strategy", "kernel", "--capacity", "70000"];
    scene.run(&args).code(2).prints("").complains(&[
        "70000",
        "at most 65536",
        "shared strategy",
        "unbounded",
    ]);
    scene.run(&["recv", "votes", "--strategy", "sealed"]).code(2);
    assert!(scene.files().is_empty(), "{:?}", scene.files());
}
