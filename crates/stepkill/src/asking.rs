//! Where messages are questions: threads of the survivor that ask before the operation, and wait for the answer.

use std::time::Duration;

use tubepost::CallError;

use crate::judge::Judge;
use crate::ledger::Outcome;
use crate::letters::{self, JUDGE, Number};
use crate::mail;
use crate::meeting::{LONG, Party};
use crate::world::{Askers, Came};

/// Who gives up does so while others stand still.
const SOON: Duration = Duration::from_millis(60);

/// What somebody who asked was told.
#[derive(Debug)]
pub enum Told {
    Answer(Vec<u8>),
    /// The question was consumed.
    Unanswered,
    TimedOut,
    Closed,
    Failed(String),
}

impl Judge {
    /// Asks the next question. It counts as sent.
    pub fn ask(&mut self, askers: Askers) -> Party {
        let number = (JUDGE, self.ledger.next());
        let letter = letters::write(number, self.world.length);
        let out = self.out.clone().expect("it is open");
        let patience = if askers == Askers::GiveUp { SOON } else { LONG };
        let end = self.asleep_in(move || match out.asks().call_timeout(&letter, patience) {
            Ok(answer) => Told::Answer(answer),
            Err(CallError::Unanswered(_)) => Told::Unanswered,
            Err(CallError::Timeout(_)) => Told::TimedOut,
            Err(CallError::Closed(..)) => Told::Closed,
            Err(CallError::Failed(_, error)) => Told::Failed(error.to_string()),
        });
        self.ledger.sent(number);
        Party::Asks(number, end)
    }

    /// What somebody was told who asked.
    pub fn was_told(&mut self, question: Number, told: Told, over: bool) {
        let askers = self.world.asks.expect("there are questions");
        match told {
            Told::Answer(answer) => match mail::answered_by(question, &answer) {
                Ok(JUDGE) => {}
                Ok(_) => self.answered += 1,
                Err(why) => panic!("{why}"),
            },
            Told::Unanswered if askers == Askers::WaitInVain => {}
            Told::TimedOut if askers == Askers::GiveUp => {}
            Told::Closed if over => {}
            other => panic!("who asked {question:?} was told: {other:?}"),
        }
    }

    /// Who answered, and lived to say so, was heard by who waited.
    pub fn was_answered(&self, outcomes: &[Outcome]) {
        let answers = self.world.asks == Some(Askers::Wait) && !self.pair;
        if answers && matches!(outcomes, [Outcome::Done | Outcome::WentOn(Came::Got(_))]) {
            let said = self.effects.removes;
            assert!(self.answered == said, "{} answers came, and {said} were given", self.answered);
        }
    }
}
