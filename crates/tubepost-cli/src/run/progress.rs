//! How it goes, for who watches a long run in a terminal: one line on standard error, written over and over. What else
//! is to be said there comes in a line of its own.

use std::fmt::Display;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use crate::exit::complain;

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

/// What became of the messages so far.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    /// Their commands did well.
    pub done: u64,
    /// They did not, and the messages went back, …
    pub back: u64,
    /// … or are not tried again: dead letters, or discarded.
    pub given_up: u64,
}

impl Progress {
    pub fn new() -> Progress {
        let begin = std::io::stderr().is_terminal().then(Instant::now);
        Progress { begin, last: Instant::now(), shown: false }
    }

    /// `waiting` says how many messages are left.
    pub fn tell(&mut self, tally: Tally, waiting: impl FnOnce() -> u64) {
        let Some(begin) = self.begin else { return };
        if begin.elapsed() < LONG || self.last.elapsed() < EVERY {
            return;
        }
        self.last = Instant::now();
        self.shown = true;
        let Tally { done, back, given_up } = tally;
        let rate = done as f64 / begin.elapsed().as_secs_f64();
        let some =
            |number: u64, what: &str| if number > 0 { format!(", {number} {what}") } else { String::new() };
        let (back, given_up) = (some(back, "went back"), some(given_up, "given up"));
        eprint!("\r\x1b[K{done} done, {rate:.1}/s{back}{given_up}, {} waiting", waiting());
    }

    /// Says something else.
    pub fn say(&mut self, text: impl Display) {
        self.clear();
        complain(text);
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            eprint!("\r\x1b[K");
        }
    }
}
