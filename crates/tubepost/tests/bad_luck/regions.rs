//! Regions: two users of one, a full file system, and rubbish in every word that others can write.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tubepost::{Domain, Error, Region, RegionOptions};

use crate::citizen::{dialogue, kind};
use crate::memory::{fill, no_memory, on_a_small_file_system, small};
use crate::permissions::{ANN, BEN, Directory, EVE, GROUP, NO_GROUP, users};
use crate::stage::{Child, Cue, Dice, Place, Role, become_member, eventually};

pub const ROLES: &[Role] = &[
    ("settler", settler),
    ("region-cramped", cramped),
    ("region-halved", halved),
    ("region-prober", prober),
];

type Board = [u64; 8];
const MIB: u64 = 1 << 20;
/// Nobody holds it for longer while others wait.
const LEASE: Duration = Duration::from_millis(2);

fn options(domain: &Domain) -> RegionOptions<Board> {
    Region::options().domain(domain)
}

/// A user of a region; the arguments are the domain's path, user and group.
fn settler(cue: &mut Cue) {
    let [user, group] = cue.rest(1).expect("user and group").map(|it| it.parse().expect("a number"));
    become_member(user, group);
    let path = cue.arg(0).to_owned();
    let domain = || Domain::open(&path).map_err(|error| kind(&error));
    let mut region: Option<&'static Region<Board>> = None;
    let (mut reading, mut writing) = (None, None);
    let whole = |board: &Board| {
        assert!(board.iter().all(|word| *word == board[0]), "torn: {board:?}");
        board[0].to_string()
    };
    let said = |result: Result<String, Error>| result.unwrap_or_else(|error| kind(&error));
    loop {
        let line = cue.hear();
        let words: Vec<&str> = line.split(' ').collect();
        let has = || region.expect("it is open");
        cue.say(match words[0] {
            "make" | "open" | "open-to-read" => {
                let opened = domain().and_then(|domain| {
                    let mut options = options(&domain);
                    if words[0] == "make" {
                        options =
                            options.mode(u32::from_str_radix(words[1], 8).expect("a mode")).group(GROUP);
                        options.create("board").map_err(|error| kind(&error))
                    } else if words[0] == "open" {
                        options.open("board").map_err(|error| kind(&error))
                    } else {
                        options.open_to_read("board").map_err(|error| kind(&error))
                    }
                });
                opened.map_or_else(
                    |why| why,
                    |opened| {
                        region = Some(Box::leak(Box::new(opened)));
                        "ok".into()
                    },
                )
            }
            "set" => said(has().set(&[words[1].parse().expect("a number"); 8]).map(|it| it.to_string())),
            "get" => said(has().get().map(|board| whole(&board))),
            "pin" => said(has().read().map(|guard| whole(reading.insert(guard)))),
            "look" => whole(reading.as_ref().expect("it is pinned")),
            "let-go" => {
                reading = None;
                "ok".into()
            }
            "write" => said(has().write().map(|mut guard| {
                *guard = [words[1].parse().expect("a number"); 8];
                writing = Some(guard);
                "ok".into()
            })),
            "commit" => said(writing.take().expect("it writes").commit().map(|it| it.to_string())),
            "remove" => {
                domain().map_or_else(|why| why, |domain| said(domain.remove("board").map(|_| "ok".into())))
            }
            other => panic!("what is {other}?"),
        });
    }
}

fn user(domain: &Directory, user: u32, group: u32) -> Child {
    let path = domain.path().to_str().expect("our own path");
    Child::start("settler", &[path, &user.to_string(), &group.to_string()])
}

/// The file that has the data: the other one is called as the region is.
fn data_file(domain: &Path) -> PathBuf {
    let mut files = fs::read_dir(domain).expect("a directory").map(|entry| entry.expect("an entry").path());
    files
        .find(|path| !path.ends_with("board") && fs::metadata(path).is_ok_and(|it| it.is_file()))
        .expect("it has data")
}

