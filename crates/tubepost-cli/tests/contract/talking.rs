//! `link`, `inbox` and `tell`: processes that name each other.

use std::io::Write;

use rustix::process::Signal;
use tubepost::{Domain, Link, Process, Strategy};

use crate::ends::nothing_is_left;
use crate::scene::{PATIENCE, Running, Scene, until};

/// A process that joined, and heeds signals.
pub fn start(scene: &Scene, args: &[&str]) -> Running {
    let running = scene.start_fed(args);
    // One that is dead may be called so still.
    let joined = |row: serde_json::Value| row["kind"] == "process" && row["owner"]["pid"] == running.pid();
    until("it joined", || scene.find(args[1]).is_some_and(joined));
    running
}

/// Both sides say the same about how messages travel, or nothing.
const STRATEGIES: [&[&str]; 2] = [&[], &["--strategy", "kernel"]];

/// Alice, who waits for bob, and bob.
fn talking(scene: &Scene, strategy: &[&str]) -> (Running, Running) {
    let alice = start(scene, &[&["link", "alice", "bob"], strategy].concat());
    let bob = start(scene, &[&["link", "bob", "alice"], strategy].concat());
    (alice, bob)
}

#[test]
fn lines_go_both_ways_until_one_ends() {
    for strategy in STRATEGIES {
        let scene = Scene::new();
        let (mut alice, mut bob) = talking(&scene, strategy);
        alice.input().write_all(b"good morning\nis it?\n").expect("it reads");
        assert_eq!((bob.line(), bob.line()), ("good morning".into(), "is it?".into()));
        bob.input().write_all(b"it is\n").expect("it reads");
        assert_eq!(alice.line(), "it is");
        for name in ["alice~bob", "bob~alice"] {
            let row = scene.find(name).expect("it is listed");
            let expected = if strategy.is_empty() { "shared" } else { "kernel" };
            assert_eq!((&row["kind"], &row["strategy"]), (&"link".into(), &expected.into()));
        }
        scene.run(&["stat", "bob~alice"]).code(0).quietly();

        // The end of the input is not the end.
        alice.close_input();
        bob.input().write_all(b"still there?\n").expect("it reads");
        assert_eq!(alice.line(), "still there?");
        bob.signal(Signal::TERM);
        until("bob left", || scene.find("bob").is_none()); // before its input ends too
        bob.end().code(143).quietly();
        alice.end().code(0).quietly();
        nothing_is_left(&scene);
    }
}

#[test]
fn who_is_killed_is_told_apart_from_who_ends() {
    for strategy in STRATEGIES {
        let scene = Scene::new();
        let (alice, mut bob) = talking(&scene, strategy);
        let mut alice = alice;
        bob.input().write_all(b"last words\n").expect("it reads");
        assert_eq!(alice.line(), "last words");
        bob.signal(Signal::KILL);
        alice.end().code(5).complains(&["bob", "died"]);
        bob.end();
        scene.run(&["gc"]).code(0);
        nothing_is_left(&scene);
    }
}

/// Nobody has anything more to say: then there is nothing to wait for.
#[test]
fn both_end_when_both_inputs_have_ended() {
    for strategy in STRATEGIES {
        let scene = Scene::new();
        let (mut alice, mut bob) = talking(&scene, strategy);
        alice.input().write_all(b"the last word\n").expect("it reads");
        alice.close_input();
        assert_eq!(bob.line(), "the last word");
        bob.input().write_all(b"no, mine\n").expect("it reads");
        bob.close_input();
        assert_eq!(alice.line(), "no, mine");
        alice.end().code(0).quietly();
        bob.end().code(0).quietly();
        nothing_is_left(&scene);
    }
}

#[test]
fn who_is_killed_has_died_also_for_one_who_has_nothing_more_to_say() {
    for strategy in STRATEGIES {
        let scene = Scene::new();
        let (mut alice, mut bob) = talking(&scene, strategy);
        alice.close_input();
        bob.input().write_all(b"still there?\n").expect("it reads");
        assert_eq!(alice.line(), "still there?");
        bob.signal(Signal::KILL);
        alice.end().code(5).complains(&["bob", "died"]);
        bob.end();
    }
}

#[test]
fn who_does_not_choose_a_strategy_takes_what_is_there() {
    let scene = Scene::new();
    // An inbox sets up no link of its own.
    let mut bob = start(&scene, &["inbox", "bob"]);
    let mut alice = start(&scene, &["link", "alice", "bob", "--strategy", "kernel"]);
    alice.input().write_all(b"by sealed envelope\n").expect("it reads");
    assert_eq!(bob.line(), "alice\tby sealed envelope");
    scene.run(&["tell", "carol", "bob", "as usual"]).code(0).quietly();
    assert_eq!(bob.line(), "carol\tas usual");
    alice.input().write_all(b"and another\n").expect("it reads");
    assert_eq!(bob.line(), "alice\tand another");
    bob.signal(Signal::TERM);
    bob.end().code(143).quietly();
    alice.end().code(0).quietly();
    nothing_is_left(&scene);
}

