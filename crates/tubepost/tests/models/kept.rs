//! The credit of a pair that the kernel copies (`domain::purse`): the sender takes tokens from the pipe and can't put any back; what it
//! could not use it keeps, in a counter that wakes its other threads.
//!
//! ```text
//! a sender's thread                            receiver
//!   number > 0? then count down; number -= 1     take a message
//!   else take from the pipe                      put a token in
//!   neither: sleep until pipe or counter has any
//!   send; or that fails: number += 1, count up
//! ```
//!
//! # Invariants
//! 1. No more than n messages, tokens and counts together, ever: exactly n are accepted.
//! 2. The number is never less than what the counter has (it would wrap).
//! 3. When all is over there are n of them: none was lost. And all is over at some time: nobody sleeps while there is one.

use crate::explorer::{Model, Steps, breaks, holds};

const THREADS: usize = 3;
const RECEIVER: usize = THREADS;
/// Messages of each thread.
const EACH: u8 = 2;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// It is counted up before the number says so.
    CountedFirst,
    /// Who sleeps is told of the pipe only.
    Silent,
    /// It is dropped.
    Dropped,
    /// Kept, and the receiver puts one in for what it misses.
    Replaced,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    Look,
    /// The number said that there is one.
    CountDown,
    NumberDown,
    TakeFromPipe,
    Asleep,
    /// It has a token.
    Send,
    /// One of two steps of keeping it was made.
    Keeping,
    Done,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    at: [At; THREADS],
    dealt_with: [u8; THREADS],
    pipe: u8,
    counter: u8,
    number: i8,
    under_way: u8,
    /// Sends that may still fail.
    failures: u8,
}

struct Kept {
    planted: Planted,
    n: u8,
}

impl Model for Kept {
    type State = State;

    fn initial(&self) -> State {
        State {
            at: [At::Look; THREADS],
            dealt_with: [0; THREADS],
            pipe: self.n,
            counter: 0,
            number: 0,
            under_way: 0,
            failures: 3,
        }
    }

    fn processes(&self) -> usize {
        THREADS + 1
    }

    fn name(&self, p: usize) -> String {
        if p == RECEIVER { "receiver".into() } else { format!("thread {p}") }
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let mut t = s.clone();
        if p == RECEIVER {
            if s.under_way > 0 {
                t.under_way -= 1;
                t.pipe += 1;
                out.add(|| "receives, puts a token in".into(), t);
            } else if self.planted == Planted::Replaced && s.pipe < self.n {
                t.pipe = self.n;
                out.add(|| "puts in what it misses".into(), t);
            }
            return;
        }
        let first_of_keeping = |t: &mut State| match self.planted {
            Planted::CountedFirst => t.counter += 1,
            Planted::Dropped => {}
            _ => t.number += 1,
        };
        let label = match s.at[p] {
            At::Look => {
                t.at[p] = if s.number > 0 { At::CountDown } else { At::TakeFromPipe };
                "looks at the number"
            }
            At::CountDown if s.counter > 0 => {
                t.counter -= 1;
                t.at[p] = At::NumberDown;
                "counts down"
            }
            At::CountDown => {
                t.at[p] = At::TakeFromPipe;
                "finds nothing to count down"
            }
            At::NumberDown => {
                t.number -= 1;
                t.at[p] = At::Send;
                "has what was kept"
            }
            At::TakeFromPipe if s.pipe > 0 => {
                t.pipe -= 1;
                t.at[p] = At::Send;
                "takes a token"
            }
            // With the counter known, it is asked before sleeping, by the very call that sleeps.
            At::TakeFromPipe => {
                t.at[p] = At::Asleep;
                "finds none"
            }
            At::Asleep if s.pipe > 0 || s.counter > 0 && self.planted != Planted::Silent => {
                t.at[p] = At::Look;
                "wakes"
            }
            At::Asleep | At::Done => return,
            At::Send => {
                if s.failures > 0 {
                    let mut failed = t.clone();
                    failed.failures -= 1;
                    first_of_keeping(&mut failed);
                    failed.at[p] = At::Keeping;
                    out.add(|| "can't send".into(), failed);
                }
                t.under_way += 1;
                t.dealt_with[p] += 1;
                t.at[p] = if t.dealt_with[p] < EACH { At::Look } else { At::Done };
                "sends"
            }
            At::Keeping => {
                match self.planted {
                    Planted::CountedFirst => t.number += 1,
                    Planted::Dropped => {}
                    _ => t.counter += 1,
                }
                // Its caller is told, and goes on to the next message.
                t.dealt_with[p] += 1;
                t.at[p] = if t.dealt_with[p] < EACH { At::Look } else { At::Done };
                "keeps its token"
            }
        };
        out.add(|| label.into(), t);
    }

    fn check(&self, s: &State) -> Result<(), String> {
        let all = s.pipe + s.counter + s.under_way;
        if all > self.n {
            return Err(format!("{all} of {}", self.n));
        }
        if s.number < 0 {
            return Err("the number wraps".into());
        }
        let over = self.done(s);
        if over && all != self.n { Err(format!("{all} are left of {}", self.n)) } else { Ok(()) }
    }

    fn done(&self, s: &State) -> bool {
        s.at.iter().all(|at| *at == At::Done) && s.under_way == 0
    }
}

#[test]
fn exactly_n_whatever_fails() {
    for n in 1..=3 {
        holds(&format!("kept, n = {n}"), &Kept { planted: Planted::Nothing, n });
    }
}

#[test]
fn planted_errors_are_found() {
    let planted = |planted, n| Kept { planted, n };
    breaks("counted first", &planted(Planted::CountedFirst, 2), "wraps");
    breaks("silent", &planted(Planted::Silent, 1), "");
    breaks("dropped", &planted(Planted::Dropped, 2), "");
    breaks("replaced", &planted(Planted::Replaced, 1), "of 1");
}
