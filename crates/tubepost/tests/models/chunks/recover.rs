//! What is done about the dead, one step at a time: reclaim chunks, give takes back, sweep rows, close.

use super::{At, CHUNKS, Chunks, GONE, NOBODY, Planted, Process, Row, RowWord, State, Take, Use};
use crate::explorer::Steps;

impl Chunks {
    /// Whether a member counts as dead. Rows that are being swept, too.
    fn is_dead(&self, s: &State, member: u8) -> bool {
        let row: Row = s.rows[usize::from(member)];
        row.word != RowWord::Active || row.lock == NOBODY
    }

    /// Whether somebody who died claimed this position and did not publish.
    pub(super) fn is_abandoned(&self, s: &State, position: u8) -> bool {
        let (claim, slot) = (s.claims[self.index(position)], s.slots[self.index(position)]);
        let unpublished = !slot.full && slot.turn == self.turn(position);
        unpublished && claim.lap == slot.turn + 1 && self.is_dead(s, claim.member)
    }

    /// Whether a slot is full and was taken.
    pub(super) fn is_taken(&self, s: &State, i: usize) -> bool {
        s.slots[i].full && s.takes[i].lap == s.slots[i].turn + 1
    }

    fn holds_message(&self, s: &State, position: u8) -> bool {
        let slot = s.slots[self.index(position)];
        slot.full && slot.turn == self.turn(position)
    }

    /// Where `p` was when it began to recover something.
    fn back(&self, p: usize, me: Process) -> Process {
        let rest = Process { row: me.row, number: me.number, ..GONE };
        match self.roles[p] {
            super::Role::Closer => Process { at: At::Closing, ..rest },
            super::Role::Newcomer if me.number == 1 => Process { at: At::Sweep, ..rest },
            _ => Process { at: At::Idle, ..rest },
        }
    }

    /// One chunk is dealt with: on to the next one, if all are to be.
    fn next_chunk(&self, p: usize, me: Process) -> Process {
        if me.passing { Process { at: At::Pass, chunk: me.chunk + 1, ..me } } else { self.back(p, me) }
    }

    fn names_somebody(&self, s: &State, c: usize) -> bool {
        matches!(s.chunks[c].word.kind, Use::Own | Use::Linked | Use::Held)
    }

    /// Every chunk and every take that names another may be asked about; by a sweeper, those that
    /// name the row it sweeps.
    fn begin(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let sweeping = me.at == At::Sweep;
        let wanted = |member: u8| (member == me.row) == sweeping;
        for c in 0..CHUNKS {
            let word = s.chunks[c].word;
            if self.names_somebody(s, c) && wanted(word.member) {
                let mut t = *s;
                t.processes[p] = Process { at: At::AskChunk, chunk: c as u8, word, ..me };
                out.add(|| format!("reads the word of chunk {c}: {word:?}"), t);
            }
        }
        for i in 0..usize::from(self.n) {
            let take = s.takes[i];
            if self.is_taken(s, i) && take.member != NOBODY && wanted(take.member) {
                let mut t = *s;
                t.processes[p] = Process { at: At::AskTake, index: i as u8, take, ..me };
                out.add(|| format!("reads the take word of slot {i}: {take:?}"), t);
            }
        }
    }

