//! Regions of which there is one copy: readers have whole versions, nobody holds up others for longer than the lease,
//! and who leaves the data half edited leaves it poisoned until it is repaired.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tubepost::{Error, Region, RegionOptions};

use crate::cast::set_waiting;
use crate::stage::{Child, Cue, Dice, PATIENCE, Place, Role, eventually, spin_for, thread_id};

pub const ROLES: &[Role] =
    &[("in-place editor", editor), ("in-place copier", copier), ("in-place rewriter", rewriter)];

pub const NAME: &str = "map";
const LEASE: Duration = Duration::from_millis(100);
const SIZE: usize = 20_000;

fn options(place: &Place) -> RegionOptions<[u8]> {
    Region::<[u8]>::options().domain(place.domain()).size(SIZE as u64).lease_max(LEASE).in_place()
}

fn word<T: std::fmt::Debug>(done: Result<T, Error>) -> String {
    match done {
        Ok(done) => format!("{done:?}"),
        Err(error) => format!("{error:?}").split([' ', '(', '{']).next().unwrap_or_default().to_owned(),
    }
}

fn open(cue: &Cue) -> Region<[u8]> {
    let domain = tubepost::Domain::open(cue.arg(0)).expect("the test's domain");
    Region::<[u8]>::options().domain(&domain).open(NAME).expect("it exists")
}

/// The one byte that all of it has.
pub fn only(data: &[u8]) -> u8 {
    assert!(data.iter().all(|byte| *byte == data[0]), "torn");
    data[0]
}

/// Writes, step by step, and reads, as it is told.
fn editor(cue: &mut Cue) {
    let region = open(cue);
    let mut writing = None;
    cue.say("ready");
    loop {
        let line = cue.hear();
        let (order, value) = line.split_once(' ').unwrap_or((&line, "0"));
        let value: u8 = value.parse().expect("a byte");
        match order {
            "write" => {
                cue.say(thread_id());
                writing = Some(region.write().expect("its turn comes"));
                cue.say("writes");
            }
            "edit" => {
                let writing = writing.as_mut().expect("it writes");
                writing[..SIZE / 2].fill(value);
                cue.say("edited");
            }
            "try" => {
                let patience = LEASE / 4;
                cue.say(word(region.write_timeout(patience).and_then(tubepost::Writing::commit)));
            }
            "fill" => {
                writing.as_mut().expect("it writes").fill(value);
                cue.say("edited");
            }
            "commit" => cue.say(word(writing.take().expect("it writes").commit())),
            "drop" => {
                writing = None;
                cue.say("dropped");
            }
            "read" => {
                cue.say(thread_id());
                cue.say(word(region.read().map(|data| (data.version(), only(&data)))));
            }
            "repair" => {
                cue.say(thread_id());
                cue.say(word(region.repair(|data| data.fill(value))));
            }
            other => panic!("{other}?"),
        }
    }
}

pub fn start(place: &Place) -> Child {
    let mut child = Child::start("in-place editor", &[&place.arg()]);
    child.expect("ready");
    child
}

/// Has it edit half of the data.
pub fn begin(child: &mut Child) {
    child.say("write");
    child.hear();
    child.expect("writes");
    assert_eq!(child.ask("edit 1"), "edited");
}

pub fn is_poisoned<T>(done: Result<T, Error>) -> bool {
    matches!(done, Err(Error::Poisoned { name }) if name == NAME)
}

#[test]
fn it_is_read_and_written_like_any_other() {
    let place = Place::new();
    let region = options(&place).own(NAME).expect("a fresh name");
    assert!(region.is_in_place());
    let other = Region::<[u8]>::options().domain(place.domain()).open(NAME).expect("it need not say so");
    assert!(other.is_in_place());
    let before = region.read().expect("nobody writes");
    assert_eq!(other.set(&[7; SIZE]).expect("nobody writes"), 2);
    let mut writing = other.write().expect("nobody writes");
    writing.range_mut(SIZE - 3..).fill(8);
    assert!(matches!(region.try_read(), Err(Error::WouldWait)));
    assert!(matches!(region.try_write(), Err(Error::WouldWait)));
    assert!(matches!(region.read_timeout(LEASE / 10), Err(Error::TimedOut)));
    assert_eq!(region.version().expect("not poisoned"), 2, "while somebody edits");
    assert_eq!((writing.version(), writing.commit().expect("nobody waited long")), (2, 3));
    assert_eq!((only(&before), before.version()), (0, 1), "a copy of one's own");
    let now = region.read_for(LEASE).expect("nobody writes");
    assert_eq!((now[0], now[SIZE - 3], now.version()), (7, 8, 3));
    assert!(!now.is_expired());
    let mut some = [0; 4];
    assert_eq!(region.read_at(SIZE - 4, &mut some).expect("nobody writes"), 3);
    assert_eq!(some, [7, 8, 8, 8]);
    assert_eq!(region.get().expect("nobody writes"), now[..]);
    assert!(matches!(region.read_for(LEASE * 2), Err(Error::BadOption { .. })));
    assert!(matches!(region.write().expect("nobody").commit_if(2), Err(Error::Changed { found: 3, .. })));
    assert_eq!(region.repair(|_| panic!("it is sound")).expect("nothing to do"), 3);
    assert_eq!(region.wait_for_change(2).expect("it has changed"), 3);
}

