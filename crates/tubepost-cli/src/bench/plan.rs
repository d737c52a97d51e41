//! Which rows there are, what each is held against, and which of them were asked for.
//!
//! Rows that share a limit, a mode and a place form a group. A group is measured round by round, a limit
//! and right after it what is held against it, so that whatever the machine does meanwhile happens to
//! both.

use std::time::Duration;

use clap::ValueEnum;

use super::files;
use super::job::{Job, LENGTHS, Measure, Mode, Part, Place, What, word};
use crate::exit::Failure;

/// Longer than it takes to fall asleep, and for a CPU to halt.
const REST: Duration = Duration::from_micros(50);

/// CPUs that two senders and two receivers need to spin on.
pub const CROWD: usize = 4;

/// Lengths that fit a place.
const SMALL: [u64; 4] = [8, 56, 64, 1024];

/// One row to be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub what: What,
    pub measure: Measure,
    pub mode: Mode,
    pub place: Place,
    pub bytes: u64,
    /// How many send, and how many receive.
    pub each: u64,
    /// The row of the same group that this one is held against.
    pub limit: Option<(What, u64)>,
}

impl Entry {
    /// How many processes send.
    pub fn senders(&self) -> u64 {
        if self.what == What::FileEachOf8 { files::CROWD as u64 } else { self.each }
    }

    /// One round of it, with the far process on `cpu`.
    pub fn job(&self, cpu: usize, time: Duration) -> Job {
        // On one CPU the far one runs only while the near one sleeps: it needs no time of its own.
        let rest = match (self.mode, self.place) {
            (Mode::Block, Place::TwoCores | Place::IdlePoll) => REST,
            _ => Duration::ZERO,
        };
        Job {
            what: self.what,
            part: Part::Whole,
            measure: self.measure,
            mode: self.mode,
            place: self.place,
            bytes: self.bytes,
            cpu,
            time,
            rest,
        }
    }
}

/// Rows that are measured together.
#[derive(Clone, Debug)]
pub struct Group {
    pub title: &'static str,
    /// How what it is about waits; for comparison it may hold rows that wait otherwise.
    pub mode: Mode,
    pub place: Place,
    pub entries: Vec<Entry>,
}

/// Everything that `cpus` CPUs can show.
pub fn groups(cpus: usize) -> Vec<Group> {
    let mut groups = Vec::new();
    if cpus > 1 {
        groups.push(spinning_latency());
        groups.push(calls());
        groups.push(loans());
        groups.push(blocking_latency("latency one way, blocking, a CPU each", Place::TwoCores));
        groups.push(blocking_latency(
            "latency one way, blocking, a CPU each, idle CPUs polling",
            Place::IdlePoll,
        ));
    }
    groups.push(blocking_latency("latency one way, blocking, both on one CPU", Place::OneCore));
    groups.push(ready());
    groups.push(inboxes());
    groups.extend(files());
    groups.extend(shared_data(cpus));
    if cpus > 1 {
        groups.push(large_latency());
        groups.push(streams(&[8, 56, 64, 1024], "stream, one sender, a CPU each"));
        if cpus >= CROWD {
            groups.push(crowd());
        }
        groups.push(streams(&[64 << 10, 1 << 20], "stream of large messages, one sender, a CPU each"));
        groups.push(other_streams());
        groups.push(by_kernel_latency());
        groups.push(by_kernel_streams());
        groups.extend(sealed());
    }
    groups
}

