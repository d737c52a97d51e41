//! The loss of power in the middle of a call.
//!
//! An operation on messages in files is stepped through as in [`walk`](crate::walk); after each instruction and each system call that changed the files they are kept,
//! with what was brought to the disk until then: by `msync` a part of a file, by `fsync` a whole one, or the names. When the power goes at one of these moments
//! - each sector of a file is any version that it had since it was last synced,
//! - each name is there or not, or another file's, as it was at any moment since the names were last synced.
//!
//! Of such disks some are made up for each moment, and opened, as after a restart: what was on the disk for sure is there, in order; nothing is torn, and nothing comes that was not
//! sent. Then one message is sent, the power is lost once more, and what was cut off the first time does not come back.
//!
//! What there is before the operation is on the disk. Memory without a name is no file: if it was synced before it got one, it is there in full when that is.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use tubepost::{Domain, Fsync, Receiver, Sender, TryRecvError};

use crate::access::{Accesses, How};
use crate::campaign::{Totals, violated};
use crate::filed::log_of;
use crate::hostile::dice::Dice;
use crate::letters::{self, JUDGE, Number};
use crate::mail::options;
use crate::operations;
use crate::scene::{LONG_WATCH, Scene, Watchdog};
use crate::subject::Subject;
use crate::trace::{self, Stop, Tracee};
use crate::world::{BOX, Operation, World};

/// What a disk writes as a whole.
const SECTOR: usize = 512;
/// Bytes of a file of records before the marks.
const HEAD: usize = 4096;
/// What is sent after the first loss.
const LATE: Number = (JUDGE, 1000);

/// The files of a directory at one moment, by name: which file it is, and what is in it.
type Files = BTreeMap<String, (u64, Rc<Vec<u8>>)>;

/// What a system call brings to the disk.
#[derive(Clone, Debug)]
enum Synced {
    Names,
    /// Of this file a part.
    Part(u64, std::ops::Range<usize>),
}

#[derive(Debug)]
struct Past {
    log: PathBuf,
    versions: Vec<Files>,
    /// When the latest version was the one of this number.
    syncs: Vec<(usize, Synced)>,
    /// What was in files that had no name when they were synced.
    nameless: HashMap<u64, Vec<u8>>,
}

impl Past {
    fn begin(log: PathBuf) -> Past {
        let mut past =
            Past { log, versions: vec![Files::new()], syncs: Vec::new(), nameless: HashMap::new() };
        past.look();
        past.versions.remove(0);
        past.versions.extend(past.versions.is_empty().then(Files::new));
        past
    }

    /// Keeps the files if they changed.
    fn look(&mut self) {
        let before = self.versions.last().expect("at least one");
        let mut now = Files::new();
        for entry in fs::read_dir(&self.log).into_iter().flatten().flatten() {
            let (Ok(name), Ok(bytes)) = (entry.file_name().into_string(), fs::read(entry.path())) else {
                continue;
            };
            let Ok(inode) = entry.metadata().map(|facts| facts.ino()) else { continue };
            let same = before.get(&name).filter(|(other, known)| *other == inode && **known == bytes);
            let bytes = same.map_or_else(|| Rc::new(bytes), |(_, known)| Rc::clone(known));
            now.insert(name, (inode, bytes));
        }
        let same = now.len() == before.len()
            && now
                .iter()
                .zip(before)
                .all(|((one, (_, now)), (other, (_, then)))| one == other && Rc::ptr_eq(now, then));
        if !same {
            self.versions.push(now);
        }
    }

    /// What the system call does that a process stands before.
    fn synced_by(&mut self, tracee: &Tracee) -> Option<Synced> {
        let (registers, pid) = (tracee.registers(), tracee.pid());
        match registers.rax as i64 {
            libc::SYS_fsync | libc::SYS_fdatasync => {
                let own = PathBuf::from(format!("/proc/{pid}/fd/{}", registers.rdi));
                if fs::read_link(&own).is_ok_and(|path| path == self.log) {
                    return Some(Synced::Names);
                }
                let inode = fs::metadata(&own).ok()?.ino();
                self.nameless.insert(inode, fs::read(&own).ok()?);
                Some(Synced::Part(inode, 0..usize::MAX))
            }
            libc::SYS_msync => {
                let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
                let (inode, at) = maps.lines().find_map(|line| mapped_at(line, registers.rdi))?;
                Some(Synced::Part(inode, at..at + registers.rsi as usize))
            }
            _ => None,
        }
    }

    /// The first version since this part of a file, or the names, were synced last before another one.
    fn since(&self, at: usize, is_it: impl Fn(&Synced) -> bool) -> usize {
        let before = self.syncs.iter().take_while(|(version, _)| *version <= at);
        before.filter(|(_, what)| is_it(what)).last().map_or(0, |(version, _)| *version)
    }

    /// What was in a file that is called so then, and was made later.
    fn at(&self, version: usize, inode: u64) -> Option<&[u8]> {
        let files = self.versions[version].values();
        files.into_iter().find(|(other, _)| *other == inode).map(|(_, bytes)| &bytes[..])
    }

