//! Receivers that compete: each message goes to exactly one of them, whoever dies.
//!
//! Beside what `slots` models there is a ledger of takes, a word per slot:
//!
//! ```text
//! take    (turn + 1, deliveries before, closed, withdrawn, member)     zeroed: taken in no turn
//! skips   (count, position)                                 positions without a message
//! ```
//!
//! *Receiver.* From its own head: the take word is of this turn or a later one → walk on. Closed →
//! nothing is taken any more. Slot FULL(t) → CAS the take word seen to (t + 1, 0, me), read the
//! payload, store FREE(t + 1). FREE(t) → empty, or recover it if its claimant is dead. A later turn,
//! *and the take word is still the one seen* → skipped: note it in `skips`, walk on.
//!
//! *Giving back*, by anybody: read the take word, *then* ask whether its member is dead, then CAS
//! (t, c, dead) → (t, c + 1, nobody). Only a receiver takes it again, by CAS to (t, c + 1, me).
//! Who can't use what it took puts it back: (t, c, me) → (t, c + 1, nobody).
//!
//! *Withdrawing*, by a sender that waited in vain for its message at p to be collected: walk to the first
//! position that nobody took, as a newcomer does; CAS the take word of p, of an older turn (or put back by a sole
//! receiver), to (t, withdrawn, me); store FREE(t + 1). What was given back stays: it counts as collected. Who walks meets a withdrawn word: of this turn → note the skip, walk on; of a later
//! one → it says nothing of the positions before it, but all that its slot had before is over: walk on right behind that. A
//! sole receiver looks at states only, but takes an awaited message by CAS, too.
//!
//! *Rows.* As in `slots`; of receivers here. A dead one's is SWEEPING while what it had taken is
//! given back, then CLEAN, then a newcomer's, under the same tag.
//!
//! *Closing.* Close the claims; give back what the dead had; set the closed bit in the first older
//! take word, and in each word that says nobody on a FULL slot; count the FULL slots whose word says
//! nobody *and closed*, and what is published or being published from there to the tail. The first
//! number told is everybody's.
//!
//! # Invariants
//! 1. A position is first taken by a receiver after all before it were taken or skipped.
//! 2. FULL(t) is left only by the living taker that the take word names.
//! 3. No take word ever comes again: of one turn, its count only grows while it changes hands.
//! 4. `skips` counts exactly the skipped positions before the one it names, for nobody passes one
//!    without noting it first, newcomers included.
//! 5. What is counted is closed: nobody receives it.
//!
//! # What if it dies here?
//! - before its take: nothing happened.
//! - between take and FREE: the word names the dead; anybody gives it back, marked.
//! - giving back, taking again, sweeping: the CAS either happened or not.
//! - between seeing a skip and noting it: whoever passes there next notes it.
//! - between withdrawing and FREE: nobody receives it; whoever looks after the dead frees the slot.
//! - closing: the next one does the same, and tells the number that the first told, if it did.
//!
//! Claims are made in one step here, and so are verdicts on senders: `slots` has those in full.

mod bounds;
mod steps;

use crate::explorer::{Model, Steps};

const MAX_SLOTS: usize = 3;
const MAX_PROCESSES: usize = 5;
const ROWS: usize = 3;
const NOBODY: u8 = 9;

#[derive(Clone, Copy)]
enum Role {
    Sender(u8),
    /// A sender of so many messages that waits for each to be collected, or withdraws it.
    Awaiting(u8),
    /// The only receiver: it looks at states, and takes by CAS only what is awaited.
    Sole,
    /// A member from the start, in this row.
    Receiver(u8),
    /// A receiver that takes whichever row it gets.
    Newcomer,
    Closer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// The take is stored instead of swapped in.
    TakenByPlainStore,
    /// The verdict comes first, the take word is read after it.
    VerdictBeforeWord,
    /// What is given back keeps its count.
    GivenBackUncounted,
    /// What is put back keeps its count.
    PutBackUncounted,
    /// Nobody gives anything back.
    NothingGivenBack,
    /// A dead receiver's row is reused without a sweep.
    RowReusedUnswept,
    /// Who sees a later turn doesn't look at the take word again.
    SkipNotConfirmed,
    /// A skip is counted by each who passes.
    SkipCountedByEach,
    /// A newcomer begins at the first position that nobody took, and notes nothing on the way.
    NewcomerNotesNothing,
    /// What was given back is counted, closed or not.
    CountedUnclosed,
    /// What was given back is not closed.
    GivenBackNotClosed,
    /// What the dead had is not given back before it is counted.
    ClosedWithoutGivingBack,
    /// A withdrawn word is walked over like a take.
    WithdrawnWalkedOver,
    /// Who withdraws does not walk to the first position that nobody took.
    WithdrawnUnwalked,
    /// A sole receiver takes awaited messages without a CAS.
    SoleWithoutSwap,
    /// Nobody frees the slot of one who died withdrawing.
    WithdrawnNotFreed,
}

