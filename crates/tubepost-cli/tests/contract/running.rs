//! `run`: a command for each message.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::ends::nothing_is_left;
use crate::scene::{Running, Scene, is_at_work, until};

/// Starts `run jobs …` and waits until it is at work.
fn start(scene: &Scene, args: &[&str]) -> Running {
    let running = scene.start(&[&["run", "jobs"], args].concat());
    until("it runs", || is_at_work(running.pid()));
    running
}

/// The children of a process.
fn children(pid: u32) -> Vec<u32> {
    let listed = fs::read_dir(format!("/proc/{pid}/task")).expect("a process").flatten();
    let of = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).unwrap_or_default();
    listed.map(of).collect::<String>().split_whitespace().map(|pid| pid.parse().expect("a pid")).collect()
}

fn depth(scene: &Scene) -> [u64; 3] {
    let row = scene.find("jobs").expect("it exists");
    ["depth", "held", "received"].map(|field| row[field].as_u64().expect("a number"))
}

#[test]
fn each_message_is_the_input_of_a_command() {
    let scene = Scene::new();
    scene.create("jobs", &[]);
    scene.run(&["send", "jobs", "a b", "", "$c"]).code(0);
    scene
        .run(&["run", "jobs", "--until-empty", "--", "sh", "-c", "cat; echo ."])
        .code(0)
        .prints("a b.\n.\n$c.\n")
        .quietly();
    assert_eq!(depth(&scene), [0, 0, 3]);
    // Nothing to do is well done.
    scene.run(&["run", "jobs", "--until-empty", "--", "false"]).code(0).prints("").quietly();
}

#[test]
fn a_command_that_fails_gets_its_message_again() {
    let scene = Scene::new();
    scene.create("jobs", &[]);
    scene.run(&["send", "jobs", "once", "again"]).code(0);
    let mark = scene.domain.with_extension("mark");
    let script = format!(
        "read -r job; test \"$job\" = once || test -e {0} || {{ touch {0}; exit 7; }}; echo \"$job\"",
        mark.display()
    );
    let ended = scene.run(&["run", "jobs", "--until-empty", "--", "sh", "-c", &script]);
    ended.code(0).prints("once\nagain\n").complains(&["jobs", "message 1", "sh", "exited with 7"]);
    fs::remove_file(mark).expect("it was made");
    assert_eq!(depth(&scene), [0, 0, 2]);
}

#[test]
fn a_command_need_not_read_its_message() {
    let scene = Scene::new();
    scene.create("jobs", &["--max-message", "1MiB"]);
    scene.feed(&["send", "jobs", "--whole"], &vec![b'x'; 1 << 20]).code(0);
    scene.run(&["run", "jobs", "--until-empty", "--", "true"]).code(0).prints("").quietly();
    assert_eq!(depth(&scene), [0, 0, 1]);
}

#[test]
fn so_many_at_one_time_and_all_are_its_children() {
    let scene = Scene::new();
    scene.create("jobs", &[]);
    scene.run(&["send", "jobs", "1", "2", "3", "4"]).code(0);
    let mut run =
        start(&scene, &["--jobs", "3", "--", "sh", "-c", "read -r job; echo $job; exec sleep 1000"]);
    let mut started: Vec<String> = (0..3).map(|_| run.line()).collect();
    started.sort_unstable();
    assert_eq!(started, ["1", "2", "3"]);
    assert_eq!(children(run.pid()).len(), 3);
    assert_eq!(depth(&scene), [1, 3, 0]);
    // Told to end it passes that on, and all goes back.
    run.signal(Signal::TERM);
    assert_eq!(run.wait(), 143);
    assert_eq!(depth(&scene), [4, 0, 0]);
    let again = scene.run(&["run", "jobs", "--until-empty", "--", "sh", "-c", "cat; echo"]).code(0);
    let mut done: Vec<String> = again.text().lines().map(String::from).collect();
    done.sort_unstable();
    assert_eq!(done, ["1", "2", "3", "4"]);
}

#[test]
fn a_command_that_does_not_listen_is_killed() {
    let scene = Scene::new();
    scene.create("jobs", &[]);
    scene.run(&["send", "jobs", "1"]).code(0);
    let mut run = start(&scene, &["--", "sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.05; done"]);
    assert_eq!(run.line(), "deaf");
    run.signal(Signal::INT);
    assert_eq!(run.wait(), 130);
    assert_eq!(depth(&scene), [1, 0, 0]);
}

#[test]
fn what_it_had_when_it_was_killed_another_gets() {
    let scene = Scene::new();
    scene.create("jobs", &[]);
    scene.run(&["send", "jobs", "hard"]).code(0);
    let mut run = start(&scene, &["--", "sh", "-c", "echo $$; exec sleep 1000"]);
    let command: i32 = run.line().parse().expect("a pid");
    let other = start(&scene, &["--until-empty", "--", "sh", "-c", "cat; echo"]);
    run.signal(Signal::KILL);
    other.end().code(0).prints("hard\n").quietly();
    let command = rustix::process::Pid::from_raw(command).expect("a pid");
    rustix::process::kill_process(command, Signal::KILL).expect("it goes on until it ends");
    assert_eq!(depth(&scene), [0, 0, 1]);
}

