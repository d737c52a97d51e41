//! A region of which there is one copy: readers copy and validate, one writer at a time edits it where it lies, and
//! who does not finish leaves it poisoned until somebody repairs it.
//!
//! ```text
//! current       (hold, seat, side, touched?, held?): who may edit; touched: somebody began to, and has not committed
//! rows          one per reader: idle, reading, or fenced
//! place         (home, attempt): where the data is, the last one who was about to repair it
//! homes         each the data, and two versions, of which `side` says which one counts
//! editing       one per seat: to which home it may write
//! ```
//!
//! *Reader*. Look at `current`: held: wait, or, if the holder is late or dead, let go in its place, by CAS. Touched:
//! poisoned. Row = reading, by a swap. Look at `current` again: held or touched: row = idle, from the start. (If it
//! may only read: held by a dead one who has touched nothing, and so still: go on.) Copy. CAS row → idle: the copy is
//! good; failed: fenced, row = idle, from the start. *Quickly*: look at `current`, copy, look again: neither held nor
//! touched, and the same. Where to copy from is looked up behind the look at `current` that counts.
//!
//! *Writer*. CAS `current` → (hold + 1, me, side, touched as it was, held): of one that nobody holds, or whose holder
//! is late or dead. Touched: poisoned, let go. Wait until no row is reading: those of the dead are swept, those of
//! who is late are fenced, by CAS. `editing` = the home that `place` says. CAS `current` → (hold + 1, me, side, touched, held). Edit. The
//! other side's version = this one's + 1. CAS `current` → (same hold, me, other side, untouched, not held):
//! committed, or the lease has expired. `editing` = no.
//!
//! *Repairing*. Acquire in the same way; untouched: it is sound, let go. CAS `place` → (home, attempt + 1). Somebody
//! else edits that home: let go, wait until he says that he does not, or is dead, and come again. `editing` = home;
//! look at `current` again: changed, give up. Edit, and commit.
//!
//! *Moving*, if somebody edits for too long. Look at `current` again, having announced the attempt: changed, give up.
//! Copy that home, with its versions, to a file without a name; `editing` = the attempt; name the file after it. CAS
//! `place`: (home, attempt) → (attempt, attempt). Failed: another has begun to repair; take the name away, from the
//! start. Take the old home's name away. Look at `current` again: changed, give up. Edit, and commit. Files that are
//! nobody's home are swept, while nobody is between naming one and moving.
//!
//! The order in which they come (turns) is left out: it decides who is next, and nothing else.

use crate::explorer::{Model, Steps, breaks, holds};

