//! `region`: shared data, made, written, read, watched, held; and what is shown of it.

use std::os::unix::fs::{PermissionsExt, chown};

use rustix::process::Signal;
use serde_json::{Value, json};
use tubepost::{Domain, Segment};

use crate::created::{Another, CREW};
use crate::ends::nothing_is_left;
use crate::scene::{Running, Scene, fields, is_at_work, until};

/// Everything the contract names, sorted.
const FIELDS: [&str; 18] = [
    "bytes",
    "data_bytes",
    "format",
    "id",
    "in_place",
    "kind",
    "lease_max_seconds",
    "mode",
    "name",
    "owner",
    "poisoned",
    "readers",
    "readers_behind",
    "set_aside",
    "size",
    "version",
    "writer",
    "writers_waiting",
];

fn create(scene: &Scene, name: &str, size: &str, options: &[&str]) {
    let args = [&["region", "create", name, size], options].concat();
    scene.run(&args).code(0).prints("").quietly();
}

fn write(scene: &Scene, name: &str, input: &[u8]) {
    scene.feed(&["region", "write", name], input).code(0).prints("").quietly();
}

fn stat(scene: &Scene, name: &str) -> Value {
    scene.run(&["stat", name, "--json"]).code(0).quietly().json()
}

/// Starts `region hold NAME …` and stops it as soon as it has it, so that it lasts as long as it takes.
fn hold(scene: &Scene, name: &str, what: &str, options: &[&str]) -> Running {
    let args = [&["region", "hold", name, what, "--for", "2s"], options].concat();
    let running = scene.start(&args);
    let has = |stat: &Value| match what {
        "--write" => stat["writer"]["pid"] == running.pid(),
        _ => stat["readers"] == 1,
    };
    until("it holds", || has(&stat(scene, name)));
    running.signal(Signal::STOP);
    running
}

#[test]
fn what_is_written_is_read() {
    let scene = Scene::new();
    create(&scene, "board", "1KiB", &[]);
    scene.run(&["region", "read", "board"]).code(0).prints([0; 1024]).quietly();
    write(&scene, "board", b"hello");
    scene.run(&["region", "read", "board", "--len", "7"]).code(0).prints(b"hello\0\0");
    scene.feed(&["region", "write", "board", "--at", "1"], b"a").code(0).quietly();
    scene.feed(&["region", "write", "board", "--at", "1023", "--timeout", "9s"], b"!").code(0).quietly();
    scene.run(&["region", "read", "board", "--len", "5"]).code(0).prints("hallo");
    scene.run(&["region", "read", "board", "--at", "1023"]).code(0).prints("!");
    scene.run(&["region", "read", "board", "--at", "1KiB"]).code(0).prints("");
    assert_eq!(stat(&scene, "board")["version"], 4);
    // All of it at once.
    write(&scene, "board", &[b'x'; 1024]);
    scene.run(&["region", "read", "board", "--at", "1000"]).code(0).prints([b'x'; 24]);
    scene.run(&["rm", "board"]).code(0).prints("").quietly();
    nothing_is_left(&scene);
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let scene = Scene::new();
    create(&scene, "board", "64", &[]);
    write(&scene, "board", b"before");
    let feed = |args: &[&str], length: usize, words: &[&str]| {
        let args = [&["region", "write", "board"], args].concat();
        scene.feed(&args, &vec![b'x'; length]).code(1).prints("").complains(words);
    };
    feed(&[], 65, &["board", "65 bytes", "64 bytes"]);
    feed(&[], 100_000, &["board", "100000 bytes", "64 bytes"]);
    feed(&["--at", "60"], 5, &["board", "5 bytes", "from byte 60", "64 bytes"]);
    feed(&["--at", "65"], 0, &["board", "no byte 65", "64 bytes"]);
    scene.run(&["region", "read", "board", "--at", "65"]).code(1).prints("").complains(&["65", "64"]);
    let beyond = scene.run(&["region", "read", "board", "--at", "60", "--len", "5"]);
    beyond.code(1).prints("").complains(&["5 bytes", "60", "64"]);
    scene.run(&["region", "read", "board", "--len", "8"]).code(0).prints("before\0\0");
    assert_eq!(stat(&scene, "board")["version"], 2);
    scene.run(&["region", "create", "none", "0"]).code(2).complains(&["the size of a region", "0"]);
    scene.run(&["region", "create", "none", "much"]).code(2);
    scene.run(&["region", "create", "none", "1TiB"]).code(1).complains(&["no memory", "1099511"]);
    scene.run(&["region", "create", "none", "2TiB"]).code(2).complains(&["the size of a region", "1 TiB"]);
    scene.run(&["region", "create", "none", "8", "--lease-max", "0s"]).code(2).complains(&["lease"]);
    scene.run(&["region", "create", "none", "8", "--mode", "620"]).code(2).complains(&["who writes reads"]);
    assert_eq!(scene.list().len(), 1);
}

