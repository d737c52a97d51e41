//! How it goes, for who watches a long run in a terminal: one line on standard error, written over and over.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How often it is told.
pub const EVERY: Duration = Duration::from_millis(500);
/// A run that is shorter needs no words.
const LONG: Duration = Duration::from_secs(2);

pub struct Progress {
    /// Nothing where nobody watches.
    begin: Option<Instant>,
    last: Instant,
    shown: bool,
}

impl Progress {
    pub fn new() -> Progress {
        let begin = std::io::stderr().is_terminal().then(Instant::now);
        Progress { begin, last: Instant::now(), shown: false }
    }

    /// So many commands did well and so many did not; `waiting` says how many messages are left.
    pub fn tell(&mut self, done: u64, back: u64, waiting: impl FnOnce() -> u64) {
        let Some(begin) = self.begin else { return };
        if begin.elapsed() < LONG || self.last.elapsed() < EVERY {
            return;
        }
        self.last = Instant::now();
        self.shown = true;
        let rate = done as f64 / begin.elapsed().as_secs_f64();
        let failed = if back > 0 { format!(", {back} went back") } else { String::new() };
        eprint!("\r\x1b[K{done} done, {rate:.1}/s{failed}, {} waiting", waiting());
    }

    /// Takes the line away.
    pub fn clear(&self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}
