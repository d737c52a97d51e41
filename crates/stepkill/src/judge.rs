//! The survivor: a process that used the mailbox before, and finds out whether it is as good as new after another
//! one was killed, or stands still, in the middle of an operation.
//!
//! It is told one line at a time what happened, and answers `fine`, or `wrong:` and what.

use std::io::{BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tubepost::{Domain, RecvTimeoutError};

use crate::asking::Mortal;
use crate::ledger::{Ledger, Outcome};
use crate::letters::{self, JUDGE};
use crate::mail::{Inbox, NotSent, Out};
use crate::meeting::Party;
use crate::operations::{self, Together};
use crate::sleepers::Asleep;
use crate::standstill::timed;
use crate::subject::Case;
use crate::trace::die_with_parent;
use crate::world::{Askers, BOX, Came, Effects, Owner, World};

/// In what order survivors do what they do.
pub const WAYS: u32 = 5;
/// Longer than anything takes that is not wrong.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// What waits in vain waits so long, …
pub const SHORT: Duration = Duration::from_millis(5);
/// … and this much longer at most.
const SLACK: Duration = Duration::from_secs(2);

/// The length of a message in line of which a copy is in a chunk of 256 bytes.
const COPIED: usize = 200;

/// A survivor and what it knows.
pub struct Judge {
    pub domain: Domain,
    pub world: World,
    pub effects: Effects,
    /// Which of the [`WAYS`].
    pub way: u32,
    /// Whether somebody else died before.
    pub pair: bool,
    /// What one may do who comes when all was settled.
    heir: Option<Effects>,
    /// Who operate at one time, if two do.
    pub two: Option<Together>,
    pub ledger: Ledger,
    /// How many messages had been accepted when that was settled.
    pub settled: u64,
    pub out: Option<Out>,
    pub inbox: Option<Inbox>,
    /// Threads that wait for one another, where nothing else does; or for answers.
    pub parties: Vec<Party>,
    /// So many of them had them from others.
    pub answered: u32,
    /// Processes that wait for answers until they die.
    pub mortals: Vec<Mortal>,
    /// A thread that waits for the operation.
    pub asleep: Option<Asleep>,
}

/// Plays the survivor's part.
pub fn play(domain: &str, case: Case, way: u32) {
    let domain = Domain::open(domain).expect("the tracer's domain");
    let Case { world, effects, pair, heir } = case;
    let ledger = ledger_for(world, Ledger::new(effects));
    let (settled, two, out, inbox, asleep) = (0, None, None, None, None);
    let (parties, answered, mortals) = (Vec::new(), 0, Vec::new());
    let mut judge = Judge {
        domain,
        world,
        effects,
        way,
        pair,
        heir,
        two,
        ledger,
        settled,
        out,
        inbox,
        parties,
        answered,
        mortals,
        asleep,
    };
    listen(|line| judge.hear(line));
}

/// Hears one line at a time until something is wrong.
pub fn listen(mut hear: impl FnMut(&str)) {
    die_with_parent();
    std::panic::set_hook(Box::new(|info| {
        let text = info.payload();
        let text = text.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| info.payload().downcast_ref::<&str>().copied()).unwrap_or("a panic");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        println!("wrong: {} ({place})", text.replace('\n', " "));
    }));
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let done = catch_unwind(AssertUnwindSafe(|| hear(&line)));
        if done.is_err() {
            break;
        }
        println!("fine");
        let _ = std::io::stdout().flush();
    }
}

impl Judge {
    fn hear(&mut self, line: &str) {
        match line {
            "prepare" => self.prepare(),
            two if two.starts_with("two ") => {
                let two = operations::together(&two[4..]).expect("two of the table");
                let ledger = Ledger::of_two([two.first.effects, two.second.effects]);
                self.ledger = ledger_for(self.world, ledger);
                self.two = Some(two);
            }
            "fill" => self.fill(),
            "settle" => self.settle(),
            "restart" => self.fall_asleep_in_files(),
            "woken" => self.was_woken(),
            "during" if self.effects.ends => self.meanwhile_it_ends(),
            "during" => self.meanwhile(),
            other => match (Outcome::parse(other), other.strip_prefix("wait: ")) {
                (Some(outcomes), _) => self.after(&outcomes),
                (_, Some(what)) => self.fall_asleep(what),
                _ => panic!("what is {other}?"),
            },
        }
    }

