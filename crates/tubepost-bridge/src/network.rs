//! The session with zenoh: its configuration.

use crate::Options;
use crate::error::Error;
use std::time::Duration;
use zenoh::Config;

/// For how long nothing has to be heard of a host until it counts as gone, if no configuration of zenoh says another time: a link's lease, and as long again
/// for a bridge to come back.
pub const LEASE: Duration = Duration::from_secs(10);

/// For how long an exporter may be gone: of these options, or the configuration that they name.
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-bridge-lease-{}", std::process::id());
/// let options = tubepost_bridge::Options::new(tubepost::Domain::open(&dir)?);
/// assert_eq!(tubepost_bridge::lease(&options)?, tubepost_bridge::LEASE / 2); // after as long until zenoh gives the link up
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), tubepost_bridge::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Network`] if the configuration can't be read.
pub fn lease(options: &Options) -> Result<Duration, Error> {
    configured(options).map(|(_, lease)| lease)
}

/// Joins the network. Also says for how long an exporter may be gone.
pub(crate) async fn open(options: &Options) -> Result<(zenoh::Session, Duration), Error> {
    let (config, lease) = configured(options)?;
    let session = zenoh::open(config).await.map_err(Error::network("join the network"))?;
    Ok((session, lease))
}

fn configured(options: &Options) -> Result<(Config, Duration), Error> {
    let configure = || Error::network("be configured so");
    let mut config = match &options.zenoh_config {
        Some(path) => Config::from_file(path).map_err(Error::network("read its configuration"))?,
        None => {
            let mut config = Config::default();
            let half = (LEASE / 2).as_millis().to_string();
            // Nobody is found, and nobody is let in, who was not named.
            for (key, value) in [
                ("scouting/multicast/enabled", "false"),
                ("listen/endpoints", "[]"),
                ("transport/link/tx/lease", &half),
                // A host that comes back is found soon.
                ("connect/retry", "{ period_init_ms: 100, period_max_ms: 1000, period_increase_factor: 2 }"),
            ] {
                config.insert_json5(key, value).map_err(configure())?;
            }
            config
        }
    };
    for (key, endpoints) in [("listen/endpoints", &options.listen), ("connect/endpoints", &options.connect)] {
        if !endpoints.is_empty() {
            let quoted: Vec<String> = endpoints.iter().map(|endpoint| format!("{endpoint:?}")).collect();
            config.insert_json5(key, &format!("[{}]", quoted.join(","))).map_err(configure())?;
        }
    }
    let lease = config.get_json("transport/link/tx/lease").ok().and_then(|text| text.parse().ok());
    let lease = lease.map_or(LEASE / 2, Duration::from_millis);
    Ok((config, lease))
}