#[test]
fn two_users_of_one_region() {
    if !users("two_users_of_one_region") {
        return;
    }
    let domain = Directory::shared();
    let (mut ann, mut ben, mut eve) =
        (user(&domain, ANN, GROUP), user(&domain, BEN, GROUP), user(&domain, EVE, NO_GROUP));
    // Who may read, and no more: the kernel keeps it so.
    dialogue(&mut ann, &[("make 640", "ok"), ("set 1", "2")]);
    dialogue(
        &mut ben,
        &[("open", "Denied"), ("open-to-read", "ok"), ("get", "1"), ("pin", "1"), ("set 5", "Denied")],
    );
    assert!(matches!(ben.ask("write 5").as_str(), "Denied"));
    dialogue(&mut ann, &[("set 2", "3"), ("set 3", "4")]);
    dialogue(&mut ben, &[("look", "1"), ("get", "3"), ("remove", "Denied")]);
    assert_eq!(eve.ask("open-to-read"), "Denied");
    // What he pins when he dies comes back, though he has another uid.
    for number in 4..100 {
        dialogue(&mut ben, &[("pin", &(number - 1).to_string())]);
        dialogue(&mut ann, &[(&format!("set {number}"), &(number + 1).to_string())]);
    }
    ben.kill();
    for number in 100..180 {
        dialogue(&mut ann, &[(&format!("set {number}"), &(number + 1).to_string())]);
    }
    dialogue(&mut ann, &[("remove", "ok")]);
    // Who may do both.
    let mut ben = user(&domain, BEN, GROUP);
    dialogue(&mut ann, &[("make 660", "ok"), ("set 1", "2")]);
    dialogue(&mut ben, &[("open", "ok"), ("get", "1"), ("set 2", "3"), ("write 3", "ok")]);
    dialogue(&mut ann, &[("get", "2"), ("pin", "2")]);
    dialogue(&mut ben, &[("commit", "4"), ("write 4", "ok")]);
    dialogue(&mut ann, &[("get", "3"), ("look", "2")]);
    // He dies with it.
    ben.kill();
    dialogue(&mut ann, &[("set 5", "5"), ("get", "5"), ("look", "2"), ("pin", "5")]);
    // Where another may write to what one looks at, one looks at a copy.
    let file = File::options().write(true).open(data_file(domain.path())).expect("root may");
    let length = file.metadata().expect("it is open").len();
    file.write_all_at(&[0xEE; 4096], length - 64 * 64).expect("within the file");
    dialogue(&mut ann, &[("look", "5")]);
    dialogue(&mut ann, &[("set 6", "6"), ("get", "6"), ("remove", "ok")]);
}

/// A region on a file system that is full.
fn cramped(cue: &mut Cue) {
    let Some(domain) = small(cue, "8m") else { return };
    let sized = |size: u64| Region::<[u8]>::options().domain(&domain).size(size).create("board");
    for size in [9 * MIB, 1 << 40] {
        let Err(error) = sized(size) else { panic!("{size} bytes fit 8 MiB") };
        no_memory(&error, domain.path(), size);
        let Error::NoMemory { available, .. } = error else { unreachable!() };
        assert!(available > 7 * MIB, "it is empty, but for what was tried: {available}");
    }
    assert_eq!(fs::read_dir(domain.path()).expect("it is there").count(), 0, "nothing is left of it");
    let region = sized(2 * MIB).expect("there is room");
    let set = |byte: u8| {
        let mut writing = region.write()?;
        writing.fill(byte);
        writing.commit()
    };
    let same = |bytes: &[u8], byte: u8| assert!(bytes.iter().all(|it| *it == byte), "not all {byte}");
    for lap in 0..3 {
        set(lap).expect("two fit");
        // Kept versions take all there is.
        let mut kept = Vec::new();
        let mut number = lap;
        let error = loop {
            kept.push((region.read().expect("it lives"), number));
            match set(number + 1) {
                Ok(_) => number += 1,
                Err(error) => break error,
            }
            assert!(kept.len() < 5, "of 2 MiB each in 8");
        };
        no_memory(&error, domain.path(), 2 * MIB);
        fill(&domain);
        for _ in 0..20 {
            match region.try_write() {
                Err(error) => no_memory(&error, domain.path(), 2 * MIB),
                Ok(_) => panic!("there is no memory"),
            }
        }
        kept.iter().for_each(|(guard, byte)| same(guard, *byte));
        same(&region.get().expect("it lives"), number);
        // It goes on with what is let go of, or comes.
        if lap == 0 {
            fs::remove_file(domain.path().join("..filler")).expect("our own");
            kept.clear();
        } else {
            drop(kept.remove(0));
        }
        set(number + 1).expect("there is room again");
        same(&region.get().expect("it lives"), number + 1);
        kept.iter().for_each(|(guard, byte)| same(guard, *byte));
        drop(kept);
        let _ = fs::remove_file(domain.path().join("..filler"));
        for number in 0..20 {
            set(number).expect("two fit");
        }
    }
    cue.say("done");
}

