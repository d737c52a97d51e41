#![no_main]
//! Arbitrary packets, by several connections, to a mailbox of the kernel strategy; and a sender that keeps the protocol, of which nothing
//! may be lost, changed or kept waiting.
//!
//! ```text
//! per step   a byte says which of four connections, and what: a packet as it should be but for some bytes, or arbitrary ones, or hanging up
//!            two bytes say how long it is, then as many as are left, or the same byte again and again
//! ```

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with,
};
use tubepost::{Domain, Mailbox, Receiver, Sender, Strategy};

const LONGEST: usize = 40_000;
/// What a machine may stand still.
const SLACK: Duration = Duration::from_secs(2);

struct Stage {
    inbox: Receiver<[u8]>,
    out: Sender<[u8]>,
    post: std::path::PathBuf,
}

fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let path = format!("/dev/shm/tubepost-fuzz-packets-{}", std::process::id());
        let domain = Domain::open(&path).expect("fresh");
        let options = Mailbox::<[u8]>::options().domain(&domain).strategy(Strategy::Kernel);
        let inbox = options.bounded(16).max_message(LONGEST as u64).own("box").expect("fresh");
        let out = Sender::<[u8]>::options().domain(&domain).open("box").expect("it exists");
        let files = fs::read_dir(&path).expect("ours").map(|file| file.expect("ours").path());
        let post = files.filter(|file| file.to_string_lossy().ends_with("~post")).next().expect("it listens");
        Stage { inbox, out, post }
    })
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

fuzz_target!(|input: &[u8]| {
    let stage = stage();
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
            *line = reach(&stage.post);
            if let Some(line) = line
                && what & 32 == 0
            {
                let _ = send(&*line, &[head(1, 2, 0), b"me".to_vec()].concat(), SendFlags::NOSIGNAL);
            }
        }
        if let Some(line) = line {
            let _ = send(&*line, &packet, SendFlags::NOSIGNAL);
        }
        if what & 64 != 0 {
            let mark = [&b"honest"[..], &honest.to_ne_bytes()].concat();
            stage.out.send_timeout(&mark, SLACK).expect("nobody took the places");
            honest += 1;
            loop {
                let message = stage.inbox.recv_timeout(SLACK).expect("it was sent");
                assert!(message.len() <= LONGEST);
                if message == mark {
                    break;
                }
            }
        }
    }
    drop(lines);
    while stage.inbox.recv_timeout(Duration::from_millis(1)).is_ok() {}
});
