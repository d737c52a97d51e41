//! Mailboxes of other hosts.
//!
//! For each that is meant there is a *stand-in*: a mailbox of the system, of the same name, format and capacity, which local processes send to as to any.
//! What is in it goes to the mailbox itself (`outgoing`). It lives as long as that does:
//!
//! ```text
//! it is exported      note that we make a stand-in; make it; note which one it is
//! it is no longer     wait for as long as the lease, in case that it was the bridge, or the network; then remove it
//! its owner went      remove it at once: who sends to it is told, with how many of its messages were not collected
//! ```
//!
//! **What if it dies here?** The stand-in stays, with what is in it, and the next bridge goes on. Between noting and making, the next one makes it;
//! between making and noting which one it is, what has that name is taken for it.

use crate::Options;
use crate::address::{Address, Offer};
use crate::asking::Asking;
use crate::carried::Counts;
use crate::discovery::Found;
use crate::error::Error;
use crate::facts::Facts;
use crate::kept::{self, Kept, OURS, Standing};
use crate::making::Making;
use crate::outgoing::Outgoing;
use crate::pattern::Pattern;
use crate::spool::{Origin, Spool};
use crate::stream::{self, Between, End};
use crate::wire::Wire;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{info, warn};
use tubepost::{Call, Domain, Format, Opaque, OwnerKind, Receiver, Sender, Strategy};

/// What importing has to act upon, besides what others export.
#[derive(Debug)]
pub(crate) enum Event {
    /// Nothing was heard of it for as long as the lease, if it was not heard of since.
    Lost { name: String, since: u64 },
    /// The stream of a stand-in ended.
    Over { name: String, import: u64, end: End },
    /// A name became free here.
    Look(String),
}

pub(crate) struct Imports {
    domain: Domain,
    wire: Arc<Wire>,
    kept: Arc<Kept>,
    counts: Arc<Counts>,
    spool: Option<Spool>,
    patterns: Vec<Pattern>,
    lease: Duration,
    events: mpsc::UnboundedSender<Event>,
    all: HashMap<String, Imported>,
    /// How many were imported.
    count: u64,
    /// What is offered and can't be had, by what it would be called.
    refused: HashMap<String, Vec<(Offer, Facts)>>,
    stand_ins: Arc<Mutex<HashSet<String>>>,
}

/// What carries.
enum Carrying {
    Messages(Outgoing),
    Questions(Asking),
}

struct Imported {
    standing: Standing,
    way: watch::Sender<Option<Address>>,
    /// How often the way there came or went.
    changes: u64,
    /// What carries its messages, and its number.
    task: Option<JoinHandle<()>>,
    import: u64,
}

impl Imports {
    pub(crate) fn new(
        options: &Options,
        wire: &Arc<Wire>,
        kept: &Arc<Kept>,
        counts: &Arc<Counts>,
        lease: Duration,
        events: mpsc::UnboundedSender<Event>,
    ) -> Result<Imports, Error> {
        let mut all = HashMap::new();
        for standing in kept.stand_ins()? {
            let imported =
                Imported { way: watch::channel(None).0, changes: 0, task: None, import: 0, standing };
            all.insert(imported.standing.name.clone(), imported);
        }
        let spool = options.spool.as_deref().map(Spool::open).transpose()?;
        let mut imports = Imports {
            domain: options.domain.clone(),
            wire: Arc::clone(wire),
            kept: Arc::clone(kept),
            counts: Arc::clone(counts),
            spool,
            patterns: options.import.clone(),
            lease,
            events,
            all,
            count: 0,
            refused: HashMap::new(),
            stand_ins: Arc::default(),
        };
        imports.wake_spooled();
        lock(&imports.stand_ins).extend(imports.all.keys().cloned());
        // Of what stood here before nothing may ever be heard again.
        for name in imports.all.keys().cloned().collect::<Vec<_>>() {
            imports.expect_it_back(&name);
        }
        Ok(imports)
    }

    /// The names of all stand-ins, as they come and go.
    pub(crate) fn stand_ins(&self) -> Arc<Mutex<HashSet<String>>> {
        Arc::clone(&self.stand_ins)
    }

    pub(crate) async fn found(&mut self, found: Found) {
        match found {
            Found::Came(offer, facts) => self.came(offer, facts).await,
            Found::Went(offer) => self.went(&offer).await,
        }
    }

    pub(crate) async fn act(&mut self, event: Event) {
        match event {
            Event::Lost { name, since } => {
                if self.all.get(&name).is_some_and(|imported| imported.changes == since) {
                    warn!("nothing was heard of {name:?} for {:?}", self.lease);
                    if !self.is_spooled(&name) {
                        self.remove(&name).await;
                    }
                }
            }
            Event::Over { name, import, end } => self.over(&name, import, &end).await,
            Event::Look(name) => self.try_again(&name).await,
        }
    }

