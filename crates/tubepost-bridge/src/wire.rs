//! Saying things to other bridges, and hearing what they say.
//!
//! Each bridge listens at one key, its inbox. What comes in there is sorted by stream: each stream has room for what it granted, and one more is the end of
//! that stream, not of anything else. Nothing here waits for a stream.
//!
//! What goes out to one bridge goes by one thread, for zenoh is asked to block where it would drop, and a thread that is blocked there holds up what goes to
//! that bridge and to no other. (Behind a router all have the same link: then all wait for it.)

use crate::address::Address;
use crate::error::Error;
use crate::frame::Frame;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::mpsc;
use tracing::{debug, warn};
use zenoh::Wait;
use zenoh::pubsub::Subscriber;
use zenoh::qos::{CongestionControl, Reliability};

/// So much may wait to go out to one bridge; then who has more waits.
const OUTGOING: usize = 64;
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
pub(crate) struct Route {
    out: Arc<mpsc::Sender<Vec<u8>>>,
}

/// The other bridge can't be reached any more.
#[derive(Debug)]
pub(crate) struct Unreachable;

impl Route {
    /// Says something, when there is room.
    pub(crate) async fn say(&self, frame: &Frame<'_>) -> Result<(), Unreachable> {
        self.say_encoded(frame.encode()).await
    }

    pub(crate) async fn say_encoded(&self, frame: Vec<u8>) -> Result<(), Unreachable> {
        self.out.send(frame).await.map_err(|_| Unreachable)
    }
}

#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) session: zenoh::Session,
    pub(crate) me: Address,
    routes: Mutex<HashMap<String, Weak<mpsc::Sender<Vec<u8>>>>>,
    streams: Arc<Streams>,
    _inbox: Subscriber<()>,
}

#[derive(Debug)]
struct Streams {
    by_number: Mutex<HashMap<u64, mpsc::Sender<Said>>>,
    openings: mpsc::Sender<Opening>,
}

/// The end of a stream at which one hears. Dropped: nothing of it is heard any more.
#[derive(Debug)]
pub(crate) struct Ear {
    number: u64,
    said: mpsc::Receiver<Said>,
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
        self.said.recv().await
    }

    pub(crate) fn hear_now(&mut self) -> Option<Said> {
        self.said.try_recv().ok()
    }
}

impl Wire {
    /// Begins to listen. Who wants a stream to a mailbox here is told by `openings`.
    pub(crate) async fn new(
        session: zenoh::Session,
        me: Address,
    ) -> Result<(Wire, mpsc::Receiver<Opening>), Error> {
        let (openings, wanted) = mpsc::channel(OPENINGS);
        let streams = Arc::new(Streams { by_number: Mutex::new(HashMap::new()), openings });
        let hears = Arc::clone(&streams);
        let inbox = session
            .declare_subscriber(me.inbox())
            .callback(move |sample| hears.hear(&sample.payload().to_bytes()))
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
        let (out, mut frames) = mpsc::channel::<Vec<u8>>(OUTGOING);
        let out = Arc::new(out);
        routes.retain(|_, route| route.strong_count() > 0);
        routes.insert(key, Arc::downgrade(&out));
        tokio::task::spawn_blocking(move || {
            while let Some(frame) = frames.blocking_recv() {
                // What does not arrive is found missing by its count, or by the silence after it.
                if let Err(error) = publisher.put(frame).wait() {
                    debug!(%error, "nothing can be said to {}", publisher.key_expr());
                    return;
                }
            }
        });
        Ok(Route { out })
    }

    fn routes(&self) -> MutexGuard<'_, HashMap<String, Weak<mpsc::Sender<Vec<u8>>>>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to what is said to a stream, as far as it has so much room; nothing, if there is one of this number.
    pub(crate) fn listen(&self, number: u64, room: usize) -> Option<Ear> {
        let mut streams = self.streams.lock();
        if streams.contains_key(&number) {
            return None;
        }
        let (say, said) = mpsc::channel(room);
        streams.insert(number, say);
        drop(streams);
        Some(Ear { number, said, streams: Arc::clone(&self.streams) })
    }
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<Said>>> {
        self.by_number.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, bytes: &[u8]) {
        let Some(frame) = Frame::decode(bytes) else {
            warn!("{} bytes that are no frame were passed over", bytes.len());
            return;
        };
        let number = frame.stream();
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
        };
        let mut streams = self.lock();
        let Some(stream) = streams.get(&number) else {
            debug!("something was said to stream {number:x}, which is over");
            return;
        };
        if stream.try_send(said).is_err() && streams.remove(&number).is_some() {
            warn!("stream {number:x} is given up: more was said than it had room for");
        }
    }
}