#[test]
fn two_choices_of_a_strategy_are_refused_with_both() {
    let scene = Scene::new();
    // Both use it at once: one of them is the first.
    let alice = start(&scene, &["link", "alice", "bob", "--strategy", "kernel"]);
    let bob = scene.start_fed(&["link", "bob", "alice", "--strategy", "shared"]);
    for mut running in [alice, bob] {
        let (code, said) = (running.wait(), running.complaints());
        match code {
            1 => {
                for part in
                    ["kernel", "shared", "was set up with", "but this side chose", "leave that choice out"]
                {
                    assert!(said.contains(part), "{part:?} is not in {said}");
                }
                // Of what differs only.
                assert!(
                    !["bytes", "capacity", "ways", "format"].iter().any(|it| said.contains(it)),
                    "{said}"
                );
            }
            code => assert_eq!((code, said.as_str()), (0, ""), "the other one is left alone"),
        }
    }
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
    scene.run(&["link", "me", "me"]).code(2).complains(&["itself"]);
    nothing_is_left(&scene);
}

/// Who tells something with a newline in it can't write a line in another one's name.
#[test]
fn each_line_in_an_inbox_says_who_sent_it() {
    let scene = Scene::new();
    let mut monitor = start(&scene, &["inbox", "monitor"]);
    scene.run(&["tell", "mallory", "monitor", "hi\nalice\tpay mallory", ""]).code(0).quietly();
    let lines = [monitor.line(), monitor.line(), monitor.line()];
    assert_eq!(lines, ["mallory\thi", "mallory\talice\tpay mallory", "mallory\t"]);
    monitor.signal(Signal::INT);
    monitor.end().code(130);
}

/// Programs say what their messages are.
#[test]
fn it_talks_with_programs_that_have_labels() {
    let scene = Scene::new();
    let bob = bob(&scene);
    let mut alice = start(&scene, &["link", "alice", "bob", "--timeout", "10s", "--format", "str"]);
    let link = Link::<str>::options().connect(&bob, "alice", PATIENCE).expect("she is there");
    alice.input().write_all("grüß dich\n".as_bytes()).expect("it reads");
    assert_eq!(link.recv_timeout(PATIENCE).as_deref(), Ok("grüß dich"));
    link.send("good morning").expect("she lives");
    assert_eq!(alice.line(), "good morning");
    drop(link);

    let monitor = start(&scene, &["inbox", "monitor"]);
    let mut monitor = monitor;
    bob.link::<str>("monitor").expect("it is there").send("all is well").expect("it lives");
    assert_eq!(monitor.line(), "bob\tall is well");
    let inbox = bob.inbox::<str>().expect("it has its label");
    scene.run(&["tell", "door", "bob", "open", "--format", "str"]).code(0).quietly();
    let told = inbox.recv_timeout(PATIENCE).expect("a message");
    assert_eq!((told.sender.name.as_str(), told.message.as_str()), ("door", "open"));

    let numbers = Process::options().domain(bob.domain()).join("numbers").expect("a free name");
    numbers.link::<u64>("monitor").expect("it is there").send(7).expect("it lives");
    bob.link::<str>("monitor").expect("it is there").send("go on").expect("it lives");
    assert_eq!(monitor.line(), "bob\tgo on");
    monitor.signal(Signal::INT);
    monitor.end().code(130).complains(&["numbers", "u64", "bytes of any label"]);
    let wrong = scene.run(&["tell", "window", "bob", "shut", "--format", "json"]).code(0);
    wrong.quietly();
    assert!(inbox.recv_timeout(PATIENCE).is_err_and(|error| error.to_string().contains("json")));
    alice.signal(Signal::TERM);
    alice.end().code(143);
}

#[test]
fn what_the_other_one_set_up_is_taken_over() {
    for strategy in STRATEGIES {
        let scene = Scene::new();
        let mut alice = start(&scene, &[&["link", "alice", "bob"], strategy].concat());
        alice.signal(Signal::STOP);
        let bob = bob(&scene);
        let options =
            if strategy.is_empty() { Link::options() } else { Link::options().strategy(Strategy::Kernel) };
        let link: Link<str> = options.open(&bob, "alice").expect("she is there, if only just");
        alice.signal(Signal::CONT);
        alice.input().write_all(b"hello\n").expect("it reads");
        assert_eq!(link.recv_timeout(PATIENCE).as_deref(), Ok("hello"));
        link.send("good morning").expect("she lives");
        assert_eq!(alice.line(), "good morning");
        bob.leave();
        alice.end().code(0).quietly();
    }
}

fn bob(scene: &Scene) -> Process {
    let domain = Domain::open(&scene.domain).expect("the domain");
    Process::options().domain(&domain).join("bob").expect("a free name")
}