    /// What is offered by this name and could not be had so far.
    async fn try_again(&mut self, name: &str) {
        for (offer, facts) in self.refused.remove(name).unwrap_or_default() {
            self.came(offer, facts).await;
        }
    }

    fn refuse(&mut self, name: String, offer: Offer, facts: Facts) {
        self.refused.entry(name).or_default().push((offer, facts));
    }

    /// What is meant here, by its name here.
    async fn came(&mut self, offer: Offer, facts: Facts) {
        let name = offer.called();
        if name.starts_with(OURS) {
            return;
        }
        if let Some(there) = self.all.get(&name) {
            // (The domain of a mailbox that is kept in files may be another one by now; but not while that is there.)
            if there.way.borrow().as_ref().is_some_and(|at| at.bridge != offer.at.bridge) {
                warn!(
                    "{name:?} of {} is not imported: there is one of another host; export it --as something else",
                    offer.at.host
                );
                self.refuse(name, offer, facts);
                return;
            }
            if there.standing.mailbox != offer.mailbox {
                self.remove(&name).await; // it was another mailbox
            }
        }
        match self.import(&name, &offer, &facts) {
            Ok(()) => {
                if let Some(there) = self.all.get_mut(&name) {
                    there.changes += 1;
                    there.way.send_replace(Some(offer.at));
                }
            }
            Err(why) => {
                warn!("{name:?} of {} is not imported: {why}", offer.at.host);
                self.refuse(name, offer, facts);
            }
        }
    }

    /// Makes a stand-in, if there is none, and carries what is in it.
    fn import(&mut self, name: &str, offer: &Offer, facts: &Facts) -> Result<(), String> {
        if self.all.get(name).is_some_and(|there| there.task.is_some()) {
            return Ok(());
        }
        let format = facts.agreed()?;
        let known = self.all.get(name).map(|there| there.standing.clone());
        let mut standing = known.unwrap_or(Standing {
            name: name.into(),
            id: None,
            bridge: offer.at.bridge,
            mailbox: offer.mailbox,
        });
        let text = |error: tubepost::Error| error.to_string();
        let is_ours = match self.domain.stat(name) {
            Ok(stat) => {
                let id = Some(kept::number_of(stat.id));
                let made_just_now = standing.id.is_none() && self.all.contains_key(name);
                if stat.owner.kind != OwnerKind::System || standing.id != id && !made_just_now {
                    return Err(format!(
                        "there is a {} of that name here; remove it, or have the other exported --as something else",
                        stat.kind
                    ));
                }
                standing.id = id;
                true
            }
            Err(_) => false,
        };
        if !is_ours {
            standing.id = None;
            self.kept.note_stand_in(&standing).map_err(text)?;
            lock(&self.stand_ins).insert(name.into());
            let making = Making {
                domain: &self.domain,
                name,
                host: &offer.at.host,
                facts,
                spool: self.spool.as_ref(),
            };
            match making.make(offer.at.bridge, offer.mailbox) {
                Ok(id) => standing.id = Some(kept::number_of(id)),
                Err(why) => {
                    lock(&self.stand_ins).remove(name);
                    self.kept.forget_stand_in(name).map_err(text)?;
                    return Err(why);
                }
            }
        }
        self.kept.note_stand_in(&standing).map_err(text)?;
        lock(&self.stand_ins).insert(name.into());
        let (way, way_there) = watch::channel(None);
        let changes = self.all.get(name).map_or(0, |there| there.changes);
        self.count += 1;
        let (import, events, called) = (self.count, self.events.clone(), name.to_owned());
        let mut carrier = self.carrier(name, &standing, &format).map_err(text)?;
        info!(
            "{name:?} is imported from {}, owned there by {} on the {} strategy",
            offer.at.host, facts.owner, facts.strategy
        );
        let task = tokio::spawn(async move {
            let end = match &mut carrier {
                Carrying::Messages(carrier) => stream::run(carrier, way_there).await,
                Carrying::Questions(carrier) => stream::run(carrier, way_there).await,
            };
            let _ = events.send(Event::Over { name: called, import, end }); // the bridge ends
        });
        self.all.insert(name.into(), Imported { standing, way, changes, task: Some(task), import });
        Ok(())
    }

    /// What carries the messages of a stand-in that is there.
    fn carrier(&self, name: &str, standing: &Standing, format: &Format) -> Result<Carrying, tubepost::Error> {
        let stand_in = standing.id.unwrap_or(0);
        let count = self.counts.of(stand_in);
        let between = Between { wire: Arc::clone(&self.wire), mailbox: standing.mailbox, stand_in, count };
        if let Some(answer) = format.answer() {
            type Asked = Call<Opaque, Opaque>;
            let inbox = Receiver::<Asked>::options().domain(&self.domain).carrying(format.clone());
            let inbox = inbox.keep_places().member("bridge").open(name)?;
            let other_end = Sender::<Asked>::options().domain(&self.domain).carrying(format.clone());
            let other_end = other_end.member("bridge").open(name)?;
            let (answers, hand) = (answer.size(), BTreeMap::new());
            return Ok(Carrying::Questions(Asking { between, inbox, other_end, answers, hand, reached: 0 }));
        }
        let inbox = Receiver::<Opaque>::options().domain(&self.domain).carrying(format.clone());
        let inbox = inbox.keep_places().member("bridge").open(name)?;
        let other_end = Sender::<Opaque>::options().domain(&self.domain).carrying(format.clone());
        let other_end = other_end.member("bridge").open(name)?;
        let hand = VecDeque::new();
        Ok(Carrying::Messages(Outgoing { between, inbox, other_end, hand, reached: 0 }))
    }

