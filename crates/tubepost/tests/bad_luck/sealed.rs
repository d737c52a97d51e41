//! The sealed strategy: senders of other users, areas that are not as they have to be, rubbish in every word, floods, kills.

mod area;

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, send, sendmsg,
};
use tubepost::{Domain, Mailbox, Receiver, Sender, Strategy};

use crate::connections::raw;
use crate::permissions::{Directory, users};
use crate::stage::{
    Child, Cue, Dice, PATIENCE, Place, Role, become_member, descriptors, eventually, limit_files,
};
use area::{Area, SEALS, file, is_writable};

pub const ROLES: &[Role] = &[
    ("sealed stranger", stranger),
    ("sealed streamer", streamer),
    ("sealed owner", owner),
    ("given areas", given_areas),
];

const BEN: u32 = 41_022;
const GROUP: u32 = 41_120;
/// Places of each sender, and the longest message, where nothing else is said; what the area then has.
const N: u64 = 8;
const LONGEST: u64 = 1000;
const LENGTH: usize = 4096 + 8192;
/// Where the ring begins.
const RING: usize = 4096;

fn options(domain: &Domain, n: u64) -> tubepost::Options<[u8]> {
    let options = Mailbox::<[u8]>::options().domain(domain).strategy(Strategy::Sealed);
    options.bounded(n).max_message(LONGEST)
}

fn own(domain: &Domain, n: u64) -> Receiver<[u8]> {
    options(domain, n).own("box").expect("a free name")
}

fn open(domain: &Domain) -> Sender<[u8]> {
    Sender::<[u8]>::options().domain(domain).open("box").expect("it exists")
}

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
            ["fill"] => {
                let last = senders.last().expect("it is open");
                (0..).take_while(|_| last.try_send(b"theirs").is_ok()).count().to_string()
            }
            ["collect", text] => {
                format!("{:?}", senders[0].send_collected_timeout(text.as_bytes(), PATIENCE).is_ok())
            }
            ["rubbish", word, value] => match raw(&path) {
                Ok(socket) => {
                    let area = Area::new(LENGTH);
                    hello(&socket, &[area.fd.as_fd()]);
                    area.store(word.parse().expect("a number"), value.parse().expect("a number"));
                    if word != "0" {
                        area.store(0, 1);
                    }
                    sockets.push((socket, area));
                    "done".to_owned()
                }
                Err(errno) => format!("{errno:?}"),
            },
            _ => panic!("the stranger does not know {line:?}"),
        });
    }
}

/// Sends numbers with its own mark as fast as it can; the arguments are domain and mark.
fn streamer(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let (out, mark) = (open(&domain), cue.number(1));
    for number in 0_u64.. {
        let length = 16 + (number * 37 % 900) as usize;
        let mut bytes = vec![number as u8; length];
        bytes[..8].copy_from_slice(&mark.to_ne_bytes());
        bytes[8..16].copy_from_slice(&number.to_ne_bytes());
        if out.send(&bytes).is_err() {
            return;
        }
    }
}

/// Owns a mailbox, and does what it is told.
fn owner(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let inbox = own(&domain, cue.number(1));
    cue.say("own");
    loop {
        let line = cue.hear();
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["limit", more] => {
                limit_files((descriptors() + more.parse::<usize>().expect("a number")) as u64);
                cue.say("limited");
            }
            ["unlimit"] => {
                limit_files(1000);
                cue.say("unlimited");
            }
            ["take", k] => {
                let all = (0..k.parse().expect("a number")).map(|_| inbox.recv_timeout(PATIENCE));
                cue.say(all.filter(Result::is_ok).count());
            }
            ["try"] => cue.say(inbox.try_recv().is_ok()),
            _ => panic!("the owner does not know {line:?}"),
        }
    }
}

/// A packet as docs/format.md tells it.
fn packet(kind: u32, length: u32, descriptors: u64, rest: &[u8]) -> Vec<u8> {
    let token = (u64::MAX - 1).to_ne_bytes();
    [&kind.to_ne_bytes()[..], &length.to_ne_bytes(), &token, &descriptors.to_ne_bytes(), rest].concat()
}

