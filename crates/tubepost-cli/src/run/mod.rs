//! `tubepost run`: a command for each message of a mailbox that the system owns. So a mailbox is a work queue for
//! shell scripts, with as many workers as anybody starts.
//!
//! Each message stays in hand while its command runs. It is consumed when the command exits with 0; otherwise,
//! and whatever ends `run` before that, it goes back to the queue.
//!
//! Told to end, `run` takes no more messages and passes the word on to its commands.

mod progress;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tubepost::{Delivery, Domain, Error, Mailbox, Receiver, RecvTimeoutError, TryRecvError};

use crate::cli::Run;
use crate::ending::{Ending, Reason};
use crate::exit::{Failure, complain};
use crate::job::{Jobs, Outcome};
use crate::label;
use progress::Progress;

/// With --until-empty: how often it is looked whether others have finished what they have in hand.
const LOOK: Duration = Duration::from_millis(50);

/// What the workers know of each other.
struct Work {
    receiver: Receiver<[u8]>,
    jobs: Jobs,
    /// Why it is time to end.
    told: OnceLock<Reason>,
    counts: Mutex<Counts>,
    /// A worker has ended.
    ended: Condvar,
}

#[derive(Default)]
struct Counts {
    workers: u32,
    /// Messages whose commands did well, and those that went back.
    done: u64,
    back: u64,
    /// What ends all of it.
    failure: Option<Failure>,
}

impl Work {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.told.get().is_some() || self.counts().failure.is_some()
    }
}

pub fn run(domain: &Domain, args: &Run) -> Result<(), Failure> {
    let ending = Ending::install()?;
    let work = Arc::new(Work {
        receiver: open(domain, args)?,
        jobs: Jobs::default(),
        told: OnceLock::new(),
        counts: Mutex::default(),
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
    wait_for_the_end(&work);
    if let Some(&reason) = work.told.get() {
        return Err(Failure::quiet(reason.code()));
    }
    let failure = work.counts().failure.take();
    failure.map_or(Ok(()), |failure| Err(failure.about(&args.name)))
}

fn open(domain: &Domain, args: &Run) -> Result<Receiver<[u8]>, Failure> {
    let label = label::of(domain, &args.name, None)?;
    let mut options = Receiver::<[u8]>::options().domain(domain).format(&label);
    if let Some(most) = args.max_redeliveries {
        options = options.max_redeliveries(most);
    }
    if let Some(dead) = &args.dead_letter {
        provide(domain, &args.name, dead, &label)?;
        options = options.dead_letter(dead);
    }
    if let Some(longest) = args.hold_max {
        options = options.hold_max(longest);
    }
    Ok(options.open(&args.name)?)
}

/// Sees to it that there is a mailbox for dead letters, which can carry all that the other one carries.
fn provide(domain: &Domain, name: &str, dead: &str, label: &str) -> Result<(), Failure> {
    let longest = domain.stat(name)?.max_message;
    let options = Mailbox::<[u8]>::options().domain(domain).format(label).max_message(longest).unbounded();
    match options.create(dead) {
        // What is wrong with one that is there already, opening it says.
        Ok(_) | Err(Error::Exists { .. } | Error::Owned { .. }) => Ok(()),
        Err(error) => Err(Failure::from(error).about(dead)),
    }
}

/// Until all workers have ended; tells meanwhile how it goes.
fn wait_for_the_end(work: &Work) {
    let mut progress = Progress::new();
    let mut counts = work.counts();
    while counts.workers > 0 {
        let waited = work.ended.wait_timeout(counts, progress::EVERY);
        counts = waited.unwrap_or_else(PoisonError::into_inner).0;
        let (done, back) = (counts.done, counts.back);
        drop(counts);
        progress.tell(done, back, || work.receiver.len() as u64);
        counts = work.counts();
    }
    progress.clear();
}

/// One worker: a message, its command, the next message.
fn work_on(work: &Work, args: &Run) -> Result<(), Failure> {
    while !work.is_over() {
        let Some(message) = next(work, args)? else { return Ok(()) };
        let Some(outcome) = work.jobs.run(args.command(), &message)? else { return Ok(()) };
        let well = settle(&args.name, message, outcome);
        let mut counts = work.counts();
        *(if well { &mut counts.done } else { &mut counts.back }) += 1;
    }
    Ok(())
}

/// Consumes a message, or lets it go back. Says whether it is done.
fn settle(name: &str, message: Delivery<[u8]>, outcome: Outcome) -> bool {
    let number = message.seq();
    match outcome {
        Err(why) => {
            drop(message);
            complain(format_args!("{name}: message {number} goes back: {why}"));
            false
        }
        Ok(()) => {
            let accepted = message.accept();
            accepted.inspect_err(|error| complain(format_args!("{name}: message {number}: {error}"))).is_ok()
        }
    }
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
                Err(error) => return over(error.into()),
            }
        } else {
            work.receiver.take().map_err(RecvTimeoutError::from)
        };
        match waited {
            Ok(message) => return Ok(Some(message)),
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
