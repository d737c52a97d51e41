//! Arbitrary packets to whoever hears any, other than a mailbox of the kernel strategy ([`packets`](super::packets)):
//! an owner of the sealed strategy, a sender from its owner, a process that has links, an end of a pair.
//!
//! ```text
//! per step   a byte says what: a packet with some kind, arbitrary bytes, or something else to do; and what goes
//!            with it; two bytes say how long it is, and of which kind; then as many as are left, or the same byte
//!            again and again
//! ```
//!
//! Each call has to come back in time, and what keeps the protocol has to be served, where that is somebody else's.

use std::fs;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect,
    listen, recvmsg, sendmsg, socket_with, socketpair,
};
use tubepost::{Domain, Link, LinkOptions, Mailbox, Process, Receiver, Sender, Strategy};

/// Whom packets may be sent to.
pub const HEARERS: usize = 8;

const LONGEST: u64 = 1000;
const SHORT: Duration = Duration::from_millis(1);
/// What a machine may stand still, with a sanitizer.
const SLACK: Duration = Duration::from_secs(10);

/// What is sent in one step.
struct Said {
    what: u8,
    low: u8,
    high: u8,
    filling: Vec<u8>,
}

fn steps(input: &[u8]) -> impl Iterator<Item = Said> {
    let mut left = input;
    std::iter::from_fn(move || {
        let [what, low, high, rest @ ..] = left else { return None };
        left = rest;
        let length = usize::from(u16::from_le_bytes([*low, *high])) % 3000;
        let filling = rest.iter().copied().chain(std::iter::repeat(*low)).take(length).collect();
        Some(Said { what: *what, low: *low, high: *high, filling })
    })
}

impl Said {
    /// As docs/format.md tells it, but for what the input says.
    fn packet(&self) -> Vec<u8> {
        if self.what >> 2 & 7 == 1 {
            return self.filling.clone();
        }
        let token = match self.low & 3 {
            0 => u64::MAX - 1,
            1 => 0,
            2 => u64::MAX,
            _ => u64::from(self.high),
        };
        let head = [u64::from(self.high % 11), token, u64::from(self.what >> 6)];
        let mut packet = (head[0] | (self.filling.len() as u64) << 32).to_ne_bytes().to_vec();
        packet.extend(head[1].to_ne_bytes().into_iter().chain(head[2].to_ne_bytes()));
        packet.extend(&self.filling);
        packet
    }

    /// What goes with it.
    fn descriptors(&self) -> Vec<OwnedFd> {
        let mut all = Vec::new();
        match self.what >> 5 & 7 {
            0..=2 => {}
            3 | 4 => all.extend(area(self.low, &self.filling)),
            5 => all.extend(fs::File::open("/dev/null").ok().map(OwnedFd::from)),
            6 => all.extend(connection().map(|(one, _)| one)),
            _ => {
                all.extend(area(self.low, &self.filling));
                all.extend(connection().into_iter().flat_map(|(one, other)| [one, other]));
            }
        }
        all
    }

    fn send_by(&self, socket: &OwnedFd) {
        let with = self.descriptors();
        say(socket, &self.packet(), &with.iter().map(AsFd::as_fd).collect::<Vec<_>>());
    }
}

/// An area as a sealed strategy's may be, or nearly, with this in it.
fn area(how: u8, filling: &[u8]) -> Option<OwnedFd> {
    let fd = memfd_create("area", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).ok()?;
    let length = 4096 * (1 + u64::from(how & 3));
    ftruncate(&fd, length).ok()?;
    fallocate(&fd, rustix::fs::FallocateFlags::empty(), 0, length).ok()?;
    rustix::io::pwrite(&fd, filling, if how & 64 == 0 { 0 } else { 4096 }).ok()?;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    let all = if how & 128 == 0 { seals | SealFlags::FUTURE_WRITE } else { seals };
    fcntl_add_seals(&fd, all).ok()?;
    Some(fd)
}

fn connection() -> Option<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).ok()
}

fn say(socket: &OwnedFd, bytes: &[u8], with: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(with.is_empty() || control.push(SendAncillaryMessage::ScmRights(with)), "so many fit");
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let _ = sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags);
}

fn hear(socket: &OwnedFd) -> Option<(Vec<u8>, Vec<OwnedFd>)> {
    let (mut bytes, mut space) = ([0; 64], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))]);
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let came = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags).ok()?;
    let rights = control.drain().filter_map(|it| match it {
        RecvAncillaryMessage::ScmRights(all) => Some(all),
        _ => None,
    });
    let all = rights.flatten().collect();
    (came.bytes > 0).then(|| (bytes[..came.bytes].to_vec(), all))
}

fn timely<R>(what: &str, call: impl FnOnce() -> R) -> R {
    let begin = Instant::now();
    let done = call();
    assert!(begin.elapsed() < SLACK, "{what} took {:?}", begin.elapsed());
    done
}

fn socket() -> Option<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).ok()
}

