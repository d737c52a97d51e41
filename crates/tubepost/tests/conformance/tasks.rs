//! Futures: they are what the blocking calls are, on any executor; and dropped at any moment they have done nothing.
//!
//! Whoever waits looks again once a second. So that a wake-up which never comes does not pass for a late one, what is
//! woken is woken many times: [`promptly`].

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::task::Context;
use std::time::{Duration, Instant};

use futures_util::task::noop_waker;
use tubepost::{Receiver, RecvError, SendCollectedError, SendError, Sender};

use crate::cast::start_owner;
use crate::executors::{Executor, on_every_executor};
use crate::rows::{
    Owned, Row, on_every_row, on_every_row_of_a_process, on_every_row_of_the_system, open, receive,
};
use crate::stage::{Child, Cue, Dice, PATIENCE, Place, Role, eventually, thread_id, until_asleep};

pub const ROLES: &[Role] = &[("echo", echo), ("keeper", keeper), ("sleeper", sleeper)];

/// Rounds that would take longer than anybody waits if each needed somebody's second look.
const ROUNDS: u64 = 2 * PATIENCE.as_secs();

/// Does something so often that it must not wait for a second each time.
#[track_caller]
pub fn promptly(mut round: impl FnMut(u64)) {
    let begin = Instant::now();
    (0..ROUNDS).for_each(&mut round);
    assert!(begin.elapsed() < PATIENCE, "{ROUNDS} rounds took {:?}: nobody was woken", begin.elapsed());
}

/// Receives from "there" and sends it, one more, to "back"; the arguments are domain and row.
fn echo(cue: &mut Cue) {
    let domain = tubepost::Domain::open(cue.arg(0)).expect("the test's domain");
    let row = Row::of(cue, 1);
    let options = row.options::<u64>(&domain);
    let inbox = match row.owned {
        Owned::ByProcess => options.own("there").expect("a free name"),
        Owned::BySystem => {
            options.create("there").expect("a free name");
            Receiver::<u64>::options().domain(&domain).open("there").expect("it exists")
        }
    };
    let out = Sender::<u64>::options().domain(&domain).open("back").expect("it exists");
    cue.say("ready");
    for message in &inbox {
        out.send(message + 1).expect("the test lives");
    }
}

#[test]
fn tasks_are_woken_by_other_processes() {
    on_every_row(|row| {
        let place = Place::new();
        let back = row.own::<u64>(&place, "back");
        let mut echo = Child::start("echo", &[&place.arg(), &row.arg()]);
        echo.expect("ready");
        let there = open::<u64>(&place, "there");
        on_every_executor(|executor| {
            executor.run(async {
                let begin = Instant::now();
                for round in 0..ROUNDS {
                    there.send_async(round).await.expect("room for one");
                    assert_eq!(back.recv_async().await, Ok(round + 1));
                }
                assert!(begin.elapsed() < PATIENCE, "nobody was woken");
            });
        });
    });
}

#[test]
fn a_task_that_waits_for_room_is_woken_by_other_processes() {
    on_every_row(|row| {
        let place = Place::new();
        let mut owner = start_owner(&place, "box", row);
        let out = open::<u64>(&place, "box");
        let number = row.n() + ROUNDS;
        on_every_executor(|executor| {
            owner.say(format!("take {number}"));
            let begin = Instant::now();
            executor.run(async {
                for message in 0..number {
                    out.send_async(message).await.expect("an owner that receives");
                }
            });
            let all: Vec<String> = (0..number).map(|message| message.to_string()).collect();
            assert_eq!(owner.hear(), format!("took {}", all.join(" ")));
            assert!(begin.elapsed() < PATIENCE, "nobody was woken");
        });
    });
}

#[test]
fn every_call_has_its_task() {
    on_every_row(|row| {
        on_every_executor(|executor| {
            let place = Place::new();
            let inbox = row.own::<[u8]>(&place, "box");
            let out = open::<[u8]>(&place, "box");
            let later = |what: &'static [u8]| {
                let out = out.clone();
                std::thread::spawn(move || out.send(what))
            };
            executor.run(async {
                let sender = later(b"envelope");
                let envelope = inbox.recv_envelope_async().await.expect("it comes");
                assert_eq!((&*envelope.message, envelope.redelivered), (&b"envelope"[..], 0));
                sender.join().expect("no panic").expect("sent");
                let sender = later(b"in hand");
                drop(inbox.take_async().await.expect("it comes"));
                let again = inbox.take_async().await.expect("it was given back");
                assert_eq!((&*again, again.redelivered()), (&b"in hand"[..], 1));
                again.accept().expect("in hand");
                sender.join().expect("no panic").expect("sent");
                let sender = later(b"in a buffer");
                let mut buffer = [0; 16];
                assert_eq!(inbox.recv_into_async(&mut buffer).await, Ok(11));
                sender.join().expect("no panic").expect("sent");
                let (sent, received) =
                    futures_util::join!(out.send_collected_async(b"collected"), inbox.recv_async());
                assert_eq!((sent, received), (Ok(()), Ok(b"collected".to_vec())));
            });
        });
    });
}

