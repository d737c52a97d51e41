//! A lock biased towards the one thread that nearly always takes it, in a process: entering costs
//! that thread two plain stores and a load; whoever else comes pays for both.
//!
//! ```text
//! bias thread                            any other thread
//!   busy = 1            plain store        lock the mutex
//!   revoked?            load               unless revoked already: revoked = 1; membarrier; wait until busy == 0
//!     no:  enter, leave by busy = 0        enter, leave by unlocking
//!     yes: busy = 0, lock the mutex
//! ```
//!
//! The bias is revoked once and for good; `revoked` is only written under the mutex.
//!
//! # Invariants
//! 1. A bias thread that read `revoked == 0` did so before the membarrier, so its `busy = 1`, an
//!    older store, is in memory after it: the other thread sees it and waits.
//! 2. Stores reach memory in order, so when `busy == 0` is seen, so is everything written inside.
//! 3. Whoever finds `revoked` set, under the mutex, knows that the one who set it has waited.
//!
//! # What if it dies here?
//! Nothing to recover: both sides are threads of one process and go together, and the words are
//! private to it. A stopped bias thread inside holds the others up, as with any lock.

use crate::explorer::{Model, Steps, breaks, holds};
use crate::memory::Memory;

const BUSY: usize = 0;
const REVOKED: usize = 1;
/// 0 = unlocked
const MUTEX: usize = 2;
/// Counted up inside by a load and a store, each plain.
const COUNTER: usize = 3;

/// Thread 0 is the one with the bias.
const THREADS: usize = 3;
const BIAS: usize = 0;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    NoMembarrier,
    MembarrierBeforeRevoked,
    NoWaitForBusy,
}

struct Sole {
    rounds: [u8; THREADS],
    planted: Planted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    SetBusy,
    LookAtRevoked,
    ClearBusy,
    Lock,
    AskRevoked,
    SetRevoked,
    Membarrier,
    AwaitNotBusy,
    /// Inside, having read nothing yet.
    Inside,
    /// Inside, having read the counter.
    Counted(u8),
    Leave,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Thread {
    at: At,
    holds_mutex: bool,
    rounds: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    memory: Memory<4, THREADS>,
    threads: [Thread; THREADS],
}

impl Thread {
    fn is_inside(&self) -> bool {
        matches!(self.at, At::Inside | At::Counted(_) | At::Leave)
    }
}

fn start(p: usize, rounds: u8) -> At {
    match (rounds, p) {
        (0, _) => At::Done,
        (_, BIAS) => At::SetBusy,
        _ => At::Lock,
    }
}

impl Model for Sole {
    type State = State;

    fn initial(&self) -> State {
        let thread =
            |p: usize| Thread { at: start(p, self.rounds[p]), holds_mutex: false, rounds: self.rounds[p] };
        State { memory: Memory::zeroed(), threads: [thread(0), thread(1), thread(2)] }
    }

    fn processes(&self) -> usize {
        THREADS
    }

    fn name(&self, p: usize) -> String {
        if p == BIAS { "bias thread".into() } else { format!("thread {p}") }
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        if s.memory.has_buffered(p) {
            let mut t = *s;
            t.memory.drain_one(p);
            out.add(|| "its oldest store reaches memory".into(), t);
        }
        let mut t = *s;
        let memory = &mut t.memory;
        let me = &mut t.threads[p];
        let label: &'static str = match me.at {
            At::SetBusy => {
                memory.store(p, BUSY, 1);
                me.at = At::LookAtRevoked;
                "busy = 1"
            }
            At::LookAtRevoked => {
                me.at = if memory.load(p, REVOKED) == 0 { At::Inside } else { At::ClearBusy };
                "looks at revoked"
            }
            At::ClearBusy => {
                memory.store(p, BUSY, 0);
                me.at = At::Lock;
                "it is revoked: busy = 0"
            }
            At::Lock => {
                if !memory.compare_and_swap(p, MUTEX, 0, 1) {
                    return;
                }
                me.holds_mutex = true;
                me.at = if p == BIAS { At::Inside } else { At::AskRevoked };
                "locks the mutex"
            }
            At::AskRevoked => {
                let revoked = memory.load(p, REVOKED) == 1;
                me.at = match (revoked, self.planted) {
                    (true, _) => At::Inside,
                    (false, Planted::MembarrierBeforeRevoked) => At::Membarrier,
                    (false, _) => At::SetRevoked,
                };
                "asks whether it is revoked already"
            }
            At::SetRevoked => {
                memory.store(p, REVOKED, 1);
                me.at = match self.planted {
                    Planted::NoMembarrier | Planted::MembarrierBeforeRevoked => At::AwaitNotBusy,
                    _ => At::Membarrier,
                };
                "revoked = 1"
            }
            At::Membarrier => {
                memory.membarrier();
                me.at = match self.planted {
                    Planted::MembarrierBeforeRevoked => At::SetRevoked,
                    Planted::NoWaitForBusy => At::Inside,
                    _ => At::AwaitNotBusy,
                };
                "membarrier"
            }
            At::AwaitNotBusy => {
                if memory.load(p, BUSY) == 1 {
                    return;
                }
                me.at = At::Inside;
                "sees busy == 0"
            }
            At::Inside => {
                me.at = At::Counted(memory.load(p, COUNTER));
                "reads the counter"
            }
            At::Counted(n) => {
                memory.store(p, COUNTER, n + 1);
                me.at = At::Leave;
                "writes the counter"
            }
            At::Leave => {
                if me.holds_mutex {
                    memory.compare_and_swap(p, MUTEX, 1, 0);
                } else {
                    memory.store(p, BUSY, 0);
                }
                me.rounds -= 1;
                me.at = start(p, me.rounds);
                me.holds_mutex = false;
                "leaves"
            }
            At::Done => return,
        };
        out.add(|| label.into(), t);
    }

    fn check(&self, s: &State) -> Result<(), String> {
        if s.threads.iter().filter(|t| t.is_inside()).count() > 1 {
            return Err("two threads inside".into());
        }
        let all: u8 = self.rounds.iter().sum();
        if self.done(s) && s.memory.visible(COUNTER) != all {
            return Err(format!("counted to {} in {all} rounds", s.memory.visible(COUNTER)));
        }
        Ok(())
    }

    fn done(&self, s: &State) -> bool {
        s.threads.iter().all(|t| t.at == At::Done) && !(0..THREADS).any(|p| s.memory.has_buffered(p))
    }
}

mod tests {
    use super::*;

    fn lock(planted: Planted) -> Sole {
        Sole { rounds: [2, 1, 1], planted }
    }

    #[test]
    fn a_biased_lock_holds() {
        holds("biased lock", &Sole { rounds: [3, 2, 1], planted: Planted::Nothing });
    }

    #[test]
    fn without_membarrier_two_get_in() {
        breaks("no membarrier", &lock(Planted::NoMembarrier), "two threads inside");
    }

    #[test]
    fn a_membarrier_too_early_does_not_help() {
        breaks("membarrier first", &lock(Planted::MembarrierBeforeRevoked), "two threads inside");
    }

    #[test]
    fn without_waiting_two_get_in() {
        breaks("no wait", &lock(Planted::NoWaitForBusy), "two threads inside");
    }
}
