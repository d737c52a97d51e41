//! Links of the kernel strategy: a connection's way from the sender to who receives, and how a receiver knows that no more comes.
//!
//! ```text
//! sender                 watch thread                     receiver
//!   connect                lock                             open: what came before is ours
//!   say for which link     accept; hear for which link      take; take in what is in the pigeonhole
//!   send …                 into its pigeonhole; nudge       nothing: has the sender left, was its death told?
//!   leave, or die          unlock                             is it dead?
//!                                                             lock, accept and hear all, unlock
//!                                                             take in, look: nothing: close
//!                                                           clear the nudge, look once more, sleep
//! ```
//!
//! # Invariants
//! 1. Nobody has a connection in hand but under the lock: who accepts all has all that were there before.
//! 2. A receiver asks whether the sender is dead before it looks for the last time: what that one did is all there then.
//!
//! # What if it dies here?
//! The sender may, anywhere. (The receiver's threads go together.)

use crate::explorer::{Model, Steps, breaks, holds};

const SENDER: usize = 0;
const WATCH: usize = 1;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// The receiver looks for the last time, and then asks.
    AsksLast,
    /// It looks only at what was accepted.
    AcceptsNothing,
    /// The watch thread accepts without the lock.
    NoLock,
    NoNudge,
    /// The receiver clears the nudge after its last look.
    ClearsLate,
    /// What came before the link was opened stays where it is.
    LeavesUnclaimed,
    /// Nobody has the death told.
    DeathUntold,
}

struct Posts {
    messages: u8,
    /// Somebody waits for other links already.
    attended: bool,
    planted: Planted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Sender {
    Connect,
    Say,
    Send(u8),
    /// It sent all, and may leave.
    Idle,
    Left,
    Dead,
}

/// Where the connection is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Place {
    Nowhere,
    /// Not accepted.
    Waits,
    /// Accepted by the watch thread.
    InHand,
    /// Accepted, and did not say what it is for.
    Shy,
    /// For a link that nobody opened here.
    Unclaimed,
    Pigeonhole,
    Line,
    Shut,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Receiver {
    Open,
    Take,
    Suspect,
    Ask,
    Accept,
    LookAgain,
    AskLast,
    Close,
    Watch,
    Clear,
    LastLook,
    ClearLate,
    Sleep,
    Closed,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    sender: Sender,
    place: Place,
    said: bool,
    unread: u8,
    got: u8,
    lock: Option<usize>,
    attended: bool,
    watched: bool,
    told: bool,
    nudge: bool,
    opened: bool,
    receiver: Receiver,
}

impl State {
    fn is_gone(&self) -> bool {
        matches!(self.sender, Sender::Left | Sender::Dead)
    }

    /// Whether the post's descriptor is readable.
    fn has_news(&self) -> bool {
        self.place == Place::Waits || self.place == Place::Shy && (self.said || self.is_gone())
    }

    /// Accepts and hears the connection, and puts it where it belongs.
    fn sort(&mut self, nudges: bool) {
        self.place = match (self.said, self.opened) {
            (true, true) => Place::Pigeonhole,
            (true, false) => Place::Unclaimed,
            (false, _) if self.is_gone() => Place::Shut,
            (false, _) => Place::Shy,
        };
        if self.place == Place::Pigeonhole && nudges {
            self.nudge = true;
        }
    }

    /// Whether there is a message for who takes in what came.
    fn look(&mut self) -> bool {
        if self.place == Place::Pigeonhole {
            self.place = Place::Line;
        }
        self.place == Place::Line && self.unread > 0
    }

    fn die(&mut self, how: Sender) {
        self.sender = how;
        if self.watched && how == Sender::Dead {
            self.told = true;
            self.nudge = true;
        }
    }
}

impl Model for Posts {
    type State = State;

    fn initial(&self) -> State {
        State {
            sender: Sender::Connect,
            place: Place::Nowhere,
            said: false,
            unread: 0,
            got: 0,
            lock: None,
            attended: self.attended,
            watched: false,
            told: false,
            nudge: false,
            opened: false,
            receiver: Receiver::Open,
        }
    }

    fn processes(&self) -> usize {
        3
    }

    fn name(&self, p: usize) -> String {
        ["sender", "watch thread", "receiver"][p].into()
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let mut t = *s;
        let label = match p {
            SENDER => self.sender(&mut t),
            WATCH => self.watch(&mut t),
            _ => self.receiver(&mut t),
        };
        if let Some(label) = label {
            out.add(|| label.into(), t);
        }
    }

    fn kill(&self, s: &State, p: usize) -> Option<State> {
        let mut t = *s;
        (p == SENDER && !s.is_gone()).then(|| {
            t.die(Sender::Dead);
            t
        })
    }

    fn check(&self, s: &State) -> Result<(), String> {
        match s.receiver {
            Receiver::Closed if s.unread > 0 => Err("a message that was sent is lost".into()),
            Receiver::Closed if !s.is_gone() => Err("a link is over whose sender lives".into()),
            _ => Ok(()),
        }
    }

