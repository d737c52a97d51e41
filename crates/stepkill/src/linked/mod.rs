//! The survivor among processes that joined: it has a link with the one that is killed, or gets one, and finds out
//! whether all is as it should be afterwards.
//!
//! What that one had sent comes, whole, once, in order; then, and not before, the link is over; what was sent there
//! counts as never collected but for what it received; a monitor tells once how it ended; its name can be taken
//! again, by one who is not taken for it; and when all have left nothing is left. A stopped one is not a dead one,
//! whatever others do meanwhile.

pub mod mortal;
pub mod over;

use std::time::Duration;

use tubepost::{
    Domain, End, Error, Inbox, Link, LinkOptions, Monitor, Process, RecvTimeoutError, SendTimeoutError,
    TryRecvError,
};

use crate::judge::{self, PATIENCE, timely};
use crate::ledger::Outcome;
use crate::letters::{self, JUDGE, Number};
use crate::operations;
use crate::subject::Case;
use crate::world::{Before, Came, Effects, Linked, World};
use mortal::Mortal;

/// What is killed is called so …
pub const WALKER: &str = "walker";
/// … and who died before.
pub const OTHER: &str = "other";
/// Both ends of the link that two set up at one time.
const BOTH: [&str; 2] = ["alice~bob", "bob~alice"];

/// What waits in vain waits so long.
const SHORT: Duration = Duration::from_millis(5);

/// A survivor and what it knows.
struct Survivor {
    domain: Domain,
    world: World,
    linked: Linked,
    effects: Effects,
    way: u32,
    two: bool,
    me: Option<Process>,
    link: Option<Link<[u8]>>,
    inbox: Option<Inbox<[u8]>>,
    monitor: Option<Monitor>,
    /// Who dies before the operation, and has not yet.
    mortal: Option<Mortal>,
    /// So many the survivor sent, and what came of the walker's.
    sent: u32,
    got: Vec<Number>,
}

/// Plays the survivor's part.
pub fn play(domain: &str, case: Case, way: u32) {
    let Case { world, effects, .. } = case;
    let domain = Domain::open(domain).expect("the tracer's domain");
    let linked = world.linked.expect("it is about links");
    let (me, link, inbox, monitor, mortal, two) = (None, None, None, None, None, false);
    let (sent, got) = (0, Vec::new());
    let mut survivor =
        Survivor { domain, world, linked, effects, way, two, me, link, inbox, monitor, mortal, sent, got };
    judge::listen(|line| survivor.hear(line));
}

impl Survivor {
    fn hear(&mut self, line: &str) {
        match line {
            "prepare" => self.prepare(),
            "fill" => self.fill(),
            "during" => self.meanwhile(),
            two if two.starts_with("two ") => self.two = operations::together(&two[4..]).is_some(),
            other => match Outcome::parse(other) {
                Some(outcomes) => self.after(&outcomes),
                None => panic!("what is {other}?"),
            },
        }
    }

    fn me(&self) -> &Process {
        self.me.as_ref().expect("it joined")
    }

    /// Those who live, when the walker has not joined yet.
    fn prepare(&mut self) {
        let me = Process::options().domain(&self.domain).spin(Duration::ZERO);
        let me = me.join(self.linked.survivor()).expect("a fresh domain");
        match self.linked.before {
            Before::Namesake => {
                let mut dead = Mortal::start(&self.domain, WALKER, me.name());
                dead.send();
                self.link = Some(me.link(WALKER).expect("it lives"));
            }
            Before::Left => Mortal::start(&self.domain, OTHER, me.name()).send(),
            Before::Bereft => self.mortal = Some(Mortal::start(&self.domain, OTHER, WALKER)),
            _ => {}
        }
        self.me = Some(me);
    }

