//! `bench`: the JSON that others read, and that a killed benchmark leaves no process spinning.

use rustix::process::Signal;
use serde_json::Value;

use crate::demo::{leavings, uid};
use crate::scene::{Running, bare, fields, until};

/// What the contract names for every row, sorted.
const ROW: [&str; 14] = [
    "bytes",
    "limit",
    "limit_value",
    "measure",
    "mode",
    "msgs_per_s",
    "p50_ns",
    "p999_ns",
    "p99_ns",
    "place",
    "ratio",
    "receivers",
    "senders",
    "what",
];

fn rows(words: &[&str]) -> Vec<Value> {
    let args = [&["bench", "--quick", "--json"], words].concat();
    let bench = Running::start(&mut bare(&args));
    let pid = bench.pid();
    let report = bench.end().code(0).quietly().json();
    assert_eq!(fields(&report), ["machine", "rows"]);
    for fact in ["cpu", "cpus", "kernel", "os"] {
        assert!(!report["machine"][fact].is_null(), "{fact} is not in {}", report["machine"]);
    }
    assert_eq!(leavings("bench", pid), [""; 0]);
    let Value::Array(rows) = report["rows"].clone() else {
        panic!("rows are an array, not {}", report["rows"])
    };
    for row in &rows {
        assert_eq!(fields(row), ROW);
        assert_eq!(row["senders"], 1);
        let latency = row["measure"] == "latency";
        assert_eq!((row["p50_ns"].is_f64(), row["msgs_per_s"].is_f64()), (latency, !latency), "{row}");
        assert_eq!(row["limit"].is_null(), row["ratio"].is_null(), "{row}");
        assert_eq!(row["limit"].is_null(), row["limit_value"].is_null(), "{row}");
    }
    rows
}

fn find<'a>(rows: &'a [Value], what: &str, bytes: u64) -> &'a Value {
    rows.iter()
        .find(|row| row["what"] == what && row["bytes"] == bytes)
        .unwrap_or_else(|| panic!("{what} of {bytes}"))
}

#[test]
fn a_row_comes_with_the_limit_it_is_held_against() {
    // Sleeping on one CPU is what every machine can show.
    let rows = rows(&["mailbox", "one-core", "8"]);
    assert_eq!(rows.len(), 2, "{rows:?}");
    let (limit, subject) = (find(&rows, "futex", 8), find(&rows, "mailbox", 8));
    assert_eq!((&subject["limit"], &subject["mode"]), (&"futex".into(), &"block".into()));
    assert_eq!(subject["limit_value"], limit["p50_ns"]);
    assert!(subject["ratio"].as_f64() > Some(0.0), "{subject}");
}

#[test]
fn spinning_and_streams_need_two_cpus() {
    if std::thread::available_parallelism().expect("CPUs").get() < 2 {
        println!("skipped: one CPU to run on");
        return;
    }
    let latency = rows(&["mailbox", "copy", "latency", "spin", "64"]);
    assert_eq!(find(&latency, "mailbox", 64)["limit"], "copy");
    let stream = rows(&["mailbox", "stream", "56"]);
    assert_eq!(find(&stream, "mailbox", 56)["limit"], "ring");
    assert!(find(&stream, "ring", 56)["msgs_per_s"].as_f64() > Some(1000.0));
}

#[test]
fn unknown_words_are_usage() {
    for words in [&["telegraph"][..], &["latency", "7"], &["futex", "stream"]] {
        let args = [&["bench", "--quick"], words].concat();
        Running::start(&mut bare(&args)).end().code(2).prints("").complains(&[]);
    }
}

#[test]
fn the_help_names_every_word() {
    let told = Running::start(&mut bare(&["bench", "telegraph"])).end().code(2);
    let complaint = told.complaint();
    let (_, words) = complaint.split_once("any of: ").expect("words are named");
    let help = Running::start(&mut bare(&["bench", "--help"])).end().code(0).quietly().text();
    let known: Vec<_> = help.split([' ', '\n', ',', ';', '.']).collect();
    for word in words.trim().split([',', ';']).map(|word| word.trim().trim_start_matches("or a length: ")) {
        assert!(known.contains(&word), "{word}");
    }
}

#[test]
fn the_table_is_plain_in_a_pipe() {
    let table =
        Running::start(&mut bare(&["bench", "--quick", "futex", "one-core"])).end().code(0).quietly().text();
    assert!(table.contains("p99.9") && table.contains("futex"), "{table}");
    assert!(!table.contains(['\t', '\x1b', '█']), "{table}");
}

#[test]
fn an_interrupted_benchmark_cleans_up() {
    let (bench, mark) = started();
    bench.signal(Signal::TERM);
    let pid = bench.pid();
    bench.end().code(143);
    assert_eq!(leavings("bench", pid), [""; 0]);
    until("the far process is gone", || processes_in(&mark) == 0);
}

#[test]
fn a_killed_benchmark_leaves_no_process_and_the_next_one_cleans_up() {
    let (mut bench, mark) = started();
    bench.signal(Signal::KILL);
    until("the near process is gone", || !bench.is_running());
    until("the far process is gone", || processes_in(&mark) == 0);
    let pid = bench.pid();
    Running::start(&mut bare(&["bench", "--quick", "futex", "one-core"])).end().code(0);
    assert_eq!(leavings("bench", pid), [""; 0], "the next run removes what a killed one left");
}

/// A benchmark that is under way, and what its processes' command lines have in them.
fn started() -> (Running, String) {
    let bench = Running::start(&mut bare(&["bench", "futex", "one-core"]));
    let mark = format!("tubepost-bench.{}.{}.", uid(), bench.pid());
    until("the far process is there", || processes_in(&mark) == 1);
    (bench, mark)
}

/// How many processes have `mark` in their command line.
pub fn processes_in(mark: &str) -> usize {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let command_lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    command_lines.filter(|line| String::from_utf8_lossy(line).contains(mark)).count()
}
