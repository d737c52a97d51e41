//! Regions: who holds one for too long, stands still, or is killed, holds up nobody, and changes nothing.

use std::time::{Duration, Instant};

use tubepost::{Domain, Error, Region};

use crate::cast::{A_MOMENT, set_waiting};
use crate::regions::{open, options, start, whole, word};
use crate::stage::{
    Child, Cue, Dice, PATIENCE, Place, Role, Walk, eventually, kill_there, mark, skip, thread_id, walk,
};

pub const ROLES: &[Role] = &[("stepper", stepper)];

const HOUR: Duration = Duration::from_secs(3600);
/// Instructions at which each call is killed.
const KILLS: u64 = 24;
/// Of what takes a hundred times as many, these.
const FEW: u64 = 4;

#[test]
fn a_writer_that_stands_still_is_fenced() {
    let place = Place::new();
    let region = options(place.domain()).lease_max(A_MOMENT).create("board").expect("a free name");
    let mut late = start(&place, "late");
    for round in 0..3 {
        let version = region.version().expect("it lives");
        assert_eq!(late.ask("write-now"), format!("writes {version}"));
        assert_eq!(late.ask("fill 666"), "filled");
        late.stop();
        let begin = Instant::now();
        let writing = region.write_timeout(PATIENCE).expect("the lease is over");
        assert!(begin.elapsed() >= A_MOMENT, "it was promised more: {:?}", begin.elapsed());
        assert_eq!((writing.version(), whole(&writing)), (version, round), "nothing of it is there");
        drop(writing);
        late.go_on();
        assert_eq!(late.ask("commit"), "LeaseExpired");
        assert_eq!((region.version(), region.get()), (Ok(version), Ok([round; 8])));
        assert_eq!(region.set(&[round + 1; 8]), Ok(version + 1));
        // It may come again.
        assert_eq!(late.ask("try"), format!("writes {}", version + 1));
        assert_eq!(late.ask("drop"), "dropped");
    }
}

/// One who does not even notice.
#[test]
fn what_a_fenced_writer_scribbles_is_nobodys() {
    let place = Place::new();
    let region =
        options(place.domain()).lease_max(Duration::from_millis(5)).create("board").expect("a free name");
    let mut late = [start(&place, "late"), start(&place, "later")];
    for other in &mut late {
        assert_eq!(other.ask("write-now"), format!("writes {}", region.version().expect("it lives")));
        assert_eq!(other.ask("scribble 3000000"), "scribbles");
        region.write_timeout(PATIENCE).expect("the lease is over").commit().expect("nobody waits");
    }
    let (mut pinned, first) = (region.read().expect("it lives"), region.version().expect("it lives"));
    let mut said = [false; 2];
    let mut number = 0;
    while said.contains(&false) {
        number += 1;
        match region.set(&[number; 8]) {
            Ok(version) => assert_eq!(version, first + number),
            Err(error) => panic!("{error}"),
        }
        assert_eq!(whole(&region.read().expect("it lives")), number);
        assert_eq!(whole(&pinned) + first, pinned.version());
        if number % 100 == 0 {
            pinned = region.read().expect("it lives");
        }
        for (other, said) in late.iter_mut().zip(&mut said) {
            *said |= other.hear_now().is_some();
        }
    }
    for other in &mut late {
        assert_eq!(other.ask("commit"), "LeaseExpired");
    }
    assert_eq!(region.get(), Ok([number; 8]));
}

#[test]
fn a_late_writer_nobody_waits_for_is_not_disturbed() {
    let place = Place::new();
    let region =
        options(place.domain()).lease_max(Duration::from_millis(1)).create("board").expect("a free name");
    let mut late = start(&place, "late");
    assert_eq!((late.ask("write-now"), late.ask("fill 7")), ("writes 1".into(), "filled".into()));
    // Readers do not wait, and nobody who looks does.
    let begin = Instant::now();
    while begin.elapsed() < A_MOMENT {
        assert_eq!((whole(&region.read().expect("it lives")), region.version()), (0, Ok(1)));
    }
    assert_eq!(late.ask("commit"), "committed 2");
    assert_eq!(region.get(), Ok([7; 8]));
}

