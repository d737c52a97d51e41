//! What the survivor looks at where the operation makes a mailbox or ends one: all are told the same, the name can
//! be had, and nothing is left.

use std::time::{Duration, Instant};

use tubepost::Error;

use crate::judge::{Judge, PATIENCE, timely};
use crate::mail::{Inbox, NotSent, Out};
use crate::world::{BOX, Owner};

impl Judge {
    /// Another one stands still in making or ending it. Whatever is called comes back in time.
    pub fn meanwhile_it_ends(&mut self) {
        for _ in 0..2 {
            timely(Duration::from_millis(200), || {
                drop(Out::open(&self.domain, &self.world));
                self.domain.list().expect("our own domain");
                self.domain.gc().expect("our own domain");
                drop(self.domain.stat(BOX));
            });
        }
        if let Some(out) = &self.out {
            let number = (crate::letters::JUDGE, self.ledger.next());
            let letter = crate::letters::write(number, self.world.length);
            let patience = Duration::from_millis(5);
            if timely(patience, || out.send_timeout(&letter, patience)).is_ok() {
                self.ledger.sent(number);
            }
        }
        if self.world.filed.is_some() && self.world.owner == Owner::Nobody {
            self.meanwhile_it_is_opened();
        } else if self.way.is_multiple_of(2) && self.world.owner != Owner::System {
            let owned = timely(Duration::from_millis(200), || Inbox::own(&self.domain, &self.world));
            match owned {
                Ok(inbox) => self.inbox = Some(inbox),
                Err(Error::Owned { .. } | Error::Exists { .. }) => {}
                Err(Error::Busy { .. } | Error::Denied { .. }) => {}
                Err(error) => panic!("the name can't be had: {error}"),
            }
        }
    }

    /// It is killed, or it was.
    pub fn after_the_end(&mut self) {
        if let Some(inbox) = self.inbox.take_if(|_| self.world.owner != Owner::System) {
            // We had the name while the walker stood still: it can't take it away any more.
            let out = self.open();
            std::thread::scope(|scope| {
                scope.spawn(|| out.send_timeout(b"still", PATIENCE).expect("ours"));
                assert_eq!(inbox.receive(PATIENCE).expect("ours").0, b"still");
            });
            assert_eq!(inbox.close().expect("ours").uncollected, 0);
        }
        match self.way {
            1 if self.world.filed.is_none() => drop(self.try_own()),
            2 => {
                let swept = self.domain.gc().expect("our own domain");
                assert!(
                    !crate::layout::is_over(&self.file()),
                    "it is over, and gc left it its name: {swept:?}"
                );
            }
            3 => {
                let newcomer = Out::open(&self.domain, &self.world);
                assert!(
                    newcomer.is_err() || !crate::layout::is_over(&self.file()),
                    "one came in to what is over"
                );
            }
            4 => drop(self.domain.list().expect("our own domain")),
            _ => {}
        }
        self.all_are_told();
        let inbox = self.try_own();
        self.world.owner = if self.world.filed.is_some() { Owner::System } else { Owner::Judge };
        self.inbox = Some(inbox);
        self.out = Some(self.open());
        self.ledger = crate::ledger::Ledger::new(crate::operations::NONE);
        self.as_good_as_new();
        self.nothing_leaked();
    }

    /// The same number, which is as many as waited, give or take what the operation itself may.
    fn all_are_told(&mut self) {
        let ours = self.out.as_ref().map(Out::id);
        let is_ours = crate::layout::id(&self.file()) == ours;
        let removed = match self.domain.remove(BOX) {
            Ok(closed) => is_ours.then_some(closed),
            Err(Error::NoSuchName { .. } | Error::OwnerGone { .. }) => None,
            Err(error) => panic!("can't be removed: {error}"),
        };
        let Some(out) = self.out.take() else { return };
        let told = timely(PATIENCE, || out.closed_timeout(PATIENCE)).expect("our own handle");
        let closed = told.expect("senders are told that it is over");
        self.disperse(true);
        assert!(
            removed.is_none_or(|removed| removed == closed),
            "{removed:?}, but senders are told {closed:?}"
        );
        match out.try_send(b"late") {
            Err(NotSent::Closed(again)) => assert_eq!(again, closed, "told twice"),
            other => panic!("a send to a closed mailbox: {other:?}"),
        }
        if let Some(inbox) = self.inbox.take() {
            match inbox.receive(PATIENCE) {
                Err(tubepost::RecvTimeoutError::Closed(again)) => assert_eq!(again, closed, "receivers"),
                other => panic!("a receive from a closed mailbox: {other:?}"),
            }
        }
        let (least, most) = self.ledger.uncollected();
        let told = closed.uncollected;
        assert!((least..=most).contains(&told), "told {told}, and it is {least} to {most}");
    }

    /// Takes the name, which at most a mailbox of the system's has.
    fn try_own(&self) -> Inbox {
        if self.world.filed.is_some() {
            Inbox::create(&self.domain, &self.world).expect("whatever is in the directory, it can be had");
            return self.join();
        }
        let end = Instant::now() + PATIENCE;
        loop {
            match timely(PATIENCE, || Inbox::own(&self.domain, &self.world)) {
                Ok(inbox) => return inbox,
                Err(Error::Exists { .. }) => drop(self.domain.remove(BOX)),
                Err(error) => panic!("the name can't be had: {error}"),
            }
            assert!(Instant::now() < end, "the name is never free");
        }
    }
}
