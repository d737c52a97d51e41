//! Containers, by what they are made of: each kind of namespace around one end or the other. Deaths are
//! noticed, equal pids are not confused, deadlines hold, and what can't be done is an error with a type.

use std::time::{Duration, Instant};

use tubepost::Mailbox;

use crate::citizen::dialogue;
use crate::permissions::{Directory, users};
use crate::stage::{Child, Place, skip};

/// Across pid namespaces nobody is told of a death: who waits looks once a second.
const NOTICED: Duration = Duration::from_millis(2500);

/// A pid namespace of its own, where the role is process 1.
const PID: &[&str] = &["-p", "-f", "--kill-child"];
/// The same, with a /proc that fits.
const PID_AND_PROC: &[&str] = &["-p", "-f", "--kill-child", "--mount-proc"];

/// A citizen within these namespaces, or a skip.
fn within(test: &str, flags: &[&str], args: &[&str]) -> Option<Child> {
    match Child::start_within(flags, "citizen", args) {
        Ok(child) => Some(child),
        Err(why) => {
            skip(test, &why);
            None
        }
    }
}

/// Expects an answer that was asked for before, and not later than a death has to be noticed.
#[track_caller]
fn noticed(child: &mut Child, since: Instant, answer: &str) {
    assert_eq!(child.hear(), answer);
    let took = since.elapsed();
    assert!(took < NOTICED, "noticed after {took:?}");
}

#[test]
fn an_owner_dies_in_another_pid_namespace() {
    let test = "an_owner_dies_in_another_pid_namespace";
    for (flags, insides) in [(PID, &[true, false][..]), (PID_AND_PROC, &[false])] {
        for &owner_inside in insides {
            let place = Place::new();
            let Some(mut inside) = within(test, flags, &[&place.arg()]) else { return };
            let mut outside = Child::start("citizen", &[&place.arg()]);
            assert_eq!(inside.ask("pid"), "1");
            let (owner, sender) =
                if owner_inside { (&mut inside, &mut outside) } else { (&mut outside, &mut inside) };
            dialogue(owner, &[("own box 600 1", "ok")]);
            dialogue(sender, &[("sender box", "ok"), ("send box 0 first", "ok")]);
            // Nothing is wrong yet: it waits, also longer than it takes to look for the dead.
            dialogue(sender, &[("send box 1200 second", "TimedOut")]);
            dialogue(owner, &[("recv box 0", "ok first 0")]);
            dialogue(sender, &[("send box 0 third", "ok")]);
            sender.say("send box 20000 fourth");
            owner.kill();
            noticed(sender, Instant::now(), "Closed 1");
            dialogue(sender, &[("sender box", "NoSuchName"), ("own box 600 1", "ok"), ("drop box", "ok")]);
            assert!(place.files().is_empty());
        }
    }
}

/// Receivers that are both process 1, each in its own namespace.
#[test]
fn receivers_with_equal_pids() {
    let test = "receivers_with_equal_pids";
    let place = Place::new();
    let Some(mut ann) = within(test, PID, &[&place.arg()]) else { return };
    let Some(mut ben) = within(test, PID_AND_PROC, &[&place.arg()]) else { return };
    let mut out = Child::start("citizen", &[&place.arg()]);
    assert_eq!((ann.ask("pid"), ben.ask("pid")), ("1".into(), "1".into()));
    dialogue(&mut out, &[("create box 600 8", "ok"), ("sender box", "ok")]);
    dialogue(&mut out, &[("send box 0 anns", "ok"), ("send box 0 *50000", "ok"), ("send box 0 bens", "ok")]);
    dialogue(&mut ann, &[("receiver box", "ok"), ("take box 0", "ok anns 0"), ("take box 0", "ok *50000 0")]);
    dialogue(&mut ben, &[("receiver box", "ok"), ("take box 0", "ok bens 0")]);
    // Whoever looks, from wherever: both live, and keep what they have.
    dialogue(&mut out, &[("gc", "removed "), ("list", "box 0 3")]);
    dialogue(&mut ben, &[("gc", "removed "), ("recv box 1500", "TimedOut"), ("list", "box 0 3")]);
    // Process 1 dies; process 1 gets what it had, and keeps its own.
    ben.say("recv box 20000");
    ann.kill();
    noticed(&mut ben, Instant::now(), "ok anns 1");
    dialogue(&mut ben, &[("recv box 2500", "ok *50000 1"), ("list", "box 0 1"), ("accept", "ok")]);
    dialogue(&mut out, &[("gc", "removed "), ("list", "box 0 0")]);
    // A sender in there, and one that enters a namespace that is there already.
    dialogue(
        &mut ben,
        &[("sender box", "ok"), ("send box 0 from-one", "ok"), ("recv box 0", "ok from-one 0")],
    );
    let inner = child_of(ben.pid());
    let mut late = Child::start_beside(inner, &["-p", "-m"], "citizen", &[&place.arg()]);
    assert_ne!(late.ask("pid"), late.pid().to_string());
    dialogue(&mut late, &[("receiver box", "ok"), ("sender box", "ok"), ("send box 0 late", "ok")]);
    dialogue(&mut late, &[("take box 0", "ok late 0")]);
    ben.say("recv box 20000");
    // Entering a pid namespace takes a child: it is that which has the message.
    crate::stage::signal(child_of(late.pid()), libc::SIGKILL);
    noticed(&mut ben, Instant::now(), "ok late 1");
}

