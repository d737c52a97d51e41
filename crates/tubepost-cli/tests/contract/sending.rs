//! `send`: what becomes a message, and when it is refused.

use std::io::Write;
use std::time::{Duration, Instant};

use tubepost::{Domain, Mailbox};

use crate::scene::Scene;

#[test]
fn each_argument_is_a_message() {
    let scene = Scene::new();
    let owner = scene.own("jobs", &["--count", "3"]);
    scene.run(&["send", "jobs", "one", "", "th ree"]).code(0).prints("").quietly();
    owner.end().code(0).prints("one\n\nth ree\n").quietly();
}

#[test]
fn what_looks_like_an_option_is_sent_after_two_dashes() {
    let scene = Scene::new();
    let owner = scene.own("jobs", &["--count", "2"]);
    scene.run(&["send", "jobs", "--", "--whole", "-5"]).code(0);
    owner.end().code(0).prints("--whole\n-5\n");
}

#[test]
fn each_line_is_a_message_and_the_last_needs_no_newline() {
    let scene = Scene::new();
    let owner = scene.own("jobs", &["--count", "4", "-0"]);
    scene.feed(&["send", "jobs"], b"one\n\n\xff\x00\r\nlast").code(0).quietly();
    owner.end().code(0).prints(b"one\0\0\xff\x00\r\0last\0");
}

#[test]
fn no_input_is_no_message() {
    let scene = Scene::new();
    let _owner = scene.own("jobs", &[]);
    scene.feed(&["send", "jobs"], b"").code(0);
    scene.feed(&["send", "-0", "jobs"], b"").code(0);
    assert_eq!(scene.find("jobs").expect("the mailbox")["sent"], 0);
}

#[test]
fn a_line_is_sent_as_soon_as_it_is_read() {
    let scene = Scene::new();
    let mut owner = scene.own("jobs", &[]);
    let mut sender = scene.start_fed(&["send", "jobs"]);
    for line in ["first", "second", "third"] {
        writeln!(sender.input(), "{line}").expect("it reads");
        assert_eq!(owner.line(), line, "it arrives while the sender's input is still open");
    }
    sender.end().code(0);
}

#[test]
fn nul_separates_what_may_contain_newlines() {
    let scene = Scene::new();
    let owner = scene.own("jobs", &["--count", "3", "-0"]);
    scene.feed(&["send", "-0", "jobs"], b"a\nb\0\0c").code(0);
    owner.end().code(0).prints(b"a\nb\0\0c\0");
}

#[test]
fn all_of_the_input_can_be_one_message() {
    let scene = Scene::new();
    let owner = scene.own("jobs", &["--count", "2", "--raw"]);
    let picture: Vec<u8> = (0..4096).map(|i| (i * 7 % 256) as u8).collect();
    scene.feed(&["send", "--whole", "jobs"], &picture).code(0);
    scene.feed(&["send", "--whole", "jobs"], b"").code(0);
    owner.end().code(0).prints(picture);
}

#[test]
fn a_full_mailbox_is_not_waited_for_if_so_asked() {
    let scene = Scene::new();
    let _inbox = own_here(&scene, 2);
    let sent = scene.run(&["send", "--no-wait", "jobs", "a", "b", "c"]);
    sent.code(3).prints("").complains(&["jobs", "full", "messages sent before: 2"]);
    scene.feed(&["send", "--no-wait", "jobs"], b"d\n").code(3).complains(&["full"]);
    scene.until_waiting("jobs", 2);
}

#[test]
fn a_full_mailbox_is_waited_for_as_long_as_the_timeout_says() {
    let scene = Scene::new();
    let inbox = own_here(&scene, 1);
    let begin = Instant::now();
    scene.run(&["send", "--timeout", "300ms", "jobs", "a", "b"]).code(3).complains(&["full"]);
    assert!(begin.elapsed() >= Duration::from_millis(300), "it waited only {:?}", begin.elapsed());
    // The timeout is per message: with somebody receiving, many messages may take far longer in all.
    let lines: Vec<u8> = (0..140).flat_map(|i| format!("{i}\n").into_bytes()).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..141 {
                let begin = Instant::now();
                while begin.elapsed() < Duration::from_millis(25) {
                    std::thread::yield_now();
                }
                inbox.recv_timeout(crate::scene::PATIENCE).expect("a message");
            }
        });
        scene.feed(&["send", "--timeout", "3s", "jobs"], &lines).code(0);
    });
}

#[test]
fn it_waits_until_a_message_is_collected_if_so_asked() {
    let scene = Scene::new();
    scene.create("jobs", &[]);
    scene
        .run(&["send", "--collected", "--timeout", "50ms", "jobs", "a"])
        .code(3)
        .complains(&["jobs", "withdrawn"]);
    scene.until_waiting("jobs", 0);
    scene.run(&["send", "--collected", "--no-wait", "jobs", "a"]).code(2);
    let sender = scene.start(&["send", "--collected", "jobs", "b"]);
    scene.until_waiting("jobs", 1);
    scene.run(&["recv", "jobs", "--count", "1"]).code(0).prints("b\n");
    sender.end().code(0).prints("");
    let sender = scene.start(&["send", "--collected", "jobs", "c"]);
    scene.until_waiting("jobs", 1);
    scene.run(&["rm", "jobs"]).code(0);
    sender.end().code(5).complains(&["not received"]);
}

