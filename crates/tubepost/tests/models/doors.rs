//! Waking those who wait for a descriptor, beside those who sleep on the word.
//!
//! What `waiting` shows is taken for granted: publishers fence, so memory is in order. The words:
//!
//! ```text
//! wait word   (sequence, asleep)
//! doors       (sequence, some may be armed)
//! door        of each who waits: (sequence, armed)
//! ```
//!
//! *Who waits.* Take a message if there is one. Else arm the door; then set `doors`; then register at the wait word, as a
//! sleeper does; look again; wait to be rung. Whoever is rung does all of it again. Who gives up takes the arming
//! back, and whatever it was rung for.
//!
//! *Publisher.* Publish; look at the wait word. Nobody asleep: done. Wake one of the kernel's queue; if there was none, CAS the word to
//! "nobody". Then look at `doors`, if some are armed: walk all, CAS each that is armed to "not", and ring it; at last CAS `doors` to
//! "none" from what it was before the walk. And wake all in the queue, if the word was cleared.
//!
//! (It rings also where it woke one of the queue. That is for justice, or those at doors would wait as long as anybody
//! sleeps; nothing would be lost.)
//!
//! A sequence grows with each arming, and with each change of the wait word: a word that was changed never comes again. So
//! all there is to it is who has read it since.
//!
//! # Invariant
//! While a message is there and somebody waits, a publisher is at work, or somebody is awake.
//!
//! # What if it dies here?
//! Who waits: its door is rung once in vain. A publisher: whoever it would have rung looks again once a slice, and arms
//! anew. Without a death that must never be needed: here nobody's slice ends before one has happened.

use crate::explorer::{Model, Steps, breaks, holds, long_runs};

const MOST: usize = 5;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Publishes so many.
    Publisher(u8),
    /// Takes so many, and waits at a door.
    Task(u8),
    /// The same, but it may give up while it waits.
    Dropped(u8),
    /// Takes so many, and sleeps on the word.
    Sleeper(u8),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// Who waits registers before its door is armed.
    RegistersFirst,
    /// It sets `doors` before its door is armed.
    DoorsFirst,
    /// It does not look again.
    NoSecondLook,
    /// A publisher says "none" by a store.
    NoneByStore,
    /// It rings before it clears the word.
    RingsFirst,
    /// It takes the arming away, and rings the next one for it.
    RingsOne,
}

struct Doors {
    roles: &'static [Role],
    kills: u8,
    planted: Planted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    Publish,
    LoadWord,
    WakeOne,
    Clear,
    LoadDoors,
    /// Looks at the door of this one.
    LoadDoor(u8),
    TakeDoor(u8),
    Ring(u8),
    NoneLeft,
    WakeAll,
    // who waits
    Take,
    ArmDoor,
    SetDoors,
    Register,
    LookAgain,
    Waits,
    FutexWait,
    Asleep,
    Done,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Process {
    at: At,
    left: u8,
    /// The words are as they were when this one read them.
    word: bool,
    doors: bool,
    door: bool,
    /// A publisher has cleared the word.
    cleared: bool,
    /// What can be read from the descriptor.
    rung: bool,
    armed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    messages: u8,
    asleep: bool,
    some: bool,
    processes: [Process; MOST],
    kills: u8,
}

const GONE: Process = Process {
    at: At::Dead,
    left: 0,
    word: false,
    doors: false,
    door: false,
    cleared: false,
    rung: false,
    armed: false,
};

impl State {
    fn say_asleep(&mut self, asleep: bool) {
        self.asleep = asleep;
        self.processes.iter_mut().for_each(|process| process.word = false);
    }

    fn say_some(&mut self, some: bool) {
        self.some = some;
        self.processes.iter_mut().for_each(|process| process.doors = false);
    }

    /// Changes a door; whoever is about to take it has read another one.
    fn arm(&mut self, p: usize, armed: bool) {
        self.processes[p].armed = armed;
        for process in &mut self.processes {
            process.door &= process.at != At::TakeDoor(p as u8);
        }
    }

