//! Processes of another user that do nothing but connect and hang up, as fast as they can: what that costs others is bounded.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_executor::block_on;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use tubepost::{Error, Link, Mailbox, Process, Receiver, Select, SendCollectedError, Sender, Strategy};

use crate::connections::{beside, raw};
use crate::permissions::{Directory, users};
use crate::stage::{Child, Cue, PATIENCE, Place, Role, become_member};

pub const ROLES: &[Role] = &[("churner", churner), ("steady", steady), ("linked", linked)];

const BEN: u32 = 41_032;
const GROUP: u32 = 41_130;
/// How many of them there are: more than processors that could accept what they do.
const CHURNERS: usize = 3;
/// How often the others send.
const EVERY: Duration = Duration::from_millis(10);
/// How long a message, and the end of a wait, may be late: a delay of another kind than that of a busy machine.
const LATE: Duration = Duration::from_secs(1);
/// How long a test looks on.
const LOOK_ON: Duration = Duration::from_secs(3);

/// Connects and hangs up, until it is killed; the arguments are the socket, user, group.
fn churner(cue: &mut Cue) {
    become_member(cue.number(1) as u32, cue.number(2) as u32);
    let post = SocketAddrUnix::new(cue.arg(0)).expect("a short path");
    cue.say("here");
    cue.hear();
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    loop {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let _ = connect(socket.expect("descriptors are left"), &post);
    }
}

/// Sends all the time, until it is killed; the argument is the domain.
fn steady(cue: &mut Cue) {
    let domain = tubepost::Domain::open(cue.arg(0)).expect("ours");
    let out = Sender::<[u8]>::options().domain(&domain).open("box").expect("it exists");
    loop {
        out.send(b"ours").expect("the owner lives");
        std::thread::sleep(EVERY); // its pace
    }
}

/// The same by a link; the argument is the domain.
fn linked(cue: &mut Cue) {
    let domain = tubepost::Domain::open(cue.arg(0)).expect("ours");
    let me = Process::options().domain(&domain).join("ann").expect("a free name");
    let link = Link::<[u8]>::options().strategy(Strategy::Kernel).open(&me, "root").expect("it is there");
    cue.say("linked");
    loop {
        link.send(b"ours").expect("the other end lives");
        std::thread::sleep(EVERY); // its pace
    }
}

fn own(shared: &Directory, strategy: Strategy) -> Receiver<[u8]> {
    let domain = shared.domain();
    Mailbox::<[u8]>::options().domain(&domain).strategy(strategy).mode(0o620).own("box").expect("a free name")
}

/// Those who connect to the only socket there, all at once.
fn churners(shared: &Directory) -> Vec<Child> {
    churners_at(&beside(shared.path(), "~post"))
}

fn churners_at(post: &Path) -> Vec<Child> {
    let post = post.to_str().expect("our own path");
    let start = |_| Child::start("churner", &[post, &BEN.to_string(), &GROUP.to_string()]);
    let mut all: Vec<Child> = (0..CHURNERS).map(start).collect();
    all.iter_mut().for_each(|churner| churner.expect("here"));
    all.iter_mut().for_each(|churner| churner.say("go"));
    all
}

/// Has messages come for a while: how late the latest was.
fn latest(mut receive: impl FnMut()) -> Duration {
    let (begin, mut latest) = (Instant::now(), Duration::ZERO);
    while begin.elapsed() < LOOK_ON {
        let before = Instant::now();
        receive();
        latest = latest.max(before.elapsed());
    }
    latest
}

