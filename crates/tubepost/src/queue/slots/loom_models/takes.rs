//! Models of taking under loom: several receivers, some of whom die.

use super::*;
use crate::queue::takes::{Taking, skipped};

/// Takes the next message, reads it and frees its place.
fn receive<const N: usize>(queue: &Queue<N>, me: Member, skips: &AtomicU64) -> Option<u64> {
    match queue.take(0, me, skips) {
        Taking::Message(place, _) => {
            let payload = queue.words.read(place);
            queue.free(place);
            Some(payload)
        }
        Taking::Empty(_) | Taking::Closed => None,
    }
}

/// Gives back what the dead had, and receives one of those, marked.
fn receive_again<const N: usize>(queue: &Queue<N>, me: Member, death: &impl Death) -> Option<u64> {
    queue.give_back(0, N as u64, |member| death.is_dead(member), |_, _| true);
    queue.take_any_again(0, N as u64, me, |_| true).map(|(place, _, before)| {
        assert_eq!(before, 1, "marked once");
        let payload = queue.words.read(place);
        queue.free(place);
        payload
    })
}

fn words() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(0))
}

type Receive<const N: usize> = fn(&Queue<N>, Member, &AtomicU64) -> Option<u64>;

/// A sender and two receivers. Gives how many the two got while all were at work.
fn two_receivers<const N: usize>(
    preemptions: usize,
    messages: u64,
    by: Receive<N>,
) -> BTreeSet<(usize, usize)> {
    check(preemptions, move || {
        let (queue, skips) = (queue::<N>(), words());
        let sender = spawn(&queue, move |queue| send_all(queue, 1, messages, &FromTheStart).0);
        let try_some = move |queue: &Queue<N>, me: Member, skips: &AtomicU64| -> Vec<u64> {
            (0..messages).filter_map(|_| by(queue, me, skips)).collect()
        };
        let other = spawn(&queue, {
            let skips = Arc::clone(&skips);
            move |queue| try_some(queue, 2, &skips)
        });
        let mine = try_some(&queue, 3, &skips);
        let theirs = other.join().unwrap();
        let sent = sender.join().unwrap();
        let rest: Vec<u64> = std::iter::from_fn(|| by(&queue, 3, &skips)).collect();
        assert!(mine.is_sorted() && theirs.is_sorted(), "out of order");
        let mut all = [mine.clone(), theirs.clone(), rest].concat();
        all.sort_unstable();
        assert_eq!(
            all,
            (0..sent).map(|count| message(1, count)).collect::<Vec<_>>(),
            "lost or received twice"
        );
        assert_eq!(skipped(&skips), 0);
        (mine.len(), theirs.len())
    })
}

#[test]
fn two_receivers_one_place() {
    let met = two_receivers::<1>(3, 1, receive);
    assert_eq!(met, [(0, 0), (0, 1), (1, 0)].into());
}

#[test]
fn two_receivers_two_places() {
    let met = two_receivers::<2>(2, 2, receive);
    assert!(met.contains(&(1, 1)) && met.contains(&(2, 0)) && met.contains(&(0, 2)), "{met:?}");
}

/// A place is used again while two receive.
#[test]
fn two_receivers_one_place_again() {
    let met = two_receivers::<1>(2, 2, receive);
    assert!(met.contains(&(1, 1)), "{met:?}");
}

/// A dead one had taken the message. Two find out at once; gives who gave it back and who got it.
#[test]
fn what_a_dead_one_had_goes_to_one_of_two() {
    let met = check(3, || {
        let (queue, skips) = (queue::<1>(), words());
        send(&queue, 1, 0, &FromTheStart);
        assert!(matches!(queue.take(0, DEAD, &skips), Taking::Message(..)));
        let other = spawn(&queue, |queue| receive_again(queue, 2, &FromTheStart));
        let mine = receive_again(&queue, 3, &FromTheStart);
        let theirs = other.join().unwrap();
        let rest = receive_again(&queue, 3, &FromTheStart);
        let got = [mine, theirs, rest];
        assert_eq!(got.iter().flatten().count(), 1, "lost or received twice");
        got.iter().position(Option::is_some)
    });
    assert!(met.contains(&Some(0)) && met.contains(&Some(1)));
}

/// A sender died between withdrawing its message and freeing the place. Two find out at once, and one of them sends there
/// then: the other one, which may have read the dead one's claim before, must not free that message.
#[test]
fn who_frees_for_the_dead_spares_the_next_message() {
    check(3, || {
        let queue = queue::<1>();
        let dead = queue.claim(0, DEAD).expect("a free place");
        queue.words.write(dead, message(DEAD, 0));
        queue.publish_awaited(dead, DEAD);
        assert_eq!(queue.withdraw(dead, DEAD, true), crate::queue::collected::Withdrawal::Mine);
        let other = spawn(&queue, move |queue| _ = queue.recover(dead, |member| member == DEAD));
        queue.recover(dead, |member| member == DEAD);
        let next = queue.claim(0, 1).expect("the place is free");
        queue.words.write(next, message(1, 0));
        queue.publish(next, 1);
        other.join().unwrap();
        assert!(queue.holds_message(next), "the next message is there");
    });
}