#[test]
fn a_plain_type_too() {
    let place = Place::new();
    let counter = Region::<[u64; 4]>::options().domain(place.domain()).in_place().own(NAME).expect("fresh");
    assert_eq!(counter.update(|counter| counter[3] += 5).expect("nobody writes"), 2);
    assert_eq!(counter.get().expect("nobody writes"), [0, 0, 0, 5]);
    counter.write().map(|mut half| half[0] = 1).expect("nobody writes");
    assert!(is_poisoned(counter.get()) && is_poisoned(counter.set(&[0; 4])));
    assert_eq!(counter.repair(|counter| assert_eq!(counter[0], 1)).expect("nobody edits"), 3);
    assert_eq!(counter.get().expect("repaired"), [1, 0, 0, 5]);
}

#[test]
fn what_is_dropped_half_edited_is_poisoned_and_what_was_only_looked_at_is_not() {
    let place = Place::new();
    let region = options(&place).own(NAME).expect("a fresh name");
    let writing = region.write().expect("nobody writes");
    assert_eq!(only(&writing), 0);
    drop(writing);
    assert_eq!(only(&region.read().expect("nothing was edited")), 0);
    let mut writing = region.write().expect("nobody writes");
    writing[1] = 1;
    drop(writing);
    assert!(is_poisoned(region.read()) && is_poisoned(region.write()) && is_poisoned(region.version()));
    let told = region.stat().expect("it exists").region.expect("it is a region");
    assert_eq!((told.in_place, told.poisoned, told.version, told.set_aside), (true, true, 1, 0));
    assert!(is_poisoned(region.wait_for_change_timeout(1, PATIENCE)));
    // Who gives up repairing leaves it as it was.
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| region.repair(|_| panic!())));
    assert!(panicked.is_err() && is_poisoned(region.try_read()));
    assert_eq!(region.repair(|data| data[1] = 0).expect("nobody edits"), 2);
    assert_eq!(region.read().map(|data| (only(&data), data.version())).expect("repaired"), (0, 2));
}

#[test]
fn a_writer_that_is_killed_leaves_it_poisoned_until_it_is_repaired() {
    let place = Place::new();
    let region = options(&place).lease_max(PATIENCE).own(NAME).expect("a fresh name");
    let to_read = Region::<[u8]>::options().domain(place.domain()).open_to_read(NAME).expect("it exists");
    let mut child = start(&place);
    begin(&mut child);
    child.kill();
    assert!(is_poisoned(to_read.read()), "by one who can't let go in its place");
    assert!(is_poisoned(region.read()) && is_poisoned(region.write()) && is_poisoned(to_read.version()));
    let left = |data: &mut [u8]| {
        assert_eq!((only(&data[..SIZE / 2]), only(&data[SIZE / 2..])), (1, 0), "as it was left");
        data.fill(9);
    };
    assert_eq!(region.repair(left).expect("the writer is dead"), 2);
    assert_eq!(to_read.read().map(|data| (only(&data), data.version())).expect("repaired"), (9, 2));
}

#[test]
fn a_writer_that_is_killed_before_it_holds_changes_nothing() {
    let place = Place::new();
    let region = options(&place).lease_max(PATIENCE).own(NAME).expect("a fresh name");
    let to_read = Region::<[u8]>::options().domain(place.domain()).open_to_read(NAME).expect("it exists");
    let mut child = start(&place);
    let writing = region.write().expect("nobody writes");
    set_waiting(&mut child, "write");
    child.kill();
    drop(writing);
    assert_eq!(to_read.read().map(|data| only(&data)).expect("nobody lives who waits"), 0);
    assert_eq!(region.read().map(|data| only(&data)).expect("nobody lives who waits"), 0);
    assert_eq!(region.set(&[1; SIZE]).expect("nobody lives who waits"), 2);
}

