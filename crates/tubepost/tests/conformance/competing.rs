//! Many receivers of one mailbox: each message to exactly one of them, in one order, whoever dies.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use tubepost::{Error, Receiver, RecvTimeoutError, Strategy, TryRecvError};

use crate::cast::start_owner;
use crate::letters::Stamp;
use crate::notes::{Note, Notes, Way, pour, start_worker};
use crate::rows::{
    ROWS, Row, on_every_row_of_the_system, on_every_row_of_the_system_with_room, open, receive,
};
use crate::stage::{Child, Dice, PATIENCE, Place, eventually, until_asleep};

/// Whoever got it: `count` messages of this process, each once.
#[track_caller]
fn each_once(notes: &[Note], count: u64) {
    let mut seen = HashSet::new();
    for note in notes {
        assert!(seen.insert(note.count), "{note:?} twice");
        assert_eq!(note.redelivered, 0, "{note:?} though nobody died");
    }
    assert_eq!(seen.len() as u64, count);
}

#[test]
fn each_message_goes_to_exactly_one_and_none_starves() {
    const COUNT: u64 = 6_000;
    on_every_row_of_the_system(|row| {
        let place = Place::new();
        row.options::<Stamp>(place.domain()).create("box").expect("a free name");
        let notes = Notes::new(&place);
        let workers: Vec<Child> = (0..3).map(|_| start_worker(&place, &notes, Way::Recv)).collect();
        let out = open::<Stamp>(&place, "box");
        // As long as it takes until everybody had something: three on two processors don't share every
        // few milliseconds evenly, but who starves has nothing when patience ends.
        let end = Instant::now() + PATIENCE;
        let everybody = || {
            let all = notes.all();
            workers.iter().all(|worker| all.iter().any(|note| note.worker == worker.pid()))
        };
        let enough = |count: u64| count.is_multiple_of(COUNT) && (everybody() || Instant::now() > end);
        let count = pour(&out, |count| count == 0 || !enough(count));
        notes.until(count);
        let all = notes.all();
        each_once(&all, count);
        for worker in &workers {
            let own: Vec<&Note> = all.iter().filter(|note| note.worker == worker.pid()).collect();
            assert!(!own.is_empty(), "{} got nothing of {count}", worker.pid());
            // One order of first delivery: nobody ever goes back in it.
            assert!(own.is_sorted_by(|a, b| a.seq < b.seq && a.count < b.count));
        }
        let stat = place.domain().stat("box").expect("it stays");
        assert_eq!((stat.sent, stat.received, stat.depth, stat.held), (count, count, 0, 0));
    });
}

/// Receivers that sleep get their messages as soon as they are sent: one each, nobody waits for the second
/// look that everybody takes once a second.
#[test]
fn as_many_sleepers_as_messages_wake() {
    on_every_row_of_the_system(|row| {
        let place = Place::new();
        row.options::<Stamp>(place.domain()).create("box").expect("a free name");
        let notes = Notes::new(&place);
        let workers: Vec<Child> = (0..3).map(|_| start_worker(&place, &notes, Way::Recv)).collect();
        let out = open::<Stamp>(&place, "box");
        let mut late = 0;
        const ROUNDS: u64 = 20;
        for round in 0..ROUNDS {
            for worker in &workers {
                until_asleep(worker.pid(), worker_thread(worker.pid()));
            }
            let start = Instant::now();
            pour(&out, |count| count < 3);
            notes.until(3 * (round + 1));
            late += u32::from(start.elapsed() > Duration::from_millis(500));
        }
        assert!(late * 4 < ROUNDS as u32, "{late} of {ROUNDS} rounds waited for the second look");
    });
}

/// libtest runs the role in a thread of its own, which is the one that sleeps in `recv`.
fn worker_thread(pid: u32) -> u32 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it lives");
    let ids = tasks.map(|task| task.expect("a task").file_name().to_string_lossy().parse().expect("an id"));
    let named = |id: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/task/{id}/comm"))
            .is_ok_and(|name| name.starts_with("role"))
    };
    let mut ids = ids.filter(named);
    ids.next().expect("the thread that plays the role")
}

const KILLS: usize = 12;

