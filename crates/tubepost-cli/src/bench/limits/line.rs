//! `cache-line`: one word goes there, another comes back.
//!
//! The two words lie 256 bytes apart, so that neither side's line nor the line that a prefetcher
//! fetches along with it is the other's.

use std::sync::atomic::Ordering::{Acquire, Release};

use super::{Shared, spin_until};
use crate::bench::measure::{Echo, Exchange, Measured};

const PING: usize = 0;
const PONG: usize = 256;

/// Either side of the ping-pong.
pub struct Line<'a>(pub &'a Shared);

impl Exchange for Line<'_> {
    #[inline(always)]
    fn exchange(&mut self, seq: u64) -> Measured<u64> {
        self.0.word(PING).store(seq, Release);
        spin_until(|| self.0.word(PONG).load(Acquire) == seq);
        Ok(seq)
    }
}

impl Echo for Line<'_> {
    #[inline(always)]
    fn take(&mut self, last: u64) -> Measured<u64> {
        let mut seq = last;
        spin_until(|| {
            seq = self.0.word(PING).load(Acquire);
            seq != last
        });
        Ok(seq)
    }

    #[inline(always)]
    fn answer(&mut self, seq: u64) -> Measured<()> {
        self.0.word(PONG).store(seq, Release);
        Ok(())
    }
}
