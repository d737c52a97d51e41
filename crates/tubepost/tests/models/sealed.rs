//! The sealed strategy: a sender and an owner, each of whom writes words of its own, and reads the other's.
//!
//! ```text
//! sender writes: published, wants, withdrawn        owner writes: consumed, asleep, taking, skipped, ended, closing
//! ```
//!
//! No word is changed by compare-and-swap, so each decision between the two is a store, a fence and a load on either side:
//!
//! - published | asleep: either the owner sees the message, or the sender sees that it sleeps, and sends a note;
//! - consumed | wants: the same, the other way round;
//! - withdrawn | taking: either the owner sees that a message is wanted back, or the sender sees that it is being taken; it may be both: then the owner
//!   decides, and the sender waits until it did;
//! - published | closing: either the owner counts the message, or the sender sees that it is closed, and reads what the owner counted.
//!
//! The sender sends some messages, the last one awaited, and may want that back. The owner takes all, and may close before. Notes are counted: whoever gets more
//! than it asked for would hang up.
//!
//! # What if it dies here?
//! The other one is told by the kernel. Of a sender, what it published is received first.

use crate::explorer::{Model, Steps, breaks, holds};
use crate::memory::Memory;

const PUBLISHED: usize = 0;
const WANTS: usize = 1;
const WITHDRAWN: usize = 2;
const CONSUMED: usize = 3;
const ASLEEP: usize = 4;
const TAKING: usize = 5;
const SKIPPED: usize = 6;
const ENDED: usize = 7;
const CLOSING: usize = 8;

const SENDER: usize = 0;
const OWNER: usize = 1;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// No fence after publishing …
    NoFenceAfterPublishing,
    /// … before the owner looks again …
    NoFenceBeforeSleep,
    /// … after consuming …
    NoFenceAfterConsuming,
    /// … before the sender looks again …
    NoFenceBeforeWaiting,
    /// … between wanting it back and looking whether it is taken …
    NoFenceAtWithdrawal,
    /// … between taking it and looking whether it is wanted back …
    NoFenceAtTaking,
    /// … between closing and counting.
    NoFenceAtClosing,
    /// The owner does not look again before it sleeps.
    NoSecondLook,
    /// The sender does not wait for what the owner decides.
    Impatient,
    /// The owner consumes before it says that it skipped.
    ConsumesFirst,
    /// The sender looks for the end before it publishes.
    LooksForEndFirst,
    /// A sleep has no number: the sender tells it each time.
    TellsEachTime,
    /// What was published is forgotten when the sender is gone.
    ForgetsTheDead,
}

struct Sealed {
    messages: u8,
    places: u8,
    awaits: bool,
    closes: bool,
    kills: u8,
    planted: Planted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    // the sender
    Room,
    Want,
    FenceWant,
    RoomAgain,
    Poll,
    LookForEnd,
    Publish,
    FencePublish,
    LoadAsleep,
    LoadClosing,
    Late,
    Await,
    WantAwaited,
    FenceAwaited,
    AwaitAgain,
    PollAwaited,
    Withdraw,
    FenceWithdraw,
    LoadTaking,
    AwaitDecision,
    LoadSkipped,
    // the owner
    Look,
    Take,
    FenceTake,
    LoadWithdrawn,
    Decide(bool),
    Consume,
    DecideLate,
    FenceConsume,
    LoadWants,
    Sleep,
    FenceSleep,
    LookAgain,
    PollOwner,
    Wake,
    Close,
    FenceClose,
    Count,
    // both
    Done,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Fate {
    Open,
    Withdrawn,
    Collected,
    /// It was closed before.
    Refused,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    memory: Memory<9, 2>,
    at: [At; 2],
    /// Notes that lie in the sockets, for each.
    notes: [u8; 2],
    /// What each one knows by itself.
    sent: u8,
    /// For how many its call came back well.
    accepted: u8,
    refused: u8,
    wants: u8,
    armed: bool,
    told_owner: u8,
    fate: Fate,
    consumed: u8,
    taken: u8,
    skipped_last: bool,
    took_last: bool,
    sleeps: u8,
    heard: u8,
    told_sender: u8,
    counted: Option<u8>,
    shut: bool,
    kills: u8,
}

impl Sealed {
    fn owner_is_gone(state: &State) -> bool {
        // The kernel hangs up after all that it did is visible.
        matches!(state.at[OWNER], At::Dead | At::Done) && !state.memory.has_buffered(OWNER)
    }