/// The first packet, with these descriptors.
fn hello(socket: &OwnedFd, descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(descriptors.is_empty() || control.push(SendAncillaryMessage::ScmRights(descriptors)));
    let bytes = packet(1, 2, descriptors.len() as u64, b"me");
    sendmsg(socket, &[std::io::IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)
        .expect("it takes it");
}

/// The next packet, and what comes with it; nothing if nobody is there any more.
fn hear(socket: &OwnedFd) -> Option<(Vec<u8>, Vec<OwnedFd>)> {
    let (mut bytes, mut space) = ([0; 64], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))]);
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
    let came = recvmsg(socket, &mut parts, &mut control, RecvFlags::DONTWAIT).ok()?;
    let fds = control.drain().filter_map(|it| match it {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let fds = fds.flatten().collect();
    (came.bytes > 0).then(|| (bytes[..came.bytes].to_vec(), fds))
}

/// Whether the owner hung up; it sends its area before.
fn is_hung_up(socket: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut polled = [PollFd::new(socket, PollFlags::RDHUP)];
    poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(1)
}

fn own_for_others(shared: &Directory, mode: u32) -> Receiver<[u8]> {
    options(&shared.domain(), N).mode(mode).own("box").expect("a free name")
}

fn stranger_in(shared: &Directory) -> Child {
    shared.start("sealed stranger", BEN, GROUP)
}

#[test]
fn another_user_sends_where_the_mode_lets_it_and_has_places_of_its_own() {
    if !users("another_user_sends_where_the_mode_lets_it_and_has_places_of_its_own") {
        return;
    }
    for (mode, opens) in [(0o600, "Denied"), (0o640, "Denied"), (0o620, "open")] {
        let shared = Directory::shared_by(GROUP);
        let inbox = own_for_others(&shared, mode);
        let mut stranger = stranger_in(&shared);
        assert_eq!(stranger.ask("open"), opens, "mode {mode:o}");
        if opens != "open" {
            continue;
        }
        assert_eq!(stranger.ask("fill"), N.to_string());
        let out = open(&shared.domain());
        assert_eq!((0..=N).take_while(|_| out.try_send(b"ours").is_ok()).count() as u64, N);
        let mut theirs = 0;
        for _ in 0..2 * N {
            let envelope = inbox.recv_envelope_timeout(PATIENCE).expect("they were sent");
            if envelope.message == b"theirs" {
                assert_eq!(envelope.sender.pid, stranger.pid(), "the kernel says who sent it");
                theirs += 1;
            }
        }
        assert_eq!(theirs, N);
        stranger.say("collect it");
        assert_eq!(inbox.recv_timeout(PATIENCE), Ok(b"it".to_vec()));
        stranger.expect("true");
        // What it sent before it vanished is received.
        assert_eq!(stranger.ask("fill"), N.to_string());
        stranger.kill();
        let rest = std::iter::from_fn(|| inbox.recv_timeout(Duration::from_millis(100)).ok()).count();
        assert_eq!(rest as u64, N);
    }
}

#[test]
fn another_users_rubbish_is_its_own_loss() {
    if !users("another_users_rubbish_is_its_own_loss") {
        return;
    }
    let shared = Directory::shared_by(GROUP);
    let inbox = own_for_others(&shared, 0o620);
    let (mut stranger, out) = (stranger_in(&shared), open(&shared.domain()));
    for value in [N + 1, u64::MAX, u64::MAX - 1, 1 << 63] {
        assert_eq!(stranger.ask(format!("rubbish 0 {value}")), "done");
        assert_eq!(stranger.ask(format!("rubbish {RING} {}", value.max(LONGEST + 1))), "done");
        out.send(b"ours").expect("the owner lives");
        assert_eq!(inbox.recv_timeout(PATIENCE), Ok(b"ours".to_vec()));
        assert!(inbox.try_recv().is_err_and(|error| error.is_empty()));
    }
}

/// It is shut before anything of it is looked at, and nobody else notices.
#[test]
fn an_area_that_is_not_as_it_has_to_be_costs_its_own_connection_only() {
    Child::start("given areas", &[]).expect("done");
}

/// In a process of its own: it counts its descriptors.
fn given_areas(cue: &mut Cue) {
    let place = Place::new();
    let inbox = own(place.domain(), N);
    let out = open(place.domain());
    let none = MemfdFlags::empty();
    let bad: Vec<(&str, Option<OwnedFd>)> = vec![
        ("no seals", file(LENGTH, LENGTH, SealFlags::empty(), none)),
        ("it can shrink", file(LENGTH, LENGTH, SEALS.difference(SealFlags::SHRINK), none)),
        ("it can grow", file(LENGTH, LENGTH, SEALS.difference(SealFlags::GROW), none)),
        ("others can write", file(LENGTH, LENGTH, SEALS.difference(SealFlags::FUTURE_WRITE), none)),
        ("empty", file(0, 0, SEALS, none)),
        ("short", file(LENGTH - 4096, LENGTH - 4096, SEALS, none)),
        ("long", file(LENGTH + 4096, LENGTH + 4096, SEALS, none)),
        ("all hole", file(LENGTH, 0, SEALS, none)),
        ("a hole at the end", file(LENGTH, LENGTH - 4096, SEALS, none)),
        ("huge pages", file(2 << 20, 0, SEALS, MemfdFlags::HUGETLB)),
        ("a device", fs::File::open("/dev/zero").ok().map(OwnedFd::from)),
        ("a directory", fs::File::open("/").ok().map(OwnedFd::from)),
        ("a pipe", rustix::pipe::pipe().ok().map(|(read, _)| read)),
        ("a file", fs::File::open("/proc/self/exe").ok().map(OwnedFd::from)),
    ];
    out.try_send(b"ours").expect("there is room");
    assert_eq!(inbox.try_recv(), Ok(b"ours".to_vec()));
    let before = descriptors();
    let check = |what: &str, socket: OwnedFd| {
        out.try_send(b"ours").expect("there is room");
        assert_eq!(inbox.try_recv(), Ok(b"ours".to_vec()), "{what}");
        assert!(inbox.try_recv().is_err_and(|error| error.is_empty()), "{what}");
        eventually("it is hung up", || inbox.try_recv().is_err() && is_hung_up(&socket));
        assert!(hear(&socket).is_none(), "{what}: it gets no area");
    };
    for (what, area) in &bad {
        let Some(area) = area else { continue }; // such are not to be had here
        let socket = raw(place.path()).expect("anybody may connect");
        hello(&socket, &[area.as_fd()]);
        check(what, socket);
    }
    let good = Area::new(LENGTH);
    for number in [0, 2, 3] {
        let socket = raw(place.path()).expect("anybody may connect");
        hello(&socket, &vec![good.fd.as_fd(); number]);
        check("a number of descriptors", socket);
    }
    for rubbish in [vec![1], vec![0; 24], vec![0xff; 24], packet(2, 4, 0, b"text"), packet(9, 0, 0, b"")] {
        let socket = raw(place.path()).expect("anybody may connect");
        send(&socket, &rubbish, SendFlags::NOSIGNAL).expect("the kernel takes it");
        check("another packet first", socket);
    }
    eventually("no descriptor is left", || {
        let _ = inbox.try_recv();
        descriptors() <= before + 1 // that of the good one
    });
    cue.say("done");
}

/// What the owner writes nobody else gets to write.
#[test]
fn a_sender_can_only_look_at_the_owners_area() {
    let place = Place::new();
    let inbox = own(place.domain(), N);
    let (socket, area) = (raw(place.path()).expect("anybody may connect"), Area::new(LENGTH));
    hello(&socket, &[area.fd.as_fd()]);
    assert!(inbox.try_recv().is_err());
    let (bytes, fds) = hear(&socket).expect("it is sent when the connection is accepted");
    assert_eq!((bytes[0], fds.len()), (8, 1));
    assert!(!is_writable(&fds[0]), "mapped for writing");
    assert!(rustix::io::pwrite(&fds[0], &[1; 8], 0).is_err(), "written to");
    assert!(rustix::fs::ftruncate(&fds[0], 0).is_err(), "made shorter");
    let hole = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
    assert!(rustix::fs::fallocate(&fds[0], hole, 0, 4096).is_err(), "given a hole");
}

/// Each word of the area in turn, with values at which something might change, while an honest sender's messages all come.
#[test]
fn rubbish_in_every_word_costs_its_own_connection_only() {
    let place = Place::new();
    let inbox = own(place.domain(), N);
    let out = open(place.domain());
    let ring = LENGTH as u64 - RING as u64;
    let values = [
        0,
        1,
        2,
        7,
        8,
        9,
        N - 1,
        N,
        N + 1,
        LONGEST - 1,
        LONGEST,
        LONGEST + 1,
        ring - 8,
        ring,
        ring + 8,
        1 << 32,
        2 << 32,
        3 << 32,
        4 << 32,
        1 << 32 | 5,
        u32::MAX.into(),
        1 << 63,
        u64::MAX - 1,
        u64::MAX,
    ];
    for word in [0, 0x40, 0x80, 0xff8, RING, RING + 8, RING + 16, LENGTH - 8] {
        for value in values {
            let (socket, area) = (raw(place.path()).expect("anybody may connect"), Area::new(LENGTH));
            hello(&socket, &[area.fd.as_fd()]);
            area.store(0, if word == 0 { value } else { 3 });
            area.store(word, value);
            out.send_timeout(b"honest", PATIENCE).expect("the owner lives");
            let mut honest = 0;
            while let Ok(message) = inbox.try_recv() {
                assert!(message.len() as u64 <= LONGEST);
                honest += u32::from(message == b"honest");
            }
            assert_eq!(honest, 1, "{value:#x} at {word:#x}");
            // And while it is there.
            area.store(word, value.wrapping_add(1));
            area.store(0, value);
            let _ = send(&socket, &packet(9, 0, 0, b""), SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
            out.send_timeout(b"honest", PATIENCE).expect("the owner lives");
            while inbox.recv_timeout(PATIENCE).expect("it was sent") != b"honest" {}
            while inbox.try_recv().is_ok() {}
        }
    }
}

#[test]
fn words_that_jump_while_they_are_read_harm_nobody() {
    let place = Place::new();
    let inbox = own(place.domain(), N);
    let out = open(place.domain());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice::new(7);
            while !over.load(Relaxed) {
                let (socket, area) = (raw(place.path()).expect("anybody may connect"), Area::new(LENGTH));
                hello(&socket, &[area.fd.as_fd()]);
                for step in 0..2000 {
                    let value = match dice.below(4) {
                        0 => dice.roll(),
                        1 => dice.below(N + 2),
                        2 => step / 16,
                        _ => dice.below(LONGEST + 2) | dice.below(4) << 32,
                    };
                    let words = [0, 0x40, RING, RING + 8 * dice.below(1024) as usize];
                    area.store(words[dice.below(4) as usize].min(LENGTH - 8), value);
                    if is_hung_up(&socket) {
                        break;
                    }
                }
            }
        });
        for number in 0..3000_u64 {
            let mark = [&b"honest"[..], &number.to_ne_bytes()].concat();
            out.send_timeout(&mark, PATIENCE).expect("its places are its own");
            while inbox.recv_timeout(PATIENCE).expect("it was sent") != mark {}
        }
        over.store(true, Relaxed);
    });
}

