//! The survivor beside a region that the process which is killed reads, writes, opens or makes.
//!
//! Whatever the moment of the kill: the data is a version that was committed, whole; the next writer goes on at once, though the lease is an hour; versions
//! count by one; and no row, seat or version is lost. While a process stands still others read, and write when its lease is over; then its commit changes
//! nothing, and it is told so.

pub mod in_place;
mod known;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tubepost::{Domain, Error, Reading, Region, RegionOptions, Writing};

use crate::judge::{self, PATIENCE, timely};
use crate::ledger::Outcome;
use crate::letters;
use crate::subject::Case;
use crate::world::{BOX, Came, Edit, Effects, Owner, Regional, World};
use known::Known;

const HOUR: Duration = Duration::from_secs(3600);
/// How long one may hold it where that matters.
const LEASE: Duration = Duration::from_millis(3);
/// What waits in vain waits so long: longer than a lease, and than who is first in line may take.
const SHORT: Duration = Duration::from_millis(40);
/// So many versions there can be.
const VERSIONS: usize = 64;
/// Beyond these nobody has needed a row or a seat.
const FEW: u64 = 6;
/// Where the file with the name says how many rows there are, and the one with the data how many seats.
const ROWS_AT: u64 = 0x340;
const SEATS_AT: u64 = 0x100;

pub fn options(domain: &Domain) -> RegionOptions<[u8]> {
    Region::options().domain(domain).spin(Duration::ZERO)
}

/// What a process with this tag makes of the data.
pub fn edit(edit: Edit, tag: u8, bytes: &mut [u8]) {
    match edit {
        Edit::Nothing | Edit::Touch => {}
        Edit::All => bytes.copy_from_slice(&letters::write((tag, 0), bytes.len())),
        Edit::Parts => PARTS.iter().for_each(|(from, to)| bytes[*from..*to].fill(tag)),
    }
}

/// Which parts.
pub const PARTS: [(usize, usize); 2] = [(100, 200), (9000, 9100)];

/// A survivor and what it knows.
struct Survivor {
    domain: Domain,
    world: World,
    regional: Regional,
    effects: Effects,
    way: u32,
    region: Option<&'static Region<[u8]>>,
    held: Option<Writing<'static, [u8]>>,
    known: Known,
    wrote_meanwhile: bool,
    /// Versions that were read while the walker stood still, and are read still.
    kept: Vec<(Reading<'static, [u8]>, Vec<u8>)>,
}

/// Plays the survivor's part.
pub fn play(domain: &str, case: Case, way: u32) {
    if let Some(once) = case.world.region.and_then(|regional| regional.once) {
        return in_place::play(domain, case, once, way);
    }
    let Case { world, effects, pair, .. } = case;
    let regional = world.region.expect("it is about regions");
    let domain = Domain::open(domain).expect("the tracer's domain");
    let known = Known::new(world.length, regional.edit, pair);
    let mut survivor = Survivor {
        domain,
        world,
        regional,
        effects,
        way,
        region: None,
        held: None,
        known,
        wrote_meanwhile: false,
        kept: Vec::new(),
    };
    judge::listen(|line| survivor.hear(line));
}

impl Survivor {
    fn hear(&mut self, line: &str) {
        match line {
            "prepare" => self.prepare(),
            "during" => self.meanwhile(),
            other => match Outcome::parse(other).as_deref() {
                Some([outcome]) => self.after(outcome),
                _ => panic!("what is {other}?"),
            },
        }
    }

    /// A lease that is over soon, where somebody holds who lives.
    fn lease(&self) -> Duration {
        let short = self.way % 2 == 1 || self.regional.held;
        if short { LEASE } else { HOUR }
    }

    fn prepare(&mut self) {
        if self.world.owner == Owner::Nobody {
            return;
        }
        let options = options(&self.domain).size(self.world.length as u64).lease_max(self.lease());
        self.region = Some(Box::leak(Box::new(options.create(BOX).expect("a free name"))));
        for _ in 0..3 {
            self.write(Duration::ZERO);
        }
        if self.regional.held {
            let mut held = self.region.expect("just made").try_write().expect("nobody holds");
            held.fill(0xEE);
            self.held = Some(held);
        }
    }

    /// Writes the next letter, or, of what is long, some of it; `false`: somebody holds.
    fn write(&mut self, patience: Duration) -> bool {
        self.write_some(patience, false)
    }

