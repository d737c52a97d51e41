//! How large the model is made, and what must break.

use super::*;
use crate::explorer::{breaks, holds, long_runs};

const ONE_AND_ONE: &[Role] = &[Role::Sender(2), Role::Receiver(2)];
const FOR_EVER: &[Role] = &[Role::Patient, Role::Eager];
const TWO_AND_ONE: &[Role] = &[Role::Sender(1), Role::Patient, Role::Receiver(2)];
const ONE_AND_TWO: &[Role] = &[Role::Sender(2), Role::Receiver(1), Role::Receiver(1)];
const TWO_AND_TWO: &[Role] = &[Role::Sender(1), Role::Patient, Role::Receiver(1), Role::Receiver(1)];
const ONE_AND_THREE: &[Role] = &[Role::Patient, Role::Receiver(1), Role::Receiver(1), Role::Receiver(2)];
const MIXED: &[Role] = &[Role::Patient, Role::Receiver(1), Role::Eager];
const TWO_PATIENT: &[Role] = &[Role::Patient, Role::Patient, Role::Eager];

fn model(roles: &'static [Role], kills: u8, planted: Planted) -> GivenHere {
    GivenHere { roles, kills, planted }
}

#[test]
fn one_and_one_hold() {
    holds("given here, one and one", &model(ONE_AND_ONE, 1, Planted::Nothing));
    holds("given here, for ever", &model(FOR_EVER, 1, Planted::Nothing));
}

#[test]
fn several_hold() {
    holds("given here, two and one", &model(TWO_AND_ONE, 1, Planted::Nothing));
    holds("given here, one and two", &model(ONE_AND_TWO, 1, Planted::Nothing));
    holds("given here, two and two", &model(TWO_AND_TWO, 1, Planted::Nothing));
    holds("given here, one and three", &model(ONE_AND_THREE, 2, Planted::Nothing));
    holds("given here, mixed", &model(MIXED, 2, Planted::Nothing));
    holds("given here, two patient", &model(TWO_PATIENT, 2, Planted::Nothing));
}

#[test]
fn larger_bounds_hold() {
    if long_runs() {
        holds("given here, two and one, two deaths", &model(TWO_AND_ONE, 2, Planted::Nothing));
        holds("given here, two and two, two deaths", &model(TWO_AND_TWO, 2, Planted::Nothing));
        holds("given here, one and two, two deaths", &model(ONE_AND_TWO, 2, Planted::Nothing));
    }
}

#[test]
fn who_is_done_looks_whether_it_has_the_right_still() {
    breaks("done by store", &model(ONE_AND_ONE, 0, Planted::DoneByStore), "for one who left");
}

#[test]
fn a_cell_that_was_left_is_its_givers() {
    breaks("left free", &model(TWO_AND_TWO, 0, Planted::LeftFree), "lost");
}

#[test]
fn who_dies_giving_keeps_nobody_waiting() {
    breaks("giver kept", &model(TWO_PATIENT, 1, Planted::GiverKept), "stuck");
}

#[test]
fn what_was_given_outlives_its_receiver() {
    breaks("here freed", &model(FOR_EVER, 1, Planted::HereFreed), "lost");
}

#[test]
fn the_cell_is_free_before_its_copy_is_returned() {
    breaks("returned first", &model(ONE_AND_THREE, 2, Planted::ReturnedFirst), "received twice");
}

#[test]
fn what_is_here_is_read_before_its_cell_is_free() {
    breaks("freed unread", &model(TWO_AND_ONE, 0, Planted::FreedUnread), "lost");
}