    /// One of the disks that there may be when the power goes at a moment.
    fn lose(&self, at: usize, dice: &mut Dice, directory: &Path) {
        fs::create_dir(directory).expect("fresh");
        let names = self.since(at, |what| matches!(what, Synced::Names));
        let all: Vec<&String> = self.versions[names..=at].iter().flat_map(BTreeMap::keys).collect();
        for name in std::collections::BTreeSet::from_iter(all) {
            let version = names + dice.below((at - names + 1) as u64) as usize;
            let Some((inode, _)) = self.versions[version].get(name) else { continue };
            // Its newest bytes, whatever it was called then.
            let Some(now) = (0..=at).rev().find_map(|version| self.at(version, *inode)) else { continue };
            fs::write(directory.join(name), self.sectors(at, *inode, now, dice)).expect("ours");
        }
    }

    fn sectors(&self, at: usize, inode: u64, now: &[u8], dice: &mut Dice) -> Vec<u8> {
        let mut disk = now.to_vec();
        let first = self.nameless.get(&inode);
        for begin in (0..now.len()).step_by(SECTOR) {
            let part = begin..(begin + SECTOR).min(now.len());
            let covers = |what: &Synced| match what {
                Synced::Part(other, range) => {
                    *other == inode && range.start <= part.start && part.end <= range.end
                }
                Synced::Names => false,
            };
            let since = self.since(at, covers);
            let of = |version: usize| match self.at(version, inode).or(first.map(|bytes| &bytes[..])) {
                Some(bytes) if bytes.len() >= part.end => &bytes[part.clone()],
                _ => &[0; SECTOR][..part.len()],
            };
            // Where nothing ever changed there is nothing to choose.
            if (since..=at).any(|version| of(version) != &now[part.clone()]) {
                disk[part.clone()].copy_from_slice(of(since + dice.below((at - since + 1) as u64) as usize));
            }
        }
        disk
    }
}

/// Which file is mapped at an address by this line, and how far into it that is.
fn mapped_at(line: &str, address: u64) -> Option<(u64, usize)> {
    let mut words = line.split_whitespace();
    let hex = |word: &str| u64::from_str_radix(word, 16).ok();
    let (from, to) = words.next()?.split_once('-')?;
    let (from, to, offset) = (hex(from)?, hex(to)?, hex(words.nth(1)?)?);
    let inode = words.nth(1)?.parse().ok()?;
    (from..to).contains(&address).then(|| (inode, (address - from + offset) as usize))
}

/// Steps a process from its first mark to the second one.
fn record(tracee: &mut Tracee, directory: &Path) -> Result<Past, String> {
    let mut past = Past::begin(log_of(directory));
    let mut accesses = Accesses::of(tracee, &directory.to_string_lossy());
    let mut calls: HashMap<u64, bool> = HashMap::new();
    loop {
        let registers = tracee.registers();
        let is_call = || tracee.peek(registers.rip).is_some_and(|word| word & 0xffff == 0x050f);
        let call = *calls.entry(registers.rip).or_insert_with(is_call);
        let writes = accesses.any(tracee, &registers).is_some_and(|access| access.how == How::Write);
        let version = past.versions.len() - 1;
        let synced = if call { past.synced_by(tracee) } else { None };
        match tracee.step() {
            Stop::Trap => {}
            Stop::Mark => break,
            other => return Err(format!("{other:?} at {:#x}", registers.rip)),
        }
        if call || writes {
            past.look();
        }
        if let Some(synced) = synced.filter(|_| tracee.registers().rax == 0) {
            past.syncs.push((version, synced));
        }
    }
    Ok(past)
}

/// What was opened, and what was found there.
type Opened = (Domain, Receiver<[u8]>, Past, Vec<Number>);

/// What comes from a disk, in order; and the files when they had been put in order, which syncs them.
fn open(world: &World, disk: &Path) -> Result<Opened, String> {
    let domain = Domain::open(disk).expect("a fresh one");
    options::<[u8]>(&domain, world).create(BOX).map_err(|error| format!("it can't be opened: {error}"))?;
    let ordered = Past::begin(log_of(disk));
    let inbox = Receiver::<[u8]>::options().domain(&domain).open(BOX).map_err(|error| error.to_string())?;
    let mut all = Vec::new();
    loop {
        match inbox.try_recv() {
            Ok(letter) => all.push(letters::read(&letter)?),
            Err(TryRecvError::Empty) => return Ok((domain, inbox, ordered, all)),
            Err(error) => return Err(format!("a receive is refused: {error}")),
        }
    }
}

fn in_order(all: &[Number]) -> bool {
    // Those of the file before were received, and may come again; they have high numbers.
    let own = |number: &&Number| number.0 == JUDGE && !(100..LATE.1).contains(&number.1);
    let once = all.iter().all(|number| all.iter().filter(|other| *other == number).count() == 1);
    once && all.iter().filter(own).is_sorted()
}

/// Where a file of records has them.
fn records_at(bytes: &[u8]) -> usize {
    let records = bytes.get(0x30..0x38).map_or(0, |word| u64::from_le_bytes(word.try_into().expect("eight")));
    HEAD + (records as usize / 32 * 8).next_multiple_of(4096)
}

