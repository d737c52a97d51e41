//! Finding out what other bridges export, as far as it is meant here. (`catalog` says what is said.)
//!
//! For each bridge whose token is there one task follows it, and has its catalog and its news:
//!
//! ```text
//! its token comes      ask for the catalog, piece by piece; its news wait meanwhile
//! the catalog is here  what it has not any more went, what is new in it came; then the news, one after the other
//! news are missing     ask again: after a pause, which is the longer the more often that happens
//! the token goes       all that it exports went
//! ```
//!
//! What is found waits until importing has acted upon it; the next news wait in turn, as many as there is room for; then they are missing. So who says much says it to its own
//! follower, and to nobody else. Where nothing happens nothing is asked.

use crate::address::{Address, Offer, Place};
use crate::catalog::{Entry, LONGEST, News, Piece, Question};
use crate::error::Error;
use crate::facts::Facts;
use crate::pattern::Pattern;
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};
use zenoh::Wait;
use zenoh::pubsub::Subscriber;
use zenoh::sample::SampleKind;

/// How long one waits for a piece of a catalog.
const PATIENCE: Duration = Duration::from_secs(5);
/// So many questions are asked at one time …
const QUESTIONS: usize = 32;
/// … but who has not answered for so long has no turn any more.
const TURN: Duration = Duration::from_millis(500);
/// The first pause before a catalog is asked for again, and the longest.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// So many bundles of news of one bridge wait.
const NEWS: usize = 64;
/// So many mailboxes of one bridge are known at most: as many as are imported.
const KNOWN: usize = 4096;
/// So many bridges are followed.
const BRIDGES: usize = 4096;
/// No catalog has more pieces.
const PIECES: usize = 4096;

/// What was found out.
#[derive(Debug)]
pub(crate) enum Found {
    /// A mailbox is exported that is meant here.
    Came(Offer, Facts),
    /// It is no longer, or nothing is heard of it any more.
    Went(Offer),
}

/// As long as this is there, others are listened to.
#[derive(Debug)]
pub(crate) struct Discovery {
    _news: Subscriber<()>,
    _tokens: Subscriber<()>,
}

/// What all followers share.
struct Listening {
    session: zenoh::Session,
    /// What is meant here.
    patterns: Vec<Pattern>,
    found: mpsc::Sender<Found>,
    turns: Semaphore,
    runtime: Handle,
    bridges: Mutex<HashMap<Address, Followed>>,
    rubbish: AtomicU64,
}

/// A bridge that is followed, or was.
struct Followed {
    /// Where its follower hears of it; nothing, if its token went.
    ears: Option<Ears>,
    task: JoinHandle<()>,
}

struct Ears {
    /// Nothing: the catalog is to be asked for again.
    news: mpsc::Sender<Option<Vec<u8>>>,
    /// There was no room for some.
    missed: Arc<AtomicBool>,
    /// Dropped when the token goes.
    _there: oneshot::Sender<Infallible>,
}

impl Ears {
    fn tell(&self, news: Option<Vec<u8>>) {
        if self.news.try_send(news).is_err() {
            self.missed.store(true, SeqCst);
            // Who looks whether some were missed has heard something before: this, if all else was heard before that was noted.
            let _ = self.news.try_send(None);
        }
    }
}

impl Discovery {
    /// Listens to all bridges but this one.
    pub(crate) async fn new(
        session: &zenoh::Session,
        us: u128,
        patterns: &[Pattern],
        found: mpsc::Sender<Found>,
    ) -> Result<Discovery, Error> {
        let listening = Arc::new(Listening {
            session: session.clone(),
            patterns: patterns.to_vec(),
            found,
            turns: Semaphore::new(QUESTIONS),
            runtime: Handle::current(),
            bridges: Mutex::default(),
            rubbish: AtomicU64::new(0),
        });
        let failed = || Error::network("listen to what is exported");
        let hears = Arc::clone(&listening);
        let news = session.declare_subscriber(Place::News.of_all()).callback(move |sample| {
            let at = Address::of(sample.key_expr().as_str(), Place::News);
            if let Some(at) = at.filter(|at| at.bridge != us) {
                hears.news(&at, sample.payload());
            }
        });
        let news = news.await.map_err(failed())?;
        // After the news: what is not in a catalog by then is heard.
        let tokens = session.liveliness().declare_subscriber(Place::Exports.of_all()).history(true);
        let tokens = tokens.callback(move |sample| {
            let at = Address::of(sample.key_expr().as_str(), Place::Exports);
            match (at.filter(|at| at.bridge != us), sample.kind()) {
                (None, _) => {}
                (Some(at), SampleKind::Put) => listening.came(at),
                (Some(at), SampleKind::Delete) => listening.went(&at),
            }
        });
        let tokens = tokens.await.map_err(failed())?;
        Ok(Discovery { _news: news, _tokens: tokens })
    }
}

