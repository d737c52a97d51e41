//! The credit of the kernel strategy: a pipe with a token for each message that may be sent, connections, and an
//! owner that takes messages in the order of their tokens.
//!
//! ```text
//! sender                owner
//!   take a token          take the message that is expected, if the last connection has it, and none before it is late;
//!                         or ask which connections have anything, look into these, and take the first of what is there
//!   send, with it         put a new token in: the message is the caller's; if the system refuses that it is owed
//!                         and put in with the next one, or where nothing is found
//!                         nothing anywhere, somebody hung up, tokens missing for a moment: puts in as many
//!                         more than n there: takes the surplus out
//! ```
//!
//! "For a moment" says nothing about time here: it may pass at any time. So whoever stands still with a token may be
//! taken for dead.
//!
//! # Invariants
//! 1. No more than n messages are under way while nobody is taken for dead; else no more than n and those that
//!    were replaced.
//! 2. Of two messages of which one was sent before the other's token was taken, that one is received first.
//! 3. Each is received once, and when all is over there are n tokens.
//!
//! # What if it dies here?
//! With a token: see above. Behind the send: its message is in the connection, which is read to its end before it
//! counts as hung up.

use crate::explorer::{Model, Steps, breaks, holds};

const SENDERS: usize = 2;
const OWNER: usize = SENDERS;
/// Messages of each sender.
const EACH: u8 = 2;
const N: usize = 2;
/// Most tokens there ever are in the pipe.
const PIPE: usize = 5;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// The token is put in when the message is taken out of its connection, and not when it is the caller's.
    PutEarly,
    /// What the dead took along is not replaced.
    NeverReplaced,
    /// It is, also while nobody has hung up.
    ReplacedAtOnce,
    /// The surplus stays.
    SurplusKept,
    /// The owner takes what comes from one connection as long as there is anything.
    OneConnection,
    /// It looks into one connection after the other, and not into those that had anything at one moment.
    EachInTurn,
    /// The message that is expected is taken although one before it is late.
    LateForgotten,
    /// A connection that was hung up is not read to its end.
    HungUpUnread,
    /// What the system refused to take is not put in later.
    OwedForgotten,
}

struct Credit {
    planted: Planted,
    kills: u8,
    refusals: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    Take,
    /// It has this token.
    Send(u8),
    Done,
    Dead,
}

/// A message: its token, its number.
type Letter = (u8, u8);

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    at: [At; SENDERS],
    sent: [u8; SENDERS],
    pipe: Vec<u8>,
    lines: [Vec<Letter>; SENDERS],
    /// The connections that the owner knows, and one message of each that it took too early.
    here: [Option<Letter>; SENDERS],
    open: [bool; SENDERS],
    /// The connection that had the last message; and those that have anything, as the kernel said at one moment, and
    /// that it did not look into so far: a bit each.
    current: usize,
    looking: Option<u8>,
    expected: u8,
    /// Tokens below that which may still come; less than none, if they were taken out.
    late: i8,
    next: u8,
    suspicious: bool,
    replaced: u8,
    /// How many ever were.
    ever_replaced: u8,
    /// Messages by their bits: received; and for each, which were sent and not received when its token was taken.
    received: u8,
    before: [u8; SENDERS * EACH as usize],
    out_of_order: bool,
    kills: u8,
    /// The system may refuse to take so many tokens; so many are to be put in since.
    refusals: u8,
    refuses: bool,
    owed: usize,
}

impl State {
    fn under_way(&self) -> usize {
        let lines: usize = self.lines.iter().map(Vec::len).sum();
        lines + self.here.iter().flatten().count()
    }

    fn unreceived(&self) -> u8 {
        let lines = self.lines.iter().flatten().chain(self.here.iter().flatten());
        lines.fold(0, |bits, (_, number)| bits | 1 << number)
    }

    fn missing(&self) -> usize {
        N.saturating_sub(self.pipe.len() + self.owed + self.under_way())
    }
}

impl Credit {
    fn receive(&self, t: &mut State, (token, number): Letter) {
        // Once somebody was taken for dead it may come back behind others.
        t.out_of_order |= t.ever_replaced == 0 && t.before[number as usize] & !t.received != 0;
        t.received |= 1 << number;
        if token >= t.expected {
            t.late += (token - t.expected) as i8;
            t.expected = token + 1;
        } else {
            t.late -= 1;
        }
        t.looking = None;
        if self.planted != Planted::PutEarly {
            self.put(t);
        }
    }

    fn put(&self, t: &mut State) {
        t.owed += 1;
        self.put_what_is_owed(t);
    }