#[test]
fn a_region_in_a_full_file_system() {
    on_a_small_file_system("a_region_in_a_full_file_system", "region-cramped");
}

/// A version for which there is half of the memory that it needs: it takes none.
fn halved(cue: &mut Cue) {
    let Some(domain) = small(cue, "64m") else { return };
    let region = Region::<[u8]>::options().domain(&domain).size(25 * MIB).create("board");
    let region = region.expect("there is room");
    let kept = region.read().expect("it lives");
    let set = |byte: u8| region.update(|board| board.fill(byte));
    set(1).expect("two fit");
    let occupied = || domain.stat("board").expect("it is there").region.expect("it is one").data_bytes;
    let before = occupied();
    for _ in 0..3 {
        no_memory(&set(2).expect_err("three don't fit"), domain.path(), 25 * MIB);
        assert_eq!(occupied(), before, "what there was of it is there for others");
    }
    Region::<[u8]>::options().domain(&domain).size(MIB).create("other").expect("there is room");
    assert!(kept.iter().all(|byte| *byte == 0));
    drop(kept);
    set(3).expect("two fit");
    cue.say("done");
}

#[test]
fn a_version_that_does_not_fit_takes_no_memory() {
    on_a_small_file_system("a_version_that_does_not_fit_takes_no_memory", "region-halved");
}

/// Those who wait go by what others noted; but not by what is in the future.
#[test]
fn rubbish_where_it_is_noted_since_when_one_waits() {
    let place = Place::new();
    let lease = 20 * LEASE;
    let region = options(place.domain()).lease_max(lease).create("board").expect("a free name");
    let file = File::options().read(true).write(true).open(data_file(place.path())).expect("it lies there");
    let word = |at: u64| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, at).expect("within the file");
        u64::from_le_bytes(bytes)
    };
    for since in [u64::MAX, u64::MAX / 2] {
        let late = region.write().expect("nobody writes");
        let current = word(0x80);
        let note = 0x2000 + (current >> 7 & 0xFF) * 128 + 0x20;
        file.write_all_at(&(current >> 15).to_le_bytes(), note).expect("within the file");
        file.write_all_at(&since.to_le_bytes(), note + 8).expect("within the file");
        let begin = Instant::now();
        let comes = |_: &i32| {
            let other = options(place.domain()).open("board").expect("it exists");
            other.write_timeout(LEASE).is_ok()
        };
        assert!((0..200).find(comes).is_some(), "all of them waited in vain");
        assert!(begin.elapsed() >= lease, "it was promised more: {:?}", begin.elapsed());
        assert!(matches!(late.commit(), Err(Error::LeaseExpired { .. })));
    }
}

/// Does everything with the region, whatever its words say, each time it is told; the argument is the domain.
fn prober(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let short = Region::<Board>::options().domain(&domain).open("board").expect("it exists");
    let long = Region::<[u8]>::options().domain(&domain).open("long").expect("it exists");
    let mut kept = Vec::new();
    cue.say("ready");
    loop {
        let how = cue.hear();
        let seen = |error: Error| assert!(!error.to_string().is_empty());
        if how == "pin" {
            kept.extend(short.read().ok());
            cue.say(kept.len() == 1);
            continue;
        }
        let _ = short.get().map_err(seen);
        let _ = short.read().map(|guard| (guard.version(), guard.is_expired(), guard[7])).map_err(seen);
        let _ = short.try_write().and_then(tubepost::Writing::commit).map_err(seen);
        let edit = |mut guard: tubepost::Writing<'_, Board>| {
            let version = guard.version();
            guard[0] ^= u64::from(guard.is_expired());
            guard.commit_if(version)
        };
        let _ = short.write_timeout(4 * LEASE).and_then(edit).map_err(seen);
        let _ = short.set(&[1; 8]).map_err(seen);
        let _ = short.update(|board| board[3] ^= 1).map_err(seen);
        let _ = (short.version().map_err(seen), short.wait_for_change_timeout(1, LEASE / 2).map_err(seen));
        let _ = long.get().map_err(seen);
        let pinned = long.read().map_err(seen);
        let ranges = |mut guard: tubepost::Writing<'_, [u8]>| {
            guard.range_mut(4000..5000).fill(1);
            guard.range_mut(9000..).fill(1);
            guard.commit()
        };
        for _ in 0..2 {
            let _ = long.write_timeout(4 * LEASE).and_then(ranges).map_err(seen);
        }
        drop(pinned);
        let _ = (domain.stat("board").map_err(seen), domain.gc().map_err(seen));
        if how == "anew" {
            let opened = options(&domain).open("board").map(|region| region.get().map_err(seen));
            let _ = opened.map_err(seen);
            let opened = options(&domain)
                .open_to_read("board")
                .map(|region| region.read().map(|it| it[0]).map_err(seen));
            let _ = opened.map_err(seen);
            let opened = Region::<[u8]>::options()
                .domain(&domain)
                .open("long")
                .map(|region| region.get().map_err(seen));
            let _ = opened.map_err(seen);
        }
        cue.say("alive");
    }
}

