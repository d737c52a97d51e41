//! Capacity zero: a message goes from a sender that waits to a receiver that waits, and lies nowhere in between.
//!
//! ```text
//! chunk   (sequence, FREE | OWN | LINKED | HELD | RETURNED, member, count)    as in `chunks`
//! cell    (generation, FREE | OWN | WAITING | GIVEN, member, chunk)           one for each receiver that waits
//! ```
//!
//! *Sender.* Fills a chunk of its own. Sees a cell WAITING → CAS it to GIVEN(chunk): sent. Then CAS the chunk
//! OWN(me) → HELD(receiver). No cell: a `try_send` frees its chunk and says so; else it offers: chunk OWN(me) → LINKED(me), looks
//! at the cells again and wakes who waits there, sleeps until the chunk is not LINKED(me) any more: sent. At a
//! deadline CAS LINKED(me) → OWN(me): withdrawn; lost: sent.
//!
//! *Receiver.* Takes what was given back. Sees a chunk LINKED → CAS it to HELD(me). None: a `try_recv` says so; else it waits:
//! cell FREE → OWN(me) → WAITING, looks at the offers again. Sees one → CAS WAITING → OWN; won: frees the cell and begins again. Sleeps until
//! GIVEN(chunk). At a deadline the same CAS; lost: it was given something. GIVEN: CAS the chunk OWN(sender) → HELD(me), unless the
//! sender did; free the cell; read; free the chunk.
//!
//! Where both have posted, only the receiver matches; the sender wakes it. One of them sees the other, for each
//! posts before it looks again.
//!
//! *Who leaves.* Its threads give and offer under a lock, and look whether it left. Who leaves has the lock, then CAS LINKED -> OWN all that is offered, and
//! notes what it took back; after that nobody can tell it from a dead one.
//!
//! *The dead.* A cell OWN or WAITING of a dead one is freed. GIVEN(chunk): the chunk, if OWN, becomes HELD(the dead one); *then* the
//! cell is freed; *then* HELD of a dead one, named by no cell, becomes RETURNED, counted. OWN of a dead one that no cell names, and
//! LINKED of a dead one, is freed: who dies offering has sent nothing.
//!
//! # Invariants
//! 1. A chunk that a cell names is OWN by its giver or HELD by the cell's member, so nobody else uses it.
//! 2. A send is done when, and only when, a receiver is bound to take the message, or has it.
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
    /// Sends so many messages, each of which it may want back.
    Sender(u8),
    /// Sends one that it waits with for ever.
    Patient,
    /// Tries once.
    Try,
    /// Receives until so many came or it gives up.
    Receiver(u8),
    /// Waits for ever for one.
    Eager,
    TryReceiver,
    /// A thread of the process that all senders belong to: it leaves.
    Leaves,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// A sender that offers does not look at the cells again.
    OfferUnseen,
    /// A receiver that waits does not look at the offers again.
    WaitUnseen,
    /// Who gives up does not look whether it was given something.
    GivenUpBlindly,
    /// A chunk of a dead sender is freed though a cell names it.
    GivenFreed,
    /// A dead one's message goes back before its cell is free.
    ReturnedFirst,
    /// An offer of a dead one stays.
    OfferKept,
    /// A receiver takes an offer while it waits for another one.
    TakenWhileWaiting,
    /// What is offered by threads of who left is freed, as of a dead one.
    LeftForDead,
    /// Who leaves does not take back what its threads offer.
    NotTakenBack,
    /// Who gives or offers does not look whether its process left.
    LeftUnseen,
    /// Who finds its offer gone does not look whether it was taken back.
    TakenBackUnseen,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Use {
    Free,
    Own,
    Linked,
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
enum Phase {
    Free,
    Own,
    Waiting,
    Given,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Cell {
    generation: u8,
    phase: Phase,
    member: u8,
    chunk: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    // sending
    Fill,
    Scan,
    Give,
    Pass,
    Offer,
    LookAgain,
    Asleep,
    Withdraw,
    PutAway,
    // receiving
    Look,
    TakeOffer,
    TakeBack,
    Post,
    SeeOffers,
    Wait,
    Unpost,
    FreeCell,
    Bind,
    FreeBound,
    Read,
    // leaving
    Leave,
    Refuse,
    Regain,
    Vanish,
    //
    Done,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Process {
    at: At,
    chunk: u8,
    cell: u8,
    seen_chunk: Chunk,
    seen_cell: Cell,
    /// Messages sent or received.
    number: u8,
    /// Woken since it last looked.
    rung: bool,
    /// It wants to go home.
    late: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    chunks: [Chunk; MAX],
    cells: [Cell; 2],
    processes: [Process; MAX],
    kills: u8,
    /// The process of the senders has left; refuses to send; nobody can tell it from a dead one; and the receivers know that nothing more comes.
    left: bool,
    refuses: bool,
    vanished: bool,
    closed: bool,
    /// By message: what it took back.
    taken_back: u8,
    // For checks, by message: said to be sent; said to be not sent; read; in the hand of somebody who died.
    sent: u8,
    refused: u8,
    read: u8,
    excused: u8,
    wrong: Option<&'static str>,
}

const NO_CHUNK: Chunk = Chunk { sequence: 0, to: Use::Free, member: NOBODY, count: 0, message: NOBODY };
const NO_CELL: Cell = Cell { generation: 0, phase: Phase::Free, member: NOBODY, chunk: NOBODY };
const GONE: Process = Process {
    at: At::Dead,
    chunk: NOBODY,
    cell: NOBODY,
    seen_chunk: NO_CHUNK,
    seen_cell: NO_CELL,
    number: 0,
    rung: false,
    late: false,
};

struct Handoff {
    roles: &'static [Role],
    kills: u8,
    planted: Planted,
}

impl Handoff {
    fn sends(&self, p: usize) -> bool {
        matches!(self.roles[p], Role::Sender(_) | Role::Patient | Role::Try)
    }

    fn may_give_up(&self, p: usize) -> bool {
        matches!(self.roles[p], Role::Sender(_) | Role::Receiver(_))
    }

    /// The next message of a sender.
    fn message(&self, s: &State, p: usize) -> u8 {
        let before = self.roles[..p].iter().map(|role| match role {
            Role::Sender(n) => *n,
            Role::Patient | Role::Try => 1,
            _ => 0,
        });
        before.sum::<u8>() + s.processes[p].number
    }

    /// One message is dealt with.
    fn next(&self, t: &mut State, p: usize) {
        let number = t.processes[p].number + 1;
        let most = match self.roles[p] {
            Role::Sender(n) | Role::Receiver(n) => n,
            _ => 1,
        };
        let first = if self.sends(p) { At::Fill } else { At::Look };
        t.processes[p] = Process { at: if number == most { At::Done } else { first }, number, ..GONE };
    }

    fn was_sent(&self, t: &mut State, p: usize) {
        t.sent |= 1 << self.message(t, p);
        self.next(t, p);
    }

    fn swap_chunk(&self, t: &mut State, at: u8, seen: Chunk, to: Use, member: u8) -> bool {
        let chunk = &mut t.chunks[usize::from(at)];
        if *chunk != seen {
            return false;
        }
        *chunk = Chunk { to, member, ..seen };
        true
    }

    fn send(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let mut t = *s;
        match me.at {
            At::Fill if s.refuses || s.closed => {
                t.refused |= 1 << self.message(s, p);
                self.next(&mut t, p);
                out.add(|| "is refused".into(), t);
            }
            At::Fill => {
                let Some(at) = s.chunks.iter().position(|chunk| chunk.to == Use::Free) else { return };
                let sequence = s.chunks[at].sequence + 1;
                let message = self.message(s, p);
                t.chunks[at] = Chunk { sequence, to: Use::Own, member: p as u8, count: 0, message };
                t.processes[p] = Process { at: At::Scan, chunk: at as u8, seen_chunk: t.chunks[at], ..me };
                out.add(|| format!("fills chunk {at} with message {message}"), t);
            }
            At::Scan => {
                for (at, cell) in s.cells.iter().enumerate() {
                    if cell.phase == Phase::Waiting {
                        let mut t = *s;
                        t.processes[p] = Process { at: At::Give, cell: at as u8, seen_cell: *cell, ..me };
                        out.add(|| format!("sees cell {at} waiting"), t);
                    }
                }
                if s.cells.iter().all(|cell| cell.phase != Phase::Waiting) {
                    let tries = matches!(self.roles[p], Role::Try);
                    t.processes[p].at = if tries || me.late { At::PutAway } else { At::Offer };
                    out.add(|| "sees nobody waiting".into(), t);
                }
            }
            At::Give | At::Offer if self.may_not_send(s) => {
                t.processes[p].at = At::PutAway;
                out.add(|| "finds that it left".into(), t);
            }
            At::Give => {
                let cell = &mut t.cells[usize::from(me.cell)];
                let given = *cell == me.seen_cell;
                t.processes[p].at = At::Scan;
                if given {
                    *cell = Cell { phase: Phase::Given, chunk: me.chunk, ..me.seen_cell };
                    t.processes[p].at = At::Pass;
                }
                out.add(|| format!("gives it to cell {}: {given}", me.cell), t);
            }
            At::Pass => {
                let to = me.seen_cell.member;
                let passed = self.swap_chunk(&mut t, me.chunk, me.seen_chunk, Use::Held, to);
                self.was_sent(&mut t, p);
                out.add(|| format!("passes chunk {}: {passed}", me.chunk), t);
            }
            At::Offer => {
                let chunk = &mut t.chunks[usize::from(me.chunk)];
                *chunk = Chunk { to: Use::Linked, ..*chunk };
                t.processes[p].seen_chunk = *chunk;
                t.processes[p].at =
                    if self.planted == Planted::OfferUnseen { At::Asleep } else { At::LookAgain };
                out.add(|| format!("offers chunk {}", me.chunk), t);
            }
            At::LookAgain => {
                for cell in &s.cells {
                    if cell.phase == Phase::Waiting {
                        t.processes[usize::from(cell.member)].rung = true;
                    }
                }
                t.processes[p].at = At::Asleep;
                out.add(|| "wakes who waits".into(), t);
            }
            At::Asleep => {
                if s.chunks[usize::from(me.chunk)] != me.seen_chunk {
                    self.is_not_offered(&mut t, p);
                    out.add(|| "finds its offer gone".into(), t);
                } else if self.may_give_up(p) || s.closed || s.refuses {
                    t.processes[p].at = At::Withdraw;
                    out.add(|| "waits no longer".into(), t);
                }
            }
            At::Withdraw => {
                let mine = self.swap_chunk(&mut t, me.chunk, me.seen_chunk, Use::Own, p as u8);
                if mine {
                    t.processes[p].at = At::PutAway;
                } else if self.planted == Planted::GivenUpBlindly {
                    t.refused |= 1 << self.message(s, p);
                    self.next(&mut t, p);
                } else {
                    self.is_not_offered(&mut t, p);
                }
                out.add(|| format!("withdraws: {mine}"), t);
            }
            At::PutAway => {
                // It may have been freed for it.
                let own = Chunk { to: Use::Own, ..me.seen_chunk };
                self.swap_chunk(&mut t, me.chunk, own, Use::Free, NOBODY);
                t.refused |= 1 << self.message(s, p);
                self.next(&mut t, p);
                out.add(|| format!("puts chunk {} away", me.chunk), t);
            }
            _ => {}
        }
    }

    fn receive(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let mut t = *s;
        let who = p as u8;
        let found = |wanted: Use| {
            s.chunks.iter().enumerate().filter(move |(_, chunk)| {
                chunk.to == wanted && (wanted == Use::Returned || !self.is_gone(s, chunk.member))
            })
        };
        match me.at {
            At::Look => {
                for (to, at) in [(Use::Returned, At::TakeBack), (Use::Linked, At::TakeOffer)] {
                    for (chunk, seen) in found(to) {
                        let mut t = *s;
                        t.processes[p] = Process { at, chunk: chunk as u8, seen_chunk: *seen, ..me };
                        out.add(|| format!("sees chunk {chunk}: {to:?}"), t);
                    }
                }
                if found(Use::Returned).chain(found(Use::Linked)).next().is_none() {
                    if s.left || s.closed {
                        t.closed = true;
                        let waiting = t.cells.iter_mut().filter(|cell| cell.phase == Phase::Waiting);
                        waiting.for_each(|cell| cell.phase = Phase::Own);
                        t.processes[p] = Process { at: At::Done, ..GONE };
                        out.add(|| "finds that nothing comes, and closes".into(), t);
                    } else if matches!(self.roles[p], Role::TryReceiver) || me.late {
                        t.processes[p] = Process { at: At::Done, ..GONE };
                        out.add(|| "finds nothing".into(), t);
                    } else if let Some(cell) = s.cells.iter().position(|cell| cell.phase == Phase::Free) {
                        let generation = s.cells[cell].generation + 1;
                        t.cells[cell] = Cell { generation, phase: Phase::Own, member: who, chunk: NOBODY };
                        t.processes[p] = Process { at: At::Post, cell: cell as u8, rung: false, ..me };
                        out.add(|| format!("takes cell {cell}"), t);
                    }
                }
            }
            At::TakeOffer | At::TakeBack => {
                let taken = self.swap_chunk(&mut t, me.chunk, me.seen_chunk, Use::Held, who);
                let at = match (taken, me.cell == NOBODY) {
                    (true, true) => At::Read,
                    (true, false) => At::FreeBound, // planted
                    (false, true) => At::Look,
                    (false, false) => At::Wait,
                };
                t.processes[p].at = at;
                out.add(|| format!("takes chunk {}: {taken}", me.chunk), t);
            }
            At::Post => {
                let cell = &mut t.cells[usize::from(me.cell)];
                cell.phase = Phase::Waiting;
                t.processes[p].seen_cell = *cell;
                t.processes[p].at =
                    if self.planted == Planted::WaitUnseen { At::Wait } else { At::SeeOffers };
                out.add(|| format!("waits in cell {}", me.cell), t);
            }
            At::SeeOffers => {
                let offer = found(Use::Linked).chain(found(Use::Returned)).next();
                t.processes[p].at = if offer.is_some() { At::Unpost } else { At::Wait };
                if let Some((chunk, seen)) = offer
                    && self.planted == Planted::TakenWhileWaiting
                {
                    t.processes[p] =
                        Process { at: At::TakeOffer, chunk: chunk as u8, seen_chunk: *seen, ..me };
                }
                out.add(|| format!("looks at the offers: {}", offer.is_some()), t);
            }
            At::Wait => {
                if s.cells[usize::from(me.cell)].phase == Phase::Given {
                    t.processes[p].at = At::Bind;
                    out.add(|| "finds that it was given something".into(), t);
                } else if s.left || s.closed {
                    t.processes[p].at = At::Unpost;
                    out.add(|| "finds that who sends has left".into(), t);
                } else if me.rung {
                    t.processes[p].rung = false;
                    t.processes[p].at = At::SeeOffers;
                    out.add(|| "wakes up".into(), t);
                } else if self.may_give_up(p) && !me.late {
                    (t.processes[p].at, t.processes[p].late) = (At::Unpost, true);
                    out.add(|| "waits no longer".into(), t);
                }
            }
            At::Unpost => {
                let cell = &mut t.cells[usize::from(me.cell)];
                let mine = *cell == me.seen_cell || *cell == Cell { phase: Phase::Own, ..me.seen_cell };
                if mine {
                    cell.phase = Phase::Own;
                    t.processes[p].at = At::FreeCell;
                } else {
                    t.processes[p].at = At::Bind;
                }
                if !mine && self.planted == Planted::GivenUpBlindly && me.late {
                    t.processes[p] = Process { at: At::Done, ..GONE };
                }
                out.add(|| format!("leaves cell {}: {mine}", me.cell), t);
            }
            At::FreeCell => {
                let cell = &mut t.cells[usize::from(me.cell)];
                *cell = Cell { phase: Phase::Free, member: NOBODY, ..*cell };
                t.processes[p] = Process { at: At::Look, cell: NOBODY, ..me };
                out.add(|| format!("frees cell {}", me.cell), t);
            }
            At::Bind => {
                let chunk = s.cells[usize::from(me.cell)].chunk;
                let seen = s.chunks[usize::from(chunk)];
                if seen.to == Use::Own {
                    self.swap_chunk(&mut t, chunk, seen, Use::Held, who);
                } else if seen.to != Use::Held || seen.member != who {
                    t.wrong = Some("given what is another's");
                }
                (t.processes[p].at, t.processes[p].chunk) = (At::FreeBound, chunk);
                out.add(|| format!("binds chunk {chunk}: {seen:?}"), t);
            }
            At::FreeBound => {
                let cell = &mut t.cells[usize::from(me.cell)];
                *cell = Cell { phase: Phase::Free, member: NOBODY, chunk: NOBODY, ..*cell };
                t.processes[p] = Process { at: At::Read, cell: NOBODY, ..me };
                out.add(|| format!("frees cell {}", me.cell), t);
            }
            At::Read => {
                let chunk = &mut t.chunks[usize::from(me.chunk)];
                let bit = 1 << chunk.message;
                if chunk.to != Use::Held || chunk.member != who {
                    t.wrong = Some("reads what is another's");
                } else if s.read & bit != 0 {
                    t.wrong = Some("received twice");
                } else if s.refused & bit != 0 {
                    t.wrong = Some("received, and said not to be sent");
                } else if chunk.count > 0 && s.excused & bit == 0 {
                    t.wrong = Some("marked though nobody died with it");
                }
                *chunk = Chunk { to: Use::Free, member: NOBODY, ..*chunk };
                t.read |= bit;
                self.next(&mut t, p);
                out.add(|| format!("reads chunk {} and frees it", me.chunk), t);
            }
            _ => {}
        }
    }
}

impl Model for Handoff {
    type State = State;

    fn initial(&self) -> State {
        let mut s = State {
            chunks: [NO_CHUNK; MAX],
            cells: [NO_CELL; 2],
            processes: [GONE; MAX],
            kills: self.kills,
            left: false,
            refuses: false,
            vanished: false,
            closed: false,
            taken_back: 0,
            sent: 0,
            refused: 0,
            read: 0,
            excused: 0,
            wrong: None,
        };
        for p in 0..self.roles.len() {
            s.processes[p].at = match self.roles[p] {
                Role::Leaves => At::Leave,
                _ if self.sends(p) => At::Fill,
                _ => At::Look,
            };
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
        self.leave(s, p, out);
        self.tidy(s, out);
    }

    fn kill(&self, s: &State, p: usize) -> Option<State> {
        let me = s.processes[p];
        if s.kills == 0 || matches!(me.at, At::Done | At::Dead) {
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
        for (at, chunk) in s.chunks.iter().enumerate() {
            let bound = matches!(chunk.to, Use::Own | Use::Held);
            if self.named(s, at) && !bound {
                return Err(format!("a cell names chunk {at}, which is {:?}", chunk.to));
            }
        }
        // Sent and not read: it is somebody's, or waits to be taken again.
        for message in 0..8 {
            if (s.sent & !s.read) >> message & 1 == 1 {
                let there = |(at, chunk): (usize, &Chunk)| {
                    let its = chunk.message == message;
                    its && (matches!(chunk.to, Use::Held | Use::Returned) || self.named(s, at))
                };
                if !s.chunks.iter().enumerate().any(there) {
                    return Err(format!("message {message} is lost"));
                }
            }
        }
        Ok(())
    }

    fn done(&self, s: &State) -> bool {
        let living: Vec<usize> = (0..self.roles.len()).filter(|p| s.processes[*p].at != At::Dead).collect();
        let at_rest = |p: &usize| s.processes[*p].at == At::Done;
        // Who waits for ever may do so if there is nobody for it.
        let eager = |p: &usize| s.processes[*p].at == At::Wait && self.roles[*p] == Role::Eager && !s.left;
        let patient =
            |p: &usize| s.processes[*p].at == At::Asleep && self.roles[*p] == Role::Patient && !s.refuses;
        let all = living.iter().all(|p| at_rest(p) || eager(p) || patient(p));
        let met = living.iter().any(eager) && living.iter().any(patient);
        let left = s.chunks.iter().any(|chunk| self.is_dead(s, chunk.member))
            || s.cells.iter().any(|cell| self.is_dead(s, cell.member));
        let back = s.chunks.iter().any(|chunk| chunk.to == Use::Returned) && living.iter().any(eager);
        all && !met && !back && (!left || living.iter().all(at_rest))
    }
}
