//! Receivers of a mailbox that the system owns: they share the work, and whatever becomes of one of them,
//! a message in hand is not lost.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tubepost::{Domain, Mailbox};

use crate::ends::nothing_is_left;
use crate::scene::{Running, Scene, is_at_work, until};

#[test]
fn every_form_is_as_for_ones_own() {
    let scene = Scene::new();
    scene.create("jobs", &[]);
    for ack in [&[][..], &["--ack"]] {
        let recv = |options: &[&str]| scene.run(&[&["recv", "jobs"], ack, options].concat());
        let send = |texts: &[&str]| drop(scene.run(&[&["send", "jobs"], texts].concat()).code(0));
        send(&["a", "b\n", "c"]);
        recv(&["--count", "2", "--raw"]).code(0).prints("ab\n").quietly();
        recv(&["--count", "1", "-0"]).code(0).prints("c\0");
        recv(&["--count", "0"]).code(0).prints("");
        recv(&["--no-wait"]).code(3).prints("").complains(&["jobs", "no message"]);
        let begin = Instant::now();
        recv(&["--timeout", "200ms"]).code(3).prints("").complains(&["no message came"]);
        assert!(begin.elapsed() >= Duration::from_millis(200), "it waited only {:?}", begin.elapsed());
        send(&["d", "e", "f"]);
        recv(&["--no-wait"]).code(0).prints("d\ne\nf\n");
        send(&["g"]);
        recv(&["--no-wait", "--count", "2"]).code(3).prints("g\n");
        send(&["h"]);
        recv(&["--timeout", "1s", "--count", "2"]).code(3).prints("h\n");
        let sender = scene.start(&["send", "jobs", "grüße"]);
        let pid = sender.pid();
        sender.end().code(0);
        scene.feed(&["send", "jobs", "--whole"], b"\xff\x00").code(0);
        let lines = recv(&["--count", "2", "--json"]).code(0).text();
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!((&lines[0]["text"], &lines[1]["base64"]), (&"grüße".into(), &"/wA=".into()));
        assert_eq!(
            (&lines[0]["sender"]["pid"], &lines[0]["sender"]["name"]),
            (&pid.into(), &"tubepost".into())
        );
        assert_eq!(lines[1]["seq"].as_u64(), lines[0]["seq"].as_u64().map(|seq| seq + 1));
        assert_eq!((&lines[0]["redelivered"], &lines[1]["redelivered"]), (&0.into(), &0.into()));
    }
    assert_eq!(scene.find("jobs").expect("the mailbox")["held"], 0);
}

#[test]
fn the_format_is_taken_over_or_must_be_equal() {
    let scene = Scene::new();
    scene.create("jobs", &["--format", "job/v2"]);
    scene.run(&["send", "jobs", "a", "b"]).code(0);
    scene.run(&["recv", "jobs", "--format", "job/v1"]).code(1).prints("").complains(&["job/v1", "job/v2"]);
    scene.run(&["recv", "jobs", "--format", ""]).code(1).complains(&["job/v2"]);
    scene.run(&["recv", "jobs", "--count", "1", "--format", "job/v2"]).code(0).prints("a\n");
    scene.run(&["recv", "jobs", "--count", "1"]).code(0).prints("b\n");

    let domain = Domain::open(&scene.domain).expect("the domain");
    Mailbox::<u64>::options().domain(&domain).create("numbers").expect("a mailbox");
    scene.run(&["recv", "numbers"]).code(1).prints("").complains(&["numbers", "u64", "bytes"]);
}

#[test]
fn ack_works_in_a_mailbox_of_ones_own() {
    let scene = Scene::new();
    let owner = scene.own("jobs", &["--ack", "--count", "3"]);
    scene.run(&["send", "jobs", "a", "b", "c"]).code(0);
    owner.end().code(0).prints("a\nb\nc\n").quietly();
    nothing_is_left(&scene);

    let mut owner = scene.own("jobs", &["--ack"]);
    scene.run(&["send", "jobs", "a"]).code(0);
    assert_eq!(owner.line(), "a");
    owner.signal(Signal::TERM);
    owner.end().code(143).quietly();
    nothing_is_left(&scene);
}

#[test]
fn a_message_is_printed_at_once() {
    let scene = Scene::new();
    scene.create("jobs", &[]);
    let mut receiver = scene.receive("jobs", &["--ack"]);
    for text in ["a", "b"] {
        scene.run(&["send", "jobs", text]).code(0);
        assert_eq!(receiver.line(), text);
    }
    until("both are accepted", || {
        let row = scene.find("jobs").expect("the mailbox");
        row["held"] == 0 && row["received"] == 2
    });
}

