//! How large the model is made, and what must break.

use super::Role::{Awaiting, Closer, Newcomer, Receiver, Sender, Sole};
use super::*;
use crate::explorer::{breaks, holds, long_runs};

const TWO: &[Role] = &[Sender(2), Sender(1), Receiver(0), Receiver(1)];
const ONE_SENDER: &[Role] = &[Sender(3), Receiver(0), Receiver(1)];
const THREE: &[Role] = &[Sender(2), Receiver(0), Receiver(1), Receiver(2)];
const REUSE: &[Role] = &[Sender(2), Receiver(0), Receiver(1), Newcomer];
const NEWCOMERS: &[Role] = &[Sender(2), Receiver(0), Newcomer, Newcomer];
/// Positions are skipped, and newcomers begin beyond them.
const SKIPPED: &[Role] = &[Sender(1), Sender(1), Sender(1), Receiver(0), Receiver(1)];
const SKIPPED_REUSE: &[Role] = &[Sender(1), Sender(1), Sender(1), Receiver(0), Newcomer];
const CLOSING: &[Role] = &[Sender(2), Receiver(0), Receiver(1), Closer];
const TWO_CLOSE: &[Role] = &[Sender(1), Receiver(0), Receiver(1), Closer, Closer];
const ALL_DEAD: &[Role] = &[Sender(1), Receiver(0), Closer];
const AWAITED: &[Role] = &[Awaiting(2), Sender(1), Receiver(0), Receiver(1)];
const TWO_AWAIT: &[Role] = &[Awaiting(2), Awaiting(1), Receiver(0)];
const AWAITED_REUSE: &[Role] = &[Awaiting(1), Awaiting(1), Receiver(0), Newcomer];
const AHEAD: &[Role] = &[Awaiting(1), Sender(2), Receiver(0), Receiver(1)];
const SOLE: &[Role] = &[Awaiting(2), Awaiting(1), Sole];
const SOLE_MIXED: &[Role] = &[Awaiting(2), Sender(2), Sole];
const AWAITED_CLOSING: &[Role] = &[Awaiting(1), Awaiting(1), Receiver(0), Closer];
/// For long runs.
const BUSY: &[Role] = &[Sender(2), Sender(2), Receiver(0), Receiver(1), Newcomer];

fn queue(n: u8, roles: &'static [Role], kills: u8) -> Takes {
    Takes { n, roles, kills, stops: false, put_backs: 0, planted: Planted::Nothing }
}

fn planted(n: u8, roles: &'static [Role], kills: u8, planted: Planted) -> Takes {
    Takes { planted, ..queue(n, roles, kills) }
}

#[test]
fn two_receivers_hold() {
    for n in [1, 2, 3] {
        holds(&format!("takes n={n}, two senders"), &queue(n, TWO, 2));
        holds(&format!("takes n={n}, one sender"), &queue(n, ONE_SENDER, 2));
    }
}

#[test]
fn three_receivers_hold() {
    for n in [1, 2] {
        holds(&format!("takes n={n}, three receivers"), &queue(n, THREE, 2));
    }
}

#[test]
fn rows_pass_on() {
    for n in [1, 2] {
        holds(&format!("takes n={n}, a row reused"), &queue(n, REUSE, 3));
        holds(&format!("takes n={n}, two newcomers"), &queue(n, NEWCOMERS, 3));
    }
}

#[test]
fn who_is_stopped_holds_nobody_up() {
    for n in [1, 2] {
        holds(&format!("takes n={n}, stopped"), &Takes { stops: true, ..queue(n, ONE_SENDER, 1) });
        holds(&format!("takes n={n}, stopped, row reused"), &Takes { stops: true, ..queue(n, REUSE, 2) });
    }
}

#[test]
fn what_is_put_back_is_not_lost() {
    for n in [1, 2] {
        holds(&format!("takes n={n}, put back"), &Takes { put_backs: 2, ..queue(n, ONE_SENDER, 1) });
    }
    holds("takes n=1, put back, row reused", &Takes { put_backs: 2, ..queue(1, REUSE, 2) });
}

#[test]
fn skips_are_counted_once() {
    for n in [1, 2, 3] {
        holds(&format!("takes n={n}, skips"), &queue(n, SKIPPED, 2));
        holds(&format!("takes n={n}, skips and a newcomer"), &queue(n, SKIPPED_REUSE, 3));
    }
}

#[test]
fn closing_counts_what_nobody_receives() {
    for n in [1, 2] {
        holds(&format!("takes n={n}, closing"), &queue(n, CLOSING, 2));
        holds(&format!("takes n={n}, closing, all dead"), &queue(n, ALL_DEAD, 2));
        holds(&format!("takes n={n}, two close"), &queue(n, TWO_CLOSE, 1));
    }
}

