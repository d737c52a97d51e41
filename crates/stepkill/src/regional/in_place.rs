//! The survivor beside a region of which there is one copy.
//!
//! Whatever the moment of the kill: the data is a version that was committed, whole; or it is poisoned, which only one
//! who could edit it may leave, and only if it was not told that it is done. Then nobody reads or writes it, and the
//! next one repairs it at once, though the lease is an hour. While the process stands still others wait for its lease
//! at most; but nobody repairs what it may still write to, and what was repaired stays as it is.

use std::time::Duration;

use tubepost::{Domain, Error, Region, RegionOptions, Writing};

use super::known::Known;
use super::{HOUR, LEASE, PATIENCE, ROWS_AT, SEATS_AT, SHORT, data_file, is_clean, word};
use crate::judge::{self, timely};
use crate::ledger::Outcome;
use crate::subject::Case;
use crate::world::{BOX, Came, Edit, Effects, Once, Owner, Regional, World};

/// All of what the survivor leaves poisoned.
const SPOILT: u8 = 0xEE;
/// Beyond these nobody has needed a row or a seat.
const FEW: u64 = 6;

/// What one comes to who would read, or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Sound,
    Poisoned,
    /// Somebody else holds it, or reads it, for longer than one waits.
    Busy,
}

/// A survivor and what it knows.
struct Survivor {
    domain: Domain,
    world: World,
    regional: Regional,
    once: Once,
    effects: Effects,
    way: u32,
    region: Option<&'static Region<[u8]>>,
    held: Option<Writing<'static, [u8]>>,
    known: Known,
    /// While the walker stood still: somebody wrote, or found it poisoned; somebody repaired it.
    fenced: bool,
    repaired: bool,
}

/// Plays the survivor's part.
pub fn play(domain: &str, case: Case, once: Once, way: u32) {
    let Case { world, effects, pair, .. } = case;
    let regional = world.region.expect("it is about regions");
    let domain = Domain::open(domain).expect("the tracer's domain");
    let known = Known::new(world.length, regional.edit, pair);
    let (region, held, fenced, repaired) = (None, None, false, false);
    let mut survivor =
        Survivor { domain, world, regional, once, effects, way, region, held, known, fenced, repaired };
    judge::listen(|line| survivor.hear(line));
}

