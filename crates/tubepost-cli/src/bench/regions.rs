//! Shared data: a region, a lock and a sequence, alone and with the other side at it without a pause.
//!
//! On one CPU the near process is alone. On two the far one writes as fast as it can while reads are counted, and reads while writes are.

use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

use tubepost::Region;

use super::far::{Far, Near};
use super::job::{Job, Measure, Place, What};
use super::limits::{Locked, Sequenced, WORDS};
use super::measure::{Exchange, Found, Measured, round_trips};
use super::work::Bench;
use crate::exit::Failure;

const NAME: &str = "bench-region";
const LARGE: &str = "bench-region-large";
/// Set when the far process is to stop. The locks are before it.
const STOP: usize = 4096;
/// Between two looks at the clock, and at `STOP`.
const LAP: u64 = 256;
/// How long a reader holds that holds briefly: some hundred nanoseconds.
const BRIEFLY: u32 = 100;
/// Bytes that are changed in a large region.
const CHANGED: usize = 4096;

/// 64 bytes of data.
type Data = [u64; WORDS];

/// The near side of a round.
pub fn near(bench: &Bench, job: &Job, far: &mut Far) -> Measured<Found> {
    let shared = &bench.shared;
    let beside = job.place == Place::TwoCores;
    match job.what {
        What::RwlockRead | What::RwlockWrite | What::SeqlockRead => {
            shared.clear();
            let (locked, sequenced) = (Locked::create(shared), Sequenced(shared));
            let far = beside.then_some(far);
            match job.what {
                What::RwlockRead => count(bench, job, far, |_| whole(&locked.read())),
                What::RwlockWrite => count(bench, job, far, |number| {
                    locked.write(number);
                    Ok(())
                }),
                _ => count(bench, job, far, |_| whole(&sequenced.read())),
            }
        }
        What::RegionRange1m | What::RegionRange256m => ranges(bench, job),
        _ => {
            shared.clear();
            let options = Region::<Data>::options().domain(&bench.domain);
            let in_place = matches!(job.what, What::InPlaceGet | What::InPlaceWrite);
            let region = if in_place { options.in_place() } else { options }.own(NAME)?;
            if job.measure == Measure::Latency {
                return waits(bench, job, far, &region);
            }
            let far = beside.then_some(far);
            match job.what {
                What::RegionGet | What::InPlaceGet => count(bench, job, far, |_| whole(&region.get()?)),
                What::RegionWrite | What::InPlaceWrite => {
                    count(bench, job, far, |number| write(&region, number))
                }
                _ => count(bench, job, far, |_| whole(&*region.read()?)),
            }
        }
    }
}

/// The far side of it: the other thing to do, until it is told to stop.
pub fn far(bench: &Bench, job: &Job, near: &mut Near) -> Measured<()> {
    let shared = &bench.shared;
    let (locked, sequenced) = (Locked::open(shared), Sequenced(shared));
    let region = || Region::<Data>::options().domain(&bench.domain).open(NAME);
    match job.what {
        What::RwlockRead => without_a_pause(bench, near, |number| {
            locked.write(number);
            Ok(())
        }),
        What::RwlockWrite => without_a_pause(bench, near, |_| whole(&locked.read())),
        What::SeqlockRead => without_a_pause(bench, near, |number| {
            sequenced.write(number);
            Ok(())
        }),
        What::RegionWrite if job.measure == Measure::Latency => {
            let region = region()?;
            without_a_pause(bench, near, |_| {
                let reading = region.read()?;
                whole(&reading)?;
                (0..BRIEFLY).for_each(|_| std::hint::spin_loop());
                whole(&reading)
            })
        }
        What::RegionWrite => {
            let region = region()?;
            without_a_pause(bench, near, |_| whole(&*region.read()?))
        }
        What::InPlaceWrite => {
            // Not by `get`: called here too, it would not be inlined where it is measured.
            let (region, mut bytes) = (region()?, [0; size_of::<Data>()]);
            without_a_pause(bench, near, |_| {
                region.read_at(0, &mut bytes)?;
                let words = bytes.as_chunks().0;
                whole(&std::array::from_fn(|word| u64::from_ne_bytes(words[word])))
            })
        }
        _ => {
            let region = region()?;
            without_a_pause(bench, near, |number| write(&region, number))
        }
    }
}