fn reach(post: &Path) -> Option<OwnedFd> {
    let socket = socket()?;
    connect(&socket, &SocketAddrUnix::new(post).expect("short")).ok()?;
    Some(socket)
}

/// Where one connects to whatever has this id.
fn post(domain: &Domain, name: &str) -> PathBuf {
    domain.path().join(format!("~{}~post", domain.stat(name).expect("it is there").id))
}

fn own(domain: &Domain, strategy: Strategy, n: u64) -> Receiver<[u8]> {
    let options = Mailbox::<[u8]>::options().domain(domain).strategy(strategy);
    options.bounded(n).max_message(LONGEST).own("box").expect("nobody else has it")
}

/// One of them hears what the input says, in a domain with nothing else in it.
pub fn play(domain: &Domain, which: usize, input: &[u8]) {
    match which % HEARERS {
        0 => sealed_owner(domain, input),
        1 => sender(domain, Strategy::Kernel, 4, input),
        2 => sender(domain, Strategy::Kernel, 0, input),
        3 => sender(domain, Strategy::Sealed, 4, input),
        4 => links(domain, input),
        5 => first_words(Strategy::Shared, input),
        6 => first_words(Strategy::Kernel, input),
        _ => bond(input),
    }
}

fn sealed_owner(domain: &Domain, input: &[u8]) {
    let inbox = own(domain, Strategy::Sealed, 8);
    let out = Sender::<[u8]>::options().domain(domain).open("box").expect("it exists");
    let post = post(domain, "box");
    let mut lines: [Option<OwnedFd>; 4] = [const { None }; 4];
    for said in steps(input) {
        let line = &mut lines[usize::from(said.what & 3)];
        if said.what >> 2 & 7 == 0 {
            *line = None;
            continue;
        }
        if line.is_none() {
            *line = reach(&post);
            // As it has to be, with what the input says in its area.
            if let (Some(line), Some(area)) = (line.as_ref(), area(2, &said.filling))
                && said.high & 1 == 0
            {
                let hello = [u64::from(said.high >> 7) << 32 | 1, u64::MAX - 1, 1];
                let hello: Vec<u8> = hello.iter().flat_map(|word| word.to_ne_bytes()).collect();
                say(line, &hello, &[area.as_fd()]);
            }
        }
        line.iter().for_each(|line| said.send_by(line));
        timely("a send", || out.send_timeout(b"honest", SLACK)).expect("its places are its own");
        while timely("a receive", || inbox.recv_timeout(SLACK)).expect("it was sent") != b"honest" {}
        while timely("a try", || inbox.try_recv()).is_ok_and(|message| message.len() as u64 <= LONGEST) {}
    }
}

/// The owner says what the input says, by each connection.
fn sender(domain: &Domain, strategy: Strategy, n: u64, input: &[u8]) {
    let inbox = own(domain, strategy, n);
    let post = post(domain, "box");
    fs::remove_file(&post).expect("ours");
    let owner = socket().expect("descriptors are left");
    bind(&owner, &SocketAddrUnix::new(&post).expect("short")).expect("ours");
    listen(&owner, 64).expect("it is bound");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let owning = scope.spawn(|| {
            let mut lines = Vec::new();
            let mut next = steps(input);
            while !over.load(SeqCst) {
                while let Ok(line) = accept_with(&owner, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                    lines.push(line);
                }
                match next.next() {
                    Some(said) if said.what >> 2 & 7 == 0 => lines.truncate(usize::from(said.low & 3)),
                    Some(said) => lines.iter().for_each(|line| said.send_by(line)),
                    None => next = steps(input),
                }
                lines.iter().for_each(|line| while hear(line).is_some() {});
                std::thread::yield_now();
            }
        });
        if let Ok(out) = Sender::<[u8]>::options().domain(domain).open("box") {
            for _ in 0..3 {
                let _ = timely("a try", || out.try_send(b"one"));
                let _ = timely("a send", || out.send_timeout(&[7; LONGEST as usize], SHORT));
                let _ = timely("an awaited one", || out.send_collected_timeout(b"two", SHORT));
                let _ = out.is_closed();
            }
            let _ = out.doorbell().map(|bell| bell.clear());
        }
        over.store(true, SeqCst);
        owning.join().expect("no panic");
    });
    drop(inbox);
    let _ = fs::remove_file(&post);
}

