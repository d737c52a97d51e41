//! `memcpy`: a message copied from one place of a process's own memory to another; nobody else has part in it.

use super::private::Private;
use std::time::{Duration, Instant};

use crate::bench::measure::{Drain, Exchange, Measured, STOP};

/// How long a stream of copies lasts.
const STREAM: Duration = Duration::from_millis(20);

/// Two messages of `N` bytes.
pub struct Memcpy<const N: usize> {
    from: Private<N>,
    to: Box<Private<N>>,
    copied: u64,
    begin: Instant,
}

impl<const N: usize> Memcpy<N> {
    pub fn new() -> Self {
        Self { from: Private::new(), to: Box::new(Private::new()), copied: 0, begin: Instant::now() }
    }
}

impl<const N: usize> Exchange for Memcpy<N> {
    /// There and back: one copy each way.
    #[inline(always)]
    fn exchange(&mut self, seq: u64) -> Measured<u64> {
        for _ in 0..2 {
            // SAFETY: the other message is ours, as long and as aligned.
            unsafe { self.from.copy_in(std::ptr::from_mut(&mut *self.to).cast(), seq) };
            std::hint::black_box(&mut *self.to);
        }
        Ok(seq)
    }
}

impl<const N: usize> Drain for Memcpy<N> {
    /// The next message, copied twice, until the time is over.
    #[inline(always)]
    fn get(&mut self) -> Measured<u64> {
        if self.copied.is_multiple_of(8) && self.begin.elapsed() >= STREAM {
            return Ok(STOP);
        }
        self.copied += 1;
        self.exchange(self.copied - 1)
    }
}