    fn prepare(&mut self) {
        if self.world.filed.is_some() {
            return self.prepare_files();
        }
        match self.world.owner {
            Owner::Nobody | Owner::Walker => return,
            Owner::Judge => self.inbox = Some(Inbox::own(&self.domain, &self.world).expect("a free name")),
            Owner::System => {
                Inbox::create(&self.domain, &self.world).expect("a free name");
                self.inbox = Some(self.join());
            }
        }
        if self.world.worn {
            self.wear();
        }
        self.fill();
    }

    /// Messages that come in line, and are copied into chunks as long as those of what will wait.
    fn wear(&mut self) {
        let (out, inbox) = (self.open(), self.inbox.as_ref().expect("it is open").plain());
        let letters = (0..self.world.waiting).map(|number| letters::write((JUDGE, number), COPIED));
        letters.for_each(|letter| out.try_send(&letter).expect("a place"));
        let copies: Vec<_> =
            (0..self.world.waiting).map(|_| inbox.take().expect("a message waits")).collect();
        copies.into_iter().for_each(|copy| copy.accept().expect("it is ours"));
        self.settled = u64::from(self.world.waiting);
    }

    fn fill(&mut self) {
        self.out = Some(self.open());
        self.send_what_waits();
    }

    pub fn send_what_waits(&mut self) {
        if self.world.capacity == 0 || self.world.has_parties() {
            self.gather();
            return self.ledger.begin();
        }
        for _ in 0..self.world.waiting {
            assert!(self.send(Duration::ZERO), "there is a place for each that is to wait");
        }
        self.ledger.begin();
    }

    /// Finds out what the first one left, and begins anew. No newcomers: the next one has the dead one's row.
    fn settle(&mut self) {
        self.ledger.outcome(&[Outcome::Killed]);
        self.drain(true);
        // Whatever the way: the next one is to meet the same.
        self.domain.gc().expect("our own domain");
        self.settled = self.accepted();
        self.effects = self.heir.expect("there is one to come");
        self.ledger = ledger_for(self.world, Ledger::new(self.effects));
        self.send_what_waits();
    }

    /// How many messages were accepted since the mailbox was made, as far as all were received.
    fn accepted(&self) -> u64 {
        self.settled + self.ledger.accepted() + u64::from(self.effects.passed)
    }

    /// A newcomer that sends.
    pub fn open(&self) -> Out {
        Out::open(&self.domain, &self.world).expect("it exists")
    }

    /// A newcomer that receives.
    pub fn join(&self) -> Inbox {
        Inbox::join(&self.domain, &self.world)
    }

    /// Sends the next message; `false`: no place is free.
    pub fn send(&mut self, patience: Duration) -> bool {
        let number = (JUDGE, self.ledger.next());
        let letter = letters::write(number, self.world.length);
        let out = self.out.as_ref().expect("it is open");
        let sent = if patience.is_zero() {
            out.try_send(&letter)
        } else {
            timely(patience, || out.send_timeout(&letter, patience))
        };
        match sent {
            Ok(()) => self.ledger.sent(number),
            Err(NotSent::Full) => return false,
            Err(NotSent::Closed(closed)) => panic!("a send was refused: {closed:?}"),
            Err(NotSent::Failed(why)) => panic!("a send was refused: {why}"),
        }
        true
    }

    /// Receives the next one if it comes in time.
    pub fn receive(&mut self, patience: Duration) -> bool {
        let inbox = self.inbox.as_ref().expect("it is open");
        match timely(patience, || inbox.receive(patience)) {
            Ok((message, redelivered)) => self.ledger.got(&message, redelivered),
            Err(RecvTimeoutError::Timeout) => return false,
            Err(error) => panic!("a receive was refused: {error}"),
        }
        true
    }

    /// Everybody's deadlines hold while another one stands still, and newcomers and sweepers come and go.
    fn meanwhile(&mut self) {
        if self.world.filed.is_some() {
            return self.meanwhile_in_files();
        }
        self.mortals.clear();
        match self.way % 3 {
            0 => while self.receive(SHORT) {},
            1 => self.send_until_full(SHORT),
            _ => {}
        }
        self.bustle();
        while self.receive(SHORT) {}
        self.send(SHORT);
        self.bustle();
    }

    /// Rows are used again, and nothing is taken from who stands still.
    pub fn bustle(&self) {
        for _ in 0..2 {
            timely(SHORT, || {
                drop((self.open(), self.open()));
                if self.world.owner == Owner::System {
                    drop(self.join());
                }
                let swept = self.domain.gc().expect("our own domain");
                assert!(swept.removed.is_empty(), "gc removed {:?}", swept.removed);
                let nobody = !self.pair && self.world.asks != Some(Askers::Die);
                assert!(!nobody || swept.rows == 0, "gc swept {} rows: nobody is dead", swept.rows);
                self.domain.stat(BOX).expect("it is there");
            });
        }
    }

