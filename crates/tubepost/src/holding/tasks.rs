//! Tasks that wait: for a new version, for their turn, and in place for a copy.
//!
//! A task waits as a thread does ([`changes`](super::changes), [`writing`](super::writing), [`in_place`](super::in_place)); but from one look to the
//! next it is its future that keeps what it has: a number in the queue, or, in place, the region while others read still.
//! **Dropped**, it gives that up, and tells those who come after it.
//!
//! **What if it dies here?** As a thread that waits; its door is rung once in vain. One that is not polled is one that stands still: it is
//! passed.

use super::Hold;
use super::edits::Edits;
use super::in_place::Readers;
use super::writing::{Editing, Patience, Unheld};
use crate::error::Error;
use crate::strategy::shared::pending::Wait;
use crate::strategy::shared::tasks::{for_messages, for_room};
use crate::sync::wait::SLICE;
use crate::versions::words::Current;
use std::cell::Cell;
use std::task::{Context, Poll, ready};

/// A wait for a version after one that is known.
pub(crate) struct Change<'a> {
    hold: &'a Hold,
    since: u64,
    wait: Wait,
}

impl<'a> Change<'a> {
    pub(crate) fn after(hold: &'a Hold, since: u64) -> Change<'a> {
        Change { hold, since, wait: for_messages() }
    }

    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<u64, Error>> {
        let (hold, since) = (self.hold, self.since);
        let changed = || hold.changed(since);
        match changed() {
            Some(done) => {
                self.wait.leave();
                Poll::Ready(done)
            }
            None => self.wait.poll(&hold.at, context, changed, || hold.may_sleep().map_err(Err), Err),
        }
    }
}

/// A copy of what is kept once that a task waits for. Between two tries it has nothing.
pub(crate) struct Copying<'a> {
    hold: &'a Hold,
    wait: Wait,
}

impl<'a> Copying<'a> {
    pub(crate) fn of(hold: &'a Hold) -> Copying<'a> {
        Copying { hold, wait: for_room() }
    }

    /// Comes back with what `read` gives, when that has not to wait for anybody any more.
    pub(crate) fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        mut read: impl FnMut() -> Result<T, Error>,
    ) -> Poll<Result<T, Error>> {
        let mut attempt = || match read() {
            Err(Error::WouldWait) => None,
            done => Some(done),
        };
        match attempt() {
            Some(done) => {
                self.wait.leave();
                Poll::Ready(done)
            }
            None => {
                let hold = self.hold;
                self.wait.poll(&hold.at, context, attempt, || hold.before_a_sleep_to_read().map_err(Err), Err)
            }
        }
    }
}

/// A writer's turn that a task waits for.
pub(crate) struct Turn<'a> {
    hold: &'a Hold,
    wait: Wait,
    has: Has,
}

/// What it has meanwhile.
enum Has {
    Nothing,
    Seat(usize),
    Number(usize, Unheld),
    Region(Current, Readers),
}

impl<'a> Turn<'a> {
    pub(crate) fn at(hold: &'a Hold) -> Turn<'a> {
        Turn { hold, wait: for_room(), has: Has::Nothing }
    }

    /// Comes back as the one writer.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Edits<'a>, Error>> {
        let hold = self.hold;
        if !hold.at.segment.is_ours() {
            return Poll::Ready(Err(Error::Forked));
        }
        if matches!(self.has, Has::Nothing)
            && let Some(had) = hold.edits_quickly()
        {
            return Poll::Ready(Ok(hold.edits_what_it_had(had)));
        }
        let done = ready!(self.poll_editing(context));
        if done.is_err() {
            self.give_up();
        }
        Poll::Ready(done.map(|editing| hold.lend_to_edit(editing)))
    }

    fn poll_editing(&mut self, context: &mut Context<'_>) -> Poll<Result<Editing<'a>, Error>> {
        let hold = self.hold;
        loop {
            let mine = match &self.has {
                Has::Nothing => {
                    self.has = Has::Seat(hold.come(None)?);
                    continue;
                }
                Has::Seat(seat) => match hold.acquire(*seat, Patience::None) {
                    Err(Error::WouldWait) => {
                        hold.data.queue_up(*seat);
                        self.has = Has::Number(*seat, Cell::new(None));
                        continue;
                    }
                    acquired => acquired?,
                },
                Has::Number(seat, unheld) => {
                    let mine = ready!(poll_turn(hold, &mut self.wait, context, *seat, unheld))?;
                    hold.data.leave_queue(mine.seat());
                    mine
                }
                Has::Region(mine, readers) => {
                    let mine = *mine;
                    ready!(poll_readers(hold, &mut self.wait, context, mine, readers))?;
                    self.has = Has::Seat(mine.seat());
                    match hold.begin_in_place(mine, false)? {
                        None => continue, // fenced before
                        Some(editing) => {
                            self.has = Has::Nothing;
                            return Poll::Ready(Ok(editing));
                        }
                    }
                }
            };
            self.has = Has::Seat(mine.seat());
            if hold.in_place {
                self.has = Has::Region(mine, hold.who_is_to_finish(mine)?);
            } else if let Some(editing) = hold.begin(mine)? {
                self.has = Has::Nothing;
                return Poll::Ready(Ok(editing));
            }
        }
    }

    fn give_up(&mut self) {
        let hold = self.hold;
        let seat = match std::mem::replace(&mut self.has, Has::Nothing) {
            Has::Nothing => return,
            Has::Seat(seat) => seat,
            Has::Number(seat, _) => {
                hold.data.leave_queue(seat);
                hold.tell(false); // the next one may be at the head
                seat
            }
            Has::Region(mine, _) => {
                hold.let_go_of(mine);
                mine.seat()
            }
        };
        hold.put_seat(seat);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.hold.at.segment.is_ours() {
            self.give_up();
        }
    }
}

fn poll_turn(
    hold: &Hold,
    wait: &mut Wait,
    context: &mut Context<'_>,
    seat: usize,
    unheld: &Unheld,
) -> Poll<Result<Current, Error>> {
    let longest = Cell::new(SLICE);
    let attempt = || hold.try_in_turn(seat, unheld, &longest);
    match attempt() {
        Some(done) => {
            wait.leave();
            Poll::Ready(done)
        }
        None => {
            wait.poll(&hold.at, context, attempt, || hold.before_a_sleep(seat, &longest).map_err(Err), Err)
        }
    }
}

fn poll_readers(
    hold: &Hold,
    wait: &mut Wait,
    context: &mut Context<'_>,
    mine: Current,
    readers: &Readers,
) -> Poll<Result<(), Error>> {
    let longest = Cell::new(SLICE);
    let attempt = || hold.have_finished(mine, readers, &longest);
    match attempt() {
        Some(done) => {
            wait.leave();
            Poll::Ready(done)
        }
        None => {
            let look = || hold.before_a_sleep_for(readers, &longest).map_err(Err);
            wait.poll(&hold.at, context, attempt, look, Err)
        }
    }
}
