//! The long run: senders and receivers of one mailbox, killed and stopped at random moments and replaced, and a
//! ledger that balances in the end.
//!
//! Each process has a journal, a file that it appends to: a sender notes each message before it sends it, and when
//! it was accepted; a receiver notes what it took before it accepts it. So an accepted message has to be in some
//! receiver's journal; in two only if the second one was marked, for its receiver may have died before it accepted.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tubepost::{Domain, Mailbox, Receiver, Sender};

use crate::campaign::{Totals, violated};
use crate::letters;
use crate::scene;
use crate::trace::die_with_parent;
use crate::world::BOX;

const PROCESSES: usize = 6;
const PATIENCE: Duration = Duration::from_secs(20);
/// What a journal says: about to send, accepted, received, received again.
const WORDS: [u8; 4] = *b"saRM";

/// A line of a journal: what, whose, and which message.
type Line = (u8, u32, u32);

fn note(journal: &mut File, (word, sender, number): Line) {
    let mut line = [0; 12];
    line[0] = word;
    line[4..8].copy_from_slice(&sender.to_le_bytes());
    line[8..].copy_from_slice(&number.to_le_bytes());
    journal.write_all(&line).expect("there is memory for a journal");
}

/// A message: some are in line, some in chunks of several lengths.
fn letter(sender: u32, number: u32) -> Vec<u8> {
    let length = [20, 30, 200, 300, 1500, 6000][(sender.wrapping_add(number) % 6) as usize];
    let mut bytes = sender.to_le_bytes().to_vec();
    bytes.extend(letters::write((7, number), length));
    bytes
}

fn read(bytes: &[u8]) -> Result<(u32, u32), String> {
    let (sender, rest) = bytes.split_first_chunk::<4>().ok_or("torn: it has no sender")?;
    let sender = u32::from_le_bytes(*sender);
    let (_, number) = letters::read(rest)?;
    if letter(sender, number) != bytes {
        Err("torn: a message of another length".into())
    } else {
        Ok((sender, number))
    }
}

/// Sends, or receives, until it is killed.
pub fn play(directory: &str, part: &str, own: u32) {
    die_with_parent();
    let domain = Domain::open(format!("{directory}/domain")).expect("it exists");
    let path = format!("{directory}/{part}-{own}");
    let mut journal = OpenOptions::new().append(true).create(true).open(path).expect("a journal");
    if part == "receive" {
        let inbox = Receiver::<[u8]>::options().domain(&domain).open(BOX).expect("it exists");
        loop {
            let Ok(delivery) = inbox.take() else { return };
            let (sender, number) = read(&delivery).unwrap_or_else(|why| panic!("{why}"));
            let word = if delivery.redelivered() > 0 { b'M' } else { b'R' };
            note(&mut journal, (word, sender, number));
            delivery.accept().expect("it is ours");
        }
    }
    let out = Sender::<[u8]>::options().domain(&domain).open(BOX).expect("it exists");
    for number in 0.. {
        note(&mut journal, (b's', own, number));
        if out.send(&letter(own, number)).is_err() {
            return;
        }
        note(&mut journal, (b'a', own, number));
    }
}

/// Runs it for so long.
pub fn run(length: Duration, totals: &Totals) {
    let directory = format!("/dev/shm/stepkill-{:08}-soak", std::process::id());
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir(&directory).expect("a directory of our own");
    let done = soak(&directory, length, totals);
    if let Err(why) = done {
        violated(totals, "soak", "at the end", &why);
    }
    let _ = std::fs::remove_dir_all(&directory);
}

