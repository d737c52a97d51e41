//! Pairs: links without a name, between a process and one that it starts. All that a link promises; whoever dies, and
//! whenever; nothing of them is in any other process.

use std::process::Command;
use std::time::{Duration, Instant};

use futures_executor::block_on;
use rustix::event::{PollFd, PollFlags, poll};
use tubepost::{
    Closed, Endpoint, Error, Hand, Link, LinkOptions, Message, RecvError, RecvTimeoutError, SendError,
    Strategy, TryRecvError,
};

use crate::cast::words;
use crate::rows::Capacity;
use crate::stage::{
    Child, Cue, PATIENCE, Role, descriptors, fork, outlive_parent, thread_id, until_asleep, wait_for,
};

pub const ROLES: &[Role] = &[
    ("plugin", plugin),
    ("grandchild", grandchild),
    ("host", host),
    ("orphan", orphan),
    ("counter", counter),
    ("parent", parent),
];

/// What a pair can be.
type Kind = (Strategy, Capacity);

const KINDS: &[Kind] = &[
    (Strategy::Shared, Capacity::Bounded(1)),
    (Strategy::Shared, Capacity::Bounded(7)),
    (Strategy::Shared, Capacity::Bounded(1024)),
    (Strategy::Shared, Capacity::Zero),
    (Strategy::Shared, Capacity::Unbounded(0)),
    (Strategy::Kernel, Capacity::Bounded(1)),
    (Strategy::Kernel, Capacity::Bounded(7)),
    (Strategy::Kernel, Capacity::Bounded(64)),
    (Strategy::Kernel, Capacity::Zero),
];

pub const STRATEGIES: [Strategy; 2] = [Strategy::Shared, Strategy::Kernel];

/// Who is not told of a death looks once a second.
const LOOKED: Duration = Duration::from_millis(2500);
/// Who is told need not wait for that.
const TOLD: Duration = Duration::from_millis(700);

fn options<M: Message + ?Sized>((strategy, capacity): Kind) -> LinkOptions<M> {
    let options = Link::options().strategy(strategy);
    match capacity {
        Capacity::Zero => options.bounded(0),
        Capacity::Bounded(n) => options.bounded(n),
        Capacity::Unbounded(_) => options.unbounded(),
    }
}

/// A pair of this strategy, and nothing else chosen.
fn pair_by(strategy: Strategy) -> (Link<u64>, Endpoint<u64>) {
    Link::options().strategy(strategy).pair().expect("descriptors are left")
}

/// The strategy that a role was told.
fn told(cue: &Cue, at: usize) -> Strategy {
    if cue.arg(at) == "kernel" { Strategy::Kernel } else { Strategy::Shared }
}

/// The sockets and the memory without a name that this process has open, but those of a shell's.
fn nameless() -> Vec<String> {
    let open = std::fs::read_dir("/proc/self/fd").expect("/proc");
    let what = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let what = what.map(|link| link.to_string_lossy().into_owned());
    let mut what: Vec<String> =
        what.filter(|link| link.starts_with("socket:") || link.starts_with("/memfd:")).collect();
    what.sort();
    what
}

