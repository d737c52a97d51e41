//! One order: a sender's messages arrive as sent, every one exactly once, whole, whoever else sends (P9).

use std::collections::HashMap;
use std::time::Duration;

use tubepost::{Domain, SendCollectedError, Sender};

use crate::letters::Stamp;
use crate::rows::{Row, on_every_row, open};
use crate::stage::{Child, Cue, PATIENCE, Place, Role};

pub const ROLES: &[Role] = &[("flood", flood), ("mixture", mixture)];

/// Sends `count` stamps from each of `threads` threads; the arguments are domain, name, threads, count.
fn flood(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let out = Sender::<Stamp>::options().domain(&domain).open(cue.arg(1)).expect("it exists");
    let count = cue.number(3);
    cue.say("ready");
    assert_eq!(cue.hear(), "go");
    std::thread::scope(|scope| {
        for thread in 0..cue.number(2) as u32 {
            let out = out.clone();
            scope.spawn(move || {
                for at in 0..count {
                    out.send(Stamp::new(std::process::id(), thread, at)).expect("the owner lives");
                }
            });
        }
    });
    cue.say("sent");
}

/// Keeps what each sender's next message must be.
#[derive(Default)]
pub struct Ledger {
    next: HashMap<(u32, u32), u64>,
    last_seq: Option<u64>,
}

impl Ledger {
    #[track_caller]
    pub fn enter(&mut self, stamp: &Stamp) {
        assert!(stamp.is_whole(), "torn: {stamp:?}");
        let next = self.next.entry((stamp.process, stamp.thread)).or_default();
        assert_eq!(stamp.count, *next, "the next of sender {} thread {}", stamp.process, stamp.thread);
        *next += 1;
    }

    /// As `enter`, and looks at what the envelope says.
    #[track_caller]
    pub fn enter_envelope(&mut self, envelope: &tubepost::Envelope<Stamp>) {
        assert!(
            self.last_seq.is_none_or(|last| envelope.seq > last),
            "seq {} after {:?}",
            envelope.seq,
            self.last_seq
        );
        self.last_seq = Some(envelope.seq);
        assert_eq!(envelope.sender.pid, envelope.message.process, "the sender is who it is");
        assert_eq!(envelope.redelivered, 0, "an owner never gets a message again");
        self.enter(&envelope.message);
    }

    /// How many came from this process.
    pub fn from(&self, pid: u32) -> u64 {
        self.next.iter().filter(|((process, _), _)| *process == pid).map(|(_, next)| next).sum()
    }
}

#[test]
fn one_sender_in_order() {
    const COUNT: u64 = 20_000;
    on_every_row(|row| {
        let place = Place::new();
        let inbox = row.own::<Stamp>(&place, "order");
        let mut sender = start_flood(&place, 1, COUNT);
        sender.say("go");
        let mut ledger = Ledger::default();
        for _ in 0..COUNT {
            ledger.enter_envelope(&inbox.recv_envelope_timeout(PATIENCE).expect("a message soon"));
        }
        sender.expect("sent");
        assert!(inbox.try_recv().is_err_and(|error| error.is_empty()), "nothing is there twice");
    });
}

#[test]
fn one_order_among_many_processes_and_threads() {
    const PROCESSES: usize = 3;
    const THREADS: u64 = 2;
    const COUNT: u64 = 2_500;
    on_every_row(|row| {
        let place = Place::new();
        let inbox = row.own::<Stamp>(&place, "order");
        let mut senders: Vec<Child> = (0..PROCESSES).map(|_| start_flood(&place, THREADS, COUNT)).collect();
        senders.iter_mut().for_each(|sender| sender.say("go"));
        let mut ledger = Ledger::default();
        for _ in 0..PROCESSES as u64 * THREADS * COUNT {
            ledger.enter_envelope(&inbox.recv_envelope_timeout(PATIENCE).expect("a message soon"));
        }
        for sender in &mut senders {
            sender.expect("sent");
            assert_eq!(ledger.from(sender.pid()), THREADS * COUNT);
        }
        assert!(inbox.try_recv().is_err_and(|error| error.is_empty()), "nothing is there twice");
    });
}

