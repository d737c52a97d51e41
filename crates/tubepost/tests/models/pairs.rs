//! Who has the other end of a pair, and when that is dead: `domain::pair`, `domain::bond`.
//!
//! The end is one descriptor, a connection's, in which lies the description whose lock stands for it. Four processes: the *host*
//! made the pair; the *child* is forked from it, left the descriptor by itself between fork and exec, and takes the end; a
//! *stranger* is another program that the host starts meanwhile, on another thread; a *fork* of the child has copies of what
//! the child has open, calls no exec, and stays.
//!
//! ```text
//! host      fork the child; exec worked or did not: close the end. Wait: told by a hang-up, or once a second: is it locked?
//! child     leave it open; exec; receive the description; map it; close it; work; end
//! stranger  (forked at any time) exec: what is to be closed on exec is closed
//! ```
//!
//! The kernel: a description is there as long as a process has it open or mapped (mappings are not inherited), or it lies in a connection
//! that somebody could receive from; with it goes its lock. The host is told by a hang-up when nobody has the connection's other
//! end any more; the lock of who dies goes a moment before or after.
//!
//! # Invariants
//! 1. While the child lives and has the end, or could still take it, the lock is held: it is not found dead.
//! 2. Once it is dead the host finds out, whoever else has copies; without them, without a look at a clock.

use crate::explorer::{Model, Steps, breaks, holds};

const HOST: usize = 0;
const CHILD: usize = 1;
const STRANGER: usize = 2;
const FORK: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// The host keeps its copy of the end.
    EndKept,
    /// The lock is the description's that the host asks by, or keeps.
    HostHoldsLock,
    /// The end is not closed on exec, in any child.
    NotClosedOnExec,
    /// The child closes the description, then maps it.
    ClosedBeforeMapped,
    /// The child asks for, and the host sees, no lock where the description that asks is the one that has it.
    AskedByItself,
    /// Hanging up is death, and nothing else is.
    HangUpIsDeath,
    /// Nobody is told of a hang-up.
    NotTold,
}

struct Pairs {
    planted: Planted,
    /// Whether there is a stranger; and a fork of the child.
    stranger: bool,
    forks: bool,
    /// Whether the host looks once a second, or only when it is told.
    looks: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    /// It does not exist so far.
    Unborn,
    /// Forked, not yet another program.
    Forked,
    /// The same, and the end will stay open.
    LeftOpen,
    // of the host
    Spawning,
    Spawned,
    Waiting,
    Asking,
    /// It said that the other end is dead.
    Over,
    // of the child
    Running,
    /// It has received the description.
    Received,
    Working,
    Ended,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    at: [At; 4],
    /// Who has the connection's end open.
    end: [bool; 4],
    /// Whether the description lies in the connection; who has it open; whether the child has it mapped.
    lies: bool,
    open: [bool; 4],
    mapped: bool,
    told: bool,
}

impl State {
    fn is_hung_up(&self) -> bool {
        !self.end.contains(&true)
    }

    /// A process ends, or becomes another program: it loses what it has open.
    fn lose(&mut self, p: usize) {
        self.end[p] = false;
        self.open[p] = false;
        if p == CHILD {
            self.mapped = false;
        }
        self.settle();
    }

    /// What lies where nobody could receive it is gone.
    fn settle(&mut self) {
        self.lies &= !self.is_hung_up();
    }

    fn is_described(&self) -> bool {
        self.lies || self.mapped || self.open.contains(&true)
    }

    /// Whether the child has the end, or could still take it.
    fn has_end(&self) -> bool {
        match self.at[CHILD] {
            At::Forked | At::LeftOpen | At::Running => self.lies && self.end[CHILD],
            At::Received | At::Working => true,
            _ => false,
        }
    }
}

impl Pairs {
    fn is_locked(&self, state: &State) -> bool {
        match self.planted {
            Planted::HostHoldsLock => state.at[HOST] != At::Ended || state.is_described(),
            Planted::AskedByItself => false,
            _ => state.is_described(),
        }
    }

    fn host(&self, state: &State, out: &mut Steps<State>) {
        let mut next = *state;
        match state.at[HOST] {
            At::Spawning if state.at[CHILD] == At::Unborn => {
                next.at[CHILD] = At::Forked;
                (next.end[CHILD], next.open[CHILD]) = (state.end[HOST], state.open[HOST]);
                out.add(|| "forks the child".into(), next);
            }
            // `spawn` comes back when the child is another program, or gone.
            At::Spawning if !matches!(state.at[CHILD], At::Forked | At::LeftOpen) => {
                next.at[HOST] = At::Spawned;
                out.add(|| "spawned".into(), next);
            }
            At::Spawned => {
                next.at[HOST] = At::Waiting;
                if self.planted != Planted::EndKept {
                    next.end[HOST] = false;
                    next.settle();
                }
                out.add(|| "closes its copy of the end".into(), next);
            }
            At::Waiting => {
                if state.is_hung_up() && !state.told && self.planted != Planted::NotTold {
                    next.told = true;
                    next.at[HOST] =
                        if self.planted == Planted::HangUpIsDeath { At::Over } else { At::Asking };
                    out.add(|| "is told of a hang-up".into(), next);
                } else if (self.looks || state.told) && self.planted != Planted::HangUpIsDeath {
                    next.at[HOST] = At::Asking;
                    out.add(|| "looks".into(), next);
                }
            }
            At::Asking => {
                next.at[HOST] = if self.is_locked(state) { At::Waiting } else { At::Over };
                out.add(|| "asks whether it is locked".into(), next);
            }
            _ => {}
        }
    }