/// A process that was handed an end, and does what it is told.
fn plugin(cue: &mut Cue) {
    let mut link: Option<Link<u64>> = None;
    let said = |error: Error| format!("refused {error}");
    loop {
        let line = cue.hear();
        let words = words(&line);
        match words[..] {
            ["take"] => match tubepost::inherited() {
                Ok(taken) => {
                    link = Some(taken);
                    cue.say("taken");
                }
                Err(error) => cue.say(said(error)),
            },
            ["take-as", name] => match tubepost::inherited_as(name) {
                Ok(taken) => {
                    link = Some(taken);
                    cue.say("taken");
                }
                Err(error) => cue.say(said(error)),
            },
            ["take-text"] => {
                let taken = Link::<str, u64>::options().format("letters").inherited();
                cue.say(taken.map_or_else(said, |_| "taken".into()));
            }
            ["nameless"] => cue.say(nameless().join(" ")),
            // What a process that this one starts can have.
            ["grandchild"] => {
                let mut child = Child::start("grandchild", &[]);
                cue.say(child.hear());
            }
            ["send", number] => {
                let sent = link.as_ref().expect("taken before").send(number.parse().expect("a number"));
                cue.say(sent.map_or_else(|error| error.to_string(), |()| "sent".into()));
            }
            ["recv"] => {
                cue.say(thread_id());
                match link.as_ref().expect("taken before").recv() {
                    Ok(number) => cue.say(number),
                    Err(why) => cue.say(format!("{why:?}")),
                }
            }
            // Sends back each number that comes, until the link is over; in a thread, or as a task.
            ["echo", how] => {
                let link = link.as_ref().expect("taken before");
                cue.say("echoing");
                loop {
                    let number = match how {
                        "async" => block_on(link.receiver().recv_async()),
                        _ => link.recv(),
                    };
                    let Ok(number) = number else { break };
                    let sent = match how {
                        "async" => block_on(link.sender().send_async(number)),
                        _ => link.send(number),
                    };
                    if sent.is_err() {
                        break;
                    }
                }
                cue.say("over");
            }
            ["drop"] => {
                link = None;
                cue.say("dropped");
            }
            _ => panic!("a plugin does not know {line:?}"),
        }
    }
}

/// A process that was started by one that had taken its end.
fn grandchild(cue: &mut Cue) {
    let mine = nameless();
    let taken = tubepost::inherited::<u64, u64>();
    cue.say(format!("{mine:?} {}", taken.map_or_else(|error| error.to_string(), |_| "taken".into())));
}

pub fn start(endpoint: Endpoint<u64>) -> Child {
    Child::start_handing("plugin", &[], |command| command.hand(endpoint).expect("a socket").spawn())
}

/// A pair, of which a child has taken its end.
fn taken(options: &LinkOptions<u64>) -> (Link<u64>, Child) {
    let (link, endpoint) = options.pair().expect("descriptors are left");
    let mut child = start(endpoint);
    assert_eq!(child.ask("take"), "taken");
    (link, child)
}

