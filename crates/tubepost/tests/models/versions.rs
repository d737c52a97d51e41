//! A region: whole versions for readers, one writer at a time, and fences instead of a lock.
//!
//! ```text
//! current       (hold, seat, buffer, held?): which buffer has the newest version, who may make the next one
//! rows          one per reader: idle, asking, or pinned (buffer, hold)
//! editing       one per seat: nothing, or (hold, buffer)
//! whole         one per buffer: the version that all of it is, or 0: nobody knows
//! head          one per buffer: its version, and what the last versions changed
//! ```
//!
//! *Reader*. Load `current`; row = pinned (that buffer), by a swap; load `current` again: the same buffer, go and read. Else row = asking, by a swap. Load `current`. CAS row → pinned (that buffer, that hold). If that fails a
//! writer has answered: take what it gave if its hold is not older than the one loaded, else ask again. Read. Row = idle.
//!
//! *Writer*. `editing` = a guess which buffer will be free. CAS `current` → (hold + 1, me, same buffer, held): of one that nobody holds, or of one whose holder is dead or late. Answer
//! each row that asks by CAS with the present buffer and one's own hold; note what is pinned. Note what others edit. If nobody uses the guess,
//! take it; else a buffer that nobody uses: `editing` = it. Look at `current` again: changed, give up. Make the buffer the same as the present one: whole = 0; copy what was
//! changed since the version that it was whole at, or everything. Edit. Write its head. CAS `current` → (same hold, me, it, not
//! held): committed, or fenced. Committed: whole = the new version. `editing` = nothing.
//!
//! *Sweeping a dead writer*: CAS `editing` → nothing. A dead reader: CAS its row → idle.
//!
//! # Invariants
//! 1. A buffer is written by one process at a time, who has it in `editing`; and nobody has it pinned.
//! 2. A buffer that is whole at a version has just what was committed as that version.
//! 3. What a reader pinned was committed, and stays as it was until its row is idle.
//!
//! # What if it dies here?
//! - a writer anywhere before its commit: nothing changed; the next one fences it. Its buffer comes back when somebody sweeps.
//! - right behind its commit: committed. Its buffer counts as not whole: one copy too many.
//! - a reader: its buffer stays used until somebody sweeps.

mod cases;

use crate::explorer::{Model, Steps};

