//! What a record holds, and how it is known to be whole: by a check sum, CRC-32C, for which processors have instructions.
//!
//! ```text
//! begun with    the check sum of the log's id
//! over          the 24 bytes behind the control word, with zeros where the check sum is itself: process number, number, time
//!               the message
//! ```
//!
//! Others may write to the file at any time, so what is summed up is a copy; what a receiver gets is another one.

use super::file::{About, HEAD, LogFile};
use super::words::{Spot, UNIT};
use crate::memory::payload::Payload;
use crate::queue::slots::Member;
use std::mem::MaybeUninit;
use std::sync::atomic::Ordering::Relaxed;

/// Bytes of a record between its control word and its message.
const ABOUT: usize = HEAD as usize - UNIT as usize;
/// So much of a message is copied and summed up at one time: a multiple of what is summed up in three parts at once.
const PIECE: usize = 3072;

/// What is summed up of a record at first.
#[repr(C)]
struct Front {
    about: [u64; 3],
    message: [MaybeUninit<u8>; PIECE],
}

const _: () = assert!(size_of::<Front>() == ABOUT + PIECE);

/// The check sum of a record.
#[inline]
pub(super) fn sum_of(seed: u32, about: &About, message: &[u8]) -> u32 {
    let words = [u64::from(about.pid) << 32, about.number, about.time].map(u64::to_le_bytes);
    crc32c::crc32c_append(crc32c::crc32c_append(seed, words.as_flattened()), message)
}

/// A message that was found to be whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole {
    pub(crate) about: About,
    /// Who sent it, as long as that one is known.
    pub(crate) by: Member,
    /// Where in the mapping it begins.
    start: usize,
    length: usize,
}

impl LogFile {
    /// The message of the record at a place, of so many units, of which the last has `rest` bytes that are no part of it. `None`: that is not possible, its check sum
    /// is another, or it is of another place.
    #[inline(always)]
    pub(crate) fn read(&self, spot: Spot, units: u64, rest: u64, by: Member) -> Option<Whole> {
        let room = u64::from(self.units.checked_sub(spot.units)?);
        let length = (units * UNIT).checked_sub(HEAD + rest).filter(|_| units <= room)? as usize;
        let begin = self.start_of(spot.units);
        let word = |at: usize| self.word(begin + at).load(Relaxed);
        let (check, number, time) = (word(8), word(16), word(24));
        let about = [check & !u64::from(u32::MAX), number, time];
        let mut front = Front { about, message: [MaybeUninit::uninit(); PIECE] };
        let start = begin + HEAD as usize;
        let mut done = length.min(PIECE);
        self.copy_out(start, &mut front.message[..done]);
        // SAFETY: the words are initialised, and `copy_out` has initialised so much behind them.
        let bytes = unsafe { std::slice::from_raw_parts((&raw const front).cast(), ABOUT + done) };
        let mut sum = crc32c::crc32c_append(self.seed, bytes);
        while done < length {
            let piece = &mut front.message[..PIECE.min(length - done)];
            self.copy_out(start + done, piece);
            done += piece.len();
            // SAFETY: `copy_out` has initialised all of it.
            sum = crc32c::crc32c_append(sum, unsafe { &*(&raw const *piece as *const [u8]) });
        }
        let about = About { number, time, pid: (check >> 32) as u32 };
        let whole = sum == check as u32 && number == self.number(spot);
        whole.then_some(Whole { about, by, start, length })
    }
}

/// A message in a file, which stays mapped as long as this is.
#[derive(Debug)]
pub(crate) struct Letter<In> {
    pub(crate) file: In,
    pub(crate) whole: Whole,
}

// SAFETY: `copy_to` initialises all of `to`, by `copy_out`.
unsafe impl<In: AsRef<LogFile>> Payload for Letter<In> {
    #[inline]
    fn len(&self) -> usize {
        self.whole.length
    }

    #[inline]
    fn copy_to(&self, to: &mut [MaybeUninit<u8>]) {
        assert!(to.len() <= self.whole.length);
        self.file.as_ref().copy_out(self.whole.start, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_crc_32c() {
        assert_eq!(crc32c::crc32c(b"123456789"), 0xE306_9283, "the check value of its catalogue entry");
    }

    #[test]
    fn the_sum_is_over_what_the_format_says() {
        let about = About { number: 0x0102_0304_0506_0708, time: 0x1112_1314_1516_1718, pid: 0x2122_2324 };
        let mut bytes = vec![0; 4];
        bytes.extend(about.pid.to_le_bytes());
        bytes.extend(about.number.to_le_bytes());
        bytes.extend(about.time.to_le_bytes());
        bytes.extend(b"a message");
        assert_eq!(sum_of(0x8765_4321, &about, b"a message"), bitwise(0x8765_4321, &bytes));
    }

    /// As it is defined, a bit at a time.
    fn bitwise(begun: u32, bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!begun, |sum, byte| {
            (0..8)
                .fold(sum ^ u32::from(*byte), |sum, _| sum >> 1 ^ if sum & 1 == 1 { 0x82F6_3B78 } else { 0 })
        })
    }
}
