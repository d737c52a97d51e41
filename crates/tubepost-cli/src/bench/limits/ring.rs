//! `ring`: as many slots as a mailbox has places here, one sender, one receiver, the flag in the slot.
//!
//! A slot is the flag and the payload, in as few cache lines as they need. The flag of position `p` is
//! `p` while the slot is free for it and `p + 1` once the message is in; the receiver sets it to
//! `p + slots`, free for the next lap. Either side keeps its position to itself and shares nothing but
//! the slots. There is no ownership and no recovery: kill either process and the other spins for ever.
//!
//! Nothing more: no prefetching, and both sides look at the flag again after one pause. (A ring that is
//! tuned can be up to three times as fast at 1 KiB; what is tried there belongs into the library.)

use std::sync::atomic::Ordering::{Acquire, Release};

use super::private::Private;
use super::{Shared, spin_until};
use crate::bench::job::{BATCH, places};
use crate::bench::measure::{Drain, Measured, STOP, Source};

const fn stride(bytes: usize) -> usize {
    (8 + bytes).next_multiple_of(64)
}

#[inline(always)]
const fn slot<const N: usize>(position: u64) -> usize {
    (position % places(N as u64)) as usize * stride(N)
}

/// Makes every slot free.
fn free_all<const N: usize>(memory: &Shared) {
    for position in 0..places(N as u64) {
        memory.word(slot::<N>(position)).store(position, Release);
    }
}

/// The sending side, with messages of `N` bytes.
pub struct RingSender<'a, const N: usize> {
    memory: &'a Shared,
    position: u64,
    message: Private<N>,
}

impl<'a, const N: usize> RingSender<'a, N> {
    /// Makes every slot free: to be called before the receiver starts.
    pub fn new(memory: &'a Shared) -> Self {
        free_all::<N>(memory);
        Self { memory, position: 0, message: Private::new() }
    }
}

impl<const N: usize> Source for RingSender<'_, N> {
    #[inline(always)]
    fn put(&mut self, seq: u64) -> Measured<()> {
        let at = slot::<N>(self.position);
        let flag = self.memory.word(at);
        spin_until(|| flag.load(Acquire) == self.position);
        // SAFETY: the slot is free for this position, so only this side touches its payload.
        unsafe { self.message.copy_in(self.memory.payload(at + 8, N), seq) };
        flag.store(self.position + 1, Release);
        self.position += 1;
        Ok(())
    }
}

/// The same, a batch at a time: the flag of a batch's last slot is that of all.
pub struct RingBatchSender<'a, const N: usize> {
    memory: &'a Shared,
    position: u64,
    waiting: usize,
    message: Private<N>,
}

impl<'a, const N: usize> RingBatchSender<'a, N> {
    /// Makes every slot free: to be called before the receiver starts.
    pub fn new(memory: &'a Shared) -> Self {
        free_all::<N>(memory);
        Self { memory, position: 0, waiting: 0, message: Private::new() }
    }
}

impl<const N: usize> Source for RingBatchSender<'_, N> {
    #[inline(always)]
    fn put(&mut self, seq: u64) -> Measured<()> {
        let last = self.position + (BATCH - 1 - self.waiting) as u64;
        if self.waiting == 0 {
            let flag = self.memory.word(slot::<N>(last));
            spin_until(|| flag.load(Acquire) == last);
        }
        let at = slot::<N>(self.position);
        // SAFETY: the batch's slots are free for these positions, so only this side touches their payload.
        unsafe { self.message.copy_in(self.memory.payload(at + 8, N), seq) };
        self.position += 1;
        self.waiting += 1;
        if self.waiting == BATCH {
            self.memory.word(at).store(last + 1, Release);
            self.waiting = 0;
        } else if seq == STOP {
            // The rest of a batch that is not full: the end once more.
            return self.put(seq);
        }
        Ok(())
    }
}

/// The receiving side.
pub struct RingBatchReceiver<'a, const N: usize> {
    memory: &'a Shared,
    position: u64,
    taken: usize,
    message: Private<N>,
}

impl<'a, const N: usize> RingBatchReceiver<'a, N> {
    pub fn new(memory: &'a Shared) -> Self {
        Self { memory, position: 0, taken: 0, message: Private::new() }
    }
}

impl<const N: usize> Drain for RingBatchReceiver<'_, N> {
    #[inline(always)]
    fn get(&mut self) -> Measured<u64> {
        let last = self.position + (BATCH - 1 - self.taken) as u64;
        if self.taken == 0 {
            let flag = self.memory.word(slot::<N>(last));
            spin_until(|| flag.load(Acquire) == last + 1);
        }
        let at = slot::<N>(self.position);
        // SAFETY: the batch's slots hold these positions' messages, and the sender waits until they are free again.
        let seq = unsafe { self.message.copy_out(self.memory.payload(at + 8, N)) };
        self.position += 1;
        self.taken += 1;
        if self.taken == BATCH {
            self.memory.word(at).store(last + places(N as u64), Release);
            self.taken = 0;
        }
        Ok(seq)
    }
}

/// The receiving side.
pub struct RingReceiver<'a, const N: usize> {
    memory: &'a Shared,
    position: u64,
    message: Private<N>,
}

impl<'a, const N: usize> RingReceiver<'a, N> {
    pub fn new(memory: &'a Shared) -> Self {
        Self { memory, position: 0, message: Private::new() }
    }
}

impl<const N: usize> Drain for RingReceiver<'_, N> {
    #[inline(always)]
    fn get(&mut self) -> Measured<u64> {
        let at = slot::<N>(self.position);
        let flag = self.memory.word(at);
        spin_until(|| flag.load(Acquire) == self.position + 1);
        // SAFETY: the slot holds this position's message, and the sender waits until it is free again.
        let seq = unsafe { self.message.copy_out(self.memory.payload(at + 8, N)) };
        flag.store(self.position + places(N as u64), Release);
        self.position += 1;
        Ok(seq)
    }
}
