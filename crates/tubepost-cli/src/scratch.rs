//! A temporary domain for the tour and the benchmark: a directory of their own beside the real ones,
//! gone when they are.
//!
//! The directory stays locked as long as its process lives. So what a killed run left behind is known
//! for what it is, and the next run removes it; no process id is ever taken for a proof of life.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, fstat};

use crate::exit::Failure;

/// Where the temporary domains lie: memory, as the real ones.
const PARENT: &str = "/dev/shm";

/// A directory with mode 0700 that is removed with everything in it when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Makes one for `purpose` and removes what earlier, killed runs for that purpose left.
    pub fn new(purpose: &str) -> Result<Self, Failure> {
        let prefix = format!("tubepost-{purpose}.{}.", rustix::process::geteuid().as_raw());
        remove_abandoned(&prefix);
        let trouble = |e: io::Error| {
            Failure::failed(format!(
                "no temporary domain in {PARENT}: {e}; it needs a writable directory there"
            ))
        };
        for attempt in 0..1000 {
            let path = Path::new(PARENT).join(format!("{prefix}{}.{attempt}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made.map_err(trouble)?,
            }
            // Another run may take a directory that is not locked yet for an abandoned one: then try again.
            if let Some(lock) = lock(&path) {
                return Ok(Self { path, _lock: lock });
            }
        }
        Err(trouble(io::ErrorKind::AlreadyExists.into()))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the directory: what a thread that ends the process without dropping anything may call.
    pub fn remover(&self) -> impl Fn() + Clone + Send + 'static {
        let path = self.path.clone();
        move || {
            // A thread of ours may just be putting something there: then it takes more than one go.
            for _ in 0..100 {
                match std::fs::remove_dir_all(&path) {
                    Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                    _ => return,
                }
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remover()();
    }
}

/// Locks the directory, if nobody else has and it still exists.
fn lock(path: &Path) -> Option<File> {
    let directory = File::open(path).ok()?;
    flock(&directory, FlockOperation::NonBlockingLockExclusive).ok()?;
    (fstat(&directory).ok()?.st_nlink > 0).then_some(directory)
}

fn remove_abandoned(prefix: &str) {
    let Ok(entries) = std::fs::read_dir(PARENT) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) && lock(&entry.path()).is_some() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
