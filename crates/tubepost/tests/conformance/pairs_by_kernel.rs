//! Pairs of which the kernel copies the messages: what only they can, and what only they could get wrong.

use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use tubepost::{Closed, Error, Link, LinkOptions, SendError, Strategy, TrySendError};

use crate::pairs::start;
use crate::stage::PATIENCE;

fn by_kernel(capacity: u64) -> LinkOptions<u64> {
    Link::options().strategy(Strategy::Kernel).bounded(capacity)
}

#[test]
fn exactly_n_are_accepted_whatever_the_child_does() {
    for n in [1, 2, 7, 64] {
        let (link, endpoint) = by_kernel(n).pair().expect("descriptors are left");
        let full = || {
            assert_eq!(link.try_send(n), Err(TrySendError::Full(n)));
            assert_eq!(link.send_timeout(n, Duration::from_millis(1)).map_err(drop), Err(()));
            assert_eq!((link.sender().len() as u64, link.sender().is_full()), (n, true));
        };
        // It does not run yet; it has not taken its end; it is stopped; it has, and is stopped.
        for number in 0..n {
            link.try_send(number).expect("there is room");
        }
        full();
        let mut child = start(endpoint);
        full();
        child.stop();
        full();
        child.go_on();
        assert_eq!(child.ask("take"), "taken");
        full();
        assert_eq!(link.sender().stat().expect("it lives").depth, n);
        for number in 0..n {
            child.ask("recv");
            child.expect(&number.to_string());
        }
        child.stop();
        for number in 0..n {
            link.try_send(number).expect("there is room");
        }
        full();
        child.kill();
        assert_eq!(link.send(n), Err(SendError::Closed(n, Closed { uncollected: n })));
    }
}

#[test]
fn many_threads_at_both_ends() {
    for n in [1, 7] {
        let (link, endpoint) = by_kernel(n).pair().expect("descriptors are left");
        let other = endpoint.here().expect("nobody took it");
        let sum: u64 = std::thread::scope(|scope| {
            for thread in 0..4 {
                let link = &link;
                scope.spawn(move || {
                    (0..1000).for_each(|number| link.send(4 * number + thread).expect("it is received"));
                });
            }
            let receive =
                || (0..1000).map(|_| other.recv_timeout(PATIENCE).expect("it was sent")).sum::<u64>();
            let receivers = [(); 4].map(|()| scope.spawn(receive));
            receivers.into_iter().map(|receiver| receiver.join().expect("no panic")).sum()
        });
        assert_eq!(sum, 4000 * 3999 / 2);
    }
}

#[test]
fn open_files_go_with_messages_and_the_sender_is_known() {
    let options = Link::<str>::options().strategy(Strategy::Kernel).bounded(7);
    let (link, endpoint) = options.pair().expect("descriptors are left");
    let path = format!("/dev/shm/tubepost-test-pair-{}.txt", std::process::id());
    let mut file = std::fs::File::options().create(true).truncate(true).read(true).write(true).open(&path);
    let file = file.as_mut().expect("a fresh file");
    std::fs::remove_file(path).expect("it is ours");
    file.write_all(b"hello").expect("there is room");
    // Before anybody has the other end.
    link.sender().send_with("a file", &[file.as_fd()]).expect("there is room");
    let other = endpoint.here().expect("nobody took it");
    let mut delivery = other.receiver().take_timeout(PATIENCE).expect("it was sent");
    let descriptors = delivery.take_descriptors();
    let mut copy = std::fs::File::from(descriptors.into_iter().next().expect("one went with it"));
    let mut text = String::new();
    copy.rewind().expect("it is a file");
    copy.read_to_string(&mut text).expect("it is text");
    assert_eq!((&delivery[..], text.as_str()), ("a file", "hello"));
    delivery.accept().expect("it is ours");
    other.send("thanks").expect("there is room");
    let envelope = link.receiver().recv_envelope().expect("it was sent");
    assert_eq!((envelope.sender.pid, &envelope.message[..]), (std::process::id(), "thanks"));
    assert_eq!(link.peer().pid, std::process::id());
}

#[test]
fn what_comes_back_comes_first_and_counts() {
    let (link, endpoint) = by_kernel(2).pair().expect("descriptors are left");
    let other = endpoint.here().expect("nobody took it");
    link.send(1).expect("there is room");
    link.send(2).expect("there is room");
    drop(other.receiver().take().expect("it was sent"));
    let again = other.receiver().take().expect("it came back");
    assert_eq!((*again, again.redelivered()), (1, 1));
    again.accept().expect("it is ours");
    assert_eq!(other.recv(), Ok(2));
    drop(link);
    assert!(other.recv().is_err_and(|error| error.is_closed()));
    assert!(other.peer_has_left());
}

#[test]
fn what_is_not_to_be_had_is_refused_with_what_is() {
    let refused = |options: LinkOptions<u64>, words: [&str; 2]| {
        let Err(error @ Error::BadOption { .. }) = options.pair().map(drop) else { panic!("it was made") };
        let text = error.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    refused(Link::options().strategy(Strategy::Kernel).unbounded(), ["unbounded", "shared"]);
    let (link, endpoint) = by_kernel(1).pair().expect("descriptors are left");
    let shared = Link::<u64>::options().strategy(Strategy::Shared);
    let Err(Error::WrongChoice { theirs, ours, .. }) = shared.from_descriptor(endpoint.into()).map(drop)
    else {
        panic!("it is another strategy")
    };
    assert!(theirs.contains("kernel") && ours.contains("shared"), "{theirs} / {ours}");
    assert!(link.recv().is_err_and(|error| error.is_closed()));
}
