//! What each role does, one step at a time: send, receive, give back, join, close.

use super::{
    At, Claim, GONE, NO_TAKE, NOBODY, Planted, Process, Role, Row, RowWord, Slot, State, Take, Takes,
};
use crate::explorer::Steps;

impl Takes {
    /// The first position that nobody claimed.
    fn tail(&self, s: &State) -> u8 {
        (0..).find(|&position| s.claims[self.index(position)].lap <= self.turn(position)).expect("there is")
    }

    /// Whether somebody who died claimed this position and did not publish.
    fn is_abandoned(&self, s: &State, position: u8) -> bool {
        let (claim, slot) = (s.claims[self.index(position)], s.slots[self.index(position)]);
        let unpublished = !slot.full && slot.turn == self.turn(position);
        unpublished && claim.lap == slot.turn + 1 && s.processes[usize::from(claim.who)].at == At::Dead
    }

    fn skip(&self, t: &mut State, position: u8) {
        t.slots[self.index(position)].turn += 1;
        t.skipped |= 1 << position;
    }

    fn note(&self, t: &mut State, position: u8) {
        if position + 1 > t.skips.1 || self.planted == Planted::SkipCountedByEach {
            t.skips = (t.skips.0 + 1, t.skips.1.max(position + 1));
        }
    }

    fn is_dead(&self, s: &State, member: u8) -> bool {
        let row: Row = s.rows[usize::from(member)];
        row.word != RowWord::Active || row.lock == NOBODY
    }

    /// Whether a slot holds a message that somebody took.
    fn is_taken(&self, s: &State, i: usize) -> bool {
        s.slots[i].full && s.takes[i].lap == s.slots[i].turn + 1
    }

    pub(super) fn send(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let (Role::Sender(messages) | Role::Awaiting(messages)) = self.roles[p] else { return };
        let awaited = matches!(self.roles[p], Role::Awaiting(_));
        let mut t = *s;
        match me.at {
            At::Claim if s.claims_closed => {
                t.processes[p] = Process { at: At::Done, ..GONE };
                out.add(|| "finds it closed".into(), t);
            }
            At::Claim => {
                let position = self.tail(s);
                let (i, turn) = (self.index(position), self.turn(position));
                if !s.slots[i].full && s.slots[i].turn == turn {
                    t.claims[i] = Claim { lap: turn + 1, who: p as u8 };
                    (t.processes[p].at, t.processes[p].index) = (At::Publish, i as u8);
                    out.add(|| format!("claims {position}"), t);
                } else if self.is_abandoned(s, position - self.n) {
                    self.skip(&mut t, position - self.n);
                    out.add(|| format!("skips {}", position - self.n), t);
                }
            }
            At::Publish => {
                let message = self.message(s, p);
                let slot = &mut t.slots[usize::from(me.index)];
                *slot = Slot { full: true, message, awaited, ..*slot };
                t.accepted |= 1 << message;
                t.processes[p] = if awaited {
                    Process { at: At::Await, counted: slot.turn, ..me }
                } else {
                    self.sent(me.head, messages)
                };
                out.add(|| format!("publishes message {message} in slot {}", me.index), t);
            }
            _ => {}
        }
    }

    /// Goes on to the next message, if there is one.
    fn sent(&self, before: u8, messages: u8) -> Process {
        let at = if before + 1 == messages { At::Done } else { At::Claim };
        Process { at, head: before + 1, ..GONE }
    }

