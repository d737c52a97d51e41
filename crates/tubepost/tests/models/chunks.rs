//! Chunks: payloads beside the slots, and messages in the hands of receivers who may die.
//!
//! ```text
//! chunk   (sequence, count, kind, member)   FREE, OWN, LINKED, HELD, RETURNED, BURIED
//!         position, copied                  written by who has it as OWN
//!         backed                            whether it is memory, as far as is known
//! slot    as in `takes`; holds its message in line, or (chunk, sequence)
//! ```
//!
//! *Sender.* CAS a chunk FREE → OWN(me) in the next sequence; make it memory; write; claim; LINKED,
//! with the position; publish.
//!
//! *Receiver.* Take a slot (`takes`). In line: read it, free the slot; or copy it into a chunk of
//! its own, OWN → HELD, free the slot. In a chunk that is LINKED in the sequence that the slot
//! says: read it, CAS it to FREE, free the slot; or CAS it to HELD, free the slot. Any other chunk:
//! a dead one was here before, only the slot is to be freed. What is in hand is accepted, HELD → FREE, or
//! given back, HELD → RETURNED in the next sequence; any receiver may hold that again.
//!
//! *Reclaiming*, by anybody; chunk by chunk: read the word, ask whether its member is dead, then
//!
//! ```text
//! OWN       CAS → FREE
//! LINKED    skip its position if it is abandoned; if that position is over: CAS → FREE
//! HELD      a copy whose slot is still FULL: CAS → FREE, else CAS → RETURNED
//! ```
//!
//! *Giving back a take* of a dead one: read the take word, ask; reclaim all chunks; if a copy of this
//! message is still HELD by it (to ask may fail: "not known to be dead") leave it at that; CAS the word.
//!
//! *Trimming.* CAS FREE → OWN(me), not backed, *then* the memory goes, FREE.
//!
//! *Closing* is as in `takes`; RETURNED → BURIED. A slot that was given back counts if its message
//! is still in it.
//!
//! # Invariants
//! 1. A payload is written only by who has its chunk as OWN, and read only by the living taker of its slot,
//!    or by who HELD names.
//! 2. A slot is freed after its message went elsewhere: a LINKED chunk whose position is over was
//!    never published.
//! 3. While a slot is FULL and its take names nobody, no copy of it is HELD or RETURNED.
//! 4. No word comes again: its sequence grows as it is taken and as it is given back.
//! 5. What is backed is memory.
//!
//! # What if it dies here?
//! - a sender before LINKED: OWN(dead) is freed, its claim skipped.
//! - between LINKED and publication: skipped, then the chunk is freed.
//! - a receiver between take and HELD: the take goes back; its chunk, if it had begun to copy, is freed.
//! - between HELD and freeing the slot: a copy is freed, and the take goes back; a chunk becomes
//!   RETURNED, and whoever takes the slot on sees that it is not LINKED.
//! - with a message in hand: RETURNED.
//! - reclaiming, sweeping: each CAS either happened or not.
//! - trimming: the chunk is not backed, whatever it is; OWN(dead) is freed.

mod recover;
mod steps;

use crate::explorer::{Model, Steps, breaks, holds, long_runs};

const MAX_SLOTS: usize = 2;
const CHUNKS: usize = 2;
const MAX_PROCESSES: usize = 4;
const ROWS: usize = 3;
const NOBODY: u8 = 9;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    InLine,
    Chunked,
}