#[test]
fn each_message_goes_to_exactly_one() {
    const EACH: usize = 1500;
    for ack in [&[][..], &["--ack"]] {
        let scene = Scene::new();
        scene.create("jobs", &["--capacity", "16"]);
        let receivers: Vec<Running> = (0..3).map(|_| scene.receive("jobs", ack)).collect();
        std::thread::scope(|scope| {
            for who in ['a', 'b'] {
                let scene = &scene;
                let lines: Vec<u8> = (0..EACH).flat_map(|i| format!("{who}{i}\n").into_bytes()).collect();
                scope.spawn(move || scene.feed(&["send", "jobs"], &lines).code(0));
            }
        });
        until("all were received", || {
            scene.find("jobs").is_some_and(|row| row["received"] == 2 * EACH as u64)
        });
        scene.run(&["rm", "jobs"]).code(0).quietly();
        let mut came = HashMap::new();
        for receiver in receivers {
            let ended = receiver.end().code(5);
            for line in ended.text().lines() {
                *came.entry(line.to_string()).or_insert(0) += 1;
            }
        }
        assert_eq!(came.len(), 2 * EACH, "each came");
        assert!(came.values().all(|&times| times == 1), "and only once");
    }
}

/// A receiver that holds a message: it is stuck writing it to a pipe that nobody empties.
fn stuck(scene: &Scene, options: &[&str]) -> Running {
    let receiver = scene.receive("jobs", options);
    let long = "x".repeat(LONG);
    scene.feed(&["send", "jobs", "--whole"], long.as_bytes()).code(0);
    until("it is in hand", || scene.find("jobs").is_some_and(|row| row["held"] == 1));
    assert_eq!(scene.find("jobs").expect("the mailbox")["depth"], 0);
    receiver
}

const LONG: usize = 500_000;

/// The next receiver gets the message that was in hand, marked, and there is nothing else.
fn comes_again(scene: &Scene) {
    let again = scene.run(&["recv", "jobs", "--ack", "--json", "--count", "1", "--timeout", "10s"]).code(0);
    let line = again.json();
    assert_eq!(line["redelivered"], 1);
    assert_eq!(line["text"].as_str().map(str::len), Some(LONG));
    scene.run(&["recv", "jobs", "--ack", "--no-wait"]).code(3);
    let row = scene.find("jobs").expect("it stays");
    assert_eq!([&row["depth"], &row["held"], &row["sent"], &row["received"]], [0, 0, 1, 1]);
}

#[test]
fn a_message_in_the_hand_of_the_dead_comes_again() {
    let scene = Scene::new();
    scene.create("jobs", &[]);
    let mut holder = stuck(&scene, &["--ack"]);
    holder.signal(Signal::KILL);
    holder.close_output();
    until("it is dead", || !holder.is_running());
    comes_again(&scene);
}

#[test]
fn who_waits_already_gets_the_message_of_the_dead() {
    let scene = Scene::new();
    scene.create("jobs", &[]);
    let holder = stuck(&scene, &["--ack"]);
    let waiting = scene.receive("jobs", &["--ack", "--json", "--count", "1"]);
    let killed = Instant::now();
    holder.signal(Signal::KILL);
    let line = waiting.end().code(0).json();
    assert_eq!((&line["redelivered"], line["text"].as_str().map(str::len)), (&1.into(), Some(LONG)));
    assert!(killed.elapsed() < Duration::from_secs(5), "it took {:?}", killed.elapsed());
}

#[test]
fn a_message_that_a_closed_pipe_would_not_take_comes_again() {
    let scene = Scene::new();
    scene.create("jobs", &[]);
    let mut holder = stuck(&scene, &["--ack"]);
    holder.close_output();
    assert_eq!(holder.wait(), 0);
    assert_eq!(holder.complaints(), "");
    comes_again(&scene);

    // In a pause it ends quietly too, and nothing is taken for nobody.
    let mut idle = scene.receive("jobs", &["--ack"]);
    idle.close_output();
    assert_eq!(idle.wait(), 0);
    assert_eq!(idle.complaints(), "");
    scene.run(&["send", "jobs", "a"]).code(0);
    scene.run(&["recv", "jobs", "--no-wait"]).code(0).prints("a\n");
}