    /// A sender waits for its message to be collected, and at any moment may want it back. (Its `counted` is the
    /// turn of its slot.)
    pub(super) fn await_collection(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let Role::Awaiting(messages) = self.roles[p] else { return };
        let (i, turn) = (usize::from(me.index), me.counted);
        let position = turn * self.n + me.index;
        let (slot, take) = (s.slots[i], s.takes[i]);
        let mut t = *s;
        match me.at {
            At::Await => {
                if slot.turn > turn {
                    t.processes[p] = self.sent(me.head, messages);
                    if s.received >> self.message(s, p) & 1 == 0 {
                        t.wrong = Some("collected and not received");
                    }
                    out.add(|| "is told that it was collected".into(), t);
                } else if s.told.is_some() {
                    t.processes[p] = Process { at: At::Done, ..GONE };
                    out.add(|| "is told that it is closed".into(), t);
                } else {
                    t.processes[p].at = At::Walk;
                    out.add(|| "waits no longer".into(), t);
                }
            }
            At::Walk => {
                if self.planted != Planted::WithdrawnUnwalked && !self.has_sole() {
                    self.untaken(&mut t, true);
                }
                t.processes[p].at = At::ReadTake;
                out.add(|| "walks to the first that nobody took".into(), t);
            }
            At::ReadTake => {
                let back = take.lap > turn && take.member == NOBODY;
                let taken = take.lap > turn && take.member != NOBODY;
                let at = if taken || take.closed || slot.turn > turn { At::Await } else { At::Withdraw };
                (t.processes[p].at, t.processes[p].seen) = (at, take);
                if back && !self.has_sole() && slot.turn == turn {
                    t.processes[p] = self.sent(me.head, messages); // it is delivered again
                }
                out.add(|| format!("reads its take word: {take:?}"), t);
            }
            At::Withdraw => {
                let swapped = take == me.seen;
                t.processes[p] = Process { at: At::Await, seen: NO_TAKE, ..me };
                if swapped {
                    t.takes[i] = Take { lap: turn + 1, withdrawn: true, member: p as u8, ..NO_TAKE };
                    t.processes[p].at = At::FreeOwn;
                    t.skipped |= 1 << position;
                    t.withdrawn |= 1 << self.message(s, p);
                }
                out.add(|| format!("withdraws {position}: swapped = {swapped}"), t);
            }
            At::FreeOwn => {
                t.slots[i] = Slot { turn: turn + 1, full: false, awaited: false, message: 0 };
                t.processes[p] = self.sent(me.head, messages);
                out.add(|| format!("frees slot {i}"), t);
            }
            _ => {}
        }
    }

    fn has_sole(&self) -> bool {
        self.roles.iter().any(|role| matches!(role, Role::Sole))
    }

    /// Somebody finds a slot whose sender died withdrawing it.
    fn free_for_the_dead(&self, s: &State, out: &mut Steps<State>) {
        for i in 0..usize::from(self.n) {
            let (slot, take) = (s.slots[i], s.takes[i]);
            let withdrawn = self.is_taken(s, i) && take.withdrawn;
            if withdrawn
                && s.processes[usize::from(take.member)].at == At::Dead
                && self.planted != Planted::WithdrawnNotFreed
            {
                let mut t = *s;
                t.slots[i] = Slot { turn: slot.turn + 1, full: false, awaited: false, message: 0 };
                out.add(|| format!("frees slot {i} for the dead"), t);
            }
        }
    }

    /// The next position after one whose take word is of its turn or later; `note`: one that was withdrawn there.
    fn walk_over(&self, t: &mut State, position: u8, note: bool) -> u8 {
        let (i, turn) = (self.index(position), self.turn(position));
        let take = t.takes[i];
        let beyond = |lap: u8| lap * self.n + i as u8 + 1;
        if !take.withdrawn || self.planted == Planted::WithdrawnWalkedOver {
            return beyond(take.lap - 1);
        }
        if take.lap - 1 > turn {
            return beyond(take.lap - 2);
        }
        if note {
            self.note(t, position);
        }
        position + 1
    }

    fn idle(&self, me: Process) -> Process {
        Process { at: At::Idle, row: me.row, head: me.head, ..GONE }
    }