fn links(domain: &Domain, input: &[u8]) {
    let join = |name: &str| Process::options().domain(domain).join(name).expect("a free name");
    let (alice, bob) = (join("alice"), join("bob"));
    let options = Link::<[u8]>::options().strategy(Strategy::Kernel).bounded(8).max_message(LONGEST);
    let there = options.open(&alice, "bob").expect("bob is there");
    let here = bob.link::<[u8]>("alice").expect("it is there");
    let word = |digits: &str| u64::from_str_radix(digits, 16).expect("hexadecimal digits");
    let life = word(&domain.stat("alice").expect("it is there").id.to_string()[..12]);
    let id = word(&there.sender().id().to_string()[..16]);
    let post = post(domain, "bob");
    let mut lines: [Option<OwnedFd>; 4] = [const { None }; 4];
    for (number, said) in steps(input).enumerate() {
        let line = &mut lines[usize::from(said.what & 3)];
        if said.what >> 2 & 7 == 0 {
            *line = None;
            continue;
        }
        if line.is_none() {
            *line = reach(&post);
            // The truth, or nearly.
            let hello = [7 | 5 << 32, life ^ u64::from(said.high & 1), id ^ u64::from(said.high >> 1 & 1)];
            let hello: Vec<u8> = hello.iter().flat_map(|word| word.to_ne_bytes()).collect();
            line.iter().for_each(|line| say(line, &[&hello[..], b"alice"].concat(), &[]));
        }
        line.iter().for_each(|line| said.send_by(line));
        // Who says that it is alice, from her process, is: it may spoil the order of her messages.
        let mark = [&b"honest"[..], &number.to_ne_bytes()].concat();
        if timely("a send", || there.send_timeout(&mark, SLACK)).is_ok() {
            while timely("a receive", || here.recv_timeout(SLACK)).expect("it was sent") != mark {}
        }
        let _ = timely("a try", || here.try_recv());
        timely("the other way", || here.send_timeout(b"back", SLACK)).expect("it is another way");
        assert_eq!(timely("the other way", || there.recv_timeout(SLACK)).expect("it was sent"), b"back");
    }
}

fn options(strategy: Strategy) -> LinkOptions<[u8]> {
    Link::options().strategy(strategy).bounded(4).max_message(LONGEST).spin(Duration::ZERO)
}

/// What the other end of a pair is sent first, changed as the input says.
fn first_words(strategy: Strategy, input: &[u8]) {
    let (maker, other) = options(strategy).pair().expect("there is memory");
    let other: OwnedFd = other.into();
    let (mut words, mut with) = hear(&other).expect("it was sent when the pair was made");
    for said in steps(input).take(8) {
        let at = usize::from(said.low) % with.len().max(1);
        match said.what & 7 {
            0 => drop((at < with.len()).then(|| with.remove(at))),
            1 => with.rotate_left(at),
            2 if with.len() > 1 => {
                let other = usize::from(said.high) % with.len();
                with.swap(at, other);
            }
            3 => with.splice(at..at, said.descriptors()).for_each(drop),
            4 if at < with.len() => {
                with.splice(at..=at, said.descriptors()).for_each(drop);
            }
            5 => {
                let at = usize::from(said.high) % words.len().max(1);
                words.splice(at..(at + said.filling.len()).min(words.len()), said.filling).for_each(drop);
                words.truncate(64);
            }
            6 if at < with.len() => {
                // What its maker has in common with it.
                let _ = rustix::io::pwrite(&with[at], &said.filling, u64::from(said.high) * 8);
            }
            _ => {}
        }
        with.truncate(16);
    }
    let (ours, theirs) = connection().expect("descriptors are left");
    say(&ours, &words, &with.iter().map(AsFd::as_fd).collect::<Vec<_>>());
    if let Ok(link) = timely("taking an end", || options(strategy).from_descriptor(theirs)) {
        use_up(&link);
    }
    use_up(&maker);
}

/// Whatever becomes of it.
fn use_up(link: &Link<[u8]>) {
    let _ = timely("a try", || link.try_send(b"one"));
    let _ = timely("a send", || link.send_timeout(&[7; LONGEST as usize], SHORT));
    let _ = timely("an awaited one", || link.sender().send_collected_timeout(b"two", SHORT));
    let _ = timely("a receive", || link.try_recv());
    let _ = timely("a receive", || link.recv_timeout(SHORT));
    let _ = link.receiver().doorbell().map(|bell| bell.clear());
    let _ = link.sender().doorbell().map(|bell| bell.clear());
}

/// The other end of a pair says what the input says, by whatever connections it has.
fn bond(input: &[u8]) {
    let (maker, other) = options(Strategy::Kernel).pair().expect("there is memory");
    let other: OwnedFd = other.into();
    let (_, mut with) = hear(&other).expect("it was sent when the pair was made");
    with.push(other);
    for said in steps(input).take(24) {
        let at = usize::from(said.what & 7) % with.len();
        let fd = &with[at];
        match said.what >> 3 & 3 {
            0 => said.send_by(fd),
            1 => {
                let kind = u64::from(said.high % 5);
                let about = u64::from(said.low & 3) << 16 | u64::from(said.low >> 2 & 3);
                let words = [u64::from_le_bytes(*b"tubepair"), kind, about];
                let words: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
                let more = said.descriptors();
                say(fd, &words, &more.iter().map(AsFd::as_fd).collect::<Vec<_>>());
            }
            // Its pipes, and the memory that it has in common with its maker.
            2 if rustix::net::sockopt::socket_type(fd).is_err() => {
                let _ = rustix::io::write(fd, &said.filling[..said.filling.len().min(64)]);
            }
            _ => use_up(&maker),
        }
    }
    use_up(&maker);
    drop(with);
    use_up(&maker);
}
