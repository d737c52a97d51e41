//! From other hosts into a mailbox whose messages are answered: the exporter's half of a stream of questions.
//!
//! Each question is asked in the mailbox by a task of its own, in the order in which they came; its answer goes back when it is there. What was asked, and what came of it,
//! is known for as long as the importer has not said that it has it: so a stream may break, and the next one finds the answers.
//!
//! ```text
//! data n        n is the next one, else: Again
//!               its position is before what was placed: it was asked before; the answer goes again, if there is one
//!               wait for room; ask; note position (kept)
//! an answer     Answer
//! Got           forget it
//! the end       what is answered by then is told before: who answered and went has answered
//! Wanted        forget all others that were asked before. One that is wanted and not known was asked by a bridge that died: there is no answer
//! ```
//!
//! **What if it dies here?** The question is in the mailbox, or was received; whoever answers it is told that nobody waits. Its position is noted: it is not asked again.
//! Between asking and noting there are some instructions (`Sender::call_noted_async`).

use crate::carried::Count;
use crate::frame::Frame;
use crate::kept::{Kept, Placed, StreamKey};
use crate::limits::{Limits, Pace};
use crate::wire::{Ear, Opening, Route, Said, Unreachable};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tracing::{debug, info, warn};
use tubepost::{Call, CallError, Error, Opaque, Sender};

/// What came of a question: nothing, so far; an answer, or that there is none.
type Outcome = Option<Option<Vec<u8>>>;
type Asked = Sender<Call<Opaque, Opaque>>;

/// The questions of one stand-in that were asked here, and whose answers its importer does not have so far.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    all: Mutex<HashMap<u64, Outcome>>,
    /// Answers came.
    fresh: Mutex<Vec<u64>>,
    /// So many calls are under way.
    calls: AtomicUsize,
    came: Notify,
}

