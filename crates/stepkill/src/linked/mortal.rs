//! A process that joins, sends, and is killed: before the operation, so that there is somebody dead.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use tubepost::{Domain, Process};

use crate::letters::{self, Number};
use crate::scene;
use crate::trace::die_with_parent;

/// What its messages are told by.
const TAG: u8 = 9;
/// How many it sends, and of which length.
pub const SENDS: u32 = 2;
const LENGTH: usize = 24;

/// It lives until this is dropped.
pub struct Mortal {
    child: Child,
    from: BufReader<ChildStdout>,
}

impl Mortal {
    /// One of this name, that has joined.
    pub fn start(domain: &Domain, name: &str, peer: &str) -> Mortal {
        let domain = domain.path().to_str().expect("a plain name");
        let mut command = scene::again(&["mortal", domain, name, peer]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started again");
        let from = BufReader::new(child.stdout.take().expect("piped"));
        let mut mortal = Mortal { child, from };
        mortal.hears("joined");
        mortal
    }

    /// Has it send, and waits for that.
    pub fn send(&mut self) {
        let mut to = self.child.stdin.take().expect("piped");
        writeln!(to, "send").expect("it listens");
        self.hears("sent");
        self.child.stdin = Some(to); // it would go at its end
    }

    fn hears(&mut self, expected: &str) {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("it is a pipe");
        assert!(line.trim_end() == expected, "the mortal said “{line}” and not {expected}");
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Plays its part.
pub fn play(domain: &str, name: &str, peer: &str) {
    die_with_parent();
    let domain = Domain::open(domain).expect("the tracer's domain");
    let me = Process::options().domain(&domain).spin(Duration::ZERO).join(name).expect("a free name");
    println!("joined");
    let mut lines = std::io::stdin().lock().lines().map_while(Result::ok);
    if lines.next().is_some() {
        let link = me.link::<[u8]>(peer).expect("it is there");
        (0..SENDS).for_each(|number| link.send(&letters::write((TAG, number), LENGTH)).expect("a place"));
        println!("sent");
        let _ = lines.next();
    }
}

/// All that it sent came, and in order.
pub fn sent_all(got: &[Number]) {
    let all: Vec<Number> = (0..SENDS).map(|number| (TAG, number)).collect();
    assert!(got == all, "of a dead one's messages came {got:?}, it had sent {all:?}");
}
