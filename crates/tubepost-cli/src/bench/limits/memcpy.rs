//! `memcpy`: a message copied from one place of a process's own memory to another; nobody else has part in it.

use super::private::Private;
use crate::bench::measure::{Exchange, Measured};

/// Two messages of `N` bytes.
pub struct Memcpy<const N: usize> {
    from: Private<N>,
    to: Box<Private<N>>,
}

impl<const N: usize> Memcpy<N> {
    pub fn new() -> Self {
        Self { from: Private::new(), to: Box::new(Private::new()) }
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
