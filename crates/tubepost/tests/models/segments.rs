//! An unbounded queue: segments that are appended, retired, used again and trimmed, under senders who look at them late.
//!
//! ```text
//! send     visiting = 1 (plain); directory: not yet -> append, over -> the next epoch
//!          claim word older than the epoch, state FREE(epoch): CAS the claim word; visiting = 0 (plain)
//!          state = FULL(epoch)
//! append   what does the directory say? nothing of this epoch: FREE -> OWN(me), memory; position, state = FREE(epoch);
//!          CAS the directory from what it said; LINKED
//! retire   an epoch before head: CAS the directory to "over"; LINKED -> FREE
//! trim     FREE -> OWN(me); membarrier; all who live and visit have to leave; memory goes; FREE
//! reclaim  OWN(dead): in the directory -> LINKED, else FREE        LINKED, not in the directory -> FREE
//! ```
//!
//! A segment has one place here, so each message needs one. Whoever looks at a segment without memory has met a hole:
//! that is never to happen, for there a claim word reads as if nobody had ever claimed it.
//!
//! # Invariants
//! 1. Nobody meets a hole.
//! 2. Each message that was published is received exactly once, in the order of positions.
//! 3. No epoch is appended twice.
//! 4. Whoever dies where, the others get all of theirs through: no segment stays with the dead.

use crate::explorer::{Model, Steps};
use crate::memory::Memory;

mod cases;

/// Two senders and one who sweeps; the receiver, who owns the mailbox, is not killed.
const PROCESSES: usize = 4;
const JANITOR: usize = 2;
const RECEIVER: usize = 3;
const SEGMENTS: usize = 2;
/// Three messages, and one position that a dead one claimed.
const EPOCHS: usize = 5;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Planted {
    Nothing,
    /// Looking is not told.
    NoVisits,
    /// Who trims believes what it sees without a barrier.
    NoBarrier,
    /// What the directory says of an epoch is looked up once to see that it is not there yet, and once more to change that.
    AppendsWhatIsOver,
    /// What is retired stays in the directory.
    StaysInDirectory,
    /// OWN(dead) is free, whatever the directory says.
    ReclaimedUnseen,
    /// Who frees a retired segment does not look what it is used for by now.
    FreedUnseen,
    /// Nobody looks after OWN(dead).
    NotReclaimed,
}

