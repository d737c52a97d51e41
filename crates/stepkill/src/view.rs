//! What everybody can see of a domain: its names, and the bytes of its files that have memory. And what the other end of a pair can see: the
//! memory without a name of the process that is walked.
//!
//! It is read and not mapped, for looking at a mapped page gives it memory, which would be a change.

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::SeekFrom;

/// What the system calls the memory of a pair.
pub const NAMELESS: &str = "/memfd:tubepost";

#[derive(Debug)]
struct Seen {
    file: File,
    inode: u64,
    rank: Rank,
    blocks: u64,
    /// From where to where there is memory, and what is in it.
    extents: Vec<(u64, Vec<u8>)>,
}

/// Which file it is, as that is the same each time: what has a name, by its age, which inodes tell; then what has none, by the descriptor
/// of who is walked. (Inodes of memory without a name are of the processor that it was made on.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Inode(u64),
    Descriptor(u64),
}

/// A domain as it was when it was looked at last.
#[derive(Debug)]
pub struct View {
    directory: PathBuf,
    /// Where messages are that are kept in files.
    log: PathBuf,
    /// The descriptors of who is walked.
    descriptors: PathBuf,
    files: BTreeMap<String, Seen>,
    buffer: Vec<u8>,
}

/// What was in which pages, for comparing.
#[derive(Debug, Default)]
pub struct Snapshot(BTreeMap<String, BTreeMap<u64, Vec<u8>>>);

const PAGE: usize = 4096;

impl View {
    pub fn of(directory: &Path, pid: u32) -> View {
        let descriptors = format!("/proc/{pid}/fd").into();
        let (files, buffer) = (BTreeMap::new(), Vec::new());
        let log = crate::filed::log_of(directory);
        let mut view = View { directory: directory.into(), log, descriptors, files, buffer };
        view.look(true);
        view
    }

    /// Looks again, at names too if asked: did anything change?
    pub fn look(&mut self, names: bool) -> bool {
        let mut changed = names && self.look_at_names();
        for seen in self.files.values_mut() {
            changed |= seen.look(&mut self.buffer, names);
        }
        changed
    }

    fn look_at_names(&mut self) -> bool {
        let mut found = Vec::new();
        for (directory, prefix) in [(&self.directory, ""), (&self.log, "log/")] {
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                let Ok(name) = entry.file_name().into_string() else { continue };
                let Ok(facts) = entry.metadata() else { continue };
                found.push((format!("{prefix}{name}"), facts.ino(), Rank::Inode(facts.ino()), entry.path()));
            }
        }
        for entry in std::fs::read_dir(&self.descriptors).into_iter().flatten().flatten() {
            let nameless = std::fs::read_link(entry.path())
                .is_ok_and(|link| link.as_os_str().as_encoded_bytes().starts_with(NAMELESS.as_bytes()));
            // The same file may be open several times.
            if nameless
                && let Ok(facts) = std::fs::metadata(entry.path())
                && let Some(number) = entry.file_name().to_str().and_then(|number| number.parse().ok())
            {
                let (name, rank) = (format!("nameless~{}~", facts.ino()), Rank::Descriptor(number));
                match found.iter_mut().find(|(other, ..)| *other == name) {
                    Some((_, _, known, _)) => *known = rank.min(*known),
                    None => found.push((name, facts.ino(), rank, entry.path())),
                }
            }
        }
        let mut changed = false;
        self.files.retain(|name, seen| {
            let still = found.iter().find(|(other, inode, ..)| other == name && *inode == seen.inode);
            still.inspect(|(_, _, rank, _)| seen.rank = *rank);
            changed |= still.is_none();
            still.is_some()
        });
        for (name, inode, rank, path) in found {
            if !self.files.contains_key(&name)
                && let Ok(file) = File::open(path)
            {
                self.files.insert(name, Seen { file, inode, rank, blocks: u64::MAX, extents: Vec::new() });
                changed = true;
            }
        }
        changed
    }

    /// All that there is.
    pub fn snapshot(&self) -> Snapshot {
        let pages = |seen: &Seen| {
            let all = seen.extents.iter().flat_map(|(from, bytes)| {
                bytes
                    .chunks(PAGE)
                    .enumerate()
                    .map(move |(at, page)| (from + (PAGE * at) as u64, page.to_vec()))
            });
            all.collect()
        };
        let mut files: Vec<_> = self.files.iter().collect();
        files.sort_by_key(|(_, seen)| seen.rank);
        let named = |(age, (name, seen)): (usize, (&String, &Seen))| (stable(age, name), pages(seen));
        Snapshot(files.into_iter().enumerate().map(named).collect())
    }

    /// Which words are others than they were then: the same for two processes that came to the same
    /// instruction, whatever their ids and clocks.
    pub fn changes_since(&self, before: &Snapshot) -> u64 {
        let mut hasher = DefaultHasher::new();
        let (now, nothing, empty) = (self.snapshot(), BTreeMap::new(), Vec::new());
        for (name, pages) in &now.0 {
            name.hash(&mut hasher);
            let then = before.0.get(name).unwrap_or(&nothing);
            let gone = then.keys().filter(|at| !pages.contains_key(at));
            for at in pages.keys().chain(gone) {
                let (one, other) = (pages.get(at).unwrap_or(&empty), then.get(at).unwrap_or(&empty));
                if one != other {
                    different(one, other).for_each(|word| (at + word).hash(&mut hasher));
                }
            }
        }
        hasher.finish()
    }
}

