//! Lines of standard input on their way into a link, and how many of them did not get there.
//!
//! One thread sends them. Whoever ends the command asks what became of the last ones: a line that this thread has in
//! hand, or that is there to be read, is settled soon, for nothing can be sent any more; for one that nobody has written
//! yet nobody waits.

use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tubepost::Link;

use crate::exit::complain;
use crate::output::{self, Patient};
use crate::show::plural;

/// Of what is there to be read when nothing can be sent any more, so much is counted.
const COUNTED: usize = 1 << 20;
/// Read at a time.
const PIECE: usize = 1 << 16;
/// So long a line in hand is waited for at the end, and so often the input is looked at.
const SETTLING: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(10);

/// What the thread that sends does just now.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum At {
    #[default]
    Work,
    /// It waits for something to read.
    Input,
    End,
}

#[derive(Default)]
struct State {
    at: At,
    unsent: u64,
    /// There is more of it.
    at_least: bool,
}

/// See the module's text.
#[derive(Default)]
pub struct Lines {
    state: Mutex<State>,
    changed: Condvar,
}

impl Lines {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is(&self, at: At) {
        self.state().at = at;
        self.changed.notify_all();
    }

    /// Sends all. `false`: nothing could be sent any more before the input's end.
    pub fn send_to(&self, link: &Link<[u8]>) -> bool {
        if let Err(failure) = self.send_each(link) {
            complain(failure);
        }
        self.is(At::End);
        self.state().unsent == 0
    }

    fn send_each(&self, link: &Link<[u8]>) -> Result<(), String> {
        let mut input = output::input().map_err(|_| "no standard input".to_string())?.into_inner();
        let mut text = Vec::new();
        loop {
            let is_over = self.read_more(&mut input, &mut text)?;
            let whole = match text.iter().rposition(|&byte| byte == b'\n') {
                _ if is_over => text.len(),
                Some(newline) => newline + 1,
                None => continue,
            };
            let mut sent = 0;
            for line in text[..whole].split_inclusive(|&byte| byte == b'\n') {
                match link.send(line.strip_suffix(b"\n").unwrap_or(line)) {
                    Err(error) if error.is_closed() => {
                        return self.count(&mut input, text.split_off(sent), is_over);
                    }
                    Err(error) => complain(format_args!("a line was not sent: {error}")),
                    Ok(()) => {}
                }
                sent += line.len();
            }
            if is_over {
                return Ok(());
            }
            text.drain(..whole);
        }
    }

    /// Waits for something to read. `true`: there is no more.
    fn read_more(&self, input: &mut Patient, text: &mut Vec<u8>) -> Result<bool, String> {
        self.is(At::Input);
        let _ = poll(&mut [PollFd::new(&std::io::stdin().as_fd(), PollFlags::IN)], None); // else the read waits
        self.is(At::Work);
        read_piece(input, text)
    }

    /// Nothing can be sent any more: what of the input is there counts as not sent.
    fn count(&self, input: &mut Patient, mut text: Vec<u8>, mut is_over: bool) -> Result<(), String> {
        let enough = text.len() + COUNTED;
        while !is_over && text.len() < enough && is_readable() {
            is_over = read_piece(input, &mut text)?;
        }
        let newlines = text.iter().filter(|&&byte| byte == b'\n').count() as u64;
        let rest = u64::from(text.last().is_some_and(|&byte| byte != b'\n'));
        let mut state = self.state();
        (state.unsent, state.at_least) = (newlines + rest, !is_over);
        Ok(())
    }

    /// What was not sent, in words. For who has seen that nothing can be sent any more.
    pub fn unsent(&self) -> Option<String> {
        let mut state = self.state();
        let begin = Instant::now();
        let works = |state: &State| state.at == At::Work || state.at == At::Input && is_readable();
        // Another process may read from there as well: then nobody knows.
        while works(&state) && begin.elapsed() < SETTLING {
            let waited = self.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let least = if state.at_least { "at least " } else { "" };
        let were = if state.unsent == 1 { "was" } else { "were" };
        let lines = plural(state.unsent, "line");
        (state.unsent > 0).then(|| format!("{least}{lines} of standard input {were} not sent"))
    }
}

/// Reads what is there. `true`: there is no more.
fn read_piece(input: &mut Patient, text: &mut Vec<u8>) -> Result<bool, String> {
    let before = text.len();
    text.resize(before + PIECE, 0);
    let read = loop {
        match input.read(&mut text[before..]) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            done => break done,
        }
    };
    text.truncate(before + *read.as_ref().unwrap_or(&0));
    read.map(|length| length == 0).map_err(|e| format!("standard input: {e}"))
}

fn is_readable() -> bool {
    let stdin = std::io::stdin();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut [PollFd::new(&stdin.as_fd(), PollFlags::IN)], Some(&now)), Ok(1))
}