    /// The walker has joined.
    fn fill(&mut self) {
        self.monitor = Some(self.me().monitor(WALKER).expect("it lives"));
        self.mortal = None;
        if matches!(self.linked.before, Before::Met | Before::Linked | Before::Asked) {
            self.link = Some(self.options().open(self.me(), WALKER).expect("it lives"));
        }
        for _ in 0..self.world.waiting {
            assert!(self.send(Duration::ZERO), "there is a place for each that is to wait");
        }
        if self.linked.before == Before::Asked {
            let inbox = self.me().inbox().expect("bytes need no label");
            assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)), "nobody sent anything");
            self.inbox = Some(inbox);
        }
    }

    /// As the walker sets it up.
    fn options(&self) -> LinkOptions<[u8]> {
        Link::options().bounded(self.world.capacity).max_message(self.world.longest)
    }

    /// Whether it says that, where it may do without.
    fn says_what(&self) -> bool {
        self.way.is_multiple_of(2)
    }

    /// Sends the next message; `false`: it was not accepted.
    fn send(&mut self, patience: Duration) -> bool {
        let link = self.link.as_ref().expect("it has one");
        let letter = letters::write((JUDGE, self.sent), self.world.length);
        match timely(patience, || link.send_timeout(&letter, patience)) {
            Ok(()) => {
                self.sent += 1;
                true
            }
            Err(SendTimeoutError::Timeout(_) | SendTimeoutError::Closed(..)) => false,
            Err(error) => panic!("a send was refused: {error}"),
        }
    }

    fn receive(&mut self, message: &[u8]) {
        self.got.push(letters::read(message).unwrap_or_else(|why| panic!("{why}")));
    }

    /// The walker stands still, and nobody takes it for dead.
    fn meanwhile(&mut self) {
        let joins = matches!(self.linked.before, Before::Nobody | Before::Namesake | Before::Left);
        let dies = self.effects.ends;
        timely(SHORT, || {
            let swept = self.domain.gc().expect("our own domain");
            let of_dead = |name: &String| name.contains(OTHER) || joins;
            assert!(dies || swept.removed.iter().all(of_dead), "gc removed {:?}", swept.removed);
            // Who stands still may be putting something away.
            let busy = |(_, error): &(String, Error)| matches!(error, Error::Busy { .. });
            assert!(swept.left_alone.iter().all(busy), "gc left {:?}", swept.left_alone);
        });
        self.left_by_namesake();
        if joins || self.two {
            return;
        }
        if !dies {
            let again = timely(SHORT, || self.me_again().map(drop));
            assert!(matches!(again, Err(Error::Joined { .. })), "its name was taken: {again:?}");
            let told = self.monitor.as_mut().expect("it lives").wait_timeout(SHORT);
            assert!(matches!(told, Ok(None)), "it lives, and is said to have ended: {told:?}");
            if self.link.is_none() && self.linked.before != Before::Bereft {
                // Who comes second may leave out what the link is to be.
                let options = if self.says_what() { self.options() } else { Link::options() };
                self.link = Some(timely(SHORT, || options.open(self.me(), WALKER)).expect("it lives"));
            }
        }
        if self.link.is_some() {
            let sent = self.send(SHORT);
            assert!(sent || dies, "there is a place, and whoever receives lives");
        }
        if self.inbox.is_none()
            && let Some(link) = self.link.clone()
        {
            while let Ok(message) = link.try_recv() {
                self.receive(&message);
            }
        }
    }

    /// Somebody of the walker's name.
    fn me_again(&self) -> Result<Process, Error> {
        Process::options().domain(&self.domain).spin(Duration::ZERO).join(WALKER)
    }

    fn after(&mut self, outcomes: &[Outcome]) {
        if self.two {
            self.both_had_one_link(outcomes);
        } else {
            if self.way == 2 {
                self.domain.gc().expect("our own domain");
            }
            if self.linked.before == Before::Asked {
                self.noted();
            }
            self.link_is_over(&outcomes[0]);
            self.told_once(&outcomes[0]);
            self.left_behind();
            self.name_is_free();
        }
        (self.link, self.inbox, self.monitor) = (None, None, None);
        self.me().leave();
        self.me = None;
        let swept = self.domain.gc().expect("our own domain");
        assert!(swept.left_alone.is_empty(), "gc left {:?}", swept.left_alone);
        judge::nothing_is_left(&self.domain);
    }

    /// Each of two that set up their link at one time came to the same one.
    fn both_had_one_link(&self, outcomes: &[Outcome]) {
        let done = |it: &Outcome| *it == Outcome::WentOn(Came::Done);
        let listed = self.domain.list().expect("our own domain");
        for way in BOTH {
            let same: Vec<_> = listed.iter().filter(|it| it.name == way).collect();
            assert!(same.len() < 2, "{} segments for {way}", same.len());
            if outcomes.iter().all(done) {
                let depth = same.first().and_then(|it| it.stat.as_ref().ok()).map(|stat| stat.depth);
                assert!(depth == Some(1), "both sent one, and {way} has {depth:?}");
            }
        }
        for (outcome, other) in outcomes.iter().zip([&outcomes[1], &outcomes[0]]) {
            if let Outcome::WentOn(Came::Refused(why)) = outcome {
                assert!(*other == Outcome::Killed, "refused, though the other one lived: {why}");
            }
        }
    }

    /// An inbox hears of what came in a link that it had found empty.
    fn noted(&mut self) {
        let inbox = self.inbox.clone().expect("it asked");
        // Who was killed between a message and its note is missed until its death is heard of.
        while let Ok(envelope) =
            timely(Duration::from_secs(1), || inbox.recv_timeout(Duration::from_millis(50)))
        {
            assert_eq!(envelope.sender.name, WALKER);
            self.receive(&envelope.message);
        }
    }

    /// All that the walker sent comes, and then its link is over.
    fn link_is_over(&mut self, outcome: &Outcome) {
        if self.linked.before == Before::Namesake {
            return self.left_by_namesake();
        }
        if self.way == 1
            && let Some(link) = self.link.clone()
        {
            over::sends_in_vain(&link, self.sent, self.world.length, self.effects, outcome);
        }
        let link = match self.link.clone() {
            Some(link) => Some(link),
            None => match self.me().link(WALKER) {
                Ok(link) => Some(link),
                Err(Error::NoSuchName { .. } | Error::OwnerGone { .. }) => None,
                Err(error) => panic!("the link with a dead one: {error}"),
            },
        };
        if let Some(link) = &link {
            if self.way == 3 {
                let inbox =
                    self.inbox.take().unwrap_or_else(|| self.me().inbox().expect("bytes need no label"));
                while let Ok(envelope) = inbox.recv_timeout(SHORT) {
                    self.receive(&envelope.message);
                }
            }
            while let Some(message) = over::next(link) {
                self.receive(&message);
            }
            over::sends_in_vain(link, self.sent, self.world.length, self.effects, outcome);
        }
        if let Outcome::WentOn(Came::Refused(why)) = outcome
            && why.starts_with("WrongChoice")
        {
            // Only if the survivor was first, at what is made first, and said something else.
            let first = if self.linked.goes_first { "walker~yonder" } else { "before~walker" };
            assert!(!self.says_what() && why.contains(first), "who came first was refused: {why}");
        }
        over::all_came(&self.got, self.effects, outcome);
    }

    /// Who died and had the walker's name sent something, and is not the walker.
    fn left_by_namesake(&mut self) {
        if self.linked.before == Before::Namesake
            && let Some(link) = self.link.take()
        {
            self.was_sent_by_mortal(&link);
        }
    }

    fn was_sent_by_mortal(&self, link: &Link<[u8]>) {
        let mut got = Vec::new();
        while let Some(message) = over::next(link) {
            got.push(letters::read(&message).unwrap_or_else(|why| panic!("{why}")));
        }
        mortal::sent_all(&got);
    }

    /// A monitor tells how the walker ended, once.
    fn told_once(&mut self, outcome: &Outcome) {
        let leaves = self.effects.ends;
        let left = leaves && *outcome != Outcome::Killed;
        let Some(mut monitor) = self.monitor.take() else { return };
        let told = timely(PATIENCE, || monitor.wait_timeout(PATIENCE)).expect("no trouble");
        let right = match told {
            Some(End::Left) => leaves,
            Some(End::Died) => !left,
            _ => false,
        };
        assert!(right, "it {outcome}, and a monitor says {told:?}");
        let again = monitor.wait_timeout(SHORT);
        assert!(matches!(again, Ok(None)), "it was told before: {again:?}");
    }

    /// What a third one sent before it died is there, whoever sweeps.
    fn left_behind(&self) {
        if self.linked.before == Before::Left {
            let link = self.me().link::<[u8]>(OTHER).expect("it left something");
            self.was_sent_by_mortal(&link);
        }
    }

    /// Another one joins under the dead one's name, and its link is as good as new.
    fn name_is_free(&self) {
        let again = timely(SHORT, || self.me_again()).expect("the name can be taken again");
        let there = again.link::<[u8]>(self.linked.survivor()).expect("it lives");
        let back = self.me().link::<[u8]>(WALKER).expect("it lives");
        for (from, to) in [(&there, &back), (&back, &there)] {
            let none = to.recv_timeout(Duration::ZERO);
            assert!(matches!(none, Err(RecvTimeoutError::Timeout)), "a fresh link has something: {none:?}");
            for number in 0..3 {
                from.send(&letters::write((JUDGE, number), self.world.length)).expect("a place");
            }
            for number in 0..3 {
                let message = to.recv_timeout(PATIENCE).expect("it was sent");
                assert_eq!(letters::read(&message), Ok((JUDGE, number)));
            }
        }
        again.leave();
    }
}
