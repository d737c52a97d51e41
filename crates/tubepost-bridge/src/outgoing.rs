//! From a stand-in to the mailbox that it stands for: the importer's half of a stream of messages.
//!
//! A message that is on its way is in this bridge's hand and keeps its place in the stand-in. It is accepted when its owner has collected it. So `n` messages
//! wait at most, wherever they are; who sent one by `send_collected` waits as long; and with this process nothing is lost: what it had in
//! hand is the next one's, in the same order, at the same positions.
//!
//! ```text
//! no way there         wait for one; the stand-in fills up
//! Open ->              until `Opened` comes, again every second
//! Opened(placed to)    what is in hand before that was placed already; the rest goes out, in order, and what is taken from now on
//! Ack(placed, collected)   accept what was collected; take more, as far as the window allows
//! Again, silence       open another stream
//! Ended, Refused       the mailbox is over
//! ```
//!
//! **What if it dies here?** Between sending and accepting: the next bridge finds all of it in the stand-in, and the exporter tells it how far it had come.

use crate::address::Address;
use crate::carried::Count;
use crate::frame::Frame;
use crate::stream::{Between, Broken, Carrier, End, PATIENCE, Stream};
use crate::wire::{BUNDLE, Said};
use std::collections::VecDeque;
use tracing::{debug, info};
use tubepost::{Delivery, Opaque, Receiver, RecvError, Sender};

/// So many bytes may be on their way and not placed, if that is more than one message.
pub(crate) const BYTES: usize = 4 << 20;

/// The stand-in's end.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) between: Between,
    pub(crate) inbox: Receiver<Opaque>,
    /// By which one is told that it was removed, while nothing is received.
    pub(crate) other_end: Sender<Opaque>,
    /// What was taken, the oldest first, and not accepted so far.
    pub(crate) hand: VecDeque<Delivery<Opaque>>,
    /// The position behind the last one that was ever sent.
    pub(crate) reached: u64,
}

/// A stream while it is open.
struct Open {
    stream: Stream,
    /// Data that was sent.
    count: u64,
    /// How many of those in hand, from the front on, were sent; and how many were placed.
    sent: usize,
    placed: usize,
    /// Bytes of those that were sent and not placed.
    bytes: usize,
}

impl Carrier for Outgoing {
    async fn carry(&mut self, to: &Address) -> Broken {
        match self.stream(to).await {
            Ok(never) => match never {},
            Err(broken) => broken,
        }
    }

    async fn removed(&self) {
        let _ = self.other_end.closed_async().await; // that it can't be told is the same
    }

    fn count(&self) -> &Count {
        &self.between.count
    }
}

impl Outgoing {
    /// One stream, until it breaks.
    async fn stream(&mut self, to: &Address) -> Result<std::convert::Infallible, Broken> {
        let stream = self.between.open(to).await?;
        let placed = self.hand.iter().take_while(|delivery| delivery.seq() < stream.placed_to).count();
        let mut open = Open { stream, count: 0, sent: placed, placed, bytes: 0 };
        info!("{:?} goes to {}", self.inbox.name(), to.host);
        loop {
            let mut bundle = Vec::new();
            while open.has_room() && bundle.len() < BUNDLE {
                if self.hand.len() == open.sent {
                    match self.inbox.try_take() {
                        Ok(delivery) => self.hand.push_back(delivery),
                        Err(tubepost::TryRecvError::Closed(_)) => return Err(End::StandIn.into()),
                        Err(_) => break,
                    }
                }
                self.add_next(&mut open, &mut bundle);
            }
            if !bundle.is_empty() {
                open.stream.route.say_all(bundle).await?;
                while let Some(said) = open.stream.ear.hear_now() {
                    self.heard(&mut open, said)?;
                }
                continue;
            }
            let said = tokio::select! {
                said = open.stream.ear.hear() => said,
                taken = self.inbox.take_async(), if open.has_room() => {
                    match taken {
                        Ok(delivery) => self.hand.push_back(delivery),
                        Err(RecvError::Closed(_)) => return Err(End::StandIn.into()),
                        Err(RecvError::Failed(error)) => {
                            debug!(%error, "a message could not be taken");
                            tokio::time::sleep(PATIENCE).await;
                        }
                    }
                    continue;
                }
                _ = self.other_end.closed_async(), if !open.has_room() => return Err(End::StandIn.into()),
                () = tokio::time::sleep(PATIENCE), if open.sent > 0 => {
                    let count = Frame::Count { stream: open.stream.number, count: open.count };
                    open.stream.route.say(&count).await?;
                    continue;
                }
            };
            self.heard(&mut open, said.ok_or(Broken::Now)?)?;
        }
    }

    /// Adds the next one in hand to what is about to go out.
    fn add_next(&mut self, open: &mut Open, bundle: &mut Vec<u8>) {
        let Some(delivery) = self.hand.get(open.sent) else { return };
        let (stream, count, position) = (open.stream.number, open.count, delivery.seq());
        bundle.reserve(delivery.len() + 48);
        Frame::Data { stream, count, position, bytes: delivery }.add_to(bundle);
        // Counted before: whoever drops this here opens another stream.
        open.count += 1;
        open.sent += 1;
        open.bytes += delivery.len();
        if position < self.reached {
            self.between.count.sent_again();
        } else {
            self.between.count.sent_on();
            self.reached = position + 1;
        }
    }

    fn heard(&mut self, open: &mut Open, said: Said) -> Result<(), Broken> {
        match said {
            Said::Ack { placed_to, collected_to } => {
                let before = open.placed;
                while open.placed < open.sent && self.hand[open.placed].seq() < placed_to {
                    open.bytes = open.bytes.saturating_sub(self.hand[open.placed].len());
                    open.placed += 1;
                }
                self.between.count.placed((open.placed - before) as u64);
                // What was not placed was not collected, whatever is said.
                let mut collected = 0;
                while open.placed > 0 && self.hand.front().is_some_and(|first| first.seq() < collected_to) {
                    if let Some(delivery) = self.hand.pop_front()
                        && let Err(error) = delivery.accept()
                    {
                        debug!(%error, "a message that arrived was not in hand any more");
                    }
                    open.placed -= 1;
                    open.sent -= 1;
                    collected += 1;
                }
                self.between.count.collected(collected);
                Ok(())
            }
            Said::Ended { uncollected } => Err(End::Owner(uncollected).into()),
            Said::Refused(why) => Err(End::Refused(why).into()),
            Said::Again => Err(Broken::Now),
            _ => Ok(()), // of no meaning here
        }
    }
}

impl Open {
    fn has_room(&self) -> bool {
        let under_way = (self.sent - self.placed) as u64;
        under_way == 0 || under_way < self.stream.window && self.bytes < BYTES
    }
}