#[test]
fn both_ways_through_a_child() {
    for &kind in KINDS {
        eprintln!("with {kind:?}");
        let capacity = kind.1;
        let (link, mut child) = taken(&options(kind));
        assert_eq!(link.peer().pid, child.pid());
        assert_eq!(child.ask("echo sync"), "echoing");
        let n = if capacity == Capacity::Zero { 2000 } else { 20_000 };
        std::thread::scope(|scope| {
            scope.spawn(|| (0..n).for_each(|number| link.send(number).expect("the child receives")));
            for number in 0..n {
                assert_eq!(link.recv_timeout(PATIENCE), Ok(number));
            }
        });
        assert_eq!(link.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(link.sender().stat().expect("it lives").name, "pair");
        drop(link);
        child.expect("over");
        assert_eq!(child.ask("drop"), "dropped");
        child.finish();
    }
}

/// Whoever waits without a thread is rung at once, on both sides: thirty round trips would take a minute otherwise.
#[test]
fn tasks_and_event_loops_ring_each_other() {
    for &kind in KINDS {
        eprintln!("with {kind:?}");
        let capacity = kind.1;
        let (link, mut child) = taken(&options(kind));
        assert_eq!(child.ask("echo async"), "echoing");
        let begin = Instant::now();
        for number in 0..10 {
            block_on(async {
                link.sender().send_async(number).await.expect("the child receives");
                assert_eq!(link.receiver().recv_async().await, Ok(number));
            });
        }
        // Where nothing waits, who looks at a descriptor meets nobody.
        if capacity != Capacity::Zero {
            let bell = link.receiver().doorbell().expect("descriptors are left");
            for number in 10..30 {
                link.send(number).expect("the child receives");
                loop {
                    match link.try_recv() {
                        Ok(got) => break assert_eq!(got, number),
                        Err(why) => assert_eq!(why, TryRecvError::Empty),
                    }
                    if !bell.clear().expect("it is ours") {
                        poll(&mut [PollFd::new(&bell, PollFlags::IN)], None).expect("a descriptor");
                    }
                }
            }
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "they looked instead of being rung");
        child.kill();
        assert!(block_on(link.receiver().recv_async()).is_err());
    }
}

#[test]
fn long_messages_loans_and_deliveries() {
    let (host, plugin) = Link::<[u8]>::options().unbounded().pair().expect("descriptors are left");
    let plugin = plugin.here().expect("nobody took it");
    let long = vec![7; 1 << 20];
    host.send(&long).expect("there is memory");
    let mut loan = host.sender().loan(5000).expect("there is memory");
    loan.copy_from_slice(&long[..5000]);
    loan.send().expect("the other end lives");
    let delivery = plugin.receiver().take().expect("it was sent");
    assert_eq!(delivery.len(), 1 << 20);
    drop(delivery); // it comes back
    assert_eq!(plugin.recv().expect("it was given back").len(), 1 << 20);
    assert_eq!(&*plugin.recv().expect("it was sent"), &long[..5000]);
    let stat = host.sender().stat().expect("it lives");
    assert!(stat.received == 2 && stat.bytes >= 1 << 20, "{stat:?}");
}

/// How one can wait, and what that says when nobody is there any more.
fn wait_in_every_way(kill: impl Fn(&mut Option<Child>), within: Duration) {
    let make = |strategy| {
        let (link, endpoint) =
            options::<u64>((strategy, Capacity::Bounded(1))).pair().expect("descriptors are left");
        (link, Some(start(endpoint)))
    };
    let ways = ["recv", "send", "recv_async", "send_async", "closed"];
    for (strategy, how) in STRATEGIES.into_iter().flat_map(|strategy| ways.map(|how| (strategy, how))) {
        let (link, mut child) = make(strategy);
        let waiter = link.clone();
        let (say, hear) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            if how.starts_with("send") {
                waiter.send(1).expect("there is room for one");
            }
            say.send(thread_id()).expect("the test listens");
            match how {
                "recv" => assert_eq!(waiter.recv(), Err(RecvError::Closed(Closed { uncollected: 0 }))),
                "recv_async" => assert!(block_on(waiter.receiver().recv_async()).is_err()),
                "send" => {
                    assert_eq!(waiter.send(2), Err(SendError::Closed(2, Closed { uncollected: 1 })))
                }
                "send_async" => assert!(block_on(waiter.sender().send_async(2)).is_err()),
                _ => assert_eq!(waiter.sender().closed(), Ok(Closed { uncollected: 0 })),
            }
            Instant::now()
        });
        until_asleep(std::process::id(), hear.recv().expect("it begins"));
        let begin = Instant::now();
        kill(&mut child);
        let told = thread.join().expect("it was told") - begin;
        assert!(told < within, "{how}, {strategy}: told after {told:?}");
        assert!(link.send(3).is_err_and(|error| error.is_closed()));
        assert_eq!(link.try_recv(), Err(TryRecvError::Closed(Closed { uncollected: 0 })));
    }
}

#[test]
fn a_child_that_is_killed_is_told_at_once() {
    wait_in_every_way(
        |child| {
            let child = child.as_mut().expect("it runs");
            assert_eq!(child.ask("take"), "taken");
            child.kill();
        },
        TOLD,
    );
}

#[test]
fn a_child_that_never_took_its_end_is_told_as_well() {
    wait_in_every_way(|child| child.as_mut().expect("it runs").kill(), TOLD);
    wait_in_every_way(|child| child.take().expect("it runs").finish(), TOLD);
}

#[test]
fn what_was_sent_before_a_death_is_received() {
    for strategy in STRATEGIES {
        let (link, mut child) = taken(&options((strategy, Capacity::Bounded(8))));
        for number in 0..5 {
            assert_eq!(child.ask(format!("send {number}")), "sent");
        }
        child.kill();
        for number in 0..5 {
            assert_eq!(link.recv(), Ok(number));
        }
        assert_eq!(link.recv(), Err(RecvError::Closed(Closed { uncollected: 0 })));
        assert!(!link.peer_has_left());
    }
}

