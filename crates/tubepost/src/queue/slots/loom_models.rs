//! Models of the bounded queue under loom: every interleaving of a few threads, and every
//! value that the language's memory model lets a load return.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p tubepost --release --lib loom
//! ```
//!
//! The words are on the heap. A payload is a cell that loom watches: two who touch it with
//! nothing that orders them, one of them writing, are reported as a "causality violation".
//!
//! Nobody polls until something happens: everyone tries a few times, and the receiver takes
//! the rest when the others are gone. So each model also says which outcomes it must have
//! met, lest it prove something about nothing.

mod runs;
mod takes;

use super::*;
use crate::sync::atomic::{AtomicU32, fence};
use crate::sync::wait::{Bell, Quiet, SLICE, Wakes};
use loom::cell::UnsafeCell;

use loom::thread::{self, JoinHandle};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A queue of `N` places, and its payloads.
struct Heap<const N: usize> {
    claims: [AtomicU64; N],
    takes: [AtomicU64; N],
    states: [AtomicU64; N],
    payloads: [UnsafeCell<u64>; N],
}

// SAFETY: this is what is tested; loom checks every access to a payload.
unsafe impl<const N: usize> Sync for Heap<N> {}

impl<const N: usize> Words for Heap<N> {
    fn claim(&self, index: usize) -> &AtomicU64 {
        &self.claims[index]
    }
    fn take(&self, index: usize) -> &AtomicU64 {
        &self.takes[index]
    }
    fn state(&self, index: usize) -> &AtomicU64 {
        &self.states[index]
    }
    fn fetch_after(&self, _: usize) {}
}

impl<const N: usize> Heap<N> {
    fn write(&self, place: Place, payload: u64) {
        // SAFETY: loom checks that nobody else touches it meanwhile.
        self.payloads[place.index].with_mut(|cell| unsafe { *cell = payload });
    }

    fn read(&self, place: Place) -> u64 {
        // SAFETY: loom checks that nobody writes it meanwhile.
        self.payloads[place.index].with(|cell| unsafe { *cell })
    }
}

/// How often a send is tried.
const ATTEMPTS: u32 = 2;

type Queue<const N: usize> = Slots<Heap<N>>;

fn queue<const N: usize>() -> Arc<Queue<N>> {
    let heap = Heap {
        claims: std::array::from_fn(|_| AtomicU64::new(0)),
        takes: std::array::from_fn(|_| AtomicU64::new(0)),
        states: std::array::from_fn(|_| AtomicU64::new(0)),
        payloads: std::array::from_fn(|_| UnsafeCell::new(0)),
    };
    Arc::new(Slots::new(heap, N as u64))
}

/// The payload of a member's message; tells whose it is and which.
fn message(me: Member, count: u64) -> u64 {
    u64::from(me) * 100 + count
}

/// Runs a model with at most `preemptions` switches away from a thread that could go on.
/// Gives all the outcomes it met.
fn check<R: Ord + Send + 'static>(
    preemptions: usize,
    model: impl Fn() -> R + Send + Sync + 'static,
) -> BTreeSet<R> {
    let met = Arc::new(Mutex::new(BTreeSet::new()));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check({
        let met = Arc::clone(&met);
        move || {
            let outcome = model();
            met.lock().unwrap().insert(outcome);
        }
    });
    std::mem::take(&mut *met.lock().unwrap())
}

fn spawn<const N: usize, R: 'static>(
    queue: &Arc<Queue<N>>,
    act: impl FnOnce(&Queue<N>) -> R + 'static,
) -> JoinHandle<R> {
    let queue = Arc::clone(queue);
    thread::spawn(move || act(&queue))
}

/// Who is dead.
trait Death {
    fn is_dead(&self, member: Member) -> bool;
}

/// Row 9 never lived.
struct FromTheStart;
const DEAD: Member = 9;

impl Death for FromTheStart {
    fn is_dead(&self, member: Member) -> bool {
        member == DEAD
    }
}

/// Row 9 dies when this is set. The kernel drops the dead's lock after all it did, and who
/// finds the lock free comes after that: hence release and acquire.
struct When(AtomicU32);

