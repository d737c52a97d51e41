//! Those who use mailboxes that are being wrecked: each one process, which does what its part is, in sessions, until
//! it is told to stop or killed.
//!
//! Every call has a short deadline, is timed, and its outcome counted. What must not be is told in a line that
//! begins with `violation`. What is being done just now stands in a file, for whoever finds the process dead.

mod asking;
mod linking;
mod regions;
mod spoiling;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};
use tubepost::{Delivery, Domain, Error, Receiver, Sender};

use super::boxes::{ALL, Carries, Goods, Kind, Page, Reading};
use super::dice::Dice;
use crate::standstill::timed;
use crate::trace::die_with_parent;

/// No session is longer than this, and a call.
const SESSION: Duration = Duration::from_millis(40);
/// A mailbox of the system's is replaced at this age.
const LIFETIME: Duration = Duration::from_millis(120);
/// A session ends when a mailbox was said to be closed so often.
const CLOSED: u32 = 5;
/// The most memory that a victim may have in its address space.
const MEMORY: u64 = 2 << 30;

/// The parts that there are, and how many processes play each.
pub const PARTS: [(&str, u64); 8] = [
    ("send", 3),
    ("receive", 3),
    ("own", 2),
    ("link", 3),
    ("spoil", 1),
    ("region", 4),
    ("keep", 1),
    ("look", 1),
];

/// How often which call had which outcome.
type Tally = BTreeMap<(&'static str, String), u64>;

struct Victim {
    domain: Domain,
    dice: Dice,
    /// What it is doing.
    note: File,
    tally: Tally,
    /// When each mailbox of the system's was made.
    made: BTreeMap<&'static str, Instant>,
    /// In this session, calls that said that it is closed.
    closed: u32,
}

/// Plays a part until standard input ends.
pub fn play(directory: &str, part: &str, own: u32, seed: u64) {
    die_with_parent();
    limit_memory();
    static OVER: AtomicBool = AtomicBool::new(false);
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        OVER.store(true, Relaxed);
    });
    let note = File::options().write(true).create(true).truncate(false).open(note_path(directory, own));
    let mut victim = Victim {
        domain: Domain::open(format!("{directory}/domain")).expect("the domain itself is fine"),
        dice: Dice::new(seed),
        note: note.expect("a file to write notes to"),
        tally: Tally::new(),
        made: BTreeMap::new(),
        closed: 0,
    };
    while !OVER.load(Relaxed) {
        let kind = &ALL[victim.dice.below(ALL.len() as u64) as usize];
        match part {
            "keep" => victim.keep(),
            "look" if victim.dice.below(4) == 0 => {
                let ground = victim.a_ground();
                victim.look(&ground.kind);
            }
            "look" => victim.look(kind),
            "link" => victim.link_some(),
            "spoil" => victim.spoil(),
            "region" => victim.use_a_region(),
            _ => match kind.carries {
                Carries::Bytes => victim.session::<[u8]>(part, kind),
                Carries::Text => victim.session::<str>(part, kind),
                Carries::Word => victim.session::<u64>(part, kind),
                Carries::Reading => victim.session::<Reading>(part, kind),
                Carries::Page => victim.session::<Page>(part, kind),
                Carries::Questions => victim.questions(part, kind),
            },
        }
        victim.report();
    }
    println!("end");
}

pub fn note_path(directory: &str, own: u32) -> String {
    format!("{directory}/note-{own}")
}

/// Whoever makes a length of rubbish, and memory of that, aborts. Where a sanitizer's own memory is beyond the
/// limit already, its limit has to do.
fn limit_memory() {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|all| all.split(' ').next().and_then(|it| it.parse::<u64>().ok()));
    if pages.is_some_and(|pages| pages * 4096 < MEMORY) {
        let limit = Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) };
        setrlimit(Resource::As, limit).expect("a lower limit than before");
    }
}

/// What came of a call, in a word.
fn outcome<T>(result: Result<T, impl Into<Error>>) -> (String, Option<T>) {
    let error = match result {
        Ok(it) => return ("Ok".into(), Some(it)),
        Err(error) => error.into(),
    };
    // Every error can be shown, also one about rubbish.
    assert!(!error.to_string().is_empty());
    let text = format!("{error:?}");
    (text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned(), None)
}

