//! Regions: who writes next, and who waits for a version. In the order in which they came, and without polling.

use std::time::{Duration, Instant};

use tubepost::{Error, Region};

use crate::cast::{A_MOMENT, set_waiting};
use crate::regions::{Board, note, noted, open, options, start, whole, word};
use crate::stage::{Child, PATIENCE, Place, eventually, now_ns, thread_id, ticks_of, until_asleep};

const HOUR: Duration = Duration::from_secs(3600);
/// Who is first, and does not respond for so long, is passed.
const RESPONSE: Duration = Duration::from_millis(10);

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, expected: &str) {
    let error = result.expect_err(expected);
    assert_eq!(word(&error), expected, "{error}");
}

#[test]
fn who_does_not_wait_is_told() {
    let place = Place::new();
    let region = options(place.domain()).lease_max(HOUR).create("board").expect("a free name");
    let mut other = start(&place, "holder");
    assert_eq!(other.ask("write-now"), "writes 1");
    refused(region.try_write(), "WouldWait");
    let begin = Instant::now();
    refused(region.write_timeout(A_MOMENT), "TimedOut");
    assert!(begin.elapsed() >= A_MOMENT);
    refused(region.write_timeout(Duration::ZERO), "TimedOut");
    refused(region.write_deadline(Instant::now() + A_MOMENT), "TimedOut");
    refused(region.write_deadline(begin), "TimedOut");
    assert_eq!(region.get(), Ok([0; 8]), "a reader does not wait");
    assert_eq!((other.ask("fill 1"), other.ask("commit")), ("filled".into(), "committed 2".into()));
    let writing = region.try_write().expect("nobody writes");
    assert_eq!(other.ask("try"), "WouldWait");
    refused(region.try_write(), "WouldWait"); // its own threads are others
    assert_eq!((whole(&writing), writing.commit()), (1, Ok(3)));
    assert_eq!(other.ask("try"), "writes 3");
    // One who waits comes before one who does not.
    set_waiting(&mut start(&place, "gone"), "write");
    let mut waiting = start(&place, "waiting");
    set_waiting(&mut waiting, "write");
    assert_eq!(other.ask("drop"), "dropped");
    waiting.expect("writes 3");
    assert_eq!(waiting.ask("drop"), "dropped");
    region.try_write().expect("nobody writes, and nobody waits").commit().expect("it lives");
}

/// Processes and threads, one after the other.
#[test]
fn writers_take_turns_as_they_came() {
    let place = Place::new();
    let region = options(place.domain()).lease_max(HOUR).create("board").expect("a free name");
    for _ in 1..4 {
        let holder = region.write().expect("nobody writes");
        let (mut others, mut released): (Vec<Child>, u64) = (Vec::new(), 0);
        std::thread::scope(|scope| {
            for at in 1..=6 {
                if at % 3 == 0 {
                    let (tell, told) = std::sync::mpsc::channel();
                    let region = &region;
                    scope.spawn(move || {
                        tell.send(thread_id()).expect("it listens");
                        region.update(|board| note(board, at)).expect("it lives");
                    });
                    until_asleep(std::process::id(), told.recv().expect("it says so"));
                } else {
                    let mut other = start(&place, "waiter");
                    set_waiting(&mut other, &format!("note {at}"));
                    others.push(other);
                }
            }
            // One who comes late, and does not stay, is not first.
            refused(region.try_write(), "WouldWait");
            released = now_ns();
            drop(holder);
        });
        others.iter_mut().for_each(|other| other.expect("noted"));
        in_order(&region.get().expect("it lives"), released, 6);
        region.set(&[0; 8]).expect("it lives");
    }
}

/// All of them wrote, and nobody before one who was there earlier: but where the machine kept that one from running
/// for so long, since it was first, that it was passed.
#[track_caller]
pub fn in_order(board: &Board, released: u64, number: u64) {
    let mut waiting: Vec<u64> = (1..=number).collect();
    let mut first_since = released;
    for (who, when) in noted(board) {
        let place = waiting.iter().position(|other| *other == who).expect("each writes once");
        let kept = Duration::from_nanos(when - first_since);
        assert!(kept >= RESPONSE * place as u32, "{who} came before {waiting:?}, after {kept:?}");
        waiting.remove(place);
        if place == 0 {
            // The next one may go on when this one has written, and that is first from then on.
            first_since = when;
        }
    }
    assert!(waiting.is_empty(), "{waiting:?} did not write");
}

