//! `recv`: what it prints, when it ends, and how.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::scene::{Scene, fields};

#[test]
fn it_ends_after_the_count() {
    let scene = Scene::new();
    let owner = scene.own("jobs", &["--count", "2"]);
    scene.run(&["send", "jobs", "a", "b"]).code(0);
    owner.end().code(0).prints("a\nb\n").quietly();
    assert!(scene.find("jobs").is_none(), "the mailbox ends with its owner");
    scene.run(&["recv", "jobs", "--own", "--count", "0"]).code(0).prints("");
}

#[test]
fn a_message_is_printed_at_once() {
    let scene = Scene::new();
    let mut owner = scene.own("jobs", &[]);
    for text in ["a", "b"] {
        scene.run(&["send", "jobs", text]).code(0);
        assert_eq!(owner.line(), text);
    }
}

#[test]
fn no_wait_finds_nothing_in_a_new_mailbox() {
    let scene = Scene::new();
    scene.run(&["recv", "jobs", "--own", "--no-wait"]).code(3).prints("").complains(&["jobs", "no message"]);
    scene.run(&["recv", "jobs", "--own", "--no-wait", "--count", "2"]).code(3).prints("");
    assert!(scene.list().is_empty());
}

#[test]
fn the_timeout_is_for_each_message() {
    let scene = Scene::new();
    let begin = Instant::now();
    scene.run(&["recv", "jobs", "--own", "--timeout", "200ms"]).code(3).prints("").complains(&["no message"]);
    assert!(begin.elapsed() >= Duration::from_millis(200), "it waited only {:?}", begin.elapsed());

    let owner = scene.own("jobs", &["--timeout", "2s", "--count", "5"]);
    scene.run(&["send", "jobs", "a", "b"]).code(0);
    owner.end().code(3).prints("a\nb\n").complains(&["no message"]);
}

#[test]
fn raw_puts_nothing_after_a_message() {
    let scene = Scene::new();
    let owner = scene.own("jobs", &["--count", "3", "--raw"]);
    scene.run(&["send", "jobs", "a", "b\n", "c"]).code(0);
    owner.end().code(0).prints("ab\nc");
}

#[test]
fn null_puts_nul_after_a_message() {
    let scene = Scene::new();
    let owner = scene.own("jobs", &["--count", "2", "-0"]);
    scene.run(&["send", "jobs", "a\nb", ""]).code(0);
    owner.end().code(0).prints("a\nb\0\0");
}

#[test]
fn json_tells_who_sent_what() {
    let scene = Scene::new();
    let owner = scene.own("jobs", &["--count", "4", "--json"]);
    let sender = scene.start(&["send", "jobs", "grüße \"x\"\n", ""]);
    let pid = sender.pid();
    sender.end().code(0);
    scene.feed(&["send", "--whole", "jobs"], b"\xff\x00").code(0);
    scene.run(&["send", "jobs", "last"]).code(0);

    let text = owner.end().code(0).text();
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    assert_eq!(lines.len(), 4);
    for line in &lines {
        let content = if line["text"].is_string() { "text" } else { "base64" };
        let mut expected = ["redelivered", "sender", "seq", content];
        expected.sort_unstable();
        assert_eq!(fields(line), expected);
        assert_eq!(fields(&line["sender"]), ["name", "pid"]);
        assert_eq!(line["redelivered"], 0);
    }
    assert_eq!(lines[0]["text"], "grüße \"x\"\n");
    assert_eq!(lines[0]["sender"], json!({"pid": pid, "name": "tubepost"}));
    assert_eq!(lines[1]["text"], "");
    assert_eq!(lines[2]["base64"], "/wA=");
    let seqs: Vec<u64> = lines.iter().map(|line| line["seq"].as_u64().expect("a number")).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "one after the other: {seqs:?}");
    assert_ne!(lines[3]["sender"]["pid"], pid);
}

#[test]
fn the_capacity_is_exact() {
    for strategy in ["shared", "kernel"] {
        let scene = Scene::new();
        let owner = scene.own("jobs", &["--capacity", "3", "--strategy", strategy]);
        owner.signal(rustix::process::Signal::STOP);
        scene.run(&["send", "--no-wait", "jobs", "a", "b", "c"]).code(0);
        scene.run(&["send", "--no-wait", "jobs", "d"]).code(3);
        let stat = scene.find("jobs").expect("the mailbox");
        assert_eq!((&stat["capacity"], &stat["depth"]), (&json!(3), &json!(3)), "a stopped owner is alive");
        assert_eq!(stat["strategy"], strategy);
        let of_strategy = if strategy == "kernel" { "copied by the kernel" } else { "shared memory" };
        assert!(scene.run(&["stat", "jobs"]).code(0).text().contains(of_strategy));
        owner.signal(rustix::process::Signal::CONT);
        scene.until_waiting("jobs", 0);
    }
}

#[test]
fn what_cannot_be_is_usage() {
    let scene = Scene::new();
    for (args, about) in [
        (&["recv", "jobs", "--capacity", "5"][..], "--own"),
        (&["recv", "jobs", "--max-message", "5"], "--own"),
        (&["recv", "jobs", "--strategy", "kernel"], "--own"),
        (&["recv", "jobs", "--own", "--strategy", "kernel", "--capacity", "unbounded"], "shared"),
        (&["recv", "jobs", "--own", "--capacity", "16777217"], "16777217"),
        (&["recv", "jobs", "--own", "--capacity", "18446744073709551615"], "capacity"),
        (&["recv", "jobs", "--own", "--max-message", "1073741825"], "1073741824"),
        (&["recv", "jobs", "--own", "--max-message", "1TiB"], "1073741824"),
        (&["recv", "jobs", "--own", "--max-message", "1PiB"], "64KiB"),
        (&["recv", "jobs", "--own", "--max-message", "99999999999GiB"], "64KiB"),
        (&["recv", "jobs", "--own", "--timeout", "5"], "100ms"),
        (&["recv", "jobs", "--own", "--timeout", "1s", "--no-wait"], "--no-wait"),
        (&["recv", "jobs", "--own", "--raw", "--json"], "--json"),
        (&["recv", "jobs", "--own", "--count", "-1"], "-1"),
        (&["recv", "--own"], "NAME"),
        (&["send"], "NAME"),
        (&["send", "jobs", "--whole", "text"], "--whole"),
        (&["send", "jobs", "--timeout", "1s", "--no-wait"], "--no-wait"),
        (&["stat"], "NAME"),
        (&["create"], "NAME"),
        (&["rm"], "NAME"),
        (&["shout", "jobs"], "shout"),
        (&["ls", "--loud"], "--loud"),
        (&[], "Usage"),
    ] {
        let ended = scene.run(args).code(2).prints("");
        assert!(ended.complaint().contains(about), "{args:?}: {about:?} is not in {:?}", ended.complaint());
    }
    assert!(scene.files().is_empty(), "nothing was made");
}

#[test]
fn a_name_has_one_owner() {
    let scene = Scene::new();
    let owner = scene.own("jobs", &[]);
    let second = scene.run(&["recv", "jobs", "--own"]);
    second.code(1).prints("").complains(&["jobs", &owner.pid().to_string()]);
    let _other = scene.own("jobs/urgent", &[]);
    assert_eq!(scene.list().len(), 2, "a and a/b coexist");
}
