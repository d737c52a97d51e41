//! What one peer may say here: how long messages may be, how many bytes may come in a second, how many streams it may have.
//!
//! A peer is a bridge by what it says of itself; who has certificates knows that it is so. Who says more waits: its messages are placed later, and until then it has no
//! credit for others. Nobody else waits for that.

use crate::address::Address;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// So many streams one peer has at most: as many mailboxes as a bridge imports.
pub(crate) const STREAMS: usize = 4096;

/// What was chosen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// The longest message, in bytes.
    pub(crate) message: Option<u64>,
    /// So many bytes in a second.
    pub(crate) rate: Option<u64>,
}

/// When a peer's next message may be placed.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: u64,
    next: Mutex<Instant>,
}

/// Those of all peers.
#[derive(Debug, Default)]
pub(crate) struct Paces(Mutex<HashMap<(String, u128), Arc<Pace>>>);

impl Paces {
    /// The pace of a peer; nothing, if there is no limit.
    pub(crate) fn of(&self, peer: &Address, limits: &Limits) -> Option<Arc<Pace>> {
        let rate = limits.rate?;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, pace| Arc::strong_count(pace) > 1 || pace.is_late());
        let pace = all.entry((peer.host.clone(), peer.bridge));
        Some(Arc::clone(pace.or_insert_with(|| Arc::new(Pace { rate, next: Mutex::new(Instant::now()) }))))
    }
}

impl Pace {
    fn is_late(&self) -> bool {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) > Instant::now()
    }

    /// Waits for the turn of a message of so many bytes.
    pub(crate) async fn pass(&self, bytes: usize) {
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = (*next).max(Instant::now());
            *next = turn + Duration::from_secs_f64(bytes as f64 / self.rate.max(1) as f64);
            turn
        };
        sleep_until(turn).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_has_its_rate_on_the_average_and_no_other_waits() {
        let (paces, limits) = (Paces::default(), Limits { message: None, rate: Some(10_000) });
        let peer = |bridge| Address { prefix: String::new(), host: "h".into(), bridge, run: 1 };
        let (one, other) = (paces.of(&peer(1), &limits).unwrap(), paces.of(&peer(2), &limits).unwrap());
        let begin = Instant::now();
        for _ in 0..5 {
            one.pass(500).await;
        }
        assert!(begin.elapsed() >= Duration::from_millis(200)); // the first one need not wait
        let begin = Instant::now();
        other.pass(500).await;
        assert!(begin.elapsed() < Duration::from_millis(40));
        assert!(paces.of(&peer(1), &Limits::default()).is_none());
        // A new stream of the same peer goes on where it was.
        one.pass(5_000).await;
        drop(one);
        let begin = Instant::now();
        paces.of(&peer(1), &limits).unwrap().pass(1).await;
        assert!(begin.elapsed() > Duration::from_millis(300));
    }
}
