//! What is known of a mailbox that is kept in files, besides.

use std::path::Path;

use serde::Serialize;
use tubepost::{CursorStat, Fsync, LogStat};

use super::{grouped, plural};
use crate::exit::printable;

/// As the JSON shows it.
#[derive(Serialize)]
pub struct Log<'a> {
    directory: &'a Path,
    /// Bytes of the disk that the files occupy, and how many files have records.
    bytes: u64,
    segments: u64,
    fsync: String,
    max_bytes: Option<u64>,
    first: u64,
    next: u64,
    /// All messages before this one are known to be on the disk.
    durable: u64,
    cursors: Vec<Cursor<'a>>,
}

#[derive(Serialize)]
struct Cursor<'a> {
    name: &'a str,
    next: u64,
    lag: u64,
}

impl<'a> Log<'a> {
    pub fn new(log: &'a LogStat) -> Self {
        let shown =
            |cursor: &'a CursorStat| Cursor { name: &cursor.name, next: cursor.next, lag: cursor.lag };
        Self {
            directory: &log.directory,
            bytes: log.bytes,
            segments: log.files,
            fsync: fsync(log.fsync),
            max_bytes: log.max_bytes,
            first: log.first,
            next: log.next,
            durable: log.durable,
            cursors: log.cursors.iter().map(shown).collect(),
        }
    }
}

fn fsync(fsync: Fsync) -> String {
    match fsync {
        Fsync::Never => "never".into(),
        Fsync::Each => "each".into(),
        Fsync::Every(time) => humantime::format_duration(time).to_string(),
        _ => "?".into(),
    }
}

/// The lines that are about it.
pub fn add(lines: &mut Vec<(&'static str, String)>, log: &LogStat) {
    let at = lines.len() - 1;
    let disk = format!("{} bytes in {}", grouped(log.bytes), plural(log.files, "file"));
    let mut more = vec![
        ("disk", disk),
        ("directory", printable(&log.directory.display().to_string())),
        ("numbers", format!("{} to {}", grouped(log.first), grouped(log.next))),
        ("durable", format!("before {} (fsync {})", grouped(log.durable), fsync(log.fsync))),
    ];
    for cursor in &log.cursors {
        let where_it_is = format!(
            "{} at {}, {} behind",
            printable(&cursor.name),
            grouped(cursor.next),
            grouped(cursor.lag)
        );
        more.push(("cursor", where_it_is));
    }
    lines.splice(at..at, more);
}
