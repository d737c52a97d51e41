//! Where nothing waits: threads of the survivor that offer a message or wait for one, before the operation and after it.

use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tubepost::RecvTimeoutError;

use crate::asking::Told;
use crate::judge::{Judge, PATIENCE};
use crate::letters::{self, JUDGE, Number};
use crate::mail::NotSent;
use crate::world::Askers;

/// Those who are there before the operation wait for longer than that takes, walked.
pub const LONG: Duration = Duration::from_secs(100);
/// So long somebody waits for a thread at one time.
const SHORT: Duration = Duration::from_millis(5);

/// A thread that waits for somebody.
pub enum Party {
    Offers(Number, JoinHandle<Result<(), bool>>),
    Waits(JoinHandle<Result<(Vec<u8>, u32), RecvTimeoutError>>),
    Asks(Number, JoinHandle<Told>),
}

impl Judge {
    /// All that are to be there before the operation, asleep.
    pub fn gather(&mut self) {
        if self.world.asks == Some(Askers::Die) {
            self.mortals = (0..self.world.waiting).map(|_| self.ask_and_die()).collect();
            return;
        }
        for _ in 0..self.world.waiting {
            let party = self.offer();
            self.parties.push(party);
        }
        for _ in 0..self.world.ready {
            let party = self.wait_for_one();
            self.parties.push(party);
        }
    }

    /// Offers the next message. It counts as sent, unless the mailbox ends before it is taken. Or asks the next question.
    fn offer(&mut self) -> Party {
        match self.world.asks {
            Some(Askers::Gone) => return self.ask(Askers::Wait),
            Some(askers) => return self.ask(askers),
            None => {}
        }
        let number = (JUDGE, self.ledger.next());
        let letter = letters::write(number, self.world.length);
        let out = self.out.clone().expect("it is open");
        let end = self.asleep_in(move || {
            let sent = out.send_timeout(&letter, LONG);
            sent.map_err(|error| matches!(error, NotSent::Closed(_)))
        });
        self.ledger.sent(number);
        Party::Offers(number, end)
    }

    fn wait_for_one(&self) -> Party {
        let inbox = self.inbox.clone().expect("it is open");
        Party::Waits(self.asleep_in(move || inbox.receive(LONG)))
    }

    /// A thread that is in there, asleep.
    pub fn asleep_in<R: Send + 'static>(&self, act: impl FnOnce() -> R + Send + 'static) -> JoinHandle<R> {
        let (tell, hear) = channel();
        let end = std::thread::spawn(move || {
            let _ = tell.send(rustix::thread::gettid().as_raw_pid());
            act()
        });
        let thread = hear.recv().expect("it says so first");
        let patience = Instant::now() + PATIENCE;
        while !self.sleeps_on_the_mailbox(thread) && !end.is_finished() {
            assert!(Instant::now() < patience, "it does not fall asleep");
            std::thread::yield_now();
        }
        end
    }

    /// All who wait still meet somebody, if it is not `over`, and go home.
    pub fn disperse(&mut self, over: bool) {
        for party in std::mem::take(&mut self.parties) {
            self.send_home(party, over);
        }
    }

    fn send_home(&mut self, party: Party, over: bool) {
        let patience = Instant::now() + PATIENCE;
        let finished = || match &party {
            Party::Offers(_, end) => end.is_finished(),
            Party::Waits(end) => end.is_finished(),
            Party::Asks(_, end) => end.is_finished(),
        };
        while !finished() {
            assert!(Instant::now() < patience, "who waits meets nobody");
            match &party {
                _ if over => std::thread::yield_now(),
                Party::Offers(..) | Party::Asks(..) => drop(self.receive(SHORT)),
                Party::Waits(_) => drop(self.send(SHORT)),
            }
        }
        match party {
            Party::Offers(number, end) => match end.join().expect("nobody panics in there") {
                Ok(()) => {}
                Err(closed) => {
                    assert!(closed && over, "nobody took what was offered");
                    self.ledger.unsent(number);
                }
            },
            Party::Waits(end) => match end.join().expect("nobody panics in there") {
                Ok((message, redelivered)) => self.ledger.got(&message, redelivered),
                Err(RecvTimeoutError::Closed(_)) if over => {}
                Err(error) => panic!("nobody gave it anything: {error}"),
            },
            Party::Asks(question, end) => {
                self.was_told(question, end.join().expect("nobody panics in there"), over);
            }
        }
    }

    /// Both sides meet, twice, whoever comes first; and nobody else is there.
    pub fn meet_again(&mut self) {
        for lap in 0..2 {
            let offers = self.offer();
            assert!(self.receive(PATIENCE), "what is offered does not come, in lap {lap}");
            self.send_home(offers, false);
            let waits = self.wait_for_one();
            assert!(self.send(Duration::ZERO), "who waits is not seen, in lap {lap}");
            self.send_home(waits, false);
            // A dead one is given something until somebody looks.
            self.domain.gc().expect("our own domain");
            while self.receive(Duration::ZERO) {}
            assert!(!self.send(Duration::ZERO), "somebody waits who should not, in lap {lap}");
            assert!(!self.receive(Duration::ZERO), "something is offered that should not, in lap {lap}");
        }
    }
}
