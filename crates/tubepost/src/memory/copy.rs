//! The one routine that moves payload into and out of shared memory.
//!
//! Another process may write to that memory at any time, against every agreement, so no
//! reference to it is made and no ordinary load or store touches it (but in `queue::in_place`, where nobody else can). Bytes move word by
//! word with relaxed atomics or, where the machine has them, in vector registers by assembly
//! that the compiler cannot look into. What arrives may then be
//! rubbish, but it is well-defined rubbish.
//!
//! # Safety
//!
//! Raw copies; each caller vouches for the range.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

/// From this length on, the loop in vector registers is faster than one word at a time.
const LONG: usize = 128;

/// From this length on, the processor's own way to copy is faster than both, where it has a good one.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const VERY_LONG: usize = 4096;

/// Copies `from` into shared memory.
///
/// # Safety
///
/// `to` is valid for `from.len()` bytes of shared memory for the duration of the call.
#[inline]
pub(crate) unsafe fn write(to: *mut u8, from: &[u8]) {
    // SAFETY: the caller vouches for `to`; `from` is an ordinary slice.
    unsafe { move_bytes(to, from.as_ptr(), from.len(), true) }
}

/// Fills `to` from shared memory; every byte of it is initialised afterwards.
///
/// # Safety
///
/// `from` is valid for `to.len()` bytes of shared memory for the duration of the call.
#[inline]
pub(crate) unsafe fn read(from: *const u8, to: &mut [MaybeUninit<u8>]) {
    // SAFETY: the caller vouches for `from`; `to` is an ordinary slice.
    unsafe { move_bytes(to.as_mut_ptr().cast(), from, to.len(), false) }
}

/// Copies from shared memory to shared memory.
///
/// # Safety
///
/// Both are valid for `length` bytes of shared memory for the duration of the call, and don't overlap.
#[inline]
pub(crate) unsafe fn across(to: *mut u8, from: *const u8, length: usize) {
    const PIECE: usize = 1024;
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if length >= VERY_LONG && std::arch::is_x86_feature_detected!("ermsb") {
        // SAFETY: the caller vouches for both; neither is looked at by anything but the assembly.
        unsafe { string(to, from, length) };
        return;
    }
    let mut piece = [MaybeUninit::<u8>::uninit(); PIECE];
    let mut done = 0;
    while done < length {
        let here = &mut piece[..(length - done).min(PIECE)];
        // SAFETY: `done` and this piece lie within `length`; `read` initialises all of the piece.
        unsafe {
            read(from.add(done), here);
            write(to.add(done), &*(&raw const *here as *const [u8]));
        }
        done += here.len();
    }
}