    fn put_what_is_owed(&self, t: &mut State) {
        if std::mem::take(&mut t.refuses) {
            if self.planted == Planted::OwedForgotten {
                t.owed = 0;
            }
            return;
        }
        for _ in 0..std::mem::take(&mut t.owed) {
            if t.pipe.len() < PIPE {
                t.pipe.push(t.next);
                t.next += 1;
            }
        }
    }

    fn owner(&self, s: &State, out: &mut Steps<State>) {
        let mut t = s.clone();
        if s.refusals > 0 && !s.refuses {
            let refusing = State { refusals: s.refusals - 1, refuses: true, ..s.clone() };
            out.add(|| "the system is about to refuse a write".into(), refusing);
        }
        let one_moment = self.planted != Planted::EachInTurn;
        let has_any = |line: &usize| {
            s.here[*line].is_none()
                && s.open[*line]
                && (!s.lines[*line].is_empty() || s.at[*line] == At::Dead)
        };
        let in_turn = s.late <= 0 || self.planted == Planted::LateForgotten;
        let Some(looking) = s.looking else {
            let early = (0..SENDERS)
                .filter(|line| in_turn && s.here[*line].is_some_and(|(token, _)| token <= s.expected));
            if let Some(line) = early.min_by_key(|line| s.here[*line]) {
                let letter = t.here[line].take().expect("it is there");
                t.current = line;
                self.receive(&mut t, letter);
                return out.add(|| format!("receives {letter:?}, which was taken too early"), t);
            }
            if let Some(&letter) = s.lines[s.current].first().filter(|_| s.here[s.current].is_none())
                && (in_turn && letter.0 <= s.expected || self.planted == Planted::OneConnection)
            {
                t.lines[s.current].remove(0);
                self.receive(&mut t, letter);
                if self.planted == Planted::PutEarly {
                    self.put(&mut t);
                }
                return out.add(|| format!("receives {letter:?}, which is expected"), t);
            }
            let all = (0..SENDERS).filter(|line| !one_moment || has_any(line));
            t.looking = Some(all.fold(0, |bits, line| bits | 1 << line));
            return out.add(|| "asks which connections have anything".into(), t);
        };
        if let Some(line) = (0..SENDERS).find(|line| looking & 1 << line != 0) {
            t.looking = Some(looking & !(1 << line));
            if has_any(&line) {
                let hung_up = s.at[line] == At::Dead;
                if hung_up && (s.lines[line].is_empty() || self.planted == Planted::HungUpUnread) {
                    t.lines[line].clear();
                    (t.open[line], t.suspicious) = (false, true);
                } else {
                    t.here[line] = Some(t.lines[line].remove(0));
                    if self.planted == Planted::PutEarly {
                        self.put(&mut t);
                    }
                }
            }
            return out.add(|| format!("looks into connection {line}"), t);
        }
        if let Some(line) =
            (0..SENDERS).filter(|line| s.here[*line].is_some()).min_by_key(|line| s.here[*line])
        {
            let letter = t.here[line].take().expect("it is there");
            t.current = line;
            self.receive(&mut t, letter);
            return out.add(|| format!("receives {letter:?}"), t);
        }
        t.looking = None;
        // There was nothing.
        if t.owed > 0 {
            self.put_what_is_owed(&mut t);
            return out.add(|| "puts in what is owed".into(), t);
        }
        let idle = t.clone();
        if t.pipe.len() > N && self.planted != Planted::SurplusKept {
            t.pipe.remove(0);
            t.replaced = t.replaced.saturating_sub(1);
            t.late -= 1;
            return out.add(|| "takes a token out that is one too many".into(), t);
        }
        let may = t.suspicious && self.planted != Planted::NeverReplaced;
        if t.pipe.len() < N && (may || self.planted == Planted::ReplacedAtOnce) {
            let missing = N - t.pipe.len();
            (0..missing).for_each(|_| self.put(&mut t));
            if may {
                t.replaced += missing as u8;
                t.ever_replaced += missing as u8;
                t.late = 0;
            }
            out.add(|| format!("a moment has passed: puts {missing} in"), t);
        } else if t.pipe.len() == N {
            t.suspicious = false;
            return out.add(|| "finds nothing, and that all is there".into(), t);
        }
        out.add(|| "finds nothing".into(), idle);
    }
}

impl Model for Credit {
    type State = State;

    fn initial(&self) -> State {
        State {
            at: [At::Take; SENDERS],
            sent: [0; SENDERS],
            pipe: (0..N as u8).collect(),
            lines: Default::default(),
            here: [None; SENDERS],
            open: [true; SENDERS],
            current: 0,
            looking: None,
            expected: 0,
            late: 0,
            next: N as u8,
            suspicious: false,
            replaced: 0,
            ever_replaced: 0,
            received: 0,
            before: [0; SENDERS * EACH as usize],
            out_of_order: false,
            kills: self.kills,
            refusals: self.refusals,
            refuses: false,
            owed: 0,
        }
    }

