//! The kernel strategy: a process is killed just before and just behind each system call of a send, and of a receive.
//! What was sent comes, in its order and once; no place is lost for ever; an owner's death leaves nothing, and the
//! number of what was never collected is right.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc;
use std::time::Duration;

use tubepost::{Closed, Domain, Mailbox, Receiver, SendCollectedError, Sender, Strategy};

use crate::stage::{
    Child, Cue, PATIENCE, Place, Role, Walk, eventually, kill_there, mark, skip, thread_id, until_asleep,
    walk_calls,
};

pub const ROLES: &[Role] = &[("called", called)];

/// Makes one call between two marks; the arguments are domain, capacity and the call.
fn called(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let n = cue.number(1);
    let between_marks = |call: &mut dyn FnMut()| {
        cue.say(thread_id());
        assert_eq!(cue.hear(), "go");
        mark();
        call();
        mark();
        cue.say("through");
        cue.hear();
    };
    let sender =
        || Sender::<u64>::options().domain(&domain).spin(Duration::ZERO).open("box").expect("it exists");
    match cue.arg(2) {
        "send" => {
            let out = sender();
            out.send(1).expect("the owner lives");
            between_marks(&mut || out.send(2).expect("the owner lives"));
        }
        "collect" => {
            let out = sender();
            out.send(1).expect("the owner lives");
            between_marks(&mut || out.send_collected(2).expect("the owner lives"));
        }
        call => {
            let inbox = own(&domain, n);
            cue.say("own");
            assert_eq!(cue.hear(), "go on");
            match call {
                "recv" => between_marks(&mut || assert!(inbox.recv().is_ok())),
                "take" => between_marks(&mut || inbox.take().expect("it is sent").accept().expect("in hand")),
                "close" => between_marks(&mut || drop(inbox.close())),
                other => panic!("what is {other}?"),
            }
        }
    }
}

fn own(domain: &Domain, n: u64) -> Receiver<u64> {
    let options = Mailbox::<u64>::options().domain(domain).strategy(Strategy::Kernel).bounded(n);
    options.spin(Duration::ZERO).own("box").expect("a free name")
}

/// Walks a role to each step of its call in turn, until it comes through. `stage` runs meanwhile, is told when it is
/// over, and looks at what is left.
fn at_each_step(
    n: u64,
    call: &str,
    owns: bool,
    stage: impl Fn(&Place, Option<Receiver<u64>>, &AtomicBool, &mut dyn FnMut()) + Sync,
) {
    let mut steps = 0;
    loop {
        let place = Place::new();
        let inbox = (!owns).then(|| own(place.domain(), n));
        let over = AtomicBool::new(false);
        let mut through = false;
        let mut allowed = true;
        let mut child = Child::start("called", &[&place.arg(), &n.to_string(), call]);
        if owns {
            child.expect("own");
        }
        stage(&place, inbox, &over, &mut || {
            if owns {
                child.say("go on");
            }
            let thread = child.hear().parse().expect("a thread");
            match walk_calls(&mut child, thread, steps) {
                Ok(Walk::Stands) => kill_there(&mut child, thread),
                Ok(Walk::Through(_)) => {
                    child.expect("through");
                    child.kill();
                    through = true;
                }
                Err(why) => {
                    skip(call, &why);
                    child.kill();
                    allowed = false;
                }
            }
            over.store(true, SeqCst);
        });
        if through || !allowed {
            println!("bounded({n}): killed at {steps} steps of {call}");
            return;
        }
        steps += 1;
    }
}

/// Whoever dies sending: its message is there or not; what was sent before is; and after a moment all places are free.
#[test]
fn of_a_send() {
    for (n, call) in [(4, "send"), (4, "collect"), (1, "send"), (1, "collect"), (0, "send"), (0, "collect")] {
        at_each_step(n, call, false, |place, inbox, over, walk| {
            let inbox = inbox.expect("ours");
            let mut got = Vec::new();
            std::thread::scope(|scope| {
                let receives = scope.spawn(|| {
                    let mut got = Vec::new();
                    while !over.load(SeqCst) {
                        got.extend(inbox.recv_timeout(Duration::from_millis(1)));
                    }
                    got
                });
                walk();
                got = receives.join().expect("no panic");
            });
            got.extend(std::iter::from_fn(|| inbox.recv_timeout(Duration::from_millis(5)).ok()));
            assert!(got == [1] || got == [1, 2], "{got:?}");
            let out = Sender::<u64>::options().domain(place.domain()).open("box").expect("it lives");
            if n > 0 {
                eventually("all places are free", || {
                    let _ = inbox.recv_timeout(Duration::from_millis(5));
                    out.is_empty()
                });
                assert_eq!((0..=n).take_while(|at| out.try_send(*at).is_ok()).count() as u64, n);
                assert_eq!(inbox.len() as u64, n);
            } else {
                assert!(out.try_send(7).is_err_and(|error| error.is_full()), "nobody waits");
                std::thread::scope(|scope| {
                    scope.spawn(|| out.send(8).expect("somebody receives"));
                    assert_eq!(inbox.recv_timeout(PATIENCE), Ok(8));
                });
            }
            let stat = inbox.stat().expect("ours");
            assert_eq!((stat.depth, stat.held, stat.shut), (n, 0, 0));
            assert_eq!(stat.received, got.len() as u64 + u64::from(n == 0));
        });
    }
}

/// Whoever dies receiving had the message or not; the other one was never collected; nothing is left.
#[test]
fn of_a_receive() {
    for call in ["recv", "take", "close"] {
        at_each_step(4, call, true, |place, _, _, walk| {
            let out = Sender::<u64>::options().domain(place.domain()).open("box").expect("it lives");
            out.try_send(1).expect("there is room");
            out.try_send(2).expect("there is room");
            walk();
            let Closed { uncollected, .. } =
                out.closed_timeout(PATIENCE).expect("ours").expect("its owner is dead");
            let fits = if call == "close" { uncollected == 2 } else { (1..=2).contains(&uncollected) };
            assert!(fits, "{uncollected} never collected");
            assert!(out.try_send(3).is_err_and(|error| error.is_closed()));
            place.domain().gc().expect("ours");
            assert_eq!(place.files(), [""; 0]);
        });
    }
}

/// Who waits until it is collected is told that it was, or that it was not: then it counts, where messages wait.
#[test]
fn of_a_receive_that_is_awaited() {
    for (n, call) in [(4, "recv"), (4, "take"), (0, "recv"), (0, "take")] {
        at_each_step(n, call, true, |place, _, _, walk| {
            let out = Sender::<u64>::options().domain(place.domain()).spin(Duration::ZERO).open("box");
            let out = &out.expect("it lives");
            let told = std::thread::scope(|scope| {
                let (tell, told) = mpsc::channel();
                let waits = scope.spawn(move || {
                    tell.send(thread_id()).expect("the test listens");
                    out.send_collected_timeout(7, PATIENCE)
                });
                until_asleep(std::process::id(), told.recv().expect("a thread")); // so it is sent
                walk();
                waits.join().expect("no panic")
            });
            let closed = out.closed_timeout(PATIENCE).expect("ours").expect("its owner is dead");
            match told {
                Ok(()) => assert!(closed.uncollected <= 1),
                Err(SendCollectedError::Closed(7, same, _)) => {
                    assert_eq!((same, closed.uncollected), (closed, u64::from(n > 0)));
                }
                Err(other) => panic!("{other}"),
            }
            place.domain().gc().expect("ours");
            assert_eq!(place.files(), [""; 0]);
        });
    }
}