/// A disk after a message was sent for sure, of which nothing but records was synced.
fn lose_again(before: &Past, log: &Path, dice: &mut Dice, directory: &Path) {
    fs::create_dir(directory).expect("fresh");
    for (name, (_, now)) in &Past::begin(log.into()).versions[0] {
        let was = before.versions[0].get(name).map_or(&[][..], |(_, bytes)| &bytes[..]);
        let mut disk = now.to_vec();
        let end = if name.ends_with(".log") { records_at(now) } else { 0 };
        for begin in (HEAD..end.min(now.len())).step_by(SECTOR) {
            let part = begin..begin + SECTOR;
            if was.len() == now.len() && dice.below(2) == 0 {
                disk[part.clone()].copy_from_slice(&was[part]);
            }
        }
        fs::write(directory.join(name), disk).expect("ours");
    }
}

/// Opens a disk, uses it, loses the power once more.
fn try_one(
    operation: &Operation,
    past: &Past,
    at: usize,
    sure: &[Number],
    dice: &mut Dice,
    path: &Path,
) -> Result<(), String> {
    let world = &operation.world;
    past.lose(at, dice, &log_of(path));
    let (domain, inbox, ordered, all) = open(world, path)?;
    let lost: Vec<_> = sure.iter().filter(|number| !all.contains(number)).collect();
    if !lost.is_empty() || !in_order(&all) {
        return Err(format!("lost, or out of order: {lost:?} of {sure:?}; there is {all:?}"));
    }
    let out = Sender::<[u8]>::options().domain(&domain).open(BOX).map_err(|error| error.to_string())?;
    out.send(&letters::write(LATE, 24)).map_err(|error| error.to_string())?;
    out.flush().map_err(|error| error.to_string())?;
    let again = path.with_extension("again");
    lose_again(&ordered, &log_of(path), dice, &log_of(&again));
    drop((out, inbox));
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let _ = fs::remove_file(entry.path());
    }
    let opened = open(world, &again);
    let _ = fs::remove_dir_all(&again);
    let _ = fs::remove_dir_all(log_of(&again));
    let (.., more) = opened.map_err(|why| format!("{why}, the second time"))?;
    let new: Vec<_> = more.iter().filter(|it| **it != LATE && !all.contains(it)).collect();
    if new.is_empty() && more.contains(&LATE) && in_order(&more) {
        return Ok(());
    }
    Err(format!("after {all:?} was there, and {LATE:?} was sent for sure, there is {more:?}"))
}

/// What is there whenever the power goes, and what more when the operation is done.
fn for_sure(operation: &Operation) -> (Vec<Number>, Vec<Number>) {
    let kept = operation.effects.removes..operation.world.waiting;
    let adds = (0..operation.effects.adds).map(|number| (crate::ledger::FIRST_TAG, number));
    (kept.map(|number| (JUDGE, number)).collect(), adds.collect())
}

/// All operations that bring something to the disk, `disks` for each moment of them. Gives how many there were.
pub fn run(only: Option<&str>, disks: u32, totals: &Totals) -> u64 {
    trace::stay_on(0);
    let (dog, mut number) = (Watchdog::start(), 0);
    let synced = |it: &Operation| it.world.filed.is_some_and(|how| how.fsync != Fsync::Never);
    for operation in operations::all().into_iter().filter(synced) {
        if only.is_some_and(|only| !operation.name.contains(only)) {
            continue;
        }
        let begin = Instant::now();
        totals.operations.fetch_add(1, Relaxed);
        let subject = Subject { operation, first: None };
        let recorded = Scene::new(&subject, 0, &dog).and_then(|mut scene| {
            let mut tracee = scene.walker()?;
            dog.watch(tracee.pid(), LONG_WATCH, || record(&mut tracee, &scene.directory))?
        });
        let past = match recorded {
            Ok(past) => past,
            Err(why) => {
                violated(totals, operation.name, "recording", &why);
                continue;
            }
        };
        let (mut sure, more) = for_sure(&operation);
        let last = past.versions.len() - 1;
        let before = number;
        for (at, done) in (0..=last).map(|at| (at, false)).chain([(last, true)]) {
            if done {
                sure.extend(&more);
            }
            for disk in 0..disks {
                let path =
                    PathBuf::from(format!("/dev/shm/stepkill-{:08}-power-{number}", std::process::id()));
                number += 1;
                let mut dice = Dice::new(u64::from(disk) << 32 | at as u64);
                let tried = try_one(&operation, &past, at, &sure, &mut dice, &path);
                let _ = fs::remove_dir_all(&path);
                let _ = fs::remove_dir_all(log_of(&path));
                if let Err(why) = tried {
                    violated(totals, operation.name, &format!("version {at} of {last}, disk {disk}"), &why);
                }
            }
        }
        totals.points.fetch_add(last as u64 + 1, Relaxed);
        let (name, syncs) = (operation.name, past.syncs.len());
        let seconds = begin.elapsed().as_secs_f64();
        eprintln!(
            "{name:<36} {last:>4} versions {syncs:>3} syncs {:>6} disks {seconds:>6.1} s",
            number - before
        );
    }
    number
}