    fn processes(&self) -> usize {
        SENDERS + 1
    }

    fn name(&self, p: usize) -> String {
        if p == OWNER { "owner".into() } else { format!("sender {p}") }
    }

    fn steps(&self, s: &State, p: usize, out: &mut Steps<State>) {
        if p == OWNER {
            return self.owner(s, out);
        }
        let mut t = s.clone();
        let number = p as u8 * EACH + s.sent[p];
        match s.at[p] {
            At::Take if s.sent[p] == EACH => {
                t.at[p] = At::Done;
                out.add(|| "has sent all".into(), t);
            }
            At::Take if !s.pipe.is_empty() => {
                let token = t.pipe.remove(0);
                t.before[number as usize] = s.unreceived();
                t.at[p] = At::Send(token);
                out.add(|| format!("takes token {token}"), t);
            }
            At::Send(token) => {
                t.lines[p].push((token, number));
                t.sent[p] += 1;
                t.at[p] = At::Take;
                out.add(|| format!("sends message {number} with token {token}"), t);
            }
            At::Take | At::Done | At::Dead => {}
        }
    }

    /// A sender: with its owner the mailbox ends.
    fn kill(&self, s: &State, p: usize) -> Option<State> {
        if p == OWNER || s.kills == 0 || matches!(s.at[p], At::Done | At::Dead) {
            return None;
        }
        let mut t = s.clone();
        t.kills -= 1;
        t.at[p] = At::Dead;
        Some(t)
    }

    fn check(&self, s: &State) -> Result<(), String> {
        let most = N + s.replaced as usize;
        if s.under_way() > most {
            return Err(format!("{} messages under way, of {most}", s.under_way()));
        }
        if s.out_of_order {
            return Err("received before one that was sent earlier".into());
        }
        Ok(())
    }

    fn done(&self, s: &State) -> bool {
        let over = |p: usize| matches!(s.at[p], At::Done | At::Dead);
        let all = (0..SENDERS).flat_map(|p| (0..s.sent[p]).map(move |at| p as u8 * EACH + at));
        (0..SENDERS).all(over)
            && all.fold(0, |bits, number| bits | 1u8 << number) == s.received
            && s.missing() == 0
            && s.owed == 0
            && s.pipe.len() == N
    }
}

mod tests {
    use super::*;

    fn credit(planted: Planted) -> Credit {
        Credit { planted, kills: 1, refusals: 0 }
    }

    fn refused(planted: Planted) -> Credit {
        Credit { planted, kills: 0, refusals: 2 }
    }

    #[test]
    fn n_and_in_order() {
        holds("credit", &credit(Planted::Nothing));
        holds("credit, nobody dies", &Credit { planted: Planted::Nothing, kills: 0, refusals: 0 });
    }

    #[test]
    fn what_the_system_refuses_to_take_is_put_in_later() {
        holds("credit, writes are refused", &refused(Planted::Nothing));
        breaks("owed forgotten", &refused(Planted::OwedForgotten), "stuck");
    }

    #[test]
    fn a_token_is_put_in_when_the_message_is_the_callers() {
        breaks("put early", &credit(Planted::PutEarly), "messages under way, of 2");
    }

    #[test]
    fn what_the_dead_took_along_is_replaced() {
        breaks("never replaced", &credit(Planted::NeverReplaced), "stuck");
    }

    #[test]
    fn who_only_stands_still_has_its_token() {
        breaks("replaced at once", &credit(Planted::ReplacedAtOnce), "messages under way, of 2");
    }

    #[test]
    fn what_is_too_much_is_taken_out() {
        breaks("surplus kept", &credit(Planted::SurplusKept), "stuck");
    }

    #[test]
    fn one_connection_is_not_the_order() {
        breaks("one connection", &credit(Planted::OneConnection), "sent earlier");
    }

    #[test]
    fn what_there_is_is_what_there_is_at_one_moment() {
        breaks("each in turn", &credit(Planted::EachInTurn), "sent earlier");
    }

    #[test]
    fn a_late_one_comes_before_what_is_sent_after_it() {
        breaks("late forgotten", &credit(Planted::LateForgotten), "sent earlier");
    }

    #[test]
    fn what_was_sent_before_a_death_is_received() {
        breaks("hung up unread", &credit(Planted::HungUpUnread), "sent earlier");
    }
}
