//! A log in files: appending, receiving, fencing, closing.
//!
//! ```text
//! sender    walk to the first word that is NOTHING; CAS -> CLAIMED(me); write; store COMMITTED
//! receiver  walk over what is not fresh; a claim of the dead: CAS -> SKIPPED
//!           COMMITTED and FRESH: CAS the mark -> TAKEN(me, 0); or of what is BACK(n): CAS -> TAKEN(me, n)
//!           read; CAS that very mark -> DONE
//!           of a dead or late holder: CAS TAKEN(it, n) -> BACK(n + 1)
//! closer    CAS the first NOTHING -> CLOSED; skip the dead; CAS each FRESH or BACK mark -> BURIED; count those that are BURIED
//! ```
//!
//! # Invariants
//! 1. What is read is whole.
//! 2. A message is consumed once; delivered as if for the first time once; and first after all before it.
//! 3. What was accepted is consumed, or counted by who closes, but for what is in the hand of one who dies then. All tell what the first one who closed counted.

use crate::explorer::{Model, Steps, breaks, holds};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    CommitBeforeWrite,
    /// A claim of one who stands still is skipped, too.
    SkipsTheLiving,
    TakeByStore,
    ConsumeByStore,
    /// Who closes only buries what is there.
    LeavesItOpen,
    /// … or counts what it buried itself.
    CountsItsOwn,
}

