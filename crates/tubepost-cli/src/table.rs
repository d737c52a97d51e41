//! What `tubepost ls` prints: a table, ordered by owner. The system's mailboxes come first; those of one
//! process stand together.
//!
//! In a terminal it has headings, colours and grouped digits; in a pipe every line but the first is a
//! mailbox, with a word in every column.

use std::collections::HashMap;
use std::fmt::Write;
use std::io::IsTerminal;

use tubepost::{OwnerKind, Stat};

use crate::exit::printable;
use crate::show::{format_of, grouped};

const HEADER: [&str; 12] = [
    "NAME", "OWNER", "STATE", "WAITING", "CAPACITY", "HELD", "SENT", "RECEIVED", "BYTES", "KIND", "STRATEGY",
    "FORMAT",
];
/// Words to the left, numbers to the right.
const LEFT: [usize; 5] = [0, 2, 9, 10, 11];

/// How lines are told apart in a terminal.
const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const YELLOW: &str = "33";
const PLAIN: &str = "";

type Cells = [String; HEADER.len()];

/// The least that a long name is cut to.
const NAME: usize = 16;

/// How wide the terminal is, if there is one.
pub fn terminal() -> Option<usize> {
    let out = std::io::stdout();
    let width = || rustix::termios::tcgetwinsize(&out).map_or(80, |size| usize::from(size.ws_col));
    out.is_terminal().then(|| width().max(40))
}

/// The table of mailboxes that are sorted by name. In a terminal long names and formats are cut to its width.
pub fn table(stats: &[Stat], width: Option<usize>) -> String {
    let terminal = width.is_some();
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let stats = by_owner(stats);
    let mut rows: Vec<Cells> = stats.iter().map(|stat| cells(stat, terminal)).collect();
    if let Some(width) = width {
        fit(&mut rows, width);
    }
    let widths = widths(&rows);
    let mut text = String::new();
    let mut add = |line: &str, style: &str| {
        let _ = if colour && !style.is_empty() {
            writeln!(text, "\x1b[{style}m{line}\x1b[0m")
        } else {
            writeln!(text, "{line}")
        };
    };
    if rows.is_empty() && terminal {
        add("nothing here", DIM);
        return text;
    }
    add(&line(&HEADER.map(str::to_string), &widths), BOLD);
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
        let style = match stat {
            stat if !stat.owner.alive => RED,
            stat if Some(stat.depth) == stat.capacity => YELLOW,
            _ => PLAIN,
        };
        add(&line(row, &widths), style);
    }
    text
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

fn cells(stat: &Stat, terminal: bool) -> Cells {
    let number = |n: u64| if terminal { grouped(n) } else { n.to_string() };
    [
        printable(&stat.name),
        stat.owner.pid.map_or_else(|| stat.owner.kind.to_string(), |pid| pid.to_string()),
        if stat.owner.alive { "alive" } else { "dead" }.to_string(),
        number(stat.depth),
        stat.capacity.map_or_else(|| "-".to_string(), number),
        number(stat.held),
        number(stat.sent),
        number(stat.received),
        number(stat.bytes),
        stat.kind.to_string(),
        stat.strategy.to_string(),
        format_of(stat),
    ]
}

/// Cuts names, then formats, so that lines fit.
fn fit(rows: &mut [Cells], width: usize) {
    let [name, others @ .., _] = widths(rows);
    let others: usize = others.iter().map(|column| column + 2).sum();
    let name = name.min(width.saturating_sub(others + 2 + HEADER[HEADER.len() - 1].len()).max(NAME));
    let format = width.saturating_sub(name + others + 2).max(HEADER[HEADER.len() - 1].len());
    for row in rows {
        cut(&mut row[0], name);
        cut(&mut row[HEADER.len() - 1], format);
    }
}

fn cut(cell: &mut String, width: usize) {
    if cell.chars().count() > width {
        *cell = cell.chars().take(width - 1).chain(['…']).collect();
    }
}

fn widths(rows: &[Cells]) -> [usize; HEADER.len()] {
    std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([HEADER[column].len()]).max().unwrap_or(0)
    })
}

fn line(cells: &Cells, widths: &[usize; HEADER.len()]) -> String {
    let mut line = String::new();
    for (column, cell) in cells.iter().enumerate() {
        let width = widths[column];
        let gap = if column == 0 { "" } else { "  " };
        let _ = if LEFT.contains(&column) {
            write!(line, "{gap}{cell:<width$}")
        } else {
            write!(line, "{gap}{cell:>width$}")
        };
    }
    line.trim_end().to_string()
}
