//! Messages in files, beside what the disk can do: appended, brought to the disk each by one process or by eight, read again. All on one CPU.
//!
//! The files are in the directory for temporary ones (`TMPDIR`): on whatever disk that is.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tubepost::{Cursor, File, Fsync, Mailbox, Sender};

use super::far::{Far, Near};
use super::job::{Job, What};
use super::limits::{Appended, Synced};
use super::measure::{Found, Measured};
use super::work::Bench;
use crate::exit::Failure;

const NAME: &str = "bench-file";
/// Processes that send and wait for the disk.
pub const CROWD: usize = 8;
/// Between two looks at the clock.
const LAP: u64 = 64;
/// Messages that are read again.
const REPLAYED: u64 = 20_000;

/// A directory of a round's own, gone with it.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new() -> Measured<Self> {
        let path = std::env::temp_dir().join(format!("tubepost-bench-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path); // of a round that failed
        std::fs::create_dir(&path).map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A strategy that keeps messages there.
pub fn kept(directory: &Directory, fsync: Fsync) -> File {
    File { dir: Some(directory.0.join("log")), fsync: Some(fsync), ..File::default() }
}

/// A mailbox that is kept there.
struct Kept<'a>(&'a Bench);

impl Kept<'_> {
    fn new<'a>(bench: &'a Bench, directory: &Directory, fsync: Fsync) -> Measured<Kept<'a>> {
        Mailbox::<[u8]>::options().domain(&bench.domain).strategy(kept(directory, fsync)).create(NAME)?;
        Ok(Kept(bench))
    }

    fn sender(&self) -> Measured<Sender<[u8]>> {
        sender(self.0)
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        let _ = self.0.domain.remove(NAME);
    }
}

fn sender(bench: &Bench) -> Measured<Sender<[u8]>> {
    Ok(Sender::<[u8]>::options().domain(&bench.domain).open(NAME)?)
}

/// All there is of a round, but for what the processes of a crowd do.
pub fn near(bench: &Bench, job: &Job) -> Measured<Found> {
    let directory = Directory::new()?;
    let message = vec![7; job.bytes as usize];
    let io = |e: std::io::Error| Failure::failed(format!("{}: {e}", directory.0.display()));
    match job.what {
        What::MmapAppend => {
            let mut file = Appended::create(&directory.0.join("bare")).map_err(io)?;
            let full = || Failure::failed("the file is too short for this machine; run it with --quick");
            rate(job.time, LAP, || if file.append(&message) { Ok(()) } else { Err(full()) })
        }
        What::Fdatasync => {
            let mut file = Synced::create(&directory.0.join("bare")).map_err(io)?;
            rate(job.time, 1, || file.append(&message).map_err(io))
        }
        What::FileAppend => {
            let kept = Kept::new(bench, &directory, Fsync::Never)?;
            let out = kept.sender()?;
            rate(job.time, LAP, || Ok(out.send(&message)?))
        }
        What::FileEach => {
            let kept = Kept::new(bench, &directory, Fsync::Each)?;
            let out = kept.sender()?;
            rate(job.time, 1, || Ok(out.send(&message)?))
        }
        What::FileEachOf8 => crowd(&Kept::new(bench, &directory, Fsync::Each)?, job),
        _ => replay(&Kept::new(bench, &directory, Fsync::Never)?, &message),
    }
}

fn rate(time: Duration, lap: u64, mut act: impl FnMut() -> Measured<()>) -> Measured<Found> {
    let (begin, mut number) = (Instant::now(), 0);
    while begin.elapsed() < time {
        for _ in 0..lap {
            act()?;
        }
        number += lap;
    }
    found(number, begin)
}

fn found(number: u64, begin: Instant) -> Measured<Found> {
    Ok(Found { latency_ns: None, msgs_per_s: Some(number as f64 / begin.elapsed().as_secs_f64()) })
}

/// Several send at one time, a process each, for longer than it is measured.
fn crowd(kept: &Kept<'_>, job: &Job) -> Measured<Found> {
    let spawn = |_| Far::spawn(&kept.0.directory, || {});
    let mut fars = (0..CROWD).map(spawn).collect::<Measured<Vec<_>>>()?;
    for far in &mut fars {
        far.begin(&Job { time: job.time * 2, ..*job })?;
    }
    for far in &mut fars {
        far.ready()?;
    }
    let sent = || Ok::<_, Failure>(kept.0.domain.stat(NAME)?.sent);
    let (before, begin) = (sent()?, Instant::now());
    std::thread::sleep(job.time); // so long is a round
    let found = found(sent()? - before, begin);
    for far in &mut fars {
        far.done()?;
    }
    found
}

/// One of them.
pub fn far(bench: &Bench, job: &Job, near: &mut Near) -> Measured<()> {
    let (out, message) = (sender(bench)?, vec![7; job.bytes as usize]);
    near.ready()?;
    let begin = Instant::now();
    while begin.elapsed() < job.time {
        out.send(&message)?;
    }
    near.done(None)
}

/// Reads by a cursor what was just written.
fn replay(kept: &Kept<'_>, message: &[u8]) -> Measured<Found> {
    let out = kept.sender()?;
    for _ in 0..REPLAYED {
        out.send(message)?;
    }
    let cursor = Cursor::<[u8]>::options().domain(&kept.0.domain).open(NAME, "replay")?;
    let (begin, mut room, mut number) = (Instant::now(), vec![0; message.len()], 0);
    while cursor.try_recv_into(&mut room).is_ok() {
        number += 1;
    }
    if number == REPLAYED { found(number, begin) } else { Err(Failure::failed("not all was read again")) }
}