const WRITERS: usize = 3;
const READERS: usize = 2;
const VERSIONS: usize = 6;
const HOMES: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// A reader does not look at `current` again once its row says that it reads.
    NoLook,
    /// A reader does not ask whether it was fenced.
    NotValidated,
    /// One that can't let go in a dead holder's place reads though that one had begun.
    ReadsHalfDone,
    /// A quick reader does not mind that somebody edits.
    MindsNobody,
    /// A writer does not look at rows.
    NoRows,
    /// … or does before it acquires.
    RowsFirst,
    /// A writer does not say in `current` that it has begun to edit.
    NotTouched,
    /// … or says so whoever holds.
    TouchedBlindly,
    /// Nobody says that he edits.
    NoEditing,
    /// Who repairs does not wait for those who edit.
    NoWait,
    /// Who repairs does not look at `current` again.
    RepairsBlindly,
    /// Who acquires forgets that it was touched.
    Forgives,
    /// A reader looks where the data is before it says that it reads.
    PlaceFirst,
    /// Nobody says that he is about to repair.
    NotAnnounced,
    /// Who moves it does not look at `current` again behind that.
    MovesBlindly,
    /// … or moves it whoever has begun to repair since.
    NoCas,
    /// … or says only behind that where it edits.
    MarkedLate,
    /// … or names the file only behind that.
    NamedLate,
    /// … or nobody cares that it is about to.
    SweptMeanwhile,
    /// Versions are not moved, for they are elsewhere.
    SharedVersions,
    /// Nobody moves it.
    NeverMoved,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Current {
    hold: u8,
    seat: u8,
    side: u8,
    touched: bool,
    held: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Row {
    Idle,
    Reading,
    Fenced,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    /// A writer.
    Acquire,
    LookAtRow(u8),
    FenceRow(u8),
    LookAtEditing(u8),
    Record,
    Touch,
    LookAgain,
    Edit(u8),
    WriteVersion,
    Commit,
    Abandon,
    LetGo,
    StopEditing,
    LookAtPlace,
    Announce,
    LookAnnounced,
    CopyVersions,
    CopyWord(u8),
    Mark,
    Name,
    Move,
    TakeOld(u8),
    TakeNew,
    /// A reader.
    Look,
    FenceHolder,
    Enter,
    LookBehind,
    FindHome,
    Read(u8),
    Leave,
    Idle,
    LookOnceMore,
    Done,
    Stopped,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Process {
    at: At,
    rounds: u8,
    seen: Current,
    /// A writer: whether it repairs; whether it looked at the rows, or has waited for those who edit. A reader: whether
    /// it reads quickly.
    other: bool,
    looked: bool,
    /// Where it reads or writes; what it is to be called where it moves to.
    home: u8,
    attempt: u8,
    /// What a reader has.
    version: u8,
    copy: [u8; 2],
    last: u8,
}

const FIRST: Current = Current { hold: 0, seat: 0, side: 0, touched: false, held: false };
const NEW: Process = Process {
    at: At::Done,
    rounds: 0,
    seen: FIRST,
    other: false,
    looked: false,
    home: 0,
    attempt: 0,
    version: 0,
    copy: [0; 2],
    last: 0,
};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Home {
    named: bool,
    versions: [u8; 2],
    data: [u8; 2],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    current: Current,
    rows: [Row; READERS],
    /// (home, attempt).
    place: (u8, u8),
    homes: [Home; HOMES],
    editing: [Option<u8>; WRITERS],
    /// Which hold committed each version.
    truth: [u8; VERSIONS + 1],
    process: [Process; WRITERS + READERS],
    kills: u8,
    fences: u8,
    drops: u8,
    stops: u8,
    sweeps: u8,
    wrong: Option<&'static str>,
}

#[derive(Clone, Copy)]
struct InPlace {
    writers: usize,
    repairers: usize,
    readers: usize,
    commits: u8,
    reads: u8,
    quick: bool,
    kills: u8,
    /// How often one who lives, a writer or a reader, is fenced.
    fences: u8,
    /// How often one gives up what it has begun.
    drops: u8,
    /// How often one stands still for good.
    stops: u8,
    /// How often somebody sweeps files that are nobody's home.
    sweeps: u8,
    planted: Planted,
}

impl InPlace {
    fn is(&self, planted: Planted) -> bool {
        self.planted == planted
    }

    fn is_dead(s: &State, p: usize) -> bool {
        s.process[p].at == At::Dead
    }

    /// Which home has the versions of this one.
    fn versions_of(&self, home: u8) -> usize {
        if self.is(Planted::SharedVersions) { 0 } else { home.into() }
    }

    /// Whether one may be fenced now, and what that costs.
    fn fence(s: &mut State, p: usize) -> bool {
        let gone = [At::Dead, At::Stopped].contains(&s.process[p].at);
        let may = gone || s.fences > 0;
        s.fences -= u8::from(may && !gone);
        may
    }

    fn write(&self, s: &mut State, w: usize) -> Option<&'static str> {
        let mut p = s.process[w];
        let label = match p.at {
            At::Acquire if self.is(Planted::RowsFirst) && !p.looked && !p.other => {
                p.looked = true;
                p.at = At::LookAtRow(0);
                "looks at rows before it acquires"
            }
            At::Acquire => {
                let c = s.current;
                if c.held && (usize::from(c.seat) == w || !Self::fence(s, c.seat.into())) {
                    return None;
                }
                let touched = c.touched && !self.is(Planted::Forgives);
                s.current = Current { hold: c.hold + 1, seat: w as u8, touched, held: true, ..c };
                p.seen = s.current;
                p.at = match (p.other, touched) {
                    (false, true) | (true, false) => At::LetGo, // poisoned; or sound already
                    (true, true) => At::Announce,
                    (false, false) if self.is(Planted::NoRows) || p.looked => At::LookAtPlace,
                    (false, false) => At::LookAtRow(0),
                };
                if c.held { "fences the holder" } else { "acquires" }
            }
            At::LookAtRow(i) if usize::from(i) == self.readers => {
                p.at = if self.is(Planted::RowsFirst) { At::Acquire } else { At::LookAtPlace };
                "has seen that nobody reads"
            }
            At::LookAtRow(i) if s.rows[usize::from(i)] == Row::Reading => {
                if !Self::fence(s, WRITERS + usize::from(i)) {
                    return None;
                }
                p.at = At::FenceRow(i);
                "finds a reader late, or dead"
            }
            At::LookAtRow(i) => {
                p.at = At::LookAtRow(i + 1);
                "looks at a row"
            }
            At::FenceRow(i) => {
                let row = &mut s.rows[usize::from(i)];
                if *row == Row::Reading {
                    *row = Row::Fenced;
                }
                p.at = At::LookAtRow(i + 1);
                "fences a reader"
            }
            At::LookAtPlace => {
                p.home = s.place.0;
                p.at = At::Record;
                "looks where the data is"
            }
            At::LookAtEditing(j) if usize::from(j) == self.writers || self.is(Planted::NoWait) => {
                p.at = At::Record;
                "has seen that nobody edits"
            }
            At::LookAtEditing(j) => {
                let other = usize::from(j);
                p.at = At::LookAtEditing(j + 1);
                if other != w && s.editing[other] == Some(p.home) {
                    if Self::is_dead(s, other) {
                        s.editing[other] = None;
                    } else {
                        p.at = if p.looked { At::LookAnnounced } else { At::LetGo };
                    }
                }
                "looks at who edits"
            }
            At::Record => {
                s.editing[w] = (!self.is(Planted::NoEditing)).then_some(p.home);
                p.at = match p.other {
                    true if self.is(Planted::RepairsBlindly) => At::Edit(0),
                    true => At::LookAgain,
                    false => At::Touch,
                };
                "says that it edits"
            }
            At::LookAgain => {
                let marks = self.is(Planted::MarkedLate) && s.editing[w].is_none();
                let begin = if marks { At::Mark } else { At::Edit(0) };
                p.at = if s.current == p.seen { begin } else { At::StopEditing };
                "looks at current again"
            }
            At::Touch => {
                let next =
                    Current { hold: p.seen.hold + 1, touched: !self.is(Planted::NotTouched), ..p.seen };
                p.at = At::StopEditing;
                if s.current == p.seen || self.is(Planted::TouchedBlindly) {
                    (s.current, p.seen, p.at) = (next, next, At::Edit(0));
                }
                "says that it has begun"
            }
            At::Edit(word) => {
                s.homes[usize::from(p.home)].data[usize::from(word)] = p.seen.hold;
                let versions = s.homes[self.versions_of(p.home)].versions;
                p.version = versions[usize::from(p.seen.side)] + 1;
                p.at = if word == 0 { At::Edit(1) } else { At::WriteVersion };
                "edits a word"
            }
            At::WriteVersion => {
                let (side, home) = (usize::from(p.seen.side), self.versions_of(p.home));
                s.homes[home].versions[1 - side] = p.version;
                p.at = At::Commit;
                "writes the version"
            }
            At::Commit => {
                p.rounds -= 1;
                p.at = At::StopEditing;
                if s.current == p.seen {
                    let side = 1 - p.seen.side;
                    s.current = Current { side, touched: false, held: false, ..p.seen };
                    let version = s.homes[self.versions_of(p.home)].versions[usize::from(side)];
                    s.truth[usize::from(version)] = p.seen.hold;
                    "commits"
                } else {
                    "is told that its lease has expired"
                }
            }
            At::Abandon => {
                if s.current == p.seen {
                    s.current.held = false;
                }
                p.rounds -= 1;
                p.at = At::StopEditing;
                "lets go of what it has begun"
            }
            At::LetGo => {
                let c = p.seen;
                if s.current == c {
                    s.current.held = false;
                }
                let again = p.other && c.touched;
                p.rounds -= u8::from(!again);
                p.at = At::StopEditing;
                "lets go"
            }
            At::StopEditing => {
                // Who waits for those who edit comes when there are none, or when that takes too long.
                let waits = p.other && p.rounds > 0 && p.seen.touched;
                let edits = |j: usize| s.editing[j] == Some(s.place.0) && !Self::is_dead(s, j);
                let others = (0..self.writers).any(|j| j != w && edits(j));
                if s.editing[w].is_some() {
                    s.editing[w] = None;
                    "does not edit any more"
                } else if waits && others && !self.is(Planted::NoWait) && self.is(Planted::NeverMoved) {
                    return None;
                } else {
                    let (rounds, other) = (p.rounds, p.other);
                    p = Process {
                        rounds,
                        other,
                        looked: waits && others,
                        at: if rounds == 0 { At::Done } else { At::Acquire },
                        ..NEW
                    };
                    "goes on"
                }
            }
            _ => return self.move_out(s, w),
        };
        s.process[w] = p;
        Some(label)
    }
}

impl Model for InPlace {
    type State = State;

    fn initial(&self) -> State {
        let process = |i: usize| match i {
            _ if i < self.writers => Process {
                at: At::Acquire,
                rounds: self.commits,
                other: i >= self.writers - self.repairers,
                ..NEW
            },
            _ if i >= WRITERS && i < WRITERS + self.readers => {
                Process { at: At::Look, rounds: self.reads, other: self.quick, ..NEW }
            }
            _ => NEW,
        };
        State {
            current: FIRST,
            rows: [Row::Idle; READERS],
            place: (0, 0),
            homes: std::array::from_fn(|home| Home {
                named: home == 0,
                versions: [u8::from(home == 0), 0],
                data: [0; 2],
            }),
            editing: [None; WRITERS],
            truth: [0; VERSIONS + 1],
            process: std::array::from_fn(process),
            kills: self.kills,
            fences: self.fences,
            drops: self.drops,
            stops: self.stops,
            sweeps: self.sweeps,
            wrong: None,
        }
    }

    fn processes(&self) -> usize {
        WRITERS + READERS
    }

    fn name(&self, p: usize) -> String {
        match p {
            _ if p >= WRITERS => format!("reader {}", p - WRITERS),
            _ if p >= self.writers - self.repairers => format!("repairer {p}"),
            _ => format!("writer {p}"),
        }
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let mut t = *s;
        let label = if p < WRITERS { self.write(&mut t, p) } else { self.read(&mut t, p - WRITERS) };
        if let Some(label) = label {
            out.add(|| label.into(), t);
        }
        let (c, reads) = (s.current, p >= WRITERS && s.process[p].at == At::Look && !s.process[p].other);
        let begun = c.touched && !self.is(Planted::ReadsHalfDone);
        if reads && c.held && Self::is_dead(s, c.seat.into()) && !begun {
            let mut t = *s;
            (t.process[p].seen, t.process[p].looked, t.process[p].at) = (c, true, At::Enter);
            out.add(|| "finds the holder dead".into(), t);
        }
        let p_at = s.process[p].at;
        if s.stops > 0 && p < WRITERS && ![At::Done, At::Dead, At::Stopped].contains(&p_at) {
            let mut t = *s;
            t.stops -= 1;
            t.process[p].at = At::Stopped;
            out.add(|| "stands still for good".into(), t);
        }
        if p == 0 && s.sweeps > 0 {
            self.sweep(s, out);
        }
        if s.drops > 0 && s.process[p].at == At::Edit(1) {
            let mut t = *s;
            t.drops -= 1;
            t.process[p].at = At::Abandon;
            out.add(|| "gives up".into(), t);
        }
    }

    fn kill(&self, s: &State, p: usize) -> Option<State> {
        if s.kills == 0 || [At::Done, At::Stopped, At::Dead].contains(&s.process[p].at) {
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
        let (c, home) = (s.current, s.homes[usize::from(s.place.0)]);
        if !home.named {
            return Err("nobody finds the data".into());
        }
        let version = s.homes[self.versions_of(s.place.0)].versions[usize::from(c.side)];
        if !c.touched && home.data != [s.truth[usize::from(version)]; 2] {
            return Err("what counts as sound is not what was committed".into());
        }
        Ok(())
    }

    fn done(&self, s: &State) -> bool {
        s.process.iter().all(|p| [At::Done, At::Stopped, At::Dead].contains(&p.at))
    }
}

mod moving;
mod reading;
mod tests;
