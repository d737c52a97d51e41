//! Closing the bounded queue, and the one number of messages never collected. Slots and claims as
//! in `slots`.
//!
//! Who closes: the owner, or, once the owner is dead, every user that notices. They all do the
//! same:
//!
//! ```text
//! 1. find the tail     walk the claims from the head to the first one older than its position's turn
//! 2. close             CAS that claim word to itself with CLOSED set, turn and member kept; it changed: walk on.
//!                      CLOSED is there already: somebody closed it, the tail is known
//! 3. count             from the head to the tail: FULL slots, and unpublished claims of the living. A claim of a dead
//!                      member: CAS its slot FREE(t) -> FREE(t + 1), and look at the slot again
//! 4. agree             CAS the number into a word, from "none yet"; report what the word says
//! ```
//!
//! A sender that walks onto a CLOSED word goes to step 3. Its claim can't slip in behind the tail,
//! as it CASes the very word that carries CLOSED, from a value without it.
//!
//! # Invariants
//! 1. At most one claim word is CLOSED, and from then on no word of the ledger changes.
//! 2. Everything accepted is before the tail; before the tail everything is collected, FULL, or
//!    claimed.
//! 3. The number is written once. A claim counted for a living member becomes FULL, unless its
//!    claimant dies first; then the number counts a message that nobody accepted: a living claim is
//!    taken at its word.
//!
//! # What if it dies here?
//! - a closer before step 2: nothing happened. Whoever else waits notices the owner's death as
//!   well.
//! - a closer, the owner too, between steps 2 and 4: everybody else finds CLOSED, counts, and
//!   agrees on the first number.
//! - a claimant: FULL before its death is seen in step 3's second look; otherwise its position is
//!   skipped, by anyone.
//! - stopped, and back after the number was agreed on: step 4 fails, and it reports the same
//!   number.

use crate::explorer::{Model, Steps, breaks, holds};

const MAX_SLOTS: usize = 2;
const MAX_PROCESSES: usize = 4;
const OWNER: usize = 0;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// The slot of a dead claimant is not looked at again.
    NoSecondLook,
    /// Everybody reports its own count.
    OwnNumber,
    /// CLOSED is stored, not swapped in.
    PlainStore,
    /// A flag beside the ledger says closed; senders look at it before they claim.
    FlagBesideLedger,
    /// Not everybody counts: some wait for the number of those who do.
    CountedByCloserOnly,
}