impl Death for When {
    fn is_dead(&self, member: Member) -> bool {
        member == DEAD && self.0.load(Ordering::Acquire) == 1
    }
}

/// What became of one message.
#[derive(Default)]
struct Sent {
    accepted: bool,
    /// Dead claims skipped to make room for it.
    recovered: u64,
}

/// Tries a few times to send one message.
fn send<const N: usize>(queue: &Queue<N>, me: Member, count: u64, death: &impl Death) -> Sent {
    let mut sent = Sent::default();
    for _ in 0..ATTEMPTS {
        match queue.claim(0, me) {
            Ok(place) => {
                queue.words.write(place, message(me, count));
                queue.publish(place, me);
                sent.accepted = true;
                break;
            }
            Err(Refused::Full(place)) => {
                let oldest = queue.before(place).expect("the first n positions are free");
                if !queue.is_published(oldest) {
                    let found = queue.recover(oldest, |member| death.is_dead(member));
                    sent.recovered += u64::from(found == Unpublished::Recovered);
                }
            }
            Err(Refused::Closed(_)) => panic!("nobody closes this queue"),
        }
    }
    sent
}

/// Sends so many messages, up to the first that finds no room. Gives how many were accepted,
/// and how many dead claims were skipped.
fn send_all<const N: usize>(queue: &Queue<N>, me: Member, messages: u64, death: &impl Death) -> (u64, u64) {
    let mut recovered = 0;
    for count in 0..messages {
        let sent = send(queue, me, count, death);
        recovered += sent.recovered;
        if !sent.accepted {
            return (count, recovered);
        }
    }
    (messages, recovered)
}

/// The receiver: what it has seen.
struct Receiver<'a, const N: usize> {
    queue: &'a Queue<N>,
    head: u64,
    skipped: u64,
    recovered: u64,
    received: Vec<u64>,
}

impl<'a, const N: usize> Receiver<'a, N> {
    fn new(queue: &'a Queue<N>) -> Self {
        Receiver { queue, head: 0, skipped: 0, recovered: 0, received: Vec::new() }
    }

    /// Takes the message at the head, or skips it if it is dead.
    fn step(&mut self, death: &impl Death) -> bool {
        match self.queue.head(self.head) {
            Head::Message(place, state) => {
                let payload = self.queue.words.read(place);
                assert_eq!(payload / 100, state.member().into(), "a message under another's name");
                self.queue.free(place);
                self.received.push(payload);
            }
            Head::Skipped => self.skipped += 1,
            Head::Empty(place) => {
                let found = self.queue.recover(place, |member| death.is_dead(member));
                self.recovered += u64::from(found == Unpublished::Recovered);
                return false;
            }
        }
        self.head += 1;
        true
    }

    /// Tries so often to take something, while others are at work.
    fn try_some(&mut self, steps: u64, death: &impl Death) {
        for _ in 0..steps {
            self.step(death);
        }
    }

    /// Takes the rest, when the others are gone.
    fn drain(&mut self, death: &impl Death) {
        while self.head < self.queue.tail(0).0 {
            self.step(death);
        }
    }

    /// Everything was received exactly once, each member's messages in its order.
    fn got_all(&self, messages: &[(Member, u64)]) {
        for &(member, count) in messages {
            let its = self.received.iter().filter(|payload| **payload / 100 == member.into());
            let expected: Vec<u64> = (0..count).map(|count| message(member, count)).collect();
            assert_eq!(its.copied().collect::<Vec<_>>(), expected, "lost, doubled or out of order");
        }
        let (tail, closed) = self.queue.tail(0);
        assert!(tail == self.head && !closed);
    }
}

/// Two senders and the receiver; gives what was received, in all orders met.
fn two_senders<const N: usize>(preemptions: usize, wanted: [u64; 2]) -> BTreeSet<Vec<u64>> {
    check(preemptions, move || {
        let queue = queue::<N>();
        let senders = [(1, wanted[0]), (2, wanted[1])]
            .map(|(me, messages)| spawn(&queue, move |queue| send_all(queue, me, messages, &FromTheStart)));
        let mut receiver = Receiver::new(&queue);
        receiver.try_some(wanted[0] + wanted[1], &FromTheStart);
        let [(first, _), (second, _)] = senders.map(|sender| sender.join().unwrap());
        receiver.drain(&FromTheStart);
        receiver.got_all(&[(1, first), (2, second)]);
        assert_eq!(receiver.skipped, 0);
        receiver.received
    })
}