impl Victim {
    /// Calls, and looks at the clock, and counts what came of it.
    fn call<T>(
        &mut self,
        what: &'static str,
        kind: &Kind,
        deadline: Duration,
        act: impl FnOnce(&Domain) -> Result<T, Error>,
    ) -> Option<T> {
        let note = format!("{:<64}", format!("{what} {}", kind.name));
        self.note.write_all_at(note.as_bytes(), 0).expect("room for a note");
        let (result, too_long) = timed(deadline, || act(&self.domain));
        if let Some(took) = too_long {
            println!("violation {what} of {} took {took:?}, with a deadline of {deadline:?}", kind.name);
        }
        let (word, it) = outcome(result);
        self.closed += u32::from(word == "Closed");
        *self.tally.entry((what, word)).or_default() += 1;
        it
    }

    /// The same for what can't fail.
    fn ask<T>(&mut self, what: &'static str, kind: &Kind, act: impl FnOnce() -> T) -> Option<T> {
        self.call(what, kind, Duration::ZERO, |_| Ok(act()))
    }

    fn session_ends(&mut self) -> Instant {
        self.closed = 0;
        Instant::now() + SESSION
    }

    fn check(kind: &Kind, found: Result<(), String>) {
        if let Err(why) = found {
            println!("violation {}: {why}", kind.name);
        }
    }

    fn report(&mut self) {
        let tally = std::mem::take(&mut self.tally);
        let counts: Vec<String> =
            tally.iter().map(|((what, word), count)| format!("{what} {word} {count}")).collect();
        println!("did {}", counts.join(" "));
    }

    fn briefly(&mut self) -> Duration {
        Duration::from_micros([0, 50, 300, 1000, 3000][self.dice.below(5) as usize])
    }

    fn session<M: Goods + ?Sized>(&mut self, part: &str, kind: &Kind) {
        match part {
            "send" => self.send_some::<M>(kind),
            "receive" => {
                let domain = self.domain.clone();
                let options = Receiver::<M>::options().domain(&domain).member("receiver");
                let options = options.hold_max(Duration::from_millis(1)).max_redeliveries(2);
                let open = || options.open(kind.name);
                if let Some(inbox) = self.call("open-receiver", kind, Duration::ZERO, |_| open()) {
                    self.receive_some(kind, &inbox);
                    if self.dice.below(4) == 0 {
                        self.call("close-receiver", kind, Duration::ZERO, |_| inbox.close());
                    }
                    self.ask("drop-receiver", kind, || drop(inbox));
                }
            }
            _ => self.own_one::<M>(kind),
        }
    }

    fn send_some<M: Goods + ?Sized>(&mut self, kind: &Kind) {
        let end = self.session_ends();
        let domain = self.domain.clone();
        let open = || Sender::<M>::options().domain(&domain).member("sender").open(kind.name);
        let Some(mut out) = self.call("open-sender", kind, Duration::ZERO, |_| open()) else { return };
        while Instant::now() < end && self.closed < CLOSED {
            let goods = M::pick(&mut self.dice, kind);
            let patience = self.briefly();
            let deadline = Instant::now() + patience;
            let lent = M::lend(&goods);
            match self.dice.below(20) {
                16 => self.call("send_collected", kind, patience, |_| {
                    Ok(out.send_collected_timeout(lent, patience)?)
                }),
                17 => {
                    let several = [M::lend(&goods), M::lend(&goods), M::lend(&goods)];
                    self.call("send_many", kind, patience, |_| Ok(out.send_many_timeout(&several, patience)?))
                }
                18 => self.call("loan", kind, Duration::ZERO, |_| M::by_loan(&out, &goods)),
                19 => {
                    self.call("sender.doorbell", kind, Duration::ZERO, |_| out.doorbell()?.clear().map(drop))
                }
                0..=5 => self.call("try_send", kind, Duration::ZERO, |_| Ok(out.try_send(lent)?)),
                6..=9 => self.call("send_timeout", kind, patience, |_| Ok(out.send_timeout(lent, patience)?)),
                10 => self.call("send_deadline", kind, patience, |_| Ok(out.send_deadline(lent, deadline)?)),
                11 => self.ask("sender.len", kind, || {
                    let _ = (out.len(), out.is_empty(), out.is_full());
                }),
                12 => self.ask("sender.is_closed", kind, || {
                    let _ = out.is_closed();
                }),
                13 => self.call("sender.stat", kind, Duration::ZERO, |_| out.stat().map(drop)),
                14 => self.call("closed_timeout", kind, patience, |_| out.closed_timeout(patience).map(drop)),
                _ => self.ask("sender.clone", kind, || out = out.clone()),
            };
        }
        self.ask("drop-sender", kind, || drop(out));
    }

