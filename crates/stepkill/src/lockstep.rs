//! Two processes in the middle of operations at one time, moved one access at a time.
//!
//! Both stand before an instruction that touches what is shared, having done all before it. A move lets one of them do it
//! and go as far as its next one. A schedule says whose move it is. Who sleeps in a system call can't be moved: the
//! other one is, until the sleeper comes back; if there is no other one, it is waited for.
//!
//! A schedule is recorded once, step by step. To come to the same point in fresh processes, each goes from access to access by
//! breakpoints, as far as that is cheaper, and each arrival is compared with what was recorded: the instruction, and where in
//! the file it is about to look. Where somebody slept the clock has a say, so such a schedule is stepped again each time.

use std::collections::HashMap;

use crate::access::{Access, Accesses, How};
use crate::trace::{Stop, Tracee};
use crate::walk::{BREAKPOINT, not_to_be_patched, run_to};

/// More moves than any two have: then they wait for each other.
const ENDLESS: usize = 100_000;

/// Whose move it is: so many of one, so many of the other, and again; or the first one goes that far and stands still until the
/// other one is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    Turns { first: usize, strides: [usize; 2] },
    Stands { first: usize, at: usize },
}

impl Schedule {
    fn mover(self, turn: usize) -> usize {
        match self {
            Schedule::Turns { first, strides } => {
                let other = turn % (strides[0] + strides[1]) >= strides[first];
                first ^ usize::from(other)
            }
            Schedule::Stands { first, at } => first ^ usize::from(turn >= at),
        }
    }
}

/// As it is told on the command line.
impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |who: &usize| ["a", "b"][*who];
        match self {
            Schedule::Turns { first, strides } => write!(f, "{}{}:{}", name(first), strides[0], strides[1]),
            Schedule::Stands { first, at } => write!(f, "{}@{at}", name(first)),
        }
    }
}

impl std::str::FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Schedule, String> {
        let wrong = || format!("“{text}” is no schedule: a1:1 is one, and b@7");
        let first = match text.get(..1) {
            Some("a") => 0,
            Some("b") => 1,
            _ => return Err(wrong()),
        };
        let number = |text: &str| text.parse().map_err(|_| wrong());
        if let Some(at) = text[1..].strip_prefix('@') {
            return Ok(Schedule::Stands { first, at: number(at)? });
        }
        let (one, two) = text[1..].split_once(':').ok_or_else(wrong)?;
        let strides = [number(one)?, number(two)?];
        if strides.contains(&0) { Err(wrong()) } else { Ok(Schedule::Turns { first, strides }) }
    }
}

/// Where a move ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// Before its operation.
    Begin,
    /// Before this.
    At(Access),
    /// In a system call, and does not come back from it.
    Asleep,
    /// After its operation.
    Over,
}

#[derive(Clone, Copy, Debug)]
pub struct Move {
    pub who: usize,
    pub stand: Stand,
    /// So many instructions of that process were done by then.
    done: usize,
}

/// A schedule, gone through to the end of both.
#[derive(Debug, Default)]
pub struct Recording {
    pub moves: Vec<Move>,
    /// The instructions of each.
    met: [Vec<u64>; 2],
    outside: Vec<(u64, u64)>,
}

impl Recording {
    /// Whether who moved last then is about to do more than to look.
    pub fn is_delicate(&self, moves: usize) -> bool {
        let last = moves.checked_sub(1).map(|last| self.moves[last].stand);
        matches!(last, Some(Stand::At(access)) if access.how != How::Read)
    }

    /// Whether one was done after so many moves.
    pub fn is_over(&self, who: usize, moves: usize) -> bool {
        self.moves[..moves].iter().any(|it| it.who == who && it.stand == Stand::Over)
    }
}

/// One of the two.
#[derive(Debug)]
pub struct Player {
    pub tracee: Tracee,
    pub stand: Stand,
    accesses: Accesses,
    /// Where it stood, and each instruction it came to.
    met: Vec<u64>,
}

impl Player {
    pub fn new(tracee: Tracee, directory: &str) -> Player {
        let accesses = Accesses::of(&tracee, directory);
        let met = vec![tracee.registers().rip];
        Player { tracee, stand: Stand::Begin, accesses, met }
    }

    /// Does what it stands before, and goes to the next access. `wait`: there is nobody else to wait for.
    fn go_on(&mut self, wait: bool) -> Result<(), String> {
        loop {
            let stop = if self.stand == Stand::Asleep && wait {
                self.tracee.step()
            } else {
                match self.tracee.step_unless_it_sleeps() {
                    Some(stop) => stop,
                    None => {
                        self.stand = Stand::Asleep;
                        return Ok(());
                    }
                }
            };
            match stop {
                Stop::Trap => {}
                Stop::Mark => {
                    self.stand = Stand::Over;
                    return Ok(());
                }
                other => return Err(format!("{other:?} of one of two, after {:?}", self.stand)),
            }
            self.stand = Stand::Begin;
            let registers = self.tracee.registers();
            self.met.push(registers.rip);
            if let Some(access) = self.accesses.next(&self.tracee, &registers) {
                self.stand = Stand::At(access);
                return Ok(());
            }
        }
    }

    /// Goes to the end of its operation at once.
    pub fn run(&mut self) -> Result<(), String> {
        if self.stand != Stand::Over {
            let stop = self.tracee.run();
            self.stand = Stand::Over;
            if stop != Stop::Mark {
                return Err(format!("{stop:?} of one of two, on the way to its end"));
            }
        }
        Ok(())
    }

