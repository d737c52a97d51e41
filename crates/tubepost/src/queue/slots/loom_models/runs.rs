//! Models of runs under loom: several places claimed, or taken, before the first is written, or freed.

use super::*;

/// Sends so many messages in one run, or as many of them as there is room for. Gives how many.
fn send_run<const N: usize>(queue: &Queue<N>, me: Member, messages: u64) -> u64 {
    let Ok(run) = queue.claim_run(0, messages as usize, me) else { return 0 };
    for (place, count) in queue.places(run).zip(0..) {
        queue.words.write(place, message(me, count));
    }
    queue.places(run).for_each(|place| queue.publish(place, me));
    run.length as u64
}

/// Takes up to two of those that nobody took yet, reads and frees them.
fn receive_run<const N: usize>(queue: &Queue<N>, me: Member) -> Vec<u64> {
    let (from, _) = queue.untaken(0, &AtomicU64::new(0));
    let Some(run) = queue.take_run(from, 2, me, |_| true) else { return Vec::new() };
    let read = |place| {
        let payload = queue.words.read(place);
        queue.free(place);
        payload
    };
    queue.places(run).map(read).collect()
}

/// A run and a single message meet: neither loses a place to the other, and a run may be cut short by it.
#[test]
fn a_run_and_a_single_message() {
    let met = check(3, || {
        let queue = queue::<3>();
        let other = spawn(&queue, |queue| send_all(queue, 2, 1, &FromTheStart).0);
        let mut receiver = Receiver::new(&queue);
        let mine = send_run(&queue, 1, 2);
        receiver.try_some(2, &FromTheStart);
        let theirs = other.join().unwrap();
        receiver.drain(&FromTheStart);
        receiver.got_all(&[(1, mine), (2, theirs)]);
        receiver.received
    });
    for order in [&[100, 101, 200][..], &[200, 100, 101], &[100, 200]] {
        assert!(met.contains(order), "{order:?} not in {met:?}");
    }
}

/// The second lap of a run: its payloads are written over those that a receiver has just freed.
#[test]
fn a_run_over_places_that_were_just_freed() {
    let met = check(3, || {
        let queue = queue::<2>();
        assert_eq!(send_run(&queue, 1, 2), 2);
        let sender = spawn(&queue, |queue| send_run(queue, 2, 2));
        let mut receiver = Receiver::new(&queue);
        receiver.try_some(3, &FromTheStart);
        let sent = sender.join().unwrap();
        receiver.drain(&FromTheStart);
        receiver.got_all(&[(1, 2), (2, sent)]);
        sent
    });
    assert_eq!(met, [0, 1, 2].into());
}

/// One died with two claims. A sender that finds the queue full and the receiver find out at once.
#[test]
fn a_dead_run_is_skipped_place_by_place() {
    let met = check(3, || {
        let queue = queue::<2>();
        assert_eq!(queue.claim_run(0, 5, DEAD).unwrap().length, 2);
        let sender = spawn(&queue, |queue| send_all(queue, 1, 1, &FromTheStart));
        let mut receiver = Receiver::new(&queue);
        receiver.try_some(4, &FromTheStart);
        let (sent, theirs) = sender.join().unwrap();
        receiver.drain(&FromTheStart);
        receiver.got_all(&[(1, sent)]);
        assert_eq!((receiver.skipped, theirs + receiver.recovered), (2, 2), "each by one");
        theirs
    });
    assert!(met.contains(&0) && met.contains(&1), "{met:?}");
}

/// Two receivers of runs: each message to one of them, in order.
#[test]
fn two_take_runs() {
    let met = check(3, || {
        let queue = queue::<3>();
        assert_eq!(send_run(&queue, 1, 3), 3);
        let other = spawn(&queue, |queue| receive_run(queue, 2));
        let mine = receive_run(&queue, 3);
        let theirs = other.join().unwrap();
        let rest = receive_run(&queue, 3);
        assert!(mine.is_sorted() && theirs.is_sorted(), "out of order");
        let mut all = [mine.clone(), theirs.clone(), rest].concat();
        all.sort_unstable();
        assert_eq!(all, [100, 101, 102], "lost or received twice");
        (mine.len(), theirs.len())
    });
    // A run is cut short where the other one was faster.
    assert!(met.contains(&(2, 1)) && met.contains(&(1, 2)) && met.contains(&(2, 0)), "{met:?}");
}

/// One died with two takes, of which it had freed the first. What it had not freed is received again, marked.
#[test]
fn a_dead_ones_run_of_takes_goes_back() {
    check(3, || {
        let queue = queue::<2>();
        assert_eq!(send_run(&queue, 1, 2), 2);
        let run = queue.take_run(0, 2, DEAD, |_| true).unwrap();
        assert_eq!(run.length, 2);
        queue.free(run.first);
        let again = |queue: &Queue<2>, me: Member| {
            queue.give_back(0, 2, |member| FromTheStart.is_dead(member), |_, _| true);
            queue.take_any_again(0, 2, me, |_| true).map(|(place, _, before)| {
                assert_eq!(before, 1, "marked once");
                let payload = queue.words.read(place);
                queue.free(place);
                payload
            })
        };
        let other = spawn(&queue, move |queue| again(queue, 2));
        let mine = again(&queue, 3);
        let theirs = other.join().unwrap();
        let got: Vec<u64> = [mine, theirs, again(&queue, 3)].into_iter().flatten().collect();
        assert_eq!(got, [101], "lost or received twice");
    });
}
