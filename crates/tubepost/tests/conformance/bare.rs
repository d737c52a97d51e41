//! Segments: named memory, whose it is, and whether it is over. What is in it is its users' affair.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tubepost::{Error, Kind, OwnerKind, Region, Segment, SegmentOptions, Sender};

use crate::stage::{Child, Cue, Place, Role};

pub const ROLES: &[Role] = &[("segment_owner", own), ("segment_counter", count)];

const TURNS: u64 = 10_000;

fn own(cue: &mut Cue) {
    let domain = tubepost::Domain::open(cue.arg(0)).expect("it is there");
    let _memory =
        Segment::options().domain(&domain).member("owner").size(100).own("bare").expect("it is free");
    cue.say("owned");
    cue.hear();
}

fn count(cue: &mut Cue) {
    let domain = tubepost::Domain::open(cue.arg(0)).expect("it is there");
    let memory = Segment::options().domain(&domain).format("count").open("bare").expect("it is there");
    for _ in 0..TURNS {
        word(&memory).fetch_add(1, Relaxed);
    }
    cue.say("counted");
}

fn options(place: &Place) -> SegmentOptions {
    Segment::options().domain(place.domain())
}

/// The first eight bytes.
#[allow(unsafe_code)]
fn word(memory: &Segment) -> &AtomicU64 {
    assert!(memory.is_writable() && memory.len() >= 8);
    // SAFETY: so many bytes are there as long as the borrow lasts, aligned to a page; all tests use them as this.
    unsafe { AtomicU64::from_ptr(memory.as_ptr().cast()) }
}

#[test]
fn several_processes_have_the_same_bytes() {
    let place = Place::new();
    let memory = options(&place).format("count").size(5000).own("bare").expect("it is free");
    assert_eq!((memory.len(), memory.as_ptr().addr() % 4096), (5000, 0));
    let mut counters = [0, 1].map(|_| Child::start("segment_counter", &[&place.arg()]));
    counters.iter_mut().for_each(|counter| counter.expect("counted"));
    counters.into_iter().for_each(Child::finish);
    assert_eq!(word(&memory).load(Relaxed), 2 * TURNS);
    let reader = options(&place).format("count").open_to_read("bare").expect("it is there");
    assert!(!reader.is_writable() && !reader.is_over() && reader.id() == memory.id());
    let stat = place.domain().stat("bare").expect("it is there");
    assert_eq!((stat.kind, stat.size, stat.region.clone()), (Kind::Segment, Some(5000), None));
    assert_eq!((stat.capacity, stat.max_message, stat.ceiling, stat.depth), (None, 0, 0, 0));
    assert_eq!((stat.format.as_str(), stat.owner.pid), ("count", Some(std::process::id())));
    assert!(stat.bytes >= 5000 && memory.stat() == Ok(stat));
}

#[test]
fn it_goes_with_the_process_that_owns_it() {
    let place = Place::new();
    let mut owner = Child::start("segment_owner", &[&place.arg()]);
    owner.expect("owned");
    let memory = options(&place).open("bare").expect("it is there");
    let found = memory.owner();
    assert_eq!((found.pid, found.name.as_str(), found.alive), (Some(owner.pid()), "owner", true));
    let taken = options(&place).size(1).own("bare").unwrap_err();
    let text = taken.to_string();
    assert!(
        matches!(taken, Error::Owned { is: "a segment", .. }) && text.contains("with which it ends"),
        "{text}"
    );
    assert!(!memory.is_over());
    owner.kill();
    assert!(memory.is_over() && !memory.owner().alive);
    assert!(matches!(memory.stat(), Err(Error::Ended { .. })));
    assert!(matches!(options(&place).open("bare"), Err(Error::NoSuchName { .. } | Error::OwnerGone { .. })));
    // The bytes stay for whoever has them, and the name is free.
    word(&memory).store(1, Relaxed);
    let next = options(&place).size(100).own("bare").expect("it is free");
    assert_eq!(word(&next).load(Relaxed), 0);
    drop((next, memory));
    assert_eq!(place.files(), Vec::<String>::new());
}

#[test]
fn the_systems_stays_until_it_is_removed() {
    let place = Place::new();
    drop(options(&place).size(4096).create("bare").expect("it is free"));
    let memory = options(&place).open("bare").expect("it stays");
    assert_eq!((memory.owner().kind, memory.owner().alive), (OwnerKind::System, true));
    word(&memory).store(7, Relaxed);
    drop(memory);
    let memory = options(&place).open("bare").expect("it stays");
    assert_eq!(word(&memory).load(Relaxed), 7);
    assert!(matches!(options(&place).size(1).create("bare"), Err(Error::Exists { .. })));
    assert!(!memory.is_over());
    place.domain().remove("bare").expect("it is ours");
    assert!(memory.is_over());
    assert_eq!(place.files(), Vec::<String>::new());
    // Also one that a living process owns, by force.
    let memory = options(&place).size(8).own("bare").expect("it is free");
    assert!(matches!(place.domain().remove("bare"), Err(Error::Owned { .. })));
    place.domain().remove_owned("bare").expect("it is ours");
    assert!(memory.is_over());
    drop(memory);
    assert_eq!(place.files(), Vec::<String>::new());
}

#[test]
fn what_does_not_fit_is_refused_and_says_so() {
    let place = Place::new();
    let domain = place.domain();
    let says = |error: Error, words: &[&str]| {
        let text = error.to_string();
        for word in words {
            assert!(text.contains(word), "{word:?} is not in {text:?}");
        }
    };
    for size in [Some(0), Some(u64::MAX), None] {
        let options = size.map_or(options(&place), |size| options(&place).size(size));
        says(options.create("bare").unwrap_err(), &["the size of a segment"]);
    }
    says(options(&place).size(8).mode(0o620).create("bare").unwrap_err(), &["0620", "who writes reads"]);
    says(options(&place).open("bare").unwrap_err(), &["no segment", "bare", "Segment::options"]);
    let region = Region::<[u8]>::options().domain(domain);
    says(region.open("bare").unwrap_err(), &["no region", "bare", "tubepost region create"]);
    let _memory = options(&place).format("one").size(8).create("bare").expect("it is free");
    says(options(&place).format("two").open("bare").unwrap_err(), &["one", "two"]);
    says(region.open("bare").unwrap_err(), &["is a segment", "not a region", "`Segment`"]);
    let _region = region.size(8).create("data").expect("it is free");
    says(options(&place).open("data").unwrap_err(), &["is a region", "not a segment", "tubepost region"]);
    says(
        Sender::<[u8]>::options().domain(domain).open("data").unwrap_err(),
        &["is a region", "not a mailbox", "tubepost region"],
    );
    assert_eq!(place.files().iter().filter(|file| !file.starts_with('~')).count(), 2);
}
