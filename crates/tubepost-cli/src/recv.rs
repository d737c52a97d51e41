//! `tubepost recv`: prints what arrives, in a mailbox that it owns while it runs, or as one of any number
//! of receivers of one that the system owns.
//!
//! With `--ack` each message stays in hand until it was written and flushed. Whatever ends the command
//! before that (a signal, a pipe that closed, SIGKILL) the message goes back to the queue.

use std::io::{BufWriter, Write};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use tubepost::{Cursor, Domain, Error, Mailbox, Receiver, RecvTimeoutError, TryRecvError};

use crate::cli::Recv;
use crate::create;
use crate::ending::{Ending, Reason};
use crate::exit::{Failure, complain};
use crate::label;
use crate::letter::Letter;
use crate::output::{self, Patient};

/// How long the output may take to be written out once it is time to end.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// What the thread that receives and the one that heeds signals know of each other.
#[derive(Default)]
struct State {
    /// Why it is time to end.
    told: OnceLock<Reason>,
    /// The message that is being written, with `--ack`.
    in_hand: Mutex<Option<Letter>>,
}

impl State {
    fn in_hand(&self) -> MutexGuard<'_, Option<Letter>> {
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub fn run(domain: &Domain, args: &Recv) -> Result<(), Failure> {
    let ending = Ending::install()?;
    let receiver = Arc::new(match &args.cursor {
        Some(cursor) => Source::Cursor(read(domain, args, cursor)?),
        None if args.own => Source::Queue(own(domain, args)?),
        None => Source::Queue(open(domain, args)?),
    });
    let state = Arc::new(State::default());
    ending.watch(true, close_when_told(Arc::downgrade(&receiver), state.clone()));

    let mut out = output::buffered()?;
    let outcome = receive_all(&receiver, args, &state, &mut out);
    let flushed = out.flush();
    receiver.close();
    drop(receiver);
    if let Some(&reason) = state.told.get() {
        return Err(Failure::quiet(Reason::code(reason)));
    }
    outcome.map_err(|failure| failure.about(&args.name))?;
    Ok(flushed?)
}

fn own(domain: &Domain, args: &Recv) -> Result<Receiver<[u8]>, Failure> {
    let mut options = Mailbox::<[u8]>::options().domain(domain);
    if let Some(strategy) = args.strategy {
        options = options.strategy(tubepost::Strategy::from(strategy));
    }
    if let Some(capacity) = args.capacity {
        options = capacity.of(options);
    }
    if let Some(bytes) = args.max_message {
        options = options.max_message(bytes);
    }
    if let Some(bytes) = args.ceiling {
        if args.strategy.map(tubepost::Strategy::from) == Some(tubepost::Strategy::Kernel) {
            let why = "what waits there the kernel holds, as much as --capacity and --max-message say";
            return Err(Failure::usage(format!("--ceiling is not for the kernel strategy: {why}")));
        }
        options = options.ceiling(bytes);
    }
    if let Some(label) = &args.format {
        options = options.format(label);
    }
    if let Some(mode) = args.mode {
        options = options.mode(mode);
    }
    if let Some(text) = &args.group {
        options = options.group(create::group(text)?);
    }
    options.own(&args.name).map_err(|error| {
        let of_system = matches!(error, Error::Exists { .. });
        let failure = create::not_made(error, args.group.as_deref());
        if of_system { failure.noting("without --own, recv receives from it") } else { failure }
    })
}

fn open(domain: &Domain, args: &Recv) -> Result<Receiver<[u8]>, Failure> {
    let label = label::of(domain, &args.name, args.format.as_deref())?;
    create::tell_recovered(domain, &args.name);
    Ok(Receiver::<[u8]>::options().domain(domain).format(label).open(&args.name)?)
}

/// Closing makes a receiver that waits return, and it ends the command. A message in hand gets a moment to
/// be written or given back before, so that a mailbox of our own does not end without counting it. A
/// receiver that is stuck writing to a pipe that nobody empties does not notice any of this: then the
/// message goes back, and the process ends without it.
///
/// The receiver is not kept alive by this: it leaves the mailbox in good order when the command is done.
fn close_when_told(receiver: Weak<Source>, state: Arc<State>) -> impl FnOnce(Reason) + Send {
    move |reason| {
        let _ = state.told.set(reason);
        std::thread::spawn(move || {
            std::thread::sleep(LAST_WORDS);
            std::process::exit(reason.code().into());
        });
        let told = Instant::now();
        while state.in_hand().is_some() && told.elapsed() < LAST_WORDS / 2 {
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(state.in_hand().take()); // it was not written: another one gets it
        if let Some(receiver) = receiver.upgrade() {
            receiver.close();
        }
    }
}

fn receive_all(
    receiver: &Source,
    args: &Recv,
    state: &State,
    out: &mut BufWriter<Patient>,
) -> Result<(), Failure> {
    let mut received = 0;
    while args.count != Some(received) && state.told.get().is_none() {
        let letter = match at_once(receiver, args) {
            Ok(letter) => letter,
            Err(TryRecvError::Empty) => {
                // Nothing more for now: whoever reads our output should have all there was.
                out.flush()?;
                if args.no_wait && args.count.is_none() && received > 0 {
                    return Ok(());
                }
                match wait(receiver, args)? {
                    Some(letter) => letter,
                    None => continue,
                }
            }
            Err(TryRecvError::Failed(damage @ Error::DamagedMessages { .. })) => {
                complain(damage);
                continue;
            }
            Err(e) => return Err(e.into()),
        };
        if args.ack {
            pass_on_in_hand(letter, args, state, out)?;
        } else {
            letter.write(out, args)?;
        }
        received += 1;
    }
    Ok(())
}

/// Writes it out and flushes. It counts as received only then: if that fails, or a signal comes first and it
/// is stuck, it goes back. Meanwhile it lies where both threads reach it.
fn pass_on_in_hand(
    letter: Letter,
    args: &Recv,
    state: &State,
    out: &mut BufWriter<Patient>,
) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    letter.write(&mut bytes, args)?;
    *state.in_hand() = Some(letter);
    let written = out.write_all(&bytes).and_then(|()| out.flush());
    let letter = state.in_hand().take();
    written?; // the letter is dropped: it goes back
    letter.map_or(Ok(()), Letter::accept)
}

/// Opens an independent reader.
fn read(domain: &Domain, args: &Recv, cursor: &str) -> Result<Cursor<[u8]>, Failure> {
    let label = label::of(domain, &args.name, args.format.as_deref())?;
    create::tell_recovered(domain, &args.name);
    let mut options = Cursor::<[u8]>::options().domain(domain).format(label);
    if let Some(from) = args.from {
        options = options.from(from);
    }
    Ok(options.open(&args.name, cursor)?)
}

/// Where messages come from.
enum Source {
    Queue(Receiver<[u8]>),
    Cursor(Cursor<[u8]>),
}

impl Source {
    fn close(&self) {
        match self {
            Self::Queue(receiver) => drop(receiver.close()),
            Self::Cursor(cursor) => cursor.close(),
        }
    }
}

fn at_once(source: &Source, args: &Recv) -> Result<Letter, TryRecvError> {
    match source {
        Source::Queue(receiver) if args.ack => receiver.try_take().map(Letter::InHand),
        Source::Queue(receiver) => receiver.try_recv_envelope().map(Letter::Received),
        Source::Cursor(cursor) => cursor.try_recv_envelope().map(Letter::Received),
    }
}

/// Nothing: there is damage, of which it was told.
fn wait(source: &Source, args: &Recv) -> Result<Option<Letter>, Failure> {
    if args.no_wait {
        return Err(TryRecvError::Empty.into());
    }
    let done = match (source, args.timeout, args.ack) {
        (Source::Queue(receiver), Some(time), true) => receiver.take_timeout(time).map(Letter::InHand),
        (Source::Queue(receiver), Some(time), _) => {
            receiver.recv_envelope_timeout(time).map(Letter::Received)
        }
        (Source::Queue(receiver), None, true) => {
            receiver.take().map(Letter::InHand).map_err(RecvTimeoutError::from)
        }
        (Source::Queue(receiver), None, _) => {
            receiver.recv_envelope().map(Letter::Received).map_err(RecvTimeoutError::from)
        }
        (Source::Cursor(cursor), Some(time), _) => cursor.recv_envelope_timeout(time).map(Letter::Received),
        (Source::Cursor(cursor), None, _) => {
            cursor.recv_envelope().map(Letter::Received).map_err(RecvTimeoutError::from)
        }
    };
    match done {
        Err(RecvTimeoutError::Failed(damage @ Error::DamagedMessages { .. })) => {
            complain(damage);
            Ok(None)
        }
        done => Ok(Some(done?)),
    }
}
