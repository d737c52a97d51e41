//! A machine that stands still, or has too much else to do, is no hang of the library's. So a call is forgiven what the
//! kernel kept its thread waiting for a processor; and by how much a second thread, which only sleeps for a moment
//! again and again, woke too late meanwhile.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What a call may take beyond its deadline.
const SLACK: Duration = Duration::from_secs(2);
/// How long the second thread sleeps.
const BEAT: Duration = Duration::from_millis(20);
/// How often it slept, and by how many microseconds it woke too late in all.
static BEATS: AtomicU64 = AtomicU64::new(0);
static LATE: AtomicU64 = AtomicU64::new(0);

/// Makes a call with a deadline; how long it took, if that was too long.
pub fn timed<R>(deadline: Duration, call: impl FnOnce() -> R) -> (R, Option<Duration>) {
    static BEATING: Once = Once::new();
    BEATING.call_once(|| drop(std::thread::spawn(beat)));
    let (late, waiting) = (Duration::from_micros(LATE.load(Relaxed)), waited());
    let begin = Instant::now();
    let done = call();
    let took = begin.elapsed();
    let forgiven = || waited().saturating_sub(waiting) + (lateness() - late);
    let too_long = took > deadline + SLACK && took > deadline + SLACK + forgiven();
    (done, too_long.then_some(took))
}

fn beat() {
    loop {
        let begin = Instant::now();
        std::thread::sleep(BEAT);
        let late = begin.elapsed().saturating_sub(2 * BEAT);
        LATE.fetch_add(late.as_micros() as u64, Relaxed);
        BEATS.fetch_add(1, Relaxed);
    }
}

/// For how long this thread was ready to run and others ran.
fn waited() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let waited = text.split(' ').nth(1).and_then(|it| it.parse().ok());
    Duration::from_nanos(waited.unwrap_or(0))
}

/// How late it is by now, counting a beat that is not over yet.
fn lateness() -> Duration {
    let beats = BEATS.load(Relaxed);
    while BEATS.load(Relaxed) < beats + 2 {
        std::thread::sleep(BEAT);
    }
    Duration::from_micros(LATE.load(Relaxed))
}
