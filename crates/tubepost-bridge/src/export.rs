//! Mailboxes that are given to other hosts.
//!
//! Each has a sender here, a token in the network, which says that it lives, and a queryable, which says what it is. When its owner goes, the token goes, and
//! each stream tells its importer. Nothing is known of a mailbox elsewhere that no pattern matches.

use crate::address::Offer;
use crate::error::Error;
use crate::facts::Facts;
use crate::incoming::{self, Incoming, WINDOW};
use crate::kept::{self, Kept, OURS, StreamKey};
use crate::pattern::Pattern;
use crate::wire::{Opening, Wire};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};
use tubepost::{Domain, Format, Opaque, Sender, Stat};
use zenoh::liveliness::LivelinessToken;
use zenoh::query::Queryable;

/// All that are exported.
pub(crate) struct Exports {
    domain: Domain,
    wire: Arc<Wire>,
    kept: Arc<Kept>,
    patterns: Vec<Pattern>,
    /// By their ids.
    all: Mutex<HashMap<u128, Exported>>,
    streams: Mutex<HashMap<StreamKey, JoinHandle<()>>>,
    /// Names at which there may be something new.
    look: mpsc::UnboundedSender<String>,
    /// Names of the stand-ins here, which are nobody else's.
    stand_ins: Arc<Mutex<std::collections::HashSet<String>>>,
}

struct Exported {
    name: String,
    format: Format,
    capacity: Option<u64>,
    _token: LivelinessToken,
    _queryable: Queryable<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Exports {
    pub(crate) fn new(
        domain: &Domain,
        wire: &Arc<Wire>,
        kept: &Arc<Kept>,
        patterns: Vec<Pattern>,
        stand_ins: Arc<Mutex<std::collections::HashSet<String>>>,
        look: mpsc::UnboundedSender<String>,
    ) -> Arc<Exports> {
        Arc::new(Exports {
            domain: domain.clone(),
            wire: Arc::clone(wire),
            kept: Arc::clone(kept),
            patterns,
            all: Mutex::default(),
            streams: Mutex::default(),
            look,
            stand_ins,
        })
    }

    fn is_meant(&self, name: &str) -> bool {
        !name.starts_with(OURS)
            && self.patterns.iter().any(|pattern| pattern.matches(name))
            && !lock(&self.stand_ins).contains(name)
    }

    /// Exports everything that is there and meant.
    pub(crate) async fn look_at_all(self: &Arc<Self>) -> Result<(), Error> {
        for listed in self.domain.list()? {
            if let Ok(stat) = listed.stat {
                self.consider(&stat).await;
            }
        }
        Ok(())
    }

    /// Exports what has this name, if it is new and meant.
    pub(crate) async fn look_at(self: &Arc<Self>, name: &str) {
        if self.is_meant(name)
            && let Ok(stat) = self.domain.stat(name)
        {
            self.consider(&stat).await;
        }
    }

    async fn consider(self: &Arc<Self>, stat: &Stat) {
        let id = kept::number_of(stat.id);
        if !stat.owner.alive || !self.is_meant(&stat.name) || lock(&self.all).contains_key(&id) {
            return;
        }
        match self.export(id, stat).await {
            Ok(()) => info!("{:?} is exported", stat.name),
            Err(why) => debug!("{:?} is not exported: {why}", stat.name),
        }
    }

    async fn export(self: &Arc<Self>, id: u128, stat: &Stat) -> Result<(), String> {
        let facts = Facts::of(stat)?;
        let format = Format::decode(stat.variable, &stat.format)?;
        self.kept.look_for_unnoted(&self.domain, &stat.name, id).map_err(|error| error.to_string())?;
        let out = Sender::<Opaque>::options().domain(&self.domain).carrying(format.clone()).member("bridge");
        let out = out.open(&stat.name).map_err(|error| error.to_string())?;
        if kept::number_of(out.id()) != id {
            return Err("another one has its name by now".into()); // which is told by the watch
        }
        let offer = Offer { at: self.wire.me.clone(), mailbox: id, name: stat.name.clone() };
        let (key, said) = (offer.key(), facts.encode());
        let answer_key = key.clone();
        let queryable = self.wire.session.declare_queryable(key.clone()).callback(move |query| {
            use zenoh::Wait;
            if let Err(error) = query.reply(answer_key.clone(), said.clone()).wait() {
                debug!(%error, "somebody who asked could not be told");
            }
        });
        let queryable = queryable.await.map_err(|error| error.to_string())?;
        let token = self.wire.session.liveliness().declare_token(key);
        let token = token.await.map_err(|error| error.to_string())?;
        let exported = Exported {
            name: stat.name.clone(),
            format,
            capacity: stat.capacity,
            _token: token,
            _queryable: queryable,
        };
        lock(&self.all).insert(id, exported);
        let exports = Arc::clone(self);
        tokio::spawn(async move {
            if let Ok(closed) = out.closed_async().await {
                exports.is_over(id, closed.uncollected);
            }
        });
        Ok(())
    }

    fn is_over(&self, id: u128, uncollected: u64) {
        let Some(exported) = lock(&self.all).remove(&id) else { return };
        info!("{:?} is over, {uncollected} messages were not collected", exported.name);
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
        let stream = opening.stream;
        let found = lock(&self.all).get(&opening.mailbox).map(|exported| {
            let options = Sender::<Opaque>::options().domain(&self.domain).carrying(exported.format.clone());
            (exported.name.clone(), options, exported.capacity)
        });
        let member = kept::member_of(stream, &opening.from.host);
        let opened = match found {
            None => Err("there is no such mailbox".to_owned()),
            Some((name, options, capacity)) => match options.member(member.as_str()).open(&name) {
                Ok(out) if kept::number_of(out.id()) == opening.mailbox => Ok((out, capacity)),
                Ok(_) => Err("there is another one of its name".to_owned()),
                Err(error) => Err(error.to_string()),
            },
        };
        let (out, capacity) = match opened {
            Ok(opened) => opened,
            Err(why) => {
                if route.say(&crate::frame::Frame::Refused { stream, why: &why }).await.is_err() {
                    debug!("{} can't be told: {why}", opening.from.host);
                }
                return;
            }
        };
        let window = capacity.unwrap_or(WINDOW).clamp(1, WINDOW);
        let key = StreamKey::new(opening.mailbox, opening.stand_in);
        // One stream at one time: what the one before was about to place it does not place any more.
        let before = lock(&self.streams).remove(&key);
        if let Some(before) = before {
            before.abort();
            let _ = before.await;
        }
        let Some(ear) = self.wire.listen(stream, incoming::room(window)) else { return };
        let kept = Arc::clone(&self.kept);
        let incoming = Incoming { opening, out, route, ear, kept, key, member, window };
        let mut streams = lock(&self.streams);
        streams.retain(|_, stream| !stream.is_finished());
        streams.insert(key, tokio::spawn(incoming.run()));
    }
}