#[inline(always)]
fn write(region: &Region<Data>, number: u64) -> Measured<()> {
    let mut writing = region.write()?;
    writing.iter_mut().for_each(|word| *word = number); // as under the lock
    writing.commit()?;
    Ok(())
}

/// All words of what was read are of one write.
#[inline(always)]
fn whole(data: &Data) -> Measured<()> {
    if data.iter().all(|word| *word == data[0]) {
        return Ok(());
    }
    Err(Failure::failed("what was read is of two writes"))
}

/// Counts how often it can be done, while the far process does the other thing.
#[inline(always)]
fn count(
    bench: &Bench,
    job: &Job,
    far: Option<&mut Far>,
    mut act: impl FnMut(u64) -> Measured<()>,
) -> Measured<Found> {
    let Some(far) = far else { return rate(job.time, &mut act) };
    far.begin(job)?;
    far.ready()?;
    let found = rate(job.time, &mut act);
    bench.shared.word(STOP).store(1, Release);
    far.done()?;
    found
}

#[inline(always)]
fn rate(time: Duration, act: &mut impl FnMut(u64) -> Measured<()>) -> Measured<Found> {
    let mut number = 0;
    let mut run = |time: Duration| {
        let (begin, first) = (Instant::now(), number);
        while begin.elapsed() < time {
            for _ in 0..LAP {
                number += 1;
                act(number)?;
            }
        }
        Measured::Ok((number - first) as f64 / begin.elapsed().as_secs_f64())
    };
    run(time / 8)?;
    Ok(Found { latency_ns: None, msgs_per_s: Some(run(time)?) })
}

fn without_a_pause(bench: &Bench, near: &mut Near, mut act: impl FnMut(u64) -> Measured<()>) -> Measured<()> {
    act(0)?;
    near.ready()?;
    let mut number = 0;
    while bench.shared.word(STOP).load(Acquire) == 0 {
        for _ in 0..LAP {
            number += 1;
            act(number)?;
        }
    }
    near.done(None)
}

/// From the call of a writer to its commit, while readers hold briefly.
fn waits(bench: &Bench, job: &Job, far: &mut Far, region: &Region<Data>) -> Measured<Found> {
    struct Writes<'a>(&'a Region<Data>);
    impl Exchange for Writes<'_> {
        #[inline(always)]
        fn exchange(&mut self, seq: u64) -> Measured<u64> {
            write(self.0, seq).map(|()| seq)
        }
    }
    far.begin(job)?;
    far.ready()?;
    let found = round_trips(Writes(region), 1.0, job.time, job.rest);
    bench.shared.word(STOP).store(1, Release);
    far.done()?;
    found
}

/// Changing a few bytes of a large region.
fn ranges(bench: &Bench, job: &Job) -> Measured<Found> {
    struct Changes(Region<[u8]>);
    impl Exchange for Changes {
        #[inline(always)]
        fn exchange(&mut self, seq: u64) -> Measured<u64> {
            let mut writing = self.0.write()?;
            let at = (seq.wrapping_mul(0x9E37_79B9) as usize % (self.0.len() - CHANGED)) & !63;
            writing.range_mut(at..at + CHANGED).fill(seq as u8);
            writing.commit()?;
            Ok(seq)
        }
    }
    let size = if job.what == What::RegionRange1m { 1 << 20 } else { 256 << 20 };
    let region = Region::<[u8]>::options().domain(&bench.domain).size(size).own(LARGE)?;
    let mut changes = Changes(region);
    // Every page of both buffers is there.
    for number in 0..4 {
        changes.0.update(|data| data.fill(number))?;
    }
    changes.exchange(1)?;
    changes.exchange(2)?;
    round_trips(changes, 1.0, job.time, job.rest)
}
