//! Regions: who writes next. In the order in which they came, and nobody who stands still or is dead holds up the others.
//!
//! ```text
//! current    (hold, seat, held?)
//! turns      one per seat: 0, or the number that its writer took, and whether it was passed
//! ```
//!
//! *To write*: nobody holds, and nobody waits: CAS `current`. Else take a number, and write it into one's seat. Acquire, by CAS on what was seen, when nobody has a smaller number,
//! and nobody holds, or who holds is dead, or late. Who holds has no number that counts. Whoever has a smaller number, and is dead, is
//! swept; who does not respond in time is passed, whether somebody holds or not: marked, by CAS, and from then on nobody waits for it. Who finds the mark
//! in its own seat is back, and takes it away, by CAS. Then: number = 0; edit; let go by CAS.
//!
//! Time passes here only for those who do nothing: they are stopped, for good or for a while, or dead.
//!
//! # Invariants
//! 1. Nobody who waits and responds is overtaken by one who took a later number.
//! 2. Whoever lives gets to write.
//! 3. One that does not respond is waited for once, and not for each hold.
//!
//! # What if it dies here?
//! - with a number that it did not write: nobody waits for that.
//! - with one that it wrote: it is swept, or passed.
//! - having acquired, with its number in its seat: it holds, and comes before nobody.

use crate::explorer::{Model, Steps, breaks, holds, long_runs};

const MOST: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// Who does not respond is passed only when nobody holds.
    PassedWhenFree,
    /// Who waits does not look who else does.
    NoTurns,
    /// Nobody looks whether others wait, before it takes a number.
    Barges,
    /// Who passes one does not mark it.
    Unmarked,
    /// … or does so whatever its seat says by now.
    MarkedBlindly,
    /// Who is back does not take the mark away.
    StaysPassed,
}

struct Writers {
    writers: usize,
    rounds: u8,
    kills: u8,
    stops: u8,
    /// How often one stands still, and may go on.
    pauses: u8,
    planted: Planted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    Come,
    /// It saw this hold, which nobody had.
    Acquire(u8),
    TakeNumber,
    WriteNumber(u8),
    Wait,
    /// It passes this one, whose number was this.
    Pass(u8, u8),
    /// It is its turn, if this is still the hold.
    AcquireInTurn(u8),
    LeaveQueue,
    Edit,
    Done,
    Stopped,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    hold: u8,
    /// Who holds.
    held: Option<u8>,
    turns: [u8; MOST],
    next: u8,
    at: [At; MOST],
    /// The hold that each has, or had.
    mine: [u8; MOST],
    rounds: [u8; MOST],
    passed: [bool; MOST],
    paused: [bool; MOST],
    /// For the checks: the number that each took; whether it looked since it last stood still, or was passed; whether it was waited for.
    came: [u8; MOST],
    back: [bool; MOST],
    known: [bool; MOST],
    kills: u8,
    stops: u8,
    pauses: u8,
    overtaken: bool,
    twice: bool,
}

impl State {
    fn responds(&self, writer: usize) -> bool {
        !matches!(self.at[writer], At::Stopped | At::Dead) && !self.paused[writer]
    }

    /// Whether one waits that nobody may overtake.
    fn waits(&self, writer: usize) -> bool {
        self.at[writer] == At::Wait && self.responds(writer) && self.back[writer]
    }

    fn leave_queue(&mut self, writer: usize) {
        (self.turns[writer], self.passed[writer], self.known[writer]) = (0, false, false);
    }
}

impl Writers {
    /// Who comes before this one.
    fn before(&self, s: &State, w: usize) -> Vec<usize> {
        let holds = |other: usize| s.held == Some(other as u8);
        let waits = |other: usize| s.turns[other] != 0 && !s.passed[other] && !holds(other);
        let smaller = |other: &usize| waits(*other) && s.turns[*other] < s.turns[w];
        (0..self.writers).filter(smaller).collect()
    }

    fn acquire(&self, s: &State, w: usize, seen: u8, then: At) -> State {
        let mut next = *s;
        let acquired = s.hold == seen;
        if acquired {
            (next.hold, next.held, next.mine[w]) = (seen + 1, Some(w as u8), seen + 1);
        }
        next.at[w] = match (acquired, then) {
            (true, then) => then,
            (false, At::LeaveQueue) => At::Wait,
            (false, _) => At::TakeNumber,
        };
        next
    }
}

