//! `create` and `rm`: mailboxes that the system owns, made, refused, shared and removed.

use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::json;

use crate::ends::nothing_is_left;
use crate::scene::{Ended, Running, Scene, bare, is_at_work, skip, until};

#[test]
fn it_stays_when_its_users_end() {
    let scene = Scene::new();
    scene.create("jobs", &["--capacity", "7", "--max-message", "100", "--format", "job/v2"]);
    scene.run(&["send", "jobs", "a", "b", "c"]).code(0);
    scene.run(&["recv", "jobs", "--count", "1"]).code(0).prints("a\n").quietly();
    let row = scene.find("jobs").expect("it is still there");
    assert_eq!(row["owner"], json!({"kind": "system", "pid": null, "alive": true}));
    assert_eq!((&row["kind"], &row["strategy"]), (&json!("mailbox"), &json!("shared")));
    assert_eq!([&row["capacity"], &row["max_message"], &row["depth"], &row["held"]], [7, 100, 2, 0]);
    assert_eq!([&row["sent"], &row["received"]], [3, 1]);
    assert_eq!((&row["format"], &row["mode"]), (&json!("job/v2"), &json!("0600")));
    assert_eq!(scene.run(&["stat", "jobs", "--json"]).code(0).json(), row);
    scene.run(&["gc"]).code(0).quietly();
    scene.run(&["recv", "jobs", "--no-wait"]).code(0).prints("b\nc\n");
    scene.run(&["rm", "jobs"]).code(0).prints("").quietly();
    nothing_is_left(&scene);
}

#[test]
fn a_name_that_exists_is_refused_or_left_alone() {
    let scene = Scene::new();
    scene.create("jobs", &["--capacity", "7"]);
    scene.run(&["send", "jobs", "a"]).code(0);
    let before = scene.find("jobs");
    scene.run(&["create", "jobs"]).code(1).prints("").complains(&["jobs", "exists"]);
    scene.run(&["create", "jobs", "--capacity", "9", "--if-missing"]).code(0).prints("").quietly();
    scene.run(&["recv", "jobs", "--own"]).code(1).prints("").complains(&["jobs", "exists", "without --own"]);
    assert_eq!(scene.find("jobs"), before);

    let mut owner = scene.own("own", &[]);
    let pid = owner.pid().to_string();
    let before = scene.find("own");
    scene.run(&["create", "own"]).code(1).prints("").complains(&["own", &pid]);
    scene.run(&["create", "own", "--if-missing"]).code(0).prints("").complains(&["own", &pid]);
    assert_eq!(scene.find("own"), before);
    // What a dead owner left is in nobody's way.
    owner.signal(Signal::KILL);
    owner.close_output();
    until("it is dead", || !owner.is_running());
    scene.create("own", &[]);
    assert_eq!(scene.find("own").expect("the new one")["owner"]["kind"], "system");
}

#[test]
fn many_create_it_at_once_and_one_does() {
    for (options, losers) in [(&["--if-missing"][..], 0), (&[], 1)] {
        let scene = Scene::new();
        let all: Vec<Running> =
            (0..20).map(|_| scene.start(&[&["create", "jobs"], options].concat())).collect();
        let ended: Vec<Ended> = all.into_iter().map(Running::end).collect();
        let well = ended.iter().filter(|ended| ended.complaint().is_empty()).count();
        assert_eq!(well, if losers == 0 { 20 } else { 1 });
        for ended in ended {
            let quiet = ended.complaint().is_empty();
            let ended = ended.code(if quiet { 0 } else { losers }).prints("");
            if !quiet {
                ended.complains(&["jobs", "exists"]);
            }
        }
        assert_eq!(scene.list().len(), 1);
        scene.run(&["send", "jobs", "a"]).code(0);
        scene.run(&["recv", "jobs", "--count", "1"]).code(0).prints("a\n");
        scene.run(&["rm", "jobs"]).code(0);
        nothing_is_left(&scene);
    }
}

