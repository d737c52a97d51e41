//! What each role does, one step at a time: send, join and leave, recover, receive.

use super::{
    At, Claim, GONE, NO_CLAIM, NO_ROW, NOBODY, PER_PROCESS, Planted, Process, RowWord, Slot, Slots, State,
};
use crate::explorer::Steps;

impl Slots {
    /// One step of a send, from the walk to the publication.
    pub(super) fn send(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let (position, i, turn) = (me.cursor, self.index(me.cursor), self.turn(me.cursor));
        let (claim, slot) = (s.claims[i], s.slots[i]);
        let id = u8::try_from(p).expect("few") * PER_PROCESS + me.sent;
        let mut t = *s;
        let my = &mut t.processes[p];
        match me.at {
            At::Walk if claim.lap > turn => {
                my.cursor += 1;
                out.add(|| format!("walks on: {position} is claimed"), t);
            }
            At::Walk => {
                (my.at, my.seen) = (At::LookAtSlot, claim);
                if self.planted == Planted::SlotNotChecked {
                    my.at = At::SwapClaim;
                }
                out.add(|| format!("sees {position} unclaimed ({claim:?})"), t);
            }
            At::LookAtSlot if slot.turn == turn && !slot.full => {
                my.at = At::SwapClaim;
                out.add(|| format!("sees slot {i} FREE({turn})"), t);
            }
            At::LookAtSlot => {
                (my.at, my.seen) = (At::Walk, NO_CLAIM);
                if slot.turn < turn {
                    if !slot.full {
                        my.at = At::ReadClaim;
                    }
                    if self.places_taken(s) < self.n {
                        t.wrong = Some("refused although there is room");
                    }
                }
                out.add(|| format!("sees slot {i} in turn {}, not FREE({turn})", slot.turn), t);
            }
            At::SwapClaim if claim == me.seen || self.planted == Planted::ClaimByPlainStore => {
                (my.at, my.seen) = (At::WriteFirst, NO_CLAIM);
                if self.planted == Planted::PublishedBeforeWritten {
                    my.at = At::Publish;
                }
                let member = if self.planted == Planted::ClaimWithoutOwner { NO_ROW } else { me.row };
                t.claims[i] = Claim { lap: turn + 1, member };
                t.slots[i].before = s.accepted;
                out.add(|| format!("claims {position}"), t);
            }
            At::SwapClaim => {
                (my.at, my.seen) = (At::Walk, NO_CLAIM);
                out.add(|| format!("fails to claim {position}"), t);
            }
            At::WriteFirst => {
                my.at = At::WriteSecond;
                t.slots[i].payload[0] = id + 1;
                out.add(|| format!("writes half of message {id}"), t);
            }
            At::WriteSecond => {
                my.at = At::Publish;
                t.slots[i].payload[1] = id + 1;
                if self.planted == Planted::PublishedBeforeWritten {
                    self.sent(&mut t.processes[p], p);
                }
                out.add(|| format!("writes the rest of message {id}"), t);
            }
            At::Publish => {
                if self.planted == Planted::PublishedBeforeWritten {
                    my.at = At::WriteFirst;
                } else {
                    self.sent(my, p);
                }
                (t.slots[i].turn, t.slots[i].full, t.slots[i].member) = (turn, true, me.row);
                t.accepted |= 1 << id;
                out.add(|| format!("publishes FULL({turn}) at {position}: message {id} accepted"), t);
            }
            _ => {}
        }
    }

    fn sent(&self, process: &mut Process, p: usize) {
        process.sent += 1;
        process.cursor += 1;
        process.at = if process.sent < self.messages(p) { At::Walk } else { At::RecordLeave };
    }

    fn places_taken(&self, s: &State) -> u8 {
        let taken = (0..usize::from(self.n)).filter(|&i| s.claims[i].lap > s.slots[i].turn);
        u8::try_from(taken.count()).expect("few")
    }

