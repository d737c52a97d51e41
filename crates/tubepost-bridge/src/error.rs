//! What goes wrong with a bridge as a whole. What goes wrong with one mailbox or one peer is told in its log, and costs no more than that.

use std::path::PathBuf;

/// Why a bridge can't run.
///
/// ```
/// let error = tubepost_bridge::Error::Nowhere;
/// assert!(error.to_string().contains("--listen"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The domain, or what the bridge keeps in it.
    #[error(transparent)]
    Domain(#[from] tubepost::Error),
    /// A bridge runs in this domain.
    #[error(
        "process {pid} is the bridge of {domain}; there is one for each domain: end it, or give it these exports and imports"
    )]
    Running {
        /// The domain.
        domain: PathBuf,
        /// The other bridge.
        pid: u32,
    },
    /// Nobody could be reached.
    #[error("there is no way to other hosts: give --listen, --connect or --zenoh-config")]
    Nowhere,
    /// There would be nothing to do.
    #[error(
        "there is nothing to do: give --export or --import, with names or patterns such as 'plant/*', in quotes"
    )]
    Nothing,
    /// The network.
    #[error(
        "zenoh can't {doing}: {why}; see the endpoints (tcp/HOST:PORT, tls/HOST:PORT) and the configuration file"
    )]
    Network {
        /// What was tried.
        doing: &'static str,
        /// What zenoh says.
        why: String,
    },
    /// The system said no.
    #[error("can't {doing}: {why}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// What the system says.
        why: std::io::Error,
    },
}

impl Error {
    pub(crate) fn network(doing: &'static str) -> impl FnOnce(zenoh::Error) -> Error {
        move |why| Error::Network { doing, why: why.to_string() }
    }

    pub(crate) fn system<E: Into<std::io::Error>>(doing: &'static str) -> impl FnOnce(E) -> Error {
        move |why| Error::System { doing, why: why.into() }
    }
}
