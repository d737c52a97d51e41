//! Saying things to other bridges, and hearing what they say.
//!
//! Each bridge listens at one key, its inbox. What comes in there is sorted by stream: each stream has room for what it granted, and one more is the end of
//! that stream, not of anything else. Nothing here waits for a stream.
//!
//! What is said to one bridge goes out one after the other, in bundles. zenoh is asked to block where it would drop, and who is blocked there holds up what goes
//! to that bridge and no other: it has a thread for itself as long as that takes. (Behind a router all have the same link: then all wait for it.)

use crate::address::Address;
use crate::error::Error;
use crate::frame::{Frame, frames};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::mpsc;
use tracing::{debug, warn};
use zenoh::Wait;
use zenoh::pubsub::{Publisher, Subscriber};
use zenoh::qos::{CongestionControl, Reliability};

/// What goes out together is not more than so many bytes, or one message.
pub(crate) const BUNDLE: usize = 48 << 10;
/// So many streams may be waiting to be opened.
const OPENINGS: usize = 256;

/// What was said to a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Data {
        count: u64,
        position: u64,
        bytes: Vec<u8>,
    },
    /// So much data was sent.
    Count(u64),
    Bye,
    Opened {
        placed_to: u64,
        window: u64,
    },
    Ack {
        placed_to: u64,
        collected_to: u64,
    },
    Refused(String),
    Again,
    Ended {
        uncollected: u64,
    },
    /// The answers to these are wanted, of those that were asked before.
    Wanted(Vec<u64>),
    Answer {
        position: u64,
        answer: Option<Vec<u8>>,
    },
    Got(u64),
}

impl Said {
    /// How much memory that takes.
    fn bytes(&self) -> usize {
        match self {
            Said::Data { bytes, .. } | Said::Answer { answer: Some(bytes), .. } => bytes.len(),
            Said::Wanted(positions) => 8 * positions.len(),
            _ => 0,
        }
    }
}

/// Somebody wants a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) stream: u64,
    pub(crate) from: Address,
    pub(crate) mailbox: u128,
    pub(crate) stand_in: u128,
}

/// The way to another bridge.
#[derive(Clone, Debug)]
pub(crate) struct Route(Arc<Line>);

#[derive(Debug)]
struct Line {
    /// Who has it speaks.
    publisher: tokio::sync::Mutex<Publisher<'static>>,
    /// Nothing can be said by it any more.
    is_lost: AtomicBool,
}

/// Who hears what is said to a stream, but for what can be done at once, where it is heard.
pub(crate) trait AtOnce: std::fmt::Debug + Send + Sync {
    /// Whether that was done. Else it is to be heard at the stream's [`Ear`].
    fn hear(&self, frame: &Frame<'_>) -> bool;
}

/// The other bridge can't be reached any more.
#[derive(Debug)]
pub(crate) struct Unreachable;

impl From<Unreachable> for crate::stream::Broken {
    fn from(_: Unreachable) -> Self {
        crate::stream::Broken::Now
    }
}

impl Route {
    /// Says something, when it is its turn.
    pub(crate) async fn say(&self, frame: &Frame<'_>) -> Result<(), Unreachable> {
        self.say_all(frame.alone()).await
    }

    /// Says all of a bundle.
    pub(crate) async fn say_all(&self, bundle: Vec<u8>) -> Result<(), Unreachable> {
        let Route(line) = self;
        let publisher = line.publisher.lock().await;
        if line.is_lost.load(Relaxed) {
            return Err(Unreachable);
        }
        // What does not arrive is found missing by its count, or by the silence after it.
        let done = tokio::task::block_in_place(|| publisher.put(bundle).wait());
        done.map_err(|error| {
            debug!(%error, "nothing can be said to another bridge");
            line.is_lost.store(true, Relaxed);
            Unreachable
        })
    }
}

#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) session: zenoh::Session,
    pub(crate) me: Address,
    routes: Mutex<HashMap<String, Weak<Line>>>,
    streams: Arc<Streams>,
    _inbox: Subscriber<()>,
}

#[derive(Debug)]
struct Streams {
    by_number: Mutex<HashMap<u64, Mouth>>,
    rubbish: AtomicU64,
    openings: mpsc::Sender<Opening>,
}

/// Where one speaks to a stream.
#[derive(Debug)]
struct Mouth {
    say: mpsc::Sender<Said>,
    /// So many bytes wait to be heard; who says something where more than `most` do says more than was granted.
    waiting: Arc<AtomicUsize>,
    most: usize,
    at_once: Option<Arc<dyn AtOnce>>,
}

/// The end of a stream at which one hears. Dropped: nothing of it is heard any more.
#[derive(Debug)]
pub(crate) struct Ear {
    number: u64,
    said: mpsc::Receiver<Said>,
    waiting: Arc<AtomicUsize>,
    streams: Arc<Streams>,
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.streams.lock().remove(&self.number);
    }
}

impl Ear {
    /// What is said next; nothing: more was said than was granted.
    pub(crate) async fn hear(&mut self) -> Option<Said> {
        let said = self.said.recv().await;
        self.heard(said)
    }

    pub(crate) fn hear_now(&mut self) -> Option<Said> {
        let said = self.said.try_recv().ok();
        self.heard(said)
    }

    fn heard(&self, said: Option<Said>) -> Option<Said> {
        self.waiting.fetch_sub(said.as_ref().map_or(0, Said::bytes), Relaxed);
        said
    }
}