#[test]
fn an_end_that_nobody_gets_is_a_dead_one() {
    for strategy in STRATEGIES {
        // Dropped, alone and with the command.
        let (link, endpoint) = pair_by(strategy);
        assert_eq!(link.recv_timeout(Duration::from_millis(10)), Err(RecvTimeoutError::Timeout));
        link.send(1).expect("there is room");
        drop(endpoint);
        assert_eq!(link.recv(), Err(RecvError::Closed(Closed { uncollected: 0 })));
        assert!(link.send(2).is_err());
        let (link, endpoint) = pair_by(strategy);
        drop(Command::new("true").hand(endpoint).expect("a socket"));
        assert!(link.recv().is_err());
        // There is no such program.
        let (link, endpoint) = pair_by(strategy);
        let mut command = Command::new("/no/such/program");
        assert!(command.hand(endpoint).expect("a socket").spawn().is_err());
        assert!(link.recv().is_err());
        // The command may serve again: what it starts then was handed nothing.
        assert!(command.get_envs().all(|(_, value)| value.is_none()));
    }
}

#[test]
fn whoever_started_it_dies() {
    // Also where a fork of it has copies of all its descriptors, until this test is done.
    let ways = STRATEGIES.into_iter().flat_map(|strategy| ["alone", "forked"].map(|how| (strategy, how)));
    for (strategy, how) in ways {
        let mut host = Child::start("host", &[how, &strategy.to_string()]);
        // The orphan's words come by the same pipe.
        for line in ["taken", "1", "waiting"] {
            host.expect(line);
        }
        let begin = Instant::now();
        host.kill();
        host.expect("Closed(Closed { uncollected: 0 })");
        let within = if how == "alone" { TOLD } else { LOOKED };
        assert!(begin.elapsed() < within, "told after {:?}", begin.elapsed());
    }
}

/// Starts one that outlives it.
fn host(cue: &mut Cue) {
    let (link, endpoint) = pair_by(told(cue, 1));
    link.send(1).expect("there is room");
    let spawn = |command: &mut Command| command.hand(endpoint).expect("a socket").spawn();
    let mut orphan = Child::start_with_our_voice("orphan", spawn);
    if cue.arg(0) == "forked" {
        fork(|| drop(cue.hear()));
    }
    orphan.wait().expect("our own child");
}

fn orphan(cue: &mut Cue) {
    outlive_parent();
    let link = tubepost::inherited::<u64, u64>().expect("it was handed");
    cue.say("taken");
    cue.say(link.recv().expect("it was sent before"));
    cue.say("waiting");
    cue.say(format!("{:?}", link.recv().expect_err("nobody sends")));
}

#[test]
fn both_sides_have_to_mean_the_same() {
    let (link, endpoint) = tubepost::pair::<u64, u64>().expect("descriptors are left");
    let mut child = start(endpoint);
    let refused = child.ask("take-text");
    for part in ["refused", "pair", "u64", "letters"] {
        assert!(refused.contains(part), "{refused}");
    }
    assert!(link.recv().is_err(), "it was taken, and is over");
    assert!(child.ask("take").contains("taken already"));
    child.finish();
    // In this process, and what one insists on.
    let (_link, endpoint) = Link::<u64>::options().bounded(4).pair().expect("descriptors are left");
    let other = Link::<u64>::options().bounded(5).from_descriptor(endpoint.into());
    assert!(matches!(other, Err(Error::WrongChoice { .. })), "{other:?}");
}