#[test]
fn the_killed_owner_is_told_to_tasks() {
    on_every_row_of_a_process(|row| {
        if !row.is_limited("the_killed_owner_is_told_to_tasks") {
            return;
        }
        on_every_executor(|executor| {
            let place = Place::new();
            let mut owner = start_owner(&place, "box", row);
            let out = open::<u64>(&place, "box");
            (0..row.n()).for_each(|message| out.try_send(message).expect("a free place"));
            let mut polled = false;
            let (sent, closed) = executor.run(async {
                let strike = std::future::poll_fn(|_| {
                    // Both others wait by now.
                    if !std::mem::replace(&mut polled, true) {
                        owner.strike();
                    }
                    std::task::Poll::Ready(())
                });
                let (sent, closed, ()) = futures_util::join!(out.send_async(7), out.closed_async(), strike);
                (sent, closed)
            });
            let uncollected = row.n();
            assert!(
                matches!(sent, Err(SendError::Closed(7, closed)) if closed.uncollected == uncollected),
                "{sent:?}"
            );
            assert_eq!(closed.expect("ours").uncollected, uncollected);
        });
    });
}

/// Takes a message in hand, says so, and keeps it; the argument is the domain.
fn keeper(cue: &mut Cue) {
    let domain = tubepost::Domain::open(cue.arg(0)).expect("the test's domain");
    let inbox = Receiver::<u64>::options().domain(&domain).open("box").expect("it exists");
    let _hand = inbox.take().expect("it comes");
    cue.say("holds");
    cue.hear();
}

#[test]
fn what_a_killed_receiver_had_comes_to_a_task() {
    on_every_row_of_the_system(|row| {
        on_every_executor(|executor| {
            let place = Place::new();
            let inbox = row.own::<u64>(&place, "box");
            let mut keeper = Child::start("keeper", &[&place.arg()]);
            open::<u64>(&place, "box").send(7).expect("room");
            keeper.expect("holds");
            let mut polled = false;
            let (envelope, ()) = executor.run(async {
                let strike = std::future::poll_fn(|_| {
                    if !std::mem::replace(&mut polled, true) {
                        keeper.strike();
                    }
                    std::task::Poll::Ready(())
                });
                futures_util::join!(inbox.recv_envelope_async(), strike)
            });
            let envelope = envelope.expect("it comes again");
            assert_eq!((envelope.message, envelope.redelivered), (7, 1));
        });
    });
}

#[test]
fn closing_ends_what_waits() {
    on_every_row_of_a_process(|row| {
        on_every_executor(|executor| {
            let place = Place::new();
            let inbox = row.own::<u64>(&place, "box");
            let other = inbox.clone();
            let received = executor.run(async {
                let close = async { other.close().expect("ours") };
                futures_util::join!(inbox.recv_async(), close).0
            });
            assert!(matches!(received, Err(RecvError::Closed(_))), "{received:?}");
        });
    });
}

/// Polls a future so often, and drops it then.
fn polled<R>(future: impl Future<Output = R>, times: u32) -> Option<R> {
    let (waker, mut future) = (noop_waker(), pin!(future));
    let mut context = Context::from_waker(&waker);
    (0..times).find_map(|_| match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(done) => Some(done),
        std::task::Poll::Pending => {
            std::thread::yield_now();
            None
        }
    })
}

/// What was sent, by what is known of it.
#[derive(Default)]
struct Books {
    accepted: BTreeSet<u64>,
    dropped: BTreeSet<u64>,
    received: Vec<u64>,
}