/// Two regions, their data's files, and one who uses them.
struct Probed {
    place: Place,
    prober: Child,
    /// The file of the short one's data comes first.
    data: [File; 2],
}

impl Probed {
    fn new() -> Probed {
        let place = Place::new();
        let open = |path: PathBuf| File::options().read(true).write(true).open(path).expect("it lies there");
        options(place.domain()).lease_max(LEASE).create("board").expect("a free name");
        let short = data_file(place.path());
        Region::<[u8]>::options()
            .domain(place.domain())
            .size(10_000)
            .lease_max(LEASE)
            .create("long")
            .expect("a free name");
        let beside = |path: &PathBuf| *path != short && !path.ends_with("board") && !path.ends_with("long");
        let mut files =
            fs::read_dir(place.path()).expect("a directory").map(|it| it.expect("an entry").path());
        let long = files.find(beside).expect("it has data");
        let mut prober = Child::start("region-prober", &[&place.arg()]);
        prober.expect("ready");
        prober.say("anew");
        prober.expect("alive");
        Probed { place, prober, data: [open(short), open(long)] }
    }

    #[track_caller]
    fn is_alive(&mut self, how: &str, what: &str) {
        self.prober.say(how);
        match self.prober.hear_or_end() {
            Ok(said) => assert_eq!(said, "alive", "{what}"),
            Err(None) => panic!("{what}: the prober hangs"),
            Err(Some(status)) => panic!("{what}: the prober ended by {status}"),
        }
    }
}

const EDGES: [u64; 4] = [0, 1, u64::MAX, 1 << 63 | 0x7FFF];

/// Every word of what the data's file says, but for its identity.
#[test]
fn rubbish_in_a_region_in_use() {
    let mut probed = Probed::new();
    let heads = (0..3).flat_map(|buffer: u64| (0..3).map(move |word| 0x1000 + 64 * buffer + 8 * word));
    let seats = (0..2).flat_map(|seat: u64| (0..6).map(move |word| 0x2000 + 128 * seat + 8 * word));
    let changes = (0..2).flat_map(|buffer: u64| (0..5).map(move |word| 0xA000 + 1024 * buffer + 8 * word));
    let words: Vec<u64> = [0x80, 0x100, 0x108].into_iter().chain(heads).chain(seats).chain(changes).collect();
    for at in words {
        for value in EDGES {
            for which in 0..2 {
                probed.data[which].write_all_at(&value.to_le_bytes(), at).expect("within the file");
            }
            probed.is_alive("go", &format!("{value:#x} at {at:#x}"));
        }
    }
    // All at once.
    for seed in 0..20 {
        let mut dice = Dice::new(seed);
        for _ in 0..200 {
            let area =
                [(0x80, 144), (0x1000, 0x1000), (0x2000, 0x1000), (0xA000, 0x2000)][dice.below(4) as usize];
            let at = area.0 + dice.below(area.1 / 8) * 8;
            let value = if dice.below(2) == 0 { dice.roll() } else { dice.below(64) << dice.below(16) };
            let which = dice.below(2) as usize;
            probed.data[which].write_all_at(&value.to_le_bytes(), at).expect("within the file");
        }
        probed.is_alive(if seed % 4 == 0 { "anew" } else { "go" }, &format!("seed {seed}"));
    }
}

/// Where the two files differ, in words.
fn differences(before: &[u8], after: &[u8]) -> Vec<u64> {
    let words = before.as_chunks::<8>().0.iter().zip(after.as_chunks::<8>().0);
    (0..).zip(words).filter(|(_, (one, other))| one != other).map(|(at, _)| 8 * at).collect()
}