    fn sender_is_gone(state: &State) -> bool {
        matches!(state.at[SENDER], At::Dead | At::Done) && !state.memory.has_buffered(SENDER)
    }

    fn is_awaited(&self, position: u8) -> bool {
        self.awaits && position + 1 == self.messages
    }

    fn after_send(&self, state: &State) -> At {
        if state.sent < self.messages {
            At::Room
        } else if self.awaits {
            At::Await
        } else {
            At::Done
        }
    }

    fn sender(&self, state: &State, out: &mut Steps<State>) {
        let load = |word| state.memory.load(SENDER, word);
        let go = |at| {
            let mut next = state.clone();
            next.at[SENDER] = at;
            next
        };
        let store = |word, value, at| {
            let mut next = go(at);
            next.memory.store(SENDER, word, value);
            next
        };
        let fence = |at| {
            let mut next = go(at);
            next.memory.fence(SENDER);
            next
        };
        let first = if self.planted == Planted::LooksForEndFirst { At::LookForEnd } else { At::Publish };
        match state.at[SENDER] {
            At::Room => {
                let room = state.sent - load(CONSUMED) < self.places;
                out.add(|| format!("room: {room}"), go(if room { first } else { At::Want }));
            }
            at @ (At::Want | At::WantAwaited) => {
                let then = if at == At::Want { At::FenceWant } else { At::FenceAwaited };
                let mut next = if state.armed { go(then) } else { store(WANTS, state.wants + 1, then) };
                next.wants += u8::from(!state.armed);
                next.armed = true;
                out.add(|| "wants progress".into(), next);
            }
            At::FenceWant if self.planted == Planted::NoFenceBeforeWaiting => {
                out.add(|| "makes no fence".into(), go(At::RoomAgain));
            }
            At::FenceWant => out.add(|| "fence".into(), fence(At::RoomAgain)),
            At::RoomAgain => {
                let room = state.sent - load(CONSUMED) < self.places;
                out.add(|| format!("again, room: {room}"), go(if room { first } else { At::Poll }));
            }
            at @ (At::Poll | At::PollAwaited) => {
                let then = if at == At::Poll { At::Room } else { At::Await };
                if state.notes[SENDER] > 0 {
                    let mut next = go(then);
                    next.notes[SENDER] = 0;
                    next.armed = false;
                    out.add(|| "takes the note away".into(), next);
                }
                if Self::owner_is_gone(state) {
                    let mut next = go(At::Done);
                    // What it reads then is all there is.
                    let last = self.messages - 1;
                    if at == At::PollAwaited {
                        next.fate = match state.memory.visible(CONSUMED) > last {
                            true if state.memory.visible(SKIPPED) == 0 => Fate::Collected,
                            _ => Fate::Withdrawn,
                        };
                    }
                    out.add(|| "hears that nobody is there".into(), next);
                }
                if at == At::PollAwaited {
                    out.add(|| "its deadline comes".into(), go(At::Withdraw));
                }
            }
            At::LookForEnd => {
                let closing = load(CLOSING) != 0;
                out.add(
                    || format!("finds closing: {closing}"),
                    go(if closing { At::Done } else { At::Publish }),
                );
            }
            At::Publish => {
                let mut next = store(PUBLISHED, state.sent + 1, At::FencePublish);
                next.sent += 1;
                out.add(|| format!("publishes {}", state.sent + 1), next);
            }
            At::FencePublish if self.planted == Planted::NoFenceAfterPublishing => {
                out.add(|| "makes no fence".into(), go(At::LoadAsleep));
            }
            At::FencePublish => out.add(|| "fence".into(), fence(At::LoadAsleep)),
            At::LoadAsleep => {
                let asleep = load(ASLEEP);
                let mut next = go(At::LoadClosing);
                let known = asleep == state.told_owner && self.planted != Planted::TellsEachTime;
                if asleep != 0 && !known && !Self::owner_is_gone(state) {
                    next.told_owner = asleep;
                    next.notes[OWNER] += 1;
                }
                out.add(|| format!("finds asleep: {asleep}"), next);
            }
            At::LoadClosing => {
                let closing = load(CLOSING) != 0 && self.planted != Planted::LooksForEndFirst;
                let then = if closing { At::Late } else { self.after_send(state) };
                let mut next = go(then);
                next.accepted += u8::from(!closing);
                out.add(|| format!("finds closing: {closing}"), next);
            }
            At::Late => {
                let ended = load(ENDED);
                if ended != 0 || Self::owner_is_gone(state) {
                    let counted = ended > state.sent;
                    let mut next = go(At::Done);
                    next.refused += u8::from(!counted);
                    next.fate = Fate::Refused;
                    out.add(|| format!("finds that it was counted: {counted}"), next);
                }
            }
            at @ (At::Await | At::AwaitAgain | At::AwaitDecision) => {
                if load(CONSUMED) >= self.messages {
                    out.add(|| "it is consumed".into(), go(At::LoadSkipped));
                } else if at != At::AwaitDecision {
                    let then = if at == At::Await { At::WantAwaited } else { At::PollAwaited };
                    out.add(|| "it is not consumed".into(), go(then));
                } else if Self::owner_is_gone(state) {
                    let mut next = go(At::Done);
                    next.fate = Fate::Withdrawn;
                    out.add(|| "nobody decides any more".into(), next);
                }
            }
            At::FenceAwaited => out.add(|| "fence".into(), fence(At::AwaitAgain)),
            At::Withdraw => out.add(|| "wants it back".into(), store(WITHDRAWN, 1, At::FenceWithdraw)),
            At::FenceWithdraw if self.planted == Planted::NoFenceAtWithdrawal => {
                out.add(|| "makes no fence".into(), go(At::LoadTaking));
            }
            At::FenceWithdraw => out.add(|| "fence".into(), fence(At::LoadTaking)),
            At::LoadTaking => {
                let taking = load(TAKING) >= self.messages && self.planted != Planted::Impatient;
                let mut next = go(if taking { At::AwaitDecision } else { At::Done });
                if !taking {
                    next.fate = Fate::Withdrawn;
                }
                out.add(|| format!("finds it being taken: {taking}"), next);
            }
            At::LoadSkipped => {
                let mut next = go(At::Done);
                next.fate = if load(SKIPPED) != 0 { Fate::Withdrawn } else { Fate::Collected };
                out.add(|| format!("{:?}", next.fate), next.clone());
            }
            _ => {}
        }
    }

