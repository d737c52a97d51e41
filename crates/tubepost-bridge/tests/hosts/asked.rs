//! Questions, and where nothing waits: who sends from another host waits for the other side, and is told what became of it.

use crate::stage::{Host, PATIENCE, endpoint, eventually, two_hosts};
use std::time::{Duration, Instant};
use tubepost::{
    Call, CallError, Error, Fate, Mailbox, SendCollectedError, SendTimeoutError, Sender, TrySendError,
};

type Length = Call<str, u64>;

fn asker<Q: tubepost::Message + ?Sized, A: tubepost::Message + ?Sized>(
    host: &Host,
    name: &str,
) -> Sender<Call<Q, A>> {
    host.until_there(name);
    Sender::<Call<Q, A>>::options().domain(&host.domain).open(name).expect("it is there")
}

#[test]
fn a_question_is_answered_from_another_host_many_at_one_time_and_in_any_order() {
    let (there, here) = two_hosts();
    let desk = Mailbox::<Length>::options().domain(&there.domain).own("length").expect("a free name");
    let echo =
        Mailbox::<Call<[u8], [u8]>>::options().domain(&there.domain).bounded(3).own("echo").expect("made");
    let ask = asker::<str, u64>(&here, "length");
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..8)
            .map(|caller| {
                let ask = ask.clone();
                scope.spawn(move || {
                    for length in 0..50 {
                        let text = "x".repeat(caller * 50 + length);
                        assert_eq!(ask.call_timeout(&text, PATIENCE), Ok(text.len() as u64));
                    }
                })
            })
            .collect();
        scope.spawn(move || {
            // Some at a time, the last one first.
            let (mut hand, mut answered) = (Vec::new(), 0);
            while answered < 400 {
                match desk.take_timeout(Duration::from_millis(20)) {
                    Ok(question) => hand.push(question),
                    Err(_) if hand.is_empty() => {}
                    Err(_) => {
                        answered += hand.len();
                        while let Some(question) = hand.pop() {
                            let length = question.len() as u64;
                            question.reply(length).expect("its caller waits");
                        }
                    }
                }
            }
        });
        callers.into_iter().for_each(|caller| caller.join().expect("answered"));
    });

    // Of any length; and what is not answered is told.
    let ask = asker::<[u8], [u8]>(&here, "echo");
    let server = std::thread::spawn(move || {
        for length in [0, 1, 33, 500_000] {
            let question = echo.take_timeout(PATIENCE).expect("asked");
            assert_eq!(question.len(), length);
            let answer = question.to_vec();
            question.reply(&answer).expect("awaited");
        }
        echo.take_timeout(PATIENCE).expect("asked").accept().expect("in hand");
        echo
    });
    for length in [0, 1, 33, 500_000] {
        assert_eq!(ask.call_timeout(&vec![7; length], PATIENCE), Ok(vec![7; length]));
    }
    assert_eq!(ask.call_timeout(b"?", PATIENCE), Err(CallError::Unanswered(&b"?"[..])));
    drop(server.join().expect("no panic"));
}

#[test]
fn a_call_has_its_deadline_and_what_became_of_it_is_told() {
    let (there, here) = two_hosts();
    let desk = Mailbox::<Length>::options().domain(&there.domain).bounded(4).own("length").expect("made");
    let ask = asker::<str, u64>(&here, "length");
    let begin = Instant::now();
    assert_eq!(ask.call_timeout("slow", Duration::from_millis(100)), Err(CallError::Timeout("slow")));
    assert!(begin.elapsed() < Duration::from_secs(5));
    // It may still be received, and whoever answers it does no harm.
    desk.take_timeout(PATIENCE).expect("it was asked").reply(4).expect("who asked here is the bridge");
    let server = std::thread::spawn(move || {
        desk.take_timeout(PATIENCE).expect("asked").reply(5).expect("awaited");
        desk
    });
    assert_eq!(ask.call_timeout("quick", PATIENCE), Ok(5));

    // The owner goes with the question in hand: nobody here knows whether it was done.
    let desk = server.join().expect("no panic");
    let asking = std::thread::spawn(move || {
        let told = ask.call_timeout("never", PATIENCE);
        matches!(told, Err(CallError::Closed(_, _, Fate::Unknown)))
    });
    let question = desk.take_timeout(PATIENCE).expect("asked");
    let begin = Instant::now();
    drop((question, desk));
    assert!(asking.join().expect("no panic"));
    assert!(begin.elapsed() < Duration::from_secs(1), "told after {:?}", begin.elapsed());
}