/// Clones of a receiver are one owner: each message goes to one of them, in order for each.
#[test]
fn many_threads_of_the_owner_share_the_messages() {
    const COUNT: u64 = 3_000;
    on_every_row(|row| {
        // The end marks come last only where all senders' messages are in one order.
        if !row.shares_places("many_threads_of_the_owner_share_the_messages") {
            return;
        }
        let place = Place::new();
        let inbox = row.own::<Stamp>(&place, "order");
        let mut senders: Vec<Child> = (0..2).map(|_| start_flood(&place, 1, COUNT)).collect();
        senders.iter_mut().for_each(|sender| sender.say("go"));
        let mut all: Vec<(u64, Stamp)> = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..3)
                .map(|_| {
                    let inbox = inbox.clone();
                    scope.spawn(move || taker(&inbox))
                })
                .collect();
            senders.iter_mut().for_each(|sender| sender.expect("sent"));
            // One end mark for each taker.
            let out = open::<Stamp>(&place, "order");
            for _ in 0..3 {
                out.send_timeout(Stamp::new(0, 0, 0), PATIENCE).expect("room soon");
            }
            takers.into_iter().flat_map(|taker| taker.join().expect("a taker")).collect()
        });
        all.sort_by_key(|(seq, _)| *seq);
        let mut ledger = Ledger::default();
        all.iter().for_each(|(_, stamp)| ledger.enter(stamp));
        assert_eq!(all.len() as u64, 2 * COUNT);
    });
}

/// Takes until the end mark; its own messages come in rising order.
fn taker(inbox: &tubepost::Receiver<Stamp>) -> Vec<(u64, Stamp)> {
    let mut taken: Vec<(u64, Stamp)> = Vec::new();
    loop {
        let envelope = inbox.recv_envelope_timeout(PATIENCE).expect("a message soon");
        if envelope.message.process == 0 {
            return taken;
        }
        assert!(taken.last().is_none_or(|(last, _)| envelope.seq > *last), "back in the order");
        taken.push((envelope.seq, envelope.message));
    }
}

fn start_flood(place: &Place, threads: u64, count: u64) -> Child {
    let mut child = Child::start("flood", &[&place.arg(), "order", &threads.to_string(), &count.to_string()]);
    child.expect("ready");
    child
}

/// `iter` and a sender that is in no hurry: the same order by another word.
#[test]
fn iter_in_order() {
    on_every_row(|row: &Row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "order");
        let out = open::<u64>(&place, "order");
        let sender =
            std::thread::spawn(move || (0..500).for_each(|at| out.send(at).expect("the owner lives")));
        let taken: Vec<u64> = inbox.iter().take(500).collect();
        assert_eq!(taken, (0..500).collect::<Vec<u64>>());
        sender.join().expect("all were sent");
    });
}

/// The last number of a sender's.
const LAST: u64 = u64::MAX;

/// Sends in every way, also such as may be withdrawn; the arguments are domain, name, count.
fn mixture(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let out = Sender::<Stamp>::options().domain(&domain).open(cue.arg(1)).expect("it exists");
    for at in 0..cue.number(2) {
        let stamp = Stamp::new(std::process::id(), 0, at);
        // What does not go now, or is withdrawn, nobody gets.
        match at * 7 % 5 {
            0 => drop(out.try_send(stamp)),
            1 => drop(out.send_timeout(stamp, Duration::from_micros(100))),
            2 => match out.send_collected_timeout(stamp, Duration::from_micros(at % 300)) {
                Ok(()) | Err(SendCollectedError::Timeout(_)) => {}
                Err(why) => panic!("{why}"),
            },
            _ => out.send(stamp).expect("the owner lives"),
        }
    }
    out.send(Stamp::new(std::process::id(), 0, LAST)).expect("the owner lives");
    cue.say("sent");
}

#[test]
fn a_senders_order_is_that_of_all_its_sends_however_it_sends() {
    on_every_row(|row| {
        let place = Place::new();
        let inbox = row.own::<Stamp>(&place, "box");
        let count = if row.capacity() == Some(0) { "200" } else { "1500" };
        let mut senders = [(); 4].map(|()| Child::start("mixture", &[&place.arg(), "box", count]));
        let mut last: HashMap<u32, u64> = HashMap::new();
        while last.values().filter(|count| **count == LAST).count() < senders.len() {
            let stamp = inbox.recv_timeout(PATIENCE).expect("more comes");
            assert!(stamp.is_whole(), "torn: {stamp:?}");
            let before = last.insert(stamp.process, stamp.count);
            assert!(before.is_none_or(|before| before < stamp.count), "{} after {before:?}", stamp.count);
        }
        senders.iter_mut().for_each(|sender| sender.expect("sent"));
    });
}