    fn receive_some<M: Goods + ?Sized>(&mut self, kind: &Kind, inbox: &Receiver<M>) {
        let end = self.session_ends();
        let mut hands: Vec<Delivery<M>> = Vec::new();
        let most = self.call("receiver.stat", kind, Duration::ZERO, |_| inbox.stat());
        let most = most.map_or(u64::MAX, |stat| stat.max_message);
        while Instant::now() < end && self.closed < CLOSED {
            let patience = self.briefly();
            let mut room = M::room();
            let came = match self.dice.below(20) {
                17 | 18 => {
                    let mut several = Vec::new();
                    self.call("recv_many", kind, patience, |_| {
                        Ok(inbox.recv_many_timeout(&mut several, 3, patience)?)
                    });
                    several.pop()
                }
                19 => {
                    self.call("receiver.doorbell", kind, Duration::ZERO, |_| inbox.doorbell()?.clear());
                    None
                }
                0..=3 => self.call("try_recv", kind, Duration::ZERO, |_| Ok(inbox.try_recv()?)),
                4..=6 => self.call("recv_timeout", kind, patience, |_| Ok(inbox.recv_timeout(patience)?)),
                7 => {
                    let came = self.call("recv_into", kind, patience, |_| {
                        Ok(inbox.recv_into_timeout(&mut room, patience)?)
                    });
                    if came.is_some_and(|length| length as u64 > most) {
                        println!("violation {}: {came:?} bytes, and at most {most} may be", kind.name);
                    }
                    None
                }
                8 => {
                    let envelope = self.call("recv_envelope", kind, patience, |_| {
                        Ok(inbox.recv_envelope_timeout(patience)?)
                    });
                    envelope.map(|it| {
                        // 64 bytes, each of which may be shown as a character of three.
                        if it.sender.name.len() > 3 * 64 {
                            println!("violation {}: a name of {} bytes", kind.name, it.sender.name.len());
                        }
                        it.message
                    })
                }
                9..=12 => {
                    let taken = if self.dice.below(2) == 0 {
                        self.call("try_take", kind, Duration::ZERO, |_| Ok(inbox.try_take()?))
                    } else {
                        self.call("take_timeout", kind, patience, |_| Ok(inbox.take_timeout(patience)?))
                    };
                    if let Some(delivery) = taken {
                        Self::check(kind, M::look(&delivery, most));
                        hands.push(delivery);
                    }
                    None
                }
                13 | 14 => {
                    match hands.pop() {
                        Some(delivery) if self.dice.below(4) == 0 => {
                            self.call("reject", kind, Duration::ZERO, |_| delivery.reject());
                        }
                        Some(delivery) => {
                            self.call("accept", kind, Duration::ZERO, |_| delivery.accept());
                        }
                        None => {}
                    }
                    None
                }
                15 => {
                    if !hands.is_empty() {
                        let at = self.dice.below(hands.len() as u64) as usize;
                        let delivery = hands.swap_remove(at);
                        self.ask("give-back", kind, || drop(delivery));
                    }
                    None
                }
                _ => {
                    self.ask("receiver.len", kind, || (inbox.len(), inbox.is_empty(), inbox.is_full()));
                    None
                }
            };
            if let Some(message) = came {
                Self::check(kind, M::look(M::of(&message), most));
            }
            if hands.len() > 4 {
                hands.truncate(2);
            }
        }
    }

