//! The order of one sender's messages, by whatever connections they go, where tokens were put back.
//!
//! A sender has two connections: one for most messages, one for such as are awaited. Beside it another one sends, and may stand still with a token. Some
//! tokens were put back: they say no number any more. Who sends for such a one says that it comes after its own last number.
//!
//! ```text
//! sender                        owner
//!   take a token                  none is late, for sure: take the one that is expected, if it is here, or next where the last one was
//!   send, with its turn           else look into one connection after the other;
//!                                 again, until the first of what is here was that before the look too: take it
//!                                 put a new token in
//! ```
//!
//! Here the owner looks into one connection after the other, in whatever order: what the kernel tells of all at once is less than one moment's truth.
//!
//! # Invariants
//! 1. What one sender sent is received in that order.
//! 2. All of it is.

use crate::explorer::{Model, Steps, breaks, holds};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// A message for a token that was put back is the next one.
    Next,
    /// It comes after its sender's last number, and so do all such.
    NotCounted,
    /// It is expected, if its number is.
    BackExpected,
    /// One look is enough.
    OneLook,
}

const LINES: usize = 3;
/// The sender's own messages, and those of the other one.
const OWN: u8 = 3;
const OTHERS: u8 = 2;
/// A token that was put back.
const BACK: u8 = u8::MAX;

/// (token, the so many-th after that), and which of the sender's it is; the other one's say [`OWN`].
type Letter = ((u8, u8), u8);

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    pipe: Vec<u8>,
    next: u8,
    /// What the sender holds, what it has sent, and its last turn.
    has: Option<u8>,
    sent: u8,
    turn: (u8, u8),
    /// The same of the other one.
    other_has: Option<u8>,
    other_sent: u8,
    other_turn: (u8, u8),
    lines: [Vec<Letter>; LINES],
    here: [Option<Letter>; LINES],
    current: usize,
    expected: u8,
    late: i8,
    uncertain: u8,
    /// The connections that are to be looked into, and the first one before that.
    looking: Option<(u8, Option<(u8, u8)>)>,
    received: u8,
    others_received: u8,
    out_of_order: bool,
}

struct Turns {
    planted: Planted,
    pipe: Vec<u8>,
    /// What the other one has taken at the beginning.
    other_has: Option<u8>,
}

const SENDER: usize = 0;
const OTHER: usize = 1;

impl Turns {
    fn turn(&self, last: &mut (u8, u8), token: u8, expected: u8) -> (u8, u8) {
        let next = match (token, self.planted) {
            (BACK, Planted::Next) => return (expected.saturating_sub(1), 1),
            (BACK, Planted::NotCounted) => (last.0, 1),
            (BACK, _) => (last.0, last.1 + 1),
            _ => (token, 0),
        };
        *last = next;
        next
    }

    fn receive(&self, t: &mut State, line: usize, (turn, number): Letter, put_back: bool) {
        if number < OWN {
            t.out_of_order |= number != t.received;
            t.received += 1;
        } else {
            t.others_received += 1;
        }
        if put_back {
            t.late -= 1;
            t.uncertain = t.uncertain.max(t.next);
        } else if turn.0 >= t.expected {
            t.late += (turn.0 - t.expected) as i8;
            t.expected = turn.0 + 1;
        } else {
            t.late -= 1;
        }
        t.current = line;
        t.looking = None;
        t.pipe.push(t.next);
        t.next += 1;
    }

    fn first(s: &State) -> Option<(usize, Letter)> {
        let all = s.here.iter().enumerate().filter_map(|(line, letter)| letter.map(|letter| (line, letter)));
        all.min_by_key(|(line, letter)| (letter.0, *line))
    }

    fn owner(&self, s: &State, out: &mut Steps<State>) {
        let mut t = s.clone();
        let expects =
            |turn: (u8, u8)| turn.0 <= s.expected && (turn.1 == 0 || self.planted == Planted::BackExpected);
        let certain = s.late <= 0 && s.expected >= s.uncertain;
        let first = Self::first(s);
        let Some((lines, before)) = s.looking else {
            if certain && let Some((line, letter)) = first.filter(|(_, letter)| expects(letter.0)) {
                t.here[line] = None;
                self.receive(&mut t, line, letter, letter.0.1 > 0);
                return out.add(|| format!("receives {letter:?}, which is here"), t);
            }
            let next = s.lines[s.current].first().filter(|_| s.here[s.current].is_none());
            if certain && let Some(&letter) = next.filter(|letter| expects(letter.0)) {
                t.lines[s.current].remove(0);
                self.receive(&mut t, s.current, letter, letter.0.1 > 0);
                return out.add(|| format!("receives {letter:?}, which is expected"), t);
            }
            t.looking = Some(((1 << LINES) - 1, None));
            return out.add(|| "looks around".into(), t);
        };
        if lines == 0 {
            let Some((line, letter)) = first else {
                t.looking = None;
                return out.add(|| "finds nothing".into(), t);
            };
            let enough = self.planted == Planted::OneLook || certain && expects(letter.0);
            if enough || before == Some(letter.0) {
                t.here[line] = None;
                self.receive(&mut t, line, letter, letter.0.1 > 0);
                return out.add(|| format!("receives {letter:?}"), t);
            }
            t.looking = Some(((1 << LINES) - 1, Some(letter.0)));
            return out.add(|| "looks again".into(), t);
        }
        for line in (0..LINES).filter(|line| lines & 1 << line != 0) {
            let mut t = s.clone();
            t.looking = Some((lines & !(1 << line), before));
            if s.here[line].is_none() && !s.lines[line].is_empty() {
                t.here[line] = Some(t.lines[line].remove(0));
            }
            out.add(|| format!("looks into connection {line}"), t);
        }
    }
}

