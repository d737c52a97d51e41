//! Two processes in the middle of operations at one time, moved one access at a time.
//!
//! Both stand before an instruction that touches what is shared, having done all before it. A move lets one of them do it
//! and go as far as its next one. A schedule says whose move it is. Who sleeps in a system call can't be moved: the
//! other one is, until the sleeper comes back; if there is no other one, it is waited for.
//!
//! Where two may touch what is shared is learned by stepping through two schedules. With breakpoints at all those
//! instructions each schedule is gone through, noting where each move ended; and again by fresh processes as far as the point that is
//! wanted, where each move has to end as it did: before the same instruction, looking at the same place in the file. An
//! instruction that only another schedule comes to is done, but nobody stops there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use crate::access::{Access, Accesses, How};
use crate::trace::{Stop, Tracee};

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
            Schedule::Stands { first, at: usize::MAX } => write!(f, "{}@end", name(first)),
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
            let at = if at == "end" { usize::MAX } else { number(at)? };
            return Ok(Schedule::Stands { first, at });
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    pub who: usize,
    pub stand: Stand,
}

/// A schedule, gone through to the end of both.
#[derive(Debug, Default)]
pub struct Recording {
    pub moves: Vec<Move>,
    /// All instructions that touched something.
    pub met: BTreeSet<u64>,
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
    /// The instruction it stands before.
    at: u64,
    accesses: Accesses,
    memory: File,
    /// Where breakpoints are, and what belongs there. None at all: it goes step by step.
    planted: BTreeMap<u64, u8>,
}

const BREAKPOINT: u8 = 0xcc;

impl Player {
    /// A process at its first mark, with breakpoints at these instructions.
    pub fn new(tracee: Tracee, directory: &str, known: &BTreeSet<u64>) -> Result<Player, String> {
        let memory = format!("/proc/{}/mem", tracee.pid());
        let memory = OpenOptions::new().read(true).write(true).open(memory).map_err(told)?;
        let (accesses, at) = (Accesses::of(&tracee, directory), tracee.registers().rip);
        let planted = BTreeMap::new();
        let mut player = Player { tracee, stand: Stand::Begin, at, accesses, memory, planted };
        for address in known {
            let mut byte = [0];
            player.memory.read_exact_at(&mut byte, *address).map_err(told)?;
            player.write(*address, BREAKPOINT)?;
            player.planted.insert(*address, byte[0]);
        }
        Ok(player)
    }

    fn write(&self, address: u64, byte: u8) -> Result<(), String> {
        self.memory.write_all_at(&[byte], address).map_err(told)
    }

    /// Takes all breakpoints away.
    fn lift(&mut self) -> Result<(), String> {
        for (address, byte) in std::mem::take(&mut self.planted) {
            self.write(address, byte)?;
        }
        Ok(())
    }

    /// Does what it stands before, and goes to the next access. `wait`: there is nobody else to wait for.
    fn go_on(&mut self, wait: bool) -> Result<(), String> {
        loop {
            let Some(mut stop) = self.one_instruction(wait)? else {
                self.stand = Stand::Asleep;
                return Ok(());
            };
            self.stand = Stand::Begin;
            let mut registers = self.tracee.registers();
            if stop == Stop::Trap && !self.planted.is_empty() && !self.planted.contains_key(&registers.rip) {
                stop = self.tracee.run();
                registers = self.tracee.registers();
                registers.rip -= u64::from(stop == Stop::Trap);
                self.tracee.set_registers(&registers);
            }
            match stop {
                Stop::Trap => {}
                Stop::Mark => {
                    self.stand = Stand::Over;
                    return self.lift();
                }
                other => return Err(format!("{other:?} of one of two")),
            }
            self.at = registers.rip;
            if let Some(access) = self.accesses.next(&self.tracee, &registers) {
                self.stand = Stand::At(access);
                return Ok(());
            }
        }
    }

    /// `None`: it sleeps in it.
    fn one_instruction(&mut self, wait: bool) -> Result<Option<Stop>, String> {
        // Only system calls sleep.
        let may_sleep = match self.stand {
            Stand::At(access) => access.how == How::Call,
            stand => stand == Stand::Asleep && !wait,
        };
        let planted = self.planted.get(&self.at).copied();
        if let Some(byte) = planted {
            self.write(self.at, byte)?;
        }
        let stop = if may_sleep { self.tracee.step_unless_it_sleeps() } else { Some(self.tracee.step()) };
        if stop.is_some() && planted.is_some() {
            self.write(self.at, BREAKPOINT)?;
        }
        Ok(stop)
    }

    /// Goes to the end of its operation at once.
    pub fn run(&mut self) -> Result<(), String> {
        if self.stand != Stand::Over {
            self.lift()?;
            let stop = self.tracee.run_all();
            self.stand = Stand::Over;
            if stop != Stop::Mark {
                return Err(format!("{stop:?} of one of two, on the way to its end"));
            }
        }
        Ok(())
    }
}

fn told(error: std::io::Error) -> String {
    error.to_string()
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
            moves.push(Move { who, stand: two[who].stand });
            if turn > ENDLESS {
                return Err("they wait for each other".into());
            }
        }
        Ok(())
    }

    /// Goes through it to the end of both.
    pub fn record(self, two: &mut [Player; 2]) -> Result<Recording, String> {
        let mut moves = Vec::new();
        self.drive(two, usize::MAX, &mut moves)?;
        let met = two.iter().flat_map(|one| one.accesses.met.iter().copied()).collect();
        Ok(Recording { moves, met })
    }

    /// Goes so many moves, as recorded. Whether all ended in the very same places.
    pub fn go_to(self, recording: &Recording, moves: usize, two: &mut [Player; 2]) -> Result<bool, String> {
        let mut done = Vec::new();
        self.drive(two, moves, &mut done)?;
        Ok(done == recording.moves[..moves])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_read_as_they_are_told() {
        for text in ["a1:1", "b3:1", "a2:1", "b@17", "a@0", "b@end"] {
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
}
