//! What each role does, one step at a time: pin, sleep, publish, and what follows a death.

use super::{
    At, FENCE, FenceWord, MESSAGES, NONE, Op, PINNED, Planted, ROOM, Rounds, SET, SETTING, State, WaitWord,
    Waiting,
};
use crate::explorer::Steps;

/// Steps to tell of a death: bump and wake, for each wait word.
pub(super) const TELLING: u8 = 4;

/// Where an operation begins.
pub(super) fn start(op: Op) -> At {
    match op {
        Op::Await { .. } => At::Look(0),
        Op::Publish { .. } => At::Store,
    }
}

impl Waiting {
    fn op(&self, s: &State, p: usize) -> Op {
        self.programs[p].ops[usize::from(s.processes[p].op)]
    }

    fn finish_op(&self, s: &mut State, p: usize) {
        let program = &self.programs[p];
        let me = &mut s.processes[p];
        (me.fence, me.wait) = (FenceWord(0), WaitWord(0));
        me.op += 1;
        if usize::from(me.op) == program.ops.len() {
            me.op = 0;
            if let Rounds::Times(n) = program.rounds {
                me.rounds += 1;
                if me.rounds == n {
                    me.at = At::Done;
                    return;
                }
            }
        }
        me.at = start(program.ops[usize::from(me.op)]);
    }

    /// Membarrier reaches those who registered for it.
    fn membarrier(&self, s: &mut State) {
        for (p, program) in self.programs.iter().enumerate() {
            if !program.pins {
                s.memory.fence(p);
            }
        }
    }

    fn swap_fence(&self, s: &mut State, p: usize, old: FenceWord, new: FenceWord) -> bool {
        s.memory.compare_and_swap(p, FENCE, old.0, new.0)
    }

    fn wake_all(&self, s: &mut State, word: usize) {
        for p in 0..self.programs.len() {
            let sleeps_here = matches!(self.op(s, p), Op::Await { on, .. } if on == word);
            if s.processes[p].at == At::Asleep && sleeps_here {
                s.processes[p].at = At::Look(0);
            }
        }
    }

    pub(super) fn pin(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let mut t = *s;
        match me.at {
            At::Pin => {
                let word = FenceWord(t.memory.load(p, FENCE));
                let at_once = self.planted == Planted::PinnedAtOnce;
                let next = match word.state() {
                    SET | PINNED => word.with(PINNED),
                    _ if at_once => word.with(PINNED),
                    _ => word.with(SETTING),
                };
                self.swap_fence(&mut t, p, word, next);
                if next.state() == PINNED {
                    t.processes[p].at = start(self.op(s, p));
                } else {
                    (t.processes[p].at, t.processes[p].fence) = (At::Grace, next);
                }
                out.add(|| format!("pins: {word:?} -> {next:?}"), t);
            }
            At::Grace => {
                // Time passes: whatever was stored when it began has arrived.
                t.memory.membarrier();
                let pinned = self.swap_fence(&mut t, p, me.fence, me.fence.with(PINNED));
                t.processes[p].fence = FenceWord(0);
                t.processes[p].at = if pinned { start(self.op(s, p)) } else { At::Pin };
                out.add(|| format!("lets time pass: pinned = {pinned}"), t);
            }
            _ => {}
        }
    }

    pub(super) fn sleep(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let Op::Await { on, cells, value, take } = self.op(s, p) else {
            return;
        };
        let me = s.processes[p];
        let mut t = *s;
        match me.at {
            At::Look(i) | At::LookAgain(i) => {
                let found = t.memory.load(p, cells[usize::from(i)]) == value;
                let last = usize::from(i) + 1 == cells.len();
                let first_look = matches!(me.at, At::Look(_));
                match () {
                    () if found && take => t.processes[p].at = At::Take(i),
                    () if found => self.finish_op(&mut t, p),
                    () if !last && first_look => t.processes[p].at = At::Look(i + 1),
                    () if !last => t.processes[p].at = At::LookAgain(i + 1),
                    () if first_look => t.processes[p].at = At::Register,
                    () => t.processes[p].at = At::FutexWait,
                }
                let which = if first_look { "looks" } else { "looks again" };
                out.add(|| format!("{which} at cell {i}: found = {found}"), t);
            }
            At::Take(i) => {
                let taken = t.memory.compare_and_swap(p, cells[usize::from(i)], value, 0);
                if taken {
                    self.finish_op(&mut t, p);
                } else {
                    t.processes[p].at = At::Look(0);
                }
                (t.processes[p].fence, t.processes[p].wait) = (FenceWord(0), WaitWord(0));
                out.add(|| format!("takes what is in cell {i}: {taken}"), t);
            }
            At::Register => {
                // The loop of load and compare-and-swap, in one step: it ends with an atomic change
                // of the word seen.
                let word = WaitWord(t.memory.load(p, on));
                let next = if word.is_asleep() && self.join { word } else { word.next(true) };
                if next != word {
                    t.memory.compare_and_swap(p, on, word.0, next.0);
                }
                (t.processes[p].wait, t.processes[p].at) = (next, At::LoadFence);
                match self.planted {
                    Planted::NoFence => t.processes[p].at = At::LookAgain(0),
                    Planted::NoSecondLook => t.processes[p].at = At::FutexWait,
                    _ => {}
                }
                out.add(|| format!("registers {next:?}"), t);
            }
            At::LoadFence => {
                let word = FenceWord(t.memory.load(p, FENCE));
                t.processes[p].fence = word;
                t.processes[p].at = match word.state() {
                    NONE => At::StoreSetting,
                    SETTING if self.planted == Planted::SettingTakenForSet => At::LookAgain(0),
                    SETTING => At::Membarrier,
                    _ => At::LookAgain(0),
                };
                if t.processes[p].at == At::LookAgain(0) {
                    t.processes[p].fence = FenceWord(0);
                }
                out.add(|| format!("loads the fence word: {word:?}"), t);
            }
            At::StoreSetting => {
                let set = self.swap_fence(&mut t, p, me.fence, me.fence.with(SETTING));
                t.processes[p].at = if set { At::Membarrier } else { At::LoadFence };
                out.add(|| format!("swaps the fence word to SETTING: {set}"), t);
            }
            At::Membarrier => {
                self.membarrier(&mut t);
                let helping = me.fence.state() == SETTING;
                let completes = !helping || self.others_complete;
                t.processes[p].at = if completes { At::StoreSet } else { At::LookAgain(0) };
                if !completes {
                    t.processes[p].fence = FenceWord(0);
                }
                out.add(|| "membarrier".into(), t);
            }
            At::StoreSet => {
                let set = self.swap_fence(&mut t, p, me.fence.with(SETTING), me.fence.with(SET));
                (t.processes[p].at, t.processes[p].fence) = (At::LookAgain(0), FenceWord(0));
                out.add(|| format!("swaps the fence word to SET: {set}"), t);
            }
            At::FutexWait => {
                let sleeps = t.memory.visible(on) == me.wait.0;
                t.processes[p].at = if sleeps { At::Asleep } else { At::Look(0) };
                t.processes[p].wait = WaitWord(0);
                out.add(|| format!("futex_wait for {:?}: sleeps = {sleeps}", me.wait), t);
            }
            _ => {}
        }
    }

