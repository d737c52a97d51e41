//! Waiting for a new version.

use super::Hold;
use crate::error::Error;
use crate::sync::wait::poll;
use std::cell::Cell;
use std::time::{Duration, Instant};

impl Hold {
    /// A version after `since`, or why there will be none.
    pub(crate) fn changed(&self, since: u64) -> Option<Result<u64, Error>> {
        match self.version() {
            Ok(version) if version <= since => None,
            other => Some(other),
        }
    }

    /// Has this process told of who might die; for how long one may wait for a version.
    pub(crate) fn look_before_waiting(&self) -> Result<Duration, Error> {
        self.may_sleep()
    }

    /// Waits for a version after `since`.
    pub(crate) fn wait_for_change(&self, since: u64, deadline: Option<Instant>) -> Result<u64, Error> {
        let changed = || self.changed(since);
        if let Some(done) = changed() {
            return done;
        }
        let found = Cell::new(None);
        poll(self.at.spin(), deadline, || {
            found.set(changed());
            let there = found.take();
            let is = there.is_some();
            found.set(there);
            is
        });
        if let Some(done) = found.take() {
            return done;
        }
        let waited = self.at.segment.messages().wait(deadline, changed, || self.may_sleep().map_err(Err));
        waited.unwrap_or(Err(Error::TimedOut))
    }
}
