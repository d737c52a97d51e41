//! `futex`: ping-pong by wait and wake of one word; nobody ever spins.
//!
//! The word counts up, odd when it is the far side's turn and even when it is the near side's. Whoever
//! has had its turn counts, wakes the other and sleeps until the word says it is its turn again: one
//! wake and one wait per message and side, the least that an exchange between sleepers can do.

use std::sync::atomic::Ordering::{Acquire, Release};

use rustix::io::Errno;
use rustix::thread::futex::{self, Flags};

use super::Shared;
use crate::bench::measure::{Echo, Exchange, Measured};
use crate::exit::Failure;

const TURN: usize = 0;
/// What goes along, in the same line.
const MESSAGE: usize = 8;

/// Either side of the ping-pong.
pub struct Futex<'a> {
    memory: &'a Shared,
    /// What the word says when it is this side's turn, counted on by two each time.
    mine: u32,
}

impl<'a> Futex<'a> {
    /// The side that begins.
    pub fn near(memory: &'a Shared) -> Self {
        Self { memory, mine: 0 }
    }

    /// The side that answers.
    pub fn far(memory: &'a Shared) -> Self {
        Self { memory, mine: 1 }
    }

    fn pass_turn(&mut self) -> Measured<()> {
        let turn = self.memory.half_word(TURN);
        turn.store(self.mine.wrapping_add(1), Release);
        self.mine = self.mine.wrapping_add(2);
        futex::wake(turn, Flags::empty(), 1).map_err(|e| Failure::failed(format!("futex wake: {e}")))?;
        Ok(())
    }

    fn await_turn(&self) -> Measured<()> {
        let turn = self.memory.half_word(TURN);
        loop {
            let now = turn.load(Acquire);
            if now == self.mine {
                return Ok(());
            }
            match futex::wait(turn, Flags::empty(), now, None) {
                Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(e) => return Err(Failure::failed(format!("futex wait: {e}"))),
            }
        }
    }
}

impl Exchange for Futex<'_> {
    fn exchange(&mut self, seq: u64) -> Measured<u64> {
        self.memory.word(MESSAGE).store(seq, Release);
        self.pass_turn()?;
        self.await_turn()?;
        Ok(seq)
    }
}

impl Echo for Futex<'_> {
    fn take(&mut self, _last: u64) -> Measured<u64> {
        self.await_turn()?;
        Ok(self.memory.word(MESSAGE).load(Acquire))
    }

    fn answer(&mut self, _seq: u64) -> Measured<()> {
        self.pass_turn()
    }
}
