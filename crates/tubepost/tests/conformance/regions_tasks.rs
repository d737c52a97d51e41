//! Regions, for tasks and event loops, whether there are versions or one copy: a version, and a turn, that somebody waits for without a thread.
//!
//! As with mailboxes (`tasks`), what is woken is woken many times, for whoever waits looks again once a second.

use std::pin::pin;
use std::task::Context;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::join;
use futures_util::task::noop_waker;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tubepost::{Domain, Error, Region, RegionDoorbell, RegionOptions};

use crate::cast::set_waiting;
use crate::executors::{Executor, on_every_executor};
use crate::regions::{Board, note, start, whole, word};
use crate::regions_turns::in_order;
use crate::stage::{Child, Cue, Dice, PATIENCE, Place, Role, eventually, now_ns, thread_id};
use crate::tasks::promptly;

pub const ROLES: &[Role] = &[("region task", task), ("region copier", copier)];

const HOUR: Duration = Duration::from_secs(3600);
const LEASE: Duration = Duration::from_millis(100);

fn options(place: &Place, in_place: bool) -> RegionOptions<Board> {
    let options = Region::options().domain(place.domain()).lease_max(HOUR);
    if in_place { options.in_place() } else { options }
}

/// A test, for versions and in place; a failure is preceded by which it was.
fn on_both(mut test: impl FnMut(&Place, bool, Region<Board>)) {
    for in_place in [false, true] {
        println!("in place: {in_place}");
        let place = Place::new();
        let region = options(&place, in_place).create("board").expect("a free name");
        test(&place, in_place, region);
    }
}

/// What a region is in the domain: its name, and its data, which in place has a file of its own.
fn files(in_place: bool) -> usize {
    2 + usize::from(in_place)
}

/// Polls a future so often, and drops it then.
fn polled<R>(future: impl Future<Output = R>, times: u32) -> Option<R> {
    let (waker, mut future) = (noop_waker(), pin!(future));
    let mut context = Context::from_waker(&waker);
    (0..times).find_map(|_| match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(done) => Some(done),
        std::task::Poll::Pending => None,
    })
}

fn waiting(region: &Region<Board>) -> u32 {
    region.stat().expect("it lives").region.expect("a region").writers_waiting
}

fn kind<T: std::fmt::Debug>(done: Result<T, Error>) -> String {
    word(&done.expect_err("it is refused"))
}

/// Waits as a task, or by a descriptor, as it is told; the argument is the domain.
fn task(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let region = Region::<Board>::options().domain(&domain).open("board").expect("it exists");
    cue.say("ready");
    loop {
        let line = cue.hear();
        let (order, number) = line.split_once(' ').unwrap_or((&line, "0"));
        let number: u64 = number.parse().expect("a number");
        cue.say(thread_id());
        match order {
            "write" => {
                let update = region.update_async(|board| *board = [number; 8]);
                cue.say(format!("{:?}", futures_executor::block_on(update)));
            }
            "change" => {
                let change = region.wait_for_change_async(number);
                cue.say(format!("{:?}", futures_executor::block_on(change)));
            }
            "poll" => {
                let bell = region.doorbell(number).expect("descriptors are left");
                while !bell.clear(number).expect("ours") {
                    poll(&mut [PollFd::new(&bell, PollFlags::IN)], None).expect("no signal comes");
                }
                cue.say(region.version().map_or_else(|error| word(&error), |version| version.to_string()));
            }
            other => panic!("{other}?"),
        }
    }
}

fn start_task(place: &Place) -> Child {
    let mut child = Child::start("region task", &[&place.arg()]);
    child.expect("ready");
    child
}

#[test]
fn a_task_is_woken_by_a_version_of_another_process() {
    on_both(|place, _, region| {
        let mut other = start(place, "writer");
        on_every_executor(|executor| {
            promptly(|_| {
                let seen = region.version().expect("it lives");
                let (change, ()) = executor
                    .run(async { join!(region.wait_for_change_async(seen), async { other.say("add 1") }) });
                assert_eq!(change, Ok(seen + 1));
                other.expect("adds");
                other.expect("added");
            });
        });
        let seen = region.version().expect("it lives");
        let now = futures_executor::block_on(region.wait_for_change_async(seen - 1));
        assert_eq!(now, Ok(seen), "it need not wait");
    });
}

