//! What the other processes of the tour do.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use tubepost::{Domain, Mailbox, Message, Receiver, Sender};

use crate::exit::Failure;
use crate::second::end_with_parent;

/// Names of the tour's mailboxes.
pub const PING: &str = "tour/ping";
pub const PONG: &str = "tour/pong";
pub const STREAM: &str = "tour/stream";
pub const MANY: &str = "tour/many-senders";
pub const DOOMED: &str = "tour/doomed";
pub const WORK: &str = "tour/work";

/// How many messages the doomed owner's mailbox holds: nobody ever collects them.
pub const DOOMED_CAPACITY: u64 = 4;

/// The length of the large message.
pub const LARGE: usize = 64 << 20;

/// Far longer than anything here takes. Whoever waits so long finds that something is broken.
pub const FAR_TOO_LONG: Duration = Duration::from_secs(10);

/// A message of the tour.
#[derive(Message, Clone, Copy, Debug)]
#[repr(C)]
pub struct Numbered {
    pub number: u64,
}

/// The number that ends a conversation.
pub const LAST: u64 = u64::MAX;

/// Which other process this is.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Part {
    /// Sends every message back.
    Echo,
    /// Sends as many numbered messages as it is told.
    Stream,
    /// One of two that send to the same mailbox: the one that is killed.
    Killed,
    /// The other one.
    Survivor,
    /// Owns a mailbox and never receives.
    Owner,
    /// Takes a message in hand and never accepts it.
    Worker,
}

/// How many messages the stream has, and how many the survivor sends.
pub const STREAMED: u64 = 1_000_000;
pub const SURVIVING: u64 = 300_000;

/// Plays it.
pub fn play(part: Part, directory: &Path, parent: u32) -> Result<(), Failure> {
    end_with_parent(parent)?;
    let domain = Domain::open(directory)?;
    match part {
        Part::Echo => echo(&domain),
        Part::Stream => pour(&open(&domain, STREAM)?, STREAMED),
        Part::Killed => pour(&open(&domain, MANY)?, LAST),
        Part::Survivor => pour(&open(&domain, MANY)?, SURVIVING),
        Part::Owner => {
            let _mailbox =
                Mailbox::<Numbered>::options().domain(&domain).bounded(DOOMED_CAPACITY).own(DOOMED)?;
            ready()?;
            std::thread::sleep(FAR_TOO_LONG);
            Err(Failure::failed("nobody killed the owner that was to be killed"))
        }
        Part::Worker => {
            let work = Receiver::<[u8]>::options().domain(&domain).open(WORK)?;
            let _in_hand = work.take_timeout(FAR_TOO_LONG)?;
            ready()?;
            std::thread::sleep(FAR_TOO_LONG);
            Err(Failure::failed("nobody killed the worker that was to be killed"))
        }
    }
}

fn open(domain: &Domain, name: &str) -> Result<Sender<Numbered>, Failure> {
    Ok(Sender::<Numbered>::options().domain(domain).open(name)?)
}

/// Tells the tour that it may go on.
fn ready() -> Result<(), Failure> {
    let mut out = std::io::stdout();
    out.write_all(b"ready\n")?;
    Ok(out.flush()?)
}

fn echo(domain: &Domain) -> Result<(), Failure> {
    let inbox = Mailbox::<Numbered>::options().domain(domain).own(PING)?;
    let out = open(domain, PONG)?;
    ready()?;
    let patience = Instant::now() + FAR_TOO_LONG;
    loop {
        let message = inbox.recv_deadline(patience)?;
        if message.number == LAST {
            return Ok(());
        }
        out.send(message)?;
    }
}

fn pour(out: &Sender<Numbered>, count: u64) -> Result<(), Failure> {
    for number in 0..count {
        out.send_timeout(Numbered { number }, FAR_TOO_LONG)?;
    }
    Ok(())
}
