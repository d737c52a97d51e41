//! Regions of which there is one copy, where one who was fenced may still write to it: who repairs waits for a lease, then moves the data away, and all
//! move over; what the other one writes nobody sees.

use std::time::{Duration, Instant};

use tubepost::{Domain, Error, Region, RegionOptions};

use crate::in_place::{NAME, begin, is_poisoned, only, start};
use crate::stage::{
    Child, Cue, PATIENCE, Place, Role, Walk, go_on_from_there, kill_there, mark, skip, thread_id, walk_calls,
};

pub const ROLES: &[Role] = &[("in-place mover", mover)];

const LEASE: Duration = Duration::from_millis(50);
const SIZE: usize = 20_000;

fn options(place: &Place) -> RegionOptions<[u8]> {
    Region::<[u8]>::options().domain(place.domain()).size(SIZE as u64).lease_max(LEASE).in_place()
}

fn open(place: &Place) -> Region<[u8]> {
    Region::<[u8]>::options().domain(place.domain()).open(NAME).expect("it exists")
}

/// What stands in the domain, without ids.
fn files(place: &Place) -> Vec<String> {
    let mut files: Vec<String> =
        place.files().iter().map(|file| file.get(34..).unwrap_or(file).to_owned()).collect();
    files.sort();
    files
}

#[test]
fn a_stopped_writer_is_left_with_what_it_has() {
    let place = Place::new();
    let region = options(&place).create(NAME).expect("a fresh name");
    let (other, to_read) = (open(&place), Region::<[u8]>::options().domain(place.domain()));
    let to_read = to_read.open_to_read(NAME).expect("it exists");
    assert_eq!(files(&place), ["data", "data~1", NAME]);
    for round in 0..5 {
        let version = region.set(&[round; SIZE]).expect("it is sound");
        assert_eq!(to_read.read_at(SIZE - 1, &mut [0]).expect("it is sound"), version);
        let (mut child, mut guard) = (start(&place), None);
        let begun = Instant::now();
        if round < 3 {
            begin(&mut child);
            child.stop();
        } else {
            let mut writing = other.write().expect("nobody writes");
            writing[..SIZE / 2].fill(1);
            guard = Some(writing);
        }
        assert!(is_poisoned(region.read()));
        let repaired = region.repair(|data| {
            assert_eq!((only(&data[..SIZE / 2]), only(&data[SIZE / 2..])), (1, round), "as it was left");
            data.fill(9);
        });
        assert!(begun.elapsed() >= LEASE * 2, "it had its lease, and another to let go");
        assert_eq!(repaired.expect("it was moved"), version + 1);
        // All move over: who writes, who reads, who comes.
        assert_eq!(
            to_read.read().map(|data| (only(&data), data.version())).expect("sound"),
            (9, version + 1)
        );
        assert_eq!(region.update(|data| data.fill(8)).expect("nobody waits"), version + 2);
        assert_eq!(only(&open(&place).read().expect("it is sound")), 8);
        // What the other one writes, and how it ends, changes nothing.
        match guard {
            Some(mut guard) => {
                guard.fill(77);
                assert_eq!(only(&region.read().expect("it is sound")), 8);
                assert!(matches!(guard.commit(), Err(Error::LeaseExpired { .. })));
            }
            None => {
                child.go_on();
                assert_eq!(child.ask("fill 77"), "edited");
                assert_eq!(only(&region.read().expect("it is sound")), 8);
                assert_eq!(child.ask("commit"), "LeaseExpired");
                child.say("read");
                child.hear();
                child.expect(&format!("({}, 8)", version + 2));
            }
        }
        let told = region.stat().expect("it exists").region.expect("it is a region");
        assert_eq!((told.version, told.poisoned, told.writer), (version + 2, false, None));
        assert_eq!(files(&place).len(), 3, "the old home has no name: {:?}", files(&place));
    }
    assert!(!files(&place).contains(&"data~1".to_owned()));
    drop((region, other, to_read));
    assert_eq!(open(&place).read().map(|data| only(&data)).expect("it stays"), 8);
    place.domain().remove(NAME).expect("it exists");
    assert_eq!(place.files(), [""; 0]);
}