const BUFFERS: usize = 4;
const WRITERS: usize = 3;
const READERS: usize = 2;
const VERSIONS: usize = 6;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// A writer does not look at `current` again after it said what it edits.
    NoLook,
    /// Nobody says what he edits.
    NoEditing,
    /// A writer takes its guess without asking whether it is used.
    Guesses,
    /// A writer guesses after it has acquired, and does not look again.
    GuessesLate,
    /// A reader takes what it pinned without looking again.
    PinsBlindly,
    /// A reader takes any answer.
    AnyAnswer,
    /// A writer leaves who asks alone.
    NoAnswer,
    /// A buffer stays whole while it is edited.
    StaysWhole,
    /// … or is whole before the commit.
    WholeTooSoon,
    /// What was changed is told for the last version only, and taken for all.
    Forgets,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Current {
    hold: u8,
    seat: u8,
    buffer: u8,
    held: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Row {
    Idle,
    Asking,
    Pinned { buffer: u8, hold: u8 },
}

/// The two words of the data; each names the commit that wrote it.
type Data = [u8; 2];

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Head {
    version: u8,
    /// Which word each of the last versions changed, the newest first, as far as told.
    changed: [Option<u8>; 2],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    /// A writer.
    Guess,
    Acquire,
    GuessLate,
    LookAtRow(u8),
    Answer(u8),
    SweepRow(u8, Row),
    LookAtEditing(u8),
    SweepEditing(u8, (u8, u8)),
    Record,
    LookAgain,
    Invalidate,
    Copy(u8),
    Edit,
    WriteHead,
    Commit,
    MakeWhole,
    LetGo,
    /// A reader.
    LoadFirst,
    PinFirst,
    LookFirst,
    Ask,
    Load,
    Pin,
    Read(u8),
    Idle,
    Done,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Process {
    at: At,
    rounds: u8,
    /// What it has of `current`.
    seen: Current,
    /// A bit for each buffer in use; the buffer it has.
    used: u8,
    buffer: u8,
    /// A writer: which words have yet to be copied, which one it changes. A reader: the first word.
    copy: u8,
    word: u8,
    last: u8,
}

const FIRST: Current = Current { hold: 0, seat: 0, buffer: 0, held: false };
const NEW: Process =
    Process { at: At::Done, rounds: 0, seen: FIRST, used: 0, buffer: 0, copy: 0, word: 0, last: 0 };

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    current: Current,
    rows: [Row; READERS],
    editing: [Option<(u8, u8)>; WRITERS],
    whole: [u8; BUFFERS],
    heads: [Head; BUFFERS],
    data: [Data; BUFFERS],
    /// What was committed as each version.
    truth: [Data; VERSIONS + 1],
    process: [Process; WRITERS + READERS],
    kills: u8,
    fences: u8,
    wrong: Option<&'static str>,
}

#[derive(Clone, Copy)]
struct Versions {
    writers: usize,
    readers: usize,
    commits: u8,
    reads: u8,
    kills: u8,
    /// How often one is fenced.
    fences: u8,
    /// Readers pin before they ask; writers guess.
    guesses: bool,
    planted: Planted,
}

impl Versions {
    fn first(&self) -> At {
        if self.guesses { At::LoadFirst } else { At::Ask }
    }

    fn write(&self, s: &mut State, w: usize) -> Option<&'static str> {
        let mut p = s.process[w];
        let label = match p.at {
            At::Guess => {
                p.at = At::Acquire;
                if self.planted != Planted::GuessesLate && self.guesses {
                    // The buffer before the present one, as a rule.
                    p.buffer = (s.current.buffer + 1 + 2 * (p.rounds & 1)) % BUFFERS as u8;
                    s.editing[w] = Some((0, p.buffer));
                }
                "guesses"
            }
            At::GuessLate => {
                p.buffer = (p.seen.buffer + 1 + 2 * (p.rounds & 1)) % BUFFERS as u8;
                s.editing[w] = Some((0, p.buffer));
                p.at = At::LookAtRow(0);
                "guesses"
            }
            At::Acquire => {
                // A living holder may be late at any time.
                let c = s.current;
                if c.held && (usize::from(c.seat) == w || s.fences == 0) {
                    return None;
                }
                s.fences -= u8::from(c.held);
                s.current = Current { hold: c.hold + 1, seat: w as u8, buffer: c.buffer, held: true };
                p.seen = s.current;
                p.used = 1 << c.buffer;
                p.at = if self.planted == Planted::GuessesLate { At::GuessLate } else { At::LookAtRow(0) };
                if c.held { "fences the holder" } else { "acquires" }
            }
            At::LookAtRow(i) if usize::from(i) == self.readers => {
                p.at = At::LookAtEditing(0);
                "has seen all rows"
            }
            At::LookAtRow(i) => {
                let row = s.rows[usize::from(i)];
                p.at = match row {
                    Row::Asking if self.planted != Planted::NoAnswer => At::Answer(i),
                    Row::Pinned { .. } if s.process[WRITERS + usize::from(i)].at == At::Dead => {
                        At::SweepRow(i, row)
                    }
                    Row::Pinned { buffer, .. } => {
                        p.used |= 1 << buffer;
                        At::LookAtRow(i + 1)
                    }
                    _ => At::LookAtRow(i + 1),
                };
                "looks at a row"
            }
            At::Answer(i) => {
                let row = &mut s.rows[usize::from(i)];
                let c = p.seen;
                if *row == Row::Asking {
                    *row = Row::Pinned { buffer: c.buffer, hold: c.hold };
                }
                if let Row::Pinned { buffer, .. } = *row {
                    p.used |= 1 << buffer;
                }
                p.at = At::LookAtRow(i + 1);
                "answers a row"
            }
            At::SweepRow(i, row) => {
                if s.rows[usize::from(i)] == row {
                    s.rows[usize::from(i)] = Row::Idle;
                }
                p.at = At::LookAtRow(i + 1);
                "sweeps a dead reader's row"
            }
            At::LookAtEditing(j) if usize::from(j) == self.writers => {
                let free = (0..BUFFERS as u8).find(|b| p.used >> b & 1 == 0);
                let guessed = s.editing[w].is_some_and(|edits| edits.1 == p.buffer);
                if guessed && (p.used >> p.buffer & 1 == 0 || self.planted == Planted::Guesses) {
                    p.at = At::Invalidate;
                    s.process[w] = p;
                    return Some("has seen what all edit, and takes its guess");
                }
                match free {
                    Some(free) => {
                        p.buffer = free;
                        p.at = At::Record;
                    }
                    None => s.wrong = Some("no buffer is free"),
                }
                "has seen what all edit"
            }
            At::LookAtEditing(j) => {
                p.at = At::LookAtEditing(j + 1);
                if let Some(edits) = s.editing[usize::from(j)]
                    && usize::from(j) != w
                {
                    if s.process[usize::from(j)].at == At::Dead {
                        p.at = At::SweepEditing(j, edits);
                    } else {
                        p.used |= 1 << edits.1;
                    }
                }
                "looks at what another edits"
            }
            At::SweepEditing(j, edits) => {
                let word = &mut s.editing[usize::from(j)];
                if *word == Some(edits) {
                    *word = None;
                }
                p.at = At::LookAtEditing(j + 1);
                "sweeps what a dead one edited"
            }
            At::Record => {
                if self.planted != Planted::NoEditing {
                    s.editing[w] = Some((p.seen.hold, p.buffer));
                }
                p.at = if self.planted == Planted::NoLook { At::Invalidate } else { At::LookAgain };
                "says what it edits"
            }
            At::LookAgain => {
                p.at = if s.current == p.seen { At::Invalidate } else { At::LetGo };
                "looks at current again"
            }
            At::Invalidate => {
                let (from, to) = (s.heads[usize::from(p.seen.buffer)], usize::from(p.buffer));
                let behind = from.version - s.whole[to].min(from.version);
                let known = if self.planted == Planted::Forgets { 1 } else { behind };
                let told = from.changed.iter().take(known.into()).flatten().count();
                p.copy = match s.whole[to] {
                    0 => 0b11,
                    _ if told < usize::from(known) || usize::from(known) > from.changed.len() => 0b11,
                    _ => from.changed.iter().take(told).flatten().fold(0, |copy, word| copy | 1 << word),
                };
                if self.planted != Planted::StaysWhole {
                    s.whole[to] = 0;
                }
                p.at = At::Copy(0);
                "says that its buffer is not whole"
            }
            At::Copy(2) => {
                p.at = At::Edit;
                "has copied"
            }
            At::Copy(word) => {
                if p.copy >> word & 1 == 1 {
                    s.data[usize::from(p.buffer)][usize::from(word)] =
                        s.data[usize::from(p.seen.buffer)][usize::from(word)];
                }
                p.at = At::Copy(word + 1);
                "copies a word"
            }
            At::Edit => {
                p.word = p.seen.hold >> 1 & 1;
                s.data[usize::from(p.buffer)][usize::from(p.word)] = p.seen.hold;
                p.at = At::WriteHead;
                "edits a word"
            }
            At::WriteHead => {
                let from = s.heads[usize::from(p.seen.buffer)];
                s.heads[usize::from(p.buffer)] =
                    Head { version: from.version + 1, changed: [Some(p.word), from.changed[0]] };
                if self.planted == Planted::WholeTooSoon {
                    s.whole[usize::from(p.buffer)] = from.version + 1;
                }
                p.at = At::Commit;
                "writes the head"
            }
            At::Commit => {
                if s.current == p.seen {
                    s.current = Current { buffer: p.buffer, held: false, ..p.seen };
                    let version = usize::from(s.heads[usize::from(p.buffer)].version);
                    s.truth[version] = s.truth[version - 1];
                    s.truth[version][usize::from(p.word)] = p.seen.hold;
                    if s.data[usize::from(p.buffer)] != s.truth[version] {
                        s.wrong = Some("what was committed is not what was meant");
                    }
                    p.at = if self.planted == Planted::WholeTooSoon { At::LetGo } else { At::MakeWhole };
                    "commits"
                } else {
                    p.at = At::LetGo;
                    "is told that its lease has expired"
                }
            }
            At::MakeWhole => {
                s.whole[usize::from(p.buffer)] = s.heads[usize::from(p.buffer)].version;
                p.at = At::LetGo;
                "says that its buffer is whole"
            }
            At::LetGo => {
                s.editing[w] = None;
                let rounds = p.rounds - 1;
                p = Process { rounds, at: if rounds == 0 { At::Done } else { At::Guess }, ..NEW };
                "lets go"
            }
            _ => return None,
        };
        s.process[w] = p;
        Some(label)
    }

    fn read(&self, s: &mut State, r: usize) -> Option<&'static str> {
        let mut p = s.process[WRITERS + r];
        let label = match p.at {
            At::LoadFirst => {
                p.seen = s.current;
                p.at = At::PinFirst;
                "loads current"
            }
            At::PinFirst => {
                s.rows[r] = Row::Pinned { buffer: p.seen.buffer, hold: p.seen.hold };
                p.at = At::LookFirst;
                "pins what was present"
            }
            At::LookFirst => {
                let same = s.current.buffer == p.seen.buffer || self.planted == Planted::PinsBlindly;
                p.buffer = if same { p.seen.buffer } else { 0 };
                p.at = if same { At::Read(0) } else { At::Ask };
                "looks at current again"
            }
            At::Ask => {
                s.rows[r] = Row::Asking;
                p.at = At::Load;
                "asks"
            }
            At::Load => {
                p.seen = s.current;
                p.at = At::Pin;
                "loads current"
            }
            At::Pin => {
                match s.rows[r] {
                    Row::Asking => {
                        s.rows[r] = Row::Pinned { buffer: p.seen.buffer, hold: p.seen.hold };
                        p.buffer = p.seen.buffer;
                        p.at = At::Read(0);
                    }
                    Row::Pinned { buffer, hold }
                        if hold >= p.seen.hold || self.planted == Planted::AnyAnswer =>
                    {
                        p.buffer = buffer;
                        p.at = At::Read(0);
                    }
                    _ => p.at = At::Ask,
                }
                "pins, or takes what it was given"
            }
            At::Read(0) => {
                p.word = s.data[usize::from(p.buffer)][0];
                p.at = At::Read(1);
                "reads the first word"
            }
            At::Read(_) => {
                let version = s.heads[usize::from(p.buffer)].version;
                let read = [p.word, s.data[usize::from(p.buffer)][1]];
                if read != s.truth[usize::from(version)] {
                    s.wrong = Some("torn, or never committed");
                }
                if version < p.last {
                    s.wrong = Some("back in time");
                }
                p.last = version;
                p.at = At::Idle;
                "reads the second word"
            }
            At::Idle => {
                s.rows[r] = Row::Idle;
                (p.rounds, p.word, p.buffer, p.seen) = (p.rounds - 1, 0, 0, FIRST);
                p.at = if p.rounds == 0 { At::Done } else { self.first() };
                "lets go"
            }
            _ => return None,
        };
        s.process[WRITERS + r] = p;
        Some(label)
    }
}

