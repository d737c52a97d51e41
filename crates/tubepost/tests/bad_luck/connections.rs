//! The kernel strategy: rubbish by a connection, too many of them, no descriptors, tokens that somebody took along.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, recv, send, sendmsg, socket_with,
};
use tubepost::{Domain, Mailbox, Receiver, Sender, Strategy, TrySendError};

use crate::hearers::{HEARERS, play};
use crate::packets::Stage;
use crate::stage::{Child, Cue, Dice, PATIENCE, Place, Role, descriptors, eventually, limit_files};

pub const ROLES: &[Role] = &[
    ("poster", poster),
    ("narrow", narrow),
    ("connected to by rubbish", connected_to_by_rubbish),
    ("given descriptors", given_descriptors),
];

/// Sends one message and ends; the arguments are domain and message.
fn poster(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let out = Sender::<u64>::options().domain(&domain).open("box").expect("it exists");
    cue.say(match out.try_send(cue.number(1)) {
        Ok(()) => "sent".to_owned(),
        Err(error) => error.to_string(),
    });
}

/// Owns a mailbox of the kernel strategy, with few descriptors if told so, and takes what it is told to.
fn narrow(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let inbox = own::<u64>(&domain, cue.number(1));
    cue.say("own");
    loop {
        let line = cue.hear();
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["limit", more] => {
                limit_files((descriptors() + more.parse::<usize>().expect("a number")) as u64);
                cue.say("limited");
            }
            ["take", k] => {
                let all = (0..k.parse().expect("a number")).map(|_| inbox.recv_timeout(PATIENCE));
                cue.say(format!("{:?}", all.collect::<Result<Vec<u64>, _>>()));
            }
            _ => panic!("the owner does not know {line:?}"),
        }
    }
}

fn own<T: tubepost::Message + ?Sized>(domain: &Domain, n: u64) -> Receiver<T> {
    let options = Mailbox::<T>::options().domain(domain).strategy(Strategy::Kernel).bounded(n);
    options.own("box").expect("a free name")
}

pub fn beside(domain: &Path, what: &str) -> PathBuf {
    let name = crate::stage::files_in(domain).into_iter().find(|name| name.ends_with(what));
    domain.join(name.expect("it is beside the mailbox"))
}

/// A connection to the only mailbox there.
pub fn raw(domain: &Path) -> Result<OwnedFd, rustix::io::Errno> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &SocketAddrUnix::new(beside(domain, "~post"))?)?;
    Ok(socket)
}

pub fn pipe(domain: &Path) -> Result<OwnedFd, rustix::io::Errno> {
    rustix::fs::open(beside(domain, "~credit"), OFlags::RDWR | OFlags::NONBLOCK, Mode::empty())
}

/// A packet as docs/format.md tells it.
pub fn packet(kind: u32, length: u32, token: u64, rest: &[u8]) -> Vec<u8> {
    [&kind.to_ne_bytes()[..], &length.to_ne_bytes(), &token.to_ne_bytes(), &0u64.to_ne_bytes(), rest].concat()
}

/// Receives until nothing comes for a while.
pub fn receive_all<T: tubepost::Message + ?Sized>(inbox: &Receiver<T>) -> Vec<T::Received> {
    std::iter::from_fn(|| inbox.recv_timeout(Duration::from_millis(100)).ok()).collect()
}

/// Whatever comes by a connection: that connection is shut, and nobody else notices.
#[test]
fn rubbish_costs_its_own_connection_only() {
    Child::start("connected to by rubbish", &[]).expect("done");
}