/// The new home has the same mode, and as much memory as the old one.
#[test]
fn a_home_is_as_the_one_before() {
    use std::os::unix::fs::MetadataExt;
    let place = Place::new();
    let region = options(&place).size(8 << 20).mode(0o640).own(NAME).expect("a fresh name");
    let home = || {
        let mut files = place.files().into_iter().filter(|file| file.contains("~data~"));
        let home = files.next().expect("a home");
        assert_eq!(files.next(), None);
        let about = place.file(&home).metadata().expect("it is there");
        (home, (about.mode(), about.size(), about.blocks(), about.gid()))
    };
    let (first, about) = home();
    let bytes = region.stat().expect("it lives").bytes;
    let mut guard = region.write().expect("nobody writes");
    guard[0] = 1;
    let other = open(&place);
    assert!(is_poisoned(other.read()));
    assert_eq!(other.repair(|_| {}).expect("it is moved"), 2);
    let (second, as_before) = home();
    assert!(first != second && about == as_before, "{about:?} {as_before:?}");
    let now = other.stat().expect("it lives").bytes;
    assert!(now.abs_diff(bytes) < 1 << 20, "{now} bytes, and not about {bytes}");
    assert_eq!(only(&other.get().expect("it is sound")), 0, "its guard is a copy, for others may read it");
    drop(guard);
    drop((other, region));
    assert_eq!(place.files(), [""; 0], "it ended with its owner");
}

/// Repairs between two marks; the argument is the domain.
fn mover(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let region = Region::<[u8]>::options().domain(&domain).open(NAME).expect("it exists");
    cue.say(thread_id());
    assert_eq!(cue.hear(), "go");
    mark();
    let repaired = region.repair(|data| data.fill(7));
    mark();
    cue.say("through");
    match repaired {
        Ok(_) | Err(Error::LeaseExpired { .. }) => cue.say("done"),
        Err(error) => panic!("{error}"),
    }
    cue.hear();
}

/// Before and behind each system call of one who moves the data it is killed, or stands still until another has repaired it.
#[test]
fn who_moves_it_is_killed_or_stands_still_anywhere() {
    for stands in [false, true] {
        let mut steps = 0;
        loop {
            let place = Place::new();
            let region = options(&place).lease_max(LEASE / 10).create(NAME).expect("a fresh name");
            let other = open(&place);
            let mut guard = other.write().expect("nobody writes");
            guard[1] = 1;
            assert!(is_poisoned(region.read()));
            let mut child = Child::start("in-place mover", &[&place.arg()]);
            let thread = child.hear().parse().expect("a thread");
            let walk = match walk_calls(&mut child, thread, steps) {
                Ok(walk) => walk,
                Err(why) => return skip("who_moves_it_is_killed_or_stands_still_anywhere", &why),
            };
            let through = matches!(walk, Walk::Through(_));
            if !through && !stands {
                kill_there(&mut child, thread);
            }
            guard[2] = 2;
            let repaired =
                region.repair_timeout(PATIENCE, |data| data.fill(8)).expect("nobody is in the way");
            let found = region.read().map(|data| (data.version(), only(&data))).expect("it is sound");
            assert!(found == (repaired, 7) || found == (repaired, 8), "after {steps} steps: {found:?}");
            assert_eq!(region.set(&[9; SIZE]).expect("nobody is in the way"), repaired + 1);
            guard.fill(77);
            if through || stands {
                if !through {
                    go_on_from_there(thread);
                }
                child.expect("through");
                child.expect("done");
            }
            assert_eq!(only(&open(&place).get().expect("it is sound")), 9, "after {steps} steps");
            drop(guard);
            drop(child);
            region.update(|data| data.fill(10)).expect("nobody is in the way");
            assert_eq!(only(&other.read().expect("it is sound")), 10);
            place.domain().gc().expect("our own domain");
            assert_eq!(files(&place).len(), 3, "after {steps} steps: {:?}", files(&place));
            drop((region, other));
            place.domain().remove(NAME).expect("it exists");
            assert_eq!(place.files(), [""; 0], "after {steps} steps");
            if through {
                println!("{steps} steps");
                break;
            }
            steps += 1;
        }
    }
}
