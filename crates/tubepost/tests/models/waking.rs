//! Waking one of many: receivers compete, and a message wakes the one that has slept longest.
//!
//! What `waiting` shows is taken for granted here: publishers fence, and sleepers look again after they
//! said that they sleep. So memory is in order. What is left is whom to wake.
//!
//! ```text
//! wait word   (sequence, asleep)
//! queue       of those who sleep on the word, in the kernel: first in, first out
//! ```
//!
//! *Publisher.* Claim a position, publish it, look at the wait word. Nobody asleep: done. Else wake one
//! of the kernel's queue; if there was one, that's all, and the word stays asleep. If there was none,
//! CAS (s, asleep) → (s + 1, none) and wake all. If the CAS fails: the same with the word as it is now.
//!
//! *Receiver.* Take the first position that nobody took, if it is published. Nothing there: register,
//! by CAS of the word to (s + 1, asleep), or by joining who is registered in it; look again at that
//! position; sleep on exactly the value registered. Whoever wakes, for whatever reason, looks again
//! before it registers again or leaves.
//!
//! *Passing it on.* Positions are published in any order, and taken in theirs. Who is woken for p + 1 finds
//! p missing and sleeps again; the wake for p then brings one receiver, and two messages are there.
//! So whoever took position p looks at the wait word; if somebody sleeps, and p + 1 is published, it
//! wakes as a publisher does.
//!
//! # Invariants
//! 1. Who is in the kernel's queue sleeps on the word as it is, or somebody is about to wake all.
//! 2. While the next message is there and somebody sleeps, a receiver is awake that has not
//!    looked yet, or somebody is about to wake one.
//!
//! # What if it dies here?
//! Whoever was woken, or was to wake another, may die or be stopped; a sleeper that is stopped
//! is woken in vain. Then the message waits until another receiver looks by itself: nobody sleeps
//! longer than a slice. Without a death or a stop that must never be needed: here nobody's slice
//! ends before one has happened.

use crate::explorer::{Model, Steps, breaks, holds, long_runs};

const MAX_PROCESSES: usize = 6;
const POSITIONS: usize = 4;
const NOBODY: u8 = 9;

#[derive(Clone, Copy)]
enum Role {
    /// Publishes so many.
    Publisher(u8),
    /// Receives so many, waiting for ever.
    Receiver(u8),
    /// The same; it may leave when its deadline has passed.
    Leaver(u8),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// Who took a message wakes nobody.
    NotPassedOn,
    /// It looks for sleepers and the next message before it takes.
    PassedOnTooEarly,
    /// Who woke one says that nobody sleeps.
    OneForAll,
    /// Who found nobody in the queue leaves it at that.
    NotCleared,
    /// … or changes the word, and wakes nobody.
    ClearedOnly,
    /// Who is woken past its deadline leaves without another look.
    LeavesWithoutLook,
}

