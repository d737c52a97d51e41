//! Links of the kernel strategy: who claims to be somebody else, rubbish at a process's socket, two users, what the
//! dead leave.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, send,
    socket_with,
};
use tubepost::{Domain, Link, LinkOptions, Process, RecvTimeoutError, Strategy, TryRecvError};

use crate::permissions::{Directory, users};
use crate::stage::{Child, Cue, PATIENCE, Place, Role, become_member, eventually, files_in};

pub const ROLES: &[Role] = &[("claimant", claimant), ("neighbour", neighbour), ("hasty", hasty)];

const BEN: u32 = 41_022;
const GROUP: u32 = 41_120;

/// Connects to sockets and says what it is told to; the argument is the user to become, or 0.
fn claimant(cue: &mut Cue) {
    if cue.number(0) != 0 {
        become_member(cue.number(0) as u32, GROUP);
    }
    let mut socket: Option<OwnedFd> = None;
    loop {
        let line = cue.hear();
        let words: Vec<&str> = line.split(' ').collect();
        cue.say(match words[..] {
            ["connect", post] => match reach(Path::new(post)) {
                Ok(made) => {
                    socket = Some(made);
                    "connected".to_owned()
                }
                Err(errno) => format!("{errno:?}"),
            },
            ["say", kind, token, last, text] => {
                let number = |word: &str| word.parse::<u64>().expect("a number");
                let packet = packet(number(kind) as u32, number(token), number(last), text.as_bytes());
                let sent = send(socket.as_ref().expect("connected"), &packet, SendFlags::NOSIGNAL);
                if sent.is_ok() { "said".to_owned() } else { "refused".to_owned() }
            }
            ["await"] => {
                // Nothing is ever said to it.
                let end = recv(socket.as_ref().expect("connected"), &mut [0; 64][..], RecvFlags::empty());
                assert!(matches!(end, Ok((_, 0)) | Err(Errno::CONNRESET)), "{end:?}");
                "shut".to_owned()
            }
            _ => panic!("the claimant does not know {line:?}"),
        });
    }
}

fn reach(post: &Path) -> Result<OwnedFd, Errno> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &SocketAddrUnix::new(post)?)?;
    Ok(socket)
}

/// A packet as docs/format.md tells it.
fn packet(kind: u32, token: u64, last: u64, rest: &[u8]) -> Vec<u8> {
    let length = rest.len() as u32;
    [&kind.to_ne_bytes()[..], &length.to_ne_bytes(), &token.to_ne_bytes(), &last.to_ne_bytes(), rest].concat()
}

/// Another user's process that has a link; the arguments are domain, user.
fn neighbour(cue: &mut Cue) {
    become_member(cue.number(1) as u32, GROUP);
    let domain = Domain::open(cue.arg(0)).expect("it is in the group");
    let me = Process::options().domain(&domain).mode(0o660).join("ben").expect("a free name");
    cue.say("joined");
    let mut link: Option<Link<u64>> = None;
    loop {
        let line = cue.hear();
        cue.say(match line.split(' ').collect::<Vec<_>>()[..] {
            ["link"] => match Link::options().strategy(Strategy::Kernel).open(&me, "root") {
                Ok(opened) => {
                    link = Some(opened);
                    "linked".to_owned()
                }
                Err(error) => error.to_string(),
            },
            ["send", n] => {
                let link = link.as_ref().expect("linked before");
                let n = n.parse().expect("a number");
                let sent = (0..n).try_for_each(|number| link.send_timeout(number, PATIENCE));
                sent.map_or_else(|error| error.to_string(), |()| "sent".to_owned())
            }
            ["recv", n] => {
                let link = link.as_ref().expect("linked before");
                let n = n.parse().expect("a number");
                let wrong = (0..n).find_map(|number| {
                    let got = link.recv_timeout(PATIENCE);
                    (got != Ok(number)).then(|| format!("instead of {number}: {got:?}"))
                });
                wrong.unwrap_or_else(|| "received".to_owned())
            }
            _ => panic!("the neighbour does not know {line:?}"),
        });
    }
}

/// Joins, and sends as fast as it can; the argument is the domain.
fn hasty(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let me = Process::options().domain(&domain).join("carol").expect("a free name");
    cue.say("joined");
    let link = by_kernel().open(&me, "alice").expect("she is there");
    cue.say("linked");
    for number in 0.. {
        if link.send(number).is_err() {
            return;
        }
    }
}

fn by_kernel() -> LinkOptions<u64> {
    Link::options().strategy(Strategy::Kernel).bounded(7)
}

/// What docs/format.md says of a process and of a link: the socket, which life it is, the first word of an id.
fn post(domain: &Domain, name: &str) -> PathBuf {
    domain.path().join(format!("~{}~post", domain.stat(name).expect("it is there").id))
}

fn word(digits: &str) -> u64 {
    u64::from_str_radix(digits, 16).expect("hexadecimal digits")
}

fn refused(claimant: &mut Child, post: &Path, said: &[String]) {
    assert_eq!(claimant.ask(format!("connect {}", post.display())), "connected");
    for packet in said {
        claimant.ask(format!("say {packet}")); // it may be shut out already
    }
    assert_eq!(claimant.ask("await"), "shut", "{said:?}");
}

