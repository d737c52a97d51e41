//! A mailbox against a plain queue: any sequence of calls that do not wait has the outcomes of a `VecDeque`
//! with a capacity, for fixed and for variable messages (P9).

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;
use tubepost::{
    Closed, Domain, Mailbox, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError, TrySendError,
};

#[path = "stage/mod.rs"]
mod stage;

use stage::Place;

#[derive(Clone, Debug)]
enum Call<T> {
    TrySend(T),
    /// By the other of two senders.
    TrySendOther(T),
    SendNow(T),
    TryRecv,
    RecvNow,
    RecvInto,
    Envelope,
    TryIter(usize),
    TrySendMany(Vec<T>),
    TryRecvMany(usize),
    Look,
    /// A sender leaves and a new one comes.
    Reopen,
}

fn calls<T: Clone + std::fmt::Debug + 'static>(
    message: BoxedStrategy<T>,
) -> impl Strategy<Value = Vec<Call<T>>> {
    let call = prop_oneof![
        6 => message.clone().prop_map(Call::TrySend),
        3 => message.clone().prop_map(Call::TrySendOther),
        1 => message.clone().prop_map(Call::SendNow),
        2 => proptest::collection::vec(message, 0..12).prop_map(Call::TrySendMany),
        2 => (0..12_usize).prop_map(Call::TryRecvMany),
        5 => Just(Call::TryRecv),
        1 => Just(Call::RecvNow),
        1 => Just(Call::RecvInto),
        1 => Just(Call::Envelope),
        1 => (0..12_usize).prop_map(Call::TryIter),
        3 => Just(Call::Look),
        1 => Just(Call::Reopen),
    ];
    proptest::collection::vec(call, 0..120)
}

/// The mailbox and what it must be like.
struct Pair<M: tubepost::Message + ?Sized, T> {
    domain: Domain,
    inbox: tubepost::Receiver<M>,
    outs: [Sender<M>; 2],
    plain: VecDeque<T>,
    capacity: usize,
    sent: u64,
}

