//! `ls`, `stat`, `gc`: what is shown, and that the damaged and the dead hide nothing.

use rustix::process::Signal;
use serde_json::json;
use tubepost::{Carried, Domain, Mailbox, Table};

use crate::scene::{Scene, fields, plant, skip, until};

/// Everything the contract names, sorted.
const FIELDS: [&str; 20] = [
    "bytes",
    "capacity",
    "ceiling",
    "chunk_bytes",
    "chunk_waste",
    "dead_letters",
    "depth",
    "discarded",
    "format",
    "held",
    "id",
    "kind",
    "max_message",
    "mode",
    "name",
    "owner",
    "received",
    "sent",
    "shut",
    "strategy",
];

#[test]
fn json_has_exactly_the_promised_fields() {
    let scene = Scene::new();
    let owner =
        scene.own("jobs/urgent", &["--capacity", "7", "--max-message", "100", "--format", "text/plain"]);
    scene.run(&["send", "jobs/urgent", "a", "b"]).code(0);
    until("both were received", || scene.find("jobs/urgent").is_some_and(|row| row["received"] == 2));
    let stat = scene.run(&["stat", "jobs/urgent", "--json"]).code(0).quietly().json();
    assert_eq!(fields(&stat), FIELDS);
    assert_eq!(scene.list().as_slice(), std::slice::from_ref(&stat));
    assert_eq!(stat["kind"], "mailbox");
    assert_eq!(stat["name"], "jobs/urgent");
    assert_eq!(stat["strategy"], "shared");
    assert_eq!(stat["owner"], json!({"kind": "process", "pid": owner.pid(), "alive": true}));
    assert_eq!(stat["capacity"], 7);
    assert_eq!(stat["max_message"], 100);
    assert_eq!(stat["format"], "text/plain");
    assert_eq!(stat["mode"], "0600");
    assert_eq!([&stat["depth"], &stat["held"], &stat["sent"], &stat["received"]], [0, 0, 2, 2]);
    let id = stat["id"].as_str().expect("a string");
    assert!(id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit()), "{id}");
    assert!(stat["bytes"].as_u64() > Some(0));
}

/// More wait than fit by default, and no number is said where there is none.
#[test]
fn without_a_capacity_none_is_told() {
    let scene = Scene::new();
    scene.create("jobs", &["--capacity", "unbounded"]);
    let lines = "a line\n".repeat(5000);
    scene.feed(&["send", "jobs"], lines.as_bytes()).code(0);
    let stat = scene.run(&["stat", "jobs", "--json"]).code(0).quietly().json();
    assert_eq!(fields(&stat), FIELDS);
    assert_eq!((&stat["capacity"], &stat["depth"]), (&serde_json::Value::Null, &json!(5000)));
    assert!(stat["chunk_bytes"].as_u64() > Some(5000 * 272), "{stat}");
    scene.run(&["create", "other", "--capacity", "endless"]).code(2);
    scene.run(&["recv", "jobs", "--capacity", "unbounded"]).code(2);
}

#[test]
fn the_memory_of_large_messages_is_told() {
    let scene = Scene::new();
    scene.create("pictures", &["--max-message", "1MiB", "--capacity", "2"]);
    let row = scene.find("pictures").expect("the mailbox");
    assert_eq!([&row["chunk_bytes"], &row["chunk_waste"]], [0, 0]);
    let ceiling = row["ceiling"].as_u64().expect("a number");
    assert!(ceiling >= 2 << 20, "two of the longest have room: {row}");
    scene.feed(&["send", "--whole", "pictures"], &[b'x'; 600_000]).code(0);
    let row = scene.run(&["stat", "pictures", "--json"]).code(0).json();
    let number = |field: &str| row[field].as_u64().expect("a number");
    assert!(number("chunk_bytes") >= 600_000 && number("chunk_bytes") <= ceiling, "{row}");
    assert!(number("chunk_waste") <= number("chunk_bytes") - 600_000, "{row}");
    assert!(number("bytes") >= number("chunk_bytes"), "{row}");
    let text = scene.run(&["stat", "pictures"]).code(0).text();
    assert!(text.contains("the system") && text.contains("large"), "{text}");

    scene.run(&["recv", "pictures", "--count", "1"]).code(0);
    let swept = scene.run(&["gc"]).code(0).quietly().text();
    assert!(swept.contains("bytes of memory"), "{swept}");
    assert_eq!(scene.find("pictures").expect("the mailbox")["chunk_bytes"], 0);
}