#[test]
fn a_dropped_future_has_done_nothing() {
    const EACH: u64 = 2000;
    on_every_row(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let books = Mutex::new(Books::default());
        let books = &books;
        let book = || books.lock().expect("nobody panics with it");
        let (senders, done) = (&AtomicU32::new(2), &AtomicBool::new(false));
        std::thread::scope(|scope| {
            for sender in 0..2 {
                let out = open::<u64>(&place, "box");
                scope.spawn(move || {
                    let mut dice = Dice::new(sender);
                    for message in sender * EACH..(sender + 1) * EACH {
                        let times = dice.below(4) as u32 + 1;
                        let done = if dice.below(3) == 0 {
                            polled(out.send_collected_async(message), times).map(|sent| sent.is_ok())
                        } else {
                            polled(out.send_async(message), times).map(|sent| sent.is_ok())
                        };
                        match done {
                            Some(sent) => {
                                assert!(sent, "the mailbox is open");
                                assert!(book().accepted.insert(message));
                            }
                            None => assert!(book().dropped.insert(message)),
                        }
                    }
                    senders.fetch_sub(1, SeqCst);
                });
            }
            for receiver in 0..2 {
                let inbox = if row.owned == Owned::BySystem { receive(&place, "box") } else { inbox.clone() };
                scope.spawn(move || {
                    let mut dice = Dice::new(100 + receiver);
                    while !done.load(SeqCst) {
                        match dice.below(3) {
                            0 => {
                                if let Some(taken) = polled(inbox.take_async(), 2) {
                                    let taken = taken.expect("the mailbox is open");
                                    if dice.below(2) == 0 {
                                        book().received.push(*taken);
                                        taken.accept().expect("in hand");
                                    }
                                }
                            }
                            _ => {
                                if let Some(message) = polled(inbox.recv_async(), 2) {
                                    book().received.push(message.expect("the mailbox is open"));
                                }
                            }
                        }
                    }
                });
            }
            eventually("all is sent and received", || senders.load(SeqCst) == 0 && inbox.is_empty());
            done.store(true, SeqCst);
        });
        for message in inbox.try_iter() {
            book().received.push(message); // given back just before the end
        }
        let Books { accepted, dropped, received } = std::mem::take(&mut *book());
        let once: BTreeSet<u64> = received.iter().copied().collect();
        assert_eq!(once.len(), received.len(), "nothing comes twice");
        assert!(accepted.is_subset(&once), "lost: {:?}", accepted.difference(&once).collect::<Vec<_>>());
        assert!(!dropped.is_empty() && accepted.is_disjoint(&dropped));
        // What was dropped may have been collected just before that. Nothing else may come of it.
        assert!(once.iter().all(|message| accepted.contains(message) || dropped.contains(message)));
        let stat = inbox.stat().expect("ours");
        assert_eq!((stat.depth, stat.held, stat.sent), (0, 0, received.len() as u64));
    });
}

#[test]
fn a_send_that_was_dropped_is_never_received() {
    on_every_row(|row| {
        if !row.is_limited("a_send_that_was_dropped_is_never_received") {
            return;
        }
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let out = open::<u64>(&place, "box");
        assert_eq!(polled(out.send_collected_async(7), 3), None, "nobody receives");
        assert!(inbox.is_empty(), "it is withdrawn");
        (0..row.n()).for_each(|message| out.try_send(message).expect("its place is free"));
        assert_eq!(polled(out.send_async(8), 3), None, "it is full");
        assert_eq!(inbox.try_iter().collect::<Vec<_>>(), (0..row.n()).collect::<Vec<_>>());
    });
}

#[test]
fn a_collection_is_told_when_the_mailbox_goes() {
    on_every_row_of_a_process(|row| {
        let place = Place::new();
        let inbox = row.own::<u64>(&place, "box");
        let out = open::<u64>(&place, "box");
        let sent = futures_executor::block_on(async {
            let close = async { inbox.close().expect("ours") };
            futures_util::join!(out.send_collected_async(7), close).0
        });
        assert!(
            matches!(sent, Err(SendCollectedError::Closed(7, _, tubepost::Fate::NotCollected))),
            "{sent:?}"
        );
    });
}

/// Waits as a task until it is told otherwise; the argument is the domain.
fn sleeper(cue: &mut Cue) {
    let domain = tubepost::Domain::open(cue.arg(0)).expect("the test's domain");
    let inbox = Receiver::<u64>::options().domain(&domain).open("box").expect("it exists");
    cue.say(thread_id());
    let message = futures_executor::block_on(inbox.recv_async());
    cue.say(format!("{message:?}"));
}

