//! Links, with names and without: messages that are awaited, as all are where nothing waits, and the other process is stopped or
//! killed meanwhile. Deadlines hold, an end is told at once, and nothing is lost or comes twice afterwards.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_executor::block_on;
use tubepost::{
    Closed, Domain, Error, Fate, Link, LinkOptions, Process, RecvError, RecvTimeoutError, SendCollectedError,
    SendError, SendTimeoutError, Strategy, TryRecvError, TrySendError,
};

use crate::cast::words;
use crate::stage::{Child, Cue, PATIENCE, Place, Role, thread_id, until_asleep};

pub const ROLES: &[Role] = &[("mate", mate)];

/// Who is told need not wait for a look that comes once a second.
const TOLD: Duration = Duration::from_millis(700);
const SHORT: Duration = Duration::from_millis(2);

/// A link of each kind.
#[derive(Clone, Copy, Debug)]
struct Kind {
    strategy: Strategy,
    capacity: u64,
    named: bool,
}

fn on_every_kind(test: impl Fn(Kind)) {
    for strategy in [Strategy::Shared, Strategy::Kernel] {
        for capacity in [0, 1, 7] {
            for named in [true, false] {
                let kind = Kind { strategy, capacity, named };
                eprintln!("with {kind:?}");
                test(kind);
            }
        }
    }
}

impl Kind {
    fn options(self) -> LinkOptions<u64> {
        Link::options().strategy(self.strategy).bounded(self.capacity)
    }

    /// A link, and the process at its other end.
    fn link(self) -> Ends {
        if !self.named {
            let (link, endpoint) = self.options().pair().expect("descriptors are left");
            let start = |command: &mut std::process::Command| {
                tubepost::Hand::hand(command, endpoint).expect("a socket").spawn()
            };
            let mut child = Child::start_handing("mate", &["pair"], start);
            child.expect("linked");
            return Ends { link, child, _at: None };
        }
        let place = Place::new();
        let alice = Process::options().domain(place.domain()).join("alice").expect("a free name");
        let mut child = Child::start("mate", &["named", &place.arg()]);
        child.expect("joined");
        let link = self.options().open(&alice, "bob").expect("bob is there");
        child.say("link");
        child.expect("linked");
        Ends { link, child, _at: Some((alice, place)) }
    }
}

struct Ends {
    link: Link<u64>,
    child: Child,
    _at: Option<(Process, Place)>,
}

/// The process at the other end.
fn mate(cue: &mut Cue) {
    let mut me = None;
    let link: Link<u64> = if cue.arg(0) == "pair" {
        tubepost::inherited().expect("it was handed")
    } else {
        let domain = Domain::open(cue.arg(1)).expect("the test's domain");
        let bob = me.insert(Process::options().domain(&domain).join("bob").expect("a free name"));
        cue.say("joined");
        cue.hear();
        Link::options().connect(bob, "alice", PATIENCE).expect("alice is there")
    };
    cue.say("linked");
    loop {
        let line = cue.hear();
        match words(&line)[..] {
            ["recv"] => {
                cue.say(thread_id());
                match link.recv() {
                    Ok(number) => cue.say(number),
                    Err(why) => cue.say(format!("{why:?}")),
                }
            }
            // All that comes until nothing does for a while.
            ["drain"] => {
                let all = std::iter::from_fn(|| link.recv_timeout(Duration::from_millis(200)).ok());
                cue.say(format!("{:?}", all.collect::<Vec<u64>>()));
            }
            ["send", number] => {
                let sent = link.send(number.parse().expect("a number"));
                cue.say(sent.map_or_else(|why| format!("{why:?}"), |()| "sent".into()));
            }
            ["collect", number] => {
                cue.say(thread_id());
                let sent = link.sender().send_collected(number.parse().expect("a number"));
                cue.say(sent.map_or_else(|why| format!("{why:?}"), |()| "collected".into()));
            }
            _ => panic!("a mate does not know {line:?}"),
        }
    }
}

/// Has it sleep in a call.
fn asleep_in(child: &mut Child, call: &str) {
    child.say(call);
    until_asleep(child.pid(), child.hear().parse().expect("a thread"));
}

#[test]
fn collected_is_what_the_other_process_has() {
    on_every_kind(|kind| {
        let Ends { link, mut child, _at } = kind.link();
        asleep_in(&mut child, "recv");
        link.sender().send_collected(7).expect("it is received");
        child.expect("7");
        asleep_in(&mut child, "recv");
        block_on(link.sender().send_collected_async(8)).expect("it is received");
        child.expect("8");
        asleep_in(&mut child, "collect 9");
        assert_eq!(link.recv_timeout(PATIENCE), Ok(9));
        child.expect("collected");
        // In hand it is collected, and may come again.
        asleep_in(&mut child, "collect 10");
        drop(link.receiver().take().expect("it was sent"));
        child.expect("collected");
        let again = link.receiver().recv_envelope().expect("it came back");
        assert_eq!((again.message, again.redelivered, again.sender.pid), (10, 1, child.pid()));
    });
}

