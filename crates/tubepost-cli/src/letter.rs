//! A message on its way from the mailbox to standard output, and what it looks like there.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tubepost::{Delivery, Envelope, Peer};

use crate::cli::Recv;
use crate::exit::Failure;

/// A message that was received, or is in hand until it is written.
pub enum Letter {
    Received(Envelope<[u8]>),
    InHand(Delivery<[u8]>),
}

impl Letter {
    fn message(&self) -> &[u8] {
        match self {
            Self::Received(envelope) => &envelope.message,
            Self::InHand(delivery) => delivery,
        }
    }

    fn seq(&self) -> u64 {
        match self {
            Self::Received(envelope) => envelope.seq,
            Self::InHand(delivery) => delivery.seq(),
        }
    }

    fn sender(&self) -> &Peer {
        match self {
            Self::Received(envelope) => &envelope.sender,
            Self::InHand(delivery) => delivery.sender(),
        }
    }

    fn redelivered(&self) -> u32 {
        match self {
            Self::Received(envelope) => envelope.redelivered,
            Self::InHand(delivery) => delivery.redelivered(),
        }
    }

    /// Writes it in the form that was asked for.
    pub fn write(&self, out: &mut impl Write, args: &Recv) -> Result<(), Failure> {
        if args.json {
            let line = serde_json::to_vec(&Line::new(self)).map_err(Failure::failed)?;
            out.write_all(&line)?;
            return Ok(out.write_all(b"\n")?);
        }
        out.write_all(self.message())?;
        match (args.raw, args.null) {
            (true, _) => {}
            (_, true) => out.write_all(b"\0")?,
            _ => out.write_all(b"\n")?,
        }
        Ok(())
    }

    /// It was written, and that was flushed: now it counts as received.
    pub fn accept(self) -> Result<(), Failure> {
        match self {
            Self::Received(_) => Ok(()),
            Self::InHand(delivery) => Ok(delivery.accept()?),
        }
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

impl<'a> Line<'a> {
    fn new(letter: &'a Letter) -> Self {
        let (sender, message) = (letter.sender(), letter.message());
        Self {
            seq: letter.seq(),
            sender: From { pid: sender.pid, name: &sender.name },
            redelivered: letter.redelivered(),
            content: match std::str::from_utf8(message) {
                Ok(text) => Content::Text(text),
                Err(_) => Content::Base64(STANDARD.encode(message)),
            },
        }
    }
}
