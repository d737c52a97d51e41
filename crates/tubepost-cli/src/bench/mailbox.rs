//! The subject: mailboxes of 1024 places (fewer for large messages), used as a program would that minds
//! its speed.
//!
//! A round trip takes two, each owned by the process that receives from it, or by the system. Both modes are `send` and
//! `recv_into`: spinning of handles that poll as long as it takes, blocking of handles that never poll
//! before they sleep. What fits a line or two is a fixed-length type, sent by value; 1 KiB and more is `[u8]`, sent
//! by reference. As for the limits, a message stays where it is and only its number changes, and is
//! received into memory that is there already.

use std::hint::black_box;
use std::time::Duration;

use tubepost::{Domain, Fsync, Mailbox, Message, Options, Receiver, Sender, Strategy};

use super::files::{self, Directory};
use super::job::{Mode, What, places};
use super::measure::{Drain, Echo, Exchange, Measured, Source};

pub const PING: &str = "bench/ping";
pub const PONG: &str = "bench/pong";
/// Longer than any round.
const FOR_EVER: Duration = Duration::from_secs(60);

/// A message that carries a number, and fills its length.
pub trait Numbered {
    const BYTES: u64;
    /// What the mailbox is told it carries.
    type Of: Message + ?Sized;
    /// Boxed: a message may be as large as a thread's stack bears once, not once for each thing that is measured.
    fn blank() -> Box<Self>;
    fn seq(&self) -> u64;
    fn set_seq(&mut self, seq: u64);
    fn send(&self, to: &Sender<Self::Of>) -> Measured<()>;
    fn send_collected(&self, to: &Sender<Self::Of>) -> Measured<()>;
    fn receive(&mut self, from: &Receiver<Self::Of>) -> Measured<()>;
    /// The mailbox that it fits.
    fn options() -> Options<Self::Of> {
        Mailbox::options()
    }
}

macro_rules! by_value {
    ($($name:ident: $rest:literal words),*) => {$(
        #[derive(Message, Clone, Copy)]
        #[repr(C)]
        pub struct $name {
            seq: u64,
            rest: [u64; $rest],
        }

        impl Numbered for $name {
            const BYTES: u64 = 8 * (1 + $rest);
            type Of = Self;

            fn blank() -> Box<Self> {
                Box::new(Self { seq: 0, rest: [0x5a; $rest] })
            }

            #[inline(always)]
            fn seq(&self) -> u64 {
                self.seq
            }

            #[inline(always)]
            fn set_seq(&mut self, seq: u64) {
                self.seq = seq;
            }

            #[inline(always)]
            fn send(&self, to: &Sender<Self>) -> Measured<()> {
                Ok(to.send(*self)?)
            }

            #[inline(always)]
            fn send_collected(&self, to: &Sender<Self>) -> Measured<()> {
                Ok(to.send_collected(*self)?)
            }

            #[inline(always)]
            fn receive(&mut self, from: &Receiver<Self>) -> Measured<()> {
                from.recv_into(self)?;
                Ok(())
            }
        }
    )*};
}

by_value!(Bytes8: 0 words, Bytes56: 6 words, Bytes64: 7 words);

macro_rules! by_reference {
    ($($name:ident: $length:literal),*) => {$(
        #[repr(align(64))]
        pub struct $name([u8; $length]);

        impl Numbered for $name {
            const BYTES: u64 = $length;
            type Of = [u8];

            #[inline(never)]
            fn blank() -> Box<Self> {
                Box::new(Self([0x5a; $length]))
            }

            #[inline(always)]
            fn seq(&self) -> u64 {
                u64::from_ne_bytes(*self.0.first_chunk().expect("eight bytes"))
            }

            #[inline(always)]
            fn set_seq(&mut self, seq: u64) {
                *self.0.first_chunk_mut().expect("eight bytes") = seq.to_ne_bytes();
            }

            #[inline(always)]
            fn send(&self, to: &Sender<[u8]>) -> Measured<()> {
                Ok(to.send(&self.0)?)
            }

            #[inline(always)]
            fn send_collected(&self, to: &Sender<[u8]>) -> Measured<()> {
                Ok(to.send_collected(&self.0)?)
            }

            #[inline(always)]
            fn receive(&mut self, from: &Receiver<[u8]>) -> Measured<()> {
                from.recv_into(&mut self.0)?;
                Ok(())
            }

            fn options() -> Options<[u8]> {
                Mailbox::options().max_message($length)
            }
        }
    )*};
}

by_reference!(Bytes1024: 1024, Bytes65536: 65536, Bytes1048576: 1048576);

/// The sending end of one mailbox.
pub struct Output<T: Numbered> {
    sender: Sender<T::Of>,
    message: Box<T>,
}