/// In a process of its own: it counts its descriptors.
fn connected_to_by_rubbish(cue: &mut Cue) {
    let place = Place::new();
    let inbox = own::<[u8; 100]>(place.domain(), 8);
    let out = Sender::<[u8; 100]>::options().domain(place.domain()).open("box").expect("it exists");
    let hello = packet(1, 2, 0, b"me");
    let message = |length: u32, rest: &[u8]| packet(2, length, 5, rest);
    let rubbish: Vec<Vec<Vec<u8>>> = vec![
        vec![vec![1]],
        vec![vec![0; 23]],
        vec![vec![0xff; 24]],
        vec![vec![0xff; 5_000]],
        vec![packet(1, 200, 0, &[b'x'; 200])],       // too long a name
        vec![hello.clone(), hello.clone()],          // twice
        vec![message(100, &[7; 100])],               // without a hello
        vec![hello.clone(), message(99, &[7; 100])], // a length that is none
        vec![hello.clone(), message(u32::MAX, &[7; 100])],
        vec![hello.clone(), message(101, &[7; 101])], // longer than any
        vec![hello.clone(), message(60_000, &[7; 60_000])],
        vec![hello.clone(), packet(4, 0, 0, b"")], // what only owners say
        vec![hello.clone(), packet(5, 0, 0, b"")],
        vec![hello.clone(), packet(0, 0, 0, b"")],
    ];
    out.try_send([3; 100]).expect("there is room");
    assert_eq!(inbox.try_recv(), Ok([3; 100]));
    let before = descriptors();
    for packets in &rubbish {
        let socket = raw(place.path()).expect("anybody may connect");
        for packet in packets {
            let _ = send(&socket, packet, SendFlags::NOSIGNAL);
        }
        out.try_send([3; 100]).expect("there is room");
        assert_eq!(inbox.try_recv(), Ok([3; 100]), "after {packets:?}");
        assert!(inbox.try_recv().is_err_and(|error| error.is_empty()));
        assert_eq!(
            recv(&socket, &mut [0; 10][..], RecvFlags::empty()).map(|(length, _)| length).unwrap_or(0),
            0
        );
    }
    // With descriptors, where none belong.
    let socket = raw(place.path()).expect("anybody may connect");
    let null = fs::File::open("/dev/null").expect("there is one");
    let (mut space, fds) =
        ([std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))], [null.as_fd()]);
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    let parts = [std::io::IoSlice::new(&hello)];
    sendmsg(&socket, &parts, &mut control, SendFlags::NOSIGNAL).expect("the kernel takes it");
    assert!(inbox.try_recv().is_err());
    drop((socket, null));
    assert!(inbox.try_recv().is_err());
    eventually("no descriptor is left", || {
        let _ = inbox.try_recv();
        descriptors() <= before
    });
    // None of them took a place.
    assert_eq!((0..9).take_while(|_| out.try_send([1; 100]).is_ok()).count(), 8);
    cue.say("done");
}

/// Random packets, and such as are nearly right, by connections that come and go, while an honest sender streams; with and without a
/// queue. What `cargo fuzz run packets` does with inputs of its own choice.
#[test]
fn random_packets_harm_nobody() {
    for n in [16, 0] {
        let place = Place::new();
        let stage = Stage::new(place.domain(), n);
        let mut dice = Dice::new(n + 1);
        let mut input = Vec::new();
        for _ in 0..1500 {
            if dice.below(2) == 0 {
                input = dice.bytes(8 + 4 * 12);
            }
            // Or the one before, changed a little.
            for _ in 0..dice.below(4) {
                let at = dice.below(input.len().max(1) as u64) as usize;
                input[at..].iter_mut().take(1).for_each(|byte| *byte = dice.roll() as u8);
            }
            stage.play(&input);
        }
    }
}

/// The same to all others who hear packets.
#[test]
fn random_packets_harm_nobody_who_hears_any() {
    for which in 0..HEARERS {
        let place = Place::new();
        let mut dice = Dice::new(which as u64 + 1);
        // Where nobody is at the other end, or nothing is stored, some calls wait for a tenth of a second.
        for _ in 0..6 {
            let input = dice.bytes(80);
            play(place.domain(), which, &input);
        }
        assert_eq!(place.files(), [""; 0]);
    }
}

#[test]
fn a_stopped_owner_takes_exactly_n_from_processes_that_come_and_go() {
    let place = Place::new();
    let mut owner = Child::start("narrow", &[&place.arg(), "12"]);
    owner.expect("own");
    owner.stop();
    let post = |at: u64| {
        let mut poster = Child::start("poster", &[&place.arg(), &at.to_string()]);
        let said = poster.hear();
        poster.finish();
        said
    };
    (0..12).for_each(|at| assert_eq!(post(at), "sent"));
    assert_eq!(post(77), "the mailbox is full");
    let out = Sender::<u64>::options().domain(place.domain()).open("box").expect("it exists");
    assert_eq!((out.len(), out.is_full(), out.try_send(78)), (12, true, Err(TrySendError::Full(78))));
    owner.go_on();
    let all: Vec<u64> = (0..12).collect();
    assert_eq!(owner.ask("take 12"), format!("Ok({all:?})"), "in the order in which they were sent");
}

