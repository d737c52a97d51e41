//! Batches: as many messages in each call as a batch has. And loans: messages that nobody copies.

use std::hint::black_box;

use tubepost::{Domain, Mailbox, Receiver, Sender};

use super::job::{BATCH, Mode, places};
use super::mailbox::spin;
use super::measure::{Drain, Echo, Exchange, Measured, STOP, Source};

const NAME: &str = "bench/batch";

/// Sends numbers.
pub struct BatchOutput {
    sender: Sender<u64>,
    batch: Vec<u64>,
}

impl BatchOutput {
    pub fn open(domain: &Domain) -> Measured<Self> {
        let sender = Sender::<u64>::options().domain(domain).spin(spin(Mode::Spin)).open(NAME)?;
        Ok(Self { sender, batch: Vec::with_capacity(BATCH) })
    }
}

impl Source for BatchOutput {
    #[inline(always)]
    fn put(&mut self, seq: u64) -> Measured<()> {
        self.batch.push(seq);
        if self.batch.len() == BATCH || seq == STOP {
            self.sender.send_many(&self.batch).map_err(tubepost::Error::from)?;
            self.batch.clear();
        }
        Ok(())
    }
}

/// Receives them.
pub struct BatchInput {
    receiver: Receiver<u64>,
    batch: Vec<u64>,
    next: usize,
}

impl BatchInput {
    pub fn own(domain: &Domain) -> Measured<Self> {
        let options = Mailbox::<u64>::options().domain(domain).bounded(places(8));
        let receiver = options.spin(spin(Mode::Spin)).own(NAME)?;
        Ok(Self { receiver, batch: Vec::with_capacity(BATCH), next: 0 })
    }
}

impl Drain for BatchInput {
    #[inline(always)]
    fn get(&mut self) -> Measured<u64> {
        if self.next == self.batch.len() {
            self.batch.clear();
            self.next = 0;
            self.receiver.recv_many(&mut self.batch, BATCH)?;
        }
        self.next += 1;
        Ok(self.batch[self.next - 1])
    }
}

/// Sends by loan; the number is in the first and in the last eight bytes.
pub struct LoanOutput {
    sender: Sender<[u8]>,
    length: usize,
}

/// Takes in place, and looks at both.
pub struct LoanInput {
    receiver: Receiver<[u8]>,
}

impl LoanOutput {
    pub fn open(domain: &Domain, name: &str, length: usize) -> Measured<Self> {
        let sender = Sender::<[u8]>::options().domain(domain).spin(spin(Mode::Spin)).open(name)?;
        Ok(Self { sender, length })
    }
}

impl LoanInput {
    pub fn own(domain: &Domain, name: &str, length: usize) -> Measured<Self> {
        let options = Mailbox::<[u8]>::options().domain(domain).bounded(places(length as u64));
        let receiver = options.max_message(length as u64).spin(spin(Mode::Spin)).own(name)?;
        Ok(Self { receiver })
    }
}

impl Source for LoanOutput {
    #[inline(always)]
    fn put(&mut self, seq: u64) -> Measured<()> {
        let mut loan = self.sender.loan(self.length)?;
        let message = black_box(&mut *loan);
        *message.first_chunk_mut().expect("eight bytes") = seq.to_ne_bytes();
        *message.last_chunk_mut().expect("eight bytes") = seq.to_ne_bytes();
        Ok(loan.send().map_err(tubepost::Error::from)?)
    }
}

impl Drain for LoanInput {
    #[inline(always)]
    fn get(&mut self) -> Measured<u64> {
        let delivery = self.receiver.take()?;
        let message = black_box(&*delivery);
        let first = u64::from_ne_bytes(*message.first_chunk().expect("eight bytes"));
        let last = u64::from_ne_bytes(*message.last_chunk().expect("eight bytes"));
        assert_eq!(first, last, "a message was torn");
        delivery.accept()?;
        Ok(first)
    }
}

/// Either side of a round trip.
pub struct LoanEnds(pub LoanOutput, pub LoanInput);

impl Exchange for LoanEnds {
    #[inline(always)]
    fn exchange(&mut self, seq: u64) -> Measured<u64> {
        self.0.put(seq)?;
        self.1.get()
    }
}

impl Echo for LoanEnds {
    #[inline(always)]
    fn take(&mut self, _last: u64) -> Measured<u64> {
        self.1.get()
    }

    #[inline(always)]
    fn answer(&mut self, seq: u64) -> Measured<()> {
        self.0.put(seq)
    }
}
