//! Regions: every version is whole, whoever reads it and for how long; what was not committed never was; all agree on what the data is.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use tubepost::{Data, Domain, Error, Mailbox, Reading, Region, RegionOptions, Sender, Writing};

use crate::cast::words;
use crate::stage::{Child, Cue, PATIENCE, Place, Role, eventually, fork, now_ns, thread_id, wait_for};

pub const ROLES: &[Role] = &[("editor", editor), ("region owner", owner)];

/// All of the same number, or it is torn.
pub type Board = [u64; 8];

/// The number on a board.
#[track_caller]
pub fn whole(board: &Board) -> u64 {
    assert!(board.iter().all(|word| *word == board[0]), "torn: {board:?}");
    board[0]
}

pub fn options(domain: &Domain) -> RegionOptions<Board> {
    Region::options().domain(domain)
}

pub fn open(place: &Place) -> Region<Board> {
    options(place.domain()).open("board").expect("it exists")
}

/// An error's kind.
pub fn word(error: &Error) -> String {
    assert!(!error.to_string().is_empty());
    let text = format!("{error:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

fn said<T>(result: Result<T, Error>, tell: impl FnOnce(T) -> String) -> String {
    result.map_or_else(|error| word(&error), tell)
}

/// Opens the board, and does what it is told; the arguments are domain and member name.
fn editor(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let region = options(&domain).member(cue.arg(1)).open("board").expect("it exists");
    let region: &'static Region<Board> = Box::leak(Box::new(region));
    let mut writing: Option<Writing<'_, Board>> = None;
    let mut reading: Vec<Reading<'_, Board>> = Vec::new();
    cue.say("ready");
    loop {
        let line = cue.hear();
        let line = words(&line);
        let number = |at: usize| line[at].parse::<u64>().expect("a number");
        let held = |had: Result<Writing<'static, Board>, Error>,
                    into: &mut Option<Writing<'static, Board>>| {
            said(had, |had| {
                let said = format!("writes {}", had.version());
                *into = Some(had);
                said
            })
        };
        match line[0] {
            "write" => {
                cue.say(thread_id());
                cue.say(held(region.write(), &mut writing));
            }
            "write-now" => cue.say(held(region.write(), &mut writing)),
            "try" => cue.say(held(region.try_write(), &mut writing)),
            "within" => {
                let patience = Duration::from_millis(number(1));
                cue.say(held(region.write_timeout(patience), &mut writing));
            }
            "repair" => {
                let patience = Duration::from_millis(number(1));
                let repaired = region.repair_timeout(patience, |board| *board = [number(2); 8]);
                cue.say(said(repaired, |version| format!("repaired {version}")));
            }
            "fill" => {
                *writing.as_deref_mut().expect("it writes") = [number(1); 8];
                cue.say("filled");
            }
            // Goes on until the lease is over, and for some time then.
            "scribble" => {
                cue.say("scribbles");
                let (guard, mut fenced) = (writing.as_mut().expect("it writes"), 0);
                while fenced < number(1) {
                    let at = (now_ns() % 8) as usize;
                    guard[at] = std::hint::black_box(now_ns());
                    fenced += u64::from(guard.is_expired());
                }
                cue.say("scribbled");
            }
            "commit" => {
                let writing = writing.take().expect("it writes");
                cue.say(said(writing.commit(), |version| format!("committed {version}")));
            }
            "drop" => {
                writing = None;
                cue.say("dropped");
            }
            "read" => {
                let guard = region.read().expect("it lives");
                cue.say(format!("{} {}", guard.version(), whole(&guard)));
                reading.push(guard);
            }
            "let-go" => {
                reading.pop();
                cue.say("idle");
            }
            "add" => {
                cue.say("adds");
                for _ in 0..number(1) {
                    region.update(|board| board.iter_mut().for_each(|word| *word += 1)).expect("it lives");
                }
                cue.say("added");
            }
            // Notes itself behind those who were there, when it has its turn.
            "note" => {
                cue.say(thread_id());
                cue.say(said(region.update(|board| note(board, number(1))), |_| "noted".into()));
            }
            "wait" => {
                cue.say(thread_id());
                cue.say(said(region.wait_for_change(number(1)), |version| format!("version {version}")));
            }
            other => panic!("an editor does not know {other:?}"),
        }
    }
}

/// Owns the board; the arguments are the domain, and, if there is to be one copy, that.
fn owner(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let options = options(&domain).lease_max(PATIENCE * 10);
    let options = if cue.rest(1) == Some(["in-place"]) { options.in_place() } else { options };
    let region = options.own("board").expect("a free name");
    cue.say("own");
    assert_eq!(cue.hear(), "drop");
    drop(region);
    cue.say("dropped");
    cue.hear();
}

/// Writes a number, and the time, into the first free place.
pub fn note(board: &mut Board, who: u64) {
    *board.iter_mut().find(|word| **word == 0).expect("a free place") = now_ns() << 8 | who;
}

/// Who wrote there, one after the other, and when.
pub fn noted(board: &Board) -> impl Iterator<Item = (u64, u64)> {
    board.iter().filter(|word| **word != 0).map(|word| (word & 0xff, word >> 8))
}

#[track_caller]
pub fn start(place: &Place, name: &str) -> Child {
    let mut child = Child::start("editor", &[&place.arg(), name]);
    child.expect("ready");
    child
}

#[track_caller]
fn refused<T>(result: Result<T, Error>, expected: &str) {
    match result {
        Ok(_) => panic!("not refused, where it should be {expected}"),
        Err(error) => assert_eq!(word(&error), expected, "{error}"),
    }
}

#[test]
fn a_name_is_one_thing() {
    let place = Place::new();
    let domain = place.domain();
    refused(options(domain).open("board"), "NoSuchName");
    let owned = options(domain).own("board").expect("a free name");
    refused(options(domain).own("board"), "Owned");
    refused(options(domain).create("board"), "Owned");
    refused(Mailbox::<u64>::options().domain(domain).own("board"), "Owned");
    refused(Sender::<Board>::options().domain(domain).open("board"), "WrongKind");
    assert_eq!(open(&place).id(), owned.id());
    drop(owned);
    refused(options(domain).open("board"), "NoSuchName");
    let made = options(domain).create("board").expect("a free name");
    refused(options(domain).own("board"), "Exists");
    drop(made);
    assert_eq!((open(&place).version(), open(&place).get()), (Ok(1), Ok([0; 8])), "it stays");
    let _inbox = Mailbox::<Board>::options().domain(domain).own("box").expect("a free name");
    refused(options(domain).open("box"), "WrongKind");
    refused(options(domain).open_to_read("box"), "WrongKind");
    refused(options(domain).own("box"), "Owned");
    refused(options(domain).create("../box"), "BadName");
}

#[test]
fn all_agree_on_what_it_is() {
    let place = Place::new();
    let domain = place.domain();
    let _one = options(domain).own("board").expect("a free name");
    refused(Region::<[i64; 8]>::options().domain(domain).open("board"), "WrongFormat");
    refused(Region::<[u64; 7]>::options().domain(domain).open("board"), "WrongFormat");
    refused(Region::<[u8]>::options().domain(domain).open_to_read("board"), "WrongFormat");
    let bytes = || Region::<[u8]>::options().domain(domain);
    refused(bytes().own("text"), "BadOption");
    refused(bytes().size(0).own("text"), "BadOption");
    refused(options(domain).size(64).own("other"), "BadOption");
    refused(options(domain).format("label").own("other"), "BadOption");
    let _two = bytes().size(100).format("csv").own("text").expect("a free name");
    refused(bytes().open("text"), "WrongFormat");
    refused(bytes().format("json").open("text"), "WrongFormat");
    let text = bytes().format("csv").open("text").expect("the same");
    assert_eq!(text.len(), 100);
    refused(text.set(&[1; 99]), "BadOption");
    refused(text.set(&[1; 101]), "BadOption");
    assert_eq!((text.version(), text.set(&[1; 100]), text.get()), (Ok(1), Ok(2), Ok(vec![1; 100])));
}

#[test]
fn what_is_opened_to_be_read_is_not_written() {
    let place = Place::new();
    let region = options(place.domain()).own("board").expect("a free name");
    let reader = options(place.domain()).open_to_read("board").expect("it exists");
    refused(reader.write(), "Denied");
    refused(reader.try_write(), "Denied");
    refused(reader.set(&[1; 8]), "Denied");
    refused(reader.update(|board| board[0] = 1), "Denied");
    assert_eq!(region.set(&[2; 8]), Ok(2));
    assert_eq!(
        (whole(&reader.read().expect("it lives")), reader.get(), reader.version()),
        (2, Ok([2; 8]), Ok(2))
    );
    assert_eq!(reader.wait_for_change(1), Ok(2));
    refused(reader.wait_for_change_timeout(2, std::time::Duration::from_millis(1)), "TimedOut");
}

#[test]
fn what_is_not_committed_never_was() {
    let place = Place::new();
    let region = options(place.domain()).create("board").expect("a free name");
    let mut writing = region.write().expect("it lives");
    *writing = [1; 8];
    assert_eq!(
        (writing.version(), whole(&writing), region.get(), region.version()),
        (1, 1, Ok([0; 8]), Ok(1))
    );
    drop(writing);
    assert_eq!((region.get(), region.version()), (Ok([0; 8]), Ok(1)));
    assert_eq!(whole(&region.write().expect("it lives")), 0, "what was dropped is not there");
    assert_eq!(region.update(|board| *board = [2; 8]), Ok(2));
    // Whoever has seen another version is told so.
    let mut writing = region.write().expect("it lives");
    *writing = [3; 8];
    match writing.commit_if(1) {
        Err(Error::Changed { name, expected, found }) => {
            assert_eq!((&*name, expected, found), ("board", 1, 2))
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((region.get(), region.version()), (Ok([2; 8]), Ok(2)));
    let mut writing = region.write().expect("it lives");
    *writing = [4; 8];
    assert_eq!((writing.commit_if(2), region.get()), (Ok(3), Ok([4; 8])));
    // Forgotten guards: what they hold comes back with their handle.
    std::mem::forget(open(&place).write().expect("it lives"));
    let other = open(&place);
    std::mem::forget(other.write_timeout(PATIENCE).expect("it lives"));
    drop(other);
    assert_eq!(region.update(|board| *board = [5; 8]), Ok(4));
}

/// What is over has no newer version, though somebody has its name by now.
#[test]
fn nothing_is_committed_to_what_is_over() {
    for (in_place, again) in [(false, false), (false, true), (true, false), (true, true)] {
        let place = Place::new();
        let create = || {
            let options = options(place.domain());
            let options = if in_place { options.in_place() } else { options };
            options.create("board").expect("a free name")
        };
        drop(create());
        let mut other = start(&place, "other");
        assert_eq!((other.ask("write-now"), other.ask("fill 7")), ("writes 1".into(), "filled".into()));
        place.domain().remove("board").expect("it can be removed");
        let anew = again.then(create);
        assert_eq!(other.ask("commit"), "Ended");
        if let Some(anew) = anew {
            assert_eq!((anew.version(), anew.get()), (Ok(1), Ok([0; 8])));
        }
    }
    // The same where its owner is killed.
    let place = Place::new();
    let mut owner = Child::start("region owner", &[&place.arg()]);
    owner.expect("own");
    let region = open(&place);
    let mut writing = region.write().expect("nobody writes");
    *writing = [7; 8];
    owner.kill();
    eventually("its death is known", || region.version().is_err());
    refused(writing.commit(), "Ended");
}

/// A writer in another process, flat out.
#[test]
fn a_version_stays_whole_for_as_long_as_it_is_read() {
    let place = Place::new();
    let region = options(place.domain()).create("board").expect("a free name");
    let mut other = start(&place, "writer");
    let (done, begun) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let (mut last, mut seen, mut kept) = (0, 0, Vec::new());
                    let mut ends = false;
                    while !ends {
                        ends = done.load(Relaxed);
                        let guard = region.read().expect("it lives");
                        let (version, number) = (guard.version(), whole(&guard));
                        assert_eq!(version, number + 1, "another version's data");
                        assert!(version >= last, "version {version} after {last}");
                        if last == 0 {
                            begun.fetch_add(1, Relaxed);
                        }
                        seen += u64::from(version > last);
                        last = version;
                        let got = whole(&region.get().expect("it lives"));
                        assert!(got >= number, "{got} after {number}");
                        kept.push((guard, version));
                        if kept.len() == 8 {
                            let (guard, version) = kept.swap_remove((number % 8) as usize);
                            assert_eq!(
                                (guard.version(), whole(&guard) + 1),
                                (version, version),
                                "it changed"
                            );
                        }
                    }
                    kept.iter().for_each(|(guard, version)| assert_eq!(whole(guard) + 1, *version));
                    seen
                })
            })
            .collect();
        eventually("both have read", || begun.load(Relaxed) == 2);
        other.say("add 30000");
        other.expect("adds");
        other.expect("added");
        done.store(true, Relaxed);
        for reader in readers {
            let seen = reader.join().expect("no panic");
            assert!(seen >= 2, "the first version, and the last at least: {seen}");
        }
    });
    assert_eq!((region.version(), region.get()), (Ok(30_001), Ok([30_000; 8])));
}