    fn owner(&self, state: &State, out: &mut Steps<State>) {
        let load = |word| state.memory.load(OWNER, word);
        let go = |at| {
            let mut next = state.clone();
            next.at[OWNER] = at;
            next
        };
        let store = |word, value, at| {
            let mut next = go(at);
            next.memory.store(OWNER, word, value);
            next
        };
        let fence = |at| {
            let mut next = go(at);
            next.memory.fence(OWNER);
            next
        };
        let consume = |at| {
            let mut next = store(CONSUMED, state.consumed + 1, at);
            next.consumed += 1;
            next
        };
        let late = self.planted == Planted::ConsumesFirst;
        match state.at[OWNER] {
            At::Look => {
                if load(PUBLISHED) > state.consumed {
                    let awaited = self.is_awaited(state.consumed);
                    let then = if awaited { At::Take } else { At::Consume };
                    out.add(|| "finds a message".into(), go(then));
                } else if state.consumed == self.messages || Self::sender_is_gone(state) {
                    out.add(|| "has all".into(), go(At::Done));
                } else {
                    out.add(|| "finds nothing".into(), go(At::Sleep));
                }
                if self.closes {
                    out.add(|| "begins to close".into(), go(At::Close));
                }
            }
            At::Take => {
                out.add(|| "says that it takes it".into(), store(TAKING, state.consumed + 1, At::FenceTake));
            }
            At::FenceTake if self.planted == Planted::NoFenceAtTaking => {
                out.add(|| "makes no fence".into(), go(At::LoadWithdrawn));
            }
            At::FenceTake => out.add(|| "fence".into(), fence(At::LoadWithdrawn)),
            At::LoadWithdrawn => {
                let wanted = load(WITHDRAWN) != 0;
                let mut next = go(if late { At::Consume } else { At::Decide(wanted) });
                next.skipped_last = wanted;
                next.took_last = !wanted;
                out.add(|| format!("finds it wanted back: {wanted}"), next);
            }
            At::Decide(skipped) => {
                out.add(|| "says what it decided".into(), store(SKIPPED, skipped.into(), At::Consume));
            }
            At::Consume => {
                let awaited = self.is_awaited(state.consumed);
                let then = if late && awaited { At::DecideLate } else { At::FenceConsume };
                let mut next = consume(then);
                next.taken += u8::from(!awaited || !state.skipped_last);
                out.add(|| "consumes it".into(), next);
            }
            At::DecideLate => {
                let next = store(SKIPPED, state.skipped_last.into(), At::FenceConsume);
                out.add(|| "says what it decided".into(), next);
            }
            At::FenceConsume if self.planted == Planted::NoFenceAfterConsuming => {
                out.add(|| "makes no fence".into(), go(At::LoadWants));
            }
            At::FenceConsume => out.add(|| "fence".into(), fence(At::LoadWants)),
            At::LoadWants => {
                let wants = load(WANTS);
                let mut next = go(At::Look);
                if wants != state.told_sender {
                    next.told_sender = wants;
                    next.notes[SENDER] += 1;
                }
                out.add(|| format!("finds wants: {wants}"), next);
            }
            At::Sleep => {
                let mut next = store(ASLEEP, state.sleeps + 1, At::FenceSleep);
                next.sleeps += 1;
                out.add(|| "says that it sleeps".into(), next);
            }
            At::FenceSleep => {
                let then = if self.planted == Planted::NoSecondLook { At::PollOwner } else { At::LookAgain };
                let fenced = self.planted != Planted::NoFenceBeforeSleep;
                out.add(|| "fence".into(), if fenced { fence(then) } else { go(then) });
            }
            At::LookAgain => {
                let any = load(PUBLISHED) > state.consumed;
                out.add(|| format!("again: {any}"), go(if any { At::Wake } else { At::PollOwner }));
            }
            At::PollOwner => {
                if state.notes[OWNER] > 0 {
                    let mut next = go(At::Wake);
                    next.heard += next.notes[OWNER];
                    next.notes[OWNER] = 0;
                    next.shut = next.heard > next.sleeps;
                    out.add(|| "takes all notes away".into(), next);
                }
                if Self::sender_is_gone(state) {
                    let forgets = self.planted == Planted::ForgetsTheDead;
                    out.add(|| "hears the hang-up".into(), go(if forgets { At::Done } else { At::Wake }));
                }
            }
            At::Wake => out.add(|| "says that it looks".into(), store(ASLEEP, 0, At::Look)),
            At::Close => out.add(|| "closes".into(), store(CLOSING, 1, At::FenceClose)),
            At::FenceClose if self.planted == Planted::NoFenceAtClosing => {
                out.add(|| "makes no fence".into(), go(At::Count));
            }
            At::FenceClose => out.add(|| "fence".into(), fence(At::Count)),
            At::Count => {
                let published = load(PUBLISHED);
                let mut next = store(ENDED, 1 + published, At::Done);
                next.counted = Some(published - state.consumed);
                out.add(|| format!("counts up to {published}"), next);
            }
            _ => {}
        }
    }
}

impl Model for Sealed {
    type State = State;

