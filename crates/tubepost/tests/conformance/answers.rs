//! Calls: each answer finds its caller, and who waits for one that can't come is told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tubepost::{Call, CallError, Domain, Error, Fate, Options, Receiver, RecvError, Sender, TryRecvError};

use crate::cast::{A_MOMENT, outcome, set_waiting};
use crate::letters::pattern;
use crate::rows::{
    Row, on_every_row_of_a_process, on_every_row_of_the_system, on_every_row_with_calls,
    on_every_row_with_room,
};
use crate::stage::{Child, Cue, PATIENCE, Place, Role, eventually, now_ns, thread_id};

pub const ROLES: &[Role] = &[("caller", caller), ("answerer", answerer)];

type Bytes = Call<[u8], [u8]>;
type Consume = fn(&Receiver<Call<str, str>>);

pub fn open(domain: &Domain) -> Sender<Bytes> {
    Sender::<Bytes>::options().domain(domain).open("ask").expect("it exists")
}

/// Calls when told to: `call LENGTH NUMBER TIMES`, each question another; `wait` for one that may never be answered.
fn caller(cue: &mut Cue) {
    let ask = open(&Domain::open(cue.arg(0)).expect("the test's domain"));
    loop {
        let line = cue.hear();
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["call", length, from, times] => {
                let numbers = [length, from, times].map(|word| word.parse::<u64>().expect("a number"));
                cue.say(ask_all(&ask, numbers[0] as usize, numbers[1], numbers[2]));
            }
            ["wait"] => {
                cue.say(thread_id());
                let done = match ask.call(b"anybody?") {
                    Ok(answer) => format!("answer {}", String::from_utf8_lossy(&answer)),
                    Err(CallError::Closed(_, closed, fate)) => {
                        format!("closed {} {fate:?}", closed.uncollected)
                    }
                    Err(error) => error.to_string(),
                };
                cue.say(format!("{done} at {}", now_ns()));
            }
            _ => panic!("the caller does not know {line:?}"),
        }
    }
}

fn ask_all(ask: &Sender<Bytes>, length: usize, from: u64, times: u64) -> String {
    for number in from..from + times {
        let question = pattern(length, number);
        match ask.call_timeout(&question, PATIENCE) {
            Ok(answer) if answer == reversed(&question) => {}
            Ok(answer) => return format!("{} bytes are no answer to question {number}", answer.len()),
            Err(error) => return format!("question {number}: {error}"),
        }
    }
    "all answered".to_owned()
}

pub fn reversed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

/// Receives and answers for ever; the arguments are domain and row. With a third, answers nothing and says what it took.
fn answerer(cue: &mut Cue) {
    let place = Domain::open(cue.arg(0)).expect("the test's domain");
    let row = Row::of(cue, 1);
    let receiver = match row.owned {
        crate::rows::Owned::ByProcess => row.options::<Bytes>(&place).own("ask").expect("a free name"),
        crate::rows::Owned::BySystem => {
            Receiver::<Bytes>::options().domain(&place).open("ask").expect("it exists")
        }
    };
    cue.say("ready");
    if let Some([]) = cue.rest(2) {
        while let Ok(question) = receiver.take() {
            let answer = reversed(&question);
            question.reply(&answer).expect("the caller waits");
        }
    }
    let question = receiver.take().expect("one comes");
    cue.say(format!("took {} redelivered {}", String::from_utf8_lossy(&question), question.redelivered()));
    if cue.hear() == "answer" {
        question.reply(b"yes").expect("the caller waits");
        cue.say("answered");
    }
    cue.hear();
}

pub fn receiver<Q: tubepost::Message + ?Sized, A: tubepost::Message + ?Sized>(
    row: &Row,
    place: &Place,
) -> Receiver<Call<Q, A>> {
    row.receiver(row.options::<Call<Q, A>>(place.domain()), place, "ask")
}