struct Closing {
    n: u8,
    /// Messages that each sender sends; process 0 is the owner.
    sends: &'static [u8],
    kills: u8,
    planted: Planted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Claim {
    /// turn + 1; 0 = never claimed
    lap: u8,
    member: u8,
    closed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Slot {
    turn: u8,
    full: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    // the owner
    LookAtHead,
    Free,
    MoveHead,
    // sending
    Walk,
    LookAtSlot,
    SwapClaim,
    Publish,
    /// Nothing more to send; waits until it is closed.
    AwaitClose,
    // closing
    FindTail,
    SwapClosed,
    // counting
    CountSlot,
    AskClaimant,
    Skip,
    // agreeing
    SwapNumber,
    ReadNumber,
    Reported(u8),
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Process {
    at: At,
    /// Position to send to, to receive from, to look for the tail, or to count.
    cursor: u8,
    sent: u8,
    seen: Claim,
    tail: u8,
    count: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    claims: [Claim; MAX_SLOTS],
    slots: [Slot; MAX_SLOTS],
    head: u8,
    flag: bool,
    number: Option<u8>,
    processes: [Process; MAX_PROCESSES],
    kills: u8,
    /// How many died between claim and publication.
    dead_claims: u8,
    wrong: Option<&'static str>,
}

const NO_CLAIM: Claim = Claim { lap: 0, member: 0, closed: false };
const IDLE: Process = Process { at: At::Dead, cursor: 0, sent: 0, seen: NO_CLAIM, tail: 0, count: 0 };

impl Closing {
    fn index(&self, position: u8) -> usize {
        usize::from(position % self.n)
    }

    fn turn(&self, position: u8) -> u8 {
        position / self.n
    }

    fn is_closed(&self, s: &State) -> bool {
        s.flag || s.claims.iter().any(|c| c.closed)
    }

    fn is_owner_dead(&self, s: &State) -> bool {
        s.processes[OWNER].at == At::Dead
    }

    fn begin_closing(&self, s: &mut State, p: usize) {
        s.processes[p] = Process { at: At::FindTail, cursor: s.head, sent: s.processes[p].sent, ..IDLE };
    }

    fn begin_counting(&self, s: &mut State, p: usize, tail: u8) {
        let (at, cursor) = (At::CountSlot, s.head);
        s.processes[p] = Process { at, cursor, tail, sent: s.processes[p].sent, ..IDLE };
    }

    fn receive(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let (i, turn) = (self.index(me.cursor), self.turn(me.cursor));
        let mut t = *s;
        let my = &mut t.processes[p];
        match me.at {
            At::LookAtHead => {
                let mut closing = *s;
                self.begin_closing(&mut closing, p);
                out.add(|| "begins to close".into(), closing);
                match (s.slots[i].turn == turn, s.slots[i].full) {
                    (true, true) => my.at = At::Free,
                    (true, false) => return,
                    (false, _) => my.at = At::MoveHead,
                }
                out.add(|| format!("looks at {}", me.cursor), t);
            }
            At::Free => {
                my.at = At::MoveHead;
                t.slots[i] = Slot { turn: turn + 1, full: false };
                out.add(|| format!("has collected {}", me.cursor), t);
            }
            At::MoveHead => {
                (my.at, my.cursor) = (At::LookAtHead, me.cursor + 1);
                t.head = me.cursor + 1;
                out.add(|| format!("moves the head to {}", me.cursor + 1), t);
            }
            _ => {}
        }
    }

    fn send(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let (position, i, turn) = (me.cursor, self.index(me.cursor), self.turn(me.cursor));
        let claim = s.claims[i];
        if matches!(me.at, At::Walk | At::AwaitClose) && self.is_owner_dead(s) {
            let mut t = *s;
            self.begin_closing(&mut t, p);
            out.add(|| "notices the owner's death, begins to close".into(), t);
        }
        let mut t = *s;
        let my = &mut t.processes[p];
        match me.at {
            At::Walk if claim.lap > turn => {
                my.cursor += 1;
                out.add(|| format!("walks on: {position} is claimed"), t);
            }
            At::Walk if claim.closed || s.flag => {
                self.begin_counting(&mut t, p, position);
                out.add(|| format!("finds it CLOSED at {position}"), t);
            }
            At::Walk => {
                (my.at, my.seen) = (At::LookAtSlot, claim);
                out.add(|| format!("sees {position} unclaimed"), t);
            }
            At::LookAtSlot => {
                let free = s.slots[i] == Slot { turn, full: false };
                (my.at, my.seen) = if free { (At::SwapClaim, me.seen) } else { (At::Walk, NO_CLAIM) };
                out.add(|| format!("looks at slot {i}: free = {free}"), t);
            }
            At::SwapClaim if claim == me.seen => {
                (my.at, my.seen) = (At::Publish, NO_CLAIM);
                t.claims[i] = Claim { lap: turn + 1, member: p as u8, closed: false };
                out.add(|| format!("claims {position}"), t);
            }
            At::SwapClaim => {
                (my.at, my.seen) = (At::Walk, NO_CLAIM);
                out.add(|| format!("fails to claim {position}"), t);
            }
            At::Publish => {
                if s.slots[i] != (Slot { turn, full: false }) {
                    t.wrong = Some("a living claim was skipped");
                }
                t.slots[i] = Slot { turn, full: true };
                (my.sent, my.cursor) = (me.sent + 1, position + 1);
                my.at = if my.sent < self.sends[p] { At::Walk } else { At::AwaitClose };
                out.add(|| format!("publishes {position}: accepted"), t);
            }
            At::AwaitClose if self.is_closed(s) => {
                self.begin_closing(&mut t, p);
                out.add(|| "hears that it is closed".into(), t);
            }
            _ => {}
        }
    }

    fn close(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let i = self.index(me.cursor);
        let mut t = *s;
        let my = &mut t.processes[p];
        match me.at {
            At::FindTail if s.claims[i].lap > self.turn(me.cursor) => {
                my.cursor += 1;
                out.add(|| format!("{} is claimed", me.cursor), t);
            }
            At::FindTail if s.claims[i].closed || s.flag => {
                self.begin_counting(&mut t, p, me.cursor);
                out.add(|| format!("finds it CLOSED at {}", me.cursor), t);
            }
            At::FindTail => {
                (my.at, my.seen) = (At::SwapClosed, s.claims[i]);
                out.add(|| format!("finds the tail: {}", me.cursor), t);
            }
            At::SwapClosed => {
                let beside = self.planted == Planted::FlagBesideLedger;
                let stores = self.planted == Planted::PlainStore;
                let closes = s.claims[i] == me.seen || stores || beside;
                if closes {
                    t.flag = beside;
                    if !beside {
                        t.claims[i] = Claim { closed: true, ..me.seen };
                    }
                    self.begin_counting(&mut t, p, me.cursor);
                } else {
                    (my.at, my.seen) = (At::FindTail, NO_CLAIM);
                }
                out.add(|| format!("sets CLOSED at {}: {closes}", me.cursor), t);
            }
            _ => {}
        }
    }

    fn count(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let (position, i, turn) = (me.cursor, self.index(me.cursor), self.turn(me.cursor));
        let mut t = *s;
        let my = &mut t.processes[p];
        match me.at {
            At::CountSlot if position == me.tail => {
                my.at = At::SwapNumber;
                out.add(|| format!("has counted {}", me.count), t);
            }
            At::CountSlot => {
                match (s.slots[i].turn == turn, s.slots[i].full) {
                    (true, true) => (my.cursor, my.count) = (position + 1, me.count + 1),
                    (true, false) => my.at = At::AskClaimant,
                    (false, _) => my.cursor += 1,
                }
                out.add(|| format!("counts {position}: {:?}", s.slots[i]), t);
            }
            At::AskClaimant => {
                // The ledger does not change any more, so reading the word and asking may be one
                // step.
                let alive = s.processes[usize::from(s.claims[i].member)].at != At::Dead;
                match alive {
                    true => (my.at, my.cursor, my.count) = (At::CountSlot, position + 1, me.count + 1),
                    false if self.planted == Planted::NoSecondLook => {
                        (my.at, my.cursor) = (At::CountSlot, position + 1);
                    }
                    false => my.at = At::Skip,
                }
                out.add(|| format!("asks for the claimant of {position}: alive = {alive}"), t);
            }
            At::Skip => {
                my.at = At::CountSlot;
                let unpublished = s.slots[i] == Slot { turn, full: false };
                if unpublished {
                    t.slots[i].turn = turn + 1;
                }
                out.add(|| format!("skips {position}: {unpublished}"), t);
            }
            At::SwapNumber => {
                if s.number.is_none() {
                    t.number = Some(me.count);
                }
                let own = self.planted == Planted::OwnNumber;
                *my = Process { at: if own { At::Reported(me.count) } else { At::ReadNumber }, ..IDLE };
                out.add(|| format!("swaps in {}: {}", me.count, s.number.is_none()), t);
            }
            At::ReadNumber => {
                *my = Process { at: At::Reported(s.number.unwrap_or(u8::MAX)), ..IDLE };
                out.add(|| format!("reports {:?}", s.number), t);
            }
            _ => {}
        }
    }

    /// Messages accepted and never collected: what the slots hold.
    fn uncollected(&self, s: &State) -> u8 {
        s.slots.iter().filter(|slot| slot.full).count() as u8
    }

    /// `CountedByCloserOnly`: the owner and sender 1 count, the others wait for them.
    fn waits_for_number(&self, s: &State, p: usize) -> bool {
        self.planted == Planted::CountedByCloserOnly && p > 1 && s.number.is_none()
    }
}

impl Model for Closing {
    type State = State;

    fn initial(&self) -> State {
        let mut processes = [IDLE; MAX_PROCESSES];
        for (p, &sends) in self.sends.iter().enumerate() {
            processes[p].at = match (p, sends) {
                (OWNER, _) => At::LookAtHead,
                (_, 0) => At::AwaitClose,
                _ => At::Walk,
            };
        }
        State {
            claims: [NO_CLAIM; MAX_SLOTS],
            slots: [Slot { turn: 0, full: false }; MAX_SLOTS],
            head: 0,
            flag: false,
            number: None,
            processes,
            kills: self.kills,
            dead_claims: 0,
            wrong: None,
        }
    }

    fn processes(&self) -> usize {
        self.sends.len()
    }

    fn name(&self, p: usize) -> String {
        if p == OWNER { "owner".into() } else { format!("sender {p}") }
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        self.receive(s, p, out);
        self.send(s, p, out);
        self.close(s, p, out);
        if !self.waits_for_number(s, p) {
            self.count(s, p, out);
        }
    }

    fn kill(&self, s: &State, p: usize) -> Option<State> {
        if s.kills == 0 || matches!(s.processes[p].at, At::Dead | At::Reported(_)) {
            return None;
        }
        let mut t = *s;
        t.kills -= 1;
        t.dead_claims += u8::from(s.processes[p].at == At::Publish);
        t.processes[p] = IDLE;
        Some(t)
    }

    fn check(&self, s: &State) -> Result<(), String> {
        if let Some(wrong) = s.wrong {
            return Err(wrong.into());
        }
        if s.claims.iter().filter(|claim| claim.closed).count() > 1 {
            return Err("closed twice".into());
        }
        let mut reports = s.processes.iter().filter_map(|p| match p.at {
            At::Reported(number) => Some(number),
            _ => None,
        });
        if let Some(first) = reports.next()
            && let Some(other) = reports.find(|&number| number != first)
        {
            return Err(format!("one reports {first}, another {other}"));
        }
        let publishing = s.processes.iter().any(|p| p.at == At::Publish);
        let left = self.uncollected(s);
        match s.number {
            Some(number) if !publishing && (number < left || number > left + s.dead_claims) => {
                Err(format!("the number is {number}, but {left} were accepted and not collected"))
            }
            _ => Ok(()),
        }
    }

    fn done(&self, s: &State) -> bool {
        s.processes.iter().all(|p| matches!(p.at, At::Reported(_) | At::Dead))
    }
}

mod tests {
    use super::*;

    fn closing(n: u8, sends: &'static [u8], kills: u8) -> Closing {
        Closing { n, sends, kills, planted: Planted::Nothing }
    }

    fn planted(planted: Planted, kills: u8) -> Closing {
        Closing { n: 2, sends: &[0, 1, 1], kills, planted }
    }

    #[test]
    fn three_senders_hold() {
        holds("closing n=1", &closing(1, &[0, 1, 1, 1], 2));
        holds("closing n=2", &closing(2, &[0, 1, 1, 1], 2));
    }

    #[test]
    fn more_messages_hold() {
        holds("closing n=1, more messages", &closing(1, &[0, 2, 2], 2));
        holds("closing n=2, more messages", &closing(2, &[0, 3, 2], 2));
    }

    #[test]
    fn without_a_second_look_a_message_is_not_counted() {
        breaks("no second look", &planted(Planted::NoSecondLook, 1), "the number is 0, but 1");
    }

    #[test]
    fn own_numbers_differ() {
        breaks("own number", &planted(Planted::OwnNumber, 1), "another");
    }

    #[test]
    fn closed_by_plain_store_loses_a_claim() {
        breaks("plain store", &planted(Planted::PlainStore, 0), "but 1 were accepted");
    }

    #[test]
    fn a_flag_beside_the_ledger_comes_too_late() {
        breaks("flag beside", &planted(Planted::FlagBesideLedger, 0), "but 1 were accepted");
    }

    #[test]
    fn if_only_closers_count_their_death_leaves_the_others_waiting() {
        breaks("counted by closer only", &planted(Planted::CountedByCloserOnly, 2), "stuck");
    }
}