    /// If it is long only what is different; the letter before it stays in the rest.
    fn write_some(&mut self, patience: Duration, partly: bool) -> bool {
        let region = self.region.expect("it is open");
        let begun = if patience.is_zero() {
            region.try_write()
        } else {
            timely(patience, || region.write_timeout(patience))
        };
        let mut writing = match begun {
            Ok(writing) => writing,
            Err(Error::TimedOut | Error::WouldWait) => return false,
            Err(error) => panic!("a write was refused: {error}"),
        };
        self.known.is(&writing, writing.version());
        let (mut data, number) = self.known.letter();
        if (partly || number.is_multiple_of(3)) && self.world.length > PARTS[1].1 {
            data = writing.to_vec();
            data[5000..6000].fill(number as u8);
            writing.range_mut(5000..6000).fill(number as u8);
        } else {
            writing.copy_from_slice(&data);
        }
        let version = writing.commit().unwrap_or_else(|error| panic!("a commit was refused: {error}"));
        self.known.committed(data, version);
        true
    }

    fn read(&mut self) {
        let region = self.region.expect("it is open");
        let guard = region.read().unwrap_or_else(|error| panic!("a read was refused: {error}"));
        self.known.is(&guard, guard.version());
        let copy = region.get().unwrap_or_else(|error| panic!("a copy was refused: {error}"));
        assert!(*guard == *copy, "torn: a copy is not what was read");
    }

    /// The walker stands still: readers wait for nobody, writers for one lease at most, and nobody takes it for dead.
    fn meanwhile(&mut self) {
        if self.region.is_some() && self.effects.ends {
            self.domain.gc().expect("our own domain");
            return; // it may be over already
        }
        if self.region.is_none() {
            let swept = self.domain.gc().expect("our own domain");
            assert!(swept.removed.is_empty(), "gc removed {:?}", swept.removed);
            return;
        }
        self.read();
        self.held = None;
        let patience = if self.lease() == HOUR { SHORT } else { PATIENCE };
        for _ in 0..4 {
            let wrote = self.write(patience);
            assert!(wrote || self.lease() == HOUR, "nobody may hold for so long");
            self.wrote_meanwhile |= wrote;
            self.read();
            self.kept
                .push((self.region.expect("it is open").read().expect("it lives"), self.known.data.clone()));
        }
        let swept = self.domain.gc().expect("our own domain");
        assert!(swept.rows == 0 && swept.removed.is_empty(), "gc found a dead one: {swept:?}");
        drop(options(&self.domain).open(BOX).expect("it exists").read().expect("it lives"));
        self.read();
    }

    fn after(&mut self, outcome: &Outcome) {
        if self.world.owner == Owner::Nobody {
            self.is_there_or_not(outcome);
        }
        self.held = None;
        if self.effects.ends && self.region.is_some() {
            return self.is_over(outcome);
        }
        if self.way % 3 == 1 {
            self.domain.gc().expect("our own domain");
        }
        if self.way % 3 == 2 {
            // Another one goes on.
            self.region = Some(Box::leak(Box::new(options(&self.domain).open(BOX).expect("it exists"))));
        }
        if self.way.is_multiple_of(2) {
            self.read();
        }
        assert!(self.write(PATIENCE), "the next writer is held up");
        self.is_told(outcome);
        self.kept
            .drain(..)
            .for_each(|(guard, data)| assert!(*guard == *data, "torn: what was kept has changed"));
        if self.way % 3 != 2 {
            self.region = Some(Box::leak(Box::new(options(&self.domain).open(BOX).expect("it exists"))));
        }
        // Nobody is left who could.
        self.known.pending.clear();
        // What the dead one had edited is edited again before its memory is given back, or all of it is changed.
        let mut kept = Vec::new();
        for _ in 0..5 {
            kept.push(self.region.expect("it is open").read().expect("it lives"));
            assert!(self.write_some(PATIENCE, true), "the next writer is held up");
        }
        drop(kept);
        for _ in 0..20 {
            assert!(self.write(PATIENCE), "the next writer is held up");
            self.read();
        }
        self.nothing_is_lost();
        self.domain.remove(BOX).expect("it is there");
        self.region = None;
        is_clean(&self.domain);
    }

    /// What the walker was told is so.
    fn is_told(&self, outcome: &Outcome) {
        let commits = self.regional.edit != Edit::Nothing;
        let committed = self.known.has_first();
        match outcome {
            Outcome::Done | Outcome::WentOn(Came::Done) if commits => {
                assert!(committed, "it was told that it committed, and that is not there");
            }
            Outcome::WentOn(Came::Refused(why)) => {
                assert!(!committed || !commits, "it was told {why}, and what it wrote is there");
                let fenced = why.starts_with("LeaseExpired");
                assert!(!fenced || self.wrote_meanwhile, "nobody else wrote, and it was told {why}");
            }
            _ => {}
        }
    }

