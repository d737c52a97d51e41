//! Calls: the answer finds its caller, whoever gives up, is late, or dies.
//!
//! ```text
//! cell      (generation, FREE | OWN | CALLING | ANSWERING | ANSWERED | DROPPED | ABANDONED, member), number, caller, what it holds
//! chunk     (sequence, FREE | OWN, member)          a long answer; the cell names it
//! question  (cell, number), queued or in a server's hand
//! ```
//!
//! *Caller.* Cell FREE → OWN(me), number → CALLING; the question is queued; waits until it is ANSWERED or DROPPED. Reads, frees the chunk, then
//! the cell. Gives up: CALLING → FREE, ANSWERING(other) → ABANDONED(other).
//!
//! *Server.* Takes a question in hand. Holds on to it, by one CAS that fails if another has it by now. Fills a chunk if the answer is long. Looks: CALLING, and of that number → CAS to ANSWERING(me); writes; CAS to
//! ANSWERED; consumes the question. ABANDONED meanwhile: frees the cell and the chunk. A mute server consumes it without an answer: CALLING → DROPPED first.
//!
//! *The dead.* A caller's OWN, CALLING, DROPPED → FREE; ANSWERED: the chunk is freed, then the cell; ANSWERING of a server who lives →
//! ABANDONED. ANSWERING of a dead server → CALLING, next generation; ABANDONED of one → FREE. Its chunk is freed unless an ANSWERED cell
//! names it. What it had in hand is queued again. When all that is done its row is another's, who lives.
//!
//! A question in the hand of one who has not held on to it may go to a second server: the first one is fenced off (how, is in the model of
//! fencing).
//!
//! # Invariants
//! 1. A caller reads the answer to its own question.
//! 2. Only who has the question in hand answers or drops it, so no two do; what a caller gets is from one who is told that it answered.
//! 3. In the end every caller has what it wanted, and nothing is left over.

use crate::explorer::{Model, Steps};

mod cases;

const MAX: usize = 3;
const NOBODY: u8 = 9;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    /// Calls so often; gives up when it likes to.
    Caller(u8),
    /// Calls once, and waits for ever.
    Patient,
    /// Answers what comes, in the cell or in a chunk.
    Short,
    Long,
    /// Consumes what comes.
    Mute,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// Who answers does not look whose call it is.
    NumberUnchecked,
    /// Who gives up frees a cell that somebody is writing to.
    FreedUnderWriter,
    /// A dead server's chunk is freed though a cell names it.
    NamedFreed,
    /// A dead server's claim of a cell stays.
    ClaimKept,
    /// The caller frees the cell before the chunk.
    CellFirst,
    /// Who was fenced off answers all the same.
    LateAnswers,
    /// A dead caller's row is another's while somebody answers it still.
    RowInCell,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Free,
    Own,
    Calling,
    Answering,
    Answered,
    Dropped,
    Abandoned,
}

