//! Fencing: a message that its holder reads where it is, and that others wait for.
//!
//! ```text
//! chunk   (sequence, count, kind, member)   FREE, OWN, HELD, RETURNED, FENCED(1 | 0)
//!         instead                           0, or (chunk, sequence): whose copy it is
//!         holder                            written by who has it as HELD
//! ```
//!
//! *Waiter.* Takes a free chunk, OWN(me), copies, names the old one in `instead`; HELD(me). CAS the old one HELD(holder) → FENCED(1, me).
//! It failed: the copy → FREE. Else `instead` CAS → 0; the old one CAS → FENCED(0, holder); the copy CAS → RETURNED.
//!
//! *Holder.* Accepts by CAS HELD → FREE. If it is fenced: settles, then CAS FENCED(0, me) → FREE.
//!
//! *Settling*, by anybody, FENCED(1, w): every HELD(w) chunk with that `instead`: CAS → 0; then CAS → FENCED(0, holder).
//!
//! *Reclaiming* HELD(dead): it *counts* if `instead` is 0, or the old one is FENCED(1, dead) in that sequence, or, at a
//! second look, `instead` is 0 by now. It counts: `instead` CAS → 0, then CAS → RETURNED; else CAS → FREE. FENCED(1) of a dead waiter or
//! holder is settled; FENCED(0, dead) is freed. OWN(dead) is freed.
//!
//! Anybody who has a chunk as RETURNED delivers it once: HELD(me) → FREE. A process may then take a free chunk for something else (OWN, FREE), so
//! that chunks are used again as early as can be.
//!
//! # Invariants
//! 1. The message is delivered for good exactly once, however many are fenced off, die or accept late.
//! 2. While its holder lives and has not let go, the bytes it reads are not used for anything else.
//! 3. In the end, no chunk is left in use.

use crate::explorer::{Model, Steps, breaks, holds, long_runs};

const CHUNKS: usize = 3;
const MAX: usize = 4;
const NOBODY: u8 = 9;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Reads the message, then accepts it.
    Holder,
    /// Waits: fences, takes what is back, reclaims.
    Waiter,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// What is fenced names its holder only: any copy counts.
    AnyCopyCounts,
    /// FENCED(1) is freed by its holder without settling.
    FreedUnsettled,
    /// Nobody looks again whether a copy names the old one still.
    OneLook,
    /// The old one is settled before its copy is.
    SettledFirst,
    /// The holder is fenced off by giving its chunk back.
    GivenBack,
    /// A copy goes back with its name.
    ReturnedNamed,
}