/// Everybody's.
pub fn options(domain: &Domain) -> RegionOptions<[u8]> {
    super::options(domain).in_place()
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

    /// For how long one waits for who stands still.
    fn patience(&self) -> Duration {
        if self.lease() == HOUR { SHORT } else { PATIENCE }
    }

    /// Whether anybody may leave it poisoned, or hold it.
    fn is_touched(&self) -> bool {
        self.regional.edit != Edit::Nothing || self.regional.held || self.once.poisoned
    }

    fn open(&mut self) {
        let region = super::options(&self.domain).open(BOX).expect("it exists");
        assert!(region.is_in_place(), "who opens it is told otherwise");
        self.region = Some(Box::leak(Box::new(region)));
    }

    fn region(&self) -> &'static Region<[u8]> {
        self.region.expect("it is open")
    }

    fn prepare(&mut self) {
        if self.world.owner == Owner::Nobody {
            return;
        }
        let options = options(&self.domain).size(self.world.length as u64).lease_max(self.lease());
        self.region = Some(Box::leak(Box::new(options.create(BOX).expect("a free name"))));
        for _ in 0..3 {
            assert_eq!(self.write(Duration::ZERO), Found::Sound);
        }
        if self.regional.held || self.once.poisoned {
            let mut held = self.region().try_write().expect("nobody holds");
            held.fill(SPOILT);
            self.held = self.regional.held.then_some(held);
        }
    }

    /// What it comes to, unless it is an error that can't be.
    fn found<T>(&self, what: &str, came: Result<T, Error>) -> Result<T, Found> {
        came.map_err(|error| match error {
            Error::TimedOut | Error::WouldWait => Found::Busy,
            Error::Poisoned { .. } => {
                assert!(self.is_touched(), "it is poisoned, and nobody edited it");
                Found::Poisoned
            }
            error => panic!("a {what} was refused: {error}"),
        })
    }

    fn read(&mut self, patience: Duration) -> Found {
        let region = self.region();
        let came = timely(patience, || region.read_timeout(patience));
        match self.found("read", came) {
            Ok(reading) => {
                self.known.is(&reading, reading.version());
                Found::Sound
            }
            Err(found) => found,
        }
    }

    /// Writes the next letter.
    fn write(&mut self, patience: Duration) -> Found {
        let region = self.region();
        let came = timely(patience, || region.write_timeout(patience));
        let mut writing = match self.found("write", came) {
            Ok(writing) => writing,
            Err(found) => return found,
        };
        self.known.is(&writing, writing.version());
        let (data, _) = self.known.letter();
        writing.copy_from_slice(&data);
        let version = writing.commit().unwrap_or_else(|error| panic!("a commit was refused: {error}"));
        self.known.committed(data, version);
        Found::Sound
    }

    /// Repairs it; `false`: somebody may still write to it.
    fn repair(&mut self, patience: Duration) -> bool {
        let region = self.region();
        let (letter, mut left) = (self.known.letter().0, None);
        let repaired = timely(patience, || {
            region.repair_timeout(patience, |data| {
                left = Some(data.to_vec());
                data.copy_from_slice(&letter);
            })
        });
        let version = match repaired {
            Ok(version) => version,
            Err(Error::TimedOut) => return false,
            Err(error) => panic!("a repair was refused: {error}"),
        };
        let left = left.expect("it was poisoned, and nobody else repairs it");
        let spoilt = (self.regional.held || self.once.poisoned).then_some(SPOILT);
        assert!(
            self.known.may_be_half_done(&left, spoilt),
            "torn: there are bytes that nobody wrote in what was left"
        );
        // Of two walkers the first one may have committed.
        let more = version.checked_sub(self.known.version + 1);
        let most = self.known.pending.len().saturating_sub(1) as u64;
        assert!(
            more.is_some_and(|more| more <= most),
            "what was repaired is version {version} after {}",
            self.known.version
        );
        (self.known.data, self.known.version) = (letter, version);
        true
    }

    /// The walker stands still: others wait for one lease at most, and nobody takes it for dead.
    fn meanwhile(&mut self) {
        if self.region.is_none() {
            let swept = self.domain.gc().expect("our own domain");
            assert!(swept.removed.is_empty(), "gc removed {:?}", swept.removed);
            return;
        }
        self.held = None;
        let touched = self.is_touched();
        for _ in 0..3 {
            let read = self.read(self.patience());
            let wrote = if read == Found::Sound { self.write(self.patience()) } else { read };
            let endless = self.lease() == HOUR;
            assert!(read != Found::Busy || touched && endless, "who stands still holds up who reads");
            assert!(wrote != Found::Busy || endless, "nobody may hold for so long");
            self.fenced |= wrote != Found::Busy;
            if wrote == Found::Poisoned {
                self.repaired |= self.repair(SHORT);
            }
        }
        let swept = self.domain.gc().expect("our own domain");
        assert!(swept.rows == 0 && swept.removed.is_empty(), "gc found a dead one: {swept:?}");
        self.open();
        self.read(self.patience());
    }

    fn after(&mut self, outcome: &Outcome) {
        if self.world.owner == Owner::Nobody {
            self.is_there_or_not(outcome);
        }
        self.held = None;
        if self.way % 3 == 1 {
            self.domain.gc().expect("our own domain");
        }
        if self.way % 3 == 2 {
            self.open(); // another one goes on
        }
        let found = if self.way.is_multiple_of(2) { self.read(PATIENCE) } else { self.write(PATIENCE) };
        assert!(found != Found::Busy, "the next one is held up");
        self.is_told(outcome, found);
        if found == Found::Poisoned {
            let stat = self.domain.stat(BOX).expect("it lives").region.expect("it is one");
            assert!(stat.poisoned && stat.in_place, "it is poisoned, and that is not told: {stat:?}");
            assert!(self.region().get().is_err(), "it is poisoned, and is read");
            assert!(self.region().set(&self.known.data).is_err(), "it is poisoned, and is written");
            assert!(self.repair(PATIENCE), "nobody is left who could write to it, and it can't be repaired");
        }
        // Nobody is left who could.
        self.known.pending.clear();
        if self.way % 3 != 2 {
            self.open();
        }
        for _ in 0..20 {
            assert_eq!(self.read(PATIENCE), Found::Sound);
            assert_eq!(self.write(PATIENCE), Found::Sound);
        }
        self.nothing_is_lost();
        self.domain.remove(BOX).expect("it is there");
        self.region = None;
        is_clean(&self.domain);
    }

    /// What the walker was told is so.
    fn is_told(&self, outcome: &Outcome, found: Found) {
        // Where it was repaired by then there was nothing to be done.
        let nothing = self.once.poisoned && self.repaired;
        let edits = matches!(self.regional.edit, Edit::All | Edit::Parts) && !nothing;
        let (commits, committed) = (edits && !self.once.stays, self.known.has_first());
        match outcome {
            Outcome::Done | Outcome::WentOn(Came::Done | Came::Got(_)) if commits => assert!(
                committed && found == Found::Sound,
                "it was told that it committed, and that is not there: {found:?}"
            ),
            Outcome::Done | Outcome::WentOn(Came::Done | Came::Got(_)) => {
                let right = if self.once.stays { Found::Poisoned } else { Found::Sound };
                assert!(found == right || self.fenced, "it is done, and leaves it {found:?}");
            }
            Outcome::WentOn(Came::Refused(why)) => {
                assert!(!commits || !committed, "it was told {why}, and what it wrote is there");
                let is = |what: &str| why.starts_with(what);
                assert!(!is("torn"), "{why}");
                let others = is("LeaseExpired") || is("Poisoned");
                assert!(!others || self.fenced, "nobody else wrote, and it was told {why}");
            }
            _ => {}
        }
    }

    /// As many rows and seats as there ever were, and no more memory than one copy needs.
    fn nothing_is_lost(&mut self) {
        self.domain.gc().expect("our own domain");
        for _ in 0..2 * FEW {
            let other = super::options(&self.domain).open(BOX).expect("it exists");
            assert!(*other.read().expect("it is sound") == *self.known.data);
            drop(other.write_timeout(PATIENCE).expect("nobody holds"));
        }
        let rows = word(&self.domain.path().join(BOX), ROWS_AT);
        let seats = word(&data_file(&self.domain), SEATS_AT);
        assert!(rows <= FEW && seats <= FEW, "{rows} rows and {seats} seats are gone");
        let bytes = self.domain.stat(BOX).expect("it lives").bytes;
        let length = self.world.length.next_multiple_of(4096) as u64;
        assert!(bytes <= length + (192 << 10), "{bytes} bytes are kept for nothing");
    }

    /// It was to be made: either it is there, or not; and its name can be had.
    fn is_there_or_not(&mut self, outcome: &Outcome) {
        let done = matches!(outcome, Outcome::Done | Outcome::WentOn(Came::Done));
        self.domain.gc().expect("our own domain");
        let size = self.world.length as u64;
        let region = match options(&self.domain).size(size).lease_max(HOUR).create(BOX) {
            Ok(region) => {
                assert!(!done || self.effects.ends, "it was made, and is not there");
                region
            }
            Err(Error::Exists { .. }) => super::options(&self.domain).open(BOX).expect("it exists"),
            Err(error) => panic!("the name can't be had: {error}"),
        };
        self.region = Some(Box::leak(Box::new(region)));
        self.known.pending.clear();
        let files = std::fs::read_dir(self.domain.path()).expect("our own").count();
        assert!(files == 3, "{files} files are one region, and the home of its data");
    }
}