/// What a cell holds: the answer to a question, or the chunk that has it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Content {
    Nothing,
    Answer(u8),
    Chunk(u8, u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Cell {
    generation: u8,
    phase: Phase,
    member: u8,
    number: u8,
    caller: u8,
    content: Content,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Chunk {
    sequence: u8,
    member: u8,
    answer: u8,
}

/// Who has it; the number is the question's own, and the call's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Question {
    there: bool,
    /// In whose hand it is.
    holder: u8,
    /// That one has held on to it.
    held_on: bool,
    cell: u8,
    number: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    // calling
    Begin,
    Post,
    Ask,
    Wait,
    Read,
    FreeChunk,
    FreeCell,
    // answering
    Take,
    HoldOn,
    Fill,
    Look,
    Claim,
    Write,
    Tell,
    PutAway,
    Drop,
    Consume,
    //
    Done,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Process {
    at: At,
    calls: u8,
    cell: u8,
    question: u8,
    /// The question's, as it was read.
    number: u8,
    chunk: u8,
    seen: Cell,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    cells: [Cell; 2],
    chunks: [Chunk; 2],
    questions: [Question; 3],
    processes: [Process; MAX],
    /// Its row is another's, who lives.
    swept: [bool; MAX],
    kills: u8,
    /// Questions that may still be given to a second server.
    doubles: u8,
    next: u8,
    wrong: Option<&'static str>,
}

const NO_CELL: Cell = Cell {
    generation: 0,
    phase: Phase::Free,
    member: NOBODY,
    number: 0,
    caller: NOBODY,
    content: Content::Nothing,
};
const NO_CHUNK: Chunk = Chunk { sequence: 0, member: NOBODY, answer: 0 };
const NO_QUESTION: Question = Question { there: false, holder: NOBODY, held_on: false, cell: 0, number: 0 };
const GONE: Process = Process {
    at: At::Dead,
    calls: 0,
    cell: NOBODY,
    question: NOBODY,
    number: 0,
    chunk: NOBODY,
    seen: NO_CELL,
};

struct Calls {
    roles: &'static [Role],
    kills: u8,
    doubles: u8,
    planted: Planted,
}

impl Calls {
    fn most(&self, p: usize) -> u8 {
        match self.roles[p] {
            Role::Caller(n) => n,
            _ => 1,
        }
    }

    fn is_dead(s: &State, member: u8) -> bool {
        let of = usize::from(member);
        member != NOBODY && s.processes[of].at == At::Dead && !s.swept[of]
    }

    /// Whether a server has the question in hand that it took.
    fn has(s: &State, p: usize) -> bool {
        let me = &s.processes[p];
        let question = &s.questions[usize::from(me.question)];
        question.number == me.number && usize::from(question.holder) == p
    }

    fn names(s: &State, at: usize) -> bool {
        let ticket = Content::Chunk(at as u8, s.chunks[at].sequence);
        s.cells.iter().any(|cell| cell.phase == Phase::Answered && cell.content == ticket)
    }

    fn call(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let mut t = *s;
        let at = usize::from(me.cell);
        match me.at {
            At::Begin => {
                let Some(free) = s.cells.iter().position(|cell| cell.phase == Phase::Free) else { return };
                let cell = &mut t.cells[free];
                *cell = Cell { generation: cell.generation + 1, phase: Phase::Own, member: p as u8, ..*cell };
                t.processes[p] = Process { at: At::Post, cell: free as u8, ..me };
                out.add(|| format!("takes cell {free}"), t);
            }
            At::Post => {
                let cell = &mut t.cells[at];
                *cell = Cell { phase: Phase::Calling, number: s.next, caller: p as u8, ..*cell };
                t.next += 1;
                t.processes[p].at = At::Ask;
                out.add(|| format!("is calling, number {}", s.next), t);
            }
            At::Ask => {
                let Some(free) = s.questions.iter().position(|question| !question.there) else { return };
                let number = s.cells[at].number;
                t.questions[free] = Question { there: true, cell: me.cell, number, ..NO_QUESTION };
                t.processes[p].at = At::Wait;
                out.add(|| format!("asks question {number}"), t);
            }
            At::Wait => {
                let cell = s.cells[at];
                let over = Process { at: At::Begin, calls: me.calls + 1, ..GONE };
                let over = if over.calls == self.most(p) { Process { at: At::Done, ..over } } else { over };
                match cell.phase {
                    Phase::Answered | Phase::Dropped => {
                        t.processes[p].at =
                            if cell.phase == Phase::Answered { At::Read } else { At::FreeCell };
                        out.add(|| format!("finds {:?}", cell.phase), t);
                    }
                    Phase::Calling | Phase::Answering if matches!(self.roles[p], Role::Caller(_)) => {
                        let writing =
                            cell.phase == Phase::Answering && self.planted != Planted::FreedUnderWriter;
                        t.cells[at].phase = if writing { Phase::Abandoned } else { Phase::Free };
                        t.processes[p] = over;
                        out.add(|| "gives up".into(), t);
                    }
                    _ => {}
                }
            }
            At::Read => {
                let cell = s.cells[at];
                let answer = match cell.content {
                    Content::Answer(answer) => Some(answer),
                    Content::Chunk(which, sequence) => {
                        let chunk = s.chunks[usize::from(which)];
                        (chunk.sequence == sequence && chunk.member != NOBODY).then_some(chunk.answer)
                    }
                    Content::Nothing => None,
                };
                if answer != Some(cell.number) {
                    t.wrong = Some("another's answer");
                }
                let first = if self.planted == Planted::CellFirst { At::FreeCell } else { At::FreeChunk };
                t.processes[p].at = first;
                t.processes[p].seen = cell;
                out.add(|| format!("reads {answer:?}"), t);
            }
            At::FreeChunk => {
                if let Content::Chunk(which, sequence) = me.seen.content
                    && s.chunks[usize::from(which)].sequence == sequence
                {
                    t.chunks[usize::from(which)].member = NOBODY;
                }
                t.processes[p].at = At::FreeCell;
                if self.planted == Planted::CellFirst {
                    t.processes[p].at = At::Done;
                }
                out.add(|| "frees the chunk".into(), t);
            }
            At::FreeCell => {
                t.cells[at].phase = Phase::Free;
                t.processes[p] = Process { at: At::Begin, calls: me.calls + 1, seen: me.seen, ..GONE };
                if me.calls + 1 == self.most(p) {
                    t.processes[p].at = At::Done;
                    t.processes[p].seen = NO_CELL;
                }
                if self.planted == Planted::CellFirst && s.cells[at].phase == Phase::Answered {
                    t.processes[p] = Process { at: At::FreeChunk, ..me };
                }
                out.add(|| format!("frees cell {at}"), t);
            }
            _ => {}
        }
    }

    fn serve(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let mut t = *s;
        let of = usize::from(me.question);
        match me.at {
            At::Take => {
                for (at, question) in s.questions.iter().enumerate() {
                    let queued = question.holder == NOBODY;
                    let overdue = s.doubles > 0 && !question.held_on && usize::from(question.holder) != p;
                    if !question.there || !queued && !overdue {
                        continue;
                    }
                    let mut t = *s;
                    t.doubles -= u8::from(!queued);
                    t.questions[at].holder = p as u8;
                    t.processes[p] = Process {
                        at: At::HoldOn,
                        question: at as u8,
                        number: question.number,
                        cell: question.cell,
                        ..me
                    };
                    out.add(|| format!("takes question {}", question.number), t);
                }
            }
            At::HoldOn => {
                let next = match self.roles[p] {
                    Role::Long => At::Fill,
                    Role::Mute => At::Drop,
                    _ => At::Look,
                };
                if Self::has(s, p) && self.planted != Planted::LateAnswers {
                    t.questions[of].held_on = true;
                    t.processes[p].at = next;
                } else if self.planted == Planted::LateAnswers {
                    t.processes[p].at = next;
                } else {
                    t.processes[p].at = At::PutAway;
                }
                out.add(|| format!("holds on to question {}", me.number), t);
            }
            At::Fill => {
                let Some(at) = s.chunks.iter().position(|chunk| chunk.member == NOBODY) else { return };
                let sequence = s.chunks[at].sequence.wrapping_add(1); // a planted error may go round and round
                t.chunks[at] = Chunk { sequence, member: p as u8, answer: me.number };
                t.processes[p] = Process { at: At::Look, chunk: at as u8, ..me };
                out.add(|| format!("fills chunk {at}"), t);
            }
            At::Look | At::Drop => {
                let cell = s.cells[usize::from(me.cell)];
                let same = cell.number == me.number || self.planted == Planted::NumberUnchecked;
                if cell.phase == Phase::Answering && same && Self::is_dead(s, cell.member) {
                    return; // puts that in order first
                }
                t.processes[p].seen = cell;
                t.processes[p].at = match cell.phase {
                    Phase::Calling if same => At::Claim,
                    Phase::Answering if same => {
                        if cell.number == me.number {
                            t.wrong = Some("two answer one question");
                        }
                        At::PutAway
                    }
                    _ => At::Consume,
                };
                out.add(|| format!("looks at cell {}: {:?}", me.cell, cell.phase), t);
            }
            At::Claim => {
                let cell = &mut t.cells[usize::from(me.cell)];
                if *cell != me.seen {
                    t.processes[p].at = if self.roles[p] == Role::Mute { At::Drop } else { At::Look };
                } else if self.roles[p] == Role::Mute {
                    cell.phase = Phase::Dropped;
                    t.processes[p].at = At::Consume;
                    if !Self::has(s, p) {
                        t.wrong = Some("two answer one question");
                    }
                } else {
                    (cell.phase, cell.member) = (Phase::Answering, p as u8);
                    t.processes[p] = Process { at: At::Write, seen: *cell, ..me };
                }
                out.add(|| format!("claims cell {}", me.cell), t);
            }
            At::Write => {
                let answer = Content::Answer(me.number);
                let chunk = |at: u8| Content::Chunk(at, s.chunks[usize::from(at)].sequence);
                let content = if me.chunk == NOBODY { answer } else { chunk(me.chunk) };
                t.cells[usize::from(me.cell)].content = content;
                t.processes[p].at = At::Tell;
                out.add(|| format!("writes {content:?}"), t);
            }
            At::Tell => {
                let cell = &mut t.cells[usize::from(me.cell)];
                let mine = (cell.generation, cell.member) == (me.seen.generation, p as u8);
                match cell.phase {
                    Phase::Answering if mine => {
                        (cell.phase, cell.member) = (Phase::Answered, cell.caller);
                        t.processes[p] = Process { at: At::Consume, chunk: NOBODY, ..me };
                        if !Self::has(s, p) {
                            t.wrong = Some("two answer one question");
                        }
                    }
                    Phase::Abandoned if mine => {
                        cell.phase = Phase::Free;
                        t.processes[p].at = At::Consume;
                    }
                    _ => t.processes[p].at = At::Consume,
                }
                out.add(|| "tells".into(), t);
            }
            At::Consume => {
                if Self::has(s, p) {
                    t.questions[of] = NO_QUESTION;
                }
                t.processes[p].at = At::PutAway;
                out.add(|| "consumes the question".into(), t);
            }
            At::PutAway => {
                if me.chunk != NOBODY {
                    t.chunks[usize::from(me.chunk)].member = NOBODY;
                }
                t.processes[p] = Process { at: At::Take, ..GONE };
                out.add(|| "is free for the next".into(), t);
            }
            _ => {}
        }
    }

    /// One step with a cell that names a dead one.
    fn put_in_order(&self, s: &State, at: usize, dead: impl Fn(u8) -> bool) -> Option<State> {
        let cell = s.cells[at];
        let mut t = *s;
        match (cell.phase, cell.content) {
            (Phase::Free, _) => return None,
            (Phase::Answering, _) if dead(cell.member) && self.planted != Planted::ClaimKept => {
                let generation = cell.generation + 1;
                t.cells[at] = Cell { generation, phase: Phase::Calling, member: cell.caller, ..cell };
            }
            (Phase::Answering, _) if dead(cell.member) || !dead(cell.caller) => return None,
            (Phase::Answering, _) if self.planted == Planted::RowInCell => return None,
            (Phase::Answering, _) => t.cells[at].phase = Phase::Abandoned,
            _ if !dead(cell.member) => return None,
            (Phase::Answered, Content::Chunk(which, sequence))
                if s.chunks[usize::from(which)].sequence == sequence
                    && s.chunks[usize::from(which)].member != NOBODY =>
            {
                t.chunks[usize::from(which)].member = NOBODY;
            }
            _ => t.cells[at].phase = Phase::Free,
        }
        Some(t)
    }

    /// All that a dead one had is in order, and its row another's. (Those steps one by one are those of `tidy`.)
    fn sweep(&self, s: &State, out: &mut Steps<State>) {
        for who in (0..MAX).filter(|who| *who < self.roles.len() && Self::is_dead(s, *who as u8)) {
            let mut t = *s;
            for at in 0..s.cells.len() {
                while let Some(next) = self.put_in_order(&t, at, |member| usize::from(member) == who) {
                    t = next;
                }
            }
            for at in 0..s.chunks.len() {
                if usize::from(t.chunks[at].member) == who && !Self::names(&t, at) {
                    t.chunks[at].member = NOBODY;
                }
            }
            for question in t.questions.iter_mut().filter(|question| usize::from(question.holder) == who) {
                (question.holder, question.held_on) = (NOBODY, false);
            }
            t.swept[who] = true;
            out.add(|| format!("has the row of {who}"), t);
        }
    }

    /// What anybody who lives may do about the dead. Each is one CAS, on what was just read.
    fn tidy(&self, s: &State, out: &mut Steps<State>) {
        for at in 0..s.cells.len() {
            if let Some(t) = self.put_in_order(s, at, |member| Self::is_dead(s, member)) {
                out.add(|| format!("puts cell {at} of the dead in order"), t);
            }
        }
        for at in 0..s.chunks.len() {
            let named = Self::names(s, at) && self.planted != Planted::NamedFreed;
            if Self::is_dead(s, s.chunks[at].member) && !named {
                let mut t = *s;
                t.chunks[at].member = NOBODY;
                out.add(|| format!("frees chunk {at} of the dead"), t);
            }
        }
        for (at, question) in s.questions.iter().enumerate() {
            if Self::is_dead(s, question.holder) {
                let mut t = *s;
                (t.questions[at].holder, t.questions[at].held_on) = (NOBODY, false);
                out.add(|| format!("gives question {} back", question.number), t);
            }
        }
    }
}

impl Model for Calls {
    type State = State;

    fn initial(&self) -> State {
        let mut processes = [GONE; MAX];
        for (process, role) in processes.iter_mut().zip(self.roles) {
            let first = if matches!(role, Role::Caller(_) | Role::Patient) { At::Begin } else { At::Take };
            process.at = first;
        }
        State {
            cells: [NO_CELL; 2],
            chunks: [NO_CHUNK; 2],
            questions: [NO_QUESTION; 3],
            processes,
            swept: [false; MAX],
            kills: self.kills,
            doubles: self.doubles,
            next: 1,
            wrong: None,
        }
    }

    fn processes(&self) -> usize {
        self.roles.len()
    }

    fn name(&self, p: usize) -> String {
        format!("{:?} {p}", self.roles[p])
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        if s.processes[p].at != At::Dead {
            self.call(s, p, out);
            self.serve(s, p, out);
            self.tidy(s, out);
            self.sweep(s, out);
        }
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
        s.wrong.map_or(Ok(()), |wrong| Err(wrong.into()))
    }

    /// Callers have what they wanted, or nobody is there to answer; and nothing is left over.
    fn done(&self, s: &State) -> bool {
        let alive = |p: usize| s.processes[p].at != At::Dead;
        let calls = |p: usize| matches!(self.roles[p], Role::Caller(_) | Role::Patient);
        let served = (0..self.roles.len()).any(|p| alive(p) && !calls(p));
        let at_rest = |p: usize| match s.processes[p].at {
            At::Dead | At::Done | At::Take => true,
            At::Wait => !served,
            _ => false,
        };
        let waits = (0..self.roles.len()).any(|p| s.processes[p].at == At::Wait);
        let left = s.cells.iter().any(|cell| cell.phase != Phase::Free)
            || s.chunks.iter().any(|chunk| chunk.member != NOBODY)
            || served && s.questions.iter().any(|question| question.there);
        (0..self.roles.len()).all(at_rest) && (waits || !left)
    }
}
