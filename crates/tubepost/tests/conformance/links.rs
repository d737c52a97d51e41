//! Links: processes that name each other. One link for each two, both ways, on every capacity; whoever dies.

use std::collections::HashMap;
use std::time::Duration;

use tubepost::{
    Domain, End, Error, Link, LinkOptions, Message, Process, RecvError, RecvTimeoutError, SendError,
    Strategy, TryRecvError, TrySendError,
};

use crate::cast::words;
use crate::rows::Capacity;
use crate::stage::{Child, Cue, PATIENCE, Place, Role, eventually, until_asleep};

pub const ROLES: &[Role] = &[("peer", peer)];

/// What a link can be.
#[derive(Clone, Copy, Debug)]
struct Sort {
    strategy: Strategy,
    capacity: Capacity,
}

const CAPACITIES: &[Capacity] = &[
    Capacity::Bounded(1),
    Capacity::Bounded(2),
    Capacity::Bounded(7),
    Capacity::Bounded(64),
    Capacity::Bounded(1024),
    Capacity::Zero,
    Capacity::Unbounded(0),
];

/// What the kernel carries as well.
const OF_THE_KERNEL: &[Capacity] =
    &[Capacity::Bounded(1), Capacity::Bounded(2), Capacity::Bounded(7), Capacity::Bounded(64)];

fn on_every_sort(test: impl Fn(Sort)) {
    let shared = CAPACITIES.iter().map(|capacity| (Strategy::Shared, *capacity));
    let kernel = OF_THE_KERNEL.iter().map(|capacity| (Strategy::Kernel, *capacity));
    for (strategy, capacity) in shared.chain(kernel) {
        eprintln!("with {capacity:?}, {strategy}");
        test(Sort { strategy, capacity });
    }
}

/// On both strategies, with this capacity.
fn on_both(capacity: u64, test: impl Fn(Sort)) {
    for strategy in [Strategy::Shared, Strategy::Kernel] {
        eprintln!("by {strategy}");
        test(Sort { strategy, capacity: Capacity::Bounded(capacity) });
    }
}

fn options<M: Message + ?Sized>(Sort { strategy, capacity }: Sort) -> LinkOptions<M> {
    let options = Link::options().strategy(strategy);
    match capacity {
        Capacity::Zero => options.bounded(0),
        Capacity::Bounded(n) => options.bounded(n),
        Capacity::Unbounded(_) => options.unbounded(),
    }
}

fn join(place: &Place, name: &str) -> Process {
    Process::options().domain(place.domain()).join(name).expect("a free name in a fresh domain")
}

/// A process that does what it is told; the arguments are domain, name.
fn peer(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let me = match Process::options().domain(&domain).join(cue.arg(1)) {
        Ok(me) => me,
        Err(error) => return cue.say(format!("refused {error}")),
    };
    cue.say("joined");
    let mut link: Option<Link<u64>> = None;
    loop {
        let line = cue.hear();
        let words = words(&line);
        match words[..] {
            // Sets up the link with that process, waiting for it; or comes to the one that is there.
            ["link", peer] => {
                let opened = Link::options().connect(&me, peer, PATIENCE);
                cue.say(opened.as_ref().map_or_else(|error| format!("refused {error}"), |_| "linked".into()));
                link = opened.ok();
            }
            ["link", peer, "by", strategy] => {
                let strategy = if strategy == "kernel" { Strategy::Kernel } else { Strategy::Shared };
                let opened = Link::options().strategy(strategy).connect(&me, peer, PATIENCE);
                cue.say(opened.as_ref().map_or_else(|error| format!("refused {error}"), |_| "linked".into()));
                link = opened.ok();
            }
            ["link", peer, capacity] => {
                let options = Link::options().bounded(capacity.parse().expect("a number"));
                let opened = options.open(&me, peer);
                cue.say(opened.as_ref().map_or_else(|error| format!("refused {error}"), |_| "linked".into()));
                link = opened.ok();
            }
            // Sends the numbers from one to another, and says how far that came.
            ["send", from, to] => {
                let link = link.as_ref().expect("linked before");
                let numbers = from.parse().expect("a number")..to.parse().expect("a number");
                let failed =
                    numbers.clone().find_map(|number: u64| link.send(number).err().map(|why| (number, why)));
                cue.say(
                    failed
                        .map_or_else(|| "sent".into(), |(number, why)| format!("failed at {number}: {why}")),
                );
            }
            // Receives so many, which have to be the numbers from that one on.
            ["recv", from, count] => {
                let link = link.as_ref().expect("linked before");
                let from: u64 = from.parse().expect("a number");
                let count: u64 = count.parse().expect("a number");
                let wrong = (from..from + count).find_map(|number| {
                    let got = link.recv_timeout(PATIENCE);
                    (got != Ok(number)).then(|| format!("instead of {number}: {got:?}"))
                });
                cue.say(wrong.unwrap_or_else(|| "received".into()));
            }
            // Sends back each number that comes, until the link is over.
            ["echo"] => {
                let link = link.as_ref().expect("linked before");
                cue.say("echoing");
                while let Ok(number) = link.recv() {
                    if link.send(number).is_err() {
                        break;
                    }
                }
                cue.say("over");
            }
            ["leave"] => {
                link = None;
                me.leave();
                cue.say("left");
            }
            _ => panic!("a peer does not know {line:?}"),
        }
    }
}

