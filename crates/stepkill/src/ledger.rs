//! Who sent what and who got it: every accepted message exactly once, whole, in order.

use std::collections::{BTreeMap, BTreeSet};

use crate::letters::{self, JUDGE, Number};
use crate::world::{Came, Effects};

/// What the messages of the first of two are told by; those of the second one by the next number.
pub const FIRST_TAG: u8 = 2;

/// What became of the walker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Killed somewhere in the operation.
    Killed,
    /// Killed when it was done.
    Done,
    /// It stood still, went on, and died when it was done.
    WentOn(Came),
}

impl Outcome {
    /// As the survivor is told it; of two, one after the other.
    pub fn parse(line: &str) -> Option<Vec<Outcome>> {
        let one = |word: &str| match word {
            "killed" => Some(Outcome::Killed),
            "killed when done" => Some(Outcome::Done),
            other => Some(Outcome::WentOn(Came::parse(other.strip_prefix("went on: ")?)?)),
        };
        line.split('\t').map(one).collect()
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Outcome::Killed => write!(f, "killed"),
            Outcome::Done => write!(f, "killed when done"),
            Outcome::WentOn(came) => write!(f, "went on: {came}"),
        }
    }
}

/// Who operates, what that may do, and what became of it.
#[derive(Debug)]
struct Actor {
    effects: Effects,
    outcome: Outcome,
    /// Its messages are told by this; by nothing if there is nobody else.
    tag: Option<u8>,
}

impl Actor {
    /// So many of its messages were accepted; if that is not known the first ones may have been.
    fn added(&self) -> Option<u32> {
        match &self.outcome {
            Outcome::Killed => None,
            Outcome::Done | Outcome::WentOn(Came::Done) => Some(self.effects.adds),
            Outcome::WentOn(Came::Sent(number)) => Some(*number),
            Outcome::WentOn(Came::Unanswered) => None,
            // Whether it came to the disk nobody knows.
            Outcome::WentOn(Came::Refused(why)) if why.starts_with("LogFailed") => None,
            Outcome::WentOn(_) => Some(0),
        }
    }

    /// So many messages it consumed at least, and at most, without telling which.
    fn consumed(&self) -> (usize, usize) {
        let removes = self.effects.removes as usize;
        match &self.outcome {
            Outcome::Killed => (0, removes),
            Outcome::Done | Outcome::WentOn(Came::Done) => (removes, removes),
            Outcome::WentOn(_) => (0, 0),
        }
    }

    /// The messages that it received.
    fn got(&self) -> &[Number] {
        if let Outcome::WentOn(Came::Got(numbers)) = &self.outcome { numbers } else { &[] }
    }

    /// It gave back, by itself or by its death, at least so many messages and at most so many.
    fn gave_back(&self) -> (u32, u32) {
        match &self.outcome {
            Outcome::WentOn(Came::Got(_)) => (0, 0),
            Outcome::WentOn(Came::Done) if self.effects.removes > 0 => (0, 0),
            Outcome::WentOn(Came::Done) => (self.effects.takes, self.effects.takes),
            _ => (0, self.effects.takes),
        }
    }
}

#[derive(Debug)]
pub struct Ledger {
    actors: Vec<Actor>,
    next: u32,
    /// Nothing waits: who is given something may be dead, and it comes marked, whichever it is.
    given: bool,
    /// How many were sent before the operation.
    before: usize,
    /// What the judge sent, in order.
    sent: Vec<Number>,
    /// What the judge received, in order, and how often it was delivered before.
    got: Vec<(Number, u32)>,
}

impl Ledger {
    pub fn new(effects: Effects) -> Ledger {
        Ledger::among(vec![Actor { effects, outcome: Outcome::Killed, tag: None }])
    }

    /// Two operate at one time.
    pub fn of_two(effects: [Effects; 2]) -> Ledger {
        let actors = effects.into_iter().zip(FIRST_TAG..);
        let actor = |(effects, tag)| Actor { effects, outcome: Outcome::Killed, tag: Some(tag) };
        Ledger::among(actors.map(actor).collect())
    }

    fn among(actors: Vec<Actor>) -> Ledger {
        Ledger { actors, next: 0, given: false, before: 0, sent: Vec::new(), got: Vec::new() }
    }

    pub fn next(&self) -> u32 {
        self.next
    }

    /// The same where nothing waits.
    pub fn where_nothing_waits(self) -> Ledger {
        Ledger { given: true, ..self }
    }

    /// So many receivers of which one that was killed may have received one that it did not count.
    pub fn uncounted(&self) -> u64 {
        let receives = |actor: &&Actor| actor.effects.removes > 0 && actor.outcome == Outcome::Killed;
        self.actors.iter().filter(receives).map(|actor| u64::from(actor.effects.removes)).sum()
    }

    /// What was sent so far was there before the operation.
    pub fn begin(&mut self) {
        self.before = self.sent.len();
    }

