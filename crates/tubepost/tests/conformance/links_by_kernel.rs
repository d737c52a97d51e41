//! Links of the kernel strategy: what only they can, and what only they could get wrong.

use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use tubepost::{Error, Link, Process, RecvTimeoutError, Select, Strategy, TrySendError};

use crate::stage::{Child, PATIENCE, Place, eventually, thread_id, until_asleep};

fn join(place: &Place, name: &str) -> Process {
    Process::options().domain(place.domain()).join(name).expect("a free name in a fresh domain")
}

fn start(place: &Place, name: &str) -> Child {
    let mut child = Child::start("peer", &[&place.arg(), name]);
    assert_eq!(child.hear(), "joined");
    child
}

fn by_kernel(capacity: u64) -> tubepost::LinkOptions<u64> {
    Link::options().strategy(Strategy::Kernel).bounded(capacity)
}

#[test]
fn the_strategy_is_part_of_what_is_agreed_on() {
    let place = Place::new();
    let (alice, bob) = (join(&place, "alice"), join(&place, "bob"));
    let link = by_kernel(7).open(&alice, "bob").expect("bob is there");
    let other = bob.link::<u64>("alice").expect("whatever it is");
    for id in [link.sender().id(), link.receiver().id()] {
        let stat = |stat: tubepost::Stat| (stat.id == id).then_some((stat.strategy, stat.capacity));
        let listed = place.domain().list().expect("our own domain");
        let found = listed.into_iter().find_map(|it| it.stat.ok().and_then(stat));
        assert_eq!(found, Some((Strategy::Kernel, Some(7))));
    }
    assert_eq!(other.sender().capacity(), Some(7));
    let shared = Link::<u64>::options().strategy(Strategy::Shared);
    for wrong in [shared.open(&bob, "alice").map(drop), shared.open(&alice, "bob").map(drop)] {
        let Err(Error::WrongChoice { theirs, ours, .. }) = wrong else { panic!("{wrong:?}") };
        assert!(theirs.contains("kernel") && ours.contains("shared"), "{theirs} / {ours}");
    }

    let carol = join(&place, "carol");
    let _shared = carol.link::<u64>("alice").expect("she is there");
    let wrong = by_kernel(7).open(&alice, "carol").map(drop);
    let Err(Error::WrongChoice { theirs, ours, .. }) = wrong else { panic!("{wrong:?}") };
    assert!(theirs.contains("shared") && ours.contains("kernel"), "{theirs} / {ours}");

    let unbounded = Link::<u64>::options().strategy(Strategy::Kernel).unbounded();
    let Err(refused @ Error::BadOption { .. }) = unbounded.open(&bob, "carol").map(drop) else {
        panic!("the kernel holds only so much")
    };
    let text = refused.to_string();
    assert!(text.contains("unbounded") && text.contains("shared"), "{text}");
    bob.link::<u64>("carol").expect("what was refused left nothing");
}

#[test]
fn exactly_n_are_accepted_whatever_the_peer_does() {
    for n in [1, 2, 7, 64] {
        let place = Place::new();
        let alice = join(&place, "alice");
        let mut bob = start(&place, "bob");
        // It has not opened its end; then it is stopped besides; then it has.
        let link = by_kernel(n).open(&alice, "bob").expect("bob is there");
        for number in 0..n {
            link.try_send(number).expect("there is room");
        }
        assert_eq!(link.try_send(n), Err(TrySendError::Full(n)));
        assert_eq!((link.sender().len() as u64, link.sender().is_full()), (n, true));
        bob.stop();
        assert_eq!(link.try_send(n), Err(TrySendError::Full(n)));
        bob.go_on();
        assert_eq!(bob.ask("link alice"), "linked");
        assert_eq!(bob.ask(format!("recv 0 {n}")), "received");
        bob.stop();
        for number in 0..n {
            link.send_timeout(number, PATIENCE).expect("there is room");
        }
        assert_eq!(link.try_send(n), Err(TrySendError::Full(n)));
        bob.go_on();
        assert_eq!(bob.ask(format!("recv 0 {n}")), "received");
    }
}