#[derive(Clone, Copy)]
enum Role {
    /// Has the row of its number, and sends these.
    Sender(&'static [Kind]),
    /// Has the row of its number.
    Receiver,
    /// A receiver that takes whichever row it gets.
    Newcomer,
    Closer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// A take goes back before the chunks of the dead are put in order.
    TakeFirst,
    /// A copy of what is still in its slot goes back like any other.
    CopyReturned,
    /// A take goes back though a copy is still held: it could not be found out who is dead.
    CopyNotLookedFor,
    /// The slot is freed before the chunk.
    SlotFreedFirst,
    /// A dead sender's chunk is freed whatever became of its position.
    LinkedFreed,
    /// Published before it is LINKED.
    PublishedUnlinked,
    /// The sequence does not grow as a chunk is taken.
    OneSequence,
    /// The sequence does not grow as a chunk is put back, nor does the count.
    PutBackInSequence,
    /// Memory goes before it is noted as gone.
    MemoryFirst,
    /// A row is reused without a sweep.
    RowReusedUnswept,
    /// Slots that were given back are counted whatever is left of them.
    EmptySlotCounted,
    /// Who closes counts what it buries itself: what another had buried who died then is nobody's.
    BurialCountedOnce,
}

struct Chunks {
    n: u8,
    roles: &'static [Role],
    kills: u8,
    /// So many times in all somebody puts back what it has in hand, trims, or does not find room.
    extras: u8,
    /// Who is reclaiming is not killed but stopped for good.
    stops: bool,
    /// To ask who is dead may fail.
    unsure: bool,
    planted: Planted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Use {
    Free,
    Own,
    Linked,
    Held,
    Returned,
    Buried,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Word {
    sequence: u8,
    count: u8,
    kind: Use,
    member: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Chunk {
    word: Word,
    position: u8,
    copied: bool,
    message: u8,
    backed: bool,
    memory: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Claim {
    lap: u8,
    member: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Take {
    lap: u8,
    count: u8,
    closed: bool,
    member: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Slot {
    turn: u8,
    full: bool,
    message: u8,
    /// (chunk, sequence), or in line.
    ticket: Option<(u8, u8)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum RowWord {
    Clean,
    Active,
    Sweeping,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Row {
    word: RowWord,
    /// The process that holds the kernel's lock of the member's life.
    lock: u8,
    joining: u8,
    left_at: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    // sending
    TakeChunk,
    Reserve,
    NoteBacked,
    Write,
    Claim,
    Link,
    Publish,
    // receiving
    Idle,
    Open,
    Choose,
    Consume,
    TakeCopy,
    ReserveCopy,
    NoteBackedCopy,
    WriteCopy,
    HoldCopy,
    Hold,
    /// Frees the slot; then there is something in hand, or not.
    FreeSlot,
    FreeSlotHolding,
    /// Planted only: the slot is free, the chunk not yet.
    ConsumeLate,
    InHand,
    HoldAgain,
    // trimming
    NoteTrimmed,
    Trim,
    Release,
    // recovering: chunks …
    AskChunk,
    Recover,
    LookAtSlot,
    SwapChunk,
    /// … all of them, the next one first …
    Pass,
    // … and takes
    AskTake,
    LookForCopy,
    SwapTake,
    // joining
    Join,
    MarkSweeping,
    Sweep,
    RecordLeft,
    AwaitLeft,
    Activate,
    // closing
    CloseClaims,
    Closing,
    Bury,
    CountSlots,
    CountBuried,
    CountRest,
    //
    Done,
    Dead,
    Stopped,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Process {
    at: At,
    row: u8,
    /// How many a sender sent; the first untaken position that a closer found.
    number: u8,
    /// The slot in hand, or looked at.
    index: u8,
    /// The chunk in hand, or looked at.
    chunk: u8,
    /// Its word, as seen or written last.
    word: Word,
    /// The take word in hand, or seen.
    take: Take,
    /// In recovery: the take is given back after a pass over all chunks.
    passing: bool,
    /// The chunk's next word, in recovery.
    to: Use,
    /// What a closer counted: which, and how many.
    counted: (u8, u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    claims: [Claim; MAX_SLOTS],
    takes: [Take; MAX_SLOTS],
    slots: [Slot; MAX_SLOTS],
    chunks: [Chunk; CHUNKS],
    rows: [Row; ROWS],
    claims_closed: bool,
    processes: [Process; MAX_PROCESSES],
    kills: u8,
    extras: u8,
    // For checks: messages published, seen by a receiver, received for good, counted, and those that
    // were in a hand when it was being closed and came to nothing.
    accepted: u8,
    delivered: u8,
    received: u8,
    told: Option<(u8, u8)>,
    excused: u8,
    wrong: Option<&'static str>,
}

const FREE: Word = Word { sequence: 0, count: 0, kind: Use::Free, member: NOBODY };
const NO_TAKE: Take = Take { lap: 0, count: 0, closed: false, member: NOBODY };
const GONE: Process = Process {
    at: At::Dead,
    row: NOBODY,
    number: 0,
    index: 0,
    chunk: 0,
    word: FREE,
    take: NO_TAKE,
    passing: false,
    to: Use::Free,
    counted: (0, 0),
};

impl Chunks {
    fn index(&self, position: u8) -> usize {
        usize::from(position % self.n)
    }

    fn turn(&self, position: u8) -> u8 {
        position / self.n
    }

    fn is_receiver(&self, p: usize) -> bool {
        matches!(self.roles[p], Role::Receiver | Role::Newcomer)
    }

    fn is_gone(&self, s: &State, p: usize) -> bool {
        matches!(s.processes[p].at, At::Done | At::Dead | At::Stopped)
    }

    /// The message that `p` has taken or in hand.
    fn in_hand(&self, s: &State, p: usize) -> Option<u8> {
        let me = s.processes[p];
        match me.at {
            At::Choose | At::Consume | At::TakeCopy | At::ReserveCopy | At::NoteBackedCopy => {}
            At::WriteCopy | At::HoldCopy | At::Hold => {}
            At::InHand | At::FreeSlotHolding | At::ConsumeLate => {
                return Some(s.chunks[usize::from(me.chunk)].message);
            }
            // Read in line, and not freed.
            At::FreeSlot if s.slots[usize::from(me.index)].ticket.is_none() => {}
            _ => return None,
        }
        Some(s.slots[usize::from(me.index)].message)
    }

    /// Whether `p` has taken slot `i` and not freed it.
    fn has_slot(&self, s: &State, p: usize, i: usize) -> bool {
        let me = s.processes[p];
        let copying = matches!(me.at, At::TakeCopy | At::ReserveCopy | At::NoteBackedCopy | At::WriteCopy);
        let holding = matches!(me.at, At::HoldCopy | At::Hold | At::FreeSlot | At::FreeSlotHolding);
        let reading = matches!(me.at, At::Open | At::Choose | At::Consume);
        (copying || holding || reading) && usize::from(me.index) == i
    }

    /// The chunk that `p` uses, if it lives.
    fn uses(&self, s: &State, p: usize) -> Option<u8> {
        let me = s.processes[p];
        let in_line = s.slots[usize::from(me.index)].ticket.is_none();
        match me.at {
            At::Reserve | At::NoteBacked | At::Write | At::Link => Some(me.chunk),
            At::Claim if me.word.kind == Use::Own => Some(me.chunk),
            At::ReserveCopy | At::NoteBackedCopy | At::WriteCopy | At::HoldCopy => Some(me.chunk),
            At::NoteTrimmed | At::Trim | At::Release => Some(me.chunk),
            At::InHand | At::FreeSlotHolding | At::ConsumeLate => Some(me.chunk),
            At::Publish if me.word.kind == Use::Linked => Some(me.chunk),
            At::Choose | At::Consume | At::Hold if !in_line => Some(me.chunk),
            _ => None,
        }
    }

    /// The number of `p`'s next message, and how it travels.
    fn message(&self, s: &State, p: usize) -> (u8, Kind) {
        let before =
            self.roles[..p].iter().map(|role| if let Role::Sender(all) = role { all.len() } else { 0 });
        let Role::Sender(all) = self.roles[p] else { unreachable!("only senders send") };
        let number = s.processes[p].number;
        (before.sum::<usize>() as u8 + number, all[usize::from(number)])
    }
}

impl Model for Chunks {
    type State = State;

    fn initial(&self) -> State {
        let free = Chunk { word: FREE, position: 0, copied: false, message: 0, backed: false, memory: false };
        // Rows that nobody has from the start are not there.
        let row = Row { word: RowWord::Clean, lock: NOBODY, joining: NOBODY - 1, left_at: 0 };
        let mut s = State {
            claims: [Claim { lap: 0, member: NOBODY }; MAX_SLOTS],
            takes: [NO_TAKE; MAX_SLOTS],
            slots: [Slot { turn: 0, full: false, message: 0, ticket: None }; MAX_SLOTS],
            chunks: [free; CHUNKS],
            rows: [row; ROWS],
            claims_closed: false,
            processes: [GONE; MAX_PROCESSES],
            kills: self.kills,
            extras: self.extras,
            accepted: 0,
            delivered: 0,
            received: 0,
            told: None,
            excused: 0,
            wrong: None,
        };
        for (p, role) in self.roles.iter().enumerate() {
            let who = p as u8;
            s.processes[p].at = match role {
                Role::Sender(_) => self.next_message(&s, p),
                Role::Receiver => At::Idle,
                Role::Newcomer => At::Join,
                Role::Closer => At::CloseClaims,
            };
            if matches!(role, Role::Sender(_) | Role::Receiver) {
                s.rows[p] = Row { word: RowWord::Active, lock: who, joining: NOBODY, left_at: 0 };
                s.processes[p].row = who;
            }
        }
        s
    }

    fn processes(&self) -> usize {
        self.roles.len()
    }

    fn name(&self, p: usize) -> String {
        match self.roles[p] {
            Role::Sender(_) => format!("sender {p}"),
            Role::Receiver => format!("receiver {p}"),
            Role::Newcomer => format!("newcomer {p}"),
            Role::Closer => format!("closer {p}"),
        }
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        self.send(s, p, out);
        self.receive(s, p, out);
        self.hold(s, p, out);
        self.trim(s, p, out);
        self.recover(s, p, out);
        self.join(s, p, out);
        self.close(s, p, out);
    }

    fn kill(&self, s: &State, p: usize) -> Option<State> {
        let me = s.processes[p];
        // Who has sent everything is a member still.
        let sender = matches!(self.roles[p], Role::Sender(_));
        if s.kills == 0 || self.is_gone(s, p) && !(sender && me.at == At::Done) {
            return None;
        }
        let mut t = *s;
        t.kills -= 1;
        t.processes[p] = GONE;
        let recovering = matches!(me.at, At::AskChunk | At::Recover | At::LookAtSlot | At::SwapChunk);
        let recovering =
            recovering || matches!(me.at, At::Pass | At::AskTake | At::LookForCopy | At::SwapTake);
        if self.stops && recovering {
            (t.processes[p].at, t.processes[p].row) = (At::Stopped, me.row);
            return Some(t);
        }
        let opening = (me.at == At::Open).then(|| s.slots[usize::from(me.index)].message);
        if let Some(message) = self.in_hand(s, p).or(opening) {
            t.excused |= u8::from(s.claims_closed) << message;
        }
        for row in &mut t.rows {
            for byte in [&mut row.lock, &mut row.joining] {
                if usize::from(*byte) == p {
                    *byte = NOBODY;
                }
            }
        }
        Some(t)
    }

    fn check(&self, s: &State) -> Result<(), String> {
        if let Some(wrong) = s.wrong {
            return Err(wrong.into());
        }
        if s.chunks.iter().any(|chunk| chunk.backed && !chunk.memory) {
            return Err("backed without memory".into());
        }
        let mut users = (0..self.roles.len()).filter_map(|p| self.uses(s, p));
        if users.next().is_some_and(|first| users.any(|other| other == first)) {
            return Err("two use one chunk".into());
        }
        match s.told {
            Some((which, _)) if which & s.received != 0 => Err("counted and received".into()),
            Some((which, number)) if which.count_ones() != number.into() => Err("counted twice".into()),
            _ => Ok(()),
        }
    }

    fn done(&self, s: &State) -> bool {
        let receives = |p: usize| self.is_receiver(p) && !self.is_gone(s, p) && s.processes[p].at != At::Join;
        let mut all = 0..self.roles.len();
        if s.told.is_none() && (s.claims_closed || !all.clone().any(receives)) {
            // Nobody is left to receive anything, or to count it: that is for who comes later.
            return all.all(|p| self.is_gone(s, p) || !matches!(self.roles[p], Role::Closer));
        }
        let accounted = s.received | s.excused | s.told.map_or(0, |(which, _)| which);
        let tidy = |chunk: &Chunk| chunk.word.kind == Use::Free;
        all.all(|p| self.is_receiver(p) || self.is_gone(s, p))
            && s.accepted & !accounted == 0
            && (s.claims_closed || s.chunks.iter().all(tidy))
    }
}

#[path = "chunks/bounds.rs"]
mod tests;
