//! Hosts on one machine: each is a domain with a bridge of its own, a real process, in a network namespace of its own if that is asked for.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tubepost::Domain;

/// Longer than anything takes that goes well.
pub const PATIENCE: Duration = Duration::from_secs(30);

static COUNT: AtomicU32 = AtomicU32::new(0);

fn count() -> u32 {
    COUNT.fetch_add(1, Relaxed)
}

/// Waits until something is so.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2)); // between two looks
    }
}

/// Says that a test can't run here; where nothing may be skipped it fails.
pub fn skip(test: &str, why: &str) {
    use std::io::Write;
    assert!(std::env::var_os("TUBEPOST_TESTS_NO_SKIP").is_none(), "{test} cannot run here: {why}");
    // Straight to the descriptor: libtest would swallow a println of a passing test.
    let _ = std::io::stdout().lock().write_all(format!("SKIP {test}: {why}\n").as_bytes());
}

/// A host.
pub struct Host {
    pub domain: Domain,
    args: Vec<String>,
    namespace: Option<String>,
    log: PathBuf,
    bridge: Option<Child>,
}

impl Host {
    /// A host whose bridge is started with these arguments.
    pub fn new(args: &[&str]) -> Host {
        Host::within(None, args)
    }

    /// The same in a network namespace.
    pub fn within(namespace: Option<&str>, args: &[&str]) -> Host {
        let path = format!("/dev/shm/tubepost-hosts-{}-{}", std::process::id(), count());
        let mut host = Host {
            domain: Domain::open(&path).expect("a fresh domain"),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            namespace: namespace.map(str::to_owned),
            log: format!("{path}.log").into(),
            bridge: None,
        };
        host.start();
        host
    }

    pub fn start(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log).expect("a log");
        let bridge = env!("CARGO_BIN_EXE_tubepost-bridge");
        let mut command = match &self.namespace {
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace, bridge]);
                command
            }
            None => Command::new(bridge),
        };
        command.arg("--domain").arg(self.domain.path()).args(&self.args);
        command.env("RUST_LOG", "warn,tubepost_bridge=debug").stdin(Stdio::null()).stderr(log);
        self.bridge = Some(command.spawn().expect("the bridge starts"));
    }

    /// What the bridge said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut bridge) = self.bridge.take() {
            bridge.kill().expect("it is ours");
            bridge.wait().expect("it is ours");
        }
    }

    /// SIGTERM, and whether it ended well.
    pub fn end(&mut self) -> bool {
        let mut bridge = self.bridge.take().expect("it runs");
        let pid = rustix::process::Pid::from_child(&bridge);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is ours");
        bridge.wait().expect("it is ours").success()
    }

    /// Waits until this is here.
    #[track_caller]
    pub fn until_there(&self, name: &str) {
        let end = Instant::now() + PATIENCE;
        while self.domain.stat(name).is_err() {
            assert!(Instant::now() < end, "{name:?} is not there; the bridge said:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2)); // between two looks
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("the bridge of {} said:\n{}", self.domain.path().display(), self.log());
        }
        let _ = std::fs::remove_dir_all(self.domain.path());
        let _ = std::fs::remove_file(&self.log);
    }
}

/// A configuration of zenoh, in a file that goes with it.
pub struct Configured(String);

impl Configured {
    pub fn path(&self) -> &str {
        &self.0
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Links with this lease.
pub fn config(lease: Duration) -> Configured {
    let file = std::env::temp_dir().join(format!("tubepost-hosts-{}-{}.json5", std::process::id(), count()));
    let lease = lease.as_millis();
    let text = format!(
        "{{ listen: {{ endpoints: [] }}, scouting: {{ multicast: {{ enabled: false }} }}, \
           connect: {{ retry: {{ period_init_ms: 100, period_max_ms: 500, period_increase_factor: 2 }} }}, \
           transport: {{ link: {{ tx: {{ lease: {lease} }} }} }} }}"
    );
    std::fs::write(&file, text).expect("a file in the temporary directory");
    Configured(file.to_str().expect("a path of ours").to_owned())
}

/// The key at which a bridge listens, as its log says.
pub fn inbox_of(host: &Host) -> String {
    eventually("it has said where it listens", || host.log().contains("/in"));
    let log = host.log();
    let said = log.split_whitespace().find(|word| word.starts_with("tubepost/") && word.ends_with("/in"));
    said.expect("its address").to_owned()
}

/// An endpoint on this machine that nobody uses.
pub fn endpoint() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("tcp/{}", free.local_addr().expect("its address"))
}

/// Two hosts: all mailboxes of the first are had on the second.
pub fn two_hosts() -> (Host, Host) {
    let at = endpoint();
    let exports = Host::new(&["--listen", &at, "--export", "*"]);
    let imports = Host::new(&["--connect", &at, "--import", "*"]);
    (exports, imports)
}
