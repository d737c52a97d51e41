//! The table: every strategy × capacity × ownership that the suite runs on.

use tubepost::{File, Mailbox, Message, Options, Receiver, Sender, Strategy};

use crate::stage::{Cue, Place};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    Bounded(u64),
    /// A sender waits until a receiver takes the message.
    Zero,
    /// In segments of so many places; 0: as many as the library likes.
    Unbounded(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owned {
    ByProcess,
    BySystem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub strategy: Strategy,
    pub capacity: Capacity,
    pub owned: Owned,
}

const fn shared(owned: Owned, n: u64) -> Row {
    Row { strategy: Strategy::Shared, capacity: Capacity::Bounded(n), owned }
}

const fn kernel(n: u64) -> Row {
    Row { strategy: Strategy::Kernel, capacity: Capacity::Bounded(n), owned: Owned::ByProcess }
}

const fn sealed(n: u64) -> Row {
    Row { strategy: Strategy::Sealed, capacity: Capacity::Bounded(n), owned: Owned::ByProcess }
}

const fn rendezvous(owned: Owned) -> Row {
    Row { strategy: Strategy::Shared, capacity: Capacity::Zero, owned }
}

const fn unbounded(owned: Owned, places: u64) -> Row {
    Row { strategy: Strategy::Shared, capacity: Capacity::Unbounded(places), owned }
}

const fn filed(n: u64) -> Row {
    Row { strategy: Strategy::File, capacity: Capacity::Bounded(n), owned: Owned::BySystem }
}

/// 1 is the smallest; 2 and 64 are powers of two; 3 and 7 are not; 1024 is the default. Without a limit: segments of
/// four places end within every test, those of a thousand only where much is sent.
pub const ROWS: &[Row] = &[
    shared(Owned::ByProcess, 1),
    shared(Owned::ByProcess, 2),
    shared(Owned::ByProcess, 3),
    shared(Owned::ByProcess, 7),
    shared(Owned::ByProcess, 64),
    shared(Owned::ByProcess, 1024),
    shared(Owned::BySystem, 1),
    shared(Owned::BySystem, 2),
    shared(Owned::BySystem, 7),
    shared(Owned::BySystem, 64),
    shared(Owned::BySystem, 1024),
    rendezvous(Owned::ByProcess),
    rendezvous(Owned::BySystem),
    unbounded(Owned::ByProcess, 4),
    unbounded(Owned::ByProcess, 0),
    unbounded(Owned::BySystem, 4),
    unbounded(Owned::BySystem, 0),
    kernel(1),
    kernel(7),
    kernel(64),
    Row { strategy: Strategy::Kernel, capacity: Capacity::Zero, owned: Owned::ByProcess },
    sealed(1),
    sealed(7),
    sealed(64),
    filed(2),
    Row { strategy: Strategy::File, capacity: Capacity::Unbounded(0), owned: Owned::BySystem },
];

/// Runs a test on every row; a failure is preceded by the row's name.
pub fn on_every_row(test: impl Fn(&Row)) {
    for row in ROWS {
        let told = TellRow(row);
        test(row);
        std::mem::forget(told);
    }
}

/// Those where a message waits for its receiver. A test that runs on these says why it can't on the others.
pub fn on_every_row_with_room(test: impl Fn(&Row)) {
    on_every_row(|row| row.if_it_has_room(&test));
}

pub fn on_every_row_of_a_process_with_room(test: impl Fn(&Row)) {
    on_every_row_of_a_process(|row| row.if_it_has_room(&test));
}

pub fn on_every_row_of_the_system_with_room(test: impl Fn(&Row)) {
    on_every_row_of_the_system(|row| row.if_it_has_room(&test));
}

/// Those where messages are answered: not on the kernel strategy so far.
pub fn on_every_row_with_calls(test: impl Fn(&Row)) {
    on_every_row(|row| {
        if row.answers() {
            test(row);
        }
    });
}

/// Those where no message does.
pub fn on_every_row_without_room(test: impl Fn(&Row)) {
    on_every_row(|row| match row.capacity {
        Capacity::Bounded(_) | Capacity::Unbounded(_) => {}
        Capacity::Zero => test(row),
    });
}

/// Those where a process owns the mailbox, and it ends with that.
pub fn on_every_row_of_a_process(test: impl Fn(&Row)) {
    on_every_row(|row| match row.owned {
        Owned::ByProcess => test(row),
        Owned::BySystem => {}
    });
}

/// Those where the system owns the mailbox, and receivers compete.
pub fn on_every_row_of_the_system(test: impl Fn(&Row)) {
    on_every_row(|row| match row.owned {
        Owned::ByProcess => {}
        Owned::BySystem => test(row),
    });
}

struct TellRow<'a>(&'a Row);

impl Drop for TellRow<'_> {
    fn drop(&mut self) {
        eprintln!("on the row {}", self.0);
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.capacity {
            Capacity::Zero => write!(f, "{} × bounded(0) × {:?}", self.strategy, self.owned),
            Capacity::Bounded(n) => write!(f, "{} × bounded({n}) × {:?}", self.strategy, self.owned),
            Capacity::Unbounded(0) => write!(f, "{} × unbounded × {:?}", self.strategy, self.owned),
            Capacity::Unbounded(places) => {
                write!(f, "{} × unbounded in {places}s × {:?}", self.strategy, self.owned)
            }
        }
    }
}