fn spinning_latency() -> Group {
    use What::{CacheLine, Copy, Link, Mailbox, Pair, Pipe, SystemMailbox, UnixSocket};
    let row = |what, bytes, limit| entry(what, Measure::Latency, Mode::Spin, Place::TwoCores, bytes, limit);
    let line = Some((CacheLine, 8));
    let entries = vec![
        row(CacheLine, 8, None),
        row(Mailbox, 8, line),
        row(Mailbox, 56, line),
        row(SystemMailbox, 8, line),
        row(SystemMailbox, 56, line),
        row(Link, 8, line),
        row(Pair, 8, line),
        row(Copy, 64, None),
        row(Mailbox, 64, Some((Copy, 64))),
        row(Copy, 1024, None),
        row(Mailbox, 1024, Some((Copy, 1024))),
        row(SystemMailbox, 1024, Some((Copy, 1024))),
        row(Link, 1024, Some((Copy, 1024))),
        row(Pipe, 8, line),
        row(Pipe, 1024, Some((Copy, 1024))),
        row(UnixSocket, 8, line),
        row(UnixSocket, 1024, Some((Copy, 1024))),
    ];
    Group {
        title: "latency one way, spinning, a CPU each",
        mode: Mode::Spin,
        place: Place::TwoCores,
        entries,
    }
}

fn calls() -> Group {
    use What::{CacheLine, Call, Collected, Rendezvous};
    let row = |what, limit| entry(what, Measure::Latency, Mode::Spin, Place::TwoCores, 8, limit);
    let line = Some((CacheLine, 8));
    Group {
        title: "latency from call to return, spinning, a CPU each; a cache line one way",
        mode: Mode::Spin,
        place: Place::TwoCores,
        entries: vec![row(CacheLine, None), row(Rendezvous, line), row(Collected, line), row(Call, line)],
    }
}

fn loans() -> Group {
    let row = |what, bytes, limit| entry(what, Measure::Latency, Mode::Spin, Place::TwoCores, bytes, limit);
    Group {
        title: "latency one way, not copied, spinning, a CPU each",
        mode: Mode::Spin,
        place: Place::TwoCores,
        entries: vec![
            row(What::CacheLine, 8, None),
            row(What::Loan, 1024, Some((What::CacheLine, 8))),
            row(What::Loan, 1 << 20, Some((What::CacheLine, 8))),
        ],
    }
}

/// Streams of other kinds, held against what they are a variety of.
fn other_streams() -> Group {
    let row = |what, bytes, limit| entry(what, Measure::Stream, Mode::Spin, Place::TwoCores, bytes, limit);
    Group {
        title: "stream without a capacity, in batches, not copied; one sender, a CPU each",
        mode: Mode::Spin,
        place: Place::TwoCores,
        entries: vec![
            row(What::Mailbox, 8, None),
            row(What::Unbounded, 8, Some((What::Mailbox, 8))),
            row(What::RingBatch, 8, None),
            row(What::Batch, 8, Some((What::RingBatch, 8))),
            row(What::Ring, 8, None),
            row(What::Loan, 1 << 20, Some((What::Ring, 8))),
        ],
    }
}

/// The kernel strategy, held against a bare socket of the same kind.
fn by_kernel_latency() -> Group {
    use What::{KernelLink, KernelMailbox, Packets};
    let row = |what, bytes, limit| entry(what, Measure::Latency, Mode::Block, Place::TwoCores, bytes, limit);
    let rows = |bytes| {
        let limit = Some((Packets, bytes));
        let link = (bytes <= 1024).then(|| row(KernelLink, bytes, limit));
        let mut rows = vec![row(Packets, bytes, None), row(KernelMailbox, bytes, limit)];
        rows.extend(link);
        rows
    };
    Group {
        title: "latency one way, copied by the kernel, blocking, a CPU each",
        mode: Mode::Block,
        place: Place::TwoCores,
        entries: [8, 1024, 1 << 20].map(rows).concat(),
    }
}

fn by_kernel_streams() -> Group {
    use What::{KernelMailbox, Packets};
    let row = |what, mode, bytes, limit| entry(what, Measure::Stream, mode, Place::TwoCores, bytes, limit);
    let rows = |bytes| {
        let limit = Some((Packets, bytes));
        [row(Packets, Mode::Block, bytes, None), row(KernelMailbox, Mode::Spin, bytes, limit)]
    };
    Group {
        title: "stream, copied by the kernel, one sender, a CPU each",
        mode: Mode::Spin,
        place: Place::TwoCores,
        entries: [8, 1024, 1 << 20].map(rows).concat(),
    }
}

