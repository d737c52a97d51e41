//! The subject: mailboxes of 1024 places, used as a program would that minds its speed.
//!
//! A round trip takes two, each owned by the process that receives from it. Both modes are `send` and
//! `recv_into`: spinning of handles that poll as long as it takes, blocking of handles that never poll
//! before they sleep. As for the limits, a message stays where it is and only its number changes, and is received
//! into memory that is there already.

use std::hint::black_box;
use std::time::Duration;

use tubepost::{Buffer, Domain, Mailbox, Message, Receiver, Sender};

use super::job::Mode;
use super::measure::{Drain, Echo, Exchange, Measured, Source};

const PING: &str = "bench/ping";
const PONG: &str = "bench/pong";
/// Longer than any round.
const FOR_EVER: Duration = Duration::from_secs(60);

/// A message that carries a number, and fills its length.
pub trait Numbered: for<'a> Message<Sent<'a> = Self, Received = Self> + Buffer<Self> + Copy {
    fn blank() -> Self;
    fn seq(&self) -> u64;
    fn set_seq(&mut self, seq: u64);
}

macro_rules! numbered {
    ($($name:ident: $rest:literal words),*) => {$(
        #[derive(Message, Clone, Copy)]
        #[repr(C)]
        pub struct $name {
            seq: u64,
            rest: [u64; $rest],
        }

        impl Numbered for $name {
            fn blank() -> Self {
                Self { seq: 0, rest: [0x5a; $rest] }
            }

            #[inline(always)]
            fn seq(&self) -> u64 {
                self.seq
            }

            #[inline(always)]
            fn set_seq(&mut self, seq: u64) {
                self.seq = seq;
            }
        }
    )*};
}

numbered!(Bytes8: 0 words, Bytes56: 6 words, Bytes64: 7 words, Bytes1024: 127 words);

/// The sending end of one mailbox.
pub struct Output<T: Message> {
    sender: Sender<T>,
    message: T,
}

/// The receiving end of one mailbox; messages are received into memory of its own.
pub struct Input<T: Message> {
    receiver: Receiver<T>,
    message: T,
}

impl<T: Numbered> Output<T> {
    /// The way there, or a stream.
    pub fn ping(domain: &Domain, mode: Mode) -> Measured<Self> {
        Self::open(domain, PING, mode)
    }

    /// The way back.
    pub fn pong(domain: &Domain, mode: Mode) -> Measured<Self> {
        Self::open(domain, PONG, mode)
    }

    fn open(domain: &Domain, name: &str, mode: Mode) -> Measured<Self> {
        let options = Sender::<T>::options().domain(domain);
        let sender = match mode {
            Mode::Spin => options.spin(FOR_EVER).open(name)?,
            Mode::Block => options.spin(Duration::ZERO).open(name)?,
        };
        Ok(Self { sender, message: T::blank() })
    }
}

impl<T: Numbered> Input<T> {
    /// The way there, or a stream.
    pub fn ping(domain: &Domain, mode: Mode) -> Measured<Self> {
        Self::own(domain, PING, mode)
    }

    /// The way back.
    pub fn pong(domain: &Domain, mode: Mode) -> Measured<Self> {
        Self::own(domain, PONG, mode)
    }

    fn own(domain: &Domain, name: &str, mode: Mode) -> Measured<Self> {
        let options = Mailbox::<T>::options().bounded(1024).domain(domain);
        let receiver = match mode {
            Mode::Spin => options.spin(FOR_EVER).own(name)?,
            Mode::Block => options.spin(Duration::ZERO).own(name)?,
        };
        Ok(Self { receiver, message: T::blank() })
    }
}

impl<T: Numbered> Source for Output<T> {
    #[inline(always)]
    fn put(&mut self, seq: u64) -> Measured<()> {
        let message = black_box(&mut self.message);
        message.set_seq(seq);
        Ok(self.sender.send(*message)?)
    }
}

impl<T: Numbered> Drain for Input<T> {
    #[inline(always)]
    fn get(&mut self) -> Measured<u64> {
        self.receiver.recv_into(&mut self.message)?;
        Ok(black_box(&self.message).seq())
    }
}

/// Either side of a round trip.
pub struct Ends<T: Message>(pub Output<T>, pub Input<T>);

impl<T: Numbered> Exchange for Ends<T> {
    #[inline(always)]
    fn exchange(&mut self, seq: u64) -> Measured<u64> {
        self.0.put(seq)?;
        self.1.get()
    }
}

impl<T: Numbered> Echo for Ends<T> {
    #[inline(always)]
    fn take(&mut self, _last: u64) -> Measured<u64> {
        self.1.get()
    }

    #[inline(always)]
    fn answer(&mut self, seq: u64) -> Measured<()> {
        self.0.put(seq)
    }
}
