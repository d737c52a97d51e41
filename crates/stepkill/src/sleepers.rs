//! Who sleeps until an operation is done has to be woken by it, and not by its own patience: all sleepers look again after
//! a second, so that a wake-up that was forgotten shows in nothing but delay.
//!
//! A thread of the survivor falls asleep; the operation is done; then that thread must not be in that sleep any
//! more. No clock is asked whether it was woken: the kernel counts how often a thread went to sleep, and says whether it
//! sleeps. Only where all of it took so long that the thread may have woken by itself, it is tried again.

use std::fs::read_to_string;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use tubepost::{Doorbell, Error};

use crate::campaign::{Totals, violated};
use crate::judge::{Judge, PATIENCE};
use crate::letters::{self, JUDGE, Number};
use crate::mail::{Inbox, Out};
pub use crate::operations::awaited::ALL;
use crate::scene::{Scene, Watchdog};
use crate::subject::Subject;
use crate::world::Operation;

/// Nobody sleeps longer without looking again.
const SLICE: Duration = Duration::from_secs(1);
/// So often it may take longer than that.
const TRIES: u32 = 20;
/// What the survivor says then.
const TOO_LATE: &str = "it may have woken by itself";

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    Message,
    Room,
    Collection,
    End,
    /// The same as the first two, in an event loop.
    Door,
    DoorForRoom,
}

/// Tries it until that says something.
pub fn try_one(operation: Operation, totals: &Totals, dog: &Watchdog) {
    let begin = Instant::now();
    for _ in 0..TRIES {
        totals.sleeps.fetch_add(1, Relaxed);
        match one(operation, dog) {
            Ok(()) => break,
            Err(why) if why.contains(TOO_LATE) => {}
            Err(why) => {
                violated(totals, operation.name, "asleep", &why);
                break;
            }
        }
    }
    eprintln!("{:<36} was slept for {:>34.1} s", operation.name, begin.elapsed().as_secs_f64());
}

fn one(operation: Operation, dog: &Watchdog) -> Result<(), String> {
    let subject = Subject { operation, first: None };
    let mut scene = Scene::new(&subject, 0, dog)?;
    let mut tracee = scene.walker()?;
    let found = ALL.iter().find(|(other, _)| other.name == operation.name);
    let (_, what) = found.ok_or("nobody sleeps for that")?;
    scene.ask(&format!("wait: {what:?}"))?;
    scene.run_to_the_mark(&mut tracee)?;
    scene.ask("woken")?;
    let came = scene.go_on(&mut tracee, true)?;
    scene.ask(&format!("went on: {came}"))
}

/// A thread that sleeps: in which sleep, and since when at the earliest.
pub struct Asleep {
    thread: i32,
    sleeps: u64,
    since: Instant,
    end: JoinHandle<Awake>,
}

/// The handles it had, and what it came back with.
struct Awake {
    inbox: Option<Inbox>,
    out: Option<Out>,
    with: Result<With, String>,
}

enum With {
    Message(Vec<u8>, u32),
    Sent(Number),
    End,
}

