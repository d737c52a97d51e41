//! Waiting for a new version.

use super::Hold;
use crate::error::Error;
use crate::sync::wait::poll;
use std::cell::Cell;
use std::time::Instant;

impl Hold {
    /// Waits for a version after `since`.
    pub(crate) fn wait_for_change(&self, since: u64, deadline: Option<Instant>) -> Result<u64, Error> {
        let changed = || match self.version() {
            Ok(version) if version <= since => None,
            other => Some(other),
        };
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
