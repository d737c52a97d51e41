//! When the bridge is gone for good, who sends to its stand-ins is told: by a small process that does nothing else.
//!
//! It is started by the bridge, and hears that the bridge ended, in whatever way, by a pipe whose other end nobody else has. Then it waits as long as the lease, and if the domain
//! has had no bridge since, it removes the stand-ins that are in memory. (What is in a spool is there to be sent later, and stays.)
//!
//! **What if it dies here?** Then nobody says `Closed` until a bridge runs again: that one takes the stand-ins over, or closes them. A guard that dies in removing them leaves the
//! rest to that.

use crate::kept::{self, Kept};
use std::io::Read;
use std::time::Duration;
use tubepost::{Domain, Error, OwnerKind, Strategy};

/// Waits until the bridge has ended, which is when `bridge` ends, and as long as the lease; then closes the stand-ins of this domain, unless it has a bridge
/// again. Gives their names.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-bridge-guard-{}", std::process::id());
/// let domain = tubepost::Domain::open(&dir)?;
/// let closed = tubepost_bridge::guard(&domain, std::time::Duration::ZERO, std::io::empty())?;
/// assert!(closed.is_empty()); // nothing was imported here
/// # std::fs::remove_dir_all(&dir).unwrap();
/// # Ok::<(), tubepost::Error>(())
/// ```
///
/// # Errors
///
/// Those of the domain, if what the bridge kept can't be read.
pub fn guard(domain: &Domain, lease: Duration, mut bridge: impl Read) -> Result<Vec<String>, Error> {
    let mut nothing = [0; 64];
    while bridge.read(&mut nothing).is_ok_and(|length| length > 0) {}
    // A later bridge has a guard of its own, also if it is gone again by then.
    let Some(runs) = Kept::runs_so_far(domain)? else { return Ok(Vec::new()) };
    std::thread::sleep(lease);
    if !domain.path().is_dir() || Kept::runs_so_far(domain)? != Some(runs) {
        return Ok(Vec::new());
    }
    let mut closed = Vec::new();
    for standing in Kept::stand_ins_of(domain)? {
        let Ok(stat) = domain.stat(&standing.name) else { continue };
        let ours = stat.owner.kind == OwnerKind::System && Some(kept::number_of(stat.id)) == standing.id;
        if ours && stat.strategy != Strategy::File && domain.remove(&standing.name).is_ok() {
            closed.push(standing.name);
        }
    }
    Ok(closed)
}