/// Somebody died with tokens: the places are free again soon. Who comes back with one nevertheless makes no place for good.
#[test]
fn tokens_of_the_dead_come_back() {
    let place = Place::new();
    let inbox = own::<u64>(place.domain(), 5);
    let out = Sender::<u64>::options().domain(place.domain()).open("box").expect("it exists");
    let dead = raw(place.path()).expect("we may connect");
    let late = raw(place.path()).expect("we may connect");
    send(&late, &packet(1, 1, 0, b"x"), SendFlags::NOSIGNAL).expect("the owner lives");
    let credit = pipe(place.path()).expect("ours");
    let mut token = [0; 8];
    (0..3).for_each(|_| assert_eq!(rustix::io::read(&credit, &mut token), Ok(8)));
    assert_eq!((out.len(), out.is_full()), (3, false));
    assert!(inbox.recv_timeout(Duration::from_millis(100)).is_err());
    assert_eq!(out.len(), 3, "nobody is known to have died");
    drop(dead);
    let begin = Instant::now();
    assert!(inbox.recv_timeout(Duration::from_millis(200)).is_err());
    assert!(begin.elapsed() >= Duration::from_millis(200) && out.is_empty());
    assert_eq!((0..6).take_while(|at| out.try_send(*at).is_ok()).count(), 5);
    // It only stood still.
    let token = u64::from_ne_bytes(token);
    send(&late, &packet(2, 8, token, &9u64.to_ne_bytes()), SendFlags::NOSIGNAL).expect("the owner lives");
    assert_eq!(receive_all(&inbox).len(), 6);
    assert_eq!((0..6).take_while(|at| out.try_send(*at).is_ok()).count(), 5, "exactly n again");
}

/// A token that the system does not take back is used next by who has it.
#[test]
fn a_token_that_can_not_be_put_back_is_kept() {
    let place = Place::new();
    let inbox = own::<u64>(place.domain(), 2);
    let out = Sender::<u64>::options().domain(place.domain()).open("box").expect("it exists");
    let credit = pipe(place.path()).expect("ours");
    let anybodys = (u64::MAX - 1).to_ne_bytes();
    let (tokens, mut all) = (|| rustix::io::ioctl_fionread(&credit).expect("a pipe") / 8, [0; 1 << 16]);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| out.send_collected_timeout(1, Duration::from_millis(300)));
        eventually("it has taken a token", || tokens() == 1);
        while rustix::io::write(&credit, &anybodys).is_ok() {}
        assert!(sending.join().expect("no panic").is_err(), "nobody received it");
    });
    while rustix::io::read(&credit, &mut all).is_ok() {}
    assert_eq!((out.len(), out.is_full()), (1, false), "one is kept");
    rustix::io::write(&credit, &anybodys).expect("there is room");
    assert_eq!((0..3).take_while(|at| out.try_send(*at).is_ok()).count(), 2, "exactly n");
    assert_eq!(receive_all(&inbox), [0, 1]);
    assert_eq!((0..3).take_while(|at| out.try_send(*at).is_ok()).count(), 2, "exactly n again");
}

/// An owner that has no descriptor left for a connection: those who came wait, and their messages with them.
#[test]
fn without_descriptors_connections_wait() {
    let place = Place::new();
    let mut owner = Child::start("narrow", &[&place.arg(), "40"]);
    owner.expect("own");
    assert_eq!(owner.ask("limit 3"), "limited");
    let outs: Vec<_> = (0..10)
        .map(|at| {
            let out = Sender::<u64>::options().domain(place.domain()).open("box").expect("it exists");
            out.try_send(at).expect("there is room");
            out
        })
        .collect();
    assert!(owner.ask("take 3").starts_with("Ok"));
    drop(outs);
    assert!(owner.ask("take 7").starts_with("Ok"), "the others come when these are gone");
}

/// Files travel, are whole, and are closed with what nobody looks at.
#[test]
fn descriptors_arrive_and_none_is_left() {
    Child::start("given descriptors", &[]).expect("done");
}

