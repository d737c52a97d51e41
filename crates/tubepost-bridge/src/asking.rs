//! From a stand-in to the mailbox that it stands for, where messages are answered: the importer's half of a stream of questions.
//!
//! A question is in this bridge's hand, and keeps its place in the stand-in, until it is answered: its caller waits *here*, and has the answer from here. As many
//! are under way as the window says; others wait in the stand-in.
//!
//! ```text
//! Opened(placed to)     all that is in hand goes out, and what is taken from now on; what was asked already is not asked again, but answered
//! the first new one     before it: Wanted, all before that which are in hand. Others are answered; nobody needs to keep their answers
//! Answer                reply; Got. Nothing: the caller is told that there is none
//! Ended, Refused        the mailbox is over; what became of a question that is in hand is not known
//! ```
//!
//! **No question is asked twice**, whatever breaks: at the other side it is known by its position. If the answer is lost there, with the bridge's process, the
//! caller is told that the question was received and not answered; it may yet be received.
//!
//! **What if it dies here?** The callers go on waiting, the questions are the next bridge's, at the same positions, and it says that it wants the answers.

use crate::address::Address;
use crate::carried::Count;
use crate::frame::Frame;
use crate::stream::{Between, Broken, Carrier, End, PATIENCE, Stream};
use crate::wire::Said;
use std::collections::BTreeMap;
use tracing::{debug, info, warn};
use tubepost::{Call, Delivery, Error, Opaque, Receiver, RecvError, Sender, TryRecvError};

/// The stand-in's end.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) between: Between,
    pub(crate) inbox: Receiver<Call<Opaque, Opaque>>,
    /// By which one is told that it was removed, while nothing is received.
    pub(crate) other_end: Sender<Call<Opaque, Opaque>>,
    /// How long each answer is, if that is fixed.
    pub(crate) answers: Option<usize>,
    /// Questions that were taken and are not answered so far, by their positions.
    pub(crate) hand: BTreeMap<u64, Delivery<Call<Opaque, Opaque>>>,
    /// The position behind the last one that was ever sent.
    pub(crate) reached: u64,
}

impl Carrier for Asking {
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

impl Asking {
    async fn stream(&mut self, to: &Address) -> Result<std::convert::Infallible, Broken> {
        let mut stream = self.between.open(to).await?;
        info!("{:?} goes to {}", self.inbox.name(), to.host);
        let (mut count, again) = (0, self.hand.keys().copied().collect::<Vec<u64>>());
        for position in again {
            self.send(&mut stream, &mut count, position).await?;
        }
        loop {
            let has_room = |hand: &BTreeMap<_, _>| (hand.len() as u64) < stream.window;
            let taken = match has_room(&self.hand) {
                true => self.inbox.try_take(),
                false => Err(TryRecvError::Empty),
            };
            let delivery = match taken {
                Ok(delivery) => delivery,
                Err(TryRecvError::Closed(_)) => return Err(End::StandIn.into()),
                Err(_) => tokio::select! {
                    said = stream.ear.hear() => {
                        self.heard(&stream, said.ok_or(Broken::Now)?).await?;
                        continue;
                    }
                    taken = self.inbox.take_async(), if has_room(&self.hand) => match taken {
                        Ok(delivery) => delivery,
                        Err(RecvError::Closed(_)) => return Err(End::StandIn.into()),
                        Err(RecvError::Failed(error)) => {
                            debug!(%error, "a question could not be taken");
                            tokio::time::sleep(PATIENCE).await;
                            continue;
                        }
                    },
                    () = self.removed(), if !has_room(&self.hand) => return Err(End::StandIn.into()),
                    () = tokio::time::sleep(PATIENCE), if !self.hand.is_empty() => {
                        stream.route.say(&Frame::Count { stream: stream.number, count }).await?;
                        continue;
                    }
                },
            };
            let position = delivery.seq();
            self.hand.insert(position, delivery);
            self.send(&mut stream, &mut count, position).await?;
            while let Some(said) = stream.ear.hear_now() {
                self.heard(&stream, said).await?;
            }
        }
    }

    async fn send(&mut self, stream: &mut Stream, count: &mut u64, position: u64) -> Result<(), Broken> {
        if position >= stream.placed_to && !stream.is_new {
            stream.is_new = true;
            let positions = self.hand.range(..stream.placed_to).map(|(position, _)| *position).collect();
            stream.route.say(&Frame::Wanted { stream: stream.number, positions }).await?;
        }
        let Some(delivery) = self.hand.get(&position) else { return Ok(()) };
        let data = Frame::Data { stream: stream.number, count: *count, position, bytes: delivery };
        *count += 1;
        if position < self.reached {
            self.between.count.sent_again();
        } else {
            self.between.count.sent_on();
            self.reached = position + 1;
        }
        stream.route.say(&data).await?;
        Ok(())
    }

    async fn heard(&mut self, stream: &Stream, said: Said) -> Result<(), Broken> {
        match said {
            Said::Answer { position, answer } => {
                if self.is_answered(position, answer) {
                    stream.route.say(&Frame::Got { stream: stream.number, position }).await?;
                }
                Ok(())
            }
            Said::Ended { uncollected } => Err(End::Owner(uncollected).into()),
            Said::Refused(why) => Err(End::Refused(why).into()),
            Said::Again => Err(Broken::Now),
            _ => Ok(()), // of no meaning here
        }
    }

    /// Tells the caller. `false`: it could not be told so far; the question comes into this hand again.
    fn is_answered(&mut self, position: u64, answer: Option<Vec<u8>>) -> bool {
        let Some(delivery) = self.hand.remove(&position) else { return true };
        let answer = answer.filter(|bytes| {
            let fits = self.answers.is_none_or(|length| length == bytes.len());
            if !fits {
                warn!("an answer of {} bytes for {:?} is none", bytes.len(), self.inbox.name());
            }
            fits
        });
        self.between.count.placed(1);
        self.between.count.collected(1);
        let told = match answer {
            Some(answer) => delivery.reply(&answer),
            None => delivery.accept(),
        };
        match told {
            Ok(()) | Err(Error::NotAwaited { .. } | Error::TooLong { .. }) => true,
            Err(error) => {
                debug!(%error, "an answer could not be given");
                false
            }
        }
    }
}