    fn after(&mut self, outcomes: &[Outcome]) {
        self.mortals.clear();
        self.ledger.outcome(outcomes);
        if let Some(two) = self.two {
            self.together(&two, outcomes);
        }
        if self.world.filed.is_some() {
            self.after_in_files(outcomes);
        }
        if self.effects.ends {
            self.after_the_end();
        } else {
            self.goes_on(outcomes);
            self.was_answered(outcomes);
            self.as_good_as_new();
            self.nothing_leaked();
        }
        self.is_clean();
    }

    /// What either of two was told fits what the other one did.
    fn together(&self, two: &Together, outcomes: &[Outcome]) {
        let refusals = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::WentOn(Came::Refused(why)) => Some(why),
            _ => None,
        });
        let refusals: Vec<&String> = refusals.collect();
        for why in &refusals {
            assert!(two.refused.iter().any(|may| why.starts_with(may)), "refused: {why}");
        }
        // Who waits to be collected may do so in vain, whoever else is there.
        let in_vain = two.first.effects.withdraws || two.second.effects.withdraws;
        let in_vain = in_vain || self.world.capacity == 0;
        assert!(refusals.len() < 2 || in_vain, "both are refused: {refusals:?}");
        // Whoever makes what is in files, it is the same.
        if self.world.owner == Owner::Nobody && self.world.filed.is_none() {
            let have_it = outcomes.iter().filter(|it| **it == Outcome::WentOn(Came::Done)).count();
            assert!(have_it < 2, "both have the name");
            let there = self.file().exists();
            assert!(refusals.is_empty() || there, "refused, and nothing has the name: {refusals:?}");
        }
    }

    /// The mailbox is there. All that was accepted comes, however one goes about it.
    fn goes_on(&mut self, outcomes: &[Outcome]) {
        let stopped = matches!(outcomes, [Outcome::WentOn(_)]);
        match self.way {
            0 => {}
            1 => self.send_until_full(Duration::ZERO),
            2 => drop(self.domain.gc().expect("our own domain")),
            3 => {
                // Others take over.
                self.out = Some(self.open());
                if self.world.owner == Owner::System {
                    self.inbox = Some(self.join());
                }
                self.domain.list().expect("our own domain");
                self.send(Duration::ZERO);
            }
            _ => self.send_until_full(SHORT),
        }
        self.drain(!stopped && !self.pair);
    }

    /// All that is there comes, and that is what the ledger says.
    fn drain(&mut self, strictly: bool) {
        self.disperse(false);
        let strictly = strictly && self.world.capacity > 0;
        if let Some(mover) = crate::dead_letters::mover(&self.domain) {
            self.inbox = Some(mover);
        }
        let end = Instant::now() + PATIENCE;
        loop {
            while self.receive(if self.way == 4 { SHORT } else { Duration::ZERO }) {}
            let stat = self.domain.stat(BOX).expect("it is there");
            if stat.depth == 0 && stat.held == 0 {
                self.ledger.balance(strictly);
                // What one of two sent the other one may have received.
                // In files that are gone nobody knows what was never finished.
                let several = self.pair || self.two.is_some() || self.world.filed.is_some();
                let more = if several { u64::from(self.effects.adds) } else { 0 };
                let (received, accepted) = (stat.received, self.accepted());
                let fewer = if self.world.capacity == 0 { self.ledger.uncounted() } else { 0 };
                let right = (accepted.saturating_sub(fewer)..=accepted + more).contains(&received);
                assert!(right, "{received} are said to be received, and {accepted} were accepted");
                return;
            }
            assert!(Instant::now() < end, "never came: {} that wait, {} in hand", stat.depth, stat.held);
        }
    }

    /// Where it is never full, until some segments more were needed.
    pub fn send_until_full(&mut self, patience: Duration) {
        let most = if self.world.segments == 0 { u64::MAX } else { 2 * self.world.capacity };
        for _ in 0..most {
            if !self.send(patience) {
                return;
            }
        }
    }

    /// All places serve, twice.
    pub fn as_good_as_new(&mut self) {
        if self.world.capacity == 0 {
            self.meet_again();
        }
        let laps = if self.world.capacity == 0 { 0 } else { 2 };
        for lap in 0..laps {
            for place in 0..self.world.capacity {
                assert!(self.send(PATIENCE), "place {place} is lost, in lap {lap}");
            }
            let limited = self.world.segments == 0;
            assert!(
                !limited || !self.send(Duration::ZERO),
                "there are more places than there should be, in lap {lap}"
            );
            for place in 0..self.world.capacity {
                assert!(self.receive(PATIENCE), "message {place} of lap {lap} does not come");
            }
            assert!(!self.receive(Duration::ZERO), "there are more messages than were sent, in lap {lap}");
        }
        self.ledger.balance(false);
        // Not only when all who sent have left.
        self.domain.gc().expect("our own domain");
        let used = crate::layout::used(&self.file()).unwrap_or_else(|why| panic!("{why}"));
        let nothing = used.has_no_chunks() && used.has_no_cells(std::process::id().into());
        assert!(nothing, "nothing waits, and chunks are in use: {used:?}");
    }

    /// After `gc` nobody has anything but us.
    pub fn nothing_leaked(&mut self) {
        self.out = None;
        let owned = self.world.owner == Owner::Judge;
        if !owned {
            self.inbox = None;
        }
        let me = u64::from(std::process::id());
        let ours: &[(u64, u64)] = if owned { &[(1, me)] } else { &[] };
        let used = || crate::layout::used(&self.file()).unwrap_or_else(|why| panic!("{why}"));
        // A thread that was told of a death just now may have a handle for a moment yet, after it was dropped here.
        let end = Instant::now() + SLACK;
        while used().rows.iter().any(|row| row.1 == me && !ours.contains(row)) {
            assert!(Instant::now() < end, "our own row stays: {:?}", used());
            std::thread::yield_now();
        }
        self.domain.gc().expect("our own domain");
        let stat = self.domain.stat(BOX).expect("it is there");
        let used = used();
        // The segment where the next message goes is no waste.
        let segments = used.chunks.iter().filter(|it| it.is_last_segment()).count();
        assert!(segments <= 1, "segments are in use after gc: {used:?}");
        let chunk_bytes = if segments == 0 { stat.chunk_bytes } else { 0 };
        let waste = (stat.depth, stat.held, chunk_bytes, stat.chunk_waste);
        assert!(waste == (0, 0, 0, 0), "left: {waste:?} (waiting, held, bytes of chunks, wasted)");
        assert!(
            used.rows == ours && used.chunks.len() == segments && used.has_no_cells(me),
            "in use after gc: {used:?}"
        );
        if let Some(inbox) = self.inbox.take() {
            let closed = inbox.close().expect("ours");
            assert!(closed.uncollected == 0, "{closed:?}");
        } else {
            let closed = self.domain.remove(BOX).expect("nobody's");
            assert!(closed.uncollected == 0, "{closed:?}");
        }
    }

    pub fn file(&self) -> PathBuf {
        self.domain.path().join(BOX)
    }

    /// No names, descriptors or mappings are left.
    fn is_clean(&mut self) {
        (self.out, self.inbox) = (None, None);
        crate::filed::is_gone(&self.domain);
        crate::dead_letters::are_buried(&self.domain);
        nothing_is_left(&self.domain);
    }
}

