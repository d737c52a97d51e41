#![no_main]
//! Arbitrary packets to whoever hears any: the first byte says to whom, a mailbox of the kernel strategy, with a queue or without, or one
//! of the others. The rest is told in the files that a test has, too.

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use tubepost::Domain;

#[path = "../../tests/bad_luck/hearers.rs"]
mod hearers;
#[path = "../../tests/bad_luck/packets.rs"]
mod packets;

fn domain(what: &str) -> Domain {
    Domain::open(format!("/dev/shm/tubepost-fuzz-packets-{what}-{}", std::process::id())).expect("fresh")
}

fn stages() -> &'static [packets::Stage; 2] {
    static STAGES: OnceLock<[packets::Stage; 2]> = OnceLock::new();
    STAGES.get_or_init(|| [0, 16].map(|n| packets::Stage::new(&domain(&n.to_string()), n)))
}

fn others() -> &'static Domain {
    static OTHERS: OnceLock<Domain> = OnceLock::new();
    OTHERS.get_or_init(|| domain("others"))
}

fuzz_target!(|input: &[u8]| {
    let [first, rest @ ..] = input else { return };
    let which = usize::from(*first) % (2 + hearers::HEARERS);
    match stages().get(which) {
        Some(stage) => stage.play(rest),
        None => hearers::play(others(), which - 2, rest),
    }
});
