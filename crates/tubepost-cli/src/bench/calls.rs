//! Questions and answers: a number, and the same number.

use std::hint::black_box;

use tubepost::{Call, Domain, Mailbox, Receiver, Sender};

use super::job::Mode;
use super::mailbox::spin;
use super::measure::{Exchange, Measured, STOP};

const NAME: &str = "bench/call";

type Numbers = Call<u64, u64>;

/// Asks.
pub struct Caller(Sender<Numbers>);

impl Caller {
    pub fn open(domain: &Domain, mode: Mode) -> Measured<Self> {
        Ok(Self(Sender::<Numbers>::options().domain(domain).spin(spin(mode)).open(NAME)?))
    }
}

impl Exchange for Caller {
    #[inline(always)]
    fn exchange(&mut self, seq: u64) -> Measured<u64> {
        Ok(self.0.call(black_box(seq))?)
    }
}

/// Answers.
pub struct Answerer(Receiver<Numbers>);

impl Answerer {
    pub fn own(domain: &Domain, mode: Mode) -> Measured<Self> {
        Ok(Self(Mailbox::<Numbers>::options().domain(domain).spin(spin(mode)).own(NAME)?))
    }

    /// Until told to stop.
    pub fn answer_all(&self) -> Measured<()> {
        loop {
            let question = self.0.take()?;
            let number = *question;
            question.reply(number)?;
            if number == STOP {
                return Ok(());
            }
        }
    }
}
