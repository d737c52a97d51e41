//! `copy`: the ping-pong of `cache-line`, and the payload is copied in and out on both sides.
//!
//! Each direction has a flag and, in the lines after it, a payload aligned to a cache line; the length
//! is known at compile time. The sender copies its message in and then sets the flag, the receiver sees
//! the flag and copies the message out into memory of its own.
//!
//! Tried and no faster: the flag two lines before the payload, or in its first line (slower); asking for
//! the answer's lines while waiting; spinning without a pause.

use std::sync::atomic::Ordering::{Acquire, Release};

use super::private::Private;
use super::{Shared, spin_until};
use crate::bench::measure::{Echo, Exchange, Measured};

/// The flag of either direction; the payload begins one line later. The second is not a multiple of a
/// page away from the first, so that no processor takes one side's address for the other's.
const PING: usize = 0;
const fn pong(bytes: usize) -> usize {
    (FLAG + bytes).next_multiple_of(65536) + 2048
}
const FLAG: usize = 64;

/// Either side of the ping-pong, with messages of `N` bytes.
pub struct Copies<'a, const N: usize> {
    memory: &'a Shared,
    message: Private<N>,
}

impl<'a, const N: usize> Copies<'a, N> {
    pub fn new(memory: &'a Shared) -> Self {
        Self { memory, message: Private::new() }
    }

    /// Copies a message that begins with `seq` in, and says so.
    #[inline(always)]
    fn put(&self, at: usize, seq: u64) {
        // SAFETY: the other side reads the payload only once the flag is set.
        unsafe { self.message.copy_in(self.memory.payload(at + FLAG, N), seq) };
        self.memory.word(at).store(seq, Release);
    }

    /// Copies out what the flag announced.
    #[inline(always)]
    fn get(&mut self, at: usize) -> u64 {
        // SAFETY: the flag was seen set, so the other side does not write until it is answered.
        unsafe { self.message.copy_out(self.memory.payload(at + FLAG, N)) }
    }
}

impl<const N: usize> Exchange for Copies<'_, N> {
    #[inline(always)]
    fn exchange(&mut self, seq: u64) -> Measured<u64> {
        self.put(PING, seq);
        spin_until(|| self.memory.word(pong(N)).load(Acquire) == seq);
        Ok(self.get(pong(N)))
    }
}

impl<const N: usize> Echo for Copies<'_, N> {
    #[inline(always)]
    fn take(&mut self, last: u64) -> Measured<u64> {
        spin_until(|| self.memory.word(PING).load(Acquire) != last);
        Ok(self.get(PING))
    }

    #[inline(always)]
    fn answer(&mut self, seq: u64) -> Measured<()> {
        self.put(pong(N), seq);
        Ok(())
    }
}
