//! The survivor at one end of a pair, of which the process that is killed has the other, or is just getting it.
//!
//! What that one sent comes, whole, once, in order; then, and not before, the pair is over; what was sent there counts as never
//! collected but for what it received, also if it never took its end. A stopped one is not a dead one. When an end was dropped,
//! nothing of it is left: no memory, no connection, no pipe.
//!
//! The end goes from one process to the other by a socket of an abstract name, of which nothing is left either.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tubepost::{Domain, Link, LinkOptions, SendTimeoutError, Strategy, TryRecvError};

use crate::held;
use crate::judge::{self, timely};
use crate::ledger::Outcome;
use crate::letters::{self, JUDGE, Number};
use crate::linked::over;
use crate::subject::Case;
use crate::world::{Effects, Made, Paired, World};

/// What waits in vain waits so long.
const SHORT: Duration = Duration::from_millis(5);

/// What the pair is to be.
pub fn options(world: &World) -> LinkOptions<[u8]> {
    let kernel = world.paired.is_some_and(|paired| paired.kernel);
    let strategy = if kernel { Strategy::Kernel } else { Strategy::Shared };
    let options = Link::options().strategy(strategy).bounded(world.capacity);
    options.max_message(world.longest).spin(Duration::ZERO)
}

fn address(domain: &Path) -> SocketAddr {
    SocketAddr::from_abstract_name(domain.as_os_str().as_encoded_bytes()).expect("it is short")
}

/// Sends an end to the survivor.
pub fn hand_over(domain: &Path, end: OwnedFd) {
    let socket = UnixStream::connect_addr(&address(domain)).expect("the survivor listens");
    send_by(&socket, &end);
}

/// Receives one from it.
pub fn handed(domain: &Path) -> OwnedFd {
    receive_by(&UnixStream::connect_addr(&address(domain)).expect("the survivor listens"))
}

fn send_by(socket: &UnixStream, end: &OwnedFd) {
    let descriptors = [end.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut with = SendAncillaryBuffer::new(&mut space);
    assert!(with.push(SendAncillaryMessage::ScmRights(&descriptors)), "there is room for one");
    sendmsg(socket, &[IoSlice::new(b"x")], &mut with, SendFlags::empty()).expect("the other one waits");
}

fn receive_by(socket: &UnixStream) -> OwnedFd {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut with = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut with, RecvFlags::CMSG_CLOEXEC)
        .expect("it is sent");
    let ends = with.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(ends) => Some(ends),
        _ => None,
    });
    ends.flatten().next().expect("an end came")
}

/// A survivor and what it knows.
struct Survivor {
    world: World,
    paired: Paired,
    effects: Effects,
    way: u32,
    listener: Option<UnixListener>,
    link: Option<Link<[u8]>>,
    /// So many the survivor sent, and what came of the walker's.
    sent: u32,
    got: Vec<Number>,
}

/// Plays the survivor's part.
pub fn play(domain: &str, case: Case, way: u32) {
    let Case { world, effects, .. } = case;
    let paired = world.paired.expect("it is about pairs");
    Domain::open(domain).expect("the tracer's domain");
    let listener = UnixListener::bind_addr(&address(Path::new(domain))).expect("nobody else has the name");
    let (listener, link, sent, got) = (Some(listener), None, 0, Vec::new());
    let mut survivor = Survivor { world, paired, effects, way, listener, link, sent, got };
    judge::listen(|line| survivor.hear(line));
}

impl Survivor {
    fn hear(&mut self, line: &str) {
        match line {
            "prepare" => self.prepare(),
            "fill" => self.fill(),
            "during" => self.meanwhile(),
            other => match Outcome::parse(other).as_deref() {
                Some([outcome]) => self.after(outcome),
                _ => panic!("what is {other}?"),
            },
        }
    }

    /// Makes the pair, and hands an end to the first one who comes.
    fn prepare(&mut self) {
        if matches!(self.paired.made, Made::Handed | Made::Taken) {
            let (link, other) = options(&self.world).pair().expect("there is memory");
            let listener = self.listener.take().expect("it listens");
            self.link = Some(link);
            std::thread::spawn(move || {
                let (socket, _) = listener.accept().expect("somebody comes");
                send_by(&socket, &other.into());
            });
        }
    }

    /// The walker has its end, or made both.
    fn fill(&mut self) {
        if let Some(listener) = self.listener.take()
            && self.paired.made == Made::ByWalker
        {
            let (socket, _) = listener.accept().expect("it came");
            let link = options(&self.world).from_descriptor(receive_by(&socket));
            self.link = Some(link.expect("nobody took it"));
        }
        let Some(link) = self.link.clone() else { return };
        for _ in 0..self.world.waiting {
            assert!(self.send_by(&link), "there is a place for each that is to wait");
        }
    }

    /// Sends the next message; `false`: it was not accepted.
    fn send_by(&mut self, link: &Link<[u8]>) -> bool {
        let letter = letters::write((JUDGE, self.sent), self.world.length);
        match timely(SHORT, || link.send_timeout(&letter, SHORT)) {
            Ok(()) => {
                self.sent += 1;
                true
            }
            Err(SendTimeoutError::Timeout(_) | SendTimeoutError::Closed(..)) => false,
            Err(error) => panic!("a send was refused: {error}"),
        }
    }

    fn receive(&mut self, message: &[u8]) {
        self.got.push(letters::read(message).unwrap_or_else(|why| panic!("{why}")));
    }

    /// The walker stands still, and nobody takes it for dead.
    fn meanwhile(&mut self) {
        if self.link.is_none() {
            return;
        }
        let link = self.link.clone().expect("it has one");
        let sent = self.send_by(&link);
        drop(link);
        assert!(sent || self.effects.ends, "there is a place, and whoever receives lives");
        loop {
            match self.link.as_ref().expect("it has one").try_recv() {
                Ok(message) => self.receive(&message),
                Err(TryRecvError::Empty) => break,
                Err(error) => {
                    assert!(self.effects.ends && error.is_closed(), "it lives, and a receive says {error}");
                    break;
                }
            }
        }
    }

    fn after(&mut self, outcome: &Outcome) {
        if let Some(link) = self.link.take() {
            if self.way == 1 {
                // As long as there is room a dead one may be sent something, once in a while; it counts.
                while self.send_by(&link) {}
                over::sends_in_vain(&link, self.sent, self.world.length, self.effects, outcome);
            }
            while let Some(message) = over::next(&link) {
                self.receive(&message);
            }
            over::all_came(&self.got, self.effects, outcome);
            over::sends_in_vain(&link, self.sent, self.world.length, self.effects, outcome);
        }
        self.listener = None;
        held::no_end(std::process::id(), std::os::unix::process::parent_id())
            .unwrap_or_else(|why| panic!("{why}"));
    }
}
