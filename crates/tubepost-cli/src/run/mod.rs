//! `tubepost run`: a command for each message of a mailbox that the system owns. So a mailbox is a work queue for
//! shell scripts, with as many workers as anybody starts.
//!
//! Each message stays in hand while its command runs. It is consumed when the command exits with 0; otherwise,
//! and whatever ends `run` before that, it goes back to the queue, or is given up if that was said.
//!
//! Told to end, `run` takes no more messages and passes the word on to its commands.

mod letters;
mod progress;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use tubepost::{Delivery, Domain, Error, Receiver, RecvTimeoutError, TryRecvError};

use crate::cli::Run;
use crate::ending::{Ending, Reason};
use crate::exit::Failure;
use crate::job::{self, Jobs, Outcome};
use crate::label;
use letters::Letters;
use progress::{Progress, Tally};

/// With --until-empty: how often it is looked whether others have finished what they have in hand.
const LOOK: Duration = Duration::from_millis(50);

/// What the workers know of each other.
struct Work {
    receiver: Receiver<[u8]>,
    jobs: Jobs,
    /// Why it is time to end.
    told: OnceLock<Reason>,
    counts: Mutex<Counts>,
    progress: Mutex<Progress>,
    /// A worker has ended.
    ended: Condvar,
}

#[derive(Default)]
struct Counts {
    workers: u32,
    /// Of those, how many have nothing to do.
    idle: u32,
    tally: Tally,
    /// What ends all of it.
    failure: Option<Failure>,
}

impl Work {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, text: impl std::fmt::Display) {
        self.progress().say(text);
    }

    fn is_over(&self) -> bool {
        self.told.get().is_some() || self.counts().failure.is_some()
    }
}

pub fn run(domain: &Domain, args: &Run) -> Result<(), Failure> {
    let ending = Ending::install()?;
    job::check(args.command())?;
    let (receiver, mut letters) = open(domain, args)?;
    let work = Arc::new(Work {
        receiver,
        jobs: Jobs::default(),
        told: OnceLock::new(),
        counts: Mutex::default(),
        progress: Mutex::new(Progress::new()),
        ended: Condvar::new(),
    });
    ending.watch(false, end_when_told(Arc::downgrade(&work)));
    let args = Arc::new(args.clone());
    for _ in 0..args.jobs.get() {
        work.counts().workers += 1;
        let (work, args) = (Arc::clone(&work), Arc::clone(&args));
        std::thread::spawn(move || {
            let outcome = work_on(&work, &args);
            let mut counts = work.counts();
            counts.workers -= 1;
            if let Err(failure) = outcome {
                counts.failure.get_or_insert(failure);
                let _ = work.receiver.close(); // so that others who wait come back
            }
            work.ended.notify_all();
        });
    }
    wait_for_the_end(&work, letters.as_mut());
    if let Some(&reason) = work.told.get() {
        return Err(Failure::quiet(reason.code()));
    }
    let failure = work.counts().failure.take();
    failure.map_or(Ok(()), |failure| Err(failure.about(&args.name)))
}

fn open(domain: &Domain, args: &Run) -> Result<(Receiver<[u8]>, Option<Letters>), Failure> {
    let label = label::of(domain, &args.name, None)?;
    let mut options = Receiver::<[u8]>::options().domain(domain).format(&label);
    if let Some(most) = args.max_redeliveries {
        options = options.max_redeliveries(most);
    }
    let letters = Letters::provide(domain, args, &label)?;
    if let Some(dead) = &args.dead_letter {
        options = options.dead_letter(dead);
    }
    if let Some(longest) = args.hold_max {
        options = options.hold_max(longest);
    }
    Ok((options.open(&args.name)?, letters))
}

/// Until all workers have ended; tells meanwhile how it goes.
fn wait_for_the_end(work: &Work, mut letters: Option<&mut Letters>) {
    let mut counts = work.counts();
    while counts.workers > 0 {
        let waited = work.ended.wait_timeout(counts, progress::EVERY);
        counts = waited.unwrap_or_else(PoisonError::into_inner).0;
        let (tally, idle) = (counts.tally, counts.idle > 0);
        drop(counts);
        work.progress().tell(tally, || work.receiver.len() as u64);
        let taken = tally.done + tally.back + tally.given_up;
        if let Some(letters) = &mut letters
            && let Some(trouble) = letters.look(idle, taken, || work.receiver.stat().ok())
        {
            work.say(trouble);
        }
        counts = work.counts();
    }
    work.progress().clear();
}