    /// Joining and leaving.
    pub(super) fn member(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let tag = u8::try_from(p).expect("few");
        let r = usize::from(me.row);
        let joins_under_life_lock = self.planted == Planted::JoinedUnderLifeLock;
        let mut t = *s;
        let my = &mut t.processes[p];
        match me.at {
            At::RecordLeave => {
                my.at = At::MarkClean;
                t.rows[r].leave = me.cursor;
                out.add(|| format!("leaves: last claim before {}", me.cursor), t);
            }
            At::MarkClean => {
                my.at = At::Unlock;
                t.rows[r].word = RowWord::Clean;
                out.add(|| format!("marks row {r} CLEAN"), t);
            }
            At::Unlock => {
                *my = Process { at: At::Done, ..GONE };
                t.rows[r].lock = NOBODY;
                out.add(|| format!("unlocks row {r}"), t);
            }
            At::LockRow => {
                for (row, seen) in s.rows.iter().enumerate() {
                    let free = seen.lock == NOBODY && seen.joining == NOBODY;
                    if !free {
                        continue;
                    }
                    let mut t = *s;
                    let byte = match self.planted {
                        Planted::JoinedUnderLifeLock => &mut t.rows[row].lock,
                        _ => &mut t.rows[row].joining,
                    };
                    *byte = tag;
                    t.processes[p].row = u8::try_from(row).expect("few");
                    t.processes[p].at = At::ReadRow;
                    out.add(|| format!("locks row {row} to join ({:?})", seen.word), t);
                }
            }
            At::ReadRow if !joins_under_life_lock && s.rows[r].lock != NOBODY => {
                *my = Process { at: At::LockRow, ..GONE };
                t.rows[r].joining = NOBODY;
                out.add(|| format!("finds row {r} taken meanwhile"), t);
            }
            At::ReadRow => {
                let clean = s.rows[r].word == RowWord::Clean;
                my.at = if clean { At::AwaitHead } else { At::MarkSweeping };
                out.add(|| format!("reads row {r}: {:?}", s.rows[r].word), t);
            }
            At::MarkSweeping => {
                (my.at, my.cursor) = (At::FindTail, s.head);
                t.rows[r].word = RowWord::Sweeping;
                out.add(|| format!("marks row {r} SWEEPING, head is {}", s.head), t);
            }
            At::FindTail => {
                if s.claims[self.index(me.cursor)].lap > self.turn(me.cursor) {
                    my.cursor += 1;
                } else {
                    my.at = At::RecordTail;
                }
                out.add(|| format!("looks for the tail at {}", me.cursor), t);
            }
            At::RecordTail => {
                my.at = At::MarkSwept;
                t.rows[r].leave = me.cursor;
                out.add(|| format!("records leave position {}", me.cursor), t);
            }
            At::MarkSwept => {
                (my.at, my.cursor) = (At::AwaitHead, 0);
                t.rows[r].word = RowWord::Clean;
                out.add(|| format!("marks row {r} CLEAN"), t);
            }
            At::AwaitHead => {
                let passed = s.head >= s.rows[r].leave;
                if !passed && self.planted != Planted::RowReusedBeforeHead {
                    return;
                }
                my.at = if joins_under_life_lock { At::Activate } else { At::LockLife };
                out.add(|| format!("sees the head at {}", s.head), t);
            }
            At::LockLife => {
                my.at = At::Activate;
                t.rows[r].lock = tag;
                out.add(|| format!("locks row {r} as its own"), t);
            }
            At::Activate => {
                my.at = At::ReleaseJoining;
                (t.rows[r].word, t.rows[r].who) = (RowWord::Active, tag);
                out.add(|| format!("marks row {r} ACTIVE: a member"), t);
            }
            At::ReleaseJoining => {
                (my.at, my.cursor) = (At::Walk, s.head);
                t.rows[r].joining = NOBODY;
                out.add(|| format!("lets others join at row {r} after it, starts at {}", s.head), t);
            }
            _ => {}
        }
    }

