//! How everything is measured: one loop for round trips, one for streams, the same for the library, for
//! the limits and for pipes and sockets. Whatever these loops cost is in every row alike.
//!
//! The near process begins and reads the clock, the far one answers. A round lasts a given time, not a
//! given number of messages, so that a slow or busy machine makes it coarser and not longer; the end is
//! a message too, `STOP`. The first eighth of a round warms up and is not counted.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::exit::Failure;

/// The outcome of a step of a measurement.
pub type Measured<T> = Result<T, Failure>;

/// The number that ends a round instead of a message's.
pub const STOP: u64 = u64::MAX;

/// Near side of a round trip.
pub trait Exchange {
    /// Sends message `seq`, waits for the answer and returns the number in it.
    fn exchange(&mut self, seq: u64) -> Measured<u64>;
}

/// Far side of a round trip.
pub trait Echo {
    /// Waits for a message after the one numbered `last` and returns its number.
    fn take(&mut self, last: u64) -> Measured<u64>;
    /// Sends it back.
    fn answer(&mut self, seq: u64) -> Measured<()>;
}

/// Near side of a stream.
pub trait Source {
    /// Sends message `seq`, waiting for room if there is none.
    fn put(&mut self, seq: u64) -> Measured<()>;
}

/// Far side of a stream.
pub trait Drain {
    /// Waits for the next message and returns the number in it.
    fn get(&mut self) -> Measured<u64>;
}

/// What one round of either measure found.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Found {
    /// Latency in nanoseconds, one way or of one call: 50th, 99th and 99.9th percentile.
    pub latency_ns: Option<[f64; 3]>,
    pub msgs_per_s: Option<f64>,
}

/// More samples than a round ever takes; when they are used up the round ends early.
const SAMPLES_MAX: usize = 1 << 21;

/// Exchanges messages for `time` and takes each round trip's time on its own.
///
/// `ways` is 2 where an exchange is the way there and the way back, of which one is meant.
/// Before each it stays away for `rest`. Without that, two processes that block can fall into step so that
/// neither ever sleeps, and what is measured is not what is asked for.
pub fn round_trips(mut subject: impl Exchange, ways: f64, time: Duration, rest: Duration) -> Measured<Found> {
    let expected = time.as_nanos() as usize / 50;
    // Filled and thereby mapped now: no page fault while the clock runs.
    let mut samples = vec![1u32; expected.min(SAMPLES_MAX)];
    samples.clear();
    let mut seq = 0;
    let begin = Instant::now();
    while begin.elapsed() < time / 8 {
        trip(&mut subject, &mut seq)?;
    }
    let begin = Instant::now();
    while samples.len() < samples.capacity() {
        let sent = stay_away(rest);
        trip(&mut subject, &mut seq)?;
        let answered = Instant::now();
        samples.push((answered - sent).as_nanos().min(u32::MAX.into()) as u32);
        if answered - begin >= time {
            break;
        }
    }
    subject.exchange(STOP)?;
    samples.sort_unstable();
    let latency = |share| percentile(&samples, share) / ways;
    Ok(Found { latency_ns: Some([latency(0.5), latency(0.99), latency(0.999)]), msgs_per_s: None })
}

/// A percentile of sorted samples, finer than the clock's step.
///
/// Some machines' clocks go in steps of 10 ns, which is a twelfth of a round trip: thousands of samples
/// have the same value. They stand for times spread evenly over the step, so the percentile is placed
/// within it by the share of them that it leaves below.
fn percentile(samples: &[u32], share: f64) -> f64 {
    let rank = (samples.len() - 1) as f64 * share;
    let value = samples[rank as usize];
    let (below, above) = (samples.partition_point(|&v| v < value), samples.partition_point(|&v| v <= value));
    let from = below.checked_sub(1).map(|at| samples[at]);
    let to = samples.get(above).copied();
    let step = [from.map(|v| value - v), to.map(|v| v - value)].into_iter().flatten().min().unwrap_or(0);
    let within = (rank - below as f64 + 0.5) / (above - below) as f64;
    f64::from(value) + f64::from(step) * (within - 0.5)
}

/// Lets time pass without sleeping; returns the moment it is over.
#[inline(always)]
fn stay_away(rest: Duration) -> Instant {
    let begin = Instant::now();
    let mut now = begin;
    while now - begin < rest {
        std::hint::spin_loop();
        now = Instant::now();
    }
    now
}

#[inline(always)]
fn trip(subject: &mut impl Exchange, seq: &mut u64) -> Measured<()> {
    *seq += 1;
    let echoed = subject.exchange(*seq)?;
    if echoed != *seq {
        return Err(Failure::failed(format!("message {seq} went out and {echoed} came back")));
    }
    Ok(())
}

/// Answers until told to stop.
pub fn echo(mut subject: impl Echo) -> Measured<()> {
    let mut last = 0;
    while last != STOP {
        last = subject.take(last)?;
        subject.answer(last)?;
    }
    Ok(())
}

/// Receives until told to stop.
pub fn swallow(mut subject: impl Drain) -> Measured<()> {
    while subject.get()? != STOP {}
    Ok(())
}

/// Sends numbered messages for `time`, `lap` of them between two looks at the clock.
pub fn pour(mut subject: impl Source, time: Duration, lap: u64) -> Measured<()> {
    let begin = Instant::now();
    let mut seq = 0;
    // A machine that is busy elsewhere may give a round no time at all: a lap or two are sent anyway.
    while begin.elapsed() < time || seq < 16 * lap {
        for _ in 0..lap {
            subject.put(seq)?;
            seq += 1;
        }
    }
    subject.put(STOP)
}

/// Receives what `pour` sends and checks that nothing is missing or out of order. The time is taken from
/// the moment the stream runs.
pub fn drain(mut subject: impl Drain, time: Duration, lap: u64) -> Measured<Found> {
    // By then both sides have touched every slot. A sender that was not let run may send no more than 16.
    let (laps, enough) = (2 * lap, 8 * lap);
    let mut next = 0;
    let begin = Instant::now();
    while next < laps || next < enough && begin.elapsed() < time / 8 {
        for _ in 0..lap {
            if !take(&mut subject, &mut next)? {
                return Err(Failure::failed(format!(
                    "a round ended after {next} messages, too few to measure"
                )));
            }
        }
    }
    let (begin, first) = (Instant::now(), next);
    while take(&mut subject, &mut next)? {}
    let rate = (next - first) as f64 / begin.elapsed().as_secs_f64();
    Ok(Found { latency_ns: None, msgs_per_s: Some(rate) })
}

/// Receives its share of what several `pour` at once, until one of them ends.
pub fn share(mut subject: impl Drain, time: Duration) -> Measured<Found> {
    let begin = Instant::now();
    let mut messages = 0_u64;
    while begin.elapsed() < time / 8 {
        if subject.get()? == STOP {
            return Err(Failure::failed("a round ended too early to measure"));
        }
    }
    let begin = Instant::now();
    while subject.get()? != STOP {
        messages += 1;
    }
    let rate = messages as f64 / begin.elapsed().as_secs_f64();
    Ok(Found { latency_ns: None, msgs_per_s: Some(rate) })
}

/// Takes the next message; false if it is the end.
#[inline(always)]
fn take(subject: &mut impl Drain, next: &mut u64) -> Measured<bool> {
    let seq = subject.get()?;
    if seq == *next {
        *next += 1;
        return Ok(true);
    }
    if seq == STOP {
        return Ok(false);
    }
    Err(Failure::failed(format!("message {seq} came where {next} was due")))
}