impl Model for Writers {
    type State = State;

    fn initial(&self) -> State {
        let at = std::array::from_fn(|w| if w < self.writers { At::Come } else { At::Done });
        State {
            hold: 0,
            held: None,
            turns: [0; MOST],
            next: 0,
            at,
            mine: [0; MOST],
            rounds: [0; MOST],
            passed: [false; MOST],
            paused: [false; MOST],
            came: [0; MOST],
            back: [true; MOST],
            known: [false; MOST],
            kills: self.kills,
            stops: self.stops,
            pauses: self.pauses,
            overtaken: false,
            twice: false,
        }
    }

    fn processes(&self) -> usize {
        self.writers
    }

    fn name(&self, w: usize) -> String {
        format!("writer {w}")
    }

    fn steps(&self, s: &State, w: usize, out: &mut Steps<State>) {
        let mut next = *s;
        if s.paused[w] {
            (next.paused[w], next.known[w]) = (false, false);
            out.add(|| "goes on".into(), next);
            return;
        }
        let lives = !matches!(s.at[w], At::Done | At::Stopped | At::Dead);
        if s.stops > 0 && lives {
            (next.at[w], next.stops) = (At::Stopped, s.stops - 1);
            out.add(|| "stands still for good".into(), next);
            next = *s;
        }
        if s.pauses > 0 && lives {
            (next.paused[w], next.back[w], next.pauses) = (true, false, s.pauses - 1);
            out.add(|| "stands still".into(), next);
            next = *s;
        }
        match s.at[w] {
            At::Come => {
                let waits = (0..self.writers).any(|other| s.turns[other] != 0 && !s.passed[other]);
                let waits = waits && self.planted != Planted::Barges;
                let free = s.held.is_none() && !waits;
                next.at[w] = if free { At::Acquire(s.hold) } else { At::TakeNumber };
                next.overtaken |= free && (0..self.writers).any(|other| s.waits(other));
                out.add(|| "looks".into(), next);
            }
            At::Acquire(seen) => {
                out.add(|| "acquires what nobody holds".into(), self.acquire(s, w, seen, At::Edit));
            }
            At::TakeNumber => {
                next.next += 1;
                next.at[w] = At::WriteNumber(next.next);
                out.add(|| "takes a number".into(), next);
            }
            At::WriteNumber(number) => {
                next.leave_queue(w);
                (next.turns[w], next.came[w], next.back[w]) = (number, number, true);
                next.at[w] = At::Wait;
                out.add(|| format!("waits with number {number}"), next);
            }
            At::Wait if s.passed[w] && self.planted != Planted::StaysPassed => {
                (next.passed[w], next.known[w], next.back[w]) = (false, false, true);
                out.add(|| "is back".into(), next);
            }
            At::Wait => {
                next.back[w] = true;
                let before = if self.planted == Planted::NoTurns { Vec::new() } else { self.before(s, w) };
                // A dead one at the head.
                let head = before.iter().copied().min_by_key(|other| s.turns[*other]);
                if let Some(head) = head.filter(|head| s.at[*head] == At::Dead && s.held != Some(*head as u8))
                {
                    next.leave_queue(head);
                    out.add(|| format!("sweeps writer {head}"), next);
                    next = State { back: next.back, ..*s };
                }
                let passes = before.iter().all(|other| !s.responds(*other));
                let passes = passes
                    && (self.planted != Planted::PassedWhenFree || s.held.is_none() || before.is_empty());
                let free = s.held.is_none_or(|holder| !s.responds(holder.into()));
                if let Some(other) = head.filter(|_| free && passes) {
                    next.twice |= s.known[other];
                    next.at[w] = At::Pass(other as u8, s.turns[other]);
                    out.add(|| format!("has waited long enough for writer {other}"), next);
                } else if free && passes {
                    next.at[w] = At::AcquireInTurn(s.hold);
                    let earlier = |other: usize| s.waits(other) && s.came[other] < s.came[w];
                    next.overtaken |= (0..self.writers).any(earlier);
                    out.add(|| "has its turn".into(), next);
                } else if next != *s {
                    out.add(|| "looks".into(), next);
                }
            }
            At::Pass(other, turn) => {
                let o = usize::from(other);
                let same = s.turns[o] == turn && !s.passed[o];
                if same || self.planted == Planted::MarkedBlindly {
                    next.passed[o] = self.planted != Planted::Unmarked;
                    (next.turns[o], next.back[o], next.known[o]) = (turn, false, true);
                }
                next.at[w] = At::Wait;
                out.add(|| format!("passes writer {other}"), next);
            }
            At::AcquireInTurn(seen) => {
                out.add(|| "acquires in its turn".into(), self.acquire(s, w, seen, At::LeaveQueue));
            }
            At::LeaveQueue => {
                next.leave_queue(w);
                next.at[w] = At::Edit;
                out.add(|| "waits no longer".into(), next);
            }
            At::Edit => {
                if s.hold == s.mine[w] && s.held == Some(w as u8) {
                    next.held = None;
                }
                next.rounds[w] += 1;
                next.at[w] = if next.rounds[w] < self.rounds { At::Come } else { At::Done };
                out.add(|| "commits, or was fenced".into(), next);
            }
            At::Done | At::Stopped | At::Dead => {}
        }
    }

