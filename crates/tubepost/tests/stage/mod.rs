//! What the tests stand on: real processes that play roles, private domains, and waiting for conditions.
//!
//! A test that is about processes starts its own binary again in a *role* (`role.rs`): a function that
//! talks with the test over its stdin and stdout, one line at a time. Nothing here sleeps and hopes: a
//! test waits for a line or for a condition, and gives up loudly after [`PATIENCE`].

// Each test binary uses the part of the stage that it needs.
#![allow(dead_code, unused_imports)]

mod dice;
mod os;
mod place;
mod role;
mod step;

use std::time::{Duration, Instant};

pub use dice::Dice;
pub use os::*;
pub use place::Place;
pub use role::{Child, Cue, Role, enter};
pub use step::{Walk, go_on_from_there, kill_there, mark, walk, walk_calls};

/// How long anything may take before a test calls it a hang. Only failing tests wait this long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds; a test that waits in vain says for what.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited {PATIENCE:?} in vain until {what}");
        std::thread::sleep(Duration::from_micros(200)); // between two looks at the condition
    }
}

/// Says that a test could not run here, in a form that can be counted; where nothing may be skipped it fails.
pub fn skip(test: &str, why: &str) {
    use std::io::Write;
    assert!(std::env::var_os("TUBEPOST_TESTS_NO_SKIP").is_none(), "{test} cannot run here: {why}");
    // Straight to the descriptor: libtest would swallow a println of a passing test.
    let line = format!("SKIP {test}: {why}\n");
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
}