/// The sealed strategy, held against what memory alone can do.
fn sealed() -> [Group; 2] {
    use What::{CacheLine, Copy, Ring, SealedMailbox};
    let spin = Mode::Spin;
    let latency = |what, bytes, limit| entry(what, Measure::Latency, spin, Place::TwoCores, bytes, limit);
    let stream = |what, bytes, limit| entry(what, Measure::Stream, spin, Place::TwoCores, bytes, limit);
    let group = |title, entries| Group { title, mode: spin, place: Place::TwoCores, entries };
    [
        group(
            "latency one way, through sealed memory, spinning, a CPU each",
            vec![
                latency(CacheLine, 8, None),
                latency(SealedMailbox, 8, Some((CacheLine, 8))),
                latency(Copy, 1024, None),
                latency(SealedMailbox, 1024, Some((Copy, 1024))),
            ],
        ),
        group(
            "stream, through sealed memory, one sender, a CPU each",
            vec![
                stream(Ring, 8, None),
                stream(SealedMailbox, 8, Some((Ring, 8))),
                stream(Ring, 1024, None),
                stream(SealedMailbox, 1024, Some((Ring, 1024))),
            ],
        ),
    ]
}

/// Regions, beside what others share data with.
fn shared_data(cpus: usize) -> Vec<Group> {
    use What::{InPlaceGet, InPlaceWrite, RwlockRead, RwlockWrite, SeqlockRead};
    use What::{RegionGet, RegionRange1m, RegionRange256m, RegionRead, RegionWrite};
    let rates = |title, place| {
        let row = |what, limit| entry(what, Measure::Stream, Mode::Spin, place, 64, limit);
        let (reads, writes) = (Some((RwlockRead, 64)), Some((RwlockWrite, 64)));
        let entries = vec![
            row(RwlockRead, None),
            row(SeqlockRead, reads),
            row(RegionRead, reads),
            row(RegionGet, reads),
            row(InPlaceGet, reads),
            row(RwlockWrite, None),
            row(RegionWrite, writes),
            row(InPlaceWrite, writes),
        ];
        Group { title, mode: Mode::Spin, place, entries }
    };
    let one = Place::OneCore;
    let mut groups = vec![rates("shared data, one process alone", one)];
    if cpus > 1 {
        groups.push(rates(
            "shared data, reads while another process writes without a pause, and writes while it reads",
            Place::TwoCores,
        ));
        groups.push(Group {
            title: "a write to a region, from call to commit, while another process reads briefly",
            mode: Mode::Spin,
            place: Place::TwoCores,
            entries: vec![entry(RegionWrite, Measure::Latency, Mode::Spin, Place::TwoCores, 64, None)],
        });
    }
    let range = |what, limit| entry(what, Measure::Latency, Mode::Spin, one, 4096, limit);
    groups.push(Group {
        title: "4 KiB of a large region changed and committed",
        mode: Mode::Spin,
        place: one,
        entries: vec![range(RegionRange1m, None), range(RegionRange256m, Some((RegionRange1m, 4096)))],
    });
    groups
}

