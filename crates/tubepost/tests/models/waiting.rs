//! Sleeping and waking, without a fence per message. With store buffers.
//!
//! ```text
//! wait word   (sequence, asleep)   one per condition: messages, room
//! fence word  (epoch, state)       one per object. state: 0 NONE, 1 SETTING, 2 SET, 3 PINNED
//! ```
//!
//! *Publisher* (of a message, or of room). Store it; load the fence word; unless NONE, fence; load
//! the wait word. Nobody asleep: done. Else CAS (s, asleep) → (s + 1, none) and wake all who sleep
//! on the word. The fence word is loaded *before* the wait word (an acquire load where loads may be
//! reordered). A publisher that met no sleeper may, now and then, CAS the fence word (e, SET) → (e
//! + 1, NONE), so that the messages that follow cost no fence.
//!
//! *Sleeper.* Look; nothing there: register, by CAS of the wait word to (s + 1, asleep), or by
//! joining those who are registered in it already. Then load the fence word:
//!
//! ```text
//! NONE      CAS → (e, SETTING), membarrier, CAS → (e, SET)
//! SETTING   somebody else is at it, and may be stopped or dead: membarrier, CAS (e, SETTING) → (e, SET)
//! SET       nothing to do;   PINNED  nothing to do
//! ```
//!
//! Look again; nothing there: futex_wait for exactly the value registered. Woken, or the value has
//! changed: from the start.
//!
//! *Pinning.* A member that cannot take part in membarrier makes every publisher fence, for good,
//! before it exchanges anything: SET → PINNED by CAS; from NONE it goes through SETTING too, and
//! lets a grace period pass in which every store begun before is bound to arrive (all it can do
//! instead of a membarrier; a few milliseconds are an eternity here), then CAS → (e, PINNED).
//!
//! *Deaths.* Whoever waits is told of any death: the wait words are bumped to (s + 1, none) and
//! their sleepers woken.
//!
//! # Invariants
//! 1. A publisher that saw NONE and does not fence loaded the fence word before SETTING was stored,
//!    so its message is in memory after the membarrier of whoever saw or made SETTING in that
//!    epoch; and SET means that one has been done since.
//! 2. A publisher that saw NONE after a reset loads the wait word later still: it sees whoever
//!    registered before the reset, and everybody registers before looking at the fence word.
//! 3. SET is stored only in the epoch in which its author saw SETTING, after its own membarrier.
//! 4. A sleeper sleeps only on the value under which it looked the second time.
//!
//! # What if it dies here?
//! - a publisher before its wake-up: its death wakes the sleepers, after its stores have arrived.
//! - a publisher after clearing *asleep*, before waking: the same.
//! - a sleeper registered: the next publisher clears the word and wakes nobody.
//! - a sleeper in SETTING: the next sleeper does its own membarrier and completes it. (If it did
//!   not complete it, everything would still be right, but each publisher would fence and each
//!   sleeper call membarrier for ever after.)

mod processes;

use crate::explorer::{Model, Steps, breaks, explore, holds};
use crate::memory::Memory;

const FENCE: usize = 0;
const MESSAGES: usize = 1;
const ROOM: usize = 2;
const CELL_A: usize = 3;
const CELL_B: usize = 4;
const WORDS: usize = 5;

const MAX_PROCESSES: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    /// Wait, on the word `on`, for one of `cells` to hold `value`. `take`: competing with others,
    /// so swap it to 0.
    Await { on: usize, cells: &'static [usize], value: u8, take: bool },
    /// Store `value` in `cell`, wake who waits on `wakes`.
    Publish { cell: usize, value: u8, wakes: usize },
}