impl Listening {
    fn bridges(&self) -> std::sync::MutexGuard<'_, HashMap<Address, Followed>> {
        self.bridges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn came(self: &Arc<Self>, at: Address) {
        let mut bridges = self.bridges();
        bridges.retain(|_, followed| followed.ears.is_some() || !followed.task.is_finished());
        if let Some(ears) = bridges.get(&at).and_then(|followed| followed.ears.as_ref()) {
            return ears.tell(None);
        }
        if bridges.len() >= BRIDGES {
            return warn!("{} is not listened to: {BRIDGES} bridges are", at.host);
        }
        // One at one time: what went before goes before.
        let before = bridges.remove(&at).map(|followed| followed.task);
        let (news, heard) = mpsc::channel(NEWS);
        let (there, gone) = oneshot::channel();
        let missed = Arc::new(AtomicBool::new(false));
        let follower = Follower {
            at: at.clone(),
            listening: Arc::clone(self),
            heard,
            missed: Arc::clone(&missed),
            known: HashMap::new(),
        };
        let task = self.runtime.spawn(follower.run(before, gone));
        bridges.insert(at, Followed { ears: Some(Ears { news, missed, _there: there }), task });
    }

    fn went(&self, at: &Address) {
        if let Some(followed) = self.bridges().get_mut(at) {
            followed.ears = None;
        }
    }

    fn news(&self, at: &Address, news: &zenoh::bytes::ZBytes) {
        let bridges = self.bridges();
        // Before the token, all of it is in the catalog.
        let Some(ears) = bridges.get(at).and_then(|followed| followed.ears.as_ref()) else { return };
        if news.len() > LONGEST {
            return self.rubbish(at);
        }
        ears.tell(Some(news.to_bytes().into_owned()));
    }

    /// Told of each thousandth time: whoever says such says much of it.
    fn rubbish(&self, at: &Address) {
        if self.rubbish.fetch_add(1, Relaxed).is_multiple_of(1000) {
            warn!("something of what {} says that it exports can't be read, and was passed over", at.host);
        }
    }
}

/// Follows one bridge.
struct Follower {
    at: Address,
    listening: Arc<Listening>,
    heard: mpsc::Receiver<Option<Vec<u8>>>,
    missed: Arc<AtomicBool>,
    /// What came and did not go: ids, and names at home.
    known: HashMap<u128, String>,
}

/// What a catalog says.
struct Listed {
    /// The news after this one are to be heard.
    newest: u64,
    pieces: usize,
    /// Of what was known, what is there still.
    still: HashSet<u128>,
    new: Vec<Entry>,
}

impl Follower {
    async fn run(mut self, before: Option<JoinHandle<()>>, gone: oneshot::Receiver<Infallible>) {
        if let Some(before) = before {
            let _ = before.await;
        }
        tokio::select! {
            biased;
            _ = gone => {}
            never = self.follow() => match never {},
        }
        for mailbox in self.known.keys().copied().collect::<Vec<_>>() {
            self.went(mailbox).await;
        }
    }

