//! From other hosts into a mailbox: the exporter's half of a stream.
//!
//! Messages are put into the mailbox in the order in which they came. That one is full makes this stream wait, and no other; its importer has no more under
//! way than it was granted. What was placed and what was collected is told, many at a time where much comes.
//!
//! ```text
//! data n        n is the next one, else: Again
//!               its position is not beyond what was placed: it came before, pass over
//!               wait for room; place it; note position and number (kept)
//! collected     of those that were placed, from the oldest on: Ack
//! ```
//!
//! **What if it dies here?** After noting, the next bridge goes on behind that message. Between placing and noting, the next bridge finds it in the mailbox's
//! ledger, by the name of the sender that placed it, which no other has: the next message that comes is that one. (`Domain::sent_by` says when that can't be told.)

use crate::carried::Count;
use crate::frame::Frame;
use crate::kept::{Kept, Placed, StreamKey};
use crate::limits::{Limits, Pace};
use crate::wire::{Ear, Opening, Route, Said};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};
use tubepost::{Error, Opaque, SendError, Sender};

/// So many messages are under way at most, and not placed.
pub(crate) const WINDOW: u64 = 256;
/// Beside data, so much may be said to a stream at one time.
const ROOM: u64 = 64;
/// An acknowledgement is for so many messages, where they come that fast …
const MANY: u64 = 16;
/// … or for as many as come in this time after the one before.
const SOON: Duration = Duration::from_micros(500);

/// How much has to fit what was said and not heard so far.
pub(crate) fn room(window: u64) -> usize {
    (window + ROOM) as usize
}

/// A stream that comes in.
pub(crate) struct Incoming {
    pub(crate) opening: Opening,
    pub(crate) out: Sender<Opaque>,
    pub(crate) route: Route,
    pub(crate) ear: Ear,
    pub(crate) kept: Arc<Kept>,
    pub(crate) key: StreamKey,
    /// What the sender is called, as no other.
    pub(crate) member: String,
    pub(crate) window: u64,
    pub(crate) limits: Limits,
    pub(crate) pace: Option<Arc<Pace>>,
    pub(crate) count: Arc<Count>,
}

/// How far it has come.
struct Progress {
    /// As it is kept.
    kept: Placed,
    /// Where this stream began.
    from: u64,
    /// The position behind what was collected.
    collected_to: u64,
    /// Messages in the mailbox, the oldest first: their positions in the stand-in, their numbers here.
    waiting: VecDeque<(u64, u64)>,
    /// So many were placed, and collected, since that was said.
    placed: u64,
    collected: u64,
    said_at: Instant,
    count: Arc<Count>,
    /// How often it was said how far it is, and of how many messages.
    said: u64,
    of: u64,
}

/// Why a stream ends.
enum End {
    /// The importer is to open another one.
    Again,
    /// It goes, or can't be reached.
    Gone,
    /// The mailbox is over.
    Closed,
    /// It says what can't be.
    Refused(String),
}

impl From<crate::wire::Unreachable> for End {
    fn from(_: crate::wire::Unreachable) -> End {
        End::Gone
    }
}

impl Progress {
    /// Counts those that were collected by now, from the oldest on.
    fn look(&mut self, out: &Sender<Opaque>) {
        while let Some((position, number)) = self.waiting.front().copied() {
            if !out.is_collected(number) {
                return;
            }
            self.waiting.pop_front();
            self.collected_to = position + 1;
            self.collected += 1;
            self.count.collected(1);
        }
        if self.collected_to < self.kept.placed_to {
            // Where messages have no numbers, placed is all that is known.
            self.count.collected(self.kept.placed_to - self.collected_to.max(self.from));
            self.collected_to = self.kept.placed_to;
            self.collected += 1;
        }
    }

    /// When it is to be said how far it is; nothing: there is no need.
    fn due(&self, window: u64) -> Option<Instant> {
        if self.collected >= MANY || self.placed >= (window / 4).max(1) {
            return Some(self.said_at);
        }
        (self.collected > 0).then(|| self.said_at + SOON)
    }
}

impl Incoming {
    /// Places what comes until the stream ends.
    pub(crate) async fn run(mut self) {
        let stream = self.opening.stream;
        let end = self.carry().await;
        let told = match end {
            End::Gone => Ok(()),
            End::Again => self.route.say(&Frame::Again { stream }).await,
            End::Refused(why) => {
                warn!("the stream from {} to {:?} ends: {why}", self.opening.from.host, self.out.name());
                self.route.say(&Frame::Refused { stream, why: &why }).await
            }
            End::Closed => {
                let uncollected = self.out.closed_async().await.map_or(0, |closed| closed.uncollected);
                self.route.say(&Frame::Ended { stream, uncollected }).await
            }
        };
        if told.is_err() {
            debug!("{} can't be told that its stream ended", self.opening.from.host);
        }
    }

    async fn carry(&mut self) -> End {
        let from = self.out.next_number().unwrap_or(0);
        let kept = match self.kept.go_on(&self.key, &self.member, from) {
            Ok(kept) => kept,
            Err(error) => return End::Refused(error.to_string()),
        };
        let placed_to = kept.placed_to;
        let mut progress = Progress {
            kept,
            from: placed_to,
            collected_to: 0,
            // Of those that an earlier stream placed the last one stands for all.
            waiting: kept
                .number
                .checked_sub(1)
                .map(|number| (placed_to.saturating_sub(1), number))
                .into_iter()
                .collect(),
            placed: 0,
            collected: 0,
            said_at: Instant::now(),
            count: Arc::clone(&self.count),
            said: 0,
            of: 0,
        };
        let opened = Frame::Opened { stream: self.opening.stream, placed_to, window: self.window };
        if self.route.say(&opened).await.is_err() {
            return End::Gone;
        }
        info!("{:?} is sent to from {}", self.out.name(), self.opening.from.host);
        let done = self.place_all(&mut progress).await;
        // What was collected in the end is not lost, whatever the end was.
        progress.look(&self.out);
        debug!("{} messages were placed, and it was said {} times how far it is", progress.of, progress.said);
        match done {
            Ok(()) => End::Gone,
            Err(end) => match self.say(&mut progress).await {
                Ok(()) => end,
                Err(unreachable) => unreachable.into(),
            },
        }
    }