#[test]
fn a_message_too_long_is_refused_with_both_numbers() {
    let scene = Scene::new();
    let owner = scene.own("jobs", &["--max-message", "1KiB", "--count", "1"]);
    scene.feed(&["send", "--whole", "jobs"], &[b'x'; 1025]).code(1).complains(&["1025", "1024"]);
    scene.feed(&["send", "--whole", "jobs"], &[b'x'; 1024]).code(0);
    owner.end().code(0).prints([&[b'x'; 1024][..], b"\n"].concat());
}

#[test]
fn an_input_too_long_is_not_read_to_its_end() {
    let scene = Scene::new();
    scene.create("jobs", &["--max-message", "64KiB"]);
    for how in [&["send", "jobs", "--whole"][..], &["send", "jobs"]] {
        // It has no end, and no line of it has one.
        let endless = std::fs::File::open("/dev/zero").expect("/dev/zero");
        let sender = crate::scene::Running::start(scene.command(how).stdin(endless));
        sender.end().code(1).prints("").complains(&["jobs", "65537", "65536"]);
    }
    scene.feed(&["send", "jobs"], &[&[b'x'; 65536][..], b"\n", &[b'y'; 65536]].concat()).code(0);
    scene.feed(&["send", "jobs"], &[&[b'x'; 65537][..], b"\n"].concat()).code(1);
    scene.until_waiting("jobs", 2);
}

#[test]
fn a_large_message_arrives_whole() {
    let scene = Scene::new();
    scene.create("pictures", &["--max-message", "1GiB"]);
    let picture: Vec<u8> = (0..64u32 << 20).map(|i| (i ^ i >> 8 ^ i >> 16) as u8).collect();
    scene.feed(&["send", "pictures", "--whole"], &picture).code(0).quietly();
    let received = scene.run(&["recv", "pictures", "--raw", "--count", "1"]).code(0).quietly();
    assert!(received.stdout == picture, "64 MiB, of which {} came", received.stdout.len());
}

#[test]
fn the_format_is_taken_over_or_must_be_equal() {
    let scene = Scene::new();
    let owner = scene.own("jobs", &["--format", "job/v2", "--count", "2"]);
    scene.run(&["send", "jobs", "whatever it is"]).code(0);
    scene.run(&["send", "jobs", "--format", "job/v1", "x"]).code(1).complains(&["job/v1", "job/v2"]);
    scene.run(&["send", "jobs", "--format", "", "x"]).code(1).complains(&["job/v2"]);
    scene.run(&["send", "jobs", "--format", "job/v2", "the same"]).code(0);
    owner.end().code(0).prints("whatever it is\nthe same\n");
}

#[test]
fn a_mailbox_without_a_format_has_the_empty_one() {
    let scene = Scene::new();
    let owner = scene.own("jobs", &["--count", "2"]);
    scene.run(&["send", "jobs", "--format", "job/v1", "x"]).code(1).complains(&["job/v1"]);
    scene.run(&["send", "jobs", "--format", "", "a"]).code(0);
    scene.run(&["send", "jobs", "b"]).code(0);
    owner.end().code(0).prints("a\nb\n");
}

#[test]
fn bytes_do_not_go_where_a_type_is_expected() {
    let scene = Scene::new();
    let domain = Domain::open(&scene.domain).expect("the domain");
    let inbox = Mailbox::<u64>::options().domain(&domain).own("readings").expect("a mailbox");
    let sent = scene.run(&["send", "readings", "12345678"]);
    sent.code(1).prints("").complains(&["readings", "u64", "bytes"]);
    assert!(inbox.is_empty());
}

#[test]
fn many_senders_one_receiver_and_each_ones_order_is_kept() {
    const EACH: usize = 2000;
    let scene = Scene::new();
    let owner = scene.own("jobs", &["--capacity", "16", "--count", &(2 * EACH).to_string()]);
    let lines =
        |who: char| -> Vec<u8> { (0..EACH).flat_map(|i| format!("{who}{i}\n").into_bytes()).collect() };
    std::thread::scope(|scope| {
        for who in ['a', 'b'] {
            let (scene, lines) = (&scene, lines(who));
            scope.spawn(move || scene.feed(&["send", "jobs"], &lines).code(0));
        }
    });
    let text = owner.end().code(0).text();
    for who in ['a', 'b'] {
        let own: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(who)).collect();
        assert_eq!(own, (0..EACH).map(|i| i.to_string()).collect::<Vec<_>>(), "all of {who}'s, in order");
    }
}

/// A mailbox of bytes that this process owns.
fn own_here(scene: &Scene, capacity: u64) -> tubepost::Receiver<[u8]> {
    let domain = Domain::open(&scene.domain).expect("the domain");
    Mailbox::<[u8]>::options().domain(&domain).bounded(capacity).own("jobs").expect("a mailbox")
}