impl Row {
    fn if_it_has_room(&self, test: impl Fn(&Row)) {
        match self.capacity {
            Capacity::Bounded(_) | Capacity::Unbounded(_) => test(self),
            Capacity::Zero => {}
        }
    }

    /// How many messages wait before a sender does; where none ever does, as many as a test sends at one time.
    pub fn n(&self) -> u64 {
        match self.capacity {
            Capacity::Zero => 0,
            Capacity::Bounded(n) => n,
            Capacity::Unbounded(0) => 100,
            Capacity::Unbounded(_) => 10,
        }
    }

    /// Whether there is a limit to how many wait. If there is none, what only makes sense with one is passed over, and
    /// that is told: which test, or what in it.
    pub fn is_limited(&self, what: &str) -> bool {
        let limited = matches!(self.capacity, Capacity::Bounded(_));
        if !limited {
            println!("passed over on {self}: {what}; it needs a limit, and room");
        }
        limited
    }

    /// Whether sender and receiver share memory. If they don't, what is about that memory is passed over, and that is told: which
    /// test, or what in it.
    pub fn shares_memory(&self, what: &str) -> bool {
        let shares = self.strategy == Strategy::Shared;
        if !shares {
            println!("passed over on {self}: {what}; it is about memory that both share");
        }
        shares
    }

    /// Whether a receiver that waits is bound to take what it is given, also if it stands still, and those who wait longest are
    /// served first. On the kernel strategy it says that it has a message, or it has none. If not, that is told: which test, or what in it.
    pub fn binds_who_waits(&self, what: &str) -> bool {
        let binds = self.strategy == Strategy::Shared;
        if !binds {
            println!("passed over on {self}: {what}; who waits there is not bound, and has no turn");
        }
        binds
    }

    /// Whether all senders have the same places, and are told the same number in the end. If not (each has places of its own), what is about
    /// that is passed over, and that is told: which test, or what in it.
    pub fn shares_places(&self, what: &str) -> bool {
        let shares = self.strategy != Strategy::Sealed;
        if !shares {
            println!("passed over on {self}: {what}; there each sender has places of its own");
        }
        shares
    }

    /// Whether calls are stepped through here: one row of each strategy that a process may own, for a step costs 20 µs.
    pub fn is_stepped(&self) -> bool {
        self.owned == Owned::ByProcess && matches!(self.capacity, Capacity::Bounded(7))
    }

    /// Whether messages are answered. If not, that is told.
    pub fn answers(&self) -> bool {
        let answers = self.strategy == Strategy::Shared;
        if !answers {
            println!("passed over on {self}: no message is answered there");
        }
        answers
    }

    /// What `capacity` and `stat` say.
    pub fn capacity(&self) -> Option<u64> {
        match self.capacity {
            Capacity::Zero => Some(0),
            Capacity::Bounded(n) => Some(n),
            Capacity::Unbounded(_) => None,
        }
    }

    pub fn options<T: Message + ?Sized>(&self, domain: &tubepost::Domain) -> Options<T> {
        let options = Mailbox::<T>::options().domain(domain);
        let options = match self.capacity {
            Capacity::Zero => options.bounded(0),
            Capacity::Bounded(n) => options.bounded(n),
            Capacity::Unbounded(0) => options.unbounded(),
            Capacity::Unbounded(places) => options.unbounded().segments_of(places),
        };
        match self.strategy {
            Strategy::Shared => options,
            Strategy::Kernel => options.strategy(Strategy::Kernel),
            // Room for as many of the longest as there are places.
            Strategy::Sealed => options.strategy(Strategy::Sealed).ceiling(16 << 20),
            Strategy::File => {
                options.strategy(File { dir: Some(Place::files_of(domain)), ..File::default() })
            }
            #[allow(unreachable_patterns)]
            other => panic!("the suite does not know how to ask for {other}"),
        }
    }

    pub fn own<T: Message + ?Sized>(&self, place: &Place, name: &str) -> Receiver<T> {
        self.receiver(self.options(place.domain()), place, name)
    }

    /// The same with other options.
    pub fn receiver<T: Message + ?Sized>(
        &self,
        options: Options<T>,
        place: &Place,
        name: &str,
    ) -> Receiver<T> {
        match self.owned {
            Owned::ByProcess => options.own(name).expect("a free name in a fresh domain"),
            Owned::BySystem => {
                options.create(name).expect("a free name in a fresh domain");
                receive(place, name)
            }
        }
    }

    /// The row as an argument of a role.
    pub fn arg(&self) -> String {
        let at = ROWS.iter().position(|row| row == self);
        at.expect("a row of the table").to_string()
    }

    pub fn of(cue: &Cue, at: usize) -> &'static Row {
        &ROWS[cue.number(at) as usize]
    }
}

/// Memory that nobody needs when nothing waits. Without a limit there is always a segment for what comes next.
pub fn needless(stat: &tubepost::Stat) -> u64 {
    if stat.capacity.is_some() { stat.chunk_bytes } else { stat.chunk_waste }
}

pub fn open<T: Message + ?Sized>(place: &Place, name: &str) -> Sender<T> {
    Sender::<T>::options().domain(place.domain()).open(name).expect("it exists")
}

/// One more receiver of a mailbox that the system owns.
pub fn receive<T: Message + ?Sized>(place: &Place, name: &str) -> Receiver<T> {
    Receiver::<T>::options().domain(place.domain()).open(name).expect("it exists")
}