    fn initial(&self) -> State {
        State {
            memory: Memory::zeroed(),
            at: [At::Room, At::Look],
            notes: [0; 2],
            sent: 0,
            accepted: 0,
            refused: 0,
            wants: 0,
            armed: false,
            told_owner: 0,
            fate: Fate::Open,
            consumed: 0,
            taken: 0,
            skipped_last: false,
            took_last: false,
            sleeps: 0,
            heard: 0,
            told_sender: 0,
            counted: None,
            shut: false,
            kills: self.kills,
        }
    }

    fn processes(&self) -> usize {
        2
    }

    fn name(&self, p: usize) -> String {
        ["sender", "owner"][p].into()
    }

    fn steps(&self, state: &State, p: usize, out: &mut Steps<State>) {
        if state.memory.has_buffered(p) {
            let mut next = state.clone();
            next.memory.drain_one(p);
            out.add(|| "(a store of it becomes visible)".into(), next);
        }
        match p {
            SENDER => self.sender(state, out),
            _ => self.owner(state, out),
        }
    }

    fn kill(&self, state: &State, p: usize) -> Option<State> {
        if state.kills == 0 || matches!(state.at[p], At::Dead | At::Done) {
            return None;
        }
        let mut next = state.clone();
        next.at[p] = At::Dead;
        next.kills -= 1;
        Some(next)
    }