/// A receiver reads, and dies before it frees the place, or after. Another receives it, or not; then the
/// place is written again. Gives how often it was received by the living.
fn death_of_a_receiver(frees: bool) -> BTreeSet<usize> {
    check(3, move || {
        let (queue, skips) = (queue::<1>(), words());
        let death = Arc::new(When(AtomicU32::new(0)));
        send(&queue, 1, 0, &*death);
        let dying = spawn(&queue, {
            let (death, skips) = (Arc::clone(&death), Arc::clone(&skips));
            move |queue| {
                if let Taking::Message(place, _) = queue.take(0, DEAD, &skips) {
                    queue.words.read(place);
                    if frees {
                        queue.free(place);
                    }
                }
                death.0.store(1, Ordering::Release);
            }
        });
        let mut got = Vec::new();
        got.extend(receive(&queue, 2, &skips));
        got.extend(receive_again(&queue, 2, &*death));
        dying.join().unwrap();
        got.extend(receive_again(&queue, 2, &*death));
        got.extend(receive(&queue, 2, &skips));
        assert!(send(&queue, 1, 1, &*death).accepted, "the place is free");
        got.len()
    })
}

#[test]
fn who_dies_before_it_frees_has_not_received() {
    assert_eq!(death_of_a_receiver(false), [1].into());
}

#[test]
fn who_dies_having_freed_has_received() {
    assert_eq!(death_of_a_receiver(true), [0, 1].into());
}

/// Two dead claims before the first message: two receivers walk over them, and one who only looks.
#[test]
fn skips_are_counted_once() {
    check(2, || {
        let (queue, skips) = (queue::<3>(), words());
        for position in 0..2 {
            let place = queue.claim(0, DEAD).unwrap();
            assert_eq!(place.position, position);
            queue.recover(place, |_| true);
        }
        send(&queue, 1, 0, &FromTheStart);
        let others = [
            spawn(&queue, {
                let skips = Arc::clone(&skips);
                move |queue| receive(queue, 2, &skips)
            }),
            spawn(&queue, {
                let skips = Arc::clone(&skips);
                move |queue| {
                    queue.untaken(0, &skips);
                    None
                }
            }),
        ];
        let mine = receive(&queue, 3, &skips);
        let got = others.map(|other| other.join().unwrap());
        assert_eq!([mine, got[0], got[1]].iter().flatten().count(), 1);
        assert_eq!(skipped(&skips), 2, "noted once each");
    });
}

/// Which of what was given back is counted.
type Counted = fn(bool) -> bool;

/// A receiver dies with one of two messages while another receives and a third closes. Gives how many
/// were received and counted.
fn closing_meets_a_death(counted: Counted) -> BTreeSet<(u64, u64)> {
    check(2, move || {
        let (queue, skips) = (queue::<2>(), words());
        let death = Arc::new(When(AtomicU32::new(0)));
        for count in 0..2 {
            send(&queue, 1, count, &*death);
        }
        assert!(matches!(queue.take(0, DEAD, &skips), Taking::Message(..)));
        let dying = spawn(&queue, {
            let death = Arc::clone(&death);
            move |_| death.0.store(1, Ordering::Release)
        });
        let receiver = spawn(&queue, {
            let (death, skips) = (Arc::clone(&death), Arc::clone(&skips));
            move |queue| {
                let again = receive_again(queue, 2, &*death);
                [again, receive(queue, 2, &skips)].iter().flatten().count() as u64
            }
        });
        let tail = queue.close(0);
        queue.give_back(0, 2, |member| death.is_dead(member), |_, _| true);
        let untaken = queue.close_takes(0, 0, &skips);
        let back = queue.given_back(0, untaken).filter(|(_, closed)| counted(*closed)).count() as u64;
        let counted = back + queue.count(untaken, tail, |member| death.is_dead(member));
        let received = receiver.join().unwrap();
        dying.join().unwrap();
        // What was in hand when it was closed may be neither.
        assert!((1..=2).contains(&(received + counted)), "{received} received, {counted} counted");
        (received, counted)
    })
}

#[test]
fn what_is_counted_is_not_received() {
    let met = closing_meets_a_death(|closed| closed);
    assert!(met.contains(&(0, 2)) && met.contains(&(2, 0)) && met.contains(&(1, 1)), "{met:?}");
}

/// Planted: what was given back is counted, closed or not.
#[test]
#[should_panic(expected = "received, 2 counted")]
fn counted_unclosed() {
    closing_meets_a_death(|_| true);
}

/// Planted: the take is stored, not swapped in.
#[test]
#[should_panic(expected = "lost or received twice")]
fn taken_by_plain_store() {
    two_receivers::<1>(2, 1, |queue, me, _| {
        let place = queue.place(0);
        if !queue.holds_message(place) || queue.words.take(0).load(Ordering::Acquire) != 0 {
            return None;
        }
        queue.words.take(0).store(1 << 25 | u64::from(me), Ordering::Release);
        let payload = queue.words.read(place);
        queue.free(place);
        Some(payload)
    });
}

/// Planted: the place is free before it is read.
#[test]
#[should_panic(expected = "Causality violation")]
fn freed_before_it_is_read() {
    two_receivers::<1>(2, 2, |queue, me, skips| match queue.take(0, me, skips) {
        Taking::Message(place, _) => {
            queue.free(place);
            Some(queue.words.read(place))
        }
        _ => None,
    });
}
