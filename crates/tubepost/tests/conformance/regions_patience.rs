//! Regions: who waits for less than a lease, and comes again, goes by when the first one came. So nobody is kept out for being impatient, and nobody who
//! keeps others waiting has less time than was promised.

use std::time::{Duration, Instant};

use tubepost::Region;

use crate::cast::set_waiting;
use crate::regions::{Board, options, start};
use crate::stage::{Child, Place};

const LEASE: Duration = Duration::from_millis(250);
/// Each comes once, in a process of its own, and waits for so many milliseconds: much less than a lease.
const SHORT: u64 = 30;
/// So many would have come when several leases were over.
const MANY: u64 = 60;

fn create(place: &Place, in_place: bool) -> Region<Board> {
    let options = options(place.domain()).lease_max(LEASE);
    let options = if in_place { options.in_place() } else { options };
    options.create("board").expect("a free name")
}

/// One who writes, and stands still.
fn late(place: &Place) -> Child {
    let mut late = start(place, "late");
    assert_eq!((late.ask("write-now"), late.ask("fill 666")), ("writes 1".into(), "filled".into()));
    late.stop();
    late
}

/// They come and say that, one after the other, until something else happens than that there was no time; with how many came.
fn come(place: &Place, order: &str) -> (String, u64) {
    for came in 1..=MANY {
        let mut other = start(place, "impatient");
        let said = other.ask(order);
        other.kill(); // whatever it has
        if said != "TimedOut" {
            return (said, came);
        }
    }
    panic!("{MANY} came, and all of them waited in vain");
}

#[test]
fn a_writer_that_stands_still_is_fenced_by_those_who_wait_for_less() {
    for (in_place, outcome) in [(false, "writes 1"), (true, "Poisoned")] {
        let place = Place::new();
        let region = create(&place, in_place);
        let late = late(&place);
        let begin = Instant::now();
        let (said, came) = come(&place, &format!("within {SHORT}"));
        assert_eq!(said, outcome);
        assert!(begin.elapsed() >= LEASE, "it was promised more: {:?}", begin.elapsed());
        assert!(came > 1, "it was over before anybody came");
        let waited = region.stat().expect("it exists").region.expect("it is one").writer;
        assert!(waited.is_none_or(|writer| writer.who.pid != late.pid()), "it is fenced");
    }
}

/// Also those who do not wait at all.
#[test]
fn a_writer_that_stands_still_is_fenced_by_those_who_only_try() {
    let place = Place::new();
    let _region = create(&place, false);
    let _late = late(&place);
    let begin = Instant::now();
    let writes = loop {
        let mut other = start(&place, "impatient");
        match other.ask("try") {
            said if said == "WouldWait" => assert!(begin.elapsed() < 20 * LEASE, "they try in vain"),
            said => break said,
        }
    };
    assert_eq!(writes, "writes 1");
    assert!(begin.elapsed() >= LEASE, "it was promised more: {:?}", begin.elapsed());
}

/// It had its lease before it was fenced; it has another one to let go, whoever waits for that.
#[test]
fn what_is_poisoned_is_moved_by_those_who_wait_for_less() {
    let place = Place::new();
    let region = create(&place, true);
    let mut late = late(&place);
    come(&place, &format!("within {SHORT}"));
    let begin = Instant::now();
    let (said, came) = come(&place, &format!("repair {SHORT} 5"));
    assert_eq!(said, "repaired 2");
    assert!(begin.elapsed() >= LEASE, "it was promised more: {:?}", begin.elapsed());
    assert!(came > 1, "it was over before anybody came");
    late.go_on();
    assert_eq!(late.ask("commit"), "LeaseExpired");
    assert_eq!(region.get(), Ok([5; 8]));
}

/// Those at the head of the queue who stand still have 10 ms each.
#[test]
fn who_does_not_respond_is_passed_by_those_who_wait_for_less() {
    let place = Place::new();
    let _region = create(&place, false);
    let mut holder = start(&place, "holder");
    assert_eq!(holder.ask("write-now"), "writes 1");
    let heads: Vec<Child> = (0..8)
        .map(|at| {
            let mut head = start(&place, &format!("head {at}"));
            set_waiting(&mut head, "write");
            head.stop();
            head
        })
        .collect();
    assert_eq!(holder.ask("drop"), "dropped");
    let begin = Instant::now();
    let (said, came) = come(&place, "within 3");
    assert_eq!(said, "writes 1");
    assert!(begin.elapsed() >= Duration::from_millis(80) && came > 1, "{came} in {:?}", begin.elapsed());
    drop(heads);
}
