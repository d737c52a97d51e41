//! One document, edited by several processes at once: each reads a whole version, edits it, and commits if nobody was faster.
//! One of them is killed in the middle of an edit, another stands still with the document in its hand: the others go on.
//!
//! `cargo run --release --example document`

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use tubepost::{Domain, Error, Message, Region};

const LINES: usize = 32;
const EDITORS: usize = 4;
const EDITS: u64 = 50;

/// Who wrote a line last, and what.
#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Line {
    author: u64,
    length: u64,
    text: [u8; 48],
}

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Document {
    edits: u64,
    lines: [Line; LINES],
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, domain, editor] = &arguments[..] {
        return edit(&Domain::open(domain)?, editor.parse()?);
    }

    // A domain of its own, so that this can run beside anything else.
    let path = format!("/dev/shm/tubepost-example-document-{}", std::process::id());
    let domain = Domain::open(&path)?;
    let options = Region::<Document>::options().domain(&domain);
    // Who keeps the others waiting for longer than this loses its edit.
    let document = options.lease_max(Duration::from_millis(20)).own("document")?;

    let started = Instant::now();
    let start = |editor: usize| Command::new(&arguments[0]).args([&path, &editor.to_string()]).spawn();
    let mut editors: Vec<Child> = (0..EDITORS).map(start).collect::<Result<_, _>>()?;
    // Any reader sees whole versions, and waits for nobody.
    let mut seen = document.version()?;
    let mut shown = 0;
    while shown < 3 {
        seen = document.wait_for_change(seen)?;
        let now = document.read()?;
        if now.edits >= 20 * (shown + 1) {
            shown += 1;
            println!("version {}: {} edits", now.version(), now.edits);
        }
    }
    editors[0].kill()?; // wherever it is just now
    for editor in &mut editors {
        editor.wait()?;
    }

    let end = document.read()?;
    println!("{} edits of {EDITORS} processes, one of them killed, in {:.0?}", end.edits, started.elapsed());
    for line in end.lines.iter().filter(|line| line.length > 0).take(3) {
        println!("  {}", String::from_utf8_lossy(&line.text[..line.length as usize]));
    }
    assert!(end.edits >= EDITS * (EDITORS as u64 - 1) - 1);
    drop(end);
    drop(document);
    domain.gc()?;
    std::fs::remove_dir(&path)?;
    Ok(())
}

/// One editor: changes a line, and the count of edits, again and again.
fn edit(domain: &Domain, me: u64) -> Result<(), Box<dyn std::error::Error>> {
    let document = Region::<Document>::options().domain(domain).open("document")?;
    let mut done = 0;
    while done < EDITS {
        let mut writing = document.write()?;
        let number = writing.edits + 1;
        writing.edits = number;
        let text = format!("edit {number}, by editor {me}, its number {done}");
        let line = &mut writing.lines[number as usize % LINES];
        (line.author, line.length) = (me, text.len() as u64);
        line.text[..text.len()].copy_from_slice(text.as_bytes());
        if me == 1 && done == 10 {
            std::thread::sleep(Duration::from_millis(100)); // out for coffee, the document in hand
        }
        match writing.commit() {
            Ok(_) => done += 1,
            Err(error @ Error::LeaseExpired { .. }) => {
                println!("editor {me}: {error}");
                done += 1; // and its edit is gone
            }
            Err(other) => return Err(other.into()),
        }
    }
    Ok(())
}
