//! Questions that are held for too long: who lost one says nothing to its caller, and only who is told that it answered has answered.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tubepost::{Call, Delivery, Domain, Error, Receiver, Sender};

use crate::rows::{Owned, Row, on_every_row_with_calls};
use crate::stage::{PATIENCE, Place};

type Bytes = Call<[u8], [u8]>;

const SHORT: Duration = Duration::from_millis(30);

fn promising(row: &Row, place: &Place, longest: Duration) -> Receiver<Bytes> {
    let options = row.options::<Bytes>(place.domain());
    match row.owned {
        Owned::ByProcess => options.hold_max(longest).own("ask").expect("a free name"),
        Owned::BySystem => {
            options.create("ask").expect("a free name");
            Receiver::options().domain(place.domain()).hold_max(longest).open("ask").expect("it exists")
        }
    }
}

fn open(domain: &Domain) -> Sender<Bytes> {
    Sender::<Bytes>::options().domain(domain).open("ask").expect("it exists")
}

/// The answer of the late one came, it was told that it was late, and who had the question by then that nobody waited.
#[test]
fn the_answer_is_from_who_has_the_question() {
    type End = fn(Delivery<Bytes>) -> Result<(), Error>;
    let late_ends: [End; 4] = [
        |late| late.reply(b"late"),
        |late| late.reply(&[1; 5000]),
        |late| late.accept(),
        |late| late.reject(),
    ];
    on_every_row_with_calls(|row| {
        let place = Place::new();
        let questions = promising(row, &place, SHORT);
        let ask = open(place.domain());
        for length in [20, 5000] {
            for end in late_ends {
                let question = vec![7; length];
                std::thread::scope(|scope| {
                    let asked = scope.spawn(|| ask.call_timeout(&question, PATIENCE));
                    let late = questions.take().expect("it was asked");
                    let again = questions.take_timeout(PATIENCE).expect("it comes again");
                    assert_eq!((again.seq(), again.redelivered()), (late.seq(), 1));
                    match end(late) {
                        Err(Error::HoldExpired { longest, .. }) => assert_eq!(longest, SHORT),
                        other => panic!("too late: {other:?}"),
                    }
                    assert!(again.is_awaited(), "its caller waits still");
                    again.reply(b"in time").expect("it is in hand");
                    assert_eq!(asked.join().expect("it returns").as_deref(), Ok(&b"in time"[..]));
                });
            }
        }
        let stat = questions.stat().expect("it lives");
        assert_eq!((stat.depth, stat.held), (0, 0));
    });
}

/// Late every now and then, and overtaken in every instruction there is.
#[test]
fn who_answered_is_told_so_and_nobody_else() {
    const QUESTIONS: u32 = 300;
    on_every_row_with_calls(|row| {
        if row.n() > 1 && row.n() < 1024 {
            return; // the capacity has no part in this
        }
        let place = Place::new();
        let longest = Duration::from_millis(1);
        let questions = promising(row, &place, longest);
        let options = || Receiver::<Bytes>::options().domain(place.domain()).hold_max(longest);
        let inboxes: Vec<_> = match row.owned {
            Owned::ByProcess => vec![questions; 3],
            Owned::BySystem => (0..3).map(|_| options().open("ask").expect("it exists")).collect(),
        };
        let ask = open(place.domain());
        let (over, turn) = (AtomicBool::new(false), AtomicU32::new(0));
        let said: Mutex<HashSet<Vec<u8>>> = Mutex::default();
        let answers: Vec<Vec<u8>> = std::thread::scope(|scope| {
            for (who, inbox) in inboxes.iter().enumerate() {
                let (over, turn, said) = (&over, &turn, &said);
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        let Ok(question) = inbox.take_timeout(longest) else { continue };
                        if turn.fetch_add(1, Ordering::Relaxed).is_multiple_of(16) {
                            // No wait for anything: to hold it for about too long is what this one does.
                            std::thread::sleep(longest * 2);
                        }
                        let answer = [&question[..], &[who as u8, question.redelivered() as u8]].concat();
                        match question.reply(&answer) {
                            Ok(()) => assert!(said.lock().expect("no panic").insert(answer)),
                            Err(Error::HoldExpired { .. }) => {}
                            Err(other) => panic!("{other}"),
                        }
                    }
                });
            }
            let ask_all = || {
                let ask_one =
                    |number: u32| ask.call_timeout(&number.to_le_bytes(), PATIENCE).expect("an answer");
                (0..QUESTIONS).map(ask_one).collect()
            };
            let asked = scope.spawn(ask_all).join();
            over.store(true, Ordering::Relaxed);
            asked.expect("it returns")
        });
        let said = said.into_inner().expect("no panic");
        for (number, answer) in (0..QUESTIONS).zip(&answers) {
            assert_eq!(answer[..4], number.to_le_bytes());
            assert!(
                said.contains(answer),
                "question {number} was answered by one who was told that it was late"
            );
        }
        assert_eq!(said.len(), answers.len(), "somebody was told that it had answered, and had not");
    });
}