/// No names are left in a domain, and this process has no descriptors or mappings of it.
pub fn nothing_is_left(domain: &Domain) {
    let files: Vec<_> = std::fs::read_dir(domain.path()).expect("our own").flatten().collect();
    assert!(files.is_empty(), "left in the domain: {files:?}");
    let domain = domain.path().to_str().expect("a plain name").to_owned();
    let end = Instant::now() + SLACK;
    loop {
        let descriptors = std::fs::read_dir("/proc/self/fd").expect("proc").flatten();
        let links = descriptors.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        let open = links.filter(|link| link.to_string_lossy().contains(&domain)).count();
        let maps = std::fs::read_to_string("/proc/self/maps").expect("proc");
        let mapped = maps.lines().filter(|line| line.contains(&domain)).count();
        if open == 0 && mapped == 0 {
            return;
        }
        assert!(Instant::now() < end, "left: {open} descriptors, {mapped} mappings");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// It knows whether anything waits.
fn ledger_for(world: World, ledger: Ledger) -> Ledger {
    if world.capacity == 0 { ledger.where_nothing_waits() } else { ledger }
}

/// A call with a deadline is over soon after it.
pub fn timely<R>(patience: Duration, call: impl FnOnce() -> R) -> R {
    let (done, too_long) = timed(patience, call);
    if let Some(took) = too_long {
        panic!("a call with {patience:?} to go took {took:?}");
    }
    done
}
