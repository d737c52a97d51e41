//! The table: every strategy × capacity that the suite runs on.

use tubepost::{Mailbox, Message, Options, Receiver, Sender, Strategy};

use crate::stage::{Cue, Place};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    Bounded(u64),
}

pub struct Row {
    pub strategy: Strategy,
    pub capacity: Capacity,
}

/// 1 is the smallest; 2 and 64 are powers of two; 3 and 7 are not; 1024 is the default.
pub const ROWS: &[Row] = &[
    Row { strategy: Strategy::Shared, capacity: Capacity::Bounded(1) },
    Row { strategy: Strategy::Shared, capacity: Capacity::Bounded(2) },
    Row { strategy: Strategy::Shared, capacity: Capacity::Bounded(3) },
    Row { strategy: Strategy::Shared, capacity: Capacity::Bounded(7) },
    Row { strategy: Strategy::Shared, capacity: Capacity::Bounded(64) },
    Row { strategy: Strategy::Shared, capacity: Capacity::Bounded(1024) },
];

/// Runs a test on every row; a failure is preceded by the row's name.
pub fn on_every_row(test: impl Fn(&Row)) {
    for row in ROWS {
        let told = TellRow(row);
        test(row);
        std::mem::forget(told);
    }
}

struct TellRow<'a>(&'a Row);

impl Drop for TellRow<'_> {
    fn drop(&mut self) {
        eprintln!("on the row {}", self.0);
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Capacity::Bounded(n) = self.capacity;
        write!(f, "{} × bounded({n})", self.strategy)
    }
}

impl Row {
    /// How many messages wait before a sender does.
    pub fn n(&self) -> u64 {
        let Capacity::Bounded(n) = self.capacity;
        n
    }

    pub fn options<T: Message + ?Sized>(&self, domain: &tubepost::Domain) -> Options<T> {
        let Capacity::Bounded(n) = self.capacity;
        match self.strategy {
            Strategy::Shared => Mailbox::<T>::options().domain(domain).bounded(n),
            #[allow(unreachable_patterns)]
            other => panic!("the suite does not know how to ask for {other}"),
        }
    }

    pub fn own<T: Message + ?Sized>(&self, place: &Place, name: &str) -> Receiver<T> {
        self.options(place.domain()).own(name).expect("a free name in a fresh domain")
    }

    /// The row as an argument of a role.
    pub fn arg(&self) -> String {
        let at = ROWS.iter().position(|row| row.strategy == self.strategy && row.capacity == self.capacity);
        at.expect("a row of the table").to_string()
    }

    pub fn of(cue: &Cue, at: usize) -> &'static Row {
        &ROWS[cue.number(at) as usize]
    }
}

pub fn open<T: Message + ?Sized>(place: &Place, name: &str) -> Sender<T> {
    Sender::<T>::options().domain(place.domain()).open(name).expect("it exists")
}