/// Where words differ; what is not there is zeros.
fn different(one: &[u8], other: &[u8]) -> impl Iterator<Item = u64> {
    let word =
        |page: &[u8], at: usize| page.get(at..at + 8).map_or([0; 8], |word| word.try_into().expect("eight"));
    let length = one.len().max(other.len());
    (0..length).step_by(8).filter(move |at| word(one, *at) != word(other, *at)).map(|at| at as u64)
}

/// The name of a file but for what is another one each time: a link's tells lives apart by numbers drawn by lot. As
/// old as they are, files have the same ages each time; see [`Rank`].
fn stable(age: usize, name: &str) -> String {
    if name.starts_with("nameless~") {
        return format!("nameless~{age}");
    }
    // What stands beside a name is called after its id, which is another one each time.
    if let Some(what) = name.strip_prefix('~').and_then(|rest| rest.rsplit('~').next()) {
        return format!("~{age}~{what}");
    }
    match name.match_indices('~').nth(1) {
        Some((end, _)) if end > 0 && !name.starts_with('~') => format!("{}~{age}", &name[..end]),
        _ => name.to_owned(),
    }
}

impl Seen {
    /// `anew`: memory may have come in one place and gone in another, so that there is as much as before.
    fn look(&mut self, buffer: &mut Vec<u8>, anew: bool) -> bool {
        let blocks = self.file.metadata().map_or(0, |facts| facts.blocks());
        let mut changed = blocks != self.blocks;
        // What was allocated and not written to so far is no data to the system, and is some without one block more.
        let seen: u64 = self.extents.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        if changed || anew || seen < blocks * 512 {
            let before = std::mem::replace(&mut self.extents, extents(&self.file));
            self.blocks = blocks;
            // And it is some, all zeros, once somebody has only read there.
            return changed || self.extents != before && !words(&self.extents).eq(words(&before));
        }
        for (from, bytes) in &mut self.extents {
            buffer.resize(bytes.len(), 0);
            if self.file.read_exact_at(buffer, *from).is_ok() && buffer != bytes {
                std::mem::swap(buffer, bytes);
                changed = true;
            }
        }
        changed
    }
}

/// What is not zero, and where.
fn words(extents: &[(u64, Vec<u8>)]) -> impl Iterator<Item = (u64, [u8; 8])> {
    let all = extents.iter().flat_map(|(from, bytes)| {
        let words = bytes.as_chunks::<8>().0;
        words.iter().enumerate().map(move |(at, word)| (from + at as u64 * 8, *word))
    });
    all.filter(|(_, word)| *word != [0; 8])
}

fn extents(file: &File) -> Vec<(u64, Vec<u8>)> {
    let mut extents = Vec::new();
    let mut at = 0;
    while let Ok(from) = rustix::fs::seek(file, SeekFrom::Data(at)) {
        let Ok(to) = rustix::fs::seek(file, SeekFrom::Hole(from)) else { break };
        let mut bytes = vec![0; (to - from) as usize];
        if file.read_exact_at(&mut bytes, from).is_ok() {
            extents.push((from, bytes));
        }
        at = to;
    }
    extents
}