struct Takes {
    n: u8,
    roles: &'static [Role],
    kills: u8,
    /// Who has no message in hand is not killed but stopped for good: it keeps its locks.
    stops: bool,
    put_backs: u8,
    planted: Planted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Claim {
    /// turn + 1; 0 = never claimed
    lap: u8,
    who: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Take {
    /// turn + 1; 0 = never taken
    lap: u8,
    count: u8,
    closed: bool,
    withdrawn: bool,
    member: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Slot {
    turn: u8,
    full: bool,
    awaited: bool,
    message: u8,
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
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    // sending
    Claim,
    Publish,
    Await,
    Walk,
    ReadTake,
    Withdraw,
    FreeOwn,
    // receiving
    Idle,
    Look,
    Confirm,
    Note,
    Swap,
    Read,
    Free,
    SwapAgain,
    // giving back
    Ask,
    GiveBack,
    // joining
    Join,
    MarkSweeping,
    Sweep,
    SwapSwept,
    Activate,
    // closing
    CloseClaims,
    CloserReads,
    CloserAsks,
    CloserGives,
    CloseTakes,
    CloseGivenBack,
    CountGivenBack,
    CountRest,
    Tell,
    //
    Done,
    Dead,
    Stopped,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Process {
    at: At,
    row: u8,
    /// A receiver's next position; how many a sender sent; a closer's first position not taken.
    head: u8,
    /// The slot in hand, or looked at.
    index: u8,
    /// The take word seen last.
    seen: Take,
    /// What a closer counted.
    counted: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    claims: [Claim; MAX_SLOTS],
    takes: [Take; MAX_SLOTS],
    slots: [Slot; MAX_SLOTS],
    rows: [Row; ROWS],
    /// (count, position + 1)
    skips: (u8, u8),
    claims_closed: bool,
    processes: [Process; MAX_PROCESSES],
    kills: u8,
    put_backs: u8,
    // For checks: positions that were skipped, and that were taken for the first time …
    skipped: u16,
    taken: u16,
    withdrawn: u8,
    // … messages published, read by anybody, freed by who read them, counted by who told first …
    accepted: u8,
    delivered: u8,
    received: u8,
    told: Option<u8>,
    // … and those that were in the hand of somebody who died, at all, or after the closing began.
    died_with: u8,
    excused: u8,
    wrong: Option<&'static str>,
}

const NO_CLAIM: Claim = Claim { lap: 0, who: NOBODY };
const NO_TAKE: Take = Take { lap: 0, count: 0, closed: false, withdrawn: false, member: NOBODY };
const GONE: Process = Process { at: At::Dead, row: NOBODY, head: 0, index: 0, seen: NO_TAKE, counted: 0 };

impl Takes {
    fn index(&self, position: u8) -> usize {
        usize::from(position % self.n)
    }

    fn turn(&self, position: u8) -> u8 {
        position / self.n
    }

    fn is_receiver(&self, p: usize) -> bool {
        matches!(self.roles[p], Role::Receiver(_) | Role::Newcomer | Role::Sole)
    }

    /// The message that `p` has in hand.
    fn in_hand(&self, s: &State, p: usize) -> Option<u8> {
        let me = s.processes[p];
        matches!(me.at, At::Read | At::Free).then(|| s.slots[usize::from(me.index)].message)
    }

    /// The number of `p`'s next message.
    fn message(&self, s: &State, p: usize) -> u8 {
        let before = self.roles[..p].iter().map(|role| match role {
            Role::Sender(n) | Role::Awaiting(n) => *n,
            _ => 0,
        });
        before.sum::<u8>() + s.processes[p].head
    }
}

impl Model for Takes {
    type State = State;

    fn initial(&self) -> State {
        let row = Row { word: RowWord::Clean, lock: NOBODY, joining: NOBODY };
        let mut s = State {
            claims: [NO_CLAIM; MAX_SLOTS],
            takes: [NO_TAKE; MAX_SLOTS],
            slots: [Slot { turn: 0, full: false, awaited: false, message: 0 }; MAX_SLOTS],
            // Rows that nobody has from the start are not there.
            rows: [Row { joining: NOBODY - 1, ..row }; ROWS],
            skips: (0, 0),
            claims_closed: false,
            processes: [GONE; MAX_PROCESSES],
            kills: self.kills,
            put_backs: self.put_backs,
            skipped: 0,
            taken: 0,
            withdrawn: 0,
            accepted: 0,
            delivered: 0,
            received: 0,
            told: None,
            died_with: 0,
            excused: 0,
            wrong: None,
        };
        for (p, role) in self.roles.iter().enumerate() {
            let who = u8::try_from(p).expect("few");
            s.processes[p].at = match *role {
                Role::Sender(_) | Role::Awaiting(_) => At::Claim,
                Role::Sole => {
                    s.rows[0] = Row { word: RowWord::Active, lock: who, joining: NOBODY };
                    s.processes[p].row = 0;
                    At::Idle
                }
                Role::Receiver(row) => {
                    s.rows[usize::from(row)] = Row { word: RowWord::Active, lock: who, joining: NOBODY };
                    s.processes[p].row = row;
                    At::Idle
                }
                Role::Newcomer => At::Join,
                Role::Closer => At::CloseClaims,
            };
        }
        s
    }

    fn processes(&self) -> usize {
        self.roles.len()
    }

    fn name(&self, p: usize) -> String {
        match self.roles[p] {
            Role::Sender(_) => format!("sender {p}"),
            Role::Awaiting(_) => format!("awaiting sender {p}"),
            Role::Sole => format!("sole receiver {p}"),
            Role::Receiver(_) => format!("receiver {p}"),
            Role::Newcomer => format!("newcomer {p}"),
            Role::Closer => format!("closer {p}"),
        }
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        self.send(s, p, out);
        self.await_collection(s, p, out);
        self.receive(s, p, out);
        self.give_back(s, p, out);
        self.join(s, p, out);
        self.close(s, p, out);
    }

    fn kill(&self, s: &State, p: usize) -> Option<State> {
        let me = s.processes[p];
        if s.kills == 0 || matches!(me.at, At::Done | At::Dead | At::Stopped) {
            return None;
        }
        let mut t = *s;
        t.kills -= 1;
        t.processes[p] = GONE;
        if self.stops && self.in_hand(s, p).is_none() && self.is_receiver(p) {
            (t.processes[p].at, t.processes[p].row) = (At::Stopped, me.row);
            return Some(t);
        }
        if let Some(message) = self.in_hand(s, p) {
            t.died_with |= 1 << message;
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
        let (count, next) = s.skips;
        if u32::from(count) != (s.skipped & ((1 << next) - 1)).count_ones() {
            return Err(format!("{count} skips counted before {next}, of {:b}", s.skipped));
        }
        if s.told.is_some_and(|told| told & s.received != 0) {
            return Err("counted and received".into());
        }
        if s.withdrawn & s.received != 0 {
            return Err("withdrawn and received".into());
        }
        Ok(())
    }

    fn done(&self, s: &State) -> bool {
        let gone = |p: usize| matches!(s.processes[p].at, At::Done | At::Dead | At::Stopped);
        let receives = |p: usize| self.is_receiver(p) && !gone(p) && s.processes[p].at != At::Join;
        let mut all = 0..self.roles.len();
        if s.told.is_none() && (s.claims_closed || !all.clone().any(receives)) {
            // Nobody is left to receive anything, or to count it: that is for who comes later.
            return all.all(|p| gone(p) || !matches!(self.roles[p], Role::Closer));
        }
        let accounted = s.received | s.excused | s.told.unwrap_or(0) | s.withdrawn;
        let all_free = s.slots.iter().all(|slot| !slot.full) || s.told.is_some();
        all.all(|p| self.is_receiver(p) || gone(p)) && s.accepted & !accounted == 0 && all_free
    }
}
