//! What this machine can do at best: the yardsticks the library is held against.
//!
//! Each limit does the least that moves a message between two processes, and nothing else: no
//! ownership, no recovery, no names, no checks; the plain form of it, as a careful program would be
//! written that needs nothing else.
//!
//! | limit | what it is | held against it |
//! |---|---|---|
//! | `cache-line` | ping-pong of one word, each direction in a line of its own | spinning latency of what fits one line; calls that wait for the other side |
//! | `copy` | the same, with the payload copied in and out on both sides | spinning latency of larger messages |
//! | `ring` | one sender, one receiver, the flag in the slot | streams of the same length |
//! | `ring-batch` | the same, with one flag for 32 messages | batches of 32 |
//! | `memcpy` | the payload copied within one process | to see beside the copies of large messages |
//! | `rwlock-read`, `rwlock-write` | data under a lock of the C library | regions |
//! | `seqlock-read` | data with a sequence | reading regions |
//! | `mmap-append` | the payload stored behind the last one, in a fresh file that is mapped | messages in files that are not synced |
//! | `fdatasync` | the payload written behind the last one, and synced | messages in files that are on the disk when they are sent |
//! | `futex` | ping-pong by wait and wake of one word, never spinning | blocking latency |
//!
//! # Safety
//!
//! This folder is the only one of the command with `unsafe` in it: it works in raw shared memory that
//! another process writes. Flags are atomics; payload is touched only through raw pointers, and only by
//! the side whose turn the flag says it is.
#![allow(unsafe_code)]

mod copy;
mod disk;
mod futex;
mod line;
mod locks;
mod memcpy;
mod memory;
mod private;
mod ring;

pub use copy::Copies;
pub use disk::{Appended, Synced};
pub use futex::Futex;
pub use line::Line;
pub use locks::{Locked, Sequenced, WORDS};
pub use memcpy::Memcpy;
pub use memory::Shared;
pub use ring::{RingBatchReceiver, RingBatchSender, RingReceiver, RingSender};

/// How everything here that spins waits for its turn.
#[inline(always)]
fn spin_until(mut ready: impl FnMut() -> bool) {
    while !ready() {
        std::hint::spin_loop();
    }
}
