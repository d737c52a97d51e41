//! The mailboxes that are written to: of each kind one, and what travels in it.

use std::hint::black_box;

use tubepost::{Buffer, Domain, Error, Mailbox, Message, Options, Sender, Strategy};

use super::dice::Dice;
use crate::mail::Questions;

/// What the messages of a mailbox are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    Bytes,
    Text,
    Word,
    Reading,
    Page,
    /// Bytes that are answered by bytes.
    Questions,
}

/// A name that always means a mailbox of the same kind.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub name: &'static str,
    /// Owned by a process; else by the system.
    pub owned: bool,
    /// [`ENDLESS`]: as many as there is memory for.
    pub capacity: u64,
    /// Places in each segment, where it is endless.
    pub segments: u64,
    /// The longest message, where their lengths vary.
    pub longest: u64,
    /// The most memory that chunks may have.
    pub ceiling: u64,
    pub carries: Carries,
    /// Of the sealed strategy: what is written to is the entry, and areas, by who has them.
    pub sealed: bool,
}

/// No capacity; as the file says it.
pub const ENDLESS: u64 = u64::MAX;

const LINE: Kind = Kind {
    name: "line",
    owned: false,
    capacity: 16,
    segments: 0,
    longest: 200,
    ceiling: 1 << 20,
    carries: Carries::Bytes,
    sealed: false,
};

/// Segments come and go all the time.
const UNBOUNDED: Kind = Kind { name: "endless", capacity: ENDLESS, segments: 2, ..LINE };

/// All of them.
pub const ALL: &[Kind] = &[
    LINE,
    Kind { name: "chunks", capacity: 7, longest: 10_000, ..LINE },
    Kind { name: "one-place", capacity: 1, longest: 3000, ..LINE },
    Kind { name: "long", capacity: 3, longest: 1 << 20, ceiling: 4 << 20, ..LINE },
    Kind { name: "plain", capacity: 5, carries: Carries::Reading, ..LINE },
    Kind { name: "plain-chunks", capacity: 4, carries: Carries::Page, ..LINE },
    Kind { name: "wide", capacity: 65_536, longest: 40, ceiling: 8 << 20, ..LINE },
    Kind { name: "meeting", capacity: 0, longest: 3000, ..LINE },
    Kind { name: "owned-meeting", owned: true, capacity: 0, carries: Carries::Reading, ..LINE },
    Kind { name: "owned-chunks", owned: true, capacity: 7, longest: 10_000, ..LINE },
    Kind { name: "owned-word", owned: true, capacity: 1, carries: Carries::Word, ..LINE },
    Kind { name: "owned-text", owned: true, capacity: 6, longest: 100, carries: Carries::Text, ..LINE },
    Kind { name: "questions", capacity: 5, longest: 3000, carries: Carries::Questions, ..LINE },
    Kind {
        name: "owned-questions",
        owned: true,
        capacity: 6,
        longest: 9000,
        carries: Carries::Questions,
        ..LINE
    },
    Kind { name: "meeting-questions", capacity: 0, longest: 3000, carries: Carries::Questions, ..LINE },
    Kind {
        name: "owned-meeting-questions",
        owned: true,
        capacity: 0,
        longest: 200,
        carries: Carries::Questions,
        ..LINE
    },
    UNBOUNDED,
    Kind { name: "endless-chunks", segments: 1, longest: 10_000, ..UNBOUNDED },
    Kind { name: "endless-usual", segments: 1024, carries: Carries::Reading, ..UNBOUNDED },
    Kind { name: "endless-plain-chunks", segments: 4, carries: Carries::Page, ceiling: 4 << 20, ..UNBOUNDED },
    Kind { name: "owned-endless", owned: true, segments: 4, longest: 3000, ..UNBOUNDED },
    Kind { name: "owned-endless-word", owned: true, segments: 1, carries: Carries::Word, ..UNBOUNDED },
    Kind { name: "endless-questions", longest: 3000, carries: Carries::Questions, ..UNBOUNDED },
    Kind {
        name: "owned-endless-questions",
        owned: true,
        segments: 1,
        longest: 200,
        carries: Carries::Questions,
        ..UNBOUNDED
    },
    Kind { name: "owned-wide", owned: true, capacity: 1 << 18, carries: Carries::Word, ..LINE },
    Kind { name: "owned-sealed", owned: true, capacity: 8, longest: 1000, sealed: true, ..LINE },
    Kind { name: "owned-sealed-long", owned: true, capacity: 3, longest: 9000, sealed: true, ..LINE },
];

/// What processes that joined and their links are called in what is told: their names are others each time …
pub const LINKS: Kind = Kind { name: "links", capacity: 3, longest: 3000, ..LINE };
/// … but begin so.
pub const STRAYS: &str = "peer-";

impl Kind {
    pub fn options<M: Message + ?Sized>(&self, domain: &Domain) -> Options<M> {
        let options = Mailbox::<M>::options().domain(domain).member("victim");
        let options = match self.capacity {
            // So little that its end is met.
            ENDLESS => options.unbounded().segments_of(self.segments).ceiling(self.ceiling),
            capacity => options.bounded(capacity),
        };
        let options = if self.sealed { options.strategy(Strategy::Sealed) } else { options };
        match self.carries {
            Carries::Bytes | Carries::Questions => options.max_message(self.longest).ceiling(self.ceiling),
            // As if others could write to it: where only processes of one user can, text is looked at where it is.
            Carries::Text => options.max_message(self.longest).ceiling(self.ceiling).mode(0o660),
            _ => options,
        }
    }