#[test]
fn what_is_awaited_is_collected_or_withdrawn() {
    for n in [1, 2, 3] {
        holds(&format!("takes n={n}, awaited"), &queue(n, AWAITED, 1));
        holds(&format!("takes n={n}, two await"), &queue(n, TWO_AWAIT, 2));
        holds(&format!("takes n={n}, awaited, a row reused"), &queue(n, AWAITED_REUSE, 2));
    }
}

#[test]
fn a_sole_receiver_collects_what_is_awaited() {
    for n in [1, 2, 3] {
        holds(&format!("takes n={n}, sole"), &queue(n, SOLE, 1));
        holds(&format!("takes n={n}, sole, some awaited"), &queue(n, SOLE_MIXED, 1));
        holds(&format!("takes n={n}, sole, put back"), &Takes { put_backs: 2, ..queue(n, SOLE, 0) });
    }
}

#[test]
fn closing_counts_what_is_awaited() {
    for n in [1, 2] {
        holds(&format!("takes n={n}, awaited, closing"), &queue(n, AWAITED_CLOSING, 1));
    }
}

#[test]
fn a_withdrawal_says_nothing_of_what_is_before_it() {
    let model = planted(2, AHEAD, 1, Planted::WithdrawnWalkedOver);
    breaks("withdrawn walked over", &model, "skips counted");
}

#[test]
fn who_withdraws_walks_first() {
    let model = planted(1, TWO_AWAIT, 0, Planted::WithdrawnUnwalked);
    breaks("withdrawn unwalked", &model, "skips counted");
}

#[test]
fn a_sole_receiver_swaps_what_is_awaited() {
    let model = planted(1, SOLE, 0, Planted::SoleWithoutSwap);
    breaks("sole without swap", &model, "withdrawn and received");
}

#[test]
fn a_dead_ones_withdrawn_slot_is_freed() {
    breaks("withdrawn not freed", &planted(1, TWO_AWAIT, 1, Planted::WithdrawnNotFreed), "stuck");
}

#[test]
fn larger_bounds_hold() {
    if long_runs() {
        for n in [1, 2] {
            holds(&format!("takes n={n}, busy"), &queue(n, BUSY, 2));
            holds(&format!("takes n={n}, three receivers, three deaths"), &queue(n, THREE, 3));
            holds(&format!("takes n={n}, two close, two deaths"), &queue(n, TWO_CLOSE, 2));
            holds(
                &format!("takes n={n}, closing, put back"),
                &Takes { put_backs: 2, ..queue(n, CLOSING, 2) },
            );
        }
        holds("takes n=2, put back, row reused", &Takes { put_backs: 2, ..queue(2, REUSE, 3) });
    }
}

#[test]
fn a_take_by_plain_store_delivers_twice() {
    breaks("taken by plain store", &planted(1, ONE_SENDER, 0, Planted::TakenByPlainStore), "two have");
}

#[test]
fn a_verdict_before_the_word_robs_the_living() {
    let model = planted(1, REUSE, 1, Planted::VerdictBeforeWord);
    breaks("verdict before word", &model, "from the living");
}

#[test]
fn without_a_count_it_is_not_marked() {
    let model = planted(1, ONE_SENDER, 1, Planted::GivenBackUncounted);
    breaks("given back uncounted", &model, "not marked");
}

#[test]
fn putting_back_without_a_count_robs_a_newcomer() {
    let model = Takes { put_backs: 1, ..planted(1, REUSE, 1, Planted::PutBackUncounted) };
    breaks("put back uncounted", &model, "from the living");
}

#[test]
fn without_giving_back_a_message_is_stuck() {
    breaks("nothing given back", &planted(1, ONE_SENDER, 1, Planted::NothingGivenBack), "stuck");
}

#[test]
fn a_row_reused_unswept_keeps_its_message() {
    breaks("row reused unswept", &planted(1, NEWCOMERS, 1, Planted::RowReusedUnswept), "stuck");
}

#[test]
fn a_skip_must_be_confirmed() {
    breaks("skip not confirmed", &planted(1, ONE_SENDER, 0, Planted::SkipNotConfirmed), "skips counted");
}

#[test]
fn a_skip_has_a_position() {
    breaks("skip counted by each", &planted(1, SKIPPED, 1, Planted::SkipCountedByEach), "skips counted");
}

#[test]
fn a_newcomer_notes_what_it_passes() {
    let model = planted(2, SKIPPED_REUSE, 3, Planted::NewcomerNotesNothing);
    breaks("newcomer notes nothing", &model, "skips counted");
}

#[test]
fn what_is_counted_must_be_closed() {
    breaks("counted unclosed", &planted(2, CLOSING, 1, Planted::CountedUnclosed), "counted and received");
    // And if nobody closes what was given back, it is not counted either.
    breaks("given back not closed", &planted(2, ALL_DEAD, 1, Planted::GivenBackNotClosed), "stuck");
}

#[test]
fn who_closes_gives_back_first() {
    let model = planted(1, ALL_DEAD, 1, Planted::ClosedWithoutGivingBack);
    breaks("closed without giving back", &model, "stuck");
}