pub fn start_answerer(place: &Place, row: &Row, more: &[&str]) -> Child {
    if row.owned == crate::rows::Owned::BySystem && place.domain().stat("ask").is_err() {
        row.options::<Bytes>(place.domain()).create("ask").expect("a free name");
    }
    let mut child = Child::start("answerer", &[&[&place.arg()[..], &row.arg()], more].concat());
    child.expect("ready");
    child
}

fn start_caller(place: &Place) -> Child {
    Child::start("caller", &[&place.arg()])
}

#[test]
fn each_answer_finds_its_caller() {
    on_every_row_with_calls(|row| {
        let place = Place::new();
        let _servers: Vec<Child> = (0..if row.owned == crate::rows::Owned::BySystem { 2 } else { 1 })
            .map(|_| start_answerer(&place, row, &[]))
            .collect();
        // In the cell, in a slot, in a chunk.
        for (at, length) in [0, 1, 32, 33, 200, 300, 5000, 100_000].into_iter().enumerate() {
            let mut callers: Vec<Child> = (0..3).map(|_| start_caller(&place)).collect();
            for (number, caller) in callers.iter_mut().enumerate() {
                caller.say(format!("call {length} {} 20", 1000 * at + 100 * number));
            }
            callers.iter_mut().for_each(|caller| caller.expect("all answered"));
        }
    });
}

#[test]
fn typed_both_ways() {
    on_every_row_with_calls(|row| {
        let place = Place::new();
        let questions = receiver::<u32, [u64; 3]>(row, &place);
        let options = || Sender::<Call<u32, [u64; 3]>>::options().domain(place.domain());
        let ask = options().open("ask").expect("the same types");
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| ask.call(7));
            let question = questions.take().expect("it was asked");
            assert!(question.is_awaited());
            assert_eq!((*question, question.redelivered()), (7, 0));
            question.reply([1, 2, 3]).expect("the caller waits");
            assert_eq!(asked.join().expect("it returns"), Ok([1, 2, 3]));
        });
        let stat = questions.stat().expect("ours");
        assert_eq!((stat.depth, stat.held, stat.max_message), (0, 0, 4));
        assert_eq!(stat.format, "u32 (4 bytes, align 4)");
        assert_eq!(stat.answer.as_deref(), Some("[u64; 3] (24 bytes, align 8)"));
        // Other answers, no answers.
        let other =
            Sender::<Call<u32, u64>>::options().domain(place.domain()).open("ask").expect_err("another type");
        assert!(other.to_string().contains("answered by u64"), "{other}");
        let none = Sender::<u32>::options().domain(place.domain()).open("ask").expect_err("no answers");
        assert!(none.to_string().contains("answered by [u64; 3]"), "{none}");
    });
}

#[test]
fn a_question_that_is_consumed_without_an_answer_is_told() {
    on_every_row_with_calls(|row| {
        let place = Place::new();
        let questions = receiver::<str, str>(row, &place);
        let ask = Sender::<Call<str, str>>::options().domain(place.domain()).open("ask").expect("it exists");
        let consume: [Consume; 3] = [
            |questions| assert_eq!(questions.recv().as_deref(), Ok("why?")),
            |questions| questions.take().expect("it was asked").accept().expect("in hand"),
            |questions| {
                drop(questions.take().expect("it was asked")); // not consumed yet
                let again = questions.take().expect("given back");
                assert!(again.is_awaited() && again.redelivered() == 1);
                again.accept().expect("in hand");
            },
        ];
        for consume in consume {
            std::thread::scope(|scope| {
                let asked = scope.spawn(|| ask.call("why?"));
                consume(&questions);
                assert_eq!(asked.join().expect("it returns"), Err(CallError::Unanswered("why?")));
            });
        }
        assert_eq!(questions.len(), 0);
    });
}