/// Messages in files, beside what the disk can do.
fn files() -> [Group; 2] {
    use What::{Fdatasync, FileAppend, FileEach, FileEachOf8, FileReplay, MmapAppend};
    let group = |title, rows: &[(What, u64, Option<What>)]| {
        let row = |(what, bytes, limit): &(What, u64, Option<What>)| {
            entry(
                *what,
                Measure::Stream,
                Mode::Spin,
                Place::OneCore,
                *bytes,
                limit.map(|limit| (limit, *bytes)),
            )
        };
        Group { title, mode: Mode::Spin, place: Place::OneCore, entries: rows.iter().map(row).collect() }
    };
    [
        group(
            "messages in files, not synced: appended, and read again, in one process",
            &[
                (MmapAppend, 64, None),
                (FileAppend, 64, Some(MmapAppend)),
                (FileReplay, 64, Some(MmapAppend)),
                (MmapAppend, 1024, None),
                (FileAppend, 1024, Some(MmapAppend)),
                (FileReplay, 1024, Some(MmapAppend)),
            ],
        ),
        group(
            "messages in files, each on the disk when it is sent: by one, and by eight at one time",
            &[(Fdatasync, 64, None), (FileEach, 64, Some(Fdatasync)), (FileEachOf8, 64, Some(Fdatasync))],
        ),
    ]
}

/// Receiving what is there, in one process.
fn ready() -> Group {
    let row = |what, limit| entry(what, Measure::Latency, Mode::Spin, Place::OneCore, 8, limit);
    Group {
        title: "receiving what is there, by a thread and by a task",
        mode: Mode::Spin,
        place: Place::OneCore,
        entries: vec![row(What::RecvReady, None), row(What::AsyncReady, Some((What::RecvReady, 8)))],
    }
}

/// Receiving from anybody, in one process: what it costs to have more links.
fn inboxes() -> Group {
    let row = |what, limit| entry(what, Measure::Latency, Mode::Spin, Place::OneCore, 8, limit);
    let one = Some((What::Inbox1, 8));
    Group {
        title: "sending to and receiving by an inbox, by its number of links, of which one is in use",
        mode: Mode::Spin,
        place: Place::OneCore,
        entries: vec![
            row(What::Inbox1, None),
            row(What::Inbox10, one),
            row(What::Inbox100, one),
            row(What::Inbox1000, one),
        ],
    }
}

fn blocking_latency(title: &'static str, place: Place) -> Group {
    let row = |what, bytes, limit| entry(what, Measure::Latency, Mode::Block, place, bytes, limit);
    let limit = Some((What::Futex, 8));
    let mut entries = vec![row(What::Futex, 8, None)];
    entries.extend(SMALL.map(|bytes| row(What::Mailbox, bytes, limit)));
    entries.push(row(What::SystemMailbox, 8, limit));
    entries.push(row(What::FileMailbox, 8, Some((What::SystemMailbox, 8))));
    entries.push(row(What::Async, 8, Some((What::Mailbox, 8))));
    entries.extend([What::Pipe, What::UnixSocket].map(|what| row(what, 8, limit)));
    Group { title, mode: Mode::Block, place, entries }
}

fn large_latency() -> Group {
    let row = |what, bytes, limit| entry(what, Measure::Latency, Mode::Spin, Place::TwoCores, bytes, limit);
    let rows = |bytes| {
        let copy = Some((What::Copy, bytes));
        [
            row(What::Copy, bytes, None),
            row(What::Memcpy, bytes, copy),
            row(What::Mailbox, bytes, copy),
            row(What::SystemMailbox, bytes, copy),
        ]
    };
    Group {
        title: "latency one way of large messages, spinning, a CPU each",
        mode: Mode::Spin,
        place: Place::TwoCores,
        entries: [64 << 10, 1 << 20].map(rows).concat(),
    }
}

fn streams(lengths: &[u64], title: &'static str) -> Group {
    let row = |what, mode, bytes, limit| entry(what, Measure::Stream, mode, Place::TwoCores, bytes, limit);
    let mut entries = Vec::new();
    for &bytes in lengths {
        let limit = Some((What::Ring, bytes));
        entries.push(row(What::Ring, Mode::Spin, bytes, None));
        entries.push(row(What::Mailbox, Mode::Spin, bytes, limit));
        entries.push(row(What::SystemMailbox, Mode::Spin, bytes, limit));
        if matches!(bytes, 8 | 64) {
            entries.push(row(What::Link, Mode::Spin, bytes, limit));
        }
        if bytes > 1024 {
            entries.push(row(What::Memcpy, Mode::Spin, bytes, limit));
        }
        if matches!(bytes, 8 | 1024) {
            entries.extend([What::Pipe, What::UnixSocket].map(|what| row(what, Mode::Block, bytes, limit)));
        }
    }
    Group { title, mode: Mode::Spin, place: Place::TwoCores, entries }
}

