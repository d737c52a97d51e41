//! The loss of power: what is on the disk then is, of each sector that was written since it was last synced, any version that it had since.
//!
//! A mailbox that syncs when it is asked to is used, and its files are looked at after each call. From what they were since the last sync disks are made up, sector by
//! sector. Each is opened, as after a restart: what was on the disk for sure is there, or was received before; nothing is there that was not sent, and nothing is torn. Then
//! it is used, and the power lost, once more: what was cut off the first time does not come back.
//!
//! With `TUBEPOST_TESTS_LONG` set (`.ci/full power`) there are a hundred thousand disks: of two thousand rounds, or, if it is set to `200..400` say, of those.
//!
//! What is lost in the middle of a call is for `stepkill power`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use tubepost::{Error, File, Fsync, Mailbox, Receiver, Sender, TryRecvError};

use crate::stage::{Dice, Place};

/// What a disk writes as a whole.
const SECTOR: usize = 512;
/// The first page of a file of records, which is on the disk before it has its name.
const HEAD: usize = 4096;

/// All files of a directory.
type Disk = BTreeMap<String, Vec<u8>>;

fn look(directory: &Path) -> Disk {
    let files = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry"));
    files
        .map(|file| (file.file_name().into_string().expect("ours"), fs::read(file.path()).expect("ours")))
        .collect()
}

/// What was on the disk in turn; records are synced since this version, all else (marks, hints, places) since the first one.
struct Past {
    versions: Vec<Disk>,
    synced: usize,
}

/// Where records begin in a file of them (docs/format.md); of any other file, its end.
fn records_at(name: &str, bytes: &[u8]) -> usize {
    if !name.ends_with(".log") {
        return usize::MAX;
    }
    let records = u64::from_le_bytes(bytes[0x30..0x38].try_into().expect("eight bytes")) as usize;
    HEAD + (records / 32 * 8).next_multiple_of(4096)
}

/// One of the disks that there may be when the power goes.
fn lost(past: &Past, dice: &mut Dice, directory: &Path) {
    fs::create_dir(directory).expect("fresh");
    let last = past.versions.last().expect("at least one");
    for (name, now) in last {
        let mut disk = now.clone();
        let records = records_at(name, now);
        let first =
            past.versions.iter().find_map(|version| version.get(name)).expect("it is in the last one");
        for at in (0..now.len()).step_by(SECTOR) {
            let sector = at..(at + SECTOR).min(now.len());
            let versions = &past.versions[if at >= records { past.synced } else { 0 }..];
            let of = |version: &Disk| match version.get(name).filter(|bytes| bytes.len() == now.len()) {
                Some(bytes) => bytes[sector.clone()].to_vec(),
                None if at < HEAD => first[sector.clone()].to_vec(),
                None => vec![0; sector.len()], // it was just made
            };
            let same = versions.iter().all(|version| of(version) == now[sector.clone()]);
            if !same {
                let chosen = of(&versions[dice.below(versions.len() as u64) as usize]);
                disk[sector].copy_from_slice(&chosen);
            }
        }
        fs::write(directory.join(name), disk).expect("ours");
    }
}

fn letter(id: u64, length: usize) -> Vec<u8> {
    let mut letter: Vec<u8> = (0..length.max(16)).map(|at| (id as usize * 31 + at * 7) as u8).collect();
    letter[..8].copy_from_slice(&id.to_le_bytes());
    letter[8..16].copy_from_slice(&(length as u64).to_le_bytes());
    letter
}

/// Which message it is, if it is whole.
fn id_of(bytes: &[u8]) -> Option<u64> {
    let word =
        |at: usize| bytes.get(at..at + 8).map(|word| u64::from_le_bytes(word.try_into().expect("eight")));
    let (id, length) = (word(0)?, word(8)?);
    (length < 1 << 20 && *bytes == letter(id, length as usize)[..]).then_some(id)
}

/// A mailbox in use.
struct Used<'a> {
    place: &'a Place,
    directory: &'a Path,
    out: Sender<[u8]>,
    inbox: Receiver<[u8]>,
    next: u64,
    sent: Vec<u64>,
    received: BTreeSet<u64>,
    past: Past,
}