impl Model for Turns {
    type State = State;

    fn initial(&self) -> State {
        State {
            pipe: self.pipe.clone(),
            next: 3,
            has: None,
            sent: 0,
            turn: (0, 0),
            other_has: self.other_has,
            other_sent: 0,
            other_turn: (0, 0),
            lines: Default::default(),
            here: [None; LINES],
            current: 0,
            expected: 0,
            late: 0,
            uncertain: 0,
            looking: None,
            received: 0,
            others_received: 0,
            out_of_order: false,
        }
    }

    fn processes(&self) -> usize {
        3
    }

    fn name(&self, p: usize) -> String {
        ["sender", "other sender", "owner"][p].into()
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let mut t = s.clone();
        match p {
            SENDER => match s.has {
                None if s.sent < OWN && !s.pipe.is_empty() => {
                    t.has = Some(t.pipe.remove(0));
                    out.add(|| format!("takes {:?}", t.has), t.clone());
                }
                Some(token) => {
                    (t.has, t.sent) = (None, s.sent + 1);
                    let turn = self.turn(&mut t.turn, token, s.expected);
                    for line in 0..2 {
                        // An awaited one is the only one of its connection.
                        if line == 0 || s.lines[1].is_empty() && s.here[1].is_none() {
                            let mut t = t.clone();
                            t.lines[line].push((turn, s.sent));
                            out.add(|| format!("sends {} as {turn:?} by connection {line}", s.sent), t);
                        }
                    }
                }
                None => {}
            },
            OTHER => match s.other_has {
                None if s.other_sent < OTHERS && !s.pipe.is_empty() => {
                    t.other_has = Some(t.pipe.remove(0));
                    out.add(|| format!("takes {:?}", t.other_has), t.clone());
                }
                Some(token) => {
                    (t.other_has, t.other_sent) = (None, s.other_sent + 1);
                    let turn = self.turn(&mut t.other_turn, token, s.expected);
                    t.lines[2].push((turn, OWN));
                    out.add(|| format!("sends as {turn:?}"), t);
                }
                None => {}
            },
            _ => self.owner(s, out),
        }
    }

    fn kill(&self, _: &State, _: usize) -> Option<State> {
        None
    }

    fn check(&self, s: &State) -> Result<(), String> {
        if s.out_of_order { Err("received before one that was sent earlier".into()) } else { Ok(()) }
    }

    fn done(&self, s: &State) -> bool {
        s.received == OWN && s.others_received == OTHERS
    }
}

mod tests {
    use super::*;

    /// With a token put back that others follow, that is the last one, and whose predecessor the other sender has.
    fn all(planted: Planted) -> [Turns; 4] {
        let turns = |pipe: &[u8], other_has| Turns { planted, pipe: pipe.into(), other_has };
        [
            turns(&[BACK, 1, 2], None),
            turns(&[1, 2, BACK], None),
            turns(&[2, BACK], Some(0)),
            turns(&[BACK, BACK], Some(0)),
        ]
    }

    #[test]
    fn one_sender_s_messages_have_its_order() {
        for model in all(Planted::Nothing) {
            holds("turns", &model);
        }
    }

    #[test]
    fn what_is_sent_for_a_token_that_was_put_back_is_not_the_next_one() {
        let [_, _, model, _] = all(Planted::Next);
        breaks("the next one", &model, "sent earlier");
    }

    #[test]
    fn each_of_them_counts() {
        let [_, _, _, model] = all(Planted::NotCounted);
        breaks("not counted", &model, "sent earlier");
    }

    #[test]
    fn what_is_sent_for_such_a_token_is_never_sure_to_be_the_next_one() {
        let [_, _, _, model] = all(Planted::BackExpected);
        breaks("expected", &model, "sent earlier");
    }

    #[test]
    fn one_look_is_not_one_moment() {
        let [model, ..] = all(Planted::OneLook);
        breaks("one look", &model, "sent earlier");
    }
}
