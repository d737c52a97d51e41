//! What an operation begins with, what it may do to it, and the process that does it.

use std::time::Duration;

use tubepost::{Domain, Error, Fsync, Message, Options, Receiver, Sender};

use crate::letters::{self, Number};
use crate::mail::{Questions, options};
use crate::trace::{be_traced, die_with_parent, mark};

/// The name of the one mailbox.
pub const BOX: &str = "box";

/// What tells a walker how long to wait for another one.
pub const PATIENCE: &str = "STEPKILL_PATIENCE";

/// Whose the mailbox is before the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// There is none.
    Nobody,
    /// The survivor's.
    Judge,
    /// The process's that is going to be killed.
    Walker,
    /// The system's: receivers compete.
    System,
}

/// What there is before the operation.
#[derive(Clone, Copy, Debug)]
pub struct World {
    pub owner: Owner,
    /// So many messages can wait; where that has no limit, as many as are sent to see that all is well.
    pub capacity: u64,
    /// Places in each segment, where it has no limit; else 0.
    pub segments: u64,
    /// The longest message; above 4096, those of more than 240 bytes go into chunks.
    pub longest: u64,
    /// So many messages wait (where none does: are offered) …
    pub waiting: u32,
    /// … of this length.
    pub length: usize,
    /// Where nothing waits: so many wait to receive.
    pub ready: u32,
    /// The most that chunks may have, if not as much as is usual.
    pub ceiling: Option<u64>,
    /// The first chunks were copies before, of messages that had been in line.
    pub worn: bool,
    /// Messages are questions, and these ask what waits.
    pub asks: Option<Askers>,
    /// There is no mailbox, but processes that join; the messages that wait are the survivor's to the walker.
    pub linked: Option<Linked>,
    /// Nor do they join, but have, or come to have, the ends of a pair.
    pub paired: Option<Paired>,
    /// There is a region, of `length` bytes.
    pub region: Option<Regional>,
    /// The messages are in files.
    pub filed: Option<Filed>,
}

/// How messages are kept in files, and what these are like before the operation.
#[derive(Clone, Copy, Debug)]
pub struct Filed {
    pub fsync: Fsync,
    pub before: Stored,
    /// So many messages an independent reader has read when the operation is done.
    pub read: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// As they are made.
    Fresh,
    /// All of the first one was received, and what waits is in the second one.
    Passed,
    /// Nobody has them open, as after a restart, and behind the last message there is what is none.
    Asleep,
}

/// What there is of a region before the operation, and what that does to it.
#[derive(Clone, Copy, Debug)]
pub struct Regional {
    /// The survivor holds it, and is late.
    pub held: bool,
    pub edit: Edit,
    /// There is one copy of the data.
    pub once: Option<Once>,
}

/// What there is where there is one copy.
#[derive(Clone, Copy, Debug)]
pub struct Once {
    /// It is poisoned before the operation …
    pub poisoned: bool,
    /// … and when that is done.
    pub stays: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    Nothing,
    /// It writes, and changes nothing.
    Touch,
    All,
    Parts,
}

/// What there is of a pair before the operation.
#[derive(Clone, Copy, Debug)]
pub struct Paired {
    /// Who made it.
    pub made: Made,
    /// The kernel copies the messages.
    pub kernel: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// There is none.
    Not,
    /// The survivor, and the walker was handed its end, and has not taken it.
    Handed,
    /// And took it.
    Taken,
    /// The walker, and the survivor took the other end.
    ByWalker,
}

/// What there is of processes and links before the operation.
#[derive(Clone, Copy, Debug)]
pub struct Linked {
    pub before: Before,
    /// By their names the walker comes before the survivor: its way there is set up first.
    pub goes_first: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// The survivor has joined.
    Nobody,
    /// So had one of the walker's name, who sent to the survivor, and died.
    Namesake,
    /// So has the walker.
    Joined,
    /// The survivor has set up the link.
    Met,
    /// Both have it.
    Linked,
    /// And the survivor's inbox found it empty.
    Asked,
    /// A third one is dead that had a link with the walker …
    Bereft,
    /// … or with the survivor, and sent it something.
    Left,
    /// Two walkers have joined.
    Two,
}

impl Linked {
    /// What the survivor is called.
    pub fn survivor(self) -> &'static str {
        if self.goes_first { "yonder" } else { "before" }
    }
}

/// Who ask what waits, where messages are questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Askers {
    /// They gave up.
    Gone,
    /// They wait for answers …
    Wait,
    /// … and may be told that there is none …
    WaitInVain,
    /// … or give up soon …
    GiveUp,
    /// … or die, before anybody else does anything.
    Die,
}

impl World {
    /// Whether threads of the survivor wait for somebody all the time.
    pub fn has_parties(&self) -> bool {
        let wait = self.asks.is_some_and(|askers| askers != Askers::Gone);
        (self.capacity == 0 || wait) && self.waiting + self.ready > 0
    }
}

/// What it may do to the messages that wait.
#[derive(Clone, Copy, Debug, Default)]
pub struct Effects {
    /// So many more come, at the end: its own, in their order.
    pub adds: u32,
    /// So many of the first are gone.
    pub removes: u32,
    /// So many of the first may come again, marked.
    pub takes: u32,
    /// The mailbox itself comes or goes.
    pub ends: bool,
    /// What it adds goes again.
    pub withdraws: bool,
    /// So many others the walker sent before it that were received before it.
    pub passed: u32,
}

/// What can be killed: a name, what there is before, what is done, and what that may change.
#[derive(Clone, Copy)]
pub struct Operation {
    pub name: &'static str,
    pub world: World,
    pub walk: fn(&Walker),
    pub effects: Effects,
}

