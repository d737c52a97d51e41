//! The bounded queue: `n` slots, many senders, one receiver (the owner).
//!
//! Positions are numbered 0, 1, 2, …; position `p` uses slot `p % n` in turn `p / n`. Per slot
//! there is
//!
//! ```text
//! state   (turn, FREE | FULL, member)   zeroed: FREE in turn 0. FREE(t) awaits turn t, FULL(t) holds its message
//! claim   (turn + 1, member)            zeroed: claimed in no turn. In a ledger beside the slots
//! payload                               two halves here, so that a torn message shows
//! ```
//!
//! *Sender.* From its own cursor it walks the claims to the first one older than that position's
//! turn t. The slot must be FREE(t); an older state means that all n places are taken. It CASes the
//! claim from the word seen to (t + 1, me), writes the payload and stores FULL(t, me): published.
//!
//! *Receiver.* At its head: FULL(t) → read the payload, store FREE(t + 1), move the head on. A
//! later turn → somebody recovered this position: move on. FREE(t), and claimed by a dead member →
//! recover. Otherwise: empty.
//!
//! *Recovery*, by the receiver, or by a sender that finds the queue full (the slot it needs is then
//! the very slot at the head, one lap earlier): read the claim word, *then* ask whether that member
//! is alive (row word, then the kernel's lock), then CAS the slot FREE(t) → FREE(t + 1). A verdict
//! is never kept for later.
//!
//! *Rows.* A member is known by its row: while the row is ACTIVE and its life lock is held, it is
//! alive; anything else is dead. Who wants a row takes the row's *joining* lock, another byte, and
//! sees that the life lock is free. If its predecessor did not leave the row CLEAN, it marks it
//! SWEEPING, walks the claims to the tail, records that as the *leave position* and marks it CLEAN.
//! (A leaver records its own.) It waits until the head has reached the leave position, since until
//! then claims and messages under the old tag are in the queue. Only then it takes the life lock,
//! marks the row ACTIVE and drops the joining lock. So the life lock is never held over a
//! predecessor's ACTIVE row, where it would make a dead claimant look alive.
//!
//! # Invariants
//! 1. Slot and claim turns only grow; claim(turn) ≤ slot(turn) + 1, so never more than n positions
//!    are claimed and not freed.
//! 2. A position is freed after all positions before it, so an unfreed one a lap before the tail is
//!    the oldest of all.
//! 3. FULL(t) is stored only by t's claimant, FREE(t) → FREE(t + 1) only happens to a claimant that
//!    is dead, and FULL(t) → FREE(t + 1) only by the receiver: each of the plain stores has one
//!    possible author.
//! 4. A tag read in a claim or a message belongs to whoever wrote it, as long as the head has not
//!    passed it.
//!
//! # What if it dies here?
//! - before the claim's CAS: nothing happened.
//! - between claim and FULL: the claim says who; whoever needs the slot recovers it. The message
//!   was not accepted.
//! - after FULL: accepted, and received as any other. Its row waits for the head.
//! - in a recovery: the CAS either happened or not; the next one sees which.
//! - in a sweep: the kernel drops the joining lock, the row is still SWEEPING or ACTIVE without a
//!   life lock: the next one starts over. Stopped there, it keeps a row from others, no more.
//! - the receiver: then the mailbox closes, see `close`.

mod steps;

use crate::explorer::{Model, Steps, breaks, holds};

const MAX_SLOTS: usize = 2;
const MAX_PROCESSES: usize = 4;
const ROWS: usize = 2;
const NOBODY: u8 = 9;

/// Message ids are `process * PER_PROCESS + count`; payloads are id + 1, since 0 is an unwritten
/// half.
const PER_PROCESS: u8 = 2;

#[derive(Clone, Copy)]
enum Role {
    /// A member from the start, in `row`; leaves cleanly after its messages.
    Sender {
        row: u8,
        messages: u8,
    },
    /// Takes whichever row it gets, sends, leaves.
    Newcomer {
        messages: u8,
    },
    Receiver,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// Who was found dead once is taken for dead ever after.
    VerdictRemembered,
    /// The verdict comes first, the claim word is read after it.
    VerdictBeforeWord,
    /// Recovery stores FREE(t + 1) instead of swapping it in.
    RecoveryByPlainStore,
    /// A row is reused as soon as it is CLEAN.
    RowReusedBeforeHead,
    /// Joining takes the life lock at once, over whatever the predecessor left, and no other.
    JoinedUnderLifeLock,
    /// FULL is stored before the payload.
    PublishedBeforeWritten,
    /// The claim does not look whether the slot is free.
    SlotNotChecked,
    /// Claims of the dead are left alone.
    NoRecovery,
    /// The claim does not say who claims.
    ClaimWithoutOwner,
    /// The claim is stored instead of swapped in.
    ClaimByPlainStore,
    /// A member that has claimed and not published for some time is taken for dead.
    TimeoutForDeath,
}