fn soak(directory: &str, length: Duration, totals: &Totals) -> Result<(), String> {
    let domain = Domain::open(format!("{directory}/domain")).map_err(|error| error.to_string())?;
    let options = Mailbox::<[u8]>::options().domain(&domain).bounded(16).max_message(10_000);
    options.create(BOX).map_err(|error| error.to_string())?;
    let mut next = 0;
    let mut start = |at: usize| {
        next += 1;
        let part = if at.is_multiple_of(2) { "send" } else { "receive" };
        let mut command = scene::again(&["soaked", directory, part, &next.to_string()]);
        command.stdin(Stdio::null()).spawn().expect("this program can be started again")
    };
    let mut processes: Vec<Child> = (0..PROCESSES).map(&mut start).collect();
    let (begin, mut dice) = (Instant::now(), 0x9e37_79b9_7f4a_7c15_u64);
    while begin.elapsed() < length {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (at, pause) = ((dice >> 33) as usize % PROCESSES, (dice >> 40) % 12_000);
        std::thread::sleep(Duration::from_micros(pause));
        if (dice >> 58) == 0 {
            let pid = Pid::from_child(&processes[at]);
            let stop = |signal| kill_process(pid, signal).map_err(|error| error.to_string());
            stop(Signal::STOP)?;
            std::thread::sleep(Duration::from_millis(20));
            stop(Signal::CONT)?;
            totals.stops.fetch_add(1, Relaxed);
        } else {
            if let Ok(Some(status)) = processes[at].try_wait() {
                return Err(format!("a process ended by itself: {status}"));
            }
            let _ = processes[at].kill();
            let _ = processes[at].wait();
            totals.kills.fetch_add(1, Relaxed);
            processes[at] = start(at);
        }
    }
    for mut process in processes {
        let _ = process.kill();
        let _ = process.wait();
    }
    drain(&domain, directory)?;
    balance(Path::new(directory), totals)
}

/// What is left, and nothing of it leaks.
fn drain(domain: &Domain, directory: &str) -> Result<(), String> {
    let inbox = Receiver::<[u8]>::options().domain(domain).open(BOX).map_err(|error| error.to_string())?;
    let journal = OpenOptions::new().append(true).create(true).open(format!("{directory}/receive-0"));
    let mut journal = journal.map_err(|error| error.to_string())?;
    let end = Instant::now() + PATIENCE;
    loop {
        while let Ok(envelope) = inbox.try_recv_envelope() {
            let (sender, number) = read(&envelope.message)?;
            let word = if envelope.redelivered > 0 { b'M' } else { b'R' };
            note(&mut journal, (word, sender, number));
        }
        let stat = domain.stat(BOX).map_err(|error| error.to_string())?;
        if (stat.depth, stat.held) == (0, 0) {
            break;
        }
        if Instant::now() > end {
            return Err(format!("never came: {} that wait, {} in hand", stat.depth, stat.held));
        }
    }
    drop(inbox);
    domain.gc().map_err(|error| error.to_string())?;
    let used = crate::layout::used(&domain.path().join(BOX))?;
    if used != crate::layout::Used::default() {
        return Err(format!("in use after gc: {used:?}"));
    }
    domain.remove(BOX).map(|_| ()).map_err(|error| error.to_string())
}

fn balance(directory: &Path, totals: &Totals) -> Result<(), String> {
    let mut messages: BTreeMap<(u32, u32), [u32; 4]> = BTreeMap::new();
    for entry in std::fs::read_dir(directory).map_err(|error| error.to_string())?.flatten() {
        if entry.path().is_dir() {
            continue;
        }
        let journal = std::fs::read(entry.path()).map_err(|error| error.to_string())?;
        let mut last = BTreeMap::new();
        for line in journal.as_chunks::<12>().0 {
            let word = |at: usize| u32::from_le_bytes([line[at], line[at + 1], line[at + 2], line[at + 3]]);
            let (sender, number) = (word(4), word(8));
            let kind = WORDS.iter().position(|it| *it == line[0]).ok_or("a journal is damaged")?;
            messages.entry((sender, number)).or_default()[kind] += 1;
            // Unmarked ones of one sender come to each receiver in order.
            if line[0] == b'R' && last.insert(sender, number).is_some_and(|before| before >= number) {
                return Err(format!("out of order: message {number} of sender {sender}"));
            }
        }
    }
    for ((sender, number), [about, accepted, unmarked, marked]) in &messages {
        let what = format!("message {number} of sender {sender}");
        if *about == 0 {
            return Err(format!("nobody sent {what}"));
        }
        if *accepted > 0 && unmarked + marked == 0 {
            return Err(format!("lost: {what}"));
        }
        if *unmarked > 1 {
            return Err(format!("doubled without a mark: {what}, {unmarked} times"));
        }
    }
    totals.messages.fetch_add(messages.values().map(|counts| u64::from(counts[1])).sum(), Relaxed);
    Ok(())
}
