//! What `tubepost ls` prints: a table, ordered by owner. The system's mailboxes come first; those of one
//! process stand together.
//!
//! In a terminal it has headings, colours and grouped digits; in a pipe every line but the first is a
//! mailbox, with a word in every column. Regions and segments have such a table of their own behind it.

use std::collections::HashMap;
use std::fmt::Write;
use std::io::IsTerminal;

use tubepost::{OwnerKind, RegionStat, Stat};

use crate::exit::printable;
use crate::show::{data::short, format_of, grouped};

/// What a table has in its columns, the last of which may be cut.
struct Columns {
    header: &'static [&'static str],
    /// Words are to the left, numbers to the right.
    left: &'static [usize],
    cells: fn(&Stat, bool) -> Vec<String>,
}

const MESSAGES: Columns = Columns {
    header: &[
        "NAME", "OWNER", "STATE", "WAITING", "CAPACITY", "HELD", "SENT", "RECEIVED", "BYTES", "KIND",
        "STRATEGY", "FORMAT",
    ],
    left: &[0, 2, 9, 10, 11],
    cells: of_messages,
};

/// Of regions and segments.
const DATA: Columns = Columns {
    header: &[
        "NAME", "OWNER", "STATE", "SIZE", "VERSION", "READERS", "WRITER", "SINCE", "WAITING", "ASIDE",
        "BYTES", "KIND", "FORMAT",
    ],
    left: &[0, 2, 11, 12],
    cells: of_data,
};

/// How lines are told apart in a terminal.
const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const YELLOW: &str = "33";
const PLAIN: &str = "";

/// The least that a long name is cut to.
const NAME: usize = 16;

/// How wide the terminal is, if there is one.
pub fn terminal() -> Option<usize> {
    let out = std::io::stdout();
    let width = || rustix::termios::tcgetwinsize(&out).map_or(80, |size| usize::from(size.ws_col));
    out.is_terminal().then(|| width().max(40))
}

/// The tables of what is sorted by name: what has messages, and what has data. In a terminal long names and formats are
/// cut to its width.
pub fn table(stats: &[Stat], width: Option<usize>) -> String {
    let terminal = width.is_some();
    let stats = by_owner(stats);
    let (data, messages): (Vec<&Stat>, Vec<&Stat>) = stats.into_iter().partition(|stat| stat.size.is_some());
    let mut text = String::new();
    if data.is_empty() && messages.is_empty() && terminal {
        add(&mut text, "nothing here", DIM, terminal);
        return text;
    }
    if !messages.is_empty() || data.is_empty() {
        one(&mut text, &MESSAGES, &messages, width);
    }
    if !data.is_empty() {
        if terminal && !messages.is_empty() {
            text.push('\n');
        }
        one(&mut text, &DATA, &data, width);
    }
    text
}

fn add(text: &mut String, line: &str, style: &str, terminal: bool) {
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let _ = if colour && !style.is_empty() {
        writeln!(text, "\x1b[{style}m{line}\x1b[0m")
    } else {
        writeln!(text, "{line}")
    };
}

fn one(text: &mut String, columns: &Columns, stats: &[&Stat], width: Option<usize>) {
    let terminal = width.is_some();
    let mut rows: Vec<_> = stats.iter().map(|stat| (columns.cells)(stat, terminal)).collect();
    if let Some(width) = width {
        fit(columns, &mut rows, width);
    }
    let widths = widths(columns, &rows);
    let mut add = |line: &str, style: &str| add(text, line, style, terminal);
    let header: Vec<_> = columns.header.iter().map(|name| (*name).to_string()).collect();
    add(&line(columns, &header, &widths), BOLD);
    let mut group = None;
    for (stat, row) in stats.iter().zip(&rows) {
        let kind = stat.owner.kind;
        if terminal && group.replace(kind) != Some(kind) {
            let heading = match kind {
                OwnerKind::System => "owned by the system",
                _ => "owned by processes",
            };
            add(heading, DIM);
        }
        add(&line(columns, row, &widths), style(stat));
    }
}

