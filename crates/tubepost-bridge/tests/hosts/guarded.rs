//! The importing bridge is gone for good: who sends is told; and with a spool goes on.

use crate::stage::{Host, PATIENCE, config, endpoint, eventually};
use std::time::{Duration, Instant};
use tubepost::{File, Mailbox, Receiver, SendCollectedError, Sender};

#[test]
fn when_the_importing_bridge_is_gone_for_good_senders_are_told_after_the_lease() {
    let (at, lease) = (endpoint(), Duration::from_millis(1500));
    let config = config(lease);
    let there = Host::new(&["--listen", &at, "--export", "*"]);
    let mut here = Host::new(&["--zenoh-config", config.path(), "--connect", &at, "--import", "*"]);
    let inbox = Mailbox::<u64>::options().domain(&there.domain).bounded(8).own("box").expect("a free name");
    here.until_there("box");
    let out = Sender::<u64>::options().domain(&here.domain).open("box").expect("it is there");

    // It comes back in time: a pause.
    here.kill();
    out.send(1).expect("there is room");
    here.start();
    assert_eq!(inbox.recv_timeout(PATIENCE), Ok(1));
    assert_eq!(out.closed_timeout(2 * lease), Ok(None));

    // It dies again and again: none is away for as long as the lease, whatever the guards of earlier ones find just when they look.
    let end = Instant::now() + 3 * lease;
    while Instant::now() < end {
        here.kill();
        std::thread::sleep(lease / 8); // so long it is away each time
        here.start();
        eventually("it goes on", || out.send(4).is_ok() && inbox.recv_timeout(PATIENCE) == Ok(4));
    }
    assert!(!out.is_closed());
    // What the owner collected and nobody has said here would count as lost.
    eventually("it is known here that all was collected", || {
        here.domain.stat("box").is_ok_and(|stat| (stat.depth, stat.held) == (0, 0))
    });

    here.kill();
    let begin = Instant::now();
    out.send(2).expect("nobody knows so far");
    assert_eq!(
        out.closed_timeout(PATIENCE).map(|closed| closed.map(|closed| closed.uncollected)),
        Ok(Some(1))
    );
    let late = begin.elapsed();
    assert!(late > lease / 2 && late < 3 * lease, "told after {late:?}");

    // And there is one again when there is a bridge again.
    here.start();
    eventually("it is there again", || {
        let out = Sender::<u64>::options().domain(&here.domain).open("box");
        out.is_ok_and(|out| out.send(3).is_ok())
    });
    assert_eq!(inbox.recv_timeout(PATIENCE), Ok(3));
}

/// The network is down for longer than the lease, both bridges are killed, the importing host is started again (its domain is a new one): nothing is lost,
/// nothing doubled.
#[test]
fn with_a_spool_who_sends_goes_on_while_the_network_is_down() {
    let (at, lease) = (endpoint(), Duration::from_millis(500));
    let config = config(lease);
    let spool = std::env::temp_dir().join(format!("tubepost-spool-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&spool);
    let mut there = Host::new(&["--zenoh-config", config.path(), "--listen", &at, "--export", "*"]);
    let import = ["--zenoh-config", config.path(), "--connect", &at, "--import", "*", "--spool"];
    let args = [&import[..], &[spool.to_str().expect("a path of ours")]].concat();
    let mut here = Host::new(&args);
    // One that is kept on either side, and one that its owner has in memory.
    let files = there.domain.path().join("files");
    let strategy = File { dir: Some(files), ..File::default() };
    Mailbox::<u64>::options().domain(&there.domain).strategy(strategy).create("kept").expect("made");
    let kept = Receiver::<u64>::options().domain(&there.domain).open("kept").expect("it is there");
    let inbox = Mailbox::<u64>::options().domain(&there.domain).bounded(4).own("box").expect("a free name");
    let inboxes = [("kept", kept), ("box", inbox)];
    let send = |host: &Host, numbers: std::ops::Range<u64>| {
        for (name, _) in &inboxes {
            host.until_there(name);
            let out = Sender::<u64>::options().domain(&host.domain).open(name).expect("it is there");
            numbers.clone().for_each(|k| out.send_timeout(k, PATIENCE).expect("there is room"));
        }
    };
    let receive = |numbers: std::ops::Range<u64>| {
        for (name, inbox) in &inboxes {
            numbers.clone().for_each(|k| assert_eq!(inbox.recv_timeout(PATIENCE), Ok(k), "in {name:?}"));
        }
    };
    send(&here, 0..10);
    receive(0..10);

    // Nobody is there for longer than the lease.
    there.kill();
    send(&here, 10..500);
    std::thread::sleep(4 * lease); // the lease is what passes
    send(&here, 500..600);
    there.start();
    receive(10..600);

    // The importing bridge is away as well.
    there.kill();
    send(&here, 600..700);
    here.kill();
    send(&here, 700..800);
    std::thread::sleep(4 * lease); // as above
    here.start();
    send(&here, 800..900);
    there.start();
    receive(600..900);

    // Its host is started again: what was in memory there is gone, and its domain another one.
    there.kill();
    send(&here, 900..1000);
    here.kill();
    std::fs::remove_dir_all(here.domain.path()).expect("memory is gone");
    let mut again = Host::new(&args);
    send(&again, 1000..1100);
    there.start();
    receive(900..1100);

    // The owner goes: that is told, and the spool is gone with it.
    let [_, (_, inbox)] = inboxes;
    let out = Sender::<u64>::options().domain(&again.domain).open("box").expect("it is there");
    drop(inbox);
    assert!(out.closed_timeout(PATIENCE).expect("it can be told").is_some());
    eventually("the log is gone", || !spool.join("box").exists() && !spool.join("box.at").exists());
    again.kill();
    std::fs::remove_dir_all(&spool).expect("ours");
}

#[test]
fn with_a_spool_nobody_is_told_that_a_message_is_collected_when_the_network_is_gone() {
    let (at, config) = (endpoint(), config(Duration::from_millis(500)));
    let spool = std::env::temp_dir().join(format!("tubepost-spool-gone-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&spool);
    let mut there = Host::new(&["--zenoh-config", config.path(), "--listen", &at, "--export", "*"]);
    let import = ["--zenoh-config", config.path(), "--connect", &at, "--import", "*", "--spool"];
    let here = Host::new(&[&import[..], &[spool.to_str().expect("a path of ours")]].concat());
    let inbox = Mailbox::<u64>::options().domain(&there.domain).unbounded().own("box").expect("a free name");
    here.until_there("box");
    let out = Sender::<u64>::options().domain(&here.domain).open("box").expect("it is there");
    out.send_collected_timeout(0, PATIENCE).expect("there is a way");
    assert_eq!(inbox.recv_timeout(PATIENCE), Ok(0));
    there.kill();
    let mut next = 1;
    eventually("nobody has it", || match out.send_collected_timeout(next, Duration::from_millis(200)) {
        Ok(()) => {
            std::thread::sleep(Duration::from_millis(50)); // between two, so that time ends this and no window
            next += 1;
            false
        }
        Err(SendCollectedError::Timeout(_)) => true,
        Err(other) => panic!("{other:?}"),
    });
    assert!(next < 100, "{next} were taken");
    there.start();
    (1..next).for_each(|k| assert_eq!(inbox.recv_timeout(PATIENCE), Ok(k)));
    out.send(next).expect("there is room");
    assert_eq!(inbox.recv_timeout(PATIENCE), Ok(next));
    drop((out, inbox, here, there));
    std::fs::remove_dir_all(&spool).expect("ours");
}
