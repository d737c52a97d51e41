//! What senders, receivers and those who trim do, one step at a time.

use super::{
    At, Chunks, Claim, FREE, GONE, Kind, NO_TAKE, NOBODY, Planted, Process, Role, Slot, State, Take, Use,
    Word,
};
use crate::explorer::Steps;

impl Word {
    pub(super) fn to(self, kind: Use, member: u8) -> Word {
        Word { kind, member, ..self }
    }

    pub(super) fn freed(self) -> Word {
        Word { count: 0, ..self.to(Use::Free, NOBODY) }
    }

    pub(super) fn given_back(self) -> Word {
        let word = self.to(Use::Returned, NOBODY);
        Word { sequence: self.sequence + 1, count: self.count + 1, ..word }
    }
}

impl Chunks {
    /// Where a sender begins with its next message.
    pub(super) fn next_message(&self, s: &State, p: usize) -> At {
        if self.message(s, p).1 == Kind::Chunked { At::TakeChunk } else { At::Claim }
    }

    /// The first position that nobody claimed.
    pub(super) fn tail(&self, s: &State) -> u8 {
        (0..).find(|&position| s.claims[self.index(position)].lap <= self.turn(position)).expect("there is")
    }

    /// The first position that nobody took, nor skipped.
    pub(super) fn untaken(&self, s: &State) -> u8 {
        let over = |position: &u8| {
            let i = self.index(*position);
            s.takes[i].lap > self.turn(*position) || s.slots[i].turn > self.turn(*position)
        };
        (0..).find(|position| !over(position)).expect("there is")
    }

    fn idle(&self, me: Process) -> Process {
        Process { at: At::Idle, row: me.row, ..GONE }
    }

    /// Takes each free chunk in turn, and goes on at `next`.
    fn take_chunk(&self, s: &State, p: usize, next: At, out: &mut Steps<State>) {
        for (c, chunk) in s.chunks.iter().enumerate().filter(|(_, chunk)| chunk.word.kind == Use::Free) {
            let mut t = *s;
            let mut word = chunk.word.to(Use::Own, s.processes[p].row);
            word.sequence += u8::from(self.planted != Planted::OneSequence);
            t.chunks[c].word = word;
            let me = Process { chunk: c as u8, word, ..s.processes[p] };
            let backed = match next {
                At::Reserve => At::Write,
                At::ReserveCopy => At::WriteCopy,
                other => other,
            };
            t.processes[p] = Process { at: if chunk.backed { backed } else { next }, ..me };
            out.add(|| format!("takes chunk {c}: {word:?}"), t);
        }
    }

    pub(super) fn send(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let Role::Sender(all) = self.roles[p] else { return };
        let c = usize::from(me.chunk);
        let mut t = *s;
        match me.at {
            At::TakeChunk if s.claims_closed => {
                t.processes[p] = Process { at: At::Done, ..GONE };
                out.add(|| "finds it closed".into(), t);
            }
            At::TakeChunk => self.take_chunk(s, p, At::Reserve, out),
            At::Reserve => {
                t.chunks[c].memory = true;
                t.processes[p].at = At::NoteBacked;
                out.add(|| format!("makes chunk {c} memory"), t);
            }
            At::NoteBacked => {
                t.chunks[c].backed = true;
                t.processes[p].at = At::Write;
                out.add(|| format!("notes that chunk {c} is backed"), t);
            }
            At::Write => {
                (t.chunks[c].message, t.chunks[c].copied) = (self.message(s, p).0, false);
                t.processes[p].at = At::Claim;
                out.add(|| format!("writes message {} to chunk {c}", self.message(s, p).0), t);
            }
            At::Claim => self.claim(s, p, out),
            At::Link => {
                t.chunks[c].word = me.word.to(Use::Linked, me.row);
                t.chunks[c].position = self.tail_of(s, p);
                t.processes[p].word = t.chunks[c].word;
                t.processes[p].at = At::Publish;
                if self.planted == Planted::PublishedUnlinked {
                    self.sent(&mut t, p, all);
                }
                out.add(|| format!("links chunk {c}"), t);
            }
            At::Publish => {
                let (message, kind) = self.message(s, p);
                let slot = &mut t.slots[usize::from(me.index)];
                let ticket = (kind == Kind::Chunked).then_some((me.chunk, me.word.sequence));
                *slot = Slot { full: true, message, ticket, ..*slot };
                t.accepted |= 1 << message;
                if self.planted == Planted::PublishedUnlinked && kind == Kind::Chunked {
                    t.processes[p].at = At::Link;
                } else {
                    self.sent(&mut t, p, all);
                }
                out.add(|| format!("publishes message {message} in slot {}", me.index), t);
            }
            _ => {}
        }
    }