    /// Goes from the first of these instructions to the last. Whether it stands there as it should.
    fn leap(&mut self, met: &[u64], outside: &[(u64, u64)], to: Stand) -> Result<bool, String> {
        if to == Stand::Over {
            return self.run().map(|()| true);
        }
        let (anchor, steps) = shortest(met, outside);
        if let Some(anchor) = anchor
            && !run_to(&mut self.tracee, anchor)?
        {
            self.stand = Stand::Over;
            return Ok(false);
        }
        for _ in 0..steps {
            match self.tracee.step() {
                Stop::Trap => {}
                Stop::Mark => {
                    self.stand = Stand::Over;
                    return Ok(false);
                }
                other => return Err(format!("{other:?} of one of two")),
            }
        }
        let registers = self.tracee.registers();
        self.stand = self.accesses.any(&self.tracee, &registers).map_or(Stand::Begin, Stand::At);
        Ok(self.stand == to)
    }
}

/// How one comes from the first of these instructions to the last: up to an address that was met so often before, and so
/// many steps from there.
fn shortest(met: &[u64], outside: &[(u64, u64)]) -> (Option<(u64, u32)>, usize) {
    let mut times = HashMap::from([(met[0], 1)]);
    let (mut best, mut cost) = ((None, met.len() - 1), met.len() - 1);
    for (at, address) in met.iter().enumerate().skip(1) {
        let before = times.entry(*address).or_insert(0_u32);
        let left = met.len() - 1 - at;
        let this = BREAKPOINT as usize * (*before as usize + 1) + left;
        if this <= cost && !outside.iter().any(|(from, to)| (from..to).contains(&address)) {
            (best, cost) = ((Some((*address, *before)), left), this);
        }
        *before += 1;
    }
    best
}

impl Schedule {
    /// The next one to move; `None`: both are done.
    fn next(self, turn: usize, two: &[Player; 2]) -> Option<usize> {
        let who = self.mover(turn);
        let can = |who: usize| two[who].stand != Stand::Over;
        [who, 1 - who].into_iter().find(|who| can(*who))
    }

    /// So many moves, or all. Who sleeps while the other one may move is passed over.
    fn drive(self, two: &mut [Player; 2], until: usize, moves: &mut Vec<Move>) -> Result<(), String> {
        let mut turn = 0;
        while moves.len() < until {
            let Some(who) = self.next(turn, two) else { break };
            turn += 1;
            let other = &two[1 - who];
            let alone = other.stand == Stand::Over
                || matches!(self, Schedule::Stands { .. }) && self.next(turn, two) == Some(who);
            let alone = alone || other.stand == Stand::Asleep;
            let slept = two[who].stand == Stand::Asleep;
            two[who].go_on(alone)?;
            if slept && two[who].stand == Stand::Asleep {
                // Nothing has changed.
                continue;
            }
            let (stand, done) = (two[who].stand, two[who].met.len() - 1);
            moves.push(Move { who, stand, done });
            if turn > ENDLESS {
                return Err("they wait for each other".into());
            }
        }
        Ok(())
    }

    /// Goes through it to the end of both.
    pub fn record(self, two: &mut [Player; 2]) -> Result<Recording, String> {
        let mut moves = Vec::new();
        let outside = not_to_be_patched(two[0].tracee.pid());
        self.drive(two, usize::MAX, &mut moves)?;
        let met = [0, 1].map(|who: usize| std::mem::take(&mut two[who].met));
        Ok(Recording { moves, met, outside })
    }

    /// Goes so many moves, as recorded. Whether both came to the very same places.
    pub fn go_to(self, recording: &Recording, moves: usize, two: &mut [Player; 2]) -> Result<bool, String> {
        let wanted = &recording.moves[..moves];
        if wanted.iter().any(|it| it.stand == Stand::Asleep) {
            let mut done = Vec::new();
            self.drive(two, moves, &mut done)?;
            let same = |(one, two): (&Move, &Move)| one.who == two.who && one.stand == two.stand;
            return Ok(done.len() == moves && done.iter().zip(wanted).all(same));
        }
        let mut from = [0; 2];
        for (at, it) in wanted.iter().enumerate() {
            // Several moves of one are one leap.
            if wanted.get(at + 1).is_some_and(|next| next.who == it.who) {
                continue;
            }
            let met = &recording.met[it.who][from[it.who]..=it.done];
            from[it.who] = it.done;
            if !two[it.who].leap(met, &recording.outside, it.stand)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_read_as_they_are_told() {
        for text in ["a1:1", "b3:1", "a2:1", "b@17", "a@0"] {
            assert_eq!(text.parse::<Schedule>().unwrap().to_string(), text);
        }
        for text in ["", "c1:1", "a", "a1", "a0:1", "b@", "é1:1"] {
            assert!(text.parse::<Schedule>().is_err(), "{text}");
        }
    }

    #[test]
    fn strides_belong_to_the_processes_whoever_is_first() {
        let movers = |text: &str| {
            let schedule: Schedule = text.parse().unwrap();
            (0..8).map(|turn| schedule.mover(turn)).collect::<Vec<_>>()
        };
        assert_eq!(movers("a2:1"), [0, 0, 1, 0, 0, 1, 0, 0]);
        assert_eq!(movers("b3:1"), [1, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(movers("b@2"), [1, 1, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_breakpoint_stands_for_the_steps_that_it_saves() {
        let straight: Vec<u64> = (100..200).collect();
        assert_eq!(shortest(&straight, &[]), (Some((199, 0)), 0));
        assert_eq!(shortest(&straight, &[(190, 300)]), (Some((189, 0)), 10));
        // A breakpoint where it stands is met at once, and counts.
        let back: Vec<u64> = (100..200).chain([100]).collect();
        assert_eq!(shortest(&back, &[]), (Some((199, 0)), 1));
        assert_eq!(shortest(&[7], &[]), (None, 0));
    }
}