#[test]
fn the_listing_is_ordered_by_owner() {
    let scene = Scene::new();
    scene.create("z", &[]);
    scene.create("b", &[]);
    let domain = Domain::open(&scene.domain).expect("the domain");
    let own = |name: &str| Mailbox::<u8>::options().domain(&domain).own(name).expect("a mailbox");
    let _ours = [own("a"), own("y")];
    let _theirs = scene.own("c", &[]);
    let text = scene.run(&["ls"]).code(0).text();
    let names: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["NAME", "b", "z", "a", "y", "c"], "{text}");

    let shown = in_a_terminal(&scene, "ls");
    let Some(shown) = shown else { return };
    assert!(shown.contains('\x1b'), "coloured: {shown:?}");
    let of_system = shown.find("owned by the system").expect("a heading");
    let of_processes = shown.find("owned by processes").expect("a heading");
    let at = |name: &str| shown.find(&format!("\n{name} ")).unwrap_or_else(|| panic!("{name}: {shown}"));
    assert!(of_system < at("b") && at("z") < of_processes && of_processes < at("a"), "{shown}");
}

/// What a verb prints in a terminal.
fn in_a_terminal(scene: &Scene, verb: &str) -> Option<String> {
    let command = format!("{} {verb}", env!("CARGO_BIN_EXE_tubepost"));
    let mut terminal = std::process::Command::new("script");
    terminal.args(["-qec", &command, "/dev/null"]).env("TUBEPOST_DOMAIN", &scene.domain);
    terminal.env_remove("NO_COLOR").stdin(std::process::Stdio::null());
    match terminal.output() {
        Ok(output) => Some(String::from_utf8(output.stdout).expect("text").replace('\r', "")),
        Err(e) => {
            skip("the_listing_is_ordered_by_owner", &format!("needs the command script: {e}"));
            None
        }
    }
}

#[test]
fn an_id_is_never_used_again() {
    let scene = Scene::new();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let owner = scene.own("jobs", &[]);
        ids.push(scene.find("jobs").expect("the mailbox")["id"].clone());
        owner.signal(Signal::TERM);
        owner.end().code(143);
    }
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "{ids:?}");
}

#[test]
fn the_plain_table_is_made_for_pipes() {
    let scene = Scene::new();
    scene.run(&["ls"]).code(0).quietly();
    assert_eq!(scene.run(&["ls", "--json"]).code(0).json(), json!([]));
    let _first = scene.own("b", &["--capacity", "1000000", "--max-message", "8"]);
    let _second = scene.own("a", &[]);
    let text = scene.run(&["ls"]).code(0).quietly().text();
    assert!(!text.contains(['\t', '\x1b']), "{text:?}");
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 3, "{text}");
    assert_eq!((rows[0][0], rows[1][0], rows[2][0]), ("NAME", "a", "b"));
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "a word for every column: {text}");
    assert!(rows[2].contains(&"1000000"), "numbers as programs read them: {text}");
    let columns: Vec<_> = text.lines().map(|line| line.find("  ")).collect();
    assert!(columns.iter().all(Option::is_some));
}

#[test]
fn a_dead_owners_mailbox_is_shown_as_such_and_removed() {
    let scene = Scene::new();
    let mut owner = scene.own("jobs", &[]);
    let _other = scene.own("other", &[]);
    owner.signal(Signal::KILL);
    owner.close_output();
    until("it is dead", || !owner.is_running());
    let row = scene.find("jobs").expect("the mailbox");
    assert_eq!(row["owner"], json!({"kind": "process", "pid": owner.pid(), "alive": false}));
    assert!(scene.run(&["ls"]).code(0).text().contains("dead"));
    scene.run(&["stat", "jobs"]).code(4).complains(&["jobs", &owner.pid().to_string()]);
    scene.run(&["gc"]).code(0).prints("removed jobs: its owner is dead\n").quietly();
    assert_eq!(scene.list().len(), 1, "the living one is untouched");
    assert!(scene.find("other").is_some());
    scene.run(&["gc"]).code(0).prints("nothing to remove\n");
}