    pub(super) fn recover(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let (c, i) = (usize::from(me.chunk), usize::from(me.index));
        let mut t = *s;
        match me.at {
            At::Idle | At::Sweep | At::Closing => self.begin(s, p, out),
            At::Pass if c == CHUNKS => {
                t.processes[p] = Process { at: At::LookForCopy, chunk: 0, ..me };
                out.add(|| "has looked at all chunks".into(), t);
            }
            At::Pass => {
                let word = s.chunks[c].word;
                t.processes[p] = if self.names_somebody(s, c) {
                    Process { at: At::AskChunk, word, ..me }
                } else {
                    self.next_chunk(p, me)
                };
                out.add(|| format!("reads the word of chunk {c}: {word:?}"), t);
            }
            At::AskChunk | At::AskTake => {
                let member = if me.at == At::AskTake { me.take.member } else { me.word.member };
                let dead = self.is_dead(s, member);
                if !dead || self.unsure && s.rows[usize::from(member)].word == RowWord::Active {
                    t.processes[p] =
                        if me.at == At::AskTake { self.back(p, me) } else { self.next_chunk(p, me) };
                    out.add(|| format!("asks for row {member}: not known to be dead"), t);
                }
                if dead {
                    t = *s;
                    t.processes[p].at = match (me.at, me.word.kind) {
                        (At::AskTake, _) if self.planted == Planted::TakeFirst => At::SwapTake,
                        (At::AskTake, _) => At::Pass,
                        (_, Use::Linked) => At::Recover,
                        (_, Use::Held) => At::LookAtSlot,
                        _ => At::SwapChunk,
                    };
                    t.processes[p].passing |= t.processes[p].at == At::Pass;
                    t.processes[p].to = Use::Free;
                    out.add(|| format!("asks for row {member}: dead"), t);
                }
            }
            At::Recover => {
                let position = s.chunks[c].position;
                if self.is_abandoned(s, position) {
                    t.slots[self.index(position)].turn += 1;
                }
                t.processes[p].at = At::LookAtSlot;
                out.add(|| format!("skips {position} if its claimant is dead"), t);
            }
            At::LookAtSlot => {
                let position = s.chunks[c].position;
                let turn = s.slots[self.index(position)].turn;
                let mut my = Process { at: At::SwapChunk, ..me };
                if me.word.kind == Use::Linked {
                    if turn <= self.turn(position) && self.planted != Planted::LinkedFreed {
                        my = self.next_chunk(p, me);
                    }
                } else {
                    let copy = s.chunks[c].copied && self.holds_message(s, position);
                    let free = copy && self.planted != Planted::CopyReturned;
                    my.to = if free { Use::Free } else { Use::Returned };
                }
                t.processes[p] = my;
                out.add(|| format!("looks at the slot of {position}: turn {turn}"), t);
            }
            At::SwapChunk => {
                let swapped = s.chunks[c].word == me.word;
                if swapped {
                    if (0..self.roles.len()).any(|q| self.uses(s, q) == Some(me.chunk)) {
                        t.wrong = Some("reclaimed while in use: taken from the living");
                    }
                    let word = if me.to == Use::Free { me.word.freed() } else { me.word.given_back() };
                    t.chunks[c].word = word;
                }
                t.processes[p] = Process { to: Use::Free, ..self.next_chunk(p, me) };
                out.add(|| format!("puts chunk {c} in order, {:?}: swapped = {swapped}", me.to), t);
            }
            At::LookForCopy => {
                let position = (me.take.lap - 1) * self.n + me.index;
                let copy = |chunk: &super::Chunk| {
                    let held = chunk.word.kind == Use::Held && chunk.word.member == me.take.member;
                    held && chunk.copied && chunk.position == position
                };
                let found = s.chunks.iter().any(copy) && self.planted != Planted::CopyNotLookedFor;
                t.processes[p] = if found { self.back(p, me) } else { Process { at: At::SwapTake, ..me } };
                out.add(|| format!("looks for a copy of {position}: {found}"), t);
            }
            At::SwapTake => {
                let swapped = s.takes[i] == me.take;
                if swapped {
                    let take = s.takes[i];
                    t.takes[i] = Take { count: take.count + 1, member: NOBODY, ..take };
                    if (0..self.roles.len()).any(|q| self.has_slot(s, q, i)) {
                        t.wrong = Some("a take was taken from the living");
                    }
                }
                t.processes[p] = self.back(p, me);
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
                        let clean = seen.word == RowWord::Clean;
                        let at = if clean { At::AwaitLeft } else { At::MarkSweeping };
                        t.processes[p] = Process { at, row: row as u8, ..GONE };
                        out.add(|| format!("locks row {row} to join: {:?}", seen.word), t);
                    }
                }
            }
            At::MarkSweeping => {
                t.rows[r].word = RowWord::Sweeping;
                (t.processes[p].at, t.processes[p].number) = (At::Sweep, 1);
                out.add(|| format!("marks row {r} SWEEPING"), t);
            }
            At::Sweep => {
                // What is LINKED is in order if it is published.
                let named = |c: usize| {
                    let chunk = s.chunks[c];
                    let linked = chunk.word.kind == Use::Linked;
                    let published = linked && self.holds_message(s, chunk.position);
                    self.names_somebody(s, c) && chunk.word.member == me.row && !published
                };
                let taken = |i: usize| self.is_taken(s, i) && s.takes[i].member == me.row;
                let swept = !(0..CHUNKS).any(named) && !(0..usize::from(self.n)).any(taken);
                if swept || self.planted == Planted::RowReusedUnswept {
                    t.processes[p] = Process { at: At::RecordLeft, row: me.row, ..GONE };
                    out.add(|| format!("has swept row {r}"), t);
                }
            }
            At::RecordLeft => {
                let its = |position: &u8| {
                    let claim = s.claims[self.index(*position)];
                    claim.member == me.row && claim.lap == self.turn(*position) + 1
                };
                let last = (0..self.tail(s)).rev().find(its);
                (t.rows[r].left_at, t.rows[r].word) = (last.map_or(0, |last| last + 1), RowWord::Clean);
                t.processes[p].at = At::AwaitLeft;
                out.add(|| format!("marks row {r} CLEAN, named until {last:?}"), t);
            }
            At::AwaitLeft => {
                let freed = |position: u8| s.slots[self.index(position)].turn > self.turn(position);
                if (0..s.rows[r].left_at).all(freed) {
                    t.processes[p].at = At::Activate;
                    out.add(|| format!("sees that nothing names row {r}"), t);
                } else {
                    // It may take another row, if there is one.
                    t.rows[r].joining = NOBODY;
                    t.processes[p] = Process { at: At::Join, ..GONE };
                    out.add(|| format!("sees that row {r} is still named"), t);
                }
            }
            At::Activate => {
                t.rows[r] = Row { word: RowWord::Active, lock: p as u8, joining: NOBODY, left_at: 0 };
                t.processes[p] = Process { at: At::Idle, row: me.row, ..GONE };
                out.add(|| "becomes a member".into(), t);
            }
            _ => {}
        }
    }

    pub(super) fn close(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let mut t = *s;
        let count = |t: &mut State, message: u8| {
            t.processes[p].counted.0 |= 1 << message;
            t.processes[p].counted.1 += 1;
        };
        match me.at {
            At::CloseClaims => {
                t.claims_closed = true;
                t.processes[p].at = At::Closing;
                out.add(|| "closes the claims".into(), t);
            }
            At::Closing => {
                let dead = |member: u8| self.is_dead(s, member);
                let chunk = |c: usize| self.names_somebody(s, c) && dead(s.chunks[c].word.member);
                let linked = |c: usize| s.chunks[c].word.kind == Use::Linked;
                let take =
                    |i: usize| self.is_taken(s, i) && s.takes[i].member != NOBODY && dead(s.takes[i].member);
                let left = (0..CHUNKS).any(|c| chunk(c) && !linked(c)) || (0..usize::from(self.n)).any(take);
                if left {
                    return;
                }
                let untaken = self.untaken(s);
                t.takes[self.index(untaken)].closed = true;
                for i in 0..usize::from(self.n) {
                    t.takes[i].closed |= self.is_taken(s, i) && s.takes[i].member == NOBODY;
                }
                (t.processes[p].at, t.processes[p].number) = (At::Bury, untaken);
                out.add(|| format!("closes the takes at {untaken}, and what was given back"), t);
            }
            At::Bury => {
                for c in 0..CHUNKS {
                    if s.chunks[c].word.kind == Use::Returned {
                        t.chunks[c].word.kind = Use::Buried;
                        if self.planted == Planted::BurialCountedOnce {
                            count(&mut t, s.chunks[c].message);
                        }
                    }
                }
                t.processes[p].at = At::CountSlots;
                out.add(|| "buries what was RETURNED".into(), t);
            }
            At::CountSlots => {
                for i in 0..usize::from(self.n) {
                    let there = s.slots[i].ticket.is_none_or(|(c, sequence)| {
                        let word = s.chunks[usize::from(c)].word;
                        word.kind == Use::Linked && word.sequence == sequence
                    });
                    let there = there || self.planted == Planted::EmptySlotCounted;
                    if self.is_taken(s, i) && s.takes[i].member == NOBODY && s.takes[i].closed && there {
                        count(&mut t, s.slots[i].message);
                    }
                }
                t.processes[p].at = At::CountBuried;
                out.add(|| "counts slots that were given back".into(), t);
            }
            At::CountBuried => {
                let buried = |chunk: &&super::Chunk| chunk.word.kind == Use::Buried;
                let counted = self.planted == Planted::BurialCountedOnce;
                for chunk in s.chunks.iter().filter(buried).filter(|_| !counted) {
                    count(&mut t, chunk.message);
                }
                t.processes[p].at = At::CountRest;
                out.add(|| "counts what is BURIED".into(), t);
            }
            At::CountRest => {
                for position in me.number..self.tail(s) {
                    let slot = s.slots[self.index(position)];
                    let who = usize::from(s.claims[self.index(position)].member);
                    if self.is_abandoned(s, position) {
                        t.slots[self.index(position)].turn += 1;
                    } else if slot.turn == self.turn(position) {
                        let message = if slot.full { slot.message } else { self.message(s, who).0 };
                        count(&mut t, message);
                    }
                }
                t.told = s.told.or(Some(t.processes[p].counted));
                t.processes[p] = Process { at: At::Done, ..GONE };
                out.add(|| "counts the rest, and tells".into(), t);
            }
            _ => {}
        }
    }
}