    pub(super) fn receive(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let mut t = *s;
        let (i, turn) = (self.index(me.head), self.turn(me.head));
        let (slot, take) = (s.slots[i], s.takes[i]);
        match me.at {
            At::Idle => {
                self.free_for_the_dead(s, out);
                if take.lap > turn && !matches!(self.roles[p], Role::Sole) {
                    t.processes[p].head = self.walk_over(&mut t, me.head, true);
                } else {
                    (t.processes[p].at, t.processes[p].seen) = (At::Look, take);
                }
                out.add(|| format!("reads the take word of {}: {take:?}", me.head), t);
                for index in 0..usize::from(self.n) {
                    let seen = s.takes[index];
                    let sole = matches!(self.roles[p], Role::Sole);
                    if self.is_taken(s, index) && seen.member == NOBODY && !seen.closed && !sole {
                        let mut t = *s;
                        t.processes[p] = Process { at: At::SwapAgain, index: index as u8, seen, ..me };
                        out.add(|| format!("sees slot {index} given back"), t);
                    }
                }
            }
            At::Look => {
                t.processes[p] = self.idle(me);
                let sole = matches!(self.roles[p], Role::Sole);
                let there = slot.full && slot.turn == turn;
                if me.seen.closed {
                } else if sole && there && (!slot.awaited || self.planted == Planted::SoleWithoutSwap) {
                    t.processes[p] = Process { at: At::Read, head: me.head + 1, index: i as u8, ..me };
                    t.taken |= 1 << me.head;
                } else if there && take.withdrawn && take.lap > turn {
                    // A sole receiver waits until it is free.
                } else if there {
                    (t.processes[p].at, t.processes[p].seen) = (At::Swap, me.seen);
                } else if slot.turn > turn {
                    (t.processes[p].at, t.processes[p].seen) = (At::Confirm, me.seen);
                    if self.planted == Planted::SkipNotConfirmed || sole {
                        t.processes[p].at = At::Note;
                    }
                } else if self.is_abandoned(s, me.head) {
                    self.skip(&mut t, me.head);
                }
                out.add(|| format!("looks at {}: {slot:?}", me.head), t);
            }
            At::Confirm => {
                t.processes[p] = self.idle(me);
                if take == me.seen {
                    t.processes[p].at = At::Note;
                }
                out.add(|| format!("reads the take word of {} again: {take:?}", me.head), t);
            }
            At::Note => {
                self.note(&mut t, me.head);
                t.processes[p] = Process { head: me.head + 1, ..self.idle(me) };
                out.add(|| format!("notes that {} is skipped", me.head), t);
            }
            At::Swap => {
                t.processes[p] = self.idle(me);
                let swapped = take == me.seen;
                if swapped || self.planted == Planted::TakenByPlainStore {
                    let count = if me.seen.lap > turn { me.seen.count } else { 0 };
                    t.takes[i] = Take { lap: turn + 1, count, member: me.row, ..NO_TAKE };
                    t.processes[p] = Process { at: At::Read, head: me.head + 1, index: i as u8, ..me };
                    t.processes[p].seen = t.takes[i];
                    if (s.taken | s.skipped) & ((1 << me.head) - 1) != (1 << me.head) - 1 {
                        t.wrong = Some("taken out of order");
                    }
                    t.taken |= 1 << me.head;
                }
                out.add(|| format!("takes {}: swapped = {swapped}", me.head), t);
            }
            At::SwapAgain => {
                t.processes[p] = self.idle(me);
                let i = usize::from(me.index);
                let swapped = s.takes[i] == me.seen;
                if swapped {
                    t.takes[i].member = me.row;
                    t.processes[p] = Process { at: At::Read, seen: t.takes[i], ..me };
                }
                out.add(|| format!("takes slot {} again: swapped = {swapped}", me.index), t);
            }
            At::Read => {
                let message = s.slots[usize::from(me.index)].message;
                let others = (0..self.roles.len()).filter(|q| *q != p);
                if others.filter_map(|q| self.in_hand(s, q)).any(|its| its == message) {
                    t.wrong = Some("two have the same message");
                } else if s.received >> message & 1 == 1 {
                    t.wrong = Some("received twice");
                } else if s.delivered >> message & 1 == 1 && me.seen.count == 0 {
                    t.wrong = Some("delivered again and not marked");
                } else if self.put_backs == 0 && me.seen.count > 0 && s.died_with >> message & 1 == 0 {
                    t.wrong = Some("marked though nobody died with it");
                }
                t.processes[p].at = At::Free;
                t.delivered |= 1 << message;
                out.add(|| format!("reads message {message}, delivered {} times before", me.seen.count), t);
                if s.put_backs > 0 {
                    let mut t = *s;
                    t.put_backs -= 1;
                    let count = me.seen.count + u8::from(self.planted != Planted::PutBackUncounted);
                    let word = &mut t.takes[usize::from(me.index)];
                    *word = Take { count, member: NOBODY, ..*word };
                    // In hand when the closing began: it may be that nobody counts it.
                    t.excused |= u8::from(s.claims_closed) << message;
                    t.processes[p] = self.idle(me);
                    if matches!(self.roles[p], Role::Sole) {
                        t.processes[p].head -= 1;
                    }
                    out.add(|| format!("puts message {message} back"), t);
                }
            }
            At::Free => {
                let slot = &mut t.slots[usize::from(me.index)];
                t.received |= 1 << slot.message;
                *slot = Slot { turn: slot.turn + 1, full: false, awaited: false, message: 0 };
                t.processes[p] = self.idle(me);
                out.add(|| format!("frees slot {}", me.index), t);
            }
            _ => {}
        }
    }

