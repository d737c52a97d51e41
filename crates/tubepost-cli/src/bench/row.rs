//! A finished row, as the JSON shows it.

use serde::Serialize;

use super::job::{Measure, Mode, Place, What, word};
use super::measure::Found;
use super::plan::Entry;

/// Figures are medians over the rounds; latencies are one way.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub what: What,
    pub measure: Measure,
    pub mode: Mode,
    pub place: Place,
    pub bytes: u64,
    pub senders: u64,
    pub receivers: u64,
    pub p50_ns: Option<f64>,
    pub p99_ns: Option<f64>,
    pub p999_ns: Option<f64>,
    pub msgs_per_s: Option<f64>,
    /// The name of what it is held against, and that one's figure.
    pub limit: Option<String>,
    pub limit_value: Option<f64>,
    /// This figure divided by the limit's of the same round, median of the rounds: above 1 is slower for
    /// latencies, below 1 for streams. A machine that changes pace between rounds does so for both.
    pub ratio: Option<f64>,
}

/// Makes the rows of a group out of what its rounds found.
pub fn rows(entries: &[Entry], rounds: &[Vec<Found>]) -> Vec<Row> {
    let figures: Vec<_> = (0..entries.len())
        .map(|at| {
            let latency =
                |which: usize| median(rounds.iter().filter_map(|round| Some(round[at].latency_ns?[which])));
            let rate = median(rounds.iter().filter_map(|round| round[at].msgs_per_s));
            ([latency(0), latency(1), latency(2)], rate)
        })
        .collect();
    let main_figure = |at: usize| figures[at].0[0].or(figures[at].1);
    let of_round = |found: &Found| found.latency_ns.map(|latency| latency[0]).or(found.msgs_per_s);
    let ratio = |own: usize, limit: usize| {
        median(rounds.iter().filter_map(|round| Some(of_round(&round[own])? / of_round(&round[limit])?)))
    };
    let row = |(at, entry): (usize, &Entry)| {
        let limit = entry.limit.and_then(|limit| entries.iter().position(|e| (e.what, e.bytes) == limit));
        let limit_value = limit.and_then(main_figure);
        let ([p50, p99, p999], rate) = figures[at];
        Row {
            what: entry.what,
            measure: entry.measure,
            mode: entry.mode,
            place: entry.place,
            bytes: entry.bytes,
            senders: entry.senders(),
            receivers: entry.each,
            p50_ns: p50.map(tenths),
            p99_ns: p99.map(tenths),
            p999_ns: p999.map(tenths),
            msgs_per_s: rate.map(f64::round),
            limit: limit.map(|at| word(entries[at].what)),
            limit_value: limit_value.map(tenths),
            ratio: limit.and_then(|limit| ratio(at, limit)).map(|ratio| (ratio * 1000.0).round() / 1000.0),
        }
    };
    entries.iter().enumerate().map(row).collect()
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        even if even.is_multiple_of(2) => Some((values[middle - 1] + values[middle]) / 2.0),
        _ => Some(values[middle]),
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
