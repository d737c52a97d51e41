//! Links whose other end is gone, or of any type: what it had sent, how soon its death is told.

use std::time::{Duration, Instant};

use tubepost::{Error, Link, Process, RecvTimeoutError, SendTimeoutError, Strategy};

use crate::stage::{Child, PATIENCE, Place, until_asleep};

fn join(place: &Place, name: &str) -> Process {
    Process::options().domain(place.domain()).join(name).expect("a free name in a fresh domain")
}

/// A process that does what it is told, as in `links`.
fn start(place: &Place, name: &str) -> Child {
    let mut child = Child::start("peer", &[&place.arg(), name]);
    child.expect("joined");
    child
}

/// Whether its way is set up first or second.
#[test]
fn what_a_dead_one_had_sent_is_received_by_who_comes_to_the_link_afterwards() {
    for name in ["adam", "zoe"] {
        let place = Place::new();
        let me = join(&place, "me");
        let mut peer = start(&place, name);
        assert_eq!(peer.ask("link me"), "linked");
        assert_eq!(peer.ask("send 0 3"), "sent");
        peer.kill();
        let link = me.link::<u64>(name).expect("it left something");
        for number in 0..3 {
            assert_eq!(link.recv_timeout(PATIENCE), Ok(number));
        }
        assert!(matches!(link.recv_timeout(PATIENCE), Err(RecvTimeoutError::Closed(_))));
        let sent = link.send_timeout(7, PATIENCE);
        assert!(
            matches!(sent, Err(SendTimeoutError::Closed(7, closed)) if closed.uncollected == 0),
            "{sent:?}"
        );
        assert!(!link.peer_has_left());
    }
}

/// How often each of them is killed, …
const KILLS: usize = 100;
/// … and what a machine that does much else can't need.
const NEVER: Duration = Duration::from_secs(1);

/// How long it took from the kill until all threads were told, for each kill.
fn told_after(what: &str, waits: &[fn(&Link<u64>)]) {
    let place = Place::new();
    let me = join(&place, "me");
    let mut took: Vec<Duration> = Vec::new();
    for _ in 0..KILLS {
        let mut peer = start(&place, "peer");
        let link: Link<u64> = Link::options().bounded(1).open(&me, "peer").expect("it lives");
        assert_eq!(peer.ask("link me"), "linked");
        link.send(0).expect("there is room");
        let (say, hear) = std::sync::mpsc::channel();
        let threads: Vec<_> = waits
            .iter()
            .map(|wait| {
                let (wait, link, say) = (*wait, link.clone(), say.clone());
                std::thread::spawn(move || {
                    say.send(crate::stage::thread_id()).expect("the test listens");
                    wait(&link);
                    Instant::now()
                })
            })
            .collect();
        threads
            .iter()
            .for_each(|_| until_asleep(std::process::id(), hear.recv().expect("it says who it is")));
        let begin = Instant::now();
        peer.strike();
        let told = threads.into_iter().map(|it| it.join().expect("it is told that the link is over")).max();
        took.push(told.expect("somebody waits") - begin);
        peer.kill();
    }
    took.sort();
    let [half, most] = [50, 99].map(|percent| took[(took.len() * percent / 100).min(took.len() - 1)]);
    println!("{what}: told after {half:?} (p50), {most:?} (p99), of {KILLS} kills");
    assert!(*took.last().expect("some") < NEVER, "{what}: {took:?}");
}

/// `cargo test --release --test conformance told -- --nocapture` prints the figures.
#[test]
fn a_death_is_told_soon_to_who_waits_in_a_link() {
    let sends: fn(&Link<u64>) = |link| assert!(link.send(1).is_err_and(|error| error.is_closed()));
    let receives: fn(&Link<u64>) = |link| assert!(link.recv().is_err_and(|error| error.is_closed()));
    told_after("who sends", &[sends]);
    told_after("who receives", &[receives]);
    told_after("both", &[sends, receives]);
}

