//! How the tour is told: chapters, what happened, and whether it was as promised.

use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::exit::Failure;
use crate::output::print;

/// The tour's account of itself.
pub struct Story {
    begin: Instant,
    chapters: usize,
    kept: usize,
    broken: Vec<String>,
    colour: bool,
}

impl Story {
    pub fn begin(domain: &Path) -> Result<Self, Failure> {
        let colour =
            std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        print(format!("tubepost {}: a tour, in {}\n", env!("CARGO_PKG_VERSION"), domain.display()))?;
        Ok(Self { begin: Instant::now(), chapters: 0, kept: 0, broken: Vec::new(), colour })
    }

    pub fn chapter(&mut self, title: &str) -> Result<(), Failure> {
        self.chapters += 1;
        let line = format!("{}. {title}", self.chapters);
        print(if self.colour { format!("\n\x1b[1m{line}\x1b[0m\n") } else { format!("\n{line}\n") })
    }

    /// Something to know.
    pub fn tell(&mut self, what: &str) -> Result<(), Failure> {
        print(format!("     {what}\n"))
    }

    /// Something promised, and whether it was kept.
    pub fn promise(&mut self, kept: bool, what: &str) -> Result<(), Failure> {
        if kept {
            self.kept += 1;
        } else {
            self.broken.push(what.to_string());
        }
        let (mark, style) = if kept { ("ok ", "32") } else { ("NOT", "31") };
        print(if self.colour {
            format!(" \x1b[{style}m{mark}\x1b[0m {what}\n")
        } else {
            format!(" {mark} {what}\n")
        })
    }

    pub fn end(self) -> Result<(), Failure> {
        let took = self.begin.elapsed().as_secs_f64();
        if self.broken.is_empty() {
            return print(format!("\n{} promises seen kept, in {took:.1} s\n", self.kept));
        }
        Err(Failure::failed(format!("not as promised: {}", self.broken.join("; "))))
    }
}

/// A duration in the unit that suits it.
pub fn time(duration: Duration) -> String {
    let ns = duration.as_nanos() as f64;
    match ns {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.1} µs", ns / 1e3),
        ns if ns < 1e9 => format!("{:.1} ms", ns / 1e6),
        ns => format!("{:.1} s", ns / 1e9),
    }
}
