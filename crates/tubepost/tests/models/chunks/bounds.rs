//! How large the models are, and what is planted in them.

use super::Kind::{Chunked, InLine};
use super::Role::{Closer, Newcomer, Receiver, Sender};
use super::*;

const IN_LINE: &[Role] = &[Sender(&[InLine]), Receiver, Receiver];
const CHUNKED: &[Role] = &[Sender(&[Chunked]), Receiver, Receiver];
const BOTH: &[Role] = &[Sender(&[InLine, Chunked]), Receiver, Receiver];
const TWO_CHUNKED: &[Role] = &[Sender(&[Chunked, Chunked]), Receiver, Receiver];
const IN_LINE_REUSE: &[Role] = &[Sender(&[InLine]), Receiver, Receiver, Newcomer];
const CHUNKED_REUSE: &[Role] = &[Sender(&[Chunked]), Receiver, Receiver, Newcomer];
const IN_LINE_CLOSING: &[Role] = &[Sender(&[InLine]), Receiver, Receiver, Closer];
const CHUNKED_CLOSING: &[Role] = &[Sender(&[Chunked]), Receiver, Receiver, Closer];
const TWO_CLOSE: &[Role] = &[Sender(&[InLine]), Receiver, Closer, Closer];
const TWO_CLOSE_CHUNKED: &[Role] = &[Sender(&[Chunked]), Receiver, Closer, Closer];
const BOTH_REUSE: &[Role] = &[Sender(&[InLine, Chunked]), Receiver, Receiver, Newcomer];
const BOTH_CLOSING: &[Role] = &[Sender(&[InLine, Chunked]), Receiver, Receiver, Closer];
const TWO_SENDERS: &[Role] = &[Sender(&[Chunked]), Sender(&[InLine]), Receiver, Newcomer];
const ONE_AND_NEWCOMER: &[Role] = &[Sender(&[Chunked]), Receiver, Newcomer];

fn queue(n: u8, roles: &'static [Role], kills: u8) -> Chunks {
    Chunks { n, roles, kills, extras: 0, stops: false, unsure: false, planted: Planted::Nothing }
}

fn planted(roles: &'static [Role], kills: u8, planted: Planted) -> Chunks {
    Chunks { planted, ..queue(1, roles, kills) }
}

#[test]
fn what_is_in_line_holds() {
    holds("chunks n=1, in line", &queue(1, IN_LINE, 2));
    holds("chunks n=1, in line, row reused", &queue(1, IN_LINE_REUSE, 3));
}

#[test]
fn what_is_in_chunks_holds() {
    holds("chunks n=1, in a chunk", &queue(1, CHUNKED, 2));
    holds("chunks n=1, in a chunk, row reused", &queue(1, CHUNKED_REUSE, 3));
}

#[test]
fn two_messages_hold() {
    for n in [1, 2] {
        holds(&format!("chunks n={n}, both"), &queue(n, BOTH, 2));
        holds(&format!("chunks n={n}, two"), &queue(n, TWO_CHUNKED, 2));
    }
}

#[test]
fn who_can_not_be_asked_about_holds() {
    for roles in [BOTH, IN_LINE_REUSE, CHUNKED_REUSE] {
        holds("chunks n=1, unsure", &Chunks { unsure: true, ..queue(1, roles, 2) });
    }
}

#[test]
fn putting_back_and_trimming_hold() {
    for roles in [IN_LINE, CHUNKED, ONE_AND_NEWCOMER] {
        holds("chunks n=1, extras", &Chunks { extras: 2, ..queue(1, roles, 2) });
    }
}

#[test]
fn who_is_stopped_recovering_holds_nobody_up() {
    for roles in [BOTH, IN_LINE_REUSE, CHUNKED_REUSE] {
        holds("chunks n=1, stopped", &Chunks { stops: true, ..queue(1, roles, 2) });
    }
}

