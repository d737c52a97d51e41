//! `call` and `serve`: questions, and what a command answers.

use rustix::process::Signal;

use crate::ends::nothing_is_left;
use crate::scene::{Running, Scene, is_at_work, until};

fn serve(scene: &Scene, command: &[&str]) -> Running {
    let mut running = scene.start(&[&["serve", "ask", "--"], command].concat());
    until("it serves", || {
        assert!(running.is_running(), "serve ended early: {}", running.complaints());
        is_at_work(running.pid()) && scene.find("ask").is_some()
    });
    running
}

#[test]
fn a_question_gets_what_the_command_prints() {
    let scene = Scene::new();
    let server = serve(&scene, &["tr", "a-z", "A-Z"]);
    scene.run(&["call", "ask", "hello"]).code(0).prints("HELLO\n").quietly();
    scene.run(&["call", "ask", "one", "", "two words"]).code(0).prints("ONE\n\nTWO WORDS\n").quietly();
    scene.feed(&["call", "ask"], b"a\nb\nlast").code(0).prints("A\nB\nLAST\n").quietly();
    // Larger than a pipe, both ways.
    let long = "x".repeat(300_000);
    scene.feed(&["call", "ask"], long.as_bytes()).code(0).prints(long.to_uppercase() + "\n");
    server.signal(Signal::TERM);
    server.end().code(143).quietly();
    nothing_is_left(&scene);
}

#[test]
fn what_ends_with_a_newline_gets_no_other() {
    let scene = Scene::new();
    let _server = serve(&scene, &["sh", "-c", "read -r n; echo $((n + 1))"]);
    scene.run(&["call", "ask", "41\n", "7\n"]).code(0).prints("42\n8\n");
}

#[test]
fn callers_at_one_time_get_their_own_answers() {
    let scene = Scene::new();
    let _server = serve(&scene, &["cat"]);
    let callers: Vec<(String, Running)> = (0..8)
        .map(|n| format!("question {n}"))
        .map(|n| (n.clone(), scene.start(&["call", "ask", &n])))
        .collect();
    for (question, caller) in callers {
        caller.end().code(0).prints(question + "\n").quietly();
    }
}

#[test]
fn a_command_that_fails_gives_no_answer() {
    let scene = Scene::new();
    let mut server = serve(&scene, &["sh", "-c", "exit 7"]);
    scene.run(&["call", "ask", "why?"]).code(1).prints("").complains(&["ask", "not answered"]);
    assert!(server.is_running());
    server.signal(Signal::INT);
    server.end().code(130).complains(&["question 0", "exited with 7"]);
}

#[test]
fn who_waits_for_an_answer_waits_no_longer_than_said() {
    let scene = Scene::new();
    scene.run(&["call", "ask", "anybody?"]).code(4).complains(&["ask"]);
    // A command that outlives its server, but not for long.
    let server = serve(&scene, &["sh", "-c", "exec tail -f /dev/null --pid $PPID"]);
    scene.run(&["call", "ask", "--timeout", "50ms", "slow?"]).code(3).prints("").complains(&["--timeout"]);
    let waiting = scene.start(&["call", "ask", "ever?"]);
    until("both have asked", || scene.find("ask").is_some_and(|row| row["sent"] == 2));
    server.signal(Signal::KILL);
    waiting.end().code(5).complains(&["ask"]);
}

#[test]
fn the_end_of_the_server_ends_its_command() {
    let scene = Scene::new();
    let server = serve(&scene, &["sh", "-c", "echo $$ > \"$0\"; exec sleep 1000", &path(&scene)]);
    let waiting = scene.start(&["call", "ask", "ever?"]);
    let mut pid = String::new();
    until("its command runs", || {
        pid = std::fs::read_to_string(path(&scene)).unwrap_or_default();
        pid.ends_with('\n')
    });
    server.signal(Signal::TERM);
    server.end().code(143).quietly();
    waiting.end().code(5).complains(&["ask", "received, and not answered"]);
    let gone = || !std::path::Path::new(&format!("/proc/{}", pid.trim())).exists();
    until("its command is gone", gone);
    std::fs::remove_file(path(&scene)).expect("it was made");
}

fn path(scene: &Scene) -> String {
    scene.domain.with_extension("pid").display().to_string()
}

#[test]
fn questions_and_messages_are_not_mixed_up() {
    let scene = Scene::new();
    scene.create("jobs", &[]);
    scene.run(&["call", "jobs", "why?"]).code(1).complains(&["jobs", "answered by"]);
    let server = serve(&scene, &["cat"]);
    scene.run(&["send", "ask", "hello"]).code(1).complains(&["ask", "answered by"]);
    scene.run(&["serve", "ask", "--", "cat"]).code(1).complains(&["ask", &server.pid().to_string()]);
    scene.run(&["serve", "ask"]).code(2);
}
