//! Regions of which there is one copy: two users of one, of whom only one may move it; rubbish in every word that others can write.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::Context;
use std::time::Duration;

use futures_util::task::noop_waker;
use tubepost::{Domain, Error, Region, RegionOptions};

use crate::citizen::{dialogue, kind};
use crate::permissions::{ANN, BEN, Directory, GROUP, users};
use crate::stage::{Child, Cue, Dice, PATIENCE, Place, Role, become_member};

pub const ROLES: &[Role] = &[("in-place settler", settler), ("in-place prober", prober)];

type Board = [u64; 8];
/// Nobody holds it for longer while others wait.
const LEASE: Duration = Duration::from_millis(2);

fn options(domain: &Domain) -> RegionOptions<Board> {
    Region::options().domain(domain)
}

/// A user of a region; the arguments are the domain's path, user and group.
fn settler(cue: &mut Cue) {
    let [user, group] = cue.rest(1).expect("user and group").map(|it| it.parse().expect("a number"));
    become_member(user, group);
    let domain = Domain::open(cue.arg(0)).expect("the group's domain");
    let (mut region, mut writing): (Option<&'static Region<Board>>, _) = (None, None);
    loop {
        let line = cue.hear();
        let words: Vec<&str> = line.split(' ').collect();
        let number = || words[1].parse().expect("a number");
        let has = || region.expect("it is open");
        let said = match words[0] {
            "make" => {
                let options = options(&domain).lease_max(LEASE).mode(0o660).group(GROUP).in_place();
                options.create("board").map(|made| {
                    region = Some(Box::leak(Box::new(made)));
                    0
                })
            }
            "open" => options(&domain).open("board").map(|opened| {
                region = Some(Box::leak(Box::new(opened)));
                0
            }),
            "write" => has().write().map(|guard| {
                writing = Some(guard);
                0
            }),
            "commit" => writing.take().expect("it writes").commit(),
            "get" => has().get().map(|board| board[7]),
            "set" => has().set(&[number(); 8]),
            "repair" => has().repair_timeout(PATIENCE, |board| *board = [number(); 8]),
            "try-to-repair" => has().repair_timeout(20 * LEASE, |board| *board = [number(); 8]),
            other => panic!("what is {other}?"),
        };
        cue.say(said.map_or_else(|error| kind(&error), |number| number.to_string()));
    }
}

/// What another made would be his file: only the user whose region it is moves it. Others wait.
#[test]
fn only_its_user_moves_it() {
    if !users("only_its_user_moves_it") {
        return;
    }
    let domain = Directory::shared();
    let user = |user: u32| {
        let path = domain.path().to_str().expect("our own path");
        Child::start("in-place settler", &[path, &user.to_string(), &GROUP.to_string()])
    };
    let (mut ann, mut ben, mut bob) = (user(ANN), user(BEN), user(BEN));
    dialogue(&mut ann, &[("make", "0"), ("set 1", "2")]);
    dialogue(&mut ben, &[("open", "0"), ("get", "1"), ("write", "0")]);
    dialogue(&mut bob, &[("open", "0"), ("get", "Poisoned"), ("try-to-repair 2", "TimedOut")]);
    dialogue(&mut ann, &[("get", "Poisoned"), ("repair 3", "3"), ("set 4", "4")]);
    dialogue(&mut ben, &[("get", "4"), ("commit", "LeaseExpired"), ("get", "4"), ("write", "0")]);
    // Who has let go, or is dead, is waited for by nobody.
    dialogue(&mut bob, &[("get", "Poisoned")]);
    ben.kill();
    dialogue(&mut bob, &[("repair 5", "5"), ("get", "5")]);
    dialogue(&mut ann, &[("get", "5"), ("set 6", "6")]);
}

/// Does everything with the region, whatever its words say, each time it is told; the argument is the domain.
fn prober(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let region = options(&domain).open("board").expect("it exists");
    let to_read = options(&domain).open_to_read("board").expect("it exists");
    let seen = |error: Error| assert!(!error.to_string().is_empty());
    cue.say("ready");
    loop {
        let how = cue.hear();
        for region in [&region, &to_read] {
            let _ = region.get().map_err(seen);
            let _ = region.try_read().map(|guard| (guard.version(), guard[7])).map_err(seen);
            let _ = region.read_timeout(4 * LEASE).map(|guard| guard.is_expired()).map_err(seen);
            let _ =
                (region.version().map_err(seen), region.wait_for_change_timeout(1, LEASE / 2).map_err(seen));
            let _ = region.stat().map_err(seen);
        }
        let _ = region.try_write().and_then(tubepost::Writing::commit).map_err(seen);
        let _ = region.write_timeout(4 * LEASE).map(|mut guard| guard[0] ^= 1).map_err(seen);
        // Left half done, or not; once somebody stays with it.
        let mut kept = region.write_timeout(4 * LEASE).map_err(seen);
        let _ = kept.as_mut().map(|guard| guard[1] ^= 1);
        let _ = region.repair_timeout(20 * LEASE, |board| board[2] ^= 1).map_err(seen);
        let _ = kept.map(|mut guard| {
            guard[3] ^= 1;
            guard.commit().map_err(seen)
        });
        let _ = region.repair_timeout(20 * LEASE, |board| board[4] ^= 1).map_err(seen);
        let _ = region.update(|board| board[5] ^= 1).map_err(seen);
        let mut turn = pin!(region.write_async());
        let _ = turn.as_mut().poll(&mut Context::from_waker(&noop_waker()));
        let _ = domain.stat("board").map_err(seen);
        if how == "anew" {
            let opened = options(&domain).open("board").map(|region| region.get().map_err(seen));
            let _ = opened.map_err(seen);
        }
        cue.say("alive");
    }
}

fn file(place: &Place, is: impl Fn(&str) -> bool) -> File {
    let mut files =
        fs::read_dir(place.path()).expect("a directory").map(|entry| entry.expect("an entry").path());
    let named =
        |path: &PathBuf| path.file_name().is_some_and(|name: &_| is(&Path::new(name).to_string_lossy()));
    let path = files.find(named).expect("it lies there");
    File::options().read(true).write(true).open(path).expect("ours")
}

/// Where it says where the data is.
const PLACE: u64 = 0x88;
const EDGES: [u64; 6] = [0, 1, u64::MAX, 1 << 63 | 0x7FFF, 1 << 32, 1 << 32 | 7];

#[test]
fn rubbish_in_a_region_in_place() {
    let place = Place::new();
    options(place.domain()).lease_max(LEASE).in_place().create("board").expect("a free name");
    let words = file(&place, |name| name.ends_with("~data"));
    let mut prober = Child::start("in-place prober", &[&place.arg()]);
    prober.expect("ready");
    let mut is_alive = |how: &str, what: &str| {
        prober.say(how);
        match prober.hear_or_end() {
            Ok(said) => assert_eq!(said, "alive", "{what}"),
            Err(None) => panic!("{what}: the prober hangs"),
            Err(Some(status)) => panic!("{what}: the prober ended by {status}"),
        }
    };
    is_alive("anew", "as it was made");
    let write = |file: &File, at: u64, value: u64| {
        file.write_all_at(&value.to_le_bytes(), at).expect("within the file");
    };
    let seats = (0..2).flat_map(|seat: u64| (0..6).map(move |word| 0x2000 + 128 * seat + 8 * word));
    let all: Vec<u64> = [0x80, PLACE, 0x100, 0x108].into_iter().chain(seats).collect();
    // Where the data is is told again each time: else there would be none for the rest.
    let place_now = || {
        let mut word = [0; 8];
        words.read_exact_at(&mut word, PLACE).expect("within the file");
        u64::from_le_bytes(word)
    };
    for at in &all {
        for value in EDGES {
            let before = place_now();
            write(&words, *at, value);
            // The home that there is, too.
            let home = file(&place, |name| name.contains("~data~"));
            [0x40, 0x80].iter().for_each(|at| write(&home, *at, value));
            is_alive("go", &format!("{value:#x} at {at:#x}"));
            if *at == PLACE {
                write(&words, PLACE, before);
            }
        }
    }
    for seed in 0..20 {
        let (mut dice, before) = (Dice::new(seed), place_now());
        for _ in 0..20 {
            let at = all[dice.below(all.len() as u64) as usize];
            let value = if dice.below(2) == 0 { dice.roll() } else { dice.below(64) << dice.below(40) };
            write(&words, at, value);
        }
        is_alive(if seed % 4 == 0 { "anew" } else { "go" }, &format!("seed {seed}"));
        write(&words, PLACE, before);
    }
}