#[test]
fn what_it_cannot_be_is_usage() {
    let scene = Scene::new();
    for (options, about) in [
        (["--mode", "999"], "660"),
        (["--mode", "66"], "660"),
        (["--mode", "00660"], "660"),
        (["--mode", "0o660"], "660"),
        (["--mode", "+660"], "660"),
        (["--mode", "rw-"], "660"),
        (["--mode", ""], "--mode"),
        (["--mode", "000"], "0660"),
        (["--mode", "060"], "0660"),
        (["--mode", "400"], "0660"),
        (["--mode", "700"], "0660"),
        (["--mode", "1600"], "0660"),
        (["--mode", "0777"], "0660"),
        (["--group", "no-such-group"], "no-such-group"),
        (["--group", ""], "getent"),
        (["--group", "1x"], "1x"),
        (["--group", "4294967295"], "4294967295"),
        (["--group", "99999999999"], "99999999999"),
        (["--capacity", "16777217"], "16777216"),
        (["--capacity", "many"], "many"),
        (["--max-message", "1073741825"], "1073741824"),
        (["--max-message", "2GiB"], "1 GiB"),
        (["--max-message", "1KB"], "64KiB"),
        (["--max-message", "18446744073709551615KiB"], "64KiB"),
        (["--ceiling", "0"], "ceiling"),
        (["--format", "two\nlines"], "control"),
    ] {
        let ended = scene.run(&["create", "jobs", options[0], options[1]]).code(2).prints("");
        assert!(
            ended.complaint().contains(about),
            "{options:?}: {about:?} is not in {:?}",
            ended.complaint()
        );
    }
    assert!(scene.files().is_empty(), "nothing was made");
}

#[test]
fn the_ceiling_bounds_the_memory_of_large_messages() {
    let scene = Scene::new();
    scene.create("jobs", &["--max-message", "1MiB", "--ceiling", "2MiB"]);
    assert_eq!(scene.find("jobs").expect("the mailbox")["ceiling"], 2 << 20);
    let large = vec![b'x'; 1 << 20];
    let mut sent = 0;
    let refused = loop {
        let ended = scene.feed(&["send", "jobs", "--whole"], &large);
        if !ended.complaint().is_empty() {
            break ended;
        }
        ended.code(0);
        sent += 1;
    };
    refused.code(1).prints("").complains(&["jobs", "ceiling", "2097152"]);
    assert!(sent == 1 || sent == 2, "{sent} fit");
    scene.run(&["recv", "jobs", "--count", "1"]).code(0);
    scene.feed(&["send", "jobs", "--whole"], &large).code(0);
    scene.run(&["recv", "jobs", "--ceiling", "2MiB"]).code(2);
}

#[test]
fn the_mode_is_as_it_was_given() {
    let scene = Scene::new();
    for (given, shown, words) in [
        ("600", "0600", "its user only"),
        ("0660", "0660", "its group may send and receive"),
        ("620", "0620", "its group may send"),
        ("0642", "0642", "its group may receive, others may send"),
    ] {
        scene.create(given, &["--mode", given]);
        assert_eq!(scene.find(given).expect("the mailbox")["mode"], shown);
        let text = scene.run(&["stat", given]).code(0).text();
        assert!(text.contains(&format!("{shown}: {words}\n")), "{text}");
    }
    for size in ["4096", "64KiB", "1MiB", "1GiB"] {
        scene.create(size, &["--max-message", size]);
    }
    assert_eq!(scene.find("1GiB").expect("the mailbox")["max_message"], 1 << 30);
}

#[test]
fn it_is_given_to_a_group_by_name_or_number() {
    let scene = Scene::new();
    let gid = std::fs::metadata(&scene.domain).expect("ours").gid();
    scene.create("by-number", &["--group", &gid.to_string(), "--mode", "660"]);
    let listed = std::process::Command::new("getent").args(["group", &gid.to_string()]).output();
    let name = listed.ok().and_then(|out| {
        String::from_utf8(out.stdout)
            .ok()?
            .split(':')
            .next()
            .filter(|name| !name.is_empty())
            .map(str::to_string)
    });
    match name {
        Some(name) => scene.create("by-name", &["--group", &name, "--mode", "660"]),
        None => skip("it_is_given_to_a_group_by_name_or_number", "our group has no name here"),
    }
    for file in scene.files() {
        let facts = std::fs::metadata(scene.domain.join(&file)).expect("a file");
        assert_eq!((facts.gid(), facts.mode() & 0o777), (gid, 0o660), "{file}");
    }
}

