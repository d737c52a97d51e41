//! `run`, and what it tells who looks on; and what its commands have when it is killed.

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;

use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::scene::{Running, Scene, skip, until};

/// A file beside the scene, removed with it.
struct Beside(PathBuf);

impl Beside {
    fn new(scene: &Scene, what: &str) -> Beside {
        Beside(scene.domain.with_extension(what))
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.0).unwrap_or_default()
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Starts `run jobs …` with its standard error in a file.
fn start(scene: &Scene, args: &[&str]) -> (Running, Beside) {
    let said = Beside::new(scene, "said");
    let file = File::create(&said.0).expect("a file");
    (Running::start(scene.command(&[&["run", "jobs"], args].concat()).stderr(file)), said)
}

/// It came by a pipe, whose writer died: the command took what was there for all of it.
#[test]
fn a_command_has_all_of_its_message_also_when_run_is_killed() {
    let scene = Scene::new();
    scene.create("jobs", &[]);
    scene.feed(&["send", "jobs", "--whole"], &vec![b'x'; 300_000]).code(0);
    let (counted, go) = (Beside::new(&scene, "counted"), Beside::new(&scene, "go"));
    let script = "echo up; until test -e \"$1\"; do sleep 0.01; done; wc -c > \"$0\"";
    let (mut run, _said) = start(&scene, &["--", "sh", "-c", script, &counted.path(), &go.path()]);
    assert_eq!(run.line(), "up");
    run.signal(Signal::KILL);
    until("it is dead", || !run.is_running());
    fs::write(&go.0, "").expect("a file");
    until("it has read", || counted.text().ends_with('\n'));
    assert_eq!(counted.text().trim(), "300000");
}

/// As help says; a thread of `run` waits for each command, and lives as long.
#[test]
fn a_command_that_asks_for_it_dies_with_run() {
    if !std::process::Command::new("setpriv")
        .arg("--version")
        .output()
        .is_ok_and(|ended| ended.status.success())
    {
        return skip("a_command_that_asks_for_it_dies_with_run", "there is no setpriv");
    }
    let scene = Scene::new();
    scene.create("jobs", &[]);
    scene.run(&["send", "jobs", "1", "2"]).code(0);
    let command = ["setpriv", "--pdeathsig", "KILL", "sh", "-c", "echo $$; exec sleep 1000"];
    let (mut run, _said) = start(&scene, &[&["--jobs", "2", "--"], &command[..]].concat());
    let commands = [run.line(), run.line()];
    run.signal(Signal::KILL);
    for pid in commands {
        // Dead; somebody has still to look after it.
        let lives =
            || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        until("the command is dead", || !lives());
    }
}

#[test]
fn dead_letters_that_can_not_be_delivered_are_told() {
    let scene = Scene::new();
    scene.create("jobs", &[]);
    scene.create("dead", &["--capacity", "1"]);
    scene.run(&["send", "dead", "old"]).code(0);
    scene.run(&["send", "jobs", "a", "b"]).code(0);
    let failing = ["--until-empty", "--max-redeliveries", "0", "--dead-letter", "dead", "--", "false"];
    let (mut run, said) = start(&scene, &failing);
    let told = |what: &str| until(what, || said.text().lines().any(|line| line.contains(what)));
    told("2 dead letters wait, for \"dead\": it is full, of 1 messages");
    assert!(run.is_running());
    // Another reason is told, too; it was there before run was, so it is not run's to make.
    scene.run(&["rm", "dead"]).code(0);
    told("nothing is called \"dead\"");
    scene.create("dead", &[]);
    assert_eq!(run.wait(), 0);
    let mut lines = said.text().lines().filter(|line| line.contains("wait")).count();
    assert_eq!(lines, 2, "each once: {}", said.text());
    scene.run(&["recv", "dead", "--no-wait"]).code(0).prints("a\nb\n");

    // What run made it makes again.
    scene.run(&["rm", "dead"]).code(0);
    scene.run(&["send", "jobs", "c"]).code(0);
    let script = "\"$0\" rm dead; exit 1";
    let failing = [&failing[..6], &["sh", "-c", script, env!("CARGO_BIN_EXE_tubepost")]].concat();
    let (mut run, said) = start(&scene, &failing);
    assert_eq!(run.wait(), 0);
    lines = said
        .text()
        .lines()
        .filter(|line| line.contains("1 dead letters wait") && line.contains("made again"))
        .count();
    assert_eq!(lines, 1, "{}", said.text());
    scene.run(&["recv", "dead", "--no-wait"]).code(0).prints("c\n");
}

/// The line that tells how it goes was written over, and the complaint behind it.
#[test]
fn a_complaint_is_a_line_of_its_own() {
    let scene = Scene::new();
    scene.create("jobs", &[]);
    let jobs: Vec<String> = (0..12).map(|n| n.to_string()).collect();
    scene
        .run(&[&["send", "jobs"], &jobs.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat())
        .code(0);
    let watched = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&watched).expect("ours");
    unlockpt(&watched).expect("ours");
    let name = ptsname(&watched, Vec::new()).expect("its name").into_string().expect("text");
    let terminal = File::options().read(true).write(true).open(name).expect("the terminal");
    let args =
        ["run", "jobs", "--until-empty", "--max-redeliveries", "0", "--", "sh", "-c", "sleep 0.3; exit 1"];
    let run = Running::start(scene.command(&args).stderr(terminal));
    let reader = std::thread::spawn(move || {
        let (mut text, mut watched) = (Vec::new(), File::from(watched));
        let _ = watched.read_to_end(&mut text); // an error when nobody has the terminal any more
        String::from_utf8(text).expect("text")
    });
    run.end().code(0);
    let text = reader.join().expect("it reads");
    assert!(text.contains("given up, ") && text.contains(" waiting"), "it tells how it goes: {text:?}");
    let mut complaints = 0;
    for (at, _) in text.match_indices("tubepost: ") {
        assert!(at == 0 || text[..at].ends_with('\n') || text[..at].ends_with("\x1b[K"), "{text:?}");
        complaints += 1;
    }
    assert_eq!(complaints, 12);
}