    /// The position that `p` claimed.
    fn tail_of(&self, s: &State, p: usize) -> u8 {
        let i = s.processes[p].index;
        (s.claims[usize::from(i)].lap - 1) * self.n + i
    }

    fn sent(&self, t: &mut State, p: usize, all: &[Kind]) {
        let me = t.processes[p];
        t.processes[p] = Process { number: me.number + 1, row: me.row, ..GONE };
        let done = usize::from(me.number) + 1 == all.len();
        t.processes[p].at = if done { At::Done } else { self.next_message(t, p) };
    }

    fn claim(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let chunked = self.message(s, p).1 == Kind::Chunked;
        let mut t = *s;
        let release = |t: &mut State| {
            if chunked {
                t.chunks[usize::from(me.chunk)].word = me.word.freed();
            }
        };
        if s.claims_closed {
            release(&mut t);
            t.processes[p] = Process { at: At::Done, ..GONE };
            return out.add(|| "finds it closed".into(), t);
        }
        let position = self.tail(s);
        let (i, turn) = (self.index(position), self.turn(position));
        if !s.slots[i].full && s.slots[i].turn == turn {
            t.claims[i] = Claim { lap: turn + 1, member: me.row };
            let next = if chunked { At::Link } else { At::Publish };
            let next = if self.planted == Planted::PublishedUnlinked { At::Publish } else { next };
            t.processes[p] = Process { at: next, index: i as u8, ..me };
            out.add(|| format!("claims {position}"), t);
        } else if self.is_abandoned(s, position - self.n) {
            t.slots[i].turn += 1;
            out.add(|| format!("skips {}", position - self.n), t);
        } else if chunked && s.extras > 0 {
            release(&mut t);
            t.extras -= 1;
            t.processes[p] = Process { at: At::TakeChunk, row: me.row, number: me.number, ..GONE };
            out.add(|| "finds no room, frees its chunk".into(), t);
        }
    }

    /// What is read now must be there, be nobody else's, and be marked if it was delivered before.
    fn read(&self, t: &mut State, p: usize, count: u8) {
        let message = self.in_hand(t, p).expect("it has just been taken");
        let others = (0..self.roles.len()).filter(|q| *q != p);
        if others.filter_map(|q| self.in_hand(t, q)).any(|its| its == message) {
            t.wrong = Some("two have it: delivered twice");
        } else if t.received >> message & 1 == 1 {
            t.wrong = Some("received, and delivered: twice");
        } else if t.delivered >> message & 1 == 1 && count == 0 {
            t.wrong = Some("delivered again and not marked");
        }
        if let Some(c) = self.uses(t, p) {
            let chunk = t.chunks[usize::from(c)];
            if chunk.message != message || !chunk.memory {
                t.wrong = Some("something else in its chunk");
            }
        }
        t.delivered |= 1 << message;
    }