    fn done(&self, s: &State) -> bool {
        match s.sender {
            Sender::Left | Sender::Dead => s.receiver == Receiver::Closed,
            Sender::Idle => s.got == self.messages && s.receiver == Receiver::Sleep,
            _ => false,
        }
    }
}

impl Posts {
    fn sender(&self, t: &mut State) -> Option<&'static str> {
        Some(match t.sender {
            Sender::Connect => {
                t.place = Place::Waits;
                t.sender = Sender::Say;
                "connects"
            }
            Sender::Say => {
                t.said = true;
                t.sender = Sender::Send(0);
                "says for which link"
            }
            Sender::Send(n) if n < self.messages => {
                t.unread += 1;
                t.sender = Sender::Send(n + 1);
                "sends"
            }
            Sender::Send(_) => {
                t.sender = Sender::Idle;
                "has sent all"
            }
            Sender::Idle => {
                t.die(Sender::Left);
                "leaves, and hangs up"
            }
            Sender::Left | Sender::Dead => return None,
        })
    }

    fn watch(&self, t: &mut State) -> Option<&'static str> {
        let locks = self.planted != Planted::NoLock;
        if t.place == Place::InHand {
            t.sort(self.planted != Planted::NoNudge);
            t.lock = t.lock.filter(|who| *who != WATCH);
            return Some("puts it where it belongs, and unlocks");
        }
        if !t.attended || !t.has_news() || locks && t.lock.is_some() {
            return None;
        }
        if locks {
            t.lock = Some(WATCH);
        }
        t.place = Place::InHand;
        Some("locks and accepts")
    }

    fn receiver(&self, t: &mut State) -> Option<&'static str> {
        use Receiver::{
            Accept, Ask, AskLast, Clear, ClearLate, Close, Closed, LastLook, LookAgain, Open, Sleep, Suspect,
            Take, Watch,
        };
        let planted = self.planted;
        let (next, label) = match t.receiver {
            // Under the lock, in one go.
            Open => {
                if t.lock.is_some() {
                    return None;
                }
                t.opened = true;
                if t.place == Place::Unclaimed && planted != Planted::LeavesUnclaimed {
                    t.place = Place::Pigeonhole;
                    t.nudge = true;
                }
                (Take, "opens the link")
            }
            Take => {
                if t.look() {
                    t.unread -= 1;
                    t.got += 1;
                    (Take, "takes a message")
                } else {
                    (Suspect, "finds nothing")
                }
            }
            Suspect => {
                // Where nobody tells, the clock has ticked.
                let reason = t.sender == Sender::Left || t.told || !t.watched;
                let first = if planted == Planted::AsksLast { Accept } else { Ask };
                (if reason { first } else { Watch }, "looks for a reason to ask")
            }
            Ask => (if t.is_gone() { Accept } else { Watch }, "asks whether the sender lives"),
            Accept => {
                if planted != Planted::AcceptsNothing {
                    if t.lock.is_some() {
                        return None;
                    }
                    if t.has_news() {
                        t.sort(true);
                    }
                }
                (LookAgain, "accepts all")
            }
            LookAgain => {
                let last = if planted == Planted::AsksLast { AskLast } else { Close };
                (if t.look() { Take } else { last }, "looks again")
            }
            AskLast => (if t.is_gone() { Close } else { Watch }, "asks whether the sender lives"),
            Close => (Closed, "ends the link"),
            Watch => {
                t.attended = true;
                let first = if planted == Planted::AsksLast { Accept } else { Ask };
                if !t.watched && planted != Planted::DeathUntold && t.is_gone() {
                    (first, "finds nobody to watch")
                } else {
                    t.watched = planted != Planted::DeathUntold;
                    let next = if planted == Planted::ClearsLate { LastLook } else { Clear };
                    (next, "has the sender watched")
                }
            }
            Clear => {
                t.nudge = t.told; // it stays while a death is being confirmed
                (LastLook, "clears the nudge")
            }
            LastLook => {
                let last = if planted == Planted::ClearsLate { ClearLate } else { Sleep };
                let left = t.sender == Sender::Left;
                (if t.look() || left { Take } else { last }, "looks once more")
            }
            ClearLate => {
                t.nudge = t.told;
                (Sleep, "clears the nudge")
            }
            Sleep => {
                let readable = t.place == Place::Line && (t.unread > 0 || t.is_gone());
                if !t.nudge && !readable {
                    return None;
                }
                (Take, "wakes")
            }
            Closed => return None,
        };
        t.receiver = next;
        Some(label)
    }
}

#[test]
fn what_was_sent_is_received_before_a_link_is_over() {
    for messages in 0..4 {
        for attended in [false, true] {
            let model = Posts { messages, attended, planted: Planted::Nothing };
            holds(&format!("posts, {messages} messages, attended {attended}"), &model);
        }
    }
}

#[test]
fn planted_errors_are_found() {
    let (lost, stuck) = ("a message that was sent is lost", "stuck");
    for (planted, expected) in [
        (Planted::AsksLast, lost),
        (Planted::AcceptsNothing, lost),
        (Planted::NoLock, lost),
        (Planted::NoNudge, stuck),
        (Planted::ClearsLate, stuck),
        (Planted::LeavesUnclaimed, lost),
        (Planted::DeathUntold, stuck),
    ] {
        breaks("posts, with an error", &Posts { messages: 2, attended: true, planted }, expected);
    }
}
