//! Mailboxes that are given to other hosts.
//!
//! Each has a sender here, and is in the catalog, of which others are told. When its owner goes, it is there no longer, and each stream tells its importer. Nothing is
//! known of a mailbox elsewhere that no pattern matches.

use crate::Options;
use crate::address::Address;
use crate::announce::Announcement;
use crate::answering::{Answering, Questions};
use crate::carried::Counts;
use crate::catalog::{Catalog, Entry};
use crate::error::Error;
use crate::facts::Facts;
use crate::incoming::{self, Incoming, Parts, WINDOW};
use crate::kept::{self, Kept, OURS, StreamKey};
use crate::limits::{self, Limits, Paces};
use crate::pattern::Pattern;
use crate::wire::{Opening, Route, Wire};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};
use tubepost::{Call, Closed, Domain, Error as Wrong, Format, Opaque, Sender, Stat};

/// All that are exported.
pub(crate) struct Exports {
    domain: Domain,
    wire: Arc<Wire>,
    kept: Arc<Kept>,
    patterns: Vec<Pattern>,
    /// By their ids.
    all: Mutex<HashMap<u128, Exported>>,
    catalog: Arc<Catalog>,
    streams: Mutex<HashMap<StreamKey, Running>>,
    /// What was asked, by streams that are or were.
    asked: Mutex<HashMap<StreamKey, Arc<Questions>>>,
    limits: Limits,
    paces: Paces,
    counts: Arc<Counts>,
    /// Names at which there may be something new.
    look: mpsc::UnboundedSender<String>,
    /// Names of the stand-ins here, which are nobody else's.
    stand_ins: Arc<Mutex<std::collections::HashSet<String>>>,
}

/// A stream, and whose it is.
struct Running {
    host: String,
    bridge: u128,
    task: JoinHandle<()>,
}

/// Where messages of a mailbox go in.
enum Out {
    Told(Sender<Opaque>),
    Asked(Sender<Call<Opaque, Opaque>>),
}

impl Out {
    fn open(domain: &Domain, name: &str, format: &Format, member: &str) -> Result<Out, Wrong> {
        let format = format.clone();
        Ok(match format.answer() {
            None => Out::Told(
                Sender::<Opaque>::options().domain(domain).carrying(format).member(member).open(name)?,
            ),
            Some(_) => Out::Asked(
                Sender::<Call<Opaque, Opaque>>::options()
                    .domain(domain)
                    .carrying(format)
                    .member(member)
                    .open(name)?,
            ),
        })
    }

    fn id(&self) -> u128 {
        kept::number_of(match self {
            Out::Told(out) => out.id(),
            Out::Asked(out) => out.id(),
        })
    }

    async fn closed(&self) -> Result<Closed, Wrong> {
        match self {
            Out::Told(out) => out.closed_async().await,
            Out::Asked(out) => out.closed_async().await,
        }
    }
}