/// The importing bridge dies with questions under way: their answers find their callers all the same. The exporting one dies: a question is not asked twice.
#[test]
fn a_bridge_that_dies_with_questions_under_way_loses_no_caller() {
    let (mut there, mut here) = two_hosts();
    let desk = Mailbox::<Length>::options().domain(&there.domain).own("length").expect("made");
    let ask = asker::<str, u64>(&here, "length");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ask.call_timeout("seven", PATIENCE));
        let question = desk.take_timeout(PATIENCE).expect("asked");
        here.kill();
        here.start();
        question.reply(7).expect("the other bridge waits");
        assert_eq!(waiting.join().expect("no panic"), Ok(7));

        // Answered while nobody is there who could hear it.
        let waiting = scope.spawn(|| ask.call_timeout("eight", PATIENCE));
        let question = desk.take_timeout(PATIENCE).expect("asked");
        here.kill();
        question.reply(8).expect("the other bridge waits");
        here.start();
        assert_eq!(waiting.join().expect("no panic"), Ok(8));

        let waiting = scope.spawn(|| ask.call_timeout("nine", PATIENCE));
        let question = desk.take_timeout(PATIENCE).expect("asked");
        // Between asking and noting it would be asked once more.
        let is_noted = || there.domain.carried(desk.id()).is_ok_and(|it| it.is_some_and(|it| it.placed == 3));
        eventually("the third question is noted", is_noted);
        there.kill();
        match question.reply(9) {
            Ok(()) | Err(Error::NotAwaited { .. }) => {} // whether its death is known by now
            other => panic!("{other:?}"),
        }
        there.start();
        assert_eq!(waiting.join().expect("no panic"), Err(CallError::Unanswered("nine")));
        let waiting = scope.spawn(|| ask.call_timeout("ten", PATIENCE));
        let question = desk.take_timeout(PATIENCE).expect("asked");
        assert_eq!(&*question, "ten", "and not again what was asked before");
        question.reply(10).expect("awaited");
        assert_eq!(waiting.join().expect("no panic"), Ok(10));
    });
}

#[test]
fn where_nothing_waits_a_send_is_done_when_a_receiver_there_has_taken_it() {
    let (there, here) = two_hosts();
    let inbox = Mailbox::<u64>::options().domain(&there.domain).bounded(0).own("hand").expect("a free name");
    here.until_there("hand");
    let out = Sender::<u64>::options().domain(&here.domain).open("hand").expect("it is there");
    assert_eq!((out.capacity(), out.is_full(), out.len()), (Some(0), true, 0));
    assert_eq!(here.domain.stat("hand").map(|stat| stat.capacity), Ok(Some(0)));
    assert_eq!(out.try_send(1), Err(TrySendError::Full(1)), "nobody waits here");

    let sending = std::thread::spawn(move || {
        (0..20).for_each(|k| out.send(k).expect("taken"));
        out
    });
    std::thread::sleep(Duration::from_millis(100)); // that nothing happens has no event: too short, it only finds less
    assert!(!sending.is_finished());
    (0..19).for_each(|k| assert_eq!(inbox.recv_timeout(PATIENCE), Ok(k)));
    assert!(!sending.is_finished());
    assert_eq!(inbox.recv_timeout(PATIENCE), Ok(19));
    let out = sending.join().expect("no panic");

    // Its deadline: nobody received it, and it is withdrawn or on its way; which of both is said.
    match out.send_timeout(20, Duration::from_millis(100)) {
        Err(SendTimeoutError::Timeout(20)) => {}
        Err(SendTimeoutError::Failed(20, Error::Underway { .. })) => {
            assert_eq!(inbox.recv_timeout(PATIENCE), Ok(20));
        }
        other => panic!("{other:?}"),
    }
    // A task that gives up; and one that is served.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (sent, received) = tokio::join!(out.send_async(21), inbox.recv_async());
        assert_eq!((sent, received), (Ok(()), Ok(21)));
    });
    let waiting = std::thread::spawn(move || out.send_collected(22));
    std::thread::sleep(Duration::from_millis(50)); // it may be anywhere on its way
    drop(inbox);
    let told = waiting.join().expect("no panic");
    assert!(matches!(told, Err(SendCollectedError::Closed(22, ..))), "{told:?}");
}

#[test]
fn ls_and_stat_show_where_a_mailbox_is_and_what_was_carried() {
    let at = endpoint();
    let there = Host::new(&["--listen", &at, "--export", "*"]);
    let here = Host::new(&["--connect", &at, "--import", "*"]);
    let inbox = Mailbox::<str>::options().domain(&there.domain).own("box").expect("a free name");
    here.until_there("box");
    let out = Sender::<str>::options().domain(&here.domain).open("box").expect("it is there");
    (0..100).for_each(|_| out.send("a letter").expect("there is room"));
    (0..100).for_each(|_| drop(inbox.recv_timeout(PATIENCE).expect("it comes")));
    let stat = here.domain.stat("box").expect("it is there");
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert_eq!(stat.stands_for.map(|place| place.replace('_', "-")), Some(host.replace('_', "-")));
    for (domain, id) in [(&here.domain, stat.id), (&there.domain, inbox.id())] {
        eventually("all were counted", || {
            let carried = domain.carried(id).expect("it can be read").unwrap_or_default();
            (carried.sent_on, carried.placed, carried.collected) == (100, 100, 100)
        });
    }
}
