#![no_main]
//! Arbitrary packets to a mailbox of the kernel strategy: the first byte says whether to one with a queue. The rest
//! is told in the file that a test has, too.

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use tubepost::Domain;

#[path = "../../tests/bad_luck/packets.rs"]
mod packets;

fn stages() -> &'static [packets::Stage; 2] {
    static STAGES: OnceLock<[packets::Stage; 2]> = OnceLock::new();
    STAGES.get_or_init(|| {
        [0, 16].map(|n| {
            let path = format!("/dev/shm/tubepost-fuzz-packets-{n}-{}", std::process::id());
            packets::Stage::new(&Domain::open(&path).expect("fresh"), n)
        })
    })
}

fuzz_target!(|input: &[u8]| {
    if let [first, rest @ ..] = input {
        stages()[usize::from(first & 1)].play(rest);
    }
});