    fn kill(&self, s: &State, w: usize) -> Option<State> {
        let lives = !matches!(s.at[w], At::Done | At::Dead);
        (lives && s.kills > 0).then(|| {
            let mut next = *s;
            (next.at[w], next.kills) = (At::Dead, s.kills - 1);
            next
        })
    }

    fn check(&self, s: &State) -> Result<(), String> {
        match (s.overtaken, s.twice) {
            (true, _) => Err("one who waits is overtaken".into()),
            (_, true) => Err("one who stands still is waited for twice".into()),
            _ => Ok(()),
        }
    }

    fn done(&self, s: &State) -> bool {
        s.at.iter().all(|at| matches!(at, At::Done | At::Stopped | At::Dead))
    }
}

fn writers(writers: usize, kills: u8, stops: u8, planted: Planted) -> Writers {
    Writers { writers, rounds: 1, kills, stops, pauses: 0, planted }
}

/// One that stands still for a while.
fn pausing(writers: usize, rounds: u8, planted: Planted) -> Writers {
    Writers { writers, rounds, kills: 0, stops: 0, pauses: 1, planted }
}

#[test]
fn writers_take_turns_and_hold_up_nobody() {
    holds("three writers", &writers(3, 0, 0, Planted::Nothing));
    holds("three writers, twice", &Writers { rounds: 2, ..writers(3, 0, 0, Planted::Nothing) });
    holds("three writers, two die", &writers(3, 2, 0, Planted::Nothing));
    holds("three writers, two stand still", &writers(3, 0, 2, Planted::Nothing));
    holds("four writers, one dies, one stands still", &writers(4, 1, 1, Planted::Nothing));
    holds("two writers twice, one dies", &Writers { rounds: 2, ..writers(2, 1, 0, Planted::Nothing) });
}

#[test]
fn one_at_the_head_is_passed_whoever_holds() {
    breaks("passed when free", &writers(3, 0, 2, Planted::PassedWhenFree), "stuck");
}

#[test]
fn who_does_not_look_at_numbers_overtakes() {
    breaks("no turns", &writers(3, 0, 0, Planted::NoTurns), "overtaken");
}

#[test]
fn who_comes_looks_whether_others_wait() {
    breaks("barges", &writers(3, 0, 0, Planted::Barges), "overtaken");
}

#[test]
fn one_who_goes_on_has_its_turn_back() {
    holds("three writers, one stands still for a while", &pausing(3, 1, Planted::Nothing));
    holds("two writers twice, one stands still for a while", &pausing(2, 2, Planted::Nothing));
    holds("twice for a while", &Writers { pauses: 2, ..pausing(3, 1, Planted::Nothing) });
    holds("one stands still, one dies", &Writers { kills: 1, ..pausing(3, 1, Planted::Nothing) });
    if long_runs() {
        holds("three writers twice", &pausing(3, 2, Planted::Nothing));
    }
    breaks("stays passed", &pausing(3, 2, Planted::StaysPassed), "overtaken");
}

#[test]
fn one_who_stands_still_is_waited_for_once() {
    breaks("unmarked", &writers(3, 0, 1, Planted::Unmarked), "twice");
}

#[test]
fn who_is_passed_waits_still() {
    breaks("marked blindly", &pausing(3, 2, Planted::MarkedBlindly), "overtaken");
}
