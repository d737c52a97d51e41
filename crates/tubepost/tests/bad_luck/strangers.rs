//! The kernel strategy: what processes of another user than the owner's may do, and have.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{SendFlags, send};
use tubepost::{Domain, Mailbox, Receiver, Select, SendCollectedError, Sender, Strategy};

use crate::connections::{packet, pipe, raw, receive_all};
use crate::permissions::{Directory, users};
use crate::stage::{Child, Cue, PATIENCE, Role, become_member, eventually, thread_id, until_asleep};

pub const ROLES: &[Role] = &[("stranger", stranger)];

const BEN: u32 = 41_012;
const GROUP: u32 = 41_110;

/// Another user, who does what it is told; the arguments are domain, user, group.
fn stranger(cue: &mut Cue) {
    become_member(cue.number(1) as u32, cue.number(2) as u32);
    let path = PathBuf::from(cue.arg(0));
    let mut senders: Vec<Sender<[u8]>> = Vec::new();
    let mut sockets = Vec::new();
    loop {
        let line = cue.hear();
        let domain = Domain::open(&path).expect("it is in the group");
        cue.say(match line.split(' ').collect::<Vec<_>>()[..] {
            ["open"] => match Sender::<[u8]>::options().domain(&domain).open("box") {
                Ok(sender) => {
                    senders.push(sender);
                    "open".to_owned()
                }
                Err(error) => crate::citizen::kind(&error),
            },
            ["send", text] => match senders[0].send_timeout(text.as_bytes(), PATIENCE) {
                Ok(()) => "sent".to_owned(),
                Err(error) => error.to_string(),
            },
            ["try", text] => match senders[0].try_send(text.as_bytes()) {
                Ok(()) => "sent".to_owned(),
                Err(error) if error.is_full() => "full".to_owned(),
                Err(error) => error.to_string(),
            },
            // Waits until it is collected, for so long at most, which it begins to by a line.
            ["collect", text, wait] => {
                cue.say(thread_id());
                let wait = Duration::from_millis(wait.parse().expect("a number"));
                match senders[0].send_collected_timeout(text.as_bytes(), wait) {
                    Ok(()) => "collected".to_owned(),
                    Err(SendCollectedError::Timeout(_)) => "withdrawn".to_owned(),
                    Err(error) => error.to_string(),
                }
            }
            // By one of its raw connections, which says hello before.
            ["flood", at, kind, length] => {
                let socket: &OwnedFd = &sockets[at.parse::<usize>().expect("a number")];
                let (kind, length) = (kind.parse().expect("a kind"), length.parse().expect("a length"));
                let _ = send(socket, &packet(1, 1, 0, b"x"), SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
                let message = packet(kind, length, 0, &vec![7; length as usize]);
                let more = || send(socket, &message, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).is_ok();
                std::iter::repeat_with(more).take(1000).take_while(|done| *done).count().to_string()
            }
            ["raw"] => match raw(&path) {
                Ok(socket) => {
                    sockets.push(socket);
                    "connected".to_owned()
                }
                Err(errno) => format!("{errno:?}"),
            },
            ["remove"] => {
                domain.remove_owned("box").map_or_else(|error| error.to_string(), |_| "removed".into())
            }
            ["sweep"] => domain.gc().map_or_else(|error| error.to_string(), |swept| format!("{swept:?}")),
            ["pipe"] => format!("{:?}", pipe(&path).map(drop)),
            _ => panic!("the stranger does not know {line:?}"),
        });
    }
}

fn own(shared: &Directory, n: u64, mode: u32) -> Receiver<[u8]> {
    let domain = shared.domain();
    let options = Mailbox::<[u8]>::options().domain(&domain).strategy(Strategy::Kernel);
    options.bounded(n).max_message(1000).mode(mode).own("box").expect("a free name")
}

/// One of the owner's user.
fn sender(shared: &Directory) -> Sender<[u8]> {
    Sender::<[u8]>::options().domain(&shared.domain()).open("box").expect("it exists")
}

fn stranger_in(shared: &Directory) -> Child {
    shared.start("stranger", BEN, GROUP)
}

#[test]
fn the_kernel_keeps_those_out_whom_the_mode_does() {
    if !users("the_kernel_keeps_those_out_whom_the_mode_does") {
        return;
    }
    for (mode, opens, connects) in
        [(0o600, "Denied", "PERM|ACCESS"), (0o640, "Denied", "PERM|ACCESS"), (0o620, "open", "connected")]
    {
        let shared = Directory::shared_by(GROUP);
        let _inbox = own(&shared, 8, mode);
        let mut stranger = stranger_in(&shared);
        assert_eq!(stranger.ask("open"), opens, "mode {mode:o}");
        let connected = stranger.ask("raw");
        let fits = connects.split('|').any(|word| connected.to_uppercase().contains(&word.to_uppercase()));
        assert!(fits, "mode {mode:o}: {connected}");
        assert_eq!(
            stranger.ask("pipe"),
            "Err(Os { code: 13, kind: PermissionDenied, message: \"Permission denied\" })"
        );
    }
}

/// What may be sent to and not removed: each attempt is told truly what it is that is not allowed.
#[test]
fn a_stranger_is_told_truly_what_it_may_not() {
    if !users("a_stranger_is_told_truly_what_it_may_not") {
        return;
    }
    let shared = Directory::shared_by(GROUP);
    let inbox = own(&shared, 8, 0o620);
    let mut stranger = stranger_in(&shared);
    assert_eq!(stranger.ask("open"), "open");
    let told = stranger.ask("remove");
    assert!(told.contains("to remove") && told.contains("0620") && !told.contains("no right"), "{told}");
    let swept = stranger.ask("sweep");
    assert!(swept.contains("left_alone: []"), "{swept}");
    drop(inbox);
}

/// Another user has a share of the places at most, whatever it does; its messages come, with its process id by the kernel's word.
#[test]
fn a_stranger_sends_and_hoards_its_share_only() {
    if !users("a_stranger_sends_and_hoards_its_share_only") {
        return;
    }
    let shared = Directory::shared_by(GROUP);
    let inbox = own(&shared, 8, 0o620);
    let mut stranger = stranger_in(&shared);
    assert_eq!(stranger.ask("open"), "open");
    for at in 0..20 {
        stranger.say(format!("send {at}"));
        let envelope = inbox.recv_envelope_timeout(PATIENCE).expect("it is sent");
        assert_eq!(envelope.message, at.to_string().as_bytes());
        assert_eq!(envelope.sender.pid, stranger.pid());
        stranger.expect("sent");
    }
    (0..10).for_each(|_| assert_eq!(stranger.ask("open"), "open"));
    assert!(inbox.try_recv().is_err_and(|error| error.is_empty()));
    let out = sender(&shared);
    let ours = (0..8).take_while(|_| out.try_send(b"ours").is_ok()).count();
    assert!((6..=8).contains(&ours), "{ours} of 8 places are for us");
    stranger.kill();
    assert_eq!(receive_all(&inbox).len(), ours);
    let all = (0..9).take_while(|_| out.try_send(b"ours").is_ok()).count();
    assert_eq!(all, 8, "what the stranger had is free again");
}

/// The owner's ends of connections to what listens in there, as the kernel lists them; and those that listen.
fn connections_at(directory: &Path) -> usize {
    let listed = fs::read_to_string("/proc/net/unix").expect("/proc");
    listed.lines().filter(|line| line.contains(directory.to_str().expect("our own path"))).count()
}

#[test]
fn a_stranger_has_so_many_connections_and_others_none_less() {
    if !users("a_stranger_has_so_many_connections_and_others_none_less") {
        return;
    }
    let shared = Directory::shared_by(GROUP);
    let inbox = own(&shared, 8, 0o620);
    let mut stranger = stranger_in(&shared);
    let before = connections_at(shared.path());
    for _ in 0..100 {
        assert_eq!(stranger.ask("raw"), "connected");
        assert!(inbox.try_recv().is_err());
    }
    let now = connections_at(shared.path());
    assert_eq!(now, before + 64, "the others were hung up");
    let out = sender(&shared);
    out.send(b"ours").expect("the owner lives");
    assert_eq!(inbox.recv_timeout(PATIENCE), Ok(b"ours".to_vec()));
}

/// Another user may wait until its message is collected, or takes it back, and nobody's place is lost with that.
#[test]
fn a_stranger_waits_until_it_is_collected() {
    if !users("a_stranger_waits_until_it_is_collected") {
        return;
    }
    for n in [1, 8] {
        let shared = Directory::shared_by(GROUP);
        let inbox = own(&shared, n, 0o620);
        let mut stranger = stranger_in(&shared);
        assert_eq!(stranger.ask("open"), "open");
        for round in 0..6 {
            // It is given a token while somebody receives.
            assert!(inbox.recv_timeout(Duration::from_millis(5)).is_err());
            let wait = if round % 2 == 0 { PATIENCE } else { Duration::from_millis(30) };
            let thread = stranger.ask(format!("collect {round} {}", wait.as_millis()));
            if round % 2 == 0 {
                let envelope = inbox.recv_envelope_timeout(PATIENCE).expect("it is sent");
                assert_eq!(
                    (envelope.message, envelope.sender.pid),
                    (round.to_string().into_bytes(), stranger.pid())
                );
                stranger.expect("collected");
            } else {
                drop(thread);
                stranger.expect("withdrawn");
                assert!(inbox.try_recv().is_err_and(|error| error.is_empty()), "round {round}");
            }
        }
        // Killed while it waits: it has sent.
        assert!(inbox.recv_timeout(Duration::from_millis(5)).is_err());
        let thread = stranger.ask("collect last 30000").parse().expect("a thread");
        until_asleep(stranger.pid(), thread);
        stranger.kill();
        assert_eq!(receive_all(&inbox), [b"last"]);
        let out = sender(&shared);
        let all = (0..=n).take_while(|_| out.try_send(b"ours").is_ok()).count() as u64;
        assert_eq!(all, n, "what the stranger had is free again");
        let stat = inbox.stat().expect("ours");
        assert_eq!((stat.depth, stat.received, stat.shut), (n, 4, 0));
    }
}

#[test]
fn a_stranger_where_nothing_waits() {
    if !users("a_stranger_where_nothing_waits") {
        return;
    }
    let shared = Directory::shared_by(GROUP);
    let inbox = own(&shared, 0, 0o620);
    let mut stranger = stranger_in(&shared);
    assert_eq!(stranger.ask("open"), "open");
    for at in 0..5 {
        stranger.say(format!("send {at}"));
        assert_eq!(inbox.recv_timeout(PATIENCE), Ok(at.to_string().into_bytes()));
        stranger.expect("sent");
        stranger.ask(format!("collect {at} 30000"));
        assert_eq!(inbox.recv_timeout(PATIENCE), Ok(at.to_string().into_bytes()));
        stranger.expect("collected");
        stranger.ask("collect never 20");
        stranger.expect("withdrawn");
        assert!(inbox.try_recv().is_err_and(|error| error.is_empty()));
        assert_eq!(stranger.ask("try 1"), "full");
    }
    // It may send what is awaited, and nothing else.
    assert_eq!(stranger.ask("raw"), "connected");
    assert_eq!(stranger.ask("flood 0 2 10").parse::<u64>().map(|sent| sent > 0), Ok(true));
    assert!(inbox.recv_timeout(Duration::from_millis(20)).is_err());
    assert_eq!(inbox.stat().expect("ours").shut, 1);
    let thread = stranger.ask("collect last 30000").parse().expect("a thread");
    until_asleep(stranger.pid(), thread);
    stranger.kill();
    assert!(inbox.try_recv().is_err_and(|error| error.is_empty()), "it takes two");
}

/// What the owner has in hand of another user's messages is limited: that user gets no more tokens until they are accepted.
#[test]
fn a_stranger_fills_no_memory() {
    if !users("a_stranger_fills_no_memory") {
        return;
    }
    let shared = Directory::shared_by(GROUP);
    let inbox = own(&shared, 8, 0o620); // of 1000 bytes: 2000 are a quarter of all
    let mut stranger = stranger_in(&shared);
    assert_eq!(stranger.ask("open"), "open");
    let long = "x".repeat(1000);
    let mut held = Vec::new();
    for _ in 0..20 {
        while let Ok(delivery) = inbox.take_timeout(Duration::from_millis(5)) {
            held.push(delivery);
        }
        stranger.ask(format!("try {long}"));
    }
    held.extend(inbox.take_timeout(Duration::from_millis(5)));
    assert!((2..=4).contains(&held.len()), "{} in hand", held.len());
    assert_eq!(stranger.ask("try more"), "full");
    let out = sender(&shared);
    assert_eq!((0..9).take_while(|_| out.try_send(b"ours").is_ok()).count(), 8, "nobody else has less");
    assert_eq!((0..9).take_while(|_| inbox.try_recv().is_ok()).count(), 8);
    held.into_iter().for_each(|delivery| delivery.accept().expect("in hand"));
    assert!(inbox.recv_timeout(Duration::from_millis(5)).is_err());
    assert_eq!(stranger.ask("try more"), "sent");
    assert_eq!(inbox.recv_timeout(PATIENCE), Ok(b"more".to_vec()));
}

/// More in a connection than can have been granted: it is shut, also while nobody receives what came first.
#[test]
fn a_stranger_that_floods_is_shut() {
    if !users("a_stranger_that_floods_is_shut") {
        return;
    }
    for n in [0, 8] {
        let shared = Directory::shared_by(GROUP);
        let inbox = own(&shared, n, 0o620);
        let mut stranger = stranger_in(&shared);
        assert_eq!(stranger.ask("open"), "open");
        for at in 0..20 {
            assert_eq!(stranger.ask("raw"), "connected");
            assert_ne!(stranger.ask(format!("flood {at} 3 1000")), "0");
        }
        let mut select = Select::new();
        select.recv(&inbox);
        eventually("all of them are shut", || {
            let _ = select.ready_timeout(Duration::from_millis(1));
            let _ = inbox.doorbell().expect("ours").clear();
            inbox.stat().expect("ours").shut == 20
        });
        while inbox.try_recv().is_ok() {}
        let out = sender(&shared);
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| inbox.recv_timeout(PATIENCE));
            assert!(out.send_timeout(b"ours", PATIENCE).is_ok());
            assert_eq!(taken.join().expect("no panic"), Ok(b"ours".to_vec()));
        });
    }
}