#[test]
fn a_task_has_its_turn_when_another_process_lets_go() {
    on_both(|place, _, region| {
        let mut other = start(place, "writer");
        on_every_executor(|executor| {
            promptly(|round| {
                assert!(other.ask("write-now").starts_with("writes "));
                assert_eq!(other.ask(format!("fill {round}")), "filled");
                let (writing, ()) =
                    executor.run(async { join!(region.write_async(), async { other.say("commit") }) });
                let mut writing = writing.expect("its turn comes");
                assert_eq!(whole(&writing), round);
                *writing = [round + 1; 8];
                let version = writing.commit().expect("nobody waits");
                assert_eq!(other.hear(), format!("committed {}", version - 1));
            });
        });
    });
}

#[test]
fn a_task_reads_when_who_writes_is_done_or_dead() {
    on_both(|place, in_place, region| {
        let mut other = start(place, "writer");
        on_every_executor(|executor| {
            promptly(|round| {
                assert!(other.ask("write-now").starts_with("writes "));
                assert_eq!(other.ask(format!("fill {round}")), "filled");
                let (reading, ()) =
                    executor.run(async { join!(region.read_async(), async { other.say("commit") }) });
                let read = whole(&reading.expect("it is not poisoned"));
                assert!(!in_place || read == round, "{read} in round {round}");
                other.hear();
            });
        });
        // Dropped, it has nothing.
        assert!(other.ask("write-now").starts_with("writes "));
        assert_eq!(polled(region.read_async(), 3).is_some(), !in_place);
        other.kill();
        match futures_executor::block_on(region.read_async()) {
            Ok(_) if !in_place => {}
            Err(Error::Poisoned { .. }) if in_place => {}
            other => panic!("{other:?}"),
        }
    });
}

/// Tasks have their turns as they came, as threads and processes have.
#[test]
fn tasks_take_turns_as_they_came() {
    on_both(|place, _, region| {
        let held = region.write().expect("nobody writes");
        let mut third = start(place, "third");
        let released = std::cell::Cell::new(0);
        futures_executor::block_on(async {
            let add = |number| {
                let region = &region;
                async move { region.update_async(|board| note(board, number)).await.expect("its turn comes") }
            };
            let between = async {
                set_waiting(&mut third, "note 3");
                assert_eq!(waiting(&region), 3);
            };
            let last = async {
                released.set(now_ns());
                drop(held);
                add(4).await
            };
            join!(add(1), add(2), between, last);
        });
        third.expect("noted");
        // Who is polled before the third one's process ran was earlier.
        in_order(&region.get().expect("it lives"), released.get(), 4);
    });
}

