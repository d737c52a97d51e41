//! Stand-ins in files: who sends goes on while the network is down, also when the bridge or the machine starts again meanwhile.
//!
//! A directory has for each such stand-in a directory of its log, and beside it a file that says where its mailbox is, so that the stand-in can be made before anything is
//! heard of that. The file is there before the log, and goes after it.
//!
//! **What if it dies here?** The file is written aside, synced and renamed. With the file and no log: the next bridge makes the stand-in, empty. With the log and no file: it is
//! gone for the bridge, and the next one of that name goes on with it.

use crate::error::Error;
use crate::facts::Facts;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};
use tracing::warn;
use tubepost::File;

/// The most that may wait in one of them. Then senders wait.
const MOST: u64 = 1 << 30;
/// What the file is called that says where its mailbox is, behind the stand-in's name.
const SAYS: &str = ".at";

/// Where a stand-in's mailbox is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) bridge: u128,
    pub(crate) mailbox: u128,
    pub(crate) facts: Facts,
}

/// The directory.
#[derive(Debug)]
pub(crate) struct Spool {
    dir: PathBuf,
}

impl Spool {
    pub(crate) fn open(dir: &Path) -> Result<Spool, Error> {
        let failed = Error::system("open the directory of --spool");
        std::fs::create_dir_all(dir)
            .and_then(|()| std::path::absolute(dir))
            .map_err(failed)
            .map(|dir| Spool { dir })
    }

    /// Where the log of a stand-in is, and what is chosen for it.
    pub(crate) fn file(&self, name: &str) -> File {
        File { dir: Some(self.dir.join(name.replace('/', ","))), max_bytes: Some(MOST), ..File::default() }
    }

    fn says(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{}{SAYS}", name.replace('/', ",")))
    }

    pub(crate) fn note(&self, origin: &Origin) -> std::io::Result<()> {
        let bytes = postcard::to_allocvec(origin).map_err(std::io::Error::other)?;
        let (path, aside) = (self.says(&origin.name), self.dir.join(".writing"));
        let mut file = std::fs::File::create(&aside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&aside, &path)?;
        std::fs::File::open(&self.dir)?.sync_all()
    }

    pub(crate) fn forget(&self, name: &str) {
        if let Err(error) = std::fs::remove_file(self.says(name))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            warn!(%error, "where {name:?} is stays in the spool");
        }
    }

    /// All that were noted.
    pub(crate) fn all(&self) -> Vec<Origin> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let said = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(SAYS));
        said.filter_map(|entry| {
            let bytes = std::fs::read(entry.path()).ok()?;
            let origin: Option<Origin> = postcard::from_bytes(&bytes).ok();
            if origin.is_none() {
                warn!("{} can't be read; what is in the log beside it waits", entry.path().display());
            }
            origin
        })
        .collect()
    }
}