/// One worker: a message, its command, the next message.
fn work_on(work: &Work, args: &Run) -> Result<(), Failure> {
    while !work.is_over() {
        work.counts().idle += 1;
        let next = next(work, args);
        work.counts().idle -= 1;
        let Some(message) = next? else { return Ok(()) };
        let begin = Instant::now();
        let Some(outcome) = work.jobs.run(args.command(), &message)? else { return Ok(()) };
        let late = args.hold_max.is_some_and(|longest| begin.elapsed() > longest);
        settle(work, args, message, outcome, late);
    }
    Ok(())
}

/// Consumes a message, or lets it go. `late`: it may be another's by now.
fn settle(work: &Work, args: &Run, message: Delivery<[u8]>, outcome: Outcome, late: bool) {
    let (name, number, times) = (&args.name, message.seq(), u64::from(message.redelivered()) + 1);
    let last = args.max_redeliveries.is_some_and(|most| times > u64::from(most));
    let tally = match outcome {
        Ok(()) => match message.accept() {
            Ok(()) => Tally { done: 1, ..Tally::default() },
            Err(error) => {
                work.say(format_args!("{name}: message {number}: {error}"));
                Tally { back: 1, ..Tally::default() }
            }
        },
        Err(why) => {
            drop(message);
            let fate = match (&args.dead_letter, last) {
                _ if late => "goes back, if no other worker has it already".into(),
                (_, false) => "goes back".into(),
                (Some(dead), true) => format!("was tried {times} times, and is a dead letter for {dead:?}"),
                (None, true) => format!("was tried {times} times, and is discarded"),
            };
            work.say(format_args!("{name}: message {number} {fate}: {why}"));
            Tally { back: (!last).into(), given_up: last.into(), ..Tally::default() }
        }
    };
    let mut counts = work.counts();
    counts.tally.done += tally.done;
    counts.tally.back += tally.back;
    counts.tally.given_up += tally.given_up;
}

/// The next message; nothing if it is time to end.
fn next(work: &Work, args: &Run) -> Result<Option<Delivery<[u8]>>, Failure> {
    let over = |failure: Failure| if work.is_over() { Ok(None) } else { Err(failure) };
    loop {
        let waited = if args.until_empty {
            match work.receiver.try_take() {
                Err(TryRecvError::Empty) if is_empty(&work.receiver)? => return Ok(None),
                Err(TryRecvError::Empty) => work.receiver.take_timeout(LOOK),
                Ok(message) => Ok(message),
                Err(TryRecvError::Failed(damage @ Error::DamagedMessages { .. })) => {
                    work.say(format_args!("{}: {damage}", args.name));
                    continue;
                }
                Err(error) => return over(error.into()),
            }
        } else {
            work.receiver.take().map_err(RecvTimeoutError::from)
        };
        match waited {
            Ok(message) => return Ok(Some(message)),
            Err(RecvTimeoutError::Failed(damage @ Error::DamagedMessages { .. })) => {
                work.say(format_args!("{}: {damage}", args.name));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(error) => return over(error.into()),
        }
    }
}

/// Whether nothing is queued, and nothing in anybody's hand that could come back.
fn is_empty(receiver: &Receiver<[u8]>) -> Result<bool, Failure> {
    let nothing = || -> Result<bool, Failure> {
        let stat = receiver.stat()?;
        Ok(stat.depth == 0 && stat.held == 0)
    };
    // Twice: what went from a hand back to the queue while it was counted may have been in neither.
    Ok(nothing()? && receiver.is_empty() && nothing()?)
}

/// Told to end: no more messages, and the commands are told too.
fn end_when_told(work: Weak<Work>) -> impl FnOnce(Reason) + Send {
    move |reason| {
        let Some(work) = work.upgrade() else { return };
        let _ = work.told.set(reason);
        let _ = work.receiver.close();
        work.jobs.end();
    }
}