#[test]
fn who_was_killed_waiting_holds_nobody_up() {
    on_every_row_of_the_system(|row| {
        let place = Place::new();
        row.options::<u64>(place.domain()).create("box").expect("a fresh domain");
        let mut dead = Child::start("sleeper", &[&place.arg()]);
        let thread = dead.hear().parse().expect("a thread");
        until_asleep(dead.pid(), thread);
        // A mailbox, what the sleeper is rung by, and where the files are.
        let files = 2 + usize::from(row.strategy == tubepost::Strategy::File);
        assert_eq!(place.files().len(), files);
        assert_eq!(place.domain().list().expect("ours").len(), 1, "that is no thing of its own");
        dead.kill();
        let inbox = receive::<u64>(&place, "box");
        let out = open::<u64>(&place, "box");
        promptly(|round| {
            let inbox = inbox.clone();
            let waiter = std::thread::spawn(move || futures_executor::block_on(inbox.recv_async()));
            out.send(round).expect("room");
            assert_eq!(waiter.join().expect("no panic"), Ok(round));
        });
        drop((inbox, out));
        place.domain().gc().expect("ours");
        let mut files = place.files();
        files.retain(|file| !file.ends_with("~log")); // where the files are: that stays
        assert_eq!(files, ["box"], "nothing is left of the dead");
    });
}

#[test]
fn futures_can_be_sent_to_other_threads() {
    fn sent<F: Future + Send>(_: F) {}
    let place = Place::new();
    let inbox = tubepost::Mailbox::<u64>::options().domain(place.domain()).own("box").expect("fresh");
    let out = open::<u64>(&place, "box");
    sent(inbox.recv_async());
    sent(inbox.take_async());
    sent(inbox.recv_envelope_async());
    sent(inbox.recv_into_async(&mut 0));
    sent(out.send_async(1));
    sent(out.send_collected_async(1));
    sent(out.closed_async());
}

#[test]
fn one_handle_serves_many_tasks_of_many_executors() {
    const TASKS: u64 = 50;
    let place = Place::new();
    let inbox = tubepost::Mailbox::<u64>::options().domain(place.domain()).own("box").expect("fresh");
    let out = open::<u64>(&place, "box");
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let waiters: Vec<_> = [Executor::Plain, Executor::Tokio, Executor::TokioOfThreads]
            .map(|executor| {
                let inbox = inbox.clone();
                scope.spawn(move || {
                    executor.run(async {
                        let each = (0..TASKS).map(|_| inbox.recv_async());
                        futures_util::future::join_all(each).await
                    })
                })
            })
            .into();
        for message in 0..3 * TASKS {
            out.send(message).expect("room");
            std::thread::sleep(Duration::from_micros(100)); // one wake-up for each, most of the time
        }
        let all = waiters.into_iter().flat_map(|waiter| waiter.join().expect("no panic"));
        let all: BTreeSet<u64> = all.map(|message| message.expect("open")).collect();
        assert_eq!(all, (0..3 * TASKS).collect());
    });
    assert!(begin.elapsed() < PATIENCE, "nobody was woken");
}

/// A runtime that listened at a door and ends leaves that to others; and so does one that stands still.
#[test]
fn a_runtime_that_ends_takes_nobody_with_it() {
    let place = Place::new();
    let inbox = tubepost::Mailbox::<u64>::options().domain(place.domain()).own("box").expect("fresh");
    let out = open::<u64>(&place, "box");
    let still = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let wait = |executor: Executor, message| {
        let out = out.clone();
        let sender = std::thread::spawn(move || out.send(message));
        assert_eq!(executor.run(inbox.recv_async()), Ok(message));
        sender.join().expect("no panic").expect("room");
    };
    assert!(
        still
            .block_on(async { tokio::time::timeout(Duration::from_millis(1), inbox.recv_async()).await })
            .is_err()
    );
    promptly(|round| {
        wait([Executor::Tokio, Executor::Plain, Executor::TokioOfThreads][round as usize % 3], round);
    });
    drop(still);
    promptly(|round| wait(Executor::Plain, round));
}

#[cfg(feature = "futures")]
#[test]
fn streams_and_sinks() {
    use futures_util::{SinkExt, StreamExt};
    on_every_row(|row| {
        on_every_executor(|executor| {
            let place = Place::new();
            let inbox = row.own::<str>(&place, "box");
            let (mut sink, mut stream) = (open::<str>(&place, "box").into_sink(), inbox.stream());
            let all: Vec<String> = (0..row.n() + 10).map(|number| format!("number {number}")).collect();
            executor.run(async {
                let send = async {
                    for message in &all {
                        sink.feed(message.clone()).await.expect("open");
                    }
                    sink.flush().await.expect("open");
                };
                let receive = async {
                    for message in &all {
                        assert_eq!(stream.next().await.as_ref(), Some(message));
                    }
                };
                futures_util::join!(send, receive);
                if row.owned == Owned::ByProcess {
                    inbox.close().expect("ours");
                    assert_eq!(stream.next().await, None);
                    let error = sink.send("too late".into()).await.expect_err("it is closed");
                    assert!(matches!(error, SendError::Closed(back, _) if back == "too late"));
                }
            });
        });
    });
}