impl Questions {
    fn all(&self) -> MutexGuard<'_, HashMap<u64, Outcome>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, position: u64, answer: Option<Vec<u8>>) {
        if let Some(outcome) = self.all().get_mut(&position) {
            *outcome = Some(answer);
            self.fresh.lock().unwrap_or_else(PoisonError::into_inner).push(position);
            self.came.notify_one();
        }
    }

    fn take_fresh(&self) -> Vec<u64> {
        std::mem::take(&mut *self.fresh.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What came of it; nothing: it is not known.
    fn outcome(&self, position: u64) -> Option<Outcome> {
        self.all().get(&position).cloned()
    }

    /// Whether nothing would be lost with it.
    pub(crate) fn is_empty(&self) -> bool {
        self.all().is_empty()
    }
}

/// A stream that comes in.
pub(crate) struct Answering {
    pub(crate) opening: Opening,
    pub(crate) out: Asked,
    pub(crate) route: Route,
    pub(crate) ear: Ear,
    pub(crate) kept: Arc<Kept>,
    pub(crate) key: StreamKey,
    pub(crate) window: u64,
    pub(crate) questions: Arc<Questions>,
    pub(crate) limits: Limits,
    pub(crate) pace: Option<Arc<Pace>>,
    pub(crate) count: Arc<Count>,
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

impl From<Unreachable> for End {
    fn from(_: Unreachable) -> End {
        End::Gone
    }
}

/// What came of a call, and whether the mailbox is over.
fn answer_of(done: Result<Vec<u8>, CallError<&[u8]>>) -> Option<Vec<u8>> {
    match done {
        Ok(answer) => Some(answer),
        Err(CallError::Failed(_, error)) => {
            debug!(%error, "a question is not answered");
            None
        }
        Err(_) => None,
    }
}

impl Answering {
    /// Asks what comes until the stream ends.
    pub(crate) async fn run(mut self) {
        let stream = self.opening.stream;
        let end = match self.carry().await {
            Ok(()) => End::Gone,
            Err(end) => end,
        };
        let told = match end {
            End::Gone => Ok(()),
            End::Again => self.route.say(&Frame::Again { stream }).await,
            End::Refused(why) => {
                warn!("the stream from {} to {:?} ends: {why}", self.opening.from.host, self.out.name());
                self.route.say(&Frame::Refused { stream, why: &why }).await
            }
            End::Closed => {
                // Each call ends now, one way or the other; and what was answered is told before the end.
                while self.questions.calls.load(Acquire) > 0 {
                    self.questions.came.notified().await;
                }
                if self.tell_fresh().await.is_err() {
                    return;
                }
                let uncollected = self.out.closed_async().await.map_or(0, |closed| closed.uncollected);
                self.route.say(&Frame::Ended { stream, uncollected }).await
            }
        };
        if told.is_err() {
            debug!("{} can't be told that its stream ended", self.opening.from.host);
        }
    }

    async fn carry(&mut self) -> Result<(), End> {
        let refused = |error: Error| End::Refused(error.to_string());
        let mut placed = self.kept.go_on(&self.key, "", 0).map_err(refused)?;
        let stream = self.opening.stream;
        let opened = Frame::Opened { stream, placed_to: placed.placed_to, window: self.window };
        self.route.say(&opened).await?;
        info!("{:?} is asked from {}", self.out.name(), self.opening.from.host);
        let (mut expected, questions) = (0, Arc::clone(&self.questions));
        loop {
            let said = tokio::select! {
                biased;
                said = self.ear.hear() => said.ok_or(End::Again)?,
                () = questions.came.notified() => {
                    self.tell_fresh().await?;
                    continue;
                }
                _ = self.out.closed_async() => return Err(End::Closed),
            };
            match said {
                Said::Data { count, .. } | Said::Count(count) if count != expected => {
                    debug!("{count} was said to have come where {expected} is the next one");
                    return Err(End::Again);
                }
                Said::Data { position, .. } if position < placed.placed_to => {
                    expected += 1;
                    self.count.duplicate();
                    self.tell_asked_before(position).await?;
                }
                Said::Data { position, bytes, .. } => {
                    expected += 1;
                    self.count.sent_on();
                    self.ask(&mut placed, position, bytes).await?;
                }
                Said::Wanted(positions) => {
                    let wanted: HashSet<u64> = positions.iter().copied().collect();
                    questions.all().retain(|position, _| wanted.contains(position));
                    for position in positions.into_iter().filter(|position| *position < placed.placed_to) {
                        self.tell_asked_before(position).await?;
                    }
                }
                // In case that what was said went missing.
                Said::Count(_) => {
                    let all: Vec<u64> = questions.all().keys().copied().collect();
                    for position in all {
                        self.tell(position).await?;
                    }
                }
                Said::Got(position) => drop(questions.all().remove(&position)),
                Said::Bye => return Ok(()),
                _ => {} // of no meaning here
            }
        }
    }

    /// Asks when there is room, and says meanwhile what came of the others.
    async fn ask(&mut self, placed: &mut Placed, position: u64, bytes: Vec<u8>) -> Result<(), End> {
        if self.limits.message.is_some_and(|most| bytes.len() as u64 > most) {
            return Err(End::Refused(format!(
                "a question of {} bytes is longer than is let in",
                bytes.len()
            )));
        }
        if self.questions.all().len() as u64 >= self.window {
            return Err(End::Refused("more was asked than was granted".into()));
        }
        if let Some(pace) = &self.pace {
            pace.pass(bytes.len()).await;
        }
        loop {
            let (out, kept, key) = (self.out.clone(), Arc::clone(&self.kept), self.key);
            let (noted, mut is_placed) = oneshot::channel();
            let next = placed.with(position, None);
            let question = bytes.clone();
            let mut call = Box::pin(async move {
                let note = || {
                    if let Err(error) = kept.note_placed(&key, &next) {
                        warn!(%error, "how far a stream has come can't be kept: a question may come twice");
                    }
                    let _ = noted.send(()); // who asked may be gone
                };
                match out.call_noted_async(&question, note).await {
                    Err(CallError::Closed(..)) => Err(()),
                    Err(CallError::Failed(_, error)) => Ok(Err(error)),
                    done => Ok(Ok(answer_of(done))),
                }
            });
            let done = loop {
                tokio::select! {
                    biased;
                    done = &mut call => break Some(done),
                    Ok(()) = &mut is_placed => break None,
                    () = self.questions.came.notified() => self.tell_fresh().await?,
                }
            };
            let placed_by_now = done.is_none() || is_placed.try_recv().is_ok();
            if placed_by_now {
                *placed = next;
                self.count.placed(1);
                // From here to the end nothing waits.
                self.questions.all().insert(position, None);
            }
            let questions = Arc::clone(&self.questions);
            match done {
                None => drop(tokio::spawn({
                    questions.calls.fetch_add(1, AcqRel);
                    async move {
                        match call.await {
                            Ok(Ok(answer)) => questions.settle(position, answer),
                            Ok(Err(error)) => {
                                debug!(%error, "a question is not answered");
                                questions.settle(position, None);
                            }
                            Err(()) => {} // which its importer is told by the end of the mailbox
                        }
                        questions.calls.fetch_sub(1, AcqRel);
                        questions.came.notify_one();
                    }
                })),
                Some(Err(())) => return Err(End::Closed),
                Some(Ok(Ok(answer))) => questions.settle(position, answer),
                Some(Ok(Err(error))) if placed_by_now => {
                    debug!(%error, "a question is not answered");
                    questions.settle(position, None);
                }
                Some(Ok(Err(error @ (Error::TooLong { .. } | Error::WrongLength { .. })))) => {
                    return Err(End::Refused(error.to_string()));
                }
                Some(Ok(Err(error))) => {
                    warn!(%error, "a question for {:?} waits", self.out.name());
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            }
            return Ok(());
        }
    }

    async fn tell_fresh(&self) -> Result<(), End> {
        for position in self.questions.take_fresh() {
            self.count.collected(1);
            self.tell(position).await?;
        }
        Ok(())
    }

    /// Says what came of a question, if something did.
    async fn tell(&self, position: u64) -> Result<(), End> {
        if let Some(Some(answer)) = self.questions.outcome(position) {
            let (stream, answer) = (self.opening.stream, answer.as_deref());
            self.route.say(&Frame::Answer { stream, position, answer }).await?;
        }
        Ok(())
    }

    /// The same of one that was asked before; if it is not known any more, there is no answer.
    async fn tell_asked_before(&self, position: u64) -> Result<(), End> {
        if self.questions.outcome(position).is_none() {
            let answer = Frame::Answer { stream: self.opening.stream, position, answer: None };
            return Ok(self.route.say(&answer).await?);
        }
        self.tell(position).await
    }
}