    pub(super) fn receive(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let i = usize::from(me.index);
        let c = usize::from(me.chunk);
        let mut t = *s;
        match me.at {
            At::Idle => {
                let position = self.untaken(s);
                let (i, turn) = (self.index(position), self.turn(position));
                if s.slots[i].full && s.slots[i].turn == turn && !s.takes[i].closed {
                    t.takes[i] = Take { lap: turn + 1, member: me.row, ..NO_TAKE };
                    t.processes[p] = Process { at: At::Open, index: i as u8, take: t.takes[i], ..me };
                    out.add(|| format!("takes {position}"), t);
                } else if self.is_abandoned(s, position) {
                    t.slots[i].turn += 1;
                    out.add(|| format!("skips {position}"), t);
                }
                for i in 0..usize::from(self.n) {
                    let seen = s.takes[i];
                    if self.is_taken(s, i) && seen.member == NOBODY && !seen.closed {
                        let mut t = *s;
                        t.takes[i].member = me.row;
                        t.processes[p] = Process { at: At::Open, index: i as u8, take: t.takes[i], ..me };
                        out.add(|| format!("takes slot {i} again"), t);
                    }
                }
                for (c, chunk) in s.chunks.iter().enumerate() {
                    if chunk.word.kind == Use::Returned {
                        let mut t = *s;
                        t.processes[p] =
                            Process { at: At::HoldAgain, chunk: c as u8, word: chunk.word, ..me };
                        out.add(|| format!("sees chunk {c} RETURNED"), t);
                    }
                }
            }
            At::Open => {
                t.processes[p].at = At::Choose;
                match s.slots[i].ticket {
                    None => self.read(&mut t, p, me.take.count),
                    Some((c, sequence)) => {
                        let word = s.chunks[usize::from(c)].word;
                        (t.processes[p].chunk, t.processes[p].word) = (c, word);
                        if word.sequence == sequence && word.kind == Use::Linked {
                            self.read(&mut t, p, me.take.count);
                        } else {
                            t.processes[p].at = At::FreeSlot;
                        }
                    }
                }
                out.add(|| format!("opens slot {i}: {:?}", s.slots[i]), t);
            }
            At::Choose => {
                let in_line = s.slots[i].ticket.is_none();
                t.processes[p].at = match self.planted {
                    _ if in_line => At::FreeSlot,
                    Planted::SlotFreedFirst => At::ConsumeLate,
                    _ => At::Consume,
                };
                if self.planted == Planted::SlotFreedFirst && !in_line {
                    t.slots[i] = Slot { turn: s.slots[i].turn + 1, full: false, message: 0, ticket: None };
                }
                out.add(|| "has read it".into(), t);
                t = *s;
                t.processes[p].at = if in_line { At::TakeCopy } else { At::Hold };
                out.add(|| "wants to keep it in hand".into(), t);
                if s.extras > 0 {
                    t = *s;
                    t.extras -= 1;
                    let take = &mut t.takes[i];
                    *take = Take { count: take.count + 1, member: NOBODY, ..*take };
                    t.excused |= u8::from(s.claims_closed) << s.slots[i].message;
                    t.processes[p] = self.idle(me);
                    out.add(|| "puts it back".into(), t);
                }
            }
            At::Consume | At::ConsumeLate => {
                self.finish(&mut t, p, me.word.freed());
                t.received |= 1 << s.chunks[c].message;
                t.processes[p].at = At::FreeSlot;
                if me.at == At::ConsumeLate {
                    t.processes[p] = self.idle(me);
                }
                out.add(|| format!("frees chunk {c}"), t);
            }
            At::FreeSlot | At::FreeSlotHolding => {
                let slot = s.slots[i];
                if me.at == At::FreeSlot && slot.ticket.is_none() {
                    t.received |= 1 << slot.message;
                }
                t.slots[i] = Slot { turn: slot.turn + 1, full: false, message: 0, ticket: None };
                let holding = me.at == At::FreeSlotHolding;
                t.processes[p] = self.idle(me);
                if holding {
                    t.processes[p] =
                        Process { at: At::InHand, chunk: me.chunk, word: me.word, ..self.idle(me) };
                }
                out.add(|| format!("frees slot {i}"), t);
            }
            _ => {}
        }
    }

    /// Swaps the word of the chunk that `p` has: as it lives, nobody may have changed it.
    fn finish(&self, t: &mut State, p: usize, to: Word) {
        let me = t.processes[p];
        let word = &mut t.chunks[usize::from(me.chunk)].word;
        if *word != me.word {
            t.wrong = Some("taken from the living");
            return;
        }
        *word = to;
        t.processes[p].word = to;
    }