impl Judge {
    /// Has a thread wait for this, and comes back when it sleeps.
    pub fn fall_asleep(&mut self, what: &str) {
        let (tell, hear) = channel();
        let (inbox, out) = (self.inbox.take(), self.out.take());
        let number = (JUDGE, self.ledger.next());
        let letter = letters::write(number, self.world.length);
        let what = what.to_owned();
        let since = Instant::now();
        let end = std::thread::spawn(move || {
            let _ = tell.send(rustix::thread::gettid().as_raw_pid());
            let with = match (&*what, &inbox, &out) {
                ("Message", Some(inbox), _) => {
                    let got = inbox.receive(PATIENCE);
                    got.map(|(it, before)| With::Message(it, before)).map_err(|error| error.to_string())
                }
                ("Room", _, Some(out)) => {
                    let sent = out.plain().send_timeout(&letter, PATIENCE);
                    sent.map(|()| With::Sent(number)).map_err(|error| error.to_string())
                }
                ("Collection", _, Some(out)) => {
                    let sent = out.plain().send_collected_timeout(&letter, PATIENCE);
                    sent.map(|()| With::Sent(number)).map_err(|error| error.to_string())
                }
                ("Door", Some(inbox), _) => at_the_door(inbox.plain().doorbell()).and_then(|()| {
                    let got = inbox.plain().try_recv_envelope();
                    got.map(|it| With::Message(it.message, it.redelivered)).map_err(|error| error.to_string())
                }),
                ("DoorForRoom", _, Some(out)) => at_the_door(out.plain().doorbell()).and_then(|()| {
                    let sent = out.plain().try_send(&letter);
                    sent.map(|()| With::Sent(number)).map_err(|error| error.to_string())
                }),
                ("End", _, Some(out)) => match out.closed_timeout(PATIENCE) {
                    Ok(Some(_)) => Ok(With::End),
                    other => Err(format!("{other:?}")),
                },
                _ => Err(format!("there is nothing to wait for {what} with")),
            };
            Awake { inbox, out, with }
        });
        let thread = hear.recv().expect("it says so first");
        let patience = Instant::now() + PATIENCE;
        while !self.sleeps_on_the_mailbox(thread) {
            assert!(Instant::now() < patience && !end.is_finished(), "it does not fall asleep");
            std::thread::yield_now();
        }
        self.asleep = Some(Asleep { thread, sleeps: sleeps(thread), since, end });
    }

    /// Whether the kernel has it wait on a word of the mailbox.
    pub fn sleeps_on_the_mailbox(&self, thread: i32) -> bool {
        let Ok(call) = read_to_string(format!("/proc/self/task/{thread}/syscall")) else { return false };
        let hex = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
        let polls = [libc::SYS_poll, libc::SYS_ppoll].map(|number| number.to_string());
        if call.split(' ').next().is_some_and(|number| polls.contains(&number.into())) {
            return true; // at the door
        }
        let mut words = call.split(' ');
        let is_futex = words.next() == Some(&libc::SYS_futex.to_string());
        let Some(word) = words.next().and_then(hex).filter(|_| is_futex) else { return false };
        // By its number: who made a mailbox has mapped it before it had a name.
        let inode = std::fs::metadata(self.file()).expect("it exists").ino().to_string();
        let maps = read_to_string("/proc/self/maps").expect("proc");
        let ours = maps.lines().filter(|line| line.split_whitespace().nth(4) == Some(&*inode));
        let mut ranges = ours.filter_map(|line| line.split(' ').next()?.split_once('-'));
        ranges.any(|(from, to)| hex(from) <= Some(word) && Some(word) < hex(to))
    }

    /// The operation is done: it is not in that sleep any more.
    pub fn was_woken(&mut self) {
        let Asleep { thread, sleeps: before, since, end } = self.asleep.take().expect("somebody sleeps");
        let state = read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap_or_default();
        let asleep = state.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'));
        assert!(!asleep || sleeps(thread) != before, "nobody woke who waited for it");
        assert!(since.elapsed() < SLICE, "{TOO_LATE}");
        let awake = end.join().expect("nobody panics in there");
        (self.inbox, self.out) = (awake.inbox, awake.out);
        match awake.with {
            Ok(With::Message(message, redelivered)) => self.ledger.got(&message, redelivered),
            Ok(With::Sent(number)) => self.ledger.sent(number),
            Ok(With::End) => {}
            Err(why) => panic!("what it waited for is not there: {why}"),
        }
    }
}

/// Sleeps until the door is rung.
fn at_the_door(bell: Result<Doorbell, Error>) -> Result<(), String> {
    let bell = bell.map_err(|error| error.to_string())?;
    let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    match rustix::event::poll(&mut [PollFd::new(&bell, PollFlags::IN)], Some(&patience)) {
        Ok(1) => Ok(()),
        other => Err(format!("poll: {other:?}")),
    }
}

/// How often a thread went to sleep so far.
fn sleeps(thread: i32) -> u64 {
    let status = read_to_string(format!("/proc/self/task/{thread}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(u64::MAX)
}