struct Fencing {
    roles: &'static [Role],
    kills: u8,
    /// So often in all a free chunk is used for something else.
    others: u8,
    planted: Planted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Use {
    Free,
    Own,
    Held,
    Returned,
    /// FENCED(1), by the member that it names.
    Unsettled,
    /// FENCED(0), of the member that it names.
    Settled,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Word {
    sequence: u8,
    kind: Use,
    member: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Chunk {
    word: Word,
    instead: Option<(u8, u8)>,
    holder: u8,
    /// Whether the message's bytes are in it.
    message: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    // the holder
    Reading,
    /// The CAS from HELD failed.
    LetGo,
    LetGoSettle(u8),
    LetGoSwap,
    LetGoFree,
    // a waiter
    Idle,
    /// Has a free chunk as OWN, to make a copy …
    Copy,
    Fence,
    GarbageCopy,
    Forget,
    Settle,
    Return,
    /// … or for something else.
    Use,
    /// Has taken the message again.
    Deliver,
    // reclaiming a chunk
    Look,
    LookAgain,
    DropName,
    SwapReturn,
    SwapFree,
    SettleFor(u8),
    SettleForSwap,
    Done,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Process {
    at: At,
    /// The chunk in hand, or looked at, and its word.
    chunk: u8,
    word: Word,
    /// The old one, and its word as seen; or the name as seen.
    old: u8,
    old_word: Word,
    name: Option<(u8, u8)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    chunks: [Chunk; CHUNKS],
    processes: [Process; MAX],
    kills: u8,
    others: u8,
    delivered: u8,
    wrong: Option<&'static str>,
}

const FREE: Word = Word { sequence: 0, kind: Use::Free, member: NOBODY };
const GONE: Process = Process { at: At::Dead, chunk: 0, word: FREE, old: 0, old_word: FREE, name: None };

impl Word {
    fn to(self, kind: Use, member: u8) -> Word {
        Word { kind, member, ..self }
    }
    fn freed(self) -> Word {
        self.to(Use::Free, NOBODY)
    }
    fn next(self, kind: Use, member: u8) -> Word {
        Word { sequence: self.sequence + 1, kind, member }
    }
}

fn swap(s: &mut State, chunk: u8, from: Word, to: Word) -> bool {
    let word = &mut s.chunks[usize::from(chunk)].word;
    let done = *word == from;
    if done {
        *word = to;
    }
    done
}

impl Fencing {
    fn is_dead(&self, s: &State, member: u8) -> bool {
        s.processes.get(usize::from(member)).is_some_and(|it| it.at == At::Dead)
    }

    /// A holder that still reads, and where.
    fn reads(&self, s: &State, p: usize) -> Option<u8> {
        let me = s.processes[p];
        let reading =
            matches!(me.at, At::Reading | At::LetGo | At::LetGoSettle(_) | At::LetGoSwap | At::LetGoFree);
        (self.roles.get(p) == Some(&Role::Holder) && reading).then_some(me.chunk)
    }

    /// A chunk is used for something else from now on.
    fn overwrite(&self, t: &mut State, chunk: u8) {
        if (0..self.roles.len()).any(|p| self.reads(t, p) == Some(chunk)) {
            t.wrong = Some("what a living holder reads was overwritten");
        }
        let it = &mut t.chunks[usize::from(chunk)];
        (it.message, it.instead) = (false, None);
    }

    fn hold(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let c = usize::from(me.chunk);
        let mut t = *s;
        match me.at {
            At::Reading => {
                let accepted = swap(&mut t, me.chunk, me.word, me.word.freed());
                t.delivered += u8::from(accepted);
                t.processes[p].at = if accepted { At::Done } else { At::LetGo };
                out.add(|| format!("accepts: {accepted}"), t);
            }
            At::LetGo => {
                let word = s.chunks[c].word;
                t.processes[p].word = word;
                let same = word.sequence == me.word.sequence;
                t.processes[p].at = match word.kind {
                    Use::Unsettled if same && self.planted == Planted::FreedUnsettled => At::LetGoFree,
                    Use::Unsettled if same => At::LetGoSettle(0),
                    Use::Settled if same => At::LetGoFree,
                    _ => At::Done,
                };
                out.add(|| format!("is late, and sees {word:?}"), t);
            }
            At::LetGoSettle(of) => {
                self.settle_one(&mut t, me.chunk, me.word, of);
                let next = if usize::from(of) + 1 < CHUNKS { At::LetGoSettle(of + 1) } else { At::LetGoSwap };
                t.processes[p].at = next;
                out.add(|| format!("settles: chunk {of} names {} no more", me.chunk), t);
            }
            At::LetGoSwap => {
                swap(&mut t, me.chunk, me.word, me.word.to(Use::Settled, s.chunks[c].holder));
                t.processes[p].at = At::LetGo;
                out.add(|| "settles: FENCED(0)".into(), t);
            }
            At::LetGoFree => {
                swap(&mut t, me.chunk, me.word, me.word.freed());
                t.processes[p].at = At::Done;
                out.add(|| "lets go".into(), t);
            }
            _ => {}
        }
    }

    /// The copy in chunk `of` of what is FENCED(1) does not name it any more.
    fn settle_one(&self, t: &mut State, fenced: u8, word: Word, of: u8) {
        let copy = &mut t.chunks[usize::from(of)];
        let its = copy.word.kind == Use::Held && copy.word.member == word.member;
        if its && copy.instead == Some((fenced, word.sequence)) {
            copy.instead = None;
        }
    }

    fn wait(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let who = p as u8;
        let (c, o) = (usize::from(me.chunk), usize::from(me.old));
        let mut t = *s;
        let my = &mut t.processes[p];
        match me.at {
            At::Idle => self.begin(s, p, out),
            At::Use => {
                swap(&mut t, me.chunk, me.word, me.word.freed());
                t.processes[p] = Process { at: At::Idle, ..GONE };
                out.add(|| "is done with it".into(), t);
            }
            At::Copy => {
                let readable = s.chunks[o].message;
                let it = &mut t.chunks[c];
                (it.message, it.instead) = (readable, Some((me.old, me.old_word.sequence)));
                it.word = me.word.to(Use::Held, who);
                it.holder = who;
                (my.word, my.at) = (it.word, At::Fence);
                out.add(|| format!("copies chunk {o} to {c}"), t);
            }
            At::Fence => {
                let to = match self.planted {
                    Planted::GivenBack => me.old_word.freed(),
                    _ => me.old_word.to(Use::Unsettled, who),
                };
                let fenced = swap(&mut t, me.old, me.old_word, to);
                let my = &mut t.processes[p];
                my.at = match (fenced, self.planted) {
                    (false, _) => At::GarbageCopy,
                    (true, Planted::SettledFirst) => At::Settle,
                    (true, _) => At::Forget,
                };
                my.old_word = to;
                out.add(|| format!("fences chunk {o}: {fenced}"), t);
            }
            At::GarbageCopy => {
                swap(&mut t, me.chunk, me.word, me.word.freed());
                t.processes[p] = Process { at: At::Idle, ..GONE };
                out.add(|| "frees its copy".into(), t);
            }
            At::Forget => {
                let it = &mut t.chunks[c];
                if it.instead == Some((me.old, me.old_word.sequence))
                    && self.planted != Planted::ReturnedNamed
                {
                    it.instead = None;
                }
                my.at = if self.planted == Planted::SettledFirst { At::Return } else { At::Settle };
                out.add(|| format!("its copy names {o} no more"), t);
            }
            At::Settle => {
                let holder = s.chunks[o].holder;
                swap(&mut t, me.old, me.old_word, me.old_word.to(Use::Settled, holder));
                let my = &mut t.processes[p];
                my.at = if self.planted == Planted::SettledFirst { At::Forget } else { At::Return };
                out.add(|| format!("chunk {o} is FENCED(0)"), t);
            }
            At::Return => {
                swap(&mut t, me.chunk, me.word, me.word.next(Use::Returned, NOBODY));
                t.processes[p] = Process { at: At::Idle, ..GONE };
                out.add(|| format!("chunk {c} is RETURNED"), t);
            }
            At::Deliver => {
                if swap(&mut t, me.chunk, me.word, me.word.freed()) {
                    t.delivered += 1;
                    if !s.chunks[c].message {
                        t.wrong = Some("the message is not in there");
                    }
                }
                t.processes[p] = Process { at: At::Idle, ..GONE };
                out.add(|| format!("receives chunk {c} for good"), t);
            }
            _ => self.reclaim(s, p, out),
        }
    }

    fn begin(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let who = p as u8;
        for c in 0..CHUNKS {
            let word = s.chunks[c].word;
            let chunk = c as u8;
            let step = |at: At, taken: Word| {
                let mut t = *s;
                swap(&mut t, chunk, word, taken);
                t.processes[p] = Process { at, chunk, word: taken, ..GONE };
                t
            };
            match word.kind {
                Use::Free => {
                    if s.others > 0 {
                        let mut t = step(At::Use, word.next(Use::Own, who));
                        t.others -= 1;
                        self.overwrite(&mut t, chunk);
                        out.add(|| format!("uses chunk {c} for something else"), t);
                    }
                    // A copy of whatever is held by another.
                    for (o, old) in s.chunks.iter().enumerate() {
                        // (Terms are of the first holder only: it is the one who promised.)
                        let held = old.word.kind == Use::Held
                            && self.roles.get(usize::from(old.word.member)) == Some(&Role::Holder);
                        if held {
                            let mut t = step(At::Copy, word.next(Use::Own, who));
                            self.overwrite(&mut t, chunk);
                            (t.processes[p].old, t.processes[p].old_word) = (o as u8, old.word);
                            out.add(|| format!("takes chunk {c} for a copy of {o}"), t);
                        }
                    }
                }
                Use::Returned => {
                    let t = step(At::Deliver, word.to(Use::Held, who));
                    out.add(|| format!("holds chunk {c}"), t);
                }
                Use::Own if self.is_dead(s, word.member) => {
                    out.add(|| format!("chunk {c} is a dead one's"), step(At::SwapFree, word));
                }
                Use::Held if self.is_dead(s, word.member) => {
                    let mut t = step(At::Look, word);
                    t.processes[p].name = s.chunks[c].instead;
                    out.add(
                        || format!("chunk {c} is held by a dead one, and names {:?}", s.chunks[c].instead),
                        t,
                    );
                }
                Use::Settled if self.is_dead(s, word.member) => {
                    out.add(|| format!("chunk {c} was read by a dead one"), step(At::SwapFree, word));
                }
                Use::Unsettled if self.is_dead(s, word.member) || self.is_dead(s, s.chunks[c].holder) => {
                    out.add(|| format!("chunk {c} is to be settled"), step(At::SettleFor(0), word));
                }
                _ => {}
            }
        }
    }

    fn reclaim(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let c = usize::from(me.chunk);
        let mut t = *s;
        match me.at {
            At::Look => {
                let counts = me.name.is_none_or(|(old, sequence)| {
                    let word = s.chunks[usize::from(old)].word;
                    let fenced = matches!(word.kind, Use::Unsettled | Use::Settled)
                        && self.planted == Planted::AnyCopyCounts;
                    let its = word.kind == Use::Unsettled && word.member == me.word.member || fenced;
                    its && word.sequence == sequence
                });
                t.processes[p].at = match (counts, self.planted) {
                    (true, _) => At::DropName,
                    (false, Planted::OneLook) => At::SwapFree,
                    (false, _) => At::LookAgain,
                };
                out.add(|| format!("what it names says that it counts: {counts}"), t);
            }
            At::LookAgain => {
                let gone = s.chunks[c].instead != me.name;
                t.processes[p].at = if gone { At::SwapReturn } else { At::SwapFree };
                out.add(|| format!("it names nothing by now: {gone}"), t);
            }
            At::DropName => {
                if s.chunks[c].instead == me.name && self.planted != Planted::ReturnedNamed {
                    t.chunks[c].instead = None;
                }
                t.processes[p].at = At::SwapReturn;
                out.add(|| format!("chunk {c} names nothing"), t);
            }
            At::SwapReturn | At::SwapFree => {
                let back = me.at == At::SwapReturn;
                let to = if back { me.word.next(Use::Returned, NOBODY) } else { me.word.freed() };
                swap(&mut t, me.chunk, me.word, to);
                t.processes[p] = Process { at: At::Idle, ..GONE };
                out.add(|| format!("chunk {c} is {:?}, if it is as it was", to.kind), t);
            }
            At::SettleFor(of) => {
                self.settle_one(&mut t, me.chunk, me.word, of);
                let next =
                    if usize::from(of) + 1 < CHUNKS { At::SettleFor(of + 1) } else { At::SettleForSwap };
                t.processes[p].at = next;
                out.add(|| format!("settles: chunk {of} names {c} no more"), t);
            }
            At::SettleForSwap => {
                swap(&mut t, me.chunk, me.word, me.word.to(Use::Settled, s.chunks[c].holder));
                t.processes[p] = Process { at: At::Idle, ..GONE };
                out.add(|| "settles: FENCED(0)".into(), t);
            }
            _ => {}
        }
    }
}

impl Model for Fencing {
    type State = State;

    fn initial(&self) -> State {
        let free = Chunk { word: FREE, instead: None, holder: NOBODY, message: false };
        let mut s = State {
            chunks: [free; CHUNKS],
            processes: [GONE; MAX],
            kills: self.kills,
            others: self.others,
            delivered: 0,
            wrong: None,
        };
        let word = Word { sequence: 1, kind: Use::Held, member: 0 };
        s.chunks[0] = Chunk { word, instead: None, holder: 0, message: true };
        for (p, role) in self.roles.iter().enumerate() {
            let at = if *role == Role::Holder { At::Reading } else { At::Idle };
            s.processes[p] = Process { at, word, ..GONE };
            if *role == Role::Waiter {
                s.processes[p].word = FREE;
            }
        }
        s
    }

    fn processes(&self) -> usize {
        self.roles.len()
    }

    fn name(&self, p: usize) -> String {
        match self.roles[p] {
            Role::Holder => format!("holder {p}"),
            Role::Waiter => format!("waiter {p}"),
        }
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        match self.roles[p] {
            Role::Holder => self.hold(s, p, out),
            Role::Waiter => self.wait(s, p, out),
        }
    }

    fn kill(&self, s: &State, p: usize) -> Option<State> {
        // Somebody survives: the last waiter.
        if s.kills == 0 || s.processes[p].at == At::Dead || p + 1 == self.roles.len() {
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
        if s.delivered > 1 { Err("delivered twice".into()) } else { Ok(()) }
    }

    fn done(&self, s: &State) -> bool {
        let over = s.processes.iter().all(|it| matches!(it.at, At::Done | At::Dead | At::Idle));
        let free = s.chunks.iter().all(|chunk| chunk.word.kind == Use::Free);
        // Who is killed between receiving and going on has received.
        over && free && s.delivered == 1
    }
}

const ONE: &[Role] = &[Role::Holder, Role::Waiter];
const TWO: &[Role] = &[Role::Holder, Role::Waiter, Role::Waiter];
const THREE: &[Role] = &[Role::Holder, Role::Waiter, Role::Waiter, Role::Waiter];

fn model(roles: &'static [Role], kills: u8, others: u8, planted: Planted) -> Fencing {
    Fencing { roles, kills, others, planted }
}

#[test]
fn one_waiter() {
    holds("a holder and a waiter", &model(ONE, 1, 3, Planted::Nothing));
}

#[test]
fn two_waiters() {
    for kills in 0..=2 {
        holds(&format!("two waiters, {kills} kills"), &model(TWO, kills, 2, Planted::Nothing));
    }
}

#[test]
fn three_waiters() {
    holds("three waiters", &model(THREE, if long_runs() { 3 } else { 1 }, 1, Planted::Nothing));
}

#[test]
fn if_any_copy_counts_the_loser_s_does() {
    breaks("any copy counts", &model(TWO, 1, 1, Planted::AnyCopyCounts), "delivered twice");
}

#[test]
fn what_is_freed_unsettled_loses_its_copy() {
    breaks("freed before it is settled", &model(TWO, 1, 1, Planted::FreedUnsettled), "nobody can finish");
}

#[test]
fn without_a_second_look_what_is_settled_meanwhile_is_lost() {
    breaks("one look", &model(TWO, 1, 1, Planted::OneLook), "nobody can finish");
}

#[test]
fn settled_before_its_copy_it_is_lost() {
    breaks("the old one first", &model(TWO, 1, 1, Planted::SettledFirst), "nobody can finish");
}

#[test]
fn given_back_it_is_overwritten() {
    breaks("no fence", &model(TWO, 0, 2, Planted::GivenBack), "overwritten");
}

#[test]
fn returned_with_its_name_it_is_taken_for_garbage() {
    breaks("named still", &model(TWO, 2, 1, Planted::ReturnedNamed), "nobody can finish");
}
