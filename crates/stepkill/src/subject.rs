//! What is killed, or stopped: one operation; one that cleans up after another one that was killed at some point; or the
//! *heir* of one that was killed, who comes when all was put in order and has its row.

use std::sync::Arc;

use crate::operations;
use crate::walk::{Point, Recording};
use crate::world::{Effects, Operation, World};

/// Who died before, and where.
#[derive(Clone)]
pub struct First {
    pub operation: Operation,
    pub recording: Arc<Recording>,
    pub point: Point,
    /// The survivor put all in order before the second one came.
    pub settled: bool,
}

/// What a kind of subject begins with, and what it may change.
#[derive(Clone, Copy)]
pub struct Case {
    pub world: World,
    pub effects: Effects,
    /// Two die.
    pub pair: bool,
    /// What an heir may change, when what the first one may have changed is settled.
    pub heir: Option<Effects>,
}

/// See above.
#[derive(Clone)]
pub struct Subject {
    pub operation: Operation,
    pub first: Option<First>,
}

impl Subject {
    /// Its name without the point: enough to know what there is before, and what may become of it.
    pub fn kind(&self) -> String {
        let name = self.operation.name;
        let Some(first) = &self.first else { return name.into() };
        name_of_pair(name, first.operation.name, first.settled)
    }

    pub fn name(&self) -> String {
        let point = self.first.as_ref().map(|first| format!("@{}", first.point.step));
        self.kind() + &point.unwrap_or_default()
    }

    pub fn world(&self) -> World {
        self.first.as_ref().map_or(self.operation.world, |first| first.operation.world)
    }
}

/// Between the names of two that die …
const PAIR: char = '+';
/// … and of an heir and the first one.
const HEIR: char = '~';

/// What a second one that meets what a first one left is called, or its heir.
pub fn name_of_pair(second: &str, first: &str, settled: bool) -> String {
    format!("{second}{}{first}", if settled { HEIR } else { PAIR })
}

/// The names of the second and the first one, and whether that is settled when the second one comes.
pub fn split(name: &str) -> Option<(&str, &str, bool)> {
    let parts = |at: char, settled| name.split_once(at).map(|(second, first)| (second, first, settled));
    parts(PAIR, false).or_else(|| parts(HEIR, true))
}

/// What begins with which world, and may do what.
pub fn case(kind: &str) -> Option<Case> {
    if let Some(two) = operations::together(kind) {
        let effects = both(two.first.effects, two.second.effects);
        return Some(Case { world: two.first.world, effects, pair: false, heir: None });
    }
    let Some((second, first, settled)) = split(kind) else {
        let Operation { world, effects, .. } = operations::find(kind)?;
        return Some(Case { world, effects, pair: false, heir: None });
    };
    let (first, second) = (operations::find(first)?, operations::find(second)?);
    let (world, one, two) = (first.world, first.effects, second.effects);
    if settled {
        return Some(Case { world, effects: one, pair: false, heir: Some(two) });
    }
    Some(Case { world, effects: both(one, two), pair: true, heir: None })
}

fn both(one: Effects, two: Effects) -> Effects {
    Effects {
        adds: one.adds + two.adds,
        removes: one.removes + two.removes,
        takes: one.takes + two.takes,
        ends: one.ends || two.ends,
        withdraws: one.withdraws || two.withdraws,
        passed: one.passed + two.passed,
    }
}