macro_rules! pair {
    ($message:ty, $kept:ty, $lend:expr) => {
        impl Pair<$message, $kept> {
            fn run(place: &Place, capacity: usize, calls: Vec<Call<$kept>>) -> Result<(), TestCaseError> {
                let domain = place.domain().clone();
                let inbox =
                    Mailbox::<$message>::options().domain(&domain).bounded(capacity as u64).own("box");
                let inbox = inbox.expect("a free name");
                let out = || Sender::<$message>::options().domain(&domain).open("box").expect("it exists");
                let outs = [out(), out()];
                let mut pair =
                    Pair { domain: domain.clone(), inbox, outs, plain: VecDeque::new(), capacity, sent: 0 };
                for call in calls {
                    pair.step(call)?;
                }
                let left = pair.plain.len() as u64;
                prop_assert_eq!(pair.inbox.close(), Ok(Closed { uncollected: left }));
                prop_assert_eq!(pair.outs[0].closed(), Ok(Closed { uncollected: left }));
                Ok(())
            }

            fn step(&mut self, call: Call<$kept>) -> Result<(), TestCaseError> {
                let lend: fn(&$kept) -> <$message as tubepost::Message>::Sent<'_> = $lend;
                let full = self.plain.len() == self.capacity;
                match call {
                    Call::TrySend(message) => self.try_send(0, message)?,
                    Call::TrySendOther(message) => self.try_send(1, message)?,
                    Call::SendNow(message) => {
                        let sent = self.outs[0].send_timeout(lend(&message), Duration::ZERO);
                        let expected =
                            if full { Err(SendTimeoutError::Timeout(lend(&message))) } else { Ok(()) };
                        prop_assert_eq!(sent, expected);
                        self.keep(full, message);
                    }
                    Call::TryRecv => {
                        let expected = self.plain.pop_front().ok_or(TryRecvError::Empty);
                        prop_assert_eq!(self.inbox.try_recv(), expected);
                    }
                    Call::RecvNow => {
                        let expected = self.plain.pop_front().ok_or(RecvTimeoutError::Timeout);
                        prop_assert_eq!(self.inbox.recv_timeout(Duration::ZERO), expected);
                    }
                    Call::RecvInto => {
                        let mut into = <$kept>::default();
                        let got = self.inbox.try_recv_into(&mut into);
                        match self.plain.pop_front() {
                            Some(expected) => {
                                prop_assert_eq!(got.is_ok(), true);
                                prop_assert_eq!(into, expected);
                            }
                            None => prop_assert_eq!(got, Err(TryRecvError::Empty)),
                        }
                    }
                    Call::Envelope => match (self.inbox.try_recv_envelope(), self.plain.pop_front()) {
                        (Ok(envelope), Some(expected)) => {
                            prop_assert_eq!(envelope.message, expected);
                            prop_assert_eq!(envelope.sender.pid, std::process::id());
                        }
                        (Err(error), None) => prop_assert!(error.is_empty()),
                        (got, expected) => prop_assert!(false, "{:?} for {:?}", got.is_ok(), expected),
                    },
                    Call::TryIter(most) => {
                        let taken: Vec<$kept> = self.inbox.try_iter().take(most).collect();
                        let count = most.min(self.plain.len());
                        prop_assert_eq!(taken, self.plain.drain(..count).collect::<Vec<$kept>>());
                    }
                    Call::TrySendMany(messages) => {
                        let lent: Vec<_> = messages.iter().map(lend).collect();
                        let room = self.capacity - self.plain.len();
                        let expected = room.min(messages.len());
                        prop_assert_eq!(self.outs[0].try_send_many(&lent), Ok(expected));
                        messages.into_iter().take(expected).for_each(|message| self.keep(false, message));
                    }
                    Call::TryRecvMany(most) => {
                        let mut got: Vec<$kept> = Vec::new();
                        let count = most.min(self.plain.len());
                        let none = count == 0 && most > 0;
                        let expected = if none { Err(TryRecvError::Empty) } else { Ok(count) };
                        prop_assert_eq!(self.inbox.try_recv_many(&mut got, most), expected);
                        prop_assert_eq!(got, self.plain.drain(..count).collect::<Vec<$kept>>());
                    }
                    Call::Look => {
                        let stat = self.inbox.stat().expect("it lives");
                        let len = self.plain.len();
                        prop_assert_eq!((stat.depth, stat.sent), (len as u64, self.sent));
                        prop_assert_eq!(stat.received, self.sent - len as u64);
                    }
                    Call::Reopen => {
                        let fresh = Sender::<$message>::options().domain(&self.domain).open("box");
                        self.outs.swap(0, 1);
                        self.outs[0] = fresh.expect("it exists");
                    }
                }
                let len = self.plain.len();
                prop_assert_eq!((self.inbox.len(), self.outs[0].len()), (len, len));
                prop_assert_eq!((self.inbox.is_empty(), self.outs[1].is_empty()), (len == 0, len == 0));
                let full = len == self.capacity;
                prop_assert_eq!((self.inbox.is_full(), self.outs[1].is_full()), (full, full));
                Ok(())
            }

            fn try_send(&mut self, who: usize, message: $kept) -> Result<(), TestCaseError> {
                let lend: fn(&$kept) -> <$message as tubepost::Message>::Sent<'_> = $lend;
                let full = self.plain.len() == self.capacity;
                let expected = if full { Err(TrySendError::Full(lend(&message))) } else { Ok(()) };
                prop_assert_eq!(self.outs[who].try_send(lend(&message)), expected);
                self.keep(full, message);
                Ok(())
            }

            fn keep(&mut self, full: bool, message: $kept) {
                if !full {
                    self.plain.push_back(message);
                    self.sent += 1;
                }
            }
        }
    };
}

pair!(u64, u64, |kept| *kept);
pair!([u8], Vec<u8>, |kept| kept.as_slice());
pair!(str, String, |kept| kept.as_str());

thread_local! {
    /// One domain for all cases of a test: each case creates the name again, which is part of the test.
    static PLACE: Place = Place::new();
}

fn bytes() -> BoxedStrategy<Vec<u8>> {
    let length = prop_oneof![0..70_usize, Just(4095), Just(4096)];
    length.prop_flat_map(|length| proptest::collection::vec(any::<u8>(), length)).boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn fixed(capacity in 1..=9_usize, calls in calls(any::<u64>().boxed())) {
        PLACE.with(|place| Pair::<u64, u64>::run(place, capacity, calls))?;
    }

    #[test]
    fn variable(capacity in 1..=9_usize, calls in calls(bytes())) {
        PLACE.with(|place| Pair::<[u8], Vec<u8>>::run(place, capacity, calls))?;
    }

    #[test]
    fn text(capacity in 1..=9_usize, calls in calls(".{0,40}".boxed())) {
        PLACE.with(|place| Pair::<str, String>::run(place, capacity, calls))?;
    }
}