impl Operation {
    /// It sends where no place is free, or nobody collects it; or receives where nothing waits.
    pub fn is_in_vain(&self) -> bool {
        let waiting = u64::from(self.world.waiting);
        let Effects { adds, removes, takes, withdraws, .. } = self.effects;
        if self.world.capacity == 0 {
            return adds > 0 && self.world.ready == 0 || removes + takes > 0 && waiting == 0;
        }
        let full = self.world.segments == 0 && waiting == self.world.capacity;
        adds > 0 && full || removes > 0 && waiting == 0 || withdraws
    }
}

/// What came of an operation that was not killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    Done,
    /// It waited for an answer in vain. Its question may be there.
    Unanswered,
    /// So many of several messages were accepted, and no more.
    Sent(u32),
    Got(Vec<Number>),
    Refused(String),
}

impl std::fmt::Display for Came {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Came::Done => write!(f, "done"),
            Came::Unanswered => write!(f, "unanswered"),
            Came::Sent(number) => write!(f, "sent {number}"),
            Came::Got(numbers) => {
                let words = numbers.iter().map(|(sender, number)| format!("{sender} {number}"));
                write!(f, "got {}", words.collect::<Vec<_>>().join(","))
            }
            Came::Refused(why) => write!(f, "refused {why}"),
        }
    }
}

impl Came {
    pub fn parse(line: &str) -> Option<Came> {
        let line = line.trim();
        if line == "done" {
            return Some(Came::Done);
        }
        if line == "unanswered" {
            return Some(Came::Unanswered);
        }
        if let Some(why) = line.strip_prefix("refused ") {
            return Some(Came::Refused(why.into()));
        }
        if let Some(number) = line.strip_prefix("sent ") {
            return number.parse().ok().map(Came::Sent);
        }
        let number = |word: &str| {
            let (sender, number) = word.split_once(' ')?;
            Some((sender.parse().ok()?, number.parse().ok()?))
        };
        line.strip_prefix("got ")?.split(',').map(number).collect::<Option<_>>().map(Came::Got)
    }

    /// A message that was received; a torn one is no message.
    pub fn got(bytes: &[u8]) -> Came {
        Came::got_many(&[bytes])
    }

    /// Several that were received at once, in this order.
    pub fn got_many(messages: &[impl AsRef<[u8]>]) -> Came {
        let read = messages.iter().map(|bytes| letters::read(bytes.as_ref()));
        read.collect::<Result<_, _>>().map_or_else(Came::Refused, Came::Got)
    }
}

/// The process that is killed.
pub struct Walker {
    pub domain: Domain,
    pub world: World,
    /// What its messages are told by.
    pub tag: u8,
    /// How long it waits for another one that is walked.
    pub patience: Duration,
}

impl Walker {
    /// Plays its part, and is killed in it or leaves.
    pub fn play(operation: &Operation, world: World, domain: &str, tag: u8) {
        die_with_parent();
        let domain = Domain::open(domain).expect("the tracer's domain");
        let patience = std::env::var(PATIENCE).ok().and_then(|it| it.parse().ok());
        let patience = Duration::from_millis(patience.expect("it is told how long"));
        let walker = Walker { domain, world, tag, patience };
        be_traced();
        (operation.walk)(&walker);
    }

    /// The mailbox is there: others may fill it now. Only where the walker owns it.
    pub fn ready(&self) {
        mark();
    }

    /// What is walked through. Does not come back: whatever it holds then, it dies with.
    pub fn act(&self, operate: impl FnOnce() -> Result<Came, Error>) -> ! {
        self.act_and(operate, |came| came)
    }

    /// The same, and does something more that is not walked through.
    pub fn act_and(
        &self,
        operate: impl FnOnce() -> Result<Came, Error>,
        more: impl FnOnce(Result<Came, Error>) -> Result<Came, Error>,
    ) -> ! {
        mark();
        let came = operate();
        mark();
        let came = more(came);
        println!("{}", came.unwrap_or_else(|error| Came::Refused(format!("{error:?}"))));
        std::process::exit(0)
    }

    pub fn options<M: Message + ?Sized>(&self) -> Options<M> {
        options(&self.domain, &self.world)
    }

    /// Handles of a walker don't poll: how often they look would depend on the clock.
    pub fn sender(&self) -> Result<Sender<[u8]>, Error> {
        Sender::options().domain(&self.domain).member("walker").spin(Duration::ZERO).open(BOX)
    }

    pub fn receiver(&self) -> Result<Receiver<[u8]>, Error> {
        Receiver::options().domain(&self.domain).member("walker").spin(Duration::ZERO).open(BOX)
    }

    /// The same two, where messages are questions.
    pub fn asker(&self) -> Sender<Questions> {
        let options = Sender::options().domain(&self.domain).member("walker").spin(Duration::ZERO);
        options.open(BOX).expect("it exists")
    }

    pub fn answerer(&self) -> Receiver<Questions> {
        let options = Receiver::options().domain(&self.domain).member("walker").spin(Duration::ZERO);
        options.open(BOX).expect("it exists")
    }

    /// Owns the mailbox, and lets it be filled.
    pub fn own(&self) -> Receiver<[u8]> {
        self.own_of()
    }

    /// The same of anything.
    pub fn own_of<M: Message + ?Sized>(&self) -> Receiver<M> {
        let inbox = self.options().own(BOX).expect("a free name");
        self.ready();
        inbox
    }

    /// Its one message, or the first one.
    pub fn letter(&self, length: usize) -> Vec<u8> {
        letters::write((self.tag, 0), length)
    }

    /// Several, of these lengths.
    pub fn letters(&self, lengths: &[usize]) -> Vec<Vec<u8>> {
        (0..).zip(lengths).map(|(number, length)| letters::write((self.tag, number), *length)).collect()
    }
}
