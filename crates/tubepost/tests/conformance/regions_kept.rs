//! Regions: versions that are kept, what memory they take, when they are too many; and edits of parts, against a plain model.

use std::collections::BTreeMap;

use tubepost::{Domain, Error, Reading, Region};

use crate::regions::{open, options, start, whole};
use crate::stage::{Child, Cue, Dice, Place, Role, eventually};

pub const ROLES: &[Role] = &[("patcher", patcher)];

const MIB: usize = 1 << 20;
/// So many there can be, with the newest one.
const MOST: usize = 64;

/// Those who go on writing have their seats for long, and take no dead one's.
#[test]
fn what_a_killed_writer_edited_goes_back() {
    let place = Place::new();
    let region = Region::<[u8]>::options().domain(place.domain()).size(MIB as u64);
    let region = region.create("board").expect("a free name");
    let bytes = || region.stat().expect("it exists").region.expect("it is one").data_bytes;
    let write = || {
        for byte in 0..20 {
            region.set(&vec![byte; MIB]).expect("nobody lives who writes");
        }
    };
    write();
    let before = bytes();
    for round in 0..3 {
        let mut other = Child::start("patcher", &[&place.arg()]);
        other.expect("ready");
        assert_eq!(other.ask("hold"), "holds");
        other.kill();
        eventually(&format!("round {round}: it takes no more than {before} bytes"), || {
            write();
            bytes() < before + MIB as u64 / 2
        });
    }
}

/// Whoever dies while the system gives it memory leaves some of a version, of which nobody made the rest.
#[test]
fn what_a_writer_had_that_was_killed_while_it_took_memory_goes_back() {
    const SIZE: u64 = 64 << 20;
    const SOME: u64 = 4 << 20;
    let place = Place::new();
    let occupied =
        |region: &Region<[u8]>| region.stat().expect("it exists").region.expect("it is one").data_bytes;
    let killed_in_the_middle = || {
        let region = Region::<[u8]>::options().domain(place.domain()).size(SIZE).create("board");
        let region = region.expect("a free name");
        let mut other = Child::start("patcher", &[&place.arg()]);
        other.expect("ready");
        other.say("hold");
        while occupied(&region) < SIZE + SOME {
            assert!(!other.is_dead(), "it takes as much once more");
        }
        other.kill();
        if occupied(&region) < 2 * SIZE - SOME {
            return Some(region);
        }
        place.domain().remove("board").expect("it can be removed");
        None // it had all
    };
    let region = (0..100).find_map(|_| killed_in_the_middle()).expect("a kill comes in time");
    eventually("it takes no more than two versions", || {
        for number in 0..20 {
            let mut writing = region.write().expect("nobody lives who writes");
            writing.range_mut(..1)[0] = number;
            writing.commit().expect("nobody waits");
        }
        occupied(&region) < 2 * SIZE + SOME / 2
    });
}

#[test]
fn too_many_versions_are_told_with_who_keeps_them() {
    let place = Place::new();
    let region = options(place.domain()).create("board").expect("a free name");
    let writer = options(place.domain()).member("second").open("board").expect("it exists");
    writer.set(&[0; 8]).expect("it lives");
    for how in ["one lets go", "one is killed", "all are killed"] {
        let mut keepers = [start(&place, "left"), start(&place, "right")];
        let mut number = 0;
        for at in 0..MOST {
            let said = keepers[at % 2].ask("read");
            assert!(said.ends_with(&format!(" {number}")) || at == 0, "{said}");
            if at < MOST - 1 {
                number += 1;
                region.set(&[number; 8]).expect("there is a place");
            }
        }
        let version = region.version().expect("it lives");
        for writer in [&region, &writer] {
            match writer.set(&[7; 8]) {
                Err(error @ Error::TooManyVersions { .. }) => {
                    let text = error.to_string();
                    let Error::TooManyVersions { name, max, holders } = error else { unreachable!() };
                    assert_eq!((&*name, max, holders.len()), ("board", 64, 63), "{text}");
                    for (keeper, called) in keepers.iter().zip(["left", "right"]) {
                        assert!(
                            holders.iter().any(|it| it.pid == keeper.pid() && it.name == called),
                            "{text}"
                        );
                        assert!(text.contains(called) && text.contains(&keeper.pid().to_string()), "{text}");
                    }
                }
                other => panic!("{how}: {other:?}"),
            }
            assert!(matches!(writer.try_write(), Err(Error::TooManyVersions { .. })));
            assert!(matches!(writer.update(|_| ()), Err(Error::TooManyVersions { .. })));
        }
        assert_eq!((region.version(), region.get()), (Ok(version), Ok([number; 8])), "nothing changed");
        match how {
            "one lets go" => {
                // The newest one is let go of first, so that two have to go.
                assert_eq!(
                    (keepers[1].ask("let-go"), keepers[0].ask("let-go")),
                    ("idle".into(), "idle".into())
                );
            }
            "one is killed" => keepers[0].kill(),
            _ => keepers.iter_mut().for_each(Child::kill),
        }
        // Whoever it is that writes next: those who were refused are not in its way.
        assert_eq!(writer.set(&[0; 8]), Ok(version + 1), "{how}");
        assert_eq!(region.set(&[0; 8]), Ok(version + 2), "{how}");
    }
}