/// The user and group that nobody is.
const NOBODY: u32 = 65534;
pub const CREW: u32 = 54321;

/// The command, run by another user: from a copy, for that user may not reach where it was built.
pub struct Another {
    directory: PathBuf,
}

impl Another {
    /// None if we are not permitted to be somebody else.
    pub fn new(test: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip(test, "needs root, to become somebody else");
            return None;
        }
        let directory = std::env::temp_dir().join(format!("tubepost-test.{}.{test}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o755).create(&directory).expect("a fresh directory");
        // By another process: a descriptor of ours, open for writing, could end up in a child of another
        // test, and the file would be busy.
        let mut copy = std::process::Command::new("cp");
        copy.arg(env!("CARGO_BIN_EXE_tubepost")).arg(directory.join("tubepost"));
        assert!(copy.status().expect("cp").success());
        std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o755)).expect("ours");
        Some(Self { directory })
    }

    pub fn run(&self, scene: &Scene, group: u32, args: &[&str]) -> Ended {
        let mut command = std::process::Command::new(self.directory.join("tubepost"));
        command.args(args).env("TUBEPOST_DOMAIN", &scene.domain).current_dir("/");
        command.stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        Running::start(command.uid(NOBODY).gid(group)).end()
    }
}

impl Drop for Another {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn a_group_that_one_is_not_in_is_refused() {
    let Some(nobody) = Another::new("a_group_that_one_is_not_in_is_refused") else { return };
    let scene = Scene::new();
    chown(&scene.domain, Some(NOBODY), Some(NOBODY)).expect("we are root");
    let refused = nobody.run(&scene, NOBODY, &["create", "jobs", "--group", "54321", "--mode", "660"]);
    refused.code(1).prints("").complains(&["group", "permission", "that you are in"]);
    assert!(scene.files().is_empty(), "nothing was made");
    nobody.run(&scene, NOBODY, &["create", "jobs", "--group", "65534", "--mode", "660"]).code(0).quietly();
    nobody.run(&scene, NOBODY, &["rm", "jobs"]).code(0).quietly();
}

#[test]
fn the_mode_tells_who_may_send_and_receive() {
    let Some(nobody) = Another::new("the_mode_tells_who_may_send_and_receive") else { return };
    let scene = Scene::new();
    chown(&scene.domain, None, Some(CREW)).expect("we are root");
    std::fs::set_permissions(&scene.domain, PermissionsExt::from_mode(0o3770)).expect("ours");
    for (name, mode) in [("none", "600"), ("in", "620"), ("out", "640"), ("both", "660")] {
        scene.create(name, &["--mode", mode, "--group", &CREW.to_string()]);
        scene.run(&["send", name, "ours"]).code(0);
    }
    let may = |name: &str, sends: i32, receives: i32| {
        let sent = nobody.run(&scene, CREW, &["send", name, "theirs"]).code(sends).prints("");
        let received = nobody.run(&scene, CREW, &["recv", name, "--no-wait", "--count", "1"]).code(receives);
        for (ended, well) in [(sent, sends == 0), (received, receives == 0)] {
            if well { drop(ended.quietly()) } else { drop(ended.complains(&["permission", name])) }
        }
        nobody.run(&scene, CREW, &["rm", name]).code(1).complains(&["permission", name]);
    };
    may("none", 1, 1);
    may("in", 0, 1);
    may("out", 1, 0);
    may("both", 0, 0);
    // Whose it is, what is missing, and what to do.
    let domain = scene.domain.to_str().expect("text");
    let refused = nobody.run(&scene, CREW, &["send", "out", "x"]).code(1);
    refused.complains(&[
        "to send to \"out\" in",
        domain,
        "user 0",
        "group 54321",
        "mode 0640",
        "(w)",
        "ask its owner",
    ]);
    nobody.run(&scene, CREW, &["recv", "in"]).code(1).complains(&[
        "to receive from \"in\"",
        "mode 0620",
        "(r)",
    ]);
    nobody.run(&scene, CREW, &["rm", "in"]).code(1).complains(&[
        "to remove \"in\"",
        "user 0",
        "the domain's",
    ]);
    // Who is not in the group is not let in at all.
    nobody.run(&scene, NOBODY, &["send", "both", "x"]).code(1).complains(&["permission", domain]);
    let refused = nobody.run(&scene, CREW, &["send", "none", "x"]).code(1);
    refused.complains(&["permission to open \"none\" in", domain, "user 0", "mode 0600"]);
    // One's own is given to others in the same way.
    for strategy in ["shared", "kernel", "sealed"] {
        let (group, shut) = (CREW.to_string(), format!("not-for-others-{strategy}"));
        let options = ["--strategy", strategy, "--mode", "620", "--group", &group, "--count", "1"];
        let owner = scene.own(strategy, &options);
        assert_eq!(scene.find(strategy).expect("it is there")["mode"], "0620");
        nobody.run(&scene, CREW, &["send", strategy, "theirs"]).code(0).quietly();
        owner.end().code(0).prints("theirs\n");
        let _owner = scene.own(&shut, &["--strategy", strategy, "--mode", "600", "--group", &group]);
        let refused = nobody.run(&scene, CREW, &["send", &shut, "x"]).code(1);
        refused.complains(&["to open", &shut, "user 0", "mode 0600"]);
    }
    // In files too, whose directory is not a way round it.
    let (group, files) = (CREW.to_string(), scene.domain.with_extension("files"));
    let kept = ["--strategy", "file", "--dir", files.to_str().expect("text"), "--group", &group];
    scene.create("kept", &[&kept[..], &["--mode", "620"]].concat());
    nobody.run(&scene, CREW, &["send", "kept", "theirs"]).code(0).quietly();
    nobody
        .run(&scene, CREW, &["recv", "kept", "--no-wait"])
        .code(1)
        .complains(&["receive from \"kept\"", "(r)"]);
    let dumped = nobody.run(&scene, CREW, &["journal", "dump", "kept"]).code(1);
    dumped.prints("").complains(&["permission", "kept", "(r)"]);
    nobody.run(&scene, NOBODY, &["send", "kept", "x"]).code(1).complains(&["permission"]);
    scene.run(&["recv", "kept", "--no-wait"]).code(0).prints("theirs\n");
    scene.run(&["rm", "kept"]).code(0);
    scene.create("kept", &[&kept[..], &["--mode", "660"]].concat());
    nobody.run(&scene, CREW, &["send", "kept", "theirs"]).code(0).quietly();
    let dumped = nobody.run(&scene, CREW, &["journal", "dump", "kept"]).code(0).quietly();
    assert!(dumped.text().contains("theirs"), "{}", dumped.text());
    nobody.run(&scene, CREW, &["recv", "kept", "--no-wait"]).code(0).prints("theirs\n");
    scene.run(&["rm", "kept"]).code(0);
    scene.run(&["recv", "ours", "--mode", "620"]).code(2);
    scene.run(&["recv", "ours", "--own", "--group", "no-such-group"]).code(2).complains(&["no-such-group"]);
}

#[test]
fn removing_tells_what_nobody_collected() {
    let scene = Scene::new();
    scene.create("jobs", &[]);
    scene.run(&["send", "jobs", "a", "b", "c"]).code(0);
    scene.run(&["rm", "jobs"]).code(0).prints("").complains(&["jobs", "3 messages"]);
    nothing_is_left(&scene);
    for args in [&["rm", "jobs"][..], &["rm", "jobs", "--force"], &["recv", "jobs"], &["send", "jobs", "x"]] {
        scene.run(args).code(4).prints("").complains(&["jobs"]);
    }
}

#[test]
fn whoever_waits_is_told_of_the_removal() {
    for ack in [&[][..], &["--ack"]] {
        let scene = Scene::new();
        scene.create("empty", &[]);
        scene.create("full", &["--capacity", "1"]);
        scene.run(&["send", "full", "a"]).code(0);
        let mut waiting: Vec<Running> = (0..3).map(|_| scene.receive("empty", ack)).collect();
        waiting.push(scene.receive("empty", &[ack, &["--timeout", "1h"]].concat()));
        waiting.push(scene.start_fed(&["send", "empty"]));
        waiting.push(scene.start(&["send", "full", "b"]));
        waiting.push(scene.start(&["send", "full", "c", "--timeout", "1h"]));
        for running in &waiting {
            until("it is at work", || is_at_work(running.pid()));
        }
        scene.run(&["rm", "empty"]).code(0).quietly();
        scene.run(&["rm", "full"]).code(0);
        for mut running in waiting {
            assert_eq!(running.wait(), 5);
            assert!(running.complaints().contains("closed"), "it says so");
        }
        nothing_is_left(&scene);
    }
}

#[test]
fn a_living_owners_mailbox_is_removed_by_force_only() {
    let scene = Scene::new();
    let owner = scene.own("jobs", &[]);
    let pid = owner.pid().to_string();
    scene.run(&["recv", "jobs"]).code(1).prints("").complains(&["jobs", &pid, "tubepost"]);
    scene.run(&["recv", "jobs", "--ack"]).code(1).prints("").complains(&["jobs", &pid]);
    scene.run(&["rm", "jobs"]).code(1).prints("").complains(&["jobs", &pid, "--force"]);
    scene.run(&["send", "jobs", "a"]).code(0);
    scene.run(&["rm", "jobs", "--force"]).code(0).prints("");
    owner.end().code(5).complains(&["jobs", "closed"]);
    nothing_is_left(&scene);

    // A stopped process lives.
    let owner = scene.own("jobs", &[]);
    owner.signal(Signal::STOP);
    scene.run(&["rm", "jobs"]).code(1).complains(&[&owner.pid().to_string()]);
    scene.run(&["rm", "jobs", "--force"]).code(0);
    assert!(scene.list().is_empty());
    scene.create("jobs", &[]);
    owner.signal(Signal::CONT);
    owner.end().code(5);
    assert_eq!(scene.list().len(), 1, "the new one is another");
}

#[test]
fn what_a_dead_owner_left_is_removed_without_force() {
    let scene = Scene::new();
    let mut owner = scene.own("jobs", &[]);
    owner.signal(Signal::KILL);
    owner.close_output();
    until("it is dead", || !owner.is_running());
    scene.run(&["rm", "jobs"]).code(0).prints("").quietly();
    nothing_is_left(&scene);
}

#[test]
fn help_says_how_others_are_let_in() {
    let help = Running::start(&mut bare(&["create", "--help"])).end().code(0).text();
    for part in ["620", "receive", "send", "chmod 3770", "--if-missing"] {
        assert!(help.contains(part), "{part:?} is not in {help}");
    }
}

#[test]
fn each_kind_of_capacity() {
    let scene = Scene::new();
    // None: each send waits for its receiver.
    scene.create("meet", &["--capacity", "0"]);
    scene.run(&["send", "meet", "a", "--no-wait"]).code(3).complains(&["meet", "nobody is waiting"]);
    scene.run(&["send", "meet", "a", "--timeout", "10ms"]).code(3).complains(&["nobody came", "--timeout"]);
    scene.run(&["recv", "meet", "--no-wait"]).code(3);
    let receiver = scene.receive("meet", &["--count", "2"]);
    scene.run(&["send", "meet", "a", "b"]).code(0).quietly();
    receiver.end().code(0).prints("a\nb\n");
    assert_eq!(scene.find("meet").expect("it exists")["capacity"], 0);
    // Without end.
    scene.create("log", &["--capacity", "unbounded"]);
    let lines: String = (0..5000).map(|n| format!("{n}\n")).collect();
    scene.feed(&["send", "log", "--no-wait"], lines.as_bytes()).code(0).quietly();
    let row = scene.find("log").expect("it exists");
    assert_eq!((&row["capacity"], &row["depth"]), (&serde_json::Value::Null, &json!(5000)));
    scene.run(&["recv", "log", "--no-wait"]).code(0).prints(&lines);
    // The same of one's own.
    for (capacity, shown) in [("0", json!(0)), ("7", json!(7)), ("unbounded", serde_json::Value::Null)] {
        let owner = scene.own("own", &["--capacity", capacity, "--count", "1"]);
        assert_eq!(scene.find("own").expect("it exists")["capacity"], shown);
        scene.run(&["send", "own", "--collected", "x"]).code(0);
        owner.end().code(0).prints("x\n");
    }
}