#[test]
fn two_senders_one_place() {
    let met = two_senders::<1>(2, [1, 1]);
    let expected: [&[u64]; 4] = [&[100], &[100, 200], &[200], &[200, 100]];
    assert_eq!(met, expected.map(<[u64]>::to_vec).into());
}

#[test]
fn two_senders_two_places() {
    let met = two_senders::<2>(2, [2, 1]);
    for order in [[100, 101, 200], [100, 200, 101], [200, 100, 101]] {
        assert!(met.contains(&order[..]), "{order:?} not in {met:?}");
    }
}

/// One place, a message after the other: the second payload is written over the first.
#[test]
fn a_place_is_used_again() {
    let met = two_senders::<1>(4, [2, 0]);
    assert_eq!(met, [vec![100], vec![100, 101]].into());
}

/// The first position was claimed by somebody dead. Senders and receiver find out at once.
/// Gives who skipped it, the receiver or a sender, and how many messages came after it.
fn dead_claim<const N: usize>(
    preemptions: usize,
    senders: &'static [(Member, u64)],
) -> BTreeSet<(&'static str, usize)> {
    check(preemptions, move || {
        let queue = queue::<N>();
        queue.claim(0, DEAD).unwrap();
        let threads: Vec<_> = senders
            .iter()
            .map(|&(me, messages)| spawn(&queue, move |queue| send_all(queue, me, messages, &FromTheStart)))
            .collect();
        let mut receiver = Receiver::new(&queue);
        receiver.try_some(2, &FromTheStart);
        let sent: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        receiver.drain(&FromTheStart);
        let by_senders: u64 = sent.iter().map(|(_, recovered)| recovered).sum();
        let accepted: Vec<_> =
            senders.iter().zip(&sent).map(|(&(me, _), &(accepted, _))| (me, accepted)).collect();
        receiver.got_all(&accepted);
        assert_eq!(receiver.skipped, 1);
        assert_eq!(by_senders + receiver.recovered, 1, "one dead claim is skipped by one");
        (if by_senders == 1 { "sender" } else { "receiver" }, receiver.received.len())
    })
}

#[test]
fn a_dead_claim_on_the_only_place() {
    let met = dead_claim::<1>(3, &[(1, 1)]);
    assert_eq!(met, [("receiver", 1), ("sender", 1)].into());
}

#[test]
fn a_dead_claim_that_two_senders_and_the_receiver_meet() {
    let met = dead_claim::<1>(2, &[(1, 1), (2, 1)]);
    assert!(met.contains(&("receiver", 1)) && met.contains(&("sender", 2)), "{met:?}");
}

#[test]
fn a_dead_claim_among_two_places() {
    let met = dead_claim::<2>(3, &[(1, 2)]);
    assert!(met.contains(&("receiver", 2)) && met.contains(&("sender", 2)), "{met:?}");
}

/// A claimant dies, having published or not, while a sender and the receiver want its place.
/// Gives how often it was skipped, and how many messages came after it.
fn death_of_a_claimant(publishes: bool) -> BTreeSet<(u64, u64)> {
    check(2, move || {
        let queue = queue::<1>();
        let death = Arc::new(When(AtomicU32::new(0)));
        let place = queue.claim(0, DEAD).unwrap();
        let dying = spawn(&queue, {
            let death = Arc::clone(&death);
            move |queue| {
                queue.words.write(place, message(DEAD, 0));
                if publishes {
                    queue.publish(place, DEAD);
                }
                death.0.store(1, Ordering::Release);
            }
        });
        let sender = spawn(&queue, {
            let death = Arc::clone(&death);
            move |queue| send_all(queue, 1, 1, &*death)
        });
        let mut receiver = Receiver::new(&queue);
        receiver.try_some(2, &*death);
        dying.join().unwrap();
        let (accepted, by_sender) = sender.join().unwrap();
        receiver.drain(&*death);
        receiver.got_all(&[(DEAD, publishes.into()), (1, accepted)]);
        (by_sender + receiver.recovered, accepted)
    })
}

