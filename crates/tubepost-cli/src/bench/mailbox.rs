//! The subject: mailboxes, used as any program would use them.
//!
//! A round trip takes two, each owned by the process that receives from it. Spinning means `try_` calls
//! in a loop; blocking means `send` and `recv` of mailboxes that never poll before they sleep.

use std::time::Duration;

use tubepost::{Domain, Mailbox, Message, Receiver, Sender, TryRecvError, TrySendError};

use super::job::Mode;
use super::measure::{Drain, Echo, Exchange, Measured, Source};
use crate::exit::Failure;

const PING: &str = "bench/ping";
const PONG: &str = "bench/pong";

/// A message that carries a number, and fills its length.
pub trait Numbered: for<'a> Message<Sent<'a> = Self, Received = Self> + Copy {
    fn numbered(seq: u64) -> Self;
    fn seq(&self) -> u64;
}

/// Eight bytes: the number alone.
#[derive(Message, Clone, Copy)]
#[repr(C)]
pub struct Bytes8 {
    seq: u64,
}

impl Numbered for Bytes8 {
    #[inline(always)]
    fn numbered(seq: u64) -> Self {
        Self { seq }
    }

    #[inline(always)]
    fn seq(&self) -> u64 {
        self.seq
    }
}

macro_rules! numbered {
    ($($name:ident: $words:literal),*) => {$(
        #[derive(Message, Clone, Copy)]
        #[repr(C)]
        pub struct $name {
            seq: u64,
            rest: [u64; $words - 1],
        }

        impl Numbered for $name {
            #[inline(always)]
            fn numbered(seq: u64) -> Self {
                Self { seq, rest: [seq; $words - 1] }
            }

            #[inline(always)]
            fn seq(&self) -> u64 {
                self.seq
            }
        }
    )*};
}

numbered!(Bytes56: 7, Bytes64: 8, Bytes1024: 128);

/// What one process holds of the two mailboxes of a round trip.
pub struct Ends<T: Message> {
    output: Sender<T>,
    input: Receiver<T>,
    mode: Mode,
}

/// The near side's own mailbox, to be made before the far side looks for it.
pub fn own_pong<T: Numbered>(domain: &Domain, mode: Mode) -> Measured<Receiver<T>> {
    own(domain, PONG, mode)
}

/// The receiving end of a stream, or of the way there.
pub fn own_ping<T: Numbered>(domain: &Domain, mode: Mode) -> Measured<Receiver<T>> {
    own(domain, PING, mode)
}

pub fn open_ping<T: Numbered>(domain: &Domain, mode: Mode) -> Measured<Sender<T>> {
    open(domain, PING, mode)
}

pub fn open_pong<T: Numbered>(domain: &Domain, mode: Mode) -> Measured<Sender<T>> {
    open(domain, PONG, mode)
}

fn own<T: Numbered>(domain: &Domain, name: &str, mode: Mode) -> Measured<Receiver<T>> {
    let options = Mailbox::<T>::options().bounded(1024).domain(domain);
    Ok(match mode {
        Mode::Spin => options.own(name)?,
        Mode::Block => options.spin(Duration::ZERO).own(name)?,
    })
}

fn open<T: Numbered>(domain: &Domain, name: &str, mode: Mode) -> Measured<Sender<T>> {
    let options = Sender::<T>::options().domain(domain);
    Ok(match mode {
        Mode::Spin => options.open(name)?,
        Mode::Block => options.spin(Duration::ZERO).open(name)?,
    })
}

impl<T: Numbered> Ends<T> {
    pub fn new(output: Sender<T>, input: Receiver<T>, mode: Mode) -> Self {
        Self { output, input, mode }
    }
}

#[inline(always)]
fn put<T: Numbered>(output: &Sender<T>, mode: Mode, seq: u64) -> Measured<()> {
    let mut message = T::numbered(seq);
    if mode == Mode::Block {
        return Ok(output.send(message)?);
    }
    loop {
        match output.try_send(message) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(returned)) => message = returned,
            Err(e) => return Err(e.into()),
        }
        std::hint::spin_loop();
    }
}

#[inline(always)]
fn get<T: Numbered>(input: &Receiver<T>, mode: Mode) -> Measured<u64> {
    if mode == Mode::Block {
        return Ok(input.recv()?.seq());
    }
    loop {
        match input.try_recv() {
            Ok(message) => return Ok(std::hint::black_box(&message).seq()),
            Err(TryRecvError::Empty) => std::hint::spin_loop(),
            Err(e) => return Err(Failure::from(e)),
        }
    }
}

impl<T: Numbered> Exchange for Ends<T> {
    #[inline(always)]
    fn exchange(&mut self, seq: u64) -> Measured<u64> {
        put(&self.output, self.mode, seq)?;
        get(&self.input, self.mode)
    }
}

impl<T: Numbered> Echo for Ends<T> {
    #[inline(always)]
    fn take(&mut self, _last: u64) -> Measured<u64> {
        get(&self.input, self.mode)
    }

    #[inline(always)]
    fn answer(&mut self, seq: u64) -> Measured<()> {
        put(&self.output, self.mode, seq)
    }
}

/// One end of a stream.
pub struct Stream<E>(pub E, pub Mode);

impl<T: Numbered> Source for Stream<Sender<T>> {
    #[inline(always)]
    fn put(&mut self, seq: u64) -> Measured<()> {
        put(&self.0, self.1, seq)
    }
}

impl<T: Numbered> Drain for Stream<Receiver<T>> {
    #[inline(always)]
    fn get(&mut self) -> Measured<u64> {
        get(&self.0, self.1)
    }
}
