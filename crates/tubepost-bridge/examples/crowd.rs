//! Many hosts and many mailboxes, as far as one machine can play them: what a bridge that joins has to hear, and what that costs.
//!
//! ```sh
//! cargo run --release -p tubepost-bridge --example crowd -- 100 20000
//! ```
//!
//! So many sessions of zenoh, each one a host, connected to one router; and so many mailboxes on all of them together, which each host tells of as a bridge does, with the bridge's own code. (There are no
//! mailboxes, and no messages.) Then a process comes that wants to hear of all, with the bridge's own code as well: it tells how long that took, and how much memory. Then one mailbox comes on one
//! host; and a host goes, and comes again.

#[allow(dead_code, reason = "the bridge's own code, of which not all is played")]
#[path = "../src"]
mod bridge {
    pub(crate) mod address;
    pub(crate) mod announce;
    pub(crate) mod catalog;
    pub(crate) mod discovery;
    pub(crate) mod error;
    pub(crate) mod facts;
    pub(crate) mod pattern;
}
use bridge::{address, announce, catalog, discovery, error, facts, pattern};

use address::Address;
use announce::Announcement;
use catalog::{Catalog, Entry};
use discovery::{Discovery, Found};
use facts::Facts;
use pattern::Pattern;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tracing_subscriber::EnvFilter;
use tubepost::{Domain, Mailbox};

type Done<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// (A router hands nothing on between peers, which would be linked to each other.)
async fn session(mode: &str, listen: &str, connect: &str) -> Done<zenoh::Session> {
    let list = |one: &str| if one.is_empty() { "[]".to_owned() } else { format!("[\"{one}\"]") };
    let mut config = zenoh::Config::default();
    for (key, value) in [
        ("mode", format!("\"{mode}\"")),
        ("scouting/multicast/enabled", "false".into()),
        ("listen/endpoints", list(listen)),
        ("connect/endpoints", list(connect)),
        ("transport/unicast/max_sessions", "2000".into()),
    ] {
        config.insert_json5(key, &value)?;
    }
    zenoh::open(config).await
}

fn resident() -> Done<u64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = text.split(' ').nth(1).unwrap_or_default().parse()?;
    Ok(pages * 4096)
}

/// What is said of each mailbox.
fn facts() -> Done<Facts> {
    let path = format!("/dev/shm/tubepost-crowd-{}", std::process::id());
    let domain = Domain::open(&path)?;
    let inbox = Mailbox::<u64>::options().domain(&domain).bounded(64).own("sensor")?;
    let facts = Facts::of(&domain.stat("sensor")?)?;
    drop(inbox);
    std::fs::remove_dir_all(&path)?;
    Ok(facts)
}

fn entry(mailbox: u64, facts: &Facts) -> Entry {
    let name = format!("plant/sensor-{mailbox:06}");
    // As an id: no small number.
    Entry { mailbox: u128::from(mailbox + 1) << 96 | u128::from(mailbox), name, facts: facts.clone() }
}

struct Host {
    session: zenoh::Session,
    catalog: Arc<Catalog>,
    announcement: Announcement,
}

impl Host {
    /// A host with these mailboxes.
    async fn new(
        at: &str,
        number: u64,
        run: u64,
        mailboxes: std::ops::Range<u64>,
        facts: &Facts,
    ) -> Done<Host> {
        let session = session("client", "", at).await?;
        let host = format!("host-{number:04}.plant.example");
        let me = Address { prefix: String::new(), host, bridge: u128::from(number + 1) << 64, run };
        let catalog = Arc::new(Catalog::new(""));
        mailboxes.for_each(|mailbox| catalog.came(&entry(mailbox, facts)));
        let announcement = Announcement::new(&session, &me, &catalog).await?;
        Ok(Host { session, catalog, announcement })
    }

    async fn go(self) -> Done<()> {
        drop(self.announcement);
        self.session.close().await
    }
}

/// Hears of all; the parent acts upon what is asked for.
async fn hear(at: &str, all: u64, of_one: u64) -> Done<()> {
    let (memory, begin) = (resident()?, Instant::now());
    let session = session("client", "", at).await?;
    let (find, mut found) = mpsc::channel(64);
    let _discovery = Discovery::new(&session, 0, &[Pattern::new("*")?], find).await?;
    let mut count = async |wanted: u64, came: bool| {
        let mut count = 0;
        while count < wanted {
            count += u64::from(found.recv().await.is_some_and(|f| matches!(f, Found::Came(..)) == came));
        }
    };
    count(all, true).await;
    println!(
        "all {all} mailboxes were heard of after {:.2?}, in {:.1} MB of memory",
        begin.elapsed(),
        (resident()? - memory) as f64 / 1e6
    );
    let asks = [("one more", 1, true), ("go", of_one, false), ("come", of_one, true)];
    let says = ["one more mailbox", "that a host went", "that it came again"];
    for ((ask, wanted, came), what) in asks.into_iter().zip(says) {
        tokio::time::sleep(Duration::from_secs(1)).await; // so that what was before is over
        println!("ask: {ask}");
        let begin = Instant::now();
        count(wanted, came).await;
        println!("{what} was heard after {:.2?}", begin.elapsed());
    }
    Ok(())
}

async fn play(hosts: u64, all: u64) -> Done<()> {
    let (of_one, facts) = (all / hosts, facts()?);
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let at = format!("tcp/{free}");
    let _router = session("router", &at, "").await?;
    let begin = Instant::now();
    let mut playing = Vec::new();
    let of = |host: u64| host * of_one..(host + 1) * of_one;
    for host in 0..hosts {
        playing.push(Host::new(&at, host, 1, of(host), &facts).await?);
    }
    println!("{hosts} hosts with {of_one} mailboxes each, made in {:.2?}", begin.elapsed());
    println!("the router and all hosts: {:.1} MB of memory", resident()? as f64 / 1e6);
    let mut hearer = Command::new(std::env::current_exe()?)
        .args(["hear", &at, &(of_one * hosts).to_string(), &of_one.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let (lines, mut said) = mpsc::channel(1);
    let output = BufReader::new(hearer.stdout.take().ok_or("no output")?);
    std::thread::spawn(move || {
        output.lines().map_while(Result::ok).try_for_each(|line| lines.blocking_send(line))
    });
    while let Some(line) = said.recv().await {
        match line.as_str() {
            "ask: one more" => playing[0].catalog.came(&entry(all, &facts)),
            "ask: go" => playing.pop().ok_or("no host")?.go().await?,
            "ask: come" => playing.push(Host::new(&at, hosts - 1, 2, of(hosts - 1), &facts).await?),
            _ => println!("{line}"),
        }
    }
    hearer.wait()?;
    Ok(())
}

fn main() -> Done<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["hear", at, all, of_one] => runtime.block_on(hear(at, all.parse()?, of_one.parse()?)),
        [hosts, all] => runtime.block_on(play(hosts.parse()?, all.parse()?)),
        _ => Err("give the number of hosts, and that of all mailboxes".into()),
    }
}