#[test]
fn who_dies_writing_is_skipped() {
    assert_eq!(death_of_a_claimant(false), [(1, 0), (1, 1)].into());
}

#[test]
fn who_dies_having_published_is_not_skipped() {
    assert_eq!(death_of_a_claimant(true), [(0, 0), (0, 1)].into());
}

/// Sends if there is room and the queue is not closed.
fn try_send<const N: usize>(queue: &Queue<N>, me: Member) -> Result<Place, Refused> {
    let place = queue.claim(0, me)?;
    queue.words.write(place, message(me, 0));
    queue.publish(place, me);
    Ok(place)
}

/// Closes the queue and says where, and how many messages were never collected.
type Finish<const N: usize> = fn(&Queue<N>, u64) -> (u64, u64);

fn finish<const N: usize>(queue: &Queue<N>, head: u64) -> (u64, u64) {
    let tail = queue.close(head);
    (tail, queue.count(head, tail, |member| FromTheStart.is_dead(member)))
}

/// Senders send while `closers` close. A message has passed already, so that turns begin at
/// different places; `dead` says whether the next position is a dead claim.
/// Gives the numbers of messages never collected.
fn closing<const N: usize>(
    preemptions: usize,
    senders: Member,
    closers: usize,
    dead: bool,
    by: Finish<N>,
) -> BTreeSet<u64> {
    check(preemptions, move || {
        let queue = queue::<N>();
        let mut receiver = Receiver::new(&queue);
        try_send(&queue, 8).unwrap();
        receiver.step(&FromTheStart);
        let head = receiver.head;
        if dead {
            queue.claim(0, DEAD).unwrap();
        }
        let senders: Vec<_> =
            (1..=senders).map(|me| spawn(&queue, move |queue| try_send(queue, me))).collect();
        let others: Vec<_> = (1..closers).map(|_| spawn(&queue, move |queue| by(queue, head))).collect();
        let (tail, count) = by(&queue, head);
        for other in others {
            assert_eq!(other.join().unwrap(), (tail, count), "two are told different numbers");
        }
        let mut accepted = 0;
        for sender in senders {
            match sender.join().unwrap() {
                Ok(place) => {
                    assert!(place.position < tail, "accepted after the end");
                    accepted += 1;
                }
                Err(Refused::Closed(place)) => assert_eq!(place.position, tail),
                Err(Refused::Full(_)) => {}
            }
        }
        assert_eq!(count, accepted, "an accepted message is counted, and nothing else");
        assert_eq!(queue.tail(0), (tail, true));
        assert_eq!(finish(&queue, head), (tail, count));
        receiver.drain(&FromTheStart);
        assert_eq!(receiver.received.len() as u64 - 1, accepted, "a published message is there");
        count
    })
}

#[test]
fn closing_meets_two_senders() {
    assert_eq!(closing::<2>(2, 2, 1, false, finish), [0, 1, 2].into());
}

#[test]
fn closing_meets_two_senders_for_one_place() {
    assert_eq!(closing::<1>(2, 2, 1, false, finish), [0, 1].into());
}

#[test]
fn two_close_while_one_sends() {
    assert_eq!(closing::<2>(2, 1, 2, false, finish), [0, 1].into());
}

#[test]
fn two_close_over_a_dead_claim() {
    assert_eq!(closing::<2>(2, 1, 2, true, finish), [0, 1].into());
}