#[test]
fn a_stopped_writer_is_fenced_and_repairing_waits_until_it_has_let_go() {
    const LONG: Duration = Duration::from_secs(3);
    let place = Place::new();
    let region = options(&place).lease_max(LONG).own(NAME).expect("a fresh name");
    let mut child = start(&place);
    begin(&mut child);
    child.stop();
    let start = Instant::now();
    assert!(is_poisoned(region.read()));
    assert!(start.elapsed() >= LONG, "a lease is not shorter than promised");
    let repaired = region.repair_timeout(LEASE, |_| panic!("it can still write there"));
    assert!(matches!(repaired, Err(Error::TimedOut)));
    std::thread::scope(|scope| {
        let repaired = scope.spawn(|| {
            region.repair(|data| {
                assert_eq!(only(data), 3, "all that it scribbled was there before");
                data.fill(9);
            })
        });
        child.go_on();
        assert_eq!(child.ask("fill 3"), "edited");
        assert!(is_poisoned(region.try_read()));
        assert!(!repaired.is_finished());
        assert_eq!(child.ask("commit"), "LeaseExpired");
        assert_eq!(repaired.join().expect("no panic").expect("it has let go"), 2);
    });
    assert_eq!(region.read().map(|data| only(&data)).expect("repaired"), 9);
}

#[test]
fn repairing_waits_until_a_stopped_writer_is_dead() {
    let place = Place::new();
    let region = options(&place).own(NAME).expect("a fresh name");
    let (mut child, mut other) = (start(&place), start(&place));
    begin(&mut child);
    child.stop();
    assert!(is_poisoned(region.write()));
    set_waiting(&mut other, "repair 5");
    child.kill();
    other.expect("2");
    assert_eq!(region.read().map(|data| only(&data)).expect("repaired"), 5);
}

#[test]
fn who_may_only_read_is_told_that_a_late_writer_takes_too_long() {
    let place = Place::new();
    let region = options(&place).own(NAME).expect("a fresh name");
    let to_read = Region::<[u8]>::options().domain(place.domain()).open_to_read(NAME).expect("it exists");
    let mut writing = region.write().expect("nobody writes");
    let start = Instant::now();
    assert!(matches!(to_read.read(), Err(Error::TimedOut)));
    assert!(start.elapsed() >= LEASE);
    writing.fill(1);
    assert_eq!(writing.commit().expect("nobody took it"), 2);
    assert_eq!(only(&to_read.read().expect("sound")), 1);
    assert!(matches!(to_read.write(), Err(Error::Denied { .. })));
    assert!(matches!(to_read.repair(|_| ()), Err(Error::Denied { .. })));
}

#[test]
fn a_writer_that_waits_comes_before_later_readers() {
    let place = Place::new();
    let region = options(&place).lease_max(PATIENCE).own(NAME).expect("a fresh name");
    let (mut writer, mut reader) = (start(&place), start(&place));
    for round in 0..10 {
        let mut writing = region.write().expect("nobody writes");
        set_waiting(&mut writer, "write");
        set_waiting(&mut reader, "read");
        writing.fill(1);
        let version = writing.commit().expect("nobody was kept for long");
        writer.expect("writes");
        assert!(matches!(region.try_read(), Err(Error::WouldWait)));
        assert!(reader.hear_now().is_none(), "it does not read what was before");
        assert_eq!(writer.ask(format!("fill {}", 10 + round)), "edited");
        assert_eq!(writer.ask("commit"), (version + 1).to_string());
        reader.expect(&format!("({}, {})", version + 1, 10 + round));
    }
}

/// Copies again and again, until a writer does not wait any more, and then once more.
fn copier(cue: &mut Cue) {
    let region = open(cue);
    cue.say("ready");
    loop {
        match region.read_for(LEASE) {
            Ok(data) => assert_eq!(data[0], data[data.len() - 1]),
            Err(Error::LeaseExpired { .. }) => break cue.say("expired"),
            Err(error) => panic!("{error}"),
        }
    }
    let data = region.read().expect("the writer is done");
    cue.say(format!("{} {}", data[0], data[data.len() - 1]));
}

/// One that stands still while it copies, and since when somebody knows, or later.
fn stopped_while_it_copies(place: &Place, region: &Region<[u8]>) -> (Child, Instant) {
    let mut child = Child::start("in-place copier", &[&place.arg()]);
    child.expect("ready");
    let reads = || matches!(region.try_write(), Err(Error::WouldWait));
    let mut start = Instant::now();
    eventually("it is stopped while it copies", || {
        start = Instant::now();
        if !reads() {
            return false;
        }
        child.stop();
        let is = reads();
        if !is {
            child.go_on();
        }
        is
    });
    (child, start)
}

