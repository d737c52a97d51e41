//! What is killed: one operation, or one that cleans up after another one that was killed at some point.

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
        let first = self.first.as_ref().map(|first| first.operation.name);
        first.map_or(self.operation.name.into(), |first| format!("{}+{first}", self.operation.name))
    }

    pub fn name(&self) -> String {
        let point = self.first.as_ref().map(|first| format!("@{}", first.point.step));
        self.kind() + &point.unwrap_or_default()
    }

    pub fn world(&self) -> World {
        self.first.as_ref().map_or(self.operation.world, |first| first.operation.world)
    }
}

/// What a kind of subject begins with, what it may change, and whether two die.
pub fn of_kind(kind: &str) -> Option<(World, Effects, bool)> {
    if let Some(two) = operations::together(kind) {
        return Some((two.first.world, both(two.first.effects, two.second.effects), false));
    }
    let Some((second, first)) = kind.split_once('+') else {
        let operation = operations::find(kind)?;
        return Some((operation.world, operation.effects, false));
    };
    let (first, second) = (operations::find(first)?, operations::find(second)?);
    Some((first.world, both(first.effects, second.effects), true))
}

fn both(one: Effects, two: Effects) -> Effects {
    Effects {
        adds: one.adds + two.adds,
        removes: one.removes + two.removes,
        takes: one.takes + two.takes,
        ends: one.ends || two.ends,
    }
}
