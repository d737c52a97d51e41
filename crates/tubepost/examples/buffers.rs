//! A producer that is faster than its consumer, with each kind of buffer between them: none, where they meet for every
//! item; a bounded one, where the producer waits when it is full; an unbounded one, where it never waits.
//!
//! `cargo run --release --example buffers`

use std::process::Command;
use std::time::{Duration, Instant};
use tubepost::{Domain, Mailbox, Options, Sender};

const ITEMS: u64 = 12;
/// What the consumer does with an item takes so long.
const WORK: Duration = Duration::from_millis(10);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, domain, name] = &arguments[..] {
        return produce(&Domain::open(domain)?, name);
    }
    // A domain of its own, so that this can run beside anything else.
    let path = format!("/dev/shm/tubepost-example-buffers-{}", std::process::id());
    let domain = Domain::open(&path)?;
    let options = || Mailbox::<u64>::options().domain(&domain);
    let kinds: [(&str, Options<u64>); 3] = [
        ("zero", options().bounded(0)),
        ("bounded", options().bounded(4)),
        ("unbounded", options().unbounded()),
    ];

    println!("milliseconds after which each of {ITEMS} items was sent, and received");
    for (name, options) in kinds {
        let inbox = options.own(name)?;
        let mut producer = Command::new(&arguments[0]).args([&path, name]).spawn()?;
        let first = inbox.recv()?;
        let (begin, mut received) = (Instant::now(), vec![0]);
        assert_eq!(first, 0);
        for item in 1..ITEMS {
            std::thread::sleep(WORK);
            assert_eq!(inbox.recv()?, item);
            received.push(begin.elapsed().as_millis());
        }
        if !producer.wait()?.success() {
            return Err("the producer failed".into());
        }
        println!("{name:>9}   received {}", table(&received));
    }
    std::fs::remove_dir(&path)?;
    Ok(())
}

/// The other process.
fn produce(domain: &Domain, name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let out = Sender::<u64>::options().domain(domain).open(name)?;
    let (begin, mut sent) = (Instant::now(), Vec::new());
    for item in 0..ITEMS {
        out.send(item)?; // waits for the consumer, for room, or not at all
        sent.push(begin.elapsed().as_millis());
    }
    println!("{name:>9}   sent     {}", table(&sent));
    Ok(())
}

fn table(times: &[u128]) -> String {
    times.iter().map(|time| format!("{time:>4}")).collect()
}
