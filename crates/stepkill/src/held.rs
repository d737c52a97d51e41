//! What a process has no more when its operation is done. Its death would put that in order, and nobody would ever know;
//! but who lives keeps it: a chunk that it took and did not use, the right to take rows or the name away.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use crate::layout;
use crate::view::NAMELESS;

/// A chunk that is its owner's alone, between being taken and being linked, held or freed.
const OWN: u64 = 1;
/// Locks that are let go of in the same call: the name's, and one for each row, of whoever takes it.
const PASSING: [(u64, u64); 2] = [(0, 1), (65_536, 65_536)];

/// What a thread may take to let go.
const SLACK: Duration = Duration::from_secs(2);

/// Of a process that has no end of a pair any more: no memory of it, no connection and no pipe; but for what it was started with, which the
/// `tracer` has, too.
pub fn no_end(pid: u32, tracer: u32) -> Result<(), String> {
    let end = Instant::now() + SLACK;
    let given = what_is_open(tracer)?;
    loop {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).map_err(|error| error.to_string())?;
        let mapped = maps.lines().filter(|line| line.contains(NAMELESS)).count();
        let mut open = what_is_open(pid)?;
        open.retain(|what| !given.contains(what));
        if mapped == 0 && open.is_empty() {
            return Ok(());
        }
        // A thread of its own that watches the other one may be about to let go.
        if Instant::now() > end {
            return Err(format!("of an end that is gone {open:?} are open, and {mapped} mapped"));
        }
        std::thread::yield_now();
    }
}

/// Memory without a name, connections and pipes that a process has, but for its first three.
fn what_is_open(pid: u32) -> Result<Vec<String>, String> {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).map_err(|error| error.to_string())?;
    let open = descriptors.flatten().filter_map(|entry| {
        let number: u32 = entry.file_name().to_str()?.parse().ok()?;
        let what = std::fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
        let of_an_end = [NAMELESS, "socket:", "pipe:"].iter().any(|it| what.starts_with(it));
        (number > 2 && of_an_end).then_some(what)
    });
    Ok(open.collect())
}

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
    no_lock(&file)
}

/// The same of locks alone.
pub fn no_lock(file: &File) -> Result<(), String> {
    for (start, length) in PASSING {
        let lock =
            Flock { start, length, pid: None, typ: FlockType::WriteLock, offset_type: FlockOffsetType::Set };
        if let Ok(Some(held)) = fcntl_getlk(file, &lock) {
            return Err(format!("byte {} is still locked", held.start));
        }
    }
    Ok(())
}
