//! A mailbox elsewhere is used as one here.

use crate::stage::{Host, PATIENCE, endpoint, eventually, two_hosts};
use std::time::{Duration, Instant};
use tubepost::{
    Error, Mailbox, Message, Options, Receiver, RecvTimeoutError, SendCollectedError, SendError, Sender,
    Strategy, TrySendError,
};

#[derive(Message, Clone, Copy, Debug, PartialEq)]
#[repr(C)]
struct Reading {
    sensor: u32,
    celsius: f32,
}

fn options<M: Message + ?Sized>(host: &Host) -> Options<M> {
    Mailbox::<M>::options().domain(&host.domain)
}

fn sender<M: Message + ?Sized>(host: &Host, name: &str) -> Sender<M> {
    host.until_there(name);
    Sender::<M>::options().domain(&host.domain).open(name).expect("it is there")
}

#[test]
fn messages_of_any_kind_arrive_in_order() {
    let (there, here) = two_hosts();
    let readings = options::<Reading>(&there).bounded(7).own("plant/readings").expect("a free name");
    let texts = options::<str>(&there).unbounded().own("texts").expect("a free name");
    let bytes = options::<[u8]>(&there).max_message(3_000_000).format("blobs").bounded(3).own("blobs");
    let bytes = bytes.expect("a free name");

    let out = sender::<Reading>(&here, "plant/readings");
    let sending = std::thread::spawn(move || {
        (0..1000).for_each(|sensor| out.send(Reading { sensor, celsius: 21.5 }).expect("it goes"));
    });
    for sensor in 0..1000 {
        assert_eq!(readings.recv_timeout(PATIENCE), Ok(Reading { sensor, celsius: 21.5 }));
    }
    sending.join().expect("all were sent");

    let out = sender::<str>(&here, "texts");
    (0..1000).for_each(|k| out.send(&format!("text {k}")).expect("there is room"));
    (0..1000).for_each(|k| assert_eq!(texts.recv_timeout(PATIENCE), Ok(format!("text {k}"))));

    here.until_there("blobs");
    let out = Sender::<[u8]>::options().domain(&here.domain).format("blobs").open("blobs");
    let out = out.expect("the same format");
    let sent: Vec<Vec<u8>> =
        [0, 1, 240, 241, 5000, 3_000_000].map(|length| vec![length as u8; length]).into();
    let again = sent.clone();
    let sending = std::thread::spawn(move || sent.iter().for_each(|blob| out.send(blob).expect("it goes")));
    again.iter().for_each(|blob| assert!(bytes.recv_timeout(PATIENCE).as_ref() == Ok(blob)));
    sending.join().expect("all were sent");

    let refused = Sender::<u64>::options().domain(&here.domain).open("plant/readings");
    let text = refused.expect_err("another format").to_string();
    assert!(text.contains("Reading") && text.contains("u64"), "{text}");
}

#[test]
fn exactly_n_wait_and_a_place_is_free_when_one_was_collected() {
    let (there, here) = two_hosts();
    for n in [1, 2, 5, 64] {
        let name = format!("box{n}");
        let inbox = options::<u64>(&there).bounded(n).own(&name).expect("a free name");
        let out = sender::<u64>(&here, &name);
        (0..n).for_each(|k| out.try_send(k).expect("a free place"));
        eventually("all are there", || inbox.len() as u64 == n);
        assert_eq!(out.try_send(n), Err(TrySendError::Full(n)));
        for k in 0..n {
            assert_eq!(inbox.recv_timeout(PATIENCE), Ok(k));
            eventually("a place is free", || out.try_send(n + k).is_ok());
            assert_eq!(out.try_send(99), Err(TrySendError::Full(99)));
        }
        (0..n).for_each(|k| assert_eq!(inbox.recv_timeout(PATIENCE), Ok(n + k)));
        assert_eq!(inbox.recv_timeout(Duration::from_millis(20)), Err(RecvTimeoutError::Timeout));
        eventually("nothing waits", || out.is_empty() && !out.is_full());
    }
}

