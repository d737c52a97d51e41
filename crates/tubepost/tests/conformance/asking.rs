//! Calls by tasks: many under way in one thread, answered by threads of other processes.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};

use futures_util::future::join_all;
use tubepost::{Call, CallError, Error, Fate, Sender};

use crate::answers::{open, receiver, reversed, start_answerer};
use crate::executors::on_every_executor;
use crate::letters::pattern;
use crate::rows::{Owned, on_every_row_of_a_process, on_every_row_with_calls};
use crate::stage::{Place, eventually};

#[test]
fn tasks_of_one_thread_are_answered_by_other_processes() {
    on_every_row_with_calls(|row| {
        let place = Place::new();
        let servers = if row.owned == Owned::BySystem { 2 } else { 1 };
        let _servers: Vec<_> = (0..servers).map(|_| start_answerer(&place, row, &[])).collect();
        let ask = open(place.domain());
        on_every_executor(|executor| {
            for round in 0..20 {
                // In the cell, in a slot, in a chunk.
                let lengths = [0, 1, 32, 33, 200, 300, 5000, 100_000];
                let questions = lengths.map(|length| pattern(length, round));
                let answers =
                    executor.run(join_all(questions.iter().map(|question| ask.call_async(question))));
                for (question, answer) in questions.iter().zip(answers) {
                    assert_eq!(answer.as_deref().ok(), Some(&reversed(question)[..]));
                }
            }
        });
        // (An answer comes before its question is put away.)
        eventually("all questions are consumed", || {
            let stat = place.domain().stat("ask").expect("it exists");
            (stat.depth, stat.held) == (0, 0)
        });
    });
}

#[test]
fn a_task_is_told_that_there_will_be_no_answer() {
    on_every_row_with_calls(|row| {
        let place = Place::new();
        let questions = receiver::<u64, u64>(row, &place);
        let ask = Sender::<Call<u64, u64>>::options().domain(place.domain()).open("ask").expect("it exists");
        on_every_executor(|executor| {
            let (asked, received) =
                executor.run(async { futures_util::join!(ask.call_async(7), questions.recv_async()) });
            assert_eq!((asked, received), (Err(CallError::Unanswered(7)), Ok(7)));
        });
    });
}

#[test]
fn a_task_is_told_that_the_owner_died() {
    on_every_row_of_a_process(|row| {
        if !row.answers() {
            return;
        }
        on_every_executor(|executor| {
            let place = Place::new();
            let mut owner = start_answerer(&place, row, &["mute"]);
            let ask = open(place.domain());
            let told = executor.run(async {
                let strike = std::future::poll_fn(|_| {
                    owner.expect("took anybody? redelivered 0");
                    owner.strike();
                    Poll::Ready(())
                });
                futures_util::join!(ask.call_async(b"anybody?"), strike).0
            });
            assert!(matches!(told, Err(CallError::Closed(b"anybody?", _, Fate::Unknown))), "{told:?}");
        });
    });
}

#[test]
fn a_call_that_is_dropped_is_not_awaited() {
    on_every_row_with_calls(|row| {
        let place = Place::new();
        let questions = receiver::<u64, u64>(row, &place);
        let ask = Sender::<Call<u64, u64>>::options().domain(place.domain()).open("ask").expect("it exists");
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(pin!(ask.call_async(7)).poll(&mut context).is_pending());
        if row.n() == 0 {
            assert!(questions.try_take().is_err(), "where nothing waits, nothing was asked");
        } else {
            let late = questions.take().expect("it was sent");
            assert!(!late.is_awaited());
            assert_eq!(late.reply(49), Err(Error::NotAwaited { name: "ask".into() }));
        }
        // Taken, and dropped.
        let mut asked = Box::pin(ask.call_async(8));
        assert!(asked.as_mut().poll(&mut context).is_pending());
        let question = questions.take().expect("it was asked");
        assert!(question.is_awaited());
        drop(asked);
        assert_eq!(question.reply(64), Err(Error::NotAwaited { name: "ask".into() }));
        assert_eq!(questions.len(), 0);
    });
}