    pub fn outcome(&mut self, outcomes: &[Outcome]) {
        for (actor, outcome) in self.actors.iter_mut().zip(outcomes) {
            actor.outcome = outcome.clone();
        }
    }

    /// Two operate at one time, and nobody else does meanwhile.
    pub fn together(&self) -> bool {
        self.actors.len() > 1
    }

    /// So many of the first messages they get at.
    fn reach(&self) -> usize {
        let touched = |actor: &Actor| actor.effects.removes.max(actor.effects.takes) as usize;
        self.actors.iter().map(touched).sum()
    }

    /// Where too few waited, the message of one of two came next.
    fn is_another_s(&self, number: &Number) -> bool {
        number.0 != JUDGE && self.before < self.reach()
    }

    /// All that was sent and not received counts as never collected where the mailbox ended: so many at least, and at
    /// most.
    pub fn uncollected(&self) -> (u64, u64) {
        // Where nothing waits, one of ours may have received it before the end.
        let received = self.got.iter().filter(|((sender, _), _)| *sender == JUDGE).count();
        let left = u64::from(self.next) - received as u64;
        let (mut least, mut most) = (left, left);
        for actor in &self.actors {
            let (fewer, more) = actor.consumed();
            // What is in hand when it ends may be accepted yet, and isn't counted.
            let in_hand = if self.together() { actor.gave_back().1 as usize } else { 0 };
            least = least.saturating_sub(more.max(in_hand) as u64 + actor.got().len() as u64);
            most = most.saturating_sub(fewer as u64 + actor.got().len() as u64);
            least += u64::from(actor.added().unwrap_or(0));
            most += u64::from(actor.added().unwrap_or(actor.effects.adds));
        }
        (least, most)
    }

    pub fn sent(&mut self, number: Number) {
        self.sent.push(number);
        self.next += 1;
    }

    /// It was only offered, and nobody took it.
    pub fn unsent(&mut self, number: Number) {
        self.sent.retain(|it| *it != number);
        self.next -= 1;
    }

    pub fn got(&mut self, message: &[u8], redelivered: u32) {
        match letters::read(message) {
            Ok(number) => self.got.push((number, redelivered)),
            Err(why) => panic!("{why}"),
        }
    }

    /// How many were accepted: all of ours, and of others those that came.
    pub fn accepted(&self) -> u64 {
        let others: BTreeSet<&Number> =
            self.got.iter().map(|(number, _)| number).filter(|number| number.0 != JUDGE).collect();
        (self.sent.len() + others.len()) as u64
    }

    /// Everything was received that there is: does it balance? `strictly`: the one message of each walker came
    /// between those before it and those after it.
    pub fn balance(&self, strictly: bool) {
        let mut times: BTreeMap<Number, u32> = BTreeMap::new();
        for (number, _) in &self.got {
            *times.entry(*number).or_default() += 1;
        }
        for number in self.actors.iter().flat_map(Actor::got) {
            *times.entry(*number).or_default() += 1;
        }
        for (number, times) in &times {
            assert!(*times == 1, "doubled: message {number:?} came {times} times; {self:?}");
            let sends = |actor: &Actor| actor.effects.adds > 0 && actor.tag.is_none_or(|tag| tag == number.0);
            let known =
                if number.0 == JUDGE { self.sent.contains(number) } else { self.actors.iter().any(sends) };
            assert!(known, "nobody sent message {number:?}");
        }
        self.lost(&times);
        self.added(&times);
        self.marked();
        self.in_order(strictly);
    }

    fn lost(&self, times: &BTreeMap<Number, u32>) {
        let missing = self.sent.iter().enumerate().filter(|(_, number)| !times.contains_key(number));
        let missing: Vec<usize> = missing.map(|(at, _)| at).collect();
        let least: usize = self.actors.iter().map(|actor| actor.consumed().0).sum();
        let most: usize = self.actors.iter().map(|actor| actor.consumed().1).sum();
        assert!(missing.len() <= most, "lost: number {missing:?} of those sent; {self:?}");
        assert!(missing.len() >= least, "{least} were consumed, and came again; {self:?}");
        let reach = match &self.actors[..] {
            // What it consumed when it went on was the first by then.
            [Actor { outcome: Outcome::Killed, effects, .. }] => effects.removes as usize,
            [_] => usize::MAX,
            _ => self.reach(),
        };
        assert!(missing.iter().all(|at| *at < reach), "lost: number {missing:?}; {self:?}");
        if self.together() {
            for number in self.actors.iter().flat_map(Actor::got) {
                let first = self.is_another_s(number) || self.sent.iter().take(reach).any(|it| it == number);
                assert!(first, "message {number:?} was received before its turn; {self:?}");
            }
        }
    }