/// Sends without a pause while two workers receive, one of whom is killed now and then and replaced. Gives
/// how many were sent, and the workers that are left.
fn stream_with_kills(row: &Row, place: &Place, notes: &Notes, way: Way) -> (u64, Vec<Child>) {
    let mut dice = Dice::new(row.n());
    let mut workers: Vec<Child> = (0..2).map(|_| start_worker(place, notes, way)).collect();
    let out = open::<Stamp>(place, "box");
    let enough = std::sync::atomic::AtomicBool::new(false);
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    let count = std::thread::scope(|scope| {
        let sender = scope.spawn(|| pour(&out, |_| !enough.load(relaxed)));
        for kill in 0..KILLS {
            let before = notes.len();
            notes.until(before + 1 + dice.below(200));
            let at = kill % workers.len();
            workers[at].kill();
            workers[at] = start_worker(place, notes, way);
        }
        enough.store(true, relaxed);
        sender.join().expect("all were sent")
    });
    (count, workers)
}

/// Workers that note and then accept, killed at any moment: nothing is lost, what comes again is marked.
#[test]
fn workers_killed_with_a_message_in_hand() {
    on_every_row_of_the_system(|row| {
        let place = Place::new();
        row.options::<Stamp>(place.domain()).create("box").expect("a free name");
        let notes = Notes::new(&place);
        let (count, _workers) = stream_with_kills(row, &place, &notes, Way::Take);
        let drained = || {
            let stat = place.domain().stat("box").expect("it stays");
            stat.depth == 0 && stat.held == 0
        };
        eventually("everything was accepted", drained);
        let mut times: HashMap<u64, Vec<Note>> = HashMap::new();
        for note in notes.all() {
            times.entry(note.count).or_default().push(note);
        }
        assert_eq!(times.len() as u64, count, "every message was seen");
        let mut again = 0;
        for (message, seen) in times {
            // Noted by one who died before it accepted, and then by another.
            again += seen.len() - 1;
            assert!(seen.is_sorted_by(|a, b| a.redelivered < b.redelivered), "{message}: {seen:?}");
            assert!(seen.iter().all(|note| note.seq == seen[0].seq));
        }
        assert!(again <= KILLS, "{again} messages came again after {KILLS} kills");
        let stat = place.domain().stat("box").expect("it stays");
        // Where messages have no positions, one who dies between consuming and counting has not counted (docs/limits.md).
        let uncounted = if row.n() == 0 { KILLS as u64 } else { 0 };
        assert_eq!(stat.sent, stat.received);
        assert!((count - uncounted..=count).contains(&stat.sent), "{} of {count}", stat.sent);
    });
}

/// What a dead worker had does not wait until the others have nothing to do: they always have.
#[test]
fn a_dead_one_s_message_comes_to_busy_receivers() {
    on_every_row_of_the_system(|row| {
        if row.n() < 7 {
            return;
        }
        let place = Place::new();
        row.options::<Stamp>(place.domain()).create("box").expect("a free name");
        let busy = receive::<Stamp>(&place, "box");
        let out = open::<Stamp>(&place, "box");
        let stamp = |count| Stamp::new(std::process::id(), 0, count);
        let mut worker = Child::start("holder", &[&place.arg(), "box"]);
        out.try_send(stamp(0)).expect("a free place");
        worker.expect("in hand");
        worker.kill();
        // One who comes now gets it first.
        out.try_send(stamp(1)).expect("a free place");
        let first = receive::<Stamp>(&place, "box").take_timeout(PATIENCE).expect("a message");
        assert_eq!((first.count, first.redelivered()), (0, 1));
        first.accept().expect("it is in hand");
        // One who was there, and always finds another message, gets it soon.
        let mut worker = Child::start("holder", &[&place.arg(), "box"]);
        worker.expect("in hand");
        worker.kill();
        let start = Instant::now();
        for count in 2.. {
            out.try_send(stamp(count)).expect("a free place");
            let envelope = busy.recv_envelope_timeout(PATIENCE).expect("a message");
            if envelope.message.count == 1 {
                assert_eq!(envelope.redelivered, 1);
                break;
            }
            // Work, not a wait: who looked after the dead only once in so many messages passed without it.
            std::thread::sleep(Duration::from_millis(5));
            assert!(start.elapsed() < Duration::from_secs(5), "not after {count} messages");
        }
    });
}