    /// Creates it for the system.
    pub fn create(&self, domain: &Domain) -> Result<(), Error> {
        match self.carries {
            Carries::Bytes => self.options::<[u8]>(domain).create(self.name),
            Carries::Text => self.options::<str>(domain).create(self.name),
            Carries::Word => self.options::<u64>(domain).create(self.name),
            Carries::Reading => self.options::<Reading>(domain).create(self.name),
            Carries::Page => self.options::<Page>(domain).create(self.name),
            Carries::Questions => self.options::<Questions>(domain).create(self.name),
        }
        .map(|_| ())
    }
}

/// A plain type that is in line.
#[derive(Message, Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Reading {
    pub sensor: u32,
    pub celsius: f32,
    pub at: [u64; 6],
}

/// A plain type that goes into chunks.
pub type Page = [u64; 1024];

/// What can be sent and looked at without knowing more of it.
pub trait Goods: Message {
    /// A message before it is sent.
    type Kept;
    /// Where it may be received into.
    type Room: Buffer<Self>;
    fn pick(dice: &mut Dice, kind: &Kind) -> Self::Kept;
    fn lend(kept: &Self::Kept) -> Self::Sent<'_>;
    /// Writes it where it goes, and sends that, where there is such a thing.
    fn by_loan(_out: &Sender<Self>, _kept: &Self::Kept) -> Result<(), Error> {
        Ok(())
    }
    fn room() -> Self::Room;
    fn of(received: &Self::Received) -> &Self::Held;
    /// Looks at all of a message that was received; says what it can't be. `most` is what a mailbox said to be
    /// the longest.
    fn look(held: &Self::Held, most: u64) -> Result<(), String>;
}

fn length(dice: &mut Dice, longest: u64) -> usize {
    let few = [0, 1, 8, 40, 200, 239, 240, 241, 256, 300, 1000, 3000, 4096, 9000, longest, longest + 1];
    let length = few[dice.below(few.len() as u64) as usize];
    // A megabyte takes its time: not always.
    if length > 10_000 && dice.below(8) != 0 { 700 } else { length as usize }
}

fn look_at_bytes(bytes: &[u8], most: u64) -> Result<(), String> {
    black_box(bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)));
    if bytes.len() as u64 > most {
        return Err(format!("a message of {} bytes where at most {most} may be", bytes.len()));
    }
    Ok(())
}

impl Goods for [u8] {
    type Kept = Vec<u8>;
    type Room = [u8; 64];

    fn pick(dice: &mut Dice, kind: &Kind) -> Vec<u8> {
        vec![dice.roll() as u8; length(dice, kind.longest)]
    }
    fn lend(kept: &Vec<u8>) -> &[u8] {
        kept
    }
    fn by_loan(out: &Sender<[u8]>, kept: &Vec<u8>) -> Result<(), Error> {
        let mut loan = out.loan(kept.len())?;
        loan.copy_from_slice(kept);
        Ok(loan.try_send()?)
    }
    fn room() -> [u8; 64] {
        [0; 64]
    }
    fn of(received: &Vec<u8>) -> &[u8] {
        received
    }
    fn look(held: &[u8], most: u64) -> Result<(), String> {
        look_at_bytes(held, most)
    }
}

impl Goods for str {
    type Kept = String;
    type Room = String;

    fn pick(dice: &mut Dice, kind: &Kind) -> String {
        "ä".repeat(length(dice, kind.longest) / 2)
    }
    fn lend(kept: &String) -> &str {
        kept
    }
    fn room() -> String {
        String::new()
    }
    fn of(received: &String) -> &str {
        received
    }
    fn look(held: &str, most: u64) -> Result<(), String> {
        std::str::from_utf8(held.as_bytes()).map_err(|error| format!("a text that is none: {error}"))?;
        look_at_bytes(held.as_bytes(), most)
    }
}

macro_rules! plain_goods {
    ($plain:ty, $dice:ident => $pick:expr, $it:ident => $sum:expr) => {
        impl Goods for $plain {
            type Kept = $plain;
            type Room = $plain;

            fn pick($dice: &mut Dice, _: &Kind) -> $plain {
                $pick
            }
            fn lend(kept: &$plain) -> $plain {
                *kept
            }
            fn by_loan(out: &Sender<$plain>, kept: &$plain) -> Result<(), Error> {
                let mut loan = out.loan()?;
                *loan = *kept;
                Ok(loan.try_send()?)
            }
            fn room() -> $plain {
                Self::lend(&Self::pick(&mut Dice::new(0), &LINE))
            }
            fn of(received: &$plain) -> &$plain {
                received
            }
            fn look($it: &$plain, most: u64) -> Result<(), String> {
                black_box($sum);
                let size = size_of::<$plain>() as u64;
                if most == size { Ok(()) } else { Err(format!("{most} bytes of a type of {size}")) }
            }
        }
    };
}

plain_goods!(u64, dice => dice.roll(), it => *it);
plain_goods!(Reading, dice => Reading { at: [dice.roll(); 6], ..Reading::default() },
    it => it.at.iter().fold(it.celsius.to_bits() ^ it.sensor, |sum, at| sum ^ *at as u32));
plain_goods!(Page, dice => [dice.roll(); 1024], it => it.iter().fold(0, |sum, word| sum ^ word));
