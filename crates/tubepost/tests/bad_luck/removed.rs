//! A domain whose files, or which itself, are removed under those who use it: systemd does that with
//! `RemoveIPC=yes` when a user logs out, or somebody with `rm -r`. Errors with a type, and a fresh start.

use std::time::Duration;

use tubepost::{Domain, Error, Mailbox, RecvTimeoutError, SendTimeoutError, TrySendError};

use crate::citizen::dialogue;
use crate::stage::{Child, PATIENCE, Place};

/// Everybody who uses it is told within a second or so.
#[test]
fn the_domain_is_removed_under_its_users() {
    for with_directory in [false, true] {
        let place = Place::new();
        let mut owner = Child::start("citizen", &[&place.arg()]);
        let [mut filler, mut worker, mut sender, mut idle] =
            std::array::from_fn(|_| Child::start("citizen", &[&place.arg()]));
        dialogue(&mut owner, &[("own mine 600 1", "ok")]);
        dialogue(
            &mut filler,
            &[("create box 600 4", "ok"), ("sender mine", "ok"), ("send mine 0 one", "ok")],
        );
        dialogue(&mut idle, &[("receiver box", "ok"), ("sender box", "ok"), ("sender mine", "ok")]);
        dialogue(&mut worker, &[("receiver box", "ok"), ("sender box", "ok")]);
        dialogue(&mut worker, &[("send box 0 *200000", "ok"), ("take box 0", "ok *200000 0")]);
        dialogue(&mut sender, &[("sender box", "ok"), ("send box 0 waits", "ok")]);
        filler.say("send mine 20000 two");
        if with_directory {
            std::fs::remove_dir_all(place.path()).expect("our own");
        } else {
            place.files().iter().for_each(|it| std::fs::remove_file(place.file(it)).expect("our own"));
        }
        // Who waits for room, and who takes what is there.
        assert_eq!(filler.hear(), "Closed 1");
        dialogue(&mut sender, &[("closed box 5000", "closed 1"), ("send box 0 more", "Closed 1")]);
        dialogue(&mut idle, &[("closed mine 5000", "closed 1"), ("recv box 5000", "Closed 1")]);
        dialogue(&mut owner, &[("recv mine 5000", "Closed 1")]);
        // What one had in hand is one's own still.
        dialogue(&mut worker, &[("accept", "ok"), ("recv box 5000", "Closed 1"), ("drop box", "ok")]);
        // And what comes new.
        let gone = if with_directory { "Os" } else { "NoSuchName" };
        let domain = place.domain();
        match domain.list() {
            Ok(listed) => assert!(listed.is_empty() && !with_directory),
            Err(Error::Os { errno: libc::ENOENT, .. }) => assert!(with_directory),
            other => panic!("{other:?}"),
        }
        match Mailbox::<[u8]>::options().domain(domain).own("mine").map(|_| ()) {
            Ok(()) => assert_eq!(gone, "NoSuchName"),
            Err(Error::Os { errno: libc::ENOENT, .. }) => assert_eq!(gone, "Os"),
            other => panic!("{other:?}"),
        }
        // Who opens the domain anew makes it anew; what was opened before sees the new things, by the same path.
        dialogue(&mut owner, &[("own mine 600 1", "ok")]);
        dialogue(
            &mut sender,
            &[("sender mine", "ok"), ("send mine 0 anew", "ok"), ("send box 0 x", "Closed 1")],
        );
        dialogue(&mut owner, &[("recv mine 0", "ok anew 0")]);
        assert_eq!(domain.list().expect("it is there again").len(), 1);
        drop(owner);
        domain.gc().expect("it can be swept");
        assert!(place.files().is_empty());
    }
}

/// The name means another mailbox by now: who uses the old one is told, and does not end up in the new one.
#[test]
fn another_mailbox_in_its_place() {
    let place = Place::new();
    let options = Mailbox::<u64>::options().domain(place.domain()).bounded(2);
    options.create("box").expect("a free name");
    let out = tubepost::Sender::<u64>::options().domain(place.domain()).open("box").expect("it exists");
    let inbox = tubepost::Receiver::<u64>::options().domain(place.domain()).open("box").expect("it exists");
    let held = {
        out.send(1).expect("it lives");
        inbox.take().expect("a message")
    };
    std::fs::rename(place.file("box"), place.file("elsewhere")).expect("our own");
    options.create("box").expect("a free name");
    // It is found out at the first call after a pause, or while waiting.
    match out.send_timeout(2, Duration::ZERO).and_then(|()| out.send_timeout(3, PATIENCE)) {
        Ok(()) => assert!(matches!(out.send_timeout(4, PATIENCE), Err(SendTimeoutError::Closed(4, _)))),
        Err(SendTimeoutError::Closed(..)) => {}
        other => panic!("{other:?}"),
    }
    assert!(matches!(out.try_send(5), Err(TrySendError::Closed(5, _))));
    assert!(matches!(inbox.recv_timeout(PATIENCE), Err(RecvTimeoutError::Closed(_))));
    held.accept().expect("in hand is in hand");
    let stat = place.domain().stat("box").expect("the new one");
    assert_eq!((stat.depth, stat.sent), (0, 0));
    assert_ne!(stat.id, out.id());
}

/// A domain that never existed for long enough.
#[test]
fn a_domain_without_a_directory() {
    let path = Place::unused();
    let domain = Domain::open(&path).expect("it is made");
    std::fs::remove_dir(&path).expect("our own");
    let vanished = |result: Result<(), Error>| match result {
        Err(error @ Error::Os { errno: libc::ENOENT, .. }) => {
            assert!(error.to_string().contains(path.to_str().expect("our own path")), "{error}");
        }
        other => panic!("{other:?}"),
    };
    let options = Mailbox::<u64>::options().domain(&domain);
    vanished(options.own("box").map(|_| ()));
    vanished(options.create("box").map(|_| ()));
    vanished(domain.gc().map(|_| ()));
    let no_such = |result: Result<(), Error>| assert!(matches!(result, Err(Error::NoSuchName { .. })));
    no_such(domain.stat("box").map(|_| ()));
    no_such(domain.remove("box").map(|_| ()));
    no_such(tubepost::Sender::<u64>::options().domain(&domain).open("box").map(|_| ()));
}