impl Model for Versions {
    type State = State;

    fn initial(&self) -> State {
        let process = |i: usize| {
            let (at, rounds) = match i {
                _ if i < self.writers => (At::Guess, self.commits),
                _ if i >= WRITERS && i < WRITERS + self.readers => (self.first(), self.reads),
                _ => (At::Done, 0),
            };
            Process { at, rounds, ..NEW }
        };
        let mut whole = [0; BUFFERS];
        whole[0] = 1;
        let mut heads = [Head::default(); BUFFERS];
        heads[0].version = 1;
        State {
            current: FIRST,
            rows: [Row::Idle; READERS],
            editing: [None; WRITERS],
            whole,
            heads,
            data: [[0; 2]; BUFFERS],
            truth: [[0; 2]; VERSIONS + 1],
            process: std::array::from_fn(process),
            kills: self.kills,
            fences: self.fences,
            wrong: None,
        }
    }

    fn processes(&self) -> usize {
        WRITERS + READERS
    }

    fn name(&self, p: usize) -> String {
        if p < WRITERS { format!("writer {p}") } else { format!("reader {}", p - WRITERS) }
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let mut t = *s;
        let label = if p < WRITERS { self.write(&mut t, p) } else { self.read(&mut t, p - WRITERS) };
        if let Some(label) = label {
            out.add(|| label.into(), t);
        }
    }

    fn kill(&self, s: &State, p: usize) -> Option<State> {
        if s.kills == 0 || [At::Done, At::Dead].contains(&s.process[p].at) {
            return None;
        }
        let mut t = *s;
        t.kills -= 1;
        t.process[p].at = At::Dead;
        Some(t)
    }

    fn check(&self, s: &State) -> Result<(), String> {
        if let Some(wrong) = s.wrong {
            return Err(wrong.into());
        }
        // Invariant 2, where nobody has it in hand.
        for (buffer, &whole) in s.whole.iter().enumerate() {
            let edited = s.editing.iter().flatten().any(|edits| usize::from(edits.1) == buffer);
            if whole != 0 && !edited && s.data[buffer] != s.truth[usize::from(whole)] {
                return Err(format!("buffer {buffer} is not what it says it is"));
            }
        }
        Ok(())
    }

    fn done(&self, s: &State) -> bool {
        s.process.iter().all(|p| [At::Done, At::Dead].contains(&p.at))
    }
}
