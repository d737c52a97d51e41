//! A fork in the middle: what was opened before it is an error in the child, and harmless to drop there; the
//! child opens its own; and a child that lives on keeps no dead mailbox alive.

use tubepost::{
    Closed, Domain, Error, Mailbox, Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError,
    Sender, TryRecvError, TrySendError,
};

use crate::stage::{Child, Cue, PATIENCE, Place, Role, fork, wait_for};

pub const ROLES: &[Role] = &[("forker", forker), ("parent", parent)];

/// Everything a forked child may try with its parent's handles.
fn misuse(inbox: Receiver<u64>, out: Sender<u64>) {
    assert_eq!(out.try_send(1), Err(TrySendError::Failed(1, Error::Forked)));
    assert_eq!(out.send(2), Err(SendError::Failed(2, Error::Forked)));
    assert_eq!(out.send_timeout(3, PATIENCE), Err(SendTimeoutError::Failed(3, Error::Forked)));
    assert_eq!(inbox.try_recv(), Err(TryRecvError::Failed(Error::Forked)));
    assert_eq!(inbox.recv(), Err(RecvError::Failed(Error::Forked)));
    assert_eq!(inbox.recv_timeout(PATIENCE), Err(RecvTimeoutError::Failed(Error::Forked)));
    assert_eq!(inbox.recv_into(&mut 0), Err(RecvError::Failed(Error::Forked)));
    assert!(matches!(inbox.try_recv_envelope(), Err(TryRecvError::Failed(Error::Forked))));
    assert_eq!(inbox.iter().next(), None);
    assert!(matches!(out.stat(), Err(Error::Forked)) && matches!(inbox.stat(), Err(Error::Forked)));
    // These have no room for an error; they must only not crash.
    let _ = (out.len(), out.is_empty(), out.is_full(), out.capacity(), out.id(), out.name(), out.is_closed());
    let _ = (inbox.len(), inbox.is_empty(), inbox.is_full(), inbox.capacity(), inbox.id(), inbox.name());
    drop(out.clone());
    drop(inbox.clone());
    // Nor does closing in the child close anything, and waiting for that does not wait.
    assert_eq!(inbox.close(), Err(Error::Forked));
    assert_eq!(out.closed(), Err(Error::Forked));
    assert_eq!(out.closed_timeout(PATIENCE), Err(Error::Forked));
}

fn forker(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let inbox = Mailbox::<u64>::options().domain(&domain).own("box").expect("a free name");
    let out = Sender::<u64>::options().domain(&domain).open("box").expect("it exists");
    out.send(7).expect("it lives");
    if cue.arg(1) == "after waiting" {
        // So that whatever a first wait starts has been started.
        assert_eq!(inbox.recv(), Ok(7));
        assert!(
            inbox.recv_timeout(std::time::Duration::from_millis(5)).is_err_and(|error| error.is_timeout())
        );
        out.send(7).expect("it lives");
    }
    let (their_inbox, their_out, their_domain) = (inbox.clone(), out.clone(), domain.clone());
    let child = fork(move || {
        misuse(their_inbox, their_out);
        // Its own handles work, on the parent's mailbox and on one of its own; the domain is no handle.
        let domain = their_domain;
        let own_out = Sender::<u64>::options().domain(&domain).member("child").open("box").expect("it lives");
        own_out.send(8).expect("it lives");
        let own_inbox = Mailbox::<u64>::options().domain(&domain).own("child").expect("a free name");
        let to_self = Sender::<u64>::options().domain(&domain).open("child").expect("it exists");
        to_self.send(9).expect("it lives");
        assert_eq!(own_inbox.recv(), Ok(9));
        assert!(
            own_inbox
                .recv_timeout(std::time::Duration::from_millis(5))
                .is_err_and(|error| error.is_timeout())
        );
        drop(own_inbox);
        assert!(to_self.is_closed());
    });
    assert!(wait_for(child), "the child's assertions");
    // The parent goes on as if nothing had been.
    assert_eq!(inbox.recv(), Ok(7));
    let envelope = inbox.recv_envelope_timeout(PATIENCE).expect("the child's message");
    assert_eq!((envelope.message, envelope.sender.pid, envelope.sender.name.as_str()), (8, child, "child"));
    assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
    assert!(!out.is_closed());
    out.send(10).expect("it lives");
    assert_eq!(inbox.recv(), Ok(10));
    assert_eq!(inbox.close(), Ok(Closed { uncollected: 0 }));
    assert!(out.is_closed());
    cue.say("done");
}

#[test]
fn handles_do_not_cross_a_fork() {
    for when in ["before waiting", "after waiting"] {
        let place = Place::new();
        let mut forker = Child::start("forker", &[&place.arg(), when]);
        forker.expect("done");
        forker.finish();
    }
}

/// Owns, forks, and leaves the child alone; both wait to be killed.
fn parent(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let inbox = Mailbox::<u64>::options().domain(&domain).own("box").expect("a free name");
    let orphan = fork(|| {
        // Is there, and does nothing, until the test kills it: a forked child has nobody to hear from.
        std::thread::sleep(PATIENCE);
    });
    cue.say(orphan);
    cue.hear();
    drop(inbox);
}

/// The forked child inherits the mapping's file and nothing else: its life is not its parent's.
#[test]
fn a_forked_child_keeps_nothing_alive() {
    let place = Place::new();
    let mut parent = Child::start("parent", &[&place.arg()]);
    let orphan: u32 = parent.hear().parse().expect("a pid");
    let out = Sender::<u64>::options().domain(place.domain()).open("box").expect("it exists");
    out.send(1).expect("it lives");
    parent.kill();
    let closed = out.closed_timeout(PATIENCE);
    let again = Mailbox::<u64>::options().domain(place.domain()).own("box").map(|_| ());
    crate::stage::signal(orphan, libc::SIGKILL);
    assert_eq!(closed, Ok(Some(Closed { uncollected: 1 })));
    assert_eq!(again, Ok(()), "the name is free");
}