#[test]
fn who_is_not_the_one_that_the_link_says_is_shut_out() {
    let place = Place::new();
    let domain = place.domain();
    let join = |name: &str| Process::options().domain(domain).join(name).expect("a free name");
    let (alice, bob) = (join("alice"), join("bob"));
    let link = by_kernel().open(&alice, "bob").expect("bob is there");
    let other = bob.link::<u64>("alice").expect("it is there");
    // Somebody who waits accepts whoever comes.
    let bell = other.receiver().doorbell().expect("descriptors are left");
    bell.clear().expect("it can be told");

    let post = post(domain, "bob");
    let life = word(&domain.stat("alice").expect("it is there").id.to_string()[..12]);
    let id = word(&link.sender().id().to_string()[..16]);
    let message = "2 0 0 12345678".to_owned();
    let mut claimant = Child::start("claimant", &["0"]);
    // The truth, but for who says it.
    refused(&mut claimant, &post, &[format!("7 {life} {id} alice"), message.clone()]);
    for hello in [
        format!("7 {life} {} alice", id ^ 1),
        format!("7 {} {id} alice", life ^ 1),
        format!("7 {life} {id} carol"),
        format!("7 {life} {id} no~name"),
        format!("7 {life} {id} {}", "n".repeat(65)),
        format!("1 {life} {id} alice"),
        format!("2 {life} {id} alice"),
        format!("9 {life} {id} alice"),
        format!("{} {} {} x", u32::MAX, u64::MAX, u64::MAX),
    ] {
        refused(&mut claimant, &post, &[hello, message.clone()]);
    }
    // One that says nothing is in nobody's way, and one that ends so.
    assert_eq!(claimant.ask(format!("connect {}", post.display())), "connected");
    assert_eq!(other.try_recv(), Err(TryRecvError::Empty));
    link.send(7).expect("there is room");
    assert_eq!(other.recv_timeout(PATIENCE), Ok(7));
    claimant.kill();
    link.send(8).expect("there is room");
    assert_eq!(other.recv_timeout(PATIENCE), Ok(8));
    other.send(9).expect("there is room");
    assert_eq!(link.recv_timeout(PATIENCE), Ok(9));
}

#[test]
fn a_link_of_two_users_is_theirs_alone() {
    if !users("a_link_of_two_users_is_theirs_alone") {
        return;
    }
    let shared = Directory::shared_by(GROUP);
    let domain = shared.domain();
    let root = Process::options().domain(&domain).mode(0o660).group(GROUP).join("root").expect("free");
    for who_makes_it in ["ben", "root"] {
        let mut ben = Child::start("neighbour", &[shared.path().to_str().expect("ours"), &BEN.to_string()]);
        assert_eq!(ben.hear(), "joined");
        if who_makes_it == "ben" {
            assert_eq!(ben.ask("link"), "linked");
        }
        let options = Link::<u64>::options().strategy(Strategy::Kernel);
        let link = options.open(&root, "ben").expect("ben is there");
        assert_eq!(ben.ask("link"), "linked");
        let n = 3000;
        ben.say(format!("send {n}"));
        for number in 0..n {
            assert_eq!(link.recv_timeout(PATIENCE), Ok(number), "made by {who_makes_it}");
        }
        assert_eq!(ben.hear(), "sent");
        ben.say(format!("recv {n}"));
        for number in 0..n {
            link.send_timeout(number, PATIENCE).expect("ben receives");
        }
        assert_eq!(ben.hear(), "received");
        // A third one, of the same group, is not let in, though it may open all that there is.
        let mut claimant = Child::start("claimant", &[&(BEN + 1).to_string()]);
        let life = word(&domain.stat("ben").expect("it is there").id.to_string()[..12]);
        let id = word(&link.receiver().id().to_string()[..16]);
        let bell = link.receiver().doorbell().expect("descriptors are left");
        bell.clear().expect("it can be told");
        refused(
            &mut claimant,
            &post(&domain, "root"),
            &[format!("7 {life} {id} ben"), "2 0 0 12345678".into()],
        );
        assert_eq!(link.try_recv(), Err(TryRecvError::Empty));
        ben.kill();
        let over = link.recv_timeout(PATIENCE);
        assert!(matches!(over, Err(RecvTimeoutError::Closed(_))), "{over:?}");
        assert!(link.send(7).is_err_and(|error| error.is_closed()));
    }
    root.leave();
    domain.gc().expect("our own domain");
    assert_eq!(files_in(shared.path()), [""; 0]);
}

#[test]
fn nothing_is_left_of_those_killed_while_they_linked() {
    for round in 0..40 {
        let place = Place::new();
        let domain = place.domain();
        let alice = Process::options().domain(domain).join("alice").expect("a free name");
        let mut carol = Child::start("hasty", &[&place.arg()]);
        // At some moment of joining, making, connecting, sending.
        if round % 4 > 0 {
            carol.hear();
        }
        for _ in 0..round * 500 {
            std::hint::spin_loop();
        }
        carol.kill();
        let inbox = alice.inbox::<u64>().expect("numbers need no label");
        let mut next = 0;
        while let Ok(envelope) = inbox.try_recv() {
            assert_eq!(envelope.message, next);
            next += 1;
        }
        drop(inbox);
        alice.leave();
        eventually("all is put away", || {
            domain.gc().expect("our own domain");
            place.files().is_empty()
        });
    }
}