#[test]
fn a_name_that_means_something_else_is_refused() {
    let scene = Scene::new();
    create(&scene, "board", "64", &["--format", "board/v1"]);
    scene.run(&["region", "create", "board", "8"]).code(1).complains(&["board", "exists"]);
    create(&scene, "board", "8", &["--if-missing"]);
    assert_eq!(
        (&stat(&scene, "board")["size"], &stat(&scene, "board")["format"]),
        (&json!(64), &json!("board/v1"))
    );
    scene.run(&["send", "board", "x"]).code(1).complains(&["is a region", "tubepost region"]);
    scene.create("jobs", &[]);
    scene.run(&["region", "read", "jobs"]).code(1).complains(&["is a mailbox", "not a region"]);
    for verb in [&["read"][..], &["watch"], &["hold", "--read", "--for", "1s"]] {
        let args = [&["region"], verb, &["none"]].concat();
        scene.run(&args).code(4).prints("").complains(&[
            "no region",
            "none",
            "tubepost region create",
            "tubepost ls",
        ]);
    }
    scene.feed(&["region", "write", "none"], b"x").code(4).prints("").complains(&["none"]);
    scene.run(&["region", "hold", "board", "--for", "1s"]).code(2);
    scene.run(&["region", "hold", "board", "--read", "--write", "--for", "1s"]).code(2);
}

#[test]
fn each_change_that_is_seen_is_a_line() {
    let scene = Scene::new();
    create(&scene, "board", "64", &[]);
    let mut watcher = scene.start(&["region", "watch", "board"]);
    until("it watches", || is_at_work(watcher.pid()));
    for version in 2..5 {
        write(&scene, "board", b"x");
        assert_eq!(watcher.line(), version.to_string());
    }
    let other = scene.start(&["region", "watch", "board"]);
    until("it watches", || is_at_work(other.pid()));
    other.signal(Signal::INT);
    other.end().code(130).prints("").quietly();
    let mut unread = scene.start(&["region", "watch", "board"]);
    until("it watches", || is_at_work(unread.pid()));
    unread.close_output();
    assert_eq!(unread.wait(), 0);
    scene.run(&["rm", "board"]).code(0);
    watcher.end().code(5).prints("").complains(&["board", "is over"]);
}

#[test]
fn who_holds_it_for_too_long_changes_nothing() {
    let scene = Scene::new();
    create(&scene, "board", "64", &["--lease-max", "1h"]);
    let refused = scene.run(&["region", "hold", "board", "--write", "--for", "1s", "--lease", "61m"]);
    refused.code(1).prints("").complains(&["board", "lease", "3600s", "3660s"]);
    let late = hold(&scene, "board", "--write", &["--lease", "10ms"]);
    write(&scene, "board", b"taken over");
    late.signal(Signal::CONT);
    let late = late.end().code(6).prints("");
    assert!(
        late.complaint().contains("held to write") && late.complaint().contains("10ms"),
        "{}",
        late.complaint()
    );
    assert_eq!(stat(&scene, "board")["version"], 2);
    // Who is in time commits.
    let held = hold(&scene, "board", "--write", &[]);
    let refused = scene.feed(&["region", "write", "board", "--timeout", "10ms"], b"x").code(3).prints("");
    refused.complains(&["board", "turn", "--timeout"]);
    let row = stat(&scene, "board");
    assert_eq!((&row["writer"]["alive"], &row["writer"]["lease_seconds"]), (&json!(true), &json!(3600.0)));
    assert!(row["writer"]["waited_seconds"].is_number(), "{row}");
    held.signal(Signal::CONT);
    held.end().code(0).prints("");
    assert_eq!(stat(&scene, "board")["version"], 3);
    // Who is killed has changed nothing, and holds up nobody.
    let mut killed = hold(&scene, "board", "--write", &[]);
    killed.signal(Signal::KILL);
    until("it is dead", || !killed.is_running());
    scene.feed(&["region", "write", "board", "--at", "6"], b"on").code(0).quietly();
    scene.run(&["region", "read", "board", "--len", "10"]).code(0).prints("taken oner");
    assert_eq!(
        (&stat(&scene, "board")["version"], &stat(&scene, "board")["set_aside"]),
        (&json!(4), &json!(0))
    );
}