fn start(place: &Place, name: &str) -> Child {
    let mut child = Child::start("peer", &[&place.arg(), name]);
    assert_eq!(child.hear(), "joined");
    child
}

#[test]
fn both_ways_each_message_arrives_once_and_in_order() {
    on_every_sort(|sort| {
        let place = Place::new();
        let alice = join(&place, "alice");
        let mut bob = start(&place, "bob");
        let link = options::<u64>(sort).open(&alice, "bob").expect("bob is there");
        assert_eq!(bob.ask("link alice"), "linked");
        let n = match sort {
            Sort { capacity: Capacity::Zero, .. } => 2000,
            Sort { strategy: Strategy::Kernel, .. } => 5000,
            _ => 20_000,
        };
        assert_eq!(bob.ask("echo"), "echoing");
        std::thread::scope(|scope| {
            scope.spawn(|| (0..n).for_each(|number| link.send(number).expect("bob receives")));
            for number in 0..n {
                assert_eq!(link.recv_timeout(PATIENCE), Ok(number));
            }
        });
        assert_eq!(link.try_recv(), Err(TryRecvError::Empty));
    });
}

#[test]
fn a_living_process_keeps_its_name_and_a_dead_one_does_not() {
    let place = Place::new();
    let mut bob = start(&place, "bob");
    let pid = bob.pid();
    let refused = Process::options().domain(place.domain()).join("bob").map(drop);
    assert_eq!(refused, Err(Error::Joined { name: "bob".into(), pid }));
    bob.kill();
    let heir = join(&place, "bob");
    assert_eq!(heir.name(), "bob");
    // A mailbox can't be called so either, and a process is none.
    let taken = tubepost::Mailbox::<u64>::options().domain(place.domain()).own("bob").map(drop);
    assert_eq!(taken, Err(Error::Joined { name: "bob".into(), pid: std::process::id() }));
    let opened = tubepost::Sender::<u64>::options().domain(place.domain()).open("bob").map(drop);
    assert!(matches!(opened, Err(Error::WrongKind { .. })), "{opened:?}");
    let _mailbox =
        tubepost::Mailbox::<u64>::options().domain(place.domain()).own("box").expect("a free name");
    let linked = heir.link::<u64>("box").map(drop);
    assert!(matches!(linked, Err(Error::WrongKind { .. })), "{linked:?}");
}

#[test]
fn who_is_not_there_is_waited_for_or_not() {
    let place = Place::new();
    let alice = join(&place, "alice");
    assert!(matches!(alice.link::<u64>("bob"), Err(Error::NoSuchName { .. })));
    let short = Link::<u64>::options().connect(&alice, "bob", Duration::from_millis(20));
    assert!(matches!(short, Err(Error::NoSuchName { .. })));
    let waiting = std::thread::spawn(move || {
        let link = Link::<u64>::options().connect(&alice, "bob", PATIENCE).expect("bob comes");
        link.recv_timeout(PATIENCE)
    });
    let mut bob = start(&place, "bob");
    assert_eq!(bob.ask("link alice"), "linked");
    assert_eq!(bob.ask("send 7 8"), "sent");
    assert_eq!(waiting.join().expect("no panic"), Ok(7));
}