    fn wake_one(&mut self) -> bool {
        let sleeper = self.processes.iter_mut().find(|process| process.at == At::Asleep);
        sleeper.map(|process| process.at = At::Take).is_some()
    }
}

impl Doors {
    fn is_publisher(&self, p: usize) -> bool {
        matches!(self.roles[p], Role::Publisher(_))
    }

    fn waits_at_door(&self, p: usize) -> bool {
        matches!(self.roles[p], Role::Task(_) | Role::Dropped(_))
    }

    /// The next one at a door, from this one on.
    fn next_door(&self, from: u8) -> At {
        let door = (usize::from(from)..self.roles.len()).find(|p| self.waits_at_door(*p));
        door.map_or(At::NoneLeft, |p| At::LoadDoor(p as u8))
    }

    fn next_message(&self, me: Process) -> Process {
        let at = if me.left == 0 { At::Done } else { At::Publish };
        Process { at, word: false, doors: false, door: false, cleared: false, ..me }
    }

    fn after_the_doors(&self, me: Process) -> Process {
        match self.planted {
            Planted::RingsFirst if !me.cleared => Process { at: At::Clear, ..me },
            _ if me.cleared => Process { at: At::WakeAll, ..me },
            _ => self.next_message(me),
        }
    }

    fn publish(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let mut t = *s;
        let to = |t: &mut State, at: At| t.processes[p].at = at;
        match me.at {
            At::Publish => {
                t.messages += 1;
                t.processes[p].left -= 1;
                to(&mut t, At::LoadWord);
                out.add(|| "publishes".into(), t);
            }
            At::LoadWord => {
                t.processes[p].word = true;
                let first = if self.planted == Planted::RingsFirst { At::LoadDoors } else { At::WakeOne };
                to(&mut t, first);
                if !s.asleep {
                    // A word that was cleared by another is his to ring for.
                    t.processes[p] = self.next_message(me);
                }
                out.add(|| format!("loads the wait word: asleep = {}", s.asleep), t);
            }
            At::WakeOne => {
                let woken = t.wake_one();
                to(&mut t, if woken { At::LoadDoors } else { At::Clear });
                out.add(|| format!("wakes one, if one sleeps: {woken}"), t);
            }
            At::Clear => {
                if me.word {
                    t.say_asleep(false);
                    t.processes[p].cleared = true;
                    let rung = self.planted == Planted::RingsFirst;
                    to(&mut t, if rung { At::WakeAll } else { At::LoadDoors });
                } else {
                    to(&mut t, At::LoadWord);
                }
                out.add(|| format!("says that nobody sleeps: {}", me.word), t);
            }
            At::LoadDoors => {
                t.processes[p].doors = true;
                t.processes[p] = match s.some {
                    true => Process { at: self.next_door(0), ..t.processes[p] },
                    false => self.after_the_doors(t.processes[p]),
                };
                out.add(|| format!("loads doors: some = {}", s.some), t);
            }
            At::LoadDoor(q) => {
                let armed = s.processes[usize::from(q)].armed;
                t.processes[p].door = true;
                to(&mut t, if armed { At::TakeDoor(q) } else { self.next_door(q + 1) });
                out.add(|| format!("loads the door of {q}: armed = {armed}"), t);
            }
            At::TakeDoor(q) => {
                if me.door {
                    t.arm(usize::from(q), false);
                }
                to(&mut t, if me.door { At::Ring(q) } else { At::LoadDoor(q) });
                out.add(|| format!("takes the door of {q}: {}", me.door), t);
            }
            At::Ring(q) => {
                t.processes[usize::from(q)].rung = true;
                let next =
                    if self.planted == Planted::RingsOne { At::NoneLeft } else { self.next_door(q + 1) };
                to(&mut t, next);
                out.add(|| format!("rings {q}"), t);
            }
            At::NoneLeft => {
                if me.doors || self.planted == Planted::NoneByStore {
                    t.say_some(false);
                }
                t.processes[p] = self.after_the_doors(t.processes[p]);
                out.add(|| format!("says that none is armed: {}", me.doors), t);
            }
            At::WakeAll => {
                while t.wake_one() {}
                t.processes[p] = self.next_message(t.processes[p]);
                out.add(|| "wakes all".into(), t);
            }
            _ => {}
        }
    }

