//! Three hosts, each in a network namespace of its own: two send to the third.

use crate::cuts::Cables;
use crate::stage::{Host, PATIENCE, eventually, skip};
use std::time::{Duration, Instant};
use tubepost::{Mailbox, Sender, TrySendError};

fn hosts(cables: &Cables) -> [Host; 3] {
    let at = "tcp/0.0.0.0:7447";
    let there = Host::within(
        Some(cables.namespace(0)),
        &["--listen", at, "--export", "*", "--as", "ovens/", "--import", "host?/own"],
    );
    let importer = |number: usize| {
        let at = format!("tcp/{}:7447", cables.address(number));
        let namespace = Some(cables.namespace(number));
        let args =
            ["--connect", &at, "--import", "ovens/*", "--export", "own", "--as", &format!("host{number}/")];
        Host::within(namespace, &args)
    };
    [there, importer(1), importer(2)]
}

#[test]
fn two_hosts_share_the_mailbox_of_a_third_and_the_slow_one_holds_up_nobody() {
    let cables = match Cables::new(3) {
        Ok(cables) => cables,
        Err(why) => return skip("two_hosts_share_the_mailbox_of_a_third", &why),
    };
    let [there, one, two] = hosts(&cables);
    let inbox = Mailbox::<[u64; 2]>::options().domain(&there.domain).bounded(64).own("box").expect("made");
    let full = Mailbox::<u64>::options().domain(&there.domain).bounded(3).own("full").expect("made");
    let open = |host: &Host| {
        host.until_there("ovens/box");
        Sender::<[u64; 2]>::options().domain(&host.domain).open("ovens/box").expect("it is there")
    };
    let outs = [open(&one), open(&two)];
    std::thread::scope(|scope| {
        for (number, out) in outs.iter().enumerate() {
            scope.spawn(move || {
                (0..3000).for_each(|k| out.send_timeout([number as u64, k], PATIENCE).expect("it goes"))
            });
        }
        let mut next = [0, 0];
        for _ in 0..6000 {
            let [from, k] = inbox.recv_timeout(PATIENCE).expect("all come");
            assert_eq!(k, next[from as usize], "of host {from}");
            next[from as usize] += 1;
        }
    });

    // What one host has in a full mailbox holds up no other mailbox, on no host; each has its own places.
    let sender = |host: &Host| {
        host.until_there("ovens/full");
        Sender::<u64>::options().domain(&host.domain).open("ovens/full").expect("it is there")
    };
    let fulls = [sender(&one), sender(&two)];
    for out in &fulls {
        (0..3).for_each(|k| out.try_send(k).expect("a place of its own"));
        assert_eq!(out.try_send(9), Err(TrySendError::Full(9)));
    }
    // One is cut off, with messages under way; the other one goes on.
    outs[0].send([0, 3000]).expect("there is room");
    assert_eq!(inbox.recv_timeout(PATIENCE), Ok([0, 3000]));
    cables.plug(1, false);
    outs[0].send([0, 3001]).expect("there is room");
    let begin = Instant::now();
    for k in 3000..4000 {
        outs[1].send_timeout([1, k], PATIENCE).expect("it goes");
        assert_eq!(inbox.recv_timeout(PATIENCE), Ok([1, k]));
    }
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    cables.plug(1, true);
    assert_eq!(inbox.recv_timeout(PATIENCE), Ok([0, 3001]));
    let mut all: Vec<u64> = (0..6).map(|_| full.recv_timeout(PATIENCE).expect("it comes")).collect();
    all.sort_unstable();
    assert_eq!(all, [0, 0, 1, 1, 2, 2]);

    // By their prefixes two hosts export the same name.
    let owns =
        [&one, &two].map(|host| Mailbox::<u64>::options().domain(&host.domain).own("own").expect("made"));
    for (number, own) in owns.iter().enumerate() {
        let name = format!("host{}/own", number + 1);
        eventually("it is there", || there.domain.stat(&name).is_ok());
        let out = Sender::<u64>::options().domain(&there.domain).open(&name).expect("it is there");
        out.send(number as u64).expect("there is room");
        assert_eq!(own.recv_timeout(PATIENCE), Ok(number as u64));
    }
}
