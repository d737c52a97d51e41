#![no_main]
//! Arbitrary files of a log, which is opened as a mailbox and used. The rest is told in the file that a test has, too.

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use tubepost::Domain;

#[path = "../../tests/bad_luck/logs.rs"]
mod logs;

fn stage() -> &'static logs::Stage {
    static STAGE: OnceLock<logs::Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let path = format!("/dev/shm/tubepost-fuzz-logs-{}", std::process::id());
        let domain = Domain::open(&path).expect("fresh");
        logs::Stage::new(&domain, format!("{path}-files").as_ref())
    })
}

fuzz_target!(|input: &[u8]| stage().play(input));