#[test]
fn what_is_poisoned_is_repaired() {
    let scene = Scene::new();
    create(&scene, "map", "16", &["--in-place", "--lease-max", "50ms"]);
    let is_poisoned = || stat(&scene, "map")["poisoned"].as_bool().expect("a region has this");
    let repair = |args: &[&str], input: &[u8]| {
        scene.feed(&[&["region", "repair", "map"], args].concat(), input).code(0).prints("")
    };
    write(&scene, "map", b"before");
    let said = repair(&["--keep"], b"");
    assert!(said.complaint().contains("map: it is sound, in version 2"), "{}", said.complaint());
    let mut killed = hold(&scene, "map", "--write", &[]);
    killed.signal(Signal::KILL);
    until("it is dead", || !killed.is_running());
    let words = ["map", "is poisoned", "tubepost region repair"];
    scene.run(&["region", "read", "map"]).code(1).prints("").complains(&words);
    scene.feed(&["region", "write", "map"], b"x").code(1).prints("").complains(&words);
    scene.run(&["region", "hold", "map", "--write", "--for", "1ms"]).code(1).complains(&words);
    scene.run(&["region", "watch", "map"]).code(1).prints("").complains(&words);
    for input in [&b"short"[..], b"longer than it is"] {
        let refused = scene.feed(&["region", "repair", "map"], input).code(1).prints("");
        refused.complains(&["map", &format!("{} bytes", input.len()), "16 bytes"]);
    }
    assert!(is_poisoned());
    repair(&["--keep", "--timeout", "9s"], b"not looked at").quietly();
    scene.run(&["region", "read", "map", "--len", "8"]).code(0).prints(b"before\0\0").quietly();
    // One that stands still can't write to it any more.
    let late = hold(&scene, "map", "--write", &[]);
    scene.feed(&["region", "write", "map"], b"x").code(1).complains(&words);
    let refused = scene.feed(&["region", "repair", "map", "--keep", "--timeout", "10ms"], b"").code(3);
    refused.prints("").complains(&["map", "is poisoned", "--timeout", "lease_max"]);
    assert!(is_poisoned());
    repair(&[], b"sixteen bytes...").quietly();
    late.signal(Signal::CONT);
    late.end().code(6).prints("");
    scene.run(&["region", "read", "map"]).code(0).prints("sixteen bytes...").quietly();
    assert_eq!((is_poisoned(), &stat(&scene, "map")["version"]), (false, &json!(4)));
    // Nobody repairs what only has versions.
    create(&scene, "board", "4", &[]);
    let said = scene.feed(&["region", "repair", "board"], b"four").code(0).prints("");
    assert!(said.complaint().contains("board: it is sound"), "{}", said.complaint());
    scene.run(&["region", "read", "board"]).code(0).prints([0; 4]).quietly();
    scene.run(&["region", "repair", "none", "--keep"]).code(4).prints("").complains(&["none"]);
}

