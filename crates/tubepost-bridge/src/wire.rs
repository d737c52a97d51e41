//! Saying things to other bridges, and hearing what they say.
//!
//! Each bridge listens at one key, its inbox. What comes in there is sorted by stream: each stream has room for what it granted, and one more is the end of
//! that stream, not of anything else. Nothing here waits for a stream.
//!
//! What goes out to one bridge goes by one thread, for zenoh is asked to block where it would drop, and a thread that is blocked there holds up what goes to
//! that bridge and to no other. (Behind a router all have the same link: then all wait for it.) What waits for that thread goes together, in one bundle. Where nothing waits
//! and the task that has something to say can be blocked, with its thread's other tasks given to another, it says it itself: that wakes one thread less.
//!
//! Who hears a stream that comes in does so on the threads of zenoh on which it came ([`Opening::runtime`]): nobody is woken in between.

use crate::address::Address;
use crate::error::Error;
use crate::frame::{Frame, bundle, frames};
use std::collections::HashMap;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::mpsc;
use tracing::{debug, warn};
use zenoh::Wait;
use zenoh::pubsub::{Publisher, Subscriber};
use zenoh::qos::{CongestionControl, Reliability};

/// So much may wait to go out to one bridge; then who has more waits.
const OUTGOING: usize = 64;
/// What waits to go out goes together, as long as it is not more than so many bytes.
const BUNDLE: usize = 48 << 10;
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
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    /// Where it is to be heard; nothing: it does not matter.
    pub(crate) runtime: Option<Handle>,
    pub(crate) stream: u64,
    pub(crate) from: Address,
    pub(crate) mailbox: u128,
    pub(crate) stand_in: u128,
}

/// The way to another bridge.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    out: Arc<Out>,
}

#[derive(Debug)]
struct Out {
    /// Bundles for the thread that says them.
    queue: mpsc::Sender<Vec<u8>>,
    voice: Arc<Voice>,
}

/// What says it.
#[derive(Debug)]
struct Voice {
    publisher: Mutex<Publisher<'static>>,
    /// So many bundles wait for the thread, or are being said by it.
    pending: AtomicUsize,
}

impl Voice {
    fn say(&self, publisher: &Publisher<'_>, bundle: Vec<u8>) -> Result<(), Unreachable> {
        // What does not arrive is found missing by its count, or by the silence after it.
        publisher.put(bundle).wait().map_err(|error| {
            debug!(%error, "nothing can be said to {}", publisher.key_expr());
            Unreachable
        })
    }

    /// Says what comes, until nobody has anything to say any more.
    fn say_all(&self, queue: &mut mpsc::Receiver<Vec<u8>>) {
        let mut next = None;
        while let Some(mut all) = next.take().or_else(|| queue.blocking_recv()) {
            let mut number = 1;
            while let Ok(more) = queue.try_recv() {
                if all.len() + more.len() > BUNDLE {
                    next = Some(more);
                    break;
                }
                all.extend_from_slice(&more);
                number += 1;
            }
            let said = self.say(&self.publisher.lock().unwrap_or_else(PoisonError::into_inner), all);
            self.pending.fetch_sub(number, AcqRel);
            if said.is_err() {
                return;
            }
        }
    }
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
    /// Says something, when there is room.
    pub(crate) async fn say(&self, frame: &Frame<'_>) -> Result<(), Unreachable> {
        let mut one = Vec::new();
        bundle(&mut one, &frame.encode());
        self.say_bundle(one).await
    }

    async fn say_bundle(&self, bundle: Vec<u8>) -> Result<(), Unreachable> {
        let room = self.out.queue.reserve().await.map_err(|_| Unreachable)?;
        self.out.voice.pending.fetch_add(1, AcqRel);
        room.send(bundle);
        Ok(())
    }

    /// Says a bundle, by this very thread if nothing waits before it.
    pub(crate) async fn say_now(&self, bundle: Vec<u8>) -> Result<(), Unreachable> {
        let voice = &self.out.voice;
        if bundle.len() <= BUNDLE
            && Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread
            && let Ok(publisher) = voice.publisher.try_lock()
            && voice.pending.load(Acquire) == 0
        {
            return tokio::task::block_in_place(|| voice.say(&publisher, bundle));
        }
        self.say_bundle(bundle).await
    }
}

#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) session: zenoh::Session,
    pub(crate) me: Address,
    routes: Mutex<HashMap<String, Weak<Out>>>,
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
        let known = |routes: &HashMap<String, Weak<_>>| routes.get(&key).and_then(Weak::upgrade);
        if let Some(out) = known(&self.routes()) {
            return Ok(Route { out });
        }
        let publisher = self
            .session
            .declare_publisher(key.clone())
            .congestion_control(CongestionControl::Block)
            .reliability(Reliability::Reliable)
            .await
            .map_err(Error::network("find a way to another bridge"))?;
        let mut routes = self.routes();
        if let Some(out) = known(&routes) {
            return Ok(Route { out }); // another was faster
        }
        let (queue, mut bundles) = mpsc::channel::<Vec<u8>>(OUTGOING);
        let voice = Arc::new(Voice { publisher: Mutex::new(publisher), pending: AtomicUsize::new(0) });
        let out = Arc::new(Out { queue, voice: Arc::clone(&voice) });
        routes.retain(|_, route| route.strong_count() > 0);
        routes.insert(key, Arc::downgrade(&out));
        tokio::task::spawn_blocking(move || voice.say_all(&mut bundles));
        Ok(Route { out })
    }

    fn routes(&self) -> MutexGuard<'_, HashMap<String, Weak<Out>>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to what is said to a stream, as far as it has so much room, and no more than so many bytes wait before it; nothing, if there is one of this number.
    pub(crate) fn listen(&self, number: u64, room: usize, most: usize) -> Option<Ear> {
        let mut streams = self.streams.lock();
        if streams.contains_key(&number) {
            return None;
        }
        let (say, said) = mpsc::channel(room);
        let waiting = Arc::new(AtomicUsize::new(0));
        streams.insert(number, Mouth { say, waiting: Arc::clone(&waiting), most });
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
        let said = match frame {
            Frame::Open { stream, back, mailbox, stand_in } => {
                let Some(from) = Address::of_inbox(back) else {
                    warn!("somebody who gave {back:?} as its address was passed over");
                    return;
                };
                // Who finds no room asks again.
                let _ = self.openings.try_send(Opening {
                    runtime: Handle::try_current().ok(),
                    stream,
                    from,
                    mailbox,
                    stand_in,
                });
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