#[test]
fn who_is_stopped_holds_nobody_beyond_a_deadline() {
    on_every_kind(|kind| {
        let Ends { link, mut child, _at } = kind.link();
        let mut accepted = Vec::new();
        child.stop();
        let begin = Instant::now();
        // More than a bond has room for.
        let number = if kind.strategy == Strategy::Kernel && !kind.named { 400 } else { 20 };
        for at in 0..number {
            let back = link.sender().send_collected_timeout(at, SHORT);
            assert!(matches!(back, Err(SendCollectedError::Timeout(_))), "{back:?}");
        }
        if kind.capacity == 0 {
            assert_eq!(link.try_send(1), Err(TrySendError::Full(1)));
            assert_eq!(link.send_timeout(1, SHORT), Err(SendTimeoutError::Timeout(1)));
        } else if kind.strategy == Strategy::Kernel {
            for at in 0..kind.capacity {
                link.try_send(1000 + at).expect("what was withdrawn takes no place");
                accepted.push(1000 + at);
            }
            assert_eq!(link.try_send(1), Err(TrySendError::Full(1)));
            let late = link.sender().send_collected_timeout(1, SHORT);
            assert!(matches!(late, Err(SendCollectedError::Timeout(1))), "{late:?}");
        }
        assert!(begin.elapsed() < PATIENCE, "they took {:?}", begin.elapsed());
        child.go_on();
        assert_eq!(child.ask("drain"), format!("{accepted:?}"));
        // The same while it waits. Where memory is shared who waits is bound to take what it is given.
        if kind.strategy == Strategy::Kernel {
            asleep_in(&mut child, "recv");
            child.stop();
            let back = link.sender().send_collected_timeout(2, SHORT);
            assert!(matches!(back, Err(SendCollectedError::Timeout(2))), "{back:?}");
            if kind.capacity == 0 {
                assert_eq!(link.send_timeout(3, SHORT), Err(SendTimeoutError::Timeout(3)));
                assert_eq!(link.try_send(4), Err(TrySendError::Full(4)));
            }
            child.go_on();
            link.send(5).expect("it goes on");
            child.expect("5");
            assert_eq!(child.ask("drain"), "[]");
        }
    });
}

#[test]
fn who_is_killed_has_collected_nothing() {
    on_every_kind(|kind| {
        for stopped in [false, true] {
            let Ends { link, mut child, _at } = kind.link();
            if stopped {
                child.stop();
            }
            let told = std::thread::scope(|scope| {
                let (say, hear) = std::sync::mpsc::channel();
                let link = &link;
                let waits = scope.spawn(move || {
                    say.send(thread_id()).expect("the test listens");
                    let back = link.sender().send_collected(7);
                    assert!(
                        matches!(back, Err(SendCollectedError::Closed(7, _, Fate::NotCollected))),
                        "{back:?}"
                    );
                    Instant::now()
                });
                until_asleep(std::process::id(), hear.recv().expect("it begins"));
                let begin = Instant::now();
                child.kill();
                waits.join().expect("it was told") - begin
            });
            assert!(told < TOLD, "told after {told:?}");
            assert!(matches!(link.send(8), Err(SendError::Closed(8, _))));
            assert_eq!(link.recv(), Err(RecvError::Closed(Closed { uncollected: 0 })));
        }
    });
}

#[test]
fn who_dies_waiting_has_sent_where_anything_waits() {
    on_every_kind(|kind| {
        for stopped in [false, true] {
            let Ends { link, mut child, _at } = kind.link();
            if kind.capacity > 0 {
                assert_eq!(child.ask("send 6"), "sent");
            }
            if kind.capacity != 1 {
                asleep_in(&mut child, "collect 7");
            }
            if stopped {
                child.stop();
            }
            child.kill();
            let expected: &[u64] = match kind.capacity {
                0 => &[],
                1 => &[6],
                _ => &[6, 7],
            };
            for number in expected {
                assert_eq!(link.recv_timeout(PATIENCE), Ok(*number));
            }
            assert!(matches!(link.recv_timeout(PATIENCE), Err(RecvTimeoutError::Closed(_))));
        }
    });
}