#[test]
fn what_was_not_collected_is_counted_though_the_peer_never_opened_its_end() {
    let place = Place::new();
    let alice = join(&place, "alice");
    for kills in [true, false] {
        let mut bob = start(&place, "bob");
        let link = by_kernel(7).open(&alice, "bob").expect("bob is there");
        for number in 0..5 {
            link.send(number).expect("there is room");
        }
        if kills {
            bob.kill();
        } else {
            assert_eq!(bob.ask("leave"), "left");
        }
        let refused = link.send(5);
        assert!(
            matches!(refused, Err(tubepost::SendError::Closed(5, closed)) if closed.uncollected == 5),
            "{refused:?}"
        );
        let over = link.recv_timeout(PATIENCE);
        assert!(matches!(over, Err(RecvTimeoutError::Closed(_))), "{over:?}");
        drop(link);
    }
}

#[test]
fn a_sender_that_died_before_anybody_looked_has_sent() {
    let place = Place::new();
    let alice = join(&place, "alice");
    for inbox in [false, true] {
        let mut bob = start(&place, "bob");
        assert_eq!(bob.ask("link alice by kernel"), "linked");
        assert_eq!(bob.ask("send 0 3"), "sent");
        bob.kill();
        assert_eq!(place.domain().gc().expect("our own domain").left_alone, []);
        if inbox {
            let inbox = alice.inbox::<u64>().expect("numbers need no label");
            for number in 0..3 {
                assert_eq!(
                    inbox.recv_timeout(PATIENCE).map(|it| (it.message, it.sender.name)),
                    Ok((number, "bob".into()))
                );
            }
            continue;
        }
        let link = alice.link::<u64>("bob").expect("it left something");
        for number in 0..3 {
            assert_eq!(link.recv_timeout(PATIENCE), Ok(number));
        }
        assert!(matches!(link.recv_timeout(PATIENCE), Err(RecvTimeoutError::Closed(_))));
        assert!(!link.peer_has_left());
    }
}

#[test]
fn two_threads_wait_at_two_links_and_each_gets_its_own() {
    let place = Place::new();
    let alice = join(&place, "alice");
    let peers = [join(&place, "bob"), join(&place, "carol")];
    // Made here: who connects comes when both sleep already.
    let links = ["bob", "carol"].map(|name| by_kernel(7).open(&alice, name).expect("it is there"));
    std::thread::scope(|scope| {
        for (link, number) in links.iter().zip(0..) {
            scope.spawn(move || {
                eventually("it comes", || link.try_recv() == Ok(number));
                for _ in 0..100 {
                    assert_eq!(link.recv_timeout(PATIENCE), Ok(number));
                }
            });
        }
        for (peer, number) in peers.iter().zip(0..) {
            let back = peer.link::<u64>("alice").expect("it is there");
            for _ in 0..101 {
                back.send(number).expect("alice receives");
            }
        }
    });
}

#[test]
fn a_select_a_doorbell_and_a_task_hear_of_what_comes_first_and_of_the_end() {
    let place = Place::new();
    let alice = join(&place, "alice");
    let link = |name: &str| by_kernel(7).open(&alice, name).expect("it is there");
    let mut peers = ["selected", "rung", "awaited"].map(|name| start(&place, name));
    let links = ["selected", "rung", "awaited"].map(link);
    let bell = links[1].receiver().doorbell().expect("descriptors are left");
    let rung = || {
        let mut polled = [rustix::event::PollFd::new(&bell, rustix::event::PollFlags::IN)];
        let longest = rustix::event::Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        while !bell.clear().expect("it can be told") {
            assert_eq!(rustix::event::poll(&mut polled, Some(&longest)), Ok(1));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut select = Select::new();
            select.recv(links[0].receiver());
            for number in 0..2 {
                select.ready_timeout(PATIENCE).expect("something comes");
                assert_eq!(links[0].try_recv(), Ok(number));
            }
            select.ready_timeout(PATIENCE).expect("the end comes");
            assert!(links[0].try_recv().is_err_and(|error| error.is_closed()));
        });
        scope.spawn(|| {
            for number in 0..2 {
                rung();
                assert_eq!(links[1].try_recv(), Ok(number));
            }
            rung();
            assert!(links[1].try_recv().is_err_and(|error| error.is_closed()));
        });
        scope.spawn(|| {
            for number in 0..2 {
                assert_eq!(futures_executor::block_on(links[2].receiver().recv_async()), Ok(number));
            }
            let over = futures_executor::block_on(links[2].receiver().recv_async());
            assert!(over.is_err_and(|error| error.is_closed()));
        });
        for peer in &mut peers {
            assert_eq!(peer.ask("link alice"), "linked");
            assert_eq!(peer.ask("send 0 2"), "sent");
            peer.kill();
        }
    });
}