#[cfg(feature = "serde")]
#[test]
fn any_type_that_serde_knows_goes_through_a_link() {
    use tubepost::Encoded;
    type Job = (String, Option<u32>, Vec<u8>);

    let place = Place::new();
    let (alice, bob) = (join(&place, "alice"), join(&place, "bob"));
    let options = Link::<Encoded<Job>, Encoded<Result<u64, String>>>::options().format("jobs/v1");
    let there = options.open(&alice, "bob").expect("bob is there");
    let wrong = Link::<Encoded<Result<u64, String>>, Encoded<Job>>::options().format("jobs/v2");
    let wrong = wrong.open(&bob, "alice").map(drop);
    assert!(matches!(wrong, Err(tubepost::Error::WrongFormat { .. })), "{wrong:?}");
    let back = Link::<Encoded<Result<u64, String>>, Encoded<Job>>::options().format("jobs/v1");
    let back = back.open(&bob, "alice").expect("the same");
    for length in [0, 100, 100_000] {
        let job: Job = ("ä".repeat(length), Some(7), vec![9; length]);
        there.send(&job).expect("there is room");
        assert_eq!(back.recv_timeout(PATIENCE), Ok(job));
        back.send(&Err("too long".into())).expect("there is room");
        assert_eq!(there.recv_timeout(PATIENCE), Ok(Err("too long".into())));
    }
}

/// What an inbox did not take, or was not made for, the next one does.
#[test]
fn an_inbox_after_another_one_receives_what_is_left() {
    let place = Place::new();
    let [alice, bob] = ["alice", "bob"].map(|name| join(&place, name));
    let out = alice.link::<u64>("bob").expect("bob is there");
    (0..3).for_each(|number| out.send(number).expect("there is room"));

    let first = bob.inbox::<u64>().expect("a fixed length");
    assert_eq!(first.recv_timeout(PATIENCE).expect("a message").message, 0);
    drop(first);
    let unfit = bob.inbox::<u32>().expect("a fixed length");
    assert!(matches!(unfit.recv_timeout(PATIENCE), Err(RecvTimeoutError::Failed(Error::WrongFormat { .. }))));
    drop(unfit);

    let second = bob.inbox::<u64>().expect("a fixed length");
    let third = bob.inbox::<u64>().expect("a fixed length");
    assert_eq!(second.recv_timeout(PATIENCE).expect("a message").message, 1);
    drop(second);
    assert_eq!(third.recv_timeout(PATIENCE).expect("a message").message, 2);
    out.send(3).expect("there is room");
    assert_eq!(third.recv_timeout(PATIENCE).expect("a message").message, 3);
}

/// Who is gone and left nothing is not there: a link with it is refused, or waits for the next one of that name. What it did leave
/// is an inbox's, if there is one.
#[test]
fn who_is_gone_and_left_nothing_is_not_there() {
    let absent = |linked: Result<Link<u64>, Error>| {
        assert!(matches!(linked, Err(Error::NoSuchName { .. } | Error::OwnerGone { .. })), "{linked:?}");
    };
    for strategy in [Strategy::Shared, Strategy::Kernel] {
        for (with_inbox, keeps) in [(false, false), (false, true), (true, false), (true, true)] {
            let place = Place::new();
            let alice = join(&place, "alice");
            let inbox = with_inbox.then(|| alice.inbox::<u64>().expect("a fixed length"));
            let options = Link::<u64>::options().strategy(strategy).bounded(7);
            let mut kept = Vec::new();
            for life in 0..3 {
                let mut bob = start(&place, "bob");
                let link = options.connect(&alice, "bob", PATIENCE).expect("bob joined");
                link.send(life).expect("it lives");
                if life == 1 {
                    assert_eq!(bob.ask("link alice"), "linked");
                    assert_eq!(bob.ask("send 0 1"), "sent");
                }
                bob.kill();
                if life == 1 && !with_inbox {
                    let left = alice.link::<u64>("bob").expect("it left something");
                    assert_eq!(left.recv_timeout(PATIENCE), Ok(0));
                }
                if keeps {
                    kept.push(link);
                } else {
                    drop(link);
                }
                absent(alice.link("bob"));
                absent(options.connect(&alice, "bob", Duration::from_millis(20)));
            }
            if let Some(inbox) = inbox {
                let left = inbox.recv_timeout(PATIENCE).expect("it comes here");
                assert_eq!((left.message, &*left.sender.name), (0, "bob"));
            }
        }
    }
}
