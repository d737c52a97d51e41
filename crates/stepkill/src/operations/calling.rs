//! Questions and answers: who asks, who answers, who does not; and who comes too late.

use std::time::Duration;

use tubepost::{CallError, Delivery, Error, Receiver};

use super::receiving::{OWNER_RECEIVES, RECEIVES};
use super::sending::ADDS;
use super::{LARGE, NONE, SMALL, existing};
use crate::letters;
use crate::mail::{Questions, answer, answered_by};
use crate::world::{Askers, BOX, Came, Operation, Owner, Walker, World};

/// Nobody waits for the answers to what waits …
const ASKED: World = World { asks: Some(Askers::Gone), ..SMALL };
const ASKED_LARGE: World = World { asks: Some(Askers::Gone), ..LARGE };
/// … or nothing does.
const NOT_ASKED: World = World { waiting: 0, ..ASKED_LARGE };
const AWAITED: World = World { asks: Some(Askers::Wait), waiting: 1, ..SMALL };
const AWAITED_LARGE: World = World { asks: Some(Askers::Wait), waiting: 1, ..LARGE };
const IN_VAIN: World = World { asks: Some(Askers::WaitInVain), ..AWAITED };
const GIVES_UP: World = World { asks: Some(Askers::GiveUp), ..AWAITED };
const GIVES_UP_LARGE: World = World { asks: Some(Askers::GiveUp), ..AWAITED_LARGE };
const DIES: World = World { asks: Some(Askers::Die), ..AWAITED };
const OWN: World = World { owner: Owner::Walker, ..AWAITED_LARGE };
/// The same where nothing waits …
const NOBODY: World = World { capacity: 0, waiting: 0, ..ASKED };
const READY: World = World { ready: 1, ..NOBODY };
const OFFERED: World = World { capacity: 0, ..AWAITED };
const OFFERED_LARGE: World = World { capacity: 0, ..AWAITED_LARGE };
const OFFERED_IN_VAIN: World = World { capacity: 0, ..IN_VAIN };
const OFFERS_DIE: World = World { capacity: 0, ..DIES };
const OWN_OFFERED: World = World { owner: Owner::Walker, ..OFFERED_LARGE };
/// … and without a capacity, where two fill a segment.
const AT_BORDER: World = World { segments: 2, ..ASKED };
const NO_SEGMENT: World = World { waiting: 0, ..AT_BORDER };
const AWAITED_IN_SEGMENTS: World = World { segments: 1, ..AWAITED };
const IN_VAIN_IN_SEGMENTS: World = World { segments: 1, ..IN_VAIN };

pub const ALL: &[Operation] = &[
    Operation { name: "call", world: ASKED, walk: call, effects: ADDS },
    Operation { name: "call-recv", world: IN_VAIN, walk: recv, effects: RECEIVES },
    Operation { name: "call-accept", world: IN_VAIN, walk: accept, effects: RECEIVES },
    Operation { name: "call-reply", world: AWAITED, walk: reply, effects: RECEIVES },
    Operation { name: "call-reply-long", world: AWAITED_LARGE, walk: reply_long, effects: RECEIVES },
    Operation { name: "call-reply-promised", world: AWAITED, walk: reply_promised, effects: RECEIVES },
    Operation {
        name: "call-reply-long-promised",
        world: AWAITED_LARGE,
        walk: reply_long_promised,
        effects: RECEIVES,
    },
    Operation { name: "call-reply-late", world: GIVES_UP, walk: reply, effects: RECEIVES },
    Operation { name: "call-reply-long-late", world: GIVES_UP_LARGE, walk: reply_long, effects: RECEIVES },
    Operation { name: "call-reply-to-dead", world: DIES, walk: reply, effects: RECEIVES },
    Operation { name: "call-own-reply", world: OWN, walk: own_reply, effects: OWNER_RECEIVES },
    Operation { name: "meet-call", world: READY, walk: call, effects: ADDS },
    Operation { name: "meet-call-in-vain", world: NOBODY, walk: call, effects: ADDS },
    Operation { name: "meet-call-recv", world: OFFERED_IN_VAIN, walk: recv, effects: RECEIVES },
    Operation { name: "meet-call-reply", world: OFFERED, walk: reply, effects: RECEIVES },
    Operation { name: "meet-call-reply-long", world: OFFERED_LARGE, walk: reply_long, effects: RECEIVES },
    Operation { name: "meet-call-reply-to-dead", world: OFFERS_DIE, walk: reply, effects: RECEIVES },
    Operation { name: "meet-call-own-reply", world: OWN_OFFERED, walk: own_reply, effects: OWNER_RECEIVES },
    Operation { name: "call-append", world: AT_BORDER, walk: call, effects: ADDS },
    Operation { name: "call-append-first", world: NO_SEGMENT, walk: call, effects: ADDS },
    Operation { name: "call-recv-segments", world: IN_VAIN_IN_SEGMENTS, walk: recv, effects: RECEIVES },
    Operation { name: "call-reply-segments", world: AWAITED_IN_SEGMENTS, walk: reply, effects: RECEIVES },
];

