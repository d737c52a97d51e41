//! Bad input and bad luck (P7, P8): a typed error each time that says what to do; no panic, no signal, no
//! hang, nothing half-made left behind.
//!
//! | module | what goes wrong |
//! |---|---|
//! | `names` | names that are none, names that climb out of the domain |
//! | `intruders` | planted links, foreign or open directories, missing permission |
//! | `rubbish` | segments of another version, truncated, zeroed, random, scribbled on while in use |
//! | `scarcity` | absurd options, no memory, no descriptors |
//! | `leftovers` | rows, memory and waits that nobody needs any more |
//! | `forks` | a process that forks in the middle |
//! | `quiet` | what must not happen when all is well: system calls, CPU time, descriptors, memory |

#[path = "../stage/mod.rs"]
mod stage;

mod forks;
mod intruders;
mod leftovers;
mod names;
mod quiet;
mod rubbish;
mod scarcity;

/// Not a test: other processes of this suite start here.
#[test]
fn role() {
    stage::enter(&[
        forks::ROLES,
        intruders::ROLES,
        leftovers::ROLES,
        quiet::ROLES,
        rubbish::ROLES,
        scarcity::ROLES,
    ]);
}
