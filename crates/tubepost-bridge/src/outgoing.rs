//! From a stand-in to the mailbox that it stands for: the importer's half of a stream.
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
use crate::frame::Frame;
use crate::kept;
use crate::wire::{Ear, Route, Said, Wire};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info};
use tubepost::{Delivery, Opaque, Receiver, RecvError, Sender};

/// An `Open` that is not answered is said again.
const PATIENCE: Duration = Duration::from_secs(1);
/// So many bytes may be on their way and not placed, if that is more than one message.
const BYTES: usize = 4 << 20;

/// Why a stream is over for good.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The mailbox went, with so many messages that nobody collected.
    Owner(u64),
    /// The exporter has no such mailbox, or does not give it to us.
    Refused(String),
    /// The stand-in was removed here.
    StandIn,
}

/// The stand-in's end.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) wire: Arc<Wire>,
    pub(crate) inbox: Receiver<Opaque>,
    /// By which one is told that it was removed, while nothing is received.
    pub(crate) other_end: Sender<Opaque>,
    pub(crate) mailbox: u128,
    pub(crate) stand_in: u128,
    /// What was taken, the oldest first, and not accepted so far.
    pub(crate) hand: VecDeque<Delivery<Opaque>>,
}

/// A stream while it is open.
struct Open {
    number: u64,
    route: Route,
    ear: Ear,
    window: u64,
    /// Data that was sent.
    count: u64,
    /// How many of those in hand, from the front on, were sent; and how many were placed.
    sent: usize,
    placed: usize,
    /// Bytes of those that were sent and not placed.
    bytes: usize,
}

/// Why a stream is over for now.
enum Broken {
    Now,
    Ended(End),
}

impl From<End> for Broken {
    fn from(end: End) -> Broken {
        Broken::Ended(end)
    }
}

impl Outgoing {
    /// Carries messages until the mailbox there, or the one here, is over.
    pub(crate) async fn run(mut self, mut way: watch::Receiver<Option<Address>>) -> End {
        let mut pause = Duration::ZERO;
        loop {
            let Some(to) = way.borrow_and_update().clone() else {
                tokio::select! {
                    changed = way.changed() => if changed.is_err() { return End::StandIn },
                    _ = self.other_end.closed_async() => return End::StandIn,
                }
                continue;
            };
            tokio::select! {
                ended = self.stream(&to) => match ended {
                    Broken::Ended(end) => return end,
                    Broken::Now => debug!("the stream to {} is opened again", to.host),
                },
                // When the way is gone, it may still be heard why.
                changed = way.wait_for(|way| way.as_ref().is_some_and(|way| *way != to)) => {
                    if changed.is_err() { return End::StandIn }
                }
            }
            // Who is told again and again that something is missing takes its time.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).clamp(Duration::from_millis(1), PATIENCE);
        }
    }

    /// One stream, until it breaks.
    async fn stream(&mut self, to: &Address) -> Broken {
        let mut open = match self.open(to).await {
            Ok(open) => open,
            Err(broken) => return broken,
        };
        info!("{:?} goes to {}", self.inbox.name(), to.host);
        loop {
            while open.has_room() {
                let next = match self.hand.get(open.sent) {
                    Some(_) => true,
                    None => match self.inbox.try_take() {
                        Ok(delivery) => {
                            self.hand.push_back(delivery);
                            true
                        }
                        Err(tubepost::TryRecvError::Closed(_)) => return End::StandIn.into(),
                        Err(_) => false,
                    },
                };
                if !next {
                    break;
                }
                if self.send_next(&mut open).await.is_err() {
                    return Broken::Now;
                }
                while let Some(said) = open.ear.hear_now() {
                    if let Err(broken) = self.heard(&mut open, said) {
                        return broken;
                    }
                }
            }
            let said = tokio::select! {
                said = open.ear.hear() => said,
                taken = self.inbox.take_async(), if open.has_room() => {
                    match taken {
                        Ok(delivery) => self.hand.push_back(delivery),
                        Err(RecvError::Closed(_)) => return End::StandIn.into(),
                        Err(RecvError::Failed(error)) => debug!(%error, "a message could not be taken"),
                    }
                    continue;
                }
                _ = self.other_end.closed_async(), if !open.has_room() => return End::StandIn.into(),
                () = tokio::time::sleep(PATIENCE), if open.sent > 0 => {
                    let count = Frame::Count { stream: open.number, count: open.count };
                    if open.route.say(&count).await.is_err() {
                        return Broken::Now;
                    }
                    continue;
                }
            };
            let Some(said) = said else { return Broken::Now };
            if let Err(broken) = self.heard(&mut open, said) {
                return broken;
            }
        }
    }