#[test]
fn a_cancelled_turn_is_given_up_at_once() {
    on_both(|place, _, region| {
        let mut holder = start(place, "holder");
        assert!(holder.ask("write-now").starts_with("writes "));
        for times in 1..5 {
            assert!(polled(region.write_async(), times).is_none(), "another holds");
            assert_eq!(waiting(&region), 0);
            assert!(polled(region.update_async(|_| panic!("another holds")), times).is_none());
        }
        let late = Executor::Tokio.run(async {
            let wait = tokio::time::timeout(Duration::from_millis(1), region.write_async());
            wait.await.map(drop)
        });
        assert!(late.is_err(), "a deadline is the runtime's");
        // Who waits behind one that is dropped is next.
        let mut third = start(place, "third");
        let dropped = async {
            let mut turn = pin!(region.write_async());
            std::future::poll_fn(|context| {
                assert!(turn.as_mut().poll(context).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
            set_waiting(&mut third, "write");
            assert_eq!(waiting(&region), 2);
        };
        futures_executor::block_on(dropped);
        assert_eq!(waiting(&region), 1);
        assert_eq!(holder.ask("drop"), "dropped");
        assert!(third.hear().starts_with("writes "));
        assert_eq!(third.ask("drop"), "dropped");
        region.try_write().map(drop).expect("nobody holds, and nobody waits");
    });
}

/// Reads again and again, all of a large region.
fn copier(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let region = Region::<[u8]>::options().domain(&domain).open("large").expect("it exists");
    cue.say("ready");
    loop {
        drop(region.read().expect("it lives"));
    }
}

/// In place one who has its turn waits for those who read; dropped then, it lets go.
#[test]
fn a_turn_that_waits_for_readers_is_given_up_too() {
    let place = Place::new();
    let options = Region::<[u8]>::options().domain(place.domain()).size(32 << 20).lease_max(HOUR).in_place();
    let region = options.own("large").expect("a fresh name");
    let mut reader = Child::start("region copier", &[&place.arg()]);
    reader.expect("ready");
    let reads = || matches!(region.try_write(), Err(Error::WouldWait));
    eventually("it is stopped while it reads", || {
        reader.stop();
        let is = reads();
        if !is {
            reader.go_on();
        }
        is
    });
    for times in 1..5 {
        assert!(polled(region.write_async(), times).is_none(), "one reads");
        let told = region.stat().expect("it lives").region.expect("a region");
        assert_eq!((told.writer, told.writers_waiting), (None, 0));
        region.try_read().map(drop).expect("nobody writes");
    }
    // Who goes on wakes the task.
    let go_on = async { reader.go_on() };
    let (writing, ()) = futures_executor::block_on(async { join!(region.write_async(), go_on) });
    writing.expect("nobody reads").commit().expect("nobody waits for long");
}

#[test]
fn a_task_whose_process_is_killed_holds_up_nobody() {
    on_both(|place, in_place, region| {
        for order in ["write 7", "change 100", "poll 100"] {
            let mut dead = start_task(place);
            let held = region.write().expect("nobody writes");
            set_waiting(&mut dead, order);
            let mut third = start(place, "third");
            set_waiting(&mut third, "write");
            assert!(place.files().len() > files(in_place), "what tasks are rung by");
            dead.kill();
            drop(held);
            assert!(third.hear().starts_with("writes "));
            assert_eq!(third.ask("drop"), "dropped");
            eventually("nobody waits any more", || region.try_write().is_ok());
            promptly(|round| {
                region.update(|board| *board = [round; 8]).expect("it lives");
            });
            drop(third);
        }
        place.domain().gc().expect("our own domain");
        assert_eq!(place.files().len(), files(in_place), "{:?}", place.files());
    });
}

/// A task that is not polled is passed like a process that stands still, and goes on when it is.
#[test]
fn a_task_that_is_not_polled_holds_up_nobody() {
    on_both(|_, _, region| {
        let held = region.write().expect("nobody writes");
        futures_executor::block_on(async {
            let mut turn = pin!(region.write_async());
            std::future::poll_fn(|context| {
                assert!(turn.as_mut().poll(context).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
            drop(held);
            for number in 1..5 {
                let writing = region.write_timeout(PATIENCE).expect("it is passed");
                assert_eq!(writing.commit(), Ok(number + 1));
            }
            assert_eq!(turn.await.expect("its turn").commit(), Ok(6));
        });
    });
}

/// One who wants to look again soon is not put off by one who looks later.
#[test]
fn tasks_that_wait_for_late_writers_have_their_turn_in_time() {
    let place = Place::new();
    let options = |lease| Region::<Board>::options().domain(place.domain()).lease_max(lease);
    let soon = options(LEASE).create("board").expect("a free name");
    let late = options(LEASE * 9).own("late").expect("a free name");
    let mut holder = start(&place, "holder");
    promptly(|round| {
        assert_eq!(holder.ask("write-now"), format!("writes {}", round + 1));
        let _kept = late.write().expect("nobody writes");
        let begin = Instant::now();
        futures_executor::block_on(async {
            let (turn, other) = (pin!(soon.update_async(|_| {})), pin!(late.write_async()));
            let first = futures_util::future::select(turn, other).await;
            assert!(matches!(first, futures_util::future::Either::Left((Ok(_), _))));
        });
        assert!(begin.elapsed() >= LEASE, "a lease is not shorter than promised");
        assert_eq!(holder.ask("commit"), "LeaseExpired");
    });
}

fn is_readable(bell: &RegionDoorbell, within: Duration) -> bool {
    let time = Timespec { tv_sec: within.as_secs() as i64, tv_nsec: within.subsec_nanos().into() };
    poll(&mut [PollFd::new(bell, PollFlags::IN)], Some(&time)).expect("no signal comes") > 0
}

#[test]
fn a_descriptor_is_readable_while_there_is_something_newer() {
    on_both(|place, in_place, region| {
        let mut other = start(place, "writer");
        let bell = region.doorbell(1).expect("descriptors are left");
        promptly(|round| {
            let seen = round + 1;
            assert_eq!(bell.clear(seen), Ok(false), "nothing is newer");
            other.say("add 1");
            assert!(is_readable(&bell, PATIENCE));
            assert_eq!(region.wait_for_change(seen), Ok(seen + 1));
            assert_eq!(bell.clear(seen), Ok(true), "it is not seen yet");
            assert!(is_readable(&bell, Duration::ZERO));
            other.expect("adds");
            other.expect("added");
        });
        let seen = region.version().expect("it lives");
        assert_eq!(bell.clear(seen), Ok(false));
        // What is not committed is no news, but in place there is something to be told.
        let mut writing = region.write().expect("nobody writes");
        *writing = [1; 8];
        drop(writing);
        assert_eq!(bell.clear(seen), Ok(in_place));
        if in_place {
            let waited = futures_executor::block_on(region.wait_for_change_async(seen));
            assert_eq!((kind(waited), kind(region.version())), ("Poisoned".into(), "Poisoned".into()));
            region.repair(|board| *board = [0; 8]).expect("nobody writes");
        }
        bell.clear(seen).expect("ours");
        place.domain().remove("board").expect("it exists");
        assert!(is_readable(&bell, PATIENCE), "it is over");
        assert_eq!(bell.clear(u64::MAX), Ok(true));
    });
}

#[test]
fn a_process_that_polls_is_told_of_a_version_and_of_the_end() {
    on_both(|place, _, region| {
        let mut poller = start_task(place);
        promptly(|round| {
            set_waiting(&mut poller, &format!("poll {}", round + 1));
            let version = region.update(|board| *board = [round; 8]).expect("it lives");
            poller.expect(&version.to_string());
        });
        set_waiting(&mut poller, &format!("poll {}", u64::MAX));
        let mut waiter = start_task(place);
        set_waiting(&mut waiter, &format!("change {}", u64::MAX));
        place.domain().remove("board").expect("it exists");
        poller.expect("Ended");
        assert!(waiter.hear().starts_with("Err(Ended"));
    });
}

#[test]
fn tasks_are_told_that_it_is_over() {
    for in_place in [false, true] {
        let place = Place::new();
        let mut owner =
            Child::start("region owner", &[&place.arg(), if in_place { "in-place" } else { "versions" }]);
        owner.expect("own");
        let region = Region::<Board>::options().domain(place.domain()).open("board").expect("it exists");
        assert_eq!(region.is_in_place(), in_place);
        let held = region.write().expect("nobody writes");
        let strike = async { owner.strike() };
        let (change, turn, ()) = futures_executor::block_on(async {
            join!(region.wait_for_change_async(9), region.write_async(), strike)
        });
        assert_eq!((kind(change), kind(turn)), ("Ended".into(), "Ended".into()));
        drop(held);
    }
}

/// Dropped at whatever moment, it has changed nothing, and keeps nothing.
#[test]
fn a_dropped_update_has_changed_nothing() {
    on_both(|_, _, region| {
        let all: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3)
                .map(|seed| {
                    let region = &region;
                    scope.spawn(move || {
                        let (mut dice, mut done) = (Dice::new(seed), 0);
                        for _ in 0..3000 {
                            let add = |board: &mut Board| board.iter_mut().for_each(|word| *word += 1);
                            let times = dice.below(4) as u32 + 1;
                            if let Some(updated) = polled(region.update_async(add), times) {
                                updated.expect("nobody is late");
                                done += 1;
                            }
                        }
                        done
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!((whole(&region.get().expect("it is sound")), region.version()), (all, Ok(all + 1)));
        region.try_write().map(drop).expect("nobody holds, and nobody waits");
        assert_eq!(waiting(&region), 0);
    });
}

#[test]
fn one_handle_serves_many_tasks_of_many_executors() {
    const TASKS: u64 = 30;
    on_both(|_, _, region| {
        std::thread::scope(|scope| {
            for executor in [Executor::Plain, Executor::Tokio, Executor::TokioOfThreads] {
                let region = region.clone();
                scope.spawn(move || {
                    let add = || region.update_async(|board| board.iter_mut().for_each(|word| *word += 1));
                    let done = executor.run(join_all((0..TASKS).map(|_| add())));
                    assert!(done.iter().all(Result::is_ok), "{done:?}");
                });
            }
            let changes = region.clone();
            scope.spawn(move || {
                let mut seen = 1;
                while seen <= 3 * TASKS {
                    seen = Executor::Tokio.run(changes.wait_for_change_async(seen)).expect("it lives");
                }
            });
        });
        assert_eq!(whole(&region.get().expect("it lives")), 3 * TASKS);
    });
}

#[test]
fn futures_can_be_sent_to_other_threads() {
    fn sent<F: Future + Send>(_: F) {}
    let place = Place::new();
    let region = options(&place, true).own("board").expect("a free name");
    sent(region.write_async());
    sent(region.update_async(|_| {}));
    sent(region.wait_for_change_async(1));
}

/// Whoever never waits so has no socket, and no thread.
#[test]
fn who_does_not_wait_pays_nothing() {
    on_both(|place, in_place, region| {
        futures_executor::block_on(async {
            region.update_async(|board| *board = [1; 8]).await.expect("nobody writes");
            region.write_async().await.expect("nobody writes").commit().expect("nobody waits");
            assert_eq!(region.wait_for_change_async(1).await, Ok(3));
        });
        assert_eq!(place.files().len(), files(in_place));
    });
}
