//! Arbitrary packets, by several connections, to a mailbox of the kernel strategy; and a sender that keeps the
//! protocol, of which nothing may be lost, changed or kept waiting. For a test, and for `cargo fuzz`, whose target
//! includes this file.
//!
//! ```text
//! per step   a byte says which of four connections, and what: a packet as it should be but for some bytes, or arbitrary ones, or hanging up
//!            two bytes say how long it is, then as many as are left, or the same byte again and again
//! ```

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with,
};
use tubepost::{Domain, Mailbox, Receiver, Sender, Strategy};

const LONGEST: usize = 40_000;
/// What a machine may stand still.
const SLACK: Duration = Duration::from_secs(10);

pub struct Stage {
    inbox: Receiver<[u8]>,
    out: Sender<[u8]>,
    post: PathBuf,
}

impl Stage {
    /// In a domain with nothing else in it.
    pub fn new(domain: &Domain, n: u64) -> Stage {
        let options = Mailbox::<[u8]>::options().domain(domain).strategy(Strategy::Kernel);
        let inbox = options.bounded(n).max_message(LONGEST as u64).own("box").expect("fresh");
        let out = Sender::<[u8]>::options().domain(domain).open("box").expect("it exists");
        let mut files = fs::read_dir(domain.path()).expect("ours").map(|file| file.expect("ours").path());
        let post = files.find(|file| file.to_string_lossy().ends_with("~post")).expect("it listens");
        Stage { inbox, out, post }
    }

    /// The sender that keeps the protocol sends, and the message comes, after whatever else there is.
    fn send_honestly(&self, number: u64) {
        let mark = [&b"honest"[..], &number.to_ne_bytes()].concat();
        let receive = || loop {
            let message = self.inbox.recv_timeout(SLACK).expect("it was sent");
            assert!(message.len() <= LONGEST);
            if message == mark {
                return;
            }
        };
        if self.inbox.capacity() == Some(0) {
            std::thread::scope(|scope| {
                let sending = scope.spawn(|| self.out.send_timeout(&mark, SLACK).expect("somebody receives"));
                receive();
                sending.join().expect("no panic"); // all of it: a scope does not wait for a thread's own data
            });
        } else {
            self.out.send_timeout(&mark, SLACK).expect("nobody took the places");
            receive();
        }
    }

    pub fn play(&self, input: &[u8]) {
        let mut lines: [Option<OwnedFd>; 4] = [None, None, None, None];
        let mut left = input;
        let mut honest = 0_u64;
        while let [what, low, high, rest @ ..] = left {
            left = rest;
            let line = &mut lines[usize::from(what & 3)];
            let length = usize::from(u16::from_le_bytes([*low, *high]));
            let filling: Vec<u8> = rest.iter().copied().chain(std::iter::repeat(*low)).take(length).collect();
            let packet = match what >> 2 & 7 {
                0 => {
                    *line = None;
                    continue;
                }
                1 => filling,
                kind => {
                    let mut packet = head(u32::from(kind) - 1, length, u64::from(*high));
                    packet.extend(&filling);
                    packet
                }
            };
            if line.is_none() {
                *line = reach(&self.post);
                if let Some(line) = line
                    && what & 32 == 0
                {
                    let hello = [head(1, 2, 0), b"me".to_vec()].concat();
                    let _ = send(&*line, &hello, SendFlags::NOSIGNAL);
                }
            }
            if let Some(line) = line {
                let _ = send(&*line, &packet, SendFlags::NOSIGNAL);
            }
            if what & 64 != 0 {
                self.send_honestly(honest);
                honest += 1;
            }
        }
        drop(lines);
        while self.inbox.try_recv().is_ok() {}
    }
}

fn reach(post: &Path) -> Option<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).ok()?;
    connect(&socket, &SocketAddrUnix::new(post).expect("short")).ok()?;
    Some(socket)
}

fn head(kind: u32, length: usize, token: u64) -> Vec<u8> {
    [&kind.to_ne_bytes()[..], &(length as u32).to_ne_bytes(), &token.to_ne_bytes(), &[0; 8]].concat()
}