/// Records that there is room for.
const ROOM: usize = 4;
const SENDERS: usize = 2;
const RECEIVERS: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Word {
    Nothing,
    Claimed(usize),
    Committed,
    Skipped,
    Closed,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Mark {
    Fresh,
    Taken(usize, u8),
    Back(u8),
    Done,
    Passed,
    Buried,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Does {
    Walks(usize),
    Writes(usize),
    Commits(usize),
    Holds(usize, Mark),
    Consumes(usize, Mark),
    Closes(usize),
    /// How many were buried by this one.
    Buries(usize, u8),
    Told(u8),
    Ended,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    words: [Word; ROOM],
    written: [bool; ROOM],
    marks: [Mark; ROOM],
    does: Vec<Does>,
    left: [u8; SENDERS],
    dead: Vec<bool>,
    kills: u8,
    accepted: [bool; ROOM],
    consumed: [u8; ROOM],
    first: [u8; ROOM],
    /// What the first one who closes counted: that is told by all.
    told: Option<u8>,
    wrong: Option<&'static str>,
}

struct Journal {
    planted: Planted,
    kills: u8,
    closers: usize,
    /// How often a holder who lives is late.
    late: u8,
    /// What each sender sends.
    sends: [u8; SENDERS],
}

impl Journal {
    fn closed(s: &State) -> Option<usize> {
        s.words.iter().position(|word| *word == Word::Closed)
    }

    fn sender(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let mut t = s.clone();
        match s.does[p] {
            Does::Walks(at) => {
                match s.words.get(at) {
                    _ if s.left[p] == 0 => t.does[p] = Does::Ended,
                    None | Some(Word::Closed) => t.does[p] = Does::Ended,
                    Some(Word::Nothing) => {
                        t.words[at] = Word::Claimed(p);
                        let commits = self.planted == Planted::CommitBeforeWrite;
                        t.does[p] = if commits { Does::Commits(at) } else { Does::Writes(at) };
                    }
                    Some(_) => t.does[p] = Does::Walks(at + 1),
                }
                out.add(|| format!("walks to {at}"), t);
            }
            Does::Writes(at) => {
                t.written[at] = true;
                let ends = self.planted == Planted::CommitBeforeWrite;
                t.does[p] = if ends { Does::Walks(at + 1) } else { Does::Commits(at) };
                out.add(|| format!("writes {at}"), t);
            }
            Does::Commits(at) => {
                t.words[at] = Word::Committed;
                t.accepted[at] = true;
                t.left[p] -= 1;
                let writes = self.planted == Planted::CommitBeforeWrite;
                t.does[p] = if writes { Does::Writes(at) } else { Does::Walks(at + 1) };
                out.add(|| format!("commits {at}"), t);
            }
            _ => {}
        }
    }

    /// Whether a claim may be skipped.
    fn skips(&self, s: &State, by: usize) -> bool {
        s.dead[by] || self.planted == Planted::SkipsTheLiving
    }

    fn takes(&self, s: &State, p: usize, at: usize, before: u8, out: &mut Steps<State>) {
        let mut t = s.clone();
        if before == 0 {
            t.first[at] += 1;
            if s.marks[..at].contains(&Mark::Fresh) {
                t.wrong = Some("delivered before one that was sent earlier");
            }
        }
        t.marks[at] = Mark::Taken(p, before);
        t.does[p] = Does::Holds(at, Mark::Taken(p, before));
        out.add(|| format!("takes {at}, delivered {before} times before"), t);
    }

    fn receiver(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let mut t = s.clone();
        match s.does[p] {
            // It is closed, and says so.
            Does::Walks(_) if s.does.iter().any(|does| matches!(does, Does::Told(_))) => {
                t.does[p] = Does::Ended;
                out.add(|| "is told that it is closed".into(), t);
            }
            Does::Walks(at) => {
                for (back, mark) in s.marks.iter().enumerate() {
                    match *mark {
                        Mark::Back(before) => self.takes(s, p, back, before, out),
                        Mark::Taken(holder, before)
                            if holder != p && (s.dead[holder] || before < self.late) =>
                        {
                            let mut t = s.clone();
                            t.marks[back] = Mark::Back(before + 1);
                            out.add(|| format!("gives {back} back"), t);
                        }
                        _ => {}
                    }
                }
                match s.words.get(at) {
                    Some(Word::Claimed(by)) if self.skips(s, *by) => {
                        t.words[at] = Word::Skipped;
                        out.add(|| format!("skips {at}"), t);
                    }
                    Some(Word::Skipped) => {
                        if s.marks[at] == Mark::Fresh {
                            t.marks[at] = Mark::Passed;
                        }
                        t.does[p] = Does::Walks(at + 1);
                        out.add(|| format!("passes {at}"), t);
                    }
                    Some(Word::Committed) if s.marks[at] == Mark::Fresh => self.takes(s, p, at, 0, out),
                    Some(Word::Committed) => {
                        t.does[p] = Does::Walks(at + 1);
                        out.add(|| format!("walks past {at}"), t);
                        // It may have looked before another took it.
                        let fooled = matches!(s.marks[at], Mark::Taken(other, 0) if other != p);
                        if fooled && self.planted == Planted::TakeByStore && s.first[at] < 2 {
                            self.takes(s, p, at, 0, out);
                        }
                    }
                    _ => {}
                }
            }
            Does::Holds(at, mark) => {
                if !s.written[at] {
                    t.wrong = Some("what is read is not whole");
                }
                t.does[p] = Does::Consumes(at, mark);
                out.add(|| format!("reads {at}"), t);
            }
            Does::Consumes(at, mark) => {
                if s.marks[at] == mark || self.planted == Planted::ConsumeByStore {
                    t.marks[at] = Mark::Done;
                    t.consumed[at] += 1;
                }
                t.does[p] = Does::Walks(0);
                out.add(|| format!("consumes {at}, if it is its own"), t);
            }
            _ => {}
        }
    }

    fn closer(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let mut t = s.clone();
        match s.does[p] {
            Does::Closes(at) => {
                match s.words.get(at) {
                    None | Some(Word::Closed) => t.does[p] = Does::Buries(0, 0),
                    Some(Word::Nothing) if self.planted == Planted::LeavesItOpen => {
                        t.does[p] = Does::Buries(0, 0)
                    }
                    Some(Word::Nothing) => {
                        t.words[at] = Word::Closed;
                        t.does[p] = Does::Buries(0, 0);
                    }
                    Some(_) => t.does[p] = Does::Closes(at + 1),
                }
                out.add(|| format!("closes, or walks past {at}"), t);
            }
            Does::Buries(at, own) => {
                let end = Self::closed(s).unwrap_or(ROOM);
                if at >= end {
                    let all = s.marks.iter().filter(|mark| **mark == Mark::Buried).count() as u8;
                    let counted = if self.planted == Planted::CountsItsOwn { own } else { all };
                    t.told = s.told.or(Some(counted));
                    t.does[p] = Does::Told(counted);
                    return out.add(|| format!("counts {counted}"), t);
                }
                match (s.words[at], s.marks[at]) {
                    (Word::Claimed(by), _) if s.dead[by] => t.words[at] = Word::Skipped,
                    (Word::Skipped, Mark::Fresh) => t.marks[at] = Mark::Passed,
                    (Word::Nothing, _) => t.does[p] = Does::Buries(at + 1, own),
                    (_, Mark::Taken(holder, before)) if s.dead[holder] => {
                        t.marks[at] = Mark::Back(before + 1)
                    }
                    (_, Mark::Fresh | Mark::Back(_)) => {
                        t.marks[at] = Mark::Buried;
                        t.does[p] = Does::Buries(at + 1, own + 1);
                    }
                    _ => t.does[p] = Does::Buries(at + 1, own),
                }
                out.add(|| format!("buries {at}, if it waits"), t);
            }
            _ => {}
        }
    }
}

impl Model for Journal {
    type State = State;

    fn initial(&self) -> State {
        let mut does = vec![Does::Walks(0); SENDERS + RECEIVERS];
        does.extend(vec![Does::Closes(0); self.closers]);
        State {
            words: [Word::Nothing; ROOM],
            written: [false; ROOM],
            marks: [Mark::Fresh; ROOM],
            dead: vec![false; does.len()],
            does,
            left: self.sends,
            kills: self.kills,
            accepted: [false; ROOM],
            consumed: [0; ROOM],
            first: [0; ROOM],
            told: None,
            wrong: None,
        }
    }

    fn processes(&self) -> usize {
        SENDERS + RECEIVERS + self.closers
    }

    fn name(&self, p: usize) -> String {
        match p {
            0..SENDERS => format!("sender {p}"),
            _ if p < SENDERS + RECEIVERS => format!("receiver {}", p - SENDERS),
            _ => format!("closer {}", p - SENDERS - RECEIVERS),
        }
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        match p {
            _ if s.dead[p] => {}
            0..SENDERS => self.sender(s, p, out),
            _ if p < SENDERS + RECEIVERS => self.receiver(s, p, out),
            _ => self.closer(s, p, out),
        }
    }

    /// Not the last receiver, and not the last who closes.
    fn kill(&self, s: &State, p: usize) -> Option<State> {
        let last = p == SENDERS + RECEIVERS - 1 || p == self.processes() - 1;
        (s.kills > 0 && !s.dead[p] && !last).then(|| {
            let mut t = s.clone();
            t.kills -= 1;
            t.dead[p] = true;
            t.does[p] = Does::Ended;
            t
        })
    }

    fn check(&self, s: &State) -> Result<(), String> {
        if let Some(wrong) = s.wrong {
            return Err(wrong.into());
        }
        if s.consumed.iter().any(|times| *times > 1) {
            return Err("consumed twice".into());
        }
        if s.first.iter().any(|times| *times > 1) {
            return Err("delivered twice as if for the first time".into());
        }
        let never = |at: &usize| s.marks[*at] == Mark::Buried && s.first[*at] == 0;
        if s.told.is_some_and(|told| usize::from(told) < (0..ROOM).filter(never).count()) {
            return Err("what was never delivered is not counted".into());
        }
        Ok(())
    }

    fn done(&self, s: &State) -> bool {
        let senders = (0..SENDERS).all(|p| s.does[p] == Does::Ended);
        let closers =
            s.does[SENDERS + RECEIVERS..].iter().all(|does| matches!(does, Does::Told(_) | Does::Ended));
        let fates = (0..ROOM).filter(|at| s.accepted[*at]).all(|at| match s.marks[at] {
            Mark::Done => s.consumed[at] == 1,
            Mark::Buried => self.closers > 0,
            // In the hand of one who died when it was closed: that is not counted.
            Mark::Taken(holder, _) => self.closers > 0 && s.dead[holder],
            Mark::Back(_) => self.closers > 0 && s.first[at] == 1,
            _ => false,
        });
        senders && closers && fates
    }
}

mod tests {
    use super::*;

    fn journal(planted: Planted) -> Journal {
        Journal { planted, kills: 2, closers: 0, late: 1, sends: [2, 1] }
    }

    fn closed(planted: Planted) -> Journal {
        Journal { planted, kills: 1, closers: 2, late: 0, sends: [1, 1] }
    }

    #[test]
    fn what_is_accepted_is_consumed_once() {
        holds("journal", &journal(Planted::Nothing));
    }

    #[test]
    fn what_nobody_received_is_counted() {
        holds("journal, closed", &closed(Planted::Nothing));
    }

    #[test]
    fn committed_is_what_is_written() {
        breaks("commit first", &journal(Planted::CommitBeforeWrite), "not whole");
    }

    #[test]
    fn who_stands_still_is_not_dead() {
        breaks("skips the living", &journal(Planted::SkipsTheLiving), "");
    }

    #[test]
    fn a_take_is_from_the_mark_that_was_seen() {
        breaks("take by store", &journal(Planted::TakeByStore), "first time");
    }

    #[test]
    fn who_is_late_consumes_nothing() {
        breaks("consume by store", &journal(Planted::ConsumeByStore), "consumed twice");
    }

    #[test]
    fn nothing_is_accepted_behind_the_count() {
        breaks("left open", &closed(Planted::LeavesItOpen), "");
    }

    #[test]
    fn what_others_buried_counts() {
        breaks("counts its own", &closed(Planted::CountsItsOwn), "not counted");
    }
}
