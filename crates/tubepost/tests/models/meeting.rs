//! Capacity zero of the kernel strategy: the tokens by which who only tries finds out whether somebody waits.
//!
//! ```text
//! try_send                              a thread that receives
//!   a token? else nobody waits            puts a token in
//!   offers, for a while                   looks; sleeps; puts another one in if it is gone; looks …
//!   collected, or withdrawn               leaves, and takes it out if it is there still
//! ```
//!
//! A sender that may wait offers without a token. Whether an offer is collected or withdrawn is one step here:
//! `acknowledged` has how.
//!
//! # Invariants
//! 1. There are no more tokens than receivers that wait, and none when none does.
//! 2. A try succeeds only if its message was received; each message is received once.
//! 3. A receiver that sleeps has its token there, or somebody has taken it since it last put one in; and it can
//!    leave at any time, whoever stands still.
//!
//! # What if it dies here?
//! A sender with a token, or stopped with it: the receiver puts another one in when it next looks. Its offer: nobody
//! collects it, for it can't be told.

use crate::explorer::{Model, Steps, breaks, holds};

/// Two that try and one that waits; then the receiver.
const SENDERS: usize = 3;
const WAITS: usize = 2;
const RECEIVER: usize = SENDERS;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// Who withdraws puts its token back.
    PutBack,
    /// The receiver leaves its token there.
    NotTakenOut,
    /// It puts one in when it comes, and no other.
    NeverRenewed,
    /// Who has a token has sent.
    TokenIsTruth,
}