/// Readers flat out do not keep a writer from its turn.
#[test]
fn readers_do_not_overtake_a_writer() {
    let place = Place::new();
    let region = options(place.domain()).lease_max(HOUR).create("board").expect("a free name");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| while whole(&region.read().expect("it lives")) < 500 {});
        }
        for number in 1..=500 {
            region.set(&[number; 8]).expect("it lives");
        }
    });
}

/// Who waits at the head, and does not respond, is passed; whoever it is that holds.
#[test]
fn one_who_waits_and_stands_still_holds_up_nobody() {
    for holder_stands in [false, true] {
        let place = Place::new();
        let lease = if holder_stands { A_MOMENT } else { HOUR };
        let region = options(place.domain()).lease_max(lease).create("board").expect("a free name");
        let (mut holder, mut head) = (start(&place, "holder"), start(&place, "head"));
        assert_eq!(holder.ask("write-now"), "writes 1");
        if holder_stands {
            holder.stop();
        }
        head.say("write");
        let thread = head.hear().parse().expect("its thread");
        if !holder_stands {
            until_asleep(head.pid(), thread);
        }
        head.stop();
        if !holder_stands {
            assert_eq!(holder.ask("drop"), "dropped");
        }
        for number in 1..5 {
            assert!(region.write_timeout(PATIENCE).expect("its turn").commit().is_ok(), "{number}");
        }
        // It may be that it had its turn before it stood still.
        head.go_on();
        assert!(head.hear().starts_with("writes "));
        let said = head.ask("commit");
        assert!(said == "LeaseExpired" || said == "committed 6", "{said}");
    }
}

/// More than there is time for, if each of them cost a moment.
const MANY: u64 = 3 * PATIENCE.as_millis() as u64 / 10 / 2;

/// … and costs others a moment once, and not at each hold.
#[test]
fn one_who_waits_and_stands_still_is_waited_for_once() {
    for in_place in [false, true] {
        let place = Place::new();
        let options = options(place.domain()).lease_max(HOUR);
        let options = if in_place { options.in_place() } else { options };
        let region = options.create("board").expect("a free name");
        let to_read =
            Region::<[u64; 8]>::options().domain(place.domain()).open_to_read("board").expect("it exists");
        let (mut holder, mut head, mut next) =
            (start(&place, "holder"), start(&place, "head"), start(&place, "next"));
        assert_eq!(holder.ask("write-now"), "writes 1");
        set_waiting(&mut head, "write");
        set_waiting(&mut next, "write");
        head.stop();
        next.stop();
        assert_eq!(holder.ask("drop"), "dropped");
        let begin = Instant::now();
        for number in 1..=MANY {
            assert_eq!(to_read.get(), Ok([number - 1; 8]), "by one who can't pass them");
            assert_eq!(region.update(|board| *board = [number; 8]), Ok(number + 1));
            assert_eq!(region.get(), Ok([number; 8]));
        }
        assert!(begin.elapsed() < PATIENCE, "each of {MANY} waited");
        region.try_write().map(drop).expect("nobody waits who would come");
        for child in [&mut next, &mut head] {
            child.go_on();
            assert_eq!(child.hear(), format!("writes {}", MANY + 1));
            assert_eq!(child.ask("drop"), "dropped");
        }
    }
}

/// Nobody goes on paying for a dead one.
#[test]
fn one_who_waits_and_dies_holds_up_nobody() {
    for dies in ["the head", "both"] {
        let place = Place::new();
        let region = options(place.domain()).lease_max(HOUR).create("board").expect("a free name");
        let (mut holder, mut head, mut third) =
            (start(&place, "holder"), start(&place, "head"), start(&place, "third"));
        assert_eq!(holder.ask("write-now"), "writes 1");
        set_waiting(&mut head, "write");
        set_waiting(&mut third, "write");
        head.kill();
        if dies == "both" {
            holder.kill();
        } else {
            assert_eq!(holder.ask("drop"), "dropped");
        }
        third.expect("writes 1");
        assert_eq!(third.ask("commit"), "committed 2");
        eventually("nobody waits any more", || region.try_write().is_ok());
    }
}