/// Red: its owner is dead. Yellow: somebody waits.
fn style(stat: &Stat) -> &'static str {
    match stat {
        stat if !stat.owner.alive => RED,
        Stat { region: Some(region), .. } if region.writers_waiting > 0 => YELLOW,
        Stat { size: None, .. } if Some(stat.depth) == stat.capacity => YELLOW,
        _ => PLAIN,
    }
}

/// The system's first, then processes in the order of their first names.
fn by_owner(stats: &[Stat]) -> Vec<&Stat> {
    let mut ranks = HashMap::new();
    for (at, stat) in stats.iter().enumerate() {
        ranks.entry(stat.owner.pid).or_insert(at);
    }
    let mut ordered: Vec<&Stat> = stats.iter().collect();
    ordered.sort_by_key(|stat| (stat.owner.kind != OwnerKind::System, ranks[&stat.owner.pid]));
    ordered
}

fn number(n: u64, terminal: bool) -> String {
    if terminal { grouped(n) } else { n.to_string() }
}

/// A process, the system, or the host where the mailbox is that this one stands for.
fn owner(stat: &Stat) -> String {
    if let Some(place) = &stat.stands_for {
        return format!("@{}", printable(place).replace(char::is_whitespace, "_"));
    }
    stat.owner.pid.map_or_else(|| stat.owner.kind.to_string(), |pid| pid.to_string())
}

fn state(stat: &Stat) -> String {
    if stat.owner.alive { "alive" } else { "dead" }.to_string()
}

const NOTHING: &str = "-";

fn of_messages(stat: &Stat, terminal: bool) -> Vec<String> {
    let number = |n: u64| number(n, terminal);
    vec![
        printable(&stat.name),
        owner(stat),
        state(stat),
        number(stat.depth),
        stat.capacity.map_or_else(|| NOTHING.to_string(), number),
        number(stat.held),
        number(stat.sent),
        number(stat.received),
        number(stat.bytes),
        stat.kind.to_string(),
        stat.strategy.to_string(),
        format_of(stat),
    ]
}

fn of_data(stat: &Stat, terminal: bool) -> Vec<String> {
    let number = |n: u64| number(n, terminal);
    let region = stat.region.as_ref();
    let writer = region.and_then(|region| region.writer.as_ref());
    let or_nothing = |text: Option<String>| text.unwrap_or_else(|| NOTHING.to_string());
    let count = |of: fn(&RegionStat) -> u64| or_nothing(region.map(|region| number(of(region))));
    vec![
        printable(&stat.name),
        owner(stat),
        state(stat),
        or_nothing(stat.size.map(number)),
        count(|region| region.version),
        count(|region| region.readers.into()),
        or_nothing(writer.map(|writer| writer.who.pid.to_string())),
        or_nothing(writer.and_then(|writer| writer.waited_for).map(short)),
        count(|region| region.writers_waiting.into()),
        count(|region| region.set_aside.into()),
        number(stat.bytes),
        stat.kind.to_string(),
        format_of(stat),
    ]
}

/// Cuts names, then formats, so that lines fit.
fn fit(columns: &Columns, rows: &mut [Vec<String>], width: usize) {
    let widths = widths(columns, rows);
    let [name, others @ .., _] = &widths[..] else { return };
    let last = columns.header.len() - 1;
    let format = columns.header[last].len();
    let others: usize = others.iter().map(|column| column + 2).sum();
    let name = *name.min(&width.saturating_sub(others + 2 + format).max(NAME));
    let format = width.saturating_sub(name + others + 2).max(format);
    for row in rows {
        cut(&mut row[0], name);
        cut(&mut row[last], format);
    }
}

fn cut(cell: &mut String, width: usize) {
    if cell.chars().count() > width {
        *cell = cell.chars().take(width - 1).chain(['…']).collect();
    }
}

fn widths(columns: &Columns, rows: &[Vec<String>]) -> Vec<usize> {
    let width = |(column, name): (usize, &&str)| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([name.len()]).max().unwrap_or(0)
    };
    columns.header.iter().enumerate().map(width).collect()
}

fn line(columns: &Columns, cells: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let gap = if column == 0 { "" } else { "  " };
        let _ = if columns.left.contains(&column) {
            write!(line, "{gap}{cell:<width$}")
        } else {
            write!(line, "{gap}{cell:>width$}")
        };
    }
    line.trim_end().to_string()
}