#[test]
fn there_is_one_link_and_it_is_what_the_first_one_said() {
    on_both(7, |sort| {
        let place = Place::new();
        let (alice, bob) = (join(&place, "alice"), join(&place, "bob"));
        let first = options::<u64>(sort).open(&alice, "bob").expect("bob is there");
        let second = alice.link::<u64>("bob").expect("the same");
        assert_eq!(
            (first.sender().id(), first.receiver().id()),
            (second.sender().id(), second.receiver().id())
        );

        let theirs = bob.link::<u64>("alice").expect("whatever it is");
        assert_eq!(theirs.sender().capacity(), Some(7));
        assert_eq!(
            (theirs.receiver().id(), theirs.sender().id()),
            (first.sender().id(), first.receiver().id())
        );

        for (wrong, side) in [
            (Link::<u64>::options().bounded(8).open(&bob, "alice").map(drop), "capacity 8"),
            (Link::<u64>::options().unbounded().open(&alice, "bob").map(drop), "unbounded"),
        ] {
            let Err(Error::WrongChoice { theirs, ours, .. }) = wrong else { panic!("{wrong:?}") };
            assert_eq!((&*theirs, &*ours), ("capacity 7", side), "what differs, and no more");
        }
        let Err(Error::WrongFormat { theirs, ours, .. }) = bob.link::<u32>("alice").map(drop) else {
            panic!("another type is another link")
        };
        assert!(theirs.contains("u64") && ours.contains("u32"), "{theirs} / {ours}");
        let itself = alice.link::<u64>("alice").map(drop);
        assert!(matches!(itself, Err(Error::BadOption { .. })), "{itself:?}");
    });
}

#[test]
fn a_one_way_link_leads_one_way() {
    on_both(7, |sort| {
        let place = Place::new();
        let (alice, bob) = (join(&place, "alice"), join(&place, "bob"));
        let out = options::<u64>(sort).one_way_to(&bob, "alice").expect("alice is there");
        let readings = Link::<u64>::options().one_way_from(&alice, "bob").expect("it is there");
        out.send(7).expect("there is room");
        assert_eq!(readings.recv_timeout(PATIENCE), Ok(7));
        for wrong in [
            Link::<u64>::options().one_way_to(&alice, "bob").map(drop),
            Link::<u64>::options().one_way_from(&bob, "alice").map(drop),
            alice.link::<u64>("bob").map(drop),
            bob.link::<u64>("alice").map(drop),
        ] {
            assert!(matches!(wrong, Err(Error::WrongChoice { .. })), "{wrong:?}");
        }
        // And what was refused did no harm.
        out.send(8).expect("there is room");
        assert_eq!(readings.recv_timeout(PATIENCE), Ok(8));
    });
}

/// The link of this process with a child, which has it too.
fn linked(place: &Place, sort: Sort) -> (Process, Child, Link<u64>) {
    let alice = join(place, "alice");
    let mut bob = start(place, "bob");
    let link = options::<u64>(sort).open(&alice, "bob").expect("bob is there");
    assert_eq!(bob.ask("link alice"), "linked");
    (alice, bob, link)
}

#[test]
fn a_dead_peers_messages_are_received_and_then_the_link_is_over() {
    on_every_sort(|sort| {
        let place = Place::new();
        let (_alice, mut bob, link) = linked(&place, sort);
        let n = match sort.capacity {
            Capacity::Zero => 0,
            Capacity::Bounded(n) => n.min(5),
            Capacity::Unbounded(_) => 5,
        };
        assert_eq!(bob.ask(format!("send 0 {n}")), "sent");
        for number in 0..n {
            link.send(number).expect("there is room");
        }
        bob.kill();
        for number in 0..n {
            assert_eq!(link.recv_timeout(PATIENCE), Ok(number));
        }
        assert!(
            matches!(link.recv_timeout(PATIENCE), Err(RecvTimeoutError::Closed(closed)) if closed.uncollected == 0)
        );
        assert!(matches!(link.try_recv(), Err(TryRecvError::Closed(_))));
        assert!(matches!(link.send(1), Err(SendError::Closed(1, closed)) if closed.uncollected == n));
        assert!(matches!(link.try_send(1), Err(TrySendError::Closed(1, closed)) if closed.uncollected == n));
        assert!(!link.peer_has_left());
    });
}

