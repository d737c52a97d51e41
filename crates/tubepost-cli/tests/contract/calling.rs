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
    scene.run(&["send", "ask", "hello"]).code(1).complains(&["ask", "answered by", "`tubepost call`"]);
    scene.run(&["serve", "ask", "--", "cat"]).code(1).complains(&["ask", &server.pid().to_string()]);
    scene.run(&["serve", "ask"]).code(2);
}

/// It went back, and the command ran again, and again; and all that it printed was kept.
#[test]
fn an_answer_that_is_too_long_is_none() {
    let scene = Scene::new();
    let ran = path(&scene);
    let script = "echo >> \"$0\"; read -r how; case $how in";
    let script = format!(
        "{script} endless) exec yes;; long) head -c 1048577 /dev/zero;; *) head -c 1048576 /dev/zero;; esac"
    );
    let server = serve(&scene, &["sh", "-c", &script, &ran]);
    for question in ["long", "endless"] {
        scene.run(&["call", "ask", question]).code(1).prints("").complains(&["ask", "not answered"]);
    }
    let fits = scene.run(&["call", "ask", "fits"]).code(0);
    assert_eq!(fits.stdout.len(), 1 << 20 | 1, "and a newline");
    server.signal(Signal::TERM);
    let complaint = server.end().code(143).complaint();
    assert_eq!(complaint.lines().count(), 2, "{complaint}");
    for line in complaint.lines() {
        for part in ["not answered", "1048577", "1048576"] {
            assert!(line.contains(part), "{part:?} is not in {line:?}");
        }
    }
    assert_eq!(std::fs::read_to_string(&ran).expect("it ran").lines().count(), 3, "once for each question");
    std::fs::remove_file(ran).expect("it was made");
}

#[test]
fn a_question_too_long_is_not_read_to_its_end() {
    let scene = Scene::new();
    let _server = serve(&scene, &["wc", "-c"]);
    let endless = std::fs::File::open("/dev/zero").expect("/dev/zero");
    let caller = Running::start(scene.command(&["call", "ask"]).stdin(endless));
    caller.end().code(1).prints("").complains(&["ask", "1048577", "1048576"]);
    let longest = vec![b'x'; 1 << 20];
    scene
        .feed(&["call", "ask"], &[&longest[..], b"\n", &longest].concat())
        .code(0)
        .prints("1048576\n1048576\n");
}

#[test]
fn so_many_are_answered_at_one_time() {
    let scene = Scene::new();
    let mark = path(&scene);
    let script = "read -r me; : > \"$0.$me\"; until test -e \"$0.a\" -a -e \"$0.b\"; do sleep 0.01; done; echo \"$me\"";
    let _server = serve(&scene, &["sh", "-c", script, &mark]);
    scene.run(&["call", "ask", "a", "--timeout", "100ms"]).code(3);
    std::fs::remove_file(format!("{mark}.a")).expect("it was made");
    scene.run(&["rm", "ask", "--force"]).code(0);
    let mut both = scene.start(&["serve", "ask", "--jobs", "2", "--", "sh", "-c", script, &mark]);
    until("it serves", || both.is_running() && scene.find("ask").is_some());
    let [a, b] = ["a", "b"].map(|question| scene.start(&["call", "ask", question]));
    a.end().code(0).prints("a\n").quietly();
    b.end().code(0).prints("b\n").quietly();
    scene.run(&["serve", "other", "--jobs", "0", "--", "true"]).code(2);
    for who in ["a", "b"] {
        std::fs::remove_file(format!("{mark}.{who}")).expect("it was made");
    }
}

#[test]
fn what_can_not_be_run_serves_nobody() {
    let scene = Scene::new();
    for command in ["/nonexistent", "/", "/etc/passwd", "no-such-command"] {
        scene.run(&["serve", "ask", "--", command]).code(1).prints("").complains(&[command, "cannot be run"]);
        assert!(scene.list().is_empty(), "nothing was made");
    }
}