#[test]
fn a_new_version_wakes_who_waits_for_it() {
    let place = Place::new();
    let region = options(place.domain()).create("board").expect("a free name");
    let mut others: Vec<Child> = (0..3).map(|at| start(&place, &format!("watcher {at}"))).collect();
    for since in 1..6 {
        for other in &mut others {
            set_waiting(other, &format!("wait {since}"));
        }
        // What is not committed is no news.
        drop(region.write().expect("nobody writes"));
        assert!(others.iter_mut().all(|other| other.hear_now().is_none()));
        assert_eq!(region.set(&[since; 8]), Ok(since + 1));
        others.iter_mut().for_each(|other| other.expect(&format!("version {}", since + 1)));
    }
    // News that are old by now.
    others[0].say("wait 3");
    others[0].hear();
    others[0].expect("version 6");
}

/// Who waits sleeps: for a version, or for its turn.
#[test]
fn waiting_takes_no_time_of_the_processor() {
    let place = Place::new();
    let region = options(place.domain()).lease_max(HOUR).create("board").expect("a free name");
    let (mut watcher, mut writer) = (start(&place, "watcher"), start(&place, "writer"));
    let held = region.write().expect("nobody writes");
    set_waiting(&mut watcher, "wait 1");
    set_waiting(&mut writer, "write");
    let ticks = |one: &Child, two: &Child| ticks_of(one.pid()) + ticks_of(two.pid());
    let before = ticks(&watcher, &writer);
    std::thread::sleep(Duration::from_millis(2500)); // what is measured, not what is hoped for
    let used = ticks(&watcher, &writer) - before;
    assert!(used <= 2, "{used} ticks in 250");
    assert_eq!(held.commit(), Ok(2));
    watcher.expect("version 2");
    writer.expect("writes 2");
}

#[track_caller]
fn is_over(region: &Region<[u64; 8]>, waiting: &mut [Child]) {
    for other in waiting {
        other.expect("Ended");
    }
    eventually("it is told", || region.read().is_err());
    refused(region.read(), "Ended");
    refused(region.get(), "Ended");
    refused(region.write(), "Ended");
    refused(region.try_write(), "Ended");
    refused(region.set(&[1; 8]), "Ended");
    refused(region.version(), "Ended");
    refused(region.wait_for_change(0), "Ended");
}

#[test]
fn a_region_that_is_removed_is_over_for_all() {
    let place = Place::new();
    let region = options(place.domain()).lease_max(HOUR).create("board").expect("a free name");
    let mut others = [start(&place, "watcher"), start(&place, "writer")];
    let (held, pinned) = (region.write().expect("nobody writes"), region.read().expect("it lives"));
    set_waiting(&mut others[0], "wait 1");
    set_waiting(&mut others[1], "write");
    let opened = open(&place);
    place.domain().remove("board").expect("it exists");
    is_over(&opened, &mut others);
    is_over(&region, &mut []);
    assert_eq!(whole(&pinned), 0, "what is pinned stays");
    drop((held, pinned));
    drop((region, opened));
    assert_eq!(place.files(), [""; 0]);
    // And the name is free.
    options(place.domain()).own("board").expect("a free name");
}

#[test]
fn a_region_ends_with_its_owner() {
    for how in ["drop", "kill"] {
        let place = Place::new();
        let mut owner = Child::start("region owner", &[&place.arg()]);
        owner.expect("own");
        let region = open(&place);
        region.set(&[1; 8]).expect("it lives");
        let mut others = [start(&place, "watcher"), start(&place, "writer")];
        set_waiting(&mut others[0], "wait 2");
        let held = region.write().expect("nobody writes");
        set_waiting(&mut others[1], "write");
        if how == "kill" {
            owner.kill();
        } else {
            assert_eq!(owner.ask("drop"), "dropped");
        }
        is_over(&region, &mut others);
        drop(held);
        drop(region);
        drop(others);
        place.domain().gc().expect("our own domain");
        assert_eq!(place.files(), [""; 0], "{how}");
    }
}
