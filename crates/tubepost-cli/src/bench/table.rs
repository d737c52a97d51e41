//! The benchmark's table: grouped, aligned, with a bar for every ratio where a terminal shows it.

use std::fmt::Write;

use super::job::{Measure, word};
use super::machine::Machine;
use super::row::Row;

/// Cells of a bar that stand for the limit itself, and the most there are.
const LIMIT_CELLS: f64 = 12.0;
const CELLS_MAX: f64 = 36.0;

/// What is being measured on.
pub fn heading(machine: &Machine) -> String {
    let kind = if machine.virtual_machine { ", virtual machine" } else { "" };
    let mut text = format!(
        "{} ({} CPUs{kind}), Linux {}, {}\nmedian of {} rounds ({} where they sleep); one way is half a round trip; × limit is against what this machine can do at all\n",
        machine.cpu, machine.cpus, machine.kernel, machine.os, machine.rounds.spin, machine.rounds.block
    );
    for note in &machine.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

/// A group of rows under its title.
pub fn group(title: &str, rows: &[Row], bars: bool) -> String {
    let stream = rows.iter().all(|row| row.measure == Measure::Stream);
    let figures = if stream {
        format!("{:>28}", "messages/s")
    } else {
        format!("{:>9} {:>9} {:>9}", "p50", "p99", "p99.9")
    };
    let mut text = format!("\n{title}\n  {:<17} {:>9} {figures}   × limit\n", "", "");
    for row in rows {
        let figures = if stream {
            format!("{:>28}", rate(row.msgs_per_s))
        } else {
            format!("{:>9} {:>9} {:>9}", time(row.p50_ns), time(row.p99_ns), time(row.p999_ns))
        };
        let held = match (row.ratio, &row.limit) {
            (Some(ratio), Some(limit)) => format!("{ratio:>6.2} {limit:<10}"),
            _ => "  limit".to_string(),
        };
        let bar = if bars { row.ratio.map(bar).unwrap_or_else(|| bar(1.0)) } else { String::new() };
        let line = format!("  {:<17} {:>7} B {figures}   {held:<17} {bar}", word(row.what), row.bytes);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn time(ns: Option<f64>) -> String {
    match ns {
        None => String::new(),
        Some(ns) if ns < 10_000.0 => format!("{ns:.0} ns"),
        Some(ns) if ns < 10_000_000.0 => format!("{:.1} µs", ns / 1e3),
        Some(ns) => format!("{:.1} ms", ns / 1e6),
    }
}

fn rate(per_s: Option<f64>) -> String {
    match per_s {
        None => String::new(),
        Some(rate) if rate < 1e6 => format!("{:.0} k/s", rate / 1e3),
        Some(rate) => format!("{:.1} M/s", rate / 1e6),
    }
}

/// A bar whose end is drawn in eighths of a cell.
fn bar(ratio: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let cells = ratio * LIMIT_CELLS;
    if cells > CELLS_MAX {
        return format!("{}▶", "█".repeat(CELLS_MAX as usize));
    }
    let eighths = (cells * 8.0).round() as usize;
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}