#[test]
fn a_peer_that_leaves_is_as_good_as_dead_and_says_so() {
    on_every_sort(|sort| {
        let place = Place::new();
        let (alice, mut bob, link) = linked(&place, sort);
        let receiver = link.receiver().clone();
        let waiting = std::thread::spawn(move || receiver.recv());
        assert_eq!(bob.ask("leave"), "left");
        assert!(matches!(waiting.join().expect("no panic"), Err(RecvError::Closed(_))));
        assert!(link.peer_has_left());
        assert!(link.send(7).is_err_and(|error| error.is_closed()));
        assert!(matches!(alice.link::<u64>("bob"), Err(Error::NoSuchName { .. })));
    });
}

#[test]
fn who_waits_in_a_link_is_told_of_a_death() {
    on_every_sort(|sort| {
        let place = Place::new();
        let (_alice, mut bob, link) = linked(&place, sort);
        let (sender, receiver) = (link.sender().clone(), link.receiver().clone());
        let mut threads =
            vec![std::thread::spawn(move || receiver.recv().map(drop).is_err_and(|e| e.is_closed()))];
        if !matches!(sort.capacity, Capacity::Unbounded(_)) {
            threads.push(std::thread::spawn(move || {
                loop {
                    if let Err(error) = sender.send(7) {
                        return error.is_closed();
                    }
                }
            }));
        }
        bob.kill();
        for thread in threads {
            assert!(thread.join().expect("no panic"), "closed is what is told");
        }
    });
}

#[test]
fn killed_while_it_sends_a_peer_has_sent_the_first_so_many() {
    on_both(64, |sort| {
        for _ in 0..10 {
            let place = Place::new();
            let (_alice, mut bob, link) = linked(&place, sort);
            bob.say("send 0 100000000");
            let mut next = 0;
            while next < 5000 {
                assert_eq!(link.recv_timeout(PATIENCE), Ok(next));
                next += 1;
            }
            bob.kill();
            loop {
                match link.recv_timeout(PATIENCE) {
                    Ok(number) => assert_eq!(number, next),
                    Err(RecvTimeoutError::Closed(_)) => break,
                    Err(other) => panic!("{other:?}"),
                }
                next += 1;
            }
        }
    });
}

#[test]
fn a_stopped_peer_is_not_a_dead_one() {
    on_both(2, |sort| {
        let place = Place::new();
        let (_alice, mut bob, link) = linked(&place, sort);
        bob.stop();
        assert_eq!(link.recv_timeout(Duration::from_millis(50)), Err(RecvTimeoutError::Timeout));
        link.send(0).expect("there is room");
        link.send(1).expect("there is room");
        assert!(matches!(link.try_send(2), Err(TrySendError::Full(2))));
        bob.go_on();
        assert_eq!(bob.ask("recv 0 2"), "received");
    });
}

#[test]
fn an_inbox_receives_from_everybody_and_says_from_whom() {
    on_both(64, |sort| {
        let place = Place::new();
        let monitor = join(&place, "monitor");
        let inbox = monitor.inbox::<u64>().expect("numbers need no label");
        let names: Vec<String> = (0..5).map(|n| format!("sensor-{n}")).collect();
        let mut sensors: Vec<Child> = names.iter().map(|name| start(&place, name)).collect();
        for sensor in &mut sensors {
            assert_eq!(sensor.ask(format!("link monitor by {}", sort.strategy)), "linked");
            sensor.say("send 0 2000");
        }
        let mut next: HashMap<String, u64> = HashMap::new();
        for _ in 0..5 * 2000 {
            let envelope = inbox.recv_timeout(PATIENCE).expect("all send");
            let next = next.entry(envelope.sender.name.clone()).or_default();
            assert_eq!(envelope.message, *next, "from {}", envelope.sender.name);
            *next += 1;
        }
        assert_eq!(inbox.try_recv().map(drop), Err(TryRecvError::Empty));
        assert_eq!(next.len(), 5);
        for (sensor, name) in sensors.iter_mut().zip(&names) {
            assert_eq!(sensor.hear(), "sent");
            // What is answered goes to that one.
            monitor.link::<u64>(name).expect("it is there").send(7).expect("there is room");
            assert_eq!(sensor.ask("recv 7 1"), "received");
        }
    });
}