/// The one process that another started: `unshare` and `nsenter` fork before they start what they are for.
fn child_of(parent: u32) -> u32 {
    let parent_of = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat[stat.rfind(')')? + 1..].split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let pids = std::fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|it| it.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.into_iter().find(|pid| parent_of(*pid) == Some(parent)).expect("it has a child")
}

/// Where neither side sees a /proc, nobody knows in which namespace a pid means something. Then nobody is
/// taken for dead because of a pid, even by those who have no other way to ask.
#[test]
fn a_pid_without_a_namespace_proves_nothing() {
    let test = "a_pid_without_a_namespace_proves_nothing";
    let place = Place::new();
    let Some(mut owner) = within(test, &["-m"], &[&place.arg()]) else { return };
    let Some(mut sender) = within(test, &["-m", "-p", "-f", "--kill-child"], &[&place.arg()]) else { return };
    for child in [&mut owner, &mut sender] {
        match child.ask("hide-proc").strip_prefix("skip ") {
            Some(why) => return skip(test, why),
            None => assert!(child.pid() > 1),
        }
    }
    dialogue(&mut owner, &[("own box 600 1", "ok")]);
    dialogue(&mut sender, &[("sender box", "ok"), ("send box 0 first", "ok"), ("no-files", "ok")]);
    // The owner's pid is nobody's in the sender's namespace.
    dialogue(&mut sender, &[("send box 1500 second", "TimedOut")]);
    dialogue(&mut owner, &[("recv box 0", "ok first 0")]);
    dialogue(&mut sender, &[("send box 0 third", "ok")]);
    dialogue(&mut owner, &[("recv box 0", "ok third 0")]);
}

/// Namespaces that have nothing to do with memory, files and pids change nothing.
#[test]
fn other_namespaces_do_not_matter() {
    let test = "other_namespaces_do_not_matter";
    for flags in [&["-i"][..], &["-m"], &["-u", "-n"], &["-C"], &["-i", "-m", "-u", "-n", "-p", "-f"]] {
        let place = Place::new();
        let Some(mut inside) = within(test, flags, &[&place.arg()]) else { return };
        let mut outside = Child::start("citizen", &[&place.arg()]);
        dialogue(&mut inside, &[("create box 600 2", "ok"), ("receiver box", "ok")]);
        dialogue(&mut outside, &[("sender box", "ok")]);
        inside.say("recv box 20000");
        dialogue(&mut outside, &[("send box 0 hello", "ok")]);
        assert_eq!(inside.hear(), "ok hello 0", "{flags:?}");
        dialogue(&mut outside, &[("send box 0 *70000", "ok"), ("send box 0 x", "ok")]);
        outside.say("send box 20000 woken");
        dialogue(&mut inside, &[("recv box 0", "ok *70000 0")]);
        assert_eq!(outside.hear(), "ok", "{flags:?}");
    }
}

/// The same directory under another path, as containers mount it.
#[test]
fn another_path_to_the_same_domain() {
    let test = "another_path_to_the_same_domain";
    let (place, mounted) = (Place::new(), Place::new());
    let Some(mut inside) = within(test, &["-m", "-p", "-f", "--kill-child"], &[&mounted.arg()]) else {
        return;
    };
    let mut outside = Child::start("citizen", &[&place.arg()]);
    if let Some(why) = inside.ask(format!("bind {}", place.arg())).strip_prefix("skip ") {
        return skip(test, why);
    }
    dialogue(&mut outside, &[("create box 600 1", "ok"), ("sender box", "ok"), ("receiver box", "ok")]);
    dialogue(&mut inside, &[("list", "box 0 0"), ("receiver box", "ok"), ("own mine 600 2", "ok")]);
    inside.say("recv box 20000");
    dialogue(&mut outside, &[("send box 0 *70000", "ok"), ("sender mine", "ok"), ("send mine 0 x", "ok")]);
    assert_eq!(inside.hear(), "ok *70000 0");
    dialogue(&mut outside, &[("send box 0 last", "ok")]);
    dialogue(&mut inside, &[("take box 0", "ok last 0")]);
    outside.say("recv box 20000");
    inside.kill();
    noticed(&mut outside, Instant::now(), "ok last 1");
    dialogue(&mut outside, &[("closed mine 5000", "closed 1"), ("remove box", "ok 0"), ("list", "")]);
}

