//! `tubepost-bridge`: mailboxes of this host for others, and those of others here.

use clap::Parser;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tubepost::Domain;
use tubepost_bridge::{Error, Options, Pattern, run};

/// Gives mailboxes of this host to others, and has those of others here.
///
/// One bridge runs on each host. Local processes send to an imported mailbox as to any; docs/network.md tells what is different. It runs until
/// it is interrupted; what is imported stays then, with what waits in it, for the next one.
///
/// On the host that has the mailboxes:  tubepost-bridge --listen tcp/[::]:7447 --export 'plant/*'
/// on another:                          tubepost-bridge --connect tcp/HOST:7447 --import 'plant/*'
///
/// What it does is logged to standard error; RUST_LOG=debug says more, RUST_LOG=warn less.
#[derive(Parser)]
#[command(version, verbatim_doc_comment)]
struct Cli {
    /// The domain, by name or path; else what TUBEPOST_DOMAIN says, or the user's own
    #[arg(long)]
    domain: Option<OsString>,
    /// Where other bridges connect to this one: tcp/HOST:PORT or tls/HOST:PORT
    #[arg(long, value_name = "ENDPOINT")]
    listen: Vec<String>,
    /// Another bridge, or a router, to connect to
    #[arg(long, value_name = "ENDPOINT")]
    connect: Vec<String>,
    /// A configuration of zenoh (JSON5): certificates, access control, leases
    #[arg(long, value_name = "FILE")]
    zenoh_config: Option<PathBuf>,
    /// Mailboxes that other hosts may send to: a name, or a pattern with * and ?
    #[arg(long, value_name = "PATTERN")]
    export: Vec<Pattern>,
    /// Mailboxes of other hosts to have here: a name, or a pattern with * and ?
    #[arg(long, value_name = "PATTERN")]
    import: Vec<Pattern>,
    /// What comes before the names of exported mailboxes on other hosts, such as berlin/
    #[arg(long = "as", value_name = "PREFIX", default_value = "")]
    prefix: String,
}

fn main() -> ExitCode {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,tubepost_bridge=info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
    match start(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tubepost-bridge: {error}");
            ExitCode::from(match error {
                Error::Nowhere | Error::Nothing => 2,
                _ => 1,
            })
        }
    }
}

fn start(cli: Cli) -> Result<(), Error> {
    let domain = match &cli.domain {
        Some(name_or_path) => Domain::open(name_or_path)?,
        None => Domain::open_default()?,
    };
    let options = Options {
        domain,
        listen: cli.listen,
        connect: cli.connect,
        zenoh_config: cli.zenoh_config,
        export: cli.export,
        import: cli.import,
        prefix: cli.prefix,
    };
    let system = |why| Error::System { doing: "start", why };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(system)?;
    runtime.block_on(async {
        let told_to_end = |kind| signal(kind).map_err(system);
        let (mut interrupt, mut end) =
            (told_to_end(SignalKind::interrupt())?, told_to_end(SignalKind::terminate())?);
        let stop = async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = end.recv() => {}
            }
        };
        run(options, stop).await
    })
}