/// Who comes in the middle of a hold waits for all of a lease.
#[test]
fn a_lease_is_never_shorter_than_promised() {
    let place = Place::new();
    let lease = 2 * A_MOMENT;
    let region = options(place.domain()).lease_max(lease).create("board").expect("a free name");
    assert_eq!(region.lease_max(), lease);
    for promised in [lease, A_MOMENT, Duration::from_millis(1)] {
        let other = open(&place);
        let writing = region.write_for(promised).expect("nobody writes");
        std::thread::sleep(A_MOMENT); // nobody waits so far
        assert!(!writing.is_expired());
        let begin = Instant::now();
        // One who tries goes again, and has waited from then on.
        assert_eq!(word(&other.try_write().expect_err("held")), "WouldWait");
        let taken = other.write().expect("the lease is over");
        assert!(begin.elapsed() >= promised, "{:?} of {promised:?}", begin.elapsed());
        assert!(writing.is_expired());
        match writing.commit() {
            Err(Error::LeaseExpired { name, lease }) => assert_eq!((&*name, lease), ("board", promised)),
            other => panic!("{other:?}"),
        }
        taken.commit().expect("nobody waits");
    }
    for too_long in [lease + Duration::from_nanos(1), HOUR, Duration::ZERO] {
        let error = region.write_for(too_long).expect_err("it was never promised");
        assert_eq!(word(&error), "BadOption", "{error}");
        assert!(error.to_string().contains("80ms"), "{error}");
    }
}

#[test]
fn a_late_reader_keeps_what_it_has() {
    let place = Place::new();
    let region = options(place.domain()).lease_max(A_MOMENT).create("board").expect("a free name");
    let late = region.read().expect("it lives");
    let mut other = start(&place, "late");
    assert_eq!(other.ask("read"), "1 0");
    other.stop();
    assert!(!late.is_expired());
    region.set(&[1; 8]).expect("it lives");
    region.set(&[2; 8]).expect("it lives");
    assert!(!late.is_expired(), "so soon");
    let begin = Instant::now();
    eventually("it is late", || late.is_expired());
    // Clocks that tick seldom are some milliseconds behind.
    assert!(begin.elapsed() >= A_MOMENT - Duration::from_millis(10), "{:?}", begin.elapsed());
    for number in 3..1000 {
        region.set(&[number; 8]).expect("nobody is held up");
        assert!((late.version(), whole(&late)) == (1, 0) && !region.read().expect("it lives").is_expired());
    }
    other.go_on();
    assert_eq!(other.ask("let-go"), "idle");
    assert_eq!(other.ask("read"), format!("{} 999", region.version().expect("it lives")));
}

/// With a lease of an hour: it is seen that the writer is dead.
#[test]
fn a_writer_that_is_killed_holds_up_nobody() {
    let place = Place::new();
    let region = options(place.domain()).lease_max(HOUR).create("board").expect("a free name");
    for round in 1..6 {
        let (mut dies, mut waits) = (start(&place, "dies"), start(&place, "waits"));
        let version = region.version().expect("it lives");
        assert_eq!(dies.ask("write-now"), format!("writes {version}"));
        assert_eq!(dies.ask("fill 666"), "filled");
        set_waiting(&mut waits, "write");
        dies.kill();
        waits.expect(&format!("writes {version}"));
        assert_eq!((region.version(), region.get()), (Ok(version), Ok([round - 1; 8])));
        assert_eq!(waits.ask(format!("fill {round}")), "filled");
        assert_eq!(waits.ask("commit"), format!("committed {}", version + 1));
        assert_eq!(waits.ask("write-now"), format!("writes {}", version + 1));
        // And one who comes when it is dead already.
        waits.kill();
        assert_eq!(whole(&region.write().expect("it lives")), round);
    }
}

