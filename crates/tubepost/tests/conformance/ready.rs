//! Doorbells: descriptors in an event loop, readable when there is something to do, and only then.

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use tubepost::{Doorbell, Mailbox, Receiver, Sender, TryRecvError};

use crate::cast::start_owner;
use crate::rows::{on_every_row, on_every_row_of_a_process, open};
use crate::stage::{Child, Cue, Dice, PATIENCE, Place, Role, thread_id, until_asleep};
use crate::tasks::promptly;

pub const ROLES: &[Role] = &[("scatter", scatter), ("ringer", ringer)];

/// Whether it becomes readable in so much time.
fn is_readable(bell: &Doorbell, within: Duration) -> bool {
    let time = Timespec { tv_sec: within.as_secs() as i64, tv_nsec: within.subsec_nanos().into() };
    poll(&mut [PollFd::new(bell, PollFlags::IN)], Some(&time)).expect("no signal comes") > 0
}

const NOW: Duration = Duration::ZERO;

#[test]
fn a_receivers_is_readable_while_something_is_there() {
    on_every_row(|row| {
        if !row.is_limited("a_receivers_is_readable_while_something_is_there") {
            return;
        }
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let out = open::<u64>(&place, "box");
        let bell = inbox.doorbell().expect("descriptors are left");
        promptly(|round| {
            assert_eq!(bell.clear(), Ok(false), "nothing is there");
            out.send(round).expect("room");
            assert!(is_readable(&bell, NOW));
            assert_eq!(bell.clear(), Ok(true), "it is there still");
            assert!(is_readable(&bell, NOW));
            assert_eq!(inbox.try_recv(), Ok(round));
        });
        assert_eq!(bell.clear(), Ok(false));
        assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
    });
}

#[test]
fn a_senders_is_readable_while_there_is_room() {
    on_every_row(|row| {
        if !row.is_limited("a_senders_is_readable_while_there_is_room") {
            return;
        }
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let out = open::<u64>(&place, "box");
        let bell = out.doorbell().expect("descriptors are left");
        assert_eq!(bell.clear(), Ok(true), "it is empty");
        assert!(is_readable(&bell, NOW));
        (0..row.n()).for_each(|message| out.try_send(message).expect("room"));
        promptly(|round| {
            assert_eq!(bell.clear(), Ok(false), "it is full");
            assert_eq!(inbox.try_recv(), Ok(round));
            assert!(is_readable(&bell, NOW));
            out.try_send(row.n() + round).expect("room");
        });
    });
}

#[test]
fn a_killed_owner_makes_a_sender_ready() {
    on_every_row_of_a_process(|row| {
        if !row.is_limited("a_killed_owner_makes_a_sender_ready") {
            return;
        }
        let place = Place::new();
        let mut owner = start_owner(&place, "box", row);
        let out = open::<u64>(&place, "box");
        (0..row.n()).for_each(|message| out.try_send(message).expect("room"));
        let bell = out.doorbell().expect("descriptors are left");
        assert_eq!(bell.clear(), Ok(false), "it is full");
        owner.strike();
        let end = Instant::now() + PATIENCE;
        // It may become readable before the kernel says that the owner is dead.
        while !out.try_send(7).is_err_and(|error| error.is_closed()) {
            assert!(Instant::now() < end, "nobody was told");
            assert!(is_readable(&bell, PATIENCE), "nobody was told");
            bell.clear().expect("ours");
        }
    });
}

/// Sends so many messages to mailboxes "0" to "99", here and there; the arguments are domain, number, seed.
fn scatter(cue: &mut Cue) {
    let domain = tubepost::Domain::open(cue.arg(0)).expect("the test's domain");
    let open = |at: u32| Sender::<u64>::options().domain(&domain).open(&at.to_string()).expect("it exists");
    let outs: Vec<_> = (0..100).map(open).collect();
    let mut dice = Dice::new(cue.number(2));
    for message in 0..cue.number(1) {
        outs[dice.below(100) as usize].send(message).expect("the test lives");
    }
    cue.say("sent");
}