    /// Until the importer goes.
    async fn place_all(&mut self, progress: &mut Progress) -> Result<(), End> {
        let mut expected = 0;
        loop {
            let said = match self.ear.hear_now() {
                Some(said) => said,
                None => {
                    tokio::select! {
                        said = self.ear.hear() => said.ok_or(End::Again)?,
                        looked = look_and_say(&self.out, &self.route, self.opening.stream, self.window, progress) => {
                            looked?;
                            continue;
                        }
                    }
                }
            };
            match said {
                Said::Data { count, .. } | Said::Count(count) if count != expected => {
                    debug!("{count} was said to have come where {expected} is the next one");
                    return Err(End::Again);
                }
                Said::Data { position, .. } if position < progress.kept.placed_to => {
                    expected += 1;
                    self.count.duplicate(); // it came before
                }
                Said::Data { position, bytes, .. } => {
                    expected += 1;
                    self.count.sent_on();
                    self.place(progress, position, &bytes).await?;
                }
                Said::Count(_) => self.say(progress).await?,
                Said::Bye => return Ok(()),
                _ => {} // of no meaning here
            }
        }
    }

    /// Places a message when there is room, unless it is there, and notes that.
    async fn place(&mut self, progress: &mut Progress, position: u64, bytes: &[u8]) -> Result<(), End> {
        if self.limits.message.is_some_and(|most| bytes.len() as u64 > most) {
            return Err(End::Refused(format!("a message of {} bytes is longer than is let in", bytes.len())));
        }
        loop {
            let number = match progress.kept.ahead.checked_sub(1) {
                Some(ahead) => Some(ahead),
                None => match self.send(progress, bytes).await? {
                    Some(number) => number,
                    None => continue,
                },
            };
            // From here to the end nothing waits.
            progress.kept = progress.kept.with(position, number);
            if let Err(error) = self.kept.note_placed(&self.key, &progress.kept) {
                warn!(%error, "how far a stream has come can't be kept: a message may come twice");
            }
            progress.placed += 1;
            progress.of += 1;
            self.count.placed(1);
            progress.waiting.extend(number.map(|number| (position, number)));
            progress.look(&self.out);
            if progress.due(self.window).is_some_and(|due| due <= Instant::now()) {
                self.say(progress).await?;
            }
            return Ok(());
        }
    }

    /// Sends when there is room, and says meanwhile how far it is with the others. Gives the number, where there are such; nothing: it is to be tried again.
    async fn send(&self, progress: &mut Progress, bytes: &[u8]) -> Result<Option<Option<u64>>, End> {
        let sending = async {
            if let Some(pace) = &self.pace {
                pace.pass(bytes.len()).await;
            }
            self.out.send_numbered_async(bytes).await
        };
        let mut sending = std::pin::pin!(sending);
        let sent = loop {
            tokio::select! {
                biased;
                sent = &mut sending => break sent,
                looked = look_and_say(&self.out, &self.route, self.opening.stream, self.window, progress) => looked?,
            }
        };
        match sent {
            Ok(number) => Ok(Some(number)),
            Err(SendError::Closed(..)) => Err(End::Closed),
            Err(SendError::Failed(_, error @ (Error::TooLong { .. } | Error::WrongLength { .. }))) => {
                Err(End::Refused(error.to_string()))
            }
            Err(SendError::Failed(_, error)) => {
                warn!(%error, "a message for {:?} waits", self.out.name());
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(None)
            }
        }
    }

    async fn say(&self, progress: &mut Progress) -> Result<(), crate::wire::Unreachable> {
        say(&self.route, self.opening.stream, progress).await
    }
}

/// Says how far it is.
async fn say(route: &Route, stream: u64, progress: &mut Progress) -> Result<(), crate::wire::Unreachable> {
    let (placed_to, collected_to) = (progress.kept.placed_to, progress.collected_to);
    (progress.placed, progress.collected, progress.said_at) = (0, 0, Instant::now());
    progress.said += 1;
    route.say(&Frame::Ack { stream, placed_to, collected_to }).await
}

/// Waits until more was collected, or there is something to be said, and says it. An error: the mailbox was closed.
async fn look_and_say(
    out: &Sender<Opaque>,
    route: &Route,
    stream: u64,
    window: u64,
    progress: &mut Progress,
) -> Result<(), End> {
    progress.look(out);
    let front = progress.waiting.front().map(|(_, number)| *number);
    let due = progress.due(window);
    let later = due.unwrap_or_else(Instant::now);
    tokio::select! {
        biased;
        () = sleep_until(later), if due.is_some() => say(route, stream, progress).await?,
        collected = out.collected_async(front.unwrap_or(0)), if front.is_some() => match collected {
            Ok(()) => {}
            Err(_) => return Err(End::Closed),
        },
        _ = out.closed_async(), if front.is_none() => return Err(End::Closed),
    }
    Ok(())
}