impl Wire {
    /// Begins to listen. Who wants a stream to a mailbox here is told by `openings`.
    pub(crate) async fn new(
        session: zenoh::Session,
        me: Address,
    ) -> Result<(Wire, mpsc::Receiver<Opening>), Error> {
        let (openings, wanted) = mpsc::channel(OPENINGS);
        let by_number = Mutex::new(HashMap::new());
        let streams = Arc::new(Streams { by_number, rubbish: AtomicU64::new(0), openings });
        let hears = Arc::clone(&streams);
        let inbox = session
            .declare_subscriber(me.inbox())
            .callback(move |sample| hears.hear_all(&sample.payload().to_bytes()))
            .await
            .map_err(Error::network("listen to other bridges"))?;
        Ok((Wire { session, me, routes: Mutex::new(HashMap::new()), streams, _inbox: inbox }, wanted))
    }

    /// The way to the bridge that listens there.
    pub(crate) async fn route(&self, to: &Address) -> Result<Route, Error> {
        let key = to.inbox();
        let known = |routes: &HashMap<String, Weak<Line>>| {
            let line = routes.get(&key).and_then(Weak::upgrade);
            line.filter(|line| !line.is_lost.load(Relaxed))
        };
        if let Some(line) = known(&self.routes()) {
            return Ok(Route(line));
        }
        let publisher = self
            .session
            .declare_publisher(key.clone())
            .congestion_control(CongestionControl::Block)
            .reliability(Reliability::Reliable)
            .await
            .map_err(Error::network("find a way to another bridge"))?;
        let mut routes = self.routes();
        if let Some(line) = known(&routes) {
            return Ok(Route(line)); // another was faster
        }
        let publisher = tokio::sync::Mutex::new(publisher);
        let line = Arc::new(Line { publisher, is_lost: AtomicBool::new(false) });
        routes.retain(|_, route| route.strong_count() > 0);
        routes.insert(key, Arc::downgrade(&line));
        Ok(Route(line))
    }

    fn routes(&self) -> MutexGuard<'_, HashMap<String, Weak<Line>>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to what is said to a stream, as far as it has so much room, and no more than so many bytes wait before it; nothing, if there is one of this number.
    /// What is done `at_once` needs no room.
    pub(crate) fn listen(
        &self,
        number: u64,
        (room, most): (usize, usize),
        at_once: Option<Arc<dyn AtOnce>>,
    ) -> Option<Ear> {
        let mut streams = self.streams.lock();
        if streams.contains_key(&number) {
            return None;
        }
        let (say, said) = mpsc::channel(room);
        let waiting = Arc::new(AtomicUsize::new(0));
        streams.insert(number, Mouth { say, waiting: Arc::clone(&waiting), most, at_once });
        drop(streams);
        Some(Ear { number, said, waiting, streams: Arc::clone(&self.streams) })
    }
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Mouth>> {
        self.by_number.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear_all(&self, bytes: &[u8]) {
        for frame in frames(bytes) {
            match frame {
                Some(frame) => self.hear(frame),
                None => self.rubbish(bytes.len()),
            }
        }
    }

    /// Told of each thousandth time: whoever says such says much of it.
    fn rubbish(&self, length: usize) {
        if self.rubbish.fetch_add(1, Relaxed).is_multiple_of(1000) {
            warn!("{length} bytes that hold something that is no frame were passed over");
        }
    }

    fn hear(&self, frame: Frame<'_>) {
        let number = frame.stream();
        let at_once = self.lock().get(&number).and_then(|stream| stream.at_once.clone());
        if at_once.is_some_and(|stream| stream.hear(&frame)) {
            return;
        }
        let said = match frame {
            Frame::Open { stream, back, mailbox, stand_in } => {
                let Some(from) = Address::of_inbox(back) else {
                    warn!("somebody who gave {back:?} as its address was passed over");
                    return;
                };
                // Who finds no room asks again.
                let _ = self.openings.try_send(Opening { stream, from, mailbox, stand_in });
                return;
            }
            Frame::Data { count, position, bytes, .. } => Said::Data { count, position, bytes: bytes.into() },
            Frame::Count { count, .. } => Said::Count(count),
            Frame::Bye { .. } => Said::Bye,
            Frame::Opened { placed_to, window, .. } => Said::Opened { placed_to, window },
            Frame::Ack { placed_to, collected_to, .. } => Said::Ack { placed_to, collected_to },
            Frame::Refused { why, .. } => {
                Said::Refused(why.chars().filter(|c| !c.is_control()).take(500).collect())
            }
            Frame::Again { .. } => Said::Again,
            Frame::Ended { uncollected, .. } => Said::Ended { uncollected },
            Frame::Wanted { positions, .. } => Said::Wanted(positions),
            Frame::Answer { position, answer, .. } => {
                Said::Answer { position, answer: answer.map(<[u8]>::to_vec) }
            }
            Frame::Got { position, .. } => Said::Got(position),
        };
        let mut streams = self.lock();
        let Some(stream) = streams.get(&number) else {
            debug!("something was said to stream {number:x}, which is over");
            return;
        };
        let bytes = said.bytes();
        let fits = stream.waiting.fetch_add(bytes, Relaxed) <= stream.most;
        if (!fits || stream.say.try_send(said).is_err()) && streams.remove(&number).is_some() {
            warn!("stream {number:x} is given up: more was said than it had room for");
        }
    }
}
