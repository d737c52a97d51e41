//! Where the attacker writes, and what.
//!
//! Most writes are aimed: at words that mean something, with values that nearly do. A burst goes to one mailbox
//! at once; a trickle leaves the victims time to run into each of its writes.

mod regions;

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FallocateFlags;

use super::boxes::{Kind, LINKS, STRAYS};
use super::dice::Dice;
use super::mapping::Mapping;
use crate::layout::{self, CALL, CELL, ENTRY, Layout, ROW, Segments};
use crate::view::NAMELESS;

/// The header's words that mean something are before this.
const HEADER: u64 = 0x2C8;
/// Of rows and entries, only so many are ever used here.
const FEW: u64 = 12;
/// So many of the last writes are told when something went wrong.
const REMEMBERED: usize = 40;
/// So many processes and links are written to at one time.
const MOST: usize = 12;
/// Values that are kept to be written again when they are old.
const STALE: usize = 64;

/// Which file it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A mailbox's, a link's.
    Queue,
    /// Of a region: what has the name, with the rows of readers.
    Rows,
    /// And its data, which stands beside that.
    Data,
}

/// A mailbox, as the attacker sees it; or one of a region's files.
pub struct Prey {
    pub kind: &'static Kind,
    part: Part,
    path: PathBuf,
    inode: u64,
    mapped: Option<(File, Mapping, Layout)>,
    /// What stood where, some time ago.
    stale: VecDeque<(u64, u64)>,
    /// The last writes: where, what was there, what is there now.
    pub last: VecDeque<(u64, u64, u64)>,
}

impl Prey {
    pub fn new(kind: &'static Kind, path: PathBuf) -> Prey {
        let (stale, last) = (VecDeque::new(), VecDeque::new());
        Prey { kind, part: Part::Queue, path, inode: 0, mapped: None, stale, last }
    }

    /// Both files of a region.
    pub fn of_region(kind: &'static Kind, path: &Path) -> [Prey; 2] {
        [Part::Rows, Part::Data].map(|part| Prey { part, ..Prey::new(kind, path.into()) })
    }

    /// Maps what has the name now, unless it is what is mapped. Whether it is another.
    pub fn look(&mut self) -> bool {
        let mut path = self.path.clone();
        if self.part == Part::Data {
            // It is called after what the other one says, which is rubbish itself.
            let Some(id) = layout::id(&path) else { return false };
            path.set_file_name(format!("~{id}~data"));
        }
        let Ok(facts) = std::fs::metadata(&path) else { return false };
        if facts.ino() == self.inode {
            return false;
        }
        let Ok(file) = File::options().read(true).write(true).open(&path) else { return false };
        let Ok(facts) = file.metadata() else { return false };
        let Ok(mapping) = Mapping::of(&file) else { return false };
        let layout = match self.part {
            // (A part of the data is none of its words.)
            Part::Data => Layout::of(|_| 0),
            _ => Layout::of(|at| mapping.read(at)),
        };
        let same = match self.part {
            Part::Queue => layout.capacity == self.kind.capacity || self.kind.name == LINKS.name,
            Part::Rows => layout.capacity == 1,
            Part::Data => true,
        };
        assert!(same, "nobody else writes to a mailbox of this name");
        self.inode = facts.ino();
        self.mapped = Some((file, mapping, layout));
        self.stale.clear();
        self.last.clear();
        true
    }

    /// Writes so many words, with a pause after each or none at all; says how many. (The file system keeps
    /// what has no name any more as long as it is used: that is written to as well.)
    pub fn write(&mut self, dice: &mut Dice, count: u64, pause: Duration) -> u64 {
        let Some((file, mapping, layout)) = &self.mapped else { return 0 };
        for _ in 0..count {
            let aim = |dice: &mut Dice| match self.part {
                Part::Queue => aim(dice, mapping, layout),
                Part::Rows => regions::among_rows(dice, mapping, layout) & !7,
                Part::Data => regions::among_data(dice, mapping) & !7,
            };
            let at = aim(dice);
            let before = mapping.read(at);
            let stale = self.stale.iter().find(|(other, _)| *other == at).map(|(_, value)| *value);
            let elsewhere = mapping.read(aim(dice));
            let value = match self.part {
                Part::Queue => value(dice, before, stale, elsewhere, layout),
                _ => regions::value(dice, before, stale, elsewhere),
            };
            mapping.write(at, value);
            if self.stale.len() == STALE {
                self.stale.pop_front();
            }
            self.stale.push_back((at, before));
            if self.last.len() == REMEMBERED {
                self.last.pop_front();
            }
            self.last.push_back((at, before, value));
            if !pause.is_zero() {
                std::thread::sleep(pause);
            }
        }
        if self.part == Part::Data && dice.below(100) == 0 {
            regions::lengthen(dice, file, mapping);
        }
        if dice.below(1000) == 0 {
            let page = dice.below(mapping.length() / 4096) * 4096;
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let _ = rustix::fs::fallocate(file, hole, page, 4096);
        }
        if dice.below(1000) == 0 {
            let longer = file.metadata().map_or(0, |facts| facts.len()).max(mapping.length()) + 4096;
            let _ = file.set_len(longer);
        }
        count
    }

