//! How things end: signals, deaths, pipes that close. Whatever happens, nothing is left behind and everybody
//! is told.

use std::io::Write;
use std::process::Stdio;

use rustix::process::Signal;

use crate::scene::{Running, Scene, is_at_work, until};

/// After `gc`, an empty domain holds at most three regular files, and nothing that it had to remove.
pub fn nothing_is_left(scene: &Scene) {
    assert!(scene.list().is_empty(), "ls shows {:?}", scene.list());
    let swept = scene.run(&["gc"]).code(0).quietly();
    assert!(!swept.text().contains("removed"), "{}", swept.text());
    assert!(scene.files().len() <= 3, "{:?}", scene.files());
}

#[test]
fn signals_end_a_receiver_that_waits() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let scene = Scene::new();
        let mut owner = scene.own("jobs", &[]);
        scene.run(&["send", "jobs", "a"]).code(0);
        assert_eq!(owner.line(), "a");
        owner.signal(signal);
        owner.end().code(code).prints("").quietly();
        nothing_is_left(&scene);
        scene.run(&["send", "jobs", "b"]).code(4).complains(&["jobs"]);
    }
}

#[test]
fn a_signal_ends_a_receiver_that_is_stuck_writing() {
    let scene = Scene::new();
    // Nobody empties this pipe: once it is full, the receiver is stuck.
    let mut owner = scene.own("jobs", &["--capacity", "4"]);
    let sender = scene.start_fed(&["send", "jobs"]);
    let mut sender = flood(sender);
    until("sender and receiver are stuck", || scene.find("jobs").is_some_and(|row| row["depth"] == 4));
    owner.signal(Signal::TERM);
    assert_eq!(owner.wait(), 143);
    assert_eq!(sender.wait(), 5, "the sender is told");
    nothing_is_left(&scene);
}

#[test]
fn signals_end_a_sender_that_waits() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let scene = Scene::new();
        let owner = scene.own("jobs", &["--capacity", "1", "--count", "2"]);
        owner.signal(Signal::STOP);
        // One waits for room, one for its input.
        scene.run(&["send", "jobs", "a"]).code(0);
        let waiting_for_room = scene.start(&["send", "jobs", "b"]);
        let waiting_for_input = scene.start_fed(&["send", "jobs"]);
        for mut sender in [waiting_for_room, waiting_for_input] {
            until("it is at work", || is_at_work(sender.pid()));
            sender.signal(signal);
            assert_eq!(sender.wait(), code);
            assert_eq!(sender.complaints(), "");
        }
        owner.signal(Signal::CONT);
        scene.run(&["send", "jobs", "c"]).code(0);
        owner.end().code(0).prints("a\nc\n");
        nothing_is_left(&scene);
    }
}

#[test]
fn an_owner_that_is_killed_takes_its_mailbox_along() {
    let scene = Scene::new();
    let owner = scene.own("jobs", &["--capacity", "2"]);
    owner.signal(Signal::STOP);
    scene.run(&["send", "jobs", "a"]).code(0);
    // One sender waits for room, one for its input, one for both by and by.
    let full = scene.start(&["send", "jobs", "b", "c", "d"]);
    scene.until_waiting("jobs", 2);
    let idle = scene.start_fed(&["send", "jobs"]);
    let mut streaming = flood(scene.start_fed(&["send", "jobs"]));
    until("they are at work", || is_at_work(idle.pid()) && is_at_work(streaming.pid()));
    owner.signal(Signal::KILL);
    full.end().code(5).prints("").complains(&[
        "jobs",
        "2 messages were never collected",
        "messages sent before: 1",
    ]);
    assert_eq!(streaming.wait(), 5);
    let mut idle = idle;
    assert_eq!(idle.wait(), 5, "even though nothing came on its input");
    assert!(
        idle.complaints().contains("2 messages were never collected"),
        "everyone is told the same number"
    );

    scene.run(&["send", "jobs", "x"]).code(4).prints("").complains(&["jobs"]);
    scene.run(&["stat", "jobs"]).code(4);
    let _again = scene.own("jobs", &[]);
    scene.run(&["send", "jobs", "x"]).code(0);
}

#[test]
fn an_owner_that_ends_in_good_order_does_not_disturb_a_sender_that_is_done() {
    // The owner has all it wanted and ends while the sender has not seen the end of its input yet.
    let scene = Scene::new();
    for _ in 0..20 {
        let owner = scene.own("jobs", &["--count", "2"]);
        let sent = scene.feed(&["send", "jobs"], b"a\nb\n");
        owner.end().code(0).prints("a\nb\n");
        sent.code(0).quietly();
    }
}

#[test]
fn a_sender_that_goes_on_after_its_owner_ended_is_told() {
    let scene = Scene::new();
    let owner = scene.own("jobs", &["--count", "1"]);
    let mut sender = scene.start_fed(&["send", "jobs"]);
    sender.input().write_all(b"a\n").expect("it reads");
    owner.end().code(0).prints("a\n");
    let _ = sender.input().write_all(b"b\n");
    sender.end().code(5).complains(&["jobs", "closed", "messages sent before: 1"]);
}

#[test]
fn a_closed_pipe_ends_a_receiver_quietly() {
    let scene = Scene::new();
    // In a pause …
    let mut owner = scene.own("jobs", &[]);
    scene.run(&["send", "jobs", "a"]).code(0);
    assert_eq!(owner.line(), "a");
    owner.close_output();
    assert_eq!(owner.wait(), 0);
    assert_eq!(owner.complaints(), "");
    nothing_is_left(&scene);

    // … and in mid-stream.
    let mut owner = scene.own("jobs", &[]);
    let mut sender = flood(scene.start_fed(&["send", "jobs"]));
    assert_eq!(owner.line(), "y");
    owner.close_output();
    assert_eq!(owner.wait(), 0);
    assert_eq!(owner.complaints(), "");
    assert_eq!(sender.wait(), 5);
    nothing_is_left(&scene);
}

#[test]
fn a_closed_pipe_ends_everything_else_quietly_too() {
    let scene = Scene::new();
    let _owner = scene.own("jobs", &[]);
    for args in [
        &["ls"][..],
        &["ls", "--json"],
        &["stat", "jobs"],
        &["completions", "bash"],
        &["man"],
        &["--help"],
        &["gc"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let ended = Running::start(scene.command(args).stdout(Stdio::from(writer))).end();
        assert_eq!(ended.complaint(), "", "{args:?}");
        ended.code(0);
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let scene = Scene::new();
    let _owner = scene.own("jobs", &[]);
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let ended = Running::start(scene.command(&["ls"]).stdout(full)).end();
    ended.code(1).complains(&["standard output"]);
}

#[test]
fn senders_that_are_killed_are_swept() {
    let scene = Scene::new();
    let mut owner = scene.own("jobs", &[]);
    for _ in 0..5 {
        let mut sender = scene.start_fed(&["send", "jobs"]);
        sender.input().write_all(b"a\n").expect("it reads");
        assert_eq!(owner.line(), "a");
        sender.signal(Signal::KILL);
    }
    scene.run(&["gc"]).code(0).quietly();
    scene.run(&["send", "jobs", "b"]).code(0);
    assert_eq!(owner.line(), "b");
    owner.signal(Signal::TERM);
    owner.end().code(143);
    nothing_is_left(&scene);
}

/// Gives a sender more to do than it can ever finish.
pub fn flood(mut sender: Running) -> Running {
    let mut input = sender.take_input();
    // It ends with the sender, whose end of the pipe closes.
    std::thread::spawn(move || while input.write_all(&b"y\n".repeat(4096)).is_ok() {});
    sender
}
