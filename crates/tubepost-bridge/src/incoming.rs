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
//! Where there is room, and nothing that came before waits, a message is placed at once, by the thread that hears it; only what has to wait is the task's. The
//! task says how far it is. It is woken for that when enough came together; while much comes it looks from time to time; else it waits for the oldest message
//! to be collected.
//!
//! **What if it dies here?** After noting, the next bridge goes on behind that message. Between placing and noting, the next bridge finds it in the mailbox's
//! ledger, by the name of the sender that placed it, which no other has: the next message that comes is that one. (`Domain::sent_by` says when that can't be told.)

use crate::carried::Count;
use crate::frame::Frame;
use crate::kept::{Kept, Placed, StreamKey};
use crate::limits::{Limits, Pace};
use crate::outgoing::BYTES;
use crate::wire::{AtOnce, Ear, Opening, Route, Said, Wire};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};
use tubepost::{Error, Opaque, SendError, Sender, TrySendError};

/// So many messages are under way at most, and not placed.
pub(crate) const WINDOW: u64 = 256;
/// Beside data, so much may be said to a stream at one time.
const ROOM: u64 = 64;
/// An acknowledgement is for so many messages, where they come that fast …
const MANY: u64 = 16;
/// … or for as many as come in this time.
const SOON: Duration = Duration::from_micros(500);

/// A stream that comes in.
pub(crate) struct Incoming {
    desk: Arc<Desk>,
    opening: Opening,
    route: Route,
    ear: Ear,
    pace: Option<Arc<Pace>>,
}

/// Where messages of a stream are placed: by who hears them, or by the task.
#[derive(Debug)]
struct Desk {
    out: Sender<Opaque>,
    kept: Arc<Kept>,
    key: StreamKey,
    window: u64,
    limits: Limits,
    count: Arc<Count>,
    progress: Mutex<Progress>,
    /// There is something for the task.
    told: Notify,
}

/// How far it has come.
#[derive(Debug)]
struct Progress {
    /// As it is kept.
    kept: Placed,
    /// Where this stream began.
    from: u64,
    /// So many messages came.
    came: u64,
    /// The position behind what was collected.
    collected_to: u64,
    /// Messages in the mailbox, the oldest first: their positions in the stand-in, their numbers here.
    waiting: VecDeque<(u64, u64)>,
    /// So many were placed, and collected, since that was said.
    placed: u64,
    collected: u64,
    /// How often it was said how far it is, and of how many messages.
    said: u64,
    of: u64,
    /// Whether messages may be placed where they are heard, and how much the task has to do before the next one.
    at_once: bool,
    queued: u64,
    /// Whether the task is to be told of the next message.
    sleeps: bool,
    end: Option<End>,
    /// The task ended.
    is_over: bool,
}

/// How fast messages come.
struct Flow {
    since: Instant,
    of: u64,
    is_fast: bool,
}

/// Why a stream ends.
#[derive(Debug)]
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
    fn look(&mut self, out: &Sender<Opaque>, count: &Count) {
        let before = self.collected;
        while let Some((position, number)) = self.waiting.front().copied() {
            if !out.is_collected(number) {
                break;
            }
            self.waiting.pop_front();
            self.collected_to = position + 1;
            self.collected += 1;
        }
        count.collected(self.collected - before);
        if self.waiting.is_empty() && self.collected_to < self.kept.placed_to {
            // Where messages have no numbers, placed is all that is known.
            count.collected(self.kept.placed_to - self.collected_to.max(self.from));
            self.collected_to = self.kept.placed_to;
            self.collected += 1;
        }
    }

    /// Whether so much came together that it is to be said how far it is.
    fn is_much(&self, window: u64) -> bool {
        self.collected >= MANY.min(window / 2).max(1) || self.placed >= (window / 4).max(1)
    }
}

impl Flow {
    /// Whether messages come so fast that one does better to look from time to time.
    fn is_fast(&mut self, of: u64) -> bool {
        if self.since.elapsed() >= SOON {
            self.is_fast = of - self.of >= MANY / 2;
            (self.since, self.of) = (Instant::now(), of);
        }
        self.is_fast
    }
}