#[test]
fn who_connects_and_hangs_up_delays_no_message() {
    if !users("who_connects_and_hangs_up_delays_no_message") {
        return;
    }
    for strategy in [Strategy::Kernel, Strategy::Sealed] {
        let shared = Directory::shared_by(GROUP);
        let inbox = own(&shared, strategy);
        let _steady = Child::start("steady", &[shared.path().to_str().expect("ours")]);
        inbox.recv_timeout(PATIENCE).expect("it sends");
        let _churners = churners(&shared);
        let by_thread = latest(|| drop(inbox.recv_timeout(PATIENCE).expect("it sends")));
        assert!(by_thread < LATE, "{strategy:?}: a message came after {by_thread:?}");
        let by_task = latest(|| drop(block_on(inbox.recv_async()).expect("it sends")));
        assert!(by_task < LATE, "{strategy:?}: a message came to a task after {by_task:?}");
        let mut select = Select::new();
        select.recv(&inbox);
        let by_select = latest(|| {
            select.ready_timeout(PATIENCE).expect("it sends");
            while inbox.try_recv().is_ok() {}
        });
        assert!(by_select < LATE, "{strategy:?}: a message was told of after {by_select:?}");
    }
}

#[test]
fn who_connects_and_hangs_up_moves_no_deadline() {
    if !users("who_connects_and_hangs_up_moves_no_deadline") {
        return;
    }
    for strategy in [Strategy::Kernel, Strategy::Sealed] {
        let shared = Directory::shared_by(GROUP);
        let inbox = own(&shared, strategy);
        let _churners = churners(&shared);
        let wait = Duration::from_millis(300);
        for _ in 0..5 {
            let begin = Instant::now();
            assert!(inbox.recv_timeout(wait).is_err_and(|error| error.is_timeout()));
            let took = begin.elapsed();
            assert!(took < wait + LATE, "{strategy:?}: {wait:?} took {took:?}");
            assert!(inbox.try_recv().is_err_and(|error| error.is_empty()));
            let took = begin.elapsed() - took;
            assert!(took < LATE, "{strategy:?}: nothing was found after {took:?}");
        }
    }
}

/// The same at a process's socket; and that the other end is gone is told.
#[test]
fn who_connects_and_hangs_up_delays_no_link() {
    if !users("who_connects_and_hangs_up_delays_no_link") {
        return;
    }
    let shared = Directory::shared_by(GROUP);
    let domain = shared.domain();
    let root = Process::options().domain(&domain).mode(0o660).group(GROUP).join("root").expect("free");
    let post = beside(shared.path(), "~post");
    let mut ann = Child::start("linked", &[shared.path().to_str().expect("ours")]);
    ann.expect("linked");
    let link = root.link::<[u8]>("ann").expect("she made it");
    link.recv_timeout(PATIENCE).expect("she sends");
    let _churners = churners_at(&post);
    let by_thread = latest(|| drop(link.recv_timeout(PATIENCE).expect("she sends")));
    assert!(by_thread < LATE, "a message came after {by_thread:?}");
    let by_task = latest(|| drop(block_on(link.receiver().recv_async()).expect("she sends")));
    assert!(by_task < LATE, "a message came to a task after {by_task:?}");
    ann.kill();
    let killed = Instant::now();
    while link.recv_timeout(PATIENCE).is_ok() {}
    let took = killed.elapsed();
    assert!(took < 3 * LATE, "her end was told after {took:?}");
}

/// However many connect and say nothing before it: who sent is found at once, and everything in its order.
#[test]
fn behind_a_crowd_that_says_nothing_everything_is_found() {
    for strategy in [Strategy::Kernel, Strategy::Sealed] {
        for crowd in [15, 16, 17, 32, 400] {
            let place = Place::new();
            let options = Mailbox::<u64>::options().domain(place.domain()).strategy(strategy).bounded(64);
            let inbox = options.own("box").expect("a free name");
            let open = || Sender::<u64>::options().domain(place.domain()).open("box").expect("it exists");
            let dumb = |number| -> Vec<_> {
                (0..number).map(|_| raw(place.path()).expect("we may connect")).collect()
            };
            let dumb_at_first = dumb(crowd);
            let first = open();
            first.try_send(0).expect("there is room");
            assert_eq!(inbox.try_recv(), Ok(0), "{strategy:?}, {crowd}");
            // The later one is connected first.
            let second = open();
            let dumb_again = dumb(crowd);
            let third = open();
            third.try_send(1).expect("there is room");
            second.try_send(2).expect("there is room");
            let mut all = [inbox.try_recv().expect("sent"), inbox.try_recv().expect("sent")];
            if strategy == Strategy::Sealed {
                all.sort_unstable(); // each sender has an order of its own
            }
            assert_eq!(all, [1, 2], "{strategy:?}, {crowd}");
            let dumb_at_last = dumb(crowd);
            let last = open();
            (3..6).for_each(|number| last.try_send(number).expect("there is room"));
            assert_eq!(inbox.len(), 3, "{strategy:?}, {crowd}");
            let mut select = Select::new();
            select.recv(&inbox);
            assert!(select.try_ready().is_ok(), "{strategy:?}, {crowd}");
            drop((dumb_at_first, dumb_again, dumb_at_last));
            assert_eq!(inbox.close().map(|closed| closed.uncollected), Ok(3), "{strategy:?}, {crowd}");
        }
    }
}