#[test]
fn a_reader_holds_up_nobody() {
    let scene = Scene::new();
    create(&scene, "board", "64", &[]);
    let reader = hold(&scene, "board", "--read", &["--lease", "10ms"]);
    for text in ["one", "two", "three"] {
        write(&scene, "board", text.as_bytes());
    }
    let row = stat(&scene, "board");
    assert_eq!(fields(&row), FIELDS);
    assert_eq!([&row["version"], &row["readers"], &row["readers_behind"], &row["set_aside"]], [4, 1, 1, 1]);
    assert_eq!((&row["writer"], &row["writers_waiting"]), (&Value::Null, &json!(0)));
    reader.signal(Signal::CONT);
    let reader = reader.end().code(6).prints("");
    assert!(reader.complaint().contains("newer version than 1"), "{}", reader.complaint());
    let reader = hold(&scene, "board", "--read", &[]);
    reader.signal(Signal::CONT);
    reader.end().code(0).prints("");
    // One new version is enough; but it was not replaced for so long, where the lease is longer.
    for (lease, code) in [("10ms", 6), ("1s", 0)] {
        let reader = scene.start(&["region", "hold", "board", "--read", "--lease", lease, "--for", "900ms"]);
        until("it holds", || stat(&scene, "board")["readers"] == 1);
        write(&scene, "board", b"four");
        reader.end().code(code).prints("");
    }
    // In place it has a copy.
    create(&scene, "map", "64", &["--in-place"]);
    let reader = scene.start(&["region", "hold", "map", "--read", "--lease", "10ms", "--for", "900ms"]);
    until("it has it", || is_at_work(reader.pid()));
    write(&scene, "map", b"one");
    reader.end().code(0).prints("");
    assert_eq!(
        (&stat(&scene, "board")["readers"], &stat(&scene, "board")["set_aside"]),
        (&json!(0), &json!(0))
    );
}

#[test]
fn who_holds_what_is_removed_is_told() {
    let scene = Scene::new();
    for (what, options) in [("--read", &[][..]), ("--write", &[]), ("--write", &["--in-place"])] {
        create(&scene, "board", "64", options);
        let holds = hold(&scene, "board", what, &[]);
        scene.run(&["rm", "board"]).code(0);
        create(&scene, "board", "64", &[]);
        holds.signal(Signal::CONT);
        let holds = holds.end().code(5).prints("");
        assert!(holds.complaint().contains("is over"), "{}", holds.complaint());
        assert_eq!(stat(&scene, "board")["version"], 1);
        scene.run(&["rm", "board"]).code(0);
    }
}

#[test]
fn who_only_reads_in_place_is_told_why_not() {
    let scene = Scene::new();
    create(&scene, "map", "64", &["--in-place", "--lease-max", "50ms"]);
    let late = hold(&scene, "map", "--write", &[]);
    let words = ["map", "a writer", "longer than its lease", "only reads"];
    scene.run(&["region", "read", "map"]).code(3).prints("").complains(&words);
    scene.run(&["region", "hold", "map", "--read", "--for", "1ms"]).code(3).prints("").complains(&words);
    late.signal(Signal::CONT);
    late.end().code(0).prints("");
}

#[test]
fn the_impatient_are_not_kept_out() {
    let scene = Scene::new();
    create(&scene, "board", "64", &["--lease-max", "300ms"]);
    let late = hold(&scene, "board", "--write", &[]);
    let came = (1..30).find(|_| {
        let tried = scene.feed(&["region", "write", "board", "--timeout", "50ms"], b"taken over");
        tried.is_well()
    });
    assert!(came > Some(1), "{came:?}");
    late.signal(Signal::CONT);
    late.end().code(6).prints("");
}