#[derive(Clone, Copy)]
struct Program {
    ops: &'static [Op],
    rounds: Rounds,
    /// Unknown to membarrier, and unable to call it: pins the fence word first.
    pins: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rounds {
    Times(u8),
    Forever,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// Neither side fences.
    NoFence,
    /// A sleeper that sees SETTING does as if it were SET.
    SettingTakenForSet,
    /// The sleeper does not look again between registering and sleeping.
    NoSecondLook,
    /// The publisher's two loads are reordered: the wait word before the fence word, as weaker
    /// architectures may.
    WaitWordFirst,
    /// The fence word goes through its states without an epoch.
    NoEpoch,
    /// The pinning member stores PINNED straight away.
    PinnedAtOnce,
    /// Deaths wake nobody.
    DeathsUnnoticed,
    /// Publishers wake nobody.
    WakeUpForgotten,
}

#[derive(Clone, Copy)]
struct Waiting {
    programs: &'static [Program],
    kills: u8,
    /// Whether a sleeper that sees SETTING completes it after its own membarrier.
    others_complete: bool,
    /// Whether a sleeper joins those who are registered already, instead of registering afresh each
    /// time.
    join: bool,
    planted: Planted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    // pinning
    Pin,
    Grace,
    // waiting: the cell to look at next
    Look(u8),
    Take(u8),
    Register,
    LoadFence,
    StoreSetting,
    Membarrier,
    StoreSet,
    LookAgain(u8),
    FutexWait,
    Asleep,
    // publishing
    Store,
    LoadFenceToo,
    Fence,
    LoadWaitWord,
    Reset,
    ClearAsleep,
    Wake,
    //
    Done,
    /// Killed; counts what is left of telling the others.
    Dead(u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Process {
    at: At,
    op: u8,
    rounds: u8,
    /// The fence word as loaded last.
    fence: FenceWord,
    /// The wait word as registered, or as loaded last.
    wait: WaitWord,
}

/// (epoch, state)
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct FenceWord(u8);

const NONE: u8 = 0;
const SETTING: u8 = 1;
const SET: u8 = 2;
const PINNED: u8 = 3;

impl FenceWord {
    fn state(self) -> u8 {
        self.0 & 3
    }
    fn with(self, state: u8) -> Self {
        FenceWord(self.0 & !3 | state)
    }
    fn next_epoch(self) -> Self {
        FenceWord((self.0 + 4) & 31)
    }
}

/// (sequence, asleep). The sequence is short, so that two sleepers that keep each other from
/// sleeping by registering afresh stay within finitely many states.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct WaitWord(u8);

impl WaitWord {
    fn is_asleep(self) -> bool {
        self.0 & 1 == 1
    }
    fn next(self, asleep: bool) -> Self {
        WaitWord(((self.0 & !1) + 2) & 15 | u8::from(asleep))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    memory: Memory<WORDS, MAX_PROCESSES>,
    processes: [Process; MAX_PROCESSES],
    kills: u8,
}

impl Waiting {
    /// What `process` waits for, if it sleeps.
    fn sleeps_for(&self, s: &State, p: usize) -> Option<(&'static [usize], u8)> {
        match (s.processes[p].at, self.programs[p].ops[usize::from(s.processes[p].op)]) {
            (At::Asleep, Op::Await { cells, value, .. }) => Some((cells, value)),
            _ => None,
        }
    }

    /// Asleep although what it waits for is there.
    fn overslept(&self, s: &State) -> Option<usize> {
        (0..self.programs.len()).find(|&p| match self.sleeps_for(s, p) {
            Some((cells, value)) => cells.iter().any(|&cell| s.memory.visible(cell) == value),
            None => false,
        })
    }

    /// Nobody will take another step.
    fn is_still(&self, s: &State) -> bool {
        (0..self.programs.len()).all(|p| {
            let still = matches!(s.processes[p].at, At::Asleep | At::Done | At::Dead(0));
            still && !s.memory.has_buffered(p)
        })
    }
}

impl Model for Waiting {
    type State = State;

    fn initial(&self) -> State {
        let idle = Process { at: At::Done, op: 0, rounds: 0, fence: FenceWord(0), wait: WaitWord(0) };
        let mut processes = [idle; MAX_PROCESSES];
        for (process, program) in processes.iter_mut().zip(self.programs) {
            process.at = if program.pins { At::Pin } else { processes::start(program.ops[0]) };
        }
        State { memory: Memory::zeroed(), processes, kills: self.kills }
    }

    fn processes(&self) -> usize {
        self.programs.len()
    }

    fn name(&self, p: usize) -> String {
        let waits = self.programs[p].ops.iter().any(|op| matches!(op, Op::Await { .. }));
        let publishes = self.programs[p].ops.iter().any(|op| matches!(op, Op::Publish { .. }));
        match (waits, publishes) {
            (true, true) => format!("peer {p}"),
            (true, false) => format!("sleeper {p}"),
            _ => format!("publisher {p}"),
        }
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        if s.memory.has_buffered(p) {
            let mut t = *s;
            t.memory.drain_one(p);
            out.add(|| "its oldest store reaches memory".into(), t);
        }
        self.pin(s, p, out);
        self.sleep(s, p, out);
        self.publish(s, p, out);
        self.tell_of_death(s, p, out);
    }

    fn kill(&self, s: &State, p: usize) -> Option<State> {
        if s.kills == 0 || matches!(s.processes[p].at, At::Done | At::Dead(_)) {
            return None;
        }
        let mut t = *s;
        t.kills -= 1;
        let left = if self.planted == Planted::DeathsUnnoticed { 0 } else { processes::TELLING };
        t.processes[p] =
            Process { at: At::Dead(left), op: 0, rounds: 0, fence: FenceWord(0), wait: WaitWord(0) };
        Some(t)
    }

    fn check(&self, s: &State) -> Result<(), String> {
        match self.overslept(s) {
            Some(p) if self.is_still(s) => {
                let fence = FenceWord(s.memory.visible(FENCE));
                Err(format!(
                    "lost wake-up of {} (fence word {}/{})",
                    self.name(p),
                    fence.0 >> 2,
                    fence.state()
                ))
            }
            _ => Ok(()),
        }
    }

    fn done(&self, s: &State) -> bool {
        self.is_still(s) && self.overslept(s).is_none()
    }
}

mod tests {
    use super::*;

    const fn take_any() -> Program {
        const OPS: &[Op] = &[Op::Await { on: MESSAGES, cells: &[CELL_A, CELL_B], value: 1, take: true }];
        Program { ops: OPS, rounds: Rounds::Forever, pins: false }
    }
    const fn publisher(ops: &'static [Op]) -> Program {
        Program { ops, rounds: Rounds::Times(1), pins: false }
    }
    const A: Op = Op::Publish { cell: CELL_A, value: 1, wakes: MESSAGES };
    const B: Op = Op::Publish { cell: CELL_B, value: 1, wakes: MESSAGES };

    /// One slot: a sender that waits for room, a receiver that waits for messages; each wakes the
    /// other.
    const SENDER: &[Op] = &[
        Op::Await { on: ROOM, cells: &[CELL_A], value: 0, take: false },
        Op::Publish { cell: CELL_A, value: 1, wakes: MESSAGES },
    ];
    const RECEIVER: &[Op] = &[
        Op::Await { on: MESSAGES, cells: &[CELL_A], value: 1, take: false },
        Op::Publish { cell: CELL_A, value: 0, wakes: ROOM },
    ];
    const fn rounds(ops: &'static [Op], n: u8, pins: bool) -> Program {
        Program { ops, rounds: Rounds::Times(n), pins }
    }

    const ONE_TO_ONE: &[Program] = &[take_any(), publisher(&[A, B])];
    const ONE_TO_TWO: &[Program] = &[take_any(), take_any(), publisher(&[A, B])];
    const TWO_TO_ONE: &[Program] = &[take_any(), publisher(&[A]), publisher(&[B])];
    const TWO_TO_TWO: &[Program] = &[take_any(), take_any(), publisher(&[A]), publisher(&[B])];
    /// One cell only, published over and over: fewer states for longer histories.
    const TAKE_A: Program = Program {
        ops: &[Op::Await { on: MESSAGES, cells: &[CELL_A], value: 1, take: true }],
        rounds: Rounds::Forever,
        pins: false,
    };
    const LONG_ONE_TO_TWO: &[Program] = &[TAKE_A, TAKE_A, publisher(&[A, A, A])];
    const LONG_TWO_TO_ONE: &[Program] = &[take_any(), publisher(&[A]), publisher(&[B, B])];
    const RING: &[Program] = &[rounds(SENDER, 3, false), rounds(RECEIVER, 3, false)];
    const PINNED_SENDER: &[Program] = &[rounds(SENDER, 2, true), rounds(RECEIVER, 2, false)];
    const PINNED_RECEIVER: &[Program] = &[rounds(SENDER, 2, false), rounds(RECEIVER, 2, true)];
    /// A third party pins while the two others are in the middle of it.
    const PINNED_BESIDE: &[Program] =
        &[take_any(), publisher(&[A]), Program { ops: &[B], rounds: Rounds::Times(1), pins: true }];

    fn sound(programs: &'static [Program], kills: u8) -> Waiting {
        Waiting { programs, kills, others_complete: true, join: true, planted: Planted::Nothing }
    }

    fn planted(programs: &'static [Program], kills: u8, planted: Planted) -> Waiting {
        Waiting { planted, ..sound(programs, kills) }
    }

    #[test]
    fn one_condition_holds() {
        holds("waiting, 1 sleeper, 1 publisher", &sound(ONE_TO_ONE, 2));
        holds("waiting, 2 sleepers, 1 publisher", &sound(ONE_TO_TWO, 1));
        holds("waiting, 1 sleeper, 2 publishers", &sound(TWO_TO_ONE, 1));
    }

    #[test]
    fn two_sleepers_and_two_publishers_hold() {
        holds("waiting, 2 sleepers, 2 publishers", &sound(TWO_TO_TWO, 0));
    }

    #[test]
    fn longer_histories_hold() {
        holds("waiting, 2 sleepers, long", &sound(LONG_ONE_TO_TWO, 1));
        holds("waiting, 2 publishers, long", &sound(LONG_TWO_TO_ONE, 1));
    }

    #[test]
    fn two_conditions_with_one_fence_word_hold() {
        holds("waiting, messages and room", &sound(RING, 1));
    }

    #[test]
    fn others_that_do_not_complete_hold_too() {
        for programs in [ONE_TO_TWO, RING] {
            holds("waiting, others only call", &Waiting { others_complete: false, ..sound(programs, 1) });
        }
    }

    #[test]
    fn registering_afresh_holds_too() {
        for programs in [ONE_TO_TWO, RING] {
            holds("waiting, registering afresh", &Waiting { join: false, ..sound(programs, 1) });
        }
    }

    #[test]
    fn a_member_without_membarrier_may_pin() {
        for programs in [PINNED_SENDER, PINNED_RECEIVER, PINNED_BESIDE] {
            holds("waiting, pinned", &sound(programs, 1));
        }
    }

    #[test]
    fn pinning_at_once_loses_a_wake_up() {
        breaks("pinned at once", &planted(PINNED_BESIDE, 0, Planted::PinnedAtOnce), "lost wake-up");
        breaks("pinned at once", &planted(PINNED_RECEIVER, 0, Planted::PinnedAtOnce), "lost wake-up");
    }

    #[test]
    fn without_fences_a_wake_up_is_lost() {
        breaks("no fence", &planted(ONE_TO_ONE, 0, Planted::NoFence), "lost wake-up");
    }

    #[test]
    fn setting_is_not_set() {
        breaks("SETTING taken for SET", &planted(ONE_TO_TWO, 1, Planted::SettingTakenForSet), "lost wake-up");
    }

    #[test]
    fn without_a_second_look_a_wake_up_is_lost() {
        breaks("no second look", &planted(ONE_TO_ONE, 0, Planted::NoSecondLook), "lost wake-up");
    }

    #[test]
    fn the_fence_word_comes_first() {
        breaks("wait word first", &planted(LONG_TWO_TO_ONE, 0, Planted::WaitWordFirst), "lost wake-up");
    }

    #[test]
    fn who_publishes_wakes() {
        breaks("wake-up forgotten", &planted(ONE_TO_ONE, 0, Planted::WakeUpForgotten), "lost wake-up");
    }

    #[test]
    fn a_death_must_be_told() {
        breaks("deaths unnoticed", &planted(ONE_TO_ONE, 1, Planted::DeathsUnnoticed), "lost wake-up");
    }

    /// The epoch is what lets others complete: a setter stopped before its last step must not
    /// complete another's SETTING. If only setters complete, nobody can come between, and the epoch
    /// is idle.
    #[test]
    fn completing_needs_the_epoch() {
        let without = planted(LONG_ONE_TO_TWO, 1, Planted::NoEpoch);
        breaks("no epoch, others complete", &without, "lost wake-up");
        let idle = Waiting { others_complete: false, ..without };
        assert!(explore(&idle).violation.is_none());
    }
}