/// Makes one call between two marks; the arguments are domain and call.
fn stepper(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let region = options(&domain).open("board").expect("it exists");
    let large = Region::<[u8]>::options().domain(&domain).open("large").expect("it exists");
    region.update(|board| board.iter_mut().for_each(|word| *word += 1)).expect("it lives");
    drop(region.read().expect("it lives"));
    large.write().expect("it lives").commit().expect("it lives");
    cue.say(thread_id());
    assert_eq!(cue.hear(), "go");
    mark();
    match cue.arg(1) {
        "update" => {
            region.update(|board| board.iter_mut().for_each(|word| *word += 1)).expect("it lives");
        }
        "read" => drop(region.read().expect("it lives")),
        "ranges" => {
            let mut writing = large.write().expect("it lives");
            writing.range_mut(10_000..10_100).fill(7);
            writing.range_mut(90_000..90_100).fill(7);
            writing.commit().expect("nobody waits");
        }
        "open" => {
            let region = options(&domain).open("board").expect("it exists");
            region.set(&[1; 8]).expect("it lives");
            std::mem::forget(region.read());
        }
        other => panic!("what is {other}?"),
    }
    mark();
    cue.say("through");
    cue.hear();
}

/// Kills it after so many instructions, and looks at what is left.
fn killed_after(call: &str, steps: Option<u64>) -> Result<u64, String> {
    let place = Place::new();
    let region = options(place.domain()).lease_max(HOUR).create("board").expect("a free name");
    let large = Region::<[u8]>::options().domain(place.domain()).size(100_000).lease_max(HOUR);
    let large = large.create("large").expect("a free name");
    let mut child = Child::start("stepper", &[&place.arg(), call]);
    let thread = child.hear().parse().expect("a thread");
    let before = region.version().expect("it lives");
    let walked = walk(&mut child, thread, steps.unwrap_or(u64::MAX))?;
    let through = match walked {
        Walk::Stands => {
            kill_there(&mut child, thread);
            0
        }
        Walk::Through(whole) => whole,
    };
    let pinned = region.read().expect("it lives");
    let (version, number) = (pinned.version(), whole(&pinned));
    assert!(version == before || version == before + 1, "{call} {steps:?}: version {version}");
    let bytes = large.get().expect("it lives");
    let changed = bytes.iter().filter(|byte| **byte == 7).count();
    assert!(changed == 0 || changed == 200, "{call} {steps:?}: {changed} bytes are changed");
    for at in 1..10 {
        let next = region.update(|board| board.iter_mut().for_each(|word| *word += 1));
        assert_eq!(next, Ok(version + at), "{call} {steps:?}");
        assert_eq!(whole(&region.read().expect("it lives")), number + at, "{call} {steps:?}");
    }
    let mut writing = large.write().expect("it lives");
    writing.range_mut(..5).fill(9);
    writing.commit().expect("nobody waits");
    let now = large.get().expect("it lives");
    assert!(
        now[..5] == [9; 5] && now[5..] == bytes[5..],
        "{call} {steps:?}: what was not changed is the same"
    );
    assert_eq!(whole(&pinned), number);
    drop(pinned);
    // No version is lost: as many as there can be are to be had.
    let all: Vec<_> = (0..63)
        .map(|_| {
            let pinned = region.read().expect("it lives");
            region.set(&[1; 8]).map(|_| pinned).unwrap_or_else(|error| panic!("{call} {steps:?}: {error}"))
        })
        .collect();
    assert_eq!(all.len(), 63);
    Ok(through)
}

fn killed_all_over(call: &str, kills: u64) {
    let whole = match killed_after(call, None) {
        Ok(whole) => whole,
        Err(why) => return skip(call, &why),
    };
    assert!(whole > 10, "{call} has {whole} instructions");
    let mut dice = Dice::new(kills);
    for kill in 0..kills {
        let steps = whole * kill / kills + dice.below(1 + whole / kills);
        killed_after(call, Some(steps)).expect("it could be traced before");
    }
}

#[test]
fn killed_anywhere_in_an_update() {
    killed_all_over("update", KILLS);
}

#[test]
fn killed_anywhere_in_an_edit_of_parts() {
    killed_all_over("ranges", KILLS);
}

#[test]
fn killed_anywhere_in_a_read() {
    killed_all_over("read", KILLS);
}

#[test]
fn killed_anywhere_in_opening_and_setting() {
    killed_all_over("open", FEW);
}