fn crowd() -> Group {
    let row = |what, bytes, each, limit| Entry {
        each,
        ..entry(what, Measure::Stream, Mode::Spin, Place::FourCores, bytes, limit)
    };
    let rows = |bytes| {
        [row(What::Ring, bytes, 1, None), row(What::SystemMailbox, bytes, 2, Some((What::Ring, bytes)))]
    };
    Group {
        title: "stream, two senders and two receivers, a CPU each",
        mode: Mode::Spin,
        place: Place::FourCores,
        entries: [8, 56].map(rows).concat(),
    }
}

fn entry(
    what: What,
    measure: Measure,
    mode: Mode,
    place: Place,
    bytes: u64,
    limit: Option<(What, u64)>,
) -> Entry {
    Entry { what, measure, mode, place, bytes, each: 1, limit }
}

/// The rows that `words` ask for: words about the same field widen the choice, words about different
/// fields narrow it.
#[derive(Debug, Default)]
pub struct Filter {
    whats: Vec<What>,
    measures: Vec<Measure>,
    modes: Vec<Mode>,
    places: Vec<Place>,
    lengths: Vec<u64>,
}

impl Filter {
    pub fn new(words: &[String]) -> Result<Self, Failure> {
        let mut filter = Self::default();
        for word in words {
            let known = learn(&mut filter.whats, word)
                || learn(&mut filter.measures, word)
                || learn(&mut filter.modes, word)
                || learn(&mut filter.places, word);
            if known {
                continue;
            }
            match word.trim_end_matches(['B', 'b']).parse() {
                Ok(bytes) if LENGTHS.contains(&bytes) => filter.lengths.push(bytes),
                _ => return Err(unknown(word)),
            }
        }
        Ok(filter)
    }

    /// Leaves what was asked for, and the limits it is held against.
    pub fn apply(&self, groups: Vec<Group>) -> Vec<Group> {
        let groups = groups.into_iter().map(|mut group| {
            let chosen: Vec<Entry> =
                group.entries.iter().copied().filter(|entry| self.wants(entry)).collect();
            group.entries.retain(|entry| {
                chosen.contains(entry) || chosen.iter().any(|c| c.limit == Some((entry.what, entry.bytes)))
            });
            group
        });
        groups.filter(|group| !group.entries.is_empty()).collect()
    }

    fn wants(&self, entry: &Entry) -> bool {
        allows(&self.whats, entry.what)
            && allows(&self.measures, entry.measure)
            && allows(&self.modes, entry.mode)
            && allows(&self.places, entry.place)
            && allows(&self.lengths, entry.bytes)
    }
}

fn allows<V: PartialEq>(chosen: &[V], value: V) -> bool {
    chosen.is_empty() || chosen.contains(&value)
}

fn learn<V: ValueEnum>(chosen: &mut Vec<V>, word: &str) -> bool {
    let value = V::from_str(word, true).ok();
    chosen.extend(value.clone());
    value.is_some()
}

fn unknown(given: &str) -> Failure {
    fn words<V: ValueEnum>() -> String {
        V::value_variants().iter().map(|value| word(value.clone())).collect::<Vec<_>>().join(", ")
    }
    Failure::usage(format!(
        "nothing to measure is called {given:?}; expected any of: {}; {}; {}; {}; or a length: {}",
        words::<What>(),
        words::<Measure>(),
        words::<Mode>(),
        words::<Place>(),
        LENGTHS.map(|bytes| bytes.to_string()).join(", "),
    ))
}
