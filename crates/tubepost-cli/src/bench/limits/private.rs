//! A message in a process's own memory, and the two copies that carry it over.
//!
//! The length is known at compile time. The number goes in from a register and the rest from memory: a
//! number written to memory just before the copy would have to be waited for, by every message.

/// A cache line's worth of alignment, as a careful program would give it.
#[repr(C, align(64))]
pub struct Private<const N: usize>([u8; N]);

impl<const N: usize> Private<N> {
    pub fn new() -> Self {
        const { assert!(N >= 8) };
        Self([0x5a; N])
    }

    /// Copies the message to `to`, with `seq` as its first eight bytes.
    ///
    /// # Safety
    ///
    /// `to` is aligned to 8, has room for N bytes, and nobody else touches those meanwhile.
    #[inline(always)]
    pub unsafe fn copy_in(&self, to: *mut u8, seq: u64) {
        let rest = &std::hint::black_box(self).0[8..];
        // SAFETY: as promised by the caller.
        unsafe {
            to.cast::<u64>().write(seq);
            std::ptr::copy_nonoverlapping(rest.as_ptr(), to.add(8), N - 8);
        }
    }

    /// Copies the message at `from` here and returns its first eight bytes.
    ///
    /// # Safety
    ///
    /// `from` holds N bytes, and nobody else writes them meanwhile.
    #[inline(always)]
    pub unsafe fn copy_out(&mut self, from: *const u8) -> u64 {
        // SAFETY: as promised by the caller.
        unsafe { std::ptr::copy_nonoverlapping(from, self.0.as_mut_ptr(), N) };
        let first = &std::hint::black_box(&*self).0[..8];
        u64::from_ne_bytes(first.try_into().expect("eight bytes"))
    }
}