    async fn follow(&mut self) -> Infallible {
        let mut pause = PAUSE;
        loop {
            let begin = Instant::now();
            // What was heard so far is in the catalog.
            while self.heard.try_recv().is_ok() {}
            self.missed.store(false, SeqCst);
            let why = match self.ask().await {
                Ok(listed) => self.go_on(listed).await.to_owned(),
                Err(why) => why,
            };
            debug!("the catalog of {} is asked for again: {why}", self.at.host);
            if begin.elapsed() > LONGEST_PAUSE {
                pause = PAUSE;
            }
            sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    /// The whole catalog; an error says why it can't be had.
    async fn ask(&self) -> Result<Listed, String> {
        let mut listed = Listed { newest: 0, pieces: 0, still: HashSet::new(), new: Vec::new() };
        let mut behind = None;
        loop {
            let bytes = self.ask_for(behind).await?;
            let piece = Piece::decode(&bytes).ok_or("a piece of it can't be read")?;
            if listed.pieces == 0 {
                listed.newest = piece.newest;
            }
            listed.pieces += 1;
            for entry in self.meant(&piece.entries) {
                if self.known.contains_key(&entry.mailbox) {
                    listed.still.insert(entry.mailbox);
                } else if listed.new.len() < KNOWN {
                    listed.new.push(entry);
                }
            }
            match piece.more {
                None => return Ok(listed),
                Some(more) if behind < Some(more) && listed.pieces < PIECES => behind = Some(more),
                Some(_) => return Err("it has no end".into()),
            }
        }
    }

    async fn ask_for(&self, behind: Option<u128>) -> Result<Vec<u8>, String> {
        let question = Question::new(behind, &self.listening.patterns).encode();
        let turn = self.listening.turns.acquire().await.map_err(|error| error.to_string())?;
        let (session, key) = (self.listening.session.clone(), self.at.key(Place::Catalog));
        // It may have to wait until it can be sent.
        let asked = spawn_blocking(move || session.get(key).payload(question).timeout(PATIENCE).wait());
        let asked = asked.await.map_err(|error| error.to_string())?;
        let answers = asked.map_err(|error| error.to_string())?;
        let answer = match timeout(TURN, answers.recv_async()).await {
            Ok(answer) => answer,
            Err(_) => {
                drop(turn);
                answers.recv_async().await
            }
        };
        let answer = answer.map_err(|_| "it was not answered".to_owned())?;
        let sample = answer.result().map_err(|_| "it was answered with an error".to_owned())?;
        if sample.payload().len() > LONGEST {
            return Err("a piece of it is too long".into());
        }
        Ok(sample.payload().to_bytes().into_owned())
    }

    /// Those that are meant here.
    fn meant(&self, entries: &[&[u8]]) -> impl Iterator<Item = Entry> {
        entries.iter().filter_map(|bytes| {
            let entry = Entry::decode(bytes);
            if entry.is_none() {
                self.listening.rubbish(&self.at);
            }
            entry.filter(|entry| {
                let called = format!("{}{}", self.at.prefix, entry.name);
                self.listening.patterns.iter().any(|pattern| pattern.matches(&called))
            })
        })
    }

    /// Acts upon a catalog and then upon news, until some are missing; says why the catalog is wanted again.
    async fn go_on(&mut self, listed: Listed) -> &'static str {
        let Listed { newest, pieces, still, new } = listed;
        let over = self.known.keys().filter(|mailbox| !still.contains(mailbox)).copied();
        for mailbox in over.collect::<Vec<_>>() {
            self.went(mailbox).await;
        }
        for entry in new {
            self.came(entry).await;
        }
        let (host, count) = (&self.at.host, self.known.len());
        debug!("{count} mailboxes of {host} are meant here; its catalog came in pieces: {pieces}");
        let mut known_to = newest;
        loop {
            let bytes = match self.heard.recv().await {
                Some(Some(bytes)) => bytes,
                Some(None) => return "its token came again, or there was no room for its news",
                None => std::future::pending().await, // the token is gone
            };
            match News::decode(&bytes) {
                None => self.listening.rubbish(&self.at),
                Some(news) if news.newest <= known_to => {}
                Some(news) if news.before > known_to => return "news are missing",
                Some(news) => {
                    for mailbox in &news.went {
                        self.went(*mailbox).await;
                    }
                    for entry in self.meant(&news.came).collect::<Vec<_>>() {
                        self.came(entry).await;
                    }
                    known_to = news.newest;
                }
            }
            if self.heard.is_empty() && self.missed.load(SeqCst) {
                return "there was no room for all of its news";
            }
        }
    }

    async fn came(&mut self, Entry { mailbox, name, facts }: Entry) {
        if self.known.contains_key(&mailbox) {
            return;
        }
        if self.known.len() >= KNOWN {
            return debug!("{name:?} of {} is passed over: it exports too many", self.at.host);
        }
        self.known.insert(mailbox, name.clone());
        let offer = Offer { at: self.at.clone(), mailbox, name };
        let _ = self.listening.found.send(Found::Came(offer, facts)).await; // the bridge ends
    }

    async fn went(&mut self, mailbox: u128) {
        let Some(name) = self.known.get(&mailbox).cloned() else { return };
        let offer = Offer { at: self.at.clone(), mailbox, name };
        let _ = self.listening.found.send(Found::Went(offer)).await; // as above
        self.known.remove(&mailbox);
    }
}