/// Deadlines that come just when messages are received: each was collected, once, or came back.
#[test]
fn collected_or_withdrawn_and_nothing_twice() {
    for kind in [0, 1, 7].map(|capacity| Kind { strategy: Strategy::Kernel, capacity, named: false }) {
        let (link, endpoint) = kind.options().pair().expect("descriptors are left");
        let other = endpoint.here().expect("nobody took it");
        let (collected, got) = std::thread::scope(|scope| {
            let send = |from: u64| {
                let mut collected = BTreeSet::new();
                for number in from..from + 600 {
                    let patience = Duration::from_micros(number % 150);
                    match link.sender().send_collected_timeout(number, patience) {
                        Ok(()) => _ = collected.insert(number),
                        Err(SendCollectedError::Timeout(back)) => assert_eq!(back, number),
                        Err(why) => panic!("{why}"),
                    }
                }
                collected
            };
            let senders = [0, 1000].map(|from| scope.spawn(move || send(from)));
            let receiver = scope.spawn(|| {
                let mut got = Vec::new();
                while let Ok(number) = other.recv() {
                    got.push(number);
                }
                got
            });
            let collected = senders.into_iter().flat_map(|it| it.join().expect("no panic")).collect();
            link.stop_sending().expect("it is ours");
            (collected, receiver.join().expect("no panic"))
        });
        let once: BTreeSet<u64> = got.iter().copied().collect();
        assert_eq!((once.len(), &once), (got.len(), &collected));
    }
}

/// An end that nobody took so far, and one that nobody will.
#[test]
fn an_end_that_was_not_taken_collects_nothing() {
    for capacity in [0, 1, 7] {
        let kind = Kind { strategy: Strategy::Kernel, capacity, named: false };
        let (link, endpoint) = kind.options().pair().expect("descriptors are left");
        for number in 0..5 {
            let back = link.sender().send_collected_timeout(number, SHORT);
            assert!(matches!(back, Err(SendCollectedError::Timeout(_))), "{back:?}");
        }
        let other = endpoint.here().expect("nobody took it");
        assert_eq!(other.try_recv(), Err(TryRecvError::Empty));
        std::thread::scope(|scope| {
            scope.spawn(|| link.sender().send_collected(7).expect("it is received"));
            assert_eq!(other.recv_timeout(PATIENCE), Ok(7));
        });
        let (link, endpoint) = kind.options().pair().expect("descriptors are left");
        drop(endpoint);
        let back = link.sender().send_collected(8);
        assert!(matches!(back, Err(SendCollectedError::Closed(8, ..))), "{back:?}");
    }
}

/// More threads than an end has lines for.
#[test]
fn a_hundred_threads_wait_at_one_time() {
    for capacity in [0, 7] {
        let kind = Kind { strategy: Strategy::Kernel, capacity, named: false };
        let (link, endpoint) = kind.options().pair().expect("descriptors are left");
        let other = endpoint.here().expect("nobody took it");
        std::thread::scope(|scope| {
            for number in 0..100 {
                let sender = link.sender();
                scope.spawn(move || {
                    for lap in 0..5 {
                        sender.send_collected(100 * lap + number).expect("it is received");
                    }
                });
            }
            let mut got: Vec<u64> =
                (0..500).map(|_| other.recv_timeout(PATIENCE).expect("it was sent")).collect();
            got.sort();
            assert!(got.into_iter().eq(0..500));
        });
    }
}

/// After that nothing is sent, and every call says so; what comes the other way still does.
#[test]
fn who_stopped_sending_is_told_that_it_is_closed() {
    on_every_kind(|kind| {
        let Ends { link, mut child, _at } = kind.link();
        let (say, hear) = std::sync::mpsc::channel();
        let sender = link.sender().clone();
        let waits = std::thread::spawn(move || {
            say.send(thread_id()).expect("the test listens");
            sender.closed()
        });
        until_asleep(std::process::id(), hear.recv().expect("it begins"));
        asleep_in(&mut child, "recv");
        link.stop_sending().expect("it is ours");
        let over = Closed { uncollected: 0 };
        assert_eq!(child.hear(), format!("{:?}", RecvError::Closed(over)));
        let sender = link.sender();
        if kind.strategy == Strategy::Kernel {
            assert_eq!(waits.join().expect("no panic"), Ok(over));
        }
        assert_eq!(link.send(1), Err(SendError::Closed(1, over)));
        assert_eq!(link.try_send(1), Err(TrySendError::Closed(1, over)));
        assert!(matches!(sender.send_collected(1), Err(SendCollectedError::Closed(1, ..))));
        assert!(block_on(sender.send_async(1)).is_err_and(|why| why.is_closed()));
        assert_eq!((sender.closed(), sender.closed_timeout(SHORT)), (Ok(over), Ok(Some(over))));
        assert_eq!(block_on(sender.closed_async()), Ok(over));
        assert!(sender.is_closed());
        let stat = sender.stat();
        assert!(!matches!(stat, Err(Error::Forked)), "{stat:?}");
        asleep_in(&mut child, "collect 5");
        assert_eq!(link.recv_timeout(PATIENCE), Ok(5));
        child.expect("collected");
        assert!(!link.receiver().is_empty() || link.try_recv() == Err(TryRecvError::Empty));
    });
}
