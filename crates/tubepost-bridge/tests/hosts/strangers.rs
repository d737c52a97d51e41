//! Rubbish from the network, and peers that say too much: only their own link suffers.

use crate::address::Place;
use crate::discovery::{Played, entry, facts, news, piece};
use crate::stage::{Host, PATIENCE, endpoint, inbox_of};
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tubepost::{Error, Mailbox, SendError, Sender};
use zenoh::Wait;
use zenoh::qos::CongestionControl;

/// Numbers by xorshift: the same in every run.
fn dice(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |sides| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % sides
    }
}

pub fn session(at: &str) -> zenoh::Session {
    let mut config = zenoh::Config::default();
    let connect = format!("[{at:?}]");
    for (key, value) in
        [("scouting/multicast/enabled", "false"), ("listen/endpoints", "[]"), ("connect/endpoints", &connect)]
    {
        config.insert_json5(key, value).expect("a setting of zenoh");
    }
    zenoh::open(config).wait().expect("the bridge listens")
}

/// What one who knows the form of bundles may say: lengths, a version, a kind, and anything. The first bytes are those of real frames, of streams that may be anybody's.
fn rubbish(dice: &mut impl FnMut(u64) -> u64) -> Vec<u8> {
    let mut bundle = Vec::new();
    for _ in 0..=dice(4) {
        let mut frame = vec![if dice(8) == 0 { dice(256) as u8 } else { 1 }, dice(14) as u8];
        let most = if dice(50) == 0 { 100_000 } else { 80 };
        let length = dice(most);
        frame.extend((0..length).map(|_| dice(256) as u8));
        let length = if dice(10) == 0 { dice(1 << 32) as u32 } else { frame.len() as u32 };
        bundle.extend_from_slice(&length.to_le_bytes());
        bundle.extend_from_slice(&frame);
    }
    bundle
}

#[test]
fn rubbish_from_the_network_costs_nobody_else_anything() {
    let at = endpoint();
    let there = Host::new(&["--listen", &at, "--export", "*"]);
    let at_here = endpoint();
    let here = Host::new(&["--connect", &at, "--listen", &at_here, "--import", "*"]);
    let inbox = Mailbox::<u64>::options().domain(&there.domain).bounded(16).own("box").expect("a free name");
    here.until_there("box");
    let out = Sender::<u64>::options().domain(&here.domain).open("box").expect("it is there");
    std::thread::scope(|scope| {
        let talking = scope.spawn(|| {
            // To the inboxes of both, which everybody sees who is let in.
            let strangers = [session(&at), session(&at_here)];
            let mut dice = dice(11);
            let keys = [inbox_of(&there), inbox_of(&here)];
            let to = [0, 1].map(|at| {
                let to = strangers[at].declare_publisher(keys[at].clone());
                to.congestion_control(CongestionControl::Block).wait().expect("anybody may")
            });
            for _ in 0..20_000 {
                to[dice(2) as usize].put(rubbish(&mut dice)).wait().expect("anybody may");
            }
            // And where zenoh itself listens.
            for _ in 0..50 {
                let mut raw = TcpStream::connect(at.trim_start_matches("tcp/")).expect("it listens");
                let bytes: Vec<u8> = (0..dice(5000)).map(|_| dice(256) as u8).collect();
                let _ = raw.write_all(&bytes); // it may be hung up on us
            }
            drop(to);
            strangers.into_iter().for_each(|stranger| stranger.close().wait().expect("it ends"));
        });
        let mut k = 0;
        while !talking.is_finished() || k < 1000 {
            out.send_timeout(k, PATIENCE).expect("it goes");
            assert_eq!(inbox.recv_timeout(PATIENCE), Ok(k));
            k += 1;
        }
        talking.join().expect("no panic");
    });
    assert!(there.log().contains("no frame") && here.log().contains("no frame"), "{}", there.log());
    assert!(!there.log().contains("panicked") && !here.log().contains("panicked"), "{}", there.log());
    let carried = there.domain.carried(inbox.id()).expect("it can be read").unwrap_or_default();
    assert_eq!((carried.duplicates, carried.breaks), (0, 0));
}