    /// What was done last, for whoever wants to know.
    pub fn told(&self) -> String {
        let writes = self.last.iter().map(|(at, from, to)| format!("{at:#x}: {from:#x} -> {to:#x}"));
        writes.collect::<Vec<_>>().join(", ")
    }
}

/// Processes that joined, and their links.
#[derive(Default)]
pub struct Strays {
    /// Those that were found last.
    prey: VecDeque<Prey>,
    /// All that were found: what they are is read as long as it is as it should be.
    known: BTreeSet<u64>,
}

impl Strays {
    /// One of them; now and then one that was not found before, which is told. Also memory without a name that these processes have.
    pub fn one(&mut self, domain: &Path, victims: &[u32], dice: &mut Dice) -> Option<(&mut Prey, bool)> {
        let seeks = self.prey.len() < MOST || dice.below(4) == 0;
        let nameless = dice.below(3) == 0;
        let fresh = seeks && if nameless { self.find_nameless(victims) } else { self.find(domain) };
        let count = self.prey.len() as u64;
        let at = if fresh { count.checked_sub(1)? } else { dice.below(count.max(1)) };
        self.prey.get_mut(at as usize).map(|prey| (prey, fresh))
    }

    fn find(&mut self, domain: &Path) -> bool {
        for file in std::fs::read_dir(domain).into_iter().flatten().flatten() {
            let (name, Ok(facts)) = (file.file_name(), file.metadata()) else { continue };
            if name.to_string_lossy().starts_with(STRAYS)
                && self.known.insert(facts.ino())
                && self.take(file.path())
            {
                return true;
            }
        }
        false
    }

    /// The same for a way of a pair, which can be opened where one of its ends is.
    fn find_nameless(&mut self, victims: &[u32]) -> bool {
        for victim in victims {
            for open in std::fs::read_dir(format!("/proc/{victim}/fd")).into_iter().flatten().flatten() {
                let nameless = std::fs::read_link(open.path())
                    .is_ok_and(|link| link.as_os_str().as_encoded_bytes().starts_with(NAMELESS.as_bytes()));
                if nameless
                    && let Ok(facts) = std::fs::metadata(open.path())
                    && is_built(&open.path())
                    && self.known.insert(facts.ino())
                    && self.take(open.path())
                {
                    return true;
                }
            }
        }
        false
    }

    fn take(&mut self, path: PathBuf) -> bool {
        let mut prey = Prey::new(&LINKS, path);
        let there = prey.look();
        if there {
            self.prey.push_back(prey);
            if self.prey.len() > MOST {
                self.prey.pop_front();
            }
        }
        there
    }

    pub fn told(&self) -> String {
        let told = self.prey.iter().map(|prey| format!("{}: {}", prey.path.display(), prey.told()));
        told.collect::<Vec<_>>().join("; ")
    }
}

/// Whether it says what it is, as it does before anybody else can have it: its longest message, and the most memory.
fn is_built(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    [0x30, 0x58].iter().all(|at| {
        let mut word = [0; 8];
        file.read_exact_at(&mut word, *at).is_ok() && word != [0; 8]
    })
}

/// The index of a place: one of the first, one where the queue is now, or any.
fn place(dice: &mut Dice, mapping: &Mapping, layout: &Layout) -> u64 {
    let tail = mapping.read(0x100).wrapping_add(dice.below(8)).wrapping_sub(dice.below(8));
    if let Some(segments) = &layout.segments {
        // (The first one has no places, but what stands for those that are nowhere.)
        let any = match dice.below(8) {
            0 => dice.below(segments.class.number + 1),
            1 => 0,
            // What the directory says; it is rubbish itself.
            2..=5 => mapping.read(segments.directory + 8 * (tail / segments.places % segments.epochs)),
            _ => dice.below(FEW),
        };
        let segment = (any & 0xff_ffff) % (segments.class.number + 1);
        return segment * segments.spacing + tail % segments.places;
    }
    let places = layout.capacity.max(1);
    match dice.below(4) {
        0 => dice.below(places),
        1 => dice.below(places.min(FEW)),
        _ => tail % places,
    }
}