/// What the task does next.
enum Next {
    Say,
    LookAt(Instant),
    /// Wait until this one is collected.
    Await(u64),
    AwaitMore,
}

impl AtOnce for Desk {
    fn hear(&self, frame: &Frame<'_>) -> bool {
        let mut progress = self.progress();
        if progress.is_over {
            return true;
        }
        let done = match *frame {
            Frame::Data { count, position, bytes, .. } if progress.at_once && progress.queued == 0 => {
                self.place_now(&mut progress, (count, position), bytes)
            }
            _ => Ok(false),
        };
        match done {
            Ok(false) => {
                progress.queued += 1;
                return false;
            }
            Ok(true) if !progress.sleeps && !progress.is_much(self.window) => {}
            Ok(true) => self.told.notify_one(),
            Err(end) => {
                (progress.end, progress.is_over) = (Some(end), true);
                self.told.notify_one();
            }
        }
        true
    }
}

impl Desk {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this message is the next one, and new: else it came before.
    fn is_new(
        &self,
        progress: &mut Progress,
        (count, position): (u64, u64),
        length: usize,
    ) -> Result<bool, End> {
        if count != progress.came {
            debug!("{count} was said to have come where {} is the next one", progress.came);
            return Err(End::Again);
        }
        if self.limits.message.is_some_and(|most| length as u64 > most) {
            return Err(End::Refused(format!("a message of {length} bytes is longer than is let in")));
        }
        Ok(position >= progress.kept.placed_to)
    }

    /// Places a message if there is room now, unless it is there. Whether that was done.
    fn place_now(
        &self,
        progress: &mut Progress,
        (count, position): (u64, u64),
        bytes: &[u8],
    ) -> Result<bool, End> {
        if !self.is_new(progress, (count, position), bytes.len())? {
            self.passed_over(progress);
            return Ok(true);
        }
        let number = match progress.kept.ahead.checked_sub(1) {
            Some(ahead) => Some(ahead),
            None => match self.out.try_send_numbered(bytes) {
                Ok(number) => number,
                Err(TrySendError::Closed(..)) => return Err(End::Closed),
                // The task waits for room, and says what is wrong.
                Err(TrySendError::Full(_) | TrySendError::Failed(..)) => return Ok(false),
            },
        };
        self.placed(progress, position, number);
        Ok(true)
    }

    fn passed_over(&self, progress: &mut Progress) {
        progress.came += 1;
        self.count.duplicate();
    }

    /// Notes that it was placed.
    fn placed(&self, progress: &mut Progress, position: u64, number: Option<u64>) {
        progress.came += 1;
        progress.kept = progress.kept.with(position, number);
        if let Err(error) = self.kept.note_placed(&self.key, &progress.kept) {
            warn!(%error, "how far a stream has come can't be kept: a message may come twice");
        }
        progress.placed += 1;
        progress.of += 1;
        self.count.came_in();
        progress.waiting.extend(number.map(|number| (position, number)));
        progress.look(&self.out, &self.count);
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Nothing is placed by this stream any more, wherever its task was.
        self.desk.progress().is_over = true;
    }
}

/// What a stream into a mailbox has to have.
pub(crate) struct Parts {
    pub(crate) opening: Opening,
    pub(crate) out: Sender<Opaque>,
    pub(crate) route: Route,
    pub(crate) kept: Arc<Kept>,
    pub(crate) key: StreamKey,
    /// What the sender is called, as no other.
    pub(crate) member: String,
    pub(crate) window: u64,
    pub(crate) limits: Limits,
    pub(crate) pace: Option<Arc<Pace>>,
    pub(crate) count: Arc<Count>,
}

/// How much has to fit what was said and not heard so far.
pub(crate) fn room(window: u64) -> (usize, usize) {
    ((window + ROOM) as usize, BYTES)
}