#[test]
fn a_peer_that_dies_before_it_connects_is_missed() {
    let place = Place::new();
    let alice = join(&place, "alice");
    let mut bob = start(&place, "bob");
    let link = by_kernel(7).open(&alice, "bob").expect("bob is there");
    let receiver = link.receiver().clone();
    let (sayer, asleep) = std::sync::mpsc::channel();
    let waiting = std::thread::spawn(move || {
        sayer.send(thread_id()).expect("the test listens");
        receiver.recv_timeout(PATIENCE)
    });
    until_asleep(std::process::id(), asleep.recv().expect("it says who it is"));
    bob.kill();
    assert!(matches!(waiting.join().expect("no panic"), Err(RecvTimeoutError::Closed(_))));
    assert!(link.try_recv().is_err_and(|error| error.is_closed()));
}

#[test]
fn open_files_go_with_the_messages_of_a_link() {
    let place = Place::new();
    let (alice, bob) = (join(&place, "alice"), join(&place, "bob"));
    let link = Link::<str>::options().strategy(Strategy::Kernel).bounded(7).open(&alice, "bob").expect("bob");
    let other = bob.link::<str>("alice").expect("it is there");
    let path = std::path::Path::new(&place.arg()).with_extension("txt");
    let mut file = std::fs::File::options().create(true).truncate(true).read(true).write(true).open(&path);
    let file = file.as_mut().expect("a fresh file");
    file.write_all(b"hello").expect("there is room");
    link.sender().send_with("a file", &[file.as_fd()]).expect("there is room");
    let mut delivery = other.receiver().take_timeout(PATIENCE).expect("it was sent");
    let descriptors = delivery.take_descriptors();
    let mut copy = std::fs::File::from(descriptors.into_iter().next().expect("one went with it"));
    let mut text = String::new();
    copy.rewind().expect("it is a file");
    copy.read_to_string(&mut text).expect("it is text");
    assert_eq!((&delivery[..], text.as_str()), ("a file", "hello"));
    std::fs::remove_file(path).expect("it is ours");
}

#[test]
fn an_inbox_hears_of_both_strategies_and_of_the_end_of_both() {
    let place = Place::new();
    let monitor = join(&place, "monitor");
    let inbox = monitor.inbox::<u64>().expect("numbers need no label");
    let mut peers: Vec<Child> = (0..6).map(|n| start(&place, &format!("peer-{n}"))).collect();
    let bell = inbox.doorbell().expect("descriptors are left");
    for round in 0..3_u64 {
        for (peer, n) in peers.iter_mut().zip(0..) {
            if round == 0 {
                let strategy = if n % 2 == 0 { "kernel" } else { "shared" };
                assert_eq!(peer.ask(format!("link monitor by {strategy}")), "linked");
            }
            assert_eq!(peer.ask(format!("send {round} {}", round + 1)), "sent");
        }
        let mut names: Vec<String> = (0..6)
            .map(|n| {
                let got = match n % 3 {
                    0 => inbox.recv_timeout(PATIENCE).map_err(|error| error.to_string()),
                    1 => futures_executor::block_on(inbox.recv_async()).map_err(|error| error.to_string()),
                    _ => loop {
                        bell.clear().expect("it can be told");
                        match inbox.try_recv() {
                            Err(tubepost::TryRecvError::Empty) => {
                                let mut polled =
                                    [rustix::event::PollFd::new(&bell, rustix::event::PollFlags::IN)];
                                rustix::event::poll(&mut polled, None).expect("it is rung");
                            }
                            done => break done.map_err(|error| error.to_string()),
                        }
                    },
                };
                let got = got.expect("all have sent");
                assert_eq!(got.message, round);
                got.sender.name
            })
            .collect();
        names.sort();
        assert_eq!(names, (0..6).map(|n| format!("peer-{n}")).collect::<Vec<_>>());
    }
    assert_eq!(inbox.recv_timeout(Duration::from_millis(20)).map(drop), Err(RecvTimeoutError::Timeout));
    peers.iter_mut().for_each(Child::kill);
    eventually("their links to the inbox are put away", || {
        let _ = inbox.recv_timeout(Duration::from_millis(10));
        place.files().iter().all(|file| !file.contains("~monitor~"))
    });
    drop(inbox);
    monitor.leave();
    place.domain().gc().expect("our own domain");
    assert_eq!(place.files(), [""; 0]);
}
