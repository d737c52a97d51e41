//! Deliveries that end otherwise than by accepting and giving back: rejected, moved to the dead letters, held for longer than
//! promised; and loans.

use std::time::Duration;

use tubepost::{Error, Mailbox, Receiver};

use super::{LARGE, NONE, SMALL};
use crate::dead_letters::DEAD;
use crate::world::{BOX, Came, Effects, Walker, World};

use super::receiving::{RECEIVES, TAKES};
use super::sending::ADDS;
use crate::world::Operation;

const TAKES_TWICE: Effects = Effects { takes: 2, ..NONE };
const PUTS_AWAY: Effects = Effects { removes: 1, takes: 2, ..NONE };
const WITHDRAWS: Effects = Effects { withdraws: true, ..ADDS };

pub const ALL: &[Operation] = &[
    Operation { name: "loan", world: LARGE, walk: loan, effects: ADDS },
    Operation { name: "loan-short", world: SMALL, walk: loan_short, effects: ADDS },
    Operation { name: "loan-to-full", world: World { waiting: 3, ..LARGE }, walk: loan, effects: ADDS },
    Operation { name: "loan-dropped", world: LARGE, walk: loan_dropped, effects: NONE },
    Operation { name: "loan-collect-in-vain", world: LARGE, walk: loan_collect, effects: WITHDRAWS },
    Operation { name: "reject", world: SMALL, walk: reject, effects: RECEIVES },
    Operation { name: "reject-chunked", world: LARGE, walk: reject, effects: RECEIVES },
    Operation { name: "discard-worn", world: ONE_LARGE, walk: discard_worn, effects: PUTS_AWAY },
    Operation { name: "dead-letter", world: SMALL, walk: dead_letter, effects: RECEIVES },
    Operation { name: "dead-letter-chunked", world: LARGE, walk: dead_letter, effects: RECEIVES },
    Operation { name: "dead-letter-worn", world: ONE_LARGE, walk: dead_letter_worn, effects: PUTS_AWAY },
    Operation { name: "accept-promised", world: ONE_LARGE, walk: accept_promised, effects: RECEIVES },
    Operation { name: "give-back-promised", world: ONE_LARGE, walk: give_back_promised, effects: TAKES },
    Operation { name: "take-fencing", world: ONE_LARGE, walk: take_fencing, effects: TAKES_TWICE },
    Operation { name: "take-fencing-copied", world: ONE, walk: take_fencing, effects: TAKES_TWICE },
    Operation { name: "accept-late", world: ONE_LARGE, walk: accept_late, effects: TAKES_TWICE },
    Operation { name: "take-other-s", world: ONE_LARGE, walk: take_other_s, effects: TAKES },
];

const ONE: World = World { waiting: 1, ..SMALL };
const ONE_LARGE: World = World { waiting: 1, ..LARGE };

const SHORTLY: Duration = Duration::from_millis(20);
/// The shortest promise.
const AT_ONCE: Duration = Duration::from_millis(1);

fn loan(walker: &Walker) {
    send_loan(walker, 900);
}

fn loan_short(walker: &Walker) {
    send_loan(walker, 24);
}

fn send_loan(walker: &Walker, length: usize) {
    let out = walker.sender().expect("it exists");
    let letter = walker.letter(length);
    walker.act(|| {
        let mut loan = out.loan(length)?;
        loan.copy_from_slice(&letter);
        Ok(loan.send_timeout(SHORTLY).map(|()| Came::Done)?)
    })
}

fn loan_dropped(walker: &Walker) {
    let out = walker.sender().expect("it exists");
    walker.act(|| {
        out.loan(900)?.fill(1);
        Ok(Came::Done)
    })
}

fn loan_collect(walker: &Walker) {
    let out = walker.sender().expect("it exists");
    let letter = walker.letter(900);
    walker.act(|| {
        let mut loan = out.loan(900)?;
        loan.copy_from_slice(&letter);
        Ok(loan.send_collected_timeout(SHORTLY).map(|()| Came::Done)?)
    })
}

fn reject(walker: &Walker) {
    let inbox = walker.receiver().expect("it exists");
    let delivery = inbox.take().expect("a message waits");
    walker.act(|| delivery.reject().map(|()| Came::Done))
}

/// The message came back once too often.
fn discard_worn(walker: &Walker) {
    let options = Receiver::<[u8]>::options().domain(&walker.domain).member("walker").spin(Duration::ZERO);
    let inbox = options.max_redeliveries(0).open(BOX).expect("it exists");
    drop(inbox.take().expect("a message waits"));
    walker.act(|| {
        drop(inbox.try_take()); // there may be others by then
        if inbox.stat()?.discarded == 1 { Ok(Came::Done) } else { Err(Error::WouldWait) }
    })
}

fn with_dead_letters(walker: &Walker) -> Receiver<[u8]> {
    let options = Mailbox::<[u8]>::options().domain(&walker.domain).max_message(10_000).member("walker");
    options.create(DEAD).expect("a free name");
    let options = Receiver::<[u8]>::options().domain(&walker.domain).member("walker").spin(Duration::ZERO);
    options.max_redeliveries(0).dead_letter(DEAD).open(BOX).expect("it exists")
}

fn dead_letter(walker: &Walker) {
    let inbox = with_dead_letters(walker);
    let delivery = inbox.take().expect("a message waits");
    walker.act(|| delivery.reject().map(|()| Came::Done))
}

fn dead_letter_worn(walker: &Walker) {
    let inbox = with_dead_letters(walker);
    drop(inbox.take().expect("a message waits"));
    walker.act(|| {
        drop(inbox.try_take());
        if inbox.stat()?.dead_letters == 1 { Ok(Came::Done) } else { Err(Error::WouldWait) }
    })
}

fn promising(walker: &Walker) -> Receiver<[u8]> {
    let options = Receiver::<[u8]>::options().domain(&walker.domain).member("walker").spin(Duration::ZERO);
    options.hold_max(AT_ONCE).open(BOX).expect("it exists")
}

fn accept_promised(walker: &Walker) {
    let delivery = promising(walker).take().expect("a message waits");
    walker.act(|| delivery.accept().map(|()| Came::Done))
}

fn give_back_promised(walker: &Walker) {
    let delivery = promising(walker).take().expect("a message waits");
    walker.act(|| {
        drop(delivery);
        Ok(Came::Done)
    })
}

/// One handle of this process is late with what another one waits for.
fn take_fencing(walker: &Walker) {
    std::mem::forget(promising(walker).take().expect("a message waits"));
    take_within(walker, Duration::from_secs(2));
}

/// The message that another one has.
fn take_other_s(walker: &Walker) {
    take_within(walker, Duration::from_millis(100));
}

fn take_within(walker: &Walker, patience: Duration) {
    let inbox = walker.receiver().expect("it exists");
    walker.act(|| {
        std::mem::forget(inbox.take_timeout(patience)?);
        Ok(Came::Done)
    })
}

/// It was delivered again already.
fn accept_late(walker: &Walker) {
    let late = promising(walker).take().expect("a message waits");
    let inbox = walker.receiver().expect("it exists");
    std::mem::forget(inbox.take().expect("it comes again"));
    walker.act(|| match late.accept() {
        Err(Error::HoldExpired { .. }) => Ok(Came::Done),
        other => panic!("late, and {other:?}"),
    })
}
