//! What is told of a region: its version, who writes and since when somebody waits for it, who reads, what is set aside.

use std::time::Duration;

use tubepost::{Domain, Error, Kind, Region, RegionOptions, RegionStat};

use crate::stage::{Child, Cue, Place, Role, eventually};

pub const ROLES: &[Role] = &[("region_writer", write), ("region_owner", own)];

const LEASE: Duration = Duration::from_secs(3600);

fn options(domain: &Domain) -> RegionOptions<[u8]> {
    Region::<[u8]>::options().domain(domain).size(100).lease_max(LEASE)
}

/// Writes, and commits when told.
fn write(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("it is there");
    let region =
        Region::<[u8]>::options().domain(&domain).member(cue.arg(1)).open("told").expect("it is there");
    let writing = region.write_for(Duration::from_secs(60)).expect("it comes to its turn");
    cue.say("writes");
    cue.hear();
    cue.say(writing.commit().expect("nobody took over"));
}

fn own(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("it is there");
    let _region = options(&domain).own("told").expect("it is free");
    cue.say("owned");
    cue.hear();
}

fn told(domain: &Domain) -> RegionStat {
    let stat = domain.stat("told").expect("it is there");
    assert_eq!((stat.kind, stat.size), (Kind::Region, Some(100)));
    stat.region.expect("it is a region")
}

#[test]
fn who_writes_and_reads_is_told() {
    let place = Place::new();
    let domain = place.domain();
    let region = options(domain).create("told").expect("it is free");
    let idle = told(domain);
    assert_eq!((idle.version, idle.lease_max, idle.writer.is_none()), (1, LEASE, true));
    assert_eq!((idle.writers_waiting, idle.readers, idle.readers_behind, idle.set_aside), (0, 0, 0, 0));
    assert!(idle.data_bytes > 0);
    let first = region.read().expect("it is there");
    region.set(&[1; 100]).expect("nobody writes");
    let (second, third) = (region.read().expect("it is there"), region.read().expect("it is there"));
    let read = told(domain);
    assert_eq!((read.version, read.readers, read.readers_behind, read.set_aside), (2, 3, 1, 1));
    drop((second, third));

    let mut writer = Child::start("region_writer", &[&place.arg(), "first"]);
    writer.expect("writes");
    let writes = told(domain).writer.expect("somebody writes");
    assert_eq!((writes.who.pid, writes.who.name.as_str(), writes.alive), (writer.pid(), "first", true));
    assert_eq!((writes.lease, writes.waited_for), (Duration::from_secs(60), None));
    let next = Child::start("region_writer", &[&place.arg(), "second"]);
    eventually("somebody waits", || {
        let now = told(domain);
        now.writers_waiting == 1 && now.writer.is_some_and(|writer| writer.waited_for.is_some())
    });
    eventually("it has waited for a while", || {
        let waited = told(domain).writer.expect("it writes still").waited_for;
        waited > Some(Duration::from_millis(20))
    });
    assert_eq!(region.stat().expect("it is there").region.map(|told| told.writers_waiting), Some(1));
    // A dead one is shown as such until the next one takes over, which is seen to wait no more.
    next.stop();
    writer.kill();
    let dead = told(domain).writer.expect("nobody could take over");
    assert_eq!((dead.who.pid, dead.alive), (writer.pid(), false));
    next.go_on();
    let mut next = next;
    next.expect("writes");
    let now = told(domain);
    assert_eq!(now.writer.map(|writer| writer.who.pid), Some(next.pid()));
    assert_eq!((now.writers_waiting, now.version), (0, 2));
    assert_eq!(next.ask("commit"), "3");
    assert_eq!((told(domain).version, first[0]), (3, 0));
}

/// Who died while it waited waits no more, though its seat is swept only by who comes next.
#[test]
fn a_dead_one_does_not_wait() {
    let place = Place::new();
    let domain = place.domain();
    let _region = options(domain).create("told").expect("it is free");
    let mut writer = Child::start("region_writer", &[&place.arg(), "writer"]);
    writer.expect("writes");
    let mut waiting =
        ["first", "second"].map(|called| Child::start("region_writer", &[&place.arg(), called]));
    eventually("both wait", || told(domain).writers_waiting == 2);
    writer.stop();
    for left in [1, 0] {
        waiting[left as usize].stop(); // so that it sweeps nobody
        waiting[left as usize].kill();
        assert_eq!(told(domain).writers_waiting, left);
    }
}

/// Whatever is left of a dead one's: it is listed, and goes.
#[test]
fn what_a_dead_owner_left_goes_with_its_data_or_without() {
    let place = Place::new();
    for removed in [false, true] {
        let mut owner = Child::start("region_owner", &[&place.arg()]);
        owner.expect("owned");
        owner.kill();
        let data = place.files().into_iter().find(|file| file.ends_with("~data")).expect("a file beside it");
        if removed {
            std::fs::remove_file(place.path().join(data)).expect("ours");
        }
        let listed = &place.domain().list().expect("it can be read")[0];
        let stat = listed.stat.as_ref().expect("it is known for what it is");
        assert_eq!((stat.kind, stat.owner.alive), (Kind::Region, false));
        assert_eq!(stat.size, Some(if removed { 0 } else { 100 }));
        assert!(
            matches!(place.domain().stat("told"), Err(Error::OwnerGone { pid, .. }) if pid == owner.pid())
        );
        assert_eq!(place.domain().gc().expect("it can be read").removed, ["told"]);
        assert_eq!(place.files(), Vec::<String>::new());
    }
}

#[test]
fn who_may_only_read_may_look() {
    let place = Place::new();
    let domain = place.domain();
    let _region = options(domain).own("told").expect("it is free");
    let reader = Region::<[u8]>::options().domain(domain).open_to_read("told").expect("it is there");
    let reading = reader.read().expect("it is there");
    let stat = reader.stat().expect("it is there");
    assert_eq!(stat.region.as_ref().map(|told| told.readers), Some(1));
    assert_eq!((stat.capacity, stat.depth, stat.sent, stat.max_message, stat.ceiling), (None, 0, 0, 0, 0));
    assert_eq!(domain.stat("told"), Ok(stat.clone()));
    assert_eq!(domain.list().expect("it can be read")[0].stat, Ok(stat));
    drop(reading);
    let denied = reader.write().unwrap_err();
    let text = denied.to_string();
    assert!(matches!(denied, Error::Denied { .. }) && text.contains("read only"), "{text}");
    domain.remove_owned("told").expect("it is ours");
    assert!(matches!(reader.stat(), Err(Error::Ended { .. })));
}
