//! What is shown of regions and segments.

use std::time::Duration;

use serde::Serialize;
use tubepost::{RegionStat, RegionWriter, Stat};

use super::{Owner, format_of, grouped, owner, plural, whose_may};

/// A region or a segment as the JSON shows it.
#[derive(Serialize)]
pub struct Shown<'a> {
    kind: String,
    name: &'a str,
    id: String,
    owner: Owner,
    size: Option<u64>,
    format: &'a str,
    mode: String,
    bytes: u64,
    #[serde(flatten)]
    region: Option<Region<'a>>,
}

#[derive(Serialize)]
struct Region<'a> {
    version: u64,
    in_place: bool,
    poisoned: bool,
    lease_max_seconds: f64,
    writer: Option<Writer<'a>>,
    writers_waiting: u32,
    readers: u32,
    /// Of these, how many read a version that is not the newest.
    readers_behind: u32,
    set_aside: u32,
    data_bytes: u64,
}

#[derive(Serialize)]
struct Writer<'a> {
    pid: u32,
    name: &'a str,
    alive: bool,
    lease_seconds: f64,
    /// For how long somebody has waited for it.
    waited_seconds: Option<f64>,
}

impl<'a> Shown<'a> {
    pub fn new(stat: &'a Stat) -> Self {
        Self {
            kind: stat.kind.to_string(),
            name: &stat.name,
            id: stat.id.to_string(),
            owner: Owner::new(stat),
            size: stat.size,
            format: &stat.format,
            mode: format!("{:04o}", stat.mode),
            bytes: stat.bytes,
            region: stat.region.as_ref().map(Region::new),
        }
    }
}

impl<'a> Region<'a> {
    fn new(region: &'a RegionStat) -> Self {
        let writer = region.writer.as_ref().map(|writer| Writer {
            pid: writer.who.pid,
            name: &writer.who.name,
            alive: writer.alive,
            lease_seconds: writer.lease.as_secs_f64(),
            waited_seconds: writer.waited_for.as_ref().map(Duration::as_secs_f64),
        });
        Self {
            version: region.version,
            in_place: region.in_place,
            poisoned: region.poisoned,
            lease_max_seconds: region.lease_max.as_secs_f64(),
            writer,
            writers_waiting: region.writers_waiting,
            readers: region.readers,
            readers_behind: region.readers_behind,
            set_aside: region.set_aside,
            data_bytes: region.data_bytes,
        }
    }
}

/// The same for people.
pub fn lines(stat: &Stat) -> Vec<(&'static str, String)> {
    let size = plural_grouped(stat.size.unwrap_or(0), "byte");
    let mut lines = vec![
        ("kind", stat.kind.to_string()),
        ("id", stat.id.to_string()),
        ("owner", owner(stat)),
        ("data", format!("{size}, format {}", format_of(stat))),
    ];
    let mut memory = plural_grouped(stat.bytes, "byte");
    if let Some(region) = &stat.region {
        if region.in_place {
            let state = if region.poisoned { "poisoned: a program has to repair it" } else { "sound" };
            lines.push(("in place", state.to_string()));
        }
        let waiting = plural(region.writers_waiting.into(), "writer");
        lines.extend([
            ("version", grouped(region.version)),
            ("lease", format!("at most {:?}", region.lease_max)),
            ("writer", region.writer.as_ref().map_or_else(|| "nobody".to_string(), writer)),
            ("waiting", waiting),
            ("readers", readers(region)),
            ("set aside", plural(region.set_aside.into(), "buffer")),
        ]);
        memory.push_str(&format!(", {} of them for the data in all versions", grouped(region.data_bytes)));
    }
    lines.push(("memory", memory));
    lines.push(("mode", format!("{:04o}: {}", stat.mode, permissions(stat))));
    lines
}

fn plural_grouped(count: u64, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{} {what}{s}", grouped(count))
}

fn readers(region: &RegionStat) -> String {
    match region.readers_behind {
        0 => region.readers.to_string(),
        behind => format!("{}, {behind} of them an older version", region.readers),
    }
}

fn writer(writer: &RegionWriter) -> String {
    let (pid, name) = (writer.who.pid, crate::exit::printable(&writer.who.name));
    let dead = if writer.alive { "" } else { ", dead" };
    let since = match writer.waited_for {
        Some(waited) => format!("waited for since {}", short(waited)),
        None => "nobody waits".to_string(),
    };
    format!("process {pid} ({name}){dead}, lease {:?}, {since}", writer.lease)
}

/// A time, to milliseconds.
pub fn short(time: Duration) -> String {
    format!("{:?}", Duration::from_millis(time.as_millis() as u64))
}

fn permissions(stat: &Stat) -> String {
    whose_may(stat.mode, |bits| match bits & 0o6 {
        0o6 => Some("read and write"),
        0o4 => Some("read"),
        _ => None,
    })
}