    /// Makes the stand-ins of which the spool knows and the domain does not: the machine was started again.
    fn wake_spooled(&mut self) {
        let Some(spool) = &self.spool else { return };
        for origin in spool.all() {
            let Origin { name, host, bridge, mailbox, facts } = &origin;
            if self.all.contains_key(name) || !self.patterns.iter().any(|pattern| pattern.matches(name)) {
                continue;
            }
            let making = Making { domain: &self.domain, name, host, facts, spool: Some(spool) };
            let made = making.make(*bridge, *mailbox).and_then(|id| {
                let id = Some(kept::number_of(id));
                let standing = Standing { name: name.clone(), id, bridge: *bridge, mailbox: *mailbox };
                self.kept.note_stand_in(&standing).map_err(|error| error.to_string())?;
                Ok(standing)
            });
            match made {
                Ok(standing) => {
                    info!("{name:?} of {host} is in the spool, and waits for that");
                    let way = watch::channel(None).0;
                    self.all
                        .insert(name.clone(), Imported { way, changes: 0, task: None, import: 0, standing });
                }
                Err(why) => warn!("{name:?} of {host} is in the spool, and can't be had: {why}"),
            }
        }
    }

    /// Whether a stand-in is kept in files.
    fn is_spooled(&self, name: &str) -> bool {
        self.domain.stat(name).is_ok_and(|stat| stat.strategy == Strategy::File)
    }

    async fn went(&mut self, offer: &Offer) {
        let name = offer.called();
        self.refused.retain(|_, refused| {
            refused.retain(|(refused, _)| refused != offer);
            !refused.is_empty()
        });
        let Some(there) = self.all.get_mut(&name) else { return };
        if there.standing.mailbox != offer.mailbox || there.way.borrow().as_ref() != Some(&offer.at) {
            return;
        }
        there.changes += 1;
        there.way.send_replace(None);
        self.expect_it_back(&name);
        // Its domain may be another one by now, of which was heard already.
        if let Some(mut others) = self.refused.remove(&name) {
            let same = others.iter().position(|(other, _)| other.mailbox == offer.mailbox);
            let same = same.map(|at| others.remove(at));
            if !others.is_empty() {
                self.refused.insert(name, others);
            }
            if let Some((offer, facts)) = same {
                self.came(offer, facts).await;
            }
        }
    }

    /// Gives it as long as the lease to be heard of again.
    fn expect_it_back(&self, name: &str) {
        let Some(there) = self.all.get(name) else { return };
        let (events, lease, since, name) = (self.events.clone(), self.lease, there.changes, name.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(lease).await;
            let _ = events.send(Event::Lost { name, since }); // the bridge ends
        });
    }

    async fn over(&mut self, name: &str, import: u64, end: &End) {
        if self.all.get(name).is_none_or(|there| there.import != import) {
            return;
        }
        match end {
            End::Owner(uncollected) => {
                info!("the owner of {name:?} went; {uncollected} messages were not collected there");
            }
            End::Refused(why) => warn!("{name:?} can't be sent to any more: {why}"),
            End::StandIn => info!("{name:?} was removed here"),
        }
        self.remove(name).await;
    }

    /// Closes a stand-in: who sends to it is told.
    async fn remove(&mut self, name: &str) {
        let Some(there) = self.all.remove(name) else { return };
        drop(there.way); // its stream ends, and what is in hand goes back, to be counted
        if let Some(task) = there.task
            && let Err(error) = task.await
        {
            warn!(%error, "what carried the messages of {name:?} failed");
        }
        let ours =
            self.domain.stat(name).is_ok_and(|stat| Some(kept::number_of(stat.id)) == there.standing.id);
        match ours.then(|| self.domain.remove(name)) {
            Some(Ok(closed)) if closed.uncollected > 0 => {
                warn!(
                    "{} messages for {name:?} were accepted here and not collected: they are lost",
                    closed.uncollected
                );
            }
            Some(Err(error)) => warn!(%error, "the stand-in {name:?} stays"),
            _ => {}
        }
        if let Some(id) = there.standing.id {
            self.counts.forget(id);
        }
        if let Some(spool) = &self.spool {
            spool.forget(name);
        }
        if let Err(error) = self.kept.forget_stand_in(name) {
            warn!(%error, "the stand-in {name:?} is remembered");
        }
        lock(&self.stand_ins).remove(name);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