#[test]
fn a_hundred_mailboxes_in_one_event_loop() {
    const EACH: u64 = 5000;
    const SENDERS: u64 = 2;
    for edge in [false, true] {
        let place = Place::new();
        let options = Mailbox::<u64>::options().domain(place.domain()).bounded(3);
        let boxes: Vec<Receiver<u64>> =
            (0..100).map(|at| options.own(&at.to_string()).expect("a fresh domain")).collect();
        let bells: Vec<Doorbell> = boxes.iter().map(|inbox| inbox.doorbell().expect("descriptors")).collect();
        let set = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a descriptor");
        let flags = if edge { epoll::EventFlags::IN | epoll::EventFlags::ET } else { epoll::EventFlags::IN };
        for (at, bell) in (0..).zip(&bells) {
            epoll::add(&set, bell.as_fd(), epoll::EventData::new_u64(at), flags).expect("a fresh set");
        }
        let children: Vec<Child> = (0..SENDERS)
            .map(|seed| Child::start("scatter", &[&place.arg(), &EACH.to_string(), &seed.to_string()]))
            .collect();
        let (mut received, end) = (0, Instant::now() + PATIENCE);
        let mut events = Vec::with_capacity(16);
        while received < SENDERS * EACH {
            assert!(Instant::now() < end, "{received} came in time, edges: {edge}");
            events.clear();
            let _ = epoll::wait(&set, rustix::buffer::spare_capacity(&mut events), None);
            for event in &events {
                let at = event.data.u64() as usize;
                loop {
                    // By its level: as many as one likes. By edges: all.
                    received += boxes[at].try_iter().take(if edge { usize::MAX } else { 1 }).count() as u64;
                    if !bells[at].clear().expect("ours") || !edge {
                        break;
                    }
                }
            }
        }
        for mut child in children {
            child.expect("sent");
        }
        assert!(boxes.iter().all(|inbox| inbox.is_empty()));
        drop((bells, boxes));
        assert_eq!(place.files(), [""; 0], "their names are gone with them");
    }
}

/// Waits by descriptor until it is killed; the argument is the domain.
fn ringer(cue: &mut Cue) {
    let domain = tubepost::Domain::open(cue.arg(0)).expect("the test's domain");
    let out = Sender::<u64>::options().domain(&domain).open("box").expect("it exists");
    let bell = out.doorbell().expect("descriptors are left");
    assert_eq!(bell.clear(), Ok(false), "it is full");
    cue.say(thread_id());
    cue.hear();
}

#[test]
fn what_a_killed_process_was_rung_by_goes_with_its_row_or_the_mailbox() {
    on_every_row(|row| {
        if !row.shares_memory("what_a_killed_process_was_rung_by_goes_with_its_row_or_the_mailbox") {
            return;
        }
        if !row.is_limited("what_a_killed_process_was_rung_by_goes_with_its_row_or_the_mailbox") {
            return;
        }
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let out = open::<u64>(&place, "box");
        (0..row.n()).for_each(|message| out.try_send(message).expect("room"));
        let start = || {
            let mut child = Child::start("ringer", &[&place.arg()]);
            let thread = child.hear().parse().expect("a thread");
            until_asleep(child.pid(), thread);
            assert_eq!(place.files().len(), 2);
            child.kill();
        };
        let only_the_box = || assert_eq!(place.files(), ["box"]);
        start();
        inbox.recv().expect("there"); // rings in vain
        only_the_box();
        out.try_send(7).expect("room");
        start();
        place.domain().gc().expect("ours");
        only_the_box();
        start();
        let heir = open::<u64>(&place, "box");
        only_the_box();
        drop((heir, out));
        start();
        drop(inbox);
        let _ = place.domain().remove("box");
        assert_eq!(place.files(), [""; 0]);
    });
}

#[test]
fn a_descriptor_and_tasks_of_one_handle() {
    let place = Place::new();
    let inbox = Mailbox::<u64>::options().domain(place.domain()).own("box").expect("fresh");
    let out = open::<u64>(&place, "box");
    let bell = inbox.doorbell().expect("descriptors are left");
    promptly(|round| {
        bell.clear().expect("ours");
        let other = inbox.clone();
        let waiter = std::thread::spawn(move || futures_executor::block_on(other.recv_async()));
        out.send(round).expect("room");
        assert!(is_readable(&bell, PATIENCE), "the task leaves it for us to read");
        assert_eq!(waiter.join().expect("no panic"), Ok(round));
    });
    drop(bell);
    promptly(|round| {
        let other = inbox.clone();
        let waiter = std::thread::spawn(move || futures_executor::block_on(other.recv_async()));
        out.send(round).expect("room");
        assert_eq!(waiter.join().expect("no panic"), Ok(round));
    });
}