#[test]
fn who_gives_up_is_not_answered() {
    // Not where nothing waits: there a question that nobody takes is not asked.
    on_every_row_with_room(|row| {
        if !row.answers() {
            return;
        }
        let place = Place::new();
        let questions = receiver::<u64, u64>(row, &place);
        let ask = Sender::<Call<u64, u64>>::options().domain(place.domain()).open("ask").expect("it exists");
        let begin = Instant::now();
        assert_eq!(ask.call_timeout(7, A_MOMENT), Err(CallError::Timeout(7)));
        assert!(begin.elapsed() >= A_MOMENT);
        let late = questions.take().expect("it is in the queue still");
        // Another call has the same cell by now; it gets its own answer.
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| ask.call(8));
            let next = questions.take().expect("it was asked");
            assert_eq!((*late, *next, late.is_awaited()), (7, 8, false));
            assert_eq!(late.reply(49), Err(Error::NotAwaited { name: "ask".into() }));
            next.reply(64).expect("the caller waits");
            assert_eq!(asked.join().expect("it returns"), Ok(64));
        });
        assert_eq!(questions.len(), 0);
        assert!(matches!(ask.call_deadline(1, Instant::now()), Err(CallError::Timeout(1))));
    });
}

#[test]
fn a_caller_that_dies_is_not_answered_and_leaves_nothing() {
    on_every_row_with_calls(|row| {
        let place = Place::new();
        let questions = row.receiver(row.options::<Bytes>(place.domain()), &place, "ask");
        for _ in 0..20 {
            let mut caller = start_caller(&place);
            set_waiting(&mut caller, "wait");
            let question = questions.take().expect("it was asked");
            caller.kill();
            // Whoever looks after the dead frees its cell.
            place.domain().gc().expect("ours");
            assert!(!question.is_awaited());
            assert!(matches!(question.reply(b"too late"), Err(Error::NotAwaited { .. })));
        }
        assert_eq!(questions.stat().expect("ours").depth, 0);
        let mut alive = start_caller(&place);
        set_waiting(&mut alive, "wait");
        questions.take().expect("it was asked").reply(b"here").expect("the caller waits");
        assert_eq!(outcome(&mut alive).0, "answer here");
    });
}

#[test]
fn the_owner_goes_before_it_answers() {
    on_every_row_of_a_process(|row| {
        if !row.answers() {
            return;
        }
        let place = Place::new();
        for taken in [false, true] {
            let mut owner = start_answerer(&place, row, &["mute"]);
            let mut first = start_caller(&place);
            set_waiting(&mut first, "wait");
            owner.expect("took anybody? redelivered 0");
            let mut second = None;
            if row.n() > 0 && !taken {
                let mut caller = start_caller(&place);
                set_waiting(&mut caller, "wait");
                second = Some(caller);
            }
            let killed = now_ns();
            owner.kill();
            let (said, when) = outcome(&mut first);
            assert!(said.ends_with(" Unknown") && said.starts_with("closed "), "{said}");
            assert!(when - killed < 1_000_000_000, "told after {} ns", when - killed);
            if let Some(mut second) = second {
                let said = outcome(&mut second).0;
                assert!(said.ends_with(" NotCollected"), "{said}");
            }
        }
    });
}

#[test]
fn a_server_that_dies_with_the_question_leaves_it_to_another() {
    on_every_row_of_the_system(|row| {
        if !row.answers() {
            return;
        }
        let place = Place::new();
        let mut first = start_answerer(&place, row, &["mute"]);
        let mut caller = start_caller(&place);
        set_waiting(&mut caller, "wait");
        first.expect("took anybody? redelivered 0");
        let mut second = start_answerer(&place, row, &["mute"]);
        first.kill();
        second.expect("took anybody? redelivered 1");
        second.say("answer");
        second.expect("answered");
        assert_eq!(outcome(&mut caller).0, "answer yes");
    });
}