#[test]
fn an_inbox_is_woken_by_one_message_each_time() {
    on_every_sort(|sort| {
        let place = Place::new();
        let monitor = join(&place, "monitor");
        let inbox = monitor.inbox::<u64>().expect("numbers need no label");
        let door = join(&place, "door");
        let link = options::<u64>(sort).open(&door, "monitor").expect("it is there");
        let (sayer, asleep) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..20 {
                    sayer.send(crate::stage::thread_id()).expect("the test listens");
                    assert_eq!(inbox.recv_timeout(PATIENCE).map(|envelope| envelope.message), Ok(number));
                }
            });
            for number in 0..20 {
                until_asleep(std::process::id(), asleep.recv().expect("it says who it is"));
                link.send(number).expect("it receives");
            }
        });
    });
}

#[test]
fn what_was_sent_before_a_process_left_is_received_by_an_inbox_and_by_a_link() {
    on_both(7, |sort| {
        let place = Place::new();
        let monitor = join(&place, "monitor");
        for round in 0..3 {
            let door = join(&place, "door");
            options::<u64>(sort)
                .open(&door, "monitor")
                .expect("it is there")
                .send(round)
                .expect("there is room");
            door.leave();
            assert_eq!(place.domain().gc().expect("our own domain").left_alone, []);
        }
        let window = join(&place, "window");
        options::<u64>(sort).open(&window, "monitor").expect("it is there").send(7).expect("there is room");
        window.leave();
        let left = monitor.link::<u64>("window").expect("it left something");
        assert_eq!(left.recv_timeout(PATIENCE), Ok(7));
        assert!(matches!(left.recv_timeout(PATIENCE), Err(RecvTimeoutError::Closed(_))));
        assert!(left.peer_has_left());

        let inbox = monitor.inbox::<u64>().expect("numbers need no label");
        let mut got: Vec<u64> =
            (0..3).map(|_| inbox.recv_timeout(PATIENCE).expect("there are three").message).collect();
        got.sort();
        assert_eq!(got, [0, 1, 2]);
        drop((left, inbox));
        monitor.leave();
        assert_eq!(place.files(), [""; 0]);
    });
}

#[test]
fn an_inbox_tells_once_of_a_link_that_speaks_otherwise() {
    on_both(7, |sort| {
        let place = Place::new();
        let monitor = join(&place, "monitor");
        let inbox = monitor.inbox::<u64>().expect("numbers need no label");
        let (door, window) = (join(&place, "door"), join(&place, "window"));
        options::<str>(sort)
            .open(&door, "monitor")
            .expect("it is there")
            .send("open")
            .expect("there is room");
        let refused = inbox.recv_timeout(PATIENCE).map(drop);
        assert!(matches!(refused, Err(RecvTimeoutError::Failed(Error::WrongFormat { .. }))), "{refused:?}");
        options::<u64>(sort).open(&window, "monitor").expect("it is there").send(7).expect("there is room");
        assert_eq!(inbox.recv_timeout(PATIENCE).map(|envelope| envelope.message), Ok(7));
        assert_eq!(inbox.try_recv().map(drop), Err(TryRecvError::Empty));
    });
}

