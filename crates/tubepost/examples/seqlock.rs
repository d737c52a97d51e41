//! Shared memory with a protocol of one's own: a lock by sequence numbers, with one writer, in a bare segment.
//!
//! `cargo run --example seqlock` starts two readers as processes of their own, writes as fast as it can, and ends; the readers notice, and
//! tell how often they had to read again. (A `Region` does all of this, and survives a writer that dies half-way, which this does not.)
#![allow(unsafe_code)]

use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering::*, fence};
use tubepost::{Domain, Segment};

/// What is in the segment.
#[repr(C)]
struct Shared {
    /// Odd while somebody writes.
    sequence: AtomicU64,
    words: [AtomicU64; 8],
}

const FORMAT: &str = "example/seqlock/v1";
const WRITES: u64 = 2_000_000;
/// A reader asks the kernel whether the owner lives after so many reads.
const STRIDE: u64 = 10_000;

fn shared(memory: &Segment) -> &Shared {
    assert!(memory.len() >= size_of::<Shared>());
    // SAFETY: so many bytes are there as long as the borrow lasts, aligned to a page; they are atomics only, and by the segment's format
    // all who open it use them as these. Those who opened it to read only load.
    unsafe { &*memory.as_ptr().cast::<Shared>() }
}

fn write(shared: &Shared, value: u64) {
    let before = shared.sequence.load(Relaxed);
    shared.sequence.store(before + 1, Relaxed);
    fence(Release);
    shared.words.iter().for_each(|word| word.store(value, Relaxed));
    shared.sequence.store(before + 2, Release);
}

/// The words, if nobody wrote meanwhile.
fn try_read(shared: &Shared) -> Option<[u64; 8]> {
    let before = shared.sequence.load(Acquire);
    let words = std::array::from_fn(|at| shared.words[at].load(Relaxed));
    fence(Acquire);
    (before.is_multiple_of(2) && shared.sequence.load(Relaxed) == before).then_some(words)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, domain] = &arguments[..] {
        return look(domain);
    }

    // A domain of its own, so that this can run beside anything else.
    let path = format!("/dev/shm/tubepost-example-seqlock-{}", std::process::id());
    let domain = Domain::open(&path)?;
    let options = Segment::options().domain(&domain).format(FORMAT);
    let memory = options.size(size_of::<Shared>() as u64).own("values")?;

    let start = |_| Command::new(&arguments[0]).arg(&path).spawn();
    let readers: Vec<Child> = (0..2).map(start).collect::<Result<_, _>>()?;
    for value in 0..WRITES {
        write(shared(&memory), value);
    }
    drop(memory); // the readers are told so
    for mut reader in readers {
        assert!(reader.wait()?.success(), "no reader saw a half-written value");
    }
    std::fs::remove_dir_all(path)?;
    Ok(())
}

fn look(domain: &str) -> Result<(), Box<dyn std::error::Error>> {
    let domain = Domain::open(domain)?;
    let memory = match Segment::options().domain(&domain).format(FORMAT).open_to_read("values") {
        Err(tubepost::Error::NoSuchName { .. } | tubepost::Error::OwnerGone { .. }) => return Ok(()), // too late
        opened => opened?,
    };
    let (mut read, mut again) = (0, 0);
    while !memory.is_over() {
        for _ in 0..STRIDE {
            match try_read(shared(&memory)) {
                Some(words) => {
                    assert!(
                        words.iter().all(|word| *word == words[0]),
                        "half of one, half of another: {words:?}"
                    );
                    read += 1;
                }
                None => again += 1,
            }
        }
    }
    println!("process {} read {read} times, and {again} times in vain", std::process::id());
    Ok(())
}
