//! Capacity zero: a short message is written to the cell of the receiver that it is given to.
//!
//! ```text
//! cell    (generation, FREE | OWN | WAITING | GIVING(giver) | HERE | BACK | GIVEN(chunk), member, count), and a payload
//! chunk   (FREE | OWN | HELD | RETURNED, member, count)    only for what goes back
//! ```
//!
//! *Sender.* Sees a cell WAITING → CAS it to GIVING(me). Writes. CAS GIVING(me) → HERE: sent. Lost: the cell is
//! OWN(me); frees it, and looks for another one. None: says so, or looks again.
//!
//! *Receiver.* Takes what went back. Else cell FREE → OWN(me) → WAITING. HERE: reads, cell OWN(me): consumed; frees it.
//! At a deadline, or if something went back: CAS WAITING → OWN(me), and frees it; or CAS GIVING(giver) → OWN(giver),
//! who is not done and frees it. BACK is taken on, HERE(me), and *in*: a chunk OWN(me) has a copy, the cell becomes
//! GIVEN(chunk), the chunk HELD(me), the cell is freed, the chunk RETURNED.
//!
//! *The dead.* OWN and WAITING is freed. GIVING(dead) is WAITING again, or freed if its receiver is dead too; GIVING to
//! a dead one is OWN(giver). HERE becomes BACK, counted. GIVEN(chunk) as in [`handoff`](crate::handoff).
//!
//! # Invariants
//! 1. Only who has the right to give writes to a cell, and nobody else has that cell before that one is done, or dead.
//! 2. A message is in a cell, or in a chunk: one that a cell names stands for nothing else.
//!
//! # What if it dies here?
//! See *The dead*: each step is a CAS from the word that was read, so any number may do them, and die in them.

mod bounds;
mod dead;

use crate::explorer::{Model, Steps};