#[test]
fn closing_counts_each_once() {
    for roles in [IN_LINE_CLOSING, CHUNKED_CLOSING] {
        for n in [1, 2] {
            holds(&format!("chunks n={n}, closing"), &queue(n, roles, 2));
        }
    }
}

#[test]
fn who_closes_may_die_of_it() {
    for roles in [TWO_CLOSE, TWO_CLOSE_CHUNKED] {
        holds("chunks n=1, two close", &queue(1, roles, 2));
    }
}

#[test]
fn larger_bounds_hold() {
    if long_runs() {
        for n in [1, 2] {
            holds(&format!("chunks n={n}, both, row reused"), &queue(n, BOTH_REUSE, 2));
            holds(&format!("chunks n={n}, two senders"), &queue(n, TWO_SENDERS, 2));
            holds(&format!("chunks n={n}, both, closing"), &queue(n, BOTH_CLOSING, 2));
            holds(&format!("chunks n={n}, both, three deaths"), &queue(n, BOTH, 3));
        }
        for roles in [IN_LINE_CLOSING, CHUNKED_CLOSING, IN_LINE_REUSE, CHUNKED_REUSE] {
            holds("chunks n=1, extras", &Chunks { extras: 1, ..queue(1, roles, 2) });
        }
        for roles in [IN_LINE_REUSE, CHUNKED_REUSE] {
            holds("chunks n=1, unsure, three deaths", &Chunks { unsure: true, ..queue(1, roles, 3) });
            holds("chunks n=1, stopped, three", &Chunks { stops: true, ..queue(1, roles, 3) });
        }
    }
}

#[test]
fn a_take_given_back_first_comes_twice() {
    breaks("take first", &planted(IN_LINE, 1, Planted::TakeFirst), "twice");
}

#[test]
fn a_copy_of_what_is_in_its_slot_comes_twice() {
    breaks("copy returned", &planted(IN_LINE, 1, Planted::CopyReturned), "twice");
}

#[test]
fn a_copy_that_could_not_be_reclaimed_comes_twice() {
    let model = Chunks { unsure: true, ..planted(IN_LINE, 1, Planted::CopyNotLookedFor) };
    breaks("copy not looked for", &model, "twice");
}

#[test]
fn a_slot_freed_before_its_chunk_takes_it_from_its_reader() {
    breaks("slot freed first", &planted(CHUNKED, 1, Planted::SlotFreedFirst), "in use");
}

#[test]
fn a_dead_senders_message_is_not_its_garbage() {
    breaks("linked freed", &planted(CHUNKED, 1, Planted::LinkedFreed), "from the living");
}

#[test]
fn published_before_linked_is_lost() {
    breaks("published unlinked", &planted(CHUNKED, 0, Planted::PublishedUnlinked), "stuck");
}

#[test]
fn without_a_sequence_a_late_reclaim_robs_the_living() {
    let model = Chunks { extras: 1, ..planted(IN_LINE_REUSE, 2, Planted::OneSequence) };
    breaks("one sequence", &model, "from the living");
}

#[test]
fn putting_back_in_the_same_sequence_robs_the_living() {
    let model = Chunks { extras: 1, ..planted(CHUNKED_REUSE, 1, Planted::PutBackInSequence) };
    breaks("put back in sequence", &model, "from the living");
}

#[test]
fn memory_that_goes_first_is_missed() {
    let model = Chunks { extras: 1, ..planted(CHUNKED, 1, Planted::MemoryFirst) };
    breaks("memory first", &model, "backed without memory");
}

#[test]
fn a_row_reused_unswept_keeps_what_the_dead_had() {
    breaks("row reused unswept", &planted(ONE_AND_NEWCOMER, 1, Planted::RowReusedUnswept), "stuck");
}

#[test]
fn an_empty_slot_is_no_message() {
    breaks("empty slot counted", &planted(CHUNKED_CLOSING, 1, Planted::EmptySlotCounted), "counted");
}

#[test]
fn what_another_buried_is_counted_too() {
    breaks("burial counted once", &planted(TWO_CLOSE, 2, Planted::BurialCountedOnce), "stuck");
}