/// Two places to wait at, as in a mailbox: nothing here polls, so a wake-up that is lost
/// between the queue and the bells is a deadlock.
#[test]
fn a_mailbox_of_one_place_neither_stalls_nor_loses() {
    /// The fence word: SET. See `sync::wait`.
    const PUBLISHERS_FENCE: u32 = 2;
    struct Bells {
        fence: AtomicU32,
        messages: AtomicU32,
        room: AtomicU32,
    }
    check(2, || {
        let queue = queue::<1>();
        let bells = Arc::new(Bells {
            fence: AtomicU32::new(PUBLISHERS_FENCE),
            messages: AtomicU32::new(0),
            room: AtomicU32::new(0),
        });
        let sender = spawn(&queue, {
            let bells = Arc::clone(&bells);
            move |queue| {
                let quiet = Quiet::default();
                for count in 0..2 {
                    let attempt = || queue.claim(0, 1).ok();
                    let room = Bell::new(&bells.room, &bells.fence, Wakes::All);
                    let place = room.wait(None, attempt, || Ok(SLICE)).unwrap();
                    queue.words.write(place, message(1, count));
                    queue.publish(place, 1);
                    Bell::new(&bells.messages, &bells.fence, Wakes::All).ring(&quiet);
                }
            }
        });
        let quiet = Quiet::default();
        let mut receiver = Receiver::new(&queue);
        for _ in 0..2 {
            let attempt = || receiver.step(&FromTheStart).then_some(());
            let messages = Bell::new(&bells.messages, &bells.fence, Wakes::All);
            messages.wait(None, attempt, || Ok(SLICE)).unwrap();
            Bell::new(&bells.room, &bells.fence, Wakes::All).ring(&quiet);
        }
        sender.join().unwrap();
        receiver.got_all(&[(1, 2)]);
    });
}

/// One message from a sender with a planted error to an honest receiver.
fn one_message_by(send: fn(&Queue<1>, Place)) {
    check(2, move || {
        let queue = queue::<1>();
        let sender = spawn(&queue, move |queue| send(queue, queue.claim(0, 1).unwrap()));
        Receiver::new(&queue).step(&FromTheStart);
        sender.join().unwrap();
    });
}

/// Planted: FULL before the payload.
#[test]
#[should_panic(expected = "Causality violation")]
fn published_too_early() {
    one_message_by(|queue, place| {
        queue.publish(place, 1);
        queue.words.write(place, message(1, 0));
    });
}

/// Planted: FULL without release.
#[test]
#[should_panic(expected = "Causality violation")]
fn published_relaxed() {
    one_message_by(|queue, place| {
        queue.words.write(place, message(1, 0));
        queue.words.state(place.index).store(State::full(place.turn, 1).0, Ordering::Relaxed);
    });
}

/// Planted: the receiver gives the place back without release.
#[test]
#[should_panic(expected = "Causality violation")]
fn freed_relaxed() {
    check(2, || {
        let queue = queue::<1>();
        let place = try_send(&queue, 1).unwrap();
        let sender = spawn(&queue, |queue| try_send(queue, 1));
        assert!(matches!(queue.head(0), Head::Message(..)));
        queue.words.read(place);
        let next = State::free(place.turn + 1);
        queue.words.state(place.index).store(next.0, Ordering::Relaxed);
        let _ = sender.join().unwrap();
    });
}

/// Planted: the dead are skipped by a plain store, so a message that was published in time
/// is lost.
#[test]
#[should_panic(expected = "published in time, and lost")]
fn recovered_by_plain_store() {
    check(2, || {
        let queue = queue::<1>();
        let place = queue.claim(0, DEAD).unwrap();
        let death = Arc::new(When(AtomicU32::new(0)));
        let dying = spawn(&queue, {
            let death = Arc::clone(&death);
            move |queue| {
                queue.words.write(place, message(DEAD, 0));
                queue.publish(place, DEAD);
                death.0.store(1, Ordering::Release);
            }
        });
        if !queue.is_published(place) && death.is_dead(DEAD) {
            let next = State::free(place.turn + 1);
            queue.words.state(place.index).store(next.0, Ordering::Release);
        }
        dying.join().unwrap();
        assert!(matches!(queue.head(0), Head::Message(..)), "published in time, and lost");
    });
}

/// Planted: the messages are counted before the queue is closed.
#[test]
#[should_panic(expected = "an accepted message is counted")]
fn counted_before_closed() {
    closing::<2>(2, 1, 1, false, |queue, head| {
        let (tail, _) = queue.tail(head);
        let count = queue.count(head, tail, |member| FromTheStart.is_dead(member));
        (queue.close(head), count)
    });
}
