//! `tubepost ls`, `stat` and `gc`: what exists, shown to people and to programs.

pub mod data;
mod files;

use std::fmt::Write;

use serde::Serialize;
use tubepost::{Carried, Domain, Kind, OwnerKind, Stat, Strategy};

use crate::exit::{Failure, complain, printable};
use crate::output::{print, print_json};
use crate::table::{self, table};

/// Whatever it is, as the JSON shows it.
#[derive(Serialize)]
#[serde(untagged)]
enum Shown<'a> {
    Messages(Box<Mailbox<'a>>),
    Data(Box<data::Shown<'a>>),
}

impl<'a> Shown<'a> {
    fn new(stat: &'a Stat) -> Self {
        match stat.size {
            Some(_) => Self::Data(data::Shown::new(stat).into()),
            None => Self::Messages(Mailbox::new(stat).into()),
        }
    }
}

/// A mailbox, a process or a link as the JSON shows it.
#[derive(Serialize)]
struct Mailbox<'a> {
    kind: String,
    name: &'a str,
    id: String,
    strategy: String,
    owner: Owner,
    capacity: Option<u64>,
    depth: u64,
    held: u64,
    max_message: u64,
    format: &'a str,
    /// Permission bits as they are usually written, such as "0600".
    mode: String,
    sent: u64,
    received: u64,
    /// Of these, what was moved to dead letters, and what nobody wanted and went nowhere.
    dead_letters: u64,
    discarded: u64,
    /// Of the kernel and the sealed strategy, and of a process that joined: connections that were shut for rubbish, or
    /// for limits.
    shut: u64,
    bytes: u64,
    /// Of these, what messages have that don't fit their places, or are in hand; how much of that is
    /// empty now; and the most that it can become.
    chunk_bytes: u64,
    chunk_waste: u64,
    ceiling: u64,
    /// Where the mailbox is for which this one stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    stands_for: Option<&'a str>,
    /// What was done to hand its messages on.
    #[serde(skip_serializing_if = "Option::is_none")]
    carried: Option<Handed>,
    /// Of a mailbox that is kept in files.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<files::Log<'a>>,
}

/// As [`Carried`].
#[derive(Serialize)]
struct Handed {
    sent_on: u64,
    placed: u64,
    collected: u64,
    sent_again: u64,
    duplicates: u64,
    breaks: u64,
}

impl Handed {
    fn new(carried: &Carried) -> Self {
        let Carried { sent_on, placed, collected, sent_again, duplicates, breaks } = *carried;
        Self { sent_on, placed, collected, sent_again, duplicates, breaks }
    }
}

#[derive(Serialize)]
struct Owner {
    kind: String,
    pid: Option<u32>,
    alive: bool,
}

impl Owner {
    fn new(stat: &Stat) -> Self {
        Self { kind: stat.owner.kind.to_string(), pid: stat.owner.pid, alive: stat.owner.alive }
    }
}