    /// Gives back what a dead one had, if its word is still the one seen.
    fn swap_back(&self, t: &mut State, i: usize, seen: Take) -> bool {
        if t.takes[i] != seen {
            return false;
        }
        let has = |q: &Process| matches!(q.at, At::Read | At::Free) && usize::from(q.index) == i;
        if t.processes.iter().any(has) {
            t.wrong = Some("given back from the living");
        }
        let count = seen.count + u8::from(self.planted != Planted::GivenBackUncounted);
        t.takes[i] = Take { count, member: NOBODY, ..seen };
        true
    }

    pub(super) fn give_back(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let i = usize::from(me.index);
        let mut t = *s;
        match me.at {
            At::Idle if self.planted != Planted::NothingGivenBack => {
                for index in 0..usize::from(self.n) {
                    let seen = s.takes[index];
                    let theirs = seen.member != NOBODY && seen.member != me.row && !seen.withdrawn;
                    if self.is_taken(s, index) && theirs {
                        let mut t = *s;
                        t.processes[p] = Process { at: At::Ask, index: index as u8, seen, ..me };
                        out.add(|| format!("sees slot {index} taken: {seen:?}"), t);
                    }
                }
            }
            At::Ask => {
                let dead = self.is_dead(s, me.seen.member);
                t.processes[p] = if dead { Process { at: At::GiveBack, ..me } } else { self.idle(me) };
                out.add(|| format!("asks for row {}: dead = {dead}", me.seen.member), t);
            }
            At::GiveBack => {
                let now = s.takes[i];
                let late = self.planted == Planted::VerdictBeforeWord && now.member == me.seen.member;
                let swapped = self.swap_back(&mut t, i, if late { now } else { me.seen });
                t.processes[p] = self.idle(me);
                out.add(|| format!("gives slot {i} back: swapped = {swapped}"), t);
            }
            _ => {}
        }
    }

    pub(super) fn join(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let r = usize::from(me.row);
        let mut t = *s;
        match me.at {
            At::Join => {
                for (row, seen) in s.rows.iter().enumerate() {
                    if seen.lock == NOBODY && seen.joining == NOBODY {
                        let mut t = *s;
                        t.rows[row].joining = p as u8;
                        t.processes[p].row = row as u8;
                        let clean = seen.word == RowWord::Clean;
                        t.processes[p].at = if clean { At::Activate } else { At::MarkSweeping };
                        out.add(|| format!("locks row {row} to join: {:?}", seen.word), t);
                    }
                }
            }
            At::MarkSweeping => {
                t.rows[r].word = RowWord::Sweeping;
                t.processes[p].at = At::Sweep;
                out.add(|| format!("marks row {r} SWEEPING"), t);
            }
            At::Sweep => {
                let its = |i: &usize| {
                    self.is_taken(s, *i) && s.takes[*i].member == me.row && !s.takes[*i].withdrawn
                };
                let unswept = self.planted == Planted::RowReusedUnswept;
                let Some(i) = (0..usize::from(self.n)).find(its).filter(|_| !unswept) else {
                    t.rows[r].word = RowWord::Clean;
                    t.processes[p].at = At::Activate;
                    out.add(|| format!("marks row {r} CLEAN"), t);
                    return;
                };
                t.processes[p] = Process { at: At::SwapSwept, index: i as u8, seen: s.takes[i], ..me };
                out.add(|| format!("finds that the dead one had slot {i}"), t);
            }
            At::SwapSwept => {
                let swapped = self.swap_back(&mut t, usize::from(me.index), me.seen);
                t.processes[p] = Process { at: At::Sweep, index: 0, seen: NO_TAKE, ..me };
                out.add(|| format!("gives slot {} back: swapped = {swapped}", me.index), t);
            }
            At::Activate => {
                t.rows[r] = Row { word: RowWord::Active, lock: p as u8, joining: NOBODY };
                let head = self.untaken(&mut t, self.planted != Planted::NewcomerNotesNothing);
                t.processes[p] = Process { at: At::Idle, row: me.row, head, ..GONE };
                out.add(|| format!("becomes a member, begins at {head}"), t);
            }
            _ => {}
        }
    }

