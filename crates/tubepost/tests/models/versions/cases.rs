//! The cases of the model of regions: what holds, and what each planted error breaks.

use super::{Planted, Versions};
use crate::explorer::{breaks, holds, long_runs};

fn versions(writers: usize, readers: usize, commits: u8, reads: u8, planted: Planted) -> Versions {
    Versions { writers, readers, commits, reads, kills: 0, fences: 3, guesses: false, planted }
}

#[test]
fn readers_see_whole_versions_and_writers_fence_each_other() {
    holds("two writers, one reader", &versions(2, 1, 1, 2, Planted::Nothing));
    holds("one writer three times", &versions(1, 1, 3, 2, Planted::Nothing));
    holds("with a kill", &Versions { kills: 1, ..versions(2, 1, 1, 1, Planted::Nothing) });
    holds(
        "two writers, twice, nobody reads",
        &Versions { kills: 1, ..versions(2, 0, 2, 0, Planted::Nothing) },
    );
    if long_runs() {
        holds("three writers", &versions(3, 0, 1, 0, Planted::Nothing));
        let three = versions(3, 1, 1, 1, Planted::Nothing);
        holds("three writers, one reader", &Versions { fences: 1, ..three });
        holds("two readers", &Versions { fences: 1, ..versions(2, 2, 1, 1, Planted::Nothing) });
        holds("two writers, twice", &Versions { fences: 2, ..versions(2, 1, 2, 1, Planted::Nothing) });
    }
}

#[test]
fn guesses_are_as_good() {
    let guessing = |writers, readers, commits, reads| Versions {
        guesses: true,
        ..versions(writers, readers, commits, reads, Planted::Nothing)
    };
    holds("two writers, one reader", &guessing(2, 1, 1, 2));
    holds("one writer three times", &guessing(1, 1, 3, 2));
    holds("with a kill", &Versions { kills: 1, ..guessing(2, 1, 1, 1) });
    holds("two writers, twice, nobody reads", &Versions { kills: 1, ..guessing(2, 0, 2, 0) });
    if long_runs() {
        holds("three writers", &guessing(3, 0, 1, 0));
        holds("three writers, one reader", &Versions { fences: 1, ..guessing(3, 1, 1, 1) });
        holds("two readers", &Versions { fences: 1, ..guessing(2, 2, 1, 1) });
        holds("two writers, twice", &Versions { fences: 1, ..guessing(2, 1, 2, 1) });
    }
}

#[test]
fn a_guess_has_to_be_asked_after() {
    let planted = Versions { guesses: true, ..versions(2, 1, 2, 1, Planted::Guesses) };
    breaks("guesses", &planted, "not");
}

#[test]
fn a_guess_comes_before_acquiring() {
    let planted = Versions { guesses: true, ..versions(2, 1, 1, 1, Planted::GuessesLate) };
    breaks("guesses late", &planted, "torn");
}

#[test]
fn what_was_pinned_has_to_be_looked_at_again() {
    let planted = Versions { guesses: true, ..versions(1, 1, 3, 1, Planted::PinsBlindly) };
    breaks("pins blindly", &planted, "torn");
}

#[test]
fn who_does_not_look_again_edits_what_another_has() {
    breaks("no look", &versions(2, 1, 1, 2, Planted::NoLook), "not what");
}

#[test]
fn who_does_not_say_what_he_edits_is_overwritten() {
    breaks("no editing", &versions(2, 1, 1, 1, Planted::NoEditing), "not what");
}

#[test]
fn an_old_answer_leads_into_a_buffer_in_use() {
    breaks("any answer", &versions(2, 1, 2, 1, Planted::AnyAnswer), "torn");
}

#[test]
fn who_is_not_answered_pins_what_is_edited() {
    breaks("no answer", &versions(1, 1, 2, 1, Planted::NoAnswer), "torn");
}

#[test]
fn a_buffer_that_stays_whole_while_it_is_edited_is_built_upon() {
    breaks("stays whole", &versions(2, 0, 2, 0, Planted::StaysWhole), "not what");
}

#[test]
fn a_buffer_that_is_whole_before_its_commit_is_built_upon() {
    breaks("whole too soon", &versions(2, 0, 2, 0, Planted::WholeTooSoon), "not what");
}

#[test]
fn all_that_was_changed_since_has_to_be_copied() {
    breaks("forgets", &versions(1, 1, 3, 1, Planted::Forgets), "not what");
}
