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
//! Of a mailbox whose messages are answered:
//!
//! ```text
//! Data     0: position, question           ->           asked before: it is not asked again, but answered
//! Wanted   positions                       ->           the answers to these are wanted, and to no others that were asked before
//! Data     1: position, question           ->
//!                                          <-    Answer   position, the answer; or that there is none
//! Got      position                        ->           it need not be kept any more
//! ```
//!
//! What is said to one bridge at one time goes together, in a *bundle*: each frame with its length before it.
//!
//! All that comes in is checked: a frame is an encoding of one of these, or it is no frame.

use crate::address::VERSION;
use serde::{Deserialize, Serialize, Serializer};

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
        #[serde(serialize_with = "as_bytes")]
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
    Wanted {
        stream: u64,
        positions: Vec<u64>,
    },
    /// Nothing: the question was received, or may have been, and there is no answer.
    Answer {
        stream: u64,
        position: u64,
        #[serde(borrow, serialize_with = "maybe_bytes")]
        answer: Option<&'a [u8]>,
    },
    Got {
        stream: u64,
        position: u64,
    },
}

/// Not byte by byte.
fn as_bytes<S: Serializer>(bytes: &&[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}

fn maybe_bytes<S: Serializer>(bytes: &Option<&[u8]>, to: S) -> Result<S::Ok, S::Error> {
    struct Bytes<'a>(&'a [u8]);
    impl Serialize for Bytes<'_> {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            to.serialize_bytes(self.0)
        }
    }
    match bytes {
        Some(bytes) => to.serialize_some(&Bytes(bytes)),
        None => to.serialize_none(),
    }
}

/// The frames of a bundle; nothing in the place of what is none, and after that no more.
pub(crate) fn frames(mut bundle: &[u8]) -> impl Iterator<Item = Option<Frame<'_>>> {
    std::iter::from_fn(move || {
        if bundle.is_empty() {
            return None;
        }
        let frame = bundle.split_first_chunk::<4>().and_then(|(length, rest)| {
            let (frame, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            bundle = rest;
            Frame::decode(frame)
        });
        if frame.is_none() {
            bundle = &[];
        }
        Some(frame)
    })
}

impl<'a> Frame<'a> {
    /// Adds it to a bundle.
    pub(crate) fn add_to(&self, bundle: &mut Vec<u8>) {
        let begin = bundle.len();
        bundle.extend_from_slice(&[0; 4]);
        bundle.push(VERSION);
        // Into a vector there is always room, and none of these is of unknown length.
        let Ok(full) = postcard::to_extend(self, std::mem::take(bundle)) else { return };
        *bundle = full;
        let length = (bundle.len() - begin - 4) as u32;
        bundle[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// A bundle of this one.
    pub(crate) fn alone(&self) -> Vec<u8> {
        let room = match self {
            Frame::Data { bytes, .. } => bytes.len() + 40,
            Frame::Answer { answer, .. } => answer.map_or(0, <[u8]>::len) + 40,
            _ => 64,
        };
        let mut bundle = Vec::with_capacity(room);
        self.add_to(&mut bundle);
        bundle
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
        match self {
            Frame::Open { stream, .. }
            | Frame::Data { stream, .. }
            | Frame::Count { stream, .. }
            | Frame::Bye { stream }
            | Frame::Opened { stream, .. }
            | Frame::Ack { stream, .. }
            | Frame::Refused { stream, .. }
            | Frame::Again { stream }
            | Frame::Ended { stream, .. }
            | Frame::Wanted { stream, .. }
            | Frame::Answer { stream, .. }
            | Frame::Got { stream, .. } => *stream,
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
            Frame::Wanted { stream: 9, positions: vec![1, u64::MAX] },
            Frame::Answer { stream: 9, position: 1, answer: Some(&[]) },
            Frame::Answer { stream: 9, position: 1, answer: Some(&[7; 300]) },
            Frame::Answer { stream: 9, position: 1, answer: None },
            Frame::Got { stream: 9, position: 1 },
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

    impl Frame<'_> {
        /// Without its length.
        fn encode(&self) -> Vec<u8> {
            self.alone().split_off(4)
        }
    }

    /// Numbers by xorshift: the same in every run.
    fn dice(seed: u64) -> impl FnMut(u64) -> u64 {
        let mut state = seed;
        move |sides| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % sides
        }
    }

    #[test]
    fn whatever_bytes_come_are_frames_that_say_the_same_again_or_none() {
        let mut dice = dice(7);
        let (mut some, mut none) = (0, 0);
        let sample = [
            Frame::Data { stream: 1, count: 2, position: 3, bytes: &[9; 40] },
            Frame::Open { stream: 1, back: "tubepost/1/-/h/00/00/in", mailbox: 1, stand_in: 3 },
            Frame::Wanted { stream: 9, positions: vec![1; 9] },
            Frame::Answer { stream: 9, position: 1, answer: Some(&[7; 30]) },
            Frame::Refused { stream: 1, why: "no such mailbox" },
        ];
        for round in 0..200_000 {
            // Pure rubbish, or a bundle of frames of which some bytes were changed, left out, put in.
            let mut bytes = Vec::new();
            if round % 4 == 0 {
                bytes.extend((0..dice(60)).map(|_| dice(256) as u8));
            } else {
                (0..=dice(3)).for_each(|_| sample[dice(5) as usize].add_to(&mut bytes));
                for _ in 0..dice(4) {
                    let at = dice(bytes.len() as u64 + 1) as usize;
                    match dice(3) {
                        0 => bytes.insert(at, dice(256) as u8),
                        1 if at < bytes.len() => drop(bytes.remove(at)),
                        _ if at < bytes.len() => bytes[at] ^= 1 << dice(8),
                        _ => bytes.truncate(at / 2),
                    }
                }
            }
            let mut wrong = 0;
            for frame in frames(&bytes) {
                match frame {
                    Some(frame) => {
                        some += 1;
                        assert_eq!(wrong, 0, "nothing is read behind what is none");
                        let again = frame.encode();
                        assert_eq!(Frame::decode(&again), Some(frame));
                    }
                    None => wrong += 1,
                }
            }
            assert!(wrong <= 1);
            none += wrong;
        }
        assert!(some > 100_000 && none > 50_000, "{some} frames, {none} times none");
    }

    #[test]
    fn a_bundle_is_its_frames_in_order() {
        let (first, second) = (Frame::Again { stream: 1 }, Frame::Bye { stream: 2 });
        let mut both = Vec::new();
        first.add_to(&mut both);
        second.add_to(&mut both);
        assert_eq!(frames(&both).collect::<Vec<_>>(), [Some(first), Some(second)]);
        assert_eq!(frames(&[]).count(), 0);
        assert_eq!(frames(&[9, 0, 0, 0, 1]).collect::<Vec<_>>(), [None]);
    }
}
