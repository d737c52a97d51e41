//! Messages of any type that serde knows: between processes, of all lengths, agreed on; and what does not encode or decode.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tubepost::{
    Call, Domain, Encoded, Error, Mailbox, Receiver, RecvError, SendError, Sender, TryRecvError, TrySendError,
};

use crate::rows::{on_every_row_with_calls, on_every_row_with_room, open};
use crate::stage::{Child, Cue, PATIENCE, Place, Role};

pub const ROLES: &[Role] = &[("clerk", clerk)];

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
enum Job {
    Resize { path: String, width: Option<u32> },
    Copy(Vec<u8>),
    Stop,
}

fn job(at: usize) -> Job {
    match at % 4 {
        0 => Job::Resize { path: format!("{at}.png"), width: None },
        1 => Job::Resize { path: "ö".repeat(at), width: Some(at as u32) },
        2 => Job::Copy(vec![at as u8; at * 37]),
        _ => Job::Stop,
    }
}

/// Sends so many jobs by one call each, then so many in a batch; the arguments are domain, name and how many.
fn clerk(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let out = Sender::<Encoded<Job>>::options().domain(&domain).format("jobs/v2").open(cue.arg(1));
    let out = out.expect("it exists");
    let jobs: Vec<Job> = (0..cue.number(2) as usize).map(job).collect();
    jobs.iter().for_each(|job| out.send(job).expect("it is received"));
    out.send_many(&jobs.iter().collect::<Vec<_>>()).expect("it is received");
    cue.say("sent");
}

/// In line and in chunks, one by one and in batches, received in each way.
#[test]
fn from_another_process() {
    on_every_row_with_room(|row| {
        const COUNT: usize = 150;
        let place = Place::new();
        let options = row.options::<Encoded<Job>>(place.domain()).format("jobs/v2").max_message(100_000);
        let inbox = match row.owned {
            crate::rows::Owned::ByProcess => options.own("jobs").expect("a free name"),
            crate::rows::Owned::BySystem => {
                options.create("jobs").expect("a free name");
                let options = Receiver::<Encoded<Job>>::options().domain(place.domain());
                options.format("jobs/v2").open("jobs").expect("it exists")
            }
        };
        let mut clerk = Child::start("clerk", &[&place.arg(), "jobs", &COUNT.to_string()]);
        for at in 0..COUNT {
            if at % 2 == 0 {
                assert_eq!(inbox.recv_timeout(PATIENCE), Ok(job(at)));
            } else {
                let delivery = inbox.take_timeout(PATIENCE).expect("they come");
                assert_eq!(*delivery, job(at));
                delivery.accept().expect("it is in hand");
            }
        }
        let mut all = Vec::new();
        while all.len() < COUNT {
            inbox.recv_many_timeout(&mut all, 40, PATIENCE).expect("they come");
        }
        assert_eq!(all, (0..COUNT).map(job).collect::<Vec<_>>());
        clerk.expect("sent");
    });
}

#[test]
fn both_sides_mean_the_same() {
    let place = Place::new();
    let domain = place.domain();
    let _inbox = Mailbox::<Encoded<Job>>::options().domain(domain).own("jobs").expect("a free name");
    assert!(Sender::<Encoded<Job>>::options().domain(domain).open("jobs").is_ok());
    let refused = |error: Error| match error {
        Error::WrongFormat { theirs, ours, .. } => (theirs, ours),
        other => panic!("{other}"),
    };
    let other = Sender::<Encoded<(u8, u8)>>::options().domain(domain).open("jobs").map(|_| ());
    let (theirs, ours) = refused(other.unwrap_err());
    assert!(theirs.contains("postcard: Job { Resize, Copy, Stop }"), "{theirs}");
    assert!(ours.contains("postcard: tuple of 2"), "{ours}");
    refused(
        Sender::<Encoded<Job>>::options().domain(domain).format("v2").open("jobs").map(|_| ()).unwrap_err(),
    );
    refused(Sender::<[u8]>::options().domain(domain).open("jobs").map(|_| ()).unwrap_err());
    let long = Sender::<Encoded<Job>>::options().domain(domain).format("x".repeat(255)).open("jobs");
    assert!(matches!(long.map(|_| ()), Err(Error::BadOption { .. })));
}

/// A number that must not be odd on its way out, and panics on its way in if it is 6.
#[derive(Clone, Debug, PartialEq)]
struct Fussy(u32);

impl Serialize for Fussy {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.0 % 2 == 1 { Err(serde::ser::Error::custom("odd")) } else { to.serialize_u32(self.0) }
    }
}