    /// Recovery of the position that `p` suspects. Afterwards `p` looks again, whatever came of it.
    pub(super) fn recover(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        if !matches!(me.at, At::ReadClaim | At::AskRow | At::AskLock | At::Recover) {
            return;
        }
        let position = self.suspect(s, p);
        let (i, turn) = (self.index(position), self.turn(position));
        let again = if self.is_receiver(p) { At::LookAtHead } else { At::Walk };
        let mut t = *s;
        let my = &mut t.processes[p];
        match me.at {
            At::ReadClaim => {
                let claim = s.claims[i];
                (my.at, my.seen) = match () {
                    () if claim.lap != turn + 1 || self.planted == Planted::NoRecovery => (again, NO_CLAIM),
                    () if me.verdict == claim.member => (At::Recover, claim),
                    () => (At::AskRow, claim),
                };
                out.add(|| format!("reads the claim of {position}: {claim:?}"), t);
            }
            At::AskRow => {
                let word = s.rows.get(usize::from(me.seen.member)).map_or(RowWord::Clean, |row| row.word);
                my.at = if word == RowWord::Active { At::AskLock } else { At::Recover };
                out.add(|| format!("reads row {}: {word:?}", me.seen.member), t);
            }
            At::AskLock => {
                let alive = s.rows[usize::from(me.seen.member)].lock != NOBODY;
                let alive = alive && self.planted != Planted::TimeoutForDeath;
                (my.at, my.seen) = if alive { (again, NO_CLAIM) } else { (At::Recover, me.seen) };
                if !alive && self.planted == Planted::VerdictRemembered {
                    my.verdict = me.seen.member;
                }
                if !alive && self.planted == Planted::VerdictBeforeWord && me.verdict == NOBODY {
                    (my.at, my.verdict, my.seen) = (again, me.seen.member, NO_CLAIM);
                }
                out.add(|| format!("asks for the lock of row {}: held = {alive}", me.seen.member), t);
            }
            At::Recover => {
                let slot = s.slots[i];
                let unpublished = slot.turn == turn && !slot.full;
                (my.at, my.seen) = (again, NO_CLAIM);
                if self.planted == Planted::VerdictBeforeWord {
                    my.verdict = NOBODY;
                }
                if unpublished || self.planted == Planted::RecoveryByPlainStore {
                    if self.claimed_by_the_living(s, position) {
                        t.wrong = Some("recovered a living member's claim");
                    } else if slot.turn == turn && slot.full {
                        t.wrong = Some("recovered a published message");
                    }
                    (t.slots[i].turn, t.slots[i].full) = (turn + 1, false);
                }
                out.add(|| format!("recovers {position}: swapped = {unpublished}"), t);
            }
            _ => {}
        }
    }

    fn claimed_by_the_living(&self, s: &State, position: u8) -> bool {
        let claimed = |q: &Process| matches!(q.at, At::WriteFirst | At::WriteSecond | At::Publish);
        s.processes.iter().any(|q| claimed(q) && q.cursor == position)
    }

    pub(super) fn receive(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.processes[p];
        let (i, turn) = (self.index(me.cursor), self.turn(me.cursor));
        let slot = s.slots[i];
        let mut t = *s;
        let my = &mut t.processes[p];
        match me.at {
            At::LookAtHead => {
                my.at = match (slot.turn == turn, slot.full) {
                    (true, true) => At::ReadFirst,
                    (true, false) => At::ReadClaim,
                    (false, _) => At::MoveHead,
                };
                out.add(|| format!("looks at {}: turn {}, full = {}", me.cursor, slot.turn, slot.full), t);
            }
            At::ReadFirst => {
                (my.at, my.half) = (At::ReadSecond, slot.payload[0]);
                out.add(|| format!("reads half of {}", me.cursor), t);
            }
            At::ReadSecond => {
                (my.at, my.half) = (At::Free, 0);
                if me.half != slot.payload[1] {
                    t.wrong = Some("torn message");
                } else if let Some(wrong) = self.misreceived(s, &slot) {
                    t.wrong = Some(wrong);
                } else {
                    t.received |= 1 << (me.half - 1);
                }
                out.add(|| format!("reads the rest: message {}", slot.payload[1].wrapping_sub(1)), t);
            }
            At::Free => {
                my.at = At::MoveHead;
                t.slots[i] = Slot { turn: turn + 1, full: false, ..slot };
                out.add(|| format!("frees {}", me.cursor), t);
            }
            At::MoveHead => {
                (my.at, my.cursor) = (At::LookAtHead, me.cursor + 1);
                t.head = me.cursor + 1;
                out.add(|| format!("moves the head to {}", me.cursor + 1), t);
            }
            _ => {}
        }
    }

    /// What is wrong with receiving the whole message in `slot` now.
    fn misreceived(&self, s: &State, slot: &Slot) -> Option<&'static str> {
        let Some(id) = slot.payload[1].checked_sub(1) else {
            return Some("torn message");
        };
        match () {
            () if s.received >> id & 1 == 1 => Some("received twice"),
            () if slot.before & !s.received != 0 => Some("out of order"),
            () if s.rows[usize::from(slot.member)].who != id / PER_PROCESS => Some("wrong sender"),
            () => None,
        }
    }
}