/// Where it is said which segment holds which epoch, and what of each segment.
fn among_segments(dice: &mut Dice, mapping: &Mapping, segments: &Segments) -> u64 {
    let epoch = mapping.read(0x100).wrapping_add(dice.below(8)).wrapping_sub(dice.below(8)) / segments.places;
    match dice.below(8) {
        0..=2 => segments.directory + 8 * (epoch % segments.epochs),
        3 => segments.directory + 8 * dice.below(segments.epochs),
        4 => 0x240 + 8 * dice.below(3),
        _ => segments.class.entries + ENTRY * dice.below(segments.class.number.min(FEW)) + 8 * dice.below(8),
    }
}

/// The offset of a word.
fn aim(dice: &mut Dice, mapping: &Mapping, layout: &Layout) -> u64 {
    let slot = place(dice, mapping, layout);
    let class = &layout.classes[dice.below(layout.classes.len() as u64) as usize];
    if let Some(segments) = &layout.segments
        && dice.below(4) == 0
    {
        return among_segments(dice, mapping, segments) & !7;
    }
    let at = match dice.below(100) {
        // (What says what it is: who comes later is refused then. Seldom, so that they do come.)
        0 => dice.below(0x80),
        1 => 0x80 + dice.below(0x10),
        // Calls, and where answers go: at the end of each question.
        2..=12 if layout.calls > 0 => layout.calls + CALL * dice.below(FEW) + 8 * dice.below(8),
        13 if layout.calls > 0 => [0x78, 0x2C0][dice.below(2) as usize],
        63..=69 if layout.calls > 0 => layout.slots + layout.stride * slot + dice.below(layout.stride),
        2..=21 => 0xC0 + dice.below(HEADER - 0xC0),
        // Where nothing waits nothing is in those places.
        22..=62 if layout.capacity == 0 => layout.cells + CELL * dice.below(FEW) + 8 * dice.below(18),
        22..=38 => layout.claims + 8 * slot,
        39..=50 => layout.takes + 8 * slot,
        51..=62 => layout.slots + layout.stride * slot,
        63..=69 => layout.slots + layout.stride * slot + 8 * dice.below(4),
        70..=81 => layout.rows + ROW * dice.below(FEW) + 8 * dice.below(16),
        82..=91 => class.entries + ENTRY * dice.below(class.number.min(FEW)) + 8 * dice.below(16),
        92..=94 => class.chunks + dice.below(class.size * class.number.min(FEW)),
        95..=98 if layout.segments.is_none() => {
            layout.claims + dice.below(layout.rows + 4096 - layout.claims)
        }
        _ => dice.below(mapping.length() - 4096),
    };
    // Where the kernel copies the messages there is less.
    (at % mapping.length()) & !7
}

/// What to write where this is.
fn value(dice: &mut Dice, now: u64, stale: Option<u64>, elsewhere: u64, layout: &Layout) -> u64 {
    let few = dice.below(FEW);
    match dice.below(24) {
        0..=4 => now ^ 1 << dice.below(64),
        5 => 0,
        6 => u64::MAX,
        7 => dice.roll(),
        8 => now.wrapping_add(1),
        9 => now.wrapping_sub(1),
        10 => now.wrapping_add(layout.ring()),
        11 => now.wrapping_sub(layout.ring()),
        12 => elsewhere,
        13 | 14 => stale.unwrap_or(elsewhere),
        // Another row; another use of a chunk; full or not; closed or not.
        15 => now & !0xffff | few,
        16 => now ^ dice.below(8) << 16,
        17 => now ^ 1 << 24,
        // The turns and the sequence, a little or very far away.
        18 => now.wrapping_add(few.wrapping_sub(FEW / 2) << [19, 25, 27][dice.below(3) as usize]),
        19 => now ^ 1 << (50 + dice.below(14)),
        20 => (dice.below(26) << 32) | few,
        21 => [1 << 63, u64::MAX >> 1, u64::MAX - few, 1 << 31, u64::from(u32::MAX)][few as usize % 5],
        22 => now & !0xffff_ffff | u64::from(dice.roll() as u32),
        _ => few,
    }
}
