//! A message of the kernel strategy whose sender waits until it is collected, or takes it back; also where nothing
//! waits.
//!
//! ```text
//! sender                                    owner
//!   send                                      takes it out of the connection
//!   wait for "collected"                      says "collected": it has the message
//!   in time: it was
//!   too late: say "withdraw"
//!   shut the way back                         can't: is there "withdraw"? then it drops the message
//!   "collected" is there: it was              there is not: the sender is dead. Then it has sent; where nothing waits it has not
//!   it is not: it is withdrawn
//! ```
//!
//! # Invariants
//! 1. Who is told "collected" had a receiver for its message; who withdrew it has none. Never both.
//! 2. A living sender comes to either, whatever becomes of the owner: never neither.
//! 3. Where nothing waits nobody has a message of one who died before "collected" was said.
//!
//! # What if it dies here?
//! The sender: what it said before is still there for the owner to read, and "collected" can't be said any more. The
//! owner: what it said is still there for the sender, and the connection is hung up.

use crate::explorer::{Model, Steps, breaks, holds};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// The sender does not shut the way back.
    NoShut,
    /// It says "withdraw" when the way back is shut already.
    ShutFirst,
    /// It does not look again when it is shut.
    NoSecondLook,
    /// The owner has the message whether it could say so or not.
    AnswerUnchecked,
    /// The owner has it, and says so afterwards.
    SaidAfterwards,
    /// Where nothing waits, too, a dead one has sent.
    DeadHasSent,
}

