//! What worker processes write down about each message, in a way that outlives them: one file, one short
//! `write` at its end for each note.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use tubepost::{Domain, Receiver};

use crate::letters::Stamp;
use crate::stage::{Child, Cue, PATIENCE, Place, Role, eventually};

pub const ROLES: &[Role] = &[("worker", worker), ("holder", holder)];

/// A message as a worker saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    pub worker: u32,
    pub seq: u64,
    pub process: u32,
    pub count: u64,
    pub redelivered: u32,
}

/// A divisor of a page: a write that crosses pages can be cut short by a SIGKILL.
const BYTES: usize = 32;

impl Note {
    fn write(&self, file: &mut File) {
        let mut bytes = [0; BYTES];
        bytes[..4].copy_from_slice(&self.worker.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.seq.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.process.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.count.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.redelivered.to_le_bytes());
        file.write_all(&bytes).expect("a note");
    }

    fn read(bytes: &[u8]) -> Note {
        let four = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().expect("four bytes"));
        let eight = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("eight bytes"));
        Note { worker: four(0), seq: eight(4), process: four(12), count: eight(16), redelivered: four(24) }
    }
}

/// How a worker receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `recv`, then a note.
    Recv,
    /// `take`, a note, `accept`.
    Take,
}

/// Receives until it is killed or the mailbox is closed; the arguments are domain, name, notes and way.
fn worker(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let inbox = Receiver::<Stamp>::options().domain(&domain).open(cue.arg(1)).expect("it exists");
    let mut file = File::options().append(true).open(cue.arg(2)).expect("the test's file");
    let mut note = |stamp: &Stamp, seq, redelivered| {
        assert!(stamp.is_whole(), "torn: {stamp:?}");
        let (worker, process, count) = (std::process::id(), stamp.process, stamp.count);
        Note { worker, seq, process, count, redelivered }.write(&mut file);
    };
    cue.say("ready");
    let closed = loop {
        if cue.arg(3) == "Take" {
            match inbox.take() {
                Ok(delivery) => {
                    note(&delivery, delivery.seq(), delivery.redelivered());
                    delivery.accept().expect("it was in hand");
                }
                Err(error) => break error,
            }
        } else {
            match inbox.recv_envelope() {
                Ok(envelope) => note(&envelope.message, envelope.seq, envelope.redelivered),
                Err(error) => break error,
            }
        }
    };
    cue.say(closed);
    cue.hear();
}

/// Takes one message in hand and keeps it; the arguments are domain and name.
fn holder(cue: &mut Cue) {
    let domain = Domain::open(cue.arg(0)).expect("the test's domain");
    let inbox = Receiver::<Stamp>::options().domain(&domain).open(cue.arg(1)).expect("it exists");
    let _kept = inbox.take_timeout(PATIENCE).expect("a message");
    cue.say("in hand");
    cue.hear();
}

/// The file of notes; unlinked when dropped.
pub struct Notes {
    path: PathBuf,
}

impl Notes {
    pub fn new(place: &Place) -> Notes {
        let path = place.path().with_extension("notes");
        File::create_new(&path).expect("a fresh file");
        Notes { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn all(&self) -> Vec<Note> {
        let mut bytes = Vec::new();
        File::open(&self.path).and_then(|mut file| file.read_to_end(&mut bytes)).expect("our own file");
        assert!(bytes.len().is_multiple_of(BYTES), "notes are written whole");
        bytes.chunks_exact(BYTES).map(Note::read).collect()
    }

    pub fn len(&self) -> u64 {
        std::fs::metadata(&self.path).expect("our own file").len() / BYTES as u64
    }

    #[track_caller]
    pub fn until(&self, count: u64) {
        eventually("so many notes", || self.len() >= count);
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[track_caller]
pub fn start_worker(place: &Place, notes: &Notes, way: Way) -> Child {
    let path = notes.path().to_str().expect("our own path");
    let mut child = Child::start("worker", &[&place.arg(), "box", path, &format!("{way:?}")]);
    child.expect("ready");
    child
}

/// Sends stamps 0.. of this process until `more` says no; gives how many.
pub fn pour(out: &tubepost::Sender<Stamp>, mut more: impl FnMut(u64) -> bool) -> u64 {
    let mut count = 0;
    while more(count) {
        out.send_timeout(Stamp::new(std::process::id(), 0, count), PATIENCE).expect("room soon");
        count += 1;
    }
    count
}
