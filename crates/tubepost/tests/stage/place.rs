//! A domain of a test's own, gone when the test is.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use tubepost::Domain;

pub struct Place {
    path: PathBuf,
    domain: Domain,
}

impl Place {
    pub fn new() -> Place {
        let path = Place::unused();
        let domain = Domain::open(&path).expect("a fresh domain on /dev/shm opens");
        Place { path, domain }
    }

    /// A path on /dev/shm that nothing has yet.
    pub fn unused() -> PathBuf {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        PathBuf::from(format!("/dev/shm/tubepost-test-{}-{count}", std::process::id()))
    }

    /// A directory of its own for a mailbox that is kept in files, which goes with the domain.
    pub fn files_of(domain: &Domain) -> PathBuf {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mut path = domain.path().as_os_str().to_owned();
        path.push(format!("-files-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        path.into()
    }

    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path as an argument of a role.
    pub fn arg(&self) -> String {
        self.path.to_str().expect("our own path").to_owned()
    }

    /// The file that a mailbox lies in (docs/format.md).
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name.replace('/', ","))
    }

    /// The names of all files here, sorted.
    pub fn files(&self) -> Vec<String> {
        files_in(&self.path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned() + "-files-";
        let siblings = self.path.parent().into_iter().flat_map(std::fs::read_dir).flatten().flatten();
        for sibling in siblings.filter(|entry| entry.file_name().to_string_lossy().starts_with(&name)) {
            let _ = std::fs::remove_dir_all(sibling.path());
        }
    }
}

pub fn files_in(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(path)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