const MAX: usize = 4;
const NOBODY: u8 = 9;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    /// Sends so many messages; may find that nobody waits.
    Sender(u8),
    /// Sends one, however long it takes.
    Patient,
    /// Receives until so many came or it gives up.
    Receiver(u8),
    /// Waits for ever for one.
    Eager,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// A giver says that it is done by a store.
    DoneByStore,
    /// Who leaves a cell where something is being given has the cell free.
    LeftFree,
    /// What a dead one was about to give is waited for.
    GiverKept,
    /// What is here for a dead one goes with it.
    HereFreed,
    /// What is taken in is returned before its cell is free.
    ReturnedFirst,
    /// A cell is free before what is here is read.
    FreedUnread,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Free,
    Own,
    Waiting,
    Giving,
    Here,
    Back,
    Given,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Word {
    generation: u8,
    phase: Phase,
    member: u8,
    /// The giver, the chunk, or how often it was delivered.
    which: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Cell {
    word: Word,
    /// A payload of two words.
    payload: [u8; 2],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Use {
    Free,
    Own,
    Held,
    Returned,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Chunk {
    sequence: u8,
    to: Use,
    member: u8,
    count: u8,
    message: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    // sending
    Scan,
    Begin,
    WriteFirst,
    WriteSecond,
    Finish,
    FreeGiven,
    // receiving
    Look,
    Post,
    Wait,
    Stand,
    FreeCell,
    ReadFirst,
    ReadSecond,
    Empty,
    TakeOn,
    Fill,
    Name,
    Hold,
    FreeNamed,
    PutBack,
    TakeBack,
    ReadChunk,
    //
    Done,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Process {
    at: At,
    cell: u8,
    chunk: u8,
    seen: Word,
    seen_chunk: Chunk,
    /// The first half of what it read.
    half: u8,
    /// Messages sent or received.
    number: u8,
    /// It wants to go home.
    late: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    cells: [Cell; 2],
    chunks: [Chunk; 2],
    processes: [Process; MAX],
    kills: u8,
    // For checks, by message: said to be sent; said to be not sent; read; in the hand of somebody who died.
    sent: u8,
    refused: u8,
    read: u8,
    excused: u8,
    wrong: Option<&'static str>,
}

const NO_WORD: Word = Word { generation: 0, phase: Phase::Free, member: NOBODY, which: 0 };
const NO_CHUNK: Chunk = Chunk { sequence: 0, to: Use::Free, member: NOBODY, count: 0, message: NOBODY };
const GONE: Process = Process {
    at: At::Dead,
    cell: NOBODY,
    chunk: NOBODY,
    seen: NO_WORD,
    seen_chunk: NO_CHUNK,
    half: NOBODY,
    number: 0,
    late: false,
};

struct GivenHere {
    roles: &'static [Role],
    kills: u8,
    planted: Planted,
}

impl GivenHere {
    fn sends(&self, p: usize) -> bool {
        matches!(self.roles[p], Role::Sender(_) | Role::Patient)
    }

    fn may_give_up(&self, p: usize) -> bool {
        matches!(self.roles[p], Role::Sender(_) | Role::Receiver(_))
    }

    fn message(&self, s: &State, p: usize) -> u8 {
        let before = self.roles[..p].iter().map(|role| match role {
            Role::Sender(n) => *n,
            Role::Patient => 1,
            _ => 0,
        });
        before.sum::<u8>() + s.processes[p].number
    }

    fn is_dead(&self, s: &State, member: u8) -> bool {
        member != NOBODY && s.processes[usize::from(member)].at == At::Dead
    }

    fn named(&self, s: &State, chunk: usize) -> bool {
        s.cells.iter().any(|cell| cell.word.phase == Phase::Given && usize::from(cell.word.which) == chunk)
    }

    /// One message is dealt with.
    fn next(&self, t: &mut State, p: usize) {
        let me = t.processes[p];
        let number = me.number + 1;
        let most = match self.roles[p] {
            Role::Sender(n) | Role::Receiver(n) => n,
            _ => 1,
        };
        let first = if self.sends(p) { At::Scan } else { At::Look };
        let at = if number == most { At::Done } else { first };
        t.processes[p] = Process { at, number, late: me.late, ..GONE };
    }

    fn was_read(&self, t: &mut State, message: u8, count: u8) {
        let bit = 1 << message;
        if t.read & bit != 0 {
            t.wrong = Some("received twice");
        } else if count > 0 && t.excused & bit == 0 {
            t.wrong = Some("marked though nobody died with it");
        }
        t.read |= bit;
    }

    fn send(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let mut t = *s;
        let at = usize::from(me.cell);
        let message = self.message(s, p);
        match me.at {
            At::Scan => {
                for (cell, seen) in s.cells.iter().enumerate() {
                    if seen.word.phase == Phase::Waiting {
                        let mut t = *s;
                        t.processes[p] = Process { at: At::Begin, cell: cell as u8, seen: seen.word, ..me };
                        out.add(|| format!("sees cell {cell} waiting"), t);
                    }
                }
                if self.may_give_up(p) && s.cells.iter().all(|cell| cell.word.phase != Phase::Waiting) {
                    t.refused |= 1 << message;
                    self.next(&mut t, p);
                    out.add(|| "sees nobody waiting".into(), t);
                }
            }
            At::Begin => {
                t.processes[p].at = At::Scan;
                let giving = Word { phase: Phase::Giving, which: p as u8, ..me.seen };
                let mine = s.cells[at].word == me.seen;
                if mine {
                    t.cells[at].word = giving;
                    t.processes[p] = Process { at: At::WriteFirst, seen: giving, ..me };
                }
                out.add(|| format!("is giving something in cell {at}: {mine}"), t);
            }
            At::WriteFirst | At::WriteSecond => {
                let half = usize::from(me.at == At::WriteSecond);
                t.cells[at].payload[half] = message;
                t.processes[p].at = if half == 0 { At::WriteSecond } else { At::Finish };
                out.add(|| format!("writes half {half} of {message} to cell {at}"), t);
            }
            At::Finish => {
                let word = s.cells[at].word;
                let done = word == me.seen || self.planted == Planted::DoneByStore;
                if done {
                    t.cells[at].word = Word { phase: Phase::Here, which: 0, ..me.seen };
                    t.sent |= 1 << message;
                    self.next(&mut t, p);
                } else {
                    let own = Word { phase: Phase::Own, member: p as u8, which: 0, ..me.seen };
                    t.processes[p].at = if word == own { At::FreeGiven } else { At::Scan };
                }
                out.add(|| format!("gives {message} in cell {at}: {done}"), t);
            }
            At::FreeGiven => {
                t.cells[at].word = Word { phase: Phase::Free, member: NOBODY, which: 0, ..s.cells[at].word };
                t.processes[p].at = At::Scan;
                out.add(|| format!("frees cell {at}, where nobody waits any more"), t);
            }
            _ => {}
        }
    }

    fn receive(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let mut t = *s;
        let (who, at, chunk) = (p as u8, usize::from(me.cell), usize::from(me.chunk));
        let free = |word: Word| Word { phase: Phase::Free, member: NOBODY, which: 0, ..word };
        match me.at {
            At::Look => {
                let mut found = false;
                for (cell, back) in s.cells.iter().enumerate().filter(|(_, it)| it.word.phase == Phase::Back)
                {
                    let mut t = *s;
                    t.processes[p] = Process { at: At::TakeOn, cell: cell as u8, seen: back.word, ..me };
                    out.add(|| format!("sees that something is back in cell {cell}"), t);
                    found = true;
                }
                for (chunk, seen) in s.chunks.iter().enumerate().filter(|(_, it)| it.to == Use::Returned) {
                    let mut t = *s;
                    t.processes[p] =
                        Process { at: At::TakeBack, chunk: chunk as u8, seen_chunk: *seen, ..me };
                    out.add(|| format!("sees that chunk {chunk} is back"), t);
                    found = true;
                }
                if found {
                    return;
                }
                if me.late {
                    t.processes[p] = Process { at: At::Done, ..GONE };
                    out.add(|| "finds nothing".into(), t);
                } else if let Some(cell) = s.cells.iter().position(|cell| cell.word.phase == Phase::Free) {
                    let generation = s.cells[cell].word.generation + 1;
                    t.cells[cell].word = Word { generation, phase: Phase::Own, member: who, which: 0 };
                    t.processes[p] = Process { at: At::Post, cell: cell as u8, ..me };
                    out.add(|| format!("takes cell {cell}"), t);
                }
            }
            At::Post => {
                t.cells[at].word.phase = Phase::Waiting;
                t.processes[p].at = At::Wait;
                out.add(|| format!("waits in cell {at}"), t);
            }
            At::Wait => {
                let back = s.cells.iter().any(|cell| cell.word.phase == Phase::Back)
                    || s.chunks.iter().any(|chunk| chunk.to == Use::Returned);
                if s.cells[at].word.phase == Phase::Here {
                    t.processes[p].at = At::ReadFirst;
                    out.add(|| "finds that it was given something".into(), t);
                } else if back || self.may_give_up(p) && !me.late {
                    (t.processes[p].at, t.processes[p].late) = (At::Stand, me.late || !back);
                    out.add(|| format!("waits no longer, something is back: {back}"), t);
                }
            }
            At::Stand => {
                let word = s.cells[at].word;
                let (to, next) = match word.phase {
                    Phase::Waiting => (Word { phase: Phase::Own, ..word }, At::FreeCell),
                    Phase::Giving if self.planted == Planted::LeftFree => (free(word), At::Look),
                    Phase::Giving => {
                        (Word { phase: Phase::Own, member: word.which, which: 0, ..word }, At::Look)
                    }
                    Phase::Here => (word, At::ReadFirst),
                    _ => (word, At::Look),
                };
                t.cells[at].word = to;
                let cell = if next == At::Look { NOBODY } else { me.cell };
                t.processes[p] = Process { at: next, cell, ..me };
                out.add(|| format!("leaves cell {at}, where it was {:?}", word.phase), t);
            }
            At::FreeCell => {
                t.cells[at].word = free(s.cells[at].word);
                t.processes[p] = Process { at: At::Look, cell: NOBODY, ..me };
                out.add(|| format!("frees cell {at}"), t);
            }
            At::ReadFirst => {
                t.processes[p].half = s.cells[at].payload[0];
                t.processes[p].at = At::ReadSecond;
                if self.planted == Planted::FreedUnread {
                    t.cells[at].word = free(s.cells[at].word);
                }
                out.add(|| format!("reads half of cell {at}"), t);
            }
            At::ReadSecond => {
                if s.cells[at].payload[1] != me.half {
                    t.wrong = Some("torn");
                }
                t.processes[p].at = At::Empty;
                out.add(|| format!("reads the rest of cell {at}"), t);
            }
            At::Empty => {
                let word = s.cells[at].word;
                self.was_read(&mut t, me.half, 0);
                t.cells[at].word = Word { phase: Phase::Own, which: 0, ..word };
                t.processes[p].at = At::FreeNamed;
                out.add(|| format!("empties cell {at}: it has {}", me.half), t);
            }
            At::TakeOn => {
                let here = Word { phase: Phase::Here, member: who, ..me.seen };
                let mine = s.cells[at].word == me.seen;
                t.processes[p].at = At::Look;
                if mine {
                    t.cells[at].word = here;
                    t.processes[p] = Process { at: At::Fill, seen: here, ..me };
                }
                out.add(|| format!("takes on what is back in cell {at}: {mine}"), t);
            }
            At::Fill => {
                let Some(chunk) = s.chunks.iter().position(|chunk| chunk.to == Use::Free) else { return };
                let [message, other] = s.cells[at].payload;
                if message != other {
                    t.wrong = Some("torn");
                }
                let sequence = s.chunks[chunk].sequence + 1;
                t.chunks[chunk] =
                    Chunk { sequence, to: Use::Own, member: who, count: me.seen.which, message };
                let at = if self.planted == Planted::ReturnedFirst { At::PutBack } else { At::Name };
                t.processes[p] = Process { at, chunk: chunk as u8, ..me };
                out.add(|| format!("copies it to chunk {chunk}"), t);
            }
            At::Name => {
                t.cells[at].word = Word { phase: Phase::Given, which: me.chunk, ..me.seen };
                t.processes[p].at = At::Hold;
                out.add(|| format!("cell {at} names chunk {chunk}"), t);
            }
            At::Hold => {
                t.chunks[chunk].to = Use::Held;
                t.processes[p].at = At::FreeNamed;
                out.add(|| format!("holds chunk {chunk}"), t);
            }
            At::FreeNamed => {
                t.cells[at].word = free(s.cells[at].word);
                if me.chunk == NOBODY {
                    self.next(&mut t, p);
                } else if self.planted == Planted::ReturnedFirst {
                    t.processes[p] = Process { at: At::Look, cell: NOBODY, chunk: NOBODY, ..me };
                } else {
                    t.processes[p] = Process { at: At::PutBack, cell: NOBODY, ..me };
                }
                out.add(|| format!("frees cell {at}"), t);
            }
            At::PutBack => {
                t.chunks[chunk] = Chunk { to: Use::Returned, member: NOBODY, ..s.chunks[chunk] };
                t.processes[p] = Process { at: At::Look, chunk: NOBODY, ..me };
                if self.planted == Planted::ReturnedFirst {
                    t.processes[p] = Process { at: At::FreeNamed, ..me };
                }
                out.add(|| format!("returns chunk {chunk}"), t);
            }
            At::TakeBack => {
                let mine = s.chunks[chunk] == me.seen_chunk;
                t.processes[p].at = At::Look;
                if mine {
                    t.chunks[chunk] = Chunk { to: Use::Held, member: who, ..me.seen_chunk };
                    t.processes[p].at = At::ReadChunk;
                }
                out.add(|| format!("takes chunk {chunk}: {mine}"), t);
            }
            At::ReadChunk => {
                let held = s.chunks[chunk];
                self.was_read(&mut t, held.message, held.count);
                t.chunks[chunk] = Chunk { to: Use::Free, member: NOBODY, ..held };
                self.next(&mut t, p);
                out.add(|| format!("reads chunk {chunk}, which has {}", held.message), t);
            }
            _ => {}
        }
    }
}

impl Model for GivenHere {
    type State = State;

    fn initial(&self) -> State {
        let mut s = State {
            cells: [Cell { word: NO_WORD, payload: [NOBODY; 2] }; 2],
            chunks: [NO_CHUNK; 2],
            processes: [GONE; MAX],
            kills: self.kills,
            sent: 0,
            refused: 0,
            read: 0,
            excused: 0,
            wrong: None,
        };
        for p in 0..self.roles.len() {
            s.processes[p].at = if self.sends(p) { At::Scan } else { At::Look };
        }
        s
    }

    fn processes(&self) -> usize {
        self.roles.len()
    }

    fn name(&self, p: usize) -> String {
        format!("{:?} {p}", self.roles[p])
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        if s.processes[p].at == At::Dead {
            return;
        }
        self.send(s, p, out);
        self.receive(s, p, out);
        self.tidy(s, out);
    }

    fn kill(&self, s: &State, p: usize) -> Option<State> {
        if s.kills == 0 || matches!(s.processes[p].at, At::Done | At::Dead) {
            return None;
        }
        let mut t = *s;
        t.kills -= 1;
        t.processes[p] = GONE;
        Some(t)
    }

    fn check(&self, s: &State) -> Result<(), String> {
        if let Some(wrong) = s.wrong {
            return Err(wrong.into());
        }
        if s.read & s.refused != 0 {
            return Err("received, and said not to be sent".into());
        }
        for (at, cell) in s.cells.iter().enumerate().filter(|(_, cell)| cell.word.phase == Phase::Here) {
            let member = usize::from(cell.word.member);
            if s.processes[member].at != At::Dead && usize::from(s.processes[member].cell) != at {
                return Err(format!("here, in cell {at}, for one who left"));
            }
        }
        for message in 0..8 {
            if (s.sent & !s.read) >> message & 1 == 1 {
                let cell = |cell: &Cell| {
                    matches!(cell.word.phase, Phase::Here | Phase::Back) && cell.payload == [message; 2]
                };
                let chunk = |(at, chunk): (usize, &Chunk)| {
                    let there = matches!(chunk.to, Use::Held | Use::Returned) || self.named(s, at);
                    chunk.message == message && there
                };
                if !s.cells.iter().any(cell) && !s.chunks.iter().enumerate().any(chunk) {
                    return Err(format!("message {message} is lost"));
                }
            }
        }
        Ok(())
    }

    fn done(&self, s: &State) -> bool {
        let living: Vec<usize> = (0..self.roles.len()).filter(|p| s.processes[*p].at != At::Dead).collect();
        let eager = |p: &usize| s.processes[*p].at == At::Wait && self.roles[*p] == Role::Eager;
        let patient = |p: &usize| s.processes[*p].at == At::Scan && self.roles[*p] == Role::Patient;
        let all = living.iter().all(|p| s.processes[*p].at == At::Done || eager(p) || patient(p));
        let met = living.iter().any(eager) && living.iter().any(patient);
        let waits = living.iter().any(eager);
        let back = s.cells.iter().any(|cell| matches!(cell.word.phase, Phase::Back | Phase::Here))
            || s.chunks.iter().any(|chunk| chunk.to == Use::Returned);
        let left = s.chunks.iter().any(|chunk| self.is_dead(s, chunk.member))
            || s.cells.iter().any(|cell| self.is_dead(s, cell.word.member))
            || s.cells.iter().any(|cell| cell.word.phase == Phase::Giving);
        all && !met && !(back && waits) && (!left || living.is_empty())
    }
}