/// A note is sent once for each time that the owner sleeps.
#[test]
fn who_sends_notes_in_vain_is_hung_up_on() {
    let place = Place::new();
    let inbox = own(place.domain(), N);
    let out = open(place.domain());
    let (socket, area) = (raw(place.path()).expect("anybody may connect"), Area::new(LENGTH));
    hello(&socket, &[area.fd.as_fd()]);
    for _ in 0..100 {
        let _ = send(&socket, &packet(9, 0, 0, b""), SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }
    for _ in 0..100 {
        out.send(b"ours").expect("the owner lives");
        assert_eq!(inbox.recv_timeout(PATIENCE), Ok(b"ours".to_vec()));
    }
    eventually("it is hung up", || inbox.try_recv().is_err() && is_hung_up(&socket));
}

#[test]
fn senders_killed_at_random_leave_whole_messages_in_order() {
    let place = Place::new();
    let inbox = own(place.domain(), N);
    let (mut dice, mut children, mut next) = (Dice::new(3), Vec::new(), Vec::<u64>::new());
    for _ in 0..60 {
        while children.len() < 3 {
            let mark = next.len() as u64;
            next.push(0);
            children.push(Child::start("sealed streamer", &[&place.arg(), &mark.to_string()]));
        }
        for _ in 0..dice.below(400) {
            let message = inbox.recv_timeout(PATIENCE).expect("somebody sends");
            let word = |at: usize| u64::from_ne_bytes(message[at..at + 8].try_into().expect("8 bytes"));
            let (mark, number) = (word(0) as usize, word(8));
            assert_eq!(number, next[mark], "of sender {mark}");
            assert_eq!(message.len() as u64, 16 + number * 37 % 900);
            assert!(message[16..].iter().all(|byte| *byte == number as u8));
            next[mark] += 1;
        }
        children.remove(dice.below(3) as usize).kill();
    }
}

#[test]
fn what_an_owner_that_is_killed_had_not_received_is_counted_by_its_sender() {
    let place = Place::new();
    for take in [0, 1, 5] {
        let mut owner = Child::start("sealed owner", &[&place.arg(), "8"]);
        owner.expect("own");
        let out = open(place.domain());
        (0..5).for_each(|_| out.try_send(b"one").expect("there is room"));
        assert_eq!(owner.ask(format!("take {take}")), take.to_string());
        (0..3).for_each(|_| out.try_send(b"more").expect("there is room"));
        owner.kill();
        let closed = out.closed().expect("it is told");
        assert_eq!(closed.uncollected, 8 - take);
        assert!(out.send(b"x").is_err_and(|error| error.is_closed()));
    }
}

/// Those whose connections it can't accept wait, and lose nothing.
#[test]
fn an_owner_without_descriptors_gets_it_all_later() {
    let place = Place::new();
    let mut owner = Child::start("sealed owner", &[&place.arg(), "8"]);
    owner.expect("own");
    for more in 0..4 {
        assert_eq!(owner.ask(format!("limit {more}")), "limited");
        let out = open(place.domain());
        (0..8).for_each(|_| out.try_send(b"one").expect("there is room"));
        assert!(out.try_send(b"one").is_err_and(|error| error.is_full()));
        let early = owner.ask("try") == "true";
        assert_eq!(owner.ask("unlimit"), "unlimited");
        assert_eq!(owner.ask(format!("take {}", 8 - u32::from(early))), (8 - u32::from(early)).to_string());
    }
}