#[test]
fn what_several_add_adds_up() {
    let place = Place::new();
    let region = options(place.domain()).create("board").expect("a free name");
    let mut others: Vec<Child> = (0..4).map(|at| start(&place, &format!("adder {at}"))).collect();
    others.iter_mut().for_each(|other| other.say("add 2000"));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    region.update(|board| board.iter_mut().for_each(|word| *word += 1)).expect("it lives");
                }
            });
        }
    });
    for other in &mut others {
        other.expect("adds");
        other.expect("added");
    }
    assert_eq!((region.version(), region.get()), (Ok(12_001), Ok([12_000; 8])));
}

#[test]
fn a_forked_child_is_told() {
    let place = Place::new();
    let region = options(place.domain()).own("board").expect("a free name");
    let (reading, writing) = (region.read().expect("it lives"), region.write().expect("it lives"));
    let child = fork(|| {
        refused(region.read(), "Forked");
        refused(region.get(), "Forked");
        refused(region.write(), "Forked");
        refused(region.set(&[1; 8]), "Forked");
        refused(region.wait_for_change(0), "Forked");
        assert_eq!(open(&place).get(), Ok([0; 8]), "it may open its own");
    });
    assert!(wait_for(child), "the child was content");
    // Nothing of ours went with it.
    assert_eq!((whole(&reading), writing.commit(), region.set(&[1; 8])), (0, Ok(2), Ok(3)));
}

/// Anything plain, of any length and alignment.
#[test]
fn data_of_any_type() {
    fn check<D: Data + Copy + PartialEq + std::fmt::Debug>(place: &Place, values: [D; 3]) {
        let region = Region::<D>::options().domain(place.domain()).own("any").expect("a free name");
        for (version, value) in (2..).zip(values) {
            assert_eq!(region.set(&value), Ok(version));
            let guard = region.read().expect("it lives");
            assert_eq!(*guard, value);
            assert_eq!(region.len(), size_of::<D>());
        }
    }
    let place = Place::new();
    check(&place, [1_u8, 2, 3]);
    check(&place, [1.5_f64, -0.5, 2.5]);
    check(&place, [[1_u8; 63], [2; 63], [3; 63]]);
    check(&place, [[1_u64; 511], [2; 511], [3; 511]]);
    check(&place, [[1_u64; 512], [2; 512], [3; 512]]);
    check(&place, [[1_u64; 3000], [2; 3000], [3; 3000]]);
}