    /// Opens a stream, as often as it takes.
    async fn open(&mut self, to: &Address) -> Result<Open, Broken> {
        loop {
            let Ok(route) = self.wire.route(to).await else {
                tokio::time::sleep(PATIENCE).await;
                continue;
            };
            let number = kept::fresh();
            let Some(mut ear) = self.wire.listen(number, 4096) else { continue };
            let open = Frame::Open {
                stream: number,
                back: &self.wire.me.inbox(),
                mailbox: self.mailbox,
                stand_in: self.stand_in,
            };
            if route.say(&open).await.is_err() {
                tokio::time::sleep(PATIENCE).await;
                continue;
            }
            let late = Instant::now() + PATIENCE;
            let said = tokio::select! {
                said = ear.hear() => said,
                () = sleep_until(late) => None,
            };
            match said {
                Some(Said::Opened { placed_to, window }) => {
                    let placed = self.hand.iter().take_while(|delivery| delivery.seq() < placed_to).count();
                    let window = window.max(1);
                    return Ok(Open { number, route, ear, window, count: 0, sent: placed, placed, bytes: 0 });
                }
                Some(Said::Refused(why)) => return Err(End::Refused(why).into()),
                Some(Said::Ended { uncollected }) => return Err(End::Owner(uncollected).into()),
                _ => {}
            }
        }
    }

    async fn send_next(&mut self, open: &mut Open) -> Result<(), crate::wire::Unreachable> {
        let Some(delivery) = self.hand.get(open.sent) else { return Ok(()) };
        let (stream, count, position) = (open.number, open.count, delivery.seq());
        let data = Frame::Data { stream, count, position, bytes: delivery }.encode();
        // Counted before: whoever drops this here opens another stream.
        open.count += 1;
        open.sent += 1;
        open.bytes += delivery.len();
        open.route.say_encoded(data).await
    }

    fn heard(&mut self, open: &mut Open, said: Said) -> Result<(), Broken> {
        match said {
            Said::Ack { placed_to, collected_to } => {
                while open.placed < open.sent && self.hand[open.placed].seq() < placed_to {
                    open.bytes = open.bytes.saturating_sub(self.hand[open.placed].len());
                    open.placed += 1;
                }
                // What was not placed was not collected, whatever is said.
                while open.placed > 0 && self.hand.front().is_some_and(|first| first.seq() < collected_to) {
                    if let Some(delivery) = self.hand.pop_front()
                        && let Err(error) = delivery.accept()
                    {
                        debug!(%error, "a message that arrived was not in hand any more");
                    }
                    open.placed -= 1;
                    open.sent -= 1;
                }
                Ok(())
            }
            Said::Ended { uncollected } => Err(End::Owner(uncollected).into()),
            Said::Refused(why) => Err(End::Refused(why).into()),
            Said::Again => Err(Broken::Now),
            Said::Opened { .. } | Said::Data { .. } | Said::Count(_) | Said::Bye => Ok(()), // of no meaning here
        }
    }
}

impl Open {
    fn has_room(&self) -> bool {
        let under_way = (self.sent - self.placed) as u64;
        under_way == 0 || under_way < self.window && self.bytes < BYTES
    }
}
