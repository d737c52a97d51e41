//! What tasks and event loops are woken by, when it can't be had, when others have it, and when nobody needs it any more.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::task::Context;
use std::time::Instant;

use futures_executor::block_on;
use futures_util::task::noop_waker;
use tubepost::{Domain, Error, Mailbox, Process, Receiver, RecvError, Select, SendError, Sender};

use crate::stage::{
    Child, Cue, PATIENCE, Place, Role, descriptors, files_in, fork, limit_files, mount_again, skip, wait_for,
};

pub const ROLES: &[Role] =
    &[("no-files-left", no_files_left), ("forks-waiting", forks_waiting), ("elsewhere", elsewhere)];

/// Polls once.
fn poll<R>(future: impl Future<Output = R>) -> Option<R> {
    let waker = noop_waker();
    match pin!(future).poll(&mut Context::from_waker(&waker)) {
        std::task::Poll::Ready(done) => Some(done),
        std::task::Poll::Pending => None,
    }
}

fn is_out_of_files(error: &Error) -> bool {
    matches!(error, Error::Os { errno: libc::EMFILE, .. })
}

fn no_files_left(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let options = Mailbox::<u64>::options().domain(&domain).bounded(1);
    let mut fillers = vec![File::open("/dev/null").expect("there is one")];
    while (fillers[fillers.len() - 1].as_raw_fd() as usize) < descriptors() - 1 {
        fillers.push(File::open("/dev/null").expect("there is one"));
    }
    let mut failures = 0;
    for spare in 0..12 {
        let inbox = options.own("box").expect("a free name");
        let out = Sender::<u64>::options().domain(&domain).open("box").expect("it exists");
        out.send(1).expect("room");
        let open_now = descriptors() as u64;
        let before = limit_files(open_now + spare);
        let sent = poll(out.send_async(2));
        let collected = poll(out.send_collected_async(2));
        let closed = poll(out.closed_async());
        let bell = out.doorbell();
        let failed = match (&sent, &collected, &closed, &bell) {
            (None, None, None, Ok(_)) => false,
            (Some(Err(SendError::Failed(2, error))), Some(Err(_)), Some(Err(_)), Err(other)) => {
                assert!(is_out_of_files(error) && is_out_of_files(other), "{error}, {other}");
                true
            }
            // The last one that was missing may have become free, or the watch has what it needs.
            (_, _, _, bell) => bell.is_err(),
        };
        failures += u32::from(failed);
        // What does not wait works on, and what waits otherwise.
        assert_eq!(poll(inbox.recv_async()), Some(Ok(1)));
        let mut select = Select::new();
        select.recv(&inbox);
        assert!(select.ready_timeout(std::time::Duration::from_millis(5)).is_err());
        assert_eq!(poll(out.send_async(3)), Some(Ok(())));
        limit_files(before);
        if failed {
            assert_eq!(descriptors() as u64, open_now, "none was left open with {spare} to spare");
        }
        drop(bell);
        // And everything, when there are some again.
        assert_eq!(block_on(inbox.recv_async()), Ok(3));
        assert_eq!(poll(inbox.recv_async()), None);
        std::thread::scope(|scope| {
            scope.spawn(|| out.send(4));
            assert_eq!(block_on(inbox.recv_async()), Ok(4));
        });
        drop((inbox, out));
        assert_eq!(files_in(domain.path()), [""; 0]);
    }
    assert!(failures > 0, "there were always enough");
    cue.say("done");
}

#[test]
fn who_has_no_descriptor_left_is_told() {
    let place = Place::new();
    Child::start("no-files-left", &[&place.arg()]).expect("done");
}