/// Of two.
pub const ONLY_TWO: &[Operation] = &[
    Operation { name: "call-first", world: NOT_ASKED, walk: call, effects: ADDS },
    Operation { name: "call-patiently", world: NOT_ASKED, walk: call_patiently, effects: ADDS },
    Operation { name: "call-answer", world: ASKED, walk: take_and_reply, effects: RECEIVES },
    Operation { name: "call-answer-long", world: ASKED_LARGE, walk: take_and_reply_long, effects: RECEIVES },
    Operation {
        name: "call-answer-when-asked",
        world: ASKED_LARGE,
        walk: answer_when_asked,
        effects: RECEIVES,
    },
    Operation { name: "call-recv-when-asked", world: ASKED_LARGE, walk: recv_when_asked, effects: RECEIVES },
    Operation { name: "call-gc", world: AWAITED, walk: existing::gc, effects: NONE },
];

/// An answer that is in the cell, and one that is not.
const SHORT: usize = 24;
const LONG: usize = 100;

/// Nobody waits for it so long.
const LONGEST: Duration = Duration::from_secs(3600);
const SHORTLY: Duration = Duration::from_millis(20);
/// By then another one that is walked has asked.
const LOOKS: u32 = 30;

fn ask(walker: &Walker, patience: Duration) {
    let out = walker.asker();
    let letter = walker.letter(24);
    walker.act(|| {
        let told = match out.call_timeout(&letter, patience) {
            Ok(told) => told,
            Err(CallError::Timeout(_)) => return Ok(Came::Unanswered),
            // It was received.
            Err(CallError::Unanswered(_)) => return Ok(Came::Done),
            Err(error) => return Err(error.into()),
        };
        let by = letters::read(&letter).and_then(|question| answered_by(question, &told));
        Ok(by.map_or_else(Came::Refused, |_| Came::Done))
    })
}

fn call(walker: &Walker) {
    ask(walker, SHORTLY);
}

fn call_patiently(walker: &Walker) {
    ask(walker, walker.patience);
}

/// It is consumed, whether somebody waits or not.
fn answer_it(walker: &Walker, question: Delivery<Questions>, length: usize) -> Result<Came, Error> {
    let letter = question.to_vec();
    match question.reply(&answer(walker.tag, &letter, length)) {
        Ok(()) | Err(Error::NotAwaited { .. }) => Ok(Came::got(&letter)),
        Err(error) => Err(error),
    }
}

fn reply_to(walker: &Walker, inbox: &Receiver<Questions>, length: usize) {
    let question = inbox.take().expect("a question waits");
    walker.act(|| answer_it(walker, question, length))
}

fn reply(walker: &Walker) {
    reply_to(walker, &walker.answerer(), SHORT);
}

fn reply_long(walker: &Walker) {
    reply_to(walker, &walker.answerer(), LONG);
}

/// Who has promised not to hold it for long holds on to it first.
fn promising(walker: &Walker) -> Receiver<Questions> {
    let options = Receiver::options().domain(&walker.domain).member("walker").spin(Duration::ZERO);
    options.hold_max(LONGEST).open(BOX).expect("it exists")
}

fn reply_promised(walker: &Walker) {
    reply_to(walker, &promising(walker), SHORT);
}

fn reply_long_promised(walker: &Walker) {
    reply_to(walker, &promising(walker), LONG);
}

fn own_reply(walker: &Walker) {
    reply_to(walker, &walker.own_of(), LONG);
}

fn take_and_reply_by(walker: &Walker, length: usize) {
    let inbox = walker.answerer();
    walker.act(|| answer_it(walker, inbox.take_timeout(SHORTLY)?, length))
}

fn take_and_reply(walker: &Walker) {
    take_and_reply_by(walker, SHORT);
}

fn take_and_reply_long(walker: &Walker) {
    take_and_reply_by(walker, LONG);
}

/// However long all of that takes, walked: by a clock it would give up sometimes.
fn answer_when_asked(walker: &Walker) {
    let inbox = walker.answerer();
    walker.act(|| {
        let question = (0..LOOKS).find_map(|_| inbox.try_take().ok());
        answer_it(walker, question.ok_or(Error::WouldWait)?, LONG)
    })
}

/// Likewise; its caller is told that there is no answer.
fn recv_when_asked(walker: &Walker) {
    let inbox = walker.answerer();
    walker.act(|| {
        let question = (0..LOOKS).find_map(|_| inbox.try_recv().ok());
        Ok(Came::got(&question.ok_or(Error::WouldWait)?))
    })
}

/// Its caller is told.
fn recv(walker: &Walker) {
    let inbox = walker.answerer();
    walker.act(|| Ok(Came::got(&inbox.recv_timeout(SHORTLY)?)))
}

fn accept(walker: &Walker) {
    let inbox = walker.answerer();
    let question = inbox.take().expect("a question waits");
    let letter = question.to_vec();
    walker.act(|| question.accept().map(|()| Came::got(&letter)))
}