/// The receiving end of one mailbox; messages are received into memory of its own.
pub struct Input<T: Numbered> {
    receiver: Receiver<T::Of>,
    message: Box<T>,
    /// What the system owned is removed at the end, with the directory where it was kept.
    remove: Option<(Domain, &'static str, Option<Directory>)>,
}

impl<T: Numbered> Output<T> {
    pub fn of(sender: Sender<T::Of>) -> Self {
        Self { sender, message: T::blank() }
    }

    /// The way there, or a stream.
    pub fn ping(domain: &Domain, mode: Mode) -> Measured<Self> {
        Self::open(domain, PING, mode)
    }

    /// The way back.
    pub fn pong(domain: &Domain, mode: Mode) -> Measured<Self> {
        Self::open(domain, PONG, mode)
    }

    fn open(domain: &Domain, name: &str, mode: Mode) -> Measured<Self> {
        let sender = Sender::<T::Of>::options().domain(domain).spin(spin(mode)).open(name)?;
        Ok(Self { sender, message: T::blank() })
    }
}

impl<T: Numbered> Input<T> {
    pub fn of(receiver: Receiver<T::Of>) -> Self {
        Self { receiver, message: T::blank(), remove: None }
    }

    /// The way there, or a stream.
    pub fn ping(domain: &Domain, what: What, mode: Mode) -> Measured<Self> {
        Self::create(domain, PING, what, mode)
    }

    /// The way back.
    pub fn pong(domain: &Domain, what: What, mode: Mode) -> Measured<Self> {
        Self::create(domain, PONG, what, mode)
    }

    /// One more receiver of the way there, which the system owns.
    pub fn also(domain: &Domain, mode: Mode) -> Measured<Self> {
        let receiver = Receiver::<T::Of>::options().domain(domain).spin(spin(mode)).open(PING)?;
        Ok(Self { receiver, message: T::blank(), remove: None })
    }

    fn create(domain: &Domain, name: &'static str, what: What, mode: Mode) -> Measured<Self> {
        let options = match what {
            What::Unbounded => T::options().unbounded(),
            What::Rendezvous => T::options().bounded(0),
            What::SealedMailbox => T::options().strategy(Strategy::Sealed).bounded(places(T::BYTES)),
            What::KernelMailbox => T::options().strategy(Strategy::Kernel).bounded(places(T::BYTES)),
            _ => T::options().bounded(places(T::BYTES)),
        };
        let options = options.domain(domain);
        let directory = match what {
            What::SystemMailbox => {
                options.create(name)?;
                None
            }
            What::FileMailbox => {
                let directory = Directory::new()?;
                options.strategy(files::kept(&directory, Fsync::Never)).create(name)?;
                Some(directory)
            }
            _ => {
                let receiver = options.spin(spin(mode)).own(name)?;
                return Ok(Self { receiver, message: T::blank(), remove: None });
            }
        };
        let receiver = Receiver::<T::Of>::options().domain(domain).spin(spin(mode)).open(name)?;
        Ok(Self { receiver, message: T::blank(), remove: Some((domain.clone(), name, directory)) })
    }
}

impl<T: Numbered> std::ops::Drop for Input<T> {
    fn drop(&mut self) {
        if let Some((domain, name, _directory)) = self.remove.take() {
            let _ = domain.remove(name);
        }
    }
}

pub fn spin(mode: Mode) -> Duration {
    match mode {
        Mode::Spin => FOR_EVER,
        Mode::Block => Duration::ZERO,
    }
}

impl<T: Numbered> Source for Output<T> {
    #[inline(always)]
    fn put(&mut self, seq: u64) -> Measured<()> {
        let message = black_box(&mut *self.message);
        message.set_seq(seq);
        message.send(&self.sender)
    }
}

impl<T: Numbered> Drain for Input<T> {
    #[inline(always)]
    fn get(&mut self) -> Measured<u64> {
        self.message.receive(&self.receiver)?;
        Ok(black_box(&*self.message).seq())
    }
}

/// A sender that waits until each message is collected.
pub struct Collected<T: Numbered>(pub Output<T>);

impl<T: Numbered> Exchange for Collected<T> {
    #[inline(always)]
    fn exchange(&mut self, seq: u64) -> Measured<u64> {
        let message = black_box(&mut *self.0.message);
        message.set_seq(seq);
        message.send_collected(&self.0.sender)?;
        Ok(seq)
    }
}

/// A sender that waits for a receiver, where nothing waits.
pub struct Rendezvous<T: Numbered>(pub Output<T>);

impl<T: Numbered> Exchange for Rendezvous<T> {
    #[inline(always)]
    fn exchange(&mut self, seq: u64) -> Measured<u64> {
        self.0.put(seq)?;
        Ok(seq)
    }
}

/// Either side of a round trip.
pub struct Ends<T: Numbered>(pub Output<T>, pub Input<T>);

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
