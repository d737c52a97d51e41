//! Who calls and who answers in the models of calls, and the mistakes that they find.

use super::{Calls, Planted, Role};
use crate::explorer::{breaks, holds};

const ONE: &[Role] = &[Role::Caller(2), Role::Short];
const ONE_LONG: &[Role] = &[Role::Caller(2), Role::Long];
const TWO_SERVERS: &[Role] = &[Role::Patient, Role::Short, Role::Long];
const TWO_LONG: &[Role] = &[Role::Caller(1), Role::Long, Role::Long];
const TWO_CALLERS: &[Role] = &[Role::Caller(1), Role::Caller(1), Role::Long];
const AGAIN: &[Role] = &[Role::Caller(2), Role::Long, Role::Short];
const TWO_AGAIN: &[Role] = &[Role::Caller(2), Role::Caller(1), Role::Short];
const MUTE: &[Role] = &[Role::Caller(1), Role::Mute, Role::Long];

fn calls(roles: &'static [Role], kills: u8, doubles: u8) -> Calls {
    Calls { roles, kills, doubles, planted: Planted::Nothing }
}

#[test]
fn one_and_one_hold() {
    holds("calls, one and one", &calls(ONE, 1, 0));
    holds("calls, long answers", &calls(ONE_LONG, 1, 0));
}

#[test]
fn several_hold() {
    holds("calls, two servers", &calls(TWO_SERVERS, 2, 1));
    holds("calls, two servers, long answers", &calls(TWO_LONG, 1, 1));
    holds("calls, two callers", &calls(TWO_CALLERS, 2, 0));
    holds("calls, one that says nothing", &calls(MUTE, 1, 1));
    holds("calls, again and again", &calls(AGAIN, 2, 1));
    holds("calls, two callers again", &calls(TWO_AGAIN, 1, 0));
}

#[test]
fn an_answer_is_for_the_call_it_was_asked_by() {
    let planted = Calls { planted: Planted::NumberUnchecked, ..calls(ONE, 0, 0) };
    breaks("number unchecked", &planted, "another's answer");
}

#[test]
fn a_cell_that_is_written_to_is_not_free() {
    let planted = Calls {
        planted: Planted::FreedUnderWriter,
        ..calls(&[Role::Caller(2), Role::Short, Role::Short], 0, 0)
    };
    breaks("freed under the writer", &planted, "another's answer");
}

#[test]
fn an_answer_outlives_who_gave_it() {
    let planted = Calls { planted: Planted::NamedFreed, ..calls(TWO_LONG, 1, 0) };
    breaks("named, and freed", &planted, "another's answer");
}

#[test]
fn who_dies_answering_leaves_it_to_another() {
    let planted = Calls { planted: Planted::ClaimKept, ..calls(TWO_SERVERS, 1, 0) };
    breaks("claim kept", &planted, "two answer one question");
}

#[test]
fn the_chunk_goes_before_the_cell() {
    let planted = Calls { planted: Planted::CellFirst, ..calls(TWO_CALLERS, 1, 0) };
    breaks("cell first", &planted, "stuck");
}

#[test]
fn a_dead_callers_row_is_in_no_cell_when_another_has_it() {
    let planted = Calls { planted: Planted::RowInCell, ..calls(ONE, 1, 0) };
    breaks("row in a cell", &planted, "stuck");
}

#[test]
fn who_is_overtaken_does_not_answer() {
    let planted = Calls { planted: Planted::LateAnswers, ..calls(TWO_SERVERS, 0, 1) };
    breaks("late answers", &planted, "two answer one question");
    let planted = Calls { planted: Planted::LateAnswers, ..calls(MUTE, 0, 1) };
    breaks("late, and says nothing", &planted, "two answer one question");
}
