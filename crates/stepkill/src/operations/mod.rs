//! The operations, a family in each file. One more is one more line in a table and what it does; see
//! docs/stepkill.md.

pub mod awaited;
mod calling;
mod endless;
mod existing;
mod files;
mod holding;
mod in_place;
mod linking;
mod meeting;
mod pairing;
mod receiving;
mod recovery;
mod regions;
mod sending;
mod together;
mod waiting;

use crate::world::{Effects, Operation, Owner, World};

/// Three places; a few messages, of a length that has its place from the start.
pub const SMALL: World = World {
    owner: Owner::System,
    capacity: 3,
    segments: 0,
    longest: 64,
    waiting: 2,
    length: 24,
    ready: 0,
    ceiling: None,
    worn: false,
    asks: None,
    linked: None,
    paired: None,
    region: None,
    filed: None,
};
/// The same, of messages that need chunks.
pub const LARGE: World = World { longest: 10_000, length: 700, ..SMALL };
/// As small as `SMALL`, with places for two batches.
pub const MANY: World = World { capacity: 9, waiting: 3, ..SMALL };
/// Nothing at all.
pub const NOTHING: World = World { owner: Owner::Nobody, waiting: 0, ..SMALL };

/// No effect on what waits.
pub const NONE: Effects = Effects { adds: 0, removes: 0, takes: 0, ends: false, withdraws: false, passed: 0 };

/// A process that dies in the first operation, at any of its changes of shared state, and one that dies in the
/// second one, which has to clean up.
#[derive(Clone, Copy)]
pub struct Pair {
    pub first: Operation,
    pub second: Operation,
}

/// Two processes that operate at one time, and what either may be refused for the other's sake.
#[derive(Clone, Copy)]
pub struct Together {
    pub first: Operation,
    pub second: Operation,
    pub refused: &'static [&'static str],
}

impl Together {
    pub fn name(&self) -> String {
        format!("{},{}", self.first.name, self.second.name)
    }
}

/// All operations.
pub fn all() -> Vec<Operation> {
    [
        sending::ALL,
        receiving::ALL,
        holding::ALL,
        existing::ALL,
        meeting::ALL,
        endless::ALL,
        waiting::ALL,
        calling::ALL,
        linking::ALL,
        pairing::ALL,
        regions::ALL,
        in_place::ALL,
        files::ALL,
    ]
    .concat()
}

/// All pairs that are walked.
pub fn pairs() -> Vec<Pair> {
    let pairs = recovery::ALL.iter().flat_map(|(first, seconds)| {
        seconds.iter().map(move |second| Pair { first: named(first), second: named(second) })
    });
    pairs.collect()
}

/// All heirs that are walked, and whose row they have.
pub fn heirs() -> Vec<Pair> {
    let pairs = recovery::HEIRS.iter();
    pairs.map(|(first, second)| Pair { first: named(first), second: named(second) }).collect()
}

/// All that operate at one time.
pub fn all_together() -> Vec<Together> {
    let two = |(first, second, refused): &(&str, &str, &'static [&'static str])| Together {
        first: named(first),
        second: named(second),
        refused,
    };
    together::ALL.iter().map(two).collect()
}

/// The two of these names.
pub fn together(name: &str) -> Option<Together> {
    all_together().into_iter().find(|two| two.name() == name)
}

/// The operation of this name, also one that only pairs have, or that others sleep for.
pub fn find(name: &str) -> Option<Operation> {
    let only_pairs = recovery::ONLY_PAIRS.iter().chain(calling::ONLY_TWO).chain(linking::ONLY_TWO).copied();
    let awaited = awaited::ALL.iter().map(|(operation, _)| *operation);
    all().into_iter().chain(only_pairs).chain(awaited).find(|operation| operation.name == name)
}

fn named(name: &str) -> Operation {
    find(name).unwrap_or_else(|| panic!("no operation is called {name}"))
}