impl Incoming {
    /// Begins to listen. Nothing: there is a stream of this number.
    pub(crate) fn new(parts: Parts, wire: &Wire) -> Result<Option<Incoming>, Error> {
        let Parts { opening, out, route, kept, key, member, window, limits, pace, count } = parts;
        let from = out.next_number().unwrap_or(0);
        let known = kept.go_on(&key, &member, from)?;
        let progress = Progress {
            kept: known,
            from: known.placed_to,
            came: 0,
            collected_to: 0,
            // Of those that an earlier stream placed the last one stands for all.
            waiting: known
                .number
                .checked_sub(1)
                .map(|number| (known.placed_to.saturating_sub(1), number))
                .into_iter()
                .collect(),
            placed: 0,
            collected: 0,
            said: 0,
            of: 0,
            at_once: out.next_number().is_some() && pace.is_none(),
            queued: 0,
            sleeps: true,
            end: None,
            is_over: false,
        };
        let (progress, told) = (Mutex::new(progress), Notify::new());
        let desk = Arc::new(Desk { out, kept, key, window, limits, count, progress, told });
        let at_once: Arc<dyn AtOnce> = Arc::clone(&desk) as _;
        let ear = wire.listen(opening.stream, room(window), Some(at_once));
        Ok(ear.map(|ear| Incoming { desk, opening, route, ear, pace }))
    }

    /// Places what comes until the stream ends.
    pub(crate) async fn run(mut self) {
        let stream = self.opening.stream;
        let end = self.carry().await;
        let told = match end {
            End::Gone => Ok(()),
            End::Again => self.route.say(&Frame::Again { stream }).await,
            End::Refused(why) => {
                warn!("the stream from {} to {:?} ends: {why}", self.opening.from.host, self.desk.out.name());
                self.route.say(&Frame::Refused { stream, why: &why }).await
            }
            End::Closed => {
                let uncollected = self.desk.out.closed_async().await.map_or(0, |closed| closed.uncollected);
                self.route.say(&Frame::Ended { stream, uncollected }).await
            }
        };
        if told.is_err() {
            debug!("{} can't be told that its stream ended", self.opening.from.host);
        }
    }

    async fn carry(&mut self) -> End {
        let placed_to = self.desk.progress().from;
        let opened = Frame::Opened { stream: self.opening.stream, placed_to, window: self.desk.window };
        if self.route.say(&opened).await.is_err() {
            return End::Gone;
        }
        let desk = Arc::clone(&self.desk);
        info!("{:?} is sent to from {}", desk.out.name(), self.opening.from.host);
        let mut flow = Flow { since: Instant::now(), of: 0, is_fast: false };
        let done = self.place_all(&mut flow).await;
        {
            // What was collected in the end is not lost, whatever the end was.
            let progress = &mut *desk.progress();
            progress.is_over = true;
            progress.look(&desk.out, &desk.count);
            debug!(
                "{} messages were placed, and it was said {} times how far it is",
                progress.of, progress.said
            );
        }
        match done {
            Ok(()) => End::Gone,
            Err(end) => match self.say().await {
                Ok(()) => end,
                Err(unreachable) => unreachable.into(),
            },
        }
    }

    /// Until the importer goes.
    async fn place_all(&mut self, flow: &mut Flow) -> Result<(), End> {
        let desk = Arc::clone(&self.desk);
        loop {
            let said = match self.ear.hear_now() {
                Some(said) => said,
                None => {
                    let (route, stream) = (&self.route, self.opening.stream);
                    tokio::select! {
                        said = self.ear.hear() => said.ok_or(End::Again)?,
                        looked = desk.look_and_say(route, stream, flow) => {
                            looked?;
                            continue;
                        }
                    }
                }
            };
            match said {
                Said::Data { count, position, bytes } => self.place((count, position), &bytes, flow).await?,
                Said::Count(count) if count != desk.progress().came => return Err(End::Again),
                Said::Count(_) => self.say().await?,
                Said::Bye => return Ok(()),
                _ => {} // of no meaning here
            }
            desk.progress().queued -= 1;
        }
    }

