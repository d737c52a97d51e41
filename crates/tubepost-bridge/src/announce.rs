//! Telling other bridges what this one exports: a token, which says that it is there; a queryable, which answers with the catalog; and news.
//!
//! Whatever is said here may have to wait for a slow importer, for zenoh is asked to block where it would drop: threads of their own say it, and hold up nothing else.
//! Nothing is said while nothing happens, but once, a moment after the last news: their number, so that who missed them asks.

use crate::address::{Address, Place};
use crate::catalog::Catalog;
use crate::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::debug;
use zenoh::Wait;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Publisher;
use zenoh::qos::{CongestionControl, Reliability};
use zenoh::query::{Query, Queryable};

/// So many may be waiting for an answer. Who finds no room asks again.
const ASKING: usize = 256;
/// So many answers may be under way at one time.
const ANSWERS: usize = 8;
/// After so long the number of the last news is said again.
const MOMENT: Duration = Duration::from_secs(1);

/// As long as this is there, others know of it.
#[derive(Debug)]
pub(crate) struct Announcement {
    _token: LivelinessToken,
    _queryable: Queryable<()>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Announcement {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Announcement {
    /// Tells of this catalog, from now on.
    pub(crate) async fn new(
        session: &zenoh::Session,
        me: &Address,
        catalog: &Arc<Catalog>,
    ) -> Result<Announcement, Error> {
        let failed = || Error::network("tell what is exported");
        let publisher = session
            .declare_publisher(me.key(Place::News))
            .congestion_control(CongestionControl::Block)
            .reliability(Reliability::Reliable)
            .await
            .map_err(failed())?;
        let (asked, questions) = mpsc::channel(ASKING);
        let queryable = session.declare_queryable(me.key(Place::Catalog)).callback(move |query| {
            let _ = asked.try_send(query); // who is not answered asks again
        });
        let queryable = queryable.await.map_err(failed())?;
        let tasks = [
            tokio::spawn(tell(Arc::new(publisher), Arc::clone(catalog))),
            tokio::spawn(answer(me.key(Place::Catalog), questions, Arc::clone(catalog))),
        ];
        // The last one: who hears of it finds all the rest.
        let token = session.liveliness().declare_token(me.key(Place::Exports)).await.map_err(failed())?;
        Ok(Announcement { _token: token, _queryable: queryable, tasks })
    }
}

async fn tell(publisher: Arc<Publisher<'static>>, catalog: Arc<Catalog>) {
    let put = async |news: Vec<u8>| {
        let publisher = Arc::clone(&publisher);
        match spawn_blocking(move || publisher.put(news).wait()).await {
            Ok(Ok(())) => {}
            // What does not arrive is found missing by its number.
            Ok(Err(error)) => debug!(%error, "there are news that can't be told"),
            Err(error) => debug!(%error, "there are news that were not told"),
        }
    };
    loop {
        catalog.changed.notified().await;
        loop {
            while let Some(news) = catalog.news() {
                put(news).await;
            }
            tokio::select! {
                () = catalog.changed.notified() => {}
                () = tokio::time::sleep(MOMENT) => break,
            }
        }
        put(catalog.no_news()).await;
    }
}

async fn answer(key: String, mut questions: mpsc::Receiver<Query>, catalog: Arc<Catalog>) {
    let turns = Arc::new(Semaphore::new(ANSWERS));
    while let Some(query) = questions.recv().await {
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
        let (catalog, key) = (Arc::clone(&catalog), key.clone());
        spawn_blocking(move || {
            let _turn = turn;
            let question = query.payload().map(|payload| payload.to_bytes());
            let Some(answer) = question.and_then(|question| catalog.answer(&question)) else {
                return debug!("a question for the catalog that is none was passed over");
            };
            if let Err(error) = query.reply(key, answer).wait() {
                debug!(%error, "somebody who asked could not be told");
            }
        });
    }
}