/// Receivers killed in `recv`: at most the one message that each had in its hands is gone.
#[test]
fn receivers_killed_at_random_moments() {
    on_every_row_of_the_system(|row| {
        let place = Place::new();
        row.options::<Stamp>(place.domain()).create("box").expect("a free name");
        let notes = Notes::new(&place);
        let (count, _workers) = stream_with_kills(row, &place, &notes, Way::Recv);
        let emptied = || {
            let stat = place.domain().stat("box").expect("it stays");
            stat.depth == 0 && stat.held == 0 && stat.received == stat.sent
        };
        eventually("everything was received", emptied);
        // A worker that returned from `recv` may not have written its note yet.
        eventually("the last notes are written", || count - notes.len() <= KILLS as u64);
        let all = notes.all();
        let seen: HashSet<u64> = all.iter().map(|note| note.count).collect();
        assert_eq!(seen.len(), all.len(), "nothing twice");
    });
}

#[test]
fn only_its_owner_receives_from_a_mailbox_of_a_process() {
    let place = Place::new();
    let mut owner = start_owner(&place, "box", &ROWS[1]);
    let error = Receiver::<u64>::options().domain(place.domain()).open("box").expect_err("it is owned");
    match &error {
        Error::Owned { name, owner: called, pid, .. } => {
            assert_eq!((&**name, &**called, *pid), ("box", "owner", owner.pid()));
        }
        other => panic!("{other}"),
    }
    assert!(error.to_string().contains(&owner.pid().to_string()), "{error}");
    owner.kill();
    match Receiver::<u64>::options().domain(place.domain()).open("box") {
        Err(Error::OwnerGone { .. } | Error::NoSuchName { .. }) => {}
        other => panic!("{:?}", other.map(|_| ())),
    }
}

/// Senders and receivers may all be gone: what was sent is there when the next one comes.
#[test]
fn a_mailbox_of_the_system_outlives_everybody() {
    // Not where nothing waits: nothing waits for a receiver to come.
    on_every_row_of_the_system_with_room(|row| {
        let place = Place::new();
        let id = row.options::<u64>(place.domain()).create("box").expect("a free name");
        open::<u64>(&place, "box").try_send(1).expect("a free place");
        assert_eq!(place.domain().gc().expect("our own domain").removed, Vec::<String>::new());
        let inbox = receive::<u64>(&place, "box");
        assert_eq!((inbox.id(), inbox.recv_timeout(PATIENCE)), (id, Ok(1)));
        assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
        match row.options::<u64>(place.domain()).create("box") {
            Err(Error::Exists { name }) => assert_eq!(name, "box"),
            other => panic!("{other:?}"),
        }
        match row.options::<u64>(place.domain()).own("box") {
            Err(Error::Exists { .. }) => {}
            // In files nothing is ever a process's.
            Err(Error::BadOption { .. }) if row.strategy == Strategy::File => {}
            other => panic!("{:?}", other.map(|_| ())),
        }
    });
}

/// Closing one receiver leaves the mailbox and the other receivers alone.
#[test]
fn one_receiver_ends() {
    // Not where nothing waits: it sends first and receives later.
    on_every_row_of_the_system_with_room(|row| {
        let place = Place::new();
        let one = row.own::<u64>(&place, "box");
        let other = receive::<u64>(&place, "box");
        let out = open::<u64>(&place, "box");
        out.try_send(1).expect("a free place");
        let waiter = one.clone();
        assert_eq!(one.recv(), Ok(1));
        let (tell, told) = std::sync::mpsc::channel();
        let waiting = std::thread::spawn(move || {
            tell.send(crate::stage::thread_id()).expect("the test listens");
            waiter.recv()
        });
        until_asleep(std::process::id(), told.recv().expect("a thread"));
        one.close().expect("a handle of this process");
        assert!(waiting.join().expect("no panic").is_err_and(|error| error.is_closed()));
        assert!(one.try_recv().is_err_and(|error| error.is_closed()));
        out.try_send(2).expect("it is open");
        assert_eq!(other.recv_timeout(PATIENCE), Ok(2));
        assert_eq!(other.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
    });
}
