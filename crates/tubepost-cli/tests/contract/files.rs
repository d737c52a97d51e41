//! `create --strategy file`, `recv --cursor`, `journal`: messages that outlive the machine's running.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;

use crate::scene::{Scene, fields};

/// Everything the contract names of `log`, sorted.
const FIELDS: [&str; 9] =
    ["bytes", "cursors", "directory", "durable", "first", "fsync", "max_bytes", "next", "segments"];

/// A directory of the test's own, removed at its end, with whatever is below.
struct Files(PathBuf);

impl Files {
    fn beside(scene: &Scene) -> Files {
        let mut path = scene.domain.clone().into_os_string();
        path.push("-files");
        Files(path.into())
    }

    fn arg(&self) -> &str {
        self.0.to_str().expect("our own path")
    }

    fn records(&self) -> PathBuf {
        self.0.join(format!("{:020}.log", 0))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a restart of the machine leaves of the domain.
fn restart(scene: &Scene) {
    for file in scene.files() {
        std::fs::remove_file(scene.domain.join(file)).expect("ours");
    }
}

fn stat(scene: &Scene) -> Value {
    scene.run(&["stat", "orders", "--json"]).code(0).quietly().json()
}

/// Spoils a byte of the message with this text.
fn spoil(path: &Path, text: &str) {
    let bytes = std::fs::read(path).expect("readable");
    let at = bytes.windows(text.len()).position(|window| window == text.as_bytes()).expect("it is there");
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("ours");
    file.write_all_at(b"#", at as u64).expect("ours");
}

#[test]
fn messages_are_there_after_a_restart() {
    let scene = Scene::new();
    let files = Files::beside(&scene);
    let options = ["--strategy", "file", "--dir", files.arg(), "--fsync", "each"];
    scene.create("orders", &options);
    scene.run(&["send", "orders", "one", "two", "three"]).code(0).quietly();
    scene.run(&["recv", "orders", "--count", "1"]).code(0).prints("one\n").quietly();
    restart(&scene);
    scene.run(&["send", "orders", "four"]).code(4);
    scene.create("orders", &options[..4]);
    scene.run(&["send", "orders", "four"]).code(0).quietly();
    let shown = stat(&scene);
    assert_eq!((&shown["strategy"], &shown["depth"]), (&"file".into(), &3.into()));
    assert_eq!(fields(&shown["log"]), FIELDS);
    assert_eq!((&shown["log"]["fsync"], &shown["log"]["durable"]), (&"each".into(), &4.into()));
    scene.run(&["recv", "orders", "--no-wait"]).code(0).prints("two\nthree\nfour\n").quietly();
    scene.run(&["create", "orders", "--strategy", "file", "--dir", files.arg(), "--fsync", "never"]).code(2);
    scene.run(&["rm", "orders"]).code(0);
    assert!(!files.0.exists(), "nothing is left");
}

#[test]
fn by_default_it_is_found_by_its_name() {
    let scene = Scene::new();
    let files = Files::beside(&scene);
    let run = |args: &[&str]| {
        let mut command = scene.command(args);
        crate::scene::Running::start(command.env("XDG_STATE_HOME", files.arg())).end()
    };
    run(&["create", "orders", "--strategy", "file"]).code(0).quietly();
    run(&["send", "orders", "one"]).code(0).quietly();
    for again in [["recv", "orders", "--count=1"], ["ls", "--json", "--json"], ["stat", "orders", "--json"]] {
        restart(&scene);
        if again[0] == "ls" {
            assert_eq!(run(&["ls", "--json"]).code(0).quietly().json()[0]["name"], "orders");
        } else {
            run(&again).code(0).quietly();
        }
        run(&["send", "orders", "one more"]).code(0).quietly();
    }
    restart(&scene);
    run(&["rm", "orders"]).code(0);
    run(&["recv", "orders", "--no-wait"]).code(4);
}

#[test]
fn a_cursor_sees_everything() {
    let scene = Scene::new();
    let files = Files::beside(&scene);
    scene.create("orders", &["--strategy", "file", "--dir", files.arg()]);
    scene.run(&["send", "orders", "one", "two", "three"]).code(0).quietly();
    scene.run(&["recv", "orders", "--no-wait"]).code(0).prints("one\ntwo\nthree\n");
    let read = |options: &[&str]| scene.run(&[&["recv", "orders", "--cursor"], options].concat());
    read(&["audit", "--count", "2"]).code(0).prints("one\ntwo\n").quietly();
    read(&["audit", "--no-wait"]).code(0).prints("three\n").quietly();
    read(&["audit", "--no-wait"]).code(3).prints("");
    read(&["audit", "--from", "1", "--no-wait"]).code(0).prints("two\nthree\n");
    read(&["late", "--from", "end", "--no-wait"]).code(3).prints("");
    read(&["late", "--from", "start", "--count", "1"]).code(0).prints("one\n");
    read(&["late", "--from", "1h", "--count", "1"]).code(0).prints("one\n");
    read(&["late", "--from", "yesterday"]).code(2);
    let cursors = stat(&scene)["log"]["cursors"].clone();
    let shown =
        |at: usize| (cursors[at]["name"].clone(), cursors[at]["next"].clone(), cursors[at]["lag"].clone());
    assert_eq!(shown(0), ("audit".into(), 3.into(), 0.into()));
    assert_eq!(shown(1), ("late".into(), 1.into(), 2.into()));
    // One that waits is woken, and ends when it is told to.
    let mut running = scene.start(&["recv", "orders", "--cursor", "audit"]);
    scene.run(&["send", "orders", "four"]).code(0).quietly();
    assert_eq!(running.line(), "four");
    running.signal(Signal::TERM);
    running.end().code(143);
    scene.create("other", &[]);
    scene.run(&["recv", "other", "--cursor", "audit", "--no-wait"]).code(2);
}

#[test]
fn what_is_damaged_is_named_and_passed_over() {
    let scene = Scene::new();
    let files = Files::beside(&scene);
    scene.create("orders", &["--strategy", "file", "--dir", files.arg()]);
    scene.run(&["send", "orders", "message one", "message two", "message three"]).code(0).quietly();
    scene.run(&["journal", "verify", "orders"]).code(0).quietly();
    spoil(&files.records(), "message two");
    scene.run(&["journal", "verify", "orders"]).code(1).complains(&["message 1 is damaged"]);
    let dumped = scene.run(&["journal", "dump", "orders"]).code(1);
    assert_eq!(dumped.text().lines().filter(|line| line.ends_with("message three")).count(), 1);
    let received = scene.run(&["recv", "orders", "--no-wait"]).code(0).complains(&["message 1 "]);
    received.prints("message one\nmessage three\n");
    scene.run(&["journal", "repair", "orders"]).code(0).quietly();
    scene.run(&["journal", "verify", "orders"]).code(0).quietly();
    let lines = scene.run(&["journal", "dump", "orders", "--from", "2", "--json"]).code(0).quietly();
    let line: Value = serde_json::from_str(&lines.text()).expect("a line of JSON");
    assert_eq!((&line["seq"], &line["text"]), (&2.into(), &"message three".into()));
    assert_eq!(line["standing"], "received");
    scene.run(&["send", "orders", "it goes on"]).code(0).quietly();
    scene.run(&["recv", "orders", "--count", "1"]).code(0).prints("it goes on\n").quietly();
}

#[test]
fn what_is_only_for_files_is_refused_elsewhere() {
    let scene = Scene::new();
    scene.run(&["create", "orders", "--fsync", "each"]).code(2);
    scene.run(&["create", "orders", "--strategy", "file", "--fsync", "sometimes"]).code(2);
    scene.run(&["create", "orders", "--strategy", "file", "--retain", "much"]).code(2);
    let files = Files::beside(&scene);
    scene.run(&["create", "orders", "--strategy", "file", "--dir", files.arg(), "--capacity", "0"]).code(2);
    scene.create("plain", &[]);
    scene.run(&["journal", "verify", "plain"]).code(2);
    scene.run(&["journal", "verify", "nothing"]).code(4);
}
