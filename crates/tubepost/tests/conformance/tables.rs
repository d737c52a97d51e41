//! Tables: keys come and go as in a map, whoever writes; each entry says when it was written; readers have one version of all.

use std::collections::HashMap;

use tubepost::{Domain, Error, Region, Table};

use crate::stage::{Child, Cue, Place, Role};

pub const ROLES: &[Role] = &[("table adder", adder), ("table maker", maker)];

const KEYS: u64 = 7;
const ROUNDS: u64 = 300;

fn open(domain: &Domain) -> Table<u64, u64> {
    Table::options().domain(domain).open("table").expect("it exists")
}

/// Adds one to each key, again and again.
fn adder(cue: &mut Cue) {
    let table = open(&Domain::open(cue.arg(0)).expect("the test's domain"));
    for round in 0..ROUNDS {
        let key = round % KEYS;
        if table.update(&key, |count| *count += 1).expect("a turn").is_none() {
            // Another may insert it first.
            match table.insert_if(&key, &1, None) {
                Ok(_) => {}
                Err(Error::Changed { .. }) => {
                    table.update(&key, |count| *count += 1).expect("a turn").expect("it is there");
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    cue.say("done");
}

/// Makes one and takes it away, again and again.
fn maker(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    cue.say("begins");
    loop {
        drop(Table::<u64, u64>::options().domain(&domain).capacity(16).create("table").expect("a free name"));
        domain.remove("table").expect("ours");
    }
}

/// It is whole when it has its name, whoever finds it then, and if its maker is killed.
#[test]
fn a_table_that_is_there_is_whole() {
    let place = Place::new();
    let mut child = Child::start("table maker", &[&place.arg()]);
    child.expect("begins");
    let open = || Table::<u64, u64>::options().domain(place.domain()).open("table");
    let mut found = 0;
    while found < 300 {
        match open() {
            Ok(_) => found += 1,
            Err(Error::NoSuchName { .. } | Error::Ended { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    child.kill();
    if let Err(other) = open() {
        assert!(matches!(other, Error::NoSuchName { .. } | Error::Ended { .. }), "{other}");
    }
}

#[test]
fn what_several_processes_add_adds_up() {
    let place = Place::new();
    let table = Table::<u64, u64>::options()
        .domain(place.domain())
        .capacity(KEYS)
        .create("table")
        .expect("a free name");
    let mut adders: Vec<_> = (0..3).map(|_| Child::start("table adder", &[&place.arg()])).collect();
    for adder in &mut adders {
        assert_eq!(adder.hear(), "done");
    }
    let all = table.read().expect("it is there");
    assert_eq!(all.len() as u64, KEYS);
    assert_eq!(all.iter().map(|entry| entry.value).sum::<u64>(), 3 * ROUNDS);
    assert!(all.iter().all(|entry| entry.version <= all.version() && entry.version > 1));
}

/// Random changes, beside a map. Keys are few, so that their places meet.
#[test]
fn keys_come_and_go_as_in_a_map() {
    let place = Place::new();
    let capacity = 24;
    let tables = Table::<[u8; 3], [u32; 2]>::options().domain(place.domain());
    let table = tables.capacity(capacity).create("table").expect("a free name");
    let other =
        Table::<[u8; 3], [u32; 2]>::options().domain(place.domain()).open("table").expect("it exists");
    let mut map: HashMap<[u8; 3], ([u32; 2], u64)> = HashMap::new();
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    for step in 0..4000_u32 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let key = [(seed >> 8) as u8 % 4, (seed >> 16) as u8 % 4, (seed >> 24) as u8 % 3];
        let table = if seed & 1 == 0 { &table } else { &other };
        match seed >> 40 & 3 {
            0 => {
                assert_eq!(table.remove(&key), Ok(map.remove(&key).is_some()));
            }
            1 => {
                let changed = table.update(&key, |value| value[1] += 1).expect("a turn");
                assert_eq!(changed.is_some(), map.contains_key(&key));
                if let (Some(version), Some(entry)) = (changed, map.get_mut(&key)) {
                    (entry.0[1], entry.1) = (entry.0[1] + 1, version);
                }
            }
            _ => {
                let value = [step, 0];
                match table.insert(&key, &value) {
                    Ok(version) => {
                        map.insert(key, (value, version));
                    }
                    Err(error) => {
                        assert_eq!(error, Error::TableFull { name: "table".into(), capacity });
                        assert!(map.len() as u64 == capacity && !map.contains_key(&key));
                    }
                }
            }
        }
        assert_eq!(table.get_versioned(&key).expect("it is there"), map.get(&key).copied());
        if step % 64 == 0 {
            let all = table.read().expect("it is there");
            let found: HashMap<_, _> =
                all.iter().map(|entry| (entry.key, (entry.value, entry.version))).collect();
            assert_eq!((found.len(), &found), (all.len(), &map));
            assert!(map.keys().all(|key| all.get(key) == Some(map[key].0)));
        }
    }
}

#[test]
fn several_changes_are_one_version_or_none() {
    let place = Place::new();
    let table =
        Table::<u32, u32>::options().domain(place.domain()).capacity(8).own("table").expect("a free name");
    let before = table.version().expect("it is there");
    let mut writing = table.write().expect("nobody else writes");
    (0..3).for_each(|key| writing.insert(&key, &key).expect("room"));
    assert!(writing.remove(&1) && !writing.remove(&9));
    assert_eq!(table.get(&0), Ok(None));
    drop(writing);
    assert_eq!((table.get(&0), table.version()), (Ok(None), Ok(before)));

    let mut writing = table.write().expect("nobody else writes");
    (0..3).for_each(|key| writing.insert(&key, &key).expect("room"));
    assert_eq!(writing.commit(), Ok(before + 1));
    assert_eq!(table.get_versioned(&2), Ok(Some((2, before + 1))));
    let wrong = table.insert_if(&2, &5, Some(before));
    assert_eq!(wrong, Err(Error::Changed { name: "table".into(), expected: before, found: before + 1 }));
    assert_eq!(table.insert_if(&2, &5, Some(before + 1)), Ok(before + 2));
}

#[test]
fn all_agree_on_keys_and_values() {
    let place = Place::new();
    let _table =
        Table::<u32, u64>::options().domain(place.domain()).capacity(8).own("table").expect("a free name");
    let wrong = |result: Result<(), Error>| match result {
        Err(Error::WrongFormat { theirs, ours, .. }) => {
            assert!(theirs.contains("a table from u32") && theirs != ours)
        }
        other => panic!("{other:?}"),
    };
    wrong(Table::<u32, u32>::options().domain(place.domain()).open("table").map(drop));
    wrong(Table::<u64, u64>::options().domain(place.domain()).open("table").map(drop));
    wrong(Region::<[u8]>::options().domain(place.domain()).open("table").map(drop));
    for capacity in [0, 1 << 40] {
        let made = Table::<u32, u32>::options().domain(place.domain()).capacity(capacity).own("other");
        assert!(matches!(made, Err(Error::BadOption { what: "the capacity of a table", .. })), "{capacity}");
    }
}