/// A clock that began at another time: deadlines are lengths of time, and death is no matter of clocks.
#[test]
fn a_shifted_clock() {
    let test = "a_shifted_clock";
    let place = Place::new();
    let shifted = ["-T", "-f", "--kill-child", "--monotonic", "100000000", "--boottime", "100000000"];
    let Some(mut late) = within(test, &shifted, &[&place.arg()]) else { return };
    let mut here = Child::start("citizen", &[&place.arg()]);
    dialogue(&mut here, &[("create box 600 1", "ok")]);
    for child in [&mut late, &mut here] {
        dialogue(child, &[("sender box", "ok"), ("receiver box", "ok")]);
    }
    let on_time = |child: &mut Child, line: &str| {
        let begin = Instant::now();
        assert_eq!(child.ask(line), "TimedOut", "{line}");
        let took = begin.elapsed();
        assert!((Duration::from_millis(300)..NOTICED).contains(&took), "{line} took {took:?}");
    };
    for lap in 0..2 {
        let (one, other) = if lap == 0 { (&mut late, &mut here) } else { (&mut here, &mut late) };
        on_time(one, "recv box 300");
        dialogue(other, &[("send box 0 hello", "ok")]);
        on_time(one, "send box 300 no-room");
        on_time(other, "send box 300 no-room");
        dialogue(one, &[("take box 0", "ok hello 0")]);
        on_time(other, "recv box 300");
        dialogue(one, &[("accept", "ok")]);
    }
    dialogue(&mut here, &[("send box 0 last", "ok")]);
    dialogue(&mut late, &[("take box 0", "ok last 0")]);
    here.say("recv box 20000");
    late.kill();
    noticed(&mut here, Instant::now(), "ok last 1");
}

/// A domain mounted for reading only: it can be seen that there are things, and not what they are; who was in
/// before stays in.
#[test]
fn a_read_only_domain() {
    let test = "a_read_only_domain";
    let place = Place::new();
    let Some(mut inside) = within(test, &["-m"], &[&place.arg()]) else { return };
    let mut owner = Child::start("citizen", &[&place.arg()]);
    let keeper = Mailbox::<[u8]>::options().domain(place.domain()).create("kept");
    keeper.expect("a free name");
    dialogue(&mut owner, &[("own box 600 1", "ok")]);
    dialogue(&mut inside, &[("sender box", "ok"), ("sender kept", "ok")]);
    match inside.ask("read-only").strip_prefix("skip ") {
        Some(why) => return skip(test, why),
        None => dialogue(&mut inside, &[("domain", "ok")]),
    }
    dialogue(
        &mut inside,
        &[
            ("create new 600 1", "Denied"),
            ("own new 600 1", "Denied"),
            ("own box 600 1", "Denied"),
            ("receiver kept", "Denied"),
            ("stat box", "Denied"),
            ("remove kept", "Denied"),
            ("list", "box Denied; kept Denied"),
            ("gc", "removed ; left box Denied; left kept Denied"),
            ("send box 0 still", "ok"),
            ("send kept 0 *50000", "ok"),
            ("sender box", "Denied"),
        ],
    );
    dialogue(&mut owner, &[("recv box 0", "ok still 0"), ("receiver kept", "ok")]);
    dialogue(&mut owner, &[("recv kept 0", "ok *50000 0")]);
    dialogue(&mut inside, &[("send box 0 again", "ok")]);
    inside.say("send box 20000 more");
    owner.kill();
    noticed(&mut inside, Instant::now(), "Closed 1");
}

/// In a user namespace that does not know the owner: what the mode lets its group do can be done, and being
/// root in there is being nobody to others' names.
#[test]
fn an_owner_unknown_in_here() {
    let test = "an_owner_unknown_in_here";
    const GROUP: u32 = 41_300;
    const ANN: u32 = 41_301;
    if !users(test) {
        return;
    }
    let shared = Directory::shared_by(GROUP);
    let arg = shared.path().to_str().expect("our own path");
    let mut owner = Child::start("citizen", &[arg]);
    dialogue(
        &mut owner,
        &[("create box 660 4", "ok"), ("create shut 600 4", "ok"), ("own mine 660 4", "ok")],
    );
    dialogue(&mut owner, &[("receiver box", "ok"), ("sender box", "ok")]);
    // Ann starts a container in which she is root and nobody else exists.
    let (user, group) = (ANN.to_string(), GROUP.to_string());
    let mut ann = Child::start_as(&user, &group, &["unshare", "-U", "-r"], "citizen", &[arg]);
    dialogue(
        &mut ann,
        &[
            ("domain", "ok"),
            ("sender box", "ok"),
            ("receiver box", "ok"),
            ("send box 0 from-ann", "ok"),
            ("remove box", "Denied"),
            ("take-away mine", "Denied"),
            ("remove shut", "Denied"),
            ("gc", "removed ; left shut Denied"),
            ("create anns 660 4", "ok"),
        ],
    );
    dialogue(
        &mut owner,
        &[("take box 0", "ok from-ann 0"), ("send box 0 *60000", "ok"), ("recv mine 0", "TimedOut")],
    );
    dialogue(&mut ann, &[("take box 0", "ok *60000 0")]);
    owner.kill();
    dialogue(&mut ann, &[("recv box 2500", "ok from-ann 1"), ("accept", "ok"), ("sender mine", "OwnerGone")]);
    assert_eq!(ann.ask("gc"), "removed ; left mine Denied; left shut Denied");
    let mut root = Child::start("citizen", &[arg]);
    dialogue(&mut root, &[("gc", "removed mine"), ("remove anns", "ok 0"), ("remove box", "ok 0")]);
}
