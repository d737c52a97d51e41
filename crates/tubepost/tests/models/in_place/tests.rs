//! The sound protocol, and each rule left out.

use super::*;
use crate::explorer::long_runs;

fn in_place(writers: usize, repairers: usize, readers: usize, planted: Planted) -> InPlace {
    InPlace {
        writers,
        repairers,
        readers,
        commits: 1,
        reads: 1,
        quick: false,
        kills: 0,
        fences: 2,
        drops: 0,
        planted,
    }
}

const SOUND: Planted = Planted::Nothing;

#[test]
fn readers_copy_what_was_committed() {
    holds("a writer, two readers", &InPlace { reads: 2, ..in_place(1, 0, 2, SOUND) });
    holds("two writers, a reader", &InPlace { kills: 1, ..in_place(2, 0, 1, SOUND) });
    holds("twice", &InPlace { commits: 2, reads: 2, ..in_place(1, 0, 1, SOUND) });
    holds("quickly", &InPlace { quick: true, commits: 2, reads: 2, ..in_place(2, 0, 1, SOUND) });
}

#[test]
fn what_is_poisoned_is_repaired() {
    holds("and a reader", &InPlace { kills: 1, drops: 1, ..in_place(2, 1, 1, SOUND) });
    holds("two repair", &InPlace { kills: 1, ..in_place(3, 2, 0, SOUND) });
    holds("two write", &InPlace { kills: 1, ..in_place(3, 1, 0, SOUND) });
    if long_runs() {
        holds("two repair, one reads", &InPlace { kills: 1, ..in_place(3, 2, 1, SOUND) });
        holds("two write, one reads", &InPlace { kills: 1, ..in_place(3, 1, 1, SOUND) });
        holds("twice", &InPlace { kills: 1, commits: 2, ..in_place(2, 1, 1, SOUND) });
    }
}

#[test]
fn a_reader_looks_again_once_it_says_that_it_reads() {
    breaks("no look", &in_place(1, 0, 1, Planted::NoLook), "torn");
}

#[test]
fn a_reader_that_was_fenced_has_nothing() {
    breaks("not validated", &in_place(1, 0, 1, Planted::NotValidated), "torn");
}

#[test]
fn what_a_dead_holder_has_begun_is_not_read() {
    let planted = InPlace { kills: 1, ..in_place(1, 0, 1, Planted::ReadsHalfDone) };
    breaks("reads half done", &planted, "torn");
}

#[test]
fn who_reads_quickly_looks_whether_somebody_edits() {
    let planted = InPlace { quick: true, ..in_place(1, 0, 1, Planted::MindsNobody) };
    breaks("minds nobody", &planted, "torn");
}

#[test]
fn a_writer_waits_for_those_who_read() {
    breaks("no rows", &in_place(1, 0, 1, Planted::NoRows), "torn");
    breaks("rows first", &in_place(1, 0, 1, Planted::RowsFirst), "torn");
}

#[test]
fn what_was_begun_and_not_committed_is_not_sound() {
    breaks("not touched", &in_place(1, 0, 1, Planted::NotTouched), "sound");
    breaks("forgives", &InPlace { drops: 1, ..in_place(2, 0, 0, Planted::Forgives) }, "sound");
}

#[test]
fn who_was_fenced_does_not_begin() {
    breaks("touched blindly", &in_place(2, 0, 0, Planted::TouchedBlindly), "sound");
}

#[test]
fn who_repairs_waits_for_those_who_were_fenced() {
    breaks("no editing", &in_place(2, 1, 0, Planted::NoEditing), "sound");
    breaks("no wait", &in_place(2, 1, 0, Planted::NoWait), "sound");
}

#[test]
fn who_repairs_looks_again_once_it_says_that_it_edits() {
    breaks("repairs blindly", &InPlace { drops: 1, ..in_place(3, 2, 0, Planted::RepairsBlindly) }, "sound");
}