    /// What comes after a step of one who waits.
    fn then(&self, p: usize, at: At) -> At {
        match (at, self.planted) {
            (At::Take, _) if !self.waits_at_door(p) => At::Register,
            (At::Take, Planted::RegistersFirst) => At::Register,
            (At::Take, Planted::DoorsFirst) => At::SetDoors,
            (At::Take, _) => At::ArmDoor,
            (At::ArmDoor, Planted::DoorsFirst) => At::Register,
            (At::ArmDoor, _) => At::SetDoors,
            (At::SetDoors, Planted::RegistersFirst) => At::LookAgain,
            (At::SetDoors, Planted::DoorsFirst) => At::ArmDoor,
            (At::SetDoors, _) => At::Register,
            (At::Register, Planted::RegistersFirst) if self.waits_at_door(p) => At::ArmDoor,
            (At::Register, Planted::NoSecondLook) => self.waiting(p),
            (At::Register, _) => At::LookAgain,
            (_, _) => self.waiting(p),
        }
    }

    fn waiting(&self, p: usize) -> At {
        if self.waits_at_door(p) { At::Waits } else { At::FutexWait }
    }

    fn wait(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let mut t = *s;
        t.processes[p].at = self.then(p, me.at);
        match me.at {
            At::Take => {
                if s.messages > 0 {
                    t.messages -= 1;
                    t.processes[p].left -= 1;
                    t.processes[p].at = if me.left == 1 { At::Done } else { At::Take };
                }
                out.add(|| format!("takes a message of {}", s.messages), t);
            }
            At::ArmDoor => {
                t.arm(p, true);
                out.add(|| "arms its door".into(), t);
            }
            At::SetDoors => {
                t.say_some(true);
                out.add(|| "says that some are armed".into(), t);
            }
            At::Register => {
                if !s.asleep {
                    t.say_asleep(true);
                }
                t.processes[p].word = true;
                out.add(|| format!("registers, as the first = {}", !s.asleep), t);
            }
            At::LookAgain => {
                if s.messages > 0 {
                    t.processes[p].at = At::Take;
                }
                out.add(|| format!("looks again: {} are there", s.messages), t);
            }
            At::FutexWait => {
                t.processes[p].at = if me.word { At::Asleep } else { At::Take };
                out.add(|| format!("futex_wait: sleeps = {}", me.word), t);
            }
            At::Waits => {
                if me.rung {
                    t.processes[p] = Process { at: At::Take, rung: false, ..me };
                    out.add(|| "is rung".into(), t);
                } else if s.kills < self.kills {
                    t.processes[p].at = At::Take;
                    out.add(|| "looks again by itself: it is time".into(), t);
                }
                if matches!(self.roles[p], Role::Dropped(_)) {
                    t = *s;
                    t.arm(p, false);
                    t.processes[p] = Process { at: At::Done, ..GONE };
                    out.add(|| "gives up".into(), t);
                }
            }
            At::Asleep if s.kills < self.kills => {
                t.processes[p].at = At::Take;
                out.add(|| "wakes by itself: it is time".into(), t);
            }
            _ => {}
        }
    }

    fn is_still(&self, s: &State) -> bool {
        s.processes[..self.roles.len()].iter().all(|process| match process.at {
            At::Waits => !process.rung,
            At::Asleep | At::Done | At::Dead => true,
            _ => false,
        })
    }

    fn overslept(&self, s: &State) -> bool {
        let waits = |process: &Process| matches!(process.at, At::Waits | At::Asleep);
        s.messages > 0 && s.processes.iter().any(waits)
    }
}

impl Model for Doors {
    type State = State;

    fn initial(&self) -> State {
        let mut processes = [GONE; MOST];
        for (process, role) in processes.iter_mut().zip(self.roles) {
            *process = match *role {
                Role::Publisher(left) => Process { at: At::Publish, left, ..GONE },
                Role::Task(left) | Role::Dropped(left) | Role::Sleeper(left) => {
                    Process { at: At::Take, left, ..GONE }
                }
            };
        }
        State { messages: 0, asleep: false, some: false, processes, kills: self.kills }
    }

