//! `tubepost-bridge`: mailboxes of this host for others, and those of others here.

use clap::Parser;
use std::ffi::OsString;
use std::io::PipeWriter;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;
use tracing_subscriber::EnvFilter;
use tubepost::Domain;
use tubepost_bridge::{Error, Options, Pattern, guard, lease, run};

/// Gives mailboxes of this host to others, and has those of others here.
///
/// One bridge runs on each host. Local processes send to an imported mailbox as to any; docs/network.md tells what is different. It runs until
/// it is interrupted; what is imported stays then, with what waits in it, for the next one, if that comes within the lease.
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
    /// Keep what is sent to imported mailboxes in files in this directory: who sends goes on while the network is down, also when this machine starts again
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    /// The longest message, in bytes, that is let in from other hosts
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    max_message: Option<u64>,
    /// How many bytes of messages are let in from each other host in a second; more wait
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    max_rate: Option<u64>,
    /// Be the guard of a bridge, whose end is that of the standard input, with this lease in milliseconds
    #[arg(long, value_name = "MILLISECONDS", hide = true)]
    guard: Option<u64>,
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

/// Starts the guard of this bridge, which lives as long as the pipe that is given is open, and somewhat longer.
fn guarded(options: &Options) -> Result<PipeWriter, Error> {
    let system = |why| Error::System { doing: "start a guard for imported mailboxes", why };
    let (its, ours) = std::io::pipe().map_err(system)?;
    let guard = Command::new(std::env::current_exe().map_err(system)?)
        .arg("--domain")
        .arg(options.domain.path())
        .args(["--guard", &lease(options)?.as_millis().to_string()])
        .stdin(its)
        .stdout(Stdio::null())
        .process_group(0) // what interrupts the bridge is not for it
        .spawn()
        .map_err(system)?;
    drop(guard); // it outlives this process
    Ok(ours)
}

/// Each mailbox takes some: as many may be open as the system lets this process have.
fn have_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = rustix::process::Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, most) {
        warn!(%error, "no more descriptors can be had: three for each imported mailbox");
    }
}

fn start(cli: Cli) -> Result<(), Error> {
    let domain = match &cli.domain {
        Some(name_or_path) => Domain::open(name_or_path)?,
        None => Domain::open_default()?,
    };
    if let Some(lease) = cli.guard {
        let closed = guard(&domain, Duration::from_millis(lease), std::io::stdin().lock())?;
        closed.iter().for_each(|name| warn!("{name:?} is closed: the bridge is gone"));
        return Ok(());
    }
    have_descriptors();
    let options = Options {
        domain,
        listen: cli.listen,
        connect: cli.connect,
        zenoh_config: cli.zenoh_config,
        export: cli.export,
        import: cli.import,
        prefix: cli.prefix,
        spool: cli.spool,
        max_message: cli.max_message,
        max_rate: cli.max_rate,
    };
    let _guard = if options.import.is_empty() { None } else { Some(guarded(&options)?) };
    let system = |why| Error::System { doing: "start", why };
    // One thread carries all. Where a way out is blocked, who speaks there keeps it, and another one goes on: so many may be blocked.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).max_blocking_threads(8192).enable_all().build();
    let runtime = runtime.map_err(system)?;
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