    fn child(&self, state: &State, out: &mut Steps<State>) {
        let mut next = *state;
        match state.at[CHILD] {
            At::Forked => {
                next.at[CHILD] = At::LeftOpen;
                out.add(|| "leaves the end open".into(), next);
            }
            At::LeftOpen => {
                next.at[CHILD] = At::Running;
                out.add(|| "becomes the program".into(), next);
            }
            At::Running if state.lies && state.end[CHILD] => {
                next.at[CHILD] = At::Received;
                (next.lies, next.open[CHILD]) = (false, true);
                out.add(|| "receives the description".into(), next);
            }
            At::Received if state.open[CHILD] && !state.mapped => {
                if self.planted == Planted::ClosedBeforeMapped {
                    next.open[CHILD] = false;
                } else {
                    next.mapped = true;
                }
                out.add(|| "maps it (or closes it, if that comes first)".into(), next);
            }
            At::Received => {
                (next.mapped, next.open[CHILD]) = (true, false);
                next.at[CHILD] = At::Working;
                out.add(|| "closes it: mapped it stays".into(), next);
            }
            At::Working if self.forks && state.at[FORK] == At::Unborn => {
                next.at[FORK] = At::Forked;
                (next.end[FORK], next.open[FORK]) = (state.end[CHILD], state.open[CHILD]);
                out.add(|| "forks".into(), next);
            }
            _ => {}
        }
    }
}

impl Model for Pairs {
    type State = State;

    fn initial(&self) -> State {
        let mut at = [At::Unborn; 4];
        at[HOST] = At::Spawning;
        State {
            at,
            end: [true, false, false, false],
            lies: true,
            open: [false; 4],
            mapped: false,
            told: false,
        }
    }

    fn processes(&self) -> usize {
        4
    }

    fn name(&self, p: usize) -> String {
        ["the host", "the child", "a stranger", "a fork of the child"][p].into()
    }

    fn steps(&self, state: &State, p: usize, out: &mut Steps<State>) {
        match p {
            HOST => self.host(state, out),
            CHILD => self.child(state, out),
            // On another thread of the host's.
            STRANGER if self.stranger && state.at[STRANGER] == At::Unborn => {
                let mut next = *state;
                next.at[STRANGER] = At::Forked;
                (next.end[STRANGER], next.open[STRANGER]) = (state.end[HOST], state.open[HOST]);
                out.add(|| "is forked from the host".into(), next);
            }
            STRANGER if state.at[STRANGER] == At::Forked => {
                let mut next = *state;
                next.at[STRANGER] = At::Running;
                if self.planted != Planted::NotClosedOnExec {
                    next.lose(STRANGER);
                }
                out.add(|| "becomes another program".into(), next);
            }
            _ => {}
        }
    }

    /// The child may end at any time: that is what it is about. Its exec may fail, too: then it ends.
    fn kill(&self, state: &State, p: usize) -> Option<State> {
        let lives = !matches!(state.at[CHILD], At::Unborn | At::Ended);
        (p == CHILD && lives).then(|| {
            let mut next = *state;
            next.at[CHILD] = At::Ended;
            next.lose(CHILD);
            next
        })
    }

    fn check(&self, state: &State) -> Result<(), String> {
        if state.at[HOST] == At::Over && state.has_end() {
            return Err("a living end was found dead".into());
        }
        if state.has_end() && !self.is_locked(state) {
            return Err("a living end is not locked".into());
        }
        Ok(())
    }

    fn done(&self, state: &State) -> bool {
        match state.at[CHILD] {
            At::Ended => state.at[HOST] == At::Over,
            At::Working => matches!(state.at[HOST], At::Waiting | At::Asking),
            _ => false,
        }
    }
}

const SOUND: Pairs = Pairs { planted: Planted::Nothing, stranger: true, forks: true, looks: true };

#[test]
fn a_dead_end_is_found_dead_and_a_living_one_is_not() {
    holds("a pair", &SOUND);
}

/// Whoever has copies for a moment only: the hang-up comes when they are gone.
#[test]
fn without_forks_it_is_told() {
    holds("a pair, told", &Pairs { forks: false, looks: false, ..SOUND });
    breaks("nobody told", &Pairs { forks: false, looks: false, planted: Planted::NotTold, ..SOUND }, "");
}

#[test]
fn each_rule_is_needed() {
    let with = |planted| Pairs { planted, ..SOUND };
    for (title, planted) in [
        ("the host keeps the end", Planted::EndKept),
        ("the host holds the lock", Planted::HostHoldsLock),
        ("not closed on exec", Planted::NotClosedOnExec),
        ("hanging up is death", Planted::HangUpIsDeath),
    ] {
        breaks(title, &with(planted), "");
    }
    breaks("closed, then mapped", &with(Planted::ClosedBeforeMapped), "is not locked");
    breaks("asked by itself", &with(Planted::AskedByItself), "is not locked");
}

/// Whoever looks only when it is told waits for copies: why there is a look once a second.
#[test]
fn a_fork_keeps_the_hang_up_back() {
    breaks("no looks", &Pairs { looks: false, ..SOUND }, "");
}