struct Acknowledged {
    /// Nothing waits.
    meets: bool,
    planted: Planted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Sender {
    Begin,
    Waits,
    SayWithdraw,
    Shut,
    Look,
    /// It was told that it is collected, …
    Collected,
    /// … or took it back, …
    Withdrawn,
    /// … or was told that nobody collected it, the owner being dead.
    NotCollected,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Owner {
    Waits,
    Say,
    LookForWithdrawal,
    /// It has the message, and is to say so: only where that is planted.
    SayLate,
    Has,
    Dropped,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    sender: Sender,
    owner: Owner,
    /// The message is in the connection; behind it a withdrawal.
    there: bool,
    withdrawal: bool,
    /// "Collected" is on its way back, which is shut or not.
    said: bool,
    shut: bool,
    /// The owner had the message.
    had: bool,
}

impl State {
    /// Whether the owner can still say something.
    fn is_heard(&self) -> bool {
        !self.shut && self.sender != Sender::Dead
    }
}

const SENDER: usize = 0;

impl Model for Acknowledged {
    type State = State;

    fn initial(&self) -> State {
        State {
            sender: Sender::Begin,
            owner: Owner::Waits,
            there: false,
            withdrawal: false,
            said: false,
            shut: false,
            had: false,
        }
    }

    fn processes(&self) -> usize {
        2
    }

    fn name(&self, p: usize) -> String {
        if p == SENDER { "sender".into() } else { "owner".into() }
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let mut t = *s;
        if p == SENDER {
            let (first, second) = match self.planted {
                Planted::ShutFirst => (Sender::Shut, Sender::SayWithdraw),
                Planted::NoShut => (Sender::SayWithdraw, Sender::Look),
                _ => (Sender::SayWithdraw, Sender::Shut),
            };
            let label = match s.sender {
                Sender::Begin if s.owner == Owner::Dead => {
                    t.sender = Sender::NotCollected;
                    "can't send: it was hung up"
                }
                Sender::Begin => {
                    t.there = true;
                    t.sender = Sender::Waits;
                    "sends"
                }
                Sender::Waits => {
                    if s.said {
                        t.sender = Sender::Collected;
                        out.add(|| "hears that it is collected".into(), t);
                    } else if s.owner == Owner::Dead {
                        t.sender = Sender::NotCollected;
                        out.add(|| "is hung up, and nothing was said".into(), t);
                    }
                    t.sender = first;
                    "its deadline comes"
                }
                Sender::SayWithdraw => {
                    t.withdrawal = true;
                    t.sender = if first == Sender::Shut { Sender::Look } else { second };
                    "says \"withdraw\""
                }
                Sender::Shut => {
                    t.shut = true;
                    t.sender = if first == Sender::Shut { second } else { Sender::Look };
                    "shuts the way back"
                }
                Sender::Look => {
                    let told = s.said && self.planted != Planted::NoSecondLook;
                    t.sender = if told { Sender::Collected } else { Sender::Withdrawn };
                    "looks whether \"collected\" was said"
                }
                Sender::Collected | Sender::Withdrawn | Sender::NotCollected | Sender::Dead => return,
            };
            return out.add(|| label.into(), t);
        }
        let label = match s.owner {
            Owner::Waits if s.there => {
                t.there = false;
                t.owner = Owner::Say;
                if self.planted == Planted::SaidAfterwards {
                    (t.owner, t.had) = (Owner::SayLate, true);
                }
                "takes it out of the connection"
            }
            Owner::Say if s.is_heard() => {
                (t.said, t.had, t.owner) = (true, true, Owner::Has);
                "says \"collected\""
            }
            Owner::Say if self.planted == Planted::AnswerUnchecked => {
                (t.had, t.owner) = (true, Owner::Has);
                "does not look whether it was heard"
            }
            Owner::Say => {
                t.owner = Owner::LookForWithdrawal;
                "can't say \"collected\""
            }
            Owner::LookForWithdrawal => {
                let has_sent = !s.withdrawal && (!self.meets || self.planted == Planted::DeadHasSent);
                t.owner = if has_sent { Owner::Has } else { Owner::Dropped };
                t.had = has_sent;
                "looks for a withdrawal"
            }
            Owner::SayLate => {
                t.said = s.is_heard();
                t.owner = Owner::Has;
                "says \"collected\", having had it before"
            }
            Owner::Waits | Owner::Has | Owner::Dropped | Owner::Dead => return,
        };
        out.add(|| label.into(), t);
    }

    fn kill(&self, s: &State, p: usize) -> Option<State> {
        let mut t = *s;
        if p == SENDER {
            let over = matches!(
                s.sender,
                Sender::Collected | Sender::Withdrawn | Sender::NotCollected | Sender::Dead
            );
            t.sender = Sender::Dead;
            return (!over).then_some(t);
        }
        t.owner = Owner::Dead;
        (s.owner != Owner::Dead).then_some(t)
    }

    fn check(&self, s: &State) -> Result<(), String> {
        match s.sender {
            Sender::Collected if !s.had => Err("told that it is collected, and nobody has it".into()),
            Sender::Withdrawn if s.had => Err("withdrawn and collected".into()),
            Sender::NotCollected if s.had => Err("told that nobody has it, and somebody had".into()),
            Sender::Dead if self.meets && s.had && !s.said => {
                Err("had of one who did not meet anybody".into())
            }
            _ => Ok(()),
        }
    }

    /// Also if the owner stands still for ever, which is no other thing than not being scheduled: then it is as good
    /// as dead.
    fn done(&self, s: &State) -> bool {
        let sender =
            matches!(s.sender, Sender::Collected | Sender::Withdrawn | Sender::NotCollected | Sender::Dead);
        let left = s.there && s.owner == Owner::Waits;
        sender && !left && matches!(s.owner, Owner::Waits | Owner::Has | Owner::Dropped | Owner::Dead)
    }
}

mod tests {
    use super::*;

    fn model(planted: Planted) -> Acknowledged {
        Acknowledged { meets: false, planted }
    }

    #[test]
    fn collected_or_withdrawn() {
        holds("acknowledged", &model(Planted::Nothing));
        holds("acknowledged, capacity zero", &Acknowledged { meets: true, planted: Planted::Nothing });
    }

    #[test]
    fn a_way_back_that_stays_open_has_both() {
        breaks("no shutdown", &model(Planted::NoShut), "withdrawn and collected");
    }

    #[test]
    fn shut_before_the_withdrawal_it_looks_like_death() {
        breaks("shut first", &model(Planted::ShutFirst), "withdrawn and collected");
    }

    #[test]
    fn without_a_second_look_it_has_both() {
        breaks("no second look", &model(Planted::NoSecondLook), "withdrawn and collected");
    }

    #[test]
    fn who_is_not_heard_has_nothing() {
        breaks("unchecked", &model(Planted::AnswerUnchecked), "withdrawn and collected");
    }

    #[test]
    fn it_is_said_before_it_is_had() {
        breaks("said afterwards", &model(Planted::SaidAfterwards), "somebody had");
    }

    #[test]
    fn where_nothing_waits_it_takes_two() {
        let model = Acknowledged { meets: true, planted: Planted::DeadHasSent };
        breaks("a dead one has sent", &model, "did not meet anybody");
    }
}