/// The same for whole cache lines.
///
/// # Safety
///
/// As for [`across`]; `length` is a positive multiple of 64.
#[inline(always)]
pub(crate) unsafe fn lines(to: *mut u8, from: *const u8, length: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: as the caller says; neither is looked at by anything but the assembly.
    unsafe {
        vectors(to, from, length)
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    // SAFETY: as the caller says.
    unsafe {
        across(to, from, length)
    }
}

/// # Safety
///
/// Both are valid for `length` bytes; `shared_to` says which of the two is shared.
#[inline(always)]
unsafe fn move_bytes(to: *mut u8, from: *const u8, length: usize, shared_to: bool) {
    let mut done = 0;
    // SAFETY: `done` never passes `length`, and both pointers are valid for that many
    // bytes. The shared side is reached by atomics (words only where it is aligned) or by
    // assembly; the private side by unaligned plain accesses.
    unsafe {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        if length >= VERY_LONG && std::arch::is_x86_feature_detected!("ermsb") {
            string(to, from, length);
            return;
        }
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        if length >= LONG {
            done = length & !63;
            vectors(to, from, done);
        }
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        while length - done >= 16 {
            vector(to.add(done), from.add(done));
            done += 16;
        }
        let shared = if shared_to { to.cast_const() } else { from };
        if shared.addr().is_multiple_of(8) {
            while length - done >= 8 {
                if shared_to {
                    let word = from.add(done).cast::<u64>().read_unaligned();
                    (*to.add(done).cast::<AtomicU64>()).store(word, Relaxed);
                } else {
                    let word = (*from.add(done).cast::<AtomicU64>()).load(Relaxed);
                    to.add(done).cast::<u64>().write_unaligned(word);
                }
                done += 8;
            }
        }
        while done < length {
            if shared_to {
                (*to.add(done).cast::<AtomicU8>()).store(*from.add(done), Relaxed);
            } else {
                to.add(done).write((*from.add(done).cast::<AtomicU8>()).load(Relaxed));
            }
            done += 1;
        }
    }
}

/// Moves 16 bytes. (Not two words: what is stored in words and then loaded as a vector, when
/// the compiler moves the value on, waits for the stores to reach the cache.)
///
/// # Safety
///
/// Both are valid for 16 bytes.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
unsafe fn vector(to: *mut u8, from: *const u8) {
    // SAFETY: reads and writes exactly what the caller vouches for; SSE2 is part of x86-64.
    unsafe {
        std::arch::asm!(
            "movups {a}, [{from}]",
            "movups [{to}], {a}",
            to = in(reg) to,
            from = in(reg) from,
            a = out(xmm_reg) _,
            options(nostack, preserves_flags),
        );
    }
}

/// Moves `length` bytes by the string instruction.
///
/// # Safety
///
/// Both are valid for `length` bytes.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline]
unsafe fn string(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: reads and writes exactly the ranges the caller vouches for; the direction flag is
    // clear, as the calling convention has it.
    unsafe {
        std::arch::asm!(
            "rep movsb",
            inout("rdi") to => _,
            inout("rsi") from => _,
            inout("rcx") length => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Moves `length` bytes, a positive multiple of 64.
///
/// # Safety
///
/// Both are valid for `length` bytes.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline]
unsafe fn vectors(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: reads and writes exactly the ranges the caller vouches for; SSE2 is part of
    // every x86-64.
    unsafe {
        std::arch::asm!(
            "2:",
            "movups {a}, [{from} + {at}]",
            "movups {b}, [{from} + {at} + 16]",
            "movups {c}, [{from} + {at} + 32]",
            "movups {d}, [{from} + {at} + 48]",
            "movups [{to} + {at}], {a}",
            "movups [{to} + {at} + 16], {b}",
            "movups [{to} + {at} + 32], {c}",
            "movups [{to} + {at} + 48], {d}",
            "add {at}, 64",
            "cmp {at}, {length}",
            "jb 2b",
            at = inout(reg) 0usize => _,
            to = in(reg) to,
            from = in(reg) from,
            length = in(reg) length,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            options(nostack),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_and_alignment_arrives_whole_and_nothing_else_is_touched() {
        let source: Vec<u8> = (0..600u32).map(|i| (i * 7 + 1) as u8).collect();
        for offset in [0usize, 1, 8, 12, 16] {
            for length in (0..200).chain([255, 256, 257, 320, 500]) {
                let mut shared = vec![u64::from_ne_bytes([0xEE; 8]); 80];
                let base = shared.as_mut_ptr().cast::<u8>();
                // SAFETY: 640 bytes, of which at most 516 are touched.
                unsafe { write(base.add(offset), &source[..length]) };
                let mut back = vec![MaybeUninit::new(0u8); length];
                // SAFETY: as above.
                unsafe { read(base.add(offset), &mut back) };
                // SAFETY: `read` initialised all of it.
                let back: Vec<u8> = back.iter().map(|b| unsafe { b.assume_init() }).collect();
                assert_eq!(back, source[..length]);
                let bytes: Vec<u8> = shared.iter().flat_map(|w| w.to_ne_bytes()).collect();
                assert!(bytes[..offset].iter().all(|b| *b == 0xEE));
                assert!(bytes[offset + length..].iter().all(|b| *b == 0xEE));
            }
        }
    }
}