fn forks_waiting(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let inbox = Mailbox::<u64>::options().domain(&domain).own("box").expect("a free name");
    let out = Sender::<u64>::options().domain(&domain).open("box").expect("it exists");
    let bell = inbox.doorbell().expect("descriptors are left");
    let (waker, mut waiting) = (noop_waker(), Box::pin(inbox.recv_async()));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(bell.clear(), Ok(false));
    let mut theirs = Some((waiting, bell));
    let child = fork(|| {
        let (mut waiting, bell) = theirs.take().expect("its own copy");
        let polled = waiting.as_mut().poll(&mut Context::from_waker(&waker));
        assert_eq!(polled, std::task::Poll::Ready(Err(RecvError::Failed(Error::Forked))));
        assert_eq!(bell.clear(), Err(Error::Forked));
        drop((waiting, bell));
        assert_eq!(block_on(inbox.recv_async()), Err(RecvError::Failed(Error::Forked)));
        assert_eq!(block_on(out.send_async(1)), Err(SendError::Failed(1, Error::Forked)));
        assert_eq!(block_on(out.closed_async()), Err(Error::Forked));
        assert!(matches!(inbox.doorbell(), Err(Error::Forked)));
        let mut select = Select::new();
        let it = select.recv(&inbox);
        assert_eq!(select.ready(), it, "a call says what is wrong");
        // Its own wait as tasks, in a watch of their own.
        let own = Mailbox::<u64>::options().domain(&domain).own("child").expect("a free name");
        let to_self = Sender::<u64>::options().domain(&domain).open("child").expect("it exists");
        std::thread::scope(|scope| {
            scope.spawn(|| to_self.send(7));
            assert_eq!(block_on(own.recv_async()), Ok(7));
        });
    });
    assert!(wait_for(child), "the child found something wrong");
    let (waiting, bell) = theirs.take().expect("the child had a copy");
    out.send(8).expect("room");
    assert_eq!(block_on(waiting), Ok(8));
    let begin = Instant::now();
    for round in 0..2 * PATIENCE.as_secs() {
        std::thread::scope(|scope| {
            scope.spawn(|| out.send(round));
            assert_eq!(block_on(inbox.recv_async()), Ok(round));
        });
    }
    assert!(begin.elapsed() < PATIENCE, "the child has taken something away");
    drop(theirs);
    drop((bell, inbox, out));
    assert_eq!(files_in(domain.path()), [""; 0]);
    cue.say("done");
}

#[test]
fn a_forked_child_has_none_of_it() {
    let place = Place::new();
    Child::start("forks-waiting", &[&place.arg()]).expect("done");
}

#[test]
fn a_domain_may_lie_deep() {
    let place = Place::new();
    let deep = place.path().join("d".repeat(120));
    let domain = Domain::open(&deep).expect("a path");
    let inbox = Mailbox::<u64>::options().domain(&domain).own("box").expect("a free name");
    let out = Sender::<u64>::options().domain(&domain).open("box").expect("it exists");
    let begin = Instant::now();
    for round in 0..2 * PATIENCE.as_secs() {
        std::thread::scope(|scope| {
            scope.spawn(|| out.send(round));
            assert_eq!(block_on(inbox.recv_async()), Ok(round));
        });
    }
    assert!(begin.elapsed() < PATIENCE, "nobody was woken");
    drop((inbox, out));
    assert_eq!(files_in(&deep), [""; 0]);
}

/// Sees the domain somewhere else, and sends what it is told; the arguments are domain and other path.
fn elsewhere(cue: &mut Cue) {
    if let Err(why) = mount_again(cue.arg(0), cue.arg(1)) {
        cue.say(format!("skip {why}"));
        return;
    }
    let domain = Domain::open(cue.arg(1)).expect("the same");
    let out = Sender::<u64>::options().domain(&domain).open("box").expect("it exists");
    cue.say("open");
    loop {
        out.send(cue.hear().parse().expect("a number")).expect("room");
    }
}

#[test]
fn a_domain_may_be_mounted_elsewhere() {
    let (place, other) = (Place::new(), Place::new());
    let inbox = Mailbox::<u64>::options().domain(place.domain()).own("box").expect("a free name");
    let started = Child::start_in_namespace("elsewhere", &[&place.arg(), &other.arg()]);
    let mut child = match started {
        Ok(child) => child,
        Err(why) => return skip("a_domain_may_be_mounted_elsewhere", &why),
    };
    let said = child.hear();
    if said != "open" {
        return skip("a_domain_may_be_mounted_elsewhere", &said);
    }
    let begin = Instant::now();
    for round in 0..2 * PATIENCE.as_secs() {
        child.say(round);
        assert_eq!(block_on(inbox.recv_async()), Ok(round));
    }
    assert!(begin.elapsed() < PATIENCE, "nobody was woken");
}