#[test]
fn memory_follows_what_is_kept() {
    let place = Place::new();
    let region = Region::<[u8]>::options().domain(place.domain()).size(MIB as u64).create("board");
    let region = region.expect("a free name");
    let bytes = || place.domain().stat("board").expect("it lives").bytes;
    let fixed = bytes() - MIB as u64;
    assert!(fixed < 256 << 10, "{fixed} bytes for nothing");
    let fixed = 256 << 10;
    let change = |number: usize| {
        let mut writing = region.write().expect("it lives");
        writing.range_mut(number * 4096 % MIB..number * 4096 % MIB + 1).fill(number as u8);
        writing.commit().expect("nobody waits")
    };
    for number in 0..20 {
        change(number);
    }
    assert!(bytes() <= 2 * MIB as u64 + fixed, "{} with none kept", bytes());
    let mut kept: Vec<Reading<'_, [u8]>> = Vec::new();
    for number in 0..10 {
        kept.push(region.read().expect("it lives"));
        change(number);
        let most = (2 + kept.len()) * MIB + fixed as usize;
        assert!(bytes() <= most as u64, "{} with {} kept", bytes(), kept.len());
    }
    // One that dies keeps nothing for long.
    let mut dies = Child::start("patcher", &[&place.arg()]);
    dies.expect("ready");
    dies.say("pin");
    dies.hear();
    change(1);
    dies.kill();
    kept.clear();
    let mut number = 0;
    eventually("the memory is given back", || {
        number += 1;
        change(number);
        bytes() <= 2 * MIB as u64 + fixed
    });
    assert!(number < 10_000, "{number} versions");
}

/// What edit `seed` changes: where, and to what.
fn edit(seed: u64, length: usize) -> Vec<(std::ops::Range<usize>, u8)> {
    let mut dice = Dice::new(seed);
    let number = 1 + dice.below(4) + if dice.below(50) == 0 { 60 } else { 0 };
    (0..number)
        .map(|_| {
            let longest = [1, 64, 5000, length as u64 / 3][dice.below(4) as usize];
            let start = dice.below(length as u64) as usize;
            (start..(start + dice.below(longest + 1) as usize).min(length), dice.roll() as u8)
        })
        .collect()
}

fn apply(bytes: &mut [u8], seed: u64) {
    edit(seed, bytes.len()).into_iter().for_each(|(range, byte)| bytes[range].fill(byte));
}