struct Meeting {
    planted: Planted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Sender {
    Begin,
    HasToken,
    Offers,
    /// What it offered was taken, and it does not know so far.
    Taken,
    PutBack,
    Sent,
    /// Full, or too late.
    Nothing,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Receiver {
    Begin,
    Look,
    Sleeps,
    Leaves,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    senders: [Sender; SENDERS],
    receiver: Receiver,
    rounds: u8,
    tokens: u8,
    /// A sender took one since the receiver last saw to it.
    taken: bool,
    /// Whose messages were received.
    received: [bool; SENDERS],
    kills: u8,
}

impl State {
    fn waits(&self) -> bool {
        matches!(self.receiver, Receiver::Look | Receiver::Sleeps | Receiver::Leaves)
    }
}

impl Model for Meeting {
    type State = State;

    fn initial(&self) -> State {
        State {
            senders: [Sender::Begin; SENDERS],
            receiver: Receiver::Begin,
            rounds: 2,
            tokens: 0,
            taken: false,
            received: [false; SENDERS],
            kills: 1,
        }
    }

    fn processes(&self) -> usize {
        SENDERS + 1
    }

    fn name(&self, p: usize) -> String {
        match p {
            RECEIVER => "receiver".into(),
            WAITS => "who waits".into(),
            _ => format!("who tries, {p}"),
        }
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let mut t = *s;
        if p < SENDERS {
            let label = match s.senders[p] {
                Sender::Begin if p == WAITS => {
                    t.senders[p] = Sender::Offers;
                    "offers, without a token"
                }
                Sender::Begin if s.tokens > 0 => {
                    t.tokens -= 1;
                    t.taken = true;
                    t.senders[p] = Sender::HasToken;
                    "takes a token"
                }
                Sender::Begin => {
                    t.senders[p] = Sender::Nothing;
                    "finds no token"
                }
                Sender::HasToken => {
                    t.senders[p] =
                        if self.planted == Planted::TokenIsTruth { Sender::Sent } else { Sender::Offers };
                    "offers"
                }
                Sender::Offers => {
                    let puts_back = self.planted == Planted::PutBack && p != WAITS;
                    t.senders[p] = if puts_back { Sender::PutBack } else { Sender::Nothing };
                    "its time is over: withdraws"
                }
                Sender::Taken => {
                    t.senders[p] = Sender::Sent;
                    "hears that it is collected"
                }
                Sender::PutBack => {
                    t.tokens += 1;
                    t.senders[p] = Sender::Nothing;
                    "puts its token back"
                }
                Sender::Sent | Sender::Nothing | Sender::Dead => return,
            };
            return out.add(|| label.into(), t);
        }
        let label = match s.receiver {
            Receiver::Begin => {
                (t.tokens, t.taken) = (t.tokens.max(1), false);
                t.receiver = Receiver::Look;
                "comes, and puts a token in"
            }
            Receiver::Look => {
                for (sender, is) in s.senders.iter().enumerate() {
                    if *is == Sender::Offers {
                        let mut t = *s;
                        t.senders[sender] = Sender::Taken;
                        t.received[sender] = true;
                        t.receiver = Receiver::Leaves;
                        out.add(|| format!("collects what {sender} offers"), t);
                    }
                }
                if s.senders.contains(&Sender::Offers) {
                    return;
                }
                t.receiver = Receiver::Sleeps;
                "finds nothing, and sleeps"
            }
            Receiver::Sleeps => {
                let mut looks = t;
                (looks.receiver, looks.taken) = (Receiver::Look, false);
                if self.planted != Planted::NeverRenewed {
                    looks.tokens = looks.tokens.max(1);
                }
                out.add(|| "looks again, with its token there".into(), looks);
                t.receiver = Receiver::Leaves;
                "its deadline comes"
            }
            Receiver::Leaves => {
                if self.planted != Planted::NotTakenOut {
                    t.tokens = 0;
                }
                t.rounds -= 1;
                t.receiver = if t.rounds == 0 { Receiver::Done } else { Receiver::Begin };
                "leaves, and takes its token out"
            }
            Receiver::Done => return,
        };
        out.add(|| label.into(), t);
    }

    /// A sender only: the mailbox ends with its owner.
    fn kill(&self, s: &State, p: usize) -> Option<State> {
        let over = p == RECEIVER || matches!(s.senders[p], Sender::Sent | Sender::Nothing | Sender::Dead);
        let mut t = *s;
        if over || s.kills == 0 {
            return None;
        }
        t.kills -= 1;
        t.senders[p] = Sender::Dead;
        Some(t)
    }

    fn check(&self, s: &State) -> Result<(), String> {
        if s.tokens > u8::from(s.waits()) {
            return Err(format!("{} tokens, and {} waits", s.tokens, u8::from(s.waits())));
        }
        for (sender, is) in s.senders.iter().enumerate() {
            match is {
                Sender::Sent if !s.received[sender] => return Err("sent, and nobody received it".into()),
                Sender::Nothing if s.received[sender] => return Err("in vain, and received".into()),
                _ => {}
            }
        }
        if s.receiver == Receiver::Look && s.tokens == 0 && !s.taken {
            return Err("waits without a token, for ever".into());
        }
        Ok(())
    }

    fn done(&self, s: &State) -> bool {
        s.receiver == Receiver::Done
            && s.senders.iter().all(|it| matches!(it, Sender::Sent | Sender::Nothing | Sender::Dead))
    }
}

mod tests {
    use super::*;

    #[test]
    fn tokens_are_a_hint() {
        holds("meeting", &Meeting { planted: Planted::Nothing });
    }

    #[test]
    fn a_token_that_is_put_back_may_be_of_nobody() {
        breaks("put back", &Meeting { planted: Planted::PutBack }, "tokens, and");
    }

    #[test]
    fn a_token_left_there_is_of_nobody() {
        breaks("not taken out", &Meeting { planted: Planted::NotTakenOut }, "tokens, and");
    }

    #[test]
    fn a_lost_token_is_replaced() {
        breaks("never renewed", &Meeting { planted: Planted::NeverRenewed }, "without a token, for ever");
    }

    #[test]
    fn a_token_is_no_receiver() {
        breaks("token is truth", &Meeting { planted: Planted::TokenIsTruth }, "nobody received it");
    }
}