/// The rows of readers, which everybody who may read can write.
#[test]
fn rubbish_in_the_rows_of_readers() {
    let mut probed = Probed::new();
    let path = probed.place.file("board");
    let before = fs::read(&path).expect("it lies there");
    assert_eq!(probed.prober.ask("pin"), "true");
    let after = fs::read(&path).expect("it lies there");
    // What it pinned is behind the rows of members, which are not touched by that.
    let row = differences(&before, &after).into_iter().max().expect("it wrote something");
    let row = row / 128 * 128;
    let file = File::options().write(true).open(&path).expect("it lies there");
    for at in (row..row + 4 * 128).step_by(8) {
        for value in EDGES {
            file.write_all_at(&value.to_le_bytes(), at).expect("within the file");
            probed.is_alive("go", &format!("{value:#x} at {at:#x}"));
        }
    }
    for seed in 0..60 {
        let mut dice = Dice::new(seed);
        for _ in 0..20 {
            let value = if dice.below(2) == 0 { dice.roll() } else { dice.below(256) };
            file.write_all_at(&value.to_le_bytes(), row + 8 * dice.below(64)).expect("within the file");
        }
        probed.is_alive("anew", &format!("seed {seed}"));
    }
}

/// What has a region's name says what waits there, which is nothing: rubbish there is an error for whoever looks.
#[test]
fn rubbish_where_a_region_says_what_it_is() {
    let place = Place::new();
    options(place.domain()).create("board").expect("a free name");
    let path = place.file("board");
    let file = File::options().read(true).write(true).open(&path).expect("it lies there");
    // Capacity, longest message, alignment, ceiling, answers, places.
    for at in [0x28, 0x30, 0x38, 0x58, 0x78, 0x240] {
        let mut real = [0; 8];
        file.read_exact_at(&mut real, at).expect("within the file");
        let is = u64::from_le_bytes(real);
        for value in EDGES.into_iter().chain([is ^ 1 << 21, is ^ 4, is + 512]).filter(|value| *value != is) {
            file.write_all_at(&value.to_le_bytes(), at).expect("within the file");
            let opened = options(place.domain()).open("board").map(drop);
            let told = place.domain().stat("board").map(drop);
            for refused in [opened, told] {
                let right = matches!(refused, Err(Error::Damaged { .. }));
                assert!(right, "{value:#x} at {at:#x}: {refused:?}");
            }
            assert!(place.domain().list().is_ok(), "{value:#x} at {at:#x}");
        }
        file.write_all_at(&real, at).expect("within the file");
    }
    assert!(options(place.domain()).open("board").is_ok(), "as it was");
}

/// A data file of other things, or cut: an error for whoever opens it.
#[test]
fn rubbish_where_the_data_of_a_region_should_be() {
    let place = Place::new();
    options(place.domain()).create("board").expect("a free name");
    let path = data_file(place.path());
    let real = fs::read(&path).expect("it lies there");
    let refused = |what: &str| {
        let (one, other) =
            (options(place.domain()).open("board"), options(place.domain()).open_to_read("board"));
        for opened in [one, other] {
            match opened {
                Err(Error::Damaged { .. } | Error::WrongVersion { .. }) => {}
                other => panic!("{what}: {other:?}"),
            }
        }
        let told = place.domain().stat("board");
        // It may look at less.
        let fine = matches!(told, Ok(_) | Err(Error::Damaged { .. } | Error::WrongVersion { .. }));
        assert!(fine, "{what}: {told:?}");
    };
    let file = File::options().write(true).open(&path).expect("it lies there");
    // But for the lease: any is one.
    for at in [0, 8, 0x10, 0x18, 0x20, 0x28, 0x38] {
        for value in EDGES {
            let old = &real[at..at + 8];
            if value.to_le_bytes() != old {
                file.write_all_at(&value.to_le_bytes(), at as u64).expect("within the file");
                refused(&format!("{value:#x} at {at:#x}"));
            }
        }
        file.write_all_at(&real[at..at + 8], at as u64).expect("within the file");
    }
    options(place.domain()).open("board").expect("all is as it was");
    for length in [0, 1, 63, 0x40, 0x1000, 0x2000, 0xA000, real.len() as u64 - 4096, real.len() as u64 + 4096]
    {
        file.set_len(length).expect("it is ours");
        refused(&format!("{length} bytes"));
    }
    fs::remove_file(&path).expect("it lies there");
    for _ in 0..2 {
        assert!(options(place.domain()).open("board").is_err(), "there is no data");
    }
    place.domain().remove("board").expect("it can be removed");
    eventually("nothing is left", || place.files().is_empty());
}
