//! The end of a link that an inbox receives from: notes of what comes where nothing was, and how it is over.
//!
//! ```text
//! sender    publish a message; is a note asked for? take that, send the note
//!           leave: say so; is a note asked for? take that, send the note
//! inbox     1. look           there is one: receive it, and look again
//!           2. ask            for a note
//!           3. look again     there is one: receive it, back to 1
//!           4. watch          the sender's process: when it dies, one sends a note to oneself
//!           5. is it gone?    dead, or it left; no: go to 7
//!           6. look again     there is nothing: the link is over; there is something: back to 1
//!           7. look again     there is something: back to 1
//!           8. sleep          until a note comes; back to 1
//! ```
//!
//! # Invariants
//! 1. Whoever is asleep has asked, and nothing lies there; or a note is on its way.
//! 2. A link is over only when its sender can publish no more, and everything was received.
//!
//! # What if it dies here?
//! - a sender between its message and its note: the note that was asked for is not sent. It is watched: its death
//!   sends one. It died before it was watched: 7 finds what it left.
//! - after its last note: likewise, 6.
//!
//! That somebody looks at all links once a second is not in this model: nothing may depend on it.

use crate::explorer::{Model, Steps, breaks, holds};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// No look between asking and sleeping.
    NoLookAfterAsking,
    /// The note is sent before the message is there.
    NoteFirst,
    /// Nobody tells of a death.
    NotWatched,
    /// Whose sender is gone is over, without another look.
    OverUnlooked,
    /// Who was found dead, with something there, is left alone.
    NoLookBeforeSleeping,
    /// Who leaves sends no note.
    LeftUnnoticed,
    /// It is asked whether it lives before it is watched.
    AskedBeforeWatched,
}