    fn own_one<M: Goods + ?Sized>(&mut self, kind: &Kind) {
        if !kind.owned {
            return;
        }
        let domain = self.domain.clone();
        let options = kind.options::<M>(&domain).max_redeliveries(2);
        let options = if kind.sealed { options } else { options.hold_max(Duration::from_millis(1)) };
        let own = || options.own(kind.name);
        let Some(inbox) = self.call("own", kind, Duration::ZERO, |_| own()) else {
            // What can't be understood any more has to be removed by hand, as its error says.
            if self.dice.below(3) == 0 {
                self.remove_by_hand(kind);
            }
            return;
        };
        if self.dice.below(4) == 0 {
            self.two_threads(kind, &inbox);
        }
        self.receive_some(kind, &inbox);
        self.receive_some(kind, &inbox);
        if self.dice.below(2) == 0 {
            self.call("close", kind, Duration::ZERO, |_| inbox.close());
            self.receive_some(kind, &inbox);
        }
        self.ask("drop-owner", kind, || drop(inbox));
    }

    /// A second thread that receives, for which the first one has to make room.
    fn two_threads<M: Goods + ?Sized>(&mut self, kind: &Kind, inbox: &Receiver<M>) {
        static BOTH: AtomicU64 = AtomicU64::new(0);
        let patience = Duration::from_millis(2);
        let receive = || {
            for _ in 0..20 {
                BOTH.fetch_add(u64::from(inbox.recv_timeout(patience).is_ok()), Relaxed);
                BOTH.fetch_add(u64::from(inbox.try_take().is_ok_and(|it| it.accept().is_ok())), Relaxed);
            }
        };
        self.call("two-threads", kind, 40 * patience, |_| {
            std::thread::scope(|scope| {
                scope.spawn(receive);
                receive();
            });
            Ok(())
        });
    }

    /// Sees to it that the system's mailboxes and regions exist, and that none gets old.
    fn keep(&mut self) {
        for kind in ALL.iter().filter(|kind| !kind.owned) {
            self.keep_one(kind, |domain| kind.create(domain));
        }
        self.keep_regions();
        std::thread::sleep(Duration::from_millis(5)); // a part of a lifetime
    }

    fn keep_one(&mut self, kind: &'static Kind, create: impl Fn(&Domain) -> Result<(), Error>) {
        let old = self.made.get(kind.name).is_none_or(|made| made.elapsed() > LIFETIME);
        let there = self.call("stat-to-keep", kind, Duration::ZERO, |domain| domain.stat(kind.name));
        if !old && there.is_some() {
            return;
        }
        if self.call("remove", kind, Duration::ZERO, |domain| domain.remove(kind.name)).is_none() {
            self.remove_by_hand(kind);
        }
        if self.call("create", kind, Duration::ZERO, create).is_some() {
            self.made.insert(kind.name, Instant::now());
        }
    }

    /// Those who look at everything and clean up.
    fn look(&mut self, kind: &Kind) {
        match self.dice.below(8) {
            0..=2 => drop(self.call("stat", kind, Duration::ZERO, |domain| domain.stat(kind.name))),
            3 | 4 => {
                if let Some(swept) = self.call("gc", kind, Duration::ZERO, Domain::gc) {
                    drop(swept.left_alone.iter().map(|(_, error)| error.to_string()).collect::<Vec<_>>());
                }
            }
            5 => drop(self.call("list", kind, Duration::ZERO, Domain::list)),
            6 if kind.owned => {
                self.call("remove_owned", kind, Duration::ZERO, |it| it.remove_owned(kind.name));
            }
            _ => {
                std::thread::sleep(Duration::from_millis(2)); // others are to use what there is, too
            }
        }
    }

    fn remove_by_hand(&mut self, kind: &Kind) {
        let path = self.domain.path().join(kind.name);
        *self.tally.entry(("remove-by-hand", std::fs::remove_file(path).is_ok().to_string())).or_default() +=
            1;
    }
}