#[test]
fn a_monitor_tells_once_whenever_it_is_asked() {
    let place = Place::new();
    let alice = join(&place, "alice");
    let (mut left, mut died) = (start(&place, "left"), start(&place, "died"));
    let mut monitors = ["left", "died"].map(|name| alice.monitor(name).expect("it is there"));
    for monitor in &mut monitors {
        assert_eq!(monitor.wait_timeout(Duration::ZERO), Ok(None));
    }
    let mut waiting = alice.monitor("died").expect("it is there");
    let waiting = std::thread::spawn(move || waiting.wait());
    assert_eq!(left.ask("leave"), "left");
    died.kill();
    for (monitor, end) in monitors.iter_mut().zip([End::Left, End::Died]) {
        assert_eq!(monitor.wait_timeout(PATIENCE), Ok(Some(end)));
        assert_eq!(monitor.wait_timeout(PATIENCE), Ok(None), "that was told");
        assert_eq!(monitor.wait(), Ok(None));
    }
    assert_eq!(waiting.join().expect("no panic"), Ok(Some(End::Died)));
    assert_eq!(alice.monitor("left").expect("no trouble").wait(), Ok(Some(End::NotThere)));
    let mailbox = tubepost::Mailbox::<u64>::options().domain(place.domain()).own("box").expect("a free name");
    assert!(matches!(alice.monitor("box"), Err(Error::WrongKind { .. })));
    drop(mailbox);
}

#[test]
fn the_ends_of_a_link_can_do_all_that_those_of_a_mailbox_can() {
    on_every_sort(|sort| {
        let place = Place::new();
        let (alice, bob) = (join(&place, "alice"), join(&place, "bob"));
        let link = options::<[u8]>(sort).open(&alice, "bob").expect("bob is there");
        let other = bob.link::<[u8]>("alice").expect("it is there");
        let (out, inbox) = (link.sender().clone(), other.receiver().clone());
        let long = if sort.strategy == Strategy::Kernel { 3_000 } else { 100_000 };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                out.send_collected(b"collected").expect("bob receives");
                let mut loan = out.loan(1000).expect("there is memory");
                loan.fill(7);
                loan.send().expect("bob receives");
                out.send(&vec![9; long]).expect("bob receives");
                futures_executor::block_on(out.send_async(b"from a task")).expect("bob receives");
            });
            assert_eq!(inbox.recv_timeout(PATIENCE).as_deref(), Ok(&b"collected"[..]));
            let delivery = inbox.take_timeout(PATIENCE).expect("alice sends");
            assert_eq!((&delivery[..], delivery.sender().name.as_str()), (&[7; 1000][..], "alice"));
            drop(delivery); // it comes again
            let delivery = inbox.take_timeout(PATIENCE).expect("it came back");
            assert_eq!((&delivery[..], delivery.redelivered()), (&[7; 1000][..], 1));
            delivery.accept().expect("it is in our hand");
            assert_eq!(inbox.recv_timeout(PATIENCE).as_deref(), Ok(&vec![9; long][..]));
            assert_eq!(futures_executor::block_on(inbox.recv_async()).as_deref(), Ok(&b"from a task"[..]));
        });
    });
}

#[test]
fn nothing_is_left_of_processes_that_left_or_died() {
    on_both(7, |sort| {
        let place = Place::new();
        let (alice, mut bob, link) = linked(&place, sort);
        let mut carol = start(&place, "carol");
        let to_carol = options::<u64>(sort).open(&alice, "carol").expect("she is there");
        assert_eq!(bob.ask("leave"), "left");
        carol.kill();
        assert!(to_carol.send(7).is_err_and(|error| error.is_closed()));
        drop((link, to_carol));
        alice.leave();
        place.domain().gc().expect("our own domain");
        assert_eq!(place.files(), [""; 0]);
    });
}

#[test]
fn what_exists_is_listed_with_its_kind() {
    on_both(7, |sort| {
        let place = Place::new();
        let (_alice, _bob, link) = linked(&place, sort);
        link.send(7).expect("there is room");
        let listed = place.domain().list().expect("our own domain");
        let kinds: Vec<_> = listed
            .into_iter()
            .map(|it| (it.name, it.stat.expect("it can be read").kind.to_string()))
            .collect();
        let kinds: Vec<_> = kinds.iter().map(|(name, kind)| (name.as_str(), kind.as_str())).collect();
        let all = [("alice", "process"), ("alice~bob", "link"), ("bob", "process"), ("bob~alice", "link")];
        assert_eq!(kinds, all);
        assert_eq!(place.domain().stat("alice~bob").map(|stat| stat.depth), Ok(1));
        eventually("it is in the statistics of both", || link.sender().len() == 1);
    });
}
