//! Many hosts and many mailboxes, as far as one machine can play them: what a bridge that joins has to hear, and what that costs.
//!
//! ```sh
//! cargo run --release -p tubepost-bridge --example crowd -- 100 100000
//! ```
//!
//! So many sessions of zenoh, each one a host, connected to one router, and so many liveliness tokens on all of them together, with keys as long as those of the bridge. Then a process comes that
//! wants to hear of all: it tells how long that took, and how much memory. Then one host goes, and comes again.

use std::error::Error;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use zenoh::Wait;
use zenoh::sample::SampleKind;

type Done<T> = Result<T, Box<dyn Error>>;

fn session(mode: &str, listen: &str, connect: &str) -> Done<zenoh::Session> {
    let list = |one: &str| if one.is_empty() { "[]".to_owned() } else { format!("[\"{one}\"]") };
    let mut config = zenoh::Config::default();
    for (key, value) in [
        ("mode", format!("\"{mode}\"")),
        ("scouting/multicast/enabled", "false".into()),
        ("listen/endpoints", list(listen)),
        ("connect/endpoints", list(connect)),
        ("transport/unicast/max_sessions", "2000".into()),
    ] {
        config.insert_json5(key, &value).map_err(|error| error.to_string())?;
    }
    Ok(zenoh::open(config).wait().map_err(|error| error.to_string())?)
}

fn resident() -> Done<u64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = text.split(' ').nth(1).unwrap_or_default().parse()?;
    Ok(pages * 4096)
}

fn wait_for(count: &AtomicU64, wanted: u64) {
    while count.load(Relaxed) < wanted {
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn hear(at: &str, all: u64, of_one: u64) -> Done<()> {
    let (memory, begin) = (resident()?, Instant::now());
    let session = session("peer", "", at)?;
    let (came, went) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counts = (Arc::clone(&came), Arc::clone(&went));
    let tokens = session.liveliness().declare_subscriber("tubepost/1/*/*/*/*/m/*/*").history(true);
    let _tokens = tokens
        .callback(move |sample| {
            let count = if sample.kind() == SampleKind::Put { &counts.0 } else { &counts.1 };
            count.fetch_add(1, Relaxed);
        })
        .wait()
        .map_err(|error| error.to_string())?;
    wait_for(&came, all);
    println!(
        "all {all} mailboxes were heard of after {:.2?}, in {:.1} MB of memory",
        begin.elapsed(),
        (resident()? - memory) as f64 / 1e6
    );
    // The parent lets one host go when it reads this.
    println!("ready");
    let begin = Instant::now();
    wait_for(&went, of_one);
    println!("that a host with {of_one} of them went was heard after {:.2?}", begin.elapsed());
    let begin = Instant::now();
    wait_for(&came, all + of_one);
    println!("that it came again, after {:.2?}", begin.elapsed());
    Ok(())
}

fn main() -> Done<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [what, at, all, of_one] = &args[..]
        && what == "hear"
    {
        return hear(at, all.parse()?, of_one.parse()?);
    }
    let hosts: u64 = args.first().map_or(Ok(100), |text| text.parse())?;
    let all: u64 = args.get(1).map_or(Ok(100_000), |text| text.parse())?;
    let of_one = all / hosts;
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let at = format!("tcp/{free}");
    let _router = session("router", &at, "")?;
    let host = |host: u64| -> Done<_> {
        let session = session("client", "", &at)?;
        let tokens: Result<Vec<_>, String> = (0..of_one)
            .map(|mailbox| {
                let key = format!("tubepost/1/-/host-{host:04}.plant.example/{host:032x}/{host:016x}/m/{mailbox:032x}/plant,sensor-{mailbox:06}");
                session.liveliness().declare_token(key).wait().map_err(|error| error.to_string())
            })
            .collect();
        Ok((session, tokens?))
    };
    let begin = Instant::now();
    let mut sessions = (0..hosts).map(host).collect::<Done<Vec<_>>>()?;
    println!("{hosts} hosts with {of_one} mailboxes each, made in {:.2?}", begin.elapsed());
    println!("the router and all hosts: {:.1} MB of memory", resident()? as f64 / 1e6);
    let mut hearer = Command::new(std::env::current_exe()?)
        .args(["hear", &at, &(of_one * hosts).to_string(), &of_one.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    use std::io::BufRead;
    for line in std::io::BufReader::new(hearer.stdout.take().ok_or("no output")?).lines() {
        let line = line?;
        if line != "ready" {
            println!("{line}");
            continue;
        }
        drop(sessions.pop());
        std::thread::sleep(Duration::from_secs(1)); // so that going and coming are told apart
        sessions.push(host(hosts - 1)?);
    }
    hearer.wait()?;
    Ok(())
}
