//! Who sent what and who got it: every accepted message exactly once, whole, in order.

use std::collections::{BTreeMap, BTreeSet};

use crate::letters::{self, JUDGE, Number};
use crate::world::{Came, Effects};

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

#[derive(Debug)]
pub struct Ledger {
    effects: Effects,
    outcome: Outcome,
    next: u32,
    /// How many were sent before the operation.
    before: usize,
    /// What the judge sent, in order.
    sent: Vec<Number>,
    /// What the judge received, in order, and how often it was delivered before.
    got: Vec<(Number, u32)>,
}

impl Ledger {
    pub fn new(effects: Effects) -> Ledger {
        let (sent, got) = (Vec::new(), Vec::new());
        Ledger { effects, outcome: Outcome::Killed, next: 0, before: 0, sent, got }
    }

    pub fn next(&self) -> u32 {
        self.next
    }

    /// What was sent so far was there before the operation.
    pub fn begin(&mut self) {
        self.before = self.sent.len();
    }

    pub fn outcome(&mut self, outcome: &Outcome) {
        self.outcome = outcome.clone();
    }

    pub fn sent(&mut self, number: Number) {
        self.sent.push(number);
        self.next += 1;
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

    /// Everything was received that there is: does it balance? `strictly`: the one message of the walker came
    /// between those before it and those after it.
    pub fn balance(&self, strictly: bool) {
        let mut times: BTreeMap<Number, u32> = BTreeMap::new();
        for (number, _) in &self.got {
            *times.entry(*number).or_default() += 1;
        }
        if let Outcome::WentOn(Came::Got(number)) = &self.outcome {
            *times.entry(*number).or_default() += 1;
        }
        for (number, times) in &times {
            assert!(*times == 1, "doubled: message {number:?} came {times} times; {self:?}");
            let known = if number.0 == JUDGE { self.sent.contains(number) } else { self.effects.adds > 0 };
            assert!(known, "nobody sent message {number:?}");
        }
        self.lost(&times);
        self.added(&times);
        for (number, redelivered) in &self.got {
            let at = self.sent.iter().position(|it| it == number).unwrap_or(usize::MAX);
            let may_be = match &self.outcome {
                // It took what was the first by then.
                Outcome::WentOn(_) => self.effects.takes > 0,
                _ => at < self.effects.takes as usize,
            };
            assert!(*redelivered == 0 || may_be, "message {number:?} is marked; {self:?}");
            assert!(*redelivered <= self.effects.takes, "message {number:?} is marked {redelivered} times");
        }
        self.in_order(strictly);
    }

    fn lost(&self, times: &BTreeMap<Number, u32>) {
        let missing = self.sent.iter().enumerate().filter(|(_, number)| !times.contains_key(number));
        let missing: Vec<usize> = missing.map(|(at, _)| at).collect();
        let removes = self.effects.removes as usize;
        assert!(missing.len() <= removes, "lost: number {missing:?} of those sent; {self:?}");
        match &self.outcome {
            Outcome::Killed => {
                assert!(missing.iter().all(|at| *at < removes), "lost: number {missing:?}; {self:?}");
            }
            Outcome::Done => {
                assert!(missing.len() == removes, "number {missing:?} was consumed, of {removes}; {self:?}");
            }
            Outcome::WentOn(Came::Done) => {
                assert!(missing.len() == removes, "it was consumed, and came again; {self:?}");
            }
            Outcome::WentOn(_) => assert!(missing.is_empty(), "lost: number {missing:?}; {self:?}"),
        }
    }

    fn added(&self, times: &BTreeMap<Number, u32>) {
        let came = times.keys().any(|number| number.0 != JUDGE);
        let must = match &self.outcome {
            Outcome::Killed => None,
            Outcome::Done | Outcome::WentOn(Came::Done) => Some(self.effects.adds > 0),
            Outcome::WentOn(_) => Some(false),
        };
        if let Some(must) = must {
            assert!(came == must, "the walker's message came: {came}, was accepted: {must}; {self:?}");
        }
    }

    fn in_order(&self, strictly: bool) {
        let place = |number: &Number| match number {
            (JUDGE, number) if (*number as usize) < self.before => (0, *number),
            (JUDGE, number) => (2, *number),
            (other, _) => (1, u32::from(*other)),
        };
        let ours = |number: &Number| strictly || number.0 == JUDGE;
        let unmarked = self.got.iter().filter(|(number, redelivered)| *redelivered == 0 && ours(number));
        let places: Vec<_> = unmarked.map(|(number, _)| place(number)).collect();
        assert!(places.is_sorted(), "out of order: {self:?}");
    }
}
