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
        stops: 0,
        sweeps: 0,
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

/// One writes, and is fenced; others repair.
fn moving(writers: usize, repairers: usize, readers: usize, planted: Planted) -> InPlace {
    InPlace { fences: 1, ..in_place(writers, repairers, readers, planted) }
}

#[test]
fn what_one_who_stands_still_may_write_to_is_moved() {
    holds("one stands still", &InPlace { stops: 1, ..moving(2, 1, 0, SOUND) });
    holds("and one dies", &InPlace { stops: 1, kills: 1, ..moving(3, 2, 0, SOUND) });
    holds("and is swept", &InPlace { sweeps: 1, kills: 1, ..moving(2, 1, 0, SOUND) });
    holds("and is read", &InPlace { stops: 1, ..moving(2, 1, 1, SOUND) });
    holds("and is read quickly", &InPlace { quick: true, ..moving(2, 1, 1, SOUND) });
    breaks("never moved", &InPlace { stops: 1, ..moving(2, 1, 0, Planted::NeverMoved) }, "stuck");
}

#[test]
fn who_reads_looks_where_the_data_is_once_it_says_that_it_reads() {
    breaks("place first", &InPlace { commits: 2, ..moving(2, 1, 1, Planted::PlaceFirst) }, "torn");
}

#[test]
fn who_moves_it_is_the_last_one_who_was_about_to() {
    breaks("not announced", &in_place(3, 2, 0, Planted::NotAnnounced), "sound");
    breaks("moves blindly", &in_place(3, 2, 0, Planted::MovesBlindly), "sound");
    breaks("no CAS", &in_place(3, 2, 0, Planted::NoCas), "sound");
}

#[test]
fn who_moves_it_says_so_before() {
    breaks("marked late", &in_place(3, 2, 0, Planted::MarkedLate), "sound");
    breaks("named late", &in_place(2, 1, 0, Planted::NamedLate), "finds");
    breaks("swept", &InPlace { sweeps: 1, ..in_place(2, 1, 0, Planted::SweptMeanwhile) }, "finds");
}

#[test]
fn versions_move_with_the_data() {
    let planted = InPlace { commits: 2, ..moving(3, 1, 0, Planted::SharedVersions) };
    breaks("shared versions", &planted, "sound");
}
