//! `tubepost journal`: looking at the messages of a mailbox that is kept in files, and repairing them.

use std::io::Write;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tubepost::{Domain, Entry, Journal, Standing};

use crate::cli::files;
use crate::exit::{Failure, complain, printable};
use crate::output::{self, print};
use crate::show::plural;

pub fn run(domain: &Domain, verb: &files::Journal) -> Result<(), Failure> {
    match verb {
        files::Journal::Verify { name } => verify(domain, name),
        files::Journal::Dump { name, from, json } => dump(domain, name, *from, *json),
        files::Journal::Repair { name } => repair(domain, name),
    }
}

/// Which messages.
fn numbers(from: u64, to: u64) -> String {
    if from == to {
        format!("message {from} is damaged")
    } else {
        format!("messages {from} to {to} are damaged")
    }
}

fn verify(domain: &Domain, name: &str) -> Result<(), Failure> {
    let found = Journal::of(domain, name)?.verify()?;
    for (from, to) in &found.damaged {
        complain(format_args!("{name}: {}", numbers(*from, *to)));
    }
    for path in &found.set_aside {
        complain(format_args!(
            "{name}: {} could not be read; take what you need from it, and remove it",
            path.display()
        ));
    }
    if found.beside > 0 {
        let places = plural(found.beside, "place");
        complain(format_args!(
            "{name}: {places} beside messages damaged; `tubepost journal repair {name}` puts that right"
        ));
    }
    let unfinished = match found.unfinished {
        0 => String::new(),
        more => format!(", {} unfinished", plural(more, "record")),
    };
    print(format!(
        "{}: {} of {} in {}, {} waiting{unfinished}; the next is {}\n",
        printable(name),
        plural(found.messages, "whole message"),
        plural(found.bytes, "byte"),
        plural(found.files, "file"),
        found.waiting,
        found.next
    ))?;
    match found.is_sound() {
        true => Ok(()),
        false => Err(Failure::quiet(1)),
    }
}

/// A record as a line of JSON.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
struct Line {
    seq: u64,
    time: String,
    pid: u32,
    standing: &'static str,
    redelivered: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

fn spell(standing: Standing) -> &'static str {
    match standing {
        Standing::Waits => "waits",
        Standing::InHand => "in hand",
        Standing::Back => "back",
        Standing::Received => "received",
        Standing::Withdrawn => "withdrawn",
        _ => "?",
    }
}

fn when(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

fn dump(domain: &Domain, name: &str, from: u64, json: bool) -> Result<(), Failure> {
    let journal = Journal::of(domain, name)?;
    let mut out = output::buffered()?;
    let mut damaged = false;
    for entry in journal.entries(from)? {
        match entry? {
            Entry::Sent { seq, time, pid, standing, redelivered, bytes } => {
                let standing = spell(standing);
                let text = String::from_utf8(bytes);
                if json {
                    let (text, base64) = match text {
                        Ok(text) => (Some(text), None),
                        Err(error) => (None, Some(STANDARD.encode(error.as_bytes()))),
                    };
                    let line = Line { seq, time: when(time), pid, standing, redelivered, text, base64 };
                    out.write_all(&serde_json::to_vec(&line).map_err(Failure::failed)?)?;
                    out.write_all(b"\n")?;
                } else {
                    let text = text.map_or_else(
                        |error| format!("base64:{}", STANDARD.encode(error.as_bytes())),
                        |text| printable(&text),
                    );
                    writeln!(out, "{seq}\t{}\t{pid}\t{standing}\t{text}", when(time))?;
                }
            }
            Entry::Damaged { from, to } => {
                damaged = true;
                out.flush()?;
                complain(format_args!("{name}: {}", numbers(from, to)));
            }
            _ => {}
        }
    }
    out.flush()?;
    if damaged { Err(Failure::quiet(1)) } else { Ok(()) }
}

fn repair(domain: &Domain, name: &str) -> Result<(), Failure> {
    let found = Journal::of(domain, name)?.repair()?;
    match found.is_clean() {
        true => {
            print(format!("{}: nothing was damaged; the next message is {}\n", printable(name), found.next))
        }
        false => print(format!("{}: {found}\n", printable(name))),
    }
}