    /// As many versions, rows and seats as there ever were.
    fn nothing_is_lost(&mut self) {
        let region = self.region.expect("it is open");
        let mut kept = Vec::new();
        for at in 0..VERSIONS - 1 {
            kept.push((region.read().expect("it lives"), self.known.data.clone()));
            let wrote = self.write(PATIENCE);
            assert!(wrote, "of {VERSIONS} versions there are only {at}");
        }
        kept.iter().for_each(|(guard, data)| assert!(**guard == **data, "torn: what is pinned has changed"));
        drop(kept);
        for _ in 0..24 {
            assert!(self.write(PATIENCE));
        }
        self.domain.gc().expect("our own domain");
        for _ in 0..2 * FEW {
            let other = options(&self.domain).open(BOX).expect("it exists");
            assert!(*other.read().expect("it lives") == *self.known.data);
            drop(other.write_timeout(PATIENCE).expect("nobody holds"));
        }
        let rows = word(&self.domain.path().join(BOX), ROWS_AT);
        let seats = word(&data_file(&self.domain), SEATS_AT);
        let most = FEW + VERSIONS as u64;
        assert!(rows <= most && seats <= FEW, "{rows} rows and {seats} seats are gone");
        let bytes = self.domain.stat(BOX).expect("it lives").bytes;
        let length = self.world.length.next_multiple_of(4096) as u64;
        let paged = if self.world.length < 4096 { 0 } else { 4 * length };
        assert!(bytes <= paged + (192 << 10), "{bytes} bytes are kept for nothing");
    }

    /// It was to be made: either it is there, or not; and its name can be had.
    fn is_there_or_not(&mut self, outcome: &Outcome) {
        let done = matches!(outcome, Outcome::Done | Outcome::WentOn(Came::Done));
        self.domain.gc().expect("our own domain");
        let size = self.world.length as u64;
        let made = options(&self.domain).size(size).lease_max(HOUR).create(BOX);
        let region = match made {
            Ok(region) => {
                assert!(!done || self.effects.ends, "it was made, and is not there");
                region
            }
            Err(Error::Exists { .. }) => options(&self.domain).open(BOX).expect("it exists"),
            Err(error) => panic!("the name can't be had: {error}"),
        };
        self.region = Some(Box::leak(Box::new(region)));
        self.effects.ends = false;
        self.known.pending.clear();
        self.read();
        let files = std::fs::read_dir(self.domain.path()).expect("our own").count();
        assert!(files == 2, "{files} files are one region");
    }

    /// The region was removed, or may have been.
    fn is_over(&mut self, outcome: &Outcome) {
        let done = matches!(outcome, Outcome::Done | Outcome::WentOn(Came::Done));
        let removed = match self.domain.remove(BOX) {
            Ok(_) => !done,
            Err(Error::NoSuchName { .. }) => true,
            Err(error) => panic!("it can't be removed: {error}"),
        };
        assert!(removed, "it was removed, and is there");
        let region = self.region.take().expect("it was open");
        assert!(matches!(region.read(), Err(Error::Ended { .. })), "it is over, and is read");
        assert!(
            matches!(region.set(&self.known.data), Err(Error::Ended { .. })),
            "it is over, and is written"
        );
        is_clean(&self.domain);
    }
}

/// No files are left. (Handles of the survivor stay: guards borrow them.)
fn is_clean(domain: &Domain) {
    domain.gc().expect("our own domain");
    let files: Vec<_> = std::fs::read_dir(domain.path()).expect("our own").flatten().collect();
    assert!(files.is_empty(), "left in the domain: {files:?}");
}

fn word(path: &Path, at: u64) -> u64 {
    let mut bytes = [0; 8];
    File::open(path).and_then(|file| file.read_exact_at(&mut bytes, at)).expect("it is there");
    u64::from_le_bytes(bytes)
}

/// The file beside the one that is called as the region is; in place, that which says where the data is.
fn data_file(domain: &Domain) -> PathBuf {
    let mut files = std::fs::read_dir(domain.path()).expect("our own").flatten().map(|file| file.path());
    files.find(|path| path.to_string_lossy().ends_with("~data")).expect("it has data")
}