/// Each of those who come waits for less than the lease, and comes once.
#[test]
fn a_stopped_reader_is_fenced_by_those_who_wait_for_less() {
    let place = Place::new();
    let region = options(&place).size(32 << 20).own(NAME).expect("a fresh name");
    let (_child, start) = stopped_while_it_copies(&place, &region);
    let mut came = 0;
    loop {
        let mut other = Child::start("in-place editor", &[&place.arg()]);
        other.expect("ready");
        came += 1;
        match other.ask("try") {
            said if said == "TimedOut" => assert!(came < 40, "they wait in vain"),
            said => break assert_eq!(said, "2"),
        }
    }
    assert!(start.elapsed() >= LEASE, "a lease is not shorter than promised");
}

#[test]
fn a_stopped_reader_is_fenced_and_its_copy_is_worthless() {
    let place = Place::new();
    let region = options(&place).size(32 << 20).own(NAME).expect("a fresh name");
    let (mut child, start) = stopped_while_it_copies(&place, &region);
    let mut writing = region.write().expect("it is fenced");
    assert!(start.elapsed() >= LEASE, "a lease is not shorter than promised");
    writing.fill(4);
    assert_eq!(writing.commit().expect("nobody waits"), 2);
    child.go_on();
    child.expect("expired");
    child.expect("4 4");
    child.finish();
}

#[test]
fn large_data_is_there_once() {
    const LARGE: u64 = 256 << 20;
    let place = Place::new();
    let region = options(&place).size(LARGE).own(NAME).expect("memory enough");
    let bytes = || place.domain().stat(NAME).expect("it exists").bytes;
    let at_first = bytes();
    assert!((LARGE..LARGE + (1 << 20)).contains(&at_first), "{at_first}");
    let mut writing = region.write().expect("nobody writes");
    writing.range_mut((200 << 20)..(201 << 20)).fill(3);
    writing.commit().expect("nobody waits");
    let mut some = [0; 4096];
    for round in 3..20 {
        assert_eq!(region.update(|data| data[300] = 1).expect("nobody waits"), round);
        assert_eq!(region.read_at(200 << 20, &mut some).expect("nobody writes"), round);
        assert_eq!(only(&some), 3);
    }
    assert!(bytes() <= at_first + (64 << 10), "{} of {at_first}", bytes());
}

/// Fills it again and again, and repairs it if need be.
fn rewriter(cue: &mut Cue) {
    let region = open(cue);
    cue.say("ready");
    for stamp in (0..=255).cycle() {
        match region.update(|data| data.fill(stamp)) {
            Ok(_) | Err(Error::LeaseExpired { .. }) => {}
            Err(Error::Poisoned { .. }) => _ = region.repair(|data| data.fill(stamp)),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn writers_are_stopped_and_killed_at_random_moments_and_nothing_is_torn() {
    let place = Place::new();
    let region = options(&place).lease_max(LEASE / 10).own(NAME).expect("a fresh name");
    let over = AtomicBool::new(false);
    let (mut dice, mut last, mut poisoned) = (Dice::new(7), 0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut copy = [0; 3000];
            while !over.load(Relaxed) {
                if region.read_at(12_345, &mut copy).is_ok() {
                    only(&copy);
                }
            }
        });
        for _ in 0..40 {
            let mut victims: Vec<_> =
                (0..2).map(|_| Child::start("in-place rewriter", &[&place.arg()])).collect();
            victims.iter_mut().for_each(|victim| victim.expect("ready"));
            spin_for(Duration::from_nanos(dice.below(2_000_000)));
            for victim in &mut victims {
                if dice.below(2) == 0 {
                    victim.stop();
                    let _ = region.read_timeout(PATIENCE).map(|data| only(&data)); // fenced where it stands
                    victim.go_on();
                    spin_for(Duration::from_nanos(dice.below(1_000_000)));
                }
                victim.kill();
                match region.read_timeout(PATIENCE) {
                    Ok(data) => {
                        only(&data);
                        assert!(data.version() >= last, "back in time");
                        last = data.version();
                    }
                    Err(Error::Poisoned { .. }) => poisoned += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            if is_poisoned(region.read()) {
                let repaired = region.repair(|data| data.fill(77)).expect("all are dead");
                assert!(repaired > last, "{repaired} behind {last}");
                assert_eq!(region.read().map(|data| only(&data)).expect("repaired"), 77);
            }
        }
        over.store(true, Relaxed);
    });
    println!("of 80 killed {poisoned} left it poisoned");
}