#[test]
fn an_end_is_taken_once_and_by_nobody_else() {
    let (link, endpoint) = tubepost::pair::<u64, u64>().expect("descriptors are left");
    let mut child = start(endpoint);
    assert!(child.ask("take-as other").contains("handed nothing"));
    assert_eq!(child.ask("take"), "taken");
    assert!(child.ask("take").contains("taken already"));
    let grandchild = child.ask("grandchild");
    assert!(grandchild.starts_with("[] ") && grandchild.contains("another process"), "{grandchild}");
    assert_eq!(child.ask("send 1"), "sent");
    assert_eq!(link.recv(), Ok(1));
    // Under names, in any order, and none of them twice.
    let (first, one) = tubepost::pair::<u64, u64>().expect("descriptors are left");
    let (second, two) = tubepost::pair::<u64, u64>().expect("descriptors are left");
    let mut child = Child::start_handing("plugin", &[], |command| {
        command.hand_as("one", one).expect("a socket").hand_as("two", two).expect("another").spawn()
    });
    for (name, link) in [("two", &second), ("one", &first)] {
        assert_eq!(child.ask(format!("take-as {name}")), "taken");
        assert_eq!(child.ask("send 1"), "sent");
        assert_eq!(link.recv(), Ok(1));
    }
    let (_link, endpoint) = tubepost::pair::<u64, u64>().expect("descriptors are left");
    let bad = Command::new("true").hand_as("a b", endpoint).map(drop);
    assert!(matches!(bad, Err(Error::BadOption { .. })));
}

#[test]
fn children_that_are_started_at_one_time_have_their_own_only() {
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for round in 0..10 {
                    let (link, endpoint) = pair_by(STRATEGIES[round % 2]);
                    let mut child = start(endpoint);
                    let has = child.ask("nameless");
                    assert_eq!(has.split(' ').count(), 1, "{has}");
                    assert!(has.starts_with("socket:"), "{has}");
                    let ours = nameless();
                    assert!(!ours.contains(&has), "{has} is here still: {ours:?}");
                    assert_eq!(child.ask("take"), "taken");
                    assert_eq!(child.ask("send 7"), "sent");
                    assert_eq!(link.recv(), Ok(7));
                }
            });
        }
    });
}

#[test]
fn a_thousand_pairs_leave_nothing() {
    Child::start("counter", &[]).expect("well");
}

/// In a process of its own, for others open files as well.
fn counter(cue: &mut Cue) {
    let make =
        |strategy| Link::<u64, str>::options().strategy(strategy).pair().expect("descriptors are left");
    let once = |strategy| {
        let (link, endpoint) = make(strategy);
        let other = endpoint.here().expect("nobody took it");
        assert!(block_on(async {
            link.send(7).expect("there is room");
            other.receiver().recv_async().await == Ok(7)
        }));
        assert_eq!(other.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
        assert!(link.sender().send_collected_timeout(7, Duration::ZERO).is_err_and(|why| why.is_timeout()));
    };
    STRATEGIES.into_iter().for_each(once); // the thread that wakes tasks has descriptors as well, and stays
    let before = descriptors();
    for round in 0..1000 {
        match round % 2 {
            0 => once(STRATEGIES[round / 2 % 2]),
            _ => drop(make(STRATEGIES[round / 2 % 2])),
        }
    }
    assert_eq!(descriptors(), before);
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc");
    assert!(!maps.contains("memfd:tubepost"), "{maps}");
    cue.say("well");
}

#[test]
fn a_fork_keeps_nobody_alive() {
    for strategy in STRATEGIES {
        let mut parent = Child::start("parent", &[&strategy.to_string()]);
        parent.expect("well");
    }
}

/// A forked child has copies of the descriptors, and no part in anything. (In a process of its own: it would have those of
/// other tests too.)
fn parent(cue: &mut Cue) {
    let (link, endpoint) = pair_by(told(cue, 0));
    let mut child = start(endpoint);
    assert_eq!(child.ask("take"), "taken");
    let forked = fork(|| {
        assert!(matches!(link.send(1), Err(SendError::Failed(1, Error::Forked))));
        assert!(matches!(link.recv(), Err(RecvError::Failed(Error::Forked))));
        assert_eq!(link.peer().pid, 0, "nobody is known here");
        std::thread::sleep(PATIENCE); // has all its descriptors until it is killed
    });
    child.say("recv");
    until_asleep(child.pid(), child.hear().parse().expect("a thread"));
    let begin = Instant::now();
    drop(link);
    assert_eq!(child.hear(), "Closed(Closed { uncollected: 0 })");
    assert!(begin.elapsed() < LOOKED);
    crate::stage::signal(forked, libc::SIGKILL);
    assert!(!wait_for(forked));
    cue.say("well");
}
