//! `tubepost send`: each argument, or each piece of standard input, is a message.

use std::io::{BufRead, Read};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use tubepost::{Domain, Error, SendTimeoutError, Sender, TrySendError};

use crate::cli::Send;
use crate::ending::Ending;
use crate::exit::Failure;
use crate::label;
use crate::output;

/// How long a standard input that ends together with the mailbox's owner has to say so.
const GRACE: Duration = Duration::from_millis(200);

pub fn run(domain: &Domain, args: &Send) -> Result<(), Failure> {
    let ending = Ending::install()?;
    let sender = open(domain, args)?;
    // A sender leaves nothing behind: whatever moment it ends at, the others put its row away.
    ending.watch(false, |reason| std::process::exit(reason.code().into()));
    let mut sent = 0u64;
    let outcome = send_all(&sender, args, &mut sent);
    outcome.map_err(|failure| {
        let failure = failure.about(&args.name);
        if sent > 0 { failure.noting(format_args!("messages sent before: {sent}")) } else { failure }
    })
}

fn open(domain: &Domain, args: &Send) -> Result<Sender<[u8]>, Failure> {
    let label = label::of_messages(domain, &args.name, args.format.as_deref())?;
    let options = Sender::<[u8]>::options().domain(domain).format(label);
    let deadline = args.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        match options.open(&args.name) {
            Err(Error::Crowded { .. }) if deadline.is_some_and(|end| Instant::now() < end) => {}
            done => return Ok(done?),
        }
    }
}

fn send_all(sender: &Sender<[u8]>, args: &Send, sent: &mut u64) -> Result<(), Failure> {
    if !args.text.is_empty() {
        for text in &args.text {
            send_one(sender, args, text.as_bytes())?;
            *sent += 1;
        }
        return Ok(());
    }
    end_with(sender.clone(), &args.name);
    let longest = sender.stat()?.max_message;
    let mut input = output::input()?;
    let mut message = Vec::new();
    loop {
        message.clear();
        let more = collect(&mut input, args, longest, &mut message)?;
        if more || args.whole {
            send_one(sender, args, &message)?;
            *sent += 1;
        }
        if !more || args.whole {
            return Ok(());
        }
    }
}

/// The next message of standard input; `false` if there is none. Of one that is too long no more is read
/// than it takes to know that.
fn collect(
    input: &mut impl BufRead,
    args: &Send,
    longest: u64,
    message: &mut Vec<u8>,
) -> Result<bool, Failure> {
    let end = if args.null { 0 } else { b'\n' };
    let bounded = &mut input.take(longest.saturating_add(1));
    let read = if args.whole { bounded.read_to_end(message) } else { bounded.read_until(end, message) };
    let read = read.map_err(|e| Failure::failed(format!("standard input: {e}")))?;
    if !args.whole && message.last() == Some(&end) {
        message.pop();
    } else if read as u64 > longest {
        return Err(Failure::too_long(format_args!("a message of {read} or more bytes"), longest)
            .noting("divide it, or use a mailbox with a larger --max-message"));
    }
    Ok(read > 0)
}

fn send_one(sender: &Sender<[u8]>, args: &Send, message: &[u8]) -> Result<(), Failure> {
    match args.timeout {
        Some(timeout) if args.collected => sender.send_collected_timeout(message, timeout)?,
        None if args.collected => sender.send_collected(message)?,
        _ if args.no_wait => sender.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) if meets(sender) => Failure::nobody_receives(false),
            error => error.into(),
        })?,
        Some(timeout) => sender.send_timeout(message, timeout).map_err(|error| match error {
            SendTimeoutError::Timeout(_) if meets(sender) => Failure::nobody_receives(true),
            error => error.into(),
        })?,
        None => sender.send(message)?,
    }
    Ok(())
}

/// Whether nothing waits there.
fn meets(sender: &Sender<[u8]>) -> bool {
    sender.capacity() == Some(0)
}

/// Ends the command when the mailbox is closed, even if nothing comes on standard input any more.
///
/// The owner often ends because it has got everything there was, at the same moment as the input: such an
/// input gets a moment to say so, and then all is well.
fn end_with(sender: Sender<[u8]>, name: &str) {
    let name = name.to_string();
    std::thread::spawn(move || {
        // If it cannot be waited for, the next message will tell.
        let Ok(closed) = sender.closed() else { return };
        std::thread::sleep(GRACE);
        let failure = Failure::from(closed).about(name);
        failure.report();
        std::process::exit(failure.code().into());
    });
}
