//! `link`, `inbox` and `tell`: processes that name each other.

use std::io::Write;

use rustix::process::Signal;

use crate::ends::nothing_is_left;
use crate::scene::{Running, Scene, until};

/// A process that joined, and heeds signals.
fn start(scene: &Scene, args: &[&str]) -> Running {
    let running = scene.start_fed(args);
    until("it joined", || scene.find(args[1]).is_some_and(|row| row["kind"] == "process"));
    running
}

#[test]
fn lines_go_both_ways_until_one_ends() {
    let scene = Scene::new();
    let mut alice = start(&scene, &["link", "alice", "bob"]); // waits for bob
    let mut bob = start(&scene, &["link", "bob", "alice"]);
    alice.input().write_all(b"good morning\nis it?\n").expect("it reads");
    assert_eq!((bob.line(), bob.line()), ("good morning".into(), "is it?".into()));
    bob.input().write_all(b"it is\n").expect("it reads");
    assert_eq!(alice.line(), "it is");
    let kinds = |name: &str| scene.find(name).map(|row| row["kind"].as_str().map(str::to_owned));
    assert_eq!(kinds("alice~bob"), Some(Some("link".into())));
    scene.run(&["stat", "bob~alice"]).code(0).quietly();

    // The end of the input is not the end.
    alice.close_input();
    bob.input().write_all(b"still there?\n").expect("it reads");
    assert_eq!(alice.line(), "still there?");
    bob.signal(Signal::TERM);
    bob.end().code(143).quietly();
    alice.end().code(0).quietly();
    nothing_is_left(&scene);
}

#[test]
fn who_is_killed_is_told_apart_from_who_ends() {
    let scene = Scene::new();
    let mut alice = start(&scene, &["link", "alice", "bob"]);
    let mut bob = start(&scene, &["link", "bob", "alice"]);
    bob.input().write_all(b"last words\n").expect("it reads");
    assert_eq!(alice.line(), "last words");
    bob.signal(Signal::KILL);
    alice.end().code(5).complains(&["bob", "died"]);
    bob.end();
    scene.run(&["gc"]).code(0);
    nothing_is_left(&scene);
}

#[test]
fn a_name_is_one_living_processs() {
    let scene = Scene::new();
    let monitor = start(&scene, &["inbox", "monitor"]);
    let pid = monitor.pid().to_string();
    for again in [&["inbox", "monitor"][..], &["link", "monitor", "x"], &["tell", "monitor", "x", "y"]] {
        scene.run(again).code(1).prints("").complains(&["monitor", &pid]);
    }
    scene.run(&["recv", "monitor", "--own"]).code(1).complains(&["monitor"]);
    scene.run(&["send", "monitor", "x"]).code(1).complains(&["a process", "a mailbox"]);
    scene.run(&["link", "me", "not a name"]).code(2);
    monitor.signal(Signal::KILL);
    monitor.end();
    let heir = start(&scene, &["inbox", "monitor"]);
    heir.signal(Signal::INT);
    heir.end().code(130).quietly();
    nothing_is_left(&scene);
}

#[test]
fn an_inbox_prints_who_sent_what() {
    let scene = Scene::new();
    let mut monitor = start(&scene, &["inbox", "monitor"]);
    scene.run(&["tell", "door", "monitor", "open", "two words", ""]).code(0).prints("").quietly();
    scene.run(&["tell", "window", "monitor", "shut\tfast"]).code(0).quietly();
    for line in ["door\topen", "door\ttwo words", "door\t", "window\tshut\tfast"] {
        assert_eq!(monitor.line(), line);
    }
    // A process that was told something before it looked.
    monitor.signal(Signal::STOP);
    scene.run(&["tell", "door", "monitor", "while you slept"]).code(0).quietly();
    scene.run(&["tell", "door", "monitor", "again"]).code(0).quietly();
    monitor.signal(Signal::CONT);
    let mut lines = [monitor.line(), monitor.line()];
    lines.sort();
    assert_eq!(lines, ["door\tagain", "door\twhile you slept"]);
    monitor.signal(Signal::TERM);
    monitor.end().code(143).quietly();
    nothing_is_left(&scene);
}

#[test]
fn who_is_not_there_is_waited_for_by_link_only() {
    let scene = Scene::new();
    scene.run(&["tell", "me", "nobody", "hello"]).code(4).complains(&["nobody"]);
    scene.run(&["link", "me", "nobody", "--timeout", "50ms"]).code(4).complains(&["nobody"]);
    scene.run(&["inbox", "me", "--timeout", "50ms"]).code(3).prints("");
    scene.create("box", &[]);
    scene.run(&["tell", "me", "box", "hello"]).code(1).complains(&["a mailbox", "a process"]);
    scene.run(&["rm", "box"]).code(0);
    scene.run(&["link", "me", "nobody", "--strategy", "kernel"]).code(1).complains(&["shared memory"]);
    scene.run(&["link", "me", "me"]).code(2).complains(&["itself"]);
    nothing_is_left(&scene);
}