#[test]
fn an_owner_counts_what_its_closed_pipe_would_not_take() {
    let scene = Scene::new();
    let mut owner = scene.own("jobs", &["--ack"]);
    let sender = scene.start_fed(&["send", "jobs"]);
    until("it is at work", || is_at_work(sender.pid()));
    scene.feed(&["send", "jobs", "--whole"], &[b'x'; LONG]).code(0);
    scene.run(&["send", "jobs", "a", "b"]).code(0);
    until("one is in hand", || scene.find("jobs").is_some_and(|row| row["held"] == 1));
    owner.close_output();
    assert_eq!(owner.wait(), 0);
    let mut sender = sender;
    assert_eq!(sender.wait(), 5);
    assert!(sender.complaints().contains("3 messages were never collected"), "that in hand and two more");
    nothing_is_left(&scene);
}

#[test]
fn a_full_disk_keeps_the_message_in_the_queue() {
    let scene = Scene::new();
    scene.create("jobs", &[]);
    scene.run(&["send", "jobs", "a"]).code(0);
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let ended = Running::start(scene.command(&["recv", "jobs", "--ack"]).stdout(full)).end();
    ended.code(1).complains(&["standard output"]);
    let line = scene.run(&["recv", "jobs", "--json", "--no-wait"]).code(0).json();
    assert_eq!((&line["text"], &line["redelivered"]), (&"a".into(), &1.into()));
}

#[test]
fn a_signal_ends_a_receiver_and_leaves_nothing_but_the_mailbox() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        for ack in [&[][..], &["--ack"]] {
            let scene = Scene::new();
            scene.create("jobs", &[]);
            let mut receiver = scene.receive("jobs", ack);
            let other = scene.receive("jobs", &["--count", "1"]);
            receiver.signal(signal);
            assert_eq!(receiver.wait(), code);
            assert_eq!(receiver.complaints(), "");
            scene.run(&["send", "jobs", "a"]).code(0);
            other.end().code(0).prints("a\n").quietly();
            scene.run(&["gc"]).code(0).prints("nothing to remove\n").quietly();
            assert_eq!(scene.list().len(), 1);
        }
        let scene = Scene::new();
        scene.create("jobs", &[]);
        let mut holder = stuck(&scene, &["--ack"]);
        holder.signal(signal);
        assert_eq!(holder.wait(), code);
        comes_again(&scene);
    }
}

#[test]
fn a_receiver_that_is_killed_disturbs_nobody() {
    let scene = Scene::new();
    scene.create("jobs", &["--capacity", "4"]);
    // One that has nothing; one that never got to it; and in the middle of a stream.
    for text in ["a", "b", "c"] {
        let killed = scene.receive("jobs", &[]);
        let other = scene.receive("jobs", &["--count", "1"]);
        killed.signal(Signal::STOP);
        killed.signal(Signal::KILL);
        scene.run(&["send", "jobs", text]).code(0);
        other.end().code(0).prints(format!("{text}\n")).quietly();
    }
    let stopped = scene.receive("jobs", &[]);
    stopped.signal(Signal::STOP);
    scene.run(&["send", "jobs", "a", "b", "c"]).code(0);
    stopped.signal(Signal::KILL);
    scene.run(&["recv", "jobs", "--count", "3", "--timeout", "10s"]).code(0).prints("a\nb\nc\n");

    let lines: Vec<u8> = (0..3000).flat_map(|i| format!("{i}\n").into_bytes()).collect();
    let mut killed = scene.receive("jobs", &["--ack"]);
    let mut came: Vec<u32> = Vec::new();
    let survivor = std::thread::scope(|scope| {
        scope.spawn(|| scene.feed(&["send", "jobs"], &lines).code(0));
        came.push(killed.line().parse().expect("a number"));
        let survivor = scene.receive("jobs", &["--ack"]);
        killed.signal(Signal::KILL);
        survivor
    });
    until("all the others were received", || {
        scene.find("jobs").is_some_and(|row| row["depth"] == 0 && row["held"] == 0)
    });
    scene.run(&["rm", "jobs"]).code(0).quietly();
    // What the dead one wrote, or had in hand.
    let rest = killed.rest();
    for line in survivor.end().code(5).text().lines().chain(rest.lines()) {
        came.push(line.parse().expect("a number"));
    }
    came.sort_unstable();
    let doubles = came.len() - 3000;
    came.dedup();
    assert_eq!(came, (0..3000).collect::<Vec<_>>(), "every one came");
    assert!(doubles <= 1, "{doubles} came twice: only the one in hand may");
}
