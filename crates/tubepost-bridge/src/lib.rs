//! Mailboxes of one host, used on others: a bridge between a domain of tubepost and a network of zenoh.
//!
//! One bridge runs on each host. It [exports](Options::export) mailboxes of its domain, and [imports](Options::import) those that others export: an imported
//! one is there under its name, and local processes send to it as to any. Nothing leaves a host that was not exported. `docs/network.md` tells what is the same
//! as on one host, and what is not.
//!
//! ```no_run
//! use tubepost::Domain;
//! use tubepost_bridge::{Options, Pattern, run};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let options = Options {
//!     listen: vec!["tcp/[::]:7447".into()],
//!     export: vec![Pattern::new("plant/*")?],
//!     ..Options::new(Domain::open_default()?)
//! };
//! run(options, std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```

mod address;
mod announce;
mod answering;
mod asking;
mod carried;
mod catalog;
mod discovery;
mod error;
mod export;
mod facts;
mod frame;
mod guard;
mod import;
mod incoming;
mod kept;
mod limits;
mod making;
mod network;
mod outgoing;
mod pattern;
mod spool;
mod stream;
mod watch;
mod wire;

pub use error::Error;
pub use guard::guard;
pub use network::{LEASE, lease};
pub use pattern::Pattern;

use address::{Address, host_in_keys};
use carried::Counts;
use discovery::Discovery;
use export::Exports;
use import::{Event, Imports};
use kept::Kept;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;
use tracing::{info, warn};
use tubepost::Domain;
use watch::{Changed, Watch};
use wire::Wire;

/// So much of what others export waits for importing.
const FOUND: usize = 64;

/// What a bridge is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The domain whose mailboxes are meant.
    pub domain: Domain,
    /// Where other bridges connect to this one: endpoints of zenoh, such as `tcp/[::]:7447`.
    pub listen: Vec<String>,
    /// Where this bridge connects to.
    pub connect: Vec<String>,
    /// A configuration of zenoh: certificates, access control, routers. What is said above is added.
    pub zenoh_config: Option<PathBuf>,
    /// Mailboxes of this domain that other hosts may send to.
    pub export: Vec<Pattern>,
    /// Mailboxes of other hosts to have here, by the names that they have outside of their hosts.
    pub import: Vec<Pattern>,
    /// What comes before the names of exported mailboxes outside of this host.
    pub prefix: String,
    /// Where stand-ins are kept, in files, so that who sends goes on while the network is down, or the machine starts again. Else they are in memory.
    pub spool: Option<PathBuf>,
    /// The longest message that is let in from other hosts, in bytes.
    pub max_message: Option<u64>,
    /// How many bytes of messages are let in from each other host in a second; more wait.
    pub max_rate: Option<u64>,
}

impl Options {
    /// A bridge of this domain that does nothing so far.
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-bridge-{}", std::process::id());
    /// let options = tubepost_bridge::Options::new(tubepost::Domain::open(&dir)?);
    /// assert!(options.export.is_empty());
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), tubepost::Error>(())
    /// ```
    pub fn new(domain: Domain) -> Options {
        Options {
            domain,
            listen: Vec::new(),
            connect: Vec::new(),
            zenoh_config: None,
            export: Vec::new(),
            import: Vec::new(),
            prefix: String::new(),
            spool: None,
            max_message: None,
            max_rate: None,
        }
    }
}

/// Runs a bridge until `stop` is done. Mailboxes that are imported stay, with what is in them, for the next one.
///
/// In a tokio runtime of several threads, as zenoh wants it, and not in a `LocalSet`.
///
/// # Errors
///
/// [`Error::Nowhere`], [`Error::Nothing`] if there would be nothing to do; [`Error::Running`] if the domain has a bridge; [`Error::Domain`],
/// [`Error::Network`] or [`Error::System`] if something else prevents it.
pub async fn run(options: Options, stop: impl Future<Output = ()>) -> Result<(), Error> {
    if options.listen.is_empty() && options.connect.is_empty() && options.zenoh_config.is_none() {
        return Err(Error::Nowhere);
    }
    if options.export.is_empty() && options.import.is_empty() {
        return Err(Error::Nothing);
    }
    let kept = Arc::new(Kept::open(&options.domain)?);
    let (session, lease) = network::open(&options).await?;
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let me = Address {
        prefix: options.prefix.clone(),
        host: host_in_keys(&host),
        bridge: kept.bridge,
        run: kept::fresh(),
    };
    info!("the bridge of {} is {}", options.domain.path().display(), me.inbox());
    let (wire, mut openings) = Wire::new(session, me).await?;
    let wire = Arc::new(wire);

    let counts = Counts::open(&options.domain)?;
    let watch = Watch::new(&options.domain)?;
    let (events, mut happened) = mpsc::unbounded_channel();
    let (look, mut free) = mpsc::unbounded_channel();
    let (find, mut found) = mpsc::channel(FOUND);
    let mut imports = Imports::new(&options, &wire, &kept, &counts, lease, events.clone())?;
    let _discovery = match options.import.is_empty() {
        true => None,
        false => Some(Discovery::new(&wire.session, kept.bridge, &options.import, find).await?),
    };
    let exports = Exports::new(&options, &wire, &kept, &counts, imports.stand_ins(), look);
    exports.look_at_all()?;
    let _announcement = exports.announce().await?;

    let importing = async {
        loop {
            tokio::select! {
                Some(event) = happened.recv() => imports.act(event).await,
                Some(found) = found.recv() => imports.found(found).await,
                else => return,
            }
        }
    };
    let opening = async {
        while let Some(opening) = openings.recv().await {
            exports.open(opening).await;
        }
    };
    let watching = async {
        loop {
            tokio::select! {
                name = free.recv() => match name {
                    Some(name) => exports.look_at(&name),
                    None => return Ok(()),
                },
                changed = watch.changed() => match changed? {
                    Changed::Names(names) => {
                        for name in names {
                            exports.look_at(&name);
                            let _ = events.send(Event::Look(name)); // importing ends with the bridge
                        }
                    }
                    Changed::Anything => exports.look_at_all()?,
                },
            }
        }
    };
    let done = tokio::select! {
        () = stop => Ok(()),
        () = importing => Ok(()),
        () = opening => Ok(()),
        () = counts.tell() => Ok(()),
        watched = watching => watched,
    };
    counts.tell_now();
    if let Err(error) = wire.session.close().await {
        warn!(%error, "the network was not left in order");
    }
    done
}