impl<'de> Deserialize<'de> for Fussy {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Fussy, D::Error> {
        match u32::deserialize(from)? {
            4 => Err(serde::de::Error::custom("four")),
            6 => panic!("six"),
            number => Ok(Fussy(number)),
        }
    }
}

#[test]
fn what_can_not_be_encoded_comes_back_and_nothing_was_sent() {
    on_every_row_with_room(|row| {
        let place = Place::new();
        let inbox = row.own::<Encoded<Fussy>>(&place, "box");
        let out = open::<Encoded<Fussy>>(&place, "box");
        let odd = Fussy(3);
        match out.send(&odd) {
            Err(SendError::Failed(back, Error::NotEncodable { .. })) => assert_eq!(back, &odd),
            other => panic!("{other:?}"),
        }
        assert!(matches!(out.try_send(&odd), Err(TrySendError::Failed(_, Error::NotEncodable { .. }))));
        assert!(out.send_collected(&odd).is_err());
        assert!(inbox.is_empty() && !inbox.is_full());
        let failed = out.try_send_many(&[&Fussy(2), &odd, &Fussy(8)]).unwrap_err();
        assert_eq!(failed.sent, 1);
        assert!(matches!(failed.error, Error::NotEncodable { .. }));
        assert_eq!(inbox.try_recv(), Ok(Fussy(2)));
        assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
    });
}

/// The question came again and again, and again was not answered.
#[test]
fn an_answer_that_can_not_be_encoded_is_none() {
    on_every_row_with_calls(|row| {
        let place = Place::new();
        let questions = row.own::<Call<u64, Encoded<Fussy>>>(&place, "box");
        let ask = open::<Call<u64, Encoded<Fussy>>>(&place, "box");
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| ask.call(7));
            let question = questions.take().expect("it was asked");
            assert!(matches!(question.reply(&Fussy(3)), Err(Error::NotEncodable { .. })));
            assert!(asked.join().expect("it returns").expect_err("there is no answer").is_unanswered());
            assert!(matches!(questions.try_take(), Err(TryRecvError::Empty)));
        });
    });
}

/// It is consumed, and said to be no message, also if the type panics over it; what is behind it comes.
#[test]
fn what_does_not_decode_is_told_once() {
    on_every_row_with_room(|row| {
        let place = Place::new();
        let inbox = row.own::<Encoded<Fussy>>(&place, "box");
        let out = open::<Encoded<Fussy>>(&place, "box");
        for bad in [4, 6] {
            out.send(&Fussy(bad)).expect("a place");
            match inbox.recv() {
                Err(RecvError::Failed(error @ Error::NotDecodable { length: 1, .. })) => {
                    assert!(error.to_string().contains("postcard"), "{error}");
                }
                other => panic!("{other:?}"),
            }
            assert!(inbox.is_empty());
            out.send(&Fussy(bad)).expect("a place");
            assert!(inbox.take().is_err());
            assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
        }
        for at in 0..2 * row.n() as u32 {
            out.try_send(&Fussy(8 * at)).expect("the place is free");
            assert_eq!(inbox.try_recv(), Ok(Fussy(8 * at)));
        }
        if row.n() >= 7 {
            out.send_many(&[&Fussy(2), &Fussy(4), &Fussy(8)]).expect("places");
            let mut got = Vec::new();
            while !matches!(inbox.try_recv_many(&mut got, 10), Err(TryRecvError::Empty)) {}
            assert_eq!(got, [Fussy(2), Fussy(8)]);
        }
    });
}

/// One that sends another while it is encoded, to a mailbox of its own.
#[test]
fn a_message_may_send_another_one_while_it_is_encoded() {
    thread_local! {
        static INNER: std::cell::RefCell<Option<Sender<Encoded<u32>>>> = const { std::cell::RefCell::new(None) };
    }
    struct Outer;
    impl Serialize for Outer {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            INNER.with_borrow(|inner| inner.as_ref().expect("set").send(&7).expect("a place"));
            to.serialize_u32(9)
        }
    }
    impl<'de> Deserialize<'de> for Outer {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Outer, D::Error> {
            u32::deserialize(from).map(|_| Outer)
        }
    }
    let place = Place::new();
    let inner = crate::rows::ROWS[2].own::<Encoded<u32>>(&place, "inner");
    let outer = crate::rows::ROWS[2].own::<Encoded<Outer>>(&place, "outer");
    INNER.set(Some(open::<Encoded<u32>>(&place, "inner")));
    open::<Encoded<Outer>>(&place, "outer").send(&Outer).expect("a place");
    assert_eq!(inner.try_recv(), Ok(7));
    assert!(outer.try_recv().is_ok());
    INNER.set(None);
}
