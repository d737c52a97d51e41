//! Those who read and write regions while their rows, seats, buffers and data are being wrecked.

use std::time::{Duration, Instant, SystemTime};

use tubepost::{Reading, Region, Writing};

use super::{LIFETIME, Victim};
use crate::hostile::grounds::{ALL, Board, Ground, Soil};

/// What has no deadline ends with the region, whose lifetime is short, or when somebody's lease is over.
const UNTIL_IT_ENDS: Duration = Duration::from_secs(5);
/// So many versions are kept at a time.
const MOST: usize = 6;
/// Data of this age belongs to nothing.
const OLD: Duration = Duration::from_secs(2);

impl Victim {
    /// Any of them.
    pub(super) fn a_ground(&mut self) -> &'static Ground {
        &ALL[self.dice.below(ALL.len() as u64) as usize]
    }

    /// Opens one, or owns it, and uses it for a while.
    pub(super) fn use_a_region(&mut self) {
        let ground = self.a_ground();
        match ground.bytes {
            _ if ground.table => self.open_a_table(ground),
            Some(_) => self.open_a_region::<[u8]>(ground),
            None => self.open_a_region::<Board>(ground),
        }
    }

    fn open_a_region<D: Soil + ?Sized>(&mut self, ground: &'static Ground) {
        let (kind, options) = (&ground.kind, ground.options::<D>(&self.domain));
        let opened = match self.dice.below(8) {
            0..=2 if kind.owned => self.call("own-region", kind, Duration::ZERO, |_| options.own(kind.name)),
            0 => self.call("open-region-to-read", kind, Duration::ZERO, |_| options.open_to_read(kind.name)),
            _ => self.call("open-region", kind, Duration::ZERO, |_| options.open(kind.name)),
        };
        let Some(region) = opened else {
            if kind.owned && self.dice.below(6) == 0 {
                self.remove_by_hand(kind);
            }
            return std::thread::sleep(Duration::from_micros(500));
        };
        let (mut readings, mut writing) = (Vec::new(), None);
        let end = self.session_ends();
        while Instant::now() < end {
            self.step(ground, &region, &mut readings, &mut writing);
        }
        self.ask("let-go-of-region", kind, || drop((readings, writing)));
        self.ask("drop-region", kind, || drop(region));
    }

    fn open_a_table(&mut self, ground: &'static Ground) {
        let (kind, options) = (&ground.kind, ground.table(&self.domain));
        let opened = self.call("open-table", kind, Duration::ZERO, |_| options.open(kind.name));
        let Some(table) = opened else { return std::thread::sleep(Duration::from_micros(500)) };
        let end = self.session_ends();
        while Instant::now() < end {
            let (key, value) = ([b'a' + self.dice.below(60) as u8; 8], self.dice.roll());
            match self.dice.below(8) {
                0 | 1 => drop(self.call("table.get", kind, Duration::ZERO, |_| table.get_versioned(&key))),
                2 => {
                    let all = self.call("table.read", kind, Duration::ZERO, |_| table.read());
                    if let Some(all) = all {
                        let found = self.ask("table.iter", kind, || all.iter().count());
                        if found.is_some_and(|found| found > 1000) {
                            println!("violation {}: {found:?} entries", kind.name);
                        }
                    }
                }
                3 | 4 => drop(self.call("table.insert", kind, UNTIL_IT_ENDS, |_| table.insert(&key, &value))),
                5 => drop(
                    self.call("table.update", kind, UNTIL_IT_ENDS, |_| table.update(&key, |it| *it ^= value)),
                ),
                6 => drop(self.call("table.remove", kind, UNTIL_IT_ENDS, |_| table.remove(&key))),
                _ => drop(self.call("table.version", kind, Duration::ZERO, |_| table.version())),
            }
        }
        self.ask("drop-table", kind, || drop(table));
    }

    fn step<'a, D: Soil + ?Sized>(
        &mut self,
        ground: &'static Ground,
        region: &'a Region<D>,
        readings: &mut Vec<Reading<'a, D>>,
        writing: &mut Option<Writing<'a, D>>,
    ) {
        let (kind, patience) = (&ground.kind, self.briefly());
        let mut dice = self.dice.clone();
        match self.dice.below(20) {
            0..=4 => {
                let read = self.call("region.read", kind, patience, |_| region.read_timeout(patience));
                read.iter().for_each(|data| data.look());
                readings.extend(read);
                if readings.len() > MOST {
                    drop(readings.remove(0));
                }
            }
            5 => drop(self.call("region.try_read", kind, Duration::ZERO, |_| region.try_read())),
            6 if !ground.in_place => {
                self.call("region.get", kind, Duration::ZERO, |_| region.get().map(drop));
                self.call("region.read_for", kind, Duration::ZERO, |_| {
                    region.read_for(region.lease_max()).map(|data| data.look())
                });
            }
            7 if !ground.in_place => {
                let mut some = [0; 16];
                let at = dice.below(region.len() as u64 - 15) as usize;
                self.call("region.read_at", kind, Duration::ZERO, |_| region.read_at(at, &mut some));
            }
            8..=11 if writing.is_none() => {
                *writing = self.call("region.write", kind, patience, |_| region.write_timeout(patience));
            }
            8..=11 => {
                let edited = writing.take();
                self.call("commit", kind, Duration::ZERO, |_| {
                    edited.map_or(Ok(0), |mut edited| {
                        edited.change(&mut dice);
                        edited.commit()
                    })
                });
            }
            12 => {
                let edited = self.call("region.try_write", kind, Duration::ZERO, |_| region.try_write());
                if let Some(mut edited) = edited {
                    let length = region.len() as u64;
                    let from = dice.below(length);
                    let to = from + dice.below(length - from);
                    self.ask("range_mut", kind, || edited.range_mut(from as usize..to as usize).fill(7));
                    let version = edited.version();
                    self.call("commit_if", kind, Duration::ZERO, |_| edited.commit_if(version));
                }
            }
            13 if self.dice.below(4) == 0 => {
                self.call("region.update", kind, UNTIL_IT_ENDS, |_| {
                    region.update(|data| data.change(&mut dice))
                });
            }
            14 => {
                let since = self.call("region.version", kind, Duration::ZERO, |_| region.version());
                let since = since.unwrap_or(dice.below(100));
                self.call("wait_for_change", kind, patience, |_| {
                    region.wait_for_change_timeout(since, patience)
                });
            }
            15 => drop(self.call("region.stat", kind, Duration::ZERO, |_| region.stat())),
            16 => {
                self.call("repair", kind, patience, |_| {
                    region.repair_timeout(patience, |data| data.change(&mut dice))
                });
            }
            17 => {
                self.ask("is_expired", kind, || {
                    readings.iter().filter(|it| it.is_expired() || it.version() == 0).count()
                        + usize::from(writing.as_ref().is_some_and(Writing::is_expired))
                });
            }
            18 => drop(self.ask("let-go", kind, || readings.pop())),
            _ => {
                self.ask("drop-edited", kind, || drop(writing.take()));
            }
        }
    }

    /// Sees to it that the system's regions exist, and that none gets old.
    pub(super) fn keep_regions(&mut self) {
        for ground in ALL.iter().filter(|ground| !ground.kind.owned) {
            self.keep_one(&ground.kind, |domain| ground.create(domain));
        }
        // As long as there are names that nobody understands gc leaves alone what may belong to them.
        for file in std::fs::read_dir(self.domain.path()).into_iter().flatten().flatten() {
            let made = file.metadata().and_then(|facts| facts.created().or_else(|_| facts.modified()));
            let age = made.ok().and_then(|made| SystemTime::now().duration_since(made).ok());
            if file.file_name().to_string_lossy().ends_with("~data") && age.is_some_and(|age| age > OLD) {
                let _ = std::fs::remove_file(file.path());
            }
        }
    }
}

const _: () = assert!(OLD.as_nanos() > 10 * LIFETIME.as_nanos());