    fn added(&self, times: &BTreeMap<Number, u32>) {
        for actor in &self.actors {
            let of_it = |tag: u8| tag != JUDGE && actor.tag.is_none_or(|its| its == tag);
            let came: Vec<&Number> = times.keys().filter(|number| of_it(number.0)).collect();
            // Who was killed when it had received all that was there before may have received some of these too.
            let others = self.actors.iter().filter(|other| !std::ptr::eq(*other, actor));
            let gone = others.map(|other| other.consumed().1).sum::<usize>() > self.before;
            for number in came.iter().filter(|number| number.1 > 0 && actor.effects.passed == 0 && !gone) {
                let before = (number.0, number.1 - 1);
                assert!(came.contains(&&before), "{number:?} came, and {before:?} did not; {self:?}");
            }
            if let Some(added) = actor.added() {
                let all = came.len() == added as usize || gone && came.len() < added as usize;
                assert!(all, "of the walker's messages came {came:?}, {added} were accepted; {self:?}");
            }
        }
    }

    fn marked(&self) {
        let takes: u32 = self.actors.iter().map(|actor| actor.effects.takes).sum();
        for (number, redelivered) in &self.got {
            let at = self.sent.iter().position(|it| it == number).unwrap_or(usize::MAX);
            let may_be = match &self.actors[..] {
                _ if self.given => takes > 0,
                // It took what was the first by then.
                [Actor { outcome: Outcome::WentOn(_), .. }] => takes > 0,
                // The second one that died may have had what the first one sent.
                [_] => at < takes as usize || self.is_another_s(number),
                _ => at < self.reach() || self.is_another_s(number),
            };
            assert!(*redelivered == 0 || may_be, "message {number:?} is marked; {self:?}");
            assert!(*redelivered <= takes, "message {number:?} is marked {redelivered} times");
        }
        if self.together() {
            let marks: u32 = self.got.iter().map(|(_, redelivered)| redelivered).sum();
            let most: u32 = self.actors.iter().map(|actor| actor.gave_back().1).sum();
            assert!(marks <= most, "{marks} marks, and {most} were given back at most; {self:?}");
            // Who receives for good does not tell how often that had been delivered.
            if self.actors.iter().all(|actor| actor.effects.removes == 0) {
                let least: u32 = self.actors.iter().map(|actor| actor.gave_back().0).sum();
                assert!(marks >= least, "{marks} marks, and {least} were given back; {self:?}");
            }
        }
    }

    fn in_order(&self, strictly: bool) {
        let place = |number: &Number| match number {
            (JUDGE, number) if (*number as usize) < self.before => (0, *number),
            (JUDGE, number) => (2, *number),
            // Those of walkers come in any order.
            _ => (1, 0),
        };
        let ours = |number: &Number| strictly || number.0 == JUDGE;
        let unmarked = self.got.iter().filter(|(number, redelivered)| *redelivered == 0 && ours(number));
        let places: Vec<_> = unmarked.map(|(number, _)| place(number)).collect();
        assert!(places.is_sorted(), "out of order: {self:?}");
        let mut latest: BTreeMap<u8, u32> = BTreeMap::new();
        for ((sender, number), redelivered) in &self.got {
            if *sender != JUDGE && *redelivered == 0 {
                let before = latest.insert(*sender, *number);
                assert!(before.is_none_or(|before| before < *number), "one's own out of order: {self:?}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::NONE;

    /// Two letters were sent, one of two receivers was killed or both went on, and these are what the survivor got.
    fn balances(outcomes: [Outcome; 2], got: &[(Number, u32)]) -> bool {
        let receives = Effects { removes: 1, takes: 1, ..NONE };
        let mut ledger = Ledger::of_two([receives, receives]);
        ledger.sent((JUDGE, 0));
        ledger.sent((JUDGE, 1));
        ledger.begin();
        ledger.outcome(&outcomes);
        for (number, redelivered) in got {
            ledger.got(&letters::write(*number, 24), *redelivered);
        }
        std::panic::catch_unwind(|| ledger.balance(true)).is_ok()
    }

    #[test]
    fn of_two_receivers_each_has_one() {
        let got = |number| Outcome::WentOn(Came::Got(vec![(JUDGE, number)]));
        assert!(balances([got(0), got(1)], &[]));
        assert!(balances([got(1), got(0)], &[]));
        assert!(!balances([got(0), got(0)], &[((JUDGE, 1), 0)]), "doubled");
        assert!(!balances([got(0), got(1)], &[((JUDGE, 1), 0)]), "it came again");
        assert!(!balances([got(0), Outcome::Killed], &[((JUDGE, 1), 2)]), "marked twice by one");
        assert!(balances([got(0), Outcome::Killed], &[((JUDGE, 1), 1)]));
        assert!(balances([got(0), Outcome::Killed], &[]));
        assert!(balances([Outcome::Killed, got(1)], &[((JUDGE, 0), 1)]));
        assert!(
            !balances([Outcome::Killed, Outcome::WentOn(Came::Refused("no".into()))], &[]),
            "two are lost"
        );
    }
}