    fn check(&self, state: &State) -> Result<(), String> {
        if state.shut {
            return Err("an honest sender was hung up on".into());
        }
        if state.fate == Fate::Withdrawn && state.took_last && state.taken == self.messages {
            return Err("what was taken back was received as well".into());
        }
        if state.fate == Fate::Collected && state.skipped_last {
            return Err("what was skipped counts as collected".into());
        }
        let over = state.at.iter().all(|at| matches!(at, At::Done | At::Dead))
            && !(0..2).any(|p| state.memory.has_buffered(p));
        if over && state.at[OWNER] == At::Done {
            let accepted = state.memory.visible(PUBLISHED) - state.refused;
            let told = state.taken + state.counted.unwrap_or(0) + u8::from(state.skipped_last);
            // Of one that was killed in a call nobody knows.
            if state.at[SENDER] == At::Done && accepted != told || told < state.accepted {
                return Err(format!("{accepted} were accepted, {told} are accounted for"));
            }
        }
        Ok(())
    }

    fn done(&self, state: &State) -> bool {
        state.at.iter().all(|at| matches!(at, At::Done | At::Dead))
    }
}

const SOUND: Sealed =
    Sealed { messages: 3, places: 1, awaits: false, closes: false, kills: 0, planted: Planted::Nothing };

#[test]
fn messages_arrive_and_nobody_sleeps_on() {
    for (messages, places) in [(3, 1), (3, 2), (4, 1), (4, 3)] {
        for kills in [0, 1] {
            let title = format!("sealed, {messages} messages, {places} places, {kills} kills");
            holds(&title, &Sealed { messages, places, kills, ..SOUND });
        }
    }
}

#[test]
fn a_message_is_taken_back_or_collected_and_never_both() {
    for messages in [1, 2] {
        for kills in [0, 1] {
            let title = format!("sealed, {messages} messages, awaited, {kills} kills");
            holds(&title, &Sealed { messages, awaits: true, kills, ..SOUND });
        }
    }
}

#[test]
fn what_is_accepted_is_received_or_counted() {
    for (messages, places) in [(2, 1), (3, 2)] {
        for kills in [0, 1] {
            let title = format!("sealed, {messages} messages, {places} places, closed, {kills} kills");
            holds(&title, &Sealed { messages, places, closes: true, kills, ..SOUND });
        }
    }
}

#[test]
fn each_rule_is_needed() {
    let awaited = Sealed { messages: 1, awaits: true, ..SOUND };
    let closed = Sealed { messages: 2, places: 2, closes: true, ..SOUND };
    for (planted, model, expected) in [
        (Planted::NoFenceAfterPublishing, &SOUND, "stuck"),
        (Planted::NoFenceBeforeSleep, &SOUND, "stuck"),
        (Planted::NoFenceAfterConsuming, &SOUND, "stuck"),
        (Planted::NoFenceBeforeWaiting, &SOUND, "stuck"),
        (Planted::NoSecondLook, &SOUND, "stuck"),
        (Planted::TellsEachTime, &Sealed { places: 3, ..SOUND }, "hung up on"),
        (Planted::NoFenceAtWithdrawal, &awaited, "received as well"),
        (Planted::NoFenceAtTaking, &awaited, "received as well"),
        (Planted::Impatient, &awaited, "received as well"),
        (Planted::ConsumesFirst, &awaited, "counts as collected"),
        (Planted::NoFenceAtClosing, &closed, "accounted for"),
        (Planted::LooksForEndFirst, &closed, "accounted for"),
        (Planted::ForgetsTheDead, &Sealed { kills: 1, ..SOUND }, "accounted for"),
    ] {
        breaks("sealed, planted", &Sealed { planted, ..*model }, expected);
    }
}