    fn processes(&self) -> usize {
        self.roles.len()
    }

    fn name(&self, p: usize) -> String {
        match self.roles[p] {
            Role::Publisher(_) => format!("publisher {p}"),
            Role::Task(_) => format!("task {p}"),
            Role::Dropped(_) => format!("task {p}, which may give up,"),
            Role::Sleeper(_) => format!("sleeper {p}"),
        }
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        if self.is_publisher(p) {
            self.publish(s, p, out);
        } else {
            self.wait(s, p, out);
        }
    }

    fn kill(&self, s: &State, p: usize) -> Option<State> {
        let me = s.processes[p];
        if s.kills == 0 || matches!(me.at, At::Done | At::Dead) {
            return None;
        }
        let mut t = *s;
        t.kills -= 1;
        t.processes[p] = Process { armed: me.armed, ..GONE }; // as it was
        Some(t)
    }

    fn check(&self, s: &State) -> Result<(), String> {
        // After a death, slices end: then nobody who waits is still.
        if s.kills == self.kills && self.is_still(s) && self.overslept(s) {
            return Err(format!("lost wake-up: {} are there", s.messages));
        }
        Ok(())
    }

    fn done(&self, s: &State) -> bool {
        self.is_still(s) && !self.overslept(s)
    }
}

mod tests {
    use super::Role::{Dropped, Publisher, Sleeper, Task};
    use super::*;

    const ONE: &[Role] = &[Publisher(2), Task(2)];
    const TWO: &[Role] = &[Publisher(1), Publisher(1), Task(1), Task(1)];
    const STAY: &[Role] = &[Publisher(2), Publisher(1), Task(3)];
    const MIXED: &[Role] = &[Publisher(1), Publisher(1), Task(1), Sleeper(1)];
    const GIVES_UP: &[Role] = &[Publisher(1), Publisher(1), Task(2), Dropped(1)];
    const LARGE: &[Role] = &[Publisher(2), Publisher(1), Task(1), Task(1), Sleeper(1)];

    fn sound(roles: &'static [Role], kills: u8) -> Doors {
        Doors { roles, kills, planted: Planted::Nothing }
    }

    fn planted(roles: &'static [Role], planted: Planted) -> Doors {
        Doors { planted, ..sound(roles, 0) }
    }

    #[test]
    fn doors_hold() {
        for roles in [ONE, TWO, STAY, MIXED, GIVES_UP] {
            holds("doors", &sound(roles, 0));
        }
    }

    #[test]
    fn doors_hold_whoever_dies() {
        for roles in [ONE, TWO, STAY, MIXED, GIVES_UP] {
            holds("doors, a death", &sound(roles, 1));
        }
    }

    #[test]
    fn larger_bounds_hold() {
        if long_runs() {
            holds("doors, two tasks and a sleeper", &sound(LARGE, 0));
            holds("doors, two deaths", &sound(TWO, 2));
        }
    }

    #[test]
    fn a_door_is_armed_before_its_owner_registers() {
        breaks("registers first", &planted(TWO, Planted::RegistersFirst), "lost wake-up");
    }

    #[test]
    fn a_door_is_armed_before_doors_says_so() {
        breaks("doors first", &planted(STAY, Planted::DoorsFirst), "lost wake-up");
    }

    #[test]
    fn who_waits_looks_again() {
        breaks("no second look", &planted(ONE, Planted::NoSecondLook), "lost wake-up");
    }

    #[test]
    fn none_is_said_of_what_was_seen() {
        breaks("none by a store", &planted(TWO, Planted::NoneByStore), "lost wake-up");
    }

    #[test]
    fn the_word_is_cleared_before_doors_are_rung() {
        breaks("rings first", &planted(STAY, Planted::RingsFirst), "lost wake-up");
    }

    #[test]
    fn all_doors_are_rung() {
        breaks("rings one", &planted(TWO, Planted::RingsOne), "lost wake-up");
    }
}
