//! Links that end, or can't be: what was sent in vain is told, what can't be is refused at once, what lives is not removed.

use std::io::Write;

use rustix::process::Signal;
use tubepost::{Domain, Link, Process, Strategy};

use crate::ends::nothing_is_left;
use crate::scene::{Running, Scene, bare, until};
use crate::talking::start;

const STRATEGIES: [Strategy; 2] = [Strategy::Shared, Strategy::Kernel];

/// Bob, who is this process, and never receives.
fn bob(scene: &Scene) -> Process {
    let domain = Domain::open(&scene.domain).expect("the domain");
    Process::options().domain(&domain).join("bob").expect("a free name")
}

/// Alice, who has a link with him; and how many lines can wait in it.
fn alice(scene: &Scene, bob: &Process, strategy: Strategy) -> (Running, Link<[u8]>, usize) {
    let alice = start(scene, &["link", "alice", "bob", "--strategy", &strategy.to_string()]);
    let link = Link::<[u8]>::options().strategy(strategy).open(bob, "alice").expect("she is there");
    let capacity = link.receiver().capacity().expect("it has one");
    (alice, link, capacity)
}

#[test]
fn what_was_sent_in_vain_and_what_was_not_sent_is_told_with_the_counts() {
    for (strategy, ends, least) in
        STRATEGIES.into_iter().flat_map(|s| [(s, true, ""), (s, false, "at least ")])
    {
        let scene = Scene::new();
        let bob = bob(&scene);
        let (mut alice, _link, n) = alice(&scene, &bob, strategy);
        alice.input().write_all("a line\n".repeat(n + 3).as_bytes()).expect("it reads");
        scene.until_waiting("alice~bob", n as u64);
        if ends {
            alice.close_input();
        }
        bob.leave();
        assert_eq!(alice.wait(), 0, "he ended, he did not die");
        let told = format!(
            "tubepost: bob: it ended; {n} lines sent before were never received; \
             {least}3 lines of standard input were not sent\n"
        );
        assert_eq!(alice.complaints(), told);
        drop(bob);
        nothing_is_left(&scene);
    }
}

/// Also by who had nothing more to say.
#[test]
fn what_was_sent_before_the_input_ended_and_never_received_is_told() {
    for strategy in STRATEGIES {
        let scene = Scene::new();
        let bob = bob(&scene);
        let (mut alice, link, _) = alice(&scene, &bob, strategy);
        alice.input().write_all(b"a\nb\nc").expect("it reads");
        alice.close_input();
        scene.until_waiting("alice~bob", 3);
        assert_eq!(link.recv().expect("the first one"), b"a");
        until("she stopped sending", || scene.find("alice~bob").is_some_and(|row| row["depth"] == 2));
        bob.leave();
        alice.end().code(0).complains(&["bob: it ended; 2 lines sent before were never received\n"]);
        nothing_is_left(&scene);
    }
}

#[test]
fn what_a_dead_one_never_received_is_told_too() {
    for strategy in ["shared", "kernel"] {
        let scene = Scene::new();
        let mut alice = start(&scene, &["link", "alice", "bob", "--strategy", strategy]);
        let mut bob = start(&scene, &["link", "bob", "alice", "--strategy", strategy]);
        bob.input().write_all(b"last words\n").expect("it reads");
        assert_eq!(alice.line(), "last words");
        bob.signal(Signal::STOP);
        alice.input().write_all(b"a\nb\n").expect("it reads");
        scene.until_waiting("alice~bob", 2);
        bob.signal(Signal::KILL);
        alice.end().code(5).prints("").complains(&["bob", "died", "2 lines sent before were never received"]);
    }
}

#[test]
fn telling_waits_for_room_as_long_as_it_may() {
    let scene = Scene::new();
    let bob = bob(&scene);
    let texts = vec!["x"; 1025];
    let ended = scene.run(&[&["tell", "me", "bob", "--timeout", "50ms"], &texts[..]].concat());
    ended.code(3).prints("").complains(&[
        "bob: the link stayed full",
        "--timeout",
        "messages sent before: 1024",
    ]);
    let mut waits = scene.start(&[&["tell", "you", "bob"], &texts[..]].concat());
    scene.until_waiting("you~bob", 1024);
    assert!(waits.is_running(), "without a limit it waits");
    bob.leave();
    waits
        .end()
        .code(5)
        .prints("")
        .complains(&["bob: the link is closed", "1024 messages were never collected"]);
    drop(bob);
    scene.run(&["gc"]).code(0);
    nothing_is_left(&scene);
}

#[test]
fn what_can_never_be_is_not_waited_for() {
    let scene = Scene::new();
    let long = "x".repeat(65);
    let sealed = scene.run(&["link", "me", "nobody", "--strategy", "sealed"]).code(2).prints("");
    assert!(sealed.complaint().contains("shared, kernel"), "{}", sealed.complaint());
    for args in [["link", "me", &long], ["link", &long, "me"]] {
        scene.run(&args).code(2).prints("").complains(&[&long, "64 bytes"]);
    }
    scene.run(&["tell", "me", &long, "hello"]).code(2).complains(&["64 bytes"]);
    let help = Running::start(&mut bare(&["link", "--help"])).end().code(0).text();
    assert!(!help.contains("sealed"), "{help}");
    nothing_is_left(&scene);
}

#[test]
fn a_process_that_is_not_there_is_to_join_and_not_to_be_created() {
    let scene = Scene::new();
    for args in [&["tell", "me", "nobody", "hello"][..], &["link", "me", "nobody", "--timeout", "10ms"]] {
        let ended =
            scene.run(args).code(4).complains(&["no process is called \"nobody\"", "join", "tubepost inbox"]);
        assert!(!ended.complaint().contains("create"), "{}", ended.complaint());
    }
    scene.run(&["stat", "me~nobody"]).code(4).complains(&["no link is called \"me~nobody\""]);
}

#[test]
fn processes_and_links_of_the_living_are_not_removed_and_those_of_the_dead_are() {
    for strategy in ["shared", "kernel"] {
        let scene = Scene::new();
        let mut alice = start(&scene, &["link", "alice", "bob", "--strategy", strategy]);
        let bob = start(&scene, &["link", "bob", "alice", "--strategy", strategy]);
        until("the link is there", || ["alice~bob", "bob~alice"].iter().all(|it| scene.find(it).is_some()));
        let pid = bob.pid().to_string();
        for force in [&[][..], &["--force"]] {
            for (name, what) in [("bob", "is what process"), ("alice~bob", "one way of a link")] {
                let refused = scene.run(&[&["rm", name], force].concat());
                refused.code(1).prints("").complains(&[name, what, &pid, "end"]);
            }
        }
        scene.run(&["rm", "alice~nobody"]).code(4).complains(&["no link"]);
        bob.signal(Signal::STOP);
        alice.input().write_all(b"never read\n").expect("it reads");
        scene.until_waiting("alice~bob", 1);
        // First she, who would bury him.
        for mut running in [alice, bob] {
            running.signal(Signal::KILL);
            running.close_output();
            until("it is dead", || !running.is_running());
        }
        let removed = scene.run(&["rm", "alice~bob"]).code(0).prints("").complaint();
        // The kernel's messages went with both of them.
        assert!(strategy == "kernel" || removed.contains("removed with 1 message"), "{removed}");
        for name in ["bob~alice", "alice", "bob"] {
            scene.run(&["rm", name]).code(0).prints("").quietly();
        }
        scene.run(&["rm", "bob"]).code(4);
        nothing_is_left(&scene);
    }
}