    /// The first position that nobody took; positions without a message are noted on the way.
    fn untaken(&self, t: &mut State, note: bool) -> u8 {
        let mut position = 0;
        loop {
            let i = self.index(position);
            if t.takes[i].lap > self.turn(position) {
                position = self.walk_over(t, position, note);
                continue;
            }
            if t.takes[i].closed || t.slots[i].turn <= self.turn(position) {
                return position;
            }
            if note {
                self.note(t, position);
            }
            position += 1;
        }
    }

    pub(super) fn close(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let i = usize::from(me.index);
        let mut t = *s;
        let my = &mut t.processes[p];
        let last = me.index + 1 == self.n;
        // The next slot, or the next thing to do.
        let go_on = |my: &mut Process, same: At, next: At| {
            (my.at, my.index) = if last { (next, 0) } else { (same, my.index + 1) };
            my.seen = NO_TAKE;
        };
        match me.at {
            At::CloseClaims => {
                t.claims_closed = true;
                my.at = At::CloserReads;
                if self.planted == Planted::ClosedWithoutGivingBack {
                    my.at = At::CloseTakes;
                }
                out.add(|| "closes the claims".into(), t);
            }
            At::CloserReads => {
                if self.is_taken(s, i) && s.takes[i].member != NOBODY && !s.takes[i].withdrawn {
                    (my.at, my.seen) = (At::CloserAsks, s.takes[i]);
                } else {
                    go_on(my, At::CloserReads, At::CloseTakes);
                }
                out.add(|| format!("reads the take word of slot {i}: {:?}", s.takes[i]), t);
            }
            At::CloserAsks => {
                let dead = self.is_dead(s, me.seen.member);
                if dead {
                    my.at = At::CloserGives;
                } else {
                    go_on(my, At::CloserReads, At::CloseTakes);
                }
                out.add(|| format!("asks for row {}: dead = {dead}", me.seen.member), t);
            }
            At::CloserGives => {
                go_on(my, At::CloserReads, At::CloseTakes);
                let swapped = self.swap_back(&mut t, i, me.seen);
                out.add(|| format!("gives slot {i} back: swapped = {swapped}"), t);
            }
            At::CloseTakes => {
                let untaken = self.untaken(&mut t, true);
                let i = self.index(untaken);
                t.takes[i].closed = true;
                (t.processes[p].at, t.processes[p].head) = (At::CloseGivenBack, untaken);
                out.add(|| format!("closes the takes at {untaken}"), t);
            }
            At::CloseGivenBack => {
                go_on(my, At::CloseGivenBack, At::CountGivenBack);
                let back = self.is_taken(s, i) && s.takes[i].member == NOBODY;
                if back && self.planted != Planted::GivenBackNotClosed {
                    t.takes[i].closed = true;
                }
                out.add(|| format!("closes slot {i} if it was given back: {back}"), t);
            }
            At::CountGivenBack => {
                go_on(my, At::CountGivenBack, At::CountRest);
                let closed = s.takes[i].closed || self.planted == Planted::CountedUnclosed;
                let back = self.is_taken(s, i) && s.takes[i].member == NOBODY && closed;
                if back {
                    my.counted |= 1 << s.slots[i].message;
                }
                out.add(|| format!("counts slot {i} if it was given back: {back}"), t);
            }
            At::CountRest => {
                // Who is about to publish and lives counts as having published.
                for position in me.head..self.tail(s) {
                    let slot = s.slots[self.index(position)];
                    let who = usize::from(s.claims[self.index(position)].who);
                    if self.is_abandoned(s, position) {
                        self.skip(&mut t, position);
                    } else if slot.turn == self.turn(position)
                        && !(self.is_taken(s, self.index(position))
                            && s.takes[self.index(position)].withdrawn)
                    {
                        let message = if slot.full { slot.message } else { self.message(s, who) };
                        t.processes[p].counted |= 1 << message;
                    }
                }
                t.processes[p].at = At::Tell;
                out.add(|| format!("counts what nobody took from {} on", me.head), t);
            }
            At::Tell => {
                t.told = s.told.or(Some(me.counted));
                t.processes[p] = Process { at: At::Done, ..GONE };
                out.add(|| format!("tells {:b}, or what was told", me.counted), t);
            }
            _ => {}
        }
    }
}