/// Connects, and hangs up, until no more can wait to be accepted.
fn fill(post: &Path) {
    let (post, flags) =
        (SocketAddrUnix::new(post).expect("short"), SocketFlags::CLOEXEC | SocketFlags::NONBLOCK);
    let socket =
        || socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("one is left");
    while connect(socket(), &post).is_ok() {}
}

/// Where as many wait to be accepted as can, others wait for a place among them, and are told truly why there is none.
#[test]
fn who_finds_as_many_waiting_as_can_be_waits_too() {
    let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("/proc");
    let most = limit.trim().parse::<u64>().expect("a number").min(4096) + 1;
    for strategy in [Strategy::Kernel, Strategy::Sealed] {
        let place = Place::new();
        let inbox =
            Mailbox::<u64>::options().domain(place.domain()).strategy(strategy).own("box").expect("free");
        let open = || Sender::<u64>::options().domain(place.domain()).open("box");
        let there = open().expect("it exists");
        let post = beside(place.path(), "~post");
        fill(&post);
        let begin = Instant::now();
        match open() {
            Err(Error::Crowded { name, waiting }) => assert_eq!((&*name, waiting), ("box", most)),
            other => panic!("{strategy:?}: {other:?}"),
        }
        let took = begin.elapsed();
        assert!((LATE..3 * LATE).contains(&took), "{strategy:?}: a second is what it has, not {took:?}");
        if strategy == Strategy::Kernel {
            // Such a message has a connection of its own.
            let wait = Duration::from_millis(300);
            let begin = Instant::now();
            let done = there.send_collected_timeout(1, wait);
            assert!(matches!(done, Err(SendCollectedError::Timeout(1))), "{done:?}");
            assert!((wait..wait + LATE).contains(&begin.elapsed()));
        }
        std::thread::scope(|scope| {
            let opening = scope.spawn(|| open().map(|out| out.send(7).expect("the owner lives")));
            assert_eq!(inbox.recv_timeout(PATIENCE), Ok(7), "{strategy:?}");
            opening.join().expect("no panic").expect("there is a place by now");
        });
        if strategy == Strategy::Kernel {
            fill(&post);
            std::thread::scope(|scope| {
                let sending = scope.spawn(|| there.send_collected_timeout(8, PATIENCE));
                assert_eq!(inbox.recv_timeout(PATIENCE), Ok(8));
                assert!(sending.join().expect("no panic").is_ok());
            });
        }
    }
}

/// Others come in while somebody connects and hangs up as fast as it can.
#[test]
fn who_connects_and_hangs_up_keeps_nobody_out() {
    if !users("who_connects_and_hangs_up_keeps_nobody_out") {
        return;
    }
    for strategy in [Strategy::Kernel, Strategy::Sealed] {
        let shared = Directory::shared_by(GROUP);
        let inbox = own(&shared, strategy);
        let domain = shared.domain();
        let open = || Sender::<[u8]>::options().domain(&domain).open("box");
        let _churners = churners(&shared);
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| {
                for number in 0..20 {
                    let out = open().unwrap_or_else(|error| panic!("{strategy:?}, {number}: {error}"));
                    out.send(&[number]).expect("the owner lives");
                }
            });
            (0..20).for_each(|number| assert_eq!(inbox.recv_timeout(PATIENCE), Ok(vec![number])));
            sending.join().expect("no panic");
        });
    }
}