    /// Places a message when there is room, unless it is there.
    async fn place(&self, said: (u64, u64), bytes: &[u8], flow: &mut Flow) -> Result<(), End> {
        let (desk, (_, position)) = (&self.desk, said);
        let ahead = {
            let progress = &mut *desk.progress();
            if !desk.is_new(progress, said, bytes.len())? {
                desk.passed_over(progress);
                return Ok(());
            }
            progress.kept.ahead.checked_sub(1)
        };
        let number = match ahead {
            Some(ahead) => Some(ahead),
            None => loop {
                if let Some(number) = self.send(bytes, flow).await? {
                    break number;
                }
            },
        };
        // From here to where it is noted nothing waits.
        let is_much = {
            let progress = &mut *desk.progress();
            desk.placed(progress, position, number);
            progress.is_much(desk.window)
        };
        if is_much { Ok(self.say().await?) } else { Ok(()) }
    }

    /// Sends when there is room, and says meanwhile how far it is with the others. Gives the number, where there are such; nothing: it is to be tried again.
    async fn send(&self, bytes: &[u8], flow: &mut Flow) -> Result<Option<Option<u64>>, End> {
        let sending = async {
            if let Some(pace) = &self.pace {
                pace.pass(bytes.len()).await;
            }
            self.desk.out.send_numbered_async(bytes).await
        };
        let mut sending = std::pin::pin!(sending);
        let sent = loop {
            tokio::select! {
                biased;
                sent = &mut sending => break sent,
                looked = self.desk.look_and_say(&self.route, self.opening.stream, flow) => looked?,
            }
        };
        match sent {
            Ok(number) => Ok(Some(number)),
            Err(SendError::Closed(..)) => Err(End::Closed),
            Err(SendError::Failed(_, error @ (Error::TooLong { .. } | Error::WrongLength { .. }))) => {
                Err(End::Refused(error.to_string()))
            }
            Err(SendError::Failed(_, error)) => {
                warn!(%error, "a message for {:?} waits", self.desk.out.name());
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(None)
            }
        }
    }

    async fn say(&self) -> Result<(), crate::wire::Unreachable> {
        self.desk.say(&self.route, self.opening.stream).await
    }
}

impl Desk {
    /// Says how far it is. Dropped before that was said: it is still to be said.
    async fn say(&self, route: &Route, stream: u64) -> Result<(), crate::wire::Unreachable> {
        let (ack, placed, collected) = {
            let progress = &*self.progress();
            let (placed_to, collected_to) = (progress.kept.placed_to, progress.collected_to);
            (Frame::Ack { stream, placed_to, collected_to }, progress.placed, progress.collected)
        };
        route.say(&ack).await?;
        let progress = &mut *self.progress();
        progress.placed -= placed;
        progress.collected -= collected;
        progress.said += 1;
        Ok(())
    }

    /// What there is to do, if nothing is heard.
    fn next(&self, flow: &mut Flow) -> Result<Next, End> {
        let progress = &mut *self.progress();
        progress.look(&self.out, &self.count);
        if let Some(end) = progress.end.take() {
            return Err(end);
        }
        // With few places each that is free is waited for.
        let is_fast = flow.is_fast(progress.of) && self.window >= 4 * MANY;
        let next = match progress.waiting.front() {
            _ if progress.is_much(self.window) => Next::Say,
            _ if is_fast => Next::LookAt(flow.since + SOON),
            _ if progress.collected > 0 => Next::Say,
            Some((_, number)) => Next::Await(*number),
            None => Next::AwaitMore,
        };
        progress.sleeps = matches!(next, Next::AwaitMore);
        Ok(next)
    }

    /// Waits until more was collected, or there is something to be said, and says it. An error: the mailbox was closed.
    async fn look_and_say(&self, route: &Route, stream: u64, flow: &mut Flow) -> Result<(), End> {
        match self.next(flow)? {
            Next::Say => self.say(route, stream).await?,
            Next::LookAt(time) => tokio::select! {
                () = sleep_until(time) => {}
                () = self.told.notified() => {}
            },
            Next::Await(number) => tokio::select! {
                collected = self.out.collected_async(number) => collected.map_err(|_| End::Closed)?,
                () = self.told.notified() => {}
            },
            Next::AwaitMore => tokio::select! {
                _ = self.out.closed_async() => return Err(End::Closed),
                () = self.told.notified() => {}
            },
        }
        Ok(())
    }
}