struct Notes {
    messages: u8,
    /// When it has sent all; else it stays, and sends no more.
    leaves: bool,
    kills: u8,
    planted: Planted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Sender {
    Publish,
    LookWhetherAsked,
    SendNote,
    Leave,
    Stays,
    Gone,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Inbox {
    Look,
    Ask,
    LookAgain,
    Watch,
    AskWhetherGone,
    LookBeforeTheEnd,
    LookBeforeSleeping,
    Sleep,
    Over,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    sender: Sender,
    inbox: Inbox,
    published: u8,
    received: u8,
    asked: bool,
    left: bool,
    watched: bool,
    notes: u8,
    /// The kernel has yet to tell of the death.
    death_untold: bool,
    kills: u8,
}

const SENDER: usize = 0;
const INBOX: usize = 1;
/// Tells of deaths.
const KERNEL: usize = 2;

impl Notes {
    fn send(&self, s: &State, out: &mut Steps<State>) {
        let mut t = *s;
        let first = self.planted == Planted::NoteFirst;
        let next = |t: &State| {
            if t.left {
                Sender::Gone
            } else if t.published < self.messages {
                if first { Sender::LookWhetherAsked } else { Sender::Publish }
            } else if self.leaves {
                Sender::Leave
            } else {
                Sender::Stays
            }
        };
        match s.sender {
            Sender::Publish => {
                t.published += 1;
                t.sender = if first { next(&t) } else { Sender::LookWhetherAsked };
                out.add(|| format!("publishes message {}", s.published), t);
            }
            Sender::LookWhetherAsked => {
                let unsent = first && !t.left && t.published < self.messages;
                t.sender = match (s.asked, unsent) {
                    (true, _) => Sender::SendNote,
                    (false, true) => Sender::Publish,
                    (false, false) => next(&t),
                };
                t.asked = false;
                out.add(|| "looks whether a note is asked for".into(), t);
            }
            Sender::SendNote => {
                t.notes += 1;
                let unsent = first && !t.left && t.published < self.messages;
                t.sender = if unsent { Sender::Publish } else { next(&t) };
                out.add(|| "sends the note".into(), t);
            }
            Sender::Leave => {
                t.left = true;
                let unnoticed = self.planted == Planted::LeftUnnoticed;
                t.sender = if unnoticed { Sender::Gone } else { Sender::LookWhetherAsked };
                out.add(|| "leaves".into(), t);
            }
            Sender::Stays | Sender::Gone | Sender::Dead => {}
        }
    }

    fn receive(&self, s: &State, out: &mut Steps<State>) {
        let mut t = *s;
        let there = s.received < s.published;
        let gone = s.left || s.sender == Sender::Dead;
        let next = |planted, skipped, usual| if self.planted == planted { skipped } else { usual };
        match s.inbox {
            Inbox::Look if there => t.received += 1,
            Inbox::Look => t.inbox = Inbox::Ask,
            Inbox::Ask => {
                t.asked = true;
                t.inbox = match self.planted {
                    Planted::NoLookAfterAsking => Inbox::Sleep,
                    Planted::AskedBeforeWatched => Inbox::AskWhetherGone,
                    _ => Inbox::LookAgain,
                };
            }
            Inbox::LookAgain if there => (t.received, t.inbox) = (t.received + 1, Inbox::Look),
            Inbox::LookAgain => t.inbox = Inbox::Watch,
            Inbox::Watch => {
                // Of one that is dead already nothing is told.
                t.watched = self.planted != Planted::NotWatched && s.sender != Sender::Dead;
                t.inbox = next(Planted::AskedBeforeWatched, Inbox::LookBeforeSleeping, Inbox::AskWhetherGone);
            }
            Inbox::AskWhetherGone => {
                t.inbox = match (gone, self.planted) {
                    (true, Planted::OverUnlooked) => Inbox::Over,
                    (true, _) => Inbox::LookBeforeTheEnd,
                    (false, Planted::AskedBeforeWatched) => Inbox::Watch,
                    (false, _) => Inbox::LookBeforeSleeping,
                }
            }
            Inbox::LookBeforeTheEnd if !there => t.inbox = Inbox::Over,
            Inbox::LookBeforeTheEnd => {
                t.inbox = next(Planted::NoLookBeforeSleeping, Inbox::Sleep, Inbox::LookBeforeSleeping);
            }
            Inbox::LookBeforeSleeping => t.inbox = if there { Inbox::Look } else { Inbox::Sleep },
            Inbox::Sleep if s.notes > 0 => (t.notes, t.inbox) = (t.notes - 1, Inbox::Look),
            Inbox::Sleep | Inbox::Over => return,
        }
        out.add(|| format!("{:?}", s.inbox), t);
    }
}

impl Model for Notes {
    type State = State;

    fn initial(&self) -> State {
        let first =
            if self.planted == Planted::NoteFirst { Sender::LookWhetherAsked } else { Sender::Publish };
        State {
            sender: first,
            inbox: Inbox::Look,
            published: 0,
            received: 0,
            // Whoever makes a link asks: its receiver does not know of it yet.
            asked: true,
            left: false,
            watched: false,
            notes: 0,
            death_untold: false,
            kills: self.kills,
        }
    }

    fn processes(&self) -> usize {
        3
    }

    fn name(&self, p: usize) -> String {
        ["sender", "inbox", "kernel"][p].into()
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        match p {
            SENDER => self.send(s, out),
            INBOX => self.receive(s, out),
            KERNEL if s.death_untold && s.watched => {
                let t = State { death_untold: false, notes: s.notes + 1, ..*s };
                out.add(|| "tells of the death".into(), t);
            }
            _ => {}
        }
    }

    fn kill(&self, s: &State, p: usize) -> Option<State> {
        let lives = p == SENDER && !matches!(s.sender, Sender::Gone | Sender::Dead);
        (s.kills > 0 && lives).then(|| State {
            sender: Sender::Dead,
            death_untold: s.watched,
            kills: s.kills - 1,
            ..*s
        })
    }

    fn check(&self, s: &State) -> Result<(), String> {
        if s.inbox == Inbox::Over && s.received < s.published {
            return Err("the link is over, and not everything was received".into());
        }
        if s.inbox == Inbox::Over && !s.left && s.sender != Sender::Dead {
            return Err("the link is over, and its sender lives".into());
        }
        Ok(())
    }

    fn done(&self, s: &State) -> bool {
        let waits = s.sender == Sender::Stays && s.inbox == Inbox::Sleep && s.received == s.published;
        waits || matches!(s.sender, Sender::Gone | Sender::Dead) && s.inbox == Inbox::Over
    }
}

mod tests {
    use super::*;

    fn notes(messages: u8, kills: u8, planted: Planted) -> Notes {
        Notes { messages, leaves: true, kills, planted }
    }

    #[test]
    fn nothing_is_missed_and_the_end_comes_once_all_is_received() {
        for messages in 0..4 {
            holds("notes, nobody dies", &notes(messages, 0, Planted::Nothing));
            holds("notes, the sender dies", &notes(messages, 1, Planted::Nothing));
            holds("notes, it stays", &Notes { leaves: false, ..notes(messages, 1, Planted::Nothing) });
        }
    }

    #[test]
    fn who_does_not_look_after_asking_sleeps_for_ever() {
        breaks("no look after asking", &notes(1, 0, Planted::NoLookAfterAsking), "nobody");
    }

    #[test]
    fn a_note_before_its_message_is_read_too_early() {
        breaks("note first", &Notes { leaves: false, ..notes(1, 0, Planted::NoteFirst) }, "nobody");
    }

    #[test]
    fn a_death_that_nobody_tells_is_never_noticed() {
        breaks("not watched", &notes(1, 1, Planted::NotWatched), "nobody");
    }

    #[test]
    fn a_dead_ones_last_message_is_looked_for() {
        breaks("over unlooked", &notes(1, 1, Planted::OverUnlooked), "not everything was received");
    }

    #[test]
    fn who_died_before_it_was_watched_may_have_left_something() {
        breaks("no look before sleeping", &notes(1, 1, Planted::NoLookBeforeSleeping), "nobody");
    }

    #[test]
    fn who_leaves_is_noticed() {
        breaks("left unnoticed", &notes(1, 0, Planted::LeftUnnoticed), "nobody");
    }

    #[test]
    fn who_is_asked_about_first_dies_unwatched() {
        breaks("asked before watched", &notes(1, 1, Planted::AskedBeforeWatched), "nobody");
    }
}
