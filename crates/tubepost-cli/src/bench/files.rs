//! Messages in files, beside what the disk can do: appended, brought to the disk each, read again. In one process, on one CPU; what is sent, and by how many threads each with a
//! handle of its own, is as the row says.
//!
//! The files are in the directory for temporary ones (`TMPDIR`): on whatever disk that is.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tubepost::{Cursor, File, Fsync, Mailbox, Sender};

use super::job::{Job, What};
use super::limits::{Appended, Synced};
use super::measure::{Found, Measured};
use super::work::Bench;
use crate::exit::Failure;

const NAME: &str = "bench-file";
/// Threads that send and wait for the disk.
const CROWD: usize = 8;
/// Between two looks at the clock.
const LAP: u64 = 64;
/// Messages that are read again.
const REPLAYED: u64 = 20_000;

/// A directory of a round's own, gone with it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Measured<Self> {
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

/// A mailbox that is kept there.
struct Kept<'a>(&'a Bench);

impl Kept<'_> {
    fn new<'a>(bench: &'a Bench, directory: &Path, fsync: Fsync) -> Measured<Kept<'a>> {
        let file = File { dir: Some(directory.join("log")), fsync: Some(fsync), ..File::default() };
        Mailbox::<[u8]>::options().domain(&bench.domain).strategy(file).create(NAME)?;
        Ok(Kept(bench))
    }

    fn sender(&self) -> Measured<Sender<[u8]>> {
        Ok(Sender::<[u8]>::options().domain(&self.0.domain).open(NAME)?)
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        let _ = self.0.domain.remove(NAME);
    }
}

/// All there is of a round.
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
            let kept = Kept::new(bench, &directory.0, Fsync::Never)?;
            let out = kept.sender()?;
            rate(job.time, LAP, || Ok(out.send(&message)?))
        }
        What::FileEach => {
            let kept = Kept::new(bench, &directory.0, Fsync::Each)?;
            let out = kept.sender()?;
            rate(job.time, 1, || Ok(out.send(&message)?))
        }
        What::FileEachOf8 => crowd(&Kept::new(bench, &directory.0, Fsync::Each)?, &message, job.time),
        _ => replay(&Kept::new(bench, &directory.0, Fsync::Never)?, &message),
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

/// Several send at one time, each by a handle of its own.
fn crowd(kept: &Kept<'_>, message: &[u8], time: Duration) -> Measured<Found> {
    let senders = (0..CROWD).map(|_| kept.sender()).collect::<Measured<Vec<_>>>()?;
    let (over, begin) = (AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        let send = |out: Sender<[u8]>| {
            let over = &over;
            move || {
                let mut number = 0;
                while !over.load(Relaxed) {
                    out.send(message)?;
                    number += 1;
                }
                Measured::Ok(number)
            }
        };
        let threads: Vec<_> = senders.into_iter().map(|out| scope.spawn(send(out))).collect();
        std::thread::sleep(time); // so long is a round
        over.store(true, Relaxed);
        let mut number = 0;
        for thread in threads {
            number += thread.join().map_err(|_| Failure::failed("a thread of the benchmark failed"))??;
        }
        found(number, begin)
    })
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
