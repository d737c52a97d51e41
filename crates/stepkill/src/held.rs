//! What a process has no more when its operation is done. Its death would put that in order, and nobody would ever know;
//! but who lives keeps it: a chunk that it took and did not use, the right to take rows or the name away.

use std::fs::File;
use std::path::Path;

use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use crate::layout;

/// A chunk that is its owner's alone, between being taken and being linked, held or freed.
const OWN: u64 = 1;
/// Locks that are let go of in the same call: the name's, and one for each row, of whoever takes it.
const PASSING: [(u64, u64); 2] = [(0, 1), (65_536, 65_536)];

/// An error says what process `pid` has, or left in a row that is nobody's. Nobody else does anything meanwhile.
pub fn nothing(path: &Path, pid: u32) -> Result<(), String> {
    let Ok(file) = File::open(path) else { return Ok(()) };
    let used = layout::used(path)?;
    let others = |member: u64| used.rows.iter().any(|row| row.0 == member && row.1 != u64::from(pid));
    for chunk in &used.chunks {
        // What was given to somebody who stands still is his, though it is its giver's by name.
        if chunk.purpose == OWN && !others(chunk.member) && !used.gives(chunk) && !used.answers(chunk) {
            return Err(format!("a chunk is kept that nobody will use: {chunk:?}"));
        }
    }
    for (start, length) in PASSING {
        let lock =
            Flock { start, length, pid: None, typ: FlockType::WriteLock, offset_type: FlockOffsetType::Set };
        if let Ok(Some(held)) = fcntl_getlk(&file, &lock) {
            return Err(format!("byte {} is still locked", held.start));
        }
    }
    Ok(())
}