#[test]
fn until_empty_waits_for_what_others_have_in_hand() {
    let scene = Scene::new();
    scene.create("jobs", &[]);
    scene.run(&["send", "jobs", "slow"]).code(0);
    let mut slow = start(&scene, &["--", "sh", "-c", "echo busy; exec sleep 1000"]);
    assert_eq!(slow.line(), "busy");
    let mut waiting = start(&scene, &["--until-empty", "--", "sh", "-c", "cat; echo"]);
    assert!(waiting.is_running());
    slow.signal(Signal::TERM);
    assert_eq!(waiting.line(), "slow");
    waiting.end().code(0).quietly();
    assert_eq!(slow.wait(), 143);
}

#[test]
fn what_can_not_be_run_is_an_error_and_nothing_is_lost() {
    let scene = Scene::new();
    scene.run(&["run", "jobs", "--", "true"]).code(4).complains(&["jobs"]);
    scene.create("jobs", &[]);
    scene.run(&["send", "jobs", "1"]).code(0);
    scene.run(&["run", "jobs", "--", "no-such-command"]).code(1).complains(&["no-such-command", "PATH"]);
    assert_eq!(depth(&scene), [1, 0, 0]);
    for command in ["/nonexistent", "/", "/etc/passwd"] {
        scene.run(&["run", "jobs", "--", command]).code(1).complains(&[command, "cannot be run"]);
    }
    // What is there, and can't be started all the same.
    let script = scene.domain.with_extension("script");
    fs::write(&script, "#!/no/such/interpreter\n").expect("a script");
    fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("ours");
    let name = script.display().to_string();
    scene.run(&["run", "jobs", "--", &name]).code(1).complains(&[
        &name,
        "could not be started",
        "first line",
    ]);
    fs::remove_file(script).expect("it was made");
    assert_eq!(depth(&scene), [1, 0, 0]);
    scene.run(&["run", "jobs"]).code(2);
    scene.run(&["run", "jobs", "--jobs", "0", "--", "true"]).code(2);
    let owner = scene.own("own", &[]);
    scene.run(&["run", "own", "--", "true"]).code(1).complains(&["own", &owner.pid().to_string()]);
}

#[test]
fn a_mailbox_that_is_removed_ends_it() {
    let scene = Scene::new();
    scene.create("jobs", &[]);
    let run = start(&scene, &["--jobs", "2", "--", "true"]);
    scene.run(&["rm", "jobs"]).code(0);
    run.end().code(5).complains(&["jobs"]);
    nothing_is_left(&scene);
}

#[test]
fn so_many_redeliveries_are_one_more_delivery_and_then_it_is_a_dead_letter() {
    let scene = Scene::new();
    scene.create("jobs", &[]);
    scene.run(&["send", "jobs", "bad", "good"]).code(0);
    let script = "read -r job; echo \"$job\"; test \"$job\" = good";
    let options =
        ["--until-empty", "--max-redeliveries", "2", "--dead-letter", "dead", "--", "sh", "-c", script];
    let ended = scene.run(&[&["run", "jobs"], &options[..]].concat()).code(0);
    let complaint = ended.complaint();
    let said: Vec<&str> = complaint.lines().collect();
    assert!(
        matches!(said[..], [a, b, _] if a.contains("goes back") && b.contains("goes back")),
        "{complaint}"
    );
    assert!(said[2].contains("tried 3 times, and is a dead letter for \"dead\""), "{complaint}");
    let mut tried: Vec<String> = ended.text().lines().map(String::from).collect();
    tried.sort_unstable();
    assert_eq!(tried, ["bad", "bad", "bad", "good"]);
    assert_eq!(depth(&scene), [0, 0, 2]);
    // It was made for that, and keeps what nobody could do.
    assert_eq!(scene.find("dead").expect("it was missing")["capacity"], serde_json::Value::Null);
    scene.run(&["recv", "dead", "--no-wait"]).code(0).prints("bad\n");
    // One that is there serves as it is; without one, they are gone.
    scene.run(&["send", "jobs", "worse"]).code(0);
    scene.run(&[&["run", "jobs"], &options[..]].concat()).code(0);
    scene.run(&["recv", "dead", "--no-wait"]).code(0).prints("worse\n");
    scene.run(&["send", "jobs", "worst"]).code(0);
    let ended = scene.run(&["run", "jobs", "--until-empty", "--max-redeliveries", "0", "--", "false"]);
    ended.code(0).complains(&["tried 1 times, and is discarded"]);
    let row = scene.find("jobs").expect("it exists");
    assert_eq!([&row["depth"], &row["dead_letters"], &row["discarded"]], [0, 2, 1]);
    scene.run(&["run", "jobs", "--dead-letter", "dead", "--", "true"]).code(2);
}

#[test]
fn who_holds_it_too_long_is_overtaken() {
    let scene = Scene::new();
    scene.create("jobs", &[]);
    scene.run(&["send", "jobs", "hard"]).code(0);
    let mut slow = start(&scene, &["--hold-max", "50ms", "--", "sh", "-c", "echo busy; exec sleep 1000"]);
    assert_eq!(slow.line(), "busy");
    let quick = start(&scene, &["--until-empty", "--", "sh", "-c", "cat; echo"]);
    quick.end().code(0).prints("hard\n").quietly();
    assert_eq!(depth(&scene), [0, 0, 1]);
    slow.signal(Signal::TERM);
    assert_eq!(slow.wait(), 143);
    assert_eq!(depth(&scene), [0, 0, 1]);
}
