//! `tubepost ls`, `stat` and `gc`: what exists, shown to people and to programs.

use std::fmt::Write;
use std::io::IsTerminal;

use serde::Serialize;
use tubepost::{Domain, Stat};

use crate::exit::{Failure, complain, printable};
use crate::output::{print, print_json};

/// A mailbox as the JSON shows it.
#[derive(Serialize)]
struct Shown<'a> {
    kind: String,
    name: &'a str,
    id: String,
    strategy: String,
    owner: ShownOwner,
    capacity: u64,
    depth: u64,
    held: u64,
    max_message: u64,
    format: &'a str,
    /// Permission bits as they are usually written, such as "0600".
    mode: String,
    sent: u64,
    received: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct ShownOwner {
    kind: String,
    pid: Option<u32>,
    alive: bool,
}

impl<'a> Shown<'a> {
    fn new(stat: &'a Stat) -> Self {
        Self {
            kind: stat.kind.to_string(),
            name: &stat.name,
            id: stat.id.to_string(),
            strategy: stat.strategy.to_string(),
            owner: ShownOwner {
                kind: stat.owner.kind.to_string(),
                pid: stat.owner.pid,
                alive: stat.owner.alive,
            },
            capacity: stat.capacity,
            depth: stat.depth,
            held: stat.held,
            max_message: stat.max_message,
            format: &stat.format,
            mode: format!("{:04o}", stat.mode),
            sent: stat.sent,
            received: stat.received,
            bytes: stat.bytes,
        }
    }
}

/// Lists everything; what cannot be read is reported and hides nothing else.
pub fn ls(domain: &Domain, json: bool) -> Result<(), Failure> {
    let mut stats = Vec::new();
    for listed in domain.list()? {
        match listed.stat {
            Ok(stat) => stats.push(stat),
            Err(e) => complain(e),
        }
    }
    if json {
        return print_json(&stats.iter().map(Shown::new).collect::<Vec<_>>());
    }
    print(table(&stats, std::io::stdout().is_terminal()))
}

/// Shows one.
pub fn stat(domain: &Domain, name: &str, json: bool) -> Result<(), Failure> {
    let stat = domain.stat(name)?;
    if json { print_json(&Shown::new(&stat)) } else { print(portrait(&stat)) }
}

/// Removes what the dead left, and says what that was.
pub fn gc(domain: &Domain) -> Result<(), Failure> {
    let swept = domain.gc()?;
    for (_, error) in &swept.left_alone {
        complain(format_args!("left alone: {error}"));
    }
    let mut text = String::new();
    for name in &swept.removed {
        let _ = writeln!(text, "removed {}: its owner is dead", printable(name));
    }
    if swept.rows > 0 {
        let _ = writeln!(text, "cleared {} of dead users", plural(swept.rows, "row"));
    }
    if text.is_empty() {
        text.push_str("nothing to remove\n");
    }
    print(text)
}

const HEADER: [&str; 10] =
    ["NAME", "OWNER", "STATE", "WAITING", "CAPACITY", "HELD", "SENT", "RECEIVED", "BYTES", "FORMAT"];
/// Words to the left, numbers to the right.
const LEFT: [usize; 3] = [0, 2, 9];

fn table(stats: &[Stat], terminal: bool) -> String {
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let number = |n: u64| if terminal { grouped(n) } else { n.to_string() };
    let row = |stat: &Stat| {
        [
            printable(&stat.name),
            stat.owner.pid.map_or_else(|| stat.owner.kind.to_string(), |pid| pid.to_string()),
            if stat.owner.alive { "alive" } else { "dead" }.to_string(),
            number(stat.depth),
            number(stat.capacity),
            number(stat.held),
            number(stat.sent),
            number(stat.received),
            number(stat.bytes),
            format_of(stat),
        ]
    };
    let rows: Vec<_> = stats.iter().map(row).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([HEADER[column].len()]).max().unwrap_or(0)
    };
    let widths: [usize; HEADER.len()] = std::array::from_fn(width);
    let line = |cells: [&str; HEADER.len()]| {
        let mut line = String::new();
        for (column, cell) in cells.into_iter().enumerate() {
            let width = widths[column];
            let gap = if column == 0 { "" } else { "  " };
            let _ = if LEFT.contains(&column) {
                write!(line, "{gap}{cell:<width$}")
            } else {
                write!(line, "{gap}{cell:>width$}")
            };
        }
        line.trim_end().to_string()
    };
    let mut text = String::new();
    let mut add = |line: String, style: &str| {
        let _ = if colour && !style.is_empty() {
            writeln!(text, "\x1b[{style}m{line}\x1b[0m")
        } else {
            writeln!(text, "{line}")
        };
    };
    if rows.is_empty() && terminal {
        add("nothing here".to_string(), "2");
        return text;
    }
    add(line(HEADER), "1");
    for (stat, row) in stats.iter().zip(&rows) {
        let style = match stat {
            stat if !stat.owner.alive => "31",
            stat if stat.depth == stat.capacity => "33",
            _ => "",
        };
        add(line(row.each_ref().map(String::as_str)), style);
    }
    text
}

fn portrait(stat: &Stat) -> String {
    let variable = if stat.variable { "up to" } else { "exactly" };
    let lines = [
        ("kind", format!("{}, {} memory", stat.kind, stat.strategy)),
        ("id", stat.id.to_string()),
        ("owner", owner(stat)),
        ("messages", format!("{variable} {} bytes, format {}", grouped(stat.max_message), format_of(stat))),
        ("waiting", format!("{} of {}", grouped(stat.depth), grouped(stat.capacity))),
        ("held", grouped(stat.held)),
        ("sent", grouped(stat.sent)),
        ("received", grouped(stat.received)),
        ("memory", format!("{} bytes, mode {:04o}", grouped(stat.bytes), stat.mode)),
    ];
    let mut text = format!("{}\n", printable(&stat.name));
    for (what, value) in lines {
        let _ = writeln!(text, "  {what:<9} {value}");
    }
    text
}

fn owner(stat: &Stat) -> String {
    let owner = &stat.owner;
    let who = match owner.pid {
        Some(pid) if owner.name.is_empty() => pid.to_string(),
        Some(pid) => format!("{pid} ({})", printable(&owner.name)),
        None => return owner.kind.to_string(),
    };
    if owner.alive { format!("process {who}") } else { format!("process {who}, dead") }
}

fn format_of(stat: &Stat) -> String {
    if stat.format.is_empty() { "-".to_string() } else { printable(&stat.format) }
}

/// A number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn plural(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