#[test]
fn damaged_files_hide_nothing_and_break_nothing() {
    let scene = Scene::new();
    // Of short messages: the file of a mailbox that takes large ones has holes of many gigabytes.
    let owner = scene.own("good", &["--max-message", "4KiB"]);
    let whole = std::fs::read(scene.domain.join("good")).expect("the mailbox's file");
    let mut flipped = whole.clone();
    flipped[..64].reverse();
    let damaged: [(&str, &[u8]); 6] = [
        ("empty", b""),
        ("short", &whole[..100]),
        ("half", &whole[..whole.len() / 2]),
        ("zeroes", &vec![0; whole.len()]),
        ("rubbish", &[0xa5; 8192]),
        ("flipped", &flipped),
    ];
    for (name, content) in damaged {
        plant(&scene.domain.join(name), content);
    }
    let listing = scene.run(&["ls", "--json"]).code(0);
    let rows = listing.json();
    assert!(rows.as_array().expect("an array").iter().any(|row| row["name"] == "good"), "{rows}");
    for (name, _) in damaged {
        assert!(listing.complaint().contains(name), "{name} is not in {:?}", listing.complaint());
        scene.run(&["send", name, "x"]).code(1).prints("").complains(&[name]);
        scene.run(&["stat", name]).code(1).prints("").complains(&[name]);
    }
    let swept = scene.run(&["gc"]).code(0);
    assert!(!swept.text().contains("removed"), "{}", swept.text());
    assert!(swept.complaint().contains("left alone"), "{}", swept.complaint());
    scene.run(&["send", "good", "still there"]).code(0);
    drop(owner);
}

#[test]
fn names_that_are_none_are_listed_safely() {
    let scene = Scene::new();
    plant(&scene.domain.join("evil\x1b[2J\nname"), b"x");
    let listing = scene.run(&["ls"]).code(0);
    assert!(
        !listing.complaint().contains('\x1b') && listing.complaint().lines().count() == 1,
        "{:?}",
        listing.complaint()
    );
}

#[test]
fn a_fixed_type_is_described() {
    let scene = Scene::new();
    let domain = Domain::open(&scene.domain).expect("the domain");
    let inbox = Mailbox::<u64>::options().domain(&domain).bounded(1024).own("readings").expect("a mailbox");
    let row = scene.find("readings").expect("the mailbox");
    assert_eq!(row["max_message"], 8);
    assert!(row["format"].as_str().is_some_and(|format| format.contains("u64")), "{row}");
    assert!(row["bytes"].as_u64() <= Some(256 << 10), "1024 places of 8 bytes: {row}");
    let text = scene.run(&["stat", "readings"]).code(0).text();
    assert!(text.contains("exactly 8 bytes") && text.contains("0 of 1,024"), "{text}");
    drop(inbox);
}

/// Where it is, for people and for programs, and what was carried there.
#[test]
fn a_mailbox_that_stands_for_another_says_where_that_is() {
    let scene = Scene::new();
    let domain = Domain::open(&scene.domain).expect("the scene's");
    let id =
        Mailbox::<str>::options().domain(&domain).stands_for("oven\u{a0}7").create("orders").expect("made");
    let shown = |args: &[&str]| String::from_utf8(scene.run(args).code(0).quietly().stdout).expect("text");
    let table = shown(&["ls"]);
    assert!(table.lines().any(|line| line.starts_with("orders") && line.contains(" @oven_7 ")), "{table}");
    let stat = scene.run(&["stat", "orders", "--json"]).code(0).quietly().json();
    assert_eq!(stat["stands_for"], "oven\u{a0}7");
    assert!(stat.get("carried").is_none());
    assert!(shown(&["stat", "orders"]).contains("this one stands for a mailbox there"));

    let carried =
        Carried { sent_on: 1200, placed: 1100, collected: 7, sent_again: 2, duplicates: 0, breaks: 1 };
    let table = Table::<[u8; 16], Carried>::options().domain(&domain).capacity(8).create(Carried::TABLE);
    table.expect("made").insert(&id.to_bytes(), &carried).expect("there is room");
    let stat = scene.run(&["stat", "orders", "--json"]).code(0).quietly().json();
    assert_eq!((&stat["carried"]["sent_on"], &stat["carried"]["breaks"]), (&json!(1200), &json!(1)));
    let said = shown(&["stat", "orders"]);
    assert!(
        said.contains("1,200 sent on, 1,100 placed, 7 collected, 2 sent again; the way broke once"),
        "{said}"
    );
}