impl<'a> Mailbox<'a> {
    fn new(stat: &'a Stat) -> Self {
        Self {
            kind: stat.kind.to_string(),
            name: &stat.name,
            id: stat.id.to_string(),
            strategy: stat.strategy.to_string(),
            owner: Owner::new(stat),
            capacity: stat.capacity,
            depth: stat.depth,
            held: stat.held,
            max_message: stat.max_message,
            format: &stat.format,
            mode: format!("{:04o}", stat.mode),
            sent: stat.sent,
            received: stat.received,
            dead_letters: stat.dead_letters,
            discarded: stat.discarded,
            shut: stat.shut,
            bytes: stat.bytes,
            chunk_bytes: stat.chunk_bytes,
            chunk_waste: stat.chunk_waste,
            ceiling: stat.ceiling,
            stands_for: stat.stands_for.as_deref(),
            carried: None,
            log: stat.log.as_ref().map(files::Log::new),
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
    print(table(&stats, table::terminal()))
}

/// Shows one.
pub fn stat(domain: &Domain, name: &str, json: bool) -> Result<(), Failure> {
    let stat = domain.stat(name)?;
    let carried = if stat.size.is_none() { domain.carried(stat.id)? } else { None };
    if !json {
        return print(portrait(&stat, carried.as_ref()));
    }
    let mut shown = Shown::new(&stat);
    if let Shown::Messages(mailbox) = &mut shown {
        mailbox.carried = carried.as_ref().map(Handed::new);
    }
    print_json(&shown)
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
    if swept.bytes > 0 {
        let _ = writeln!(text, "gave back {} of memory", plural(swept.bytes, "byte"));
    }
    if text.is_empty() {
        text.push_str("nothing to remove\n");
    }
    print(text)
}

fn waiting(stat: &Stat) -> String {
    let of = stat.capacity.map_or("any number".to_owned(), grouped);
    format!("{} of {of}", grouped(stat.depth))
}

fn portrait(stat: &Stat, carried: Option<&Carried>) -> String {
    let mut lines = if stat.size.is_some() { data::lines(stat) } else { lines(stat) };
    lines.extend(carried.map(|carried| ("carried", handed_on(carried))));
    let mut text = format!("{}\n", printable(&stat.name));
    for (what, value) in lines {
        let _ = writeln!(text, "  {what:<9} {value}");
    }
    text
}

fn lines(stat: &Stat) -> Vec<(&'static str, String)> {
    let variable = if stat.variable { "up to" } else { "exactly" };
    let mut lines = vec![
        ("kind", format!("{}, {}", stat.kind, by(stat.strategy))),
        ("id", stat.id.to_string()),
        ("owner", owner(stat)),
        ("messages", format!("{variable} {} bytes, format {}", grouped(stat.max_message), format_of(stat))),
        ("waiting", waiting(stat)),
        ("held", grouped(stat.held)),
        ("sent", grouped(stat.sent)),
        ("received", received(stat)),
        ("memory", format!("{} bytes", grouped(stat.bytes))),
        ("large", large(stat)),
        ("mode", format!("{:04o}: {}", stat.mode, permissions(stat))),
    ];
    if let Some(answer) = &stat.answer {
        let answer = if answer.is_empty() { "-".to_string() } else { printable(answer) };
        lines.insert(4, ("answers", format!("format {answer}")));
    }
    if let Some(log) = &stat.log {
        lines.retain(|(what, _)| *what != "large");
        files::add(&mut lines, log);
        return lines;
    }
    if stat.strategy == Strategy::File {
        lines.retain(|(what, _)| !["large", "waiting", "held", "sent", "received"].contains(what));
        lines.push((
            "directory",
            "not there any more, or not readable: nothing is known of its messages".into(),
        ));
        return lines;
    }
    // A process has its links' connections.
    if stat.strategy != Strategy::Shared || stat.kind == Kind::Process {
        let shut = format!("{}, for rubbish or limits", plural(stat.shut, "connection"));
        lines.insert(lines.len() - 1, ("shut", shut));
    }
    lines
}

/// What was done to hand its messages on, or those of others to it.
fn handed_on(carried: &Carried) -> String {
    let Carried { sent_on, placed, collected, sent_again, duplicates, breaks } = *carried;
    let mut text =
        format!("{} sent on, {} placed, {} collected", grouped(sent_on), grouped(placed), grouped(collected));
    let rare = [(sent_again, "sent again"), (duplicates, "came twice")];
    for (count, what) in rare.into_iter().filter(|(count, _)| *count > 0) {
        let _ = write!(text, ", {} {what}", grouped(count));
    }
    if breaks > 0 {
        let _ = write!(
            text,
            "; the way broke {}",
            if breaks == 1 { "once".into() } else { plural(breaks, "time") }
        );
    }
    text
}

/// How many came out, and for how many of them nobody had any use.
fn received(stat: &Stat) -> String {
    let mut text = grouped(stat.received);
    let unwanted = [(stat.dead_letters, "went to dead letters"), (stat.discarded, "discarded")];
    for (count, what) in unwanted.into_iter().filter(|(count, _)| *count > 0) {
        let _ = write!(text, ", {} of them {what}", grouped(count));
    }
    text
}

/// The memory of messages that don't fit their places.
fn large(stat: &Stat) -> String {
    let most = grouped(stat.ceiling);
    if stat.strategy == Strategy::Kernel {
        return format!("the kernel holds up to {most} bytes before they are received");
    }
    if stat.strategy == Strategy::Sealed {
        return format!("{most} bytes with each sender");
    }
    match (stat.chunk_bytes, stat.chunk_waste) {
        (0, _) => format!("none of at most {most} bytes"),
        (bytes, 0) => format!("{} of at most {most} bytes", grouped(bytes)),
        (bytes, waste) => {
            format!("{} of at most {most} bytes, {} of them unused", grouped(bytes), grouped(waste))
        }
    }
}

/// Who may do what, in words.
fn permissions(stat: &Stat) -> String {
    let may = |bits: u32| match bits & 0o6 {
        0o6 => Some("send and receive"),
        0o4 => Some("receive"),
        0o2 => Some("send"),
        _ => None,
    };
    // Where a process receives, nobody else does.
    let bits = match stat.owner.kind {
        OwnerKind::Process => stat.mode & 0o622,
        _ => stat.mode,
    };
    whose_may(bits, may)
}

/// Who else may do what, by these bits.
fn whose_may(bits: u32, may: impl Fn(u32) -> Option<&'static str>) -> String {
    let whose = [("its group may", bits >> 3), ("others may", bits)];
    let words: Vec<_> =
        whose.into_iter().filter_map(|(who, bits)| may(bits).map(|what| format!("{who} {what}"))).collect();
    if words.is_empty() { "its user only".to_string() } else { words.join(", ") }
}

fn owner(stat: &Stat) -> String {
    let owner = &stat.owner;
    let who = match owner.pid {
        Some(pid) if owner.name.is_empty() => pid.to_string(),
        Some(pid) => format!("{pid} ({})", printable(&owner.name)),
        None => {
            let place = stat.stands_for.as_deref().map(printable);
            return place.map_or("the system: it stays until `tubepost rm`".to_string(), |place| {
                format!("at {place}: this one stands for a mailbox there")
            });
        }
    };
    if owner.alive { format!("process {who}") } else { format!("process {who}, dead") }
}

pub fn format_of(stat: &Stat) -> String {
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

/// A number of things.
pub fn plural(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// How messages travel, in words.
fn by(strategy: Strategy) -> String {
    match strategy {
        Strategy::Shared => "shared memory".into(),
        Strategy::Kernel => "copied by the kernel".into(),
        Strategy::Sealed => "sealed memory with each sender".into(),
        Strategy::File => "kept in files".into(),
        other => other.to_string(),
    }
}