#[test]
fn the_mailbox_is_removed_before_it_is_answered() {
    on_every_row_of_the_system(|row| {
        if !row.answers() {
            return;
        }
        let place = Place::new();
        row.options::<Bytes>(place.domain()).create("ask").expect("a free name");
        if row.n() == 0 {
            return; // nobody takes it: it was not sent
        }
        let mut caller = start_caller(&place);
        set_waiting(&mut caller, "wait");
        assert_eq!(place.domain().remove("ask").expect("ours").uncollected, 1);
        assert_eq!(outcome(&mut caller).0, "closed 1 NotCollected");
    });
}

#[test]
fn what_is_too_long_is_refused_with_what_would_do() {
    on_every_row_with_calls(|row| {
        let place = Place::new();
        let options: Options<Bytes> = row.options::<Bytes>(place.domain()).max_message(100);
        let questions = row.receiver(options, &place, "ask");
        let ask = open(place.domain());
        let long = [7; 101];
        let refused = ask.call(&long).expect_err("it is too long");
        assert!(
            matches!(refused, CallError::Failed(_, Error::TooLong { length: 101, max: 100 })),
            "{refused}"
        );
        std::thread::scope(|scope| {
            // It would be as long the next time: there is no next time, and who asked is told.
            let asked = scope.spawn(|| ask.call(&long[1..]));
            let question = questions.take().expect("it was asked");
            assert_eq!(question.reply(&long), Err(Error::TooLong { length: 101, max: 100 }));
            let unanswered = asked.join().expect("it returns").expect_err("there is no answer");
            assert!(unanswered.is_unanswered(), "{unanswered}");
            assert!(matches!(questions.try_take(), Err(TryRecvError::Empty)));
            let asked = scope.spawn(|| ask.call(&long[1..]));
            questions.take().expect("it was asked").reply(&long[1..]).expect("it fits");
            assert_eq!(asked.join().expect("it returns").as_deref(), Ok(&long[1..]));
        });
    });
}

#[test]
fn many_calls_are_under_way_at_one_time() {
    const CALLS: u64 = 200;
    on_every_row_of_a_process(|row| {
        if !row.answers() {
            return;
        }
        if row.n() < CALLS {
            return; // they would wait for room, not for answers
        }
        let place = Place::new();
        let questions = receiver::<u64, u64>(row, &place);
        let ask = Sender::<Call<u64, u64>>::options().domain(place.domain()).open("ask").expect("it exists");
        let answers: BTreeMap<u64, u64> = std::thread::scope(|scope| {
            let asked: Vec<_> = (0..CALLS)
                .map(|n| {
                    (
                        n,
                        scope.spawn({
                            let ask = &ask;
                            move || ask.call(n)
                        }),
                    )
                })
                .collect();
            eventually("all have asked", || questions.len() as u64 == CALLS);
            // The last first.
            let mut all: Vec<_> = (0..CALLS).map(|_| questions.take().expect("it was asked")).collect();
            while let Some(question) = all.pop() {
                let number = *question;
                question.reply(number * number).expect("the caller waits");
            }
            asked
                .into_iter()
                .map(|(n, thread)| (n, thread.join().expect("it returns").expect("an answer")))
                .collect()
        });
        assert!(answers.into_iter().all(|(n, square)| square == n * n));
    });
}

#[test]
fn a_closed_mailbox_is_not_asked() {
    on_every_row_of_a_process(|row| {
        if !row.answers() {
            return;
        }
        let place = Place::new();
        let questions = receiver::<u64, u64>(row, &place);
        let ask = Sender::<Call<u64, u64>>::options().domain(place.domain()).open("ask").expect("it exists");
        questions.close().expect("ours");
        let refused = ask.call_timeout(7, Duration::from_secs(1));
        assert!(matches!(refused, Err(CallError::Closed(7, _, Fate::NotCollected))), "{refused:?}");
        assert!(matches!(questions.take().map(drop), Err(RecvError::Closed(_))));
    });
}
