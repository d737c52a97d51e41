//! What was carried, counted: for `tubepost stat`, in a table of the domain.
//!
//! Who carries counts in memory; what changed is written to the table a moment later, and nothing while nothing happens. A mailbox that is over is
//! forgotten. **What if it dies here?** What was counted in that moment is not told; the next bridge begins with what the table says.

use crate::error::Error;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tracing::debug;
use tubepost::{Carried, Domain, Table};

/// So many mailboxes are counted for; of others nothing is told.
const MOST: u64 = 8192;
/// What changed is told after so long.
const SOON: Duration = Duration::from_millis(200);

/// Of one mailbox.
#[derive(Debug, Default)]
pub(crate) struct Count {
    sent_on: AtomicU64,
    placed: AtomicU64,
    collected: AtomicU64,
    sent_again: AtomicU64,
    duplicates: AtomicU64,
    breaks: AtomicU64,
    changed: Arc<Notify>,
}

impl Count {
    fn add(&self, to: &AtomicU64, number: u64) {
        if number > 0 {
            to.fetch_add(number, Relaxed);
            self.changed.notify_one();
        }
    }

    /// Went to the other side, or came from there.
    pub(crate) fn sent_on(&self) {
        self.add(&self.sent_on, 1);
    }

    /// Came from the other side, and was placed here.
    pub(crate) fn came_in(&self) {
        self.sent_on.fetch_add(1, Relaxed);
        self.placed(1);
    }

    pub(crate) fn sent_again(&self) {
        self.add(&self.sent_again, 1);
    }

    pub(crate) fn placed(&self, number: u64) {
        self.add(&self.placed, number);
    }

    pub(crate) fn collected(&self, number: u64) {
        self.add(&self.collected, number);
    }

    pub(crate) fn duplicate(&self) {
        self.add(&self.duplicates, 1);
    }

    pub(crate) fn broke(&self) {
        self.add(&self.breaks, 1);
    }

    fn told(&self) -> Carried {
        let of = |count: &AtomicU64| count.load(Relaxed);
        Carried {
            sent_on: of(&self.sent_on),
            placed: of(&self.placed),
            collected: of(&self.collected),
            sent_again: of(&self.sent_again),
            duplicates: of(&self.duplicates),
            breaks: of(&self.breaks),
        }
    }
}

/// Of all.
#[derive(Debug)]
pub(crate) struct Counts {
    table: Table<[u8; 16], Carried>,
    all: Mutex<HashMap<u128, (Arc<Count>, Carried)>>,
    changed: Arc<Notify>,
}

impl Counts {
    pub(crate) fn open(domain: &Domain) -> Result<Arc<Counts>, Error> {
        let options = || Table::options().domain(domain).member("bridge").mode(0o644);
        let table = match options().capacity(MOST).create(Carried::TABLE) {
            Err(tubepost::Error::Exists { .. }) => options().open(Carried::TABLE)?,
            made => made?,
        };
        Ok(Arc::new(Counts { table, all: Mutex::default(), changed: Arc::default() }))
    }

    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<u128, (Arc<Count>, Carried)>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts for a mailbox; on from what was counted before.
    pub(crate) fn of(&self, mailbox: u128) -> Arc<Count> {
        let mut all = self.all();
        if let Some((count, _)) = all.get(&mailbox) {
            return Arc::clone(count);
        }
        let before = self.table.get(&mailbox.to_be_bytes()).ok().flatten().unwrap_or_default();
        let count = Arc::new(Count {
            sent_on: before.sent_on.into(),
            placed: before.placed.into(),
            collected: before.collected.into(),
            sent_again: before.sent_again.into(),
            duplicates: before.duplicates.into(),
            breaks: before.breaks.into(),
            changed: Arc::clone(&self.changed),
        });
        all.insert(mailbox, (Arc::clone(&count), before));
        count
    }

    /// A mailbox is over.
    pub(crate) fn forget(&self, mailbox: u128) {
        self.all().remove(&mailbox);
        if let Err(error) = self.table.remove(&mailbox.to_be_bytes()) {
            debug!(%error, "what was carried for a mailbox that is over is still told");
        }
    }

    /// Tells what changes, for ever.
    pub(crate) async fn tell(&self) {
        loop {
            self.changed.notified().await;
            tokio::time::sleep(SOON).await;
            self.tell_now();
        }
    }

    pub(crate) fn tell_now(&self) {
        for (mailbox, (count, told)) in self.all().iter_mut() {
            let now = count.told();
            if now == *told {
                continue;
            }
            *told = now;
            if let Err(error) = self.table.insert(&mailbox.to_be_bytes(), &now) {
                debug!(%error, "what was carried can't be told");
            }
        }
    }
}