    pub(super) fn hold(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let i = usize::from(me.index);
        let c = usize::from(me.chunk);
        let mut t = *s;
        match me.at {
            At::TakeCopy if s.chunks.iter().all(|chunk| chunk.word.kind != Use::Free) => {
                t.processes[p].at = At::Choose;
                out.add(|| "finds no chunk for a copy".into(), t);
            }
            At::TakeCopy => self.take_chunk(s, p, At::ReserveCopy, out),
            At::ReserveCopy => {
                t.chunks[c].memory = true;
                t.processes[p].at = At::NoteBackedCopy;
                out.add(|| format!("makes chunk {c} memory"), t);
            }
            At::NoteBackedCopy => {
                t.chunks[c].backed = true;
                t.processes[p].at = At::WriteCopy;
                out.add(|| format!("notes that chunk {c} is backed"), t);
            }
            At::WriteCopy => {
                let chunk = &mut t.chunks[c];
                (chunk.message, chunk.copied) = (s.slots[i].message, true);
                chunk.position = s.slots[i].turn * self.n + me.index;
                t.processes[p].at = At::HoldCopy;
                out.add(|| format!("copies message {} to chunk {c}", s.slots[i].message), t);
            }
            At::HoldCopy | At::Hold => {
                let word = Word { count: me.take.count, ..me.word.to(Use::Held, me.row) };
                self.finish(&mut t, p, word);
                t.processes[p].at = At::FreeSlotHolding;
                out.add(|| format!("has chunk {c} in hand: {word:?}"), t);
            }
            At::HoldAgain => {
                t.processes[p] = self.idle(me);
                let swapped = s.chunks[c].word == me.word;
                if swapped {
                    let word = me.word.to(Use::Held, me.row);
                    t.chunks[c].word = word;
                    t.processes[p] = Process { at: At::InHand, word, ..me };
                    self.read(&mut t, p, word.count);
                }
                out.add(|| format!("holds chunk {c} again: swapped = {swapped}"), t);
            }
            At::InHand => {
                self.finish(&mut t, p, me.word.freed());
                t.received |= 1 << s.chunks[c].message;
                t.processes[p] = self.idle(me);
                out.add(|| format!("accepts message {}", s.chunks[c].message), t);
                if s.extras > 0 {
                    let mut t = *s;
                    t.extras -= 1;
                    let mut word = me.word.given_back();
                    if self.planted == Planted::PutBackInSequence {
                        word = me.word.to(Use::Returned, NOBODY);
                        t.delivered &= !(1 << s.chunks[c].message);
                    }
                    self.finish(&mut t, p, word);
                    t.excused |= u8::from(s.claims_closed) << s.chunks[c].message;
                    t.processes[p] = self.idle(me);
                    out.add(|| format!("gives message {} back", s.chunks[c].message), t);
                }
            }
            _ => {}
        }
    }

    pub(super) fn trim(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let c = usize::from(me.chunk);
        let mut t = *s;
        let memory_first = self.planted == Planted::MemoryFirst;
        match me.at {
            At::Idle if s.extras > 0 && s.chunks.iter().any(|chunk| chunk.memory) => {
                t.extras -= 1;
                self.take_chunk(&t, p, At::NoteTrimmed, out);
            }
            At::NoteTrimmed if memory_first => {
                t.chunks[c].memory = false;
                t.processes[p].at = At::Trim;
                out.add(|| format!("gives back the memory of chunk {c}"), t);
            }
            At::NoteTrimmed => {
                t.chunks[c].backed = false;
                t.processes[p].at = At::Trim;
                out.add(|| format!("notes that chunk {c} is not backed"), t);
            }
            At::Trim if memory_first => {
                t.chunks[c].backed = false;
                t.processes[p].at = At::Release;
                out.add(|| format!("notes that chunk {c} is not backed"), t);
            }
            At::Trim => {
                t.chunks[c].memory = false;
                t.processes[p].at = At::Release;
                out.add(|| format!("gives back the memory of chunk {c}"), t);
            }
            At::Release => {
                self.finish(&mut t, p, Word { member: NOBODY, kind: FREE.kind, ..me.word });
                t.processes[p] = self.idle(me);
                out.add(|| format!("releases chunk {c}"), t);
            }
            _ => {}
        }
    }
}