struct Waking {
    roles: &'static [Role],
    kills: u8,
    /// A receiver is not killed but stopped for good, in the kernel's queue if it sleeps.
    stops: bool,
    planted: Planted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Slot {
    Unclaimed,
    Claimed(u8),
    Full,
    Taken,
    Skipped,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    Claim,
    Publish,
    // waking, for publishers and for those who pass it on
    LoadWord,
    WakeOne,
    Clear,
    WakeAll,
    // receiving
    Take,
    LookForSleepers,
    LookAtNext,
    Register,
    LookAgain,
    LookAtClaimant,
    FutexWait,
    Asleep,
    /// Not in the kernel's queue any more; `late`: its deadline has passed.
    Awake {
        late: bool,
    },
    Done,
    Dead,
    Stopped,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Process {
    at: At,
    /// How many it published or received.
    count: u8,
    /// A publisher's position; the next one to take.
    position: u8,
    /// The wait word is still the one that was registered or loaded. (It never comes again, so that
    /// is all there is to its sequence.)
    fresh: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    slots: [Slot; POSITIONS],
    asleep: bool,
    queue: [u8; MAX_PROCESSES],
    processes: [Process; MAX_PROCESSES],
    kills: u8,
}

const GONE: Process = Process { at: At::Dead, count: 0, position: 0, fresh: false };

impl State {
    /// Swaps in a wait word that was never there before.
    fn say(&mut self, asleep: bool) {
        self.asleep = asleep;
        for process in &mut self.processes {
            process.fresh = false;
        }
    }

    fn enqueue(&mut self, p: usize) {
        let end = self.queue.iter().position(|q| *q == NOBODY).expect("room for all");
        self.queue[end] = p as u8;
    }

    fn dequeue(&mut self, p: usize) {
        if let Some(at) = self.queue.iter().position(|q| usize::from(*q) == p) {
            self.queue[at..].rotate_left(1);
            self.queue[MAX_PROCESSES - 1] = NOBODY;
        }
    }

    /// Takes the first one out of the kernel's queue.
    fn wake_one(&mut self) -> bool {
        let first = usize::from(self.queue[0]);
        if self.queue[0] == NOBODY {
            return false;
        }
        self.dequeue(first);
        if self.processes[first].at == At::Asleep {
            self.processes[first].at = At::Awake { late: false };
        }
        true
    }

    /// The first position that nobody took or skipped.
    fn untaken(&self) -> usize {
        let over = |slot: &Slot| matches!(slot, Slot::Taken | Slot::Skipped);
        self.slots.iter().position(|slot| !over(slot)).unwrap_or(POSITIONS)
    }

    fn slot(&self, position: usize) -> Slot {
        self.slots.get(position).copied().unwrap_or(Slot::Unclaimed)
    }

    fn is_published(&self, position: usize) -> bool {
        !matches!(self.slot(position), Slot::Unclaimed | Slot::Claimed(_))
    }
}

impl Waking {
    fn wants(&self, p: usize) -> u8 {
        match self.roles[p] {
            Role::Publisher(n) | Role::Receiver(n) | Role::Leaver(n) => n,
        }
    }

    fn is_publisher(&self, p: usize) -> bool {
        matches!(self.roles[p], Role::Publisher(_))
    }

    /// On with the next message, if there is to be another.
    fn next(&self, p: usize, me: Process) -> Process {
        let first = if self.is_publisher(p) { At::Claim } else { At::Take };
        let at = if me.count == self.wants(p) { At::Done } else { first };
        let position = if self.is_publisher(p) || at == At::Done { 0 } else { me.position };
        Process { at, position, fresh: false, ..me }
    }

    fn publish(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let mut t = *s;
        match me.at {
            At::Claim => {
                let position = s.slots.iter().position(|slot| *slot == Slot::Unclaimed).expect("enough");
                t.slots[position] = Slot::Claimed(p as u8);
                (t.processes[p].at, t.processes[p].position) = (At::Publish, position as u8);
                out.add(|| format!("claims {position}"), t);
            }
            At::Publish => {
                t.slots[usize::from(me.position)] = Slot::Full;
                t.processes[p] = Process { at: At::LoadWord, count: me.count + 1, ..me };
                out.add(|| format!("publishes {}", me.position), t);
            }
            _ => {}
        }
    }

    fn wake(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let mut t = *s;
        match me.at {
            At::LoadWord => {
                let woken = Process { at: At::WakeOne, fresh: true, ..me };
                t.processes[p] = if s.asleep { woken } else { self.next(p, me) };
                out.add(|| format!("loads the wait word: asleep = {}", s.asleep), t);
            }
            At::WakeOne => {
                let woken = t.wake_one();
                let me = t.processes[p];
                if woken && self.planted == Planted::OneForAll && me.fresh {
                    t.say(false);
                }
                t.processes[p] = match woken || self.planted == Planted::NotCleared {
                    true => self.next(p, me),
                    false => Process { at: At::Clear, ..me },
                };
                out.add(|| format!("wakes one, if one sleeps: {woken}"), t);
            }
            At::Clear => {
                let cleared = me.fresh;
                t.processes[p] = match cleared {
                    true if self.planted == Planted::ClearedOnly => self.next(p, me),
                    true => Process { at: At::WakeAll, ..me },
                    false => Process { at: At::LoadWord, ..me },
                };
                if cleared {
                    t.say(false);
                }
                out.add(|| format!("says that nobody sleeps: {cleared}"), t);
            }
            At::WakeAll => {
                while t.wake_one() {}
                t.processes[p] = self.next(p, me);
                out.add(|| "wakes all".into(), t);
            }
            _ => {}
        }
    }

    fn receive(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let mut t = *s;
        match me.at {
            At::Take => {
                let position = s.untaken();
                t.processes[p].position = position as u8;
                t.processes[p].at = At::Register;
                let there = s.slot(position) == Slot::Full;
                if there {
                    t.slots[position] = Slot::Taken;
                    t.processes[p].count += 1;
                    t.processes[p].at = At::LookForSleepers;
                    if self.planted == Planted::NotPassedOn {
                        t.processes[p] = self.next(p, t.processes[p]);
                    } else if self.planted == Planted::PassedOnTooEarly {
                        // As it looked when it was about to take the one before.
                        let pass = s.asleep && position > 0 && s.is_published(position);
                        t.processes[p].at = if pass { At::LoadWord } else { At::Done };
                        t.processes[p] = if pass { t.processes[p] } else { self.next(p, t.processes[p]) };
                    }
                }
                out.add(|| format!("takes {position} if it is there: {there}"), t);
            }
            At::LookForSleepers => {
                let asleep = s.asleep;
                t.processes[p] = if asleep { Process { at: At::LookAtNext, ..me } } else { self.next(p, me) };
                out.add(|| format!("looks whether somebody sleeps: {asleep}"), t);
            }
            At::LookAtNext => {
                let there = s.is_published(usize::from(me.position) + 1);
                t.processes[p] = if there { Process { at: At::LoadWord, ..me } } else { self.next(p, me) };
                out.add(|| format!("looks at {}: published = {there}", me.position + 1), t);
            }
            At::Register => {
                if !s.asleep {
                    t.say(true);
                }
                (t.processes[p].at, t.processes[p].fresh) = (At::LookAgain, true);
                out.add(|| format!("registers, as the first = {}", !s.asleep), t);
            }
            At::LookAgain => {
                let there = s.is_published(usize::from(me.position));
                t.processes[p].at = if there { At::Take } else { At::LookAtClaimant };
                t.processes[p].fresh &= !there;
                out.add(|| format!("looks again at {}: published = {there}", me.position), t);
            }
            At::LookAtClaimant => {
                t.processes[p].at = At::FutexWait;
                if let Slot::Claimed(who) = s.slot(usize::from(me.position))
                    && s.processes[usize::from(who)].at == At::Dead
                {
                    t.slots[usize::from(me.position)] = Slot::Skipped;
                    (t.processes[p].at, t.processes[p].fresh) = (At::Take, false);
                }
                out.add(|| format!("looks at who claimed {}", me.position), t);
            }
            At::FutexWait => {
                let sleeps = me.fresh;
                t.processes[p].fresh = false;
                t.processes[p].at = if sleeps { At::Asleep } else { At::Awake { late: false } };
                if sleeps {
                    t.enqueue(p);
                }
                out.add(|| format!("futex_wait: sleeps = {sleeps}"), t);
            }
            At::Awake { late } => {
                let there = s.is_published(usize::from(me.position));
                let leaves = late && self.planted == Planted::LeavesWithoutLook;
                t.processes[p].at = match there && !leaves {
                    true => At::Take,
                    false if late => At::Done,
                    false => At::Register,
                };
                if t.processes[p].at == At::Done {
                    t.processes[p] = Process { at: At::Done, ..GONE };
                }
                out.add(|| format!("awake, looks at {}: published = {there}", me.position), t);
            }
            _ => {}
        }
    }

    /// Deadlines, and slices once somebody died or was stopped.
    fn time_out(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let leaver = matches!(self.roles[p], Role::Leaver(_));
        let mut t = *s;
        match s.processes[p].at {
            At::Asleep if leaver || s.kills < self.kills => {
                t.dequeue(p);
                t.processes[p].at = At::Awake { late: leaver };
                out.add(|| "wakes by itself: it is time".into(), t);
            }
            // Woken, and its deadline has passed meanwhile.
            At::Awake { late: false } if leaver => {
                t.processes[p].at = At::Awake { late: true };
                out.add(|| "its deadline passes".into(), t);
            }
            _ => {}
        }
    }

    fn is_still(&self, s: &State) -> bool {
        let still = |p: &Process| matches!(p.at, At::Asleep | At::Done | At::Dead | At::Stopped);
        s.processes[..self.roles.len()].iter().all(still)
    }

    fn overslept(&self, s: &State) -> bool {
        let sleeps = s.processes[..self.roles.len()].iter().any(|p| p.at == At::Asleep);
        sleeps && s.slot(s.untaken()) == Slot::Full
    }
}

impl Model for Waking {
    type State = State;

    fn initial(&self) -> State {
        let mut processes = [GONE; MAX_PROCESSES];
        for (p, process) in processes.iter_mut().enumerate().take(self.roles.len()) {
            process.at = if self.is_publisher(p) { At::Claim } else { At::Take };
        }
        State {
            slots: [Slot::Unclaimed; POSITIONS],
            asleep: false,
            queue: [NOBODY; MAX_PROCESSES],
            processes,
            kills: self.kills,
        }
    }

    fn processes(&self) -> usize {
        self.roles.len()
    }

    fn name(&self, p: usize) -> String {
        match self.roles[p] {
            Role::Publisher(_) => format!("publisher {p}"),
            Role::Receiver(_) => format!("receiver {p}"),
            Role::Leaver(_) => format!("leaver {p}"),
        }
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        self.publish(s, p, out);
        self.wake(s, p, out);
        self.receive(s, p, out);
        self.time_out(s, p, out);
    }

    fn kill(&self, s: &State, p: usize) -> Option<State> {
        let me = s.processes[p];
        if s.kills == 0 || matches!(me.at, At::Done | At::Dead | At::Stopped) {
            return None;
        }
        let mut t = *s;
        t.kills -= 1;
        t.processes[p] = GONE;
        if self.stops && !self.is_publisher(p) {
            t.processes[p].at = At::Stopped;
        } else {
            t.dequeue(p);
        }
        Some(t)
    }

    fn check(&self, s: &State) -> Result<(), String> {
        // After a death, slices end: then nobody who sleeps is still.
        if s.kills == self.kills && self.is_still(s) && self.overslept(s) {
            return Err(format!("lost wake-up: {} is there, and {:?} sleep", s.untaken(), s.queue));
        }
        let on_queue = |p: &u8| *p == NOBODY || s.processes[usize::from(*p)].at != At::Done;
        if s.queue.iter().all(on_queue) { Ok(()) } else { Err("somebody sleeps and is gone".into()) }
    }

    fn done(&self, s: &State) -> bool {
        self.is_still(s) && !self.overslept(s)
    }
}

mod tests {
    use super::Role::{Leaver, Publisher, Receiver};
    use super::*;

    const TWO: &[Role] = &[Publisher(1), Publisher(1), Receiver(1), Receiver(1)];
    const STAY: &[Role] = &[Publisher(1), Publisher(1), Receiver(2), Receiver(2)];
    const IN_A_ROW: &[Role] = &[Publisher(3), Receiver(1), Receiver(1), Receiver(1)];
    const THREE: &[Role] = &[Publisher(1), Publisher(1), Receiver(1), Receiver(1), Receiver(1)];
    const LEAVING: &[Role] = &[Publisher(1), Publisher(1), Receiver(1), Receiver(1), Leaver(1)];
    const TWO_LEAVING: &[Role] = &[Publisher(1), Publisher(1), Receiver(2), Leaver(1), Leaver(1)];
    /// For long runs.
    const THREE_MESSAGES: &[Role] = &[Publisher(1), Publisher(2), Receiver(1), Receiver(1), Receiver(1)];

    fn sound(roles: &'static [Role], kills: u8) -> Waking {
        Waking { roles, kills, stops: false, planted: Planted::Nothing }
    }

    fn planted(roles: &'static [Role], planted: Planted) -> Waking {
        Waking { planted, ..sound(roles, 0) }
    }

    #[test]
    fn two_receivers_hold() {
        for roles in [TWO, STAY, IN_A_ROW] {
            holds("waking", &sound(roles, 0));
            holds("waking, deaths", &sound(roles, 1));
        }
    }

    #[test]
    fn three_receivers_hold() {
        holds("waking, three receivers", &sound(THREE, 0));
    }

    #[test]
    fn deadlines_hold() {
        holds("waking, one leaves", &sound(LEAVING, 0));
    }

    #[test]
    fn who_is_stopped_takes_a_wake_with_it() {
        for roles in [TWO, STAY] {
            holds("waking, stopped", &Waking { stops: true, ..sound(roles, 1) });
        }
    }

    #[test]
    fn larger_bounds_hold() {
        if long_runs() {
            holds("waking, two leave", &sound(TWO_LEAVING, 0));
            holds("waking, three messages", &sound(THREE_MESSAGES, 0));
            holds("waking, one leaves, a death", &sound(LEAVING, 1));
            holds("waking, three receivers, a death", &sound(THREE, 1));
            holds("waking, three receivers, one stopped", &Waking { stops: true, ..sound(THREE, 1) });
        }
    }

    #[test]
    fn who_takes_passes_it_on() {
        breaks("not passed on", &planted(TWO, Planted::NotPassedOn), "lost wake-up");
    }

    #[test]
    fn passing_it_on_comes_after_the_take() {
        breaks("passed on too early", &planted(TWO, Planted::PassedOnTooEarly), "lost wake-up");
    }

    #[test]
    fn who_woke_one_does_not_speak_for_the_others() {
        breaks("one for all", &planted(TWO, Planted::OneForAll), "lost wake-up");
    }

    #[test]
    fn who_finds_nobody_clears_the_word_and_wakes_all() {
        breaks("not cleared", &planted(TWO, Planted::NotCleared), "lost wake-up");
        breaks("cleared only", &planted(TWO, Planted::ClearedOnly), "lost wake-up");
    }

    #[test]
    fn who_is_woken_looks_before_it_leaves() {
        let model = planted(&[Publisher(1), Receiver(1), Leaver(1)], Planted::LeavesWithoutLook);
        breaks("leaves without a look", &model, "lost wake-up");
    }
}