struct Exported {
    name: String,
    format: Format,
    capacity: Option<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Exports {
    pub(crate) fn new(
        options: &Options,
        wire: &Arc<Wire>,
        kept: &Arc<Kept>,
        counts: &Arc<Counts>,
        stand_ins: Arc<Mutex<std::collections::HashSet<String>>>,
        look: mpsc::UnboundedSender<String>,
    ) -> Arc<Exports> {
        Arc::new(Exports {
            domain: options.domain.clone(),
            wire: Arc::clone(wire),
            kept: Arc::clone(kept),
            patterns: options.export.clone(),
            all: Mutex::default(),
            catalog: Arc::new(Catalog::new(&options.prefix)),
            asked: Mutex::default(),
            limits: Limits { message: options.max_message, rate: options.max_rate },
            paces: Paces::default(),
            counts: Arc::clone(counts),
            streams: Mutex::default(),
            look,
            stand_ins,
        })
    }

    /// Tells others of all that is exported, and will be; nothing, if nothing is to be.
    pub(crate) async fn announce(&self) -> Result<Option<Announcement>, Error> {
        match self.patterns.is_empty() {
            true => Ok(None),
            false => Announcement::new(&self.wire.session, &self.wire.me, &self.catalog).await.map(Some),
        }
    }

    fn is_meant(&self, name: &str) -> bool {
        !name.starts_with(OURS)
            && self.patterns.iter().any(|pattern| pattern.matches(name))
            && !lock(&self.stand_ins).contains(name)
    }

    /// Exports everything that is there and meant.
    pub(crate) fn look_at_all(self: &Arc<Self>) -> Result<(), Error> {
        for listed in self.domain.list()? {
            if let Ok(stat) = listed.stat {
                self.consider(&stat);
            }
        }
        Ok(())
    }

    /// Exports what has this name, if it is new and meant.
    pub(crate) fn look_at(self: &Arc<Self>, name: &str) {
        if self.is_meant(name)
            && let Ok(stat) = self.domain.stat(name)
        {
            self.consider(&stat);
        }
    }

    fn consider(self: &Arc<Self>, stat: &Stat) {
        let id = kept::number_of(stat.id);
        if !stat.owner.alive || !self.is_meant(&stat.name) || lock(&self.all).contains_key(&id) {
            return;
        }
        match self.export(id, stat) {
            Ok(()) => info!("{:?} is exported", stat.name),
            Err(why) => debug!("{:?} is not exported: {why}", stat.name),
        }
    }

    fn export(self: &Arc<Self>, id: u128, stat: &Stat) -> Result<(), String> {
        let mut facts = Facts::of(stat)?;
        facts.limit(self.limits.message)?;
        let format = stat.carries.clone();
        self.kept.look_for_unnoted(&self.domain, &stat.name, id).map_err(|error| error.to_string())?;
        let out =
            Out::open(&self.domain, &stat.name, &format, "bridge").map_err(|error| error.to_string())?;
        if out.id() != id {
            return Err("another one has its name by now".into()); // which is told by the watch
        }
        let exported = Exported { name: stat.name.clone(), format, capacity: stat.capacity };
        lock(&self.all).insert(id, exported);
        self.catalog.came(&Entry { mailbox: id, name: stat.name.clone(), facts });
        let exports = Arc::clone(self);
        tokio::spawn(async move {
            if let Ok(closed) = out.closed().await {
                exports.is_over(id, closed.uncollected);
            }
        });
        Ok(())
    }

    fn is_over(&self, id: u128, uncollected: u64) {
        let Some(exported) = lock(&self.all).remove(&id) else { return };
        self.catalog.went(id);
        info!("{:?} is over, {uncollected} messages were not collected", exported.name);
        lock(&self.asked).retain(|key, _| !key.is_of(id));
        self.counts.forget(id);
        if let Err(error) = self.kept.forget_mailbox(id) {
            debug!(%error, "its streams are remembered");
        }
        let _ = self.look.send(exported.name); // somebody may have taken it over before we watched
    }

    /// Somebody wants to send to a mailbox here.
    pub(crate) async fn open(self: &Arc<Self>, opening: Opening) {
        let route = match self.wire.route(&opening.from).await {
            Ok(route) => route,
            Err(error) => return warn!(%error, "{} can't be answered", opening.from.host),
        };
        let (stream, host) = (opening.stream, opening.from.host.clone());
        if let Err(why) = self.open_by(opening, route.clone()).await
            && route.say(&crate::frame::Frame::Refused { stream, why: &why }).await.is_err()
        {
            debug!("{host} can't be told: {why}");
        }
    }

    async fn open_by(self: &Arc<Self>, opening: Opening, route: Route) -> Result<(), String> {
        let (stream, from) = (opening.stream, opening.from.clone());
        let found = lock(&self.all)
            .get(&opening.mailbox)
            .map(|exported| (exported.name.clone(), exported.format.clone(), exported.capacity));
        let (name, format, capacity) = found.ok_or("there is no such mailbox")?;
        let member = kept::member_of(stream, &from.host);
        let out = Out::open(&self.domain, &name, &format, &member).map_err(|error| error.to_string())?;
        if out.id() != opening.mailbox {
            return Err("there is another one of its name".into());
        }
        let key = StreamKey::new(opening.mailbox, opening.stand_in);
        // One stream at one time: what the one before was about to place it does not place any more.
        let before = lock(&self.streams).remove(&key);
        if let Some(before) = before {
            before.task.abort();
            let _ = before.task.await;
        }
        let count = self.counts.of(opening.mailbox);
        let (limits, pace) = (self.limits, self.paces.of(&from, &self.limits));
        let window = match (capacity, &out) {
            (Some(0) | None, Out::Asked(_)) => WINDOW,
            (capacity, _) => capacity.unwrap_or(WINDOW).clamp(1, WINDOW),
        };
        let kept = Arc::clone(&self.kept);
        self.make_room_for(&from)?;
        let task = match out {
            Out::Told(out) => {
                let parts = Parts { opening, out, route, kept, key, member, window, limits, pace, count };
                let incoming = Incoming::new(parts, &self.wire).map_err(|error| error.to_string())?;
                let Some(incoming) = incoming else { return Ok(()) };
                tokio::spawn(incoming.run())
            }
            Out::Asked(out) => {
                let Some(ear) = self.wire.listen(stream, incoming::room(window), None) else { return Ok(()) };
                let questions = Arc::clone(lock(&self.asked).entry(key).or_default());
                let answering =
                    Answering { opening, out, route, ear, kept, key, window, questions, limits, pace, count };
                tokio::spawn(answering.run())
            }
        };
        lock(&self.streams).insert(key, Running { host: from.host, bridge: from.bridge, task });
        Ok(())
    }

    /// Forgets streams that are over; an error, if this peer has as many as one may have.
    fn make_room_for(&self, peer: &Address) -> Result<(), String> {
        let mut streams = lock(&self.streams);
        streams.retain(|_, stream| !stream.task.is_finished());
        lock(&self.asked).retain(|key, questions| streams.contains_key(key) || !questions.is_empty());
        let its = streams.values().filter(|stream| stream.host == peer.host && stream.bridge == peer.bridge);
        match its.count() {
            limits::STREAMS.. => Err(format!("it has {} streams already", limits::STREAMS)),
            _ => Ok(()),
        }
    }
}