struct Slots {
    n: u8,
    roles: &'static [Role],
    kills: u8,
    /// A newcomer is not killed but stopped for good while it joins: it keeps its locks.
    stops: bool,
    planted: Planted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Claim {
    /// turn + 1; 0 = never claimed
    lap: u8,
    member: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Slot {
    turn: u8,
    full: bool,
    member: u8,
    payload: [u8; 2],
    /// For the check of order: what had been accepted when this position was claimed.
    before: u8,
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
    /// The process that holds the kernel's lock for joining here.
    joining: u8,
    leave: u8,
    /// For checks: the process that was last ACTIVE here.
    who: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    // sending
    Walk,
    LookAtSlot,
    SwapClaim,
    WriteFirst,
    WriteSecond,
    Publish,
    // leaving
    RecordLeave,
    MarkClean,
    Unlock,
    // joining
    LockRow,
    ReadRow,
    MarkSweeping,
    FindTail,
    RecordTail,
    MarkSwept,
    AwaitHead,
    LockLife,
    Activate,
    ReleaseJoining,
    // recovering
    ReadClaim,
    AskRow,
    AskLock,
    Recover,
    // receiving
    LookAtHead,
    ReadFirst,
    ReadSecond,
    Free,
    MoveHead,
    //
    Done,
    Dead,
    Stopped,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Process {
    at: At,
    /// A sender's next position to try; the receiver's head.
    cursor: u8,
    row: u8,
    sent: u8,
    /// The claim word seen last: to be swapped, or suspected.
    seen: Claim,
    half: u8,
    /// `VerdictRemembered`, `VerdictBeforeWord` only: the tag found dead.
    verdict: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    claims: [Claim; MAX_SLOTS],
    slots: [Slot; MAX_SLOTS],
    rows: [Row; ROWS],
    head: u8,
    processes: [Process; MAX_PROCESSES],
    accepted: u8,
    received: u8,
    kills: u8,
    wrong: Option<&'static str>,
}

const NO_CLAIM: Claim = Claim { lap: 0, member: 0 };
/// `ClaimWithoutOwner` only: a row that nobody ever has.
const NO_ROW: u8 = 8;

impl Slots {
    fn messages(&self, p: usize) -> u8 {
        match self.roles[p] {
            Role::Sender { messages, .. } | Role::Newcomer { messages } => messages,
            Role::Receiver => 0,
        }
    }

    fn is_receiver(&self, p: usize) -> bool {
        matches!(self.roles[p], Role::Receiver)
    }

    fn is_gone(&self, s: &State, p: usize) -> bool {
        matches!(s.processes[p].at, At::Done | At::Dead | At::Stopped)
    }

    fn index(&self, position: u8) -> usize {
        usize::from(position % self.n)
    }

    fn turn(&self, position: u8) -> u8 {
        position / self.n
    }

    /// The position that `p` suspects to be claimed by a dead member.
    fn suspect(&self, s: &State, p: usize) -> u8 {
        let cursor = s.processes[p].cursor;
        if self.is_receiver(p) { cursor } else { cursor - self.n }
    }
}

const GONE: Process =
    Process { at: At::Dead, cursor: 0, row: 0, sent: 0, seen: NO_CLAIM, half: 0, verdict: NOBODY };

/// Between the first lock of joining and the last.
fn is_joining(at: At) -> bool {
    let sweeping = matches!(at, At::MarkSweeping | At::FindTail | At::RecordTail | At::MarkSwept);
    let entering = matches!(at, At::LockLife | At::Activate | At::ReleaseJoining);
    sweeping || entering || matches!(at, At::ReadRow | At::AwaitHead)
}

impl Model for Slots {
    type State = State;

    fn initial(&self) -> State {
        let slot = Slot { turn: 0, full: false, member: 0, payload: [0; 2], before: 0 };
        let row = Row { word: RowWord::Clean, lock: NOBODY, joining: NOBODY, leave: 0, who: NOBODY };
        let mut s = State {
            claims: [NO_CLAIM; MAX_SLOTS],
            slots: [slot; MAX_SLOTS],
            rows: [row; ROWS],
            head: 0,
            processes: [GONE; MAX_PROCESSES],
            accepted: 0,
            received: 0,
            kills: self.kills,
            wrong: None,
        };
        for (p, role) in self.roles.iter().enumerate() {
            let who = u8::try_from(p).expect("few");
            let (at, row) = match *role {
                Role::Sender { row, .. } => {
                    s.rows[usize::from(row)] =
                        Row { word: RowWord::Active, lock: who, joining: NOBODY, leave: 0, who };
                    (At::Walk, row)
                }
                Role::Newcomer { .. } => (At::LockRow, 0),
                Role::Receiver => (At::LookAtHead, 0),
            };
            s.processes[p] = Process { at, row, ..GONE };
        }
        s
    }

    fn processes(&self) -> usize {
        self.roles.len()
    }

    fn name(&self, p: usize) -> String {
        match self.roles[p] {
            Role::Sender { .. } => format!("sender {p}"),
            Role::Newcomer { .. } => format!("newcomer {p}"),
            Role::Receiver => "receiver".into(),
        }
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        self.send(s, p, out);
        self.member(s, p, out);
        self.recover(s, p, out);
        self.receive(s, p, out);
    }

    fn kill(&self, s: &State, p: usize) -> Option<State> {
        if s.kills == 0 || self.is_gone(s, p) || self.is_receiver(p) {
            return None;
        }
        let mut t = *s;
        t.kills -= 1;
        t.processes[p] = GONE;
        if self.stops && matches!(self.roles[p], Role::Newcomer { .. }) {
            t.processes[p].at = At::Stopped;
            return is_joining(s.processes[p].at).then_some(t);
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
        if (0..usize::from(self.n)).any(|i| s.claims[i].lap > s.slots[i].turn + 1) {
            return Err("capacity exceeded".into());
        }
        Ok(())
    }

    fn done(&self, s: &State) -> bool {
        let done = |p: usize| self.is_receiver(p) || self.is_gone(s, p);
        (0..self.roles.len()).all(done) && s.accepted & !s.received == 0
    }
}

mod tests {
    use super::*;

    const REUSE: &[Role] = &[
        Role::Sender { row: 0, messages: 2 },
        Role::Sender { row: 1, messages: 1 },
        Role::Newcomer { messages: 1 },
        Role::Receiver,
    ];
    const TWO_NEWCOMERS: &[Role] = &[
        Role::Sender { row: 0, messages: 1 },
        Role::Newcomer { messages: 1 },
        Role::Newcomer { messages: 1 },
        Role::Receiver,
    ];

    const BUSY: &[Role] = &[
        Role::Sender { row: 0, messages: 2 },
        Role::Sender { row: 1, messages: 2 },
        Role::Newcomer { messages: 2 },
        Role::Receiver,
    ];

    fn queue(n: u8, roles: &'static [Role], kills: u8) -> Slots {
        Slots { n, roles, kills, stops: false, planted: Planted::Nothing }
    }

    fn planted(planted: Planted) -> Slots {
        Slots { n: 1, roles: REUSE, kills: 1, stops: false, planted }
    }

    #[test]
    fn one_slot_holds() {
        holds("slots n=1", &queue(1, REUSE, 2));
    }

    #[test]
    fn two_slots_hold() {
        holds("slots n=2", &queue(2, REUSE, 2));
    }

    #[test]
    fn more_messages_and_deaths_hold() {
        holds("slots n=2, more messages", &queue(2, BUSY, 3));
    }

    #[test]
    fn rows_pass_from_newcomer_to_newcomer() {
        holds("slots n=1, two newcomers", &queue(1, TWO_NEWCOMERS, 2));
        holds("slots n=2, two newcomers", &queue(2, TWO_NEWCOMERS, 2));
    }

    /// "Stopped" costs a process nothing but its own time, also while it joins.
    #[test]
    fn a_newcomer_stopped_for_good_holds_nobody_up() {
        for n in [1, 2] {
            let stopping = Slots { stops: true, ..queue(n, REUSE, 2) };
            holds("slots, newcomer stopped", &stopping);
        }
    }

    #[test]
    fn joining_under_the_life_lock_makes_the_dead_look_alive() {
        let stopping = Slots { stops: true, kills: 2, ..planted(Planted::JoinedUnderLifeLock) };
        breaks("joined under the life lock", &stopping, "stuck");
    }

    #[test]
    fn a_remembered_verdict_kills_a_living_claim() {
        breaks(
            "verdict remembered",
            &planted(Planted::VerdictRemembered),
            "recovered a living member's claim",
        );
    }

    #[test]
    fn a_verdict_before_the_word_kills_a_living_claim() {
        breaks(
            "verdict before word",
            &planted(Planted::VerdictBeforeWord),
            "recovered a living member's claim",
        );
    }

    #[test]
    fn recovery_by_plain_store_breaks() {
        breaks(
            "recovery by plain store",
            &planted(Planted::RecoveryByPlainStore),
            "recovered a published message",
        );
    }

    #[test]
    fn a_row_reused_too_early_breaks() {
        breaks("row reused before the head passed", &planted(Planted::RowReusedBeforeHead), "wrong sender");
    }

    #[test]
    fn publishing_before_writing_tears() {
        breaks("published before written", &planted(Planted::PublishedBeforeWritten), "torn");
    }

    #[test]
    fn an_unchecked_slot_exceeds_capacity() {
        breaks("slot not checked", &planted(Planted::SlotNotChecked), "capacity exceeded");
    }

    #[test]
    fn a_claim_without_an_owner_is_nobodys_who_lives() {
        breaks(
            "claim without owner",
            &planted(Planted::ClaimWithoutOwner),
            "recovered a living member's claim",
        );
    }

    #[test]
    fn a_claim_by_plain_store_is_two_senders() {
        breaks("claim by plain store", &planted(Planted::ClaimByPlainStore), "out of order");
    }

    #[test]
    fn who_takes_its_time_is_not_dead() {
        breaks("timeout for death", &planted(Planted::TimeoutForDeath), "recovered a living member's claim");
    }

    #[test]
    fn without_recovery_the_queue_is_stuck() {
        breaks("no recovery", &planted(Planted::NoRecovery), "stuck");
    }
}
