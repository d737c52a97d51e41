//! `tubepost send`: each argument, or each piece of standard input, is a message.

use std::io::{BufRead, Read};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use tubepost::{Domain, Sender};

use crate::cli::Send;
use crate::ending::Ending;
use crate::exit::Failure;

/// How long a standard input that ends together with the mailbox's owner has to say so.
const GRACE: Duration = Duration::from_millis(200);

/// What of standard input is collected for one message before it is called too long.
const INPUT_MAX: u64 = 64 << 20;

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
    let label = match &args.format {
        Some(label) => label.clone(),
        None => {
            let stat = domain.stat(&args.name)?;
            // A fixed type has no label to take over; opening it says what it is.
            if stat.variable { stat.format } else { String::new() }
        }
    };
    Ok(Sender::<[u8]>::options().domain(domain).format(label).open(&args.name)?)
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
    let mut input = std::io::stdin().lock();
    let mut message = Vec::new();
    loop {
        message.clear();
        let bounded = &mut input.by_ref().take(INPUT_MAX);
        let read = match (args.whole, args.null) {
            (true, _) => bounded.read_to_end(&mut message),
            (_, true) => bounded.read_until(0, &mut message),
            _ => bounded.read_until(b'\n', &mut message),
        };
        let read = read.map_err(|e| Failure::failed(format!("standard input: {e}")))?;
        if args.whole {
            return send_one(sender, args, &message);
        }
        if read == 0 {
            return Ok(());
        }
        if message.last() == Some(if args.null { &0 } else { &b'\n' }) {
            message.pop();
        }
        send_one(sender, args, &message)?;
        *sent += 1;
    }
}

fn send_one(sender: &Sender<[u8]>, args: &Send, message: &[u8]) -> Result<(), Failure> {
    match args.timeout {
        _ if args.no_wait => sender.try_send(message)?,
        Some(timeout) => sender.send_timeout(message, timeout)?,
        None => sender.send(message)?,
    }
    Ok(())
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
