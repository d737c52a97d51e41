//! The cases of the model of segments: what holds, and what each planted error breaks.

use super::{Planted, Segments};
use crate::explorer::{breaks, holds};

fn model(messages: [u8; 2], kills: u8, planted: Planted) -> Segments {
    Segments { messages, kills, trims: 1, planted }
}

#[test]
fn holds_for_two_senders() {
    holds("segments, 1 + 1 messages, one kill", &model([1, 1], 1, Planted::Nothing));
}

#[test]
fn holds_when_segments_are_used_again() {
    holds("segments, 3 messages of one, and a kill", &model([3, 0], 1, Planted::Nothing));
    let untrimmed = Segments { trims: 0, ..model([2, 1], 0, Planted::Nothing) };
    holds("segments, 2 + 1 messages, nothing is trimmed", &untrimmed);
}

#[test]
fn holds_for_two_deaths() {
    holds("segments, 1 + 1 messages, two kills", &model([1, 1], 2, Planted::Nothing));
}

#[test]
fn who_looks_has_to_say_so() {
    breaks("no visits", &model([2, 1], 0, Planted::NoVisits), "a hole");
}

#[test]
fn who_trims_has_to_make_others_seen() {
    breaks("no barrier", &model([2, 1], 0, Planted::NoBarrier), "a hole");
}

#[test]
fn an_epoch_that_is_over_stays_so() {
    let model = Segments { trims: 0, ..model([2, 1], 0, Planted::AppendsWhatIsOver) };
    breaks("appends what is over", &model, "an epoch was appended twice");
}

#[test]
fn what_is_retired_leaves_the_directory() {
    breaks("stays in the directory", &model([2, 1], 0, Planted::StaysInDirectory), "a hole");
}

#[test]
fn what_a_dead_one_appended_is_in_use() {
    breaks(
        "reclaimed unseen",
        &model([1, 1], 1, Planted::ReclaimedUnseen),
        "a free segment is in the directory",
    );
}

#[test]
fn who_frees_looks_what_it_is_used_for_by_now() {
    breaks("freed unseen", &model([2, 1], 0, Planted::FreedUnseen), "a free segment is in the directory");
}

#[test]
fn segments_of_the_dead_are_looked_after() {
    breaks("not reclaimed", &model([3, 0], 1, Planted::NotReclaimed), "stuck");
}