#[test]
fn a_peer_has_its_limits_of_size_and_rate_and_nobody_else_waits_for_it() {
    let at = endpoint();
    let limits = ["--max-message", "10000", "--max-rate", "100000"];
    let there = Host::new(&[&["--listen", &at, "--export", "*"], &limits[..]].concat());
    let here = Host::new(&["--connect", &at, "--import", "*"]);
    let options = || Mailbox::<[u8]>::options().domain(&there.domain);
    let (inbox, other) = (options().own("box").expect("made"), options().own("other").expect("made"));
    let local = Sender::<[u8]>::options().domain(&there.domain).open("other").expect("it is there");
    for name in ["box", "other"] {
        here.until_there(name);
    }
    let open = |name: &str| Sender::<[u8]>::options().domain(&here.domain).open(name).expect("it is there");
    let out = open("box");
    let begin = Instant::now();
    // 100 kB in a second.
    (0..20).for_each(|_| out.send_timeout(&[7; 5000], PATIENCE).expect("it goes"));
    local.send(&[1]).expect("there is room");
    assert_eq!(other.recv_timeout(Duration::from_millis(500)), Ok(vec![1]), "who is here has no limit");
    (0..20).for_each(|_| assert_eq!(inbox.recv_timeout(PATIENCE).map(|bytes| bytes.len()), Ok(5000)));
    let time = begin.elapsed();
    assert!(time > Duration::from_millis(800) && time < Duration::from_secs(4), "it took {time:?}");

    // What is too long is refused here, and all goes on.
    match out.send(&[7; 10_001]) {
        Err(SendError::Failed(_, Error::TooLong { max: 10_000, .. })) => {}
        other => panic!("{other:?}"),
    }
    out.send(&[7; 10_000]).expect("it is not too long");
    assert_eq!(inbox.recv_timeout(PATIENCE).map(|bytes| bytes.len()), Ok(10_000));
    let out = open("other");
    out.send(&[7; 10_000]).expect("there is room");
    assert_eq!(other.recv_timeout(PATIENCE).map(|bytes| bytes.len()), Ok(10_000));
}

/// Bridges that are played offer what they have not, in every wrong way, and the name and the id of somebody else's mailbox.
#[test]
fn rubbish_in_catalogs_and_news_costs_nobody_else_anything() {
    let at = endpoint();
    let there = Host::new(&["--listen", &at, "--export", "box"]);
    let at_here = endpoint();
    let here = Host::new(&["--connect", &at, "--listen", &at_here, "--import", "*"]);
    let inbox = Mailbox::<u64>::options().domain(&there.domain).bounded(16).own("box").expect("a free name");
    here.until_there("box");
    let out = Sender::<u64>::options().domain(&here.domain).open("box").expect("it is there");
    let (facts, id) = (facts(&there), u128::from_be_bytes(inbox.id().to_bytes()));
    let theirs = [entry("box", 9, &facts), entry("box", id, &facts)];
    let names = ["", "a b", "../x", "bridge/running", "\u{1b}[2J", &"n".repeat(300)];
    let names: Vec<_> = names.iter().zip(20..).map(|(name, id)| entry(name, id, &facts)).collect();
    let good = entry("good", 1, &facts);
    let mut dice = dice(5);
    let noise = |dice: &mut dyn FnMut(u64) -> u64, most| -> Vec<u8> {
        let length = dice(most);
        [1].into_iter().chain((0..length).map(|_| dice(256) as u8)).collect()
    };
    let played = [
        Played::new(&at_here, 1, &[piece(1, None, &theirs)]),
        Played::new(&at_here, 2, &[piece(1, None, &[&names[..], std::slice::from_ref(&good)].concat())]),
        Played::new(&at_here, 3, &[noise(&mut dice, 5000)]),
        // A count of what is not there; a piece too long; no end; no answer.
        Played::new(&at_here, 4, &[vec![1, 0, 0, 255, 255, 255, 255, 15]]),
        Played::new(&at_here, 5, &[piece(1, None, &vec![entry("long", 3, &facts); 5000])]),
        Played::new(&at_here, 6, &[piece(1, Some(1), &[])]),
        Played::new(&at_here, 7, &[Vec::new()]),
    ];
    let begin = Instant::now();
    let mut k = 0;
    while begin.elapsed() < Duration::from_secs(4) || k < 1000 {
        for (number, played) in played.iter().enumerate() {
            match dice(4) {
                0 => played.says(&noise(&mut dice, 300)),
                1 => played.says(&news(1, 2, &[id, 9], &theirs)),
                2 if number > 2 => played.says(&news(dice(1 << 40), u64::MAX, &[id], &names)),
                _ => played.says(&news(0, 0, &[], &[])),
            }
        }
        for _ in 0..8 {
            out.send_timeout(k, PATIENCE).expect("it goes");
            assert_eq!(inbox.recv_timeout(PATIENCE), Ok(k));
            k += 1;
        }
    }
    // What one of them has that can be had is there, and of the others nothing is.
    here.until_there("good");
    let all = here.domain.list().expect("it can be read");
    let all: Vec<_> = all.iter().map(|at| &at.name[..]).filter(|name| !name.starts_with("bridge/")).collect();
    assert_eq!(all, ["box", "good"]);
    // Who can't be understood is asked more and more seldom.
    for played in &played {
        let asked = played.asked.load(std::sync::atomic::Ordering::Relaxed);
        assert!((1..20).contains(&asked), "{} was asked {asked} times", played.at.key(Place::Catalog));
    }
    assert!(here.log().contains("there is one of another host") && here.log().contains("can't be read"));
    assert!(!there.log().contains("panicked") && !here.log().contains("panicked"), "{}", here.log());
    let carried = there.domain.carried(inbox.id()).expect("it can be read").unwrap_or_default();
    assert_eq!((carried.duplicates, carried.breaks), (0, 0));
}