impl<'a> Used<'a> {
    fn open(place: &'a Place, directory: &'a Path, next: u64) -> Used<'a> {
        for file in place.files() {
            fs::remove_file(place.path().join(file)).expect("ours");
        }
        let hour = Duration::from_secs(3600);
        let file = File { dir: Some(directory.into()), fsync: Some(Fsync::Every(hour)), ..File::default() };
        let options = Mailbox::<[u8]>::options().domain(place.domain()).strategy(file);
        options.create("box").expect("whatever is on the disk, it can be put in order");
        let out = Sender::<[u8]>::options().domain(place.domain()).open("box").expect("it exists");
        let inbox = Receiver::<[u8]>::options().domain(place.domain()).open("box").expect("it exists");
        let past = Past { versions: vec![look(directory)], synced: 0 };
        Used { place, directory, out, inbox, next, sent: Vec::new(), received: BTreeSet::new(), past }
    }

    fn send(&mut self, dice: &mut Dice) {
        let length = match dice.below(12) {
            0 => 200_000 + dice.below(100_000),
            1..=3 => dice.below(5000),
            _ => dice.below(300),
        };
        self.out.send(&letter(self.next, length as usize)).expect("room");
        self.sent.push(self.next);
        self.next += 1;
    }

    fn receive(&mut self) {
        match self.inbox.try_recv() {
            Ok(message) => assert!(self.received.insert(id_of(&message).expect("it is whole")), "once"),
            Err(TryRecvError::Empty) => {}
            Err(other) => panic!("{other:?}"),
        }
    }

    fn do_something(&mut self, dice: &mut Dice) {
        if dice.below(3) == 0 {
            self.receive()
        } else {
            self.send(dice)
        }
        self.past.versions.push(look(self.directory));
    }

    /// Some use, and what is on the disk for sure at one time in it.
    fn use_it(&mut self, dice: &mut Dice) -> Vec<u64> {
        (0..dice.below(8)).for_each(|_| self.do_something(dice));
        self.out.flush().expect("a disk");
        let sure = self.sent.clone();
        self.past.synced = self.past.versions.len();
        self.past.versions.push(look(self.directory));
        (0..1 + dice.below(8)).for_each(|_| self.do_something(dice));
        sure
    }

    fn past(&mut self) -> Past {
        Past { versions: std::mem::take(&mut self.past.versions), synced: self.past.synced }
    }

    /// All that there is, in order.
    fn all(&self) -> Vec<u64> {
        let mut all = Vec::new();
        loop {
            match self.inbox.try_recv() {
                Ok(message) => all.push(id_of(&message).expect("it is whole")),
                Err(TryRecvError::Empty) => return all,
                // What is sure is looked for by who asks.
                Err(TryRecvError::Failed(Error::DamagedMessages { .. })) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

fn is_in_order(ids: &[u64]) -> bool {
    ids.windows(2).all(|pair| pair[0] < pair[1])
}

#[test]
fn what_is_on_the_disk_for_sure_outlives_the_loss_of_power() {
    let long = std::env::var("TUBEPOST_TESTS_LONG").ok();
    let some = |text: &str| {
        let (from, to) = text.split_once("..")?;
        Some(from.parse::<u64>().ok()?..to.parse::<u64>().ok()?)
    };
    let (rounds, disks) = long.map_or((0..20, 10), |text| (some(&text).unwrap_or(0..2000), 50));
    let place = Place::new();
    let mut cut = 0;
    for round in rounds {
        let mut dice = Dice::new(round);
        let directory = Place::files_of(place.domain());
        let (sure, all, received, past) = {
            let mut used = Used::open(&place, &directory, 1);
            let sure = used.use_it(&mut dice);
            (sure, used.sent.clone(), used.received.clone(), used.past())
        };
        for disk in 0..disks {
            let what = || format!("round {round}, disk {disk}");
            let [after, again] = [(); 2].map(|()| Place::files_of(place.domain()));
            lost(&past, &mut dice, &after);
            let (there, sure_again, received_again, past_again) = {
                let mut used = Used::open(&place, &after, 1000);
                let there = used.all();
                assert!(is_in_order(&there), "{}: {there:?}", what());
                for id in &sure {
                    assert!(there.contains(id) || received.contains(id), "{}: {id} is lost", what());
                }
                let sure = used.use_it(&mut dice);
                (there, sure, used.received.clone(), used.past())
            };
            lost(&past_again, &mut dice, &again);
            let used = Used::open(&place, &again, 2000);
            let last = used.all();
            assert!(is_in_order(&last), "{}: {last:?}", what());
            for id in &sure_again {
                assert!(
                    last.contains(id) || received_again.contains(id),
                    "{}: {id} is lost the second time",
                    what()
                );
            }
            for id in last.iter().filter(|id| **id < 1000) {
                assert!(there.contains(id), "{}: {id} came back", what());
            }
            cut += u64::from(all.iter().any(|id| !there.contains(id) && !received.contains(id)));
            assert!(used.place.domain().remove("box").is_ok());
            fs::remove_dir_all(&after).expect("ours");
        }
        let _ = fs::remove_dir_all(&directory);
    }
    assert!(cut > 0, "no disk had less than was sent");
}
