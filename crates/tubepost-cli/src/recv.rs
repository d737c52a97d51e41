//! `tubepost recv`: owns a mailbox while it runs, and prints what arrives.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tubepost::{Domain, Envelope, Mailbox, Receiver, RecvError, RecvTimeoutError, TryRecvError};

use crate::cli::Recv;
use crate::ending::{Ending, Reason};
use crate::exit::Failure;
use crate::output;

/// How long the output may take to be written out once it is time to end.
const LAST_WORDS: Duration = Duration::from_millis(300);

pub fn run(domain: &Domain, args: &Recv) -> Result<(), Failure> {
    if !args.own {
        return Err(Failure::usage(
            "recv can only receive from a mailbox that it owns so far; give --own to create one \
             (mailboxes that the system owns are yet to come)",
        ));
    }
    let ending = Ending::install()?;
    let receiver = own(domain, args)?;
    let told = Arc::new(OnceLock::new());
    ending.watch(true, close_when_told(receiver.clone(), told.clone()));

    let mut out = output::buffered()?;
    let outcome = receive_all(&receiver, args, &mut out);
    let flushed = out.flush();
    let _ = receiver.close();
    if let Some(&reason) = told.get() {
        return Err(Failure::quiet(Reason::code(reason)));
    }
    outcome.map_err(|failure| failure.about(&args.name))?;
    Ok(flushed?)
}

fn own(domain: &Domain, args: &Recv) -> Result<Receiver<[u8]>, Failure> {
    let mut options = Mailbox::<[u8]>::options().domain(domain);
    if let Some(capacity) = args.capacity {
        options = options.bounded(capacity);
    }
    if let Some(bytes) = args.max_message {
        options = options.max_message(bytes);
    }
    if let Some(label) = &args.format {
        options = options.format(label);
    }
    Ok(options.own(&args.name)?)
}

/// Closing makes a receiver that waits return, and it ends the command. One that is stuck writing to a
/// pipe that nobody empties does not notice: then the process ends without it.
fn close_when_told(receiver: Receiver<[u8]>, told: Arc<OnceLock<Reason>>) -> impl FnOnce(Reason) + Send {
    move |reason| {
        let _ = told.set(reason);
        let _ = receiver.close();
        std::thread::spawn(move || {
            std::thread::sleep(LAST_WORDS);
            std::process::exit(reason.code().into());
        });
    }
}

fn receive_all(receiver: &Receiver<[u8]>, args: &Recv, out: &mut BufWriter<File>) -> Result<(), Failure> {
    let mut received = 0;
    while args.count != Some(received) {
        let envelope = match receiver.try_recv_envelope() {
            Ok(envelope) => envelope,
            Err(TryRecvError::Empty) => {
                // Nothing more for now: whoever reads our output should have all there was.
                out.flush()?;
                if args.no_wait && args.count.is_none() && received > 0 {
                    return Ok(());
                }
                wait(receiver, args)?
            }
            Err(e) => return Err(e.into()),
        };
        write(out, args, &envelope)?;
        received += 1;
    }
    Ok(())
}

fn wait(receiver: &Receiver<[u8]>, args: &Recv) -> Result<Envelope<[u8]>, Failure> {
    match args.timeout {
        _ if args.no_wait => Err(TryRecvError::Empty.into()),
        Some(timeout) => receiver.recv_envelope_timeout(timeout).map_err(RecvTimeoutError::into),
        None => receiver.recv_envelope().map_err(RecvError::into),
    }
}

/// A message as a line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    sender: From<'a>,
    redelivered: u32,
    #[serde(flatten)]
    content: Content<'a>,
}

#[derive(Serialize)]
struct From<'a> {
    pid: u32,
    name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Content<'a> {
    Text(&'a str),
    Base64(String),
}

fn write(out: &mut impl Write, args: &Recv, envelope: &Envelope<[u8]>) -> Result<(), Failure> {
    let message = &envelope.message;
    if args.json {
        let line = Line {
            seq: envelope.seq,
            sender: From { pid: envelope.sender.pid, name: &envelope.sender.name },
            redelivered: envelope.redelivered,
            content: match std::str::from_utf8(message) {
                Ok(text) => Content::Text(text),
                Err(_) => Content::Base64(STANDARD.encode(message)),
            },
        };
        let line = serde_json::to_vec(&line).map_err(Failure::failed)?;
        out.write_all(&line)?;
        out.write_all(b"\n")?;
        return Ok(());
    }
    out.write_all(message)?;
    match (args.raw, args.null) {
        (true, _) => {}
        (_, true) => out.write_all(b"\0")?,
        _ => out.write_all(b"\n")?,
    }
    Ok(())
}