#[test]
fn who_waits_for_collection_is_told_when_it_was() {
    let (there, here) = two_hosts();
    let inbox = options::<u64>(&there).own("box").expect("a free name");
    let out = sender::<u64>(&here, "box");
    let waiting = std::thread::spawn(move || (out.send_collected(7), out));
    eventually("it is there", || inbox.len() == 1);
    std::thread::sleep(Duration::from_millis(50)); // that nothing happens has no event: too short, it only finds less
    assert!(!waiting.is_finished());
    assert_eq!(inbox.recv(), Ok(7));
    let (told, out) = waiting.join().expect("no panic");
    assert_eq!(told, Ok(()));

    // The owner goes: what it had not collected was not collected.
    let waiting = std::thread::spawn(move || out.send_collected(8));
    eventually("it is there", || inbox.len() == 1);
    let begin = Instant::now();
    drop(inbox);
    let told = waiting.join().expect("no panic");
    assert!(matches!(told, Err(SendCollectedError::Closed(8, _, _))), "{told:?}");
    assert!(begin.elapsed() < Duration::from_secs(1));
}

#[test]
fn when_its_owner_goes_everybody_is_told_and_the_name_is_free_for_the_next() {
    let (there, here) = two_hosts();
    for round in 0..3 {
        let inbox = options::<u64>(&there).bounded(8).own("box").expect("a free name");
        let out = sender::<u64>(&here, "box");
        (0..5).for_each(|k| out.try_send(k).expect("a free place"));
        eventually("all are there", || inbox.len() == 5);
        assert_eq!((inbox.recv(), inbox.recv()), (Ok(0), Ok(1)));
        let begin = Instant::now();
        assert_eq!(inbox.close().map(|closed| closed.uncollected), Ok(3));
        assert_eq!(out.closed().map(|closed| closed.uncollected), Ok(3), "in round {round}");
        let late = begin.elapsed();
        assert!(late < Duration::from_millis(500), "told after {late:?}");
        assert!(matches!(out.send(9), Err(SendError::Closed(9, _))));
        eventually("it is gone", || here.domain.stat("box").is_err());
    }
}

#[test]
fn every_strategy_is_exported_and_what_is_not_meant_stays_at_home() {
    let at = endpoint();
    let there = Host::new(&["--listen", &at, "--export", "out/*", "--as", "north/"]);
    let here = Host::new(&["--connect", &at, "--import", "north/out/*"]);
    let secret = options::<u64>(&there).own("secret").expect("a free name");
    let files = there.domain.path().join("files");
    let kernel =
        options::<str>(&there).strategy(Strategy::Kernel).bounded(4).own("out/kernel").expect("made");
    let sealed =
        options::<str>(&there).strategy(Strategy::Sealed).bounded(4).own("out/sealed").expect("made");
    let file = tubepost::File { dir: Some(files), ..Default::default() };
    options::<str>(&there).strategy(file).create("out/file").expect("made");
    let file = Receiver::<str>::options().domain(&there.domain).open("out/file").expect("it is there");
    options::<str>(&there).create("out/system").expect("made");
    let system = Receiver::<str>::options().domain(&there.domain).open("out/system").expect("it is there");
    for (name, inbox) in [("kernel", &kernel), ("sealed", &sealed), ("file", &file), ("system", &system)] {
        let out = sender::<str>(&here, &format!("north/out/{name}"));
        for k in 0..100 {
            out.send_timeout(&format!("{name} {k}"), PATIENCE).expect("it goes");
            assert_eq!(inbox.recv_timeout(PATIENCE), Ok(format!("{name} {k}")));
        }
    }
    assert!(here.domain.stat("secret").is_err() && here.domain.stat("north/secret").is_err());
    assert!(here.log().contains("north/out/file") && !here.log().contains("secret"));
    drop(secret);
}