struct Segments {
    messages: [u8; 2],
    kills: u8,
    /// How often the janitor trims. (It sweeps as often as there is something.)
    trims: u8,
    planted: Planted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Entry {
    NotYet,
    At(u8),
    Over,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Use {
    Free,
    Own(u8),
    Linked,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Segment {
    /// Sequence and use: changed by CAS from exactly this.
    word: (u8, Use),
    position: u8,
    has_memory: bool,
    /// Turn + 1, and who.
    claim: (u8, u8),
    /// Turn, and the message if it is full.
    state: (u8, Option<u8>),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    Enter,
    Look,
    ReadClaim,
    ReadState {
        seen: (u8, u8),
    },
    Claim {
        seen: (u8, u8),
    },
    Leave,
    Publish,
    LeaveToAppend,
    /// Anything to retire or reclaim, or else a free segment.
    Sweep,
    FreeRetired {
        epoch: u8,
    },
    SwapRetired {
        seen: (u8, Use),
    },
    SwapReclaimed {
        seen: (u8, Use),
        to: Use,
    },
    /// What stands where the epoch is to be appended?
    Ask,
    TakeFree {
        seen: Entry,
    },
    Fill {
        seen: Entry,
    },
    Append {
        seen: Entry,
    },
    Link,
    LookAgain,
    /// The janitor, with what it has taken to trim.
    Take {
        mine: [bool; SEGMENTS],
        next: u8,
    },
    Barrier {
        mine: [bool; SEGMENTS],
    },
    AskVisits {
        mine: [bool; SEGMENTS],
        of: u8,
    },
    Trim {
        mine: [bool; SEGMENTS],
        really: bool,
    },
    Receive,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Process {
    at: At,
    cursor: u8,
    segment: u8,
    left: u8,
    dead: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    visiting: Memory<PROCESSES, PROCESSES>,
    directory: [Entry; EPOCHS],
    segments: [Segment; SEGMENTS],
    head: u8,
    processes: [Process; PROCESSES],
    /// Published and not received, by sender; and all received.
    waiting: [u8; 2],
    kills: u8,
    hole: bool,
    twice: bool,
    again: bool,
}

impl State {
    fn mine(&mut self, p: usize) -> &mut Segment {
        &mut self.segments[usize::from(self.processes[p].segment)]
    }

    /// Looks into a segment.
    fn touch(&mut self, p: usize) -> Segment {
        let segment = *self.mine(p);
        self.hole |= !segment.has_memory;
        segment
    }

    fn swap(&mut self, p: usize, from: (u8, Use), to: Use) -> bool {
        self.visiting.fence(p);
        let word = &mut self.mine(p).word;
        let same = *word == from;
        if same {
            *word = (from.0, to);
        }
        same
    }

    fn is_there(&self, number: usize) -> bool {
        let epoch = usize::from(self.segments[number].position);
        self.directory[epoch] == Entry::At(number as u8)
    }

    fn go(&mut self, p: usize, at: At) {
        self.processes[p].at = at;
    }
}

impl Segments {
    fn sweep(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let mut found = false;
        for epoch in 0..s.head {
            if let Entry::At(number) = s.directory[usize::from(epoch)] {
                found = true;
                let mut t = *s;
                t.visiting.fence(p);
                if self.planted != Planted::StaysInDirectory {
                    t.directory[usize::from(epoch)] = Entry::Over;
                }
                t.processes[p].segment = number;
                t.go(p, At::FreeRetired { epoch });
                out.add(|| format!("retires epoch {epoch}, of segment {number}"), t);
                if self.planted == Planted::StaysInDirectory {
                    found = false; // it would be found again and again
                }
            }
        }
        for number in 0..SEGMENTS {
            let segment = s.segments[number];
            let unseen = self.planted == Planted::ReclaimedUnseen;
            let to = match segment.word.1 {
                Use::Own(of)
                    if s.processes[usize::from(of)].dead && self.planted != Planted::NotReclaimed =>
                {
                    if s.is_there(number) && !unseen { Use::Linked } else { Use::Free }
                }
                Use::Linked if !s.is_there(number) => Use::Free,
                _ => continue,
            };
            found = true;
            let mut t = *s;
            t.processes[p].segment = number as u8;
            t.go(p, At::SwapReclaimed { seen: segment.word, to });
            out.add(|| format!("finds segment {number} {:?}, to be {to:?}", segment.word), t);
        }
        if p == JANITOR {
            if s.processes[p].left == 0 {
                return;
            }
            let mut t = *s;
            t.processes[p].left -= 1;
            t.go(p, At::Take { mine: [false; SEGMENTS], next: 0 });
            out.add(|| "begins to trim".into(), t);
        } else if !found {
            let mut t = *s;
            t.go(p, At::Ask);
            out.add(|| "has nothing to sweep".into(), t);
        }
    }

    fn take_free(&self, s: &State, p: usize, seen: Entry, out: &mut Steps<State>) {
        for number in (0..SEGMENTS).filter(|number| s.segments[*number].word.1 == Use::Free) {
            let mut t = *s;
            t.processes[p].segment = number as u8;
            t.visiting.fence(p);
            let word = &mut t.mine(p).word;
            *word = (word.0 + 1, Use::Own(p as u8));
            t.go(p, At::Fill { seen });
            out.add(|| format!("takes segment {number}"), t);
        }
        let mut t = *s;
        t.go(p, At::Enter);
        out.add(|| "looks again".into(), t);
    }

    fn receive(&self, s: &State, out: &mut Steps<State>) {
        let Some(Entry::At(number)) = s.directory.get(usize::from(s.head)).copied() else { return };
        let mut t = *s;
        t.processes[RECEIVER].segment = number;
        let segment = t.touch(RECEIVER);
        let dead = s.processes[usize::from(segment.claim.1)].dead && segment.claim.0 == s.head + 1;
        t.head += 1;
        t.mine(RECEIVER).state = (s.head + 1, None);
        match segment.state {
            (turn, Some(sender)) if turn == s.head => {
                let waiting = &mut t.waiting[usize::from(sender)];
                t.twice |= *waiting == 0;
                *waiting = waiting.saturating_sub(1);
                out.add(|| format!("receives one of {sender}, position {}", s.head), t);
            }
            (turn, None) if turn == s.head && dead => {
                out.add(|| format!("skips position {}", s.head), t);
            }
            _ => {}
        }
    }
}

impl Model for Segments {
    type State = State;

    fn initial(&self) -> State {
        let segment =
            Segment { word: (0, Use::Free), position: 0, has_memory: false, claim: (0, 0), state: (0, None) };
        let process = |at, left| Process { at, cursor: 0, segment: 0, left, dead: false };
        let sender = |p: usize| {
            let left = self.messages[p];
            process(if left > 0 { At::Enter } else { At::Done }, left)
        };
        State {
            visiting: Memory::zeroed(),
            directory: [Entry::NotYet; EPOCHS],
            segments: [segment; SEGMENTS],
            head: 0,
            processes: [sender(0), sender(1), process(At::Sweep, self.trims), process(At::Receive, 0)],
            waiting: [0; 2],
            kills: self.kills,
            hole: false,
            twice: false,
            again: false,
        }
    }

    fn processes(&self) -> usize {
        PROCESSES
    }

    fn name(&self, p: usize) -> String {
        match p {
            JANITOR => "janitor".into(),
            RECEIVER => "receiver".into(),
            _ => format!("sender {p}"),
        }
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        if s.visiting.has_buffered(p) {
            let mut t = *s;
            t.visiting.drain_one(p);
            out.add(|| "its oldest store reaches memory".into(), t);
        }
        if s.processes[p].dead {
            return;
        }
        let me = s.processes[p];
        let epoch = me.cursor;
        let mut t = *s;
        let visit = |t: &mut State, value| {
            if self.planted != Planted::NoVisits {
                t.visiting.store(p, p, value);
            }
        };
        match me.at {
            At::Enter => {
                visit(&mut t, 1);
                t.go(p, At::Look);
                out.add(|| "begins a visit".into(), t);
            }
            At::Look => {
                let found = s.directory[usize::from(epoch)];
                match found {
                    Entry::At(number) => {
                        t.processes[p].segment = number;
                        t.go(p, At::ReadClaim);
                    }
                    Entry::NotYet => t.go(p, At::LeaveToAppend),
                    Entry::Over => t.processes[p].cursor += 1,
                }
                out.add(|| format!("looks up epoch {epoch}: {found:?}"), t);
            }
            At::ReadClaim => {
                let seen = t.touch(p).claim;
                if seen.0 > epoch {
                    t.processes[p].cursor += 1;
                    t.go(p, At::Look);
                } else {
                    t.go(p, At::ReadState { seen });
                }
                out.add(|| format!("reads the claim {seen:?}"), t);
            }
            At::ReadState { seen } => {
                let free = t.touch(p).state == (epoch, None);
                t.go(p, if free { At::Claim { seen } } else { At::Look });
                out.add(|| format!("reads the state: free in its turn? {free}"), t);
            }
            At::Claim { seen } => {
                t.visiting.fence(p);
                let won = t.touch(p).claim == seen;
                if won {
                    t.mine(p).claim = (epoch + 1, p as u8);
                }
                t.go(p, if won { At::Leave } else { At::ReadClaim });
                out.add(|| format!("claims position {epoch}: {won}"), t);
            }
            At::Leave => {
                visit(&mut t, 0);
                t.go(p, At::Publish);
                out.add(|| "ends the visit".into(), t);
            }
            At::Publish => {
                t.touch(p);
                t.mine(p).state = (epoch, Some(p as u8));
                t.waiting[p] += 1;
                t.processes[p].left -= 1;
                t.processes[p].cursor += 1;
                t.go(p, if me.left > 1 { At::Enter } else { At::Done });
                out.add(|| format!("publishes position {epoch}"), t);
            }
            At::LeaveToAppend => {
                visit(&mut t, 0);
                t.go(p, At::Sweep);
                out.add(|| "ends the visit, to append".into(), t);
            }
            At::Sweep => self.sweep(s, p, out),
            At::FreeRetired { epoch } => {
                let segment = *t.mine(p);
                let mine = segment.word.1 == Use::Linked
                    && (segment.position == epoch || self.planted == Planted::FreedUnseen);
                t.go(p, if mine { At::SwapRetired { seen: segment.word } } else { At::Sweep });
                out.add(|| format!("looks at the retired segment: {segment:?}"), t);
            }
            At::SwapRetired { seen } => {
                let freed = t.swap(p, seen, Use::Free);
                t.go(p, At::Sweep);
                out.add(|| format!("frees it: {freed}"), t);
            }
            At::SwapReclaimed { seen, to } => {
                let done = t.swap(p, seen, to);
                t.go(p, At::Sweep);
                out.add(|| format!("makes it {to:?}: {done}"), t);
            }
            At::Ask => {
                let seen = s.directory[usize::from(epoch)];
                let may = seen == Entry::NotYet
                    || self.planted == Planted::AppendsWhatIsOver && seen == Entry::Over;
                t.go(p, if may { At::TakeFree { seen } } else { At::Enter });
                out.add(|| format!("is epoch {epoch} to be appended? {seen:?}"), t);
            }
            At::TakeFree { seen } => self.take_free(s, p, seen, out),
            At::Fill { seen } => {
                let segment = t.mine(p);
                if !segment.has_memory {
                    (segment.claim, segment.has_memory) = ((0, 0), true);
                }
                segment.position = epoch;
                segment.state = (epoch, None);
                t.go(p, At::Append { seen });
                out.add(|| format!("prepares it for epoch {epoch}"), t);
            }
            At::Append { seen } => {
                t.visiting.fence(p);
                let won = s.directory[usize::from(epoch)] == seen;
                if won {
                    t.again |= seen != Entry::NotYet;
                    t.directory[usize::from(epoch)] = Entry::At(me.segment);
                    t.go(p, At::Link);
                } else {
                    t.mine(p).word.1 = Use::Free;
                    t.go(p, At::Enter);
                }
                out.add(|| format!("appends epoch {epoch}: {won}"), t);
            }
            At::Link => {
                t.mine(p).word.1 = Use::Linked;
                t.go(p, At::LookAgain);
                out.add(|| "links it".into(), t);
            }
            At::LookAgain => {
                let there = s.directory[usize::from(epoch)] == Entry::At(me.segment);
                t.go(p, if there { At::Enter } else { At::Sweep });
                out.add(|| format!("is it still there? {there}"), t);
            }
            At::Take { mut mine, next } => {
                if usize::from(next) == SEGMENTS {
                    let any = mine.iter().any(|mine| *mine);
                    t.go(p, if any { At::Barrier { mine } } else { At::Sweep });
                } else {
                    let segment = &mut t.segments[usize::from(next)];
                    if segment.word.1 == Use::Free && segment.has_memory {
                        t.visiting.fence(p);
                        segment.word = (segment.word.0 + 1, Use::Own(p as u8));
                        mine[usize::from(next)] = true;
                    }
                    t.go(p, At::Take { mine, next: next + 1 });
                }
                out.add(|| format!("has taken {mine:?}"), t);
            }
            At::Barrier { mine } => {
                if self.planted != Planted::NoBarrier {
                    t.visiting.membarrier();
                }
                t.go(p, At::AskVisits { mine, of: 0 });
                out.add(|| "has all see what it stored".into(), t);
            }
            At::AskVisits { mine, of } => {
                let q = usize::from(of);
                let visits = q < JANITOR && s.visiting.load(p, q) == 1 && !s.processes[q].dead;
                // Waiting for him to leave is asking later.
                if q == JANITOR || visits {
                    t.go(p, At::Trim { mine, really: !visits });
                } else {
                    t.go(p, At::AskVisits { mine, of: of + 1 });
                }
                out.add(|| format!("does {of} visit? {visits}"), t);
            }
            At::Trim { mine, really } => {
                let number = (0..SEGMENTS).find(|number| mine[*number]);
                let Some(number) = number else {
                    t.go(p, At::Sweep);
                    out.add(|| "is done with trimming".into(), t);
                    return;
                };
                let mut rest = mine;
                rest[number] = false;
                if really {
                    let segment = &mut t.segments[number];
                    (segment.has_memory, segment.claim, segment.state) = (false, (0, 0), (0, None));
                }
                t.segments[number].word.1 = Use::Free;
                t.go(p, At::Trim { mine: rest, really });
                out.add(|| format!("gives the memory of segment {number} back: {really}"), t);
            }
            At::Receive => self.receive(s, out),
            At::Done => {}
        }
    }

    fn kill(&self, s: &State, p: usize) -> Option<State> {
        if s.kills == 0 || p == RECEIVER || s.processes[p].dead || s.processes[p].at == At::Done {
            return None;
        }
        let mut t = *s;
        t.kills -= 1;
        t.processes[p].dead = true;
        Some(t)
    }

    fn check(&self, s: &State) -> Result<(), String> {
        if s.hole {
            return Err("somebody looked into a hole".into());
        }
        if s.twice {
            return Err("a message was received twice".into());
        }
        if s.again {
            return Err("an epoch was appended twice".into());
        }
        let linked = |number: usize| match s.segments[number] {
            Segment { word: (_, Use::Free), has_memory: true, .. } => !s.is_there(number),
            _ => true,
        };
        if !(0..SEGMENTS).all(linked) && self.planted != Planted::StaysInDirectory {
            return Err("a free segment is in the directory".into());
        }
        Ok(())
    }

    fn done(&self, s: &State) -> bool {
        let senders = &s.processes[..JANITOR];
        senders.iter().all(|it| it.dead || it.at == At::Done) && s.waiting == [0; 2]
    }
}
