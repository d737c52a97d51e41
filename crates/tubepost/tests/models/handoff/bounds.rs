//! How large the model is made, and what must break.

use super::Role::{Eager, Leaves, Patient, Receiver, Sender, Try, TryReceiver};
use super::*;
use crate::explorer::{breaks, holds, long_runs};

const TWO_AND_TWO: &[Role] = &[Sender(1), Sender(1), Receiver(1), Receiver(1)];
const ONE_AND_ONE: &[Role] = &[Sender(2), Receiver(2)];
const FOR_EVER: &[Role] = &[Patient, Eager];
const ONE_AND_TWO: &[Role] = &[Sender(1), Receiver(1), Receiver(1)];
const TWO_AND_ONE: &[Role] = &[Sender(1), Patient, Receiver(2)];
const TWO_FOR_EVER: &[Role] = &[Patient, Patient, Eager, Eager];
const TRY_SEND: &[Role] = &[Try, Sender(1), Receiver(2)];
const TRY_RECEIVE: &[Role] = &[Sender(1), TryReceiver, Receiver(1)];
const MIXED: &[Role] = &[Try, Patient, Receiver(1), Eager];

const LEAVES: &[Role] = &[Patient, Eager, Leaves];
const LEAVES_TWO: &[Role] = &[Patient, Sender(1), Receiver(2), Leaves];

fn handoff(roles: &'static [Role], kills: u8) -> Handoff {
    Handoff { roles, kills, planted: Planted::Nothing }
}

fn planted(roles: &'static [Role], kills: u8, planted: Planted) -> Handoff {
    Handoff { roles, kills, planted }
}

#[test]
fn one_and_one_hold() {
    holds("handoff, one and one", &handoff(ONE_AND_ONE, 1));
    holds("handoff, for ever", &handoff(FOR_EVER, 1));
}

#[test]
fn several_hold() {
    holds("handoff, two and two for ever", &handoff(TWO_FOR_EVER, 0));
    holds("handoff, one and two", &handoff(ONE_AND_TWO, 2));
    holds("handoff, two and one", &handoff(TWO_AND_ONE, 2));
}

#[test]
fn trying_holds() {
    holds("handoff, try to send", &handoff(TRY_SEND, 1));
    holds("handoff, try to receive", &handoff(TRY_RECEIVE, 2));
    holds("handoff, mixed", &handoff(MIXED, 1));
}

#[test]
fn who_leaves_has_its_messages_received_or_refused() {
    holds("handoff, who sends leaves", &handoff(LEAVES, 1));
    holds("handoff, who sends leaves with two threads", &handoff(LEAVES_TWO, 0));
}

#[test]
fn larger_bounds_hold() {
    if long_runs() {
        holds("handoff, two and two", &handoff(TWO_AND_TWO, 0));
        holds("handoff, two and two for ever, a death", &handoff(TWO_FOR_EVER, 1));
    }
}

#[test]
fn who_offers_looks_again() {
    breaks("offer unseen", &planted(FOR_EVER, 0, Planted::OfferUnseen), "stuck");
}

#[test]
fn who_waits_looks_again() {
    breaks("wait unseen", &planted(FOR_EVER, 0, Planted::WaitUnseen), "stuck");
}

#[test]
fn who_gives_up_looks_whether_it_was_given() {
    breaks("given up blindly", &planted(ONE_AND_ONE, 0, Planted::GivenUpBlindly), "said not to be sent");
}

#[test]
fn what_was_given_outlives_its_sender() {
    breaks("given freed", &planted(FOR_EVER, 1, Planted::GivenFreed), "a cell names chunk");
}

#[test]
fn the_cell_goes_before_the_message_goes_back() {
    breaks("returned first", &planted(FOR_EVER, 1, Planted::ReturnedFirst), "a cell names chunk");
}

#[test]
fn who_dies_offering_has_sent_nothing() {
    breaks("offer kept", &planted(&[Sender(1), Eager], 1, Planted::OfferKept), "stuck");
}

#[test]
fn who_waits_takes_nothing_else() {
    breaks("taken while waiting", &planted(TWO_FOR_EVER, 0, Planted::TakenWhileWaiting), "stuck");
}

#[test]
fn what_is_offered_by_who_left_is_its_own() {
    breaks("left for dead", &planted(LEAVES, 0, Planted::LeftForDead), "is lost");
}

#[test]
fn who_offers_looks_whether_it_left() {
    breaks("left unseen", &planted(LEAVES, 0, Planted::LeftUnseen), "is lost");
}

#[test]
fn who_leaves_takes_back_what_is_offered() {
    breaks("not taken back", &planted(LEAVES, 0, Planted::NotTakenBack), "is lost");
}

#[test]
fn who_finds_its_offer_gone_looks_whether_it_was_taken_back() {
    breaks("taken back unseen", &planted(LEAVES, 0, Planted::TakenBackUnseen), "is lost");
}