#[test]
fn what_is_there_by_another_s_name_is_not_touched() {
    let (there, here) = two_hosts();
    options::<u64>(&here).create("box").expect("a free name");
    let inbox = options::<u64>(&there).own("box").expect("a free name");
    eventually("it is told", || here.log().contains("there is a mailbox of that name here"));
    let out = Sender::<u64>::options().domain(&here.domain).open("box").expect("it is there");
    out.send(7).expect("there is room");
    let own = Receiver::<u64>::options().domain(&here.domain).open("box").expect("it is there");
    assert_eq!(own.recv_timeout(PATIENCE), Ok(7));
    // When it is removed the other one comes.
    here.domain.remove("box").expect("it is ours");
    eventually("the other one is there", || {
        Sender::<u64>::options().domain(&here.domain).open("box").is_ok_and(|out| out.try_send(8).is_ok())
    });
    assert_eq!(inbox.recv_timeout(PATIENCE), Ok(8));
}

#[test]
fn a_bridge_that_ends_and_comes_back_is_a_pause() {
    let (mut there, mut here) = two_hosts();
    let inbox = options::<u64>(&there).bounded(16).own("box").expect("a free name");
    let out = sender::<u64>(&here, "box");
    out.send(0).expect("there is room");
    assert_eq!(inbox.recv_timeout(PATIENCE), Ok(0));
    for k in 0..4 {
        assert!(if k % 2 == 0 { here.end() } else { there.end() });
        (0..3).for_each(|i| out.try_send(10 * k + i).expect("there is room meanwhile"));
        if k % 2 == 0 {
            here.start()
        } else {
            there.start()
        }
        (0..3).for_each(|i| assert_eq!(inbox.recv_timeout(PATIENCE), Ok(10 * k + i)));
    }
    assert!(!out.is_closed());
    assert!(matches!(
        Sender::<u64>::options().domain(&here.domain).open("box2"),
        Err(Error::NoSuchName { .. })
    ));
}

/// Under load it is said at most once in sixteen messages how far it is.
#[test]
fn acknowledgements_are_for_many_messages() {
    let (there, here) = two_hosts();
    let inbox = options::<u64>(&there).own("box").expect("a free name");
    let out = sender::<u64>(&here, "box");
    std::thread::scope(|scope| {
        scope.spawn(|| (0..50_000).for_each(|k| out.send_timeout(k, PATIENCE).expect("it goes")));
        (0..50_000).for_each(|k| assert_eq!(inbox.recv_timeout(PATIENCE), Ok(k)));
    });
    drop(inbox);
    const SAID: &str = "50000 messages were placed, and it was said ";
    let times = || {
        let log = there.log();
        let said = log.lines().find_map(|line| line.split_once(SAID))?.1.to_owned();
        said.split(' ').next()?.parse::<u64>().ok()
    };
    eventually("the stream has ended", || times().is_some());
    assert!(times().is_some_and(|times| times <= 50_000 / 16), "{:?} times", times());
}

#[test]
fn a_full_mailbox_holds_up_no_other() {
    let (there, here) = two_hosts();
    let full = options::<u64>(&there).bounded(2).own("full").expect("a free name");
    let inbox = options::<u64>(&there).bounded(64).own("box").expect("a free name");
    let (blocked, out) = (sender::<u64>(&here, "full"), sender::<u64>(&here, "box"));
    (0..2).for_each(|k| blocked.try_send(k).expect("a free place"));
    for k in 0..5000 {
        out.send_timeout(k, PATIENCE).expect("it goes");
        if k % 32 == 31 {
            (k - 31..=k).for_each(|k| assert_eq!(inbox.recv_timeout(PATIENCE), Ok(k)));
        }
    }
    assert_eq!(blocked.try_send(2), Err(TrySendError::Full(2)));
    assert_eq!((full.recv(), full.recv()), (Ok(0), Ok(1)));
}
