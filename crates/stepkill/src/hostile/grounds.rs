//! The regions that are written to: of each kind one, and what their data is.

use std::hint::black_box;
use std::time::Duration;

use tubepost::{Data, Domain, Error, Region, RegionOptions, Table, TableOptions};

use super::boxes::{Kind, LINKS};
use super::dice::Dice;

/// Nobody holds one for longer while others wait.
const LEASE: Duration = Duration::from_millis(3);

/// So many entries a table has at most.
const ENTRIES: u64 = 40;

/// A name that always means a region of the same kind.
#[derive(Clone, Copy, Debug)]
pub struct Ground {
    /// How it is called in what is told.
    pub kind: Kind,
    /// There is one copy of the data.
    pub in_place: bool,
    /// Others could write to it, so it is looked at in copies.
    pub shared: bool,
    /// How many bytes it has; nothing: a [`Board`] …
    pub bytes: Option<u64>,
    /// … or a table.
    pub table: bool,
}

/// Data of a plain type.
pub type Board = [u64; 8];

const BYTES: Ground =
    Ground { kind: named("region"), in_place: false, shared: false, bytes: Some(200), table: false };
const PLAIN: Ground = Ground { kind: named("region-plain"), bytes: None, ..BYTES };
const TABLE: Ground = Ground { kind: named("region-table"), table: true, ..PLAIN };

/// All of them.
pub const ALL: &[Ground] = &[
    BYTES,
    // So long that it is told what each version changed.
    Ground { kind: named("region-long"), bytes: Some(20_000), ..BYTES },
    Ground { kind: named("region-shared"), bytes: Some(9000), shared: true, ..BYTES },
    PLAIN,
    TABLE,
    Ground { kind: named("region-table-shared"), shared: true, ..TABLE },
    Ground { kind: Kind { owned: true, ..named("owned-region") }, ..PLAIN },
    Ground { kind: named("in-place"), in_place: true, bytes: Some(10_000), ..BYTES },
    Ground { kind: named("in-place-shared"), in_place: true, shared: true, bytes: Some(3000), ..BYTES },
    Ground { kind: Kind { owned: true, ..named("owned-in-place") }, in_place: true, ..PLAIN },
];

const fn named(name: &'static str) -> Kind {
    Kind { name, ..LINKS }
}

impl Ground {
    pub fn options<D: Data + ?Sized>(&self, domain: &Domain) -> RegionOptions<D> {
        let options = Region::options().domain(domain).member("victim").lease_max(LEASE);
        let options = if self.in_place { options.in_place() } else { options };
        let options = if self.shared { options.mode(0o660) } else { options };
        match self.bytes {
            Some(bytes) => options.size(bytes),
            None => options,
        }
    }

    pub fn table(&self, domain: &Domain) -> TableOptions<[u8; 8], u64> {
        let options = Table::options().domain(domain).member("victim").lease_max(LEASE).capacity(ENTRIES);
        if self.shared { options.mode(0o660) } else { options }
    }

    /// Creates it for the system.
    pub fn create(&self, domain: &Domain) -> Result<(), Error> {
        if self.table {
            return self.table(domain).create(self.kind.name).map(drop);
        }
        match self.bytes {
            Some(_) => self.options::<[u8]>(domain).create(self.kind.name).map(drop),
            None => self.options::<Board>(domain).create(self.kind.name).map(drop),
        }
    }
}

/// Data that can be looked at and changed without knowing more of it.
pub trait Soil: Data {
    fn look(&self);
    fn change(&mut self, dice: &mut Dice);
}

impl Soil for [u8] {
    fn look(&self) {
        black_box(self.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)));
    }
    fn change(&mut self, dice: &mut Dice) {
        self.fill(dice.roll() as u8);
    }
}

impl Soil for Board {
    fn look(&self) {
        black_box(self.iter().fold(0_u64, |sum, word| sum ^ word));
    }
    fn change(&mut self, dice: &mut Dice) {
        *self = [dice.roll(); 8];
    }
}