#[test]
fn what_is_left_of_a_mailbox_that_is_gone_is_swept() {
    let place = Place::new();
    let inbox = Mailbox::<u64>::options().domain(place.domain()).own("box").expect("a free name");
    assert_eq!(poll(inbox.recv_async()), None);
    let called = place.files().into_iter().find(|file| file.starts_with('~')).expect("what it is rung by");
    // Of another mailbox, which nobody has heard of, and which left more than one can read.
    let stranger = format!("~{}~1~1", "0123456789abcdef".repeat(2));
    let like_it = format!("{stranger}x");
    for file in [&stranger, &like_it, "rubbish"] {
        std::fs::write(place.path().join(file), "").expect("ours");
    }
    let left: Vec<String> =
        place.domain().gc().expect("ours").left_alone.into_iter().map(|(it, _)| it).collect();
    assert_eq!(left, ["rubbish", &like_it], "what may be anything is told");
    assert!(place.files().contains(&stranger), "it may be of what can't be read");
    std::fs::remove_file(place.file("rubbish")).expect("ours");
    std::fs::remove_file(place.path().join(&like_it)).expect("ours");
    place.domain().gc().expect("ours");
    assert_eq!(place.files(), ["box".to_owned(), called]);
    drop(inbox);
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn receivers_of_others_are_woken_without_descriptors_of_theirs() {
    // A handle that never waits so has no name there.
    let place = Place::new();
    Mailbox::<u64>::options().domain(place.domain()).create("box").expect("a free name");
    let inbox = Receiver::<u64>::options().domain(place.domain()).open("box").expect("it exists");
    let out = Sender::<u64>::options().domain(place.domain()).open("box").expect("it exists");
    out.send(1).expect("room");
    assert_eq!(block_on(inbox.recv_async()), Ok(1));
    block_on(out.send_async(2)).expect("room");
    assert_eq!(inbox.recv_timeout(PATIENCE), Ok(2));
    assert_eq!(place.files(), ["box"]);
}

/// A name that a handle could not take away when it went, for want of memory, say.
#[test]
fn what_who_left_is_rung_by_is_swept_while_the_mailbox_lives() {
    for sweeps in ["gc", "next"] {
        let place = Place::new();
        let inbox =
            Mailbox::<u64>::options().domain(place.domain()).bounded(1).own("box").expect("a free name");
        let open = || Sender::<u64>::options().domain(place.domain()).open("box").expect("it exists");
        let doors = || {
            let files = files_in(place.path());
            files.into_iter().filter(|file| file.starts_with('~')).collect::<Vec<String>>()
        };
        let out = open();
        let bell = out.doorbell().expect("descriptors are left");
        let [left] = &doors()[..] else { panic!("{:?}", doors()) };
        let left = left.clone();
        drop((bell, out));
        assert_eq!(doors(), [""; 0]);
        let put_back = || drop(File::create(place.path().join(&left)).expect("its old name"));
        if sweeps == "next" {
            put_back();
        }
        let out = open();
        assert_eq!(doors(), [""; 0], "who has its row next takes it away");
        put_back();
        let _bell = out.doorbell().expect("descriptors are left");
        assert_eq!(doors().len(), 2);
        assert_eq!(place.domain().gc().expect("our own").left_alone, []);
        assert!(doors().len() == 1 && doors()[0] != left, "of who lives it stays: {:?}", doors());
        inbox.recv_timeout(std::time::Duration::ZERO).expect_err("nothing was sent");
    }
}

#[test]
fn what_who_left_a_link_is_rung_by_is_swept_while_the_link_lives() {
    let place = Place::new();
    let join = |name: &str| Process::options().domain(place.domain()).join(name).expect("a free name");
    let (alice, bob) = (join("alice"), join("bob"));
    let there = alice.link::<u64>("bob").expect("he is there");
    let here = bob.link::<u64>("alice").expect("it is there");
    let doors = || {
        let doors = files_in(place.path())
            .into_iter()
            .filter(|file| file.starts_with('~') && !file.ends_with("~post"));
        doors.collect::<Vec<String>>()
    };
    let before = doors();
    let bell = there.sender().doorbell().expect("descriptors are left");
    let left = doors().into_iter().find(|door| !before.contains(door)).expect("what it is rung by");
    let other = here.receiver().doorbell().expect("descriptors are left");
    there.send(1).expect("room");
    there.stop_sending().expect("our own");
    drop(bell);
    let living = doors();
    assert!(!living.contains(&left));
    drop(File::create(place.path().join(&left)).expect("its old name"));
    assert_eq!(place.domain().gc().expect("our own").left_alone, []);
    assert_eq!(doors(), living, "of who lives it stays");
    assert_eq!(here.recv_timeout(PATIENCE), Ok(1));
    drop(other);
}