    pub(super) fn publish(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let Op::Publish { cell, value, wakes } = self.op(s, p) else {
            return;
        };
        let me = s.processes[p];
        let mut t = *s;
        let wait_word_first = self.planted == Planted::WaitWordFirst;
        match me.at {
            At::Store => {
                t.memory.store(p, cell, value);
                t.processes[p].at = if wait_word_first { At::LoadWaitWord } else { At::LoadFenceToo };
                out.add(|| format!("stores {value} in word {cell}"), t);
            }
            At::LoadFenceToo => {
                let word = FenceWord(t.memory.load(p, FENCE));
                t.processes[p].fence = word;
                let fences = word.state() != NONE && self.planted != Planted::NoFence;
                match () {
                    () if fences => t.processes[p].at = At::Fence,
                    () if wait_word_first => self.saw_both(&mut t, p, out),
                    () => t.processes[p].at = At::LoadWaitWord,
                }
                out.add(|| format!("loads the fence word: {word:?}"), t);
            }
            At::Fence => {
                t.memory.fence(p);
                t.processes[p].at = At::LoadWaitWord;
                out.add(|| "fence".into(), t);
            }
            At::LoadWaitWord => {
                let word = WaitWord(t.memory.load(p, wakes));
                t.processes[p].wait = word;
                if wait_word_first && me.fence.state() == NONE {
                    t.processes[p].at = At::LoadFenceToo;
                } else {
                    self.saw_both(&mut t, p, out);
                }
                out.add(|| format!("loads the wait word: {word:?}"), t);
            }
            At::ClearAsleep => {
                let cleared = t.memory.compare_and_swap(p, wakes, me.wait.0, me.wait.next(false).0);
                t.processes[p].at = if cleared { At::Wake } else { At::LoadWaitWord };
                out.add(|| format!("clears asleep: {cleared}"), t);
            }
            At::Reset => {
                let none = me.fence.with(NONE);
                let next = if self.planted == Planted::NoEpoch { none } else { none.next_epoch() };
                let reset = self.swap_fence(&mut t, p, me.fence, next);
                self.finish_op(&mut t, p);
                out.add(|| format!("resets the fence word: {reset}"), t);
            }
            At::Wake => {
                self.wake_all(&mut t, wakes);
                self.finish_op(&mut t, p);
                out.add(|| "wakes all".into(), t);
            }
            _ => {}
        }
    }

    /// Both words are loaded: somebody to wake, or done; a publisher that met no sleeper may reset
    /// the fence word first.
    fn saw_both(&self, t: &mut State, p: usize, out: &mut Steps<State>) {
        if t.processes[p].wait.is_asleep() && self.planted != Planted::WakeUpForgotten {
            t.processes[p].at = At::ClearAsleep;
            return;
        }
        if t.processes[p].fence.state() == SET {
            let mut resetting = *t;
            resetting.processes[p].at = At::Reset;
            out.add(|| "meets no sleeper, is about to reset the fence word".into(), resetting);
        }
        self.finish_op(t, p);
    }

    /// The kernel tells of a death once the process is off its processor, its stores with it.
    pub(super) fn tell_of_death(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let At::Dead(left @ 1..) = s.processes[p].at else {
            return;
        };
        if s.memory.has_buffered(p) {
            return;
        }
        let mut t = *s;
        t.processes[p].at = At::Dead(left - 1);
        let word = if left > 2 { MESSAGES } else { ROOM };
        if left % 2 == 0 {
            let bumped = WaitWord(t.memory.visible(word)).next(false);
            t.memory.compare_and_swap(p, word, t.memory.visible(word), bumped.0);
            out.add(|| format!("its death bumps word {word}"), t);
        } else {
            self.wake_all(&mut t, word);
            out.add(|| format!("its death wakes who sleeps on word {word}"), t);
        }
    }
}