#[test]
fn regions_and_segments_are_shown_and_removed() {
    let scene = Scene::new();
    scene.create("jobs", &[]);
    create(&scene, "board", "64KiB", &["--lease-max", "50ms"]);
    let domain = Domain::open(&scene.domain).expect("it is there");
    let _memory = Segment::options().domain(&domain).size(100).own("bare").expect("it is free");
    let row = scene.find("board").expect("it is listed");
    assert_eq!(row, stat(&scene, "board"));
    assert_eq!((&row["kind"], &row["size"], &row["mode"]), (&json!("region"), &json!(65536), &json!("0600")));
    assert_eq!((&row["owner"]["kind"], &row["lease_max_seconds"]), (&json!("system"), &json!(0.05)));
    assert!(
        row["bytes"].as_u64() > row["data_bytes"].as_u64() && row["data_bytes"].as_u64() >= Some(65536),
        "{row}"
    );
    let bare = stat(&scene, "bare");
    assert_eq!(fields(&bare), ["bytes", "format", "id", "kind", "mode", "name", "owner", "size"]);
    assert_eq!(
        (&bare["kind"], &bare["size"], &bare["owner"]["pid"]),
        (&json!("segment"), &json!(100), &json!(std::process::id()))
    );

    let text = scene.run(&["ls"]).code(0).quietly().text();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let [mailboxes, jobs, data, board, bare] = &lines[..] else { panic!("{text}") };
    assert!(mailboxes.contains(&"CAPACITY") && jobs[0] == "jobs" && jobs.len() == mailboxes.len(), "{text}");
    assert!(data[3..10] == ["SIZE", "VERSION", "READERS", "WRITER", "SINCE", "WAITING", "ASIDE"], "{text}");
    assert!(board[..10] == ["board", "system", "alive", "65536", "1", "0", "-", "-", "0", "0"], "{text}");
    assert!(bare[0] == "bare" && bare[3..10] == ["100", "-", "-", "-", "-", "-", "-"], "{text}");
    assert!(board.len() == data.len() && bare.len() == data.len(), "{text}");

    let text = scene.run(&["stat", "board"]).code(0).quietly().text();
    for part in ["65,536 bytes", "at most 50ms", "nobody", "0 buffers", "0600: its user only"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    scene.run(&["rm", "bare"]).code(1).complains(&["bare", "is a segment of process", "--force"]);
    scene.run(&["rm", "bare", "--force"]).code(0).quietly();
    scene.run(&["rm", "board"]).code(0).quietly();
    assert_eq!(scene.list().len(), 1);
}

#[test]
fn without_its_data_it_is_damaged_and_can_be_removed() {
    let scene = Scene::new();
    create(&scene, "board", "64KiB", &[]);
    let data = scene.files().into_iter().find(|file| file.ends_with("~data")).expect("a file beside it");
    std::fs::remove_file(scene.domain.join(data)).expect("ours");
    scene.run(&["stat", "board"]).code(1).prints("").complains(&["board", "damaged", "its data is gone"]);
    scene.run(&["ls", "--json"]).code(0).prints("[]\n").complains(&["board", "damaged"]);
    scene.run(&["rm", "board"]).code(0).quietly();
    nothing_is_left(&scene);
}

#[test]
fn the_mode_tells_who_may_read_and_write() {
    let Some(nobody) = Another::new("the_mode_tells_who_may_read_and_write") else { return };
    let scene = Scene::new();
    chown(&scene.domain, None, Some(CREW)).expect("we are root");
    std::fs::set_permissions(&scene.domain, PermissionsExt::from_mode(0o3770)).expect("ours");
    for (name, mode) in [("none", "600"), ("read", "640"), ("both", "660")] {
        create(&scene, name, "8", &["--mode", mode, "--group", &CREW.to_string()]);
        write(&scene, name, b"ours");
    }
    let run = |args: &[&str]| nobody.run(&scene, CREW, &[&["region"], args].concat());
    run(&["read", "none"]).code(1).prints("").complains(&["permission", "none", "mode 0600", "read (r)"]);
    run(&["write", "read"]).code(1).complains(&[
        "to write \"read\"",
        "mode 0640",
        "read only",
        "ask its owner",
    ]);
    for name in ["read", "both"] {
        run(&["read", name, "--len", "4"]).code(0).prints("ours").quietly();
        let stat = nobody.run(&scene, CREW, &["stat", name]).code(0).quietly();
        assert!(stat.text().contains("its group may read"), "{}", stat.text());
        nobody.run(&scene, CREW, &["rm", name]).code(1).complains(&["permission", name]);
    }
    run(&["write", "both"]).code(0).quietly();
    run(&["hold", "both", "--write", "--for", "1ms"]).code(0);
    assert_eq!(stat(&scene, "both")["version"], 4);
}
