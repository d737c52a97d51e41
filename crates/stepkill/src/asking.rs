//! Where messages are questions: threads of the survivor that ask before the operation, and wait for the answer; and
//! processes that do, and die.

use std::fs::{File, read_to_string};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tubepost::{CallError, Domain, Sender};

use crate::judge::{Judge, PATIENCE};
use crate::layout;
use crate::ledger::Outcome;
use crate::letters::{self, JUDGE, Number};
use crate::mail::{self, Questions};
use crate::meeting::{LONG, Party};
use crate::scene;
use crate::trace::die_with_parent;
use crate::world::{Askers, BOX, Came};

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

/// A process that waits for an answer, and stands still in that, until it is killed.
pub struct Mortal(Child);

impl Drop for Mortal {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Plays its part.
pub fn play(domain: &str, number: u32, length: usize) {
    die_with_parent();
    let domain = Domain::open(domain).expect("the tracer's domain");
    let options = Sender::<Questions>::options().domain(&domain).member("asker").spin(Duration::ZERO);
    let (out, letter) = (options.open(BOX).expect("it exists"), letters::write((JUDGE, number), length));
    let told = out.call_timeout(&letter, LONG);
    panic!("it was to die asking, and was told: {told:?}");
}

impl Judge {
    /// Has a process ask the next question. It counts as sent.
    pub fn ask_and_die(&mut self) -> Mortal {
        let file = File::open(self.file()).expect("it exists");
        let (before, number) = (layout::asked(&file), self.ledger.next());
        let domain = self.domain.path().to_str().expect("a plain name").to_owned();
        let mut command =
            scene::again(&["asker", &domain, &number.to_string(), &self.world.length.to_string()]);
        let child = command.stdin(Stdio::null()).spawn().expect("this program can be started again");
        let mortal = Mortal(child);
        let is = |wanted: char| {
            let stat = read_to_string(format!("/proc/{}/stat", mortal.0.id())).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(wanted))
        };
        let end = Instant::now() + PATIENCE;
        // It sleeps in nothing else, once it has asked.
        while layout::asked(&file) == before || !is('S') {
            assert!(Instant::now() < end, "it does not ask");
            std::thread::yield_now();
        }
        kill_process(Pid::from_child(&mortal.0), Signal::STOP).expect("our own child");
        while !is('T') {
            assert!(Instant::now() < end, "it does not stand still");
            std::thread::yield_now();
        }
        self.ledger.sent((JUDGE, number));
        mortal
    }

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
            Told::Failed(why) => panic!("who asked {question:?} was refused: {why}"),
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