/// Makes edits, or pins a version; the argument is the domain.
fn patcher(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let region = Region::<[u8]>::options().domain(&domain).open("board").expect("it exists");
    let mut pinned = Vec::new();
    cue.say("ready");
    loop {
        let line = cue.hear();
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["hold"] => {
                std::mem::forget(region.write().expect("it lives"));
                cue.say("holds");
            }
            ["pin"] => {
                let guard = region.read().expect("it lives");
                cue.say(guard.version());
                pinned.push(guard);
            }
            ["edit", first, number] => {
                let [first, number] = [first, number].map(|it| it.parse::<u64>().expect("a number"));
                for seed in first..first + number {
                    let mut writing = region.write().expect("it lives");
                    match seed % 7 {
                        // As a whole: it is not known what is changed.
                        0 => apply(&mut writing, seed),
                        1 => {
                            apply(&mut writing, !seed);
                            drop(writing);
                            writing = region.write().expect("it lives");
                            edit(seed, writing.len())
                                .into_iter()
                                .for_each(|(range, byte)| writing.range_mut(range).fill(byte));
                        }
                        _ => edit(seed, writing.len())
                            .into_iter()
                            .for_each(|(range, byte)| writing.range_mut(range).fill(byte)),
                    }
                    let version = writing.commit().expect("nobody is late");
                    cue.say(format!("{version} {seed}"));
                }
                cue.say("done");
            }
            _ => panic!("a patcher does not know {line:?}"),
        }
    }
}

/// Random parts, changed by several processes, while others keep versions; each version is what a plain model says.
fn edits_of_parts(length: usize, keep: usize, edits: u64) {
    let place = Place::new();
    let region = Region::<[u8]>::options().domain(place.domain()).size(length as u64).create("board");
    let region = region.expect("a free name");
    let mut others: Vec<Child> = (0..3).map(|_| Child::start("patcher", &[&place.arg()])).collect();
    for (at, other) in others.iter_mut().enumerate() {
        other.expect("ready");
        other.say(format!("edit {} {edits}", at as u64 * 1_000_000));
    }
    // Kept while they edit: each is compared later on.
    let (mut kept, mut dice) = (Vec::new(), Dice::new(length as u64));
    let mut copies: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut seeds = BTreeMap::new();
    let mut going = others.len();
    while going > 0 {
        for other in &mut others {
            while let Some(line) = other.hear_now() {
                match line.split_once(' ') {
                    Some((version, seed)) => {
                        let [version, seed] = [version, seed].map(|it| it.parse::<u64>().expect("a number"));
                        assert_eq!(seeds.insert(version, seed), None, "version {version} is two");
                    }
                    None => going -= 1,
                }
            }
        }
        kept.push(region.read().expect("it lives"));
        if kept.len() > keep {
            let guard = kept.swap_remove(dice.below(kept.len() as u64) as usize);
            if copies.len() < 40 && dice.below(4) == 0 {
                copies.push((guard.version(), guard.to_vec()));
            }
        }
    }
    copies.extend(kept.drain(..).map(|guard| (guard.version(), guard.to_vec())));
    copies.push((region.version().expect("it lives"), region.get().expect("it lives")));
    copies.sort();
    assert_eq!(seeds.keys().copied().collect::<Vec<_>>(), (2..2 + 3 * edits).collect::<Vec<_>>());
    let mut model = vec![0; length];
    let mut done = 1;
    for (version, copy) in copies {
        // Some were copied twice.
        for (_, seed) in seeds.range(done + 1..version.max(done) + 1) {
            apply(&mut model, *seed);
        }
        done = version;
        let wrong = copy.iter().zip(&model).position(|(is, should)| is != should);
        assert_eq!(wrong, None, "version {version}: the first wrong byte");
    }
}

#[test]
fn edits_of_parts_of_a_large_region() {
    edits_of_parts(MIB, 0, 120);
}

#[test]
fn edits_of_parts_beside_kept_versions() {
    edits_of_parts(MIB, 5, 120);
    edits_of_parts(10_000, 20, 400);
}

#[test]
fn edits_of_parts_of_a_small_region() {
    edits_of_parts(100, 3, 1000);
}

/// A reader that keeps a version and goes on reading: each guard has its own.
#[test]
fn guards_of_one_handle_are_apart() {
    let place = Place::new();
    let region = options(place.domain()).create("board").expect("a free name");
    let second = open(&place);
    let guards: Vec<_> = (0..MOST as u64 - 1)
        .map(|number| {
            let guard = if number % 2 == 0 { region.read() } else { second.read() };
            region.set(&[number + 1; 8]).expect("there is a place");
            guard.expect("it lives")
        })
        .collect();
    for (number, guard) in (0..).zip(&guards) {
        assert_eq!((guard.version(), whole(guard)), (number + 1, number));
    }
}