/// In a process of its own: it counts its descriptors.
fn given_descriptors(cue: &mut Cue) {
    let place = Place::new();
    let inbox = own::<u64>(place.domain(), 8);
    let out = Sender::<u64>::options().domain(place.domain()).open("box").expect("it exists");
    out.send(0).expect("the owner lives");
    inbox.recv().expect("there");
    let before = descriptors();
    let file = fs::File::open("/proc/self/cmdline").expect("there is one");
    let content = fs::read("/proc/self/cmdline").expect("there is one");
    let many = vec![file.as_fd(); 64];
    for number in [0, 1, 64] {
        out.send_with(7, &many[..number]).expect("there is room");
        let envelope = inbox.recv_envelope().expect("there");
        assert_eq!((envelope.message, envelope.descriptors.len()), (7, number));
        for fd in envelope.descriptors {
            use std::os::unix::fs::FileExt;
            let mut bytes = vec![0; content.len() + 1];
            assert_eq!(fs::File::from(fd).read_at(&mut bytes, 0).expect("it is open"), content.len());
        }
        // Not looked at; given back, and looked at then; and never received.
        out.try_send_with(8, &many[..number]).expect("there is room");
        assert_eq!(inbox.recv(), Ok(8));
        out.send_with_timeout(9, &many[..number], PATIENCE).expect("there is room");
        drop(inbox.take().expect("there"));
        let mut again = inbox.take().expect("it came back");
        assert_eq!((*again, again.take_descriptors().len()), (9, number));
        assert!(again.take_descriptors().is_empty());
        again.accept().expect("in hand");
        assert_eq!(descriptors(), before + 1);
    }
    let too_many = vec![file.as_fd(); 65];
    assert!(out.try_send_with(1, &too_many).is_err_and(|error| !error.is_full() && !error.is_closed()));
    (0..8).for_each(|at| out.send_with(at, &many).expect("there is room"));
    assert!(out.try_send_with(9, &many).is_err_and(|error| error.is_full()));
    drop((inbox, out, file));
    assert!(descriptors() < before);
    let shared = Mailbox::<u64>::options().domain(place.domain()).own("shared").expect("a free name");
    let out = Sender::<u64>::options().domain(place.domain()).open("shared").expect("it exists");
    let error = out.send_with(1, &[]).expect_err("there is no kernel in between").to_string();
    assert!(error.contains("kernel strategy"), "{error}");
    drop(shared);
    cue.say("done");
}

/// A receiver without room for what comes is told so; what came is closed, and the next message is fine.
#[test]
fn descriptors_that_do_not_fit_are_an_error() {
    let place = Place::new();
    let mut owner = Child::start("narrow", &[&place.arg(), "8"]);
    owner.expect("own");
    let out = Sender::<u64>::options().domain(place.domain()).open("box").expect("it exists");
    out.send(0).expect("the owner lives");
    assert_eq!(owner.ask("take 1"), "Ok([0])");
    assert_eq!(owner.ask("limit 10"), "limited");
    let null = fs::File::open("/dev/null").expect("there is one");
    out.send_with(1, &[null.as_fd(); 64]).expect("there is room");
    out.send_with(2, &[null.as_fd(); 5]).expect("there is room");
    let said = owner.ask("take 1");
    assert!(said.starts_with("Err(Failed(Os"), "{said}");
    assert_eq!(owner.ask("take 1"), "Ok([2])");
}

/// Nothing is left of a mailbox: not by its end, nor by its owner's death once somebody cleans up.
#[test]
fn nothing_is_left_beside() {
    let place = Place::new();
    let inbox = own::<u64>(place.domain(), 5);
    assert_eq!(place.files().len(), 3);
    assert!(place.domain().gc().is_ok_and(|swept| swept.removed.is_empty() && swept.left_alone.is_empty()));
    assert_eq!(place.files().len(), 3, "gc leaves alone what is in use");
    drop(inbox);
    assert_eq!(place.files(), [""; 0]);
    let mut owner = Child::start("narrow", &[&place.arg(), "5"]);
    owner.expect("own");
    let out = Sender::<u64>::options().domain(place.domain()).open("box").expect("it exists");
    (0..3).for_each(|at| out.try_send(at).expect("there is room"));
    owner.kill();
    assert_eq!(out.closed().map(|closed| closed.uncollected), Ok(3));
    assert_eq!(place.files(), [""; 0]);
    fs::write(place.path().join(format!("~{}~credit", "0".repeat(32))), "").expect("ours");
    place.domain().gc().expect("ours");
    assert_eq!(place.files(), [""; 0], "of a mailbox that was never to be");
}
