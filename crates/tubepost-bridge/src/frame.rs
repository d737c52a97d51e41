//! What bridges say to each other.
//!
//! A *stream* carries the messages of one stand-in to the mailbox that it stands for. Its importer opens it, by a number that it never uses again:
//!
//! ```text
//! importer                                       exporter
//! Open     stream, mailbox, stand-in       ->
//!                                          <-    Opened   how far it had come before, how many may be under way
//! Data     0: position, bytes              ->
//! Data     1: position, bytes              ->
//! Count    2 were sent                     ->           after a silence, in case that some of it, or of the answers, went missing
//!                                          <-    Ack      placed up to, collected up to
//!                                          <-    Again    something is missing: open another one
//!                                          <-    Ended    the owner went
//! ```
//!
//! Data is counted, so that nothing is missing and nothing comes twice in a stream; and it has the position of the message in the stand-in, which tells
//! messages apart for as long as that exists, whatever streams there were.
//!
//! All that comes in is checked: a frame is an encoding of one of these, or it is no frame.

use crate::address::VERSION;
use serde::{Deserialize, Serialize};

/// Something said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Frame<'a> {
    Open {
        stream: u64,
        /// Where answers go.
        back: &'a str,
        mailbox: u128,
        stand_in: u128,
    },
    Data {
        stream: u64,
        count: u64,
        position: u64,
        bytes: &'a [u8],
    },
    /// So much data was sent: said when nothing was heard for a while.
    Count {
        stream: u64,
        count: u64,
    },
    /// The importer goes.
    Bye {
        stream: u64,
    },
    Opened {
        stream: u64,
        /// The position behind the last message that is in the mailbox, or was.
        placed_to: u64,
        window: u64,
    },
    Ack {
        stream: u64,
        placed_to: u64,
        /// The position behind the last message that was collected, with all before it.
        collected_to: u64,
    },
    Refused {
        stream: u64,
        why: &'a str,
    },
    Again {
        stream: u64,
    },
    Ended {
        stream: u64,
        uncollected: u64,
    },
}

impl<'a> Frame<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let room = match self {
            Frame::Data { bytes, .. } => bytes.len() + 40,
            _ => 64,
        };
        let mut bytes = Vec::with_capacity(room);
        bytes.push(VERSION);
        // Into a vector there is always room, and none of these is of unknown length.
        postcard::to_extend(self, bytes).unwrap_or_default()
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Frame<'a>> {
        let (version, rest) = bytes.split_first()?;
        if *version != VERSION {
            return None;
        }
        match postcard::take_from_bytes(rest) {
            Ok((frame, [])) => Some(frame),
            _ => None,
        }
    }

    pub(crate) fn stream(&self) -> u64 {
        match *self {
            Frame::Open { stream, .. }
            | Frame::Data { stream, .. }
            | Frame::Count { stream, .. }
            | Frame::Bye { stream }
            | Frame::Opened { stream, .. }
            | Frame::Ack { stream, .. }
            | Frame::Refused { stream, .. }
            | Frame::Again { stream }
            | Frame::Ended { stream, .. } => stream,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_and_nothing_else_does() {
        let frames = [
            Frame::Open { stream: u64::MAX, back: "tubepost/1", mailbox: 1 << 127, stand_in: 3 },
            Frame::Data { stream: 1, count: 2, position: 3, bytes: &[0, 1, 255] },
            Frame::Opened { stream: 1, placed_to: 0, window: 64 },
            Frame::Ack { stream: 1, placed_to: 7, collected_to: 6 },
            Frame::Refused { stream: 1, why: "no such mailbox" },
            Frame::Again { stream: 9 },
            Frame::Ended { stream: 9, uncollected: 4 },
            Frame::Count { stream: 9, count: 1000 },
            Frame::Bye { stream: 9 },
        ];
        for frame in frames {
            let bytes = frame.encode();
            assert_eq!(Frame::decode(&bytes), Some(frame));
            for cut in 0..bytes.len() {
                assert_ne!(Frame::decode(&bytes[..cut]), Frame::decode(&bytes), "cut at {cut}");
            }
            assert_eq!(Frame::decode(&[&bytes[..], &[0]].concat()), None);
            let other_version = [&[2], &bytes[1..]].concat();
            assert_eq!(Frame::decode(&other_version), None);
        }
        assert_eq!(Frame::decode(&[1, 99]), None);
    }
}
